"""Saved images and grids are read back unchanged."""

import numpy as np
import pytest
from picture_files import noise

from zoo_core.data.decoding import decode
from zoo_core.data.saving import save_grid, save_png


def test_a_written_picture_is_read_back(tmp_path):
    for pixels in (noise(), noise()[:, :, 0], noise()[:, :, :1]):
        save_png(tmp_path / "a.png", pixels)
        assert np.array_equal(decode((tmp_path / "a.png").read_bytes(), "a"), pixels.squeeze())
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("channels", [1, 3])
def test_a_grid_is_filled_row_by_row_and_its_rest_is_white(tmp_path, channels):
    batch = np.random.default_rng(0).integers(0, 250, (5, channels, 4, 6), dtype=np.uint8)
    save_grid(tmp_path / "grid.png", batch, columns=3)
    sheet = decode((tmp_path / "grid.png").read_bytes(), "grid").reshape(8, 18, channels)
    for index, picture in enumerate(batch):
        top, left = 4 * (index // 3), 6 * (index % 3)
        cell = sheet[top : top + 4, left : left + 6]
        assert np.array_equal(cell.transpose(2, 0, 1), picture)
    assert sheet[4:, 12:].min() == 255
