"""Everything of a run that changes while it runs, random state included, so that a checkpoint can bring it back."""

from __future__ import annotations

import random
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from course_utils.base.modules import device_of
from course_utils.errors import DataError
from course_utils.training import checkpoints
from course_utils.training.history import History

Scheduler = torch.optim.lr_scheduler.LRScheduler | torch.optim.lr_scheduler.ReduceLROnPlateau


def seed_everything(seed: int) -> None:
    """Set the random state of Python, NumPy and PyTorch, so that a run can be repeated."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


class Run:
    """A network with its optimizer, scheduler, scaler, history and best weights."""

    def __init__(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, scheduler: Scheduler | None, half: bool
    ) -> None:
        self.model, self.optimizer, self.scheduler = model, optimizer, scheduler
        self.device = device_of(model)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=half)
        self.history = History()
        self.best_weights: dict[str, Tensor] | None = None
        self.best_score = float("-inf")

    def kinds(self) -> dict[str, str | None]:
        """Return what must not change when a run is resumed: the kinds of optimizer and scheduler, and its length."""
        return {
            "optimizer": type(self.optimizer).__name__,
            "scheduler": type(self.scheduler).__name__ if self.scheduler else None,
            "steps of the scheduler": str(getattr(self.scheduler, "total_steps", None)),
        }

    def state(self) -> dict[str, Any]:
        """Return all of it as plain data and tensors."""
        return {
            "kinds": self.kinds(),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict() if self.scheduler else None,
            "scaler": self.scaler.state_dict(),
            "history": asdict(self.history),
            "best_weights": self.best_weights,
            "best_score": self.best_score,
            "random": _random_state(self.device),
        }

    def restore(self, state: dict[str, Any], name: str) -> None:
        """Put back what `state` returned; `name` is the file it came from, for messages."""
        if not {"kinds", "model", "optimizer"} <= state.keys():
            raise DataError(f"{name} holds weights but no training state; load it with load_weights instead.")
        checkpoints.require_same_network(self.model, state["model"], name)
        for what, own in self.kinds().items():
            saved = state["kinds"].get(what)
            if saved != own:
                raise DataError(
                    f"{name} belongs to another run: its {what} was {saved or 'none'}, here it is {own or 'none'}; "
                    "resume the run as it was, or delete the file to start anew."
                )
        try:
            self.optimizer.load_state_dict(state["optimizer"])
        except (ValueError, KeyError) as error:
            raise DataError(f"{name} was saved with another optimizer ({error}); use that one, or delete it.") from None
        self.model.load_state_dict(state["model"])
        if self.scheduler:
            self.scheduler.load_state_dict(state["scheduler"])
        if state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])
        self.history = History(**state["history"])
        self.best_weights, self.best_score = state["best_weights"], state["best_score"]
        _set_random_state(state["random"], self.device)


def _random_state(device: torch.device) -> dict[str, Any]:
    state: dict[str, Any] = {"torch": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    version, words, gauss = random.getstate()
    state["python"] = [version, list(words), gauss]
    kind, keys, position, has_gauss, cached = np.random.get_state()
    state["numpy"] = [kind, keys.tolist(), position, has_gauss, cached]
    return state


def _set_random_state(state: dict[str, Any], device: torch.device) -> None:
    torch.set_rng_state(state["torch"].cpu())
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"].cpu(), device)
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    kind, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((kind, np.array(keys, dtype=np.uint32), position, has_gauss, cached))
