"""Time per window or slice of every bundle's network: PyTorch, in float32 and bfloat16, and ONNX Runtime.

    python benchmarks/bench_export.py [--quick] [--out FILE.json]

Random weights: time does not depend on them. One process per bundle, as each has a package `scripts`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from common import report

BUNDLES = Path(__file__).resolve().parents[1] / "bundles"

SCRIPT = """
import json, statistics, sys, time, torch
import onnxruntime
from monai.bundle import ConfigParser, onnx_export
from tools.engine.precision import with_precision

out, shape, repeats = sys.argv[1], [int(n) for n in sys.argv[2].split(",")], int(sys.argv[3])
parser = ConfigParser()
parser.read_config("configs/inference.yaml")
network = parser.get_parsed_content("network_def").eval()
torch.save(network.state_dict(), f"{out}/model.pt")
onnx_export("network_def", f"{out}/model.onnx", ckpt_file=f"{out}/model.pt", input_shape=shape,
            config_file="configs/inference.yaml",
            converter_kwargs={"input_names": ["image"], "output_names": ["pred"]})
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = torch.get_num_threads()
session = onnxruntime.InferenceSession(f"{out}/model.onnx", options, providers=["CPUExecutionProvider"])
image = torch.rand(shape)
fp32 = with_precision(network, "cpu", False)

@torch.inference_mode()
def ms(call):
    call()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return statistics.median(times) * 1000 / shape[0]

result = {"pytorch fp32": ms(lambda: fp32(image))}
result["onnx runtime"] = ms(lambda: session.run(None, {"image": image.numpy()}))
again = parser.get_parsed_content("network_def", instantiate=True)
bf16 = with_precision(again, "cpu", True)
result["pytorch bf16"] = ms(lambda: bf16(image))
print(json.dumps(result))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few repeats")
    parser.add_argument("--out", help="JSON file")
    arguments = parser.parse_args()
    rows = []
    for path in sorted(BUNDLES.glob("*/configs/metadata.json")):
        bundle = path.parents[1]
        image = json.loads(path.read_text())["network_data_format"]["inputs"]["image"]
        spatial = (32, 32, 16) if len(image["spatial_shape"]) == 3 else (256, 256)
        shape = (8 if len(spatial) == 3 else 1, image["num_channels"], *spatial)
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-c", SCRIPT, folder, ",".join(map(str, shape))]
            command.append("3" if arguments.quick else "15")
            output = subprocess.run(command, cwd=bundle, check=True, capture_output=True, text=True).stdout
        times = json.loads(output.strip().splitlines()[-1])
        ratio = times["pytorch fp32"] / times["onnx runtime"]
        rows.append({"bundle": bundle.name, "input": "x".join(map(str, shape))})
        rows[-1] |= {f"{name}, ms": value for name, value in times.items()}
        rows[-1]["fp32 / onnx"] = ratio
    report("export", rows, arguments.out)


if __name__ == "__main__":
    main()
