"""InferenceJob: one model, served by a number of equal replicas."""

from __future__ import annotations

import enum
import re
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StrictInt, StrictStr, StringConstraints, field_validator, model_validator

from inferstack.api import constants
from inferstack.api.autoscale import Autoscale
from inferstack.api.base import ApiModel
from inferstack.api.cache import Cache
from inferstack.api.placement import Placement
from inferstack.api.resources import Resources
from inferstack.api.rules import Rule
from inferstack.api.status import InferenceJobStatus

Text = Annotated[StrictStr, StringConstraints(max_length=4096)]


class RuntimeName(enum.StrEnum):
    """Servers that the operator knows how to start."""

    TEXT_EMBEDDINGS_INFERENCE = "text-embeddings-inference"
    VLLM = "vllm"
    TRITON = "triton"


class SecretKey(ApiModel):
    """One key of a Secret in the job's namespace."""

    name: Annotated[StrictStr, StringConstraints(pattern=constants.SUBDOMAIN_PATTERN, max_length=253)]
    """Name of the Secret."""
    key: Annotated[StrictStr, StringConstraints(pattern=constants.DATA_KEY_PATTERN, max_length=253)]
    """Key in the Secret."""


class EnvVar(ApiModel):
    """One environment variable of the server: a value, or a key of a Secret."""

    name: Annotated[StrictStr, StringConstraints(pattern=constants.ENV_NAME_PATTERN, max_length=128)]
    """Name of the variable."""
    value: Text | None = None
    """Plain value. Anyone who may read the job can read it."""
    secret_key_ref: SecretKey | None = None
    """Where a secret value is, a token of the model hub for instance."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.value is None) == (self.secret_key_ref is None):
            raise ValueError(f"name: {self.name} needs exactly one of value and secretKeyRef")
        return self


class Disruption(ApiModel):
    """What maintenance and rollouts may take away at a time."""

    max_unavailable: (
        Annotated[StrictInt, Field(ge=1, le=constants.MAX_REPLICAS)]
        | Annotated[StrictStr, StringConstraints(pattern=constants.PERCENT_PATTERN, max_length=4)]
    ) = 1
    """Replicas that drains and rollouts may take down at the same time: a number or a percentage (25%)."""


class InferenceJobSpec(ApiModel):
    """What is to run."""

    model: Annotated[StrictStr, StringConstraints(pattern=constants.MODEL_PATTERN, max_length=193)]
    """The model: name or organisation/name on the model hub. A change rolls out."""
    runtime: RuntimeName | None = None
    """The server. Where it is left out, the operator's table of models chooses: text-embeddings-inference for
    BERT-like encoders, vllm for language models. triton is taken only where it is named."""
    replicas: Annotated[StrictInt, Field(ge=0, le=constants.MAX_REPLICAS)] = 1
    """Replicas at the start, and until they are changed where autoscale is not set. 0 pauses the job."""
    resources: Resources
    """Resources of one replica."""
    autoscale: Autoscale | None = None
    """Set to let the number of replicas follow the load."""
    cache: Cache | None = None
    """Set to load the model from a cached Dataset instead of the model hub."""
    placement: Placement | None = None
    """Set to place replicas by the switches above their nodes, and not only on different nodes."""
    networks: Annotated[
        tuple[
            Annotated[StrictStr, StringConstraints(pattern=constants.SUBDOMAIN_PATTERN, max_length=253)],
            ...,
        ],
        Field(max_length=8),
    ] = ()
    """NetworkAttachmentDefinitions of the job's namespace that each replica is attached to, besides the cluster's own
    network. Their devices must be among the resources too."""
    priority_class_name: (
        Annotated[StrictStr, StringConstraints(pattern=constants.SUBDOMAIN_PATTERN, max_length=253)] | None
    ) = None
    """PriorityClass of the replicas: who gives way when GPUs are short."""
    disruption: Disruption = Disruption()
    """Limits on how many replicas may be away at a time."""
    image: Annotated[StrictStr, StringConstraints(pattern=constants.IMAGE_PATTERN, max_length=512)] | None = None
    """Container image in place of the runtime's own."""
    port: Annotated[StrictInt, Field(ge=1024, le=65535)] | None = None
    """Port that the server listens on. The runtime's own where it is left out."""
    args: Annotated[tuple[Annotated[StrictStr, StringConstraints(max_length=1024)], ...], Field(max_length=64)] = ()
    """Arguments of the server, after those that the runtime's table gives."""
    env: Annotated[tuple[EnvVar, ...], Field(max_length=64)] = ()
    """Environment of the server, each name at most once."""

    @field_validator("env")
    @classmethod
    def _unique_names(cls, env: tuple[EnvVar, ...]) -> tuple[EnvVar, ...]:
        names = [variable.name for variable in env]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"{name} is there twice")
        return env

    @model_validator(mode="after")
    def _check(self) -> Self:
        scale = self.autoscale
        if scale is not None and self.replicas:
            highest = scale.max_replicas if scale.max_replicas is not None else constants.MAX_REPLICAS
            if not scale.min_replicas <= self.replicas <= highest:
                raise ValueError(
                    f"replicas: {self.replicas} is not between autoscale.minReplicas {scale.min_replicas} and "
                    f"maxReplicas {highest} (0 pauses the job)"
                )
        ahead = scale.predictive if scale is not None else None
        if scale is not None and ahead is not None and ahead.budget_gpus is not None:
            most = max(scale.min_replicas, self.replicas)
            if ahead.budget_gpus < most * self.resources.gpus:
                raise ValueError(
                    f"autoscale.predictive.budgetGpus: is {ahead.budget_gpus}, which does not hold {most} replicas of "
                    f"{self.resources.gpus} GPUs, the larger of replicas and autoscale.minReplicas"
                )
        if self.runtime is RuntimeName.TRITON and not any(
            argument.startswith(constants.TRITON_REPOSITORY) for argument in self.args
        ):
            raise ValueError(f"args: triton needs {constants.TRITON_REPOSITORY}<where the models are>")
        return self


class InferenceJob(ApiModel):
    """A model served by equal replicas on GPUs or MIG slices, behind one Service of the job's name."""

    api_version: Literal["deepseek.ai/v1"]
    """APIVersion of this object."""
    kind: Literal["InferenceJob"]
    """Kind of this object."""
    metadata: dict[str, Any]
    """Standard object metadata. The name becomes the Service's: letters, digits and dashes, a letter first."""
    spec: InferenceJobSpec
    """What is to run."""
    status: InferenceJobStatus | None = None
    """What the operator observes."""

    @field_validator("metadata")
    @classmethod
    def _named(cls, metadata: dict[str, Any]) -> dict[str, Any]:
        name = metadata.get("name")
        good = (
            isinstance(name, str) and len(name) <= constants.NAME_LENGTH and re.fullmatch(constants.NAME_PATTERN, name)
        )
        if not good:
            raise ValueError(
                f"name: {name!r} does not do for a Service: at most {constants.NAME_LENGTH} lower-case letters, digits "
                "and dashes, a letter first"
            )
        return metadata


RULES: dict[type[ApiModel], list[Rule]] = {
    EnvVar: [
        Rule(
            "has(self.value) != has(self.secretKeyRef)",
            "name: a variable needs exactly one of value and secretKeyRef",
            field=".name",
        )
    ],
    InferenceJobSpec: [
        Rule(
            "!has(self.autoscale) || self.replicas == 0 || (self.replicas >= self.autoscale.minReplicas && "
            "(!has(self.autoscale.maxReplicas) || self.replicas <= self.autoscale.maxReplicas))",
            "replicas: must lie between autoscale.minReplicas and autoscale.maxReplicas (0 pauses the job)",
            field=".replicas",
        ),
        Rule(
            # What is no count of GPUs is the resources' business.
            "!has(self.autoscale) || !has(self.autoscale.predictive) || !has(self.autoscale.predictive.budgetGpus) || "
            f"self.resources.limits.all(k, !(k in {list(constants.GPU_RESOURCES)}) || "
            f"!string(self.resources.limits[k]).matches('{constants.GPU_COUNT_PATTERN}') || "
            "int(string(self.resources.limits[k])) * (self.replicas > self.autoscale.minReplicas ? self.replicas : "
            "self.autoscale.minReplicas) <= self.autoscale.predictive.budgetGpus)",
            "autoscale.predictive.budgetGpus: must hold replicas and autoscale.minReplicas",
            field=".autoscale.predictive.budgetGpus",
        ),
        Rule(
            "!has(self.runtime) || self.runtime != 'triton' || "
            f"(has(self.args) && self.args.exists(a, a.startsWith('{constants.TRITON_REPOSITORY}')))",
            f"args: triton needs {constants.TRITON_REPOSITORY}<where the models are>",
            field=".args",
        ),
    ],
    InferenceJob: [
        Rule(
            f"self.metadata.name.matches('{constants.NAME_PATTERN}') && "
            f"size(self.metadata.name) <= {constants.NAME_LENGTH}",
            f"metadata.name: does not do for a Service: at most {constants.NAME_LENGTH} lower-case letters, digits and "
            "dashes, a letter first",
        )
    ],
}
