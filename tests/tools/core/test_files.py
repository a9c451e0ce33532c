"""Files written in one step."""

from __future__ import annotations

import errno

import pytest

from tools.core.files import replacing, write_text


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = write_text(tmp_path / "new" / "page.md", "old ä")

    def fail():
        with replacing(path) as partial:
            partial.write_text("half")
            assert path.read_text(encoding="utf-8") == "old ä"
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert path.read_bytes() == "old ä".encode()
    assert [file.name for file in path.parent.iterdir()] == ["page.md"]


def test_a_name_that_is_no_text_can_be_written(tmp_path):
    """A Latin-1 file name of an old archive, as Python hands it on."""
    name = b"K\xf6pfe.nii.gz".decode(errors="surrogateescape")
    write_text(tmp_path / "summary.csv", f"case\n{name}\n")
    assert (tmp_path / "summary.csv").read_text(encoding="utf-8") == "case\nK\\udcf6pfe.nii.gz\n"


def test_a_new_file_takes_the_place_of_the_old_and_is_readable_by_all(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with replacing(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_name_as_long_as_they_can_be(tmp_path):
    path = write_text(tmp_path / f"{'ä' * 127}x", "text")  # 255 bytes
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    with pytest.raises(OSError, match=r"ax'$") as error:
        write_text(tmp_path / f"{'ä' * 127}ax", "text")
    assert error.value.errno == errno.ENAMETOOLONG
