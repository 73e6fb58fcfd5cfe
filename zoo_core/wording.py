"""What people call settings elsewhere, and how one is typed: for messages, never for reading.

A word of another code is not taken for a setting, since its unit may differ; the error says what it
is called here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from zoo_core.errors import ConfigError, nearest
from zoo_core.filesystem import quoted


class Alias(NamedTuple):
    """The settings that a word can mean, the first that the model has, and what its value means."""

    settings: tuple[str, ...]
    times: int | None = 1  # None: the value is in a unit that cannot be converted


def _words(text: str, *settings: str, times: int | None = 1) -> dict[str, Alias]:
    return {word: Alias(settings, times) for word in text.split()}


WIDTH_G = ("generator_width", "generator_widths", "channel_base", "widths", "width")
WIDTH_D = ("discriminator_width", "discriminator_widths", "channel_base", "widths", "width")
ALIASES: Mapping[str, Alias] = {
    # what is trained on
    **_words("dataset dataroot data_dir data_path dataset_path train_dir path root", "data"),
    **_words("xflip hflip flip mirror_x horizontal_flip", "mirror"),
    **_words("direction a_to_b b_to_a swap", "reverse_pairs", times=None),
    **_words("crop preprocess resize_mode", "fit", times=None),
    # network
    **_words("size res image_size img_size imsize imgsize crop_size load_size", "resolution"),
    **_words("nc input_nc output_nc num_channels n_channels img_channels colors", "channels"),
    **_words("classes n_classes nclasses num_labels c_dim cond conditional label_dim labels",
             "num_classes", times=None),
    **_words("nz z z_dim zdim dim_z z_size latent latent_dim latents_dim noise_dim", "latent_size"),
    **_words("w_dim style_dim", "style_size"),
    **_words("map_depth n_mlp mapping_layers n_mapping", "num_mapping_layers"),
    **_words("ngf g_width gen_width", *WIDTH_G),
    **_words("ndf d_width disc_width", *WIDTH_D),
    **_words("cbase fmap_base", "channel_base"),
    **_words("cmax fmap_max max_channels", "channel_max", "max_width"),
    **_words("mbstd mbstd_group_size group", "group_size", "stddev_group"),
    **_words("n_layers_d num_d_layers", "num_discriminator_layers"),
    **_words("arch architecture model encoder", "backbone", times=None),
    **_words("netg", "generator", times=None),
    **_words("netd", "discriminator", times=None),
    **_words("norm_layer normalization", "norm", "generator_norm", times=None),
    # loss
    **_words("gan_mode gan_loss adversarial_loss loss_type criterion objective", "loss",
             times=None),
    **_words("gamma r1 r1_gamma r1_weight lambda_r1 gp lambda_gp gp_weight gp_lambda "
             "gradient_penalty", "penalty"),
    **_words("d_reg_every d_reg_interval r1_every r1_interval reg_interval", "penalty_every"),
    **_words("pl_weight path_regularize ppl_weight", "path_weight"),
    **_words("g_reg_every g_reg_interval", "path_every"),
    **_words("style_mixing mixing style_mixing_prob", "mixing_prob"),
    **_words("lambda_l1 l1_weight l1_lambda", "l1"),
    **_words("epsilon_drift drift_weight", "drift"),
    **_words("smoothing", "label_smoothing"),
    # optimizer
    **_words("lr lrate alpha g_lr d_lr glr dlr lr_g lr_d base_lr rate step_size", "learning_rate"),
    **_words("final_lr end_lr min_lr", "learning_rate_end"),
    **_words("b1 adam_beta1", "beta1"),
    **_words("b2 adam_beta2", "beta2"),
    **_words("wd decay", "weight_decay"),
    **_words("optim opt", "optimizer"),
    **_words("bs batch batchsize b mini_batch minibatch train_batch_size", "batch_size"),
    **_words("grad_accum accumulate accumulation batch_gpu micro_batch_size", "micro_batch",
             times=None),
    **_words("warmup warmup_steps warmup_epochs", "warmup_images", times=None),
    **_words("ema ema_decay ema_beta ema_rate", "ema_half_life", times=None),
    **_words("ema_kimg", "ema_half_life", times=1000),
    **_words("freezed freeze freeze_discriminator", "freeze_d"),
    # augmentation
    **_words("aug augmentation augs", "augment"),
    **_words("p aug_p augment_p aug_prob", "augment_prob"),
    **_words("target ada_p", "ada_target"),
    **_words("ada_kimg ada_length", "ada_images", times=None),
    **_words("policy diff_augment", "diffaugment", times=None),
    **_words("dropout", "drop_rate", "hidden_dropout"),
    # run
    **_words("kimg total_kimg num_kimg", "images", times=1000),
    **_words("nimg num_images n_images total_images samples", "images"),
    **_words("epochs epoch n_epochs num_epochs niter n_iter iter iters iterations num_iterations "
             "steps num_steps max_steps train_steps duration", "images", times=None),
    **_words("snap save_every save_freq save_interval ckpt_every checkpoint_interval",
             "checkpoint_every", times=None),
    **_words("log_freq log_interval print_freq", "log_every", times=None),
    **_words("sample_freq sample_interval img_snap display_freq", "sample_every", times=None),
    **_words("eval_every eval_freq metrics_every fid_every", "evaluate_every", times=None),
    **_words("fid_samples num_fid_samples eval_samples", "evaluate_count"),
    **_words("num_workers nworkers n_workers threads num_threads", "workers"),
    **_words("amp fp16 half mixed_precision dtype", "precision", times=None),
    **_words("gpu gpus gpu_ids cuda", "device", times=None),
    **_words("manual_seed random_seed", "seed"),
    **_words("resume pretrained init checkpoint ckpt weights finetune", "start_from"),
}  # fmt: skip
IN_IMAGES = "a number of images seen: a step is a batch of them, an epoch all of them once"
CALLED = {"num_classes": "classes"}  # what a setting is about, where that says more than its name


def meant_by(word: str, keys: Iterable[str]) -> tuple[str, int | None]:
    """The setting that a word means, if it is one of `keys`, and the factor of its value."""
    alias, known = _alias(word), set(keys)
    found = [] if alias is None else [key for key in alias.settings if key in known]
    return (found[0], alias.times) if alias and found else ("", None)


def _alias(word: str) -> Alias | None:
    return ALIASES.get(str(word).strip("-").lower().replace("-", "_"))  # YAML keys need not be text


def as_typed(key: str, value: Any, origin: str) -> str:
    """A setting as it is typed where the wrong one came from."""
    text = _text(value)
    if origin in ("--set", "--change"):
        return f"{origin} {quoted(f'{key}={text}')}"
    if origin == "the command line":
        option = {"start_from": "from"}.get(key, key).replace("_", "-")
        return f"--{option} {quoted(text)}"
    if origin.endswith((".yaml", ".yml", ".json")):
        return f"{key}: {text} in {origin}"
    return f"{key}={value!r}"


def unknown_key(
    key: str,
    value: Any,
    origin: str,
    model: str,
    examples: Mapping[str, Any],  # a value of each setting that there is
    elsewhere: Callable[[str], Sequence[str]],  # names of the models with a setting
) -> ConfigError:
    """The error for a key that is none: what it is called here, or which models have it."""
    said = f"unknown configuration key {key!r} in {origin}"
    found, times = meant_by(key, examples)
    if found:
        same = isinstance(value, str | int | float) and not isinstance(value, bool)
        new = _times(value, times) if same and times else examples[found]
        in_images = times is None and found.endswith(("images", "_every"))
        return ConfigError(
            said,
            near=[found],
            allowed=IN_IMAGES if in_images else "",
            hint=as_typed(found, new, origin),
        )
    alias = _alias(key)
    for other in (key, *(alias.settings if alias else ())):
        if models := elsewhere(other):
            what = CALLED.get(other, f"setting {other!r}")
            return ConfigError(
                f"{model} has no {what}: {said}",
                allowed=f"{other} is a setting of {', '.join(models)}",
                hint="zoo list" if other in CALLED else f"zoo show {models[0]}",
            )
    return ConfigError(
        said,
        near=nearest(str(key), examples),
        hint=f"--preset {value}" if key == "preset" else f"zoo show {model}",
    )


def _times(value: Any, times: int) -> Any:
    """The value in the unit of the setting: 200 thousands are 200k."""
    return value if times == 1 else f"{value}k"


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ",".join(map(_text, value))
    return "null" if value is None else str(value)


_COUNT = re.compile(r"(\d{1,18})(?:\.(\d{1,18}))?\s*([kKmM])?")
_GROUPED = re.compile(r"\d{1,3}([,_]\d{3}){1,5}")


def image_count(text: str) -> int | None:
    """A number of images as people write it: 2000, 2k, 1.5M, 10,000; None for anything else."""
    text = text.strip()
    if _GROUPED.fullmatch(text):
        return int(re.sub("[,_]", "", text))
    if (match := _COUNT.fullmatch(text)) is None:
        return None
    whole, fraction, unit = match[1], (match[2] or "").rstrip("0"), (match[3] or "").lower()
    zeros = {"": 0, "k": 3, "m": 6}[unit] - len(fraction)
    return None if zeros < 0 else int(whole + fraction) * 10**zeros
