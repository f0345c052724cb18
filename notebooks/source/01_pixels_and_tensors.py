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
# **The question: how can a picture be numbers?**
#
# In a moment a network looks at a photograph and names what is in it. It never sees a cup. It gets numbers, multiplies
# and adds them, and a word comes out. This lesson is about those numbers.
#
# **You need** Python and school mathematics. **Time:** about {{study_minutes}} minutes, and more for the exercises.
#
# <details><summary>What you will be able to do, and the contents</summary>
#
# **After this lesson you will be able to**
#
# - say what each number of a picture means;
# - turn a photograph into what a trained network expects, step by step, and ask the network yourself;
# - crop, mirror, recolour, brighten and normalise pictures, one or a whole batch at a time;
# - recognise the classic accidents (wrap-around, swapped axes, forgotten scaling) by how they *look*;
# - compute a slope by hand, by algebra and by autograd, and walk down it without falling over.
#
# The cells run in about {{quick.seconds:.0f}} seconds with the profile `quick`, the automatic choice on a computer
# without a GPU.
#
# **Contents**
#
# - [A network names a photograph](#A-network-names-a-photograph)
# - [Part 1: A picture is numbers](#Part-1:-A-picture-is-numbers): [a table](#A-photograph-is-a-table-of-numbers),
#   [colours](#Three-numbers-make-a-colour), [losing bits and pixels](#How-much-a-picture-can-lose), [height
#   first](#Height-comes-first), [slicing](#Crop-and-flip-by-slicing), [channels](#Three-channels),
#   [exercises](#Exercises-for-part-1)
# - [Part 2: From numbers to tensors](#Part-2:-From-numbers-to-tensors): [wrap-around](#Numbers-that-wrap-around),
#   [tensors](#From-array-to-tensor), [memory](#Reorder-the-axes,-or-recut-the-memory),
#   [batches](#Many-pictures-in-one-batch), [broadcasting](#Broadcasting), [the mixer](#Explore-the-channel-mixer),
#   [normalising](#Normalise-and-come-back), [feeding a network](#Feed-the-network-by-hand),
#   [flattening](#Flattening,-and-what-it-costs), [exercises](#Exercises-for-part-2)
# - [Part 3: Numbers that learn](#Part-3:-Numbers-that-learn): [slopes](#Slopes), [the chain
#   rule](#Two-steps-in-a-row), [the gradient](#Many-numbers,-one-gradient), [walking downhill](#Walking-downhill),
#   [the rate](#Explore-the-learning-rate), [three gains](#A-picture-teaches-three-numbers),
#   [exercises](#Exercises-for-part-3)
# - [Quiz](#Quiz)
# - [What you learned](#What-you-learned), [where the code lives](#Where-the-code-lives), [what next](#What-next)
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

import numpy as np
import torch
from matplotlib import pyplot as plt
from PIL import Image
from torch import nn
from torch.testing import assert_close

from course_utils import (
    data,
    exercises,
    figures,
    pictures,
    profiles,
    results,
    widgets,
)
from course_utils.errors import told

# %% tags=["parameters", "hide-input"]
profile = "auto"  # "quick" runs anywhere, "full" does more; "auto" chooses
seed = None  # which boots are drawn in "Flattening, and what it costs"
boots = None  # how many of them are compared; None: as the profile says

# %% tags=["hide-input"]
settings = profiles.load("01", profile, seed=seed, boots=boots)
COLOURS = {"red": figures.RED, "green": figures.GREEN, "blue": figures.BLUE}


def show_guesses(picture, guesses):
    """Show a picture beside the network's guesses, the likeliest on top."""
    names = [guess.name for guess in guesses]
    shares = [100 * guess.probability for guess in guesses]
    with figures.style():
        fig, (left, right) = plt.subplots(
            1, 2, figsize=(7, 2.8), width_ratios=[1.5, 1]
        )
        left.imshow(picture, interpolation="antialiased")
        left.axis("off")
        bars = right.barh(names, shares, color=figures.BLUE)
        bars[0].set_color(figures.ORANGE)
        labels = [f"{s:.0f} %" if s >= 0.5 else "below 1 %" for s in shares]
        right.bar_label(bars, labels, padding=3)
        right.invert_yaxis()
        right.set(xlim=(0, 118), xticks=[])
        right.spines[:].set_visible(False)
        right.tick_params(length=0)
        right.grid(False)
        fig.suptitle(
            f"“{names[0]}”, says the network",
            x=0.01,
            ha="left",
            fontsize=11,
            weight="bold",
        )
    said = ", ".join(f"{name} {label}" for name, label in zip(names, labels))
    figures.show(fig, alt=f"A photograph, and the network's guesses: {said}.")


# %% [markdown]
# ## A network names a photograph

# %%
from course_utils import transfer

photo = pictures.photograph("coffee")
network = transfer.backbone("efficientnet_lite0")
show_guesses(photo, network.predict(photo, k=5))

# %% [markdown]
# An espresso. `network` is EfficientNet-Lite0, which others trained on 1.3 million photographs of the ImageNet
# collection. It knows the names of 1,000 kinds of things. (This photograph was taken by Rachel Michetti and released
# into the public domain, CC0.)
#
# **Predict first.** What will the network say to a photograph of galaxies, about which it has learned nothing?

# %%
other = pictures.photograph("galaxies")  # or astronaut, cat, earth, raccoon
show_guesses(other, network.predict(other, k=5))

# %% [markdown]
# <details><summary>Answer</summary>
#
# It has no word for "none of these". It must choose among its 1,000 words, and takes what looks a little alike. Low
# percentages are its only way to shrug, and networks do not always use it. Change the name in the cell and try the
# others.
#
# </details>
#
# How does a photograph become a word? Seven lessons answer that. The first step is the same for every network. The
# photograph becomes a table of numbers.

# %% [markdown]
# ## Part 1: A picture is numbers
#
# ### A photograph is a table of numbers
#
# Pillow is Python's library for picture files, and `photo` is one of its pictures.

# %%
print(photo.mode, photo.size)

# %% [markdown]
# `RGB` means red, green and blue. The size is **(width, height)**, 512 columns and 341 rows. We walk closer, to the
# white rim of the cup. `crop` takes a box (left, top, right, bottom).

# %%
near = photo.crop((117, 74, 181, 138))  # 64 × 64 pixels
rim = photo.crop((145, 102, 153, 110))  # 8 × 8 pixels

# %% tags=["hide-input"]
with figures.style():
    fig, axes = plt.subplots(
        1, 3, figsize=(7.1, 2.75), width_ratios=[1.6, 1, 1]
    )
    for ax, view, title in zip(
        axes,
        (photo, near, rim),
        ("the photograph", "64 × 64 pixels", "8 × 8 pixels"),
    ):
        ax.imshow(view)
        ax.set_title(title, fontweight="normal", fontsize=10)
        ax.grid(False)
        ax.tick_params(labelsize=8)
    for ax, (left, top, side), colour in (
        (axes[0], (117, 74, 64), "white"),
        (axes[1], (28, 28, 8), "black"),
    ):
        box = (left - 0.5, top - 0.5)
        ax.add_patch(
            plt.Rectangle(box, side, side, fill=False, edgecolor=colour, lw=1.8)
        )
    axes[0].set(xlabel="column x", ylabel="row y")
    axes[1].set(xticks=[0, 63], yticks=[0, 63])
    axes[2].set(xticks=[0, 7], yticks=[0, 7])
    fig.suptitle(
        "Closer, until squares appear",
        x=0.01,
        ha="left",
        fontsize=11,
        weight="bold",
    )
figures.show(
    fig,
    alt="Three pictures. The photograph, with axes that count columns to the "
    "right and rows downwards and a white frame at the cup's rim; the "
    "framed part, with a smaller frame; and its 8 by 8 squares of even "
    "colour.",
)

# %% [markdown]
# Close up, the photograph is made of squares, each of one even colour. These are its **pixels**. The axes start at the
# *top* left. In school y grows upwards; in a picture, rows are counted downwards, as on a page of text.
#
# Now we write into each square what the computer knows about it.

# %% tags=["hide-input"]
fig = pictures.pixels(
    rim, width=7, title="Each pixel is three numbers: red, green, blue"
)
figures.show(
    fig,
    alt="The 8 by 8 pixels at the cup's rim with three numbers in each "
    "square: about 160, 45, 16 in the red part on the left and about 245, "
    "230, 215 in the cream part on the right.",
)

# %% [markdown]
# That is all there is. The table holds no "rim" and no "cup". White pixels have three large numbers, red ones one
# middling number and two small ones. The edge of the rim is where the numbers change from one column to the next.
# Lesson 2 finds edges from just that.
#
# **Predict first.** The photograph has 512 columns, 341 rows and three numbers in each pixel. How many numbers is that
# in all, about 500, about 500,000 or about 50 million?

# %%
width, height = photo.size
numbers = width * height * 3
print(f"{width} × {height} pixels, 3 numbers each: {numbers:,}")

# %% [markdown]
# <details><summary>Answer</summary>
#
# About half a million, for a picture smaller than a phone's screen. The sides multiply. A picture twice as wide and
# twice as high has *four* times as many numbers, and this growth will decide which networks are possible.
#
# </details>
#
# ### Three numbers make a colour
#
# A screen has three tiny lamps in each pixel, and the three numbers say how strongly each shines, from 0 for off to 255
# for full. All the reds of a picture together are one **channel**, and so are all the greens and all the blues. Here is
# one pixel of the saucer. `getpixel` wants (x, y).

# %%
red, green, blue = photo.getpixel((120, 230))
print(f"red {red}, green {green}, blue {blue}")

# %% [markdown]
# Plenty of red, little green, hardly any blue. That is brick red.
#
# **Predict first.** Red and green lamps at full power and blue off is `(255, 255, 0)`. Which colour is that? And what
# do three equal numbers give, such as `(128, 128, 128)`?

# %% tags=["hide-input"]
triples = [
    (255, 0, 0), (0, 255, 0), (0, 0, 255),
    (255, 255, 0), (0, 255, 255), (255, 0, 255),
    (0, 0, 0), (128, 128, 128), (255, 255, 255),
    (102, 255, 102), (255, 165, 0), (138, 25, 7),
]  # fmt: skip
swatches = [Image.new("RGB", (60, 30), triple) for triple in triples]
fig = pictures.grid(
    swatches,
    [str(triple) for triple in triples],
    width=7,
    title="Light adds: red and green make yellow, all three make white",
)
figures.show(
    fig,
    alt="Twelve patches of colour with their triples: red, green, blue, "
    "yellow, cyan, magenta, black, grey, white, light green, orange and "
    "brick red.",
)

# %% [markdown]
# <details><summary>Answer</summary>
#
# Red and green light make **yellow**. Brown would be right for paint, which takes light away. Lamps add it. Three
# equal numbers give **grey**, from black (all 0) to white (all 255). A grey picture says the same thing three times,
# so it may as well say it once.
#
# </details>
#
# (Twice the number is not twice the light. Screens follow a curve, and 128 gives only about 22 % of the full light.
# For a network only the numbers count.)

# %% tags=["hide-input"]
assert abs(((128 / 255 + 0.055) / 1.055) ** 2.4 - 0.22) < 0.005, (
    "by the curve of sRGB, 128 should give about 22 % of the light"
)
assert (red, green, blue) == (138, 25, 7), (
    "expected the saucer's brick red; was the place of the pixel changed?"
)

# %% [markdown]
# ### Go deeper: Colours on web pages
#
# Web pages write the same three numbers as one word, such as `#66FF66`. Each pair of characters is one number in base
# 16, whose digits run 0…9, A…F. So `66` is 6 · 16 + 6 = 102, and `FF` is 15 · 16 + 15 = 255.


# %%
def to_hex(rgb):
    """Write (red, green, blue) as a web colour."""
    return "#" + "".join(f"{value:02X}" for value in rgb)


print(to_hex((102, 255, 102)), int("66", base=16), int("FF", base=16))

# %% [markdown]
# **Exercise: Back from the web.** Write `from_hex("#66FF66")`, which returns `(102, 255, 102)`. Lower-case letters
# should work too. Replace the `...`; the next cell checks your answer.


# %%
def from_hex(text): ...


# %%
# Stuck? exercises.lesson1.from_hex.hint() or .solution() helps
exercises.lesson1.from_hex.check(from_hex)

# %% [markdown]
# ### How much a picture can lose
#
# Why 255? Each number is kept in 8 **bits**, that is 8 switches with two positions. That gives 2⁸ = 256 values, from 0
# to 255. Three times 8 is why this is called 24-bit colour. A pixel can have one of 2²⁴, some 16.8 million colours. Do
# we need that many? We keep fewer bits, and, in a second row, fewer pixels.


# %%
def keep_bits(picture, bits):
    """Cut the range 0…255 into 2**bits bins and give each bin one level."""
    levels = 2**bits
    return picture.point(lambda v: v * levels // 256 * 255 // (levels - 1))


def first_guess(network, picture):
    """Return the network's first guess, and how sure it is."""
    guess = network.predict(picture, k=1)[0]
    return f"{guess.name}, {100 * guess.probability:.0f} %"


# %% [markdown]
# **Predict first.** With 1 bit in each channel, at most eight colours are left. At 64 columns, 1 pixel in 64 is left.
# Does the network still say espresso?

# %%
counts = {"4 bits": 4, "2 bits": 2, "1 bit": 1}
poorer = {name: keep_bits(photo, bits) for name, bits in counts.items()}
for columns in (128, 64, 32):
    rows = round(columns * height / width)
    poorer[f"{columns} × {rows} pixels"] = photo.resize((columns, rows))

# %% tags=["hide-input"]
said = [first_guess(network, picture) for picture in poorer.values()]
fig = pictures.grid(
    [picture.resize(photo.size, 0) for picture in poorer.values()],
    [f"{name}\n{answer}" for name, answer in zip(poorer, said)],
    columns=3,
    width=7.1,
    title="The network recognises far poorer pictures than this photograph",
)
figures.show(
    fig,
    alt="Six poorer versions of the photograph with the network's first "
    "guess: 4, 2 and 1 bits per channel, the last in black, red, yellow "
    "and white; then 128, 64 and 32 columns, the last a mosaic. "
    + "; ".join(said)
    + ".",
)
assert [answer.startswith("espresso") for answer in said] == [True] * 5 + [
    False
], "all but the last should be an espresso; was a cell above changed?"

# %% [markdown]
# <details><summary>Answer</summary>
#
# In a handful of glaring colours it is still an espresso, to you and to the network. With 64 × 43 pixels the network
# hesitates, and with 32 × 21 it takes the cup for something else. Now you know why networks can work with small
# pictures, and that there is a limit.
#
# </details>
#
# ### Height comes first
#
# NumPy turns the picture into an array, a table of numbers to compute with.
#
# **Predict first.** `photo.size` is `(512, 341)`. What will `array.shape` be?

# %%
array = np.array(photo)  # (H, W, C)
print("Pillow size:", photo.size)
print("array shape:", array.shape, array.dtype)

# %% [markdown]
# <details><summary>Answer</summary>
#
# `(341, 512, 3)`. Pillow speaks as photographers do, width by height. An array speaks as tables do, **row** first, then
# column, and the rows make the height. The last axis holds the three channels. In short, the order is height, width,
# channel, or (H, W, C). `(512, 341, 3)` is the usual wrong guess, and a usual mistake in practice.
#
# </details>
#
# The same goes for a single pixel. Pillow wants (x, y), the array wants [y, x].

# %%
print(photo.getpixel((120, 230)), array[230, 120])

# %% [markdown]
# **Pitfall: width and height mixed up.** Sometimes this mistake is loud. `array[400, 100]` raises an IndexError, since
# there is no row 400. More often it is silent. `resize` wants (width, height), and takes the first two numbers of a
# shape just as gladly.

# %%
stretched = photo.resize(array.shape[:2])  # the mistake
correct = photo.resize((array.shape[1], array.shape[0]))

# %% tags=["hide-input"]
both = {
    "resize((width, height))": correct,
    "resize(array.shape[:2])": stretched,
}
fig = pictures.grid(
    list(both.values()),
    [f"{name}\n{first_guess(network, view)}" for name, view in both.items()],
    width=6.2,
    title="Swapped sides do not fail, they stretch",
)
figures.show(
    fig,
    alt="The photograph, and a version squeezed into a narrow upright shape, "
    "in which the saucer is an upright oval. The network says espresso to "
    "both, a little less surely to the second.",
)
assert network.predict(stretched)[0].name == "espresso", (
    "even stretched it should be an espresso; was the photograph changed?"
)

# %% [markdown]
# The network still says espresso, only less surely. So neither an error nor a wrong answer gives the mistake away.
# Looking at your pictures is the cheapest test there is.
#
# ### Crop and flip by slicing
#
# An array can be cut like a list, along each axis, as `array[rows, columns]`. Slices do what a photo editor has menus
# for.
#
# **Predict first.** `array[::-1]` walks through the first axis backwards. Does that swap left and right, or top and
# bottom?

# %%
spoon = array[190:290, 240:390]  # rows 190…289, columns 240…389
reversed_rows = array[::-1]
reversed_columns = array[:, ::-1]
every_eighth = array[::8, ::8]  # every eighth row, every eighth column
print(spoon.shape, reversed_rows.shape, every_eighth.shape)

# %% tags=["hide-input"]
fig = pictures.grid(
    [photo, *map(Image.fromarray, (spoon, reversed_rows, reversed_columns))],
    [
        "the whole array",
        "array[190:290, 240:390]",
        "array[::-1]",
        "array[:, ::-1]",
    ],
    columns=2,
    width=7,
    frames={0: (240, 190, 390, 290)},
    title="One array, sliced three ways",
)
figures.show(
    fig,
    alt="The photograph with a frame around the spoon; the spoon cut out; the "
    "photograph upside down; the photograph mirrored, so that the cup's "
    "handle points to the right.",
)

# %% [markdown]
# <details><summary>Answer</summary>
#
# `array[::-1]` turns the picture **upside down**, because the first axis is the rows. Mirroring needs the second axis,
# so `array[:, ::-1]`. Mirrored pictures return in lesson 4, as a way to get more training pictures for nothing.
#
# </details>
#
# ### Three channels
#
# The last axis holds red, green and blue. One of them alone is a table of height × width, a grey picture.
#
# **Predict first.** The saucer is brick red, the rim is white. In the *blue* channel, how bright will each look?

# %%
channels = [array[:, :, 0], array[:, :, 1], array[:, :, 2]]

# %% tags=["hide-input"]
fig = pictures.grid(
    [photo, *map(Image.fromarray, channels)],
    ["all three", "red", "green", "blue"],
    columns=2,
    width=7,
    title="The red saucer is black in blue, the white rim bright in all",
)
figures.show(
    fig,
    alt="The photograph and its three channels as grey pictures. The saucer "
    "is mid-grey in red, dark in green and almost black in blue. The "
    "cup's white rim is bright in every channel.",
)

# %% [markdown]
# <details><summary>Answer</summary>
#
# The saucer is nearly black, since the blue lamps are almost off there. The rim is bright in all three, because white
# is all lamps on. And the blue channel does not look blue. A single channel has no colour; it is numbers, which we
# choose to show as grey.
#
# </details>
#
# **Pitfall: blue coffee.** OpenCV, another well-known library, keeps pictures as blue, green, red. Read a picture with
# one library and show it with the other, and the first channel trades places with the last.

# %%
swapped = array[:, :, ::-1]

# %% tags=["hide-input"]
fig = pictures.grid(
    [photo, Image.fromarray(swapped)],
    [
        f"red, green, blue\n{first_guess(network, photo)}",
        f"blue, green, red\n{first_guess(network, Image.fromarray(swapped))}",
    ],
    width=7,
    title="Red and blue swapped: right numbers, wrong order",
)
figures.show(
    fig,
    alt="The photograph beside a version with red and blue swapped: the "
    "saucer and the table are blue and the coffee is light blue; only the "
    "rim stays white. The network says espresso to both.",
)

# %% [markdown]
# When a face looks like a blueberry, you now know why.
#
# ### Go deeper: A slice is a window, not a copy
#
# A slice shares its memory with the array it was cut from. That makes it fast. It also means that writing into the
# slice writes into the picture behind it.

# %%
victim, safe = array.copy(), array.copy()
window = victim[150:250, 200:350]
window[:] = 0  # paint it black
own_patch = safe[150:250, 200:350].copy()  # the fix
own_patch[:] = 0

# %% tags=["hide-input"]
fig = pictures.grid(
    [Image.fromarray(victim), Image.fromarray(safe)],
    ["slice, then painted", "slice, copy(), then painted"],
    width=7,
    title="Painting a window changes what lies behind it",
)
figures.show(
    fig,
    alt="Left the photograph with a black rectangle in it. Right the "
    "photograph unharmed.",
)
assert (safe == array).all() and not (victim == array).all(), (
    "only painting without copy() should change the picture behind"
)

# %% [markdown]
# The code never wrote to `victim` by name, and still it has a hole. To keep the original, copy first. (Tensors behave
# in the same way; there the copy is called `clone()`.)
#
# ### Go deeper: From colour to grey
#
# A grey picture needs one number for each pixel, and the mean of the three would be one. But pure green looks much
# brighter to us than pure blue, and the mean does not know that. The television standard ITU-R BT.601 therefore weights
# the channels. (`@` multiplies each pixel's three numbers by the three weights and adds them up.)

# %%
weights = np.array([0.299, 0.587, 0.114])  # red, green, blue
grey = (array @ weights).round().astype(np.uint8)
theirs = np.array(photo.convert("L"))  # Pillow's own
difference = np.abs(grey.astype(int) - theirs)
print("largest difference:", difference.max())

# %% tags=["hide-input"]
# Pillow computes with whole numbers, the weights times 65,536
assert difference.max() <= 1, (
    "our grey should be Pillow's, give or take 1; was a weight changed?"
)

# %% [markdown]
# Ours is Pillow's, up to a step of 1 where Pillow rounds differently. Did you notice the `astype(int)` before the
# subtraction? Part 2 begins with what happens without it.
#
# ### Go deeper: Three lights that add up
#
# To see each lamp's own light, keep one channel and set the others to zero. Light adds, so the three parts add up to
# the photograph, exactly.

# %%
lamps = []
for i in range(3):
    lamp = np.zeros_like(array)
    lamp[:, :, i] = array[:, :, i]
    lamps.append(lamp)
assert (lamps[0] + lamps[1] + lamps[2] == array).all(), "a channel is missing"

# %% tags=["hide-input"]
fig = pictures.grid(
    [Image.fromarray(lamp) for lamp in lamps],
    ["red lamps", "green lamps", "blue lamps"],
    width=7,
    title="Three lights that add up to the photograph",
)
figures.show(
    fig,
    alt="The photograph in shades of red, of green and of blue. The red one "
    "is bright, the green one darker, the blue one almost black except "
    "for the cup's rim.",
)

# %% [markdown]
# ### Go deeper: The file is smaller than the picture
#
# The numbers need one byte (8 bits) each. How large is the file?

# %% tags=["hide-input"]
file_bytes = pictures.photograph_file("coffee").stat().st_size
results.record(
    raw_bytes=numbers, file_bytes=file_bytes, times_smaller=numbers / file_bytes
)

# %% [markdown]
# The pixels are {{raw_bytes:,}} bytes, the JPEG file only {{file_bytes:,}}, {{times_smaller:.1f}} times smaller. JPEG
# throws away detail that eyes hardly notice. In memory the saving is gone, since a network sees every number. Cameras
# count pixels in **megapixels**, millions. 800 × 600 is 0.48 of them, 1024 × 768 is 0.79, and a phone's 4000 × 3000 is
# 12.

# %% tags=["hide-input"]
sizes = {(800, 600): 0.48, (1024, 768): 0.79, (4000, 3000): 12}
assert all(
    round(w * h / 1e6, 2) == said_here for (w, h), said_here in sizes.items()
), "megapixels should be width times height, in millions, as said above"

# %% [markdown]
# ### Exercises for part 1
#
# The stub runs as it is, so the notebook stays runnable while you work. Replace the `...`. The cell below it checks
# your answer and says ✓ correct, ✗ wrong with the first difference, or ○ not attempted. Your function must not change
# the picture it is given.
#
# **A frame.** Return a copy of a uint8 picture with a white border `thickness` pixels wide painted over its edge. The
# picture comes as a tensor (C, H, W), PyTorch's kind of array (part 2), channels first; it is cut like an array, and
# `image.clone()` copies it.


# %%
def frame(image, thickness): ...


# %%
# Stuck? exercises.lesson1.frame.hint() or .solution() helps
exercises.lesson1.frame.check(frame)

# %% [markdown]
# **Your own photograph.** Put the path of a picture file between the quotes. `open_picture` turns it the right way up,
# even when the camera only noted "rotated" in the file, and refuses what is not a picture.

# %%
my_file = ""
if my_file:
    mine = pictures.open_picture(my_file)
    show_guesses(mine, network.predict(mine, k=5))

# %% [markdown]
# ## Part 2: From numbers to tensors
#
# ### Numbers that wrap around
#
# The array's numbers are `uint8`, *unsigned integers of 8 bits*, the whole numbers from 0 to 255 and nothing else.
#
# **Predict first.** What is 250 + 10 in `uint8`: 260, 255, 4, or an error?

# %% tags=["nbval-check-output"]
print(np.array([250], dtype=np.uint8) + np.array([10], dtype=np.uint8))
print(np.array([5], dtype=np.uint8) - np.array([10], dtype=np.uint8))

# %% [markdown]
# <details><summary>Answer</summary>
#
# 4, and no error. After 255 comes 0 again, like the odometer of an old car, so 260 − 256 = 4. Below 0 comes 255, so 5
# − 10 gives 251.
#
# </details>
#
# What does this look like in a picture? We brighten the photograph by 60, first wrongly, then right. The fix has three
# steps, always in this order. Go to **float**, compute and **clip**, and only then go back to whole numbers.

# %%
wrapped = array + np.uint8(60)  # the mistake
brighter = array.astype(np.float32) + 60  # the fix
brighter = np.clip(brighter, 0, 255).astype(np.uint8)

# %% tags=["hide-input"]
fig = pictures.grid(
    [Image.fromarray(wrapped), Image.fromarray(brighter)],
    ["uint8 + 60", "float, + 60, clipped, uint8"],
    width=7,
    title="After 255 comes 0: the brightest places turn black or green",
)
figures.show(
    fig,
    alt="Left a version of the photograph where the cup's rim has turned "
    "black, and the inside of the cup and the shiny parts of the table "
    "green. Right an evenly brighter one.",
)
results.record(
    ".0%", wrapped_pixels=(array.astype(int) + 60 > 255).any(axis=2).mean()
)

# %% [markdown]
# In {{wrapped_pixels:.0%}} of the pixels at least one channel went past 255 and came out at the bottom. The places
# that should be brightest are hit, and they take on poisonous colours. Once you have seen it, you recognise it
# anywhere.
#
# Networks compute with floats anyway, mostly with `float32`, numbers with decimals in 32 bits. By custom, pictures are
# scaled to lie between 0 (dark) and 1 (bright).

# %%
scaled = array.astype(np.float32) / 255
print(f"{array.dtype}: up to {array.max()}, {array.nbytes:,} bytes")
print(f"{scaled.dtype}: up to {scaled.max()}, {scaled.nbytes:,} bytes")

# %% [markdown]
# Floats do not wrap around, but they take four times the memory. So this course keeps pictures as `uint8` and turns
# them into floats at the last moment, a batch at a time.
#
# ### From array to tensor
#
# PyTorch's table of numbers is called a **tensor**. It is much like an array, and can do two things more: work on a
# GPU, the graphics processor of lesson 7, and find slopes (part 3). PyTorch wants the **channels first**, (channel,
# height, width). Then a picture is a stack of three grey planes, and "the red plane" is simply `image[0]`. `permute`
# gives the axes a new order, old axis 2 first, then 0, then 1.

# %%
hwc = torch.from_numpy(array)  # (H, W, C), still in NumPy's order
image = hwc.permute(2, 0, 1)  # (C, H, W)
print("Pillow size ", photo.size, "       width, height")
print("array shape ", array.shape, "    height, width, channel")
print("tensor shape", tuple(image.shape), "    channel, height, width")

# %% [markdown]
# Three libraries, three orders, the same numbers. Learn these three lines by heart. Many errors come from taking one of
# them for another.
#
# You have now written what the course's helpers `to_tensor` and `to_float` do. From here on we use the helpers, and
# each is checked against what you built. (`assert_close` stops with an error where two tensors differ.)

# %%
assert_close(pictures.to_tensor(photo), image)
assert_close(pictures.to_float(image), torch.tensor(scaled).permute(2, 0, 1))

# %% tags=["hide-input"]
assert_close(pictures.to_grey(image)[0], torch.from_numpy(theirs))
assert np.array_equal(np.array(pictures.to_picture(image)), array), (
    "to a tensor and back must give the same picture; was a cell changed?"
)
assert (
    image[0, 230, 120] == array[230, 120, 0] == photo.getpixel((120, 230))[0]
), "tensor, array and picture must agree on the red of row 230, column 120"

# %% [markdown]
# ### Reorder the axes, or recut the memory
#
# Memory has no rows and no channels. It is one long street with a number in every house. `permute` leaves the street
# as it is and only changes how it is walked.
#
# **Pitfall: reshape is not permute.** Both can turn `(341, 512, 3)` into `(3, 341, 512)`. `permute` reorders the axes.
# `reshape` keeps the street and cuts it into new pieces.
#
# **Predict first.** What will the picture look like after `reshape`?

# %%
reshaped = hwc.reshape(3, 341, 512)  # the mistake

# %% tags=["hide-input"]
ghosts = pictures.to_picture(reshaped)
fig = pictures.grid(
    [photo, ghosts],
    [
        f"permute(2, 0, 1)\n{first_guess(network, photo)}",
        f"reshape(3, 341, 512)\n{first_guess(network, ghosts)}",
    ],
    width=7,
    title="The right shape is not the right picture",
)
figures.show(
    fig,
    alt="Left the photograph as it should be. Right a jumble: faint, "
    "stretched outlines of the cup lie over each other in red, green and "
    "blue, covered with fine stripes.",
)
assert (
    network.predict(ghosts)[0].name != "espresso"
    and network.predict(ghosts)[0].probability < 0.3
), "after reshape the network should be unsure and see no espresso"

# %% [markdown]
# <details><summary>Answer</summary>
#
# Ghosts. The jumble's red plane is made of the top third of the picture, with the three numbers of each pixel side by
# side; its green and blue planes are made of the other two thirds. A check of the shape would pass, but the network no
# longer sees a cup.
#
# </details>
#
# ### Go deeper: Memory and strides
#
# Did `permute` move half a million numbers? A tensor is the street plus a recipe for walking it. The **stride** of an
# axis says how many houses to go forward for one step along that axis.
#
# A tiny picture of 2 × 2 pixels makes it visible. The tens are the pixel, the last digit is the channel.

# %% tags=["nbval-check-output"]
tiny = torch.tensor(
    [[[10, 11, 12], [20, 21, 22]], [[30, 31, 32], [40, 41, 42]]]
)  # (H, W, C)
planes = tiny.permute(2, 0, 1)  # (C, H, W)
print("tiny:  ", tuple(tiny.shape), "strides", tiny.stride())
print("planes:", tuple(planes.shape), "strides", planes.stride())
print("same address:", planes.data_ptr() == tiny.data_ptr())

# %% [markdown]
# Nothing moved. Both begin at the same address, and only the strides changed places. In `tiny`, the next channel is 1
# house away and the next row 6. That is why `permute` is instant for pictures of any size. `.contiguous()` does move
# numbers. It writes them into a new street, in the tensor's own order. Here are both streets.


# %% tags=["hide-input"]
def draw_street(ax, street, title):
    """Draw memory as a row of houses, coloured by the last digit."""
    for i, number in enumerate(street.tolist()):
        name, colour = list(COLOURS.items())[number % 10]
        ax.bar(i, 1, width=0.96, color=colour)
        ax.text(
            i,
            0.5,
            f"{name[0].upper()}\n{number}",
            ha="center",
            va="center",
            color="white",
            weight="bold",
        )
    ax.set(
        xlim=(-0.5, len(street) - 0.5),
        yticks=[],
        xticks=range(len(street)),
        title=title,
    )
    ax.spines[:].set_visible(False)
    ax.grid(False)


with figures.style():
    fig, axes = plt.subplots(2, 1, figsize=(7, 3.0))
    draw_street(
        axes[0],
        tiny.flatten(),
        "Channels last: the three numbers of a pixel are neighbours",
    )
    draw_street(
        axes[1],
        planes.contiguous().flatten(),
        "Channels first: each channel is a plane of its own",
    )
    axes[1].set_xlabel("place in memory")
figures.show(
    fig,
    alt="Two rows of twelve coloured boxes. In the upper row red, green and "
    "blue alternate. In the lower row come four red, then four green, "
    "then four blue boxes.",
)

# %% [markdown]
# ### Many pictures in one batch
#
# Networks take pictures in groups, called **batches**. It is faster, and a step of learning that listens to many
# pictures is steadier. A batch is one tensor with one more axis in front, **(N, C, H, W)**, N pictures of C channels,
# H rows and W columns. `torch.stack` makes one.

# %%
photos = [
    pictures.to_tensor(pictures.photograph(name))
    for name in pictures.photographs()
]

# %% [markdown]
# A box with straight sides cannot hold pictures of different sizes, and `torch.stack(photos)` would refuse. So we take
# the **centre crop**, the largest square in the middle of each, and scale it to 256 × 256.


# %%
from torchvision.transforms import v2


def centre_square(image):
    """Cut the largest square out of the middle of an image (C, H, W)."""
    side = min(image.shape[1:])
    top = (image.shape[1] - side) // 2
    left = (image.shape[2] - side) // 2
    return image[:, top : top + side, left : left + side]


squares = [centre_square(each) for each in photos]
squares = [v2.functional.resize(each, [256, 256]) for each in squares]
batch = torch.stack(squares)
print(tuple(batch.shape), batch.dtype)

# %% tags=["hide-input"]
fig = pictures.grid(
    batch,
    pictures.photographs(),
    columns=4,
    width=7,
    title="A batch: eight pictures in one tensor",
)
figures.show(
    fig,
    alt="Eight square photographs: an astronaut, a cat, the coffee cup, the "
    "Earth from space, galaxies, Grace Hopper, a raccoon and the back of "
    "an eye.",
)

# %% [markdown]
# (`course_utils/samples/photographs.json` says whose photographs these are.) Slices now have one more axis, and read
# like sentences.

# %%
print("the first picture:     ", tuple(batch[0].shape))
print("all red planes:        ", tuple(batch[:, 0].shape))
print("all pictures, mirrored:", tuple(batch.flip(3).shape))

# %% [markdown]
# ### Broadcasting
#
# Suppose the light was too warm, and we want to multiply red by 0.8, leave green, and multiply blue by 1.3. Three
# numbers, a whole batch of pictures. Surely this works?

# %%
batch_float = pictures.to_float(batch)  # (8, 3, 256, 256), 0 to 1
factors = torch.tensor([0.8, 1.0, 1.3])
try:
    batch_float * factors
except RuntimeError as error:
    print(told(error))

# %% [markdown]
# Sooner or later everybody meets this message. PyTorch lines shapes up **from the right**.
#
# ```text
# batch_float   8   3   256   256
# factors                       3     <- stands under the columns
# ```
#
# Two axes fit when they are equal, or when one of them is 1 or missing. An axis of length 1 is then repeated as often
# as needed, without copying anything. That is **broadcasting**. So we give the three numbers two more axes of length
# 1, with `view`.
#
# ```text
# batch_float   8   3   256   256
# factors           3     1     1     <- one number for each channel
# ```

# %%
cooler = batch_float * factors.view(3, 1, 1)
for i in range(3):  # the same with a loop over the channels
    assert_close(cooler[:, i], batch_float[:, i] * factors[i])

# %% [markdown]
# One multiplication did the work of a loop over pictures, channels, rows and columns.
#
# **Pitfall: broadcasting that you did not want.** The rule is generous, and sometimes too generous. A network's
# answers often come as a column, (N, 1), and the truth as a row, (N,). We want the four differences.
#
# **Predict first.** All four answers are right. What is the mean error?

# %% tags=["nbval-check-output"]
answers = torch.tensor([[1.0], [2.0], [3.0], [4.0]])  # (4, 1)
truth = torch.tensor([1.0, 2.0, 3.0, 4.0])  # (4,)
errors = answers - truth
print("got:  ", tuple(errors.shape), "mean error", errors.abs().mean().item())
errors = answers.squeeze(1) - truth  # squeeze drops an axis of length 1
print("fixed:", tuple(errors.shape), "mean error", errors.abs().mean().item())

# %% [markdown]
# <details><summary>Answer</summary>
#
# Not 0 but 1.25. Each of the 4 answers was compared with each of the 4 truths, in a table of 16. No error message
# comes, only a wrong number. Before you subtract two tensors, say both shapes aloud.
#
# </details>
#
# ### Explore the channel mixer
#
# Gains and brightness together make a small colour laboratory. Multiply each channel by its **gain**, add a brightness
# to all, and clamp (PyTorch's word for clip) to the range from 0 to 1.


# %%
def mix(images, red=1.0, green=1.0, blue=1.0, brightness=0.0):
    """Multiply the channels, add a brightness, clamp: (…, 3, H, W)."""
    gains = torch.tensor([red, green, blue]).view(3, 1, 1)
    return (images * gains + brightness).clamp(0, 1)


coffee = pictures.to_float(pictures.to_tensor(photo))

# %% tags=["hide-input"]
assert_close(
    mix(coffee, 0.8, 1.0, 1.3, 0.1), pictures.mix(coffee, 0.8, 1.0, 1.3, 0.1)
)

# %% [markdown]
# The sliders below do this to the photograph. Move one with the mouse, or click on it and use the arrow keys. (Where no
# Jupyter kernel runs, six settings stand side by side instead.)
#
# **Predict first.** Three tasks, and a guess before each. Turn the saucer grey. Make the picture colder, as on a winter
# morning. And darken it with a brightness of −0.5. How much can gains of 3 bring back?

# %%
widgets.lesson1.channel_mixer("coffee")

# %% [markdown]
# <details><summary>Answer</summary>
#
# - The saucer turns grey with red × 0.15, green × 0.85 and blue × 3, and is then nearly black. A number close to 0
#   stays small when it is multiplied. A little brightness makes the grey visible.
# - Colder means less red and more blue.
# - More than half of the black pixels come back, because multiplying comes first and the 0.5 is taken off afterwards.
#   What was below 1/6 stays black, and what was above 1/2 is now full, so the picture is harsh.
#
# </details>
#
# Once a number has been cut off, it is gone for good. Mix twice, first the darkening and then the gains, and the
# second step has nothing left to work on.

# %%
at_once = mix(coffee, 3, 3, 3, brightness=-0.5)
in_turn = mix(mix(coffee, brightness=-0.5), 3, 3, 3)
for name, mixed in {"at once": at_once, "in turn": in_turn}.items():
    black = (mixed == 0).all(dim=0).float().mean()
    print(f"{name}: {100 * black:.0f} % of the pixels are black")

# %% tags=["hide-input"]
dark = (mix(coffee, brightness=-0.5) == 0).all(dim=0)
assert torch.equal((in_turn == 0).all(dim=0), dark), (
    "what was cut off must stay black"
)
assert 0.5 < (at_once != 0).any(dim=0)[dark].float().mean() < 0.6, (
    "a little over half of the black should come back; was a gain changed?"
)

# %% [markdown]
# ### Normalise and come back
#
# Nearly every network wants its pictures **normalised**, shifted and stretched so that the numbers lie around 0 with a
# spread of about 1. The spread is measured by the **standard deviation**. Take the distances from the mean, square
# them, take their mean, and its root. For 1, 3, 5, 7 the mean is 4, the distances are −3, −1, 1, 3, the squares 9, 1,
# 1, 9 with mean 5, and the root of 5 is 2.24. Each channel has its own mean and deviation, here taken over all pictures
# of the batch, and in lesson 3 over all training pictures.

# %%
mean = batch_float.mean(dim=(0, 2, 3))  # over axes 0, 2 and 3: (3,)
std = batch_float.std(dim=(0, 2, 3), correction=0)  # 0: as explained above
normalised = (batch_float - mean.view(3, 1, 1)) / std.view(3, 1, 1)
restored = normalised * std.view(3, 1, 1) + mean.view(3, 1, 1)
print(f"before: {batch_float.min():.1f} to {batch_float.max():.1f}")
print(f"after:  {normalised.min():.1f} to {normalised.max():.1f}")
assert_close(restored, batch_float)  # the way back: times std, plus mean

# %% tags=["hide-input"]
assert_close(
    torch.tensor([1.0, 3, 5, 7]).std(correction=0), torch.tensor(5.0).sqrt()
)
assert_close(pictures.normalise(batch_float, mean, std), normalised)
assert_close(pictures.unnormalise(normalised, mean, std), restored)
assert_close(
    v2.functional.normalize(batch_float, mean.tolist(), std.tolist()),
    normalised,
)

# %% [markdown]
# Nothing was lost. Each channel was moved and stretched, and can be moved and stretched back. Why bother? Numbers of
# the same size are easier to learn from, as you will see in part 3.
#
# **Predict first.** We show the normalised numbers as a picture, without the way back. What will it look like?

# %% tags=["hide-input"]
fig = pictures.grid(
    torch.cat([normalised[:4].clamp(0, 1), restored[:4].clamp(0, 1)]),
    columns=4,
    width=7,
    title="Normalised numbers shown as they are, and un-normalised",
)
figures.show(
    fig,
    alt="Upper row: four photographs with harsh, overdone colours, their "
    "shadows and seas turned black. Lower row: the same photographs "
    "looking natural.",
)
results.record(
    ".0%",
    lost=pictures.clipped_fraction(normalised),
    below_zero=(normalised < 0).float().mean(),
)

# %% [markdown]
# <details><summary>Answer</summary>
#
# {{below_zero:.0%}} of the numbers are negative, because the mean now sits at 0. A screen cannot go below black, so
# they all become 0, and what lies above 1 becomes glaring. {{lost:.0%}} of all numbers were cut off. You will meet such
# pictures in tutorials. The network sees the numbers before the cut; only the drawing forgot to **un-normalise**, times
# std, plus mean.
#
# </details>
#
# ### Feed the network by hand
#
# You now have all it takes to ask the network without its helper. This one wants a centre crop of 224 × 224, taken
# from a picture whose shorter side is 256, normalised with mean 0.5 and std 0.5, in a batch. It answers with 1,000
# scores, which `softmax` turns into shares that add up to 1 (lesson 3 says how).

# %%
small = photo.resize((384, 256), Image.Resampling.BICUBIC)
middle = small.crop((80, 16, 304, 240))  # the middle 224 × 224
floats = pictures.to_float(pictures.to_tensor(middle))  # (3, 224, 224)
# unsqueeze puts an axis of length 1 in front: a batch of one picture
inputs = ((floats - 0.5) / 0.5).unsqueeze(0)  # (1, 3, 224, 224), −1 to 1


def say(network, inputs):
    """Return the network's first guess for a batch of one picture."""
    with torch.inference_mode():  # no slopes wanted
        shares = network.model(inputs).softmax(dim=1)[0]  # (1000,)
    return f"{network.classes[shares.argmax()]}, {100 * shares.max():.0f} %"


network.model.eval()  # for use, not for training
print("by hand:  ", say(network, inputs))
print("by helper:", first_guess(network, photo))

# %% [markdown]
# **Predict first.** Now one mistake at a time. Which of these will the network forgive: pixels still between 0 and
# 255, the mean and std forgotten, `reshape` for `permute`, red and blue swapped, the picture mirrored?

# %%
tensor = pictures.to_tensor(middle)  # uint8
channels_last = tensor.permute(1, 2, 0).contiguous()  # (224, 224, 3)
jumbled = channels_last.reshape(3, 224, 224)
inputs_with = {
    "everything right": inputs,
    "not divided by 255": tensor.float().unsqueeze(0),
    "mean and std forgotten": floats.unsqueeze(0),
    "reshape for permute": (pictures.to_float(jumbled) * 2 - 1).unsqueeze(0),
    "red and blue swapped": inputs.flip(1),
    "mirrored": inputs.flip(3),
}
for mistake, given in inputs_with.items():
    print(f"{mistake:23} {say(network, given)}")

# %% tags=["hide-input"]
replies = {
    mistake: say(network, given) for mistake, given in inputs_with.items()
}
assert replies["everything right"] == first_guess(network, photo), (
    "by hand and by helper the answer must be the same; was a cell changed?"
)
wrong = [
    mistake
    for mistake, answer in replies.items()
    if not answer.startswith("espresso")
]
assert wrong == ["not divided by 255", "reshape for permute"], (
    f"expected two mistakes to change the answer, not {wrong}"
)

# %% [markdown]
# <details><summary>Answer</summary>
#
# It forgives three of the five. Two of these are mistakes, and they are the dangerous ones, because the answers get a
# little worse and nothing tells you. It does not forgive the other two. In the jumble that `reshape` makes there is no
# cup to be found, and numbers up to 255 mean nothing to a network that was trained on −1 to 1. Print the smallest and
# largest number of a batch before you use it.
#
# </details>
#
# One mistake is loud. With the channels last, the first layer takes the height for channels.

# %%
try:
    say(network, channels_last.float().unsqueeze(0))  # (1, 224, 224, 3)
except RuntimeError as error:
    print(told(error))

# %% [markdown]
# The numbers in such a message lead to the mistake. (225 and 5 are 224 and 3 with the border of zeros that this network
# adds first; lesson 2 says why.) A picture with 224 channels is one whose axes are in the wrong order.
#
# ### Flattening, and what it costs
#
# The simplest layer of a network, a **dense** layer, takes a plain list of numbers. Each of its outputs is a weighted
# sum of *all* inputs. So a picture has to become a list. We **flatten** it, row after row. Here is an ankle boot from
# Fashion-MNIST, the set of clothes on which lesson 3 trains its first network, grey and 28 × 28.

# %%
clothes = data.load("fashion_mnist")
chosen = clothes.train.of_class("Ankle boot")
chosen = chosen.take(at_most=settings.boots, seed=settings.seed).images
boot = chosen[0]  # (1, 28, 28): grey pictures keep a channel axis
flat = boot.flatten()
print(tuple(boot.shape), "->", tuple(flat.shape))

# %% tags=["hide-input"]
with figures.style():
    fig, axes = plt.subplots(1, 2, figsize=(7, 2.0), width_ratios=[1, 3.2])
    axes[0].imshow(boot[0])
    axes[0].set(title="28 × 28", xticks=[], yticks=[])
    axes[1].imshow(flat[None], aspect="auto", interpolation="nearest")
    axes[1].set(
        title="The same 784 numbers in one row: where is the boot?",
        xlabel="place in the list",
        yticks=[],
    )
    axes[1].grid(False)
    axes[0].grid(False)
figures.show(
    fig,
    alt="Left a small grey picture of an ankle boot. Right the same numbers "
    "as one long row, which looks like a bar code.",
)

# %% [markdown]
# A bar code, and none of the 784 numbers is lost. For pictures this small a dense layer works. With ten outputs, one
# for each kind of clothing, it has 784 weights for each output, plus one number each to add, the **bias**. That makes
# 7,850 numbers to learn. Lesson 3 trains this very layer, and it gets more than four in five pictures right.
#
# So what does flattening cost? Two things. The first is size. Take a modest photograph, 1280 × 720 in colour, and a
# layer with 1,000 outputs.
#
# **Predict first.** How much memory do its weights need: 10 megabytes, 1 gigabyte, more?
#
# (On the `meta` device a layer knows its shapes, but holds no numbers, so this costs nothing.)

# %% tags=["nbval-check-output"]
inputs_count = 1280 * 720 * 3
huge = nn.Linear(inputs_count, 1000, device="meta")
weights_count = sum(p.numel() for p in huge.parameters())
print(f"{weights_count:,} numbers, {weights_count * 4 / 1e9:.1f} GB as float32")

# %% tags=["hide-input"]
assert (
    sum(p.numel() for p in nn.Linear(784, 10).parameters())
    == 784 * 10 + 10
    == 7850
), "784 numbers in and 10 out should make 7,840 weights and 10 biases"
assert weights_count == inputs_count * 1000 + 1000, (
    "expected a layer with 1,000 outputs, biases included; was it changed?"
)
assert sum(p.numel() for p in nn.Conv2d(3, 16, 3).parameters()) == 448, (
    "16 filters of 3 × 3 × 3 and their biases should make 448 numbers"
)

# %% [markdown]
# <details><summary>Answer</summary>
#
# Eleven gigabytes for *one* layer, because every one of the 1,000 outputs needs a weight for each of the 2.8 million
# inputs. The layer of lesson 2, a convolution with 16 filters of 3 × 3, has 448 numbers for a colour picture of any
# size.
#
# </details>
#
# The second cost is deeper. A flattened picture has forgotten which numbers were neighbours.
#
# **Predict first.** We move a boot 3 pixels to the right. As a list of numbers, is it nearer to itself before the
# move, or to some *other* boot? (The distance between two lists is the usual one. Square the differences, add them up,
# take the root.)


# %%
def distance(a, b):
    """Return how far two pictures are apart, as lists of numbers."""
    return ((a - b) ** 2).sum().sqrt()


shoes = pictures.to_float(chosen)[:, 0]  # (N, 28, 28)
shoes = nn.functional.pad(shoes, (0, 3))  # (N, 28, 31), room on the right
moved = shoes[0].roll(3, dims=1)  # the empty columns come round to the left
to_itself = distance(shoes[0], moved)
to_others = torch.stack([distance(shoes[0], each) for each in shoes[1:]])
print(f"itself, moved: {to_itself:.1f}, nearest other: {to_others.min():.1f}")

# %% tags=["hide-input"]
nearest = shoes[1 + to_others.argmin()]
fig = pictures.grid(
    [
        shoes[0],
        moved,
        (shoes[0] - moved).abs(),
        nearest,
        (shoes[0] - nearest).abs(),
    ],
    [
        "a boot",
        "itself, moved",
        f"difference\ndistance {to_itself:.1f}",
        "another boot",
        f"difference\ndistance {to_others.min():.1f}",
    ],
    width=7,
    title="Moved by 3 pixels, a boot is far from itself"
    if to_others.min() < to_itself
    else "This boot is still nearest to itself; most others are not",
)
figures.show(
    fig,
    alt="Five grey pictures: an ankle boot, the same moved a little to the "
    "right, the difference of the two, which is bright along every edge, "
    "another boot, and its difference from the first, which is fainter.",
)
everyone = torch.cdist(shoes.flatten(1), shoes.flatten(1)).fill_diagonal_(
    float("inf")
)
to_selves = (shoes - shoes.roll(3, dims=2)).flatten(1).norm(dim=1)
assert_close(to_selves[0], to_itself)
assert_close(everyone[0].min(), to_others.min(), atol=1e-3, rtol=1e-3)
share_nearer = (everyone.min(dim=1).values < to_selves).float().mean().item()
results.record(".1%", boots_compared=len(shoes), other_is_nearer=share_nearer)
assert share_nearer > 0.8, "other boots should be nearer for most"

# %% [markdown]
# <details><summary>Answer</summary>
#
# To your eyes nothing happened. Yet in the run shown on this page some other boot is nearer for {{other_is_nearer:.1%}}
# of {{boots_compared:,}} boots. In a dense layer every number now meets a weight that was meant for another place. It
# would have to learn each boot again at each place.
#
# </details>
#
# So for real photographs we want a layer that looks at small neighbourhoods and does the same thing everywhere. That
# is a convolution, and lesson 2. What remains here is the other half of the story, how numbers *learn*.
#
# ### Exercises for part 2
#
# **More contrast.** Stretch each picture of a float batch (N, C, H, W) so that its own darkest number becomes 0 and its
# own brightest becomes 1. A picture with the same number everywhere becomes all 0. No loop is needed: `amin` and `amax`
# take `dim=`, the axes to search, and `keepdim=True`, which keeps each of them with length 1.


# %%
def stretch(images): ...


# %%
# Stuck? exercises.lesson1.stretch.hint() or .solution() helps
exercises.lesson1.stretch.check(stretch)

# %% [markdown]
# **How heavy is a dense layer?** Return the number of megabytes (10⁶ bytes) that the weights and biases of a dense
# layer need as float32, for colour pictures of the given size. For 28 × 28 and 10 outputs it is 0.09412.


# %%
def dense_megabytes(width, height, outputs): ...


# %%
# Stuck? exercises.lesson1.dense_megabytes.hint() or .solution() helps
exercises.lesson1.dense_megabytes.check(dense_megabytes)

# %% [markdown]
# ## Part 3: Numbers that learn
#
# ### Slopes
#
# A network learns by changing its numbers a little, in the direction in which its error falls. A **slope** tells us
# that direction. We begin with a curve that you may know from school, and imagine that low is good.
#
# $$y = x^2 - x - 2$$
#
# How steep is it at x = 3? Take a tiny step h to the right and see how far y rises for each unit of the step.


# %%
def f(x):
    """The parabola of this section."""
    return x**2 - x - 2


for h in (1.0, 0.1, 0.01, 0.001):
    print(f"h = {h:5}: slope at 3 is about {(f(3 + h) - f(3)) / h:.3f}")

# %% [markdown]
# The smaller the step, the nearer to 5. Algebra says why. Multiply out and almost everything cancels.
#
# $$\frac{(x+h)^2 - (x+h) - 2 - (x^2 - x - 2)}{h} = \frac{2xh + h^2 - h}{h} = 2x - 1 + h$$
#
# When h goes to 0, the slope is **2x − 1**, which is 5 at x = 3.
#
# **Predict first.** What is the slope at x = −3? And where is the slope 0, and what does the curve look like there?
#
# PyTorch can find it for us. A tensor with `requires_grad=True` remembers what was computed from it, and `backward()`
# leaves the slope in `.grad`. This is called **autograd**.

# %% tags=["nbval-check-output"]
for value in (3.0, -3.0, 0.5):
    x = torch.tensor(value, requires_grad=True)
    y = f(x)
    y.backward()
    print(f"x = {value:4}: 2x − 1 = {2 * value - 1:4}, autograd {x.grad:4}")

# %% [markdown]
# <details><summary>Answer</summary>
#
# −7 at −3, where the curve falls steeply. And 0 at ½, where it is level, at the bottom of the valley. (−5 would be
# right if the curve were its own mirror image around x = 0.)
#
# </details>
#
# Autograd never heard of 2x − 1. Drawn at the curve, the three slopes become **tangents**, straight lines that touch it
# and are as steep as it is there.

# %% tags=["hide-input"]
line = torch.linspace(-4.2, 5.2, 200)
with figures.style():
    fig, ax = plt.subplots(figsize=(6.5, 3.6))
    ax.plot(line, f(line), color=figures.INK)
    for at, colour, beside in zip(
        (-3.0, 0.5, 3.0), COLOURS.values(), ((12, 2), (-20, 12), (14, -10))
    ):
        touching, slope = torch.tensor([at - 1.2, at, at + 1.2]), 2 * at - 1
        ax.plot(
            touching,
            f(at) + slope * (touching - at),
            "o-",
            markevery=[1],
            color=colour,
            markersize=8,
        )
        ax.annotate(
            f"slope {slope:g}".replace("-", "−"),
            (at, f(at)),
            xytext=beside,
            textcoords="offset points",
        )
    ax.set(
        xlabel="x",
        ylabel="y = x² − x − 2",
        title="Falling, level, rising: the slope tells which",
    )
figures.show(
    fig,
    alt="A parabola with its lowest point at x = one half. Tangents are drawn "
    "at minus 3, falling steeply with slope minus 7, at one half, level, "
    "and at 3, rising with slope 5.",
)
for at in (3.0, -3.0, 0.5):
    probe = torch.tensor(at, requires_grad=True)
    f(probe).backward()
    assert probe.grad.item() == 2 * at - 1, "autograd and algebra disagree"

# %% [markdown]
# ### Two steps in a row
#
# How does autograd do it? A network is many simple steps in a row. Take two. A pixel of 0.5 is multiplied by a gain g,
# and we want 0.8 to come out. The error is the squared distance from 0.8.
#
# $$p = 0.5 \cdot g \qquad\qquad e = (p - 0.8)^2$$
#
# How does the error change when g changes a little? Each step alone is easy. A small change of g makes p change 0.5
# times as much. And a small change of p makes e change 2(p − 0.8) times as much.

# %% tags=["hide-input"]
gain_axis, p_axis = torch.linspace(0, 2.4, 50), torch.linspace(0, 1.2, 80)
with figures.style():
    fig, (first, second) = plt.subplots(1, 2, figsize=(7, 3.3))
    first.plot(gain_axis, 0.5 * gain_axis, color=figures.GREY)
    first.plot([1, 1.6, 1.6], [0.5, 0.5, 0.8], color=figures.ORANGE)
    first.plot(1, 0.5, "o", color=figures.BLUE, markersize=8)
    first.annotate(
        "slope 0.5", (1.6, 0.62), xytext=(6, -4), textcoords="offset points"
    )
    first.set(
        xlabel="gain g",
        ylabel="p = 0.5 · g",
        title="Step 1: p rises 0.5 times as fast",
    )
    second.plot(p_axis, (p_axis - 0.8) ** 2, color=figures.GREY)
    touching = torch.tensor([0.3, 0.5, 0.65])
    second.plot(touching, 0.09 - 0.6 * (touching - 0.5), color=figures.ORANGE)
    second.plot(0.5, 0.09, "o", color=figures.BLUE, markersize=8)
    second.annotate(
        "slope −0.6", (0.5, 0.09), xytext=(8, 8), textcoords="offset points"
    )
    second.set(
        xlabel="p",
        ylabel="e = (p − 0.8)²",
        title="Step 2: e falls 0.6 times as fast",
    )
    fig.supxlabel(
        "g rises by 0.01   →   p rises by 0.5 · 0.01 = 0.005   →   "
        "e changes by −0.6 · 0.005 = −0.003",
        fontsize=10,
        color=figures.INK,
    )
figures.show(
    fig,
    alt="Two curves. Left, p over the gain: a straight line of slope 0.5. "
    "Right, the error over p: a parabola with its bottom at 0.8, and at p "
    "= 0.5 a tangent of slope minus 0.6. Below: g rises by 0.01, p by "
    "0.005, e changes by minus 0.003.",
)

# %% [markdown]
# Changes are passed on, so **the slopes of steps in a row multiply**. This is the **chain rule**, and here is
# `backward()` written by hand, from the last step back to the first.

# %% tags=["nbval-check-output"]
g = torch.tensor(1.0, requires_grad=True)
p = 0.5 * g  # step 1
e = (p - 0.8) ** 2  # step 2

e_for_p = 2 * (p.item() - 0.8)  # slope of step 2
p_for_g = 0.5  # slope of step 1
e.backward()
print(f"by hand {e_for_p * p_for_g:.2f}, by autograd {g.grad:.2f}")

# %% tags=["hide-input"]
assert abs(g.grad.item() - e_for_p * p_for_g) < 1e-6, (
    "autograd must give the product of both slopes; was one step changed?"
)

# %% [markdown]
# A negative slope, so the error falls when g rises, as it should. PyTorch knows the slope of each simple step and
# multiplies its way back, through two steps or two hundred. Hence the name `backward`.
#
# ### Many numbers, one gradient
#
# A network has many numbers, and each has its own slope. The list of all these slopes is called the **gradient**, and
# one `backward()` finds all of it. Here are three gains for one pixel, which we want to turn grey, with 0.5 in each
# channel.

# %% tags=["nbval-check-output"]
pixel = torch.tensor([0.8, 0.5, 0.1])  # red, green, blue
three_gains = torch.ones(3, requires_grad=True)
error = ((pixel * three_gains - 0.5) ** 2).sum()
error.backward()
print("gradient:", [round(slope, 2) for slope in three_gains.grad.tolist()])

# %% tags=["hide-input"]
assert_close(
    three_gains.grad, 2 * (pixel - 0.5) * pixel
)  # the chain rule, for each

# %% [markdown]
# Each slope says what to do with its own number. The error rises with red's gain, so turn red down. Green is right,
# leave it. Blue's gain should go up. And look how small blue's slope is, although blue is farthest from 0.5. Its slope
# was multiplied by the pixel, and the pixel is small. Remember this for the last section.
#
# ### Walking downhill
#
# The slope points uphill. To get down, take a small step *against* it, again and again.
#
# **x ← x − rate · slope**
#
# The **learning rate** says how far to trust the slope. This is **gradient descent**. In one form or another it trains
# every network in this course.


# %%
def walk(start, rate, steps):
    """Walk down the parabola from `start`; return every place visited."""
    x, places = float(start), [float(start)]
    for _ in range(steps):
        slope = 2 * x - 1
        x = x - rate * slope
        places.append(x)
    return torch.tensor(places, dtype=torch.float64)


by_hand = walk(start=3, rate=0.1, steps=20)
print([round(place, 3) for place in by_hand[:6].tolist()])

# %% tags=["hide-input"]
valley = torch.linspace(-4, 5, 200)
with figures.style():
    fig, ax = plt.subplots(figsize=(6.5, 3.4))
    ax.plot(valley, f(valley), color=figures.GREY, linewidth=1.5)
    ax.plot(
        by_hand, f(by_hand), "o-", color=figures.BLUE, markersize=5, linewidth=1
    )
    ax.plot(by_hand[0], f(by_hand[0]), "s", color=figures.RED, markersize=8)
    ax.annotate(
        "start",
        (by_hand[0], f(by_hand[0])),
        xytext=(-36, 4),
        textcoords="offset points",
    )
    ax.set(xlim=(-4, 5), ylim=(-4, 18), yticks=[0, 5, 10, 15])
    ax.set(xlabel="x", ylabel="y = x² − x − 2")
    ax.set_title("Rate 0.1: the flatter it gets, the shorter the steps")
figures.show(
    fig,
    alt="A parabola with a walk that starts at a square at x = 3 and goes "
    "down along the curve in ever shorter steps towards the lowest point "
    "at one half.",
)
moves = by_hand.diff().abs()
assert (moves[1:] < moves[:-1]).all() and abs(by_hand[-1] - 0.5) < 0.05, (
    "each step should be shorter, the end near ½; was the rate changed?"
)

# %% [markdown]
# The steps shrink by themselves, although the rate never changed, because the slope gets smaller towards the bottom.
#
# In PyTorch nobody writes the slope by hand. Here is the same walk with autograd and an **optimizer**, the part that
# takes the steps (`SGD` stands for stochastic gradient descent; chance comes in with lesson 3, where each step sees
# other pictures).

# %%
x = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
optimizer = torch.optim.SGD([x], lr=0.1)
visited = [x.item()]
for _ in range(20):
    y = f(x)  # measure the error
    optimizer.zero_grad()  # clear the old slope
    y.backward()  # find the new one
    optimizer.step()  # step against it
    visited.append(x.item())
assert_close(torch.tensor(visited, dtype=torch.float64), by_hand)

# %% [markdown]
# **Pitfall: the walk without zero_grad.** Each `backward()` *adds* to `.grad` and does not replace what is there.
# PyTorch adds on purpose, since sometimes one wants the sum over several batches.

# %% tags=["nbval-check-output"]
x = torch.tensor(3.0, requires_grad=True)
for _ in range(3):
    f(x).backward()
    print("slope at 3:", x.grad.item())

# %% [markdown]
# So without `zero_grad` each step of the walk uses the sum of all slopes so far.
#
# **Predict first.** Will the walk still end at ½? Faster, slower, or not at all?

# %%
x = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
optimizer = torch.optim.SGD([x], lr=0.1)
forgetful = [x.item()]
for _ in range(60):
    f(x).backward()  # zero_grad is missing
    optimizer.step()
    forgetful.append(x.item())

# %% tags=["hide-input"]
with figures.style():
    fig, ax = plt.subplots(figsize=(7, 3.0))
    ax.axhline(0.5, color=figures.GREY, linewidth=1)
    ax.plot(
        forgetful, color=figures.RED, linestyle="--", label="without zero_grad"
    )
    ax.plot(walk(3, 0.1, 60), color=figures.BLUE, label="with zero_grad")
    ax.set(
        xlabel="step",
        ylabel="x",
        title="Slopes that add up overshoot the valley, again and again",
    )
    ax.margins(y=0.22)
    ax.legend(loc="upper right", ncols=2)
figures.show(
    fig,
    alt="Two lines over 60 steps. With zero_grad x falls smoothly to one half "
    "and stays. Without it x swings up and down around one half and never "
    "settles.",
)
assert max(forgetful[30:]) > 2.5 and min(forgetful[30:]) < -1.5, (
    "without zero_grad x should swing to the end; was the rate changed?"
)

# %% [markdown]
# <details><summary>Answer</summary>
#
# Not at all. It swings for ever, like a ball in a bowl without friction, because the old slopes keep pushing after the
# bottom has been passed. No error message comes. Only the curve shows the mistake.
#
# </details>
#
# ### Explore the learning rate
#
# One walk, and you are the optimizer. Choose a rate, then press *One step* again and again. The line below the picture
# says what the next step will be; check it in your head before you take it. (Without a kernel you see six rates, eight
# steps each.)
#
# **Predict first.** What does rate ½ do? What does rate 1 do, exactly? And 1.05?

# %%
widgets.lesson1.learning_rate()

# %% [markdown]
# <details><summary>Answer</summary>
#
# Rate ½ hits the bottom in a single step. Rate 1 jumps from 3 to −2 and back, for ever. Rate 1.05 climbs *out* of the
# valley.
#
# </details>
#
# Why is 1 the border? Let d = x − ½ be the distance to the bottom. The slope 2x − 1 is just 2d. One step makes
#
# $$d_{\text{new}} = d - \text{rate} \cdot 2d = (1 - 2 \cdot \text{rate}) \cdot d$$
#
# So **each step multiplies the distance by 1 − 2 · rate**, whatever x is. That single factor explains every walk.

# %% tags=["nbval-check-output"]
for each in (0.02, 0.1, 0.5, 0.9, 1.0, 1.05):
    left = (walk(3, each, 8)[-1] - 0.5).abs()
    print(f"rate {each:4}: factor {1 - 2 * each:5.2f}, 2.5 becomes {left:.3f}")

# %% tags=["hide-input"]
for each in (0.02, 0.1, 0.5, 0.9, 1.0, 1.05):
    distances = walk(3, each, 8) - 0.5
    assert_close(
        distances[1:], (1 - 2 * each) * distances[:-1], atol=1e-12, rtol=0
    )

# %% [markdown]
# Below rate ½ the factor is positive, and the walk comes nearer from one side. Between ½ and 1 it is negative, so the
# walk changes sides and still comes nearer. At 1 the distance stays as it is. Above 1 every step makes the distance
# *larger*, and the walk **diverges**.
#
# The 2 in the factor is how sharply this parabola bends. A sharper valley has a lower border, a flatter one a higher
# one. A network may have millions of numbers, some in sharp valleys, some in flat ones, and one rate for all. That is
# why choosing the rate is an art, and why lesson 6 is about nothing else.
#
# ### A picture teaches three numbers
#
# Now we bring the lesson together. Somebody multiplied the channels of our photograph by three secret numbers. We have
# the picture before and after. Can gradient descent find the secret?

# %%
secret = torch.tensor([0.5, 1.5, 1.5]).view(3, 1, 1)
before = coffee[:, ::4, ::4]  # every fourth pixel is enough
after = before * secret  # not clamped: we compare numbers

# %% [markdown]
# The error is called the **loss** from now on. It is the mean squared difference between our picture and theirs. We
# begin with gains of 1, so each of the three is exactly ½ away from its secret. The line that measured the error has
# become two, and the **five lines** in the loop below are the heart of every training loop in this course. Predict,
# compare, clear, differentiate (find the gradient), step.


# %%
def learn_gains(before, after, rate, steps):
    """Find one gain per channel; return the gains after each step."""
    gains = torch.ones(3, 1, 1, requires_grad=True)
    optimizer = torch.optim.SGD([gains], lr=rate)
    history = []
    for _ in range(steps):
        predicted = before * gains  # 1. predict
        loss = ((predicted - after) ** 2).mean()  # 2. compare
        optimizer.zero_grad()  # 3. clear
        loss.backward()  # 4. differentiate
        optimizer.step()  # 5. step
        # detach: the numbers alone, without their gradients' history
        history.append(gains.detach().flatten().clone())
    return torch.stack(history)  # (steps, 3)


# %% [markdown]
# **Predict first.** All three start at the same distance. Which gain will be found first, and which last? Think of how
# bright each channel is.

# %%
learned = learn_gains(before, after, rate=0.5, steps=40)
print("found: ", [round(gain, 3) for gain in learned[-1].tolist()])
print("secret:", [round(gain, 3) for gain in secret.flatten().tolist()])

# %% tags=["hide-input"]
remaining = (
    learned - secret.flatten()
).abs() / 0.5  # (steps, 3): the share of the way still to go
with figures.style():
    fig, ax = plt.subplots(figsize=(7, 3.3))
    for i, (name, colour) in enumerate(COLOURS.items()):
        ax.plot(range(41), [100, *(100 * remaining[:, i])], color=colour)
        ax.annotate(
            name,
            (40, 100 * remaining[-1, i]),
            xytext=(5, 0),
            textcoords="offset points",
            color=colour,
            va="center",
        )
    ax.set(
        yscale="log", xlabel="step", ylabel="distance left, %", xlim=(0, 43.5)
    )
    ax.set(yticks=[100, 10, 1, 0.1], yticklabels=["100", "10", "1", "0.1"])
    ax.set_title("Same start, same rate: red is found soon, blue crawls")
figures.show(
    fig,
    alt="Three falling straight lines over 40 steps, on a logarithmic axis of "
    "the distance left. Red falls to about 0.2 %, green to about 10 %, "
    "blue only to about 32 %.",
)
results.record(
    ".1%",
    red_left=remaining[-1, 0],
    green_left=remaining[-1, 1],
    blue_left=remaining[-1, 2],
)
factor = 1 - 0.5 * 2 / 3 * before.square().mean(dim=(1, 2))
assert_close(remaining[-1], factor**40, atol=1e-4, rtol=1e-3)
assert (
    remaining[-1, 0] < 0.01
    and 0.05 < remaining[-1, 1] < 0.15
    and 0.25 < remaining[-1, 2] < 0.4
), "red should be found soon, green later, blue last; was the rate changed?"

# %% [markdown]
# <details><summary>Answer</summary>
#
# Red is found after 40 steps, to within {{red_left:.1%}} of the way. Green still has {{green_left:.0%}} to go, and blue
# {{blue_left:.0%}}. This is a picture of red things. Its blue numbers are small, and as you saw above, small numbers
# make small slopes, and small slopes make small steps. On the upright axis each mark is a tenth of the one above it;
# such an axis is called **logarithmic**. On it each line is straight, because each step multiplies the distance by a
# fixed factor, as on the parabola. Each gain has a parabola of its own.
#
# </details>
#
# Is blue only waiting for a larger rate? And what if the numbers of each channel had the same size? We divide both
# pictures by the usual size of each channel, the root of the mean square, which leaves the secret as it is. Then we
# count, at each rate, the steps until all three gains are within 0.1 % of the way.


# %%
def steps_needed(before, after, secret, rate, most=300):
    """Return how many steps bring all gains within 0.1 % of the way."""
    gains = learn_gains(before, after, rate, most)
    there = ((gains - secret.flatten()).abs() < 0.0005).all(dim=1).nonzero()
    return there[0].item() + 1 if len(there) else "never"


usual = before.square().mean(dim=(1, 2), keepdim=True).sqrt()  # (3, 1, 1)
print("rate   as they are   evened out")
for rate in (0.5, 1, 1.5, 2, 4, 5.5, 6.5, 7):
    plain = steps_needed(before, after, secret, rate)
    evened = steps_needed(before / usual, after / usual, secret, rate)
    print(f"{rate:4} {plain:>13} {evened:>12}")

# %% tags=["hide-input"]
tried = [rate / 4 for rate in range(2, 27)]
plain_steps = [
    n
    for rate in tried
    if (n := steps_needed(before, after, secret, rate, most=50)) != "never"
]
evened_steps = [
    n
    for rate in tried
    if (n := steps_needed(before / usual, after / usual, secret, rate, most=50))
    != "never"
]
assert (min(plain_steps), min(evened_steps)) == (19, 1), (
    f"expected 19 steps and 1, not {min(plain_steps)} and {min(evened_steps)}"
)
assert (
    steps_needed(before, after, secret, 7) == "never"
    and steps_needed(before, after, secret, 6.5) != "never"
), "as they are, rate 6.5 should still arrive, and rate 7 diverge"
results.record(
    best_steps_plain=min(plain_steps), best_steps_evened=min(evened_steps)
)

# %% [markdown]
# A larger rate helps, but only up to a limit, and red sets it. Red's valley is the sharpest, so red is the first to
# diverge. With the best rate for each, the pictures as they are take {{best_steps_plain}} steps and the evened ones
# {{best_steps_evened}}. All three valleys now bend alike, so one rate is right for all. In a network the valleys never
# become quite alike, but evening out helps there too, which is one reason why pictures are normalised. (Normalising
# also subtracts the mean. That matters as soon as a brightness is learned beside the gains, as in the last exercise.)
#
# The loop never heard of colours. It had pictures, a loss and slopes. A network has perhaps a million numbers instead
# of three. The five lines in the loop stay the same.
#
# ### Exercises for part 3
#
# **The perfect rate.** For the parabola y = a·x² + b·x + c with a > 0, which learning rate reaches the bottom in a
# single step, from anywhere? Derive the factor of a step as above, and find the rate that makes it 0.


# %%
def perfect_rate(a): ...


# %%
# Stuck? exercises.lesson1.perfect_rate.hint() or .solution() helps
exercises.lesson1.perfect_rate.check(perfect_rate)

# %% [markdown]
# **An experiment: what did the filter do?** A photo app multiplied each channel by a gain and then added one brightness
# to all. You get the picture before and after, (3, H, W), not clamped. Find the four numbers by gradient descent and
# return them as one tensor (gain of red, of green, of blue, brightness), rounded with `.round(decimals=2)`. The rate
# and the number of steps are yours to choose. Try it on `before` and `after` from above. Begin with a rate of 0.1 and
# 100 steps, print the loss, and see how far each of the two can go. (Normalising makes it faster, but then the four
# numbers must be brought back.)


# %%
def find_filter(before, after): ...


# %%
# Stuck? exercises.lesson1.find_filter.hint() or .solution() helps
exercises.lesson1.find_filter.check(find_filter)

# %% [markdown]
# ## Quiz
#
# Choose an answer, and read why it is right or wrong. Then read the others too. (In a copy without a kernel, unfold
# *Answers* below each question.)

# %%
exercises.lesson1.quiz.ask(1)

# %% tags=["hide-input"]
cat = np.array(pictures.photograph("cat"))
broken = {
    "cat[:, :, ::-1]": cat[:, :, ::-1],
    "cat + np.uint8(80)": cat + np.uint8(80),
    "cat.reshape(3, *cat.shape[:2])": cat.reshape(3, *cat.shape[:2]).transpose(
        1, 2, 0
    ),
    "cat // 128 * 255": (cat // 128 * 255).astype(np.uint8),
}
options = exercises.lesson1.quiz.questions[1].options
for number, call in enumerate(broken, 1):  # each line stands in one answer
    (option,) = [each for each in options if call in each.text]
    assert option.right == (number == 2), "the right answer is photograph 2"
    assert option.right or f"made photograph {number}" in option.why, (
        "a wrong answer should say which photograph its line has made"
    )
fig = pictures.grid(
    [Image.fromarray(np.ascontiguousarray(view)) for view in broken.values()],
    ["photograph 1", "photograph 2", "photograph 3", "photograph 4"],
    columns=2,
    width=7,
    title="The same cat, four accidents",
)
figures.show(
    fig,
    alt="Four versions of a cat's photograph. In 1 the fur is bluish. In 2 "
    "the brightest parts of the fur have turned turquoise. 3 is "
    "a jumble of faint stretched cats with stripes. 4 is black, "
    "red, yellow and white.",
)

# %%
exercises.lesson1.quiz.ask(2)

# %%
exercises.lesson1.quiz.ask(3)

# %%
exercises.lesson1.quiz.ask(4)

# %%
exercises.lesson1.quiz.ask(5)

# %% [markdown]
# ## What you learned
#
# - A picture is a table of numbers, 8 bits for each of red, green and blue, row after row from the top left.
# - Pillow says (width, height), NumPy (height, width, channel), PyTorch (channel, height, width), and a batch is (N,
#   C, H, W).
# - `uint8` wraps around. `permute` reorders axes, `reshape` recuts the street of numbers. Shapes line up from the
#   right.
# - A trained network forgives some accidents and not others, and says nothing either way. Look at what you feed it.
# - A dense layer works on small pictures. On a photograph it needs billions of weights and does not know which pixels
#   were neighbours.
# - Slopes of steps in a row multiply, which is how autograd finds the gradient. Gradient descent walks against it, and
#   too large a rate diverges.
#
# ## Where the code lives
#
# | what you built | where it lives |
# | --- | --- |
# | opening a picture, safely and the right way up | `pictures.open_picture` |
# | picture ↔ tensor | `pictures.to_tensor`, `to_picture` |
# | 0…255 to 0…1, colour to grey, gains and brightness | `pictures.to_float`, `to_grey`, `mix` |
# | normalise and undo | `pictures.normalise`, `unnormalise` |
# | the trained network, and what you fed it by hand | `transfer.backbone`, its `predict` |
# | clothes, sliders, checks of your answers | `data.load`, `widgets.lesson1`, `exercises.lesson1` |
#
# ## What next
#
# [Lesson 2: Convolution by hand](02_convolution_by_hand.ipynb) builds the layer that looks at small neighbourhoods and
# does the same thing everywhere. It finds edges with nine numbers.
