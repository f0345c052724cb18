"""The process that runs one notebook for `course run` and `course build`.

Called as `python -m course_utils.command.notebooks.worker JOB.json`.

It has its own process so that the runner can end it, whatever the notebook does, and so that papermill's change of
folder affects nothing else. It reports one line per event, on an output that no kernel has, and waits to be ended.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil

START_FAILURE = "Kernel died before replying to kernel_info"  # seen once in some 240 parallel starts
CHILD_SUBREAPER = 36  # of prctl
ASKED = "asked the kernel to end, with exit() or quit()"


def run(job: dict[str, Any]) -> None:
    """Run the notebook of `job` with papermill and report how it went.

    `job` holds `input` and `output` (files), `parameters`, `cell_timeout` (seconds), `folder`, where the kernel
    runs, and `again`: afterwards each section that took at most so many seconds is run again.
    """
    # papermill takes seconds to import, and only here.
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    from course_utils.command.notebooks import client

    # Only now, so that a file beside the notebook, such as random.py, is not imported instead of Python's own.
    os.chdir(job.get("folder", "."))
    tell, started = client.tell, time.perf_counter()
    for attempt in (1, 2):
        known = client.Run(job.get("again", 0))
        try:
            papermill.execute_notebook(
                job["input"], job["output"], parameters=job["parameters"], engine_name=client.ENGINE, run=known,
                kernel_name="python3", progress_bar=False, execution_timeout=job["cell_timeout"],
            )  # fmt: skip
        except PapermillExecutionError as error:
            cause = known.raised or error
            message = f"{cause.ename}: {cause.evalue}" if cause.evalue else cause.ename
            return tell(event="failed", kind="error", cell=known.places.get(error.cell_index), message=message)
        except CellTimeoutError:
            return tell(event="failed", kind="timeout", message=f"took longer than {job['cell_timeout']:g} s")
        except DeadKernelError as error:
            return tell(event="failed", kind="dead", message=str(error))
        except client.ExitAskedError:
            return tell(event="failed", kind="exit", message=ASKED)
        except RuntimeError as error:
            if attempt == 1 and START_FAILURE in str(error):
                tell(event="retry")
                continue
            return tell(event="failed", kind="start", message=str(error))
        return tell(event="done", seconds=time.perf_counter() - started)
    return None


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
