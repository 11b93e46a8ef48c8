"""The stack's MIG layouts: defaults and custom ones, validated against the placements of each GPU model."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from components.cluster.settings import ClusterSettings
from components.gpu.settings import GpuSettings, Strategy
from inferstack.errors import UserError
from inferstack.mig import catalogue, layout
from inferstack.mig.errors import ConfigError, LayoutError
from inferstack.mig.mig_parted import Rule, read_config

_KEY = "inferstack:gpu.mig.layouts"


def make_layouts(settings: GpuSettings) -> dict[str, Any]:
    """Return the content of the MIG manager's ``config.yaml``: the default layouts merged with the stack's.

    Raises:
        UserError: a layout is malformed, or fits no GPU; the message names its key.
    """
    config = layout.make_mig_parted_config()
    config["mig-configs"] = {**config["mig-configs"], **settings.mig.layouts}
    try:
        parsed = read_config(config)
    except ConfigError as error:
        raise UserError(str(error).replace("mig-configs", _KEY, 1)) from None
    for name in settings.mig.layouts:
        _check_somewhere(name, parsed[name])
    return config


def check_fleet(config: Mapping[str, Any], cluster: ClusterSettings, strategy: Strategy) -> None:
    """Check that the layout of each node group exists and fits its GPUs and MIG strategy.

    Raises:
        UserError: a layout does not fit; the message names the group's key.
    """
    parsed = read_config(config)
    for key, instance_type, gpu, gpus, asked in cluster.cuts():
        if gpu is None:
            raise UserError(f"{key}: {instance_type} has no GPU; remove the key.")
        if asked not in parsed:
            near = difflib.get_close_matches(asked, parsed, n=3) or sorted(parsed)
            raise UserError(f'{key}: there is no layout "{asked}"; there are {", ".join(near)}.')
        model = catalogue.gpu(gpu)
        try:
            states = layout.apply_layout(parsed[asked], model, layout.mig_disabled(gpus))
        except LayoutError as error:
            raise UserError(f'{key}: layout "{asked}" does not fit a {model.name}: {error}.') from None
        if problem := layout.advertised_resources(model, states, strategy.value).problem:
            raise UserError(
                f'{key}: with inferstack:gpu.mig.strategy {strategy}, layout "{asked}" leaves the nodes '
                f"without a GPU: {problem}."
            )


def _check_somewhere(name: str, own: layout.Layout) -> None:
    """Check that each rule fits at least one GPU that it selects."""
    for index, rule in enumerate(own):
        models = [
            model
            for model in catalogue.load().gpus.values()
            if not rule.device_filter or any(rule.matches(i, model.pci_device_ids) for i in rule.devices or (0,))
        ]
        key = f"{_KEY}.{name}[{index}]"
        if not models:
            raise UserError(f"{key}.device-filter: matches no known GPU: {', '.join(rule.device_filter)}.")
        # Only a GPU with all the profiles can explain why they do not fit together.
        able = [model for model in models if all(profile in model.profiles for profile in rule.profiles)]
        if not able:
            have = "; ".join(f"{model.name}: {', '.join(model.profiles)}" for model in models)
            raise UserError(f"{key}.mig-devices: no GPU has {', '.join(rule.profiles)} ({have}).")
        reasons = [reason for model in able if (reason := _refusal(model, rule))]
        if len(reasons) == len(able):
            raise UserError(f"{key}.mig-devices: no GPU can hold this ({'; '.join(reasons)}).")


def _refusal(model: catalogue.Gpu, rule: Rule) -> str | None:
    try:
        layout.require_placement(model, rule.profiles)
    except LayoutError as error:
        return str(error)
    return None
