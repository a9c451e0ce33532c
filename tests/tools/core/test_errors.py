"""One line for bad input and for files that the system refuses, wherever in a chain of errors."""

from __future__ import annotations

import errno
import os
import resource
import sys

import pytest

from tools.core.errors import (
    InputError,
    called,
    causes,
    disk_is_full,
    input_error,
    one_line,
    plain_input_errors,
    renamed,
)
from tools.core.names import listed


def wrapped(error: BaseException) -> BaseException:
    """As MONAI does it."""
    try:
        try:
            raise error
        except BaseException as cause:
            raise RuntimeError("Failed to instantiate") from cause
    except RuntimeError as outer:
        return outer


def test_files_that_the_system_refuses(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError) as error:
        (tmp_path / "file" / "below").mkdir()
    line = f"{tmp_path}/file/below: expected that it can be read or written, found: Not a directory"
    assert one_line(error.value) == one_line(wrapped(error.value)) == line
    assert not disk_is_full(error.value)


def test_a_file_that_may_not_grow(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
    try:
        with pytest.raises(OSError, match=os.strerror(errno.EFBIG)) as error:
            (tmp_path / "large").write_bytes(bytes(100))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert disk_is_full(wrapped(error.value))
    assert one_line(error.value) == f"a file: expected room on its disk, found: {os.strerror(errno.EFBIG)}"


def test_an_error_that_is_raised_from_what_came_from_it():
    """As when the input error within an error of MONAI's is raised in its place: a ring of causes."""
    inner, outer = InputError("a.nii.gz: expected a volume, found none"), RuntimeError("wrapped")
    outer.__cause__, inner.__cause__ = inner, outer
    assert list(causes(outer)) == [outer, inner]
    assert input_error(outer) is inner
    assert one_line(outer) == "a.nii.gz: expected a volume, found none"
    assert not disk_is_full(outer)
    first, second = ValueError(), KeyError()
    first.__context__, second.__context__ = second, first
    assert input_error(first) is None


def test_other_errors_keep_their_traceback():
    assert one_line(wrapped(ZeroDivisionError("a fault"))) is None
    assert one_line(OSError("of a library, without a number")) is None
    assert (
        one_line(wrapped(InputError("a.nii: expected this, found that")))
        == "a.nii: expected this, found that"
    )


def test_the_hook_prints_the_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    plain_input_errors()
    for error in (InputError("a.nii: expected this"), PermissionError(13, "Permission denied", "b.nii")):
        sys.excepthook(type(error), error, None)
    assert capsys.readouterr().err.splitlines() == [
        "error: a.nii: expected this",
        "error: b.nii: expected that it can be read or written, found: Permission denied",
    ]


@pytest.mark.parametrize(
    ("message", "names", "expected"),
    [
        ("/in/doe/1.dcm: expected b", {"/in/doe": "case"}, "case/1.dcm: expected b"),
        ("/in/doe/ct/1.dcm: no", {"/in/doe": "x", "/in/doe/ct": "y"}, "y/1.dcm: no"),
        ("found one in /in/doe, none", {"/in/doe": "case"}, "found one in case, none"),
        ("/in/doe2: no", {"/in/doe": "case"}, "/in/doe2: no"),
        ("/other/in/doe: no", {"/in/doe": "case"}, "/other/in/doe: no"),
        ("a/1.dcm: expected a head", {"a": "case"}, "case/1.dcm: expected a head"),
        (r"C:\in\doe\1.dcm: no", {r"C:\in\doe": r"c\1"}, r"c\1\1.dcm: no"),
    ],
)
def test_paths_are_renamed_as_wholes(message, names, expected):
    assert renamed(message, names) == expected


def test_an_error_that_is_let_through_names_no_folder():
    with pytest.raises(InputError, match=r"^case/1\.dcm: no$") as caught, called("/in/doe", "case"):
        raise InputError("/in/doe/1.dcm: no")
    assert caught.value.__suppress_context__


def test_long_lists_end_with_a_number():
    assert listed("abc") == "a; b; c"
    assert listed(range(32)) == "0; 1; 2; 3; 4 and 27 more"
