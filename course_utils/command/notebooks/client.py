"""papermill's client and engine as the worker needs them: with reports to the runner, and an end to endless output.

It takes seconds to import papermill, so only a worker that is about to run a notebook imports this.
"""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbclient.util import run_sync
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, papermill_engines

from course_utils.command.notebooks.folds import is_injected
from course_utils.command.notebooks.sections import run_again

ENGINE = "course"  # its name for papermill
START_SECONDS = 180  # for the kernel to start
FLOOD_PAUSE = 60  # seconds; the runner is quicker
MOST_OUTPUT = 30_000_000  # characters in one notebook; a lesson's file must stay under 3 MB
LONG_CELL = 1  # seconds after which a cell counts as long: what came before it is written then
SELDOM = 10  # seconds between two writings of the notebook while its cells are short


class ExitAskedError(Exception):
    """A cell has asked the kernel to end: it still answers for a moment, so the next cells may run or not."""


@dataclass
class Run:
    """What is known of a run while papermill has it.

    again: afterwards each section that took at most so many seconds is run again.
    places: the number of each cell that has run, as the author counts them, by its place for papermill.
    raised: by a cell, also where its output is lost, as without open files.
    """

    again: float = 0
    places: dict[int, int] = field(default_factory=dict)
    raised: CellExecutionError | None = None


def tell(**event: Any) -> None:
    """Report one event to the runner."""
    print(json.dumps(event), flush=True)


def seldom(act: Callable[[], object], seconds: float) -> Callable[[], None]:
    """Return a function that calls `act`, but not again before `seconds` have passed."""
    last = time.monotonic()

    def act_if_it_is_time() -> None:
        nonlocal last
        if time.monotonic() - last >= seconds:
            act()
            last = time.monotonic()

    return act_if_it_is_time


def seconds_of(cell: Any) -> float:
    """Return how long papermill has seen a cell run."""
    return cell.metadata.get("papermill", {}).get("duration") or 0


class Client(PapermillNotebookClient):
    """papermill's client, which also reports progress and stops endless output."""

    def __init__(self, nb_man: Any, run: Run, **settings: Any) -> None:
        super().__init__(nb_man, **settings)
        self.run, self.save = run, nb_man.save  # which writes the notebook as it is
        self.written = 0
        self.asked_to_end = False
        self.on_cell_executed = self.answered

    def answered(self, cell: Any, cell_index: int, execute_reply: Any) -> None:
        """Note whether the cell that the kernel has just answered asked it to end."""
        payload = execute_reply["content"].get("payload") or ()
        self.asked_to_end = any(each.get("source") == "ask_exit" for each in payload)

    def papermill_execute_cells(self) -> None:
        """Run all cells, then each section again where that is asked for."""
        super().papermill_execute_cells()
        failed = any(o["output_type"] == "error" for c in self.nb.cells for o in c.get("outputs", ()))
        if self.run.again and not failed:
            tell(event="ran")  # from here on the kernel's memory is not the lesson's
            done, failures = run_again(self.nb.cells, self.run.again, seconds_of, super().execute_cell)
            tell(event="again", done=done, failed=failures)

    def execute_cell(self, cell: Any, cell_index: int, *args: Any, **kwargs: Any) -> Any:
        """Run one cell, and say beforehand which."""
        # Counted as in the file that the author knows, without the cell that papermill put in.
        added = [place for place, each in enumerate(self.nb.cells) if is_injected(each)]
        place = cell_index - sum(each <= cell_index for each in added)
        self.run.places[cell_index] = place + 1
        tell(event="cell", index=place, of=len(self.nb.cells) - len(added))
        try:
            done = run_sync(self.execute_and_save)(cell, cell_index, *args, **kwargs)
        except CellExecutionError as error:
            self.run.raised = error
            raise
        except CellTimeoutError:
            self.shutdown_kernel = "immediate"  # it hangs: asking politely would take five seconds more
            raise
        except DeadKernelError:
            process = getattr(self.km.provisioner, "process", None)
            raise DeadKernelError(died(process.poll() if process else None)) from None
        if self.asked_to_end:
            raise ExitAskedError
        return done

    async def execute_and_save(self, *args: Any, **kwargs: Any) -> Any:
        """Run one cell, and write the notebook while it runs where that takes long."""
        saving = asyncio.get_running_loop().call_later(LONG_CELL, self.save)  # the runner may end it at any time
        try:
            return await self.async_execute_cell(*args, **kwargs)
        finally:
            saving.cancel()

    def process_message(self, message: Any, cell: Any, *args: Any) -> Any:
        """Take in what the kernel says, up to a limit."""
        content = message["content"]
        if message["msg_type"] in ("stream", "display_data", "update_display_data", "execute_result"):
            self.written += len(content.get("text", "")) + sum(len(str(v)) for v in content.get("data", {}).values())
        if self.written > MOST_OUTPUT:
            cell.outputs.clear()
            self.save()
            tell(event="flood")  # the runner ends this process
            time.sleep(FLOOD_PAUSE)
        return super().process_message(message, cell, *args)


class Engine(NBClientEngine):
    """papermill's own engine with the client above."""

    @classmethod
    def execute_managed_notebook(
        cls, nb_man: Any, kernel_name: str, *, run: Run, execution_timeout: float | None = None, **_: Any
    ) -> Any:
        """Run the notebook with `Client`, and note in `run` how it goes."""
        # Streams are put together by `normalise`: nbclient takes minutes for a line of 200,000 characters.
        client = Client(
            nb_man, run, kernel_name=kernel_name, startup_timeout=START_SECONDS, timeout=execution_timeout,
            coalesce_streams=False, store_widget_state=True, extra_arguments=["--log-level=ERROR"],
        )  # fmt: skip
        # papermill writes the whole file before and after every cell: with short cells half of the time.
        nb_man.save = seldom(client.save, SELDOM)
        try:
            return client.execute()
        finally:
            del nb_man.save  # papermill's own is back, for the last time


papermill_engines.register(ENGINE, Engine)


def died(code: int | None) -> str:
    """Return in words how a kernel has ended, by the exit code of its process, where it is known."""
    if code is None or code == -signal.SIGKILL:
        return "the kernel died; it may have run out of memory"
    if code < 0:
        return f"the kernel crashed (signal {-code}, {signal.strsignal(-code)})"
    return f"the kernel ended itself (exit code {code})"
