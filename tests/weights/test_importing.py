"""`zoo.import_weights`: what is chosen from a checkpoint, what is written, and what is refused."""

import hashlib
import io
import os

import pytest
import torch
from pickled import Raw, modules, pickled, written
from PIL import Image
from safetensors.torch import save
from toy_importer import convert, importer, importing_plugins, recognize
from toys import Sorter, SorterConfig, ToyDiscriminator, ToyGenerator, resolved

from zoo_core.errors import (
    ConfigError,
    InputError,
    UnknownNameError,
    WeightsError,
)
from zoo_core.plugins.hookspecs import hookimpl
from zoo_core.spec import Recognized
from zoo_core.weights import importing
from zoo_core.weights.header import parse_metadata, read_header
from zoo_core.weights.importing import import_weights
from zoo_core.weights.loading import load
from zoo_core.weights.tensors import save_weights

CONFIG = resolved().config


def theirs(network=None):
    """The state dict of a network, as the public code of the toy has it."""
    state = (network or ToyGenerator(CONFIG)).state_dict()
    return {name.replace("stem.", "first."): tensor for name, tensor in state.items()}


def saved(value):
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


@pytest.fixture
def bring(tmp_path):
    """Import bytes, or what `torch.save` is given, into the folder `out`."""

    def run(data, out="out", *, licence="CC0-1.0", plugins=None, **options):
        file = tmp_path / "somebody's.pth"
        file.write_bytes(data if isinstance(data, bytes) else saved(data))
        plugins = plugins or importing_plugins()
        return import_weights(file, tmp_path / out, licence=licence, plugins=plugins, **options)

    return run


def size_of(path):
    with Image.open(path) as picture:
        return picture.size


def record_of(path):
    return parse_metadata(read_header(path), "it")


def refused(kind, match, bring, tmp_path, *arguments, **options):
    """The error, after which nothing is there but the file itself."""
    with pytest.raises(kind, match=match) as error:
        bring(*arguments, **options)
    assert "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["somebody's.pth"]
    return error.value


def test_a_folder_holds_the_networks_and_a_grid(bring, tmp_path):
    generator = ToyGenerator(CONFIG).eval()
    done = bring({"netG": theirs(generator), "netD": ToyDiscriminator(CONFIG).state_dict()})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "somebody's.pth"]
    names = ["discriminator.safetensors", "generator.safetensors", "grid.png"]
    assert sorted(path.name for path in done.path.iterdir()) == names
    loaded = load(done.path, plugins=importing_plugins())
    assert torch.equal(loaded.sample(range(3)), generator.sample(range(3)))
    assert size_of(done.grid) == (64, 64)  # 16 images of 16 x 16 pixels


def test_a_file_holds_the_generator_with_the_grid_beside_it(bring, tmp_path):
    done = bring(
        {"netG": theirs(), "netD": ToyDiscriminator(CONFIG).state_dict()}, "a/b.safetensors"
    )
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["b.png", "b.safetensors"]
    assert record_of(done.path).role == "generator"


def test_the_line_says_model_network_code_and_place(bring):
    said = bring({"netG": theirs()}).recognized
    assert said == "toy generator, 16 px (somebody/toy), in netG"


def test_origin_and_licence_are_recorded_as_told(bring, tmp_path):
    done = bring({"netG": theirs()}, licence="unknown", source="https://example.org/w.pth")
    record = record_of(done.path / "generator.safetensors")
    assert record.licence == record.origin.licence == "unknown"
    assert record.origin.family == "toy-public"
    assert (record.origin.file, record.origin.part) == ("somebody's.pth", "netG")
    assert record.origin.source == "https://example.org/w.pth"
    digest = hashlib.sha256((tmp_path / "somebody's.pth").read_bytes()).hexdigest()
    assert record.origin.sha256 == digest


def test_weights_that_were_not_imported_record_no_origin(tmp_path):
    from test_loading_weights import ABOUT

    save_weights(tmp_path / "a.safetensors", ToyGenerator(CONFIG), ABOUT)
    assert b"origin" not in (tmp_path / "a.safetensors").read_bytes()


@pytest.mark.parametrize("place", ["G\ud800", "G" * 100_000, "G\x1b[31m"])
def test_a_place_that_is_no_line_of_text_is_recorded_as_one(place, bring):
    done = bring({place: theirs()})
    part = record_of(done.path / "generator.safetensors").origin.part
    assert part.startswith("G")
    assert part.isprintable()
    assert len(part) <= 200


@pytest.mark.parametrize("place", ["G_ema", "params_ema", "g_ema", "avgG"])
def test_the_average_is_preferred_to_the_network(place, bring):
    other = {name: tensor * 2 for name, tensor in theirs().items()}
    assert bring({"G": other, place: theirs()}).recognized.endswith(f"in {place}")


def test_of_several_generators_one_must_be_named(bring, tmp_path):
    both = {"G_A": theirs(), "G_B": theirs()}
    error = refused(InputError, "could be 2 things", bring, tmp_path, both)
    assert "in G_A; toy generator, 16 px (somebody/toy), in G_B; try: --part G_A" in str(error)
    refused(
        InputError, "no such part; given: G; allowed: G_A, G_B", bring, tmp_path, both, part="G"
    )
    assert bring(both, part="G_B").recognized.endswith("in G_B")


def sorting(found):
    """Take the toy for a sorter, wrongly."""
    known = recognize(found)
    return known and Recognized(role="classifier", config={}, summary="a sorter")


def test_what_two_models_recognize_needs_the_name_of_one(bring, tmp_path):
    plugins = importing_plugins(
        importer(), importer("sorter-public", model="sorter", recognize=sorting)
    )
    error = refused(InputError, "could be 2 things", bring, tmp_path, theirs(), plugins=plugins)
    assert "toy generator" in str(error)
    assert "sorter classifier" in str(error)
    assert error.hint == "--model sorter"
    assert bring(theirs(), plugins=plugins, model="toy").recognized.startswith("toy")


def test_a_model_without_importer_is_named(bring, tmp_path):
    refused(InputError, "no checkpoints of sorter", bring, tmp_path, theirs(), model="sorter")
    refused(UnknownNameError, "no model", bring, tmp_path, theirs(), model="toi")


def test_an_unknown_family_is_told_by_its_names(bring, tmp_path):
    message = "is of no known family; given: a.weight, b.weight; try: zoo import --list"
    state = {"a.weight": torch.ones(1), "b.weight": torch.ones(1)}
    refused(WeightsError, message, bring, tmp_path, state)
    refused(WeightsError, "holds no tensors", bring, tmp_path, {"epoch": 3})


def test_a_known_family_with_an_unknown_option_is_refused(bring, tmp_path):
    tree = modules(theirs(), persistent=True)
    tree.arguments[0]["state"]["_modules"]["stem"] = modules({"x": torch.ones(1)}, True)
    tree.arguments[0]["state"]["_modules"]["stem"].arguments[0]["state"]["mode"] = "odd"
    message = "holds a toy with an odd stem; allowed: plain stems"
    refused(WeightsError, message, bring, tmp_path, pickled({"G_ema": tree}))


def test_buffers_that_a_state_dict_would_leave_out_are_left_out(bring):
    state = theirs()
    tree = modules({**state, "paint.taps": torch.ones(1)}, persistent=True)
    paint = tree.arguments[0]["state"]["_modules"]["paint"].arguments[0]["state"]
    paint["_buffers"] = {"taps": paint["_parameters"].pop("taps")}
    with pytest.raises(WeightsError, match=r"'paint\.taps' is unexpected"):
        bring(pickled({"G_ema": tree}))
    paint["_non_persistent_buffers_set"] = Raw(b"\x8f(" + written("taps") + b"\x90")
    assert bring(pickled({"G_ema": tree})).path.exists()


def test_an_object_that_refers_to_itself_is_read(bring):
    """Pickles drop what they began when it turns out to be complete: POP and POP_MARK."""
    pops = Raw(b"K\x010(K\x02K\x031N")
    tree = pickled({"extra": pops, "G_ema": modules(theirs(), persistent=False)})
    assert bring(tree).path.exists()


def test_a_checkpoint_without_a_generator_is_refused(bring, tmp_path):
    state = ToyDiscriminator(CONFIG).state_dict()
    refused(WeightsError, "holds no generator; given: toy discr", bring, tmp_path, {"netD": state})


def test_a_discriminator_that_does_not_fit_is_left_out_and_said(bring):
    state = {**ToyDiscriminator(CONFIG).state_dict(), "more": torch.ones(1)}
    done = bring({"netG": theirs(), "netD": state})
    assert not (done.path / "discriminator.safetensors").exists()
    assert len(done.notes) == 1
    assert "'more' is unexpected" in done.notes[0]


def test_a_discriminator_whose_logits_overflow_is_left_out_and_said(bring):
    state = ToyDiscriminator(CONFIG).state_dict()
    for name in ("look.weight", "judge.weight"):
        state[name] = torch.full_like(state[name], 1e38)
    done = bring({"netG": theirs(), "netD": state})
    assert not (done.path / "discriminator.safetensors").exists()
    assert "logits are not finite" in done.notes[0]


def test_of_several_discriminators_none_is_guessed(bring):
    state = ToyDiscriminator(CONFIG).state_dict()
    done = bring({"netG": theirs(), "D1": state, "D2": state})
    assert not (done.path / "discriminator.safetensors").exists()
    assert "2 discriminators" in done.notes[0]


def test_settings_are_checked_like_those_of_training(bring, tmp_path):
    assert bring(theirs(), settings={"learning_rate": "0.5"}).path.exists()
    (tmp_path / "out").rename(tmp_path.with_name("elsewhere"))
    wrong = {"leaning_rate": "0.5"}
    error = refused(ConfigError, "no setting", bring, tmp_path, theirs(), settings=wrong)
    assert error.near == ["learning_rate"]
    wrong = {"width": "5"}
    refused(WeightsError, "does not fit", bring, tmp_path, theirs(), settings=wrong)
    wrong = {"width": "wide"}
    refused(ConfigError, "width", bring, tmp_path, theirs(), settings=wrong)


@pytest.mark.parametrize("licence", ["", " ", "MIT\nor so", "x" * 2000])
def test_a_licence_is_a_line_of_text(licence, bring, tmp_path):
    refused(InputError, "the licence must be a line", bring, tmp_path, theirs(), licence=licence)


@pytest.mark.parametrize("out", ["out", "out.safetensors"])
def test_nothing_is_overwritten(out, bring, tmp_path):
    (tmp_path / out).write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        bring(theirs(), out)
    assert (tmp_path / out).read_text() == "mine"


def test_a_picture_in_the_place_of_the_grid_is_not_overwritten(bring, tmp_path):
    (tmp_path / "out.png").write_text("mine")
    with pytest.raises(InputError, match=r"out\.png exists already"):
        bring(theirs(), "out.safetensors")


@pytest.mark.parametrize("out", ["a/out", "a/out.safetensors"])
def test_a_full_disk_leaves_nothing(out, bring, tmp_path, monkeypatch):
    def fail(path, data):
        path.write_bytes(data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(importing, "write_synced", fail)
    refused(
        InputError,
        "cannot write to .*a: No space left on device; try: --out",
        bring,
        tmp_path,
        theirs(),
        out,
    )


def test_what_cannot_be_read_is_refused(tmp_path):
    options = {"licence": "unknown", "plugins": importing_plugins()}
    for path, says in ((tmp_path / "none.pth", "does not exist"), (tmp_path, "not a regular file")):
        with pytest.raises(InputError, match=says):
            import_weights(path, tmp_path / "out", **options)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="not a regular file"):
        import_weights(tmp_path / "pipe", tmp_path / "out", licence="unknown")


@pytest.mark.parametrize("data", [b"", b"x", b"\x80", b"PK", b"\x80\x04}.x", b"{}", b"\0" * 99])
def test_what_is_no_checkpoint_is_refused(data, bring, tmp_path):
    refused(WeightsError, r"somebody's\.pth (is|holds)", bring, tmp_path, data)


def test_safetensors_are_read_whatever_their_length(bring):
    """A header of 0x..80 bytes begins like a pickle."""
    files = [save(theirs(), {"note": "x" * count}) for count in range(256)]
    assert any(data[0] == 0x80 for data in files)
    for number, data in enumerate(data for data in files if data[0] in (0x80, ord("P"))):
        assert bring(data, f"out{number}").path.exists()


def test_weights_of_the_zoo_need_no_import(bring, tmp_path):
    done = bring(theirs())
    data = (done.path / "generator.safetensors").read_bytes()
    with pytest.raises(InputError, match="was written by the zoo"):
        bring(data, "again")


def test_tensors_that_share_memory_may_not_outgrow_the_file(bring, tmp_path):
    """Small files could otherwise describe large networks."""
    flat = torch.ones(1 << 18)
    generator = ToyGenerator(resolved(width=128, resolution=64).config)
    state = {
        name: flat[: tensor.numel()].view(tensor.shape) if tensor.is_floating_point() else tensor
        for name, tensor in theirs(generator).items()
    }
    big = {f"first.{n}": flat for n in range(50)}
    refused(WeightsError, "share memory", bring, tmp_path, {**state, **big})


def test_an_unexpected_name_is_quoted_in_part_only(bring, tmp_path):
    state = {**theirs(), "x" * 100_000: torch.ones(1)}
    error = refused(WeightsError, "a long name: 'xxx", bring, tmp_path, state)
    assert len(str(error)) < 300


def test_a_resolution_beyond_all_reason_is_refused(bring, tmp_path):
    huge = {**theirs(), "first.weight": torch.ones(8, 4, 2048, 1)}
    refused(WeightsError, "too high; given: 8192; allowed: 4096", bring, tmp_path, huge)


@pytest.mark.parametrize("error", [KeyError("x"), IndexError(), ZeroDivisionError(), ValueError()])
def test_an_importer_that_stumbles_over_shapes_does_not_recognize_them(error, bring, tmp_path):
    def stumble(*_):
        raise error

    plugins = importing_plugins(importer(recognize=stumble))
    refused(WeightsError, "no known family", bring, tmp_path, theirs(), plugins=plugins)
    plugins = importing_plugins(importer(convert=stumble))
    refused(WeightsError, "does not fit", bring, tmp_path, theirs(), plugins=plugins)


def test_images_must_be_finite_and_differ_in_color(bring, tmp_path):
    state = theirs()
    blank = {name: tensor * 0 if "paint" in name else tensor for name, tensor in state.items()}
    refused(WeightsError, "of one color", bring, tmp_path, blank)
    state["norm.running_var"] = state["norm.running_var"] * 0 - 1
    refused(WeightsError, "images that are not finite", bring, tmp_path, state)


def test_an_image_to_image_model_translates_made_up_sources(bring):
    def paired(found):
        known = recognize(found)
        side = 16
        config = {**known.config, "paired": True, "resolution": side}
        return Recognized(role="generator", config=config, summary="paired")

    generator = ToyGenerator(resolved(paired=True).config)
    plugins = importing_plugins(importer(recognize=paired, convert=convert))
    done = bring(theirs(generator), plugins=plugins)
    assert size_of(done.grid) == (2 * 64, 64)  # each beside its source


class Rival:
    """A plugin with an importer of the same name."""

    @hookimpl
    def zoo_importers(self):
        return [importer()]


def test_a_family_that_two_plugins_claim_is_a_problem_of_both():
    plugins = importing_plugins()
    plugins.register("rival", Rival())
    plugins.check_duplicates()
    assert [problem.plugin for problem in plugins.problems] == ["rival", "toy"]
    assert "importer 'toy-public' is also provided by" in plugins.problems[0].reason


def test_a_classifier_is_tried_on_made_up_images(bring, tmp_path):
    def sorter(found):
        return Recognized(role="classifier", config={"num_classes": 4}, summary="a sorter")

    plugins = importing_plugins(
        importer("s", model="sorter", recognize=sorter, convert=lambda tensors, _: tensors)
    )
    state = Sorter(SorterConfig(num_classes=4)).state_dict()
    assert (bring(state, plugins=plugins).path / "classifier.safetensors").exists()
    same = {name: tensor * 0 for name, tensor in state.items()}
    file = tmp_path / "same.pth"
    file.write_bytes(saved(same))
    with pytest.raises(WeightsError, match="the same logits for all images"):
        import_weights(file, tmp_path / "same", licence="unknown", plugins=plugins)
