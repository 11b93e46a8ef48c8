"""The provider stand-in, called directly (fast) or by the engine, on a real API server."""

from __future__ import annotations

import json
import secrets
import subprocess
import textwrap
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from pulumi.runtime.proto import provider_pb2, status_pb2

from inferstack.engine.engine import Engine
from inferstack.engine.properties import Properties, decode, encode
from standins.kubernetes.server import KubernetesProvider
from tests.rehearsal.conftest import kube, kubeconfig, namespace, plane

__all__ = ["kube", "kubeconfig", "namespace", "plane"]  # fixtures of these tests too


class RefusedError(Exception):
    """What a call was refused with."""

    def __init__(self, code: grpc.StatusCode, message: str, trailing: Any) -> None:
        super().__init__(message)
        self.code = code
        self.failed: provider_pb2.ErrorResourceInitFailed | None = None
        for key, value in trailing or ():
            if key == "grpc-status-details-bin":
                self.failed = provider_pb2.ErrorResourceInitFailed()
                status_pb2.Status.FromString(value).details[0].Unpack(self.failed)

    @property
    def state(self) -> Properties:
        """The state that the engine would keep."""
        assert self.failed is not None
        return decode(self.failed.properties)


class Context:
    """A call's context, as much of it as the provider uses."""

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Any = ()) -> None:
        raise RefusedError(code, details, trailing_metadata)


@dataclass
class ProviderResource:
    """A resource as the engine would remember it."""

    urn: str
    id: str
    inputs: Properties
    state: Properties


class ProviderClient:
    """The provider's service without an engine: each method makes one message and reads the answer."""

    def __init__(self, service: KubernetesProvider) -> None:
        self.service: Any = service

    @staticmethod
    def urn(token: str, name: str) -> str:
        return f"urn:pulumi:test::project::{token}::{name}"

    def made(self, token: str, name: str, identity: str, inputs: Properties, state: Properties) -> ProviderResource:
        """A resource that another way than `create` has brought into the state."""
        return ProviderResource(self.urn(token, name), identity, inputs, state)

    async def check(self, token: str, name: str, inputs: Properties, old: Properties | None = None) -> Properties:
        request = provider_pb2.CheckRequest(urn=self.urn(token, name), news=encode(inputs), olds=encode(old or {}))
        answer = await self.service.Check(request, Context())
        if answer.failures:
            raise RefusedError(grpc.StatusCode.INVALID_ARGUMENT, "; ".join(f.reason for f in answer.failures), ())
        return decode(answer.inputs)

    async def create(
        self, token: str, name: str, inputs: Properties, *, preview: bool = False, seconds: float = 0
    ) -> ProviderResource:
        checked = await self.check(token, name, inputs)
        request = provider_pb2.CreateRequest(
            urn=self.urn(token, name), properties=encode(checked), preview=preview, timeout=seconds
        )
        answer = await self.service.Create(request, Context())
        return ProviderResource(request.urn, answer.id, checked, decode(answer.properties))

    async def diff(
        self, resource: ProviderResource, inputs: Properties, ignored: tuple[str, ...] = ()
    ) -> provider_pb2.DiffResponse:
        token, name = resource.urn.split("::")[2:4]
        checked = await self.check(token, name, inputs, resource.inputs)
        request = provider_pb2.DiffRequest(
            urn=resource.urn,
            id=resource.id,
            olds=encode(resource.state),
            old_inputs=encode(resource.inputs),
            news=encode(checked),
            ignoreChanges=ignored,
        )
        answer: provider_pb2.DiffResponse = await self.service.Diff(request, Context())
        return answer

    async def update(
        self,
        resource: ProviderResource,
        inputs: Properties,
        *,
        preview: bool = False,
        seconds: float = 0,
        ignored: tuple[str, ...] = (),
    ) -> ProviderResource:
        token, name = resource.urn.split("::")[2:4]
        checked = await self.check(token, name, inputs, resource.inputs)
        request = provider_pb2.UpdateRequest(
            urn=resource.urn,
            id=resource.id,
            olds=encode(resource.state),
            news=encode(checked),
            preview=preview,
            timeout=seconds,
            ignoreChanges=ignored,
        )
        answer = await self.service.Update(request, Context())
        return ProviderResource(resource.urn, resource.id, checked, decode(answer.properties))

    async def read(self, resource: ProviderResource) -> ProviderResource | None:
        request = provider_pb2.ReadRequest(
            urn=resource.urn, id=resource.id, properties=encode(resource.state), inputs=encode(resource.inputs)
        )
        answer = await self.service.Read(request, Context())
        return (
            ProviderResource(resource.urn, answer.id, decode(answer.inputs), decode(answer.properties))
            if answer.id
            else None
        )

    async def delete(self, resource: ProviderResource, *, seconds: float = 0) -> None:
        request = provider_pb2.DeleteRequest(
            urn=resource.urn, id=resource.id, properties=encode(resource.state), timeout=seconds
        )
        await self.service.Delete(request, Context())


Configure = Callable[..., Any]


@pytest.fixture
async def configured(kubeconfig: Path) -> AsyncIterator[Configure]:
    """Makes providers with settings such as ``namespace="x"``."""
    services = []

    async def make(**settings: str) -> ProviderClient:
        service = KubernetesProvider("127.0.0.1:1")  # nobody listens there: status lines are dropped
        variables = {"kubernetes:config:kubeconfig": str(kubeconfig)}
        variables |= {f"kubernetes:config:{key}": value for key, value in settings.items()}
        await service.Configure(provider_pb2.ConfigureRequest(variables=variables), Context())  # type: ignore[arg-type]
        services.append(service)
        return ProviderClient(service)

    yield make
    for service in services:
        await service.close()


@pytest.fixture
async def direct(configured: Configure, namespace: str) -> ProviderClient:
    """A provider whose default namespace is the test's own."""
    client: ProviderClient = await configured(namespace=namespace)
    return client


PREAMBLE = """\
import os
import pulumi
import pulumi_kubernetes as k8s
provider = k8s.Provider("k", kubeconfig=os.environ["TEST_KUBECONFIG"], namespace=os.environ["TEST_NAMESPACE"])
def opts(**more):
    return pulumi.ResourceOptions(provider=provider, **more)
"""


@dataclass
class Program:
    """A Pulumi program in a folder of its own, and its stack ``test``."""

    engine: Engine
    environment: dict[str, str] = field(default_factory=dict)
    preamble: str = PREAMBLE

    @property
    def folder(self) -> Path:
        return self.engine.project_root

    def write(self, source: str, *, preamble: str | None = None) -> None:
        """Make ``source`` the program."""
        before = self.preamble if preamble is None else preamble
        (self.folder / "__main__.py").write_text(before + textwrap.dedent(source))

    def pulumi(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the engine on the stack."""
        return self.engine.output(
            [*arguments, "--stack", "test", "--non-interactive"], environment=self.environment, timeout=120
        )

    def up(self, *arguments: str) -> str:
        """Update; the update must succeed."""
        done = self.pulumi("up", "--yes", "--skip-preview", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def fails(self, *arguments: str) -> str:
        """Run a command that must fail and return what it said."""
        done = self.pulumi(*arguments)
        assert done.returncode != 0, done.stdout
        return done.stdout + done.stderr

    def destroy(self) -> None:
        """Destroy; it must succeed."""
        done = self.pulumi("destroy", "--yes", "--skip-preview")
        assert done.returncode == 0, done.stdout + done.stderr

    def state(self) -> list[dict[str, Any]]:
        """The stack's resources."""
        exported = json.loads(self.pulumi("stack", "export").stdout)
        resources: list[dict[str, Any]] = exported["deployment"].get("resources") or []
        return resources

    def outputs(self) -> dict[str, Any]:
        """The stack's outputs."""
        outputs: dict[str, Any] = json.loads(self.pulumi("stack", "output", "--json").stdout)
        return outputs


@pytest.fixture
def program(tmp_path: Path, kubeconfig: Path, namespace: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Program]:
    """An empty program on the shared API server; whatever it made is destroyed after the test."""
    for name in ("PULUMI_BACKEND_URL", "PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE", "PULUMI_HOME"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "program"
    folder.mkdir()
    (folder / "Pulumi.yaml").write_text(f"name: p{secrets.token_hex(3)}\nruntime: python\n")
    engine = Engine(folder, tmp_path / "state")
    created = Program(engine, {"TEST_KUBECONFIG": str(kubeconfig), "TEST_NAMESPACE": namespace})
    created.write("")
    done = created.pulumi("stack", "init")
    assert done.returncode == 0, done.stderr
    yield created
    created.destroy()
