"""`zoo evaluate`, and evaluation during `zoo train`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from zoo_core.weights.header import read_header

RUN = Path("runs/toy.toys16-tiny")
FEW = ("--count", "16", "--extractor", "toy-features")


@pytest.fixture
def trained(zoo, monkeypatch, tmp_path):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ZOO_PLUGINS", "toy,sorter")
    assert zoo("train", "toy", "--preset", "tiny").code == 0
    return zoo


@pytest.fixture
def drawn(trained):
    """A folder with images sampled from the run."""
    trained("sample", RUN, "--seeds", "0-15", "--each", "--out", "drawn")
    return "./drawn"


def numbers(answer):
    assert answer.code == 0, answer.err
    return {record["name"]: record["value"] for record in answer.json["metrics"]}


def test_a_run_is_measured_on_the_pictures_it_learned(trained):
    answer = trained("evaluate", RUN, *FEW, "--json")
    assert set(numbers(answer)) == {"fd", "diversity", "kd", "precision", "recall"}
    protocol = answer.json["metrics"][0]["protocol"]
    assert protocol["data"].startswith("toys, 16 px, ")
    assert (protocol["split"], protocol["num_real"], protocol["num_fake"]) == ("train", 32, 16)
    assert answer.json["metrics"][0]["command"].startswith("zoo evaluate runs/toy.toys16-tiny")


def test_pictures_on_disk_have_the_numbers_of_the_generator_that_drew_them(trained, drawn):
    of_run = numbers(trained("evaluate", RUN, *FEW, "--json"))
    of_files = numbers(trained("evaluate", drawn, "--data", "toys", *FEW, "--json"))
    assert of_files == pytest.approx(of_run)


def test_real_pictures_are_measured_only_where_they_are_compared(trained, tmp_path):
    measured = tmp_path / "cache" / "features"
    for metric in ("ppl", "is"):
        assert trained("evaluate", RUN, *FEW, "--metrics", metric).code == 0
        assert not measured.exists()
    assert trained("evaluate", RUN, *FEW, "--metrics", "fd").code == 0
    assert measured.exists()


def test_a_table_names_each_metric_and_the_protocol_once(trained):
    lines = trained("evaluate", RUN, *FEW, "--metrics", "fd,kd").out.splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["fd", "diversity", "kd"]
    assert "subset_size 16" in lines[3]
    assert sum(line.startswith("extractor ") for line in lines) == 1


def test_what_changed_since_an_earlier_answer_is_shown(trained):
    before = trained("evaluate", RUN, *FEW, "--metrics", "fd", "--json")
    Path("before.json").write_text(before.out)
    trained("train", "toy", "--preset", "tiny", "--images", "32")
    after = numbers(trained("evaluate", RUN, *FEW, "--metrics", "fd", "--json"))
    row = trained("evaluate", RUN, *FEW, "--metrics", "fd", "--compare", "before.json").out
    change = float(row.splitlines()[1].split()[2])
    assert change == pytest.approx(after["fd"] - numbers(before)["fd"], rel=1e-2)
    answer = trained("evaluate", RUN, *FEW, "--compare", "before.json", "--json").json["metrics"]
    changes = {record["name"]: record.get("change") for record in answer}
    assert changes["fd"] == after["fd"] - numbers(before)["fd"]
    assert changes["kd"] is None


def test_the_numbers_in_the_folder_of_a_run_are_compared_with(trained):
    command = ("evaluate", RUN, *FEW, "--metrics", "fd")
    refused = trained(*command, "--compare", RUN)
    assert refused.code == 2
    folder = f"runs/{RUN.name}"
    assert refused.error.endswith(f"try: zoo evaluate {folder} --json > {folder}/numbers.json")
    (RUN / "numbers.json").write_text(trained(*command, "--json").out)
    for name in (RUN, RUN.name, RUN / "numbers.json"):
        answer = trained(*command, "--compare", name)
        assert answer.code == 0, answer.err
        assert answer.out.splitlines()[1].split()[2] == "+0"


def test_registered_weights_and_publications_have_numbers_to_compare_with(trained):
    refused = trained("evaluate", RUN, *FEW, "--compare", "dcgan.critters32")
    assert "metrics measured in different ways" in refused.error
    Path("numbers.json").write_text(trained("evaluate", RUN, *FEW, "--json").out)
    publish = ("publish", RUN, "--name", "toy.a", "--metrics-from", "numbers.json")
    assert trained(*publish).code == 0
    answer = trained("evaluate", RUN, *FEW, "--compare", "published/toy.a")
    assert answer.out.splitlines()[1].split()[2] == "+0"


def test_runs_of_two_sizes_are_compared_at_one_size_as_the_error_says(trained):
    small = ("train", "toy", "--preset", "tiny", "--set", "resolution=8", "--run-dir", "small")
    assert trained(*small).code == 0
    Path("before.json").write_text(trained("evaluate", RUN, *FEW, "--json").out)
    command = ("evaluate", "./small", *FEW, "--compare", "before.json")
    assert trained(*command).error.endswith("try: --resolution 16")
    answer = trained(*command, "--resolution", 16)
    assert answer.code == 0
    assert "toys, 16 px, " in answer.out


def test_images_on_disk_are_scaled_to_a_size_like_those_of_a_generator(trained, drawn):
    scaled = (*FEW, "--resolution", 24, "--json")
    of_run = trained("evaluate", RUN, *scaled)
    of_files = trained("evaluate", drawn, "--data", "toys", *scaled)
    assert of_run.json["metrics"][0]["protocol"]["data"].startswith("toys, 24 px, ")
    assert numbers(of_files) == pytest.approx(numbers(of_run))


def test_fewer_images_are_generated_for_few_real_ones_which_is_said(trained):
    few = FEW[2:]
    answer = trained("evaluate", RUN, *few, "-m", "fd", "--json")
    assert answer.json["metrics"][0]["protocol"]["num_fake"] == 160
    assert "generating 160 images, 5 for each of 32 real ones; for more: --count 5000" in answer.err
    assert "generating" not in trained("evaluate", RUN, *FEW, "-m", "fd").err.replace(
        "generating and measuring", ""
    )


def test_images_are_counted_in_thousands_on_the_command_line(trained):
    answer = trained("evaluate", RUN, "--count", "0.02k", *FEW[2:], "-m", "fd", "--json")
    assert answer.json["metrics"][0]["protocol"]["num_fake"] == 20
    refused = trained("evaluate", RUN, "--count", "many")
    assert refused.code == 2
    assert "'many' is not 2 or more images, such as 5000 or 5k" in refused.err


def test_what_was_measured_otherwise_says_how(trained):
    Path("before.json").write_text(trained("evaluate", RUN, *FEW, "--json").out)
    command = ("evaluate", RUN, "--count", "12", "--extractor", "toy-features", "--seed", "3")
    refused = trained(*command, "--compare", "before.json")
    assert refused.error.endswith("try: --count 16 --seed 0")


def test_an_earlier_answer_of_other_metrics_is_said(trained):
    Path("before.json").write_text(trained("evaluate", RUN, *FEW, "-m", "ppl", "--json").out)
    answer = trained("evaluate", RUN, *FEW, "-m", "fd", "--compare", "before.json")
    assert answer.code == 0
    assert "nothing to compare with: the earlier evaluation has only ppl" in answer.err


def test_numbers_of_another_protocol_are_not_compared(trained):
    Path("before.json").write_text(trained("evaluate", RUN, *FEW, "--json").out)
    other = ("--count", "12", "--extractor", "toy-features")
    answer = trained("evaluate", RUN, *other, "--compare", "before.json")
    assert answer.code == 2
    assert "num_fake 12 and 16" in answer.error
    assert not answer.out


@pytest.mark.parametrize("text", ["", "{}", '{"metrics": [{"name": "fd"}]}', "\x00"])
def test_an_earlier_answer_that_is_none_is_refused(trained, text):
    Path("before.json").write_text(text)
    answer = trained("evaluate", RUN, *FEW, "--compare", "before.json")
    assert answer.code == 2
    assert "before.json" in answer.error


def test_weights_alone_have_to_be_told_what_to_compare_with(trained):
    Path("alone").mkdir()
    Path("alone/w.safetensors").write_bytes((RUN / "generator.safetensors").read_bytes())
    answer = trained("evaluate", "alone/w.safetensors", *FEW)
    assert answer.code == 2
    assert "--data" in answer.error
    assert trained("evaluate", "alone/w.safetensors", "--data", "toys", *FEW).code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--metrics", "fdd"], "no such metric"),
        (["--metrics", "lpips"], "translated"),
        (["--extractor", "toy-feature"], "no feature extractor"),
        (["--data", "toyss"], "no data set"),
        (["--split", "validation"], "no split"),
    ],
)
def test_a_mistake_is_one_line(trained, arguments, message):
    answer = trained("evaluate", RUN, *FEW, *arguments)
    assert answer.code in (2, 3)
    assert message in answer.error
    assert not answer.out


def picture(path: Path, side: int, level: int) -> None:
    noise = np.random.default_rng(level).integers(0, 255, (side, side, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)


def photographs(folder: str, sizes: list[tuple[int, int]], first: int = 0) -> str:
    """A folder with different images of these widths and heights."""
    Path(folder).mkdir()
    for number, (width, height) in enumerate(sizes, start=first):
        random = np.random.default_rng(number)
        noise = random.integers(0, 255, (height, width, 3), dtype=np.uint8)
        Image.fromarray(noise).save(Path(folder, f"{number}.png"))
    return f"./{folder}"


COMPARED = ("--metrics", "fd", "--extractor", "toy-features", "--json")


def protocols(answer) -> list[dict]:
    assert answer.code == 0, answer.err
    return [record["protocol"] for record in answer.json["metrics"]]


def test_squares_of_one_size_are_compared_as_they_are(trained):
    fake = photographs("fake", [(16, 16)] * 8)
    answer = trained("evaluate", fake, "--data", "toys", *COMPARED)
    assert "fit" not in protocols(answer)[0]
    assert "become" not in answer.err


def test_photographs_are_cropped_on_both_sides_to_the_shorter_side(trained):
    fake = photographs("fake", [(40, 30)] * 8)
    real = photographs("real", [(40, 30)] * 8, first=8)
    answer = trained("evaluate", fake, "--data", real, *COMPARED)
    (protocol, _) = protocols(answer)
    assert (protocol["fit"], protocol["resolution"]) == ("crop", 30)
    assert protocol["data"].startswith("real, 30 px, ")
    assert "the images in fake are 40 x 30 (8); with --fit crop, those of both" in answer.err
    assert "become 30 x 30" in answer.err
    assert "warning" not in answer.err
    itself = trained("evaluate", fake, "--data", fake, *COMPARED)
    assert numbers(itself)["fd"] == pytest.approx(0, abs=1e-6)


def test_what_is_fitted_can_be_fitted_otherwise_and_is_not_compared_then(trained):
    fake = photographs("fake", [(40, 30)] * 8)
    real = photographs("real", [(40, 30)] * 8, first=8)
    command = ("evaluate", fake, "--data", real, *COMPARED)
    cropped, stretched = trained(*command), trained(*command, "--fit", "stretch")
    assert protocols(stretched)[0]["fit"] == "stretch"
    assert numbers(stretched)["fd"] != numbers(cropped)["fd"]
    Path("before.json").write_text(cropped.out)
    refused = trained(*command, "--fit", "stretch", "--compare", "before.json")
    assert refused.code == 2
    assert "fit 'stretch' and 'crop'" in refused.error


def test_sizes_that_differ_are_said_once_for_each_side(trained):
    fake = photographs("fake", [(16, 16)] * 5 + [(24, 20)] * 3)
    real = photographs("real", [(30, 30)] * 5 + [(24, 20)] * 3, first=8)
    answer = trained("evaluate", fake, "--data", real, *COMPARED)
    assert protocols(answer)[0]["resolution"] == 16
    warned = [line for line in answer.err.splitlines() if line.startswith("warning: the images")]
    assert [line.partition(";")[0] for line in warned] == [
        "warning: the images in fake are 16 x 16 (5), 24 x 20 (3)",
        "warning: the images in real are 30 x 30 (5), 24 x 20 (3)",
    ]


def test_pictures_of_other_sizes_are_refused_if_they_have_to_be_exact(trained):
    fake = photographs("mixed", [(16, 16), (16, 16), (24, 24)])
    answer = trained("evaluate", fake, "--data", "toys", "--fit", "exact", *COMPARED)
    assert answer.code == 2
    assert "2.png (is 24 x 24, must be 16 x 16)" in answer.error
    assert "become" not in answer.err


def test_pictures_that_cannot_be_read_have_no_size(trained):
    fake = photographs("fake", [(40, 30)] * 8)
    Path("fake", "bad.png").write_text("no image")
    command = ("evaluate", fake, "--data", "toys", *COMPARED)
    assert "bad.png" in trained(*command).error
    answer = trained(*command, "--bad-pictures", "skip")
    assert protocols(answer)[0]["num_fake"] == 8
    assert answer.err.count("warning: skipped bad.png") == 1


@pytest.mark.parametrize(("side", "fitted"), [(16, False), (12, True)])
def test_arrays_of_pictures_are_evaluated_like_files(trained, side, fitted):
    random = np.random.default_rng(0)
    np.savez("samples.npz", random.integers(0, 256, (20, side, 16, 3), dtype=np.uint8))
    (protocol, _) = protocols(trained("evaluate", "samples.npz", "--data", "toys", *COMPARED))
    assert protocol["num_fake"] == 20
    assert protocol["data"].startswith(f"toys, {side} px, ")
    assert ("fit" in protocol) == fitted


def test_what_is_remarked_of_pictures_counts_them_once(trained):
    Path("fake").mkdir()
    for number in range(4):
        dark = np.random.default_rng(number).integers(0, 255, (30, 40), dtype=np.uint16)
        Image.fromarray(dark).save(f"fake/{number}.png")
    answer = trained("evaluate", "./fake", "--data", "toys", *COMPARED)
    assert "4 16-bit images that use less than a sixteenth" in answer.err
    assert "warning: 8 16-bit" not in answer.err


def test_folders_of_generated_pictures_mean_nothing(trained):
    Path("fake").mkdir()
    photographs("fake/train", [(16, 16)] * 6)
    photographs("fake/test", [(16, 16)] * 4, first=6)
    answer = trained("evaluate", "./fake", "--data", "toys", *COMPARED)
    assert protocols(answer)[0]["num_fake"] == 10


def test_a_score_of_pictures_needs_no_real_ones(trained):
    fake = photographs("fake", [(40, 30)] * 8)
    command = ("evaluate", fake, "--metrics", "is", "--extractor", "toy-features", "--json")
    (protocol,) = protocols(trained(*command))
    assert protocol["extractor"].startswith("toy-features ")
    assert (protocol["fit"], protocol["resolution"], protocol["num_fake"]) == ("crop", 30, 8)
    assert "data" not in protocol


def test_a_score_and_a_path_length_of_weights_alone_need_no_real_pictures(trained):
    Path("alone").mkdir()
    shutil.copy(RUN / "generator.safetensors", "alone/w.safetensors")
    answer = trained("evaluate", "alone/w.safetensors", "-m", "is,ppl", *FEW, "--json")
    assert set(numbers(answer)) == {"is", "ppl"}
    assert not any("data" in protocol for protocol in protocols(answer))


def test_more_pictures_than_memory_are_refused_before_any_is_drawn(trained, monkeypatch):
    monkeypatch.setattr("zoo_core.metrics.checks.available_memory", lambda: 1_000_000)
    monkeypatch.setattr("zoo_core.generators.Generator.sample", None)
    many = ("--count", 1_000_000_000, "--extractor", "toy-features")
    answer = trained("evaluate", RUN, *many)
    assert answer.code == 2
    assert "do not fit into memory; given: 1,000,000,000 generated" in answer.error
    assert answer.error.endswith(" or --metrics fd")


def test_what_is_suggested_for_too_many_pictures_works(trained, monkeypatch):
    monkeypatch.setattr("zoo_core.metrics.checks.available_memory", lambda: 20_000)
    command = ("evaluate", RUN, "--extractor", "toy-features", "--count", 1000, "-m", "fd,kd")
    hint = trained(*command).error.partition("try: ")[2]
    (count, metrics) = hint.split(" or ")
    assert trained(*command, *count.split()).code == 0
    assert trained(*command, *metrics.split()).code == 0


@pytest.mark.parametrize("count", [1, -1, 10**30])
def test_a_count_that_cannot_be_is_one_line(trained, count):
    answer = trained("evaluate", RUN, "--count", count)
    assert answer.code == 2
    assert str(count) in answer.err
    assert "Traceback" not in answer.err


def test_too_few_pictures_are_refused_before_they_are_measured(trained):
    answer = trained("evaluate", RUN, "--count", "3", "--extractor", "toy-features")
    assert answer.code == 2
    assert answer.error.endswith("try: --metrics fd,kd")
    few = ("--count", "3", "--extractor", "toy-features", "--metrics", "fd,kd")
    assert trained("evaluate", RUN, *few).code == 0


# Settings of reading


def test_a_damaged_setting_of_a_run_is_one_line(trained):
    config = RUN / "config.json"
    config.write_text(config.read_text().replace('"data": "toys"', '"data": 5'))
    answer = trained("evaluate", RUN, *FEW)
    assert answer.code == 2
    assert "data in runs/toy.toys16-tiny/config.json has an invalid value" in answer.error
    assert "given: 5; allowed: text" in answer.error


def test_an_answer_with_changes_can_be_compared_with_again(trained):
    command = ("evaluate", RUN, *FEW, "--metrics", "fd", "--json")
    Path("first.json").write_text(trained(*command).out)
    second = trained(*command, "--compare", "first.json")
    assert second.json["metrics"][0]["change"] == 0
    Path("second.json").write_text(second.out)
    third = trained(*command, "--compare", "second.json")
    assert third.json["metrics"][0]["change"] == 0


def test_how_real_pictures_are_read_can_be_set(trained, photos):
    held_out = ("--set", "holdout=0.5", "--split", "test")
    command = ("evaluate", RUN, "--data", photos, "--metrics", "fd", *FEW, "--json")
    every, some = trained(*command), trained(*command, *held_out)
    assert protocols(every)[0]["num_real"] == 8
    assert protocols(some)[0]["num_real"] < 8
    assert protocols(some)[0]["split"] == "test"


def test_a_run_that_held_pictures_out_is_measured_likewise_on_its_own_data_only(trained, photos):
    held_out = ("--set", "holdout=0.5", "--set", "batch_size=2", "--run-dir", "runs/own")
    answer = trained("train", "toy", "--preset", "tiny", "--data", photos, *held_out)
    assert answer.code == 0, answer.err
    command = ("evaluate", "runs/own", "--metrics", "fd", *FEW, "--json")
    (own, _) = protocols(trained(*command))
    assert own["split"] == "train"
    assert own["num_real"] < 8
    shutil.copytree(photos, "others")
    (other, _) = protocols(trained(*command, "--data", "others"))
    assert (other["split"], other["num_real"]) == ("all", 8)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("batch_size=8", "not a setting of how images are read; allowed: data, split"),
        ("hold_out=0.1", "nearest: holdout"),
        ("holdout=2", "invalid value; given: '2'; allowed: number >= 0 and < 1; try: zoo evaluate"),
        ("holdout", "--set takes key=value; given: 'holdout'; try: --set levels=data"),
    ],
)
def test_a_setting_that_cannot_be_is_one_line(trained, assignment, message):
    answer = trained("evaluate", RUN, *FEW, "--set", assignment)
    assert answer.code == 2
    assert message in answer.error


def test_pictures_that_cannot_be_used_are_left_out_on_both_sides_if_asked_for(trained):
    for folder, side in (("real", 16), ("fake", 16)):
        Path(folder).mkdir()
        Path(folder, "0.png").write_text("no image")
        for number in range(1, 9):
            picture(Path(folder, f"{number}.png"), side, number)
    command = ("evaluate", "./fake", "--data", "./real", "--metrics", "fd", *FEW, "--json")
    refused = trained(*command)
    assert refused.code == 2
    assert "0.png" in refused.error
    assert "--bad-pictures skip" in refused.error
    answer = trained(*command, "--bad-pictures", "skip")
    assert numbers(answer)["fd"] == pytest.approx(0, abs=1e-6)
    assert answer.json["metrics"][0]["protocol"]["num_fake"] == 8
    assert answer.err.count("skipped 1 of 9 images") == 2


def test_a_run_that_left_pictures_out_is_measured_on_those_it_learned(trained, photos):
    (photos / "bad.png").write_text("no image")
    tiny = ("train", "toy", "--preset", "tiny", "--run-dir", "runs/own", "--data", photos)
    assert trained(*tiny, "--set", "bad_pictures=skip").code == 0
    answer = trained("evaluate", "runs/own", "--metrics", "fd", *FEW, "--json")
    assert answer.code == 0, answer.err
    assert answer.json["metrics"][0]["protocol"]["num_real"] == 8


def test_a_run_on_own_pictures_is_measured_from_any_folder(trained, photos, monkeypatch):
    own = ("train", "toy", "--preset", "tiny", "--run-dir", "runs/own", "--data", "./photos")
    assert trained(*own).code == 0
    Path("below").mkdir()
    monkeypatch.chdir("below")
    answer = trained("evaluate", "../runs/own", "--metrics", "fd", *FEW, "--json")
    assert answer.code == 0, answer.err
    assert answer.json["metrics"][0]["protocol"]["data"].startswith("photos, 16 px, ")


def test_the_split_is_that_of_the_run_and_own_pictures_have_none(trained, photos):
    split = ("--data", "sorted-toys", "--set", "split=test", "--run-dir", "runs/split")
    assert trained("train", "toy", "--preset", "tiny", *split).code == 0
    answer = trained("evaluate", "runs/split", "--metrics", "fd", *FEW, "--json")
    assert answer.json["metrics"][0]["protocol"]["split"] == "test"
    own = trained("evaluate", RUN, "--data", photos, "--metrics", "fd", *FEW, "--json")
    assert own.json["metrics"][0]["protocol"]["split"] == "all"


def in_classes(folder: str, names: str) -> str:
    """A folder with two images per class; each letter of `names` is a class."""
    for name in names:
        Path(folder, name).mkdir(parents=True)
        for number in range(2):
            picture(Path(folder, name, f"{number}.png"), 16, number)
    return folder


def test_a_classifier_says_that_own_pictures_are_not_held_out(trained):
    in_classes("own", "abcd")
    trained("train", "sorter", "--preset", "tiny", "--data", "own", "--run-dir", "runs/own")
    answer = trained("evaluate", "runs/own", "--json")
    assert answer.json["metrics"][0]["protocol"]["split"] == "all"
    assert "no held-out split" in answer.err


def test_pictures_of_other_classes_are_refused_not_compared_by_number(trained):
    in_classes("own", "abcd")
    other = in_classes("other", "abce")
    command = ("train", "sorter", "--preset", "tiny", "--data", "own", "--run-dir", "runs/own")
    evaluating = ("--evaluate-every", "8", "--set", f"evaluate_data={other}")
    while_training = trained(*command, *evaluating)
    assert while_training.code == 2
    assert not Path("runs/own").exists()
    assert trained(*command).code == 0
    afterwards = trained("evaluate", "runs/own", "--data", other)
    assert afterwards.code == 2
    for answer in (while_training, afterwards):
        assert "do not have the classes" in answer.error
        assert "given: 'e', which it did not learn; allowed: 'd', which the images" in answer.error
        assert "--set" not in answer.error


def test_held_out_pictures_may_lack_a_class_of_a_classifier(trained):
    in_classes("own", "abcd")
    command = ("train", "sorter", "--preset", "tiny", "--data", "own", "--run-dir", "runs/own")
    assert trained(*command).code == 0
    shutil.copytree("own", "held-out")
    shutil.rmtree("held-out/b")
    answer = trained("evaluate", "runs/own", "--data", "held-out", "--json")
    assert numbers(answer)["accuracy"] >= 0
    assert answer.json["metrics"][0]["protocol"]["num_real"] == 6
    assert "warning: the images lack 1 of the model's classes: 'b'\n" in answer.err


def test_weights_without_names_say_how_many_classes_they_have(trained):
    in_classes("own", "abc")
    trained("train", "sorter", "--preset", "tiny", "--run-dir", "runs/own")
    weights = Path("runs/own/classifier.safetensors")
    record = json.loads(read_header(weights).metadata["zoo"]) | {"classes": []}
    save_file(load_file(weights), "nameless.safetensors", {"zoo": json.dumps(record)})
    answer = trained("evaluate", "nameless.safetensors", "--data", "own")
    assert answer.code == 2
    assert "given: 3 in the images; allowed: 4, as the model has learned" in answer.error
    assert "--set" not in answer.error


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_pictures_here_need_no_spelling(trained, drawn, kind):
    if kind == "zip":
        shutil.make_archive("drawn", "zip", "drawn")
    name = "drawn.zip" if kind == "zip" else "drawn"
    assert trained("evaluate", name, "--data", "toys", "-m", "fd", *FEW).code == 0


def test_pictures_that_are_called_like_registered_weights_have_to_be_spelled(trained, drawn):
    name = "dcgan.critters32"
    Path(drawn).rename(name)
    answer = trained("evaluate", name, "--data", "toys", "-m", "fd", *FEW)
    assert answer.code == 3
    assert f"allowed: ./{name} for the path; zoo/{name} for the name" in answer.error
    assert trained("evaluate", f"./{name}", "--data", "toys", "-m", "fd", *FEW).code == 0


def make_pairs() -> None:
    """Four pairs in the folder `pairs`."""
    for side, first in (("A", 0), ("B", 10)):
        Path("pairs", side).mkdir(parents=True)
        for number in range(4):
            picture(Path("pairs", side, f"{number}.png"), 16, first + number)


def test_a_run_of_reversed_pairs_is_measured_in_its_own_direction(trained):
    make_pairs()
    reversed_ = ("--set", "paired=true", "--set", "reverse_pairs=true", "--data", "pairs")
    assert trained("train", "toy", "--preset", "tiny", *reversed_, "--run-dir", "own").code == 0
    shutil.copy("own/generator.safetensors", "alone.safetensors")

    def measured(weights: str, *arguments: str) -> tuple[float, str]:
        command = ("evaluate", weights, "--data", "pairs", "--metrics", "l1", *FEW, *arguments)
        answer = trained(*command, "--json")
        return numbers(answer)["l1"], answer.json["metrics"][0]["protocol"]["data"]

    of_run = measured("./own")
    assert of_run == measured("alone.safetensors", "--reverse-pairs")
    assert of_run[0] != measured("alone.safetensors")[0]
    assert of_run[1] != measured("alone.safetensors")[1]


def test_a_single_picture_is_refused(trained):
    Path("one").mkdir()
    picture(Path("one/0.png"), 16, 0)
    answer = trained("evaluate", "./one", "--data", "toys", *FEW)
    assert answer.code == 2
    assert "2 or more" in answer.error


def test_equal_pictures_are_refused(trained):
    Path("equal").mkdir()
    for number in range(8):
        picture(Path(f"equal/{number}.png"), 16, 0)
    answer = trained("evaluate", "./equal", "--data", "toys", *FEW)
    assert answer.code == 2
    assert "are the same" in answer.error


def test_training_logs_evaluations_and_keeps_the_best(trained):
    settings = ("--set", "evaluate_with=toy-features", "--set", "evaluate_count=8")
    answer = trained("train", "toy", "--preset", "tiny", "--evaluate-every", "8", *settings,
                     "--tag", "watched")  # fmt: skip
    assert answer.code == 0, answer.err
    lines = map(json.loads, Path("runs/toy.watched/log.jsonl").read_text().splitlines())
    found = [line for line in lines if "evaluation/fd" in line]
    assert [line["images"] for line in found] == [8, 16]
    assert Path("runs/toy.watched/best.safetensors").is_file()
    assert "8 images: fd " in answer.err


def test_a_classifier_is_trained_measured_and_used_as_an_extractor(trained):
    answer = trained("train", "sorter", "--preset", "tiny", "--evaluate-every", "8")
    assert answer.code == 0, answer.err
    run = "runs/sorter.sorted-toys16-tiny"
    assert Path(run, "classifier.safetensors").is_file()
    assert "accuracy " in answer.err
    found = trained("evaluate", run, "--json")
    assert numbers(found)["accuracy"] >= 0
    assert found.json["metrics"][0]["protocol"]["split"] == "test"
    of_toy = trained("evaluate", RUN, "--extractor", f"./{run}", "--count", "16", "--json")
    assert numbers(of_toy)["fd"] > 0


@pytest.mark.parametrize("option", [("--metrics", "fd"), ("--truncation", "0.7")])
def test_what_says_nothing_of_a_classifier_is_refused(trained, option):
    assert trained("train", "sorter", "--preset", "tiny").code == 0
    answer = trained("evaluate", "runs/sorter.sorted-toys16-tiny", *option)
    assert answer.code == 2
    assert "accuracy" in answer.error


def test_pairs_are_measured_without_an_extractor(trained):
    make_pairs()
    command = ("--set", "paired=true", "--data", "pairs", "--run-dir", "runs/translator")
    assert trained("train", "toy", "--preset", "tiny", *command).code == 0
    measuring = ("evaluate", "runs/translator", "--extractor", "none-such", "--json")
    found = numbers(trained(*measuring, "--metrics", "l1,psnr"))
    assert found["l1"] > 0
    assert set(found) == {"l1", "psnr"}
    assert "none-such" in trained(*measuring, "--metrics", "l1,fd").error


def test_real_pictures_are_not_measured_for_distances_of_pairs_and_a_score(trained, tmp_path):
    make_pairs()
    command = ("--set", "paired=true", "--data", "pairs", "--run-dir", "runs/translator")
    assert trained("train", "toy", "--preset", "tiny", *command).code == 0
    measuring = ("evaluate", "runs/translator", "--extractor", "toy-features", "--json")
    assert set(numbers(trained(*measuring, "--metrics", "l1,is"))) == {"l1", "is"}
    assert not (tmp_path / "cache" / "features").exists()


def test_own_pictures_have_no_held_out_split(trained):
    in_classes("own", "abcd")
    command = ("train", "sorter", "--preset", "tiny", "--data", "own", "--evaluate-every", "8")
    answer = trained(*command)
    assert answer.code == 0, answer.err
    assert "no held-out split" in answer.err
    told = trained(*command, "--set", "evaluate_data=own", "--tag", "told")
    assert "accuracy " in told.err


def test_a_generator_is_no_feature_extractor(trained):
    answer = trained("evaluate", RUN, "--extractor", f"./{RUN}")
    assert answer.code == 5
    assert "holds a generator" in answer.error
