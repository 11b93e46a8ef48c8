"""Access to an API server (base URL, TLS context, headers) from a kubeconfig or a pod's service account.

This module reads certificates and tokens. Credential plugins (``exec``, as on EKS, and auth providers) go through
kubernetes-asyncio, which is imported only for them: the import takes a quarter of a second, and this code runs at each
start of the provider.
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
    """Address and credentials of one API server."""

    server: str
    """Base URL without a trailing slash."""
    tls: ssl.SSLContext | None
    headers: dict[str, str] = field(default_factory=dict)
    namespace: str = "default"
    """Namespace of the context."""
    token_file: Path | None = None
    """A token that is rotated on disk (service account); read for each request."""


def load_kubeconfig(path: Path | None = None) -> dict[str, Any]:
    """Return the kubeconfig at ``path``, else at the first path of ``$KUBECONFIG``, else at ``~/.kube/config``.

    Raises:
        KubeconfigError: the file is missing, unreadable or not a mapping.
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
        # ssl reads chains from files only. The directory is private (0700) and deleted at the end of this block.
        with tempfile.TemporaryDirectory(prefix="inferstack-") as folder:
            chain = Path(folder) / "chain.pem"
            chain.touch(mode=0o600)
            chain.write_bytes(cert + b"\n" + key)
            context.load_cert_chain(chain)
    return context


def from_config(config: Mapping[str, Any], context: str | None = None) -> Access:
    """Resolve a context of a parsed kubeconfig with certificates, a token or a token file.

    Raises:
        KubeconfigError: the context, cluster or user is missing, or the user needs a credential plugin.
    """
    name = context or config.get("current-context")
    if not name:
        raise KubeconfigError("kubeconfig: current-context is not set")
    selected = _named(config, "contexts", name)
    cluster = _named(config, "clusters", selected.get("cluster", ""))
    user = _named(config, "users", selected["user"]) if selected.get("user") else {}
    if needs_plugin(user):
        raise KubeconfigError(f"kubeconfig: user {selected['user']!r} needs a credential plugin")
    server = str(cluster.get("server", "")).rstrip("/")
    if not server:
        raise KubeconfigError(f"kubeconfig: cluster {selected['cluster']!r} has no server")
    headers = {"Authorization": f"Bearer {user['token']}"} if user.get("token") else {}
    return Access(
        server=server,
        tls=_tls_context(cluster, user) if server.startswith("https:") else None,
        headers=headers,
        namespace=selected.get("namespace") or "default",
        token_file=Path(user["tokenFile"]) if user.get("tokenFile") else None,
    )


def needs_plugin(user: Mapping[str, Any]) -> bool:
    """Return whether a kubeconfig user gets its credentials from a plugin: ``exec`` or an auth provider."""
    return "exec" in user or "auth-provider" in user


async def from_config_with_plugin(config: dict[str, Any], context: str | None = None) -> Access:
    """Resolve a context like `from_config`, running the user's credential plugin if there is one."""
    selected = _named(config, "contexts", context or config.get("current-context") or "")
    user = _named(config, "users", selected["user"]) if selected.get("user") else {}
    if not needs_plugin(user):
        return from_config(config, context)
    from kubernetes_asyncio.client import Configuration  # noqa: PLC0415  # slow import, see the module docstring
    from kubernetes_asyncio.config import load_kube_config_from_dict  # noqa: PLC0415

    configuration = Configuration()
    await load_kube_config_from_dict(config, context=context, client_configuration=configuration)
    bearer = await configuration.get_api_key_with_prefix("BearerToken")
    cluster = _named(config, "clusters", selected.get("cluster", ""))
    client = {"client-certificate": configuration.cert_file, "client-key": configuration.key_file}
    return Access(
        server=str(configuration.host).rstrip("/"),
        tls=_tls_context(cluster, client),
        headers={"Authorization": bearer} if bearer else {},
        namespace=selected.get("namespace") or "default",
    )


def in_cluster() -> Access | None:
    """Return the access from this pod's service account, or None outside a pod."""
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
    """Return the cluster of a kubeconfig's current context, with an absolute path to the CA certificate.

    Raises:
        KubeconfigError: the file is missing, unreadable or not a mapping.
    """
    content = load_kubeconfig(kubeconfig)
    context = next(c["context"] for c in content["contexts"] if c["name"] == content["current-context"])
    cluster = dict(next(c["cluster"] for c in content["clusters"] if c["name"] == context["cluster"]))
    if authority := cluster.get("certificate-authority"):
        cluster["certificate-authority"] = str((kubeconfig.parent / authority).resolve())
    return cluster
