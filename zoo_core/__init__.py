"""A plugin-based zoo of generative image models.

    import zoo_core as zoo
    generator = zoo.load("dcgan.critters32")
    images = generator.sample(range(16))  # float32 [16, 3, 32, 32] in [-1, 1]

The list below is all of it that may be relied on, together with the lists of `zoo_core.nn`,
`zoo_core.data`, `zoo_core.training`, `zoo_core.metrics` and `zoo_core.testing`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo_core.lazy import public

if TYPE_CHECKING:  # for editors and type checkers
    from zoo_core.config import Count, ModelConfig, check_power_of_two, fields, resolve, setting
    from zoo_core.errors import (
        AmbiguousNameError,
        ConfigError,
        DataError,
        InputError,
        OfflineError,
        PictureError,
        PluginError,
        RunError,
        UnknownNameError,
        WeightsError,
        ZooError,
        nearest,
    )
    from zoo_core.filesystem import cache_folder
    from zoo_core.interfaces import (
        Batch,
        Classifier,
        Discriminator,
        FeatureExtractor,
        Generator,
        Networks,
        Phase,
        Progress,
        StyleGenerator,
        evaluating,
    )
    from zoo_core.noise import SeededNoise
    from zoo_core.pictures import Picture, PictureDataset, Pixels
    from zoo_core.plugins.hookspecs import hookimpl
    from zoo_core.plugins.loading import load_plugins
    from zoo_core.sampling.latents import interpolate, mix_styles
    from zoo_core.spec import (
        Alarm,
        DatasetSpec,
        FeatureExtractorSpec,
        ModelSpec,
        RunInfo,
        WeightsEntry,
        WeightsFile,
    )
    from zoo_core.weights.hub import read_weights
    from zoo_core.weights.loading import load, load_features
    from zoo_core.weights.registry import load_registry
    from zoo_core.weights.torchfile import read_state_dict

__getattr__, __dir__, __all__ = public(
    __name__,
    {
        # using models
        "load": "weights.loading",  # a generator by registered name, weights file or run folder
        "load_features": "weights.loading",  # a feature extractor by name
        "interpolate": "sampling.latents",  # a walk from seed to seed
        "mix_styles": "sampling.latents",  # the styles of some seeds in the pictures of others
        "load_plugins": "plugins.loading",  # every installed plugin
        "load_registry": "weights.registry",  # every registered weights file
        # what a plugin contributes
        "hookimpl": "plugins.hookspecs",  # marks a function of a plugin as a hook
        "ModelSpec": "spec",  # a model: configuration, presets, networks, phases
        "DatasetSpec": "spec",  # a data set
        "PictureDataset": "pictures",  # what a data set opens: pictures in a fixed order
        "Picture": "pictures",  # pixels, and label or source picture if there are any
        "Pixels": "pictures",  # uint8 [H, W] or [H, W, 3]
        "FeatureExtractorSpec": "spec",  # a pretrained network that turns pictures into features
        "ModelConfig": "config",  # base of a model's configuration
        "setting": "config",  # meaning and bounds of a configuration field
        "Count": "config",  # an integer of 1 or more
        "fields": "config",  # names and types of a configuration
        "resolve": "config",  # defaults < preset < file < --set to one configuration
        "check_power_of_two": "config",  # for sizes in `__post_init__`
        # what networks are, and what they are told
        "Generator": "interfaces",  # makes pictures from seeds or from other pictures
        "StyleGenerator": "interfaces",  # one with an intermediate latent space W
        "Discriminator": "interfaces",  # judges pictures: logits
        "Classifier": "interfaces",  # sorts pictures into classes
        "FeatureExtractor": "interfaces",  # frozen; pictures to features
        "Networks": "interfaces",  # the networks of one model
        "Phase": "interfaces",  # one optimizer step: module, optimizer, loss
        "Batch": "interfaces",  # a step's real pictures, labels and source pictures
        "Progress": "interfaces",  # images seen, and the noise of a step
        "SeededNoise": "noise",  # random numbers by (seed, purpose, index)
        "evaluating": "interfaces",  # a network in evaluation mode for a while
        # what observers of a run are told
        "RunInfo": "spec",  # name, folder and settings of a run
        "Alarm": "spec",  # what goes wrong, and what to try
        # weights that a plugin brings
        "WeightsEntry": "spec",  # an entry of a registry file
        "WeightsFile": "spec",  # where a file lies, its size and sha256
        "read_weights": "weights.hub",  # the verified bytes of a WeightsFile
        "read_state_dict": "weights.torchfile",  # tensors of a torch.save file, without unpickling
        "cache_folder": "filesystem",  # where what can be made again is kept
        # errors; the tree is drawn in zoo_core/errors.py
        "ZooError": "errors",  # the root: one line and an exit code
        "RunError": "errors",  # a run failed
        "InputError": "errors",  # a command or a file is not usable
        "ConfigError": "errors",  # an unknown key or a wrong value
        "DataError": "errors",  # pictures that do not fit
        "PictureError": "errors",  # one picture that cannot be used
        "UnknownNameError": "errors",  # nothing has that name
        "AmbiguousNameError": "errors",  # several things have that name
        "PluginError": "errors",  # a plugin is broken
        "WeightsError": "errors",  # a weights file is not what it claims
        "OfflineError": "errors",  # not on this machine
        "nearest": "errors",  # names that a typing mistake may have meant
    },
)
