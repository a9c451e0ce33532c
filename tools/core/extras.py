"""Packages that only some tasks need: where one is missing, a line says what to install."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tools.core.errors import InputError

#: the optional dependencies of pyproject.toml that our code imports; training from NIfTI needs none
EXTRAS = {
    "dicom": ("pydicom", "highdicom", "dcm2niix"),
    "registration": ("itk",),
    "export": ("onnx", "onnxruntime", "onnxscript"),
    "pacs": ("dicomweb-client",),
    "cluster": ("dask", "distributed", "dask-jobqueue"),
}


@contextmanager
def extra_packages(task: str) -> Iterator[None]:
    """Around the imports of packages that not everybody has installed.

    Args:
        task: what cannot be done without them, for the message: `with extra_packages("reading DICOM"):`.

    Raises:
        InputError: a package of `EXTRAS` is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0].replace("_", "-")
        for extra, packages in EXTRAS.items():
            if package in packages:
                raise InputError(
                    f"{task} needs the package {package}, which is not installed: "
                    f"pip install {' '.join(packages)} (these are the extra [{extra}])"
                ) from error
        raise
