"""Latents and ws in files."""

from __future__ import annotations

import json
import sys

import pytest
import torch
from safetensors.torch import save

from zoo_core.errors import InputError, WeightsError
from zoo_core.sampling.files import load_latents, save_latents

Z, W = torch.randn(3, 8), torch.randn(3, 6, 8)
RECORD = {"space": "z", "model": "", "format": 1}


def write(path, tensors, record=RECORD):
    metadata = {} if record is None else {"latents": json.dumps(record)}
    path.write_bytes(save(tensors, metadata))
    return path


@pytest.mark.parametrize(("space", "latents"), [("z", Z), ("w", W), ("z", Z.view(3, 2, 2, 2))])
def test_what_was_saved_is_loaded(tmp_path, space: str, latents: torch.Tensor):
    path = tmp_path / "latents.safetensors"
    save_latents(path, latents, space=space, model="toy.toys16")
    loaded = load_latents(path)
    assert torch.equal(loaded.latents, latents)
    assert (loaded.space, loaded.model) == (space, "toy.toys16")


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_latents_of_any_float_type_are_float32_in_the_file(tmp_path, dtype: torch.dtype):
    save_latents(tmp_path / "z.safetensors", Z.to(dtype))
    loaded = load_latents(tmp_path / "z.safetensors").latents
    assert torch.equal(loaded, Z.to(dtype).float())


def test_part_of_a_tensor_that_requires_gradients_is_saved(tmp_path):
    save_latents(tmp_path / "z.safetensors", torch.randn(8, 6, requires_grad=True).t()[::2])
    assert load_latents(tmp_path / "z.safetensors").latents.shape == (3, 8)


@pytest.mark.parametrize(
    ("latents", "space", "said"),
    [
        (Z, "p", "no such latent space; given: p; allowed: z, w"),
        (Z, "w", r"no latents in w; given: torch.float32 \(3, 8\); .*num_ws"),
        (Z[0], "z", r"no latents in z; given: torch.float32 \(8,\)"),
        (Z.long(), "z", r"no latents in z; given: torch.int64 \(3, 8\)"),
        (Z / 0, "z", "no latents in z; given: inf or nan; allowed: finite floats"),
    ],
)
def test_what_would_not_be_read_back_is_not_saved(tmp_path, latents, space: str, said: str):
    with pytest.raises(InputError, match=said):
        save_latents(tmp_path / "z.safetensors", latents, space=space)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_not_there_is_said(tmp_path):
    with pytest.raises(InputError, match=r"there is no file .*; try: zoo sample .* --save-latents"):
        load_latents(tmp_path / "none.safetensors")


@pytest.mark.skipif(sys.platform == "win32", reason="takes any user to have a home")
def test_the_home_of_an_unknown_user_is_said():
    with pytest.raises(InputError, match="is not a usable path"):
        load_latents("~nobody-is-called-so/z.safetensors")


@pytest.mark.parametrize(
    ("tensors", "record", "said"),
    [
        ({"latents": Z}, None, "holds no latents that the zoo has saved"),
        ({"latents": Z}, RECORD | {"space": "p"}, "has invalid metadata: Invalid enum value 'p'"),
        ({"latents": Z}, RECORD | {"format": 2}, "has invalid metadata: Invalid enum value 2"),
        ({"latents": Z}, RECORD | {"code": "x"}, "has invalid metadata: .* unknown field `code`"),
        ({"latents": Z}, RECORD | {"model": "m" * 200}, "has invalid metadata: .* length <= 128"),
        ({"weights": Z}, RECORD, r"something else than latents; given: weights F32 \[3, 8\]"),
        ({"latents": Z, "more": W}, RECORD, "holds something else than latents"),
        (
            {"latents": Z},
            RECORD | {"space": "w"},
            r"allowed: latents F32 \(N, num_ws, style_size\)",
        ),
        ({"latents": Z.double()}, RECORD, r"something else .* given: latents F64 \[3, 8\]"),
        ({"latents": Z / 0}, RECORD, "holds latents that are not finite"),
    ],
)
def test_a_file_that_holds_something_else_is_refused(tmp_path, tensors, record, said: str):
    path = write(tmp_path / "z.safetensors", tensors, record)
    with pytest.raises(WeightsError, match=said):
        load_latents(path)


def test_a_truncated_file_is_refused(tmp_path):
    save_latents(tmp_path / "z.safetensors", Z)
    (tmp_path / "z.safetensors").write_bytes((tmp_path / "z.safetensors").read_bytes()[:-1])
    with pytest.raises(WeightsError, match="is damaged"):
        load_latents(tmp_path / "z.safetensors")
