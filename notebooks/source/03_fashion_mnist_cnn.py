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
# In lesson 1 a picture became numbers. In lesson 2 filters found edges, and a few filters were *learned*. Now the
# pieces come together: layers of learned filters, a score for each class, and a loop that makes the scores better. At
# the end, a network of fewer than sixty thousand numbers sorts clothes it has never seen, and you have written the loop
# that taught it.
#
# **Afterwards you will be able to** split a data set into training, validation and test pictures and say what each is
# for; write a network as a class, follow a picture's shape through it, and fix a published one that cannot run; write
# the five lines of every training loop from memory; and judge a network honestly, with the error of your figure.
#
# **You need** lessons 1 and 2. **Time:** about {{study_minutes}} minutes of study. On {{cores}} processor cores the
# cells take {{quick.seconds:.0f}} seconds with the profile `quick`; the run on this page took {{minutes:.1f}} minutes.
#
# <details><summary>Contents</summary>
#
# **Part 1: from pictures to scores**
#
# - [Ten kinds of clothes](#Ten-kinds-of-clothes)
# - [Three parts, three purposes](#Three-parts,-three-purposes)
# - [From a set to batches](#From-a-set-to-batches)
# - [A network is a class](#A-network-is-a-class)
# - [Scores and loss](#Scores-and-loss)
# - [Exercises: a network and its loss](#Exercises:-a-network-and-its-loss)
#
# **Part 2: the loop**
#
# - [One step](#One-step)
# - [Five lines](#Five-lines)
# - [What a dense network learns](#What-a-dense-network-learns)
# - [A network from a tutorial](#A-network-from-a-tutorial)
# - [Following the shapes](#Following-the-shapes)
# - [Counting right](#Counting-right)
# - [Exercises: shapes and steps](#Exercises:-shapes-and-steps)
#
# **Part 3: a better network, judged honestly**
#
# - [Four changes](#Four-changes)
# - [Training it](#Training-it)
# - [Three pixels to the right](#Three-pixels-to-the-right)
# - [How much is luck?](#How-much-is-luck?)
# - [Explore the rate while it trains](#Explore-the-rate-while-it-trains)
# - [Class by class](#Class-by-class)
# - [The most confident mistakes](#The-most-confident-mistakes)
# - [What the filters see](#What-the-filters-see)
# - [Saving, loading, and a GPU](#Saving,-loading,-and-a-GPU)
# - [The test](#The-test)
# - [Exercises: judging, and beating it](#Exercises:-judging,-and-beating-it)
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

import math
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
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
from course_utils.errors import DataError, told

# %% [markdown]
# The settings worth changing. `None` means "as the profile says".

# %% tags=["parameters"]
profile = "auto"  # "quick" runs anywhere, "full" uses all pictures
seed = None  # start of the random numbers
epochs = None  # how often a network sees every training picture
batch_size = None  # pictures in one step of our own network
learning_rate = None  # the highest learning rate of its schedule
pictures_used = None  # how many training pictures to use
test_used = None  # how many validation and test pictures, at most
runs = None  # how many networks to train, each from another seed

# %% tags=["hide-input"]
settings = profiles.load(
    "03",
    profile,
    seed=seed,
    epochs=epochs,
    batch_size=batch_size,
    learning_rate=learning_rate,
    pictures_used=pictures_used,
    test_used=test_used,
    runs=runs,
)
device = "cuda" if torch.cuda.is_available() else "cpu"
print(f"The networks will live on: {device}")

# %% [markdown]
# ## Part 1: from pictures to scores
#
# ### Ten kinds of clothes
#
# **Fashion-MNIST** holds 70,000 grey pictures of 28 × 28 pixels from the catalogue of an online shop, in ten classes:
# 60,000 to learn from and 10,000 to be tested on (Xiao, Rasul and Vollgraf 2017, arXiv:1708.07747). `data.load` looks
# in your data folder, then tries to download the set, and without the internet takes the 12,000 real pictures that come
# with the course.
#
# **Predict first.** Which two classes will a machine mix up most often? Write your guess down.

# %% tags=["hide-input"]
clothes = data.load("fashion_mnist", seed=settings.seed)
samples = torch.cat(
    [clothes.train.of_class(name).images[:4] for name in clothes.classes]
)
titles = [name if i == 0 else "" for name in clothes.classes for i in range(4)]
figures.show(
    pictures.grid(
        samples,
        titles=titles,
        columns=8,
        title="Ten classes, four pictures each",
    ),
    alt="Forty small grey pictures in rows of eight: T-shirts, trousers, "
    "pullovers, dresses, coats, sandals, shirts, sneakers, bags and ankle "
    "boots, four of each.",
)

# %% [markdown]
# Some are easy: no one takes trousers for a bag. But at this size you too would mix up pullovers, coats and shirts.
# Each picture is a `uint8` tensor with one channel, as in lesson 1, and each label is a number from 0 to 9.

# %%
picture, label = clothes.train.images[0], clothes.train.labels[0].item()
print(picture.shape, picture.dtype, f"from {picture.min()} to {picture.max()}")
print("label", label, "means", clothes.classes[label])

# %% [markdown]
# ### Three parts, three purposes
#
# A network with enough numbers can learn its training pictures by heart, which says nothing about new ones. So the
# pictures are split into three parts, once, before anything else:
#
# | part | used for | how often |
# | --- | --- | --- |
# | training | computing gradients | all the time |
# | validation | every decision *we* take, and every look at the mistakes | often |
# | test | one honest figure at the very end | **once** |
#
# If we chose on the test pictures, we would pick what happens to suit *them*, and the figure would flatter us. The
# test part stays closed until [The test](#The-test). `data.load` has split already; `take(at_most=…)` keeps the waiting
# short.

# %%
train_part = clothes.train.take(
    at_most=settings.pictures_used, seed=settings.seed
)
validation_part = clothes.validation.take(
    at_most=settings.test_used, seed=settings.seed
)
for part in (train_part, validation_part):
    each = sorted(set(part.counts().values()))
    print(f"{part.name:<10} {len(part):>6,} pictures, {each} in each class")

# %% [markdown]
# The split is *stratified* (each class keeps its share in both parts) and *seeded* (tomorrow, the same pictures are
# set aside). But could the same picture be in the set twice? Then the network would be asked about something it has
# already seen. Compare the bytes:

# %%
seen = {image.numpy().tobytes() for image in clothes.train.images}
asked = [image.numpy().tobytes() for image in clothes.validation.images]
twins = sum(one in seen for one in asked)
print(f"{twins} of {len(asked):,} validation pictures are in training too")

# %% [markdown]
# Make this check on any set that you did not collect yourself. It finds equal pictures only, not near copies: the same
# shoe photographed twice passes it.
#
# ### From a set to batches
#
# PyTorch's interface for data has two halves. A `Dataset` says how many items there are and what item number i is. A
# `DataLoader` makes batches of them. Here is the first half. The picture becomes floats and is normalised as in lesson
# 1, with the mean and standard deviation *of the training part*.


# %%
class Clothes(Dataset):
    def __init__(self, part):
        self.part = part

    def __len__(self):
        return len(self.part)

    def __getitem__(self, i):
        image = pictures.to_float(self.part.images[i])  # (1, 28, 28), 0 to 1
        image = (image - self.part.mean[0]) / self.part.std[0]
        return image, self.part.labels[i]


shuffling = torch.Generator().manual_seed(settings.seed)
loader = DataLoader(
    Clothes(train_part), batch_size=32, shuffle=True, generator=shuffling
)
images, labels = next(iter(loader))
print(len(loader), "batches; the first:", images.shape, labels.shape)

# %% [markdown]
# A loader is *iterable*, but not a list: it shuffles again each time, so "batch number 0" would mean nothing. Older
# tutorials write `iter(loader).next()`, which is gone. `next(iter(loader))` gives one batch, a `for` loop all.

# %%
try:
    loader[0]
except TypeError as error:
    print(told(error))

# %% [markdown]
# **Predict first.** 60,000 pictures in batches of 32: how many batches? And 10,000 pictures: how many, and how large is
# the last one?

# %% tags=["nbval-check-output"]
for count in (60_000, 10_000):
    full_batches, rest = divmod(count, 32)
    print(f"{count:,} = {full_batches:,} batches of 32, and {rest} pictures")

# %% [markdown]
# <details><summary>Answer</summary>
#
# 1,875 batches, all full; and 313, because 312 full ones leave 16 pictures over. Many programs forget the last batch,
# or count it as if it were full. Further down you will see what that does to an accuracy.
#
# </details>
#
# An **epoch** is one pass through all training pictures. Our loader fetches them one at a time. The whole set fits in
# memory, so there is a shorter way: index the tensor with 32 numbers at once, and normalise the batch in one go. That
# is `data.batches`.

# %%
whole_batches = data.batches(train_part, size=32, device=device)
in_order = DataLoader(Clothes(train_part), batch_size=32)
at_once, one_by_one = next(iter(whole_batches)), next(iter(in_order))
assert_close(at_once[0].cpu(), one_by_one[0])


# %% tags=["hide-input"]
def pictures_per_second(batches):
    start = time.perf_counter()
    count = sum(len(labels) for _, labels in batches)
    return count / (time.perf_counter() - start)


loader_speedup = pictures_per_second(whole_batches)
loader_speedup /= pictures_per_second(loader)
results.record(".0f", loader_speedup=loader_speedup)

# %% [markdown]
# The same numbers, and on this page {{loader_speedup:.0f}} times as many pictures per second: Python is slow, so we ask
# it less often. Pictures that do *not* fit in memory need `Dataset` and `DataLoader`; [lesson
# 5](05_transfer_learning.ipynb) trains with them.
#
# ### Go deeper: the same set without this course
#
# `data.load` finds, checks and splits. To leave `course_utils` behind, these lines load the set (0.286 and 0.353 are
# the mean and the standard deviation of its training pictures); the split into training and validation is then yours,
# with `torch.utils.data.random_split`. `download=True` fetches the set if it is not there. The lines run here if the
# full set lies in torchvision's layout in your data folder.

# %%
from torchvision import datasets
from torchvision.transforms import v2


def with_torchvision(root, train=True):
    to_tensor = v2.Compose(
        [
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),  # from 0 to 1
            v2.Normalize((0.286,), (0.353,)),
        ]
    )
    return datasets.FashionMNIST(root, train, to_tensor, download=True)


raw = Path(clothes.source.path or ".")
if raw.parts[-2:] == ("FashionMNIST", "raw"):
    theirs = with_torchvision(raw.parent.parent)
    batch, _ = next(iter(DataLoader(theirs, batch_size=32)))
    print(len(theirs), "pictures; a batch:", batch.shape)
else:
    print("Here the data is not laid out as torchvision does, so nothing runs.")

# %% [markdown]
# ### A network is a class
#
# A **neuron** takes all its inputs, multiplies each by a weight, and adds everything up with one more number, the bias.
# A **dense** (or fully connected) layer is several neurons side by side on the same inputs. Ten neurons on 784 pixels
# already give a score for each class. By hand, and by `nn.Linear`:

# %%
dense = nn.Linear(28 * 28, 10)  # 10 × 784 weights and 10 biases
pixels = images.flatten(1)  # (32, 784)
by_hand = pixels @ dense.weight.T + dense.bias  # (32, 10)
assert_close(by_hand, dense(pixels))
print(by_hand.shape, f"{28 * 28 * 10 + 10:,} numbers to learn")

# %% [markdown]
# A layer between the input and the scores is a **hidden layer**. In PyTorch a network is a class: `__init__` makes the
# layers, which hold the numbers; `forward` says in which order they are used. *Calling* the network calls `forward`.


# %%
class HiddenLayer(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.hidden = nn.Linear(28 * 28, hidden)
        self.scores = nn.Linear(hidden, 10)

    def forward(self, images):  # (N, 1, 28, 28)
        values = self.hidden(images.flatten(1))  # (N, hidden)
        return self.scores(values.relu())  # (N, 10)


network = HiddenLayer(72)
print(network(images).shape)
print(f"{models.count_parameters(network):,} numbers to learn")

# %% [markdown]
# `super().__init__()` prepares the register in which the network notes its layers. Two classic accidents show what it
# is for: forgetting the line, and putting layers into a plain list.


# %%
class Forgotten(nn.Module):
    def __init__(self):
        self.scores = nn.Linear(784, 10)


class InAList(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = [nn.Linear(784, 72), nn.Linear(72, 10)]


try:
    Forgotten()
except AttributeError as error:
    print(told(error))
print("parameters of InAList:", len(list(InAList().parameters())))

# %% [markdown]
# The second is worse, because it is quiet. An optimizer complains only if it gets no parameters at all: with one more
# layer outside the list, it trains that one, and those in the list never learn. The fix is `nn.ModuleList([...])`, or
# `nn.Sequential(...)` where each layer takes what the one before gives.
#
# ### Scores and loss
#
# The ten numbers are scores, called **logits**: any numbers, positive or negative, the largest wins. `softmax` turns
# them into probabilities, which are positive and add up to 1.

# %%
logits = network(images[:1])
probabilities = logits.exp() / logits.exp().sum(dim=1, keepdim=True)
assert_close(probabilities, logits.softmax(dim=1))
print("logits ", *(f"{x:5.2f}" for x in logits[0]))
print("softmax", *(f"{x:5.2f}" for x in probabilities[0]))

# %% [markdown]
# The network knows nothing yet, so every class gets about one tenth. The **loss** says how bad that is: minus the
# logarithm of the probability that the *true* class got, averaged over the batch. Being sure and right costs almost
# nothing, being sure and wrong a lot. This is **cross-entropy**.
#
# **Predict first.** If each of ten classes gets probability 0.1, what is the loss?

# %%
logits = network(images)
# each row's probability at its own label: (32,)
of_truth = logits.softmax(dim=1)[torch.arange(len(labels)), labels]
loss = -of_truth.log().mean()
assert_close(loss, F.cross_entropy(logits, labels))
print(f"untrained {loss.item():.2f}, −log(0.1) is {-math.log(0.1):.2f}")

# %% [markdown]
# <details><summary>Answer</summary>
#
# −log 0.1 = log 10 = 2.30 (the natural logarithm), and an untrained network is near it. (If you said 0.9: that is 1 −
# 0.1, but the loss takes a logarithm.) Remember 2.30: a ten-class network that starts far above it is probably set up
# wrongly, and one that stays there learns nothing.
#
# </details>
#
# **Pitfall: softmax twice.** `F.cross_entropy` wants *logits*; it applies softmax itself, in a way that does not
# overflow. A network that ends with its own softmax still runs. Look at a perfect prediction:

# %%
perfect = torch.tensor([[50.0, 0, 0, 0, 0, 0, 0, 0, 0, 0]])
truth = torch.tensor([0])
once = F.cross_entropy(perfect, truth).item()
twice = F.cross_entropy(perfect.softmax(dim=1), truth).item()
print(f"logits: loss {once:.4f}    probabilities by mistake: {twice:.4f}")

# %% [markdown]
# The loss of a perfect answer should be 0. With softmax applied twice it is 1.46 and can never get lower, and the small
# gradients make training slow.
#
# ### Go deeper: ReLU behind the logits
#
# A ReLU at the end makes every negative score 0. Where the true class has a negative score, its gradient is 0 too, so
# this picture does nothing to raise that score, however wrong it is:

# %%
scores = torch.tensor([[-1.0, 2.0]], requires_grad=True)  # the first is true
F.cross_entropy(scores.relu(), torch.tensor([0])).backward()
with_relu, scores.grad = scores.grad, None
F.cross_entropy(scores, torch.tensor([0])).backward()
print("gradient with ReLU   ", [round(x, 3) for x in with_relu[0].tolist()])
print("gradient without ReLU", [round(x, 3) for x in scores.grad[0].tolist()])
assert with_relu[0, 0] == 0 and scores.grad[0, 0] < 0, "only ReLU should give 0"

# %% [markdown]
# ### Exercises: a network and its loss
#
# Replace the dots and run both cells. The second checks your answer: ✓ correct, ✗ wrong, with the first difference, or
# ○ not attempted. An answer must leave the tensors that it is given as they were.
#
# **Build a network from its table.** Return a network for pictures (N, 1, 28, 28) with these layers, in this order:
#
# | layer | output | numbers to learn |
# | --- | --- | --- |
# | convolution 5 × 5, padding 2, then ReLU | 6 × 28 × 28 | 156 |
# | max pooling 2 × 2 | 6 × 14 × 14 | 0 |
# | convolution 5 × 5, then ReLU | 16 × 10 × 10 | 2,416 |
# | max pooling 2 × 2 | 16 × 5 × 5 | 0 |
# | dense, then ReLU | 120 | 48,120 |
# | dense | 10 | 1,210 |
#
# (It is close to LeNet-5 of 1998.)


# %%
def lenet(): ...


# %%
# Stuck? exercises.lesson3.lenet.hint() helps, .solution() shows a way
exercises.lesson3.lenet.check(lenet)

# %% [markdown]
# **The loss by hand, for large logits.** Return the mean cross-entropy of logits (N, K) for labels (N,). It must also
# work for logits as large as 1,000, where `exp` alone overflows.


# %%
def cross_entropy(logits, labels): ...


# %%
# Stuck? exercises.lesson3.cross_entropy.hint() helps, .solution() shows a way
exercises.lesson3.cross_entropy.check(cross_entropy)

# %% [markdown]
# ## Part 2: the loop
#
# ### One step
#
# Learning is what you did in lesson 1 on a parabola, with more numbers: compute the **gradient**, the slope of the loss
# with respect to each parameter, and move each parameter a little against its slope. `loss.backward()` computes all the
# slopes. The step itself is one line:

# %%
torch.manual_seed(settings.seed)
learner = HiddenLayer(72)
before = F.cross_entropy(learner(images), labels)
before.backward()
with torch.no_grad():
    for parameter in learner.parameters():
        parameter -= 0.1 * parameter.grad
after = F.cross_entropy(learner(images), labels)
print(f"loss on these 32 pictures: {before:.4f} before, {after:.4f} after")

# %% [markdown]
# The loss fell, so the step went the right way. An **optimizer** is this inner loop in a box. Plain `torch.optim.SGD`
# (stochastic gradient descent) is exactly it. **Adam**, used below, averages the latest gradients of each parameter and
# divides by how large they have been, so that steep and flat directions get steps of similar size.

# %%
torch.manual_seed(settings.seed)
boxed = HiddenLayer(72)
F.cross_entropy(boxed(images), labels).backward()
torch.optim.SGD(boxed.parameters(), lr=0.1).step()
for ours, theirs in zip(learner.parameters(), boxed.parameters()):
    assert_close(ours, theirs)
print("torch.optim.SGD took the same step")

# %% [markdown]
# ### Five lines
#
# Nearly every training loop in PyTorch has the same five lines: **predict, compare, clear, differentiate, step.** Here
# they are, with a sixth for watching.


# %%
def train_one_epoch(model, batches, optimizer, watch=None):
    model.train()
    for images, labels in batches:
        logits = model(images)  # predict
        loss = F.cross_entropy(logits, labels)  # compare
        optimizer.zero_grad()  # clear the old gradients: they would add up
        loss.backward()  # differentiate
        optimizer.step()  # step
        if watch:
            watch(loss.item())


# %% [markdown]
# The first network that you train: ten neurons on 784 pixels, batches of 32, Adam, learning rate 0.001.

# %%
torch.manual_seed(settings.seed)
one_layer = nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, 10)).to(device)
batches = data.batches(
    train_part, 32, shuffle=True, seed=settings.seed, device=device
)
optimizer = torch.optim.Adam(one_layer.parameters(), lr=1e-3)
curve = training.LossCurve("One dense layer", guessing=math.log(10))
for _ in range(settings.epochs):
    train_one_epoch(one_layer, batches, optimizer, watch=curve)
curve.finish()

# %% [markdown]
# From guessing to most of what this network can learn takes a few hundred steps. Each batch has a loss of its own, so
# the pale line jumps; the average tells you where it goes.
#
# `training.fit` is these five lines with their surroundings: it keeps a history, moves the learning rate, can stop
# early, and saves its state.
#
# ### Go deeper: the same loop in a box
#
# The same start and the same ten batches lead both to the same weights:

# %%
some = [batch for _, batch in zip(range(10), batches)]
torch.manual_seed(1)
net_1 = HiddenLayer(72).to(device)
torch.manual_seed(1)
net_2 = HiddenLayer(72).to(device)
train_one_epoch(net_1, some, torch.optim.Adam(net_1.parameters()))
training.fit(
    net_2,
    some,
    epochs=1,
    optimizer=torch.optim.Adam(net_2.parameters()),
    progress=False,
)
for ours, theirs in zip(net_1.parameters(), net_2.parameters()):
    assert_close(ours, theirs)
print("the same weights")

# %% [markdown]
# ### What a dense network learns
#
# Each of the ten neurons has a weight for every pixel, so its weights are a picture. Where it is red, bright pixels
# speak for the class; where it is blue, they speak against it.

# %% tags=["hide-input"]
templates = one_layer[1].weight.detach().cpu().reshape(10, 28, 28)
reach = templates.abs().flatten().quantile(0.995).item()
with figures.style():
    fig, axes = plt.subplots(2, 5, figsize=(6.5, 3.0))
    for axis, template, name in zip(axes.flat, templates, clothes.classes):
        axis.imshow(template, cmap=figures.DIVERGING, vmin=-reach, vmax=reach)
        axis.set_title(name, fontsize=9, fontweight="normal", loc="center")
        axis.axis("off")
    fig.suptitle(
        "One neuron, one template (red speaks for the class)",
        x=0.01,
        ha="left",
        fontsize=11,
        fontweight="bold",
    )
figures.show(
    fig,
    alt="Ten pictures of weights, one for each class, red where brightness "
    "speaks for it and blue where it speaks against it. Out of the noise "
    "stands the gap between the legs of trousers, in blue.",
)
assert templates[1, 16:, 13:15].mean() < 0, "Between the legs it is dark."

# %% [markdown]
# Brightness between the legs, for example, speaks against trousers. A template fits one place: it asks about *this*
# pixel, and knows nothing of its neighbours. Now the network with a hidden layer, with seven times as many numbers,
# trained in the same way:

# %%
torch.manual_seed(settings.seed)
hidden_layer = HiddenLayer(72).to(device)
optimizer = torch.optim.Adam(hidden_layer.parameters(), lr=1e-3)
for _ in range(settings.epochs):
    train_one_epoch(hidden_layer, batches, optimizer)

# %%
validation_batches = data.batches(validation_part, 1000, device=device)
simple = {"one dense layer": one_layer, "with a hidden layer": hidden_layer}
simple_accuracy = {
    name: training.evaluate(model, validation_batches).accuracy
    for name, model in simple.items()
}
for name, share in simple_accuracy.items():
    numbers = models.count_parameters(simple[name])
    print(f"{name:<20} {numbers:>7,} numbers ", figures.percent(share), "right")

# %% tags=["hide-input"]
results.record(
    ".1%",
    one_layer_accuracy=simple_accuracy["one dense layer"],
    hidden_accuracy=simple_accuracy["with a hidden layer"],
)

# %% [markdown]
# So flattening is not hopeless: on this page {{one_layer_accuracy:.1%}} and {{hidden_accuracy:.1%}} of the validation
# pictures are right. Any network with filters has to beat *that*, not guessing.
#
# ### A network from a tutorial
#
# A network printed in a widely read tutorial for this set has four convolutions, two poolings and three dense layers.
# Here it is rebuilt, with one number left as an argument. The published listing says 32 · 5 · 5.


# %%
class TutorialNet(nn.Module):
    def __init__(self, flat):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3),
            nn.ReLU(),
            nn.Conv2d(16, 16, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 5),
            nn.ReLU(),
            nn.Conv2d(32, 32, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(flat, 256),
            nn.ReLU(),
            nn.Linear(256, 128),
            nn.ReLU(),
            nn.Linear(128, 10),
        )

    def forward(self, images):
        return self.classifier(self.features(images))


published = TutorialNet(flat=32 * 5 * 5)
try:
    published(images)
except RuntimeError as error:
    print(told(error))

# %% [markdown]
# It cannot run. Read the message as shapes: 32 pictures arrive with 128 numbers each, and the first dense layer expects
# 800. That is 32 · 5 · 5: the listing takes the maps to be 5 × 5 at that point. Are they?
#
# ### Following the shapes
#
# **Predict first.** Lesson 2 gave you the rule: a k × k convolution without padding makes a side of n pixels n − k + 1,
# and 2 × 2 pooling halves it. Start with 28, go through the six layers in your head. Where do you end?

# %% tags=["nbval-check-output"]
side = 28
for name, kernel, stride in [
    ("conv 3", 3, 1),
    ("conv 3", 3, 1),
    ("pool 2", 2, 2),
    ("conv 5", 5, 1),
    ("conv 5", 5, 1),
    ("pool 2", 2, 2),
]:
    side = convolution.output_size(side, kernel, stride)
    print(f"{name}: {side} × {side}")

# %% [markdown]
# <details><summary>Answer</summary>
#
# 26, 24, 12, 8, 4, 2. So 32 maps of 2 × 2 arrive, 128 numbers, just as the message said. Whoever ends at 7 has halved
# twice and forgotten that a convolution without padding shrinks its picture too. For which pictures would 5 × 5 be
# right? An exercise below gives you the tool to find out.
#
# </details>
#
# `models.shape_trace` does this for any network. It sends zeros through and notes what comes out of each layer, up to
# the first that fails.

# %%
print(models.shape_trace(published, (1, 1, 28, 28)))

# %% [markdown]
# When a network does not run, print its shapes before you think. The fix is one number:

# %%
torch.manual_seed(settings.seed)
fixed = TutorialNet(flat=32 * 2 * 2)
print("logits:", fixed(images).shape)
print(f"{models.count_parameters(fixed):,} numbers to learn")
fixed_trace = models.shape_trace(fixed, (1, 1, 28, 28))

# %% tags=["hide-input"]
assert models.count_parameters(fixed) == models.count_parameters(
    models.PublishedNet()
), "expected as many numbers as in PublishedNet; was a layer changed?"
figures.show(
    fixed_trace.plot(),
    alt="The fixed tutorial network from left to right: a picture of 28 by 28 "
    "pixels, four convolutions and two poolings whose maps get smaller and "
    "more, down to 32 maps of 2 by 2, then dense layers of 256, 128 and 10 "
    "numbers.",
)

# %% [markdown]
# Fewer and fewer pixels, more and more channels, then a few numbers: most networks for pictures have this outline.
# Train it for one epoch, as published: batches of 32, Adam, 0.001.

# %%
fixed = TutorialNet(flat=32 * 2 * 2).to(device)
optimizer = torch.optim.Adam(fixed.parameters(), lr=1e-3)
curve = training.LossCurve("Tutorial network", guessing=math.log(10))
start = time.perf_counter()
train_one_epoch(fixed, batches, optimizer, watch=curve)
tutorial_seconds = time.perf_counter() - start
curve.finish()

# %% [markdown]
# ### Counting right
#
# How good is it now? **Accuracy** is the share of pictures that a network gets right. The tempting way is to compute it
# for each batch and average. Two new calls: `model.eval()` tells the network that it is being measured, not trained
# (some layers differ; one comes soon; `model.train()` switches back), and `inference_mode` saves PyTorch the work of
# preparing gradients.
#
# **Predict first.** 70 pictures in batches of 32: is the average of the three batch accuracies the accuracy?


# %%
def accuracy_of(model, images, labels):
    model.eval()
    with torch.inference_mode():
        right = model(images).argmax(dim=1) == labels
    return right.double().mean().item()


few = data.batches(validation_part.take(70), size=32, device=device)
per_batch = [(accuracy_of(fixed, x, y), len(y)) for x, y in few]
average = sum(accuracy for accuracy, _ in per_batch) / len(per_batch)
whole = training.evaluate(fixed, few).accuracy
for in_batch, size in per_batch:
    print(f"{size:>2} pictures, {figures.percent(in_batch)} right")
print("average of averages", figures.percent(average, 4))
print("accuracy           ", figures.percent(whole, 4))

# %% tags=["hide-input"]
first_epoch = training.evaluate(fixed, validation_batches)
right_of_70 = sum(accuracy * count for accuracy, count in per_batch)
assert math.isclose(whole, right_of_70 / 70, rel_tol=1e-5), (
    "batches weighted by their pictures must give the accuracy of all"
)
results.record(".1%", tutorial_epoch_accuracy=first_epoch.accuracy)

# %% [markdown]
# <details><summary>Answer</summary>
#
# Not in general: in the average of averages the last 6 pictures count as much as 32 others. `training.evaluate` weights
# each batch by its number of pictures, for the loss too; an exercise asks you for it. It can be seen from outside: with
# 10,000 test pictures an accuracy has at most two decimals in per cent, yet in print you will find 88.37859424920129 %
# for this set.
#
# </details>
#
# After one epoch, on this page, the tutorial's network gets {{tutorial_epoch_accuracy:.1%}} of the validation pictures
# right. How far does it get? A script that ran the fixed listing for ten epochs, on all 60,000 pictures, has recorded
# it:

# %% tags=["hide-input"]
recorded = results.benchmark("fashion_mnist")
if recorded:
    results.record(".1%", listing_best=recorded["goal"])
    results.record(
        ".0f",
        listing_seconds=float(recorded["listing_seconds"]),
        times_sooner=float(recorded["speedup_median"]),
    )

# %% [markdown]
# At best {{listing_best:.1%}} of the test pictures, after {{listing_seconds:.0f}} seconds of training. Part 3 builds a
# network and a training that, with its schedule cut to 1.6 epochs, get there {{times_sooner:.0f}} times sooner (the
# listing also fetches its pictures one at a time).
#
# ### Go deeper: What you will find in tutorials
#
# **Predict first.** Four answers, all of them right, and an accuracy as many tutorials count it. What is printed?

# %% tags=["nbval-check-output"]
perfect_answers, four_classes = torch.eye(4), torch.arange(4)
print(torch.max(perfect_answers, dim=1) == four_classes)
print(perfect_answers.argmax(dim=1) == four_classes)

# %% [markdown]
# <details><summary>Answer</summary>
#
# A plain `False`, and no error. `torch.max(…, dim=1)` gives a pair, the largest values and their places, and a pair is
# never equal to a tensor. `argmax` gives the places alone.
#
# </details>
#
# Three more, to be read twice. In tutorials you will find
#
# - that `optimizer.step()` "updates the gradients": it changes the *parameters*; `backward()` computes the gradients;
# - that features have "more dimensions" than the picture: read the trace, where 784 numbers go in and 128 reach the
#   dense layers;
# - `shuffle=True` for test pictures: the accuracy does not mind, but answer 17 is then no longer about picture 17, and
#   nobody can look at the mistakes.
#
# ### Exercises: shapes and steps
#
# **Accuracy over ragged batches.** Return the accuracy over all pictures, given a list of (right answers, pictures) of
# each batch. For `[(30, 32), (2, 4)]` it is 32/36, not the average of 0.9375 and 0.5.


# %%
def accuracy(batches): ...


# %%
# Stuck? exercises.lesson3.accuracy.hint() helps, .solution() shows a way
exercises.lesson3.accuracy.check(accuracy)

# %% [markdown]
# **How many numbers?** Return how many values arrive at the first dense layer of a network like the tutorial's (conv 3,
# conv 3, pool, conv 5, conv 5, pool, 32 channels) for square pictures of any side. For 28 it is 128, for 32 it is 288.
# Then find out for which sides it would be the listing's 800.


# %%
def flat_size(side): ...


# %%
# Stuck? exercises.lesson3.flat_size.hint() helps, .solution() shows a way
exercises.lesson3.flat_size.check(flat_size)

# %% [markdown]
# **One line more.** Write a training step that *clips* the gradient: if its norm (square the gradients of all
# parameters, add up, take the root) is larger than `most`, scale them all down so that it is exactly `most`. It belongs
# between "differentiate" and "step". The check looks at the parameters after it. (`nn.utils.clip_grad_norm_` does
# nearly the same.)


# %%
def clipped_step(model, images, labels, optimizer, most): ...


# %%
# Stuck? exercises.lesson3.clipped_step.hint() helps, .solution() shows a way
exercises.lesson3.clipped_step.check(clipped_step)

# %% [markdown]
# ## Part 3: a better network, judged honestly
#
# ### Four changes
#
# 1. **Pool early.** Halve height and width after *every* convolution, so that each layer has a quarter of the pixels
#    of the one before and can afford more channels.
# 2. **Normalise inside.** **Batch normalisation** brings each channel to mean 0 and standard deviation 1 over the
#    batch, then scales and shifts it by two learned numbers. Larger learning rates become safer. (Lesson 4 looks at
#    what it does in evaluation.)
# 3. **Larger batches**, with the channels of a pixel next to each other in memory (`channels_last`): the same work in
#    fewer and larger pieces.
# 4. **A moving learning rate.** It rises, then falls to almost 0: large steps to get near, small ones to settle. This
#    is the *one-cycle* schedule; lesson 6 takes it apart.


# %%
def block(inputs, outputs):
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.MaxPool2d(2),
        nn.BatchNorm2d(outputs),  # brings its own bias
        nn.ReLU(),
    )


class OurNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            block(1, 16), block(16, 48), block(48, 96)
        )
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(96 * 9, 10))

    def forward(self, images):
        return self.classifier(self.features(images))


ours, library = OurNet(), models.FashionNet()
library.load_state_dict(ours.state_dict())
assert_close(ours.eval()(images), library.eval()(images))
our_trace = models.shape_trace(ours, (1, 1, 28, 28))
print(f"{models.count_parameters(ours):,} numbers to learn")

# %% tags=["hide-input"]
figures.show(
    our_trace.plot(),
    alt="Our network from left to right: a picture of 28 by 28 pixels, three "
    "convolutions, each followed by a pooling, with 16, 48 and 96 channels, "
    "down to maps of 3 by 3, then 10 scores.",
)

# %% [markdown]
# `models.FashionNet` is this network. (Pooling stands before the normalisation and the ReLU because these then have a
# quarter of the work. ReLU alone gives the same before or after max pooling; the normalisation does not quite.)
#
# It has fewer numbers than the tutorial's. And the work for one picture? Multiplications in a convolution are output
# pixels × numbers in a kernel × channels in × channels out.

# %% tags=["nbval-check-output"]
tutorial_work = (26**2 * 9 * 1 + 24**2 * 9 * 16) * 16
tutorial_work += (8**2 * 25 * 16 + 4**2 * 25 * 32) * 32
our_work = 28**2 * 9 * 1 * 16 + 14**2 * 9 * 16 * 48 + 7**2 * 9 * 48 * 96
print(f"multiplications: tutorial {tutorial_work:,}, ours {our_work:,}")

# %% [markdown]
# Ours multiplies *more*. But time also depends on how the numbers lie in memory. So we measure, one change at a time:
# same pictures, best of three rounds.


# %% tags=["hide-input"]
def seconds_for(model, batches):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    start = time.perf_counter()
    train_one_epoch(model, batches, optimizer)
    return time.perf_counter() - start


timed_part = train_part.take(at_most=2048, seed=settings.seed)
small = data.batches(timed_part, 32, device=device)
large = data.batches(timed_part, 256, device=device)
last = data.batches(timed_part, 256, device=device, channels_last=True)
published_net = models.PublishedNet().to(device)
our_net = models.FashionNet().to(device)
our_net_last = models.FashionNet().to(device, memory_format=torch.channels_last)
steps = {
    "tutorial network, batches of 32": (published_net, small),
    "the same, batches of 256": (published_net, large),
    "our network, batches of 256": (our_net, large),
    "the same, channels_last": (our_net_last, last),
}
rounds = [
    {what: seconds_for(*step) for what, step in steps.items()} for _ in range(3)
]
best_times = {what: min(each[what] for each in rounds) for what in steps}
for what, seconds in best_times.items():
    print(f"{what:<32} {len(timed_part) / seconds:>7,.0f} pictures a second")

# %% tags=["hide-input"]
times = list(best_times.values())
gains = [times[i] / times[i + 1] for i in range(3)]
what_paid = ("the larger batches", "the other network", "channels_last")
results.record(
    ".1f",
    larger_batches=gains[0],
    other_network=gains[1],
    channels_last=gains[2],
    together=times[0] / times[-1],
)
print(f"Here {what_paid[gains.index(max(gains))]} brought most.")

# %% [markdown]
# On this page the larger batches made the tutorial's network {{larger_batches:.1f}} times as fast, our network in its
# place {{other_network:.1f}} times, and `channels_last` {{channels_last:.1f}} times; together {{together:.1f}}.
# `channels_last` changes no multiplication: counting them is not enough. The moving rate is there for the accuracy
# after few epochs. Here is what it does, and what batch normalisation does to one channel of our first layer:

# %% tags=["hide-input"]
total_steps = settings.epochs * math.ceil(len(train_part) / settings.batch_size)
previewed = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
cycle = torch.optim.lr_scheduler.OneCycleLR(
    previewed, settings.learning_rate, total_steps=total_steps
)
planned = []
for _ in range(total_steps):
    planned.append(cycle.get_last_lr()[0])
    previewed.step()
    if len(planned) < total_steps:
        cycle.step()
torch.manual_seed(settings.seed)
first_block = block(1, 16)
with torch.inference_mode():
    pooled = first_block[1](first_block[0](images))  # (32, 16, 14, 14)
    channel = pooled.std(dim=(0, 2, 3)).argmin().item()
    normed = first_block[2](pooled)
with figures.style():
    fig, (left, right) = plt.subplots(1, 2, figsize=(7.5, 2.5))
    left.plot(planned)
    left.set(
        xlabel="step",
        ylabel="learning rate",
        title=f"The rate rises to {settings.learning_rate:g}, then falls to 0",
    )
    before, after = (each[:, channel].flatten() for each in (pooled, normed))
    both = torch.cat([before, after])
    bins = torch.linspace(both.min(), both.max(), 80).tolist()
    look = {"histtype": "step", "linewidth": 2, "color": figures.BLUE}
    right.hist(after.numpy(), bins, color=figures.ORANGE, label="after")
    right.hist(before.numpy(), bins, **look, label="before")
    right.set(
        xlabel="value",
        ylabel="values, logarithmic",
        yscale="log",
        title="Batch norm: a spread of 1",
    )
    right.legend()
figures.show(
    fig,
    alt="Left, the learning rate over the steps: it rises for the first third "
    "and falls to almost 0. Right, histograms of one channel: narrow before "
    "batch normalisation, spread around 0 with standard deviation 1 after it.",
)

# %% [markdown]
# ### Training it
#
# One function, so that we can train with several seeds, and leave a change out. (`AdamW` is Adam that also pulls every
# weight a little towards 0 in each step: **weight decay**.)


# %%
def train_with(seed, make=models.FashionNet, moving=True, progress=True):
    training.seed_everything(seed)
    model = make().to(device, memory_format=torch.channels_last)
    batches = data.batches(
        train_part,
        settings.batch_size,
        shuffle=True,
        seed=seed,
        device=device,
        channels_last=True,
    )
    steps = settings.epochs * len(batches)
    rate = settings.learning_rate
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    one_cycle = None
    if moving:  # not before: to make one already changes the optimizer's rate
        one_cycle = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, rate, total_steps=steps
        )
    history = training.fit(
        model,
        batches,
        data.batches(validation_part, 1000, device=device),
        epochs=settings.epochs,
        optimizer=optimizer,
        scheduler=one_cycle,
        progress=progress,
    )
    return model, history


print(
    f"{settings.epochs} epochs, batches of {settings.batch_size}, "
    f"a rate of at most {settings.learning_rate}"
)
model, history = train_with(settings.seed)

# %% tags=["hide-input"]
figures.show(
    history.plot(),
    alt="Two charts over the epochs, each with a curve for training and one "
    "for validation. Left: over the whole run the losses fall. Right: the "
    "accuracies rise; the best validation accuracy is circled.",
)
results.record(
    ".1%",
    validation_accuracy=history.validation_accuracy[-1],
)
results.record(
    ".1f",
    epochs=history.epochs,
    seconds_per_epoch=sum(history.seconds) / history.epochs,
    tutorial_seconds_per_epoch=tutorial_seconds,
)

# %% [markdown]
# On this page: {{validation_accuracy:.1%}} of the validation pictures right after {{epochs}} epochs of
# {{seconds_per_epoch:.0f}} seconds (the tutorial's network needed {{tutorial_seconds_per_epoch:.0f}}, its live
# curve included). Three things to look for in your curves:
#
# - Validation may start *better* than training: a training figure is averaged over the epoch, its clumsy beginning
#   included, while validation waits for the end.
# - Where the training loss keeps falling and the validation loss does not follow, the network begins to learn its
#   pictures by heart. This is **overfitting**.
# - Validation may stumble early, while the learning rate is high, and improve as the rate goes to 0.
#
# Which of the changes brings the accuracy? Leave out two of them, one at a time: the normalisation, and the moving
# rate. (It then stays at the schedule's highest, {{highest_rate}}.)


# %% tags=["hide-input"]
def without_normalisation():
    net = models.FashionNet()
    for part in net.features:
        inputs, outputs = part[0].in_channels, part[0].out_channels
        part[0] = nn.Conv2d(inputs, outputs, 3, padding=1)  # with its bias
        part[2] = nn.Identity()
    return net


seed = settings.seed
less = {
    "without batch normalisation": train_with(
        seed, without_normalisation, progress=False
    ),
    "at a constant rate": train_with(seed, moving=False, progress=False),
}
for what, (_, run) in {"all changes": (model, history), **less}.items():
    print(f"{what:<30} {figures.percent(run.validation_accuracy[-1])}")

# %% tags=["hide-input"]
ablated = [h.validation_accuracy[-1] for _, h in less.values()]
assert set(less["at a constant rate"][1].learning_rates) == {
    settings.learning_rate
}, "the rate should stay at its highest; was train_with changed?"
results.record(
    ".1%", without_normalisation=ablated[0], constant_rate=ablated[1]
)
results.record(
    ".2f",
    normalisation_points=100 * (history.validation_accuracy[-1] - ablated[0]),
    moving_points=100 * (history.validation_accuracy[-1] - ablated[1]),
)
results.record(highest_rate=settings.learning_rate)

# %% [markdown]
# {{without_normalisation:.1%}} without the normalisation and {{constant_rate:.1%}} at a constant rate, on this page.
#
# ### Three pixels to the right
#
# In lesson 1, as lists of pixels, a boot moved by three pixels was farther away than another boot. Move all validation
# pictures by three pixels and ask the three kinds of networks again. None has seen moved ones.
#
# **Predict first.** How accurate will each of them still be?


# %%
def moved(part, pixels):
    images = F.pad(part.images, (pixels, 0))[..., :28]  # black comes in
    return replace(part, images=images)


moved_batches = data.batches(moved(validation_part, 3), 1000, device=device)
three = {**simple, "our network": model}
kept = {
    name: (
        training.evaluate(net, validation_batches).accuracy,
        training.evaluate(net, moved_batches).accuracy,
    )
    for name, net in three.items()
}
for name, pair in kept.items():
    in_place, shifted = map(figures.percent, pair)
    print(f"{name:<20} {in_place} in place, {shifted} moved")

# %% tags=["hide-input"]
results.record(
    ".0%",
    moved_one_layer=kept["one dense layer"][1],
    moved_hidden=kept["with a hidden layer"][1],
    moved_ours=kept["our network"][1],
)
# Far fewer steps than usual, or another rate, decide nothing.
usual = (
    settings.epochs * len(train_part) >= 18_000
    and 0.003 <= settings.learning_rate <= 0.03
)
assert not usual or (
    kept["our network"][1] > kept["with a hidden layer"][1] + 0.1
), "The network with filters should lose far less than the dense ones."

# %% [markdown]
# <details><summary>Answer</summary>
#
# {{moved_one_layer:.0%}}, {{moved_hidden:.0%}} and {{moved_ours:.0%}} on this page. A template asks about places, and
# the place has changed. Filters slide, so they find a sole wherever it is; only the last, dense layer still asks
# *where*.
#
# </details>
#
# ### How much is luck?
#
# Two kinds of luck are in a figure. Another *seed* gives other starting weights and another order of pictures. And
# other *pictures* would have been drawn for validation. For the second there is a formula: a share p measured on n
# pictures has a **standard error** of √(p (1 − p) / n). In about 95 of 100 cases the true share is within two of them.


# %%
def standard_error(share, count):
    return math.sqrt(share * (1 - share) / count)


trained = [(model, history)]
for run in range(1, settings.runs):
    trained.append(train_with(settings.seed + run, progress=False))
shares = [h.validation_accuracy[-1] for _, h in trained]
for number, share in enumerate(shares):
    error = 2 * standard_error(share, len(validation_part))
    figure = f"{figures.percent(share, 2)} ± {figures.percent(error, 2)}"
    print(f"seed {settings.seed + number}: {figure}")

# %% tags=["hide-input"]
mean_share = sum(shares) / len(shares)
results.record(
    ".2%",
    validation_mean=mean_share,
    two_errors=2 * standard_error(mean_share, len(validation_part)),
)
results.record(".2f", spread_points=100 * (max(shares) - min(shares)))
results.record(runs=len(trained))

# %% [markdown]
# On this page {{runs}} seeds average {{validation_mean:.1%}}; the best and the worst differ by {{spread_points:.2f}}
# points, but the luck of the pictures alone is ± {{two_errors:.2%}}. Two networks that are asked about the *same*
# pictures share much of that luck, so their difference is surer than either figure. Still: a trick that "improves" an
# accuracy by less than the spread over seeds has shown nothing yet.
#
# What did the two changes that were left out bring? On this page the normalisation {{normalisation_points:.2f}} points,
# the moving rate {{moving_points:.2f}}.
#
# ### Explore the rate while it trains
#
# *Start* trains a fresh copy of our network; move the learning rate, and it counts from the next step on. *Pause*
# holds, *Stop* ends it, and meanwhile you can run other cells. The optimizer here is SGD with momentum (each step keeps
# nine tenths of the one before; lesson 4). Rates of different optimizers cannot be compared: Adam's 0.001 is not SGD's.
#
# **Predict first.** What will the loss do at rate 0.001? At 0.1? And at 3?

# %%
torch.manual_seed(settings.seed)
widgets.lesson3.LiveTraining(
    models.FashionNet().to(memory_format=torch.channels_last),
    data.batches(train_part.take(at_most=4000), 128, shuffle=True),
    data.batches(validation_part.take(at_most=500), 500),
)

# %% [markdown]
# <details><summary>Answer</summary>
#
# At 0.001 it learns, but slowly. At 0.1 it gets further in the same number of steps. At 3 the loss leaps up to where
# guessing is, 2.3 or above, or is no longer a number at all. Try the shape of our schedule by hand: begin at 0.05, rise
# to 0.3, then go down step by step. Does the curve become quieter as the rate falls?
#
# </details>
#
# ### Class by class
#
# One number hides a lot, so we take it apart, on *validation*: we will act on what we learn. Of all true coats, how
# many were called coats, before any training and after it?

# %%
training.seed_everything(settings.seed)
untrained = training.predict(models.FashionNet().to(device), validation_batches)
answers = training.predict(model, validation_batches)
by_class = {}
for k, name in enumerate(clothes.classes):
    of_class = answers.labels == k
    right_before = (untrained.guesses[of_class] == k).double().mean().item()
    right_after = (answers.guesses[of_class] == k).double().mean().item()
    by_class[name] = right_after
    row = figures.percent(right_before), figures.percent(right_after)
    print(f"{name:<12} {row[0]:>7} untrained {row[1]:>8} trained")

# %% tags=["hide-input"]
checked = diagnosis.per_class(answers, clothes.classes)
at_first = diagnosis.per_class(untrained, clothes.classes).accuracy
assert (at_first < 0.05).sum() >= 4, "most classes should stand near 0 %"
assert_close(
    checked.accuracy, torch.tensor(list(by_class.values()), dtype=torch.float64)
)
results.record(
    ".0%",
    worst_class=checked.worst,
    worst_class_accuracy=checked.accuracy.min(),
    worst_class_errors=2 * checked.standard_error[checked.accuracy.argmin()],
)

# %% [markdown]
# An untrained network does not get 10 % of each class right. It gives nearly every picture the same few answers, so
# most classes stand near 0 % and a few are "right" by accident. Trained, the hardest class on this page is
# {{worst_class}}, {{worst_class_accuracy:.0%}} ± {{worst_class_errors:.0%}} right. What is it taken for? Count every
# pair of (truth, guess) in a table, the **confusion matrix**:

# %%
matrix = torch.zeros(10, 10, dtype=torch.int64)
for truth, guess in zip(answers.labels.tolist(), answers.guesses.tolist()):
    matrix[truth, guess] += 1
confusion = diagnosis.confusion_matrix(answers, clothes.classes)
assert torch.equal(matrix, confusion.matrix), "both must count the same pairs"

# %% tags=["hide-input"]
upper = ["T-shirt/top", "Pullover", "Coat", "Shirt", "Dress"]
shoes = ["Sandal", "Sneaker", "Ankle boot"]
figures.show(
    confusion.ordered().plot(),  # classes that get mixed up side by side
    alt="A table of ten by ten fields: rows are the true classes, columns the "
    "guesses, in per cent of the true class. Most mistakes are near the "
    "diagonal, among clothes for the upper body and among shoes.",
)
wrong_table = matrix.clone().fill_diagonal_(0)
inside = 0
for group in (upper, shoes):
    members = [clothes.classes.index(name) for name in group]
    inside += wrong_table[members][:, members].sum().item()
within_groups = inside / wrong_table.sum().item()
assert not usual or within_groups > 0.6, (
    "Most mistakes should be among similar clothes."
)
first, second, confused_times = confusion.worst_pairs(1)[0]
share = figures.percent(within_groups, 0)
print(f"{share} of the mistakes: among upper-body clothes, dresses or shoes.")
of_each = matrix / matrix.sum(dim=1, keepdim=True)
shirt, coat = map(clothes.classes.index, ("Shirt", "Coat"))
results.record(
    ".0%",
    shirts_as_coats=of_each[shirt, coat],
    coats_as_shirts=of_each[coat, shirt],
    within_groups=within_groups,
    confused_truth=first,
    confused_guess=second,
    confused_times=confused_times,
)

# %% [markdown]
# The answer to your first prediction: on this page no mistake is more frequent than {{confused_truth}} taken for
# {{confused_guess}}, {{confused_times}} times. And a shirt from a coat, as this lesson began? Of the true shirts the
# network calls {{shirts_as_coats:.0%}} coats, and of the true coats {{coats_as_shirts:.0%}} shirts.
# {{within_groups:.0%}} of all mistakes are among clothes for the upper body and dresses, or among shoes. Their outlines
# are alike, and what tells them apart, a collar or a row of buttons, hardly shows in 28 × 28 pixels. And when the
# network is wrong, how often is the truth its *second* guess?

# %%
best_two = answers.logits.topk(2).indices  # (N, 2), the likeliest first
in_two = (best_two == answers.labels[:, None]).any(dim=1)
wrong_first = answers.guesses != answers.labels
second_right = in_two[wrong_first].double().mean().item()
print("truth among the first two:", figures.percent(in_two.double().mean()))
share = figures.percent(second_right, 0)
print("second guess right, where the first is wrong:", share)

# %% tags=["hide-input"]
assert math.isclose(in_two.double().mean(), diagnosis.top_k(answers, k=2)), (
    "both must give the same share; was the number of guesses changed?"
)

# %% [markdown]
# ### The most confident mistakes
#
# The most useful pictures to look at are those where the network is *sure and wrong*. They show what it has not
# understood, or that a label is wrong.

# %% tags=["hide-input"]
wrong = diagnosis.mistakes(
    answers, validation_part.images, clothes.classes, n=12
)
figures.show(
    wrong.plot(),
    alt="Twelve validation pictures, each with its true class, the wrong "
    "guess, and the network's probability for it; the lowest is "
    f"{figures.percent(wrong.confidence.min())}.",
)

# %% [markdown]
# Decide for each: would you have known? Would you have given it that label? Note how high the probabilities are, on
# answers that are all wrong. A network's confidence is a score, not a promise.
#
# Choose two classes and see their mix-ups.
#
# **Predict first.** Is a shoe ever mixed up with clothes for the body? And how many sneakers pass for ankle boots?

# %%
widgets.lesson3.mistakes_by_pair(
    answers, validation_part.images, clothes.classes
)

# %% tags=["hide-input"]
body = [name for name in clothes.classes if name not in (*shoes, "Bag")]
crossed = sum(
    matrix[clothes.classes.index(a), clothes.classes.index(b)].item()
    + matrix[clothes.classes.index(b), clothes.classes.index(a)].item()
    for a in shoes
    for b in body
)
boots = matrix[
    clothes.classes.index("Sneaker"), clothes.classes.index("Ankle boot")
]
assert not usual or crossed < 0.05 * wrong_table.sum(), (
    "Shoes and clothes should be apart."
)
results.record(shoes_and_clothes=crossed, sneakers_as_boots=boots)

# %% [markdown]
# <details><summary>Answer</summary>
#
# Mistakes on this page between shoes and clothes for the body: {{shoes_and_clothes}}. Sneakers taken for ankle boots:
# {{sneakers_as_boots}}, since a high sneaker *is* nearly a boot.
#
# </details>
#
# ### What the filters see
#
# Nobody wrote the filters of the first layer. Here are some of them, each with its answer to one boot, before pooling:

# %% tags=["hide-input"]
boot = validation_part.of_class("Ankle boot").select(torch.tensor([0]))
boot_batch, _ = next(iter(data.batches(boot, 1, device=device)))
first_layer = diagnosis.feature_maps(model, boot_batch, ["features.0.0"])[
    0
].maps
kernels = model.features[0][0].weight.detach().cpu()[:, 0]  # (16, 3, 3)
balance = kernels.sum(dim=(1, 2)).abs() / kernels.abs().sum(dim=(1, 2))
edges = balance.argsort()[:6]  # plus and minus cancel best in them
with figures.style():
    fig, axes = plt.subplots(2, 7, figsize=(7.5, 2.5))
    for axis in axes.flat:
        axis.axis("off")
    axes[1, 0].imshow(boot.images[0, 0], vmin=0, vmax=255)
    axes[1, 0].set_title("the boot", fontsize=9, fontweight="normal")
    for column, index in enumerate(edges.tolist(), start=1):
        reach = kernels[index].abs().max().item()
        axes[0, column].imshow(
            kernels[index], cmap=figures.DIVERGING, vmin=-reach, vmax=reach
        )
        answer = first_layer[index]
        span = answer.abs().max().item()
        axes[1, column].imshow(
            answer, cmap=figures.DIVERGING, vmin=-span, vmax=span
        )
    fig.suptitle(
        "Six learned filters (red adds, blue subtracts) and their answers",
        x=0.01,
        ha="left",
        fontsize=11,
        fontweight="bold",
    )
figures.show(
    fig,
    alt="Above, six filters of 3 by 3 numbers in which red and blue balance; "
    "below each its answer to an ankle boot: outlines, upper or lower edges, "
    "or the whole boot.",
)

# %% [markdown]
# In these six of the 16, plus and minus cancel best, so they answer mostly to edges, as lesson 2's do: the upper side
# of the boot, its sole, a heel; else to the whole boot. A **feature map** is such an answer. Behind each block there is
# a stack of them, after pooling, normalisation and ReLU. Choose a class, a picture, and a block.

# %%
widgets.lesson3.feature_maps(model, validation_part)

# %% [markdown]
# - `features.0` still shows a picture: outlines, bright areas, dark areas.
# - `features.1` is coarser: each map marks places rather than drawing lines.
# - `features.2` shows no picture any more: 96 maps of 3 × 3 numbers, each of which says how strongly some pattern is
#   present, and roughly where. The last layer only has to weigh these numbers and add them up.
#
# ### Saving, loading, and a GPU
#
# A trained network is its weights. Save them, build the same network again, load them, and the answers are the same.

# %%
keep = tempfile.TemporaryDirectory()
file = Path(keep.name) / "clothes.pt"
training.save_weights(model, file)
fresh = models.FashionNet().to(device)
training.load_weights(fresh, file)
again = training.predict(fresh, validation_batches)
assert torch.equal(again.guesses, answers.guesses), "the loaded network differs"
print(f"{file.stat().st_size / 1e6:.1f} MB on disk, the same answers")

# %% [markdown]
# Behind it are `torch.save(model.state_dict(), file)` and `torch.load(file, weights_only=True)`. The last argument
# matters: with `False`, a file from a stranger can run any code on your machine. A file of *another* network is
# refused:

# %%
try:
    training.load_weights(models.FashionNet(widths=(16, 32, 64)), file)
except DataError as error:
    print(told(error))

# %% [markdown]
# **On a GPU** three things change: `device = "cuda"` instead of `"cpu"`; `model.to(device)`, before the optimizer is
# made; and `images.to(device)` and `labels.to(device)` in the loop, or `data.batches(..., device=device)`, which keeps
# the whole set there. This lesson does all three already. Forget the third, and PyTorch complains that its tensors are
# not on the same device.
#
# ### Go deeper: an interrupted run
#
# Long runs also save where they *are*: weights, optimizer, schedule and random numbers. With `checkpoint=`, `fit` does
# so after every epoch, and goes on from there if the file exists. A run that was interrupted ends exactly as one that
# was not, here on the processor:


# %%
def short_run(epochs, checkpoint):
    training.seed_everything(3)
    net = models.FashionNet(widths=(8, 16, 32))
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.01)
    batches = data.batches(
        validation_part.take(500),
        100,
        shuffle=True,
        augment=data.Augment(flip=True),
    )
    training.fit(
        net,
        batches,
        epochs=epochs,
        optimizer=optimizer,
        checkpoint=checkpoint,
        progress=False,
    )
    return net.state_dict()


with tempfile.TemporaryDirectory() as place:
    whole = short_run(epochs=4, checkpoint=Path(place) / "whole.pt")
    short_run(epochs=2, checkpoint=Path(place) / "cut.pt")  # stops half way
    resumed = short_run(epochs=4, checkpoint=Path(place) / "cut.pt")
assert all(torch.equal(whole[name], resumed[name]) for name in whole), (
    "the resumed run should end exactly as the whole one"
)
print("bit for bit the same")

# %% [markdown]
# ### The test
#
# All decisions are taken. Now, and only now, the test part is opened, in this one cell. Its figure is the one we
# report.
#
# **Predict first.** Will it be higher or lower than on validation?

# %%
test_part = clothes.test.take(at_most=settings.test_used, seed=settings.seed)
test_batches = data.batches(test_part, 1000, device=device)
finalists = {**simple}
for number, (net, _) in enumerate(trained):
    finalists[f"our network, seed {settings.seed + number}"] = net
on_test, gaps = {}, {}
for name, net in finalists.items():
    on_test[name] = training.evaluate(net, test_batches).accuracy
    on_validation = training.evaluate(net, validation_batches).accuracy
    gaps[name] = on_validation - on_test[name]
    row = figures.percent(on_validation), figures.percent(on_test[name])
    print(f"{name:<20} validation {row[0]}, test {row[1]}")

# %% tags=["hide-input"]
ours_on_test = [
    share for name, share in on_test.items() if name.startswith("our")
]
mean_test = sum(ours_on_test) / len(ours_on_test)
results.record(
    ".1%",
    test_accuracy=mean_test,
    test_two_errors=2 * standard_error(mean_test, len(test_part)),
)
results.record(".2%", test_worst=min(ours_on_test), test_best=max(ours_on_test))
results.record(test_pictures=len(test_part), data=clothes.source.kind)
simple_gap = sum(gaps[name] for name in simple) / len(simple)
our_gap = sum(gaps[name] for name in gaps if name not in simple) / len(trained)
results.record(
    ".1f", simple_gap_points=100 * simple_gap, our_gap_points=100 * our_gap
)
on_all = len(train_part) >= 50_000
assert not on_all or simple_gap > 0, "The dense networks should lose on test."
enough = 0.9 if on_all else 0.75
assert not usual or min(ours_on_test) > enough, (
    f"Expected more than {enough:.0%} on test."
)

# %% [markdown]
# The result of this lesson, on this page: {{test_accuracy:.1%}} ± {{test_two_errors:.1%}} of {{test_pictures:,}} test
# pictures (two standard errors; the mean of {{runs}} seeds, {{test_worst:.2%}} to {{test_best:.2%}}), after {{epochs}}
# epochs.
#
# <details><summary>Answer</summary>
#
# On this page it is lower by {{our_gap_points:.1f}} points. Because we chose by the validation pictures? Nothing was
# chosen for the dense networks, and they lose {{simple_gap_points:.1f}}. The test pictures may be harder, or our
# validation pictures easy by chance: two standard errors of the difference are about as large. A validation part that
# you cut from the training set is not the test set, and neither is the world.
#
# </details>
#
# Resist the wish to "just try one more thing" until the figure is higher: that would make the test part a second
# validation part.
#
# ### Exercises: judging, and beating it
#
# **Precision.** The accuracy of a class asks: of all true coats, how many were called coats? *Precision* asks the
# other way: of all pictures called coats, how many were coats? Return the precision of each class from a confusion
# matrix, an int64 tensor (K, K) with rows for the truth and columns for the guess, as a float32 tensor (K,). For `[[8,
# 2], [4, 6]]` it is 8/12 and 6/8. Where nothing was called by a class's name, return 0.


# %%
def precision(matrix): ...


# %%
# Stuck? exercises.lesson3.precision.hint() helps, .solution() shows a way
exercises.lesson3.precision.check(precision)

# %% [markdown]
# **Experiment: a network that does not mind.** Return a network with at most 30,000 numbers that still knows clothes
# that have moved by six pixels. The check trains it on 5,000 pictures that have *not* moved (2 epochs, AdamW,
# one-cycle up to 0.01, batches of 64) and asks about 1,000 that have. Reach 45 %. This lesson's network, made narrower
# to fit, stays below: its last layer asks where things are. What could stand between the last maps and that layer?


# %%
def steady_network(): ...


# %%
# Stuck? exercises.lesson3.steady_network.hint() helps, .solution() shows a way
exercises.lesson3.steady_network.check(steady_network)

# %% [markdown]
# **Experiment: beat it.** Fewer than 60,000 numbers, 5 epochs, all training pictures: beat the network of this lesson.
# Change `train_with` or write your own network; decide on *validation* only, with two seeds or more; write down what
# you tried. Then open the test part once. Do you gain more than two standard errors? Tell us on GitHub.
#
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
# - Training pictures for gradients, validation pictures for decisions and diagnosis, test pictures for one figure.
# - A network is a class: `__init__` makes the layers, `forward` says their order, `super().__init__()` prepares the
#   register.
# - Follow the shapes, by hand or with a trace, before you believe a listing.
# - Logits go into the cross-entropy as they are; guessing among ten classes costs log 10 = 2.30.
# - Predict, compare, clear, differentiate, step: five lines, in every loop.
# - Weight by pictures, not by batches. Give the spread over seeds, and √(p (1 − p) / n).
# - A dense network is a good baseline until the picture moves.
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
# | watching your own loop | `training.LossCurve` |
# | counting right | `training.evaluate`, `training.predict` |
# | per class, pairs, mistakes, maps | `diagnosis.per_class`, `confusion_matrix`, `mistakes`, `feature_maps`, `top_k` |
# | saving and loading | `training.save_weights`, `training.load_weights` |
# | the sliders, lists and buttons | `widgets.lesson3` |
# | the checks of your answers | `exercises.lesson3` |
#
# ## What next
#
# [Lesson 4](04_cifar10_training.ipynb) goes to colour photographs: CIFAR-10, a deeper network, and the tricks that keep
# a network from learning its pictures by heart. [Appendix A](A_keras_side_by_side.ipynb) builds this lesson's network
# in Keras, cell by cell. The loops of [lesson 2](02_convolution_by_hand.ipynb) were these lines, with the step written
# out and nothing to clear.
