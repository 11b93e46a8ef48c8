"""The bill of materials."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from inferstack.cli import app, output
from inferstack.errors import UserError
from inferstack.supply import locks, modules
from inferstack.supply.sbom import make_bom, make_release
from inferstack.versions import load

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def bom() -> dict[str, Any]:
    return make_bom("inferstack", "1", locks.read(ROOT / "requirements"), modules.read(ROOT / "tools"), load())


def test_bom_lists_every_component_once(bom: dict[str, Any]) -> None:
    references = [part["bom-ref"] for part in bom["components"]]
    assert len(references) == len(set(references))
    kinds = {reference.partition("/")[0] for reference in references}
    assert kinds == {"pkg:pypi", "pkg:golang", "pkg:helm", "pkg:oci", "pkg:generic"}
    names = {part["name"] for part in bom["components"]}
    packages = {entry.name for entries in locks.read(ROOT / "requirements").values() for entry in entries}
    built = {entry.path for entries in modules.read(ROOT / "tools").values() for entry in entries}
    charts = {chart["chart"] for chart in load()["charts"].values()}
    assert packages | built | charts <= names


def test_bom_is_reproducible(bom: dict[str, Any]) -> None:
    again = make_bom("inferstack", "1", locks.read(ROOT / "requirements"), modules.read(ROOT / "tools"), load())
    assert json.dumps(bom) == json.dumps(again)
    assert "timestamp" not in bom["metadata"]
    assert re.fullmatch(r"urn:uuid:[0-9a-f-]{36}", bom["serialNumber"])
    other = make_bom("inferstack", "2", {}, {}, load())
    assert other["serialNumber"] != bom["serialNumber"]


def test_packages_have_the_hashes_of_their_lock(bom: dict[str, Any]) -> None:
    pinned = {
        (package.name, package.version): package
        for locked in locks.read(ROOT / "requirements").values()
        for package in locked
    }
    parts = [part for part in bom["components"] if part["purl"].startswith("pkg:pypi/")]
    assert len(parts) == len(pinned)
    for part in parts:
        (files,) = part["externalReferences"]
        # One package can be locked with more files in one lock than in another; it is the same version.
        assert files["hashes"]
        assert {item["alg"] for item in files["hashes"]} == {"SHA-256"}
    assert not re.search(r"https?://[^\"]*(pypi|pythonhosted)", json.dumps(bom))


def test_bom_names_users_of_component(bom: dict[str, Any]) -> None:
    (part,) = [part for part in bom["components"] if part["name"] == "typer"]
    users = {entry["value"] for entry in part["properties"] if entry["name"] == "inferstack:used-by"}
    assert users == {"requirements/run.lock", "requirements/test.lock"}


def test_bom_image_has_digest_or_reason(bom: dict[str, Any]) -> None:
    parts = [part for part in bom["components"] if part["type"] == "container"]
    for part in parts:
        reasons = [entry for entry in part["properties"] if entry["name"] == "inferstack:no-digest"]
        assert ("@sha256%3A" in part["purl"]) == (not reasons)
    assert len(parts) == len(load()["images"])


def test_release_has_a_file_for_each_platform() -> None:
    release = {
        "url": "https://x.example/{version}/t-{os}-{arch}.tar.gz",
        "arch": {"amd64": "x64"},
        "provides": ["t"],
        "checksums": {"linux/amd64": "sha512:" + "a" * 128, "darwin/arm64": "sha256:" + "b" * 64},
    }
    first, second = make_release("t", "v1", release)["externalReferences"]
    assert first["url"] == "https://x.example/v1/t-linux-x64.tar.gz"
    assert first["hashes"] == [{"alg": "SHA-512", "content": "a" * 128}]
    assert second["url"].endswith("t-darwin-arm64.tar.gz")


def test_sbom_command_writes_cyclonedx(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["sbom", "--file", str(tmp_path / "bom.json")])
    assert done.exit_code == 0
    content = json.loads((tmp_path / "bom.json").read_text())
    assert (content["bomFormat"], content["specVersion"]) == ("CycloneDX", "1.6")


def test_unwritable_file_is_reported_before_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = CliRunner().invoke(app, ["sbom", "--file", str(tmp_path / "file" / "bom.json")])
    assert isinstance(done.exception, UserError)
    assert "bom.json: cannot be written" in str(done.exception)


def test_existing_file_is_kept_until_replaced(tmp_path: Path) -> None:
    output.writable(tmp_path / "a" / "new")
    assert list((tmp_path / "a").iterdir()) == []
    (tmp_path / "old").write_text("x")
    output.writable(tmp_path / "old")
    assert (tmp_path / "old").read_text() == "x"


def test_sbom_command_prints_list() -> None:
    done = CliRunner().invoke(app, ["sbom", "-o", "yaml"])
    keda = {"kind": "helm", "name": "keda", "version": load()["charts"]["keda"]["version"], "used by": "add-on keda"}
    assert keda in yaml.safe_load(done.stdout)
    assert json.loads(CliRunner().invoke(app, ["sbom"]).stdout)["bomFormat"] == "CycloneDX"
