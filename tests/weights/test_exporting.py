"""`zoo.export`: files that other runtimes run, with the images of torch, or no file at all."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
import torch
from toys import SORTER, TOY, Sorter, SorterConfig, ToyConfig, ToyGenerator, ToyPlugin

from zoo_core.errors import InputError, OfflineError, UnknownNameError, WeightsError
from zoo_core.nn.features import ClassifierFeatures
from zoo_core.plugins.hookspecs import hookimpl
from zoo_core.plugins.loading import Plugins
from zoo_core.weights import exporting
from zoo_core.weights.exporting import Exported, export
from zoo_core.weights.graphs import FORMATS, Format
from zoo_core.weights.header import WeightsMetadata
from zoo_core.weights.tensors import save_weights

pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")
ROOT = Path(__file__).parents[2]


class Toys:
    """A folder with the weights of a toy, and exports of it."""

    def __init__(self, folder: Path):
        self.folder, self.kinds = folder, {TOY.name: ToyGenerator, SORTER.name: Sorter}

    def put(self, kind: type = ToyGenerator, **settings: object) -> torch.nn.Module:
        """A network of this kind, whose weights are in the file `toy.safetensors`."""
        spec, config = (
            (SORTER, SorterConfig(**settings)) if issubclass(kind, Sorter)
            else (TOY, ToyConfig(**settings))
        )  # fmt: skip
        self.kinds[spec.name] = kind
        network = kind(config)
        about = WeightsMetadata(
            model=spec.name, role=spec.role, config=msgspec.to_builtins(config), images=16,
            licence="CC0-1.0", trained_on="bars", zoo_version="0.1.0",
        )  # fmt: skip
        save_weights(self.folder / "toy.safetensors", network, about)
        return network.eval()

    def export(self, file: str = "out.onnx", name: str = "", **options: object) -> Exported:
        """Export the weights, or what is called `name`."""
        specs = [
            msgspec.structs.replace(TOY, build_generator=self.kinds["toy"]),
            msgspec.structs.replace(SORTER, build_classifier=self.kinds["sorter"]),
        ]
        plugins, plugin = Plugins(), ToyPlugin()
        models = hookimpl(lambda: specs)
        extractors = plugin.zoo_feature_extractors
        plugins.register(
            "toys", SimpleNamespace(zoo_models=models, zoo_feature_extractors=extractors)
        )
        assert not plugins.problems
        source = name or self.folder / "toy.safetensors"
        return export(source, self.folder / file, plugins=plugins, **options)

    @property
    def files(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())


@pytest.fixture
def toys(tmp_path) -> Toys:
    return Toys(tmp_path)


def session(done: Exported) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(done.path, providers=["CPUExecutionProvider"])


def run(done: Exported, **inputs: torch.Tensor) -> torch.Tensor:
    """What the runtime of a file makes of inputs, called as somebody else would."""
    if done.format == "onnx":
        given = {name: tensor.numpy() for name, tensor in inputs.items()}
        return torch.from_numpy(session(done).run([done.output], given)[0])
    if done.format == "pt2":
        return torch.export.load(done.path).module()(**inputs)
    return torch.jit.load(done.path)(**inputs)


def near(found: torch.Tensor, expected: torch.Tensor, far: float = 1e-3) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=far)


FILES = {"onnx": "out.onnx", "torchscript": "out.pt", "pt2": "out.pt2"}
by_format = pytest.mark.parametrize("to", FILES)
quiet = pytest.mark.filterwarnings("ignore")  # of torch, when tests load the files themselves


# What is written


@quiet
@by_format
def test_a_file_draws_what_sample_draws_for_any_number_of_images(toys, to):
    generator = toys.put(num_classes=3)
    done = toys.export(FILES[to], to=to)
    assert done.inputs == {"latents": ["batch", 8, 1, 1], "labels": ["batch"], "truncation": []}
    for count in (1, 5):
        images = run(
            done,
            latents=generator.latents(range(count)),
            labels=torch.arange(count) % 3,
            truncation=torch.tensor(0.5),
        )
        labels = [number % 3 for number in range(count)]
        near(images, generator.sample(range(count), labels=labels, truncation=0.5))
    assert done.difference <= done.tolerance == 1e-3


def test_images_are_clamped_as_sample_clamps_them(toys):
    class Bright(ToyGenerator):
        def forward(self, *given):
            return 30 * super().forward(*given)

    generator = toys.put(Bright)
    done = toys.export()
    images = run(done, latents=generator.latents([1, 2]), truncation=torch.tensor(1.0))
    near(images, generator.sample([1, 2]))
    assert float(images.abs().max()) == 1


def test_a_fixed_truncation_is_no_input(toys):
    generator = toys.put()
    done = toys.export(truncation=0.5)
    assert [each.name for each in session(done).get_inputs()] == ["latents"]
    near(run(done, latents=generator.latents([3])), generator.sample([3], truncation=0.5))


def test_a_truncation_that_changes_nothing_is_no_input(toys):
    class Untruncated(ToyGenerator):
        def forward(self, latents, labels=None, truncation=1.0):
            return super().forward(latents, labels)

    toys.put(Untruncated)
    assert list(toys.export().inputs) == ["latents"]


def test_a_fixed_batch_is_in_the_file(toys):
    toys.put()
    done = toys.export(batch=4)
    assert session(done).get_inputs()[0].shape == [4, 8, 1, 1]


@quiet
@by_format
def test_a_translator_takes_other_sizes_if_asked_to(toys, to):
    translator = toys.put(paired=True)
    done = toys.export(FILES[to], to=to, free_size=True)
    assert done.inputs == {"source": ["batch", 3, "4*height", "4*width"]}
    for size in ((16, 16), (24, 20)):
        source = torch.rand(3, 3, *size)
        near(run(done, source=source), translator(source))


def test_the_size_of_a_source_is_fixed_otherwise(toys):
    toys.put(paired=True)
    assert session(toys.export()).get_inputs()[0].shape == ["batch", 3, 16, 16]


def test_a_classifier_gives_logits(toys):
    classifier = toys.put(Sorter)
    done, images = toys.export(), torch.rand(3, 3, 16, 16)
    assert done.output == "logits"
    near(run(done, images=images), classifier(images))


def test_the_features_of_a_classifier_are_those_of_load_features(toys):
    classifier = toys.put(Sorter)
    done, images = toys.export(features=True, image_size=24), torch.rand(3, 3, 24, 24)
    assert done.output == "features"
    near(run(done, images=images), ClassifierFeatures(classifier, name="it")(images))


def test_an_extractor_resizes_uint8_itself(toys):
    done = toys.export(name="toy-features", image_size=24, uint8=True)
    images = torch.randint(0, 256, (3, 3, 24, 24), dtype=torch.uint8)
    (spec,) = ToyPlugin().zoo_feature_extractors()
    near(run(done, images=images), spec.build(16)(images))
    assert toys.export(name="toy-features").inputs == {"images": ["batch", 3, 16, 16]}


@quiet
@by_format
def test_half_precision_is_inside_only(toys, to):
    generator = toys.put(width=64)
    done = toys.export(FILES[to], to=to, half=True)
    whole = toys.export(f"whole{FORMATS[to].suffix}", to=to)
    assert done.size < 0.7 * whole.size
    assert 0 < done.difference < done.tolerance == 0.1
    images = run(done, latents=generator.latents([1, 2]), truncation=torch.tensor(1.0))
    assert images.dtype == torch.float32
    near(images, generator.sample([1, 2]), done.tolerance)


def recorded(done: Exported) -> dict:
    if done.format == "onnx":
        return json.loads(session(done).get_modelmeta().custom_metadata_map["zoo"])
    files = {"zoo.json": ""}
    if done.format == "pt2":
        torch.export.load(done.path, extra_files=files)
    else:
        torch.jit.load(done.path, _extra_files=files)
    return json.loads(files["zoo.json"])


@quiet
@by_format
def test_a_file_says_what_it_is(toys, to):
    class Translator(ToyGenerator):
        test_mode = "without noise"

    toys.put(Translator, paired=True)
    said = recorded(toys.export(FILES[to], to=to))
    assert said["sha256"] == hashed(toys.folder / "toy.safetensors")
    known = {
        "name": "toy.safetensors",
        "model": "toy",
        "licence": "CC0-1.0",
        "test_mode": "without noise",
    }
    assert said.items() >= known.items()
    assert (said["input_range"], said["output_range"]) == ([-1, 1], [-1, 1])


def hashed(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_file_says_how_latents_are_distributed(toys):
    class Uniform(ToyGenerator):
        latent_distribution = "uniform"

    toys.put(Uniform)
    said = recorded(toys.export())
    assert (said["latent_distribution"], said["truncation"]) == ("uniform", "input")


@pytest.mark.parametrize("to", ["onnx", "pt2"])
def test_no_folder_of_this_machine_is_in_a_file(toys, to):
    toys.put()
    data = toys.export(FILES[to], to=to).path.read_bytes()
    assert str(ROOT).encode() not in data
    assert b"site-packages" not in data


def test_speed_is_measured_for_one_image_and_for_many(toys, monkeypatch):
    monkeypatch.setattr("zoo_core.weights.comparing.SECONDS", 0.0)
    toys.put()
    assert toys.export().speed == {}
    assert {name: list(by) for name, by in toys.export(speed=True).speed.items()} == {
        "torch": [1, 64],
        "onnxruntime": [1, 64],
    }
    assert list(toys.export(speed=True, batch=4).speed["torch"]) == [4]


# What is refused, leaving what was there


def refused(kind: type, match: str, toys: Toys, **options: object) -> None:
    before = toys.files
    with pytest.raises(kind, match=match) as error:
        toys.export(**options)
    assert "\n" not in str(error.value)
    assert toys.files == before


class ByTruncation(ToyGenerator):
    """One path for a truncation of 0.7, with which graphs are recorded, another for the rest."""

    def forward(self, latents, labels=None, truncation=1.0):
        images = super().forward(latents, labels, truncation)
        return images if abs(truncation - 0.7) > 0.01 else -images


class ByCount(ToyGenerator):
    def forward(self, latents, labels=None, truncation=1.0):
        return super().forward(latents * (1 if len(latents) > 2 else 0.1), labels, truncation)


class ByData(ToyGenerator):
    """Images of the latents that are positive, so that the shape depends on the numbers."""

    def forward(self, latents, labels=None, truncation=1.0):
        bright = latents[latents > 0].sum(0, keepdim=True)
        ones = torch.nonzero(latents.flatten() > 0)
        return super().forward(latents + bright * len(ones), labels, truncation)


def test_a_file_that_differs_from_torch_is_never_there(toys):
    toys.put(ByTruncation)
    (toys.folder / "out.pt").write_text("the older one")
    said = r"the exported file differs from torch by .*; allowed: up to 0.001"
    refused(WeightsError, said, toys, file="out.pt", to="torchscript")
    assert (toys.folder / "out.pt").read_text() == "the older one"


def test_a_difference_in_half_precision_has_another_limit(toys, monkeypatch):
    monkeypatch.setattr(exporting, "HALF_TOLERANCE", 1e-9)
    toys.put()
    refused(WeightsError, r"up to 1e-09; try: omit --half", toys, half=True)


@pytest.mark.parametrize("to", ["onnx", "pt2"])
def test_a_choice_by_the_truncation_is_refused_with_what_helps(toys, to):
    toys.put(ByTruncation)
    said = r"ByTruncation cannot be recorded as a graph: .*; try: --truncation 1$"
    refused(InputError, said, toys, file=FILES[to], to=to)
    assert toys.export(FILES[to], to=to, truncation=1.0).path.exists()


def test_a_choice_by_the_number_of_images_is_refused_with_what_helps(toys):
    toys.put(ByCount)
    refused(InputError, r"cannot be recorded as a graph: .*; try: --batch 1$", toys)
    assert toys.export(batch=1).path.exists()


def test_shapes_that_depend_on_data_are_refused_in_a_line(toys, capfd):
    toys.put(ByData)
    refused(InputError, r"^ByData cannot be recorded as a graph: [^;]*$", toys)
    assert capfd.readouterr() == ("", "")  # torch prints the graph


def test_what_a_format_cannot_hold_is_said_without_a_way_out(toys, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("\n\nno such operation\nand pages more")

    monkeypatch.setattr(torch.onnx, "export", fail)
    toys.put()
    refused(InputError, "ToyGenerator cannot be written as ONNX: no such operation$", toys)


def test_a_file_that_does_not_run_is_never_there(toys, monkeypatch):
    def fail(path: Path):
        raise RuntimeError("invalid graph\nand pages more")

    broken = FORMATS["onnx"]._replace(open=fail)
    monkeypatch.setattr(exporting, "FORMATS", {"onnx": broken})
    toys.put()
    refused(WeightsError, "the exported file cannot be run: invalid graph$", toys)


def test_a_result_of_another_shape_is_refused(toys, monkeypatch):
    broken: Format = FORMATS["onnx"]._replace(open=lambda path: lambda inputs: torch.zeros(1))
    monkeypatch.setattr(exporting, "FORMATS", {"onnx": broken})
    toys.put()
    said = r"another shape than torch; given: \(1,\); allowed: \(1, 3, 16, 16\)"
    refused(WeightsError, said, toys)


def test_numbers_that_are_not_finite_are_refused(toys, monkeypatch):
    toys.put()
    broken = FORMATS["onnx"]._replace(
        open=lambda path: lambda inputs: torch.full((len(inputs["latents"]), 3, 16, 16), torch.nan)
    )
    monkeypatch.setattr(exporting, "FORMATS", {"onnx": broken})
    refused(WeightsError, "differs from torch by inf", toys)


def test_a_translator_of_one_size_says_so(toys):
    class Fixed(ToyGenerator):
        def forward(self, source, labels=None, truncation=1.0):
            return super().forward(source.reshape(-1, 3, 16, 16))

    toys.put(Fixed, paired=True)
    said = r"Fixed translates only sources of 16 x 16; try: omit --free-size"
    refused(InputError, said, toys, free_size=True)


@pytest.mark.parametrize(
    ("kind", "settings", "option"),
    [
        (ToyGenerator, {"paired": True}, {"truncation": 0.5}),
        (Sorter, {}, {"truncation": 0.5}),
        (ToyGenerator, {}, {"free_size": True}),
        (Sorter, {}, {"free_size": True}),
        (ToyGenerator, {}, {"image_size": 8}),
        (Sorter, {}, {"uint8": True}),
        (Sorter, {}, {"features": True, "half": True}),
    ],
)
def test_an_option_that_means_nothing_for_the_network_is_refused(toys, kind, settings, option):
    toys.put(kind, **settings)
    name = "--" + list(option)[-1].replace("_", "-")
    refused(InputError, f"is exported without {name}; try: omit {name}", toys, **option)


def test_a_generator_has_no_features(toys):
    toys.put()
    refused(InputError, "which has no features; try: omit --features", toys, features=True)


@pytest.mark.parametrize(
    ("options", "kind", "said"),
    [
        ({"to": "onx"}, UnknownNameError, "no format is called 'onx'; nearest: onnx; try"),
        ({"file": "out.pt2"}, InputError, r"would not hold pt2, but onnx; try: --to pt2"),
        ({"batch": 0}, InputError, "invalid batch; given: 0; allowed: 1 to 4,096"),
        ({"batch": 10**20}, InputError, "invalid batch; given: 1000"),
        ({"image_size": 10**9}, InputError, "invalid image size; given: 1000"),
        ({"image_size": 0}, InputError, "invalid image size; given: 0"),
        ({"truncation": float("nan")}, InputError, "invalid truncation; given: nan"),
        ({"file": "."}, InputError, "is a folder; allowed: a file"),
        ({"file": "toy.safetensors/out.onnx"}, InputError, "cannot write to .*: .*xist"),
        ({"name": "toy.nothing"}, UnknownNameError, "no weights are called|toy.nothing"),
    ],
)
def test_bad_input_leaves_nothing(toys, options, kind, said):
    toys.put()
    refused(kind, said, toys, **options)


def test_a_disk_that_is_full_leaves_nothing(toys, monkeypatch):
    def full(recording, path: Path):
        path.write_text("half of it")
        raise OSError(28, "No space left on device")

    broken = FORMATS["onnx"]._replace(write=full)
    monkeypatch.setattr(exporting, "FORMATS", {"onnx": broken})
    toys.put()
    refused(InputError, "No space left on device", toys, file="new/out.onnx")


FULL = """
import resource
import sys
from pathlib import Path
from test_exporting import FILES, Toys
from zoo_core.errors import InputError
toys = Toys(Path(sys.argv[1]))
toys.put()
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
for to, file in FILES.items():
    try:
        toys.export(file, to=to)
    except InputError as error:
        print(error)
print(toys.files)
"""


@pytest.mark.skipif(not find_spec("resource"), reason="no limits of files here")
def test_a_disk_that_fills_is_one_line_in_each_format(tmp_path):
    there = os.pathsep.join(map(str, (Path(__file__).parent, *sys.path)))
    done = subprocess.run(
        [sys.executable, "-c", FULL, tmp_path], env={**os.environ, "PYTHONPATH": there},
        capture_output=True, text=True,
    )  # fmt: skip
    *errors, files = done.stdout.splitlines()
    assert [error.rpartition("/")[2] for error in errors] == [
        f"{file}: File too large; allowed: another file" for file in FILES.values()
    ]
    assert files == "['toy.safetensors']"


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_package_that_is_missing_is_named_with_its_extra(toys, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    toys.put()
    said = rf"ONNX needs the package {package}; try: pip install 'zoo-core\[export\]'"
    refused(OfflineError, said, toys)
    assert toys.export("out.pt2", to="pt2").path.exists()


def test_onnxruntime_reports_to_nobody(tmp_path):
    """From 1.29 on it keeps what it will send beside the user's caches, unless a CI runs it."""
    homes = dict.fromkeys(["HOME", "XDG_CACHE_HOME", "TMPDIR", "LOCALAPPDATA"], str(tmp_path))
    names = ["PATH", "PYTHONPATH", "SYSTEMROOT"]
    environment = {name: os.environ[name] for name in names if name in os.environ}
    program = "from zoo_core.weights.graphs import check_onnx; check_onnx()"
    subprocess.run([sys.executable, "-c", program], check=True, env=environment | homes)
    assert not [path for path in tmp_path.rglob("*") if path.name in (".ses", "Microsoft")]
