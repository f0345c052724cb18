"""The measured bars of lesson 5 hold in the recorded runs of `benchmarks/`, whose figures follow from one another."""

import json
import math
import statistics
from pathlib import Path

import pytest

RESULTS = Path(__file__).resolve().parent.parent / "results"


def recorded(name):
    return json.loads((RESULTS / f"benchmark_{name}.json").read_text(encoding="utf-8"))


def require_summary(found, count):
    """Mean, spread and sampling error are those of the accuracies that stand beside them."""
    shares = found["accuracies"]
    assert len(shares) >= 3
    assert found["mean"] == pytest.approx(statistics.mean(shares), abs=1e-4)
    assert found["spread"] == pytest.approx(statistics.stdev(shares), abs=2e-4)
    assert found["sampling_error"] == pytest.approx(math.sqrt(found["mean"] * (1 - found["mean"]) / count), abs=1e-4)


def test_fine_tuning_beats_the_frozen_body_in_one_recorded_case_and_not_in_another():
    cases = recorded("fine_tuning")["cases"]
    wins = {}
    for title, case in cases.items():
        for way in ("frozen", "fine_tuned"):
            require_summary(case[way], case["test_pictures"])
        assert case["gain"] == pytest.approx(case["fine_tuned"]["mean"] - case["frozen"]["mean"], abs=2e-4)
        # The errors of both sides, and the gain has the same sign in every seed.
        error = math.hypot(case["frozen"]["sampling_error"], case["fine_tuned"]["sampling_error"])
        wins[title] = case["gain"] > error and min(case["gains"]) > 0
    assert any(wins.values()) and not all(wins.values()), wins


def test_ants_and_bees_are_known_to_the_untouched_network_in_the_recorded_run():
    run = recorded("leak")
    require_summary(run["head"], run["test_pictures"])
    assert run["test_pictures"] == 153 and run["training_pictures"] == 244
    assert run["two_logits"] > 0.95 and run["two_logits"] >= run["head"]["mean"] - run["two_logits_error"]


def test_the_lessons_loop_is_as_good_and_as_fast_as_one_with_torchvision_alone_in_the_recorded_run():
    run = recorded("transfer_loop")
    ours, reference = run["ends"]["ours"], run["ends"]["reference"]
    for side in (ours, reference):
        require_summary(side, run["test_pictures"])
    assert abs(ours["mean"] - reference["mean"]) <= reference["sampling_error"]
    pairs = zip(run["runs"]["ours"], run["runs"]["reference"], strict=True)
    assert run["ratio"] == pytest.approx(statistics.median(a / b for (a, _), (b, _) in pairs), abs=0.01)
    assert run["ratio"] <= run["slack"] <= 1.05


def test_small_classes_do_worse_and_the_remedies_help_in_the_recorded_run():
    run = recorded("unequal_classes")
    for unequal in run["sets"].values():
        remedies = unequal["remedies"]
        plain = remedies["nothing"]
        assert plain["mean"] < run["equal"]["mean"] and plain["correlation_less_equal"] > 0.5
        assert plain["at_most_12"] < plain["at_least_80"]
        for name in ("class weights", "sampler", "adjusted logits"):
            assert remedies[name]["mean"] > plain["mean"] and remedies[name]["at_most_12"] > plain["at_most_12"]
            assert remedies[name]["mean"] < run["equal"]["mean"]
