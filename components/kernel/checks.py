"""Checks of the stack's kernel settings against the table."""

from __future__ import annotations

from components.agents import chosen_nodes
from components.kernel.settings import KernelSettings, Profile
from components.kernel.table import Row, load
from components.security.prerequisites import parse_kernel
from components.settings import PROJECT, key_path
from inferstack.errors import UserError, hint

_KEY = f"{PROJECT}:kernel"


def chosen(settings: KernelSettings) -> list[tuple[Row, str]]:
    """Return the rows to set with their values, in the order of the table.

    Raises:
        UserError: the table lacks a key or does not allow a value; the message names its key path.
    """
    table = load()
    for key, value in settings.settings.items():
        path = key_path(_KEY, ("settings", key))
        row = table.get(key)
        if row is None:
            raise UserError(f"{path}: is not in the table of settings; {hint(key, _settable(), otherwise='it has')}")
        if row.allowed is None:
            what = "interruptsOf says whose" if row.kind == "irq" else "it is advice and never written"
            raise UserError(f"{path}: cannot be set: {what}; remove the key.")
        if value is not None and not row.allowed.holds(value):
            raise UserError(f"{path}: expected {row.allowed} ({row.unit}), got {value!r}.")
    picked: list[tuple[Row, str]] = []
    for row in table.values():
        given = settings.settings.get(row.key, row.value if settings.profile is Profile.LOW_LATENCY else None)
        if row.settable and given is not None:
            picked.append((row, str(given)))
    return picked


def check_tuning(settings: KernelSettings, *, oldest: str | None) -> None:
    """Check the settings of the role.

    Args:
        settings: the role's settings.
        oldest: kernel of the oldest node, if the stack sets it.

    Raises:
        UserError: a setting is invalid; the message names its key.
    """
    picked = chosen(settings)
    if not settings.enabled:
        return
    if not picked and not settings.interrupts_of:
        raise UserError(
            f"{_KEY}.settings: nothing is set with profile {settings.profile}; name settings, or turn the role off."
        )
    chosen_nodes(settings.node_selector, _KEY)
    version = parse_kernel(oldest) if oldest else None
    for row, _ in picked:
        first = parse_kernel(row.kernel or "")
        if version and first and version < first:
            raise UserError(
                f"{key_path(_KEY, ('settings', row.key))}: came with Linux {row.kernel}, and "
                f"{PROJECT}:security.nodes.kernel is {oldest}; set it to null."
            )


def _settable() -> list[str]:
    return [row.key for row in load().values() if row.settable]
