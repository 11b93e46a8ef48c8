"""Recover a file backend after the engine was killed, so that the next ``up`` or ``destroy`` converges.

A killed engine can leave (tests/standins/test_recovery.py kills it at random moments):

* a lock, which blocks the next run: it is removed if its process no longer runs on this host;
* a journal of the state service: it is replayed into the checkpoint;
* a truncated checkpoint (full disk, power failure): it is replaced by the engine's ``.bak``;
* pending operations, whose outcome the engine does not know. It records each operation before it calls the provider,
  and a creation with all of its inputs. A pending creation becomes a resource of the stack, and a refresh of exactly
  these resources drops those that the cluster does not have. No object is lost or created twice, with the vendor's
  plugin as well as with the stand-in.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from inferstack.engine.journal.replay import Json
from inferstack.engine.journal.store import apply_journal, journals

Pulumi = Callable[[Sequence[str]], str]
"""Runs the engine with arguments and returns its stdout."""


def recover(backend: Path, pulumi: Pulumi, report: Callable[[str], None]) -> None:
    """Recover all stacks of a file backend.

    Args:
        backend: the ``.pulumi`` folder of the backend.
        pulumi: runs the engine in the project's folder.
        report: receives a message for each recovery.
    """
    locked = {_stack_of(lock, backend) for lock in _locks(backend) if not _remove_stale(lock, report)}
    for file in journals(backend):
        if (file.project, file.stack) not in locked and apply_journal(file):
            report(f"stack {file.stack}: restored the state from the journal of an interrupted run")
    for checkpoint in sorted((backend / "stacks").glob("*/*.json")):
        project, stack = checkpoint.parent.name, checkpoint.stem
        if (project, stack) in locked:
            continue  # its operations are in progress; the engine reports the owner of the lock
        content = _load(checkpoint, report)
        if content is not None and pending_operations(content["checkpoint"].get("latest") or {}):
            _adopt_pending(stack, pulumi, report)


def _locks(backend: Path) -> list[Path]:
    return sorted((backend / "locks").glob("**/*.json"))


def _stack_of(lock: Path, backend: Path) -> tuple[str, str]:
    """Return project and stack of a lock: ``locks/organization/PROJECT/STACK/ID.json``."""
    parts = lock.relative_to(backend / "locks").parts
    return (parts[-3], parts[-2]) if len(parts) >= 3 else ("", "")


def _remove_stale(lock: Path, report: Callable[[str], None]) -> bool:
    """Remove a lock whose process no longer runs on this host, and return whether it was removed."""
    try:
        owner = json.loads(lock.read_text())
        pid, host = int(owner["pid"]), str(owner["hostname"])
    except FileNotFoundError:
        return True
    except (ValueError, KeyError):
        return False  # not in the engine's format: the engine reports it
    if host != socket.gethostname() or runs_pulumi(pid):
        return False
    lock.unlink(missing_ok=True)
    report(f"removed the lock of an interrupted run (process {pid} no longer runs)")
    return True


def runs_pulumi(pid: int, proc: Path = Path("/proc")) -> bool:
    """Return whether a process runs and may be an engine: its id can belong to another program by now."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        state = (proc / str(pid) / "stat").read_text().rpartition(")")[2].split()[0]
        command = (proc / str(pid) / "cmdline").read_bytes()
    except OSError:
        return True  # no /proc on this system: assume an engine
    return state != "Z" and b"pulumi" in command


def _load(checkpoint: Path, report: Callable[[str], None]) -> Json | None:
    """Read a checkpoint, or restore its backup; None if neither is valid, which the engine reports."""
    for candidate in (checkpoint, checkpoint.with_name(checkpoint.name + ".bak")):
        try:
            content = json.loads(candidate.read_bytes())
        except (OSError, ValueError):
            continue
        if not isinstance(content, dict) or "checkpoint" not in content:
            continue
        if candidate != checkpoint:
            kept = checkpoint.with_name(checkpoint.name + ".broken")
            checkpoint.replace(kept)
            shutil.copyfile(candidate, checkpoint)
            report(f"stack {checkpoint.stem}: restored the engine's backup of a truncated state, kept as {kept}")
        return content
    return None


def pending_operations(deployment: Json) -> list[Json]:
    """Return the pending operations on Kubernetes resources."""
    return [
        operation
        for operation in deployment.get("pending_operations") or []
        if str(operation["resource"]["type"]).startswith("kubernetes:")
    ]


def adopt_pending(deployment: Json) -> tuple[Json, list[str]]:
    """Return a deployment without pending operations, and the URNs of the resources to refresh.

    A pending creation becomes a resource of the stack; a pending update or deletion has one already. A ``*Patch``
    resource needs no refresh: applying it twice is the same as applying it once.
    """
    pending = pending_operations(deployment)
    present = {resource["urn"] for resource in deployment.get("resources") or [] if not resource.get("delete")}
    adopted = [
        _as_resource(operation["resource"])
        for operation in pending
        if operation["type"] == "creating"
        and not is_patch(operation["resource"])
        and operation["resource"]["urn"] not in present
    ]
    existing = [o["resource"]["urn"] for o in pending if o["type"] != "creating" and o["resource"]["urn"] in present]
    return {
        **deployment,
        "resources": [*(deployment.get("resources") or []), *adopted],
        "pending_operations": [o for o in deployment.get("pending_operations") or [] if o not in pending],
    }, [*(resource["urn"] for resource in adopted), *existing]


def is_patch(resource: Json) -> bool:
    """Return whether a resource is a ``*Patch``: its type ends with Patch and its kind does not."""
    return str(resource["type"]).endswith("Patch") and not str(resource.get("inputs", {}).get("kind", "")).endswith(
        "Patch"
    )


def _as_resource(pending: Json) -> Json:
    inputs = pending.get("inputs") or {}
    meta = inputs if pending["type"] == "kubernetes:helm.sh/v3:Release" else inputs.get("metadata") or {}
    name, namespace = meta.get("name"), meta.get("namespace")
    return {
        **pending,
        "id": f"{namespace}/{name}" if namespace else name,
        # The provider's outputs as far as they are known; the refresh replaces them with the live object.
        "outputs": {**inputs, "__inputs": inputs, "__initialApiVersion": inputs.get("apiVersion", "")},
    }


def _adopt_pending(stack: str, pulumi: Pulumi, report: Callable[[str], None]) -> None:
    with tempfile.TemporaryDirectory(prefix="inferstack-") as folder:
        file = Path(folder) / "state.json"
        pulumi(["stack", "export", "--stack", stack, "--file", str(file)])
        content = json.loads(file.read_text())
        content["deployment"], urns = adopt_pending(content["deployment"])
        file.write_text(json.dumps(content))
        pulumi(["stack", "import", "--stack", stack, "--file", str(file)])
    if urns:
        targets = [argument for urn in urns for argument in ("--target", urn)]
        pulumi(["refresh", "--stack", stack, "--yes", "--skip-preview", "--run-program=false", *targets])
    report(f"stack {stack}: refreshed {len(urns)} objects with interrupted operations")
