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
# # Training for real: CIFAR-10
#
# [Open in Colab][colab] · [Open on Binder][binder]
#
# [colab]: https://colab.research.google.com/github/pixels-to-predictions/pixels-to-predictions/blob/main/notebooks/04_cifar10_training.ipynb
# [binder]: https://mybinder.org/v2/gh/pixels-to-predictions/pixels-to-predictions/main?urlpath=lab%2Ftree%2Fnotebooks%2F04_cifar10_training.ipynb
#
# **The question: how do you train a network on colour photographs so that it is good at *new* ones?**
#
# Clothes on black ground were kind to us. Now the pictures are photographs: small, in colour, taken from any side,
# with anything behind. A network that is large enough for them is also large enough to learn its training pictures
# by heart. This lesson builds the network, and the tools that make it **generalise**: be right about new pictures.
#
# **After this lesson you will be able to** build a residual network, and say what batch normalisation, dropout, skip
# connections and the first weights each do; write momentum and Adam by hand; change training pictures at random, and
# say which changes help; see in curves that a network learns by heart; and look into a trained network (its mistakes,
# its features, and where in a picture it looks).
#
# **You need** lessons 1 to 3. **Time:** about {{study_minutes}} minutes to study. On {{cores}} processor cores the
# cells of the run shown here took {{seconds:.0f}} seconds, with a few thousand pictures. The profile `full` is meant
# for a GPU. With CIFAR-10, part 3 looks into a network that comes with the course, trained for what two cores can do in
# ten minutes.
#
# <details><summary>Contents</summary>
#
# **Part 1: the networks**
#
# - [Photographs of ten kinds](#Photographs-of-ten-kinds)
# - [The classic network](#The-classic-network)
# - [Batch norm has two faces](#Batch-norm-has-two-faces)
# - [Dropout, the other layer with two faces](#Dropout,-the-other-layer-with-two-faces)
# - [A way around](#A-way-around)
# - [Where weights start](#Where-weights-start)
# - [The residual network](#The-residual-network)
# - [Exercises: norm, dropout, depth](#Exercises:-norm,-dropout,-depth)
#
# **Part 2: the training**
#
# - [Changes that keep the class](#Changes-that-keep-the-class)
# - [Explore how much is too much](#Explore-how-much-is-too-much)
# - [Learning by heart](#Learning-by-heart)
# - [Stopping at the best](#Stopping-at-the-best)
# - [Momentum and Adam by hand](#Momentum-and-Adam-by-hand)
# - [The recipe](#The-recipe)
# - [The test](#The-test)
# - [Ten minutes on two cores](#Ten-minutes-on-two-cores)
# - [Exercises: changes, stopping, steps](#Exercises:-changes,-stopping,-steps)
#
# **Part 3: the diagnosis**
#
# - [Class by class](#Class-by-class)
# - [Four pictures it has never seen](#Four-pictures-it-has-never-seen)
# - [Where does it look?](#Where-does-it-look?)
# - [Explore the heat](#Explore-the-heat)
# - [Sure and wrong](#Sure-and-wrong)
# - [Exercise: another way to ask where](#Exercise:-another-way-to-ask-where)
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

import functools
import itertools
import math

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from course_utils import (
    acceleration,
    data,
    diagnosis,
    exercises,
    figures,
    models,
    pictures,
    profiles,
    results,
    training,
    widgets,
)
from course_utils.errors import told

# %% [markdown]
# The settings worth changing. `None` means "as the profile says".

# %% tags=["parameters"]
profile = "auto"  # "quick" runs anywhere, "full" is meant for a GPU
seed = None  # start of the random numbers
epochs = None  # how often the residual network sees every training picture
batch_size = None  # pictures in one of its steps
learning_rate = None  # the highest learning rate of its schedule
pictures_used = None  # how many training pictures to use, at most
test_used = None  # how many validation and test pictures to use, at most
widths = None  # channels after its first convolution and after each stage
early_pool = None  # halve the pictures right after the first convolution
cutout = None  # side of the square painted over; 0 for none
runs = None  # how many networks to train, each from other random numbers

# %% tags=["hide-input"]
settings = profiles.load(
    "04",
    profile,
    seed=seed,
    epochs=epochs,
    batch_size=batch_size,
    learning_rate=learning_rate,
    pictures_used=pictures_used,
    test_used=test_used,
    widths=widths,
    early_pool=early_pool,
    cutout=cutout,
    runs=runs,
)
device = "cuda" if torch.cuda.is_available() else "cpu"
print(f"The networks will live on: {device}")

# %% [markdown]
# ## Part 1: the networks
#
# ### Photographs of ten kinds
#
# CIFAR-10 holds 60,000 colour pictures of 32 × 32 pixels in ten classes: 50,000 to learn from, 10,000 to be tested on
# (Krizhevsky 2009, *Learning Multiple Layers of Features from Tiny Images*). They come from the *80 Million Tiny
# Images*, collected by asking search engines for nouns, and people checked the labels of these 60,000. The large
# collection was withdrawn by its makers in 2020, because it held slurs as labels and offensive pictures (Prabhu and
# Birhane 2020, arXiv:2006.16923). Ask of every set where its pictures come from, and who looked at the labels.
#
# Read the line that `data.load` prints, for every figure below rests on it:
#
# - *JPEG files, not the original pixels* means that each picture was compressed once more, so figures below cannot be
#   compared with published ones on the originals.
# - *Stand-in* means that CIFAR-10 was not found; `course data fetch cifar10` in a terminal downloads it. Until then you
#   work with crops of the course's photographs, the class is the photograph that a crop comes from, and no figure says
#   anything about CIFAR-10.

# %%
cifar = data.load("cifar10", seed=settings.seed)
cifar.train

# %%
train_part = cifar.train.take(
    at_most=settings.pictures_used, seed=settings.seed
)
validation_part = cifar.validation.take(
    at_most=settings.test_used, seed=settings.seed
)
classes = len(cifar.classes)
for part in (train_part, validation_part):
    print(
        f"{part.name:<11}",
        f"{len(part):>6,} pictures of",
        tuple(part.images.shape[1:]),
    )

# %% tags=["hide-input"]
results.record(
    training_pictures=len(train_part),
    guessing=1 / classes,
)

# %% [markdown]
# **Predict first.** Someone guesses without looking. What accuracy will that give? And before you see a result: what
# of a small network, which sees each of a few thousand pictures twice?

# %%
samples = torch.cat(
    [cifar.train.of_class(name).images[:4] for name in cifar.classes]
)
titles = [name if i == 0 else "" for name in cifar.classes for i in range(4)]

# %% tags=["hide-input"]
figures.show(
    pictures.grid(
        samples,
        titles=titles,
        columns=8,
        title=f"{classes} classes, four pictures each",
    ),
    alt=(
        "Small colour pictures in rows of eight, four of each class:"
        f" {', '.join(cifar.classes)}."
    ),
    shareable=cifar.source.shareable,
)

# %% [markdown]
# Guessing gives {{guessing:.0%}}; the small network's answer comes below. In CIFAR-10 two pictures of one class differ
# in colour, size, place and background, so the network has to find shapes, wherever they are. (In the stand-in colours
# give much away.)
#
# ### The classic network
#
# For decades the first network for such pictures has looked like this: two convolutions, each followed by pooling,
# then three dense layers. LeCun and others read digits with one much like it in 1998; PyTorch's own tutorial trains
# it on CIFAR-10.

# %%
torch.manual_seed(settings.seed)
classic = nn.Sequential(
    nn.Conv2d(3, 6, 5),
    nn.ReLU(),
    nn.MaxPool2d(2),  # (N, 6, 14, 14)
    nn.Conv2d(6, 16, 5),
    nn.ReLU(),
    nn.MaxPool2d(2),  # (N, 16, 5, 5)
    nn.Flatten(),  # (N, 400)
    nn.Linear(16 * 5 * 5, 120),
    nn.ReLU(),
    nn.Linear(120, 84),
    nn.ReLU(),
    nn.Linear(84, classes),
)
print(models.shape_trace(classic, (1, 3, 32, 32)))

# %% [markdown]
# Such a picture is 3 · 32 · 32 = 3,072 numbers. (In tutorials you will find 1,024, which forgets the channels.)
# `models.ClassicNet` is the same network. Its weights, in their order, are put into ours, and both give the same
# logits:

# %%
library = models.ClassicNet(classes)
with torch.no_grad():
    for ours, theirs in zip(classic.parameters(), library.parameters()):
        ours.copy_(theirs)
images, labels = next(iter(data.batches(train_part, 64)))
print(f"the same logits from {models.count_parameters(classic):,} parameters")

# %% tags=["hide-input"]
assert_close(classic(images), library(images))

# %% [markdown]
# Now train it as published: batches of 4, SGD with a rate of 0.001 and momentum 0.9, two epochs. (What *momentum* is
# comes in part 2.) Here it sees {{classic_pictures:,}} pictures twice.

# %%
training.seed_everything(settings.seed)
classic = models.ClassicNet(classes).to(device)
few = train_part.take(at_most=6000, seed=settings.seed)
few_batches = data.batches(
    few, 4, shuffle=True, seed=settings.seed, device=device
)
validation = data.batches(validation_part, 500, device=device)
optimizer = torch.optim.SGD(classic.parameters(), lr=0.001, momentum=0.9)


def standard_error(share, count):
    return (share * (1 - share) / count) ** 0.5


history = training.fit(
    classic, few_batches, validation, epochs=2, optimizer=optimizer
)

# %% tags=["hide-input"]
results.record(
    ".1%",
    classic_validation=history.validation_accuracy[-1],
    classic_error=standard_error(
        history.validation_accuracy[-1], len(validation_part)
    ),
    classic_pictures=len(few),
)
assert history.train_loss[-1] < history.train_loss[0], (
    "the training loss did not fall; is the rate too large?"
)

# %% [markdown]
# {{classic_validation:.0%}} on validation in the run shown on this page, with a **sampling error** (lesson 3's standard
# error √(p(1 − p)/n) of a share p of n pictures) of {{classic_error:.1%}}: better than guessing, but not good. It had
# few pictures. With all 50,000, which takes longer than this lesson should, it was measured by a script of the course:

# %% tags=["hide-input"]
benchmark = results.benchmark("cifar10") or {}


def show_recorded(side):
    if side in benchmark:
        run = benchmark[side]
        print(
            f"{side:<10}: {figures.percent(run['accuracy'])} of the test"
            f" pictures; {run['epochs']} epochs"
        )


show_recorded("classic")

# %% [markdown]
# The tutorial reports about 55 % on the original pixels. We want much more, from a deeper network. Depth brings two
# problems. Numbers shrink or grow from layer to layer, which batch normalisation answers; and more layers can make
# training worse, which residual connections answer.
#
# ### Batch norm has two faces
#
# In lesson 3 batch normalisation brought each channel to mean 0 and standard deviation 1 over the batch. But when a
# single picture is classified, there is no batch! So the layer also keeps a *running* mean and variance, and uses
# those in evaluation. In training:

# %%
norm = nn.BatchNorm2d(3)
batch = images[:16] * 2 + 1  # (16, 3, 32, 32), with mean and spread of its own
mean = batch.mean(dim=(0, 2, 3), keepdim=True)  # (1, 3, 1, 1)
variance = batch.var(dim=(0, 2, 3), unbiased=False, keepdim=True)
by_hand = (batch - mean) / (variance + norm.eps).sqrt()
print(
    "training: the batch's own mean",
    [round(x, 2) for x in mean.flatten().tolist()],
)

# %% tags=["hide-input"]
assert_close(norm.train()(batch), by_hand)

# %% [markdown]
# The folded cell sent the batch through `norm` in training mode and compared. That pass also moved the running values
# one tenth of the way from where they began (mean 0, variance 1) to the batch's:

# %%
kept_mean = 0.9 * torch.zeros(3) + 0.1 * mean.flatten()
# here with n − 1 in the divisor
kept_variance = 0.9 * torch.ones(3) + 0.1 * batch.var(dim=(0, 2, 3))

# %% tags=["hide-input"]
assert_close(norm.running_mean, kept_mean)
assert_close(norm.running_var, kept_variance)

# %%
by_hand = (batch - kept_mean.view(1, 3, 1, 1)) / (
    kept_variance.view(1, 3, 1, 1) + norm.eps
).sqrt()
print(
    "evaluation: the running mean   ",
    [round(x, 2) for x in norm.running_mean.tolist()],
)

# %% tags=["hide-input"]
assert_close(norm.eval()(batch), by_hand)

# %% [markdown]
# After many batches the running values are close to those of all training pictures. (They start at 0 and 1, so after
# a handful of steps they are still poor: an evaluation very early in training says little.)
#
# **Pitfall: `eval()` forgotten.** **Predict first.** The same picture, the same weights, but other pictures beside
# it in the batch. Does its answer change?

# %%
torch.manual_seed(settings.seed)
net = models.ResidualNet((8, 16, 32), classes=classes)


def difference_by_company(net):
    with torch.inference_mode():
        first = net(images[:8])[0]
        second = net(torch.cat([images[:1], images[8:15]]))[0]
    return (first - second).abs().max()


difference = difference_by_company(net.train())
quiet = difference_by_company(net.eval())
print(f"training: its logits differ by up to {difference:.3f}")
print(f"evaluation: by {quiet:.1e}")

# %% tags=["hide-input"]
assert difference > 1e-3, "training mode should look at the whole batch"
assert quiet < 1e-4, "in evaluation each picture should stand alone"

# %% [markdown]
# <details><summary>Answer</summary>
#
# In training mode, yes: every picture counts in the mean and variance by which all the others are normalised. "No"
# would be right for the weights, which are indeed the same. The fix is one line, `model.eval()` before you measure, and
# `model.train()` before you go on; `training.evaluate` does both.
#
# </details>
#
# #### Go deeper: A batch of one
#
# With a batch of *one*, a layer may have nothing to average:

# %%
try:
    nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(3)).train()(
        images[:1]
    )
except ValueError as error:
    print(told(error))

# %% [markdown]
# One picture, one value for each channel: minus its own mean, that is always 0, and nothing of the picture would be
# left. You meet this message when the *last* batch of an epoch happens to hold one picture; `drop_last=True` leaves
# it out.
#
# ### Dropout, the other layer with two faces
#
# If two channels always answer together, one leans on the other. **Dropout** (Srivastava and others 2014) switches
# each number off with probability p, at random and anew for each batch, so that none can rely on its neighbours. What
# is left is divided by 1 − p. **Predict first.** Why divide?


# %%
def dropout(x, p, training):
    if not training:
        return x
    kept = torch.rand_like(x) >= p  # a mask of True and False
    return x * kept / (1 - p)


ones = torch.ones(1000, 100)
torch.manual_seed(settings.seed)
dropped = dropout(ones, 0.4, training=True)
print(f"0: {figures.percent((dropped == 0).float().mean().item())}")
print(f"others: {dropped.max():.3f}, mean of all: {dropped.mean():.3f}")

# %% tags=["hide-input"]
torch.manual_seed(settings.seed)
library_dropped = nn.Dropout(0.4).train()(ones)
# which are dropped is chance; how many, and what the others become, is not
assert library_dropped.unique().tolist() == dropped.unique().tolist(), (
    "both must leave 0 or 1 / (1 − p); was p or the division changed?"
)
assert abs((library_dropped == 0).float().mean() - 0.4) < 0.01, (
    "the library's dropout should drop about 40 % of the numbers"
)
assert abs((dropped == 0).float().mean() - 0.4) < 0.01, (
    "expected about 40 % to be dropped; was p or the mask changed?"
)
assert abs(dropped.mean() - 1) < 0.02, (
    "the mean should stay near 1; was the division by 1 − p changed?"
)
assert torch.equal(dropout(ones, 0.4, False), nn.Dropout(0.4).eval()(ones)), (
    "in evaluation both must return what came in; was dropout changed?"
)

# %% [markdown]
# <details><summary>Answer</summary>
#
# So that the layer behind meets the same mean with and without dropout. In evaluation nothing is dropped and nothing
# divided, and `nn.Dropout` does just that (the hidden cell compares both modes). Forget `eval()` here, and the *same*
# picture gets another answer each time it is asked.
#
# </details>
#
# Dropout is **regularisation**, as are changed pictures, weight decay and label smoothing in part 2: they make the
# training pictures harder to learn by heart. Batch norm does some of it too, since it is chance which pictures share a
# batch, and residual networks for small pictures mostly do without dropout. You will meet it in the heads of larger
# ones.
#
# ### A way around
#
# Stack more and more layers, and at some depth the network gets *worse*, on the training pictures too. Strange: the
# added layers would only have to pass on what they get. But passing on is hard to learn for a layer that starts at
# random. So give it a way around, in the literature a **skip connection** (He and others 2015, arXiv:1512.03385):
# what comes in is *added* to what the layers make of it.


# %%
def conv_norm_relu(inputs, outputs):
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class Around(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.layers = nn.Sequential(
            conv_norm_relu(channels, channels),
            conv_norm_relu(channels, channels),
        )

    def forward(self, x):
        return x + self.layers(x)


# %%
mine, library = Around(8), models.ResidualBlock(8)
_ = library.load_state_dict(mine.state_dict())
maps = torch.randn(4, 8, 16, 16)
print("the same answer as models.ResidualBlock")

# %% tags=["hide-input"]
assert_close(mine(maps), library(maps))

# %% [markdown]
# **Predict first.** Set the scale of the last normalisation to 0. What does the block do then? And what if it had no
# way around?

# %%
with torch.no_grad():
    mine.layers[1][1].weight.zero_()
print(
    "with the way around: exactly what came in; without it:",
    mine.layers(maps).abs().max().item(),
)

# %% tags=["hide-input"]
assert torch.equal(mine(maps), maps), (
    "at scale 0 the block must pass on what came in; was forward changed?"
)

# %% [markdown]
# <details><summary>Answer</summary>
#
# With it, the block passes everything on, and the layers only have to learn a *correction*. Without it, nothing
# arrives.
#
# </details>
#
# Now the experiment itself. Two networks of {{deep_layers}} convolutions with the same first weights, both with batch
# norm; only one of them adds what came in. They see the same 500 small pictures, in the same order. **Predict
# first.** Which one has the lower *training* loss at the end? And at the very beginning?


# %%
class Straight(Around):
    def forward(self, x):
        return self.layers(x)


def deep_losses(block, blocks=20, epochs=25):
    torch.manual_seed(settings.seed)
    net = nn.Sequential(
        conv_norm_relu(3, 16),
        nn.MaxPool2d(2),
        *[block(16) for _ in range(blocks)],
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        nn.Linear(16, classes),
    )
    batches = data.batches(train_part.take(500, seed=0), 100)
    small = [(F.avg_pool2d(x, 4), y) for x, y in batches]  # 8 × 8 pixels
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.003)
    return training.fit(
        net, small, epochs=epochs, optimizer=optimizer, progress=False
    ).train_loss


straight, around = deep_losses(Straight), deep_losses(Around)

# %% tags=["hide-input"]
with figures.style():
    figure, ax = plt.subplots(figsize=(6.4, 3.2))
    steps = range(1, len(straight) + 1)
    ax.plot(steps, straight, "--s", color=figures.ORANGE, markersize=4)
    ax.plot(steps, around, "-o", color=figures.BLUE, markersize=4)
    ends = (
        (straight, "plain", figures.ORANGE),
        (around, "residual", figures.BLUE),
    )
    for losses, name, colour in ends:
        higher = losses[-1] == max(straight[-1], around[-1])
        ax.text(
            len(losses) + 0.3,
            losses[-1],
            name,
            color=colour,
            va="bottom" if higher else "top",
        )
    ax.axhline(math.log(classes), ls=":", lw=1, color=figures.GREY)
    ax.text(
        0.7 * len(straight),
        math.log(classes) * 1.03,
        "guessing",
        color=figures.GREY,
    )
    ax.set(
        xlabel="epoch",
        ylabel="training loss",
        yscale="log",
        xlim=(0.7, len(straight) + 4),
        xticks=range(1, len(straight) + 1, 4),
        title=(
            "41 layers, the same start: training loss"
            f" {straight[-1]:.2f} plain, {around[-1]:.2f} residual"
        ),
    )
    ax.set_yticks((1, 2, 3, 4, 5, 6), ("1", "2", "3", "4", "5", "6"))
    ax.minorticks_off()
figures.show(
    figure,
    alt=(
        "Training loss over the epochs of two equally deep networks, in one"
        f" chart. The plain one begins at {straight[0]:.2f} and ends at"
        f" {straight[-1]:.2f}, the one with skip connections begins at"
        f" {around[0]:.2f} and ends at {around[-1]:.2f}."
    ),
)
results.record(
    ".2f",
    deep_layers=41,
    deep_guessing=math.log(classes),
    deep_straight=straight[-1],
    deep_around=around[-1],
)

# %% tags=["hide-input"]
assert around[0] > straight[0], "twenty blocks added up should begin worse"
if around[-1] < straight[-1] - 0.2:
    print("With the way around the deep network learns; without, hardly.")
else:
    print("In this run the way around brought nothing to speak of.")

# %% [markdown]
# <details><summary>Answer</summary>
#
# In the run shown on this page: {{deep_straight:.2f}} plain, {{deep_around:.2f}} residual. At first the residual one is
# worse, because twenty blocks added up give large numbers. Then it learns, while the plain one stays nearer to
# guessing, {{deep_guessing:.2f}}. This is *training* loss, so overfitting is no explanation.
#
# </details>
#
# ### Where weights start
#
# A layer multiplies; forty layers multiply forty times. If each makes its numbers a little smaller, nothing is left
# at the end; a little larger, and they overflow. So the spread of the first weights matters, the **initialisation**.
# A sum of n products of numbers of size 1 with weights of spread s has the spread s√n, and ReLU takes away half of
# its mean square. To keep the size, s = √(2/n): **He initialisation** (He and others 2015, arXiv:1502.01852).


# %%
def size_after(spread, layers=40, n=256):
    torch.manual_seed(settings.seed)
    x = torch.randn(500, n)
    for _ in range(layers):
        x = (x @ (spread * torch.randn(n, n))).relu()
    return x.square().mean().sqrt().item()


he = (2 / 256) ** 0.5
for factor in (0.5, 1, 2):
    print(f"{factor} × He's spread: {size_after(factor * he):.0e}")

# %% tags=["hide-input"]
assert size_after(0.5 * he) < 1e-9, "half of He's spread should vanish"
assert 0.1 < size_after(he) < 10, "He's spread should keep the size"
assert size_after(2 * he) > 1e9, "twice He's spread should explode"
weight = nn.init.kaiming_normal_(torch.empty(256, 256), nonlinearity="relu")
assert abs(weight.std() / he - 1) < 0.05, (
    "PyTorch's kaiming_normal_ should draw with He's spread"
)

# %% [markdown]
# `nn.init.kaiming_normal_` draws these weights. (PyTorch's own default is smaller, so in deep plain stacks without
# normalisation the numbers shrink.) Batch norm repairs a poor start in every layer anew, one reason why it spread so
# fast.
#
# #### Go deeper: Gradients through forty layers
#
# You will often read that skip connections are there so that gradients do not vanish. He and others say of their
# plain networks, which had batch norm, that this is *unlikely* to be the cause. See for yourself: the gradient that
# arrives at the input of forty layers, with three kinds of start.


# %%
def gradient_at_the_start(around, start, layers=40):
    torch.manual_seed(0)
    x = first = torch.randn(8, 16, 8, 8, requires_grad=True)
    for _ in range(layers):
        convolution = nn.Conv2d(16, 16, 3, padding=1)
        if start == "He":
            nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
        norm = nn.BatchNorm2d(16) if start == "norm" else nn.Identity()
        step = norm(convolution(x)).relu()
        x = x + step if around else step
    loss = x.square().mean().sqrt()
    return torch.autograd.grad(loss, first)[0].norm().item()


arriving = {
    start: (
        gradient_at_the_start(False, start),
        gradient_at_the_start(True, start),
    )
    for start in ("default", "He", "norm")
}
for name, (bare, skip) in arriving.items():
    print(f"{name:<8} plain {bare:.0e}, with a way around {skip:.0e}")

# %% tags=["hide-input"]
assert arriving["default"][0] < 1e-12 < 1e-4 < arriving["He"][0], (
    "the default start should kill the plain gradient, He's keep it alive"
)
assert arriving["norm"][0] > 0.1, "batch norm should keep plain gradients alive"

# %% [markdown]
# Only the default start without normalisation kills the gradient of a plain stack. With batch norm, as in the
# experiment above, it arrives alive. So vanishing gradients are not what makes such a deep plain network hard to
# train.
#
# ### The residual network
#
# Ours is short and wide, after David Page's *How to train your ResNet* (myrtle.ai, 2018): a first convolution, then
# *stages*. A stage doubles the channels, halves the picture as lesson 3's block did, and ends with a residual block.
# At the end each channel is averaged over all its pixels, and one dense layer gives the logits.


# %%
class OurNet(nn.Module):
    def __init__(self, widths=(16, 32, 64)):
        super().__init__()
        # lesson 3's: convolution, pool, normalise, ReLU
        self.stem = models.block(3, widths[0])
        self.stages = nn.Sequential(
            *[
                nn.Sequential(models.block(a, b), Around(b))
                for a, b in itertools.pairwise(widths)
            ]
        )
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = nn.Linear(widths[-1], classes)

    def forward(self, images):
        return self.classifier(self.pool(self.stages(self.stem(images))))


# %%
ours, library = OurNet(), models.ResidualNet((16, 32, 64), classes=classes)
_ = library.load_state_dict(ours.state_dict())

# %% tags=["hide-input"]
assert_close(ours.eval()(images), library.eval()(images))

# %%
big = models.ResidualNet((64, 128, 256, 512), early_pool=False, classes=classes)
for net in (library, big):
    print(
        f"{models.count_parameters(net):>9,} parameters; the last stage gives",
        tuple(net.stages(net.stem(images[:1])).shape),
    )

# %% [markdown]
# The same logits as `models.ResidualNet`. Its `widths` decide how large it is, and with `early_pool` it halves the
# pictures after the first convolution: about a quarter of the work, which suits a processor. The second network is
# for the profile `full`.
#
# ### Exercises: norm, dropout, depth
#
# Replace the dots and run the cells. Each stub runs as it is, so that *Run All* always finishes. The cell after each
# stub checks your answer: ✓ correct, ✗ wrong, with the first difference, or ○ not attempted. An answer must leave the
# tensors that it is given as they were.
#
# **1. Folded away.** In evaluation a batch norm multiplies and adds, as the convolution before it does. So one
# convolution can do both, and phones run it like that. From a convolution's `weight` (O, I, k, k) without a bias, and
# the norm's `scale`, `shift`, running `mean` and `variance`, each (O,), return the weight and the bias (O,) of that
# one convolution.


# %%
def fold_norm(weight, scale, shift, mean, variance, eps=1e-5): ...


# %%
# Stuck? exercises.lesson4.fold_norm.hint() helps a little,
# .solution() shows one way to do it
exercises.lesson4.fold_norm.check(fold_norm)

# %% [markdown]
# **2. Whole channels.** Neighbours in a map say nearly the same, so after convolutions one drops whole maps instead of
# single numbers. Return the maps (N, C, H, W) as `nn.Dropout2d` would: in training only those stay for which `kept`,
# bool (N, C), is True, at the right size; in evaluation all stay as they are.


# %%
def drop_maps(maps, kept, p, training): ...


# %%
# Stuck? exercises.lesson4.drop_maps.hint() helps a little,
# .solution() shows one way to do it
exercises.lesson4.drop_maps.check(drop_maps)

# %% [markdown]
# **3. Experiment: deep without a norm.** Blocks `x + factor · layers(x)`, He's start, no normalisation: with a factor
# of 1 the numbers explode. Find a factor, as a function of the number of blocks, so that the output is 1.1 to 2.5
# times as large as the input. The check builds 10, 40 and 160 blocks, each from three seeds. Try the natural guess
# first: does the root of the number help?


# %%
def branch_factor(blocks): ...


# %%
# Stuck? exercises.lesson4.branch_factor.hint() helps a little,
# .solution() shows one way to do it
exercises.lesson4.branch_factor.check(branch_factor)

# %% [markdown]
# ## Part 2: the training
#
# ### Changes that keep the class
#
# A cat shifted by two pixels is a cat, and so is its mirror image. To the network these are new pictures, for free.
# We may show the course's own cat, made as small as the pictures of the set:

# %%
cat = pictures.photograph("cat").crop((75, 0, 375, 300)).resize((32, 32))
cat = pictures.to_tensor(cat)  # (3, 32, 32), uint8
padded = F.pad(cat, (4, 4, 4, 4))  # (3, 40, 40), black around it
shifted = padded[:, 6:38, 1:33]  # begin at row 6, column 1 instead of 4, 4
mirrored = cat.flip(2)
covered = cat.clone()
covered[:, 10:18, 18:26] = 128

# %% tags=["hide-input"]
figures.show(
    pictures.grid(
        [cat, shifted, mirrored, covered, cat.flip(1)],
        ["as it is", "crop", "flip", "cutout", "upside down"],
        5,
    ),
    alt=(
        "A small picture of a cat's face five times: as it is, shifted with"
        " black edges, mirrored, with a grey square over a part of it, and"
        " upside down."
    ),
)

# %% [markdown]
# *Crop* pads the picture and cuts the old size out at a random place, *flip* mirrors half of the pictures, *cutout*
# (DeVries and Taylor 2017, arXiv:1708.04552) paints over a square, so that no single spot can decide. And upside
# down? You would know the cat. But new pictures hardly come that way, and learning to recognise them costs capacity
# and time. A change should make pictures that the network *may meet*. (For pictures from a microscope, any turn is
# fine.)
#
# `data.Augment` makes the same changes with a whole batch at once:

# %% tags=["hide-input"]
assert torch.equal(
    data.crop(cat[None], torch.tensor([[6, 1]]), 4)[0], shifted
), "data.crop must give our shifted picture; was the place changed?"
assert torch.equal(data.hflip(cat[None], torch.tensor([True]))[0], mirrored), (
    "data.hflip must give our mirrored picture; was a cell above changed?"
)
assert torch.equal(
    data.cutout(cat[None], torch.tensor([[14, 22]]), 8, 128)[0], covered
), "data.cutout must give our covered picture; was the place changed?"

# %%
augment = data.Augment(crop=4, flip=True, cutout=settings.cutout)
print("in this lesson:", augment)

# %% [markdown]
# ### Explore how much is too much
#
# Move the sliders until you would no longer know the cat. Every copy would still carry its label!

# %%
widgets.lesson4.augmentation(cat)

# %% [markdown]
# Four pixels of shift and half of the pictures mirrored are the usual choice for 32 × 32. With a crop of 12 and a
# square of 24, little is left, and the network would have to learn from noise.
#
# Changes are for training pictures only: no `augment` where you measure.
#
# #### Go deeper: Augmented validation
#
# Someone changes the validation pictures too, here rather strongly. Watch the loss of the *same* network on the
# *same* pictures:

# %%
wrong_batches = data.batches(
    validation_part,
    500,
    augment=data.Augment(crop=8, flip=True, cutout=12),
    device=device,
)
augmented = [training.evaluate(classic, wrong_batches).loss for _ in range(3)]
plain = [training.evaluate(classic, validation).loss for _ in range(3)]
print("augmented:", [f"{loss:.4f}" for loss in augmented])
print("plain:    ", [f"{loss:.4f}" for loss in plain])

# %% tags=["hide-input"]
assert len(set(augmented)) == 3 and len(set(plain)) == 1, (
    "only changed pictures should give another loss each time"
)

# %% [markdown]
# Three passes, three different losses, and none of them is the loss on the pictures themselves. A measurement that
# moves when nothing has changed cannot choose between two networks.
#
# ### Learning by heart
#
# Take few pictures and a network that is large for them. **Predict first.** After {{heart_epochs}} epochs, how many
# of its {{heart_pictures}} training pictures does it know? And of new ones? And if each picture is changed anew in
# every epoch? (As in lesson 3 the rate comes down to nearly 0, so that the end is not the luck of the last large
# steps, and the network is `channels_last`, which gives the same in less time.)

# %%
heart_part = train_part.take(500, seed=settings.seed)
heart_new = validation_part.take(at_most=1000, seed=settings.seed)
heart_validation = data.batches(heart_new, 500, device=device)


def learn(augment, epochs=20):
    training.seed_everything(settings.seed)
    net = models.ResidualNet((16, 32, 64), classes=classes)
    net = net.to(device, memory_format=torch.channels_last)
    batches = data.batches(
        heart_part,
        50,
        shuffle=True,
        augment=augment,
        seed=settings.seed,
        device=device,
    )
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.003)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 0.003, total_steps=epochs * len(batches)
    )
    return training.fit(
        net,
        batches,
        heart_validation,
        epochs=epochs,
        optimizer=optimizer,
        scheduler=schedule,
        progress=False,
    )


by_heart = learn(augment=None)
changed = learn(augment=data.Augment(crop=4, flip=True, cutout=8))

# %% tags=["hide-input"]
with figures.style():
    figure, panels = plt.subplots(1, 2, figsize=(9, 3.2), sharey=True)
    for ax, run, name in zip(
        panels, (by_heart, changed), ("As they are", "Changed each time")
    ):
        gone = range(1, run.epochs + 1)
        known, new = run.train_accuracy, run.validation_accuracy
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.plot(gone, [100 * x for x in known], "-o", ms=3, label="training")
        ax.plot(gone, [100 * x for x in new], "--s", ms=3, label="validation")
        ax.set(xlabel="epoch", ylim=(0, 103))
        ends = (
            f"training {100 * known[-1]:.0f}, validation {100 * new[-1]:.0f} %"
        )
        ax.set_title(f"{name}: {ends}", fontsize=10)
    panels[0].set_ylabel("accuracy in %")
    panels[0].legend(loc="center right")
figures.show(
    figure,
    alt=(
        "Two charts of accuracy over the epochs, training beside validation."
        " Without augmentation training ends at"
        f" {figures.percent(by_heart.train_accuracy[-1], 0)} and validation at"
        f" {figures.percent(by_heart.validation_accuracy[-1], 0)}; with it at"
        f" {figures.percent(changed.train_accuracy[-1], 0)} and"
        f" {figures.percent(changed.validation_accuracy[-1], 0)}."
    ),
)
gap = by_heart.train_accuracy[-1] - by_heart.validation_accuracy[-1]
changed_gap = changed.train_accuracy[-1] - changed.validation_accuracy[-1]
shares = [run.validation_accuracy[-1] for run in (by_heart, changed)]
heart_error = 2**0.5 * standard_error(shares[0], len(heart_new))
results.record(".1f", heart_error_points=100 * heart_error)
results.record(
    ".1%",
    heart_pictures=len(heart_part),
    heart_epochs=by_heart.epochs,
    heart_training=by_heart.train_accuracy[-1],
    heart_validation=by_heart.validation_accuracy[-1],
    changed_training=changed.train_accuracy[-1],
    changed_validation=changed.validation_accuracy[-1],
    # On few pictures, or on a stand-in that is easy, chance may turn it round.
    gap_became="smaller" if changed_gap < gap else "no smaller in this run",
)
assert by_heart.train_accuracy[-1] > 0.9 and gap > 0, (
    "expected the network to know its pictures by heart; fewer epochs?"
)

# %% tags=["hide-input"]
gain = changed.validation_accuracy[-1] - by_heart.validation_accuracy[-1]
if abs(gain) < 2 * heart_error:
    print("New pictures: chance alone could make this difference.")
else:
    print(f"New pictures: {'better' if gain > 0 else 'worse'} with changes.")

# %% [markdown]
# <details><summary>Answer</summary>
#
# In the run shown on this page: {{heart_training:.0%}} of the training pictures and {{heart_validation:.0%}} of new
# ones. The two curves part, and that is **overfitting**. With augmentation it is {{changed_training:.0%}} and
# {{changed_validation:.0%}}; the gap is {{gap_became}}, because a picture that never comes twice is hard to learn by
# heart. But the aim is not a small gap, it is a good network, and the choice of pictures alone moves the difference
# of two such figures by {{heart_error_points:.1f}} points (the sampling error of a difference is √2 times that of one
# share, or less where both are asked about the same pictures). So few pictures and steps do *not* show that
# augmentation pays.
#
# </details>
#
# Where does it pay? Where the network would otherwise begin to learn by heart: with more epochs, and with enough
# pictures that there is something to gain. So the course's script trained the same network on {{pay_pictures:,}}
# pictures for {{pay_epochs}} epochs, once as they are and once changed, and measured the same {{pay_validated:,}}
# validation pictures after each epoch. **Predict first.** Where will the two curves cross, if they do?

# %% tags=["hide-input"]
pair = [benchmark.get(side) for side in ("as_they_are", "changed")]
if all(pair):
    with figures.style():
        figure, ax = plt.subplots(figsize=(7, 3.6))
        for run, name, colour in zip(
            pair, ("as they are", "changed"), (figures.ORANGE, figures.BLUE)
        ):
            gone = range(1, run["epochs"] + 1)
            known = [100 * share for share in run["train_accuracy"]]
            new = [100 * share for share in run["validation_accuracy"]]
            ax.plot(gone, known, ":", color=colour, label=f"{name}: training")
            ax.plot(gone, new, "-", color=colour, label=f"{name}: validation")
        ends = [100 * run["validation_accuracy"][-1] for run in pair]
        ax.set(
            xlabel="epoch",
            ylabel="accuracy in %",
            title=(
                f"At the end {ends[1]:.1f} % of new pictures right with"
                f" changes, {ends[0]:.1f} % without"
            ),
        )
        ax.legend(fontsize=9, loc="lower right")
    figures.show(
        figure,
        alt=(
            "Accuracy over the epochs of two recorded runs in one chart,"
            " training dotted, validation as a line. As they are: training"
            f" ends at {100 * pair[0]['train_accuracy'][-1]:.0f} %, validation"
            f" at {ends[0]:.1f} %. Changed: training at"
            f" {100 * pair[1]['train_accuracy'][-1]:.0f} %, validation at"
            f" {ends[1]:.1f} %."
        ),
    )
    pay_gain = ends[1] - ends[0]  # in points
    pay_error = (
        100
        * 2**0.5
        * standard_error(ends[0] / 100, pair[0]["validation_pictures"])
    )
    ahead = [
        changed_share > plain_share
        for plain_share, changed_share in zip(
            pair[0]["validation_accuracy"], pair[1]["validation_accuracy"]
        )
    ]
    behind = [i for i, first in enumerate(ahead, start=1) if not first]
    results.record(
        ".1%",
        pay_pictures=pair[0]["training_pictures"],
        pay_epochs=pair[0]["epochs"],
        pay_validated=pair[0]["validation_pictures"],
        pay_behind=max(behind, default=0),
        pay_learned=pair[0]["train_accuracy"][-1],
        pay_verdict=(
            "here it pays"
            if pay_gain > 2 * pay_error
            else "even here chance could make that difference"
        ),
    )
    results.record(".1f", pay_gain_points=pay_gain, pay_error_points=pay_error)

# %% [markdown]
# <details><summary>Answer</summary>
#
# The last epoch in which the changed pictures were not ahead is epoch {{pay_behind}}. Until about then changes mostly
# make the task harder. The gap opens in the last epochs: the network that sees its pictures as they are knows
# {{pay_learned:.0%}} of them by heart and hardly improves any more, while the other one does. The difference at the
# end, taken before rounding, is {{pay_gain_points:.1f}} points, with a sampling error of {{pay_error_points:.1f}}:
# {{pay_verdict}}.
#
# </details>
#
# DeVries and Taylor (2017, the cutout paper, arXiv:1708.04552, table 1) trained a ResNet-18 on all of CIFAR-10 for 200
# epochs, five times each: 10.6 % wrong without changes, 4.7 % with crops and mirror images, 4.0 % with cutout too.
#
# ### Stopping at the best
#
# If validation no longer improves, why go on? `patience=3` ends a run after three epochs without a better validation
# accuracy, and puts the *best* weights back, not the last ones.

# %%
training.seed_everything(settings.seed)
net = models.ResidualNet((16, 32, 64), classes=classes)
net = net.to(device, memory_format=torch.channels_last)
batches = data.batches(
    heart_part, 50, shuffle=True, seed=settings.seed, device=device
)
optimizer = torch.optim.AdamW(net.parameters(), lr=0.003)
history = training.fit(
    net, batches, heart_validation, epochs=30, optimizer=optimizer, patience=3
)
best = max(history.validation_accuracy)

# %% tags=["hide-input"]
assert training.evaluate(net, heart_validation).accuracy == best, (
    "the best weights should be back"
)
assert history.best_epoch == history.validation_accuracy.index(best) + 1, (
    "best_epoch should be the first epoch with the best accuracy"
)
results.record(
    ".1%",
    heart_new=len(heart_new),
    heart_one_error=standard_error(best, len(heart_new)),
    stopped_after=history.epochs,
    best_epoch=history.best_epoch,
    best_validation=best,
)

# %% [markdown]
# In the run shown on this page it ended after {{stopped_after}} of at most 30 epochs and kept epoch {{best_epoch}},
# with {{best_validation:.1%}}. Three warnings. We *chose* by validation accuracy, so that figure now flatters a
# little; only other pictures could tell how much. A share of {{heart_new:,}} pictures has a sampling error of
# {{heart_one_error:.1%}}, so three epochs without a record may be bad luck. And **do not stop early under a one-cycle
# schedule**: its rate is large for most of the run, and the gain comes at the end, when the rate falls. With such a
# schedule the number of epochs is chosen beforehand. (Saving and resuming a run is in [lesson
# 3](03_fashion_mnist_cnn.ipynb).)
#
# ### Momentum and Adam by hand
#
# A plain step follows the gradient of one batch. Two ideas make more of it. **Momentum** keeps a running sum of
# gradients, in which nine tenths of the past stay, and steps along that: what points the same way each time adds up,
# what swings to and fro cancels. **Adam** (Kingma and Ba 2014, arXiv:1412.6980) keeps a running mean of the gradients
# and one of their *squares*, and divides the first by the root of the second, so that each weight gets a step of at
# most about the rate, however large or small its gradients are. Both means start at 0 and are therefore too small at
# first; the line before `return` corrects that.


# %%
def momentum_step(weight, gradient, memory, rate=0.01, kept=0.9):
    velocity = kept * memory.get("velocity", 0) + gradient
    memory["velocity"] = velocity
    return weight - rate * velocity


def adam_step(weight, gradient, memory, rate=0.01, b1=0.9, b2=0.999):
    step = memory.get("step", 0) + 1
    mean = b1 * memory.get("mean", 0) + (1 - b1) * gradient
    square = b2 * memory.get("square", 0) + (1 - b2) * gradient**2
    memory.update(step=step, mean=mean, square=square)
    mean, square = mean / (1 - b1**step), square / (1 - b2**step)
    return weight - rate * mean / (square.sqrt() + 1e-8)


def valley(w):  # a long valley: 40 times steeper across than along
    return 0.5 * (w[0] ** 2 + 40 * w[1] ** 2)


# %% [markdown]
# Thirty steps from one point, by hand. The hidden cell below takes the same steps with `torch.optim` and compares:

# %%
far_point = torch.tensor([4.0, 1.0])


def by_hand_path(step):
    weight, memory, path = far_point.clone(), {}, []
    for _ in range(30):
        gradient = torch.stack([weight[0], 40 * weight[1]])
        weight = step(weight, gradient, memory)
        path.append(weight)
    return torch.stack(path)


for name, step in (("momentum", momentum_step), ("Adam", adam_step)):
    end = [round(x, 3) for x in by_hand_path(step)[-1].tolist()]
    print(f"{name:<8} ends at {end}")


# %% tags=["hide-input"]
def library_path(make):
    weight, path = far_point.clone().requires_grad_(), []
    optimizer = make([weight])
    for _ in range(30):
        optimizer.zero_grad()
        valley(weight).backward()
        optimizer.step()
        path.append(weight.detach().clone())
    return torch.stack(path)


sgd = functools.partial(torch.optim.SGD, lr=0.01, momentum=0.9)
adam = functools.partial(torch.optim.Adam, lr=0.01)
assert_close(by_hand_path(momentum_step), library_path(sgd))
assert_close(by_hand_path(adam_step), library_path(adam))

# %% [markdown]
# The same points as PyTorch's, step for step. Adam has moved by about 0.01 a step in *both* directions, whatever the
# gradient; so its rates are other numbers than SGD's and cannot be compared with them. **Predict first.** In the
# valley below, the steep direction forbids plain steps with rates above 2/40 = 0.05: across, each step multiplies the
# distance by 1 − 40 · rate. What does momentum change?

# %%
widgets.lesson4.descent()

# %% tags=["hide-input"]
long_way = {kept: widgets.lesson4.walk(0.02, kept)[-1] for kept in (0.0, 0.8)}
assert valley(long_way[0.8]) < 0.1 * valley(long_way[0.0]), (
    "momentum should be further down the valley"
)

# %% [markdown]
# <details><summary>Answer</summary>
#
# Along the valley the gradients agree, and momentum adds them up to steps five times as long at 0.8 (1 + 0.8 + 0.64 + …
# = 5). Across it momentum makes the walk swing, but there the gradients change sign and largely cancel, so the swings
# die out, even at a rate of 0.06: try it with momentum 0 and 0.8. Too much momentum overshoots: try 0.98.
#
# </details>
#
# ### The recipe
#
# All together now: the residual network, crops and mirror images, one-cycle, SGD with Nesterov's momentum (the step
# counts ahead what momentum will add next; exercise 7 writes it) and **weight decay**, which pulls every weight a
# little towards 0, here the scales and shifts of batch norm too. (Many recipes spare those, with a second parameter
# group: the layer behind can undo a scale, so pulling at it hardly regularises.) What is chosen before training, such
# as the rate, the decay and the number of epochs, is called a **hyperparameter**, and it is chosen on validation
# pictures. One more thing, **label smoothing**: 90 % go to the truth instead of all, and 10 % are shared equally by all
# classes, the true one too, so the network is not pushed to be ever more certain. By hand:

# %%
logits, truth = torch.tensor([[3.0, 0.5, -1.0]]), torch.tensor([0])
minus_log = -logits.log_softmax(dim=1)
by_hand = 0.9 * minus_log[0, 0] + 0.1 * minus_log.mean()
print(f"plain loss {minus_log[0, 0]:.3f}, smoothed {by_hand:.3f}")

# %% tags=["hide-input"]
assert_close(by_hand, F.cross_entropy(logits, truth, label_smoothing=0.1))

# %% [markdown]
# **Predict first.** What will the validation accuracy be, with {{training_pictures:,}} training pictures and
# {{epochs}} epochs?


# %%
def train_a_network(seed):
    training.seed_everything(seed)
    net = models.ResidualNet(
        settings.widths, early_pool=settings.early_pool, classes=classes
    )
    net = net.to(device, memory_format=torch.channels_last)
    common = {"seed": seed, "device": device, "channels_last": True}
    batches = data.batches(
        train_part,
        settings.batch_size,
        shuffle=True,
        augment=augment,
        drop_last=True,
        **common,
    )
    rate = settings.learning_rate
    optimizer = torch.optim.SGD(
        net.parameters(),
        lr=rate,
        momentum=0.9,  # the schedule moves it: 0.95, down to 0.85, back
        nesterov=True,
        weight_decay=5e-4,
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, rate, total_steps=settings.epochs * len(batches)
    )
    history = training.fit(
        net,
        batches,
        data.batches(validation_part, 500, **common),
        epochs=settings.epochs,
        optimizer=optimizer,
        scheduler=schedule,
        loss=functools.partial(F.cross_entropy, label_smoothing=0.1),
        autocast=acceleration.half_type(device) if device == "cuda" else None,
    )
    return net, history


trained = [train_a_network(settings.seed + run) for run in range(settings.runs)]
model, history = trained[0]

# %% tags=["hide-input"]
results.record(
    ".1%",
    epochs=history.epochs,
    validation_error=standard_error(
        history.validation_accuracy[-1], len(validation_part)
    ),
    training_accuracy=history.train_accuracy[-1],
    validation_accuracy=history.validation_accuracy[-1],
)
assert settings.epochs == 1 or history.train_loss[-1] < history.train_loss[0], (
    "the training loss did not fall; is the rate too large?"
)

# %% [markdown]
# <details><summary>Answer</summary>
#
# In the run shown on this page {{validation_accuracy:.1%}} on validation, sampling error {{validation_error:.1%}},
# and {{training_accuracy:.1%}} on the changed training pictures, on average over the last epoch.
#
# </details>

# %% tags=["hide-input"]
apart = history.train_accuracy[-1] - history.validation_accuracy[-1]
if apart < 0.05:
    print("Close together: more epochs or a wider network could help.")
else:
    print("Apart: it begins to learn by heart; more pictures would help.")

# %% [markdown]
# ### The test
#
# All decisions are taken, and the test part is opened.

# %%
test_part = cifar.test.take(at_most=settings.test_used, seed=settings.seed)
test_batches = data.batches(test_part, 500, device=device, channels_last=True)
accuracies = [
    training.evaluate(net, test_batches).accuracy for net, _ in trained
]

# %% tags=["hide-input"]
test_accuracy = sum(accuracies) / len(accuracies)
results.record(
    ".1%",
    test_accuracy=test_accuracy,
    test_error=standard_error(test_accuracy, len(test_part)),
    test_worst=min(accuracies),
    test_pictures=len(test_part),
    runs=len(trained),
    test_words=(
        "Validation is easier here: its crops come from the half of each"
        " photograph that training had, the test's from the other."
        if cifar.source.stand_in
        else "Nothing was chosen on these pictures."
    ),
)

# %% tags=["hide-input"]
enough = (
    0.88
    if len(train_part) >= 40_000 and settings.epochs >= 15
    else 1.5 / classes
)
few_steps = settings.epochs * len(train_part) < 20_000  # decide nothing
assert few_steps or min(accuracies) > enough, (
    f"expected more than {figures.percent(enough)}; did a setting change a lot?"
)

# %% [markdown]
# In the run shown on this page: {{test_accuracy:.1%}} of {{test_pictures:,}} test pictures, sampling error
# {{test_error:.1%}}, after {{epochs}} epochs of {{training_pictures:,}} pictures. {{test_words}}
#
# ### Ten minutes on two cores
#
# What do all training pictures give, with a network twice as wide and ten minutes of training? The course's script
# tried it, and its network comes with the course. The recipe is the one above, with batches of 128, a rate of up to
# 0.3, and two savings that buy more epochs:
#
# - **Sixteen bits.** Convolutions multiply in *bfloat16*, numbers with half the bits, as lesson 7 explains. It saves
#   time where a processor has instructions for that, {{ten_bits}}.
# - **Small pictures first.** For the first {{ten_small}} epochs the pictures are scaled down to 24 × 24, little more
#   than half of the pixels. Coarse shapes can be learned from small pictures, and a network that averages over all
#   places before its last layer takes any size. (fast.ai trained on ImageNet like that in 2018, as **progressive
#   resizing**.) Validation pictures are whole from the start, so in those epochs they are not of the size that the
#   network learns from.

# %% tags=["hide-input"]
for side in ("classic", "ours"):
    show_recorded(side)
ten = benchmark.get("ours")
if ten:
    named = (
        "train_loss",
        "train_accuracy",
        "validation_loss",
        "validation_accuracy",
    )
    seen = ten["validation_accuracy"]
    recorded_history = training.History(
        **{name: ten[name] for name in named},
        best_epoch=1 + seen.index(max(seen)),
    )
    figures.show(
        recorded_history.plot(),
        alt=(
            "Two charts over the epochs of the recorded run, training beside"
            " validation: the losses fall, the accuracies rise, and validation"
            f" ends at {figures.percent(ten['validation_accuracy'][-1])}."
        ),
    )
    results.record(
        ".1%",
        ten_accuracy=ten["accuracy"],
        ten_error=standard_error(ten["accuracy"], benchmark["test_pictures"]),
        ten_epochs=ten["epochs"],
        ten_small=ten["small_epochs"],
        ten_pictures=ten["training_pictures"],
    )
    clock = benchmark.get("clock")
    results.record(
        ten_took=(
            f"{ten['processor_seconds'] / 60:.1f} minutes of processor time"
        )
        + (
            "; estimated from single epochs, two quiet cores need"
            f" {clock['seconds'] / 60:.1f}"
            if clock
            else ", of the 20 that two cores have in ten minutes"
        ),
        ten_bits="as this one had"
        + (
            ": an epoch took"
            f" {figures.percent(clock['bfloat16_share'], 0)} of the time that"
            " it takes in 32 bits"
            if clock
            else ""
        ),
    )

# %% [markdown]
# {{ten_accuracy:.1%}} of all 10,000 test pictures, sampling error {{ten_error:.1%}}, after {{ten_epochs}} epochs of
# {{ten_pictures:,}} pictures: {{ten_took}}. Settings were chosen on the validation pictures, and the test pictures
# were looked at once. What the larger network of the profile `full` reaches on a GPU is not recorded yet.
#
# From here on we look into *this* network (without CIFAR-10: into yours), for there is little to learn from the
# mistakes of one that had only seconds. Its weights lie beside the course's code as 16-bit numbers, {{weights_mb:.2f}}
# MB:

# %%
if cifar.source.stand_in:  # its classes are others: keep our own
    print("Without CIFAR-10 we go on with the network trained above.")
else:
    model = models.recorded_network().to(device)
strong = training.evaluate(model, test_batches).accuracy
print(
    f"{figures.percent(strong)} of these {len(test_part):,} test pictures right"
)

# %% tags=["hide-input"]
strong_error = standard_error(strong, len(test_part))
results.record(
    ".1%",
    strong_accuracy=strong,
    strong_error=strong_error,
)
results.record(".2f", weights_mb=models.RECORDED_WEIGHTS.stat().st_size / 1e6)
if ten and not cifar.source.stand_in:
    assert strong > ten["accuracy"] - 4 * strong_error - 0.005, (
        "these are not the pictures that the recorded network was tested on"
    )

# %% [markdown]
# In the run shown on this page {{strong_accuracy:.1%}}, sampling error {{strong_error:.1%}}.
#
# ### Exercises: changes, stopping, steps
#
# **4. Mirror some.** Return the batch (N, C, H, W) with those pictures mirrored left to right for which `chosen`,
# bool (N,), is True.


# %%
def flip_some(images, chosen): ...


# %%
# Stuck? exercises.lesson4.flip_some.hint() helps a little,
# .solution() shows one way to do it
exercises.lesson4.flip_some.check(flip_some)

# %% [markdown]
# **5. Cutout.** Return the picture (C, H, W) with a square of `side` pixels painted in `fill`. It begins at
# `row - side // 2` and `column - side // 2`; what leaves the picture is cut off.


# %%
def paint_square(image, row, column, side, fill): ...


# %%
# Stuck? exercises.lesson4.paint_square.hint() helps a little,
# .solution() shows one way to do it
exercises.lesson4.paint_square.check(paint_square)

# %% [markdown]
# **6. Early stopping.** Given the validation accuracy of each epoch and a patience, return (the best epoch, the last
# epoch trained), both counted from 1. For `[0.5, 0.6, 0.7, 0.69, 0.68, 0.9]` and a patience of 2 it is (3, 5): the
# run never gets to see the 0.9.


# %%
def best_epoch(accuracies, patience): ...


# %%
# Stuck? exercises.lesson4.best_epoch.hint() helps a little,
# .solution() shows one way to do it
exercises.lesson4.best_epoch.check(best_epoch)

# %% [markdown]
# **7. Looking ahead.** The recipe's steps are Nesterov's. As PyTorch does it: the velocity is `momentum` times itself
# plus the gradient, and the weight is reduced by the rate times (gradient + momentum · velocity), with the *new*
# velocity. On the parabola ½ · curvature · w², return the list of the weights after each of `steps` steps.


# %%
def nesterov_path(start, curvature, rate, momentum, steps): ...


# %%
# Stuck? exercises.lesson4.nesterov_path.hint() helps a little,
# .solution() shows one way to do it
exercises.lesson4.nesterov_path.check(nesterov_path)

# %% [markdown]
# ## Part 3: the diagnosis
#
# Everything here is about the network of the recorded ten minutes (or, where CIFAR-10 was not found, about your own),
# and, as in lesson 3, about *validation* pictures: what we learn from mistakes we will act on.
#
# ### Class by class

# %% tags=["hide-input"]
# the recorded network has not learned from the pictures set aside by seed 0
recorded_split = cifar
if settings.seed != 0 and not cifar.source.stand_in:
    recorded_split = data.load("cifar10", seed=0)
examined = recorded_split.validation.take(
    at_most=settings.test_used, seed=settings.seed
)
examined_batches = data.batches(
    examined, 500, device=device, channels_last=True
)

# %%
answers = training.predict(model, examined_batches)
by_class = diagnosis.per_class(answers, cifar.classes)

# %% tags=["hide-input"]
figures.show(
    by_class.plot(),
    alt=(
        "Horizontal bars with the accuracy of each class and its error, the"
        f" best on top; lowest: {by_class.worst}."
    ),
)

# %%
confusion = diagnosis.confusion_matrix(answers, cifar.classes)
for truth, guess, count in confusion.worst_pairs(3):
    print(f"{count} × {truth} taken for {guess}")

# %% tags=["hide-input"]
first, second, times = confusion.worst_pairs(1)[0]
figures.show(
    confusion.ordered().plot(),
    alt=(
        "A table with a row for each true class and a column for each guess."
        " What is right is grey; mistakes are orange, the darkest where"
        f" {first} is taken for {second}."
    ),
)
worst = by_class.accuracy.min().item()
results.record(
    ".1%",
    class_error=standard_error(worst, len(examined) / classes),
    worst_class=by_class.worst,
    worst_accuracy=by_class.accuracy.min(),
    confused_truth=first,
    confused_guess=second,
    confused_times=times,
)

# %% [markdown]
# In the run shown on this page the lowest accuracy is that of {{worst_class}}, {{worst_accuracy:.0%}} with a sampling
# error of {{class_error:.1%}} (the bars show two of these on either side; one class's pictures instead of all make it
# about three times as large), and the most frequent mistake is {{confused_truth}} taken for {{confused_guess}}
# ({{confused_times}} ×).
#
# ### Four pictures it has never seen
#
# Four *test* pictures first, spread over the set, from which nothing will be concluded. Count how many are right. (If
# they are CIFAR-10's, the published notebook leaves them out.)

# %%
places = [len(test_part) * i // 4 for i in range(4)]
four = test_part.select(torch.tensor(places))
looked_at = training.predict(model, data.batches(four, 4, device=device))
for real, taken in zip(looked_at.labels, looked_at.guesses):
    sign = "right" if taken == real else "wrong"
    print(f"{cifar.classes[real]:<11} → {cifar.classes[taken]:<11} {sign}")

# %% tags=["hide-input"]
names = [cifar.classes[taken] for taken in looked_at.guesses]
results.record(
    looked_right=(looked_at.guesses == looked_at.labels).sum().item()
)
figures.show(
    pictures.grid(four.images, [f"→ {name}" for name in names], 4),
    alt=(
        "Four test pictures, spread over the set, with the network's guesses:"
        f" {', '.join(names)}."
    ),
    shareable=cifar.source.shareable,
)

# %% [markdown]
# In the run shown on this page {{looked_right}} of 4 are right.
#
# Then four photographs, which CIFAR-10 does not hold, cut to a square in the middle (the **centre crop**) and made as
# small as the pictures of the set. **Predict first.** Which class will each get?

# %% tags=["hide-input"]
unseen = {
    name: pictures.photograph(name)
    for name in ("cat", "raccoon", "coffee", "astronaut")
}
small = []
for picture in unseen.values():
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    small.append(
        pictures.to_tensor(
            picture.crop((left, top, left + side, top + side)).resize((32, 32))
        )
    )
small = torch.stack(small)  # (4, 3, 32, 32), uint8

# %%
normal = pictures.normalise(
    pictures.to_float(small), train_part.mean, train_part.std
).to(device)
with torch.inference_mode():
    sure, guess = model.eval()(normal).softmax(dim=1).max(dim=1)

# %% tags=["hide-input"]
captions = [
    f"{name}\n→ {cifar.classes[g]}, {figures.percent(s, 0)}"
    for name, g, s in zip(unseen, guess.tolist(), sure.tolist())
]
figures.show(
    pictures.grid(small, captions, 4),
    alt=(
        "Four small photographs with the network's guesses:"
        f" {'; '.join(captions)}.".replace("\n", " ")
    ),
)

# %% [markdown]
# <details><summary>Answer</summary>
#
# The stand-in's classes *are* such photographs. A network that knows CIFAR-10 *still* answers with one of its classes,
# because it has no other words, and a coffee cup is none of them. Nor can you rely on the probability to warn you:
# softmax shares 100 % among the classes there are. Before you let a network loose on pictures from elsewhere, ask what
# it will do with those that belong to no class.
#
# </details>
#
# ### Go deeper: The features from above
#
# Just before the last layer, each picture has become a short list of numbers, its *features*. Pictures of a class
# should lie near each other. We cannot draw {{features}} dimensions, but we can look from the side from which the
# cloud is widest. That is **principal component analysis**: centre the cloud, and let the singular value
# decomposition find the directions in which it is longest.

# %%
# (N, D)
features, labels = diagnosis.layer_outputs(model, examined_batches, "pool")
centred = features - features.mean(dim=0)
_, strengths, directions = torch.linalg.svd(centred, full_matrices=False)
flat = centred @ directions[:2].T  # (N, 2)
share = strengths[:2].square().sum() / strengths.square().sum()
projection = diagnosis.pca(features)

# %% tags=["hide-input"]
# a direction may point either way
assert_close(projection.points.abs(), flat.abs(), rtol=1e-3, atol=1e-3)
results.record(features=features.shape[1], two_directions=share)

# %% tags=["hide-input"]
figures.show(
    projection.plot(labels, cifar.classes),
    alt=(
        "Pictures as points along the two widest directions of their"
        " features, coloured by class. Points of a class gather, and the"
        " classes overlap."
    ),
)

# %% [markdown]
# In the run shown on this page two directions keep {{two_directions:.0%}} of the variance. Look for families rather
# than classes: do vehicles lie apart from animals? Ask which of the two centres each point is nearer to. (Always
# saying "animal" would be right about 60 %.)

# %% tags=["hide-input"]
vehicle = torch.tensor(
    [
        name in ("airplane", "automobile", "ship", "truck")
        for name in cifar.classes
    ]
)
if vehicle.sum() == 4:
    flat_points = projection.points[:, :2]
    is_vehicle = vehicle[labels]
    centres = torch.stack(
        [
            flat_points[~is_vehicle].mean(dim=0),
            flat_points[is_vehicle].mean(dim=0),
        ]
    )
    nearest = torch.cdist(flat_points, centres).argmin(dim=1).bool()
    sides_right = (nearest == is_vehicle).float().mean().item()
    near = figures.percent(sides_right)
    verdict = "yes" if sides_right > 0.7 else "hardly more than guessing"
    print(f"{near} lie nearer to their own family's centre: {verdict}.")
else:
    print("These classes are not CIFAR-10's: no animals against vehicles.")

# %% [markdown]
# Classes that lie on top of each other here may still be apart in the other directions, for the last layer uses all of
# them. (t-SNE, van der Maaten and Hinton 2008, draws tighter islands, but how far apart it puts them means little;
# scikit-learn has it as `sklearn.manifold.TSNE`.)
#
# ### Where does it look?
#
# The last stage gives maps, and each map is strong where its pattern is. Which maps speak for a class? Ask for
# gradients: if a map's numbers grew a little, how much would the class's logit grow? Weigh each map by its mean
# gradient, add them up, cut off what is negative. This is **Grad-CAM** (Selvaraju and others 2017, arXiv:1610.02391).
# **Predict first.** Our cat's face fills the picture. Which part of it will speak most for its class?

# %%
picture = normal[:1]  # the cat
model.eval()
# (1, channels, h, w)
maps = model.stages(model.stem(picture)).detach().requires_grad_()
logits = model.classifier(model.pool(maps))
target = logits.argmax().item()
(gradients,) = torch.autograd.grad(logits[0, target], maps)
weights = gradients[0].mean(dim=(1, 2))  # (channels,)
heat = (weights.view(-1, 1, 1) * maps.detach()[0]).sum(dim=0).relu()
heat = heat / heat.max().clamp(min=1e-12)

# %%
found = diagnosis.grad_cam(model, picture, "stages")

# %% tags=["hide-input"]
assert found.target == target, (
    "both must ask about the same class; was the network trained again?"
)
assert_close(found.heat, heat.cpu(), rtol=1e-3, atol=1e-4)
figures.show(
    found.plot(small[0], cifar.classes[target]),
    alt=(
        "The small cat twice: as it is, and in grey under a heat from dark red"
        f" to yellow where it speaks for {cifar.classes[target]}, in a few"
        " coarse fields."
    ),
)
row, column = divmod(heat.argmax().item(), heat.shape[1])
print(
    f"The strongest of {heat.shape[0]} × {heat.shape[1]} fields: number"
    f" {row + 1} from the top, {column + 1} from the left."
)

# %% [markdown]
# Yellow speaks most strongly for the class, dark red a little, and where the picture stays grey there is no evidence
# for it. `torch.autograd.grad` returns the gradient and, unlike `backward`, leaves none behind in the network.
#
# #### Go deeper: Weights without a gradient
#
# In *our* network there is a short cut: behind the maps come only an average and one dense layer, so a map's mean
# gradient is simply its weight in that layer, divided by the number of fields:

# %%
fields = maps.shape[2] * maps.shape[3]
print(
    f"{len(weights)} maps of {maps.shape[2]} × {maps.shape[3]}: weights read"
    " off without any gradient"
)

# %% tags=["hide-input"]
assert_close(
    weights,
    model.classifier.weight[target].detach() / fields,
    rtol=1e-3,
    atol=1e-6,
)

# %% [markdown]
# ### Explore the heat
#
# Choose a class and a layer. The picture stays the same; what speaks for *another* class may be elsewhere.

# %%
widgets.lesson4.grad_cam(
    model, small[0], cifar.classes, train_part.mean, train_part.std
)

# %% [markdown]
# Earlier layers have more fields and see smaller parts; the last one is coarse. Read such pictures with care: they
# show what *this* network uses, right or wrong, and that may well be the background.
#
# ### Sure and wrong
#
# Finally, the mistakes of which the network was most certain. (They are left out of the published notebook where the
# set's pictures may not be passed on. Run the cell to see them.)

# %%
wrong = diagnosis.mistakes(answers, examined.images, cifar.classes, n=12)

# %% tags=["hide-input"]
figures.show(
    wrong.plot(),
    alt=(
        "Pictures that the network got wrong, each with its true class,"
        " the guess, and the network's probability."
    ),
    shareable=cifar.source.shareable,
)
results.record(
    mistakes=int((answers.guesses != answers.labels).sum()),
    surest_mistake=wrong.confidence.max(),
)

# %% [markdown]
# In the run shown on this page: {{mistakes}} mistakes, and the surest of them with {{surest_mistake:.0%}}. Ask of
# each: is the object cut off, tiny, in front of another class's usual background? Then you know which pictures to
# collect next.
#
# ### Exercise: another way to ask where
#
# **8. Cover and see.** Without any gradient: cover a part of the picture and see how much is lost. `score` takes a
# batch (N, C, H, W) and returns (N,). Cut the picture (C, H, W) into squares of `side` (H and W are multiples of it);
# return, for each, the score of the whole picture minus that with this square set to 0, as (H / side, W / side).


# %%
def covered_drop(score, image, side): ...


# %%
# Stuck? exercises.lesson4.covered_drop.hint() helps a little,
# .solution() shows one way to do it
exercises.lesson4.covered_drop.check(covered_drop)

# %% [markdown]
# ## Quiz
#
# Choose an answer, and read why it is right or wrong; then read the others too. (In a copy without a kernel, unfold
# *Answers* below each question.)

# %%
exercises.lesson4.quiz.ask(1)

# %%
exercises.lesson4.quiz.ask(2)

# %%
exercises.lesson4.quiz.ask(3)

# %%
exercises.lesson4.quiz.ask(4)

# %%
exercises.lesson4.quiz.ask(5)

# %% [markdown]
# ## What you learned
#
# - Batch norm uses the batch in training and its memory in evaluation; dropout acts in training only. Forget `eval()`,
#   and answers depend on neighbours or on chance.
# - A residual block learns a correction to what comes in. Deep plain networks are hard to train (He and others 2015,
#   arXiv:1512.03385), and not because their gradients vanish: with a good start or batch norm they do not.
# - Change training pictures as new ones may differ, and never those that you measure with.
# - Where training and validation curves part, the network learns by heart. There changed pictures can
#   pay, given enough pictures and epochs.
# - Early stopping keeps the best epoch; a one-cycle schedule must run to its end.
# - Momentum adds up gradients that agree; Adam also divides by their size.
# - Features, heat and mistakes show what a network has understood, and what not.
#
# ## Where the code lives
#
# | what you built | where it lives |
# | --- | --- |
# | the classic network, the block, the residual network | `models.ClassicNet`, `ResidualBlock`, `ResidualNet` |
# | crop, flip, cutout | `data.Augment` |
# | early stopping | `training.fit(patience=…)` |
# | momentum, Adam | `torch.optim.SGD`, `torch.optim.Adam` |
# | dropout, He's first weights | `nn.Dropout`, `nn.init.kaiming_normal_` |
# | label smoothing | `training.fit(loss=…)` with PyTorch's own `label_smoothing` |
# | features from above | `diagnosis.layer_outputs`, `diagnosis.pca` |
# | Grad-CAM | `diagnosis.grad_cam` |
# | a script's recorded measurement, and its network | `results.benchmark`, `models.recorded_network` |
# | the sliders, lists and buttons | `widgets.lesson4` |
# | the checks of your answers | `exercises.lesson4` |
#
# ## What next
#
# Training from scratch needs tens of thousands of labelled pictures. What if you have two hundred? [Lesson
# 5](05_transfer_learning.ipynb) stands on a network that has already seen a million. Or go back to [lesson
# 3](03_fashion_mnist_cnn.ipynb) and give its network a residual block and augmentation: does it help there?
