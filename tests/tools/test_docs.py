"""The documentation can be built, and every link and anchor in it leads somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tools.__main__ import COMMANDS

ROOT = Path(__file__).resolve().parents[2]


def test_documentation_builds_without_a_broken_link(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    environment = {**os.environ, "DISABLE_MKDOCS_2_WARNING": "true"}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    page = (tmp_path / "reference" / "tools.sampling.html").read_text()
    assert "RoiPatchSampler" in page
    assert "patches_per_case" in page  # its arguments are there


def test_links_of_the_read_me_and_model_cards_lead_somewhere():
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("bundles/*/docs/README.md")]
    for page in pages:
        for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
            if not link.startswith(("http:", "https:")):
                assert (page.parent / link).exists(), f"{page}: {link}"


def test_every_command_is_named_in_the_documentation():
    text = "\n".join(path.read_text() for path in [ROOT / "README.md", *ROOT.rglob("docs/*.md")])
    for name in COMMANDS:
        assert f"tools {name}" in text or f"`{name}`" in text, name
