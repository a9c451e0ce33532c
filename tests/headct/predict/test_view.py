"""The small volume that a report draws from: values, places, size."""

from __future__ import annotations

import base64
import zlib
from types import SimpleNamespace

import numpy as np
import pytest

from headct.predict.output import view as module
from headct.predict.output.page import WINDOWS
from headct.predict.output.view import encode_hu, grey_levels, make_view, packed


def measured(shape=(60, 70, 20), spacing=(2.0, 2.0, 6.0), classes=None, noise=0.0):
    """A block of brain, and a lesion to the right, in front and below, as `Measured` has them."""
    brain = np.zeros(shape, bool)
    brain[20:40, 20:50, 2:-2] = True
    hu = np.where(brain, 30.0, -1000.0).astype(np.float32)
    hu += np.random.default_rng(0).normal(0, noise, shape).astype(np.float32) if noise else 0
    final = np.zeros(shape, np.uint8)
    final[34:38, 44:48, 3:5] = 1  # RAS: right, front, bottom
    hu[final > 0] = 70
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -50, -60, -30
    centre = [float(c) for c in affine[:3, :3] @ [35.5, 45.5, 3.5] + affine[:3, 3]]
    case = SimpleNamespace(
        classes=classes or {1: "hemorrhage"}, lesions=[SimpleNamespace(centroid_mm=centre)], models=[None],
        corrected=False,
    )  # fmt: skip
    return SimpleNamespace(
        case=case, hu=hu, brain=brain, final=final, parts={}, deviation=final * 0.2, probability=final * 1.0,
        spacing=np.array(spacing), affine=affine,
    )  # fmt: skip


def test_codes_keep_every_hu_of_brain_and_blood():
    """In each window a code is shown no more than 2 of 256 greys from what the HU itself would be."""
    hu = np.arange(-1200, 2200).astype(np.float32)
    codes = encode_hu(hu)
    assert codes.dtype == np.uint8
    assert len(np.unique(encode_hu(np.arange(-40, 91)))) == 131
    for name, window in WINDOWS.items():
        low, high = window.hu
        true = ((hu - low) * (255 / (high - low))).clip(0, 255).round()
        error = np.abs(grey_levels(window.hu)[codes].astype(float) - true)
        within = (hu >= -1000) & (hu <= 2000)
        assert error[within].max() <= 2, name


def test_slices_are_seen_from_the_feet_with_the_face_up():
    view = make_view(measured(), probability=True)
    mask = view.layers[0].mask
    _, height, width = mask.shape
    z, y, x = (np.flatnonzero(mask.any(other)) for other in ((1, 2), (0, 2), (0, 1)))
    assert z.tolist() == [3, 4]
    assert y.max() < height / 2  # in front: at the top
    assert x.max() < width / 2  # on the right: at the left
    assert (view.codes[mask] == encode_hu(np.array([70.0]))).mean() > 0.5
    assert all(abs(a - b) <= 1 for a, b in zip(view.places[0], (3.5, y.mean(), x.mean()), strict=True))
    assert view.area_cm2[3] == pytest.approx(4 * 4 * 2.0 * 2.0 / 100)
    assert view.start[0] in (3, 4)
    assert [overlay.name for overlay in view.overlays] == ["uncertainty", "probability"]
    assert view.overlays[1].values[mask].max() == module.LEVELS
    assert [o.name for o in make_view(measured()).overlays] == ["uncertainty"]


@pytest.mark.parametrize("seed", range(20))
def test_the_place_of_a_lesion_is_its_slice(seed):
    """Whatever the origin: rounding must not take a centre at 3 for 2.9999."""
    case = measured()
    origin = np.random.default_rng(seed).uniform(-300, 300, 3)
    case.affine[:3, 3] = origin
    case.final[..., 4] = 0
    centre = case.affine[:3, :3] @ [35.5, 45.5, 3.0] + origin
    case.case.lesions[0].centroid_mm = [float(c) for c in centre]
    assert make_view(case).places[0][0] == 3


def test_thin_slices_are_averaged_and_named():
    view = make_view(measured(shape=(60, 70, 101), spacing=(2.0, 2.0, 0.6)))
    assert view.averaged == 4
    assert len(view.codes) == 26
    assert [view.slice_name(i) for i in (0, 25)] == ["1-4", "101"]
    assert view.slice_mm == pytest.approx(2.4)
    assert view.layers[0].mask[0].any()  # slices 4 and 5 hold the lesion
    assert view.layers[0].mask[1].any()
    assert view.area_cm2[1] == pytest.approx(4 * 4 * 2.0 * 2.0 / 100 / 4)


def test_the_volume_in_a_page_has_a_bound(monkeypatch):
    monkeypatch.setattr(module, "MOST_VOXELS", 5000)
    view = make_view(measured(noise=50.0))
    assert view.codes.size == pytest.approx(5000, rel=0.1)
    assert len(packed(view.codes)) < view.codes.size * 4 / 3 + 100  # noise at worst: base64 of all of it
    assert view.layers[0].mask.any()


def test_what_is_packed_comes_back():
    rng = np.random.default_rng(1)
    values = rng.integers(0, 256, (3, 5, 7), np.uint8)
    flat = np.frombuffer(zlib.decompress(base64.b64decode(packed(values))), np.uint8).reshape(values.shape)
    assert np.array_equal(np.cumsum(flat, -1, dtype=np.uint8), values)
    mask = values > 128
    bits = np.unpackbits(np.frombuffer(zlib.decompress(base64.b64decode(packed(mask))), np.uint8))
    assert np.array_equal(bits[: mask.size].reshape(mask.shape).astype(bool), mask)


def test_types_have_colours_of_their_own():
    both = {1: "epidural", 2: "subdural hemorrhage"}
    scan = measured(classes=both)
    scan.final[22:26, 22:26, 8] = 2
    layers = {layer.name: layer for layer in make_view(scan).layers}
    assert list(layers) == ["epidural", "subdural hemorrhage"]
    assert layers["epidural"].colour != layers["subdural hemorrhage"].colour
    scan.final[scan.final == 1] = 0
    (alone,) = make_view(scan).layers
    assert alone.colour == layers["subdural hemorrhage"].colour
