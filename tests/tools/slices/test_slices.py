"""2D methods: reading, preprocessing and its inverse, augmentation, inference, scoring by slice."""

from __future__ import annotations

import math
import shutil

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import Dataset, MetaTensor, decollate_batch, list_data_collate
from monai.transforms import Compose, Invertd, Lambdad
from PIL import Image

from tools.core.errors import InputError
from tools.data.datalist import inference_cases
from tools.engine.slices import SliceProbabilityInferer
from tools.report.handler import SegmentationReport
from tools.sampling.augment import RandomAffine2d
from tools.sampling.sampler import RoiPatchSampler
from tools.slices.load import LoadSlicesd, slice_cases
from tools.slices.preprocessing import SlicePreprocessing
from tools.slices.read import read_slice, read_slice_mask
from tools.volumes.save import SaveMaskd


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A picture with mask (30 x 50 px, 5 px border), and a volume (40, 60, 6) with label."""
    folder = tmp_path_factory.mktemp("slices")
    grey = np.zeros((30, 50), np.uint8)
    grey[7:23, 9:41] = np.add.outer(np.arange(16) * 4, np.arange(32) * 3).astype(np.uint8) + 40
    mask = np.zeros((30, 50), np.uint8)
    mask[8:14, 12:20] = 255
    for name, pixels in (("head.png", grey), ("head_truth.png", mask)):
        Image.fromarray(pixels).save(folder / name)
    hu = np.full((40, 60, 6), -1000, np.int16)
    hu[5:35, 5:55] = 1000
    hu[8:32, 8:52] = 30
    lesion = np.zeros(hu.shape, np.uint8)
    lesion[10:18, 12:20, 2:4] = 1
    affine = np.diag([-2.0, -2.0, 5.0, 1.0])  # stored left and posterior first
    nib.save(nib.Nifti1Image(hu + lesion * 40, affine), folder / "head.nii.gz")
    nib.save(nib.Nifti1Image(lesion, affine), folder / "truth.nii.gz")
    return folder


def there_and_back(item, transform, folder):
    """What inference does with a network that answers with the label itself."""
    transform = Compose([transform, Lambdad("label", func=lambda x: x, overwrite="pred")])
    batch = list_data_collate([Dataset([item], transform)[0]])
    (case,) = decollate_batch(batch)
    invert = Invertd("pred", transform, "image", nearest_interp=False, to_tensor=True)
    SaveMaskd("pred", folder)(Lambdad("pred", func=lambda x: (x > 0.5).float())(invert(case)))
    return case


def test_volume_comes_back_in_its_geometry(files, tmp_path):
    item = {"image": str(files / "head.nii.gz"), "label": str(files / "truth.nii.gz")}
    case = there_and_back(item, SlicePreprocessing(size=(120, 120)), tmp_path)
    assert case["image"].shape == (1, 120, 120, 6)
    assert case["image"].dtype == torch.float32
    # brain at 30 HU in -20..100, seen in the middle of the padded, twice enlarged slice
    assert case["image"][0, 60, 90, 1].item() == pytest.approx(50 / 120, abs=1e-3)
    saved, truth = nib.load(tmp_path / "head_seg.nii.gz"), nib.load(files / "truth.nii.gz")
    assert np.allclose(saved.affine, truth.affine)
    assert np.array_equal(saved.get_fdata(), truth.get_fdata())


def test_picture_comes_back_as_picture_of_its_size(files, tmp_path):
    item = {"image": str(files / "head.png"), "label": str(files / "head_truth.png"), "border": 5}
    case = there_and_back(item, SlicePreprocessing(size=(80, 80)), tmp_path)
    assert case["image"].shape == (1, 80, 80, 1)
    saved = np.asarray(Image.open(tmp_path / "head_seg.png"))
    assert np.array_equal(saved, np.asarray(Image.open(files / "head_truth.png")))


def test_single_slices_are_saved_by_case(files, tmp_path):
    pair = {"image": str(files / "head.nii.gz"), "label": str(files / "truth.nii.gz")}
    there_and_back({**pair, "slice": 3, "case": "head_003"}, SlicePreprocessing((64, 64)), tmp_path)
    truth = nib.load(files / "truth.nii.gz")
    saved = nib.load(tmp_path / "head_003_seg.nii.gz")
    # found at the same places of the scanner's coordinates
    voxels = np.argwhere(saved.get_fdata())
    places = nib.affines.apply_affine(np.linalg.inv(truth.affine) @ saved.affine, voxels).round().astype(int)
    assert sorted(map(tuple, places)) == [tuple(p) for p in np.argwhere(truth.get_fdata()) if p[2] == 2]
    picture = {"image": str(files / "head.png"), "label": str(files / "head_truth.png"), "border": 5}
    there_and_back({**picture, "slice": 7, "case": "049_007"}, SlicePreprocessing((64, 64)), tmp_path)
    assert (tmp_path / "049_007_seg.png").is_file()


def test_slice_of_a_volume_is_the_same_slice_of_the_whole(files):
    item = {"image": str(files / "head.nii.gz"), "label": str(files / "truth.nii.gz")}
    load = LoadSlicesd(["image", "label"], ["label"])
    whole = SlicePreprocessing((64, 64))(item)
    single = SlicePreprocessing((64, 64))({**item, "slice": 3})
    assert single["image"].shape == (1, 64, 64, 1)
    assert torch.equal(single["label"][..., 0], whole["label"][..., 2])
    assert torch.allclose(single["image"][..., 0], whole["image"][..., 2], atol=1e-5)
    assert load({**item, "slice": 3})["image"].meta["spatial_shape"].tolist() == [40, 60, 1]


def test_windows_and_bone(files):
    item = {"image": str(files / "head.nii.gz")}
    windows = [(-20.0, 100.0), (-50.0, 150.0), (-900.0, 2300.0)]
    image = SlicePreprocessing((60, 60), windows=windows, bone_hu=100.0)(item)["image"]
    assert image.shape == (3, 60, 60, 6)
    inside, bone = image[:, 30, 30, 0], image[:, 30, 6, 0]
    assert torch.allclose(inside, torch.tensor([50 / 120, 80 / 200, 930 / 3200]), atol=1e-4)
    assert bone.tolist() == [0, 0, 0]
    assert SlicePreprocessing((60, 60))(item)["image"][0, 30, 6, 0] == 1


def test_mirrored_channel_of_a_turned_slice(tmp_path):
    """A turned elliptical head with one lesion: the head stays where it is, the lesion changes sides."""
    x, y = np.meshgrid(np.arange(640) - 319.5, np.arange(640) - 319.5, indexing="ij")
    angle = math.radians(8)
    along, across = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    radius = np.hypot(along / 220, across / 280)
    grey = np.where(radius < 1, 255, 0).astype(np.uint8)
    grey[radius < 0.93] = 110
    grey[np.hypot(along / 25, (across - 150) / 25) < 1] = 60  # something in front
    grey[np.hypot((along - 110) / 40, across / 40) < 1] = 180
    Image.fromarray(grey.T[::-1, ::-1]).save(tmp_path / "turned.png")
    item = {"image": str(tmp_path / "turned.png")}
    image = SlicePreprocessing((320, 320), symmetric=True)(item)["image"][..., 0].as_tensor()
    assert image.shape == (2, 320, 320)
    lesion = [(channel > 0.65) & (channel < 0.75) for channel in image]
    expected = torch.from_numpy(np.hypot((along + 110) / 40, across / 40) < 1)[::2, ::2]
    assert (lesion[1] & expected).sum() / (lesion[1] | expected).sum() > 0.8
    assert (lesion[0] & lesion[1]).sum() < 0.1 * lesion[0].sum()  # but for the edges of the skull
    head = image > 0.2
    assert (head[0] & head[1]).sum() / (head[0] | head[1]).sum() > 0.97


def test_mirrored_channel_of_a_volume(files):
    image = SlicePreprocessing((120, 120), symmetric=True)({"image": str(files / "head.nii.gz")})["image"]
    original, mirrored = image.as_tensor()
    assert (original - mirrored.flip(0)).abs().mean() < 0.01


def test_slice_without_head_is_flipped_as_it_lies(tmp_path, caplog):
    grey = np.zeros((40, 40), np.uint8)
    grey[20, 10] = 10
    Image.fromarray(grey).save(tmp_path / "top.png")
    image = SlicePreprocessing((40, 40), symmetric=True)({"image": str(tmp_path / "top.png")})["image"]
    assert torch.equal(image[0], image[1].flip(0))
    assert "top.png" in caplog.text


def test_mask_of_another_size_is_named(files, tmp_path):
    Image.fromarray(np.zeros((30, 48), np.uint8)).save(tmp_path / "small.png")
    with pytest.raises(InputError, match=r"small\.png: expected the size .*50.*found.*48"):
        LoadSlicesd(["image", "label"], ["label"])(
            {"image": str(files / "head.png"), "label": str(tmp_path / "small.png")}
        )


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_a_picture_that_viewers_turn_is_refused(tmp_path, orientation):
    """A mask of its pixels would not lie on what they show."""
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(np.full((20, 30), 90, np.uint8)).save(tmp_path / "a.jpg", exif=exif)
    if orientation == 1:
        assert read_slice(tmp_path / "a.jpg").shape == (1, 30, 20)
        return
    with pytest.raises(InputError, match=rf"a.jpg: expected .* \(EXIF orientation {orientation}\)"):
        read_slice(tmp_path / "a.jpg")


def test_slice_cases(files, tmp_path):
    with pytest.raises(InputError, match="found both"):
        slice_cases(files)
    assert slice_cases(files / "head.png") == [{"image": str(files / "head.png"), "case": "head"}]
    assert slice_cases(files / "head.nii.gz") == [{"image": str(files / "head.nii.gz"), "case": "head"}]
    for name in ("077/1.png", "078/1.png", "b.JPG"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [case["case"] for case in slice_cases(tmp_path)] == ["077/1", "078/1", "b"]
    plain = b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100"  # as before part 10
    kinds = {
        "scan.nrrd": b"",
        "image.dcm": b"",
        "IM0001": bytes(128) + b"DICM",
        "a.dicom": b"",
        "IM0002": plain,
    }
    for name, content in kinds.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=f"found both: .*077/1.png and .*{name}"):
            slice_cases(tmp_path)
        (tmp_path / name).unlink()
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 2), np.int16), np.eye(4)), tmp_path / "078" / "a.nii")
    (tmp_path / "078" / "IM0001").write_bytes(bytes(128) + b"DICM")
    with pytest.raises(InputError, match=r"volumes or DICOM series, found both: .*a\.nii and .*IM0001"):
        inference_cases(tmp_path)
    shutil.rmtree(tmp_path / "078")
    (tmp_path / "077" / "1.jpg").touch()
    with pytest.raises(InputError, match=r"077/1\.png: expected another name than .*077/1\.jpg"):
        slice_cases(tmp_path)


def test_real_slices(real_data):
    folder = real_data / "ct_ich_v1.0.0_sample"
    mask = sorted(folder.rglob("*_HGE_Seg.jpg"))[0]
    item = {"image": str(mask).replace("_HGE_Seg", ""), "label": str(mask)}
    case = SlicePreprocessing(symmetric=True)(item)
    assert case["image"].shape == (2, 256, 256, 1)
    share = (read_slice_mask(mask) > 0).float().mean()
    assert case["label"].mean().item() == pytest.approx(share.item(), rel=0.02)


# ------------------------------------------------------------------------------------------ augmentation


def peaked(count: int = 64):
    """A blob off the middle, and its mask."""
    x, y = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    blob = torch.exp(-((x - 40) ** 2 + (y - 25) ** 2) / 18)
    image = blob.expand(count, 1, 64, 64).contiguous()
    return image, (image > 0.5).float()


def centre(image):
    """Centre of mass in pixels from the middle of the slice, (B, 2)."""
    x, y = torch.meshgrid(torch.arange(64.0) - 31.5, torch.arange(64.0) - 31.5, indexing="ij")
    weight = image[:, 0] / image[:, 0].sum((1, 2), keepdim=True)
    return torch.stack([(weight * x).sum((1, 2)), (weight * y).sum((1, 2))], -1)


def random(seed=0):
    return torch.Generator().manual_seed(seed)


def test_affine_identity_and_flip():
    image, label = peaked(4)
    same, mask = RandomAffine2d()(image, label, random())
    assert torch.allclose(same, image, atol=1e-5)
    assert torch.equal(mask, label)
    flipped, mask = RandomAffine2d(flip=1.0)(image, label, random())
    assert torch.allclose(flipped, image.flip(2), atol=1e-5)
    assert torch.equal(mask, label.flip(2))
    moved = centre(RandomAffine2d(flip=0.5)(*peaked(), random())[0])[:, 0]
    assert 0.25 < (moved < 0).float().mean() < 0.75


def test_affine_rotation_and_zoom():
    image, label = peaked()
    start = centre(image)[0]
    turned = centre(RandomAffine2d(rotation=20)(image, label, random())[0])
    assert torch.allclose(turned.norm(dim=1), start.norm().expand(64), atol=0.2)
    angles = torch.atan2(turned[:, 1], turned[:, 0]) - torch.atan2(start[1], start[0])
    assert 15 < math.degrees(angles.abs().max()) <= 20.5
    assert angles.min() < -0.1 < 0.1 < angles.max()
    zoomed = centre(RandomAffine2d(zoom=0.2)(image, label, random())[0]).norm(dim=1) / start.norm()
    assert 0.79 < zoomed.min() < 0.85
    assert 1.15 < zoomed.max() < 1.21


def test_affine_shift_shear_crop_keep_image_and_label_together():
    image, label = peaked()
    start = centre(image)[0]
    shifted = centre(RandomAffine2d(shift=0.1)(image, label, random())[0]) - start
    assert 5 < shifted.abs().max() <= 6.5
    sheared = centre(RandomAffine2d(shear=0.1)(image, label, random())[0]) - start
    assert sheared[:, 1].abs().max() < 0.2
    assert 0.4 < sheared[:, 0].abs().max() < 0.75
    cropped, _ = RandomAffine2d(crop=0.3)(image, label, random())
    assert cropped.sum((1, 2, 3)).min() > image[0].sum() * 0.99  # only ever enlarged
    every = RandomAffine2d(0.5, 20, 0.05, 0.1, 0.1, 0.1)
    image, label = every(image, label, random())
    apart = centre((image > 0.5).float()) - centre(label)
    assert apart.norm(dim=1).max() < 0.5


def test_affine_in_the_sampler_is_the_same_each_time(device):
    cohort = [{"image": peaked(1)[0][0, ..., None], "label": peaked(1)[1][0, ..., None]}]
    settings = {"whole_slices": True, "progress": False}

    def epoch(**more):
        sampler = RoiPatchSampler(cohort, (64, 64), "brain", 4, 4, device=device, **settings, **more)
        return next(iter(sampler))

    one, two, none = (
        epoch(augmentation={"affine": {"rotation": angle}} if angle else None) for angle in (20, 20, 0)
    )
    assert torch.equal(one["image"], two["image"])
    assert not torch.equal(one["image"], none["image"])
    assert set(one["label"].unique().tolist()) == {0.0, 1.0}
    with pytest.raises(InputError, match="affine: expected a roi_size of two sizes"):
        RoiPatchSampler(cohort, (8, 8, 1), "brain", 4, 4, augmentation={"affine": {}}, progress=False)
    with pytest.raises(InputError, match="zoom"):
        RandomAffine2d(zoom=1.0)


# --------------------------------------------------------------------------------- inference and scoring


def test_slice_inferer_asks_slice_by_slice(device):
    volume = torch.randn(2, 3, 8, 8, 5, device=device)
    network = torch.nn.Conv2d(3, 1, 3, padding=1).to(device)
    result = SliceProbabilityInferer(sw_batch_size=4)(volume, network)
    expected = torch.stack([network(volume[..., k]).sigmoid() for k in range(5)], -1)
    assert result.shape == (2, 1, 8, 8, 5)
    assert torch.allclose(result, expected, atol=1e-5)
    assert torch.allclose(SliceProbabilityInferer()(volume[..., 0], network), expected[..., 0], atol=1e-5)
    three = SliceProbabilityInferer()(volume, torch.nn.Identity())
    assert torch.allclose(three.sum(1), torch.ones(2, 8, 8, 5, device=device))


def test_report_by_slice(tmp_path):
    label, pred = torch.zeros(1, 10, 10, 3), torch.zeros(1, 10, 10, 3)
    label[:, 2:8, 2:8, 0] = 1  # 36 px of 2 mm x 2 mm = 144 mm2, hit by half
    pred[:, 2:5, 2:8, 0] = 1
    label[:, 1:3, 1:3, 1] = 1  # 16 mm2, missed; the last slice is empty and has a false alarm
    pred[:, 9, 9, 2] = 1
    label = MetaTensor(label, affine=torch.diag(torch.tensor([2.0, 2.0, 5.0, 1.0])))
    report = SegmentationReport(
        tmp_path, lesions=False, by_slice=True, small_mm2=100.0, columns=["patient"], plots=False
    )
    for part in report._slices_of({"pred": pred, "label": label, "case": "a", "patient": "p"}):
        report.add(part)
    rows = report.finish()
    assert [row["case"] for row in rows] == ["a_001", "a_002", "a_003"]
    assert [row["area_mm2"] for row in rows] == [144, 16, 0]
    assert rows[0]["patient"] == "p"
    assert rows[0]["dice"] == pytest.approx(2 * 18 / 54)
    assert rows[0]["volume_ml"] == pytest.approx(0.72)
    groups = report.summary
    assert groups["large"]["location"]["accuracy"] == 1
    assert groups["small"]["location"]["accuracy"] == 0
    assert groups["all"]["location"]["false_alarms"] == 1
    assert groups["all"]["n"] == 3
    with pytest.raises(InputError, match="by_slice"):
        SegmentationReport(tmp_path, small_mm2=100.0)
