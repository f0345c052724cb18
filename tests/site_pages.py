"""A folder of pages, served on this machine and looked at in a Chromium that can reach nothing else."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page

SERIOUS = ("serious", "critical")
ONLY_FOUND = {"resultTypes": ["violations"]}  # to describe what passes too takes as long again
COLOURS = {
    **ONLY_FOUND,
    "runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]},
}  # all that a theme changes
# Most of a lesson's elements are coloured words of its code. Those with the same classes all the way up look the same
# in every theme, so one of each is enough: the others become plain text of their line.
ONE_OF_EACH = """() => {
  const seen = new Set();
  for (const word of document.querySelectorAll("pre span[class], pre span[style]")) {
    let look = "";
    for (let node = word; node; node = node.parentElement) {
      look += `<${node.tagName} ${node.className} ${node.getAttribute("style")}`;
    }
    if (seen.has(look)) word.replaceWith(...word.childNodes);
    seen.add(look);
  }
}"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A server of files that writes no log."""

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class Reader:
    """One who reads the pages: opens them, and notes each request that leaves this machine or is not answered."""

    def __init__(self, url: str, browser: Browser) -> None:
        self.url, self.browser = url, browser
        self.left: list[str] = []  # requests to elsewhere
        self.failed: list[str] = []  # requests that were answered with an error
        self.errors: list[str] = []  # exceptions of scripts

    @contextmanager
    def open(self, path: str, width: int = 1200, dark: bool = False) -> Iterator[Page]:
        """Open a page in a fresh window."""
        window: BrowserContext = self.browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light"
        )
        try:
            window.route("**/*", self._route)
            page = window.new_page()
            page.set_default_timeout(120_000)  # a busy machine takes its time
            page.on("pageerror", lambda error: self.errors.append(f"{path}: {error}"))
            page.on("response", lambda answer: self.failed.append(answer.url) if answer.status >= 400 else None)
            page.goto(f"{self.url}/{path}", wait_until="load")
            yield page
        finally:
            window.close()

    def _route(self, route: Any) -> None:
        address = route.request.url
        if address.startswith((self.url, "data:", "blob:")):
            route.continue_()
        else:
            self.left.append(address)
            route.abort()


@contextmanager
def reader(folder: Path, browser: Browser) -> Iterator[Reader]:
    """Serve `folder` to a browser until the end of the `with` block."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield Reader(f"http://127.0.0.1:{server.server_port}", browser)
    finally:
        server.shutdown()
        server.server_close()


def barriers(page: Page) -> list[str]:
    """Return axe-core's serious and critical findings on a page in its light and its dark look, one line each."""
    page.evaluate(ONE_OF_EACH)
    found = Axe().run(page, options=ONLY_FOUND).response["violations"]
    page.emulate_media(color_scheme="dark")
    page.wait_for_timeout(500)  # for what fades into its other colour
    found += Axe().run(page, options=COLOURS).response["violations"]
    return [
        f"{rule['id']} ({rule['impact']}): {node['html'][:160]}"
        for rule in found
        if rule["impact"] in SERIOUS
        for node in rule["nodes"][:3]
    ]


def cut_off(page: Page) -> list[str]:
    """Return the beginnings of code and output that a page shows only in part, with all folds open for a moment."""
    return page.evaluate(
        """() => {
          const folds = [...document.querySelectorAll("details:not([open])")];
          folds.forEach((fold) => { fold.open = true; });
          const found = [...document.querySelectorAll("main pre")]
            .filter((each) => each.checkVisibility() && each.scrollWidth > each.clientWidth + 1)
            .map((each) => each.innerText.slice(0, 80));
          folds.forEach((fold) => { fold.open = false; });
          return found;
        }"""
    )


def too_wide(page: Page, width: int = 400) -> int:
    """Return by how many pixels a page can be scrolled sideways in a narrow window."""
    page.set_viewport_size({"width": width, "height": 900})
    return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
