"""When nodes may be begun."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from inferstack.api import Window
from inferstack.controllers.mig.maintenance_windows import seconds_until_open

NIGHT = Window.model_validate({"days": ["Fri", "Sat"], "start": "22:00", "durationMinutes": 240})


@pytest.mark.parametrize(
    ("when", "seconds"),
    [
        ((2026, 3, 6, 21, 59, 30), 30),  # Friday
        ((2026, 3, 6, 22, 0, 0), 0),
        ((2026, 3, 7, 1, 59, 59), 0),  # the night to Saturday
        ((2026, 3, 7, 2, 0, 0), 20 * 3600),
        ((2026, 3, 8, 1, 59, 59), 0),  # the night to Sunday
        ((2026, 3, 8, 2, 0, 0), 5 * 86400 + 20 * 3600),
    ],
)
def test_a_window_may_extend_into_the_next_day(when: tuple[int, ...], seconds: float) -> None:
    assert seconds_until_open([NIGHT], datetime(*when, tzinfo=UTC)) == seconds  # type: ignore[misc,arg-type]  # six numbers


def test_the_next_of_several_windows_counts_and_none_means_always() -> None:
    noon = Window.model_validate({"days": ["Wed"], "start": "12:00", "durationMinutes": 1})
    monday = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
    assert seconds_until_open([], monday) == 0
    assert seconds_until_open([NIGHT, noon], monday) == 2 * 86400
    only = Window.model_validate({"days": ["Mon"], "start": "11:00", "durationMinutes": 60})
    assert seconds_until_open([only], monday) == 7 * 86400 - 3600
