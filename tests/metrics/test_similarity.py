"""Distances of image pairs against their formulas, LPIPS against torchmetrics."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
import scipy.ndimage
import torch
from torch import nn
from torchmetrics.functional.image import lpips as theirs
from torchmetrics.functional.image import structural_similarity_index_measure

from zoo_core.errors import InputError, OfflineError, UnknownNameError, WeightsError
from zoo_core.metrics import similarity
from zoo_core.metrics.similarity import load_lpips, pair_distances


def pictures(count: int = 3, size: int = 20, channels: int = 3, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, channels, size, size, generator=generator) * 2 - 1


def oracle_ssim(one, other) -> float:
    """Eq. 13 of Wang et al. 2004 on one channel, with a Gaussian window cut at 3.5 sigma."""

    def blur(image):
        return scipy.ndimage.gaussian_filter(image, 1.5, mode="mirror", truncate=3.5)

    means = blur(one), blur(other)
    variances = blur(one**2) - means[0] ** 2, blur(other**2) - means[1] ** 2
    covariance = blur(one * other) - means[0] * means[1]
    luminance = (2 * means[0] * means[1] + 1e-4) / (means[0] ** 2 + means[1] ** 2 + 1e-4)
    return float((luminance * (2 * covariance + 9e-4) / (sum(variances) + 9e-4)).mean())


def test_distances_of_pairs_are_the_formulas():
    real, fake = pictures(), (pictures() + 0.3 * pictures(seed=1)).clamp(-1, 1)
    result = pair_distances(real, fake)
    one, other = ((side.double().numpy() + 1) / 2 for side in (real, fake))
    error = one - other
    np.testing.assert_allclose(result["l1"], np.abs(error).mean((1, 2, 3)), rtol=1e-12)
    psnr = -10 * np.log10((error**2).mean((1, 2, 3)))
    np.testing.assert_allclose(result["psnr"], psnr, rtol=1e-6)
    ssim = [
        np.mean([oracle_ssim(a, b) for a, b in zip(*pair, strict=True)])
        for pair in zip(one, other, strict=True)
    ]
    np.testing.assert_allclose(result["ssim"], ssim, rtol=1e-6)


def test_a_pair_does_not_depend_on_its_batch():
    real, fake = pictures(5), pictures(5, seed=1)
    whole = pair_distances(real, fake)
    for row in range(5):
        alone = pair_distances(real[row : row + 1], fake[row : row + 1])
        for name, values in alone.items():
            torch.testing.assert_close(values[0], whole[name][row], rtol=1e-12, atol=1e-12)


def test_equal_pictures_are_as_good_as_8_bits():
    result = pair_distances(pictures(), pictures())
    assert result["psnr"].tolist() == [pytest.approx(10 * math.log10(12 * 255**2), abs=0.01)] * 3
    assert result["l1"].tolist() == [0, 0, 0]
    torch.testing.assert_close(result["ssim"], torch.ones(3).double())


def test_ssim_is_measured_on_pictures_in_0_to_1():
    real, fake = pictures(), pictures(seed=1)
    shifted = structural_similarity_index_measure(fake, real, data_range=2.0, reduction="none")
    assert (pair_distances(real, fake)["ssim"] - shifted).abs().min() > 1e-3


def test_pairs_that_do_not_fit_are_refused():
    for real, fake, message in (
        (pictures(), pictures(size=21), "must have the same size"),
        (pictures(2), pictures(3), "must have the same size"),
        (pictures()[0], pictures()[0], "must have the same size"),
        (pictures(size=5), pictures(size=5), "too small for SSIM; given: 5 x 5; allowed: 6"),
        (pictures(), pictures() * math.nan, "not finite"),
    ):
        with pytest.raises(InputError, match=message):
            pair_distances(real, fake)
    with pytest.raises(InputError, match="too small for LPIPS"):
        pair_distances(pictures(), pictures(), lpips=nn.Identity())


@pytest.mark.parametrize("wanted", [("l1",), ("psnr",), ("ssim", "l1"), ()])
def test_only_what_is_wanted_is_computed(wanted):
    real, fake = pictures(), pictures(seed=1)
    result = pair_distances(real, fake, wanted=wanted)
    assert list(result) == list(wanted)
    every = pair_distances(real, fake)
    assert all(torch.equal(result[name], every[name]) for name in wanted)


def test_pictures_too_small_for_one_distance_have_the_others():
    small = pictures(size=4), pictures(size=4, seed=1)
    assert set(pair_distances(*small, wanted=("l1", "psnr"))) == {"l1", "psnr"}
    with pytest.raises(InputError, match="too small for SSIM"):
        pair_distances(*small, wanted=("l1", "ssim"))


def test_an_unknown_distance_comes_with_the_nearest():
    with pytest.raises(UnknownNameError, match="'sim'; nearest: ssim"):
        pair_distances(pictures(), pictures(), wanted=("sim",))


@pytest.fixture
def backbone(tmp_path, monkeypatch):
    """Random AlexNet weights where torchvision would put the trained ones."""
    from torchvision.models import alexnet

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    trained = alexnet().features
    file = tmp_path / "hub" / "checkpoints" / "alexnet.pth"
    file.parent.mkdir(parents=True)
    torch.save({f"features.{key}": value for key, value in trained.state_dict().items()}, file)
    digits = hashlib.sha256(file.read_bytes()).hexdigest()
    file = file.rename(file.with_name(f"alexnet-{digits[:8]}.pth"))
    monkeypatch.setitem(similarity.LPIPS_BACKBONES, "alex", file.name)
    monkeypatch.setattr(theirs, "_get_tv_model_features", lambda net, pretrained: trained)
    return file, trained


def test_lpips_is_that_of_torchmetrics(backbone):
    network = load_lpips()
    real, fake = pictures(size=40), pictures(size=40, seed=1)
    expected = theirs.learned_perceptual_image_patch_similarity(fake, real, reduction="none")
    result = pair_distances(real, fake, lpips=network)["lpips"]
    np.testing.assert_allclose(result, expected, rtol=1e-5)
    assert pair_distances(real, real, lpips=network)["lpips"].tolist() == [0, 0, 0]
    grey = pair_distances(real[:, :1], fake[:, :1], lpips=network)["lpips"]
    assert grey.shape == (3,)
    assert not network.train(True).training


def test_lpips_reads_the_weights_from_the_file(backbone, monkeypatch):
    from torchvision.models import alexnet

    monkeypatch.setattr(theirs, "_get_tv_model_features", lambda *_: alexnet().features)
    assert torch.equal(load_lpips().net.state_dict()["slice2.3.weight"], backbone[1][3].weight)


def test_lpips_without_or_with_damaged_weights_is_an_error(backbone):
    with pytest.raises(UnknownNameError):
        load_lpips("resnet")
    with pytest.raises(OfflineError, match=r"vgg16-397923af\.pth"):
        load_lpips("vgg")
    with backbone[0].open("ab") as file:
        file.write(b"!")
    with pytest.raises(WeightsError, match="is damaged"):
        load_lpips()
