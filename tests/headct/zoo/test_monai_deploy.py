"""Published bundles in MONAI Deploy's App SDK, where it is installed: as docs/publish.md says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest

from tests.headct.predict.conftest import write_series
from tests.headct.zoo.alone import folder_of
from tools.phantom import HeadPhantom

pytest.importorskip("monai.deploy", reason="MONAI Deploy's App SDK is not installed")

ROOT = Path(__file__).resolve().parents[3]
NAMES = sorted(path.name for path in (ROOT / "bundles").iterdir())


def voxels_of_mask(path: Path) -> set[tuple[float, ...]]:
    """Where the lesion's voxels lie, in mm to the left, behind and up."""
    mask = nib.load(path)
    index = np.argwhere(np.asarray(mask.dataobj) > 0)
    points = nib.affines.apply_affine(np.diag([-1, -1, 1, 1]) @ mask.affine, index)
    return set(map(tuple, points.round(1).tolist()))


def voxels_of_segmentation(path: Path) -> set[tuple[float, ...]]:
    """The same of a DICOM SEG of axial frames, by DICOM's own equation (PS3.3, C.7.6.2.1.1)."""
    dataset = pydicom.dcmread(path)
    shared = dataset.SharedFunctionalGroupsSequence[0]
    rows_mm, columns_mm = shared.PixelMeasuresSequence[0].PixelSpacing
    right, down = np.reshape(shared.PlaneOrientationSequence[0].ImageOrientationPatient, (2, 3)).astype(float)
    points = []
    for frame, groups in zip(dataset.pixel_array, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        corner = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float)
        row, column = np.nonzero(frame)
        points.append(corner + column[:, None] * columns_mm * right + row[:, None] * rows_mm * down)
    return set(map(tuple, np.concatenate(points).round(1).tolist()))


@pytest.mark.parametrize("name", NAMES)
def test_segmentation_is_the_mask_of_the_bundle(published, name, tmp_path):
    case = HeadPhantom(seed=1, kind="iph", shape=(80, 80, 22), spacing=(2.6, 2.6, 7.0)).render()
    scan = write_series(tmp_path / "scan", case.image)
    folder = folder_of(published[name])

    def python(where: Path, *arguments: object) -> None:
        command = [sys.executable, *map(str, arguments)]
        result = subprocess.run(command, cwd=where, capture_output=True, text=True)
        assert result.returncode == 0, result.stdout + result.stderr

    inference = ("inferring", "--config_file", "configs/inference.yaml", "--dataset_dir", scan)
    python(folder, "-m", "monai.bundle", "run", *inference, "--output_dir", tmp_path / "masks")
    python(tmp_path, ROOT / "examples" / "monai_deploy.py", folder, scan, tmp_path / "segmentations")
    (mask,) = (tmp_path / "masks").glob("*_seg.nii.gz")
    (segmentation,) = (tmp_path / "segmentations").iterdir()
    found, expected = voxels_of_segmentation(segmentation), voxels_of_mask(mask)
    # NIfTI keeps 2.6 mm as 2.5999999, DICOM does not: a voxel near probability 0.5 may change sides
    assert len(found ^ expected) < 0.01 * len(expected)
