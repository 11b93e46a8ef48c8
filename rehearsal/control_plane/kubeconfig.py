"""The kubeconfigs of the administrator and of the components."""

from __future__ import annotations

import base64
import json
from typing import Any

from rehearsal.control_plane.model import PlaneConfig
from rehearsal.control_plane.pki import CLIENTS, write_private


def make_kubeconfig(server: str, authority: bytes, certificate: bytes, key: bytes, user: str) -> dict[str, Any]:
    """Return a kubeconfig with embedded credentials.

    Args:
        server: URL of the API server.
        authority: PEM of the CA.
        certificate: PEM of the user's certificate.
        key: PEM of its private key.
        user: user name in the kubeconfig.
    """

    def encode(content: bytes) -> str:
        return base64.b64encode(content).decode()

    name = "inferstack-rehearsal"
    credentials = {"client-certificate-data": encode(certificate), "client-key-data": encode(key)}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [{"name": name, "cluster": {"server": server, "certificate-authority-data": encode(authority)}}],
        "users": [{"name": user, "user": credentials}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": user}}],
    }


def write_all(config: PlaneConfig) -> None:
    """Write every client's kubeconfig below pki/, and the administrator's as ``kubeconfig`` in the state folder."""
    server = f"https://{config.host}:{config.ports.apiserver}"
    authority = (config.pki / "ca.crt").read_bytes()
    for name, (user, _) in CLIENTS.items():
        certificate, key = ((config.pki / f"{name}.{kind}").read_bytes() for kind in ("crt", "key"))
        # JSON is valid YAML, and much faster to read and write.
        text = json.dumps(make_kubeconfig(server, authority, certificate, key, user), indent=1) + "\n"
        path = config.state / "kubeconfig" if name == "admin" else config.pki / f"{name}.kubeconfig"
        if not path.exists() or path.read_text() != text:
            write_private(path, text)
