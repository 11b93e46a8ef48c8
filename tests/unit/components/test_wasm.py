"""Wasm: what a stack must say, and the objects made of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from components.agents import program
from components.settings import load_role
from components.wasm import builders
from components.wasm.checks import check_wasm
from components.wasm.settings import Sample, WasmSettings
from inferstack.apimachinery.objects import Object
from inferstack.errors import UserError

SHIM = {"image": "registry.example.org/shim:1", "sha256": "a" * 64}
SAMPLE = {"tenant": "nlp", "image": "registry.example.org/chat:1", "preload": "default:GGML:AUTO:/model.gguf"}


def settings(given: Mapping[str, Any] | None = None) -> WasmSettings:
    """Return the role's settings, switched on."""
    return load_role("wasm", WasmSettings, {"enabled": True, "shim": SHIM, **(given or {})})


def objects(given: Mapping[str, Any] | None = None) -> dict[str, Object]:
    """Return what the role makes, by kind."""
    manifests = builders.make_objects(settings(given), program("wasm"), "python:x")
    return {manifest["kind"]: manifest for manifest in manifests}


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"shim": {}}, "shim.image: is required"),
        ({"shim": {"image": "x"}}, "shim.sha256: is required"),
        ({"shim": {"image": "x", "sha256": "abc"}}, "shim.sha256: "),
        ({"shim": {**SHIM, "path": "bin/shim"}}, "shim.path: "),
        ({"shim": {**SHIM, "path": "/assets/../shim"}}, "shim.path: "),
        ({"containerd": {"config": "config.toml"}}, "containerd.config: "),
        ({"containerd": {"restart": []}}, "containerd.restart: "),
        ({"runtimeClass": {"name": "runc"}}, "runtimeClass.name: runc is another runtime's"),
        ({"runtimeClass": {"name": "Wasm Edge"}}, "runtimeClass.name: "),
        ({"runtimeClass": {"memory": "32 MB"}}, "runtimeClass.memory: expected a quantity"),
        ({"nodeSelector": {"inferstack.dev/wasm": None}}, "nodeSelector: "),
        ({"sample": {**SAMPLE, "tenant": "nlpp"}}, 'sample.tenant: there is no tenant "nlpp"; did you mean nlp?'),
        ({"sample": {"tenant": "nlp"}}, "sample.image: is required"),
        ({"sample": {**SAMPLE, "port": 80}}, "sample.port: "),
        ({"enabled": False, "sample": SAMPLE}, "sample: needs the role"),
    ],
)
def test_a_wrong_value_is_refused_by_its_path(given: Mapping[str, Any], path: str) -> None:
    with pytest.raises(UserError) as caught:
        check_wasm(settings(given), ["nlp"])
    assert str(caught.value).startswith(f"inferstack:wasm.{path}")


def test_a_role_that_is_off_needs_nothing() -> None:
    check_wasm(load_role("wasm", WasmSettings, None), [])


def test_the_runtime_class_sends_pods_to_the_installers_nodes_and_charges_them() -> None:
    manifests = objects({"tolerations": [{"key": "wasm", "operator": "Exists"}]})
    runtime, pod = manifests["RuntimeClass"], manifests["DaemonSet"]["spec"]["template"]["spec"]
    assert runtime["scheduling"] == {
        "nodeSelector": pod["nodeSelector"],
        "tolerations": [{"key": "wasm", "operator": "Exists"}],
    }
    assert runtime["overhead"] == {"podFixed": {"cpu": "10m", "memory": "32Mi"}}
    assert runtime["handler"] == builders.make_config(settings())["runtime"] == "wasmedge"


def test_the_shims_own_image_runs_without_any_right() -> None:
    pod = objects()["DaemonSet"]["spec"]["template"]["spec"]
    (fetch,) = pod["initContainers"]
    assert fetch["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "runAsUser": 65532,
    }
    assert [mount["name"] for mount in fetch["volumeMounts"]] == ["shim"]
    assert pod["automountServiceAccountToken"] is False


def test_the_pod_sees_two_folders_of_the_host() -> None:
    pod = objects({"containerd": {"config": "/var/lib/rancher/k3s/agent/etc/containerd/config.toml.tmpl"}})
    volumes = pod["DaemonSet"]["spec"]["template"]["spec"]["volumes"]
    assert [volume["hostPath"] for volume in volumes if "hostPath" in volume] == [
        {"path": "/opt/inferstack/wasm", "type": "DirectoryOrCreate"},
        {"path": "/var/lib/rancher/k3s/agent/etc/containerd", "type": "Directory"},
    ]


def test_the_installer_is_told_what_its_pod_mounts() -> None:
    manifests = builders.make_objects(settings(), program("wasm"), "python:x")
    config = json.loads(
        next(manifest for manifest in manifests if manifest["metadata"]["name"].endswith("-config"))["data"][
            "config.json"
        ]
    )
    pod = manifests[3]["spec"]["template"]["spec"]
    mounts = [mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]]
    for path in (config["shim"], config["installed"], config["containerd"]):
        assert any(path.startswith(f"{mount}/") for mount in mounts), path
    assert config["sha256"] == SHIM["sha256"]
    assert config["restart"][-3:] == ["systemctl", "restart", "containerd"]
    assert pod["initContainers"][0]["command"] == ["cp", "/assets/containerd-shim-wasmedge-v1", config["shim"]]


def test_the_sample_holds_to_the_restricted_standard() -> None:
    deployment = builders.make_sample(Sample.model_validate({**SAMPLE, "args": ["--port", "8080"]}), "wasmedge")
    pod = deployment["spec"]["template"]["spec"]
    assert (deployment["metadata"]["namespace"], pod["runtimeClassName"]) == ("nlp", "wasmedge")
    (container,) = pod["containers"]
    assert container["env"] == [
        {"name": "WASMEDGE_PLUGIN_PATH", "value": "/plugin"},
        {"name": "WASMEDGE_WASINN_PRELOAD", "value": "default:GGML:AUTO:/model.gguf"},
    ]
    assert container["args"] == ["--port", "8080"]
    assert "volumes" not in pod
