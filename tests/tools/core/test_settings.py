"""Values of a configuration that are refused, each in one line, and those that are not."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
from monai.bundle import ConfigParser

from tools.core.errors import InputError
from tools.core.settings import TABLE, check_values

CONFIG = {
    "imports": ["$import torch"],
    "device": "cpu",
    "sw_batch_size": "$8 if torch.device(@device).type == 'cpu' else 256",
    "fold": 0,
    "seed": 0,
    "amp": "auto",
    "resume": "True",
    "dataset_dir": "data",
    "datalist": {"_target_": "pathlib.Path.touch", "self": "$__import__('pathlib').Path('made')"},
    "input": {"spacing": None, "window": [0, 100], "windows": None, "symmetric": "yes", "size": [256, 256]},
    "network_def": {
        "_target_": "UNet",
        "in_channels": "$1 + bool(@input::symmetric)",
        "features": [32, 64],
        "dropout": [0.25],
    },
    "roi_size": [32, 32, 16],
    "step": None,
    "overlap": 0.5,
    "threshold": 0.5,
    "sampling": {"lesion": 0.5, "brain": 0.5},
    "batch_size": 4,
    "patches_per_case": "$32 if @datalist else 1",
    "max_epochs": 3,
    "lesion_weight": 1.0,
    "learning_rate": 1e-3,
    "start_from": None,
    "picture_window": [40, 120],
    "training": "@run",
}
COUNT = "a whole number from 1"
BAD = [
    ("max_epochs", -5, COUNT),
    ("max_epochs", 2.5, COUNT),
    ("max_epochs", True, COUNT),
    ("max_epochs", None, COUNT),
    ("max_epochs", "$2 - 5", COUNT),
    ("max_epochs", "@fold", COUNT),
    ("batch_size", 0, COUNT),
    ("sw_batch_size", "many", COUNT),
    ("overlap", 2, "a number from 0 to below 1"),
    ("overlap", 1, "a number from 0 to below 1"),
    ("threshold", 2, "a number from 0 to 1"),
    ("threshold", float("nan"), "a number from 0 to 1"),
    ("learning_rate", -1, "a number above 0"),
    ("lesion_weight", -5, "a number above 0"),
    ("fold", 0.7, "a whole number from 0"),
    ("fold", "abc", "a whole number from 0"),
    ("fold", -1, "a whole number from 0"),
    ("seed", "abc", "a whole number from 0"),
    ("device", "xyz", "a device of this machine, such as cpu or cuda:0"),
    ("device", "cuda:99", "a device of this machine, such as cpu or cuda:0"),
    ("device", None, "a device of this machine, such as cpu or cuda:0"),
    ("amp", "maybe", "auto, true or false"),
    ("resume", "perhaps", "true or false"),
    ("dataset_dir", 2024, "a path (./2024 if it looks like a number or a list)"),
    ("dataset_dir", "", "a path (./2024 if it looks like a number or a list)"),
    ("start_from", 5, "a path (./2024 if it looks like a number or a list), or null"),
    ("network_def#features", [4], "a whole number from 1, or two or more of them"),
    ("network_def#features", [4, 0], "a whole number from 1, or two or more of them"),
    ("network_def#activation", "tanh", "relu or leakyrelu"),
    ("network_def#dropout", 1.5, "a number from 0 to below 1, or a list of them"),
    ("input#window", [100, 0], "two numbers in HU, the lower first"),
    ("input#window", [0, 1, 2], "two numbers in HU, the lower first"),
    ("input#window", [0, "b"], "two numbers in HU, the lower first"),
    ("input#windows", [[0, 80], [5, 5]], "a list of pairs of numbers in HU, the lower first, or null"),
    ("input#spacing", [0, 0, 0], "three sizes above 0, in mm, or null"),
    ("input#spacing", 5, "three sizes above 0, in mm, or null"),
    ("input#size", [0, 256], "two whole numbers from 1, in pixels"),
    ("input#symmetric", "both", "true or false"),
    ("input", 3, "a mapping of names to values"),
    ("network_def", 3, "a mapping of names to values"),
    ("picture_window", [40, -1], "level and width in HU, the width above 0"),
    ("roi_size", [32, 32], "three whole numbers from 1, in voxels"),
    ("step", [8, 8, 2.5], "three whole numbers from 1, in voxels, or null"),
    ("sampling", {"lesion": -1, "brain": 2}, "the name of a mix, or shares from 0 to 1 by region"),
    ("sampling", [0.5, 0.5], "the name of a mix, or shares from 0 to 1 by region"),
]


def parser_of(**changes: object) -> ConfigParser:
    parser = ConfigParser(copy.deepcopy(CONFIG))
    for key, value in changes.items():
        parser[key] = value
    return parser


@pytest.mark.parametrize(("key", "value", "expected"), BAD, ids=str)
def test_refused_in_one_line(key, value, expected):
    with pytest.raises(InputError) as error:
        check_values(parser_of(**{key: value}))
    found = {"$2 - 5": -3, "@fold": 0}.get(str(value), value)
    assert str(error.value) == f"{key}: expected {expected}, found {found!r}"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("max_epochs", "$2 + 5"),
        ("threshold", 1),
        ("learning_rate", 1),
        ("roi_size", (32, 32, 16)),  # as the command line reads round brackets
        ("input#windows", ((0, 80), (-20, 180))),
        ("input#spacing", [1, 1, 5.5]),
        ("device", "$torch.device('cpu')"),
        ("device", "$torch.device(@sw)"),  # of which nobody knows; what needs it will say so
        ("resume", False),
        ("resume", "off"),
        ("sampling", "brain"),
        ("network_def#features", 16),
        ("network_def#in_channels", 3),
        ("network_def", {"_target_": "UNet"}),
        ("start_from", "weights.pt"),
        ("of_nobody", -5),
    ],
)
def test_taken(key, value):
    parser = parser_of(**{key: value})
    before = copy.deepcopy(parser.config)
    check_values(parser)
    assert parser.config == before


def test_nothing_is_made(tmp_path, monkeypatch):
    """`patches_per_case` depends on a component, which would write a file."""
    monkeypatch.chdir(tmp_path)
    check_values(parser_of())
    assert not list(tmp_path.iterdir())
    parser_of().get_parsed_content("patches_per_case")
    assert Path("made").exists()


def test_an_expression_that_fails():
    with pytest.raises(InputError) as error:
        check_values(parser_of(max_epochs="$1 / 0"))
    assert str(error.value) == (
        "max_epochs: expected a value that can be computed, found '$1 / 0': division by zero"
    )


@pytest.mark.parametrize(
    ("changes", "needs"),
    [
        # side^3 voxels, of a batch of 4 in training and of 1 elsewhere, 32 features of 8 bytes each
        ({"roi_size": [256, 256, 256]}, "17.2 GB"),
        ({"roi_size": [512, 512, 512], "training": None}, "34.4 GB"),
        ({"batch_size": 2000}, "8.4 GB"),
    ],
)
def test_a_window_beyond_the_memory(monkeypatch, changes, needs):
    monkeypatch.setenv("HEADCT_MAX_GB", "8")
    with pytest.raises(InputError, match=rf"^roi_size: .* fit into 8.0 GB .* take {needs} or more \(HEADCT"):
        check_values(parser_of(**changes))
    monkeypatch.setenv("HEADCT_MAX_GB", "40")
    check_values(parser_of(**changes))


def test_a_window_beyond_the_memory_of_this_machine(monkeypatch):
    monkeypatch.delenv("HEADCT_MAX_GB", raising=False)
    with pytest.raises(InputError, match=r"^roi_size: expected windows that fit into"):
        check_values(parser_of(roi_size=[2**14] * 3))


def test_each_key_stands_once():
    keys = [key for names, *_ in TABLE for key in names.split()]
    assert len(keys) == len(set(keys)) > 60
