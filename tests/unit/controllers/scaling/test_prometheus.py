"""The Prometheus client: valid and invalid answers."""

from __future__ import annotations

import math

import aiohttp
import pytest
from aiohttp import web

from inferstack.controllers.scaling import promql
from inferstack.controllers.scaling.prometheus import Prometheus, PrometheusError, Sample, Series
from tests.unit.controllers.scaling.prometheus_server import Server, failure, labels

SELECTION = promql.Selection.of(["ml/chat"], 30)
UP = promql.up(SELECTION)


async def test_instant_query_returns_samples(server: Server, prometheus: Prometheus) -> None:
    server.jobs["up"] = {"ml/chat": 3, "ml/other": math.nan}
    chat, other = await prometheus.instant(UP)
    assert chat == Sample(labels("ml/chat"), 3.0)
    assert math.isnan(other.value)
    assert server.queries == [{"query": UP}]
    assert prometheus.queries == 1


async def test_range_query_returns_series(server: Server, prometheus: Prometheus) -> None:
    server.jobs["up"] = {"ml/chat": lambda now: None if now == 160 else now / 10, "ml/big": math.inf}
    chat, big = await prometheus.range(UP, 100, 220, 60)
    assert chat == Series(labels("ml/chat"), ((100.0, 10.0), (220.0, 22.0)))
    assert big.points == ((100.0, math.inf), (160.0, math.inf), (220.0, math.inf))
    assert server.queries == [{"query": UP, "start": "100.000", "end": "220.000", "step": "60"}]


async def test_empty_result_is_valid(prometheus: Prometheus) -> None:
    assert await prometheus.instant(UP) == []
    assert await prometheus.range(UP, 0, 60, 60) == []


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (lambda: failure(422, "execution", "query timed out"), "422, execution: query timed out"),
        (lambda: failure(503, "unavailable", "starting"), "503, unavailable: starting"),
        (lambda: web.Response(status=502, text="<html>Bad Gateway</html>"), "502, not JSON: <html>Bad Gateway"),
        (lambda: web.Response(text="[]"), "200, not an object"),
        (lambda: web.Response(text="{}"), "200, None: None"),
        (lambda: web.json_response({"status": "success"}), "with None instead of a vector"),
        (
            lambda: web.json_response({"status": "success", "data": {"resultType": "matrix", "result": []}}),
            "with matrix instead of a vector",
        ),
        (
            lambda: web.json_response({"status": "success", "data": {"resultType": "vector", "result": [{}]}}),
            "has no labels",
        ),
        (
            lambda: web.json_response(
                {"status": "success", "data": {"resultType": "vector", "result": [{"metric": {}, "value": [1, "x"]}]}}
            ),
            "the point [1, 'x'] instead of a time and a value",
        ),
        (
            lambda: web.json_response(
                {"status": "success", "data": {"resultType": "vector", "result": [{"metric": {}}]}}
            ),
            "the point None instead",
        ),
    ],
)
async def test_invalid_answer_raises_with_status_and_reason(
    server: Server, prometheus: Prometheus, answer: type[web.Response], error: str
) -> None:
    server.failure_response = answer()
    with pytest.raises(PrometheusError) as raised:
        await prometheus.instant(UP)
    assert error in str(raised.value)


async def test_unreachable_server_raises_with_its_url(unused_tcp_port: int) -> None:
    async with aiohttp.ClientSession() as http:
        with pytest.raises(PrometheusError, match=f"http://127.0.0.1:{unused_tcp_port} does not answer"):
            await Prometheus(f"http://127.0.0.1:{unused_tcp_port}", http).instant(UP)
