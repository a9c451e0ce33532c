"""Cross-validation on a bundle whose training takes no time: folds, interruption, tables, comparison."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch
from scipy import stats

from tools.crossval import assign_folds, collect, compare_variants, crossval
from tools.errors import InputError
from tools.metrics import read_csv
from tools.metrics.report import case_row

TRAIN = """
imports:
  - $import os
bundle_root: .
dataset_dir: data
ckpt_dir: models
output_dir: eval
fold: 0
dice: 0.5
broken_fold: -1
datalist:
  _target_: json.loads
  s: "$open(os.path.join(@bundle_root, @dataset_dir, 'dataset.json')).read()"
run:
  - {_target_: scripts.work.train, ckpt_dir: "@ckpt_dir", fold: "@fold", broken_fold: "@broken_fold"}
training: "@run"
"""
EVALUATE = """
run:
  - {_target_: scripts.work.evaluate, datalist: "@datalist", fold: "@fold", out: "@output_dir", dice: "@dice"}
evaluating: "@run"
training: null
"""
WORK = '''
"""Instead of a network: every case of the fold gets the same score, and who trained leaves a line."""
from pathlib import Path
from tools.metrics.tables import write_csv

def train(ckpt_dir, fold, broken_fold):
    Path(ckpt_dir).mkdir(parents=True, exist_ok=True)
    with Path(ckpt_dir, "trained.txt").open("a") as stream:
        stream.write("once\\n")
    if fold == broken_fold:
        raise ValueError("the power went out")

def evaluate(datalist, fold, out, dice):
    cases = [item for item in datalist["training"] if item["fold"] == fold]
    rows = [{"case": item["case"], "ivh": item["ivh"], "dice": dice, "iou": dice, "precision": dice,
             "recall": dice, "volume_ml": 1.0, "pred_volume_ml": 1.0, "tp": 1, "fp": 1, "fn": 1, "hit": 1,
             "false_alarm": None} for item in cases]
    write_csv(Path(out, "metrics", "per_case.csv"), rows)
'''


def cases(patients: int = 6, scans: int = 2) -> list[dict]:
    """Two scans of every patient, every third patient with intraventricular blood."""
    return [
        {"image": f"p{p}_{s}.nii.gz", "case": f"p{p}_{s}", "patient": f"p{p}", "ivh": p % 3 == 0}
        for p in range(patients)
        for s in range(scans)
    ]


@pytest.fixture
def bundle(tmp_path) -> Path:
    folder = tmp_path / "bundle"
    for name, text in {
        "configs/train.yaml": TRAIN,
        "configs/evaluate.yaml": EVALUATE,
        "configs/variants/better.yaml": "dice: 0.75\n",
        "scripts/__init__.py": "",
        "scripts/work.py": WORK,
        "data/dataset.json": json.dumps({"training": cases(), "testing": [{"image": "test.nii.gz"}]}),
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_finished_folds_are_kept_and_the_others_made(bundle, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    with pytest.raises(InputError, match=r"fold 1: expected training to succeed.*") as raised:
        crossval(str(bundle), folds=2, jobs=2, out=str(out), broken_fold=1)
    log = out / "default" / "fold_1" / "training.log"
    assert str(log) in str(raised.value)
    assert "the power went out" in log.read_text()
    marker = json.loads((out / "default" / "fold_0" / "run.json").read_text())
    assert marker["finished"]
    # other parameters would be another run: let the power be back without a word
    train = bundle / "scripts" / "work.py"
    train.write_text(train.read_text().replace("if fold == broken_fold", "if False"))
    crossval(str(bundle), folds=2, jobs=2, out=str(out), broken_fold=1)
    trained = {f: (out / "default" / f"fold_{f}" / "models" / "trained.txt").read_text() for f in (0, 1)}
    assert trained == {0: "once\n", 1: "once\nonce\n"}
    rows = read_csv(out / "default" / "per_case.csv")
    assert [row["case"] for row in rows] == sorted(item["case"] for item in cases())
    patients = {row["case"].split("_")[0]: set() for row in rows}
    for row in rows:
        patients[row["case"].split("_")[0]].add(row["fold"])
    assert all(len(folds) == 1 for folds in patients.values())
    page = (out / "default" / "summary.md").read_text()
    assert "| dice | 0.5 ± 0 | 0.5 ± 0 | 0.5 ± 0 |" in page
    assert page in capsys.readouterr().out


def test_folds_by_patient():
    dealt = assign_folds(cases(), 3)
    for patient in range(6):
        assert len({item["fold"] for item in dealt if item["patient"] == f"p{patient}"}) == 1
    assert [sum(item["fold"] == fold for item in dealt) for fold in range(3)] == [4, 4, 4]
    with_ivh = [sum(item["fold"] == fold and item["ivh"] for item in dealt) for fold in range(3)]
    assert sorted(with_ivh) == [0, 2, 2]
    assert assign_folds(cases(), 3) == dealt
    assert assign_folds(cases(), 3, seed=1) != dealt


def test_folds_of_the_datalist_are_kept_unless_they_split_a_patient():
    own = [{**item, "fold": number // 4} for number, item in enumerate(cases())]
    assert assign_folds(own, 3) == own
    split = [{**item, "fold": number % 3} for number, item in enumerate(cases())]
    for patient in range(6):
        assert len({i["fold"] for i in assign_folds(split, 3) if i["patient"] == f"p{patient}"}) == 1
    assert {item["fold"] for item in assign_folds(own, 2)} == {0, 1}


@pytest.mark.parametrize("folds", [1, 7])
def test_wrong_number_of_folds(folds):
    with pytest.raises(InputError, match=f"expected 2 to 6, the number of patients, found {folds}"):
        assign_folds(cases(), folds)


def test_variants_are_compared_by_paired_tests(tmp_path):
    """Against scipy on the same pairs, all cases and split by IVH."""
    random = torch.Generator().manual_seed(0)
    tables = {}
    for name in ("first", "second"):
        counts = torch.randint(5, 50, (12, 1, 3), generator=random)
        tables[name] = [
            case_row(item["case"], item["ivh"], count, 0.1)
            for item, count in zip(cases(), counts, strict=True)
        ]
    page = compare_variants(tables, tmp_path)
    rows = {(row["cases"], row["metric"]): row for row in _rows(tmp_path / "comparison.csv")}
    for group, wanted in {"all": (True, False), "ivh": (True,), "no_ivh": (False,)}.items():
        a, b = ([row["dice"] for row in tables[name] if row["ivh"] in wanted] for name in tables)
        assert float(rows[group, "dice"]["p_t"]) == pytest.approx(stats.ttest_rel(b, a).pvalue)
        assert float(rows[group, "dice"]["p_wilcoxon"]) == pytest.approx(stats.wilcoxon(b, a).pvalue)
    assert "first" in page


def _rows(path: Path) -> list[dict]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_unknown_bundle_or_variant(bundle, tmp_path):
    with pytest.raises(InputError, match=r"nothing: expected a bundle"):
        crossval("nothing")
    with pytest.raises(InputError, match="expected one of default, better, found 'worse'"):
        crossval(str(bundle), variant="worse", out=str(tmp_path))
    with pytest.raises(InputError, match="expected a per-case table"):
        collect(tmp_path, 2)
