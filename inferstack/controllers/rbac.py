"""The rights of the process that runs the controllers of jobs and of MIG rollouts."""

from __future__ import annotations

from typing import Any

from inferstack.controllers.jobs import rbac as jobs
from inferstack.controllers.mig import rbac as mig
from inferstack.k8s.rbac import PolicyRule

RIGHTS: tuple[PolicyRule, ...] = (*jobs.RIGHTS, *mig.RIGHTS)


def rules() -> list[dict[str, Any]]:
    """Return the PolicyRules of the ClusterRole ``inferstack-operator``."""
    return [right.manifest() for right in RIGHTS]
