"""What is asked of Prometheus."""

from __future__ import annotations

import promql_parser
import pytest

from inferstack.api import MetricType, RuntimeName, SloMeasure, runtimes
from inferstack.controllers.scaling import signals
from inferstack.controllers.scaling.signals import Selection
from tests.unit.controllers.scaling.prometheus_server import kind_of

ASKED = Selection.of(["ml/chat", "ml/embed-1", "nlp/chat"], 30)
QUERIES = {
    "up": signals.up(ASKED),
    "arrivals": signals.arrivals(ASKED),
    "finished": signals.finished(ASKED),
    "running": signals.running(ASKED),
    "running, mean": signals.running(ASKED, mean=True),
    "waiting": signals.waiting(ASKED),
    "waiting, mean": signals.waiting(ASKED, mean=True),
    "first_knocks": signals.first_knocks(ASKED),
    "meshed": signals.meshed(),
    "alive": signals.alive(),
    "first_token_0.99": signals.quantile(SloMeasure.TIME_TO_FIRST_TOKEN, 0.99, ASKED) or "",
    "latency_0.5": signals.quantile(SloMeasure.LATENCY, 0.5, ASKED) or "",
    "mean_seconds": signals.mean_seconds(ASKED),
    **{f"times, {measure}": signals.times(measure, ASKED) for measure in SloMeasure},
}


@pytest.mark.parametrize("name", QUERIES)
def test_queries_are_promql(name: str) -> None:
    promql_parser.parse(QUERIES[name])
    assert kind_of(QUERIES[name]) == name.partition(",")[0]


@pytest.mark.parametrize("name", sorted(QUERIES.keys() - {"meshed", "alive"}))
def test_all_jobs_are_asked_for_at_once(name: str) -> None:
    assert '=~"ml|nlp"' in QUERIES[name]
    assert '=~"chat|embed-1"' in QUERIES[name]


def test_names_are_no_patterns() -> None:
    asked = Selection.of(["a.b/c"], 5)
    assert asked.where() == 'namespace=~"a\\\\.b",inferencejob=~"c"'
    promql_parser.parse(signals.arrivals(asked))


def test_there_is_a_server_for_each_runtime() -> None:
    assert set(signals.SERVERS) == set(RuntimeName)
    for name, runtime in runtimes.load().runtimes.items():
        durations = signals.SERVERS[name].durations
        tells = MetricType.TIME_TO_FIRST_TOKEN_MILLISECONDS in runtime.metrics
        assert (SloMeasure.TIME_TO_FIRST_TOKEN in durations) == tells
        # Each has some way to tell how long requests take.
        assert SloMeasure.LATENCY in durations or signals.SERVERS[name].mean_seconds


def test_what_waited_is_not_among_the_times_without_waiting() -> None:
    query = signals.quantile(SloMeasure.TIME_TO_FIRST_TOKEN, 0.99, ASKED)
    assert query is not None
    assert "and on (namespace, pod) (max_over_time(vllm:num_requests_waiting" in query
    assert signals.quantile(SloMeasure.QUEUE, 0.99, ASKED) is None
