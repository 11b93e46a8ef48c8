"""Settings of the wasm role."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, StrictBool, StrictInt, StringConstraints

from components.agents import NodeLabels
from components.quantities import Quantity
from components.settings import DnsLabel, RoleSettings

AbsolutePath = Annotated[str, StringConstraints(pattern=r"^(/[A-Za-z0-9_+-][A-Za-z0-9._+-]*)+$")]
"""Without spaces or dots that lead elsewhere; it goes into TOML."""


class Shim(RoleSettings):
    """The binary that runs WebAssembly for containerd."""

    image: str | None
    path: AbsolutePath
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None


class Containerd(RoleSettings):
    """The nodes' container runtime."""

    config: AbsolutePath
    restart: Annotated[tuple[str, ...], Field(min_length=1)]


class RuntimeClass(RoleSettings):
    """What pods ask for."""

    name: DnsLabel
    cpu: Quantity
    memory: Quantity


class Sample(RoleSettings):
    """A light inference job in WebAssembly: a plain Deployment in a tenant's namespace."""

    tenant: DnsLabel
    """Tenant in whose namespace it runs."""
    image: str
    """Image with the module as its entry point, and, for WASI-NN, the plugin and the model."""
    args: tuple[str, ...] = ()
    """Arguments of the module."""
    preload: str | None = None
    """Model that WASI-NN loads before the module starts: name:backend:device:path. None: the module does it."""
    plugin_path: AbsolutePath = "/plugin"
    """Folder in the image with WasmEdge's plugins; WASI-NN is one."""
    replicas: Annotated[StrictInt, Field(ge=0, le=100)] = 1
    """Pods. One, to see that it works."""
    port: Annotated[StrictInt, Field(ge=1024, le=65535)] = 8080
    """Port on which the module listens. Above 1023, which pods of a tenant may open."""
    cpu: Quantity = "1"
    """CPU of each pod: inference on the CPU takes what it gets."""
    memory: Quantity = "2Gi"
    """Memory of each pod, the model included."""


class WasmSettings(RoleSettings):
    """See defaults.yaml."""

    enabled: StrictBool
    shim: Shim
    containerd: Containerd
    runtime_class: RuntimeClass
    node_selector: NodeLabels
    tolerations: tuple[dict[str, Any], ...]
    check_seconds: Annotated[StrictInt, Field(ge=5, le=86400)]
    installer_image: str | None
    sample: Sample | None
