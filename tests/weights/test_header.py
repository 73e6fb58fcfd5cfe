"""Crafted safetensors files: bad ones are refused at no cost, and no code is run."""

import json
import os
import subprocess
import sys

import pytest

from zoo_core.errors import InputError, WeightsError
from zoo_core.weights.header import (
    FORMAT,
    MAX_HEADER_BYTES,
    check_tensors,
    is_path,
    parse_header,
    parse_metadata,
    read_header,
    weights_path,
)

ABOUT = {
    "model": "toy",
    "role": "generator",
    "config": {"width": 4},
    "images": 12,
    "licence": "CC0-1.0",
    "trained_on": "bars",
    "zoo_version": "0.1.0",
    "format": FORMAT,
}


def tensor(dtype="F32", shape=(2,), start=0, stop=8, **more):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, stop], **more}


def crafted(header, data=bytes(8)):
    """A file with this header, given as a mapping or as bytes."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def described(record, **metadata):
    """A file with this record in its metadata."""
    text = record if isinstance(record, str) else json.dumps(record)
    return crafted({"__metadata__": {"zoo": text, **metadata}, "a": tensor()})


def pair(name, first, second):
    """Header text in which one key appears twice."""
    return f'{{"{name}": {json.dumps(first)}, "{name}": {json.dumps(second)}}}'.encode()


GOOD = described(ABOUT)
MALFORMED = {
    "empty": b"",
    "shorter than the length of its header": b"\x10\0\0",
    "header longer than the file": (100).to_bytes(8, "little") + b"{}",
    "header of 2**64 - 1 bytes": b"\xff" * 8 + b"{}",
    "header of no bytes": bytes(16),
    "only zeros": bytes(64),
    "huge header of spaces": crafted(b" " * (MAX_HEADER_BYTES + 1)),
    "header that is not UTF-8": crafted(b'{"a\xff": 1}'),
    "header that is not JSON": crafted(b"{'a': 1}"),
    "header that is a list": crafted([tensor()]),
    "header that is a number": crafted(b"12"),
    "nesting 5000": crafted(b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}"),
    "number of 5000 digits": crafted(b'{"a":' + b"1" * 5000 + b"}"),
    "duplicate tensor, same extent": crafted(pair("a", tensor(), tensor("I32"))),
    "duplicate tensor, other extent": crafted(pair("a", tensor(), tensor(start=8, stop=16))),
    "duplicate in the metadata": crafted(
        b'{"__metadata__": {"zoo": "1", "zoo": "2"}, "a": ' + json.dumps(tensor()).encode() + b"}"
    ),
    "duplicate in a tensor's entry": crafted(
        b'{"a": {"dtype": "F32", "dtype": "I32", "shape": [2], "data_offsets": [0, 8]}}'
    ),
    "metadata that is not text": crafted({"__metadata__": {"zoo": 1}, "a": tensor()}),
    "unknown dtype": crafted({"a": tensor("F8_E4M3", [8])}),
    "unknown field": crafted({"a": tensor(code="import os")}),
    "missing field": crafted({"a": {"dtype": "F32", "shape": [2]}}),
    "negative dimension": crafted({"a": tensor(shape=[-1, -2])}),
    "fractional dimension": crafted({"a": tensor(shape=[2.0])}),
    "shape of another size than the bytes": crafted({"a": tensor(shape=[3])}),
    "dimensions whose product overflows": crafted({"a": tensor(shape=[2**32, 2**32], stop=0)}),
    "no elements, but a dimension of 2**63": crafted({"a": tensor(shape=[0, 2**63], stop=0)}, b""),
    "a hundred dimensions": crafted({"a": tensor(shape=[1] * 99 + [2])}),
    "overlapping tensors": crafted({"a": tensor(), "b": tensor(start=4, stop=12)}, bytes(12)),
    "hole between tensors": crafted({"a": tensor(), "b": tensor(start=12, stop=20)}, bytes(20)),
    "hole before the first tensor": crafted({"a": tensor(start=4, stop=12)}, bytes(12)),
    "negative offset": crafted({"a": tensor(start=-8, stop=0)}),
    "offsets the wrong way round": crafted({"a": tensor(start=8, stop=0)}),
    "trailing bytes": crafted({"a": tensor()}) + b"PK\x05\x06" + bytes(18),
    "truncated data": crafted({"a": tensor()}, bytes(7)),
    "data without tensors": crafted({}, bytes(8)),
    "tensor without a name": crafted({"": tensor()}),
    "tensor named like a path": crafted({"../../x": tensor()}),
    "tensor name with a zero byte": crafted({"a\0b": tensor()}),
    "tensor name of 10 kB": crafted({"a" * 10_000: tensor()}),
    "tensor name with terminal codes": crafted({"\x1b[31mred": tensor()}),
    "unknown dtype of 1 MB with terminal codes": crafted({"a": tensor("\x1b[31m" * 200_000)}),
    "unknown field of 1 MB with terminal codes": crafted({"a": tensor(**{"\x1b" * 1_000_000: 1})}),
    "unknown field that is no text": crafted({"a": tensor(**{"\ud800": 1})}),
    "duplicate of 1 MB": crafted(pair("a" * 1_000_000, 1, 2)),
    "zip file": b"PK\x03\x04" + bytes(60),
    "pickle, protocol 2": b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.",
    "pickle, protocol 4": b"\x80\x04\x95\x0b\0\0\0\0\0\0\0\x8c\x05posix\x94.",
    "HTML": b"<!DOCTYPE html><html>not found</html>",
}


def assert_one_line(error, *parts):
    """Assert that the message is short and printable, and contains every part."""
    text = str(error.value)
    assert text.isprintable(), text
    assert len(text) < 1000
    for part in parts:
        assert str(part) in text


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_file_is_refused_in_one_line(tmp_path, data):
    path = tmp_path / "bad.safetensors"
    path.write_bytes(data)
    with pytest.raises(WeightsError) as error:
        read_header(path)
    assert_one_line(error, path)


def test_a_good_file_is_read(tmp_path):
    path = tmp_path / "good.safetensors"
    path.write_bytes(GOOD)
    header = read_header(path)
    assert {key: (info.dtype, info.shape) for key, info in header.tensors.items()} == {
        "a": ("F32", (2,))
    }
    assert (parse_metadata(header, "x").model, parse_metadata(header, "x").images) == ("toy", 12)


def test_tensors_may_be_listed_in_any_order():
    data = crafted({"b": tensor(start=8, stop=16), "a": tensor()}, bytes(16))
    assert set(parse_header(data, len(data), "x").tensors) == {"a", "b"}


def test_a_header_may_have_any_length():
    """The low byte of the length is the first byte of the file, which is 0x80 in a pickle."""
    text = json.dumps({"a": tensor()}).encode()
    for length in range(256, 512):
        data = crafted(text.ljust(length))
        assert list(parse_header(data, len(data), "x").tensors) == ["a"]


def test_a_header_has_a_largest_size():
    text = json.dumps({"a": tensor()}).encode()
    largest = crafted(text.ljust(MAX_HEADER_BYTES))
    assert list(parse_header(largest, len(largest), "x").tensors) == ["a"]
    data = crafted(text.ljust(MAX_HEADER_BYTES + 1))
    with pytest.raises(WeightsError, match=rf"allowed: at most {MAX_HEADER_BYTES} bytes"):
        parse_header(data, len(data), "x")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_is_called_one(tmp_path, zipped):
    import torch

    path = tmp_path / "model.safetensors"
    weights = {"a": torch.zeros(3)}
    torch.save(weights, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightsError, match="is a pickle"):
        read_header(path)


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(WeightsError) as error:
        read_header(tmp_path)
    assert_one_line(error, tmp_path, "not a regular file")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(WeightsError) as error:
        read_header(tmp_path / "none.safetensors")
    assert_one_line(error, tmp_path, "No such file")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
@pytest.mark.parametrize("read", [read_header, weights_path])
def test_a_named_pipe_is_refused_and_not_waited_for(tmp_path, read):
    path = tmp_path / "pipe.safetensors"
    os.mkfifo(path)
    with pytest.raises((WeightsError, InputError)) as error:
        read(path)
    assert_one_line(error, path, "not a regular file")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_refused(tmp_path):
    path = tmp_path / "secret.safetensors"
    path.write_bytes(GOOD)
    path.chmod(0)
    with pytest.raises(WeightsError) as error:
        read_header(path)
    assert_one_line(error, path, "Permission denied")


MISDESCRIBED = {
    "nothing about itself": (crafted({"a": tensor()}), "was not written by the zoo"),
    "not JSON": (described("{"), "has invalid metadata"),
    "no mapping": (described("[]"), "has invalid metadata"),
    "no model": (described({"role": "generator"}), "has invalid metadata"),
    "a configuration that is no mapping": (described({**ABOUT, "config": 3}), "invalid metadata"),
    "nesting 50000": (
        described(json.dumps(ABOUT).replace("4", "[" * 50000 + "]" * 50000)),
        "has invalid metadata",
    ),
    "half a character": (described("\ud800"), "has invalid metadata"),
    "a model's name of 1 MB": (described({**ABOUT, "model": "a" * 1_000_000}), "invalid metadata"),
    "a newer format": (described({**ABOUT, "format": FORMAT + 1}), "upgrade zoo-core"),
    "a newer format with other fields": (described({"format": FORMAT + 1}), "upgrade zoo-core"),
}


@pytest.mark.parametrize(("data", "reason"), MISDESCRIBED.values(), ids=MISDESCRIBED)
def test_a_file_that_does_not_describe_itself_is_refused(data, reason):
    header = parse_header(data, len(data), "x.safetensors")
    with pytest.raises(WeightsError) as error:
        parse_metadata(header, "x.safetensors")
    assert_one_line(error, "x.safetensors", reason)


EXPECTED = {"a": ("F32", (2, 3)), "b": ("I64", ())}
UNFIT = {
    "missing tensor": ({"a": ("F32", (2, 3))}, "'b' is missing"),
    "extra tensor": ({**EXPECTED, "c": ("F32", ())}, "'c' is unexpected"),
    "another type": ({**EXPECTED, "a": ("F16", (2, 3))}, "F16 [2, 3]; allowed: F32 [2, 3]"),
    "another kind of type": ({**EXPECTED, "a": ("I32", (2, 3))}, "I32 [2, 3]; allowed: F32 [2, 3]"),
    "another shape": ({**EXPECTED, "a": ("F32", (2, 4))}, "F32 [2, 4]; allowed: F32 [2, 3]"),
    "transposed shape": ({**EXPECTED, "a": ("F32", (3, 2))}, "F32 [3, 2]; allowed: F32 [2, 3]"),
    "another rank": ({**EXPECTED, "b": ("I64", (1,))}, "I64 [1]; allowed: I64 []"),
}


def header_of(tensors):
    entries, end = {}, 0
    for key, (dtype, shape) in tensors.items():
        size = {"F32": 4, "I32": 4, "F16": 2, "I64": 8}[dtype]
        for extent in shape:
            size *= extent
        entries[key] = tensor(dtype, shape, end, end + size)
        end += size
    data = crafted(entries, bytes(end))
    return parse_header(data, len(data), "x")


@pytest.mark.parametrize(("tensors", "reason"), UNFIT.values(), ids=UNFIT)
def test_tensors_of_another_architecture_are_refused(tensors, reason):
    with pytest.raises(WeightsError) as error:
        check_tensors(header_of(tensors), EXPECTED, "x.safetensors")
    assert_one_line(error, "x.safetensors does not fit", reason)


def test_tensors_of_the_architecture_are_accepted():
    assert check_tensors(header_of(EXPECTED), EXPECTED, "x") is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("toy.bars16", False),
        ("owner/toy.bars16", False),
        ("runs", False),  # exists, but might be a name
        ("o4", True),  # a run
        ("started", True),  # a run without weights so far
        ("toy.safetensors", True),
        ("./runs", True),
        ("../runs", True),
        ("/runs", True),
        ("~/runs", True),
        ("C:\\runs", True),
        ("runs/toy.bars16", True),  # has a slash and exists
        ("a/" + "b" * 5000, False),
    ],
)
def test_a_path_is_told_from_a_name(tmp_path, monkeypatch, name, expected):
    (tmp_path / "runs" / "toy.bars16").mkdir(parents=True)
    for file in ("o4/classifier.safetensors", "started/config.json"):
        (tmp_path / file).parent.mkdir()
        (tmp_path / file).touch()
    monkeypatch.chdir(tmp_path)
    assert is_path(name) is expected


def test_the_folder_of_a_run_stands_for_its_generator(tmp_path):
    (tmp_path / "generator.safetensors").write_bytes(GOOD)
    assert weights_path(str(tmp_path)) == tmp_path / "generator.safetensors"


@pytest.mark.parametrize(
    "name",
    ["none.safetensors", "a" * 5000 + ".safetensors", "a\0b.safetensors", "~nobody-here/x"],
    ids=["missing", "too long", "zero byte", "home of nobody"],
)
def test_a_path_without_weights_is_an_input_error(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as error:
        weights_path(name)
    assert len(str(error.value)) < 500
    assert "\n" not in str(error.value)


def test_a_folder_without_weights_says_what_it_lacks(tmp_path):
    with pytest.raises(InputError, match=r"no generator\.safetensors or classifier\.saf"):
        weights_path(tmp_path)


def test_a_folder_of_runs_names_them(tmp_path):
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "generator.safetensors").write_bytes(GOOD)
    with pytest.raises(InputError, match=rf"try: {tmp_path}/a or {tmp_path}/b$"):
        weights_path(tmp_path)


def test_describing_a_file_needs_the_standard_library_and_msgspec_only(tmp_path):
    path = tmp_path / "good.safetensors"
    path.write_bytes(GOOD)
    program = (
        "import sys; before = set(sys.modules)\n"
        "from pathlib import Path\n"
        "from zoo_core.weights.header import parse_metadata, read_header\n"
        f"assert parse_metadata(read_header(Path({str(path)!r})), 'x').model == 'toy'\n"
        "roots = {name.split('.')[0] for name in set(sys.modules) - before}\n"
        # msgspec imports typing_extensions
        "print(*roots - set(sys.stdlib_module_names) - {'typing_extensions'})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (set(done.stdout.split()), done.stderr) == ({"msgspec", "zoo_core"}, "")
