"""A stand-in for ``pulumi-language-python``, used if the vendor's host is not available.

The engine starts it with its own address as the last argument, reads a port from the first line of stdout and calls
the language runtime service there (pulumi/proto/language.proto).
"""

from __future__ import annotations

import importlib.metadata
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

import grpc
from google.protobuf.empty_pb2 import Empty
from google.protobuf.json_format import MessageToDict
from pulumi.runtime.proto import language_pb2, language_pb2_grpc, plugin_pb2

from inferstack.engine import plugin_process
from standins.python_host import program

_UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


class LanguageHost(language_pb2_grpc.LanguageRuntimeServicer):
    """The part of the service that is needed to run Python programs and policy packs.

    Other calls, such as code generation and packing, fail with gRPC's ``UNIMPLEMENTED``.
    """

    def __init__(self, engine_address: str) -> None:
        self.engine_address = engine_address

    def Handshake(  # noqa: N802  # gRPC's names
        self, request: language_pb2.LanguageHandshakeRequest, context: grpc.ServicerContext
    ) -> language_pb2.LanguageHandshakeResponse:
        """Keep the engine's address."""
        del context
        self.engine_address = request.engine_address or self.engine_address
        return language_pb2.LanguageHandshakeResponse()

    def GetPluginInfo(self, request: Empty, context: grpc.ServicerContext) -> plugin_pb2.PluginInfo:  # noqa: N802
        """Return the version of the SDK, which the vendor releases together with the host."""
        del request, context
        return plugin_pb2.PluginInfo(version=importlib.metadata.version("pulumi"))

    def GetRequiredPlugins(  # noqa: N802
        self, request: language_pb2.GetRequiredPluginsRequest, context: grpc.ServicerContext
    ) -> language_pb2.GetRequiredPluginsResponse:
        """Return none: the engine looks plugins up when a resource first needs them."""
        del request, context
        return language_pb2.GetRequiredPluginsResponse()

    def GetRequiredPackages(  # noqa: N802
        self, request: language_pb2.GetRequiredPackagesRequest, context: grpc.ServicerContext
    ) -> language_pb2.GetRequiredPackagesResponse:
        """Return none, like `GetRequiredPlugins`."""
        del request, context
        return language_pb2.GetRequiredPackagesResponse()

    def Run(self, request: language_pb2.RunRequest, context: grpc.ServicerContext) -> language_pb2.RunResponse:  # noqa: N802
        """Run the program in this process, or with the Python of ``runtime.options.virtualenv`` if that differs."""
        del context
        other = chosen_python(request)
        if other is None:
            return program.run(request, self.engine_address)
        return _run_elsewhere(other, request, self.engine_address)

    def InstallDependencies(  # noqa: N802
        self, request: language_pb2.InstallDependenciesRequest, context: grpc.ServicerContext
    ) -> Iterator[language_pb2.InstallDependenciesResponse]:
        """Report that the host does not install dependencies."""
        del request, context
        yield language_pb2.InstallDependenciesResponse(
            stdout=f"This program runs with {sys.executable}; its packages are installed from requirements/.\n".encode()
        )

    def RuntimeOptionsPrompts(  # noqa: N802
        self, request: language_pb2.RuntimeOptionsRequest, context: grpc.ServicerContext
    ) -> language_pb2.RuntimeOptionsResponse:
        """Return no prompts."""
        del request, context
        return language_pb2.RuntimeOptionsResponse()

    def About(self, request: language_pb2.AboutRequest, context: grpc.ServicerContext) -> language_pb2.AboutResponse:  # noqa: N802
        """Return the path and version of the Python that runs programs."""
        del request, context
        return language_pb2.AboutResponse(executable=sys.executable, version=sys.version.split()[0])

    def GetProgramDependencies(  # noqa: N802
        self, request: language_pb2.GetProgramDependenciesRequest, context: grpc.ServicerContext
    ) -> language_pb2.GetProgramDependenciesResponse:
        """List the installed Pulumi packages."""
        del request, context
        versions = {
            d.name.lower(): d.version for d in importlib.metadata.distributions() if d.name.lower()[:6] == "pulumi"
        }
        return language_pb2.GetProgramDependenciesResponse(
            dependencies=[language_pb2.DependencyInfo(name=n, version=v) for n, v in sorted(versions.items())]
        )

    def RunPlugin(  # noqa: N802
        self, request: language_pb2.RunPluginRequest, context: grpc.ServicerContext
    ) -> Iterator[language_pb2.RunPluginResponse]:
        """Run a plugin written in Python (a policy pack or component package) and stream its output."""
        other = chosen_python(request)
        # The engine passes only its own variables to a policy pack, but a plugin also needs PATH and others.
        environment = dict(os.environ) | dict(entry.split("=", 1) for entry in request.env if "=" in entry)
        if request.kind == "analyzer":
            # -P: plugins start in the program's folder, which must not shadow modules.
            command = ["-P", "-u", "-m", "pulumi.policy", *request.args, request.info.program_directory]
        else:
            command = ["-u", request.info.program_directory, *request.args]
        process = subprocess.Popen(
            # If the engine is killed, the plugin would wait for calls forever, because it neither reads nor writes.
            [*plugin_process.kill_with_parent(), str(other or sys.executable), *command],
            cwd=request.pwd or None,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        context.add_callback(process.terminate)
        yield from _stream(process)


def _stream(process: subprocess.Popen[bytes]) -> Iterator[language_pb2.RunPluginResponse]:
    parts: queue.Queue[tuple[str, bytes] | None] = queue.Queue()

    def pump(name: str, stream: IO[bytes]) -> None:
        while part := stream.read1(65536) if hasattr(stream, "read1") else stream.read(65536):
            parts.put((name, part))
        parts.put(None)

    assert process.stdout is not None  # noqa: S101  # both are pipes, see above
    assert process.stderr is not None  # noqa: S101
    for name, stream in (("stdout", process.stdout), ("stderr", process.stderr)):
        threading.Thread(target=pump, args=(name, stream), daemon=True).start()
    open_streams = 2
    while open_streams:
        part = parts.get()
        if part is None:
            open_streams -= 1
        else:
            content: dict[str, Any] = {part[0]: part[1]}
            yield language_pb2.RunPluginResponse(**content)
    yield language_pb2.RunPluginResponse(exitcode=process.wait())


def chosen_python(request: language_pb2.RunRequest | language_pb2.RunPluginRequest) -> Path | None:
    """Return the interpreter of ``runtime.options.virtualenv``, or None if it is unset or this interpreter."""
    folder = MessageToDict(request.info.options).get("virtualenv")
    if not folder:
        return None
    root = Path(request.info.root_directory or request.pwd) / str(folder)
    if not root.exists() or root.resolve() == Path(sys.prefix).resolve():
        return None
    return root / "bin" / "python"


def _run_elsewhere(python: Path, request: language_pb2.RunRequest, engine_address: str) -> language_pb2.RunResponse:
    """Run the program in a child process with another Python: the request is on stdin, the response on a pipe."""
    read_end, write_end = os.pipe()
    source = (
        f"import sys; sys.path.append({str(_package_root())!r}); "
        f"from standins.python_host.language_host import child; child({engine_address!r}, {write_end})"
    )
    with os.fdopen(read_end, "rb") as answers:
        process = subprocess.Popen([python, "-P", "-c", source], stdin=subprocess.PIPE, pass_fds=(write_end,))
        os.close(write_end)
        process.communicate(request.SerializeToString())
        answer = answers.read()
    if process.returncode:
        return language_pb2.RunResponse(error=f"{python} ended with exit code {process.returncode}")
    return language_pb2.RunResponse.FromString(answer)


def child(engine_address: str, write_end: int) -> None:
    """Run as the child process of `_run_elsewhere`."""
    request = language_pb2.RunRequest.FromString(sys.stdin.buffer.read())
    answer = program.run(request, engine_address)
    with os.fdopen(write_end, "wb") as out:
        out.write(answer.SerializeToString())


def _package_root() -> Path:
    return Path(__file__).resolve().parents[2]


def main() -> None:
    """Serve until the engine stops this process."""
    server = grpc.server(ThreadPoolExecutor(max_workers=8), options=_UNLIMITED)
    language_pb2_grpc.add_LanguageRuntimeServicer_to_server(LanguageHost(sys.argv[-1]), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    sys.stdout.write(f"{port}\n")
    plugin_process.exit_with_engine()
    server.wait_for_termination()


if __name__ == "__main__":
    main()
