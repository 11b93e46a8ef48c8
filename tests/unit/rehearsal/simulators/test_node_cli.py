"""What ``inferstack node list`` makes of a node."""

from __future__ import annotations

import json
from typing import Any

import pytest

from inferstack.cli.node.listing import make_row, make_table_row

HARDWARE = {"instanceType": "p4d.24xlarge", "cpu": "96", "memory": "1152Gi", "pods": 110}
GPUS = {**HARDWARE, "gpu": "A100-SXM4-40GB", "gpus": 8}


def _node(
    hardware: dict[str, Any] | None, labels: dict[str, str], capacity: dict[str, str], allocatable: dict[str, str]
) -> dict[str, Any]:
    key = "rehearsal.inferstack.dev/hardware"
    return {
        "metadata": {
            "name": "n",
            "labels": {"node.kubernetes.io/instance-type": "p4d.24xlarge", **labels},
            "annotations": {} if hardware is None else {key: json.dumps(hardware)},
        },
        "status": {
            "capacity": capacity,
            "allocatable": allocatable,
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


@pytest.mark.parametrize(
    ("node", "shown"),
    [
        (
            _node(GPUS, {"nvidia.com/mig.config.state": "success"}, {"nvidia.com/gpu": "8"}, {"nvidia.com/gpu": "6"}),
            ("8 x A100-SXM4-40GB", "all-disabled", "success", "gpu: 6 of 8"),
        ),
        (
            _node(
                GPUS,
                {"nvidia.com/mig.config": "all-1g.5gb", "nvidia.com/mig.config.state": "failed"},
                {"nvidia.com/gpu": "0", "nvidia.com/mig-1g.5gb": "56", "nvidia.com/mig-3g.20gb": "0"},
                {"nvidia.com/gpu": "0", "nvidia.com/mig-1g.5gb": "56"},
            ),
            ("8 x A100-SXM4-40GB", "all-1g.5gb", "failed", "mig-1g.5gb: 56"),
        ),
        (_node(GPUS, {}, {"cpu": "96"}, {"cpu": "96"}), ("8 x A100-SXM4-40GB", "-", "-", "-")),
        (_node(HARDWARE, {}, {}, {}), ("-", "-", "-", "-")),
        (_node({"cpu": "1"}, {}, {}, {}), ("? (instanceType: missing)", "-", "-", "-")),
        (
            _node(None, {"nvidia.com/gpu.product": "NVIDIA-H200"}, {"nvidia.com/gpu": "8"}, {"nvidia.com/gpu": "8"}),
            ("NVIDIA-H200", "-", "-", "gpu: 8"),
        ),
    ],
    ids=["lost GPUs", "cut", "no operator", "no GPU", "bad annotation", "real node"],
)
def test_node_row_shows_its_state(node: dict[str, Any], shown: tuple[str, str, str, str]) -> None:
    row = make_table_row(make_row(node))
    assert (row["gpus"], row["layout"], row["state"], row["allocatable"]) == shown
    assert (row["node"], row["type"], row["ready"]) == ("n", "p4d.24xlarge", "yes")
