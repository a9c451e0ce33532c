"""Which windows are drawn, against windows looked at one by one."""

from __future__ import annotations

import pytest
import torch

from tools.core.errors import InputError
from tools.sampling.mix import REGIONS

SIZE, STRIDE = 16, 8


@pytest.fixture(scope="module")
def module(bundle):
    from scripts import window_sampler

    return window_sampler


def cohort() -> list[dict[str, torch.Tensor]]:
    """Two volumes whose pixels are numbered; the lesion of one slice lies in a corner, of another inside."""
    cases = []
    for k in range(2):
        image = 1 + torch.arange(40 * 32 * 3.0).view(1, 40, 32, 3) + 10_000 * k
        label = torch.zeros(1, 40, 32, 3)
        label[0, 0:3, 0:2, 0] = 1
        label[0, 20:24, 15:19, 1] = 1
        cases.append({"image": image, "label": label})
    return cases


def grid(image: torch.Tensor, label: torch.Tensor) -> dict[bool, list[torch.Tensor]]:
    """Windows of the grid, by whether they show lesion."""
    windows: dict[bool, list[torch.Tensor]] = {True: [], False: []}
    for z in range(image.shape[-1]):
        for i in range(0, 40 - SIZE + 1, STRIDE):
            for j in range(0, 32 - SIZE + 1, STRIDE):
                cut = (0, slice(i, i + SIZE), slice(j, j + SIZE), z)
                windows[bool(label[cut].any())].append(image[cut])
    return windows


def test_one_pixel_per_window(module):
    label = cohort()[0]["label"][0] > 0
    masks = [torch.zeros_like(label) for _ in REGIONS]
    masks[REGIONS.index("lesion")], masks[REGIONS.index("image")] = label, ~label
    result = module.window_masks(masks, SIZE, STRIDE)
    windows = grid(*cohort()[0].values())
    assert int(result[REGIONS.index("lesion")].sum()) == len(windows[True]) == 1 + 2 * 3
    assert int(result[REGIONS.index("image")].sum()) == len(windows[False]) == 3 * 12 - 7
    assert result[REGIONS.index("lesion")][8, 8, 0]  # the corner's window begins at pixel 0


def test_windows_beyond_the_end_belong_to_the_grid(module):
    label = torch.zeros(20, 16, 1, dtype=torch.bool)
    label[19, 3] = True  # only the second window, 8 to 24, reaches it
    masks = [label if name == "lesion" else ~label if name == "image" else label & ~label for name in REGIONS]
    result = module.window_masks(masks, SIZE, STRIDE)
    assert result[REGIONS.index("lesion")].nonzero().tolist() == [[16, 8, 0]]
    assert result[REGIONS.index("image")].nonzero().tolist() == [[8, 8, 0]]


@pytest.mark.parametrize("stride", [13, 15])
def test_every_pixel_of_a_slice_is_in_a_window(module, stride):
    """Also where most of the last window lies beyond the end: its centre may not."""
    for x, y in ((39, 21), (31, 0), (0, 17)):
        label = torch.zeros(40, 22, 1, dtype=torch.bool)
        label[x, y] = True
        masks = [label if name == "lesion" else ~label for name in REGIONS]
        drawn = module.window_masks(masks, SIZE, stride)
        for name, shows in (("lesion", True), ("image", False)):
            centres = drawn[REGIONS.index(name)].nonzero()[:, :2]
            assert len(centres)
            for i, j in (centres - SIZE // 2).clamp(min=0).tolist():
                assert label[i : i + SIZE, j : j + SIZE].any() == shows


def test_half_of_the_windows_show_lesion_and_all_lie_on_the_grid(module):
    cases = cohort()
    sampler = module.WindowSampler(
        cases, (SIZE, SIZE), STRIDE, {"lesion": 0.5, "image": 0.5}, patches_per_case=40, batch_size=8,
        balance="cohort", storage={"dtype": "float32"}, progress=False,
    )  # fmt: skip
    known = {True: [], False: []}
    for case in cases:
        for lesion, windows in grid(**case).items():
            known[lesion] += windows
    seen = {True: set(), False: set()}
    drawn = {True: 0, False: 0}
    for batch in sampler:
        assert batch["image"].shape[1:] == (1, SIZE, SIZE)
        for image, label in zip(batch["image"], batch["label"], strict=True):
            lesion = bool(label.any())
            match = [n for n, window in enumerate(known[lesion]) if torch.equal(window, image[0])]
            assert len(match) == 1
            seen[lesion].add(match[0])
            drawn[lesion] += 1
    assert drawn == {True: 40, False: 40}
    assert len(seen[True]) == len(known[True])


def test_refuses(module):
    with pytest.raises(InputError, match=r"square windows, found \[16, 8\]"):
        module.WindowSampler(cohort(), (16, 8), progress=False)
    with pytest.raises(InputError, match=r"window_stride: expected at most .* 16.* found 17"):
        module.WindowSampler(cohort(), (16, 16), 17, progress=False)
    with pytest.raises(InputError, match=r"at least 48 x 48, found \(40, 32\)"):
        module.WindowSampler(cohort(), (48, 48), 24, patches_per_case=1, batch_size=1, progress=False)
