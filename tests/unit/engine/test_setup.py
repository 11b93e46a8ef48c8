"""Selection of plugins, launchers, the engine's environment, provider settings and recovery, without an engine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from inferstack.engine import plugins, recovery
from inferstack.engine.engine import Engine
from standins.kubernetes import settings
from standins.kubernetes.helm import option_arguments
from standins.kubernetes.inflight import InFlight
from standins.kubernetes.releases import resource_names


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Create an empty home directory, with a PATH without plugins."""
    result = tmp_path / "home"
    result.mkdir()
    monkeypatch.setenv("HOME", str(result))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    for name in list(os.environ):
        if name.startswith("PULUMI_"):
            monkeypatch.delenv(name)
    return result


def _install(folder: Path, plugin: plugins.Plugin) -> Path:
    binary = folder / plugin.binary
    binary.parent.mkdir(parents=True)
    binary.write_text("#!/bin/sh\n")
    binary.chmod(0o755)
    return binary


def test_stand_ins_are_installed_once_without_vendor_plugins(tmp_path: Path) -> None:
    messages: list[str] = []
    choices = plugins.prepare(tmp_path / "p h", messages.append)
    assert [choice.origin for choice in choices] == ["stand-in", "stand-in"]
    assert len(messages) == 2
    for choice in choices:
        assert os.access(choice.path, os.X_OK)
    assert [c.path for c in plugins.choices(tmp_path / "p h")] == [c.path for c in choices]
    plugins.prepare(tmp_path / "p h", messages.append)
    assert len(messages) == 2, "nothing to write the second time"


def test_vendor_plugin_takes_precedence_over_stand_in(tmp_path: Path, home: Path) -> None:
    _, kubernetes = plugins.PLUGINS
    plugins.prepare(tmp_path / "ph", lambda _: None)
    vendor = _install(home / ".pulumi" / "plugins" / kubernetes.folder, kubernetes)
    messages: list[str] = []
    choices = plugins.prepare(tmp_path / "ph", messages.append)
    assert [(c.name, c.origin, c.path) for c in choices][1] == ("resource kubernetes", "vendor", vendor)
    assert (tmp_path / "ph" / "plugins" / kubernetes.folder).resolve() == vendor.parent
    assert messages == [f"resource kubernetes {kubernetes.version}: the vendor's, {vendor}"]
    vendor.unlink()
    assert plugins.prepare(tmp_path / "ph", messages.append)[1].origin == "stand-in"
    assert os.access(tmp_path / "ph" / "plugins" / kubernetes.folder / kubernetes.binary, os.X_OK)


def test_language_host_next_to_the_engine_is_used(tmp_path: Path) -> None:
    language, _ = plugins.PLUGINS
    engine = tmp_path / "bin" / "pulumi"
    vendor = _install(engine.parent, language)
    result = plugins.prepare(tmp_path / "ph", lambda _: None, engine)[0]
    assert (result.origin, result.path) == ("vendor", vendor)


def test_launcher_ignores_modules_in_the_working_directory(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit(7)")
    plugin = plugins.Plugin("language", "x", "pulumi", "this")
    script = tmp_path / "run it"
    script.write_text(
        plugins.launcher(plugin, root=tmp_path / "it's")
        .replace("main()", "import json; print(json.dumps(1))")
        .replace("import main", "import s")
    )
    done = subprocess.run(["/bin/sh", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.endswith("1\n"), done.stderr


def test_environment_keeps_user_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(tmp_path, tmp_path / "state", binary=Path(sys.executable))
    own = engine.environment()
    assert own["PULUMI_BACKEND_URL"].startswith(f"file://{tmp_path}/state/pulumi")
    passphrase = Path(own["PULUMI_CONFIG_PASSPHRASE_FILE"])
    assert passphrase.stat().st_mode & 0o777 == 0o600
    assert len(passphrase.read_text()) > 20
    assert engine.environment()["PULUMI_CONFIG_PASSPHRASE_FILE"] == str(passphrase)
    monkeypatch.setenv("PULUMI_BACKEND_URL", "s3://team")
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "")
    monkeypatch.setenv("PULUMI_PARALLEL", "3")
    vendor = engine.environment()
    assert vendor["PULUMI_BACKEND_URL"] == "s3://team"
    assert "PULUMI_CONFIG_PASSPHRASE_FILE" not in vendor
    assert vendor["PULUMI_PARALLEL"] == "3"


CONFIG = {
    "current-context": "one",
    "clusters": [{"name": "a", "cluster": {"server": "https://a"}}, {"name": "b", "cluster": {"server": "https://b"}}],
    "contexts": [
        {"name": "one", "context": {"cluster": "a", "namespace": "team"}},
        {"name": "two", "context": {"cluster": "b"}},
    ],
    "users": [{"name": "u", "user": {"client-certificate": "u.crt"}}],
}


def test_kubeconfig_is_a_path_or_content(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text(json.dumps(CONFIG))
    by_path = settings.resolve({"kubernetes:config:kubeconfig": str(file)})
    assert by_path.namespace == "team"
    assert by_path.kubeconfig is not None
    assert by_path.kubeconfig["users"][0]["user"]["client-certificate"] == str(tmp_path / "u.crt")
    by_content = settings.resolve(
        {"kubernetes:config:kubeconfig": json.dumps(CONFIG), "kubernetes:config:context": "two"}
    )
    assert (by_content.namespace, by_content.context) == ("default", "two")
    for wrong in ("/no/such/file", "{]", "a: b\nc: d"):
        with pytest.raises(settings.ConfigurationError, match="kubeconfig"):
            settings.resolve({"kubernetes:config:kubeconfig": wrong})


def test_active_cluster_follows_context_and_cluster() -> None:
    given = {"kubeconfig": json.dumps(CONFIG)}
    assert settings.active_cluster(given) == {"server": "https://a"}
    assert settings.active_cluster({**given, "context": "two"}) == {"server": "https://b"}
    assert settings.active_cluster({**given, "cluster": "b"}) == {"server": "https://b"}
    assert settings.active_cluster({}) is None


def _operation(kind: str, urn: str, inputs: dict[str, Any], operation: str = "creating") -> dict[str, Any]:
    return {"type": operation, "resource": {"urn": urn, "type": kind, "custom": True, "inputs": inputs}}


def test_pending_operations_of_the_kubernetes_provider_are_adopted() -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "n"}}
    patch = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "q"}}
    other = _operation("aws:s3:Bucket", "u4", {})
    updating = _operation("kubernetes:core/v1:Pod", "u0", pod, "updating")
    deployment = {
        "resources": [{"urn": "u0", "type": "kubernetes:core/v1:Pod"}],
        "pending_operations": [
            _operation("kubernetes:core/v1:Pod", "u1", pod),
            _operation("kubernetes:core/v1:PodPatch", "u2", patch),
            _operation("kubernetes:helm.sh/v3:Release", "u3", {"name": "r", "namespace": "n"}),
            other,
            updating,
        ],
    }
    result, urns = recovery.adopt_pending(deployment)
    assert urns == ["u1", "u3", "u0"]
    assert [(r["urn"], r.get("id")) for r in result["resources"]] == [("u0", None), ("u1", "n/p"), ("u3", "n/r")]
    assert result["resources"][1]["outputs"]["__inputs"] == pod
    assert result["pending_operations"] == [other], "another provider's operations are left to the engine"


def test_lock_of_another_process_is_stale(tmp_path: Path) -> None:
    assert not recovery.runs_pulumi(2**22 + 1)
    mine = tmp_path / str(os.getpid())
    mine.mkdir()
    (mine / "stat").write_text(f"{os.getpid()} (py thon) S 1")
    (mine / "cmdline").write_bytes(b"/usr/bin/python\0test")
    assert not recovery.runs_pulumi(os.getpid(), tmp_path)
    (mine / "cmdline").write_bytes(b"/x/pulumi\0up")
    assert recovery.runs_pulumi(os.getpid(), tmp_path)
    (mine / "stat").write_text(f"{os.getpid()} (pulumi) Z 1")
    assert not recovery.runs_pulumi(os.getpid(), tmp_path)


def test_in_flight_record_lasts_until_its_end(tmp_path: Path) -> None:
    records = InFlight(str(tmp_path / "home"))
    assert not records.interrupted("u")
    records.begin("u")
    assert InFlight(str(tmp_path / "home")).interrupted("u")
    records.end("u")
    records.end("u")
    assert not records.interrupted("u")
    InFlight(None).begin("u")


def test_release_inputs_become_helm_options() -> None:
    release = {"atomic": True, "createNamespace": True, "cleanupOnFail": True, "skipCrds": True, "timeout": 60}
    assert option_arguments(release, "install", 0) == [
        "--atomic", "--skip-crds", "--create-namespace", "--wait", "--timeout", "60s"
    ]  # fmt: skip
    assert option_arguments({"skipAwait": True, "maxHistory": 3.0, "cleanupOnFail": True}, "upgrade", 90.0) == [
        "--cleanup-on-fail", "--timeout", "90s", "--history-max", "3"
    ]  # fmt: skip


def test_resource_names_group_the_objects_of_a_manifest() -> None:
    manifest = """
apiVersion: v1
kind: Service
metadata: {name: b}
---
apiVersion: v1
kind: Service
metadata: {name: a, namespace: other}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: r}
---
# nothing here
"""
    assert resource_names(manifest, "n") == {
        "ClusterRole/rbac.authorization.k8s.io/v1": ["r"],
        "Service/v1": ["n/b", "other/a"],
    }
