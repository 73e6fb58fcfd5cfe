"""The toy classifier and the toy extractor as an installed plugin."""

import toys

from zoo_core.plugins.hookspecs import hookimpl

ZOO_API = 1


@hookimpl
def zoo_models():
    return [toys.SORTER]


@hookimpl
def zoo_datasets():
    return [toys.SORTED_TOYS]


@hookimpl
def zoo_feature_extractors():
    return [toys.FEATURES]
