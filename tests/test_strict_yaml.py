"""Plain data in YAML is read; anything more is refused."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from zoo_core.errors import ConfigError
from zoo_core.strict_yaml import MAX_FILE_BYTES, MAX_FILE_DEPTH, as_yaml, parse_yaml, read_yaml


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "settings.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: &x [1]\nb: *x", "aliases are not allowed"),
        ("a: &x {b: 1}\nc: {<<: *x}", "aliases are not allowed"),
        ("a: 1\na: 2", "duplicate key 'a'"),
        ("a: {b: 1, b: 2}", "duplicate key 'b'"),
        ("a: !!python/name:os.system", "tags are not allowed"),
        ("a: !!binary aGVq", "tags are not allowed"),
        ("a: [1, !mine 2]", "tags are not allowed"),
        ("a: 1\n---\nb: 2", "expected a single document"),
        ("a: [1", "flow sequence"),
        ("a: \x07", "control characters"),
        ("? [a]\n: 1", "unhashable key"),
    ],
)
def test_yaml_that_is_more_than_data_or_no_yaml_is_refused(file, text, reason):
    with pytest.raises(ConfigError) as caught:
        read_yaml(file(text))
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["[" * 300_000, "- " * 300_000, "a: " + "{a: " * 200_000])
def test_deep_nesting_is_a_config_error(file, text):
    with pytest.raises(ConfigError, match="more than 50 levels"):
        read_yaml(file(text))


def test_nesting_is_read_up_to_the_limit(file):
    assert read_yaml(file("[" * MAX_FILE_DEPTH + "]" * MAX_FILE_DEPTH))
    with pytest.raises(ConfigError, match="more than 50 levels"):
        read_yaml(file("[" * (MAX_FILE_DEPTH + 1) + "]" * (MAX_FILE_DEPTH + 1)))


def test_a_large_file_is_refused(file):
    with pytest.raises(ConfigError, match="too large"):
        read_yaml(file("#" * (MAX_FILE_BYTES + 1)))


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="no such device")  # noqa: PTH110
def test_a_device_without_an_end_is_refused():
    with pytest.raises(ConfigError, match="/dev/zero is too large"):
        read_yaml(Path("/dev/zero"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_what_another_program_writes_into_a_pipe_is_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with ThreadPoolExecutor() as pool:
        pool.submit((tmp_path / "pipe").write_bytes, b"a: 1\r\nb: 2\r\n")
        assert read_yaml(tmp_path / "pipe") == {"a": 1, "b": 2}


def test_a_byte_order_mark_is_ignored(file):
    assert read_yaml(file("a: 1".encode("utf-8-sig"))) == {"a": 1}


@pytest.mark.parametrize("content", ["a: \xff".encode("latin-1"), None])
def test_a_file_that_cannot_be_read_is_a_config_error(tmp_path, content):
    path = tmp_path / "settings.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match="cannot read"):
        read_yaml(path)


def test_what_is_written_is_read_back():
    shared = {"seed": 0}
    value = {
        "z": [shared, shared], "a": ["no", "1e-05", "", "ä: b", "x\ny", " y"], "n": 1e-05,
        "none": None, "yes": True,
    }  # fmt: skip
    assert parse_yaml(as_yaml(value)) == value


def test_lists_are_indented_and_keys_keep_their_order():
    assert as_yaml({"b": [{"c": 1, "a": 2}]}) == "b:\n  - c: 1\n    a: 2\n"
