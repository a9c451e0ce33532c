"""Enhanced DICOM, which keeps many slices in one file, as one plain header per slice.

What a classic file says of its slice at the top level (position, orientation, pixel spacing, kernel) lies
there in functional groups, shared by all frames or of each frame (DICOM PS3.3, C.7.6.16 and C.8.15.3).
"""

from __future__ import annotations

from pathlib import Path

from tools.core.extras import extra_packages

with extra_packages("reading DICOM"):
    from pydicom import Dataset

__all__ = ["file_of", "frame_headers", "is_multi_frame", "slice_headers", "with_shared_plane"]

SHARED, PER_FRAME = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"
STORED = "bytes_of_pixels"  # attribute of a header read from a file: how many of its bytes follow it
GROUPS = (
    "PixelMeasuresSequence", "PlanePositionSequence", "PlaneOrientationSequence", "CTGeometrySequence",
    "CTAcquisitionDetailsSequence", "CTReconstructionSequence", "UnassignedSharedConvertedAttributesSequence",
    "UnassignedPerFrameConvertedAttributesSequence",
)  # fmt: skip


def is_multi_frame(header: Dataset) -> bool:
    """Whether the file holds several images."""
    return int(header.get("NumberOfFrames", 1) or 1) > 1


def frame_headers(header: Dataset) -> list[Dataset]:
    """What each frame of an enhanced image says of itself, at the top level as in a classic file.

    Args:
        header: of the file, without pixels or with them; they are left out.

    Returns:
        one header per frame, in the order of the pixels; none if the file does not describe its frames.
    """
    frames = list(header.get(PER_FRAME) or [])
    if len(frames) != int(header.get("NumberOfFrames", 1) or 1):
        return []
    common = Dataset()
    common.update({e.tag: e for e in header if e.keyword not in (SHARED, PER_FRAME, "PixelData")})
    if agent := header.get("ContrastBolusAgentSequence"):
        common.ContrastBolusAgent = str(agent[0].get("CodeMeaning", "")) or "not named"
    for groups in header.get(SHARED) or []:
        _lift(groups, common)
    headers = []
    for groups in frames:
        frame = Dataset()
        frame.update(common)
        setattr(frame, STORED, getattr(header, STORED, None))
        _lift(groups, frame)
        headers.append(frame)
    return headers


def slice_headers(file: Path, header: Dataset) -> dict[Path, Dataset]:
    """The header of every slice of a file by the slice's name: the file, or `FILE/frame N` of several."""
    if not is_multi_frame(header):
        return {file: header}
    return {file / f"frame {i}": frame for i, frame in enumerate(frame_headers(header), start=1)}


def file_of(name: Path) -> Path:
    """The file that holds the slice of this name, see `slice_headers`."""
    return name.parent if name.parent.is_file() else name


def with_shared_plane(header: Dataset) -> Dataset:
    """The header of a file, with pixel spacing and orientation among what its frames share.

    Frames of one volume have the same, and highdicom needs them there. The header is changed in place; a
    classic one is left as it is.
    """
    frames = header.get(PER_FRAME)
    if frames:
        if not header.get(SHARED):
            setattr(header, SHARED, [Dataset()])
        for keyword in ("PixelMeasuresSequence", "PlaneOrientationSequence"):
            if keyword not in header[SHARED][0] and keyword in frames[0]:
                setattr(header[SHARED][0], keyword, frames[0][keyword].value)
    return header


def _lift(groups: Dataset, to: Dataset) -> None:
    """Copy what functional groups state to the top level."""
    for keyword in GROUPS:
        for item in groups.get(keyword) or []:
            to.update(item)
    for anatomy in groups.get("FrameAnatomySequence") or []:
        for region in anatomy.get("AnatomicRegionSequence") or []:
            to.BodyPartExamined = str(region.get("CodeMeaning", "")).upper()
