"""Training faster, and knowing by how much: devices, a timer that waits, the ladder, the sprint, several processes.

`acceleration.distributed`, the script for torchrun, is not imported here: torchrun has to run it as a file of its own.
"""

from course_utils.acceleration.devices import PretendGPU, TorchDevice, half_type, parity, pick_device, require_parity
from course_utils.acceleration.graphs import GraphedStep
from course_utils.acceleration.ladder import climb, compiler_missing
from course_utils.acceleration.launch import Plan, Report, launch
from course_utils.acceleration.memory import (
    Kept,
    Memory,
    free_traceback,
    keeping,
    kept_for_backward,
    training_memory,
    with_smaller_batches,
)
from course_utils.acceleration.muon import MUON_COEFFICIENTS, Muon, orthogonalised
from course_utils.acceleration.profiling import Profile, profiled
from course_utils.acceleration.rungs import (
    NOT_YET,
    RUNGS,
    SIZES,
    Ladder,
    Measured,
    Rung,
    ladder_file,
    stored_ladder,
)
from course_utils.acceleration.sprint import TRICKS, Sprint, SprintResult, SprintSettings, alternating_flip
from course_utils.acceleration.timer import Timing, measure, measure_in_turn, stopwatch

__all__ = [
    "MUON_COEFFICIENTS",
    "NOT_YET",
    "RUNGS",
    "SIZES",
    "TRICKS",
    "GraphedStep",
    "Kept",
    "Ladder",
    "Measured",
    "Memory",
    "Muon",
    "Plan",
    "PretendGPU",
    "Profile",
    "Report",
    "Rung",
    "Sprint",
    "SprintResult",
    "SprintSettings",
    "Timing",
    "TorchDevice",
    "alternating_flip",
    "climb",
    "compiler_missing",
    "free_traceback",
    "half_type",
    "keeping",
    "kept_for_backward",
    "ladder_file",
    "launch",
    "measure",
    "measure_in_turn",
    "orthogonalised",
    "parity",
    "pick_device",
    "profiled",
    "require_parity",
    "stopwatch",
    "stored_ladder",
    "training_memory",
    "with_smaller_batches",
]
