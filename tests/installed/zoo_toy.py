"""The toy as an installed plugin; what the command line is tested with."""

import toy_importer
import toys

from zoo_core.plugins.hookspecs import hookimpl

ZOO_API = 1


@hookimpl
def zoo_models():
    return [toys.TOY]


@hookimpl
def zoo_datasets():
    return [toys.TOYS]


@hookimpl
def zoo_importers():
    return [toy_importer.importer()]
