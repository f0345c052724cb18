# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Speed: from loops to GPUs
#
# [Open in Colab][colab] · [Open on Binder][binder]
#
# [colab]: https://colab.research.google.com/github/pixels-to-predictions/pixels-to-predictions/blob/main/notebooks/07_gpu_acceleration.ipynb
# [binder]: https://mybinder.org/v2/gh/pixels-to-predictions/pixels-to-predictions/main?urlpath=lab%2Ftree%2Fnotebooks%2F07_gpu_acceleration.ipynb
#
# **The question: where do the minutes go, and how do they become seconds?**
#
# The same network on the same pictures can learn in minutes or in seconds. This lesson finds out where the time goes,
# takes it away piece by piece, and checks at every step that nothing was lost. On a CPU you measure honestly, find what
# holds a step back, and train in little memory and in several processes. On a graphics processor (**GPU**) the same
# cells climb on from there.
#
# **After this lesson you will be able to**
#
# - say what a GPU is good at, and move a network and its pictures there;
# - time a step so that the figure can be believed;
# - tell what holds a step back: launches, memory or arithmetic;
# - choose 16-bit numbers that your GPU can really compute with;
# - train with a large batch in little memory, by accumulation and checkpointing;
# - train in several processes with the same result as in one, and go on when one of them dies;
# - come back from an out-of-memory error without a restart.
#
# **You need** lessons 3 and 4. **Time:** about {{study_minutes}} minutes to study. On {{cores}} processor cores the
# run shown here took {{seconds:.0f}} seconds.
#
# **What ran here.** This copy was run on *{{processor}}*; GPU in that machine: *{{gpu}}*. Where that says none, GPU
# figures come from stored runs, which name their device and date; what others measured is marked as theirs. Everything
# else runs on any machine.
#
# <details><summary>Contents</summary>
#
# **Part 1: Measuring**
#
# - [What a GPU is good at](#What-a-GPU-is-good-at)
# - [Moving tensors](#Moving-tensors)
# - [A stopwatch that lies](#A-stopwatch-that-lies)
# - [Explore the batch size](#Explore-the-batch-size)
# - [Three brakes](#Three-brakes)
# - [Explore the three brakes](#Explore-the-three-brakes)
# - [Inside a step](#Inside-a-step)
# - [Exercises: measuring](#Exercises:-measuring)
#
# **Part 2: Climbing**
#
# - [The ladder](#The-ladder)
# - [Sixteen bits](#Sixteen-bits)
# - [Climbing it](#Climbing-it)
# - [Explore where the time goes](#Explore-where-the-time-goes)
# - [Compiled code and recorded steps](#Compiled-code-and-recorded-steps)
# - [A GPU in Colab](#A-GPU-in-Colab)
# - [The sprint](#The-sprint)
#
# **Part 3: Less memory, more processors**
#
# - [Out of memory](#Out-of-memory)
# - [A large batch in pieces](#A-large-batch-in-pieces)
# - [Forget and compute again](#Forget-and-compute-again)
# - [Many processes, one result](#Many-processes,-one-result)
# - [When a worker dies](#When-a-worker-dies)
# - [Exercises: memory and processes](#Exercises:-memory-and-processes)
#
# **To close**
#
# - [Quiz](#Quiz)
# - [What you learned](#What-you-learned)
# - [Where the code lives](#Where-the-code-lives)
# - [What next](#What-next)
#
# </details>

# %% tags=["hide-input"]
try:
    from course_utils import environment
except ImportError:  # as on Colab: install the course, and replace nothing
    import importlib
    import subprocess
    import sys

    url = "git+https://github.com/pixels-to-predictions/pixels-to-predictions"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    if subprocess.run([*pip, url], check=False).returncode:
        raise RuntimeError(
            f"pip could not fetch the course from {url} (see above); "
            "switch the network on (on Kaggle: Settings, Internet), "
            "then run this cell again."
        ) from None
    importlib.invalidate_caches()
    from course_utils import environment
environment.prepare()  # installs what else is missing, and says so

import gc
import statistics
import tempfile
import textwrap
import time
import weakref
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint

from course_utils import (
    acceleration,
    data,
    exercises,
    figures,
    models,
    profiles,
    results,
    widgets,
)
from course_utils.acceleration import distributed
from course_utils.errors import CourseError, SettingError, told

# %% [markdown]
# The settings worth changing. `None` means "as the profile says".

# %% tags=["parameters"]
profile = "auto"  # "quick" runs anywhere, "full" is meant for a GPU
seed = None  # start of the random numbers
ladder_pictures = None  # training pictures on each rung of the ladder
ladder_epochs = None  # epochs on each rung; the first is the cold one
sprint_pictures = None  # training pictures of the sprint
sprint_epochs = None  # epochs of the sprint
sprint_batch = None  # pictures in a step of the sprint
sprint_widths = None  # channels of the sprint's three groups
left_out = None  # tricks that the sprint tries to do without
test_used = None  # how many test pictures are used
processes = None  # processes that train together

# %% tags=["hide-input"]
settings = profiles.load(
    "07",
    profile,
    seed=seed,
    ladder_pictures=ladder_pictures,
    ladder_epochs=ladder_epochs,
    sprint_pictures=sprint_pictures,
    sprint_epochs=sprint_epochs,
    sprint_batch=sprint_batch,
    sprint_widths=sprint_widths,
    left_out=left_out,
    test_used=test_used,
    processes=processes,
)
cifar = data.load("cifar10", seed=settings.seed)

# %% [markdown]
# The line above says which pictures these are: CIFAR-10 where it is at hand, else a stand-in of crops from
# photographs. Speed is much the same with both; accuracies are not, and those of a stand-in say nothing about
# CIFAR-10.

# %% tags=["hide-input"]
records = {
    "ResNet-18, usual training (96 %)": 420,
    "hlb-CIFAR10": 6.3,
    "airbench94.py": 3.83,
    "airbench94_muon.py": 2.59,
    "cifar10_speedrun.py": 1.99,
}
with figures.style():
    fig, ax = plt.subplots(figsize=(7, 2.4))
    bars = ax.barh(list(records), list(records.values()), color=figures.BLUE)
    ax.bar_label(
        bars, labels=[f"{value:.4g} s" for value in records.values()], padding=3
    )
    ax.set(
        xscale="log",
        xlim=(1, 2000),
        xticks=(1, 10, 100, 1000),
        xticklabels=("1", "10", "100", "1,000"),
        xlabel="seconds to 94 % on one NVIDIA A100 (logarithmic scale)",
        title="Measured by others: 420 s to 2 s",
    )
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
figures.show(
    fig,
    alt=(
        "Bars on a logarithmic scale, all reported by others for one NVIDIA"
        " A100: "
        + "; ".join(f"{name} {value:g} s" for name, value in records.items())
        + "."
    ),
)
assert records["ResNet-18, usual training (96 %)"] > 200 * 1.99, (
    "the fastest should take less than a 200th of the usual training"
)

# %% [markdown]
# > **What others measured.** One NVIDIA A100, CIFAR-10, 94 % of the test pictures, unless the row says otherwise. None
# > of it was measured for this course.
# >
# > | script | seconds | source |
# > | --- | --- | --- |
# > | usual ResNet-18 (to 96 %) | 420 | README of [cifar10-airbench][airbench], commit f1c599c, 2025-03-02 |
# > | hlb-CIFAR10 | 6.3 | README of [hlb-CIFAR10][hlb], last changed 2023-11-07 |
# > | `airbench94.py` | 3.83 | Jordan, [arXiv:2404.00498](https://arxiv.org/abs/2404.00498), April 2024 |
# > | `airbench94_muon.py` | 2.59 | README of cifar10-airbench, commit f1c599c, 2025-03-02, torch 2.4.1 |
# > | `cifar10_speedrun.py` | 2.015 | README of [cifar10-speedrun][speedrun], commit 5cd49b1, autumn 2025 |
# > | the same, later | 1.99 | Hiverge, [hiverge.ai/blog](https://www.hiverge.ai/blog/cifar-speedrun), 2025-10-16 |
#
# [hlb]: https://github.com/tysam-code/hlb-CIFAR10
# [airbench]: https://github.com/KellerJordan/cifar10-airbench
# [speedrun]: https://github.com/hiverge/cifar10-speedrun
#
# How is that possible? Part 1 measures, part 2 takes the brakes off one by one, and part 3 does more with the memory
# and the processors that there are.
#
# ## Part 1: Measuring
#
# ### What a GPU is good at
#
# A processor core is quick at one thing after another. A GPU has thousands of slow arithmetic units that do *the same
# thing to many numbers at once*. A convolution is made for that: one rule, millions of sums that do not wait for each
# other. Running Python, one statement after another, is not.
#
# `acceleration.pick_device` takes what there is: a GPU that PyTorch calls "cuda", else the CPU. It also knows the
# chip's name; the device as PyTorch wants it is `device.torch`.

# %%
device = acceleration.pick_device("auto")
print("Computing on", device)

# %% tags=["hide-input"]
results.record(device=device.kind, device_name=device.name)

# %% [markdown]
# With an NVIDIA GPU, `!nvidia-smi` in a cell shows its name, how much of its memory is taken, and how busy it is.
#
# PyTorch computes by calling small ready-made programs, one for each operation; on a GPU they are called **kernels**,
# and starting one is a **kernel launch**. A launch costs time whatever the size. That shows even on a CPU: add a
# thousand short rows of numbers one by one, and then all in one call.
#
# **Predict first.** It is the same arithmetic, to the last sum. How much faster is the single call?

# %%
generator = torch.Generator().manual_seed(0)
left, right = torch.randn(2, 1000, 16, generator=generator).to(device.torch)
one_by_one = torch.stack([a + b for a, b in zip(left, right)])

# %% tags=["hide-input"]
assert_close(one_by_one, left + right)

# %%
raced = acceleration.measure_in_turn(
    {
        "one by one": lambda: [a + b for a, b in zip(left, right)],
        "all at once": lambda: left + right,
    },
    device,
    steady=0.2,
)
for name, timing in raced.items():
    print(f"{name}:\n  {timing}")

# %% tags=["hide-input"]
at_once = raced["one by one"].median / raced["all at once"].median
results.record(at_once=at_once)
assert at_once > 10, (
    "all at once should be far faster; another program may have disturbed "
    "this timing: run the cell above again"
)

# %% [markdown]
# <details><summary>Answer</summary>
#
# Some {{at_once:.0f}} times faster on this page. No sum was saved, only launches, and every call has to pass through
# Python and PyTorch first. On a GPU a launch costs several microseconds, in which it could do millions of sums, so
# large calls matter even more there.
#
# </details>
#
# Two things about the figures. They are medians; the *spread* is the distance from the fastest call to the slowest, as
# a share of the median, and short calls spread widely. And `steady=0.2` repeats the calls until the medians of the
# first half and of the second half agree within 20 %.
#
# ### Moving tensors
#
# A GPU has its own memory. `tensor.to(device.torch)` copies there, and everything that meets in one operation must lie
# on the same device. The usual accident, without a GPU: PyTorch's "meta" device knows shapes, but holds no numbers.

# %%
try:
    nn.Linear(4, 2, device="meta")(torch.zeros(1, 4))
except RuntimeError as error:
    print(told(error, first_line=True))

# %% [markdown]
# With a GPU the message begins "Expected all tensors to be on the same device" and names the two, cuda:0 and cpu. The
# fix is the missing `.to(device)`. And moving costs time, so move little, and seldom.
#
# **Predict first.** A batch of 256 pictures as floats, or as bytes that become floats *on the other side*: what is
# the difference?

# %% tags=["nbval-check-output"]
batch = torch.zeros(256, 3, 32, 32, dtype=torch.uint8)
as_bytes, as_floats = batch.nbytes, batch.float().nbytes
print(f"as bytes {as_bytes:,}, as floats {as_floats:,}")

# %% tags=["hide-input"]
assert as_floats == 4 * as_bytes == 256 * 3 * 32 * 32 * 4, (
    "a float takes four bytes, where a byte takes one"
)

# %% [markdown]
# <details><summary>Answer</summary>
#
# A factor of four. As an estimate: over PCIe 4.0 a GPU fetches some 20 GB a second, so these floats would take about
# 0.16 ms each time, and the bytes 0.04 ms; and the CPU must first have prepared them.
#
# </details>
#
# All of CIFAR-10 as bytes takes 184 MB (60,000 · 3 · 32 · 32): it fits on any GPU, so it is moved *once*, and cut into
# batches there. That is what `data.batches(..., device=device.torch)` does.
#
# ### A stopwatch that lies
#
# A GPU takes a launch and answers "done" before it has done anything: Python runs on, and the launches wait in a queue.
# Good for speed, fatal for stopwatches. Not everybody has a GPU at hand, so here is a **simulation**: `PretendGPU`
# queues its work just like that, and a thread on this CPU does it. The work below is real; only the "GPU" is not.

# %%
gpu = acceleration.PretendGPU()
matrix = torch.randn(500, 500, generator=generator)


def heavy():
    for _ in range(10):
        matrix @ matrix


start = time.perf_counter()
gpu.submit(heavy)
naive = time.perf_counter() - start

# %% [markdown]
# **Predict first.** `naive` is the time of the naive stopwatch. Is it the time of ten matrix products?

# %%
gpu.synchronize()
start = time.perf_counter()
gpu.submit(heavy)
gpu.synchronize()  # wait until it has really done everything
honest = time.perf_counter() - start
print(f"naive {1e3 * naive:.3f} ms, waiting {1e3 * honest:.1f} ms")

# %% tags=["hide-input"]
assert honest > 2 * naive, (
    "waiting should take far longer; another program may have disturbed "
    "these timings: run both cells above again"
)
results.record(lie=honest / naive)

# %% [markdown]
# <details><summary>Answer</summary>
#
# No: on this page it is too small by a factor of {{lie:,.0f}}. It measured how fast work is *launched*. It is the most
# common mistake in timing a GPU.
#
# </details>
#
# So: **wait before starting the clock, and wait before stopping it.** With CUDA it is `torch.cuda.synchronize()`.
#
# The same wait hides in innocent lines. `loss.item()`, `print(loss)`, `if loss > limit:` and `.cpu()` need the value,
# so Python stops until the GPU has caught up. In tutorials you will find `running_loss += loss.item()` in every step:
# collect `loss.detach()` in a list instead, and look once an epoch.
#
# One call is an anecdote, and the first one also pays for what happens only once. Hence the whole recipe: warm up,
# wait, repeat, take the median, say how far it spreads. By hand and with `acceleration.measure`, in turn, so that
# whatever else this machine does disturbs both alike:

# %%
by_hand, measured = [], []
for _ in range(8):
    gpu.synchronize()
    start = time.perf_counter()
    gpu.submit(heavy)
    gpu.synchronize()
    by_hand.append(time.perf_counter() - start)
    timing = acceleration.measure(
        lambda: gpu.submit(heavy), gpu, warmup=0, repeats=1
    )
    measured.append(timing.median)
for name, taken in (("by hand", by_hand), ("measure", measured)):
    fastest, *_, slowest = sorted(taken[1:])  # the first is the warm-up
    print(
        f"{name}: {1e3 * statistics.median(taken[1:]):.1f} ms"
        f" ({1e3 * fastest:.1f} to {1e3 * slowest:.1f})"
    )

# %% tags=["hide-input"]
assert min(by_hand[1:]) <= max(measured[1:]), (
    "measure took less time than by hand every time; another program may "
    "have disturbed this timing: run the cell above again"
)
assert min(measured[1:]) <= max(by_hand[1:]), (
    "measure took longer than by hand every time; another program may have "
    "disturbed this timing: run the cell above again"
)
assert statistics.median(measured[1:]) > 2 * naive, (
    "measure should wait until all is done, unlike the naive stopwatch; "
    "another program may have disturbed these timings: run this section again"
)

# %% [markdown]
# The two ranges overlap: `acceleration.measure` is that recipe. It refuses to time what it cannot wait for:

# %%
try:
    acceleration.measure(heavy, device=object())
except TypeError as error:
    print(told(error))

# %% [markdown]
# **Pitfall: the error that comes late.** With a queue, an error shows up not where it was made, but where somebody
# waits:

# %%
# wrong shapes; nothing is said
gpu.submit(lambda: torch.zeros(2, 3) @ torch.zeros(4, 5))
print("Python has gone on to here")
try:
    gpu.synchronize()
except RuntimeError as error:
    print(told(error, first_line=True))
gpu.close()

# %% [markdown]
# PyTorch checks shapes at once, so *this* mistake is seen early on a real GPU; a label outside the classes is not, and
# its traceback points to an innocent line. After such an error the GPU refuses all further work: restart the kernel,
# and run again on the CPU, or with the environment variable `CUDA_LAUNCH_BLOCKING=1` set before PyTorch is imported.
# Then the traceback names the guilty line.
#
# ### Explore the batch size
#
# How large should a batch be? Choose a size and a width. Left: pictures a second, *measured on this machine* when you
# choose a width for the first time. Right: what a training step keeps in memory. The slider asks how large a batch
# a given memory would hold.
#
# **Predict first.** Does a batch of 64 train 64 times as many pictures a second as a batch of 1?

# %%
sizes = widgets.lesson7.batch_size(device)
# pictures a second, from batches of 1 upwards
speeds = list(sizes.compute(1, 8, 8.0).speeds.values())

# %% tags=["hide-input"]
results.record(batch_gain=max(speeds) / speeds[0])

# %%
sizes

# %% tags=["hide-input"]
tried = widgets.lesson7.SIZES[device.kind]
quickest = speeds.index(max(speeds))
after = 1 - speeds[-1] / max(speeds)
print(
    textwrap.fill(
        f"Fastest here: batches of {tried[quickest]},"
        f" {max(speeds) / speeds[0]:.1f} times as many pictures a second as"
        " single pictures. "
        + (
            f"With batches of {tried[-1]} it is {figures.percent(after, 0)}"
            " less: speed does not stay level beyond the best size."
            if after > 0.1
            else "Up to the largest size, speed stays within 10 % of that."
        )
        + (
            " That is hardly faster: is something else running?"
            if max(speeds) < 1.2 * speeds[0]
            else ""
        ),
        72,
    )
)

# %% [markdown]
# <details><summary>Answer</summary>
#
# No. At first the cost of the launches is shared by more pictures, and the curve rises; on this page, with the narrow
# network, the best size is {{batch_gain:.1f}} times as fast as single pictures. Then the processor is busy. On a CPU
# the curve may fall again, when the activations no longer fit into its cache. A GPU is busy only with far larger
# batches.
#
# </details>
#
# Memory grows all the way, and from a few pictures on almost all of it is what the forward pass *keeps for the backward
# pass*: the activations. Weights hardly matter here.
#
# ### Three brakes
#
# Any operation needs three things: to be launched, to fetch its numbers from memory and store the result, and to
# compute. They overlap, so the slowest of the three sets the pace, and only its cure helps:
#
# | the step is | because | what helps |
# | --- | --- | --- |
# | **launch-bound** | operations end before the next is launched | larger batches, fused operations, a recorded step |
# | **memory-bound** | few sums for each number fetched | 16 bits, fusing, a better layout |
# | **compute-bound** | many sums for each number fetched | tensor cores (part 2), smaller networks |
#
# (Fused operations share one launch, and all launches of a recorded step are one: part 2 does both.) Small batches and
# narrow networks are launch-bound, ReLU and normalisation memory-bound, wide convolutions and matrix
# products compute-bound.
#
# How many sums a second does each kind of work reach *here*? (A sum is one addition or one multiplication; data sheets
# call it a floating-point operation, and count them in FLOPS.)
#
# **Predict first.** Many short additions, one very long one, or a matrix product: which does the most arithmetic a
# second? By what factor?

# %%
short, longer = torch.randn(2, 16), torch.randn(2, 160)
huge, square = torch.randn(2, 4_000_000), torch.randn(512, 512)
works = {
    "100 x 16 additions": lambda: [short[0] + short[1] for _ in range(100)],
    "100 x 160 additions": lambda: [longer[0] + longer[1] for _ in range(100)],
    "4,000,000 additions": lambda: huge[0] + huge[1],
    "a matrix product": lambda: square @ square,
}
sums = (100 * 16, 100 * 160, 4_000_000, 2 * 512**3)
braked = acceleration.measure_in_turn(works, "cpu", steady=0.2, most=20)
rates = []
for (name, timing), count in zip(braked.items(), sums):
    rates.append(count / timing.median / 1e9)
    print(
        f"{name:<20}{1e3 * timing.median:9.3f} ms"
        f"{rates[-1]:10.3f} billion sums a second"
    )

# %% tags=["hide-input"]
ten_times = (
    braked["100 x 160 additions"].median / braked["100 x 16 additions"].median
)
results.record(
    ten_times=ten_times,
    launch_rate=rates[0],
    memory_rate=rates[2],
    compute_rate=rates[3],
)
assert ten_times < 5 and rates[0] < rates[2] / 3 and rates[2] < rates[3] / 3, (
    "the three brakes should be far apart; another program may have "
    "disturbed this timing: run the cell above again"
)

# %% [markdown]
# <details><summary>Answer</summary>
#
# On this page {{launch_rate:.3f}}, {{memory_rate:.2f}} and {{compute_rate:.0f}} billion sums a second. The short
# additions are launch-bound: ten times as many numbers take only {{ten_times:.1f}} times as long. The long one is
# memory-bound: each sum needs twelve bytes, two numbers in and one out. The matrix product is compute-bound: it uses
# every number it fetches 512 times.
#
# </details>
#
# A GPU widens these gaps. An A100 multiplies 16-bit matrices at up to 312 trillion sums a second and moves up to 2
# trillion bytes a second between memory and processor (NVIDIA's data sheet, 80 GB model): there an operation with fewer
# than some 150 sums for each byte waits for memory.
#
# ### Explore the three brakes
#
# No measurement, but a **model** of such a GPU, with round numbers: 5 µs a launch, 2 · 10¹² bytes a second, and 3 ·
# 10¹⁴ sums a second in 16 bits, 2 · 10¹³ in full 32 (without TF32, a shortcut that [Sixteen bits](#Sixteen-bits)
# explains). A block of C channels on maps of 16 × 16 goes forward: a 3 × 3
# convolution (2 · 9 · C² sums for each place; it reads and writes each number), batch norm (reads twice, writes once)
# and ReLU (reads and writes). So each picture moves 7 · 256 · C numbers, the weights come on top, and there are three
# launches, or a single one where they are recorded. What takes longest sets the pace.
#
# **Predict first.** 64 channels in 32 bits, batches of 64: which brake? In 16 bits? And does the recorded step help
# with batches of 1,024? (Where no kernel runs, you see four settings.)

# %%
widgets.lesson7.brakes()


# %% tags=["hide-input"]
def limit(size, channels, bits, recorded=False):
    return widgets.lesson7.braked(size, channels, bits, recorded).limit


assert limit(64, 64, 32) == "compute" and limit(64, 64, 16) == "launch", (
    "32 bits should be compute-bound, 16 bits launch-bound"
)
assert limit(64, 64, 16, True) == limit(1024, 64, 16) == "memory", (
    "recorded, or in large batches, 16 bits should be memory-bound"
)
assert limit(4096, 64, 16) == "memory" and limit(4096, 128, 16) == "compute", (
    "only from 128 channels on should large batches be compute-bound"
)

# %% [markdown]
# <details><summary>Answer</summary>
#
# In full 32 bits it is compute-bound. In 16 bits the tensor cores take that brake off, and the same block is
# launch-bound; recorded, it is memory-bound, and so it is with batches of 1,024, where recording helps no more. Only
# from 128 channels on is there enough to compute for each number fetched, however large the batch. This is why the
# rungs below do not all help everywhere: each takes off one brake, and the next one holds.
#
# </details>
#
# ### Inside a step
#
# What do the forward and the backward pass spend their time on? PyTorch's profiler notes every operation;
# `acceleration.profiled` adds them up by what they do. (A layer makes several calls.) The network is the one that will
# sprint later; its layer `whiten` is explained there.

# %%
torch.manual_seed(settings.seed)
net = models.SprintNet((16, 32, 32), len(cifar.classes)).to(device.torch)
images, labels = next(iter(data.batches(cifar.train, 64, device=device.torch)))
print(models.shape_trace(net, (1, 3, 32, 32)))

# %%
inside = acceleration.profiled(
    lambda: F.cross_entropy(net(images), labels).backward(), device
)
print(inside)

# %% tags=["hide-input"]
most = figures.percent(inside.rows[0].milliseconds / inside.milliseconds, 0)
figures.show(
    inside.plot(),
    alt=(
        "Bars of the milliseconds that each kind of work takes in one training"
        f" step on {device.name}; {inside.rows[0].name} is the longest with"
        f" {most}."
    ),
)
results.record(
    longest_work=inside.rows[0].name, convolutions=inside.share("convolution")
)

# %% [markdown]
# On this page, convolutions take {{convolutions:.0%}} of the step, and the longest entry is *{{longest_work}}*. So
# that is where saving pays. A law for this is older than GPUs (Amdahl 1967): if a share *s* of the time stays as it is
# and the rest becomes *f* times faster, the whole becomes 1 / (s + (1 − s)/f) times faster. With s = 10 % the limit is
# 10, however large *f* may be:

# %% tags=["nbval-check-output"]
for factor in (2, 10, 100, 1_000_000):
    print(
        f"the rest {factor:>9,} times faster: the whole"
        f" {1 / (0.1 + 0.9 / factor):5.2f} times"
    )

# %% [markdown]
# ### Exercises: measuring
#
# Replace the dots and run the cells. Each stub runs as it is, so that *Run All* always finishes. The cell after it
# checks your answer: ✓ correct, ✗ wrong, with the first difference, or ○ not attempted.
#
# **1. A figure to believe.** Each call trained `pictures` pictures. From the seconds of several calls, leave out the
# first `warmup`, and return two numbers: pictures a second by the *median*, and the spread, (slowest − fastest) /
# median.


# %%
def throughput(seconds, pictures, warmup): ...


# %%
# Stuck? exercises.lesson7.throughput.hint() helps a little,
# .solution() shows one way to do it
exercises.lesson7.throughput.check(throughput)

# %% [markdown]
# **2. Amdahl's law.** All but the share `fixed` of the time becomes `factor` times faster. How many times faster is
# the whole?


# %%
def amdahl(fixed, factor): ...


# %%
# Stuck? exercises.lesson7.amdahl.hint() helps a little,
# .solution() shows one way to do it
exercises.lesson7.amdahl.check(amdahl)

# %% [markdown]
# **3. Which brake?** Take a GPU that needs 5 µs for a launch, fetches 2 · 10¹² bytes a second and computes 3 · 10¹⁴
# sums a second, all at the same time. A step makes `launches` launches, moves `moved` bytes and computes `operations`
# sums. Return what limits it: `"launch"`, `"memory"` or `"compute"`.


# %%
def limited_by(launches, moved, operations): ...


# %%
# Stuck? exercises.lesson7.limited_by.hint() helps a little,
# .solution() shows one way to do it
exercises.lesson7.limited_by.check(limited_by)

# %% [markdown]
# ## Part 2: Climbing
#
# ### The ladder
#
# Now climb. Every rung trains the *same* network from the *same* weights on the *same* batches in the same order;
# only one thing changes. Speed without accuracy beside it is worthless: a bug can be very fast.

# %%
for rung in acceleration.RUNGS:
    print(f"{rung.name:<21}{rung.change}")

# %% [markdown]
# In code, each rung is a line or two, and takes off one brake:
#
# | rung | the lines | what it takes off |
# | --- | --- | --- |
# | workers, pinned | `DataLoader(…, num_workers=2, pin_memory=True)`, `.to(…, non_blocking=True)` | waiting for data |
# | resident | `images = images.to(device)` once; a batch is `images[chosen]` | waiting for data |
# | channels_last | `model.to(memory_format=torch.channels_last)`, the pictures too | memory |
# | 16 bits | `with torch.autocast(device_type, dtype=half):` around forward pass and loss | memory and compute |
# | torch.compile | `model = torch.compile(model)` | launches and memory |
# | CUDA graph | see [below](#Compiled-code-and-recorded-steps) | launches |
#
# *Pinned* memory is memory that the system may not move, so that the GPU can fetch from it while Python goes on.
# *channels_last* changes no shape, only the order in memory.
#
# ### Sixteen bits
#
# Against the third brake there is special hardware: since 2017, NVIDIA has built **tensor cores** into its GPUs, units
# that multiply small matrices of 16-bit numbers many times faster than the other units multiply 32-bit ones. There are
# two kinds of such numbers. *bfloat16* has the range of float32 and two to three of its seven digits; *float16* has
# three digits, but a small range. Computing partly in 16 bits and partly in 32 is called **mixed precision**, and
# **autocast** chooses for each operation: products of many numbers in 16 bits, sums that need their digits in 32.
#
# Which kind? `acceleration.half_type` takes bfloat16 where the GPU's tensor cores multiply in it, from compute
# capability 8.0 on (that is NVIDIA's number for the generation: A100, RTX 30 and later). Older GPUs, such as the T4
# that Colab lends, have 7.5: there it takes float16, whose small range needs care:

# %% tags=["nbval-check-output"]
tiny = torch.tensor(2e-8)  # a small gradient, but not rare
print(f"bfloat16         {tiny.to(torch.bfloat16).item():.1e}")
print(f"float16          {tiny.to(torch.float16).item():.1e}")
rescued = (1024 * tiny).to(torch.float16).float() / 1024
print(f"float16, scaled  {rescued.item():.1e}")

# %% tags=["hide-input"]
assert tiny.to(torch.float16) == 0 < tiny.to(torch.bfloat16), (
    "float16 should lose the small gradient, and bfloat16 should not"
)
assert_close(rescued, tiny, rtol=1e-2, atol=0)

# %% [markdown]
# In float16 the gradient is gone. **Loss scaling** keeps it: multiply the loss, so that all gradients grow by the same
# factor, and divide before the step. `torch.amp.GradScaler` does it: it lowers the factor and leaves the step out when
# a gradient overflows. `training.fit(autocast=torch.float16)` uses it. (The sprint below needs none: it *sums* the loss
# of a batch instead of averaging it, which scales too.)
#
# What stays in float32 can use tensor cores as well: after `torch.set_float32_matmul_precision("high")`, GPUs from
# compute capability 8.0 on multiply matrices with 11 significant bits instead of 24 (**TF32**); convolutions do so
# unasked.
#
# **Predict first.** In the next cell, which of these will have 16 bits: the logits, the loss, the gradient of a weight?

# %%
step_net = models.SprintNet((16, 32, 32), len(cifar.classes)).to(
    device.torch, memory_format=torch.channels_last
)
half = acceleration.half_type(device)
with torch.autocast(device.kind, dtype=half):
    logits = step_net(images.to(memory_format=torch.channels_last))
    loss = F.cross_entropy(logits, labels)
# outside: the backward pass takes the types of the forward pass
loss.backward()
kinds = {"logits": logits, "loss": loss, "gradient": step_net.head.weight.grad}
print(
    ", ".join(
        f"{name} {tensor.dtype}" for name, tensor in kinds.items()
    ).replace("torch.", "")
)

# %% tags=["hide-input"]
assert [each.dtype for each in kinds.values()] == [
    half,
    torch.float32,
    torch.float32,
], "only the logits should have 16 bits"

# %% [markdown]
# <details><summary>Answer</summary>
#
# Only the logits. The loss needs its digits, so autocast computes it in float32; and a gradient has the type of its
# weight, which never left float32.
#
# </details>
#
# ### Climbing it
#
# Now the measurement. Here run the rungs of the CPU that need neither a compiler nor 16 bits and, where there is a GPU,
# those of the GPU that need no compiler.
#
# **Predict first.** Two more processes that prepare the pictures: is that twice as fast? And will the accuracy
# change?
#
# (In the table, *cold* is the first epoch, with everything that happens only once, and *warm* the median of the others.
# *MB* is what the forward pass keeps for the backward pass; on a GPU, the most memory in use.)

# %%
here = [
    rung
    for rung in acceleration.RUNGS
    if not rung.compiled
    and rung.kind in ("cpu", device.kind)
    and (rung.kind == "cuda" or not rung.half)
]
train_part = cifar.train.take(
    at_most=settings.ladder_pictures, seed=settings.seed
)
test_part = cifar.test.take(at_most=settings.test_used, seed=settings.seed)
climbed = acceleration.climb(
    train_part,
    test_part,
    device,
    rungs=here,
    source=cifar.source.description,
    epochs=settings.ladder_epochs,
    seed=settings.seed,
)
print(climbed)

# %% tags=["hide-input"]
figures.show(
    climbed.plot(),
    alt=(
        "A bar for each rung that ran, with pictures a second and the accuracy"
        " beside it: "
    )
    + "; ".join(
        f"{row.rung} {row.pictures_per_second:,.0f},"
        f" {figures.percent(row.accuracy)}"
        for row in climbed.measured
    )
    + ".",
)

# %%
first, best = (
    climbed.measured[0],
    max(climbed.measured, key=lambda row: row.pictures_per_second),
)

# %% tags=["hide-input"]
results.record(
    bottom=first.pictures_per_second,
    top=best.pictures_per_second,
    top_rung=best.rung,
    ladder_factor=best.pictures_per_second / first.pictures_per_second,
)

# %% [markdown]
# <details><summary>Answer</summary>
#
# Rarely, and the table shows whether here: workers help only where the loop waits for pictures, and where all cores are
# busy computing they compete for them. All rungs together lead on this page from {{bottom:,.0f}} to {{top:,.0f}}
# pictures a second, {{ladder_factor:.1f}} times, with *{{top_rung}}* the fastest.
#
# </details>
#
# And the accuracies? For a yardstick, the fastest rung trains again from two other seeds.

# %%
accuracies = [row.accuracy for row in climbed.measured]
fastest = [rung for rung in here if rung.name == best.rung]
again = [
    acceleration.climb(
        train_part,
        test_part,
        device,
        rungs=fastest,
        epochs=settings.ladder_epochs,
        seed=settings.seed + i,
    )
    .measured[0]
    .accuracy
    for i in (1, 2)
]
widest = max(accuracies) - min(accuracies)
by_seed = max(best.accuracy, *again) - min(best.accuracy, *again)
print(
    f"up to {100 * widest:.1f} points from rung to rung,"
    f" {100 * by_seed:.1f} from seed to seed"
)

# %% tags=["hide-input"]
results.record(
    ladder_widest_points=100 * widest, ladder_by_seed_points=100 * by_seed
)

# %% [markdown]
# On this page the rungs are up to {{ladder_widest_points:.1f}} points apart, and three seeds of one rung
# {{ladder_by_seed_points:.1f}}. A rung that costs accuracy shows only where it costs more than another seed does. The
# rungs are not bit for bit the same: sums are added in another order, floats round, and training magnifies each
# rounding.
#
# ### Explore where the time goes
#
# `torch.compile` takes longer than anybody wants to wait in a lesson, 16 bits do so on a CPU that has to imitate them,
# and not everybody has a GPU. So all rungs were measured beforehand with `benchmarks/ladder.py`, and stored with the
# name of the device and the date. (More pictures, in runs of their own: compare within one table only. *CUDA graph*
# records what the rung above it compiled, so its cold seconds leave the compiling out.) A GPU gets two ladders: batches
# of 64 in a narrow network, which leave it waiting for launches, and batches of 2,000 in the sprint's wide network,
# which give it enough to compute.
#
# **Predict first.** On the way up, which rungs will help the GPU with the small work, and which with the large?

# %%
ladders = [
    acceleration.stored_ladder("cpu"),
    acceleration.stored_ladder("cuda"),
    acceleration.stored_ladder("cuda", "large"),
]
stored = [ladder for ladder in ladders if ladder is not None]
if not stored:
    print("The stored ladders are in the course's folder, under results/.")
kept = stored or [climbed]
for each in kept:
    print(each, end="\n\n")
compiled, plain = (
    kept[0].row("CPU: torch.compile"),
    kept[0].row("CPU: channels_last"),
)

# %% tags=["hide-input"]
if compiled and plain:
    saved = plain.warm_seconds - compiled.warm_seconds
    longer = compiled.cold_seconds - plain.cold_seconds
    results.record(
        compile_cold=compiled.cold_seconds,
        compile_saved=saved,
    )

# %%
widgets.lesson7.where_time_goes(*kept)

# %% [markdown]
# The parts were measured apart, with waiting in between, so they show the shares, and the table shows the speed. (Those
# of a recorded step cannot be told apart: forward, backward and update are one launch.)
# Choose *CPU: channels_last* and *CPU: bf16*. Sixteen bits save memory everywhere, but time only on hardware that can
# multiply in that format. A CPU without it has to imitate it, and every picture pays. Then look at the cold seconds of
# *torch.compile* in the table. In the stored figures:

# %% tags=["hide-input"]
sixteen = kept[0].row("CPU: bf16")
if sixteen and plain:
    ratio = sixteen.pictures_per_second / plain.pictures_per_second
    print(
        textwrap.fill(
            "bf16 on this CPU keeps"
            f" {figures.percent(sixteen.memory_mb / plain.memory_mb, 0)} of the"
            f" memory, and trains {ratio:.2g} times as many pictures a second"
            " as channels_last.",
            72,
        )
    )
    assert sixteen.memory_mb < 0.8 * plain.memory_mb, (
        "16 bits should keep far less memory than 32"
    )
if len(kept) == 3:
    speed = {
        size: {
            row.rung.removeprefix("GPU: "): row.pictures_per_second
            for row in each.measured
            if row.rung.startswith("GPU")
        }
        for size, each in zip(("small", "large"), kept[1:])
    }
if len(kept) == 3 and all("CUDA graph" in rungs for rungs in speed.values()):
    unrecorded = [
        value for name, value in speed["small"].items() if name != "CUDA graph"
    ]
    for size, batches in (("small", "batches of 64"), ("large", "of 2,000")):
        bottom, *_, top = speed[size].values()
        print(
            f"GPU, {batches}: from {bottom:,.0f} to {top:,.0f} pictures a"
            f" second, {top / bottom:.0f} times."
        )
    results.record(
        gpu_apart_points=max(
            100 * (max(shares) - min(shares))
            for shares in (
                [row.accuracy for row in each.measured] for each in kept[1:]
            )
        ),
        gpu_slowest=min(unrecorded),
        gpu_fastest=max(unrecorded),
        gpu_graph=speed["small"]["CUDA graph"],
        gpu_graph_gain=speed["small"]["CUDA graph"] / max(unrecorded),
        gpu_large_bottom=speed["large"]["GPU loop"],
        gpu_large_compiled=speed["large"]["torch.compile"],
        gpu_large_graph_gain=speed["large"]["CUDA graph"]
        / speed["large"]["torch.compile"],
    )
if compiled and plain:
    print(
        textwrap.fill(
            f"torch.compile: {compiled.cold_seconds:.0f} s for the first epoch."
            + (
                f" Then it saves {saved:.2f} s an epoch against channels_last:"
                " paid off after some"
                f" {longer / saved:,.0f} epochs of so few"
                " pictures."
                if saved > 0
                else " Here it saves nothing against channels_last."
            ),
            72,
        )
    )

# %% [markdown]
# <details><summary>Answer</summary>
#
# With batches of 64 this GPU waits for launches. Only handling the pictures better helps, from {{gpu_slowest:,.0f}} to
# {{gpu_fastest:,.0f}} pictures a second; the next rungs even cost a little. Sixteen bits shorten kernels that were over
# too soon anyway, and autocast's conversions are launches too. Compiled code needs fewer launches, but before each step
# Python checks that it still fits. The recorded step takes the brake off: {{gpu_graph:,.0f}} at once,
# {{gpu_graph_gain:.0f}} times the best of the others. With batches of 2,000 in the wide network it is the other way
# round: every rung helps, from {{gpu_large_bottom:,.0f}} to {{gpu_large_compiled:,.0f}}, and recording makes the
# compiled step only {{gpu_large_graph_gain:.2f}} times as fast.
#
# </details>
#
# The GPU's accuracies lie up to {{gpu_apart_points:.0f}} points apart, more than the luck of 2,000 test pictures
# explains (about one point each). After a few epochs at a high rate that never falls, a training has not settled, and
# other seeds may differ as much. These tables had one seed, so they do not show that no rung costs accuracy.
#
# ### Compiled code and recorded steps
#
# `torch.compile(model)` looks at the operations, fuses neighbours, and writes new code for them: C++ on a CPU, which
# needs a compiler, and Triton kernels on a GPU. The first step pays for it, so it suits long runs.

# %%
missing = acceleration.compiler_missing(device.kind)
print(missing or "A compiler is there: torch.compile(model) would work.")

# %% [markdown]
# A **CUDA graph** goes further, against the launch-bound step: its kernels may be over before Python has launched the
# next ones, and the GPU idles. A graph records all launches of a step once, and replays them with a single one. The
# price: same shapes, same places in memory, no look at a value on the way. The heart of `acceleration.GraphedStep`,
# after some steps to warm up, is this:
#
# ```python
# with torch.cuda.graph(graph):  # record
#     loss = step(images, labels)
# images.copy_(new_images), labels.copy_(new_labels)
# graph.replay()  # as often as you like
# ```
#
# It needs an NVIDIA GPU, and says so where there is none. Where there is one, the same step launched and recorded:

# %%
optimizer = torch.optim.SGD(net.parameters(), lr=0.01)


def train_step(images, labels):
    loss = F.cross_entropy(net(images), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


try:
    recorded = acceleration.GraphedStep(
        train_step, net, optimizer, images, labels
    )
    raced = acceleration.measure_in_turn(
        {
            "launched": lambda: train_step(images, labels),
            "recorded": lambda: recorded(images, labels),
        },
        device,
        steady=0.2,
    )
    for name, timing in raced.items():
        print(f"{name}:\n  {timing}")
except SettingError as error:
    print(told(error))

# %% [markdown]
# ### A GPU in Colab
#
# Colab lends one: *Runtime → Change runtime type → T4 GPU → Save*. That starts **another machine**: variables and files
# of the old one are gone, so switch first, then *Run all*. `!nvidia-smi` shows what you got. With a T4, expect float16,
# not bfloat16. When the session ends (after hours, or when you leave it alone, or switch again) everything on that
# machine is lost: trained weights, results, pictures you uploaded. Download what you want to keep, or copy it to Drive.
# Give the GPU back when you only read: its time is limited.
#
# ### The sprint
#
# The records of the first picture put all of this together, and tricks of their own on top. `acceleration/sprint.py` is
# our version, every trick on a switch. `benchmarks/sprint.py` measures it on ten seeds, the first of them cold, in a
# fresh process:

# %% tags=["hide-input"]
sprinted = results.benchmark("sprint")
if sprinted:
    spread = statistics.stdev(sprinted["accuracies"])
    seconds = statistics.median(sprinted["warm_seconds"])
    print(
        f"{seconds:.2f} s warm, {sprinted['cold_seconds']:.1f} s cold;"
        f" {figures.percent(sprinted['mean_accuracy'], 2)} of the test pictures"
        f" right\n(mean of {len(sprinted['accuracies'])} seeds, standard"
        f" deviation {100 * spread:.2f} points)"
    )

# %% [markdown]
# Careful with comparisons: the records above are for 94 % on the original pixels, and for an older GPU. The
# pictures here are a copy as JPEG files, compressed once more, so the accuracies cannot be compared. The tricks:

# %%
for trick, what in acceleration.TRICKS.items():
    print(f"{trick:<21}{what}")

# %% [markdown]
# What they are good for, in a sentence each: *whitening* computes the first filters from the pictures instead of
# learning them; *Muon* lets a step go equally far in all directions; the *alternating flip* wastes no view. The first
# two are meant to need fewer steps; types, layouts and *own pooling* shorten each. (Each of those in italics has a *Go
# deeper* part below the race.)
#
# Everything lies on the device before the gun: the pictures as bytes, the network untrained. The clock runs for the
# training and for the answers to the test pictures.
#
# **Predict first.** How much faster is the second run than the first, which has to warm up?

# %%
sprint_part = cifar.train.take(
    at_most=settings.sprint_pictures, seed=settings.seed
)
chosen = {
    "epochs": settings.sprint_epochs,
    "batch_size": settings.sprint_batch,
    "widths": tuple(settings.sprint_widths),
}
race = acceleration.Sprint(
    sprint_part, test_part, acceleration.SprintSettings(**chosen), device
)
cold, warm = race.run(settings.seed), race.run(settings.seed)
for name, run in (("cold", cold), ("warm", warm)):
    print(
        f"{name}: {run.seconds:.2f} s, {figures.percent(run.accuracy)} of"
        f" {len(test_part):,} test pictures right, on {run.device}"
    )

# %% tags=["hide-input"]
results.record(
    sprint_cold=cold.seconds,
    sprint_warm=warm.seconds,
    sprint_accuracy=warm.accuracy,
    sprint_used=len(sprint_part),
    sprint_steps=len(warm.losses),
    data=cifar.source.kind,
    pictures=cifar.title.replace("Stand-in", "a stand-in"),
)
if settings.sprint_epochs * settings.sprint_pictures >= 4000:
    assert warm.accuracy > 2.5 / len(cifar.classes), (
        "expected far more than chance; did a setting change a lot?"
    )

# %% [markdown]
# <details><summary>Answer</summary>
#
# On this page {{sprint_warm:.1f}} seconds warm and {{sprint_cold:.1f}} cold. A GPU has much to warm up: it chooses
# kernels and fetches memory in its first run. (After `torch.backends.cudnn.benchmark = True` it tries several kernels
# for each shape and keeps the fastest, which pays where all batches have one shape.) A CPU has little, so there the
# two differ by chance.
#
# </details>
#
# On this page the network answers {{sprint_accuracy:.1%}} right after {{sprint_steps}} steps on {{sprint_used:,}}
# pictures ({{pictures}}). On a CPU this is a miniature: few pictures, a narrow network, no claim to any record. The
# profile `full` is made for a GPU.
#
# ### Go deeper: Whitening
#
# The first filters of every network learn much the same: brightness, edges, colour contrasts. Then why learn them? Cut
# all 2 × 2 patches out of the pictures: 12 numbers each. Neighbouring pixels are alike, so these numbers are strongly
# correlated. Take only two neighbours: as points in a plane they form a long cloud along the diagonal. Turn it until
# it lies flat and squeeze it until it is round, and the two new numbers have nothing in common any more. **Whitening**
# does that with all 12: it turns and stretches them until all 12 are uncorrelated with variance 1. Which way to turn,
# the table of covariances knows: for each pair of numbers, the mean of their product. (No mean is subtracted first,
# because the pictures are normalised.) Its *eigenvectors* are the directions that the table only stretches, and the
# stretch is how much the patches vary in that direction:

# %%
sampled, _ = next(
    iter(data.batches(cifar.train, 200, shuffle=True, seed=settings.seed))
)
patches = F.unfold(sampled.double(), 2).transpose(1, 2).reshape(-1, 12)
covariance = patches.T @ patches / len(patches)  # (12, 12)
variances, directions = torch.linalg.eigh(covariance)
# of a direction and its opposite always take the same one
directions *= (2.0 ** torch.arange(12).double() @ directions).sign()
filters = (directions / (variances + 5e-4).sqrt()).T.reshape(12, 3, 2, 2)
filters = filters.float()
print(
    "variances, from",
    f"{variances[0].item():.5f} to {variances[-1].item():.2f}",
)

# %% tags=["hide-input"]
assert_close(torch.cat([filters, -filters]), models.whitening_filters(sampled))

# %%
answers = F.conv2d(sampled, filters).transpose(0, 1).flatten(1)  # (12, places)

# %% tags=["hide-input"]
with figures.style():
    fig, axes = plt.subplots(1, 2, figsize=(7.6, 3.2))
    for ax, numbers, title, label in (
        (axes[0], patches.T, "Neighbours agree", "number in the patch"),
        (axes[1], answers, "Each filter says something new", "filter"),
    ):
        shown = ax.imshow(
            torch.corrcoef(numbers), cmap=figures.DIVERGING, vmin=-1, vmax=1
        )
        ax.set(
            title=title,
            xlabel=label,
            ylabel=label,
            xticks=range(0, 12, 2),
            yticks=range(0, 12, 2),
        )
        ax.grid(visible=False)
    fig.colorbar(shown, ax=axes, label="correlation")
figures.show(
    fig,
    alt=(
        "Two tables of 12 by 12 correlations. Left, the numbers of a patch:"
        " red everywhere, all alike. Right, the answers of the whitening"
        " filters: white everywhere but on the diagonal."
    ),
)

# %%
worst = (torch.corrcoef(answers) - torch.eye(12)).abs().max()

# %% tags=["hide-input"]
assert worst < 0.2, "the filters' answers should be nearly uncorrelated"

# %%
del patches, answers  # large tables; nothing below needs them

# %% [markdown]
# On the left, the numbers of a patch say much the same. On the right, each filter says something of its own. These
# filters are computed in a blink and stay fixed, so the first layer has only its biases to learn. (The `5e-4` keeps the
# noise in patterns that hardly occur from being blown up.) The network also gets the negative of each filter, because
# the activation behind them lets hardly anything negative through: here it is **GELU**, a smooth ReLU.
#
# ### Go deeper: Muon, a step in all directions
#
# A gradient is usually dominated by a few directions, so a step of SGD moves the weights much in these and hardly in
# the others. **Muon** (Jordan 2024) keeps the directions and makes the step equally long in all of them. Exactly,
# that would be a singular value decomposition, G = U S Vᵀ (every matrix is a turn, a stretch along the axes, S, and
# another turn), with every stretch in S replaced by 1. That is slow on a GPU; a polynomial, applied a few times, does
# nearly the same with matrix products alone:

# %%
gradient = (
    torch.randn(24, 100, generator=generator)
    * torch.logspace(0, -1, 24)[:, None]
)
U, S, Vt = torch.linalg.svd(gradient, full_matrices=False)
a, b, c = acceleration.MUON_COEFFICIENTS
x = gradient / gradient.norm()
for _ in range(5):
    squares = x @ x.T
    x = a * x + (b * squares + c * squares @ squares) @ x

# %% tags=["hide-input"]
assert_close(
    x, acceleration.orthogonalised(gradient, steps=5), atol=1e-4, rtol=1e-4
)

# %%
after = (U.T @ x @ Vt.T).diagonal()
print(
    f"lengths before: {S.min():.2f} to {S.max():.2f}, after: {after.min():.2f}"
    f" to {after.max():.2f}"
)

# %% tags=["hide-input"]
assert after.min() > 0.5 and after.max() < 1.5 and S.max() / S.min() > 5, (
    "lengths far apart should have come between 0.5 and 1.5"
)

# %% [markdown]
# The directions (U and V) are the same, and the lengths, far apart before, now all lie between 0.5 and 1.5. It does not
# have to be exact.
#
# ### Go deeper: The alternating flip
#
# Mirroring by chance is wasteful: in two epochs, half of all pictures are seen twice the same way round. The
# **alternating flip** draws once, and turns each picture round in every epoch. Count the different views after each
# epoch:

# %%
flips = torch.Generator().manual_seed(settings.seed)
start_side = torch.rand(1000, generator=flips) < 0.5
seen = {"by chance": torch.zeros(1000, 2), "alternating": torch.zeros(1000, 2)}
counts = {name: [] for name in seen}
for epoch in range(6):
    sides = {
        "by chance": torch.rand(1000, generator=flips) < 0.5,
        "alternating": acceleration.alternating_flip(start_side, epoch),
    }
    for name, side in sides.items():
        seen[name][torch.arange(1000), side.long()] = 1
        counts[name].append(int(seen[name].sum()))

# %% tags=["hide-input"]
with figures.style():
    fig, ax = plt.subplots(figsize=(6.5, 2.8))
    for (name, values), style in zip(counts.items(), ("o--", "s-")):
        ax.plot(range(1, 7), values, style, label=name)
    ax.set(
        xlabel="epoch",
        ylabel="different views seen",
        title="Alternating, all 2,000 views are seen in two epochs",
    )
    ax.legend(loc="lower right")
figures.show(
    fig,
    alt=(
        "Two curves over six epochs. Alternating flips show all 2,000 views"
        " after two epochs; flips by chance come near it only slowly."
    ),
)
assert counts["alternating"][1] == 2000 > counts["by chance"][1], (
    "two epochs should show all views when alternating, not by chance"
)

# %% [markdown]
# ### Go deeper: A kernel of our own
#
# Where does the time of a sprint go? On an H100 the profiler had a surprise: **max pooling**, which hardly computes
# anything, took 0.42 of 1.36 seconds (176 steps), 2.4 ms a step. Pooling *should* be memory-bound, so count the bytes.
# For its backward pass, PyTorch notes where each maximum was:

# %% tags=["nbval-check-output"]
maps = torch.zeros(8, 64, 30, 30, dtype=torch.float16)
maxima, places = F.max_pool2d(maps, 2, return_indices=True)
print(f"maps {maps.nbytes:,} bytes, maxima {maxima.nbytes:,}")
print(f"places {places.nbytes:,} bytes, as {places.dtype}")

# %% tags=["hide-input"]
assert places.nbytes == maps.nbytes == 4 * maxima.nbytes, (
    "places should take as much memory as the maps, four times the maxima"
)

# %% [markdown]
# The places are as long as the maps themselves: 8 bytes say which of four pixels it was, where 2 bits would do. And
# before PyTorch's backward pass puts the gradients there, it fills everything with zeros. **Triton** is a language for
# kernels inside Python; `torch.compile` writes it too. There you write what happens on one small tile, here 32 places
# of 64 channels, and one launch runs it on thousands of tiles, as many at a time as the GPU has room for. The heart of
# ours, in `acceleration/pooling.py`:
#
# ```python
# best = tl.load(images + corner * channels + channel, inside)
# which = tl.zeros((PLACES, CHANNELS), tl.int32)
# for k in tl.static_range(1, 4):  # the other pixels of the window
#     other = corner + k // 2 * width + k % 2
#     pixel = tl.load(images + other * channels + channel, inside)
#     # of equal ones the first; NaN wins
#     better = (pixel > best) | (pixel != pixel)
#     which = tl.where(better, k, which)
#     best = tl.where(better, pixel, best)
# tl.store(halved + place * channels + channel, best, inside)
# tl.store(chosen + place * channels + channel, which.to(tl.uint8), inside)
# ```
#
# `corner` is each window's upper left pixel, `inside` says which places there are, and k = 1, 2, 3 are the pixels to
# the right, below, and below right. By this count, forward and backward pass move 22 bytes for each maximum instead of
# 38. That explains less than half of the gain: PyTorch's kernel is made for windows of any size, and takes longer than
# its bytes need. With ours, pooling took 0.5 ms a step, and the same 176 steps 1.0 seconds. (One H100, PyTorch 2.11, 26
# November 2026; the results are the same to the last bit.) So profile first: the brake is seldom where you expect it.
#
# ### Go deeper: What is each trick worth?
#
# Leave one out, and keep everything else. One run is an anecdote (lesson 3); on a GPU, where a run takes seconds, use
# ten seeds for each.

# %%
worth = {"all tricks": warm.accuracy}
for trick in settings.left_out:
    without = acceleration.SprintSettings(**chosen, leave_out={trick})
    worth[f"without {trick}"] = (
        acceleration.Sprint(sprint_part, test_part, without, device)
        .run(settings.seed)
        .accuracy
    )
for name, accuracy in worth.items():
    print(f"{name:<28}{figures.percent(accuracy):>7}")
lost = {
    name: warm.accuracy - accuracy
    for name, accuracy in worth.items()
    if name != "all tricks"
}
# one standard error
noise = (warm.accuracy * (1 - warm.accuracy) / len(test_part)) ** 0.5

# %% tags=["hide-input"]
results.record(
    most_missed=max(lost, key=lost.get),
    most_lost_points=100 * max(lost.values()),
    worth_noise=noise,
    worth_tests=len(test_part),
)

# %%
# a difference of two accuracies varies by √2 times as much as one, or less,
# as both are asked about the same pictures
difference_noise = 2**0.5 * noise
for trick, points in lost.items():
    sure = abs(points) > 2 * difference_noise
    judged = "over twice that" if sure else "luck?"
    print(
        f"{trick}: {100 * points:+.1f} points lost, sampling error"
        f" {100 * difference_noise:.1f}: {judged}"
    )

# %% [markdown]
# On this page the run *{{most_missed}}* was the lowest, {{most_lost_points:.1f}} points below the one with all tricks.
# The sampling error is that of the {{worth_tests:,}} test pictures alone; another seed moves the figures too. So a
# result needs many seeds: `benchmarks/sprint.py --leave-out whitening` uses ten.
#
# ## Part 3: Less memory, more processors
#
# ### Out of memory
#
# Everybody who trains networks runs out of memory some day. So first count what is in it: weights, gradients and the
# optimizer's averages do not depend on the batch; activations do.

# %%
some_images, some_labels = next(iter(data.batches(cifar.train, 64)))
counted_net = models.SprintNet((16, 32, 32), len(cifar.classes))
need = acceleration.training_memory(
    counted_net, some_images, some_labels, moments=1
)
learned = sum(p.numel() for p in counted_net.parameters() if p.requires_grad)

# %% tags=["hide-input"]
assert need.gradients == need.optimizer == 4 * learned, (
    "float32 gradients and averages should take 4 bytes a parameter"
)
assert need.activations > need.weights + need.gradients + need.optimizer, (
    "activations should take more than all that does not depend on the batch"
)

# %%
for name in ("weights", "gradients", "optimizer", "activations", "pictures"):
    print(f"{name:<12}{getattr(need, name) / 1e6:8.2f} MB")

# %% tags=["hide-input"]
results.record(
    activation_share=need.activations / need.of(64),
    mb_per_picture=need.per_picture / 1e6,
)

# %% [markdown]
# On this page, activations are {{activation_share:.0%}} of it; with its own pixels, each picture of the batch takes
# {{mb_per_picture:.2f}} MB. 16 bits halve most of the activations, and a smaller batch needs fewer of them, but it also
# changes the training. Two remedies further down leave the training as it is.
#
# When memory does run out, the message is clear: "CUDA out of memory. Tried to allocate …" on a GPU, and below the
# CPU's own. But a trap follows. (A *weak reference* tells whether a tensor is still there without keeping it there.)


# %%
def train_too_much():
    activations = torch.zeros(1_000_000)
    watched.append(weakref.ref(activations))
    return torch.empty(10**15)  # four petabytes


watched = []
try:
    train_too_much()
except RuntimeError as error:
    kept_error = error
    print(told(error))
gc.collect()
print("still in memory:", watched[0]() is not None)

# %% tags=["hide-input"]
assert watched[0]() is not None, (
    "the error should still hold the tensor; run the cell above again"
)

# %% [markdown]
# The function has ended, and its tensor is still there. The error's *traceback* holds every function that was
# interrupted, with all its tensors, and a notebook keeps the last error for `%debug`. On a GPU this means: out of
# memory once, out of memory for ever. The fix:

# %%
acceleration.free_traceback(kept_error)
print("still in memory:", watched[0]() is not None)

# %% tags=["hide-input"]
assert watched[0]() is None, (
    "once the error's traceback is freed, the tensor should be gone"
)

# %% [markdown]
# Without an argument it frees the last error that ended a cell. And this helper halves the batch until it fits:


# %%
def train_with(size):
    return torch.empty(10**15) if size > 40 else size


fitted = acceleration.with_smaller_batches(train_with, 128)
print("trained with batches of", fitted)

# %% tags=["hide-input"]
assert fitted == 32, "expected 128 to be halved until it fits, that is to 32"

# %% [markdown]
# ### A large batch in pieces
#
# Your training needs batches of 64, and the memory holds 8 pictures. **Gradient accumulation**: `backward()` *adds* to
# `.grad`, so let eight pieces of 8 add up, and take one step. How much is kept at once, `acceleration.keeping` counts:
# it notes every tensor that autograd saves for the backward pass, and when autograd lets go of it.
#
# **Predict first.** How far are these gradients from those of the whole batch, and what share of the memory do they
# need?


# %%
def batch_gradient(net, images, labels, pieces):
    net.zero_grad()
    with acceleration.keeping(net, images, labels) as kept:
        for some, right in zip(images.chunk(pieces), labels.chunk(pieces)):
            summed = F.cross_entropy(net(some), right, reduction="sum")
            (summed / len(images)).backward()  # adds to .grad
    return [each.grad.clone() for each in net.parameters()], kept.most


torch.manual_seed(settings.seed)
modest = models.SprintNet((16, 32, 32), len(cifar.classes), norm="group")
full_images, full_labels = next(iter(data.batches(cifar.train, 64)))
at_once_gradient, at_once_bytes = batch_gradient(
    modest, full_images, full_labels, pieces=1
)
pieces_gradient, pieces_bytes = batch_gradient(
    modest, full_images, full_labels, pieces=8
)
largest = max(
    (ours - theirs).abs().max().item()
    for ours, theirs in zip(pieces_gradient, at_once_gradient)
)
print(
    f"kept at once: {at_once_bytes / 1e6:.1f} MB, {pieces_bytes / 1e6:.1f} MB"
)
print(f"gradients apart by up to {largest:.0e}")

# %% tags=["hide-input"]
for ours, theirs in zip(pieces_gradient, at_once_gradient):
    assert_close(ours, theirs, rtol=1e-4, atol=1e-6)
assert pieces_bytes < at_once_bytes / 7, (
    "eight pieces should need about an eighth of the memory"
)
results.record(pieces_share=pieces_bytes / at_once_bytes, pieces_apart=largest)

# %% [markdown]
# <details><summary>Answer</summary>
#
# On this page they need {{pieces_share:.1%}} of the memory and are {{pieces_apart:.0e}} apart, which is rounding. But
# for that it is the large batch, only slower, as small pieces keep a GPU less busy.
#
# </details>
#
# In tutorials you will find the *mean* loss of each piece divided by the number of pieces. That is right only where all
# pieces have the same size; the *summed* loss divided by the size of the whole batch is always right. And with *batch
# normalisation* no accumulation equals the large batch, because each piece is normalised by itself; this network
# normalises each picture alone (*group normalisation*).
#
# ### Forget and compute again
#
# And when a single picture is too large? **Activation checkpointing** keeps only the inputs of each block, forgets what
# is inside, and computes it again when the backward pass comes by. It costs a second forward pass, one block at a time:


# %%
def forgetful(net, images):
    features = F.gelu(net.whiten(images))
    for block in net.groups:
        features = checkpoint(block, features, use_reentrant=False)
    strongest = features.flatten(2).max(dim=2).values
    return net.head(strongest) / strongest.shape[1]


modest.zero_grad()
with acceleration.keeping(modest, full_images, full_labels) as counted:
    forgetful_loss = F.cross_entropy(
        forgetful(modest, full_images), full_labels
    )
    between = counted.now  # after the forward pass, before the backward pass
    forgetful_loss.backward()
print(f"plain {at_once_bytes / 1e6:.1f} MB, forgetful {between / 1e6:.1f} MB")

# %% tags=["hide-input"]
for parameter, theirs in zip(modest.parameters(), at_once_gradient):
    assert_close(parameter.grad, theirs, rtol=1e-4, atol=1e-6)
inside_bytes = []
features = F.gelu(modest.whiten(full_images)).detach()
for block in modest.groups:
    with acceleration.keeping(block, features) as counted:
        features = block(features.requires_grad_())
    inside_bytes.append(counted.most)
    features = features.detach()
assert between + max(inside_bytes) < 0.9 * at_once_bytes, (
    "forgetting should save at least a tenth of the memory"
)
results.record(
    forgetful_share=between / at_once_bytes,
    forgetful_most=(between + max(inside_bytes)) / at_once_bytes,
)

# %% [markdown]
# The gradients are the same but for rounding. On this page {{forgetful_share:.0%}} of the memory is kept between the
# two passes; during the backward pass the inside of one block comes on top, at most {{forgetful_most:.0%}} altogether.
# Deep networks save most. Not too many blocks, though: the input of each is kept.
#
# ### Many processes, one result
#
# Two GPUs, or two machines, share the work like this: each process takes *its slice of every batch* and computes the
# gradient; the gradients are averaged; all take the same step. Is that average the gradient of the whole batch?
#
# **Predict first.** A batch of 7 in slices of 3, 2 and 2: is the plain average of the three gradients right?

# %%
torch.manual_seed(settings.seed)
small = models.SprintNet((8, 8, 8), len(cifar.classes), norm="group").double()
seven, their_labels = next(
    iter(data.batches(cifar.train, 7, shuffle=True, seed=settings.seed))
)
seven = seven.double()
whole = torch.autograd.grad(
    F.cross_entropy(small(seven), their_labels), small.head.weight
)[0]
parts = [
    gradients[-1]
    for gradients in distributed.split_gradients(
        small, seven, their_labels, processes=3
    )
]
plain = sum(parts) / 3
weighted = sum(part * count / 7 for part, count in zip(parts, (3, 2, 2)))
print(
    f"plain average off by up to {(plain - whole).abs().max():.1e}, weighted"
    f" {(weighted - whole).abs().max():.1e}"
)

# %% tags=["hide-input"]
assert_close(weighted, whole)
assert (plain - whole).abs().max() > 1e3 * (weighted - whole).abs().max(), (
    "only the weighted average should be the whole batch's gradient"
)

# %% [markdown]
# <details><summary>Answer</summary>
#
# No. Each slice must count by its pictures, as the pieces above did: the averages of ragged batches from lesson 3, in
# another dress.
#
# </details>
#
# Batch normalisation is a trap here too: each process would normalise with its own slice. `SyncBatchNorm` shares the
# statistics, but works on GPUs only; so the network here uses group normalisation.
#
# PyTorch's tool is `DistributedDataParallel`: one process for each GPU, started by `torchrun`; gradients are averaged
# while the backward pass still runs. It takes the *plain* average; so the script multiplies the *summed* loss of each
# slice by processes / batch size, and then the plain average is the gradient of the whole batch, whatever the slices:
#
# ```python
# net = DistributedDataParallel(net)  # once
# # of this process's slice
# summed = F.cross_entropy(net(images), labels, reduction="sum")
# # here the gradients are averaged
# (summed * processes / batch_size).backward()
# ```
#
# There is an older one, `DataParallel`: one process with a thread for each GPU. It copies the network in every step,
# and its threads wait for each other in Python. PyTorch's own documentation advises against it, even on one machine.
#
# The script is `course_utils/acceleration/distributed.py`, with the command lines for one machine and for several at
# its top. Two processes on this machine:
#
# ```
# torchrun --standalone --local-addr=127.0.0.1 --nproc-per-node=2 \
#     --max-restarts=2 -m course_utils.acceleration.distributed --out runs/two
# ```
#
# Two machines with four GPUs each, the same line on both, with OUT in a folder that both see:
#
# ```
# torchrun --nnodes=2 --nproc-per-node=4 --max-restarts=2 \
#     --rdzv-backend=c10d --rdzv-endpoint=FIRST_MACHINE:29500 \
#     --rdzv-id=lesson7 -m course_utils.acceleration.distributed --out OUT
# ```
#
# ### When a worker dies
#
# Machines fail. Process 0 therefore saves everything that changes (weights, optimizer, schedule, random numbers,
# position) every few steps, into a new file that then replaces the old one. When a process dies, `torchrun` ends the
# others and starts all of them again, and they go on from the file.
#
# We start {{processes_run}} processes and let number 1 kill itself in the middle, with a signal that nobody can
# catch. Then we train the same thing in *one* process, and compare. (On the package's photo crops, few and small, so
# that it takes seconds.)
#
# **Predict first.** The run was interrupted, and the work was split. Will the losses agree to 1 %? To 1 in a million?

# %%
plan = {
    "pictures": 96,
    "batch": 32,
    "epochs": 3,
    "width": 8,
    "save_every": 2,
    "precision": "float64",
}
with tempfile.TemporaryDirectory() as folder:
    killed = acceleration.launch(
        acceleration.Plan(**plan, kill_rank=1, kill_step=7),
        settings.processes,
        Path(folder) / "many",
        max_restarts=1,
        timeout=300,
    )
    (Path(folder) / "one").mkdir()
    alone = distributed.train(
        acceleration.Plan(**plan), distributed.World(), Path(folder) / "one"
    )
print(
    f"{killed.processes} processes, talking by {killed.backend}:"
    f" {killed.restarts} restart, going on after step {killed.resumed_at}"
)

# %%
apart = max(
    abs(ours / theirs - 1) for ours, theirs in zip(killed.losses, alone.losses)
)

# %% tags=["hide-input"]
results.record(
    processes_run=killed.processes,
    apart=apart,
    restarts=killed.restarts,
    resumed_at=killed.resumed_at,
    accuracy_many=killed.accuracy,
    accuracy_one=alone.accuracy,
)
assert len(killed.losses) == len(alone.losses) == 9 and killed.restarts == 1, (
    "expected nine steps each, and one restart of the killed run"
)
assert apart < 1e-4 and killed.accuracy == alone.accuracy, (
    "the killed run should learn the same as one process"
)

# %% tags=["hide-input"]
with figures.style():
    fig, ax = plt.subplots(figsize=(6.5, 2.8))
    ax.plot(
        range(1, 10),
        alone.losses,
        "-",
        color=figures.SKY,
        linewidth=6,
        label="one process",
    )
    ax.plot(
        range(1, 10),
        killed.losses,
        "o",
        color=figures.INK,
        label=f"{killed.processes} processes, one killed",
    )
    ax.axvline(7.5, color=figures.RED, linestyle=":")
    ax.text(
        7.45,
        max(alone.losses),
        "killed here ",
        color=figures.RED,
        ha="right",
        va="top",
    )
    ax.set(
        xlabel="step",
        ylabel="loss of the whole batch",
        title="The same loss at every step",
    )
    ax.legend(loc="lower left")
figures.show(
    fig,
    alt=(
        "The losses of nine steps: those of several processes lie exactly on"
        " the line of the single process, also after the mark where one of them"
        " was killed."
    ),
)

# %% [markdown]
# <details><summary>Answer</summary>
#
# On this page {{restarts}} restart, going on after step {{resumed_at}}, and the largest difference between the two loss
# curves is {{apart:.0e}} of the loss; the accuracy is the same. The sums are added in another order, and in `float64`
# that is all one sees. In `float32` the first difference is about 1e-7, and training magnifies it from step to step, as
# it does every rounding: equal code, equally good results, other digits.
#
# </details>
#
# ### Exercises: memory and processes
#
# **4. Fair shares.** Cut a batch of `count` pictures into one slice for each process: return `[(start, stop), …]`, as
# even as can be, the longer ones first. For 7 and 3: `[(0, 3), (3, 5), (5, 7)]`.


# %%
def slices(count, processes): ...


# %%
# Stuck? exercises.lesson7.slices.hint() helps a little,
# .solution() shows one way to do it
exercises.lesson7.slices.check(slices)

# %% [markdown]
# **5. An experiment: a batch in little memory.** Leave the gradient of the batch's *mean* cross-entropy in the weights'
# `.grad`, while autograd keeps at most `memory` bytes at once. How large a piece may be, you have to find out: the
# network and the batch are different each time, and many tiny pieces are too slow (the check allows twice as many uses
# of the network as are needed).


# %%
def little_memory(net, images, labels, memory): ...


# %%
# Stuck? exercises.lesson7.little_memory.hint() helps a little,
# .solution() shows one way to do it
exercises.lesson7.little_memory.check(little_memory)

# %% [markdown]
# ### Go deeper: The GPU of an Apple chip (MPS)
#
# PyTorch calls the GPU of an Apple chip "mps". It is quick, but some operations have given wrong results on it and no
# error (pytorch/pytorch#143864). So `pick_device` never takes it by itself; `pick_device("mps")` first computes a few
# things on it and on the CPU, and compares. A device that computes wrongly (played here by a function that cheats) is
# refused:

# %%
cheating = iter([1.0, 1.5])
try:
    acceleration.require_parity(
        torch.device("cpu"),
        {"a sum": lambda device: torch.ones(3).sum() * next(cheating)},
    )
except CourseError as error:
    print(told(error))

# %% tags=["hide-input"]
assert acceleration.parity(torch.device("cpu")) == {}, (
    "the CPU should agree with itself"
)

# %% [markdown]
# ## Quiz
#
# Choose an answer, and read why it is right or wrong; then read the others too. (In a copy without a kernel, unfold
# *Answers* below each question.)

# %%
exercises.lesson7.quiz.ask(1)

# %%
exercises.lesson7.quiz.ask(2)

# %%
exercises.lesson7.quiz.ask(3)

# %%
exercises.lesson7.quiz.ask(4)

# %%
exercises.lesson7.quiz.ask(5)

# %% [markdown]
# ## What you learned
#
# - A GPU answers before it has worked: wait before you start the clock and before you stop it. `.item()` waits too.
# - Warm up, repeat until the medians agree, state the spread, name the device.
# - Launches, memory or arithmetic: find the brake that holds, and take off that one.
# - Make few large calls. Move bytes, once, and make floats of them on the other side.
# - 16 bits are fast only where the hardware multiplies in them: bfloat16, or float16 with a scaled loss.
# - Change one thing at a time, and keep the accuracy beside the speed.
# - What stays slow limits everything: Amdahl.
# - Gradients add up: pieces and slices, counted by their pictures, equal the large batch. A checkpoint file makes a
#   crash cheap.
# - Activations fill the memory; accumulation and checkpointing need less, and a traceback keeps them there.
#
# ## Where the code lives
#
# | what you built | where it lives |
# | --- | --- |
# | choosing and checking a device, the simulation | `acceleration.pick_device`, `parity`, `PretendGPU` |
# | the stopwatch that waits | `acceleration.measure`, `measure_in_turn`, `stopwatch` |
# | where a step's time goes | `acceleration.profiled` |
# | the ladder | `acceleration.climb`, `GraphedStep`, `benchmarks/ladder.py` |
# | the sprint and its tricks | `acceleration.Sprint`, `Muon`, `models.SprintNet`, `benchmarks/sprint.py` |
# | the pooling kernel | `acceleration/pooling.py` |
# | several processes | `acceleration.distributed` (the script), `launch` |
# | the right 16 bits | `acceleration.half_type`, `training.fit(autocast=…)` |
# | counting and freeing memory | `acceleration.training_memory`, `keeping`, `free_traceback` |
# | the sliders and lists | `widgets.lesson7` |
# | the checks of your answers | `exercises.lesson7` |
#
# ## What next
#
# You have reached the end of the seven lessons. Run this one on a machine with a GPU ([how](#A-GPU-in-Colab)), with
# `profile = "full"`, and, in the folder of a clone (on Colab, `!git clone` it, `%cd` into it, and put `!` before each
# line), measure yours:
#
# ```
# python benchmarks/ladder.py --data cifar10 --gpu-only --record
# python benchmarks/ladder.py --data cifar10 --size large --record
# python benchmarks/sprint.py --record
# ```
#
# Then leave out a trick, or add one of your own, and find out what it is worth.
#
# Two appendices remain. [Appendix A](A_keras_side_by_side.ipynb) trains lesson 3's network in Keras beside PyTorch, so
# that you can read the code of either camp; [Appendix B](B_your_own_pictures.ipynb) is a project with your own
# pictures.
