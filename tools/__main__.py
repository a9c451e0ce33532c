"""Command line: `python -m tools COMMAND [--option value ...]`; `COMMAND --help` explains one."""

from __future__ import annotations

import importlib
import sys

import fire

from tools.errors import InputError

COMMANDS = {
    "predict": ("tools.predict:predict_command", "segment scans: masks, millilitres, pictures, a verdict"),
    "datasets": ("tools.datasets:datasets", "public data sets: what they are, licence, how to get them"),
    "prepare": ("tools.datasets:prepare", "check a data set, and write its datalist with folds"),
    "compare": ("tools.metrics.compare:compare_files", "paired tests between two runs (per_case.csv)"),
    "phantom": ("tools.phantom:write_phantoms", "write a synthetic head CT data set"),
    "crossval": ("tools.crossval:crossval", "train and evaluate a bundle on every fold; compare variants"),
    "reproduce": ("tools.reproduce:reproduce", "a paper's tables on synthetic data, beside its own figures"),
    "weights": ("tools.weights:weights", "fetch and verify the weights of a bundle (large_files.yml)"),
    "export": ("tools.checkpoint:export_weights", "weights of a training as fp16 and a note, to be shipped"),
    "epochs": ("tools.epoch_choice:epochs", "the best checkpoint over the folds of a cross-validation"),
    "subgroups": ("tools.subgroups:subgroups", "scores by patient, hemorrhage type and age"),
    "verify": ("tools.verify:verify", "what MONAI's model zoo checks, on a bundle or a published zip"),
    "publish": ("tools.publish:publish", "a bundle as a zip that runs alone, for model zoos"),
    "score": ("tools.score:score", "score a folder of label maps against the truth"),
}


def main(arguments: list[str] | None = None) -> int:
    """Run one command; bad input prints its one line and gives exit code 2."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] not in COMMANDS:
        asked_for_help = not arguments or arguments[0] in ("-h", "--help", "help")
        lines = [__doc__, "commands:", *(f"  {name:12} {text}" for name, (_, text) in COMMANDS.items())]
        if not asked_for_help:
            lines = [f"error: expected one of {', '.join(COMMANDS)}, found {arguments[0]!r}"]
        print("\n".join(lines), file=sys.stdout if asked_for_help else sys.stderr)
        return 0 if asked_for_help else 2
    module, name = COMMANDS[arguments[0]][0].split(":")
    function = getattr(
        importlib.import_module(module), name
    )  # late, so that one command imports only its own
    try:
        fire.Fire(function, command=arguments[1:], name=f"python -m tools {arguments[0]}")
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
