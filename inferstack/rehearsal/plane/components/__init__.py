"""The components in the order in which they start; stopping goes the other way."""

from __future__ import annotations

from inferstack.rehearsal.plane.components import agent, apiserver, controller_manager, etcd, kwok, scheduler
from inferstack.rehearsal.plane.model import Component, PlaneConfig

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
    """Return all components of a control plane."""
    return [build(config) for build in BUILDERS]
