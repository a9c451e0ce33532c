"""What `python -m monai.bundle run` may override: keys that the configuration has, with values of their kind.

MONAI adds any `--key` to a configuration, so that a misspelt `--dataset_dri /data` would train on whatever
`dataset_dir` is without it, and say nothing. Values are those of `tools.core.settings.TABLE`.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import pydoc
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import fire
from monai import bundle
from monai.bundle import ConfigComponent, ConfigParser
from monai.bundle.utils import DEFAULT_EXP_MGMT_SETTINGS

from tools.core.errors import InputError
from tools.core.settings import check_values

SEPARATOR = "::"  # MONAI takes # for the same


def refuse_unknown_overrides() -> None:
    """End `python -m monai.bundle run` if its configuration has no such key, or a value of another kind.

    A first step of a bundle's `initialize`, before data are read or made; in another program it does nothing.

    Raises:
        InputError: see `check_overrides` and `check_values`; also for a value None, which MONAI leaves out.
    """
    program = Path(sys.argv[0]).parts[-3:]
    if program != ("monai", "bundle", "__main__.py") or sys.argv[1:2] not in (["run"], ["run_workflow"]):
        return
    command = getattr(bundle, sys.argv[1])
    given = _given(command, sys.argv[2:])
    if given.get("workflow_name") or given.get("config_file") is None:
        return  # a workflow of somebody else, which knows its own arguments
    files = given["config_file"]
    parser = ConfigParser()
    parser.read_config(files)
    allowed = {
        name for taker in (command, bundle.ConfigWorkflow) for name in inspect.signature(taker).parameters
    } | _tracked(given.get("tracking"))
    overrides = {key: value for key, value in given.items() if key not in allowed}
    check_overrides(parser, overrides, files if isinstance(files, str) else " and ".join(map(str, files)))
    check_values(parser)


def check_overrides(parser: ConfigParser, overrides: Mapping[str, Any], where: str) -> None:
    """Override values of a configuration that has them, in order.

    A key may also be new below a component (`network_def#dropout`), if it names an argument of it.

    Args:
        parser: the configuration, before it is parsed; it is changed.
        overrides: values by key; nested keys are joined by `#` or `::`.
        where: what the message calls the configuration.

    Raises:
        InputError: the configuration has no such key; the message names the nearest one.
    """
    for key, value in overrides.items():
        parts = key.replace("#", SEPARATOR).split(SEPARATOR)
        if parts[0] != parser.meta_key:
            _check(parser, parts, key, where)
            parser[key] = value


def _check(parser: ConfigParser, parts: Sequence[str], key: str, where: str) -> None:
    """Go down the configuration along the parts of a key, as far as they exist."""
    for depth, part in enumerate(parts):
        above = SEPARATOR.join(parts[:depth])
        if SEPARATOR.join(parts[: depth + 1]) in parser:
            continue
        config, names = parser[above], None
        if isinstance(config, dict):
            names = list(config)
            if ConfigComponent.is_instantiable(config):
                arguments = _arguments(config)
                if depth == len(parts) - 1 and (arguments is None or part in arguments):
                    return
                names += arguments or []
        place = f"{above.replace(SEPARATOR, '#')}#" if above else ""
        near = [f"{place}{name}" for name in difflib.get_close_matches(part, names or [], 1)]
        if not (near or above):  # --window is input#window
            groups = {name: below for name, below in config.items() if isinstance(below, dict)}
            near = [f"{name}#{part}" for name, below in groups.items() if part in below]
        hint = f"; the nearest is {' or '.join(near)}" if near else ""
        raise InputError(f"{key}: expected a key of {where}, found none of this name{hint}")


def _arguments(config: Mapping[str, Any]) -> list[str] | None:
    """Names that a component takes, also those that its `**kwargs` hand on; None if any, or if unknown."""
    try:
        name = ConfigComponent(config={"_target_": config["_target_"]}, id="").resolve_module_name()
        found = pydoc.locate(name) if isinstance(name, str) else name
        classes = found.__mro__ if inspect.isclass(found) else ()
        takers = [vars(one)["__init__"] for one in classes if "__init__" in vars(one)] or [found]
        names = list(ConfigComponent.non_arg_keys)
        for taker in takers:
            parameters = inspect.signature(taker).parameters.values()
            names += [p.name for p in parameters if p.name != "self" and p.kind is not p.VAR_KEYWORD]
            if not any(p.kind is p.VAR_KEYWORD for p in parameters):
                return names
    except Exception:  # whatever an import may raise: the component's own error says more
        pass
    return None


def _given(command: Any, arguments: Sequence[str]) -> dict[str, Any]:
    """Arguments and overrides by name, of the command line and of the `args_file` that it may name."""
    signature, found = inspect.signature(command), {}

    @functools.wraps(command)
    def record(*args: Any, **kwargs: Any) -> None:
        found.update(signature.bind_partial(*args, **kwargs).arguments)

    fire.Fire(record, command=list(arguments))
    for name, parameter in signature.parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            found.update(_not_left_out(found.pop(name, {})))
    return bundle.update_kwargs(found.pop("args_file", None), **found)


def _not_left_out(overrides: dict[str, Any]) -> dict[str, Any]:
    """The same; `InputError` for None, which MONAI leaves out, and for null, which it takes for a word."""
    for key, value in overrides.items():
        if value is None or value == "null":
            raise InputError(f"{key}: expected a value, found {value}: write --{key} '$None' for none")
    return overrides


def _tracked(tracking: Any) -> set[str]:
    """Keys that experiment tracking adds to a configuration."""
    if tracking is None:
        return set()
    settings: Any = DEFAULT_EXP_MGMT_SETTINGS.get(tracking) if isinstance(tracking, str) else None
    return set((settings or ConfigParser.load_config_files(tracking)).get("configs", {}))
