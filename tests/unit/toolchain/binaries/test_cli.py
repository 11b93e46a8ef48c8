"""`inferstack tools` and `inferstack doctor`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from inferstack import cli
from inferstack.toolchain import crds
from inferstack.toolchain.binaries.catalogue import groups

NAMES = [binary for group in groups() for binary in group.binaries]
CRDS = [f"crds/{addon}" for addon in crds.sources()]


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    """Return the command, on a machine without any tool."""
    monkeypatch.setenv("INFERSTACK_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    return cli.app


def keep(cache: Path, name: str) -> Path:
    """Put an executable into the cache."""
    version = next(group.version for group in groups() if name in group.binaries)
    path = cache / "tools" / name / version / name
    path.parent.mkdir(parents=True)
    path.touch(0o755)
    return path


def keep_crds() -> None:
    """Put a folder for the CRDs of each add-on into the cache."""
    for source in crds.sources().values():
        crds.place_of(source).mkdir(parents=True)


def test_list_and_path_show_cached_and_missing_tools(app: typer.Typer, cache: Path) -> None:
    path = keep(cache, "etcd")
    kept = crds.place_of(crds.sources()["keda"])
    kept.mkdir(parents=True)
    rows = {row["name"]: row for row in json.loads(CliRunner().invoke(app, ["tools", "list", "-o", "json"]).stdout)}
    assert list(rows) == [*NAMES, *CRDS]
    available = {"etcd": "cache", "crds/keda": "module"}
    assert {name: row["from"] for name, row in rows.items()} == dict.fromkeys(rows, "missing") | available
    assert rows["crds/keda"]["path"] == str(kept)
    assert CliRunner().invoke(app, ["tools", "path", "etcd"]).stdout == f"{path}\n"
    absent = CliRunner().invoke(app, ["tools", "path", "helm"])
    assert (absent.exit_code, absent.stdout) == (1, "")


def test_clean_removes_what_is_kept(app: typer.Typer, cache: Path) -> None:
    keep(cache, "etcd")
    keep_crds()
    assert CliRunner().invoke(app, ["tools", "clean"]).exit_code == 0
    assert list(cache.iterdir()) == []


def test_doctor_exits_1_and_names_missing_tools(app: typer.Typer, cache: Path, tmp_path: Path) -> None:
    for name in NAMES[1:]:
        keep(cache, name)
    keep_crds()
    result = CliRunner().invoke(app, ["doctor", "-o", "json"])
    rows = {row["check"]: row for row in json.loads(result.stdout)}
    assert result.exit_code == 1
    assert [name for name, row in rows.items() if row["state"] == "missing"] == ["go", NAMES[0]]
    assert rows["go"]["detail"].startswith("Go is missing, and etcd ")
    assert rows["rehearsal"]["state"] == "note"
    assert {name for name in rows if name.startswith("pulumi plugin")} == {
        "pulumi plugin: language python",
        "pulumi plugin: resource kubernetes",
    }
    assert not (tmp_path / "state").exists(), "a doctor changes nothing"


def test_doctor_exits_0_without_go_if_tools_are_cached(app: typer.Typer, cache: Path) -> None:
    for name in NAMES:
        keep(cache, name)
    keep_crds()
    result = CliRunner().invoke(app, ["doctor", "-o", "json"])
    rows = {row["check"]: row["state"] for row in json.loads(result.stdout)}
    assert (result.exit_code, rows["go"], {rows[name] for name in CRDS}) == (0, "note", {"ok"})


def test_doctor_asks_for_go_where_all_tools_are_kept_and_crds_are_not(app: typer.Typer, cache: Path) -> None:
    for name in NAMES:
        keep(cache, name)
    result = CliRunner().invoke(app, ["doctor", "-o", "json"])
    rows = {row["check"]: row for row in json.loads(result.stdout)}
    assert result.exit_code == 1
    assert [name for name, row in rows.items() if row["state"] == "missing"] == ["go", *CRDS]
    assert "the CRDs of istio, keda" in rows["go"]["detail"]
