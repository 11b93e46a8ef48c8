"""Kernel: the table of settings, what a stack may ask for, and the objects made of it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest

from components.agents import program
from components.kernel import builders
from components.kernel.checks import check_tuning, chosen
from components.kernel.settings import KernelSettings
from components.kernel.table import load
from components.settings import load_role
from inferstack.apimachinery.objects import Object
from inferstack.errors import UserError
from inferstack.versions import load as load_versions


def settings(given: Mapping[str, Any] | None = None) -> KernelSettings:
    """Return the role's settings, switched on."""
    return load_role("kernel", KernelSettings, {"enabled": True, **(given or {})})


def objects(given: Mapping[str, Any] | None = None) -> dict[str, Object]:
    """Return what the role makes, by kind and name."""
    manifests = builders.make_objects(settings(given), program("kernel"), "python:x")
    return {f"{manifest['kind']}/{manifest['metadata']['name']}": manifest for manifest in manifests}


def test_every_row_says_who_says_so_and_what_it_costs() -> None:
    rows = load().values()
    assert rows
    for row in rows:
        assert re.search(r"kernel: |tuned: |AWS |RHEL |NVIDIA |Kubernetes ", row.source), row.key
        assert row.kind == "advice" or row.cost, row.key
        assert row.kind != "sysctl" or re.fullmatch(r"[a-z0-9_]+(\.[a-z0-9_]+)+", row.key), row.key


def test_the_profile_of_the_table_is_allowed_by_it() -> None:
    for row in load().values():
        if row.allowed is not None:
            assert row.value is not None
            assert row.allowed.holds(row.value), row.key


def test_no_claim_is_made_of_what_was_not_measured() -> None:
    assert not [row.key for row in load().values() if re.search(r"\d+ ?(%|times) (faster|less)", row.why)]


def test_the_profile_and_what_a_stack_says_over_it() -> None:
    values = {row.key: value for row, value in chosen(settings({"settings": {"net.core.busy_poll": 100}}))}
    assert (values["net.core.busy_poll"], values["net.core.busy_read"], values["cpu-dma-latency"]) == ("100", "50", "3")
    less = chosen(settings({"settings": {"kernel.nmi_watchdog": None}}))
    assert "kernel.nmi_watchdog" not in {row.key for row, _ in less}
    custom = chosen(settings({"profile": "custom", "settings": {"transparent-hugepages": "never"}}))
    assert [(row.key, row.file, value) for row, value in custom] == [
        ("transparent-hugepages", "sys/kernel/mm/transparent_hugepage/enabled", "never")
    ]


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"settings": {"net.core.busy_pol": 50}}, 'settings["net.core.busy_pol"]: is not in the table'),
        ({"settings": {"net.core.busy_poll": "50us"}}, 'settings["net.core.busy_poll"]: expected a whole number'),
        ({"settings": {"net.core.busy_poll": 1001}}, 'settings["net.core.busy_poll"]: expected a whole number'),
        ({"settings": {"net.core.busy_poll": True}}, 'settings["net.core.busy_poll"]'),
        ({"settings": {"net.ipv4.tcp_fastopen": 4}}, 'settings["net.ipv4.tcp_fastopen"]: expected 0, 1, 2, 3'),
        ({"settings": {"cpu-governor": "fast"}}, "settings.cpu-governor: expected performance, powersave"),
        ({"settings": {"irqbalance": "off"}}, "settings.irqbalance: cannot be set: it is advice"),
        ({"settings": {"nic-interrupts": 1}}, "settings.nic-interrupts: cannot be set: interruptsOf says whose"),
        ({"settings": {"net.ipv4.tcp_low_latency": 1}}, 'settings["net.ipv4.tcp_low_latency"]: is not in the table'),
        ({"profile": "custom"}, "settings: nothing is set with profile custom"),
        ({"mode": "aply"}, "mode: "),
        ({"profile": "fast"}, "profile: "),
        ({"checkSeconds": 4}, "checkSeconds: "),
        ({"checkSeconds": "60s"}, "checkSeconds: "),
        ({"interruptsOf": ["eth0/../eth1"]}, "interruptsOf[0]: "),
        ({"nodeSelector": {"nvidia.com/gpu.present": None}}, "nodeSelector: "),
        ({"nodeSelector": {"no spaces": "x"}}, "nodeSelector"),
        ({"isolcpus": "1-3"}, "isolcpus: unknown key"),
    ],
)
def test_a_wrong_value_is_refused_by_its_path(given: Mapping[str, Any], path: str) -> None:
    with pytest.raises(UserError) as caught:
        check_tuning(settings(given), oldest=None)
    assert str(caught.value).startswith(f"inferstack:kernel.{path}")


def test_a_setting_that_the_oldest_kernel_has_not_is_refused() -> None:
    with pytest.raises(UserError, match=r'kernel\.settings\["net\.core\.busy_read"\]: came with Linux 3\.11'):
        check_tuning(settings(), oldest="3.10.0-1160.el7.x86_64")
    check_tuning(settings(), oldest="6.1.141-155.222.amzn2023.x86_64")
    check_tuning(load_role("kernel", KernelSettings, None), oldest="2.6.0")


def test_by_default_nothing_is_changed() -> None:
    plain = load_role("kernel", KernelSettings, None)
    assert (plain.enabled, plain.mode) == (False, "dryRun")


def test_the_namespace_is_privileged_and_nothing_else_lives_there() -> None:
    manifests = objects()
    labels = manifests.pop("Namespace/inferstack-kernel")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "privileged"
    assert {manifest["metadata"]["namespace"] for manifest in manifests.values()} == {"inferstack-kernel"}


def test_the_agents_pod_has_the_rights_that_it_needs_and_no_more() -> None:
    pod = objects()["DaemonSet/inferstack-kernel"]["spec"]["template"]["spec"]
    assert pod["hostNetwork"] is True
    assert {key for key in pod if key in ("hostPID", "hostIPC")} == set()
    assert pod["automountServiceAccountToken"] is False
    assert [volume["hostPath"]["path"] for volume in pod["volumes"] if "hostPath" in volume] == [
        "/var/lib/inferstack/kernel"
    ]
    (container,) = pod["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["image"] == "python:x"
    assert pod["nodeSelector"] == {"nvidia.com/gpu.present": "true"}


def test_the_pod_finds_the_program_and_its_configuration() -> None:
    manifests = objects({"mode": "apply"})
    pod = manifests["DaemonSet/inferstack-kernel"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    maps = {volume["name"]: volume["configMap"]["name"] for volume in pod["volumes"] if "configMap" in volume}
    assert set(manifests[f"ConfigMap/{maps['agent']}"]["data"]) == {
        "__init__.py",
        "__main__.py",
        "keeper.py",
        "knobs.py",
        "saved.py",
    }
    assert mounts["agent"] == f"{container['env'][0]['value']}/agent"
    assert container["args"][:2] == ["--config", f"{mounts['config']}/config.json"]
    config = json.loads(manifests[f"ConfigMap/{maps['config']}"]["data"]["config.json"])
    assert config["mode"] == "apply"
    assert set(mounts) == {volume["name"] for volume in pod["volumes"]}


def test_pods_start_anew_where_program_or_settings_change_and_only_there() -> None:
    def checksum(given: Mapping[str, Any]) -> str:
        template = objects(given)["DaemonSet/inferstack-kernel"]["spec"]["template"]
        return str(template["metadata"]["annotations"]["inferstack.dev/checksum"])

    assert checksum({}) == checksum({})
    assert checksum({}) != checksum({"settings": {"vm.swappiness": 20}})


def test_a_stacks_own_image_and_nodes() -> None:
    given = {"image": "registry.example.org/python:1", "nodeSelector": {"nvidia.com/gpu.present": None, "pool": "a"}}
    pod = objects(given)["DaemonSet/inferstack-kernel"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["image"] == "registry.example.org/python:1"
    assert pod["nodeSelector"] == {"pool": "a"}


def test_the_image_has_a_pinned_version() -> None:
    assert re.search(r":3\.1[1-9]", load_versions()["images"]["python"])
