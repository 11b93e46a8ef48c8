"""InferenceJob as pydantic models: the one source of the CRD, of its documentation and of all checks. Pure."""

from inferstack.api.autoscale import Autoscale, Metric, MetricType
from inferstack.api.cache import Cache, WhenCold
from inferstack.api.crd import crds
from inferstack.api.job import Disruption, EnvVar, InferenceJob, InferenceJobSpec, RuntimeName
from inferstack.api.placement import Placement, Prefer
from inferstack.api.resources import Resources
from inferstack.api.status import Condition, ConditionType, InferenceJobStatus

__all__ = [
    "Autoscale",
    "Cache",
    "Condition",
    "ConditionType",
    "Disruption",
    "EnvVar",
    "InferenceJob",
    "InferenceJobSpec",
    "InferenceJobStatus",
    "Metric",
    "MetricType",
    "Placement",
    "Prefer",
    "Resources",
    "RuntimeName",
    "WhenCold",
    "crds",
]
