"""Volumes that come from no file, as MONAI Deploy hands them over."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor

from tools.phantom import write_phantoms
from tools.volumes.read import LoadVolumed
from tools.volumes.save import SaveMaskd


def test_a_volume_without_a_channel_is_what_its_file_is(tmp_path):
    write_phantoms(tmp_path, 1, seed=1, shape=(64, 64, 8), spacing=(3, 3, 16))
    (path,) = (tmp_path / "images").iterdir()
    file = nib.load(path)
    volume = MetaTensor(torch.from_numpy(file.get_fdata(dtype=np.float32)), affine=file.affine)
    load = LoadVolumed("image")
    read, handed = load({"image": str(path)})["image"], load({"image": volume})["image"]
    assert handed.shape == (1, 64, 64, 8)
    np.testing.assert_array_equal(handed.numpy(), read.numpy())
    np.testing.assert_array_equal(handed.affine, read.affine)
    assert load({"image": read})["image"] is read


def test_a_mask_without_a_file_is_left_and_not_written(tmp_path):
    mask = MetaTensor(torch.ones(1, 2, 2, 2))
    assert SaveMaskd("pred", tmp_path / "out")({"pred": mask})["pred"] is mask
    assert not (tmp_path / "out").exists()
