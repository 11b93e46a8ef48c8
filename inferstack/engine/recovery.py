"""Mend what a killed engine leaves in a file backend, so that the next ``up`` or ``destroy`` converges.

Four things can be left behind (tried with ``kill -9`` at random moments, tests/standins/test_recovery.py):

* a lock, which the engine would refuse to pass: removed if its process is gone from this host;
* a journal of the state service: the state is made from it;
* a checkpoint cut short (a full disk, a power failure): replaced by the engine's own ``.bak``;
* operations under way, of which the engine does not know whether they happened. It records each one before it calls
  the provider, a creation with all of its inputs. What was being created is turned into a resource of the stack, and
  a refresh of exactly these resources drops the ones the cluster does not have. No object is lost, none is made
  twice, and it holds for the vendor's plugin as for the stand-in.
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
from inferstack.engine.journal.store import journals, settle

Pulumi = Callable[[Sequence[str]], str]
"""Runs the engine with arguments and returns its stdout."""


def mend(backend: Path, pulumi: Pulumi, report: Callable[[str], None]) -> None:
    """Mend all stacks of a file backend.

    Args:
        backend: the ``.pulumi`` folder of the backend.
        pulumi: runs the engine in the project's folder.
        report: takes one sentence for each thing mended.
    """
    busy = {_stack_of(lock, backend) for lock in _locks(backend) if not _break(lock, report)}
    for found in journals(backend):
        if (found.project, found.stack) not in busy and settle(found):
            report(f"stack {found.stack}: made the state from the journal of an interrupted run")
    for checkpoint in sorted((backend / "stacks").glob("*/*.json")):
        project, stack = checkpoint.parent.name, checkpoint.stem
        if (project, stack) in busy:
            continue  # somebody works on it: what is pending is under way, and the engine says who holds the lock
        content = _load(checkpoint, report)
        if content is not None and pending_operations(content["checkpoint"].get("latest") or {}):
            _settle(stack, pulumi, report)


def _locks(backend: Path) -> list[Path]:
    return sorted((backend / "locks").glob("**/*.json"))


def _stack_of(lock: Path, backend: Path) -> tuple[str, str]:
    """Return project and stack of a lock: ``locks/organization/PROJECT/STACK/ID.json``."""
    parts = lock.relative_to(backend / "locks").parts
    return (parts[-3], parts[-2]) if len(parts) >= 3 else ("", "")


def _break(lock: Path, report: Callable[[str], None]) -> bool:
    """Remove a lock whose process is gone from this host; tell whether it is removed."""
    try:
        owner = json.loads(lock.read_text())
        pid, host = int(owner["pid"]), str(owner["hostname"])
    except FileNotFoundError:
        return True
    except (ValueError, KeyError):
        return False  # not the engine's form: it will say so
    if host != socket.gethostname() or runs_pulumi(pid):
        return False
    lock.unlink(missing_ok=True)
    report(f"removed the lock of an interrupted run (process {pid} is gone)")
    return True


def runs_pulumi(pid: int, proc: Path = Path("/proc")) -> bool:
    """Tell whether a process lives and may be an engine; its number can have gone to another program since."""
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
        return True  # no /proc here: take it for one
    return state != "Z" and b"pulumi" in command


def _load(checkpoint: Path, report: Callable[[str], None]) -> Json | None:
    """Read a checkpoint, or put its backup in its place; None where neither is whole (the engine then says so)."""
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
            report(f"the state of stack {checkpoint.stem} was cut short: went back to the engine's backup, kept {kept}")
        return content
    return None


def pending_operations(deployment: Json) -> list[Json]:
    """Return the records of interrupted operations on Kubernetes resources."""
    return [
        operation
        for operation in deployment.get("pending_operations") or []
        if str(operation["resource"]["type"]).startswith("kubernetes:")
    ]


def settled(deployment: Json) -> tuple[Json, list[str]]:
    """Take interrupted operations off the list; return the new deployment and the URNs that a refresh must look up.

    What was being created becomes a resource of the stack; what was being updated or deleted is one already. A
    ``*Patch`` resource needs no look: applying it again is the same as applying it once.
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
    known = [o["resource"]["urn"] for o in pending if o["type"] != "creating" and o["resource"]["urn"] in present]
    return {
        **deployment,
        "resources": [*(deployment.get("resources") or []), *adopted],
        "pending_operations": [o for o in deployment.get("pending_operations") or [] if o not in pending],
    }, [*(resource["urn"] for resource in adopted), *known]


def is_patch(resource: Json) -> bool:
    """Tell whether a resource is a ``*Patch``: its type says Patch and its kind does not."""
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
        # What the provider would have answered, as far as it is known: the refresh replaces it with the live object.
        "outputs": {**inputs, "__inputs": inputs, "__initialApiVersion": inputs.get("apiVersion", "")},
    }


def _settle(stack: str, pulumi: Pulumi, report: Callable[[str], None]) -> None:
    with tempfile.TemporaryDirectory(prefix="inferstack-") as folder:
        file = Path(folder) / "state.json"
        pulumi(["stack", "export", "--stack", stack, "--file", str(file)])
        content = json.loads(file.read_text())
        content["deployment"], urns = settled(content["deployment"])
        file.write_text(json.dumps(content))
        pulumi(["stack", "import", "--stack", stack, "--file", str(file)])
    if urns:
        targets = [argument for urn in urns for argument in ("--target", urn)]
        pulumi(["refresh", "--stack", stack, "--yes", "--skip-preview", "--run-program=false", *targets])
    report(f"stack {stack}: looked up {len(urns)} objects on which an operation was interrupted")
