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
# # The same network in Keras
#
# [Open in Colab][colab] · [Open on Binder][binder]
#
# [colab]: https://colab.research.google.com/github/pixels-to-predictions/pixels-to-predictions/blob/main/notebooks/A_keras_side_by_side.ipynb
# [binder]: https://mybinder.org/v2/gh/pixels-to-predictions/pixels-to-predictions/main?urlpath=lab%2Ftree%2Fnotebooks%2FA_keras_side_by_side.ipynb
#
# **The question: what does a framework do for you, and what does it hide?**
#
# Lesson 3 wrote a network and its training loop in PyTorch. Here is the same network in Keras 3, cell beside cell. Its
# weights are copied over, number by number, until both say the same about the same pictures; then both learn from the
# same batches, and you see for how long their losses agree.
#
# **Afterwards you will be able to** read a Keras network as a PyTorch one, and the other way round; carry weights from
# one to the other and prove that nothing was lost; and say which lines of the training loop `compile` and `fit` stand
# for.
#
# **You need** lesson 3. **Time:** about {{study_minutes}} minutes of study; on {{cores}} processor cores the cells take
# {{quick.seconds:.0f}} seconds with the profile `quick`.
#
# <details><summary>Contents</summary>
#
# - [Two ways to write one network](#Two-ways-to-write-one-network)
# - [Channels first or last](#Channels-first-or-last)
# - [The same weights](#The-same-weights)
# - [The same predictions](#The-same-predictions)
# - [The same training](#The-same-training)
# - [What each hides and shows](#What-each-hides-and-shows)
# - [Exercises](#Exercises)
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

import os
import re
import textwrap

import matplotlib.pyplot as plt
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from course_utils import (
    data,
    exercises,
    figures,
    models,
    profiles,
    results,
    training,
)

os.environ.setdefault(
    "KERAS_BACKEND", "torch"
)  # Keras computes with PyTorch, unless you chose another before
try:
    import keras
except ImportError:
    keras = None
    print(
        "Keras is not installed, so its half is skipped: pip install keras,"
        " restart the kernel, and run all again."
    )

# %% [markdown]
# The settings worth changing. `None` means "as the profile says".

# %% tags=["parameters"]
profile = "auto"  # "quick" runs anywhere, "full" uses more pictures
seed = None  # start of the random numbers
epochs = None  # how often both networks see every training picture
pictures_used = None  # how many training pictures to use
learning_rate = None  # of SGD with momentum, in both

# %% tags=["hide-input"]
settings = profiles.load(
    "A",
    profile,
    seed=seed,
    epochs=epochs,
    pictures_used=pictures_used,
    learning_rate=learning_rate,
)
clothes = data.load("fashion_mnist", seed=settings.seed)
train_part = clothes.train.take(
    at_most=settings.pictures_used, seed=settings.seed
)

# %% [markdown]
# ## Two ways to write one network
#
# Lesson 3's network is three blocks (convolution, pooling, batch normalisation, ReLU) and one dense layer:

# %%
training.seed_everything(settings.seed)
net = models.FashionNet(widths=(16, 48, 96))
print(models.shape_trace(net, (1, 1, 28, 28)))

# %% [markdown]
# In Keras you say how many channels go *out*; how many come in, it finds out from the input's shape. "same" padding
# keeps the size. Two numbers must be given to get PyTorch's batch normalisation, because the defaults differ: `epsilon`
# (1e-5, not 1e-3), and `momentum`, which in Keras is the share of the *old* mean, in PyTorch that of the *new* batch.
#
# **Predict first.** PyTorch's default is `momentum=0.1`. Which number must stand in the Keras network?


# %%
def keras_net():
    # height, width, channels: the channels are last
    layers = [keras.Input((28, 28, 1))]
    for width in (16, 48, 96):
        layers += [
            keras.layers.Conv2D(width, 3, padding="same", use_bias=False),
            keras.layers.MaxPooling2D(2),
            keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5),
            keras.layers.ReLU(),
        ]
    return keras.Sequential(
        [*layers, keras.layers.Flatten(), keras.layers.Dense(10)]
    )


if keras:
    print("Keras computes with", keras.backend.backend())
    twin = keras_net()
    twin.summary(line_length=72, print_fn=print)

# %% [markdown]
# `summary()` is Keras's `shape_trace`: a row for each layer, with the shape that comes out (`None` is the batch axis)
# and its count of parameters.
#
# <details><summary>Answer</summary>
#
# 0.9, one minus PyTorch's.
#
# </details>
#
# **Predict first.** The network is the same, and yet Keras counts 320 numbers more, "non-trainable" ones. Which are
# they?

# %%
parameters = models.count_parameters(net)
remembered = 2 * (16 + 48 + 96)
buffers = [
    values.numel()
    for name, values in net.named_buffers()
    if not name.endswith("num_batches_tracked")
]
assert sum(buffers) == remembered, "each channel should remember two numbers"
print(f"{parameters:,} + {remembered} = {parameters + remembered:,}")

# %% tags=["hide-input"]
if keras:
    assert twin.count_params() == parameters + remembered, (
        "Keras should also count what batch normalisation remembers"
    )
results.record(parameters=parameters, remembered=remembered)

# %% [markdown]
# <details><summary>Answer</summary>
#
# 2 · (16 + 48 + 96) = 320. Keras also counts what batch normalisation only *remembers*, a mean and a variance for each
# channel. PyTorch keeps these as buffers and does not call them parameters.
#
# </details>
#
# ## Channels first or last
#
# A picture is (channel, height, width) in PyTorch and (height, width, channel) in Keras. A wrong order is often caught:

# %%
pixels = train_part.images[:256].float() / 255  # (256, 1, 28, 28)
if keras:
    try:
        twin(pixels.numpy())
    except ValueError as error:
        # the telling part of a long message
        complaint = re.search(r"expected axis.*?\)", str(error))
        said = complaint[0] if complaint else str(error)
        print(textwrap.fill(f"{type(error).__name__}: {said}", 72))

# %% [markdown]
# The fix is one `permute`. Beware of `reshape`, which gives the same shape and raises no error, but scrambles the
# pixels of pictures with several channels.

# %%
channels_last = pixels.permute(0, 2, 3, 1)  # (N, H, W, C)
print(tuple(pixels.shape), "→", tuple(channels_last.shape))

# %% [markdown]
# ## The same weights
#
# **Predict first.** A convolution's weights are (out, in, height, width) in PyTorch and (height, width, in, out) in
# Keras. For a dense layer it is (out, in) against (in, out). Is a transpose all that the dense layer needs? Try it with
# a picture of two channels and two by two pixels, flattened both ways:

# %% tags=["nbval-check-output"]
# channel, row, column: channel 0 holds 0 to 3, channel 1 holds 4 to 7
tiny = torch.arange(8).reshape(2, 2, 2)
print("PyTorch:", tiny.flatten().tolist())
print("Keras:  ", tiny.permute(1, 2, 0).flatten().tolist())

# %% [markdown]
# <details><summary>Answer</summary>
#
# No. Behind `Flatten`, PyTorch's inputs come channel by channel, Keras's pixel by pixel.
#
# </details>
#
# So the 96 · 3 · 3 inputs are put into the other order first:


# %%
def keras_order(net):
    """Return lesson 3's weights in the order and shapes that Keras wants."""
    weights = []
    for conv, _, norm, _ in net.features:
        # (out, in, h, w) → (h, w, in, out)
        weights.append(conv.weight.permute(2, 3, 1, 0))
        weights += [norm.weight, norm.bias, norm.running_mean, norm.running_var]
    dense = net.classifier[1]
    # what Flatten has lined up: channel, row, column
    by_channel = dense.weight.reshape(10, 96, 3, 3)
    by_pixel = by_channel.permute(2, 3, 1, 0)  # row, column, channel, class
    return [
        w.detach().cpu().numpy()
        for w in (*weights, by_pixel.reshape(-1, 10), dense.bias)
    ]


if keras:
    twin.set_weights(keras_order(net))

# %% [markdown]
# ## The same predictions
#
# Fresh networks hide mistakes: all running means and shifts are 0, all variances and scales 1, so if means and shifts
# changed places, nobody would notice. So the PyTorch network is trained first, with lesson 3's `fit`; then the weights
# are copied, and both are asked about the same 256 pictures.

# %%
batches = data.batches(train_part, 128, shuffle=True)
optimizer = torch.optim.Adam(net.parameters(), lr=0.002)
training.fit(net, batches, epochs=1, optimizer=optimizer, progress=False)
# normalised, (256, 1, 28, 28)
inputs = next(iter(data.batches(clothes.validation.take(256), 256)))[0]
net.eval()
with torch.inference_mode():
    ours = net(inputs)

# %%
largest = 0.0
if keras:
    twin.set_weights(keras_order(net))
    theirs = torch.as_tensor(
        twin.predict(inputs.permute(0, 2, 3, 1).numpy(), verbose=0)
    )
    assert_close(theirs, ours, rtol=1e-4, atol=1e-4)
    assert torch.equal(theirs.argmax(1), ours.argmax(1)), "some classes differ"
    largest = (theirs - ours).abs().max().item()
    print("256 pictures, the same class for each")
    print(f"the logits differ by {largest:.1e} at most")

# %% [markdown]
# What is left is rounding: sums of the same numbers in another order. What if the dense layer is only transposed?

# %%
if keras:
    careless = keras_order(net)
    careless[-2] = net.classifier[1].weight.detach().T.numpy()
    twin.set_weights(careless)
    wrong = torch.as_tensor(
        twin.predict(inputs.permute(0, 2, 3, 1).numpy(), verbose=0)
    )
    same = (wrong.argmax(1) == ours.argmax(1)).double().mean().item()
    print(f"the same class for {figures.percent(same, 0)} of the pictures")
    assert not torch.allclose(wrong, ours, atol=1e-2), "logits should differ"

# %% [markdown]
# Every shape fits, no error is raised, and the answers are wrong. That is why a copy of weights is not finished until
# you have compared predictions.
#
# ## The same training
#
# Lesson 3's loop has five lines: predict, compare, clear, differentiate, step. In Keras, `compile` sets the loss and
# the optimizer, `train_on_batch` runs all five lines on one batch, and `fit` does that for all batches and epochs.
#
# **Predict first.** Both networks start from the same weights and get the same batches in the same order. For how long
# will their losses agree?

# %%
training.seed_everything(settings.seed)
net = models.FashionNet()
optimizer = torch.optim.SGD(
    net.parameters(), lr=settings.learning_rate, momentum=0.9
)
if keras:
    twin = keras_net()
    twin.set_weights(keras_order(net))
    twin.compile(
        keras.optimizers.SGD(settings.learning_rate, momentum=0.9),
        # the default takes logits for probabilities, and learns badly
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )

# %%
losses = {"PyTorch": [], "Keras": []}
batches = data.batches(train_part, 128, shuffle=True, seed=settings.seed)
for _ in range(settings.epochs):
    net.train()
    for images, labels in batches:
        loss = F.cross_entropy(net(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses["PyTorch"].append(loss.item())
        if keras:
            pictures = images.permute(0, 2, 3, 1).numpy()
            twin.reset_metrics()  # else older Keras gives the mean so far
            theirs = twin.train_on_batch(pictures, labels.numpy())
            losses["Keras"].append(float(theirs))

# %% tags=["hide-input"]
steps = len(losses["PyTorch"])
together = 0
if keras:
    apart = [abs(a - b) for a, b in zip(losses["PyTorch"], losses["Keras"])]
    together = next((i for i, gap in enumerate(apart) if gap > 1e-3), steps)
    assert max(apart[:3]) < 1e-4, "Equal weights and batches, unequal losses."
    with figures.style():
        fig, (above, below) = plt.subplots(
            2, 1, figsize=(6.5, 3.8), sharex=True, height_ratios=(2, 1)
        )
        above.plot(losses["PyTorch"], label="PyTorch")
        above.plot(losses["Keras"], "--", label="Keras")
        above.set(
            ylabel="loss",
            title=f"Equal to a thousandth for {together} of {steps} steps",
        )
        above.legend()
        below.plot([max(gap, 1e-9) for gap in apart], color=figures.RED)
        below.set(xlabel="step", ylabel="difference", yscale="log")
    figures.show(
        fig,
        alt=f"Two loss curves over {steps} steps, one on the other; below, "
        "their difference on a logarithmic scale: a ten-millionth or less at "
        "first (no difference is drawn as 1e-9), then growing to about a "
        "hundredth, at times near a tenth.",
    )
results.record(steps=steps, steps_together=together)

# %% [markdown]
# <details><summary>Answer</summary>
#
# On this page they agree to within a thousandth for {{steps_together}} of {{steps}} steps. At first there is no
# difference (drawn as 10⁻⁹), then rounding, about a ten-millionth: the same sums in another order. But each step starts
# from the last one's weights, so the difference grows. The digits agree for a few steps only; how good the two become
# is decided by the recipe, and that is the same.
#
# </details>

# %% tags=["hide-input"]
test_part = clothes.test.take(at_most=2000)
test_images, test_labels = next(iter(data.batches(test_part, len(test_part))))
net.eval()
with torch.inference_mode():
    guesses = net(test_images).argmax(dim=1)
ours_right = (guesses == test_labels).double().mean().item()
keras_right = ours_right
if keras:
    pictures = test_images.permute(0, 2, 3, 1).numpy()
    scores = twin.predict(pictures, batch_size=500, verbose=0)
    theirs = torch.as_tensor(scores).argmax(dim=1).cpu()
    keras_right = (theirs == test_labels).double().mean().item()
    share = figures.percent((theirs == guesses).double().mean())
    print(f"the same class for {share} of the test pictures")

# %% tags=["hide-input"]
results.record(
    ".1%",
    pytorch_accuracy=ours_right,
    keras_accuracy=keras_right,
    two_errors=2 * (ours_right * (1 - ours_right) / len(test_part)) ** 0.5,
)

# %% [markdown]
# On this page {{pytorch_accuracy:.1%}} and {{keras_accuracy:.1%}} of 2,000 test pictures are right, where each figure
# has an error of ± {{two_errors:.1%}} (two standard errors, lesson 3). In daily use nobody writes this loop in Keras:
# `twin.fit(x, y, batch_size=128, epochs=3)` is all, where `x` holds the training pictures, channels last, and `y` their
# labels. Keras's defaults differ from PyTorch's in more than momentum: how fresh weights are drawn, Adam's epsilon
# (1e-7, in PyTorch 1e-8), and how the remembered variance is computed (divided by n, in PyTorch by n − 1).
#
# ## What each hides and shows
#
# | | PyTorch | Keras 3 |
# | --- | --- | --- |
# | the loop | yours: five lines, change any of them | `fit`; to change it, override `train_step` |
# | train or test mode | `net.train()`, `net.eval()`, easy to forget | chosen by `fit` and `predict` |
# | clearing the gradient | `zero_grad()`, easy to forget | done for you |
# | channels that come in | written out, so errors show early | found from the input's shape |
# | softmax or logits | logits into the loss | you choose, `from_logits` is False by default |
# | order of the axes | channels first | channels last by default |
# | below it | PyTorch | PyTorch, TensorFlow or JAX (`KERAS_BACKEND`) |
#
# Neither column is the better one. What is hidden cannot be forgotten, and what is shown can be changed.
#
# ## Exercises
#
# The way back: from Keras to PyTorch. Replace the dots and run the cells; none of them needs Keras. Each stub runs as
# it is, and the cell after it checks your answer: ✓ correct, ✗ wrong, with the first difference, or ○ not attempted.
#
# **1. A kernel's axes.** Given a convolution's `kernel` from Keras, (height, width, in, out), return the weights for
# `nn.Conv2d`.


# %%
def kernel_to_pytorch(kernel): ...


# %%
# Stuck? exercises.appendix.kernel_to_pytorch.hint() helps a little,
# .solution() shows one way to do it
exercises.appendix.kernel_to_pytorch.check(kernel_to_pytorch)

# %% [markdown]
# **2. Behind Flatten.** Given the `kernel` of a dense layer behind Keras's `Flatten`, (height · width · channels, out),
# return the weights for `nn.Linear` behind `nn.Flatten`: (out, channels · height · width).


# %%
def dense_to_pytorch(kernel, channels, height, width): ...


# %%
# Stuck? exercises.appendix.dense_to_pytorch.hint() helps a little,
# .solution() shows one way to do it
exercises.appendix.dense_to_pytorch.check(dense_to_pytorch)

# %% [markdown]
# **3. What is remembered.** `old`, of shape (C,), is batch normalisation's running mean; then comes a batch (N, C, H,
# W). Return the new running mean, with `momentum` as *Keras* means it.


# %%
def keras_mean(old, batch, momentum): ...


# %%
# Stuck? exercises.appendix.keras_mean.hint() helps a little,
# .solution() shows one way to do it
exercises.appendix.keras_mean.check(keras_mean)

# %% [markdown]
# **4. What Keras counts.** A picture of `channels` goes through one block for each number of `widths`: a 3 × 3
# convolution without bias to so many channels, and batch normalisation. What is left, `flat` numbers, goes into a
# dense layer for `classes`. Return what `count_params` says. (For the network above: 57,818.)


# %%
def keras_count(channels, widths, flat, classes): ...


# %%
# Stuck? exercises.appendix.keras_count.hint() helps a little,
# .solution() shows one way to do it
exercises.appendix.keras_count.check(keras_count)

# %% [markdown]
# ## Quiz
#
# Choose an answer, and read why it is right or wrong; then read the others too. (In a copy without a kernel, unfold
# *Answers* below each question.)

# %%
exercises.appendix.quiz.ask(1)

# %%
exercises.appendix.quiz.ask(2)

# %%
exercises.appendix.quiz.ask(3)

# %% [markdown]
# ## What you learned
#
# - The same network is the same numbers; frameworks differ in their order, their names and their defaults.
# - A copy of weights is right when the predictions agree, not when the shapes fit.
# - `compile` and `fit` are lesson 3's five lines, with the mode and the gradient looked after.
# - From equal weights on equal batches both learn the same, until rounding drives them apart.
#
# ## Where the code lives
#
# | what you used | where it lives |
# | --- | --- |
# | lesson 3's network | `models.FashionNet` |
# | the loop | `training.fit` |
# | whole batches, normalised | `data.batches` |
# | the checks of your answers | `exercises.appendix` |
#
# ## What next
#
# Go back to [lesson 3](03_fashion_mnist_cnn.ipynb), find its five lines again, and change one that `fit` hides. Or go
# on to [appendix B](B_your_own_pictures.ipynb), a project with your own pictures.
