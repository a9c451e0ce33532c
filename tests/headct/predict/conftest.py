"""A small bundle whose network needs no training, and scans for it: synthetic heads as NIfTI and DICOM."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from scipy.ndimage import map_coordinates

from tests.headct.predict.browser import Browser, start
from tools.phantom import HeadPhantom

SCRIPTS = Path(__file__).resolve().parents[3] / "bundles/se_unet3d/scripts"
CONFIG = """
imports: [$import torch]
bundle_root: .
device: cpu
amp: false
output_dir: $@bundle_root + '/output'
ckpt_path: $@bundle_root + '/models/model.pt'
network_def: {_target_: scripts.network.Bright}
preprocessing:
  _target_: Compose
  transforms:
    - {_target_: tools.volumes.read.LoadVolumed, keys: image}
    - {_target_: Orientationd, keys: image, axcodes: RAS, labels: null}
    - {_target_: scripts.brain.ExtractBraind, keys: image, method: rules2022}
    - {_target_: ScaleIntensityRanged, keys: image, a_min: 0, a_max: 100, b_min: 0, b_max: 1, clip: true}
    - {_target_: scripts.network.StripSkull}
inferer: {_target_: scripts.brain_windows.WindowProbabilityInferer, roi_size: [32, 32, 8], overlap: 0.25}
postprocessing:
  _target_: Compose
  transforms:
    - {_target_: Invertd, keys: pred, transform: '@preprocessing', orig_keys: image, nearest_interp: false}
    - {_target_: AsDiscreted, keys: pred, argmax: true}
    - {_target_: SaveImaged, keys: pred, output_dir: '@output_dir'}
evaluator:
  prepare_batch: {_target_: scripts.brain_windows.prepare_with_brain, _mode_: callable}
"""
NETWORK = '''
import torch


class StripSkull:
    def __call__(self, data):
        return {**data, "image": data["image"].masked_fill(data["brain"].as_tensor() == 0, 0.0)}


class Bright(torch.nn.Module):
    """Calls hemorrhage what is bright and wider than 4 pixels; the seam between brain and bone is not."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv3d(1, 2, 1)

    def forward(self, x):
        from scripts.helper import SIGN  # imported late, when another bundle may have been loaded since

        pool = torch.nn.functional.max_pool3d
        opened = pool(-pool(-x, (5, 5, 1), 1, (2, 2, 0)), (5, 5, 1), 1, (2, 2, 0))
        return SIGN * self.conv(opened)
'''
METADATA = {
    "version": "1.2.3",
    "name": "A network that finds what is bright",
    "data_source": "Nothing: its one weight was chosen by hand",
    "intended_use": "Tests",
    "pred_classes": "0: background, 1: anything bright",
    "network_data_format": {"outputs": {"pred": {"channel_def": {"0": "background", "1": "blood"}}}},
}


def make_bundle(folder: Path, threshold: float = 0.55, sign: int = 1) -> Path:
    """A bundle on disk, with `scripts` and weights of its own."""
    for name in ("configs", "models", "scripts"):
        (folder / name).mkdir(parents=True)
    (folder / "configs" / "inference.yaml").write_text(CONFIG)
    (folder / "configs" / "metadata.json").write_text(json.dumps(METADATA))
    (folder / "scripts" / "__init__.py").write_text("")
    (folder / "scripts" / "network.py").write_text(NETWORK)
    for name in ("background.py", "brain.py", "brain_windows.py"):
        shutil.copy(SCRIPTS / name, folder / "scripts")
    (folder / "scripts" / "helper.py").write_text(f"SIGN = {sign}\n")
    torch.save(threshold_weights(threshold), folder / "models" / "model.pt")
    return folder


def threshold_weights(threshold: float) -> dict[str, torch.Tensor]:
    """Weights with which what is above the threshold (1 is 100 HU) is hemorrhage."""
    weight = torch.tensor([-60.0, 60.0]).view(2, 1, 1, 1, 1)
    return {"conv.weight": weight, "conv.bias": torch.tensor([60 * threshold, -60 * threshold])}


@pytest.fixture(scope="session")
def bright(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle `bright`: everything above 55 HU."""
    return make_bundle(tmp_path_factory.mktemp("bundles") / "bright")


@pytest.fixture(scope="session")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle `other`, with another threshold: 65 HU."""
    return make_bundle(tmp_path_factory.mktemp("bundles") / "other", threshold=0.65)


@pytest.fixture(scope="session")
def head() -> Callable[..., MetaTensor]:
    """A synthetic head (1, 80, 80, 22) in HU without bleeding or noise, and a ball of blood on its right."""
    case = HeadPhantom(
        seed=5, kind="normal", shape=(80, 80, 22), spacing=(2.6, 2.6, 7.0), noise=False
    ).render()

    def make(radius_mm: float = RADIUS, hu: float = 75.0) -> MetaTensor:
        image = case.image.clone()
        if radius_mm:
            image[0][torch.from_numpy(ball(image.affine.numpy(), image.shape[1:], radius_mm=radius_mm))] = hu
        return image

    return make


@pytest.fixture(scope="session")
def support() -> SimpleNamespace:
    """The functions of this file."""
    functions = (ball, make_bundle, save_nifti, threshold_weights, write_series)
    return SimpleNamespace(**{function.__name__: function for function in functions})


CENTRE = (30.0, 0.0, 20.0)  # of the bleed, mm: to the right, and up
RADIUS = 20.0


def ball(
    affine: np.ndarray,
    shape: Sequence[int],
    centre: Sequence[float] = CENTRE,
    radius_mm: float = RADIUS,
) -> np.ndarray:
    """Mask (X, Y, Z) of a ball in world mm."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1)
    world = index @ affine[:3, :3].T + affine[:3, 3]
    return np.linalg.norm(world - np.asarray(centre), axis=-1) < radius_mm


def save_nifti(path: Path, image: MetaTensor) -> Path:
    """Write a volume as int16 NIfTI."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = image.as_tensor()[0].numpy().round().astype(np.int16)
    nib.save(nib.Nifti1Image(data, image.affine.numpy()), path)
    return path


def write_series(
    folder: Path,
    image: MetaTensor,
    heights: Sequence[float] = tuple(np.arange(-66.0, 78, 6)),
    tilt: float = 0.0,
    number: int = 2,
    change: Callable[[int, Dataset], None] = lambda i, dataset: None,
    **tags: Any,
) -> Path:
    """A CT series of 80 x 80 pixels, one file per height, cut from a volume and named in no order.

    Args:
        folder: where the files go.
        image: HU.
        heights: mm above the middle where the centres of the slices lie.
        tilt: of the gantry, degrees: slices lean, the table still moves along z.
        number: of the series.
        change: is given every slice's number and data set before it is written.
        tags: further or other attributes of all slices.
    """
    folder.mkdir(parents=True, exist_ok=True)
    size, mm, angle = 80, 2.6, np.deg2rad(tilt)
    axes = np.array([[1, 0, 0], [0, np.cos(angle), np.sin(angle)]])
    to_voxel = np.linalg.inv(image.affine.numpy()) @ np.diag([-1.0, -1, 1, 1])
    steps = (np.arange(size) - (size - 1) / 2) * mm
    names = np.random.default_rng(number).permutation(len(heights))
    volume = image.as_tensor()[0].numpy()
    for i, height in enumerate(heights):
        points = steps[None, :, None] * axes[0] + steps[:, None, None] * axes[1] + [0, 0, height]
        index = np.moveaxis(points @ to_voxel[:3, :3].T + to_voxel[:3, 3], -1, 0)
        pixels = map_coordinates(volume, index, order=1, cval=-1000.0)
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        _set(dataset, SOPClassUID=CTImageStorage, SOPInstanceUID=f"1.2.826.0.1.{number}.{i + 1}")
        _set(dataset, Modality="CT", ImageType=["ORIGINAL", "PRIMARY", "AXIAL"], Manufacturer="Phantom")
        _set(dataset, StudyInstanceUID="1.2.826.0.2", SeriesInstanceUID=f"1.2.826.0.3.{number}")
        _set(dataset, FrameOfReferenceUID="1.2.826.0.4", PositionReferenceIndicator="", InstanceNumber=i + 1)
        _set(dataset, PatientName="Doe^Jane", PatientID="PID4711", PatientBirthDate="19500203")
        _set(dataset, PatientSex="F", AccessionNumber="ACC99", StudyID="1", StudyDate="20200101")
        _set(dataset, StudyTime="120000", ReferringPhysicianName="", SeriesNumber=number)
        _set(dataset, SliceThickness=5, KVP=120, PatientPosition="HFS", GantryDetectorTilt=tilt)
        _set(dataset, Rows=size, Columns=size, PixelSpacing=[mm, mm], AcquisitionNumber=1)
        corner = points[0, 0]
        _set(dataset, ImagePositionPatient=[round(float(c), 5) for c in corner])
        _set(dataset, ImageOrientationPatient=[round(float(c), 7) for c in axes.ravel()])
        _set(dataset, SamplesPerPixel=1, PhotometricInterpretation="MONOCHROME2", BitsAllocated=16)
        _set(dataset, BitsStored=16, HighBit=15, PixelRepresentation=0)
        _set(dataset, RescaleIntercept=-1024, RescaleSlope=1, RescaleType="HU")
        dataset.PixelData = (pixels.round() + 1024).clip(0, 4095).astype("<u2").tobytes()
        _set(dataset, **tags)
        change(i, dataset)
        dataset.save_as(folder / f"{names[i]:03d}.dcm", enforce_file_format=True)
    return folder


def _set(dataset: Dataset, **values: Any) -> None:
    for keyword, value in values.items():
        setattr(dataset, keyword, value)


@pytest.fixture(scope="session")
def scan(tmp_path_factory: pytest.TempPathFactory, head: Callable[..., MetaTensor]) -> Path:
    """A NIfTI file with one bleed."""
    return save_nifti(tmp_path_factory.mktemp("scans") / "bleed.nii.gz", head())


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Chromium; tests that ask for it are skipped where there is none."""
    yield from start(tmp_path_factory.mktemp("browser"))
