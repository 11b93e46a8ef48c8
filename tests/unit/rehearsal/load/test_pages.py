"""What is shown has the names of the real servers: those that the platform's own rules read."""

from __future__ import annotations

import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from components.mesh.metrics import STANDARD
from components.monitoring.recording import expression
from inferstack.api import MetricType, RuntimeName, runtimes
from inferstack.mig.catalogue import gpu
from inferstack.mig.layout import GpuState, dump_states
from rehearsal.load import pages
from rehearsal.load.arrivals import Request
from rehearsal.load.devices import Device, allocate, devices_of
from rehearsal.load.scenario import ServerModel
from rehearsal.load.server import Server

_OURS = re.compile(r"\b(?:vllm:|te_|nv_|DCGM_)\w+")


def served() -> Server:
    """A server that has answered, and has requests in work and waiting."""
    server = Server(ServerModel(max_running=1), 1e6, 0)
    for _ in range(4):
        server.enqueue(Request(0, 100, 100))
    server.advance(3)
    return server


def shown(text: bytes) -> dict[str, list[tuple[dict[str, str], float]]]:
    """Return what Prometheus would read: labels and values by the name of the series."""
    series: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            series.setdefault(sample.name, []).append((sample.labels, sample.value))
    return series


@pytest.mark.parametrize("runtime", RuntimeName)
def test_series_of_recording_rules_are_exposed(runtime: RuntimeName) -> None:
    page = shown(pages.render(pages.SERVERS[runtime.value](served(), "m")))
    for metric in runtimes.load().runtimes[runtime].metrics:
        if metric is not MetricType.GPU_UTILIZATION_PERCENT:
            asked = _OURS.findall(expression(runtime, metric, "30s"))
            assert asked
            assert set(asked) <= page.keys(), metric


def test_vllm_page() -> None:
    server = served()
    page = shown(pages.render(pages.vllm(server, "Qwen/Qwen2.5-7B-Instruct")))
    labels = {"model_name": "Qwen/Qwen2.5-7B-Instruct", "engine": "0"}
    assert page["vllm:num_requests_running"] == [(labels, 1)]
    assert page["vllm:num_requests_waiting"] == [(labels, 4 - 1 - server.counts.requests.ok)]
    assert page["vllm:request_success_total"] == [({**labels, "finished_reason": "stop"}, server.counts.requests.ok)]
    assert page["vllm:prompt_tokens_total"] == [(labels, 100 * (server.counts.requests.ok + 1))]
    assert page["vllm:time_to_first_token_seconds_bucket"][-1] == ({**labels, "le": "+Inf"}, 3)
    assert page["vllm:kv_cache_usage_perc"] == [(labels, 200 / 400_000)]
    bounds = [sample[0]["le"] for sample in page["vllm:e2e_request_latency_seconds_bucket"]]
    assert bounds[:3] == ["0.3", "0.5", "0.8"]


def test_embeddings_page_has_no_series_before_first_request() -> None:
    idle = shown(pages.render(pages.text_embeddings_inference(Server(ServerModel(), 1, 0), "m")))
    assert idle == {"te_queue_size": [({}, 0)]}


NODE = {
    "metadata": {
        "name": "a100-0",
        "annotations": {
            "rehearsal.inferstack.dev/hardware": '{"instanceType": "p4d.24xlarge", "cpu": "96", "memory": "1152Gi", '
            '"pods": 110, "gpu": "A100-SXM4-40GB", "gpus": 2}',
            "rehearsal.inferstack.dev/mig-devices": dump_states(
                [GpuState(), GpuState(enabled=True, profiles={"1g.5gb": 2, "3g.20gb": 1})]
            ),
        },
    }
}


def test_gpu_page_with_and_without_mig() -> None:
    devices = devices_of(NODE)
    assert [(device.gpu, device.profile, device.instance) for device in devices] == [
        (0, "", ""),
        (1, "1g.5gb", "1"),
        (1, "1g.5gb", "2"),
        (1, "3g.20gb", "3"),
    ]
    assert devices[1].uuid == devices[2].uuid != devices[0].uuid
    assert devices_of(NODE) == devices
    owners = allocate(devices, [("a", {"nvidia.com/mig-1g.5gb": 1}), ("b", {"nvidia.com/gpu": 1})])
    assert owners == {devices[1]: "a", devices[0]: "b"}
    used = {devices[1]: ("nlp", "chat-0", "server", 0.5, 0.9), devices[0]: ("nlp", "chat-1", "server", 1.0, 0.9)}
    page = shown(pages.render(pages.gpus("a100-0", devices, used)))
    by_pod = {labels["pod"]: (labels, value) for labels, value in page["DCGM_FI_PROF_SM_ACTIVE"] if labels["pod"]}
    labels, value = by_pod["chat-0"]
    assert value == 0.5
    assert (labels["GPU_I_PROFILE"], labels["GPU_I_ID"], labels["namespace"]) == ("1g.5gb", "1", "nlp")
    assert labels["UUID"].startswith("GPU-")
    assert labels["Hostname"] == "a100-0"
    # Empty on slices, as the driver has it.
    assert [labels["gpu"] for labels, _ in page["DCGM_FI_DEV_GPU_UTIL"]] == ["0"]
    assert len(page["DCGM_FI_PROF_SM_ACTIVE"]) == len(devices)
    whole = gpu("A100-SXM4-40GB").memory_mib
    free = {labels["pod"]: value for labels, value in page["DCGM_FI_DEV_FB_FREE"]}
    assert free["chat-1"] == pytest.approx(whole * 0.1, abs=1)


def test_node_without_hardware_annotation_has_no_gpus() -> None:
    assert devices_of({"metadata": {"name": "n"}}) == []
    assert allocate([Device(0, "GPU-1", "A100", 1)], [("a", {"nvidia.com/mig-1g.5gb": 1})]) == {}


def test_proxy_page_has_istio_metrics() -> None:
    answers = served().counts.requests
    answers.refused = 2
    page = shown(pages.render(pages.proxy([("nlp/chat", answers)])))
    simulated = {name for name in STANDARD if "requests" in name or "duration" in name}
    assert simulated <= page.keys()
    codes = {(labels["reporter"], labels["response_code"]) for labels, _ in page["istio_requests_total"]}
    assert codes == {("source", "200"), ("destination", "200"), ("source", "503")}
    labels, _ = page["istio_requests_total"][0]
    assert (labels["destination_service_namespace"], labels["destination_service_name"]) == ("nlp", "chat")
