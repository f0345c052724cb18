import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from panels import figures_in_memory, operate_everything

from course_utils import acceleration
from course_utils.acceleration import TorchDevice, pick_device
from course_utils.acceleration.rungs import WHOLE
from course_utils.widgets import lesson7
from course_utils.widgets.panel import VIEW

pytestmark = pytest.mark.thorough

STORED = Path(__file__).parent.parent / "results" / "ladder_cpu.json"


@pytest.fixture(scope="module")
def sizes():
    """An exploration of few sizes, so that its measurements are quick."""
    return lesson7.batch_size(pick_device("cpu"), sizes=(1, 2, 4), repeats=1)


@pytest.fixture(scope="module")
def climbed():
    return acceleration.stored_ladder("cpu")


def test_every_control_of_the_batch_size_changes_the_picture(sizes):
    before = figures_in_memory()
    assert operate_everything(sizes) >= 3 + 3 + 7 - 2
    assert figures_in_memory() <= before


def test_the_batch_size_is_measured_once_a_width_and_labelled_with_device_and_date(sizes):
    first, again = sizes.compute(2, 8, 1.0), sizes.compute(4, 8, 1.0)
    assert first.speeds is again.speeds and list(first.speeds) == [1, 2, 4] and min(first.speeds.values()) > 0
    assert first.device == pick_device("cpu").name and first.date[:2] == "20"
    assert sizes.compute(4, 32, 1.0).memory.of(4) > again.memory.of(4) > first.memory.of(2)


def test_the_sentence_says_what_fits(sizes):
    sizes.set(size=2, width=8, gigabytes=1.0)
    curve = sizes.compute(2, 8, 1.0)
    assert sizes.sentence.startswith("Batches of 2: ")
    assert sizes.sentence.endswith(f"1 GB hold batches of up to {curve.memory.largest_batch(1e9):,}.")


def test_every_control_of_the_ladder_changes_the_picture_also_where_nothing_is_measured(climbed):
    panel = lesson7.where_time_goes(climbed)
    before = figures_in_memory()
    assert operate_everything(panel) > 2 * len(acceleration.RUNGS) - 3
    assert figures_in_memory() <= before


def test_a_rung_that_nobody_measured_says_so_and_one_of_a_gpu_is_named_as_such(climbed):
    panel = lesson7.where_time_goes(climbed)
    panel.set(first="CPU loop", second="GPU: 16 bits")
    row = climbed.row("CPU loop")
    assert f"({row.device}, {climbed.date})" in panel.sentence
    assert panel.sentence.endswith("GPU: 16 bits: not measured yet: run benchmarks/ladder.py on a GPU.")
    parts = {"data": 0.1, "forward": 1.0, "backward": 2.0, "update": 0.4}
    on_gpu = acceleration.Measured("GPU: 16 bits", "Some GPU", 1e5, 0.5, 1.0, 0.1, 50.0, parts)
    panel = lesson7.where_time_goes(climbed, replace(climbed, rows=(on_gpu,), date="2030-01-01"))
    panel.set(second="GPU: 16 bits")
    assert panel.sentence.endswith("GPU: 16 bits takes 3.5 ms a batch, 57 % of it for backward (Some GPU, 2030-01-01).")


def test_a_graph_shows_one_launch_instead_of_a_forward_pass(climbed):
    parts = {"data": 0.2, WHOLE: 6.4}
    graph = acceleration.Measured("GPU: CUDA graph", "Some GPU", 1e5, 0.5, 1.0, 0.1, 50.0, parts)
    panel = lesson7.where_time_goes(climbed, replace(climbed, rows=(graph,), date="2030-01-01"))
    panel.set(second="GPU: CUDA graph")
    assert "takes 6.6 ms a batch, 97 % of it for one launch (" in panel.sentence

    def legend(*rungs):
        figure = Figure(figsize=(6.4, 2.3))
        panel.draw(panel.compute(*rungs, share=False), figure)
        return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]

    assert legend("CPU loop", "GPU: CUDA graph") == ["data", "forward", "backward", "update", WHOLE]
    assert legend("CPU loop", "CPU loop") == ["data", "forward", "backward", "update"]
    assert legend("GPU: CUDA graph", "GPU: CUDA graph") == ["data", WHOLE]


def test_without_a_kernel_one_chart_a_machine_shows_all_its_rungs_on_one_scale(climbed):
    def shown(*ladders):
        axes = lesson7.where_time_goes(*ladders).twin().get_axes()
        return [[label.get_text() for label in each.get_yticklabels()] for each in axes]

    on_cpu = [row.rung for row in climbed.measured]
    assert shown(climbed) == [on_cpu] and len(on_cpu) == 6
    parts = {"data": 0.1, "forward": 1.0, "backward": 2.0, "update": 0.4}
    on_gpu = acceleration.Measured("GPU: 16 bits", "Some GPU", 1e5, 0.5, 1.0, 0.1, 50.0, parts)
    both = climbed, replace(climbed, rows=(on_gpu,), date="2030-01-01")
    assert shown(*both) == [on_cpu, ["GPU: 16 bits"]]
    cpu, gpu = lesson7.where_time_goes(*both).twin().get_axes()
    assert gpu.get_xlim()[1] == pytest.approx(1.03 * 3.5) and cpu.get_xlim()[1] > 20


def test_two_ladders_of_one_machine_are_told_apart_by_their_batches(climbed):
    large = replace(climbed, settings={**climbed.settings, "batch": 2000}, date="2030-01-01")
    panel = lesson7.where_time_goes(climbed, large)
    panel.set(first="CPU loop", second="CPU loop, 2,000")
    assert climbed.date in panel.sentence and "2030-01-01" in panel.sentence
    small, big = panel.twin().get_axes()
    names = [label.get_text() for label in big.get_yticklabels()]
    assert names == [f"{label.get_text()}, 2,000" for label in small.get_yticklabels()]


def test_the_time_of_a_block_is_drawn_along_its_slowest_brake():
    figure = Figure()
    lesson7.draw_braked(lesson7.braked(64, 64, 16, recorded=False), figure)
    *brakes, slowest, _ = (line.get_ydata() for line in figure.axes[0].lines)
    assert len(brakes) == 3 and np.array_equal(slowest, np.max(brakes, axis=0)) and slowest.max() > 10 * slowest.min()


def test_each_brake_of_the_model_sets_the_pace_where_the_lesson_says():
    panel = lesson7.brakes()
    before = figures_in_memory()
    assert operate_everything(panel) > 4
    assert figures_in_memory() <= before
    block = lesson7.braked(64, 64, 32, recorded=False)
    assert block.limit == "compute" and lesson7.braked(4, 64, 32, recorded=False).limit == "launch"
    assert list(block.seconds) == list(lesson7.BATCHES)
    # by hand: 64 pictures of 16 × 16 fields, 64 channels, 4 bytes a number
    assert block.seconds[64]["compute"] == pytest.approx(2 * 9 * 64 * 64 * 64 * 256 / 2e13)
    assert block.seconds[64]["memory"] == pytest.approx((7 * 64 * 256 * 64 + 9 * 64 * 64) * 4 / 2e12)
    assert [lesson7.braked(n, 64, 16, recorded=False).limit for n in (64, 256)] == ["launch", "memory"]
    assert lesson7.braked(64, 64, 16, recorded=True).limit == "memory"  # one launch instead of three
    limits = {c: lesson7.braked(4096, c, 16, recorded=False).limit for c in (16, 32, 64, 128, 256, 512)}
    assert [c for c, limit in limits.items() if limit == "compute"] == [128, 256, 512]
    assert all(lesson7.braked(4096, c, 32, recorded=False).limit == "compute" for c in limits)
    panel.set(size=1024, channels=64, bits=16)
    assert panel.sentence.startswith("Batches of 1024, 64 channels, 16 bits: memory-bound")


def test_one_output_holds_the_live_widget_and_a_picture_with_words(sizes, climbed):
    for panel in (sizes, lesson7.where_time_goes(climbed)):
        bundle, metadata = panel._repr_mimebundle_()
        (kind,) = metadata
        assert bundle[VIEW]["model_id"] == panel.model_id and len(metadata[kind]["alt"]) > 60
        assert "measured on" in metadata[kind]["alt"] and metadata[kind]["width"] < 900


def test_the_stored_ladder_is_labelled_and_its_rungs_are_equally_good():
    stored = json.loads(STORED.read_text(encoding="utf-8"))
    assert stored["date"] and stored["hardware"]["processor"] and stored["versions"]["torch"] and stored["data"]
    rows = [row for row in stored["rows"] if not row["missing"]]
    assert {row["rung"] for row in rows} == {rung.name for rung in acceleration.RUNGS if rung.kind == "cpu"}
    accuracies = [row["accuracy"] for row in rows]
    mean = sum(accuracies) / len(accuracies)
    noise = 4 * (mean * (1 - mean) / stored["settings"]["test pictures"]) ** 0.5
    assert max(accuracies) - min(accuracies) <= noise
    assert all(row["missing"] == acceleration.NOT_YET for row in stored["rows"] if row["rung"].startswith("GPU"))


def test_a_rung_of_the_processor_that_is_not_measured_needs_no_gpu():
    rungs = {rung.kind: rung.name for rung in acceleration.RUNGS}
    pair = lesson7.Compared((rungs["cpu"], rungs["cuda"]), (None, None), False, ("", ""), 1.0)
    said = "not measured yet: run benchmarks/ladder.py"
    assert lesson7.compared_in_words(pair) == f"{rungs['cpu']}: {said}. {rungs['cuda']}: {said} on a GPU."
    figure = Figure(figsize=(6.6, 2.3))
    lesson7.draw_compared(pair, figure)
    assert [text.get_text().strip() for text in figure.axes[0].texts] == [said, f"{said} on a GPU"]


def test_a_device_can_be_given_by_name_or_as_chosen():
    assert isinstance(pick_device("cpu"), TorchDevice)
    assert lesson7.batch_size(torch.device("cpu"), sizes=(1,), repeats=1).compute(1, 8, 1.0).device
    assert lesson7.batch_size("cpu", sizes=(1,), repeats=1).compute(1, 8, 1.0).device == pick_device("cpu").name
