"""The documentation can be built, and every link and anchor in it leads somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from typer.main import get_command

from headct.cli.main import app

ROOT = Path(__file__).resolve().parents[1]


def test_documentation_builds_without_a_broken_link(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    environment = {**os.environ, "DISABLE_MKDOCS_2_WARNING": "true"}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    page = (tmp_path / "reference" / "tools.sampling.sampler.html").read_text()
    assert "RoiPatchSampler" in page
    assert "patches_per_case" in page  # its arguments are there


def test_links_of_the_read_me_and_model_cards_lead_somewhere():
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("bundles/*/docs/README.md")]
    for page in pages:
        for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
            if not link.startswith(("http:", "https:")):
                assert (page.parent / link).exists(), f"{page}: {link}"


TEXT = "\n".join(path.read_text() for path in [ROOT / "README.md", *sorted(ROOT.rglob("docs/*.md"))])


def test_every_command_is_named_in_the_documentation():
    for name, command in get_command(app).commands.items():
        for words in [f"{name} {sub}" for sub in getattr(command, "commands", {})] or [name]:
            assert f"headct {words}" in TEXT, words


def test_every_option_in_the_documentation_exists():
    """In the command lines of README and docs; `[--map FILE]` there says what may follow."""
    lines = re.findall(r"(?:^|`)headct ([a-z][^`#|\n]*)", TEXT, flags=re.M)
    assert len(lines) > 30
    known = get_command(app)
    for line in lines:
        words, command = re.sub(r"[\[\]]", " ", line).replace("PAPER", "dunet").split(), known
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]
        options = {name for p in command.params for name in (*p.opts, *p.secondary_opts)} | {"--help"}
        for word in words:
            if word.startswith("--") and command is not known:
                assert word.split("=")[0] in options, f"headct {line}"
