"""Attributes of numbers that hold something else: decimal commas, words, zero bytes, infinities."""

from __future__ import annotations

import pytest
from pydicom import Dataset

from tests.tools.volumes.test_fuzz import answer, dicom
from tools.volumes.dicom import list_series, select_series
from tools.volumes.dicom_file import number_of, number_of_frames, numbers_of
from tools.volumes.read import read_volume

SPOILT = ["1,25", "\x00.0", "abc", "1e999", "nan"]
KEYWORDS = ["ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing", "NumberOfFrames"]


@pytest.mark.parametrize("text", SPOILT)
@pytest.mark.parametrize("keyword", KEYWORDS)
def test_a_series_is_listed_and_not_read(keyword, text, tmp_path):
    """One slice is no volume either; whatever is wrong, one line says so."""
    path = dicom(tmp_path, {keyword: "7" * len(text)})
    content = path.read_bytes()
    path.write_bytes(content.replace(b"7" * len(text), text.encode()))
    assert path.read_bytes() != content
    for read in (list_series, select_series):
        found, line = answer(read, tmp_path)
        assert found, line
    volume, line = answer(read_volume, tmp_path)
    assert volume is None
    assert str(tmp_path) in line
    assert "expected" in line


def test_numbers_by_hand():
    header = Dataset()
    header.PixelSpacing, header.SliceThickness, header.NumberOfFrames = [0.5, "0.25"], "5.0", 3
    assert numbers_of(header, "PixelSpacing") == [0.5, 0.25]
    assert numbers_of(header, "ImagePositionPatient") == []
    assert number_of(header, "SliceThickness") == 5.0
    assert number_of(header, "PixelSpacing", 7) == 7  # two are not one
    assert number_of(header, "GantryDetectorTilt", 7) == 7
    assert (number_of_frames(header), number_of_frames(Dataset())) == (3, 1)
