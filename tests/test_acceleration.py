"""Device choice, the timer, memory, the profiler, Muon and the sprint, all on the CPU."""

import inspect
import re
import threading
import time
import weakref
from dataclasses import replace
from types import SimpleNamespace

import matplotlib.pyplot as plt
import pretend
import pytest
import torch
import torch.utils.checkpoint
from torch import nn
from torch.autograd import DeviceType
from torch.nn import functional as F

from course_utils import data, models
from course_utils.acceleration import devices, graphs, memory, muon, profiling, sprint, timer
from course_utils.errors import CourseError, SettingError, TrainingError
from course_utils.training.guards import is_out_of_memory

SMALL = {"epochs": 3, "batch_size": 40, "widths": (8, 8, 16)}


# --- devices


def test_a_device_of_pytorch_and_one_chosen_before_are_taken_too(monkeypatch):
    cpu = devices.pick_device("cpu")
    assert devices.pick_device(torch.device("cpu")) == cpu and devices.pick_device(cpu) is cpu
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(SettingError, match="PyTorch finds 1 GPUs here, so there is no cuda:3"):
        devices.pick_device(torch.device("cuda:3"))


def test_without_a_gpu_the_cpu_is_chosen_and_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    chosen = devices.pick_device()
    assert chosen.kind == "cpu" and chosen.name and isinstance(chosen, devices.Device)
    assert chosen.synchronize() is None and str(chosen) == f"cpu ({chosen.name})"


@pytest.mark.parametrize(
    ("capability", "expected"),
    [
        ((7, 0), torch.float16),  # V100
        ((7, 5), torch.float16),  # T4
        ((8, 0), torch.bfloat16),  # A100
        ((8, 9), torch.bfloat16),
        ((9, 0), torch.bfloat16),  # H100
        ((10, 0), torch.bfloat16),
    ],
)
def test_sixteen_bits_are_bfloat16_only_where_the_gpu_multiplies_in_it(monkeypatch, capability, expected):
    asked = []
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: asked.append(device) or capability)
    for wanted in ("cuda:1", torch.device("cuda:1"), devices.TorchDevice(torch.device("cuda:1"), "some GPU")):
        assert devices.half_type(wanted) is expected
    assert asked == 3 * [torch.device("cuda:1")]  # that of the device at hand, not of the first one


def test_sixteen_bits_elsewhere(monkeypatch):
    assert devices.half_type("cpu") is torch.bfloat16 and devices.half_type("mps") is torch.float16
    monkeypatch.setattr(torch.version, "hip", "6.2")
    for able, expected in ((True, torch.bfloat16), (False, torch.float16)):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda able=able: able)
        assert devices.half_type("cuda") is expected
    with pytest.raises(ValueError, match="half_type knows no device 'auto'"):
        devices.half_type("auto")


def test_triton_is_for_gpus_of_nvidia(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(devices.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(devices, "compiler_missing", lambda kind: "")
    for hip, expected in ((None, True), ("6.2", False)):
        monkeypatch.setattr(torch.version, "hip", hip)
        assert devices.has_triton() is expected


@pytest.mark.parametrize("wanted", ["gpu", "cpu:1", "cuda:x", "mps:0", "", None, 0])
def test_an_unknown_device_is_one_sentence(wanted):
    with pytest.raises(SettingError, match=r"There is no device .*; choose one of auto, cuda, mps, cpu, or a GPU such"):
        devices.pick_device(wanted)


def test_a_gpu_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(SettingError, match="PyTorch finds 1 GPUs here, so there is no cuda:3"):
        devices.pick_device("cuda:3")


def test_mps_is_never_chosen_by_itself_and_only_after_it_agreed_with_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    asked = []
    monkeypatch.setattr(devices, "require_parity", lambda device: asked.append(device.type))
    assert devices.pick_device().kind == "cpu" and asked == []
    assert devices.pick_device("mps").kind == "mps" and asked == ["mps"]


def test_mps_is_refused_where_there_is_none(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(SettingError, match="has no MPS; choose auto or cpu"):
        devices.pick_device("mps")


def test_a_device_that_agrees_passes_and_one_that_computes_differently_is_named():
    here = torch.device("cpu")
    assert devices.parity(here) == {}
    turns = iter([0.0, 0.25])
    off = {"an addition": lambda device: torch.ones(3, device=device) + next(turns)}
    with pytest.raises(CourseError, match=r"cpu computes an addition differently from the CPU \(by up to 0.25\)"):
        devices.require_parity(here, off)
    values = iter([1.0, float("nan")])
    assert devices.parity(here, {"a NaN": lambda device: torch.tensor([next(values)])}) == {"a NaN": float("inf")}


# --- a device that does not wait


def test_the_pretend_gpu_queues_work_without_waiting_and_does_it_in_order():
    done, gate = [], threading.Event()
    with devices.PretendGPU() as gpu:
        gpu.submit(gate.wait, 300)
        for i in range(3):
            gpu.submit(done.append, i)
        assert done == []  # nothing has happened, and nobody has waited
        gate.set()
        gpu.synchronize()
        assert done == [0, 1, 2]
    with pytest.raises(CourseError, match="was closed; make another one"):
        gpu.submit(print)


def test_an_error_on_the_pretend_gpu_comes_late_and_stops_what_follows():
    done = []
    with devices.PretendGPU() as gpu:
        gpu.submit(lambda: 1 / 0)
        gpu.submit(done.append, 1)
        with pytest.raises(ZeroDivisionError):
            gpu.synchronize()
        assert done == []
        gpu.submit(done.append, 2)
        gpu.synchronize()
        assert done == [2]


# --- the timer


class Counting:
    """A device without a processor: work makes it busy until a later time of a clock that only tests move."""

    name = "a device of the tests"

    def __init__(self):
        self.now = self.free_at = 0.0
        self.waits = 0

    def submit(self, seconds):
        self.now += 0.001  # giving the order
        self.free_at = max(self.now, self.free_at) + seconds

    def synchronize(self):
        self.waits += 1
        self.now = max(self.now, self.free_at)

    def clock(self):
        return self.now


def test_the_timer_waits_for_an_asynchronous_device():
    device, seconds = Counting(), iter([9.0, 5.0, 2.0, 1.0, 3.0])
    taken = timer.measure(lambda: device.submit(next(seconds)), device, warmup=1, repeats=3, clock=device.clock)
    assert taken.cold == pytest.approx(9.001) and taken.warm == pytest.approx((2.001, 1.001, 3.001))
    assert taken.median == pytest.approx(2.001) and taken.spread == pytest.approx(2 / 2.001)
    assert device.waits == 2 * 5 and taken.per_second(4) == pytest.approx(4 / 2.001)
    assert str(taken).startswith("2001.00 ms (median of 3 calls, spread 100 %; first 9001.00 ms)\n  on a device")
    assert str(replace(taken, device="cpu")).endswith("first 9001.00 ms) on cpu")


def test_work_that_was_there_before_is_not_counted():
    device = Counting()
    device.submit(100.0)
    with timer.stopwatch(device, device.clock) as watch:
        device.submit(1.0)
    assert watch.seconds == pytest.approx(1.001)


def test_the_timer_waits_for_the_pretend_gpu_in_real_time():
    with devices.PretendGPU() as gpu:
        go, done = threading.Event(), threading.Event()
        gpu.submit(lambda: go.wait(300) and done.set())
        assert not done.is_set()  # the order is given, the work is not done: a clock stopped here would say "0 ms"
        go.set()
        gpu.synchronize()
        assert done.is_set()
        honest = timer.measure(lambda: gpu.submit(time.sleep, 0.05), gpu, warmup=0, repeats=2)
    assert min(honest.warm) >= 0.05 and honest.device.startswith("pretend GPU")


@pytest.mark.parametrize("device", [object(), None, 3, type("Deaf", (), {"name": "deaf"})()])
def test_the_timer_refuses_what_it_cannot_wait_for(device):
    with pytest.raises(TypeError, match="cannot be waited for, so its times would mean nothing"):
        timer.measure(lambda: None, device)


def test_the_timer_refuses_settings_that_measure_nothing():
    with pytest.raises(ValueError, match="warmup ≥ 0 and repeats ≥ 1"):
        timer.measure(lambda: None, repeats=0)
    with pytest.raises(TypeError, match="needs a function to call, not a int; write lambda"):
        timer.measure(3)
    with pytest.raises(TypeError, match="measure_in_turn needs a function to call, not a float"):
        timer.measure_in_turn({"sum": 3.0})


def test_a_race_takes_turns_and_turns_round():
    order = []
    works = {name: lambda name=name: order.append(name) for name in "ab"}
    taken = timer.measure_in_turn(works, torch.device("cpu:0"), warmup=0, repeats=2)
    assert "".join(order) == "abbaab" and set(taken) == {"a", "b"} and len(taken["a"].warm) == 2


def ticking(durations):
    """Return a clock by which the calls take `durations`, one after another."""
    now, between = 0.0, []
    for seconds in durations:
        between += [now, now + seconds]
        now += seconds
    return iter(between).__next__


def test_a_timing_goes_on_until_its_halves_agree_or_it_may_no_longer():
    def taken(durations, **options):
        works = {"a": lambda: None}
        return timer.measure_in_turn(works, warmup=0, clock=ticking(durations), **options)["a"]

    disturbed = [9.0, 4.0, 4.0, *(20 * [1.0])]
    few = taken(disturbed, repeats=4)
    assert few.warm == (4.0, 4.0, 1.0, 1.0) and few.drift == pytest.approx(3 / 2.5)
    more = taken(disturbed, repeats=4, steady=0.1)
    assert more.warm == (4.0, 4.0, *(8 * [1.0])) and more.drift == 0
    assert len(taken(disturbed, repeats=4, steady=0.1, most=5).warm) == 5
    assert taken([1.0, 1.0], repeats=1, steady=0.1).drift == 0


# --- memory


def test_activations_are_counted_to_the_byte():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 3))
    images, labels = torch.randn(4, 3, 2, 2), torch.tensor([0, 1, 2, 0])
    counted = memory.training_memory(model, images, labels, moments=2)
    parameters = 12 * 5 + 5 + 5 * 3 + 3
    assert counted.weights == counted.gradients == 4 * parameters and counted.optimizer == 8 * parameters
    relu, probabilities, total = 4 * 5, 4 * 3, 1  # floats that backward needs: ReLU's answer, log-softmax, its weight
    assert counted.activations == 4 * (relu + probabilities + total)
    assert counted.fixed == 16 * parameters and counted.pictures == 4 * 48 + 4 * 8


def test_twice_the_batch_keeps_twice_as_much_and_half_precision_less():
    model = models.SprintNet((8, 8, 8))
    images, labels = torch.randn(8, 3, 32, 32), torch.zeros(8, dtype=torch.int64)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    eight, four = (memory.kept_for_backward(model, images[:n].clone(), labels[:n].clone()) for n in (8, 4))
    assert eight / four == pytest.approx(2, rel=0.01)
    assert memory.kept_for_backward(model, images, labels, torch.bfloat16) < 0.7 * eight
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_what_is_kept_for_a_backward_pass_that_never_comes_goes_with_its_loss():
    model, images = models.SprintNet((8, 8, 8)), torch.randn(4, 3, 32, 32)
    with memory.keeping(model, images) as kept:
        loss = F.cross_entropy(model(images), torch.arange(4))  # its softmax keeps what it gives out
    assert kept.now > 0
    del loss
    assert kept.now == 0


def test_what_is_kept_at_once_falls_when_a_backward_pass_is_done():
    model = models.SprintNet((8, 8, 8), norm="group")
    images, labels = torch.randn(8, 3, 32, 32), torch.zeros(8, dtype=torch.int64)
    whole = memory.kept_for_backward(model, images, labels)
    with memory.keeping(model, images, labels) as kept:
        for some, right in zip(images.split(2), labels.split(2)):
            loss = F.cross_entropy(model(some), right, reduction="sum") / len(images)
            loss.backward()
            del loss
    assert kept.now == 0 and kept.most == pytest.approx(whole / 4, rel=0.05)


def test_a_checkpoint_keeps_its_input_alone_and_the_gradients_are_the_same():
    block = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.GELU(), nn.Conv2d(8, 3, 3, padding=1), nn.GELU())
    images = torch.randn(2, 3, 8, 8, requires_grad=True)
    between = images * 1  # not there before
    with memory.keeping(block) as plain:
        first = block(between).sum()
    with memory.keeping(block) as less:
        second = torch.utils.checkpoint.checkpoint(block, between, use_reentrant=False).sum()
    assert less.now == between.nbytes < plain.now / 3
    for ours, theirs in zip(*(torch.autograd.grad(each, list(block.parameters())) for each in (first, second))):
        torch.testing.assert_close(ours, theirs)


def test_the_largest_batch_fits_and_one_more_does_not():
    counted = memory.Memory(100, 100, 100, 4000, 1000, batch=5)
    assert counted.per_picture == 1000 and counted.of(7) == 7300
    assert counted.largest_batch(7300) == 7 and counted.largest_batch(7299) == 6 and counted.largest_batch(10) == 0


def test_a_traceback_holds_tensors_until_it_is_freed():
    held = []

    def train():
        activations = torch.zeros(1000)
        held.append(weakref.ref(activations))
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 TB")

    try:
        train()
    except torch.OutOfMemoryError as error:
        kept = error
    assert held[0]() is not None and is_out_of_memory(kept)
    memory.free_traceback(kept)
    assert held[0]() is None and kept.__traceback__ is not None


@pytest.mark.parametrize("named", [True, False])  # as the cause; or Python keeps it as the context alone
def test_the_last_error_of_a_notebook_and_what_it_came_from_are_freed(monkeypatch, named):
    held = []

    def inner():
        tensor = torch.zeros(10)
        held.append(weakref.ref(tensor))
        raise ValueError("inner")

    def outer():
        tensor = torch.zeros(10)
        held.append(weakref.ref(tensor))
        try:
            inner()
        except ValueError as error:
            raise RuntimeError("outer") from (error if named else None)

    try:
        outer()
    except RuntimeError as error:
        monkeypatch.setattr("sys.last_value", error, raising=False)
    memory.free_traceback()
    assert [each() for each in held] == [None, None]


def test_batches_are_halved_until_they_fit(capsys):
    tried = []

    def train(size):
        tried.append(size)
        if size > 20:
            torch.empty(10**15)  # the CPU's own allocator refuses
        return size

    assert memory.with_smaller_batches(train, 100) == 12 and tried == [100, 50, 25, 12]
    assert capsys.readouterr().out.startswith("Memory ran out with batches of 100; trying 50.\n")
    with pytest.raises(TrainingError, match="Memory ran out with batches of 50: halve the batch size, compute in"):
        memory.with_smaller_batches(train, 100, smallest=30)


def test_other_errors_are_let_through_at_once():
    def train(size):
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        memory.with_smaller_batches(train, 8)


# --- the profiler


def test_the_profile_speaks_in_words_and_adds_up():
    model, images = models.SprintNet((8, 8, 8)), torch.randn(16, 3, 32, 32)
    labels = torch.zeros(16, dtype=torch.int64)
    profile = profiling.profiled(lambda: F.cross_entropy(model(images), labels).backward(), calls=2, most=6)
    names = [row.name for row in profile.rows]
    assert 2 <= len(names) <= 6 and len(set(names)) == len(names)
    assert any(name.startswith("convolution") for name in names) and not any("aten" in name for name in names)
    assert sum(profile.share(name) for name in names) == pytest.approx(1, abs=1e-6)
    assert all(row.milliseconds > 0 and row.calls > 0 for row in profile.rows)
    figure = profile.plot()
    assert "milliseconds in one call, on " in figure.axes[0].get_xlabel() and profile.device
    plt.close(figure)
    assert str(profile).splitlines()[0].split() == ["work", "calls", "ms", "share"]


def test_on_a_gpu_the_time_of_a_kernel_counts_once(monkeypatch):
    def event(key, device_type, microseconds):
        return SimpleNamespace(key=key, device_type=device_type, count=2, self_device_time_total=microseconds)

    class Recorded:
        def __init__(self, activities): ...
        def __enter__(self):
            return self

        def __exit__(self, *_): ...
        def key_averages(self):
            return events

    events = [
        event("aten::cudnn_convolution", DeviceType.CPU, 100.0),
        event("sm90_xmma_fprop_implicit_gemm", DeviceType.CUDA, 100.0),  # the kernel that the operation above started
        event("aten::addmm", DeviceType.CPU, 20.0),
        event("Optimizer.step#SGD.step", DeviceType.CUDA, 500.0),
    ]
    gpu = SimpleNamespace(kind="cuda", name="a GPU", synchronize=lambda: None)
    monkeypatch.setattr(profiling, "profile", Recorded)
    profile = profiling.profiled(lambda: None, gpu, calls=2)
    assert profile.milliseconds == pytest.approx(0.06) and profile.share("convolution") == pytest.approx(5 / 6)
    events.clear()
    with pytest.raises(CourseError, match="The profiler recorded nothing; ask for access"):
        profiling.profiled(lambda: None, gpu)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("aten::convolution_backward", "convolution, backward"),
        ("aten::mkldnn_convolution", "convolution, forward"),
        ("sm90_xmma_fprop_implicit_gemm_bf16", "convolution, forward"),
        ("aten::native_batch_norm_backward", "batch normalisation, backward"),
        ("aten::addmm", "matrix products"),
        ("aten::bmm", "matrix products"),
        ("aten::baddbmm", "matrix products"),
        ("aten::linear", "matrix products"),
        ("aten::upsample_bilinear2d", "resizing"),
        ("aten::clamp_max_", "activation, forward"),
        ("aten::max_pool2d_with_indices", "pooling, forward"),
        ("aten::_log_softmax_backward_data", "loss"),
        ("aten::_softmax", "loss"),
        ("aten::gelu_backward", "activation, backward"),
        ("Memcpy HtoD (Pinned -> Device)", "copying"),
        ("something new", profiling.REST),
    ],
)
def test_operations_have_names_in_words(name, words):
    assert profiling.in_words(name) == words


def test_the_profiler_refuses_to_measure_nothing():
    with pytest.raises(ValueError, match="calls ≥ 1 and most ≥ 2"):
        profiling.profiled(lambda: None, calls=0)
    with pytest.raises(TypeError, match="profiled needs a function to call, not a Tensor; write lambda"):
        profiling.profiled(torch.ones(3))


# --- Muon and the network


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="PyTorch's own Muon came with 2.9")
def test_muon_has_the_coefficients_of_pytorchs():
    theirs = inspect.signature(torch.optim.Muon).parameters["ns_coefficients"].default
    assert muon.MUON_COEFFICIENTS == theirs == (3.4445, -4.7750, 2.0315)


@pytest.mark.parametrize("shape", [(6, 40), (40, 6), (16, 16)])
def test_an_orthogonalised_step_keeps_its_directions_and_evens_their_lengths(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    left, lengths, right = torch.linalg.svd(matrix, full_matrices=False)
    made = muon.orthogonalised(matrix, steps=5)
    inside = left.T @ made @ right.T  # in the matrix's own directions
    torch.testing.assert_close(inside, torch.diag(inside.diagonal()), atol=1e-4, rtol=0)
    assert inside.diagonal().min() > 0.6 and inside.diagonal().max() < 1.3
    assert lengths.max() / lengths.min() > 1.3


@pytest.mark.outcome
def test_muon_keeps_the_length_of_the_weights_and_turns_them_downhill():
    weights = nn.Parameter(torch.randn(6, 3, 2, 2, generator=torch.Generator().manual_seed(0)))
    target = torch.randn(6, 3, 2, 2, generator=torch.Generator().manual_seed(1))
    optimizer = muon.Muon([weights], lr=0.05)
    losses = []
    for _ in range(25):
        loss = -F.cosine_similarity(weights.flatten(), target.flatten(), dim=0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.5
    assert weights.norm().item() == pytest.approx(6**0.5, rel=0.2)


def plain_muon(weights, gradients, momenta, rate, kept):
    """One step, bank by bank, as Keller Jordan's script takes it."""
    for each, gradient in zip(weights, gradients):
        momentum = momenta[each] = kept * momenta.get(each, 0) + gradient
        ahead = gradient + kept * momentum
        each *= len(each) ** 0.5 / each.norm()
        each -= rate * muon.orthogonalised(ahead.flatten(1)).view_as(each)


@pytest.mark.parametrize("rate", [0.24, torch.tensor(0.24)])
def test_muons_stacked_banks_take_the_steps_that_each_would_take_alone(rate):
    generator = torch.Generator().manual_seed(0)
    shapes = [(8, 4, 3, 3), (8, 8, 3, 3), (16, 8, 3, 3), (16, 16, 3, 3), (16, 16, 3, 3), (20, 5), (8, 40)]
    drawn = [torch.randn(shape, generator=generator) for shape in shapes]
    together = [nn.Parameter(each.contiguous(memory_format=layout(each))) for each in drawn]
    optimizer, alone, momenta = muon.Muon(together, lr=rate), [each.clone() for each in drawn], {}
    for step in range(5):
        gradients = [torch.randn(shape, generator=generator) for shape in shapes]
        for each, gradient in zip(together, gradients):
            each.grad = gradient
        without = 2 if step == 3 else None  # a bank without a gradient is left alone
        if without is not None:
            together[without].grad = None
        optimizer.step()
        chosen = [i for i in range(len(shapes)) if i != without]
        plain_muon([alone[i] for i in chosen], [gradients[i] for i in chosen], momenta, 0.24, 0.6)
    for ours, theirs in zip(together, alone):
        torch.testing.assert_close(ours.detach(), theirs, atol=1e-5, rtol=1e-4)


def layout(tensor):
    return torch.channels_last if tensor.ndim == 4 else torch.contiguous_format


def test_a_stack_is_orthogonalised_matrix_by_matrix():
    stack = torch.randn(3, 5, 9, generator=torch.Generator().manual_seed(0))
    for turned, matrix in zip(muon.orthogonalised(stack), stack):
        torch.testing.assert_close(turned, muon.orthogonalised(matrix), atol=1e-5, rtol=1e-4)


def test_muon_refuses_vectors_and_odd_settings():
    with pytest.raises(ValueError, match="give vectors, such as biases, to SGD"):
        muon.Muon([nn.Parameter(torch.zeros(3))])
    with pytest.raises(ValueError, match="lr > 0 and 0 ≤ momentum < 1"):
        muon.Muon([nn.Parameter(torch.zeros(3, 3))], momentum=1.0)


def test_whitening_filters_do_not_hang_on_the_order_of_a_sum_nor_on_which_way_round_a_direction_is(crops, monkeypatch):
    images, _ = next(iter(data.batches(crops.train, 200, shuffle=True)))
    filters = models.whitening_filters(images)
    other = images[torch.randperm(200, generator=torch.Generator().manual_seed(0))]
    torch.testing.assert_close(models.whitening_filters(other), filters, rtol=1e-6, atol=1e-7)
    solve = torch.linalg.eigh

    def turned(matrix):
        variances, directions = solve(matrix)
        return variances, directions * (-1.0) ** torch.arange(12)

    monkeypatch.setattr(torch.linalg, "eigh", turned)
    assert torch.equal(models.whitening_filters(images), filters)


@pytest.mark.thorough
def test_a_compiled_network_learns_in_sixteen_bits(crops):
    """What the compiler fuses has more digits than what it keeps: a maximum found by comparing again is not there."""
    if missing := devices.compiler_missing():
        pytest.skip(missing)
    torch.manual_seed(0)
    net = models.SprintNet((8, 8, 8), len(crops.classes)).to(memory_format=torch.channels_last)
    forward = torch.compile(net)
    images, labels = next(iter(data.batches(crops.train, 64)))
    for _ in range(2):
        with torch.autocast("cpu", torch.bfloat16):
            loss = F.cross_entropy(forward(images.to(memory_format=torch.channels_last)), labels)
        net.zero_grad()
        loss.backward()
    assert all(p.grad.isfinite().all() for p in net.parameters() if p.grad is not None)


def test_whitening_makes_patches_of_even_variance_without_correlation(crops):
    images, _ = next(iter(data.batches(crops.train, 200, shuffle=True)))
    filters = models.whitening_filters(images, softened=0.0)
    answers = F.conv2d(images, filters[:12]).transpose(0, 1).flatten(1)  # (12, places)
    covariance = answers @ answers.T / answers.shape[1]
    torch.testing.assert_close(covariance, torch.eye(12), atol=2e-2, rtol=0)
    assert torch.equal(filters[12:], -filters[:12])


def test_an_identity_start_passes_its_input_on():
    net = models.SprintNet((24, 24, 24))
    net.reset()
    images = torch.randn(2, 24, 6, 6)
    torch.testing.assert_close(net.groups[0].conv1(images), images)
    net.reset(identity=False)
    assert not torch.allclose(net.groups[0].conv1(images), images)


def test_a_network_that_cannot_be_built_is_one_sentence():
    with pytest.raises(ValueError, match="three widths that 8 divides"):
        models.SprintNet((8, 9, 8))
    with pytest.raises(ValueError, match='by "batch" or by "group"'):
        models.SprintNet(norm="layer")


def test_group_normalisation_keeps_pictures_apart():
    net = models.SprintNet((8, 8, 8), norm="group")
    images = torch.randn(6, 3, 32, 32)
    torch.testing.assert_close(net(images)[:2], net(images[:2]), atol=1e-5, rtol=1e-4)


# --- the sprint


def test_two_parts_of_one_set_stay_apart_though_they_bear_one_name(crops):
    train, test = crops.train.select(torch.arange(40)), crops.train.select(torch.arange(40, 60))
    assert train.name == test.name
    settings = sprint.SprintSettings(epochs=1, batch_size=20, widths=(8, 8, 8))
    race = sprint.Sprint(train, test, settings, torch.device("cpu"))
    assert torch.equal(race.images["train"], train.images) and torch.equal(race.images["test"], test.images)
    assert len(race._normalised("train")) == 40 and len(race._normalised("test")) == 20
    assert len(race.run(0).losses) == 2  # of twice twenty pictures; the test pictures give one batch


@pytest.fixture(scope="module")
def sprinted(crops):
    race = sprint.Sprint(crops.train.take(800), crops.test.take(400), sprint.SprintSettings(**SMALL), "cpu")
    return [race.run(0), race.run(0), race.run(1)]


@pytest.mark.thorough
@pytest.mark.outcome
def test_the_sprint_learns_on_a_few_pictures_and_looks_at_the_test_twice(sprinted):
    assert all(result.accuracy > 0.45 and result.plain_accuracy > 0.4 for result in sprinted)  # chance: 0.125
    assert len(sprinted[0].losses) == 60 and sprinted[0].losses[-1] < sprinted[0].losses[0] - 0.5
    assert sprinted[0].seconds > 0 and sprinted[0].device


def test_the_same_seed_runs_the_same_race_and_only_the_first_is_cold(sprinted):
    first, again, other = sprinted
    assert first.losses == again.losses and first.accuracy == again.accuracy and first.losses != other.losses
    assert [each.cold for each in sprinted] == [True, False, False]


@pytest.mark.thorough
@pytest.mark.parametrize("trick", sorted(sprint.TRICKS))
def test_every_trick_can_be_left_out(crops, trick):
    train, test = crops.train.take(240), crops.test.take(40)
    small = {"epochs": 1, "batch_size": 20, "widths": (8, 8, 8)}
    settings = sprint.SprintSettings(**small, leave_out={trick})
    with_it = sprint.Sprint(train, test, sprint.SprintSettings(**small), "cpu").run(0)
    result = sprint.Sprint(train, test, settings, "cpu").run(0)
    assert not settings.uses(trick) and all(map(torch.isfinite, torch.tensor(result.losses)))
    silent = {
        "views",
        "half precision",
        "channels_last",
        "CUDA graph",
        "own pooling",
    }  # change no loss: only the answers, or nothing on a CPU
    assert trick in silent or result.losses != with_it.losses


def test_alternating_flips_show_each_picture_both_ways_in_any_two_epochs():
    first = torch.tensor([True, False, True])
    for epoch in range(4):
        assert torch.equal(sprint.alternating_flip(first, epoch), ~sprint.alternating_flip(first, epoch + 1))


def test_the_rates_fall_in_a_line_to_zero_and_those_of_whitenings_biases_sooner(crops):
    race = small_race(crops)
    rates = race._rates(10, 4) / torch.tensor(race._first_rates())
    torch.testing.assert_close(rates[:, 1:], (1 - torch.arange(10) / 10)[:, None].expand(10, 3))
    torch.testing.assert_close(rates[:, 0], (1 - torch.arange(10) / 4).clamp(min=0))
    assert (small_race(crops, leave_out={"falling rates"})._rates(10, 4)[:, 1:].std(dim=0) == 0).all()


def test_decay_shrinks_the_weights_of_all_groups_alike_and_goes_through_the_momentum(crops):
    settings = sprint.SprintSettings(batch_size=20, widths=(8, 8, 8), decay=1e-3, leave_out={"muon"})
    race = sprint.Sprint(crops.train.take(20), crops.test.take(8), settings, "cpu")
    (optimizer,) = race.optimizers
    first = torch.tensor(race._first_rates())
    assert len(set(first.tolist())) == 3  # rates far from each other
    decay, kept = 20 * 1e-3, settings.momentum
    expected, momentum = 1.0, 0.0
    for share in (1.0, 0.5):  # of the first rates
        momentum = kept * momentum + decay * expected
        expected -= share * (decay * expected + kept * momentum)  # Nesterov's step with no slope but the decay's
        race.rates.copy_(share * first)
        with torch.no_grad():
            for group in optimizer.param_groups:
                for weights in group["params"]:
                    if weights.grad is None:
                        weights.fill_(1.0)
                    weights.grad = torch.zeros_like(weights)
        optimizer.step()
        for group in optimizer.param_groups:
            for weights in group["params"]:
                torch.testing.assert_close(weights, torch.full_like(weights, expected))
    assert expected < (1 - decay) * (1 - 0.5 * decay)  # where decoupled decay would end


def six_views(model, images):
    """The plain version: every picture six times, padded, cut and mirrored."""
    padded, total = F.pad(images, (1,) * 4, "reflect"), 0.0
    for offset, weight in ((1, 0.5), (0, 0.25), (2, 0.25)):
        view = padded[:, :, offset : offset + 32, offset : offset + 32]
        total = total + weight / 2 * (model(view) + model(view.flip(3)))
    return total


def test_the_least_certain_pictures_get_six_views_and_the_others_keep_their_first_answer():
    torch.manual_seed(0)
    model, images = models.SprintNet((8, 8, 8)).eval(), torch.randn(30, 3, 32, 32)
    with torch.no_grad():
        once, six = model(images), six_views(model, images)
        sure = once.softmax(dim=1).amax(dim=1)
        torch.testing.assert_close(sprint.answers(model, images, unsure=1.0, together=7), six, atol=1e-5, rtol=1e-4)
        assert torch.equal(sprint.answers(model, images, unsure=0.0, together=30), once)
        doubtful = sure < sure.sort().values[8]
        expected = torch.where(doubtful[:, None], six, once)
        torch.testing.assert_close(sprint.answers(model, images, unsure=8 / 30), expected, atol=1e-5, rtol=1e-4)


def test_all_pictures_that_a_gpu_answers_at_a_time_lie_in_memory_as_it_likes_them():
    seen = []

    def model(images):
        seen.append((len(images), images.is_contiguous(memory_format=torch.channels_last)))
        return images[:, :, 0, 0]

    images = torch.randn(40, 3, 32, 32).to(memory_format=torch.channels_last)
    sprint.answers(model, images, unsure=0.25, together=10)
    assert seen == [(10, True)] * (4 + 5)  # ten pictures in doubt, each with five more views


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_a_gather_shifts_and_mirrors_as_padding_cutting_and_flipping_do(memory_format):
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(9, 3, 32, 32, generator=generator).to(memory_format=memory_format)
    chosen = torch.randperm(9, generator=generator)[:6]
    shifts, mirrored = torch.randint(-2, 3, (2, 6), generator=generator), torch.arange(6) % 2 == 0
    padded = F.pad(images, (2,) * 4, "reflect")
    expected = [
        padded[i, :, 2 + down : 34 + down, 2 + right : 34 + right] for i, (down, right) in zip(chosen, shifts.T)
    ]
    made = sprint.windows(images, chosen, shifts, mirrored)
    assert torch.equal(made, torch.stack([cut.flip(2) if flip else cut for cut, flip in zip(expected, mirrored)]))
    assert made.is_contiguous(memory_format=memory_format)


def small_race(crops, **settings):
    settings = {"epochs": 3, "batch_size": 40, "widths": (8, 8, 8), "bias_epochs": 1, **settings}
    return sprint.Sprint(crops.train.take(160), crops.test.take(40), sprint.SprintSettings(**settings), "cpu")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_bytes_are_normalised_in_one_pass_to_the_type_and_layout_of_the_network(crops, dtype):
    race = small_race(crops)
    race.dtype = dtype
    made, part = race._normalised("train"), race.train
    mean, std = (torch.tensor(value).view(-1, 1, 1) for value in (part.mean, part.std))
    torch.testing.assert_close(made, ((part.images.float() / 255 - mean) / std).to(dtype), atol=1e-6, rtol=1e-3)
    assert made.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.thorough
@pytest.mark.parametrize("leave_out", [(), ("muon",), ("whitening", "falling rates")])
def test_a_recorded_step_replays_what_the_plain_one_does_in_this_race_and_in_the_next(crops, monkeypatch, leave_out):
    plain, graphed = small_race(crops, leave_out=leave_out), small_race(crops, leave_out=leave_out)
    graphed.graphs = True
    with pretend.cuda_graphs(monkeypatch):
        for seed in (0, 1):
            ours, theirs = graphed.run(seed), plain.run(seed)
            assert ours.losses == theirs.losses and ours.accuracy == theirs.accuracy
            assert all(map(torch.equal, graphed.net.state_dict().values(), plain.net.state_dict().values()))
    assert len(ours.losses) == 12 and set(graphed.recorded) == {True, False}  # each recorded once


def test_a_sprint_looks_at_no_value_before_its_training_has_ended(crops):
    race = small_race(crops)
    with pretend.Waits("cpu") as waits:
        losses = race._train(seed=0)
        assert waits.count == {}
        losses[0].item()
    assert waits.count == {"looks": 1}


def test_all_pictures_of_an_epoch_come_once_shifted_by_at_most_two_pixels(crops):
    part = crops.train.take(64)
    race = sprint.Sprint(
        part, crops.test.take(16), sprint.SprintSettings(epochs=1, batch_size=16, widths=(8, 8, 8)), "cpu"
    )
    marks = torch.arange(64.0).view(64, 1, 1, 1).expand(64, 3, 32, 32)
    seen = torch.cat([images[:, 0, 0, 0] for images, _ in race._batches(marks, seed=0)])
    assert sorted(seen.tolist()) == list(range(64))


def test_muon_keeps_weights_of_zeros_numbers():
    weights = torch.nn.Parameter(torch.zeros(4, 3))
    weights.grad = torch.rand(4, 3, generator=torch.Generator().manual_seed(0))
    muon.Muon([weights], lr=0.1).step()
    assert weights.isfinite().all() and weights.abs().max() > 0


def test_a_sprint_that_cannot_start_is_one_sentence(crops):
    with pytest.raises(SettingError, match="There is no trick 'magic' to leave out; there are whitening"):
        sprint.SprintSettings(leave_out={"magic"})
    for wrong in ({"unsure": 25}, {"epochs": float("nan")}):
        with pytest.raises(SettingError, match="batch_size ≥ 2 and unsure from 0 to 1, not"):
            sprint.SprintSettings(**wrong)
    for name in ("bias_epochs", "bias_rate", "head_rate", "filter_rate", "plain_rate"):
        with pytest.raises(SettingError, match=f"{name} must be a number above 0, not 0"):
            sprint.SprintSettings(**{name: 0})
    for name in ("smoothing", "filter_momentum"):
        with pytest.raises(SettingError, match=f"{name} must be from 0 to below 1, not 2"):
            sprint.SprintSettings(**{name: 2})
    with pytest.raises(SettingError, match="momentum must be between 0 and 1, not 0"):
        sprint.SprintSettings(momentum=0)
    assert sprint.SprintSettings(leave_out="muon").leave_out == {"muon"}
    with pytest.raises(SettingError, match=re.escape("at least one batch (2000) of pictures (3, 32, 32), not 100")):
        sprint.Sprint(crops.train.take(100), crops.test, device="cpu")


# --- CUDA graphs: what can be tested without a GPU


def test_a_cuda_graph_needs_a_gpu():
    model = nn.Linear(2, 2)
    with pytest.raises(SettingError, match="CUDA graphs need an NVIDIA GPU; on the CPU call the step itself"):
        graphs.GraphedStep(
            lambda x, y: x, model, torch.optim.SGD(model.parameters(), 0.1), torch.ones(1, 2), torch.ones(1)
        )
