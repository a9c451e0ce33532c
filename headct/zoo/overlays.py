"""Overlays that every bundle has, written from one source: evaluation, several GPUs, TensorRT, real anatomy.

A bundle's folder must be complete by itself: it is published as a zip, and MONAI Label can't follow a
configuration that includes another file. So each bundle holds a copy. Change them here, then write all copies:

    python -m headct.zoo.overlays
"""
# ruff: noqa: E501, lines of the overlays are as long as they are

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from headct.zoo.anatomy_overlay import AnatomyTraining, anatomy_overlay
from tools.core.files import write_bytes

__all__ = ["KINDS", "Kind", "overlays"]

BUNDLES = Path(__file__).resolve().parents[2] / "bundles"

THRESHOLD = """\
    - _target_: tools.engine.postprocess.LabelFromProbabilitiesd
      keys: pred
      threshold: "@threshold"
"""
CLOSE_OPEN = """\
    - _target_: scripts.close_open.CloseOpend
      keys: pred
      size: "@close_open"
"""
LARGEST = """\
    - _target_: scripts.components.KeepLargeComponentsd
      keys: pred
      fraction: "@min_component"
"""
SAVE_SLICES = """\
    - _target_: tools.volumes.save.SaveMaskd
      keys: pred
      output_dir: "$os.path.join(@output_dir, 'predictions')"
"""
SAVE_VOLUME = """\
    - _target_: tools.volumes.save.SaveMaskd
      keys: pred
      output_dir: "$os.path.join(@output_dir, 'predictions')"
"""
SURFACE = """\
    scores: {_target_: tools.metrics.instance2022.instance2022_scores, _mode_: callable}
"""
BY_SLICE = """\
  - _target_: tools.report.handler.SegmentationReport
    output_dir: "$os.path.join(@output_dir, 'slice_metrics')"
    label_key: reference
    classes: "@class_names"
    prob_key: probability
    by_slice: true
    small_mm2: "@small_mm2"
    lesions: false
    columns: {columns}
    title: Metrics by slice
"""
VARIED = """\
  heads: 448 # then they come again, each with another variation
  variation: {contrast: [0.7, 1.2], noise: 2.5} # paler blood, and other scanners
"""


@dataclass(frozen=True)
class Kind:
    """What is a bundle's own in the overlays.

    Attributes:
        mask: transforms from the probability map in the geometry of the file to the mask.
        save: transform that writes the mask.
        columns: of the datalist, in the table by slice; None for volumes, which have no such table.
        own: further keys of `evaluate.yaml`.
        network: key of the network that several processes train, before it is wrapped.
        ddp: further arguments of its `DistributedDataParallel`.
        discriminator: whether there is one.
        size: key of the network's input size.
        trt: further keys of `inference_trt.yaml`.
        anatomy: what is its own in `variants/anatomy.yaml`.
    """

    mask: str = THRESHOLD
    save: str = SAVE_SLICES
    columns: str | None = "[patient]"
    own: str = ""
    network: str = "network_def"
    ddp: str = ""
    discriminator: bool = False
    size: str = "input#size"
    trt: str = ""
    anatomy: AnatomyTraining = field(default_factory=AnatomyTraining)


KINDS: Mapping[str, Kind] = {
    "dunet": Kind(
        mask=THRESHOLD + CLOSE_OPEN,
        columns="[patient, types]",
        own="validate#additional_metrics: null\n",
        anatomy=AnatomyTraining(cases=VARIED, own="learning_rate: 1.0e-3\n"),
    ),
    "gan_unet2d": Kind(
        discriminator=True,
        anatomy=AnatomyTraining(
            cases=VARIED,
            epochs=140,
            val_interval=14,
            own="""\
pretrain_epochs: "@max_epochs" # against a discriminator afterwards: a number below
learning_rate: 1.0e-3
""",
        ),
    ),
    "se_unet3d": Kind(
        mask=THRESHOLD + LARGEST,
        save=SAVE_VOLUME,
        columns=None,
        own="""\
refine: 0.02 # voxels that are closer to the threshold than this are decided in float32
inferer#refine: "@refine"
inferer#threshold: "@threshold"
""",
        size="roi_size",
        trt="refine: 0.0 # there is no float32 network to decide close voxels with\n",
        anatomy=AnatomyTraining(
            overlays=("instance2022", "types"),
            cases=VARIED,
            patches="half of the patches on the hemorrhage",
            roi_size='"@roi_size"',
            mix="{lesion: 0.5, border: 0.1, brain: 0.4}",
            patches_per_case=20,
            batch_size=4,
            augmentation="{turns: random}",
            epochs=72,
            val_interval=9,
        ),
    ),
    "unetpp_pretrained": Kind(
        own='initial_network: "@network_def" # all weights are in the file: nothing is downloaded\n',
        network="initial_network",
        ddp='  find_unused_parameters: "$bool(@freeze_epochs)" # the encoder, while it is frozen\n',
        anatomy=AnatomyTraining(
            cases="  variation: {} # pale blood in many heads, and other scanners\n",
            pool=16,
            patches_per_case=32,
        ),
    ),
}


def overlays(kind: Kind) -> dict[str, str]:
    """Text of a bundle's overlays by file name."""
    return {
        "evaluate.yaml": evaluate(kind),
        "multi_gpu_train.yaml": multi_gpu_train(kind),
        "inference_trt.yaml": inference_trt(kind),
        "variants/anatomy.yaml": anatomy_overlay(kind.anatomy),
    }


def evaluate(kind: Kind) -> str:
    """Overlay on `train.yaml` for the run `evaluating`."""
    tables = (
        "." if kind.columns is None else ", by\n# case in `metrics` and slice by slice in `slice_metrics`."
    )
    reports = "report" if kind.columns is None else "last report"
    by_slice = "" if kind.columns is None else BY_SLICE.format(columns=kind.columns)
    surface = SURFACE if kind.columns is None else ""
    return f"""\
# Overlay on train.yaml: scores the test cases (without any: the held-out fold) in the geometry of their files{tables}
#   python -m monai.bundle run evaluating --config_file "['configs/train.yaml','configs/evaluate.yaml']"
ckpt_path: "$os.path.join(@ckpt_dir, 'model.pt')"
trained: {{_target_: tools.engine.checkpoint.weights_settings, paths: "@ckpt_path"}}
threshold: "$@trained.get('threshold', 0.5)" # as inference does
validate#dataset#data:
  _target_: tools.data.datalist.evaluation_cases
  datalist: "@datalist"
  fold: "@fold"
postprocessing:
  _target_: Compose
  transforms:
    - _target_: Invertd
      keys: pred
      transform: "@preprocessing"
      orig_keys: image
      nearest_interp: false
      to_tensor: true
    - _target_: CopyItemsd
      keys: pred
      names: probability
{kind.mask}{kind.save}{kind.own}validate#key_metric: null # below, files are scored against `reference`, in their geometry
handlers:
  - _target_: CheckpointLoader
    load_path: "@ckpt_path"
    load_dict: {{model: "@network_def"}}
    map_location: "@device"
  - _target_: tools.report.handler.SegmentationReport
    output_dir: "$os.path.join(@output_dir, 'metrics')"
    label_key: reference
    classes: "@class_names"
    prob_key: probability
{surface}{by_slice}  - _target_: StatsHandler
    iteration_log: false
  - _target_: TensorBoardStatsHandler # what the {reports} left in engine.state.metrics
    log_dir: "@output_dir"
    iteration_log: false
  - _target_: ignite.handlers.ProgressBar
    desc: evaluate
validate#handlers: [] # those of the validation within a training
validate#evaluator#val_handlers: "@handlers"
dataset: "@validate#dataset"
evaluator: "@validate#evaluator"
run:
  - _target_: tools.engine.checkpoint.require_weights
    path: "@ckpt_path"
    settings: "@input"
    network: "@network_def"
  - "$@evaluator.run()"
evaluating: "@run"
training: null
"""


def multi_gpu_train(kind: Kind) -> str:
    """Overlay on `train.yaml` for `torchrun`."""
    return f"""\
# Overlay on train.yaml: one process per GPU (or CPU process), each with its share of every epoch's patches.
#   torchrun --nproc_per_node 4 -m monai.bundle run training \\
#     --config_file "['configs/train.yaml','configs/multi_gpu_train.yaml']"
# batch_size is that of each process.
+imports:
  - $import torch.distributed as dist
device: "$torch.device('cuda', int(os.environ['LOCAL_RANK'])) if torch.cuda.is_available() else torch.device('cpu')"
is_main_process: "$dist.get_rank() == 0"
{wrapped("network", kind.network, kind.ddp)}{wrapped("discriminator") if kind.discriminator else ""}\
sampler#share: {{rank: "$dist.get_rank()", world_size: "$dist.get_world_size()"}}
validate#sampler:
  _target_: DistributedSampler
  dataset: "@validate#dataset"
  even_divisible: "$len(@validate#dataset) < dist.get_world_size()" # each process needs a case
  shuffle: false
validate#dataloader#sampler: "@validate#sampler"
validate#evaluator#network: "@plain_network"
+initialize:
  - "$dist.is_initialized() or dist.init_process_group('nccl' if torch.cuda.is_available() else 'gloo')"
  - "$torch.cuda.set_device(@device) if @device.type == 'cuda' else None"
  - "$monai.utils.set_determinism(seed=@seed + dist.get_rank())"
  - "$dist.barrier() if dist.get_rank() else None" # rank 0 makes the synthetic set, the others find it
  - "$@datalist and (dist.get_rank() or dist.barrier())"
finalize:
  - "$dist.is_initialized() and dist.destroy_process_group()"
"""


def wrapped(name: str, definition: str = "", arguments: str = "") -> str:
    """A network in the process's precision, and the same wrapped for several processes."""
    return f"""\
plain_{name}:
  _target_: tools.engine.precision.with_precision
  network: "@{definition or f"{name}_def"}"
  device: "@device"
  amp: "@amp"
{name}:
  _target_: torch.nn.parallel.DistributedDataParallel
  module: "@plain_{name}"
  device_ids: "$[@device] if @device.type == 'cuda' else None"
{arguments}"""


def inference_trt(kind: Kind) -> str:
    """Overlay on `inference.yaml` for TensorRT."""
    return f"""\
# TensorRT in half precision, on NVIDIA GPUs with the packages tensorrt, polygraphy and onnx installed.
# Overlay on inference.yaml:
#   python -m monai.bundle run inferring --config_file "['configs/inference.yaml','configs/inference_trt.yaml']"
network:
  _target_: tools.engine.tensorrt.with_tensorrt
  network: "@network_def"
  device: "@device"
  weights: "@ckpt_path"
  size: "@{kind.size}"
  batch: "@sw_batch_size"
{kind.trt}"""


def main() -> None:
    """Write every bundle's overlays."""
    for name, kind in KINDS.items():
        for file, text in overlays(kind).items():
            write_bytes(BUNDLES / name / "configs" / file, text.encode())


if __name__ == "__main__":
    main()
