"""A stand-in of Prometheus on loopback: the HTTP API's own answers, with values that a test sets."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from inferstack.api.labels import SERIES_JOB

Object = dict[str, Any]
Value = float | Callable[[float], float | None]
"""Of a series: always the same, or by the time; None where there is no sample."""


def kind_of(query: str) -> str:
    """Return which of the signals a query asks for."""
    if query == "count(up)":
        return "alive"
    if query.startswith("count(istio_requests_total"):
        return "meshed"
    if query.startswith("(histogram_quantile"):
        measure = "first_token" if "time_to_first_token" in query else "latency"
        return f"{measure}_{query.removeprefix('(histogram_quantile(').partition(',')[0]}"
    if query.startswith("sum by (le, "):
        return "times"
    if " offset " in query:
        return "first_knocks"
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
    """What it answers."""

    jobs: dict[str, dict[str, Value]] = field(default_factory=dict)
    """By kind of signal, then by namespace/name, of a bucket namespace/name|le; "" for what belongs to no job."""
    asked: list[Object] = field(default_factory=list)
    """The forms of all questions."""
    broken: web.Response | None = None
    """Instead of any answer."""

    async def answer(self, request: web.Request) -> web.Response:
        """Answer a question."""
        form = {key: str(value) for key, value in (await request.post()).items()}
        self.asked.append(form)
        if self.broken is not None:
            return web.Response(body=self.broken.body, status=self.broken.status)
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

    def questions(self, kind: str) -> list[Object]:
        """Return the questions of a kind."""
        return [form for form in self.asked if kind_of(form["query"]) == kind]


def labels(key: str) -> Mapping[str, str]:
    """Return the labels of a job's series."""
    key, _, bound = key.partition("|")
    namespace, _, name = key.partition("/")
    made = {"namespace": namespace, SERIES_JOB: name} if name else {}
    return {**made, "le": bound} if bound else made


def _at(value: Value, times: list[float]) -> list[list[Any]]:
    found = [(when, value(when) if callable(value) else value) for when in times]
    return [[when, _text(number)] for when, number in found if number is not None]


def _text(number: float) -> str:
    """Return a number as Prometheus writes it."""
    return {"nan": "NaN", "inf": "+Inf", "-inf": "-Inf"}.get(repr(number), repr(number))


def _success(kind: str, result: list[Object]) -> web.Response:
    body = {"status": "success", "data": {"resultType": kind, "result": result}}
    return web.Response(text=json.dumps(body), content_type="application/json")


def failure(code: int, kind: str, error: str) -> web.Response:
    """Return a refusal in Prometheus' form."""
    return web.json_response({"status": "error", "errorType": kind, "error": error}, status=code)
