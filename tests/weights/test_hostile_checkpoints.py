"""Hostile checkpoints: importing one opens no socket, starts no process, imports no module, runs
nothing in the file, and takes no more memory and time than a file of that size may.
"""

import copy
import io
import re
import struct
import subprocess
import sys
import warnings
import zipfile

import pytest
import torch
from pickled import Call, Raw, modules, pickled, storage_bytes, written
from toy_importer import importing_plugins
from toys import ToyGenerator, resolved

from zoo_core.errors import InputError, WeightsError
from zoo_core.weights.importing import import_weights
from zoo_core.weights.inert import Record, read_inert

LOAD = "torch.storage._load_from_bytes"
PERSISTENT = "torch_utils.persistence._reconstruct_persistent_obj"
RUIN = "touch ruined"
SOURCE = "import os\nos.system('touch ruined')\nclass Network: pass\n"


def call(name, *arguments):
    return Call(name, arguments)


def made(name, *arguments, state=None):
    return Call(name, arguments, state, makes=True)


def op(code):
    return Raw(code)


def persistent(**about):
    return call(PERSISTENT, about)


def legacy_file(program, tail=None):
    """A legacy file of torch.save whose data is this program, before the keys of no storages."""
    header = io.BytesIO()
    torch.save([], header, _use_new_zipfile_serialization=False)
    data = header.getvalue()
    return data[: data.index(b"]q")] + program + b"." + (tail or pickled([])[2:])


NOTHING = b"ccollections\nOrderedDict\n)R"
RUNS = {  # values that would run something if they were unpickled
    "os.system": call("os.system", RUIN),
    "posix.system": call("posix.system", RUIN),
    "eval": call("builtins.eval", "__import__('os').system('touch ruined')"),
    "exec": call("builtins.exec", SOURCE),
    "compile": call("builtins.compile", SOURCE, "x", "exec"),
    "__import__": call("builtins.__import__", "antigravity"),
    "importlib": call("importlib.import_module", "antigravity"),
    "a process": call("subprocess.Popen", RUIN, 0, None, None, None, None, None, True),
    "a process made": made("subprocess.Popen", RUIN),
    "check_output": call("subprocess.check_output", ["touch", "ruined"]),
    "pty": call("pty.spawn", "sh"),
    "runpy": call("runpy.run_path", "x.py"),
    "a socket": call("socket.create_connection", ("127.0.0.1", 9)),
    "a URL": call("urllib.request.urlopen", "http://127.0.0.1:9/"),
    "torch.hub": call("torch.hub.load", "a/b", "c"),
    "torch.load": call("torch.load", "x.pth"),
    "a nested pickle": call("pickle.loads", pickled(call("os.system", RUIN))),
    "a nested pickle of torch": call(LOAD, pickled(call("os.system", RUIN))),
    "a nested legacy file": call(LOAD, legacy_file(written(call("os.system", RUIN)))),
    "a nested module": call(LOAD, legacy_file(written(made("os.X")))),
    "numpy": call("numpy.load", "x.npy", None, True),
    "a writer of files": call("pathlib.Path.write_text", "ruined", "x"),
    "open": call("builtins.open", "ruined", "w"),
    "removal": call("shutil.rmtree", "."),
    "ctypes": call("ctypes.CDLL", "libc.so.6"),
    "getattr": call("builtins.getattr", call("builtins.__import__", "os"), "system"),
    "a call of a result": op(written(call("operator.add", 1)) + b")R"),
    "partial": call("functools.partial", call("os.system", RUIN)),
    "a dotted name": op(b"\x8c\x05torch\x8c\x0bhub.os.path\x93)R"),
    "a private name of this module": op(b"c__main__\nruin\n)R"),
    "a state of a class": op(b"cos\nenviron\n" + written({"PATH": ""}) + b"b"),
    "a state of an object": made("a.B", state={"__class__": "os.X", "__reduce__": RUIN}),
    "items of an object": op(b"cos\nenviron\n)\x81(" + written("PATH") + written("") + b"u"),
    "values of an object": op(b"csys\npath\n)\x81(" + written("/tmp") + b"e"),
    "an object with named arguments": op(b"cos\nX\n)" + written({"a": RUIN}) + b"\x92"),
    "source": persistent(type="class", version=6, module_src=SOURCE, class_name="N", state={}),
    "source of a generator": persistent(module_src=SOURCE, state={"_modules": {}}),
    "source without state": persistent(module_src=SOURCE, class_name="N"),
    "an extension": op(b"\x82\x01"),
    "INST": op(b"(" + written(RUIN) + b"ios\nsystem\n"),
    "OBJ": op(b"(cos\nsystem\n" + written(RUIN) + b"o"),
    "a persistent name": op(b"Pruin\n"),
    "a storage of code": op(written(("storage", RUIN, "0", "cpu", 1)) + b"Q"),
    "a buffer outside": op(b"\x97"),
    "text as a number": op(b"I__import__('os')\n"),
    "text of old protocols": op(b"S'\\x61'\n"),
    "a class as a key": op(b"}" + b"cos\nsystem\n" + b"K\x01s"),
    "control codes": call("os.\x1b[31mred", 1),
}  # fmt: skip


def itself(levels):
    """Modules that hold each the one before twice: 2 ** levels of them. What is below stays on the
    stack.
    """
    body = b"ca\nB\n)\x81" + written({"_modules": {}}) + b"b\x94"
    for level in range(levels):
        get = b"h" + bytes([level])
        inner = b"}(" + written("a") + get + written("b") + get + b"u"
        body += b"ca\nB\n)\x81}" + written("_modules") + inner + b"sb\x94"
    return op(body)


def again(count):
    """The same bytes of a storage, read many times."""
    read = b"ctorch.storage\n_load_from_bytes\nh\x00\x85R"
    return op(written(storage_bytes(torch.ones(1 << 12))) + b"\x94(" + read * count + b"t")


def many(count):
    """A dictionary that holds another many times, three levels deep."""
    body = b"}\x94"
    for number in range(3):
        get = b"h" + bytes([number])
        items = b"".join(written(str(key)) + get for key in range(count))
        body += b"}(" + items + b"u\x94"
    return op(body)


def slow(steps):
    """A nested file of a storage without numbers, after many steps for nothing."""
    nothing = b"(" + b"N" * steps + b"t"
    stored = ("storage", Raw(b"ctorch\nFloatStorage\n"), "0", "cpu", 0)
    tail = b"\x80\x02" + written(["0"]) + b"." + struct.pack("<q", 0)
    return call(LOAD, legacy_file(nothing + written(stored) + b"Q", tail))


TAKES = {  # values that would take memory, time or the stack
    "deep lists": op(b"]" * 200_000 + b"a" * 199_999),
    "deep tuples": op(b")" + b"\x85" * 200_000),
    "deep tuples as a key": op(b"})" + b"\x85" * 500_000 + b"K\x01s"),
    "a list as a key": op(b"}]K\x01s"),
    "deep objects": op(b"ca\nB\n" * 50_000 + b")" + b"\x81\x85" * 50_000),
    "a list in itself": op(b"]\x94h\x00a"),
    "a dictionary in itself": op(b"}\x94" + written("a") + b"h\x00s"),
    "a module in itself": op(
        b"ca\nB\n)\x81\x94}" + written("_modules") + b"}" + written("a") + b"h\x00ssb"
    ),
    "a module that is its own list": op(
        b"ca\nB\n)\x81}\x94" + written("_modules") + b"h\x00sb"
    ),
    "modules doubled 40 times": itself(40),
    "dictionaries of dictionaries": many(200),
    "a storage read again and again": again(500),
    "a tensor of 2**60 numbers": Call(
        "torch._utils._rebuild_tensor_v2",
        (
            call(LOAD, storage_bytes(torch.ones(1))),
            0, (1 << 60,), (0,), False, call("collections.OrderedDict"),
        ),
    ),
    "a storage that is a list": call(LOAD, [1]),
    "a storage that is a tensor": call(
        LOAD, legacy_file(written([]))
    ),
    "text longer than the file": op(b"X\xff\xff\xff\x7fa"),
    "bytes longer than memory": op(b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7fa"),
    "a number of a million digits": op(b"\x8b" + struct.pack("<I", 1 << 20) + b"\x7f" * (1 << 20)),
    "an attribute of a million digits": made(
        "a.B", state={"_modules": {}, "x": op(b"\x8b\x00\x00\x02\x00" + b"\x7f" * (1 << 17))}
    ),
    "too many steps": op(b"(" + b"N" * (1 << 20) + b"l"),
    "too many steps in nested files": (slow(400_000), slow(400_000), slow(400_000)),
    "a storage outside of the pickle": op(
        written(("storage", Raw(b"ctorch\nFloatStorage\n"), "0", "cpu", 4)) + b"Q"
    ),
    "a set of itself": op(b"\x8f\x94(h\x00\x90"),
    "an empty stack": op(b"\x85"),
    "a memo that is empty": op(b"h\x07"),
    "no mark": op(b"e"),
    "names that are no text": op(b"]]\x93"),
    "an object of no class": op(b"K\x01)\x81"),
    "arguments that are no tuple": op(b"ca\nB\n]\x81"),
    "a tensor of nothing": call("torch._utils._rebuild_tensor_v2", 1, 2, (3,), (4,), False, None),
    "a tensor of torch 0.3 of nothing": call("torch._utils._rebuild_tensor", 1, 2, (3,), (4,)),
    "a parameter of nothing": call("torch._utils._rebuild_parameter", 1, True, None),
    "modules that are no dictionary": made("a.B", state={"_modules": [1], "_parameters": 7}),
    "buffers that are no set": made(
        "a.B", state={"_modules": {}, "_non_persistent_buffers_set": made("c.D", 5)}
    ),
}  # fmt: skip
SET = b"cbuiltins\nset\n"
VIEWS = {  # offset, size and stride of a tensor in a storage of four numbers
    "a size below zero": (0, (-1,), (1,)),
    "a stride below zero": (3, (4,), (-1,)),
    "an offset below zero": (-1, (4,), (1,)),
    "an offset too far": (1, (4,), (1,)),
    "a stride too far": (0, (2,), (1 << 62,)),
    "more numbers than 64 bits count": (0, (1 << 32, 1 << 32), (0, 0)),
    "no numbers in a huge shape": (0, (0, 1 << 62, 1 << 62), (1, 1, 1)),
    "too many dimensions": (0, (1,) * 17, (1,) * 17),
    "a size without stride": (0, (1, 1), (1,)),
    "a size that is a float": (0, (1.0,), (1,)),
}


def view(offset, size, stride, hooks=NOTHING):
    storage = call(LOAD, storage_bytes(torch.ones(4)))
    return call("torch._utils._rebuild_tensor_v2", storage, offset, size, stride, False, op(hooks))


LIES = {  # values that are not what they should be
    **{name: {"w.x": view(*about)} for name, about in VIEWS.items()},
    "hooks of a tensor": [view(0, (-1,), (1,), written(call("os.system", RUIN)))],
    "a tensor of version 3": call("torch._utils._rebuild_tensor_v3", 1, 0, (1,), (1,), False, {}),
    "a tensor of a subclass": call("torch._tensor._rebuild_from_type_v2", op(SET), 1, (), {}),
    "a parameter with state": call("torch._utils._rebuild_parameter_with_state", 1, True, {}, {}),
    "a storage of another type": op(
        written(("storage", Raw(b"ctorch\nComplexFloatStorage\n"), "0", "cpu", 1)) + b"Q"
    ),
    "a persistent module": op(written(("module", "a", 1)) + b"Q"),
    "an extension of two bytes": op(b"\x83\x01\x01"),
    "an extension of four bytes": op(b"\x84\x01\0\0\0"),
    "a set of nothing": op(SET + b"(NtR(N\x90"),
    "a set of text": op(SET + b"(" + written("abc") + b"tR(N\x90"),
    "a set without a list": op(SET + b")R(N\x90"),
    "a frozen set": op(b"(N\x91"),
    "a number of less than no bytes": op(b"\x8b\xff\xff\xff\xff"),
    "a frame longer than the file": op(b"\x95" + b"\xff" * 7 + b"\x7fN"),
    "text with half a character": op(b"X\x03\0\0\0\xed\xa0\x80"),
    "a key of the memo that is huge": op(b"Nr\xff\xff\xff\xff"),
    "pairs that are none": call("collections.OrderedDict", [1, 2]),
    "a dictionary of itself": op(b"ccollections\nOrderedDict\n]\x94h\x00\x85R"),
    "marks": op(b"(" * 100_000 + b"N"),
    "two ends": op(b"N.N"),
}
HOSTILE = {**RUNS, **TAKES, **LIES}


def state():
    return {
        name.replace("stem.", "first."): value
        for name, value in ToyGenerator(resolved().config).state_dict().items()
    }


def zipped(program):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a/data.pkl", program)
    return file.getvalue()


def bring(data, tmp_path):
    """Import into `out`; the error if there is one."""
    file = tmp_path / "file.pkl"
    file.write_bytes(data)
    try:
        import_weights(file, tmp_path / "out", licence="unknown", plugins=importing_plugins())
    except (WeightsError, InputError) as error:
        return error
    return None


def test_there_are_many_kinds():
    assert len(RUNS) >= 40
    assert len(HOSTILE) >= 100


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("wrap", [lambda p: p, zipped], ids=["pickle", "zip"])
def test_alone_it_is_refused_in_a_line(wrap, value, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    error = bring(wrap(pickled(value)), tmp_path)
    assert isinstance(error, WeightsError)
    assert str(error).startswith(f"{tmp_path}/file.pkl ")
    assert str(error).isprintable()
    assert len(str(error)) < 400
    assert [path.name for path in tmp_path.iterdir()] == ["file.pkl"]


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
def test_beside_a_network_it_is_refused_or_ignored(value, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    error = bring(pickled({"extra": value, "G_ema": modules(state(), persistent=True)}), tmp_path)
    there = sorted(path.name for path in tmp_path.iterdir())
    assert there == (["file.pkl"] if error else ["file.pkl", "out"])


REASONS = {
    "a storage read again and again": "storages are larger than the file",
    "modules doubled 40 times": "has more than 1048576 entries, or contains itself",
    "dictionaries of dictionaries": "has more than 1048576 entries, or contains itself",
    "a module in itself": "has modules nested deeper than 64 levels",
    "a dictionary in itself": "holds no tensors",
    "too many steps": "takes more than 1048576 steps",
    "too many steps in nested files": "takes more than 1048576 steps",
    "a storage outside of the pickle": "refers to a storage where there is none",
    "a nested legacy file": "wants to run os.system, but nothing",
    "a nested pickle of torch": "wants to run os.system, but nothing",
    "a nested module": "wants to run os.X, but nothing",
    "an attribute of a million digits": "holds no tensors",
    "a list as a key": "holds no tensors",
    "deep tuples as a key": "holds no tensors",
    "a class as a key": "holds no tensors",
    "os.system": "holds no tensors",
    "a call of a result": "calls something that is not a function",
    "an object of no class": "makes an object of something that is not a class",
    "a storage of code": "refers to something other than a storage",
    "INST": "uses the pickle operation INST 'os system', which no tensor needs",
    "a storage of another type": "not read: torch.ComplexFloatStorage",
    "a stride too far": "a tensor reaches beyond its storage",
    "a buffer outside": "uses the pickle operation NEXT_BUFFER",
}


@pytest.mark.parametrize(("name", "reason"), REASONS.items(), ids=REASONS)
def test_the_reason_is_the_one_that_is_meant(name, reason, tmp_path):
    assert reason in str(bring(pickled(HOSTILE[name]), tmp_path))


ARCHIVE = io.BytesIO()
torch.save({"a.w": torch.ones(8)}, ARCHIVE)
with zipfile.ZipFile(ARCHIVE) as plain:
    ENTRIES = {entry.filename: plain.read(entry) for entry in plain.infolist()}
FOLDER = min(ENTRIES, key=len).partition("/")[0]
DATA, PROGRAM = f"{FOLDER}/data/0", f"{FOLDER}/data.pkl"


def archive(*more, drop=(), method=zipfile.ZIP_STORED, **changes):
    """The archive with other entries; DATA's is called `data`."""
    found = {**ENTRIES, **{DATA: changes.get("data", ENTRIES[DATA])}}
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as made, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a name is there twice
        for name, data in [*found.items(), *more]:
            if name not in drop:
                made.writestr(name, data)
    return file.getvalue()


def patched(at, data, before=b"PK\x01\x02"):
    """The archive with other bytes at a position in the directory entry of each file."""
    made = bytearray(archive())
    where = made.find(before)
    while where >= 0:
        made[where + at : where + at + len(data)] = data
        where = made.find(before, where + 4)
    return bytes(made)


def link():
    entry = zipfile.ZipInfo(DATA)
    entry.external_attr = 0o120777 << 16
    return archive((entry, b"/etc/passwd "), drop=(DATA,))


def overlapping(count):
    """Storages that are the same bytes of the file."""
    made = Raw(b"ctorch\nFloatStorage\n")
    stored = [Raw(written(("storage", made, f"{n}", "cpu", 1 << 16)) + b"Q") for n in range(count)]
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as together:
        together.writestr("x/data.pkl", pickled(stored))
        together.writestr("x/data/0", bytes(1 << 18))
        for number in range(1, count):
            other = copy.copy(together.getinfo("x/data/0"))
            other.filename = f"x/data/{number}"
            together.filelist.append(other)
    return file.getvalue()


ARCHIVES = {
    "a bomb": (archive(data=bytes(1 << 24), method=zipfile.ZIP_DEFLATED), "compressed entries"),
    "another checksum": (
        archive().replace(torch.ones(8).numpy().tobytes(), bytes(32), 1), "Bad CRC-32"
    ),
    "an entry twice": (archive((DATA, b"x" * 32)), "not from torch.save"),
    "a program twice": (archive((PROGRAM, b"\x80\x02N.")), "not from torch.save"),
    "two programs": (archive(("other/data.pkl", b"\x80\x02N.")), "not from torch.save"),
    "no storage": (archive(drop=(DATA,)), "is damaged"),
    "a storage too short": (archive(data=b"abc"), "is damaged: buffer length"),
    "a storage too long": (archive(data=bytes(400)), "wrong dtype or size"),
    "an encrypted file": (patched(8, b"\x01"), "is damaged"),
    "sizes that lie": (patched(20, b"\xff\xff\xff\x7f" * 2), "is damaged"),
    "sizes of 64 bits that are missing": (patched(20, b"\xff" * 8), "is damaged"),
    "an offset outside": (patched(42, b"\0\0\0\x40"), "is damaged"),
    "a link": (link(), "is damaged: buffer length|wrong dtype or size"),
    "the same bytes many times": (overlapping(16), "storages are larger than the file"),
}  # fmt: skip


@pytest.mark.parametrize(("data", "reason"), ARCHIVES.values(), ids=ARCHIVES)
def test_an_archive_that_lies_is_refused_in_a_line(data, reason, tmp_path):
    error = bring(data, tmp_path)
    assert isinstance(error, WeightsError)
    assert re.search(reason, str(error))
    assert [path.name for path in tmp_path.iterdir()] == ["file.pkl"]


def test_source_is_not_kept():
    tree = read_inert(pickled(modules(state(), True, SOURCE)), "a.pkl")
    seen, waiting = [], [tree]
    while waiting:
        value = waiting.pop()
        seen.append(value)
        if isinstance(value, Record):
            waiting += [*value.arguments, value.state, value.items, value.name]
        elif isinstance(value, dict):
            waiting += [*value, *value.values()]
    assert any(isinstance(value, torch.Tensor) for value in seen)
    assert not any(isinstance(value, str) and "os.system" in value for value in seen)


def test_a_changed_byte_is_an_error_or_another_file_but_never_a_crash(tmp_path):
    data = pickled({"G_ema": modules({"a": torch.ones(2), "b.c": torch.ones(1)}, True)})
    for position in range(0, len(data), 3):
        for flip in (1, 0x80, 0xFF):
            changed = bytearray(data)
            changed[position] ^= flip
            assert isinstance(bring(bytes(changed), tmp_path), WeightsError | InputError)


def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path):
    data = pickled({"G_ema": modules(state(), persistent=True)})
    assert bring(data, tmp_path) is None
    for end in range(0, len(data), 251):
        assert isinstance(bring(data[:end], tmp_path), InputError | WeightsError)


WATCH = """
import sys
from pathlib import Path
BAD = ("import", "exec", "compile", "os.", "subprocess.", "socket.", "ctypes.", "pickle.", "pty.")
FINE = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.scandir", "os.listdir")
events, opened = set(), set()
def watch(event, arguments):
    if not watching or event == "sys._getframe":
        return
    if event in ("compile", "exec"):  # msgspec compiles the annotations of our own records
        frame = sys._getframe(1)
        while frame is not None:
            if frame.f_globals["__name__"].startswith("msgspec"):
                return
            frame = frame.f_back
    if event.startswith(BAD) and not event.startswith(FINE):
        events.add(f"{event} {arguments!r}"[:200])
    if event == "open" and str(arguments[0]) not in sys.path:  # searched for our own version
        opened.add(str(arguments[0]))
watching = False
sys.addaudithook(watch)
sys.path[:0] = TESTS
from toy_importer import importing_plugins
from zoo_core.errors import ZooError
from zoo_core.weights.importing import import_weights
plugins = importing_plugins()
count = 0
for number, path in enumerate(sys.argv[1:]):
    watching = number > 1  # libraries load modules on first use: for a file, and for an error
    try:
        import_weights(path, f"out/{number}", licence="unknown", plugins=plugins)
        count += 1
    except ZooError:
        pass
    watching = False
written = ("out", str(Path("out").resolve()))  # older versions of Pillow open a whole path
other = {path for path in opened if path not in sys.argv and not path.startswith(written)}
print(count, sorted(events), sorted(path for path in other if Path(path).name != "METADATA"))
"""


def test_python_notices_nothing_but_the_reading_and_writing_of_files(tmp_path):
    good = modules(state(), True, SOURCE)
    files = [
        pickled({"G_ema": good}),
        pickled({"unknown": 1}),
        pickled({"G_ema": good}),
        *(pickled(value) for value in HOSTILE.values()),
        *(pickled({"extra": value, "G_ema": good}) for value in HOSTILE.values()),
    ]
    names = []
    for number, data in enumerate(files):
        names.append(f"{number}.pkl")
        (tmp_path / names[-1]).write_bytes(data)
    tests = [path for path in sys.path if path.endswith("tests")]
    done = subprocess.run(
        [sys.executable, "-c", f"TESTS = {tests!r}\n{WATCH}", *names],
        capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    count, rest = done.stdout.split(" ", 1)
    assert int(count) > 40  # most are ignored beside a good network
    assert rest == "[] []\n"
    assert not (tmp_path / "ruined").exists()
