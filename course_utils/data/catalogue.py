"""What is known of each data set beforehand: its names and sizes, and the files it is downloaded as."""

from __future__ import annotations

from dataclasses import dataclass

from course_utils.data import samples
from course_utils.data.downloads import Remote
from course_utils.errors import SettingError
from course_utils.pictures import files as picture_files


@dataclass(frozen=True)
class KnownSet:
    """What is known of a set beforehand: names, sizes, and the files it is downloaded as."""

    name: str
    title: str
    classes: tuple[str, ...]
    counts: tuple[int, int]  # training and test pictures
    channels: int
    remotes: tuple[Remote, ...] = ()
    mirrors: tuple[str, ...] = ()
    shareable: bool = True  # whether a licence allows its pictures to be passed on


FASHION_MNIST = KnownSet(
    name="fashion_mnist",
    title="Fashion-MNIST",
    classes=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
    counts=(60_000, 10_000),
    channels=1,
    remotes=(
        Remote(
            "train-images-idx3-ubyte.gz",
            "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7",
            26_421_856,
        ),
        Remote(
            "train-labels-idx1-ubyte.gz",
            "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056",
            29_491,
        ),
        Remote(
            "t10k-images-idx3-ubyte.gz",
            "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa",
            4_422_079,
        ),
        Remote(
            "t10k-labels-idx1-ubyte.gz",
            "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05",
            5_125,
        ),
    ),
    mirrors=(
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    ),
)
# The SHA-256 of the same files unpacked, as torchvision leaves them.
FASHION_MNIST_UNPACKED = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
CIFAR10 = KnownSet(
    name="cifar10",
    title="CIFAR-10",
    classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    counts=(50_000, 10_000),
    channels=3,
    # The binary version: the Python version is pickled. Size and SHA-256 as TensorFlow Datasets publishes them.
    remotes=(
        Remote(
            "cifar-10-binary.tar.gz",
            "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            170_052_171,
        ),
    ),
    mirrors=("https://www.cs.toronto.edu/~kriz/",),
    shareable=False,  # its pictures were collected from the web, and no licence is stated
)
PHOTO_CROPS = KnownSet(
    name="photo_crops",
    title="Photo crops",
    classes=picture_files.photographs(),
    counts=(8 * samples.TRAIN_CROPS, 8 * samples.TEST_CROPS),
    channels=3,
)
KNOWN = {known.name: known for known in (FASHION_MNIST, CIFAR10, PHOTO_CROPS)}


def known_set(name: str) -> KnownSet:
    """Return what is known of the set `name`, or raise SettingError with the names there are."""
    if name not in KNOWN:
        raise SettingError(
            f"There is no data set {name!r}; choose one of {', '.join(KNOWN)}, or use data.folder(path)."
        )
    return KNOWN[name]
