"""`zoo import`, and what `zoo show` says of what it wrote."""

import pytest
import torch
from toys import ToyGenerator, resolved


@pytest.fixture
def checkpoint(tmp_path):
    """Somebody's checkpoint, in the current folder."""
    state = ToyGenerator(resolved().config).state_dict()
    theirs = {name.replace("stem.", "first."): tensor for name, tensor in state.items()}
    torch.save({"netG": theirs}, tmp_path / "netG.pth")
    return "netG.pth"


def test_it_says_what_it_recognized_and_prints_where_it_is(zoo, checkpoint):
    done = zoo("import", checkpoint, "--licence", "CC0-1.0", "-o", "mine")
    assert (done.code, done.out) == (0, "mine\n")
    assert "recognized: toy generator, 16 px (somebody/toy), in netG\n" in done.err
    assert "images: mine/grid.png\n" in done.err


def test_what_was_imported_is_sampled_and_shown(zoo, checkpoint):
    options = ("--licence", "CC-BY-4.0", "--source", "https://example.org/w", "-o", "mine")
    zoo("import", checkpoint, *options)
    assert zoo("sample", "mine", "--seeds", "0-3").code == 0
    shown = zoo("show", "mine").out
    assert "licence      CC-BY-4.0\n" in shown
    assert "family=toy-public, file=netG.pth, sha256=" in shown
    assert "part=netG, source=https://example.org/w, licence=CC-BY-4.0" in shown
    (record,) = zoo("show", "mine", "--json").json["records"]
    assert record["origin"]["family"] == "toy-public"


def test_json_names_the_paths(zoo, checkpoint):
    (record,) = zoo("import", checkpoint, "--licence", "x", "-o", "m", "--json").json["imported"]
    assert (record["path"], record["grid"], record["notes"]) == ("m", "m/grid.png", [])


def test_families_are_listed(zoo):
    listed = zoo("import", "--list")
    assert "toy-public  toy    https://example.org/somebody/toy  toys" in listed.out
    (record,) = zoo("import", "--list", "--json").json["importers"]
    assert (record["name"], record["model"], record["plugin"]) == ("toy-public", "toy", "toy")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["netG.pth", "-o", "mine"], 2, "needs the licence of the weights; try: --licence CC-BY"),
        (
            ["netG.pth", "--licence", "x"],
            2,
            "needs --out; try: zoo import FILE --licence ID -o OUT",
        ),
        (["--licence", "x", "-o", "mine"], 2, "needs a FILE"),
        (["none.pth", "--licence", "x", "-o", "mine"], 2, "none.pth does not exist"),
        (["netG.pth", "--licence", "x", "-o", "."], 2, ". exists already"),
        (["netG.pth", "--licence", "", "-o", "mine"], 2, "the licence must be a line of text"),
        (["netG.pth", "--licence", "x", "-o", "mine", "--model", "toi"], 3, "nearest: toy"),
        (["netG.pth", "--licence", "x", "-o", "mine", "--set", "wide=1"], 2, "no setting 'wide'"),
        (["netG.pth", "--licence", "x", "-o", "mine", "--set", "wide"], 2, "takes key=value"),
        (["netG.pth", "--licence", "x", "-o", "mine", "--part", "G"], 2, "no such part; given: G"),
        (["text.pth", "--licence", "x", "-o", "mine"], 5, "text.pth is not a checkpoint"),
        (["other.pth", "--licence", "x", "-o", "mine"], 5, "other.pth is of no known family"),
    ],
)
def test_bad_input_is_a_line_and_leaves_nothing(zoo, checkpoint, tmp_path, arguments, code, says):
    (tmp_path / "text.pth").write_text("hello, this is text")
    torch.save({"a.b": torch.ones(1)}, tmp_path / "other.pth")
    before = sorted(tmp_path.iterdir())
    done = zoo("import", *arguments)
    assert done.code == code
    assert says in done.error
    assert sorted(tmp_path.iterdir()) == before
