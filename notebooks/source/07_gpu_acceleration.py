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
# # GPU acceleration
#
# [Open in Colab][colab] · [Open on Binder][binder]
#
# [colab]: https://colab.research.google.com/github/pixels-to-predictions/pixels-to-predictions/blob/main/notebooks/07_gpu_acceleration.ipynb
# [binder]: https://mybinder.org/v2/gh/pixels-to-predictions/pixels-to-predictions/main?urlpath=lab%2Ftree%2Fnotebooks%2F07_gpu_acceleration.ipynb
#
# **The question: where do the minutes go, and how do they become seconds?**
#
# The same network, the same pictures, the same accuracy: one loop takes minutes, another takes seconds. This lesson
# finds out where the time goes, takes it away piece by piece, and checks at every step that nothing was lost. A
# graphics processor (GPU) helps most, but half of the tricks work without one.
#
# **After this lesson you will be able to**
#
# - say what a GPU is good at, and move a network and its pictures there;
# - time a step so that the figure can be believed;
# - climb from the slowest loop to the fastest, one measured change at a time;
# - explain each trick of the CIFAR-10 speed records, and measure it by leaving it out;
# - train in several processes with the same result as in one, and go on when one of them dies;
# - come back from an out-of-memory error without a restart.
#
# **You need** lessons 3 and 4. **Time:** about {{study_minutes}} minutes to study. On {{cores}} processor cores the
# run shown here took {{seconds:.0f}} seconds.
#
# **What ran here, and what did not.** This copy was run on *{{processor}}*; GPU in that machine: *{{gpu}}*. No figure
# below comes from another machine unless its source is named. Where a GPU would be needed, the text says so, and the
# place for its figure stays open until somebody measures it. So read the GPU parts as instructions, not as results.
#
# ### Contents
#
# **Measuring**
#
# - [What a GPU is good at](#What-a-GPU-is-good-at)
# - [Moving tensors](#Moving-tensors)
# - [A stopwatch that lies](#A-stopwatch-that-lies)
# - [Explore the batch size](#Explore-the-batch-size)
# - [Inside a step](#Inside-a-step)
#
# **Climbing**
#
# - [The ladder](#The-ladder)
# - [Explore where the time goes](#Explore-where-the-time-goes)
# - [Compiled code and recorded steps](#Compiled-code-and-recorded-steps)
#
# **Sprinting**
#
# - [The sprint](#The-sprint)
# - [Eyes that need no training](#Eyes-that-need-no-training)
# - [Steps in all directions](#Steps-in-all-directions)
# - [Both sides of a picture](#Both-sides-of-a-picture)
# - [The race](#The-race)
# - [What is each trick worth?](#What-is-each-trick-worth?)
#
# **More processors, less memory**
#
# - [Many processes, one result](#Many-processes,-one-result)
# - [When a worker dies](#When-a-worker-dies)
# - [Out of memory](#Out-of-memory)
# - [A word on MPS](#A-word-on-MPS)
#
# **To close**
#
# - [Exercises](#Exercises)
# - [Quiz](#Quiz)
# - [What you learned](#What-you-learned)
# - [Where the code lives](#Where-the-code-lives)
# - [What next](#What-next)

# %% tags=["hide-input"]
try:
    from course_utils import environment
except ImportError:  # as on Colab: install the course, and replace nothing
    import importlib
    import subprocess
    import sys

    url = "git+https://github.com/pixels-to-predictions/pixels-to-predictions"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, url], check=True)
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
#
# ## What a GPU is good at
#
# A processor core is quick at one thing after another. A GPU has thousands of slow arithmetic units that do *the same
# thing to many numbers at once*. A convolution is made for that: one rule, millions of sums that do not wait for each
# other. Sorting a list or running Python is not.
#
# `acceleration.pick_device` looks what there is: a GPU that PyTorch calls "cuda", else the CPU.

# %%
device = acceleration.pick_device("auto")
print("Computing on", device)

# %% tags=["hide-input"]
results.record(device=device.kind, device_name=device.name)

# %% [markdown]
# Even a CPU likes one large order better than many small ones. Add a thousand short rows of numbers one by one, and
# then all in one call.
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
)
for name, timing in raced.items():
    print(f"{name}:\n  {timing}")

# %% tags=["hide-input"]
results.record(at_once=raced["one by one"].median / raced["all at once"].median)

# %% [markdown]
# {{at_once:.0f}} times in this run. (The *spread* is the distance from the fastest call to the slowest, as a share of
# the median. The shorter a call, the larger it gets.) Nothing was saved but the cost of giving orders. If you guessed
# "no difference", you counted sums; but a computer also has to be *told*. On a GPU each order is dearer still, so large
# orders matter even more.
#
# ## Moving tensors
#
# A GPU has its own memory. `tensor.to(device)` copies there, and everything that meets in one operation must lie on
# the same device. The usual accident, without a GPU: PyTorch's "meta" device knows shapes, but holds no numbers.

# %%
try:
    nn.Linear(4, 2, device="meta")(torch.zeros(1, 4))
except RuntimeError as error:
    print(told(error, first_line=True))

# %% [markdown]
# With a GPU the message reads "Expected all tensors to be on the same device, but found at least two devices, cuda:0
# and cpu!". The fix is the missing `.to(device)`. And moving costs time, so move little, and seldom.
#
# **Predict first.** A batch of 256 pictures as floats, or as bytes that become floats *on the other side*: what is
# the difference?

# %% tags=["nbval-check-output"]
batch = torch.zeros(256, 3, 32, 32, dtype=torch.uint8)
as_bytes, as_floats = batch.nbytes, batch.float().nbytes
print(f"as bytes {as_bytes:,}, as floats {as_floats:,}")

# %% tags=["hide-input"]
assert as_floats == 4 * as_bytes == 256 * 3 * 32 * 32 * 4

# %% [markdown]
# Four times. As an estimate: a GPU in a PCIe 4.0 slot fetches some 20 GB a second at best, so these floats would take
# about 0.16 ms each time, and the bytes 0.04 ms; and the CPU must first have prepared them. All of CIFAR-10 as bytes
# takes 184 MB (60,000 · 3 · 32 · 32): it fits on any GPU, so it is moved *once*, and cut into batches there. That is
# what `data.batches(..., device=device)` does.
#
# ## A stopwatch that lies
#
# A GPU takes orders and answers "done" before it has done anything: Python runs on, and the orders wait in a queue.
# Good for speed, fatal for stopwatches. Not everybody has a GPU at hand, so here is a **simulation**: `PretendGPU`
# takes orders just like that, and a thread on this CPU does the work. The work below is real; only the "GPU" is not.

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
assert honest > 2 * naive
results.record(lie=honest / naive)

# %% [markdown]
# The naive figure is too small by a factor of {{lie:,.0f}}. It measured how fast an order is *given*. Published
# speed-ups have been wrong in just this way. So: **wait before starting the clock, and wait before stopping it.**
# With CUDA it is `torch.cuda.synchronize()`.
#
# One call is an anecdote, and the first one also pays for what happens only once. Hence the whole recipe: warm up,
# wait, repeat, take the median, say how far it spreads.

# %%
taken = []
for _ in range(6):
    gpu.synchronize()
    start = time.perf_counter()
    gpu.submit(heavy)
    gpu.synchronize()
    taken.append(time.perf_counter() - start)
by_hand = statistics.median(taken[1:])
timing = acceleration.measure(
    lambda: gpu.submit(heavy), gpu, warmup=0, repeats=5
)
print(f"by hand {1e3 * by_hand:.1f} ms; acceleration.measure:")
print(textwrap.fill(str(timing), 72))

# %% tags=["hide-input"]
assert timing.median > 2 * naive and len(timing.warm) == 5

# %% [markdown]
# `acceleration.measure` is that recipe. It refuses to time what it cannot wait for:

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
# PyTorch checks shapes at once, so *this* mistake is seen early on a real GPU; a label outside the classes is not,
# and its traceback points to an innocent line. The fix: run again with the environment variable
# `CUDA_LAUNCH_BLOCKING=1`, or on the CPU, and the traceback names the guilty one.
#
# ## Explore the batch size
#
# How large should a batch be? Choose a size and a width. Left: pictures a second, *measured on this machine* when you
# choose a width for the first time. Right: what a training step keeps in memory. The slider asks how large a batch
# some memory would hold.
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

# %% [markdown]
# No: at first the fixed cost of each order is shared by more pictures, and the curve rises; then the processor is busy,
# and it stays level. Here, with the narrow network, the best size was {{batch_gain:.1f}} times as fast as single
# pictures, not 64 times. On a GPU the curve levels off much later. Memory grows all the way, and almost all of it is
# what the forward pass *keeps for the backward pass*: the activations. Weights hardly matter here.
#
# ## Inside a step
#
# What do the forward and the backward pass spend their time on? PyTorch's profiler notes every operation;
# `acceleration.profiled` adds them up by what they do. (A layer gives several orders, so there are more calls than
# layers.) The network is the one that will sprint later; its layer `whiten` is explained there.

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
# Convolutions take {{convolutions:.0%}} of this step, and the longest entry is *{{longest_work}}*. So that is where
# saving pays. A law for this is older than GPUs (Amdahl 1967): if a share *s* of the time stays as it is and the rest
# becomes *f* times faster, the whole becomes 1 / (s + (1 − s)/f) times faster. With s = 10 % and f without end it is
# 10, and never more:

# %% tags=["nbval-check-output"]
for factor in (2, 10, 100, 1_000_000):
    print(
        f"the rest {factor:>9,} times faster: the whole"
        f" {1 / (0.1 + 0.9 / factor):5.2f} times"
    )

# %% [markdown]
# ## The ladder
#
# Now climb. Every rung trains the *same* network from the *same* weights on the *same* batches in the same order;
# only one thing changes. Speed without accuracy beside it is worthless: a bug can be very fast.

# %%
for rung in acceleration.RUNGS:
    print(f"{rung.name:<21}{rung.change}")

# %% [markdown]
# In code, each rung is a line or two:
#
# | rung | the lines |
# | --- | --- |
# | workers, pinned | `DataLoader(…, num_workers=2, pin_memory=True)`, then `images.to(device, non_blocking=True)` |
# | resident | `images = images.to(device)` once; a batch is `images[chosen]` |
# | channels_last | `model.to(memory_format=torch.channels_last)`, and the same for the pictures |
# | bf16 | `with torch.autocast(device_type, dtype=torch.bfloat16):` around forward pass and loss |
# | torch.compile | `model = torch.compile(model)` |
# | CUDA graph | see [below](#Compiled-code-and-recorded-steps) |
#
# *Pinned* memory is memory that the system may not move, so that the GPU can fetch from it while Python goes on.
# *channels_last* changes no shape, only the order in memory. *bfloat16* has 16 bits: the range of float32, and three
# of its seven digits. **Autocast** chooses for each operation: products of many numbers in 16 bits, sums that need
# their digits in 32.
#
# **Predict first.** In the next cell, which of these will be bfloat16: the logits, the loss, the gradient of a weight?

# %%
step_net = models.SprintNet((16, 32, 32), len(cifar.classes)).to(
    device.torch, memory_format=torch.channels_last
)
with torch.autocast(device.kind, dtype=torch.bfloat16):
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
    torch.bfloat16,
    torch.float32,
    torch.float32,
]

# %% [markdown]
# Only the logits. The loss needs its digits, so autocast computes it in float32; and a gradient has the type of its
# weight, which never left float32.
#
# Now the measurement. Here run the rungs of the CPU that need no compiler and no special arithmetic, and with a GPU
# those of the GPU too.
#
# **Predict first.** Two more processes that prepare the pictures: is that twice as fast? And will the accuracy
# change?

# (In the table, *cold* is the first epoch, with everything that happens only once, and *warm* the median of the others.
# *MB* is what the forward pass keeps for the backward pass; on a GPU, the most memory in use.)

# %%
here = [
    rung
    for rung in acceleration.RUNGS
    if not rung.compiled and (rung.kind == "cuda" or not rung.bf16)
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
# From {{bottom:,.0f}} to {{top:,.0f}} pictures a second: {{ladder_factor:.1f}} times, with *{{top_rung}}* the
# fastest. Workers help only where the loop waits for pictures; on a machine whose cores are busy computing they even
# compete for them. And the accuracies?

# %%
accuracies = [row.accuracy for row in climbed.measured]
mean = sum(accuracies) / len(accuracies)
# four standard errors of so many test pictures
noise = 4 * (mean * (1 - mean) / len(test_part)) ** 0.5
widest = max(accuracies) - min(accuracies)

# %% tags=["hide-input"]
results.record(ladder_widest=widest, ladder_noise=noise)
assert widest <= noise

# %% [markdown]
# The share of right answers differs by {{ladder_widest:.2%}} at most, and {{ladder_noise:.1%}} could still be chance
# with so few test pictures. So no difference is larger than chance can make it; a small loss would not be noticed
# here. The rungs are not bit for bit the same: sums are added in another order, and floats round.
#
# ## Explore where the time goes
#
# The remaining rungs take longer than anybody wants to wait in a lesson, `torch.compile` above all. So they were
# measured beforehand with `benchmarks/ladder.py`, and stored with the name of the device and the date. Rungs of a GPU
# that nobody has measured yet say so. (More pictures and another day: compare within one table only.)

# %%
ladders = [acceleration.stored_ladder(kind) for kind in ("cpu", "cuda")]
kept = [ladder for ladder in ladders if ladder is not None] or [climbed]
for each in kept:
    print(each, end="\n\n")
compiled, plain = (
    kept[0].row("CPU: torch.compile"),
    kept[0].row("CPU: channels_last"),
)

# %% tags=["hide-input"]
if compiled and plain:
    saved = plain.warm_seconds - compiled.warm_seconds
    results.record(
        compile_cold=compiled.cold_seconds,
        compile_saved=saved,
        compile_epochs=compiled.cold_seconds / max(saved, 1e-9),
    )

# %%
widgets.lesson7.where_time_goes(*kept)

# %% [markdown]
# The parts were measured apart, with waiting in between, so they show the shares, and the table shows the speed.
# Choose *CPU: channels_last* and *CPU: bf16*. Sixteen bits instead of 32 halve the memory, but speed comes only from
# hardware that can multiply in that format. A CPU without it has to imitate it, and every picture pays. Then look at
# the cold seconds of *torch.compile* in the table: {{compile_cold:.0f}} seconds once, and {{compile_saved:.2f}} seconds
# saved in each epoch against *channels_last*. It takes {{compile_epochs:,.0f}} epochs of so few pictures until that
# has paid.
#
# ## Compiled code and recorded steps
#
# `torch.compile(model)` looks at the operations, fuses neighbours, and writes new code for them: C++ on a CPU, which
# needs a compiler, and Triton kernels on a GPU. The first step pays for it, so it suits long runs.

# %%
missing = acceleration.compiler_missing(device.kind)
print(missing or "A compiler is there: torch.compile(model) would work.")

# %% [markdown]
# A **CUDA graph** goes further. The small programs that a step runs on the GPU (also called *kernels*) can be done
# before Python has ordered the next ones, and the GPU idles. A graph records all orders of a step once, and replays
# them with a single one. The price: same shapes, same places in memory, no look at a value on the way. The heart of
# `acceleration.GraphedStep` is two lines:
#
# ```python
# with torch.cuda.graph(graph):        # record
#     loss = step(images, labels)
# graph.replay()                       # as often as you like, after copying a new batch into images and labels
# ```
#
# It needs an NVIDIA GPU, and says so:

# %%
if device.kind != "cuda":
    try:
        acceleration.GraphedStep(
            lambda x, y: x,
            net,
            torch.optim.SGD(net.parameters(), lr=0.1),
            images,
            labels,
        )
    except SettingError as error:
        print(told(error))

# %% [markdown]
# ## The sprint
#
# How fast can CIFAR-10 be learned? People race to 94 % of the test pictures on one GPU. Keller Jordan reports **3.29
# seconds** on an NVIDIA A100 ([arXiv:2404.00498](https://arxiv.org/abs/2404.00498), 2024), and the table of his
# repository *cifar10-airbench* lists 2.67 seconds for a later script. These are *their* figures on *their* machine.
# Ours for a GPU is open: `benchmarks/sprint.py` measures it on ten seeds, cold and warm, and no GPU was at hand for
# this copy.
#
# `acceleration/sprint.py` is our version of the same ideas, in about two hundred lines, every trick on a switch:

# %%
for trick, what in acceleration.TRICKS.items():
    print(f"{trick:<21}{what}")

# %% [markdown]
# Three of them deserve a closer look.
#
# ## Eyes that need no training
#
# The first filters of every network learn much the same: brightness, edges, colour contrasts. Then why learn them? Cut
# all 2×2 patches out of the pictures: 12 numbers each. Neighbouring pixels are alike, so these numbers are strongly
# correlated. **Whitening** turns and stretches them until all 12 are uncorrelated with variance 1. Which way to turn,
# the table of covariances knows: for each pair of numbers, the mean of their product. (No mean is subtracted first,
# because the pictures are normalised.) Its *eigenvectors* are the directions that the table only stretches, and the
# stretch is how much the patches vary in that direction:

# %%
images, _ = next(
    iter(data.batches(cifar.train, 200, shuffle=True, seed=settings.seed))
)
patches = F.unfold(images, 2).transpose(1, 2).reshape(-1, 12)  # (patches, 12)
covariance = patches.T @ patches / len(patches)  # (12, 12)
variances, directions = torch.linalg.eigh(covariance)
filters = (directions / (variances + 5e-4).sqrt()).T.reshape(12, 3, 2, 2)
print(
    "variances, from",
    f"{variances[0].item():.5f} to {variances[-1].item():.2f}",
)

# %% tags=["hide-input"]
assert_close(torch.cat([filters, -filters]), models.whitening_filters(images))

# %%
answers = F.conv2d(images, filters).transpose(0, 1).flatten(1)  # (12, places)

# %% tags=["hide-input"]
with figures.style():
    fig, axes = plt.subplots(1, 2, figsize=(7.6, 3.2))
    for ax, numbers, title, label in (
        (axes[0], patches.T, "Neighbours tell the same", "number in the patch"),
        (axes[1], answers, "Each filter tells its own", "filter"),
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
        " dark red everywhere, all alike. Right, the answers of the whitening"
        " filters: white everywhere but on the diagonal."
    ),
)

# %%
worst = (torch.corrcoef(answers) - torch.eye(12)).abs().max()

# %% tags=["hide-input"]
assert worst < 0.2

# %%
del patches, answers  # large tables; nothing below needs them

# %% [markdown]
# On the left, every number of a patch tells nearly the same. On the right, each filter tells something of its own.
# These filters are computed in a blink and stay fixed, so the first layer has nothing to learn; what that is worth, we
# measure below. (The `5e-4` keeps patterns that hardly occur from being blown up to noise.) The 12 negatives are there
# because the activation behind them lets hardly anything negative through: here it is **GELU**, a rounded ReLU.
#
# ## Steps in all directions
#
# A gradient is usually dominated by a few directions, so a step of SGD moves the weights much in these and hardly in
# the others. **Muon** (Jordan 2024) keeps the directions and makes the step equally long in all of them. Exactly,
# that would be a singular value decomposition, G = U S Vᵀ (every matrix is a turn, a stretch along the axes, S, and
# another turn), with S replaced by 1. That is slow on a GPU; a polynomial,
# applied a few times, does nearly the same with matrix products alone:

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
assert after.min() > 0.5 and after.max() < 1.5 and S.max() / S.min() > 5

# %% [markdown]
# The directions (U and V) are the same, the lengths all near 1. It does not have to be exact.
#
# ## Both sides of a picture
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
assert counts["alternating"][1] == 2000 > counts["by chance"][1]

# %% [markdown]
# ## The race
#
# Everything lies on the device before the gun: pictures as bytes, network without training. The clock runs for the
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
    pictures=f"{'a stand-in for ' * cifar.source.stand_in}{cifar.title}",
)
assert warm.accuracy > 2.5 / len(cifar.classes)  # far above chance

# %% [markdown]
# {{sprint_accuracy:.1%}} after {{sprint_steps}} steps on {{sprint_used:,}} pictures ({{pictures}}, source: {{data}}),
# {{sprint_warm:.1f}} seconds warm and {{sprint_cold:.1f}} cold, on *{{device_name}}*. If you guessed that warm is
# much faster, you thought of a GPU, which chooses kernels and fetches memory in its first run; on a CPU there is
# little to warm up, and the two differ by chance. On a CPU this is a miniature: fewer pictures, a narrow network, and
# no claim to any record. The same code with the settings of the profile `full` is made for a GPU.

# %% tags=["hide-input"]
with figures.style():
    fig, ax = plt.subplots(figsize=(6.5, 2.8))
    ax.plot(range(1, len(warm.losses) + 1), warm.losses, color=figures.BLUE)
    ax.set(
        xlabel="step",
        ylabel="training loss",
        title=(
            f"The loss falls from {warm.losses[0]:.2f} to {warm.losses[-1]:.2f}"
        ),
    )
figures.show(
    fig,
    alt=(
        f"The training loss falls over {len(warm.losses)} steps to"
        f" {warm.losses[-1]:.2f}."
    ),
)

# %% [markdown]
# With label smoothing the loss cannot come near 0: a sure answer is punished too. Do not compare it with a loss
# without.
#
# ## What is each trick worth?
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
    most_lost=max(lost.values()),
    least_lost=min(lost.values()),
    worth_noise=noise,
    worth_tests=len(test_part),
)

# %% tags=["hide-input"]
with figures.style():
    fig, ax = plt.subplots(figsize=(7, 0.4 * len(worth) + 1))
    bars = ax.barh(
        list(worth),
        [100 * value for value in worth.values()],
        color=figures.BLUE,
    )
    bars[0].set_color(figures.ORANGE)
    ax.bar_label(
        bars,
        labels=[figures.percent(value) for value in worth.values()],
        padding=3,
    )
    title = (
        f"One seed, {len(test_part):,} pictures: lowest"
        f" {min(worth, key=worth.get)}"
    )
    ax.set(xlabel="accuracy in %", title=title)
    ax.margins(x=0.12)
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
figures.show(
    fig,
    alt="; ".join(
        f"{name}: {figures.percent(value)}" for name, value in worth.items()
    )
    + ", as bars.",
)

# %% [markdown]
# Of the tricks left out, the accuracy was lowest *{{most_missed}}*: right in {{most_lost:.1%}} of the pictures fewer
# than with all tricks. Without another one it was {{least_lost:+.1%}} (a minus means that the run was *better* without
# it). Chance alone moves such a figure by {{worth_noise:.1%}} or so (one standard error of {{worth_tests:,}} pictures),
# and another seed moves it too. So a result needs many seeds: `benchmarks/sprint.py --leave-out whitening` uses ten.
#
# ## Many processes, one result
#
# Two GPUs, or two machines, share the work like this: each process takes *its slice of every batch* and computes the
# gradient; the gradients are averaged; all take the same step. Is that average the gradient of the whole batch?
#
# **Predict first.** A batch of 7 in slices of 3, 2 and 2: is the plain average of the three gradients right?

# %%
torch.manual_seed(settings.seed)
small = models.SprintNet((8, 8, 8), len(cifar.classes), norm="group").double()
images, labels = next(
    iter(data.batches(cifar.train, 7, shuffle=True, seed=settings.seed))
)
images = images.double()
whole = torch.autograd.grad(
    F.cross_entropy(small(images), labels), small.head.weight
)[0]
parts = [
    gradients[-1]
    for gradients in distributed.split_gradients(
        small, images, labels, processes=3
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
assert (plain - whole).abs().max() > 1e3 * (weighted - whole).abs().max()

# %% [markdown]
# No. Each slice must count by its pictures: the averages of ragged batches from lesson 3, in another dress.
#
# And a trap: with *batch normalisation* each process would normalise with its own slice, and the result would depend
# on the number of processes. `SyncBatchNorm` shares the statistics, but works on GPUs only. So the network here uses
# *group normalisation*, which looks at one picture at a time.
#
# PyTorch's tool is `DistributedDataParallel`: one process for each GPU, started by `torchrun`; gradients are averaged
# while the backward pass still runs. It takes the *plain* average; so the script multiplies the *summed* loss of each
# slice by processes / batch size, and then the plain average is the gradient of the whole batch, whatever the slices:
#
# ```python
# net = DistributedDataParallel(net)                            # once
# summed = F.cross_entropy(net(images), labels, reduction="sum")  # of this process's slice
# (summed * processes / batch_size).backward()                    # here the gradients are averaged
# ```
#
# There is an older one, `DataParallel`: one process with a thread for each GPU.
# It copies the network in every step, and its threads wait for each other in Python. PyTorch's own documentation
# advises against it, even on one machine.
#
# The script is `course_utils/acceleration/distributed.py`, with the command lines for one machine and for several at
# its top. Two processes on this machine:
#
# ```
# torchrun --standalone --nproc-per-node=2 --max-restarts=2 -m course_utils.acceleration.distributed --out runs/two
# ```
#
# Two machines with four GPUs each, the same line on both, with OUT in a folder that both see:
#
# ```
# torchrun --nnodes=2 --nproc-per-node=4 --max-restarts=2 --rdzv-backend=c10d --rdzv-endpoint=FIRST_MACHINE:29500 \
#     --rdzv-id=lesson7 -m course_utils.acceleration.distributed --out OUT
# ```
#
# ## When a worker dies
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
    f"{killed.processes} processes ({killed.backend}): {killed.restarts}"
    f" restart, on from step {killed.resumed_at}"
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
assert len(killed.losses) == len(alone.losses) == 9 and killed.restarts == 1
assert apart < 1e-4 and killed.accuracy == alone.accuracy

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
# {{restarts}} restart, on from step {{resumed_at}}, and the largest difference between the two loss curves is
# {{apart:.0e}} of the loss; the accuracy is the same. The sums are added in another order, and in `float64` that is
# all one sees. In `float32` the first difference is about 1e-7, and training magnifies it from step to step, as it
# does every rounding: equal code, equally good results, other digits.
#
# ## Out of memory
#
# Every training run meets it some day. First count: weights, gradients and the optimizer's averages do not depend on
# the batch; activations do.

# %%
images, labels = next(iter(data.batches(cifar.train, 64)))
net = models.SprintNet((16, 32, 32), len(cifar.classes))
need = acceleration.training_memory(net, images, labels, moments=1)
learned = sum(p.numel() for p in net.parameters() if p.requires_grad)

# %% tags=["hide-input"]
assert need.gradients == need.optimizer == 4 * learned  # float32: 4 bytes each

# %%
for name in ("weights", "gradients", "optimizer", "activations", "pictures"):
    print(f"{name:<12}{getattr(need, name) / 1e6:8.2f} MB")

# %% tags=["hide-input"]
results.record(
    activation_share=need.activations / need.of(64),
    mb_per_picture=need.per_picture / 1e6,
)

# %% [markdown]
# Activations are {{activation_share:.0%}} of it: {{mb_per_picture:.2f}} MB for each picture of the batch. So the
# first thing to try is a smaller batch, and the second is bfloat16, which halves most of them.
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
assert watched[0]() is not None

# %% [markdown]
# The function has ended, and its tensor is still there. The error's *traceback* holds every function that was
# interrupted, with all its tensors, and a notebook keeps the last error for `%debug`. On a GPU this means: out of
# memory once, out of memory for ever. The fix:

# %%
acceleration.free_traceback(kept_error)
print("still in memory:", watched[0]() is not None)

# %% tags=["hide-input"]
assert watched[0]() is None

# %% [markdown]
# Without an argument it frees the last error that ended a cell. And a loop that halves the batch until it fits:


# %%
def train_with(size):
    return torch.empty(10**15) if size > 40 else size


fitted = acceleration.with_smaller_batches(train_with, 128)
print("trained with batches of", fitted)

# %% tags=["hide-input"]
assert fitted == 32

# %% [markdown]
# ## A word on MPS
#
# The GPU of an Apple chip is called "mps". It is quick, and some operations have given wrong results on it without a
# word (pytorch/pytorch#143864). So `choose` never takes it by itself; `choose("mps")` first computes a few things on
# both and compares. A device that computes wrongly (played here by a function that cheats) is refused:

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
assert acceleration.parity(torch.device("cpu")) == {}

# %% [markdown]
# ## Exercises
#
# Replace the dots and run the cells. Each stub runs as it is, so that *Run All* always finishes.
#
# The cell after each stub checks your answer: ✓ correct, ✗ wrong, with the first difference, or ○ not attempted.
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
# **2. Fair shares.** Cut a batch of `count` pictures into one slice for each process: return `[(start, stop), …]`, as
# even as can be, the longer ones first. For 7 and 3: `[(0, 3), (3, 5), (5, 7)]`.


# %%
def slices(count, processes): ...


# %%
# Stuck? exercises.lesson7.slices.hint() helps a little,
# .solution() shows one way to do it
exercises.lesson7.slices.check(slices)

# %% [markdown]
# **3. Amdahl's law.** All but the share `fixed` of the time becomes `factor` times faster. How many times faster is
# the whole?


# %%
def amdahl(fixed, factor): ...


# %%
# Stuck? exercises.lesson7.amdahl.hint() helps a little,
# .solution() shows one way to do it
exercises.lesson7.amdahl.check(amdahl)

# %% [markdown]
# **4. One gradient out of many.** Given the gradient of the mean loss over each slice, and how many pictures each
# slice has, return the gradient of the mean loss over all of them.


# %%
def average_gradient(gradients, counts): ...


# %%
# Stuck? exercises.lesson7.average_gradient.hint() helps a little,
# .solution() shows one way to do it
exercises.lesson7.average_gradient.check(average_gradient)

# %% [markdown]
# **5. Bytes.** Return the bytes of a batch of shape (N, C, H, W) whose numbers have `bits` bits each.


# %%
def batch_bytes(shape, bits): ...


# %%
# Stuck? exercises.lesson7.batch_bytes.hint() helps a little,
# .solution() shows one way to do it
exercises.lesson7.batch_bytes.check(batch_bytes)

# %% [markdown]
# **6. The alternating flip.** `first`, bool (N,), says which pictures are mirrored in epoch 0. Return which are
# mirrored in `epoch`.


# %%
def alternating(first, epoch): ...


# %%
# Stuck? exercises.lesson7.alternating.hint() helps a little,
# .solution() shows one way to do it
exercises.lesson7.alternating.check(alternating)

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

# %% [markdown]
# ## What you learned
#
# - A GPU takes orders and answers before it has worked: wait before you start the clock and before you stop it.
# - Warm up, repeat, take the median, say the spread, name the device.
# - Give few large orders. Move bytes, once, and make floats of them on the other side.
# - Change one thing at a time, and keep the accuracy beside the speed.
# - What stays slow limits everything: Amdahl.
# - Slices of a batch count by their pictures; then many processes equal one. A checkpoint makes a crash cheap.
# - Activations fill the memory, and a traceback keeps them there.
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
# | several processes | `acceleration.distributed` (the script), `launch` |
# | counting and freeing memory | `acceleration.training_memory`, `free_traceback` |
# | the sliders and lists | `widgets.lesson7` |
# | the checks of your answers | `exercises.lesson7` |
#
# ## What next
#
# You have reached the end of the seven lessons. Run this one on a machine with a GPU (Colab lends one), with `profile
# = "full"`, and fill the open places: `python benchmarks/ladder.py --record` and `python benchmarks/sprint.py
# --record`. Then leave out a trick, or add one of your own, and find out what it is worth.
