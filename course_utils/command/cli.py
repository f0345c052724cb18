"""The `course` command: run and build lessons, check answers, ask classifiers, manage data, say what is missing."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from course_utils.errors import CourseError, RunError, SettingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OK, LESSON_FAILED, WRONG_CALL, INTERRUPTED = 0, 1, 2, 130
OPTIONS = {
    "no_args_is_help": True,
    "add_completion": False,
    "rich_markup_mode": None,
    "pretty_exceptions_enable": False,
}
app = typer.Typer(
    help="Run and build the lessons, check answers, ask your classifier, manage data, say what is missing.", **OPTIONS
)
data_app = typer.Typer(help="The data sets: list them, fetch the full ones, verify what is there.", **OPTIONS)
app.add_typer(data_app, name="data")

Lessons = Annotated[
    list[str] | None, typer.Argument(metavar="[LESSON]...", help="Numbers such as 1 3; all if omitted.")
]
Profile = Annotated[str, typer.Option(help="quick, full, or auto: full with a GPU, quick without.")]
Changes = Annotated[
    list[str] | None, typer.Option("--set", metavar="NN.name=value", help="Change a setting of one lesson.")
]
Timeout = Annotated[float, typer.Option(min=1, help="Seconds that one lesson may take.")]
DataName = Annotated[str, typer.Argument(help="The name of a data set, as `course data list` shows it.")]


@app.command()
def run(
    lessons: Lessons = None,
    profile: Profile = "auto",
    changes: Changes = None,
    jobs: Annotated[int, typer.Option(min=1, help="Lessons that run side by side.")] = 1,
    out: Annotated[Path, typer.Option(help="The folder for notebooks, report.json and index.html.")] = Path(
        "runs/latest"
    ),
    timeout: Timeout = 3600,
    cell_timeout: Annotated[float, typer.Option(min=1, help="Seconds that one cell may take.")] = 1800,
    html: Annotated[bool, typer.Option("--html", help="Also write each lesson as a page.")] = False,
    again: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="Afterwards run each section again that took no longer.")
    ] = 0,
) -> None:
    """Run lessons, each in its own process, and write notebooks and a report.

    A path that ends in .ipynb runs that notebook. Exit code: 0; 1 when a lesson failed; 2 when the call was wrong,
    and nothing ran then.
    """
    from course_utils.command import runner

    planned = runner.plan(lessons or [], profile, changes or [])
    with progress({job.label: job.notebook.stem for job in planned}) as watcher:
        report = runner.run(
            planned,
            out,
            parallel=jobs,
            timeout=timeout,
            cell_timeout=cell_timeout,
            html=html,
            again=again,
            watcher=watcher,
        )
    for lesson in report.lessons:
        if lesson["error"] and lesson["status"] != "interrupted":
            typer.echo(f"course: {lesson['label']} {lesson['status']}: {lesson['error']}", err=True)
    typer.echo(f"Report: {(out / 'index.html').as_posix()}")
    if report.interrupted:
        typer.echo("course: interrupted", err=True)
        raise typer.Exit(INTERRUPTED)
    raise typer.Exit(OK if report.passed else LESSON_FAILED)


@app.command()
def build(
    lessons: Lessons = None,
    profile: Profile = "auto",
    changes: Changes = None,
    timeout: Timeout = 3600,
    record_only: Annotated[bool, typer.Option("--record-only", help="Record figures; leave the notebook.")] = False,
    prose: Annotated[bool, typer.Option("--prose", help="Fill the text again without running anything.")] = False,
) -> None:
    """Make the notebooks from their sources: run, record figures, fill the text, write."""
    from course_utils.base.lessons import choose, find_root, sources
    from course_utils.command import builder
    from course_utils.command.notebooks.parameters import parse_assignments

    root = find_root()
    chosen = choose(lessons or [], sources(root), "source")
    given = parse_assignments(changes or [], list(chosen))
    failed = False
    for number in chosen:
        with progress({number: chosen[number].stem}) as watcher:
            try:
                if prose:
                    outcome = builder.fill_again(number, root)
                else:
                    outcome = builder.build(
                        number, profile, overrides=given[number], timeout=timeout, record_only=record_only, root=root,
                        on_cell=lambda index, of, number=number: watcher.cell(number, index, of),
                    )  # fmt: skip
            except RunError as error:
                typer.echo(f"course: {error}", err=True)
                failed = True
                continue
        typer.echo(build_line(outcome, root, record_only))
        for problem in outcome.problems:
            typer.echo(f"course: lesson {number}: {problem}", err=True)
        failed |= bool(outcome.problems)
    raise typer.Exit(LESSON_FAILED if failed else OK)


@app.command()
def check(
    paths: Annotated[
        list[Path], typer.Argument(metavar="NOTEBOOK...", help="Learners' notebooks, or folders of them.")
    ],
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write the outcomes to a CSV file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON for programs, instead of the table.")] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Notebooks that are judged side by side.")] = 1,
    timeout: Annotated[
        float, typer.Option(min=1, help="Seconds that one answer may take; a notebook gets five times as many.")
    ] = 20,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Also say why answers are wrong.")] = False,
) -> None:
    """Judge the exercises in learners' notebooks: correct, wrong, not attempted, or an error.

    No notebook is run or changed: each answer is taken out with what it needs and called in a process that can do no
    harm. Exit code: 0; 1 when something could not be judged, such as an archive; 2 when the call was wrong.
    """
    from rich.console import Console

    from course_utils.base.words import few
    from course_utils.command.grading import referee, report, submissions

    if csv is not None:
        report.check_csv(csv)
    found = submissions.find(paths)
    try:
        with counting(len(found.names), "judged") as one_more:
            results = referee.judge_all(found, jobs=jobs, timeout=timeout, finished=one_more)
    except KeyboardInterrupt:
        typer.echo("course: interrupted", err=True)
        raise typer.Exit(INTERRUPTED) from None
    unsaved: CourseError | None = None
    if csv is not None:
        try:
            report.save_csv(report.to_csv(results.rows), csv)
        except CourseError as error:  # the judgements are shown all the same
            unsaved = error
    if as_json:
        typer.echo(report.to_json(results))
    else:
        report.show(results, Console(highlight=False, soft_wrap=True), verbose=verbose)
    if results.passed_over:
        named = report.plain(few(results.passed_over, 20))
        typer.echo(f"course: passed over, as they are no notebooks: {named}.", err=True)
    if not results.confined:
        typer.echo(f"course: {referee.UNCONFINED}", err=True)
    if unsaved:
        raise unsaved
    raise typer.Exit(OK if results.complete else LESSON_FAILED)


@app.command()
def ask(
    classifier: Annotated[Path, typer.Argument(metavar="CLASSIFIER", help="A file of transfer.save_network.")],
    pictures: Annotated[list[Path], typer.Argument(metavar="PICTURE...", help="Pictures, or folders of them.")],
    top: Annotated[int, typer.Option(min=1, help="How many of the likeliest classes to show.")] = 3,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write the answers to a CSV file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON for programs, instead of lines.")] = False,
) -> None:
    """Say what a saved classifier makes of your pictures: the likeliest classes, with their shares.

    Exit code: 0; 1 when a picture in a folder could not be read; 2 when a file that was named is no classifier or no
    picture. The other pictures are answered all the same.
    """
    from course_utils.base.words import few
    from course_utils.command import ask as asking
    from course_utils.command.grading import report

    asked, others = asking.find(pictures)
    if csv is not None:
        report.check_csv(csv)
        asking.check_csv(csv, classifier, asked)
    net = asking.load(classifier)
    width = min(40, max(len(each.shown) for each in asked))
    given = []
    for answer in asking.answers(net, asked, top):
        given.append(answer)
        if answer.error:
            typer.echo(f"course: {answer.error}", err=True)
        elif not as_json:
            typer.echo(f"{answer.asked.shown:<{width}}  {answer}")
    if csv is not None:
        report.save_csv(asking.to_csv(given), csv)
    if as_json:
        typer.echo(asking.to_json(net, given, others))
    elif closing := asking.closing(net):
        typer.echo(closing)
    if others:
        typer.echo(f"course: passed over, as they are no pictures: {few(others)}.", err=True)
    failed = [answer.asked for answer in given if answer.error]
    raise typer.Exit(WRONG_CALL if any(each.named for each in failed) else LESSON_FAILED if failed else OK)


@data_app.command("list")
def data_list(as_json: Annotated[bool, typer.Option("--json", help="JSON for programs.")] = False) -> None:
    """List the data sets: which are complete, where they are, how large."""
    from course_utils.data.sources import inventory

    entries = inventory()
    if as_json:
        keys = ("name", "title", "found", "kind", "size_bytes", "description")
        lines = [{key: getattr(e, key) for key in keys} | {"path": str(e.path) if e.path else None} for e in entries]
        typer.echo(json.dumps(lines, indent=2))
        return
    for entry in entries:
        state = "complete" if entry.found else "sample"
        where = f"\n{'':26}{entry.path}" if entry.path else ""
        typer.echo(f"{entry.name:<15}{state:<11}{entry.description} ({entry.size_bytes / 1e6:,.1f} MB){where}")


@data_app.command("fetch")
def data_fetch(
    name: DataName, force: Annotated[bool, typer.Option("--force", help="Download damaged files again.")] = False
) -> None:
    """Download a full data set, unless it is there already."""
    from course_utils.data.sources import fetch

    typer.echo(f"{name}: {fetch(name, force=force).description}")


@data_app.command("verify")
def data_verify(
    names: Annotated[list[str] | None, typer.Argument(help="Data sets; all complete ones if omitted.")] = None,
) -> None:
    """Check the files of data sets: checksums, every picture, counts per class. Exit code 1 when something is wrong."""
    from course_utils.data.sources import inventory, verify

    wrong = False
    for name in names or [entry.name for entry in inventory() if entry.found]:
        problems = verify(name)
        typer.echo(f"{name}: in order" if not problems else f"{name}: damaged or missing")
        for problem in problems:
            typer.echo(f"course: {problem}", err=True)
        wrong |= bool(problems)
    raise typer.Exit(LESSON_FAILED if wrong else OK)


@app.command()
def doctor(as_json: Annotated[bool, typer.Option("--json", help="JSON for programs.")] = False) -> None:
    """Say what is installed, what is missing, and what to do about it. Exit code 1 when something needed is missing."""
    from course_utils.command import doctor as doctors

    found = doctors.diagnose()
    typer.echo(json.dumps(found, indent=2) if as_json else doctors.report(found))
    broken = found["device"]["kind"] is None or not all(found["versions"].get(name) for name in doctors.NEEDED)
    raise typer.Exit(LESSON_FAILED if broken else OK)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def lab(context: typer.Context) -> None:
    """Start JupyterLab in the notebooks folder; further arguments go to JupyterLab."""
    from course_utils.base.lessons import find_root

    command = [sys.executable, "-m", "jupyterlab", *context.args]
    raise typer.Exit(subprocess.run(command, cwd=find_root() / "notebooks", check=False).returncode)


def build_line(outcome: Any, root: Path, record_only: bool = False) -> str:
    """Return the line that says what a build made."""
    where = "results/" if record_only else outcome.notebook.relative_to(root).as_posix()
    if outcome.execution is None:
        return f"{outcome.lesson}  text filled again in {where}"
    done = outcome.execution
    memory = f", {done.peak_memory_mb:,.0f} MB" if done.peak_memory_mb else ""
    profile = (done.settings or {}).get("profile", "")
    return f"{outcome.lesson}  {where} ({profile}, {done.seconds:.0f} s{memory}, {len(done.figures)} figures)"


@contextmanager
def progress(names: dict[str, str]) -> Iterator[Any]:
    """Show a bar for each notebook while it runs, and give a watcher for `runner.run`."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    # Not `console.is_terminal`, which FORCE_COLOR makes true: bars would fill a log with control codes.
    with Bars(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as bars:
        tasks = {label: bars.add_task(name, total=None, start=False) for label, name in names.items()}

        class Watcher:
            def cell(self, label: str, index: int, of: int) -> None:
                if not bars.tasks[tasks[label]].started:
                    bars.start_task(tasks[label])
                bars.update(tasks[label], completed=index, total=of)

            def finished(self, label: str, entry: dict[str, Any]) -> None:
                memory = f", {entry['peak_memory_mb']:,.0f} MB" if entry["peak_memory_mb"] else ""
                console.print(f"{names[label]}: {entry['status']} ({entry['seconds']:.1f} s{memory})", markup=False)
                bars.update(tasks[label], visible=False)

        yield Watcher()


@contextmanager
def counting(total: int, what: str) -> Iterator[Callable[[str], None]]:
    """On a terminal, show a bar that advances with each call of the function that this yields."""
    from rich.console import Console
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    with Bars(console=console, transient=True, disable=not sys.stderr.isatty()) as bars:
        task = bars.add_task(what, total=total)
        yield lambda _: bars.advance(task)


def main() -> None:
    """Run the command; errors are one sentence on standard error, without a traceback."""
    for name in ("SIGTERM", "SIGHUP"):  # asked to end, or the terminal is closed: clean up as after Ctrl-C
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) == signal.SIG_DFL:  # not under nohup
            signal.signal(number, signal.default_int_handler)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # what the console's encoding lacks
    try:
        sys.exit(app(prog_name="course", standalone_mode=False) or OK)
    except CourseError as error:
        typer.echo(f"course: {error}", err=True)
        sys.exit(WRONG_CALL if isinstance(error, SettingError) else LESSON_FAILED)
    except (KeyboardInterrupt, typer.Abort):
        typer.echo("course: interrupted", err=True)
        sys.exit(INTERRUPTED)
    except Exception as error:
        if not hasattr(error, "exit_code"):
            raise
        # typer's own errors: an unknown option, a value that is not a number
        typer.echo(f"course: {error.format_message() if hasattr(error, 'format_message') else error}", err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
