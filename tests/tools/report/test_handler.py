"""The report of an evaluation: what it writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from ignite.engine import Engine
from monai.bundle import ConfigParser
from monai.data import DataLoader, Dataset, MetaTensor
from monai.engines import SupervisedEvaluator
from monai.transforms import AsDiscreted

from headct.scores.tables import read_csv
from tools.core.errors import InputError
from tools.core.names import case_name
from tools.metrics.instance2022 import instance2022_scores
from tools.metrics.pr_curve import pr_counts, pr_curve
from tools.report.handler import SegmentationReport

AFFINE = torch.diag(torch.tensor([-0.5, 0.5, 5.0, 1.0], dtype=torch.float64))  # voxels of 1.25 mm3


def volume(*voxels: tuple[int, int, int], value: float = 1) -> MetaTensor:
    x = torch.zeros(1, 4, 4, 2)
    for i, j, k in voxels:
        x[0, i, j, k] = value
    return MetaTensor(x, affine=AFFINE)


A, B, C = (0, 0, 0), (1, 1, 1), (3, 3, 1)
# case, ivh, truth, prediction and what they give
CASES = [
    ("half", True, volume(A, B), volume(A, C)),  # tp 1 fp 1 fn 1
    ("same", False, volume(A, B, C), volume(A, B, C)),
    ("alarm", False, volume(), volume(A)),
    ("quiet", False, volume(), volume()),
    ("missed", True, volume(B), volume()),
]


def run(report: SegmentationReport, items: list[dict], batch_size: int = 1) -> Engine:
    """Evaluate with MONAI's own evaluator and a network that returns its input."""
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(Dataset(items), batch_size=batch_size),
        network=torch.nn.Identity(),
        postprocessing=AsDiscreted(keys="pred", threshold=0.5),
        val_handlers=[report],
    )
    evaluator.run()
    return evaluator


def items(cases: list = CASES) -> list[dict]:
    return [{"case": c, "ivh": i, "label": t, "image": p} for c, i, t, p in cases]


def test_writes_hand_computed_table(tmp_path: Path) -> None:
    engine = run(SegmentationReport(tmp_path), items())
    rows = {row["case"]: row for row in read_csv(tmp_path / "per_case.csv")}
    assert list(rows) == sorted(c for c, *_ in CASES)
    assert rows["half"]["dice"] == 0.5
    assert rows["half"]["iou"] == 1 / 3
    assert (rows["half"]["precision"], rows["half"]["recall"], rows["half"]["hit"]) == (0.5, 0.5, 1)
    assert rows["half"]["volume_ml"] == pytest.approx(2 * 1.25 / 1000, abs=1e-15)
    assert rows["same"]["pred_volume_ml"] == pytest.approx(3 * 1.25 / 1000, abs=1e-15)
    assert (rows["alarm"]["dice"], rows["alarm"]["hit"], rows["alarm"]["false_alarm"]) == (0, None, 1)
    assert (rows["quiet"]["dice"], rows["quiet"]["hit"], rows["quiet"]["false_alarm"]) == (1, None, 0)
    assert (rows["missed"]["dice"], rows["missed"]["hit"], rows["missed"]["ivh"]) == (0, 0, 1)

    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["all"]["columns"]["dice"]["mean"] == pytest.approx((0.5 + 1 + 0 + 1 + 0) / 5)
    assert summary["all"]["columns"]["dice"]["sd"] == pytest.approx(0.5)
    assert summary["all"]["pooled"]["dice"] == pytest.approx(
        2 * 4 / (2 * 4 + 2 + 2)
    )  # tp 1+3, fp 1+1, fn 1+1
    assert summary["all"]["location"]["accuracy"] == pytest.approx(2 / 3)
    assert summary["all"]["location"]["specificity"] == 0.5
    assert (summary["ivh"]["n"], summary["no_ivh"]["n"]) == (2, 3)
    assert summary["ivh"]["columns"]["dice"]["mean"] == 0.25
    assert summary["no_ivh"]["columns"]["dice"]["mean"] == pytest.approx(2 / 3)
    assert engine.state.metrics["dice_pooled"] == summary["all"]["pooled"]["dice"]
    page = (tmp_path / "summary.md").read_text()
    assert "with IVH" in page
    assert "nan" not in page.lower()


def test_second_run_replaces_the_first_and_leaves_other_metrics(tmp_path: Path) -> None:
    report = SegmentationReport(tmp_path)
    engine = Engine(lambda engine, batch: batch)
    report.attach(engine)
    engine.state.metrics["iou"] = "of another handler"
    for pred, dice in ((volume(A), 1), (volume(A, B), 2 / 3)):
        engine.run([[{"case": "x", "label": volume(A), "pred": pred}]])
        assert engine.state.metrics["dice"] == pytest.approx(dice)
        assert len(report.rows) == 1
    assert engine.state.metrics["iou"] == "of another handler"


def test_probabilities_and_surfaces(tmp_path: Path) -> None:
    report = SegmentationReport(tmp_path, prob_key="prob", scores=instance2022_scores)
    probs = [0.9 * p + 0.05 for *_, p in CASES]
    # all channels are 0 outside a crop that was undone: there is no hemorrhage
    softmax = [torch.cat([1 - prob, prob]) * (prob > 0.05) for prob in probs]
    probs = [prob * (prob > 0.05) for prob in probs]
    for (case, ivh, truth, pred), prob in zip(CASES, softmax, strict=True):
        report.add({"case": case, "ivh": ivh, "label": truth, "pred": pred, "prob": prob})
    rows = {row["case"]: row for row in report.finish()}
    all_cases = report.summary["all"]
    stacked, truth = torch.stack(probs), torch.stack([t for *_, t, _ in CASES])
    assert all_cases["precision_recall"]["area"] == pytest.approx(pr_curve(pr_counts(stacked, truth)).area)
    # slices: 10, of which half/0, half/1, same/0, same/1 and missed/1 bleed; alarm/0 is called
    first = all_cases["slice_detection"][0]
    assert [first[k] for k in ("tp", "fp", "tn", "fn")] == [4, 1, 4, 1]
    assert all_cases["slices"]["sensitivity"] == first["sensitivity"] == 0.8
    assert (rows["same"]["hd"], rows["quiet"]["nsd"], rows["alarm"]["rvd"]) == (0, 1, float("inf"))
    hd = all_cases["columns"]["hd"]
    assert (hd["mean"], hd["n"], hd["n_infinite"]) == (float("inf"), 5, 2)
    assert hd["finite_mean"] == pytest.approx((0 + 0 + rows["half"]["hd"]) / 3)
    assert "2 of 5 infinite" in (tmp_path / "summary.md").read_text()
    assert json.loads((tmp_path / "summary.json").read_text())["all"]["columns"]["hd"]["mean"] == "inf"
    assert {path.name for path in tmp_path.iterdir()} == {
        "bland_altman.png",
        "lesions.csv",
        "per_case.csv",
        "precision_recall.csv",
        "precision_recall.png",
        "slice_detection.csv",
        "summary.json",
        "summary.md",
    }


@pytest.mark.parametrize("by_slice", [False, True])
def test_volumes_of_a_sheared_voxel(tmp_path: Path, by_slice: bool) -> None:
    """Gantry tilt makes a voxel's edges longer and not its volume: columns in mL have 1.25 mm3 a voxel."""
    tilted = AFFINE.clone()
    tilted[1, 2] = 3.0
    for affine, folder in ((AFFINE, tmp_path / "upright"), (tilted, tmp_path / "tilted")):
        report = SegmentationReport(folder, by_slice=by_slice)
        mask = MetaTensor(volume(A, (0, 1, 0), (1, 0, 0)).as_tensor(), affine=affine)
        report.add({"case": "a", "label": mask, "pred": mask})
        report.finish()
    upright, rows = (read_csv(tmp_path / name / "per_case.csv")[0] for name in ("upright", "tilted"))
    assert rows["volume_ml"] == rows["pred_volume_ml"] == pytest.approx(3 * 1.25 / 1000)
    assert rows["abc_half_ml"] == rows["pred_abc_half_ml"] == pytest.approx(upright["abc_half_ml"])
    lesions = read_csv(tmp_path / "tilted" / "lesions.csv")
    assert [lesion["volume_ml"] for lesion in lesions] == pytest.approx([3 * 1.25 / 1000] * 2)


def test_probabilities_of_a_set_without_lesion(tmp_path: Path) -> None:
    report = SegmentationReport(tmp_path, prob_key="prob")
    report.add({"case": "a", "label": volume(), "pred": volume(A), "prob": volume(A)})
    report.finish()
    assert "precision_recall" not in report.summary["all"]
    assert report.summary["all"]["slice_detection"][0]["specificity"] == 0.5
    assert not (tmp_path / "precision_recall.csv").exists()


@pytest.mark.parametrize("batch_size", [2, 5])
def test_batch_split_changes_nothing(tmp_path: Path, batch_size: int) -> None:
    run(SegmentationReport(tmp_path / "one"), items())
    run(SegmentationReport(tmp_path / "many"), items(), batch_size)
    for name in ("per_case.csv", "summary.json", "summary.md"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "many" / name).read_bytes()


def test_one_hot_equals_discrete_and_classes_have_columns(tmp_path: Path) -> None:
    truth = volume(A) + 2 * volume(B)
    pred = volume(A, B, value=2)
    one_hot = [torch.cat([x == c for c in range(4)]).float() for x in (pred, truth)]
    discrete, hot = (SegmentationReport(tmp_path / n, classes={"1": "edh", 2: "iph", 3: "ivh"}) for n in "ab")
    discrete.add({"case": "x", "pred": pred, "label": truth})
    hot.add({"case": "x", "pred": one_hot[0], "label": one_hot[1]})
    (row,), (row_hot,) = discrete.finish(), hot.finish()
    assert row == row_hot
    assert row["dice"] == 1
    assert row["dice_edh"] == 0
    assert row["dice_iph"] == pytest.approx(2 / 3)
    assert row["dice_ivh"] == 1  # absent from both sides
    assert row["ivh"] is None


def test_usable_from_a_bundle_config_and_case_from_the_file_name(tmp_path: Path) -> None:
    config = {"report": {"_target_": "tools.report.handler.SegmentationReport", "output_dir": str(tmp_path)}}
    report = ConfigParser(config).get_parsed_content("report")
    label = volume(A)
    label.meta["filename_or_obj"] = "/data/labels/case_007.nii.gz"
    run(report, [{"label": label, "image": volume(A)}])
    assert [row["case"] for row in read_csv(tmp_path / "per_case.csv")] == ["case_007"]
    assert case_name("a/b.c.nii") == "b.c"


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"case": "p", "pred": volume(A) * 0.3, "label": volume(A)}, "case p: .*fractions"),
        ({"case": "q", "pred": volume(A)[:, :2], "label": volume(A)}, "case q: .*same shape"),
        ({"case": "r", "pred": torch.ones(1, 2, 2, 2), "label": torch.ones(1, 2, 2, 2)}, "case r: .*affine"),
        ({"case": "s", "label": volume(A)}, "'pred'"),
        ({"pred": torch.ones(1, 2, 2, 2), "label": torch.ones(1, 2, 2, 2)}, "case name"),
    ],
)
def test_bad_input_is_named(tmp_path: Path, item: dict, message: str) -> None:
    report = SegmentationReport(tmp_path)

    def score() -> None:
        report.add(item)
        report.finish()

    with pytest.raises(InputError, match=message):
        score()


def test_evaluation_without_cases_raises(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least one case"):
        SegmentationReport(tmp_path).finish()
