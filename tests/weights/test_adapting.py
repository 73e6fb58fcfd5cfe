"""Weights in a network of another configuration: by rules that were asked for, and no others."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
import toys
from torch import nn

from zoo_core.errors import WeightsError
from zoo_core.generators import evaluating
from zoo_core.weights.adapting import RULES, Weights, adapt


@dataclass
class Adapted:
    network: nn.Module
    report: object


def network(role: str, spec=toys.TOY, **settings) -> nn.Module:
    torch.manual_seed(1)
    return spec.builders()[role](spec.config(**settings))


def adapted(
    source: nn.Module, role: str, before: dict, after: dict, rules=RULES, names=((), ()),
    spec=toys.TOY,
) -> Adapted:  # fmt: skip
    torch.manual_seed(2)
    target = spec.builders()[role](spec.config(**after))
    weights = Weights(spec.config(**before), source.state_dict(), names[0])
    tensors, report = adapt(
        spec, role, weights, spec.config(**after), names[1], target.state_dict(), rules
    )
    target.load_state_dict(tensors)
    return Adapted(target, report)


def test_weights_of_the_same_configuration_are_kept_as_they_are():
    source = network("generator")
    made = adapted(source, "generator", {}, {}, rules=())
    for key, tensor in source.state_dict().items():
        assert torch.equal(made.network.state_dict()[key], tensor)
    assert (
        str(made.report) == f"{len(source.state_dict())} of {len(source.state_dict())} tensors kept"
    )


def test_a_setting_that_changes_no_shape_needs_no_rule():
    made = adapted(network("generator"), "generator", {}, {"learning_rate": 1.0}, rules=())
    assert not made.report.fresh


def test_every_tensor_that_does_not_fit_is_listed_with_both_shapes():
    with pytest.raises(WeightsError) as error:
        adapted(network("discriminator"), "discriminator", {"width": 4}, {"width": 6})
    said = str(error.value)
    for line in (
        "look.weight: [4, 3, 4, 4] there, [6, 3, 4, 4] here", "look.bias: [4] there, [6] here",
        "judge.weight: [1, 4] there, [1, 6] here", "3 tensors differ",
    ):  # fmt: skip
        assert line in said
    assert "judge.bias" not in said


@pytest.mark.parametrize(
    ("after", "rule"), [({"channels": 1}, "channels"), ({"num_classes": 3}, "classes")]
)
def test_nothing_is_adapted_without_its_rule(after, rule):
    others = [name for name in RULES if name != rule]
    with pytest.raises(WeightsError, match=f"and other {rule}.*try: --set adapt={rule} with"):
        adapted(network("generator"), "generator", {}, after, rules=others)


@pytest.mark.parametrize("channels", [(3, 1), (1, 3)])
def test_a_discriminator_judges_gray_images_as_before(channels):
    old, new = channels
    source = network("discriminator", channels=old)
    made = adapted(source, "discriminator", {"channels": old}, {"channels": new})
    gray = torch.rand(4, 1, 16, 16) * 2 - 1
    expected, found = (
        judge(gray.expand(-1, count, -1, -1))
        for judge, count in ((source, old), (made.network, new))
    )
    torch.testing.assert_close(found, expected)
    assert made.report.converted == {"look.weight": "channels"}


def test_a_discriminator_of_gray_images_judges_colors_by_their_luminance():
    source = network("discriminator", channels=1)
    made = adapted(source, "discriminator", {"channels": 1}, {"channels": 3})
    colors = torch.rand(4, 3, 16, 16) * 2 - 1
    luminance = (colors * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
    torch.testing.assert_close(made.network(colors), source(luminance))


def test_a_gray_generator_paints_the_luminance_of_the_colors():
    source = network("generator")
    made = adapted(source, "generator", {}, {"channels": 1})
    expected = torch.tensor([0.299, 0.587, 0.114])
    for key in ("paint.weight", "paint.bias"):
        before, after = source.state_dict()[key], made.network.state_dict()[key]
        dim = 1 if before.dim() > 1 else 0
        luminance = (before.movedim(dim, -1) * expected).sum(-1, keepdim=True).movedim(-1, dim)
        torch.testing.assert_close(after, luminance)


def test_a_colored_generator_begins_with_gray_images():
    source = network("generator", channels=1)
    made = adapted(source, "generator", {"channels": 1}, {"channels": 3})
    latents = torch.randn(2, toys.LATENT, 1, 1)
    with evaluating(source), evaluating(made.network):
        expected, found = source(latents, None), made.network(latents, None)
    torch.testing.assert_close(found, expected.expand(-1, 3, -1, -1))


NAMES = ("cat", "dog", "eel")


def test_a_class_goes_with_its_name_and_a_new_one_is_the_mean():
    source = network("discriminator", num_classes=3)
    made = adapted(
        source, "discriminator", {"num_classes": 3}, {"num_classes": 4},
        names=(NAMES, ("ant", "cat", "dog", "eel")),
    )  # fmt: skip
    before, after = source.embed.weight, made.network.embed.weight
    torch.testing.assert_close(after[1:], before)
    torch.testing.assert_close(after[0], before.mean(0))


def test_as_many_classes_of_other_names_are_matched_by_name_too():
    source = network("discriminator", num_classes=3)
    both = {"num_classes": 3}
    with pytest.raises(WeightsError, match="adapt=classes"):
        adapted(source, "discriminator", both, both, rules=(), names=(NAMES, NAMES[::-1]))
    made = adapted(source, "discriminator", both, both, names=(NAMES, NAMES[::-1]))
    torch.testing.assert_close(made.network.embed.weight, source.embed.weight.flip(0))


def test_without_names_a_class_goes_with_its_number():
    source = network("discriminator", num_classes=3)
    made = adapted(source, "discriminator", {"num_classes": 3}, {"num_classes": 2})
    torch.testing.assert_close(made.network.embed.weight, source.embed.weight[:2])


def test_a_classifier_keeps_the_logits_of_the_classes_it_knows():
    source = network("classifier", toys.SORTER)
    made = adapted(
        source, "classifier", {"num_classes": 4}, {"num_classes": 2},
        names=("abcd", ("d", "b")), spec=toys.SORTER,
    )  # fmt: skip
    images = torch.rand(3, 3, 16, 16)
    with evaluating(source), evaluating(made.network):
        torch.testing.assert_close(made.network(images), source(images)[:, [3, 1]])


def test_between_no_classes_and_some_what_depends_on_them_begins_anew():
    source = network("generator")
    made = adapted(source, "generator", {}, {"num_classes": 3})
    assert made.report.fresh == ["embed.weight"]
    back = adapted(made.network, "generator", {"num_classes": 3}, {})
    assert back.report.unused == ["embed.weight"]
    assert torch.equal(back.network.stem.weight, source.stem.weight)


def test_the_sides_of_a_translator_that_has_one_number_for_both_are_not_guessed():
    both = {"paired": True}
    with pytest.raises(WeightsError, match=r"no rule says what becomes of 'stem.weight'"):
        adapted(network("generator", **both), "generator", both, {**both, "channels": 1})


def test_another_resolution_is_refused_where_layers_belong_to_none():
    with pytest.raises(
        WeightsError, match=r"stem.weight: \[8, 4, 4, 4\] there, \[8, 4, 8, 8\] here"
    ):
        adapted(network("generator"), "generator", {}, {"resolution": 32})
