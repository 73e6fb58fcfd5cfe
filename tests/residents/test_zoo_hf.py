"""Data sets of the library `datasets`: from folders and its cache, offline, decoded here."""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import shlex
import shutil
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from torchvision_fakes import image, save, text

import zoo_dcgan
import zoo_hf
from zoo_core.errors import DataError, InputError, OfflineError, PictureError
from zoo_core.pictures import PictureDataset
from zoo_core.plugins.loading import Plugins
from zoo_core.spec import DatasetSpec

pytest_plugins = "commands"
PLUGINS = {"hf": zoo_hf, "dcgan": zoo_dcgan}
STARTS = [start for start in ("fork", "spawn") if start in multiprocessing.get_all_start_methods()]

pytestmark = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")


def find(name: str) -> DatasetSpec:
    plugins = Plugins()
    plugins.register("hf", zoo_hf)
    found = plugins.find_dataset(f"hf/{name}").spec
    assert plugins.problems == []
    return found


def opened(name: object, split: str = "train") -> PictureDataset:
    spec = find(str(name))
    assert split in spec.splits
    return spec.open(32, split)


def seen(dataset: PictureDataset) -> list[tuple[int | None, int]]:
    """The label and the first value of each image."""
    pictures = [dataset[index] for index in range(len(dataset))]
    return [(picture.label, int(picture.pixels.flat[0])) for picture in pictures]


# Without the library


LIGHT = """
import sys
import zoo_hf
assert zoo_hf.zoo_find_dataset("photos/hf") is None
print([name for name in ("datasets", "pyarrow", "torch", "numpy") if name in sys.modules])
"""


def test_other_names_import_nothing_heavy():
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_a_library_that_is_not_installed_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(OfflineError, match=r"try: pip install 'zoo-core\[hf\]'$"):
        find("acme/pets")


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("", InputError, r"not a usable name; allowed: hf/PATH_OR_NAME\[:CONFIG\]"),
        ("pets,imag=x", InputError, "unknown option 'imag'; .*nearest: image"),
        ("./nowhere", DataError, r"\./nowhere is not there; allowed: a folder, or a Parquet file"),
        ("a/b/c", DataError, "a/b/c is not there"),
        ("~nobody-here/x", DataError, "not a usable path"),
    ],
)
def test_a_name_that_cannot_be_meant_says_what_can(name, error, message):
    with pytest.raises(error, match=message):
        find(name)


def test_the_list_of_data_sets_names_the_namespace(command):
    assert "hf/PATH_OR_NAME[:CONFIG]" in command(PLUGINS, "data", "list").err


# With it


@pytest.fixture
def library(monkeypatch, tmp_path, no_network):
    """The library, with an empty cache and no network."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    yield datasets
    with warnings.catch_warnings():  # the library leaves metadata.csv open
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture
def write(library, tmp_path):
    """Writes rows as a Parquet file, and returns its folder."""

    def parquet(path: str, rows: list[dict], **features: object) -> Path:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        columns = {name: [row[name] for row in rows] for name in features}
        table = library.Dataset.from_dict(columns, features=library.Features(features))
        table.to_parquet(tmp_path / path)
        return (tmp_path / path).parent

    return parquet


@pytest.fixture
def pets(library, write):
    """Three cats and dogs to train on, two for a test."""

    def rows(count: int) -> list[dict]:
        return [{"image": image(n), "label": min(n, 1)} for n in range(count)]

    features = {"image": library.Image(), "label": library.ClassLabel(names=["cat", "dog"])}
    write("pets/test-00000-of-00001.parquet", rows(2), **features)
    return write("pets/train-00000-of-00001.parquet", rows(3), **features)


@pytest.fixture
def views(library, write):
    """A folder of rows with two images, a number, a text and a fraction each."""
    rows = [
        {"front": image(n), "back": image(n + 1), "floor": 10 - n, "roof": "ab"[n], "slope": n / 2}
        for n in range(2)
    ]
    types = {"floor": "int32", "roof": "string", "slope": "float32"}
    features = {name: library.Value(dtype) for name, dtype in types.items()}
    return write("views/x.parquet", rows, front=library.Image(), back=library.Image(), **features)


def test_a_folder_of_parquet_files_has_images_classes_and_splits(pets):
    spec = find(str(pets))
    assert (spec.name, sorted(spec.splits), spec.licence) == (
        "pets",
        ["test", "train"],
        "NOASSERTION",
    )
    assert all(type(split) is str for split in spec.splits)
    dataset = opened(pets)
    assert dataset.classes == ("cat", "dog")
    assert seen(dataset) == [(0, 40), (1, 80), (1, 120)]
    assert len(opened(pets, "test")) == 2
    assert [dataset[n].name for n in range(3)] == ["train 0", "train 1", "train 2"]
    with pytest.raises(IndexError):
        dataset[3]


def test_one_parquet_file_is_enough_and_other_files_are_not(pets):
    assert len(opened(pets / "test-00000-of-00001.parquet")) == 2
    text(pets / "notes.txt", "hello")
    with pytest.raises(DataError, match=r"notes\.txt is not a Parquet file"):
        find(str(pets / "notes.txt"))


def test_a_folder_of_images_has_its_class_folders(library, tmp_path):
    for number, name in enumerate(("cat/1", "dog/2", "dog/3")):
        save(tmp_path / f"own/train/{name}.png", number)
    dataset = opened(tmp_path / "own")
    assert dataset.classes == ("cat", "dog")
    assert seen(dataset) == [(0, 40), (1, 80), (1, 120)]
    assert dataset[2].name == "train 2 (3.png)"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # not closed there
def test_a_column_of_metadata_is_a_label_where_it_is_named(library, tmp_path):
    for number in range(3):
        save(tmp_path / f"own/{number}.png", number)
    text(tmp_path / "own/metadata.csv", "file_name,kind", "0.png,tabby", "1.png,lab", "2.png,lab")
    assert opened(tmp_path / "own").classes == ()
    dataset = opened(f"{tmp_path}/own,label=kind")
    assert dataset.classes == ("lab", "tabby")
    assert [label for label, _ in seen(dataset)] == [1, 0, 0]


@pytest.mark.parametrize("splits", [("train",), ("left", "right")])
def test_what_save_to_disk_wrote_is_read(splits, library, pets, tmp_path):
    rows = library.Dataset.from_parquet(str(pets / "train-00000-of-00001.parquet"))
    every = library.DatasetDict(dict.fromkeys(splits, rows))
    (every if len(splits) > 1 else rows).save_to_disk(tmp_path / "saved")
    assert find(f"{tmp_path}/saved").splits == splits
    assert seen(opened(f"{tmp_path}/saved", splits[-1])) == [(0, 40), (1, 80), (1, 120)]


def into_cache(library, folder: Path, name: str, config: str = "default") -> None:
    """Prepare a folder as if it had been loaded from the Hub under that name."""
    builder = library.load_dataset_builder(str(folder))
    builder.download_and_prepare()
    short = name.partition("/")[2]
    place = Path(library.config.HF_DATASETS_CACHE, name.replace("/", "___"), config, "0.0.0", "abc")
    shutil.copytree(builder.cache_dir, place)
    for path in place.glob("*.arrow"):
        path.rename(path.with_name(path.name.replace(builder.dataset_name, short, 1)))
    info = json.loads((place / "dataset_info.json").read_text())
    info |= {"dataset_name": short, "config_name": config}
    (place / "dataset_info.json").write_text(json.dumps(info))


def test_a_data_set_in_the_cache_is_found_by_its_name(library, pets):
    into_cache(library, pets, "acme/dogs")
    spec = find("acme/dogs")
    assert (spec.name, spec.address) == ("dogs", "")
    assert spec.provenance == "Hugging Face datasets: acme/dogs"
    assert seen(spec.open(32, "test")) == [(0, 40), (1, 80)]


def test_several_configurations_in_the_cache_have_to_be_told_apart(library, pets):
    for config in ("large", "small"):
        into_cache(library, pets, "acme/dogs", config)
    with pytest.raises(
        DataError, match=r"several configurations; allowed: (large, small|small, l)"
    ):
        find("acme/dogs")
    assert find("acme/dogs:small").name == "dogs-small"
    with pytest.raises(DataError, match="no configuration 'tiny'; allowed: large, small"):
        find("acme/dogs:tiny")


def test_a_folder_wins_over_a_name_in_the_cache(library, pets, monkeypatch):
    into_cache(library, pets, "acme/dogs")
    monkeypatch.chdir(pets.parent)
    save(Path("acme/dogs/1.png"), 0)
    spec = find("acme/dogs")
    assert (len(spec.open(32, "train")), spec.address) == (1, f"hf/{Path('acme/dogs').absolute()}")


@pytest.mark.parametrize("name", ["acme/cats", "mnist", "acme/cats:small"])
def test_what_is_not_on_this_machine_is_one_line_with_the_command_that_fetches_it(name, library):
    with pytest.raises(OfflineError) as caught:
        find(name)
    assert f"hf/{name} is neither a folder here nor in the cache" in str(caught.value)
    python, flag, program = shlex.split(str(caught.value).partition("try: ")[2])
    place, _, config = name.partition(":")
    told = ", ".join(map(repr, filter(None, [place, config])))
    assert program == f"from datasets import load_dataset; load_dataset({told})"
    assert (python, flag) == ("python", "-c")


@pytest.mark.parametrize("name", ["imagefolder", "parquet"])
def test_a_format_is_not_a_data_set(name, library, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # which the library would read
    save(tmp_path / "1.png", 0)
    with pytest.raises(DataError, match=f"hf/{name} is a format, not a data set"):
        find(name)


# Columns


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("", r"2 columns that could be its image; allowed: front, back; try: hf//.*,image=front"),
        (",image=floor", "no such image; given: floor; allowed: front, back"),
        (",image=front,label=wall", "no such label; given: wall; allowed: front, back, floor"),
        (",image=front,label=slope", "column 'slope' of .* cannot hold classes; given: float32"),
        (",image=front,source=frnt", "no such source; .*nearest: front"),
        (",image=front,source=front", "no such image; given: front; allowed: back"),
    ],
)
def test_a_column_that_cannot_be_meant_says_which_can(options, message, views):
    with pytest.raises(DataError, match=message):
        opened(f"{views}{options}")


def test_a_column_of_images_is_chosen_by_its_name(views):
    dataset = opened(f"{views},image=back")
    assert (seen(dataset), dataset.paired) == ([(None, 80), (None, 120)], False)


@pytest.mark.parametrize("options", [",source=front", ",image=back,source=front"])
def test_a_source_makes_pairs(options, views):
    dataset = opened(f"{views}{options}")
    assert dataset.paired
    pairs = [(int(dataset[n].source.flat[0]), int(dataset[n].pixels.flat[0])) for n in range(2)]
    assert pairs == [(40, 80), (80, 120)]
    assert find(f"{views}{options}").task == "image-to-image"


@pytest.mark.parametrize(
    ("column", "classes", "labels"), [("floor", ("9", "10"), [1, 0]), ("roof", ("a", "b"), [0, 1])]
)
def test_the_values_of_a_column_are_classes_in_their_order(column, classes, labels, views):
    dataset = opened(f"{views},image=back,label={column}")
    assert dataset.classes == classes
    assert [label for label, _ in seen(dataset)] == labels


def test_a_folder_without_images_is_an_error(library, write):
    folder = write("words/x.parquet", [{"word": "cat"}], word=library.Value("string"))
    with pytest.raises(DataError, match="no column of images; given: word"):
        opened(folder)


def labeled(library, write, labels: list[int | None]) -> Path:
    rows = [{"image": image(n), "label": label} for n, label in enumerate(labels)]
    kind = library.ClassLabel(names=["cat", "dog"])
    return write("some/x.parquet", rows, image=library.Image(), label=kind)


def test_a_choice_between_columns_of_classes_has_to_be_made(library, write):
    kinds = {name: library.ClassLabel(names=["x"]) for name in ("fine", "coarse")}
    rows = [{"image": image(0), "fine": 0, "coarse": 0}]
    folder = write("both/x.parquet", rows, image=library.Image(), **kinds)
    with pytest.raises(
        DataError, match=r"2 columns .* its label; allowed: fine, coarse; try: .*,l"
    ):
        opened(folder)
    assert opened(f"{folder},label=none").classes == ()
    assert opened(f"{folder},label=fine").classes == ("x",)


@pytest.mark.parametrize("hidden", [-1, None])
def test_a_split_whose_labels_are_hidden_has_no_classes(hidden, library, write):
    dataset = opened(labeled(library, write, [hidden, hidden]))
    assert (dataset.classes, [label for label, _ in seen(dataset)]) == ((), [None, None])


@pytest.mark.parametrize("hidden", [-1, None])
def test_some_images_without_a_class_are_an_error(hidden, library, write):
    folder = labeled(library, write, [0, hidden, 1])
    with pytest.raises(DataError, match=r"1 of 3 images .* have no label; try: .*,label=none"):
        opened(folder)
    assert len(opened(f"{folder},label=none")) == 3


# Damage


def test_a_row_without_an_image_and_one_that_is_damaged_are_bad_images(library, write):
    kind = library.Image()
    rows = [{"image": None}, {"image": {"bytes": b"\x89PNG damaged", "path": "a.png"}}]
    dataset = opened(write("holes/x.parquet", rows, image=kind))
    with pytest.raises(PictureError, match="train 0: there is no image in this row"):
        dataset[0]
    with pytest.raises(PictureError, match=r"train 1 \(a\.png\): damaged"):
        dataset[1]


def test_an_image_file_that_is_gone_is_a_bad_image(library, tmp_path):
    for number in range(2):
        save(tmp_path / f"own/{number}.png", number)
    dataset = opened(tmp_path / "own")
    (tmp_path / "own/1.png").unlink()
    with pytest.raises(PictureError, match=r"own/1\.png cannot be read"):
        dataset[1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "cannot be read by Hugging Face datasets: The directory .* contain any data files"),
        ({"x.parquet": "PAR1 nonsense"}, "cannot be read by Hugging Face datasets: Parquet magic"),
        ({"own.py": "raise SystemExit"}, "is a script, which is never run"),
    ],
)
def test_a_folder_that_cannot_be_read_is_one_line(content, message, library, tmp_path):
    (tmp_path / "own").mkdir()
    for name, words in content.items():
        text(tmp_path / "own" / name, words)
    with pytest.raises(DataError, match=message):
        opened(tmp_path / "own")


def test_a_parquet_file_with_damaged_rows_says_what_is_wrong(pets):
    path = pets / "train-00000-of-00001.parquet"
    data = path.read_bytes()
    path.write_bytes(data[:4] + bytes(300) + data[304:])
    with pytest.raises(DataError, match=r"cannot be read by Hugging Face datasets: (?!An error)"):
        opened(pets)


# Configurations, licences, the network


CARD = """---
license: {licence}
configs:
- config_name: one
  data_files: test*.parquet
- config_name: two
  data_files: {files}
---
"""


def test_a_configuration_is_chosen_by_its_name(pets):
    (pets / "README.md").write_text(CARD.format(licence="mit", files="train*.parquet"))
    with pytest.raises(DataError, match=r"several configurations; allowed: one, two; try: .*:one"):
        find(str(pets))
    with pytest.raises(DataError, match="no configuration 'three'; allowed: one, two"):
        find(f"{pets}:three")
    assert (len(opened(f"{pets}:one")), len(opened(f"{pets}:two"))) == (2, 3)
    spec = find(f"{pets}:two,label=none")
    assert (spec.name, spec.licence) == ("pets-two", "mit")
    assert spec.provenance == "Hugging Face datasets: pets:two,label=none"
    assert spec.address == f"hf/{pets}:two,label=none"


@pytest.mark.parametrize("url", ["https://example.com/x.parquet", "hf://datasets/a/b/x.parquet"])
def test_files_that_a_readme_names_on_the_network_are_not_opened(url, pets):
    (pets / "README.md").write_text(CARD.format(licence="mit", files=url))
    with pytest.raises((DataError, OfflineError)):
        opened(f"{pets}:two")


def test_the_library_is_offline_and_silent_for_a_call_only(library, pets, monkeypatch):
    import huggingface_hub.constants as hub

    logging, within = library.utils.logging, []
    load = library.load_dataset_builder

    def state() -> list[object]:
        told = [os.environ.get(name) for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")]
        switches = [library.config.HF_HUB_OFFLINE, hub.HF_HUB_OFFLINE]
        quiet = [logging.get_verbosity(), library.utils.are_progress_bars_disabled()]
        return [*told, *switches, *quiet]

    def watched(*arguments, **options):
        within.extend(state())
        return load(*arguments, **options)

    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.delenv("HF_DATASETS_OFFLINE", raising=False)
    for owner in (library.config, hub):
        monkeypatch.setattr(owner, "HF_HUB_OFFLINE", False)
    library.utils.enable_progress_bars()
    logging.set_verbosity(logging.WARNING)
    monkeypatch.setattr(library, "load_dataset_builder", watched)
    find(str(pets))
    assert within == ["1", "1", True, True, logging.CRITICAL, True]
    assert state() == ["0", None, False, False, logging.WARNING, False]


# Fingerprints, threads and processes, commands


def test_a_fingerprint_changes_with_the_files_the_split_and_the_columns(pets, tmp_path):
    def fingerprint(options: str = "", split: str = "train") -> str:
        return opened(f"{pets}{options}", split).fingerprint

    first = fingerprint()
    assert fingerprint() == first
    assert len({first, fingerprint(",label=none"), fingerprint(split="test")}) == 3
    shutil.copy(pets / "test-00000-of-00001.parquet", pets / "train-00000-of-00001.parquet")
    assert fingerprint() != first


def test_a_changed_image_file_changes_the_fingerprint(library, tmp_path):
    for number in range(2):
        save(tmp_path / f"own/{number}.png", number)
    before = opened(tmp_path / "own").fingerprint
    save(tmp_path / "own/1.png", 5)
    os.utime(tmp_path / "own/1.png", (1, 1))
    after = opened(tmp_path / "own")
    assert (after.fingerprint != before, seen(after)[1]) == (True, (None, 240))


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_threads_and_processes_read_the_same(pets):
    dataset = opened(pets)
    expected = seen(dataset)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(seen, [dataset] * 8)) == [expected] * 8
    for start in STARTS:
        with multiprocessing.get_context(start).Pool(2) as pool:
            assert pool.map(seen, [dataset] * 2) == [expected] * 2


def test_a_run_trains_on_a_relative_folder_and_records_an_absolute_one(command, pets):
    train = ("train", "dcgan", "--preset", "tiny", "--set", "batch_size=2", "--images", "4")
    answer = command(PLUGINS, *train, "--data", "hf/pets", "--run-dir", "run")
    assert answer.code == 0, answer.err
    recorded = json.loads(Path("run/config.json").read_text())["run"]["data"]
    assert recorded == f"hf/{pets}"


def test_a_folder_is_checked_by_its_name(command, pets):
    checked = command(PLUGINS, "data", "check", f"hf/{pets}")
    assert (checked.code, "3 of 3 images are usable" in checked.out) == (0, True), checked.err
