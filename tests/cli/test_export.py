"""`zoo export`: what it prints, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
from hints.places import weights

pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")


@pytest.fixture
def toy(zoo):
    weights("toy.safetensors")(None)
    return "toy.safetensors"


def test_it_prints_the_path_and_says_the_rest_in_a_line(zoo, toy):
    done = zoo("export", toy, "out.onnx", "--no-speed")
    assert (done.code, done.out) == (0, "out.onnx\n")
    (line,) = done.err.splitlines()
    assert line.startswith("latents [batch, 8, 1, 1], truncation [] -> images; largest difference ")
    assert "(allowed: 0.001); 0.0 MB" in line
    assert "img/s" not in line


def test_it_says_how_fast_torch_and_the_file_are(zoo, toy, monkeypatch):
    monkeypatch.setattr("zoo_core.weights.comparing.SECONDS", 0.0)
    said = zoo("export", toy, "out.onnx").err
    for count in (1, 64):
        assert f"; img/s at batch {count}: torch " in said
    assert said.count(", onnxruntime ") == 2


def test_it_says_which_test_mode_is_exported(zoo, monkeypatch):
    monkeypatch.setenv("ZOO_PLUGINS", "toy")
    weights("pairs.safetensors", paired=True)(None)
    monkeypatch.setattr("toys.ToyGenerator.test_mode", "without noise")
    done = zoo("export", "pairs.safetensors", "out.pt2", "--to", "pt2", "--no-speed")
    assert "\ntest mode: without noise\n" in done.err


def test_json_holds_the_record(zoo, toy):
    done = zoo(
        "export", toy, "out.onnx", "--no-speed", "--truncation", "0.7", "--batch", 2, "--json"
    )
    (record,) = done.json["exported"]
    assert record.pop("difference") < 1e-3
    assert record.pop("size") == Path("out.onnx").stat().st_size
    assert record == {
        "path": "out.onnx",
        "format": "onnx",
        "inputs": {"latents": [2, 8, 1, 1]},
        "output": "images",
        "test_mode": "",
        "tolerance": 1e-3,
        "speed": {},
    }


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (
            ["toy.safetensors", "out", "--to", "onxx"],
            3,
            "no format is called 'onxx'; nearest: onnx",
        ),
        (["toy.safetensors", "out.pt"], 2, "hold torchscript, but onnx; try: --to torchscript"),
        (["toy.safetensors", "."], 2, ". is a folder; allowed: a file"),
        (["toy.safetensors", "toy.safetensors/out.onnx"], 2, "cannot write to"),
        (["toy.safetensors", "out.onnx", "--free-size"], 2, "try: omit --free-size"),
        (["none.safetensors", "out.onnx"], 2, "none.safetensors"),
        (["tou.bars", "out.onnx"], 3, "tou.bars"),
    ],
)
def test_bad_input_is_a_line_and_leaves_nothing(zoo, toy, tmp_path, arguments, code, says):
    before = sorted(tmp_path.iterdir())
    done = zoo("export", *arguments)
    assert done.code == code
    assert says in done.error
    assert sorted(tmp_path.iterdir()) == before
