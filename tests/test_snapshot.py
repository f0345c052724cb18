"""Everything random and everything trained, taken and put back bit for bit."""

import copy
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

from course_utils import training
from course_utils.training import snapshot


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 3))


def train(model, optimizer, steps=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(8, 4, generator=generator)).square().mean().backward()
        optimizer.step()


def state(model, optimizer):
    """Return all that training changes as copies that can be compared."""
    return copy.deepcopy(
        {
            "weights": [p.detach() for p in model.parameters()],
            "gradients": [p.grad for p in model.parameters()],
            "learns": [p.requires_grad for p in model.parameters()],
            "buffers": list(model.buffers()),
            "modes": [layer.training for layer in model.modules()],
            "optimizer": optimizer.state_dict(),
            "keys": [sorted(group) for group in optimizer.param_groups],
        }
    )


def assert_same(a, b, place="state"):
    """Compare nested data bit for bit; a message names the first place that differs."""
    assert type(a) is type(b), place
    if isinstance(a, torch.Tensor):
        assert a.dtype == b.dtype and torch.equal(a, b), place
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), place
        for key in a:
            assert_same(a[key], b[key], f"{place}[{key!r}]")
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), place
        for i, (one, other) in enumerate(zip(a, b)):
            assert_same(one, other, f"{place}[{i}]")
    else:
        assert a == b, place


def draws():
    """Return the next random numbers of every source."""
    return [random.random(), np.random.rand(), np.random.normal(), random.gauss(0, 1), torch.rand(()).item()]


OPTIMIZERS = {
    "SGD": lambda parameters: torch.optim.SGD(parameters, 0.1, momentum=0.9, nesterov=True),
    "AdamW": lambda parameters: torch.optim.AdamW(parameters, 0.01, amsgrad=True),
    "L-BFGS": lambda parameters: torch.optim.LBFGS(parameters, 0.1, max_iter=3),
    "rate as a tensor": lambda parameters: torch.optim.Adam(parameters, torch.tensor(0.01)),
}


@pytest.mark.parametrize("used", [False, True], ids=["fresh", "used"])
@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_an_experiment_is_undone_whatever_it_changes(make, used):
    model = network()
    optimizer = make(model.parameters())
    closure = lambda: model(torch.ones(8, 4)).square().mean()  # noqa: E731
    if used:
        closure().backward()
        optimizer.step(closure)
    before, tensors = state(model, optimizer), [id(t) for t in [*model.parameters(), *model.buffers()]]
    with training.restored(model, optimizer):
        assert all(p.grad is None for p in model.parameters())
        closure().backward()
        optimizer.step(closure)
        model.eval().requires_grad_(False)
        model[1].running_mean = torch.ones(6)
        if isinstance(optimizer.param_groups[0]["lr"], torch.Tensor):
            optimizer.param_groups[0]["lr"].fill_(9.0)
        optimizer.param_groups[0].update(lr=9.0, odd=1)
        optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert_same(state(model, optimizer), before)
    assert tensors == [id(t) for t in [*model.parameters(), *model.buffers()]]


def test_the_next_step_after_an_undone_experiment_is_the_one_that_would_have_been_taken():
    def trained(experiment):
        model = network()
        optimizer = torch.optim.AdamW(model.parameters(), 0.01)
        schedule = lr_scheduler.StepLR(optimizer, 1)
        train(model, optimizer, steps=2)
        if experiment:
            with training.restored(model, optimizer):
                train(model, optimizer, steps=3, seed=9)
        schedule.step()
        train(model, optimizer)
        return state(model, optimizer)

    assert_same(trained(True), trained(False))


@pytest.mark.parametrize("error", [RuntimeError("boom"), KeyboardInterrupt()], ids=repr)
def test_an_error_or_an_interrupt_is_let_through_and_everything_put_back(error):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    train(model, optimizer)
    before = state(model, optimizer)
    with pytest.raises(type(error)), training.restored(model, optimizer):
        train(model, optimizer)
        raise error
    assert_same(state(model, optimizer), before)


def test_every_random_number_comes_again():
    training.seed_everything(3)
    draws()  # an odd number of normal ones: both modules keep the second of a pair
    expected = []
    with training.restored():
        expected = draws()
    assert draws() == expected


@pytest.mark.parametrize("where", ["loader", "sampler", "dataset", "loss"])
def test_generators_of_batches_and_losses_are_put_back(where):
    generator = torch.Generator().manual_seed(1)
    data = TensorDataset(torch.arange(20))

    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.generator = generator

    if where == "dataset":
        data.generator = generator
    things = {
        "loader": lambda: DataLoader(data, 4, shuffle=True, generator=generator),
        "sampler": lambda: DataLoader(data, 4, sampler=RandomSampler(data, generator=generator)),
        "dataset": lambda: DataLoader(data, 4),
        "loss": Noisy,
    }
    thing = things[where]()
    with training.restored(thing):
        first = torch.rand(3, generator=generator)
    assert torch.equal(torch.rand(3, generator=generator), first)


def test_an_optimizer_over_plain_tensors_keeps_its_own_list():
    weight = torch.ones(3, requires_grad=True)
    optimizer = torch.optim.SGD([weight], 0.1, momentum=0.9)
    with training.restored(optimizer):
        weight.sum().backward()
        optimizer.step()
        assert not torch.equal(weight, torch.ones(3))
    assert torch.equal(weight, torch.ones(3)) and weight.grad is None and not optimizer.state
    assert optimizer.param_groups[0]["params"][0] is weight


def test_the_random_state_is_plain_data_that_a_file_can_hold(tmp_path):
    training.seed_everything(5)
    loader = DataLoader(TensorDataset(torch.arange(8)), generator=torch.Generator().manual_seed(2))
    torch.save(snapshot.random_state(loader), tmp_path / "state.pt")
    expected = [*draws(), torch.rand((), generator=loader.generator).item()]
    training.seed_everything(6)
    loader.generator.manual_seed(7)
    snapshot.set_random_state(torch.load(tmp_path / "state.pt", weights_only=True), loader)
    assert [*draws(), torch.rand((), generator=loader.generator).item()] == expected


# In place, for CUDA graphs


@pytest.mark.parametrize("make", [OPTIMIZERS["SGD"], OPTIMIZERS["AdamW"]], ids=["SGD", "AdamW"])
@pytest.mark.parametrize("steps_before", [0, 2], ids=["fresh", "used"])
def test_warming_up_is_undone_in_place_so_that_the_next_step_is_the_first(make, steps_before):
    def stepping(warm_ups):
        model = network()
        optimizer = make(model.parameters())
        train(model, optimizer, steps_before)
        places = []
        if warm_ups:
            before = snapshot.Snapshot(model, optimizer)
            train(model, optimizer, warm_ups, seed=1)
            places = [t for state in optimizer.state.values() for t in state.values()] + list(model.buffers())
            addresses = [t.data_ptr() for t in places]
            before.put_back_in_place()
            now = [t for state in optimizer.state.values() for t in state.values()] + list(model.buffers())
            assert [t.data_ptr() for t in now] == addresses
        train(model, optimizer, 2, seed=9)
        return state(model, optimizer)

    assert_same(stepping(3), stepping(0))


def test_warming_up_leaves_a_layer_the_tensor_that_it_has_now():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    before = snapshot.Snapshot(model, optimizer)
    model[1].running_mean = replaced = torch.ones(6)  # as a recorded step does whose layer makes a new buffer
    before.put_back_in_place()
    assert model[1].running_mean is replaced and not replaced.any()
