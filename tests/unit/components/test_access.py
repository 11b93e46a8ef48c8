"""Which API server a stack works on: looked up, never guessed."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.cluster.access import Access, find_access
from components.cluster.settings import ClusterSettings, Place
from components.settings import load_role
from inferstack.errors import UserError


def settings(**given: Any) -> ClusterSettings:
    """Return the role's settings with ``given`` over the defaults."""
    return load_role("cluster", ClusterSettings, given)


def write(path: Path, *contexts: str, current: str | None = None, port: int = 1) -> Path:
    """Write a kubeconfig with these contexts, each of a cluster of its own."""
    content = {
        "contexts": [{"name": name, "context": {"cluster": f"{name}-cluster"}} for name in contexts],
        "clusters": [
            {"name": f"{name}-cluster", "cluster": {"server": f"https://127.0.0.1:{port}/{name}"}} for name in contexts
        ],
        "current-context": current,
    }
    path.write_text(yaml.safe_dump(content))
    return path


def test_the_rehearsals_own_kubeconfig(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        path = write(tmp_path / "kubeconfig", "rehearsal", current="rehearsal", port=port)
        # KUBECONFIG leads elsewhere, and is not asked.
        access = find_access(Place.LOCAL, settings(), tmp_path, {"KUBECONFIG": "elsewhere"})
    assert access == Access(path, "rehearsal", f"https://127.0.0.1:{port}/rehearsal")


def test_a_rehearsal_that_does_not_answer(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    write(tmp_path / "kubeconfig", "rehearsal", current="rehearsal", port=port)
    with pytest.raises(UserError, match=r"does not answer .*: run `inferstack rehearsal start`\.$"):
        find_access(Place.LOCAL, settings(), tmp_path, {})


def test_a_rehearsal_that_never_ran(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has never run here"):
        find_access(Place.LOCAL, settings(), tmp_path, {})


@pytest.mark.parametrize("key", ["kubeconfig", "context"])
def test_the_rehearsal_is_told_no_other_cluster(tmp_path: Path, key: str) -> None:
    with pytest.raises(UserError, match=rf"^inferstack:cluster\.{key}: the rehearsal has its own; remove the key"):
        find_access(Place.LOCAL, settings(**{key: "x"}), tmp_path, {})


def test_the_current_context_of_the_file_that_kubeconfig_names(tmp_path: Path) -> None:
    path = write(tmp_path / "config", "a", "b", current="b")
    access = find_access(Place.EXISTING, settings(), tmp_path, {"KUBECONFIG": str(path)})
    assert access == Access(path, "b", "https://127.0.0.1:1/b")


def test_the_stacks_own_file_and_context_go_first(tmp_path: Path) -> None:
    path = write(tmp_path / "config", "a", "b", current="b")
    other = {"KUBECONFIG": str(tmp_path / "other")}
    access = find_access(Place.EXISTING, settings(kubeconfig=str(path), context="a"), tmp_path, other)
    assert access == Access(path, "a", "https://127.0.0.1:1/a")


def test_kubectls_own_place_where_nothing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".kube").mkdir()
    path = write(tmp_path / ".kube" / "config", "a", current="a")
    assert find_access(Place.EXISTING, settings(), tmp_path, {}) == Access(path, "a", "https://127.0.0.1:1/a")


@pytest.mark.parametrize(
    ("given", "current", "message"),
    [
        ({"context": "prd"}, "prod", '^inferstack:cluster.context: .* has no context "prd"; did you mean prod?'),
        ({"context": "zz"}, "prod", 'has no context "zz"; it has prod, test.$'),
        ({}, None, "has no current context: set inferstack:cluster.context.$"),
    ],
)
def test_a_context_that_is_not_there(tmp_path: Path, given: dict[str, Any], current: str | None, message: str) -> None:
    path = write(tmp_path / "config", "test", "prod", current=current)
    with pytest.raises(UserError, match=message):
        find_access(Place.EXISTING, settings(**given), tmp_path, {"KUBECONFIG": str(path)})


def test_a_cluster_that_is_there_has_no_simulated_nodes(tmp_path: Path) -> None:
    fleet = {"a": {"instanceType": "p4d.24xlarge"}}
    with pytest.raises(UserError, match=r"^inferstack:cluster\.fleet: only the place local has simulated nodes"):
        find_access(Place.EXISTING, settings(fleet=fleet), tmp_path, {})


def test_two_files_leave_open_which_is_meant(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^KUBECONFIG names 2 files: set inferstack:cluster\.kubeconfig"):
        find_access(Place.EXISTING, settings(), tmp_path, {"KUBECONFIG": "one:two"})


@pytest.mark.parametrize(("text", "message"), [(None, "^No kubeconfig at "), ("a: [", "cannot be read")])
def test_a_file_that_does_not_do(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "config"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=message):
        find_access(Place.EXISTING, settings(kubeconfig=str(path)), tmp_path, {})
