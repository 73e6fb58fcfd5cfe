"""`zoo evaluate`, and evaluation during `zoo train`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

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
    assert trained("evaluate", RUN, *FEW, "--metrics", "ppl").code == 0
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


def test_a_folder_of_mixed_sizes_is_refused(trained):
    Path("mixed").mkdir()
    for number, side in enumerate((16, 16, 24)):
        picture(Path(f"mixed/{number}.png"), side, number)
    answer = trained("evaluate", "./mixed", "--data", "toys", *FEW)
    assert answer.code == 2
    assert "2.png" in answer.error


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
        assert "given: 'e'; allowed: 'd' as class 3" in answer.error


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
    assert numbers(trained(*measuring, "--metrics", "l1"))["l1"] > 0
    assert "none-such" in trained(*measuring, "--metrics", "l1,fd").error


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
