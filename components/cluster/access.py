"""Access to the cluster's API server, by place."""

from __future__ import annotations

import difflib
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from components.cluster.settings import ClusterSettings, Place
from inferstack.errors import UserError


@dataclass(frozen=True)
class Access:
    """A kubeconfig and the context to use in it."""

    kubeconfig: Path
    context: str
    server: str


def find_access(place: Place, settings: ClusterSettings, state_dir: Path, environ: Mapping[str, str]) -> Access | None:
    """Return the access for ``place``; None on aws, where the cluster may not exist yet.

    Raises:
        UserError: the kubeconfig or the context is missing, or a setting belongs to another place.
    """
    if place is Place.LOCAL:
        return _local(settings, state_dir)
    if place is Place.AWS:
        return None
    return _existing(settings, environ)


def _local(settings: ClusterSettings, state_dir: Path) -> Access:
    for key in ("kubeconfig", "context"):
        if getattr(settings, key) is not None:
            raise UserError(f"inferstack:cluster.{key}: the rehearsal has its own; remove the key from this stack.")
    path = state_dir / "kubeconfig"
    if not path.exists():
        raise UserError(f"The rehearsal has never run here ({path} is missing): run `inferstack rehearsal start`.")
    access = _read(path, None)
    address = urlsplit(access.server)
    try:
        socket.create_connection((address.hostname or "", address.port or 443), timeout=2).close()
    except OSError as error:
        raise UserError(
            f"The rehearsal's API server {access.server} does not answer ({error}): run `inferstack rehearsal start`."
        ) from None
    return access


def _existing(settings: ClusterSettings, environ: Mapping[str, str]) -> Access:
    if settings.fleet:
        raise UserError("inferstack:cluster.fleet: only the place local has simulated nodes; remove the key.")
    if settings.kubeconfig is not None:
        return _read(Path(settings.kubeconfig).expanduser(), settings.context)
    named = [part for part in environ.get("KUBECONFIG", "").split(":") if part]
    if len(named) > 1:
        raise UserError(
            f"KUBECONFIG names {len(named)} files: set inferstack:cluster.kubeconfig to the one that this stack uses."
        )
    return _read(Path(named[0] if named else "~/.kube/config").expanduser(), settings.context)


def _read(path: Path, context: str | None) -> Access:
    try:
        content: dict[str, Any] = yaml.safe_load(path.read_text()) or {}
    except FileNotFoundError:
        raise UserError(
            f"No kubeconfig at {path}: set inferstack:cluster.kubeconfig or KUBECONFIG to the cluster's."
        ) from None
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"The kubeconfig {path} cannot be read: {error}.") from None
    contexts = {entry["name"]: entry["context"] for entry in content.get("contexts") or []}
    name = context or content.get("current-context")
    if not name:
        raise UserError(f"The kubeconfig {path} has no current context: set inferstack:cluster.context.")
    if name not in contexts:
        close = difflib.get_close_matches(name, contexts, n=1)
        hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(sorted(contexts)) or 'none'}."
        raise UserError(f'inferstack:cluster.context: {path} has no context "{name}"; {hint}')
    servers = {entry["name"]: entry["cluster"].get("server", "") for entry in content.get("clusters") or []}
    return Access(path, name, servers.get(contexts[name].get("cluster"), ""))
