"""Cross-validation on a bundle whose training takes no time: folds, interruption, tables, comparison."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch
from scipy import stats

from headct.cohort.gpus import assign_gpus, visible_gpus
from headct.runs.bundle_run import BundleRun, last_error
from headct.runs.crossval import _report, collect, compare_variants, crossval, fold_runs
from headct.runs.find_bundle import config_files
from headct.scores.tables import read_csv
from tools.core.errors import InputError
from tools.report.handler import case_row

TRAIN = """
imports:
  - $import os
  - $import torch
bundle_root: .
dataset_dir: data
ckpt_dir: models
output_dir: eval
fold: 0
dice: 0.5
datalist:
  _target_: json.loads
  s: "$open(os.path.join(@bundle_root, @dataset_dir, 'dataset.json')).read()"
run:
  - {_target_: scripts.work.train, ckpt_dir: "@ckpt_dir", fold: "@fold"}
training: "@run"
"""
EVALUATE = """
run:
  - {_target_: scripts.work.evaluate, datalist: "@datalist", fold: "@fold", out: "@output_dir", dice: "@dice"}
evaluating: "@run"
training: null
"""
PARALLEL = """
initialize:
  - "$torch.distributed.init_process_group('gloo')"
finalize:
  - "$torch.distributed.destroy_process_group()"
"""
WORK = '''
"""Instead of a network: every case of the fold gets the same score, and who trained leaves a line.

Where there is a file `data/broken` with a number and a word, that fold's training or evaluation breaks.
"""
import os
from pathlib import Path
import torch
from tools.core.errors import InputError
from tools.core.tables import write_csv

def breaks(what, fold):
    broken = Path("data", "broken")
    if broken.exists() and broken.read_text() == f"{what} {fold}":
        os.write(1, b"\\xff\\n")  # what a library in C prints need not be UTF-8
        raise InputError(f"{what}.nii: expected power, found none")

def train(ckpt_dir, fold):
    Path(ckpt_dir).mkdir(parents=True, exist_ok=True)
    one, all_ = 0, 1
    if torch.distributed.is_initialized():
        one, all_ = torch.distributed.get_rank(), torch.distributed.get_world_size()
    with Path(ckpt_dir, f"trained_{one}_of_{all_}.txt").open("a") as stream:
        stream.write("once\\n")
    breaks("training", fold)

def evaluate(datalist, fold, out, dice):
    breaks("evaluating", fold)
    cases = datalist.get("testing") or [item for item in datalist["training"] if item["fold"] == fold]
    rows = [{"case": item["case"], "ivh": item["ivh"], "dice": dice, "iou": dice, "precision": dice,
             "recall": dice, "volume_ml": 1.0, "pred_volume_ml": 1.0, "tp": 1, "fp": 1, "fn": 1, "hit": 1,
             "false_alarm": None} for item in cases]
    write_csv(Path(out, "metrics", "per_case.csv"), rows)
'''
TRAINED = "trained_0_of_1.txt"


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
        "configs/multi_gpu_train.yaml": PARALLEL,
        "configs/variants/better.yaml": "dice: 0.75\n",
        "scripts/__init__.py": "",
        "scripts/work.py": WORK,
        "data/dataset.json": json.dumps({"training": cases(), "testing": [{"image": "test.nii.gz"}]}),
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def trained(out: Path, folds: int = 2) -> list[str]:
    """A line for each training of each fold."""
    return [(out / "default" / f"fold_{fold}" / "models" / TRAINED).read_text() for fold in range(folds)]


def test_finished_folds_are_kept_and_the_others_made(bundle, tmp_path, capsys):
    """What fails is said in the error's own words, not in those that MONAI puts around it."""
    out = tmp_path / "out"
    (bundle / "data" / "broken").write_text("training 1")
    with pytest.raises(InputError, match=r"fold 1: expected training to succeed.*") as raised:
        crossval(str(bundle), folds=2, jobs=2, out=str(out))
    log = out / "default" / "fold_1" / "training.log"
    assert str(log) in str(raised.value)
    assert "InputError: training.nii: expected power, found none" in str(raised.value)
    marker = json.loads((out / "default" / "fold_0" / "run.json").read_text())
    assert marker["trained"]
    assert "evaluated_with" in marker
    (bundle / "data" / "broken").unlink()
    crossval(str(bundle), folds=2, jobs=2, out=str(out))
    assert trained(out) == ["once\n", "once\nonce\n"]
    rows = read_csv(out / "default" / "per_case.csv")
    assert [row["case"] for row in rows] == sorted(item["case"] for item in cases())
    patients = {row["case"].split("_")[0]: set() for row in rows}
    for row in rows:
        patients[row["case"].split("_")[0]].add(row["fold"])
    assert all(len(folds) == 1 for folds in patients.values())
    page = (out / "default" / "summary.md").read_text()
    assert "| dice | 0.5 ± 0 | 0.5 ± 0 | 0.5 ± 0 |" in page
    assert page in capsys.readouterr().out


def first_fold(bundle: Path, out: Path) -> BundleRun:
    """Of two: what `crossval` runs first."""
    return fold_runs(bundle, config_files(bundle), out / "default", 2)[0]


def test_the_scored_fold_chooses_no_epoch(bundle, tmp_path, caplog):
    """Each fold's cases are tested alone; a fifth of the other patients, at least one, validates."""
    runs = fold_runs(bundle, config_files(bundle), tmp_path / "inner", 3)
    tested = []
    for run in runs:
        content = json.loads((Path(run.overrides["dataset_dir"]) / "dataset.json").read_text())
        parts = {"scored": content["testing"], "validate": [], "train": []}
        for item in content["training"]:
            parts["validate" if item["fold"] == run.overrides["fold"] else "train"].append(item)
        patients = {name: {item["patient"] for item in items} for name, items in parts.items()}
        assert [len(patients[name]) for name in ("scored", "validate", "train")] == [2, 1, 3]
        assert len(set.union(*patients.values())) == 6
        tested += [item["case"] for item in parts["scored"]]
    assert sorted(tested) == sorted(item["case"] for item in cases())
    assert "optimistic" not in caplog.text
    unnamed = [{**item, "patient": None} for item in cases()]
    (bundle / "data" / "dataset.json").write_text(json.dumps({"training": unnamed}))
    fold_runs(bundle, config_files(bundle), tmp_path / "unnamed", 3)  # each case is a patient of its own
    assert "optimistic" not in caplog.text
    scored = fold_runs(bundle, config_files(bundle), tmp_path / "scored", 3, validation="scored")
    assert "optimistic" in caplog.text
    content = json.loads((Path(scored[0].overrides["dataset_dir"]) / "dataset.json").read_text())
    assert list(content) == ["training"]
    with pytest.raises(InputError, match="validation: expected one of inner, scored, found 'none'"):
        fold_runs(bundle, config_files(bundle), tmp_path / "other", 3, validation="none")


def test_evaluation_that_failed_is_repeated_without_the_training(bundle, tmp_path):
    (bundle / "data" / "broken").write_text("evaluating 0")
    with pytest.raises(InputError, match="fold 0: expected evaluating to succeed"):
        first_fold(bundle, tmp_path).run()
    (bundle / "data" / "broken").unlink()
    # another evaluation is no reason to train again either
    for evaluation, dice in ((EVALUATE, 0.5), (EVALUATE.replace('"@dice"', '"$@dice / 2"'), 0.25)):
        (bundle / "configs" / "evaluate.yaml").write_text(evaluation)
        run = first_fold(bundle, tmp_path)
        assert not run.finished
        run.run()
        assert run.finished
        assert {row["dice"] for row in run.rows()} == {dice}
    assert (run.folder / "models" / TRAINED).read_text() == "once\n"


def test_weights_are_scored_again_on_other_data_once(bundle, tmp_path):
    """And once more where the evaluation is another; the run's own scores stay."""
    run = first_fold(bundle, tmp_path)
    run.run()
    out = run.score_again("other", dice=0.25)
    assert out == run.folder / "other"
    assert {row["dice"] for row in read_csv(out / "metrics" / "per_case.csv")} == {0.25}
    run.score_again("none", dice=None)  # MONAI leaves out an override that is None
    assert {row["dice"] for row in read_csv(run.folder / "none" / "metrics" / "per_case.csv")} == {None}
    written = (out / "evaluating.log").stat().st_mtime_ns
    run.score_again("other", dice=0.25)
    assert (out / "evaluating.log").stat().st_mtime_ns == written
    (bundle / "configs" / "evaluate.yaml").write_text(EVALUATE.replace('"@dice"', '"$@dice * 3"'))
    run.score_again("other", dice=0.25)
    assert {row["dice"] for row in read_csv(out / "metrics" / "per_case.csv")} == {0.75}
    assert {row["dice"] for row in run.rows()} == {0.5}


def test_weights_of_other_settings_are_refused_and_kept(bundle, tmp_path):
    """Each thing that weights depend on, changed alone: one line says which, and nothing is lost."""
    out = tmp_path / "out"
    first_fold(bundle, out).run()
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}

    def refused(message: str, folds: int = 2, **settings: object) -> None:
        with pytest.raises(InputError, match=message):
            crossval(str(bundle), folds=folds, out=str(out), **settings)
        assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before

    refused(r"default/fold_0: .* trained with --dice unset, now 0.75: go back to that, remove", dice=0.75)
    refused("trained with processes 1, now 2; another configs/multi_gpu_train.yaml:", processes=2)
    refused("default: expected folds of the same cases, found fold_0 of others", folds=3)
    for name in ("configs/train.yaml", "scripts/work.py"):
        content = (bundle / name).read_text()
        (bundle / name).write_text(f"{content}\n# another\n")
        refused(f"trained with another {name}:")
        (bundle / name).write_text(content)
    other = tmp_path / "other"
    other.mkdir()
    (other / "dataset.json").write_text(json.dumps({"training": cases(5)}))
    refused("found fold_0 of others", dataset_dir=other)
    (out / "default" / "fold_2").mkdir()
    refused("default/fold_2: expected 2 folds from fold_0 on, found one more")


def test_weights_of_unknown_settings_are_refused(bundle, tmp_path):
    weights = tmp_path / "default" / "fold_1" / "models" / "model.pt"
    weights.parent.mkdir(parents=True)
    weights.touch()
    with pytest.raises(InputError, match=r"fold_1: .* without a record of their settings"):
        crossval(str(bundle), folds=2, out=str(tmp_path))
    assert not (tmp_path / "default" / "fold_0").exists()
    assert weights.exists()


def test_two_processes_train_each_fold(bundle, tmp_path, monkeypatch):
    """The training by two, the evaluation by one; after a failure no further fold begins."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    (bundle / "data" / "broken").write_text("evaluating 0")
    with pytest.raises(InputError, match=r"fold 0: expected evaluating .* evaluating.nii: expected power"):
        crossval(str(bundle), folds=2, processes=2, out=str(tmp_path))
    models = tmp_path / "default" / "fold_0" / "models"
    ranks = {f"trained_{rank}_of_2.txt": "once\n" for rank in range(2)}
    assert {path.name: path.read_text() for path in models.iterdir()} == ranks
    assert not (tmp_path / "default" / "fold_1").exists()


def test_gpus_of_jobs():
    assert assign_gpus([], 2, 3) == [None, None]
    assert assign_gpus(["2", "3"], 2) == ["2", "3"]
    assert assign_gpus(["2", "3"], 3) == ["2", "3", "2"]
    assert assign_gpus(["2", "3", "GPU-a", "5"], 2, 2) == ["2,3", "GPU-a,5"]
    with pytest.raises(InputError, match=r"a GPU for each, 2 x 2, found 3 \(2,3,5\)"):
        assign_gpus(["2", "3", "5"], 2, 2)
    with pytest.raises(InputError, match="expected 1 or more of each, found 0 and 1"):
        assign_gpus(["2"], 0)


def test_gpus_are_those_that_the_caller_may_use():
    assert visible_gpus("", 0) == []
    assert visible_gpus("", 2) == ["0", "1"]
    assert visible_gpus("2, 3", 2) == ["2", "3"]
    assert visible_gpus("GPU-a,-1,3", 1) == ["GPU-a"]
    assert visible_gpus("-1", 0) == []


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("x.InputError: a\n\nRuntimeError: Failed to instantiate component\n set '_mode_", "x.InputError: a"),
        ("error: a.nii: bad\n[rank1]: RuntimeError: Connection closed by peer\n", "error: a.nii: bad"),
        ("[rank0]: torch.OutOfMemoryError: 1\nx.ChildFailedError: \n===\n", "torch.OutOfMemoryError: 1"),
        ("ValueError: handled\nTypeError: raised\n", "TypeError: raised"),
        ("epoch 1\nKilled\n", "Killed"),
        ("", "nothing"),
    ],
)  # fmt: skip
def test_last_error(output, expected):
    assert last_error(output) == expected


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


def test_types_are_scored_where_they_are_present(tmp_path):
    """Of two cases one has EDH, of which 3 of 4 voxels are found, and one voxel too many."""
    counts = torch.tensor([[[3, 1, 1], [3, 1, 1]], [[2, 0, 0], [0, 0, 0]]])
    rows = [{"fold": k, **case_row(str(k), None, count, 0.1, ["", "_edh"])} for k, count in enumerate(counts)]
    page = _report(rows, tmp_path, "title")
    assert "| edh | 1 | 0.75 |" in page
    assert "fold" not in page
    assert "tp_edh" not in page


def _rows(path: Path) -> list[dict]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_variants_of_other_cases_under_the_same_names_are_not_compared(bundle, tmp_path):
    """Like the synthetic sets of a bundle's variants, which are all called case_000 and so on."""
    others = [{**item, "image": f"other/{item['image']}"} for item in cases()]
    (bundle / "other").mkdir()
    (bundle / "other" / "dataset.json").write_text(json.dumps({"training": others}))
    (bundle / "configs" / "variants" / "other.yaml").write_text("dataset_dir: other\n")
    with pytest.raises(InputError, match=r"other/data/dataset.json: .* another p0_0: name one --dataset-dir"):
        crossval(str(bundle), folds=2, variant="default,other", out=str(tmp_path / "out"))
    assert not list(tmp_path.glob("out/*/fold_*"))  # said before anything is trained


def test_unknown_bundle_or_variant(bundle, tmp_path):
    with pytest.raises(InputError, match=r"bundle or one of .*found 'nothing'"):
        crossval("nothing")
    with pytest.raises(InputError, match="expected one of default, better, found 'worse'"):
        crossval(str(bundle), variant="worse", out=str(tmp_path))
    for key in ("fold", "ckpt_dir", "output_dir"):  # which would be replaced
        with pytest.raises(InputError, match=f"{key}: expected keys but fold, ckpt_dir, output_dir"):
            crossval(str(bundle), out=str(tmp_path), **{key: "1"})
    with pytest.raises(InputError, match="expected a per-case table"):
        collect(tmp_path, 2)
