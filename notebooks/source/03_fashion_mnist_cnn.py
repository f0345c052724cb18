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
# # A first network
#
# [Open in Colab][colab] · [Open on Binder][binder]
#
# [colab]: https://colab.research.google.com/github/pixels-to-predictions/pixels-to-predictions/blob/main/notebooks/03_fashion_mnist_cnn.ipynb
# [binder]: https://mybinder.org/v2/gh/pixels-to-predictions/pixels-to-predictions/main?urlpath=lab%2Ftree%2Fnotebooks%2F03_fashion_mnist_cnn.ipynb
#
# **The question: can a machine learn to tell a shirt from a coat?**
#
# In lesson 1 a picture became numbers, in lesson 2 a filter found edges, and one filter was even *learned*. Now we
# put the pieces together: a stack of learned filters, a score for each class, and a loop that makes the scores
# better. At the end a network of fewer than sixty thousand numbers sorts clothes it has never seen, and you have
# written the loop that taught it.
#
# **After this lesson you will be able to**
#
# - split a data set into training, validation and test pictures, and say what each is for;
# - follow a picture's shape through a network, and fix a published network that cannot run;
# - write the five lines that every training loop has, from memory;
# - measure a network honestly: over all samples, per class, class against class, mistake by mistake;
# - save a trained network, load it, and run the same code on a GPU.
#
# **You need** lessons 1 and 2. **Time:** on {{cores}} processor cores the cells ran in {{quick.seconds:.0f}} seconds
# with the profile `quick` (a few thousand pictures), and the run shown here in {{minutes:.1f}} minutes.
#
# ### Contents
#
# **The data**
#
# - [Ten kinds of clothes](#Ten-kinds-of-clothes)
# - [Three parts and three purposes](#Three-parts-and-three-purposes)
# - [From a set to batches](#From-a-set-to-batches)
#
# **The network**
#
# - [A network from a tutorial](#A-network-from-a-tutorial)
# - [Following the shapes](#Following-the-shapes)
# - [Scores and loss](#Scores-and-loss)
#
# **The training**
#
# - [One step](#One-step)
# - [Five lines](#Five-lines)
# - [Counting right](#Counting-right)
# - [A faster network](#A-faster-network)
# - [Training it](#Training-it)
# - [One run is an anecdote](#One-run-is-an-anecdote)
# - [Explore the rate while it trains](#Explore-the-rate-while-it-trains)
# - [The test](#The-test)
#
# **The diagnosis**
#
# - [Class by class](#Class-by-class)
# - [The most confident mistakes](#The-most-confident-mistakes)
# - [Explore mistakes by class pair](#Explore-mistakes-by-class-pair)
# - [Explore the feature maps](#Explore-the-feature-maps)
#
# **To close**
#
# - [Saving and loading](#Saving-and-loading)
# - [The same loop on a GPU](#The-same-loop-on-a-GPU)
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

import math
import tempfile
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close
from torch.utils.data import DataLoader, Dataset

from course_utils import (
    convolution,
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
from course_utils.errors import DataError

# %% [markdown]
# The settings worth changing. `None` means "as the profile says".

# %% tags=["parameters"]
profile = "auto"  # "quick" runs anywhere, "full" uses all pictures; "auto" chooses
seed = None  # start of the random numbers
epochs = None  # how often the network sees every training picture
batch_size = None  # pictures in one step
learning_rate = None  # the highest learning rate of the schedule
pictures_used = None  # how many training pictures to use
test_used = None  # how many validation and how many test pictures, at most
runs = None  # how many networks to train, each from other random numbers

# %% tags=["hide-input"]
settings = profiles.load(
    "03", profile, seed=seed, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate,
    pictures_used=pictures_used, test_used=test_used, runs=runs,
)  # fmt: skip
device = "cuda" if torch.cuda.is_available() else "cpu"
print(f"The network will live on: {device}")

# %% [markdown]
# ## Ten kinds of clothes
#
# Fashion-MNIST holds 70,000 grey pictures of 28×28 pixels from the catalogue of an online shop: 60,000 to learn from
# and 10,000 to be tested on, in ten classes (Xiao, Rasul and Vollgraf 2017, arXiv:1708.07747). `data.load` looks for
# it in your data folder, then tries to download it, and if there is no network either, takes the sample that comes
# with the course: 12,000 of the real pictures. The line it prints says which it was, because a result is only as good
# as the data behind it.

# %%
clothes = data.load("fashion_mnist", seed=settings.seed)
clothes.train

# %% [markdown]
# **Predict first.** Here are four pictures of each class. Which two classes will a machine mix up most often? Write
# your guess down; we shall count.

# %%
samples = [clothes.train.of_class(name).images[:4] for name in clothes.classes]
titles = [name if i == 0 else "" for name in clothes.classes for i in range(4)]
figures.show(
    pictures.grid(torch.cat(samples), titles=titles, columns=8, title="Ten classes, four pictures each"),
    alt="Forty small grey pictures in rows of eight: T-shirts, trousers, pullovers, dresses, coats, sandals, shirts, "
    "sneakers, bags and ankle boots, four of each class.",
)

# %% [markdown]
# Some are easy: no one takes trousers for a bag. But look at the pullovers, coats and shirts. At 28×28 pixels you
# would make mistakes yourself. Keep that in mind when we judge the network.
#
# Each picture is a `uint8` tensor with one channel, as in lesson 1, and each label is a number from 0 to 9.

# %%
picture, label = clothes.train.images[0], clothes.train.labels[0].item()
print(picture.shape, picture.dtype, "values from", picture.min().item(), "to", picture.max().item())
print("label", label, "means", clothes.classes[label])

# %% [markdown]
# ## Three parts and three purposes
#
# A network with enough numbers can learn its training pictures by heart. That tells us nothing about new ones. So the
# pictures are split into three parts, once, before anything else:
#
# | part | used for | how often |
# | --- | --- | --- |
# | training | computing gradients | all the time |
# | validation | every decision *we* take: which network, which rate, when to stop | often |
# | test | one honest figure at the very end | **once** |
#
# Why not decide on the test pictures? Because then we would pick what happens to suit *these* pictures, and the
# figure would flatter us. The test part stays closed until [The test](#The-test).
#
# `data.load` has already split. `take(at_most=…)` only keeps the waiting short: no more pictures than the profile
# says, each class alike.

# %%
train_part = clothes.train.take(at_most=settings.pictures_used, seed=settings.seed)
validation_part = clothes.validation.take(at_most=settings.test_used, seed=settings.seed)
for part in (train_part, validation_part):
    print(f"{part.name:<11}", f"{len(part):>6,}", "pictures,", sorted(set(part.counts().values())), "in each class")

# %% [markdown]
# The split is *stratified*: each class keeps its share in both parts. And it is *seeded*: tomorrow, the same pictures
# are set aside. No picture is put into two parts. But could the same picture be in the *set* twice? Then the network
# would be asked about something it has already seen. Compare the bytes:

# %%
seen = {image.numpy().tobytes() for image in clothes.train.images}
twins = sum(image.numpy().tobytes() in seen for image in clothes.validation.images)
print(f"{twins} of {len(clothes.validation):,} validation pictures have an identical twin in the training part")

# %% [markdown]
# None: validation asks only about new pictures. Make this check on any set that you did not collect yourself. Where
# the number is not 0, the set holds copies, and a split by position cannot see them.
#
# ## From a set to batches
#
# PyTorch's interface for data has two halves. A `Dataset` answers two questions: how many items are there, and what
# is item number i? A `DataLoader` makes batches of them. Here is the whole first half, by hand. The picture becomes
# floats and is normalised as in lesson 1, with mean and standard deviation *of the training part*.


# %%
class Clothes(Dataset):
    def __init__(self, part):
        self.part = part

    def __len__(self):
        return len(self.part)

    def __getitem__(self, i):
        image = pictures.to_float(self.part.images[i])  # (1, 28, 28), from 0 to 1
        return pictures.normalise(image, self.part.mean, self.part.std), self.part.labels[i]


image, label = Clothes(train_part)[0]
image.shape, label

# %% [markdown]
# **Predict first.** 60,000 pictures in batches of 32: how many batches? And 10,000 pictures: how many, and how large
# is the last one?

# %%
# NBVAL_CHECK_OUTPUT
for count in (60_000, 10_000):
    batches, last = math.ceil(count / 32), count % 32 or 32
    print(f"{count:,} pictures: {batches:,} batches of 32, the last one holds {last}")
assert math.ceil(60_000 / 32) == 1_875 and math.ceil(10_000 / 32) == 313 and 10_000 % 32 == 16

# %% [markdown]
# 60,000 is 1,875 × 32 exactly. 10,000 is not: 312 full batches, and a 313th with the 16 pictures that are left. If
# you guessed 312, you are in good company; many programs forget the last batch, or count it as if it were full. We
# shall see what that does to an accuracy.

# %%
loader = DataLoader(Clothes(train_part), batch_size=32, shuffle=True)
assert len(loader) == math.ceil(len(train_part) / 32)
images, labels = next(iter(loader))
print(len(loader), "batches; the first:", images.shape, labels.shape, labels[:8].tolist())

# %% [markdown]
# A loader is *iterable*, not a list: it shuffles anew each time it is gone through, so "the batch number 0" would
# mean nothing. The usual accident:

# %%
try:
    loader[0]
except TypeError as error:
    print(type(error).__name__, "-", error)

# %% [markdown]
# The fix is `next(iter(loader))` for one batch, or a `for` loop for all.
#
# An **epoch** is one pass through all training pictures. Our loader fetches them one at a time: as many calls of
# `__getitem__` in every epoch as there are pictures. Our whole set fits in memory, so there is a shorter way: index
# the tensor with 32 numbers at once, and normalise the whole batch in one go. That is the heart of `data.batches`,
# and the cell checks that both ways give the same numbers.

# %%
by_picture = next(iter(DataLoader(Clothes(train_part), batch_size=32)))
by_batch = next(iter(data.batches(train_part, size=32)))
assert_close(by_batch[0], by_picture[0])
assert_close(by_batch[1], by_picture[1])


def pictures_per_second(batches):
    start = time.perf_counter()
    count = sum(len(labels) for _, labels in batches)
    return count / (time.perf_counter() - start)


one_by_one = pictures_per_second(loader)
at_once = pictures_per_second(data.batches(train_part, size=32, shuffle=True))
results.record(loader_speedup=at_once / one_by_one)

# %% [markdown]
# The same pictures, {{loader_speedup:.0f}} times as many per second in this run (against a loader without helper
# processes). Nothing clever happened: Python is slow, so we ask it less often. Pictures that do *not* fit in memory
# still need `Dataset` and `DataLoader`; lesson 5 uses them.
#
# ## A network from a tutorial
#
# A network printed in a widely read tutorial for this data set has four convolutions, two poolings and three dense
# layers. Here it is as published, the interesting number left as an argument. The listing says 32 · 5 · 5.


# %%
class TutorialNet(nn.Module):
    def __init__(self, flat):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 5), nn.ReLU(), nn.Conv2d(32, 32, 5), nn.ReLU(), nn.MaxPool2d(2),
        )  # fmt: skip
        self.classifier = nn.Sequential(
            nn.Flatten(), nn.Linear(flat, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10)
        )

    def forward(self, images):
        return self.classifier(self.features(images))


# %%
published = TutorialNet(flat=32 * 5 * 5)
try:
    published(images)
except RuntimeError as error:
    print(type(error).__name__, "-", error)

# %% [markdown]
# It cannot run. Read the message as shapes: 32 pictures arrive with 128 numbers each, and the first dense layer has a
# table of 800 × 256 weights. 800 is 32 · 5 · 5: the listing takes the pictures to be 5×5 at that point. Are they?
#
# ## Following the shapes
#
# **Predict first.** Lesson 2 gave you the rule: a k×k convolution without padding makes a side of n pixels n − k + 1,
# and 2×2 pooling halves it. Start with 28 and go through the six layers in your head. Where do you end?

# %%
# NBVAL_CHECK_OUTPUT
side = 28
for name, kernel, stride in [
    ("conv 3×3", 3, 1), ("conv 3×3", 3, 1), ("pool 2×2", 2, 2),
    ("conv 5×5", 5, 1), ("conv 5×5", 5, 1), ("pool 2×2", 2, 2),
]:  # fmt: skip
    side = convolution.output_size(side, kernel, stride)
    print(f"{name}  →  {side} × {side}")
assert 32 * side * side == 128

# %% [markdown]
# 26, 24, 12, 8, 4, 2. So 32 channels of 2×2 pixels arrive: 32 · 2 · 2 = 128, just as the message said. If you ended
# at 7, you halved twice and forgot that a convolution without padding shrinks its picture too. (For which pictures
# would 5×5 be right? Exercise 1 gives you the tool to find out.)
#
# `models.shape_trace` does the same for any network: it sends zeros through and writes down what comes out of each
# layer, up to the first that fails.

# %%
print(models.shape_trace(published, (1, 1, 28, 28)))

# %% [markdown]
# Make a habit of it: when a network does not run, print its shapes before you think. The fix is one number.

# %%
torch.manual_seed(settings.seed)
fixed = TutorialNet(flat=32 * 2 * 2)
print("logits:", fixed(images).shape, f"- {models.count_parameters(fixed):,} parameters")
assert models.count_parameters(fixed) == models.count_parameters(models.PublishedNet())

# %% [markdown]
# One change, and ten numbers come out for each of the 32 pictures. `models.PublishedNet` is the fixed network.
#
# ## Scores and loss
#
# The ten numbers are scores, one for each class. Such scores are called **logits**: any number, positive or negative,
# the largest wins. `softmax` turns them into probabilities: positive, and 1 in sum.

# %%
logits = fixed(images[:1])
probabilities = logits.exp() / logits.exp().sum(dim=1, keepdim=True)
assert_close(probabilities, logits.softmax(dim=1))
print("logits       ", [round(x, 2) for x in logits[0].tolist()])
print("probabilities", [round(x, 2) for x in probabilities[0].tolist()])

# %% [markdown]
# The network knows nothing yet, so every class gets about one tenth. The **loss** says how bad that is: the negative
# logarithm of the probability that the *true* class got, averaged over the batch. Sure and right costs almost
# nothing, sure and wrong costs a lot.
#
# **Predict first.** If each of ten classes gets probability 0.1, what is the loss?

# %%
logits = fixed(images)
of_truth = logits.softmax(dim=1)[torch.arange(len(labels)), labels]  # (32,)
by_hand = -of_truth.log().mean()
assert_close(by_hand, F.cross_entropy(logits, labels))
print(f"loss of an untrained network {by_hand.item():.2f}, −log(0.1) is {-math.log(0.1):.2f}")
assert abs(by_hand.item() - math.log(10)) < 0.15

# %% [markdown]
# About 2.30, which is log 10 (the natural logarithm). If you guessed 0.9, the probability that is missing, you
# thought of the right gap, but the loss takes a logarithm. Remember 2.30: a ten-class network that starts far above
# it is probably set up wrongly, and one that stays at it learns nothing.
#
# **Pitfall: softmax twice.** `F.cross_entropy` wants *logits*; it applies softmax itself, in a way that does not
# overflow. A network that ends with its own softmax still runs, and learns badly. Look at a prediction that could not
# be better:

# %%
perfect = torch.tensor([[50.0, 0, 0, 0, 0, 0, 0, 0, 0, 0]])
truth = torch.tensor([0])
once, twice = F.cross_entropy(perfect, truth), F.cross_entropy(perfect.softmax(dim=1), truth)
print(f"logits: loss {once.item():.4f}     probabilities by mistake: loss {twice.item():.4f}")
assert once.item() < 1e-6 and twice.item() > 1.46

# %% [markdown]
# The loss of a perfect answer should be 0. With softmax applied twice it is 1.46 and can never get lower. Nothing
# warns you: the second softmax sees only numbers from 0 to 1, the slopes become small, and training is slow.
#
# **Pitfall: ReLU behind the logits.** A ReLU at the end makes every negative score 0. Where the true class has a
# negative score, its gradient (its slope) is 0 too, so no step can raise the score, however wrong it is:

# %%
scores = torch.tensor([[-1.0, 2.0]], requires_grad=True)  # two classes, and the first is the true one
F.cross_entropy(scores.relu(), torch.tensor([0])).backward()
with_relu, scores.grad = scores.grad, None
F.cross_entropy(scores, torch.tensor([0])).backward()
print("gradient with ReLU   ", [round(x, 3) for x in with_relu[0].tolist()])
print("gradient without ReLU", [round(x, 3) for x in scores.grad[0].tolist()])
assert with_relu[0, 0] == 0 and scores.grad[0, 0] < 0

# %% [markdown]
# ## One step
#
# Learning is what you did in lesson 1 on a parabola, with more numbers: compute the slope of the loss with respect to
# each of the parameters, and move each one a little against its slope. `loss.backward()` computes all the slopes. The
# step itself is one line:

# %%
before = F.cross_entropy(fixed(images), labels)
before.backward()
with torch.no_grad():
    for parameter in fixed.parameters():
        parameter -= 0.1 * parameter.grad
after = F.cross_entropy(fixed(images), labels)
print(f"loss on the same 32 pictures: {before.item():.4f} before the step, {after.item():.4f} after it")
assert after < before

# %% [markdown]
# The loss fell: the step went the right way. An **optimizer** is this loop in a box. Plain `torch.optim.SGD` is
# exactly it. Others are more refined: Adam, used below, averages the latest slopes of each parameter and divides by
# how large they have been, so that steep and flat directions get steps of similar size.

# %%
torch.manual_seed(settings.seed)
twin = TutorialNet(flat=32 * 2 * 2)
F.cross_entropy(twin(images), labels).backward()
torch.optim.SGD(twin.parameters(), lr=0.1).step()
for ours, theirs in zip(fixed.parameters(), twin.parameters()):
    assert_close(ours, theirs)
print("torch.optim.SGD took the same step")

# %% [markdown]
# ## Five lines
#
# Look into any training loop in PyTorch and you find the same five lines: **predict, measure, clear, slopes, step.**
# Here they are, and one epoch with them: the fixed tutorial network, Adam with a learning rate of 0.001 and batches
# of 32, as published.


# %%
def train_one_epoch(model, batches, optimizer):
    model.train()
    for images, labels in batches:
        logits = model(images.to(device))  # predict
        loss = F.cross_entropy(logits, labels.to(device))  # measure
        optimizer.zero_grad()  # clear the old slopes: they would add up
        loss.backward()  # slopes
        optimizer.step()  # step


# %%
torch.manual_seed(settings.seed)
fixed = TutorialNet(flat=32 * 2 * 2).to(device)
small_batches = data.batches(train_part, size=32, shuffle=True, seed=settings.seed, device=device)
start = time.perf_counter()
train_one_epoch(fixed, small_batches, torch.optim.Adam(fixed.parameters(), lr=1e-3))
tutorial_seconds = time.perf_counter() - start
print(f"{len(small_batches):,} steps")

# %% [markdown]
# `training.fit` is this loop with its surroundings: it keeps a history, schedules the learning rate, stops early,
# saves its state to a file. Inside are the same five lines. Proof: the same start and the same ten batches lead both
# to the same weights.

# %%
some = [batch for _, batch in zip(range(10), small_batches)]
torch.manual_seed(1)
by_hand = TutorialNet(flat=128).to(device)
torch.manual_seed(1)
by_fit = TutorialNet(flat=128).to(device)
train_one_epoch(by_hand, some, torch.optim.Adam(by_hand.parameters()))
training.fit(by_fit, some, epochs=1, optimizer=torch.optim.Adam(by_fit.parameters()), progress=False)
for ours, theirs in zip(by_hand.parameters(), by_fit.parameters()):
    assert_close(ours, theirs)
print("the same weights")

# %% [markdown]
# ## Counting right
#
# How good is the network after this epoch? Its **accuracy** is the share of pictures it gets right. The tempting way
# is to compute it per batch and average.
#
# Two new calls: `model.eval()` tells the network that it is being measured, not trained (some layers differ; one
# comes soon), and `inference_mode` saves PyTorch the work of preparing slopes.
#
# **Predict first.** 70 pictures in batches of 32: is the average of the three batch accuracies the accuracy?


# %%
def accuracy_of(model, images, labels):
    model.eval()
    with torch.inference_mode():
        return (model(images).argmax(dim=1) == labels).float().mean().item()


few = validation_part.take(70, seed=settings.seed)
per_batch = [(accuracy_of(fixed, x, y), len(y)) for x, y in data.batches(few, size=32, device=device)]
average = sum(accuracy for accuracy, _ in per_batch) / len(per_batch)
weighted = sum(accuracy * count for accuracy, count in per_batch) / 70
print("batches:", [f"{accuracy:.2%} of {count}" for accuracy, count in per_batch])
print(f"average of averages {average:.4%}, right answers / pictures {weighted:.4%}")

# %% [markdown]
# Not in general: the last 6 pictures count as much as 32 others. The right way weighs each batch by its pictures, and
# that is what `training.evaluate` does, for the loss too. You can recognise the mistake from outside: with 10,000
# test pictures an accuracy has at most two decimals in per cent. A published course prints 88.37859424920129 % for
# the 10,000 test pictures of this set (*Learn PyTorch for Deep Learning*, mrdbourke/pytorch-deep-learning, notebook
# 03).

# %%
first_epoch = training.evaluate(fixed, data.batches(validation_part, size=1000, device=device))
assert math.isclose(
    training.evaluate(fixed, data.batches(few, size=32, device=device)).accuracy, weighted, rel_tol=1e-5
)
results.record(tutorial_epoch_accuracy=first_epoch.accuracy)
print(first_epoch)

# %% [markdown]
# After one epoch the tutorial's network is right about {{tutorial_epoch_accuracy:.1%}} of the validation pictures.
# Its authors report over 91 % after ten epochs on the full set, and ten epochs take ten times as long as the one you
# have just waited for. Can we do better in less time?
#
# ## A faster network
#
# Four changes, each small:
#
# 1. **Pool early.** The costly part of a network is its large pictures. We halve height and width right after every
#    convolution, so each next layer has a quarter of the pixels.
# 2. **Normalise inside.** Batch normalisation brings each channel to mean 0 and standard deviation 1 over the batch,
#    as we did with the picture, then scales and shifts it by two learned numbers. Large learning rates become safer.
#    (Lesson 4 looks at what it does in evaluation.)
# 3. **Larger batches.** With 128 pictures in a step (`quick`) or 256 (`full`) instead of 32, Python has fewer steps
#    to organise, and each one keeps the processor busier.
# 4. **A moving learning rate.** It rises, then falls to almost 0: large steps to get near, small ones to settle. This
#    is the *one-cycle* schedule; lesson 6 takes it apart.
#
# One block, by hand:


# %%
def block(inputs, outputs):
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),  # no bias: the normalisation brings its own
        nn.MaxPool2d(2),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class OurNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(block(1, 16), block(16, 48), block(48, 96))
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(96 * 3 * 3, 10))

    def forward(self, images):
        return self.classifier(self.features(images))


print(models.shape_trace(OurNet(), (1, 1, 28, 28)))

# %% [markdown]
# The library's `models.FashionNet` is the same network. With the same weights, it gives the same logits:

# %%
ours, library = OurNet(), models.FashionNet()
library.load_state_dict(ours.state_dict())
assert_close(ours.eval()(images), library.eval()(images))
print(f"FashionNet: {models.count_parameters(library):,} parameters, PublishedNet: {models.count_parameters(fixed):,}")
assert models.count_parameters(library) < 60_000 < models.count_parameters(fixed)

# %% [markdown]
# Fewer parameters. And the work for one picture? Count the multiplications in the convolutions, where most of them
# are: output pixels × numbers in a kernel × channels in × channels out.

# %%
# NBVAL_CHECK_OUTPUT
tutorial_work = (26**2 * 9 * 1 + 24**2 * 9 * 16) * 16 + (8**2 * 25 * 16 + 4**2 * 25 * 32) * 32
our_work = 28**2 * 9 * 1 * 16 + 14**2 * 9 * 16 * 48 + 7**2 * 9 * 48 * 96
print(f"multiplications per picture: tutorial {tutorial_work:,}, ours {our_work:,}")
assert our_work > tutorial_work

# %% [markdown]
# Surprise: ours multiplies *more*. Whether it is slower is another question, because a processor likes few large
# operations better than many small ones: bigger batches, more channels at a time, and pixels whose channels lie next
# to each other in memory (`channels_last`). Counting multiplications is a poor stopwatch. So we measure.
#
# ## Training it
#
# One function, so that we can run it with several seeds. (`AdamW` is Adam that also pulls every weight a little
# towards 0 in each step.)
#
# **Predict first.** What validation accuracy will it reach, in {{epochs}} epochs?


# %%
def train_a_network(seed):
    training.seed_everything(seed)
    model = models.FashionNet().to(device, memory_format=torch.channels_last)
    batches = data.batches(train_part, settings.batch_size, shuffle=True, seed=seed, device=device, channels_last=True)
    validation = data.batches(validation_part, 1000, device=device, channels_last=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate)
    steps = settings.epochs * len(batches)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.learning_rate, total_steps=steps)
    history = training.fit(model, batches, validation, epochs=settings.epochs, optimizer=optimizer, scheduler=schedule)
    return model, history


model, history = train_a_network(settings.seed)

# %% [markdown]
# Each line is one epoch. The network sees all training pictures once in it, in a new order each time.

# %%
figures.show(
    history.plot(),
    alt="Two charts over the epochs, each with a curve for training and one for validation. Left: over the whole run "
    "the losses fall. Right: the accuracies rise; the best validation accuracy is circled.",
)
results.record(
    epochs=history.epochs,
    validation_accuracy=history.validation_accuracy[-1],
    seconds_per_epoch=sum(history.seconds) / history.epochs,
    tutorial_seconds_per_epoch=tutorial_seconds,
    speedup_per_epoch=tutorial_seconds * history.epochs / sum(history.seconds),
)

# %% [markdown]
# {{validation_accuracy:.1%}} on validation in {{epochs}} epochs of {{seconds_per_epoch:.0f}} seconds. One epoch of
# the tutorial's network took {{tutorial_seconds_per_epoch:.0f}} seconds in the same run: {{speedup_per_epoch:.1f}}
# times as long, and its authors train for ten. If you guessed "about 91 %, like the tutorial", that was sensible; if
# you guessed 99 %, you were thinking of handwritten digits. Clothes are harder.
#
# Three things to look for in your curves. First, validation may start *better* than training: a training figure is
# averaged over the epoch, its clumsy beginning included, while validation waits for the end. Second, where the
# training loss falls on and the validation loss does not follow, the network begins to learn its pictures by heart.
# Third, validation may stumble early, while the learning rate is high, and improve again as the rate goes to 0.
#
# ## One run is an anecdote
#
# Another seed gives other starting weights and another order of pictures. How much of our figure is luck? Train again
# and look.

# %%
trained = [(model, history)]
for run in range(1, settings.runs):
    print(f"seed {settings.seed + run}")
    trained.append(train_a_network(settings.seed + run))
validations = [h.validation_accuracy[-1] for _, h in trained]
spread = max(validations) - min(validations)
results.record(runs=len(trained), validation_mean=sum(validations) / len(validations), validation_spread=spread)

# %% [markdown]
# {{runs}} runs, {{validation_mean:.2%}} on average, and the best is ahead of the worst by {{validation_spread:.2%}}
# of the pictures. That is a rough measure of luck here. A trick that "improves" the accuracy by less than this has
# shown nothing yet. When you read a result anywhere, look for the spread.
#
# ## Explore the rate while it trains
#
# So far you have watched training from outside. Now sit at the lever. *Start* trains a fresh network, and the learning
# rate counts from the next step on. *Pause* holds it, *Stop* ends it, and meanwhile you can run other cells: it trains
# in a thread of its own. (Where no kernel runs, you see three rates side by side.)
#
# **Predict first.** What will the loss do at rate 0.001? At 0.1? And when you push a network that trains well to 3?

# %%
torch.manual_seed(settings.seed)
widgets.lesson3.LiveTraining(
    models.FashionNet(),
    data.batches(train_part.take(4000, seed=settings.seed), 128, shuffle=True, seed=settings.seed),
    data.batches(validation_part.take(500, seed=settings.seed), 500),
)

# %% [markdown]
# At 0.001 it learns, but at a crawl. At 0.1 it gets further in the same number of steps. At 3 the loss leaps up to
# where guessing is, 2.3 or above, or is no longer a number at all, and what the network had learned is gone. Try to
# rescue one: push it up for a second, come back to 0.1. And try the shape of our schedule by hand: begin at 0.05, rise
# to 0.3, then go down step by step. Does the curve become quieter as the rate falls?
#
# ## The test
#
# All decisions are taken. Now, and only now, the test part is opened. Its figure is the one we report.

# %%
test_part = clothes.test.take(at_most=settings.test_used, seed=settings.seed)
test_batches = data.batches(test_part, 1000, device=device, channels_last=True)
tests = [training.evaluate(m, test_batches) for m, _ in trained]
accuracies = [metrics.accuracy for metrics in tests]
results.record(
    test_accuracy=sum(accuracies) / len(accuracies),
    test_worst=min(accuracies),
    test_best=max(accuracies),
    test_pictures=tests[0].count,
    data=clothes.source.kind,
)
enough = 0.915 if len(train_part) >= 50_000 else 0.80
assert min(accuracies) > enough, f"expected more than {enough:.1%}; did a setting change a lot?"

# %% [markdown]
# {{test_accuracy:.1%}} of {{test_pictures:,}} test pictures on average, between {{test_worst:.2%}} and
# {{test_best:.2%}}, after {{epochs}} epochs. On the full set the assert above demands more than 91.5 % of *every*
# run: more than the tutorial reports, and the profile `full` has half of its ten epochs. On a few thousand pictures
# expect less; nothing replaces data.
#
# It may well be a little lower than on validation, where we took our decisions. Resist the wish to go back and "just
# try one more thing" until it is higher: that would make the test part a second validation part.
#
# ## Class by class
#
# One number hides a lot. First the *untrained* network, class by class: of all true coats, how many were called
# coats?

# %%
training.seed_everything(settings.seed)
untrained = training.predict(models.FashionNet().to(device), test_batches)
for name, accuracy in zip(clothes.classes, diagnosis.per_class(untrained, clothes.classes).accuracy.tolist()):
    print(f"{name:<12} {accuracy:6.1%}")
print(f"all          {untrained.accuracy:6.1%}")

# %% [markdown]
# Not 10 % of each class: an untrained network gives nearly every picture the same few answers, so most classes stand
# near 0 %, and a few are "right" by accident. Now the trained one:

# %%
answers = training.predict(model, test_batches)
by_hand = [(answers.guesses[answers.labels == k] == k).double().mean() for k in range(10)]
by_class = diagnosis.per_class(answers, clothes.classes)
assert_close(by_class.accuracy, torch.stack(by_hand))
figures.show(
    by_class.plot(),
    alt="Horizontal bars with the accuracy of each class, the best on top. Trousers, bags and the three kinds of shoes "
    f"have long bars; {by_class.worst} has the shortest.",
)
results.record(worst_class=by_class.worst, worst_class_accuracy=by_class.accuracy.min())

# %% [markdown]
# {{worst_class}} is the hardest class, {{worst_class_accuracy:.0%}} right. What is it taken for? Count every pair of
# (truth, guess) in a table, the **confusion matrix**. By hand it is three lines:

# %%
matrix = torch.zeros(10, 10, dtype=torch.int64)
for truth, guess in zip(answers.labels.tolist(), answers.guesses.tolist()):
    matrix[truth, guess] += 1
confusion = diagnosis.confusion_matrix(answers, clothes.classes)
assert torch.equal(matrix, confusion.matrix)
figures.show(
    confusion.plot(),
    alt="A table of ten by ten fields: rows are the true classes, columns the guesses, in per cent of the true "
    "class. The diagonal is strong; off the diagonal, shirts are mixed up with T-shirts, pullovers and coats.",
)

# %%
for truth, guess, count in confusion.worst_pairs(5):
    print(f"{truth:<12} taken for {guess:<12} {count:>4} times")
first, second, times = confusion.worst_pairs(1)[0]
results.record(confused_truth=first, confused_guess=second, confused_times=times)

# %% [markdown]
# Here is the answer to the very first question. The most frequent mistake is {{confused_truth}} taken for
# {{confused_guess}}, {{confused_times}} times. Was it your guess? Most of the frequent mistakes are among clothes for
# the upper body: much the same outline, and the difference lies in a collar or a row of buttons that 28×28 pixels
# hardly show. Here the machine's mistakes are like ours.
#
# How often is the truth at least the *second* guess?

# %%
top2 = diagnosis.top_k(answers, k=2)
best_two = answers.logits.argsort(dim=1, descending=True)[:, :2].tolist()
by_hand = sum(label in two for label, two in zip(answers.labels.tolist(), best_two)) / len(best_two)
assert math.isclose(top2, by_hand)
results.record(top2_accuracy=top2)
assert top2 > answers.accuracy

# %% [markdown]
# In {{top2_accuracy:.1%}} of the pictures. So when the network is wrong, the right answer is usually next in line.
#
# ## The most confident mistakes
#
# The most useful pictures to look at are those where the network is *sure and wrong*. They show what it has not
# understood, or that a label is wrong.

# %%
wrong = diagnosis.mistakes(answers, test_part.images, clothes.classes, n=12)
figures.show(
    wrong.plot(),
    alt="Twelve test pictures, each with its true class, the wrong guess, and the network's probability for it; "
    f"the lowest is {wrong.confidence.min():.1%}.",
)

# %% [markdown]
# Look closely and decide for each: would you have known? And would you have given it that label? People label sets,
# and people err. Where a label is wrong, a network that is "right" has learned the error.
#
# And note how high the probabilities are, on answers that are all wrong. A network's confidence is a score, not a
# promise.
#
# ## Explore mistakes by class pair
#
# Choose two classes and look at what was taken for what, the most confident mistakes first. What would *you* look at to
# tell the two classes apart, and do the pictures show it? (Where no kernel runs, you see the most confused pairs.)
#
# **Predict first.** Are there pairs without a single mistake? Name two before you look.

# %%
widgets.lesson3.mistakes_by_pair(answers, test_part.images, clothes.classes)

# %% [markdown]
# Shoes are hardly ever taken for something to wear on the body, nor the other way round: the outlines are too
# different. Now choose *Sneaker* taken for *Ankle boot*, and the other way round: which mistakes do you understand?
# And in *taken for: any other* you see how one class goes wrong in several ways.
#
# ## Explore the feature maps
#
# What does each layer *see*? A **feature map** is what one filter of a layer answers, pixel by pixel, just as the
# edge filter's answer in lesson 2; here we look behind each block, after pooling, normalisation and ReLU. Choose a
# class, a picture of it, and a layer.

# %%
widgets.lesson3.feature_maps(model, test_part)

# %% [markdown]
# - `features.0` still shows a picture: outlines, bright areas, dark areas. Do some maps remind you of lesson 2's edge
#   filters? Nobody wrote these; training found them.
# - `features.1` is coarser: each map marks places rather than drawing lines.
# - `features.2` shows no picture any more: 96 maps of 3×3 numbers. Each says how strongly some pattern is present, and
#   roughly where.
#
# The last layer only has to weigh these numbers and add them up. This is what training made: not a better picture, but
# numbers in which the classes are easier to tell apart.
#
# ## Saving and loading
#
# A trained network is its weights. Save them, build the same network again, load them, and the answers are the same.

# %%
folder = Path(tempfile.mkdtemp())
training.save_weights(model, folder / "clothes.pt")
fresh = models.FashionNet().to(device, memory_format=torch.channels_last)
training.load_weights(fresh, folder / "clothes.pt")
assert torch.equal(training.predict(fresh, test_batches).guesses, answers.guesses)
print(f"{(folder / 'clothes.pt').stat().st_size / 1e6:.1f} MB on disk, the same answers")

# %% [markdown]
# Behind it are `torch.save(model.state_dict(), file)` and `torch.load(file, weights_only=True)`. The last argument
# matters: with `False`, a file from a stranger can run any code on your machine. It has been the default since
# PyTorch 2.6; older code needs it written out. And a file of *another* network is refused, with the first difference:

# %%
try:
    training.load_weights(models.FashionNet(widths=(16, 32, 64)), folder / "clothes.pt")
except DataError as error:
    print(type(error).__name__, "-", error)

# %% [markdown]
# Long runs also save where they *are*: weights, optimizer, schedule and random numbers. With `checkpoint=`, `fit`
# does so after every epoch, and goes on from there if the file exists. A run that was interrupted ends exactly as one
# that was not, here on the processor, with random order and with pictures mirrored at random:


# %%
def short_run(epochs, checkpoint):
    training.seed_everything(3)
    net = models.FashionNet(widths=(8, 16, 32))
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.01)
    batches = data.batches(validation_part.take(500), 100, shuffle=True, augment=data.Augment(flip=True))
    training.fit(net, batches, epochs=epochs, optimizer=optimizer, checkpoint=checkpoint, progress=False)
    return net.state_dict()


whole = short_run(epochs=4, checkpoint=folder / "whole.pt")
short_run(epochs=2, checkpoint=folder / "cut.pt")  # stops half way …
resumed = short_run(epochs=4, checkpoint=folder / "cut.pt")  # … and goes on from the file
assert all(torch.equal(whole[name], resumed[name]) for name in whole)
print("bit for bit the same")

# %% [markdown]
# ## The same loop on a GPU
#
# You have been using it already if you have one that PyTorch can use: look for `device` in the cells above. A GPU
# needs three changes, and the rest of the loop stays as it is.
#
# 1. `device = "cuda" if torch.cuda.is_available() else "cpu"`
# 2. `model.to(device)`, before the optimizer is made
# 3. `images.to(device)` and `labels.to(device)`, in the loop (or let `data.batches(..., device=device)` keep the
#    whole set there)
#
# Forget the third, and PyTorch complains that its tensors are not on the same device. We can see this kind of error
# without a GPU too, with PyTorch's "meta" device, which knows shapes but holds no numbers:

# %%
try:
    nn.Linear(4, 2, device="meta")(torch.zeros(1, 4))
except RuntimeError as error:
    print(type(error).__name__, "-", str(error).splitlines()[0])

# %% [markdown]
# The weights are on one device, the pictures on another: the message names a device, so look for the tensor that is
# not on it. The fix is the missing `.to(device)`.
#
# ## Exercises
#
# Replace the dots and run the cells. Each stub runs as it is, so that *Run All* always finishes.
#
# The cell after each stub checks your answer: ✓ correct, ✗ wrong, with the first difference, or ○ not attempted. An
# answer must leave the tensors that it is given as they were.
#
# **1. How many numbers?** Return the number of values that arrive at the first dense layer of a network like the
# tutorial's (conv 3, conv 3, pool, conv 5, conv 5, pool, 32 channels) for square pictures of any side. For 28 it is
# 128, for 32 it is 288. Then find out: for which sides is it the listing's 800?


# %%
def flat_size(side): ...


# %%
# Stuck? exercises.lesson3.flat_size.hint() helps a little, .solution() shows one way to do it
exercises.lesson3.flat_size.check(flat_size)

# %% [markdown]
# **2. The loss by hand.** Return the mean cross-entropy of logits (N, K) for labels (N,), without using
# `F.cross_entropy`, `log_softmax` or `nll_loss`. It must also work for logits as large as 1,000, where `exp` alone
# overflows. Compare with `F.cross_entropy`. (Hint: subtracting the largest logit of each row changes no probability.)


# %%
def cross_entropy(logits, labels): ...


# %%
# Stuck? exercises.lesson3.cross_entropy.hint() helps a little, .solution() shows one way to do it
exercises.lesson3.cross_entropy.check(cross_entropy)

# %% [markdown]
# **3. Accuracy over ragged batches.** Return the accuracy over all pictures, given a list of (right answers,
# pictures) per batch. For `[(30, 32), (2, 4)]` it is 32/36, not the average of 0.9375 and 0.5.


# %%
def accuracy(batches): ...


# %%
# Stuck? exercises.lesson3.accuracy.hint() helps a little, .solution() shows one way to do it
exercises.lesson3.accuracy.check(accuracy)

# %% [markdown]
# **4. Precision.** The accuracy of a class asks: of all true coats, how many were called coats? *Precision* asks the
# other way: of all pictures called coats, how many were coats? Return the precision of each class from a confusion
# matrix, an int64 tensor (K, K) with rows for the truth and columns for the guess, as a float32 tensor (K,). For
# `[[8, 2], [4, 6]]` it is 8/12 and 6/8. Where nothing was called by a class's name, say 0.


# %%
def precision(matrix): ...


# %%
# Stuck? exercises.lesson3.precision.hint() helps a little, .solution() shows one way to do it
exercises.lesson3.precision.check(precision)

# %% [markdown]
# **5. The sixth line.** Write a training step that clips the gradient: if the norm of all gradients together is
# larger than `most`, scale them all down so that it is exactly `most`. Put it between "slopes" and "step". The check
# looks at the parameters after your step. `nn.utils.clip_grad_norm_` does the same: compare.


# %%
def clipped_step(model, images, labels, optimizer, most): ...


# %%
# Stuck? exercises.lesson3.clipped_step.hint() helps a little, .solution() shows one way to do it
exercises.lesson3.clipped_step.check(clipped_step)

# %% [markdown]
# ## Quiz
#
# Choose an answer, and read why it is right or wrong; then read the others too. (In a copy without a kernel, unfold
# *Answers* below each question.)

# %%
exercises.lesson3.quiz.ask(1)

# %%
exercises.lesson3.quiz.ask(2)

# %%
exercises.lesson3.quiz.ask(3)

# %%
exercises.lesson3.quiz.ask(4)

# %% [markdown]
# ## What you learned
#
# - Training pictures for gradients, validation pictures for decisions, test pictures for one figure at the end.
# - A `Dataset` has a length and items; a `DataLoader` makes batches, is iterable, and its last batch may be smaller.
# - Follow the shapes, by hand or with a trace, before you believe a listing.
# - Logits go into the cross-entropy as they are; guessing among ten classes costs log 10 = 2.30.
# - Predict, measure, clear, slopes, step: five lines, in every loop.
# - Weigh by pictures, not by batches. Report the spread over seeds.
# - Accuracy per class, the confusion matrix and the most confident mistakes say what one number hides.
#
# ## Where the code lives
#
# | what you built | where it lives |
# | --- | --- |
# | finding, splitting and describing a set | `data.load`, `data.split` |
# | whole batches, shuffled and normalised | `data.batches` |
# | the tutorial's network, and ours | `models.PublishedNet`, `models.FashionNet` |
# | following the shapes | `models.shape_trace` |
# | the five lines and what surrounds them | `training.fit` |
# | counting right | `training.evaluate`, `training.predict` |
# | per class, pairs, mistakes, maps | `diagnosis.per_class`, `confusion_matrix`, `mistakes`, `feature_maps`, `top_k` |
# | saving and loading | `training.save_weights`, `training.load_weights` |
# | the sliders, lists and buttons | `widgets.lesson3` |
# | the checks of your answers | `exercises.lesson3` |
#
# ## What next
#
# [Lesson 4](04_cifar10_training.ipynb) goes to colour photographs: CIFAR-10, a deeper network, and the tricks that keep
# a network from learning its pictures by heart. If something is still dim, go back to [lesson
# 2](02_convolution_by_hand.ipynb) and look at its learned filter again: you now know the loop that learned it.
