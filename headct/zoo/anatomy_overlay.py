"""The overlay `variants/anatomy.yaml` of every bundle: training on heads with the anatomy of real people."""
# ruff: noqa: E501, lines of the overlay are as long as they are

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["AnatomyTraining", "anatomy_overlay"]


@dataclass(frozen=True)
class AnatomyTraining:
    """What is a bundle's own in `variants/anatomy.yaml`.

    Attributes:
        overlays: names of the variants that it is combined with in the example.
        cases: further arguments of the heads, each a line with its end.
        patches: what patches are, for the comment.
        roi_size: of the patches.
        mix: of the regions that they are drawn from.
        pool: heads that an epoch draws from.
        patches_per_case: from each of them.
        batch_size: patches of a step.
        augmentation: of the patches.
        epochs: the most.
        val_interval: epochs between validations.
        own: further keys, each a line with its end.
    """

    overlays: tuple[str, ...] = ("types",)
    cases: str = ""
    patches: str = "crops of 160x160 from slices of 256x256, more than half of them with hemorrhage"
    roi_size: str = "[160, 160]"
    mix: str = "{lesion: 0.6, brain: 0.35, image: 0.05}"
    pool: int = 24
    patches_per_case: int = 24
    batch_size: int = 8
    augmentation: str = "{affine: {flip: 0.5, rotation: 20, shift: 0.05, shear: 0.1, zoom: 0.25}}"
    epochs: int = 72
    val_interval: int = 8
    own: str = ""


def anatomy_overlay(training: AnatomyTraining) -> str:
    """Text of the overlay."""
    files = ["train.yaml", *(f"variants/{name}.yaml" for name in (*training.overlays, "anatomy"))]
    listed = ",".join(f"'configs/{file}'" for file in files)
    return f"""\
# Heads with the anatomy of real people, made while training runs, and patches of them. docs/phantom.md says where the
# label maps come from.
#   python -m monai.bundle run training \\
#     --config_file "[{listed}]" \\
#     --anatomy /path/to/label_maps --background /path/to/scan_without_blood
# Overlay of train.yaml and evaluate.yaml.
seed: 1
anatomy: null # folder of the label maps
background: null # a real scan without blood, NIfTI file or DICOM folder
validation_maps: [training_seg_05, training_seg_09, training_seg_18] # which no training head is made of
phantom_dir: "$os.path.join(@bundle_root, 'data', 'phantom_anatomy')"
heads_dir: null # a folder that keeps the heads of the training, 6 MB each, for the next one: of any bundle
phantom: # fold 0, which chooses the epoch, and test cases, of people that training does not see
  {{cases: 18, test_cases: 30, seed: 8, kind: any, shape: [256, 256, 32], spacing: [0.9, 0.9, 5.0], folds: 1,
   anatomy: "@anatomy", maps: "@validation_maps"}}
train#dataset: # without end
  _target_: tools.phantom.mixture.training_heads
  anatomy: "@anatomy"
  background: "@background"
  validation_maps: "@validation_maps"
  transform: "@preprocessing"
  lesion: "$'types' if @network_def#out_channels > 2 else 'any'"
  as_outlined: true # labels hold what can be seen; false: also blood that looks like bone or brain
  heads_dir: "@heads_dir"
{training.cases}\
sampler: # {training.patches}
  _target_: tools.sampling.renewed.RenewedSampler
  cases: "@train#dataset"
  pool: {training.pool}
  renewed: 8 # with 2, false blood in a real scan grew from 1 to 37 mL between epochs 10 and 65
  roi_size: {training.roi_size}
  mix: {training.mix}
  patches_per_case: {training.patches_per_case}
  batch_size: {training.batch_size}
  augmentation: {training.augmentation}
  seed: "@seed"
  device: "@device"
max_epochs: {training.epochs}
val_interval: {training.val_interval}
{training.own}\
lr_scheduler: # the rate falls to 0, so that the last epochs settle
  _target_: torch.optim.lr_scheduler.PolynomialLR
  optimizer: "@optimizer"
  total_iters: "@max_epochs"
  power: 0.9
lr_schedule:
  _target_: LrScheduleHandler
  lr_scheduler: "@lr_scheduler"
  print_lr: false
averaged_weights: # what is validated and kept: the weights of single steps swing with the heads they have seen
  _target_: tools.engine.average.AveragedWeights
  network: "@network"
  validator: "@validate#evaluator"
  decay: 0.997 # the average goes back about five epochs
train#trainer#train_handlers: "$[@lr_schedule, @averaged_weights, *@train#handlers]" # first: saved states have the next rate
saved_objects#lr_scheduler: "@lr_scheduler"
saved_objects#averaged_weights: "@averaged_weights"
"""
