"""`headct predict`: a report for every scan at a path."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from headct.cli.command import Jobs, Progress, Scheduler, SchedulerFile, names, names_if
from headct.runs.default_bundle import DEFAULT_BUNDLE
from tools.core.errors import InputError

__all__ = ["predict"]


def predict(
    input: Annotated[
        str,
        typer.Argument(
            metavar="INPUT",
            help="A NIfTI file, a DICOM folder, a zip of either, or a folder of any of these; or a PACS, as "
            "dicomweb+https://host/dicom-web.",
        ),
    ],
    bundle: Annotated[
        str,
        typer.Option(
            help="Name or folder of a bundle; several, separated by commas, or all, give a consensus."
        ),
    ] = DEFAULT_BUNDLE,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("predictions"),
    weights: Annotated[
        str | None,
        typer.Option(
            help="Weights for each bundle, separated by commas: a file, or the name of one in its `models`; "
            "a pattern makes an ensemble."
        ),
    ] = None,
    series: Annotated[
        str | None, typer.Option(help="Number or UID of the DICOM series to take; default: the best one.")
    ] = None,
    allow_gaps: Annotated[
        bool, typer.Option("--allow-gaps", help="Take a DICOM series of which slices are missing.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Predict cases again that are there already.")
    ] = False,
    uncertainty: Annotated[
        bool, typer.Option(help="Predict each scan a second time, flipped, to see how far both agree.")
    ] = True,
    save_probabilities: Annotated[
        bool, typer.Option("--save-probabilities", help="Also write the probability as NIfTI.")
    ] = False,
    save_uncertainty: Annotated[
        bool, typer.Option("--save-uncertainty", help="Also write the uncertainty as NIfTI.")
    ] = False,
    save_ct: Annotated[
        bool, typer.Option("--save-ct", help="Also write the straightened scan of DICOM input as NIfTI.")
    ] = False,
    viewer: Annotated[
        bool, typer.Option("--viewer", help="Also write a page with the scan in 3D; it opens offline.")
    ] = False,
    keep_identifiers: Annotated[
        bool, typer.Option("--keep-identifiers", help="Let the report and the DICOM SEG name the patient.")
    ] = False,
    min_ml: Annotated[
        float, typer.Option(help="Smaller lesions, in mL, are not counted as hemorrhage.")
    ] = 0.1,
    device: Annotated[str | None, typer.Option(help="Where networks run, such as cpu or cuda:1.")] = None,
    jobs: Jobs = 1,
    scheduler: Scheduler = None,
    scheduler_file: SchedulerFile = None,
    prior: Annotated[
        Path | None,
        typer.Option(
            help="Results of an earlier scan to compare volumes with: a case's folder or report; of several "
            "scans, a folder of results with the same names."
        ),
    ] = None,
    study: Annotated[str | None, typer.Option(help="Of a PACS: StudyInstanceUID.")] = None,
    patient_id: Annotated[str | None, typer.Option(help="Of a PACS: the patient's number.")] = None,
    date_range: Annotated[
        str | None, typer.Option(help="Of a PACS: dates of the study, YYYYMMDD-YYYYMMDD; an end may be open.")
    ] = None,
    modality: Annotated[str, typer.Option(help="Of a PACS: modality of the series.")] = "CT",
    all_studies: Annotated[
        bool, typer.Option("--all-studies", help="Of a PACS: all studies that fit; default: exactly one.")
    ] = False,
    send: Annotated[
        bool,
        typer.Option(
            "--send", help="To a PACS: store DICOM SEG, structured report and picture beside the images."
        ),
    ] = False,
    progress: Progress = True,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of what goes wrong.")] = False,
) -> None:
    """Segment scans: masks, millilitres, a report of each.

    Research use only. Cases that are there already are skipped; one that fails does not stop the others.
    """
    from tqdm import tqdm

    from headct.cohort.workers import Workers
    from headct.pacs.address import is_address
    from headct.predict import PredictOptions
    from headct.predict import predict as run

    def say(line: str) -> None:
        tqdm.write(line, file=sys.stdout)

    options = PredictOptions(
        weights=names_if(weights), series=series, allow_gaps=allow_gaps, uncertainty=uncertainty,
        min_ml=min_ml, device=device, prior=prior, save_probabilities=save_probabilities,
        save_uncertainty=save_uncertainty, save_ct=save_ct, viewer=viewer, keep_identifiers=keep_identifiers,
        overwrite=overwrite, progress=progress, debug=debug,
    )  # fmt: skip
    try:
        workers = Workers(jobs, scheduler, scheduler_file)
        if is_address(input):
            from headct.pacs import StudyQuery, predict_studies

            query = StudyQuery(
                study=study, patient_id=patient_id, date_range=date_range, modality=modality,
                all_studies=all_studies,
            )  # fmt: skip
            result = predict_studies(
                input, query, names(bundle), out, options, send=send, say=say, jobs=workers
            )
        else:
            _no_pacs(
                study=study, patient_id=patient_id, date_range=date_range, modality=modality != "CT",
                all_studies=all_studies, send=send,
            )  # fmt: skip
            result = run(Path(input), names(bundle), out, options, say=say, jobs=workers)
    except InputError as error:
        if debug:
            raise RuntimeError("see the error above") from error
        raise
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt("finished cases are kept, temporary files removed") from error
    for case in result.cases:
        if not case.skipped:
            print(case.folder / "report.html")
    if len(result.cases) + len(result.failures) > 1:
        print(result.out / "index.html")
    if result.failures:
        cases = len(result.failures) + len(result.cases)
        print(f"{len(result.failures)} of {cases} failed:", file=sys.stderr)
        for failure in result.failures:
            print(f"error: {failure.message}", file=sys.stderr)
        raise typer.Exit(result.exit_code)


def _no_pacs(**options: object) -> None:
    """Refuse options that mean nothing without a PACS."""
    for name, value in options.items():
        if value:
            raise InputError(
                f"--{name.replace('_', '-')}: expected a PACS as INPUT, such as "
                "dicomweb+https://host/dicom-web, found a path"
            )
