"""Backup files: names, modes, manifests and detected damage."""

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
def backup(tmp_path: Path) -> Path:
    """A backup."""
    return write_backup(tmp_path / "backups", "prod", json.dumps(make_state()), NOW)[0]


def test_backup_is_verified_private_and_described_by_its_manifest(backup: Path) -> None:
    manifest = json.loads(manifest_of(backup).read_text())

    assert backup.name == f"prod.20260131T120000Z.{manifest['sha256'][:16]}.json"
    assert (manifest["stack"], manifest["resources"], manifest["provider"]) == ("prod", 3, "passphrase")
    assert [path.stat().st_mode & 0o777 for path in (backup, manifest_of(backup), backup.parent)] == [
        0o600,
        0o600,
        0o700,
    ]
    assert sorted(backup.parent.iterdir()) == sorted([backup, manifest_of(backup)])
    assert check_file(backup, stack="prod", provider="passphrase") == []


def test_existing_backup_is_not_overwritten(backup: Path) -> None:
    before = backup.read_bytes()

    with pytest.raises(UserError, match="never written over"):
        write_backup(backup.parent, "prod", json.dumps(make_state()), NOW)
    assert backup.read_bytes() == before


def test_invalid_state_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(UserError):
        write_backup(tmp_path / "backups", "prod", '{"version": 3}', NOW)
    assert not (tmp_path / "backups").exists()


def test_damaged_backup_has_faults(backup: Path) -> None:
    backup.write_text(backup.read_text().replace("kubernetes", "kubernetez", 1))
    faults = [fault.fault for fault in check_file(backup)]
    assert any("by its name" in fault for fault in faults)
    assert any("by its manifest" in fault for fault in faults)

    backup.chmod(0o644)
    manifest_of(backup).unlink()
    faults = [fault.fault for fault in check_file(backup)]
    assert any("others may read" in fault for fault in faults)
    assert any("has no manifest" in fault for fault in faults)


def test_backup_of_another_stack_is_a_fault(backup: Path) -> None:
    assert [fault.fault for fault in check_file(backup, stack="dev")] == ["is of stack prod, not of dev"]


def test_truncated_backup_is_a_fault(backup: Path) -> None:
    backup.write_text(backup.read_text()[:-9])

    assert any("no JSON" in fault.fault for fault in check_file(backup))
