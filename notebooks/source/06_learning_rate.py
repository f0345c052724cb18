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
# # The learning rate
#
# [Open in Colab][colab] · [Open on Binder][binder]
#
# [colab]: https://colab.research.google.com/github/pixels-to-predictions/pixels-to-predictions/blob/main/notebooks/06_learning_rate.ipynb
# [binder]: https://mybinder.org/v2/gh/pixels-to-predictions/pixels-to-predictions/main?urlpath=lab%2Ftree%2Fnotebooks%2F06_learning_rate.ipynb
#
# **The question: how large should a step be, and should it stay that large?**
#
# Nearly every network so far had a number that somebody chose: the learning rate. Too small, and training crawls.
# Too large, and the loss explodes. In this lesson you *measure* a good rate in a few seconds instead of guessing it,
# and then you let it move while the network trains, and find out with several seeds whether that is worth the
# trouble.
#
# **Afterwards you will be able to** say what too small and too large a rate do; write a range test, read its curve, and
# see when it says nothing; put back everything that such a test spoils; write down the one-cycle schedule and count its
# steps; and compare schedules fairly, with the same budget, several seeds, mean and spread.
#
# **You need** lessons 1 to 3, and lesson 4 for momentum and Adam. **Time:** about {{study_minutes}} minutes of study.
# On {{cores}} processor cores the cells take {{quick.seconds:.0f}} seconds with the profile `quick` (a few thousand
# pictures); the run on this page took {{minutes:.1f}} minutes.
#
# <details><summary>Contents</summary>
#
# **Finding the rate**
#
# - [A valley with a trap](#A-valley-with-a-trap)
# - [Explore the valley](#Explore-the-valley)
# - [A network has a valley too](#A-network-has-a-valley-too)
# - [The range test by hand](#The-range-test-by-hand)
# - [What the test has spoiled](#What-the-test-has-spoiled)
# - [Put everything back](#Put-everything-back)
# - [Three rules for one curve](#Three-rules-for-one-curve)
# - [Were the rules right?](#Were-the-rules-right?)
# - [Does Adam need a rate?](#Does-Adam-need-a-rate?)
# - [Curves that say nothing](#Curves-that-say-nothing)
# - [Explore the settings](#Explore-the-settings)
# - [Exercises: finding the rate](#Exercises:-finding-the-rate)
#
# **Moving the rate**
#
# - [One cycle](#One-cycle)
# - [Counting the steps](#Counting-the-steps)
# - [A schedule that watches](#A-schedule-that-watches)
# - [Five ways to move](#Five-ways-to-move)
# - [Each schedule chooses its rate](#Each-schedule-chooses-its-rate)
# - [The comparison](#The-comparison)
# - [Explore your own schedule](#Explore-your-own-schedule)
# - [Exercises: moving the rate](#Exercises:-moving-the-rate)
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

import itertools
import math
import statistics
import textwrap
import warnings

import matplotlib.pyplot as plt
import torch
from matplotlib.ticker import LogLocator, NullFormatter
from torch import nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import OneCycleLR
from torch.testing import assert_close

from course_utils import (
    data,
    exercises,
    figures,
    learning_rate,
    models,
    profiles,
    results,
    training,
    widgets,
)
from course_utils.errors import told

# %% [markdown]
# The settings worth changing. `None` means "as the profile says".

# %% tags=["parameters"]
profile = "auto"  # "quick" runs anywhere, "full" uses all pictures
seed = None  # start of the random numbers
pictures_used = None  # how many training pictures to use
test_used = None  # how many validation and how many test pictures, at most
batch_size = None  # pictures in one step
test_steps = None  # batches of a range test, at most
epochs = None  # epochs that each network of the comparison trains
runs = None  # seeds with which each schedule is compared
live_steps = None  # batches of each network when you draw a schedule

# %% tags=["hide-input"]
settings = profiles.load(
    "06",
    profile,
    seed=seed,
    pictures_used=pictures_used,
    test_used=test_used,
    batch_size=batch_size,
    test_steps=test_steps,
    epochs=epochs,
    runs=runs,
    live_steps=live_steps,
)
device = "cuda" if torch.cuda.is_available() else "cpu"
print(f"The networks will live on: {device}")

# %% [markdown]
# ## A valley with a trap
#
# Before the network, a world of one number. In lesson 1 you walked down a parabola. Real losses have bumps, so here
# is a wide valley whose bottom is at x = 2, with a narrow trap in its left side, at x = −1.5.


# %%
def height(x):
    return 0.12 * (x - 2) ** 2 - 0.8 * torch.exp(-(((x + 1.5) / 0.15) ** 2) / 2)


for place in (-2.5, -1.5, 2.0):
    print(f"at x = {place:>4} the height is {height(torch.tensor(place)):.2f}")

# %% tags=["hide-input"]
with figures.style():
    figure, ax = plt.subplots(figsize=(7, 2.6))
    x = torch.linspace(-4.5, 8.5, 500)
    ax.plot(x, height(x))
    ax.plot(
        -2.5,
        height(torch.tensor(-2.5)),
        "o",
        color=figures.RED,
        label="we start here",
    )
    ax.set(
        xlabel="x",
        ylabel="height",
        title="Between the start and the bottom lies a trap",
    )
    ax.legend()
figures.show(
    figure,
    alt=(
        "A wide valley with its bottom at x = 2. In its left side, at x = −1.5,"
        " is a narrow dent. A dot on the left, at x = −2.5, marks the start."
    ),
)

# %% [markdown]
# A step goes against the slope, and the rate says how far: x ← x − rate · slope. Autograd gives the slope.
#
# **Predict first.** We start at x = −2.5 and take 60 steps. Where does the walk end with a rate of 0.003? Of 0.03?
# 0.5? 9.5?


# %%
def walk(rate, start=-2.5, steps=60):
    x = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    for _ in range(steps):
        (slope,) = torch.autograd.grad(height(x), x)
        x = (x - rate * slope).detach().requires_grad_()
    return x.item()


for rate in (0.003, 0.03, 0.5, 9.5):
    print(f"rate {rate:>5}: x = {walk(rate):.4g}")

# %% tags=["hide-input"]
assert abs(walk(0.03) - (-1.5)) < 0.1 and abs(walk(0.5) - 2) < 0.1, (
    "0.03 should end in the trap, 0.5 at the bottom; was walk changed?"
)
assert_close(walk(0.5), widgets.lesson6.walk(0.5, -2.5, 60).places[-1].item())

# %% [markdown]
# <details><summary>Answer</summary>
#
# - 0.003 **crawls**: after 60 steps it is not even at the trap.
# - 0.03 falls into the **trap** and stays: every slope in there points to the trap's own bottom.
# - 0.5 reaches the true bottom. It *cannot* stay in the trap: a step there is longer than the trap is wide.
# - 9.5 **jumps out**: every step lands higher on the other side, where the slope is steeper still.
#
# The smallest rate is the safest way to stay where you are. A rate decides not only how fast, but also *where* the walk
# ends: a larger one passes by narrow valleys.
#
# </details>
#
# ## Explore the valley
#
# Move the rate slowly from left to right and watch for three borders. From which rate on does the walk no longer come
# to rest in the trap? From which on does it escape? Where does it stop coming down at all? Then start on the right
# side, at x = 6: which rates never see the trap? (Where no kernel runs, you see six rates.)

# %%
widgets.lesson6.valley_walk()

# %% [markdown]
# <details><summary>Answer</summary>
#
# Above about 0.06 the walk no longer comes to rest in the trap, but up to about 0.12 it only jumps back and forth
# between its walls; with 0.125 it escapes. From about 7.8 on it no longer comes to rest in 60 steps, because
# the trap's wall throws it out again and again, and above 8.3 it climbs out of the valley. From x = 6, rates up to
# about 7 never see the trap.
#
# </details>
#
# ### Go deeper: the borders, computed
#
# Two of the borders can be computed. Near a bottom the slope grows in proportion to the distance, slope = c ·
# distance, and a step multiplies the distance by 1 − rate · c. That shrinks only while rate < 2/c. The number c is
# the **curvature**: how fast the slope changes. Autograd gives it as the slope of the slope.


# %%
def curvature(x):
    x = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(height(x), x, create_graph=True)
    (change,) = torch.autograd.grad(slope, x)
    return change.item()


trap_bottom = walk(0.03)
wide, trap = curvature(2.0), curvature(trap_bottom)
print(
    f"wide valley: c = {wide:.2f}, border {2 / wide:.2g}; trap: c = {trap:.0f},"
    f" border {2 / trap:.2g}"
)

# %% tags=["hide-input"]
results.record(
    wide_curvature=wide,
    wide_border=2 / wide,
    trap_curvature=trap,
    trap_border=2 / trap,
)

# %% [markdown]
# Now check the formula against the walks themselves.

# %% tags=["hide-input"]
for rate in (0.055, 0.06, 0.09, 0.12, 0.125):
    print(f"from −2.5 with rate {rate}: after 60 steps at {walk(rate):.3f}")
assert abs(walk(0.055) - trap_bottom) < 1e-3 < abs(walk(0.06) - trap_bottom), (
    "the walk should come to rest in the trap with 0.055, not with 0.06"
)
assert all(
    abs(walk(rate, steps=n) + 1.5) < 0.5
    for rate in (0.06, 0.09, 0.12)
    for n in (57, 58, 59, 60)
), "from 0.06 to 0.12 the walk should jump to and fro inside the trap"
assert walk(0.125) > 0, "with 0.125 the walk should leave the trap"
for rate in (1.0, 4.0, 7.0, 7.5):
    walked = widgets.lesson6.walk(rate, start=6.0, steps=60)
    leftmost = walked.places.min().item()
    print(f"from 6 with rate {rate}: never left of {leftmost:.2f}")
    # further to the left the trap's wall is felt
    assert (leftmost > -1.05) == (rate <= 7), (
        "rates up to 7 should not feel the trap's wall, and 7.5 should"
    )
assert abs(walk(8.5) - 2) > 4.5, (
    "with 8.5 the walk should end further away than it began"
)

# %% [markdown]
# In the wide valley c = {{wide_curvature:.2f}}, so the border is {{wide_border:.2g}}; in the trap c is about
# {{trap_curvature:.0f}}, so it is {{trap_border:.2g}}. The formula holds *near a bottom*: far away other slopes disturb
# the walk, so a rate of 8, still below the wide valley's border, now and then lands on the trap's steep wall, which
# throws it far out again.
#
# One landscape, two borders: no single number is "the" right rate, and a network's landscape has very many
# directions, each with its own.
#
# ## A network has a valley too
#
# The data is Fashion-MNIST, as in lesson 3, and the network is lesson 3's, with fewer channels (8, 16 and 32) so that
# we can train many of them.

# %%
clothes = data.load("fashion_mnist", seed=settings.seed)
train_part = clothes.train.take(
    at_most=settings.pictures_used, seed=settings.seed
)
validation_part = clothes.validation.take(
    at_most=settings.test_used, seed=settings.seed
)
validation = data.batches(validation_part, 1000, device=device)
print(
    f"{len(train_part):,} training and {len(validation_part):,} validation"
    " pictures"
)


# %%
def network():
    net = models.FashionNet(widths=(8, 16, 32))
    return net.to(device, memory_format=torch.channels_last)


model = network()
print(f"{models.count_parameters(model):,} parameters")

# %% [markdown]
# Every experiment begins with a network that knows nothing, the same each time: `fresh()` returns it with its batches
# and its optimizer. The optimizer has *momentum* 0.9: every step keeps nine tenths of the one before. (Lesson 4
# explains it, and you do not need more of it here.)

# %% tags=["hide-input"]
# Until the comparison, trainings are short.
short_part = train_part.take(
    at_most=20 * settings.batch_size, seed=settings.seed
)


def fresh(part=short_part):
    """A new network, its batches, and its optimizer: the same each time."""
    training.seed_everything(settings.seed)
    model = network()
    batches = data.batches(
        part,
        settings.batch_size,
        shuffle=True,
        seed=settings.seed,
        device=device,
    )
    return (
        model,
        batches,
        torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
    )


model, batches, optimizer = fresh()
print(
    f"{len(short_part):,} pictures in {len(batches)} batches of up to"
    f" {settings.batch_size}"
)

# %% [markdown]
# Which rate suits it? We could train with 0.001, 0.01, 0.1 and 1, and wait four times. Or ask all rates in *one*
# short run.
#
# ## The range test by hand
#
# Leslie Smith's idea (arXiv:1506.01186), in the form that fast.ai made common: start with a rate so small that
# nothing happens, make it larger **with every batch**, and watch the loss. First it stays, then it falls, and then it
# explodes. The falling stretch is where the network learns.
#
# From 1e-8 to 10 is a factor of a thousand million. In equal *differences* nearly all steps would lie above 0.1, so
# we take equal *factors*: a ladder whose rungs grow geometrically.

# %%
steps = settings.test_steps
factor = (10 / 1e-8) ** (1 / (steps - 1))
rates = [1e-8 * factor**i for i in range(steps)]
print(
    f"{steps} rates, each {factor:.3f} times the one before: {rates[0]:.0e},"
    f" {rates[1]:.1e} … {rates[-1]:.0f}"
)

# %% tags=["hide-input"]
assert_close(rates, learning_rate.geometric_rates(1e-8, 10, steps))

# %% [markdown]
# The loss of a single batch jumps up and down. So we smooth it: an average in which each new loss counts 2 %, and the
# old average 98 %. It starts at 0, which is too low, and after t steps its weights add up to only 1 − 0.98ᵗ. Dividing
# by that is the **bias correction**.


# %%
def smoothed(losses, beta=0.98):
    average, result = 0.0, []
    for t, loss in enumerate(losses, start=1):
        average = beta * average + (1 - beta) * loss
        result.append(average / (1 - beta**t))
    return result


# %% tags=["hide-input"]
# without the correction it would start at 0.046
assert_close(smoothed([2.3, 2.3, 2.3]), [2.3, 2.3, 2.3])
assert_close(smoothed([3.0, 1.0, 2.0]), learning_rate.smooth([3.0, 1.0, 2.0]))

# %% [markdown]
# Two helpers for the test itself. One is a training step as in lesson 3, with its rate set before. The other gives
# batches without end: a loader that is too short is gone through again.


# %%
def step_with(rate, model, optimizer, images, labels):
    optimizer.param_groups[0]["lr"] = rate
    loss = F.cross_entropy(model(images), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def endless(batches):
    while True:
        yield from batches  # all of them, one by one; then again


print([letter for letter, _ in zip(endless("abc"), range(7))])

# %% [markdown]
# And the test: a step with each rate, and a way to stop when the smoothed loss is more than four times its best.


# %%
def climb(model, batches, optimizer, rates):
    losses, best = [], math.inf
    model.train()
    for rate, (images, labels) in zip(rates, endless(batches)):
        losses.append(step_with(rate, model, optimizer, images, labels))
        latest = smoothed(losses)[-1]
        if not latest <= 4 * best:  # written so that "not a number" stops too
            break
        best = min(best, latest)
    return losses


# %% [markdown]
# **Predict first.** Draw the curve before you run the cell: loss against rate, the rate on a logarithmic axis. Where
# does it begin to fall, where is it lowest?

# %%
losses = climb(model, batches, optimizer, rates)

# %% tags=["hide-input"]
with figures.style():
    figure, ax = plt.subplots(figsize=(7, 3))
    ax.plot(
        rates[: len(losses)],
        losses,
        color=figures.SKY,
        linewidth=0.8,
        label="each batch",
    )
    smooth = smoothed(losses)
    lowest_at = rates[smooth.index(min(smooth))]
    ax.plot(rates[: len(losses)], smooth, color=figures.BLUE, label="smoothed")
    ax.set(
        xscale="log",
        ylim=(0, 4),
        xlabel="learning rate",
        ylabel="training loss",
    )
    ax.set_title(
        f"Flat at {statistics.median(losses[:20]):.1f}, then down, then up:"
        f" {len(losses)} batches"
        " tell the story"
    )
    ax.legend(loc="lower left")
figures.show(
    figure,
    alt=(
        "Loss against learning rate, from 1e-8 to 10 on a logarithmic axis. The"
        " curve is flat for the small rates, falls, is lowest near"
        f" {lowest_at:.2g}, and then rises steeply. The smoothed curve follows"
        " the batches late."
    ),
)

# %% [markdown]
# The flat part on the left is where a step is too short to matter: guessing among ten classes costs log 10 = 2.30,
# and the first, random weights cost about that or a little more. Then comes the slope we are after, then the
# explosion.
#
# Look at the distance between the two curves: the smoothed one is **late**. It remembers some 50 batches, while the
# rate grows on. That is the price of calm, and it means: do not pick the *lowest* point of the smoothed curve. The
# rate there is one at which the batches have long stopped improving.
#
# ## What the test has spoiled
#
# The network has been through an explosion. Does it matter? It is the same object, it gives logits, and no error
# appears anywhere.
#
# **Predict first.** We train this network for an epoch, with a good rate, and a fresh one beside it. How far apart will
# they be?


# %%
def one_epoch(model, batches, optimizer, rate=0.03):
    optimizer.param_groups[0]["lr"] = rate
    batches.set_epoch(0)
    training.fit(model, batches, epochs=1, optimizer=optimizer, progress=False)
    return training.evaluate(model, validation).accuracy


# %%
model, batches, optimizer = fresh()
climb(model, batches, optimizer, rates)  # the same test once more
largest = max(weight.abs().max().item() for weight in model.parameters())
variance = max(
    buffer.max().item()
    for name, buffer in model.named_buffers()
    if name.endswith("running_var")
)
print(f"after the test: largest weight {largest:.3g},")
print(f"largest variance that batch norm remembers {variance:.3g}")
spoiled_accuracy = one_epoch(model, batches, optimizer)
fresh_accuracy = one_epoch(*fresh())

# %% tags=["hide-input"]
results.record(
    spoiled_accuracy=spoiled_accuracy,
    fresh_accuracy=fresh_accuracy,
)
assert fresh_accuracy > spoiled_accuracy, (
    "the spoiled network should do worse; did a setting change a lot?"
)

# %% [markdown]
# On this page {{spoiled_accuracy:.1%}} against {{fresh_accuracy:.1%}} on validation, after the same epoch. Not a
# crash: no error, no warning, only a network that is far worse (guessing alone gets 10 %), for a reason that nobody
# would look for. Users of several libraries have met this (for example davidtvs/pytorch-lr-finder, issue 11). Here is
# everything that such a test changes:
#
# | what | why it matters |
# | --- | --- |
# | weights | they come out of the explosion |
# | batch norm's running mean and variance (*buffers*) | evaluation would use statistics of the explosion |
# | the optimizer's momentum | the first steps would go where the last, huge gradients pointed |
# | the optimizer's rate | it stands at the top of the ladder |
# | the random state | later cells would see other batches and other dropout: results cannot be repeated |
# | the mode of each layer, train or eval | a layer that you had frozen in eval mode would be in train mode |
#
# ## Put everything back
#
# `learning_rate.range_test` is the same loop, and it puts all of that back, even when it is interrupted half way. First
# we check that it is the same: until the loss explodes, its losses are ours.

# %%
model, batches, optimizer = fresh()
result = learning_rate.range_test(model, batches, optimizer, steps=steps)
# later, the tiniest difference of rounding would grow
calm = losses.index(min(losses))
print(f"{calm} losses up to the lowest one are the same")

# %% tags=["hide-input"]
assert_close(list(result.losses[:calm]), losses[:calm], rtol=1e-3, atol=1e-4)

# %% [markdown]
# Then we check that it leaves nothing behind. Our network goes through a second test, interrupted in the middle, as you
# would do with the stop button. For that we use a loss that draws a random number at each step, as dropout would, and
# gives up half way:

# %%
calls = itertools.count(1)


def interrupted(logits, labels):
    torch.rand(1)  # as dropout would
    if next(calls) == steps // 2:
        raise KeyboardInterrupt
    return F.cross_entropy(logits, labels)


# %% [markdown]
# First the random state. We draw a random number, set the seed back, run the test, and draw again. Whatever the test
# has drawn on its way, the next random number has to be the one that comes without it.

# %%
torch.manual_seed(settings.seed)
draw = torch.rand(1)
torch.manual_seed(settings.seed)
try:
    learning_rate.range_test(
        model, batches, optimizer, interrupted, steps=steps
    )
except KeyboardInterrupt:
    print("interrupted in the middle")
drawn_again = torch.rand(1)
print(
    f"the next random number: {drawn_again.item():.4f} after the test,"
    f" {draw.item():.4f} without it"
)

# %% tags=["hide-input"]
assert torch.equal(drawn_again, draw), (
    "the range test should have put the random state back"
)

# %% [markdown]
# Then weights, buffers and optimizer. If one of them were not as before, the training after two tests would end with
# another accuracy than the training without any.

# %%
after_tests = one_epoch(model, batches, optimizer)
if device == "cpu":  # a GPU adds up in changing order
    assert after_tests == fresh_accuracy, "something moved; was this run twice?"
print(
    f"after two tests {figures.percent(after_tests, 4)},"
    f" without any {figures.percent(fresh_accuracy, 4)}"
)

# %% [markdown]
# ## Three rules for one curve
#
# "Pick a rate where the loss still falls" leaves room. Three rules are in use:
#
# 1. **Steepest**: where the smoothed loss falls fastest.
# 2. **A tenth of the minimum**: one factor of ten before the lowest point.
# 3. **Valley**: find the longest way downhill, stepping over small bumps, and take its middle.
#
# The first two are a line each. Near the left end the average holds only a few batches, so its first tenth does not
# count.

# %%
x, y = (
    torch.tensor(result.rates, dtype=torch.float64),
    torch.tensor(result.smoothed, dtype=torch.float64),
)
first = max(5, len(x) // 10)
lowest = first + y[first:].argmin().item()
slopes = y.diff() / x.log().diff()
steepest = x[first + slopes[first:lowest].argmin()].item()
tenth = x[lowest].item() / 10
print(f"steepest {steepest:.3g}, a tenth of the minimum {tenth:.3g}")

# %% tags=["hide-input"]
assert_close(steepest, result.suggestion.of("steepest").rate)
assert_close(tenth, result.suggestion.of("minimum / 10").rate)

# %% [markdown]
# ### Go deeper: the valley rule, written out
#
# The valley asks for the longest chain of losses, from left to right, of which each is below the one before. First by
# hand, for five losses. Below each loss stands the longest chain that *ends* there:
#
# | loss | 5 | 3 | 4 | 2 | 1 |
# | --- | --- | --- | --- | --- | --- |
# | longest chain that ends here | 5 | 5, 3 | 5, 4 | 5, 3, 2 | 5, 3, 2, 1 |
# | its length | 1 | 2 | 2 | 3 | 4 |
#
# The 4 is a small bump, and the longest chain steps over it. You go from left to right, and never need to try all
# chains: the longest chain that ends *here* is one longer than the longest that ends at some earlier, higher loss.


# %%
def chains(losses):
    """Return for each loss the length of the longest chain that ends there,
    and the place before it in that chain."""
    length, before = [1] * len(losses), [None] * len(losses)
    for i in range(len(losses)):
        higher = [j for j in range(i) if losses[j] > losses[i]]
        if higher:
            before[i] = max(higher, key=lambda j: length[j])
            length[i] = length[before[i]] + 1
    return length, before


print(chains([5, 3, 4, 2, 1]))

# %% tags=["hide-input"]
assert chains([5, 3, 4, 2, 1]) == ([1, 2, 2, 3, 4], [None, 0, 0, 1, 3]), (
    "expected the lengths of the table above; was chains changed?"
)

# %% [markdown]
# Now with the range test's losses. We find the end of the longest chain, walk back along it, and take its middle.

# %%
length, before = chains(y.tolist())
chain = [length.index(max(length))]
while before[chain[-1]] is not None:
    chain.append(before[chain[-1]])
valley = x[chain[len(chain) // 2]].item()
print(
    f"a chain of {len(chain)} of {len(y)} losses; its middle is at {valley:.3g}"
)

# %% tags=["hide-input"]
assert_close(valley, result.suggestion.of("valley").rate)

# %% [markdown]
# ### One curve, three marks
#
# Here are all three on the curve.

# %% tags=["hide-input"]
figures.show(
    result.plot(),
    alt=(
        "The range test's curve with three marks on its falling stretch: the"
        " valley's middle, the steepest point, and a tenth of the minimum."
        f" {' '.join(str(result.suggestion).split())}"
    ),
)

# %%
print(result)
low, high = result.suggestion.range

# %% tags=["hide-input"]
results.record(
    suggested=result.rate, low=low, high=high, range_factor=high / low
)

# %% [markdown]
# The rules do not agree, and that is honest. On this page a factor of {{range_factor:.0f}} lies between {{low:.2g}} and
# {{high:.2g}}, and `result.rate`, the middle one of the three, is {{suggested:.2g}}. Take the range as the answer, and
# the one number as a place to begin. (The test also says how often it went through its pictures. Ours are few,
# because the trainings below are short; with your own, use them all.)
#
# ## Were the rules right?
#
# A rule is worth what training says. So we train for a moment with seven rates from 0.001 to 1, the three marks among
# them.
#
# **Predict first.** Which of the three rules will have found the best rate for a short training?

# %%
tried = sorted(
    [1e-3, 0.01, 0.1, 1.0, *(answer.rate for answer in result.answers)]
)
accuracies = {rate: one_epoch(*fresh(), rate=rate) for rate in tried}
best = max(accuracies, key=accuracies.get)
for rate, accuracy in accuracies.items():
    print(f"rate {rate:<6.2g} {figures.percent(accuracy)}")

# %% tags=["hide-input"]
with figures.style():
    figure, ax = plt.subplots(figsize=(7, 3))
    ax.plot(
        tried,
        [100 * accuracies[rate] for rate in tried],
        "o-",
        color=figures.BLUE,
    )
    for answer, colour in zip(
        result.answers, (figures.GREEN, figures.RED, figures.PURPLE)
    ):
        ax.axvline(answer.rate, color=colour, linestyle="--")
        foot = (answer.rate, ax.get_ylim()[0])
        ax.annotate(
            answer.rule,
            foot,
            (-3, 4),
            textcoords="offset points",
            rotation=90,
            ha="right",
        )
    ax.set(
        xscale="log", xlabel="learning rate", ylabel="validation accuracy in %"
    )
    ax.set_title(
        f"After one epoch {best:.2g} is ahead, with"
        f" {figures.percent(accuracies[best])}"
    )
figures.show(
    figure,
    alt=(
        "Validation accuracy after one epoch against the learning rate, seven"
        " rates. Three dashed lines carry the names of the rules. "
    )
    + ", ".join(
        f"{rate:.2g}: {figures.percent(accuracy)}"
        for rate, accuracy in accuracies.items()
    ),
)

# %% tags=["hide-input"]
rule = max(result.answers, key=lambda answer: accuracies[answer.rate])
middle_accuracy = accuracies[
    sorted(answer.rate for answer in result.answers)[1]
]
inside = [
    accuracy for rate, accuracy in accuracies.items() if low <= rate <= high
]
outside = [
    accuracy for rate, accuracy in accuracies.items() if not low <= rate <= high
]

# %% tags=["hide-input"]
middle = next(each for each in result.answers if each.rate == result.rate)
shown = figures.percent(accuracies[rule.rate])
if middle is rule:
    best_rule = f"{rule.rule}, the middle one, did best, with {shown}"
else:
    best_rule = (
        f"{rule.rule} did best, with {shown}; the middle one, {middle.rule},"
        f" reached {figures.percent(middle_accuracy)}"
    )
print(
    "Every rate inside the range did better than every one outside."
    if min(inside) > max(outside)
    else "Not every rate inside the range did better than those outside."
)
results.record(best_rule=best_rule)
results.record(
    ".1%",
    best_accuracy=accuracies[best],
    worst_inside=min(inside),
    best_outside=max(outside),
    crawl_accuracy=accuracies[1e-3],
    wild_accuracy=accuracies[1.0],
)
results.record(".2g", best_rate=best)
assert middle_accuracy > max(accuracies[1e-3], accuracies[1.0]), (
    "The middle rule should do better than 0.001 and 1."
)

# %% [markdown]
# On this page, of the three rules, {{best_rule}}. The best of all seven rates tried, {{best_rate:.2g}}, reached
# {{best_accuracy:.1%}}. The worst rate inside the range reached {{worst_inside:.1%}}, the best one outside
# {{best_outside:.1%}}; 0.001 crawls, with {{crawl_accuracy:.1%}}, and 1 is too wild, with {{wild_accuracy:.1%}}. One
# epoch with one seed cannot rank neighbours. In a longer training a smaller rate has more time, so the valley's
# cautious answer may gain.
#
# ## Does Adam need a rate?
#
# Adam divides every step by the size of its gradients (lesson 4 writes it by hand), so you may hear that it needs no
# tuning: "just take 0.001". **Predict first.** The same short training with Adam, with six rates. Will they end
# alike? And will its best rate be that of SGD?

# %%
adam_accuracies = {}
for rate in (1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0):
    model, batches, _ = fresh()
    adam = torch.optim.Adam(model.parameters())
    adam_accuracies[rate] = one_epoch(model, batches, adam, rate=rate)
model, batches, _ = fresh()
adam = torch.optim.Adam(model.parameters())
adam_test = learning_rate.range_test(model, batches, adam, steps=steps)
print("Adam,", adam_test)

# %% tags=["hide-input"]
adam_best = max(adam_accuracies, key=adam_accuracies.get)
with figures.style():
    figure, ax = plt.subplots(figsize=(7, 3))
    for name, found, style, colour in (
        ("SGD, momentum 0.9", accuracies, "o-", figures.BLUE),
        ("Adam", adam_accuracies, "s--", figures.ORANGE),
    ):
        shares = [100 * share for share in found.values()]
        ax.plot(list(found), shares, style, color=colour, label=name)
    if adam_test.suggestion.clear:
        ax.axvline(
            adam_test.rate,
            color=figures.ORANGE,
            linestyle=":",
            label="Adam's range test",
        )
    ax.set(
        xscale="log", xlabel="learning rate", ylabel="validation accuracy in %"
    )
    ax.set_title(f"Adam needs a rate too: best {adam_best:g}, SGD's {best:.2g}")
    ax.legend(loc="upper left")
figures.show(
    figure,
    alt=(
        "Validation accuracy after one epoch against the learning rate, for"
        " SGD and for Adam; both curves rise and fall again. Adam: "
        + ", ".join(
            f"{rate:g} {figures.percent(share)}"
            for rate, share in adam_accuracies.items()
        )
        + "."
    ),
)
worst_adam = min(adam_accuracies.values())
assert adam_accuracies[adam_best] > worst_adam + 0.2, (
    "expected the rate to matter for Adam as well"
)
results.record(
    ".1%",
    adam_usual=adam_accuracies[1e-3],
    adam_highest=adam_accuracies[adam_best],
    adam_lowest=worst_adam,
)
results.record(".2g", adam_best=adam_best)
adam_answer = (
    f"and the range test answers {adam_test.rate:.2g}"
    if adam_test.suggestion.clear
    else "and the range test gives no clear answer"
)
results.record(adam_answer=adam_answer)

# %% [markdown]
# <details><summary>Answer</summary>
#
# On this page its accuracy lies between {{adam_lowest:.1%}} and {{adam_highest:.1%}}, so it does need a good rate:
# what Adam evens out is the size of the *gradients*, and the rate itself is now the size of a step. The best of these
# rates is {{adam_best}}; the usual 0.001 gave {{adam_usual:.1%}}, {{adam_answer}} (the dotted line). A rate that
# suits SGD need not suit Adam: test each optimizer by itself.
#
# </details>
#
# ## Curves that say nothing
#
# A test that always answers is not to be trusted. What would you read off these four?

# %% tags=["hide-input"]
model, batches, optimizer = fresh()
guesses = torch.Generator().manual_seed(settings.seed)


def random_labels(logits, labels):
    return F.cross_entropy(
        logits,
        torch.randint(0, 10, labels.shape, generator=guesses).to(labels.device),
    )


# %%
unclear = {
    "ends too early": learning_rate.range_test(
        model, batches, optimizer, end=1e-2, steps=100
    ),
    "begins too late": learning_rate.range_test(
        model, batches, optimizer, start=3.0, end=1e4, steps=100
    ),
    "hardly moves": learning_rate.range_test(
        model, batches, optimizer, end=1e-5, steps=100
    ),
    "labels are random": learning_rate.range_test(
        model, batches, optimizer, random_labels, steps=100
    ),
}

# %% tags=["hide-input"]
with figures.style():
    figure, axes = plt.subplots(2, 2, figsize=(8.4, 4.6))
    for ax, (name, test) in zip(axes.flat, unclear.items()):
        ax.plot(
            test.rates,
            test.losses,
            color=figures.SKY,
            linewidth=0.8,
            label="each batch",
        )
        ax.plot(test.rates, test.smoothed, color=figures.BLUE, label="smoothed")
        ax.set(
            xscale="log",
            xlabel="learning rate",
            ylabel="training loss",
            title=name,
        )
        ax.xaxis.set_minor_formatter(NullFormatter())
        if test.rates[-1] < 100 * test.rates[0]:  # powers of ten are too few
            ax.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
            ax.xaxis.set_major_formatter("{x:g}")
    axes[0, 0].legend(loc="lower left")
    figure.suptitle(
        "Four tests without a clear answer",
        x=0.01,
        ha="left",
        fontweight="bold",
    )
figures.show(
    figure,
    alt=(
        "Four curves of loss against rate: one that still falls at its right"
        " end, one that leaps up at its first steps, one that is flat, and"
        " one that never falls."
    ),
)

# %%
for name, test in unclear.items():
    print(textwrap.fill(f"{name}: {test.suggestion.problem}", 72))

# %% tags=["hide-input"]
assert not any(test.suggestion.clear for test in unclear.values()), (
    "none of the four should find a clear rate; did a setting change a lot?"
)

# %% [markdown]
# - *Ends too early*: the loss still falls at the last rate, so the best rate may lie beyond. Test further.
# - *Begins too late*: there is no flat part to compare with, for the first steps already make the loss leap up. Begin
#   at a smaller rate.
# - *Hardly moves*: the largest rate was too small to do anything; or nothing *can* move, because layers are frozen.
# - *Labels are random*: no rate brings it clearly below 2.30, the price of guessing evenly. There is nothing to learn
#   at any rate. Check the data.
#
# `suggestion` gives a reason instead of a number (the last two look alike to it, so it names both causes): it compares
# the fall with what chance alone does to an average of so many batches.
#
# ## Explore the settings
#
# Each move runs a whole range test, on a small dense network so that it takes a moment only. Find out:
#
# - what does no smoothing at all (β = 0) do to the three marks, and what does 0.99 do?
# - with how few steps does the curve still say something?
# - what do batches of 4 do?
#
# (Where no kernel runs, you see six settings.)

# %%
explored = widgets.lesson6.range_settings(train_part, settings.seed)
explored


# %% tags=["hide-input"]
def marks(**changed):
    test = explored.compute(**{**explored.first_values, **changed})
    if not test.suggestion.clear:
        return "no answer", "no answer", len(test.losses)
    steepest, tenth = (
        f"{test.suggestion.of(rule).rate:.2g}"
        for rule in ("steepest", "minimum / 10")
    )
    return steepest, tenth, len(test.losses)


usual, rough, calm, short = (
    marks(),
    marks(beta=0.0),
    marks(beta=0.99),
    marks(steps=30),
)
tiny = marks(size=4)
for name, found in {
    "usual": usual,
    "β = 0": rough,
    "β = 0.99": calm,
    "30 steps": short,
    "4 pictures": tiny,
}.items():
    print(
        f"{name:<10}  steepest {found[0]}, minimum / 10 {found[1]}, {found[2]}"
        " batches"
    )
results.record(
    usual_steepest=usual[0],
    usual_tenth=usual[1],
    usual_batches=usual[2],
    rough_steepest=rough[0],
    rough_tenth=rough[1],
    calm_steepest=calm[0],
    calm_tenth=calm[1],
    short_steepest=short[0],
    short_tenth=short[1],
    tiny_steepest=tiny[0],
    tiny_tenth=tiny[1],
    tiny_batches=tiny[2],
)

# %% [markdown]
# <details><summary>Answer</summary>
#
# - **No smoothing** moves a tenth of the minimum, on this page from {{usual_tenth}} to {{rough_tenth}}: the lowest
#   point is then the luckiest single batch. The steepest point (here {{rough_steepest}}) is the largest fall between
#   two neighbouring batches, a matter of luck.
# - **β = 0.99** makes the curve calmer and later. On this page its marks are {{calm_steepest}} (steepest) and
#   {{calm_tenth}}; those of 0.98 are {{usual_steepest}} and {{usual_tenth}}. Where the explosion ends the fall of both,
#   they are the same; elsewhere those of 0.99 lie further to the right. (Where so slow an average still falls at the
#   last rate, `suggestion` takes a quicker one, with β = 0.9.)
# - **30 steps** put the steepest point at {{short_steepest}}: each rate is about twice the one before, so the average
#   has hardly begun to fall when the rate is far ahead.
# - **Batches of 4** make the raw curve jump; here the test ended after {{tiny_batches}} batches, against
#   {{usual_batches}} before. A large step on a rough guess goes astray.
#
# </details>
#
# ## Exercises: finding the rate
#
# Replace the dots and run both cells. The second checks your answer: ✓ correct, ✗ wrong, with the first difference, or
# ○ not attempted. An answer must leave the tensors that it is given as they were.
#
# **A ladder.** Return `steps` rates from `start` to `end`, each the same number of times the one before, as a
# float32 tensor. From 1 to 1,000 in 4 steps it is 1, 10, 100, 1,000.


# %%
def rate_ladder(start, end, steps): ...


# %%
# Stuck? exercises.lesson6.rate_ladder.hint() helps a little,
# .solution() shows one way to do it
exercises.lesson6.rate_ladder.check(rate_ladder)

# %% [markdown]
# **A calm loss.** Return the losses, a float32 tensor (N,), as an exponential moving average with bias correction,
# float32 (N,). For losses of 4, 2, 3 and beta = 0.5 it is 4, 2.6667, 2.8571.


# %%
def calm_loss(losses, beta): ...


# %%
# Stuck? exercises.lesson6.calm_loss.hint() helps a little,
# .solution() shows one way to do it
exercises.lesson6.calm_loss.check(calm_loss)

# %% [markdown]
# **The steepest point.** Given rates and (smoothed) losses, float32 tensors (N,), return the rate at which the
# loss begins its steepest fall, measured along the *logarithm* of the rate, as a number.


# %%
def steepest_rate(rates, losses): ...


# %%
# Stuck? exercises.lesson6.steepest_rate.hint() helps a little,
# .solution() shows one way to do it
exercises.lesson6.steepest_rate.check(steepest_rate)

# %% [markdown]
# ## One cycle
#
# So far the rate stands still. But the valley had two truths: a large rate jumps over traps and gets near the bottom
# quickly, a small one can settle. Why not both, one after the other? That is the **one-cycle** schedule (Smith and
# Topin, arXiv:1708.07120; the numbers and waves below are fast.ai's, which PyTorch took over). Lessons 3 and 4 have
# used it already:
#
# - the rate **rises** from 1/25 of the highest for 30 % of the steps: at first the network is nowhere, and its
#   gradients are large and disagree;
# - then it **falls** to nearly 0, slowly at first, so that the network settles (in tutorials you will find "slightly
#   below its initial value": PyTorch's default ends 10,000 times below it);
# - **momentum** does the opposite, from 0.95 down to 0.85 and back: when steps are long, less of the past is carried
#   on.
#
# Both move along halves of a cosine wave: slow, fast, slow. The whole formula:


# %%
def half_wave(start, end, share):
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


def cycle(step, total, max_lr):
    top = 0.3 * total - 1  # the step with the highest rate
    if step <= top:
        share = step / top
        return half_wave(max_lr / 25, max_lr, share), half_wave(
            0.95, 0.85, share
        )
    share = (step - top) / (total - 1 - top)
    return half_wave(max_lr, max_lr / 25 / 10_000, share), half_wave(
        0.85, 0.95, share
    )


# %% [markdown]
# It is PyTorch's `OneCycleLR`, number for number. A throw-away optimizer with a single weight is enough to see what a
# schedule will do:

# %%
total = 120
weight = nn.Parameter(torch.zeros(1))
throw_away = torch.optim.SGD([weight], lr=0.1, momentum=0.9)
schedule = OneCycleLR(throw_away, max_lr=0.1, total_steps=total)
for step in range(total):
    group = throw_away.param_groups[0]
    assert_close((group["lr"], group["momentum"]), cycle(step, total, 0.1))
    assert_close(
        cycle(step, total, 0.1),
        learning_rate.one_cycle_values(step, total, 0.1),
    )
    throw_away.step()
    schedule.step()
print(
    f"{total} rates and momenta are the same; the first rate is"
    f" {cycle(0, total, 0.1)[0]:.3g}"
)

# %% [markdown]
# `learning_rate.preview` does this for any schedule, so draw one *before* you train with it:

# %%
plan = learning_rate.preview(
    learning_rate.one_cycle,
    batches,
    settings.epochs,
    rate=result.rate,
    name="one-cycle",
)

# %% tags=["hide-input"]
assert_close(plan.rates[0], result.rate / 25)
figures.show(
    learning_rate.plot_previews(
        [plan],
        "Up for 30 % of the steps,\nthen down to nearly 0; momentum mirrors it",
    ),
    alt=(
        "The one-cycle schedule over the epochs. Above, the learning rate rises"
        " along a wave for 30 % of the time and falls to nearly 0. Below,"
        " momentum falls from 0.95 to 0.85 and rises again."
    ),
)

# %% [markdown]
# ## Counting the steps
#
# A cycle must end when the training ends, so it has to know the number of *steps*, and that is the number of batches
# times the number of epochs. Three accidents are common.
#
# **Typed in, and wrong.** Somebody counts "about 15 batches" of 64 in 1,000 pictures. There are 16: the last one is
# smaller.

# %%
few = data.batches(train_part.take(1000, seed=settings.seed), 64)
throw_away = torch.optim.SGD([weight], lr=0.1, momentum=0.9)
schedule = OneCycleLR(throw_away, max_lr=0.1, total_steps=15 * 3)
try:
    for _ in range(3 * len(few)):
        throw_away.step()
        schedule.step()
except ValueError as error:
    print(told(error))

# %% [markdown]
# The error comes at the very end, perhaps after hours of training. The other way round is worse: count too *many*
# steps, and there is no error at all; the training just stops before the rate has come down, where the gain was to come
# from. `require_fit` says so before the first step, and `learning_rate.one_cycle` cannot get it wrong, because it asks
# the batches:

# %%
schedule = OneCycleLR(throw_away, max_lr=0.1, total_steps=15 * 3)
try:
    learning_rate.require_fit(schedule, few, epochs=3)
except ValueError as error:
    print(told(error))
schedule = learning_rate.one_cycle(throw_away, few, epochs=3)

# %% tags=["hide-input"]
assert (
    schedule.total_steps
    == learning_rate.total_steps(few, 3)
    == 3 * math.ceil(1000 / 64)
    == 48
), "three epochs of 16 batches should make 48 steps"

# %% [markdown]
# **In the wrong order.** The schedule's step belongs *after* the optimizer's. Before it, the first rate is skipped.
# PyTorch warns, once:

# %%
throw_away = torch.optim.SGD([weight], lr=0.1, momentum=0.9)
schedule = learning_rate.one_cycle(throw_away, few, epochs=3)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    schedule.step()
    throw_away.step()
messages = [
    str(each.message)
    for each in caught
    if "lr_scheduler.step" in str(each.message)
]
print(textwrap.fill("UserWarning: " + messages[0].split(". ")[0], 72))

# %% tags=["hide-input"]
assert len(messages) == 1, "PyTorch should warn of the wrong order once"

# %% [markdown]
# **Per epoch instead of per batch.** A schedule knows nothing of epochs. Step a one-cycle once an epoch, and it takes
# only a few of its steps: the rate never leaves the foot of its hill.

# %%
throw_away = torch.optim.SGD([weight], lr=0.1, momentum=0.9)
schedule = learning_rate.one_cycle(throw_away, few, epochs=3, max_lr=0.1)
seen = []
for _ in range(3):  # three epochs
    for _ in few:  # each batch
        throw_away.step()
        seen.append(throw_away.param_groups[0]["lr"])
    schedule.step()
print(f"highest rate used: {max(seen):.4f} instead of 0.1")

# %% tags=["hide-input"]
assert max(seen) < 0.01, (
    "a schedule stepped once an epoch should stay near its start"
)

# %% [markdown]
# The fix for all three: make the schedule from the loader, and let `training.fit(scheduler=…)` take its steps, after
# the optimizer's, every batch. Rerun a cell with a *used* schedule, and `require_fit` notices that too.
#
# ## A schedule that watches
#
# Most schedules follow the clock. `ReduceLROnPlateau` watches the validation loss, and multiplies the rate by a
# factor when the loss has not improved for more than `patience` epochs. That takes many epochs: in a short training
# whose loss improves every time it never acts, and is nothing but a constant rate. (In tutorials you will find
# `scheduler.step(test_loss)`. Then the test pictures help to train, and their figure flatters; watch the *validation*
# loss, as `training.fit` does.) So here is a long one, on so few pictures that the network learns them by heart, in
# batches of 50:

# %%
heart_part = train_part.take(500, seed=settings.seed)
heart_batches = data.batches(
    heart_part, 50, shuffle=True, seed=settings.seed, device=device
)
model, _, optimizer = fresh()
optimizer.param_groups[0]["lr"] = result.rate
watching = learning_rate.plateau(
    optimizer, heart_batches, epochs=25, factor=0.5, patience=2
)
by_heart = training.fit(
    model,
    heart_batches,
    validation,
    epochs=25,
    optimizer=optimizer,
    scheduler=watching,
    schedule_every="epoch",
    progress=False,
)

# %% tags=["hide-input"]
used = by_heart.learning_rates[:: len(heart_batches)]  # one an epoch
halvings = sum(a != b for a, b in itertools.pairwise(used))
assert halvings >= 1, "In 25 epochs by heart the rate should have been halved."
with figures.style():
    figure, (above, below) = plt.subplots(
        2, 1, figsize=(6.5, 3.8), sharex=True, height_ratios=(2, 1)
    )
    epochs_seen = range(1, len(used) + 1)
    above.plot(epochs_seen, by_heart.train_loss, label="training")
    above.plot(epochs_seen, by_heart.validation_loss, "--", label="validation")
    above.set(
        ylabel="loss",
        title=f"The rate was halved {halvings} times in 25 epochs",
    )
    above.legend()
    below.step(epochs_seen, used, where="mid", color=figures.GREEN)
    below.set(xlabel="epoch", ylabel="rate", yscale="log")
    below.minorticks_off()
    levels = sorted(set(used))
    below.set_yticks(levels, [f"{level:.2g}" for level in levels])
figures.show(
    figure,
    alt="Above, the training loss falls towards 0 while the validation loss "
    f"stops falling. Below, the learning rate comes down in {halvings} steps, "
    "each a half, after the validation loss has stood still for three epochs.",
)
results.record(halvings=halvings)

# %% [markdown]
# The rate comes down where the validation loss stands still: {{halvings}} times on this page. Below we compare
# schedules in trainings of {{epochs}} epochs, where there is no time to wait and see.
#
# ## Five ways to move
#
# | schedule | idea |
# | --- | --- |
# | constant | find a good rate and leave it |
# | step | divided by ten after half of the time, and again after three quarters |
# | cosine | half a cosine wave, from the highest rate to 0 |
# | warm-up, linear | up in a straight line for a tenth of the time, then straight down to 0: usual for large networks |
# | one-cycle | up for 30 % of the time, then down to nearly 0; momentum the other way |

# %%
makers = {
    "constant": learning_rate.constant,
    "step": learning_rate.step_decay,
    "cosine": learning_rate.cosine,
    "warm-up, linear": learning_rate.warmup_linear,
    "one-cycle": learning_rate.one_cycle,
}
model, batches, optimizer = fresh()
previews = [
    learning_rate.preview(
        make, batches, settings.epochs, rate=result.rate, name=name
    )
    for name, make in makers.items()
]

# %% tags=["hide-input"]
assert len({each.rates for each in previews}) == len(makers), (
    "no two schedules should be the same; are there too few steps?"
)
figures.show(
    learning_rate.plot_previews(
        previews,
        "Five plans for the same number of steps: four of them come down",
    ),
    alt="Five schedules side by side. Constant is a level line; step goes down "
    "twice by a factor of ten; cosine is one falling wave; warm-up is a short "
    "straight rise and a long straight fall; one-cycle rises and falls along "
    "waves. Below, momentum, which only one-cycle moves.",
)

# %% [markdown]
# ## Each schedule chooses its rate
#
# A comparison is only worth something against good opponents. If all five took the same rate, it might suit one of them
# better than the others. So each chooses its highest rate from a grid around the range test's answer, in steps of a
# factor of three, and the *validation* pictures decide, in trainings on half of the pictures. A choice is safe only if
# it has a neighbour on both sides and none is better, so the grid grows until that is so for all five.
#
# `learning_rate.compare` trains every schedule from the same first weights, on the same batches.
#
# **Predict first.** A constant rate stays to the end. One-cycle passes through its highest rate and leaves it again.
# Which of the two will prefer the larger rate?


# %%
def shuffled(part):
    return lambda seed: data.batches(
        part, settings.batch_size, shuffle=True, seed=seed, device=device
    )


half = train_part.take(len(train_part) // 2, seed=settings.seed)


def tried_at(rate):
    candidates = [
        learning_rate.Candidate(name, rate, make)
        for name, make in makers.items()
    ]
    return learning_rate.compare(
        candidates,
        network,
        shuffled(half),
        validation,
        epochs=settings.epochs,
        seeds=[settings.seed],
    )


def best_of(trials, name):
    scores = {rate: trial.mean(name) for rate, trial in trials.items()}
    return learning_rate.best_rate(scores)


trials = {rate: tried_at(rate) for rate in (result.rate, 3 * result.rate)}
while len(trials) < 8:
    bests = {best_of(trials, name) for name in makers}
    if max(trials) in bests:
        trials[3 * max(trials)] = tried_at(3 * max(trials))
    elif min(trials) in bests:
        trials[min(trials) / 3] = tried_at(min(trials) / 3)
    else:
        break

# %% tags=["hide-input"]
chosen = {name: best_of(trials, name) for name in makers}
print(f"{'highest rate':<16}", *(f"{rate:>7.2g}" for rate in sorted(trials)))
for name in makers:
    row = [
        f"{figures.percent(trials[rate].mean(name)):>7}"
        for rate in sorted(trials)
    ]
    print(f"{name:<16}", *row)
edges = {min(trials), max(trials)}
at_edge = [name for name, rate in chosen.items() if rate in edges]
print(
    f"At the edge of the grid: {', '.join(at_edge)}."
    if at_edge
    else "Each best rate has neighbours on both sides; none is better."
)
larger = chosen["one-cycle"] / chosen["constant"]
which = "the same" if larger == 1 else "a larger" if larger > 1 else "a smaller"
print(
    f"One-cycle chose {which} rate {'as' if larger == 1 else 'than'} constant."
)
top_rate = max(trials)
rules = {answer.rule: answer.rate for answer in result.answers}
closest = min(
    rules, key=lambda rule: abs(math.log(rules[rule] / chosen["one-cycle"]))
)
results.record(
    constant_rate=chosen["constant"],
    cycle_rate=chosen["one-cycle"],
    cycle_ratio=chosen["one-cycle"] / result.rate,
    closest_rule=closest,
    closest_rate=rules[closest],
    top_rate=top_rate,
    rates_tried=len(trials),
    at_edge=len(at_edge),
)
results.record(
    ".1%",
    constant_at_top=trials[top_rate].mean("constant"),
    cycle_at_top=trials[top_rate].mean("one-cycle"),
)

# %% [markdown]
# On this page the constant rate will be {{constant_rate:.2g}}, and one-cycle's highest {{cycle_rate:.2g}}, which is
# {{cycle_ratio:.2g}} times the range test's answer of {{suggested:.2g}}. Of the three rules, *{{closest_rule}}* came
# closest to that ({{closest_rate:.2g}}). On this page every schedule, even the constant one, does best at a higher rate
# than the range test's answer, although the late average has already pushed that up. The test asks where the loss falls
# fastest, and most of the fall is over before the large rates get their one step each. One-cycle only passes through
# its highest rate, so it may go further still. Take a range test as the place to begin, and look upwards from there,
# furthest for a one-cycle maximum. At the largest rate tried, {{top_rate:.2g}}, the constant rate got
# {{constant_at_top:.1%}} and one-cycle {{cycle_at_top:.1%}}.
#
# ## The comparison
#
# Same network, same pictures, same number of steps, and for each seed the same first weights and the same order of
# pictures. At the end each network sees the *test* pictures once. Nothing is decided on them; the comparison is the
# last thing we do.
#
# **Predict first.** Write down your order of the five, and a guess for the distance between the first and the last,
# in points of accuracy. And guess how far two *seeds* of the same schedule lie apart.

# %%
test = data.batches(
    clothes.test.take(at_most=settings.test_used, seed=settings.seed),
    1000,
    device=device,
)
candidates = [
    learning_rate.Candidate(name, chosen[name], make)
    for name, make in makers.items()
]
compared = learning_rate.compare(
    candidates,
    network,
    shuffled(train_part),
    validation,
    epochs=settings.epochs,
    seeds=range(settings.seed, settings.seed + settings.runs),
    judge=test,
)
print(compared)

# %% tags=["hide-input"]
finding = compared.finding("one-cycle", "constant")

# %% tags=["hide-input"]
figures.show(
    compared.plot(finding[0].upper() + finding[1:]),
    alt=(
        "Test accuracy of five schedules, a dot for each seed and a line for"
        f" the mean, the best on top. {finding}."
    ),
)

# %% tags=["hide-input"]
acted = {
    name: len(set(histories[0].learning_rates)) > 1
    for name, histories in compared.histories.items()
}
assert not acted.pop("constant") and all(acted.values()), (
    "A schedule that never acts cannot be ranked."
)
gains = compared.gains("one-cycle", "constant")
winner, *_, last = compared.ranking()
widest = max(compared.accuracies, key=compared.spread)
judged = len(test.part)
right = compared.mean("one-cycle")

# %% tags=["hide-input"]
results.record(
    finding=finding,
    runs=settings.runs,
    epochs=settings.epochs,
    winner=winner,
    last=last,
    widest=widest,
    one_cycle=compared.mean("one-cycle"),
    constant=compared.mean("constant"),
    gain=statistics.fmean(gains),
    smallest_gain=min(gains),
    largest_gain=max(gains),
    data=clothes.source.kind,
    test_pictures=judged,
    two_errors=2 * math.sqrt(right * (1 - right) / judged),
    distance_points=100 * (compared.mean(winner) - compared.mean(last)),
    spread_points=100 * compared.spread(widest),
    race_steps=learning_rate.total_steps(
        shuffled(train_part)(0), settings.epochs
    ),
)
assert compared.mean("one-cycle") > (
    0.84 if len(train_part) >= 50_000 else 0.7
), "did a setting change a lot?"

# %% [markdown]
# On this page, with {{runs}} seeds and {{epochs}} epochs each: {{finding}}. One-cycle got {{one_cycle:.1%}} of the test
# pictures right on average, the constant rate {{constant:.1%}}; the first is {{winner}}, the last {{last}},
# {{distance_points:.2f}} points apart. Compare that with luck: the seeds of *{{widest}}* lie up to
# {{spread_points:.2f}} points apart. A difference between two schedules that is smaller than that is not yet a result,
# whatever the order in the picture suggests; that is why the gain is counted seed by seed. (All networks see the same
# {{test_pictures:,}} pictures, so the sampling error, ± {{two_errors:.1%}} (two standard errors) for each figure, is
# mostly shared.)
#
# What may you take home? Not that one schedule is always best: this was one network, one set of pictures and one short
# budget, on this page {{race_steps}} steps. One-cycle spends nearly a third of its steps on the way up and the last
# ones at almost 0. Where there are few steps in all, as in the profile `quick` with {{quick.race_steps}}, that is a
# lot to give away. With more steps there may be more to gain from coming down at the end. So compare with *your*
# budget before you believe in a schedule.
#
# ## Explore your own schedule
#
# Now draw your own. Six sliders set the rate at the beginning, at each fifth, and at the end; *begin with* fills them
# in. *Start* trains two copies of the same network, yours and one-cycle's, in turn, while you can run other cells.
# (Where no kernel runs, you see three races: *falling*, *up and down* and *rising*, each against one-cycle.)
#
# **Predict first.** Which is worse for the end result: the largest steps at the beginning, or at the end?

# %%
torch.manual_seed(settings.seed)
racing = data.batches(
    train_part.take(2000, seed=settings.seed),
    64,
    shuffle=True,
    seed=settings.seed,
    device=device,
)

# %%
looked_at = data.batches(
    validation_part.take(500, seed=settings.seed), 500, device=device
)
widgets.lesson6.ScheduleRace(
    network(),
    list(racing),
    list(looked_at),
    max_lr=min(result.rate, 1.0),
    steps=settings.live_steps,
)

# %% [markdown]
# Three seeds of *falling* and *rising*, each a straight line between the highest rate and almost 0:

# %% tags=["hide-input"]
top = min(result.rate, 1.0)
lines = {"falling": (top, top / 1000), "rising": (top / 1000, top)}
drawn = [
    learning_rate.Candidate(
        name,
        top,
        lambda o, b, e, ends=ends: learning_rate.from_points(
            o,
            b,
            e,
            rates=[
                ends[0] + (ends[1] - ends[0]) * share / 20
                for share in range(21)
            ],
        ),
    )
    for name, ends in lines.items()
]
short = train_part.take(2000, seed=settings.seed)
ends_compared = learning_rate.compare(
    drawn,
    network,
    lambda seed: data.batches(
        short, 64, shuffle=True, seed=seed, device=device
    ),
    validation,
    epochs=3,
    seeds=range(settings.seed, settings.seed + 3),
)
print(ends_compared)
ends_finding = ends_compared.finding("falling", "rising")
moral = (
    "A plan that ends with its largest steps has no time left to settle after"
    " them; a plan that begins with them does."
    if min(ends_compared.gains("falling", "rising")) > 0
    else "So few seeds cannot tell the two apart."
)
print(textwrap.fill(moral, 72))
results.record(ends_finding=ends_finding, ends_moral=moral)

# %% [markdown]
# <details><summary>Answer</summary>
#
# On this page: {{ends_finding}}. {{ends_moral}}
#
# </details>
#
# **Experiment.** Can you draw one that beats one-cycle? By more than luck? The accuracies come from 500 pictures only,
# so 0.4 points are two pictures. (To be sure, compare it over several seeds, as above: `learning_rate.from_points` is
# your schedule as a scheduler.)
#
# ## Exercises: moving the rate
#
# **How many steps?** Return how many steps a schedule needs for so many pictures, batches of `size`, and epochs.
# The last batch of an epoch may be smaller; with `drop_last` it is left out. For 10,000 pictures, batches of 32 and 3
# epochs it is 939.


# %%
def cycle_steps(pictures, size, epochs, drop_last=False): ...


# %%
# Stuck? exercises.lesson6.cycle_steps.hint() helps a little,
# .solution() shows one way to do it
exercises.lesson6.cycle_steps.check(cycle_steps)

# %% [markdown]
# **One-cycle by heart.** Return the rate at `step` (from 0 to `total` − 1) of a one-cycle schedule with this
# highest rate: from 1/25 of it up to step 0.3 · total − 1, then down to 1/250,000 of it at the last step, both along
# half a cosine wave. Close the lesson's formula while you write.


# %%
def one_cycle_rate(step, total, max_lr): ...


# %%
# Stuck? exercises.lesson6.one_cycle_rate.hint() helps a little,
# .solution() shows one way to do it
exercises.lesson6.one_cycle_rate.check(one_cycle_rate)

# %% [markdown]
# **Losing patience.** Given the validation loss of each epoch (a list), return the rate *in use* in each epoch, as
# a float32 tensor. Once more than `patience` epochs in a row have brought no new best loss, the rate is multiplied by
# `factor` for the next epoch, and the count starts again. Losses of 1, 2, 2, 2 with rate 0.4, factor 0.5 and patience
# 1 give 0.4, 0.4, 0.4, 0.2.


# %%
def plateau_rates(losses, rate, factor, patience): ...


# %%
# Stuck? exercises.lesson6.plateau_rates.hint() helps a little,
# .solution() shows one way to do it
exercises.lesson6.plateau_rates.check(plateau_rates)

# %% [markdown]
# ## Quiz
#
# Choose an answer, and read why it is right or wrong; then read the others too. (In a copy without a kernel, unfold
# *Answers* below each question.)

# %%
exercises.lesson6.quiz.ask(1)

# %%
exercises.lesson6.quiz.ask(2)

# %%
exercises.lesson6.quiz.ask(3)

# %%
exercises.lesson6.quiz.ask(4)

# %% [markdown]
# ## What you learned
#
# - Too small a rate crawls and stays in the nearest trap; too large a rate jumps out. Near a bottom, a walk settles
#   only below a border, and a narrow valley has a lower one.
# - A range test asks all rates in one short run. Read it before its minimum, where the loss still falls; take a
#   range.
# - Smoothing makes a curve calm and late. A test must be able to say "no clear answer", and why.
# - After a test everything goes back: weights, buffers, optimizer, random state, modes.
# - One-cycle: up, then down to nearly 0, momentum the other way. Its steps come from the loader.
# - The optimizer steps first, then the schedule; batch by batch.
# - Use the same seeds for all, and compare every gain with the spread.
#
# ## Where the code lives
#
# | what you built | where it lives |
# | --- | --- |
# | the ladder, the smoothing, the range test | `learning_rate.geometric_rates`, `smooth`, `range_test` |
# | putting everything back, for any experiment | `training.restored` |
# | the three rules, the range, "no clear answer" | `learning_rate.suggest`, `valley` |
# | one-cycle's formula, and the scheduler | `learning_rate.one_cycle_values`, `one_cycle` |
# | the other schedules | `learning_rate.constant`, `step_decay`, `cosine`, `warmup_linear`, `plateau` |
# | drawing a schedule | `learning_rate.preview` |
# | counting steps, and refusing wrong counts | `learning_rate.total_steps`, `require_fit` |
# | the comparison | `learning_rate.compare`, `Candidate` |
# | your own schedule | `learning_rate.from_points` |
# | the sliders and the live race | `widgets.lesson6` |
# | the checks of your answers | `exercises.lesson6` |
#
# ## What next
#
# [Lesson 7](07_gpu_acceleration.ipynb) turns from "how few steps" to "how fast a step": the same network on a GPU. And
# take the range test with you: it works with any network, loss and optimizer, so the next time a tutorial says
# `lr=0.001`, measure.
