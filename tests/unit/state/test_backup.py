"""Backups as files: their names, modes and manifests, and what damage is told."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest

from inferstack.errors import UserError
from inferstack.state.backup import check_file, manifest_of, write_backup
from tests.unit.state.test_checks import make_state

NOW = datetime.datetime(2026, 1, 31, 12, tzinfo=datetime.UTC)


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A backup."""
    return write_backup(tmp_path / "backups", "prod", json.dumps(make_state()), NOW)[0]


def test_a_backup_is_whole_private_and_says_what_it_is(made: Path) -> None:
    manifest = json.loads(manifest_of(made).read_text())

    assert made.name == f"prod.20260131T120000Z.{manifest['sha256'][:16]}.json"
    assert (manifest["stack"], manifest["resources"], manifest["provider"]) == ("prod", 3, "passphrase")
    assert [path.stat().st_mode & 0o777 for path in (made, manifest_of(made), made.parent)] == [0o600, 0o600, 0o700]
    assert sorted(made.parent.iterdir()) == sorted([made, manifest_of(made)])
    assert check_file(made, stack="prod", provider="passphrase") == []


def test_nothing_is_written_over(made: Path) -> None:
    before = made.read_bytes()

    with pytest.raises(UserError, match="never written over"):
        write_backup(made.parent, "prod", json.dumps(make_state()), NOW)
    assert made.read_bytes() == before


def test_what_is_no_state_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(UserError):
        write_backup(tmp_path / "backups", "prod", '{"version": 3}', NOW)
    assert not (tmp_path / "backups").exists()


def test_damage_is_told(made: Path) -> None:
    made.write_text(made.read_text().replace("kubernetes", "kubernetez", 1))
    faults = [fault.fault for fault in check_file(made)]
    assert any("by its name" in fault for fault in faults)
    assert any("by its manifest" in fault for fault in faults)

    made.chmod(0o644)
    manifest_of(made).unlink()
    faults = [fault.fault for fault in check_file(made)]
    assert any("others may read" in fault for fault in faults)
    assert any("has no manifest" in fault for fault in faults)


def test_a_backup_of_another_stack_is_told(made: Path) -> None:
    assert [fault.fault for fault in check_file(made, stack="dev")] == ["is of stack prod, not of dev"]


def test_a_file_cut_short_is_told(made: Path) -> None:
    made.write_text(made.read_text()[:-9])

    assert any("no JSON" in fault.fault for fault in check_file(made))
