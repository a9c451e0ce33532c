"""Probability maps, the ensemble and its disagreement as a user gets them; skipping windows is exact."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset
from monai.inferers import SlidingWindowInferer
from scipy import ndimage

from tools.phantom import write_phantoms

ENSEMBLE = ("inference.yaml", "variants/ensemble.yaml")


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """Two tiny scans and untrained weights of two members that disagree."""
    root = tmp_path_factory.mktemp("inference")
    write_phantoms(
        root / "data", cases=2, seed=5, kind="iph_ivh", shape=(64, 64, 20), spacing=(3.0, 3.0, 8.0)
    )
    return root


@pytest.fixture(scope="module")
def weights(bundle, scans):
    from scripts.network import SEUNet

    files = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        network = SEUNet()
        with torch.no_grad():
            network.head.weight *= 20  # far from 0.5, so that labels and maps have something to show
            network.head.bias += torch.tensor([0.0, 0.2])
        files.append(scans / f"fold{seed}" / "model.pt")
        files[-1].parent.mkdir()
        torch.save(network.state_dict(), files[-1])
    return files


@pytest.fixture(scope="module")
def infer(bundle_run, scans):
    def run(out, *configs, **overrides):
        common = {"dataset_dir": scans / "data" / "images", "output_dir": out, "roi_size": [16, 16, 8]}
        result = bundle_run("inferring", *configs, **common, **overrides)
        assert result.returncode == 0, result.stderr[-3000:]
        return {path.name.removesuffix(".nii.gz"): nib.load(path) for path in out.glob("*.nii.gz")}

    return run


@pytest.fixture(scope="module")
def single(infer, scans, weights):
    """What each member writes alone, with probability maps; the second with the component filter."""
    return [
        infer(
            scans / f"out{n}",
            "inference.yaml",
            ckpt_path=path,
            save_probabilities=True,
            min_component=float(n),
        )
        for n, path in enumerate(weights)
    ]


def array(image: nib.Nifti1Image) -> np.ndarray:
    return np.asarray(image.dataobj)


def decided(probability: np.ndarray) -> np.ndarray:
    """Where rounding of the background's probability can't turn the arg max; nearly everywhere."""
    clear = np.abs(probability - 0.5) > 1e-6
    assert clear.mean() > 0.999
    return clear


def test_probability_maps_are_those_behind_the_labels(single, scans):
    assert sorted(single[0]) == [f"case_00{n}_{kind}" for n in (0, 1) for kind in ("prob", "seg")]
    for n in (0, 1):
        scan = nib.load(scans / "data" / "images" / f"case_00{n}.nii.gz")
        probability, label = single[0][f"case_00{n}_prob"], single[0][f"case_00{n}_seg"]
        assert probability.get_data_dtype() == np.float32
        assert probability.shape == scan.shape
        assert np.allclose(probability.affine, scan.affine, atol=1e-5)
        values = array(probability)
        assert values.min() == 0
        assert 0.5 < values.max() <= 1
        assert np.array_equal((array(label) > 0)[decided(values)], (values > 0.5)[decided(values)])
        assert values[0, 0, 0] == 0


def test_component_filter(single):
    for n in (0, 1):
        components, count = ndimage.label(array(single[1][f"case_00{n}_prob"]) > 0.5, np.ones((3, 3, 3)))
        assert count > 1
        sizes = np.bincount(components.ravel())[1:]
        largest = np.isin(components, 1 + np.flatnonzero(sizes == sizes.max()))
        assert np.array_equal(array(single[1][f"case_00{n}_seg"]) > 0, largest)


def test_ensemble_is_the_mean_and_the_deviation_of_its_members(infer, single, scans, weights):
    paths = f"['{weights[0]}','{weights[1]}']"
    out = infer(scans / "ensemble", *ENSEMBLE, ckpt_paths=paths, save_probabilities=True)
    assert sorted(out) == [f"case_00{n}_{kind}" for n in (0, 1) for kind in ("prob", "seg", "uncertainty")]
    for n in (0, 1):
        members = np.stack([array(maps[f"case_00{n}_prob"]) for maps in single])
        probability, spread = array(out[f"case_00{n}_prob"]), array(out[f"case_00{n}_uncertainty"])
        assert np.allclose(probability, members.mean(0), atol=1e-6)
        assert np.allclose(spread, members.std(0), atol=1e-6)
        assert spread.max() > 0.01  # the members differ, or this would test nothing
        label, clear = array(out[f"case_00{n}_seg"]) > 0, decided(probability)
        assert np.array_equal(label[clear], (probability > 0.5)[clear])


def test_ensemble_without_members_is_one_line(bundle_run, scans, tmp_path):
    pattern = tmp_path / "fold*" / "model.pt"
    run = bundle_run("inferring", *ENSEMBLE, dataset_dir=scans / "data" / "images", ckpt_paths=str(pattern))
    assert run.returncode != 0
    last = run.stderr.strip().splitlines()[-1]
    assert last.startswith(f"error: {pattern}: expected weights of the ensemble's members")


def test_ensemble_refuses_members_of_other_settings(bundle_run, scans, weights):
    """What a single network's inference refuses, of any member."""
    beside = weights[1].with_suffix(".json")
    beside.write_text('{"window": [0, 80]}')
    paths, images = f"['{weights[0]}','{weights[1]}']", scans / "data" / "images"
    run = bundle_run("inferring", *ENSEMBLE, dataset_dir=images, output_dir=scans / "no", ckpt_paths=paths)
    beside.unlink()
    assert run.returncode != 0
    last = run.stderr.strip().splitlines()[-1]
    assert last.startswith(f"error: {weights[1]}: expected window [0, 80], with which these weights were")


def test_skipped_windows_change_nothing_in_the_brain(bundle, scans, weights):
    """On what the bundle's preprocessing and the engine hand over."""
    from scripts.brain_windows import WindowProbabilityInferer, prepare_with_brain
    from scripts.network import SEUNet
    from scripts.preprocessing import Preprocessing

    network = SEUNet().eval()
    network.load_state_dict(torch.load(weights[0], weights_only=True))
    items = [{"image": str(path)} for path in sorted((scans / "data" / "images").glob("*.nii.gz"))]
    for batch in DataLoader(Dataset(items, Preprocessing(regions=False)), batch_size=1):
        image, _, args, kwargs = prepare_with_brain(batch)
        ours = WindowProbabilityInferer((16, 16, 8))(image, network, *args, **kwargs).as_tensor()
        with torch.no_grad():
            monai = SlidingWindowInferer((16, 16, 8), overlap=0.5)(image, lambda x: network(x).softmax(1))
        brain = batch["brain"].as_tensor() > 0
        inside = brain.expand_as(ours)
        assert torch.allclose(ours[inside], monai.as_tensor()[inside], atol=1e-5)
        assert (ours[:, :1][~brain] == 1).all()
