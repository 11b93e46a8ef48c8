"""The kubeconfig of an EKS cluster: no secret in it, each call asks AWS for a token."""

from __future__ import annotations

import json

from components.cluster.aws.names import Names


def make_kubeconfig(names: Names, endpoint: str, certificate: str) -> str:
    """Return the kubeconfig as JSON, which is YAML too.

    Args:
        names: the stack's resource names.
        endpoint: URL of the API server.
        certificate: its CA certificate, base64 of PEM.
    """
    name = names.cluster
    arguments = ["--region", names.region, "eks", "get-token", "--cluster-name", name, "--output", "json"]
    user = {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1beta1",
            "command": "aws",
            "args": arguments,
            "interactiveMode": "Never",
            "provideClusterInfo": False,
        }
    }
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": endpoint, "certificate-authority-data": certificate}}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
    return json.dumps(content, sort_keys=True)
