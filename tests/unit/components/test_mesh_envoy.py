"""EnvoyFilters, field by field: each value parsed as the message of Envoy's that it becomes a part of."""

from __future__ import annotations

import copy
import datetime
import re
from collections.abc import Iterator
from typing import Any

import pytest

from components.mesh import proxies
from components.mesh.envoy import make_filters
from components.mesh.objects import SERVICE_PORT
from components.mesh.settings import MeshSettings
from components.settings import load_role
from inferstack.api import InferenceJob, runtimes
from inferstack.apimachinery.objects import Object
from inferstack.controllers.jobs.builders import make_service
from tests.unit.components.envoy_api import NotEnvoysError, PeakEwma, parse, type_of

JOBS = [("nlp", "a"), ("nlp", "b")]
EWMA = {"traffic": {"loadBalancing": "PEAK_EWMA", "peakEwma": {"decaySeconds": 7, "defaultMilliseconds": 250}}}
SHARE = {"ejection": {"failurePercentage": {"threshold": 7, "minimumHosts": 3, "requestVolume": 40}}}


def filters(given: Object, context: Any = "SIDECAR_OUTBOUND") -> dict[str, list[Object]]:
    """Return the patches of each EnvoyFilter by its name."""
    manifests = make_filters(load_role("mesh", MeshSettings, given), "nlp", context, JOBS)
    return {manifest["metadata"]["name"]: manifest["spec"]["configPatches"] for manifest in manifests}


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where the values are that hold no others."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in inner:
        yield from leaves(below, (*path, key))
    if not isinstance(value, dict | list):
        yield path


PATCHES = [patch for patch_lists in filters({**EWMA, **SHARE}).values() for patch in patch_lists]
LEAVES = [(index, path) for index, patch in enumerate(PATCHES) for path in leaves(patch["patch"]["value"])]


@pytest.mark.parametrize("context", ["SIDECAR_OUTBOUND", "GATEWAY"])
@pytest.mark.parametrize("given", [{}, SHARE, EWMA, {**EWMA, **SHARE}])
def test_every_patch_is_a_part_of_envoys_configuration(given: Object, context: str) -> None:
    by_name = filters(given, context)
    assert by_name
    for patches in by_name.values():
        for patch in patches:
            assert patch["match"]["context"] == context
            assert bytes(parse(patch["applyTo"], patch["patch"]["value"]))


def changed(index: int, path: tuple[Any, ...], *, name: bool) -> tuple[str, Object]:
    """Return a patch with another name, or another type of value, at one place."""
    patch = copy.deepcopy(PATCHES[index])
    holder = patch["patch"]["value"]
    for key in path[:-1]:
        holder = holder[key]
    value = holder.pop(path[-1])
    holder[f"{path[-1]}s" if name else path[-1]] = value if name else [value]
    return patch["applyTo"], patch["patch"]["value"]


@pytest.mark.parametrize(("index", "path"), LEAVES)
def test_a_wrong_name_or_type_anywhere_is_noticed(index: int, path: tuple[Any, ...]) -> None:
    for name in (True, False):
        with pytest.raises((NotEnvoysError, TypeError)):
            parse(*changed(index, path, name=name))


def test_numbers_out_of_range_and_text_for_numbers_are_noticed() -> None:
    for threshold in (-1, 2**32, "5", 5.0, True):
        with pytest.raises((NotEnvoysError, ValueError)):
            parse("CLUSTER", {"outlier_detection": {"failure_percentage_threshold": threshold}})
    for interval in (10, "10", "10ms"):
        with pytest.raises(NotEnvoysError):
            parse("CLUSTER", {"outlier_detection": {"interval": interval}})


def test_envoy_ejects_by_the_share_that_the_settings_say() -> None:
    (patch,) = filters(SHARE)["failure-percentage"]
    read = parse("CLUSTER", patch["patch"]["value"]).outlier_detection  # type: ignore[attr-defined]  # a Cluster
    assert (read.failure_percentage_threshold, read.failure_percentage_minimum_hosts) == (7, 3)
    assert read.failure_percentage_request_volume == 40
    # Its default is 0: Envoy would count and eject nobody.
    assert read.enforcing_failure_percentage == 100
    # Not by the spread of success rates, which is on by default; in Istio it is off.
    assert read.enforcing_success_rate == 0
    assert (read.interval, read.base_ejection_time) == (datetime.timedelta(seconds=10), datetime.timedelta(seconds=30))


def test_small_pools_are_looked_at_by_default() -> None:
    (patch,) = filters({})["failure-percentage"]
    value = patch["patch"]["value"]["outlier_detection"]
    # Envoy's defaults are 5 hosts and 50 requests.
    assert value["failure_percentage_threshold"] == 5
    assert value["failure_percentage_minimum_hosts"] == 2
    assert value["failure_percentage_request_volume"] == 21


def test_clusters_without_a_port_are_left_alone() -> None:
    (patch,) = filters({})["failure-percentage"]
    assert patch["match"]["cluster"] == {"portNumber": SERVICE_PORT}


def test_the_port_is_that_of_the_jobs_services() -> None:
    meta = {"name": "a", "namespace": "nlp", "uid": "1"}
    spec = {"model": "m", "resources": {"requests": {"nvidia.com/gpu": 1}, "limits": {"nvidia.com/gpu": 1}}}
    job = InferenceJob.model_validate(
        {"apiVersion": "deepseek.ai/v1", "kind": "InferenceJob", "metadata": meta, "spec": spec}
    )
    for runtime in runtimes.load().runtimes.values():
        ports = make_service(job, runtime)["spec"]["ports"]
        assert [port["port"] for port in ports if port["name"] == "http"] == [SERVICE_PORT]


def test_peak_ewma_is_a_policy_for_each_job_and_the_filter_that_measures_for_it() -> None:
    measure, *policies = filters(EWMA)["peak-ewma"]
    assert measure["patch"]["operation"] == "INSERT_BEFORE"
    assert measure["match"]["listener"]["filterChain"]["filter"]["subFilter"]["name"] == "envoy.filters.http.router"
    # By name: clusters that are not of endpoints would be refused by Envoy.
    services = [patch["match"]["cluster"] for patch in policies]
    assert services == [{"service": f"{name}.nlp.svc.cluster.local"} for name in ("a", "b")]
    for patch in policies:
        cluster: Any = parse("CLUSTER", patch["patch"]["value"])
        (policy,) = cluster.load_balancing_policy.policies
        packed = policy.typed_extension_config.typed_config
        assert type_of(packed) is PeakEwma
        read = PeakEwma.parse(packed.value)
        assert (read.decay_time, read.default_rtt) == (
            datetime.timedelta(seconds=7),
            datetime.timedelta(milliseconds=250),
        )


def test_only_proxies_that_have_peak_ewma_are_told_of_it() -> None:
    for patch in filters(EWMA)["peak-ewma"]:
        version = re.compile(patch["match"]["proxy"]["proxyVersion"])
        assert version.match(proxies.pinned_version())
        assert not version.match("1.28.3")


def test_what_is_off_makes_no_filter() -> None:
    assert filters({"ejection": {"enabled": False}}) == {}
    assert filters({"ejection": {"failurePercentage": {"enabled": False}}}) == {}
    settings = load_role("mesh", MeshSettings, {**EWMA, "ejection": {"failurePercentage": {"enabled": False}}})
    assert make_filters(settings, "nlp", "GATEWAY", []) == []
