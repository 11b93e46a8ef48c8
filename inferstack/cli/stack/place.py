"""Where a stack runs, as the commands on a stack see it: the rehearsal on this machine, or a cluster that is there.

This is the one seam through which `up`, `down` and `doctor` reach the rehearsal.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import yaml

from inferstack.api.runtimes import make_adapter_rules
from rehearsal.control_plane import Adapter, ComponentStatus, Keeper, PlaneOptions, Rehearsal, tools_of

Report = Callable[[str], None]


class Place(Protocol):
    """What runs a stack."""

    def exists(self) -> bool:
        """Return whether something of it is on this machine."""

    def tools(self) -> Iterable[str]:
        """Return the tools that it needs besides those of every stack."""

    def start(self, report: Report) -> None:
        """Start it, if this machine runs it."""

    def keep_up(self, report: Report) -> contextlib.AbstractContextManager[object]:
        """Keep it up while the engine works."""

    def remove(self, report: Report) -> None:
        """Stop it and remove what it keeps on this machine."""


class Elsewhere:
    """A cluster that somebody else runs."""

    def exists(self) -> bool:
        """Return False: nothing of it is on this machine."""
        return False

    def tools(self) -> Iterable[str]:
        """Return none."""
        return ()

    def start(self, _report: Report) -> None:
        """Do nothing."""

    def keep_up(self, _report: Report) -> contextlib.AbstractContextManager[object]:
        """Do nothing."""
        return contextlib.nullcontext()

    def remove(self, _report: Report) -> None:
        """Do nothing."""


class Local:
    """The rehearsal on this machine.

    Args:
        state: its state folder.
        configuration: the stack's values, as in its file.
    """

    def __init__(self, state: Path, configuration: Mapping[str, Any]) -> None:
        self._rehearsal = Rehearsal(state)
        self._configuration = configuration

    def exists(self) -> bool:
        """Return whether there is a control plane, running or stopped."""
        return self._rehearsal.kubeconfig.exists()

    def tools(self) -> Iterable[str]:
        """Return the tools of the control plane."""
        return tools_of(self._options())

    def start(self, report: Report) -> None:
        """Start the control plane with the options that the stack needs."""
        self._rehearsal.start(report, wanted=self._options())

    def keep_up(self, report: Report) -> contextlib.AbstractContextManager[object]:
        """Restart components that end while the engine works."""
        return Keeper(self._rehearsal, report)

    def remove(self, report: Report) -> None:
        """Stop the control plane and remove its data."""
        self._rehearsal.stop(purge=True)
        # The passphrase stays: values that the user encrypted in a stack's file are lost without it.
        report("the rehearsal is stopped, its data and certificates are removed")

    def _options(self) -> PlaneOptions:
        return plane_options(self._configuration, self._rehearsal.options)


def is_local(configuration: Mapping[str, Any]) -> bool:
    """Return whether a stack runs in the rehearsal."""
    return bool(configuration.get("inferstack:place") == "local")


def place_of(configuration: Mapping[str, Any], state: Path) -> Place:
    """Return where a stack runs.

    Args:
        configuration: the stack's values, as in its file.
        state: the state folder.
    """
    return Local(state, configuration) if is_local(configuration) else Elsewhere()


def components(state: Path) -> list[ComponentStatus]:
    """Return the components of the rehearsal and whether they run."""
    return Rehearsal(state).status()


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
