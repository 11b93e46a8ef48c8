"""Names, patterns and bounds that the models, the generated CRD and the operator share."""

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
"""What counts as a GPU: the whole one, or a slice of each MIG profile that some GPU has."""
NATIVE_RESOURCES: Final = ("cpu", "memory", "ephemeral-storage", "hugepages-2Mi", "hugepages-1Gi")
"""Resources without a domain that a container may ask for."""
MAX_GPUS: Final = 16
"""GPUs or slices of one replica: no machine has more."""
MAX_REPLICAS: Final = 1000
MAX_RESOURCES: Final = 8
"""Entries of requests or limits; bounds the cost of the rules over them."""
MAX_AMOUNT: Final = 10**15
"""Of a resource, as a plain number: a petabyte. Far beyond it the API server reads a number as a fraction."""

# A model is named as on the Hugging Face hub, name or organisation/name, or as the server of the job knows it.
MODEL_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?$"
# The job's name becomes its Service's, which must be a DNS-1035 label: no leading digit, no dots.
NAME_PATTERN: Final = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"
NAME_LENGTH: Final = 63
SUBDOMAIN_PATTERN: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
ENV_NAME_PATTERN: Final = r"^[A-Za-z_][A-Za-z0-9_]*$"
DATA_KEY_PATTERN: Final = r"^[-._a-zA-Z0-9]+$"
IMAGE_PATTERN: Final = r"^[a-zA-Z0-9][a-zA-Z0-9._:/@-]*$"
PERCENT_PATTERN: Final = r"^([1-9][0-9]?|100)%$"
# Kubernetes' quantities without a sign: nothing can be asked for a negative amount of.
QUANTITY_PATTERN: Final = r"^([0-9]+|[0-9]+\.[0-9]+)(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$"
# A device plugin's resource, domain/name. [.] for a dot: in a CEL rule a backslash would need another.
DEVICE_PATTERN: Final = (
    "^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
)
DEVICE_LENGTH: Final = 244
"""Kubernetes' 253, less the prefix "requests." that it puts before the name in a quota."""
GPU_COUNT_PATTERN: Final = rf"^([1-9]|1[0-{MAX_GPUS - 10}])$"
DEVICE_COUNT_PATTERN: Final = r"^[1-9][0-9]{0,3}$"
"""Other devices, NICs for instance: whole numbers."""
# Of a condition, as the API conventions have it.
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
"""Where a replica finds the Dataset that its job names."""


def is_native(resource: str) -> bool:
    """Tell whether Kubernetes itself counts this resource; all others are devices."""
    return "/" not in resource


def is_shared(resource: str) -> bool:
    """Tell whether replicas may share this resource, so that requests may lie below limits."""
    return is_native(resource) and not resource.startswith("hugepages-")
