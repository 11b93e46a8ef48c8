"""What a stack's roles ask of the rehearsal's control plane."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import yaml

from inferstack.operator.adapter_rules import make_adapter_rules
from inferstack.rehearsal.plane import Adapter, PlaneOptions


def plane_options(configuration: Mapping[str, Any], kept: PlaneOptions) -> PlaneOptions:
    """Return the options for a stack: what it says nothing of stays.

    What is wrong with a value is told by the program, which checks all of them; here it counts as off.

    Args:
        configuration: the stack's values, as in its file.
        kept: what the rehearsal has now.
    """
    monitoring, autoscaling = (_values(role, configuration) for role in ("monitoring", "autoscaling"))
    metrics = monitoring.get("enabled") is True
    adapter = autoscaling.get("adapter")
    if not (metrics and autoscaling.get("enabled") is True and isinstance(adapter, Mapping) and adapter.get("enabled")):
        return replace(kept, metrics=metrics, adapter=None)
    seconds = adapter.get("relistSeconds")
    relist = {"relist_seconds": seconds} if isinstance(seconds, int) and seconds > 0 else {}
    return replace(kept, metrics=True, adapter=Adapter(tuple(make_adapter_rules()), **relist))


def _values(role: str, configuration: Mapping[str, Any]) -> dict[str, Any]:
    # Here, and not above: only `up` needs it.
    from components.settings import PROJECT, defaults_file, merge  # noqa: PLC0415

    given = configuration.get(f"{PROJECT}:{role}")
    defaults: dict[str, Any] = yaml.safe_load(defaults_file(role).read_text())
    return merge(defaults, given) if isinstance(given, Mapping) else defaults
