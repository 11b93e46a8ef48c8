"""Whole runs of the engine with both stand-ins: program, language host, provider, state."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from inferstack.k8s import KubeClient

pytestmark = pytest.mark.rehearsal

Program = Any  # tests/standins/conftest.py

APP = """
config = pulumi.Config()
ns = os.environ["TEST_NAMESPACE"]
plain = k8s.core.v1.ConfigMap("plain", data={"a": config.get("a") or "1"}, opts=opts())
named = k8s.core.v1.ConfigMap("named", metadata={"name": "named"}, data={"a": "1"}, opts=opts())
account = k8s.core.v1.ServiceAccount("account", metadata={"name": "account"}, opts=opts())
labels = {"app": "web"}
web = k8s.apps.v1.Deployment("web", metadata={"name": "web"}, spec={
    "replicas": 0, "selector": {"matchLabels": labels},
    "template": {"metadata": {"labels": labels}, "spec": {
        "serviceAccountName": account.metadata.name,
        "containers": [{"name": "c", "image": "registry.invalid/c", "resources": {"requests": {"cpu": "1000m"}}}]}},
}, opts=opts())
pulumi.export("name", plain.metadata.name)
pulumi.export("uid", web.metadata.uid)
"""


async def test_update_change_refresh_and_destroy(program: Program, kube: KubeClient, namespace: str) -> None:
    program.write(APP)
    previewed = program.pulumi("preview")
    assert previewed.returncode == 0, previewed.stderr
    assert "+ 6 to create" in previewed.stdout
    assert (await kube.list("apps/v1", "Deployment", namespace))["items"] == []
    program.up()
    outputs = program.outputs()
    assert outputs["uid"] == (await kube.get("apps/v1", "Deployment", "web", namespace))["metadata"]["uid"]

    assert "6 unchanged" in program.up()
    assert program.pulumi("preview", "--expect-no-changes").returncode == 0

    program.pulumi("config", "set", "a", "2")
    output = program.up("--diff")
    assert '~ a: "1" => "2"' in output
    assert program.outputs()["name"] != outputs["name"], "an autonamed ConfigMap is replaced under another name"
    assert await kube.find("v1", "ConfigMap", outputs["name"], namespace) is None

    await kube.patch("v1", "ConfigMap", "named", {"data": {"a": "9"}}, namespace)
    await kube.delete("v1", "ServiceAccount", "account", namespace, propagation="Background")
    output = program.up("--refresh")
    assert (await kube.get("v1", "ConfigMap", "named", namespace))["data"] == {"a": "1"}
    assert await kube.find("v1", "ServiceAccount", "account", namespace) is not None
    assert "6 unchanged" in program.up("--refresh")

    program.destroy()
    assert (await kube.list("apps/v1", "Deployment", namespace))["items"] == []
    left = [item["metadata"]["name"] for item in (await kube.list("v1", "ConfigMap", namespace))["items"]]
    assert left == ["kube-root-ca.crt"]


async def test_import_adopts_an_existing_object(program: Program, kube: KubeClient, namespace: str) -> None:
    theirs = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "theirs", "namespace": namespace},
        "data": {"a": "1"},
    }
    await kube.apply(theirs, field_manager="kubectl")
    program.write("""
        k8s.core.v1.ConfigMap("c", metadata={"name": "theirs"}, data={"a": "1"},
                              opts=opts(import_=os.environ["TEST_NAMESPACE"] + "/theirs"))
    """)
    assert "1 imported" in program.up()
    assert "3 unchanged" in program.up()


def test_secrets_are_never_stored_in_plain_text(program: Program, tmp_path: Path) -> None:
    program.pulumi("config", "set", "--secret", "token", "canary-config")
    source = """
        token = pulumi.Config().require_secret("token")
        k8s.core.v1.Secret("s", metadata={"name": "s"}, string_data={"a": token, "b": "canary-literal"}, opts=opts())
        k8s.core.v1.ConfigMap("c", metadata={"name": "c"}, data={"hidden": token, "plain": "shown"}, opts=opts())
        labels = {"app": "web"}
        k8s.apps.v1.Deployment("d", metadata={"name": "d"}, spec={
            "replicas": 0, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": {
                "containers": [{"name": "c", "image": "x", "env": [{"name": "T", "value": token}]}]}}}, opts=opts())
        pulumi.export("token", token)
    """
    program.write(source)
    output = [program.pulumi("preview", "--diff").stdout, program.up("--diff")]
    program.write(source.replace('"replicas": 0', '"replicas": -1, "paused": token'))
    output.append(program.fails("up", "--yes", "--skip-preview", "--diff"))
    canaries = ["canary-config", "canary-literal"]
    canaries += [base64.b64encode(canary.encode()).decode() for canary in canaries]
    files = [file for file in (tmp_path / "state").rglob("*") if file.is_file() and file.name != "passphrase"]
    assert any("test.json" in file.name for file in files)
    for canary in canaries:
        assert not [text for text in output if canary in text]
        assert not [file for file in files if canary.encode() in file.read_bytes()]
    stored = next(r for r in program.state() if r["type"].endswith("ConfigMap"))
    assert stored["outputs"]["data"]["plain"] == "shown", "only what is secret is hidden"


@pytest.mark.parametrize(
    ("source", "expected", "unexpected"),
    [
        (
            'from inferstack.errors import UserError\nraise UserError("stacks/x.yaml: gpu.product is missing: add it")',
            "stacks/x.yaml: gpu.product is missing: add it",
            "Traceback",
        ),
        (
            "import pydantic\nclass Settings(pydantic.BaseModel):\n    replicas: int\nSettings(replicas='many')",
            "Settings: replicas: Input should be a valid integer, unable to parse string as an integer (got 'many')",
            "Traceback",
        ),
        ("def lost():\n    return {}['nothing']\nlost()", "KeyError: 'nothing'", "runpy"),
        ("import sys\nsys.exit(3)", "the program called sys.exit(3)", "Traceback"),
    ],
)
def test_failure_of_the_program_is_reported_once(program: Program, source: str, expected: str, unexpected: str) -> None:
    program.write(source, preamble="")
    text = program.fails("preview")
    assert expected in text
    assert unexpected not in text


def test_missing_program_is_reported_with_its_folder(program: Program) -> None:
    (program.folder / "__main__.py").unlink()
    assert f"there is no {program.folder / '__main__.py'}" in program.fails("preview")


def test_preview_and_update_run_the_program_anew(program: Program) -> None:
    (program.folder / "mine.py").write_text("runs = []\n")
    program.write("import mine\nmine.runs.append(1)\npulumi.export('runs', len(mine.runs))")
    done = program.pulumi("up", "--yes")
    assert done.returncode == 0, done.stdout
    assert program.outputs() == {"runs": 1}


def test_failed_resource_is_reported_without_traceback_and_others_stay(program: Program) -> None:
    program.write("""
        k8s.core.v1.ConfigMap("good", metadata={"name": "good"}, opts=opts())
        k8s.core.v1.ConfigMap("bad", metadata={"name": "NOT-A-NAME"}, opts=opts())
    """)
    text = program.fails("up", "--yes", "--skip-preview")
    assert 'ConfigMap "NOT-A-NAME" is invalid: metadata.name' in text
    assert "Traceback" not in text
    program.write('k8s.core.v1.ConfigMap("good", metadata={"name": "good"}, opts=opts())')
    program.up()


def test_yaml_files_and_unsupported_components(program: Program) -> None:
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "from-yaml"}, "data": {"a": "1"}}
    (program.folder / "objects.yaml").write_text(json.dumps(manifest))
    program.write('k8s.yaml.ConfigFile("f", file="objects.yaml", opts=opts())')
    program.up()
    assert [r["id"].split("/")[1] for r in program.state() if r["type"].endswith(":ConfigMap")] == ["from-yaml"]
    program.write('k8s.helm.v4.Chart("c", chart="x", opts=opts())')
    assert "use kubernetes.helm.v3.Release, or install the vendor's plugin" in program.fails("preview")


def test_policy_pack_runs_through_the_language_host(program: Program, tmp_path: Path) -> None:
    pack = tmp_path / "policies"
    pack.mkdir()
    (pack / "PulumiPolicy.yaml").write_text("runtime: python\nversion: 0.0.1\n")
    (pack / "__main__.py").write_text(
        "from pulumi_policy import EnforcementLevel, PolicyPack, ResourceValidationPolicy\n"
        "def validate(args, report):\n"
        "    if args.resource_type.endswith(':ConfigMap') and 'owner' not in (args.props.get('data') or {}):\n"
        "        report('a ConfigMap needs an owner')\n"
        "PolicyPack('tests', enforcement_level=EnforcementLevel.MANDATORY, policies=[\n"
        "    ResourceValidationPolicy(name='owned', description='Owned.', validate=validate)])\n"
    )
    program.write('k8s.core.v1.ConfigMap("c", metadata={"name": "c"}, opts=opts())')
    assert "a ConfigMap needs an owner" in program.fails("preview", "--policy-pack", str(pack))
    program.write('k8s.core.v1.ConfigMap("c", metadata={"name": "c"}, data={"owner": "me"}, opts=opts())')
    assert program.pulumi("preview", "--policy-pack", str(pack)).returncode == 0


def test_journal_replays_to_the_state_of_the_engine(program: Program) -> None:
    """Renames, replacements in both orders, a failed step: each preview reads the state by the engine's own backend."""
    first = """
        class Group(pulumi.ComponentResource):
            def __init__(self, name, opts=None):
                super().__init__("t:m:Group", name, None, opts)
        group = Group(NAME, **GROUP)
        child = k8s.core.v1.ConfigMap("child", metadata={"name": "child"}, data={"a": A},
                                      opts=opts(parent=group))
        auto = k8s.core.v1.ConfigMap("auto", data={"a": A}, opts=opts(depends_on=[child]))
        k8s.core.v1.ConfigMap("user", metadata={"name": "user"}, data={"of": auto.metadata.name}, opts=opts())
    """

    def written(name: str, alias: str, value: str) -> None:
        group = f"{{'opts': pulumi.ResourceOptions(aliases=[pulumi.Alias(name={alias!r})])}}" if alias else "{}"
        preamble = f"NAME, GROUP, A = {name!r}, {group}, {value!r}\n"
        program.write(first, preamble=f"import pulumi\n{preamble}{program.preamble}")

    def same() -> None:
        done = program.pulumi("preview", "--expect-no-changes")
        assert done.returncode == 0, done.stdout

    written("old", "", "1")
    program.up()
    written("new", "old", "1")
    assert "7 unchanged" in program.up() or "replaced" not in program.up()
    same()
    assert not [r["urn"] for r in program.state() if "::old" in r["urn"] or "old$" in r["urn"] or r.get("aliases")]
    written("new", "", "2")
    assert "3 replaced" in program.up()
    same()
    written("new", "", "x" * 2_000_000)  # larger than the API server takes
    program.fails("up", "--yes", "--skip-preview")
    written("new", "", "2")
    program.up()
    same()
    program.pulumi("refresh", "--yes", "--skip-preview")
    same()
