"""Duration of applying the same objects with Pulumi, kubectl and Ansible.

Each round applies the objects (one namespace per tool), applies them again unchanged, and deletes them. Ratios are
taken within a round; the output is the median over the rounds. Run ``python -m benchmarks.apply``. Ansible runs in a
separate virtual environment (``requirements/bench.lock``), created on first use.
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
    resource = KubeObject(f"{item['kind']}-{item['metadata']['name']}", item, options)
    first = first or resource
"""

PLAYBOOK = """\
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - name: namespace
      kubernetes.core.k8s: {state: present, definition: "{{ objects[0] }}"}
    - name: objects
      kubernetes.core.k8s: {state: present, definition: "{{ objects[1:] }}"}
"""

LOOP = """\
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - name: objects, one item each, as in roles
      kubernetes.core.k8s: {state: present, definition: "{{ item }}"}
      loop: "{{ objects }}"
      loop_control: {label: "{{ item.metadata.name }}"}
"""


def timed(command: Callable[[], None]) -> float:
    """Return the duration of a call in seconds."""
    began = time.perf_counter()
    command()
    return time.perf_counter() - began


def run(command: Sequence[str | Path], folder: Path, environment: dict[str, str]) -> None:
    """Run a command; on failure, exit with the end of its output."""
    merged = {**os.environ, **environment}
    result = subprocess.run(command, cwd=folder, env=merged, capture_output=True, text=True, check=False)
    if result.returncode:
        raise SystemExit(f"{command[0]} failed:\n{(result.stdout + result.stderr)[-3000:]}")


def ansible_home(report: Callable[[str], None]) -> Path:
    """Return the virtual environment of Ansible; create it on first use."""
    lock = project_root() / "requirements" / "bench.lock"
    home = cache_dir() / "bench-venv"
    stamp = home / "lock"
    if not stamp.exists() or stamp.read_text() != lock.read_text():
        report("installing Ansible for the comparison (once)")
        venv.create(home, with_pip=True, clear=True)
        run([home / "bin" / "python", "-m", "pip", "install", "-q", "--require-hashes", "-r", lock], home, {})
        stamp.write_text(lock.read_text())
    return home


class Tools:
    """The compared tools; each applies and deletes a copy of the objects."""

    def __init__(self, folder: Path, kubeconfig: Path, count: int, ansible: Path | None) -> None:
        self.folder = folder
        self.kubeconfig = kubeconfig
        self.count = count
        self.ansible = ansible
        self.kubectl = ensure(["kubectl"], report=lambda _: None)["kubectl"]
        self.engine = Engine(folder, folder / "state")
        self.engine.prepare()
        self.stack = ""

    def write(self, round_index: int) -> None:
        """Write the input of all tools for a round."""
        for name in ("kubectl", "pulumi", "ansible", "loop"):
            (self.folder / f"{name}.json").write_text(json.dumps(make_objects(self.count, f"{name}-{round_index}")))
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
        self.stack = f"t{round_index}"
        self.pulumi("stack", "init", self.stack)

    def pulumi(self, *arguments: str) -> None:
        """Run the Pulumi engine in the folder of the benchmark."""
        environment = {"BENCH_KUBECONFIG": str(self.kubeconfig), "PYTHONPATH": str(project_root())}
        result = self.engine.output(arguments, environment=environment)
        if result.returncode:
            raise SystemExit(f"pulumi {arguments} failed:\n{(result.stdout + result.stderr)[-3000:]}")

    def apply(self, name: str) -> None:
        """Apply the objects with the named tool."""
        environment = {"KUBECONFIG": str(self.kubeconfig), "K8S_AUTH_KUBECONFIG": str(self.kubeconfig)}
        if name == "pulumi":
            self.pulumi("up", "--stack", self.stack, "--yes", "--skip-preview", "--non-interactive")
        elif name == "kubectl":
            run([str(self.kubectl), "apply", "--server-side", "-f", "kubectl.json"], self.folder, environment)
        elif self.ansible:
            play = [str(self.ansible / "bin" / "ansible-playbook"), "-i", "localhost,", f"{name}.yaml"]
            python = f"ansible_python_interpreter={self.ansible / 'bin' / 'python'}"
            run([*play, "-e", f"@{name}.vars.json", "-e", python], self.folder, environment)

    def delete(self, round_index: int) -> None:
        """Delete the objects of a round."""
        self.pulumi("destroy", "--stack", self.stack, "--yes", "--skip-preview", "--non-interactive", "--remove")
        spaces = [f"{name}-{round_index}" for name in ("kubectl", "ansible", "loop")]
        command = [str(self.kubectl), "delete", "namespace", "--ignore-not-found", *spaces]
        run(command, self.folder, {"KUBECONFIG": str(self.kubeconfig)})


def main(
    count: Annotated[int, typer.Option(help="Number of objects.", min=10)] = 300,
    rounds: Annotated[int, typer.Option(help="Number of rounds; the results are medians.", min=1)] = 3,
    with_ansible: Annotated[
        bool, typer.Option("--ansible/--no-ansible", help="Include Ansible, which is slow.")
    ] = True,
) -> None:
    """Compare `pulumi up` with kubectl and Ansible on the same objects."""
    console = Console(stderr=True)
    names = ["pulumi", "kubectl", *(["ansible", "loop"] if with_ansible else [])]
    seconds: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="inferstack-bench-") as name:
        folder = Path(name)
        plane = Rehearsal(folder / "plane")
        plane.start(console.print)
        try:
            tools = Tools(folder, plane.kubeconfig, count, ansible_home(console.print) if with_ansible else None)
            for round_index in range(rounds):
                tools.write(round_index)
                for phase in ("up", "no-op"):
                    # The order changes each round, so that no tool always runs on a cold or warm machine.
                    for tool in names[round_index % len(names) :] + names[: round_index % len(names)]:
                        duration = timed(lambda tool=tool: tools.apply(tool))  # type: ignore[misc]  # bound per iteration
                        seconds.setdefault((phase, tool), []).append(duration)
                        console.print(f"round {round_index + 1}/{rounds}: {phase} by {tool}: {duration:.1f} s")
                tools.delete(round_index)
        finally:
            plane.stop(purge=True)
    table = Table("case", "pulumi", "tool", "duration", "pulumi / tool", "goal")
    goals = {"kubectl": "≤ 1.5", "ansible": "≤ 0.2", "loop": "≤ 0.2"}
    labels = {
        "kubectl": "kubectl apply --server-side",
        "ansible": "ansible, one task",
        "loop": "ansible, loop of items",
    }
    for phase in ("up", "no-op"):
        pulumi = seconds[phase, "pulumi"]
        for tool in names[1:]:
            others = seconds[phase, tool]
            ratio = statistics.median(a / b for a, b in zip(pulumi, others, strict=True))
            row = (f"{statistics.median(pulumi):.1f} s", labels[tool], f"{statistics.median(others):.1f} s")
            table.add_row(f"{phase}, {count} objects", *row, f"{ratio:.2f}", goals[tool])
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
