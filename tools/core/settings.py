"""What the values of a bundle's configuration may be: types and ranges, one table for all bundles.

A value of another kind would end a run long after it began, in words that name no key, or train on nonsense.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import torch
from monai.bundle import ConfigComponent, ConfigParser, ReferenceResolver
from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from tools.core.errors import InputError, input_error
from tools.core.flags import WORDS
from tools.core.limits import device_bytes, in_gb


def _device(value: Any) -> Any:
    device = torch.device(value)
    if device.type == "cuda":
        if (device.index or 0) >= torch.cuda.device_count():
            raise ValueError
    else:
        torch.empty(0, device=device)
    return value


def _if(holds: Callable[[Any], bool]) -> AfterValidator:
    """Refuse a value for which that does not hold."""

    def checked(value: Any) -> Any:
        if not holds(value):
            raise ValueError
        return value

    return AfterValidator(checked)


def _is_switch(value: Any) -> bool:
    return value is None or value in (0, 1) or str(value).strip().lower() in WORDS


Whole = Annotated[int, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[Number, Field(gt=0)]
NotNegative = Annotated[Number, Field(ge=0)]
Share = Annotated[Number, Field(ge=0, le=1)]
BelowOne = Annotated[Number, Field(ge=0, lt=1)]
Text = Annotated[str, Field(min_length=1)]
Switch = Annotated[Any, _if(_is_switch)]
Pair = Annotated[Sequence[Number], Field(min_length=2, max_length=2)]
Window = Annotated[Pair, _if(lambda window: window[0] < window[1])]
Width = Annotated[Pair, _if(lambda window: window[1] > 0)]
Sizes2 = Annotated[Sequence[Count], Field(min_length=2, max_length=2)]
Sizes3 = Annotated[Sequence[Count], Field(min_length=3, max_length=3)]
Spacing = Annotated[Sequence[Positive], Field(min_length=3, max_length=3)]

PATH = "a path (./2024 if it looks like a number or a list)"  # as which python-fire reads 2024, 1e3 and a,b
TABLE: tuple[tuple[str, str, Any], ...] = (
    # keys of any bundle, what is expected there in words, and as a type; first what others are computed from
    ("device", "a device of this machine, such as cpu or cuda:0", Annotated[Any, AfterValidator(_device)]),
    (
        "resume compile redraw adversarial use_imagenet_pretrain save_probabilities "
        "input#symmetric input#cta",
        "true or false",
        Switch,
    ),
    ("seed fold checkpoint_every num_workers", "a whole number from 0", Whole),
    ("phantom#seed phantom#test_cases", "a whole number from 0", Whole),
    (
        "batch_size sw_batch_size patches_per_case max_epochs pretrain_epochs patience pretrain_patience "
        "val_interval time_limit hard_case_copies samples_per_visit window_size window_stride close_open "
        "discriminator_features network_def#in_channels network_def#out_channels network_def#spatial_dims "
        "network_def#bridge_channels network_def#encoder_depth phantom#cases phantom#folds",
        "a whole number from 1",
        Count,
    ),
    ("learning_rate encoder_learning_rate lesion_weight small_mm2", "a number above 0", Positive),
    ("save_minutes border_mm beta", "a number from 0", NotNegative),
    ("threshold min_component refine label_smoothing", "a number from 0 to 1", Share),
    ("overlap", "a number from 0 to below 1", BelowOne),
    ("freeze_epochs", "a whole number from 0, or null", Whole | None),
    ("network_def#deep_supervision", "True or False", bool),
    ("amp", "auto, true or false", Literal["auto"] | Switch),
    (
        "bundle_root dataset_dir phantom_dir example_dir cache_dir ckpt_dir output_dir datalist_name "
        "ckpt_path",
        PATH,
        Text,
    ),
    ("start_from encoder_weights_path anatomy background", f"{PATH}, or null", Text | None),
    ("ckpt_paths", "a pattern of files or a list of them", Text | Sequence[Text]),
    ("split", "patient or slice", Literal["patient", "slice"]),
    ("select_by", "loss or dice", Literal["loss", "dice"]),
    ("sampling", "the name of a mix, or shares from 0 to 1 by region", Text | dict[Text, Share]),
    ("augmentation", "a mapping, such as {turns: x6}", dict[str, Any] | None),
    ("phantom input network_def", "a mapping of names to values", dict[str, Any]),
    ("class_names", "names by value, such as {1: edh}, or null", dict[Any, Text] | None),
    ("hard_cases", "a list of cases' names", Sequence[Text]),
    ("roi_size", "three whole numbers from 1, in voxels", Sizes3),
    ("step", "three whole numbers from 1, in voxels, or null", Sizes3 | None),
    ("input#size", "two whole numbers from 1, in pixels", Sizes2),
    ("input#spacing", "three sizes above 0, in mm, or null", Spacing | None),
    ("phantom#spacing", "three sizes above 0, in mm", Spacing),
    ("phantom#shape", "three whole numbers from 1, in voxels", Sizes3),
    ("input#window", "two numbers in HU, the lower first", Window),
    (
        "input#windows",
        "a list of pairs of numbers in HU, the lower first, or null",
        Annotated[Sequence[Window], Field(min_length=1)] | None,
    ),
    ("input#bone_hu", "a number in HU, or null", Number | None),
    ("input#normalisation", "window, percentile or minmax", Literal["window", "percentile", "minmax"]),
    ("picture_window", "level and width in HU, the width above 0", Width),
    (
        "network_def#features",
        "a whole number from 1, or two or more of them",
        Count | Annotated[Sequence[Count], Field(min_length=2)],
    ),
    ("network_def#activation", "relu or leakyrelu", Literal["relu", "leakyrelu"]),
    ("network_def#decoder_channels", "whole numbers from 1", Annotated[Sequence[Count], Field(min_length=1)]),
    (
        "network_def#dropout",
        "a number from 0 to below 1, or a list of them",
        BelowOne | Annotated[Sequence[BelowOne], Field(min_length=1)],
    ),
)

UNKNOWN = object()
BYTES_PER_FEATURE = 8
"""At the least, of a voxel: four feature maps of full resolution, in half precision."""
LEAST_WIDTH = 16  # feature maps of full resolution of a network that does not say how many
ALWAYS_THERE = 2 * 10**9  # bytes; for less, no GPU is asked how much it has


def check_values(parser: ConfigParser) -> None:
    """Check the values of a configuration against `TABLE`, and that a window fits into memory.

    Keys that the configuration lacks are passed over. References and expressions are followed where that
    makes no component, so that nothing is read, written or put on a device; the configuration is not changed.

    Raises:
        InputError: naming the key, what is expected there, and the value that was found.
    """
    for keys, expected, kind in TABLE:
        adapter = TypeAdapter(kind)
        for key in keys.split():
            value = _value(parser, key)
            if value is UNKNOWN:
                continue
            try:
                adapter.validate_python(_plain(value), strict=True)
            except (ValidationError, RuntimeError, TypeError) as error:
                raise InputError(f"{key}: expected {expected}, found {_short(value)}") from error
    _check_memory(parser)
    parser.ref_resolver.reset()


def _check_memory(parser: ConfigParser) -> None:
    """Raise `InputError` where the feature maps of a window, or of a training's batch, exceed the memory."""
    config: Any = parser.config
    key = "roi_size" if "roi_size" in config else "input#size"
    size = _value(parser, key)
    device, features = _value(parser, "device"), _value(parser, "network_def#features")
    batch = _value(parser, "batch_size") if config.get("training") else 1
    if UNKNOWN in (size, device, batch):
        return
    width = LEAST_WIDTH if features is UNKNOWN else features if isinstance(features, int) else features[0]
    needed = math.prod(size) * batch * width * BYTES_PER_FEATURE
    if needed > ALWAYS_THERE and needed > (there := device_bytes(device)):
        raise InputError(
            f"{key}: expected windows that fit into {in_gb(there)} of memory, found {_short(size)}, of which "
            f"{batch} at a time take {in_gb(needed)} or more (HEADCT_MAX_GB raises the limit)"
        )


def _value(parser: ConfigParser, key: str) -> Any:
    """The value of a key; `UNKNOWN` if there is no such key, or only a component could tell."""
    if not _is_cheap(parser, key, set()):
        return UNKNOWN
    try:
        return parser.get_parsed_content(key)
    except Exception as error:  # whatever an expression may raise
        if found := input_error(error):
            raise found from error
        cause = " ".join(str(error.__cause__ or error).split())
        raise InputError(
            f"{key}: expected a value that can be computed, found {_short(parser[key])}: {cause[:200]}"
        ) from error


def _is_cheap(parser: ConfigParser, key: str, seen: set[str]) -> bool:
    """Whether a key can be resolved, and without making a component."""
    config = _at(parser, key)
    if config is UNKNOWN or ConfigComponent.is_instantiable(config):
        return False
    if key in seen:  # in a circle, of which MONAI tells
        return True
    return all(
        _is_cheap(parser, name, {*seen, key}) for name in ReferenceResolver.find_refs_in_config(config, key)
    )


def _at(parser: ConfigParser, key: str) -> Any:
    """What stands at a key, or `UNKNOWN`; the parser's own look-up compares a missing one with all names."""
    config: Any = parser.config
    for part in ReferenceResolver.split_id(key):
        try:
            config = config[int(part) if isinstance(config, list) else part]
        except (KeyError, IndexError, TypeError, ValueError):
            return UNKNOWN
    return config


def _plain(value: Any) -> Any:
    """A value as files have it: the command line makes tuples of what stands in round brackets."""
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
