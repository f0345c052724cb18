"""What the site's face is made of: the explorations' data, and the picture that a link to the site shows elsewhere."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from course_utils import convolution, figures, pictures
from course_utils.widgets import lesson1, lesson2

# What docs/_static/explore.js can show without a kernel, by the call in a lesson whose picture it takes the place of.
EXPLORATIONS = {
    "widgets.lesson1.channel_mixer(": "mixer",
    "widgets.lesson1.learning_rate(": "descent",
    "widgets.lesson2.kernel_editor(": "editor",
    "widgets.lesson6.valley_walk(": "valley",
}


def exploration_data() -> str:
    """Return the script that gives `explore.js` its photographs, without loss, its kernels and its colours."""
    photographs = {}
    for name, smaller in (("coffee", lesson1.SMALL), ("cat", 1)):
        file = io.BytesIO()
        pictures.photograph(name).convert("RGB").reduce(smaller).save(
            file, "webp", lossless=True, quality=100, method=6
        )
        photographs[name] = f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"
    kernels = {}
    for name in convolution.KERNELS:
        numbers, normalise = lesson2.as_written(name)
        kernels[name] = {"numbers": numbers.flatten().tolist(), "normalise": normalise}
    colours = colormaps[figures.DIVERGING](range(256), bytes=True)[:, :3].tolist()
    data = {"photographs": photographs, "kernels": kernels, "diverging": colours}
    return f"const exploreData = {json.dumps(data, ensure_ascii=False)};\n"


def card(path: Path) -> None:
    """Write the picture for links to the site, 1200 × 630: the name, the promise, and what four kernels see."""
    with figures.style():
        figure = Figure(figsize=(12, 6.3), layout="none", facecolor="#0F1B2D")
        for k, name in enumerate(("identity", "vertical edges", "Sobel y", "emboss")):
            axes = figure.add_axes((0.052 + 0.226 * k, 0.08, 0.218, 0.42))
            axes.axis("off")
            seen = lesson2.filtered("cat", *lesson2.as_written(name))
            look = {"cmap": figures.DIVERGING, "vmin": -0.5, "vmax": 0.5} if seen.signed else {"vmin": 0, "vmax": 1}
            axes.imshow(seen.after.numpy()[:, 60:380], aspect="auto", **look)
        logo = figure.add_axes((0.052, 0.66, 0.115, 0.22), xlim=(0, 32), ylim=(32, 0))
        logo.axis("off")
        for x, y, colour in SQUARES:
            logo.add_patch(Rectangle((x, y), 8, 8, color=colour))
        figure.text(0.19, 0.8, "Pixels to Predictions", color="white", fontsize=50, weight="bold", va="center")
        promise = "Image classification, from one pixel to a trained network"
        figure.text(0.192, 0.68, promise, color="#B9C7DA", fontsize=23, va="center")
        file = io.BytesIO()
        figure.savefig(file, dpi=100, facecolor=figure.get_facecolor())
    Image.open(file).convert("RGB").quantize(128).save(path, optimize=True)


# The logo: pixels on the left, fewer numbers in the middle, one answer on the right.
SQUARES = [
    *((1, y, colour) for y, colour in ((1, "#56B4E9"), (12, "#0072B2"), (23, "#56B4E9"))),
    *((12, y, colour) for y, colour in ((6.5, "#0072B2"), (17.5, "#009E73"))),
    (23, 12, "#E69F00"),
]


def logo() -> str:
    """Return the logo as SVG; it is the favicon too."""
    squares = "".join(f'<rect x="{x}" y="{y}" width="8" height="8" rx="1.5" fill="{c}"/>' for x, y, c in SQUARES)
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32" width="32" height="32">{squares}</svg>\n'
