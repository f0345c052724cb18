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
# Every network of this course had a number that somebody chose: the learning rate. Too small, and training crawls.
# Too large, and the loss explodes. In this lesson you *measure* a good rate in a few seconds instead of guessing it,
# and then you let it move while the network trains, and find out with several seeds whether that is worth the
# trouble.
#
# **After this lesson you will be able to**
#
# - say what too small and too large a rate do, from a valley with one trap;
# - write a range test, read its curve with three rules, and see when a curve says nothing;
# - say what such a test spoils, and prove that everything was put back;
# - write down the one-cycle schedule, and count its steps so that it ends with the training;
# - compare schedules fairly: same network, same budget, several seeds, mean and spread.
#
# **You need** lessons 1 to 3. **Time:** on {{cores}} processor cores the cells ran in {{quick.seconds:.0f}} seconds
# with the profile `quick` (a few thousand pictures), and the run shown here in {{minutes:.1f}} minutes.
#
# ### Contents
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
# - [Curves that say nothing](#Curves-that-say-nothing)
# - [Explore the settings](#Explore-the-settings)
#
# **Moving the rate**
#
# - [One cycle](#One-cycle)
# - [Counting the steps](#Counting-the-steps)
# - [Five ways to move](#Five-ways-to-move)
# - [A constant rate, as good as it gets](#A-constant-rate,-as-good-as-it-gets)
# - [The race](#The-race)
# - [Explore your own schedule](#Explore-your-own-schedule)
#
# **To close**
#
# - [Exercises](#Exercises)
# - [Quiz](#Quiz)
# - [What you learned](#What-you-learned)
# - [Where the code lives](#Where-the-code-lives)
# - [What next](#What-next)

# %%
try:
    from course_utils import environment
except ImportError:  # on Colab, for example: install the course, and replace nothing
    import importlib
    import subprocess
    import sys

    course = "git+https://github.com/pixels-to-predictions/pixels-to-predictions"
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", course], check=True)
    importlib.invalidate_caches()
    from course_utils import environment
environment.prepare()  # installs what else is missing, and says so

import itertools
import math
import statistics
import warnings

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import OneCycleLR
from torch.testing import assert_close

from course_utils import data, exercises, figures, learning_rate, models, profiles, results, training, widgets

# %% [markdown]
# The settings worth changing. `None` means "as the profile says".

# %% tags=["parameters"]
profile = "auto"  # "quick" runs anywhere, "full" uses all pictures; "auto" chooses
seed = None  # start of the random numbers
pictures_used = None  # how many training pictures to use
test_used = None  # how many validation and how many test pictures, at most
batch_size = None  # pictures in one step
test_steps = None  # batches of a range test, at most
epochs = None  # epochs that each network of the race trains
runs = None  # seeds with which each schedule races
live_steps = None  # batches of each network in the race that you draw for

# %%
settings = profiles.load(
    "06", profile, seed=seed, pictures_used=pictures_used, test_used=test_used, batch_size=batch_size,
    test_steps=test_steps, epochs=epochs, runs=runs, live_steps=live_steps,
)  # fmt: skip
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


with figures.style():
    figure, ax = plt.subplots(figsize=(7, 2.6))
    x = torch.linspace(-4.5, 8.5, 500)
    ax.plot(x, height(x))
    ax.plot(-2.5, height(torch.tensor(-2.5)), "o", color=figures.RED, label="we start here")
    ax.set(xlabel="x", ylabel="height", title="Between the start and the bottom lies a trap")
    ax.legend()
figures.show(
    figure,
    alt="A wide valley with its bottom at x = 2. In its left side, at x = −1.5, is a narrow dent. A dot on the left, "
    "at x = −2.5, marks the start.",
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
assert abs(walk(0.03) - (-1.5)) < 0.1 and abs(walk(0.5) - 2) < 0.1
assert_close(walk(0.5), widgets.lesson6.walk(0.5, -2.5, 60).places[-1].item())

# %% [markdown]
# - 0.003 **crawls**: after 60 steps it is not even at the trap.
# - 0.03 falls into the **trap** and stays: every slope in there points to the trap's own bottom.
# - 0.5 reaches the true bottom. It *cannot* stay in the trap: a step there is longer than the trap is wide.
# - 9.5 **leaps out**: every step lands higher on the other side, and at the next the slope is steeper still.
#
# If you guessed that the smallest rate is the safest, you are in good company. It is the safest way to stay where you
# are. A rate decides not only how fast, but also *where* the walk ends: a larger one passes by narrow valleys.
#
# ## Explore the valley
#
# Move the rate slowly from left to right and watch for the borders: where does it begin to escape from the trap?
# Where does it stop coming down at all? Then start on the right side, at x = 6: which rates never see the trap?
# (Where no kernel runs, you see six rates.)

# %%
widgets.lesson6.valley_walk()

# %% [markdown]
# The borders can be computed. Near a bottom the slope grows in proportion to the distance, slope = c · distance, and
# a step multiplies the distance by 1 − rate · c. That shrinks only while rate < 2/c. In the wide valley c = 0.24,
# which gives 8.3. In the trap c is about 36, and the border is near 0.056. One landscape, two borders: no single
# number is "the" right rate, and a network's landscape has very many directions, each with its own.
#
# ## A network has a valley too
#
# The data is Fashion-MNIST, as in lesson 3, and the network is lesson 3's, with half as many channels so that we can
# train many of them.

# %%
clothes = data.load("fashion_mnist", seed=settings.seed)


def at_most(part, count):
    return part.take(count, seed=settings.seed) if count < len(part) else part


train_part = at_most(clothes.train, settings.pictures_used)
validation_part = at_most(clothes.validation, settings.test_used)
validation = data.batches(validation_part, 1000, device=device)
print(f"{len(train_part):,} training and {len(validation_part):,} validation pictures")


# %%
def network():
    return models.FashionNet(widths=(8, 16, 32)).to(device)


short_part = at_most(train_part, 20 * settings.batch_size)  # until the race, trainings are short


def fresh(part=short_part):
    """A network that knows nothing, its batches, and its optimizer: the same each time."""
    training.seed_everything(settings.seed)
    model = network()
    batches = data.batches(part, settings.batch_size, shuffle=True, seed=settings.seed, device=device)
    return model, batches, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


model, batches, optimizer = fresh()
print(f"{models.count_parameters(model):,} parameters, {len(batches)} batches of up to {settings.batch_size} pictures")

# %% [markdown]
# Which rate suits it? We could train with 0.001, 0.01, 0.1 and 1, and wait four times. Or ask all rates in *one*
# short run.
#
# ## The range test by hand
#
# Leslie Smith's idea (arXiv:1506.01186): start with a rate so small that nothing happens, make it larger **with every
# batch**, and watch the loss. First it stays, then it falls, and then it explodes. The falling stretch is where the
# network learns.
#
# From 1e-8 to 10 is a factor of a thousand million. In equal *differences* nearly all steps would lie above 0.1, so
# we take equal *factors*: a ladder whose rungs grow geometrically.

# %%
steps = settings.test_steps
factor = (10 / 1e-8) ** (1 / (steps - 1))
rates = [1e-8 * factor**i for i in range(steps)]
assert_close(rates, learning_rate.ladder(1e-8, 10, steps))
print(f"{steps} rates, each {factor:.3f} times the one before: {rates[0]:.0e}, {rates[1]:.1e} … {rates[-1]:.0f}")

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


assert_close(smoothed([2.3, 2.3, 2.3]), [2.3, 2.3, 2.3])  # without the correction it would start at 0.046
assert_close(smoothed([3.0, 1.0, 2.0]), learning_rate.smooth([3.0, 1.0, 2.0]))

# %% [markdown]
# And the test itself: the five lines of lesson 3, with the next rate set before each step, and a way to stop when the
# smoothed loss is more than four times its best. A loader that is too short is gone through again.


# %%
def climb(model, batches, optimizer, rates):
    losses, best = [], math.inf
    again_and_again = itertools.chain.from_iterable(itertools.repeat(batches))
    model.train()
    for rate, (images, labels) in zip(rates, again_and_again):
        optimizer.param_groups[0]["lr"] = rate
        loss = F.cross_entropy(model(images), labels)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
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
with figures.style():
    figure, ax = plt.subplots(figsize=(7, 3))
    ax.plot(rates[: len(losses)], losses, color=figures.SKY, linewidth=0.8, label="each batch")
    ax.plot(rates[: len(losses)], smoothed(losses), color=figures.BLUE, label="smoothed")
    ax.set(xscale="log", ylim=(0, 4), xlabel="learning rate", ylabel="training loss")
    ax.set_title(f"Flat at {losses[0]:.1f}, then down, then up: {len(losses)} batches tell the story")
    ax.legend(loc="lower left")
figures.show(
    figure,
    alt="Loss against learning rate, from 1e-8 to 10 on a logarithmic axis. The curve is flat for the small rates, "
    "falls between about 0.001 and 0.1, and rises again near 1. The smoothed curve follows the batches late.",
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
# **Predict first.** We train this network for an epoch, with a good rate, and a fresh one beside it. How far apart
# will they be?


# %%
def one_epoch(model, batches, optimizer, rate=0.03):
    optimizer.param_groups[0]["lr"] = rate
    batches.set_epoch(0)
    training.fit(model, batches, epochs=1, optimizer=optimizer, progress=False)
    return training.evaluate(model, validation).accuracy


largest = max(weight.abs().max().item() for weight in model.parameters())
variance = max(buffer.max().item() for name, buffer in model.named_buffers() if name.endswith("running_var"))
print(f"after the test: largest weight {largest:.3g}, largest batch-norm variance {variance:.3g}")
spoiled_accuracy = one_epoch(model, batches, optimizer)
fresh_accuracy = one_epoch(*fresh())
results.record(spoiled_accuracy=spoiled_accuracy, fresh_accuracy=fresh_accuracy)
assert fresh_accuracy > spoiled_accuracy

# %% [markdown]
# {{spoiled_accuracy:.1%}} against {{fresh_accuracy:.1%}} on validation, after the same epoch. Not a crash; just a
# network that is worse, for a reason that nobody would look for. Users of several libraries have met this (for
# example davidtvs/pytorch-lr-finder, issue 11). Here is everything that such a test changes:
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
# `learning_rate.range_test` is the same loop, and it puts all of that back, even when it is interrupted half way.
# First that it is the same: until the loss explodes, its losses are ours.

# %%
model, batches, optimizer = fresh()
result = learning_rate.range_test(model, batches, optimizer, steps=steps)
calm = losses.index(min(losses))  # later, the tiniest difference of rounding would grow
assert_close(list(result.losses[:calm]), losses[:calm], rtol=1e-3, atol=1e-4)
print(f"{calm} losses up to the lowest one are the same")

# %% [markdown]
# And now that nothing is left of it. The training after a test is, number for number, the training without one. Our
# network goes through a second test before that, interrupted in the middle, as you would do with the stop button.


# %%
calls = itertools.count(1)


def interrupted(logits, labels):
    if next(calls) == steps // 2:
        raise KeyboardInterrupt
    return F.cross_entropy(logits, labels)


torch.manual_seed(settings.seed)
draw = torch.rand(1)
torch.manual_seed(settings.seed)
try:
    learning_rate.range_test(model, batches, optimizer, interrupted, steps=steps)
except KeyboardInterrupt:
    print("interrupted in the middle")
assert torch.equal(torch.rand(1), draw)  # the random numbers go on where they were

# %%
after_tests = one_epoch(model, batches, optimizer)
if device == "cpu":  # a GPU adds up in changing order
    assert after_tests == fresh_accuracy
print(f"after two tests {after_tests:.4%}, without any {fresh_accuracy:.4%}")

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
x, y = torch.tensor(result.rates, dtype=torch.float64), torch.tensor(result.smoothed, dtype=torch.float64)
first = max(5, len(x) // 10)
lowest = first + y[first:].argmin().item()
slopes = y.diff() / x.log().diff()
steepest = x[first + slopes[first:lowest].argmin()].item()
tenth = x[lowest].item() / 10
assert_close(steepest, result.suggestion.of("steepest").rate)
assert_close(tenth, result.suggestion.of("minimum / 10").rate)
print(f"steepest {steepest:.3g}, a tenth of the minimum {tenth:.3g}")

# %% [markdown]
# The valley asks for the longest chain of losses, from left to right, of which each is below the one before. For each
# loss: the best chain that ends here is one longer than the best chain that ends at some earlier, higher loss.

# %%
length, before = [1] * len(y), [None] * len(y)
for i in range(len(y)):
    higher = [j for j in range(i) if y[j] > y[i]]
    if higher:
        before[i] = max(higher, key=lambda j: length[j])
        length[i] = length[before[i]] + 1
chain = [max(range(len(y)), key=lambda i: length[i])]
while before[chain[-1]] is not None:
    chain.append(before[chain[-1]])
valley = x[chain[len(chain) // 2]].item()
assert_close(valley, result.suggestion.of("valley").rate)
print(f"a chain of {len(chain)} of {len(y)} losses; its middle is at {valley:.3g}")

# %%
figures.show(
    result.plot(),
    alt="The range test's curve with three marks on its falling stretch: the valley's middle, the steepest point, and "
    f"a tenth of the minimum. {result.suggestion}",
)
print(result)
low, high = result.suggestion.range
results.record(suggested=result.rate, low=low, high=high)

# %% [markdown]
# The rules do not agree, and that is honest: between {{low:.2g}} and {{high:.2g}} lies a factor of several, and any
# rate in there trains. `result.rate` is the middle one of the three, {{suggested:.2g}}. Take the range as the answer,
# and the one number as a place to begin.
#
# ## Were the rules right?
#
# A rule is worth what training says. So we train for a moment with rates across the whole ladder, and look at where
# the three marks lie.
#
# **Predict first.** Which of the three rules will have found the best rate for a short training?

# %%
tried = sorted([1e-3, 0.01, 1.0, *(candidate.rate for candidate in result.candidates)])
accuracies = {rate: one_epoch(*fresh(), rate=rate) for rate in tried}
best = max(accuracies, key=accuracies.get)
with figures.style():
    figure, ax = plt.subplots(figsize=(7, 3))
    ax.plot(tried, [100 * accuracies[rate] for rate in tried], "o-", color=figures.BLUE)
    for candidate, colour in zip(result.candidates, (figures.GREEN, figures.RED, figures.PURPLE)):
        ax.axvline(candidate.rate, color=colour, linestyle="--", label=candidate.rule)
    ax.set(xscale="log", xlabel="learning rate", ylabel="validation accuracy in %")
    ax.set_title(f"After one epoch {best:.2g} is ahead, with {accuracies[best]:.1%}")
    ax.legend(loc="lower center")
figures.show(
    figure,
    alt="Validation accuracy after one epoch against the learning rate, six rates. Dashed lines mark the three rules. "
    + ", ".join(f"{rate:.2g}: {accuracy:.1%}" for rate, accuracy in accuracies.items()),
)

# %%
rule = max(result.candidates, key=lambda candidate: accuracies[candidate.rate])
middle_accuracy = accuracies[sorted(candidate.rate for candidate in result.candidates)[1]]
results.record(
    best_rule=rule.rule, best_rate=best, best_accuracy=accuracies[best],
    middle_accuracy=middle_accuracy, crawl_accuracy=accuracies[1e-3], wild_accuracy=accuracies[1.0],
)  # fmt: skip
assert middle_accuracy > max(accuracies[1e-3], accuracies[1.0])

# %% [markdown]
# Of the three rules, **{{best_rule}}** did best here. The middle one, which we shall use, reached
# {{middle_accuracy:.1%}}; the best of all six rates tried reached {{best_accuracy:.1%}}. Outside the range it looks
# different: {{crawl_accuracy:.1%}} at 0.001, which crawls, and {{wild_accuracy:.1%}} at 1, which is too wild. One
# epoch with one seed cannot rank neighbours, but it can tell the range from the rest. In a longer training a smaller
# rate has more time, so the valley's cautious answer may gain.
#
# ## Curves that say nothing
#
# A test that always answers is not to be trusted. What would you read off these four?

# %%
model, batches, optimizer = fresh()
guesses = torch.Generator().manual_seed(settings.seed)


def random_labels(logits, labels):
    return F.cross_entropy(logits, torch.randint(0, 10, labels.shape, generator=guesses).to(labels.device))


unclear = {
    "ends too early": learning_rate.range_test(model, batches, optimizer, end=1e-2, steps=100),
    "begins too late": learning_rate.range_test(model, batches, optimizer, start=3.0, end=1e4, steps=100),
    "hardly moves": learning_rate.range_test(model, batches, optimizer, end=1e-5, steps=100),
    "labels are random": learning_rate.range_test(model, batches, optimizer, random_labels, steps=100),
}

# %%
with figures.style():
    figure, axes = plt.subplots(2, 2, figsize=(8.4, 4.6))
    for ax, (name, test) in zip(axes.flat, unclear.items()):
        ax.plot(test.rates, test.losses, color=figures.SKY, linewidth=0.8)
        ax.plot(test.rates, test.smoothed, color=figures.BLUE)
        ax.set(xscale="log", xlabel="learning rate", ylabel="training loss", title=name)
    figure.suptitle("Four tests without a clear answer", x=0.01, ha="left", fontweight="bold")
figures.show(
    figure,
    alt="Four curves of loss against rate: one that still falls at its right end, one that begins high, one that is "
    "flat, and one that never falls.",
)
for name, test in unclear.items():
    print(f"{name}: {test.suggestion.problem}")
assert not any(test.suggestion.clear for test in unclear.values())

# %% [markdown]
# - *Ends too early*: the loss still falls at the last rate, so the best rate may lie beyond. Test further.
# - *Begins too late*: there is no flat part to compare with. Begin at a smaller rate.
# - *Hardly moves*: the largest rate was too small to do anything; or nothing *can* move, because layers are frozen.
# - *Labels are random*: no rate brings it down. There is nothing to learn at any rate. Check the data.
#
# `suggestion` calls each of them by its reason instead of giving a number: it compares the fall with what chance
# alone does to an average of so many batches.
#
# ## Explore the settings
#
# Each move runs a whole range test, on a small dense network so that it takes a moment only. Find out:
#
# - what does no smoothing at all (β = 0) do to the steepest point, and 0.99 to the delay?
# - with how few steps does the curve still say something?
# - what do batches of 4 do?
#
# (Where no kernel runs, you see six settings.)

# %%
widgets.lesson6.range_settings(train_part, settings.seed)

# %% [markdown]
# Without smoothing the steepest "point" is just the largest leap between two batches. Strong smoothing and few steps
# move the steepest point and the minimum to the right, because the curve comes late. Small batches make the raw curve
# jump, and shift the explosion to the left: a gradient from four pictures is a rough guess, and a large step on a
# rough guess goes astray.
#
# ## One cycle
#
# So far the rate stands still. But the valley had two truths: a large rate leaps over traps and gets near the bottom
# quickly, a small one can settle. Why not both, one after the other? That is the **one-cycle** schedule (Smith and
# Topin, arXiv:1708.07120), which lesson 3 used without a word:
#
# - the rate **rises** from 1/25 of the highest for 30 % of the steps: at first the network is nowhere, and its
#   gradients are large and disagree;
# - then it **falls** to nearly 0, slowly at first, so that the network settles;
# - **momentum** does the opposite, from 0.95 down to 0.85 and back: when steps are long, less of the past is carried
#   on.
#
# Both move along halves of a cosine wave: slow, fast, slow. The whole formula:


# %%
def half_wave(start, end, share):
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


def cycle(step, total, highest):
    top = 0.3 * total - 1  # the step with the highest rate
    if step <= top:
        share = step / top
        return half_wave(highest / 25, highest, share), half_wave(0.95, 0.85, share)
    share = (step - top) / (total - 1 - top)
    return half_wave(highest, highest / 25 / 10_000, share), half_wave(0.85, 0.95, share)


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
    assert_close(cycle(step, total, 0.1), learning_rate.one_cycle_values(step, total, 0.1))
    throw_away.step()
    schedule.step()
print(f"{total} rates and momenta are the same; the first rate is {cycle(0, total, 0.1)[0]:.3g}")

# %% [markdown]
# `learning_rate.preview` does this for any schedule, so draw one *before* you train with it:

# %%
plan = learning_rate.preview(learning_rate.one_cycle, batches, settings.epochs, rate=result.rate, name="one-cycle")
assert_close(plan.rates[0], result.rate / 25)
figures.show(
    plan.plot(),
    alt="The one-cycle schedule over the epochs. Above, the learning rate rises along a wave for 30 % of the time and "
    "falls to nearly 0. Below, momentum falls from 0.95 to 0.85 and rises again.",
)

# %% [markdown]
# ## Counting the steps
#
# A cycle must end when the training ends, so it has to know the number of *steps*, and that is the number of batches
# times the number of epochs. Most trouble with schedules is trouble with this count. Three accidents.
#
# **Typed in, and wrong.** Somebody reckons 1,000 pictures in batches of 64, "about 15 batches". There are 16: the
# last one is smaller.

# %%
few = data.batches(train_part.take(1000, seed=settings.seed), 64)
throw_away = torch.optim.SGD([weight], lr=0.1, momentum=0.9)
schedule = OneCycleLR(throw_away, max_lr=0.1, total_steps=15 * 3)
try:
    for _ in range(3 * len(few)):
        throw_away.step()
        schedule.step()
except ValueError as error:
    print(type(error).__name__, "-", error)

# %% [markdown]
# The error comes at the very end, perhaps after hours of training. The other way round is worse: reckon too *many*
# steps, and there is no error at all; the training just stops before the rate has come down, where the gain was to
# be. `require_fit` says so before the first step, and `learning_rate.one_cycle` cannot get it wrong, because it asks
# the batches:

# %%
schedule = OneCycleLR(throw_away, max_lr=0.1, total_steps=15 * 3)
try:
    learning_rate.require_fit(schedule, few, epochs=3)
except ValueError as error:
    print(type(error).__name__, "-", error)
schedule = learning_rate.one_cycle(throw_away, few, epochs=3)
assert schedule.total_steps == learning_rate.total_steps(few, 3) == 3 * math.ceil(1000 / 64) == 48

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
(warning,) = [each for each in caught if "lr_scheduler.step" in str(each.message)]
print(type(warning.message).__name__, "-", str(warning.message).split(". ")[0])

# %% [markdown]
# **Per epoch instead of per batch.** A schedule knows nothing of epochs. Step a one-cycle once an epoch and it makes
# a few of its steps: the rate never leaves the foot of its hill.

# %%
throw_away = torch.optim.SGD([weight], lr=0.1, momentum=0.9)
schedule = learning_rate.one_cycle(throw_away, few, epochs=3, highest=0.1)
seen = []
for _ in range(3):
    for _ in few:
        throw_away.step()
        seen.append(throw_away.param_groups[0]["lr"])
    schedule.step()
print(f"highest rate used: {max(seen):.4f} instead of 0.1")
assert max(seen) < 0.01

# %% [markdown]
# The mend for all three: make the schedule from the loader, and let `training.fit(scheduler=…)` take its steps, after
# the optimizer's, every batch. Rerun a cell with a *used* schedule, and `require_fit` notices that too.
#
# ## Five ways to move
#
# | schedule | idea | decided by |
# | --- | --- | --- |
# | constant | find a good rate and leave it | nobody |
# | step | a tenth, after a half and after three quarters of the time | the clock |
# | plateau | half, when the validation loss has not improved for a while | the validation loss |
# | warm restarts | half a cosine wave down, up again at once, down twice as slowly (arXiv:1608.03983) | the clock |
# | one-cycle | up, then down to nearly 0 | the clock |
#
# `ReduceLROnPlateau`'s usual patience is 10 epochs. Our trainings are shorter than that, so here it loses patience
# after one epoch without progress.

# %%
makers = {
    "constant": learning_rate.constant,
    "step": learning_rate.steps_down,
    "plateau": lambda o, b, e: learning_rate.plateau(o, b, e, factor=0.5, patience=0),
    "warm restarts": learning_rate.warm_restarts,
    "one-cycle": learning_rate.one_cycle,
}
previews = [
    learning_rate.preview(make, batches, settings.epochs, rate=result.rate, name=name) for name, make in makers.items()
]
figures.show(
    learning_rate.plot_previews(previews, "Five plans for the same number of steps: four of them come down"),
    alt="Five schedules side by side. Constant is a level line; step goes down twice by a factor of ten; plateau is "
    "halved when the assumed loss no longer falls; warm restarts are two falling waves, the second twice as long; "
    "one-cycle rises and falls. Below, momentum, which only one-cycle moves.",
)

# %% [markdown]
# (What the plateau does depends on the losses to come. The picture assumes that they stop falling after a third.)
#
# ## A constant rate, as good as it gets
#
# A race is only worth something against a good opponent. So the constant rate may choose: we try three, around the
# range test's answer, and the *validation* pictures decide. The highest rate of one-cycle may choose among the same
# three, or it would not be fair. The other schedules take the range test's answer as it is.
#
# **Predict first.** One of the two passes through its highest rate and leaves it again. Which will prefer the larger
# rate?

# %%
rates = (result.rate / 3, result.rate, 3 * result.rate)
chosen = {}
for name in ("constant", "one-cycle"):
    scores = {}
    for rate in rates:
        model, batches, optimizer = fresh(train_part)
        optimizer.param_groups[0]["lr"] = rate
        schedule = makers[name](optimizer, batches, settings.epochs)
        training.fit(model, batches, epochs=settings.epochs, optimizer=optimizer, scheduler=schedule, progress=False)
        scores[rate] = training.evaluate(model, validation).accuracy
    chosen[name] = learning_rate.best_rate(scores)
    print(name, ", ".join(f"{rate:.3g}: {score:.2%}" for rate, score in scores.items()), "on validation")
results.record(constant_rate=chosen["constant"], cycle_rate=chosen["one-cycle"])

# %% [markdown]
# The constant rate will be {{constant_rate:.2g}}, and one-cycle's highest {{cycle_rate:.2g}}. A rate that one must
# live with to the end has to be modest; a rate that one only passes through may be bolder. (With few pictures to decide
# on, as in the profile `quick`, luck may choose otherwise.)
#
# ## The race
#
# Same network, same pictures, same number of steps, and for each seed the same first weights and the same order of
# pictures. At the end each network sees the *test* pictures once. Nothing is decided on them; the race is the last
# thing we do.
#
# **Predict first.** Write down your order of the five, and a guess for the distance between the first and the last,
# in points of accuracy. And guess how far two *seeds* of the same schedule lie apart.

# %%
test = data.batches(at_most(clothes.test, settings.test_used), 1000, device=device)
runners = [learning_rate.Runner(name, chosen.get(name, result.rate), make) for name, make in makers.items()]
race = learning_rate.race(
    runners,
    network,
    lambda seed: data.batches(train_part, settings.batch_size, shuffle=True, seed=seed, device=device),
    validation,
    epochs=settings.epochs,
    seeds=range(settings.seed, settings.seed + settings.runs),
    judge=test,
)
print(race)

# %%
finding = race.finding("one-cycle", "constant")
figures.show(
    race.plot(finding[0].upper() + finding[1:]),
    alt=f"Test accuracy of five schedules, a dot for each seed and a line for the mean, the best on top. {finding}.",
)
gains = race.gains("one-cycle", "constant")
widest = max(race.accuracies, key=race.spread)
results.record(
    finding=finding, runs=settings.runs, epochs=settings.epochs, winner=race.ranking()[0], last=race.ranking()[-1],
    one_cycle=race.mean("one-cycle"), constant=race.mean("constant"), gain=statistics.fmean(gains),
    distance=race.mean(race.ranking()[0]) - race.mean(race.ranking()[-1]), widest=widest,
    smallest_gain=min(gains), largest_gain=max(gains), widest_spread=race.spread(widest), data=clothes.source.kind,
)  # fmt: skip
assert race.mean("one-cycle") > (0.84 if len(train_part) >= 50_000 else 0.7), "did a setting change a lot?"

# %% [markdown]
# With {{runs}} seeds and {{epochs}} epochs each: {{finding}}. One-cycle reached {{one_cycle:.2%}} of the test
# pictures on average, the best constant rate {{constant:.2%}}.
#
# The winner is {{winner}}, the last {{last}}, {{distance:.2%}} of the pictures apart. Now hold that against luck: two
# seeds of *{{widest}}* lie {{widest_spread:.2%}} apart. A difference between two schedules that is smaller than such
# a spread is not yet a result, whatever the picture's order suggests; that is why the gain is counted seed by seed.
#
# What may you take home? Not that one schedule is always best: this was one network, one set of pictures and one,
# short, budget. One-cycle spends a third of its steps on the way up and the last ones at almost 0. Where there are
# only a few dozen steps in all, as in the profile `quick`, that is a lot to give away. The more steps there are, the
# more there is to gain from coming down at the end. So run such a race with *your* budget before you believe in a
# schedule, and count its gain seed by seed.
#
# ## Explore your own schedule
#
# Now draw your own. Six sliders set the rate at the beginning, at each fifth, and at the end; *begin with* fills them
# in. *Start* trains two copies of the same network, yours and one-cycle's, in turn, while you can run other cells.
# (Where no kernel runs, you see three races.)
#
# **Predict first.** Which is worse for the end result: a rate that is too large at the beginning, or at the end?

# %%
torch.manual_seed(settings.seed)
racing = data.batches(train_part.take(2000, seed=settings.seed), 64, shuffle=True, seed=settings.seed, device=device)
looked_at = data.batches(validation_part.take(500, seed=settings.seed), 500, device=device)
widgets.lesson6.ScheduleRace(
    network(), list(racing), list(looked_at), highest=min(result.rate, 1.0), steps=settings.live_steps
)

# %% [markdown]
# Look at the right-hand chart's last points. *Upside down* is slow in the middle and ends with its largest steps: how
# far behind is it? Can you draw one that beats one-cycle? By more than luck? (Then you would have to race it with
# several seeds, as above: `learning_rate.drawn` is your schedule as a scheduler.)
#
# ## Exercises
#
# Replace the dots and run the cells. Each stub runs as it is, so that *Run All* always finishes.
#
# The cell after each stub checks your answer: ✓ correct, ✗ wrong, with the first difference, or ○ not attempted. An
# answer must leave the tensors that it is given as they were.
#
# **1. A ladder.** Return `steps` rates from `start` to `end`, each the same number of times the one before, as a
# float32 tensor. From 1 to 1,000 in 4 steps it is 1, 10, 100, 1,000.


# %%
def rate_ladder(start, end, steps): ...


# %%
# Stuck? exercises.lesson6.rate_ladder.hint() helps a little, .solution() shows one way to do it
exercises.lesson6.rate_ladder.check(rate_ladder)

# %% [markdown]
# **2. A calm loss.** Return the losses, a float32 tensor (N,), as an exponential moving average with bias correction,
# float32 (N,). For losses of 4, 2, 3 and beta = 0.5 it is 4, 2.6667, 2.8571.


# %%
def smoothed(losses, beta): ...


# %%
# Stuck? exercises.lesson6.smoothed.hint() helps a little, .solution() shows one way to do it
exercises.lesson6.smoothed.check(smoothed)

# %% [markdown]
# **3. The steepest point.** Given rates and (smoothed) losses, float32 tensors (N,), return the rate at which the
# loss begins its steepest fall, measured along the *logarithm* of the rate, as a number.


# %%
def steepest_rate(rates, losses): ...


# %%
# Stuck? exercises.lesson6.steepest_rate.hint() helps a little, .solution() shows one way to do it
exercises.lesson6.steepest_rate.check(steepest_rate)

# %% [markdown]
# **4. How many steps?** Return how many steps a schedule needs for so many pictures, batches of `size`, and epochs.
# The last batch of an epoch may be smaller; with `drop_last` it is left out. For 10,000 pictures, batches of 32 and 3
# epochs it is 939.


# %%
def cycle_steps(pictures, size, epochs, drop_last=False): ...


# %%
# Stuck? exercises.lesson6.cycle_steps.hint() helps a little, .solution() shows one way to do it
exercises.lesson6.cycle_steps.check(cycle_steps)

# %% [markdown]
# **5. One-cycle by heart.** Return the rate at `step` (from 0 to `total` − 1) of a one-cycle schedule with this
# highest rate: from 1/25 of it up to step 0.3 · total − 1, then down to 1/250,000 of it at the last step, both along
# half a cosine wave. Close the lesson's formula while you write.


# %%
def one_cycle_rate(step, total, highest): ...


# %%
# Stuck? exercises.lesson6.one_cycle_rate.hint() helps a little, .solution() shows one way to do it
exercises.lesson6.one_cycle_rate.check(one_cycle_rate)

# %% [markdown]
# **6. Losing patience.** Given the validation loss of each epoch (a list), return the rate *in use* in each epoch, as
# a float32 tensor. Once more than `patience` epochs in a row have brought no new best loss, the rate is multiplied by
# `factor` for the next epoch, and the count starts again. Losses of 1, 2, 2, 2 with rate 0.4, factor 0.5 and patience
# 1 give 0.4, 0.4, 0.4, 0.2.


# %%
def plateau_rates(losses, rate, factor, patience): ...


# %%
# Stuck? exercises.lesson6.plateau_rates.hint() helps a little, .solution() shows one way to do it
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
# - Too small a rate crawls and stays in the nearest trap; too large a rate leaps out. The border is 2 / curvature.
# - A range test asks all rates in one short run. Read it before its minimum, where the loss still falls; take a
#   range.
# - Smoothing makes a curve calm and late. A test must be able to say "no clear answer", and why.
# - After a test everything goes back: weights, buffers, optimizer, random state, modes.
# - One-cycle: up, then down to nearly 0, momentum the other way. Its steps come from the loader.
# - The optimizer steps first, then the schedule; batch by batch.
# - Compare with the same seeds, and hold every gain against the spread.
#
# ## Where the code lives
#
# | what you built | where it lives |
# | --- | --- |
# | the ladder, the smoothing, the range test | `learning_rate.ladder`, `smooth`, `range_test` |
# | putting everything back, for any experiment | `learning_rate.put_back` |
# | the three rules, the range, "no clear answer" | `learning_rate.suggest`, `valley` |
# | one-cycle's formula, and the scheduler | `learning_rate.one_cycle_values`, `one_cycle` |
# | the other schedules, and drawing them | `learning_rate.steps_down`, `plateau`, `warm_restarts`, `preview` |
# | counting steps, and refusing wrong counts | `learning_rate.total_steps`, `require_fit` |
# | the race | `learning_rate.race`, `Runner` |
# | your own schedule | `learning_rate.drawn` |
# | the sliders and the live race | `widgets.lesson6` |
# | the checks of your answers | `exercises.lesson6` |
#
# ## What next
#
# Lesson 7 turns from "how few steps" to "how fast a step": the same network on a GPU. And take the range test with
# you: it works with any network, loss and optimizer, so the next time a tutorial says `lr=0.001`, measure.
