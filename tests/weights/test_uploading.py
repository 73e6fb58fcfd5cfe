"""Uploads to the hub are one commit, with all files or none."""

import sys

import pytest
from hub_server import TOKEN, a_hub

from zoo_core.errors import InputError, OfflineError, UploadError
from zoo_core.weights.repositories import parse_repository
from zoo_core.weights.uploading import check_upload, upload

BARS = parse_repository("hf://me/bars")


@pytest.fixture
def hub(monkeypatch):
    with a_hub(monkeypatch) as hub:
        yield hub


@pytest.fixture
def folder(tmp_path):
    for name in ("registry.yaml", "README.md", "generator.safetensors"):
        (tmp_path / name).write_text(name)
    return tmp_path


def test_all_files_are_one_commit_with_the_users_token(hub, folder):
    check_upload(BARS)
    commit = upload(folder, BARS, "Publish toy.bars")
    assert hub.repositories["me/bars"][-1][0] == commit
    assert len(hub.repositories["me/bars"]) == 2  # the first is of the hub
    assert hub.files("me/bars") == {
        ".gitattributes": b"",
        **{each.name: each.name.encode() for each in folder.iterdir()},
    }
    assert (hub.tokens, hub.messages) == ({f"Bearer {TOKEN}"}, ["Publish toy.bars"])


@pytest.mark.parametrize("call", ["preupload", "objects/batch", "PUT", "commit"])
@pytest.mark.parametrize("status", [400, 403])
def test_a_refusal_is_one_line_and_leaves_no_file(hub, folder, call, status):
    hub.refusals[call] = status
    with pytest.raises(UploadError, match=r"^the hub did not take hf://me/bars: ") as caught:
        upload(folder, BARS, "Publish toy.bars")
    assert "\n" not in str(caught.value)
    assert hub.files("me/bars") == {".gitattributes": b""}
    hub.refusals.clear()
    upload(folder, BARS, "Publish toy.bars")
    assert "registry.yaml" in hub.files("me/bars")


def test_a_token_that_may_not_write_is_said(hub, folder):
    hub.refusals["repos/create"] = 403
    with pytest.raises(UploadError, match=r"it answered 403 .*; try: hf auth login with a token"):
        upload(folder, BARS, "Publish toy.bars")


def test_a_hub_that_is_away_is_said(hub, folder):
    hub.shutdown()
    hub.server_close()
    with pytest.raises(UploadError, match=r"the hub did not take hf://me/bars: Connect\w*Error"):
        check_upload(BARS)


def test_the_hubs_doubts_are_said_and_nothing_else(hub, folder, caplog, capsys):
    hub.doubts.append("license is odd")
    upload(folder, BARS, "Publish toy.bars")
    said = [record.message for record in caplog.records if record.name == "zoo"]
    assert set(said) == {
        "the hub: Warnings while validating metadata in README.md: - license is odd"
    }
    assert capsys.readouterr().err == ""


def test_weights_are_not_replaced(hub, folder):
    upload(folder, BARS, "Publish toy.bars")
    with pytest.raises(InputError, match="hf://me/bars holds weights already"):
        check_upload(BARS)


def test_no_revision_is_published_to(hub):
    with pytest.raises(InputError, match="try: --to hf://me/bars"):
        check_upload(parse_repository("hf://me/bars@main"))


@pytest.mark.parametrize("variable", ["ZOO_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_nothing_is_asked(hub, monkeypatch, variable):
    monkeypatch.setenv("ZOO_OFFLINE", str(int(variable == "ZOO_OFFLINE")))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", variable != "ZOO_OFFLINE")
    with pytest.raises(OfflineError, match=f"while {variable} is set; try: unset {variable}"):
        check_upload(BARS)
    assert not hub.visits


def test_without_a_token_nothing_is_asked(hub, monkeypatch, tmp_path):
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(InputError, match=r"needs a token.*try: hf auth login, or set HF_TOKEN"):
        check_upload(BARS)
    assert not hub.visits


def test_without_the_library_its_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(OfflineError, match=r"try: pip install 'zoo-core\[hub\]'"):
        check_upload(BARS)
