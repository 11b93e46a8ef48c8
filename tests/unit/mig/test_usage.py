"""The use of a cluster's GPUs, from its Nodes and Pods, and as metrics."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferstack.mig import catalogue
from inferstack.mig.errors import LayoutError
from inferstack.mig.exposition import make_exposition
from inferstack.mig.resources import WHOLE
from inferstack.mig.usage import Usage, make_usage
from tests.unit.mig.planner.fleets import A100, H100

PRODUCT = catalogue.gpu(H100).product
BALANCED = {"1g.10gb": 2, "2g.20gb": 1, "3g.40gb": 1}
"""As mig-parted's all-balanced cuts each GPU of this kind."""


def make_node(name: str, offers: dict[str, int], gpus: int, product: str = PRODUCT) -> dict[str, Any]:
    return {
        "metadata": {
            "name": name,
            "labels": {"nvidia.com/gpu.product": product, "nvidia.com/gpu.count": str(gpus)},
        },
        "status": {"allocatable": {"cpu": "96", **{f"nvidia.com/{key}": str(n) for key, n in offers.items()}}},
    }


def make_pod(name: str, node: str | None, asked: dict[str, int], namespace: str = "a", **more: Any) -> dict[str, Any]:
    limits = {f"nvidia.com/{key}": str(n) for key, n in asked.items()}
    spec = {"containers": [{"name": "server", "resources": {"limits": limits}}], **more}
    if node:
        spec["nodeName"] = node
    return {"metadata": {"name": name, "namespace": namespace}, "spec": spec, "status": {"phase": "Running"}}


def balanced(name: str = "n") -> dict[str, Any]:
    return make_node(name, {f"mig-{profile}": 8 * count for profile, count in BALANCED.items()}, 8)


def small() -> Usage:
    pods = [
        make_pod("one", "n", {"mig-1g.10gb": 1}),
        make_pod("two", "n", {"mig-3g.40gb": 2}, "b"),
        make_pod("waits", None, {"mig-7g.80gb": 1}),
        make_pod("other", "n", {"cpu": 1}),
    ]
    return make_usage([balanced()], pods, prices={H100: 14.0})


def test_usage_of_one_node() -> None:
    usage = small()
    (node,) = usage.nodes
    assert (node.model, node.gpus, dict(node.used)) == (H100, 8, {"1g.10gb": 1, "3g.40gb": 2})
    assert node.idle == {"1g.10gb": 15, "2g.20gb": 8, "3g.40gb": 6}
    assert node.slices(node.used) == (1 + 8, 1 + 6)
    assert node.total == (64, 56)
    assert usage.pending == {"7g.80gb": 1}
    assert usage.mix == {"1g.10gb": 1, "3g.40gb": 2, "7g.80gb": 1}
    # Of 55 free memory slices a 1g can use 15, a 3g 24 and a 7g none.
    assert node.unusable(usage.mix) == pytest.approx(55 - (15 + 2 * 24 + 0) / 4)
    assert node.fragmentation(usage.mix) == pytest.approx((55 - 63 / 4) / 55)


def test_namespace_costs_add_up_to_gpu_price() -> None:
    usage = small()
    assert [(namespace.owner, namespace.gpus) for namespace in usage.namespaces] == [
        ("a", Fraction(1, 7)),
        ("b", Fraction(1)),
        ("", 8 - 1 - Fraction(1, 7)),
    ]
    assert [namespace.usd_per_hour for namespace in usage.namespaces] == pytest.approx([2.0, 14.0, 96.0])
    assert all(namespace.usd_per_hour is None for namespace in make_usage([balanced()], []).namespaces)


@given(st.lists(st.tuples(st.sampled_from(sorted(BALANCED)), st.integers(1, 4), st.sampled_from("ab")), max_size=12))
def test_shares_never_exceed_the_gpus_and_ratios_are_ratios(asked: list[tuple[str, int, str]]) -> None:
    pods = [make_pod(f"p{i}", "n", {f"mig-{name}": n}, space) for i, (name, n, space) in enumerate(asked)]
    usage = make_usage([balanced()], pods, prices={H100: 3.0})
    assert sum(namespace.gpus for namespace in usage.namespaces) == 8
    assert sum(namespace.usd_per_hour or 0.0 for namespace in usage.namespaces) == pytest.approx(24.0)
    assert 0 <= usage.nodes[0].fragmentation(usage.mix) <= 1


def test_whole_gpus_and_the_single_strategy() -> None:
    whole = make_node("whole", {"gpu": 8}, 8)
    single = make_node("single", {"gpu": 14}, 14, f"{PRODUCT}-MIG-1g.10gb")
    pods = [make_pod("w", "whole", {"gpu": 3}), make_pod("s", "single", {"gpu": 3})]
    first, second = sorted(make_usage([whole, single], pods).nodes, key=lambda node: node.node)
    assert (first.gpus, dict(first.instances), dict(first.used)) == (2, {"1g.10gb": 14}, {"1g.10gb": 3})
    assert (second.gpus, dict(second.instances), dict(second.used)) == (8, {WHOLE: 8}, {WHOLE: 3})
    assert second.slices(second.used) == (24, 21)


def test_pods_count_as_the_scheduler_counts_them() -> None:
    more: dict[str, Any] = {
        "initContainers": [
            {"name": "large", "resources": {"requests": {"nvidia.com/mig-1g.10gb": "3"}}},
            {"name": "beside", "restartPolicy": "Always", "resources": {"limits": {"nvidia.com/mig-2g.20gb": "1"}}},
        ]
    }
    over = make_pod("over", "n", {"mig-1g.10gb": 1})
    over["status"]["phase"] = "Succeeded"
    usage = make_usage([balanced()], [make_pod("p", "n", {"mig-1g.10gb": 1}, **more), over])
    assert dict(usage.nodes[0].used) == {"1g.10gb": 3, "2g.20gb": 1}


def test_nodes_with_unknown_gpus_are_reported() -> None:
    other = make_node("t4", {"gpu": 1}, 1, "Tesla-T4")
    plain = {"metadata": {"name": "cpu"}, "status": {"allocatable": {"cpu": "4"}}}
    usage = make_usage([other, plain], [make_pod("p", "t4", {"gpu": 1})])
    assert (usage.nodes, usage.unknown) == ((), {"t4": "Tesla-T4 is not in the catalogue"})
    assert usage.quotas == ()


def test_tightest_quota_of_namespace_applies() -> None:
    def quota(name: str, hard: dict[str, str]) -> dict[str, Any]:
        return {"metadata": {"name": name, "namespace": "a"}, "spec": {"hard": hard}}

    quotas = [
        quota("wide", {"requests.nvidia.com/mig-1g.10gb": "14"}),
        quota("tight", {"requests.nvidia.com/mig-1g.10gb": "7", "pods": "4"}),
        quota("cpu", {"requests.cpu": "4"}),
    ]
    (allocation,) = make_usage([balanced()], [], quotas, {H100: 7.0}).quotas
    assert (allocation.owner, allocation.instances, allocation.gpus) == ("a", 7, Fraction(1))
    assert allocation.usd_per_hour == pytest.approx(7.0)


def test_quota_is_counted_for_the_board_that_has_its_profiles() -> None:
    small = make_node("small", {"mig-1g.5gb": 112}, 16, catalogue.gpu(A100).product)
    quotas = [
        {"metadata": {"name": "q", "namespace": space}, "spec": {"hard": {f"requests.nvidia.com/mig-{profile}": "1"}}}
        for space, profile in (("big", "3g.40gb"), ("both", "1g.10gb"), ("none", "1g.6gb"))
    ]
    usage = make_usage([balanced(), small], [], quotas)
    # 1g.10gb is on both boards: there are more of the small A100.
    assert [(quota.owner, quota.gpus) for quota in usage.quotas] == [("big", Fraction(1, 2)), ("both", Fraction(1, 4))]
    assert usage.unknown == {"ResourceQuota none/q": "no board here has nvidia.com/mig-1g.6gb"}


def test_invalid_quantity_error_names_pod() -> None:
    with pytest.raises(LayoutError, match=r"a/p: nvidia\.com/mig-1g\.10gb: expected a whole number, got '500m'"):
        make_usage([balanced()], [make_pod("p", "n", {"mig-1g.10gb": "500m"})])  # type: ignore[dict-item]


def test_metrics_add_up_to_the_gpus_slices() -> None:
    text = make_exposition(small())
    lines = text.splitlines()
    memory = [line for line in lines if line.startswith("inferstack_mig_memory_slices{")]
    assert memory[0] == f'inferstack_mig_memory_slices{{node="n",gpu="{H100}",state="used"}} 9'
    assert sum(float(line.rpartition(" ")[2]) for line in memory) == 64
    compute = [line for line in lines if line.startswith("inferstack_mig_compute_slices{")]
    assert sum(float(line.rpartition(" ")[2]) for line in compute) == 56
    assert f'inferstack_mig_fragmentation_ratio{{node="n",gpu="{H100}"}} 0.713636363636' in lines
    assert 'inferstack_mig_waiting_instances{profile="7g.80gb"} 1' in lines
    assert 'inferstack_mig_namespace_cost_usd_per_hour{namespace="b"} 14' in lines
    assert "inferstack_mig_idle_cost_usd_per_hour 96" in lines
    names = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(names) == len(set(names)) == text.count("# HELP") == 9
    assert text.endswith("\n")


def test_metrics_of_nothing_and_odd_names() -> None:
    assert make_exposition(make_usage([], [])) == ""
    node = balanced('q"uote\\')
    assert 'node="q\\"uote\\\\"' in make_exposition(make_usage([node], []))
