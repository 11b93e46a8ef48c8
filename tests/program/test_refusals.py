"""Wrong settings, one at a time in a stack that is right: each is refused in the preview, under its full key path."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from inferstack.project import project_root

if TYPE_CHECKING:
    from tests.program.conftest import Machine

H100 = "cluster.aws.gpu.h100"
CASES: list[tuple[str, str, Any, str]] = [
    # stack, what is set, to what, what the refusal begins with (without the project's name)
    # Unknown keys, at every depth.
    ("local", "gpu.mig.stratgy", "mixed", "gpu.mig.stratgy: unknown key; did you mean strategy?"),
    ("local", "mesh.mtls.mod", "STRICT", "mesh.mtls.mod: unknown key; did you mean mode?"),
    (
        "local",
        "monitoring.prometheus.retentoin",
        "1d",
        "monitoring.prometheus.retentoin: unknown key; did you mean ret",
    ),
    (
        "local",
        "storage.datasets.bert-base-uncased.mount",
        [],
        "storage.datasets.bert-base-uncased.mount: unknown key; did",
    ),
    (
        "local",
        "cluster.fleet.h100.migLayuot",
        "x",
        "cluster.fleet.h100.migLayuot: unknown key; did you mean migLayout?",
    ),
    ("prod", f"{H100}.instanceType", "p5.48xlarge", f"{H100}.instanceType: unknown key; did you mean instanceTypes?"),
    ("prod", "cluster.aws.networks", {}, "cluster.aws.networks: unknown key; did you mean network?"),
    ("local", "autoscaling.keda.enabeld", True, "autoscaling.keda.enabeld: unknown key; did you mean enabled?"),
    ("local", "addon.modes.kdea", "chart", "addon.modes.kdea: "),
    ("local", "kernel.mdoe", "apply", "kernel.mdoe: unknown key; did you mean mode?"),
    # Wrong units and types.
    ("local", "addon.timeoutSeconds", "30m", "addon.timeoutSeconds: input should be a valid integer"),
    ("local", "monitoring.prometheus.retention", "15 days", "monitoring.prometheus.retention: "),
    ("local", "monitoring.prometheus.storage.size", "60 GB", "monitoring.prometheus.storage.size: "),
    (
        "local",
        "storage.datasets.bert-base-uncased.runtime.tieredstore[0].quota",
        "2 gigs",
        "storage.datasets.bert-base-",
    ),
    ("local", "tenancy.tenants.nlp.cpu", "4 cores", "tenancy.tenants.nlp.cpu: expected a quantity"),
    ("prod", "cluster.aws.logs.retentionDays", 100, "cluster.aws.logs.retentionDays: "),
    ("local", "mesh.ejection.failurePercentage.threshold", 0, "mesh.ejection.failurePercentage.threshold: "),
    # Layouts that do not fit the GPU.
    (
        "local",
        "cluster.fleet.h100.migLayout",
        "all-1g.5gb",
        'cluster.fleet.h100.migLayout: layout "all-1g.5gb" does not',
    ),
    ("prod", f"{H100}.migLayout", "all-1g.5gb", f'{H100}.migLayout: layout "all-1g.5gb" does not fit'),
    (
        "local",
        "gpu.mig.layouts.mostly-serving",
        [{"devices": "all", "mig-enabled": True, "mig-devices": {"3g.20gb": 3}}],
        "gpu.mig.layouts.mostly-serving[0].mig-devices: no GPU can hold this",
    ),
    # Networks.
    ("prod", "cluster.aws.network.zones[0].nodes", "10.200.0.0/19", "cluster.aws.network.zones[0].nodes: "),
    ("prod", "cluster.aws.network.zones[1].nodes", "10.96.0.0/19", "cluster.aws.network.zones[1].nodes: "),
    ("dev", "cluster.aws.endpoints.publicFrom", ["0.0.0.0/0"], "cluster.aws.endpoints.publicFrom"),
    ("prod", "cluster.aws.network.cidr", "10.96.0.0/33", "cluster.aws.network.cidr: "),
    ("prod", f"{H100}.instanceTypes", ["p5.47xlarge"], f"{H100}.instanceTypes"),
    ("dev", "cluster.aws.gpu.l40s.reservation", "cr-0123456789abcdef0", "cluster.aws.gpu.l40s."),
    # What two roles say together.
    ("local", "inference.jobs[0].spec.cache.dataset", "bert-large", "inference.jobs[0].spec.cache.dataset: "),
    ("local", "mesh.hosts[0].job", "nlp/other", "mesh.hosts[0].job: "),
    ("local", "mesh.mtls.exceptions[0].tenant", "vision", "mesh.mtls.exceptions[0].tenant: "),
    ("local", "security.encryption.mode", "wireguard", "security.encryption"),
    ("local", "storage.datasets.bert-base-uncased.tenants", ["vision"], "storage.datasets.bert-base-uncased.tenants"),
    ("local", "inference.jobNamespace", "vision", 'inference.jobNamespace: no tenant "vision"'),
    ("prod", "addon.mode", "rehearsed", "addon.mode: rehearsed is for the place local only"),
    # Drivers.
    ("local", "gpu.driver.version", "470.57.02", "gpu.driver.version: "),
]


def set_path(config: dict[str, Any], path: str, value: Any) -> None:
    """Set one value in a stack's configuration; ``path`` as the user writes it."""
    parts = [int(part) if part.isdecimal() else part for part in path.replace("]", "").replace("[", ".").split(".")]
    at: Any = config
    for part in parts[:-1]:
        at = at[part] if isinstance(part, int) else at.setdefault(part, {})
    at[parts[-1]] = value


def stack_of(name: str) -> dict[str, Any]:
    """Return a stack's configuration by role."""
    content = yaml.safe_load((project_root() / "stacks" / f"Pulumi.{name}.yaml").read_text())["config"]
    return {key.removeprefix("inferstack:"): value for key, value in content.items()}


@pytest.mark.parametrize(("stack", "path", "value", "message"), CASES, ids=[f"{case[0]}-{case[1]}" for case in CASES])
def test_a_wrong_setting_is_refused_in_the_preview(
    machine: Machine, stack: str, path: str, value: Any, message: str
) -> None:
    config = copy.deepcopy(stack_of(stack))
    set_path(config, path, value)
    role = path.partition(".")[0]
    refusal = machine.refusal(stack, preview=True, **{role: config[role]})
    assert refusal.startswith(f"inferstack:{message}")
