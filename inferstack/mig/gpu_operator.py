"""Object names of the GPU operator, and the node labels that it and its feature discovery write.

Sources: NVIDIA/k8s-device-plugin ``internal/lm`` (mig-strategy.go, resource.go, nvml.go) for GPU feature discovery;
NVIDIA/gpu-operator ``controllers/state_manager.go`` for ``gpu.present`` and ``gpu.deploy.*``; the default
``deviceClassWhitelist`` and ``deviceLabelFields: [vendor]`` of the operator's NFD values for ``pci-10de.present``.
``nvidia.com/gfd.timestamp`` is omitted, because it would change the node on every pass.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from inferstack.mig.catalogue import Catalogue, Gpu, Profile
from inferstack.mig.layout import GpuState, Strategy, advertised_resources
from inferstack.mig.resources import GPU_RESOURCE, escape_profile

API_VERSION: Final = "nvidia.com/v1"
POLICY: Final = "cluster-policy"
"""Name of the only ClusterPolicy that the GPU operator reconciles."""
NAMESPACE: Final = "gpu-operator"
OWN_LAYOUTS: Final = "inferstack-mig-parted"
"""ConfigMap that the gpu role writes."""
DEFAULT_LAYOUTS: Final = "default-mig-parted-config"
"""ConfigMap that the GPU operator writes if its ClusterPolicy names none."""

PRODUCT: Final = f"{GPU_RESOURCE}.product"
COUNT: Final = f"{GPU_RESOURCE}.count"
STRATEGY: Final = "nvidia.com/mig.strategy"
MIG_CONFIG: Final = "nvidia.com/mig.config"
MIG_STATE: Final = "nvidia.com/mig.config.state"

OPERANDS = ("container-toolkit", "dcgm", "dcgm-exporter", "device-plugin", "driver", "gpu-feature-discovery",
            "mig-manager", "node-status-exporter", "operator-validator")  # fmt: skip
"""Operands that the GPU operator enables by ``nvidia.com/gpu.deploy.<name>``."""

PAUSED_BY_MIG = ("dcgm", "dcgm-exporter", "device-plugin", "gpu-feature-discovery")
"""Operands that the MIG manager stops during a reconfiguration (mig-parted ``pkg/mig/reconfigure/reconfigure.go``)."""


def nfd_labels() -> dict[str, str]:
    """Return the node feature discovery labels of a node with an NVIDIA GPU that selectors commonly use."""
    return {
        "feature.node.kubernetes.io/pci-10de.present": "true",
        "feature.node.kubernetes.io/kernel-version.major": "6",
        "feature.node.kubernetes.io/system-os_release.ID": "amzn",
        "feature.node.kubernetes.io/cpu-model.vendor_id": "Intel",
    }


def operator_labels(*, paused: bool, mig_manager: bool = True) -> dict[str, str]:
    """Return the labels that place operands.

    Args:
        paused: whether the MIG manager is reconfiguring the node and has paused the operands that use its GPUs.
        mig_manager: whether the MIG manager runs on the node.
    """
    labels = {"nvidia.com/gpu.present": "true"}
    for operand in OPERANDS:
        if operand == "mig-manager" and not mig_manager:
            continue
        value = "paused-for-mig-change" if paused and operand in PAUSED_BY_MIG else "true"
        labels[f"nvidia.com/gpu.deploy.{operand}"] = value
    return labels


def gfd_labels(
    catalogue: Catalogue, model: Gpu, states: Sequence[GpuState], strategy: Strategy, *, machine: str
) -> dict[str, str]:
    """Return the labels of GPU feature discovery.

    Args:
        catalogue: gives the driver and CUDA versions.
        model: the GPU model of the node.
        states: its GPUs by index, at least one.
        strategy: the MIG strategy.
        machine: the DMI product name; on EC2 the instance type.
    """
    labels = {
        "nvidia.com/gpu.machine": machine,
        "nvidia.com/gpu.mode": "compute",
        "nvidia.com/gpu.sharing-strategy": "none",
        "nvidia.com/mig.capable": str(bool(model.profiles)).lower(),
        "nvidia.com/mps.capable": "false",
        **_version_labels(catalogue),
        **_resource(GPU_RESOURCE, product=model.product, count=len(states), memory=model.memory_mib),
        # 1 for whole GPUs; 0 if all GPUs are partitioned, because sharing does not apply to them.
        f"{GPU_RESOURCE}.replicas": "0" if all(state.enabled for state in states) else "1",
        f"{GPU_RESOURCE}.family": model.family,
        f"{GPU_RESOURCE}.compute.major": str(model.compute_capability[0]),
        f"{GPU_RESOURCE}.compute.minor": str(model.compute_capability[1]),
    }
    if strategy == "none":
        return labels
    labels[STRATEGY] = strategy
    instances: Counter[str] = Counter()
    for state in states:
        instances.update(state.profiles)
    if strategy == "mixed":
        for name, count in instances.items():
            profile = model.profile(name)
            labels |= _instance(profile.resource, model, profile, count)
    elif any(state.enabled for state in states):
        if advertised_resources(model, states, strategy).problem:
            labels |= _resource(GPU_RESOURCE, product=f"{model.product}-MIG-INVALID", count=0, memory=0)
            labels[f"{GPU_RESOURCE}.replicas"] = "0"
        else:
            (name,) = instances
            labels |= _instance(GPU_RESOURCE, model, model.profile(name), instances[name])
    return labels


def _resource(resource: str, *, product: str, count: int, memory: int) -> dict[str, str]:
    return {f"{resource}.product": product, f"{resource}.count": str(count), f"{resource}.memory": str(memory)}


def _instance(resource: str, model: Gpu, profile: Profile, count: int) -> dict[str, str]:
    product = f"{model.product}-MIG-{escape_profile(profile.name)}"
    return {
        **_resource(resource, product=product, count=count, memory=profile.memory_mib),
        f"{resource}.replicas": "1",
        f"{resource}.multiprocessors": str(profile.multiprocessors),
        f"{resource}.slices.gi": str(profile.compute_slices),
        f"{resource}.slices.ci": str(profile.compute_slices),
        **{f"{resource}.engines.{engine}": str(number) for engine, number in profile.engines.items()},
    }


def _version_labels(catalogue: Catalogue) -> dict[str, str]:
    major, minor, revision = (*catalogue.driver_version.split("."), "")[:3]
    cuda_major, cuda_minor = catalogue.cuda_version.split(".")
    return {
        # The short names are deprecated upstream but still written.
        "nvidia.com/cuda.driver.major": major,
        "nvidia.com/cuda.driver.minor": minor,
        "nvidia.com/cuda.driver.rev": revision,
        "nvidia.com/cuda.runtime.major": cuda_major,
        "nvidia.com/cuda.runtime.minor": cuda_minor,
        "nvidia.com/cuda.driver-version.full": catalogue.driver_version,
        "nvidia.com/cuda.driver-version.major": major,
        "nvidia.com/cuda.driver-version.minor": minor,
        "nvidia.com/cuda.driver-version.revision": revision,
        "nvidia.com/cuda.runtime-version.full": catalogue.cuda_version,
        "nvidia.com/cuda.runtime-version.major": cuda_major,
        "nvidia.com/cuda.runtime-version.minor": cuda_minor,
    }
