"""Keys of labels and annotations that more than one package reads or writes: Kubernetes' recommended ones and our own.

A key that only one package knows is defined there; the keys of an InferenceJob's children are in
`inferstack.api.labels`, those of the GPU operator in `inferstack.mig.gpu_operator`.
"""

from __future__ import annotations

from typing import Final

# https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/
APP_NAME: Final = "app.kubernetes.io/name"
INSTANCE: Final = "app.kubernetes.io/instance"
COMPONENT: Final = "app.kubernetes.io/component"
PART_OF: Final = "app.kubernetes.io/part-of"
MANAGED_BY: Final = "app.kubernetes.io/managed-by"
PLATFORM: Final = "inferstack"
"""Value of `PART_OF` on all objects of the platform."""

JOB: Final = "inferstack.dev/job"
"""Label of an InferenceJob's children: the name of the job."""
TENANT: Final = "inferstack.dev/tenant"
"""Label of a tenant's namespace: the name of the tenant."""
ADDON: Final = "inferstack.dev/addon"
"""Label of the ConfigMap that records an add-on: the name of the add-on."""
NODE_GROUP: Final = "inferstack.dev/node-group"
"""Label of a node on EKS: the name of its group."""
CHECKSUM: Final = "inferstack.dev/checksum"
"""Annotation of a pod template: digest of the ConfigMap that its pods read, so that a change restarts them."""
RESOURCE_PREFIX: Final = "inferstack.dev/resource-prefix"
"""Annotation of a SriovOperatorConfig: domain of the resources that the operator publishes."""
HARDWARE: Final = "rehearsal.inferstack.dev/hardware"
"""Annotation of a simulated node: its hardware, as JSON."""
