from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d, grid_sample, pad
from toys import ToyConfig, ToyDiscriminator

import zoo_core.nn.warp
from zoo_core.errors import ConfigError
from zoo_core.nn.warp import SYM6, warp
from zoo_core.noise import SeededNoise
from zoo_core.training.ada import ADA, COLORING, COLUMNS, GEOMETRY, recolor
from zoo_core.training.augment import POLICIES, Augment, DiffAugment
from zoo_core.training.regularizers import r1_penalty

GOLDEN = load_file(Path(__file__).parents[1] / "golden" / "ada_augment.safetensors")
NORMAL = {"scale", "aniso", "xfrac", "brightness", "contrast", "saturation"}
BGC = [operation.name for operation in (*GEOMETRY, *COLORING)]
OFF = {"blit": 0.0, "geom": 0.0, "color": 0.0, "cutout": 0.0}


def always(**options) -> ADA:
    return ADA(1.0, target=None, **options)


def run(augment: Augment, images: Tensor, noise: SeededNoise | None = None, **kwargs):
    """The images and keyword arguments after one call in its own step."""
    augment.begin(noise or SeededNoise(0, range(len(images))))
    (images,), kwargs = augment.before_discriminator(nn.Identity(), (images,), kwargs)
    return (images, kwargs) if kwargs else images


def pictures(count: int, channels: int = 3, size: int = 8, dtype=torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(count, channels, size, size, generator=generator, dtype=torch.float64)
    return (images * 2 - 1).to(dtype)


def only(*names: str, count: int, quantile: float | None = None) -> Tensor:
    """Draws that apply only these operations at p = 1, with random parameters or a quantile."""
    draws = torch.rand(
        count, ADA.num_draws, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )
    for name, columns in COLUMNS.items():
        if quantile is not None:
            draws[:, columns] = quantile
        draws[:, columns.start] = 0.0 if name in names else 1.0
    return draws


def published_quantile(name: str, quantile: float) -> float:
    """The quantile in the golden file: its normal draws are erfinv(2 q - 1), without root 2."""
    if name not in NORMAL:
        return quantile
    value = torch.erfinv(torch.tensor(2 * quantile - 1, dtype=torch.float64)).item()
    return (1 + math.erf(value / math.sqrt(2))) / 2


def slow_warp(images: Tensor, transform: Tensor) -> Tensor:
    """Appendix B to the letter, in float64: full padding, zeros between pixels."""
    size, margin, taps = images.shape[-1], images.shape[-1] - 1, len(SYM6)
    planes = images.double().flatten(0, 1)[:, None]
    planes = pad(planes, [margin] * 4, mode="reflect")
    kernel = torch.outer(torch.tensor(SYM6).double(), torch.tensor(SYM6).double())[None, None]
    planes = conv_transpose2d(planes, kernel, stride=2, padding=5)
    planes = planes[..., : 2 * (size + 2 * margin), : 2 * (size + 2 * margin)]
    scale = torch.diag(torch.tensor([2.0, 2.0, 1.0], dtype=torch.float64))
    places = torch.arange(2 * size + taps - 2, dtype=torch.float64) - 5 - (size - 1)
    rows, columns = torch.meshgrid(places, places, indexing="ij")
    points = torch.stack([columns, rows, torch.ones_like(rows)], -1)
    points = points @ (scale @ transform.inverse() @ scale.inverse()).T
    grid = (2 * (points[..., :2] + size - 1 + 2 * margin) + 1) / planes.shape[-1] - 1
    planes = grid_sample(planes, grid.expand(len(planes), -1, -1, -1), align_corners=False)
    return conv2d(planes, kernel, stride=2).view(images.shape)


def some_transforms(count: int, size: int) -> Tensor:
    """In turn an arbitrary one, one that keeps the axes and one that swaps them; all move far."""
    torch.manual_seed(0)
    transforms = torch.eye(3, dtype=torch.float64) + 0.3 * torch.randn(count, 3, 3).double()
    transforms[:, :2, 2] *= size
    transforms[:, 2] = torch.tensor([0.0, 0.0, 1.0])
    transforms[1::3, [0, 1], [1, 0]] = 0
    transforms[2::3, [0, 1]] = transforms[2::3, [1, 0]]
    transforms[2::3, [0, 1], [0, 1]] = 0
    return transforms


# The published pipeline.


@pytest.mark.parametrize("key", sorted(key for key in GOLDEN if key.startswith("out/")))
def test_an_operation_is_the_published_one(key: str):
    name, quantile = key.removeprefix("out/").split("@")
    images, names = GOLDEN["in/images"], [name]
    if name == "bgc":
        names = [each for each in BGC if each != "rotate_after"]  # published: 0 at a quantile
    draws = only(*names, count=len(images))
    for each in names:
        columns = COLUMNS[each]
        draws[:, columns.start + 1 : columns.stop] = published_quantile(each, float(quantile))
    augmented = always().augment(images, draws)
    error = (augmented - GOLDEN[key]).abs().max() / GOLDEN[key].abs().max()
    assert error < 2e-5


@pytest.mark.parametrize("size", [4, 5, 8, 32])
def test_a_warp_is_the_one_of_the_paper_at_every_size(size: int):
    images = pictures(12, 2, size, torch.float64)
    transforms = some_transforms(12, size)
    expected = [slow_warp(*pair) for pair in zip(images.split(1), transforms, strict=True)]
    torch.testing.assert_close(warp(images, transforms), torch.cat(expected), rtol=0, atol=1e-7)


def test_matrices_in_blocks_are_the_same_matrices(monkeypatch):
    images, transforms = pictures(4, 1, 16, torch.float64).requires_grad_(), some_transforms(4, 16)
    whole = warp(images, transforms)
    (gradient,) = torch.autograd.grad(whole.square().sum(), images)
    monkeypatch.setattr(zoo_core.nn.warp, "BLOCK", 7)
    zoo_core.nn.warp._bands.cache_clear()
    in_blocks = warp(images, transforms)
    zoo_core.nn.warp._bands.cache_clear()
    torch.testing.assert_close(in_blocks, whole)
    torch.testing.assert_close(torch.autograd.grad(in_blocks.square().sum(), images)[0], gradient)


@pytest.mark.parametrize("distance", [1000.0, -1000.0])
@pytest.mark.parametrize("shear", [0.0, 0.1])
def test_a_picture_that_leaves_its_frame_leaves_zeros(distance: float, shear: float):
    transforms = torch.eye(3, dtype=torch.float64).repeat(2, 1, 1)
    transforms[:, 0, 1:] = torch.tensor([shear, distance])
    assert torch.equal(warp(pictures(2), transforms), torch.zeros(2, 3, 8, 8))


def test_what_does_not_move_is_not_touched():
    images = pictures(5)
    transforms = torch.eye(3, dtype=torch.float64).repeat(5, 1, 1)
    assert warp(images, transforms) is images
    transforms[2, 0, 2] = 1.5
    warped = warp(images, transforms)
    assert (warped != images).flatten(1).any(1).tolist() == [False, False, True, False, False]


def test_grey_pictures_are_colored_as_if_they_were_rgb():
    grey = pictures(3, channels=1)
    draws = only("brightness", "contrast", "lumaflip", "hue", "saturation", count=3)
    as_rgb = always().augment(grey.expand(-1, 3, -1, -1), draws)
    torch.testing.assert_close(always().augment(grey, draws), as_rgb.mean(1, keepdim=True))


def test_cutout_is_a_box_of_half_the_size():
    draws = only("cutout", count=1)
    draws[:, COLUMNS["cutout"].start + 1 :] = torch.tensor([0.5, 0.25], dtype=torch.float64)
    hole = always(cutout=1.0).augment(torch.ones(1, 3, 8, 8), draws) == 0
    expected = torch.zeros(8, 8, dtype=torch.bool)
    expected[0:4, 2:6] = True
    assert torch.equal(hole, expected.expand(1, 3, -1, -1))


# Derivatives.


@pytest.mark.parametrize("name", [*COLUMNS, "all"])
def test_ada_can_be_differentiated_twice(name: str):
    names = list(COLUMNS) if name == "all" else [name]
    size, channels = (8, 1) if name in {each.name for each in GEOMETRY} else (4, 3)
    images = pictures(1, channels, size, torch.float64).requires_grad_()
    ada, draws = always(cutout=1.0), only(*names, count=1)
    assert torch.autograd.gradcheck(lambda x: ada.augment(x, draws), images)
    assert torch.autograd.gradgradcheck(lambda x: ada.augment(x, draws), images, fast_mode=True)


def test_every_kind_of_warp_can_be_differentiated_twice():
    images, transforms = pictures(3, 1, 5, torch.float64).requires_grad_(), some_transforms(3, 5)
    assert torch.autograd.gradcheck(lambda x: warp(x, transforms), images)
    assert torch.autograd.gradgradcheck(lambda x: warp(x, transforms), images)


@pytest.mark.parametrize("policy", ["color", "translation", "cutout"])
def test_diffaugment_can_be_differentiated_twice(policy: str):
    augment, draws = DiffAugment([policy]), torch.rand(1, DiffAugment.num_draws).double()
    images = pictures(1, 2, 8, torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: augment.augment(x, draws), images)
    assert torch.autograd.gradgradcheck(lambda x: augment.augment(x, draws), images, fast_mode=True)


@pytest.mark.parametrize("augment", [always(cutout=1.0), DiffAugment()], ids=["ada", "diffaugment"])
def test_r1_through_the_hook_agrees_with_finite_differences(augment: Augment):
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(144, 1)]  # smooth
    discriminator = nn.Sequential(*layers).double()
    discriminator.register_forward_pre_hook(augment.before_discriminator, with_kwargs=True)
    images, weight = pictures(4, 3, 8, torch.float64), layers[0].weight

    def penalty() -> Tensor:
        augment.begin(SeededNoise(0, range(4)))
        logits = discriminator(images.requires_grad_())
        (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
        return gradient.square().sum()

    penalty().backward()
    direction, values = torch.randn_like(weight), []
    for sign in (1, -1):
        with torch.no_grad():
            weight.add_(sign * 1e-4 * direction)
        values.append(penalty().item())
        with torch.no_grad():
            weight.sub_(sign * 1e-4 * direction)
    slope = (weight.grad * direction).sum().item()
    assert slope == pytest.approx((values[0] - values[1]) / 2e-4, rel=1e-4)
    assert abs(slope) > 1e-6  # not both zero


def test_a_penalty_of_the_core_reaches_the_weights_through_the_hook():
    augment, discriminator = always(), ToyDiscriminator(ToyConfig())
    discriminator.register_forward_pre_hook(augment.before_discriminator, with_kwargs=True)
    augment.begin(SeededNoise(0, range(4)))
    plain = r1_penalty(lambda images: discriminator.forward(images), pictures(4, 3, 16))
    penalty = r1_penalty(discriminator, pictures(4, 3, 16))
    penalty.backward()
    assert discriminator.look.weight.grad.abs().sum() > 0
    assert penalty.item() != pytest.approx(plain.item(), rel=1e-3)


def test_a_warp_is_computed_in_float32_whatever_autocast_does():
    images, transforms, gradients = pictures(3), some_transforms(3, 8), []
    weight = torch.randn_like(images)
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            given = images.clone().requires_grad_()
            colored = recolor(warp(given, transforms), torch.eye(4).double().expand(3, 4, 4) * 0.7)
            (gradient,) = torch.autograd.grad((colored * weight).sum(), given)
        gradients += [colored, gradient]
    assert torch.equal(gradients[0], gradients[2])
    assert torch.equal(gradients[1], gradients[3])


# Calls.


@pytest.mark.parametrize("augment", [always(cutout=1.0), DiffAugment()], ids=["ada", "diffaugment"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [4, 8, 16])
def test_pictures_keep_shape_dtype_and_layout(augment: Augment, channels: int, size: int):
    images = pictures(5, channels, size, torch.bfloat16)
    augmented = run(augment, images.contiguous(memory_format=torch.channels_last))
    assert (augmented.shape, augmented.dtype) == (images.shape, torch.bfloat16)
    assert augmented.is_contiguous(memory_format=torch.channels_last)
    assert augmented.isfinite().all()
    assert not torch.equal(augmented, images)


def test_color_needs_grey_or_rgb_and_says_so_before_anything_happens():
    with pytest.raises(ValueError, match="1 or 3 channels; these have 4"):
        run(ADA(0.0), pictures(2, channels=4))
    assert run(always(color=0.0), pictures(2, channels=4)).shape == (2, 4, 8, 8)


def test_outside_of_a_training_step_it_is_an_error():
    discriminator, augment = ToyDiscriminator(ToyConfig()), ADA(0.0)
    discriminator.register_forward_pre_hook(augment.before_discriminator, with_kwargs=True)
    with pytest.raises(RuntimeError, match="before begin"):
        discriminator(pictures(2, size=16))


@pytest.mark.parametrize("augment", [always(cutout=1.0), DiffAugment()], ids=["ada", "diffaugment"])
def test_the_source_is_augmented_by_the_same_draws(augment: Augment):
    images, labels = pictures(6), torch.arange(6)
    augmented, kwargs = run(augment, images, source=images.clone(), labels=labels)
    assert torch.equal(augmented, kwargs["source"])
    assert kwargs["labels"] is labels
    assert torch.equal(augmented, run(augment, images))


def test_a_source_may_have_fewer_channels():
    images = pictures(6, channels=1)
    augmented, kwargs = run(always(), images.expand(-1, 3, -1, -1), source=images)
    torch.testing.assert_close(augmented.mean(1, keepdim=True), kwargs["source"])


def test_a_discriminator_judges_the_augmented_pair():
    augment, discriminator = DiffAugment(), ToyDiscriminator(ToyConfig(paired=True))
    images, source = pictures(4, size=16), pictures(4, size=16).flip(0)
    augmented, kwargs = run(augment, images, source=source)
    expected = discriminator(augmented, source=kwargs["source"])
    discriminator.register_forward_pre_hook(augment.before_discriminator, with_kwargs=True)
    augment.begin(SeededNoise(0, range(4)))
    assert torch.equal(discriminator(images, source=source), expected)


# Random numbers.


@pytest.mark.parametrize(
    "augment", [ADA(0.5, cutout=1.0), DiffAugment()], ids=["ada", "diffaugment"]
)
def test_a_picture_does_not_depend_on_the_others_of_its_batch(augment: Augment):
    images = pictures(12)
    together = run(augment, images, SeededNoise(7, range(100, 112)))
    rows = [9, 2, 5]
    apart = run(augment, images[rows], SeededNoise(7, [100 + row for row in rows]))
    torch.testing.assert_close(apart, together[rows], rtol=0, atol=1e-5)


def test_a_picture_depends_on_seed_index_and_call():
    augment, images = DiffAugment(), pictures(1).expand(4, -1, -1, -1)
    first = run(augment, images)
    (second,), _ = augment.before_discriminator(nn.Identity(), (images,), {})
    other_seed = run(augment, images, SeededNoise(1, range(4)))
    other_indices = run(augment, images, SeededNoise(0, range(4, 8)))
    everything = torch.cat([first, second, other_seed, other_indices])
    assert len(everything.flatten(1).unique(dim=0)) == 16


@pytest.mark.parametrize(
    ("columns", "augment"),
    [(list(COLUMNS.values()), ADA), ([columns for columns, _ in POLICIES.values()], DiffAugment)],
    ids=["ada", "diffaugment"],
)
def test_no_two_decisions_share_a_draw(columns: list[slice], augment: type[Augment]):
    used = [number for each in columns for number in range(augment.num_draws)[each]]
    assert sorted(used) == list(range(augment.num_draws))


def test_a_step_repeats_itself():
    augment, images = DiffAugment(), pictures(4)
    first = run(augment, images)
    augment.before_discriminator(nn.Identity(), (images,), {})
    assert torch.equal(run(augment, images), first)


def test_an_idle_call_is_counted_too():
    ada, images = ADA(0.0, target=None), pictures(4)
    run(ada, images)
    ada.p.fill_(1.0)
    (later,), _ = ada.before_discriminator(nn.Identity(), (images,), {})
    assert not torch.equal(later, run(ada, images))


def test_more_and_fewer_images_than_rows():
    augment, images = DiffAugment(), pictures(10)
    noise = SeededNoise(0, range(4))
    more, fewer = run(augment, images, noise), run(augment, images[:3], noise)
    torch.testing.assert_close(more[:3], fewer)
    same = run(augment, images[:1].expand(10, -1, -1, -1), noise)
    assert len(same.flatten(1).unique(dim=0)) == 10  # each image has its own draws


# Probabilities.


@pytest.mark.parametrize("multiplier", [1.0, 0.5])
@pytest.mark.parametrize("group", OFF)
def test_a_group_happens_with_its_probability(group: str, multiplier: float):
    count, prob = 6000, 0.3 * multiplier
    ada = ADA(0.3, target=None, **(OFF | {group: multiplier}))
    images = pictures(1, size=4).expand(count, -1, -1, -1)
    changed = (run(ada, images) - images).abs().flatten(1).amax(1) > 1e-4
    unchanged = {
        # Half the flips, a quarter of the rotations and all shifts of 4 x 4 pixels change nothing.
        "blit": (1 - prob / 2) * (1 - prob * 3 / 4),
        "geom": (1 - prob) ** 4,
        "color": (1 - prob) ** 4 * (1 - prob / 2),
        "cutout": 1 - prob,
    }[group]
    assert changed.double().mean() == pytest.approx(1 - unchanged, abs=0.02)


def test_at_p_zero_nothing_is_drawn_and_the_very_same_tensors_come_back(monkeypatch):
    monkeypatch.setattr(SeededNoise, "uniform", None)
    images, source = pictures(4), pictures(4)
    augmented, kwargs = run(ADA(0.0), images, source=source)
    assert augmented is images
    assert kwargs["source"] is source
    assert run(always(**OFF), images) is images


def test_where_nothing_happens_the_very_same_tensor_comes_back():
    images = pictures(4)
    assert run(ADA(1e-6), images) is images


def test_every_picture_gets_every_policy_within_its_bounds():
    count, size = 500, 16
    images = torch.ones(count, 3, size, size)
    inside = run(DiffAugment(["translation"]), images)[:, 0]
    rows, columns = inside.amax(2).sum(1), inside.amax(1).sum(1)
    assert sorted(rows.unique().tolist()) == sorted(columns.unique().tolist()) == [14, 15, 16]
    holes = run(DiffAugment(["cutout"]), images)[:, 0] == 0
    assert holes.flatten(1).sum(1).min() >= 16  # a quarter of the box if its center is in a corner
    assert holes.flatten(1).sum(1).max() == 64
    grey = run(DiffAugment(["color"]), 0 * images)
    assert -0.5 <= grey.min() < -0.48
    assert 0.48 < grey.max() <= 0.5
    assert torch.equal(grey, grey[:, :1, :1, :1].expand_as(grey))
    spread = run(DiffAugment(["color"]), pictures(1).expand(count, -1, -1, -1))
    contrast = spread.mean(1).flatten(1).std(1) / pictures(1).mean(1).flatten(1).std(1)
    assert 0.5 <= contrast.min() < 0.52
    assert 1.48 < contrast.max() <= 1.5
    saturation = (spread - spread.mean(1, keepdim=True)).flatten(1).std(1) / contrast
    saturation /= (pictures(1) - pictures(1).mean(1, keepdim=True)).std()
    assert 0 <= saturation.min() < 0.05
    assert 1.95 < saturation.max() <= 2 + 1e-4


def test_policies_are_chosen_by_name():
    images = pictures(4)
    assert torch.equal(run(DiffAugment([]), images), images)
    both = run(DiffAugment(["cutout", "translation"]), images)
    apart = run(DiffAugment(["cutout"]), run(DiffAugment(["translation"]), images))
    assert torch.equal(both, apart)
    with pytest.raises(ValueError, match="'blur'; allowed: color, translation, cutout"):
        DiffAugment(["color", "blur"])


# Adaptation of the probability.


def observe(ada: ADA, signs: list[float | None], start: int = 0, batch_size: int = 10) -> list:
    """The probability after each step."""
    probs = []
    for number, sign in enumerate(signs, start + 1):
        ada.observe(None if sign is None else torch.tensor(sign), number * batch_size, batch_size)
        probs.append(round(ada.terms()["p"].item(), 6))
    return probs


def test_p_moves_every_fourth_step_by_the_sign_of_the_mean():
    ada = ADA(0.5, target=0.6, speed_images=1000)
    above, below = [0.9, 0.9, 0.9, 0.0], [0.9, 0.9, 0.3, 0.2]  # means 0.675 and 0.575
    assert observe(ada, above + below) == [0.5, 0.5, 0.5, 0.54, 0.54, 0.54, 0.54, 0.5]
    assert observe(ada, above * 2, start=8)[3::4] == [0.54, 0.58]
    assert observe(ADA(0.5, target=0.5), [0.25, 0.75] * 2)[-1] == 0.5


def test_p_stays_between_0_and_1():
    assert observe(ADA(0.0, speed_images=1000), [-1.0] * 4 + [1.0] * 4)[3::4] == [0.0, 0.04]
    assert observe(ADA(0.98, speed_images=1000), [1.0] * 4 + [-1.0] * 4)[3::4] == [1.0, 0.96]


def test_steps_without_signs_count_for_nothing():
    assert observe(ADA(0.5, speed_images=1000), [None, 1.0, None, None])[-1] == 0.54


def test_signs_that_never_come_are_an_error_and_not_a_probability_that_stays():
    with pytest.raises(ConfigError, match="real_signs"):
        observe(ADA(0.5), [None] * 4)


def test_a_schedule_rises_along_half_a_cosine():
    ada = ADA(0.4, target=None, rampup=80)
    assert ada.is_idle
    expected = [0.4 * (1 - math.cos(math.pi * min(step / 8, 1))) / 2 for step in range(1, 11)]
    assert observe(ada, [1.0] * 10) == pytest.approx(expected, abs=1e-6)
    assert observe(ADA(0.4, target=None), [1.0] * 3) == [0.4] * 3
    assert ADA(0.4, target=None).terms()["p"] == pytest.approx(0.4)


@pytest.mark.parametrize("options", [{"target": 0.6}, {"target": None, "rampup": 300}], ids=str)
@pytest.mark.parametrize("steps", [3, 4, 6])
def test_a_state_dict_resumes_to_the_bit(options: dict, steps: int):
    torch.manual_seed(0)
    signs = torch.rand(24).mul(2).sub(0.5).tolist()
    whole, first, second = (ADA(0.3, speed_images=700, **options) for _ in range(3))
    expected = observe(whole, signs)
    observe(first, signs[:steps])
    second.load_state_dict(first.state_dict())
    assert observe(second, signs[steps:], start=steps) == expected[steps:]
    assert all(torch.equal(*pair) for pair in zip(whole.buffers(), second.buffers(), strict=True))
    images = pictures(4)
    assert torch.equal(run(whole, images), run(second, images))
