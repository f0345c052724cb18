"""Explorations of lesson 5: uploads of any kind, rare classes, and where a network looks."""

import io
from dataclasses import replace

import pytest
import torch
from matplotlib.figure import Figure
from panels import every_control, figures_in_memory, operate_everything, several_values
from PIL import Image

from course_utils import pictures, transfer
from course_utils.base.words import part, short
from course_utils.errors import DataError
from course_utils.widgets import lesson5
from course_utils.widgets.panel import VIEW

COUNTS = (40, 20, 10, 5, 3, 2)
ACCURACY = {
    "nothing done": torch.tensor([0.9, 0.9, 0.8, 0.7, 0.5, 0.3]),
    "adjusted logits": torch.tensor([0.88, 0.88, 0.8, 0.7, 0.6, 0.5]),
}


@pytest.fixture(scope="module")
def lite():
    return transfer.backbone("efficientnet_lite0")


@pytest.fixture
def classifier(lite):
    mine = transfer.replace_head(transfer.backbone("squeezenet1_0", weights=None), ["ants", "bees"])
    return lesson5.own_picture({"ImageNet": lite, "yours": mine}, ("cat", "coffee"))


def encoded(picture, kind="jpeg"):
    buffer = io.BytesIO()
    picture.save(buffer, kind)
    return buffer.getvalue()


def send(panel, name, content):
    """Upload a file as the browser does, in the form of the installed ipywidgets."""
    chooser = panel.controls["file"]
    entry = {"name": name, "type": "image/jpeg", "size": len(content), "last_modified": 0, "content": content}
    if isinstance(chooser.value, dict):
        chooser.value = {name: {"metadata": {"name": name}, "content": content}}
        return
    deserialised = type(chooser).value.metadata["from_json"]([entry], chooser)
    chooser.value = deserialised


@pytest.mark.thorough
def test_a_photograph_is_classified_and_every_control_takes_its_values(classifier):
    before = figures_in_memory()
    assert classifier.sentence.startswith("cat: most likely ") and "cat" in classifier.sentence
    assert operate_everything(classifier) >= 3
    assert figures_in_memory() <= before
    assert {control.description for control in every_control(classifier)} == {
        "network",
        "picture",
        "Your picture",
        "Reset",
    }
    assert several_values(classifier.controls["file"]) == [classifier.controls["file"].value]


def test_pictures_say_which_network_answers_where_there_are_two(lite, classifier):
    figure = Figure()
    lesson5.draw_classified(classifier.compute(network="yours", picture="cat", file=()), figure)
    assert figure.axes[0].get_title() == "yours: cat"
    alone = lesson5.own_picture({"ImageNet": lite}).compute(network="ImageNet", picture="cat", file=())
    figure = Figure()
    lesson5.draw_classified(alone, figure)
    assert figure.axes[0].get_title() == "cat"
    texts = [text.get_text() for text in figure.axes[1].texts]
    assert "0 %" not in texts and texts[-1].endswith(" %")


@pytest.mark.parametrize(("share", "words"), [(0, "0 %"), (0.2, "<1 %"), (0.5, "<1 %"), (0.7, "1 %"), (99.6, "100 %")])
def test_a_small_share_is_not_called_nothing(share, words):
    assert part(share / 100) == words


def test_an_uploaded_picture_is_chosen_shown_and_classified(classifier):
    send(classifier, "my espresso.jpg", encoded(pictures.photograph("coffee")))
    assert classifier.values["picture"] == lesson5.UPLOADED
    assert classifier.sentence.startswith("my espresso.jpg: most likely espresso (8") and classifier.error is None
    classifier.set(network="yours")
    assert "most likely" in classifier.sentence and ("ants" in classifier.sentence)
    classifier.set(picture="cat")
    assert classifier.sentence.startswith("cat: ")


def test_a_model_alone_is_refused_and_one_photograph_may_be_named_alone(lite):
    for show in (lambda model: lesson5.own_picture({"mine": model}), lesson5.where_it_looks):
        with pytest.raises(TypeError, match=r"takes what transfer\.backbone returns, not a .* not its model alone"):
            show(lite.model)
    assert lesson5.own_picture({"ImageNet": lite}, "cat").sentence.startswith("cat: ")
    assert lesson5.where_it_looks(lite, "cat").values["picture"] == "cat"


def test_nothing_uploaded_yet_is_said(classifier):
    classifier.set(picture=lesson5.UPLOADED)
    assert classifier.sentence.startswith("Nothing is uploaded yet; meanwhile cat: most likely")


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("notes.txt", b"hello", "notes.txt is not a picture"),
        (
            "cut.jpg",
            encoded(Image.effect_noise((80, 80), 50).convert("RGB"))[:-900],
            "cut.jpg is damaged or incomplete",
        ),
        ("fake.png", b"not a picture", "fake.png is not a picture"),
    ],
)
def test_a_bad_upload_is_refused_with_a_sentence_and_the_next_good_one_is_taken(
    classifier, monkeypatch, name, content, words
):
    with pytest.raises(DataError, match=words):
        send(classifier, name, content)
    monkeypatch.setenv("COURSE_STRICT", "0")
    classifier.set(picture="cat")
    good = classifier.picture.value
    classifier.controls["file"].value = type(classifier.controls["file"].value)()
    send(classifier, name, content)
    assert words in classifier.alert.value and classifier.picture.value == good
    send(classifier, "good.jpg", encoded(pictures.photograph("coffee")))
    assert classifier.error is None and classifier.sentence.startswith("good.jpg: most likely espresso")


def test_remedies_for_unequal_classes_are_shown_as_they_were_measured():
    panel = lesson5.unequal_classes(COUNTS, ACCURACY)
    before = figures_in_memory()
    assert operate_everything(panel) >= 2
    assert figures_in_memory() <= before
    panel.set(remedy="adjusted logits")
    assert panel.sentence == (
        "Adjusted logits: 72.7 % right, averaged over the classes; the rarest third +15.0 points, the commonest third "
        "−2.0."
    )
    panel.set(remedy="nothing done")
    assert panel.sentence == "Nothing done: 68.3 % right, averaged over the classes."
    data, metadata = panel._repr_mimebundle_()
    (kind,) = metadata
    assert VIEW in data and "the rarest third +15.0 points" in metadata[kind]["alt"]
    for counts, accuracy in ((COUNTS, {"nothing done": ACCURACY["nothing done"]}), (COUNTS[1:], ACCURACY)):
        with pytest.raises(ValueError, match="two trainings or more, each with"):
            lesson5.unequal_classes(counts, accuracy)


def test_the_evidence_for_a_cat_lies_on_the_cat(lite):
    found = lesson5.attention(lite, pictures.photograph("cat"))
    assert found.heat.shape == (7, 7) and found.heat.min() >= 0 and found.heat.max() == 1
    assert "cat" in found.name or found.name == "tabby"
    assert found.probability == pytest.approx(lite.predict(pictures.photograph("cat"))[0].probability, rel=1e-4)
    half = Image.new("RGB", (400, 400), "grey")
    half.paste(pictures.photograph("coffee").resize((400, 400)).crop((100, 0, 300, 400)), (0, 0))
    heat = lesson5.attention(lite, half).heat
    assert heat[:, :3].mean() > 2 * heat[:, 4:].mean()  # all that there is to see lies on the left


def test_attention_works_in_frozen_networks_of_several_families_and_changes_nothing():
    for name in ("resnet18", "squeezenet1_0", "mobilenet_v3_small"):
        net = transfer.backbone(name, weights=None)
        transfer.freeze(net.model)
        before = {key: value.clone() for key, value in net.model.state_dict().items()}
        second = lesson5.attention(net, pictures.photograph("cat"), rank=2)
        assert second.heat.ndim == 2 and min(second.heat.shape) > 1 and second.heat.isfinite().all()
        expected = net.predict(pictures.photograph("cat"))[1].probability  # names: random scores may be nearly equal
        assert second.probability == pytest.approx(expected, rel=1e-3)
        assert all(torch.equal(before[key], value) for key, value in net.model.state_dict().items())
        assert all(parameter.grad is None for parameter in net.model.parameters())


def test_small_pictures_are_looked_at_where_a_layer_still_has_places(lite):
    assert lesson5.attention(lite, pictures.photograph("cat")).heat.shape == (7, 7)
    small = replace(lite, preprocess=replace(lite.preprocess, resize=96, crop=96))
    assert lesson5.attention(small, pictures.photograph("cat")).heat.shape == (6, 6)
    tiny = replace(lite, preprocess=replace(lite.preprocess, resize=8, crop=8))
    assert lesson5.attention(tiny, pictures.photograph("cat")).heat.shape == (2, 2)


def test_a_network_without_maps_and_a_rank_that_is_not_there_are_refused(lite):
    with pytest.raises(ValueError, match="rank must be from 1 to 1000, not 0"):
        lesson5.attention(lite, pictures.photograph("cat"), rank=0)
    flat = transfer.Network(
        "flat",
        torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 224 * 224, 2)),
        "1",
        ("a", "b"),
        lite.preprocess,
        "random numbers",
    )
    with pytest.raises(ValueError, match="No layer of flat gives maps"):
        lesson5.attention(flat, pictures.photograph("cat"))


def test_what_speaks_for_an_answer_is_coloured_and_the_rest_is_grey():
    image = torch.zeros(3, 40, 40, dtype=torch.uint8)
    image[0] = 200
    heat = torch.zeros(4, 4)
    heat[:, 0] = 1
    figure = Figure()
    lesson5.draw_attention(lesson5.Attention(image, heat, "a", 0.5), 0.8, figure)
    shown = figure.axes[-1].images[-1].get_array()
    assert len(set(shown[0, -1].tolist())) == 1 and len(set(shown[0, 0].tolist())) == 3
    figure = Figure()
    lesson5.draw_attention(lesson5.Attention(image, heat, "a", 0.5), 0.0, figure)
    assert (figure.axes[-1].images[-1].get_array() == [200, 0, 0]).all()
    figure = Figure()
    lesson5.draw_attention(lesson5.Attention(image, 0 * heat, "a", 0.5), 0.8, figure)
    assert figure.axes[-1].get_title() == "a, 50.0 %: no evidence"


@pytest.mark.thorough
def test_every_control_of_the_attention_takes_its_values(lite):
    panel = lesson5.where_it_looks(lite, ("cat", "coffee"))
    before = figures_in_memory()
    assert operate_everything(panel) > 8
    assert figures_in_memory() <= before
    assert panel.sentence.startswith("Coloured places speak for ")
    data, metadata = panel._repr_mimebundle_()
    (kind,) = metadata
    assert data[VIEW]["model_id"] == panel.model_id and "cat, coffee" in metadata[kind]["alt"]
    assert figures_in_memory() == 0


def test_what_no_colour_shows_is_said():
    image, heat = torch.zeros(3, 8, 8, dtype=torch.uint8), torch.ones(2, 2)
    found = lesson5.Attention(image, heat, "a cat", 0.5)
    given = "a cat, to which the network gives 50.0 %."
    assert lesson5.described_attention(found, 0.8) == f"Coloured places speak for {given}"
    assert lesson5.described_attention(found, 0.0) == f"At strength 0 no colour shows the places that speak for {given}"
    nothing = lesson5.Attention(image, 0 * heat, "a cat", 0.5)
    assert lesson5.described_attention(nothing, 0.8) == f"No place speaks for {given}"


def test_nearly_sure_is_not_sure_and_a_small_share_is_not_nothing():
    guesses = [transfer.Guess("cat", 0.9985), transfer.Guess("dog", 0.0015)]
    found = lesson5.Classified("a picture", torch.zeros(3, 8, 8, dtype=torch.uint8), guesses)
    assert lesson5.described_guesses(found) == "a picture: most likely cat (over 99 %), then dog (<1 %)."


def test_counts_that_do_not_come_largest_first_are_refused():
    with pytest.raises(ValueError, match="must come largest first"):
        lesson5.unequal_classes(COUNTS[::-1], ACCURACY)


def test_long_names_are_shortened():
    assert short("x" * 30, 22) == "x" * 21 + "…" and short("x" * 22, 22) == "x" * 22
