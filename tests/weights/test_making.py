"""Networks that no file holds: zoo.create, zoo.save, and zoo.load with other settings."""

from __future__ import annotations

import msgspec
import pytest
import torch
from toys import toy_plugins

import zoo_core
from zoo_core.errors import ConfigError, InputError, UnknownNameError, WeightsError

PLUGINS = {"plugins": toy_plugins()}
ABOUT = {"licence": "CC0-1.0", "trained_on": "nothing"}


def created(**settings):
    torch.manual_seed(1)
    return zoo_core.create("toy", **settings, **PLUGINS)


def saved(path, **settings):
    return zoo_core.save(created(**settings), path / "made.safetensors", **ABOUT)


def test_a_network_is_made_in_training_mode_and_repeated_by_torchs_seed():
    ours, theirs = created(width=6), created(width=6)
    assert ours.training
    assert ours.paint.weight.requires_grad
    assert ours.paint.weight.shape[0] == 6
    assert torch.equal(ours.paint.weight, theirs.paint.weight)


def test_a_preset_gives_its_settings_of_the_model():
    assert created(preset="tiny").image_shape == (3, 16, 16)


def test_another_network_of_the_model_is_made_by_its_role():
    assert isinstance(created(role="discriminator"), zoo_core.Discriminator)
    with pytest.raises(InputError, match="toy has no classifier; allowed: generator, discrim"):
        created(role="classifier")


def test_what_is_not_a_setting_of_the_model_is_refused():
    with pytest.raises(
        ConfigError, match=r"unknown configuration key 'widht' in the arguments.*width"
    ):
        created(widht=6)
    with pytest.raises(ConfigError, match="batch_size"):  # of a run
        created(batch_size=6)
    with pytest.raises(UnknownNameError, match=r"no preset is called 'tini'.*nearest: tiny"):
        created(preset="tini")


def test_a_saved_network_draws_the_same_images_when_it_is_loaded(tmp_path):
    network = created(width=6)
    path = zoo_core.save(network, tmp_path / "made.safetensors", **ABOUT)
    loaded = zoo_core.load(path, **PLUGINS)
    assert torch.equal(loaded.sample(range(3)), network.sample(range(3)))
    assert (loaded.about.licence, loaded.about.images) == ("CC0-1.0", 0)


def test_a_loaded_network_is_saved_with_what_its_file_said(tmp_path):
    loaded = zoo_core.load(saved(tmp_path), **PLUGINS)
    again = zoo_core.save(loaded, tmp_path / "again.safetensors", images=5)
    about = zoo_core.load(again, **PLUGINS).about
    assert (about.licence, about.trained_on, about.images) == ("CC0-1.0", "nothing", 5)


def test_a_file_without_licence_or_data_is_not_written(tmp_path):
    for missing in ABOUT:
        given = {key: value for key, value in ABOUT.items() if key != missing}
        with pytest.raises(InputError, match=f"the file must say the {missing}"):
            zoo_core.save(created(), tmp_path / "made.safetensors", **given)
    assert list(tmp_path.iterdir()) == []


def test_a_network_from_elsewhere_is_not_saved(tmp_path):
    with pytest.raises(InputError, match="not known how to build this Linear again"):
        zoo_core.save(torch.nn.Linear(2, 2), tmp_path / "made.safetensors", **ABOUT)


def test_other_settings_are_adapted_by_rules_and_said(tmp_path, caplog):
    path = saved(tmp_path)
    with pytest.raises(WeightsError, match="adapt=channels"):
        zoo_core.load(path, channels=1, **PLUGINS)
    gray = zoo_core.load(path, channels=1, adapt=["channels"], **PLUGINS)
    assert gray.sample([1]).shape == (1, 1, 16, 16)
    assert not gray.training
    assert not any(parameter.requires_grad for parameter in gray.parameters())
    assert "2 adapted to other channels (paint.weight, paint.bias)" in caplog.text
    again = zoo_core.load(zoo_core.save(gray, tmp_path / "gray.safetensors"), **PLUGINS)
    assert torch.equal(again.sample([1]), gray.sample([1]))


def test_other_classes_are_named(tmp_path):
    network, names = created(num_classes=3), ("cat", "dog", "eel")
    network.about = msgspec.structs.replace(network.about, classes=names)
    path = zoo_core.save(network, tmp_path / "made.safetensors", **ABOUT)
    fewer = zoo_core.load(path, classes=["eel", "cat"], adapt=["classes"], **PLUGINS)
    whole = zoo_core.load(path, **PLUGINS)
    assert fewer.classes == ("eel", "cat")
    assert torch.equal(fewer.sample([1], labels="eel"), whole.sample([1], labels="eel"))


def test_a_rule_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such rule; given: chanels; allowed: channels"):
        zoo_core.load(saved(tmp_path), channels=1, adapt=["chanels"], **PLUGINS)


def test_values_whose_sum_is_too_large_are_finite_all_the_same(tmp_path):
    network = created()
    network.paint.weight.data.fill_(3e38)
    path = zoo_core.save(network, tmp_path / "made.safetensors", **ABOUT)
    assert torch.equal(zoo_core.load(path, **PLUGINS).paint.weight, network.paint.weight)


def test_values_that_cancel_to_nothing_in_a_sum_are_still_found(tmp_path):
    network = created()
    network.paint.bias.data[:2] = torch.tensor([float("inf"), float("-inf")])
    path = zoo_core.save(network, tmp_path / "made.safetensors", **ABOUT)
    with pytest.raises(WeightsError, match=r"non-finite values in 'paint\.bias'"):
        zoo_core.load(path, **PLUGINS)
