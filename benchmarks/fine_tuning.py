"""When fine-tuning beats the frozen body, and when it does not: three sets of pictures, three seeds each.

    python benchmarks/fine_tuning.py [--seeds 3] [--record]

The same two steps on each set (see `recipe.py`): a head on cached features of the frozen body; then, from that head,
the upper stages with it. Both are measured on the same test pictures: Fashion-MNIST with 100 and with 20 training
pictures a class, other ones for each seed, and 400 a class to measure on; and ants and bees, where COURSE_DATA_DIR has
them. Clothes on black are far from ImageNet's photographs, so the body has something to learn, and with enough pictures
it does. Ants and bees are two of ImageNet's categories: the body has been trained on them already.
Prints mean, spread over seeds and sampling error, and the gain in each seed.
"""

from __future__ import annotations

import course_utils  # noqa: F401 - before torch is loaded: it says how threads wait

# isort: split
import argparse
import statistics
import tempfile
import time
from pathlib import Path

import clothes
import recipe

from course_utils import data, training, transfer


def measure(own: data.ImageSet, view: transfer.Preprocess, cache: Path, seed: int, epochs: int) -> dict[str, float]:
    """Return accuracy and seconds of training, frozen and fine-tuned."""
    final, net = data.held_out(own), recipe.fresh(own.classes, seed)
    test = data.loader(final, 50, transform=view, workers=2)
    start = time.perf_counter()
    recipe.train_head(net, own.train, view, cache, seed)
    found = {"frozen_seconds": time.perf_counter() - start}
    asked = transfer.cached_features(net, final, view, cache=cache, batch=32, progress=False)
    found["frozen"] = training.predict(net.head_layer, asked.batches(500)).accuracy
    del asked  # Windows removes no folder with a file that is mapped
    start = time.perf_counter()
    recipe.train_upper_stages(net, own.train, seed, side=view.crop, epochs=epochs)
    found["fine_tuned_seconds"] = time.perf_counter() - start
    return found | {"fine_tuned": training.predict(net.model, test).accuracy}


def case(title: str, sets: list[data.ImageSet], view: transfer.Preprocess, cache: Path, epochs: int) -> dict:
    """Measure one set of pictures, one seed after another, and print it."""
    rows = []
    for seed, own in enumerate(sets):
        rows.append(measure(own, view, cache, seed, epochs))
        print(
            f"{title}, seed {seed}: frozen {rows[-1]['frozen']:.1%}, fine-tuned {rows[-1]['fine_tuned']:.1%}",
            flush=True,
        )
    count = len(data.held_out(sets[0]))
    found = {
        "data": sets[0].source.description,
        "training_pictures": len(sets[0].train),
        "test_pictures": count,
        "frozen": clothes.summary([row["frozen"] for row in rows], count),
        "fine_tuned": clothes.summary([row["fine_tuned"] for row in rows], count),
        "gains": [round(row["fine_tuned"] - row["frozen"], 4) for row in rows],
        "seconds": {
            way: round(statistics.mean(row[f"{way}_seconds"] for row in rows), 1) for way in ("frozen", "fine_tuned")
        },
    }
    found["gain"] = round(statistics.mean(found["gains"]), 4)
    for way in ("frozen", "fine_tuned"):
        print(f"{clothes.line(f'{title}: {way}', found[way])}; {found['seconds'][way]:.1f} s")
    print(f"{title}: fine-tuning gains {found['gain']:+.1%}")
    return found


def note(cases: dict[str, dict], options: argparse.Namespace) -> None:
    """Record the cases measured so far, if asked."""
    if options.record:
        data_used = "; ".join(dict.fromkeys(found["data"] for found in cases.values()))
        clothes.record("fine_tuning", {"data": data_used, "epochs": options.epochs, "cases": cases})


def main() -> None:
    """Measure all sets, print them, and record them if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--test", type=int, default=400, help="test pictures a class")
    parser.add_argument("--epochs", type=int, default=recipe.EPOCHS)
    parser.add_argument("--record", action="store_true", help="write results/benchmark_fine_tuning.json")
    options = parser.parse_args()
    net = transfer.backbone("efficientnet_lite0")
    cases = {}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)

        def of_clothes(count: int) -> None:
            sets = [clothes.clothes(root, count, seed, test=options.test) for seed in range(options.seeds)]
            title = f"clothes, {count} a class"
            cases[title] = case(title, sets, clothes.plain(net), root / "features", options.epochs)
            note(cases, options)

        of_clothes(100)
        own = data.own_pictures(quiet=True)
        if not own.source.stand_in:
            title = "ants and bees"
            cases[title] = case(title, [own] * options.seeds, net.preprocess, root / "features", options.epochs)
            note(cases, options)
        of_clothes(20)


if __name__ == "__main__":
    main()
