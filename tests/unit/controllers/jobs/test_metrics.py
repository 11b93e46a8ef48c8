"""The operator's metrics page."""

from __future__ import annotations

from inferstack.controllers.jobs.reconciler import render_metrics


def test_each_metric_has_type_and_help() -> None:
    lines = render_metrics(jobs=3, waiting=1, synced=True).splitlines()
    values = dict(line.split(" ") for line in lines if not line.startswith("#"))
    assert values == {
        "inferstack_operator_up_to_date": "1",
        "inferstack_operator_jobs": "3",
        "inferstack_operator_queue_length": "1",
    }
    for name in values:
        assert f"# TYPE {name} gauge" in lines
        assert any(line.startswith(f"# HELP {name} ") for line in lines)
    assert render_metrics(jobs=0, waiting=0, synced=False).count(" 0\n") == 3
