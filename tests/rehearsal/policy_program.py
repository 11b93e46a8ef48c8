"""Programs for the policy pack: they register what examples show, as components, for which no provider is asked."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from inferstack.apimachinery.objects import Object
from inferstack.engine.engine import Engine
from inferstack.policy.examples import TENANTS, resource_of
from inferstack.policy.resource import Resource
from inferstack.project import project_root

PROGRAM = """
import json
import pathlib
import pulumi

for group, resources in json.loads(pathlib.Path("shown.json").read_text()).items():
    parent = pulumi.ComponentResource(f"test:index:{group}", group)
    for each in resources:
        options = pulumi.ResourceOptions(parent=parent, protect=each["protect"])
        pulumi.ComponentResource(each["type"], each["name"], each["properties"], options)
"""
_TENANT = {"gpus": 8}


@dataclass(frozen=True)
class Reported:
    """What the engine says that a policy found."""

    rule: str
    level: str
    urn: str
    message: str


@dataclass(frozen=True)
class Run:
    """How a run of the engine ended."""

    code: int
    output: str
    reported: tuple[Reported, ...]
    remediated: tuple[str, ...]
    """Rules that mended something."""


@dataclass
class Shown:
    """A project that shows groups of resources, each below a parent of its own type, so that names do not clash.

    Args:
        folder: an empty one.
    """

    folder: Path
    engine: Engine = field(init=False)
    stacks: set[str] = field(init=False, default_factory=set)

    def __post_init__(self) -> None:
        project = self.folder / "program"
        project.mkdir(parents=True)
        (project / "Pulumi.yaml").write_text("name: inferstack\nruntime: python\n")
        (project / "__main__.py").write_text(PROGRAM)
        self.engine = Engine(project, self.folder / "state")

    @property
    def environment(self) -> dict[str, str]:
        """Of the engine: it knows ``--event-log``, and its plugins compile their code once for all runs."""
        compiled = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(self.folder / "compiled")}
        return {"PULUMI_DEBUG_COMMANDS": "true", **compiled}

    def run(
        self,
        stack: str,
        groups: Mapping[str, Iterable[Object]],
        *,
        policies: Object,
        settings: Object | None = None,
        verb: str = "preview",
        pack: Path | None = None,
    ) -> Run:
        """Run the engine with the policy pack.

        Args:
            stack: its name.
            groups: resources as examples show them, by group.
            policies: what the stack says under ``inferstack:security.policies``.
            settings: the stack's other values by role.
            verb: of the engine.
            pack: another folder of a pack.
        """
        given = {"tenancy": {"tenants": dict.fromkeys(sorted(TENANTS), _TENANT)}, **(settings or {})}
        given["security"] = {**given.get("security", {}), "policies": policies}
        config = {f"inferstack:{role}": value for role, value in given.items()}
        project = self.engine.project_root
        (project / f"Pulumi.{stack}.yaml").write_text(yaml.safe_dump({"config": config}))
        shown = {
            group: [
                {
                    "type": resource.type,
                    "name": resource.name,
                    "properties": resource.properties,
                    "protect": resource.protect,
                }
                for resource in _named(resources, stack)
            ]
            for group, resources in groups.items()
        }
        (project / "shown.json").write_text(json.dumps(shown))
        if stack not in self.stacks:
            init = self.engine.output(["stack", "init", stack, "--non-interactive"])
            assert init.returncode == 0, init.stderr
            self.stacks.add(stack)
        log = self.folder / "events"
        log.write_text("")
        command = [
            verb,
            "--stack",
            stack,
            "--policy-pack",
            str(pack or project_root() / "policies"),
            "--non-interactive",
        ]
        command += ["--event-log", str(log), *(["--yes", "--skip-preview"] if verb == "up" else [])]
        done = self.engine.output(command, environment=self.environment, timeout=120)
        events = [json.loads(line) for line in log.read_text().splitlines()]
        policy_events = [event["policyEvent"] for event in events if "policyEvent" in event]
        mended = [
            event["policyRemediationEvent"]["policyName"] for event in events if "policyRemediationEvent" in event
        ]
        return Run(
            done.returncode,
            done.stdout + done.stderr,
            tuple(
                Reported(event["policyName"], event["enforcementLevel"], event.get("resourceUrn", ""), event["message"])
                for event in policy_events
            ),
            tuple(mended),
        )

    def inputs(self, stack: str) -> list[Object]:
        """Return the inputs of all resources of the stack's state."""
        exported = json.loads(self.engine.output(["stack", "export", "--stack", stack]).stdout)
        return [resource.get("inputs", {}) for resource in exported["deployment"]["resources"]]


def resources(stack: str, groups: Mapping[str, Iterable[Object]]) -> list[Resource]:
    """Return what a program with these groups registers, as rules see it."""
    return [
        dataclasses.replace(
            resource, urn=f"urn:pulumi:{stack}::inferstack::test:index:{group}${resource.type}::{resource.name}"
        )
        for group, shown in groups.items()
        for resource in _named(shown, stack)
    ]


def _named(shown: Iterable[Object], stack: str) -> list[Resource]:
    """Return resources under names of their own; those of Kubernetes objects no rule looks at."""
    numbered = enumerate(resource_of(resource, stack) for resource in shown)
    return [
        dataclasses.replace(resource, name=f"{resource.name}-{number}") if resource.manifest else resource
        for number, resource in numbered
    ]
