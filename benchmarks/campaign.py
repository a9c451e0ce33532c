"""Kill running commands and give all of them bad input: is anything lost, silent, or said with a traceback?

    python benchmarks/campaign.py --kills 20 --inputs all

The rows of `bad_inputs.yaml` are run one after the other: command, input, expected line. Commands are killed
(SIGKILL, and one in three SIGTERM) at random moments and started again until they end; what they leave must be
what a run that nobody disturbed leaves, training to the bit, and nothing else. Each run is a process that is
forked when everything is imported. Results are added to `OUT/campaign.jsonl`; what is in it is not done again.
"""
# ruff: noqa: E501, F401, commands are as long as they are, and imported is what no process then has to import

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import multiprocessing
import os
import random
import re
import resource
import runpy
import shlex
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import monai.bundle
import torch
import yaml

sys.path.insert(0, str(Path(__file__).parent))
from campaign_inputs import make_inputs

import headct.predict.run
import headct.reproduce
import headct.runs.crossval
import headct.zoo.publish
import headct.zoo.verify
import tools.engine.checkpoint
import tools.sampling.sampler
import tools.slices.preprocessing
import tools.volumes.dicom
from headct.cli.main import main as headct_main

ROOT = Path(__file__).resolve().parents[1]
TABLE = Path(__file__).with_name("bad_inputs.yaml")
SECONDS, GIGABYTES = 300, 12
FORK = multiprocessing.get_context("fork")
LEFT = re.compile(r"(^|/)(\.[^/]*\.part|\.predict-[^/]*|tmp[^/.]*|\.lock|\.hemorrhage_[^/]*)$")
TINY = "--roi_size [16,16,8] --patches_per_case 16 --batch_size 4 --max_epochs 3 --patience 9"


def command(words: str, folder: Path, log: Path) -> None:
    """One command in this process, which ends with it. `bundle NAME ...` is `python -m monai.bundle run ...`."""
    os.setsid()
    stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for handle in (1, 2):
        os.dup2(stream, handle)
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
    resource.setrlimit(resource.RLIMIT_AS, (GIGABYTES * 2**30 * 4, resource.RLIM_INFINITY))
    os.chdir(folder)
    torch.set_num_threads(1)
    kind, *rest = shlex.split(words)
    code = 1
    try:
        if kind == "headct":
            code = headct_main(rest)
        else:
            os.chdir(ROOT / "bundles" / rest[0])
            sys.path.insert(0, os.getcwd())
            module = Path(monai.bundle.__file__).with_name("__main__.py")
            sys.argv = [str(module), "run", *rest[1:]]
            runpy.run_path(str(module), run_name="__main__")
            code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def start(words: str, folder: Path, log: Path) -> Any:
    process = FORK.Process(target=command, args=(words, folder, log))
    process.start()
    return process


def judged(words: str, expected: str, folder: Path) -> tuple[str, str]:
    """clear, unclear, traceback, silent or hang, and the line."""
    log = folder / "log.txt"
    process = start(words, folder, log)
    process.join(SECONDS)
    if process.is_alive():
        os.killpg(process.pid, signal.SIGKILL)
        process.join()
        return "hang", f"no end after {SECONDS} s"
    text = log.read_text(errors="replace")
    lines = [line for line in text.splitlines() if line.startswith("error: ")]
    if process.exitcode == 0:
        return "silent", (text.splitlines() or [""])[-1][:200]
    if "Traceback (most recent" in text:
        return "traceback", text.strip().splitlines()[-1][:200]
    if not lines or process.exitcode < 0:
        return "unclear", f"exit code {process.exitcode}: {text.strip()[-200:]}"
    return ("clear" if re.search(expected, lines[-1]) else "unclear"), lines[-1][:300]


def rows() -> Iterator[tuple[str, str]]:
    """Every command of the table, and the expected line as a regular expression."""
    for entry in yaml.safe_load(TABLE.read_text()):
        for name, expected in entry["inputs"].items():
            yield entry["command"].replace("{}", str(name)), expected


def digests(folder: Path) -> dict[str, str]:
    """What a command left: weights by their tensors, tables and masks by their bytes; no logs, pages, times."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if name.startswith("cache/") and not LEFT.search(name):
            continue  # an entry holds the name of the file that it was first written to
        if path.is_dir() or name.endswith((".log", ".jsonl", ".png", ".html")) or "tfevents" in name:
            continue
        if path.name == "report.json":
            content: Any = json.loads(path.read_text())
            data = json.dumps({k: v for k, v in content.items() if k != "seconds"}, sort_keys=True).encode()
        elif path.suffix == ".pt" and "models" in name:
            state = torch.load(path, weights_only=True)
            data = b"".join(k.encode() + v.numpy().tobytes() for k, v in state.items())
        else:
            data = path.read_bytes()
        found[name] = hashlib.sha256(data).hexdigest()
    return found


def train(bundle: str, more: str) -> str:
    return (
        f"bundle {bundle} training --config_file configs/train.yaml --dataset_dir HEADS --cache_dir OUT/cache "
        f"--ckpt_dir OUT/models --output_dir OUT/eval --save_minutes 0 --amp false {more}"
    )


KILLED: dict[str, str] = {
    "train se_unet3d": train("se_unet3d", TINY),
    "train gan_unet2d": train(
        "gan_unet2d",
        "--input#size [32,32] --pretrain_epochs 1 --max_epochs 3 --batch_size 4 --patches_per_case 2",
    ),
    "predict": "headct predict HEADS/images --bundle gan_unet2d --out OUT/predictions --no-progress",
    "phantom": "headct phantom --out OUT/heads --cases 4 --shape 64 64 12 --spacing 3 3 12",
    "prepare": "headct datasets prepare folder --root HEADS --folds 2 --out OUT/list.json --no-progress",
    "inferring": "bundle gan_unet2d inferring --config_file configs/inference.yaml --dataset_dir HEADS/images "
    "--output_dir OUT/masks --amp false",
    "publish": "headct bundle publish REPOSITORY/bundles/gan_unet2d --out OUT/dist --schema INPUTS/schema.json",
    "score": "headct score folder HEADS/labels HEADS/labels --out OUT/scores --no-plots --no-progress",
    "ship-weights": "headct bundle ship-weights INPUTS/good.pt OUT/model.pt",
}


def killed(name: str, number: int, inputs: Path, work: Path) -> dict[str, Any]:
    """Run a command, kill it at a random moment, run it to its end; compare with an undisturbed run."""
    chance = random.Random(f"{name} {number}")
    reference = work / "reference" / name.replace(" ", "_")
    known = reference / "digests.json"
    words = KILLED[name].replace("HEADS", str(inputs / "heads")).replace("INPUTS", str(inputs))
    words = words.replace("REPOSITORY", str(inputs / "repository"))
    if not known.is_file():
        shutil.rmtree(reference, ignore_errors=True)
        reference.mkdir(parents=True)
        began = time.monotonic()
        process = start(words.replace("OUT", str(reference / "out")), inputs, reference / "log.txt")
        process.join()
        if process.exitcode:
            raise SystemExit(f"{name}: fails without a kill: {(reference / 'log.txt').read_text()[-500:]}")
        seconds = time.monotonic() - began
        known.write_text(json.dumps({"seconds": seconds, "files": digests(reference / "out")}))
    expected = json.loads(known.read_text())
    out = work / "killed" / name.replace(" ", "_")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    words = words.replace("OUT", str(out / "out"))
    process = start(words, inputs, out / "log.txt")
    process.join(chance.uniform(0, 1) * expected["seconds"])
    how, running = chance.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM]), process.is_alive()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, how)
    process.join(60)
    process = start(words, inputs, out / "log.txt")
    process.join(SECONDS)
    found = digests(out / "out")
    different = sorted(k for k in {*found, *expected["files"]} if found.get(k) != expected["files"].get(k))
    left = [key for key in different if LEFT.search(key)]
    verdict = "same"
    if process.exitcode != 0:
        verdict = "restart failed"
    elif left:
        verdict = "left behind"
    elif different:
        verdict = "lost"
    last = (out / "log.txt").read_text().strip()[-300:] if process.exitcode else ""
    return {
        "kill": name, "number": number, "signal": how.name, "while_running": running, "verdict": verdict,
        "different": different[:5], "last": last,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=0, help="how many, spread over the commands")
    parser.add_argument("--commands", default=",".join(KILLED), help="which are killed, separated by commas")
    parser.add_argument("--inputs", default="none", help="all, none, or a text that the rows must hold")
    parser.add_argument("--out", type=Path, default=Path("runs/campaign"), help="folder to work in")
    options = parser.parse_args()
    work = options.out.resolve()
    results = work / "campaign.jsonl"
    work.mkdir(parents=True, exist_ok=True)
    done = [json.loads(line) for line in results.read_text().splitlines()] if results.is_file() else []
    inputs = make_inputs(work / "inputs")

    def add(record: dict[str, Any]) -> None:
        done.append(record)
        with results.open("a") as file:
            file.write(json.dumps(record) + "\n")

    steps: list[Callable[[], dict[str, Any]]] = []
    ran = {record.get("input") for record in done}
    for words, expected in rows() if options.inputs != "none" else ():
        if words in ran or (options.inputs != "all" and options.inputs not in words):
            continue

        def step(words: str = words, expected: str = expected) -> dict[str, Any]:
            folder = work / "run"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            text = words.replace("IN/", f"{inputs}/").replace("OUT", str(folder / "out"))
            verdict, line = judged(text, expected, folder)
            return {"input": words, "verdict": verdict, "line": line.replace(str(inputs), "IN")}

        steps.append(step)
    names = [name.strip() for name in options.commands.split(",")]
    there = {(record.get("kill"), record.get("number")) for record in done}
    wanted = [(names[i % len(names)], i // len(names)) for i in range(options.kills)]
    steps += [
        lambda name=name, number=number: killed(name, number, inputs, work)
        for name, number in wanted
        if (name, number) not in there
    ]
    for number, one in enumerate(steps, start=1):
        record = one()
        add(record)
        if record["verdict"] not in ("clear", "same"):
            print(f"{number}/{len(steps)}", json.dumps(record), flush=True)
    for kind in ("input", "kill"):
        found = Counter(record["verdict"] for record in done if kind in record)
        print(
            f"{sum(found.values())} {kind}s: " + ", ".join(f"{n} {name}" for name, n in found.most_common())
        )


if __name__ == "__main__":
    main()
