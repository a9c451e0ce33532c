"""Brain extraction, on the real head CT."""

from __future__ import annotations

import subprocess
from pathlib import Path

import cc3d
import dcm2niix
import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from tools.brain import ExtractBraind, extract_brain
from tools.errors import InputError


@pytest.fixture(scope="session")
def real_head(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> MetaTensor:
    """The GE head CT, gantry tilt undone, RAS."""
    out = tmp_path_factory.mktemp("ge")
    command = [dcm2niix.bin, "-z", "n", "-o", str(out), "-f", "ge", str(real_data / "ge_head_ct_dicom")]
    subprocess.run(command, check=True, capture_output=True)
    (path,) = out.glob("*_Tilt_*.nii")
    image = nib.as_closest_canonical(nib.load(path))
    hu = np.maximum(image.get_fdata(dtype=np.float32), -1024)
    return MetaTensor(torch.from_numpy(hu)[None], affine=torch.from_numpy(image.affine))


@pytest.mark.parametrize("method", ["rules2022"])
def test_real_scan(real_head: MetaTensor, method: str) -> None:
    data = ExtractBraind(method=method)({"image": real_head})
    brain = data["brain"]
    assert brain.shape == real_head.shape
    assert torch.equal(brain.affine, real_head.affine)
    assert brain.dtype == torch.uint8
    mask = brain[0].numpy().astype(bool)
    ml = mask.sum() * abs(np.linalg.det(real_head.affine[:3, :3].numpy())) / 1000
    assert 1000 < ml < 1800
    assert cc3d.connected_components(mask, connectivity=6, return_N=True)[1] == 1
    assert (real_head[0].numpy()[mask] > 120).mean() < 0.01


@pytest.mark.parametrize(
    ("volume", "expected"),
    [
        (torch.full((1, 64, 64, 8), -1024.0), "no brain"),  # all air
        (torch.full((1, 64, 64, 8), 40.0)[0], "shape"),  # no channel
        (torch.full((1, 64, 64, 8), float("nan")), "finite"),
    ],
)
def test_bad_input_is_refused(volume: torch.Tensor, expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        extract_brain(volume, np.diag([4.0, 4.0, 5.0, 1.0]))
