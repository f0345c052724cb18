"""Fill the README's and CONTRIBUTING's tables and pictures from recorded runs, so that no figure is typed by hand.

python tools/make_readme.py           write README.md, CONTRIBUTING.md and docs/pictures/
python tools/make_readme.py --check   exit 1 when they would change
"""

from __future__ import annotations

import argparse
import base64
import json
import re
import statistics
import sys
from pathlib import Path

from course_utils.base.words import percent
from course_utils.command.builder import studied
from course_utils.command.lab import LEVELS

ROOT = Path(__file__).resolve().parent.parent
PICTURES = {  # file: (notebook, how the picture's alternative text begins)
    "filters.jpg": ("02_convolution_by_hand", "Twelve versions of a cat's face"),
    "mistakes.png": ("03_fashion_mnist_cnn", "A table of ten by ten fields"),
}
FINDINGS = {  # what the README says of each lesson, from its recorded run
    "01": "a trained network asked by hand; a photograph of {f[raw_bytes]:,} numbers, taken apart and put together; "
    "three gains learned by gradient descent, in {f[best_steps_plain]} steps, or in {f[best_steps_evened]} when the "
    "pictures are evened out first",
    "02": "the same convolution four times: from loops to `F.conv2d`, {f[library_speedup]:,.0f} times faster "
    "on a picture of {f[side]} × {f[side]}",
    "03": "{f[test_accuracy]:.1%} ± {f[test_two_errors]:.1%} (two standard errors) of the test pictures right (mean of "
    "{f[runs]} seeds) "
    "after {f[epochs]} epochs; one dense layer, moved by three pixels, keeps {f[moved_one_layer]:.0%}, this network "
    "{f[moved_ours]:.0%}",
    "04": "in a benchmark, {cifar[ours][accuracy]:.1%} of CIFAR-10's test pictures right (JPEG copies) after "
    "{cifar[ours][epochs]} epochs, {cifar[ours][processor_seconds]:,.0f} s of processor time (budget: two cores, ten "
    "minutes), and {cifar[classic][accuracy]:.1%} for the classic small network after its tutorial's "
    "{cifar[classic][epochs]} epochs",
    "05": "{f[test_accuracy]:.1%} ± {f[test_error]:.1%} (one standard error) of {f[test_pictures]:,} test pictures of "
    "clothes in folders right, {f[training_pictures]:,} to learn from; on ants and bees, which ImageNet knows, the "
    "untouched network has {f[untouched_accuracy]:.1%} and a trained head {f[trained_accuracy]:.1%}",
    "06": "a range test that puts everything back; five schedules, each with its best rate, over {f[runs]} seeds: "
    "{f[finding]}",
    "07": "the ladder from a plain loop upwards, a sprint with tricks left out one at a time, and two processes that "
    "train as one; in a benchmark on one {sprint[device]}, {sprint[mean_accuracy]:.1%} of CIFAR-10's test pictures "
    "right (JPEG copies) after {sprint[warm]:.2f} s of training and answering",
    "A": "equal weights and equal batches in both: the losses agree to a thousandth for "
    "{f[steps_together]} of {f[steps]} steps, then rounding drives them apart",
    "B": "{f[validated]:.1%} of {f[kept]} made-up photographs of {f[classes]} classes right in cross-validation; a "
    "network that has learned the floor instead of the shoe: {f[planted_validated]:.0%} in validation, "
    "{f[planted_swapped]:.0%} when the floors change places",
}


def recorded(lesson: str, profile: str) -> dict | None:
    """Return a recorded run, None when there is none yet."""
    path = ROOT / "results" / f"{lesson}_{profile}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def benchmark(name: str) -> dict:
    """Return a benchmark's recorded run."""
    return json.loads((ROOT / "results" / f"benchmark_{name}.json").read_text(encoding="utf-8"))


def cost(run: dict | None) -> str:
    """Return the seconds and memory of a run, or that there is none."""
    return f"{run['seconds']:.0f} s, {run['peak_memory_mb'] / 1000:.1f} GB" if run else "not run yet: for a GPU"


def spaced(text: str) -> str:
    """Return a text with its shares in the course's form: 92.1 % with a space that does not break."""
    return re.sub(r"(?<=\d)%", "\N{NO-BREAK SPACE}%", text)


def minutes(lesson: str) -> int:
    """Return a lesson's study time."""
    return studied(lesson, ROOT)[0].minutes


def title(notebook: Path) -> str:
    """Return the first heading of a notebook."""
    first = json.loads(notebook.read_text(encoding="utf-8"))["cells"][0]["source"]
    return "".join(first).splitlines()[0].lstrip("# ")


def hours(minutes: float) -> str:
    """Return a study time in hours, to the quarter: "1¼ h"."""
    quarters = max(1, round(minutes / 15))
    return f"{quarters // 4 or ''}{('', '¼', '½', '¾')[quarters % 4]} h"


def table() -> str:
    """Return the table of lessons."""
    lines = ["| lesson | level | study | what the recorded run shows |", "| --- | --- | --- | --- |"]
    sprinted = benchmark("sprint")
    sprinted["warm"] = statistics.median(sprinted["warm_seconds"])
    for lesson, finding in FINDINGS.items():
        run = recorded(lesson, "full") or recorded(lesson, "quick")
        shown = spaced(finding.format(f=run["figures"], cifar=benchmark("cifar10"), sprint=sprinted))
        lines.append(f"| {link(lesson)} | {LEVELS[lesson]} | {hours(minutes(lesson))} | {shown} |")
    whole = sum(minutes(lesson) for lesson in FINDINGS)
    return "\n".join(
        [
            *lines,
            "",
            f"Study: the main path, about {whole / 60:.0f} hours in all; exercises and what is folded take more.",
        ]
    )


def link(lesson: str) -> str:
    """Return a lesson's number and title as a link to its notebook."""
    notebook = next((ROOT / "notebooks").glob(f"{lesson}_*.ipynb"))
    return f"[{lesson.lstrip('0')}. {title(notebook)}](notebooks/{notebook.name})"


def costs() -> str:
    """Return the table of what a run of each lesson takes."""
    lines = ["| lesson | quick | full |", "| --- | --- | --- |"]
    machines: dict[str, set[str]] = {}
    for lesson in FINDINGS:
        runs = quick, full = recorded(lesson, "quick"), recorded(lesson, "full")
        lines.append(f"| {link(lesson)} | {cost(quick)} | {cost(full)} |")
        for run in filter(None, runs):
            hardware = run["hardware"]
            machine = (
                f"{hardware['processor']}, {hardware['cores']} cores, {hardware['gpu'] or 'no GPU'}, "
                f"PyTorch {run['versions']['torch']}"
            )
            machines.setdefault(machine, set()).add(run["date"])
    where = "; ".join(f"{machine}, {' and '.join(sorted(dates))}" for machine, dates in sorted(machines.items()))
    return "\n".join([*lines, "", f"Seconds, and peak memory of the kernel, from `results/`: {where}."])


def race() -> str:
    """Return the sentence about the benchmark of lesson 3."""
    run = benchmark("fashion_mnist")
    slowest, fastest = min(run["speedups"]), max(run["speedups"])
    return (
        f"Lesson 3's network reaches the best test accuracy of the published listing it starts from "
        f"({percent(run['goal'])}, after {run['listing_seconds']:.0f} s of training) {slowest:.1f} to "
        f"{fastest:.1f} times sooner ({len(run['speedups'])} seeds, two cores, both in one run: "
        "`python benchmarks/fashion_mnist.py`)."
    )


def sprint() -> str:
    """Return the sentence about the benchmark of lesson 7."""
    run = benchmark("sprint")
    return (
        f"Lesson 7's sprint on one {run['device']}, {run['date']}: {percent(run['mean_accuracy'], 2)} (mean of "
        f"{len(run['accuracies'])} seeds), {statistics.median(run['warm_seconds']):.2f} s warm and "
        f"{run['cold_seconds']:.1f} s in a fresh process, with PyTorch {run['versions']['torch']} "
        "(`python benchmarks/sprint.py`)."
    )


def picture(notebook: str, begins: str) -> bytes:
    """Return the picture in a notebook whose alternative text begins so."""
    cells = json.loads((ROOT / "notebooks" / f"{notebook}.ipynb").read_text(encoding="utf-8"))["cells"]
    for cell in cells:
        for output in cell.get("outputs", []):
            for kind, about in output.get("metadata", {}).items():
                if about.get("alt", "").startswith(begins):
                    return base64.b64decode(output["data"][kind])
    raise SystemExit(f"{notebook} has no picture whose alternative text begins with {begins!r}; fix PICTURES.")


def main() -> int:
    """Write or check, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    wanted = {}
    for file, blocks in {
        "README.md": {"lessons": table(), "race": race(), "sprint": sprint()},
        "CONTRIBUTING.md": {"costs": costs()},
    }.items():
        text = (ROOT / file).read_text(encoding="utf-8")
        for name, content in blocks.items():
            block = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
            text, found = block.subn(lambda m, content=content: f"{m[1]}{content}\n{m[2]}", text)
            if found != 1:
                raise SystemExit(f"{file} needs the marks <!-- {name} --> and <!-- /{name} --> once.")
        wanted[ROOT / file] = text.encode()
    wanted |= {ROOT / "docs" / "pictures" / name: picture(*where) for name, where in PICTURES.items()}
    stale = [path for path, content in wanted.items() if not path.exists() or path.read_bytes() != content]
    for path in stale:
        print(f"{'stale' if check else 'written'}: {path.relative_to(ROOT)}")
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(wanted[path])
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
