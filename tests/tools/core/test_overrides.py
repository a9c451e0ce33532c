"""What the command line of `python -m monai.bundle run` may override, on small configurations."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import monai.bundle
import pytest
import yaml
from monai.bundle import ConfigParser, ConfigWorkflow

from tools.core.errors import InputError
from tools.core.overrides import check_overrides, refuse_unknown_overrides

TRAIN = {
    "dataset_dir": "data",
    "epochs": 3,
    "loss": {"_target_": "DiceLoss", "sigmoid": True},
    "table": {"_target_": "cases_of_overrides.anything", "a": 1},
    "child": {"_target_": "cases_of_overrides.Child", "own": 1},
    "train": {"handlers": [{"_target_": "StatsHandler", "name": "x"}], "window": [0, 100]},
    "max_epochs": 3,
    "initialize": [{"_target_": "tools.core.overrides.refuse_unknown_overrides"}],
    "run": ["$print('ran')"],
}
OVERLAY = {"patience": 5, "train#interval": 2}
PROGRAM = str(Path(monai.bundle.__file__).parent / "__main__.py")


@pytest.mark.parametrize("text", ["2024", "2024_01", "1e3", "a,b", "True", "{1}"])
def test_paths_that_look_like_something_else(files, monkeypatch, text):
    """What python-fire makes of them is not what was written: 2024_01 becomes 202401."""
    monkeypatch.setattr(sys, "argv", [PROGRAM, "run", "--config_file", files[0], "--dataset_dir", text])
    with pytest.raises(InputError, match=r"^dataset_dir: expected a path \(\./2024 if .*\), found "):
        refuse_unknown_overrides()
    monkeypatch.setattr(
        sys, "argv", [PROGRAM, "run", "--config_file", files[0], "--dataset_dir", f"./{text}"]
    )
    refuse_unknown_overrides()


def anything(**names: object) -> None:
    """Takes any argument."""


class Parent:
    def __init__(self, given: int = 0) -> None:
        self.given = given


class Child(Parent):
    """Hands on what it does not know."""

    def __init__(self, own: int, **names: int) -> None:
        super().__init__(**names)


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """pytest keeps this file out of `sys.modules` under its name."""
    monkeypatch.setitem(sys.modules, "cases_of_overrides", sys.modules[__name__])


@pytest.fixture
def files(tmp_path) -> list[str]:
    names = []
    for name, content in (("train", TRAIN), ("overlay", OVERLAY)):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(content))
        names.append(str(tmp_path / f"{name}.yaml"))
    return names


@pytest.fixture
def refuse(monkeypatch):
    def call(*arguments: str) -> None:
        monkeypatch.setattr(sys, "argv", [PROGRAM, "run", *arguments])
        refuse_unknown_overrides()

    return call


@pytest.mark.parametrize(
    "words",
    [
        ["--dataset_dir", "/data"],
        ["--dataset-dir=/data"],  # fire takes a dash for an underscore
        ["--epochs", "3", "--train#handlers", "[]"],
        ["--train#handlers#0#_disabled_", "True", "--train::handlers::0::name", "y"],
        ["--loss#batch", "True"],  # an argument of the component that the file leaves at its default
        ["--table#b", "2"],
        ["--child#given", "2"],
        ["--loss", "{_target_: FocalLoss}", "--loss#gamma", "3"],  # of the component that is put there
        ["--_meta_#version", "9"],
        ["--meta_file", "m.json", "--logging_file", "l.conf", "--run_id", "training", "--final_id", "end"],
        ["--tracking", "mlflow", "--experiment_name", "mine"],
    ],
)
def test_keys_that_are_there(refuse, files, words):
    refuse("training", "--config_file", files[0], *words)
    refuse("--config_file", files[0], "--run_id", "training", *words)


@pytest.mark.parametrize(
    ("words", "key", "nearest"),
    [
        (["--dataset_dri", "/data"], "dataset_dri", "dataset_dir"),
        (["--dataset-dri=/data"], "dataset_dri", "dataset_dir"),
        (["--epochs", "3", "--epoch", "4"], "epoch", "epochs"),
        (["--loss#sigmiod", "True"], "loss#sigmiod", "loss#sigmoid"),
        (["--loss#squared_prde", "True"], "loss#squared_prde", "loss#squared_pred"),
        (["--train::handler", "[]"], "train::handler", "train#handlers"),
        (["--train#handlers#0#nmae", "y"], "train#handlers#0#nmae", "train#handlers#0#name"),
        (["--patience", "2"], "patience", None),  # of the overlay, which is not used
        (["--experiment_name", "mine"], "experiment_name", None),  # nobody tracks
        (["--child#givne", "2"], "child#givne", "child#given"),
        (["--window", "[0, 80]"], "window", "train#window"),  # as it is called further inside
        (["--resume"], "resume", None),
    ],
)
def test_keys_that_are_not(refuse, files, words, key, nearest):
    with pytest.raises(InputError) as error:
        refuse("training", "--config_file", files[0], *words)
    hint = f"; the nearest is {nearest}" if nearest else ""
    assert str(error.value) == f"{key}: expected a key of {files[0]}, found none of this name{hint}"


def test_values_of_another_kind(refuse, files, tmp_path):
    refuse("training", "--config_file", files[0], "--max_epochs", "5")
    with pytest.raises(InputError, match=r"^max_epochs: expected a whole number from 1, found -5$"):
        refuse("training", "--config_file", files[0], "--max_epochs", "-5")
    arguments = tmp_path / "args.json"
    arguments.write_text(json.dumps({"config_file": files[0], "max_epochs": "5"}))
    with pytest.raises(InputError, match=r"^max_epochs: expected a whole number from 1, found '5'$"):
        refuse("--args_file", str(arguments))


@pytest.mark.parametrize("word", ["None", "null"])
def test_none_has_to_be_an_expression(refuse, files, tmp_path, word):
    """MONAI leaves out an override that is None, and the value of the file stays."""
    message = rf"^epochs: expected a value, found {word}: write --epochs '\$None' for none$"
    with pytest.raises(InputError, match=message):
        refuse("training", "--config_file", files[0], "--epochs", word)
    given = ["--config_file", files[0], "--epochs", "$None"]
    refuse("training", *given)
    (arguments := tmp_path / "args.json").write_text(json.dumps({"config_file": files[0], "epochs": None}))
    refuse("--args_file", str(arguments))


def test_keys_of_an_overlay(refuse, files):
    both = str(files)
    refuse("training", "--config_file", both, "--patience", "2", "--train#interval", "1")
    with pytest.raises(InputError, match=rf"patient: .* {files[0]} and {files[1]}, .*patience"):
        refuse("training", "--config_file", both, "--patient", "2")


def test_keys_of_an_args_file(refuse, files, tmp_path):
    arguments = tmp_path / "args.json"
    arguments.write_text(json.dumps({"config_file": files[0], "run_id": "training", "epochs": 4}))
    refuse("--args_file", str(arguments), "--dataset_dir", "x")
    arguments.write_text(json.dumps({"config_file": files[0], "epochen": 4}))
    with pytest.raises(InputError, match=r"epochen: expected a key .* the nearest is epochs"):
        refuse("--args_file", str(arguments))


def test_other_programs_are_left_alone(monkeypatch, files):
    """MONAI Label passes keys of its own, and so may a program that calls MONAI."""
    for program in (["pytest", "--dataset_dri", "x"], [PROGRAM, "ckpt_export", "--dataset_dri", "x"]):
        monkeypatch.setattr(sys, "argv", program)
        refuse_unknown_overrides()
        monai.bundle.run(run_id="run", config_file=files[0], dataset_dri="x")


def test_a_workflow_stops_before_it_runs(monkeypatch, files, capsys):
    monkeypatch.setattr(sys, "argv", [PROGRAM, "run", "--config_file", files[0], "--dataset_dri", "x"])
    workflow = ConfigWorkflow(files[0], dataset_dri="x")
    with pytest.raises(RuntimeError) as error:
        workflow.initialize()
    assert isinstance(error.value.__cause__, InputError)
    assert "ran" not in capsys.readouterr().out


def test_values_are_taken_as_they_are(files):
    parser = ConfigParser()
    parser.read_config(files[0])
    check_overrides(parser, {"epochs": "4", "loss#batch": True, "train#handlers": []}, "it")
    assert parser["epochs"] == "4"
    assert parser["loss"]["batch"] is True
    assert parser["train"] == {"handlers": [], "window": [0, 100]}
    with pytest.raises(InputError, match=r"trian#handlers: expected a key of it, .* the nearest is train"):
        check_overrides(parser, {"trian#handlers": []}, "it")
