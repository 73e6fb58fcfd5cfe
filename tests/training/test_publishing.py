"""`zoo.publish`: what a publication holds, what its card says, and what is refused."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from hub_server import a_hub
from msgspec.structs import replace
from PIL import Image
from safetensors.torch import load_file, save_file
from toy_importer import ImportingPlugin
from toys import ToyDiscriminator, ToyGenerator, resolved

import zoo_core
from zoo_core.data.batches import to_uint8
from zoo_core.errors import InputError, UnknownNameError, UploadError, WeightsError
from zoo_core.plugins.hookspecs import hookimpl
from zoo_core.plugins.loading import Plugins
from zoo_core.runtime import Runtime
from zoo_core.spec import Metric
from zoo_core.strict_yaml import parse_yaml
from zoo_core.training.launch import train
from zoo_core.training.publishing import publish
from zoo_core.weights.header import StartedFrom, parse_metadata, read_header
from zoo_core.weights.importing import import_weights
from zoo_core.weights.registry import parse_registry
from zoo_core.weights.tensors import packed, read_tensors

PROTOCOL = {"extractor": "toy-features", "data": "toys, 16 px, abc", "split": "train", "seed": 0}
MEASURED = "zoo evaluate /me/run --seed 0"
METRICS = [
    Metric(name="fd", value=71.26, protocol=PROTOCOL, command=MEASURED),
    Metric(name="kd", value=0.5, protocol={**PROTOCOL, "subsets": 100}, command=MEASURED),
]


class WithImages(ImportingPlugin):
    """The toys, and images under a licence that a test chooses."""

    licence = "CC0-1.0"

    @hookimpl
    def zoo_datasets(self):
        return [replace(each, licence=self.licence) for each in super().zoo_datasets()]


def installed(licence="CC0-1.0") -> Plugins:
    plugins, plugin = Plugins(), WithImages()
    plugin.licence = licence
    plugins.register("toy", plugin)
    return plugins


PLUGINS = installed()


def trained(place: Path, plugins=PLUGINS, model="toy", **settings) -> Path:
    return train(model, preset="tiny", run_dir=place, plugins=plugins, **settings).folder


@pytest.fixture
def run(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return trained(Path("run"))


def published(run, name="toy.bars", to="new", **given):
    given = {"metrics": METRICS, "plugins": PLUGINS, **given}
    return publish(run, name, to, **given)


def record(path) -> dict:
    return msgspec.to_builtins(parse_metadata(read_header(Path(path)), ""))


def rewritten(path: Path, **changes) -> None:
    """Change what a weights file records of itself."""
    about = replace(parse_metadata(read_header(path), ""), **changes)
    path.write_bytes(packed(read_tensors(path.read_bytes(), ""), about))


def front_matter(folder="new") -> dict:
    text = Path(folder, "README.md").read_text()
    return parse_yaml(text.split("---\n")[1])


def left() -> set[str]:
    return {path.name for path in Path().iterdir()} - {"run"}


# what a publication holds


def test_the_weights_are_those_of_the_run(run):
    published(run)
    assert (
        Path("new/generator.safetensors").read_bytes()
        == (run / "generator.safetensors").read_bytes()
    )
    assert {path.name for path in Path("new").iterdir()} == {
        "generator.safetensors", "README.md", "registry.yaml", "samples.png"
    }  # fmt: skip


def test_weights_of_another_version_keep_their_bytes(run):
    """Whose record is spelled otherwise; what has been measured is what is published."""
    path = run / "generator.safetensors"
    spelled = json.dumps(json.loads(read_header(path).metadata["zoo"]), indent=1)
    save_file(load_file(path), path, {"zoo": spelled})
    published(run)
    assert Path("new/generator.safetensors").read_bytes() == path.read_bytes()


def test_the_entry_is_complete_and_valid(run):
    done = published(run, summary=" bars,\n16 px ")
    (entry,) = parse_registry(Path("new/registry.yaml"))
    assert entry == done.entry
    assert Path("new/registry.yaml").read_text() == done.registry
    file = entry.files["generator"]
    assert file.size == Path("new/generator.safetensors").stat().st_size
    assert file.urls == ("package:WithImages/weights/bars.safetensors",)
    assert (entry.name, entry.model, entry.summary) == ("toy.bars", "toy", "bars, 16 px")
    assert (entry.licence, entry.images) == ("CC0-1.0", 16)
    assert entry.config == record(run / "generator.safetensors")["config"]
    assert entry.trained_on == "toys, train split: drawn by the tests"
    assert entry.command == "zoo train toy --preset tiny"
    assert [(each.name, each.value) for each in entry.metrics] == [("fd", 71.26), ("kd", 0.5)]


def test_an_entry_can_be_pasted_below_others(run):
    """Its lines are indented as in the zoo's own registry."""
    text = published(run).registry
    own = "schema: 1\nweights:\n  - name: toy.other\n"
    other = text.replace("schema: 1\nweights:\n", "").replace("bars", "more")
    other = re.sub("sha256: [0-9a-f]{64}", f"sha256: {'ab' * 32}", other)
    Path("both.yaml").write_text(text + other)
    assert own.splitlines()[:2] == text.splitlines()[:2]
    assert [each.name for each in parse_registry(Path("both.yaml"))] == ["toy.bars", "toy.more"]


def test_the_grid_is_drawn_anew_by_the_published_weights(run):
    shutil.rmtree(run / "samples")
    published(run)
    generator = zoo_core.load(Path("new/generator.safetensors"), plugins=PLUGINS)
    sheet = np.asarray(Image.open("new/samples.png"))
    drawn = to_uint8(generator.sample(range(64))).reshape(8, 8, 3, 16, 16)
    assert np.array_equal(sheet, drawn.transpose(0, 3, 1, 4, 2).reshape(128, 128, 3))


def test_a_grid_of_classes_has_each_in_turn(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = trained(Path("run"), data="sorted-toys", num_classes=4)
    published(run)
    generator = zoo_core.load(Path("new/generator.safetensors"), plugins=PLUGINS)
    expected = to_uint8(generator.sample([5], labels=[1]))[0].transpose(1, 2, 0)
    assert np.array_equal(np.asarray(Image.open("new/samples.png"))[:16, 80:96], expected)
    assert "seeds 0 to 63, classes in turn" in Path("new/README.md").read_text()


def test_a_translator_translates_images_of_its_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in range(8):
        for side in "AB":
            Path("pairs", side).mkdir(parents=True, exist_ok=True)
            color = (30 * number, 90, 200 * (side == "B"))
            Image.new("RGB", (16, 16), color).save(f"pairs/{side}/{number}.png")
    run = trained(Path("run"), data="./pairs", paired=True)
    published(run, licence="MIT")
    generator = zoo_core.load(Path("new/generator.safetensors"), plugins=PLUGINS)
    source = zoo_core.read_pictures("pairs/A")
    first = to_uint8(generator.sample([0], source=source[:1]))[0].transpose(1, 2, 0)
    sheet = np.asarray(Image.open("new/samples.png"))
    assert sheet.shape == (16, 128, 3)
    assert np.array_equal(sheet[:, :16], first)
    assert "Translations of 8 images of its data" in Path("new/README.md").read_text()


def test_a_classifier_has_no_grid(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    published(trained(Path("run"), model="sorter"), "sorter.bars")
    assert {path.name for path in Path("new").iterdir()} == {
        "classifier.safetensors", "README.md", "registry.yaml"
    }  # fmt: skip
    assert front_matter()["pipeline_tag"] == "image-classification"
    text = Path("new/README.md").read_text()
    assert 'zoo.load_features("sorter.bars")' in text
    assert "zoo train sorter --preset tiny" in text
    assert "samples.png" not in text


def test_the_discriminator_is_that_of_the_newest_checkpoint(run):
    entry = published(run, discriminator=True).entry
    there = load_file(run / "checkpoints/000000000016/weights.safetensors")
    raw = {k.partition(".")[2]: v for k, v in there.items() if k.startswith("discriminator.")}
    found = load_file("new/discriminator.safetensors")
    assert found.keys() == raw.keys()
    assert all(torch.equal(found[key], raw[key]) for key in raw)
    about = record("new/discriminator.safetensors")
    assert about == {**record("new/generator.safetensors"), "role": "discriminator"}
    assert set(entry.files) == {"generator", "discriminator"}


def test_the_best_weights_have_a_discriminator_if_they_are_the_newest(run):
    shutil.copy(run / "generator.safetensors", run / "best.safetensors")
    published(run / "best.safetensors", discriminator=True)
    ours = load_file("new/discriminator.safetensors")
    published(run, to="other", discriminator=True)
    theirs = load_file("other/discriminator.safetensors")
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_a_discriminator_of_other_images_is_refused(run):
    rewritten(run / "generator.safetensors", images=12)
    with pytest.raises(InputError, match="no discriminator of 12 images"):
        published(run, discriminator=True)
    assert left() == set()


def test_a_model_without_discriminator_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = trained(Path("run"), model="sorter")
    with pytest.raises(InputError, match="sorter has no discriminator; try: omit --discriminator"):
        published(run, "sorter.bars", discriminator=True)


def test_the_best_weights_of_a_run_are_published(run):
    shutil.copy(run / "generator.safetensors", run / "best.safetensors")
    rewritten(run / "best.safetensors", images=8)
    entry = published(run / "best.safetensors").entry
    assert (entry.images, entry.command) == (8, "zoo train toy --preset tiny --images 8")


# the card


def test_the_hub_reads_the_front_matter(run):
    from huggingface_hub import ModelCard

    published(run)
    data = ModelCard.load("new/README.md").data
    assert (data.license, data.library_name) == ("cc0-1.0", "zoo-core")
    assert data.pipeline_tag == "unconditional-image-generation"
    assert data.tags == ["zoo-core", "toy"]
    assert data.model_name == "toy.bars"
    results = [(each.metric_type, each.metric_value) for each in data.eval_results]
    assert results == [("fd", 71.26), ("kd", 0.5)]
    assert data.eval_results[1].metric_args == {**PROTOCOL, "subsets": 100}
    assert {each.dataset_type for each in data.eval_results} == {"toys"}
    assert data.datasets is None


def test_a_data_set_of_the_hub_is_named(run):
    config = json.loads((run / "config.json").read_text())
    config["run"]["data"] = "hf/uoft-cs/cifar100,label=fine_label"
    (run / "config.json").write_text(json.dumps(config))
    published(run)
    assert front_matter()["datasets"] == ["uoft-cs/cifar100"]


def test_the_card_says_how_they_were_made_and_measured(run):
    published(run)
    text = Path("new/README.md").read_text()
    for line in (
        "# toy.bars",
        "![64 images, seeds 0 to 63](samples.png)",
        'generator = zoo.load("toy.bars")',
        "- images: toys, train split: drawn by the tests",
        "- seen: 16 images",
        f"- device: {Runtime.detect('cpu').device_name}",
        "- precision: fp32",
        "- command: `zoo train toy --preset tiny`",
        "| kd | 0.5 | subsets 100 |",
        "- seed: 0",
        "    zoo evaluate ./run --seed 0",
        "Weights: CC0-1.0. Code of the model: Apache-2.0.",
    ):
        assert f"{line}\n" in text, line
    assert re.search(r"^- time: [\d.e-]+ s between log lines$", text, re.MULTILINE)
    assert "\n\nLower is better for fd (0), kd (0). In parentheses: what the real images" in text
    assert re.search(r"^Measured by\n\n    zoo evaluate ", text, re.MULTILINE)


def test_what_protocols_do_not_share_is_with_its_metric(run):
    published(run, metrics=METRICS[::-1])
    text = Path("new/README.md").read_text()
    assert "| kd | 0.5 | subsets 100 |\n| fd | 71.26 |  |\n" in text
    assert "- subsets" not in text


def test_what_a_run_did_not_record_is_said(run):
    (run / "timing.jsonl").unlink()
    published(run)
    text = Path("new/README.md").read_text()
    assert "- time: not recorded\n- device: not recorded\n" in text


def test_nobodys_folders_are_published(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trained(Path("first"))
    run = trained(Path("run"), start_from="./first")
    published(run)
    for path in Path("new").iterdir():
        assert str(tmp_path).encode() not in path.read_bytes(), path
    about = record("new/generator.safetensors")["started_from"]
    assert about["name"] == "./first"
    text = Path("new/README.md").read_text()
    assert f"- started from: ./first (16 images, sha256 {about['sha256']})" in text
    assert "They were made from weights under CC0-1.0." in text


# licences


def test_the_licence_of_the_images_is_that_of_the_weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plugins = installed("CC-BY-SA-4.0")
    assert published(trained(Path("run"), plugins), plugins=plugins).entry.licence == (
        "CC-BY-SA-4.0"
    )
    assert front_matter()["license"] == "cc-by-sa-4.0"


def test_another_licence_is_in_the_file_too_and_said(run, caplog):
    entry = published(run, licence="MIT").entry
    assert record("new/generator.safetensors")["licence"] == entry.licence == "MIT"
    assert "trained on images under CC0-1.0, published under MIT" in caplog.text
    ours, theirs = (load_file(f"{place}/generator.safetensors") for place in ("new", run))
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


@pytest.mark.parametrize("licence", ["unknown", "NOASSERTION", "LicenseRef-own-pictures", ""])
def test_a_licence_that_nobody_has_stated_must_be_given(tmp_path, monkeypatch, licence):
    monkeypatch.chdir(tmp_path)
    plugins = installed(licence)
    run = trained(Path("run"), plugins)
    with pytest.raises(InputError, match=r"nobody has stated the licence .* try: --licence"):
        published(run, plugins=plugins)
    with pytest.raises(InputError, match="nobody has stated the licence"):
        published(run, plugins=plugins, licence="unknown")
    assert left() == set()
    assert published(run, plugins=plugins, licence="MIT").entry.licence == "MIT"


def test_a_licence_that_is_none_is_refused(run):
    with pytest.raises(InputError, match="under this licence; given: CC-BY-4"):
        published(run, licence="CC-BY-4")
    assert left() == set()


@pytest.mark.parametrize("licence", ["unknown", "NOASSERTION"])
def test_what_started_from_unknown_weights_is_refused_under_any_licence(run, licence):
    path = run / "generator.safetensors"
    started = {
        "name": "a",
        "sha256": "b",
        "images": 1,
        "licence": licence,
        "networks": ["generator"],
    }
    rewritten(path, started_from=msgspec.convert(started, StartedFrom))
    for given in (None, "MIT"):
        with pytest.raises(InputError, match="made from weights whose licence is unknown"):
            published(run, licence=given)


def test_two_licences_are_not_merged_by_guess(run):
    started = StartedFrom(
        name="a", sha256="b", images=1, licence="CC-BY-4.0", networks=("generator",)
    )
    rewritten(run / "generator.safetensors", started_from=started)
    with pytest.raises(InputError, match=r"under CC0-1.0, and the weights .* under CC-BY-4.0"):
        published(run)
    assert published(run, licence="CC-BY-4.0").entry.licence == "CC-BY-4.0"


# imported weights


@pytest.fixture
def imported(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    networks = {
        "netG": ToyGenerator(resolved().config),
        "netD": ToyDiscriminator(resolved().config),
    }
    file = {
        key: {name.replace("stem.", "first."): value for name, value in net.state_dict().items()}
        for key, net in networks.items()
    }
    torch.save(file, "net.pth")

    def make(licence):
        source = "https://example.org/w"
        import_weights("net.pth", "run", licence=licence, source=source, plugins=PLUGINS)
        return Path("run")

    return make


def test_imported_weights_are_published_as_such(imported):
    entry = published(imported("CC-BY-4.0"), discriminator=True).entry
    assert (entry.images, entry.licence, entry.trained_on) == (0, "CC-BY-4.0", "not recorded")
    assert entry.command == (
        "zoo import net.pth --model toy --part netG --source https://example.org/w "
        "--licence CC-BY-4.0 -o imported"
    )
    assert record("new/discriminator.safetensors")["role"] == "discriminator"
    text = Path("new/README.md").read_text()
    assert re.search(r"- imported from: net.pth \(sha256 \w{64}\) https://example.org/w\n", text)
    assert "seen:" not in text


def test_imported_weights_of_unknown_licence_are_refused(imported):
    run = imported("unknown")
    for given in (None, "MIT"):
        with pytest.raises(InputError, match="made from weights whose licence is unknown"):
            published(run, licence=given)
    assert left() == {"net.pth"}


def test_imported_weights_keep_their_licence(imported):
    with pytest.raises(InputError, match="imported under another licence; given: MIT; allowed: CC"):
        published(imported("CC-BY-4.0"), licence="MIT")


# what is refused


@pytest.mark.parametrize(
    "name", ["bars", "toy", "toy.", "toy.Bars", "other.bars", "toy.a b", "x/toy.a"]
)
def test_a_malformed_name_is_refused(run, name):
    with pytest.raises(InputError, match=r"allowed: toy.TAG; try: --name toy.TAG"):
        published(run, name)
    assert left() == set()


def test_a_name_that_is_taken_is_refused(run, tmp_path):
    entry = published(run).registry
    registry = tmp_path / "taken.yaml"
    registry.write_text(entry.replace("metrics:", "aliases: [toy.older]\n    metrics:"))
    plugins = installed()
    plugins.registries.append(
        type(next(iter(plugins.models)))(plugin="toy", distribution="x", spec=registry)
    )
    for name in ("toy.bars", "toy.older"):
        with pytest.raises(InputError, match=f"{name} is registered already"):
            published(run, name, "other", plugins=plugins)


def test_a_folder_that_exists_stays(run):
    Path("new").mkdir()
    Path("new/mine").write_text("mine")
    with pytest.raises(InputError, match="new exists already; try: --to NEW_FOLDER"):
        published(run)
    assert [path.name for path in Path("new").iterdir()] == ["mine"]


@pytest.mark.parametrize(
    "metrics",
    [[], (), lambda: [], [Metric(name="fd", value=1.0, protocol={}, command="zoo evaluate a")]],
)
def test_weights_without_metrics_are_refused(run, metrics):
    with pytest.raises(InputError, match="with metrics and their protocol; try: --evaluate"):
        published(run, metrics=metrics)
    assert left() == set()


def test_metrics_of_other_weights_are_doubted(run, caplog):
    published(run)
    published(run / "generator.safetensors", to="again")
    assert "the command that measured" not in caplog.text
    published(run, to="other", metrics=[replace(METRICS[0], command="zoo evaluate runs/else")])
    assert "is `zoo evaluate runs/else` the command that measured run?" in caplog.text


def test_nothing_is_measured_for_what_would_be_refused(run):
    with pytest.raises(InputError, match="under this licence"):
        published(run, licence="x", metrics=lambda: pytest.fail("measured"))
    assert published(run, metrics=lambda: METRICS).entry.metrics[0].value == 71.26


def test_weights_outside_of_a_run_are_refused(run):
    shutil.copy(run / "generator.safetensors", "alone.safetensors")
    with pytest.raises(InputError, match="is in no run, so that nothing says how it was made"):
        published("alone.safetensors")


def test_what_does_not_load_is_not_published(run):
    path = run / "generator.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(WeightsError, match="damaged"):
        published(run)
    with pytest.raises(InputError, match="there is no file"):
        published("toy.bars")
    empty = Plugins()
    with pytest.raises((UnknownNameError, WeightsError)):
        published(run, plugins=empty)


def test_a_folder_that_cannot_be_written_is_one_line(run):
    Path("file").write_text("")
    with pytest.raises(InputError, match="cannot write file/new"):
        published(run, to="file/new")


@pytest.mark.parametrize("broken", ["card", "save_grid", "registry_text", "write_synced"])
def test_nothing_is_left_half_written(run, monkeypatch, broken):
    def fail(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(f"zoo_core.training.publishing.{broken}", fail)
    with pytest.raises(InputError, match="cannot write a/new: No space left"):
        published(run, to="a/new")
    assert left() == set()


# on the hub


def test_what_is_published_on_the_hub_is_loaded_from_there(run, monkeypatch):
    with a_hub(monkeypatch) as hub:
        done = published(run, to="hf://me/bars", discriminator=True)
        commit = hub.repositories["me/bars"][-1][0]
        assert done.place == f"hf://me/bars@{commit}"
        assert done.entry.files["generator"].urls == (
            f"hf://me/bars/generator.safetensors@{commit}",
        )
        assert f"discriminator.safetensors@{commit}" in done.registry
        ours, theirs = (
            zoo_core.load(name, plugins=PLUGINS).sample([4]) for name in (run, "hf://me/bars")
        )
        assert torch.equal(ours, theirs)
        assert b'zoo.load("hf://me/bars")' in hub.files("me/bars")["README.md"]
    assert left() == set()


def test_a_run_starts_from_a_repository(run, monkeypatch):
    with a_hub(monkeypatch):
        published(run, to="hf://me/bars", discriminator=True)
        trained(Path("tuned"), start_from="hf://me/bars")
    started = record("tuned/generator.safetensors")["started_from"]
    assert (started["name"], started["licence"]) == ("hf://me/bars", "CC0-1.0")
    assert set(started["networks"]) == {"generator", "discriminator"}


def test_a_hub_that_refuses_the_commit_has_none_of_it(run, monkeypatch):
    with a_hub(monkeypatch) as hub:
        hub.refusals["/commit/"] = 400
        with pytest.raises(UploadError, match="did not take hf://me/bars"):
            published(run, to="hf://me/bars")
        assert set(hub.files("me/bars")) == {".gitattributes"}
        hub.refusals.clear()
        published(run, to="hf://me/bars")


def test_a_full_disk_stops_an_upload_in_a_line(run, monkeypatch):
    def fail(path, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("zoo_core.training.publishing.write_synced", fail)
    with a_hub(monkeypatch) as hub:
        with pytest.raises(InputError, match="uploaded: No space left on device; try: free disk"):
            published(run, to="hf://me/bars")
        assert "me/bars" not in hub.repositories


def test_a_taken_repository_is_refused_before_anything_is_measured(run, monkeypatch):
    with a_hub(monkeypatch) as hub:
        published(run, to="hf://me/bars")
        before = hub.files("me/bars")
        with pytest.raises(InputError, match="holds weights already"):
            published(run, "toy.more", "hf://me/bars", metrics=lambda: pytest.fail("measured"))
        assert hub.files("me/bars") == before
