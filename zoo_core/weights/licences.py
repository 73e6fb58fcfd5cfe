"""Licences under which weights can be published, and what the Hugging Face hub calls them.

A licence is an SPDX identifier, several joined by " AND ", or `LicenseRef-NAME` for a text of one's
own. The hub's names are those of https://huggingface.co/docs/hub/repositories-licenses.
"""

from __future__ import annotations

from typing import Any

from zoo_core.errors import InputError, nearest

OWN = "LicenseRef-"
OWN_PICTURES = "LicenseRef-own-pictures"  # what runs on one's own images record
UNKNOWN = frozenset({"", "unknown", "noassertion", "none", "other"})  # in lower case

_AS_SPDX = (  # the hub's name is the identifier in lower case
    "AFL-3.0", "Apache-2.0", "Artistic-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSD-3-Clause-Clear",
    "BSL-1.0", "CC0-1.0", "CC-BY-2.0", "CC-BY-2.5", "CC-BY-3.0", "CC-BY-4.0", "CC-BY-NC-2.0",
    "CC-BY-NC-3.0", "CC-BY-NC-4.0", "CC-BY-NC-ND-3.0", "CC-BY-NC-ND-4.0", "CC-BY-NC-SA-2.0",
    "CC-BY-NC-SA-3.0", "CC-BY-NC-SA-4.0", "CC-BY-ND-4.0", "CC-BY-SA-3.0", "CC-BY-SA-4.0",
    "CDLA-Permissive-1.0", "CDLA-Permissive-2.0", "CDLA-Sharing-1.0", "ECL-2.0", "EPL-1.0",
    "EPL-2.0", "etalab-2.0", "EUPL-1.1", "ISC", "LPPL-1.3c", "MIT", "MPL-2.0", "MS-PL", "NCSA",
    "OFL-1.1", "OSL-3.0", "PostgreSQL", "Unlicense", "WTFPL", "Zlib",
)  # fmt: skip
_GNU = ("AGPL-3.0", "GPL-2.0", "GPL-3.0", "LGPL-2.1", "LGPL-3.0")
HUB = {
    **{name: name.lower() for name in _AS_SPDX},
    **{f"{name}-{which}": name.lower() for name in _GNU for which in ("only", "or-later")},
    "C-UDA-1.0": "c-uda",
    "LGPLLR": "lgpl-lr",
    "ODbL-1.0": "odbl",
    "ODC-By-1.0": "odc-by",
    "PDDL-1.0": "pddl",
}


def is_known(licence: str) -> bool:
    """Whether somebody has said what the licence is."""
    return licence.strip().lower() not in UNKNOWN


def check_licence(licence: str) -> None:
    """Raise InputError unless weights can be published under this licence."""
    for name in licence.split(" AND "):
        is_own = name.startswith(OWN) and name.removeprefix(OWN).replace("-", "").isalnum()
        if name not in HUB and not is_own:
            raise InputError(
                "weights cannot be published under this licence",
                given=licence[:80],
                allowed="an SPDX identifier that the Hugging Face hub knows, or LicenseRef-NAME",
                near=nearest(name, HUB),
            )


def front_matter(licence: str) -> dict[str, Any]:
    """What a model card says of a licence that was checked, in the hub's words."""
    names = licence.split(" AND ")
    known = [HUB[name] for name in names if name in HUB]
    if len(known) < len(names):
        return {"license": "other", "license_name": licence.replace(OWN, "").lower()}
    return {"license": known[0] if len(known) == 1 else known}
