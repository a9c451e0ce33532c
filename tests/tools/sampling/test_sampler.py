"""RoiPatchSampler against slicing and padding by hand; shares, seeds, resume, shards, streaming, memory."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from monai.data import MetaTensor
from monai.engines import SupervisedTrainer
from monai.handlers import CheckpointLoader, CheckpointSaver

from tools.core.errors import InputError
from tools.sampling.case_regions import RoiSettings, case_masks
from tools.sampling.cohort import StreamedCohort
from tools.sampling.mix import REGIONS
from tools.sampling.patches import SYMMETRIES, HostBuffers, symmetry
from tools.sampling.sampler import RoiPatchSampler

ALL = {
    "lesion": 0.4,
    "image": 0.1,
    "brain": 0.1,
    "border": 0.1,
    "centre": 0.1,
    "ivh": 0.1,
    "border_or_ivh": 0.1,
}
SHAPES = [(30, 26, 9), (21, 33, 12), (9, 8, 3), (24, 24, 8)]


def make_case(shape, seed, background=0.0, channels=2):
    """Random integers inside, which every storage dtype keeps; background margins of different widths."""
    random = torch.Generator().manual_seed(seed)
    image = torch.full((channels, *shape), background)
    inside = (slice(None), slice(1, None), slice(2, -1), slice(None))
    image[inside] = torch.randint(1, 200, image[inside].shape, generator=random).float()
    brain = torch.zeros(1, *shape)
    brain[:, 2:-1, 2:-2] = 1
    label, dense = torch.zeros(1, *shape), torch.zeros(1, *shape)
    x, y, z = (size // 2 for size in shape)
    label[:, x - 2 : x + 2, y - 1 : y + 2, z - 1 : z + 1] = 1
    dense[:, 2:5, 3:6, 1:2] = 1
    affine = torch.diag(torch.tensor([2.0, 2.0, 5.0, 1.0], dtype=torch.float64))
    volumes = {"image": image, "label": label, "brain": brain, "hyperdense": dense}
    return {key: MetaTensor(volume, affine=affine) for key, volume in volumes.items()}


@pytest.fixture(scope="module")
def cohort():
    return [make_case(shape, seed) for seed, shape in enumerate(SHAPES)]


def make_sampler(cohort, roi_size=(8, 8, 4), mix=ALL, patches_per_case=50, batch_size=16, **options):
    options = {"progress": False, **options}
    return RoiPatchSampler(cohort, roi_size, mix, patches_per_case, batch_size, **options)


def epoch(sampler):
    """Images and labels of one epoch."""
    batches = list(sampler)
    assert len(batches) == len(sampler)
    images, labels = (torch.cat([batch[key] for batch in batches]) for key in ("image", "label"))
    return images, labels


def naive_patch(volume, centre, size, background):
    """A patch by padding the whole volume and slicing."""
    widths = [(s, s) for s in size]
    flat = [width for pair in reversed(widths) for width in pair]
    padded = torch.nn.functional.pad(volume, flat, value=background)
    start = [c - s // 2 + s for c, s in zip(centre, size, strict=True)]
    return padded[(slice(None), *[slice(a, a + s) for a, s in zip(start, size, strict=True)])]


@pytest.mark.parametrize("gather", ["slices", "vectorised"])
@pytest.mark.parametrize(
    ("roi_size", "augment", "background"),
    [
        ((8, 8, 4), "none", 0.0),
        ((7, 5, 3), "none", 0.0),  # odd and unequal sizes
        ((1, 1, 1), "none", 0.0),
        ((32, 32, 16), "none", -7.0),  # larger than every volume
        ((8, 8, 4), "x6", 0.0),
        ((9, 9, 5), "random", -7.0),
    ],
)
def test_patches_equal_padding_and_slicing(roi_size, augment, background, gather, device):
    if gather == "slices" and device.type != "cpu":
        pytest.skip("slices are for the CPU")
    cohort = [make_case(shape, seed, background) for seed, shape in enumerate(SHAPES)]
    sampler = make_sampler(
        cohort,
        roi_size,
        patches_per_case=150,
        augmentation={"turns": augment},
        background=background,
        storage={"gather": gather},
        device=device,
    )
    plan, (images, labels) = sampler.plan(0), epoch(sampler)
    assert images.device.type == labels.device.type == device.type
    assert images.shape == (len(plan.case), 2, *roi_size)
    assert labels.shape == (len(plan.case), 1, *roi_size)
    outside = 0
    for row, (case, centre, op) in enumerate(
        zip(plan.case.tolist(), plan.centre.tolist(), plan.op.tolist(), strict=True)
    ):
        item = {key: volume.as_tensor() for key, volume in cohort[case].items()}
        expected = symmetry(naive_patch(item["image"], centre, roi_size, background), op)
        assert torch.equal(images[row].cpu(), expected)
        assert torch.equal(labels[row].cpu(), symmetry(naive_patch(item["label"], centre, roi_size, 0.0), op))
        outside += int((expected == background).any())
        middle = tuple(size // 2 for size in roi_size)
        if op == 0:
            assert images[row, 0][middle] == item["image"][(0, *centre)]
    assert outside > 0, "some patches must stick out"


@pytest.mark.parametrize("gather", ["slices", "vectorised"])
def test_patches_at_every_voxel_of_a_volume(gather, device):
    """Corners, edges and all: the image region of a volume without lesion is the whole volume."""
    if gather == "slices" and device.type != "cpu":
        pytest.skip("slices are for the CPU")
    image = torch.arange(1.0, 6 * 5 * 4 + 1).view(1, 6, 5, 4)
    item = {"image": image, "label": torch.zeros(1, 6, 5, 4)}
    sampler = make_sampler([item], (4, 3, 2), {"image": 1.0}, 4000, storage={"gather": gather}, device=device)
    plan, (images, _) = sampler.plan(0), epoch(sampler)
    seen = {tuple(centre) for centre in plan.centre.tolist()}
    assert seen == set(itertools.product(range(6), range(5), range(4)))
    for centre, patch in zip(plan.centre.tolist(), images.cpu(), strict=True):
        assert torch.equal(patch, naive_patch(image, centre, (4, 3, 2), 0.0))


@pytest.mark.parametrize("storage", ["float16", "bfloat16", "int16", "float32"])
def test_storage_dtypes_keep_their_precision(cohort, storage):
    images, labels = epoch(make_sampler(cohort, storage={"dtype": storage}))
    expected, truth = epoch(make_sampler(cohort, storage={"dtype": "float32"}))
    assert images.dtype == torch.float32
    assert torch.equal(labels, truth)
    assert torch.equal(images, expected), "the integers from 0 to 200 are exact in all of them"


def test_labels_keep_their_classes():
    """Any value above 0 is lesion to the sampler, and stays what it is in the batches."""
    item = make_case(SHAPES[0], 0)
    lesion = item["label"][0] > 0
    item["label"][0][lesion] = (torch.arange(int(lesion.sum())) % 5 + 1).float()
    sampler = make_sampler([item])
    plan, (_, labels) = sampler.plan(0), epoch(sampler)
    assert len(labels.unique()) == 6
    for centre, label in zip(plan.centre.tolist(), labels, strict=True):
        assert torch.equal(label, naive_patch(item["label"].as_tensor(), centre, (8, 8, 4), 0.0))


def test_int16_rounds():
    item = make_case(SHAPES[0], 0)
    item["image"] = item["image"] + 0.75
    images, _ = epoch(make_sampler([item], storage={"dtype": "int16"}))
    reference, _ = epoch(make_sampler([item], storage={"dtype": "float32"}))
    assert torch.equal(images, reference.round())


@pytest.mark.parametrize("gather", ["slices", "vectorised"])
def test_output_dtypes(cohort, gather):
    sampler = make_sampler(
        cohort, batch={"image_dtype": "bfloat16", "label_dtype": "uint8"}, storage={"gather": gather}
    )
    batch = next(iter(sampler))
    assert batch["image"].dtype == torch.bfloat16
    assert batch["label"].dtype == torch.uint8


def region_counts(sampler, number=0):
    plan = sampler.plan(number)
    return torch.bincount(plan.region.cpu(), minlength=len(REGIONS)), plan


def test_centres_lie_in_their_regions_in_the_shares_of_the_mix(cohort, device):
    """Counted by looking up every centre in the masks; each region within a binomial bound of its share."""
    cohort = [cohort[0], cohort[1], cohort[3]]  # in the smallest some regions are empty
    sampler = make_sampler(cohort, patches_per_case=1000, device=device)
    counts, plan = region_counts(sampler)
    masks = [case_masks(item, "", sampler.mix, RoiSettings(), 0.0) for item in cohort]
    for case, region, centre in zip(
        plan.case.tolist(), plan.region.tolist(), plan.centre.tolist(), strict=True
    ):
        assert masks[case][region][tuple(centre)]
        lesion = bool(cohort[case]["label"][(0, *centre)])
        assert lesion == (REGIONS[region] == "lesion")
    total = 1000 * len(cohort)
    for name, count in zip(REGIONS, counts.tolist(), strict=True):
        share = ALL[name]
        assert abs(count - share * total) <= 4 * math.sqrt(total * share * (1 - share))
        assert abs(count - share * total) <= len(cohort), "and exact to one patch per case"


def test_every_case_has_its_patches(cohort):
    plan = make_sampler(cohort, patches_per_case=37).plan(2)
    assert torch.bincount(plan.case).tolist() == [37] * len(cohort)


def test_small_numbers_of_patches_are_unbiased(cohort):
    """With 3 patches per case no epoch can have every share; over 600 epochs each is met within 4 sigma."""
    sampler = make_sampler(cohort[:1], patches_per_case=3)
    counts = sum(region_counts(sampler, number)[0] for number in range(600))
    for name, count in zip(REGIONS, counts.tolist(), strict=True):
        assert abs(count - 1800 * ALL[name]) <= 4 * math.sqrt(1800 * ALL[name] * (1 - ALL[name]))


def test_voxels_of_a_region_are_drawn_evenly(cohort):
    """No voxel of the lesion is missed; chi-square of 12 or more draws per voxel below mean + 5 sigma."""
    sampler = make_sampler(cohort[:1], patches_per_case=1000, mix={"lesion": 0.5, "brain": 0.5})
    places = torch.cat([plan.centre[plan.region == 0] for plan in map(sampler.plan, range(4))])
    voxels, counts = torch.unique(places, dim=0, return_counts=True)
    assert len(voxels) == int(cohort[0]["label"].sum())
    expected = len(places) / len(voxels)
    chi = float(((counts - expected) ** 2 / expected).sum())
    freedom = len(voxels) - 1
    assert expected > 12
    assert chi < freedom + 5 * math.sqrt(2 * freedom)


def test_a_case_without_lesion_gives_only_negatives(cohort):
    healthy = dict(cohort[0], label=torch.zeros(1, *SHAPES[0]), hyperdense=torch.zeros(1, *SHAPES[0]))
    sampler = make_sampler([healthy, cohort[1]], mix="border_or_ivh")
    plan = sampler.plan(0)
    assert set(plan.region[plan.case == 0].tolist()) == {REGIONS.index("brain")}
    assert (plan.region[plan.case == 1] == 0).float().mean() == 0.5
    _, labels = epoch(make_sampler([healthy], mix="border_or_ivh"))
    assert not labels.any()


def test_x6_uses_every_centre_under_every_symmetry(cohort):
    sampler = make_sampler(cohort, patches_per_case=20, augmentation={"turns": "x6"})
    plan = sampler.plan(0)
    assert len(plan.case) == 20 * len(cohort) * 6
    keys = torch.cat([plan.case[:, None], plan.region[:, None], plan.centre, plan.op[:, None]], 1)
    for op in range(1, len(SYMMETRIES)):
        of_op, plain = (keys[plan.op == o][:, :-1].tolist() for o in (op, 0))
        assert sorted(of_op) == sorted(plain)


def test_symmetries_by_hand():
    patch = torch.tensor([[1, 2], [3, 4]])[None, :, :, None]
    expected = {
        "identity": [[1, 2], [3, 4]],
        "flip x": [[3, 4], [1, 2]],
        "flip y": [[2, 1], [4, 3]],
        "rotate 90": [[2, 4], [1, 3]],
        "rotate 180": [[4, 3], [2, 1]],
        "rotate 270": [[3, 1], [4, 2]],
    }
    for op, name in enumerate(SYMMETRIES):
        assert symmetry(patch, op)[0, :, :, 0].tolist() == expected[name]


def test_epochs_differ_and_seeds_repeat(cohort):
    first, second = make_sampler(cohort, seed=3), make_sampler(cohort, seed=3)
    other = make_sampler(cohort, seed=4)
    one, two = epoch(first)[0], epoch(first)[0]
    assert torch.equal(one, epoch(second)[0])
    assert torch.equal(two, epoch(second)[0])
    assert not torch.equal(one, two)
    assert not torch.equal(one, epoch(other)[0])
    first.load_state_dict({"seed": 3, "epoch": 0, "batch": 0})
    assert torch.equal(one, epoch(first)[0])


def rows_of(plan):
    """A plan's patches, each as case and centre voxel."""
    return list(zip(plan.case.tolist(), map(tuple, plan.centre.tolist()), strict=True))


@pytest.mark.parametrize("augment", ["none", "x6"])
def test_patches_that_are_not_redrawn_come_again_in_another_order(cohort, augment):
    sampler = make_sampler(cohort, redraw=False, augmentation={"turns": augment})
    first, second = rows_of(sampler.plan(0)), rows_of(sampler.plan(1))
    assert sorted(first) == sorted(second)
    assert first != second
    redrawn = make_sampler(cohort, augmentation={"turns": augment})
    assert sorted(rows_of(redrawn.plan(0))) != sorted(rows_of(redrawn.plan(1)))
    assert sorted(rows_of(redrawn.plan(0))) == sorted(first), "the first epoch has the same patches"


def test_both_ways_of_gathering_and_every_device_agree(cohort, device):
    here = make_sampler(
        cohort, augmentation={"turns": "random"}, storage={"gather": "vectorised"}, device=device
    )
    there = make_sampler(cohort, augmentation={"turns": "random"}, storage={"gather": "slices"})
    for mine, theirs in zip(epoch(here), epoch(there), strict=True):
        assert torch.equal(mine.cpu(), theirs)


@pytest.mark.parametrize("budget", [None, 80e-6])
@pytest.mark.parametrize("stop", [0, 1, 5, 12, 13])
def test_resume_in_the_middle(cohort, stop, budget):
    """The batches after an interruption are those of the run that was not interrupted."""
    options = {"roi_size": (8, 8), "augmentation": {"affine": {"rotation": 30}}} if budget is None else {}
    options |= {"storage": {"budget_gb": budget}}
    whole = make_sampler(cohort, **options)
    assert len(whole) == (13 if budget is None else 16), "a chunk's last batch is smaller"
    reference = [batch["image"] for batch in [*whole, *whole]]
    first = make_sampler(cohort, **options)
    supply = iter(first)
    for _ in range(stop):
        next(supply)
    state = first.state_dict()
    second = make_sampler(cohort, **options)
    second.load_state_dict(state)
    assert second.state_dict() == state
    resumed = [batch["image"] for batch in [*second, *second]]
    expected = reference[stop:]
    assert all(torch.equal(a, b) for a, b in zip(resumed, expected, strict=False))
    assert len(resumed) >= len(expected)


def test_shards_partition_the_epoch(cohort):
    """Three ranks draw disjoint, equally large parts of the one epoch; at most 2 patches are left."""
    whole = make_sampler(cohort, patches_per_case=25).plan(1)
    parts = [
        make_sampler(cohort, patches_per_case=25, share={"rank": rank, "world_size": 3}).plan(1)
        for rank in range(3)
    ]
    assert [len(part.case) for part in parts] == [33, 33, 33]

    def rows(plan):
        return torch.cat([plan.case[:, None], plan.region[:, None], plan.centre], 1)

    joined = torch.stack([rows(part) for part in parts], dim=1).flatten(0, 1)
    assert torch.equal(joined, rows(whole)[:99])


def test_shards_of_a_streamed_cohort_are_disjoint(cohort):
    """Both ranks have the same chunks at the same time, and no patch in common."""
    options = {
        "patches_per_case": 20,
        "storage": {"budget_gb": 80e-6},
        "augmentation": {"turns": "x6"},
        "mix": {"lesion": 1.0},
    }
    plans = [
        make_sampler(cohort, share={"rank": rank, "world_size": 2}, **options).plan(3) for rank in range(2)
    ]
    whole = make_sampler(cohort, **options).plan(3)
    assert plans[0].chunks == plans[1].chunks == whole.chunks
    assert plans[0].sizes == plans[1].sizes == [60] * len(cohort)
    rows = [torch.cat([plan.case[:, None], plan.centre, plan.op[:, None]], 1).tolist() for plan in plans]
    reference = torch.cat([whole.case[:, None], whole.centre, whole.op[:, None]], 1).tolist()
    assert sorted(rows[0] + rows[1]) == sorted(reference)


def test_streaming_gives_the_same_patches_of_each_case(cohort, device):
    """With room for two chunks of 1 or 2 cases every case has its patches, and their content is right."""
    cohort = cohort * 2
    for budget, chunk in ((80e-6, 1), (150e-6, 2)):
        sampler = make_sampler(cohort, storage={"budget_gb": budget}, device=device)
        assert isinstance(sampler._memory, StreamedCohort)
        assert sampler._memory.chunk == chunk
        assert sampler.device_bytes <= budget * 1e9 + sampler._planner.table.nbytes()
        plan = sampler.plan(0)
        assert sorted(case for chunk in plan.chunks for case in chunk) == list(range(len(cohort)))
        images, labels = epoch(sampler)
        for row, (case, centre) in enumerate(zip(plan.case.tolist(), plan.centre.tolist(), strict=True)):
            item = cohort[case]
            expected = naive_patch(item["image"].as_tensor(), centre, (8, 8, 4), 0.0)
            assert torch.equal(images[row].cpu(), expected)
            assert torch.equal(
                labels[row].cpu(), naive_patch(item["label"].as_tensor(), centre, (8, 8, 4), 0.0)
            )
        assert torch.bincount(plan.case.cpu()).tolist() == [50] * len(cohort)


def test_chunks_are_shuffled_anew_in_every_epoch(cohort):
    sampler = make_sampler(cohort, storage={"budget_gb": 80e-6})
    assert len({str(sampler.plan(number).chunks) for number in range(8)}) > 1


def test_a_budget_below_two_cases_is_refused(cohort):
    with pytest.raises(InputError, match="budget_gb"):
        make_sampler(cohort, storage={"budget_gb": 30e-6})


def test_memory_is_what_is_stored(cohort):
    """The box of each volume that is not background, two channels of 2 bytes and a label of 1; the runs."""
    sampler = make_sampler(cohort, mix="border_or_ivh")
    boxes = sum((x - 1) * (y - 3) * z for x, y, z in SHAPES)
    table = sampler._planner.table
    assert sampler.device_bytes == boxes * 5 + table.nbytes()
    assert table.nbytes() < 20_000


def test_two_dimensional_patches_of_volumes(cohort, device):
    sampler = make_sampler(cohort, (8, 6), device=device)
    plan, (images, labels) = sampler.plan(0), epoch(sampler)
    assert images.shape[1:] == (2, 8, 6)
    assert labels.shape[1:] == (1, 8, 6)
    for row, (case, centre) in enumerate(zip(plan.case.tolist(), plan.centre.tolist(), strict=True)):
        expected = naive_patch(cohort[case]["image"].as_tensor(), centre, (8, 6, 1), 0.0)[..., 0]
        assert torch.equal(images[row].cpu(), expected)


def slices(number, with_lesion):
    """Single slices (1, 12, 10), the first `with_lesion` of them with lesion; the number is the value."""
    items = []
    for index in range(number):
        label = torch.zeros(1, 12, 10)
        label[:, 3:5, 3:5] = index < with_lesion
        items.append({"image": torch.full((1, 12, 10), index + 1.0), "label": label})
    return items


def test_whole_slices_are_balanced_over_the_cohort():
    """3 of 20 slices show lesion: half of the patches are these, each equally often; slices come whole."""
    sampler = make_sampler(slices(20, 3), (12, 10), "brain", 18, whole_slices=True, balance="cohort")
    images, labels = epoch(sampler)
    assert images.shape == (360, 1, 12, 10)
    number = images[:, 0, 0, 0].long() - 1
    assert torch.equal(images, (number + 1.0)[:, None, None, None].expand_as(images))
    times = torch.bincount(number, minlength=20)
    assert times[:3].tolist() == [60, 60, 60]
    assert set(times[3:].tolist()) <= {10, 11}
    assert torch.equal(labels.flatten(1).any(1), number < 3)


def test_whole_slices_of_volumes():
    """Lesion slices and others of a volume, centred, and padded to the patch."""
    item = make_case((12, 10, 9), 0)
    sampler = make_sampler([item], (16, 16), "brain", 400, whole_slices=True)
    plan, (images, labels) = sampler.plan(0), epoch(sampler)
    with_lesion = item["label"].as_tensor().flatten(0, 2).any(0)
    z = plan.centre[:, 2]
    assert torch.equal(labels.flatten(1).any(1), with_lesion[z])
    assert with_lesion[z].float().mean() == 0.5
    assert set(z.tolist()) == set(range(9))
    assert torch.equal(images[:, :, 2:14, 3:13], item["image"].as_tensor()[..., z].permute(3, 0, 1, 2))


def test_batches_that_are_kept_do_not_change(cohort):
    """Memory is pooled: a batch that someone still holds must not be written over."""
    sampler = make_sampler(cohort, batch_size=4, batch={"image_dtype": "float16", "label_dtype": "uint8"})
    kept, copies = [], []
    for batch in sampler:
        kept.append(batch["image"][1:3])  # a view keeps its batch alive
        copies.append(kept[-1].clone())
    for _ in range(3):
        for _ in sampler:
            pass
    assert all(torch.equal(a, b) for a, b in zip(kept, copies, strict=True))


def test_buffers_are_used_again_when_free():
    buffers = HostBuffers()
    first, second = (buffers.take((4, 8), torch.float16) for _ in range(2))
    assert first.data_ptr() != second.data_ptr()
    place, view = first.data_ptr(), first[2:]
    del first
    third = buffers.take((4, 8), torch.float16)
    assert third.data_ptr() not in (place, second.data_ptr())
    del view
    assert buffers.take((8, 4), torch.int16).data_ptr() == place


def test_supervised_trainer_takes_the_sampler(cohort, device):
    sampler = make_sampler(cohort, device=device)
    network = torch.nn.Conv3d(2, 1, 1).to(device)
    trainer = SupervisedTrainer(
        device=device,
        max_epochs=2,
        train_data_loader=sampler,
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), 0.01),
        loss_function=torch.nn.BCEWithLogitsLoss(),
    )
    trainer.run()
    assert trainer.state.iteration == 2 * len(sampler)
    assert sampler.state_dict() == {"seed": 0, "epoch": 2, "batch": 0}


def test_a_training_goes_on_from_a_checkpoint(cohort, tmp_path):
    """MONAI saves after 20 iterations, 7 batches into epoch 1, and loads: the eighth batch is next."""
    first = make_sampler(cohort)
    network = torch.nn.Conv3d(2, 1, 1)
    trainer = SupervisedTrainer(
        device="cpu",
        max_epochs=2,
        train_data_loader=first,
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), 0.01),
        loss_function=torch.nn.BCEWithLogitsLoss(),
        train_handlers=[
            CheckpointSaver(str(tmp_path), {"sampler": first}, save_interval=20, epoch_level=False)
        ],
    )
    trainer.run()
    second = make_sampler(cohort)
    (path,) = tmp_path.glob("*iteration=20.pt")
    loader = CheckpointLoader(str(path), {"sampler": second})
    loader(trainer)
    assert second.state_dict() == {"seed": 0, "epoch": 1, "batch": 7}
    first.load_state_dict({"seed": 0, "epoch": 1, "batch": 0})
    assert torch.equal(next(iter(second))["image"], list(first)[7]["image"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"roi_size": (8,)}, "roi_size: expected two or three"),
        ({"roi_size": (8, 8, 0)}, "roi_size"),
        ({"roi_size": (8, 6, 4), "augmentation": {"turns": "x6"}}, "square"),
        ({"augmentation": {"turns": "x7"}}, "turns"),
        ({"augmentation": "x6"}, "Augmentation: expected a mapping"),
        ({"share": {"size": 2}}, "ProcessShare: expected options among rank, world_size, found size"),
        ({"balance": "patient"}, "balance"),
        ({"share": {"rank": 2, "world_size": 2}}, "rank"),
        ({"patches_per_case": 0}, "patches_per_case"),
        ({"whole_slices": True}, "whole_slices"),
        ({"storage": {"gather": "loop"}}, "gather"),
        ({"storage": {"dtype": "half precision"}}, "half precision"),
        ({"regions": {"border": 5}}, "border_mm"),
        ({"storage": {"budget_gb": 80e-6}, "balance": "cohort"}, "balance"),
    ],
)
def test_bad_arguments_are_named(cohort, options, words):
    with pytest.raises(InputError, match=words):
        make_sampler(cohort, **options)


def test_bad_cohorts_are_named(cohort):
    with pytest.raises(InputError, match="at least one case"):
        make_sampler([])
    with pytest.raises(InputError, match=r"channels.*\[1, 2\]"):
        make_sampler([cohort[0], make_case(SHAPES[1], 1, channels=1)])
    with pytest.raises(InputError, match="case 1: expected the key 'label'"):
        make_sampler([cohort[0], {"image": cohort[1]["image"]}])
