"""A plugin-based zoo of generative image models.

    import zoo_core as zoo
    generator = zoo.load("dcgan.critters32")
    images = generator.sample(range(16))  # float32 [16, 3, 32, 32] in [-1, 1]

The public API is the list below and those of `zoo_core.nn`, `zoo_core.data`, `zoo_core.training`,
`zoo_core.metrics` and `zoo_core.testing`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo_core.lazy import public

if TYPE_CHECKING:  # for editors and type checkers
    from zoo_core.config import Count, ModelConfig, check_power_of_two, fields, resolve, setting
    from zoo_core.data.tensors import read_pictures, save_pictures, to_pil
    from zoo_core.errors import (
        AmbiguousNameError,
        ConfigError,
        DataError,
        DownloadError,
        InputError,
        OfflineError,
        PictureError,
        PluginError,
        RunError,
        UnknownNameError,
        UploadError,
        WeightsError,
        ZooError,
        nearest,
    )
    from zoo_core.filesystem import cache_folder
    from zoo_core.generators import Generator, StyleGenerator, evaluating
    from zoo_core.interfaces import (
        Batch,
        Classifier,
        Discriminator,
        FeatureExtractor,
        Networks,
        Phase,
        Progress,
    )
    from zoo_core.metrics.measuring import evaluate
    from zoo_core.noise import SeededNoise
    from zoo_core.pictures import Picture, PictureDataset, Pixels
    from zoo_core.plugins.hookspecs import hookimpl
    from zoo_core.plugins.loading import load_plugins
    from zoo_core.sampling.files import load_latents, save_latents
    from zoo_core.sampling.latents import interpolate, mix_styles
    from zoo_core.spec import (
        Alarm,
        DatasetSpec,
        FeatureExtractorSpec,
        FoundNetwork,
        ImporterSpec,
        ModelSpec,
        Recognized,
        RunInfo,
        WeightsEntry,
        WeightsFile,
    )
    from zoo_core.training.launch import Trained, train
    from zoo_core.training.publishing import Publication, publish
    from zoo_core.weights.catalog import fetch, info, list_models, list_weights
    from zoo_core.weights.exporting import Exported, export
    from zoo_core.weights.header import WeightsMetadata
    from zoo_core.weights.hub import read_weights
    from zoo_core.weights.importing import Imported, import_weights
    from zoo_core.weights.loading import load, load_features
    from zoo_core.weights.making import create, save
    from zoo_core.weights.registry import load_registry
    from zoo_core.weights.torchfile import read_state_dict

__getattr__, __dir__, __all__ = public(
    __name__,
    {
        # using models
        "load": "weights.loading",  # a generator, by registered name, hf:// address, file or run
        "create": "weights.making",  # a network with random weights, by the name of its model
        "save": "weights.making",  # such a network, or a loaded one, to a file that `load` takes
        "load_features": "weights.loading",  # a feature extractor by name
        "train": "training.launch",  # a model on your images; the same call again resumes
        "Trained": "training.launch",  # what that returns: folder, weights, images seen
        "evaluate": "metrics.measuring",  # weights or images; numbers with their protocol
        "publish": "training.publishing",  # a run's weights, with card, metrics and registry entry
        "Publication": "training.publishing",  # what that returns: the entry, and where it is
        "interpolate": "sampling.latents",  # images along a walk from seed to seed
        "mix_styles": "sampling.latents",  # images of some seeds with styles of others
        "list_models": "weights.catalog",  # names of installed models, filtered
        "list_weights": "weights.catalog",  # names of registered weights, filtered
        "info": "weights.catalog",  # what is known of a model, weights, a file or a run
        "fetch": "weights.catalog",  # the verified files of registered weights
        "save_latents": "sampling.files",  # latents or ws to a file
        "load_latents": "sampling.files",  # and back
        "read_pictures": "data.tensors",  # files or pictures of Pillow to a tensor in [-1, 1]
        "save_pictures": "data.tensors",  # such a tensor to PNG files
        "to_pil": "data.tensors",  # such a tensor to pictures of Pillow
        "import_weights": "weights.importing",  # somebody's checkpoint to weights that load
        "Imported": "weights.importing",  # what that returns: paths, and what was recognized
        "export": "weights.exporting",  # a network for other runtimes: ONNX, TorchScript, pt2
        "Exported": "weights.exporting",  # what that returns: path, inputs, difference, speed
        "load_plugins": "plugins.loading",  # every installed plugin
        "load_registry": "weights.registry",  # every registered weights file
        # what a plugin contributes
        "hookimpl": "plugins.hookspecs",  # marks a function of a plugin as a hook
        "ModelSpec": "spec",  # a model: configuration, presets, networks, phases
        "DatasetSpec": "spec",  # a data set
        "PictureDataset": "pictures",  # what a data set opens: images in a fixed order
        "Picture": "pictures",  # pixels, with a label or source image if there is one
        "Pixels": "pictures",  # uint8 [H, W] or [H, W, 3]
        "FeatureExtractorSpec": "spec",  # a pretrained network that turns images into features
        "ImporterSpec": "spec",  # a family of others' checkpoints: recognizes and converts them
        "FoundNetwork": "spec",  # a network in a file, as an importer is shown it
        "Recognized": "spec",  # what an importer takes it for
        "ModelConfig": "config",  # base class of a model's configuration
        "setting": "config",  # description and bounds of a configuration field
        "Count": "config",  # an integer >= 1
        "fields": "config",  # names and types of a configuration
        "resolve": "config",  # merges defaults < preset < file < --set
        "check_power_of_two": "config",  # for sizes in `__post_init__`
        # network interfaces and their inputs
        "Generator": "generators",  # makes images from seeds or from source images
        "StyleGenerator": "generators",  # a generator with an intermediate latent space W
        "Discriminator": "interfaces",  # images to logits: how real they look
        "Classifier": "interfaces",  # images to class logits
        "FeatureExtractor": "interfaces",  # frozen; images to features
        "Networks": "interfaces",  # the networks of one model
        "Phase": "interfaces",  # one optimizer step: module, optimizer, loss
        "Batch": "interfaces",  # a step's real images, labels and source images
        "Progress": "interfaces",  # images seen, and the noise of the step
        "SeededNoise": "noise",  # random numbers as a function of (seed, purpose, index)
        "evaluating": "generators",  # context manager: a network in evaluation mode
        # what observer hooks receive
        "RunInfo": "spec",  # name, folder and settings of a run
        "Alarm": "spec",  # what is going wrong, and what to try
        # weights that a plugin provides
        "WeightsEntry": "spec",  # an entry of a registry file
        "WeightsFile": "spec",  # where a file is, its size and sha256
        "WeightsMetadata": "weights.header",  # what a weights file says about itself
        "read_weights": "weights.hub",  # the verified bytes of a WeightsFile
        "read_state_dict": "weights.torchfile",  # tensors of a torch.save file, without unpickling
        "cache_folder": "filesystem",  # where files that can be regenerated are kept
        # errors; the tree is in zoo_core/errors.py
        "ZooError": "errors",  # base class: a one-line message and an exit code
        "RunError": "errors",  # a run failed
        "InputError": "errors",  # an unusable command, configuration or file
        "ConfigError": "errors",  # an unknown key or a wrong value
        "DataError": "errors",  # images that are missing or unsuitable
        "PictureError": "errors",  # one unusable image
        "UnknownNameError": "errors",  # nothing has that name
        "AmbiguousNameError": "errors",  # several things have that name
        "PluginError": "errors",  # a plugin is broken
        "WeightsError": "errors",  # a weights file is not what it claims
        "DownloadError": "errors",  # no server sends the registered file
        "UploadError": "errors",  # a server did not take a publication
        "OfflineError": "errors",  # something needed is not on this machine
        "nearest": "errors",  # closest matches to a misspelled name
    },
)
