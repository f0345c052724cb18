"""Train lesson 7's network in several processes, on one machine or more: the script behind `torchrun`.

Two processes on this machine, on its GPUs where there are any, else on the CPU:

    torchrun --standalone --local-addr=127.0.0.1 --nproc-per-node=2 --max-restarts=2 \\
        -m course_utils.acceleration.distributed --out runs/two

Without the address torchrun asks for this machine's name, which not every network can resolve.

Two machines with four GPUs each; the same line on both, and OUT in a folder that both see:

    torchrun --nnodes=2 --nproc-per-node=4 --max-restarts=2 --rdzv-backend=c10d --rdzv-endpoint=FIRST_MACHINE:29500 \\
        --rdzv-id=lesson7 -m course_utils.acceleration.distributed --out OUT

Each process computes the gradient of its slice of every batch, and DistributedDataParallel averages the gradients, so
that all take the same step. Slices and random numbers follow from seed, epoch and batch alone, never from the number of
processes: one, two or five give the same result but for rounding. Batch normalisation would spoil that, as each process
would normalise with its own slice (its remedy, SyncBatchNorm, needs GPUs), so the network uses group normalisation.

When a process dies, torchrun starts all of them again, and they go on from the last checkpoint in OUT.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.distributed import PrefixStore
from torch.distributed.rendezvous import rendezvous
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from course_utils import data, training
from course_utils.acceleration.launch import CHECKPOINT, REPORT, Plan, Report
from course_utils.base.files import replace_file
from course_utils.base.words import percent
from course_utils.data.batches import generators, hflip
from course_utils.errors import DataError, SettingError
from course_utils.models.sprint import SprintNet
from course_utils.training import checkpoints


@dataclass(frozen=True)
class World:
    """Who we are: process `rank` of `size`, computing on `device`."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    backend: str = "none"


def slice_of(chosen: Tensor, rank: int, size: int) -> Tensor:
    """Return the share of a batch's indices (B,) that process `rank` of `size` computes.

    The shares differ by one picture at most, and together, in order, they are the batch.
    """
    return chosen.tensor_split(size)[rank]


def train(plan: Plan, world: World, out: Path) -> Report:
    """Train in this process, as one of `world.size`; go on from the checkpoint in `out` where there is one.

    Every process of the world has to call this with the same plan. Process 0 writes checkpoint and report.

    Raises:
        DataError: when the checkpoint belongs to another plan, or cannot be written.
    """
    pictures = data.load(plan.data, seed=plan.seed, quiet=world.rank > 0)
    part = pictures.train.take(plan.pictures, seed=plan.seed) if plan.pictures else pictures.train
    training.seed_everything(plan.seed)
    net = SprintNet((plan.width,) * 3, len(part.classes), norm="group")
    net.reset()
    net.whitening(next(iter(data.batches(part, min(len(part), 500))))[0])
    net.to(world.device, getattr(torch, plan.precision))  # only now: the same first weights on every device
    together: nn.Module = net
    if world.size > 1:
        together = DistributedDataParallel(net, device_ids=[world.device] if world.device.type == "cuda" else None)
    optimizer = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], plan.rate, 0.9, nesterov=True)
    per_epoch = -(-len(part) // plan.batch)
    steps = plan.epochs * per_epoch
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, total_iters=steps)
    run = checkpoints.Run(net, optimizer, schedule)
    losses = _resume(run, plan, world, out / CHECKPOINT)
    restarts, done = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)), len(losses)
    maker = data.batches(part, plan.batch, device=world.device)
    net.train()
    for step in range(done, steps):
        if world.rank == plan.kill_rank and step == plan.kill_step and not restarts:
            os.kill(os.getpid(), signal.SIGKILL)
        chosen, mirror = batch_of(len(part), plan.batch, plan.seed, step)
        losses.append(_step(together, optimizer, maker, chosen, mirror, world))
        schedule.step()
        if (step + 1) % plan.save_every == 0 or (step + 1) % per_epoch == 0:
            _save(run, losses, plan, world, out / CHECKPOINT)
    report = Report(
        losses, 0.0, world.size, restarts, done, world.backend, world.device.type, pictures.source.description
    )
    if world.rank == 0:
        report.accuracy = training.evaluate(net.float(), data.batches(pictures.test, 100, device=world.device)).accuracy
        replace_file(out / REPORT, json.dumps(asdict(report)))
    return report


def batch_of(count: int, size: int, seed: int, step: int) -> tuple[Tensor, Tensor]:
    """Return the indices of the pictures of a step, int64 (B,), and which of them are mirrored, bool (B,).

    They depend on nothing else, so any number of processes, and one that starts again midway, get the same batch.
    """
    per_epoch = -(-count // size)
    epoch, batch = divmod(step, per_epoch)
    order, draws = generators(seed, epoch)
    chosen = torch.randperm(count, generator=order)[batch * size : (batch + 1) * size]
    mirror = torch.rand(count, generator=draws) < 0.5
    return chosen, mirror[chosen]


def _step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    maker: data.Batches,
    chosen: Tensor,
    mirror: Tensor,
    world: World,
) -> float:
    """Train on this process's slice of a batch and return the loss of the whole batch."""
    places = slice_of(torch.arange(len(chosen)), world.rank, world.size)
    weight = 1.0
    if len(places) == 0:  # fewer pictures than processes: join in with one that counts nothing, as all must step
        places, weight = torch.zeros(1, dtype=torch.int64), 0.0
    images, labels = maker.batch(chosen[places], torch.Generator())
    images = hflip(images, mirror[places]).to(next(model.parameters()).dtype)
    summed = weight * F.cross_entropy(model(images), labels, reduction="sum")
    optimizer.zero_grad()
    # Divided by the whole batch, not by the slice, and times the number of processes, because the gradients are
    # averaged: exactly the mean over the whole batch, also where the slices differ in size.
    (summed * (world.size / len(chosen))).backward()
    optimizer.step()
    total = summed.detach().clone()
    if world.size > 1:
        distributed.all_reduce(total)
    return total.item() / len(chosen)


def _save(run: checkpoints.Run, losses: list[float], plan: Plan, world: World, path: Path) -> None:
    """Write everything that the run needs to go on, on process 0, all of it or nothing."""
    if world.rank == 0:
        checkpoints.save({"run": run.state(), "losses": losses, "plan": _identity(plan)}, path)


def _resume(run: checkpoints.Run, plan: Plan, world: World, path: Path) -> list[float]:
    """Put back what `_save` wrote, if it did; return the losses of the steps that are done."""
    found: list[Any] = [checkpoints.load(path) if world.rank == 0 and path.exists() else None]
    if world.size > 1:
        distributed.broadcast_object_list(found)  # all go on from the same state, also where one cannot see the file
    if found[0] is None:
        return []
    if found[0].get("plan") != _identity(plan):
        raise DataError(
            f"{path.name} in {path.parent.name} belongs to another plan; choose another folder or delete it."
        )
    kept, losses = found[0].get("run"), found[0].get("losses")
    if not isinstance(kept, dict) or not isinstance(losses, list):
        raise DataError(f"{path.name} in {path.parent.name} is no checkpoint of such a run; choose another folder.")
    run.restore(kept, path.name)
    return losses


def _identity(plan: Plan) -> dict[str, Any]:
    """Return what must be the same for a run to go on: not when to save, nor whom to kill."""
    return {name: value for name, value in asdict(plan).items() if not name.startswith(("kill", "save"))}


def main(arguments: Sequence[str] | None = None) -> None:
    """Join the processes that torchrun started (or be the only one), train, and leave."""
    parser = argparse.ArgumentParser(
        prog="course_utils.acceleration.distributed", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoint.pt and report.json")
    for each in fields(Plan):
        kind = type(each.default)
        parser.add_argument(f"--{each.name.replace('_', '-')}", type=kind, default=each.default)
    given = vars(parser.parse_args(arguments))
    out = given.pop("out")
    out.mkdir(parents=True, exist_ok=True)
    plan = Plan(**given)
    size = int(os.environ.get("WORLD_SIZE", 1))
    if size == 1:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        report = train(plan, World(device=device), out)
    else:
        _end_with_parent()
        world = _join(size)
        try:
            report = train(plan, world, out)
        finally:
            distributed.destroy_process_group()
        if world.rank > 0:
            return
    print(
        f"{report.processes} processes, {len(report.losses)} steps, test accuracy {percent(report.accuracy, 2)}",
        flush=True,
    )


def _join(size: int) -> World:
    """Join the other processes: nccl between GPUs, gloo between processors."""
    local, rank = int(os.environ["LOCAL_RANK"]), int(os.environ["RANK"])
    if torch.cuda.is_available():
        if local >= torch.cuda.device_count():
            raise SettingError(f"Process {local} has no GPU of its own; start {torch.cuda.device_count()} a machine.")
        device, backend = torch.device("cuda", local), "nccl"
        torch.cuda.set_device(device)
    else:
        device, backend = torch.device("cpu"), "gloo"
    # After a restart the old processes' addresses are still in torchrun's store: a prefix of its own for each attempt.
    store, _, _ = next(rendezvous("env://"))
    attempt = PrefixStore(f"attempt {os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)
    distributed.init_process_group(backend, store=attempt, rank=rank, world_size=size)
    return World(rank, size, device, backend)


def _end_with_parent(every: float = 1.0) -> None:
    """End this process when the one that started it is gone, so that none is left behind."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(every)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def split_gradients(model: nn.Module, images: Tensor, labels: Tensor, processes: int) -> Iterator[list[Tensor]]:
    """Give, for each of several processes, the gradients of the mean loss over its slice of a batch.

    For showing what is averaged; nothing is communicated.
    """
    for rank in range(processes):
        mine = slice_of(torch.arange(len(labels)), rank, processes)
        learned = [p for p in model.parameters() if p.requires_grad]
        yield list(torch.autograd.grad(F.cross_entropy(model(images[mine]), labels[mine]), learned))


if __name__ == "__main__":
    main()
