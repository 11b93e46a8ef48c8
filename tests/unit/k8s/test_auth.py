"""A kubeconfig becomes an address, a TLS context and headers, or an error that names what is missing."""

import base64
import ssl
from pathlib import Path
from typing import Any

import pytest

from inferstack.k8s import auth
from inferstack.k8s.errors import KubeconfigError


def kubeconfig(user: dict[str, Any] | None = None, cluster: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "team"}}],
        "clusters": [{"name": "c", "cluster": cluster or {"server": "http://127.0.0.1:1/"}}],
        "users": [{"name": "u", "user": user or {}}],
    }


def test_token_becomes_a_header() -> None:
    access = auth.from_config(kubeconfig({"token": "abc"}))

    assert access.server == "http://127.0.0.1:1"
    assert access.headers == {"Authorization": "Bearer abc"}
    assert access.namespace == "team"
    assert access.tls is None


def test_https_without_authority_uses_the_systems() -> None:
    access = auth.from_config(kubeconfig(cluster={"server": "https://127.0.0.1:1"}))

    assert isinstance(access.tls, ssl.SSLContext)
    assert access.tls.verify_mode is ssl.CERT_REQUIRED
    assert access.tls.check_hostname


def test_verification_is_off_only_when_asked() -> None:
    cluster = {"server": "https://127.0.0.1:1", "insecure-skip-tls-verify": True}

    access = auth.from_config(kubeconfig(cluster=cluster))

    assert access.tls is not None
    assert access.tls.verify_mode is ssl.CERT_NONE


def test_another_context_can_be_named() -> None:
    config = kubeconfig()
    config["contexts"].append({"name": "there", "context": {"cluster": "c"}})

    access = auth.from_config(config, "there")

    assert access.namespace == "default"
    assert access.headers == {}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"current-context": None}, "current-context"),
        ({"contexts": []}, "contexts has no entry named 'here'"),
        ({"clusters": []}, "clusters has no entry named 'c'"),
        ({"users": []}, "users has no entry named 'u'"),
        ({"clusters": [{"name": "c", "cluster": {}}]}, "cluster 'c' has no server"),
    ],
)
def test_what_is_missing_is_named(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(KubeconfigError, match=sentence):
        auth.from_config(kubeconfig() | change)


def test_a_helper_program_is_run(tmp_path: Path) -> None:
    credential = '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"t0k"}}'
    program = tmp_path / "credential.sh"
    program.write_text(f"#!/bin/sh\necho '{credential}'\n")
    program.chmod(0o700)
    helper = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": str(program),
        "interactiveMode": "Never",
    }
    config = kubeconfig({"exec": helper})

    with pytest.raises(KubeconfigError, match="plugin"):
        auth.from_config(config)


async def test_a_helper_programs_token_is_used(tmp_path: Path) -> None:
    credential = '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"t0k"}}'
    program = tmp_path / "credential.sh"
    program.write_text(f"#!/bin/sh\necho '{credential}'\n")
    program.chmod(0o700)
    helper = {"apiVersion": "client.authentication.k8s.io/v1", "command": str(program), "args": []}

    access = await auth.from_config_with_plugin(kubeconfig({"exec": helper}))

    assert access.headers == {"Authorization": "Bearer t0k"}


@pytest.mark.parametrize("content", ["", "- a\n"])
def test_a_file_that_is_no_mapping(tmp_path: Path, content: str) -> None:
    path = tmp_path / "config"
    path.write_text(content)

    with pytest.raises(KubeconfigError, match="not a mapping"):
        auth.load_kubeconfig(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(KubeconfigError, match="nowhere"):
        auth.load_kubeconfig(tmp_path / "nowhere")


def test_the_first_of_the_environments_files_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_text("current-context: first\n")
    second.write_text("current-context: second\n")
    monkeypatch.setenv("KUBECONFIG", f"{first}:{second}")

    assert auth.load_kubeconfig()["current-context"] == "first"


def test_client_certificate_needs_a_matching_key() -> None:
    data = base64.b64encode(b"no certificate").decode()
    user = {"client-certificate-data": data, "client-key-data": data}

    with pytest.raises(ssl.SSLError):
        auth.from_config(kubeconfig(user, {"server": "https://127.0.0.1:1"}))
