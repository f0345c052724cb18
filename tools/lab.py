"""A real JupyterLab in a headless Chromium: for tests, the benchmark of the widgets, and screenshots.

A use of it, with a page's objects from `pages`:

    with Lab() as lab, lab.open("notebooks/01_pixels_and_tensors.ipynb") as notebook:
        notebook.run_all()
        panel = notebook.panels()[0]
        panel.controls()[0].press("ArrowRight")
        print(panel.picture(), panel.sentence, notebook.problems)
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
from pages import SECONDS, Notebook
from playwright.sync_api import Browser, sync_playwright

# The first is a Chromium without a window, a tenth quicker.
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
NONE_FOUND = "no Chromium found; install one (Debian: apt-get install chromium), or name it in the variable CHROMIUM"
ROOT = Path(__file__).resolve().parent.parent
FLAGS = [
    "--no-sandbox",  # with it, Chromium refuses to run as root, as in a container
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
FOLDERS = (
    "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTERLAB_SETTINGS_DIR",
    "JUPYTERLAB_WORKSPACES_DIR", "IPYTHONDIR", "COURSE_DATA_DIR",
)  # fmt: skip


def chromium() -> str | None:
    """Return the path of a Chromium or Chrome: the environment's CHROMIUM, else the first on the PATH, else None."""
    names = [os.environ.get("CHROMIUM", ""), *NAMES]
    return next((path for name in names if (path := shutil.which(name))), None)


@contextmanager
def launched() -> Iterator[Browser]:
    """Start a Chromium, and end it with the `with` block."""
    with sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=chromium(), args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


class Lab:
    """JupyterLab on a free port, in folders of its own, and a Chromium; all of it ends with the `with` block.

    Args:
        threads: cores that PyTorch may use in a kernel; all of them when None.
        browser: a Chromium that is there already, and stays.
    """

    def __init__(self, threads: int | None = 1, browser: Browser | None = None) -> None:
        self.threads, self._given = threads, browser

    def __enter__(self) -> Lab:
        with ExitStack() as stack:
            self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="course-lab-")))
            self.url = stack.enter_context(_server(self.folder, self.threads))
            self.browser = self._given or stack.enter_context(launched())
            self._open = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    @contextmanager
    def open(self, notebook: Path | Mapping[str, Any], width: int = 1200, height: int = 1000) -> Iterator[Notebook]:
        """Open a copy of a notebook (a file, or its content) in a fresh window, with a fresh kernel."""
        content = notebook.read_text(encoding="utf-8") if isinstance(notebook, Path) else json.dumps(notebook)
        copy = self.folder / f"{len(list(self.folder.glob('*.ipynb')))}.ipynb"
        copy.write_text(content, encoding="utf-8")
        window = self.browser.new_context(viewport={"width": width, "height": height})
        try:
            page = window.new_page()
            page.set_default_timeout(1000 * SECONDS)
            opened = Notebook(page)
            page.goto(f"{self.url}/lab/tree/{copy.name}?reset", wait_until="domcontentloaded")
            opened.wait("window.course?.ready()", "the notebook to open")
            page.evaluate("course.watch()")
            yield opened
        finally:
            window.close()
            for session in json.loads(self._ask("sessions")):
                if session["path"] == copy.name:  # other windows keep their kernels
                    self._ask(f"sessions/{session['id']}", "DELETE")

    def _ask(self, what: str, method: str = "GET") -> bytes:
        request = urllib.request.Request(f"{self.url}/api/{what}", method=method)
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            return answer.read()


@contextmanager
def _server(folder: Path, threads: int | None) -> Iterator[str]:
    """Run JupyterLab over `folder` as a learner would have it, but offline and with the settings `quick`."""
    ours = ("COURSE_", "JUPYTER", "OMP_NUM_THREADS")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    environment |= {name: str(folder / ".lab" / name.lower()) for name in FOLDERS}
    environment |= {"COURSE_OFFLINE": "1", "COURSE_PROFILE": "quick"}
    if threads:
        environment["OMP_NUM_THREADS"] = str(threads)
    for name in FOLDERS:
        Path(environment[name]).mkdir(parents=True)
    # A message about news would lie over the page; no option of the command stops it.
    quiet = Path(environment["JUPYTERLAB_SETTINGS_DIR"], "@jupyterlab", "apputils-extension")
    quiet.mkdir(parents=True)
    settings = '{"fetchNews": "false", "checkForUpdates": false}'
    (quiet / "notification.jupyterlab-settings").write_text(settings, encoding="utf-8")
    port = free_port()
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}"),
        *("--ServerApp.port_retries=0", f"--ServerApp.root_dir={folder}", "--ServerApp.password="),
        *("--IdentityProvider.token=", "--ServerApp.disable_check_xsrf=True"),  # so that `_ask` may ask
        "--LabApp.expose_app_in_browser=True",  # for pages.js
    ]
    log = folder / ".lab" / "log"
    with log.open("w", encoding="utf-8") as written:
        server = psutil.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=written, stderr=written)
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_for_answer(url, server, log)
            yield url
        finally:
            _end(server)


@contextmanager
def newcomer(home: Path) -> Iterator[str]:
    """Run `course lab` as one starts it who has never done so; its copies are in `home`/work."""
    port = free_port()
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("COURSE_", "JUPYTER"))}
    variables |= {"HOME": str(home), "USERPROFILE": str(home), "COURSE_WORK": str(home / "work")}
    command = [sys.executable, "-m", "course_utils.command.cli", "lab", "--no-browser", "--allow-root"]
    command += [f"--port={port}", "--IdentityProvider.token=", "--ServerApp.password="]
    url, log = f"http://127.0.0.1:{port}", home / "log"
    with log.open("w", encoding="utf-8") as written:
        server = psutil.Popen(command, cwd=ROOT, env=variables, stdout=written, stderr=written)
        try:
            _wait_for_answer(url, server, log)
            yield url
        finally:
            _end(server)


def free_port() -> int:
    """Return a port of this machine that nobody uses at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait_for_answer(url: str, server: psutil.Popen, log: Path) -> None:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end and server.poll() is None:
        try:
            urllib.request.urlopen(f"{url}/api", timeout=2).close()
            return
        except OSError:
            time.sleep(0.1)
    tail = "\n".join(log.read_text(encoding="utf-8").splitlines()[-15:])
    raise RuntimeError(f"JupyterLab did not start; the end of its log:\n{tail}")


def _end(server: psutil.Popen) -> None:
    """End the server, which ends its kernels; kill what is left after a while."""
    family = [server]
    with suppress(psutil.NoSuchProcess):
        family += server.children(recursive=True)
        server.terminate()
    for process in psutil.wait_procs(family, timeout=15)[1]:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(family, timeout=5)


def notebook_of(cells: Sequence[str]) -> dict[str, Any]:
    """Return a notebook of code cells."""
    blank = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    made = [{**blank, "id": f"cell-{number}", "source": source} for number, source in enumerate(cells)]
    kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    return {"cells": made, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
