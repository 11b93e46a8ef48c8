"""A pod's credentials: a kubeconfig with a ServiceAccount token that is bound to the pod, as the kubelet does."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from inferstack.apimachinery.objects import Object
from inferstack.apimachinery.rfc3339 import parse_time
from inferstack.k8s import KubeClient

_LIFETIME = 3600


@dataclass(frozen=True)
class Credentials:
    """Location of the credentials and time of their renewal."""

    kubeconfig: Path
    renew_in: float
    """Seconds until renewal: four fifths of the token's lifetime."""


def make_kubeconfig(cluster: Mapping[str, Any], *, token: str, token_file: str, namespace: str) -> Object:
    """Return a kubeconfig for one token.

    The kubeconfig has both ``token`` and ``tokenFile``. Clients that support ``tokenFile`` prefer it and read it again
    after a renewal.
    """
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "pod",
        "clusters": [{"name": "rehearsal", "cluster": dict(cluster)}],
        "users": [{"name": "pod", "user": {"token": token, "tokenFile": token_file}}],
        "contexts": [{"name": "pod", "context": {"cluster": "rehearsal", "user": "pod", "namespace": namespace}}],
    }


async def issue(kube: KubeClient, pod: Mapping[str, Any], cluster: Mapping[str, Any], folder: Path) -> Credentials:
    """Request a token of the pod's ServiceAccount and write token and kubeconfig into ``folder``.

    Raises:
        ApiError: the ServiceAccount or the pod does not exist.
    """
    meta = pod["metadata"]
    account = pod["spec"].get("serviceAccountName") or "default"
    body = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {
            "expirationSeconds": _LIFETIME,
            "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": meta["name"], "uid": meta["uid"]},
        },
    }
    path = f"/api/v1/namespaces/{meta['namespace']}/serviceaccounts/{account}/token"
    answer = (await kube.request("POST", path, body=body))["status"]
    expires = parse_time(answer["expirationTimestamp"])
    kubeconfig = _store(folder, cluster, token=answer["token"], namespace=meta["namespace"])
    return Credentials(kubeconfig, renew_in=0.8 * (expires - datetime.now(UTC)).total_seconds())


def _store(folder: Path, cluster: Mapping[str, Any], *, token: str, namespace: str) -> Path:
    token_file, kubeconfig = folder / "token", folder / "kubeconfig"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    _write(token_file, token)
    content = make_kubeconfig(cluster, token=token, token_file=str(token_file), namespace=namespace)
    _write(kubeconfig, yaml.safe_dump(content))
    return kubeconfig


def _write(path: Path, text: str) -> None:
    """Replace a secret file atomically, readable by the owner only."""
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    partial.replace(path)
