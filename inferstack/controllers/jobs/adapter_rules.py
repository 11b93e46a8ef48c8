"""What prometheus-adapter is to serve, so that what a job's HorizontalPodAutoscaler asks for is there."""

from __future__ import annotations

from typing import Any

from inferstack.api import runtimes

Object = dict[str, Any]


def make_adapter_rules() -> list[Object]:
    """Return a rule for each metric that a job's HorizontalPodAutoscaler may ask for, whatever its runtime.

    The names are those of the runtimes' table, which the operator reads too: what is asked for is what is served.
    """
    names = {name for runtime in runtimes.load().runtimes.values() for name in runtime.metrics.values()}
    return [
        {
            "seriesQuery": f'{name}{{namespace!="",pod!=""}}',
            "resources": {"overrides": {"namespace": {"resource": "namespace"}, "pod": {"resource": "pod"}}},
            "name": {"as": name},
            "metricsQuery": "sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)",
        }
        for name in sorted(names)
    ]
