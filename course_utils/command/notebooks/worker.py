"""The process that runs one notebook for `course run` and `course build`.

Called as `python -m course_utils.command.notebooks.worker JOB.json`.

It has its own process so that the runner can end it, whatever the notebook does, and so that papermill's change of
folder affects nothing else. It reports one line per event, on an output that no kernel has, and waits to be ended.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from course_utils.command.notebooks.sections import run_again

START_FAILURE = "Kernel died before replying to kernel_info"  # seen once in some 240 parallel starts
START_SECONDS = 180  # for the kernel to start
FLOOD_PAUSE = 60  # seconds; the runner is quicker
MOST_OUTPUT = 30_000_000  # characters in one notebook; a lesson's file must stay under 3 MB
LONG_CELL = 1  # seconds after which a cell counts as long: what came before it is written then
SELDOM = 10  # seconds between two writings of the notebook while its cells are short
CHILD_SUBREAPER = 36  # of prctl
ASKED = "asked the kernel to end, with exit() or quit()"


class ExitAskedError(Exception):
    """A cell has asked the kernel to end: it still answers for a moment, so the next cells may run or not."""


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


def run(job: dict[str, Any]) -> None:
    """Run the notebook of `job` with papermill and report how it went.

    `job` holds `input` and `output` (files), `parameters`, `cell_timeout` (seconds), `folder`, where the kernel
    runs, and `again`: afterwards each section that took at most so many seconds is run again.
    """
    # papermill takes seconds to import, and only here.
    import papermill
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
    from nbclient.util import run_sync
    from papermill.clientwrap import PapermillNotebookClient
    from papermill.engines import NBClientEngine, papermill_engines
    from papermill.exceptions import PapermillExecutionError

    places: dict[int, int] = {}  # the number of each cell that has run, as the author counts them
    # Only now, so that a file beside the notebook, such as random.py, is not imported instead of Python's own.
    os.chdir(job.get("folder", "."))

    class Client(PapermillNotebookClient):
        """papermill's client, which also reports progress and stops endless output."""

        written = 0
        asked_to_end = False
        save: Callable[[], None]  # writes the notebook as it is
        raised: CellExecutionError | None = None  # by a cell, also where its output is lost, as without open files

        def answered(self, cell: Any, cell_index: int, execute_reply: Any) -> None:
            payload = execute_reply["content"].get("payload") or ()
            self.asked_to_end = any(each.get("source") == "ask_exit" for each in payload)

        def papermill_execute_cells(self) -> None:
            super().papermill_execute_cells()
            failed = any(o["output_type"] == "error" for c in self.nb.cells for o in c.get("outputs", ()))
            if not job.get("again") or failed:
                return
            tell(event="ran")  # from here on the kernel's memory is not the lesson's
            done, failures = run_again(
                self.nb.cells,
                job["again"],
                lambda cell: cell.metadata.get("papermill", {}).get("duration") or 0,
                super().execute_cell,
            )
            tell(event="again", done=done, failed=failures)

        def execute_cell(self, cell: Any, cell_index: int, *args: Any, **kwargs: Any) -> Any:
            # Counted as in the file that the author knows, without the cell that papermill put in.
            added = [
                i for i, other in enumerate(self.nb.cells) if "injected-parameters" in other.metadata.get("tags", ())
            ]
            before = sum(i <= cell_index for i in added)
            places[cell_index] = cell_index - before + 1
            tell(event="cell", index=cell_index - before, of=len(self.nb.cells) - len(added))
            try:
                done = run_sync(self.execute_and_save)(cell, cell_index, *args, **kwargs)
            except CellExecutionError as error:
                Client.raised = error
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
            saving = asyncio.get_running_loop().call_later(LONG_CELL, self.save)  # the runner may end it at any time
            try:
                return await self.async_execute_cell(*args, **kwargs)
            finally:
                saving.cancel()

        def process_message(self, message: Any, cell: Any, *args: Any) -> Any:
            content = message["content"]
            if message["msg_type"] in ("stream", "display_data", "update_display_data", "execute_result"):
                self.written += len(content.get("text", "")) + sum(
                    len(str(v)) for v in content.get("data", {}).values()
                )
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
            cls,
            nb_man: Any,
            kernel_name: str,
            execution_timeout: int | None = None,
            **_: Any,
        ) -> Any:
            # Streams are put together by `normalise`: nbclient takes minutes for a line of 200,000 characters.
            client = Client(
                nb_man, kernel_name=kernel_name, startup_timeout=START_SECONDS, timeout=execution_timeout,
                coalesce_streams=False, store_widget_state=True, extra_arguments=["--log-level=ERROR"],
            )  # fmt: skip
            client.on_cell_executed = client.answered
            # papermill writes the whole file before and after every cell: with short cells half of the time.
            client.save, nb_man.save = nb_man.save, seldom(nb_man.save, SELDOM)
            try:
                return client.execute()
            finally:
                del nb_man.save  # papermill's own is back, for the last time

    papermill_engines.register("course", Engine)
    started = time.perf_counter()
    for attempt in (1, 2):
        try:
            papermill.execute_notebook(
                job["input"], job["output"], parameters=job["parameters"], engine_name="course", kernel_name="python3",
                progress_bar=False, execution_timeout=job["cell_timeout"],
            )  # fmt: skip
        except PapermillExecutionError as error:
            cause = Client.raised or error
            message = f"{cause.ename}: {cause.evalue}" if cause.evalue else cause.ename
            return tell(event="failed", kind="error", cell=places.get(error.cell_index), message=message)
        except CellTimeoutError:
            return tell(event="failed", kind="timeout", message=f"took longer than {job['cell_timeout']:g} s")
        except DeadKernelError as error:
            return tell(event="failed", kind="dead", message=str(error))
        except ExitAskedError:
            return tell(event="failed", kind="exit", message=ASKED)
        except RuntimeError as error:
            if attempt == 1 and START_FAILURE in str(error):
                tell(event="retry")
                continue
            return tell(event="failed", kind="start", message=str(error))
        return tell(event="done", seconds=time.perf_counter() - started)
    return None


def died(code: int | None) -> str:
    """Return in words how a kernel has ended, by the exit code of its process, where it is known."""
    if code is None or code == -signal.SIGKILL:
        return "the kernel died; it may have run out of memory"
    if code < 0:
        return f"the kernel crashed (signal {-code}, {signal.strsignal(-code)})"
    return f"the kernel ended itself (exit code {code})"


def end_with(parent: int, folder: Path, seconds: float = 1.0) -> None:
    """End this process and its children as soon as `parent` is gone, and remove `folder`: nobody else would."""
    while os.getppid() == parent:
        time.sleep(seconds)
    for process in psutil.Process().children(recursive=True):
        process.kill()
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


def main() -> None:
    """Run the job whose file is named on the command line."""
    job = Path(sys.argv[1])
    threading.Thread(target=end_with, args=(os.getppid(), job.parent), daemon=True).start()
    run(json.loads(job.read_text(encoding="utf-8")))


def set_up() -> None:
    """Keep the output for events from the kernel, and let all that a kernel leaves behind become a child of this."""
    sys.stdout = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(CHILD_SUBREAPER, 1, 0, 0, 0)


if __name__ == "__main__":
    set_up()
    main()
    threading.Event().wait()  # until the runner ends this process, and what has become its child
