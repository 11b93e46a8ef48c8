"""Jobs and their plans."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from inferstack.api import runtimes
from inferstack.apimachinery.objects import Object
from inferstack.controllers.jobs.plan import Plan, make_plan


@pytest.fixture
def make_job() -> Callable[..., Object]:
    """Return a function that makes a job as the API server shows it; keyword arguments change its spec."""

    def make(**spec: Any) -> Object:
        gpu = {"nvidia.com/gpu": 1}
        return {
            "apiVersion": "deepseek.ai/v1",
            "kind": "InferenceJob",
            "metadata": {"name": "bert", "namespace": "ml", "uid": "u-1", "resourceVersion": "7", "generation": 3},
            "spec": {
                "model": "bert-base-uncased",
                "replicas": 8,
                "resources": {"requests": dict(gpu), "limits": dict(gpu)},
                **spec,
            },
        }

    return make


@pytest.fixture
def plan_of(make_job: Callable[..., Object]) -> Callable[..., Plan]:
    """Return a function that makes the plan of such a job."""

    def make(**spec: Any) -> Plan:
        plan = make_plan(make_job(**spec), runtimes.load())
        assert isinstance(plan, Plan), plan
        return plan

    return make
