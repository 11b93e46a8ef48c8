"""Times of RFC 3339, written and read."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferstack.apimachinery.rfc3339 import format_epoch, format_micro_time, format_time, parse_epoch, parse_time

ZONES = st.sampled_from([dt.UTC, dt.timezone(dt.timedelta(hours=2))])
TIMES = st.datetimes(dt.datetime(1970, 1, 2), dt.datetime(9000, 1, 1), timezones=ZONES)


@given(TIMES)
def test_a_time_is_written_in_whole_seconds_and_read_back(time: dt.datetime) -> None:
    assert parse_time(format_time(time)) == time.replace(microsecond=0)


@given(TIMES)
def test_a_micro_time_is_read_back_exactly(time: dt.datetime) -> None:
    assert parse_time(format_micro_time(time)) == time


@given(st.floats(0, 2**33))
def test_seconds_since_the_epoch_are_rounded_down(seconds: float) -> None:
    assert parse_epoch(format_epoch(seconds)) == int(seconds)


def test_times_are_written_in_utc() -> None:
    time = dt.datetime(2026, 1, 31, 9, 0, 0, 250000, tzinfo=dt.timezone(dt.timedelta(hours=1)))
    assert format_time(time) == "2026-01-31T08:00:00Z"
    assert format_micro_time(time) == "2026-01-31T08:00:00.250000Z"
    assert format_epoch(0.9) == "1970-01-01T00:00:00Z"


def test_an_offset_is_read() -> None:
    assert parse_epoch("1970-01-01T01:00:00.5+01:00") == 0.5


@pytest.mark.parametrize("text", ["", "soon", "2026-01-31T08:00:00", "2026-01-31"])
def test_other_text_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match=r"Invalid isoformat|expected a time"):
        parse_time(text)
