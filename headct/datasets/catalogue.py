"""The data sets that `prepare` reads: what each is, its licence, how to get it. Nothing is downloaded."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import fill


@dataclass(frozen=True)
class DataSet:
    """One data set; `reader` is the module in `headct.datasets.layouts` that reads it.

    `takes_types`, `takes_labels`: whether its masks tell types, whether the user may say what values are.
    """

    name: str
    title: str
    what: str
    licence: str
    get: str
    layout: str
    cite: str = ""
    window: tuple[float, float] | None = None
    takes_labels: bool = False
    takes_types: bool = False

    @property
    def reader(self) -> str:
        """Module whose `read(root, options)` checks the set."""
        return f"headct.datasets.layouts.{self.name}"


CATALOGUE = {
    entry.name: entry
    for entry in (
        DataSet(
            name="ct_ich_v1",
            title="CT-ICH 1.0.0 to 1.2.0",
            what="82 head CTs after trauma (36 with hemorrhage: 318 of 2,501 slices in its table, 2,491 in "
            "the paper), 8-bit JPEG in the brain window, masks, five types per slice, age and sex.",
            licence="CC BY 4.0.",
            get="PhysioNet, doi 10.13026/w8q8-ky94. These versions were open; PhysioNet now shows 1.3.1.",
            layout="Patients_CT/049/brain/1.jpg and 1_HGE_Seg.jpg, hemorrhage_diagnosis.csv, "
            "patient_demographics.csv",
            cite="Hssayeni et al., Data 2020, 5(1):14, doi 10.3390/data5010014",
            window=(40.0, 120.0),
        ),
        DataSet(
            name="ct_ich_v131",
            title="CT-ICH 1.3.1",
            what="75 of the same CTs as NIfTI volumes in HU (patients 59-65 are absent), binary masks, five "
            "types per slice.",
            licence="PhysioNet Restricted Health Data License 1.5.0: not to be shared further.",
            get="PhysioNet, doi 10.13026/4nae-zg36: an account, and the data use agreement signed there.",
            layout="ct_scans/049.nii, masks/049.nii, hemorrhage_diagnosis_raw_ct.csv, "
            "Patient_demographics.csv",
            cite="Hssayeni et al., Data 2020, 5(1):14, doi 10.3390/data5010014",
        ),
        DataSet(
            name="instance2022",
            title="INSTANCE 2022",
            what="100 head CTs with hemorrhage, 512 x 512 x 20-70 voxels of 0.42 x 0.42 x 5 mm, binary "
            "masks. (30 + 70 more for validation and test have no public masks.)",
            licence="The challenge's agreement: no further sharing.",
            get="https://instance.grand-challenge.org: join, and send the signed agreement to "
            "the organisers.",
            layout="data/001.nii.gz, label/001.nii.gz",
            cite="Li et al., arXiv 2301.03281",
        ),
        DataSet(
            name="bhsd",
            title="BHSD",
            what="192 head CTs of the RSNA 2019 set with masks of five types (1 EDH, 2 IPH, 3 IVH, 4 SAH, "
            "5 SDH).",
            licence="Its pages disagree (MIT here, non-commercial without derivatives there), and the rules "
            "of RSNA's competition hold as well: check before use.",
            get="https://github.com/White65534/BHSD links to label_192.zip.",
            layout="label_192/images/ID_x_ID_y.nii.gz, label_192/ground truths/ID_x_ID_y.nii.gz",
            cite="Wu et al., MLMI 2023, arXiv 2308.11298",
            takes_types=True,
        ),
        DataSet(
            name="mbhseg2025",
            title="MBH-Seg 2025",
            what="Head CTs of the RSNA 2019 set, outlined by several raters, five types as BHSD. The label "
            "is "
            "their consensus, or one rater's (--rater 5).",
            licence="The challenge's terms, and the rules of RSNA's competition: check before use.",
            get="https://www.mbhseg.com, https://huggingface.co/datasets/mbhseg/mbhseg25: "
            "MBH_Train_2025_voxel-label.zip.",
            layout="MBH_Train_2025_voxel-label/ID_x_ID_y/image.nii.gz, label_annot_1.nii.gz ...",
            cite="MBH-Seg 2025, MICCAI challenge; Wu et al., arXiv 2308.11298",
            takes_types=True,
        ),
        DataSet(
            name="hemorica",
            title="Hemorica",
            what="372 head CTs of 2012 to 2024 with masks of five types (EPH, SDH, SAH, IPH, IVH).",
            licence="See the paper's page.",
            get="From the paper's page, arXiv 2509.22993.",
            layout="CASE/image.nii.gz with CASE/EPH.nii.gz ...; or images/ and masks/, or masks/EPH/ ... "
            "(the "
            "paper does not describe its tree: this is not tried on the set itself)",
            cite="Davoodi et al., arXiv 2509.22993",
            takes_types=True,
            takes_labels=True,
        ),
        DataSet(
            name="hemseg200",
            title="HemSeg-200",
            what="222 head CTs of the RSNA 2019 set with masks of intraparenchymal and intraventricular "
            "hemorrhage.",
            licence="Its page states none for the masks; the rules of RSNA's competition hold for the CTs.",
            get="https://github.com/songchangwei/3DCT-SD-IVH-ICH: masks and annotion_file_info.jsonl; the "
            "slices from RSNA's competition on Kaggle.",
            layout="labels/<scan>.nii.gz with images/<scan>.nii.gz, or with annotion_file_info.jsonl and "
            "stage_2_train/ID_x.dcm",
            cite="Song et al., arXiv 2405.14559",
            takes_types=True,
            takes_labels=True,
        ),
        DataSet(
            name="rsna2019",
            title="RSNA 2019",
            what="DICOM slices of head CTs with the types of hemorrhage of each image, no masks. Studies "
            "without "
            "hemorrhage become cases with an empty mask; the others stand under `by_image`.",
            licence="The rules of the competition: non-commercial, academic.",
            get="https://www.kaggle.com/competitions/rsna-intracranial-hemorrhage-detection",
            layout="stage_2_train.csv, stage_2_train/ID_x.dcm",
            cite="Flanders et al., Radiology: AI 2020, 2(3):e190211",
        ),
        DataSet(
            name="cq500",
            title="CQ500",
            what="491 head CTs as DICOM, read by three radiologists, no masks. The scans in which none of "
            "them "
            "saw hemorrhage become cases with an empty mask.",
            licence="CC BY-NC-SA 4.0.",
            get="http://headctstudy.qure.ai/dataset",
            layout="reads.csv, CQ500CT0 CQ500CT0/Unknown Study/CT Plain/*.dcm",
            cite="Chilamkurthy et al., Lancet 2018, 392:2388",
        ),
        DataSet(
            name="folder",
            title="A plain folder",
            what="Your own images and masks in pairs: NIfTI volumes, or 8-bit pictures with "
            "window=LEVEL,WIDTH.",
            licence="Yours.",
            get="-",
            layout="a.nii.gz, a_mask.nii.gz; or images/a.nii.gz, labels/a.nii.gz (also masks/; imagesTr/ and "
            "labelsTr/; data/ and label/); or a/ct.nii.gz, a/mask.nii.gz",
            takes_types=True,
            takes_labels=True,
        ),
        DataSet(
            name="decathlon",
            title="A MONAI datalist",
            what="A dataset.json of the Medical Segmentation Decathlon's form: checked, with folds by "
            "patient.",
            licence="Yours.",
            get="-",
            layout="dataset.json, imagesTr/a.nii.gz, labelsTr/a.nii.gz",
            takes_types=True,
            takes_labels=True,
        ),
        DataSet(
            name="nnunet",
            title="nnU-Net v2 raw data",
            what="A data set of nnU-Net v2: its channel CT, its `labels` by name, the folds of "
            "splits_final.json. "
            "`headct datasets export nnunet` writes one.",
            licence="Yours.",
            get="-",
            layout="dataset.json, imagesTr/a_0000.nii.gz, labelsTr/a.nii.gz, imagesTs/, labelsTs/",
            takes_types=True,
            takes_labels=True,
        ),
        DataSet(
            name="bids",
            title="BIDS derivatives",
            what="CTs and masks named as BIDS does; `label-` or `desc-` says what a mask shows.",
            licence="Yours.",
            get="-",
            layout="sub-01/ct/sub-01_ct.nii.gz, derivatives/x/sub-01/ct/sub-01_label-IPH_mask.nii.gz (or "
            "_dseg)",
            takes_types=True,
            takes_labels=True,
        ),
    )
}


def datasets() -> str:
    """What each data set is, its licence, and how to get it; `prepare` reads your copy of it."""
    return "\n\n".join(_page(entry) for entry in CATALOGUE.values())


def _page(entry: DataSet) -> str:
    rows = {
        "what": entry.what,
        "licence": entry.licence,
        "get it": entry.get,
        "layout": entry.layout,
        "cite": entry.cite,
        "then": f"headct datasets prepare {entry.name} --root DIR --out datalist.json",
    }
    lines = [f"{entry.name}: {entry.title}"]
    for key, text in rows.items():
        if text and text != "-":
            indent = f"  {key:8}"
            lines.append(fill(text, 100, initial_indent=indent, subsequent_indent=" " * 10))
    return "\n".join(lines)
