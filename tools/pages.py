"""A notebook in a page of JupyterLab: its cells, its live figures, and their controls, worked as a learner does."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import ConsoleMessage, Locator, Page
from playwright.sync_api import TimeoutError as TooLate

# Part of a console error's text, and why it says nothing about the course. Anything else fails a test.
BENIGN: Mapping[str, str] = {}
FOCUS = "[role=slider], select, input, textarea, button"  # all that a panel's controls take the focus with
SECONDS = 180  # for any one step in the page, on a busy machine too
SCRIPT = Path(__file__).with_name("pages.js").read_text(encoding="utf-8")


class Notebook:
    """A notebook in JupyterLab. Cells are counted from 0; `problems` are errors of the page and its console."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.problems: list[str] = []
        page.on("pageerror", lambda error: self.problems.append(f"page error: {error}"))
        page.on("console", self._note)
        page.add_init_script(SCRIPT)

    def _note(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not any(part in message.text for part in BENIGN):
            self.problems.append(f"console: {message.text} ({message.location.get('url', '')})")

    def wait(self, condition: str, what: str, seconds: float = SECONDS) -> None:
        """Wait until a condition in the page's language holds; asking at every frame would cost half a core."""
        try:
            self.page.wait_for_function(condition, timeout=1000 * seconds, polling=100)
        except TooLate:
            raise AssertionError(f"Waited {seconds:.0f} s in vain for {what}.") from None

    def run_all(self, seconds: float = 1200) -> None:
        """Choose "Run All Cells" in the menu, wait for the last cell and all widgets, and raise what a cell raised."""
        self.page.evaluate("course.forget()")
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.locator(".lm-Menu [data-command='runmenu:run-all']").click()
        self.wait("course.finished()", "all cells to run", seconds)
        self._require_drawn()

    def _require_drawn(self) -> None:
        errors = self.page.evaluate("course.errors()")
        assert not errors, "\n".join(errors)
        self.wait("course.drawn()", "all widgets to be drawn")

    def sources(self) -> list[str]:
        """Return the source of each cell; nothing for what is not code."""
        return self.page.evaluate("course.sources()")

    def cell(self, text: str) -> int:
        """Return the number of the only code cell whose source holds `text`."""
        found = [number for number, source in enumerate(self.sources()) if text in source]
        assert len(found) == 1, f"{len(found)} code cells hold {text!r}."
        return found[0]

    def run(self, number: int, seconds: float = SECONDS) -> str:
        """Run a cell with Control and Enter, and return the text under it."""
        count = self.page.evaluate("number => course.choose(number)", number)
        self.page.keyboard.press("Control+Enter")
        self.wait(f"course.ran({number}, {count})", f"cell {number} to run", seconds)
        return self.output(number)

    def output(self, number: int) -> str:
        """Return the text under a cell."""
        return self._place(number).locator(".jp-Cell-outputArea").text_content() or ""

    def write(self, number: int, source: str, *, key_by_key: bool = False) -> None:
        """Replace a cell's source at its cursor: as if pasted, or key by key."""
        self.page.evaluate("number => course.choose(number)", number)
        self.page.keyboard.press("Enter")
        self.page.keyboard.press("Control+A")
        self.page.keyboard.type(source) if key_by_key else self.page.keyboard.insert_text(source)
        written = self.page.evaluate("number => course.sources()[number]", number)
        assert written == source, f"cell {number} holds {written!r} instead of {source!r}"
        self.page.keyboard.press("Escape")

    def _place(self, number: int) -> Locator:
        return self._all(".jp-Notebook .jp-Cell")[number]

    def _all(self, selector: str, cell: int | None = None) -> list[Locator]:
        """Return all that match a selector in the page or in a cell, each to be found by an id of its own.

        By an id the browser finds it at once. For a class Playwright goes through all of a page, shadow roots too: with
        a lesson's 45,000 nodes this took half of the time of these tests.
        """
        names = self.page.evaluate("([selector, cell]) => course.named(selector, cell)", [selector, cell])
        return [self.page.locator(f"xpath=id('{name}')") for name in names]

    def panels(self, cell: int | None = None) -> list[Panel]:
        """Return all panels of the page, or those of one cell."""
        return [Panel(self, place) for place in self._all(".jp-Notebook .course-panel", cell)]

    def questions(self) -> list[Locator]:
        """Return the questions of the quiz."""
        return self._all(".jp-Notebook .course-quiz")

    def settle(self) -> None:
        """Wait until the kernel has answered all that widgets told it, and the page shows its answers."""
        assert self.page.evaluate("seconds => course.settled(seconds)", SECONDS), "The kernel did not answer a widget."

    def theme(self, dark: bool) -> None:
        """Switch to JupyterLab's dark or light theme."""
        self.page.evaluate("dark => course.theme(dark)", dark)
        self.wait(f"document.body.dataset.jpThemeLight === '{str(not dark).lower()}'", "the theme to change")

    def resize(self, width: int, height: int = 1000) -> None:
        """Give the window another size, and the notebook all of its width."""
        self.page.set_viewport_size({"width": width, "height": height})
        self.page.evaluate("course.wide()")

    def windowfuls(self) -> Iterator[int]:
        """Scroll from the top to the end, a window at a time, and count them from 1."""
        number, more = 1, self.page.evaluate("course.scroll(0)")
        yield number
        while more:
            number, more = number + 1, self.page.evaluate("course.scroll(1)")
            yield number


@dataclass(frozen=True)
class Panel:
    """A live figure with its controls."""

    notebook: Notebook
    place: Locator

    @property
    def title(self) -> str:
        """The last line of the cell that made the panel."""
        return self.place.evaluate("panel => course.maker(panel)")

    @property
    def sentence(self) -> str:
        """The words under the picture."""
        return (self.place.locator(".course-caption").text_content() or "").strip()

    @property
    def alert(self) -> Locator:
        """The place for an error."""
        return self.place.locator(".course-error")

    @property
    def error(self) -> str:
        """The shown error, or an empty text."""
        return (self.alert.text_content() or "").strip()

    def picture(self) -> str:
        """Return a fingerprint of the picture's bytes once it can be seen."""
        return self.place.evaluate("panel => course.picture(panel)")

    def wait_for(self, condition: Callable[[], bool], seconds: float = SECONDS) -> None:
        """Wait until a condition holds."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"Waited {seconds:.0f} s in vain for {self.title}: {self.sentence}"
            self.notebook.page.wait_for_timeout(50)

    def wait_for_change(self, before: str) -> str:
        """Wait for another picture than the one with the fingerprint `before`, and return its fingerprint."""
        self.wait_for(lambda: self.picture() != before)
        return self.picture()

    def at_rest(self, seconds: float = 1.0) -> bool:
        """Tell whether the picture stays as it is for a while."""
        before = self.picture()
        self.notebook.page.wait_for_timeout(1000 * seconds)
        return self.picture() == before

    def controls(self) -> list[Control]:
        """Return all that takes the focus in the panel, in the order of the page."""
        found = self.place.evaluate("(panel, focus) => course.controls(panel, focus)", FOCUS)
        return [Control(self, kind, label, self.place.locator(FOCUS).nth(i)) for i, (kind, label) in enumerate(found)]

    def offers(self, label: str) -> bool:
        """Tell whether there is a control with a label."""
        return any(control.label == label for control in self.controls())

    def control(self, label: str) -> Control:
        """Return the control with a label."""
        labels = {control.label: control for control in self.controls()}
        assert label in labels, f"no control {label!r}, only {list(labels)}"
        return labels[label]

    def labels_by_tab(self, presses: int) -> set[str]:
        """Return the labels of all controls that get the focus while Tab is pressed."""
        keyboard = self.notebook.page.keyboard
        found = set()
        for _ in range(presses):
            found.add(self.notebook.page.evaluate("panel => course.focused(panel)", self.place.element_handle()))
            keyboard.press("Tab")
        return found

    def delays(self, moves: int = 15, apart: float = 0.0) -> list[float]:
        """Return the milliseconds from a key to the painted picture, for some moves of each control in turn.

        Args:
            moves: how many keys are pressed, none before the picture of the last one has come.
            apart: seconds to wait after each; what a panel does once its sliders rest then comes before the next key.
        """
        self.place.evaluate("panel => course.time(panel)")
        steps = {"slider": ("ArrowRight", "ArrowLeft"), "field": ("ArrowUp", "ArrowDown")}
        movable = [control for control in self.controls() if control.kind in steps and control.enabled]
        for move in range(moves):
            control = movable[move % len(movable)]
            control.press(steps[control.kind][move // len(movable) % 2])
            self.notebook.page.wait_for_timeout(1000 * apart)
        return self.notebook.page.evaluate("course.frames(5).then(() => course.times)")

    def drag(self, seconds: float = 4.0) -> float | None:
        """Return how many pictures a second come while the mouse drags the first slider; None where there is none.

        The mouse moves as soon as the page has taken its last move.
        """
        sliders = (control.place for control in self.controls() if control.kind == "slider" and control.enabled)
        handle = next(sliders, None)
        if handle is None:
            return None
        handle.scroll_into_view_if_needed()
        track = handle.locator("xpath=ancestor::*[contains(@class, 'noUi-target')]").bounding_box()
        box, mouse = handle.bounding_box(), self.notebook.page.mouse
        assert track and box
        height = box["y"] + box["height"] / 2
        mouse.move(box["x"] + box["width"] / 2, height)
        mouse.down()
        self.place.evaluate("panel => course.count(panel)")
        begin, way = time.monotonic(), 0
        while time.monotonic() - begin < seconds:
            way += 1
            # Far enough for a new value, whatever the step, and also when some moves are left out.
            mouse.move(track["x"] + way % 3 / 2 * track["width"], height)
        took = time.monotonic() - begin
        mouse.up()
        self.notebook.settle()
        return self.notebook.page.evaluate("course.shown") / took

    def cut_off(self) -> list[str]:
        """Return what of the panel cannot be read: texts that are cut off or hidden, parts beyond its edges."""
        return self.place.evaluate("panel => course.cutOff(panel)")


@dataclass(frozen=True)
class Control:
    """A slider, list, field, box, button, radio button or upload, by its keys."""

    panel: Panel
    kind: str
    label: str
    place: Locator

    @property
    def enabled(self) -> bool:
        """Whether it can be moved."""
        return self.place.evaluate("control => course.enabled(control)")

    @property
    def value(self) -> str:
        """What it is set to, as text."""
        return self.place.evaluate("control => course.value(control)")

    @property
    def name(self) -> str:
        """What a screen reader calls it, or an empty text."""
        # The snapshot's first line is: - role "name" [state]: value
        found = re.match(r"""- '?\w+ "(.*?)"'?(:| \[|$)""", self.place.aria_snapshot().splitlines()[0])
        return re.sub(r"[\ue000-\uf8ff]", "", found[1]).strip() if found else ""  # without an icon's glyph

    @property
    def options(self) -> list[str]:
        """What a list offers."""
        return self.place.evaluate("list => [...list.options].map(course.text)")

    def press(self, *keys: str) -> str:
        """Press keys with the focus on the control, wait for the kernel, and return the picture's fingerprint."""
        self.place.focus()
        for key in keys:
            self.panel.notebook.page.keyboard.press(key)
        return self._seen()

    def choose(self, *keys: str) -> str:
        """Open a list, press keys in it and take what they lead to; return the picture's fingerprint.

        The keys go to the opened list: on a closed one JupyterLab takes the arrow keys for itself.
        """
        self.place.focus()
        page = self.panel.notebook.page
        page.keyboard.press("Alt+ArrowDown")
        page.wait_for_function("list => list.matches(':open')", arg=self.place.element_handle())
        return self.press(*keys, "Enter")

    def type(self, text: str) -> str:
        """Type over the number in a field or beside a slider, and return the picture's fingerprint."""
        beside = "xpath=ancestor::*[contains(@class, 'widget-slider')]//*[contains(@class, 'widget-readout')]"
        (self.place if self.kind == "field" else self.place.locator(beside)).focus()
        keyboard = self.panel.notebook.page.keyboard
        keyboard.press("Control+A")
        keyboard.type(text.replace("−", "-"))  # a readout writes the sign of mathematics, which nobody can type
        keyboard.press("Enter")
        return self._seen()

    def send(self, name: str, content: bytes) -> str:
        """Choose a file with the keyboard, wait for its picture, and return the picture's fingerprint."""
        page, before = self.panel.notebook.page, self.panel.picture()
        with page.expect_file_chooser() as chosen:
            self.place.focus()
            page.keyboard.press("Enter")
        chosen.value.set_files({"name": name, "mimeType": "image/png", "buffer": content})
        return self.panel.wait_for_change(before)

    def _seen(self) -> str:
        self.panel.notebook.settle()
        return self.panel.picture()
