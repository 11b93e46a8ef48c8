"""Waiting times, compared with textbook values and with the simulator."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferstack.scaling import queueing
from inferstack.scaling.errors import ScalingError
from inferstack.scaling.model import Service
from inferstack.scaling.simulate import Trace, View, simulate


class ConstantPolicy:
    """Keeps the number of replicas."""

    name = "constant"

    def act(self, view: View) -> int:
        return view.replicas


def test_erlang_formulas_match_textbook_values() -> None:
    assert queueing.erlang_b(10, 10.0) == pytest.approx(0.2146, abs=1e-4)
    assert queueing.erlang_b(1, 1.0) == pytest.approx(0.5)
    assert queueing.erlang_c(2, 1.0) == pytest.approx(1 / 3)
    assert queueing.erlang_c(1, 0.7) == pytest.approx(0.7)
    assert queueing.erlang_c(3, 3.0) == 1.0


def test_single_server_matches_m_m_1() -> None:
    service = Service(rate=1.0)
    assert queueing.late_fraction(1, 0.8, service, ((5.0, 1.0),)) == pytest.approx(0.8 * math.exp(-0.2 * 5))
    assert queueing.late_fraction(1, 1.0, service, ((5.0, 1.0),)) == 1.0
    # A tenth of the requests has no slack, another tenth is late without queueing.
    assert queueing.late_fraction(1, 0.8, service, ((0.0, 0.1), (-1.0, 0.1))) == pytest.approx(0.08 + 0.1)


@given(
    rate=st.floats(0.01, 40),
    service_rate=st.floats(0.2, 5),
    slots=st.integers(1, 12),
    variability=st.floats(0, 3),
    slack=st.floats(0, 5),
    share=st.floats(0.001, 0.2),
)
def test_replicas_for_returns_the_minimum(
    rate: float, service_rate: float, slots: int, variability: float, slack: float, share: float
) -> None:
    service = Service(rate=service_rate, slots=slots, variability=variability)
    slacks = ((slack, 1.0),)
    replicas = queueing.replicas_for(rate, service, slacks, share, 5000)
    assert queueing.late_fraction(replicas, rate, service, slacks) <= share
    assert replicas == 1 or queueing.late_fraction(replicas - 1, rate, service, slacks) > share
    assert queueing.replicas_for(rate * 1.1, service, slacks, share, 5000) >= replicas


def test_replicas_for_zero_rate_and_beyond_the_limit() -> None:
    service = Service(rate=1.0)
    assert queueing.replicas_for(0.0, service, ((1.0, 1.0),), 0.01, 10) == 0
    assert queueing.replicas_for(50.0, service, ((1.0, 1.0),), 0.01, 10) == 10
    with pytest.raises(ScalingError, match=r"^rate: nan"):
        queueing.replicas_for(math.nan, service, ((1.0, 1.0),), 0.01, 10)


def test_utilization_grows_with_the_number_of_replicas() -> None:
    service = Service(rate=1.0, slots=4)
    utilizations = [queueing.utilization(count, service, ((1.0, 1.0),), 0.01) for count in (1, 2, 4, 8, 16, 32)]
    assert utilizations == sorted(utilizations)
    assert 0 < utilizations[0] < utilizations[-1] < 1
    edge = utilizations[2] * 4 * service.rate
    assert (
        queueing.late_fraction(4, edge, service, ((1.0, 1.0),))
        <= 0.01
        < queueing.late_fraction(4, 1.01 * edge, service, ((1.0, 1.0),))
    )


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_simulated_waits_match_erlang_c(seed: int) -> None:
    """The standard error comes from batch means; four standard errors are allowed."""
    rng = np.random.default_rng(seed)
    count, rate, seconds = 120_000, 8.8, 4.0
    service = Service(rate=2.0, slots=8)
    trace = Trace(
        "steady", np.cumsum(rng.exponential(1 / rate, count)), rng.exponential(seconds, count), np.zeros(count)
    )
    result = simulate(trace, ConstantPolicy(), service, start=5, end=float(trace.arrivals[-1]), seed=seed)
    for slack in (0.0, 0.5, 1.0):
        late = (result.waits[20_000:] > slack + 1e-9).reshape(40, -1).mean(axis=1)
        expected = queueing.late_fraction(5, rate, service, ((slack, 1.0),))
        assert abs(late.mean() - expected) <= 4 * late.std() / math.sqrt(len(late)), slack


@pytest.mark.parametrize(("name", "variability", "burstiness"), [("fixed", 0.0, 1.0), ("gamma", 1.0, 2.0)])
def test_g_g_c_approximation_is_within_30_percent(name: str, variability: float, burstiness: float) -> None:
    rng = np.random.default_rng(5)
    count, rate, seconds = 200_000, 9.4, 4.0
    gaps = rng.exponential(1 / rate, count) if name == "fixed" else rng.gamma(0.5, 2 / rate, count)
    work = np.full(count, seconds) if name == "fixed" else rng.exponential(seconds, count)
    service = Service(rate=2.0, slots=8, variability=variability, burstiness=burstiness)
    trace = Trace(name, np.cumsum(gaps), work, np.zeros(count))
    result = simulate(trace, ConstantPolicy(), service, start=5, end=float(trace.arrivals[-1]), seed=1)
    late = float((result.waits > 1.0).mean())
    assert queueing.late_fraction(5, rate, service, ((1.0, 1.0),)) == pytest.approx(late, rel=0.3)
