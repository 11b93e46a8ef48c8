"""Checks of the wasm settings."""

from __future__ import annotations

from collections.abc import Collection

from components.agents import chosen_nodes
from components.settings import PROJECT
from components.wasm.settings import WasmSettings
from inferstack.errors import UserError, hint

_KEY = f"{PROJECT}:wasm"
_RESERVED = frozenset({"runc", "nvidia", "nvidia-cdi", "nvidia-legacy"})
"""Names of runtimes of containerd and the NVIDIA container toolkit."""


def check_wasm(settings: WasmSettings, tenants: Collection[str]) -> None:
    """Check that the shim is configured and the sample has a namespace.

    Args:
        settings: the role's settings.
        tenants: names of the stack's tenants.

    Raises:
        UserError: a setting is invalid; the message names its key.
    """
    sample = settings.sample
    if not settings.enabled:
        if sample is not None:
            raise UserError(f"{_KEY}.sample: needs the role; set {_KEY}.enabled to true, or remove the sample.")
        return
    if settings.shim.image is None:
        raise UserError(
            f"{_KEY}.shim.image: is required when the role is on; name an image that carries {settings.shim.path}."
        )
    if settings.shim.sha256 is None:
        raise UserError(f"{_KEY}.shim.sha256: is required when the role is on; run `sha256sum` on the binary.")
    if settings.runtime_class.name in _RESERVED:
        raise UserError(f"{_KEY}.runtimeClass.name: {settings.runtime_class.name} is another runtime's; use wasmedge.")
    chosen_nodes(settings.node_selector, _KEY)
    if sample is not None and sample.tenant not in tenants:
        raise UserError(f'{_KEY}.sample.tenant: there is no tenant "{sample.tenant}"; {hint(sample.tenant, tenants)}')
