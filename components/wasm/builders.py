"""Kubernetes objects of the wasm role. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from components.agents import chosen_nodes, digest
from components.objects import LABELS, make_namespace
from components.wasm.settings import Sample, WasmSettings
from inferstack.apimachinery.labels import APP_NAME, CHECKSUM
from inferstack.apimachinery.objects import Object

NAMESPACE = "inferstack-wasm"
NAME = "inferstack-wasm"
FOLDER = "/opt/inferstack/wasm"
"""Directory of the shim on the host."""
_SELECTOR = {APP_NAME: NAME}
_SHIM = "/shim/containerd-shim-wasmedge-v1"


def make_objects(settings: WasmSettings, program: Mapping[str, str], image: str) -> list[Object]:
    """Return namespace, installer and RuntimeClass, in order of creation.

    Args:
        settings: the role's settings.
        program: the installer's files, by name.
        image: the default image with Python, from versions.yaml; the role's own setting has precedence.
    """
    content = json.dumps(make_config(settings), indent=1, sort_keys=True)
    return [
        # Privileged: the installer writes to the host and restarts containerd.
        make_namespace(NAMESPACE, privileged=True),
        _object("v1", "ConfigMap", f"{NAME}-agent", data=dict(program)),
        _object("v1", "ConfigMap", f"{NAME}-config", data={"config.json": content}),
        make_daemon_set(settings, image, digest({**program, "config.json": content})),
        make_runtime_class(settings),
    ]


def make_config(settings: WasmSettings) -> Object:
    """Return the installer's configuration."""
    return {
        "shim": _SHIM,
        "sha256": settings.shim.sha256,
        "installed": f"{FOLDER}/bin/containerd-shim-wasmedge-v1",
        "containerd": settings.containerd.config,
        "runtime": settings.runtime_class.name,
        # In the mount namespace of the host.
        "restart": ["nsenter", "--target=1", "--mount", "--", *settings.containerd.restart],
        "period": settings.check_seconds,
    }


def make_runtime_class(settings: WasmSettings) -> Object:
    """Return the RuntimeClass, with a node selector for the shim and its pod overhead."""
    scheduling: Object = {"nodeSelector": chosen_nodes(settings.node_selector, "inferstack:wasm")}
    if settings.tolerations:
        scheduling["tolerations"] = list(settings.tolerations)
    given = settings.runtime_class
    return {
        "apiVersion": "node.k8s.io/v1",
        "kind": "RuntimeClass",
        "metadata": {"name": given.name, "labels": {**LABELS, **_SELECTOR}},
        "handler": given.name,
        "overhead": {"podFixed": {"cpu": given.cpu, "memory": given.memory}},
        "scheduling": scheduling,
    }


def make_daemon_set(settings: WasmSettings, image: str, checksum: str) -> Object:
    """Return the DaemonSet of the installer.

    The shim's image runs unprivileged and only copies its binary. The installer writes to the host after it verifies
    the checksum of the binary.
    """
    folder = str(PurePosixPath(settings.containerd.config).parent)
    fetch = {
        "name": "shim",
        "image": settings.shim.image,
        "command": ["cp", settings.shim.path, _SHIM],
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "runAsUser": 65532,
        },
        "volumeMounts": [{"name": "shim", "mountPath": "/shim"}],
    }
    container = {
        "name": "installer",
        "image": settings.installer_image or image,
        "command": ["python", "-m", "agent"],
        "args": ["--config", "/etc/inferstack/config.json", "--ready", "/run/inferstack/ready"],
        "env": [
            {"name": "PYTHONPATH", "value": "/opt/inferstack-agent"},
            {"name": "PYTHONDONTWRITEBYTECODE", "value": "1"},
        ],
        "readinessProbe": {"exec": {"command": ["test", "-f", "/run/inferstack/ready"]}, "periodSeconds": 5},
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "64Mi"}},
        # To restart containerd in the host's mount namespace.
        "securityContext": {"privileged": True, "readOnlyRootFilesystem": True, "runAsUser": 0},
        "volumeMounts": [
            {"name": "agent", "mountPath": "/opt/inferstack-agent/agent", "readOnly": True},
            {"name": "config", "mountPath": "/etc/inferstack", "readOnly": True},
            {"name": "shim", "mountPath": "/shim", "readOnly": True},
            {"name": "host", "mountPath": FOLDER},
            {"name": "containerd", "mountPath": folder},
            {"name": "run", "mountPath": "/run/inferstack"},
        ],
    }
    pod: dict[str, Any] = {
        "nodeSelector": chosen_nodes(settings.node_selector, "inferstack:wasm"),
        "tolerations": [{"operator": "Exists"}],
        "hostPID": True,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        # Time to remove the runtime and restart containerd.
        "terminationGracePeriodSeconds": 60,
        "initContainers": [fetch],
        "containers": [container],
        "volumes": [
            {"name": "agent", "configMap": {"name": f"{NAME}-agent"}},
            {"name": "config", "configMap": {"name": f"{NAME}-config"}},
            {"name": "shim", "emptyDir": {"sizeLimit": "256Mi"}},
            {"name": "host", "hostPath": {"path": FOLDER, "type": "DirectoryOrCreate"}},
            {"name": "containerd", "hostPath": {"path": folder, "type": "Directory"}},
            {"name": "run", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
        ],
    }
    spec = {
        "selector": {"matchLabels": _SELECTOR},
        # One node at a time, as each restarts containerd.
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}},
        "template": {
            "metadata": {"labels": {**LABELS, **_SELECTOR}, "annotations": {CHECKSUM: checksum}},
            "spec": pod,
        },
    }
    return _object("apps/v1", "DaemonSet", NAME, spec=spec)


def make_sample(sample: Sample, runtime: str) -> Object:
    """Return the sample, which complies with the restricted Pod Security Standard."""
    name = "wasm-sample"
    labels = {APP_NAME: name}
    env = [{"name": "WASMEDGE_PLUGIN_PATH", "value": sample.plugin_path}]
    if sample.preload is not None:
        env.append({"name": "WASMEDGE_WASINN_PRELOAD", "value": sample.preload})
    resources = {"cpu": sample.cpu, "memory": sample.memory}
    container: dict[str, Any] = {
        "name": "module",
        "image": sample.image,
        "env": env,
        "ports": [{"name": "http", "containerPort": sample.port, "protocol": "TCP"}],
        "resources": {"requests": resources, "limits": resources},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    if sample.args:
        container["args"] = list(sample.args)
    pod = {
        "runtimeClassName": runtime,
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
    }
    spec = {
        "replicas": sample.replicas,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": {**LABELS, **labels}}, "spec": pod},
    }
    meta = {"name": name, "namespace": sample.tenant, "labels": {**LABELS, **labels}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec}


def _object(api_version: str, kind: str, name: str, **rest: Any) -> Object:
    meta = {"name": name, "namespace": NAMESPACE, "labels": {**LABELS, **_SELECTOR}}
    return {"apiVersion": api_version, "kind": kind, "metadata": meta, **rest}
