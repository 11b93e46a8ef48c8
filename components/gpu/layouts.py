"""The stack's MIG layouts: the usual ones and its own, each checked against what a GPU can hold."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from components.cluster.settings import ClusterSettings
from components.gpu.settings import GpuSettings
from inferstack.errors import UserError
from inferstack.mig import catalogue, mig_parted, placement
from inferstack.mig.errors import ConfigError, LayoutError

_KEY = "inferstack:gpu.mig.layouts"


def make_layouts(settings: GpuSettings) -> dict[str, Any]:
    """Return the content of the MIG manager's ``config.yaml``: the usual layouts, overlaid by the stack's own.

    Raises:
        UserError: a layout that is no layout, or that no GPU can hold; names its key.
    """
    config = mig_parted.make_mig_parted_config()
    config["mig-configs"] = {**config["mig-configs"], **settings.mig.layouts}
    try:
        parsed = mig_parted.parse_config(mig_parted.dump_config(config))
    except ConfigError as error:
        raise UserError(str(error).replace("mig-configs", _KEY, 1)) from None
    for name in settings.mig.layouts:
        _check_somewhere(name, parsed[name])
    return config


def check_fleet(config: Mapping[str, Any], cluster: ClusterSettings) -> None:
    """Check that each group of nodes asks for a layout that exists and that its GPUs can hold.

    Raises:
        UserError: naming the group's key.
    """
    parsed = mig_parted.parse_config(mig_parted.dump_config(config))
    for group_name, group in cluster.fleet.items():
        if group.mig_layout is None:
            continue
        key = f"inferstack:cluster.fleet.{group_name}.migLayout"
        machine = catalogue.instance_type(group.instance_type)
        if machine.gpu is None:
            raise UserError(f"{key}: {group.instance_type} has no GPU to cut; remove the key.")
        if group.mig_layout not in parsed:
            near = difflib.get_close_matches(group.mig_layout, parsed, n=3) or sorted(parsed)
            raise UserError(f'{key}: there is no layout "{group.mig_layout}"; there are {", ".join(near)}.')
        model = catalogue.gpu(machine.gpu)
        rules = [
            rule
            for rule in parsed[group.mig_layout]
            if any(rule.matches(index, model.pci_device_ids) for index in range(machine.gpus))
        ]
        if not rules:
            raise UserError(f'{key}: layout "{group.mig_layout}" says nothing of a {model.name}; choose another.')
        for rule in rules:
            try:
                placement.check(model, rule.profiles)
            except LayoutError as error:
                raise UserError(f'{key}: layout "{group.mig_layout}" does not fit a {model.name}: {error}.') from None


def _check_somewhere(name: str, layout: mig_parted.Layout) -> None:
    """Check that each rule fits at least one GPU that it speaks of."""
    for index, rule in enumerate(layout):
        reasons: list[str] = []
        for model in catalogue.load().gpus.values():
            if rule.device_filter and not any(rule.matches(i, model.pci_device_ids) for i in rule.devices or (0,)):
                continue
            try:
                placement.check(model, rule.profiles)
                break
            except LayoutError as error:
                reasons.append(f"{model.name}: {error}")
        else:
            told = "; ".join(reasons) or "its device-filter names none that is known"
            raise UserError(f"{_KEY}.{name}[{index}]: no GPU can hold this ({told}).")
