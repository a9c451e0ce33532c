"""Which engine runs the 3D networks of `se_unet3d` fastest on a CPU, and whether the mask stays the same.

    python benchmarks/bench_engines.py [--quick] [--work FOLDER] [--engines "OpenVINO int8"] [--out FILE.json]

Two networks: `shipped`, that of configs/inference.yaml with its weights; and `2022`, the deeper one of
configs/variants/instance2022.yaml, with random weights (He initialisation, seed 0), as none are shipped. Both
see synthetic heads of 512x512x30 voxels with an intraparenchymal hemorrhage of 5 mL or more (`--least-ml`).
PyTorch, ONNX Runtime and OpenVINO (where it is installed) take as many threads as torch. The int8 network is
calibrated on windows of other heads than those it is tested with.

Every row is a process of its own, which imports PyTorch and MONAI in any case. Columns:

- ms per window: median, of batches of 8 windows as the bundle's inferer hands them over.
- s per head: of the bundle's inferer on preprocessed heads, mean over the heads of the faster of two runs
  (of one with `--cpu-time`). Engines in reduced precision decide close voxels in their own float32, as the
  bundle does in PyTorch's. `2022`: windows of a head, mean over the heads, times the milliseconds.
- peak GiB: of the process; `2022` runs windows only.
- lowest Dice: of the mask with PyTorch's in float32, on the grid that the network sees, lowest of the heads;
  `plain Dice` without close voxels decided in float32; `lesion voxels` of PyTorch's masks, all heads.
- difference: the largest of the lesion's probability from PyTorch's in float32, without close voxels decided
  again; `shipped` over the heads, `2022` over windows from them.

On a machine that does other work, `--cpu-time` measures the processor's seconds of one thread, as
bench_inference.py does. What is prepared (heads, exported networks) is kept in `--work`, for the next run.
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import itertools
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from common import report
from engines import ENGINES, REFERENCE, make, quantise, write_onnx
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from torch import Tensor, nn

BUNDLE = Path(__file__).resolve().parents[1] / "bundles" / "se_unet3d"
sys.path.insert(0, str(BUNDLE))

from scripts.brain_windows import brain_windows, window_starts  # noqa: E402

from tools.core.tensors import plain  # noqa: E402
from tools.engine.checkpoint import load_weights  # noqa: E402
from tools.engine.precision import autocast_dtype  # noqa: E402
from tools.phantom import HeadPhantom  # noqa: E402
from tools.phantom.kinds import lesion_types  # noqa: E402

OVERLAYS: dict[str, list[str]] = {"shipped": [], "2022": ["variants/instance2022.yaml"]}
BATCH, CALIBRATION_HEADS, CALIBRATION_BATCHES, TEST_WINDOWS = 8, 2, 16, 32
TESTED, CALIBRATED = 101, 102  # seeds of heads
KIND = "iph_ivh"


clock = time.perf_counter


def configuration(name: str) -> ConfigParser:
    """The bundle's inference for one of the networks."""
    parser = ConfigParser()
    parser.read_config([str(BUNDLE / "configs" / file) for file in ("inference.yaml", *OVERLAYS[name])])
    parser["bundle_root"], parser["device"] = str(BUNDLE), "cpu"
    if name != "shipped":
        parser["ckpt_path"] = "none.pt"  # the shipped weights' spacing is not this network's
    return parser


def network_of(name: str, parser: ConfigParser) -> nn.Module:
    """In evaluation mode, with its weights."""
    torch.manual_seed(0)
    network = parser.get_parsed_content("network_def").eval()
    if name == "shipped":
        load_weights(network, BUNDLE / "models" / "model.pt")
        return network
    for module in network.modules():
        if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    return network


def render(count: int, seed: int, shape: tuple[int, ...], least_ml: float) -> list[MetaTensor]:
    """Synthetic heads, (1, X, Y, Z) in HU: the first of a seed with so much blood."""
    spacing = (0.45 * 512 / shape[0], 0.45 * 512 / shape[1], 5.0 * 30 / shape[2])
    least = least_ml * 1000 / math.prod(spacing)
    cases = (HeadPhantom(seed, index, shape, spacing, kind=KIND).render() for index in itertools.count())
    bloody = (case for case in cases if case.label(lesion_types(KIND)).sum() >= least)
    return [
        MetaTensor(case.image.as_tensor(), affine=case.affine) for case in itertools.islice(bloody, count)
    ]


def preprocess(parser: ConfigParser, scans: list[MetaTensor]) -> list[tuple[Tensor, Tensor]]:
    """Image (1, C, X, Y, Z) and mask of the brain of each, as the inferer gets them."""
    preprocessing = parser.get_parsed_content("preprocessing")
    items = [preprocessing({"image": scan}) for scan in scans]
    return [(plain(item["image"])[None].clone(), plain(item["brain"])[None].clone()) for item in items]


def windows_of(parser: ConfigParser, head: tuple[Tensor, Tensor]) -> list[tuple[Any, ...]]:
    """Where the bundle's inferer puts its windows."""
    inferer, (image, brain) = parser.get_parsed_content("inferer"), head
    starts = window_starts(image.shape[2:], inferer.roi_size, inferer.overlap, inferer.step)
    return brain_windows(brain[:, 0] != 0, starts, inferer.roi_size)


def some_windows(parser: ConfigParser, made: list[tuple[Tensor, Tensor]], count: int) -> Tensor:
    """(count, C, ...): as many from each head, evenly spread over its windows."""
    each = -(-count // len(made))
    parts = []
    for image, brain in made:
        where = windows_of(parser, (image, brain))
        for number in range(each):
            _, *space = where[number * len(where) // each]
            parts.append(image[(slice(None), slice(None), *space)])
    return torch.cat(parts)[:count]


def prepare(work: Path, count: int, shape: tuple[int, ...], least_ml: float) -> None:
    """Heads, windows from them, and the networks' files; nothing where an earlier run left them."""
    if all((work / name / "windows.pt").is_file() for name in OVERLAYS):
        return
    scans = render(count, TESTED, shape, least_ml)
    others = render(CALIBRATION_HEADS, CALIBRATED, shape, least_ml)
    for name in OVERLAYS:
        folder, parser = work / name, configuration(name)
        folder.mkdir(parents=True, exist_ok=True)
        heads = preprocess(parser, scans)
        torch.save(heads if name == "shipped" else [], folder / "heads.pt")
        windows = some_windows(parser, heads, TEST_WINDOWS)
        write_onnx(network_of(name, parser), windows, folder)
        seen = some_windows(parser, preprocess(parser, others), CALIBRATION_BATCHES * BATCH)
        quantise(seen.split(BATCH), folder)
        number = statistics.mean(len(windows_of(parser, head)) for head in heads)
        torch.save({"windows": windows, "windows per head": number}, folder / "windows.pt")


@torch.inference_mode()
def measure(name: str, engine: str, folder: Path, repeats: int, runs: int) -> dict[str, float]:
    """Run one engine in this process; its probabilities are written to `folder`, for `agreement`."""
    parser = configuration(name)
    network = make(engine, network_of(name, parser), folder)
    prepared = torch.load(folder / "windows.pt")
    windows, made = prepared["windows"], torch.load(folder / "heads.pt")
    batch = windows[:BATCH].contiguous(memory_format=torch.channels_last_3d)
    network(batch)
    times = []
    for _ in range(repeats):
        begin = clock()
        network(batch)
        times.append(clock() - begin)
    result = {"ms per window": statistics.median(times) * 1000 / BATCH}
    refined = parser.get_parsed_content("inferer")
    unrefined = copy.copy(refined)
    unrefined.refine = 0.0
    probabilities, masks, seconds = [], [], []
    for image, brain in made:
        times = []
        for _ in range(runs):
            begin = clock()
            output = refined(image, network, brain=brain)
            times.append(clock() - begin)
        seconds.append(min(times))
        masks.append(output.argmax(1))
        if hasattr(network, "in_float32"):
            output = unrefined(image, network, brain=brain)
        probabilities.append(output[:, 1])
    if not made:
        probabilities = [network(part).float().softmax(1)[:, 1] for part in windows.split(BATCH)]
        seconds = [prepared["windows per head"] * result["ms per window"] / 1000]
    result["s per head"] = statistics.mean(seconds)
    result["peak GiB"] = peak_gib()
    torch.save((probabilities, masks), folder / f"{engine}.pt")
    return result


def peak_gib() -> float:
    """Most memory that this process has held; `getrusage` would count the parent's, of before it began."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 2**20


def agreement(folder: Path, engine: str) -> dict[str, float | str]:
    """An engine's probabilities and masks beside those of PyTorch in float32."""
    (expected, right), (found, masks) = (torch.load(folder / f"{name}.pt") for name in (REFERENCE, engine))
    result: dict[str, float | str] = {"lowest Dice": "", "plain Dice": "", "lesion voxels": ""}
    if masks:
        plain_masks = [probability > 0.5 for probability in found]
        result["lowest Dice"] = f"{min(map(dice, masks, right)):.5f}"
        result["plain Dice"] = f"{min(map(dice, plain_masks, right)):.5f}"
        result["lesion voxels"] = sum(int((mask != 0).sum()) for mask in right)
    result["difference"] = max((a - b).abs().max().item() for a, b in zip(found, expected, strict=True))
    return result


def dice(a: Tensor, b: Tensor) -> float:
    """Of two label maps; 1 where both are empty."""
    a, b = a != 0, b != 0
    both = int(a.sum() + b.sum())
    return 2 * int((a & b).sum()) / both if both else 1.0


def bench(engines: list[str], work: Path, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """All rows; the reference first, as the others are compared with it."""
    rows, shape = [], (128, 128, 24) if arguments.quick else (512, 512, 30)
    prepare(work, 1 if arguments.quick else arguments.heads, shape, arguments.least_ml)
    for name in OVERLAYS:
        for engine in engines:
            command = [sys.executable, __file__, "--work", str(work), "--measure", name, engine]
            command += ["--repeats", "2" if arguments.quick else "15"]
            command += ["--cpu-time"] if arguments.cpu_time else []
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            row = {"network": name, "engine": engine, **json.loads(output.splitlines()[-1])}
            rows.append(row | agreement(work / name, engine))
            print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one small head, few repeats")
    parser.add_argument("--heads", type=int, default=3, help="heads that are tested")
    parser.add_argument("--least-ml", type=float, default=5.0, help="least blood of a head, mL")
    parser.add_argument("--engines", default=",".join(ENGINES), help="names, with commas between them")
    parser.add_argument("--cpu-time", action="store_true", help="one thread, seconds of the processor")
    parser.add_argument("--work", help="folder to keep what is prepared in")
    parser.add_argument("--out", help="JSON file")
    parser.add_argument("--prepare", action="store_true", help="prepare only")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--repeats", type=int, default=15, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.cpu_time:
        global clock
        clock = time.process_time
        torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(arguments.work or temporary).resolve()
        if arguments.measure:
            name, engine = arguments.measure
            runs = 1 if arguments.cpu_time else 2
            print(json.dumps(measure(name, engine, work / name, arguments.repeats, runs)))
            return
        engines = [REFERENCE, *(name for name in arguments.engines.split(",") if name != REFERENCE)]
        if not importlib.util.find_spec("openvino"):
            print("OpenVINO is not installed: pip install openvino. The table is without it.")
            engines = [name for name in engines if not name.startswith("OpenVINO")]
        rows = bench([] if arguments.prepare else engines, work, arguments)
    if arguments.prepare:
        return
    own = autocast_dtype("cpu")
    print(f"The bundle takes by itself: PyTorch {'float32' if own is None else 'bfloat16'}.")
    report(
        "engines" + (", processor seconds of one thread" if arguments.cpu_time else ""), rows, arguments.out
    )


if __name__ == "__main__":
    main()
