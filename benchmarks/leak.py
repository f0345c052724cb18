"""Does ImageNet know your classes already? Ants and bees are two of its categories: what that is worth.

    python benchmarks/leak.py [--seeds 5] [--record]

Three answers to the same final pictures of `hymenoptera_data` (COURSE_DATA_DIR must have it): the untouched network's
own two logits "ant" and "bee", with no training at all; its likeliest among all thousand categories; and a head trained
on features of the frozen body. Prints the share of right answers of each. Figures alone are recorded, no pictures.
"""

from __future__ import annotations

import course_utils  # noqa: F401 - before torch is loaded: it says how threads wait

# isort: split
import argparse
import tempfile
from pathlib import Path

import clothes
import recipe
import torch

from course_utils import data, transfer

CATEGORIES = {"ants": "ant", "bees": "bee"}  # the folder's names, and ImageNet's


def untouched(net: transfer.Network, part: data.FilePart) -> tuple[float, float]:
    """Return the shares of right answers from the two logits, and from all of them."""
    places = torch.tensor([net.classes.index(CATEGORIES[name]) for name in part.classes])
    logits = torch.cat([net.probabilities([part.picture(i)]) for i in range(len(part))])  # the order is the logits'
    two = (logits[:, places].argmax(dim=1) == part.labels).double().mean().item()
    return two, (logits.argmax(dim=1) == places[part.labels]).double().mean().item()


def main() -> None:
    """Measure all three, print them, and record them if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--record", action="store_true", help="write results/benchmark_leak.json")
    options = parser.parse_args()
    own = data.own_pictures()
    if own.source.stand_in:
        print("Not measured: there is no hymenoptera_data in COURSE_DATA_DIR, and nothing else has a leak to measure.")
        return
    final, plain = data.held_out(own), transfer.backbone("efficientnet_lite0")
    two, thousand = untouched(plain, final)
    error = clothes.sampling_error(two, len(final))
    print(f"untouched, its two logits    {two:.1%} of {len(final)}, sampling error {error:.1%}")
    print(f"untouched, all {len(plain.classes):,} logits  {thousand:.1%}")
    accuracies = []
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder)
        asked = transfer.cached_features(plain, final, cache=cache, progress=False)
        values = asked.values
        del asked  # Windows removes no folder with a file that is mapped
        for seed in range(options.seeds):
            net = recipe.fresh(own.classes, seed)
            recipe.train_head(net, own.train, net.preprocess, cache, seed)
            with torch.no_grad():
                right = net.head_layer(values).argmax(dim=1) == final.labels
            accuracies.append(right.double().mean().item())
    head = clothes.summary(accuracies, len(final))
    print(clothes.line(f"head on {len(own.train)} pictures", head))
    if options.record:
        figures = {
            "data": own.source.description,
            "training_pictures": len(own.train),
            "test_pictures": len(final),
            "two_logits": round(two, 4),
            "two_logits_error": round(error, 4),
            "thousand_logits": round(thousand, 4),
            "head": head,
        }
        clothes.record("leak", figures)


if __name__ == "__main__":
    main()
