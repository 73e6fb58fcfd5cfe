"""Images are checked and prepared for a model and a run."""

from __future__ import annotations

from pathlib import Path

import pytest
import toys
from toy_datasets import Corners, Learner, Numbered, settings

from zoo_core.data.batches import BatchOrder
from zoo_core.data.preparation import check_enough, check_fits, prepare, source_images
from zoo_core.errors import DataError


@pytest.mark.parametrize(("count", "batch"), [(0, 1), (1, 1), (3, 4)])
def test_too_few_pictures_are_refused(count: int, batch: int):
    with pytest.raises(DataError):
        check_enough(count, batch)


@pytest.mark.parametrize("classes", [0, 3])
def test_labels_are_shown_to_a_model_that_learns_classes_only(tmp_path: Path, classes: int):
    network = toys.ToyGenerator(toys.ToyConfig(num_classes=classes))
    data = prepare(Numbered(16, classes=3), network, settings(), cache=tmp_path)
    labels = BatchOrder(data, settings())[0][2]
    assert (labels is not None) == bool(classes)


def test_another_number_of_classes_is_refused_with_the_setting_that_fits_a_new_model():
    network = toys.ToyGenerator(toys.ToyConfig(num_classes=5))
    with pytest.raises(DataError, match=r"given: 5; allowed: 3; try: --set num_classes=3$"):
        check_fits(network, ("cat", "dog", "owl"), paired=False, new=True)


def test_a_trained_model_can_have_no_other_number_of_classes():
    network = toys.ToyGenerator(toys.ToyConfig(num_classes=5))
    with pytest.raises(DataError, match="given: 3 in the images; allowed: 5") as refused:
        check_fits(network, ("cat", "dog", "owl"), paired=False)
    assert "--set" not in str(refused.value)


def learner(*classes: str) -> toys.ToyGenerator:
    """A toy that has learned these classes."""
    network = toys.ToyGenerator(toys.ToyConfig(num_classes=len(classes)))
    network.classes = classes
    return network


def test_labels_are_the_numbers_of_the_model_for_classes_of_these_names(tmp_path: Path, caplog):
    data = prepare(Numbered(6, classes=3), learner("c2", "c0", "c1"), settings(), cache=tmp_path)
    assert data.labels.tolist() == [1, 2, 0] * 2
    assert data.classes == ("c2", "c0", "c1")
    assert not caplog.records


def test_a_class_that_the_pictures_lack_is_said(tmp_path: Path, caplog):
    network = learner("c2", "owl", "c0", "c1")
    data = prepare(Numbered(6, classes=3), network, settings(), cache=tmp_path)
    assert data.labels.tolist() == [2, 3, 0] * 2
    assert "the images lack 1 of the model's classes: 'owl'" in caplog.text


def test_a_class_that_was_not_learned_is_named_before_a_picture_is_read(tmp_path: Path):
    source = Numbered(6, classes=3)
    with pytest.raises(DataError, match="given: 'c2', which it did not learn; allowed: 'owl'"):
        prepare(source, learner("c0", "c1", "owl"), settings(), cache=tmp_path)
    assert source.opened == 0


def test_reversed_pairs_change_places(tmp_path: Path):
    data = prepare(
        Corners(), Learner(6, source_channels=3), settings(reverse_pairs=True), cache=tmp_path
    )
    assert data.images[0, 0, 0].tolist() == [100, 100, 100]
    assert data.source[0, 0, 0].tolist() == [0, 0, 0]
    straight = prepare(Corners(), Learner(6, source_channels=3), settings(), cache=tmp_path)
    assert data.fingerprint != straight.fingerprint


@pytest.mark.parametrize("reverse", [False, True])
def test_source_and_picture_have_the_channels_that_the_model_takes(tmp_path: Path, reverse: bool):
    run = settings(reverse_pairs=reverse)
    data = prepare(Corners(), Learner(6, 3, source_channels=1), run, cache=tmp_path)
    assert data.images.shape[3] == 3
    assert data.source.shape[3] == 1


def test_what_a_translator_starts_from_is_the_source_of_a_pair_or_the_picture_itself():
    learner = Learner(6, source_channels=3)
    start = source_images([Corners()[2]], learner, "crop")
    assert start.shape == (1, 3, 6, 6)
    assert start[0, :, 0, 0].tolist() == pytest.approx([100 / 127.5 - 1] * 2 + [102 / 127.5 - 1])
    picture = source_images([Corners()[2]], learner, "crop", reverse_pairs=True)
    assert picture[0, :, 0, 0].tolist() == pytest.approx([-1, -1, 2 / 127.5 - 1])
    single = source_images([Numbered(3)[0]], Learner(4, source_channels=1), "crop")
    assert single.shape == (1, 1, 4, 4)
    assert float(single.max()) == -1


def test_what_a_model_cannot_learn_is_refused_before_a_picture_is_read(tmp_path: Path):
    source = Numbered(8)
    with pytest.raises(DataError, match="needs pairs"):
        prepare(source, Learner(4, source_channels=3), settings(), cache=tmp_path)
    assert source.opened == 0
