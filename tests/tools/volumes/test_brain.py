"""Brain extraction on the real head CT and on phantoms whose inside of the skull is known."""

from __future__ import annotations

import warnings
from pathlib import Path

import cc3d
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from tools.core.errors import InputError
from tools.phantom import HeadPhantom
from tools.phantom.head import PhantomCase
from tools.volumes.brain import extract_brain
from tools.volumes.read import read_volume


@pytest.fixture(scope="module")
def real_head(real_data: Path) -> MetaTensor:
    """The GE head CT, gantry tilt undone, RAS."""
    return read_volume(real_data / "ge_head_ct_dicom")


def phantom(index: int = 0, kind: str = "sdh", spacing=(1.8, 1.8, 5.0), **settings) -> PhantomCase:
    shape = tuple(round(mm / s) for mm, s in zip((230, 230, 165), spacing, strict=True))
    return HeadPhantom(seed=5, index=index, shape=shape, spacing=spacing, kind=kind, **settings).render()


@pytest.fixture(scope="module")
def head() -> PhantomCase:
    """A head with a subdural hematoma, 5 mm slices."""
    return phantom()


def dice(a: torch.Tensor, b: torch.Tensor) -> float:
    a, b = a.bool(), b.bool()
    return 2 * int((a & b).sum()) / int(a.sum() + b.sum())


@pytest.mark.parametrize(("method", "bright"), [("rules2022", 0.01), ("smooth", 0.10)])
def test_real_scan(real_head: MetaTensor, method: str, bright: float) -> None:
    """`bright`: share above 120 HU; "smooth" ends within the voxels that are part bone."""
    brain = extract_brain(real_head, method=method)
    assert brain.shape == real_head.shape
    assert torch.equal(brain.affine, real_head.affine)
    mask = brain[0].numpy()
    ml = mask.sum() * abs(np.linalg.det(real_head.affine[:3, :3].numpy())) / 1000
    assert 1000 < ml < 1800
    assert cc3d.connected_components(mask, connectivity=6, return_N=True)[1] == 1
    assert (real_head[0].numpy()[mask] > 120).mean() < bright


@pytest.mark.parametrize("method", ["rules2022", "smooth"])
def test_real_scan_has_no_neck_and_no_orbit(real_head: MetaTensor, method: str) -> None:
    mask = extract_brain(real_head, method=method)[0]
    assert not mask[..., :5].any()  # slices below the foramen magnum
    for eye in ((205, 405, 10), (358, 400, 10)):  # centres of the globes, marked by hand
        assert not mask[eye]


@pytest.mark.parametrize("spacing", [(1.8, 1.8, 5.0), (1.5, 1.5, 1.5), (1.8, 1.8, 7.0)])
@pytest.mark.parametrize("kind", ["edh"])
def test_phantoms_of_any_slice_thickness(kind: str, spacing) -> None:
    case = phantom(1, kind, spacing)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        brain = extract_brain(case.image)
    assert dice(brain, case.brain) > 0.96


def test_extra_axial_blood_stays_inside(head: PhantomCase) -> None:
    brain = extract_brain(head.image)
    blood = head.classes == 5
    assert blood.sum() > 500
    assert float(brain[blood].float().mean()) > 0.93
    assert dice(brain, head.brain) > 0.97


@pytest.mark.parametrize(
    "part", [slice(12, None), slice(None, 20), slice(10, 22)], ids=["no base", "no vertex", "slab"]
)
def test_slabs(head: PhantomCase, part: slice) -> None:
    image, truth = head.image[..., part], head.brain[..., part]
    assert dice(extract_brain(image, head.affine), truth) > 0.96


def test_gantry_tilt_left_in() -> None:
    case = phantom(2, "any", tilt=18.0)
    assert dice(extract_brain(case.image), case.brain) > 0.95


def test_open_skull_warns_with_the_case(head: PhantomCase) -> None:
    """A quarter of the vault replaced by soft tissue, as after a craniectomy."""
    image = head.image.as_tensor().clone()
    x, _, z = image.shape[1:]
    flap = image[:, : x // 2, 40:100, 16 : z - 4]
    flap[flap > 150] = 40
    with pytest.warns(UserWarning, match=r"scan_3: .* no bone"):
        extract_brain(image, head.affine, case="scan_3")


def test_dense_calcification_is_filled(head: PhantomCase) -> None:
    image = head.image.as_tensor().clone()
    i, j, k = (int(c) for c in torch.nonzero(head.brain[0]).double().mean(0))
    image[0, i - 3 : i + 3, j - 3 : j + 3, k - 1 : k + 2] = 900
    assert extract_brain(image, head.affine)[0, i - 3 : i + 3, j - 3 : j + 3, k - 1 : k + 2].all()


def test_same_on_every_device(head: PhantomCase, device: torch.device) -> None:
    brain = extract_brain(head.image.to(device))
    assert brain.device.type == device.type
    assert dice(brain.cpu(), extract_brain(head.image)) > 0.9999


AIR = torch.full((1, 64, 64, 8), -1024.0)


@pytest.mark.parametrize(
    ("volume", "expected"),
    [(AIR, "no brain"), (AIR[0], "shape"), (AIR * float("nan"), "finite")],
    ids=["all air", "no channel", "nan"],
)
def test_bad_input_is_refused(volume: torch.Tensor, expected: str) -> None:
    with pytest.raises(InputError, match=f"scan_1: .*{expected}"):
        extract_brain(volume, np.diag([4.0, 4.0, 5.0, 1.0]), case="scan_1")


def test_unknown_method_and_missing_affine_are_refused() -> None:
    with pytest.raises(InputError, match="bet"):
        extract_brain(AIR, np.eye(4), method="bet")
    with pytest.raises(InputError, match="affine"):
        extract_brain(AIR)
