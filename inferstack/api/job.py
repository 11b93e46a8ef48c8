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
    """Inference servers that the operator supports."""

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
    """Plain value, visible to everyone who can read the job."""
    secret_key_ref: SecretKey | None = None
    """Secret key that holds the value, for example a token of the model hub."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.value is None) == (self.secret_key_ref is None):
            raise ValueError(f"name: {self.name} needs exactly one of value and secretKeyRef")
        return self


class Disruption(ApiModel):
    """Limits on voluntary disruption."""

    max_unavailable: (
        Annotated[StrictInt, Field(ge=1, le=constants.MAX_REPLICAS)]
        | Annotated[StrictStr, StringConstraints(pattern=constants.PERCENT_PATTERN, max_length=4)]
    ) = 1
    """Maximum number or percentage (25%) of replicas that drains and rollouts may stop at the same time."""


class InferenceJobSpec(ApiModel):
    """Desired state of the job."""

    model: Annotated[StrictStr, StringConstraints(pattern=constants.MODEL_PATTERN, max_length=193)]
    """Model to serve: name or organisation/name on the model hub. A change starts a rollout."""
    runtime: RuntimeName | None = None
    """Inference server. Default: chosen by the model, text-embeddings-inference for BERT-like encoders and vllm for
    language models. triton is never chosen by default."""
    replicas: Annotated[StrictInt, Field(ge=0, le=constants.MAX_REPLICAS)] = 1
    """Number of replicas; with autoscale, the initial number. 0 pauses the job."""
    resources: Resources
    """Resources of one replica."""
    autoscale: Autoscale | None = None
    """Autoscaling of the replicas. Default: a fixed number of replicas."""
    cache: Cache | None = None
    """Dataset from which the model is loaded. Default: the model hub."""
    placement: Placement | None = None
    """Placement of replicas in the network topology. Default: on different nodes."""
    networks: Annotated[
        tuple[
            Annotated[StrictStr, StringConstraints(pattern=constants.SUBDOMAIN_PATTERN, max_length=253)],
            ...,
        ],
        Field(max_length=8),
    ] = ()
    """NetworkAttachmentDefinitions in the job's namespace that each replica is attached to, in addition to the cluster
    network. The resources must include their devices."""
    priority_class_name: (
        Annotated[StrictStr, StringConstraints(pattern=constants.SUBDOMAIN_PATTERN, max_length=253)] | None
    ) = None
    """PriorityClass of the replicas, which decides about preemption if GPUs are scarce."""
    disruption: Disruption = Disruption()
    """Limits on voluntary disruption."""
    image: Annotated[StrictStr, StringConstraints(pattern=constants.IMAGE_PATTERN, max_length=512)] | None = None
    """Container image of the server. Default: the image of the runtime."""
    port: Annotated[StrictInt, Field(ge=1024, le=65535)] | None = None
    """Port on which the server listens. Default: the port of the runtime."""
    args: Annotated[tuple[Annotated[StrictStr, StringConstraints(max_length=1024)], ...], Field(max_length=64)] = ()
    """Arguments of the server, after those of the runtime."""
    env: Annotated[tuple[EnvVar, ...], Field(max_length=64)] = ()
    """Environment variables of the server, each name at most once."""

    @field_validator("env")
    @classmethod
    def _unique_names(cls, env: tuple[EnvVar, ...]) -> tuple[EnvVar, ...]:
        names = [variable.name for variable in env]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"duplicate name {name}")
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
        predictive = scale.predictive if scale is not None else None
        if scale is not None and predictive is not None and predictive.budget_gpus is not None:
            minimum = max(scale.min_replicas, self.replicas)
            if predictive.budget_gpus < minimum * self.resources.gpus:
                raise ValueError(
                    f"autoscale.predictive.budgetGpus: is {predictive.budget_gpus}, which does not cover "
                    f"{minimum} replicas (replicas or autoscale.minReplicas) of {self.resources.gpus} GPUs"
                )
        if self.runtime is RuntimeName.TRITON and not any(
            argument.startswith(constants.TRITON_REPOSITORY) for argument in self.args
        ):
            raise ValueError(f"args: triton needs {constants.TRITON_REPOSITORY}<path of the models>")
        return self


class InferenceJob(ApiModel):
    """A model served by equal replicas on GPUs or MIG slices, behind one Service of the job's name."""

    api_version: Literal["deepseek.ai/v1"]
    """APIVersion of this object."""
    kind: Literal["InferenceJob"]
    """Kind of this object."""
    metadata: dict[str, Any]
    """Standard object metadata. The Service has the same name, so it must be a DNS-1035 label."""
    spec: InferenceJobSpec
    """Desired state of the job."""
    status: InferenceJobStatus | None = None
    """Observed state of the job."""

    @field_validator("metadata")
    @classmethod
    def _named(cls, metadata: dict[str, Any]) -> dict[str, Any]:
        name = metadata.get("name")
        valid = (
            isinstance(name, str) and len(name) <= constants.NAME_LENGTH and re.fullmatch(constants.NAME_PATTERN, name)
        )
        if not valid:
            raise ValueError(
                f"name: {name!r} is not a name of at most {constants.NAME_LENGTH} lower-case letters, digits and "
                "dashes that starts with a letter, as its Service needs"
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
            # Values that are not a count of GPUs are rejected by the rules of the resources.
            "!has(self.autoscale) || !has(self.autoscale.predictive) || !has(self.autoscale.predictive.budgetGpus) || "
            f"self.resources.limits.all(k, !(k in {list(constants.GPU_RESOURCES)}) || "
            f"!string(self.resources.limits[k]).matches('{constants.GPU_COUNT_PATTERN}') || "
            "int(string(self.resources.limits[k])) * (self.replicas > self.autoscale.minReplicas ? self.replicas : "
            "self.autoscale.minReplicas) <= self.autoscale.predictive.budgetGpus)",
            "autoscale.predictive.budgetGpus: must cover replicas and autoscale.minReplicas",
            field=".autoscale.predictive.budgetGpus",
        ),
        Rule(
            "!has(self.runtime) || self.runtime != 'triton' || "
            f"(has(self.args) && self.args.exists(a, a.startsWith('{constants.TRITON_REPOSITORY}')))",
            f"args: triton needs {constants.TRITON_REPOSITORY}<path of the models>",
            field=".args",
        ),
    ],
    InferenceJob: [
        Rule(
            f"self.metadata.name.matches('{constants.NAME_PATTERN}') && "
            f"size(self.metadata.name) <= {constants.NAME_LENGTH}",
            f"metadata.name: must have at most {constants.NAME_LENGTH} lower-case letters, digits and dashes and "
            "start with a letter, as its Service needs",
        )
    ],
}
