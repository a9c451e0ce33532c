"""A published bundle as an application of MONAI Deploy: a folder of DICOM images in, a DICOM SEG out.

    python examples/monai_deploy.py BUNDLE SCAN OUT

BUNDLE is the folder that `headct bundle publish` writes, or its zip unpacked.
docs/publish.md says what to install.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from monai.deploy.conditions import CountCondition
from monai.deploy.core import Application, Image, IOType
from monai.deploy.operators.dicom_data_loader_operator import DICOMDataLoaderOperator
from monai.deploy.operators.dicom_seg_writer_operator import (
    DICOMSegmentationWriterOperator,
    SegmentDescription,
)
from monai.deploy.operators.dicom_series_selector_operator import DICOMSeriesSelectorOperator
from monai.deploy.operators.dicom_series_to_volume_operator import DICOMSeriesToVolumeOperator
from monai.deploy.operators.monai_bundle_inference_operator import IOMapping, MonaiBundleInferenceOperator
from pydicom.sr.codedict import codes

RULES = '{"selections": [{"name": "head", "conditions": {"Modality": "CT"}}]}'


class Hemorrhage(Application):
    """Reads a series, runs the bundle, writes where blood is."""

    def __init__(self, bundle: Path, scan: Path, out: Path) -> None:
        self.bundle, self.scan, self.out = bundle, scan, out
        super().__init__()

    def compose(self) -> None:
        """The operators, and what flows from one to the next."""
        context = Application.init_app_context([])
        context.models = None  # or a folder `models` of the working directory would be taken for the network
        once = CountCondition(self, 1)
        studies = DICOMDataLoaderOperator(self, once, input_folder=self.scan, name="studies")
        series = DICOMSeriesSelectorOperator(self, rules=RULES, name="series")
        volume = DICOMSeriesToVolumeOperator(self, name="volume")
        bundle = MonaiBundleInferenceOperator(
            self,
            app_context=context,
            bundle_path=self.bundle,
            input_mapping=[IOMapping("image", Image, IOType.IN_MEMORY)],
            output_mapping=[IOMapping("pred", Image, IOType.IN_MEMORY)],
            name="bundle",
        )
        version = json.loads((self.bundle / "configs" / "metadata.json").read_text())["version"]
        kind = (codes.SCT.MorphologicallyAbnormalStructure, codes.SCT.Hemorrhage)
        hemorrhage = SegmentDescription("hemorrhage", *kind, self.bundle.name[:64], version)
        seg = DICOMSegmentationWriterOperator(
            self, segment_descriptions=[hemorrhage], output_folder=self.out, name="seg"
        )
        chosen = ("study_selected_series_list", "study_selected_series_list")
        self.add_flow(studies, series, {("dicom_study_list", "dicom_study_list")})
        self.add_flow(series, volume, {chosen})
        self.add_flow(series, seg, {chosen})
        self.add_flow(volume, bundle, {("image", "image")})
        self.add_flow(bundle, seg, {("pred", "seg_image")})


if __name__ == "__main__":
    Hemorrhage(*map(Path, sys.argv[1:4])).run()
