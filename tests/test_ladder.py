"""The ladder: the same training on every rung, measured, stored and drawn; what needs a GPU says so."""

import itertools
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import torch

from course_utils import acceleration, data
from course_utils.acceleration import ladder, rungs

CPU = {rung.name: rung for rung in acceleration.RUNGS if rung.kind == "cpu"}
STORED = Path(__file__).parent.parent / "results" / "ladder_cpu.json"


@pytest.fixture(scope="module")
def climbed(crops):
    rungs = [
        CPU["CPU loop"],
        CPU["CPU: workers"],
        CPU["CPU: resident"],
        CPU["CPU: channels_last"],
        acceleration.RUNGS[-1],
    ]
    train, test = crops.train.take(260), crops.test.take(200)
    return acceleration.climb(train, test, "cpu", rungs=rungs, source="crops", epochs=3, batch=40, widths=(8, 8, 8))


@pytest.mark.thorough
@pytest.mark.outcome
def test_all_rungs_train_the_same_network_on_the_same_batches(climbed):
    loop, workers, resident, last = climbed.measured
    assert loop.accuracy == workers.accuracy  # the same arithmetic, bit for bit
    for row in (resident, last):  # rounded elsewhere: within the noise of 200 pictures
        assert abs(row.accuracy - loop.accuracy) < 4 * (loop.accuracy * (1 - loop.accuracy) / 200) ** 0.5
    assert loop.accuracy > 1 / 8  # better than guessing


def test_every_rung_says_how_fast_how_cold_how_much_and_where(climbed):
    for row in climbed.measured:
        assert row.pictures_per_second == pytest.approx(240 / row.warm_seconds)  # whole batches only
        assert row.cold_seconds > 0 and row.memory_mb > 0 and row.device
        assert set(row.parts) == set(rungs.PARTS) and min(row.parts.values()) > 0
    assert climbed.date and climbed.hardware["cores"] and climbed.versions["torch"] and climbed.data == "crops"


def test_what_a_graph_does_in_one_launch_is_no_forward_pass():
    batches = [(torch.zeros(4, 3, 8, 8), torch.zeros(4, dtype=torch.int64))] * 3
    launched = []
    parts = ladder._parts(
        batches, acceleration.pick_device("cpu"), torch.contiguous_format, None, None,
        lambda images, labels: launched.append(len(images)),
    )  # fmt: skip
    assert launched == [4, 4, 4] and set(parts) == {"data", rungs.WHOLE}
    kept = [acceleration.stored_ladder("cuda", size) for size in ("small", "large")]
    for row in (row for stored in kept if stored for row in stored.measured):
        assert (rungs.WHOLE in row.parts) == ("graph" in row.rung) == ("forward" not in row.parts)


def test_batches_ready_in_memory_wait_less_for_data(climbed):
    loop, _, resident, _ = climbed.measured
    assert resident.parts["data"] < loop.parts["data"] / 2


def test_a_rung_of_a_gpu_is_not_measured_without_one_and_says_so(climbed):
    row = climbed.rows[-1]
    assert row.missing == "not measured yet: run benchmarks/ladder.py on a GPU" and row.pictures_per_second == 0
    assert climbed.row(row.rung) is None and climbed.row("CPU loop") is climbed.rows[0]
    *_, open_ones, about = str(climbed).split("\n")
    assert open_ones == f"{row.rung}: {row.missing}" and about.endswith(f"{climbed.date}; crops")


def test_rungs_that_did_not_run_share_a_line_for_each_reason(climbed):
    missing = tuple(ladder.Measured(name, "", missing=why) for name, why in (("x", "no"), ("y", "cold"), ("z", "no")))
    text = str(replace(climbed, rows=climbed.rows[:1] + missing))
    assert text.count("\n") == 4 and "\nx, z: no\ny: cold\n" in text


def test_a_graph_is_not_recorded_where_float16_looks_at_values(crops, monkeypatch):
    rung = ladder.Rung("a graph", "", "cpu", "resident", half=True, graph=True)
    monkeypatch.setattr(ladder, "half_type", lambda device: torch.float16)
    climbed = acceleration.climb(crops.train.take(20), crops.test, "cpu", rungs=[rung], batch=10, widths=(8, 8, 8))
    assert climbed.rows[0].missing.startswith("needs bfloat16: float16's loss scaling looks at a value in every step")


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_a_rung_in_sixteen_bits_computes_in_the_type_of_its_device(crops, monkeypatch, half):
    seen = []
    plain = ladder.F.cross_entropy
    monkeypatch.setattr(ladder, "half_type", lambda device: half)
    monkeypatch.setattr(ladder.F, "cross_entropy", lambda x, y, **rest: seen.append(x.dtype) or plain(x, y, **rest))
    scaled, scale = [], ladder.Amp.scaled
    monkeypatch.setattr(
        ladder.Amp, "scaled", lambda amp, loss: scaled.append(amp.scaler.is_enabled()) or scale(amp, loss)
    )
    rung = CPU["CPU: bf16"]
    climbed = acceleration.climb(
        crops.train.take(20), crops.test.take(20), "cpu", rungs=[rung], epochs=2, batch=10, widths=(8, 8, 8)
    )
    assert half in seen and scaled and set(scaled) == {half is torch.float16}
    assert climbed.measured[0].accuracy >= 0


def test_a_ladder_comes_back_from_its_file_and_none_from_a_damaged_one(climbed, tmp_path, monkeypatch):
    monkeypatch.setattr(rungs.recorded, "find", lambda name: tmp_path / name)
    file = tmp_path / acceleration.ladder_file("cpu")
    assert acceleration.stored_ladder("cpu") is None  # as where it went after it was found
    climbed.save(file)
    assert acceleration.stored_ladder("cpu") == climbed
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    whole = file.read_bytes()
    for damaged in (b"", whole[:-9], b"[]", b"3", b"{}", b'{"rows": [{"speed": 1}]}', b'{"rows": 3}', b"\xff\xfe"):
        file.write_bytes(damaged)
        assert acceleration.stored_ladder("cpu") is None, damaged


def test_the_large_size_is_the_sprints_and_has_a_file_of_its_own():
    settings, large = acceleration.SprintSettings(), acceleration.SIZES["large"]
    assert (large.batch, large.widths) == (settings.batch_size, settings.widths)
    names = [acceleration.ladder_file("cuda", size) for size in acceleration.SIZES]
    assert names == ["ladder_cuda.json", "ladder_cuda_large.json"]
    assert acceleration.stored_ladder("cpu").settings["batch"] == acceleration.SIZES["small"].batch
    assert acceleration.stored_ladder("abacus", "large") is None


def test_the_chart_names_device_and_date(climbed):
    figure = climbed.plot()
    (axes,) = figure.axes
    assert climbed.date in axes.get_xlabel() and climbed.measured[0].device in axes.get_xlabel()
    assert "times as fast as" in axes.get_title("left") and len(axes.patches) == 4
    plt.close(figure)


def test_an_order_is_that_of_the_resident_batches(crops):
    part = crops.train.take(50)
    batches = data.batches(part, 16, shuffle=True, seed=3, drop_last=True)
    order = ladder.Order(50, 16, seed=3)
    assert len(order) == len(batches) == 3
    for _ in range(2):  # every epoch has an order of its own
        for chosen, (_, labels) in zip(order, batches, strict=True):
            assert torch.equal(part.labels[chosen], labels)


def test_one_by_one_gives_the_same_pictures_as_whole_batches(crops):
    part = crops.train.take(8)
    images, labels = next(iter(data.batches(part, 8)))
    single = ladder.PictureByPicture(part)
    torch.testing.assert_close(torch.stack([single[i][0] for i in range(8)]), images)
    assert [int(single[i][1]) for i in range(8)] == labels.tolist()


def test_a_missing_compiler_leaves_its_rung_out_in_one_sentence(crops, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    rungs = [CPU["CPU: torch.compile"]]
    rows = acceleration.climb(crops.train.take(20), crops.test, "cpu", rungs=rungs, batch=10, widths=(8, 8, 8)).rows
    assert rows[0].missing.startswith("torch.compile needs a compiler such as g++, and there is none; install one")


def test_a_rung_whose_compiler_fails_says_so_and_loses_no_other(crops, monkeypatch):
    def broken(net):
        raise RuntimeError("no Python.h")

    monkeypatch.setattr(torch, "compile", broken)
    monkeypatch.setattr(ladder, "compiler_missing", lambda kind: "")
    rungs = [CPU["CPU: torch.compile"], CPU["CPU: resident"]]
    rows = acceleration.climb(crops.train.take(20), crops.test, "cpu", rungs=rungs, batch=10, widths=(8, 8, 8)).rows
    assert [row.missing for row in rows] == ["failed: RuntimeError: no Python.h", ""]
    monkeypatch.setattr(ladder, "SprintNet", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        acceleration.climb(crops.train.take(20), crops.test, "cpu", rungs=rungs, batch=10)


def test_a_ladder_needs_a_cold_and_a_warm_epoch(crops):
    with pytest.raises(ValueError, match="epochs ≥ 2 and a full batch, not 1 epochs of 20 pictures"):
        acceleration.climb(crops.train.take(20), crops.test, "cpu", epochs=1)
    with pytest.raises(ValueError, match="not 3 epochs of 20 pictures in batches of 0"):
        acceleration.climb(crops.train.take(20), crops.test, "cpu", batch=0)


def test_each_rung_of_a_kind_changes_one_thing_at_a_time():
    def parts(rung):
        return (rung.loading, rung.channels_last, rung.half, rung.compiled, rung.graph)

    gpu = [rung for rung in acceleration.RUNGS if rung.kind == "cuda"]
    for below, above in itertools.pairwise(gpu):
        assert sum(a != b for a, b in zip(parts(below), parts(above))) == 1, above.name
    cpu = list(CPU.values())
    for below, above in itertools.pairwise(cpu[:5]):
        assert sum(a != b for a, b in zip(parts(below), parts(above))) == 1, above.name
    assert sum(a != b for a, b in zip(parts(cpu[3]), parts(cpu[5]))) == 1  # compared with channels_last, as it says
