"""The API: InferenceJob and MigRollout as pydantic models, labels and the table of runtimes.

CRDs, reference documentation and validation are generated from these models. The package is pure: it reads its own
data files and uses no cluster, no network and no clock.
"""

from inferstack.api.autoscale import Autoscale, Metric, MetricType
from inferstack.api.cache import Cache, WhenCold
from inferstack.api.crd import crds
from inferstack.api.job import Disruption, EnvVar, InferenceJob, InferenceJobSpec, RuntimeName
from inferstack.api.mig_rollout import MigRollout, MigRolloutSpec, RolloutNode, Weekday, Window
from inferstack.api.mig_rollout_status import MigRolloutStatus, NodeStatus, Phase, Step
from inferstack.api.placement import Placement, Prefer
from inferstack.api.predictive import Predictive, Slo, SloMeasure
from inferstack.api.resources import Resources
from inferstack.api.scaling_status import ScalingStatus
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
    "MigRollout",
    "MigRolloutSpec",
    "MigRolloutStatus",
    "NodeStatus",
    "Phase",
    "Placement",
    "Predictive",
    "Prefer",
    "Resources",
    "RolloutNode",
    "RuntimeName",
    "ScalingStatus",
    "Slo",
    "SloMeasure",
    "Step",
    "Weekday",
    "WhenCold",
    "Window",
    "crds",
]
