"""Resource requests and limits of one replica."""

from __future__ import annotations

import re
from typing import Annotated, Any, Self

from pydantic import Field, StrictInt, StrictStr, StringConstraints, model_validator

from inferstack.api import constants
from inferstack.api.base import ApiModel
from inferstack.api.rules import Rule
from inferstack.apimachinery.quantity import parse_quantity

Quantity = (
    Annotated[StrictInt, Field(ge=0, le=constants.MAX_AMOUNT)]
    | Annotated[StrictStr, StringConstraints(pattern=constants.QUANTITY_PATTERN, max_length=24)]
)
"""An amount as Kubernetes writes it: 1, "500m", "16Gi"."""

_ALLOWED = [*constants.NATIVE_RESOURCES, *constants.GPU_RESOURCES]
_GPUS = list(constants.GPU_RESOURCES)


def _key_rule(field: str) -> Rule:
    return Rule(
        f"self.{field}.all(k, k in {_ALLOWED} || (!k.startsWith('nvidia.com/') && "
        f"size(k) <= {constants.DEVICE_LENGTH} && k.matches('{constants.DEVICE_PATTERN}')))",
        f"{field}: a name is no resource that a replica can have: use cpu, memory, ephemeral-storage, hugepages-*, "
        "nvidia.com/gpu, a MIG profile that some GPU has (nvidia.com/mig-1g.5gb), or a device plugin's domain/name",
        field=f".{field}",
    )


class Resources(ApiModel):
    """CPU, memory and devices of one replica: exactly one kind of GPU, whole or MIG slice, in whole numbers."""

    requests: Annotated[dict[str, Quantity], Field(min_length=1, max_length=constants.MAX_RESOURCES)]
    """Resources that the scheduler reserves for one replica, at most the limits. Devices, including GPUs, and huge
    pages must be equal to the limits."""
    limits: Annotated[dict[str, Quantity], Field(min_length=1, max_length=constants.MAX_RESOURCES)]
    """Maximum resources of one replica, with exactly one GPU resource: nvidia.com/gpu or nvidia.com/mig-<profile>."""

    @property
    def gpu(self) -> str:
        """The GPU resource."""
        return next(name for name in self.limits if name in constants.GPU_RESOURCES)

    @property
    def gpus(self) -> int:
        """GPUs or slices of one replica."""
        return int(self.limits[self.gpu])

    @model_validator(mode="after")
    def _check(self) -> Self:
        for field in ("requests", "limits"):
            _check_names(field, getattr(self, field))
            _check_counts(field, getattr(self, field))
        gpus = [name for name in self.limits if name in constants.GPU_RESOURCES]
        if len(gpus) != 1:
            raise ValueError(
                f"limits: names {len(gpus)} GPU resources ({', '.join(gpus) or 'none'}); a replica has exactly one kind"
            )
        for name in sorted({*self.requests, *self.limits}):
            asked, limit = self.requests.get(name), self.limits.get(name)
            if not constants.is_shared(name):
                if str(asked) != str(limit):
                    raise ValueError(
                        f"requests: {name} is {asked}, but limits has {limit}; devices and huge pages must be equal "
                        "in both"
                    )
            elif asked is not None and limit is not None and parse_quantity(asked) > parse_quantity(limit):
                raise ValueError(f"requests: {name} is {asked}, more than limits has: {limit}")
        return self


def _check_names(field: str, amounts: dict[str, Any]) -> None:
    for name in amounts:
        if name not in _ALLOWED and not _is_device(name):
            raise ValueError(
                f"{field}: {name} is no resource that a replica can have: use cpu, memory, ephemeral-storage, "
                "hugepages-*, nvidia.com/gpu, a MIG profile that some GPU has (nvidia.com/mig-1g.5gb), "
                "or a device plugin's domain/name"
            )


def _is_device(name: str) -> bool:
    """Return whether a resource is another vendor's device; those of NVIDIA are listed."""
    valid = len(name) <= constants.DEVICE_LENGTH and re.fullmatch(constants.DEVICE_PATTERN, name)
    return bool(valid) and not name.startswith("nvidia.com/")


def _check_counts(field: str, amounts: dict[str, Any]) -> None:
    for name, amount in amounts.items():
        if name in constants.GPU_RESOURCES and not re.fullmatch(constants.GPU_COUNT_PATTERN, str(amount)):
            raise ValueError(f"{field}: {name} is {amount}; GPUs come in whole numbers from 1 to {constants.MAX_GPUS}")
        if not constants.is_native(name) and not re.fullmatch(constants.DEVICE_COUNT_PATTERN, str(amount)):
            raise ValueError(f"{field}: {name} is {amount}; devices come in whole numbers from 1 to 9999")


def _count_rules(field: str) -> list[Rule]:
    return [
        Rule(
            f"self.{field}.all(k, !(k in {_GPUS}) || string(self.{field}[k]).matches('{constants.GPU_COUNT_PATTERN}'))",
            f"{field}: GPUs come in whole numbers from 1 to {constants.MAX_GPUS}",
            field=f".{field}",
        ),
        Rule(
            f"self.{field}.all(k, !k.contains('/') || "
            f"string(self.{field}[k]).matches('{constants.DEVICE_COUNT_PATTERN}'))",
            f"{field}: devices come in whole numbers from 1 to 9999",
            field=f".{field}",
        ),
    ]


_UNSHARED = "(k.contains('/') || k.startsWith('hugepages-'))"
RULES: dict[type[ApiModel], list[Rule]] = {
    Resources: [
        _key_rule("requests"),
        _key_rule("limits"),
        *_count_rules("requests"),
        *_count_rules("limits"),
        Rule(
            f"self.limits.filter(k, k in {_GPUS}).size() == 1",
            "limits: a replica has exactly one kind of GPU: nvidia.com/gpu or one nvidia.com/mig-<profile>",
            field=".limits",
        ),
        Rule(
            f"self.requests.all(k, !{_UNSHARED} || (k in self.limits && "
            "string(self.requests[k]) == string(self.limits[k])))",
            "requests: devices and huge pages must be equal in requests and limits",
            field=".requests",
        ),
        Rule(
            f"self.limits.all(k, !{_UNSHARED} || k in self.requests)",
            "requests: must name the devices and huge pages of limits",
            field=".requests",
        ),
        Rule(
            # The pattern rejects values that are not quantities.
            f"self.requests.all(k, {_UNSHARED} || !(k in self.limits) || !isQuantity(string(self.requests[k])) || "
            "!isQuantity(string(self.limits[k])) || "
            "quantity(string(self.requests[k])).compareTo(quantity(string(self.limits[k]))) <= 0)",
            "requests: must not exceed limits",
            field=".requests",
        ),
    ]
}
"""The checks of the validators above in CEL, for the API server."""
