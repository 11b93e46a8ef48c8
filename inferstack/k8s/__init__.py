"""A small asynchronous Kubernetes client: connection reuse, lazy discovery, server-side apply, watch."""

from inferstack.k8s.client import ApiResource, KubeClient
from inferstack.k8s.errors import ApiError, CredentialError, KubeconfigError, UnknownKindError, is_missing

__all__ = [
    "ApiError",
    "ApiResource",
    "CredentialError",
    "KubeClient",
    "KubeconfigError",
    "UnknownKindError",
    "is_missing",
]
