"""The data sets that `prepare` reads: what each is, its licence, how to get it. Nothing is downloaded."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import fill


@dataclass(frozen=True)
class DataSet:
    """One data set; `reader` is the module in `tools.datasets` that reads it."""

    name: str
    title: str
    what: str
    licence: str
    get: str
    layout: str
    cite: str = ""
    window: tuple[float, float] | None = None

    @property
    def reader(self) -> str:
        """Module whose `read(root, options)` checks the set."""
        return f"tools.datasets.{self.name}"


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
        ),
        DataSet(
            name="folder",
            title="A plain folder",
            what="Your own images and masks in pairs: NIfTI volumes, or 8-bit pictures with "
            "window=LEVEL,WIDTH.",
            licence="Yours.",
            get="-",
            layout="images/a.nii.gz, labels/a.nii.gz (also masks/; imagesTr/ and labelsTr/; data/ and "
            "label/)",
        ),
        DataSet(
            name="decathlon",
            title="A MONAI datalist",
            what="A dataset.json of the Medical Segmentation Decathlon's form: checked, with folds by "
            "patient.",
            licence="Yours.",
            get="-",
            layout="dataset.json, imagesTr/a.nii.gz, labelsTr/a.nii.gz",
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
        "then": f"python -m tools prepare {entry.name} --root DIR --out datalist.json",
    }
    lines = [f"{entry.name}: {entry.title}"]
    for key, text in rows.items():
        if text and text != "-":
            indent = f"  {key:8}"
            lines.append(fill(text, 100, initial_indent=indent, subsequent_indent=" " * 10))
    return "\n".join(lines)
