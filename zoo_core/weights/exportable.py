"""What a name stands for as a function of tensors, and what an exported file records about it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from zoo_core.data.progress import OnProgress
from zoo_core.errors import InputError, UnknownNameError
from zoo_core.filesystem import exists
from zoo_core.generators import Generator
from zoo_core.interfaces import Classifier, FeatureExtractor
from zoo_core.nn.features import ClassifierFeatures
from zoo_core.plugins.loading import Plugins
from zoo_core.spec import WeightsEntry
from zoo_core.weights.catalog import info
from zoo_core.weights.functions import Drawing, Function, Seeing, Translating, axes
from zoo_core.weights.graphs import Recording
from zoo_core.weights.header import is_path, weights_path
from zoo_core.weights.loading import load_extractor, load_main
from zoo_core.weights.registry import load_registry, main_role
from zoo_core.weights.store import digest_of

Shape = list[int | str]  # a text stands for a free axis


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a network is exported; `export` says what each means."""

    batch: int | None = None
    free_size: bool = False
    truncation: float | None = None
    features: bool = False
    image_size: int | None = None
    uint8: bool = False
    half: bool = False


@dataclass(frozen=True)
class Opened:
    """A network, and where it comes from."""

    network: Generator | Classifier | FeatureExtractor
    origin: dict[str, Any]  # name, model, licence, sha256
    side: int = 0  # pixels of the images that an extractor is used to

    def function(self, options: Options) -> Function:
        """As a function of tensors. Raises InputError for options that do not suit the network."""
        return self._function(options).eval()

    def _function(self, options: Options) -> Function:
        _check_options(self.network, options)
        if isinstance(self.network, FeatureExtractor):
            side = options.image_size or self.side
            return Seeing(self.network, (3, side, side), options.uint8)
        if isinstance(self.network, Classifier):
            return Seeing(self.network, self.network.image_shape)
        if self.network.source_shape is not None:
            return Translating(self.network, options.free_size)
        return Drawing(self.network, options.truncation)

    def recording(self, function: Function, options: Options) -> Recording:
        """What is to be recorded, in the precision that the options say."""
        about = {**self.origin, **_conventions(self.network, function, options)}
        recorded = function.halved() if options.half else function
        return Recording(recorded, options.batch, about)


def open_network(
    name: str | Path, options: Options, plugins: Plugins, on_progress: OnProgress | None
) -> Opened:
    """Load what a name stands for: weights, or a feature extractor."""
    if _is_extractor(name, plugins):
        return _of_extractor(str(name), plugins)
    network = load_main(name, plugins=plugins, on_progress=on_progress)
    origin = _origin(name, plugins)
    if not options.features:
        return Opened(network, origin)
    if not isinstance(network, Classifier):
        raise InputError(f"{name} holds a generator, which has no features", hint="omit --features")
    extractor = ClassifierFeatures(network, name="classifier")
    return Opened(extractor, origin, network.image_shape[2])


def _is_extractor(name: str | Path, plugins: Plugins) -> bool:
    """Whether a name is that of a feature extractor; false for weights, and unless it is known."""
    if is_path(name) or exists(name) or load_registry(plugins).matches(str(name)):
        return False
    try:
        plugins.find_feature_extractor(str(name))
    except UnknownNameError:
        if "/" in str(name):  # a namespace of a plugin knows it best
            raise
        return False
    return True


def _of_extractor(name: str, plugins: Plugins) -> Opened:
    spec = plugins.find_feature_extractor(name)
    extractor = load_extractor(name, plugins=plugins)
    origin = {"name": name, "licence": spec.licence, "fingerprint": extractor.fingerprint}
    return Opened(extractor, origin, spec.input_size)


def _origin(name: str | Path, plugins: Plugins) -> dict[str, Any]:
    """Where weights come from, as the registry or the file says."""
    known = info(name, plugins=plugins)
    if isinstance(known, WeightsEntry):
        label, sha256 = known.name, known.files[main_role(known)].sha256
    else:
        label = Path(name).name  # of a file or a run, without folders of this machine
        _, sha256 = digest_of(weights_path(name))
    return {
        "name": label,
        "model": known.model,
        "licence": known.licence,
        "trained_on": known.trained_on,
        "sha256": sha256,
    }


def _check_options(network: Generator | Classifier | FeatureExtractor, options: Options) -> None:
    """Raise InputError for an option that means nothing for this kind of network."""
    is_generator = isinstance(network, Generator)
    is_extractor = isinstance(network, FeatureExtractor)
    translates = is_generator and network.source_shape is not None
    given = {
        "--truncation": options.truncation is not None and (not is_generator or translates),
        "--free-size": options.free_size and not translates,
        "--image-size": options.image_size is not None and not is_extractor,
        "--uint8": options.uint8 and not is_extractor,
        "--half": options.half and is_extractor,
    }
    for option, is_wrong in given.items():
        if is_wrong:
            what = f"{type(network).__name__} is exported without {option}"
            raise InputError(what, hint=f"omit {option}")


def _conventions(
    network: Generator | Classifier | FeatureExtractor, function: Function, options: Options
) -> dict[str, Any]:
    """What whoever runs the file has to know of its inputs and its output."""
    said: dict[str, Any] = {
        "zoo_version": version("zoo-core"),
        "inputs": _shapes(function, options.batch),
        "output": function.output,
        "precision": "float16" if options.half else "float32",
        "test_mode": getattr(network, "test_mode", ""),
        "classes": list(getattr(network, "classes", ())),
    }
    if isinstance(function, Drawing):
        said["latent_distribution"] = network.latent_distribution
        said["truncation"] = "input" if function.truncation is None else function.truncation
    else:
        said["input_range"] = [0, 255] if options.uint8 else [-1, 1]
    if isinstance(network, Generator):
        said["output_range"] = [-1, 1]
    return said


def _shapes(function: Function, count: int | None) -> dict[str, Shape]:
    """The shape of each input, with the names of free axes."""
    free = axes(function, count)
    found: dict[str, Shape] = {}
    for name, tensor in function.inputs(range(count or 1)).items():
        named = free[name] or {}
        found[name] = [
            getattr(named[axis], "__name__", "") if axis in named else side
            for axis, side in enumerate(tensor.shape)
        ]
    return found
