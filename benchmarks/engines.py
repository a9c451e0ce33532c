"""The engines of bench_engines.py: functions from windows, (batch, channels, X, Y, Z) float32, to logits."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tools.engine.precision import with_precision

REFERENCE = "PyTorch float32"
ENGINES = (
    REFERENCE,
    "PyTorch bfloat16",
    "ONNX Runtime float32",
    "ONNX Runtime int8",
    "OpenVINO float32",
    "OpenVINO bfloat16",
    "OpenVINO int8",
)
INPUT, OUTPUT = "image", "pred"


class Engine:
    """A network in another engine, as the bundles' inferers take it.

    Args:
        run: windows to logits.
        in_float32: the same in float32, for voxels that are close; None where `run` is in float32.
    """

    def __init__(self, run: Any, in_float32: Any = None) -> None:
        self.run = run
        if in_float32 is not None:
            self.in_float32 = in_float32

    def __call__(self, windows: Tensor) -> Tensor:
        return self.run(windows)


def make(name: str, network: nn.Module, folder: Path) -> Any:
    """The engine of that name.

    Args:
        name: one of `ENGINES`.
        network: in evaluation mode; changed in place.
        folder: with what `write_onnx` and `quantise` wrote.
    """
    engine, precision = name.rsplit(" ", 1)
    if engine == "PyTorch":
        return with_precision(network, "cpu", precision == "bfloat16")
    open_file = onnx_runtime if engine == "ONNX Runtime" else openvino
    plain = open_file(folder / "float32.onnx", "float32")
    if precision == "float32":
        return Engine(plain)
    file = "int8.onnx" if precision == "int8" else "float32.onnx"
    return Engine(open_file(folder / file, precision), plain)


def onnx_runtime(path: Path, precision: str) -> Any:
    """A file run by ONNX Runtime, which computes in the precision that is in the file."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(windows: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {INPUT: windows.contiguous().numpy()})[0])

    return run


def openvino(path: Path, precision: str) -> Any:
    """A file run by OpenVINO; its float32 is float32 also where the processor has bfloat16."""
    from openvino import Core

    settings = {
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bfloat16" else "f32",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "PERFORMANCE_HINT": "LATENCY",
    }
    request = Core().compile_model(str(path), "CPU", settings).create_infer_request()

    def run(windows: Tensor) -> Tensor:
        # the result is the engine's own memory, until it runs again: the inferer is done with it by then
        result = request.infer({INPUT: windows.contiguous().numpy()}, share_inputs=True, share_outputs=True)
        return torch.from_numpy(result[0])

    return run


def write_onnx(network: nn.Module, windows: Tensor, folder: Path) -> None:
    """Write `float32.onnx` of a network in evaluation mode, the batch left open."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (windows[:2],),  # a batch of 1 would be taken for a constant
            folder / "float32.onnx",
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
            input_names=[INPUT],
            output_names=[OUTPUT],
            external_data=False,
            verbose=False,
        )


def quantise(batches: Iterable[Tensor], folder: Path) -> None:
    """Write `int8.onnx`: `float32.onnx` with weights and activations of 8 bits, calibrated on windows."""
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Windows(CalibrationDataReader):
        def __init__(self) -> None:
            self.left: Iterator[Tensor] = iter(batches)

        def get_next(self) -> dict[str, Any] | None:
            batch = next(self.left, None)
            return None if batch is None else {INPUT: batch.contiguous().numpy()}

    prepared = folder / "prepared.onnx"
    quant_pre_process(folder / "float32.onnx", prepared, skip_symbolic_shape=True)
    quantize_static(
        prepared,
        folder / "int8.onnx",
        Windows(),
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    prepared.unlink()
