"""What inference is given, and what its results are called."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from PIL import Image

from headct.predict.input.sources import find_sources
from tests.tools.volumes.test_stack import dataset, write
from tools.core.errors import InputError
from tools.data.datalist import inference_cases
from tools.slices.load import slice_cases
from tools.volumes.save import SaveMaskd


def test_nifti_keeps_its_folders(tmp_path):
    for name in ("a/CT.nii.gz", "b/CT.nii.gz", "b/c.d/x.nii"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert [item["case"] for item in inference_cases(tmp_path)] == ["a/CT", "b/CT", "b/c.d/x"]
    assert inference_cases(tmp_path / "a" / "CT.nii.gz")[0]["case"] == "CT"
    (tmp_path / "a" / "CT.nii").touch()
    with pytest.raises(InputError, match="expected another name"):
        inference_cases(tmp_path)


def test_links_are_followed_hidden_folders_are_not_and_results_are_no_input(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    root = tmp_path / "in"
    nifti(tmp_path / "elsewhere/a.nii.gz", np.eye(4), (1, 1))
    for name in (".ipynb_checkpoints/a.nii.gz", "__MACOSX/._a.nii.gz", "scan1.nii/scan1.nii", "._b.nii"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    (root / "linked again").symlink_to(root)
    names = ["linked/a", "scan1.nii/scan1"]
    meta = {"filename_or_obj": str(root / "linked/a.nii.gz")}
    mask = MetaTensor(torch.ones(1, 4, 4, 3), meta=meta)
    SaveMaskd("pred", root / "out")({"pred": mask, "case": "deep/a"})
    assert (root / "out/deep/a_seg.nii.gz").is_file()
    assert [item["case"] for item in inference_cases(root)] == names
    assert [str(source.path.relative_to(root).parent) for source in find_sources(root)] == [
        "linked",
        "scan1.nii",
    ]
    picture = root / "out/b.png"
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(picture)
    mask = MetaTensor(torch.ones(1, 4, 4, 1), meta={"filename_or_obj": str(picture)})
    SaveMaskd("pred", root / "out")({"pred": mask})
    assert (root / "out/b_seg.png").is_file()
    assert [item["case"] for item in slice_cases(root / "out")] == ["b"]


def test_a_link_to_nothing_is_named(tmp_path):
    write(tmp_path / "series", [dataset(i) for i in range(3)])
    (tmp_path / "series/004.dcm").symlink_to("gone")
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans/a.nii").symlink_to("gone")
    with pytest.raises(InputError, match=r"a\.nii: expected a file, found a link to nothing"):
        inference_cases(tmp_path / "scans")
    with pytest.raises(InputError, match=r"004\.dcm: expected a file, found a link to nothing"):
        inference_cases(tmp_path / "series")
    (tmp_path / "alone").symlink_to("gone")
    scan, alone, study = find_sources(tmp_path)
    assert scan.fault == f"{tmp_path}/alone: expected a DICOM image, found a link to nothing"
    assert alone.fault == f"{tmp_path}/scans/a.nii: expected a file, found a link to nothing"
    assert study.study.broken == {tmp_path / "series/004.dcm": "a link to nothing"}


def test_dicom_gets_neutral_names_of_its_own(tmp_path):
    """Folders of one name, and folders whose dots look like an extension."""

    def of(patient):
        def change(i, d):
            d.StudyInstanceUID, d.SeriesInstanceUID = f"1.2.{patient}", f"1.2.{patient}.7"

        return change

    for patient, place in enumerate(("Wu_Li/CT", "17.09.1961/CT", "1.2.840.101", "1.2.840.102")):
        write(tmp_path / place, [dataset(i, of(patient)) for i in range(3)])
    items = inference_cases(tmp_path)
    names = {item["case"] for item in items}
    assert len(items) == len(names) == 4
    assert all(name.startswith("case_") for name in names)
    assert {item["study_uid"] for item in items} == {f"1.2.{patient}" for patient in range(4)}
    again = inference_cases(tmp_path / "Wu_Li" / "CT")
    assert again[0]["case"] in names


def nifti(path: Path, qform: np.ndarray, codes: tuple[int, int]) -> np.ndarray:
    sform = np.diag([2.0, 2, 5, 1])
    image = nib.Nifti1Image(np.zeros((4, 4, 3), np.int16), sform)
    image.set_sform(sform, codes[1])
    image.set_qform(qform, codes[0])
    nib.save(image, path)
    return nib.load(path).affine


@pytest.mark.parametrize("codes", [(1, 2), (3, 1), (1, 0), (0, 4)])
def test_a_mask_has_both_forms_of_its_image(codes, tmp_path):
    qform = np.diag([2.0, 2, 5, 1])
    qform[:3, 3] = [7, 8, 9]
    affine = nifti(tmp_path / "a.nii.gz", qform, codes)
    meta = {"filename_or_obj": str(tmp_path / "a.nii.gz")}
    mask = MetaTensor(torch.ones(1, 4, 4, 3), affine=torch.from_numpy(affine), meta=meta)
    SaveMaskd("pred", tmp_path / "out")({"pred": mask, "case": "deep/a"})
    expected, found = (nib.load(tmp_path / name).header for name in ("a.nii.gz", "out/deep/a_seg.nii.gz"))
    for name in ("qform", "sform"):
        (form, code), (other, same) = (getattr(h, f"get_{name}")(coded=True) for h in (expected, found))
        assert int(code) == int(same)
        if code:
            np.testing.assert_allclose(form, other, atol=1e-5)
