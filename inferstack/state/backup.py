"""Backups of a state, one file each. The name identifies the backup; the manifest proves that it is complete.

``STACK.20260131T120000Z.SHA256.json`` is the engine's unmodified export, with secrets encrypted. The manifest
``….manifest.json`` is in the same folder. Neither file is ever overwritten.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import re
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from inferstack.apimachinery.rfc3339 import format_time
from inferstack.errors import UserError
from inferstack.state.checks import WHOLE, Fault, Json, find_faults, secrets_provider

_DIGITS = 16
"""Digits of the checksum in the name; the manifest has the whole checksum."""
_NAME = re.compile(rf"(?P<stack>.+)\.\d{{8}}T\d{{6}}Z\.(?P<sha256>[0-9a-f]{{{_DIGITS}}})\.json")


@dataclass(frozen=True)
class Manifest:
    """Description of a backup."""

    stack: str
    time: str
    """UTC, RFC 3339."""
    sha256: str
    """Checksum of the file."""
    resources: int
    engine: str
    """Version of the engine that last wrote the state."""
    provider: str
    """Type of the secrets provider."""


def write_backup(folder: Path, stack: str, text: str, now: datetime.datetime) -> tuple[Path, Manifest]:
    """Write an export and its manifest, readable only by the owner.

    Args:
        folder: folder of the backup; created if missing.
        stack: name of the stack.
        text: the export.
        now: current time in UTC.

    Raises:
        UserError: the text is not a complete state, or a backup of that name exists.
    """
    content = parse(text)
    if any(fault.resource == WHOLE and "export" in fault.fault for fault in find_faults(content)):
        raise UserError(f"The export of stack {stack} is not a state of the engine; nothing was written.")
    deployment = content["deployment"]
    digest = hashlib.sha256(text.encode()).hexdigest()
    manifest = Manifest(
        stack=stack,
        time=format_time(now),
        sha256=digest,
        resources=len(deployment.get("resources") or []),
        engine=str((deployment.get("manifest") or {}).get("version", "")),
        provider=secrets_provider(deployment),
    )
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{stack}.{now.strftime('%Y%m%dT%H%M%SZ')}.{digest[:_DIGITS]}.json"
    # The manifest is written first, so that each existing backup has one.
    write_new(manifest_of(path), json.dumps(asdict(manifest), indent=1) + "\n")
    write_new(path, text)
    return path, manifest


def manifest_of(path: Path) -> Path:
    """Return the path of a backup's manifest."""
    return path.with_name(path.name.removesuffix(".json") + ".manifest.json")


def write_new(path: Path, text: str) -> None:
    """Write a new file with mode 0600 atomically.

    Raises:
        UserError: the file exists, or the folder cannot be written.
    """
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        path.hardlink_to(fresh)  # a rename would overwrite an existing file
        sync_folder(path.parent)
    except FileExistsError:
        raise UserError(f"{path} is there already; a backup is never written over.") from None
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}.") from error
    finally:
        fresh.unlink(missing_ok=True)


def write_over(path: Path, text: str) -> None:
    """Create or replace a file with mode 0600 atomically.

    Raises:
        UserError: the folder cannot be written.
    """
    draft = path.with_name(f".{path.name}")
    draft.unlink(missing_ok=True)
    write_new(draft, text)
    draft.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Flush the directory entries of a folder to disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def parse(text: str) -> Json:
    """Parse an export.

    Raises:
        UserError: the text is not a JSON object.
    """
    try:
        content = json.loads(text)
    except ValueError as error:
        raise UserError(f"The state is no JSON: {error}.") from error
    if not isinstance(content, dict):
        raise UserError("The state is no JSON object.")
    return content


def check_file(path: Path, *, stack: str | None = None, provider: str | None = None) -> list[Fault]:
    """Return all faults of a backup, including those of its content.

    Args:
        path: path of the backup.
        stack: expected stack; None accepts any.
        provider: see `find_faults`.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        raw = path.read_bytes()
        text = raw.decode()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError:
        return [Fault(WHOLE, "is not text: the file is damaged")]
    faults = _checksum_faults(path, hashlib.sha256(raw).hexdigest(), stack)
    try:
        content = parse(text)
    except UserError as error:
        return [*faults, Fault(WHOLE, str(error))]
    if path.stat().st_mode & 0o077:
        faults.append(Fault(WHOLE, f"others may read {path.name}: chmod 600"))
    return [*faults, *find_faults(content, provider=provider)]


def _checksum_faults(path: Path, digest: str, stack: str | None) -> list[Fault]:
    named = _NAME.fullmatch(path.name)
    faults = []
    if named and not digest.startswith(named["sha256"]):
        faults.append(Fault(WHOLE, f"sha256 is {digest}, by its name it begins with {named['sha256']}"))
    try:
        manifest = json.loads(manifest_of(path).read_text())
    except FileNotFoundError:
        return [*faults, Fault(WHOLE, f"has no manifest {manifest_of(path).name}")]
    except ValueError:
        return [*faults, Fault(WHOLE, f"its manifest {manifest_of(path).name} is no JSON")]
    if manifest.get("sha256") != digest:
        faults.append(Fault(WHOLE, f"sha256 is {digest}, by its manifest {manifest.get('sha256')}"))
    if stack is not None and manifest.get("stack") != stack:
        faults.append(Fault(WHOLE, f"is of stack {manifest.get('stack')}, not of {stack}"))
    return faults
