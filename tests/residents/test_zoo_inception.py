"""The 2015 Inception network: same results as torch-fidelity; weights are found, verified and read
without unpickling."""

import hashlib

import pytest
import torch

import zoo_inception
from zoo_core.errors import InputError, OfflineError, WeightsError
from zoo_core.plugins.loading import Plugins
from zoo_core.weights.loading import load_features
from zoo_inception import network
from zoo_inception.network import FILES, InceptionExtractor, blank, load

pytest.importorskip("torch_fidelity")


@pytest.fixture(scope="module")
def plugins():
    plugins = Plugins()
    plugins.register("inception", zoo_inception)
    return plugins


@pytest.fixture(scope="module")
def extractor():
    torch.manual_seed(0)
    return InceptionExtractor(blank(), "random")


@pytest.fixture(autouse=True)
def empty_caches(monkeypatch, tmp_path):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "zoo"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    return tmp_path


LEVELS = torch.randint(0, 256, (2, 3, 20, 31), dtype=torch.uint8)


@pytest.fixture(scope="module")
def outputs(extractor):
    """The outputs of torch-fidelity's own network."""
    return extractor.network(LEVELS)


def test_features_and_logits_are_those_of_torch_fidelity(extractor, outputs):
    assert torch.equal(extractor(LEVELS), outputs[0])
    assert torch.equal(extractor.logits(LEVELS), outputs[1])
    assert outputs[0].shape == (2, extractor.width)
    assert outputs[1].shape == (2, extractor.num_classes)


def test_floats_are_rounded_to_the_nearest_level(extractor, outputs):
    floats = LEVELS / 127.5 - 1
    assert torch.equal(extractor(floats + 0.4 / 127.5), outputs[0])
    assert not torch.equal(extractor(floats + 0.6 / 127.5), outputs[0])


def test_floats_beyond_the_range_do_not_wrap_around(extractor):
    white = torch.ones(1, 3, 8, 8)
    assert torch.equal(extractor(white * 1.5), extractor(white))


def test_a_grey_picture_is_an_rgb_picture(extractor):
    grey = LEVELS[:, :1]
    assert torch.equal(extractor(grey), extractor(grey.expand(-1, 3, -1, -1)))


def test_numbers_are_the_same_under_autocast(extractor, outputs):
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(extractor(LEVELS), outputs[0])


def test_a_picture_that_is_not_finite_has_no_features(extractor):
    images = torch.zeros(2, 3, 8, 8)
    images[1, 0, 3, 3] = torch.nan
    features = extractor(images)
    assert features[0].isfinite().all()
    assert features[1].isnan().all()


def test_it_offers_no_maps(extractor):
    assert extractor.channels == ()
    with pytest.raises(InputError, match="offers no feature maps"):
        extractor.feature_maps(LEVELS)


def test_the_fingerprint_names_the_resize_of_tensorflow(extractor):
    name, *details = extractor.fingerprint.split()
    assert (name, details[:3]) == ("inception-2015", ["sha256:random", "299px", "tf1-bilinear"])


def test_the_normalization_in_the_fingerprint_is_the_one_that_the_network_applies(extractor):
    mean, std = (detail.partition(":")[2] for detail in extractor.fingerprint.split()[4:6])
    gray = torch.full((1, 3, 299, 299), 200, dtype=torch.uint8)
    seen = []
    first = extractor.network.Conv2d_1a_3x3
    hook = first.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    extractor(gray)
    hook.remove()
    expected = (200 / 255 - float(mean)) / float(std)
    assert torch.allclose(seen[0], torch.tensor(expected), atol=1e-5)


def test_its_distance_is_fid(plugins):
    assert plugins.find_feature_extractor("inception-2015").distance == "fid"


# The weights file.


def put(folder, state, file=FILES[0]):
    folder.mkdir(parents=True)
    path = folder / file
    torch.save(state, path, _use_new_zipfile_serialization=False)
    return path


def pin(monkeypatch, path):
    monkeypatch.setattr(network, "SHA256", hashlib.sha256(path.read_bytes()).hexdigest()[:8])


def test_weights_that_are_not_here_are_one_line_that_says_where_to_put_them(plugins, tmp_path):
    with pytest.raises(OfflineError) as error:
        load_features("inception-2015", plugins=plugins)
    assert error.value.exit_code == 6
    for part in (FILES[0], str(tmp_path / "zoo"), str(tmp_path / "torch"), "https://"):
        assert part in str(error.value)


@pytest.mark.parametrize("folder", ["zoo", "torch/hub/checkpoints"])
@pytest.mark.parametrize("file", FILES)
def test_weights_are_found_in_either_cache(tmp_path, folder, file):
    path = put(tmp_path / folder, {}, file)
    assert network.find() == path


def test_weights_are_read_and_fill_the_network(plugins, extractor, outputs, monkeypatch, tmp_path):
    pin(monkeypatch, put(tmp_path / "zoo", extractor.network.state_dict()))
    loaded = load_features("inception-2015", plugins=plugins)
    difference = loaded(LEVELS) - outputs[0]  # in another memory format
    assert difference.abs().max() <= 1e-4 * outputs[0].abs().max()
    assert loaded.fingerprint == load(299).fingerprint
    assert "unloaded" not in loaded.fingerprint


def test_another_file_of_that_name_is_refused(tmp_path):
    put(tmp_path / "zoo", {})
    with pytest.raises(WeightsError, match="has the wrong content; given: sha256"):
        load(299)


def test_nothing_in_a_file_is_run(monkeypatch, tmp_path):
    pin(monkeypatch, put(tmp_path / "zoo", {"a": torch.nn.Linear(1, 1)}))
    with pytest.raises(WeightsError, match=r"wants to run torch\.nn\.modules\.linear\.Linear"):
        load(299)


def test_weights_of_another_network_are_refused(monkeypatch, tmp_path):
    pin(monkeypatch, put(tmp_path / "zoo", {"a": torch.zeros(1)}))
    with pytest.raises(WeightsError, match="does not fit the network"):
        load(299)


def test_another_input_size_is_refused(plugins):
    with pytest.raises(InputError, match="given: 224; allowed: 299"):
        load_features("inception-2015", input_size=224, plugins=plugins)


def test_on_the_meta_device_no_weights_are_looked_for(plugins):
    with torch.device("meta"):
        built = load_features("inception-2015", plugins=plugins)
    assert all(weight.is_meta for weight in built.parameters())
    assert "sha256:unloaded" in built.fingerprint
