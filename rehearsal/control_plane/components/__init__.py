"""The components in the order in which they start; stopping goes the other way."""

from __future__ import annotations

from dataclasses import replace

from rehearsal.control_plane.components import (
    adapter,
    agent,
    apiserver,
    controller_manager,
    etcd,
    kwok,
    load,
    prometheus,
    scheduler,
)
from rehearsal.control_plane.model import Adapter, Component, PlaneConfig, PlaneOptions

BUILDERS = (
    etcd.build_etcd,
    apiserver.build_apiserver,
    controller_manager.build_controller_manager,
    scheduler.build_scheduler,
    kwok.build_kwok,
    agent.build_agent,
)

PLANE_TOOLS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok")


def build_all(config: PlaneConfig) -> list[Component]:
    """Return the components that a control plane has by its options."""
    made = [build(config) for build in BUILDERS]
    if config.options.metrics:
        made += [load.build_load(config), prometheus.build_prometheus(config)]
        if config.options.adapter:
            made.append(adapter.build_adapter(config))
    return made


def build_any(config: PlaneConfig) -> list[Component]:
    """Return all components that a control plane may have, whatever its options: what may be running."""
    options = replace(config.options, metrics=True, adapter=config.options.adapter or Adapter())
    return build_all(replace(config, options=options))


def tools_of(options: PlaneOptions) -> list[str]:
    """Return the binaries that a control plane with such options runs."""
    extra = ["prometheus", *(["prometheus-adapter"] if options.adapter else [])] if options.metrics else []
    return [*PLANE_TOOLS, *extra]
