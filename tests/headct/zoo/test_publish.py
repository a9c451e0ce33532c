"""What is published is whole, the same each time, and refused when something is wrong with it."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
import yaml
from monai.bundle import ConfigParser

from headct.zoo.archive import zip_bytes
from headct.zoo.metadata_schema import schema_faults
from headct.zoo.needed_modules import needed_modules
from headct.zoo.publish import publish
from headct.zoo.verify import check_bundle
from tools.core.errors import InputError
from tools.core.lazy import is_for_types

ROOT = Path(__file__).resolve().parents[3]
NAMES = sorted(path.name for path in (ROOT / "bundles").iterdir())
PREFIX = "hemorrhage_ct_segmentation_"


@pytest.mark.parametrize("name", NAMES)
def test_zip_is_the_same_byte_for_byte(repository, published, schema, tmp_path, name):
    for file in (repository / "bundles" / name).rglob("*.yaml"):
        file.touch()
    again = publish(str(repository / "bundles" / name), out=str(tmp_path / "later"), schema=schema)
    assert again.read_bytes() == published[name].read_bytes()


def test_order_of_the_files_changes_nothing():
    assert zip_bytes({"b": b"2", "a": b"1"}) == zip_bytes({"a": b"1", "b": b"2"})


@pytest.mark.parametrize("name", NAMES)
def test_what_lies_in_it(repository, published, name):
    bundle, archive, full = repository / "bundles" / name, published[name], PREFIX + name
    version = json.loads((bundle / "configs" / "metadata.json").read_text())["version"]
    assert archive.name == f"{full}_v{version}.zip"
    with zipfile.ZipFile(archive) as content:
        names = content.namelist()
    assert {entry.split("/")[0] for entry in names} == {full}
    inside = {entry[len(full) + 1 :] for entry in names}
    assert {"configs/train.json", "configs/train.yaml", "configs/inference.json"} <= inside
    assert {"LICENSE", "configs/metadata.json", "models/model.pt", "scripts/__init__.py"} <= inside
    assert {"tools/__init__.py", "tools/sampling/sampler.py", "tools/phantom/writer.py"} <= inside
    assert not {"headct/runs/crossval.py", "headct/cli/main.py", "headct/datasets/prepare.py"} & inside
    assert not [entry for entry in names if "__pycache__" in entry]
    configs = archive.parent / full / "configs"
    overlays = {  # the network of its weights, where that is not the default
        "dunet": ["variants/types.yaml", "variants/weights.yaml"],
        "gan_unet2d": ["variants/unet10.yaml", "variants/types.yaml", "variants/weights.yaml"],
        "se_unet3d": ["variants/types.yaml", "variants/weights.yaml"],
        "unetpp_pretrained": ["variants/types.yaml"],
    }.get(name, [])
    train = ConfigParser.load_config_files([configs / file for file in ("train.yaml", *overlays)])
    assert ConfigParser.load_config_file(configs / "train.json") == json.loads(json.dumps(train))
    inference = ConfigParser.load_config_file(configs / "inference.json")
    assert inference["trained"].pop("otherwise") == json.loads((bundle / "models/model.json").read_text())
    assert inference == ConfigParser.load_config_file(configs / "inference.yaml")
    card = (archive.parent / "huggingface" / full / "README.md").read_text()
    header = yaml.safe_load(card.split("---")[1])
    assert header["library_name"] == "monai"
    assert card.endswith((bundle / "docs" / "README.md").read_text())


def test_list_of_the_zoo_names_every_zip(published):
    (out,) = {archive.parent for archive in published.values()}
    assert json.loads((out / "model_info.json").read_text()) == {
        archive.stem: {
            "checksum": hashlib.sha1(archive.read_bytes()).hexdigest(),
            "source": archive.name,
        }
        for archive in published.values()
    }


@pytest.mark.parametrize("name", NAMES)
def test_every_import_of_the_published_tools_is_there(published, name):
    """Independent of how the modules were found: each import statement below `tools` resolves there."""
    folder = published[name].parent / (PREFIX + name)
    for script in folder.rglob("*.py"):
        statements = [node for node in ast.parse(script.read_text()).body if not is_for_types(node)]
        for node in (inner for statement in statements for inner in ast.walk(statement)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tools"):
                path = folder / node.module.replace(".", "/")
                found = path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()
                assert found, (script, node.module)


def test_module_that_is_none_is_named(tmp_path):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "train.yaml").write_text("loss: {_target_: tools.lozz.Loss} # tools.comment\n")
    with pytest.raises(InputError, match=r"train\.yaml.*tools\.lozz"):
        needed_modules(tmp_path, ROOT / "tools")


def test_files_are_utf8_wherever_they_are_read(tmp_path):
    """By a Python whose locale has ASCII alone."""
    for path, text in {
        "configs/metadata.json": '{"task": "H\u00e4matom", "data_source": "own", "eval_metrics": {"d": 1}}',
        "configs/train.yaml": "a: 1 # 0.5 \u00b1 0.1\n",
        "docs/README.md": "0.5 \u00b1 0.1\n",
    }.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text, "utf-8")
    code = f"""
from pathlib import Path
from headct.zoo.huggingface import huggingface_readme
from headct.zoo.needed_modules import needed_modules
needed_modules(Path({str(tmp_path)!r}), Path({str(ROOT / "tools")!r}))
print(ascii(huggingface_readme(Path({str(tmp_path)!r}), "x")[-10:]))
"""
    ascii_alone = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    run = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **ascii_alone}, capture_output=True, text=True
    )
    assert ascii("0.5 \u00b1 0.1\n") in run.stdout, run.stderr


def test_only_what_is_named_is_needed(tmp_path):
    """Imports for type checkers do not count, a name of a package's face means the module behind it."""
    for path, text in {
        "bundle/scripts/loss.py": "def loss():\n    from tools.room import best\n",
        "bundle/configs/train.yaml": "a: {_target_: tools.other.deep.Thing}\n",
        "tools/__init__.py": "",
        "tools/room/__init__.py": (
            "if TYPE_CHECKING:\n    from tools.room.one import best\n    from tools.room.two import worst\n"
        ),
        "tools/room/one.py": "import tools.room.three\nbest = 1\n",
        "tools/room/two.py": "worst = 0\n",
        "tools/room/three.py": "if TYPE_CHECKING:\n    from tools.room.two import worst\n",
        "tools/other/__init__.py": "from tools.other.plain import name\n",
        "tools/other/plain.py": "name = 1\n",
        "tools/other/deep.py": "from tools.other import name\nclass Thing: ...\n",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    needed = {path.as_posix() for path in needed_modules(tmp_path / "bundle", tmp_path / "tools")}
    faces = {"__init__.py", "room/__init__.py", "other/__init__.py"}
    assert needed == faces | {"room/one.py", "room/three.py", "other/deep.py", "other/plain.py"}


def change(path: Path, *gone: str, **values: object) -> None:
    metadata = {**json.loads(path.read_text()), **values}
    path.write_text(json.dumps({key: value for key, value in metadata.items() if key not in gone}))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (lambda b: change(b / "configs/metadata.json", version="9.9.9"), "version 9.9.9 in the changelog"),
        (
            lambda b: change(b / "configs/metadata.json", eval_metrics={"mean_dice": 0.123}),
            "mean_dice = 0.123",
        ),
        (
            lambda b: change(b / "configs/metadata.json", "network_data_format"),
            "metadata.json: metadata: 'network_data_format' is a required property",
        ),
        (lambda b: change(b / "configs/metadata.json", "schema"), "metadata.json: expected the key schema"),
        (lambda b: (b / "configs/metadata.json").write_text("{"), "metadata.json: expected JSON"),
        (lambda b: (b / "models/model.pt").unlink(), "models/model.pt, or its entry"),
        (
            lambda b: torch.save({"a": torch.ones(1)}, b / "models/model.pt"),
            r"configs/train\.json: .*which 0 fit; configs/inference\.json: .*which 0 fit",
        ),
        (
            lambda b: (
                (b / "models/model.pt").unlink(),
                (b / "large_files.yml").write_text(
                    "large_files: [{path: models/model.pt, url: https://example.org/a, hash_val: '0'}]"
                ),
            ),
            "expected models/model.pt, to see whether the networks take it",
        ),
        (lambda b: (b / "models/model.ts").write_bytes(bytes(26_000_000)), r"model.ts \(26.0 MB > 25 MB\)"),
        (lambda b: (b / "docs/README.md").write_text("see /home/anna/scans"), "no path of one machine"),
        (lambda b: (b / "LICENSE").unlink(), "the file LICENSE"),
        (lambda b: (b / "scripts/new.py").write_text("def (:\n"), r"new\.py, line 1: expected Python, found"),
        (lambda b: (b / "scripts/new.py").write_bytes(b"a = '\xff'\n"), r"new\.py.*: expected Python, found"),
        (
            lambda b: (b / "large_files.yml").write_text("- models/model.ts"),
            "expected a list under the key large_files, found NoneType",
        ),
        (
            lambda b: (b / "large_files.yml").write_text(
                "large_files: [{path: models/model.ts, url: https://example.org/model.ts}]"
            ),
            "expected path, url and hash_val, found no hash_val",
        ),
        (lambda b: (b / "configs/new.yaml").touch(), "all changes to be committed"),
    ],
)
def test_refused(bundle, schema, fault, message, tmp_path):
    fault(bundle)
    if "committed" not in message:
        for step in (
            ["add", "-A"],
            ["-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "broken"],
        ):
            subprocess.run(["git", "-C", str(bundle), *step], check=True)
    with pytest.raises(InputError, match=message):
        publish(str(bundle), out=str(tmp_path / "dist"), schema=schema)
    assert not (tmp_path / "dist").exists()


def test_a_broken_list_of_the_zoo_is_found_first(repository, schema, tmp_path):
    (tmp_path / "model_info.json").write_text("[1, 2")
    with pytest.raises(
        InputError, match=r"model_info\.json: expected the list of a model zoo \(JSON\), found"
    ):
        publish(str(repository / "bundles" / "se_unet3d"), out=tmp_path, schema=schema)
    assert [path.name for path in tmp_path.iterdir()] == ["model_info.json"]


@pytest.mark.parametrize("text", ["{", "[1]", '{"type": "nothing"}', '{"$ref": "#/nowhere"}'])
def test_a_broken_schema(tmp_path, text):
    (tmp_path / "schema.json").write_text(text)
    with pytest.raises(InputError, match=r"schema\.json: expected a JSON schema, found"):
        schema_faults({"schema": "https://example.org"}, tmp_path / "schema.json")


def test_metadata_that_nobody_can_check_are_refused(repository, tmp_path, monkeypatch):
    """No copy of the schema, and no network."""

    def no_network(*_: object, **__: object) -> None:
        raise URLError("no network")

    monkeypatch.setenv("HEADCT_REAL_DATA", str(tmp_path))
    monkeypatch.setattr("headct.zoo.metadata_schema.download_url", no_network)
    with pytest.raises(InputError, match=r"expected the schema of metadata\.json.*no network"):
        publish(str(repository / "bundles" / "se_unet3d"), out=str(tmp_path / "dist"))
    assert not (tmp_path / "dist").exists()


def test_verify_finds_no_fault_in_it(published, schema):
    """Every line of the zip, run with the `tools` that it brings."""
    results = list(check_bundle(str(published["se_unet3d"]), schema))
    assert len(results) == 20
    other = [result for result in results if result.status != "pass"]
    # where other versions of the packages are installed, it is not known whether the pinned ones exist
    assert [result for result in other if (result.name, result.status) != ("packages exist", "skip")] == []


def test_another_version_is_refused(repository, tmp_path):
    with pytest.raises(InputError, match=r"expected version 7\.0\.0"):
        publish(str(repository / "bundles" / "se_unet3d"), version="7.0.0", out=str(tmp_path))
