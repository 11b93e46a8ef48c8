"""Names of what the GPU operator is told by."""

from __future__ import annotations

from typing import Final

POLICY: Final = "cluster-policy"
"""The one ClusterPolicy that the GPU operator heeds."""
NAMESPACE: Final = "gpu-operator"
OWN_LAYOUTS: Final = "inferstack-mig-parted"
"""ConfigMap that the gpu role writes."""
DEFAULT_LAYOUTS: Final = "default-mig-parted-config"
"""ConfigMap that the GPU operator writes where its ClusterPolicy names none."""
