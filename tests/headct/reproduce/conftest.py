"""A bundle whose training takes no time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

TRAIN = """
imports:
  - $import os
bundle_root: .
dataset_dir: data
ckpt_dir: models
output_dir: eval
fold: 0
gain: 0.0
seed: 0
bonus: 0.0
datalist:
  _target_: json.loads
  s: "$open(os.path.join(@bundle_root, @dataset_dir, 'dataset.json')).read()"
run:
  - {_target_: scripts.work.train, ckpt_dir: "@ckpt_dir", gain: "@gain"}
training: "@run"
"""
EVALUATE = """
run:
  - _target_: scripts.work.evaluate
    datalist: "@datalist"
    fold: "@fold"
    out: "@output_dir"
    dice: "$@gain + @bonus + @seed / 1000"
evaluating: "@run"
training: null
"""
WORK = '''
"""Instead of a network: the score of a case is its number in hundredths and what was trained."""
from pathlib import Path
from tools.core.tables import write_csv

def train(ckpt_dir, gain):
    Path(ckpt_dir).mkdir(parents=True, exist_ok=True)
    with Path(ckpt_dir, "trained.txt").open("a") as stream:
        stream.write(f"{gain}\\n")

def evaluate(datalist, fold, out, dice):
    cases = datalist.get("testing") or [item for item in datalist["training"] if item["fold"] == fold]
    rows = [
        {"case": item["case"], "ivh": item["ivh"], "dice": dice + int(item["case"][1:]) / 100}
        for item in cases
    ]
    write_csv(Path(out, "metrics", "per_case.csv"), rows)
'''


@pytest.fixture
def bundle(tmp_path) -> Path:
    cases = [{"image": f"c{n}.nii.gz", "case": f"c{n}", "ivh": n % 2 == 1} for n in range(8)]
    for name, text in {
        "configs/train.yaml": TRAIN,
        "configs/evaluate.yaml": EVALUATE,
        "configs/variants/better.yaml": "gain: 0.2\n",
        "configs/variants/lucky.yaml": "bonus: 0.1\n",
        "scripts/__init__.py": "",
        "scripts/work.py": WORK,
        "data/dataset.json": json.dumps({"training": cases[:6], "testing": cases[6:]}),
    }.items():
        path = tmp_path / "bundle" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "bundle"
