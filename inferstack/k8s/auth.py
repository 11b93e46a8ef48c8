"""From a kubeconfig (or a pod's service account) to a base URL, a TLS context and headers.

Certificates and tokens are read here. What needs a helper program (``exec``, as EKS does, or an auth provider) goes
through kubernetes-asyncio, which is imported only then: its import takes a quarter of a second, and this code runs at
each start of the provider.
"""

from __future__ import annotations

import base64
import os
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from inferstack.k8s.errors import KubeconfigError

_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True)
class Access:
    """How to reach one API server."""

    server: str
    """Base URL without a trailing slash."""
    tls: ssl.SSLContext | None
    headers: dict[str, str] = field(default_factory=dict)
    namespace: str = "default"
    """Namespace of the chosen context."""
    token_file: Path | None = None
    """A token that is rotated on disk (service account): read again for each request."""


def load_kubeconfig(path: Path | None = None) -> dict[str, Any]:
    """Read a kubeconfig: the given path, else the first of ``$KUBECONFIG``, else ``~/.kube/config``.

    Raises:
        KubeconfigError: the file is missing or is no mapping.
    """
    if path is None:
        listed = [p for p in os.environ.get("KUBECONFIG", "").split(os.pathsep) if p]
        path = Path(listed[0]) if listed else Path.home() / ".kube" / "config"
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise KubeconfigError(f"kubeconfig {path}: {error.strerror or error}") from error
    if not isinstance(content, dict):
        raise KubeconfigError(f"kubeconfig {path}: not a mapping")
    return content


def _named(config: Mapping[str, Any], section: str, name: str) -> dict[str, Any]:
    for entry in config.get(section) or []:
        if entry.get("name") == name:
            return dict(entry.get(section[:-1]) or {})
    raise KubeconfigError(f"kubeconfig: {section} has no entry named {name!r}")


def _data(entry: Mapping[str, Any], key: str) -> bytes | None:
    if entry.get(f"{key}-data"):
        return base64.b64decode(entry[f"{key}-data"])
    if entry.get(key):
        return Path(entry[key]).read_bytes()
    return None


def _tls_context(cluster: Mapping[str, Any], user: Mapping[str, Any]) -> ssl.SSLContext:
    authority = _data(cluster, "certificate-authority")
    context = ssl.create_default_context(cadata=authority.decode() if authority else None)
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    cert, key = _data(user, "client-certificate"), _data(user, "client-key")
    if cert and key:
        # ssl reads chains from files only; the folder lives no longer than this call and is readable by us alone.
        with tempfile.TemporaryDirectory(prefix="inferstack-") as folder:
            chain = Path(folder) / "chain.pem"
            chain.touch(mode=0o600)
            chain.write_bytes(cert + b"\n" + key)
            context.load_cert_chain(chain)
    return context


def from_config(config: Mapping[str, Any], context: str | None = None) -> Access:
    """Resolve one context of a parsed kubeconfig that carries certificates, a token or a token file.

    Raises:
        KubeconfigError: a named context, cluster or user is missing, or the user needs a helper program.
    """
    name = context or config.get("current-context")
    if not name:
        raise KubeconfigError("kubeconfig: no current-context; name one")
    chosen = _named(config, "contexts", name)
    cluster = _named(config, "clusters", chosen.get("cluster", ""))
    user = _named(config, "users", chosen["user"]) if chosen.get("user") else {}
    if needs_helper(user):
        raise KubeconfigError(f"kubeconfig: user {chosen['user']!r} needs a helper program")
    server = str(cluster.get("server", "")).rstrip("/")
    if not server:
        raise KubeconfigError(f"kubeconfig: cluster {chosen['cluster']!r} has no server")
    headers = {"Authorization": f"Bearer {user['token']}"} if user.get("token") else {}
    return Access(
        server=server,
        tls=_tls_context(cluster, user) if server.startswith("https:") else None,
        headers=headers,
        namespace=chosen.get("namespace") or "default",
        token_file=Path(user["tokenFile"]) if user.get("tokenFile") else None,
    )


def needs_helper(user: Mapping[str, Any]) -> bool:
    """Tell whether a kubeconfig user gets its credentials from a program or an auth provider."""
    return "exec" in user or "auth-provider" in user


async def from_config_with_helper(config: dict[str, Any], context: str | None = None) -> Access:
    """Resolve a context as `from_config`, running the user's helper program when there is one."""
    chosen = _named(config, "contexts", context or config.get("current-context") or "")
    user = _named(config, "users", chosen["user"]) if chosen.get("user") else {}
    if not needs_helper(user):
        return from_config(config, context)
    from kubernetes_asyncio.client import Configuration  # noqa: PLC0415  # slow import, see the module's docstring
    from kubernetes_asyncio.config import load_kube_config_from_dict  # noqa: PLC0415

    filled = Configuration()
    await load_kube_config_from_dict(config, context=context, client_configuration=filled)
    bearer = await filled.get_api_key_with_prefix("BearerToken")
    cluster = _named(config, "clusters", chosen.get("cluster", ""))
    client = {"client-certificate": filled.cert_file, "client-key": filled.key_file}
    return Access(
        server=str(filled.host).rstrip("/"),
        tls=_tls_context(cluster, client),
        headers={"Authorization": bearer} if bearer else {},
        namespace=chosen.get("namespace") or "default",
    )


def in_cluster() -> Access | None:
    """Return the access of the pod we run in, or None outside a pod."""
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT")
    token = _SERVICE_ACCOUNT / "token"
    if not (host and port and token.exists()):
        return None
    return Access(
        server=f"https://{f'[{host}]' if ':' in host else host}:{port}",
        tls=ssl.create_default_context(cafile=str(_SERVICE_ACCOUNT / "ca.crt")),
        namespace=(_SERVICE_ACCOUNT / "namespace").read_text().strip(),
        token_file=token,
    )


def cluster_of(kubeconfig: Path) -> dict[str, Any]:
    """Return the cluster of a kubeconfig's current context, its certificate's path made absolute.

    Raises:
        KubeconfigError: the file cannot be read.
    """
    content = load_kubeconfig(kubeconfig)
    context = next(c["context"] for c in content["contexts"] if c["name"] == content["current-context"])
    cluster = dict(next(c["cluster"] for c in content["clusters"] if c["name"] == context["cluster"]))
    if authority := cluster.get("certificate-authority"):
        cluster["certificate-authority"] = str((kubeconfig.parent / authority).resolve())
    return cluster
