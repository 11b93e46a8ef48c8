"""A client of the Prometheus HTTP API."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

_TIMEOUT_SECONDS = 30.0
_QUOTED_CHARACTERS = 300
"""Characters quoted of an answer that is not JSON."""


class PrometheusError(Exception):
    """Prometheus is unreachable or its answer is invalid."""


@dataclass(frozen=True)
class Sample:
    """One element of an instant vector."""

    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True)
class Series:
    """One element of a range vector."""

    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]
    """Timestamps and values."""


class Prometheus:
    """One Prometheus, or a server with the same API.

    Args:
        url: address, including a path before ``/api/v1`` if there is one.
        http: HTTP session; the caller closes it.
        timeout: timeout of one query in seconds.
    """

    def __init__(self, url: str, http: aiohttp.ClientSession, *, timeout: float = _TIMEOUT_SECONDS) -> None:
        self.url = url.rstrip("/")
        self.queries = 0
        """Number of queries."""
        self.query_seconds = 0.0
        """Total duration of the queries."""
        self._http = http
        self._timeout = aiohttp.ClientTimeout(total=timeout, sock_connect=5)

    async def instant(self, query: str, at: float | None = None) -> list[Sample]:
        """Evaluate a query now, or at a time in seconds since the epoch.

        Raises:
            PrometheusError: Prometheus is unreachable, or the result is not a vector.
        """
        form = {"query": query, **({} if at is None else {"time": f"{at:.3f}"})}
        result = await self._post("query", form, "vector")
        return [Sample(_labels(element), _point(element.get("value"))[1]) for element in result]

    async def range(self, query: str, start: float, end: float, step: float) -> list[Series]:
        """Evaluate a query over a range from start to end (inclusive), in seconds since the epoch.

        Raises:
            PrometheusError: Prometheus is unreachable, or the result is not a matrix.
        """
        form = {"query": query, "start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step:g}"}
        result = await self._post("query_range", form, "matrix")
        return [
            Series(_labels(element), tuple(_point(point) for point in element.get("values") or ()))
            for element in result
        ]

    async def _post(self, path: str, form: Mapping[str, str], kind: str) -> list[Any]:
        began = time.monotonic()
        try:
            # POST, as a query for many jobs exceeds the length limit of a URL.
            async with self._http.post(f"{self.url}/api/v1/{path}", data=form, timeout=self._timeout) as response:
                text, code = await response.read(), response.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise PrometheusError(f"{self.url} does not answer: {error or type(error).__name__}") from error
        finally:
            self.queries += 1
            self.query_seconds += time.monotonic() - began
        return self._parse(text, code, kind)

    def _parse(self, text: bytes, code: int, kind: str) -> list[Any]:
        try:
            body = json.loads(text)
        except ValueError:
            quoted = text[:_QUOTED_CHARACTERS].decode(errors="replace").strip()
            raise PrometheusError(f"{self.url} answers {code}, not JSON: {quoted}") from None
        if not isinstance(body, dict) or body.get("status") != "success":
            reason = f"{body.get('errorType')}: {body.get('error')}" if isinstance(body, dict) else "not an object"
            raise PrometheusError(f"{self.url} answers {code}, {reason}")
        data = body.get("data")
        if not isinstance(data, dict) or data.get("resultType") != kind or not isinstance(data.get("result"), list):
            result_type = data.get("resultType") if isinstance(data, dict) else None
            raise PrometheusError(f"{self.url} answers with {result_type} instead of a {kind}")
        result: list[Any] = data["result"]
        return result


def _labels(element: Any) -> dict[str, str]:
    metric = element.get("metric") if isinstance(element, dict) else None
    if not isinstance(metric, dict):
        raise PrometheusError("an element of the answer has no labels")
    return metric


def _point(point: Any) -> tuple[float, float]:
    """Return timestamp and value; Prometheus writes values as strings, as JSON has no NaN and Inf."""
    try:
        timestamp, value = point
        return float(timestamp), float(value)
    except (TypeError, ValueError):
        raise PrometheusError(
            f"an element of the answer has the point {point!r} instead of a time and a value"
        ) from None
