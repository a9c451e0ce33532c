"""A NIfTI file or a folder of DICOM files -> one checked CT volume in Hounsfield units, with its geometry."""

from __future__ import annotations

import gzip
import logging
import math
import shutil
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Orientation

from tools.core.errors import InputError, called
from tools.core.extras import extra_packages
from tools.core.files import RESULT, existing, input_files, replacing
from tools.core.limits import check_file, check_size
from tools.core.names import is_nifti, is_second_of_pair, is_volume, shown_name, unpacked
from tools.volumes.grid import grid_fault, reordered, whole_values

logger = logging.getLogger(__name__)

VOXEL_MM = (0.1, 20.0)  # of any head CT, thick slices included
UNITS = {"metres": 1000.0, "micrometres": 0.001}  # in mm, that NIfTI knows beside mm
PADDING_HU = -1024.0  # air at the edge of the scale; scanners pad with lower values
HIGHEST_AIR_HU = -200.0  # every head CT shows air somewhere, and air is darker than this
LOWEST_BONE_HU = 200.0  # and bone, which is brighter than this
HIGHEST_TISSUE_HU = 500.0  # the median in the middle of a body; as stored, brain is at about 1060
HIGHEST_HU = 40000.0  # extended scales reach 30,000 HU on metal


def read_volume(
    path: str | Path,
    series: str | int | None = None,
    orientation: str | None = "RAS",
    converted_dir: str | Path | None = None,
    name: str | Path | None = None,
    converted_name: str | None = None,
) -> MetaTensor:
    """Read one CT volume.

    Args:
        path: a NIfTI file, or a folder of DICOM files, of which gantry tilt and uneven slices are corrected.
        series: number or UID of the DICOM series, where the folder holds several.
        orientation: axis codes to reorient the array to; None keeps the order of the file.
        converted_dir: folder to keep a converted DICOM series in, so that a viewer can show results over it.
        name: what messages and the metadata call the file or folder; None takes its path.
        converted_name: of the file in `converted_dir`, without extension; None takes the folder's.

    Returns:
        MetaTensor (1, X, Y, Z), float32, HU, values below -1024 raised to -1024. Its affine maps voxels to
        RAS+ mm; `meta["original_affine"]` is the affine of the file.

    Raises:
        InputError: the path does not exist or is no CT volume: an empty folder, several series and no
            choice, a modality other than CT, fewer or more than three dimensions, no or a singular affine,
            values that are NaN, infinite or no HU, a truncated file.
    """
    path = unpacked(path)
    if path.is_dir():
        from tools.volumes.dicom import convert_series  # here: NIfTI needs none of its packages

        shown = path if name is None else Path(name)
        with called(path, shown), convert_series(path, series, shown) as nifti:
            volume = _checked_volume(nifti, name=shown)
            if converted_dir is not None:
                _keep_gzipped(nifti, Path(converted_dir) / f"{converted_name or path.resolve().name}.nii.gz")
    else:
        volume = _checked_volume(path, name=path if name is None else Path(name))
    return _oriented(volume, orientation)


def read_label(
    path: str | Path,
    orientation: str | None = "RAS",
    like: MetaTensor | None = None,
    picture: bool = True,
    single: bool = False,
) -> MetaTensor:
    """Read one label map.

    Args:
        path: a volume file of whole numbers from 0 to 255.
        orientation: axis codes to reorient the array to; None keeps the order of the file.
        like: the volume it belongs to, on whose grid it must lie; it is returned in that order of voxels.
        picture: see `tools.volumes.grid.whole_values`.
        single: whether it may be a single slice, of two dimensions or three.

    Returns:
        MetaTensor (1, X, Y, Z), float32 whole numbers, with the file's geometry, or that of `like`.

    Raises:
        InputError: as for `read_volume`, for values that are no class values, and for another grid than that
            of `like`.
    """
    label = load_volume(Path(path), Path(path), single)
    values, fault = whole_values(label.numpy()[0], picture)
    if fault:
        raise InputError(f"{path}: {fault}")
    affine = label.affine.numpy()
    if like is not None:
        values, affine = reordered(values, affine, like.affine.numpy())
        name = like.meta.get("filename_or_obj")
        fault = grid_fault(like.shape[1:], like.affine, values.shape, affine, name)
        if fault:
            raise InputError(f"{path}: {fault}")
        affine = like.affine.numpy()
    return _oriented(_tensor(np.ascontiguousarray(values), affine.copy(), path), orientation)


def find_volume_files(path: str | Path) -> list[Path]:
    """The file at `path`, or every volume file of a folder and its subfolders; .hdr and .img are one.

    Raises:
        InputError: the path does not exist, or a link in the folder leads nowhere.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: expected a NIfTI file or a folder, found nothing there")
    if not path.is_dir():
        check_file(path)
        return [path]
    return existing(f for f in input_files(path) if is_volume(f) and not is_second_of_pair(f))


class LoadVolumed(MapTransform):
    """Dictionary version of `read_volume` and `read_label`, in the orientation of the files.

    Entries that are MetaTensors already (MONAI Label and MONAI Deploy pass some) are left as they are; those
    without a channel (X, Y, Z) get one.

    Args:
        keys: paths of CT volumes and label maps.
        label_keys: those of `keys` that hold label maps.
        converted_dir: see `read_volume`. It is given where results are written: then what is doubtful about a
            scan is logged, a line for each.

    Raises:
        InputError: see `read_volume`; also where a label's shape or affine differs from the first volume's.
    """

    def __init__(
        self,
        keys: KeysCollection,
        label_keys: Sequence[Hashable] = (),
        converted_dir: str | Path | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.label_keys = set(label_keys)
        self.converted_dir = converted_dir

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        first: MetaTensor | None = None
        for key in self.key_iterator(d):
            if isinstance(d[key], torch.Tensor):
                d[key] = d[key][None] if d[key].ndim == 3 else d[key]
            elif key in self.label_keys:
                d[key] = read_label(d[key], orientation=None, like=first)
            else:
                d[key] = self._read(d[key], d)
            first = d[key] if first is None else first
            other, name = d[key], first.meta.get("filename_or_obj")
            fault = grid_fault(first.shape[1:], first.affine, other.shape[1:], other.affine, name)
            if fault:
                raise InputError(f"{other.meta.get('filename_or_obj')}: {fault}")
        return d

    def _read(self, path: str | Path, item: Mapping[Hashable, Any]) -> MetaTensor:
        case = item.get("case")
        name = shown_name(str(case), item["study_uid"]) if "study_uid" in item else None
        volume = read_volume(path, None, None, self.converted_dir, name, case)
        if self.converted_dir is not None:
            from tools.volumes.doubts import form_doubts, scan_doubts  # here: training needs none of it

            for text in form_doubts(path) + scan_doubts(volume, stated=Path(path).is_dir()):
                logger.warning("%s: %s", volume.meta["filename_or_obj"], text)
        return volume


def load_volume(path: Path, name: Path, single: bool = False) -> MetaTensor:
    """Read a file of three dimensions as float32 and check what holds for images and labels alike.

    Messages call it `name`; `single`: see `read_label`.
    """
    if not path.exists():
        raise InputError(f"{name}: expected a NIfTI file or a folder of DICOM files, found nothing there")
    check_file(path, name)
    if not is_volume(path):
        raise InputError(f"{name}: expected a NIfTI, NRRD, MetaImage or Analyze file, or a DICOM folder")
    data, affine = _nifti(path, name) if is_nifti(path) else _other_format(path, name)
    while data.ndim > 3 and data.shape[-1] == 1:
        data = data[..., 0]
    if single and data.ndim == 2:
        data = data[..., None]
    if data.ndim != 3 or min(data.shape) < (1 if single else 2):
        raise InputError(f"{name}: expected a 3D volume of several slices, found shape {data.shape}")
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) <= 1e-6 * spacing.prod():
        raise InputError(f"{name}: expected an invertible affine, found {affine.tolist()}")
    if not _is_voxel(spacing):
        unit = next((f" (it looks like {unit})" for unit, mm in UNITS.items() if _is_voxel(spacing * mm)), "")
        raise InputError(
            f"{name}: expected voxels of {VOXEL_MM[0]:g} to {VOXEL_MM[1]:g} mm, found "
            f"{' x '.join(f'{mm:.3g}' for mm in spacing)} mm: the affine is wrong, or its unit{unit}"
        )
    if np.isnan(nib.orientations.io_orientation(affine)).any():
        raise InputError(f"{name}: expected an affine with three directions, found {affine.tolist()}")
    if not np.isfinite(data).all():
        bad = int((~np.isfinite(data)).sum())
        raise InputError(f"{name}: expected finite values, found {bad} voxels that are NaN or infinite")
    return _tensor(data, affine, name)


def _is_voxel(mm: np.ndarray) -> bool:
    return bool(((mm >= VOXEL_MM[0]) & (mm <= VOXEL_MM[1])).all())


def _tensor(data: np.ndarray, affine: np.ndarray, name: str | Path) -> MetaTensor:
    meta = {
        "filename_or_obj": str(name), "original_affine": affine.copy(), "spatial_shape": np.array(data.shape)
    }  # fmt: skip
    return MetaTensor(torch.from_numpy(data)[None], affine=torch.from_numpy(affine), meta=meta)


def _nifti(path: Path, name: Path) -> tuple[np.ndarray, np.ndarray]:
    """Voxels, float32, and affine of a NIfTI file."""
    try:
        kind = type(open_nifti(path, name))
        with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as stream:
            image: Any = kind.from_stream(stream)
            header: Any = image.header
            dtype = image.get_data_dtype()
            if dtype.fields:
                raise InputError(f"{name}: expected one value per voxel, found colours ({dtype})")
            if dtype.kind == "c":
                raise InputError(f"{name}: expected real values, found complex ones ({dtype})")
            data = np.asarray(image.dataobj, dtype=np.float32)
            size = data.nbytes
            while part := stream.read(2**20):  # to a gzipped file's checksum, behind the last voxel
                size += len(part)
                check_size(size, name)
    except InputError:
        raise
    except Exception as error:  # nibabel, gzip and zlib each raise their own on damaged files
        raise InputError(f"{name}: expected a complete NIfTI file, found: {error}") from error
    if int(header["sform_code"]) == 0 and int(header["qform_code"]) == 0:
        raise InputError(f"{name}: expected an affine (sform or qform), found none")
    return data, np.asarray(image.affine, dtype=np.float64)


def open_nifti(path: Path, name: Path | None = None) -> Any:
    """A NIfTI file of which only the header is read, and which may be read.

    Raises:
        InputError: it is a pipe or a device, its voxels would take more memory than a file may, or lie within
            its header.
        Exception: whatever nibabel raises on a damaged header.
    """
    check_file(path, name)
    image: Any = nib.load(path)
    # as they are stored, and as float32 beside
    check_size(math.prod(image.shape) * (image.get_data_dtype().itemsize + 4), name or path)
    start, least = image.dataobj.offset, image.header.single_vox_offset
    if isinstance(image, nib.Nifti1Image) and start < least:  # nibabel lets 0 pass
        raise InputError(
            f"{name or path}: expected voxels from byte {least} on (vox_offset), found {start}: the header "
            "would be read as voxels"
        )
    return image


def _other_format(path: Path, name: Path) -> tuple[np.ndarray, np.ndarray]:
    """Voxels, float32, and affine of what ITK reads, whose world is LPS."""
    with extra_packages("reading NRRD, MetaImage and Analyze"):
        import itk
    try:
        header = itk.ImageIOFactory.CreateImageIO(str(path), itk.CommonEnums.IOFileMode_ReadMode)
        if header is not None:
            header.SetFileName(str(path))
            header.ReadImageInformation()
            voxels = math.prod(map(header.GetDimensions, range(header.GetNumberOfDimensions())))
            check_size(voxels * (header.GetComponentSize() + 4), name)
            _check_complete(path, voxels * header.GetComponentSize(), name)
        image: Any = itk.imread(str(path))
        data = np.asarray(itk.array_from_image(image), dtype=np.float32).T
        affine = np.eye(4)
        affine[:3, :3] = itk.array_from_matrix(image.GetDirection()) * np.array(image.GetSpacing())
        affine[:3, 3] = np.array(image.GetOrigin())
    except InputError:
        raise
    except Exception as error:  # ITK's own, and a ValueError of an image that is not 3D
        last = str(error).strip().splitlines()[-1:] or ["nothing"]
        raise InputError(
            f"{name}: expected a complete volume that ITK reads, found: {last[0][:200]}"
        ) from error
    return data, np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def _check_complete(path: Path, size: int, name: Path) -> None:
    """Refuse MetaImage and Analyze with less than `size` bytes of voxels, of which ITK does not say so."""
    file, start = path.with_suffix(".IMG" if path.suffix.isupper() else ".img"), 0
    if path.suffix.lower() in (".mha", ".mhd"):
        fields: dict[str, str] = {}
        with path.open("rb") as stream:
            while "ElementDataFile" not in fields and (line := stream.readline(2**16)):
                key, _, value = line.decode(errors="replace").partition("=")
                fields[key.strip()] = value.strip()
            start = stream.tell()
        text = fields.get("BinaryData", "").lower() == "false"
        size = 0 if text else int(fields.get("CompressedDataSize", size))
        if (data := fields.get("ElementDataFile", "")).upper() == "LOCAL":
            file = path
        else:
            file, start = path.parent / data, 0
    readable = path.suffix.lower() in (".mha", ".mhd", ".hdr", ".img") and file.is_file()
    if readable and (found := file.stat().st_size - start) < size:
        raise InputError(f"{name}: expected {size} bytes of voxels, found {found}: the file is truncated")


def _checked_volume(path: Path, name: Path) -> MetaTensor:
    """`load_volume`, and the checks that make its values HU."""
    volume = load_volume(path, name)
    low, high = volume.min().item(), volume.max().item()
    if low > HIGHEST_AIR_HU or high < LOWEST_BONE_HU or high > HIGHEST_HU:
        raise InputError(
            f"{name}: expected Hounsfield units with air (below {HIGHEST_AIR_HU:.0f}) and bone (above "
            f"{LOWEST_BONE_HU:.0f}), found values from {low:g} to {high:g}: windowed, rescaled or no CT"
        )
    x, y, z = (slice(n // 3, n - n // 3) for n in volume.shape[1:])
    middle = volume[:, x, y, z].median().item()
    if middle > HIGHEST_TISSUE_HU:  # padding below it may pass for air
        raise InputError(
            f"{name}: expected Hounsfield units with brain near 40, found {middle:g} in the middle: "
            "as stored, without the rescale intercept, or no CT"
        )
    volume.clamp_(min=PADDING_HU)
    return volume


def _oriented(volume: MetaTensor, orientation: str | None) -> MetaTensor:
    if orientation is None:
        return volume
    oriented: Any = Orientation(axcodes=orientation, labels=None)(volume)
    return oriented


def _keep_gzipped(source: Path, target: Path) -> None:
    """Write a NIfTI file gzipped to `target`, in one step, as a result."""
    with (
        replacing(target) as partial,
        source.open("rb") as reader,
        gzip.GzipFile(partial, "wb", compresslevel=3, mtime=0) as writer,
    ):
        header = reader.read(348)
        writer.write(header[:148] + RESULT.ljust(80, b"\0") + header[228:])  # descrip
        shutil.copyfileobj(reader, writer)
