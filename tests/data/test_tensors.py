"""Images in files to one tensor, and back."""

import logging
import zipfile

import numpy as np
import pytest
import torch
from picture_files import noise, png
from PIL import Image

import zoo_core as zoo
from zoo_core.data.batches import to_uint8
from zoo_core.data.decoding import decode, fit
from zoo_core.data.files import PictureFiles
from zoo_core.data.packing import pack
from zoo_core.errors import DataError, InputError, PictureError
from zoo_core.runtime import Runtime

CPU = Runtime(torch.device("cpu"), torch.float32, torch.channels_last)


@pytest.fixture
def photos(tmp_path):
    """A folder of three noisy images of 6 x 4 pixels."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(3):
        (folder / f"{seed}.png").write_bytes(png(noise(seed=seed)))
    return folder


def levels(*seeds):
    return np.stack([noise(seed=seed).transpose(2, 0, 1) for seed in seeds])


def one_line(kind, call, *arguments, **options):
    """The message of the error that a call raises."""
    with pytest.raises(kind) as error:
        call(*arguments, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_folder_is_read_in_the_order_of_its_paths(photos):
    images = zoo.read_pictures(photos)
    assert (images.dtype, images.shape) == (torch.float32, (3, 3, 6, 4))
    assert np.array_equal(to_uint8(images), levels(0, 1, 2))


def test_the_values_are_those_of_training(photos):
    packed = pack(PictureFiles(photos), 8, 3)
    batch = torch.from_numpy(np.array(packed.images)).permute(0, 3, 1, 2)
    assert torch.equal(zoo.read_pictures(photos, resolution=8), CPU.place_images(batch))


def test_files_folders_and_lists_are_read_in_the_order_given(photos):
    every = [photos / "0.png", photos / "1.png"]
    images = zoo.read_pictures(str(photos / "2.png"), every, photos)
    assert np.array_equal(to_uint8(images), levels(2, 0, 1, 0, 1, 2))


def test_a_zip_file_is_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "some.zip", "w") as archive:
        archive.writestr("b.png", png(noise(seed=1)))
        archive.writestr("a.png", png(noise(seed=0)))
    assert np.array_equal(to_uint8(zoo.read_pictures(tmp_path / "some.zip")), levels(0, 1))


def test_the_home_folder_is_understood(photos, monkeypatch):
    monkeypatch.setenv("HOME", str(photos.parent))
    monkeypatch.setenv("USERPROFILE", str(photos.parent))
    assert len(zoo.read_pictures("~/photos")) == 3


@pytest.mark.parametrize("mode", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_fitted_to_a_resolution_as_in_training(photos, mode, channels):
    images = zoo.read_pictures(photos, resolution=8, channels=channels, fit=mode)
    expected = [fit(noise(seed=seed), 8, channels, mode) for seed in range(3)]
    assert np.array_equal(to_uint8(images), expected)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape", [(5, 5), (5, 5, 3)])
def test_without_a_resolution_channels_are_those_of_fit(tmp_path, channels, shape):
    (tmp_path / "x.png").write_bytes(png(np.random.default_rng(0).integers(0, 256, shape)))
    expected = fit(decode((tmp_path / "x.png").read_bytes(), "x"), 5, channels, "exact")
    assert np.array_equal(to_uint8(zoo.read_pictures(tmp_path, channels=channels))[0], expected)


def test_images_of_different_sizes_need_a_resolution(photos):
    (photos / "3.png").write_bytes(png(noise(9, 7)))
    text = one_line(InputError, zoo.read_pictures, photos)
    assert "0.png is 4 x 6, 3.png is 7 x 9" in text
    assert "resolution=4" in text
    assert zoo.read_pictures(photos, resolution=4).shape == (4, 3, 4, 4)


def test_after_one_of_another_size_no_more_images_are_read(photos, monkeypatch):
    (photos / "0.png").write_bytes(png(noise(9, 7)))
    for seed in range(3, 2000):
        (photos / f"{seed}.png").write_bytes(png(noise(seed=seed)))
    read = []
    original = PictureFiles.__getitem__
    monkeypatch.setattr(
        PictureFiles, "__getitem__", lambda self, i: (read.append(i), original(self, i))[1]
    )
    one_line(InputError, zoo.read_pictures, photos)
    assert len(read) < 2000


def test_an_image_that_cannot_be_read_is_named(photos):
    (photos / "1.png").write_bytes(b"nothing")
    assert "1.png" in one_line(PictureError, zoo.read_pictures, photos)


@pytest.mark.parametrize("folders", [("train", "val"), ("A", "B"), ("cats", "dogs")])
def test_all_images_of_a_folder_are_read_whatever_its_sub_folders_mean(tmp_path, folders):
    for seed, folder in enumerate(folders):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.png").write_bytes(png(noise(seed=seed)))
    assert np.array_equal(to_uint8(zoo.read_pictures(tmp_path)), levels(0, 1))


def test_what_is_not_read_is_a_warning(photos, caplog):
    (photos / "clip.mp4").write_bytes(b"")
    moving = [Image.new("RGB", (4, 6), color) for color in ("red", "blue")]
    moving[0].save(photos / "moving.gif", save_all=True, append_images=moving[1:])
    with caplog.at_level(logging.WARNING, "zoo"):
        assert len(zoo.read_pictures(photos)) == 4
    assert f"{photos}: left out 1 .mp4" in caplog.text
    assert "first frame" in caplog.text


@pytest.mark.parametrize(
    ("paths", "kind"),
    [((), InputError), (([],), InputError), (("missing",), DataError)],
)
def test_no_images_are_an_error(paths, kind):
    one_line(kind, zoo.read_pictures, *paths)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ({"resolution": 0}, "invalid resolution; given: 0"),
        ({"channels": 4}, "allowed: 1 or 3"),
        ({"fit": "squeeze"}, "allowed: crop, pad, stretch, exact"),
    ],
)
def test_an_invalid_option_is_refused_before_any_file_is_opened(option, said):
    assert said in one_line(InputError, zoo.read_pictures, "missing", **option)


@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_saved_is_read_again(tmp_path, channels):
    drawn = torch.randint(0, 256, (5, channels, 6, 4), dtype=torch.uint8)
    for images in (drawn, CPU.place_images(drawn)):
        zoo.save_pictures(images, tmp_path / "out")
        again = zoo.read_pictures(tmp_path / "out", channels=channels)
        assert np.array_equal(to_uint8(again), drawn.numpy())


def test_a_folder_gets_one_numbered_file_per_image(tmp_path):
    files = zoo.save_pictures(torch.zeros(3, 1, 4, 4), tmp_path / "new" / "v1.5")
    assert files == [tmp_path / "new" / "v1.5" / f"00000{n}.png" for n in range(3)]
    assert sorted((tmp_path / "new" / "v1.5").iterdir()) == files


def test_the_order_of_names_is_that_of_more_than_a_million_images(tmp_path, monkeypatch):
    monkeypatch.setattr("zoo_core.data.tensors.save_png", lambda file, pixels: None)
    many = torch.zeros(1, dtype=torch.uint8).expand(1_000_001, 1, 1, 1)
    files = zoo.save_pictures(many, tmp_path)
    assert files == sorted(files)


@pytest.mark.parametrize(("columns", "size"), [(None, (8, 6)), (1, (4, 12)), (5, (20, 3))])
def test_a_png_file_is_a_grid(tmp_path, columns, size):
    images = torch.zeros(4, 3, 3, 4)
    files = zoo.save_pictures(images, tmp_path / "grid.PNG", columns=columns)
    assert files == [tmp_path / "grid.PNG"]
    with Image.open(files[0]) as grid:
        assert grid.size == size


def test_one_image_without_a_batch_is_one_file(tmp_path):
    drawn = torch.randint(0, 256, (3, 6, 4), dtype=torch.uint8)
    zoo.save_pictures(drawn, str(tmp_path / "one.png"))
    assert np.array_equal(to_uint8(zoo.read_pictures(tmp_path / "one.png")), drawn[None].numpy())


def test_a_file_of_the_same_name_is_replaced_and_others_stay(tmp_path):
    zoo.save_pictures(torch.zeros(3, 1, 4, 4), tmp_path)
    zoo.save_pictures(torch.ones(2, 1, 4, 4), tmp_path)
    means = zoo.read_pictures(tmp_path).mean((1, 2, 3))
    assert (means > 0.5).tolist() == [True, True, False]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_every_float_type_is_saved(tmp_path, dtype):
    zoo.save_pictures(torch.ones(1, 1, 2, 2, dtype=dtype, requires_grad=True), tmp_path)
    assert zoo.read_pictures(tmp_path).eq(1).all()


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (np.zeros((1, 3, 4, 4), dtype=np.uint8), "ndarray"),
        (torch.zeros(4, 4), "[4, 4]"),
        (torch.zeros(()), "[]"),
        (torch.zeros(1, 2, 4, 4), "[1, 2, 4, 4]"),
        (torch.zeros(2, 4, 4, 3), "movedim(-1, -3)"),
        (torch.zeros(0, 3, 4, 4), "[0, 3, 4, 4]"),
        (torch.zeros(1, 3, 4, 4, dtype=torch.int64), "int64"),
        (torch.zeros(1, 3, 4, 4, dtype=torch.bool), "bool"),
        (torch.full((1, 3, 4, 4), 1.01), "to 1.01"),
        (torch.full((1, 3, 4, 4), 255.0), "torch.uint8"),
        (torch.full((1, 3, 4, 4), -2.0), "-2 to"),
        (torch.tensor([[[0.0, float("nan")]]]), "nan"),
    ],
)
def test_what_is_no_image_in_range_is_refused_before_anything_is_written(tmp_path, images, said):
    assert said in one_line(InputError, zoo.save_pictures, images, tmp_path / "new" / "x.png")
    assert list(tmp_path.iterdir()) == []


def test_values_that_round_to_a_level_are_in_range(tmp_path):
    images = torch.tensor([-1.003, 1.003]).view(1, 1, 1, 2)
    zoo.save_pictures(images, tmp_path)
    assert zoo.read_pictures(tmp_path, channels=1).flatten().tolist() == [-1, 1]


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".TIFF"])
def test_another_image_format_is_refused(tmp_path, suffix):
    text = one_line(InputError, zoo.save_pictures, torch.zeros(1, 1, 2, 2), tmp_path / f"x{suffix}")
    assert f"given: {suffix.lower()}; allowed: .png, or a folder" in text


@pytest.mark.parametrize(("name", "columns"), [("folder", 2), ("grid.png", 0)])
def test_columns_that_mean_nothing_are_refused(tmp_path, name, columns):
    images = torch.zeros(2, 1, 2, 2)
    one_line(InputError, zoo.save_pictures, images, tmp_path / name, columns=columns)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "taken").write_text("a file")
    images = torch.zeros(1, 1, 2, 2)
    for path in (tmp_path / "taken", tmp_path / "taken" / "x.png"):
        assert "cannot write to" in one_line(InputError, zoo.save_pictures, images, path)
    assert (tmp_path / "taken").read_text() == "a file"


def test_images_that_look_as_if_in_0_to_1_are_written_with_a_warning(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, logger="zoo"):
        zoo.to_pil(torch.linspace(-1, 1, 192).view(1, 3, 8, 8))
        assert not caplog.messages
        zoo.save_pictures(torch.linspace(0, 1, 192).view(1, 3, 8, 8), tmp_path / "a.png")
    assert caplog.messages == ["these images look as if in 0..1; for -1..1: images * 2 - 1"]
