"""The command line: what it takes, what it refuses, and how it ends."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import fields
from typing import get_args

import nibabel as nib
import pytest
import torch
import typer

from headct.cli import bundle, command, correct, datasets, phantom, predict, reproduce, runs, score
from headct.cli.main import app, main
from headct.cohort.workers import Workers
from headct.datasets import prepare as run_prepare
from headct.datasets.catalogue import CATALOGUE
from headct.pacs import StudyQuery
from headct.predict import PredictOptions
from headct.predict import correct as run_correct
from headct.reproduce import FAIR, PAPERS
from headct.scores.compare import COMPARED, compare_files
from headct.scores.score import RULES, SEVERAL_RATERS
from headct.scores.score import score as run_score
from headct.zoo.export import export
from headct.zoo.publish import publish
from tools.data.splits import SPLITS
from tools.phantom import write_phantoms
from tools.phantom.writer import LAYOUTS

TOP = typer.main.get_command(app)
WHERE = {"jobs", "scheduler", "scheduler_file"}  # options of `Workers`


def headct(*words: str, cwd=None) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "headct", *words], cwd=cwd, capture_output=True, text=True)


def commands() -> dict[str, typer.core.TyperCommand]:
    """Every command by its words."""
    found = {}
    for name, one in TOP.commands.items():
        found |= {f"{name} {sub}": c for sub, c in getattr(one, "commands", {}).items()} or {name: one}
    return found


def test_makes_phantoms(tmp_path):
    words = ["--shape", "32", "32", "8", "--spacing", "6", "6", "20", "--folds", "1", "--cases", "1"]
    assert headct("phantom", "--out", "2024", *words, cwd=tmp_path).returncode == 0  # a path, not a number
    assert nib.load(tmp_path / "2024" / "images" / "case_000.nii.gz").shape == (32, 32, 8)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("phantom --out X --test_case 3", "--test_case: expected an option of `headct phantom`, found none "
         "of this name; the nearest is --test-cases"),
        ("phantom --out X --typo 3", "--typo: expected an option of `headct phantom`, found none of this "
         "name; `headct phantom --help` lists them"),
        ("phantom --out", "--out: expected a value, found none"),
        ("phantom --out --cases 3", "--out: expected a value, found the option --cases"),
        ("phantom", "--out: expected a value for `headct phantom`, found none"),
        ("phantom --out X --cases three", "--cases: expected a whole number, found 'three'"),
        ("phantom --out X --tilt=left", "--tilt: expected a number, found 'left'"),
        ("phantom --out X --cases 0", "cases: expected a whole number from 1, found 0"),
        ("phantom --out X 3", "`headct phantom`: expected no further argument, found 3"),
        ("phantom --out X --layout nifty", "--layout: expected one of nifti, ct_ich_v1, found 'nifty'; the "
         "nearest is nifti"),
        ("predict X --overwrite=3", "--overwrite: expected no value, found one"),
        ("predikt X", "`headct`: expected one of predict, correct, phantom, crossval, best-epoch, symmetry, "
         "datasets, score, bundle, reproduce, found 'predikt'; the nearest is predict"),
        ("score", "`headct score`: expected one of folder, compare, subgroups, found none"),
        ("score folder 1", "TRUTH: expected a value for `headct score folder`, found none"),
        ("score folder 1 2", "2: expected a folder of label maps or a datalist JSON, found no such file"),
        ("phantom 2024", "--out: expected a value for `headct phantom`, found none"),
        ("crossval dunet --out 2024 --set dataset_dir=2024", "dataset_dir: expected a path (./2024 if it "
         "looks like a number or a list), found 2024"),
        ("score folder 1 2 --classes 1=", "--classes: expected VALUE=NAME, such as 3=ivh, found '1='"),
        ("reproduce hssayeni2020",
         "`headct reproduce hssayeni2020`: expected one of --quick, --fair and --full, found none"),
        ("reproduce dunet",
         "`headct reproduce dunet`: expected one of --quick, --fair and --full, found none"),
        ("reproduce abramova2022", "`headct reproduce abramova2022`: expected --fair, found no size"),
        ("reproduce li2021-pretrained",
         "`headct reproduce li2021-pretrained`: expected --fair, found no size"),
        ("reproduce dunet --fair --full",
         "`headct reproduce dunet`: expected one of --quick, --fair and --full, "
         "found --fair and --full"),
        ("reproduce li2021 --fair",
         "anatomy: expected a folder of label maps (see docs/phantom.md), found none"),
        ("reproduce li2021 --quick --dataset-dir X", "--dataset-dir: expected an option of `headct reproduce "
         "li2021`, found none of this name; `headct reproduce li2021 --help` lists them"),
        ("reproduce dunet --quick --only-folds a", "--only-folds: expected numbers separated by commas, "
         "found 'a'"),
        ("crossval dunet --set max_epochs", "--set: expected KEY=VALUE, found 'max_epochs'"),
        ("crossval dunet --out X --set dataset_dri=/data", "dataset_dri: expected a key of dunet's "
         "configs/train.yaml, found none of this name; the nearest is dataset_dir"),
        ("bundle export dunet model.ts", "model.ts: expected a file name that ends in .onnx or .pt2, found "
         "another"),
        ("bundle export dunet model.pt2 --size 8,x", "--size: expected whole numbers separated by commas, "
         "found '8,x'"),
        ("symmetry nothing.nii", "nothing.nii: expected a NIfTI file or a folder of DICOM files, found "
         "nothing there"),
    ],
)  # fmt: skip
def test_one_line_and_nothing_written(tmp_path, monkeypatch, capsys, words, line):
    monkeypatch.chdir(tmp_path)
    assert main(words.split()) == 2
    output = capsys.readouterr()
    assert output.err == f"error: {line}\n"
    assert output.out == ""
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "words",
    [
        "phantom --cases 1 --shape 32 32 8 --spacing 6 6 20 --out FILE/x",
        "datasets prepare folder --root data --folds 0 --out FILE/x.json",
        "score folder data/labels data/labels --no-plots --out FILE/x",
        "score compare a.csv a.csv --columns dice --out FILE/x.csv",
        "bundle ship-weights model.pt FILE/x.pt",
        "bundle export gan_unet2d FILE/x.pt2 --size 32,32",
        "symmetry data/images/case_000.nii.gz --map FILE/x.nii.gz",
        "symmetry data/images/case_000.nii.gz --picture FILE/x.png",
        "crossval gan_unet2d --folds 2 --dataset-dir data --out FILE/x",
        "predict data/images --out FILE/x --bundle gan_unet2d",
        "reproduce dunet --quick --work-dir FILE/x",
    ],
)
def test_what_the_system_refuses_is_one_line(tmp_path, monkeypatch, capsys, words):
    """A file where a folder belongs: it stands for all errors of a disk, which root meets too."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FILE").touch()
    (tmp_path / "a.csv").write_text("case,dice\n1,0.5\n2,0.6\n")
    torch.save({"a": torch.ones(1)}, "model.pt")
    write_phantoms("data", 2, folds=2, shape=(64, 64, 12), spacing=(3, 3, 12))
    assert main(words.split()) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert len(errors) == 1
    assert re.match(
        r"error: \S*FILE\S*: expected .*found:? .*(Not a directory|File exists|another file|no folder)",
        errors[0],
    ), errors


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"case,dice\n1,0.5\n2\n", "2 cells in each row, as in the first, found 1 in row 3"),
        (b"case,dice\n1,0.5,0.7\n2,0.1\n", "2 cells in each row, as in the first, found 3 in row 2"),
        (b"case,dice\n1,\xff\n", "a table (CSV, UTF-8), found"),
        (b"", "a per-case table with a column 'case' and at least one row"),
    ],
)
def test_ragged_tables(tmp_path, capsys, content, found):
    table = tmp_path / "a.csv"
    table.write_bytes(content)
    assert main(["score", "compare", str(table), str(table), "--columns", "dice"]) == 2
    assert capsys.readouterr().err.startswith(f"error: {table}: expected {found}")


def test_as_a_process(tmp_path):
    result = headct("score", "compare", "a.csv", "b.csv", "--colums", "dice", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.endswith("found none of this name; the nearest is --columns\n")
    assert len(result.stderr.splitlines()) == 1


def test_the_end_of_a_process_is_one_line(tmp_path):
    """SIGTERM ends a command as Ctrl-C does."""
    words = ["--cases", "500", "--shape", "32", "32", "8", "--spacing", "6", "6", "20"]
    process = subprocess.Popen(
        [sys.executable, "-m", "headct", "phantom", "--out", "x", *words],
        cwd=tmp_path, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while not list(tmp_path.glob("x/truth/*.json")):
        assert process.poll() is None
        time.sleep(0.1)
    process.terminate()
    errors = process.communicate()[1]
    assert process.returncode == 130
    assert errors.splitlines()[-1] == "interrupted"
    assert "Traceback" not in errors


def test_names_on_a_terminal_that_is_not_utf_8():
    """As on Windows, where what is written to a file is cp1252."""
    script = "from headct.cli.main import main; main(['--help']); print('K\\u00f6pfe \\u8111')"
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252"}
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, env=environment, check=True)
    assert result.stdout.splitlines()[-1] == b"K\xf6pfe \\u8111"


def test_help_imports_nothing_heavy():
    heavy = (
        "[name for name in ('torch', 'monai', 'numpy', 'rich', 'pydantic', 'jinja2') if name in sys.modules]"
    )
    script = f"import sys; from headct.cli.main import main; main(['--help']); print({heavy})"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"
    assert all(name in result.stdout for name in TOP.commands)


def test_every_command_and_option_says_what_it_is(capsys):
    for words, one in commands().items():
        assert one.help, words
        assert "_" not in words
        for parameter in one.params:
            assert parameter.name == "help" or parameter.help, f"{words} {parameter.name}"
            assert not any("_" in name for name in parameter.opts if name.startswith("--"))
        assert main([*words.split(), "--help"]) == 0
    assert "--save-probabilities" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("shown", "function", "apart"),
    [
        (phantom.phantom, write_phantoms, {"each", *WHERE}),
        (datasets.prepare, run_prepare, set()),
        (score.folder, run_score, set()),
        (score.compare, compare_files, {"columns"}),
        (correct.correct, run_correct, set()),
        (bundle.publish, publish, set()),
        (bundle.export, export, set()),
    ],
)
def test_commands_have_the_arguments_of_their_functions(shown: Callable, function: Callable, apart: set[str]):
    """Same names, same defaults; a path's may be text there."""
    own, theirs = (inspect.signature(one).parameters for one in (shown, function))
    assert set(own) | apart == set(theirs) | apart
    for name in set(own) - apart:
        assert str(own[name].default) == str(theirs[name].default), name


@pytest.mark.parametrize(
    "shown",
    [phantom.phantom, predict.predict, runs.crossval, *(getattr(reproduce, paper) for paper in PAPERS)],
)
def test_cohorts_have_one_way_to_say_where_they_run(shown):
    own = inspect.signature(shown).parameters
    assert {name: own[name].default for name in WHERE} == {
        field.name: field.default for field in fields(Workers)
    }


def test_predict_has_the_options_of_its_function():
    own = inspect.signature(predict.predict).parameters
    options = {field.name: field.default for field in fields(PredictOptions)}
    pacs = {field.name for field in fields(StudyQuery)}
    assert set(own) == {"input", "bundle", "out", *options, *WHERE, *pacs, "send"}
    assert {name: own[name].default for name in options} == {**options, "progress": True}


def test_choices_are_those_that_there_are():
    def choices(function: Callable, name: str) -> set[str]:
        kind = get_args(inspect.get_annotations(function, eval_str=True)[name])[0]
        words = {word for part in (kind, *get_args(kind)) for word in get_args(part)}
        return {word for word in words if isinstance(word, str)}

    assert choices(phantom.phantom, "layout") == set(LAYOUTS)
    assert choices(datasets.prepare, "dataset") == set(CATALOGUE)
    assert choices(datasets.prepare, "by") == set(SPLITS)
    assert choices(score.folder, "rules") == {*RULES, SEVERAL_RATERS}
    assert set(TOP.commands["reproduce"].commands) == {*PAPERS, *FAIR}
    assert command.names(inspect.signature(score.compare).parameters["columns"].default) == list(COMPARED)


@pytest.mark.parametrize("paper", sorted({*PAPERS, *FAIR}))
def test_papers_have_the_options_of_their_modules(paper):
    modules = [paper] * (paper in PAPERS) + [f"fair.{paper}"] * (paper in FAIR)
    names = [module.replace("-", "_") for module in modules]
    kinds = [importlib.import_module(f"headct.reproduce.{name}").Options for name in names]
    own = set(inspect.signature(getattr(reproduce, paper.replace("-", "_"))).parameters)
    sizes = {size for size, papers in (("quick", PAPERS), ("fair", FAIR)) if paper in papers}
    assert own - {*sizes, "out", "work_dir", "settings", *WHERE} == {
        f.name for kind in kinds for f in fields(kind)
    }


def test_values():
    """Of keys as MONAI's command line reads them."""
    found = command.keys(["a=1", "b=0.001", "c=[96,96]", "d={cases: 3}", "e=x=y", "f=true", "g#h=None"])
    assert found == {
        "a": 1, "b": 0.001, "c": [96, 96], "d": {"cases": 3}, "e": "x=y", "f": "true", "g#h": None
    }  # fmt: skip
    assert command.names("a, b,") == ["a", "b"]
    assert score._classes("edh,iph") == ["edh", "iph"]
    assert score._classes("3=ivh, 5=sdh") == {3: "ivh", 5: "sdh"}
    assert reproduce._numbers("1,2") == [1, 2]
