"""Questions to Prometheus over its HTTP API."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

_TIMEOUT_SECONDS = 30.0
_LONGEST_ANSWER = 300
"""Of an error that is no JSON, so many characters are quoted."""


class PrometheusError(Exception):
    """Prometheus was not reached or did not answer as it should; the message says which and why."""


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
    """When, and the value then."""


class Prometheus:
    """One Prometheus, or what answers like one.

    Args:
        url: its address, with a path before ``/api/v1`` where it has one.
        http: to ask it with; the caller closes it.
        timeout: seconds for one answer.
    """

    def __init__(self, url: str, http: aiohttp.ClientSession, *, timeout: float = _TIMEOUT_SECONDS) -> None:
        self.url = url.rstrip("/")
        self.asked = 0
        """Questions so far."""
        self.seconds = 0.0
        """Time that their answers took together."""
        self._http = http
        self._timeout = aiohttp.ClientTimeout(total=timeout, sock_connect=5)

    async def instant(self, query: str, at: float | None = None) -> list[Sample]:
        """Return what a query gives now, or at a time in seconds since the epoch.

        Raises:
            PrometheusError: it gives no vector.
        """
        found = await self._ask("query", {"query": query, **({} if at is None else {"time": f"{at:.3f}"})}, "vector")
        return [Sample(_labels(one), _point(one.get("value"))[1]) for one in found]

    async def range(self, query: str, start: float, end: float, step: float) -> list[Series]:
        """Return what a query gives from start to end, both included; times in seconds since the epoch.

        Raises:
            PrometheusError: it gives no matrix.
        """
        given = {"query": query, "start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step:g}"}
        found = await self._ask("query_range", given, "matrix")
        return [Series(_labels(one), tuple(_point(point) for point in one.get("values") or ())) for one in found]

    async def _ask(self, path: str, form: Mapping[str, str], kind: str) -> list[Any]:
        began = time.monotonic()
        try:
            # By POST: a query for many jobs is longer than a URL may be.
            async with self._http.post(f"{self.url}/api/v1/{path}", data=form, timeout=self._timeout) as answer:
                text, code = await answer.read(), answer.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise PrometheusError(f"{self.url} does not answer: {error or type(error).__name__}") from error
        finally:
            self.asked += 1
            self.seconds += time.monotonic() - began
        return self._parse(text, code, kind)

    def _parse(self, text: bytes, code: int, kind: str) -> list[Any]:
        try:
            body = json.loads(text)
        except ValueError:
            said = text[:_LONGEST_ANSWER].decode(errors="replace").strip()
            raise PrometheusError(f"{self.url} answers {code} and no JSON: {said}") from None
        if not isinstance(body, dict) or body.get("status") != "success":
            why = f"{body.get('errorType')}: {body.get('error')}" if isinstance(body, dict) else "no object"
            raise PrometheusError(f"{self.url} answers {code}, {why}")
        data = body.get("data")
        if not isinstance(data, dict) or data.get("resultType") != kind or not isinstance(data.get("result"), list):
            found = data.get("resultType") if isinstance(data, dict) else None
            raise PrometheusError(f"{self.url} answers with {found} instead of a {kind}")
        found_list: list[Any] = data["result"]
        return found_list


def _labels(element: Any) -> dict[str, str]:
    metric = element.get("metric") if isinstance(element, dict) else None
    if not isinstance(metric, dict):
        raise PrometheusError("an element of the answer has no labels")
    return metric


def _point(point: Any) -> tuple[float, float]:
    """Return time and value; Prometheus writes values as text, for JSON knows neither NaN nor Inf."""
    try:
        when, value = point
        return float(when), float(value)
    except (TypeError, ValueError):
        raise PrometheusError(
            f"an element of the answer has the point {point!r} instead of a time and a value"
        ) from None
