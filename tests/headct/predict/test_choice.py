"""What words, kernels and pictures say of a series."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from headct.predict.input.head_check import HEAD_MM, head_extent_mm
from headct.predict.input.words import body_part, contrast, is_bone_kernel
from tools.phantom import HeadPhantom
from tools.volumes.doubts import odd_slices

PLAIN = """
HEAD POST OP; POST FOSSA 2.5; TRAUMA POST EVD; CRANEO SIN CONTRASTE; ENCEFALO SENZA CONTRASTO;
hoofd zonder contrast; CT caput uten kontrast; CRANE SANS INJECTION; TETE SANS IV;
Schädel nativ 5.0; Kopf ohne KM; Kopf ohne Kontrastmittel; HEAD W/O; Brain wo contrast;
HEAD W O CONTRAST; HEAD NC; NECT BRAIN; BRAIN -C; Head C-; UNENHANCED HEAD; HEAD WO IV CON;
NONCON HEAD; HEAD PRE CONTRAST; before contrast; STROKE: non contrast then CTA; Angio suite head CT;
HEAD VENTRICULAR SHUNT; arterial line check; 5 CM FOV head; control; POST CRANIOTOMY; Routine Brain
"""
OTHER = """
HEAD C+; CECT BRAIN; HEAD W/; HEAD W IV; HEAD WITH; ENHANCED HEAD; Head venös; HEAD CM; Cranio mdc;
CRANE AVEC INJECTION; CRANE IV+; with gad; POSTCONTRAST; Kopf mit KM; CTA COW; CT-ANGIO; Willis 1.0;
VENOUS; DE_Angio; Brain Perf 5.0 CBV; 4D Neuro; CBF; TTP; MTT; Tmax; Iodine; Monoenergetic 65 keV;
VNC head; MIP 10mm; cabeza con contraste; Kopf nach KM; Mean Transit Time
"""


def entries(text: str) -> list[str]:
    return [entry.strip() for entry in text.split(";")]


@pytest.mark.parametrize("text", entries(PLAIN))
def test_plain(text):
    assert contrast(text) in ("", "without")


@pytest.mark.parametrize("text", entries(OTHER))
def test_not_plain(text):
    assert contrast(text) in ("with", "other")


def test_kernels_and_parts():
    soft = [
        "H31s",
        "Hr38f",
        "J40s",
        "Br40d",
        "Qr40",
        "UB",
        "FC26",
        "FC63",
        "FC68",
        "STANDARD",
        "SOFT",
        "Bv36",
        "I50s",
        "T20f",
    ]
    bone = ["Hr64h", "Qr69", "FC30", "FC81", "BONEPLUS", "EDGE", "LUNG", "H70h", "U70u", "SHARP"]
    assert [k for k in soft if is_bone_kernel([k], "")] == []
    assert [k for k in bone if not is_bone_kernel([k], "")] == []
    heads = ["HEAD^BRAIN", "CABEZA", "Schädel", "HOOFD", "ENCEFALO", "GOLOVA", "HEADNECK"]
    assert {body_part(text) for text in heads} == {"head"}
    assert {body_part(text) for text in ["C-Spine 3.0", "Thorax", "EXTREMITY", "HWS"]} == {"other"}
    assert {body_part(text) for text in ["HEAD/C-SPINE 5.0", "Polytrauma Kopf HWS"]} == {"part"}
    assert {body_part(text) for text in ["FACE", "NECK", "Sinuses 3.0", "IAC"]} == {"part"}


def tube(bones: list[tuple[float, float, float]], radius: float = 60.0) -> np.ndarray:
    """A trunk of soft tissue along z with round bones (x, y, radius in mm), 3 mm voxels."""
    y, x = np.mgrid[-60:60:3, -60:60:3] * 2.0
    plane = np.where(np.hypot(x, y) < radius, 45.0, -1000.0)
    for cx, cy, r in bones:
        plane[np.hypot(x - cx, y - cy) < r] = 500
    return np.repeat(plane[:, :, None], 30, 2)


@pytest.mark.parametrize("seed", [1, 4])
def test_a_head_is_one_also_when_turned_and_a_neck_is_not(seed):
    case = HeadPhantom(seed=seed, shape=(80, 80, 22), spacing=(2.6, 2.6, 7.0), kind="any").render()
    hu = case.image[0].numpy()
    spacing = [2.6, 2.6, 7.0]
    assert head_extent_mm(hu, spacing) > 60
    assert head_extent_mm(np.rot90(hu, axes=(0, 2)), spacing[::-1]) > HEAD_MM
    assert head_extent_mm(tube([(0, 20, 16)]), [6, 6, 5]) < HEAD_MM  # a vertebra
    assert head_extent_mm(tube([(0, 0, 14)], 80), [6, 6, 5]) < HEAD_MM  # a thigh


@cache
def _rendered() -> np.ndarray:
    case = HeadPhantom(seed=1, shape=(80, 80, 22), spacing=(2.6, 2.6, 7.0), kind="any").render()
    return case.image[0].numpy().astype(np.float32)


def _head() -> np.ndarray:
    return _rendered().copy()


def test_slices_of_a_head_go_on_from_each_other():
    spacing = [2.6, 2.6, 7.0]
    head = _head()
    assert odd_slices(head, spacing) == []
    assert odd_slices(head, spacing, tissue_too=True) == []
    assert odd_slices(head[20:60, 20:60], spacing) == []  # a field of view that holds nothing else


@pytest.mark.parametrize(
    ("wrong", "hu"),
    [((9,), 1024), ((9, 10), 1024), ((0,), 1024), ((21,), 1024), ((9,), -1024), ((9, 10), -1024)],
)
def test_slices_on_another_level_are_found(wrong, hu):
    head = _head()
    for k in wrong:
        head[:, :, k] += hu
    odd = odd_slices(head, [2.6, 2.6, 7.0])
    assert [k for k, _ in odd] == list(wrong)
    assert [off for _, off in odd] == pytest.approx([hu] * len(wrong), abs=100)


def test_a_wrong_slope_or_values_cut_below_are_found():
    head = _head()
    steep, low = head.copy(), head.copy()
    steep[:, :, 10] = (steep[:, :, 10] + 1024) * 2 - 1024
    low[:, :, 10] = np.maximum(low[:, :, 10] - 1024, -1024)
    for volume in (steep, low):
        assert [k for k, _ in odd_slices(volume, [2.6, 2.6, 7.0], tissue_too=True)] == [10]
