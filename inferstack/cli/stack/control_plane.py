"""The control plane of a stack: the rehearsal on this machine, or one that somebody else runs.

`up`, `down` and `doctor` reach the rehearsal through this module only.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import yaml

from inferstack.api.runtimes import make_adapter_rules
from rehearsal.control_plane import Adapter, ComponentStatus, PlaneOptions, Rehearsal, Supervisor, required_tools

Report = Callable[[str], None]


class ControlPlane(Protocol):
    """The control plane that a stack works on."""

    def exists(self) -> bool:
        """Return whether this machine holds data of it."""

    def tools(self) -> Iterable[str]:
        """Return the tools that it needs besides those of every stack."""

    def start(self, report: Report) -> None:
        """Start it if this machine runs it."""

    def keep_up(self, report: Report) -> contextlib.AbstractContextManager[object]:
        """Restart components that end while the engine works."""

    def remove(self, report: Report) -> None:
        """Stop it and remove its data from this machine."""


class ExternalControlPlane:
    """A control plane that somebody else runs: there is nothing to start or stop."""

    def exists(self) -> bool:
        """Return False."""
        return False

    def tools(self) -> Iterable[str]:
        """Return no tools."""
        return ()

    def start(self, _report: Report) -> None:
        """Do nothing."""

    def keep_up(self, _report: Report) -> contextlib.AbstractContextManager[object]:
        """Do nothing."""
        return contextlib.nullcontext()

    def remove(self, _report: Report) -> None:
        """Do nothing."""


class LocalControlPlane:
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
        return required_tools(self._options())

    def start(self, report: Report) -> None:
        """Start the control plane with the options that the stack needs."""
        self._rehearsal.start(report, options=self._options())

    def keep_up(self, report: Report) -> contextlib.AbstractContextManager[object]:
        """Restart components that end while the engine works."""
        return Supervisor(self._rehearsal, report)

    def remove(self, report: Report) -> None:
        """Stop the control plane and remove its data."""
        self._rehearsal.stop(purge=True)
        # The passphrase stays: without it, the values that the user encrypted in a stack's file are lost.
        report("stopped the rehearsal and removed its data and certificates")

    def _options(self) -> PlaneOptions:
        return plane_options(self._configuration, self._rehearsal.options)


def is_local(configuration: Mapping[str, Any]) -> bool:
    """Return whether a stack runs in the rehearsal."""
    return bool(configuration.get("inferstack:place") == "local")


def control_plane_of(configuration: Mapping[str, Any], state: Path) -> ControlPlane:
    """Return the control plane of a stack.

    Args:
        configuration: the stack's values, as in its file.
        state: the state folder.
    """
    return LocalControlPlane(state, configuration) if is_local(configuration) else ExternalControlPlane()


def components(state: Path) -> list[ComponentStatus]:
    """Return the components of the rehearsal and whether they run."""
    return Rehearsal(state).status()


def plane_options(configuration: Mapping[str, Any], kept: PlaneOptions) -> PlaneOptions:
    """Return the options of the control plane for a stack.

    An invalid value counts as off here; the program validates all values and reports it.

    Args:
        configuration: the stack's values, as in its file.
        kept: the present options of the rehearsal, kept where the stack sets none.
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
    # Only `up` needs this import.
    from components.settings import PROJECT, defaults_file, merge  # noqa: PLC0415

    given = configuration.get(f"{PROJECT}:{role}")
    defaults: dict[str, Any] = yaml.safe_load(defaults_file(role).read_text())
    return merge(defaults, given) if isinstance(given, Mapping) else defaults
