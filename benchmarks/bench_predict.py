"""Seconds of `headct predict` for one DICOM series of 512 x 512 x 30, start-up included, by phase.

    python benchmarks/bench_predict.py [--out FILE.json] [--weights FILE] [--runs 1]

The series is a synthetic head. Without weights of the bundle random ones stand in: they cost the same. Wall
seconds depend on what else the machine does; processor seconds (user and system, all threads) hardly do.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import typer
from common import report
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from headct.predict.model.bundle import own_scripts
from headct.predict.results import Case
from headct.runs.find_bundle import find_bundle
from tools.phantom import HeadPhantom

SHAPE, SPACING = (512, 512, 30), (0.45, 0.45, 5.0)


def bench(
    out: str | None = None, bundle: str = "se_unet3d", weights: str | None = None, runs: int = 1
) -> None:
    """Run the command and print its phases.

    Args:
        out: JSON file to write.
        bundle: name of the bundle.
        weights: of the bundle; its own if there are any, else random ones.
        runs: the fastest of so many is shown.
    """
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        write_series(root / "series")
        folder = find_bundle(bundle)
        if weights is None and not (folder / "models" / "model.pt").is_file():
            weights = str(random_weights(folder, root / "random" / "model.pt"))
        rows = [run_once(root, bundle, weights, number) for number in range(runs)]
    report(
        f"predict, {bundle}, DICOM {'x'.join(map(str, SHAPE))}", min(rows, key=lambda r: r[-1]["wall s"]), out
    )


def run_once(root: Path, bundle: str, weights: str | None, number: int) -> list[dict[str, object]]:
    """One call of the command as a user makes it; rows of phases, the whole last."""
    command = [sys.executable, "-m", "headct", "predict", str(root / "series"), "--bundle", bundle]
    command += ["--out", str(root / f"out{number}")] + (["--weights", weights] if weights else [])
    before, start = os.times(), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wall, after = time.perf_counter() - start, os.times()
    (result,) = (root / f"out{number}").glob("*/report.json")  # it has a neutral name
    case = Case.read(result.parent)
    rest = wall - sum(case.seconds.values())
    rows = [{"phase": "start-up: imports, weights, finding the series", "wall s": rest}]
    rows += [{"phase": phase, "wall s": seconds} for phase, seconds in case.seconds.items()]
    processor = sum(after[i] - before[i] for i in (2, 3))
    return [*rows, {"phase": "whole command", "wall s": wall, "processor s": processor}]


def random_weights(folder: Path, path: Path) -> Path:
    """Weights nobody trained, for the spacing that the shipped ones are trained with."""
    path.parent.mkdir(parents=True)
    with own_scripts(folder):
        from monai.bundle import ConfigParser

        parser = ConfigParser()
        parser.read_config(str(folder / "configs" / "inference.yaml"))
        torch.save(parser.get_parsed_content("network_def").state_dict(), path)
    path.with_suffix(".json").write_text('{"spacing": [0.9, 0.9, 5.0]}')
    return path


def write_series(folder: Path) -> None:
    """A synthetic head as CT images."""
    folder.mkdir()
    volume = HeadPhantom(seed=7, kind="iph_ivh", shape=SHAPE, spacing=SPACING).render().image
    study, series, frame = (generate_uid() for _ in range(3))
    corner = volume.affine.numpy()[:3, 3]
    for z in range(SHAPE[2]):
        image = Dataset()
        image.file_meta = FileMetaDataset()
        image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        image.SOPClassUID, image.SOPInstanceUID, image.Modality = CTImageStorage, generate_uid(), "CT"
        image.StudyInstanceUID, image.SeriesInstanceUID, image.FrameOfReferenceUID = study, series, frame
        image.ImageType, image.SeriesNumber, image.InstanceNumber = ["ORIGINAL", "PRIMARY", "AXIAL"], 2, z + 1
        image.Rows, image.Columns, image.SamplesPerPixel = SHAPE[1], SHAPE[0], 1
        image.PixelSpacing, image.SliceThickness = [SPACING[1], SPACING[0]], SPACING[2]
        # DICOM counts from the patient's right and front, the volume from left and back
        image.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        far = corner + (np.array(SHAPE) - 1) * SPACING
        image.ImagePositionPatient = [-float(far[0]), -float(far[1]), float(corner[2] + z * SPACING[2])]
        image.PhotometricInterpretation, image.BitsAllocated, image.BitsStored = "MONOCHROME2", 16, 12
        image.HighBit, image.PixelRepresentation = 11, 0
        image.RescaleIntercept, image.RescaleSlope = -1024, 1
        pixels = volume.as_tensor()[0, :, :, z].numpy().T[::-1, ::-1] + 1024
        image.PixelData = pixels.round().clip(0, 4095).astype("<u2").tobytes()
        image.save_as(folder / f"{z:03d}.dcm", enforce_file_format=True)


if __name__ == "__main__":
    typer.run(bench)
