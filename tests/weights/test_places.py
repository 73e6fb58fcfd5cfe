"""hf:// is a place of the Hugging Face hub, with that library's endpoint, token and settings."""

from __future__ import annotations

import sys

import pytest
from file_server import DATA, python, registered, serving
from huggingface_hub import constants

from zoo_core.errors import DownloadError
from zoo_core.spec import WeightsFile
from zoo_core.weights.hub import fetch_file
from zoo_core.weights.places import Unavailable, remote

HUB = "https://huggingface.co"
FETCH = """
import sys
from file_server import registered
from zoo_core.weights.hub import fetch_file
fetch_file(registered(*sys.argv[1:]), "toy.a")
"""


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("hf://owner/repo/a.safetensors", f"{HUB}/owner/repo/resolve/main/a.safetensors"),
        ("hf://owner/repo/a.safetensors@v1.0", f"{HUB}/owner/repo/resolve/v1.0/a.safetensors"),
        ("hf://owner/r.e-p_o/in/side/a.pt@abc", f"{HUB}/owner/r.e-p_o/resolve/abc/in/side/a.pt"),
        ("hf://owner/repo/a@refs/pr/1", f"{HUB}/owner/repo/resolve/refs%2Fpr%2F1/a"),
    ],
)
def test_a_file_of_the_hub_has_an_address(url, expected):
    assert remote(url).url == expected


def test_the_token_of_the_hub_is_sent(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert remote("hf://owner/repo/a").headers == {"Authorization": "Bearer hf_secret"}
    assert remote("https://huggingface.co/owner/repo/resolve/main/a").headers == {}
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_IMPLICIT_TOKEN", True)
    assert remote("hf://owner/repo/a").headers == {}


def test_the_endpoint_of_the_hub_is_asked():
    with serving() as server:
        server.serve("/owner/repo/resolve/v1/a", DATA)
        environment = {"HF_ENDPOINT": server.url(""), "HF_TOKEN": "hf_secret"}
        with python(FETCH, "hf://owner/repo/a@v1", env=environment) as process:
            assert process.communicate(timeout=60) == ("", "")
        (visit,) = server.requests
        assert visit.headers["Authorization"] == "Bearer hf_secret"


def test_the_hub_offline_is_not_asked(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DownloadError, match="hf://owner/repo/a HF_HUB_OFFLINE is set"):
        fetch_file(registered("hf://owner/repo/a"), "toy.a")


def test_a_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(Unavailable, match=r"pip install 'zoo-core\[hub\]'"):
        remote("hf://owner/repo/a")


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/a", "ftp://example.org/a", "file:///etc/passwd", "/etc/passwd", "a",
        "https://", "https:///a", "https://user:secret@example.org/a", "https://example.org/a b",
        "https://example.org/a\n", "hf://owner/a", "hf://owner/repo/", "hf://a b/repo/c",
        "hf://owner/repo/a@", "package:", "package:a", "http://127.0.0.1.example.org/a",
        "http://localhost@example.org/a", "HTTPS://example.org/a", "",
    ],
)  # fmt: skip
def test_a_registry_names_no_other_place(url):
    with pytest.raises(ValueError, match="urls must be https://HOST/PATH, hf://OWNER/REPO/FILE"):
        WeightsFile(urls=(url,), sha256="ab" * 32, size=1)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/a?b=c@d", "https://example.org:8443/a", "http://127.0.0.1:80/a",
        "http://[::1]/a", "http://localhost/a", "hf://o/r/a/b.safetensors@main", "package:a/b",
    ],
)  # fmt: skip
def test_a_registry_may_name(url):
    assert WeightsFile(urls=(url,), sha256="ab" * 32, size=1).urls == (url,)
