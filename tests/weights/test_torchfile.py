"""torch.save files are read without running any code in them."""

import io
import struct
import subprocess
import sys
import zipfile
from collections import OrderedDict

import pytest
import torch
from torch import nn

from zoo_core.errors import WeightsError
from zoo_core.weights.torchfile import read_state_dict, read_torch

FORMATS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
DTYPES = (
    torch.float64, torch.float32, torch.float16, torch.bfloat16,
    torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool,
)  # fmt: skip


def saved(value, zipped=True, **options):
    file = io.BytesIO()
    torch.save(value, file, _use_new_zipfile_serialization=zipped, **options)
    return file.getvalue()


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))


def same(left, right):
    """Whether values, types and order are equal at every depth."""
    if isinstance(left, torch.Tensor):
        alike = isinstance(right, torch.Tensor) and left.dtype == right.dtype
        return alike and left.stride() == right.stride() and torch.equal(left, right)
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple):
        pairs = zip(left, right, strict=True)
        return type(left) is type(right) and all(same(one, other) for one, other in pairs)
    return type(left) is type(right) and left == right


def refusal(data):
    with pytest.raises(WeightsError) as error:
        read_torch(data, "a.pth")
    text = str(error.value)
    assert error.value.exit_code == 5
    assert text.startswith("a.pth ")
    assert text.isprintable()
    assert len(text) < 300
    return text


# Files from torch.save.


@FORMATS
def test_a_state_dict_comes_back_in_order(zipped):
    state = network().state_dict()
    assert same(read_state_dict(saved(state, zipped), "a.pth"), dict(state))


@FORMATS
def test_plain_data_comes_back_nested_as_it_was(zipped):
    value = {
        "text": ["", "ä\n", "x" * 300, None],
        "numbers": [True, False, 0, -1, 255, 65536, 2**40, -(2**80), 0.1, float("inf")],
        3: ((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)),
        "ordered": OrderedDict(b=1, a={}),
        "tensors": [torch.arange(3), {"deep": torch.ones(2, 2)}],
    }
    assert same(read_torch(saved(value, zipped), "a.pth"), value)


@FORMATS
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype_keeps_its_bits(zipped, dtype):
    tensor = torch.tensor([0, 1, 3]).to(dtype)
    assert same(read_torch(saved(tensor, zipped), "a.pth"), tensor)


@FORMATS
def test_views_keep_their_strides_and_share_their_memory(zipped):
    base = torch.arange(24.0)
    value = {
        "transposed": base.reshape(4, 6).t(),
        "part": base[5:11:2],
        "last": base[23],
        "empty": torch.empty(0, 3),
        "channels": torch.rand(2, 3, 4, 4).contiguous(memory_format=torch.channels_last),
    }
    read = read_torch(saved(value, zipped), "a.pth")
    assert same(read, value)
    read["last"].fill_(-1)
    assert read["transposed"][5, 3] == -1


@FORMATS
def test_parameters_come_back_as_tensors_without_gradients(zipped):
    read = read_torch(saved(dict(network().named_parameters()), zipped), "a.pth")
    assert {type(tensor) for tensor in read.values()} == {torch.Tensor}
    assert not any(tensor.requires_grad for tensor in read.values())


@FORMATS
def test_what_is_read_does_not_depend_on_the_bytes_it_came_from(zipped):
    data = bytearray(saved(torch.ones(3), zipped))
    read = read_torch(bytes(data), "a.pth")
    read.zero_()
    assert torch.equal(read_torch(bytes(data), "a.pth"), torch.ones(3))


@pytest.mark.parametrize("protocol", [3, 4, 5])
@FORMATS
def test_later_protocols_are_read_too(zipped, protocol):
    state = {"a": torch.ones(2), "b": ["text", b"\0\xff", 1.5, (1, 2)]}
    assert same(read_torch(saved(state, zipped, pickle_protocol=protocol), "a.pth"), state)


def test_an_optimizer_is_plain_data():
    model = network()
    optimizer = torch.optim.Adam(model[2].parameters(), betas=(0.5, 0.9))
    model[2](torch.ones(1, 4)).sum().backward()
    optimizer.step()
    state = optimizer.state_dict()
    assert same(read_torch(saved(state), "a.pth"), state)


@pytest.mark.parametrize("value", [[torch.ones(1)], {"a": 1}, {"a": {"b": torch.ones(1)}}, 3])
def test_what_is_no_state_dict_is_refused_as_one(value):
    with pytest.raises(WeightsError, match=r"a\.pth does not hold a state dict"):
        read_state_dict(saved(value), "a.pth")


def test_a_key_that_is_no_text_is_refused_in_a_state_dict():
    with pytest.raises(WeightsError, match="given: int: Tensor"):
        read_state_dict(saved({10**5000: torch.ones(1)}), "a.pth")


# Files that would run code.


def program(body, storages=()):
    """A torch.save zip file that contains a handwritten pickle."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02" + body + b".")
        for key, data in dict(storages).items():
            archive.writestr(f"a/data/{key}", data)
    return file.getvalue()


def legacy(body, tail=b""):
    header = saved([], False)
    stop = header.index(b"]q")  # the empty list that was saved
    return header[:stop] + body + b"." + tail


TEXT = b"X\x04\x00\x00\x00ruin"
HOSTILE = {
    "os.system": (b"cposix\nsystem\n" + TEXT + b"\x85R", "wants to run posix.system"),
    "eval": (b"cbuiltins\neval\n" + TEXT + b"\x85R", "wants to run builtins.eval"),
    "a name that is never called": (b"cos\nremove\n", "wants to run os.remove"),
    "a dotted name": (
        b"\x8c\x05torch\x8c\x0bhub.os.path\x93)R", "wants to run torch.hub.os.path"
    ),
    "a class by another way": (b"(ios\nsystem\n", "uses the pickle operation INST 'os system'"),
    "an object": (b"(" + TEXT + b"o", "uses the pickle operation OBJ"),
    "a new object": (
        b"ccollections\nOrderedDict\n)\x81", "uses the pickle operation NEWOBJ"
    ),
    "an extension": (b"\x82\x01", "uses the pickle operation EXT1"),
    "a persistent name": (b"Pruin\n", "uses the pickle operation PERSID"),
    "torch itself": (b"ctorch\nload\n" + TEXT + b"\x85R", "wants to run torch.load"),
    "a tensor g_optimizer": (
        b"ctorch._utils\n_rebuild_tensor\n", "wants to run torch._utils._rebuild_tensor,"
    ),
    "control codes": (b"cos\n\x1b[31mred\n", "wants to run os.?[31mred"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "reason"), HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("wrap", [program, legacy])
def test_a_file_that_wants_to_run_code_is_refused_by_name(wrap, body, reason):
    assert reason in refusal(wrap(body))


def test_a_whole_module_is_refused_by_the_class_it_names():
    assert "wants to run torch.nn.modules.container.Sequential" in refusal(saved(network()))


WATCH = """
import sys
events, BAD = [], ("import", "exec", "compile", "open", "os.system", "pickle.find_class")
def watch(event, arguments):
    if watching and event in BAD:
        events.append(event)
watching = False
sys.addaudithook(watch)
from zoo_core.errors import WeightsError
from zoo_core.weights.torchfile import read_torch
data = [open(path, "rb").read() for path in sys.argv[1:]]
read_torch(data[0], "warm")  # zipfile imports a codec for entry names
watching = True
for each in data:
    try:
        read_torch(each, "a.pth")
    except WeightsError:
        pass
watching = False
print(events)
"""


def test_python_notices_no_import_no_file_and_no_code(tmp_path):
    files = [program(b"N"), saved({"a": torch.ones(1)}), saved({"a": torch.ones(1)}, False)]
    files += [program(body) for body, _ in HOSTILE.values()]
    paths = []
    for number, data in enumerate(files):
        paths.append(tmp_path / f"{number}.pth")
        paths[-1].write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-c", WATCH, *paths], capture_output=True, text=True, cwd=tmp_path
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")


# Files that are damaged, or made to do damage.


@FORMATS
def test_a_truncated_file_is_refused_wherever_it_ends(zipped):
    data = saved(network().state_dict(), zipped)
    for end in {*range(0, len(data), 97), len(data) - 1}:
        refusal(data[:end])


@FORMATS
def test_a_changed_byte_is_an_error_or_other_data_but_never_a_crash(zipped):
    data = saved({"a": torch.arange(3.0), "b": [1, "two"]}, zipped)
    for position in range(len(data)):
        for flip in (1, 0x80, 0xFF):
            changed = bytearray(data)
            changed[position] ^= flip
            try:
                read_torch(bytes(changed), "a.pth")
            except WeightsError as error:
                assert str(error).isprintable()  # noqa: PT017 - no error is fine too


@pytest.mark.parametrize("data", [b"", b"x", b"PK", b"\x80", b"\x80\x02.", b"{}", b"\0" * 100])
def test_what_is_no_such_file_is_refused(data):
    refusal(data)


def test_more_after_the_end_is_refused():
    assert "there is data after its last storage" in refusal(saved([torch.ones(1)], False) + b"x")


@pytest.mark.parametrize(
    ("before", "after"),
    [(b"little_endianq\x02\x88", b"little_endianq\x02\x89"), (struct.pack("<h", 1001), b"\0\0")],
)
def test_another_platform_or_version_is_refused(before, after):
    data = saved([torch.ones(1)], False)
    assert before in data
    refusal(data.replace(before, after))


def test_big_endian_archives_are_refused():
    file = io.BytesIO(saved(torch.ones(1)))
    with zipfile.ZipFile(file) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    changed = io.BytesIO()
    with zipfile.ZipFile(changed, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, b"big" if name.endswith("byteorder") else data)
    assert "big-endian" in refusal(changed.getvalue())


def test_compressed_archives_are_refused():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", b"\x80\x02]." + b"\0" * 1000)
    assert "compressed" in refusal(file.getvalue())


def persistent(key="0", count=4, kind="FloatStorage", extra=b""):
    """A program that leaves a storage on the stack."""
    text = lambda value: b"X" + struct.pack("<I", len(value)) + value.encode()  # noqa: E731
    number = b"\x8a\x0a" + count.to_bytes(10, "little", signed=True)
    head = b"(" + text("storage") + f"ctorch\n{kind}\n".encode() + text(key)
    return head + text("cpu") + number + extra + b"tQ"


def tensor(storage, offset=0, size=(4,), stride=(1,)):
    """A program that makes a tensor."""
    number = lambda value: b"\x8a\x0a" + value.to_bytes(10, "little", signed=True)  # noqa: E731
    numbers = lambda values: b"(" + b"".join(map(number, values)) + b"t"  # noqa: E731
    head = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + number(offset)
    return head + numbers(size) + numbers(stride) + b"\x89ccollections\nOrderedDict\n)RtR"


FOUR = {"0": struct.pack("<4f", 1, 2, 3, 4)}


def test_the_handwritten_program_is_a_good_one():
    read = read_torch(program(tensor(persistent(), 0, (2, 2), (1, 2)), FOUR), "a.pth")
    assert torch.equal(read, torch.tensor([[1.0, 3.0], [2.0, 4.0]]))


SHAPES = {
    "beyond the end": {"offset": 1},
    "far beyond the end": {"offset": 2**62},
    "before the start": {"offset": -1},
    "too large": {"size": (5,)},
    "of a negative size": {"size": (-4,)},
    "of a negative stride": {"offset": 3, "stride": (-1,)},
    "of a wide stride": {"size": (2,), "stride": (4,)},
    "of one number, often": {"size": (2**40,), "stride": (0,)},
    "with more strides than sizes": {"stride": (1, 1)},
    "of a thousand dimensions": {"size": (1,) * 1000, "stride": (1,) * 1000},
    "empty and larger than the address space": {"size": (0, 2**62, 2**62), "stride": (1, 1, 1)},
    "of a size beyond int64": {"size": (2**70, 0), "stride": (1, 1)},
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_tensor_that_does_not_lie_in_its_storage_is_refused(shape):
    assert "damaged" in refusal(program(tensor(persistent(), **shape), FOUR))


STORAGES = {
    "too many numbers": persistent(count=5),
    "too few": persistent(count=3),
    "less than none": persistent(count=-1),
    "more than memory": persistent(count=2**60),
    "another type": persistent(kind="DoubleStorage"),
    "no type": persistent(kind="FloatTensor"),
    "not in the file": persistent(key="1"),
    "outside of its folder": persistent(key="../data.pkl"),
    "two types": tensor(persistent()) + tensor(persistent(kind="IntStorage")),
    "a view of the old kind": persistent(extra=b"(K\x00t"),
    "left as data": persistent(),
}


@pytest.mark.parametrize("body", STORAGES.values(), ids=STORAGES)
def test_a_storage_that_is_not_what_it_should_be_is_refused(body):
    refusal(program(body, FOUR))


def test_a_legacy_storage_of_absurd_size_takes_no_memory():
    assert "larger than the file" in refusal(legacy(tensor(persistent(count=2**40))))


def test_keys_that_would_take_forever_to_compare_are_refused():
    def nested(memo: int) -> bytes:
        """((...), (...)) nested 60 deep; both halves are the same object."""
        levels = (bytes([0x68, memo + i, 0x86, 0x71, memo + i + 1]) for i in range(60))
        return bytes([0x29, 0x71, memo]) + b"".join(levels)

    keys = b"\x80\x02](" + nested(0) + nested(100) + b"e."
    assert "list of storages" in refusal(legacy(b"]", keys))


def test_many_keys_of_one_archive_entry_take_no_more_memory_than_the_file():
    """A zip can list the same bytes under many names."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a/data/0", b"\0" * 40_000)
        for key in range(1, 50):
            entry = zipfile.ZipInfo(f"a/data/{key}")
            first = archive.infolist()[0]
            entry.CRC, entry.header_offset = first.CRC, first.header_offset
            entry.file_size = entry.compress_size = first.file_size
            archive.filelist.append(entry)
            archive.NameToInfo[entry.filename] = entry
        body = b"(" + b"".join(
            tensor(persistent(str(key), 10_000), size=(10_000,)) for key in range(50)
        )
        archive.writestr("a/data.pkl", b"\x80\x02" + body + b"t.")
    refusal(file.getvalue())


DAMAGE = {
    "an empty stack": (b"\x86", "damaged"),
    "nothing at the end": (b"", "damaged"),
    "no mark": (b"t", "damaged"),
    "a memo that is empty": (b"h\x07", "damaged"),
    "items of a list": (b"]K\x01K\x02s", "items of a non-dictionary"),
    "items in odd number": (b"}(K\x01u", "or without values"),
    "appending to a dictionary": (b"}K\x01a", "something that is not a list"),
    "a tuple as a key": (b"})K\x01s", "a key of type tuple"),
    "calling a number": (b"K\x01)R", "not a function"),
    "calling with a list": (b"ccollections\nOrderedDict\n]R", "call are not a tuple"),
    "a type called": (b"ctorch\nFloatStorage\n)R", "not a function"),
    "a tensor of numbers": (
        b"ctorch._utils\n_rebuild_tensor_v2\n(K\x01K\x00)K\x00\x89NtR", "a tensor is malformed"
    ),
    "a parameter of numbers": (
        b"ctorch._utils\n_rebuild_parameter\n(K\x01\x89NtR", "a parameter is not a tensor"
    ),
    "attributes of a number": (b"K\x01}b", "attributes of something that has none"),
    "a name that is no text": (b"]]\x93", "a name is not text"),
    "a function as data": (b"ccollections\nOrderedDict\n", "a function in place of data"),
    "a list in itself": (b"]q\x00h\x00a", "nested deeper"),
    "deep lists": (b"]" * 100_000 + b"a" * 99_999, "nested deeper"),
    "deep tuples": (b")" + b"\x85" * 100_000, "nested deeper"),
    "deep tuples as a key": (b"})" + b"\x85" * 100_000 + b"K\x01s", "a key of type tuple"),
    "lists doubled 30 times": (
        b"]q\x00" + b"".join(
            b"](h" + bytes([level]) + b"h" + bytes([level]) + b"eq" + bytes([level + 1])
            for level in range(30)
        ),
        "holds more than 1048576 entries",
    ),
    "a memo index of four bytes": (b"]r\xff\xff\xff\xff0", "POP"),
    "too many steps": (b"(" + b"N" * (1 << 20) + b"t", "takes more than 1048576 steps"),
    "text longer than the file": (b"X\xff\xff\xff\xffa", "damaged"),
    "bytes longer than memory": (b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7fa", "damaged"),
    "text that is no UTF-8": (b"X\x01\x00\x00\x00\xff", "damaged"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "reason"), DAMAGE.values(), ids=DAMAGE)
def test_a_program_that_makes_no_sense_or_too_much_is_refused(body, reason):
    assert reason in refusal(program(body))


def test_pairs_of_an_old_ordered_dict_are_its_items():
    make, a, b = b"ccollections\nOrderedDict\n", b"X\x01\0\0\0a", b"X\x01\0\0\0b"
    pairs = b"](" + a + b"K\x01\x86" + b + b"K\x02\x86e"
    assert read_torch(program(make + pairs + b"\x85R"), "a.pth") == {"a": 1, "b": 2}
    refusal(program(make + b"](" + a + b"K\x01K\x02\x87e\x85R"))
    assert "a key of type tuple" in refusal(program(make + b"])K\x01\x86a\x85R"))
    assert "made of something that is not a list" in refusal(program(make + b")\x85R"))


def test_pairs_that_are_named_again_are_not_copied_again():
    """Otherwise each copy of a long list, named in a few bytes, would take memory."""
    make, pair = b"ccollections\nOrderedDict\n", b"X\x01\0\0\0aK\x01\x86"
    again = make + b"h\x00\x85R"
    body = b"](" + make + b"]q\x00" + pair + b"a\x85R" + again * 2 + b"e"
    assert read_torch(program(body), "a.pth") == [{"a": 1}, {}, {}]
