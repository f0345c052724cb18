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
# # Convolution by hand
#
# [Open in Colab][colab] · [Open on Binder][binder]
#
# [colab]: https://colab.research.google.com/github/pixels-to-predictions/pixels-to-predictions/blob/main/notebooks/02_convolution_by_hand.ipynb
# [binder]: https://mybinder.org/v2/gh/pixels-to-predictions/pixels-to-predictions/main?urlpath=lab%2Ftree%2Fnotebooks%2F02_convolution_by_hand.ipynb
#
# **The question: how does a network see an edge?**
#
# In lesson 1 a picture became a table of numbers. A network has to get from those numbers to "this is a 2".
# In many networks for pictures the first step is one small operation, the **convolution**. By the end of this
# lesson you will have built it three times by hand, matched it against the library, and watched a computer
# find its own filters.
#
# **After this lesson you will be able to**
#
# - say what a convolution computes, and do one cell of it on paper;
# - write it as loops, as slices and as one matrix product, and say where the time goes;
# - work out the size of any output: padding, stride, dilation, pooling;
# - read a layer's weights, count them, and say how much of the picture one output cell sees;
# - let gradient descent *learn* a filter instead of designing it.
#
# **You need** lesson 1: tensors (C, H, W), slicing, and one walk down a slope by gradient descent. **Time:** on
# {{cores}} processor cores the cells ran in {{quick.seconds:.0f}} seconds with the profile `quick` and in
# {{full.seconds:.0f}} with `full`. Reading and guessing take longer, and should.
#
# **Contents**
#
# 1. [A filter that tells a one from a two](#A-filter-that-tells-a-one-from-a-two)
# 2. [One output cell at a time](#One-output-cell-at-a-time)
# 3. [One kernel number at a time](#One-kernel-number-at-a-time)
# 4. [One matrix product](#One-matrix-product)
# 5. [Four versions and one answer](#Four-versions-and-one-answer)
# 6. [Convolution or correlation](#Convolution-or-correlation)
# 7. [Padding stride and dilation](#Padding-stride-and-dilation)
# 8. [The size of the output](#The-size-of-the-output)
# 9. [Many channels](#Many-channels)
# 10. [Blur sharpen and Sobel](#Blur-sharpen-and-Sobel)
# 11. [Explore kernels on a photograph](#Explore-kernels-on-a-photograph)
# 12. [ReLU keeps one side](#ReLU-keeps-one-side)
# 13. [Pooling](#Pooling)
# 14. [Explore the arithmetic of one cell](#Explore-the-arithmetic-of-one-cell)
# 15. [Receptive field](#Receptive-field)
# 16. [How many numbers to learn](#How-many-numbers-to-learn)
# 17. [Learning a filter](#Learning-a-filter)
# 18. [Eighteen numbers that read digits](#Eighteen-numbers-that-read-digits)
# 19. [Pitfalls](#Pitfalls)
# 20. [Exercises](#Exercises) · [Quiz](#Quiz) · [What you learned](#What-you-learned) ·
#     [Where the code lives](#Where-the-code-lives) · [What next](#What-next)

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

import time
from itertools import product
from statistics import median

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from course_utils import convolution, exercises, figures, pictures, profiles, results, widgets
from course_utils.convolution import worked

# %% [markdown]
# The settings worth changing. `None` means "as the profile says".

# %% tags=["parameters"]
profile = "auto"  # "quick", "full", or "auto": full with a GPU, quick without
seed = None  # start of the random numbers; None means "as the profile says"
timing_side = None  # side, in pixels, of the picture that the four versions race on
timing_rounds = None  # how often each version runs; its median time counts

# %% tags=["hide-input"]
settings = profiles.load("02", profile, seed=seed, timing_side=timing_side, timing_rounds=timing_rounds)
torch.set_num_threads(1)  # tiny pictures: to share them among cores costs more than it saves

# %% [markdown]
# ## A filter that tells a one from a two
#
# Here are two digits, drawn with the keyboard: `#` is ink, `.` is empty. Ten rows and ten columns are enough.
# Turn every `#` into 1 and every `.` into 0, and both are tensors (10, 10).

# %%
DRAWING = """
..........  ..........
....##....  ..#####...
...###....  .##...##..
....##....  ......##..
....##....  .....##...
....##....  ....##....
....##....  ...##.....
....##....  ..##......
...####...  .#######..
..........  ..........
"""
rows = [line.split() for line in DRAWING.strip().split("\n")]
one, two = (torch.tensor([[float(sign == "#") for sign in row[i]] for row in rows]) for i in range(2))
one.shape, two.shape


# %% [markdown]
# We shall look at many small pictures side by side, so here is one drawing function for all of them. With
# `limit` the numbers may be negative: blue is below zero, white is zero, red is above. On a first reading, skip
# the drawing and look at what it shows.


# %%
def panels(shown, titles, headline, limit=None, size=2.5):
    """Draw tensors (H, W) side by side: grey from 0 to 1, or blue-white-red from −limit to limit."""
    look = {"vmin": 0, "vmax": 1} if limit is None else {"vmin": -limit, "vmax": limit, "cmap": figures.DIVERGING}
    shape = (size * len(shown) + 0.6, size * shown[0].shape[0] / shown[0].shape[1] + 0.75)
    with figures.style():
        fig, axes = plt.subplots(1, len(shown), figsize=shape, squeeze=False)
        for ax, picture, title in zip(axes[0], shown, titles):
            drawn = ax.imshow(picture, **look)
            ax.set_title(title, fontsize=10, fontweight="normal")
            ax.axis("off")
        if limit:
            fig.colorbar(drawn, ax=axes, shrink=0.85)
        fig.suptitle(headline, x=0.01, ha="left", fontsize=11, fontweight="bold")
    return fig


# %% [markdown]
# The two digits, drawn as pictures:

# %%
fig = panels([one, two], ["one", "two"], "A one stands upright, a two slants and bends", size=2.2)
figures.show(
    fig,
    alt="A one and a two in white on black, ten by ten pixels each. The one is a straight upright stroke "
    "on a short foot; the two has a curved top, a long diagonal and a flat foot.",
)

# %% [markdown]
# What tells them apart? The 1 is almost all *upright sides*. The 2 has a slanting stroke and a flat foot. So
# let us build something that answers "is there an upright side here?".
#
# An upright side is a place where pixels on the right differ from pixels on the left. Take the right column
# of a 3×3 piece of the picture, subtract the left column: that is all this little table of nine numbers does.
# It is called a **kernel**, or a **filter**.

# %%
vertical = torch.tensor([
    [-1.0, 0.0, 1.0],
    [-1.0, 0.0, 1.0],
    [-1.0, 0.0, 1.0],
])  # fmt: skip
torch.equal(vertical, convolution.kernel("vertical edges"))

# %% [markdown]
# Lay the kernel on a 3×3 **window** of the picture. Multiply each pixel by the number lying on it. Add the
# nine products. One window gives one number.

# %%
# NBVAL_CHECK_OUTPUT
window = one[1:4, 3:6]  # rows 1 to 3, columns 3 to 5: the top of the stroke
print(window.int())
print((window * vertical).int())
print("sum:", (window * vertical).sum().item())

# %% [markdown]
# Three pixels of ink lie under the +1s, and one, the tip of the 1, under the −1s: 3 − 1 = 2. The middle
# column counts for nothing.
#
# **Predict first.** Go down to rows 4 to 6, where the stroke is plain. What comes out (a) in the empty
# corner, (b) where the stroke fills only the right column, (c) where it fills the middle *and* the right
# column, (d) where it fills only the left column?

# %%
# NBVAL_CHECK_OUTPUT
for name, left in (("(a) empty", 0), ("(b) right column", 2), ("(c) middle and right", 3), ("(d) left column", 5)):
    window = one[4:7, left : left + 3]
    print(f"{name:20} columns {left} to {left + 2}: {(window * vertical).sum().item():.0f}")

# %% [markdown]
# (a) Nothing minus nothing is 0, and a window full of ink would give 0 too: this kernel is blind to flat
# areas, bright or dark. That is why its nine numbers sum to 0. (b) Three times 1 is 3. (c) Still 3. If you
# said 6, because there is twice the ink: the middle column is multiplied by zeros. (d) Now the ink is left
# and the emptiness right, and the sign turns: −3. **The size says how strong the edge is, the sign says which
# side is bright.**

# %% [markdown]
# ## One output cell at a time
#
# Now slide the window over all places: left to right, top to bottom. Each place gives one cell of the
# **output**, also called a *feature map*. A 3×3 window fits into 10 columns at 8 places, so 10×10 pixels give
# 8×8 cells. Written as loops, this is the definition of the whole lesson:


# %%
def corr2d_loops(picture, kernel):
    """Slide kernel (kh, kw) over picture (H, W); return (H − kh + 1, W − kw + 1)."""
    kh, kw = kernel.shape
    output = picture.new_zeros(picture.shape[0] - kh + 1, picture.shape[1] - kw + 1)
    for row, column in product(range(output.shape[0]), range(output.shape[1])):
        window = picture[row : row + kh, column : column + kw]
        output[row, column] = (window * kernel).sum()
    return output


print(corr2d_loops(one, vertical).int())

# %% [markdown]
# Is that really what PyTorch computes? `F.conv2d` wants a batch of pictures with channels, (N, C, H, W), and
# a batch of filters, so we add two axes of length 1 with `[None, None]`. The helper in
# `course_utils.convolution` works on batches as well. All three agree to the bit.

# %%
theirs = F.conv2d(one[None, None], vertical[None, None])[0, 0]
helper = convolution.corr2d_loops(one[None, None], vertical[None, None])[0, 0]
torch.testing.assert_close(corr2d_loops(one, vertical), theirs, rtol=0, atol=0)
torch.testing.assert_close(corr2d_loops(one, vertical), helper, rtol=0, atol=0)
print("equal:", tuple(theirs.shape))

# %% [markdown]
# **Predict first.** Here come the feature maps of both digits, for the vertical kernel and for its twin that
# is turned on its side (`vertical.T`, bottom row minus top row). Which of the four maps will be almost empty?

# %%
horizontal = vertical.T
digits = {"one": one, "two": two}
maps = {
    f"{name}: {edge}": corr2d_loops(digit, kernel)
    for name, digit in digits.items()
    for edge, kernel in (("vertical", vertical), ("horizontal", horizontal))
}
headline = "The one is nearly all upright edges, the two has both kinds"
fig = panels(list(maps.values()), list(maps), headline, limit=3, size=2.1)
figures.show(
    fig,
    alt="Four maps of eight by eight cells. The one has a strong red and a strong blue column for "
    "vertical edges and almost nothing for horizontal ones; the two shows both kinds of edges.",
)

# %% [markdown]
# The 1 answers loudly to the vertical kernel and hardly at all to the other: only its top, its tip and its
# foot have level edges. The 2 answers to both. So add up how loud each map is, whatever the sign, and compare.

# %%
# NBVAL_CHECK_OUTPUT
loud = {name: response.abs().sum().item() for name, response in maps.items()}
ratios = {name: loud[f"{name}: vertical"] / loud[f"{name}: horizontal"] for name in digits}
for name, ratio in ratios.items():
    amounts = loud[f"{name}: vertical"], loud[f"{name}: horizontal"]
    print(f"{name}: vertical {amounts[0]:.0f}, horizontal {amounts[1]:.0f}, ratio {ratio:.1f}")

# %%
results.record(one_ratio=ratios["one"], two_ratio=ratios["two"])

# %% [markdown]
# The 1 has {{one_ratio:.1f}} times as much vertical as horizontal edge, the 2 only {{two_ratio:.1f}} times.
# One rule, "ratio above 2 means 1", tells these two apart. That is a classifier: filters, a summary of their
# answers, a decision. A convolutional network follows the same plan. It has more filters, and it *learns*
# them; at the end of this lesson we shall let it.
#
# One more property makes all this worthwhile. Move the digit, and its map moves along: the filter need not
# know *where* the stroke is.

# %%
moved = torch.roll(one, shifts=(-1, 2), dims=(0, 1))  # one pixel up, two to the right
map_of_moved = corr2d_loops(moved, vertical)
moved_map = torch.roll(corr2d_loops(one, vertical), shifts=(-1, 2), dims=(0, 1))
print("same map, moved:", torch.equal(map_of_moved[1:-1, 2:], moved_map[1:-1, 2:]))

# %% [markdown]
# (We left out the border cells, because `torch.roll` brings back on one side what it pushes out on the
# other.) A dense layer has no such property. It would have to learn the stroke anew for every place.

# %% [markdown]
# ## One kernel number at a time
#
# The loops visit 64 places and do nine products at each. Turn that inside out: take *one* kernel number, and
# do its product for *all* places at once. The pixels it meets on its way are again a rectangle, a shifted
# **slice** of the picture. Nine slices, nine whole-picture products, one sum.


# %%
def corr2d_slices(picture, kernel):
    """The same sum in another order: for each kernel number, one slice of the picture for all places."""
    kh, kw = kernel.shape
    height, width = picture.shape[0] - kh + 1, picture.shape[1] - kw + 1
    output = picture.new_zeros(height, width)
    for i, j in product(range(kh), range(kw)):
        output += kernel[i, j] * picture[i : i + height, j : j + width]
    return output


assert torch.equal(corr2d_slices(two, vertical), corr2d_loops(two, vertical))
assert (512 - 2) * (341 - 2) == 172_890  # places for a 3×3 window in a photograph of that size
helper = convolution.corr2d_slices(two[None, None], vertical[None, None])[0, 0]
torch.testing.assert_close(corr2d_slices(two, vertical), helper)
print("slices give what loops give:", tuple(helper.shape))

# %% [markdown]
# Same products, same answer. But Python now runs around the loop 9 times instead of 64 times, and for a
# photograph of 512×341 pixels still only 9 times instead of 172,890 times. The rest happens inside PyTorch,
# in compiled code.

# %% [markdown]
# ## One matrix product
#
# There is a third order. Write each window as a *column* of nine numbers, and put the columns side by side.
# Write the kernel as a *row* of nine. Row times matrix: every output cell in one product. Let us do it on a
# 4×4 picture whose pixels are simply numbered, so that we can follow them.


# %%
def windows_as_columns(picture, side):
    """Return (side · side, places): each window of the picture as one column."""
    height, width = picture.shape[0] - side + 1, picture.shape[1] - side + 1
    places = product(range(height), range(width))
    return torch.stack([picture[r : r + side, c : c + side].flatten() for r, c in places], dim=1)


numbered = torch.arange(1.0, 17.0).view(4, 4)
columns = windows_as_columns(numbered, 3)
torch.testing.assert_close(columns, F.unfold(numbered[None, None], 3)[0])
print(tuple(columns.shape), "and F.unfold does the same")

# %% [markdown]
# Here is the whole product, with one window marked on its way through.

# %%
with figures.style():
    fig, axes = plt.subplots(1, 4, figsize=(9.2, 4.3), width_ratios=(4, 9, 4, 4))
    convolution.number_grid(axes[0], numbered, {(r, c) for r in range(3) for c in range(1, 4)}, tall=9)
    convolution.number_grid(axes[1], vertical.view(1, 9), tall=9)
    convolution.number_grid(axes[2], columns, {(r, 1) for r in range(9)}, tall=9)
    convolution.number_grid(axes[3], vertical.view(1, 9) @ columns, {(0, 1)}, figures.BLUE, tall=9)
    for ax, name in zip(axes, ("picture (4, 4)", "kernel as a row (1, 9)", "windows (9, 4)", "output (1, 4)")):
        ax.set_xlabel(name)
    fig.suptitle("Each window becomes a column", x=0.01, ha="left", fontsize=11, fontweight="bold")
figures.show(
    fig,
    alt="A four by four picture with the upper right window marked; the kernel as one row of nine "
    "numbers; a table of nine rows and four columns whose second column holds the marked window; and "
    "the row of four results, the second marked.",
)

# %% [markdown]
# The marked window (2, 3, 4, 6, 7, 8, 10, 11, 12) is the second column, and gives the second cell of the
# output. All four cells are 6: in this picture the pixel two steps to the right is always 2 more, and three
# rows of that make 6.
#
# With `F.unfold` making the columns, the whole convolution is one line, and one matrix product is what
# computers do best. The price is memory: overlapping windows hold the same pixel again and again.


# %%
def corr2d_unfold(picture, kernel):
    """Windows as columns, kernel as a row, one matrix product."""
    kh, kw = kernel.shape
    columns = F.unfold(picture[None, None], (kh, kw))[0]  # (kh · kw, places)
    return (kernel.flatten() @ columns).view(picture.shape[0] - kh + 1, picture.shape[1] - kw + 1)


helper = convolution.corr2d_unfold(two[None, None], vertical[None, None])[0, 0]
torch.testing.assert_close(corr2d_unfold(two, vertical), corr2d_loops(two, vertical))
torch.testing.assert_close(corr2d_unfold(two, vertical), helper)
print(f"the two: {two.numel()} pixels, but {F.unfold(two[None, None], 3).numel()} numbers in its columns")

# %% [markdown]
# ## Four versions and one answer
#
# Loops, slices, matrix product, library. On the digits they agree exactly, because whole numbers this small
# have no rounding. On a photograph the sums are rounded, and each version adds in its own order. Here is how
# far they come apart, in 32-bit and in 64-bit floats.

# %%
coffee = pictures.to_float(pictures.to_tensor(pictures.photograph("coffee")))  # (3, H, W)
coffee_grey = pictures.to_grey(coffee)[0]  # (H, W)
side = settings.timing_side
track = F.interpolate(coffee_grey[None, None], size=(side, side), mode="area")[0, 0]
box = convolution.kernel("box blur")  # nine times 1/9

versions = {
    "loops": corr2d_loops,
    "slices": corr2d_slices,
    "unfold": corr2d_unfold,
    "F.conv2d": lambda picture, kernel: F.conv2d(picture[None, None], kernel[None, None])[0, 0],
}
print(f"racing on a picture of {side}×{side} pixels: {(side - 2) ** 2:,} output cells")

# %% [markdown]
# First the check: how far is each version from the exact sum?

# %%
exact = corr2d_loops(track.double(), box.double())  # 64-bit floats: some sixteen decimals
for name, version in versions.items():
    found = version(track, box)
    torch.testing.assert_close(found, exact.float())
    apart = (found - exact).abs().max().item()
    apart_64 = (version(track.double(), box.double()) - exact).abs().max().item()
    print(f"{name:9} farthest from the exact sum: 32-bit {apart:.0e}, 64-bit {apart_64:.0e}")

# %% [markdown]
# The pixels lie between 0 and 1, and a 32-bit float keeps about seven decimals: a difference in the seventh
# is all that rounding and the order of adding can do. With 64 bits it is about the sixteenth (and for the
# loops nothing, as they set the mark). **Equal to the last decimal that floats allow** is what "the same"
# means for floats, and what `torch.testing.assert_close` checks.
#
# **Predict first.** By how much is the library faster than the loops: 10 times, 100 times, 1000 times? Write
# down a guess. Each runs on one core.


# %%
def typical_ms(version, rounds):
    """Return the median time of one call, in milliseconds."""
    series = []
    for _ in range(rounds):
        start = time.perf_counter()
        version(track, box)
        series.append(1000 * (time.perf_counter() - start))
    return median(series)


rounds = settings.timing_rounds
typical = {name: typical_ms(call, rounds if name == "loops" else 20 * rounds) for name, call in versions.items()}
print({name: f"{value:.3g} ms" for name, value in typical.items()})

# %% [markdown]
# Now the ratios, and the time for one output cell.

# %%
speedup = {name: typical["loops"] / value for name, value in typical.items()}
per_cell = {name: typical[name] / exact.numel() for name in typical}
results.record(
    side=side, loops_ms=typical["loops"], slices_ms=typical["slices"], unfold_ms=typical["unfold"],
    library_ms=typical["F.conv2d"], slices_speedup=speedup["slices"], unfold_speedup=speedup["unfold"],
    library_speedup=speedup["F.conv2d"], loops_us_per_cell=1e3 * per_cell["loops"],
    library_ns_per_cell=1e6 * per_cell["F.conv2d"],
)  # fmt: skip

# %% [markdown]
# The same as bars. The axis counts in powers of ten, or the short bars would not show at all.

# %%
with figures.style():
    fig, ax = plt.subplots(figsize=(7.2, 2.6))
    labels = [f"{value:.3g} ms: {speedup[name]:,.0f} times as fast" for name, value in typical.items()]
    labels[0] = f"{typical['loops']:.3g} ms"
    bars = ax.barh(list(typical), list(typical.values()), color=figures.BLUE)
    ax.bar_label(bars, labels, padding=4)
    ax.set(xscale="log", xlim=(min(typical.values()) / 5, typical["loops"] * 40))
    ax.set_xlabel("milliseconds, median; each line is ten times the one before")
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    ax.set_title(f"Same answer, {speedup['F.conv2d']:,.0f} times sooner")
figures.show(
    fig,
    alt="Bars of the median time of loops, slices, unfold and F.conv2d on a logarithmic axis: the loops "
    f"take {typical['loops']:.0f} milliseconds, the library {speedup['F.conv2d']:,.0f} times less.",
)

# %% [markdown]
# On the machine that made this page, for {{side}}×{{side}} pixels: loops {{loops_ms:.0f}} ms, slices
# {{slices_ms:.2g}} ms, matrix product {{unfold_ms:.2g}} ms, library {{library_ms:.2g}} ms. Slices are
# {{slices_speedup:,.0f}} times as fast as loops, the matrix product {{unfold_speedup:,.0f}} times and the
# library {{library_speedup:,.0f}} times.
#
# Whoever guessed 10 was far too kind to the loops. How can that be, when all four do the same products? Look
# at one output cell. The loops spend {{loops_us_per_cell:.0f}} microseconds on it, the library
# {{library_ns_per_cell:.0f}} nanoseconds. So the nine products cannot be what takes the loops so long;
# nearly all of it is Python finding the window, making small tensors and throwing them away. Slices and
# matrix product ask Python only a few times for the whole picture, and so they win nearly all there is to
# win.
#
# Your figures will differ, and the three quick versions may change places: it depends on the size of the
# picture, and with many channels the race is another one. `benchmarks/convolutions.py` runs it.

# %% [markdown]
# ## Convolution or correlation
#
# A confession: what we built is not what mathematicians call convolution. It is **cross-correlation**. A true
# convolution turns the kernel by 180 degrees first. NumPy's `convolve` does; PyTorch's `conv1d` and `conv2d`
# do not.

# %%
# NBVAL_CHECK_OUTPUT
signal, weights = torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([1.0, 0.0, -1.0])
print("NumPy's convolve: ", np.convolve(signal, weights, mode="valid"))
print("PyTorch's conv1d: ", F.conv1d(signal[None], weights[None, None])[0].numpy())
print("conv1d, flipped:  ", F.conv1d(signal[None], weights.flip(0)[None, None])[0].numpy())

# %% [markdown]
# A picture with a single white pixel shows the difference best. **Predict first.** Slide a kernel with the
# numbers 1 to 9 over it. What does the output look like?

# %%
dot = torch.zeros(5, 5)
dot[2, 2] = 1
counted = torch.arange(1.0, 10.0).view(3, 3)
correlated = corr2d_loops(dot, counted)
convolved = corr2d_loops(dot, counted.flip(0, 1))
print("picture", tuple(dot.shape), "kernel", tuple(counted.shape), "outputs", tuple(correlated.shape))

# %% [markdown]
# Side by side:

# %%
with figures.style():
    fig, axes = plt.subplots(1, 4, figsize=(9.2, 2.8), width_ratios=(5, 3, 3, 3))
    for ax, values, name in zip(
        axes, (dot, counted, correlated, convolved), ("picture", "kernel", "correlation", "true convolution")
    ):
        convolution.number_grid(ax, values, {(2, 2)} if ax is axes[0] else set(), tall=5)
        ax.set_xlabel(name)
    headline = "Correlation turns a dot into the kernel, rotated by half a turn"
    fig.suptitle(headline, x=0.01, ha="left", fontsize=11, fontweight="bold")
figures.show(
    fig,
    alt="A picture with one marked pixel, a kernel with the numbers one to nine, the correlation with the "
    "numbers nine to one, and the true convolution with the numbers one to nine.",
)

# %% [markdown]
# If you guessed "the kernel", nearly: correlation gives the kernel *turned by 180 degrees*: when the window
# has moved right, the dot lies in its left part. Flip the kernel first, and the dot becomes the kernel
# itself; that is what makes the true convolution handy in mathematics.
#
# For a network it makes no difference: a filter that is learned is learned the right way round. So the whole
# field says "convolution", means correlation, and so shall we. It matters only when you copy a kernel from a
# book on signals.

# %% [markdown]
# ## Padding stride and dilation
#
# Three settings say where the windows go. Each is a small idea, and each can be checked with what we have.
#
# **Padding** puts zeros around the picture, so that the window can also be centred on border pixels. With a
# 3×3 kernel, one ring of zeros keeps the size.

# %%
padded = F.pad(two, (1, 1, 1, 1))  # left, right, top, bottom
by_hand = corr2d_slices(padded, vertical)
library = F.conv2d(two[None, None], vertical[None, None], padding=1)[0, 0]
torch.testing.assert_close(by_hand, library)
print(f"picture {tuple(two.shape)}, padded {tuple(padded.shape)}, output {tuple(library.shape)}")

# %% [markdown]
# **Stride** is the step from one window to the next. Stride 2 visits every second place: it is the ordinary
# output with every second row and column kept, only without the work for the others. (Lesson 1's strides were
# the same idea in memory: how far to go for one step.)

# %%
every_place = corr2d_slices(two, vertical)
library = F.conv2d(two[None, None], vertical[None, None], stride=2)[0, 0]
torch.testing.assert_close(every_place[::2, ::2], library)
print(f"stride 1: {tuple(every_place.shape)}, stride 2: {tuple(library.shape)}")

# %% [markdown]
# **Dilation** spreads the kernel: with dilation 2 there is a gap of one pixel between its numbers. It is a
# 5×5 kernel most of whose numbers are zero, at the cost of nine.

# %%
# NBVAL_CHECK_OUTPUT
spread = torch.zeros(5, 5)
spread[::2, ::2] = vertical
library = F.conv2d(two[None, None], vertical[None, None], dilation=2)[0, 0]
torch.testing.assert_close(corr2d_slices(two, spread), library)
print(spread.int())

# %% [markdown]
# ## The size of the output
#
# How many windows fit along a side of *n* pixels? Think of a ruler laid along the side.
#
# - The kernel reaches over *r* = *d*(*k* − 1) + 1 pixels: *k* numbers, *d* pixels apart.
# - With padding there are *n* + 2*p* pixels to lie on. The first window starts at the left end.
# - It can move right by *n* + 2*p* − *r* pixels before it falls off. That is floor((*n* + 2*p* − *r*) / *s*)
#   steps of *s* pixels, because half a step is no step.
# - One more for the first window.
#
# Together:
#
# $$\text{output} = \left\lfloor \frac{n + 2p - d(k - 1) - 1}{s} \right\rfloor + 1$$
#
# **Predict first.** A side of 28 pixels, a 5×5 kernel, stride 2, no padding. How many cells?


# %%
def output_size(n, kernel, stride=1, padding=0, dilation=1):
    """Count the windows along a side of n pixels."""
    return (n + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


assert output_size(28, 5, stride=2) == 12
print(output_size(28, 5, stride=2))

# %% [markdown]
# 12 cells.
#
# <details><summary>If you had 14, 24, 11 or 13</summary>
#
# 14 is 28 / 2: the stride without the kernel. 24 is 28 − 5 + 1: the kernel without the stride. 11 is floor(23
# / 2): correct, but the first window is missing. 13 rounds up: the last half step does not fit.
#
# </details>
#
# One example proves little. So compare the formula with PyTorch over a whole grid of settings.

# %%
grid = list(product((5, 8, 13, 28), (1, 2, 3, 5), (1, 2, 3), (0, 1, 2), (1, 2, 3)))
fitting = [(n, k, s, p, d) for n, k, s, p, d in grid if d * (k - 1) + 1 <= n + 2 * p]
for n, k, s, p, d in fitting:
    picture, kernel = torch.zeros(1, 1, n, n), torch.zeros(1, 1, k, k)
    found = F.conv2d(picture, kernel, stride=s, padding=p, dilation=d).shape[-1]
    assert output_size(n, k, s, p, d) == found == convolution.output_size(n, k, s, p, d)
results.record(settings_tried=len(grid), settings_fitting=len(fitting))

# %% [markdown]
# {{settings_fitting}} of the {{settings_tried}} settings fit, and formula, PyTorch and
# `convolution.output_size` agree on every one. In the others the kernel is larger than the padded picture; we
# meet that error under [Pitfalls](#Pitfalls).
#
# One case deserves a name: stride 1 and *p* = *d*(*k* − 1)/2 gives back *n*. That is **same** padding: 1 for
# a 3×3 kernel, 2 for 5×5. Kernels nearly always have an odd side, so that this *p* is a whole number and the
# kernel has a middle.

# %%
sizes = range(1, 12)
with figures.style():
    fig, ax = plt.subplots(figsize=(6.8, 3.2))
    for stride, marker in zip((1, 2, 4), "osD"):
        sides = [output_size(28, k, stride) for k in sizes]
        ax.plot(sizes, sides, marker=marker)
        ax.text(11.25, sides[-1], f"stride {stride}", va="center")
    same = [output_size(28, k, padding=(k - 1) // 2) for k in sizes[::2]]
    ax.plot(sizes[::2], same, color=figures.GREY, linestyle="--")
    ax.text(11.25, 28, "stride 1, same padding", va="center")
    ax.set(xlabel="side of the kernel", ylabel="side of the output", ylim=(0, 31), xlim=(0.7, 15), xticks=sizes)
    ax.set_title("A kernel trims the output, a stride divides it")
figures.show(
    fig,
    alt="Side of the output against side of the kernel for a picture of 28 pixels: with stride 1 it falls "
    "slowly from 28 to 18, with stride 2 from 14 to 9, with stride 4 from 7 to 5; same padding keeps "
    "it at 28.",
)

# %% [markdown]
# ## Many channels
#
# A colour picture has three channels, and deeper in a network there are dozens. The rule is short:
#
# - a filter has **one layer per input channel**; each layer slides over its own channel, and the results are
#   **added**;
# - each filter gives **one output channel**; a layer of a network has many filters.
#
# So pictures (N, *C*, H, W) meet weights (*O*, *C*, kh, kw) and give (N, *O*, H′, W′). Each filter may also
# add one number of its own, its **bias**.


# %%
def conv_layer(picture, weight, bias):
    """picture (C, H, W), weight (O, C, kh, kw), bias (O,) -> (O, H′, W′)"""
    output = []
    for layers, extra in zip(weight, bias):  # one output channel per filter
        answers = [corr2d_slices(channel, layer) for channel, layer in zip(picture, layers)]
        output.append(sum(answers) + extra)  # summed over the input channels
    return torch.stack(output)


raccoon = pictures.to_float(pictures.to_tensor(pictures.photograph("raccoon")))
raccoon = F.avg_pool2d(raccoon, 2)  # half as high and wide: enough to see, and quicker
print("picture (C, H, W):", tuple(raccoon.shape))

# %% [markdown]
# Three filters, each with three layers. The *green finder* averages green over 3×3 pixels and subtracts half
# of red and half of blue. The *brightness* filter averages everything. The third takes vertical edges of all
# channels together.

# %%
flat = torch.full((3, 3), 1 / 9)
green_finder = torch.stack([-0.5 * flat, flat, -0.5 * flat])  # a layer each for red, green, blue
brightness = torch.stack([flat, flat, flat]) / 3
edges = torch.stack([vertical, vertical, vertical]) / 3
weight, bias = torch.stack([green_finder, brightness, edges]), torch.zeros(3)
responses = conv_layer(raccoon, weight, bias)
torch.testing.assert_close(responses, F.conv2d(raccoon[None], weight, bias)[0])
torch.testing.assert_close(responses, convolution.corr2d_unfold(raccoon[None], weight, bias)[0])
print("weight (O, C, kh, kw):", tuple(weight.shape), "-> output (O, H′, W′):", tuple(responses.shape))

# %% [markdown]
# Each map gets its own scale: blue to red where numbers may be negative, grey where they may not. Then we look.

# %%
shows = (
    ("input: 3 channels", raccoon.permute(1, 2, 0), {}),
    ("output channel 0: green finder", responses[0], {"cmap": figures.DIVERGING, "vmin": -0.4, "vmax": 0.4}),
    ("output channel 1: brightness", responses[1], {"vmin": 0, "vmax": 1}),
    ("output channel 2: vertical edges", responses[2], {"cmap": figures.DIVERGING, "vmin": -1, "vmax": 1}),
)

# %%
with figures.style():
    fig, axes = plt.subplots(2, 2, figsize=(7.6, 5.4))
    for ax, (title, shown, look) in zip(axes.flat, shows):
        drawn = ax.imshow(shown, **look)
        ax.set_title(title, fontsize=10, fontweight="normal")
        ax.axis("off")
        if look:
            fig.colorbar(drawn, ax=ax, shrink=0.8)
    headline = "Three filters turn three channels into three others"
    fig.suptitle(headline, x=0.01, ha="left", fontsize=11, fontweight="bold")
figures.show(
    fig,
    alt="A raccoon among green leaves and three feature maps of it: the green finder is red on the leaves "
    "and pale on the grey animal; the brightness map is a soft grey picture; the edge map shows fur, "
    "leaves and the stripes of the face in red and blue.",
)

# %% [markdown]
# The leaves light up and the grey animal stays pale: equal amounts of red, green and blue cancel. No
# single-channel filter could do that. The output channels are no longer colours but *answers to questions*.
# The next layer takes these answers as its input channels, and that is all there is to "deep".
#
# The smallest kernel is worth a look: **1×1**. It sees one pixel and only mixes channels. You have met one
# already: lesson 1's grey conversion.

# %%
mix = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)  # (O, C, 1, 1)
torch.testing.assert_close(F.conv2d(raccoon[None], mix)[0], pictures.to_grey(raccoon))
print("grey conversion is a 1×1 convolution:", tuple(mix.shape))

# %% [markdown]
# ## Blur sharpen and Sobel
#
# Long before networks, people designed kernels by hand. Three classics:
#
# - **blur**: nine positive numbers that sum to 1, an average with the neighbours;
# - **sharpen**: five times the pixel minus its four neighbours; what differs from its surroundings is
#   exaggerated;
# - **Sobel**: an edge kernel whose middle row counts double, one for each direction.

# %%
cat = pictures.to_grey(pictures.to_float(pictures.to_tensor(pictures.photograph("cat"))))
cat = F.avg_pool2d(cat, 2)[0]  # (150, 225)
blurred = cat
for _ in range(4):  # one 3×3 blur is hard to see; four are plain
    blurred = corr2d_slices(blurred, convolution.kernel("Gaussian blur"))
sharp = corr2d_slices(cat, convolution.kernel("sharpen")).clamp(0, 1)
fig = panels([cat, blurred, sharp], ["original", "blurred four times", "sharpened"],
             "A blur averages detail away, sharpening exaggerates it", size=2.9)  # fmt: skip
figures.show(
    fig,
    alt="The face of a cat three times: as it is, soft with the fine hairs gone, and with every hair and "
    "some grain standing out.",
)

# %% [markdown]
# Both keep the brightness of flat areas, because both kernels sum to 1. Sharpening invents nothing. It also
# exaggerates the grain of the picture, and may overshoot below 0 and above 1: hence the `clamp`.
#
# Sobel's two kernels answer separately for each direction. How strong is an edge of *any* direction? Like the
# length of an arrow from its two components: √(x² + y²).

# %%
cup = F.avg_pool2d(coffee_grey[None], 2)[0]  # (170, 256)
right = corr2d_slices(cup, convolution.kernel("Sobel x"))
down = corr2d_slices(cup, convolution.kernel("Sobel y"))
strength = (right**2 + down**2).sqrt()
print(f"Sobel x reaches from {right.min():.2f} to {right.max():.2f}; the strength reaches {strength.max():.2f}")

# %% [markdown]
# Each kernel's answer by itself:

# %%
fig = panels([right, down], ["Sobel x: brighter to the right", "Sobel y: brighter below"],
             "Each Sobel kernel sees one direction", limit=2, size=3.9)  # fmt: skip
figures.show(
    fig,
    alt="Two maps of a cup on a saucer. Sobel x draws the upright sides of cup and saucer in red and blue "
    "and leaves out level edges; Sobel y draws the level edges and leaves out upright ones.",
)

# %% [markdown]
# And the length of the arrow at every pixel:

# %%
fig = panels([cup[1:-1, 1:-1], strength / 2], ["photograph", "edge strength"],
             "Both directions together draw the whole outline", size=3.9)  # fmt: skip
figures.show(
    fig,
    alt="A grey photograph of a cup of coffee beside its edge strength: bright outlines of cup, saucer, "
    "spoon and the edge of the coffee on black.",
)

# %% [markdown]
# Follow the rim of the cup in the two maps: where it runs upright Sobel x is strong and Sobel y is silent,
# where it runs level it is the other way round. The strength shows all of it. A child would recognise the
# drawing, and it took 18 numbers.

# %% [markdown]
# ## Explore kernels on a photograph
#
# Nine numbers are a filter, any nine numbers. Below, choose a kernel by its name, then change its numbers one by one:
# each field is called by its place in the 3×3 table. Answers around zero are shown in blue, white and red. *Normalise*
# divides the numbers so that the answers keep the range of the picture: by their sum or, where they sum to 0, by half
# of what they sum to without their signs. (Where no kernel runs, you see nine filters side by side.)
#
# **Predict first.** Choose *identity*. What happens when its middle 1 becomes 2? When the 1 moves into a corner? When
# you put a −1 beside the 1? Say it before you type it.

# %%
widgets.lesson2.kernel_editor("cat")

# %% [markdown]
# A 2 in the middle makes everything twice as bright, and *normalise* takes that back. A 1 in a corner moves the picture
# by one pixel: hard to see, and all there is to it. With a −1 beside the 1 flat areas answer 0, and an edge detector is
# born: two numbers are enough.
#
# Kernels that sum to 1 give a picture again. Kernels that sum to 0 answer where something *changes*. Did *emboss*
# surprise you? Its numbers sum to 1, so brightness stays, and the difference along the diagonal is added: the picture
# looks lit from one corner. *All edges* has no direction at all: 8 times the middle minus everything around it.
#
# More to try: a kernel that looks for slanting edges (0, 1, 2 in the upper row, −1, 0, 1 in the middle one, −2, −1, 0
# in the lower one); *vertical edges* on the other photographs; a kernel that you have never seen.

# %% [markdown]
# ## ReLU keeps one side
#
# After almost every convolution a network applies the **rectified linear unit**: negative numbers become 0,
# positive ones stay. `relu(x) = max(x, 0)`. It looks like throwing half the answer away. Let us see what is
# kept.

# %%
# NBVAL_CHECK_OUTPUT
values = torch.tensor([-2.0, -0.5, 0.0, 0.5, 2.0])
by_hand = torch.where(values > 0, values, torch.zeros(()))
torch.testing.assert_close(by_hand, F.relu(values))
print(by_hand)

# %% [markdown]
# The Sobel answer of the cup, and that of the opposite kernel, each after ReLU:

# %%
fig = panels([F.relu(right) / 2, F.relu(-right) / 2], ["relu of Sobel x", "relu of the opposite kernel"],
             "ReLU splits an edge map in two: brighter right, brighter left", size=3.9)  # fmt: skip
figures.show(
    fig,
    alt="Two maps of the cup on black: in the first only the edges that are brighter on the right shine, "
    "in the second only those that are brighter on the left.",
)

# %% [markdown]
# After ReLU a feature map says "yes, this much" or "no". Nothing need be lost: a network that wants both
# signs learns both kernels, *K* and −*K*, as here. Together they hold everything:

# %%
assert torch.equal(F.relu(right) - F.relu(-right), right)
assert torch.equal(F.relu(right) + F.relu(-right), right.abs())
print("relu(x) − relu(−x) is x, and relu(x) + relu(−x) is |x|")

# %% [markdown]
# And without ReLU? Then depth would be for nothing. Two convolutions in a row are *one* convolution with a
# larger kernel, and a hundred layers are one layer. Here the true convolution has its moment: it tells us
# which kernel.

# %%
blur = convolution.kernel("Gaussian blur")
blur_then_edge = corr2d_slices(corr2d_slices(cup, blur), vertical)
both_in_one = corr2d_slices(F.pad(blur, (2, 2, 2, 2)), vertical.flip(0, 1))  # the true convolution of the two
torch.testing.assert_close(blur_then_edge, corr2d_slices(cup, both_in_one), rtol=1e-4, atol=1e-5)
print("two layers are one, with a kernel of", tuple(both_in_one.shape))

# %% [markdown]
# Now the two layers with a ReLU between them, edges first:

# %%
edge_then_blur = corr2d_slices(corr2d_slices(cup, vertical), blur)
with_relu = corr2d_slices(F.relu(corr2d_slices(cup, vertical)), blur)
print(f"a ReLU between the layers changes the answer by up to {(with_relu - edge_then_blur).abs().max():.2f}")

# %% [markdown]
# So with a ReLU the two layers do something that no single kernel can. That is what makes depth
# worth having.

# %% [markdown]
# ## Pooling
#
# A feature map says where something is, to the pixel. Usually "about here" will do. **Pooling** summarises
# each window by one number: its maximum, its average or its sum. The windows are mostly 2×2 and lie side by
# side (stride 2), so a map gets half as high and half as wide. There is nothing to learn in it.

# %%
# NBVAL_CHECK_OUTPUT
small = torch.tensor([[1.0, 3, 2, 0], [0, 2, 4, 1], [5, 1, 0, 0], [2, 6, 1, 3]])
corners = torch.stack([small[0::2, 0::2], small[0::2, 1::2], small[1::2, 0::2], small[1::2, 1::2]])  # (4, 2, 2)
print(corners.amax(0), "maximum")
print(corners.mean(0), "average")
print(corners.sum(0), "sum")

# %% [markdown]
# Do the helper and PyTorch agree?

# %%
summaries = {"max": corners.amax(0), "average": corners.mean(0), "sum": corners.sum(0)}
for kind, by_hand in summaries.items():
    torch.testing.assert_close(by_hand, convolution.pool2d(small[None, None], 2, kind=kind)[0, 0])
torch.testing.assert_close(corners.amax(0), F.max_pool2d(small[None, None], 2)[0, 0])
torch.testing.assert_close(corners.mean(0), F.avg_pool2d(small[None, None], 2)[0, 0])
quarter = torch.full((1, 1, 2, 2), 1 / 4)
torch.testing.assert_close(F.avg_pool2d(small[None, None], 2), F.conv2d(small[None, None], quarter, stride=2))
print("by hand, helper and PyTorch agree; average pooling is a convolution with stride 2")

# %% [markdown]
# The last check says something: average and sum pooling *are* convolutions with fixed kernels. The maximum is
# not: no set of weights computes it.
#
# **Predict first.** A thin white line, one pixel wide, on black. Pool it three times, 2×2 each, once with the
# maximum and once with the average. What is left of the line each time?

# %%
line = torch.eye(32)  # a diagonal, one pixel wide
pooled = {kind: line[None, None] for kind in ("max", "average")}
for _ in range(3):
    pooled = {kind: convolution.pool2d(values, 2, kind=kind) for kind, values in pooled.items()}
fig = panels([line, pooled["max"][0, 0], pooled["average"][0, 0]],
             ["32×32", "max, three times: 4×4", "average, three times: 4×4"],
             "The maximum keeps the thin line, the average fades it", size=2.3)  # fmt: skip
figures.show(
    fig,
    alt="A thin white diagonal on black; after three max poolings a full white diagonal of four cells; "
    "after three average poolings a diagonal so dark that it hardly shows.",
)

# %% [markdown]
# How bright are the brightest cells?

# %%
# NBVAL_CHECK_OUTPUT
assert pooled["average"].max().item() == 1 / 8
print("brightest cell: max", pooled["max"].max().item(), "average", pooled["average"].max().item())

# %% [markdown]
# The maximum answers "is it *anywhere* in this window?", so the line stays at full strength, now four cells
# of 8×8 pixels. The average answers "*how much* of this window?": half of the four pixels lie on the line,
# then half again, then half again: 1/8. If you guessed 1/64, you counted one pixel per 8×8 window; the
# diagonal has eight of the 64. For "is there a whisker?", take the maximum; for "how bright is this corner?",
# the average.

# %% [markdown]
# ## Explore the arithmetic of one cell
#
# Everything so far, on one small picture, with the sum written out for one output cell. Orange is the window, grey is
# padding, blue is the cell that it gives. Choose an operation, a stride, a padding, a dilation, and walk through the
# cells with *row* and *column*. Work each sum out on paper before you look.
#
# **Predict first.** Set padding 1 and stride 2. How many rows and columns will the output have?

# %%
numbers = torch.tensor([[1.0, 3, 0, 2, 5], [4, 2, 1, 0, 3], [0, 6, 2, 1, 1], [2, 1, 3, 8, 0], [5, 0, 2, 4, 1]])
widgets.lesson2.cell_arithmetic(numbers)

# %% [markdown]
# With padding 1 and stride 2 there are 3 rows and 3 columns: floor((5 + 2 − 2 − 1) / 2) + 1 = 3.
#
# Row 1, column 2 (counted from 0) of the output is a different window under each setting. Compare it without
# padding, with padding 1, with padding 1 and stride 2, and with padding 2 and dilation 2. Padding 1 moves everything
# up and left by one pixel. With stride 2 each step counts double. With dilation 2 the nine pixels are spread over 5×5.
#
# Now pooling, in the same way.


# %%
def draw_cells(cells, headline):
    """Draw worked cells below each other."""
    width, height = worked.FIGSIZE
    with figures.style():
        fig, axes = plt.subplots(
            len(cells), 4, figsize=(width, height * len(cells)), width_ratios=worked.WIDTHS, squeeze=False
        )
        for cell, row in zip(cells, axes):
            cell.plot(row)
        fig.suptitle(headline, x=0.01, ha="left", fontsize=11, fontweight="bold")
    return fig


# %% [markdown]
# Maximum, average and sum of 2×2 windows side by side, and the maximum of 3×3 windows that overlap:

# %%
cells = [convolution.worked_cell(numbers, pool=kind, row=1, column=0) for kind in ("max", "average", "sum")]
cells.append(convolution.worked_cell(numbers, pool="max", size=3, stride=1, row=1, column=0))
fig = draw_cells(cells, "Pooling: no kernel, one summary per window")
figures.show(
    fig,
    alt="Four rows without a kernel: maximum, average and sum of two by two windows with stride 2, then "
    "the maximum of three by three windows with stride 1, each with the arithmetic of the cell in row "
    "1, column 0.",
)

# %% [markdown]
# Look at the last row and column of the first three inputs: a picture of 5 pixels holds two windows of 2, and
# the fifth pixel belongs to none. It is dropped without a word. Overlapping windows (last row) use
# everything.

# %% [markdown]
# ## Receptive field
#
# One cell after a 3×3 convolution sees 3×3 pixels. A cell of the *next* layer sees 3×3 of those cells. How
# many pixels is that? The square of input pixels that can influence a cell is its **receptive field**.
#
# **Predict first.** Three 3×3 convolutions in a row, stride 1. How many pixels does one cell see along a
# side: 3, 7, 9 or 27?


# %%
def field_sizes(layers):
    """Follow layers (kernel, stride) from the input on: side of the receptive field after each."""
    size, jump, sizes = 1, 1, []
    for kernel, stride in layers:
        size += (kernel - 1) * jump  # the outer cells of the window lie (kernel − 1) jumps apart
        jump *= stride  # and a stride puts the next layer's cells farther apart
        sizes.append(size)
    return sizes


assert field_sizes([(3, 1)] * 3) == [3, 5, 7]
print("three 3×3 convolutions:", field_sizes([(3, 1)] * 3))

# %% [markdown]
# The answer is 7. Each layer adds only one pixel on each side, because neighbouring windows overlap; 9 and 27
# would be true if they lay side by side, and 3 if nobody passed on what they saw. To see far, a network needs
# strides or pooling: after a stride of 2, every later step counts double.
#
# Here is the stack of layers that lesson 3 will use for pictures of 28×28 pixels.

# %%
stack = [(3, 1), (3, 1), (2, 2), (5, 1), (5, 1), (2, 2)]  # conv, conv, pool, conv, conv, pool
field = convolution.receptive_field([(kernel, stride) for kernel, stride in stack])
assert field_sizes(stack) == list(field.sizes) == [3, 5, 6, 14, 22, 24]
print("after each layer:", field.sizes)

# %% [markdown]
# Formulas can be wrong, so **measure** it. Ask autograd: if I change this pixel a little, does that output
# cell change? Set all weights to 1, so that nothing cancels, and look where the gradient is not zero.
# (Average pooling stands in for max pooling: the maximum would pass on only one pixel of each window.)

# %%
net = nn.Sequential(nn.Conv2d(1, 1, 3), nn.Conv2d(1, 1, 3), nn.AvgPool2d(2),
                    nn.Conv2d(1, 1, 5), nn.Conv2d(1, 1, 5), nn.AvgPool2d(2))  # fmt: skip
for layer in net:
    for weights in layer.parameters():
        nn.init.ones_(weights)
pixels = torch.zeros(1, 1, 28, 28, requires_grad=True)
net(pixels)[0, 0, 0, 0].backward()  # the cell in the upper left corner
influence = pixels.grad[0, 0]
seen = (influence > 0).any(dim=1).sum().item(), (influence > 0).any(dim=0).sum().item()
assert seen == (field.size, field.size) == (24, 24)
print("measured: one cell sees", seen)

# %% [markdown]
# Both squares side by side, the computed and the measured one:

# %%
with figures.style():
    fig, (left, right_ax) = plt.subplots(1, 2, figsize=(10.0, 4.1), width_ratios=(1, 1.1))
    field.plot(left)
    left.set_title("Computed: squares within squares", fontsize=10)
    drawn = right_ax.imshow(influence.where(influence > 0, torch.nan) / influence.max(), cmap=figures.SEQUENTIAL)
    right_ax.set(xlabel="column of the picture", ylabel="row of the picture")
    right_ax.grid(visible=False)
    right_ax.set_title("Measured: the middle counts most", fontsize=10)
    fig.colorbar(drawn, ax=right_ax, label="influence of the pixel", shrink=0.8)
figures.show(
    fig,
    alt="Left: squares of 3, 5, 6, 14, 22 and 24 pixels, one inside the other, around one pixel. Right: "
    "the measured influence of each pixel of a 28 by 28 picture on the first output cell: a square of "
    "24 by 24 pixels, bright in its middle and dark towards its rim; outside it is blank.",
)

# %% [markdown]
# The measured square has the computed size: 24 of 28 pixels, nearly the whole picture. And it shows more than
# the formula says: pixels in the middle count far more, because many paths through the layers lead there, and
# only one leads to a corner.

# %% [markdown]
# ## How many numbers to learn
#
# A convolutional layer learns *O* · (*C* · kh · kw + 1) numbers, the 1 being the bias. The picture's size
# does not appear. A dense layer joins every input number with every output number.
#
# **Predict first.** A colour picture of 32×32 becomes 16 feature maps of 32×32. How many numbers does a 3×3
# convolution learn, and how many a dense layer that gives as many outputs?

# %%
conv, inputs, outputs = nn.Conv2d(3, 16, 3, padding=1), 3 * 32 * 32, 16 * 32 * 32
by_hand = 16 * (3 * 3 * 3 + 1), outputs * (inputs + 1)
assert by_hand[0] == sum(p.numel() for p in conv.parameters()) == convolution.conv_parameters(3, 16, 3) == 448
assert by_hand[1] == convolution.dense_parameters(inputs, outputs) == 50_348_032
assert (16 * 3 * 9, 16 * 9) == (432, 144)  # two likely guesses
print(f"convolution: {by_hand[0]:,}\ndense:       {by_hand[1]:,}, {by_hand[1] / by_hand[0]:,.0f} times as many")

# %% [markdown]
# 448 against 50 million. (If you said 432, you forgot the 16 biases; if you said 144, the three input
# channels as well.) The convolution saves in two ways: each output cell looks only at its own neighbourhood,
# and all cells **share** the same weights. Both are bets about pictures: that what belongs together lies
# together, and that an edge is an edge wherever it is. For pictures these bets are good.

# %% [markdown]
# ## Learning a filter
#
# So far somebody had to think of each kernel. Now the step that makes it machine *learning*. I have a secret
# kernel. You get pictures and what my kernel made of them, and nothing else. Can gradient descent find my
# nine numbers?
#
# The recipe is lesson 1's walk down the parabola, with nine numbers at once: start with zeros, measure how
# wrong the outputs are (the mean squared difference, our **loss**), ask autograd for the slope, take a step
# downhill.

# %%
random = torch.Generator().manual_seed(settings.seed)
secret = convolution.kernel("Sobel x")[None, None]  # (1, 1, 3, 3)
examples = torch.randn(8, 1, 16, 16, generator=random)  # eight pictures of pure noise
targets = F.conv2d(examples, secret)
print("inputs", tuple(examples.shape), "-> outputs of the secret kernel", tuple(targets.shape))

# %% [markdown]
# The walk, in nine dimensions:


# %%
def recover(examples, targets, rate, steps):
    """Gradient descent from a kernel of zeros; return the losses and the kernel after each step."""
    kernel = torch.zeros(1, 1, 3, 3, requires_grad=True)
    losses, kernels = [], [kernel.detach().clone()]
    for _ in range(steps):
        loss = F.mse_loss(F.conv2d(examples, kernel), targets)
        (slope,) = torch.autograd.grad(loss, kernel)
        with torch.no_grad():
            kernel -= rate * slope
        losses.append(loss.item())
        kernels.append(kernel.detach().clone())
    return losses, kernels


# %% [markdown]
# Thirty steps at rate 0.2:

# %%
losses, kernels = recover(examples, targets, rate=0.2, steps=30)
distance = (kernels[-1] - secret).abs().max().item()
results.record(first_loss=losses[0], last_loss=losses[-1], shrink=losses[1] / losses[0], kernel_error=distance)

# %% [markdown]
# **Predict first.** The kernel started as nine zeros. Will all its numbers grow at the same pace? Which are
# there first?

# %%
steps = (0, 1, 2, 4, 30)
shown = [kernels[step][0, 0] for step in steps] + [secret[0, 0]]
titles = [f"step {step}" for step in steps] + ["the secret"]
fig = panels(shown, titles, "Nine numbers walk to the secret kernel", limit=2.5, size=1.55)
for ax, values in zip(fig.axes, shown):
    for (row, column), value in np.ndenumerate(values.numpy()):
        text = f"{round(float(value), 1) + 0.0:.1f}".replace("-", "−")
        ink = "white" if abs(value) > 1.5 else figures.INK
        ax.text(column, row, text, ha="center", va="center", fontsize=8.5, color=ink)
figures.show(
    fig,
    alt="The learned kernel after 0, 1, 2, 4 and 30 steps beside the secret one: nine zeros at first, "
    "then a blue left and a red right column that deepen until the kernel equals the secret.",
)

# %% [markdown]
# And the loss at each of the thirty steps:

# %%
with figures.style():
    fig, ax = plt.subplots(figsize=(6.4, 3.0))
    ax.plot(losses, marker="o", markersize=4)
    ax.set(yscale="log", xlabel="step", ylabel="loss (mean squared difference)")
    ax.set_title("On a logarithmic axis the loss falls in a straight line")
figures.show(
    fig,
    alt="The loss over thirty steps on a logarithmic axis: a straight line downwards, from more than ten "
    "to less than a thousand-millionth.",
)

# %% [markdown]
# All nine numbers keep *pace*: each closes the same share of its gap per step, about 40 %, so the two largest
# simply have the longest way. After 30 steps no number is off by more than {{kernel_error:.0e}}.
#
# The loss shrinks by about the same factor at every step, {{shrink:.2f}} at the first. That is no accident.
# For noise like ours the slope is twice the gap, so a step with rate 0.2 leaves 1 − 2 · 0.2 = 0.6 of it, and
# the loss, a square, shrinks to 0.6² = 0.36. Lesson 1's parabola had the same 2 in its slope, and the same
# limit: with a rate of 1 or more the walk cannot arrive. You can watch it fail under [Pitfalls](#Pitfalls).
#
# **And from a photograph?** **Predict first.** Same secret, same number of steps, but real pixels instead of
# noise. Easier or harder?

# %%
real = F.avg_pool2d(cup[None, None], 2)
real = (real - real.mean()) / real.std()  # spread 1, as the noise has
answers = F.conv2d(real, secret)
real_losses, real_kernels = recover(real, answers, rate=0.1, steps=30)
real_distance = (real_kernels[-1] - secret).abs().max().item()
assert recover(real, answers, rate=0.2, steps=30)[0][-1] > real_losses[0]  # twice the rate: it leaps out
results.record(photo_loss_share=real_losses[-1] / real_losses[0], photo_kernel_error=real_distance)
print((real_kernels[-1][0, 0] * 10).round() / 10 + 0.0)

# %% [markdown]
# The loss has fallen to {{photo_loss_share:.0%}} of its start, yet the kernel is still wrong: one of its
# numbers is off by {{photo_kernel_error:.1f}}. In a photograph neighbouring pixels are nearly alike. Whether
# a weight sits here or one pixel further up hardly changes the output, so the slope hardly points there. We
# also had to halve the rate: with 0.2 the loss ends above its start. **A small loss does not mean the right
# weights; it means outputs that are nearly right on *these* pictures.** Keep that thought for the lessons to
# come.

# %% [markdown]
# ## Eighteen numbers that read digits
#
# Back to the beginning. We *designed* two filters to tell a 1 from a 2. Now the machine shall. No one tells
# it about edges: it gets noisy, shifted digits, and for each the label 0 (a one) or 1 (a two).


# %%
def noisy_digits(count, seed, noise=0.4):
    """Return pictures (count, 1, 14, 14), each digit moved by up to two pixels, and labels (count,)."""
    random = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 2, (count,), generator=random)
    moves = torch.randint(-2, 3, (count, 2), generator=random).tolist()
    clean = [F.pad(digit, (2, 2, 2, 2)) for digit in (one, two)]
    moved = [torch.roll(clean[label], move, dims=(0, 1)) for label, move in zip(labels.tolist(), moves)]
    images = torch.stack(moved)[:, None]
    return images + noise * torch.randn(images.shape, generator=random), labels


# %% [markdown]
# 200 pictures to learn from, and 1,000 others for the test:

# %%
train_images, train_labels = noisy_digits(200, settings.seed + 1)
test_images, test_labels = noisy_digits(1000, settings.seed + 2)
names = [("one", "two")[label] for label in train_labels[:6]]
fig = panels([image[0].clamp(0, 1) for image in train_images[:6]], names,
             "Six of the 200 pictures to learn from", size=1.45)  # fmt: skip
figures.show(
    fig,
    alt="Six grainy pictures of ones and twos, each a little shifted, the strokes still readable.",
)

# %% [markdown]
# The network is the whole lesson in one line: two 3×3 filters, ReLU, and the average of each map. The first
# average says how much "one" there is, the second how much "two". Such raw scores are called **logits**.
# `F.cross_entropy` turns logits and labels into a loss: small when the right logit is the larger one. Lesson
# 3 takes it apart; here it is enough that it has a slope.


# %%
def logits(images, filters):
    """(N, 1, H, W) and filters (2, 1, 3, 3) -> (N, 2): how much of each filter's pattern is there."""
    return F.relu(F.conv2d(images, filters)).mean(dim=(2, 3))


random = torch.Generator().manual_seed(settings.seed)
filters = (0.3 * torch.randn(2, 1, 3, 3, generator=random)).requires_grad_()
start = filters.detach().clone()
for _ in range(300):
    loss = F.cross_entropy(logits(train_images, filters), train_labels)
    (slope,) = torch.autograd.grad(loss, filters)
    with torch.no_grad():
        filters -= 5.0 * slope
print(f"loss {loss.item():.3f} after 300 steps, {filters.numel()} learned numbers")

# %% [markdown]
# How often is the larger logit the right one, before and after the 300 steps? We ask on the 1,000 new pictures.

# %%
accuracy = {
    name: (logits(test_images, kernel).argmax(1) == test_labels).float().mean().item()
    for name, kernel in (("before", start), ("after", filters.detach()))
}
results.record(accuracy_before=accuracy["before"], accuracy_after=accuracy["after"], test_pictures=len(test_labels))

# %% [markdown]
# **Predict first.** On {{test_pictures:,}} new pictures it is right in {{accuracy_after:.1%}} of cases; the
# random filters it started from reached {{accuracy_before:.1%}}, and tossing a coin gives 50 %. So it has
# found *something*. What will its two filters look like?

# %%
learned = filters.detach()[:, 0]
fig = panels([start[0, 0] * 20, start[1, 0] * 20, learned[0], learned[1]],
             ["start (× 20): one", "start (× 20): two", "learned: one", "learned: two"],
             "It found edges by itself: upright for the one, level for the two", limit=9, size=2.1)  # fmt: skip
figures.show(
    fig,
    alt="Four 3 by 3 filters in blue and red. The two at the start are random. The learned filter for the "
    "one has opposite colours left and right; the learned filter for the two has opposite colours "
    "above and below.",
)

# %% [markdown]
# Colours can deceive, so measure: how much do left and right columns differ, and top and bottom rows?

# %%
across = (learned[:, :, 0].sum(1) - learned[:, :, 2].sum(1)).abs()  # left column against right column
along = (learned[:, 0].sum(1) - learned[:, 2].sum(1)).abs()  # top row against bottom row
assert settings.seed != 0 or (across[0] > along[0] and along[1] > across[1])  # the text is about seed 0
print("one: left-right", round(across[0].item()), "top-bottom", round(along[0].item()))
print("two: left-right", round(across[1].item()), "top-bottom", round(along[1].item()))

# %% [markdown]
# The filter for the one has opposite signs left and right: a **vertical-edge filter**, the very thing
# we designed at the top of this page. The filter for the two has opposite signs above and below.
# Nobody told it that edges matter. It was told which answers were wrong, and edges are what fixed them.
# (Exercise 6 looks at what another start can do.)
#
# That is a convolutional network, complete. Lesson 3 has more filters, more layers, ten classes and real
# pictures. No new idea of *seeing* will be needed.

# %% [markdown]
# ## Pitfalls
#
# Everybody meets these. Here they fail on purpose, with the message that you will see.
#
# **1. The number of channels does not fit.** Weights made for grey, a picture in colour.

# %%
grey_weight = torch.ones(4, 1, 3, 3)  # four filters for one input channel
try:
    F.conv2d(torch.rand(1, 3, 28, 28), grey_weight)
except RuntimeError as error:
    print(type(error).__name__, error)

# %% [markdown]
# Read it slowly: it names the weight's shape, the number of channels it expected (the weight's second axis)
# and the number it got. The fix: make the layer with the picture's channels, `nn.Conv2d(3, 4, 3)`, or the
# picture grey.
#
# **2. The batch axis is missing.** With one axis too few there is an error. With (C, H, W) there is *none*,
# and that is the trap:

# %%
try:
    F.conv2d(torch.rand(28, 28), grey_weight)
except RuntimeError as error:
    print(type(error).__name__, error)

three_greys = torch.rand(3, 28, 28)  # meant as three grey pictures
colour_weight = torch.ones(4, 3, 3, 3)
print("no error, one answer for three pictures:", tuple(F.conv2d(three_greys, colour_weight).shape))
print("what was meant:", tuple(F.conv2d(three_greys[:, None], grey_weight).shape))

# %% [markdown]
# PyTorch takes three axes as *one* picture with channels. Three grey pictures became one colour picture, and
# were added up. The fix: always four axes, (N, C, H, W); `[:, None]` puts the channel axis in.
# `convolution.corr2d_unfold` and its sisters refuse anything else:

# %%
try:
    convolution.corr2d_unfold(three_greys, colour_weight)
except ValueError as error:
    print(type(error).__name__, error)

# %% [markdown]
# **3. Forgetting the padding.** Each 3×3 layer without padding costs two rows and two columns. Nobody
# complains until nothing is left.

# %%
shrinking, kept = torch.rand(1, 1, 28, 28), torch.rand(1, 1, 28, 28)
sides = []
try:
    for _ in range(15):
        shrinking = F.conv2d(shrinking, torch.ones(1, 1, 3, 3) / 9)
        kept = F.conv2d(kept, torch.ones(1, 1, 3, 3) / 9, padding=1)
        sides.append(shrinking.shape[-1])
except RuntimeError as error:
    print(sides, type(error).__name__, error, sep="\n")
print("with padding=1 still:", tuple(kept.shape))

# %% [markdown]
# **4. A kernel larger than the picture**, often because of dilation. PyTorch's message is the last one above.
# The helper says it in pixels:

# %%
# NBVAL_CHECK_OUTPUT
try:
    convolution.output_size(28, 5, dilation=8)
except ValueError as error:
    print(type(error).__name__, error)

# %% [markdown]
# **5. A kernel copied from a source that flips.** A signal-processing book means true convolution. For an
# edge kernel the flip turns every sign: left becomes right.

# %%
book = torch.tensor([[1.0, 0.0, -1.0]] * 3)  # "brighter to the right" in a book that flips
as_it_is, flipped_first = corr2d_slices(one, book), corr2d_slices(one, book.flip(0, 1))
assert torch.equal(as_it_is, -flipped_first) and torch.equal(flipped_first, corr2d_slices(one, vertical))
print("left side of the stroke:", as_it_is[4, 2].item(), "without the flip,", flipped_first[4, 2].item(), "with it")

# %% [markdown]
# There is no error message for a wrong sign. The fix: `kernel.flip(0, 1)`, and a test on a picture with one
# white pixel, as [above](#Convolution-or-correlation).
#
# **6. A learning rate that is too large.** The secret kernel again, with rate 1.2 instead of 0.2:

# %%
too_fast, wild = recover(examples, targets, rate=1.2, steps=300)
print("loss:", ", ".join(f"{too_fast[step]:.3g}" for step in (0, 1, 2, 5, 20, 60, 299)))
print("kernel now:", wild[-1].flatten()[:3].tolist(), "…")

# %% [markdown]
# Every step overshoots by more than it corrects: 1 − 2 · 1.2 = −1.4, so the gap grows 1.4-fold each time and
# the loss about twofold, until the numbers leave what floats can hold and become `inf` and then `nan`, not a
# number. When a loss *rises* from the first step on, suspect the rate first. The fix: divide it by ten.

# %% [markdown]
# ## Exercises
#
# Write your code in place of the dots. Each stub runs as it is, so that *Run All* always finishes.
#
# The cell after each stub checks your answer: ✓ correct, ✗ wrong, with the first difference, or ○ not
# attempted. An answer must leave the tensors that it is given as they were.
#
# **Exercise 1.** Which padding keeps the side of a picture, for a kernel of odd side `k` and dilation `d`, at
# stride 1?


# %%
def same_padding(k, d=1): ...


# %%
# Stuck? exercises.lesson2.same_padding.hint() helps a little, .solution() shows one way to do it
exercises.lesson2.same_padding.check(same_padding)

# %% [markdown]
# **Exercise 2.** A picture goes through several layers, each a tuple `(kernel, stride, padding)`. Return the
# side of the final output. For 28 and `[(3, 1, 0), (3, 1, 0), (2, 2, 0)]` it is 12.


# %%
def final_side(n, layers): ...


# %%
# Stuck? exercises.lesson2.final_side.hint() helps a little, .solution() shows one way to do it
exercises.lesson2.final_side.check(final_side)

# %% [markdown]
# **Exercise 3.** Write max pooling for one picture (H, W) with windows of `size`×`size` side by side. Rows
# and columns that fill no whole window are left out. No `F.max_pool2d`, no `pool2d`.


# %%
def max_pool(picture, size): ...


# %%
# Stuck? exercises.lesson2.max_pool.hint() helps a little, .solution() shows one way to do it
exercises.lesson2.max_pool.check(max_pool)

# %% [markdown]
# **Exercise 4.** A box blur of 9×9 needs 81 products per pixel. Do it with two kernels, 1×9 and 9×1, and 18
# products. Return the blurred picture, (H − 8, W − 8).


# %%
def box_blur_in_two_steps(picture, side=9): ...


# %%
# Stuck? exercises.lesson2.box_blur_in_two_steps.hint() helps a little, .solution() shows one way to do it
exercises.lesson2.box_blur_in_two_steps.check(box_blur_in_two_steps)

# %% [markdown]
# **Exercise 5.** Find a small pattern in a picture: return the `(row, column)` of the window's upper left
# corner where the correlation with the pattern is largest. Hint: subtract the pattern's mean first. Why?


# %%
def find_pattern(picture, pattern): ...


# %%
# Stuck? exercises.lesson2.find_pattern.hint() helps a little, .solution() shows one way to do it
exercises.lesson2.find_pattern.check(find_pattern)

# %% [markdown]
# **Exercise 6.** Set `seed = 6` at the top and run everything again: gradient descent starts elsewhere and
# ends elsewhere. Compare the accuracy and the two filters with those above. (What does a filter measure that
# has only positive numbers? Compare `one.sum()` and `two.sum()`.) Write a function that tells for any 3×3
# filter which edge it looks for: `"upright"` when the sums of its left and right column differ more than
# twice as much as those of its top and bottom row, `"level"` when it is the other way round, `"neither"`
# otherwise.


# %%
def direction(kernel): ...


# %%
# Stuck? exercises.lesson2.direction.hint() helps a little, .solution() shows one way to do it
exercises.lesson2.direction.check(direction)

# %% [markdown]
# ## Quiz
#
# Choose an answer, and read why it is right or wrong; then read the others too. (In a copy without a kernel, unfold
# *Answers* below each question.)

# %%
exercises.lesson2.quiz.ask(1)

# %%
exercises.lesson2.quiz.ask(2)

# %%
exercises.lesson2.quiz.ask(3)

# %%
exercises.lesson2.quiz.ask(4)

# %%
# The figures in the answers, checked
assert 2 * convolution.conv_parameters(64, 64, 3, bias=False) == 73_728
assert convolution.conv_parameters(64, 64, 5, bias=False) == 102_400
assert F.conv2d(torch.zeros(8, 16, 20, 20), torch.zeros(32, 16, 3, 3), stride=2, padding=1).shape == (8, 32, 10, 10)
print("the quiz keeps its word")

# %% [markdown]
# ## What you learned
#
# - A convolution slides a small table of weights over a picture; one window gives one number: the sum of
#   products.
# - Loops, slices, one matrix product and the library compute the same; only the work around the products
#   differs.
# - What the field calls convolution is cross-correlation; the true one flips the kernel.
# - The output has floor((n + 2p − d(k − 1) − 1)/s) + 1 cells along a side.
# - A filter has a layer for each input channel and gives one output channel; weights are (O, C, kh, kw).
# - ReLU keeps one sign and makes depth worth having; pooling trades "exactly where" for "about where".
# - Receptive fields grow slowly by kernels and quickly by strides; the weights do not grow with the picture.
# - Filters need not be designed. Gradient descent found an edge filter from labels alone.
#
# ## Where the code lives
#
# | built here | in the package |
# | --- | --- |
# | `corr2d_loops`, `corr2d_slices`, `corr2d_unfold` | the same names in `convolution`, for whole batches |
# | `output_size`, `field_sizes` | `convolution.output_size`, `convolution.receptive_field` |
# | pooling by slices | `convolution.pool2d` |
# | the named kernels | `convolution.KERNELS`, `convolution.kernel` |
# | counting weights | `convolution.conv_parameters`, `convolution.dense_parameters` |
# | the worked cell and its drawing | `convolution.worked_cell`, `convolution.number_grid` |
# | the sliders and fields | `widgets.lesson2` |
# | the race with channels | `benchmarks/convolutions.py` |
# | the checks of your answers | `exercises.lesson2` |
#
# ## What next
#
# [Lesson 3: a first network](03_fashion_mnist_cnn.ipynb). Filters, ReLU and pooling, stacked, and trained on
# 28×28 pictures of clothes: from eighteen learned numbers to a network that sorts ten kinds of things.
