"""Kubernetes objects of the kernel role. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from components.agents import chosen_nodes, digest
from components.kernel.checks import chosen
from components.kernel.settings import KernelSettings
from components.kernel.table import load
from components.objects import LABELS, make_namespace
from inferstack.apimachinery.labels import APP_NAME, CHECKSUM
from inferstack.apimachinery.objects import Object

NAMESPACE = "inferstack-kernel"
NAME = "inferstack-kernel"
STATE = "/var/lib/inferstack/kernel"
"""Directory on the host with the original values."""
_SELECTOR = {APP_NAME: NAME}


def make_objects(settings: KernelSettings, program: Mapping[str, str], image: str) -> list[Object]:
    """Return namespace, program, configuration and DaemonSet, in order of creation.

    Args:
        settings: the role's settings.
        program: the agent's files, by name.
        image: the default image with Python, from versions.yaml; the role's own setting has precedence.
    """
    content = json.dumps(make_config(settings), indent=1, sort_keys=True)
    files = {**program, "config.json": content}
    return [
        # Privileged: the agent writes kernel settings through files of the host.
        make_namespace(NAMESPACE, privileged=True),
        make_config_map("agent", program),
        make_config_map("config", {"config.json": content}),
        make_daemon_set(settings, image, digest(files)),
    ]


def make_config(settings: KernelSettings) -> Object:
    """Return the agent's configuration."""
    parameters = [
        {"key": row.key, "kind": row.kind, "path": row.file, "value": value, "unit": _shown(row.unit)}
        for row, value in chosen(settings)
    ]
    advice = [
        {
            "key": row.key,
            "why": row.why,
            **({"path": row.path} if row.path else {}),
            **({"looksFor": row.looks_for} if row.looks_for else {}),
        }
        for row in load().values()
        if row.kind == "advice"
    ]
    return {
        "mode": settings.mode.value,
        "period": settings.check_seconds,
        "settings": parameters,
        "interfaces": list(settings.interrupts_of),
        "advice": advice,
    }


def _shown(unit: str | None) -> str:
    """Return the suffix for a number in a unit; a flag or a name has none."""
    return unit if unit in ("µs", "s") else ""


def make_config_map(suffix: str, data: Mapping[str, str]) -> Object:
    """Return a ConfigMap of the role."""
    return _object("v1", "ConfigMap", f"{NAME}-{suffix}", data=dict(data))


def make_daemon_set(settings: KernelSettings, image: str, checksum: str) -> Object:
    """Return the DaemonSet of the agent.

    It uses the host's network, as net.* is per network namespace, and its devices. It has no access to the host's
    processes, to its disk beyond one directory, or to the API server.
    """
    container = {
        "name": "agent",
        "image": settings.image or image,
        "command": ["python", "-m", "agent"],
        "args": ["--config", "/etc/inferstack/config.json", "--state", STATE, "--ready", "/run/inferstack/ready"],
        "env": [
            {"name": "PYTHONPATH", "value": "/opt/inferstack"},
            {"name": "PYTHONDONTWRITEBYTECODE", "value": "1"},
        ],
        "readinessProbe": {"exec": {"command": ["test", "-f", "/run/inferstack/ready"]}, "periodSeconds": 5},
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "64Mi"}},
        # Otherwise /proc/sys and /sys are read-only and /dev lacks cpu_dma_latency.
        "securityContext": {"privileged": True, "readOnlyRootFilesystem": True, "runAsUser": 0},
        "volumeMounts": [
            {"name": "agent", "mountPath": "/opt/inferstack/agent", "readOnly": True},
            {"name": "config", "mountPath": "/etc/inferstack", "readOnly": True},
            {"name": "state", "mountPath": STATE},
            {"name": "run", "mountPath": "/run/inferstack"},
        ],
    }
    pod: dict[str, Any] = {
        "nodeSelector": chosen_nodes(settings.node_selector, "inferstack:kernel"),
        # Run on selected nodes whatever their taints.
        "tolerations": [{"operator": "Exists"}],
        "hostNetwork": True,
        "dnsPolicy": "Default",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        # Time to restore the original values.
        "terminationGracePeriodSeconds": 30,
        "containers": [container],
        "volumes": [
            {"name": "agent", "configMap": {"name": f"{NAME}-agent"}},
            {"name": "config", "configMap": {"name": f"{NAME}-config"}},
            {"name": "state", "hostPath": {"path": STATE, "type": "DirectoryOrCreate"}},
            {"name": "run", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
        ],
    }
    spec = {
        "selector": {"matchLabels": _SELECTOR},
        # A bad value reaches a tenth of the nodes first.
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "10%"}},
        "template": {
            "metadata": {
                "labels": {**LABELS, **_SELECTOR},
                "annotations": {CHECKSUM: checksum},
            },
            "spec": pod,
        },
    }
    return _object("apps/v1", "DaemonSet", NAME, spec=spec)


def _object(api_version: str, kind: str, name: str, **rest: Any) -> Object:
    meta = {"name": name, "namespace": NAMESPACE, "labels": {**LABELS, **_SELECTOR}}
    return {"apiVersion": api_version, "kind": kind, "metadata": meta, **rest}
