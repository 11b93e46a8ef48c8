"""The operator's metrics page."""

from __future__ import annotations

from inferstack.controllers.jobs.metrics import render


def test_each_value_has_its_kind_and_meaning() -> None:
    lines = render(jobs=3, waiting=1, listed=True).splitlines()
    values = dict(line.split(" ") for line in lines if not line.startswith("#"))
    assert values == {
        "inferstack_operator_up_to_date": "1",
        "inferstack_operator_jobs": "3",
        "inferstack_operator_queue_length": "1",
    }
    for name in values:
        assert f"# TYPE {name} gauge" in lines
        assert any(line.startswith(f"# HELP {name} ") for line in lines)
    assert render(jobs=0, waiting=0, listed=False).count(" 0\n") == 3
