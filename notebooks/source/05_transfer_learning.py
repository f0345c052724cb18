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
# # Transfer learning: standing on ImageNet
#
# [Open in Colab][colab] · [Open on Binder][binder]
#
# [colab]: https://colab.research.google.com/github/pixels-to-predictions/pixels-to-predictions/blob/main/notebooks/05_transfer_learning.ipynb
# [binder]: https://mybinder.org/v2/gh/pixels-to-predictions/pixels-to-predictions/main?urlpath=lab%2Ftree%2Fnotebooks%2F05_transfer_learning.ipynb
#
# **The question: can a network learn from a few dozen pictures what usually takes a million?**
#
# In lessons 3 and 4 every network began with random numbers. But somebody has already trained networks for weeks on
# more than a million photographs, and published the weights. Their first layers know edges, their middle layers fur,
# wheels and leaves. In this lesson you take such a network, keep what it knows, and teach it *your* classes in
# seconds.
#
# **After this lesson you will be able to**
#
# - use a network that others have trained, with exactly the preprocessing it was trained with;
# - find the head of any network and replace it; say which parameters learn, and count them;
# - freeze a network so that *nothing* in it moves, and see why `requires_grad = False` is not enough;
# - compute features once and train a head on them in seconds;
# - choose settings without peeking, and compare training from scratch, frozen and fine-tuned fairly;
# - save a classifier with its class names, load it, and classify your own pictures.
#
# **You need** lessons 1 to 3; lesson 4 helps with batch normalisation. **Time:** on {{cores}} processor cores the
# cells ran in {{quick.seconds:.0f}} seconds with the profile `quick`, and the run shown here in {{minutes:.1f}}
# minutes.
#
# ### Contents
#
# **What others have trained**
#
# - [A network that knows a thousand things](#A-network-that-knows-a-thousand-things)
# - [Its own way of looking](#Its-own-way-of-looking)
# - [Finding the head](#Finding-the-head)
# - [Counting a large network](#Counting-a-large-network)
# - [Frozen, and still moving](#Frozen,-and-still-moving)
#
# **Your classes**
#
# - [The pictures](#The-pictures)
# - [Features, computed once](#Features,-computed-once)
# - [Choosing without peeking](#Choosing-without-peeking)
# - [A head in seconds](#A-head-in-seconds)
# - [How few pictures are enough](#How-few-pictures-are-enough)
# - [From scratch, frozen, fine-tuned](#From-scratch,-frozen,-fine-tuned)
#
# **Looking closer**
#
# - [Class by class, and the mistakes](#Class-by-class,-and-the-mistakes)
# - [Looking twice](#Looking-twice)
# - [Where does it look?](#Where-does-it-look?)
# - [What others report](#What-others-report)
#
# **To close**
#
# - [Save, load, classify your own](#Save,-load,-classify-your-own)
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
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import torch
import torchvision
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close
from torchvision.transforms import v2

from course_utils import data, diagnosis, exercises, figures, models, profiles, results, training, transfer, widgets
from course_utils.errors import DataError
from course_utils.pictures import Upload, grid, open_upload, photograph, to_tensor

# %% [markdown]
# The settings worth changing. `None` means "as the profile says". One is special: put the path of a folder of *your*
# pictures, with one sub-folder for each class, into `pictures`, and the whole lesson is about them.

# %% tags=["parameters"]
profile = "auto"  # "quick" runs anywhere, "full" uses all pictures; "auto" chooses
seed = None  # start of the random numbers
pictures = None  # a folder of your own pictures, one sub-folder for each class
pictures_used = None  # how many training pictures to use, at most
test_used = None  # how many pictures to measure the result on, at most
resolution = None  # side of the pictures whose features are cached
side = None  # side of the pictures on which whole networks are trained
epochs = None  # how often those trainings see every picture
runs = None  # how many times each of them is done
batch_size = None  # pictures in one step
learning_rate = None  # learning rate of the head

# %% tags=["hide-input"]
settings = profiles.load(
    "05", profile, seed=seed, pictures=pictures, pictures_used=pictures_used, test_used=test_used,
    resolution=resolution, side=side, epochs=epochs, runs=runs, batch_size=batch_size, learning_rate=learning_rate,
)  # fmt: skip
device = "cuda" if torch.cuda.is_available() else "cpu"
print(f"The networks will live on: {device}")

# %% [markdown]
# ## A network that knows a thousand things
#
# **ImageNet** is a collection of photographs in categories. The part that everybody trains on has 1.28 million
# training pictures in 1,000 categories (Russakovsky and others 2015, arXiv:1409.0575). **EfficientNet-Lite0** is a
# small network for telephones, trained on it (Tan and Le 2019, arXiv:1905.11946, in its "lite" version). Its weights
# come with this course's packages, so the next cell works without an internet connection.

# %%
imagenet = transfer.backbone("efficientnet_lite0")
imagenet.model.to(device)
print(imagenet)

# %% [markdown]
# **Predict first.** The course's photographs include a cat, a cup of espresso and a portrait of an astronaut in her
# suit. What will the network say to each? (There is no category "astronaut" and none for a person's portrait.)

# %%
shown = ("cat", "coffee", "astronaut")
for name in shown:
    guesses = imagenet.predict(photograph(name), k=3)
    print(f"{name:<10}", ", ".join(str(guess) for guess in guesses))
cats = {"tabby", "tiger cat", "Persian cat", "Siamese cat", "Egyptian cat"}
assert imagenet.predict(photograph("cat"))[0].name in cats
assert imagenet.predict(photograph("coffee"))[0].name == "espresso"

# %% [markdown]
# Cats, and an espresso: it even hesitates between kinds of cats, as you might. The astronaut is another matter. The
# network *must* divide 100 % among its thousand categories, and none fits, so it spreads them over things with
# helmets and suits. If you expected "I don't know": a classifier has no such answer, unless you give it one.
#
# Choose a picture and a network; you can also upload one of your own. (Where no kernel runs you see two pictures.)

# %%
widgets.lesson5.own_picture({"ImageNet": imagenet}, ("cat", "coffee", "astronaut", "raccoon", "hopper"))

# %% [markdown]
# ## Its own way of looking
#
# The network has seen every picture of its life in one form: the shorter side resized to 256 pixels, the middle
# 224×224 cut out, and each channel brought from [0, 1] to [−1, 1]. It must get yours in the same form. By hand:

# %%
cat = photograph("cat")
width, height = cat.size
scale = 256 / min(width, height)
resized = cat.resize((int(width * scale), int(height * scale)), 3)  # 3 is Pillow's bicubic
left, top = (round((length - 224) / 2) for length in resized.size)
square = to_tensor(resized.crop((left, top, left + 224, top + 224)))  # uint8 (3, 224, 224)
by_hand = (square / 255 - 0.5) / 0.5
assert_close(by_hand, imagenet.preprocess(cat))
print(cat.size, "→", resized.size, "→", tuple(square.shape), f"from {by_hand.min():.2f} to {by_hand.max():.2f}")

# %% [markdown]
# `backbone` brings each network's own numbers with it: take them from the network, never from memory. Other families
# use other numbers, and Inception wants larger pictures. (`weights=None` builds a network without its weights, and the
# device `"meta"` without any numbers: only names and shapes. That costs neither time nor memory, and is all we need to
# look at it.)

# %%
for name in ("efficientnet_lite0", "resnet18", "inception_v3"):
    print(f"{name:<20}", transfer.backbone(name, weights=None, device="meta").preprocess.describe())

# %% [markdown]
# torchvision keeps these numbers with its weights. `weights=` takes a member of an *enum*, a list of names; naming one
# downloads nothing, and it knows its way of looking and its categories:

# %%
weights = torchvision.models.ResNet18_Weights.DEFAULT  # the best weights there are for this network
theirs = weights.transforms()
print(f"{weights.name}: {theirs.resize_size} → {theirs.crop_size}, {len(weights.meta['categories'])} categories")
assert_close(theirs(cat), transfer.backbone("resnet18", weights=None, device="meta").preprocess(cat))

# %% [markdown]
# (To load them: `torchvision.models.resnet18(weights=weights)`.) That is for looking. For *training* whole networks,
# the fixed cut gives way to chance: a random part of the picture, perhaps mirrored, its colours changed a little. The
# usual recipe, from `torchvision.transforms.v2`:

# %%
by_chance = v2.Compose([
    v2.RandomResizedCrop(224, scale=(0.35, 1.0)),  # 35 % of the picture at least
    v2.RandomHorizontalFlip(),
    v2.ColorJitter(brightness=0.3, contrast=0.3, saturation=0.3),
])  # fmt: skip

# %%
torch.manual_seed(settings.seed)
views = torch.stack([by_chance(to_tensor(cat)) for _ in range(5)])  # uint8 (5, 3, 224, 224)
assert views.dtype == torch.uint8 and not torch.equal(views[0], views[1])
figures.show(
    grid(views, columns=5, title="One cat, five views by chance"),
    alt="Five different parts of the cat's portrait, some mirrored, with slightly different colours and brightness.",
)

# %% [markdown]
# After that, the same normalisation as ever. When you *measure*, nothing is left to chance: the fixed cut comes back.
#
# **Pitfall: forgotten normalisation.** Nothing complains when you hand over pictures in [0, 1], or even in [0, 255].

# %%
images = {"as it should be": by_hand, "in [0, 1]": square / 255, "in [0, 255]": square.float()}
with torch.inference_mode():
    for what, image in images.items():
        best = imagenet.model(image[None].to(device)).softmax(dim=1)[0].topk(1)
        print(f"{what:<16} {imagenet.classes[best.indices.item()]:<16} {best.values.item():.0%}")

# %% [markdown]
# Look at the last line above all. There is no error message for this mistake. The fix: let the network's own
# `preprocess` do it, for training and for every picture afterwards.
#
# ## Finding the head
#
# A classifier has a **body**, which turns a picture into numbers that describe it, and a **head**, its last layer
# with parameters, which turns these into scores. Print the network's parts and look for the last one. (*Learning* tells
# how many parameters of a part an optimizer may move: so far all of them.)

# %%
print(transfer.summary(imagenet.model))

# %% [markdown]
# The head is `classifier`: 1,280 numbers in, 1,000 scores out. It is the layer to replace, because its categories are
# ImageNet's. Every family calls its head something else:

# %%
for name in ("vgg16", "resnet18", "squeezenet1_0", "efficientnet_lite0"):
    net = transfer.backbone(name, weights=None, device="meta")
    print(f"{name:<20} {net.head:<14} {net.head_layer}")

# %% [markdown]
# **Predict first.** SqueezeNet's head is no linear layer but a convolution. How can a 1×1 convolution give one score
# for each class?

# %%
maps = torch.randn(1, 512, 13, 13)  # what arrives at SqueezeNet's head: 512 maps of 13 × 13 places
scores = nn.Conv2d(512, 5, kernel_size=1)(maps)
print(tuple(maps.shape), "→", tuple(scores.shape), "→", tuple(scores.mean(dim=(2, 3)).shape))

# %% [markdown]
# It scores *every place* of its maps, and the average over all places comes after it. So its replacement must be a
# convolution too. `replace_head` knows; by hand, for a ResNet, it is one assignment:

# %%
net = transfer.backbone("resnet18", weights=None, device="meta")
net.model.fc = nn.Linear(net.model.fc.in_features, 5, device="meta")
print("ResNet-18, five classes:", tuple(net.model(torch.zeros(1, 3, 224, 224, device="meta")).shape))

squeeze = transfer.backbone("squeezenet1_0", weights=None, device="meta")
squeeze = transfer.replace_head(squeeze, ["a", "b", "c", "d", "e"])
print("SqueezeNet:", squeeze.head_layer, tuple(squeeze.model(torch.zeros(1, 3, 224, 224, device="meta")).shape))

# %% [markdown]
# ## Counting a large network
#
# A published lesson puts this head on VGG-16 for the 100 classes of a set: Linear(4096, 256), ReLU, Dropout(0.4),
# Linear(256, 100), LogSoftmax. It reports 135,335,076 parameters, of which 1,074,532 learn (W. Koehrsen, *Transfer
# Learning with Convolutional Neural Networks in PyTorch*, 2018). Is that right? VGG-16 with numbers takes half a
# gigabyte; on the device "meta" we can count it in a moment.
#
# **Predict first.** Which of the two figures can you check with a pencil?

# %%
vgg = transfer.backbone("vgg16", weights=None, device="meta")
transfer.freeze(vgg.model)
head = transfer.published_head(4096, 100, device="meta")
vgg = transfer.replace_head(vgg, [f"class {i}" for i in range(100)], head)
learning = models.count_parameters(vgg.model, trainable_only=True)
print(f"{models.count_parameters(vgg.model):,} parameters, {learning:,} learn")
assert learning == (4096 + 1) * 256 + (256 + 1) * 100 == 1_074_532
assert models.count_parameters(vgg.model) == 135_335_076

# %% [markdown]
# Both are right, and the second is two products: each output of a linear layer has one weight for each input and one
# bias. Less than one in a hundred parameters learns.
#
# That head ends in `LogSoftmax`, so it gives logarithms of probabilities, and its loss is `NLLLoss`: minus the
# logarithm that belongs to the true class. We have used logits and cross-entropy. The two are the same thing, written
# differently:

# %%
torch.manual_seed(settings.seed)
logits, labels = torch.randn(8, 100), torch.randint(100, (8,))
log_probabilities = logits - logits.exp().sum(dim=1, keepdim=True).log()
assert_close(log_probabilities, nn.LogSoftmax(dim=1)(logits))
one = nn.NLLLoss()(log_probabilities, labels)
two = nn.CrossEntropyLoss()(logits, labels)
assert_close(one, two)
print(f"LogSoftmax + NLLLoss {one.item():.6f}, CrossEntropyLoss {two.item():.6f}")

# %% [markdown]
# ## Frozen, and still moving
#
# To keep what a network knows, we **freeze** its body: its parameters get no gradients, so no optimizer moves them.
# The recipe in most tutorials is one line, `parameter.requires_grad = False`.
#
# **Predict first.** All parameters frozen, no optimizer anywhere, only two batches sent *forward* in training mode.
# What changes in the network?

# %%
probe = transfer.backbone("efficientnet_lite0")
for parameter in probe.model.parameters():
    parameter.requires_grad = False
before = {name: value.clone() for name, value in probe.model.state_dict().items()}
probe.model.train()
for _ in range(2):
    probe.model(torch.stack([probe.preprocess(photograph(name)) for name in shown]))
moved = [name for name, value in probe.model.state_dict().items() if not torch.equal(value, before[name])]
layers = sum(isinstance(layer, nn.BatchNorm2d) for layer in probe.model.modules())
print(f"{len(moved)} of {len(before)} tensors have changed: three in each of {layers} batch normalisations")
assert len(moved) == 3 * layers and not any(name.endswith(("weight", "bias")) for name in moved)

# %% [markdown]
# Not one weight, but in each layer of **batch normalisation** the running mean, the running variance, and a counter of
# batches. They are no parameters but *buffers*: in training mode each batch shifts them, gradients or not (an often
# reported surprise: pytorch/pytorch#86590). A "frozen" body that drifts towards your batches no longer fits its own
# weights. Ask it again:

# %%
probe.model.eval()
print("before:", imagenet.predict(photograph("coffee"), k=1)[0])
print("after: ", probe.predict(photograph("coffee"), k=1)[0])

# %% [markdown]
# Two batches of three pictures are enough to shift its probabilities; a whole training shifts them further. The fix
# is to keep frozen layers in evaluation mode. But the next `model.train()`, which every training loop calls, undoes it.
# By hand it must be done after each of these calls:

# %%
probe = transfer.backbone("efficientnet_lite0")
before = {name: value.clone() for name, value in probe.model.state_dict().items()}
three = torch.stack([probe.preprocess(photograph(name)) for name in shown])
probe.model.train()
for layer in probe.model.modules():
    if isinstance(layer, nn.BatchNorm2d):
        layer.eval()
probe.model(three)
assert all(torch.equal(value, before[name]) for name, value in probe.model.state_dict().items())

# %% [markdown]
# `transfer.freeze` makes it last: every later `train()` leaves the frozen layers in evaluation mode.

# %%
transfer.freeze(probe.model, keep=probe.head)
for _ in range(2):
    probe.model.train()  # as every training loop does
    probe.model(three)
assert all(torch.equal(value, before[name]) for name, value in probe.model.state_dict().items())
print("every parameter and every buffer is as it was, bit for bit")
del probe, before  # a network that nobody needs any more only takes memory

# %% [markdown]
# ## The pictures
#
# Now your classes. The next cell takes, in this order: the folder that you named in `pictures`; a set of ants and
# bees, if it lies in your data folder (`hymenoptera_data`, the set of PyTorch's own transfer learning tutorial); else
# a **stand-in**, parts of the course's photographs, where the class is the photograph. The line says which it was.

# %%
own = data.own_pictures(settings.pictures, seed=settings.seed)
classes, shareable = own.classes, own.source.shareable
train = own.train.take(at_most=settings.pictures_used, seed=settings.seed)
final = data.held_out(own).take(at_most=settings.test_used, seed=settings.seed)
print(f"{len(train)} training pictures, {train.pixels}; {len(final)} pictures for the final figure")
for name in classes:
    print(f"{name:<16} {train.counts()[name]:>4} for training, {final.counts()[name]:>4} for the final figure")

# %%
few = []
for k in range(min(8, len(classes))):
    few += (train.labels == k).nonzero().flatten()[:2].tolist()  # the first two of class k
small = replace(imagenet.preprocess, resize=160, crop=140)
images, titles = [small.cut(train.picture(i)) for i in few], [classes[train.labels[i]] for i in few]
title = f"Two training pictures of each of {min(8, len(classes))} classes"
figures.show(
    grid(torch.stack(images), titles, columns=min(8, len(few)), title=title),
    alt=f"Training pictures of the classes {', '.join(classes)[:150]}, two of each, cut to squares.",
    shareable=shareable,
)

# %% [markdown]
# Is it a folder of your own? A flat one, `<class>/…`, is split 50/25/25 into training, validation and test. By hand,
# for 100 pictures of which 20 are of a rare class: mix their numbers, and cut.

# %%
rare = torch.arange(100) >= 80  # the last 20 of 100 pictures
order = torch.randperm(100, generator=torch.Generator().manual_seed(settings.seed))
parts = order.split([50, 25, 25])  # training, validation, test
assert torch.equal(torch.cat(parts).sort().values, torch.arange(100))  # none is lost, none is in two parts
for name, part in zip(("training", "validation", "test"), parts):
    print(f"{name:<10} {len(part)} pictures, {rare[part].sum().item():>2} of them of the rare class")

# %% [markdown]
# Chance alone does not give every part its fifth of rare pictures. So the course's helper splits each class by itself
# (exercise 5 asks you for such a split). And it keeps pictures that are equal, pixel by pixel, in the same part:
# otherwise the network would be asked about what it has seen. For any set, check that the parts share no picture:

# %%
seen = {path.read_bytes() for path in train.files}
twins = sum(path.read_bytes() in seen for path in final.files)
print(f"{twins} of {len(final)} final pictures are also training pictures")
assert twins == 0 or settings.pictures, "the parts share pictures"

# %% [markdown]
# The final pictures stay closed until [A head in seconds](#A-head-in-seconds). Everything that we *choose* is chosen
# on training pictures alone.
#
# ## Features, computed once
#
# If the body is frozen, it gives the same numbers for the same picture, in every epoch. So why compute them more than
# once? **Features** are what arrives at the head: here 1,280 numbers for each picture. By hand, for one batch:

# %%
batch = torch.stack([imagenet.preprocess(train.picture(i)) for i in range(4)]).to(device)
with torch.inference_mode():
    maps = imagenet.model.forward_features(batch)  # (4, 1280, 7, 7)
    by_hand = maps.mean(dim=(2, 3)).cpu()  # (4, 1280): the average over all places
assert_close(by_hand, imagenet.features(batch), rtol=1e-4, atol=1e-4)
print(tuple(maps.shape), "→", tuple(by_hand.shape))

# %% [markdown]
# `transfer.cached_features` does this for all pictures, and keeps the result on disk: for these weights, this
# preprocessing and these files. Run it again, and nothing is computed; change a picture file, and only that one is. We
# take two views of each picture, as it is and mirrored, at {{resolution}} pixels. (The head averages over all places,
# so any size will do; a size above that of the training often helps a little: Touvron and others 2019,
# arXiv:1906.06423.)

# %%
view = replace(imagenet.preprocess, resize=round(settings.resolution / 0.9), crop=settings.resolution)
folder = Path(tempfile.mkdtemp())  # so that this run measures; leave `cache` out, and they are kept for the next time
start = time.perf_counter()
train_views = [transfer.cached_features(imagenet, train, each, cache=folder) for each in (view, view.mirrored())]
feature_seconds = (time.perf_counter() - start) / len(train_views)
print(
    f"{len(train)} pictures, {tuple(train_views[0].values.shape)} features, {feature_seconds:.1f} seconds for one view"
)
assert transfer.cached_features(imagenet, train, view, cache=folder).computed == 0  # found on disk
results.record(resolution=settings.resolution, training_pictures=len(train), feature_seconds=feature_seconds)

# %% [markdown]
# **Predict first.** A head is trained for 10 epochs: once on cached features, once with the body run in every epoch.
# How many times faster is the first, features included?

# %%
training.seed_everything(settings.seed)
head = nn.Linear(train_views[0].values.shape[1], len(classes))
optimizer = torch.optim.AdamW(head.parameters(), lr=0.003)
start = time.perf_counter()
training.fit(head, train_views[0].batches(16, shuffle=True), epochs=10, optimizer=optimizer, progress=False)
head_seconds = time.perf_counter() - start

# %%
every_epoch = 10 * feature_seconds + head_seconds
speedup = every_epoch / (feature_seconds + head_seconds)
print(f"10 epochs of the head {head_seconds:.1f} s, features once {feature_seconds:.1f} s: {speedup:.1f} times faster")
results.record(head_seconds=head_seconds, cache_speedup=speedup)

# %% [markdown]
# We have computed the longer of the two times, not waited for it. A script has waited:

# %%
recorded = results.benchmark("features")
if recorded:
    sides = recorded["sides"]
    results.record(
        benchmark_pictures=recorded["pictures"]["training"], benchmark_ratio=recorded["ratio"],
        benchmark_once=sides["cached features"]["seconds"], benchmark_always=sides["body every epoch"]["seconds"],
    )  # fmt: skip

# %% [markdown]
# Computed: {{cache_speedup:.1f}} times faster, because almost all the time is the body's. Measured by
# `benchmarks/features.py` with {{benchmark_pictures}} pictures: {{benchmark_always:.1f}} s against
# {{benchmark_once:.1f}} s, {{benchmark_ratio:.1f}} times. With a second look at the same features, to try another head
# or another rate, the gain is far larger: the features are there already.
#
# The price: the body no longer sees new crops in every epoch. Two fixed views are what is left of augmentation.
#
# ## Choosing without peeking
#
# How strongly should the head be held back by **weight decay**, a pull of every weight towards 0? And a second choice:
# features are averages that are never negative, many small and a few large. Their *square roots* are of more equal
# size, an old trick for such numbers (Perronnin, Sánchez and Mensink 2010, "Improving the Fisher kernel"). Does it help
# here? Trying settings on the final pictures would flatter us. **Cross-validation** uses the training pictures twice:
# cut them into five parts, train on four, ask about the fifth, five times over. Every picture is asked about once, by a
# head that has not seen it.


# %%
def as_input(features, root):
    return features.sqrt() if root else features


def mixed(count, size=64):
    order = torch.randperm(count)  # the numbers below `count`, in an order by chance
    return order.split(size)  # in pieces of 64; the last is smaller


assert torch.equal(torch.cat(mixed(150)).sort().values, torch.arange(150)) and len(mixed(150)) == 3


# %%
def train_head(features, labels, seed, *, root=True, decay=1.0, epochs=20):
    torch.manual_seed(seed)
    inputs, head = as_input(features, root), nn.Linear(features.shape[1], len(classes))
    optimizer = torch.optim.AdamW(head.parameters(), lr=0.003, weight_decay=decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)  # from 0.003 down to 0
    for _ in range(epochs):
        for chosen in mixed(len(labels)):
            loss = F.cross_entropy(head(inputs[chosen]), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
    return head


# %%
def probabilities(head, views, root=True):
    with torch.inference_mode():
        answers = [head(as_input(seen, root)).softmax(dim=1) for seen in views]
    return torch.stack(answers).mean(dim=0)  # the views vote


def share_right(chances, truth):
    return (chances.argmax(dim=1) == truth).double().mean().item()


assert share_right(torch.tensor([[0.9, 0.1], [0.3, 0.7]]), torch.tensor([0, 0])) == 0.5


# %% [markdown]
# First deal the pictures out, each class evenly, like cards to five players:

# %%
values, labels = [seen.values for seen in train_views], train.labels
folds = min(5, min(train.counts().values()))
fold_of = torch.empty(len(labels), dtype=torch.int64)
generator = torch.Generator().manual_seed(settings.seed)
for k in range(len(classes)):
    members = (labels == k).nonzero().flatten()
    fold_of[members[torch.randperm(len(members), generator=generator)]] = torch.arange(len(members)) % folds
assert fold_of.bincount().max() - fold_of.bincount().min() <= len(classes)  # about as many in each


# %%
def cross_validated(root, decay):
    right = 0
    for fold in range(folds):
        inside, asked = fold_of != fold, fold_of == fold
        features, truth = torch.cat([v[inside] for v in values]), labels[inside].repeat(len(values))
        head = train_head(features, truth, fold, root=root, decay=decay)
        guesses = probabilities(head, [v[asked] for v in values], root).argmax(dim=1)
        right += (guesses == labels[asked]).sum().item()
    return right / len(labels)


# %%
choices = [(root, decay) for root in (False, True) for decay in (0.01, 1.0, 10.0)]
scores = [cross_validated(*choice) for choice in choices]
for (root, decay), score in zip(choices, scores):
    print(f"{'square roots' if root else 'as they are ':<12}  weight decay {decay:<5} {score:.1%} in cross-validation")

# %% [markdown]
# **Predict first.** Are these differences worth anything? Count: how much is one picture more or less?

# %%
best = 0
for i in range(len(choices)):
    if scores[i] >= scores[best]:  # on a tie the later one: square roots, and the stronger decay
        best = i
root, decay = choices[best]
results.record(".1%", cross_validated=max(scores), cross_validated_worst=min(scores), one_picture=1 / len(train))
results.record(
    pictures_apart=round((max(scores) - min(scores)) * len(train)), choices_tried=len(choices), weight_decay=decay,
    features_used="the square roots of the features" if root else "the features as they are",
)  # fmt: skip

# %% [markdown]
# One picture is {{one_picture:.1%}} of them. The {{choices_tried}} choices lie between {{cross_validated_worst:.1%}}
# and {{cross_validated:.1%}}. Counted in pictures, the distance from worst to best is {{pictures_apart}}. We take the
# best, {{features_used}} with weight decay {{weight_decay}}, and know that we might as well have taken another: small
# differences on small sets are luck. The best of several is also a little flattered. The final pictures will tell.
#
# ## A head in seconds
#
# Now the final pictures are opened. Five seeds: other starting numbers and another order of the pictures.

# %%
final_values = [
    transfer.cached_features(imagenet, final, each, cache=folder).values for each in (view, view.mirrored())
]
stacked, repeated = torch.cat(values), labels.repeat(len(values))
heads = [train_head(stacked, repeated, settings.seed + run, root=root, decay=decay) for run in range(5)]
answers = [training.Predictions(probabilities(head, final_values, root).log(), final.labels) for head in heads]
accuracies = [each.accuracy for each in answers]
mean = sum(accuracies) / 5
results.record(".1%", frozen_accuracy=mean, frozen_worst=min(accuracies), frozen_best=max(accuracies))
results.record(final_pictures=len(final), classes=len(classes), data=own.source.description[:100])

# %%
# What is demanded depends on the pictures: nothing is known of yours beforehand.
all_insects = classes == ("ants", "bees") and len(train) > 240
enough = 0 if settings.pictures else 0.93 if all_insects else 0.7
assert mean >= enough, f"expected at least {enough:.0%}; did a setting change a lot?"

# %% [markdown]
# {{frozen_accuracy:.1%}} of {{final_pictures}} pictures on average over five seeds, between {{frozen_worst:.1%}} and
# {{frozen_best:.1%}}, with {{training_pictures}} training pictures of {{classes}} classes ({{data}}). Not one number
# of the body has changed; only the head has learned, in a second or so. On all the ants and bees, the assert demands
# 93 %. From here on we only *look* at the final pictures: nothing is chosen by them any more.
#
# ## How few pictures are enough
#
# Take only 1, 2, 5 … pictures of each class. With cached features each point of the curve costs a moment.
#
# **Predict first.** How much of its accuracy is left with *one* picture of each class? With five?


# %%
def few_of_each(count, seed):
    generator = torch.Generator().manual_seed(seed)
    picked = []
    for k in range(len(classes)):
        members = (labels == k).nonzero().flatten()
        picked.append(members[torch.randperm(len(members), generator=generator)[:count]])
    return torch.cat(picked)


assert labels[few_of_each(1, 0)].tolist() == list(range(len(classes)))


# %%
def accuracy_with(count, seed):
    picked = few_of_each(count, seed)
    few_labels = labels[picked].repeat(len(values))  # two views, the same labels
    head = train_head(torch.cat([v[picked] for v in values]), few_labels, seed, root=root, decay=decay)
    return share_right(probabilities(head, final_values, root), final.labels)


most = min(train.counts().values())
counts = sorted({c for c in (1, 2, 5, 10, 20, 50, 100) if c < 0.7 * most} | {most})
curve = torch.tensor([[accuracy_with(count, seed) for seed in range(5)] for count in counts])  # (counts, seeds)

# %%
five_each = curve[counts.index(5)] if 5 in counts else curve[-1]
results.record(".1%", guessing=1 / len(classes), one_each=curve[0].mean(), five_each=five_each.mean())

# %%
with figures.style():
    fig, ax = plt.subplots(figsize=(7, 3))
    ax.fill_between(counts, 100 * curve.amin(dim=1), 100 * curve.amax(dim=1), color=figures.SKY, alpha=0.4)
    ax.plot(counts, 100 * curve.mean(dim=1), "o-", label="mean of five seeds, and their range")
    ax.axhline(100 / len(classes), color=figures.GREY, linestyle=":", label="guessing")
    ax.set(xscale="log", xlabel="training pictures of each class", ylabel="right answers in %", ylim=(0, 102))
    ax.set_xticks(counts, [str(count) for count in counts])
    ax.set_title(f"One picture of each class: {curve[0].mean():.0%}; {most} of each: {curve[-1].mean():.0%}")
    ax.legend(loc="lower right")
figures.show(
    fig,
    alt=f"Accuracy against the number of training pictures of each class, from {curve[0].mean():.0%} with one to "
    f"{curve[-1].mean():.0%} with {most}; the band is the range over five seeds.",
)

# %% [markdown]
# {{one_each:.0%}} with a single picture of each class, {{five_each:.0%}} with five, where guessing gives
# {{guessing:.0%}}. The features do the work; the head only has to find the direction in which your classes differ.
# Which single picture it was matters a great deal, as the width of the band shows.
#
# ## From scratch, frozen, fine-tuned
#
# Is it really the ImageNet weights? Take the same network with *random* weights and train all of it, on the same
# pictures, for the same number of epochs. And between the extremes: **fine-tuning** lets upper layers learn too. The
# lower a layer, the more general what it sees (Yosinski and others 2014, arXiv:1411.1792), so it should move less:
# each stage gets 0.7 times the learning rate of the one above (the idea is from Howard and Ruder 2018,
# arXiv:1801.06146). By hand:

# %%
net = transfer.replace_head(transfer.backbone("efficientnet_lite0", weights=None), classes)
transfer.freeze(net.model, keep=net.head)
transfer.unfreeze(net.model, "blocks.6")
stages = [net.model.classifier, net.model.bn2, net.model.conv_head, net.model.blocks[6]]  # from the head down
by_hand = [0.003 * 0.7**i for i in range(len(stages))]
groups = transfer.param_groups(net.model, rate=0.003, factor=0.7)
assert [group["lr"] for group in groups] == by_hand
assert [len(group["params"]) for group in groups] == [len(list(stage.parameters())) for stage in stages]
for group in groups:
    print(f"{group['name']:<12} learning rate {group['lr']:.5f}")

# %% [markdown]
# Training whole networks is slow, so this comparison uses small pictures, {{side}}×{{side}}, and {{epochs}} epochs.
# The small pictures cost accuracy, for all contestants alike. Compare them with each other, not with the head above.
#
# **Predict first.** From scratch; the head alone; from block 6 up; from block 4 up; all layers, fine-tuned. Put the
# five in order. Does it always help to let more layers learn?


# %%
def tensors(pictures_, name):
    small = replace(imagenet.preprocess, resize=round(settings.side / 0.9), crop=settings.side)
    images = torch.stack([small.cut(pictures_.picture(i)) for i in range(len(pictures_))])  # uint8
    return data.TensorPart(images, pictures_.labels, classes, name, small.mean, small.std)


train_part, final_part = tensors(train, "train"), tensors(final, "final")
final_batches = data.batches(final_part, 32, device=device)


# %%
def ready_to_train(weights, learns_from, seed):
    net = transfer.replace_head(transfer.backbone("efficientnet_lite0", weights=weights), classes, seed=seed)
    net.model.to(device)
    # Random layers need statistics of their own, and all of them have everything to learn.
    transfer.unfreeze(net.model, learns_from, statistics=weights is None)
    factor = 0.7 if weights else 1.0
    return net.model, torch.optim.AdamW(transfer.param_groups(net.model, settings.learning_rate, factor))


# %%
def whole_training(weights, learns_from, seed):
    model, optimizer = ready_to_train(weights, learns_from, seed)
    training.seed_everything(seed)
    mirror = data.Augment(flip=True)
    batches = data.batches(train_part, settings.batch_size, shuffle=True, seed=seed, augment=mirror, device=device)
    history = training.fit(model, batches, epochs=settings.epochs, optimizer=optimizer, progress=False)
    final_accuracy = training.evaluate(model, final_batches).accuracy
    learning = models.count_parameters(model, trainable_only=True)
    return learning, history.train_accuracy[-1], final_accuracy, sum(history.seconds)


# %%
contestants = {  # name: (weights, the lowest part that learns; "" is all of them)
    "from scratch, all layers": (None, ""),
    "head alone (frozen body)": ("imagenet", "classifier"),
    "from blocks.6 up": ("imagenet", "blocks.6"),
    "from blocks.4 up": ("imagenet", "blocks.4"),
    "all layers, fine-tuned": ("imagenet", ""),
}

# %%
trials = []
for name, (weights, learns_from) in contestants.items():
    done = [whole_training(weights, learns_from, settings.seed + run) for run in range(settings.runs)]
    learning, fits, finals, seconds = zip(*done)
    trials.append(widgets.lesson5.Trial(name, learning[0], fits, finals, sum(seconds) / len(done)))
    print(f"{name:<26} {learning[0]:>10,} learn  {trials[-1].mean:6.1%}")

# %%
scratch, frozen, *tuned = trials
best, slowest = max(tuned, key=lambda trial: trial.mean), max(tuned, key=lambda trial: trial.seconds)
results.record(
    ".1%", scratch_accuracy=scratch.mean, small_frozen_accuracy=frozen.mean, tuned_accuracy=best.mean,
    tuned_worst=min(best.final), tuned_best=max(best.final), slowest_accuracy=slowest.mean,
)  # fmt: skip
results.record(
    side=settings.side, epochs=settings.epochs, runs=settings.runs, run_word="runs" if settings.runs > 1 else "run",
    best_tuned=best.name, slowest_tuned=slowest.name, frozen_time=frozen.seconds, slowest_time=slowest.seconds,
)  # fmt: skip

# %%
results.record(
    contested=len(train), ways_tuned=len(tuned), below_frozen=sum(trial.mean < frozen.mean for trial in tuned),
    ahead_in_pictures=round((best.mean - frozen.mean) * len(final)),
)  # fmt: skip
assert max(frozen.mean, best.mean) > scratch.mean or settings.pictures

# %% [markdown]
# From scratch {{scratch_accuracy:.1%}}, where guessing gives about {{guessing:.0%}}; the head alone on a frozen body
# {{small_frozen_accuracy:.1%}}; the best fine-tuning, {{best_tuned}}, {{tuned_accuracy:.1%}} (each the mean of
# {{runs}} {{run_word}}). From scratch is not stupid, only starved: {{contested}} pictures do not show what an edge is.
# With very many more pictures and epochs, training from scratch can catch up (He and others 2018, arXiv:1811.08883).
#
# More layers are not better by themselves: of the {{ways_tuned}} fine-tunings, {{below_frozen}} ended below the frozen
# body. In {{epochs}} epochs with so few pictures, large first steps can spoil more than they teach. Counted in
# pictures, the best one is {{ahead_in_pictures}} of {{final_pictures}} ahead of the head alone; its own runs lie
# between {{tuned_worst:.1%}} and {{tuned_best:.1%}}.
#
# Whether fine-tuning beats the frozen body depends on how many pictures you have, how far they are from ImageNet's,
# and on patience. Read the comparison with care: it was measured on the final pictures, so picking its winner and
# quoting its figure would be the mistake of [Choosing without peeking](#Choosing-without-peeking).
#
# Move through the trainings. What else grows with the layers that learn? (Where no kernel runs, you see all three
# measures.)

# %%
widgets.lesson5.layers_that_learn(trials)

# %% [markdown]
# The seconds grow: {{frozen_time:.1f}} for the head alone, {{slowest_time:.1f}} for the slowest fine-tuning,
# {{slowest_tuned}}. The accuracy need not grow with them: {{small_frozen_accuracy:.1%}} the one,
# {{slowest_accuracy:.1%}} the other.
#
# ## Class by class, and the mistakes
#
# Back to the head on cached features, at full size. Its accuracy by class, beside the number of training pictures
# that each class had; **top-1** asks whether the likeliest class is right, **top-k** whether the truth is among the
# `k` likeliest (ImageNet results are usually given as top-1 and top-5).

# %%
answer = answers[0]
by_class = diagnosis.per_class(answer, classes)
for name, accuracy in zip(classes, by_class.accuracy.tolist()):
    print(f"{name:<16} {train.counts()[name]:>4} training pictures   {accuracy:6.1%} right")

# %%
k = min(5, len(classes) - 1)
best_k = answer.logits.argsort(dim=1, descending=True)[:, :k]
by_hand = sum(truth in guesses for truth, guesses in zip(answer.labels.tolist(), best_k.tolist())) / len(final)
assert math.isclose(diagnosis.top_k(answer, k), by_hand)
print(f"top-1 {answer.accuracy:.1%}" + (f", top-{k} {by_hand:.1%}" if k > 1 else ""))

# %% [markdown]
# With very unequal numbers of training pictures, the classes with few usually do worse; that is the first thing to
# check before you blame the network.
#
# With two classes only top-1 means anything: the truth is always among the two likeliest. With a thousand, top-5 is
# milder. Suppose that the right word for the photograph of the espresso were "cup":

# %%
five = [guess.name for guess in imagenet.predict(photograph("coffee"), k=5)]
print(", ".join(five))
assert five[0] != "cup" and "cup" in five  # wrong as top-1, right as top-5

# %% [markdown]
# Top-1 would count a mistake, top-5 a right answer.
#
# **Predict first.** What do the mistakes have in common?

# %%
images = torch.stack([small.cut(final.picture(i)) for i in range(len(final))])
wrong = diagnosis.mistakes(answer, images, classes, n=12)
results.record(mistakes=int((answer.guesses != answer.labels).sum()))

# %%
if len(wrong):
    figures.show(
        wrong.plot(),
        alt=f"{len(wrong)} final pictures with a wrong answer, each with truth, guess and how sure the head was; "
        f"the most confident is {wrong.confidence.max():.0%} sure.",
        shareable=shareable,
    )
else:
    print("There is no mistake among these pictures.")

# %% [markdown]
# {{mistakes}} of {{final_pictures}} answers are wrong. With all the ants and bees (profile `full`, seed 0) we saw
# three kinds. Ants on blossoms: tiny animals, and flowers fill the picture, as in many pictures of bees. Ants from so
# near that the body does not fit in. And swarms, in which each bee is a few pixels. With your pictures, look for the
# usual reasons: something small in a large scene, two things in one picture, a drawing or a close-up unlike all
# others, or simply a wrong label.
#
# ## Looking twice
#
# A network that has learned well should give the same answer to a picture and to its mirror image. It may not.
# **Test-time augmentation** asks about several views and averages the probabilities; our head has done so all along.
# How much does the second view give?

# %%
plain = probabilities(heads[0], final_values[:1], root)
mirrored = probabilities(heads[0], final_values[1:], root)
both = (plain + mirrored) / 2
assert_close(both, probabilities(heads[0], final_values, root))
changed = (plain.argmax(dim=1) != mirrored.argmax(dim=1)).sum().item()
for name, answered in (("one view", plain), ("mirrored", mirrored), ("both", both)):
    print(f"{name:<10} {share_right(answered, final.labels):.1%}")
results.record(disagreements=changed)

# %% [markdown]
# The two views disagree about {{disagreements}} of {{final_pictures}} pictures. Where that is 0, the second view
# changes no answer; it costs a second pass through the network all the same. Average the *probabilities*, not the
# answers: a view that is sure should count more than one that hesitates.
#
# ## Where does it look?
#
# **Grad-CAM** (Selvaraju and others 2017, arXiv:1610.02391) shows which places of a picture speak for an answer. Take
# the last maps, ask how much the class's score would rise with each map, and add the maps up with these weights. As
# in lesson 4, here for any network:

# %%
image = imagenet.preprocess(cat)[None].to(device).requires_grad_()
maps = imagenet.model.forward_features(image)  # (1, 1280, 7, 7)
logits = imagenet.model.forward_head(maps)[0]
(slopes,) = torch.autograd.grad(logits.max(), maps)
weights = slopes.mean(dim=(2, 3), keepdim=True)  # (1, 1280, 1, 1)
heat = (weights * maps).sum(dim=1)[0].relu().detach().cpu()  # (7, 7)
found = widgets.lesson5.attention(imagenet, cat)
assert_close(found.heat, heat / heat.max(), rtol=1e-3, atol=1e-4)
print("brightest field of 7×7:", divmod(int(heat.argmax()), 7), "for", found.name)
del image, maps, logits, slopes, weights  # and with them all that backward needed

# %% [markdown]
# Choose a picture and one of the network's guesses. A wrong guess with its evidence in the right place is a different
# fault from a right guess with its evidence in the background.

# %%
assert "raccoon" not in imagenet.classes  # none of the thousand: hence the odd names for one
widgets.lesson5.where_it_looks(imagenet)

# %% [markdown]
# ## What others report
#
# Figures from published lessons, to know what is usual. They are on other pictures than ours, so none of them can be
# compared with a figure of this notebook.
#
# | network | what learns | pictures | result |
# | --- | --- | --- | --- |
# | VGG-16 | a new two-layer head | Caltech-101, split 50/25/25 | 88.65 % top-1, 98.00 % top-5 [1] |
# | ResNet-18 | the last layer, one-cycle schedule, 10 epochs | 225 bird species | 98.8 % [2] |
#
# [1] W. Koehrsen, *Transfer Learning with Convolutional Neural Networks in PyTorch*, 2018. [2] S. Keydana,
# *Classifying images with torch*, RStudio AI Blog, 2020.
#
# ## Save, load, classify your own
#
# A classifier is more than its weights. Whoever loads it needs the class names in the right order and the right
# preprocessing. `save_network` puts all of it into one file. Here is one network in one file: the body, and a head
# trained on plain features, since the square roots are not part of the network. It is not the head measured above, and
# it looks at a picture once. So it is measured for itself.

# %%
mine = transfer.replace_head(transfer.backbone("efficientnet_lite0"), classes)
plain_head = train_head(stacked, repeated, settings.seed, root=False, decay=decay)
mine.model.classifier.load_state_dict(plain_head.state_dict())
mine = replace(mine, preprocess=view)
transfer.save_network(mine, folder / "mine.safetensors")
loaded = transfer.load_network(folder / "mine.safetensors")
assert loaded.classes == classes and loaded.preprocess == mine.preprocess

# %%
one, size = final.picture(0), (folder / "mine.safetensors").stat().st_size / 1e6
answered = probabilities(plain_head, final_values[:1], root=False)  # one view, plain features, as in the file
assert loaded.predict(one) == mine.predict(one)
assert math.isclose(loaded.predict(one)[0].probability, answered[0].max().item(), abs_tol=0.01)
print(f"{size:.0f} MB:", ", ".join(str(guess) for guess in loaded.predict(one, k=2)))
results.record(".1%", saved_accuracy=share_right(answered, final.labels))

# %% [markdown]
# The network in the file is right on {{saved_accuracy:.1%}} of the final pictures. That is its figure; the
# {{frozen_accuracy:.1%}} above belong to other heads.
#
# **Pitfall: a file from a stranger.** Files of weights have long been *pickles*, small programs that run when they
# are read. This one would create a file:


# %%
class Trap:
    def __reduce__(self):
        return Path.touch, (folder / "it ran",)


torch.save({"weights": Trap()}, folder / "stranger.pt")

# %%
(folder / "notes.pt").write_text("no network at all")
for name in ("stranger.pt", "notes.pt"):
    try:
        transfer.load_network(folder / name)
    except DataError as error:
        print(type(error).__name__, "-", error)
assert not (folder / "it ran").exists()

# %% [markdown]
# Both are refused and nothing has run: our files are *safetensors*, which hold names, shapes and numbers and no program
# at all. Pictures from strangers deserve the same care. Some are not pictures, and some are cut short:

# %%
whole = Path(train.files[0]).read_bytes()
for name, content in {"notes.jpg": b"only text", "cut.jpg": whole[: len(whole) // 2], "tune.mp3": b"la la la"}.items():
    try:
        open_upload(Upload(name, content))
    except DataError as error:
        print(error)

# %% [markdown]
# Now yours: upload a picture, and ask both networks. (Nothing leaves your machine: the browser hands the file to the
# kernel that runs this notebook.) Then show *your* classifier something that is none of its classes, and see how sure
# it is.

# %%
widgets.lesson5.own_picture({"your classes": loaded, "ImageNet": imagenet}, ("cat", "coffee", "raccoon", "hopper"))

# %% [markdown]
# How sure is your classifier that a cup of coffee is one of its classes?

# %%
coffee = loaded.predict(photograph("coffee"), k=1)[0]
results.record(".1%", coffee_called=coffee.name, coffee_sure=coffee.probability)

# %% [markdown]
# It calls the coffee "{{coffee_called}}", with {{coffee_sure:.0%}}: its classes are all that it knows. If strangers
# will use it, give it a class "something else", with pictures of many other things. (ImageNet's thousand categories
# have no raccoon either: that animal gets the names of others.)
#
# ## Exercises
#
# Replace the dots and run the cells. Each stub runs as it is, so that *Run All* always finishes.
#
# The cell after each stub checks your answer: ✓ correct, ✗ wrong, with the first difference, or ○ not attempted. An
# answer must leave the tensors that it is given as they were.
#
# **1. Count a head.** Return the number of parameters of Linear(features, hidden), ReLU, Dropout, Linear(hidden,
# classes), LogSoftmax. For 4096, 256 and 100 it is 1,074,532.


# %%
def head_parameters(features, hidden, classes): ...


# %%
# Stuck? exercises.lesson5.head_parameters.hint() helps a little, .solution() shows one way to do it
exercises.lesson5.head_parameters.check(head_parameters)

# %% [markdown]
# **2. Log-softmax by hand.** Return the logarithms of the softmax probabilities of logits (N, K), without
# `log_softmax`. It must also work for logits as large as 1,000, and where a probability is too small for a float.


# %%
def log_softmax(logits): ...


# %%
# Stuck? exercises.lesson5.log_softmax.hint() helps a little, .solution() shows one way to do it
exercises.lesson5.log_softmax.check(log_softmax)

# %% [markdown]
# **3. Top-k accuracy.** Return, as a Python number, the share of pictures whose true class is among the `k` largest
# of probabilities (N, K).


# %%
def top_k_accuracy(probabilities, labels, k): ...


# %%
# Stuck? exercises.lesson5.top_k_accuracy.hint() helps a little, .solution() shows one way to do it
exercises.lesson5.top_k_accuracy.check(top_k_accuracy)

# %% [markdown]
# **4. Two views, one answer.** Given the logits (N, K) of two views of the same pictures, return the mean of the
# probabilities that they stand for.


# %%
def average_views(first, second): ...


# %%
# Stuck? exercises.lesson5.average_views.hint() helps a little, .solution() shows one way to do it
exercises.lesson5.average_views.check(average_views)

# %% [markdown]
# **5. A fair split.** Given labels (N,) and `fraction`, return two tensors of indices, int64: those to keep and those
# to set aside. The given fraction of every class (to the nearest whole number) is set aside, drawn at random; the rest
# is kept. Lose no picture and take none twice.


# %%
def stratified_split(labels, fraction): ...


# %%
# Stuck? exercises.lesson5.stratified_split.hint() helps a little, .solution() shows one way to do it
exercises.lesson5.stratified_split.check(stratified_split)

# %% [markdown]
# **6. Ready to learn.** A toy network has its head in `model.top`, an `nn.Linear`. Freeze all its parameters, put a
# fresh linear head for so many classes in place of the old one, and return the network. Only the new head may learn.


# %%
def prepare(model, classes): ...


# %%
# Stuck? exercises.lesson5.prepare.hint() helps a little, .solution() shows one way to do it
exercises.lesson5.prepare.check(prepare)

# %% [markdown]
# **7. Slower below.** Return a list of pairs (name of a child of the network, learning rate); the children are what
# `model.named_children()` lists. Go from the last child to the first: the last one that has learning parameters gets
# `rate`, each below `factor` times the rate of the one above. Leave out children in which nothing learns.


# %%
def layer_rates(model, rate, factor): ...


# %%
# Stuck? exercises.lesson5.layer_rates.hint() helps a little, .solution() shows one way to do it
exercises.lesson5.layer_rates.check(layer_rates)

# %% [markdown]
# ## Quiz
#
# Choose an answer, and read why it is right or wrong; then read the others too. (In a copy without a kernel, unfold
# *Answers* below each question.)

# %%
exercises.lesson5.quiz.ask(1)

# %%
exercises.lesson5.quiz.ask(2)

# %%
exercises.lesson5.quiz.ask(3)

# %%
exercises.lesson5.quiz.ask(4)

# %% [markdown]
# ## What you learned
#
# - A network comes with its own preprocessing and class names. Wrong preprocessing raises no error.
# - The head is the last layer with parameters; replace it, and the body serves your classes.
# - Frozen parameters are not a frozen network: batch normalisation moves in training mode, unless it is kept from it.
# - Features of a frozen body are computed once; a head then trains in seconds, and so does cross-validation.
# - Choose by cross-validation on training pictures; choose nothing by the final ones; report the spread over seeds.
# - Fine-tune from the top down, with smaller learning rates below.
# - Save class names and preprocessing with the weights, and open nothing from strangers without care.
#
# ## Where the code lives
#
# | what you built | where it lives |
# | --- | --- |
# | a trained network with its preprocessing and names | `transfer.backbone`, `transfer.Preprocess` |
# | the parts of a network, and what learns | `transfer.summary`, `transfer.stages` |
# | freezing that lasts, thawing, smaller rates below | `transfer.freeze`, `unfreeze`, `param_groups` |
# | a new head | `transfer.replace_head`, `transfer.published_head` |
# | features on disk | `transfer.cached_features` |
# | your folder of pictures, split fairly | `data.folder`, `data.own_pictures` |
# | saving and loading | `transfer.save_network`, `load_network` |
# | opening uploads | `pictures.open_upload` |
# | the sliders, lists and buttons | `widgets.lesson5` |
# | the checks of your answers | `exercises.lesson5` |
#
# ## What next
#
# You have used learning rates all along without asking where they come from. [Lesson 6](06_learning_rate.ipynb) finds
# them by measuring. But first: make a folder with two sub-folders and twenty photographs in each, put its path into
# `pictures` at the top, and run this lesson again. It is your classifier now.
