"""An importer of checkpoints of the toy, for tests of the core; its public code names no stem."""

from __future__ import annotations

from toys import ToyPlugin

from zoo_core.errors import WeightsError
from zoo_core.plugins.hookspecs import hookimpl
from zoo_core.plugins.loading import Plugins
from zoo_core.spec import ImporterSpec, Recognized

GENERATOR, DISCRIMINATOR = "paint.weight", "judge.weight"


def recognize(found):
    if found.attributes.get("stem.mode") == "odd":
        raise WeightsError("a toy with an odd stem", allowed="plain stems")
    if GENERATOR in found.shapes:
        width, channels = found.shapes[GENERATOR][:2]
        side = 4 * found.shapes["first.weight"][2]
        config = {"width": width, "channels": channels, "resolution": side}
        return Recognized(role="generator", config=config, summary=f"{side} px")
    if DISCRIMINATOR in found.shapes:
        width, channels = found.shapes["look.weight"][:2]
        config = {"width": width, "channels": channels}
        return Recognized(role="discriminator", config=config, summary="plain")
    return None


def convert(tensors, recognized):
    return {name.replace("first.", "stem."): tensor for name, tensor in tensors.items()}


def importer(name="toy-public", **changes):
    about = {
        "name": name,
        "summary": "toys",
        "model": "toy",
        "source": "https://example.org/somebody/toy",
        "recognize": recognize,
        "convert": convert,
    }
    return ImporterSpec(**{**about, **changes})


class ImportingPlugin(ToyPlugin):
    def __init__(self, *importers):
        self.importers = importers or (importer(),)

    @hookimpl
    def zoo_importers(self):
        return self.importers


def importing_plugins(*importers) -> Plugins:
    plugins = Plugins()
    plugins.register("toy", ImportingPlugin(*importers))
    assert not plugins.problems
    return plugins
