"""The Kubernetes client library: client, informers, work queue, Events, conditions, credentials and the health server.

Nothing here knows a controller. The package may use the API models and the pure helpers of apimachinery; it talks to
API servers, reads kubeconfigs and service accounts, and writes no files except a private temporary one for TLS.
"""

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
