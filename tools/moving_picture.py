"""Record the README's moving picture: lesson 1's channel mixer in JupyterLab, its sliders moved by keys.

    python tools/moving_picture.py [FILE]

It needs a Chromium, takes a minute, and writes docs/pictures/mixer.webp unless another file is named.
"""

import argparse
import io
import sys
from pathlib import Path

from lab import NONE_FOUND, Lab, chromium, notebook_of
from PIL import Image

FILE = Path(__file__).resolve().parent.parent / "docs" / "pictures" / "mixer.webp"
CELL = 'from course_utils import widgets\n\nwidgets.lesson1.channel_mixer("coffee")'
WINDOW, WIDTH = 1000, 760  # pixels: of the page, and of the picture
SLIDERS, STEPS, KEYS = 3, 9, 1  # how many are moved, in how many frames, by how many keys each
PAUSE, FRAME = 900, 110  # milliseconds


def frames() -> list[Image.Image]:
    """Return the panel after each move, from its first state on."""
    found: list[Image.Image] = []
    with Lab() as lab, lab.open(notebook_of([CELL]), width=WINDOW) as notebook:
        notebook.run_all()
        (panel,) = notebook.panels()

        def take() -> None:
            picture = Image.open(io.BytesIO(panel.place.screenshot()))
            picture = picture.convert("RGB")
            found.append(
                picture.resize((WIDTH, round(picture.height * WIDTH / picture.width)), Image.Resampling.LANCZOS)
            )

        take()
        sliders = [control for control in panel.controls() if control.kind == "slider"]
        for number, slider in enumerate(sliders[:SLIDERS]):
            for _ in range(STEPS):
                slider.press(*(["ArrowLeft" if number % 2 else "ArrowRight"] * KEYS))
                take()
    height = found[0].height
    return [frame.crop((0, 0, WIDTH, height)) for frame in found]


def main() -> int:
    """Record, write, and say how large the file is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, nargs="?", default=FILE)
    file = parser.parse_args().file
    if chromium() is None:
        parser.error(NONE_FOUND)
    there = frames()
    back = there[-2:0:-1]  # it ends as it began, and goes on without a jump
    times = [PAUSE, *[FRAME] * (len(there) - 2), PAUSE, *[FRAME] * len(back)]
    there[0].save(file, save_all=True, append_images=[*there[1:], *back], duration=times, loop=0, quality=70, method=6)
    print(f"{file}: {len(times)} frames, {file.stat().st_size / 1000:,.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
