"""One module per component of the control plane: its arguments, ports, probe and dependencies.

The builders are pure functions of the configuration; only a component's `pre_start` hook writes files or calls the
API server.
"""

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


def build_enabled(config: PlaneConfig) -> list[Component]:
    """Return the components that the options enable, in start order."""
    components = [build(config) for build in BUILDERS]
    if config.options.metrics:
        components += [load.build_load(config), prometheus.build_prometheus(config)]
        if config.options.adapter:
            components.append(adapter.build_adapter(config))
    return components


def build_every(config: PlaneConfig) -> list[Component]:
    """Return all components, enabled or not: a disabled one may still run."""
    options = replace(config.options, metrics=True, adapter=config.options.adapter or Adapter())
    return build_enabled(replace(config, options=options))


def required_tools(options: PlaneOptions) -> list[str]:
    """Return the binaries that a control plane with these options runs."""
    extra = ["prometheus", *(["prometheus-adapter"] if options.adapter else [])] if options.metrics else []
    return [*PLANE_TOOLS, *extra]
