"""fastai's `vision_learner(...).fine_tune` against the loop of lesson 5: the same body, weights, pictures and cores.

    python benchmarks/fastai_peer.py [--per-class 100] [--epochs 5] [--seeds 3] [--record]

Both sides get the same picture files of Fashion-MNIST (RGB, 96 × 96), timm's `tf_efficientnet_lite0` with the ImageNet
weights that the course brings, and two processor cores. fastai: `vision_learner` as it is, `fine_tune(epochs)` with its
own rates, its own augmentation (`aug_transforms`) and two workers. Ours: the head on cached features, then one-cycle
with the upper stages unfrozen and smaller rates below. Only training is timed, and of ours the features too; the test
accuracy after each epoch is not. Prints both sides for each seed, and the seconds that ours takes to fastai's final
accuracy. The bars: in no more time an accuracy at least equal, and at most half the seconds to an equal one.

fastai is no dependency of the course. To have it beside the course's packages, in an environment of its own:

    python -m venv ../fastai
    python -c "import site; print(site.getsitepackages()[0])" > ../fastai/lib/python3.*/site-packages/course.pth
    ../fastai/bin/pip install fastai
    ../fastai/bin/python benchmarks/fastai_peer.py

Where it is missing, the script says so and ends.
"""

from __future__ import annotations

import course_utils  # noqa: F401 - before torch is loaded: it says how threads wait

# isort: split
import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import replace
from pathlib import Path

import clothes
import recipe
import torch

from course_utils import data, training, transfer
from course_utils.base.machine import versions

SIDES = ("fastai", "ours")
PACKAGES = ("torch", "torchvision", "timm", "fastai")
RECORD = clothes.RESULTS / "benchmark_fastai_peer.json"
AT_MOST = 0.5  # of fastai's seconds to an accuracy that is at least fastai's


class Clock:
    """Seconds of training alone, and the test accuracy whenever it is asked for."""

    def __init__(self, test: data.FilePart, net: transfer.Network) -> None:
        self.test = data.loader(test, 100, transform=clothes.plain(net), workers=2)
        self.seconds, self.rows, self.start = 0.0, [], time.perf_counter()

    def stop(self) -> None:
        """Stop the time."""
        self.seconds += time.perf_counter() - self.start

    def go_on(self) -> None:
        """Let the time run again."""
        self.start = time.perf_counter()

    def look(self, model: torch.nn.Module) -> None:
        """Note the accuracy of `model`, which takes normalised pictures; the time stands still meanwhile."""
        self.rows.append([round(self.seconds, 2), training.predict(model, self.test).accuracy])


def fastai_side(own: data.ImageSet, options: argparse.Namespace) -> list[list[float]]:
    """Return (seconds so far, test accuracy) after each of the epochs, the frozen one first."""
    warnings.filterwarnings("ignore")
    from fastai.vision.all import Callback, ImageDataLoaders, aug_transforms, set_seed, vision_learner

    net = transfer.backbone("efficientnet_lite0")
    clock = Clock(own.test, net)

    class Watch(Callback):
        """The clock runs while training does."""

        def before_validate(self) -> None:
            clock.stop()

        def after_validate(self) -> None:
            clock.look(self.learn.model)
            clock.go_on()

    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "efficientnet_lite0.pth"  # with timm's names
        torch.save(net.model.state_dict(), weights)
        set_seed(options.first)
        clock.go_on()
        loaders = ImageDataLoaders.from_folder(
            own.source.path, valid="validation", batch_tfms=aug_transforms(), bs=options.batch, num_workers=2
        )
        learner = vision_learner(
            loaders, "tf_efficientnet_lite0", pretrained_cfg_overlay={"file": str(weights)}, cbs=Watch()
        )
        with learner.no_bar(), learner.no_logging():
            learner.fine_tune(options.epochs, options.rate)
        clock.stop()
    return clock.rows


def our_side(own: data.ImageSet, epochs: int, seed: int) -> list[list[float]]:
    """Return (seconds so far, test accuracy) after the head, and after each epoch of the upper stages."""
    with tempfile.TemporaryDirectory() as folder:
        net = recipe.fresh(own.classes, seed)
        clock = Clock(own.test, net)
        clock.go_on()
        recipe.train_head(net, own.train, clothes.plain(net), Path(folder), seed)
        clock.stop()
        clock.look(net.model)
        later = recipe.train_upper_stages(net, own.train, seed, epochs=epochs, test=own.test)
    return clock.rows + [[round(clock.seconds + seconds, 2), accuracy] for seconds, accuracy in later]


def in_its_own_process(side: str, folder: Path, options: argparse.Namespace, seed: int) -> list[list[float]]:
    """Return what `--side` prints: fastai changes Pillow and PyTorch, and shall not change ours."""
    command = [sys.executable, __file__, "--side", side, "--folder", str(folder), "--first", str(seed)]
    for name in ("epochs", "batch", "rate", "our_epochs"):
        command += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def first_at(rows: list[list[float]], goal: float) -> float | None:
    """Return the seconds to the first accuracy of at least `goal`."""
    return next((seconds for seconds, accuracy in rows if accuracy >= goal), None)


def main() -> None:
    """Measure both sides in turn, print them, and record them if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--per-class", type=int, default=100, help="training pictures")
    parser.add_argument("--test", type=int, default=200, help="test pictures a class")
    parser.add_argument("--epochs", type=int, default=5, help="of fastai's fine_tune, after its frozen one")
    parser.add_argument("--batch", type=int, default=16, help="fastai's pictures in a batch")
    parser.add_argument("--rate", type=float, default=2e-3, help="fastai's base_lr")
    parser.add_argument("--our-epochs", type=int, default=recipe.EPOCHS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--record", action="store_true", help="write results/benchmark_fastai_peer.json")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side != "ours" and importlib.util.find_spec("fastai") is None:
        print(
            "fastai is not installed, so there is nothing to compare with; the head of this file says how to have it."
        )
        return
    if options.side:
        own = data.folder(options.folder, quiet=True)
        own = replace(own, source=data.Source("folder", "", path=options.folder))
        run = (
            fastai_side(own, options) if options.side == "fastai" else our_side(own, options.our_epochs, options.first)
        )
        print(json.dumps(run))
        return
    settings = {
        "per_class": options.per_class,
        "fine_tune": {"epochs": options.epochs, "base_lr": options.rate, "batch": options.batch},
        "our_epochs": options.our_epochs,
        "test_pictures": 10 * options.test,
    }
    runs = {side: {} for side in SIDES}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(options.first, options.first + options.seeds):
            own = clothes.clothes(Path(folder), options.per_class, seed, test=options.test, validation=20)
            for side in SIDES:
                runs[side][str(seed)] = in_its_own_process(side, own.source.path, options, seed)
                points = ", ".join(f"{seconds:.1f} s {accuracy:.1%}" for seconds, accuracy in runs[side][str(seed)])
                print(f"seed {seed}  {side:<7} {points}", flush=True)
    if options.record and RECORD.is_file():
        before = json.loads(RECORD.read_text(encoding="utf-8"))
        if all(before[key] == value for key, value in settings.items()) and before["versions"] == versions(*PACKAGES):
            runs = {side: dict(sorted((before["runs"][side] | runs[side]).items())) for side in SIDES}
    ours, theirs = list(runs["ours"].values()), list(runs["fastai"].values())
    ends = {
        side: clothes.summary([rows[-1][1] for rows in runs[side].values()], settings["test_pictures"])
        for side in SIDES
    }
    ends |= {f"{side} seconds": [rows[-1][0] for rows in runs[side].values()] for side in SIDES}
    needed = [first_at(rows, goal[-1][1]) for rows, goal in zip(ours, theirs)]
    shares = [s / rows[-1][0] if s else None for s, rows in zip(needed, theirs)]
    for side in SIDES:
        took = statistics.mean(ends[f"{side} seconds"])
        print(f"{clothes.line(side, ends[side])}; {took:.1f} s")
    print(
        "ours to fastai's final accuracy:", ", ".join("never" if s is None else f"{s:.0%} of its time" for s in shares)
    )
    if options.record:
        figures = settings | {
            "data": own.source.description,
            "runs": runs,
            "ends": ends,
            "share_of_time": [s and round(s, 3) for s in shares],
            "at_most": AT_MOST,
        }
        clothes.record("fastai_peer", figures, "fastai")
    slower = any(a[-1][0] > b[-1][0] for a, b in zip(ours, theirs))
    if slower or ends["ours"]["mean"] < ends["fastai"]["mean"] or not all(s and s <= AT_MOST for s in shares):
        raise SystemExit(f"The bars: no less accuracy in no more time, and {AT_MOST:.0%} of the time to the same.")


if __name__ == "__main__":
    main()
