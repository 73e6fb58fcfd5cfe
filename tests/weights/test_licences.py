"""Which licences weights are published under, and what the hub's model cards call them."""

import pytest

from zoo_core.errors import InputError
from zoo_core.weights.licences import HUB, check_licence, front_matter, is_known


@pytest.mark.parametrize(
    ("licence", "said"),
    [
        ("CC0-1.0", {"license": "cc0-1.0"}),
        ("GPL-3.0-or-later", {"license": "gpl-3.0"}),
        ("ODbL-1.0", {"license": "odbl"}),
        ("LGPL-3.0-or-later AND MIT", {"license": ["lgpl-3.0", "mit"]}),
        ("LicenseRef-My-Terms", {"license": "other", "license_name": "my-terms"}),
        ("MIT AND LicenseRef-X", {"license": "other", "license_name": "mit and x"}),
    ],
)
def test_a_licence_has_the_hubs_name(licence, said):
    check_licence(licence)
    assert front_matter(licence) == said


@pytest.mark.parametrize(
    "licence",
    [
        "",
        "CC-BY",
        "cc0-1.0",
        "mine",
        "MIT OR Apache-2.0",
        "MIT AND",
        "LicenseRef-",
        "LicenseRef-a b",
    ],
)
def test_what_the_hub_has_no_name_for_is_refused(licence):
    with pytest.raises(InputError, match="cannot be published under this licence"):
        check_licence(licence)


def test_the_nearest_licences_are_named():
    with pytest.raises(InputError, match="nearest: CC-BY-4"):
        check_licence("CC-BY-4")


def test_the_hubs_own_words_for_no_licence_are_none():
    assert not {"unknown", "other"} & set(HUB.values())
    assert [is_known(each) for each in ("NOASSERTION", "Unknown", " ", "MIT")] == [0, 0, 0, 1]
