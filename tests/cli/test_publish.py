"""`zoo publish`: the entry on stdout, a line for each mistake, and its place in other commands."""

import json
from pathlib import Path

import pytest
import torch
from hub_server import a_hub
from toys import ToyGenerator, resolved

from zoo_core.strict_yaml import parse_yaml

PUBLISH = ("publish", "run", "--name", "toy.bars", "--metrics-from", "m.json", "--to", "new")


@pytest.fixture
def trained(zoo, monkeypatch):
    """A run, and its metrics in m.json."""
    monkeypatch.setenv("ZOO_PLUGINS", "toy,sorter")
    assert zoo("train", "toy", "--preset", "tiny", "--run-dir", "run").code == 0
    protocol = {"data": "toys, 16 px, abc", "seed": 0}
    metric = {"name": "fd", "value": 7.5, "protocol": protocol, "command": "zoo evaluate run"}
    Path("m.json").write_text(json.dumps({"schema": 1, "metrics": [metric], "problems": []}))
    return zoo


def test_the_entry_is_printed_and_all_else_is_not(trained):
    done = trained(*PUBLISH)
    assert done.code == 0
    assert done.out == Path("new/registry.yaml").read_text()
    (entry,) = parse_yaml(done.out)["weights"]
    assert (entry["name"], entry["metrics"][0]["value"]) == ("toy.bars", 7.5)
    assert "published: new; the entry for a registry file follows\n" in done.err
    Path("r.yaml").write_text(done.out)
    assert trained("registry", "validate", "r.yaml").code == 0


def test_json_has_the_entry_and_the_place(trained):
    (record,) = trained(*PUBLISH, "--json", "--discriminator").json["published"]
    assert record["place"] == "new"
    assert set(record["entry"]["files"]) == {"generator", "discriminator"}


def test_the_default_place_is_named_for_the_weights(trained):
    assert trained(*PUBLISH[:-2]).code == 0
    assert Path("published/toy.bars/README.md").is_file()


def test_a_publication_is_sampled_and_shown(trained):
    trained(*PUBLISH, "--licence", "MIT", "--summary", "bars")
    assert trained("sample", "new", "--seeds", "0-3").code == 0
    assert "licence      MIT\n" in trained("show", "new").out
    assert "# toy.bars\n\nbars: `toy`" in Path("new/README.md").read_text()


def test_metrics_are_measured_when_asked_for(trained):
    """A classifier by its accuracy, which takes no extractor."""
    trained("train", "sorter", "--preset", "tiny", "--run-dir", "judge")
    done = trained("publish", "judge", "--name", "sorter.bars", "--evaluate", "--to", "new")
    assert done.code == 0, done.err
    metrics = parse_yaml(done.out)["weights"][0]["metrics"]
    assert [each["name"] for each in metrics] == ["accuracy", "loss"]
    assert {each["command"] for each in metrics} == {"zoo evaluate judge"}
    measured = trained("evaluate", "judge", "--json").json["metrics"]
    assert [each["value"] for each in metrics] == [each["value"] for each in measured]


def test_a_repository_is_a_name_for_other_commands(trained, monkeypatch):
    with a_hub(monkeypatch) as hub:
        done = trained(*PUBLISH[:-1], "hf://me/bars")
        assert done.code == 0, done.err
        commit = hub.repositories["me/bars"][-1][0]
        assert f"published: hf://me/bars@{commit};" in done.err
        for address in ("hf://me/bars", f"hf://me/bars@{commit}"):
            assert trained("sample", address, "--seeds", "0-3").code == 0
        assert f"generator.safetensors@{commit}" in trained("show", "hf://me/bars").out
        few = ("--data", "toys", "--count", "16", "--extractor", "toy-features")
        assert trained("evaluate", "hf://me/bars", *few).code == 0
        tuned = trained("train", "toy", "--preset", "tiny", "--from", "hf://me/bars")
        assert tuned.code == 0, tuned.err
        (fetched,) = trained("weights", "fetch", "hf://me/bars", "--json").json["weights"]
        assert (fetched["name"], fetched["where"]) == ("hf://me/bars", "cached")
        path = trained("weights", "path", "hf://me/bars").out.strip()
        assert Path(path).read_bytes() == Path("run/generator.safetensors").read_bytes()
        card = hub.files("me/bars")["README.md"].decode()
        names = {}
        exec(card.partition("```python")[2].partition("```")[0], names)
        assert names["images"].shape == (16, 3, 16, 16)
        assert trained("weights", "verify", "hf://me/bars").code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["run"], 2, "zoo publish needs a name; try: --name MODEL.TAG"),
        (["run", "--name", "toy.a"], 2, "weights are published with metrics and their protocol"),
        (["run", "--name", "Toy.a", "--metrics-from", "m.json"], 2, "allowed: toy.TAG"),
        (["run", "--name", "toy.a", "--metrics-from", "none.json"], 2, "cannot read none.json"),
        (["run", "--name", "toy.a", "--metrics-from", "x.json"], 2, "is not the output of `zoo ev"),
        (["run", "--name", "toy.a", "--metrics-from", "m.json", "--evaluate"], 2, "or measured"),
        (["none", "--name", "toy.a", "--metrics-from", "m.json"], 2, "there is no file none"),
        (["run", "--name", "toy.a", "--metrics-from", "m.json", "--licence", "x"], 2, "given: x"),
        (["run", "--name", "toy.a", "--metrics-from", "m.json", "--to", "run"], 2, "run exists"),
        (["run", "--name", "toy.a", "--metrics-from", "m.json", "--to", "hf://a"], 2, "OWNER/REPO"),
        (["unknown", "--name", "toy.a", "--metrics-from", "m.json"], 2, "whose licence is unknown"),
        (["unknown", "--name", "toy.a", "--evaluate", "--licence", "MIT"], 2, "licence is unknown"),
        (["broken", "--name", "toy.a", "--metrics-from", "m.json"], 5, "broken/generator.safet"),
    ],
)  # fmt: skip
def test_bad_input_is_a_line_and_leaves_nothing(trained, tmp_path, arguments, code, says):
    state = ToyGenerator(resolved().config).state_dict()
    theirs = {name.replace("stem.", "first."): tensor for name, tensor in state.items()}
    torch.save({"netG": theirs}, "net.pth")
    trained("import", "net.pth", "--licence", "unknown", "-o", "unknown")
    Path("x.json").write_text("{}")
    Path("broken").mkdir()
    Path("broken/generator.safetensors").write_text("these are no weights")
    before = sorted(tmp_path.rglob("*"))
    done = trained("publish", *arguments)
    assert done.code == code
    assert says in done.error
    assert not done.out
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("break_it", "code", "says"),
    [
        (lambda hub, patch: patch.setenv("HF_TOKEN", ""), 2, "hf auth login, or set HF_TOKEN"),
        (lambda hub, patch: patch.setenv("HF_TOKEN", "x"), 5, "it answered 401"),
        (lambda hub, patch: patch.setenv("ZOO_OFFLINE", "1"), 6, "try: unset ZOO_OFFLINE"),
        (lambda hub, patch: hub.refusals.update({"/commit/": 403}), 5, "it answered 403"),
    ],
)
def test_what_the_hub_refuses_is_a_line(trained, monkeypatch, tmp_path, break_it, code, says):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    with a_hub(monkeypatch) as hub:
        break_it(hub, monkeypatch)
        done = trained(*PUBLISH[:-1], "hf://me/bars")
        assert done.code == code
        assert says in done.error
        assert not done.out
        assert all(
            set(commits[-1][1]) <= {".gitattributes"} for commits in hub.repositories.values()
        )


@pytest.mark.parametrize(
    ("address", "code", "says"),
    [
        ("hf://me/none", 5, "allowed: a repository that `zoo publish` wrote"),
        ("hf://me", 2, "allowed: hf://OWNER/REPO[@REVISION]"),
        ("hf://me/other", 5, "cannot read registry.yaml of hf://me/other"),
    ],
)
def test_what_is_no_repository_of_the_zoo_is_a_line(trained, monkeypatch, address, code, says):
    with a_hub(monkeypatch) as hub:
        hub.commit("me/other", {"model.bin": b""})
        for command in ("sample", "show"):
            done = trained(command, address)
            assert (done.code, says in done.error) == (code, True)
