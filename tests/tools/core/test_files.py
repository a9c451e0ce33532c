"""Files written in one step."""

from __future__ import annotations

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


def test_a_new_file_takes_the_place_of_the_old_and_is_readable_by_all(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with replacing(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o644
