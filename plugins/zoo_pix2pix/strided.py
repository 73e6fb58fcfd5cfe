"""The 4 x 4 convolutions of stride 2 that downsample and upsample in the U-Net.

For a few pixels on a CPU they are computed as matrix products. There torch's convolutions spend
most of their time reordering weights and their gradients in memory, as much for 4 pixels as for
4,000: the deep half of a U-Net takes three times as long with them (docs/log.md).
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import linear, pad

from zoo_core.nn import traced

LEAST_MAPS = 512  # (input maps x output maps) per pixel, from which a product is faster


class HalvingConv2d(nn.Conv2d):
    """[N, in, H, W] to [N, out, H // 2, W // 2], with zero padding."""

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool = True):
        super().__init__(in_channels, out_channels, 4, 2, 1, bias=bias)

    def forward(self, images: Tensor) -> Tensor:
        """Convolve, without activation."""
        count, _, height, width = images.shape
        size = height // 2, width // 2
        if not _worth_a_product(images, count * size[0] * size[1], self.weight):
            return super().forward(images)
        padded = pad(images.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
        patches = padded.unfold(1, 4, 2).unfold(2, 4, 2)  # [N, H // 2, W // 2, in, 4, 4]
        rows = patches.permute(0, 1, 2, 4, 5, 3).flatten(3)
        return linear(rows, _matrix(self.weight), self.bias).permute(0, 3, 1, 2)


class DoublingConv2d(nn.ConvTranspose2d):
    """[N, in, H, W] to [N, out, 2 H, 2 W]: the adjoint of `HalvingConv2d`."""

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool = True):
        super().__init__(in_channels, out_channels, 4, 2, 1, bias=bias)

    def forward(self, images: Tensor) -> Tensor:
        """Transposed convolution, without activation."""
        count, _, height, width = images.shape
        if not _worth_a_product(images, count * height * width, self.weight):
            return super().forward(images)
        rows = images.permute(0, 2, 3, 1)
        # Rows and columns of a kernel form pairs; pair 1 of a pixel overlaps pair 0 of the next.
        kernels = linear(rows, _matrix(self.weight).t()).unflatten(3, (2, 2, 2, 2, -1))
        pairs = kernels.new_zeros(count, height + 1, 2, width + 1, 2, kernels.shape[-1])
        for row in range(2):
            for column in range(2):
                part = kernels[:, :, :, row, :, column].transpose(2, 3)
                pairs[:, row : row + height, :, column : column + width] += part
        doubled = pairs.flatten(1, 2).flatten(2, 3)[:, 1:-1, 1:-1].contiguous()
        if self.bias is not None:
            doubled = doubled + self.bias.to(doubled.dtype)
        return doubled.permute(0, 3, 1, 2)


def _worth_a_product(images: Tensor, rows: int, weight: Tensor) -> bool:
    """Whether there are so few pixels that reordering the weight dominates the time."""
    if traced():  # the number of images is not known
        return False
    return images.device.type == "cpu" and rows * LEAST_MAPS <= weight.shape[0] * weight.shape[1]


def _matrix(weight: Tensor) -> Tensor:
    """[A, B, 4, 4] to [A, 16 B]; no copy if the weight is in channels-last order."""
    return weight.permute(0, 2, 3, 1).flatten(1)
