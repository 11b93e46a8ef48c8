"""A fake Prometheus on loopback: answers of the HTTP API, with values set by a test."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from inferstack.api.labels import SERIES_JOB
from inferstack.apimachinery.objects import Object

Value = float | Callable[[float], float | None]
"""Value of a series: constant, or a function of time; None without a sample."""


def kind_of(query: str) -> str:
    """Return the name of a query."""
    if query == "count(up)":
        return "scrape_targets"
    if query.startswith("count(istio_requests_total"):
        return "mesh_series"
    if query.startswith("(histogram_quantile"):
        measure = "first_token" if "time_to_first_token" in query else "latency"
        return f"{measure}_{query.removeprefix('(histogram_quantile(').partition(',')[0]}"
    if query.startswith("sum by (le, "):
        return "duration_buckets"
    if " offset " in query:
        return "new_unserved_requests"
    if query.startswith("clamp_min"):
        return "arrivals"
    for part, kind in (
        ("num_requests_running", "running"),
        ("num_requests_waiting", "waiting"),
        ("vllm:request_success_total", "finished"),
        ("nv_inference_queue_duration_us", "mean_seconds"),
    ):
        if part in query:
            return kind
    assert query.startswith("sum by (namespace, inferencejob) (up{"), query
    return "up"


@dataclass
class Server:
    """The series of the server, and the queries it has received."""

    jobs: dict[str, dict[str, Value]] = field(default_factory=dict)
    """Series by name of the query, then by namespace/name (buckets: namespace/name|le); "" for series of no job."""
    queries: list[Object] = field(default_factory=list)
    """The forms of all queries."""
    failure_response: web.Response | None = None
    """Returned instead of any answer."""

    async def answer(self, request: web.Request) -> web.Response:
        """Answer a query."""
        form = {key: str(value) for key, value in (await request.post()).items()}
        self.queries.append(form)
        if self.failure_response is not None:
            return web.Response(body=self.failure_response.body, status=self.failure_response.status)
        series = self.jobs.get(kind_of(form["query"]), {})
        if request.path.endswith("query_range"):
            start, end, step = (float(form[key]) for key in ("start", "end", "step"))
            times = [start + index * step for index in range(round((end - start) / step) + 1)]
            result = [
                {"metric": labels(key), "values": values}
                for key, value in series.items()
                if (values := _at(value, times))
            ]
            return _success("matrix", result)
        now = float(form.get("time", "1e9"))
        result = [
            {"metric": labels(key), "value": values[0]}
            for key, value in series.items()
            if (values := _at(value, [now]))
        ]
        return _success("vector", result)

    def queries_of(self, kind: str) -> list[Object]:
        """Return the received queries of a kind."""
        return [form for form in self.queries if kind_of(form["query"]) == kind]


def labels(key: str) -> Mapping[str, str]:
    """Return the labels of a job's series."""
    key, _, bound = key.partition("|")
    namespace, _, name = key.partition("/")
    job_labels = {"namespace": namespace, SERIES_JOB: name} if name else {}
    return {**job_labels, "le": bound} if bound else job_labels


def _at(value: Value, times: list[float]) -> list[list[Any]]:
    samples = [(when, value(when) if callable(value) else value) for when in times]
    return [[when, _text(number)] for when, number in samples if number is not None]


def _text(number: float) -> str:
    """Return a number in the format of Prometheus."""
    return {"nan": "NaN", "inf": "+Inf", "-inf": "-Inf"}.get(repr(number), repr(number))


def _success(kind: str, result: list[Object]) -> web.Response:
    body = {"status": "success", "data": {"resultType": kind, "result": result}}
    return web.Response(text=json.dumps(body), content_type="application/json")


def failure(code: int, kind: str, error: str) -> web.Response:
    """Return an error in the format of Prometheus."""
    return web.json_response({"status": "error", "errorType": kind, "error": error}, status=code)
