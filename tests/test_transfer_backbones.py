"""Networks trained by others: weights, preprocessing and names as their libraries have them; heads of each family."""

import io
import socket
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from mirror import serving
from PIL import Image
from torch import nn
from torch.nn import functional as F

from course_utils import models, pictures, transfer
from course_utils.data import downloads
from course_utils.errors import DataError
from course_utils.transfer import weights

FAMILIES = ("resnet18", "squeezenet1_0", "vgg16", "mobilenet_v3_small", "googlenet")
PHOTOGRAPHS = ("cat", "coffee", "raccoon")


@pytest.fixture
def torch_home(tmp_path, monkeypatch):
    """An empty cache of torchvision, and no network."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("COURSE_OFFLINE", "1")
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    return tmp_path / "hub" / "checkpoints"


@pytest.fixture(scope="module")
def lite():
    return transfer.backbone("efficientnet_lite0")


def random_weights(name):
    """Random numbers for every tensor of a torchvision network's published file."""
    extra = {"aux_logits": True, "init_weights": False} if name == "googlenet" else {}
    with torch.device("meta"):
        shapes = torchvision.models.get_model(name, weights=None, **extra).state_dict()
    generator = torch.Generator().manual_seed(3)
    state = {}
    for key, value in shapes.items():
        if value.dtype == torch.int64:
            state[key] = torch.zeros(value.shape, dtype=torch.int64)
        else:
            size = 0.5 if value.ndim < 2 else (6 / max(1, value[0].numel())) ** 0.5
            state[key] = torch.empty(value.shape).uniform_(-size, size, generator=generator)
            state[key] = state[key].abs() + 0.5 if key.endswith("running_var") else state[key]
    return state


def place(name, folder):
    """Lay random weights into torchvision's cache under the name of the published file."""
    file = folder / Path(torchvision.models.get_model_weights(name).DEFAULT.url).name
    torch.save(random_weights(name), file)
    return file


def test_the_course_brings_a_network_that_knows_a_cat_and_an_espresso(lite, torch_home):
    cats = {"tabby", "tiger cat", "Persian cat", "Siamese cat", "Egyptian cat"}
    guesses = lite.predict(pictures.photograph("cat"))
    assert guesses[0].name in cats and sum(g.probability for g in guesses if g.name in cats) > 0.8
    best = lite.predict(pictures.photograph("coffee"), k=1)[0]
    assert best.name == "espresso" and best.probability > 0.8
    assert str(best).startswith("espresso 9")


def test_it_prepares_pictures_as_timm_does(lite):
    import timm

    model = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    reference = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)
    picture = pictures.photograph("cat")
    torch.testing.assert_close(lite.preprocess(picture), reference(picture))


def test_the_channels_of_a_pixel_lie_side_by_side_also_after_a_file(lite, tmp_path):
    transfer.save_network(lite, tmp_path / "lite.safetensors")
    back, other = transfer.load_network(tmp_path / "lite.safetensors"), transfer.backbone("resnet18", weights=None)
    for net in (lite, back, other):
        kernels = [weight for weight in net.model.parameters() if weight.dim() == 4]
        assert kernels and all(each.is_contiguous(memory_format=torch.channels_last) for each in kernels)


@pytest.mark.thorough
@pytest.mark.parametrize("name", FAMILIES)
def test_preprocessing_and_answers_are_those_of_torchvisions_own_path(name, torch_home):
    file = place(name, torch_home)
    net = transfer.backbone(name)
    published = torchvision.models.get_model_weights(name).DEFAULT
    reference, prepare = torchvision.models.get_model(name, weights=published).eval(), published.transforms()
    reference.to(memory_format=torch.channels_last)  # so that both add in the same order, to the last bit
    for photograph in PHOTOGRAPHS[: 1 if name == "vgg16" else None]:  # it takes half a second for each
        picture = pictures.photograph(photograph)
        assert torch.equal(net.preprocess(picture), prepare(picture))
        with torch.inference_mode():
            expected = reference(prepare(picture)[None])[0].softmax(dim=0).topk(5)
        got = net.predict(picture)
        assert [g.name for g in got] == [published.meta["categories"][i] for i in expected.indices]
        assert [g.probability for g in got] == expected.values.tolist()
    assert net.source == "ImageNet weights from torchvision's cache"
    file.unlink()


def test_vgg_with_the_published_head_has_the_published_number_of_parameters():
    net = transfer.backbone("vgg16", weights=None, device="meta")
    transfer.freeze(net.model)
    net = transfer.replace_head(
        net, [f"class {i}" for i in range(100)], transfer.published_head(4096, 100, device="meta")
    )
    assert models.count_parameters(net.model) == 135_335_076
    assert models.count_parameters(net.model, trainable_only=True) == 1_074_532
    assert all(parameter.device.type == "meta" for parameter in net.model.parameters())


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("efficientnet_lite0", "classifier"),
        ("resnet18", "fc"),
        ("vgg16", "classifier.6"),
        ("squeezenet1_0", "classifier.1"),
        ("densenet121", "classifier"),
        ("inception_v3", "fc"),
        ("mobilenet_v3_small", "classifier.3"),
        ("convnext_tiny", "classifier.2"),
        ("vit_b_16", "heads.head"),
        ("swin_t", "head"),
        ("resnet10t", "fc"),
    ],
)
def test_the_head_of_every_family_is_found_and_replaced(name, head):
    net = transfer.backbone(name, weights=None, device="meta")
    assert net.head == head
    new = transfer.replace_head(net, ["ants", "bees", "wasps"])
    assert new.classes == ("ants", "bees", "wasps") and new.model is net.model
    images = torch.zeros(2, 3, net.preprocess.crop, net.preprocess.crop, device="meta")
    assert new.model.eval()(images).shape == (2, 3)


@pytest.mark.parametrize("name", ["efficientnet_lite0", "resnet18", "squeezenet1_0"])
def test_features_and_tail_together_are_the_network(name):
    net = transfer.replace_head(transfer.backbone(name, weights=None), ["a", "b", "c"])
    images = torch.rand(2, 3, 224, 224)
    with torch.no_grad():
        whole = net.model.eval()(images)
    parts = net.tail().eval()(net.features(images))
    torch.testing.assert_close(parts, whole)
    parts.sum().backward()  # a head can be trained on features
    assert all(
        parameter.grad is None for key, parameter in net.model.named_parameters() if not key.startswith(net.head)
    )
    assert all(parameter.grad is not None for parameter in net.head_layer.parameters())


def test_a_new_head_is_the_same_for_the_same_seed_and_leaves_the_random_state_alone(lite):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    net = transfer.backbone("resnet18", weights=None, device="cpu")
    torch.set_rng_state(before)
    first = transfer.replace_head(net, ["a", "b"], seed=5).head_layer.weight.clone()
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(transfer.replace_head(net, ["a", "b"], seed=5).head_layer.weight, first)
    assert not torch.equal(transfer.replace_head(net, ["a", "b"], seed=6).head_layer.weight, first)


def test_log_softmax_and_nll_are_cross_entropy():
    head = transfer.published_head(8, 5).eval()
    features, labels = torch.randn(6, 8), torch.randint(5, (6,))
    torch.testing.assert_close(F.nll_loss(head(features), labels), F.cross_entropy(head[:-1](features), labels))


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("ants", ("ant",)),
        ("Bees", ("bee",)),
        ("sandal", ("sandal",)),
        ("Coat", ("fur coat", "lab coat", "trench coat")),
        ("trench_coats", ("trench coat",)),
        ("cats", ("tiger cat", "Persian cat", "Siamese cat", "Egyptian cat", "Madagascar cat")),
        ("strawberries", ("strawberry",)),
        ("matchsticks", ("matchstick",)),
        ("Ankle boot", ()),
        ("at", ()),
        ("", ()),
        ("猫", ()),
    ],
)
def test_a_network_says_which_of_your_classes_are_categories_of_its_own(lite, name, kinds):
    assert lite.knows([name]) == ({name: kinds} if kinds else {})


def test_short_last_words_keep_their_s(lite):
    assert "school bus" in lite.knows(["bus"])["bus"]
    assert lite.knows(["school buses", "bow ties"]).keys() == {"bow ties"}


def test_a_network_warns_of_classes_that_it_knows_and_of_no_others(lite):
    assert lite.warning(["my mug 2", "Ankle boot"]) == ""
    said = lite.warning(["ants", "stones", "cats"])
    assert said.startswith("efficientnet_lite0 has categories for 2 of your classes: 'ants' (ant), 'cats' (tiger cat, ")
    assert "and 2 more" in said and "partly its own" in said
    assert transfer.replace_head(transfer.backbone("resnet18", weights=None), ["ants", "bees"]).knows(["ant"])


@pytest.mark.parametrize("names", [["a"], ["a", "a"], [], ["", "b"], "ab"])
def test_a_head_needs_two_classes_of_different_names(names):
    net = transfer.backbone("resnet18", weights=None, device="meta")
    with pytest.raises(ValueError, match="at least two classes with different names"):
        transfer.replace_head(net, names)


def test_a_class_name_that_could_not_be_saved_is_refused_at_once():
    net = transfer.backbone("squeezenet1_0", weights=None)
    assert transfer.replace_head(net, ["ants", "x" * 200]).classes[1] == "x" * 200
    with pytest.raises(ValueError, match=r"The class name 'x+…' has 201 characters, more than the limit of 200; short"):
        transfer.replace_head(net, ["ants", "x" * 201])


def test_a_head_for_other_features_is_refused():
    net = transfer.backbone("resnet18", weights=None, device="meta")
    with pytest.raises(ValueError, match="takes 4096 features, but resnet18 has 512"):
        transfer.replace_head(net, ["a", "b"], nn.Linear(4096, 2))
    with pytest.raises(TypeError, match=r"a layer that was made, such as nn\.Linear\(512, 3\), not <class"):
        transfer.replace_head(net, ["a", "b"], nn.Linear)
    with pytest.raises(TypeError, match="not a ResNet; give it the whole of that, and not its model alone"):
        transfer.replace_head(net.model, ["a", "b"])
    with pytest.raises(ValueError, match="gives 5 outputs, but there are 2 classes; change its last layer"):
        transfer.replace_head(net, ["a", "b"], nn.Sequential(nn.Linear(512, 2), nn.ReLU(), nn.Linear(2, 5)))
    with pytest.raises(ValueError, match="takes no features"):
        transfer.replace_head(net, ["a", "b"], nn.ReLU())


def test_probabilities_take_the_file_of_one_picture_too():
    file = str(pictures.photograph_file("coffee"))
    net = transfer.backbone("squeezenet1_0", weights=None)
    torch.testing.assert_close(net.probabilities(file), net.probabilities([file]))


def test_weights_that_are_not_there_are_one_sentence_and_offline_nobody_is_asked(torch_home, monkeypatch):
    monkeypatch.setattr(weights.downloads, "reachable", lambda urls: pytest.fail("a server was asked"))
    with pytest.raises(DataError, match=r"resnet18-\w+\.pth\) are not in .* and COURSE_OFFLINE forbids .*TORCH_HOME"):
        transfer.backbone("resnet18")
    monkeypatch.setenv("COURSE_OFFLINE", "0")
    monkeypatch.setattr(weights.downloads, "reachable", lambda urls: [])
    with pytest.raises(DataError, match=r"download\.pytorch\.org cannot be reached; copy"):
        transfer.backbone("resnet18")
    with pytest.raises(DataError, match=r"resnet10t \(timm--\S+\) are not in .* and huggingface\.co cannot be reached"):
        transfer.backbone("resnet10t")
    assert list(torch_home.iterdir()) == []


def test_a_server_that_accepts_and_then_stays_silent_is_given_up(torch_home, monkeypatch):
    monkeypatch.setenv("COURSE_OFFLINE", "0")
    monkeypatch.setattr(downloads, "STALL_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/resnet18-f37072fd.pth"
        with pytest.raises(DataError, match="could not be downloaded from 127"):
            weights.torchvision_file(url, "resnet18")
    assert list(torch_home.iterdir()) == []


@pytest.mark.parametrize("behaviour", ["dripping", "dripping before the file", "endless"])
def test_a_server_that_drips_or_never_ends_is_given_up(torch_home, monkeypatch, behaviour):
    monkeypatch.setenv("COURSE_OFFLINE", "0")
    monkeypatch.setattr(downloads, "SLOW_AFTER", 1)
    monkeypatch.setattr(weights, "MOST_BYTES", 100_000)
    name = "resnet18-f37072fd.pth"
    with serving({name: bytes(5000)}, behaviour) as mirror, pytest.raises(DataError, match="1, which sends"):
        weights.torchvision_file(mirror.url + name, "resnet18")
    assert list(torch_home.rglob("*.pth")) == []


@pytest.mark.parametrize("behaviour", ["good", "short", "html", "gone", "dripping", "dripping before the file"])
def test_weights_of_a_timm_network_are_downloaded_whole_or_not_at_all(torch_home, monkeypatch, tmp_path, behaviour):
    import safetensors.torch
    import timm
    from huggingface_hub import constants

    monkeypatch.setenv("COURSE_OFFLINE", "0")
    monkeypatch.setattr(downloads, "SLOW_AFTER", 1)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    state = timm.create_model("resnet10t", pretrained=False).state_dict()
    with serving({"model.safetensors": safetensors.torch.save(state)}, behaviour) as mirror:
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", mirror.url + "{repo_id}/{revision}/{filename}")
        if behaviour == "good":
            assert transfer.backbone("resnet10t").source == "weights, downloaded by way of timm"
        else:
            with pytest.raises(DataError, match=r"which sends|damaged, so nothing was kept|not be downloaded"):
                transfer.backbone("resnet10t")
    if behaviour == "good":  # the second time nobody is asked
        net = transfer.backbone("resnet10t")
        assert all(torch.equal(value, state[key]) for key, value in net.model.state_dict().items())
    else:
        assert list(torch_home.iterdir()) == []


@pytest.mark.parametrize("behaviour", ["good", "wrong", "html", "gone"])
def test_a_download_is_kept_only_when_its_hash_is_right(torch_home, monkeypatch, behaviour):
    import hashlib

    monkeypatch.setenv("COURSE_OFFLINE", "0")
    buffer = io.BytesIO()
    torch.save({"fc.weight": torch.ones(3)}, buffer)
    name = f"resnet18-{hashlib.sha256(buffer.getvalue()).hexdigest()[:8]}.pth"
    with serving({name: buffer.getvalue()}, behaviour) as mirror:
        if behaviour == "good":
            path, origin = weights.torchvision_file(mirror.url + name, "resnet18")
            assert path == torch_home / name and "downloaded" in origin and path.read_bytes() == buffer.getvalue()
            return
        words = "could not be downloaded" if behaviour == "gone" else "wrong SHA-256, so nothing was kept"
        with pytest.raises(DataError, match=words):
            weights.torchvision_file(mirror.url + name, "resnet18")
    assert list(torch_home.iterdir()) == []


class Bomb:
    def __reduce__(self):
        return Path.write_text, (Path("ran"), "it ran")


def test_weights_in_the_cache_that_hold_code_are_refused_and_not_run(torch_home, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    file = torch_home / Path(torchvision.models.get_model_weights("resnet18").DEFAULT.url).name
    torch.save({"fc.weight": Bomb()}, file)
    with pytest.raises(DataError, match="damaged or holds more than weights; delete it"):
        transfer.backbone("resnet18")
    file.write_bytes(b"\x80\x02 cut short")
    with pytest.raises(DataError, match="damaged or holds more than weights"):
        transfer.backbone("resnet18")
    torch.save({"fc.weight": torch.ones(2)}, file)
    with pytest.raises(DataError, match="belongs to another network"):
        transfer.backbone("resnet18")
    assert not (tmp_path / "ran").exists()


def test_timm_networks_take_their_weights_from_hugging_faces_cache(tmp_path, monkeypatch):
    import safetensors.torch
    import timm
    from huggingface_hub import constants

    monkeypatch.setenv("COURSE_OFFLINE", "1")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    reference = timm.create_model("resnet10t", pretrained=False)
    top = tmp_path / "models--timm--resnet10t.c3_in1k"
    (top / "refs").mkdir(parents=True)
    (top / "refs" / "main").write_text("0" * 40)
    (top / "snapshots" / ("0" * 40)).mkdir(parents=True)
    safetensors.torch.save_file(reference.state_dict(), top / "snapshots" / ("0" * 40) / "model.safetensors")
    net = transfer.backbone("resnet10t")
    for key, value in reference.state_dict().items():
        assert torch.equal(net.model.state_dict()[key], value)
    assert net.preprocess.crop == 176 and len(net.classes) == 1000


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("resnet81", "did you mean 'resnet18'"),
        ("hf-hub:timm/resnet10t", "There is no network 'hf-hub"),
        ("fcn_resnet50", "There is no network"),
        (None, "There is no network None"),
    ],
)
def test_an_unknown_network_is_refused_and_nothing_is_fetched(name, words, monkeypatch):
    monkeypatch.setattr(socket, "create_connection", None)
    with pytest.raises(DataError, match=words):
        transfer.backbone(name)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match='weights must be "imagenet" or None'):
        transfer.backbone("resnet18", weights="mine")
    with pytest.raises(ValueError, match="has no numbers; build it with weights=None"):
        transfer.backbone("resnet18", device="meta")
    with pytest.raises(DataError, match=r"regnet_y_400mf computes while it is built"):
        transfer.backbone("regnet_y_400mf", weights=None, device="meta")


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (3, 224), (640, 480)])
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "CMYK", "RGBA", "1"])
def test_pictures_of_any_size_and_mode_become_a_square_of_the_right_size(size, mode):
    prepare = transfer.Preprocess(256, 224, (0.5,) * 3, (0.5,) * 3, "bicubic")
    image = prepare(Image.new(mode, size))
    assert image.shape == (3, 224, 224) and image.dtype == torch.float32 and image.isfinite().all()


def test_a_picture_opened_by_pillow_is_seen_as_the_course_would_open_it(tmp_path):
    prepare = transfer.Preprocess(4, 4, (0.5,) * 3, (0.5,) * 3)
    deep = Image.fromarray(np.full((4, 4), 128 * 257, np.uint16))
    for name, picture, level in (("clear.png", Image.new("RGBA", (4, 4)), 255), ("deep.png", deep, 128)):
        picture.save(tmp_path / name)
        with Image.open(tmp_path / name) as opened:
            seen = prepare.cut(opened)
        assert torch.equal(seen, prepare.cut(pictures.open_picture(tmp_path / name))) and (seen == level).all()


def test_a_tensor_is_prepared_like_the_picture(lite):
    picture = pictures.photograph("cat")
    tensor = pictures.to_tensor(picture)
    assert lite.preprocess.cut(tensor).shape == (3, 224, 224)
    for wrong in (tensor.float(), tensor[0], tensor[:, :0], "cat.jpg"):
        with pytest.raises(TypeError, match="A picture is a Pillow picture or a uint8 tensor"):
            lite.preprocess(wrong)


@pytest.mark.parametrize(
    "values",
    [
        {"resize": 0},
        {"resize": 128},
        {"resize": (128, 256)},
        {"resize": (256, 256, 256)},
        {"resize": ()},
        {"mean": (0.5, float("nan"), 0.5)},
        {"std": (0.5, 0.5, float("inf"))},
        {"crop": 10**6},
        {"crop": "224"},
        {"mean": (0.5,)},
        {"std": (0.5, 0, 0.5)},
        {"interpolation": "magic"},
    ],
)
def test_impossible_preprocessing_is_refused(values):
    with pytest.raises(ValueError, match=r"must be|need|none shorter than crop"):
        transfer.Preprocess(**{"resize": 256, "crop": 224, "mean": (0.5,) * 3, "std": (0.5,) * 3} | values)


def test_preprocessing_that_was_published_with_a_border_is_taken():
    assert transfer.Preprocess(389, 448, (0.5,) * 3, (0.5,) * 3)(Image.new("RGB", (9, 9))).shape == (3, 448, 448)


def test_prediction_leaves_the_network_in_its_mode_and_works_beside_other_threads(lite):
    lite.model.train()
    before = {name: value.clone() for name, value in lite.model.state_dict().items()}
    found = []
    threads = [threading.Thread(target=lambda: found.append(lite.predict(pictures.photograph("coffee"), k=1)))]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert found[0][0].name == "espresso" and lite.model.training
    assert all(torch.equal(before[name], value) for name, value in lite.model.state_dict().items())
    lite.model.eval()
    with pytest.raises(ValueError, match="k must be at least 1"):
        lite.predict(pictures.photograph("coffee"), k=0)
