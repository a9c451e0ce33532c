"""Reading label maps, and what is drawn into them."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from scipy import ndimage

from tools.core.errors import InputError
from tools.phantom import HeadPhantom
from tools.phantom.anatomy import labels as L
from tools.phantom.anatomy import maps
from tools.phantom.anatomy.distances import grow, shrink
from tools.phantom.anatomy.maps import LabelMap, list_maps, read_map
from tools.phantom.anatomy.prepare import close_bone, prepare, signed_depth

sys.path.insert(0, str(Path(__file__).parent))
from label_map import small_head, write_map

REAL = Path(os.environ.get("HEADCT_REAL_DATA", "none")) / "anatomy"


@pytest.fixture(scope="module")
def prepared():
    """The small head, prepared."""
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    labels = torch.from_numpy(small_head(0.6)).repeat_interleave(2, 0).repeat_interleave(2, 1)
    return prepare(LabelMap("small", labels.repeat_interleave(2, 2), affine @ np.diag([0.5, 0.5, 0.5, 1])))


def test_a_map_is_brought_to_ras_and_1_mm(tmp_path):
    array = small_head()
    path = write_map(tmp_path / "a.nii.gz", array)
    read = read_map(path)
    assert read.labels.shape == tuple(2 * n for n in array.shape)
    assert (read.labels.numpy()[1::2, 1::2, 1::2] == array).all()
    # The corner of the first voxel stays where it was.
    assert np.allclose(read.affine @ (-0.5, -0.5, -0.5, 1), (-1, -1, -1, 1))
    flipped = nib.Nifti1Image(array[::-1, :, ::-1].copy(), np.diag([-2.0, 2.0, -2.0, 1.0]))
    nib.save(flipped, tmp_path / "b.nii.gz")
    assert torch.equal(read_map(tmp_path / "b.nii.gz").labels, read.labels)


def test_brainweb_and_other_numbers_are_understood(tmp_path):
    array = small_head()
    brainweb = np.zeros_like(array)
    for number, labels in ((1, (24, 4, 43)), (2, (3, 42)), (3, (2, 41)), (6, (511,)), (7, (515,))):
        brainweb[np.isin(array, labels)] = number
    found = read_map(write_map(tmp_path / "brainweb.nii.gz", brainweb)).labels
    assert found[::2, ::2, ::2][torch.from_numpy(brainweb == 7)].unique().tolist() == [L.BONE]
    assert found[::2, ::2, ::2][torch.from_numpy(brainweb == 3)].unique().tolist() == [L.WHITE_LEFT]
    other = tmp_path / "other"
    write_map(other / "a.nii.gz", np.where(array > 0, array + 1000, 0).astype(np.int16))
    with pytest.raises(InputError, match=r"a\.nii\.gz: .*labels\.json.* found \[1"):
        read_map(other / "a.nii.gz")
    numbers = {str(n + 1000): int(n) for n in np.unique(array) if n} | {"0": 0}
    (other / "labels.json").write_text(json.dumps(numbers))
    assert (read_map(other / "a.nii.gz").labels.numpy()[::2, ::2, ::2] == array).all()
    (other / "labels.json").write_text('{"1002": 9999}')
    with pytest.raises(InputError, match=r"labels\.json.*9999"):
        read_map(other / "a.nii.gz")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.full((20, 20, 20), 0.5, np.float32), "whole label numbers"),
        (np.zeros((20, 20, 20), np.int16), "less than 1 mL of brain"),
        (np.zeros((20, 20, 20, 3), np.int16), "three-dimensional"),
        (np.full((20, 20, 20), -2, np.int16), "from 0 to 32767"),
    ],
)
def test_unusable_maps_are_named(tmp_path, content, message):
    nib.save(nib.Nifti1Image(content, np.eye(4)), tmp_path / "bad.nii.gz")
    with pytest.raises(InputError, match=rf"bad\.nii\.gz: expected .*{message}"):
        read_map(tmp_path / "bad.nii.gz")


def test_missing_and_altered_maps_say_where_to_get_them(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"none: expected .*github\.com/BBillot/SynthSeg"):
        list_maps(tmp_path / "none")
    with pytest.raises(InputError, match="found none"):
        list_maps(tmp_path)
    path = write_map(tmp_path / "training_seg_01.nii.gz", small_head())
    with pytest.raises(InputError, match=r"training_seg_01.* SHA-256 4ed64dd06364"):
        read_map(path)
    (tmp_path / "cut.nii.gz").write_bytes(path.read_bytes()[:2000])
    with pytest.raises(InputError, match=r"cut\.nii\.gz: expected a readable NIfTI"):
        read_map(tmp_path / "cut.nii.gz")
    monkeypatch.setitem(maps.KNOWN_MAPS, path.name, hashlib.sha256(path.read_bytes()).hexdigest())
    assert read_map(path).name == "training_seg_01"


def test_maps_are_chosen_by_name(tmp_path):
    for name in ("b", "a", "c"):
        (tmp_path / f"{name}.nii.gz").touch()
    assert [path.name for path in list_maps(tmp_path)] == ["a.nii.gz", "b.nii.gz", "c.nii.gz"]
    assert [path.name for path in list_maps(tmp_path, ["c", "a.nii.gz"])] == ["c.nii.gz", "a.nii.gz"]
    with pytest.raises(InputError, match="found none named d"):
        list_maps(tmp_path, ["a", "d"])
    with pytest.raises(InputError, match="maps: expected only where anatomy is a folder"):
        HeadPhantom(maps=["a"])
    with pytest.raises(InputError, match="per_person"):
        HeadPhantom(per_person=0)


def test_the_frame_is_that_of_the_head(prepared):
    # The small head is its own mirror image; eyes and cerebellum tip it, nothing else.
    right = prepared.to_head[:3, :3].T @ (1, 0, 0)
    assert np.allclose(right, (1, 0, 0), atol=5e-3)
    where = {n: (prepared.labels == n).nonzero().double().mean(0).numpy() for n in (L.EYE, 8, 47)}
    place = {n: prepared.to_head[:3, :3] @ p + prepared.to_head[:3, 3] for n, p in where.items()}
    assert place[L.EYE][2] == pytest.approx((place[8][2] + place[47][2]) / 2, abs=2)
    assert place[L.EYE][1] > 30
    assert place[47][0] == pytest.approx(-place[8][0], abs=0.5)


def test_holes_in_bone_are_closed():
    labels = torch.from_numpy(small_head())
    z = torch.arange(96.0).expand(labels.shape)
    cavity = L.is_in(labels, L.INTRACRANIAL)
    holed = labels.clone()
    hole = L.is_in(labels, L.SKULL) & (torch.arange(84)[:, None, None] > 60) & (z > 50) & (z < 60)
    holed[hole] = L.SOFT
    depth = signed_depth(cavity)
    closed = close_bone(holed, cavity, depth, z)
    shell = (depth > -1.2) & ~cavity & (z > 20)
    assert not L.is_in(holed[shell], L.SKULL).all()
    assert L.is_in(closed[shell], L.SKULL).all()


def test_what_maps_lack_is_drawn_where_it_belongs(prepared):
    where = {n: prepared.labels == n for n in (L.FALX, L.TENTORIUM, L.SINUS, L.FAT, L.SKIN)}
    assert all(mask.sum() > 50 for n, mask in where.items() if n not in (L.FAT, L.SKIN))
    side, depth = prepared.side.float(), prepared.depth.float()
    assert side[where[L.FALX]].abs().max() < 1.5
    assert (depth[where[L.SINUS]] > 0).all()
    cerebellum, cerebrum = (
        prepared.labels.eq(n).nonzero().float() @ torch.tensor(prepared.to_head[2, :3], dtype=torch.float32)
        for n in (47, 42)
    )
    tentorium = where[L.TENTORIUM].nonzero().float() @ torch.tensor(
        prepared.to_head[2, :3], dtype=torch.float32
    )
    assert cerebellum.mean() < tentorium.mean() < cerebrum.mean()
    up = torch.tensor(prepared.to_head[2, :3], dtype=torch.float32)
    falx = where[L.FALX].nonzero().float() @ up
    assert falx.mean() > tentorium.mean() + 3
    assert falx.max() > cerebrum.mean()


def test_a_map_of_tissues_only_gets_sides_and_ventricles():
    array = small_head(0.8)
    tissues = np.where(np.isin(array, (4, 43, 14, 15, 136, 163)), 24, array)
    grey = np.isin(array, (3, 42, 8, 47, 16, 10, 49, 12, 51))
    tissues = np.where(grey, 3, np.where(array == 41, 2, np.where(array == 506, 507, tissues)))
    labels = torch.from_numpy(tissues.astype(np.int16))
    for axis in range(3):
        labels = labels.repeat_interleave(2, axis)
    found = prepare(LabelMap("tissues", labels, np.eye(4)))
    left, right = ((found.labels == n).nonzero()[:, 0].float().mean() for n in (2, 41))
    assert left + 20 < right
    ventricles = L.is_in(found.labels, L.VENTRICLES).sum() / 1000
    assert ventricles == pytest.approx(np.isin(array, (4, 43, 14, 136, 163)).sum() * 8 / 1000, rel=0.5)


@pytest.mark.skipif(not REAL.is_dir(), reason="HEADCT_REAL_DATA is not set")
def test_a_real_map_gives_a_whole_skull_and_a_brain_of_usual_size():
    found = prepare(read_map(list_maps(REAL)[0]))
    cavity = found.cavity
    assert 1100 < cavity.sum() / 1000 < 1900
    shell = (found.depth > -1.2) & ~cavity
    vault = shell & (torch.arange(cavity.shape[2]) > cavity.any(0).any(0).nonzero().min() + 60)
    assert L.is_in(found.labels[vault], L.SKULL).float().mean() > 0.999
    assert {"pineal", "choroid", "pallidum", "siphons", "basilar"} <= set(found.spots)
    x, y, z = found.spots["pineal"][0]
    assert abs(x) < 3
    assert -45 < y < 10
    assert -25 < z < 25


@pytest.mark.parametrize("mm", [1, 2, 5, 9])
def test_growing_and_shrinking_are_those_of_a_cube(mm):
    mask = torch.rand((30, 26, 22), generator=torch.Generator().manual_seed(mm)) > 0.995
    mask[15, 13, 11] = True
    cube = np.ones((2 * mm + 1,) * 3, bool)
    assert np.array_equal(grow(mask, mm).numpy(), ndimage.binary_dilation(mask.numpy(), cube))
    assert np.array_equal(shrink(~mask, mm).numpy(), ~ndimage.binary_dilation(mask.numpy(), cube))
