"""Names, patterns and bounds of the API."""

from __future__ import annotations

from typing import Final

from inferstack.mig import catalogue
from inferstack.mig.resources import GPU_RESOURCE, mig_resource

GROUP: Final = "deepseek.ai"
VERSION: Final = "v1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
KIND: Final = "InferenceJob"
PLURAL: Final = "inferencejobs"
SINGULAR: Final = "inferencejob"
ROLLOUT_KIND: Final = "MigRollout"
ROLLOUT_PLURAL: Final = "migrollouts"

GPU_RESOURCES: Final[tuple[str, ...]] = (
    GPU_RESOURCE,
    *map(mig_resource, catalogue.profile_names()),
)
"""GPU resources: the whole GPU, and one for each MIG profile of the catalogue."""
NATIVE_RESOURCES: Final = ("cpu", "memory", "ephemeral-storage", "hugepages-2Mi", "hugepages-1Gi")
"""Native resources that a container may request."""
MAX_GPUS: Final = 16
"""Maximum number of GPUs or slices of one replica: no machine has more."""
MAX_REPLICAS: Final = 1000
MAX_RESOURCES: Final = 8
"""Maximum number of entries in requests or limits; it bounds the cost of the CEL rules."""
MAX_AMOUNT: Final = 10**15
"""Maximum amount as a plain number: a petabyte. The API server reads much larger numbers as fractions."""

# The name of a model on the Hugging Face hub, name or organisation/name, or a name that the server knows.
MODEL_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?$"
# The Service of a job has the same name, which must be a DNS-1035 label: no leading digit, no dots.
NAME_PATTERN: Final = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"
NAME_LENGTH: Final = 63
SUBDOMAIN_PATTERN: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
ENV_NAME_PATTERN: Final = r"^[A-Za-z_][A-Za-z0-9_]*$"
DATA_KEY_PATTERN: Final = r"^[-._a-zA-Z0-9]+$"
IMAGE_PATTERN: Final = r"^[a-zA-Z0-9][a-zA-Z0-9._:/@-]*$"
PERCENT_PATTERN: Final = r"^([1-9][0-9]?|100)%$"
# Quantities without a sign or exponent.
QUANTITY_PATTERN: Final = r"^([0-9]+|[0-9]+\.[0-9]+)(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$"
# A device plugin's resource, domain/name. [.] for a dot: in a CEL rule a backslash would need another.
DEVICE_PATTERN: Final = (
    "^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
)
DEVICE_LENGTH: Final = 244
"""Kubernetes' 253, less the prefix "requests." that it puts before the name in a quota."""
GPU_COUNT_PATTERN: Final = rf"^([1-9]|1[0-{MAX_GPUS - 10}])$"
DEVICE_COUNT_PATTERN: Final = r"^[1-9][0-9]{0,3}$"
"""Whole numbers of other devices, for example NICs."""
# Reason of a condition, as in the API conventions.
REASON_PATTERN: Final = r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"
_SUBDOMAIN: Final = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
LABEL_KEY_PATTERN: Final = rf"^({_SUBDOMAIN}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{{0,61}}[A-Za-z0-9])?$"
LABEL_KEY_LENGTH: Final = 317
"""253 of the domain, a slash, 63 of the name."""
LABEL_VALUE_PATTERN: Final = r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$"
TIME_OF_DAY_PATTERN: Final = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"
MAX_ROLLOUT_NODES: Final = 1000
TRITON_REPOSITORY: Final = "--model-repository="
# A directory of a Dataset: absolute, without "." and ".." and empty parts.
CACHE_PATH_PATTERN: Final = r"^/([A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*)?$"
CACHE_MOUNT: Final = "/models"
"""Mount path of the Dataset in a replica."""


def is_native(resource: str) -> bool:
    """Return whether a resource is native to Kubernetes; all others are devices."""
    return "/" not in resource


def is_shared(resource: str) -> bool:
    """Return whether a resource can be overcommitted, so that requests may be lower than limits."""
    return is_native(resource) and not resource.startswith("hugepages-")
