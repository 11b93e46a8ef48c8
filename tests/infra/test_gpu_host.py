"""A real GPU node: the driver is loaded, containers get its devices, GPUs are cut as the node's label asks."""

from __future__ import annotations

from typing import Any

import pytest
from testinfra.host import Host  # type: ignore[import-untyped]  # it ships no types

from components.gpu import compatibility
from components.gpu.builders import CONFIG_MAP, NAMESPACE
from components.gpu.preflight import at_least
from inferstack.mig.mig_parted import parse_config
from tests.infra import nvidia
from tests.infra.cluster import data_of

_DRIVER_ROOT = "/run/nvidia/driver"
"""Where the operator's driver container shows the host its files."""
_CTK = ("/usr/local/nvidia/toolkit/nvidia-ctk", "/usr/bin/nvidia-ctk")
_CDI = ("/var/run/cdi", "/etc/cdi")


def smi(host: Host, arguments: str) -> str:
    """Return what nvidia-smi says, called where the driver is installed."""
    if host.exists("nvidia-smi"):
        return str(host.check_output(f"nvidia-smi {arguments}"))
    assert host.file(f"{_DRIVER_ROOT}/usr/bin/nvidia-smi").exists, "there is no nvidia-smi: no driver is installed"
    return str(host.check_output(f"chroot {_DRIVER_ROOT} nvidia-smi {arguments}"))


@pytest.fixture(scope="module")
def gpu_host(real: Host) -> Host:
    """A real node with NVIDIA GPUs on its PCI bus, which needs no driver to be seen."""
    vendors = real.run("cat /sys/bus/pci/devices/*/vendor").stdout.split()
    if "0x10de" not in vendors:
        pytest.skip("this node has no NVIDIA GPU")
    return real


@pytest.fixture(scope="module")
def gpus(gpu_host: Host) -> list[nvidia.Gpu]:
    """Its GPUs as the driver sees them."""
    return nvidia.read_gpus(smi(gpu_host, f"--query-gpu={nvidia.QUERY} --format=csv,noheader"))


def test_driver_is_loaded_and_answers(gpu_host: Host, gpus: list[nvidia.Gpu]) -> None:
    module = nvidia.read_module(gpu_host.file("/proc/driver/nvidia/version").content_string)
    assert gpus
    assert {gpu.driver for gpu in gpus} == {module.version}


def test_driver_sees_every_gpu_of_the_pci_bus(gpu_host: Host, gpus: list[nvidia.Gpu]) -> None:
    devices = gpu_host.check_output("ls /proc/driver/nvidia/gpus").split()
    assert len(devices) == len(gpus)


def test_driver_is_new_enough_for_the_gpus(gpus: list[nvidia.Gpu]) -> None:
    table = compatibility.load()
    for gpu in gpus:
        row = table.gpus.get(gpu.model.name) if gpu.model else None
        if row is None:
            pytest.skip(f"the table of what fits has no row for {gpu.name}")
        assert at_least(gpu.driver, row.driver), f"{gpu.name} needs {row.driver}, has {gpu.driver}"


def test_container_toolkit_is_installed(gpu_host: Host) -> None:
    installed = [path for path in _CTK if gpu_host.file(path).exists]
    assert installed, f"none of {', '.join(_CTK)}"
    assert gpu_host.run(f"{installed[0]} --version").rc == 0


def test_containerd_has_the_nvidia_runtime(gpu_host: Host) -> None:
    if not gpu_host.exists("containerd"):
        pytest.skip("this node has another container runtime")
    config = gpu_host.check_output("containerd config dump")
    assert "runtimes.nvidia]" in config.replace("'", "").replace('"', "")


def test_cdi_specification_exists(gpu_host: Host) -> None:
    names = [name for folder in _CDI for name in gpu_host.run(f"ls {folder}").stdout.split()]
    specifications = [name for name in names if "nvidia" in name and name.endswith((".yaml", ".json"))]
    assert specifications, f"no CDI specification of NVIDIA in {' or '.join(_CDI)}"


def test_mig_layout_matches_the_label(
    gpu_host: Host, gpus: list[nvidia.Gpu], labels: dict[str, str], node: dict[str, Any]
) -> None:
    asked = labels.get("nvidia.com/mig.config")
    if asked is None:
        pytest.skip(f"node {node['metadata']['name']} asks for no MIG layout")
    layouts = parse_config(data_of(CONFIG_MAP, NAMESPACE, "config.yaml"))
    assert asked in layouts, f"there is no layout {asked}"
    instances = nvidia.read_instances(smi(gpu_host, "-L"))
    assert list(nvidia.unlike_layout(gpus, instances, layouts[asked])) == []
    assert labels.get("nvidia.com/mig.config.state") == "success"
