"""Nothing secret is written down where it does not belong: canaries are planted, a stack lives, everything is searched.

What becomes of the secrets of a program of somebody's own (a Secret that it makes, a secret in a ConfigMap, errors of
the API server) is in ``provider/test_engine.py``; our program makes no Secret, it only names some.
"""

from __future__ import annotations

import asyncio
import base64
import fnmatch
import html
import json
import subprocess
import sys
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from inferstack.k8s import KubeClient
from inferstack.k8s.inventory import walk
from inferstack.project import project_root
from inferstack.state.rotate import passphrase_of
from rehearsal.control_plane import Rehearsal
from tests.rehearsal.canaries import Canary, Finding, caught, find, plant, search
from tests.rehearsal.command import InferstackCommand
from tests.rehearsal.commandlines import sampled
from tests.rehearsal.test_faults import write_small

pytestmark = [pytest.mark.rehearsal, pytest.mark.timeout(400)]

STACK = "canary"
PLANTED = {
    name: plant(name)
    for name in ("stack's secret", "passphrase", "bucket's key", "hub's token", "cloud's key", "option", "setting")
}
OWN = ("new passphrase", "administrator's key", "service accounts' key", "pod's token")


@dataclass(frozen=True)
class AllowedPlace:
    """Where a secret may be, and why."""

    canary: str
    pattern: str
    reason: str


ALLOWED = (
    AllowedPlace("bucket's key", "state/etcd/*", "a Kubernetes Secret: plain in this etcd, under a KMS key on EKS"),
    AllowedPlace("hub's token", "state/etcd/*", "likewise"),
    AllowedPlace("option", "stacks/Pulumi.plain.yaml", "what a user has written into a file of theirs, in plain"),
    AllowedPlace("passphrase", f"state/passphrases/{STACK}", "its own file"),
    AllowedPlace("new passphrase", f"state/passphrases/{STACK}", "its own file"),
    AllowedPlace("administrator's key", "state/pki/admin.key", "its own file"),
    AllowedPlace("administrator's key", "state/kubeconfig", "what kubectl takes it from"),
    AllowedPlace("service accounts' key", "state/pki/service-account.key", "its own file"),
    AllowedPlace("pod's token", "state/run/pods/*/token", "its own file, as a kubelet makes one"),
    AllowedPlace("pod's token", "state/run/pods/*/kubeconfig", "what the operator takes it from"),
)


@dataclass
class Traces:
    """All that a stack's life has left."""

    state: Path
    """The state folder."""
    canaries: list[Canary]
    findings: set[Finding] = field(default_factory=set)
    printed: dict[str, str] = field(default_factory=dict)
    """What each command printed."""
    seen: set[bytes] = field(default_factory=set)
    """Command lines."""
    modes: dict[str, int] = field(default_factory=dict)
    """Of the files in which something was found."""

    def scan(self, command: InferstackCommand, stacks: Path) -> None:
        """Search all that there is now."""
        for folder, name in ((command.state, "state"), (stacks, "stacks"), (stacks.parent / "tmp", "tmp")):
            findings = search(folder, name, self.canaries)
            self.findings |= findings
            for finding in findings:
                path = folder / finding.place.partition("/")[2]
                self.modes[finding.place] = path.stat().st_mode if path.exists() else 0
        for place, text in self.printed.items():
            self.findings |= find(place, text.encode(), self.canaries)
        for line in self.seen:
            self.findings |= find(f"command line of {line[:60]!r}", line, self.canaries)


class Stack:
    """The command on a stack, with a record of what it prints."""

    def __init__(self, command: InferstackCommand, traces: Traces) -> None:
        self.command, self.traces = command, traces

    def run(self, *arguments: str, stack: str = STACK, given: str = "", code: int = 0) -> str:
        """Run ``inferstack ARGUMENTS`` on a stack, which must end with ``code``."""
        verbs = 2 if arguments[0] == "state" else 1
        done = subprocess.run(
            [sys.executable, "-m", "inferstack.cli", *arguments[:verbs], "-s", stack, *arguments[verbs:]],
            cwd=project_root(),
            env=self.command.environment,
            input=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=200,
            check=False,
        )
        self.traces.printed[f"output of {' '.join(arguments)} for {stack}"] = done.stdout
        assert done.returncode == code, f"{arguments} ended with {done.returncode}:\n{done.stdout[-4000:]}"
        return done.stdout


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traces]:
    """Traces of a stack that was made, looked at, backed up, given a new key and destroyed."""
    folder = tmp_path_factory.mktemp("secrets")
    stacks = folder / "stacks"
    for path in (stacks, folder / "tmp"):
        path.mkdir()
    write_stacks(stacks)
    command = InferstackCommand(folder / "state")
    command.environment |= {
        "INFERSTACK_STACKS": str(stacks),
        "TMPDIR": str(folder / "tmp"),
        "AWS_ACCESS_KEY_ID": "canary",
        "AWS_SECRET_ACCESS_KEY": PLANTED["cloud's key"].value,
    }
    traces = Traces(command.state, list(PLANTED.values()))
    stack = Stack(command, traces)
    try:
        with sampled() as traces.seen:
            live(stack, stacks)
        traces.scan(command, stacks)
        yield traces
    finally:
        Rehearsal(command.state).stop(purge=True)


def write_stacks(folder: Path) -> None:
    """Write the stack, and two that set in plain or encrypted text what belongs in a Secret."""
    write_small(folder)
    file = folder / "Pulumi.local.yaml"
    content = yaml.safe_load(file.read_text())
    file.unlink()
    config = content["config"]
    fleet = config["inferstack:cluster"]["fleet"]
    config["inferstack:cluster"]["fleet"] = {"system": fleet["system"], "a100": {**fleet["a100-40"], "count": 1}}
    mount = {"mountPoint": "s3://models/bert", "secret": {"name": "bucket"}}
    runtime = {"replicas": 1, "tieredstore": [{"mediumtype": "MEM", "path": "/dev/shm", "quota": "2Gi"}]}  # noqa: S108  # on simulated nodes
    dataset = {"mounts": [mount], "tenants": ["nlp"], "runtime": runtime}
    config["inferstack:storage"] = {"enabled": True, "datasets": {"bert": dataset}}
    [job] = config["inferstack:inference"]["jobs"]
    job["spec"]["replicas"] = 2
    job["spec"]["env"] = [
        {"name": "A", "value": "1"},
        {"name": "HF_TOKEN", "secretKeyRef": {"name": "hub", "key": "token"}},
    ]
    (folder / f"Pulumi.{STACK}.yaml").write_text(yaml.safe_dump(content))
    (folder / "Pulumi.encrypted.yaml").write_text(yaml.safe_dump(content))
    mount["options"] = {"aws.secretKey": PLANTED["option"].value}
    (folder / "Pulumi.plain.yaml").write_text(yaml.safe_dump(content))


def live(stack: Stack, stacks: Path) -> None:
    """Go through the life of a stack."""
    state, traces = stack.command.state, stack.traces
    own = passphrase_of(state, STACK)
    own.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    own.touch(mode=0o600)
    own.write_text(PLANTED["passphrase"].value)
    stack.run("pulumi", "config", "set", "--secret", "canary:token", given=PLANTED["stack's secret"].value)
    report = stacks / "report.json"
    stack.run("preview", "--report", str(report))
    assert json.loads(report.read_text())["counts"]["create"] > 20
    stack.run("up")
    asyncio.run(_keep_secrets(stack.command.kubeconfig))
    traces.canaries += _caught(state)
    for arguments in (("settings", "-o", "json"), ("outputs", "-o", "json"), ("state", "verify")):
        stack.run(*arguments)
    traces.findings |= asyncio.run(_in_objects(stack.command.kubeconfig, traces.canaries))
    traces.scan(stack.command, stacks)
    stack.run("state", "rotate")
    traces.canaries.append(caught("new passphrase", own.read_text()))
    stack.run("state", "backup", "--to", str(state / "backups"))
    assert "name a Secret" in stack.run("settings", stack="plain", code=1)
    setting = "inferstack:inference.jobs[0].spec.env[0].value"
    given = PLANTED["setting"].value
    stack.run("pulumi", "config", "set", "--secret", "--path", setting, stack="encrypted", given=given)
    assert f"{setting.partition('.')[0]}: is encrypted" in stack.run("preview", stack="encrypted", code=1)
    assert f"{setting}: is encrypted" in stack.run("settings", stack="encrypted", code=1)
    stack.run("destroy", "--yes")


async def _keep_secrets(kubeconfig: Path) -> None:
    """Make the Secrets that the stack names, as their owners do."""
    bucket = {"access-key-id": "canary", "secret-access-key": PLANTED["bucket's key"].value}
    for namespace, name, data in (
        ("inferstack-caches", "bucket", bucket),
        ("nlp", "hub", {"token": PLANTED["hub's token"].value}),
    ):
        async with await KubeClient.connect(kubeconfig) as kube:
            metadata = {"name": name, "namespace": namespace}
            secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data}
            await kube.create(secret, field_manager="test")


def _caught(state: Path) -> list[Canary]:
    """Return secrets that the platform itself has made."""
    [token] = (state / "run" / "pods").glob("*/token")
    return [
        # The first line holds all of a key.
        caught("administrator's key", (state / "pki" / "admin.key").read_text().splitlines()[1]),
        caught("service accounts' key", (state / "pki" / "service-account.key").read_text().splitlines()[1]),
        caught("pod's token", token.read_text().strip().rpartition(".")[2]),
    ]


async def _in_objects(kubeconfig: Path, canaries: list[Canary]) -> set[Finding]:
    """Return the canaries in objects that are no Secrets."""
    findings = set()
    async with await KubeClient.connect(kubeconfig) as kube:
        objects = [obj async for obj in walk(kube)]
        objects += [event | {"kind": "Event"} for event in (await kube.list("v1", "Event"))["items"]]
    assert {"InferenceJob", "Dataset", "Pod", "Event"} <= {obj["kind"] for obj in objects}
    for obj in objects:
        if obj["kind"] != "Secret":
            findings |= find(f"{obj['kind']} {obj['metadata']['name']}", json.dumps(obj).encode(), canaries)
    return findings


def test_secrets_are_only_in_allowed_places(traces: Traces) -> None:
    assert {canary.name for canary in traces.canaries} == {*PLANTED, *OWN}
    assert [finding for finding in sorted(traces.findings) if not _allowed(finding)] == []


def test_files_with_secrets_are_readable_by_their_owner_only(traces: Traces) -> None:
    own = {place: mode for place, mode in traces.modes.items() if place.startswith("state/")}
    assert len(own) > 5
    assert [place for place, mode in own.items() if mode & 0o077] == []


@pytest.mark.parametrize("process", ["pulumi up", "standins.kubernetes.server", "-m inferstack.controllers"])
def test_command_lines_of_all_processes_are_sampled(traces: Traces, process: str) -> None:
    assert [line for line in traces.seen if process.encode() in line]


WRITTEN: dict[str, Callable[[str], bytes]] = {
    "plain": str.encode,
    "JSON": lambda text: json.dumps({"a": text}).encode(),
    "JSON in JSON": lambda text: json.dumps({"a": json.dumps([text])}).encode(),
    "YAML": lambda text: yaml.safe_dump({"a": text}).encode(),
    "URL": lambda text: urllib.parse.quote(text, safe="").encode(),
    "HTML": lambda text: html.escape(text).encode(),
    "hex": lambda text: text.encode().hex().encode(),
    "HEX": lambda text: text.encode().hex().upper().encode(),
    "base64": lambda text: base64.b64encode(text.encode()),
    "base64 after one": lambda text: base64.b64encode(b"a" + text.encode() + b"z"),
    "base64 after two": lambda text: base64.b64encode(b"ab" + text.encode()),
    "base64 for URLs": lambda text: base64.urlsafe_b64encode(text.encode()).rstrip(b"="),
    "cut short": lambda text: text[:30].encode(),
}


@pytest.mark.parametrize("form", WRITTEN)
def test_canary_in_a_log_is_detected_in_each_encoding(traces: Traces, form: str) -> None:
    canary = PLANTED["stack's secret"]
    log = traces.state / "logs" / "planted.log"
    log.write_bytes(b"time=1 value=" + WRITTEN[form](canary.value) + b" said\n")
    findings = search(log.parent, "state/logs", traces.canaries)
    log.unlink()

    [finding] = findings
    assert finding.place == "state/logs/planted.log"
    assert not _allowed(finding)


def test_canary_in_file_name_and_command_line_is_detected(tmp_path: Path) -> None:
    canary = PLANTED["setting"]
    (tmp_path / canary.core).touch()
    assert [finding.canary for finding in search(tmp_path, "tmp", [canary])] == [canary.name]
    with sampled() as seen:
        subprocess.run([sys.executable, "-c", "import time; time.sleep(0.5)", canary.value], check=True)
    assert [line for line in seen if find("", line, [canary])]


def test_each_allowed_place_holds_a_secret(traces: Traces) -> None:
    used = {place for place in ALLOWED for finding in traces.findings if _fits(place, finding)}
    assert set(ALLOWED) - used == set()


def _allowed(finding: Finding) -> bool:
    return any(_fits(place, finding) for place in ALLOWED)


def _fits(place: AllowedPlace, finding: Finding) -> bool:
    return place.canary == finding.canary and fnmatch.fnmatchcase(finding.place, place.pattern)
