"""The PromQL queries."""

from __future__ import annotations

import promql_parser
import pytest

from inferstack.api import MetricType, RuntimeName, SloMeasure, runtimes
from inferstack.controllers.scaling import promql
from inferstack.controllers.scaling.promql import Selection
from tests.unit.controllers.scaling.prometheus_server import kind_of

SELECTION = Selection.of(["ml/chat", "ml/embed-1", "nlp/chat"], 30)
QUERIES = {
    "up": promql.up(SELECTION),
    "arrivals": promql.arrival_rate(SELECTION),
    "finished": promql.finished(SELECTION),
    "running": promql.running(SELECTION),
    "running, mean": promql.running(SELECTION, mean=True),
    "waiting": promql.waiting(SELECTION),
    "waiting, mean": promql.waiting(SELECTION, mean=True),
    "new_unserved_requests": promql.new_unserved_requests(SELECTION),
    "mesh_series": promql.mesh_series(),
    "scrape_targets": promql.scrape_targets(),
    "first_token_0.99": promql.quantile(SloMeasure.TIME_TO_FIRST_TOKEN, 0.99, SELECTION) or "",
    "latency_0.5": promql.quantile(SloMeasure.LATENCY, 0.5, SELECTION) or "",
    "mean_seconds": promql.mean_seconds(SELECTION),
    **{f"duration_buckets, {measure}": promql.duration_buckets(measure, SELECTION) for measure in SloMeasure},
}


@pytest.mark.parametrize("name", QUERIES)
def test_queries_are_valid_promql(name: str) -> None:
    promql_parser.parse(QUERIES[name])
    assert kind_of(QUERIES[name]) == name.partition(",")[0]


@pytest.mark.parametrize("name", sorted(QUERIES.keys() - {"mesh_series", "scrape_targets"}))
def test_each_query_selects_all_jobs(name: str) -> None:
    assert '=~"ml|nlp"' in QUERIES[name]
    assert '=~"chat|embed-1"' in QUERIES[name]


def test_names_are_escaped() -> None:
    selection = Selection.of(["a.b/c"], 5)
    assert selection.where() == 'namespace=~"a\\\\.b",inferencejob=~"c"'
    promql_parser.parse(promql.arrival_rate(selection))


def test_each_runtime_has_server_metrics() -> None:
    assert set(promql.SERVERS) == set(RuntimeName)
    for name, runtime in runtimes.load().runtimes.items():
        durations = promql.SERVERS[name].response_times
        has_metric = MetricType.TIME_TO_FIRST_TOKEN_MILLISECONDS in runtime.metrics
        assert (SloMeasure.TIME_TO_FIRST_TOKEN in durations) == has_metric
        # Each server has some metric of the latency.
        assert SloMeasure.LATENCY in durations or promql.SERVERS[name].mean_seconds


def test_service_times_exclude_replicas_with_queued_requests() -> None:
    query = promql.quantile(SloMeasure.TIME_TO_FIRST_TOKEN, 0.99, SELECTION)
    assert query is not None
    assert "and on (namespace, pod) (max_over_time(vllm:num_requests_waiting" in query
    assert promql.quantile(SloMeasure.QUEUE, 0.99, SELECTION) is None
