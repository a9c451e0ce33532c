"""`headct bundle`: bundles handed on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headct.cli.command import Keys, keys

__all__ = ["export", "fetch_weights", "publish", "ship_weights", "verify"]

Schema = Annotated[
    Path | None,
    typer.Option(
        help="File of the metadata's JSON schema; default: the copy in $HEADCT_REAL_DATA/schema, if any."
    ),
]


def publish(
    bundle: Annotated[str, typer.Argument(help="Name of a folder in `bundles`, or path of a bundle.")],
    version: Annotated[
        str | None, typer.Option(help="What it shall be; must be what the bundle's metadata say.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("dist"),
    url: Annotated[str, typer.Option(help="Where the zip will lie, for `model_info.json`.")] = "",
    schema: Schema = None,
) -> None:
    """Write a bundle as a zip that runs alone.

    For model zoos; also as a folder, and in the form of Hugging Face.
    """
    from headct.zoo.publish import publish as run

    run(bundle, version, out, url, schema)


def verify(
    bundle: Annotated[str, typer.Argument(help="Folder, zip, or name of a folder in `bundles`.")],
    schema: Schema = None,
    online: Annotated[
        bool,
        typer.Option("--online", help="Fetch the schema, and ask pip whether the pinned packages exist."),
    ] = False,
    settings: Keys = None,
) -> None:
    """Check what MONAI's model zoo checks.

    On any bundle. It runs the bundle's code: verify only what you would run.
    """
    from headct.zoo.verify import verify as run

    run(bundle, schema, online, keys(settings))


def fetch_weights(
    bundles: Annotated[list[str], typer.Argument(help="Folders of bundles, or names in `bundles`.")],
    check: Annotated[bool, typer.Option("--check", help="Only verify, fetch nothing.")] = False,
) -> None:
    """Fetch weights, and verify them.

    Those that the `large_files.yml` of a bundle lists.
    """
    from headct.zoo.weights import weights

    weights(*bundles, check=check)


def ship_weights(
    source: Annotated[Path, typer.Argument(help="`model.pt` of a training, with `model.json` beside it.")],
    out: Annotated[Path, typer.Argument(help="File to write; a note is written beside it.")],
    note: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="For the note, such as data=synthetic; may be repeated."),
    ] = None,
) -> None:
    """Write weights in half precision, to ship.

    Beside them stands a note of what they were trained with, which inference reads.
    """
    from headct.zoo.ship_weights import ship_weights as run

    run(source, out, keys(note, "--note"))


def export(
    bundle: Annotated[str, typer.Argument(help="Name of a folder in `bundles`, or path of a bundle.")],
    out: Annotated[Path, typer.Argument(help="File to write: .onnx for ONNX, .pt2 for torch.export.")],
    weights: Annotated[
        Path | None, typer.Option(help="File of weights; default: models/model.pt of the bundle.")
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="X,Y[,Z]",
            help="Size of the windows or slices; default: what the bundle's inference gives to its network.",
        ),
    ] = None,
    batch: Annotated[
        int | None, typer.Option(help="Windows or slices at a time; default: any number.")
    ] = None,
) -> None:
    """Write a network as ONNX or .pt2.

    With its weights, and compared with PyTorch.
    """
    from headct.zoo.export import export as run

    run(bundle, out, weights, _size(size), batch)


def _size(text: str | None) -> tuple[int, ...] | None:
    from tools.core.errors import InputError

    if text is None:
        return None
    parts = text.replace("x", ",").split(",")
    if not all(part.strip().isdigit() and int(part) > 0 for part in parts):
        raise InputError(f"--size: expected whole numbers separated by commas, found {text!r}")
    return tuple(map(int, parts))
