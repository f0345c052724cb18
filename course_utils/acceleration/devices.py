"""Which device computes, and how to wait for it: a GPU queues work and answers "done" before it has done anything."""

from __future__ import annotations

import importlib.util
import os
import queue
import shutil
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn import functional as F

from course_utils.base import machine
from course_utils.base.modules import named_device
from course_utils.errors import CourseError, SettingError

KINDS = ("auto", "cuda", "mps", "cpu")
BFLOAT16_FROM = (8, 0)  # compute capability; below it PyTorch only imitates bfloat16, which is slower than float32
CLOSE = {"rtol": 1e-3, "atol": 1e-4}  # what float32 may differ by between two devices that add in another order


@runtime_checkable
class Device(Protocol):
    """What a timer needs to know of a device: its name, and how to wait until it has done all it was told."""

    name: str

    def synchronize(self) -> None:
        """Wait until everything that was asked of the device is done."""


@dataclass(frozen=True)
class TorchDevice:
    """A device of PyTorch that can be waited for. `name` says which chip it is, as figures are labelled with it."""

    torch: torch.device
    name: str

    @property
    def kind(self) -> str:
        """What PyTorch calls it: cpu, cuda or mps."""
        return self.torch.type

    def synchronize(self) -> None:
        """Wait until the device has done everything; the CPU always has: it works while Python waits."""
        if self.kind == "cuda":
            torch.cuda.synchronize(self.torch)
        elif self.kind == "mps":
            torch.mps.synchronize()

    def __str__(self) -> str:
        return f"{self.kind} ({self.name})"


def pick_device(wanted: str | torch.device | TorchDevice = "auto") -> TorchDevice:
    """Return the device to compute on.

    Args:
        wanted: "auto" is an NVIDIA or AMD GPU (PyTorch calls both "cuda") where there is one, else the CPU. "mps", the
            GPU of an Apple chip, is taken only when asked for, and only if it agrees with the CPU: some operations
            gave wrong results on it (pytorch/pytorch#143864). "cuda:1" is the second GPU. Also a device of PyTorch
            itself, or what this function returned before.

    Raises:
        SettingError: for an unknown device, or one that this machine or this PyTorch does not have.
        CourseError: when MPS computes something else than the CPU.
    """
    if isinstance(wanted, TorchDevice):
        return wanted
    if isinstance(wanted, torch.device):
        wanted = str(wanted) if wanted.type == "cuda" else wanted.type
    kind, _, number = str(wanted).partition(":")
    if kind not in KINDS or (number and (kind != "cuda" or not number.isdigit())):
        raise SettingError(f"There is no device {wanted!r}; choose one of {', '.join(KINDS)}, or a GPU such as cuda:1.")
    if kind == "auto":
        kind = "cuda" if torch.cuda.is_available() else "cpu"
    if kind == "cpu":
        return TorchDevice(torch.device("cpu"), machine.processor())
    if kind == "mps":
        if not torch.backends.mps.is_available():
            raise SettingError("This machine or this PyTorch has no MPS; choose auto or cpu.")
        require_parity(torch.device("mps"))
        return TorchDevice(torch.device("mps"), f"Apple GPU of {machine.processor()}")
    if int(number or 0) >= torch.cuda.device_count():
        raise SettingError(
            f"PyTorch finds {torch.cuda.device_count()} GPUs here, so there is no {wanted}; choose auto."
        )
    chosen = torch.device("cuda", int(number or 0))
    return TorchDevice(chosen, torch.cuda.get_device_name(chosen))


def half_type(device: str | torch.device | TorchDevice) -> torch.dtype:
    """Return the 16-bit type to train in on a device: bfloat16 where its hardware multiplies in it, else float16.

    bfloat16 has float32's range, so gradients fit as they are. float16 ends at 65,504 and rounds the smallest gradients
    to 0, so its loss must be scaled: `training.fit` and `training.amp.Amp` do that for float16 by themselves.

    Args:
        device: a name such as "cuda", a `torch.device` or a `TorchDevice`.

    Returns:
        On an NVIDIA GPU `torch.bfloat16` from compute capability 8.0 (A100, RTX 30) on, `torch.float16` below (Colab's
        T4 has 7.5); on an AMD GPU what PyTorch says; on Apple's float16; on the CPU bfloat16, as its autocast prefers.

    Raises:
        ValueError: when PyTorch has no such device.
    """
    wanted = device.torch if isinstance(device, TorchDevice) else named_device(device, "half_type")
    if wanted.type == "cuda":
        if torch.version.hip:
            able = torch.cuda.is_bf16_supported()
        else:
            able = torch.cuda.get_device_capability(wanted) >= BFLOAT16_FROM
        return torch.bfloat16 if able else torch.float16
    return torch.float16 if wanted.type == "mps" else torch.bfloat16


def _training_step(device: torch.device) -> Tensor:
    """Return the weights of a small network after one step: forward, loss, backward, update."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(4, 3, 8, 8, generator=generator).to(device)
    kernel = torch.randn(6, 3, 3, 3, generator=generator).to(device).requires_grad_()
    dense = torch.randn(5, 6 * 16, generator=generator).to(device).requires_grad_()
    hidden = F.gelu(F.max_pool2d(F.conv2d(images, kernel, padding=1), 2))  # (4, 6, 4, 4)
    hidden = F.batch_norm(hidden, None, None, training=True)
    loss = F.cross_entropy(hidden.flatten(1) @ dense.T, torch.tensor([0, 1, 2, 4], device=device))
    kernel_gradient, dense_gradient = torch.autograd.grad(loss, (kernel, dense))
    return torch.cat([(kernel - 0.1 * kernel_gradient).flatten(), (dense - 0.1 * dense_gradient).flatten()])


def _channels_last(device: torch.device) -> Tensor:
    images = torch.arange(2 * 4 * 6 * 6.0).view(2, 4, 6, 6).sin().to(device, memory_format=torch.channels_last)
    return F.conv2d(images, torch.arange(3 * 4 * 9.0, device=device).view(3, 4, 3, 3).cos(), stride=2, padding=1)


def _chosen_rows(device: torch.device) -> Tensor:
    table = torch.arange(60.0, device=device).view(12, 5)
    return table.index_select(0, torch.tensor([11, 0, 7], device=device)).flip(1).sum(dim=0)


CASES: Mapping[str, Callable[[torch.device], Tensor]] = {
    "a training step": _training_step,
    "a convolution in channels_last": _channels_last,
    "choosing and mirroring rows": _chosen_rows,
}


def parity(device: torch.device, cases: Mapping[str, Callable[[torch.device], Tensor]] = CASES) -> dict[str, float]:
    """Return, for each case that `device` computes differently from the CPU, the largest difference.

    Args:
        device: to be compared with the CPU.
        cases: functions that compute the same thing on the device that they are given.

    Returns:
        An empty dict when all agree within float32's accuracy; infinity stands for NaN or another shape.
    """
    wrong = {}
    for name, compute in cases.items():
        expected, got = compute(torch.device("cpu")).detach(), compute(device).detach().cpu()
        if got.shape != expected.shape or not got.isfinite().all():
            wrong[name] = float("inf")
        elif not torch.allclose(got, expected, **CLOSE):
            wrong[name] = (got - expected).abs().max().item()
    return wrong


def require_parity(device: torch.device, cases: Mapping[str, Callable[[torch.device], Tensor]] = CASES) -> None:
    """Raise `CourseError` when `device` computes one of the cases differently from the CPU."""
    wrong = parity(device, cases)
    if wrong:
        case, difference = next(iter(wrong.items()))
        raise CourseError(
            f"{device} computes {case} differently from the CPU (by up to {difference:.3g}): "
            "its results cannot be trusted with this PyTorch; compute on the CPU, or update PyTorch."
        )


def compiler_missing(kind: str = "cpu") -> str:
    """Return in a sentence why `torch.compile` cannot work here, or an empty text."""
    names = ("g++", "clang++", "c++") if kind == "cpu" else ("gcc", "clang", "cc")
    chosen = os.environ.get("CXX" if kind == "cpu" else "CC")
    if any(shutil.which(name) for name in ([chosen] if chosen else names)):
        return ""
    return f"torch.compile needs a compiler such as {names[0]}, and there is none; install one, or leave this rung out."


def has_triton() -> bool:
    """Return whether kernels written in Triton can run here: it needs a GPU of NVIDIA's and a C compiler."""
    nvidia = torch.cuda.is_available() and not torch.version.hip  # PyTorch calls AMD's GPUs "cuda" too
    return nvidia and bool(importlib.util.find_spec("triton")) and not compiler_missing("cuda")


class PretendGPU:
    """A simulation of how a GPU queues its work, for machines without one: no faster, and its errors come as late.

    `submit` puts work into a queue and returns at once, as PyTorch does with CUDA; a thread does the work in order.
    `synchronize` waits for it. As on a GPU, an error in the work is seen only there. Use it in a `with` block, or
    `close` it.

    Args:
        name: what figures measured on it are labelled with.
    """

    def __init__(self, name: str = "pretend GPU (a simulation on this CPU)") -> None:
        self.name = name
        self._jobs: queue.Queue[tuple[Callable[..., Any], tuple[Any, ...]] | None] = queue.Queue()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def submit(self, work: Callable[..., Any], *arguments: Any) -> None:
        """Ask for `work(*arguments)` and return without waiting."""
        if not self._thread.is_alive():
            raise CourseError("This pretend GPU was closed; make another one.")
        self._jobs.put((work, arguments))

    def synchronize(self) -> None:
        """Wait until all work is done, and raise what went wrong in the first piece that failed."""
        self._jobs.join()
        error, self._error = self._error, None
        if error is not None:
            raise error

    def close(self) -> None:
        """End the thread, after what is still to do."""
        if self._thread.is_alive():
            self._jobs.put(None)
            self._thread.join()

    def __enter__(self) -> PretendGPU:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            work, arguments = job
            try:
                if self._error is None:  # after an error a GPU does nothing more either
                    work(*arguments)
            except Exception as error:  # noqa: BLE001 - raised by `synchronize`, in the thread that waits
                self._error = error
            finally:
                self._jobs.task_done()
