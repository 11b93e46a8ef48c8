"""How long the program takes to put the same objects on the API server, against kubectl and Ansible.

Each round applies the same objects (another namespace a peer), then applies them again unchanged, then deletes them.
Ratios are taken within a round; the medians of the rounds are printed. Run with ``python -m benchmarks.apply``.
Ansible runs from a virtual environment of its own (``requirements/bench.lock``), made on first use.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import tempfile
import time
import venv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.objects import make_objects
from inferstack.engine.engine import Engine
from inferstack.project import cache_dir, project_root
from inferstack.toolchain.binaries import ensure
from rehearsal.control_plane import Rehearsal

PROGRAM = """\
import json, os, pathlib
import pulumi, pulumi_kubernetes
from components.resource import KubeObject
provider = pulumi_kubernetes.Provider("k", kubeconfig=os.environ["BENCH_KUBECONFIG"])
first = None
for item in json.loads(pathlib.Path("objects.json").read_text()):
    options = pulumi.ResourceOptions(provider=provider, depends_on=[first] if first else None)
    made = KubeObject(f"{item['kind']}-{item['metadata']['name']}", item, options)
    first = first or made
"""

PLAYBOOK = """\
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - name: the namespace
      kubernetes.core.k8s: {state: present, definition: "{{ objects[0] }}"}
    - name: the objects
      kubernetes.core.k8s: {state: present, definition: "{{ objects[1:] }}"}
"""

LOOP = """\
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - name: the objects, one item each, as roles do
      kubernetes.core.k8s: {state: present, definition: "{{ item }}"}
      loop: "{{ objects }}"
      loop_control: {label: "{{ item.metadata.name }}"}
"""


def timed(command: Callable[[], None]) -> float:
    """Return the seconds that a call takes."""
    began = time.perf_counter()
    command()
    return time.perf_counter() - began


def run(command: Sequence[str | Path], folder: Path, environment: dict[str, str]) -> None:
    """Run a command; on failure show the end of its output."""
    merged = {**os.environ, **environment}
    done = subprocess.run(command, cwd=folder, env=merged, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{command[0]} failed:\n{(done.stdout + done.stderr)[-3000:]}")


def ansible_home(report: Callable[[str], None]) -> Path:
    """Return the virtual environment that holds Ansible; make it on first use."""
    lock = project_root() / "requirements" / "bench.lock"
    home = cache_dir() / "bench-venv"
    stamp = home / "lock"
    if not stamp.exists() or stamp.read_text() != lock.read_text():
        report("installing Ansible for the comparison (once)")
        venv.create(home, with_pip=True, clear=True)
        run([home / "bin" / "python", "-m", "pip", "install", "-q", "--require-hashes", "-r", lock], home, {})
        stamp.write_text(lock.read_text())
    return home


class Peers:
    """The contestants: each can apply, and delete, its own copy of the objects."""

    def __init__(self, folder: Path, kubeconfig: Path, count: int, ansible: Path | None) -> None:
        self.folder = folder
        self.kubeconfig = kubeconfig
        self.count = count
        self.ansible = ansible
        self.kubectl = ensure(["kubectl"], report=lambda _: None)["kubectl"]
        self.engine = Engine(folder, folder / "state")
        self.engine.prepare()
        self.stack = ""

    def write(self, turn: int) -> None:
        """Write every contestant's input for this round."""
        for name in ("kubectl", "pulumi", "ansible", "loop"):
            (self.folder / f"{name}.json").write_text(json.dumps(make_objects(self.count, f"{name}-{turn}")))
        items = json.loads((self.folder / "kubectl.json").read_text())
        listed = {"apiVersion": "v1", "kind": "List", "items": items}
        (self.folder / "kubectl.json").write_text(json.dumps(listed))
        for name, play in (("ansible", PLAYBOOK), ("loop", LOOP)):
            (self.folder / f"{name}.yaml").write_text(play)
            variables = {"objects": json.loads((self.folder / f"{name}.json").read_text())}
            (self.folder / f"{name}.vars.json").write_text(json.dumps(variables))
        (self.folder / "objects.json").write_text((self.folder / "pulumi.json").read_text())
        (self.folder / "__main__.py").write_text(PROGRAM)
        (self.folder / "Pulumi.yaml").write_text("name: bench\nruntime: python\n")
        self.stack = f"t{turn}"
        self.pulumi("stack", "init", self.stack)

    def pulumi(self, *arguments: str) -> None:
        """Run the engine in the benchmark's folder."""
        environment = {"BENCH_KUBECONFIG": str(self.kubeconfig), "PYTHONPATH": str(project_root())}
        done = self.engine.output(arguments, environment=environment)
        if done.returncode:
            raise SystemExit(f"pulumi {arguments} failed:\n{(done.stdout + done.stderr)[-3000:]}")

    def apply(self, name: str) -> None:
        """Apply the objects as ``name`` does."""
        environment = {"KUBECONFIG": str(self.kubeconfig), "K8S_AUTH_KUBECONFIG": str(self.kubeconfig)}
        if name == "pulumi":
            self.pulumi("up", "--stack", self.stack, "--yes", "--skip-preview", "--non-interactive")
        elif name == "kubectl":
            run([str(self.kubectl), "apply", "--server-side", "-f", "kubectl.json"], self.folder, environment)
        elif self.ansible:
            play = [str(self.ansible / "bin" / "ansible-playbook"), "-i", "localhost,", f"{name}.yaml"]
            python = f"ansible_python_interpreter={self.ansible / 'bin' / 'python'}"
            run([*play, "-e", f"@{name}.vars.json", "-e", python], self.folder, environment)

    def clear(self, turn: int) -> None:
        """Delete what this round made."""
        self.pulumi("destroy", "--stack", self.stack, "--yes", "--skip-preview", "--non-interactive", "--remove")
        spaces = [f"{name}-{turn}" for name in ("kubectl", "ansible", "loop")]
        command = [str(self.kubectl), "delete", "namespace", "--ignore-not-found", *spaces]
        run(command, self.folder, {"KUBECONFIG": str(self.kubeconfig)})


def main(
    count: Annotated[int, typer.Option(help="Objects.", min=10)] = 300,
    rounds: Annotated[int, typer.Option(help="Rounds; medians are taken over them.", min=1)] = 3,
    with_ansible: Annotated[bool, typer.Option("--ansible/--no-ansible", help="Include Ansible (slow).")] = True,
) -> None:
    """Time `pulumi up` against kubectl and Ansible on the same objects."""
    console = Console(stderr=True)
    names = ["pulumi", "kubectl", *(["ansible", "loop"] if with_ansible else [])]
    seconds: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="inferstack-bench-") as name:
        folder = Path(name)
        plane = Rehearsal(folder / "plane")
        plane.start(console.print)
        try:
            peers = Peers(folder, plane.kubeconfig, count, ansible_home(console.print) if with_ansible else None)
            for turn in range(rounds):
                peers.write(turn)
                for phase in ("up", "no-op"):
                    # Another order each round, so that none always runs on a cold or a warm machine.
                    for peer in names[turn % len(names) :] + names[: turn % len(names)]:
                        took = timed(lambda peer=peer: peers.apply(peer))  # type: ignore[misc]  # bound per turn
                        seconds.setdefault((phase, peer), []).append(took)
                        console.print(f"round {turn + 1}/{rounds}: {phase} by {peer}: {took:.1f} s")
                peers.clear(turn)
        finally:
            plane.stop(purge=True)
    table = Table("case", "pulumi", "peer", "peer's time", "pulumi / peer", "goal")
    goals = {"kubectl": "≤ 1.5", "ansible": "≤ 0.2", "loop": "≤ 0.2"}
    labels = {
        "kubectl": "kubectl apply --server-side",
        "ansible": "ansible, one task",
        "loop": "ansible, loop of items",
    }
    for phase in ("up", "no-op"):
        ours = seconds[phase, "pulumi"]
        for peer in names[1:]:
            theirs = seconds[phase, peer]
            ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
            row = (f"{statistics.median(ours):.1f} s", labels[peer], f"{statistics.median(theirs):.1f} s")
            table.add_row(f"{phase}, {count} objects", *row, f"{ratio:.2f}", goals[peer])
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
