"""An interrupted command takes its trainings with it."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from headct.cli.main import _terminable
from headct.runs.bundle_run import BundleRun, has_weights, run_all

TRAIN = """
imports: [$import os, $import time, $import pathlib]
ckpt_dir: models
output_dir: eval
run:
  - "$pathlib.Path(@output_dir).mkdir(parents=True, exist_ok=True)"
  - "$pathlib.Path(@output_dir, 'pid').write_text(str(os.getpid()))"
  - "$time.sleep(40)"
  - "$pathlib.Path(@output_dir, 'finished').write_text('')"
training: "@run"
"""


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_no_training_outlives_its_command(sent, tmp_path):
    (tmp_path / "configs").mkdir()
    for name in ("train", "evaluate"):
        (tmp_path / "configs" / f"{name}.yaml").write_text(TRAIN)
    runs = [BundleRun(tmp_path, ["configs/train.yaml"], tmp_path / name, name) for name in ("a", "b")]

    def interrupt() -> None:
        while not (tmp_path / "a" / "eval" / "pid").is_file():
            time.sleep(0.1)
        os.kill(os.getpid(), sent)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background process ignores it
    threading.Thread(target=interrupt, daemon=True).start()
    try:
        with pytest.raises(KeyboardInterrupt), _terminable():  # as every command has it
            run_all(runs)
    finally:
        signal.signal(signal.SIGINT, before)
    pid = int((tmp_path / "a" / "eval" / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert not (tmp_path / "a" / "eval" / "finished").exists()
    assert not (tmp_path / "b" / "eval").exists()


def test_what_a_kill_leaves_is_no_weights(tmp_path):
    (tmp_path / "models").mkdir()
    for name in (".lock", ".model.pt.ab12.part", "tmp8x_2k"):
        (tmp_path / "models" / name).write_text("")
    assert not has_weights(tmp_path)
    (tmp_path / "models" / "model.pt").write_text("")
    assert has_weights(tmp_path)
