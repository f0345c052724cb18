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
# # Pixels and tensors
#
# [Open in Colab][colab] · [Open on Binder][binder]
#
# [colab]: https://colab.research.google.com/github/pixels-to-predictions/pixels-to-predictions/blob/main/notebooks/01_pixels_and_tensors.ipynb
# [binder]: https://mybinder.org/v2/gh/pixels-to-predictions/pixels-to-predictions/main?urlpath=lab%2Ftree%2Fnotebooks%2F01_pixels_and_tensors.ipynb
#
# **The question: how is a picture a number?**
#
# A computer never sees a cup of coffee. It sees half a million small numbers in a row. Everything in this course
# happens to such numbers: a network takes them in, multiplies and adds, and says "cup". So before any network, we get
# to know the numbers. We open one photograph, take it apart, put it together again, and break it in every way that it
# is usually broken.
#
# **After this lesson you will be able to**
#
# - say what each number of a picture means, and where in memory it lies;
# - turn a photograph into a tensor and back, and tell the shapes (width, height), (height, width, channel) and
#   (channel, height, width) apart;
# - crop, mirror, recolour, brighten and normalise pictures, one or a whole batch at a time;
# - recognise the classic accidents (wrap-around, swapped axes, forgotten scaling) by how they *look*;
# - compute a slope by hand, by algebra and by autograd, and walk down it without falling over.
#
# **You need** Python and school mathematics. **Time:** on {{cores}} processor cores the cells
# ran in {{quick.seconds:.0f}} seconds with the profile `quick` and in {{full.seconds:.0f}} with `full`. Reading,
# guessing and trying things out takes longer, and should.
#
# ### Contents
#
# **Pictures as numbers**
#
# - [A photograph is a table of numbers](#A-photograph-is-a-table-of-numbers)
# - [Three numbers make a colour](#Three-numbers-make-a-colour)
# - [Bits and megapixels](#Bits-and-megapixels)
# - [Height comes first](#Height-comes-first)
# - [Crop and flip by slicing](#Crop-and-flip-by-slicing)
# - [Three channels](#Three-channels)
# - [From colour to grey](#From-colour-to-grey)
# - [Numbers that wrap round](#Numbers-that-wrap-round)
#
# **Numbers as tensors**
#
# - [From array to tensor](#From-array-to-tensor)
# - [Memory and strides](#Memory-and-strides)
# - [Many pictures in one batch](#Many-pictures-in-one-batch)
# - [Broadcasting](#Broadcasting)
# - [Explore the channel mixer](#Explore-the-channel-mixer)
# - [Normalise and come back](#Normalise-and-come-back)
# - [Flattening and why it is hopeless](#Flattening-and-why-it-is-hopeless)
#
# **Numbers that learn**
#
# - [Slopes](#Slopes)
# - [Walking downhill](#Walking-downhill)
# - [Explore the learning rate](#Explore-the-learning-rate)
# - [A picture teaches three numbers](#A-picture-teaches-three-numbers)
#
# **To close**
#
# - [Exercises](#Exercises)
# - [Quiz](#Quiz)
# - [What you learned](#What-you-learned)
# - [Where the code lives](#Where-the-code-lives)
# - [What next](#What-next)
#
# Where a paragraph begins with **Predict first**, stop and guess before you read on. A wrong guess is worth more than
# no guess: it shows you exactly what you are about to learn.

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

import numpy as np
import torch
from matplotlib import pyplot as plt
from PIL import Image
from torch import nn
from torch.testing import assert_close

from course_utils import data, exercises, figures, pictures, profiles, results, widgets

# %% [markdown]
# The next cell holds the few settings worth changing. Leave them at `None` the first time. The cell after it fills in
# the values and says which profile they come from.

# %% tags=["parameters"]
profile = "auto"  # "quick" runs anywhere, "full" does more; "auto" chooses
seed = None  # which pieces of clothing are drawn for the batch
boots = None  # how many ankle boots are compared when we flatten pictures
start = None  # where the walk down the parabola begins
rate = None  # its learning rate
steps = None  # its number of steps

# %% tags=["hide-input"]
settings = profiles.load("01", profile, seed=seed, boots=boots, start=start, rate=rate, steps=steps)

# %% [markdown]
# ## A photograph is a table of numbers
#
# Pillow is Python's library for picture files. `Image.open` reads a file's header; the pixels follow when they are
# needed. Our photograph is a cup of espresso, taken by Rachel Michetti and given to the public domain (CC0).

# %%
file = pictures.photograph_file("coffee")
photo = Image.open(file)
print(file.name, photo.format, photo.mode, photo.size)

# %% [markdown]
# The file is a JPEG. Its mode is `RGB`: red, green, blue. Its size is two numbers, and their order matters more than it
# seems: Pillow says **(width, height)**.
#
# Cells that draw look like the next one. `figures` gives every picture of the course one look, and `alt` describes it
# to those who cannot see it. On a first reading, skip the drawing and look at what it shows.

# %%
with figures.style():
    fig, ax = plt.subplots(figsize=(4.8, 3.5))
    ax.imshow(photo)
    ax.set(xlabel="column x, counted to the right", ylabel="row y, counted downwards")
    ax.set_title(f"{photo.width} columns and {photo.height} rows of pixels")
    ax.grid(False)
figures.show(
    fig,
    alt="A photograph of an espresso in a red cup on a red saucer, on a wooden table. The axes count columns to the "
    "right and rows downwards, from 0 at the top left.",
)

# %% [markdown]
# Look at the axes. In school, y grows upwards. In a picture, row 0 is the top one and y grows **downwards**, as in a
# page of text.
#
# Let us walk closer, to the white rim of the cup. `crop` takes a box (left, top, right, bottom).

# %%
rim = photo.crop((145, 102, 153, 110))  # 8 × 8 pixels
views = [photo, photo.crop((117, 74, 181, 138)), rim]
fig = pictures.grid(views, ["the photograph", "64 × 64 pixels", "8 × 8 pixels"], title="Closer, until squares appear")
figures.show(
    fig,
    alt="Three pictures: the whole photograph, a part with the cup's white rim, and 8 by 8 squares of even colour "
    "that go from red on the left to cream on the right.",
)

# %% [markdown]
# At the end of the walk are squares of one even colour each: **pixels**. Now the trick that the whole course rests on.
# We write into every square what the file knows about it.

# %%
fig = pictures.pixels(rim, width=4.4, title="Each pixel is three numbers: red, green, blue")
figures.show(
    fig,
    alt="The 8 by 8 pixels at the cup's rim with three numbers in each square: about 160, 45, 16 in the red part on "
    "the left and about 245, 230, 215 in the cream part on the right.",
)

# %% [markdown]
# That is all there is. There is no "rim" in the file and no "cup". The white pixels hold three large numbers, the red
# ones a middling number and two small ones. The rim is where the numbers change from one column to the next. Lesson 2
# will find edges from just that.
#
# **Predict first.** Our photograph has 512 columns, 341 rows and three numbers in each pixel. How many numbers is that
# in all: some 500, some 500,000, or some 50 million?

# %%
width, height = photo.size
numbers = width * height * 3
print(f"{width} × {height} = {width * height:,} pixels, times 3 = {numbers:,} numbers")

# %% [markdown]
# About half a million, for a picture smaller than a phone's screen. If you guessed 500, you may have added the sides
# where they multiply. A picture twice as wide and twice as high has *four* times as many numbers. This growth will
# decide which networks are possible, at the end of this lesson.

# %% [markdown]
# ## Three numbers make a colour
#
# A screen has three tiny lamps in each pixel, and the three numbers say how brightly each shines: 0 is off, 255 is
# full. Let us ask for one pixel of the saucer. `getpixel` wants (x, y).

# %%
red, green, blue = photo.getpixel((120, 230))
print(f"red {red}, green {green}, blue {blue}")

# %% [markdown]
# Plenty of red, a little green, hardly any blue: brick red.
#
# Web pages write the same three numbers as one word, such as `#66FF66`. Each pair of characters is one number in base
# 16, whose digits run 0…9, A…F. So `66` is 6 · 16 + 6 = 102, and `FF` is 15 · 16 + 15 = 255.


# %%
# NBVAL_CHECK_OUTPUT
def to_hex(rgb):
    """Write (red, green, blue) as a web colour."""
    return "#" + "".join(f"{value:02X}" for value in rgb)


assert to_hex((102, 255, 102)) == "#66FF66"
print((102, 255, 102), "is", to_hex((102, 255, 102)), "and back:", int("66", base=16), int("FF", base=16))

# %% [markdown]
# **Predict first.** Red and green lamps both at full power, blue off: `(255, 255, 0)`. Which colour is that? And what
# do three equal numbers give, such as `(128, 128, 128)`?

# %%
lamps_on = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255), (255, 0, 255)]
others = [(0, 0, 0), (128, 128, 128), (255, 255, 255), (102, 255, 102), (255, 165, 0), (138, 25, 7)]
triples = lamps_on + others
swatches = [Image.new("RGB", (60, 30), triple) for triple in triples]
titles = [f"{triple}\n{to_hex(triple)}" for triple in triples]
fig = pictures.grid(swatches, titles, title="Light adds: red and green make yellow, all three make white")
figures.show(
    fig,
    alt="Twelve patches of colour with their triples: red, green, blue, yellow, cyan, magenta, black, grey, white, "
    "light green, orange and brick red.",
)

# %% [markdown]
# Red and green light make **yellow**. If you guessed brown, you were thinking of paint: paint takes light away, lamps
# add it. Three equal numbers give **grey**, from black (all 0) to white (all 255). Remember that one: a grey picture
# says the same thing three times, so it may as well say it once.

# %% [markdown]
# ## Bits and megapixels
#
# Why 255? Each number is kept in 8 bits, that is 8 switches with two positions: 2⁸ = 256 values, from 0 to 255. A grey
# picture needs 8 bits per pixel. A colour picture needs three times 8, which is why it is called 24-bit colour.

# %%
# NBVAL_CHECK_OUTPUT
for bits in (1, 2, 8, 24):
    print(f"{bits:2} bits: {2**bits:>10,} different values")

# %% [markdown]
# So a pixel can have 16.8 million colours. Is that luxury? Let us keep fewer bits in each channel and watch.
#
# **Predict first.** From how many bits per channel downwards will *you* see a difference?


# %%
def keep_bits(picture, bits):
    """Round every number of a picture to one of 2**bits levels between 0 and 255."""
    levels = 2**bits
    return picture.point(lambda value: value * levels // 256 * 255 // (levels - 1))


small = photo.reduce(3)  # a third of the width and height
kept = {f"bits per channel: {bits}, colours: {2 ** (3 * bits):,}": keep_bits(small, bits) for bits in (8, 4, 2, 1)}

# %% [markdown]
# Four versions, from the full 8 bits down to a single one:

# %%
fig = pictures.grid(
    list(kept.values()), list(kept), columns=2, title="One bit keeps the shape, smooth shades need more"
)
figures.show(
    fig,
    alt="The photograph with 8, 4, 2 and 1 bit per channel. At 4 bits it still looks natural, at 2 bits it has hard "
    "steps between shades, at 1 bit only eight glaring colours are left, but the cup is recognisable.",
)

# %% [markdown]
# At 4 bits you may have to look twice. At 2 bits the smooth wood breaks into islands. At 1 bit only eight colours are
# left, and it is *still* a cup. Recognising a thing needs much less than seeing it beautifully. That is one reason why
# networks can work with small pictures.
#
# Cameras count pixels in millions. A **megapixel** is a million pixels, width times height.

# %%
# NBVAL_CHECK_OUTPUT
for w, h in [(800, 600), (1024, 768), (1280, 720), (4000, 3000)]:
    print(f"{w:>4} × {h:<4} = {w * h / 1e6:5.2f} megapixels, {w * h * 3:>10,} numbers in colour")

# %% [markdown]
# 800 × 600 is 0.48 megapixel, 1024 × 768 is 0.79, and 4000 × 3000, the size that a phone's camera may give, is 12. The
# numbers need one byte (8 bits) each. So how large is our file? (`results.record` shows some numbers, and remembers
# them for the text below.)

# %%
file_bytes = file.stat().st_size
results.record(raw_bytes=numbers, file_bytes=file_bytes, times_smaller=numbers / file_bytes)

# %% [markdown]
# The pixels are {{raw_bytes:,}} bytes, the JPEG file only {{file_bytes:,}}: {{times_smaller:.1f}} times smaller. JPEG
# throws away detail that eyes hardly notice. In memory the saving is gone: a network sees every number, and must pay
# for it.

# %% [markdown]
# ## Height comes first
#
# NumPy turns the picture into an array, a table of numbers that we can compute with. (`np.array` makes a copy of its
# own, which we may change.)
#
# **Predict first.** `photo.size` is `(512, 341)`. What will `array.shape` be?

# %%
array = np.array(photo)  # (H, W, C)
print("Pillow size:", photo.size, "  array shape:", array.shape, "  dtype:", array.dtype)
assert array.shape == (photo.height, photo.width, 3)

# %% [markdown]
# `(341, 512, 3)`. If you guessed `(512, 341, 3)`, you are in large company. Pillow speaks as photographers do: width by
# height. An array speaks as tables do: **row** first, then column, and the row is the height. The last axis holds the
# three channels.
#
# The same goes for a single pixel: Pillow wants (x, y), the array wants [y, x].

# %%
x, y = 120, 230
print("Pillow (x, y):", photo.getpixel((x, y)), "  array [y, x]:", array[y, x])
assert photo.getpixel((x, y)) == tuple(array[y, x])

# %% [markdown]
# ### Pitfall: width and height mixed up
#
# Sometimes this mistake is loud. Column 400 exists in this picture, row 400 does not:

# %%
try:
    array[400, 100]  # meant: x = 400, y = 100
except IndexError as error:
    print(type(error).__name__, error)

# %% [markdown]
# More often it is silent. `resize` wants (width, height). Give it the first two numbers of a shape, and nothing
# complains:

# %%
stretched = photo.resize(array.shape[:2])  # the mistake: (341, 512) is read as (width, height)
fixed = photo.resize((array.shape[1] // 2, array.shape[0] // 2))
fig = pictures.grid(
    [photo, stretched, fixed],
    ["the photograph", "height and width swapped", "fixed, half the size"],
    title="Swapped sides do not fail, they stretch",
)
figures.show(
    fig,
    alt="The photograph, a version of it squeezed into a narrow upright shape, so that the saucer becomes an "
    "upright oval, and a correct one.",
)

# %% [markdown]
# A network would take such pictures without a word of complaint. Look at your pictures: it is the cheapest test there
# is.

# %% [markdown]
# ## Crop and flip by slicing
#
# An array can be cut like a list, along each axis: `array[rows, columns]`. Four cuts do what a photo editor has menus
# for.
#
# **Predict first.** `array[::-1]` walks through the first axis backwards. Does that swap left and right, or top and
# bottom?

# %%
spoon = array[190:290, 260:360]  # rows 190…289, columns 260…359
reversed_rows = array[::-1]
reversed_columns = array[:, ::-1]
every_eighth = array[::8, ::8]
print(spoon.shape, reversed_rows.shape, reversed_columns.shape, every_eighth.shape)

# %% [markdown]
# The shapes are as expected: 100 × 100 for the spoon, the full size twice, and one row and column in eight. And the
# pictures?

# %%
parts = [spoon, reversed_rows, reversed_columns, every_eighth]
titles = ["[190:290, 260:360]", "[::-1]", "[:, ::-1]", "[::8, ::8]"]
fig = pictures.grid([Image.fromarray(part) for part in parts], titles, title="Four cuts of one array")
figures.show(
    fig,
    alt="Four pictures: the spoon cut out, the photograph upside down, the photograph mirrored so that the cup's "
    "handle points to the right, and a coarse version of 43 by 64 pixels.",
)

# %% [markdown]
# `[::-1]` turns the picture **upside down**: the first axis is the rows. Mirroring needs the second axis, so `[:,
# ::-1]`. The last cut keeps every eighth row and column. No pixel changed its colour in any of these. Mirrored pictures
# will return in lesson 4, as a way to get more training pictures for nothing.

# %% [markdown]
# ## Three channels
#
# The last axis holds red, green and blue. Taking one of them leaves a table of height × width: one number per pixel, a
# grey picture.
#
# **Predict first.** The saucer is brick red, the rim is white. In the *blue* channel, how bright will each look?

# %%
channels = [Image.fromarray(array[:, :, i]) for i in range(3)]
fig = pictures.grid(
    [photo, *channels],
    ["all three", "red", "green", "blue"],
    columns=2,
    width=5.2,
    title="The red saucer is black in blue, the white rim bright in all",
)
figures.show(
    fig,
    alt="The photograph and its three channels as grey pictures. The saucer is light grey in red, dark in green and "
    "almost black in blue. The cup's white rim is bright in every channel.",
)

# %% [markdown]
# The saucer is nearly black in blue: the blue lamps are almost off there. The rim is bright everywhere, since white is
# all lamps on. If you expected the blue channel to look *blue*: a single channel has no colour. It is just numbers, and
# we chose to show them as grey.
#
# To see each lamp's own light, we keep one channel and set the others to zero. Light adds, so the three parts must add
# up to the photograph, exactly.

# %%
lamps = []
for i in range(3):
    lamp = np.zeros_like(array)
    lamp[:, :, i] = array[:, :, i]
    lamps.append(lamp)
assert (lamps[0] + lamps[1] + lamps[2] == array).all()

# %% [markdown]
# The assert passed, so nothing is lost. Side by side:

# %%
names = ["red lamps", "green lamps", "blue lamps"]
fig = pictures.grid(
    [Image.fromarray(lamp) for lamp in lamps], names, width=6, title="Three lights that add up to the photograph"
)
figures.show(
    fig,
    alt="The photograph in shades of red, of green and of blue. The red one is bright, the green one darker, the "
    "blue one almost black except for the cup's rim.",
)

# %% [markdown]
# ### Pitfall: blue coffee
#
# Not everyone agrees on the order. OpenCV, another well-known library, keeps pictures as blue, green, red. Read with
# one library and show with the other, and the first channel trades places with the last. We can do it with a slice:

# %%
fig = pictures.grid(
    [photo, Image.fromarray(array[:, :, ::-1])],
    ["red, green, blue", "blue, green, red"],
    width=4.6,
    title="Red and blue swapped: right numbers, wrong order",
)
figures.show(
    fig,
    alt="The photograph beside a version with red and blue swapped: the saucer and the table are blue, the cup's "
    "inside stays whitish.",
)

# %% [markdown]
# When a face looks like a blueberry, you now know why.

# %% [markdown]
# ## From colour to grey
#
# A grey picture needs one number per pixel instead of three. The first idea is the mean of the three. But pure green
# looks much brighter to us than pure blue, and the mean does not know that. The television standard ITU-R BT.601
# ("Rec. 601" for short) therefore weighs the channels:
#
# grey = 0.299 · red + 0.587 · green + 0.114 · blue

# %%
weights = np.array([0.299, 0.587, 0.114])
stripes = np.zeros((60, 180, 3), dtype=np.uint8)
for i in range(3):
    stripes[:, 60 * i : 60 * (i + 1), i] = 255  # a red, a green and a blue square
mean_grey = stripes.mean(axis=2).round().astype(np.uint8)
eye_grey = (stripes @ weights).round().astype(np.uint8)
print("mean:", mean_grey[0, ::60], "  weighted:", eye_grey[0, ::60])

# %% [markdown]
# The mean says 85 for all three. The weighted version tells them apart:

# %%
fig = pictures.grid(
    [Image.fromarray(part) for part in (stripes, mean_grey, eye_grey)],
    ["colour", "mean", "Rec. 601"],
    title="The mean sees no difference where we see a large one",
)
figures.show(
    fig,
    alt="Squares of pure red, green and blue; turned grey by the mean all three are the same dark grey; by the "
    "weights green is the brightest and blue the darkest.",
)

# %% [markdown]
# With the mean, a picture of coloured squares becomes a picture of nothing. The weights add up to 1, so white stays
# white. Pillow's `convert("L")` uses the same weights (L for luminance, the light's strength). Is our version the same
# as Pillow's?

# %%
ours = (array @ weights).round().astype(np.uint8)
theirs = np.array(photo.convert("L"))
print("largest difference:", np.abs(ours.astype(int) - theirs).max(), " pixels that differ:", (ours != theirs).sum())
assert np.abs(ours.astype(int) - theirs).max() <= 1

# %% [markdown]
# Equal, up to a single step of 1 in the odd pixel: Pillow computes with whole numbers, the weights times 65,536, and
# rounds a hair differently.
#
# Did you notice the `astype(int)` before the subtraction? It was not decoration. The next section shows what happens
# without it.

# %% [markdown]
# ## Numbers that wrap round
#
# `uint8` means *unsigned integer of 8 bits*: the whole numbers from 0 to 255, and nothing else.
#
# **Predict first.** What is 250 + 10 in `uint8`: 260, 255, 4, or an error?

# %%
# NBVAL_CHECK_OUTPUT
print("NumPy:", np.array([250], dtype=np.uint8) + np.array([10], dtype=np.uint8))
print("torch:", torch.tensor([250], dtype=torch.uint8) + torch.tensor([10], dtype=torch.uint8))
print("below zero:", np.array([5], dtype=np.uint8) - np.array([10], dtype=np.uint8))

# %% [markdown]
# 4, without a word. After 255 comes 0 again, as on the counter of an old car: 260 − 256 = 4. And below 0 comes 255, so
# that 5 − 10 gives 251. Neither library treats this as a mistake.
#
# What does the mistake look like in a picture? We brighten the photograph by 60.

# %%
wrapped = array + np.uint8(60)  # the mistake
fixed = np.clip(array.astype(np.float32) + 60, 0, 255).astype(np.uint8)
fig = pictures.grid(
    [photo, Image.fromarray(wrapped), Image.fromarray(fixed)],
    ["before", "uint8 + 60", "fixed"],
    title="After 255 comes 0: the brightest places turn black or green",
)
figures.show(
    fig,
    alt="The photograph; a version where the cup's rim has turned black, and the inside of the cup and the "
    "shiny parts of the table green; and an evenly brighter one.",
)
results.record(wrapped_pixels=(array.astype(int) + 60 > 255).any(axis=2).mean())

# %% [markdown]
# In {{wrapped_pixels:.0%}} of the pixels at least one channel went past 255 and came out at the bottom. The places that
# should be brightest are hit, and they take on poisonous colours. Once you have seen it, you will recognise it
# anywhere.
#
# The fix has three steps, always in this order: go to **float**, compute and **clip** to the range, and only then go
# back to whole numbers.
#
# ### From 0…255 to 0…1
#
# Networks compute with floats anyway: `float32`, 32 bits for numbers with decimals. By custom, pictures are then scaled
# to lie between 0 (dark) and 1 (bright).

# %%
scaled = array.astype(np.float32) / 255
print(f"{array.dtype}: {array.min()} to {array.max()}, {array.nbytes:,} bytes")
print(f"{scaled.dtype}: {scaled.min():.3f} to {scaled.max():.3f}, {scaled.nbytes:,} bytes")
assert scaled.nbytes == 4 * array.nbytes

# %% [markdown]
# Floats never wrap round, but they take four times the room. So this course keeps pictures as `uint8` and turns them
# into floats at the last moment, a batch at a time.

# %% [markdown]
# ## From array to tensor
#
# PyTorch's table of numbers is called a **tensor**. It is much like an array, and can do two things more: work on a GPU
# and find slopes (we will get there).

# %%
hwc = torch.from_numpy(array)  # (H, W, C), still in NumPy's order
print(type(hwc).__name__, tuple(hwc.shape), hwc.dtype)

# %% [markdown]
# One more thing is different, and it is the third order of axes in this lesson: PyTorch wants the **channels first**,
# (channel, height, width). Then a picture is a stack of three grey planes, and "the red plane" is simply `image[0]`.
# `permute` gives the axes a new order: old axis 2 first, then 0, then 1.

# %%
image = hwc.permute(2, 0, 1)  # (C, H, W)
print("Pillow size  ", photo.size, "         width, height")
print("array shape  ", array.shape, "      height, width, channel")
print("tensor shape ", tuple(image.shape), "      channel, height, width")
assert image[0, y, x] == array[y, x, 0] == photo.getpixel((x, y))[0]

# %% [markdown]
# Three libraries, three orders, the same numbers. It is worth learning these three lines by heart: you will meet many
# an error that is one of them mistaken for another.
#
# You have now written everything that the course's helper `pictures.to_tensor` does. Let us check that, and torchvision
# as a second witness, and the other helpers that you built by hand above.

# %%
from torchvision.transforms import v2

assert_close(pictures.to_tensor(photo), image)
assert_close(pictures.to_tensor(photo), v2.functional.pil_to_tensor(photo))
assert_close(pictures.to_float(image), torch.from_numpy(scaled).permute(2, 0, 1))
assert_close(pictures.to_grey(image)[0], torch.from_numpy(theirs))
assert np.array_equal(np.array(pictures.to_picture(image)), array)
print("by hand = helper: to_tensor, to_float, to_grey, to_picture")

# %% [markdown]
# From here on we use the helpers.
#
# ### Pitfall: channels last where channels first was wanted
#
# A network's first layer for colour pictures is told to expect 3 channels. (What the layer does is lesson 2; here we
# only want to see it complain.) We hand it the picture with the channels last:

# %%
layer = nn.Conv2d(in_channels=3, out_channels=8, kernel_size=3)
try:
    layer(hwc.float().unsqueeze(0))  # (1, H, W, C)
except RuntimeError as error:
    print(type(error).__name__, error)
print("fixed:", tuple(layer(image.float().unsqueeze(0)).shape))

# %% [markdown]
# The message is long, but the end says it: *expected … to have 3 channels, but got 341 channels instead*. The layer
# took the height for channels. The other way round, it is the drawing library that complains, since it wants channels
# last:

# %%
try:
    plt.imshow(image)
except TypeError as error:
    print(type(error).__name__, error)
finally:
    plt.close()

# %% [markdown]
# When you see a shape in an error message, read its numbers aloud: "341 channels", "a picture 3 pixels high". The
# mistake is usually in that sentence.

# %% [markdown]
# ## Memory and strides
#
# `permute` gave us a new order of axes. Did it move half a million numbers? Memory has no rows and no channels. It is
# one long street with a number in every house. A tensor is that street plus a recipe for walking it: the **stride** of
# an axis says how many houses to go forward for one step along that axis.
#
# A tiny picture of 2 × 2 pixels makes it visible. The tens are the pixel, the last digit is the channel.

# %%
# NBVAL_CHECK_OUTPUT
tiny = torch.tensor([[[10, 11, 12], [20, 21, 22]], [[30, 31, 32], [40, 41, 42]]])  # (H, W, C)
planes = tiny.permute(2, 0, 1)  # (C, H, W)
print("tiny:  ", tuple(tiny.shape), "strides", tiny.stride())
print("planes:", tuple(planes.shape), "strides", planes.stride())
assert planes.data_ptr() == tiny.data_ptr()  # the same address in memory

# %% [markdown]
# Nothing moved: both begin at the same address, and only the strides were exchanged. In `tiny`, the next channel is 1
# house away and the next row 6. In `planes`, the same walk has its axes named in another order. That is why `permute`
# is instant for pictures of any size.
#
# `.contiguous()` does move numbers: it writes them into a new street, in the tensor's own order. Here are both streets.
# First a function that draws one:


# %%
COLOURS = {"red": figures.RED, "green": figures.GREEN, "blue": figures.BLUE}


def draw_street(ax, street, title):
    """Draw memory as a row of houses, coloured by channel: the last digit of each number."""
    for i, number in enumerate(street.tolist()):
        name, colour = list(COLOURS.items())[number % 10]
        ax.bar(i, 1, width=0.96, color=colour)
        ax.text(i, 0.5, f"{name[0].upper()}\n{number}", ha="center", va="center", color="white", weight="bold")
    ax.set(xlim=(-0.5, len(street) - 0.5), yticks=[], xticks=range(len(street)), title=title)
    ax.spines[:].set_visible(False)
    ax.grid(False)


# %% [markdown]
# The letter and the colour say which channel a number belongs to.

# %%
with figures.style():
    fig, axes = plt.subplots(2, 1, figsize=(7.5, 3.2))
    draw_street(axes[0], tiny.flatten(), "Channels last: the three numbers of a pixel are neighbours")
    draw_street(axes[1], planes.contiguous().flatten(), "Channels first: each channel is a plane of its own")
    axes[1].set_xlabel("place in memory")
figures.show(
    fig,
    alt="Two rows of twelve coloured boxes. In the upper row red, green and blue alternate. In the lower row come "
    "four red, then four green, then four blue boxes.",
)

# %% [markdown]
# Both are in use. Pillow keeps the upper street, PyTorch expects the lower one. (Some GPUs compute
# faster on the upper one even so. Lesson 7 measures it.)
#
# ### Pitfall: reshape is not permute
#
# Both can turn `(341, 512, 3)` into `(3, 341, 512)`. `permute` renames the axes. `reshape` keeps the street and cuts it
# into new pieces.
#
# **Predict first.** What will the picture look like after `hwc.reshape(3, 341, 512)`?

# %%
reshaped = hwc.reshape(3, height, width)  # the mistake
fig = pictures.grid(
    [image, reshaped],
    ["permute(2, 0, 1)", "reshape(3, 341, 512)"],
    width=4.6,
    title="The right shape is not the right picture",
)
figures.show(
    fig,
    alt="Left the photograph as it should be. Right a jumble: faint, stretched outlines of the cup lie over each "
    "other in red, green and blue, covered with fine stripes.",
)

# %% [markdown]
# Ghosts. The jumble's red plane is made of the top third of the picture, with the three numbers of each pixel side by
# side; its green and blue planes are made of the other two thirds. A shape check would pass. Only looking finds it.
#
# ### Pitfall: view of a tensor that is not contiguous
#
# `view` is the strict sister of `reshape`: it promises never to copy. On a permuted tensor it cannot keep the promise,
# and says so.

# %%
try:
    image.view(-1)  # all numbers in one row
except RuntimeError as error:
    print(type(error).__name__, error)
print("contiguous:", image.is_contiguous(), " after .contiguous():", image.contiguous().is_contiguous())
print("fixed:", image.contiguous().view(-1).shape)

# %% [markdown]
# ### Pitfall: a slice is a window and not a copy
#
# A slice shares its memory with the picture it was cut from, just as `permute` does. That makes it fast. It also means
# that writing into the slice writes into the picture:

# %%
victim, safe = pictures.to_tensor(photo), pictures.to_tensor(photo)
patch = victim[:, 150:250, 200:300]
patch.zero_()  # the trailing _ says: in place
own_patch = safe[:, 150:250, 200:300].clone()  # the fix: a copy
own_patch.zero_()
fig = pictures.grid(
    [victim, safe],
    ["slice, then zero_()", "slice, clone(), then zero_()"],
    width=5,
    title="Changing a window changes what lies behind it",
)
figures.show(fig, alt="Left the photograph with a black square burnt into it. Right the photograph unharmed.")

# %% [markdown]
# We never touched `victim` by name, and still it has a hole. Operations whose names end in `_`, and `+=`, work in
# place. When you want to keep the original, `clone()` first.

# %% [markdown]
# ## Many pictures in one batch
#
# Networks take pictures in groups, called **batches**: it is faster, and a step of learning that listens to many
# pictures is steadier. A batch is one tensor with one more axis in front: **(N, C, H, W)**, N pictures of C channels, H
# rows and W columns.
#
# Let us stack our photographs.

# %%
photos = [pictures.to_tensor(pictures.photograph(name)) for name in pictures.photographs()]
try:
    torch.stack(photos)
except RuntimeError as error:
    print(type(error).__name__, error)

# %% [markdown]
# A box with straight sides cannot hold pictures of different sizes. So we cut the largest square out of the middle of
# each and scale it to 256 × 256.


# %%
def centre_square(image):
    """Cut the largest square out of the middle of an image (C, H, W)."""
    side = min(image.shape[1:])
    top, left = (image.shape[1] - side) // 2, (image.shape[2] - side) // 2
    return image[:, top : top + side, left : left + side]


squares = [centre_square(image) for image in photos]
batch = torch.stack([v2.functional.resize(square, [256, 256]) for square in squares])  # (N, C, H, W)
print(tuple(batch.shape), batch.dtype)

# %% [markdown]
# Eight pictures, three channels, 256 rows, 256 columns. Let us look at the batch:

# %%
fig = pictures.grid(batch, pictures.photographs(), columns=4, title="A batch: eight pictures in one tensor")
figures.show(
    fig,
    alt="Eight square photographs: an astronaut, a cat, the coffee cup, the Earth from space, galaxies, Grace "
    "Hopper, a raccoon and the back of an eye.",
)

# %% [markdown]
# (Whose photographs these are, and where they come from, is listed in `course_utils/samples/photographs.json`.)
#
# Now slices have one more axis, and read like sentences.

# %%
print("the first picture:           ", tuple(batch[0].shape))
print("all red planes:              ", tuple(batch[:, 0].shape))
print("all pictures, mirrored:      ", tuple(batch.flip(3).shape))
print("one mean per channel:        ", tuple(batch.float().mean(dim=(0, 2, 3)).shape))

# %% [markdown]
# Grey pictures keep their channel axis, of length 1. Here is a batch from Fashion-MNIST, the set of clothes on which
# lesson 3 trains its first network: 28 × 28 pixels each. The line below says where the pictures came from.

# %%
clothes = data.load("fashion_mnist")
few = clothes.train.take(20, seed=settings.seed)
print(tuple(few.images.shape), few.images.dtype)
fig = pictures.grid(
    few.images,
    [few.classes[label] for label in few.labels],
    columns=10,
    width=8,
    title="Twenty pieces of clothing, 28 × 28 pixels each",
)
figures.show(
    fig, alt="Twenty small grey pictures of clothes on black, two of each of ten classes, with their names above."
)

# %% [markdown]
# ## Broadcasting
#
# Suppose the light was too warm, and we want to multiply red by 0.8, leave green, and multiply blue by 1.3. Three
# numbers, a whole batch of pictures. Surely this works?

# %%
batch_float = pictures.to_float(batch)  # (8, 3, 256, 256), 0 to 1
gains = torch.tensor([0.8, 1.0, 1.3])
try:
    batch_float * gains
except RuntimeError as error:
    print(type(error).__name__, error)

# %% [markdown]
# Sooner or later everybody meets this message. PyTorch lines shapes up **from the right**:
#
# ```text
# batch_float   8   3   256   256
# gains                         3     <- stands under the columns, not under the channels
# ```
#
# The rule: two axes fit when they are equal, or when one of them is 1 or missing. An axis of length 1 is then repeated
# as often as needed, without copying anything. That is **broadcasting**. So we give the three numbers two more axes of
# length 1:
#
# ```text
# batch_float   8   3   256   256
# gains             3     1     1     <- one number for each channel
# ```

# %%
cooler = batch_float * gains.view(3, 1, 1)
for i in range(3):
    assert_close(cooler[:, i], batch_float[:, i] * gains[i])  # the same with a loop over the channels
print("brightest number before:", batch_float.max().item(), " after:", round(cooler.max().item(), 2))

# %% [markdown]
# One multiplication did the work of a loop over pictures, channels, rows and columns. Some numbers are now above 1, so
# before showing the pictures we clamp them.

# %%
fig = pictures.grid(
    torch.cat([batch_float[:4], cooler[:4].clamp(0, 1)]),
    columns=4,
    title="Upper row as it was, lower row with less red and more blue",
)
figures.show(
    fig, alt="Two rows of the astronaut, the cat, the coffee cup and the Earth. The lower row looks colder and bluish."
)

# %% [markdown]
# ### Pitfall: broadcasting that you did not want
#
# The rule is generous, and sometimes too generous. A network's answers often come as a column, (N, 1), and the truth as
# a row, (N,). We want the four differences.
#
# **Predict first.** All four answers are right. What is the mean error?

# %%
# NBVAL_CHECK_OUTPUT
answers = torch.tensor([[1.0], [2.0], [3.0], [4.0]])  # (4, 1)
truth = torch.tensor([1.0, 2.0, 3.0, 4.0])  # (4,)
difference = answers - truth
print(tuple(difference.shape), "mean error", difference.abs().mean().item())
print("fixed:", tuple((answers.squeeze(1) - truth).shape), (answers.squeeze(1) - truth).abs().mean().item())

# %% [markdown]
# Not 0 but 1.25. Each of the 4 answers was compared with each of the 4 truths, giving a table of 16. There was no error
# message, only a wrong number. When you subtract two tensors, say both shapes aloud first.

# %% [markdown]
# ## Explore the channel mixer
#
# Gains and brightness together make a small colour laboratory: multiply each channel, add a brightness to all, clamp to
# [0, 1].


# %%
def mix(images, red=1.0, green=1.0, blue=1.0, brightness=0.0):
    """Multiply each channel by its own number, add a brightness, and clamp: float (…, 3, H, W) in [0, 1]."""
    gains = torch.tensor([red, green, blue]).view(3, 1, 1)
    return (images * gains + brightness).clamp(0, 1)


coffee = pictures.to_float(pictures.to_tensor(photo))
assert_close(mix(coffee, 0.8, 1.0, 1.3, 0.1), pictures.mix(coffee, 0.8, 1.0, 1.3, 0.1))

# %% [markdown]
# The sliders below do this to the photograph. Move one with the mouse, or click on it and use the arrow keys. (Where
# no kernel runs, on a web page say, you see nine settings side by side instead.)
#
# **Predict first.** Three tasks; guess before you move anything. Turn the saucer grey. Make the picture colder, as on
# a winter morning. And make it almost black with a brightness of −0.5: can gains of 3 bring everything back?

# %%
widgets.lesson1.channel_mixer("coffee")

# %% [markdown]
# With gains alone the saucer stays dark: its blue is almost 0, and a small number times a few is still small. Adding
# can do what multiplying cannot. A colder picture has less red and more blue. And out of black nothing comes back:
# what falls below 0 or rises above 1 is cut off, for good. The line under the picture counts how much that is.
#
# Two mixtures worth a second look. With red × 0 and brightness 0.25 there *is* a little red again, the same everywhere:
# adding comes after multiplying. With brightness −0.25 alone, the dark places are all plain black: their differences
# have been thrown away.

# %% [markdown]
# ## Normalise and come back
#
# Nearly every network wants its pictures **normalised**: shifted and stretched so that the numbers of each channel lie
# around 0 with a spread of about 1. We need the mean and the standard deviation (the usual distance from the mean) of
# each channel, over all pictures of the batch.


# %%
def statistics(images):
    """Return the mean and the standard deviation of each channel of a batch."""
    return images.mean(dim=(0, 2, 3)), images.std(dim=(0, 2, 3))


mean, std = statistics(batch_float)
normalised = (batch_float - mean.view(3, 1, 1)) / std.view(3, 1, 1)
for when, (m, s) in {"before": (mean, std), "after": statistics(normalised)}.items():
    print(f"{when:6}  mean {m.numpy().round(2) + 0.0}, standard deviation {s.numpy().round(2)}")
assert_close(pictures.normalise(batch_float, mean, std), normalised)
assert_close(v2.functional.normalize(batch_float, mean.tolist(), std.tolist()), normalised)

# %% [markdown]
# Our two lines by broadcasting, the course's helper and torchvision's function agree. Here is what happened to the
# numbers:

# %%
with figures.style():
    fig, axes = plt.subplots(1, 2, figsize=(8, 3), sharey=True)
    for ax, values, where in zip(axes, (batch_float, normalised), ("scaled to [0, 1]", "normalised")):
        for i, (name, line) in enumerate(zip(COLOURS, ("-", "--", ":"))):
            ax.hist(values[:, i].flatten(), bins=40, histtype="step", color=COLOURS[name], linestyle=line, label=name)
        ax.set(xlabel=f"value, {where}")
    axes[0].set(ylabel="how many numbers", title="The shapes stay, the scale changes")
    axes[1].legend()
figures.show(
    fig,
    alt="Two histograms of the red, green and blue values. On the left they lie between 0 and 1, on the right they "
    "have the same shapes but lie on both sides of zero, from about minus 1.5 to about 3.",
)

# %% [markdown]
# Nothing was lost: each channel was moved and stretched, and can be moved and stretched back. Why bother? A learning
# step that suits one number should suit all of them. You will see this with your own eyes in the last section of this
# lesson.
#
# **Predict first.** We show the normalised numbers as a picture, without undoing. What will it look like?

# %%
clipped = normalised.clamp(0, 1)  # all that a screen can do with them
restored = normalised * std.view(3, 1, 1) + mean.view(3, 1, 1)  # the way back: times std, plus mean
assert_close(restored, batch_float)
assert_close(restored, pictures.unnormalise(normalised, mean, std))
results.record(lost=pictures.clipped_fraction(normalised), below_zero=(normalised < 0).float().mean())

# %% [markdown]
# The way back leads exactly to where we came from. Now the two rows to compare: the clipped numbers, and the restored
# ones.

# %%
fig = pictures.grid(
    torch.cat([clipped[:4], restored[:4].clamp(0, 1)]),
    columns=4,
    title="Normalised numbers shown as they are, and un-normalised",
)
figures.show(
    fig,
    alt="Upper row: four photographs with harsh, overdone colours, their shadows and seas turned black. Lower row: the "
    "same photographs looking natural.",
)

# %% [markdown]
# {{below_zero:.0%}} of the numbers are negative, because the mean now sits at 0. A screen cannot shine less than dark,
# so they all become 0, and what lies above 1 becomes glaring: {{lost:.0%}} of all numbers were cut off. You will meet
# such pictures in tutorials. They do not mean that the network sees badly; it sees the numbers before the cut. They
# mean that somebody forgot to **un-normalise**: times std, plus mean.
#
# matplotlib clips such numbers with a warning that is easy to overlook. The course's helper refuses:

# %%
try:
    pictures.to_picture(normalised[0])
except ValueError as error:
    print(type(error).__name__, error)

# %% [markdown]
# ### Pitfall: normalising whole numbers
#
# The mean and the standard deviation above belong to numbers in [0, 1]. What if the picture is still `uint8`?

# %%
try:
    v2.functional.normalize(batch, mean.tolist(), std.tolist())
except TypeError as error:
    print(type(error).__name__, error)

# %% [markdown]
# A clear refusal. The tempting "fix" is `batch.float()`, which makes floats of the numbers but leaves them between 0
# and 255. Now torchvision has nothing to complain about:

# %%
unscaled = v2.functional.normalize(batch.float(), mean.tolist(), std.tolist())
print(f"not scaled: {unscaled.min():.1f} to {unscaled.max():.1f}")
print(f"scaled:     {normalised.min():.1f} to {normalised.max():.1f}")
try:
    pictures.normalise(batch.float(), mean, std)
except ValueError as error:
    print(type(error).__name__, error)

# %% [markdown]
# Numbers up to a thousand instead of around 1, and no error. Large numbers make large slopes, and at the end of this
# lesson you will see what comes of steps that are too large. The fix is `pictures.to_float`, which divides by 255. It
# is a good habit to print the smallest and largest number of a batch before training.

# %% [markdown]
# ## Flattening and why it is hopeless
#
# The simplest layer of a network, a **dense** layer, takes a plain list of numbers. Each of its outputs is a weighted
# sum of *all* inputs. So a picture would have to become a list: we **flatten** it, row after row.

# %%
all_boots = clothes.train.of_class("Ankle boot")
boot_pictures = all_boots.take(at_most=settings.boots, seed=settings.seed).images
boot = boot_pictures[0]  # (1, 28, 28)
flat = boot.flatten()
print(tuple(boot.shape), "->", tuple(flat.shape))
assert flat.shape == (28 * 28,) == (784,)

# %% [markdown]
# 784 numbers, none lost. We draw them twice: as a picture, and as the list that a dense layer gets.

# %%
with figures.style():
    fig, axes = plt.subplots(1, 2, figsize=(8, 2.2), width_ratios=[1, 3.2])
    axes[0].imshow(boot[0])
    axes[0].set(title="28 × 28", xticks=[], yticks=[])
    axes[1].imshow(flat[None], aspect="auto", interpolation="nearest")
    axes[1].set(title="The same 784 numbers in one row: where is the boot?", xlabel="place in the list", yticks=[])
    axes[1].grid(False)
    axes[0].grid(False)
figures.show(
    fig,
    alt="Left a small grey picture of an ankle boot. Right the same numbers as one long row, which looks like a bar "
    "code.",
)

# %% [markdown]
# A bar code. For 28 × 28 pixels this works, with some pain: a dense layer with 10 outputs has 784 weights for each
# output, plus one number each to add, the **bias**.

# %%
# NBVAL_CHECK_OUTPUT
dense = nn.Linear(in_features=784, out_features=10)
count = sum(parameter.numel() for parameter in dense.parameters())
print(f"{count:,} numbers to learn")
assert count == 784 * 10 + 10

# %% [markdown]
# Now a modest photograph, 1280 × 720 in colour, and a modest layer with 1,000 outputs.
#
# **Predict first.** How much memory do the layer's weights need: 10 megabytes, 1 gigabyte, more?
#
# We build the layer on the `meta` device. It knows shapes, but holds no numbers, so this costs nothing.

# %%
# NBVAL_CHECK_OUTPUT
inputs = 1280 * 720 * 3
huge = nn.Linear(inputs, 1000, device="meta")
count = sum(parameter.numel() for parameter in huge.parameters())
print(f"{inputs:,} inputs, {count:,} numbers to learn, {count * 4 / 1e9:.1f} GB as float32")
assert inputs == 2_764_800 and count == inputs * 1000 + 1000
assert round(inputs * 4 / 1e6) == 11  # megabytes: the photograph's own numbers

# %% [markdown]
# Eleven gigabytes, for *one* layer. If you guessed 10 megabytes, you were right about the photograph: its numbers, as
# floats, take 11 megabytes. But every one of the 1,000 outputs needs a weight for each of them. To train the layer, the
# usual optimizer (Adam, from lesson 3 on) keeps a slope and two running averages for each weight as well: four times as
# much. Here it is beside the layer that lesson 2 introduces, a convolution with 16 filters of 3 × 3.

# %%
convolution = nn.Conv2d(3, 16, kernel_size=3)
small = sum(parameter.numel() for parameter in convolution.parameters())
names = ["convolution, 16 filters", "dense layer, 1,000 outputs", "the photograph itself"]
values = [small, count, inputs]
assert small == 3 * 3 * 3 * 16 + 16

# %% [markdown]
# The three numbers are so different that the axis must count in powers of ten:

# %%
with figures.style():
    fig, ax = plt.subplots(figsize=(7.5, 2.2))
    bars = ax.barh(names, values, color=[figures.BLUE, figures.RED, figures.GREY])
    ax.bar_label(bars, [f"{value:,}" for value in values], padding=4)
    ax.set(xscale="log", xlim=(100, 1e12), xlabel="how many numbers (each line is a hundred times the one before)")
    ax.set_title("A dense layer: a thousand weights for each number")
figures.show(
    fig,
    alt="Bars on a logarithmic scale: the photograph has 2,764,800 numbers, the dense layer 2,764,801,000, the "
    "convolution 448.",
)

# %% [markdown]
# Size is one reason against it. There is a second, deeper one: a flattened picture has forgotten which numbers were
# neighbours. Watch what a small move does.
#
# **Predict first.** We move an ankle boot 3 pixels to the right. As lists of numbers, which is nearer to the original:
# the *same* boot moved, or some *other* boot from the set?
#
# (We first add three black columns on the right, so that nothing falls off the edge. The distance between two lists is
# the usual one: square the differences, add them up, take the root.)

# %%
shoes = nn.functional.pad(pictures.to_float(boot_pictures)[:, 0], (0, 3))  # (N, 28, 31)
moved = shoes.roll(3, dims=2)  # the three black columns come round to the left
to_moved = (shoes - moved).flatten(1).norm(dim=1)  # distance of each boot to itself, moved
between = torch.cdist(shoes.flatten(1), shoes.flatten(1))  # distance of each boot to each other boot
between.fill_diagonal_(float("inf"))  # a boot is no "other" boot of itself
nearest, who = between.min(dim=1)
results.record(boots_compared=len(shoes), other_is_nearer=(nearest < to_moved).float().mean())

# %% [markdown]
# Here is one of the boots, itself moved, and the other boot that the numbers call nearest:

# %%
fig = pictures.grid(
    [shoes[0], moved[0], shoes[who[0]]],
    ["a boot", f"itself, moved 3 pixels\ndistance {to_moved[0]:.1f}", f"another boot\ndistance {nearest[0]:.1f}"],
    width=5,
    title="Another boot is nearer than the same one moved",
)
figures.show(
    fig,
    alt="Three grey pictures of ankle boots: one, the same moved a little to the right, and a different one. The "
    "different one has the smaller distance.",
)

# %% [markdown]
# For {{other_is_nearer:.1%}} of the {{boots_compared:,}} boots, some other boot is nearer than the same boot three
# pixels further to the right. If you guessed "itself, of course", you judged with your eyes: to them nothing happened.
# To a dense layer everything did: every number arrives at a weight that was meant for its neighbour. It would have to
# learn each boot again at each place.
#
# So we want a layer that looks at small neighbourhoods and does the same thing everywhere. That is a convolution, and
# lesson 2. What remains for this lesson is the other half of the story: how numbers *learn*.

# %% [markdown]
# ## Slopes
#
# A network learns by changing its numbers a little, in the direction in which its error falls. A **slope**
# tells which direction that is. Let us do it with a single number x and an "error" that you may know from school:
#
# $$y = x^2 - x - 2$$
#
# How steep is this curve at x = 3? Take a tiny step h to the right and see how far y rises, per step: (y(x + h) − y(x))
# / h.


# %%
def f(x):
    """The parabola of this section."""
    return x**2 - x - 2


for h in (1.0, 0.1, 0.01, 0.001):
    print(f"h = {h:5}: slope at 3 is about {(f(3 + h) - f(3)) / h:.3f}")

# %% [markdown]
# The smaller the step, the nearer to 5. Algebra says why. Multiply out and almost everything cancels:
#
# $$\frac{(x+h)^2 - (x+h) - 2 - (x^2 - x - 2)}{h} = \frac{2xh + h^2 - h}{h} = 2x - 1 + h$$
#
# When h goes to 0, the slope is **2x − 1**: 5 at x = 3.
#
# **Predict first.** What is the slope at x = −3? And where is the slope 0, and what does the curve look like there?

# %%
# NBVAL_CHECK_OUTPUT
for x in (3.0, -3.0, 0.5):
    h = 1e-6
    by_steps = (f(x + h) - f(x - h)) / (2 * h)  # a step to both sides is more exact
    print(f"x = {x:4}: by small steps {by_steps:.4f}, by algebra {2 * x - 1}")
    assert abs(by_steps - (2 * x - 1)) < 1e-6

# %% [markdown]
# −7 at −3: the curve falls steeply. 0 at ½: it is level there, at the bottom of the valley. If you guessed −5 at −3,
# you took the valley to be at 0; it lies at ½.
#
# PyTorch can do this for us. A tensor with `requires_grad=True` remembers what was computed from it. `backward()` then
# walks back through the computation and leaves the slope in `.grad`. This is called **autograd**.

# %%
# NBVAL_CHECK_OUTPUT
for value in (3.0, -3.0, 0.5):
    x = torch.tensor(value, requires_grad=True)
    y = f(x)
    y.backward()
    print(f"x = {value:4}: y = {y.item():5.2f}, slope by autograd {x.grad.item()}")
    assert x.grad.item() == 2 * value - 1

# %% [markdown]
# The same three slopes, and we never told PyTorch about 2x − 1. For one number this is a toy. For a network with
# millions of numbers it is the only practical way: one `backward()` finds the slope for each of them.
#
# On the curve, the three slopes are **tangents**: straight lines that touch it and are as steep as it is there.

# %%
line = torch.linspace(-4.2, 5.2, 200)
with figures.style():
    fig, ax = plt.subplots(figsize=(6.5, 3.8))
    ax.plot(line, f(line), color=figures.INK)
    for at, colour, beside in zip((-3.0, 0.5, 3.0), COLOURS.values(), ((12, 2), (-20, 12), (14, -10))):
        near, slope = torch.tensor([at - 1.2, at, at + 1.2]), 2 * at - 1
        ax.plot(near, f(at) + slope * (near - at), "o-", markevery=[1], color=colour, markersize=8)
        ax.annotate(f"slope {slope:g}".replace("-", "−"), (at, f(at)), xytext=beside, textcoords="offset points")
    ax.set(xlabel="x", ylabel="y = x² − x − 2", title="Falling, level, rising: the slope tells which")
figures.show(
    fig,
    alt="A parabola with its lowest point at x = one half. Tangents are drawn at minus 3, falling steeply with "
    "slope minus 7, at one half, level, and at 3, rising with slope 5.",
)

# %% [markdown]
# ### Pitfall: slopes add up
#
# Each `backward()` *adds* to `.grad`. It does not replace what is there.

# %%
# NBVAL_CHECK_OUTPUT
x = torch.tensor(3.0, requires_grad=True)
for _ in range(3):
    f(x).backward()
    print("slope at 3:", x.grad.item())
x.grad.zero_()  # the fix: start from zero each time
f(x).backward()
print("after zero_():", x.grad.item())

# %% [markdown]
# 5, 10, 15. The slope at 3 never changed, but the sum did. PyTorch adds on purpose, since sometimes one wants the sum
# over several batches. Most of the time one does not, and then every training loop needs its `zero_grad()`. In a moment
# you will see what happens to a walk without it.
#
# One more refusal that everybody meets. Slopes need decimals, so whole numbers, such as a `uint8` picture, cannot have
# any:

# %%
try:
    torch.tensor([1, 2, 3], dtype=torch.uint8, requires_grad=True)
except RuntimeError as error:
    print(type(error).__name__, error)

# %% [markdown]
# ## Walking downhill
#
# The slope points uphill. So to get down, take a small step *against* it, again and again:
#
# **x ← x − rate · slope**
#
# The **learning rate** says how far to trust the slope. This is gradient descent. It trains every network in this
# course.


# %%
def walk(start, rate, steps):
    """Walk down the parabola from `start`; return every place visited, the first included."""
    x, places = float(start), [float(start)]
    for _ in range(steps):
        slope = 2 * x - 1
        x = x - rate * slope
        places.append(x)
    return torch.tensor(places, dtype=torch.float64)


places = walk(settings.start, settings.rate, settings.steps)
print([round(place, 3) for place in places[:6].tolist()], "…", round(places[-1].item(), 3))

# %% [markdown]
# The numbers drift towards ½. To see the walk, we draw it onto the curve:


# %%
def draw_walk(ax, places):
    """Draw the walk on the parabola, as far as it stays in view."""
    line = torch.linspace(-4, 5, 200)
    ax.plot(line, f(line), color=figures.GREY, linewidth=1.5)
    ax.plot(places, f(places), "o-", color=figures.BLUE, markersize=5, linewidth=1)
    ax.plot(places[0], f(places[0]), "s", color=figures.RED, markersize=8)
    ax.set(xlim=(-4, 5), ylim=(-4, 18))


# %% [markdown]
# Each dot is a place visited; the square is the start.

# %%
with figures.style():
    fig, ax = plt.subplots(figsize=(6.5, 3.8))
    draw_walk(ax, places)
    ax.set(xlabel="x", ylabel="y = x² − x − 2")
    ax.set_title(f"Rate {settings.rate:g}: the flatter it gets, the shorter the steps")
figures.show(
    fig,
    alt="A parabola with a walk that starts at a square and goes down along the curve in ever shorter steps "
    "towards the lowest point at one half.",
)
results.record(rate=settings.rate, steps=settings.steps, last_x=places[-1])

# %% [markdown]
# With rate {{rate:g}}, after {{steps}} steps, x is {{last_x:.3f}}. The steps shrink by themselves, although the rate
# never changed: the slope gets smaller towards the bottom.
#
# In PyTorch nobody writes the slope by hand. Here is the same walk with autograd and an **optimizer**, the part that
# takes the steps (`SGD` is PyTorch's name for gradient descent). The four numbered lines are the heart of every
# training loop you will ever see.

# %%
x = torch.tensor(settings.start, dtype=torch.float64, requires_grad=True)
optimizer = torch.optim.SGD([x], lr=settings.rate)
visited = [x.item()]
for _ in range(settings.steps):
    y = f(x)  # 1. compute the error
    optimizer.zero_grad()  # 2. forget the old slope
    y.backward()  # 3. find the new one
    optimizer.step()  # 4. take a step against it
    visited.append(x.item())
assert_close(torch.tensor(visited, dtype=torch.float64), places)
print("the same", len(visited), "places, by hand and by optimizer")

# %% [markdown]
# ### Pitfall: the walk without zero_grad
#
# Leave out line 2, and each step uses the *sum* of all slopes so far.
#
# **Predict first.** Will the walk still end at ½? Faster, slower, or not at all?

# %%
x = torch.tensor(settings.start, dtype=torch.float64, requires_grad=True)
optimizer = torch.optim.SGD([x], lr=settings.rate)
forgetful = [x.item()]
for _ in range(3 * settings.steps):
    f(x).backward()  # zero_grad is missing
    optimizer.step()
    forgetful.append(x.item())

# %% [markdown]
# Both walks, step by step. The grey line is the bottom, x = ½.

# %%
with figures.style():
    fig, ax = plt.subplots(figsize=(7, 3.2))
    ax.axhline(0.5, color=figures.GREY, linewidth=1)
    ax.plot(forgetful, color=figures.RED, linestyle="--", label="without zero_grad")
    ax.plot(walk(settings.start, settings.rate, 3 * settings.steps), color=figures.BLUE, label="with zero_grad")
    ax.set(xlabel="step", ylabel="x", title="Slopes that add up overshoot the valley, again and again")
    ax.margins(y=0.22)
    ax.legend(loc="upper right", ncols=2)
figures.show(
    fig,
    alt="Two lines over the steps. With zero_grad x falls smoothly to one half and stays. Without it x swings up "
    "and down around one half and never settles.",
)

# %% [markdown]
# Not at all. It swings for ever, like a ball in a bowl without friction: the old slopes keep pushing after the bottom
# has been passed. And there was no error message: only the curve shows the mistake.

# %% [markdown]
# ## Explore the learning rate
#
# One walk, and you are the optimizer. Choose a rate, then press *One step* again and again. The line below the picture
# says what the next step will be: check it in your head before you take it. (Without a kernel you see six rates, eight
# steps each.)
#
# **Predict first.** What does rate ½ do? What does rate 1 do, exactly? And 1.05?

# %%
widgets.lesson1.learning_rate()

# %% [markdown]
# Rate ½ hits the bottom in a single step. Rate 1 jumps from 3 to −2 and back, for ever. Rate 1.05 climbs *out* of the
# valley.
#
# Why is 1 the border? Let d = x − ½ be the distance to the bottom. The slope 2x − 1 is just 2d. One step makes
#
# $$d_{\text{new}} = d - \text{rate} \cdot 2d = (1 - 2 \cdot \text{rate}) \cdot d$$
#
# So **each step multiplies the distance by 1 − 2 · rate**, whatever x is. That single factor explains every walk:

# %%
# NBVAL_CHECK_OUTPUT
for each in (0.02, 0.1, 0.5, 0.9, 1.0, 1.05):
    distances = walk(3, each, 8) - 0.5
    assert_close(distances[1:], (1 - 2 * each) * distances[:-1], atol=1e-12, rtol=0)
    print(f"rate {each:4}: factor {1 - 2 * each:5.2f}, distance at first 2.5, after 8 steps {distances[-1].abs():.3f}")

# %% [markdown]
# - Between 0 and ½, the factor is positive and less than 1: the walk comes nearer from one side.
# - At ½ it is 0: done in one step.
# - Between ½ and 1 it is negative, so the walk changes sides, but its size is below 1: it still comes nearer.
# - At 1 it is −1: the distance stays as it is, and only the side changes.
# - Above 1 it is beyond −1: every step makes the distance *larger*. The walk **diverges**.
#
# The 2 in the factor is how sharply this parabola bends. A sharper valley has a lower border, a flatter one a higher. A
# network may have millions of numbers, some in sharp valleys, some in flat ones, and one rate for all. That is why
# choosing the rate is an art, and why lesson 6 is about nothing else.

# %% [markdown]
# ## A picture teaches three numbers
#
# Let us bring the two halves of this lesson together. Somebody took our photograph and multiplied its channels by three
# secret numbers. We have the picture before and after. Can gradient descent find the secret?

# %%
secret = torch.tensor([0.7, 1.2, 1.6]).view(3, 1, 1)
before = coffee[:, ::4, ::4]  # every fourth pixel is enough
after = before * secret  # not clamped: we compare numbers, we do not show them
fig = pictures.grid([before, after.clamp(0, 1)], ["before", "after"], width=4, title="Which three numbers were used?")
figures.show(fig, alt="The photograph and a recoloured version of it, with less red and more green and blue.")

# %% [markdown]
# The error, in the trade called the **loss**, is the mean squared difference between our picture and theirs. We start
# with gains of 1 and use the same four lines as before. The only new thing is that `gains` holds three numbers at once.
#
# **Predict first.** Which of the three will be found first, and which last? Think of how bright each channel is.


# %%
def learn_gains(before, after, rate, steps):
    """Find one gain per channel by gradient descent; return the gains after each step, (steps, 3)."""
    gains, history = torch.ones(3, 1, 1, requires_grad=True), []
    optimizer = torch.optim.SGD([gains], lr=rate)
    for _ in range(steps):
        loss = ((before * gains - after) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(gains.detach().flatten().clone())  # a copy: gains will change in place
    return torch.stack(history)


# %% [markdown]
# Forty steps at rate ½:

# %%
history = learn_gains(before, after, rate=0.5, steps=40)
print("found:", history[-1].numpy().round(3), " secret:", secret.flatten().numpy())

# %% [markdown]
# One found, one nearly, one not. The whole story, step by step:

# %%
with figures.style():
    fig, ax = plt.subplots(figsize=(7, 3.4))
    for i, (name, colour) in enumerate(COLOURS.items()):
        ax.plot(range(1, 41), history[:, i], color=colour)
        ax.hlines(secret[i].item(), 1, 40, color=colour, linestyle=":", linewidth=1.2)
        ax.annotate(name, (40, history[-1, i]), xytext=(5, 0), textcoords="offset points", color=colour, va="center")
    ax.set(xlabel="step", ylabel="gain", title="Red is found soon, blue crawls (dotted: the secret)")
figures.show(
    fig,
    alt="Three lines over 40 steps. The red gain falls to 0.7 in some twenty steps, the green one comes near its "
    "1.2, and the blue one is still well below its 1.6 at the end.",
)
results.record(red_found=history[-1, 0], green_found=history[-1, 1], blue_found=history[-1, 2])

# %% [markdown]
# Red arrives first ({{red_found:.2f}}), green takes its time ({{green_found:.2f}}), and blue has come only to
# {{blue_found:.2f}}, on its way to 1.6. The rate is the same for all. But this is a picture of red things: its blue
# numbers are small, small numbers make small slopes, and small slopes make small steps. A larger rate would help blue,
# but only up to a limit, and red sets it: its valley is the sharpest, so it is the first to be thrown out.
#
# This is one reason why pictures are normalised. Give the numbers of each channel the same size, and one rate suits all
# three:

# %%
spread = before.square().mean(dim=(1, 2), keepdim=True).sqrt()  # (3, 1, 1): the usual size of a channel's numbers
history = learn_gains(before / spread, after / spread, rate=0.5, steps=40)
print("found:", history[-1].numpy().round(3), " secret:", secret.flatten().numpy())
assert_close(history[-1], secret.flatten(), atol=1e-3, rtol=0)

# %% [markdown]
# All three secrets, from the same 40 steps. Nobody told the loop what a colour is: it had pictures, a loss and slopes.
# A network has perhaps a million numbers instead of three. The four lines in the loop stay the same.

# %% [markdown]
# ## Exercises
#
# Each stub below runs as it is, so the notebook stays runnable while you work. Replace the `...`.
#
# The cell after each stub checks your answer: ✓ correct, ✗ wrong, with the first difference, or ○ not attempted. An
# answer must leave the tensors that it is given as they were.
#
# **1. Back from the web.** Write `from_hex("#66FF66")`, which returns `(102, 255, 102)`. Lower-case letters should work
# too.


# %%
def from_hex(text): ...


# %%
# Stuck? exercises.lesson1.from_hex.hint() helps a little, .solution() shows one way to do it
exercises.lesson1.from_hex.check(from_hex)

# %% [markdown]
# **2. A frame.** Return a copy of a uint8 picture (C, H, W) with a white border `thickness` pixels wide painted over
# its edge. The picture that was given must stay as it was.


# %%
def frame(image, thickness): ...


# %%
# Stuck? exercises.lesson1.frame.hint() helps a little, .solution() shows one way to do it
exercises.lesson1.frame.check(frame)

# %% [markdown]
# **3. Swap red and blue for a whole batch.** Input and output are (N, 3, H, W). No loop.


# %%
def swap_red_and_blue(images): ...


# %%
# Stuck? exercises.lesson1.swap_red_and_blue.hint() helps a little, .solution() shows one way to do it
exercises.lesson1.swap_red_and_blue.check(swap_red_and_blue)

# %% [markdown]
# **4. How heavy is a dense layer?** Return the number of megabytes (10⁶ bytes) that the weights and biases of a dense
# layer need as float32, for colour pictures of the given size. For 28 × 28 and 10 outputs it is 0.09412.


# %%
def dense_megabytes(width, height, outputs): ...


# %%
# Stuck? exercises.lesson1.dense_megabytes.hint() helps a little, .solution() shows one way to do it
exercises.lesson1.dense_megabytes.check(dense_megabytes)

# %% [markdown]
# **5. The perfect rate.** For the parabola y = a·x² + b·x + c with a > 0, which learning rate reaches the bottom in a
# single step, from anywhere? Derive the factor of a step as above, and find the rate that makes it 0.


# %%
def perfect_rate(a): ...


# %%
# Stuck? exercises.lesson1.perfect_rate.hint() helps a little, .solution() shows one way to do it
exercises.lesson1.perfect_rate.check(perfect_rate)

# %% [markdown]
# **6. Your own picture.** Put the path of a photograph between the quotes and run the cell. `open_picture` turns it the
# right way up, even when the camera only noted "rotated" in the file, and refuses what is not a picture.

# %%
my_file = ""
if my_file:
    mine = pictures.to_tensor(pictures.open_picture(my_file))
    figures.show(pictures.grid(list(mine), ["red", "green", "blue"]), alt="The three channels of your own photograph.")

# %% [markdown]
# ## Quiz
#
# Choose an answer, and read why it is right or wrong; then read the others too. (In a copy without a kernel, unfold
# *Answers* below each question.)

# %%
exercises.lesson1.quiz.ask(1)

# %%
exercises.lesson1.quiz.ask(2)

# %%
exercises.lesson1.quiz.ask(3)

# %%
exercises.lesson1.quiz.ask(4)

# %%
# The figures in the exercises and answers, checked
assert (28 * 28 * 3 * 10 + 10) * 4 / 1e6 == 0.09412
assert pictures.to_tensor(Image.new("RGB", (640, 480))).shape == (3, 480, 640)
assert (torch.zeros(32, 3, 64, 64) - torch.zeros(3, 1, 1)).shape == (32, 3, 64, 64)
for each, factor in ((0.3, 0.4), (0.5, 0), (0.8, -0.6), (1.2, -1.4)):
    assert abs(1 - 2 * each - factor) < 1e-9
print("the quiz keeps its word")

# %% [markdown]
# ## What you learned
#
# - A picture is a table of numbers: 8 bits for each of red, green and blue, row after row from the top left.
# - Pillow says (width, height), NumPy (height, width, channel), PyTorch (channel, height, width), and a batch is (N, C,
#   H, W).
# - `uint8` wraps round; go to float, clip, and go back. Scale to [0, 1], then normalise; un-normalise before looking.
# - `permute` renames axes without moving numbers, `reshape` recuts the street of numbers, slices are windows into the
#   same memory.
# - Shapes line up from the right; axes of length 1 are repeated.
# - A dense layer with 1,000 outputs on a photograph has billions of weights, and forgets who was whose neighbour.
# - Autograd finds slopes; gradient descent walks against them; on a parabola each step multiplies the distance by a
#   fixed factor, and beyond −1 it diverges.
#
# ## Where the code lives
#
# | what you built | where it lives |
# | --- | --- |
# | opening a picture, safely and the right way up | `pictures.open_picture`, `pictures.photograph` |
# | picture ↔ tensor | `pictures.to_tensor`, `pictures.to_picture` |
# | 0…255 to 0…1, colour to grey | `pictures.to_float`, `pictures.to_grey` |
# | gains and brightness | `pictures.mix` |
# | the sliders | `widgets.lesson1` |
# | normalise and undo | `pictures.normalise`, `pictures.unnormalise` |
# | what showing would lose | `pictures.clipped_fraction` |
# | many pictures, or the numbers of a small one | `pictures.grid`, `pictures.pixels` |
# | the clothes | `data.load` |
# | the checks of your answers | `exercises.lesson1` |
#
# ## What next
#
# [Lesson 2: Convolution by hand](02_convolution_by_hand.ipynb) builds the layer that looks at small neighbourhoods and
# does the same thing everywhere. It finds edges with nine numbers.
