"""The `course` command: run and build lessons, check answers, ask classifiers, manage data, say what is missing."""

from __future__ import annotations

import codecs
import io
import json
import os
import signal
import sys
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from course_utils.base.paths import missing_data_folder
from course_utils.errors import CourseError, RunError, SettingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PLAIN = {"✓": "+", "✗": "x", "○": "o", "×": "x", "−": "-", "·": ".", "…": ".", "→": ">", "\N{NO-BREAK SPACE}": " "}
OK, LESSON_FAILED, WRONG_CALL, INTERRUPTED = 0, 1, 2, 130
NOTHING = ""  # for options that are switches: no type stands beside them in the help
LEARN, TEACH, MAINTAIN = "Learn", "Teach", "Maintain"
OPTIONS = {
    "invoke_without_command": True,
    "add_completion": False,
    "rich_markup_mode": "markdown",
    "pretty_exceptions_enable": False,
}
app = typer.Typer(**OPTIONS)
data_app = typer.Typer(**OPTIONS)


@app.callback()
def course(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", metavar=NOTHING, help="Say the course's version and end.")
    ] = False,
) -> None:
    """Pixels to Predictions: work through the lessons, run them, judge answers. Begin with: course lab"""
    if version:
        from course_utils import __version__

        typer.echo(f"course {__version__}")
        raise typer.Exit(OK)
    help_alone(context)


@data_app.callback()
def data(context: typer.Context) -> None:
    """List the data sets, fetch the full ones, verify them."""
    help_alone(context)


def help_alone(context: typer.Context) -> None:
    """Show the help of a command that was called without one of its own commands."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(OK)


Lessons = Annotated[list[str] | None, typer.Argument(metavar="LESSON", help="Numbers such as 1 3; all if omitted.")]
Profile = Annotated[str, typer.Option(metavar="PROFILE", help="quick, full, or auto: full with a GPU, quick without.")]
Changes = Annotated[
    list[str] | None, typer.Option("--set", metavar="NN.name=value", help="Change a setting of one lesson.")
]
Timeout = Annotated[float, typer.Option(metavar="SECONDS", min=1, help="Seconds that one lesson may take.")]
DataName = Annotated[str, typer.Argument(help="The name of a data set, as `course data list` shows it.")]


@app.command(rich_help_panel=LEARN, context_settings={"ignore_unknown_options": True})
def lab(
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="LESSON", help="A lesson's number; then JupyterLab's own options.")
    ] = None,
) -> None:
    """Open JupyterLab on the start page, or on a lesson.

    You work on copies of your own, in the folder work of the course, or in the one that COURSE_WORK names. The page
    shows the way through the course, how long each lesson takes and what you have solved.
    """
    from course_utils.command import lab as labs

    raise typer.Exit(labs.start(arguments or []))


@app.command(rich_help_panel=LEARN)
def reset(
    lessons: Annotated[list[str], typer.Argument(metavar="LESSON", help="Numbers such as 1 3.")],
) -> None:
    """Put a fresh copy of a lesson into work; yours is kept.

    The old copy goes to the folder earlier there, with the date in its name.
    """
    from course_utils.base.lessons import find_root
    from course_utils.command import lab as labs

    root = find_root()
    for fresh, kept in labs.reset(lessons, root, labs.work_folder(root)):
        typer.echo(f"{fresh} is a fresh copy" + (f"; yours is now {kept}" if kept else ""))


@app.command(rich_help_panel=LEARN)
def ask(
    classifier: Annotated[Path, typer.Argument(metavar="CLASSIFIER", help="A file of transfer.save_network.")],
    pictures: Annotated[
        list[Path], typer.Argument(metavar="PICTURE", readable=False, help="Pictures, or folders of them.")
    ],
    top: Annotated[int, typer.Option(metavar="N", min=1, help="How many of the likeliest classes to show.")] = 3,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write the answers to a CSV file.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", metavar=NOTHING, help="JSON for programs, instead of lines.")
    ] = False,
) -> None:
    """Say what a saved classifier makes of your pictures.

    It names the likeliest classes, with their shares. Exit code: 0; 1 when a picture in a folder could not be read; 2
    when a file that was named is no classifier or no picture. The other pictures are answered all the same.
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
    elif any(answer.guesses for answer in given) and (closing := asking.closing(net)):
        typer.echo(closing)
    if others:
        typer.echo(f"course: passed over, as they are no pictures: {few(others)}.", err=True)
    failed = [answer.asked for answer in given if answer.error]
    raise typer.Exit(WRONG_CALL if any(each.named for each in failed) else LESSON_FAILED if failed else OK)


@app.command(rich_help_panel=LEARN)
def doctor(
    as_json: Annotated[bool, typer.Option("--json", metavar=NOTHING, help="JSON for programs.")] = False,
) -> None:
    """Say what is installed, what is missing, and what to do.

    Exit code: 0; 1 when something needed is missing.
    """
    from rich.console import Console

    from course_utils.command import doctor as doctors

    with Console(stderr=True).status("Looking around") if watched() else nullcontext():
        found = doctors.diagnose()
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        doctors.show(found, Console(highlight=False))
    raise typer.Exit(OK if doctors.ready(found) else LESSON_FAILED)


@data_app.command("list")
def data_list(
    as_json: Annotated[bool, typer.Option("--json", metavar=NOTHING, help="JSON for programs.")] = False,
) -> None:
    """List the data sets: what is there, where, and how large."""
    from course_utils.data.sources import inventory

    _tell_missing_folder()
    entries = inventory()
    if as_json:
        keys = ("name", "title", "found", "kind", "size_bytes", "description")
        lines = [{key: getattr(e, key) for key in keys} | {"path": str(e.path) if e.path else None} for e in entries]
        typer.echo(json.dumps(lines, indent=2))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    for entry in entries:
        words = f"{entry.description} ({entry.size_bytes / 1e6:,.1f} MB)" + (f"\n{entry.path}" if entry.path else "")
        table.add_row(entry.name, "complete" if entry.found else "sample", escape(words))
    Console(highlight=False).print(table)


@data_app.command("fetch")
def data_fetch(
    name: DataName,
    force: Annotated[
        bool, typer.Option("--force", metavar=NOTHING, help="Download damaged files again, and CIFAR-10 whole.")
    ] = False,
) -> None:
    """Download a full data set, unless it is there already."""
    from course_utils.data.sources import fetch

    _tell_missing_folder()
    typer.echo(f"{name}: {fetch(name, force=force).description}")


@data_app.command("verify")
def data_verify(
    names: Annotated[list[str] | None, typer.Argument(help="Data sets; all complete ones if omitted.")] = None,
) -> None:
    """Check the files of data sets.

    It compares checksums (of Fashion-MNIST's original files), opens every picture and counts the classes; so a changed
    picture in another copy is not found. Exit code: 0; 1 when something is wrong.
    """
    from course_utils.data.sources import inventory, verify

    _tell_missing_folder()
    wrong = False
    for name in names or [entry.name for entry in inventory() if entry.found]:
        problems = verify(name)
        typer.echo(f"{name}: in order" if not problems else f"{name}: damaged or missing")
        for problem in problems:
            typer.echo(f"course: {problem}", err=True)
        wrong |= bool(problems)
    raise typer.Exit(LESSON_FAILED if wrong else OK)


def _tell_missing_folder() -> None:
    """Say so where COURSE_DATA_DIR names a folder that is not there: what is missing may lie in another one."""
    if sentence := missing_data_folder():
        typer.echo(f"course: {sentence}", err=True)


app.add_typer(data_app, name="data", rich_help_panel=LEARN)


@app.command(rich_help_panel=TEACH)
def run(
    lessons: Lessons = None,
    profile: Profile = "auto",
    changes: Changes = None,
    jobs: Annotated[int, typer.Option(metavar="N", min=1, help="Lessons that run side by side.")] = 1,
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="The folder for notebooks, report.json and index.html.")
    ] = Path("runs/latest"),
    timeout: Timeout = 3600,
    cell_timeout: Annotated[
        float, typer.Option(metavar="SECONDS", min=1, help="Seconds that one cell may take.")
    ] = 1800,
    html: Annotated[bool, typer.Option("--html", metavar=NOTHING, help="Also write each lesson as a page.")] = False,
    again: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="Afterwards run each section again that took no longer.")
    ] = 0,
) -> None:
    """Run lessons, and write their notebooks and a report.

    A path that ends in .ipynb runs that notebook. Exit code: 0; 1 when a lesson failed; 2 when the call was wrong,
    and nothing ran then.
    """
    from course_utils.command import runner

    planned = runner.plan(lessons or [], profile, changes or [])
    with progress({job.label: job.notebook.stem for job in planned}) as watcher:
        report = runner.run(
            planned, out, parallel=jobs, timeout=timeout, cell_timeout=cell_timeout, html=html, again=again,
            watcher=watcher,
        )  # fmt: skip
    for lesson in report.lessons:
        if lesson["error"] and lesson["status"] != "interrupted":
            typer.echo(f"course: {lesson['label']} {lesson['status']}: {lesson['error']}", err=True)
    good = sum(lesson["status"] == "passed" for lesson in report.lessons)
    typer.echo(f"{good} of {len(report.lessons)} passed. Report: {(out / 'index.html').as_posix()}")
    if report.interrupted:
        typer.echo("course: interrupted", err=True)
        raise typer.Exit(INTERRUPTED)
    raise typer.Exit(OK if report.passed else LESSON_FAILED)


@app.command(rich_help_panel=TEACH)
def check(
    paths: Annotated[list[Path], typer.Argument(metavar="NOTEBOOK", help="Learners' notebooks, or folders of them.")],
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write the outcomes to a CSV file.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", metavar=NOTHING, help="JSON for programs, instead of the table.")
    ] = False,
    jobs: Annotated[int, typer.Option(metavar="N", min=1, help="Notebooks that are judged side by side.")] = 1,
    timeout: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", min=1, help="Seconds that one answer may take; a notebook gets five times as many."
        ),
    ] = 20,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", metavar=NOTHING, help="Also say why answers are wrong.")
    ] = False,
) -> None:
    """Judge the exercises in learners' notebooks.

    Correct, wrong, not attempted, or an error. No notebook is run or changed: each answer is taken out with what it
    needs and called in a process that can do no harm. Exit code: 0; 1 when something could not be judged, such as
    an archive; 2 when the call was wrong.
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


@app.command(rich_help_panel=MAINTAIN)
def build(
    lessons: Lessons = None,
    profile: Profile = "auto",
    changes: Changes = None,
    timeout: Timeout = 3600,
    record_only: Annotated[
        bool, typer.Option("--record-only", metavar=NOTHING, help="Record figures; leave the notebook.")
    ] = False,
    prose: Annotated[
        bool, typer.Option("--prose", metavar=NOTHING, help="Fill the text again without running anything.")
    ] = False,
) -> None:
    """Make the notebooks from their sources.

    It runs a lesson, records its figures, fills the text with them, and writes the notebook.
    """
    from course_utils.base.lessons import choose, find_root, sources
    from course_utils.command import builder
    from course_utils.command.notebooks.parameters import parse_assignments

    root = find_root()
    chosen = choose(lessons or [], sources(root), "source")
    given = parse_assignments(changes or [], list(chosen))
    if prose and (changes or record_only or profile != "auto"):
        raise SettingError("--prose runs nothing, so --profile, --set and --record-only say nothing; leave them out.")
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
    from rich.table import Column

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    whole = [Column(no_wrap=True, min_width=7) for _ in range(2)]  # times and counts are never cut off
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(table_column=whole[0]),
        TimeElapsedColumn(table_column=whole[1]),
    )  # fmt: skip
    with Bars(*columns, console=console, transient=True, disable=not watched()) as bars:
        tasks = {label: bars.add_task(name, total=None, start=False) for label, name in names.items()}
        lessons = bars.add_task("lessons", total=len(names), visible=len(names) > 1)

        class Watcher:
            def cell(self, label: str, index: int, of: int) -> None:
                if not bars.tasks[tasks[label]].started:
                    bars.start_task(tasks[label])
                bars.update(tasks[label], completed=index, total=of)

            def finished(self, label: str, entry: dict[str, Any]) -> None:
                memory = f", {entry['peak_memory_mb']:,.0f} MB" if entry["peak_memory_mb"] else ""
                mark, style = ("✓", "green") if entry["status"] == "passed" else ("✗", "red")
                told = f"{names[label]}: {entry['status']} ({entry['seconds']:.1f} s{memory})"
                console.print(mark, told, style=style, markup=False)
                bars.update(tasks[label], visible=False)
                bars.advance(lessons)

        yield Watcher()


@contextmanager
def counting(total: int, what: str) -> Iterator[Callable[[str], None]]:
    """On a terminal, show a bar that advances with each call of the function that this yields."""
    from rich.console import Console
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    with Bars(console=console, transient=True, disable=not watched()) as bars:
        task = bars.add_task(what, total=total)
        yield lambda _: bars.advance(task)


def watched() -> bool:
    """Tell whether a person looks on: bars move on a real terminal only, whatever FORCE_COLOR says of colours."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def in_plain_signs(error: UnicodeError) -> tuple[str, int]:
    """Give for signs that a stream's encoding lacks what comes nearest to them, or a question mark."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(PLAIN.get(sign, "?") for sign in error.object[error.start : error.end]), error.end


def main() -> None:
    """Run the command; errors are one sentence on standard error, without a traceback, in any encoding."""
    codecs.register_error("course", in_plain_signs)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="course")
    for name in ("SIGTERM", "SIGHUP"):  # asked to end, or the terminal is closed: clean up as after Ctrl-C
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) == signal.SIG_DFL:  # not under nohup
            signal.signal(number, signal.default_int_handler)
    try:
        sys.exit(app(prog_name="course", standalone_mode=False) or OK)
    except CourseError as error:
        typer.echo(f"course: {error}", err=True)
        sys.exit(WRONG_CALL if isinstance(error, SettingError) else LESSON_FAILED)
    except (KeyboardInterrupt, typer.Abort):
        typer.echo("course: interrupted", err=True)
        sys.exit(INTERRUPTED)
    except ModuleNotFoundError as error:
        package = (error.name or "course_utils").partition(".")[0]
        if package == "course_utils":
            raise
        typer.echo(f"course: {package} is not installed; course doctor says what is missing, and what to do.", err=True)
        sys.exit(LESSON_FAILED)
    except Exception as error:
        if not hasattr(error, "exit_code"):
            raise
        # typer's own errors: an unknown option, a value that is not a number
        typer.echo(f"course: {error.format_message() if hasattr(error, 'format_message') else error}", err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
