"""The resources that the stacks register on AWS, without those of other roles."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import pulumi
import pytest
import yaml

from components.cluster.component import Cluster
from components.cluster.settings import ClusterSettings
from components.settings import load_role
from inferstack.project import project_root
from tests.program.conftest import Recording, Registered, run_program

STACKS = ("dev", "staging", "prod")


@dataclass
class Graph:
    """What one stack registers."""

    stack: str
    recording: Recording

    def all(self) -> list[Registered]:
        """Return everything of AWS, the provider aside."""
        return [resource for resource in self.recording.resources.values() if resource.type.startswith("aws:")]

    def of(self, kind: str) -> list[Registered]:
        """Return the resources of a kind such as Vpc."""
        return [resource for resource in self.all() if resource.type.rpartition(":")[2] == kind]

    def resource(self, kind: str, name: str) -> Registered:
        """Return the one of this kind and name."""
        (result,) = [resource for resource in self.of(kind) if resource.name == name]
        return result

    def provider(self) -> Registered:
        """Return the AWS provider."""
        (result,) = [
            resource for resource in self.recording.resources.values() if resource.type == "pulumi:providers:aws"
        ]
        return result

    def copied(self) -> Graph:
        """Return a copy that may be spoilt."""
        return copy.deepcopy(self)

    def outputs(self) -> dict[str, Any]:
        """Return what the component gives out."""
        return self.recording.outputs[self.recording.component("cluster", "AwsCluster").urn]


def settings_of(stack: str) -> dict[str, Any]:
    """Return what a stack's file says of the cluster."""
    content = yaml.safe_load((project_root() / "stacks" / f"Pulumi.{stack}.yaml").read_text())
    settings: dict[str, Any] = content["config"]["inferstack:cluster"]
    return settings


def record(stack: str, given: dict[str, Any], *, preview: bool = False) -> Graph:
    """Register the cluster of a stack with these settings."""
    recording = Recording()
    loaded = load_role("cluster", ClusterSettings, given)

    def program() -> None:
        cluster = Cluster("cluster", loaded, access=None)
        pulumi.export("kubeconfig", cluster.kubeconfig)

    run_program(recording, stack, {}, preview=preview, program=program)
    return Graph(stack, recording)


@pytest.fixture(scope="session")
def graphs() -> dict[str, Graph]:
    """The graphs of all stacks on AWS, by name."""
    return {stack: record(stack, settings_of(stack)) for stack in STACKS}


@pytest.fixture(scope="session", params=STACKS)
def graph(request: pytest.FixtureRequest, graphs: dict[str, Graph]) -> Graph:
    """The graph of each stack."""
    return graphs[str(request.param)]


@pytest.fixture(scope="session")
def prod(graphs: dict[str, Graph]) -> Graph:
    """The graph of prod, which has everything."""
    return graphs["prod"]
