"""Faults of a state name the resource."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from components.cluster.aws.kubeconfig import make_kubeconfig
from components.cluster.aws.names import Names
from inferstack.state.checks import SECRET, SIGNATURE, WHOLE, find_faults, has_credential

Json = dict[str, Any]
HEAD = "urn:pulumi:x::inferstack::"
STACK, PROVIDER = f"{HEAD}pulumi:pulumi:Stack::x", f"{HEAD}pulumi:providers:kubernetes::k"
HIDDEN = f"{HEAD}kubernetes:core/v1:Secret::s"
KUBECONFIG = '{"users": [{"user": {"token": "abc"}}]}'
CIPHER = {SIGNATURE: SECRET, "ciphertext": "v1:abc:def"}


def make_state() -> Json:
    """A state without a fault."""
    resources = [
        {"urn": STACK, "type": "pulumi:pulumi:Stack"},
        {"urn": PROVIDER, "type": "pulumi:providers:kubernetes", "id": "1", "inputs": {"kubeconfig": CIPHER}},
        {
            "urn": HIDDEN,
            "type": "kubernetes:core/v1:Secret",
            "id": "ns/s",
            "parent": STACK,
            "provider": f"{PROVIDER}::1",
            "dependencies": [STACK],
            "propertyDependencies": {"data": [PROVIDER]},
            "inputs": {"data": {"a": CIPHER}},
            "outputs": {"data": CIPHER, "token": CIPHER},
            "additionalSecretOutputs": ["token"],
        },
    ]
    provider = {"type": "passphrase", "state": {"salt": "v1:a"}}
    return {"version": 3, "deployment": {"secrets_providers": provider, "resources": resources}}


def _set(number: int, **values: Any) -> Callable[[Json], None]:
    return lambda state: state["deployment"]["resources"][number].update(values)


def _lower(state: Json) -> None:
    resources = state["deployment"]["resources"]
    resources[1], resources[2] = resources[2], resources[1]


def test_intact_state_has_no_faults() -> None:
    assert find_faults(make_state(), provider="passphrase") == []


@pytest.mark.parametrize(
    ("spoil", "resource", "fault"),
    [
        (lambda s: s.update(version=99), WHOLE, "version 99"),
        (lambda s: s["deployment"].update(resources=[{}]), WHOLE, "urn and type"),
        (lambda s: s["deployment"].pop("secrets_providers"), WHOLE, "no secrets provider"),
        (_set(0, parent="urn:gone"), STACK, "parent urn:gone"),
        (_set(2, dependencies=["urn:gone"]), HIDDEN, "dependency urn:gone"),
        (_set(2, propertyDependencies={"data": ["urn:gone"]}), HIDDEN, "dependency of data urn:gone"),
        (_set(2, provider=f"{PROVIDER}::2"), HIDDEN, f"provider {PROVIDER}::2"),
        (_lower, HIDDEN, "provider"),
        (lambda s: s["deployment"]["resources"].append({"urn": STACK, "type": "t"}), STACK, "twice"),
        (
            lambda s: s["deployment"].update(pending_operations=[{"type": "creating", "resource": {"urn": HIDDEN}}]),
            HIDDEN,
            "creating",
        ),
        (_set(2, inputs={"data": {"a": "cGxhaW4="}}), HIDDEN, "inputs.data is secret and not encrypted"),
        (_set(2, inputs={"data": {"a": CIPHER, "b": "cGxhaW4="}}), HIDDEN, "inputs.data"),
        (_set(2, outputs={"token": "plain"}), HIDDEN, "outputs.token"),
        (_set(1, inputs={"kubeconfig": KUBECONFIG}), PROVIDER, "inputs.kubeconfig holds a credential"),
        (_set(1, outputs={"kubeconfig": KUBECONFIG}), PROVIDER, "outputs.kubeconfig holds a credential"),
        (_set(0, outputs={"a": [{SIGNATURE: SECRET, "plaintext": '"x"'}]}), STACK, "outputs.a[0]: a secret"),
        (_set(0, outputs={"a": "AKIA" + "ABCDEFGH23456723"}), STACK, "outputs.a: an AWS access key in plain"),
        (_set(0, outputs={"a": "-----BEGIN RSA PRIVATE KEY-----"}), STACK, "a private key in plain"),
    ],
)
def test_fault_names_its_resource(spoil: Callable[[Json], None], resource: str, fault: str) -> None:
    state = copy.deepcopy(make_state())
    spoil(state)

    faults = find_faults(state, provider=None)

    assert any(detected.resource == resource and fault in detected.fault for detected in faults), faults


def test_different_secrets_provider_is_a_fault() -> None:
    [result] = find_faults(make_state(), provider="awskms")

    assert result.resource == WHOLE
    assert "encrypted by passphrase, the stack is to use awskms" in result.fault


def test_replaced_resource_may_occur_twice() -> None:
    state = make_state()
    state["deployment"]["resources"].append({"urn": HIDDEN, "type": "kubernetes:core/v1:Secret", "delete": True})

    assert find_faults(state) == []


@pytest.mark.parametrize(
    ("kubeconfig", "has"),
    [
        ("/home/me/.kube/config", False),
        ("", False),
        (None, False),
        (CIPHER, False),
        (make_kubeconfig(Names("prod", "1", "us-east-2", ()), "https://x.example", "Y2E="), False),
        (KUBECONFIG, True),
        ("users:\n- name: me\n  user:\n    client-key-data: eA==\n", True),
        ("users: [{user: {username: me, password: x}}]", True),
        ("users: [{user: {client-certificate: /a, client-key: /b}}]", False),
        ("users: [{user: {exec: {command: x, env: [{name: KEY, value: y}]}}}]", True),
        ("users: [{user: {exec: {command: x}}}]", False),
        ("users: {", True),
        ("users: [1]", False),
    ],
)
def test_kubeconfig_credentials_are_detected(kubeconfig: Any, has: bool) -> None:
    assert has_credential(kubeconfig) is has
