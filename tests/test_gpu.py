"""What only a GPU can show: the same results as on the CPU, recorded steps, and nobody who waits for it."""

from contextlib import contextmanager

import pytest
import torch
from torch.nn import functional as F

from course_utils import acceleration, data, models, training
from course_utils.acceleration import devices, muon, sprint

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU; tools/measure_gpu.sh runs it there"),
]
GPU = "cuda"


@contextmanager
def no_waiting():
    """Turn every operation that would wait for the GPU into an error."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def race(crops, device=GPU, **settings):
    settings = {"epochs": 3, "batch_size": 80, "widths": (16, 32, 32), "bias_epochs": 1, **settings}
    return sprint.Sprint(crops.train.take(800), crops.test.take(400), sprint.SprintSettings(**settings), device)


def test_this_gpu_computes_what_the_cpu_computes():
    assert devices.parity(torch.device(GPU)) == {}


def test_batches_are_the_same_on_the_gpu_and_on_the_cpu(crops):
    options = {"shuffle": True, "augment": data.Augment(crop=2, flip=True, cutout=4)}
    ours, theirs = (data.batches(crops.train.take(100), 32, device=device, **options) for device in (GPU, "cpu"))
    for (images, labels), (expected, names) in zip(ours, theirs, strict=True):
        torch.testing.assert_close(images.cpu(), expected)
        assert images.device.type == GPU and torch.equal(labels.cpu(), names)


@pytest.mark.parametrize("left_out", [(), ("half precision",)])
def test_pictures_of_the_sprint_are_the_same_on_the_gpu_and_on_the_cpu(crops, left_out):
    ours, theirs = (race(crops, device, leave_out=left_out) for device in (GPU, "cpu"))
    images, expected = ours._normalised("train"), theirs._normalised("train")
    assert images.dtype == ours.dtype and images.is_contiguous(memory_format=torch.channels_last)
    close = {"atol": 2e-3, "rtol": 2e-3} if ours.dtype == torch.float16 else {}
    torch.testing.assert_close(images.float().cpu(), expected, **close)
    chosen, shifts, mirrored = torch.tensor([5, 3, 5]), torch.tensor([[0, -2, 2], [1, 2, -1]]), torch.arange(3) == 1
    cut = sprint.windows(images, *(each.to(GPU) for each in (chosen, shifts, mirrored)))
    assert torch.equal(cut.cpu(), sprint.windows(images.cpu(), chosen, shifts, mirrored))


def test_muon_turns_the_same_way_on_the_gpu():
    generator = torch.Generator().manual_seed(0)
    banks = [torch.randn(shape, generator=generator) for shape in ((64, 24, 3, 3), (64, 64, 3, 3), (256, 64, 3, 3))]
    ours, theirs = muon.orthogonalised_together([b.to(GPU) for b in banks]), muon.orthogonalised_together(banks)
    for turned, expected in zip(ours, theirs):
        assert torch.cosine_similarity(turned.cpu().flatten(), expected.flatten(), dim=0) > 0.999


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("shape", [(5, 64, 31, 31), (3, 200, 7, 8), (1, 8, 2, 3)])
def test_our_pooling_gives_what_pytorchs_does_to_the_last_bit(shape, dtype):
    from course_utils.acceleration.pooling import halved

    images = torch.randn(shape, device=GPU).mul(4).round().to(dtype)  # with many equal neighbours
    images[torch.rand(shape, device=GPU) < 0.05] = float("nan")
    images = images.to(memory_format=torch.channels_last).requires_grad_()
    ours, theirs = halved(images), F.max_pool2d(images, 2)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0, equal_nan=True)
    toward = torch.randn_like(theirs)
    gradients = [torch.autograd.grad(each, images, toward)[0] for each in (ours, theirs)]
    assert torch.equal(*gradients)


@pytest.mark.parametrize("left_out", [(), ("half precision", "muon")])
def test_a_recorded_step_trains_as_the_plain_one_does(crops, left_out):
    graphed, plain = race(crops, leave_out=left_out), race(crops, leave_out=(*left_out, "CUDA graph"))
    for seed in (0, 1):
        ours, theirs = torch.tensor(graphed.run(seed).losses), torch.tensor(plain.run(seed).losses)
        torch.testing.assert_close(ours[:3], theirs[:3], atol=0.05, rtol=0.02)  # roundings double with every step
        assert ours[-5:].mean() < ours[:3].mean() and theirs[-5:].mean() < theirs[:3].mean()
    assert set(graphed.recorded) == {True, False} and not plain.recorded


@pytest.mark.parametrize("left_out", [(), ("CUDA graph",)])
def test_no_step_of_the_sprint_waits_for_the_gpu(crops, left_out):
    fast = race(crops, leave_out=left_out)
    fast.run(0)
    images, rates = fast._normalised("train"), fast._rates(30, 10)
    with no_waiting():
        for step, batch in zip(range(30), fast._batches(images, seed=0)):
            fast.rates.copy_(rates[step])
            fast._step(step < 10, batch)(*batch)
        with torch.no_grad():
            logits = sprint.answers(fast.net.eval(), images, unsure=0.0, together=400)
    assert logits.isfinite().all()


@pytest.mark.outcome
def test_the_sprint_learns_on_the_gpu(crops):
    results = [race(crops, epochs=8).run(seed) for seed in range(3)]
    assert min(result.accuracy for result in results) > 0.4  # chance: 0.125
    assert all(result.losses[-1] < result.losses[0] for result in results)


@pytest.mark.outcome
def test_fit_learns_in_the_sixteen_bits_of_this_gpu(crops):
    net = models.SprintNet((16, 32, 32)).to(GPU)
    batches = data.batches(crops.train.take(800), 80, shuffle=True, device=GPU, channels_last=True)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5, momentum=0.9)
    half = devices.half_type(GPU)
    history = training.fit(net, batches, epochs=4, optimizer=optimizer, autocast=half, progress=False)
    assert history.train_loss[-1] < history.train_loss[0] and next(net.parameters()).dtype == torch.float32


def test_a_rung_that_is_recorded_trains_as_well_as_the_others(crops):
    rungs = [rung for rung in acceleration.RUNGS if rung.kind == GPU and not rung.compiled]
    rungs.append(acceleration.Rung("a graph alone", "", GPU, "resident", True, graph=True))
    climbed = acceleration.climb(crops.train.take(800), crops.test.take(800), GPU, rungs=rungs, epochs=3)
    assert [row.rung for row in climbed.measured] == [rung.name for rung in rungs], str(climbed)
    accuracies = [row.accuracy for row in climbed.measured]
    assert max(accuracies) - min(accuracies) < 4 * (0.25 / 800) ** 0.5
    assert climbed.measured[-1].pictures_per_second > climbed.measured[0].pictures_per_second


def test_the_stopwatch_waits_for_the_gpu():
    matrix, device = torch.randn(4096, 4096, device=GPU), acceleration.pick_device()
    timing = acceleration.measure(lambda: [matrix @ matrix for _ in range(20)], device)
    assert timing.median > 20 * 2 * 4096**3 / 2e15  # faster than any GPU would be a stopwatch that lies
