"""The catalogue of add-ons, read from ``catalogue.yaml``."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, TypeAdapter, model_validator

from inferstack.apimachinery import yamltext
from inferstack.apimachinery.model import StrictModel

AddonName = Literal[
    "gpu-operator",
    "sriov-network-operator",
    "aws-efa-k8s-device-plugin",
    "fluid",
    "istio-base",
    "istiod",
    "istio-cni",
    "istio-ztunnel",
    "istio-gateway",
    "kube-prometheus-stack",
    "prometheus-adapter",
    "keda",
    "cilium",
]
"""The name of an add-on: the key of its chart in versions.yaml and the name of its Helm release."""


class Facts(StrictModel):
    """One add-on; see the head of catalogue.yaml."""

    namespace: str
    privileged: bool
    crds: tuple[str, ...] = ()
    objects: tuple[dict[str, str], ...] = ()
    rehearsed: Literal["own", "modules", "none"]
    module: str | None = None
    free: tuple[str, ...] = ()
    crd_files: tuple[str, ...] = ()
    crd_exclusion: str | None = None
    values: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _known(self) -> Facts:
        if not self.crds and not self.objects:
            raise ValueError("an add-on without CRDs needs an object in signs")
        return self

    @property
    def signs(self) -> list[dict[str, Any]]:
        """References to the objects whose presence shows that the add-on is installed."""
        return [*(crd_reference(crd) for crd in self.crds), *map(_reference, self.objects)]


def crd_reference(crd: str) -> dict[str, Any]:
    """Return a reference to a CRD."""
    return {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": crd}}


def _reference(given: dict[str, str]) -> dict[str, Any]:
    named = {key: given[key] for key in ("name", "namespace") if key in given}
    return {"apiVersion": given["apiVersion"], "kind": given["kind"], "metadata": named}


@functools.cache
def load() -> dict[AddonName, Facts]:
    """Return all add-ons."""
    content = yamltext.parse((Path(__file__).parent / "catalogue.yaml").read_text())
    catalogue = TypeAdapter(dict[AddonName, Facts]).validate_python(content)
    assert tuple(catalogue) == get_args(AddonName)  # noqa: S101  # our own file, checked by a test
    return catalogue
