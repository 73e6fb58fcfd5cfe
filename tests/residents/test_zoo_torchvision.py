"""torchvision's data sets from files on disk: all of them, none downloaded, none misread."""

from __future__ import annotations

import ast
import bz2
import io
import json
import multiprocessing
import os
import pickle  # noqa: TID251 - to show that nothing is unpickled
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision_fakes import FAKES, accept_checksums, image, save, text

import zoo_dcgan
import zoo_torchvision
from zoo_core.errors import DataError, InputError, OfflineError, PictureError, UnknownNameError
from zoo_core.pictures import PictureDataset
from zoo_core.plugins.loading import Plugins
from zoo_core.spec import DatasetSpec
from zoo_torchvision.names import REFUSED, image_sets

datasets = pytest.importorskip("torchvision.datasets")
pytest_plugins = "commands"
pytestmark = pytest.mark.usefixtures("no_network")
STARTS = [start for start in ("fork", "spawn") if start in multiprocessing.get_all_start_methods()]
forking = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


@pytest.fixture
def fake(monkeypatch, tmp_path):
    """Writes a data set into a folder, and returns the folder."""
    accept_checksums(monkeypatch)

    def write(name: str) -> Path:
        if FAKES[name].needs:
            pytest.importorskip(FAKES[name].needs)
        FAKES[name].write(tmp_path)
        return tmp_path

    return write


def find(name: str) -> DatasetSpec:
    plugins = Plugins()
    plugins.register("torchvision", zoo_torchvision)
    found = plugins.find_dataset(f"torchvision/{name}").spec
    assert plugins.problems == []
    return found


def opened(name: str, folder: Path, options: str = "", split: str = "train") -> PictureDataset:
    return find(f"{name}:{folder}{options}").open(32, split)


def seen(dataset: PictureDataset) -> list[tuple[int | None, int]]:
    """The label and the first value of each image."""
    pictures = [dataset[index] for index in range(len(dataset))]
    return [(picture.label, int(picture.pixels.flat[0])) for picture in pictures]


# All of them


def test_every_data_set_with_images_and_classes_is_tried_here():
    assert set(image_sets()) - {"LSUN"} == set(FAKES)


@pytest.mark.parametrize("name", FAKES)
def test_images_labels_and_classes_come_back_as_they_were_written(name, fake):
    folder, expected = fake(name), FAKES[name]
    dataset = opened(name, folder, expected.options)
    listed = tuple(getattr(getattr(datasets, name), "classes", ()))
    assert dataset.classes == (listed if expected.classes is None else expected.classes)
    labels, grays = zip(*seen(dataset), strict=True)
    assert labels == expected.labels
    if name not in ("SEMEION", "USPS", "FER2013"):  # whose images are all alike here
        wanted = [40 * (number + 1) for number in range(len(labels))]
        assert np.allclose(grays, wanted, atol=2)  # JPEG
    names = [dataset[index].name for index in range(len(dataset))]
    assert len(set(names)) == len(names)
    with pytest.raises(IndexError):
        dataset[len(dataset)]


@pytest.mark.parametrize("name", FAKES)
def test_opening_twice_gives_the_same_fingerprint_and_writes_nothing(name, fake):
    folder, options = fake(name), FAKES[name].options
    before = sorted(folder.rglob("*"))
    first, second = (opened(name, folder, options).fingerprint for _ in range(2))
    assert first == second
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("name", FAKES)
def test_a_missing_data_set_is_one_line_with_the_folder_and_writes_nothing(name, tmp_path):
    if FAKES[name].needs:
        pytest.importorskip(FAKES[name].needs)
    with pytest.raises(OfflineError) as caught:
        opened(name, tmp_path, FAKES[name].options)
    assert f"no usable {name} in {tmp_path} (" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", REFUSED)
def test_a_data_set_without_class_labels_is_refused_in_words(name):
    assert hasattr(datasets, name)
    with pytest.raises(InputError, match=f"torchvision/{name} is not offered: "):
        find(f"{name}:somewhere")


def test_a_new_class_with_other_targets_is_refused_when_it_is_opened(monkeypatch, tmp_path):
    class Captions(datasets.EuroSAT):
        def __getitem__(self, index):
            path, _ = super().__getitem__(index)
            return path, "a caption"

    monkeypatch.setattr(datasets, "Captions", Captions, raising=False)
    monkeypatch.setattr(datasets, "__all__", (*datasets.__all__, "Captions"))
    FAKES["EuroSAT"].write(tmp_path)
    with pytest.raises(DataError, match=r"torchvision/Captions are no class .*given: str"):
        opened("Captions", tmp_path)


def test_the_readme_names_every_data_set():
    readme = Path(zoo_torchvision.__file__).with_name("README.md").read_text()
    assert all(f"`{name}`" in readme for name in (*image_sets(), *REFUSED))


# Names


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("cifar10", UnknownNameError, "nearest: torchvision/CIFAR10,"),
        ("MINST:x", UnknownNameError, "nearest: torchvision/MNIST"),
        ("VisionDataset:x", UnknownNameError, "no data set of torchvision is called"),
        ("", InputError, "must be followed by a name; allowed: CIFAR10, CIFAR100, "),
        ("CIFAR10,x", InputError, "not a usable name; allowed: torchvision/NAME"),
        ("MNIST:x,folds=1", InputError, "has no option 'folds'; allowed: none"),
        ("STL10:x,fold=1", InputError, "allowed: folds; nearest: folds"),
        ("SVHN:x,split=extra", InputError, "try: --set split=extra"),
        ("MNIST:x,download=true", InputError, "has no option 'download'"),
        ("DTD:x,partition=one", InputError, "takes partition as a number; given: one"),
        ("Places365:x,small=yes", InputError, "takes small as true or false; given: yes"),
        ("EMNIST:x", InputError, "needs split; allowed: byclass, .*MNIST:x,split=byclass"),
        ("CIFAR10", InputError, "needs the folder .*torchvision/CIFAR10:FOLDER, or set ZOO_DATA="),
        ("CIFAR10:~nobody-here", InputError, "not a usable folder"),
    ],
)
def test_a_name_that_cannot_be_meant_says_what_can(name, error, message):
    with pytest.raises(error, match=message):
        find(name)


def test_a_value_that_only_torchvision_knows_is_refused_with_those_it_allows(fake):
    with pytest.raises(InputError, match="Unknown value 'x' for argument split; allowed: byclass"):
        opened("EMNIST", fake("EMNIST"), ",split=x")


def test_the_folder_is_the_one_given_else_zoo_data(fake, monkeypatch):
    folder = fake("MNIST")
    monkeypatch.setenv("ZOO_DATA", str(folder))
    assert len(find("MNIST").open(32, "train")) == 3
    assert find("MNIST").address == ""  # the same name finds it from any folder
    with pytest.raises(OfflineError, match="no usable MNIST in /nowhere"):
        find("MNIST:/nowhere").open(32, "train")


def test_a_relative_folder_becomes_absolute(fake, monkeypatch):
    folder = fake("EMNIST")
    monkeypatch.chdir(folder.parent)
    spec = find(f"EMNIST:{folder.name},split=digits")
    assert spec.address == f"torchvision/EMNIST:{folder},split=digits"
    monkeypatch.setenv("HOME", str(folder))
    assert len(find("EMNIST:~,split=digits").open(32, "train")) == 3


def test_the_record_names_the_class_and_states_no_licence():
    spec = find("EMNIST:x,split=letters")
    assert (spec.name, spec.licence) == ("emnist-letters", "NOASSERTION")
    assert spec.provenance == "torchvision.datasets.EMNIST,split=letters"


LIGHT = """
import sys
import zoo_torchvision
assert zoo_torchvision.zoo_find_dataset("photos/torchvision") is None
print([name for name in ("torchvision", "torch", "numpy") if name in sys.modules])
"""


def test_other_names_import_nothing_heavy():
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


# Splits and options


@pytest.mark.parametrize(
    ("name", "splits", "renamed"),
    [
        ("CIFAR10", ("train", "test"), ""),
        ("EMNIST", ("train", "test"), ""),
        ("SVHN", ("train", "test", "extra"), ""),
        ("EuroSAT", ("train",), ""),
        ("CelebA", ("train", "valid", "test", "all"), ""),
        ("OxfordIIITPet", ("trainval", "test", "train"), " (train is its trainval)"),
        ("Imagenette", ("train", "val", "test"), " (test is its val)"),
    ],
)
def test_splits_are_those_of_the_class_with_train_and_test_where_one_is_missing(
    name, splits, renamed
):
    spec = find(f"{name}:x{FAKES[name].options}")
    assert spec.splits == splits
    assert spec.provenance.endswith(name + FAKES[name].options + renamed)


def test_a_new_class_that_accepts_any_split_has_the_one_that_is_its_default(monkeypatch):
    class Any(datasets.EuroSAT):
        def __init__(self, root, split="part", **options):
            super().__init__(root, **options)

    monkeypatch.setattr(datasets, "Any", Any, raising=False)
    monkeypatch.setattr(datasets, "__all__", (*datasets.__all__, "Any"))
    assert find("Any:x").splits == ("part",)


def test_the_known_splits_of_celeba_are_those_of_torchvision(fake):
    folder = fake("CelebA")
    with pytest.raises(ValueError, match="'train', 'valid', 'test', 'all'"):
        datasets.CelebA(folder, split="?")


def test_train_and_test_read_different_files(fake):
    folder = fake("MNIST")
    labels = folder / "MNIST/raw/t10k-labels-idx1-ubyte"
    labels.write_bytes(labels.read_bytes()[:-3] + bytes([7, 8, 9]))
    assert [label for label, _ in seen(opened("MNIST", folder, split="test"))] == [7, 8, 9]
    assert [label for label, _ in seen(opened("MNIST", folder))] == [0, 1, 1]


def test_an_option_reaches_torchvision(fake):
    folder = fake("OxfordIIITPet")
    lists = folder / "oxford-iiit-pet/annotations/trainval.txt"
    text(lists, "cat_1 1 2 1", "dog_1 2 1 1", "dog_2 2 1 1")
    dataset = opened("OxfordIIITPet", folder, ",target_types=binary-category")
    assert [label for label, _ in seen(dataset)] == [1, 0, 0]
    assert dataset.classes == ("0", "1")  # not the names of the breeds


@pytest.mark.parametrize(
    ("name", "split"),
    [("STL10", "unlabeled"), ("STL10", "train+unlabeled"), ("Places365", "test")],
)
def test_a_split_with_unlabeled_images_has_no_classes(name, split, fake):
    dataset = opened(name, fake(name), split=split)
    assert dataset.classes == ()
    assert {label for label, _ in seen(dataset)} == {None}


def test_classes_do_not_depend_on_the_order_in_which_the_disk_lists_them(fake, monkeypatch):
    folder, listdir = fake("Omniglot"), os.listdir
    for order in (sorted, lambda names: sorted(names, reverse=True)):
        monkeypatch.setattr(os, "listdir", lambda path, order=order: order(listdir(path)))
        dataset = opened("Omniglot", folder)
        assert dataset.classes == ("Greek/a", "Greek/b")
        assert [label for label, _ in seen(dataset)] == [0, 1, 1]


# What is missing


def quoted_command(error: OfflineError) -> ast.Module:
    """The Python program in the command that a message ends with."""
    python, flag, program = shlex.split(str(error).partition("try: ")[2])
    assert (python, flag) == ("python", "-c")
    return ast.parse(program)


@pytest.mark.parametrize("place", ["data", "my data", "it's $HOME", 'a "quote"'])
def test_the_command_that_fetches_it_can_be_pasted(place, tmp_path):
    with pytest.raises(OfflineError) as caught:
        opened("SVHN", tmp_path / place, split="extra")
    imported, called = quoted_command(caught.value).body
    assert ast.unparse(imported) == "from torchvision.datasets import SVHN"
    assert ast.literal_eval(called.value.args[0]) == str(tmp_path / place)
    given = {word.arg: ast.literal_eval(word.value) for word in called.value.keywords}
    assert given == {"split": "extra", "download": True}


@pytest.mark.parametrize("name", ["FER2013", "StanfordCars", "ImageNet"])
def test_what_torchvision_cannot_download_says_where_that_is_described(name, tmp_path):
    with pytest.raises(OfflineError, match=rf"torchvision\.datasets\.{name}\.html, and put them"):
        opened(name, tmp_path)


@pytest.mark.parametrize(
    ("name", "package"),
    [("SVHN", "scipy"), ("Caltech101", "scipy"), ("StanfordCars", "scipy"), ("PCAM", "h5py")],
)
def test_a_missing_package_is_named(name, package, monkeypatch, fake, tmp_path):
    if name != "PCAM":
        fake(name)
    for module in (package, f"{package}.io"):
        monkeypatch.setitem(sys.modules, module, None)
    split = "test" if name == "PCAM" else "train"  # known to PCAM only with its package
    with pytest.raises(OfflineError, match=f"needs the package {package}; try: pip install"):
        opened(name, tmp_path, split=split)


def test_torchvision_that_is_not_installed_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(OfflineError, match=r"try: pip install 'zoo-core\[features\]'$"):
        find("MNIST:x")


@pytest.mark.parametrize("name", ["Caltech101", "Caltech256", "INaturalist"])
def test_no_folder_is_made_for_a_data_set_that_is_not_there(name, tmp_path):
    with pytest.raises(OfflineError):
        opened(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_archives_of_imagenet_are_not_unpacked(fake):
    folder = fake("ImageNet")
    (folder / "ILSVRC2012_img_val.tar").write_bytes(b"large")
    with pytest.raises(OfflineError, match=r"\(no val\)"):
        opened("ImageNet", folder, split="val")
    assert not (folder / "val").exists()


class Trap:
    """Writes a file where it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["CIFAR10", "CIFAR100"])
def test_a_batch_of_cifar_that_is_not_the_published_one_is_never_unpickled(name, tmp_path):
    FAKES[name].write(tmp_path)
    for path in tmp_path.glob("*/*"):
        path.write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    with pytest.raises(OfflineError, match="not found or corrupted"):
        opened(name, tmp_path)
    assert not (tmp_path / "sprung").exists()


# Damage


def test_a_damaged_file_is_a_bad_image_with_its_name(fake):
    folder = fake("Food101")
    path = folder / "food-101/images/dog/2.jpg"
    path.write_bytes(path.read_bytes()[:200])
    (folder / "food-101/images/dog/3.jpg").unlink()
    dataset = opened("Food101", folder)
    for index, reason in ((1, "damaged"), (2, "cannot be read")):
        with pytest.raises(PictureError, match=reason) as caught:
            dataset[index]
        assert caught.value.name == f"food-101/images/dog/{index + 1}.jpg"
    assert dataset[0].label == 0


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_among_its_files_is_not_waited_for(fake):
    folder = fake("Food101")
    path = folder / "food-101/images/dog/2.jpg"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(PictureError, match=r"dog/2\.jpg: is not a regular file"):
        opened("Food101", folder)[1]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # not closed there
def test_a_damaged_image_that_torchvision_decodes_is_a_bad_image_too(fake):
    folder = fake("GTSRB")
    path = folder / "gtsrb/GTSRB/Training/00000/1.ppm"
    path.write_bytes(path.read_bytes()[:30])
    dataset = opened("GTSRB", folder)
    with pytest.raises(PictureError, match="GTSRB train 0: torchvision cannot read it"):
        dataset[0]
    assert dataset[1].label == 1


def test_a_label_without_a_class_is_a_bad_image(fake):
    folder = fake("MNIST")
    labels = folder / "MNIST/raw/train-labels-idx1-ubyte"
    labels.write_bytes(labels.read_bytes()[:-3] + bytes([3, 12, 4]))
    dataset = opened("MNIST", folder)
    with pytest.raises(PictureError, match="label 12 is not one of 10 classes"):
        dataset[1]


@pytest.mark.parametrize(
    ("name", "file", "kind"),
    [("Food101", "food-101/meta/train.json", "JSONDecodeError"), ("USPS", "usps.bz2", "EOFError")],
)
def test_a_damaged_list_is_an_error_that_names_the_folder(name, file, kind, fake):
    folder = fake(name)
    (folder / file).write_bytes((folder / file).read_bytes()[:-5])
    with pytest.raises(DataError, match=f"cannot read torchvision/{name} in {folder}: {kind}"):
        opened(name, folder)


def test_a_data_set_without_images_is_an_error(fake):
    folder = fake("CLEVRClassification")
    for path in folder.glob("clevr/*/images/train/*"):
        path.unlink()
    with pytest.raises(DataError, match="has no images"):
        opened("CLEVRClassification", folder)


# Fingerprints


def changed_pixels(folder: Path) -> None:
    path = folder / "MNIST/raw/train-images-idx3-ubyte"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def changed_label(folder: Path) -> None:
    path = folder / "usps.bz2"
    lines = bz2.decompress(path.read_bytes()).replace(b"\n2", b"\n3", 1)
    path.write_bytes(bz2.compress(lines))


CHANGES = {
    "pixels in memory": ("MNIST", changed_pixels),
    "a label in memory": ("USPS", changed_label),
    "a file": ("Food101", lambda f: save(f / "food-101/images/cat/1.jpg", 5)),
    "a file in a list": ("GTSRB", lambda f: save(f / "gtsrb/GTSRB/Training/00001/2.ppm", 5)),
    "a file in a folder": ("CelebA", lambda f: save(f / "celeba/img_align_celeba/000002.jpg", 5)),
    "a class": ("SUN397", lambda f: text(f / "SUN397/ClassName.txt", "/c/cat", "/d/dog", "/e/cow")),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_changes_the_fingerprint(change, fake):
    name, make = CHANGES[change]
    folder = fake(name)
    before = opened(name, folder).fingerprint
    make(folder)
    assert opened(name, folder).fingerprint != before


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("STL10", {"split": "test"}),
        ("OxfordIIITPet", {"options": ",target_types=binary-category"}),
        ("DTD", {"options": ",partition=2"}),
    ],
)
def test_splits_and_options_have_fingerprints_of_their_own(name, other, fake):
    folder = fake(name)
    if name == "DTD":
        lists = folder / "dtd/dtd/labels"
        (lists / "train2.txt").write_bytes((lists / "train1.txt").read_bytes())
    assert opened(name, folder).fingerprint != opened(name, folder, **other).fingerprint


def test_two_data_sets_with_the_same_pixels_have_fingerprints_of_their_own(fake):
    first, second = (opened(name, fake(name)).fingerprint for name in ("MNIST", "KMNIST"))
    assert first != second


def test_a_new_class_that_lists_files_has_a_fingerprint_of_them(monkeypatch, tmp_path):
    class Listed(datasets.VisionDataset):
        def __init__(self, root, transform=None, target_transform=None):
            super().__init__(root)
            self.paths = [f"{root}/{number}.png" for number in range(2)]

        def __len__(self):
            return len(self.paths)

        def __getitem__(self, index):
            return Image.open(self.paths[index]), index

    monkeypatch.setattr(datasets, "Listed", Listed, raising=False)
    monkeypatch.setattr(datasets, "__all__", (*datasets.__all__, "Listed"))
    for number in range(2):
        save(tmp_path / f"{number}.png", number)
    before = opened("Listed", tmp_path)
    assert seen(before) == [(0, 40), (1, 80)]
    save(tmp_path / "1.png", 5)
    assert opened("Listed", tmp_path).fingerprint != before.fingerprint


@pytest.mark.parametrize("name", ["MNIST", "Food101", "CelebA"])
def test_other_data_sets_in_the_folder_change_nothing(name, fake):
    folder = fake(name)
    before = opened(name, folder).fingerprint
    save(folder / "another/1.jpg", 1)
    save(folder / "1.jpg", 1)
    assert opened(name, folder).fingerprint == before


# Threads and processes


@forking
@pytest.mark.parametrize("name", ["MNIST", "Food101", "GTSRB"])
def test_threads_and_processes_read_the_same(name, fake):
    dataset = opened(name, fake(name))
    expected = seen(dataset)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(seen, [dataset] * 8)) == [expected] * 8
    for start in STARTS:
        with multiprocessing.get_context(start).Pool(2) as pool:
            assert pool.map(seen, [dataset] * 2) == [expected] * 2


def test_a_process_is_not_sent_the_images_in_memory(fake):
    dataset = opened("STL10", fake("STL10"))
    assert len(pickle.dumps(dataset)) < 2000  # one image has 27,648 bytes


# LSUN


@pytest.fixture
def lsun(tmp_path) -> Path:
    lmdb = pytest.importorskip("lmdb")
    for name, numbers in (("bedroom_train", (0, 1)), ("tower_train", (2,)), ("test", (3,))):
        with (
            lmdb.open(str(tmp_path / f"{name}_lmdb")) as environment,
            environment.begin(write=True) as writing,
        ):
            for number in numbers:
                file = io.BytesIO()
                image(number).save(file, "WEBP", lossless=True)
                writing.put(f"key{number}".encode(), file.getvalue())
    return tmp_path


def test_lsun_is_read_category_by_category(lsun):
    dataset = opened("LSUN", lsun, ",classes=bedroom+tower")
    assert dataset.classes == ("bedroom", "tower")
    assert seen(dataset) == [(0, 40), (0, 80), (1, 120)]
    assert dataset[2].name == "tower_train_lmdb/key2"
    assert find("LSUN:x,classes=bedroom+tower").name == "lsun-bedroom-tower"


@pytest.mark.parametrize(("split", "grays"), [("train", [40, 80]), ("test", [160])])
def test_one_category_of_lsun_has_no_classes(split, grays, lsun):
    dataset = opened("LSUN", lsun, ",classes=bedroom", split)
    assert (dataset.classes, seen(dataset)) == ((), [(None, gray) for gray in grays])


def test_a_category_of_lsun_that_is_unknown_or_missing_is_named(lsun):
    with pytest.raises(InputError, match="no category 'attic'; allowed: bedroom, bridge"):
        opened("LSUN", lsun, ",classes=attic")
    with pytest.raises(OfflineError, match=f"no kitchen_val_lmdb in {lsun}"):
        opened("LSUN", lsun, ",classes=kitchen", "val")


@forking
def test_processes_share_lsun_and_so_do_two_data_sets(lsun):
    dataset, again = (opened("LSUN", lsun, ",classes=bedroom+tower") for _ in range(2))
    expected = seen(dataset)
    assert dataset.fingerprint == again.fingerprint
    for start in STARTS:
        with multiprocessing.get_context(start).Pool(2) as pool:
            assert pool.map(seen, [dataset, again]) == [expected] * 2


def test_lsun_without_its_package_is_one_line(tmp_path, monkeypatch):
    save(tmp_path / "bedroom_train_lmdb/data.mdb", 0)
    monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(OfflineError, match="needs the package lmdb; try: pip install lmdb"):
        opened("LSUN", tmp_path, ",classes=bedroom")


# Commands

PLUGINS = {"torchvision": zoo_torchvision, "dcgan": zoo_dcgan}


def test_the_list_of_data_sets_names_the_namespace(command):
    answer = command(PLUGINS, "data", "list")
    assert "torchvision/NAME[:FOLDER]" in answer.err
    [listed] = json.loads(command(PLUGINS, "data", "list", "--json").out)["namespaces"]
    assert listed["plugin"] == "torchvision"
    assert listed["names"] in answer.err


def test_the_list_of_plugins_says_that_it_finds_data_sets(command):
    lines = command(PLUGINS, "plugin", "list").out.splitlines()
    assert lines[1].split("ms ")[1].strip() == "data sets by name"


def test_a_data_set_is_shown_and_checked_by_its_name(command, fake):
    name = f"torchvision/CIFAR10:{fake('CIFAR10')}"
    shown = command(PLUGINS, "data", "show", name, "--json")
    [record] = json.loads(shown.out)["datasets"]
    assert (record["pictures"], record["classes"]) == (3, ["cat", "dog"])
    assert record["provenance"] == "torchvision.datasets.CIFAR10"
    checked = command(PLUGINS, "data", "check", name)
    assert (checked.code, "3 of 3 images are usable" in checked.out) == (0, True)


def test_a_run_trains_on_it_and_goes_on_from_another_folder(command, fake, monkeypatch):
    fake("CIFAR10").joinpath("elsewhere").mkdir()
    train = ("train", "dcgan", "--preset", "tiny", "--set", "batch_size=2", "--images", "4")
    begun = command(PLUGINS, *train, "--data", "torchvision/CIFAR10:.", "--run-dir", "run")
    assert begun.code == 0, begun.err
    recorded = json.loads(Path("run/config.json").read_text())["run"]["data"]
    assert recorded == f"torchvision/CIFAR10:{Path.cwd()}"
    monkeypatch.chdir("elsewhere")
    again = command(PLUGINS, *train, "--data", recorded, "--run-dir", "../run")
    assert (again.code, "already finished" in again.out) == (0, True), again.err


def test_a_missing_data_set_exits_with_6(command, tmp_path):
    answer = command(PLUGINS, "data", "show", f"torchvision/CIFAR10:{tmp_path}")
    assert answer.code == 6
    assert answer.err.count("error: ") == 1
