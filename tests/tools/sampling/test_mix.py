"""RoiMix against the tables of Abramova 2021, and where shares go when a region is empty."""

from __future__ import annotations

import logging

import pytest
import torch

from tools.core.errors import InputError
from tools.sampling.mix import PRESETS, REGIONS, RoiMix


def negatives(preset):
    """Shares of the negative patches alone, without zeros."""
    mix = PRESETS[preset]
    assert mix.lesion == 0.5, "half of the patches are lesion in every strategy"
    shares = {name: getattr(mix, name) / 0.5 for name in REGIONS if name != "lesion"}
    return {name: share for name, share in shares.items() if share > 0}


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        ("none", {"image": 1.0}),
        ("brain", {"brain": 1.0}),
        ("brain_border", {"border": 0.3, "brain": 0.7}),
        ("brain_border_centre", {"border": 0.3, "centre": 0.3, "brain": 0.4}),
        ("brain_border_ivh", {"border": 0.3, "ivh": 0.3, "brain": 0.4}),
        ("border_or_ivh", {"border_or_ivh": 0.3, "brain": 0.7}),  # section 2.2.1: else uniform in the brain
        ("only_border_and_ivh", {"border": 0.5, "ivh": 0.5}),
    ],
)
def test_presets_are_the_rows_of_tables_3_and_4(preset, expected):
    assert negatives(preset) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("mix", "words"),
    [
        ({"lesion": 0.5}, "add up to 1"),
        ({"lesion": 1.5, "brain": -0.5}, "'brain'"),
        ({"lesion": 0.5, "brain": float("nan")}, "'brain'"),
        ({"lesion": 0.5, "ventricle": 0.5}, "ventricle"),
        ("brain+border", "brain_border_centre"),
    ],
)
def test_bad_mixes_are_refused(mix, words):
    with pytest.raises(InputError, match=words):
        RoiMix.of(mix)


def test_a_mix_cannot_be_changed():
    with pytest.raises(AttributeError):
        PRESETS["brain"].brain = 1.0


def resolved(mix, **voxels):
    counts = torch.tensor([[voxels.get(name, 0) for name in REGIONS]])
    shares = RoiMix.of(mix).resolve(counts)[0]
    assert float(shares.sum()) == pytest.approx(1.0)
    return {name: float(share) for name, share in zip(REGIONS, shares, strict=True) if share > 0}


@pytest.mark.parametrize(
    ("mix", "voxels", "expected"),
    [
        # no IVH: its share goes to the other negative regions, in proportion, and half stays lesion
        ("only_border_and_ivh", {"lesion": 9, "border": 9}, {"lesion": 0.5, "border": 0.5}),
        (
            "brain_border_ivh",
            {"lesion": 9, "brain": 9, "border": 9},
            {"lesion": 0.5, "brain": 0.2 / 0.7, "border": 0.15 / 0.7},
        ),
        # no lesion: only negatives, in their proportion
        ("brain_border_ivh", {"brain": 9, "ivh": 9}, {"brain": 4 / 7, "ivh": 3 / 7}),
        # every wanted negative region is empty: the brain, then the image
        ("border_or_ivh", {"brain": 9, "image": 9}, {"brain": 1.0}),
        ("border_or_ivh", {"image": 9}, {"image": 1.0}),
        ("border_or_ivh", {"lesion": 9, "image": 9}, {"lesion": 0.5, "image": 0.5}),
        ({"lesion": 1.0}, {"lesion": 9, "brain": 9}, {"lesion": 1.0}),
        ({"lesion": 1.0}, {"brain": 9}, {"brain": 1.0}),
        # nothing but lesion: only positives
        ("brain", {"lesion": 9}, {"lesion": 1.0}),
        # all there: the mix itself
        (
            "border_or_ivh",
            {"lesion": 1, "brain": 1, "border_or_ivh": 1},
            {"lesion": 0.5, "brain": 0.35, "border_or_ivh": 0.15},
        ),
    ],
)
def test_shares_of_empty_regions_move(mix, voxels, expected):
    assert resolved(mix, **voxels) == pytest.approx(expected)


def test_a_case_without_any_voxel_is_an_error():
    with pytest.raises(InputError):
        resolved("brain")


def test_moved_shares_are_counted_in_the_log(caplog):
    counts = torch.ones(5, len(REGIONS), dtype=torch.int64)
    counts[:3, REGIONS.index("ivh")] = 0
    with caplog.at_level(logging.INFO, logger="tools.sampling.mix"):
        PRESETS["only_border_and_ivh"].resolve(counts)
    assert "'ivh' is empty in 3 of 5 cases" in caplog.text
    assert "border" not in caplog.text
