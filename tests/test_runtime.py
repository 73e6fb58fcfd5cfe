"""Device, precision and memory format of a process."""

import ctypes

import pytest
import torch

from zoo_core import runtime as module
from zoo_core.errors import InputError
from zoo_core.runtime import Runtime, has_bfloat16_units

CPU = torch.device("cpu")
FP32 = Runtime(CPU, torch.float32, torch.channels_last)
BF16 = Runtime(CPU, torch.bfloat16, torch.channels_last)


def with_units(monkeypatch, **capabilities):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)


def test_the_cpu_is_detected():
    runtime = Runtime.detect("cpu", "fp32")
    assert (runtime.device, runtime.dtype) == (CPU, torch.float32)
    assert runtime.memory_format is torch.channels_last
    assert (runtime.rank, runtime.world) == (0, 1)


def test_auto_is_the_cpu_where_there_is_nothing_else(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert Runtime.detect("auto", "fp32").device == CPU


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_here_is_refused():
    with pytest.raises(InputError, match="cannot use the device 'cuda'") as error:
        Runtime.detect("cuda")
    assert "\n" not in str(error.value)
    assert error.value.exit_code == 2


@pytest.mark.parametrize("name", ["nonsense", "", "cuda:99", "xpu", "meta", "fpga"])
def test_an_unusable_device_is_refused_in_one_line(name):
    with pytest.raises(InputError, match=f"cannot use the device '{name}'") as error:
        Runtime.detect(name)
    assert "\n" not in str(error.value)


def test_a_device_that_fails_without_a_word_is_refused(monkeypatch):
    def fail(*arguments, **options):
        raise AssertionError

    monkeypatch.setattr(torch, "zeros", fail)
    with pytest.raises(InputError, match="AssertionError"):
        Runtime.detect("cpu")


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True}, torch.bfloat16),
        ({"avx512_bf16": False, "amx_bf16": False, "avx2": True}, torch.float32),
        ({}, torch.float32),
    ],
)
def test_auto_precision_follows_the_hardware(monkeypatch, capabilities, expected):
    with_units(monkeypatch, **capabilities)
    assert Runtime.detect("cpu", "auto").dtype is expected


def test_a_torch_that_knows_no_capabilities_is_not_trusted_with_bfloat16(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert not has_bfloat16_units(CPU)


@pytest.mark.parametrize(("capability", "expected"), [((7, 5), False), ((8, 0), True)])
def test_gpus_from_8_0_have_bfloat16_units(monkeypatch, capability, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert has_bfloat16_units(torch.device("cuda")) is expected


def test_other_devices_are_not_trusted_with_bfloat16():
    assert not has_bfloat16_units(torch.device("mps"))


@pytest.mark.parametrize(("asked", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_a_precision_that_was_asked_for_is_used(monkeypatch, asked, dtype):
    with_units(monkeypatch, avx512_bf16=dtype is torch.float32)
    assert Runtime.detect("cpu", asked).dtype is dtype


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_one_element_that_is_not_finite_is_seen(bad):
    runtime = Runtime.detect("cpu")
    images = torch.full((2, 3, 4, 4), 1e30).to(memory_format=torch.channels_last)
    tensors = [torch.tensor(1.0, dtype=torch.float64), images, torch.zeros(5)]
    assert runtime.all_finite(tensors)
    images[1, 2, 3, 0] = bad
    assert not runtime.all_finite(tensors)
    images[0, 0, 0, 0] = -bad
    assert not runtime.all_finite(tensors)


def convolved(runtime):
    """One convolution and its output, after a backward pass."""
    network = runtime.place(torch.nn.Conv2d(3, 4, 3))
    with runtime.autocast():
        output = network(torch.ones(2, 3, 8, 8))
    output.float().sum().backward()
    return network, output


def test_bfloat16_computes_in_it_and_keeps_parameters_and_gradients_in_float32():
    network, output = convolved(BF16)
    assert output.dtype is torch.bfloat16
    assert {p.dtype for p in network.parameters()} == {torch.float32}
    assert {p.grad.dtype for p in network.parameters()} == {torch.float32}


def test_float32_computes_in_float32():
    assert convolved(FP32)[1].dtype is torch.float32


def test_weights_are_placed_in_the_memory_format():
    weight = FP32.place(torch.nn.Conv2d(3, 4, 3)).weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert not weight.is_contiguous()


def test_images_are_placed_in_range_and_memory_format():
    pixels = torch.arange(256, dtype=torch.uint8).reshape(1, 4, 8, 8)
    images = FP32.place_images(pixels)
    assert (images.dtype, images.shape) == (torch.float32, pixels.shape)
    assert images.is_contiguous(memory_format=torch.channels_last)
    values = images.contiguous().flatten()
    assert (values[0], values[255]) == (-1, 1)
    torch.testing.assert_close(values, torch.linspace(-1, 1, 256))


def test_placing_images_leaves_the_pixels_alone():
    pixels = torch.full((2, 3, 4, 4), 7, dtype=torch.uint8)
    FP32.place_images(pixels)
    assert pixels.eq(7).all()


@pytest.mark.parametrize(
    ("platform", "device", "opened"),
    [
        ("linux", "cpu", [None]),
        ("linux", "cuda", []),
        ("darwin", "cpu", []),
        ("win32", "cpu", []),
    ],
)
def test_only_glibc_is_told_to_keep_freed_memory(monkeypatch, platform, device, opened):
    names = []

    def library(name):
        names.append(name)
        return object()  # a C library without mallopt, such as musl

    monkeypatch.setattr(module.sys, "platform", platform)
    monkeypatch.setattr(ctypes, "CDLL", library)
    Runtime(torch.device(device), torch.float32, torch.channels_last).keep_freed_memory()
    assert names == opened


def drawn(runtime, seed, images):
    runtime.seed(seed, images)
    return torch.randn(8)


def test_the_same_step_draws_the_same_noise():
    first = drawn(FP32, 3, 64)
    drawn(FP32, 4, 128)
    assert torch.equal(drawn(FP32, 3, 64), first)


RANK_1 = Runtime(CPU, torch.float32, torch.channels_last, rank=1, world=2)


@pytest.mark.parametrize(
    ("runtime", "seed", "images"),
    [(FP32, 3, 128), (FP32, 4, 64), (RANK_1, 3, 64)],
    ids=["step", "run", "rank"],
)
def test_another_step_run_or_rank_draws_other_noise(runtime, seed, images):
    assert not torch.equal(drawn(runtime, seed, images), drawn(FP32, 3, 64))


@pytest.mark.parametrize(("runtime", "precision"), [(FP32, "fp32"), (BF16, "bf16")])
def test_it_describes_itself(runtime, precision):
    assert str(runtime) == f"cpu, {precision}, {torch.get_num_threads()} threads"


def test_a_processor_is_named_where_its_name_is_known(monkeypatch):
    monkeypatch.setattr(module, "processor", lambda: "AMD EPYC 9B14")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert Runtime.detect("cpu").device_name == "cpu (AMD EPYC 9B14), 2 threads"
    monkeypatch.setattr(module, "processor", lambda: "")
    assert Runtime.detect("cpu").device_name == "cpu, 2 threads"
