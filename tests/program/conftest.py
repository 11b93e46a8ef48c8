"""The whole program, run in this process against a monitor that only writes down what is registered."""

from __future__ import annotations

import asyncio
import json
import runpy
import socket
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml
from google.protobuf import empty_pb2
from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct
from pulumi.runtime import mocks, run_in_stack, set_all_config, settings
from pulumi.runtime.proto import resource_pb2

from inferstack.apimachinery.objects import Object
from inferstack.project import project_root
from tests.mirrored import make_mirror
from tests.program import aws_outputs

STACKS = sorted(path.suffixes[0].removeprefix(".") for path in project_root().glob("stacks/Pulumi.*.yaml"))
"""Names of the stacks that ship."""


@dataclass(frozen=True)
class Registered:
    """One resource as the engine would hear of it."""

    urn: str
    type: str
    name: str
    parent: str
    inputs: Object
    dependencies: frozenset[str]
    provider: str
    version: str
    read: str
    """Identity, where the resource is looked up and not made."""
    options: Object
    """protect, aliases and others that the program leaves alone, where they are set."""


class Refusing(mocks.Mocks):
    """The program makes no calls to providers; the monitor below answers registrations itself."""

    def call(self, args: mocks.MockCallArgs) -> Any:
        """Refuse."""
        raise AssertionError(f"the program called {args.token}")

    def new_resource(self, args: mocks.MockResourceArgs) -> Any:
        """Refuse."""
        raise AssertionError(f"{args.name} came past the monitor")


@dataclass
class Recording(mocks.MockMonitor):
    """What one run of the program registered, in its order."""

    resources: dict[str, Registered] = field(default_factory=dict)  # type: ignore[assignment]  # with more in it
    outputs: dict[str, Object] = field(default_factory=dict)
    """By URN, what components and the stack registered as their outputs."""

    def __post_init__(self) -> None:
        self.mocks = Refusing()

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802  # the engine's name
        """Write a resource down; its outputs are its inputs, on AWS with what AWS would add."""
        urn = self._add(request, request.object, "")
        identity = f"{request.name}-id" if request.custom else ""
        answer = request.object
        if request.type.startswith("aws:"):
            identity = aws_outputs.identity(request.type, request.name)
            answer = Struct()
            answer.CopyFrom(request.object)
            answer.update(aws_outputs.outputs(request.type, request.name, self.resources[urn].inputs))
        return resource_pb2.RegisterResourceResponse(urn=urn, id=identity, object=answer)

    def ReadResource(self, request: Any) -> Any:  # noqa: N802  # the engine's name
        """Write a look-up down."""
        urn = self._add(request, request.properties, request.id)
        return resource_pb2.ReadResourceResponse(urn=urn, properties=request.properties)

    def RegisterResourceOutputs(self, request: Any) -> Any:  # noqa: N802  # the engine's name
        """Write outputs down."""
        self.outputs[request.urn] = MessageToDict(request.outputs)
        return empty_pb2.Empty()

    def _add(self, request: Any, inputs: Any, read: str) -> str:
        urn: str = self.make_urn(request.parent, request.type, request.name)
        assert urn not in self.resources, f"{urn} is registered twice"
        plain = ("protect", "aliases", "ignoreChanges", "deleteBeforeReplace", "retainOnDelete", "replaceOnChanges")
        self.resources[urn] = Registered(
            urn=urn,
            type=request.type,
            name=request.name,
            parent=request.parent,
            inputs=MessageToDict(inputs),
            dependencies=frozenset(request.dependencies),
            provider=request.provider,
            version=request.version,
            read=read,
            options={key: value for key, value in MessageToDict(request).items() if key in plain and value},
        )
        return urn

    def get(self, type_: str, name: str) -> Registered:
        """Return the one resource of this type and name."""
        (result,) = [
            resource for resource in self.resources.values() if (resource.type, resource.name) == (type_, name)
        ]
        return result

    def component(self, role: str, kind: str) -> Registered:
        """Return a role's one component."""
        (result,) = [resource for resource in self.resources.values() if resource.type == f"inferstack:{role}:{kind}"]
        return result

    def kind(self, kind: str) -> list[Registered]:
        """Return the Kubernetes objects of a kind."""
        return [resource for resource in self.objects() if resource.type.rpartition(":")[2] == kind]

    def objects(self) -> list[Registered]:
        """Return all that is registered with the Kubernetes provider."""
        return [resource for resource in self.resources.values() if resource.type.startswith("kubernetes:")]

    def manifests(self) -> list[Registered]:
        """Return the objects that the program gives as manifests: all but Helm releases."""
        return [resource for resource in self.objects() if not resource.type.startswith("kubernetes:helm.sh/")]

    def children(self, parent: Registered) -> list[Registered]:
        """Return what lies right below a component."""
        return [resource for resource in self.resources.values() if resource.parent == parent.urn]

    def before(self, resource: Registered) -> set[str]:
        """Return the URNs of all that must be there before ``resource``: its dependencies, and theirs."""
        result: set[str] = set()
        waiting = set(resource.dependencies)
        while waiting:
            urn = waiting.pop()
            if urn not in result:
                result.add(urn)
                waiting |= self.resources[urn].dependencies
        return result

    def exports(self) -> Object:
        """Return the stack's outputs."""
        (stack,) = [urn for urn, resource in self.resources.items() if resource.type == "pulumi:pulumi:Stack"]
        return self.outputs[stack]


def stack_config(stack: str) -> dict[str, str]:
    """Return a stack's configuration as the engine gives it to the program: objects as JSON, defaults filled in."""
    declared = yaml.safe_load((project_root() / "Pulumi.yaml").read_text())["config"]
    defaults = {f"inferstack:{key}": entry["default"] for key, entry in declared.items() if "default" in entry}
    given = yaml.safe_load((project_root() / "stacks" / f"Pulumi.{stack}.yaml").read_text())["config"]
    return encode({**defaults, **given})


def encode(config: Mapping[str, Any]) -> dict[str, str]:
    """Return configuration values as the engine writes them."""
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in config.items()}


def main_program() -> None:
    """Run ``__main__.py``."""
    runpy.run_path(str(project_root() / "__main__.py"))


def run_program(
    recording: Recording,
    stack: str,
    config: Mapping[str, str],
    *,
    preview: bool = False,
    program: Callable[[], None] = main_program,
) -> None:
    """Run a program into ``recording``, in a context of its own."""

    async def run() -> None:
        settings.configure(
            mocks.MockSettings(  # type: ignore[no-untyped-call]
                monitor=recording,
                engine=mocks.MockEngine(None),
                project="inferstack",
                stack=stack,
                dry_run=preview,
                organization=None,
            )
        )
        set_all_config(dict(config))
        await run_in_stack(program)

    asyncio.run(run())


class Machine:
    """A machine for the program: a rehearsal that answers, a kubeconfig of another cluster, and all charts."""

    def __init__(self, folder: Path, port: int) -> None:
        """Write both kubeconfigs below ``folder``."""
        self.rehearsal, self.other = folder / "state" / "kubeconfig", folder / "config"
        self.rehearsal.parent.mkdir()
        self.charts = folder / "charts"
        make_mirror(self.charts)
        for path, context in ((self.rehearsal, "rehearsal"), (self.other, "gpu-cluster")):
            path.write_text(
                yaml.safe_dump(
                    {
                        "contexts": [{"name": context, "context": {"cluster": context}}],
                        "clusters": [{"name": context, "cluster": {"server": f"https://127.0.0.1:{port}"}}],
                        "current-context": context,
                    }
                )
            )

    def run(
        self,
        stack: str,
        *,
        preview: bool = False,
        into: Recording | None = None,
        present: AbstractSet[str] = frozenset(),
        **over: Any,
    ) -> Recording:
        """Run the program for a stack.

        Args:
            stack: its name.
            preview: as the engine tells the program.
            into: what to write into.
            present: add-ons that somebody else has installed.
            over: in place of whole values of the stack's file; None takes one away.
        """
        config = stack_config(stack)
        for key, value in over.items():
            config.pop(f"inferstack:{key}", None)
            if value is not None:
                config |= encode({f"inferstack:{key}": value})
        recording = Recording() if into is None else into
        # For this run only: other tests of the session have rehearsals of their own.
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("INFERSTACK_STATE", str(self.rehearsal.parent))
            patch.setenv("KUBECONFIG", str(self.other))
            patch.setattr("components.addon.plan.find", lambda pin, _mirror: self.charts / pin.file)
            patch.setattr("components.addon.detect.find_present", lambda _access, wanted: present & set(wanted))
            run_program(recording, stack, config, preview=preview)
        return recording

    def refusal(
        self, stack: str, error: type[Exception] = pulumi.RunError, *, preview: bool = False, **over: Any
    ) -> str:
        """Return the error message of such a stack; nothing but the stack itself may be registered by then."""
        recording = Recording()
        with pytest.raises(error) as caught:
            self.run(stack, into=recording, preview=preview, **over)
        assert [resource.type for resource in recording.resources.values()] == ["pulumi:pulumi:Stack"]
        return str(caught.value)


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine with a rehearsal on it, as the program sees one: a kubeconfig and a port that answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield Machine(tmp_path_factory.mktemp("program"), server.getsockname()[1])


@pytest.fixture(scope="session")
def local(machine: Machine) -> Recording:
    """The stack local."""
    return machine.run("local")


@pytest.fixture(scope="session")
def existing(machine: Machine) -> Recording:
    """The stack existing."""
    return machine.run("existing")
