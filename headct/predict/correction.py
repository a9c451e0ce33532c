"""A result that somebody has corrected in a viewer, measured again."""

from __future__ import annotations

from pathlib import Path

from headct.predict.case import correct_case
from headct.predict.input.sources import Source, find_sources
from headct.predict.output.storage import read_failures, work_folder, write_summary
from headct.predict.results import Case
from tools.core.errors import InputError

__all__ = ["correct"]


def correct(case: str | Path, mask: str | Path, scan: str | Path) -> Case:
    """Measure a corrected label map and renew all files of a case: report, label map and DICOM SEG.

    Until it is predicted again with `--overwrite`, the case keeps the correction.

    Args:
        case: its folder, of `headct predict`.
        mask: the corrected label map, on the grid of `CASE_seg.nii.gz` in that folder, with the same values.
        scan: what the case was predicted from, or a folder with it: a case's folder does not hold the scan.

    Raises:
        InputError: no such case, scan or label map, or they do not belong together; nothing is written then.
    """
    folder, mask, scan = Path(case), Path(mask), Path(scan)
    try:
        old = Case.read(folder)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{folder}: expected the folder of a case of `headct predict`, found no report.json that can "
            "be read"
        ) from error
    if not mask.is_file():
        raise InputError(f"{mask}: expected a corrected label map, found no such file")
    out = folder.resolve().parent
    source = _source(scan, old, out)
    with work_folder(out) as work:
        renewed = correct_case(old, source, mask, work, out)
        if (out / "summary.csv").is_file():
            write_summary(out, read_failures(out))
    return renewed


def _source(scan: Path, case: Case, out: Path) -> Source:
    """The images that a case was predicted from, known by their checksum; not what results have of them."""
    sources = [source for source in find_sources(scan, skip=out) if not (source.is_zip or source.fault)]
    for source in sources:
        if source.digest == case.settings.get("input"):
            return source
    found = f"{len(sources)} other scans" if len(sources) > 1 else "another" if sources else "only zips"
    raise InputError(f"{scan}: expected the scan that {case.name} was predicted from, found {found}")
