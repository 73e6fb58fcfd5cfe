"""Texts of the code that no test follows, each with the reason."""

from __future__ import annotations

PIP = "installs a package; tests/test_hints.py compares the name of its extra"
DOWNLOAD = "downloads a file"
OTHER = "needs another version of the zoo, or of a plugin"

UNRUN = {
    # They name packages and files that are not on this machine.
    "zoo_classifier/networks.py check_backbone": PIP,
    "zoo_datasets/checks.py versions": PIP,
    "zoo_hf/names.py explained 2": DOWNLOAD,
    "zoo_hf/offline.py ": PIP,
    "zoo_hf/offline.py import_datasets": PIP,
    "zoo_inception/network.py blank": PIP,
    "zoo_inception/network.py find": DOWNLOAD,
    "zoo_inception/network.py _read": DOWNLOAD,
    "zoo_timm/names.py import_timm": PIP,
    "zoo_timm/names.py find": PIP,
    "zoo_timm/packaged.py ": PIP,
    "zoo_timm/packaged.py read": PIP,
    "zoo_torchvision/lsun.py open_lsun 2": DOWNLOAD,
    "zoo_torchvision/lsun.py _environment": PIP,
    "zoo_torchvision/names.py ": PIP,
    "zoo_torchvision/names.py import_datasets": PIP,
    "zoo_torchvision/names.py missing_package": PIP,
    "zoo_torchvision/reading.py _missing": DOWNLOAD,
    "data/formats.py why_unreadable": PIP,
    "data/formats.py _register": PIP,
    "metrics/frechet.py not_installed": PIP,
    "metrics/similarity.py load_lpips": DOWNLOAD,
    "weights/graphs.py check_onnx": PIP,
    "weights/header.py parse_metadata": OTHER,
    "weights/hub.py _downloaded 2": PIP,
    "weights/loading.py _build": OTHER,
    "weights/places.py _hugging_face": PIP,
    "weights/uploading.py _library": PIP,
    # They say how something was done.
    "metrics/sides.py made_images": "says how images were fitted",
    "cli/progress.py zoo_alarm": "prints the hints of training/alarms.py",
    "cli/progress.py zoo_run_ended": "prints the hints of training/alarms.py",
}
