"""Large files arrive whole and verified, or not at all."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import yaml

from headct.cli.main import main
from headct.zoo.weights import read_large_files, weights
from tools.core.errors import InputError

CONTENT = bytes(range(256)) * 5000


@pytest.fixture
def bundle(tmp_path) -> Path:
    """A bundle without its weights, which lie elsewhere."""
    folder = tmp_path / "bundle"
    (folder / "configs").mkdir(parents=True)
    (tmp_path / "server.pt").write_bytes(CONTENT)
    return folder


def list_file(bundle: Path, **changes: str) -> None:
    entry = {
        "path": "models/model.pt",
        "url": (bundle.parent / "server.pt").as_uri(),
        "hash_val": hashlib.sha256(CONTENT).hexdigest(),
        "hash_type": "sha256",
    }
    (bundle / "large_files.yml").write_text(yaml.safe_dump({"large_files": [{**entry, **changes}]}))


def left(bundle: Path) -> list[str]:
    return [path.name for path in bundle.rglob("*") if path.is_file() and path.name != "large_files.yml"]


@pytest.mark.parametrize("kind", ["md5", "sha1", "sha256"])
def test_fetches_and_verifies(bundle, capsys, kind):
    list_file(bundle, hash_type=kind, hash_val=hashlib.new(kind, CONTENT).hexdigest())
    weights(str(bundle))
    assert (bundle / "models" / "model.pt").read_bytes() == CONTENT
    assert left(bundle) == ["model.pt"]
    line = capsys.readouterr().out.splitlines()[-1]
    digest = hashlib.sha256(CONTENT).hexdigest()
    assert line == f"  models/model.pt  1.2 MB  sha256 {digest}  checksum as listed"


def test_what_is_there_is_not_fetched_again(bundle):
    list_file(bundle)
    weights(str(bundle))
    list_file(bundle, url="file:///no/such/file")
    weights(str(bundle))
    assert (bundle / "models" / "model.pt").read_bytes() == CONTENT


def test_a_wrong_download_leaves_nothing(bundle):
    list_file(bundle, hash_val="0" * 64)
    with pytest.raises(
        InputError, match=r"expected a file with sha256 0000.* found another; nothing was kept"
    ):
        weights(str(bundle))
    assert left(bundle) == []
    assert not list((bundle / "models").iterdir())


def test_a_damaged_file_is_reported_and_kept(bundle):
    list_file(bundle)
    weights(str(bundle))
    damaged = CONTENT[:-1]
    (bundle / "models" / "model.pt").write_bytes(damaged)
    with pytest.raises(InputError, match=r"model\.pt: expected sha256 .* remove it to fetch it again"):
        weights(str(bundle))
    assert (bundle / "models" / "model.pt").read_bytes() == damaged


def test_no_such_url(bundle):
    list_file(bundle, url=(bundle / "nothing.pt").as_uri())
    with pytest.raises(InputError, match=r"nothing\.pt: expected a file for .* can't be fetched"):
        weights(str(bundle))
    assert left(bundle) == []


def test_check_fetches_nothing(bundle):
    list_file(bundle)
    with pytest.raises(InputError, match=r"model\.pt: expected the file that is listed, found none"):
        weights(str(bundle), check=True)
    assert left(bundle) == []


def test_aliases_that_grow_without_end(bundle):
    """Each line names the one before nine times: 9 to the 40th, where the text is short."""
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 41)]
    (bundle / "large_files.yml").write_text("\n".join([*lines, "large_files: [*a40]"]))
    with pytest.raises(InputError, match=r"large_files\.yml: expected YAML without aliases, found some"):
        read_large_files(bundle)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"path": "../outside.pt"}, "expected a path within the bundle, found ../outside.pt"),
        ({"hash_val": ""}, "found no hash_val"),
        ({"hash_type": "crc32"}, "expected a hash_type of md5, sha1, sha256, sha512, found crc32"),
    ],
)
def test_bad_entries(bundle, changes, message):
    list_file(bundle, **changes)
    with pytest.raises(InputError, match=message):
        read_large_files(bundle)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- models/model.pt\n", "expected a list under the key large_files"),
        ("large_files: [", "expected YAML, found another text"),
    ],
)
def test_bad_list(bundle, text, message):
    (bundle / "large_files.yml").write_text(text)
    with pytest.raises(InputError, match=rf"large_files\.yml: {message}"):
        read_large_files(bundle)


def test_name_of_a_bundle_of_this_repository(tmp_path, monkeypatch, capsys):
    """Found from every folder, as by the other commands."""
    monkeypatch.chdir(tmp_path)
    weights("dunet", check=True)
    assert capsys.readouterr().out.startswith("dunet:")


def test_shipped_weights_are_reported(bundle, capsys):
    (bundle / "models").mkdir()
    (bundle / "models" / "model.pt").write_bytes(CONTENT)
    weights(str(bundle))
    assert f"sha256 {hashlib.sha256(CONTENT).hexdigest()}  shipped" in capsys.readouterr().out


def test_command_line(bundle, capsys):
    """Two bundles at once; an unknown one ends the command with one line."""
    other = bundle.parent / "other"
    (other / "configs").mkdir(parents=True)
    list_file(bundle)
    assert main(["bundle", "fetch-weights", str(bundle), str(other)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "other: no weights, train the bundle first"
    assert main(["bundle", "fetch-weights", str(bundle), "no_bundle"]) == 2
    assert capsys.readouterr().err.splitlines()[-1].endswith("found 'no_bundle'")
