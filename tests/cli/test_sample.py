"""`zoo sample`, `zoo interpolate`, `zoo mix`: output files, and weights that are rejected."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zoo_core.cli.drawing import default_target

RUN = Path("runs/toy.toys16-tiny")


@pytest.fixture
def trained(zoo):
    assert zoo("train", "toy", "--preset", "tiny").code == 0
    return zoo


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_a_grid_is_drawn_and_its_path_printed(trained):
    answer = trained("sample", RUN, "--seeds", "0-15")
    assert answer.code == 0
    assert pixels(Path(answer.out.strip())).shape == (64, 64, 3)


def test_a_run_that_went_on_does_not_lose_the_grid_of_before(trained):
    before = trained("sample", RUN).out.strip()
    trained("train", "toy", "--preset", "tiny", "--images", 32)
    after = trained("sample", RUN).out.strip()
    assert (before, after) == (
        f"samples/{RUN.name}-after-16-0-15.png", f"samples/{RUN.name}-after-32-0-15.png",
    )  # fmt: skip
    assert Path(before).exists()


def test_a_grid_that_replaces_another_says_so_and_the_same_one_does_not(trained):
    grid = ("sample", RUN, "--out", "grid.png", "--seeds")
    assert "replaced" not in trained(*grid, "0").err + trained(*grid, "0").err
    assert "replaced grid.png, which held something else; to keep both" in trained(*grid, "1").err


def test_files_of_seeds_that_replace_others_are_counted(trained):
    each = ("sample", RUN, "--each", "--out", "each", "--seeds")
    assert "replaced" not in trained(*each, "0-3").err
    assert "replaced 2 files in each, " in trained(*each, "2-5").err


def test_one_file_a_seed(trained):
    trained("sample", RUN, "--seeds", "3,7-9", "--each", "--out", "each")
    assert sorted(p.name for p in Path("each").iterdir()) == [
        "000003.png", "000007.png", "000008.png", "000009.png",
    ]  # fmt: skip


def test_a_seed_s_picture_is_the_same_alone_and_in_a_grid(trained):
    trained("sample", RUN, "--seeds", "5", "--out", "alone.png")
    trained("sample", RUN, "--seeds", "4-7", "--columns", "4", "--out", "row.png")
    assert np.array_equal(pixels(Path("row.png"))[:, 16:32], pixels(Path("alone.png")))


def test_a_run_a_file_and_python_agree(trained):
    import zoo_core

    trained("sample", RUN, "--seeds", "0", "--out", "run.png")
    trained("sample", RUN / "generator.safetensors", "--seeds", "0", "--out", "file.png")
    loaded = zoo_core.load(str(RUN)).sample([0])
    expected = ((loaded[0] + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    assert np.array_equal(pixels(Path("run.png")), expected)
    assert np.array_equal(pixels(Path("file.png")), expected)


@pytest.mark.parametrize(
    ("seeds", "message"),
    [
        ("", "takes numbers and ranges"),
        ("a", "takes numbers and ranges"),
        ("5-2", "takes ascending ranges; given: '5-2'; try: --seeds 2-5"),
        ("1-", "takes numbers and ranges"),
        ("-3", "takes numbers and ranges"),
        ("0-9999999999", "has too many numbers"),
    ],
)
def test_seeds_that_are_none_are_refused(zoo, seeds: str, message: str):
    answer = zoo("sample", "anything", f"--seeds={seeds}")
    assert answer.code == 2
    assert f"--seeds {message}" in answer.error


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "not a safetensors file"),
        (b"\x80\x04K\x01.", "pickle"),
        (b"PK\x03\x04" + b"\0" * 40, "pickle"),
        ((1 << 40).to_bytes(8, "little") + b"{}", "header would end after the file"),
        ((2).to_bytes(8, "little") + b"{}", "was not written by the zoo"),
    ],
)
def test_a_file_that_is_no_weights_file_is_refused_with_5(zoo, content: bytes, word: str):
    Path("bad.safetensors").write_bytes(content)
    answer = zoo("sample", "bad.safetensors")
    assert answer.code == 5
    assert word in answer.error
    assert "bad.safetensors" in answer.error


def test_a_truncated_file_is_refused_with_5(trained):
    data = (RUN / "generator.safetensors").read_bytes()
    Path("cut.safetensors").write_bytes(data[:-10])
    answer = trained("sample", "cut.safetensors")
    assert answer.code == 5
    assert "damaged or truncated" in answer.error


def test_numbers_that_are_not_finite_are_refused_with_5(trained):
    data = bytearray((RUN / "generator.safetensors").read_bytes())
    data[-4:] = np.float32("nan").tobytes()
    Path("nan.safetensors").write_bytes(data)
    answer = trained("sample", "nan.safetensors")
    assert answer.code == 5
    assert "non-finite values" in answer.error


@pytest.mark.parametrize(
    ("name", "code", "word"),
    [
        ("toy.nothing", 3, "toy.nothing"),
        ("./missing.safetensors", 2, "no file"),
        ("./missing", 2, "no file"),
    ],
)
def test_what_is_not_there_is_one_line(zoo, name: str, code: int, word: str):
    answer = zoo("sample", name)
    assert answer.code == code
    assert word in answer.error


def test_a_seed_that_is_too_large_is_refused(trained):
    answer = trained("sample", RUN, "--seeds", 1 << 64)
    assert answer.code == 2
    assert "invalid seed" in answer.error


@pytest.mark.parametrize("out", ["grid.xyz", "grid.webp", "grid"])
@pytest.mark.parametrize("command", [("sample",), ("mix", "--layers", "0")])
def test_a_grid_is_a_png(zoo, command: tuple[str, ...], out: str):
    answer = zoo(*command, "anything", "--out", out)
    assert answer.code == 2
    assert "allowed: .png" in answer.error


@pytest.mark.parametrize("command", ["sample", "interpolate", "mix", "evaluate"])
def test_a_truncation_that_is_no_number_is_refused(zoo, command: str):
    answer = zoo(
        command, "anything", "--truncation", "nan", *("--layers", "0") * (command == "mix")
    )
    assert answer.code == 2
    assert "nan is not a finite number" in answer.err


@pytest.mark.parametrize(
    ("command", "out"),
    [
        (("sample", RUN), "file/grid.png"),
        (("sample", RUN), "folder.png"),
        (("sample", RUN, "--each"), "file"),
        (("interpolate", RUN, "--frames", "1"), "file/walk.webp"),
        (("interpolate", RUN, "--frames", "1"), "file"),
    ],
)
def test_a_place_that_cannot_be_written_is_one_line_and_leaves_nothing(trained, command, out: str):
    Path("file").touch()
    Path("folder.png").mkdir()
    before = sorted(Path().iterdir())
    answer = trained(*command, "--out", out)
    assert answer.code == 2
    assert out.partition("/")[0] in answer.error
    assert ("is a folder" in answer.error) == out.startswith("folder")  # checked before sampling
    assert sorted(Path().iterdir()) == before


def test_a_grid_that_cannot_be_replaced_leaves_no_half(trained, monkeypatch):
    def refuse(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", refuse)
    answer = trained("sample", RUN, "--out", "grid.png")
    assert answer.code == 2
    assert "cannot write to grid.png: No space left on device" in answer.error
    assert not list(Path().glob("*.png*")) + list(Path().glob(".*.tmp"))


def test_a_long_list_of_seeds_has_a_file(trained):
    answer = trained("sample", RUN, "--seeds", ",".join(map(str, range(0, 300, 2))))
    assert answer.code == 0, answer.err
    assert Path(answer.out.strip()).is_file()


@pytest.mark.parametrize(
    ("weights", "label", "truncation", "expected"),
    [
        ("toy.tag", None, 1.0, "toy.tag-0-3.png"),
        ("runs/mine/generator.safetensors", None, 1.0, "mine-0-3.png"),
        ("there/best.safetensors", None, 1.0, "there-best-0-3.png"),
        (".", None, 1.0, "here-0-3.png"),
        ("toy.tag", "cat", 0.7, "toy.tag-0-3-label-cat-psi0.7.png"),
    ],
)
def test_pictures_are_called_by_what_they_show(
    monkeypatch, tmp_path, weights: str, label: str | None, truncation: float, expected: str
):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    target = default_target(weights, "0-3", ".png", label, truncation)
    assert target == Path("samples", expected)


@pytest.mark.parametrize(
    "command",
    [
        ("sample", "runs/translator", "--source", "pairs", "--truncation", "0.5"),
        ("interpolate", "runs/translator"),
        ("mix", RUN, "--layers", "0"),
    ],
)
def test_what_is_refused_leaves_no_folder(trained, translator, command):
    answer = translator(*command, "--out", "new/below/grid.png")
    assert answer.code == 2
    assert not Path("new").exists()


@pytest.mark.parametrize(
    "name", [f"{'x' * 300}.png", f"~nobody-of-that-name/{'x' * 9}.png", f"./{'x' * 300}"]
)
@pytest.mark.parametrize(
    "command",
    [
        ("sample", "runs/translator", "--out", "grid.png", "--source"),
        ("data", "check"),
        ("evaluate", "runs/translator", "--data"),
        ("evaluate",),
    ],
)
def test_a_path_that_cannot_be_asked_for_is_one_line(translator, command, name: str):
    answer = translator(*command, name)
    assert answer.code in (2, 3)
    assert answer.error.startswith("error: ")


def test_a_place_that_can_be_made_in_part_only_leaves_nothing(trained):
    answer = trained("sample", RUN, "--out", f"new/{'x' * 300}/grid.png")
    assert answer.code == 2
    assert not Path("new").exists()


def test_a_name_that_is_too_long_is_one_line(translator):
    for out in ((f"{'x' * 300}.png",), ("x" * 300, "--each")):
        command = ("sample", "runs/translator", "--source", "pairs", "--out", *out)
        answer = translator(*command)
        assert answer.code == 2
        assert "File name too long" in answer.error


def test_weights_beside_the_configuration_of_something_else_are_sampled(trained):
    Path("other").mkdir()
    (RUN / "generator.safetensors").rename("other/generator.safetensors")
    Path("other/config.json").write_text('{"_class_name": "Pipeline"}')
    assert trained("sample", "other/generator.safetensors").code == 0


@pytest.fixture
def translator(zoo, tmp_path):
    """A trained image-to-image toy, and the folder of pairs it was trained on."""
    for number in range(4):
        for side, color in (("A", (60 * number, 0, 0)), ("B", (0, 0, 60 * number))):
            (tmp_path / "pairs" / side).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (16, 16), color).save(tmp_path / "pairs" / side / f"p{number}.png")
    tiny = ("--preset", "tiny", "--set", "paired=true", "--run-dir", "runs/translator")
    assert zoo("train", "toy", *tiny, "--data", "pairs").code == 0
    return zoo


def test_a_translator_draws_every_source_beside_what_it_makes_of_it(translator):
    answer = translator("sample", "runs/translator", "--source", "pairs/A", "--columns", "1")
    sheet = pixels(Path(answer.out.strip()))
    assert sheet.shape == (64, 32, 3)
    assert [tuple(sheet[16 * row, 0]) for row in range(4)] == [(60 * n, 0, 0) for n in range(4)]


def test_files_of_translated_pictures_are_called_after_their_sources(translator):
    translator("sample", "runs/translator", "--source", "pairs/A", "--each", "--out", "each")
    assert sorted(p.name for p in Path("each").iterdir()) == [f"p{n}.png" for n in range(4)]


def test_sources_of_one_name_and_two_kinds_get_a_file_each(translator):
    Image.open("pairs/A/p2.png").save("pairs/A/p2.jpg")
    translator("sample", "runs/translator", "--source", "pairs/A", "--each", "--out", "each")
    assert {"p2.png", "p2_png.png"} <= {path.name for path in Path("each").iterdir()}
    assert len(list(Path("each").iterdir())) == 5


def test_sources_whose_names_become_the_same_get_a_file_each(translator):
    Path("names").mkdir()
    for name in ("a b", "a+b", "a!b"):
        Image.new("RGB", (16, 16)).save(f"names/{name}.png")
    translator("sample", "runs/translator", "--source", "names", "--each", "--out", "each")
    assert len(list(Path("each").iterdir())) == 3


@pytest.mark.parametrize(
    ("source", "out"),
    [
        ("pairs/A", ("--each", "--out", "pairs/A")),
        ("pairs/A", ("--out", "pairs/A/p1.png")),
        ("pairs/A/p1.png", ("--out", "pairs/A/p1.png")),
    ],
)
def test_a_source_is_never_written_over(translator, source: str, out: tuple[str, ...]):
    before = Path("pairs/A/p1.png").read_bytes()
    answer = translator("sample", "runs/translator", "--source", source, *out)
    assert answer.code == 2
    assert "is inside --source" in answer.error
    assert Path("pairs/A/p1.png").read_bytes() == before


def colors(sheet: Path) -> list[tuple[int, ...]]:
    """Colors of the sources in a grid with one column."""
    return [tuple(row[0]) for row in pixels(sheet)[::16]]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), [(60 * n, 0, 0) for n in range(4)]),
        (("--reverse-pairs",), [(0, 0, 60 * n) for n in range(4)]),
        (("--no-pairs",), [(60 * n, 0, 0) for n in range(4)] + [(0, 0, 60 * n) for n in range(4)]),
    ],
)
def test_of_pairs_in_two_folders_one_side_is_translated(translator, options, expected):
    grid = ("--columns", "1", "--out", "grid.png")
    assert translator("sample", "runs/translator", "--source", "pairs", *grid, *options).code == 0
    assert colors(Path("grid.png")) == expected


def test_of_pairs_side_by_side_one_side_is_translated_if_that_is_said(translator):
    both = Image.new("RGB", (32, 16), (60, 0, 0))
    both.paste((0, 0, 60), (16, 0, 32, 16))
    Path("both").mkdir()
    both.save("both/1.png")
    command = ("sample", "runs/translator", "--source", "both", "--out", "grid.png")
    assert "--pairs" in translator(*command).err
    for option, color in (("--pairs", (60, 0, 0)), ("--reverse-pairs", (0, 0, 60))):
        assert translator(*command, option).code == 0
        assert colors(Path("grid.png")) == [color]


def test_pairs_without_a_partner_say_how_to_translate_them(translator):
    Path("pairs/B/p1.png").unlink()
    answer = translator("sample", "runs/translator", "--source", "pairs")
    assert answer.code == 2
    assert "A/p1" in answer.error
    assert answer.error.endswith("try: --source pairs/A, or --no-pairs")


def test_both_ways_to_read_pairs_are_refused(translator):
    answer = translator(
        "sample", "runs/translator", "--source", "pairs", "--reverse-pairs", "--no-pairs"
    )
    assert answer.code == 2
    assert "contradict" in answer.error


def test_translations_of_other_sides_have_other_names(translator):
    command = ("sample", "runs/translator", "--source", "pairs")
    for options in ((), ("--reverse-pairs",), ("--no-pairs",), ("--fit", "pad"), ("--seeds", "1")):
        assert translator(*command, *options).code == 0
    assert len(list(Path("samples").iterdir())) == 5


def test_sources_that_cannot_be_used_are_all_named_before_any_is_translated(translator):
    for name in ("p0", "p3"):
        Path(f"pairs/A/{name}.png").write_bytes(b"nothing")
    answer = translator("sample", "runs/translator", "--source", "pairs/A", "--each", "--out", "o")
    assert answer.code == 2
    assert "2 of 4 source images cannot be used" in answer.error
    assert "p0.png" in answer.error
    assert "p3.png" in answer.error
    assert not Path("o").exists()


def test_a_source_becomes_square_as_in_the_run(translator):
    Image.new("RGB", (32, 16), (60, 0, 0)).save("wide.png")
    again = ("--set", "paired=true", "--data", "pairs", "--run-dir", "runs/pad", "--set", "fit=pad")
    assert translator("train", "toy", "--preset", "tiny", *again).code == 0
    translator("sample", "runs/pad", "--source", "wide.png", "--out", "padded.png")
    assert tuple(pixels(Path("padded.png"))[0, 0]) == (255, 255, 255)
    translator("sample", "runs/translator", "--source", "wide.png", "--out", "cut.png")
    assert tuple(pixels(Path("cut.png"))[0, 0]) == (60, 0, 0)


def test_one_picture_file_is_a_source(translator):
    answer = translator(
        "sample", "runs/translator", "--source", "pairs/A/p2.png", "--out", "one.png"
    )
    assert answer.code == 0
    assert pixels(Path("one.png")).shape == (16, 32, 3)


def test_a_run_that_translates_names_a_command_with_a_source(translator):
    tiny = ("--preset", "tiny", "--set", "paired=true", "--run-dir", "runs/translator")
    said = translator("train", "toy", *tiny, "--data", "pairs").out.splitlines()[-1]
    assert said.startswith("next: zoo sample runs/translator --source FOLDER ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "is an image-to-image model and needs source images"),
        (("--source", "nowhere"), "nowhere"),
        (("--source", "pairs/A", "--seeds", "0-2"), "given: 3; allowed: 1 or 4"),
    ],
)
def test_a_translator_says_what_it_needs(translator, arguments, message):
    answer = translator("sample", "runs/translator", *arguments)
    assert answer.code in (2, 3)
    assert message in answer.error


def test_a_latent_model_takes_no_source(trained):
    answer = trained("sample", RUN, "--source", ".")
    assert answer.code == 2
    assert "starts from seeds" in answer.error


@pytest.mark.parametrize("file", ["walk.webp", "walk.gif", "walk.png"])
def test_a_walk_is_an_animated_file(trained, file: str):
    answer = trained("interpolate", RUN, "--seeds", "0-2", "--frames", "3", "--out", file)
    assert answer.code == 0
    with Image.open(file) as walk:
        assert walk.n_frames == 9


def test_a_walk_is_a_folder_of_frames(trained):
    trained("interpolate", RUN, "--seeds", "4,9", "--frames", "2", "--no-loop", "--out", "walk")
    trained("sample", RUN, "--seeds", "9", "--out", "nine.png")
    assert sorted(p.name for p in Path("walk").iterdir()) == [f"{n:06d}.png" for n in range(3)]
    assert np.array_equal(pixels(Path("walk/000002.png")), pixels(Path("nine.png")))


def test_frames_do_not_mix_with_those_of_another_walk(trained):
    command = ("interpolate", RUN, "--seeds", "0-1", "--out", "walk", "--frames")
    assert trained(*command, "3").code == 0
    answer = trained(*command, "2")
    assert answer.code == 2
    assert "walk already contains PNG files" in answer.error
    assert len(list(Path("walk").iterdir())) == 6


@pytest.mark.parametrize(
    ("fps", "said"),
    [("nan", "nan is not a finite number"), ("inf", "inf is not in the range 0.1<=x<=1000")],
)
def test_a_speed_that_is_no_number_is_refused(zoo, fps: str, said: str):
    answer = zoo("interpolate", "anything", "--fps", fps)
    assert answer.code == 2
    assert said in answer.err


def test_a_kind_of_file_that_cannot_move_is_refused(trained):
    answer = trained("interpolate", RUN, "--out", "walk.mp4")
    assert answer.code == 2
    assert ".gif, .webp, .png" in answer.error


def test_mixing_needs_a_model_with_styles(trained):
    answer = trained("mix", RUN, "--layers", "0")
    assert answer.code == 2
    assert "no styles" in answer.error
