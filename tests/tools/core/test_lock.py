"""A folder belongs to one process; what a killed one leaves is no hindrance."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tools.core.errors import InputError
from tools.core.files import remove_partial_files, replacing, write_text
from tools.core.lock import lock_folder, release

HOLD = """
import sys, time
from tools.core.lock import lock_folder, release
from tools.core.files import replacing
lock = lock_folder(sys.argv[1], "training")
with replacing(sys.argv[1] + "/model.pt") as partial:
    partial.write_text("half")
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    yield process
    process.kill()
    process.wait()


def test_a_running_process_keeps_its_folder_and_a_killed_one_does_not(holder, tmp_path):
    with pytest.raises(InputError, match="expected no other training in this folder"):
        lock_folder(tmp_path, "training")
    remove_partial_files(tmp_path)
    assert len(list(tmp_path.glob(".model.pt.*"))) == 1  # it is being written
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    lock = lock_folder(tmp_path, "training")
    remove_partial_files(tmp_path)
    release(lock)
    assert [path.name for path in tmp_path.iterdir()] == []


def test_a_lock_file_alone_is_no_lock(tmp_path):
    """As it comes from another host or container, with whatever was written into it."""
    (tmp_path / ".lock").write_text("1\nsome-other-host\n")
    release(lock_folder(tmp_path, "training"))


def test_an_error_names_the_file_that_was_asked_for(tmp_path):
    def full() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    write_text(tmp_path / "a.txt", "old")
    with (
        pytest.raises(OSError, match=r"No space left on device: '.*/a\.txt'$"),
        replacing(tmp_path / "a.txt"),
    ):
        full()
    assert (tmp_path / "a.txt").read_text() == "old"
    with pytest.raises(FileNotFoundError, match="other"), replacing(tmp_path / "a.txt"):
        Path(tmp_path, "other").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
