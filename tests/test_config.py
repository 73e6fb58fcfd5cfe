import json
from functools import partial
from typing import Annotated, Literal

import msgspec
import pytest

from zoo_core.config import (
    Count,
    ModelConfig,
    RunConfig,
    check_power_of_two,
    describe,
    example_values,
    fields,
    parse_assignments,
    read_config,
    read_settings_file,
    resolve,
    setting,
)
from zoo_core.errors import ConfigError
from zoo_core.plugins.loading import load_plugins
from zoo_core.wording import ALIASES


class Toy(ModelConfig, frozen=True):
    width: Count = 8
    rate: Annotated[float, setting("learning rate", gt=0)] = 0.1
    kind: Literal["plain", "fancy"] = "plain"
    betas: tuple[float, float] = (0.5, 0.9)
    steps: tuple[int, ...] = ()
    note: str = ""
    limit: int | None = None

    def __post_init__(self):
        if self.kind == "fancy" and self.width < 4:
            raise ValueError("a fancy one needs a width of 4")


def settings(**keys):
    return resolve("toy", Toy, ("--set", keys))


def write(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.fixture
def file(tmp_path):
    return lambda text: write(tmp_path / "settings.yaml", text)


# Layers


def test_a_stronger_layer_wins():
    layers = [
        ("the preset", {"width": 1, "rate": 0.2, "seed": 3}),
        ("a.yaml", {"width": 2, "rate": 0.3}),
        ("--set", {"width": 3}),
    ]
    resolved = resolve("toy", Toy, *layers)
    assert (resolved.config.width, resolved.config.rate, resolved.run.seed) == (3, 0.3, 3)


def test_what_no_layer_names_keeps_its_default():
    resolved = resolve("toy", Toy)
    assert resolved.config == Toy()
    assert resolved.run == RunConfig()


def test_a_key_goes_to_the_record_that_has_it():
    resolved = settings(width=5, batch_size=7)
    assert (resolved.config.width, resolved.run.batch_size) == (5, 7)


def test_an_unknown_key_names_the_nearest_and_where_it_stood():
    with pytest.raises(ConfigError) as caught:
        resolve("toy", Toy, ("a.yaml", {"wdith": 3}))
    assert "'wdith' in a.yaml" in str(caught.value)
    assert "nearest: width" in str(caught.value)


def test_a_key_that_is_no_text_is_an_unknown_key():
    with pytest.raises(ConfigError, match=r"unknown configuration key 1 in a\.yaml"):
        resolve("toy", Toy, ("a.yaml", {1: 2}))


@pytest.mark.parametrize(
    ("word", "value", "hint"),
    [
        ("lr", "1e-4", "--set learning_rate=1e-4"),
        ("batch", "8", "--set batch_size=8"),
        ("BS", "8", "--set batch_size=8"),
        ("kimg", "500", "--set images=500k"),
        ("epochs", "3", "--set images=200k"),  # an epoch is no number of images
        ("num-workers", "2", "--set workers=2"),
        ("gp", "1", "--set penalty=1"),
    ],
)
def test_a_word_of_other_codes_is_translated_in_the_message_and_not_read(word, value, hint):
    class Model(ModelConfig, frozen=True):
        learning_rate: float = 0.1
        penalty: float = 1.0

    with pytest.raises(ConfigError) as caught:
        resolve("toy", Model, ("--set", {word: value}))
    error = caught.value
    assert error.what == f"unknown configuration key {word!r} in --set"
    assert error.hint == hint
    assert error.near == [error.hint.split()[1].partition("=")[0]]
    assert ("an epoch" in error.allowed) == (word == "epochs")


def test_every_word_of_other_codes_is_for_a_setting_that_some_model_or_run_has():
    own = {key for spec in models() for key in fields(spec.config)}
    for word, alias in ALIASES.items():
        assert set(alias.settings) & {*own, *fields(RunConfig)}, word


def test_no_word_of_other_codes_hides_a_setting_of_its_own_name():
    for spec in models():
        for key in fields(spec.config):
            assert resolve(spec.name, spec.config, ("it", example_of(spec, key))), key


def example_of(spec, key):
    value = example_values(spec.config)[key]
    return {} if value == "..." else {key: value}


def models():
    return [found.spec for found in load_plugins().models]


def test_a_setting_that_only_other_models_have_names_them():
    elsewhere = {"path_weight": ["stylegan2"], "num_classes": ["gan", "r3gan"]}.get
    known = partial(resolve, "toy", Toy, elsewhere=lambda key: elsewhere(key, []))
    with pytest.raises(ConfigError, match=r"toy has no setting 'path_weight'.*of stylegan2; try"):
        known(("--set", {"path_weight": "1"}))
    for word in ("num_classes", "n_classes"):
        with pytest.raises(ConfigError, match=r"toy has no classes.* setting of gan, r3gan; try"):
            known(("--set", {word: "2"}))


@pytest.mark.parametrize(
    ("text", "count"),
    [("2k", 2000), ("1.5M", 1_500_000), ("0.5 k", 500), ("10,000", 10_000), ("1_000", 1000),
     ("12", 12), ("2.50k", 2500)],
)  # fmt: skip
def test_images_are_counted_as_people_write_numbers(text, count):
    assert settings(images=text).run.images == count
    assert settings(sample_every=text).run.sample_every == count


@pytest.mark.parametrize("text", ["1.2345k", "2kk", "k", "-1k", "1,00", "0k", "2g", "9" * 5000])
def test_what_is_no_whole_number_of_images_is_refused(text):
    with pytest.raises(ConfigError, match=r"200k or 1\.5M; try: --set images=200k"):
        settings(images=text)


def test_only_numbers_of_images_are_written_in_thousands():
    with pytest.raises(ConfigError, match="width in --set has an invalid value"):
        settings(width="1k")  # of a width it might be 1024


@pytest.mark.parametrize(
    ("origin", "hint"),
    [
        ("--set", "--set mirror=false"),
        ("--change", "--change mirror=false"),
        ("the command line", "--mirror false"),
        ("a.yaml", "mirror: false in a.yaml"),
        ("the arguments", "mirror=False"),
    ],
)
def test_an_unusable_value_shows_how_the_setting_is_typed_there(origin, hint):
    with pytest.raises(ConfigError) as caught:
        resolve("toy", Toy, (origin, {"mirror": "perhaps"}))
    assert caught.value.hint == hint


def test_a_weak_layer_is_checked_though_a_stronger_one_replaces_it():
    with pytest.raises(ConfigError, match="width in the preset"):
        resolve("toy", Toy, ("the preset", {"width": "broad"}), ("--set", {"width": "3"}))


# Values


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("width", "broad", "integer >= 1"),
        ("width", 0, "integer >= 1"),
        ("width", True, "integer >= 1"),
        ("width", 1.5, "integer >= 1"),
        ("width", "1.5", "integer >= 1"),
        ("width", "12:30", "integer >= 1"),
        ("betas", "[0, !x 1]", "[number, number]"),
        ("steps", "[12:30]", "[integer, ...]"),
        ("steps", "[010]", "[integer, ...]"),
        ("rate", "0", "number > 0"),
        ("kind", "odd", "one of plain, fancy"),
        ("mirror", "perhaps", "true or false"),
        ("betas", [1], "[number, number]"),
        ("note", 5, "text"),
        ("images", 0, "integer >= 1"),
    ],
)
def test_an_unusable_value_names_key_origin_value_and_what_is_allowed(key, value, allowed):
    with pytest.raises(ConfigError) as caught:
        resolve("toy", Toy, ("a.yaml", {key: value}))
    error = caught.value
    assert error.what == f"{key} in a.yaml has an invalid value"
    assert error.given == repr(value)
    assert error.allowed.startswith(allowed)
    assert error.hint.startswith(f"{key}: ")
    assert error.hint.endswith(" in a.yaml")


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("width", "12", 12),
        ("rate", "1e-4", 1e-4),
        ("kind", "fancy", "fancy"),
        ("betas", "[0, 0.99]", (0.0, 0.99)),
        ("steps", "[1, 2, 3]", (1, 2, 3)),
        ("betas", "[.5, 1e-3]", (0.5, 0.001)),
        ("rate", ".5", 0.5),
        ("width", "1e6", 1_000_000),
        ("limit", "null", None),
        ("limit", "4", 4),
        ("note", "[not json", "[not json"),
        ("note", "[1]", "[1]"),
    ],
)
def test_text_is_read_as_the_type_of_its_key(key, text, value):
    assert getattr(settings(**{key: text}).config, key) == value


def test_a_path_that_is_not_in_utf_8_is_refused():
    with pytest.raises(ConfigError, match=r"data in --set is not in UTF-8; given: '.*udce9'"):
        resolve("toy", Toy, ("--set", {"data": b"caf\xe9".decode(errors="surrogateescape")}))
    assert settings(data="caf\u00e9 \u202f").run.data == "caf\u00e9 \u202f"


def test_words_in_a_list_need_no_quotes():
    assert settings(diffaugment="[color, cutout]").run.diffaugment == ("color", "cutout")


@pytest.mark.parametrize(("text", "value"), [("true", True), ("false", False)])
def test_true_and_false_are_read(text, value):
    assert settings(mirror=text).run.mirror is value


def test_numbers_that_yaml_takes_for_text_are_read(file):
    values = read_settings_file(file("rate: 1e-4\nbetas: [0, 1e-3]"))
    assert values["rate"] == "1e-4"  # a number in YAML 1.1 needs a dot
    config = settings(**values).config
    assert (config.rate, config.betas) == (1e-4, (0.0, 1e-3))


@pytest.mark.parametrize("value", ["nan", "inf", float("inf"), float("nan")])
def test_what_json_cannot_keep_is_refused(value):
    with pytest.raises(ConfigError, match="rate in --set"):
        settings(rate=value)


def test_what_json_cannot_keep_is_refused_in_a_list(file):
    with pytest.raises(ConfigError, match="betas in --set"):
        settings(**read_settings_file(file("betas: [0, .nan]")))


def test_a_check_that_spans_fields_becomes_a_config_error():
    with pytest.raises(ConfigError, match=r"the configuration of toy is not valid: .*width of 4"):
        settings(kind="fancy", width=2)


# Reading back


def test_a_configuration_survives_json():
    resolved = settings(width=5, betas="[0, 0.99]", limit=3, seed=2**40)
    back = json.loads(json.dumps(resolved.to_json()))
    assert read_config(Toy, back["config"], "file") == resolved.config
    assert read_config(RunConfig, back["run"], "file") == resolved.run
    assert (back["model"], back["preset"]) == ("toy", "")


@pytest.mark.parametrize("values", [{"wdith": 1}, {"width": "1"}, {"width": 0}, {1: 2}])
def test_a_stored_record_is_read_without_leniency(values):
    with pytest.raises(ConfigError, match=r"^weights\.safetensors: "):
        read_config(Toy, values, "weights.safetensors")


def test_the_config_json_of_a_run_is_a_settings_file(tmp_path):
    resolved = settings(width=5, rate=1e-5, batch_size=7)
    path = write(tmp_path / "config.json", json.dumps(resolved.to_json()))
    assert settings(**read_settings_file(path)) == resolved


@pytest.mark.parametrize(("text", "given"), [("[1, 2]", "list"), ("", "nothing")])
def test_a_settings_file_has_to_be_a_mapping(file, text, given):
    with pytest.raises(ConfigError, match=rf"must be a mapping.*given: {given}; try: lines"):
        read_settings_file(file(text))


def test_assignments_split_at_the_first_equals_sign():
    assert parse_assignments(["a=1", " b = x=y "]) == {"a": "1", "b": "x=y"}


@pytest.mark.parametrize("text", ["a", "=1", " =1"])
def test_an_assignment_without_key_or_sign_is_refused(text):
    with pytest.raises(ConfigError, match="key=value"):
        parse_assignments([text])


# Descriptions


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (int, "integer"),
        (Annotated[float, setting("", ge=0, lt=1)], "number >= 0 and < 1"),
        (Annotated[int, setting("", gt=0, le=2_000_000)], "integer > 0 and <= 2000000"),
        (Literal["a", 2], "one of a, 2"),
        (bool, "true or false"),
        (int | None, "integer or null"),
        (Annotated[int, setting("", ge=1)] | None, "integer >= 1 or null"),
        (tuple[float, float], "[number, number]"),
        (tuple[int, ...], "[integer, ...]"),
        (list[str], "[text, ...]"),
    ],
)
def test_a_type_is_described_as_a_person_says_it(kind, text):
    assert describe(kind) == text


def test_every_run_setting_says_what_it_means():
    for name, kind in fields(RunConfig).items():
        notes = [note for note in kind.__metadata__ if isinstance(note, msgspec.Meta)]
        assert any(note.description for note in notes), name


def test_the_settings_that_may_change_are_settings():
    assert set(fields(RunConfig)) > RunConfig.FREE


@pytest.mark.parametrize("value", [0, 4, 12, 24, -8])
def test_what_is_no_power_of_two_from_the_least_is_refused(value: int):
    with pytest.raises(ValueError, match=f"side must be a power of two >= 8, not {value}"):
        check_power_of_two("side", value, 8)


@pytest.mark.parametrize("value", [8, 16, 1024])
def test_powers_of_two_are_accepted(value: int):
    check_power_of_two("side", value, 8)


def test_a_fixed_probability_has_to_be_given():
    with pytest.raises(ConfigError, match="augment_prob above 0"):
        resolve("toy", ModelConfig, ("--set", {"augment": "fixed"}))


def test_exact_pictures_cannot_be_enlarged():
    with pytest.raises(ConfigError, match="fit=exact forbids"):
        resolve("toy", ModelConfig, ("--set", {"jitter": 4, "fit": "exact"}))


# As many classes as the data have


class Labeled(ModelConfig, frozen=True):
    num_classes: Annotated[int, setting("number of classes", ge=0)] = 0


class Sorter(ModelConfig, frozen=True):
    num_classes: Annotated[int, setting("number of classes", ge=2)] = 10


class Digits(ModelConfig, frozen=True):
    num_classes: Annotated[int, setting("number of classes", ge=0)] = 10


AUTO = ("--set", {"num_classes": "auto"})


def test_auto_takes_the_number_of_classes_of_the_data():
    resolved = resolve("toy", Labeled, ("preset", {"num_classes": 3}), AUTO)
    assert resolved.auto_classes
    settled = resolved.with_classes(12)
    assert settled.config.num_classes == 12
    assert not settled.auto_classes
    assert settled.with_classes(4) is settled  # it is decided once


def test_a_number_overrides_auto():
    layers = (("a.yaml", {"num_classes": "auto"}), ("--set", {"num_classes": "3"}))
    resolved = resolve("toy", Labeled, *layers)
    assert resolved.with_classes(12).config.num_classes == 3


def test_a_run_records_the_number_of_classes_as_if_it_had_been_typed():
    auto = resolve("toy", Labeled, AUTO).with_classes(3)
    assert auto.to_json() == resolve("toy", Labeled, ("--set", {"num_classes": 3})).to_json()
    assert auto.to_json().keys() == {"model", "preset", "config", "run"}


@pytest.mark.parametrize(("record", "expected"), [(Labeled, 0), (Digits, 0), (Sorter, 10)])
def test_auto_without_classes_is_none_where_a_model_can_be_without(record, expected):
    resolved = resolve("toy", record, ("preset", {"num_classes": 5}), AUTO)
    assert resolved.with_classes(0).config.num_classes == expected


def test_auto_gives_no_number_that_the_model_forbids():
    resolved = resolve("toy", Sorter, AUTO)
    with pytest.raises(ConfigError, match=r"num_classes=auto: 1 in the data: .*>= 2"):
        resolved.with_classes(1)


def test_only_a_number_of_classes_is_auto():
    with pytest.raises(ConfigError, match=r"allowed: integer >= 0, or auto; try"):
        resolve("toy", Labeled, ("--set", {"num_classes": "automatic"}))
    with pytest.raises(ConfigError, match=r"allowed: integer >= 1; try"):
        settings(width="auto")
    with pytest.raises(ConfigError, match="unknown configuration key 'num_classes'"):
        settings(num_classes="auto")
