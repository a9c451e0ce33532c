"""The inputs of `campaign.py`: a few good ones, and what goes wrong with files, made once."""
# ruff: noqa: E501, tables are wide

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from monai.bundle import ConfigParser

from headct.predict.model.bundle import own_scripts
from tools.phantom import write_phantoms

ROOT = Path(__file__).resolve().parents[1]
AFFINE = np.diag([-3.0, -3.0, 12.0, 1.0])


def make_inputs(folder: Path) -> Path:
    """Everything that the table names below `IN/`; made anew unless it is complete."""
    if (folder / "complete").is_file():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    write_phantoms(folder / "heads", 4, seed=1, shape=(64, 64, 12), spacing=(3, 3, 12), folds=2)
    (folder / "heads" / "masks").symlink_to("labels")
    for make in (_scans, _weights, _tables, _datalists, _zips, _repository):
        make(folder)
    (folder / "complete").touch()
    return folder


def _scans(folder: Path) -> None:
    good = folder / "heads" / "images" / "case_000.nii.gz"
    image = nib.load(good)
    hu = np.asarray(image.dataobj).astype(np.int16)
    scans = folder / "scans"
    scans.mkdir()

    def save(name: str, array: np.ndarray, affine: np.ndarray = image.affine) -> None:
        nib.save(nib.Nifti1Image(array, affine), scans / name)

    data = good.read_bytes()
    raw = gzip.decompress(data)
    for name, content in {
        "empty.nii.gz": b"", "text.nii.gz": b"hello", "cut.nii.gz": data[: len(data) // 2], "cut.nii": raw[:5000],
        "header.nii": raw[:348], "zeros.nii": bytes(5000), "checksum.nii.gz": data[:-8] + bytes(4) + data[-4:],
        "text.nrrd": b"hello", "text.mha": b"hello", "text.dcm": b"hello", "empty.dcm": b"",
        "preamble.dcm": bytes(128) + b"DICM", "scan.txt": b"hello", "text.png": b"hello",
    }.items():  # fmt: skip
        (scans / name).write_bytes(content)
    nan, spike = hu.astype(np.float32), hu.astype(np.float32)
    nan[5, 5, 5], spike[5, 5, 5] = np.nan, np.inf
    save("nan.nii.gz", nan)
    save("inf.nii.gz", spike)
    save("flat.nii.gz", hu[:, :, 0])
    save("four.nii.gz", np.stack([hu, hu], -1))
    save("constant.nii.gz", np.full_like(hu, 40))
    save("window.nii.gz", np.clip(hu, 0, 80).astype(np.uint8))
    singular = raw[:252] + bytes([0, 0, 1, 0]) + raw[256:280] + bytes(48) + raw[328:]  # an sform of zeros
    (scans / "singular.nii.gz").write_bytes(gzip.compress(singular))
    save("microns.nii.gz", hu, np.diag([-3000.0, -3000.0, 12000.0, 1.0]))
    save("nothing.nii.gz", hu[:0])
    for name in ("nowhere", "nothing_in_it"):
        (scans / name).mkdir()
    (scans / "nowhere").rmdir()
    (scans / "file").touch()
    for name in ("text", "cut"):
        (scans / f"{name}_series").mkdir()
        (scans / f"{name}_series" / "a.dcm").write_bytes(
            b"hello" if name == "text" else bytes(128) + b"DICM\x08"
        )


def _weights(folder: Path) -> None:
    weights = folder / "weights"
    weights.mkdir()
    shipped = ROOT / "bundles" / "gan_unet2d" / "models" / "model.pt"
    state = torch.load(shipped, weights_only=True)
    shutil.copy(shipped, folder / "good.pt")
    first = next(iter(state))
    torch.save({**state, first: state[first] * float("nan")}, weights / "nan.pt")
    torch.save({k: v for k, v in state.items() if k != first}, weights / "fewer.pt")
    torch.save({**state, "more": torch.ones(1)}, weights / "more.pt")
    torch.save({**state, first: torch.ones(1)}, weights / "shape.pt")
    torch.save({"a": torch.ones(1)}, weights / "other.pt")
    torch.save([1, 2], weights / "list.pt")
    torch.save({}, weights / "none.pt")
    torch.save(torch.ones(2), weights / "tensor.pt")
    torch.save({"a": 1}, weights / "numbers.pt")
    torch.save(torch.nn.Linear(1, 1), weights / "module.pt")
    (weights / "text.pt").write_text("hello")
    (weights / "empty.pt").touch()
    (weights / "cut.pt").write_bytes(shipped.read_bytes()[:100_000])
    for name, text in {"broken": "{", "list": "[1]", "text": "hello"}.items():
        (weights / f"beside_{name}.json").write_text(text)
        shutil.copy(shipped, weights / f"beside_{name}.pt")
    with own_scripts(ROOT / "bundles" / "gan_unet2d"):
        parser = ConfigParser()
        parser.read_config(str(ROOT / "bundles" / "gan_unet2d" / "configs" / "train.yaml"))
        assert parser.get_parsed_content("network_def") is not None
    for name in ("text", "list", "cut"):  # states to go on with
        (folder / f"state_{name}").mkdir()
        shutil.copy(weights / f"{name}.pt", folder / f"state_{name}" / "training_state.pt")


def _tables(folder: Path) -> None:
    tables = folder / "tables"
    tables.mkdir()
    for name, content in {
        "empty": b"", "header": b"case,dice\n", "short": b"case,dice\na,1\nb\n", "long": b"case,dice\na,1,2\nb,1\n",
        "nocase": b"name,dice\na,1\nb,1\n", "binary": bytes(range(128, 256)), "words": b"case,dice\na,x\nb,y\n",
        "twice": b"case,dice\na,1\na,1\n", "one": b"case,dice\na,1\n", "nul": b"case,dice\na,\x00\nb,1\n",
        "good": b"case,dice\na,1\nb,0.5\n", "other": b"case,dice\nc,1\nd,0.5\n", "cells": b"case,dice\na,\nb,\n",
    }.items():  # fmt: skip
        (tables / f"{name}.csv").write_bytes(content)


def _datalists(folder: Path) -> None:
    good = json.loads((folder / "heads" / "dataset.json").read_text())
    lists = folder / "lists"
    lists.mkdir()
    first = good["training"][0]
    entry = {"image": "images/case_000.nii.gz", "label": "labels/case_000.nii.gz", "fold": 0}
    variants: dict[str, object] = {
        "text": "hello", "list": [], "none": {}, "notraining": {"training": []}, "number": {"training": [3]},
        "word": {"training": ["a"]}, "object": {"training": {"a": 1}}, "noimage": {"training": [{"label": "a"}]},
        "nolabel": {"training": [{"image": f"images/case_00{n}.nii.gz", "fold": n} for n in (0, 1)]}, "twice": {"training": [entry, entry]},
        "missing": {"training": [{**entry, "image": "images/gone.nii.gz"}]},
        "gone_label": {"training": [{**entry, "label": "labels/gone.nii.gz"}]},
        **{
            f"image_{name}": {"training": [{**entry, "image": value}]}
            for name, value in (("int", 3), ("null", None), ("list", ["a"]), ("empty", ""), ("object", {}))
        },
        **{
            f"fold_{name}": {"training": [{**entry, "fold": value}]}
            for name, value in (("abc", "abc"), ("half", 0.7), ("minus", -1), ("null", None), ("list", [0]))
        },
        **{f"case_{name}": {"training": [{**entry, "case": value}]} for name, value in (("list", ["a"]), ("empty", ""))},
        "labels": {**good, "labels": {"ICH": 0, "PHE": 1}}, "unknown": {**good, "labels": {"1": "spleen"}},
        "labels_list": {**good, "labels": [1, 2]}, "one": {"training": [{**first, "fold": 0}]},
    }  # fmt: skip
    for name, content in variants.items():
        place = lists / name
        shutil.copytree(folder / "heads", place, symlinks=True)
        text = content if isinstance(content, str) else json.dumps(content)
        (place / "dataset.json").write_text(text)


def _zips(folder: Path) -> None:
    zips = folder / "zips"
    zips.mkdir()
    good = folder / "heads" / "images" / "case_000.nii.gz"
    (zips / "text.zip").write_text("hello")
    (zips / "empty.zip").touch()
    for name, content in {
        "none": {}, "notes": {"a.txt": b"x"}, "outside": {"../../a.nii.gz": b"x"}, "bad": {"a.nii.gz": b"x"},
        "zip": {"b.zip": b"PK"}, "two": {"a/configs/metadata.json": b"{}", "b/configs/metadata.json": b"{}"},
        "metadata": {"a/configs/metadata.json": b"["},
    }.items():  # fmt: skip
        with zipfile.ZipFile(zips / f"{name}.zip", "w") as archive:
            for path, data in content.items():
                archive.writestr(path, data)
    with zipfile.ZipFile(zips / "good.zip", "w") as archive:
        archive.write(good, "a.nii.gz")
    data = bytearray((zips / "good.zip").read_bytes())
    (zips / "cut.zip").write_bytes(data[: len(data) // 2])
    data[200:300] = bytes(100)
    (zips / "damaged.zip").write_bytes(data)
    data[6] |= 1
    data[data.rfind(b"PK\1\2") + 8] |= 1
    (zips / "password.zip").write_bytes(data)


def _repository(folder: Path) -> None:
    """A repository to publish from, and copies with one thing broken each."""
    schema = {"type": "object", "required": ["version", "network_data_format"]}
    (folder / "schema.json").write_text(json.dumps(schema))
    for name, text in {"broken": "{", "list": "[1]", "kind": '{"type": "nothing"}'}.items():
        (folder / f"schema_{name}.json").write_text(text)
    caches = shutil.ignore_patterns("__pycache__", "data", "cache", "eval", "output", "runs")
    breaks = {
        "repository": None,
        "published_metadata": lambda b: (b / "configs" / "metadata.json").write_text("["),
        "published_list": lambda b: (b / "configs" / "metadata.json").write_text("[]"),
        "published_beside": lambda b: (b / "models" / "model.json").write_text("{"),
        "published_overlay": lambda b: (b / "models" / "model.json").write_text('{"overlay": "gone.yaml"}'),
        "published_weights": lambda b: (b / "models" / "model.pt").write_text("hello"),
        "published_other": lambda b: torch.save({"a": torch.ones(1)}, b / "models" / "model.pt"),
        "published_yaml": lambda b: (b / "configs" / "inference.yaml").write_text("a: [1"),
        "published_script": lambda b: (b / "scripts" / "networks.py").write_text("def (:\n"),
        "published_large": lambda b: (b / "large_files.yml").write_text("a: [1"),
    }
    for name, damage in breaks.items():
        root = folder / name
        shutil.copytree(ROOT / "tools", root / "tools", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(ROOT / "bundles" / "gan_unet2d", root / "bundles" / "gan_unet2d", ignore=caches)
        if damage is not None:
            damage(root / "bundles" / "gan_unet2d")
        author = ("-c", "user.name=campaign", "-c", "user.email=campaign@example.org")
        for step in (("init", "-q"), ("add", "-A"), (*author, "commit", "-qm", "all")):
            subprocess.run(["git", "-C", str(root), *step], check=True, capture_output=True)
    lists = folder / "zoo_list"
    lists.mkdir()
    (lists / "model_info.json").write_text("[1, 2")
