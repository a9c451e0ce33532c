"""`python -m tools predict`: the arguments of `predict`, a line per case, and an exit code."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from fire.decorators import SetParseFns

from tools.errors import InputError

__all__ = ["predict_command"]


@SetParseFns(str, input=str, bundle=str, out=str, weights=str, series=str, device=str)
def predict_command(
    input: str,
    bundle: str = "se_unet3d",
    out: str = "predictions",
    weights: str | None = None,
    series: str | None = None,
    overwrite: bool = False,
    uncertainty: bool = True,
    save_probabilities: bool = False,
    save_uncertainty: bool = False,
    save_ct: bool = False,
    keep_identifiers: bool = False,
    min_ml: float = 0.1,
    device: str | None = None,
    progress: bool = True,
    debug: bool = False,
) -> None:
    """Segment scans and write masks, a report and a verdict for each. Research use only.

    Args:
        input: a NIfTI file, a DICOM folder, a zip of either, or a folder of any of these.
        bundle: name or folder of a bundle; several separated by commas give a consensus as well.
        out: folder for the results.
        weights: file of weights for each bundle, separated by commas; a pattern makes an ensemble.
        series: number or UID of the DICOM series to take, where the automatic choice is not the wanted one.
        overwrite: predict cases again that are there already.
        uncertainty: predict each scan a second time, flipped, to see how far both agree.
        save_probabilities: also write the probability as NIfTI.
        save_uncertainty: also write the uncertainty as NIfTI.
        save_ct: also write the straightened scan of DICOM input as NIfTI.
        keep_identifiers: let the report and the DICOM SEG name the patient.
        min_ml: smaller lesions are not counted as hemorrhage.
        device: where networks run, such as cpu or cuda:1.
        progress: show bars over cases and windows.
        debug: show the traceback of what goes wrong.
    """
    from tools.predict.run import predict

    try:
        with _terminable():
            result = predict(
                input, _several(bundle), out, weights=None if weights is None else _several(weights),
                series=series, overwrite=overwrite, uncertainty=uncertainty,
                save_probabilities=save_probabilities, save_uncertainty=save_uncertainty, save_ct=save_ct,
                keep_identifiers=keep_identifiers, min_ml=min_ml, device=device, progress=progress,
                debug=debug, say=_say,
            )  # fmt: skip
    except InputError:
        if debug:
            raise RuntimeError("see the error above") from sys.exc_info()[1]
        raise
    except KeyboardInterrupt:
        print("interrupted: finished cases are kept, temporary files removed", file=sys.stderr)
        sys.exit(130)
    for case in result.cases:
        if not case.skipped:
            print(f"{case.folder / 'report.html'}")
    if len(result.cases) + len(result.failures) > 1:
        print(f"{result.out / 'index.html'}")
    if result.failures:
        print(
            f"{len(result.failures)} of {len(result.failures) + len(result.cases)} failed:", file=sys.stderr
        )
        for failure in result.failures:
            print(f"error: {failure.message}", file=sys.stderr)
        sys.exit(result.exit_code)


def _several(text: str) -> list[str]:
    return [part.strip() for part in text.strip("()[]").split(",") if part.strip()]


def _say(line: str) -> None:
    from tqdm import tqdm

    tqdm.write(line, file=sys.stdout)


@contextmanager
def _terminable() -> Iterator[None]:
    """Let the signal by which systems end programs clean up as Ctrl-C does."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
