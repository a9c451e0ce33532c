"""The cache: hit when nothing changed, miss when a file's content or an argument did."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import (
    Compose,
    CropForegroundd,
    EnsureChannelFirstd,
    MapTransform,
    Orientation,
    RandFlipd,
    ScaleIntensityd,
)

from tools.data.cache import CachedDataset, content_hash, transform_hash


class Load(MapTransform):
    """Reads .npy files and counts how often."""

    calls = 0

    def __init__(self, keys, factor=1.0):
        super().__init__(keys)
        self.factor = factor

    def __call__(self, data):
        type(self).calls += 1
        return {**data, **{key: torch.as_tensor(np.load(data[key])) * self.factor for key in self.keys}}


@pytest.fixture
def items(tmp_path):
    Load.calls = 0
    np.save(tmp_path / "a.npy", np.arange(8.0).reshape(1, 2, 4))
    return [{"image": str(tmp_path / "a.npy"), "case": "a"}]


def read(items, cache, factor=1.0, *more):
    return CachedDataset(items, Compose([Load("image", factor), *more]), cache)[0]["image"]


def test_second_run_computes_nothing(items, tmp_path):
    first = read(items, tmp_path / "cache")
    again = read(items, tmp_path / "cache")
    assert Load.calls == 1
    assert torch.equal(first, again)


def test_other_content_or_argument_is_computed_anew(items, tmp_path):
    read(items, tmp_path / "cache")
    assert read(items, tmp_path / "cache", 2.0).max() == 14
    np.save(items[0]["image"], np.ones((1, 2, 4)))
    assert read(items, tmp_path / "cache").max() == 1
    assert Load.calls == 3


def test_random_transforms_are_not_cached(items, tmp_path):
    data = CachedDataset(
        items, Compose([Load("image"), RandFlipd("image", prob=0.5, spatial_axis=1)]), tmp_path / "c"
    )
    data.transform.set_random_state(0)
    assert len({tuple(data[0]["image"].flatten().tolist()) for _ in range(20)}) == 2
    assert Load.calls == 1


def test_interrupted_write_leaves_nothing(items, tmp_path, monkeypatch):
    def fail(result, path):
        path.write_bytes(b"half")
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", fail)
        with pytest.raises(OSError, match="disk full"):
            read(items, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []
    assert read(items, tmp_path / "cache").max() == 7


def test_no_cache(items):
    read(items, None)
    read(items, None)
    assert Load.calls == 2


def test_names_and_empty_texts_are_no_paths(tmp_path, monkeypatch):
    """A patient called as a folder, and slices without hemorrhage, whose list of types is empty."""
    monkeypatch.chdir(tmp_path)
    item = {"case": "080", "patient": "080", "types": ""}
    before = content_hash(item)
    (tmp_path / "080").mkdir()
    (tmp_path / "080" / "a.txt").write_text("other")
    assert content_hash(item) == before


def test_hash_is_of_arguments_not_of_use():
    """MONAI's transforms grow attributes at their first call."""
    steps = [
        EnsureChannelFirstd("image", channel_dim="no_channel"),
        CropForegroundd("image", source_key="image"),
    ]
    before = transform_hash(steps)
    Compose(steps)({"image": torch.eye(4)})
    assert transform_hash(steps) == before
    assert transform_hash([CropForegroundd("image", source_key="image", margin=2)]) != transform_hash(
        steps[1:]
    )
    assert transform_hash([ScaleIntensityd("a")]) != transform_hash([ScaleIntensityd("b")])


def test_fingerprint_is_of_what_the_files_hold(tmp_path):
    """The same data elsewhere have the same one; a voxel, a case or a transform more changes it."""

    def fingerprint(folder, values, transform=()):
        (tmp_path / folder).mkdir(exist_ok=True)
        items = [{"image": str(tmp_path / folder / f"{i}.npy")} for i in range(len(values))]
        for item, value in zip(items, values, strict=True):
            np.save(item["image"], np.full(3, value))
        return CachedDataset(items, Compose([Load("image"), *transform]), None).fingerprint

    first = fingerprint("a", [1, 2])
    assert fingerprint("b", [1, 2]) == first
    assert fingerprint("b", [1, 2, 3]) != first
    assert fingerprint("c", [1, 2], [Load("image", 2.0)]) != first
    assert fingerprint("a", [1, 3]) != first  # in a file that was read before
    # what a random transform has drawn is no property of the data
    dataset = CachedDataset(
        [{"image": str(tmp_path / "a" / "0.npy")}],
        Compose([Load("image"), RandFlipd("image", prob=0.0)]),
        None,
    )
    before = dataset.fingerprint
    dataset[0]
    assert dataset.fingerprint == before


class Evil:
    """Unpickled, it writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return eval, (f"open({str(self.path)!r}, 'w').close()",)


@pytest.mark.parametrize("damage", ["foreign", "truncated", "empty"])
def test_an_entry_that_is_none_is_named_and_made_anew(damage, items, tmp_path, caplog):
    expected = read(items, tmp_path / "cache")
    entry = next((tmp_path / "cache").glob("*.pt"))
    whole = entry.read_bytes()
    if damage == "foreign":
        torch.save(Evil(tmp_path / "ran"), entry)
    else:
        entry.write_bytes(whole[: len(whole) // 2 if damage == "truncated" else 0])
    assert torch.equal(read(items, tmp_path / "cache"), expected)
    assert not (tmp_path / "ran").exists()
    assert f"{entry}: expected an entry of the cache" in caplog.text
    Load.calls = 0
    assert torch.equal(read(items, tmp_path / "cache"), expected)
    assert Load.calls == 0


def test_what_entries_hold_comes_back(items, tmp_path, caplog):
    """Tensors with their geometry and inverses, arrays, numbers and text."""
    image = MetaTensor(torch.rand(1, 4, 4, 4), affine=torch.eye(4) * 2, meta={"shape": np.array([4, 4])})
    image = Orientation("LPS", labels=None)(image)
    item = {"image": image, "n": np.float32(2), "m": np.int64(3), "case": "a", "names": np.array(["x"])}

    def made(data):
        return dict(item)

    for _ in range(2):
        got = CachedDataset(items, Compose([made]), tmp_path / "cache")[0]
    assert caplog.text == ""  # the second time it was read
    assert torch.equal(got["image"].affine, image.affine)
    assert got["image"].applied_operations == image.applied_operations
    assert (got["n"], got["m"], got["names"].tolist()) == (2, 3, ["x"])
