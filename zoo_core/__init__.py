"""A plugin-based zoo of generative image models.

    import zoo_core as zoo
    generator = zoo.load("dcgan.critters32")
    images = generator.sample(range(16))  # float32 [16, 3, 32, 32] in [-1, 1]

Names below are imported when they are first used, so `import zoo_core` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo_core.config import ModelConfig, setting
    from zoo_core.errors import ZooError
    from zoo_core.hookspecs import hookimpl
    from zoo_core.latents import interpolate, mix_styles
    from zoo_core.plugins import load_plugins
    from zoo_core.pretrained import load, load_features
    from zoo_core.registry import load_registry
    from zoo_core.spec import DatasetSpec, FeatureExtractorSpec, ModelSpec, WeightsEntry

__all__ = [
    "DatasetSpec",
    "FeatureExtractorSpec",
    "ModelConfig",
    "ModelSpec",
    "WeightsEntry",
    "ZooError",
    "hookimpl",
    "interpolate",
    "load",
    "load_features",
    "load_plugins",
    "load_registry",
    "mix_styles",
    "setting",
]

_HOMES = {
    "DatasetSpec": "spec",
    "FeatureExtractorSpec": "spec",
    "ModelConfig": "config",
    "ModelSpec": "spec",
    "WeightsEntry": "spec",
    "ZooError": "errors",
    "hookimpl": "hookspecs",
    "interpolate": "latents",
    "load": "pretrained",
    "load_features": "pretrained",
    "load_plugins": "plugins",
    "load_registry": "registry",
    "mix_styles": "latents",
    "setting": "config",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'zoo_core' has no attribute {name!r}")
    value = getattr(import_module(f"zoo_core.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
