"""MBH-Seg 2025: BHSD's successor, whose scans were outlined by several raters.

    ROOT/ID_<patient>_ID_<study>/image.nii.gz
    ROOT/ID_<patient>_ID_<study>/label_annot_1.nii.gz, label_annot_5.nii.gz ...   five types, as BHSD

ROOT may also be the folder above `MBH_Train_2025_voxel-label`. Each entry names all masks as `raters`; its
label is their consensus (more than half of them, and the type that most gave), or one rater's.
"""

from __future__ import annotations

from pathlib import Path

from headct.datasets.collection import Collection, Options
from headct.datasets.layouts.bhsd import patient_of
from headct.datasets.layouts.volumes import MULTI_CLASS, Pair, read_pairs
from headct.datasets.masks import Mask, consensus, read_mask
from headct.scores.raters import rater_files
from tools.core.errors import InputError
from tools.core.names import is_nifti

INNER = "MBH_Train_2025_voxel-label"
CONSENSUS = "consensus"


def read(root: Path, options: Options) -> Collection:
    """Check the scans below `root`, and write the masks of the consensus or of `options.rater`.

    Raises:
        InputError: no such tree; a rater that no case has.
    """
    inner = root / INNER if (root / INNER).is_dir() else root
    found = rater_files(inner) if inner.is_dir() else {}
    if not found:
        raise InputError(f"{inner}: expected CASE/image.nii.gz and CASE/label_annot_RATER.nii.gz, found none")
    collection = Collection(root)
    rater = options.rater or CONSENSUS
    known = sorted({name for files in found.values() for name in files})
    if rater not in (CONSENSUS, *known):
        raise InputError(f"rater: expected {CONSENSUS} or one of {', '.join(known)}, found {rater!r}")
    pairs = []
    for case, files in found.items():
        image = next((p for p in sorted((inner / case).glob("image.nii*")) if is_nifti(p)), None)
        if image is None:
            collection.find("missing", f"image of {case}")
        elif rater not in (CONSENSUS, *files):
            collection.find("missing", f"rater {rater} of {case}")
        else:
            label = files.get(rater) or next(iter(files.values()))
            extra = {"raters": [str(path) for path in files.values()]}
            pairs.append(Pair(case, patient_of(case), image, label, extra))
    several = sum(len(pair.extra["raters"]) > 1 for pair in pairs)
    collection.find("note", f"labels of {rater}; {several} of {len(pairs)} scans have several raters")

    def mask_of(pair: Pair) -> Mask:
        files = list(found[pair.case].values()) if rater == CONSENSUS else [pair.label]
        masks = [read_mask(collection, path, pair.image, options.on_mismatch, MULTI_CLASS) for path in files]
        return consensus(masks) if len(masks) > 1 else masks[0]

    collection.records = read_pairs(collection, pairs, options, MULTI_CLASS, mask_of=mask_of)
    return collection
