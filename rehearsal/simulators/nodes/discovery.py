"""Node and GPU feature discovery, and the labels that the GPU operator uses to place its operands."""

from __future__ import annotations

from collections.abc import Sequence

from inferstack.mig.catalogue import load
from inferstack.mig.gpu_operator import gfd_labels, nfd_labels, operator_labels
from inferstack.mig.layout import GpuState
from inferstack.mig.sharing import Sharing, share_labels
from rehearsal.hardware import Hardware
from rehearsal.simulators.desired import Desired
from rehearsal.simulators.nodes.policy import Policy

SRIOV_CAPABLE = "feature.node.kubernetes.io/network-sriov.capable"
"""Labels of nodes with an SR-IOV capable NIC; node feature discovery is installed with the GPU operator."""


def desired(
    hardware: Hardware, policy: Policy | None, states: Sequence[GpuState], *, pending: bool, config: str = ""
) -> Desired:
    """Return the labels: none without the operator, few without a GPU.

    A lost GPU changes no label, because the driver counts it until the driver is reloaded.

    Args:
        hardware: hardware of the node.
        policy: None while the GPU operator is not installed.
        states: current state of the GPUs.
        pending: whether the MIG manager is working.
        config: time-slicing configuration requested by the node; empty if none.
    """
    if policy is None:
        return Desired()
    capable = {SRIOV_CAPABLE: "true"} if hardware.ports else {}
    if hardware.gpu is None:
        return Desired(labels=capable)
    labels = capable | nfd_labels() | operator_labels(paused=pending, mig_manager=policy.mig_manager)
    if policy.feature_discovery:
        machine = hardware.instance_type
        gfd = gfd_labels(load(), hardware.gpu, states, policy.strategy, machine=machine)
        labels |= share_labels(gfd, policy.sharing_of(config) or Sharing())
    return Desired(labels=labels)
