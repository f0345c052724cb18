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
# Clothes on white ground were kind to us. Now the pictures are photographs: small, in colour, taken from any side,
# with anything behind. A network that is large enough for them is also large enough to learn its training pictures
# by heart. This lesson builds the network, and the tools that keep it honest.
#
# **After this lesson you will be able to**
#
# - build a residual network with batch normalisation, and say what each does in training and in evaluation;
# - change training pictures at random, and say which changes help, which harm, and why validation gets none;
# - read from curves that a network learns by heart, and stop at the best epoch;
# - save a run so that an interruption changes nothing, bit for bit;
# - look into a trained network: its features in two dimensions, and where in a picture it looks (Grad-CAM).
#
# **You need** lessons 1 to 3. **Time:** about {{study_minutes}} minutes to study. On {{cores}} processor cores the
# cells of the run shown here took {{seconds:.0f}} seconds, with a few thousand pictures. The profile `full` is meant
# for a GPU.
#
# ### Contents
#
# **The networks**
#
# - [Photographs of ten kinds](#Photographs-of-ten-kinds)
# - [The classic network](#The-classic-network)
# - [Batch norm has two faces](#Batch-norm-has-two-faces)
# - [A way around](#A-way-around)
# - [The residual network](#The-residual-network)
#
# **The training**
#
# - [Changes that keep the class](#Changes-that-keep-the-class)
# - [Explore how much is too much](#Explore-how-much-is-too-much)
# - [Learning by heart](#Learning-by-heart)
# - [Stopping at the best](#Stopping-at-the-best)
# - [Interrupted, and the same](#Interrupted,-and-the-same)
# - [The recipe](#The-recipe)
# - [Explore the rate](#Explore-the-rate)
# - [The test](#The-test)
#
# **The diagnosis**
#
# - [Class by class](#Class-by-class)
# - [Four pictures it has never seen](#Four-pictures-it-has-never-seen)
# - [The features from above](#The-features-from-above)
# - [Where does it look?](#Where-does-it-look?)
# - [Explore the heat](#Explore-the-heat)
# - [Sure and wrong](#Sure-and-wrong)
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

import functools
import itertools
import tempfile
from pathlib import Path

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
from course_utils.errors import DataError, told

# %% [markdown]
# The settings worth changing. `None` means "as the profile says".

# %% tags=["parameters"]
profile = "auto"  # "quick" runs anywhere, "full" is meant for a GPU
seed = None  # start of the random numbers
epochs = None  # how often the residual network sees every training picture
batch_size = None  # pictures in one of its steps
learning_rate = None  # the highest learning rate of its schedule
pictures_used = None  # how many training pictures to use, at most
test_used = None  # how many validation and how many test pictures, at most
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
# ## Photographs of ten kinds
#
# CIFAR-10 holds 60,000 colour pictures of 32×32 pixels in ten classes: 50,000 to learn from, 10,000 to be tested on
# (Krizhevsky 2009, *Learning Multiple Layers of Features from Tiny Images*). Read the line that `data.load` prints,
# for every figure below rests on it:
#
# - *JPEG files, not the original pixels* means that each picture was compressed once more. That costs a few points of
#   accuracy: a published recipe that reaches 94.0 % on the originals reached 90.6 % on such copies.
# - *Stand-in* means that CIFAR-10 was not found. Then you work with crops of the course's own photographs, and the
#   class is the photograph that a crop comes from. Every cell works, and no figure says anything about CIFAR-10.

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
    data=cifar.source.description,
    training_pictures=len(train_part),
    guessing=1 / classes,
)

# %% [markdown]
# **Predict first.** Someone guesses without looking. What accuracy will that give? And before you see a result: what
# do you expect of a small network?

# %%
samples = [cifar.train.of_class(name).images[:4] for name in cifar.classes]
titles = [name if i == 0 else "" for name in cifar.classes for i in range(4)]

# %% tags=["hide-input"]
figures.show(
    pictures.grid(
        torch.cat(samples),
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
# Guessing gives {{guessing:.0%}}. Compare two pictures of one class: colour, size, place and background all differ.
# No single pixel tells anything, so the network has to find shapes, wherever they are.
#
# ## The classic network
#
# For decades the first network for such pictures has looked like this: two convolutions, each followed by pooling,
# then three dense layers. LeCun and others read digits with it in 1998; PyTorch's own tutorial trains it on
# CIFAR-10.

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
# `models.ClassicNet` is the same network. Its weights, in their order, are put into ours, and both give the same
# logits:

# %%
library = models.ClassicNet(classes)
for ours, theirs in zip(classic.parameters(), library.parameters()):
    ours.data.copy_(theirs.data)
images, labels = next(iter(data.batches(train_part, 64)))
print(f"the same logits from {models.count_parameters(classic):,} parameters")

# %% tags=["hide-input"]
assert_close(classic(images), library(images))

# %% [markdown]
# Now train it as published: batches of 4, plain steps with a rate of 0.001 and momentum 0.9, two epochs. *Momentum*
# lets every step keep nine tenths of the one before, as a ball does that rolls. Here it sees {{classic_pictures:,}}
# pictures twice.

# %%
training.seed_everything(settings.seed)
classic = models.ClassicNet(classes).to(device)
few = train_part.take(at_most=6000, seed=settings.seed)
few_batches = data.batches(
    few, 4, shuffle=True, seed=settings.seed, device=device
)
validation = data.batches(validation_part, 500, device=device)
optimizer = torch.optim.SGD(classic.parameters(), lr=0.001, momentum=0.9)
history = training.fit(
    classic, few_batches, validation, epochs=2, optimizer=optimizer
)

# %% tags=["hide-input"]
results.record(
    classic_validation=history.validation_accuracy[-1],
    classic_pictures=len(few),
)
assert history.train_loss[-1] < history.train_loss[0]

# %% [markdown]
# {{classic_validation:.0%}} on validation: better than guessing, but not good. It had few pictures. With all
# 50,000, which takes longer than this lesson should, it was measured by a script of the course:

# %%
benchmark = results.benchmark("cifar10") or {}


def show_recorded(side):
    if side in benchmark:
        run = benchmark[side]
        print(
            f"{side}: {figures.percent(run['accuracy'])} of the test pictures"
            f" right after {run['epochs']} epochs"
        )


show_recorded("classic")

# %% [markdown]
# The tutorial reports about 55 % on the original pixels. We want much more, from a deeper network. Depth brings two
# problems, and each has an answer: batch normalisation and residual connections.
#
# ## Batch norm has two faces
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
# That pass also moved the running values one tenth of the way from where they began (mean 0, variance 1) to the
# batch's:

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
one, company_a, company_b = images[:1], images[1:8], images[8:15]
net.train()
with torch.no_grad():
    difference = (
        (
            net(torch.cat([one, company_a]))[0]
            - net(torch.cat([one, company_b]))[0]
        )
        .abs()
        .max()
    )
net.eval()
with torch.inference_mode():
    quiet = (
        (
            net(torch.cat([one, company_a]))[0]
            - net(torch.cat([one, company_b]))[0]
        )
        .abs()
        .max()
    )
print(
    f"its logits differ by up to {difference:.3f} in training mode,\n"
    f"and by {quiet:.1e} in evaluation mode"
)

# %% tags=["hide-input"]
assert difference > 1e-3 > 10 * quiet

# %% [markdown]
# In training mode, yes: every picture counts in the mean and variance of all others. If you said no, you were
# thinking of the weights, which are indeed the same. The fix is one line, `model.eval()` before you measure, and
# `model.train()` before you go on; `training.evaluate` does both. And with a batch of *one*, a layer may have
# nothing to average:

# %%
try:
    nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(3)).train()(
        images[:1]
    )
except ValueError as error:
    print(told(error))

# %% [markdown]
# One picture, one value for each channel: its variance is 0, and dividing by it would leave nothing. You meet this
# message when the *last* batch of an epoch happens to hold one picture; `drop_last=True` leaves it out.
#
# ## A way around
#
# Stack more and more layers, and at some depth the network gets *worse*, on the training pictures too. Strange: the
# added layers only had to pass on what they get. But passing on is hard to learn for a layer that starts at random.
# So give it a way around (He and others 2015, arXiv:1512.03385): what comes in is *added* to what the layers make of
# it.


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
library.load_state_dict(mine.state_dict())
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
assert torch.equal(mine(maps), maps)

# %% [markdown]
# With it, the block passes everything on, and the layers only have to learn a *correction*. Without it, nothing
# arrives. The slopes use the same way back. Here are forty layers with and without, and the slope that arrives at
# the start:


# %%
def slope_at_the_start(around, layers=40):
    torch.manual_seed(0)
    x = start = torch.randn(8, 16, 8, 8, requires_grad=True)
    for _ in range(layers):
        step = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU())(x)
        x = x + step if around else step
    x.square().mean().sqrt().backward()
    return start.grad.norm().item()


print(
    f"without a way around {slope_at_the_start(False):.0e}, with it"
    f" {slope_at_the_start(True):.0e}"
)

# %% tags=["hide-input"]
assert slope_at_the_start(True) > 1e3 * slope_at_the_start(False)

# %% [markdown]
# Without a way around, hardly any slope is left after forty layers, so the first ones learn nothing.
#
# ## The residual network
#
# Ours is short and wide, after David Page's *How to train your ResNet* (myrtle.ai, 2018): a first convolution, then
# *stages*. A stage doubles the channels and halves the picture, as lesson 3's block did, and ends with a residual
# block. At the end each channel is averaged over all its pixels, and one dense layer gives the logits.


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
library.load_state_dict(ours.state_dict())

# %% tags=["hide-input"]
assert_close(ours.eval()(images), library.eval()(images))

# %%
big = models.ResidualNet((64, 128, 256, 512), early_pool=False, classes=classes)
for net in (library, big):
    print(
        f"{models.count_parameters(net):>9,} parameters; the last stage sees",
        tuple(net.stages(net.stem(images[:1])).shape),
    )

# %% [markdown]
# The same logits as `models.ResidualNet`. Its `widths` decide how large it is, and with `early_pool` it halves the
# pictures at once: four times less work, which suits a processor. The second network is for the profile `full`.
#
# ## Changes that keep the class
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
# down? You would know the cat. But new pictures hardly come that way, and learning to know them costs room and time.
# A change should make pictures that the network *may meet*. (For pictures from a microscope, any turn is fine.)
#
# `data.Augment` makes the same changes with a whole batch at once:

# %% tags=["hide-input"]
assert torch.equal(data.crop(cat[None], torch.tensor([[6, 1]]), 4)[0], shifted)
assert torch.equal(data.hflip(cat[None], torch.tensor([True]))[0], mirrored)
assert torch.equal(
    data.cutout(cat[None], torch.tensor([[14, 22]]), 8, 128)[0], covered
)

# %%
augment = data.Augment(crop=4, flip=True, cutout=settings.cutout)
print("in this lesson:", augment)

# %% [markdown]
# ## Explore how much is too much
#
# Move the sliders until you would no longer know the cat. Every copy would still carry its label!

# %%
widgets.lesson4.augmentation(cat)

# %% [markdown]
# Four pixels of shift and half of the pictures mirrored are the usual choice for 32×32. With a crop of 12 and a
# square of 24, little is left, and the network would have to learn from noise.
#
# **Pitfall: augmented validation.** Changes are for training pictures only. Someone passes the same `augment` to the
# validation batches. Watch the accuracy of the *same* network on the *same* pictures:

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
assert len(set(augmented)) == 3 and len(set(plain)) == 1

# %% [markdown]
# Three passes, three different losses, and none of them is the loss on the pictures themselves. A measurement that
# moves when nothing has changed cannot choose between two networks. The fix: no `augment` where you measure.
#
# ## Learning by heart
#
# Take few pictures and a network that is large for them. **Predict first.** After {{heart_epochs}} epochs, how many
# of its {{heart_pictures}} training pictures does it know? And of new ones? Now the same with augmentation. (As in
# lesson 3 the rate comes down to nearly 0, so that the end is not the luck of the last large steps.)

# %%
heart_part = train_part.take(500, seed=settings.seed)
heart_validation = data.batches(
    validation_part.take(at_most=1000, seed=settings.seed), 500, device=device
)


def learn(augment, epochs=20):
    training.seed_everything(settings.seed)
    net = models.ResidualNet((16, 32, 64), classes=classes).to(device)
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
figures.show(
    by_heart.plot(),
    alt=(
        "Two charts over the epochs without augmentation. Training loss falls"
        " to nearly 0 and training accuracy rises to"
        f" {figures.percent(by_heart.train_accuracy[-1], 0)}, while validation"
        " accuracy ends at"
        f" {figures.percent(by_heart.validation_accuracy[-1], 0)}."
    ),
)

# %%
gap = by_heart.train_accuracy[-1] - by_heart.validation_accuracy[-1]
changed_gap = changed.train_accuracy[-1] - changed.validation_accuracy[-1]

# %% tags=["hide-input"]
results.record(
    heart_pictures=len(heart_part),
    heart_epochs=by_heart.epochs,
    heart_training=by_heart.train_accuracy[-1],
    heart_validation=by_heart.validation_accuracy[-1],
    changed_training=changed.train_accuracy[-1],
    changed_validation=changed.validation_accuracy[-1],
    # On few pictures, or on a stand-in that is easy, chance may turn it round.
    gap_became="smaller" if changed_gap < gap else "no smaller in this run",
)
assert by_heart.train_accuracy[-1] > 0.9 and gap > 0

# %% [markdown]
# {{heart_training:.0%}} of the training pictures and {{heart_validation:.0%}} of new ones. The blue and the orange
# curve part: that is **overfitting**, and this is how you recognise it. The validation loss may even *rise* while
# the accuracy stands still: the network grows ever more sure of its mistakes.
#
# With augmentation it is {{changed_training:.0%}} and {{changed_validation:.0%}}. It never sees the same picture
# twice, so learning by heart is harder, and the gap is {{gap_became}}. It also learns more slowly: augmentation needs
# more epochs before it pays, and with very few epochs it may cost accuracy.
#
# ## Stopping at the best
#
# If validation no longer improves, why go on? `patience=3` ends a run after three epochs without a better validation
# accuracy, and puts the *best* weights back, not the last ones.

# %%
training.seed_everything(settings.seed)
net = models.ResidualNet((16, 32, 64), classes=classes).to(device)
batches = data.batches(
    heart_part, 50, shuffle=True, seed=settings.seed, device=device
)
optimizer = torch.optim.AdamW(net.parameters(), lr=0.003)
history = training.fit(
    net, batches, heart_validation, epochs=30, optimizer=optimizer, patience=3
)
best = max(history.validation_accuracy)

# %% tags=["hide-input"]
assert training.evaluate(net, heart_validation).accuracy == best
assert history.best_epoch == history.validation_accuracy.index(best) + 1
results.record(
    stopped_after=history.epochs,
    best_epoch=history.best_epoch,
    best_validation=best,
)

# %% [markdown]
# It ended after {{stopped_after}} of at most 30 epochs and kept epoch {{best_epoch}}, with {{best_validation:.1%}}.
# Mind what happened: we *chose* by validation accuracy, so that figure now flatters a little. The test part will
# tell.
#
# ## Interrupted, and the same
#
# Long runs get interrupted. With `checkpoint=` a run saves after every epoch all that changes: weights, running
# values of batch norm, the optimizer's memory, the schedule, the random numbers. Here is one run in one piece, and
# one that is cut and goes on:

# %%
folder = Path(tempfile.mkdtemp())


def short_run(checkpoint, interrupt_after=None):
    training.seed_everything(5)
    net = models.ResidualNet((8, 16), classes=classes)
    batches = data.batches(
        heart_part, 100, shuffle=True, augment=data.Augment(crop=4, flip=True)
    )
    optimizer = torch.optim.SGD(
        net.parameters(), lr=0.1, momentum=0.9, nesterov=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 0.1, total_steps=4 * len(batches)
    )
    training.fit(
        net,
        batches,
        epochs=interrupt_after or 4,
        optimizer=optimizer,
        scheduler=schedule,
        checkpoint=checkpoint,
        progress=False,
    )
    return net.state_dict()


whole = short_run(folder / "whole.pt")
short_run(folder / "cut.pt", interrupt_after=2)  # here the power goes off …
resumed = short_run(folder / "cut.pt")  # … and the run goes on from the file
print(f"{len(whole)} tensors, bit for bit the same")

# %% tags=["hide-input"]
assert all(torch.equal(whole[name], resumed[name]) for name in whole)

# %% [markdown]
# What if only the weights had been saved? The optimizer would have forgotten its momentum and the schedule its place:

# %%
training.save_weights(
    models.ResidualNet((8, 16), classes=classes), folder / "weights.pt"
)
try:
    short_run(folder / "weights.pt")
except DataError as error:
    print(told(error))

# %% [markdown]
# ## The recipe
#
# All together now: the residual network, crops and mirror images, one-cycle, SGD with Nesterov's momentum (it looks
# where the step leads before it computes the slope) and *weight decay*, which pulls every weight a little towards 0.
# One more thing, **label smoothing**: the truth gets 90 % instead of all, the rest is shared among all classes, so
# the network is not pushed to be ever more certain. By hand:

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
        momentum=0.9,
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
figures.show(
    history.plot(),
    alt=(
        "Two charts over the epochs, training beside validation: the losses"
        " fall over the run, the accuracies rise, and the best validation"
        " accuracy is circled."
    ),
)
results.record(
    epochs=history.epochs,
    training_accuracy=history.train_accuracy[-1],
    validation_accuracy=history.validation_accuracy[-1],
)
assert history.train_loss[-1] < history.train_loss[0]

# %% [markdown]
# {{validation_accuracy:.1%}} on validation, and {{training_accuracy:.1%}} on the training pictures as they were seen,
# changed. The two are close: this network is not learning by heart, it could use more pictures and more epochs.
#
# ## Explore the rate
#
# Sit at the lever again, as in lesson 3, now with the residual network: *Start*, then move the rate while it trains.
# **Predict first.** Batch norm makes large rates safer. How far can you go before it falls apart?

# %%
torch.manual_seed(settings.seed)
widgets.lesson4.LiveTraining(
    models.ResidualNet((8, 16, 32), classes=classes),
    data.batches(
        train_part.take(at_most=2000, seed=settings.seed),
        64,
        shuffle=True,
        seed=settings.seed,
    ),
    data.batches(validation_part.take(at_most=300, seed=settings.seed), 300),
    compared_steps=40,
)

# %% [markdown]
# Pause it, lower the rate by a factor of ten, and go on: the curve becomes quieter at once. That is what the end of a
# one-cycle schedule does for you.
#
# ## The test
#
# All decisions are taken, and the test part is opened.

# %%
test_part = cifar.test.take(at_most=settings.test_used, seed=settings.seed)
test_batches = data.batches(test_part, 500, device=device, channels_last=True)
accuracies = [
    training.evaluate(net, test_batches).accuracy for net, _ in trained
]

# %% tags=["hide-input"]
results.record(
    test_accuracy=sum(accuracies) / len(accuracies),
    test_worst=min(accuracies),
    test_pictures=len(test_part),
    runs=len(trained),
)

# %%
enough = (
    0.88
    if len(train_part) >= 40_000 and settings.epochs >= 15
    else 1.5 / classes
)

# %% tags=["hide-input"]
assert min(accuracies) > enough, (
    f"expected more than {figures.percent(enough)}; did a setting change a lot?"
)

# %% [markdown]
# {{test_accuracy:.1%}} of {{test_pictures:,}} test pictures, after {{epochs}} epochs of {{training_pictures:,}}
# pictures ({{data}}). That is what a few seconds
# give. What do all 50,000 pictures give, with a network twice as wide and less than ten minutes of processor time? The
# course's script measured it:

# %%
for side in ("classic", "ours_short", "ours"):
    show_recorded(side)

# %% [markdown]
# The same kind of network and the same recipe, with more pictures and more time. (All of it on the copies as JPEG
# files that the line above names, which cost a few points.) What the larger network of the profile `full` reaches on
# a GPU is not recorded yet. Run it and you will know.
#
# ## Class by class

# %%
answers = training.predict(model, test_batches)
by_class = diagnosis.per_class(answers, cifar.classes)

# %% tags=["hide-input"]
figures.show(
    by_class.plot(),
    alt=(
        "Horizontal bars with the accuracy of each class, the best on top;"
        f" {by_class.worst} has the shortest."
    ),
)

# %%
confusion = diagnosis.confusion_matrix(answers, cifar.classes)
for truth, guess, count in confusion.worst_pairs(3):
    print(f"{truth} taken for {guess}: {count} times")

# %% tags=["hide-input"]
first, second, times = confusion.worst_pairs(1)[0]
figures.show(
    confusion.ordered().plot(),
    alt=(
        "A table with a row for each true class and a column for each guess."
        " What is right is grey; mistakes are red, the darkest where"
        f" {first} is taken for {second}."
    ),
)
results.record(
    worst_class=by_class.worst,
    worst_accuracy=by_class.accuracy.min(),
    confused_truth=first,
    confused_guess=second,
    confused_times=times,
)

# %% [markdown]
# The hardest class is {{worst_class}}, {{worst_accuracy:.0%}} right, and the most frequent mistake is
# {{confused_truth}} taken for {{confused_guess}}, {{confused_times}} times. Would you have made the same mistake?
#
# ## Four pictures it has never seen
#
# Photographs from elsewhere, made as small as the pictures of the set. **Predict first.** Which class will each get?

# %%
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
normal = pictures.normalise(
    pictures.to_float(small), train_part.mean, train_part.std
).to(device)
with torch.inference_mode():
    sure, guess = model.eval()(normal).softmax(dim=1).max(dim=1)
captions = [
    f"{name}\n→ {cifar.classes[g]}, {figures.percent(s, 0)}"
    for name, g, s in zip(unseen, guess.tolist(), sure.tolist())
]

# %% tags=["hide-input"]
figures.show(
    pictures.grid(small, captions, 4),
    alt=(
        "Four small photographs with the network's guesses:"
        f" {'; '.join(captions)}.".replace("\n", " ")
    ),
)

# %% [markdown]
# It *always* answers with one of its classes, because it has no other words, and a coffee cup is none of CIFAR-10's.
# Nor does the probability warn you: softmax shares 100 % among the classes there are. Before you let a network loose
# on pictures from elsewhere, ask what it will do with those that belong to no class.
#
# ## The features from above
#
# Just before the last layer, each picture has become a short list of numbers, its *features*. Pictures of a class
# should lie near each other. We cannot draw {{features}} dimensions, but we can look from the side from which the
# cloud is widest. That is **principal component analysis**: centre the cloud, and let the singular value
# decomposition find the directions in which it is longest.

# %%
# (N, D)
features, labels = diagnosis.layer_outputs(model, test_batches, "pool")
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
        "Test pictures as points along the two widest directions of their"
        " features, coloured by class. Points of a class gather, and the"
        " classes overlap."
    ),
)

# %% [markdown]
# Two directions keep {{two_directions:.0%}} of what differs. Classes that lie on each other here may still be apart
# in the other directions: the last layer uses all of them. Neighbours are the ones that get mixed up. (t-SNE, van
# der Maaten and Hinton 2008, draws tighter islands, but how far apart it puts them means little; scikit-learn has it
# as `sklearn.manifold.TSNE`.)
#
# ## Where does it look?
#
# The last stage gives maps, and each map is strong where its pattern is. Which maps speak for a class? Ask for
# slopes: if a map's numbers grew a little, how much would the class's logit grow? Weigh each map by its mean slope,
# add them up, cut off what is negative. This is **Grad-CAM** (Selvaraju and others 2017, arXiv:1610.02391). Predict
# first: will it look at the animal or at the background?

# %%
picture = normal[:1]  # the cat
model.eval()
# (1, channels, h, w)
maps = model.stages(model.stem(picture)).detach().requires_grad_()
logits = model.classifier(model.pool(maps))
target = logits.argmax().item()
logits[0, target].backward()
weights = maps.grad[0].mean(dim=(1, 2))  # (channels,)
heat = (weights.view(-1, 1, 1) * maps.detach()[0]).sum(dim=0).relu()
heat = heat / heat.max().clamp(min=1e-12)

# %%
found = diagnosis.grad_cam(model, picture, "stages")

# %% tags=["hide-input"]
assert found.target == target
assert_close(found.heat, heat.cpu(), rtol=1e-3, atol=1e-4)
figures.show(
    found.plot(small[0], cifar.classes[target]),
    alt=(
        "The small cat twice: as it is, and dark except where it speaks for"
        f" {cifar.classes[target]} in the eyes of the network, an area of a few"
        " coarse fields."
    ),
)

# %% [markdown]
# The helper agrees with the hand. In *our* network there is a short cut: behind the maps come only an average and one
# dense layer, so a map's mean slope is simply its weight in that layer, divided by the number of fields:

# %%
fields = maps.shape[2] * maps.shape[3]
print(
    f"{len(weights)} maps of {maps.shape[2]} × {maps.shape[3]}: weights read"
    " off without any slope"
)

# %% tags=["hide-input"]
assert_close(
    weights,
    model.classifier.weight[target].detach() / fields,
    rtol=1e-3,
    atol=1e-6,
)

# %% [markdown]
# ## Explore the heat
#
# Choose a class and a layer. The picture stays the same; what speaks for *another* class is elsewhere.

# %%
widgets.lesson4.grad_cam(
    model, small[0], cifar.classes, train_part.mean, train_part.std
)

# %% [markdown]
# Earlier layers have more fields and see smaller parts; the last one is coarse. Read such pictures with care: they
# show what *this* network uses, right or wrong, and after little training that may well be the background.
#
# ## Sure and wrong
#
# At last the mistakes of which the network was most certain. (They are left out of the published notebook where the
# set's pictures may not be passed on. Run the cell to see them.)

# %%
wrong = diagnosis.mistakes(answers, test_part.images, cifar.classes, n=12)

# %% tags=["hide-input"]
figures.show(
    wrong.plot(),
    alt=(
        "Test pictures that the network got wrong, each with its true class,"
        " the guess, and the network's probability."
    ),
    shareable=cifar.source.shareable,
)
results.record(
    mistakes=int((answers.guesses != answers.labels).sum()),
    surest_mistake=wrong.confidence.max(),
)

# %% [markdown]
# {{mistakes}} mistakes, and the surest of them with {{surest_mistake:.0%}}. Ask of each: is the object cut off,
# tiny, in front of another class's usual background? Then you know which pictures to collect next.
#
# ## Exercises
#
# Replace the dots and run the cells. Each stub runs as it is, so that *Run All* always finishes.
#
# The cell after each stub checks your answer: ✓ correct, ✗ wrong, with the first difference, or ○ not attempted. An
# answer must leave the tensors that it is given as they were.
#
# **1. Two faces.** Normalise images (N, C, H, W) per channel: in training by the batch's own mean and (biased)
# variance, otherwise by the `mean` and `variance` (C,) that are given. Add `eps` to the variance under the root.


# %%
def batch_norm(images, mean, variance, training, eps=1e-5): ...


# %%
# Stuck? exercises.lesson4.batch_norm.hint() helps a little,
# .solution() shows one way to do it
exercises.lesson4.batch_norm.check(batch_norm)

# %% [markdown]
# **2. Mirror some.** Return the batch (N, C, H, W) with those pictures mirrored left to right for which `chosen`,
# bool (N,), is True.


# %%
def flip_some(images, chosen): ...


# %%
# Stuck? exercises.lesson4.flip_some.hint() helps a little,
# .solution() shows one way to do it
exercises.lesson4.flip_some.check(flip_some)

# %% [markdown]
# **3. Cutout.** Return the picture (C, H, W) with a square of `side` pixels painted in `fill`. It begins at
# `row - side // 2` and `column - side // 2`; what leaves the picture is cut off.


# %%
def paint_square(image, row, column, side, fill): ...


# %%
# Stuck? exercises.lesson4.paint_square.hint() helps a little,
# .solution() shows one way to do it
exercises.lesson4.paint_square.check(paint_square)

# %% [markdown]
# **4. Early stopping.** Given the validation accuracy of each epoch and a patience, return (the best epoch, the last
# epoch trained), both counted from 1. For `[0.5, 0.6, 0.7, 0.69, 0.68, 0.9]` and a patience of 2 it is (3, 5): the
# run never gets to see the 0.9.


# %%
def best_epoch(accuracies, patience): ...


# %%
# Stuck? exercises.lesson4.best_epoch.hint() helps a little,
# .solution() shows one way to do it
exercises.lesson4.best_epoch.check(best_epoch)

# %% [markdown]
# **5. Label smoothing.** Return the mean loss of logits (N, K) for labels (N,), where the truth keeps 1 − smoothing
# and all K classes share the rest equally. Do not use `F.cross_entropy`; logits may be as large as 1,000.


# %%
def smoothed_loss(logits, labels, smoothing): ...


# %%
# Stuck? exercises.lesson4.smoothed_loss.hint() helps a little,
# .solution() shows one way to do it
exercises.lesson4.smoothed_loss.check(smoothed_loss)

# %% [markdown]
# **6. Grad-CAM.** From the maps (C, h, w) of a picture and the slopes of a logit, of the same shape, return the heat
# (h, w): weigh each map by its mean slope, add up, cut off below 0, and divide by the largest value if it is not 0.


# %%
def class_heat(maps, slopes): ...


# %%
# Stuck? exercises.lesson4.class_heat.hint() helps a little,
# .solution() shows one way to do it
exercises.lesson4.class_heat.check(class_heat)

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

# %% [markdown]
# ## What you learned
#
# - Batch norm uses the batch in training and its memory in evaluation. Forget `eval()`, and neighbours change answers.
# - A residual block learns a correction to what comes in; its way around carries the slopes back.
# - Change training pictures as new ones may differ, and never those that you measure with.
# - Where training and validation curves part, the network learns by heart.
# - Early stopping keeps the best epoch; a checkpoint keeps everything that changes.
# - Features, heat and mistakes show what a network has understood, and what not.
#
# ## Where the code lives
#
# | what you built | where it lives |
# | --- | --- |
# | the classic network, the block, the residual network | `models.ClassicNet`, `ResidualBlock`, `ResidualNet` |
# | crop, flip, cutout | `data.Augment` |
# | early stopping, checkpoint and resume | `training.fit(patience=…, checkpoint=…)` |
# | label smoothing | `training.fit(loss=…)` with PyTorch's own `label_smoothing` |
# | features from above | `diagnosis.layer_outputs`, `diagnosis.pca` |
# | Grad-CAM | `diagnosis.grad_cam` |
# | a script's recorded measurement | `results.benchmark` |
# | the sliders, lists and buttons | `widgets.lesson4` |
# | the checks of your answers | `exercises.lesson4` |
#
# ## What next
#
# Ten minutes of training from scratch need tens of thousands of labelled pictures. What if you have two hundred?
# [Lesson 5](05_transfer_learning.ipynb) stands on a network that has already seen a million. Or go back to [lesson
# 3](03_fashion_mnist_cnn.ipynb) and give its network a residual block and augmentation: does it help there?
