"""A pod's extended resources, counted as kube-scheduler counts them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferstack.mig.errors import LayoutError
from inferstack.mig.pods import count_resources, pod_requests
from inferstack.mig.resources import GPU_RESOURCE, is_nvidia

SLICE = "nvidia.com/mig-1g.5gb"


def container(gpus: int = 0, *, sidecar: bool = False, resource: str = GPU_RESOURCE) -> dict[str, Any]:
    """Return a container that requests GPUs; a sidecar restarts always."""
    policy = {"restartPolicy": "Always"} if sidecar else {}
    return {"name": "c", "resources": {"limits": {resource: str(gpus)}}, **policy}


def pod(*containers: dict[str, Any], init: tuple[dict[str, Any], ...] = (), **spec: Any) -> dict[str, Any]:
    """Return a pod."""
    return {
        "metadata": {"namespace": "ns", "name": "p"},
        "spec": {"containers": list(containers), "initContainers": list(init), **spec},
    }


def test_containers_run_together() -> None:
    assert pod_requests(pod(container(2), container(1), container(3, resource=SLICE))) == {GPU_RESOURCE: 3, SLICE: 3}


def test_largest_init_container_counts_where_it_is_larger() -> None:
    assert pod_requests(pod(container(1), init=(container(3), container(2)))) == {GPU_RESOURCE: 3}
    assert pod_requests(pod(container(4), init=(container(3), container(2)))) == {GPU_RESOURCE: 4}


def test_sidecar_runs_beside_the_containers() -> None:
    assert pod_requests(pod(container(1), init=(container(2, sidecar=True),))) == {GPU_RESOURCE: 3}


def test_sidecar_counts_toward_later_init_containers_only() -> None:
    sidecar = container(2, sidecar=True)
    assert pod_requests(pod(container(1), init=(sidecar, container(4)))) == {GPU_RESOURCE: 6}
    assert pod_requests(pod(container(1), init=(container(4), sidecar))) == {GPU_RESOURCE: 4}


def test_overhead_is_added_to_either_phase() -> None:
    assert pod_requests(pod(container(1), overhead={GPU_RESOURCE: "1"})) == {GPU_RESOURCE: 2}
    assert pod_requests(pod(container(1), init=(container(4),), overhead={GPU_RESOURCE: "1"})) == {GPU_RESOURCE: 5}


def test_request_that_is_left_out_is_the_limit() -> None:
    asks = {"resources": {"limits": {GPU_RESOURCE: "2", SLICE: "1"}, "requests": {SLICE: "1"}}}
    assert pod_requests(pod(asks)) == {GPU_RESOURCE: 2, SLICE: 1}


def test_zeros_and_other_resources_are_left_out() -> None:
    asks = {"resources": {"limits": {"cpu": "500m", "nvidia.com/gpu.shared": "1", GPU_RESOURCE: "0"}}}
    assert pod_requests(pod(asks)) == {}
    assert pod_requests(pod(asks), is_nvidia) == {"nvidia.com/gpu.shared": 1}
    assert pod_requests({"metadata": {"name": "p"}}) == {}


def test_canonical_form_of_a_large_count_is_read() -> None:
    assert count_resources("n", {GPU_RESOURCE: "1k"}) == {GPU_RESOURCE: 1000}


def test_fractional_gpu_request_error_names_pod() -> None:
    with pytest.raises(LayoutError, match=r"^ns/p: nvidia\.com/gpu: "):
        pod_requests(pod({"resources": {"limits": {GPU_RESOURCE: "500m"}}}))


@given(
    st.lists(st.integers(0, 4), max_size=3),
    st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=5),
    st.integers(0, 2),
)
def test_request_equals_peak_of_concurrent_containers(
    containers: list[int], init: list[tuple[int, bool]], overhead: int
) -> None:
    """Replays the life of the pod: init containers one after the other, then the containers, beside the sidecars."""
    held = peak = 0
    for gpus, sidecar in init:
        peak = max(peak, held + gpus)
        held += gpus if sidecar else 0
    peak = max(peak, held + sum(containers)) + overhead
    manifest = pod(
        *map(container, containers),
        init=tuple(container(gpus, sidecar=sidecar) for gpus, sidecar in init),
        overhead={GPU_RESOURCE: str(overhead)},
    )
    assert pod_requests(manifest)[GPU_RESOURCE] == peak
