import inspect
import re
from multiprocessing.reduction import ForkingPickler

import pytest

from zoo_core import errors
from zoo_core.errors import UnknownNameError, ZooError, nearest

CLASSES = {
    name: cls
    for name, cls in inspect.getmembers(errors, inspect.isclass)
    if issubclass(cls, ZooError)
}
LINE = re.compile(r"^ {4}([ │├└─]*)(\w+) +(\d+) {3}\S", re.MULTILINE)  # branch, class, exit code
DRAWN = [(len(branch) // 4, name, int(code)) for branch, name, code in LINE.findall(errors.__doc__)]


def drawn_parents():
    """Class name -> name of its parent in the drawn tree."""
    parents, path = {}, []
    for depth, name, _ in DRAWN:
        path[depth:] = [name]
        parents[name] = path[depth - 1] if depth else "Exception"
    return parents


def test_the_drawn_tree_shows_every_error():
    assert sorted(name for _, name, _ in DRAWN) == sorted(CLASSES)


def test_the_drawn_exit_codes_are_those_of_the_classes():
    assert {name: code for _, name, code in DRAWN} == {
        name: cls.exit_code for name, cls in CLASSES.items()
    }


def test_the_drawn_branches_are_the_inheritance():
    assert drawn_parents() == {name: cls.__base__.__name__ for name, cls in CLASSES.items()}


MADE_OTHERWISE = {
    "PictureError": ("a.png", "too small"),
    "UnknownNameError": ("model", "dcgam", ["dcgan"]),
}


@pytest.mark.parametrize("cls", CLASSES.values())
def test_an_error_arrives_whole_in_another_process(cls):
    """One that cannot be unpickled hangs a pool of processes."""
    error = cls(*MADE_OTHERWISE.get(cls.__name__, ["it broke"]))
    error.hint = "zoo list"
    arrived = ForkingPickler.loads(ForkingPickler.dumps(error))
    assert type(arrived) is cls
    assert (str(arrived), vars(arrived)) == (str(error), vars(error))


@pytest.mark.parametrize("cls", CLASSES.values())
def test_no_error_is_a_key_error(cls):
    assert not issubclass(cls, KeyError)


def test_a_message_has_its_four_parts_on_one_line():
    error = ZooError("it\nbroke", given="a\n b", allowed="c", hint="zoo\tlist")
    assert str(error) == "it broke; given: a b; allowed: c; try: zoo list"


def test_a_message_leaves_out_what_is_not_known():
    assert str(ZooError("it broke")) == "it broke"


def test_a_given_zero_or_false_or_nothing_is_still_shown():
    assert str(ZooError("bad", given=0)) == "bad; given: 0"
    assert str(ZooError("bad", given=False)) == "bad; given: False"
    assert str(ZooError("bad", given="")) == "bad; given: ''"


def test_an_unknown_name_offers_the_nearest():
    error = UnknownNameError("model", "stilegan", ["pix2pix", "stylegan"], hint="zoo list")
    assert str(error) == ("no model is called 'stilegan'; nearest: stylegan; try: zoo list")


def test_an_unknown_name_with_nothing_near_offers_nothing():
    assert str(UnknownNameError("model", "qqqq", ["abc"])) == "no model is called 'qqqq'"


def test_nearest_puts_the_best_match_first():
    assert nearest("batch_sise", ["batch", "batch_size", "seed"])[0] == "batch_size"


def test_nearest_puts_first_what_only_a_tag_is_missing_from():
    known = ["dcgan.critters32", "gan.critters32"]
    assert nearest("DCGAN", known) == ["dcgan.critters32"]


def test_nearest_ignores_case_and_keeps_spelling():
    assert nearest("RESOLUTION", ["Resolution"]) == ["Resolution"]


def test_nearest_offers_at_most_the_limit():
    assert len(nearest("aaaa", ["aaab", "aaac", "aaad", "aaae"], limit=2)) == 2
