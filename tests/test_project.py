"""What pyproject.toml, the locks, the continuous integration and the citation say of one another."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools.core.extras import EXTRAS

if sys.version_info >= (3, 11):
    import tomllib
else:  # pytest requires it there
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))


def requirements(*extras: str) -> list[Requirement]:
    """What pyproject.toml asks for, with these extras."""
    optional = PROJECT["optional-dependencies"]
    wanted = PROJECT["dependencies"] + [text for extra in extras for text in optional[extra]]
    return [Requirement(text) for text in wanted]


def test_messages_name_the_packages_of_each_extra():
    asked = {
        extra: tuple(Requirement(text).name for text in PROJECT["optional-dependencies"][extra])
        for extra in EXTRAS
    }
    assert asked == EXTRAS


def test_all_holds_every_extra():
    (everything,) = map(Requirement, PROJECT["optional-dependencies"]["all"])
    assert everything.extras == PROJECT["optional-dependencies"].keys() - {"all"}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)
def test_a_lock_pins_what_is_asked_for_and_within_its_bounds(lock):
    python = re.sub(r"py3(\d+)", r"3.\1", lock.stem) if lock.stem != "minimum" else "3.10"
    pinned = {}
    for line in lock.read_text().splitlines():
        if line and not line.startswith("#"):
            pin = Requirement(line)
            if pin.marker is None or pin.marker.evaluate({"python_full_version": f"{python}.0"}):
                pinned[canonicalize_name(pin.name)] = next(iter(pin.specifier)).version
    for need in requirements("dicom", "registration", "export", "pacs", "cluster", "dev", "bench"):
        assert need.specifier.contains(pinned[canonicalize_name(need.name)]), need
    if lock.stem == "minimum":
        assert pinned["numpy"] == "1.26.4"  # what MONAI Label needs


def test_continuous_integration_runs_what_ci_run_does_and_every_lock():
    runs = WORKFLOW["jobs"]["make"]["strategy"]["matrix"]["include"]
    tasks = {run["task"] for run in runs}
    assert tasks >= set(re.findall(r"^make ([\w-]+)", (ROOT / ".ci/run").read_text(), re.MULTILINE))
    assert tasks <= set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    tested = {"py" + run["python"].replace(".", "") for run in runs if run["task"] == "test"}
    assert {*tested, "minimum"} == {lock.stem for lock in LOCKS}
    for step in WORKFLOW["jobs"]["make"]["steps"]:
        assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", step.get("uses", f"a@{0:040}"))


def test_the_five_papers_are_cited():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert len(citation["references"]) == 5
    cards = "".join(card.read_text() for card in ROOT.glob("bundles/*/docs/README.md"))
    for paper in citation["references"]:
        assert {"type", "title", "authors", "year"} <= paper.keys()
        assert paper["authors"][0].get("family-names", "D-Unet") in cards
