"""`zoo.load("hf://OWNER/REPO")`: a repository is read strictly, and leads nowhere else."""

import hashlib
from pathlib import Path

import msgspec
import pytest
import torch
from hub_server import a_hub
from toys import ToyGenerator, resolved, toy_plugins

from zoo_core.errors import DownloadError, InputError, OfflineError, WeightsError
from zoo_core.spec import Metric, WeightsEntry, WeightsFile
from zoo_core.weights.catalog import fetch, info
from zoo_core.weights.header import WeightsMetadata
from zoo_core.weights.loading import load
from zoo_core.weights.registry import registry_text
from zoo_core.weights.repositories import parse_repository
from zoo_core.weights.tensors import packed

CONFIG = resolved().config
PLUGINS = toy_plugins()
ABOUT = WeightsMetadata(
    model="toy", role="generator", config=msgspec.to_builtins(CONFIG), images=16,
    licence="CC0-1.0", trained_on="bars", zoo_version="0.1.0",
)  # fmt: skip


def weights(seed=0) -> bytes:
    torch.manual_seed(seed)
    return packed(ToyGenerator(CONFIG).state_dict(), ABOUT)


def entry(data: bytes, **changes) -> WeightsEntry:
    digest = hashlib.sha256(data).hexdigest()
    place = changes.pop("url", "hf://me/bars/generator.safetensors")
    about = {
        "name": "toy.bars", "model": "toy", "summary": "bars", "config": ABOUT.config,
        "files": {"generator": WeightsFile(urls=(place,), sha256=digest, size=len(data))},
        "licence": "CC0-1.0", "trained_on": "bars", "images": 16, "command": "zoo train toy",
        "metrics": (Metric(name="fd", value=1.0, protocol={"seed": 0}, command="zoo evaluate x"),),
    }  # fmt: skip
    return WeightsEntry(**{**about, **changes})


def files(data=None, **changes) -> dict[str, bytes]:
    data = weights() if data is None else data
    return {
        "registry.yaml": registry_text(entry(data, **changes)).encode(),
        "generator.safetensors": data,
    }


@pytest.fixture
def hub(monkeypatch):
    with a_hub(monkeypatch) as hub:
        yield hub


def opened(address="hf://me/bars"):
    return load(address, plugins=PLUGINS)


def test_the_newest_commit_is_loaded_and_named(hub):
    hub.commit("me/bars", files(weights(1)))
    commit = hub.commit("me/bars", files(weights(2)))
    torch.manual_seed(2)
    expected = ToyGenerator(CONFIG).eval().sample([3])
    assert torch.equal(opened().sample([3]), expected)
    (url,) = info("hf://me/bars", plugins=PLUGINS).files["generator"].urls
    assert url == f"hf://me/bars/generator.safetensors@{commit}"


def test_the_commit_that_is_asked_for_is_loaded(hub):
    commit = hub.commit("me/bars", files(weights(1)))
    hub.commit("me/bars", files(weights(2)))
    torch.manual_seed(1)
    expected = ToyGenerator(CONFIG).eval().sample([3])
    assert torch.equal(opened(f"hf://me/bars@{commit}").sample([3]), expected)
    assert not any("/main/" in visit for visit in hub.visits)


def test_a_commit_is_read_again_without_a_connection(hub, monkeypatch):
    commit = hub.commit("me/bars", files())
    opened()
    visits = len(hub.visits)
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    opened(f"hf://me/bars@{commit}")
    assert len(hub.visits) == visits
    with pytest.raises(OfflineError, match="hf://me/bars is not on this machine"):
        opened()


def test_the_files_are_fetched(hub):
    hub.commit("me/bars", files())
    assert fetch("hf://me/bars", plugins=PLUGINS)["generator"].read_bytes() == weights()


def test_other_bytes_than_registered_are_refused(hub):
    hub.commit("me/bars", files() | {"generator.safetensors": weights(7)})
    with pytest.raises(DownloadError, match="sends other bytes"):
        opened()


def test_a_registry_leads_to_no_other_place(hub):
    """Neither to another repository nor to this machine."""
    elsewhere = f"{hub.url}/secret"
    hub.commit("me/bars", files(url=elsewhere))
    opened()
    assert not any("secret" in visit for visit in hub.visits)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"licence": "MIT"}, "does not describe its weights: licence"),
        ({"config": {**ABOUT.config, "width": 5}}, "does not describe its weights: config"),
        ({"name": "else.bars", "model": "else"}, "does not describe its weights: model"),
        ({"status": "yanked", "reason": "wrong images"}, "was yanked: wrong images"),
        (
            {"files": {"discriminator": entry(b"x").files["generator"]}},
            "toy.bars has no generator or classifier",
        ),
    ],
)
def test_a_registry_that_lies_is_refused(hub, changes, says):
    hub.commit("me/bars", files(**changes))
    with pytest.raises(WeightsError, match=says):
        opened()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "registry.yaml of hf://me/bars: Expected `object`"),
        (b"\xff", "is not text"),
        (b"a: &x 1\nb: *x", "is not plain YAML: .*aliases are not allowed"),
        (b"a: !!python/name:os.system", "is not plain YAML"),
        (b"schema: 1\nweights: []", "names 0 weights; allowed: 1"),
        (b"schema: 2\nweights: []", "has schema 2"),
        (b"schema: 1\nweights: [{name: a}]", "missing required field"),
        (b" " * ((1 << 20) + 1), "is larger than 1048576 bytes"),
    ],
)
def test_what_zoo_publish_did_not_write_is_refused(hub, text, says):
    hub.commit("me/bars", files() | {"registry.yaml": text})
    with pytest.raises(WeightsError, match=says):
        opened()


def test_a_repository_without_a_registry_is_none_of_the_zoo(hub):
    hub.commit("me/bars", {"model.safetensors": weights()})
    with pytest.raises(
        DownloadError, match=r"cannot read registry.yaml of hf://me/bars: it answered"
    ):
        opened()
    with pytest.raises(DownloadError, match="allowed: a repository that `zoo publish` wrote"):
        opened("hf://me/nothing")


def test_a_hub_that_sends_another_commit_is_refused(hub):
    hub.commit("me/bars", files())
    commit = "ab" * 20
    hub.repositories["me/bars"].append((commit, hub.files("me/bars")))
    hub.says_commits = False
    with pytest.raises(DownloadError, match="is at another commit; given: none"):
        opened(f"hf://me/bars@{commit}")


def test_a_hub_that_is_busy_is_asked_again(hub, monkeypatch):
    hub.commit("me/bars", files())
    hub.refusals["registry.yaml"] = 503
    monkeypatch.setattr("time.sleep", lambda seconds: hub.refusals.clear())
    assert opened().image_shape == (3, 16, 16)


def test_a_hub_that_stays_busy_is_given_up(hub, monkeypatch):
    hub.commit("me/bars", files())
    hub.refusals["registry.yaml"] = 503
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with pytest.raises(DownloadError, match="it answered 503"):
        opened()
    assert len(hub.visits) == 3


@pytest.mark.parametrize(
    "address",
    [
        "hf://", "hf://me", "hf://me/", "hf:///bars", "hf://me/bars/file", "hf://me/bars@",
        "hf://me/..", "hf://../bars", "hf://me/.bars", "hf://me/ba rs", "hf://me/bars@a b",
        "hf://me/bars?x", "HF://me/bars",
    ],
)  # fmt: skip
def test_a_malformed_address_is_refused(address):
    with pytest.raises(InputError, match=r"allowed: hf://OWNER/REPO\[@REVISION\]"):
        parse_repository(address)


def test_an_address_is_no_path(hub, tmp_path, monkeypatch):
    """Not even where a folder is called like that."""
    monkeypatch.chdir(tmp_path)
    Path("hf:/me/bars").mkdir(parents=True)
    hub.commit("me/bars", files())
    assert opened().image_shape == (3, 16, 16)
