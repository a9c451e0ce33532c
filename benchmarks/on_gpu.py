"""All that needs a GPU, by one command of minutes: tests on CUDA, every bound, then a training.

    python benchmarks/on_gpu.py --out FOLDER [--anatomy LABEL_MAPS] [--minutes 20]
    python benchmarks/on_gpu.py --out FOLDER --device cpu --quick    # does it run?

Each step is a command of its own whose output is kept in FOLDER; one that fails does not stop the others, and
a step that has finished there is not run again. `on_gpu.md` holds bound, figure and device of each. With
`--anatomy` the weights of unetpp_pretrained are trained last, for `--minutes`, and lie in FOLDER/models.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from common import machine, table

ROOT = Path(__file__).resolve().parents[1]
RECIPE = ("train.yaml", "variants/types.yaml", "variants/anatomy.yaml")
Rows = Sequence[dict[str, Any]]


@dataclass(frozen=True)
class Step:
    """One command, and what its figure must reach.

    Args:
        name: of its files in the folder.
        command: after `python`; `{out}` is where it writes its rows.
        figure: the number in these rows; None where the exit status says all.
        bound: what `figure` must reach.
        at_least: whether the bound is a least or a most value.
        rows: suffix of the file that holds the rows.
    """

    name: str
    command: Sequence[str]
    figure: Callable[[Rows], float] | None = None
    bound: float | None = None
    at_least: bool = True
    rows: str = ".json"

    def run(self, out: Path) -> dict[str, Any]:
        """Run the command, unless its result lies there, and return a row of the table."""
        kept = out / f"{self.name}.done.json"
        if kept.is_file():
            return json.loads(kept.read_text())
        command = [part.format(out=out / f"{self.name}.json") for part in self.command]
        start = time.monotonic()
        with (out / f"{self.name}.log").open("w") as log:
            status = subprocess.run(
                [sys.executable, *command], cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, check=False
            ).returncode
        row: dict[str, Any] = {"step": self.name, "exit": status, "s": round(time.monotonic() - start)}
        if status == 0 and self.figure and self.bound is not None:
            rows = json.loads((out / f"{self.name}.json").with_suffix(self.rows).read_text())["rows"]
            value = self.figure(rows)
            met = value >= self.bound if self.at_least else value <= self.bound
            sign = ">=" if self.at_least else "<="
            row |= {"figure": value, "bound": f"{sign} {self.bound:g}", "met": "yes" if met else "no"}
        if status == 0:
            kept.write_text(json.dumps(row))
        return row


def best(rows: Rows, column: str, of: str, name: str) -> float:
    """The highest value of a column in the rows whose `of` begins with `name`."""
    return max(float(row[column]) for row in rows if str(row[of]).startswith(name))


def bounds(device: str, quick: bool) -> list[Step]:
    """Tests and benchmarks."""
    less = ["--quick"] if quick else []
    heads = less or ["--cases", "16"]
    return [
        Step("tests", ["-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/tools", "-k", device]),
        Step(
            "symmetry_ms",
            ["benchmarks/bench_symmetry.py", *heads, "--device", device, "--out", "{out}", "--peers"],
            lambda rows: float(rows[0]["ms per volume"]),
            30,
            at_least=False,
            rows=".batch.json",
        ),
        Step(
            "sampling_times_monai",
            ["benchmarks/bench_sampling.py", *less, "--device", device, "--out", "{out}"],
            lambda rows: best(rows, "times MONAI as usual", "loader", "RoiPatchSampler"),
            200,
        ),
        Step("metrics", ["benchmarks/bench_metrics.py", *less, "--out", "{out}"]),
        Step("inference", ["benchmarks/bench_inference.py", *less, "--device", device, "--out", "{out}"]),
        Step(
            "training_patches_per_s",
            ["benchmarks/bench_training.py", *less, "--device", device, "--out", "{out}"],
            lambda rows: best(rows, "patches/s", "training", "bundle, bfloat16"),
            20_000,
        ),
    ]


def training(out: Path, anatomy: Path, minutes: float, device: str, options: Sequence[str]) -> Step:
    """The recipe with anatomy, heads made on the device; the same command goes on with an interrupted one."""
    bundle = ROOT / "bundles" / "unetpp_pretrained"
    overlays = [str(bundle / "configs" / name) for name in RECIPE]
    keys = {
        "bundle_root": bundle,
        "device": f"$torch.device('{device}')",
        "anatomy": anatomy.resolve(),
        "train#dataset#device": device,
        "phantom_dir": out / "phantom",
        "cache_dir": out / "cache",
        "ckpt_dir": out / "models",
        "output_dir": out / "eval",
        "time_limit": round(60 * minutes),
    }
    pairs = [part for key, value in keys.items() for part in (f"--{key}", str(value))]
    command = ["-m", "monai.bundle", "run", "training", "--config_file", str(overlays)]
    return Step("weights", [*command, *pairs, *options])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true", help="small inputs: does it run?")
    parser.add_argument("--only", nargs="*", help="names of steps")
    parser.add_argument("--anatomy", type=Path, help="folder of label maps: train at the end")
    parser.add_argument("--minutes", type=float, default=20.0, help="of training")
    parser.add_argument(
        "keys", nargs="*", help="further keys of the training, such as --max_epochs 10, after `--`"
    )
    args = parser.parse_args()
    if args.device.startswith("cuda") and not torch.cuda.is_available():
        parser.error(
            f"--device {args.device}: torch finds no CUDA device; `--device cpu --quick` tries the script"
        )
    args.out.mkdir(parents=True, exist_ok=True)
    out = args.out.resolve()
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    steps = bounds(args.device, args.quick)
    if args.anatomy:
        steps.append(training(out, args.anatomy, args.minutes, args.device, args.keys))
    steps = [step for step in steps if not args.only or step.name in args.only]
    rows = []
    for step in steps:
        print(f"{step.name} ...", flush=True)
        rows.append(step.run(out))
        text = f"{machine()}, device {args.device}{', quick' if args.quick else ''}\n\n{table(rows)}\n"
        (out / "on_gpu.md").write_text(text)
    print("\n" + (out / "on_gpu.md").read_text())
    sys.exit(any(row["exit"] for row in rows))


if __name__ == "__main__":
    main()
