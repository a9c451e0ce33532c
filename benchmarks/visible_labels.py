"""How much of the synthetic heads' blood can be seen: what `as_outlined` leaves of their labels, by type.

    python benchmarks/visible_labels.py --anatomy MAPS --background SCAN [--heads 100] [--heads_dir FOLDER]

The heads are those of the overlay `anatomy`, without its variation; FOLDER keeps them, also for a training.
"""

from __future__ import annotations

import argparse
from collections import defaultdict

import numpy as np
from common import table
from scipy import ndimage
from unseen import MAPS

from tools.core.classes import CLASS_VALUES
from tools.core.tensors import voxel_spacing
from tools.phantom.mixture import training_heads
from tools.phantom.outline import DENSEST_HU, outlined


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--anatomy", required=True)
    parser.add_argument("--background", required=True)
    parser.add_argument("--heads", type=int, default=100)
    parser.add_argument("--heads_dir")
    given = parser.parse_args()
    heads = training_heads(given.anatomy, given.background, MAPS, with_brain=True, heads_dir=given.heads_dir)
    pieces, bony, voxels, left = (defaultdict(int) for _ in range(4))
    for index in range(given.heads):
        case = heads(index)
        x, y, _ = voxel_spacing(case["image"].affine)
        tensors = (case[key].as_tensor() for key in ("label", "image", "brain"))
        label = outlined(*tensors, (x, y))[0].numpy()
        truth, image = case["label"][0].numpy(), case["image"][0].numpy()
        for name, value in CLASS_VALUES.items():
            voxels[name] += int((truth == value).sum())
            left[name] += int((label == value).sum())
            for z in range(truth.shape[2]):
                parts, number = ndimage.label(truth[..., z] == value)
                medians = ndimage.median(image[..., z], parts, range(1, number + 1)) if number else []
                pieces[name] += number
                bony[name] += int(np.sum(np.asarray(medians) > DENSEST_HU))
    rows = [
        {
            "type": name,
            "voxels": voxels[name],
            "to be seen": f"{100 * left[name] / max(voxels[name], 1):.0f} %",
            "pieces in slices": pieces[name],
            "median above 130 HU": f"{100 * bony[name] / max(pieces[name], 1):.0f} %",
        }
        for name in CLASS_VALUES
    ]
    print(f"{given.heads} heads")
    print(table(rows))


if __name__ == "__main__":
    main()
