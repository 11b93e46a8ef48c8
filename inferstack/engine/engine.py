"""Runs the Pulumi engine, so that an interrupted run never blocks the next."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import secrets
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from inferstack.engine import plugins, recovery
from inferstack.engine.journal.service import serving
from inferstack.engine.plugin_process import kill_with_parent
from inferstack.errors import UserError
from inferstack.state.place import backend_of
from inferstack.state.rotate import passphrase_of

# Commands that write the stack's state; an interrupted run is recovered first.
_WRITING = frozenset({"up", "update", "destroy", "refresh", "import", "watch"})
# Commands that the state service of `journal` implements.
_SERVED = frozenset({"up", "update", "destroy", "refresh"})

# The engine's defaults suit slow clouds and long-lived processes.
_TUNING = {
    # Most operations wait for the API server; the default is four for each core.
    "PULUMI_PARALLEL": "64",
    # Checkpoints allocate short-lived objects; collecting them less often saves 10% of an update.
    "GOGC": "400",
    # Milliseconds that a journal entry waits for others before the batch is written.
    "PULUMI_JOURNALING_BATCH_PERIOD": "2",
}

_NO_LOGS = """\
This file stands in the place of the engine's log folder and turns its debug log off: the log doubles the CPU
time of a preview (docs/adr/0009-no-speed-hacks-in-the-engine.md). To have the log, delete this file and create the
folder.
"""


def _discard(_: str) -> None:
    return


class Engine:
    """The engine of one project.

    Args:
        project_root: the folder with ``Pulumi.yaml``; commands run there.
        state_dir: the folder of state, passphrase and plugins.
        binary: the ``pulumi`` to run (default: the one that the toolchain locates).
        configuration: folder of the stacks' configuration files (default: the project's).
        stack: the stack to work on; after a rotation it has a passphrase of its own.
        report: receives progress messages.
    """

    def __init__(
        self,
        project_root: Path,
        state_dir: Path,
        *,
        binary: Path | None = None,
        configuration: Path | None = None,
        stack: str = "",
        report: Callable[[str], None] = _discard,
    ) -> None:
        self.project_root = project_root
        self.state_dir = state_dir
        self.configuration = configuration
        self.stack = stack
        self.report = report
        self._binary = binary
        self._prepared = False

    @property
    def binary(self) -> Path:
        """The engine's binary.

        Raises:
            UserError: it is not installed.
        """
        binary = self._binary
        if binary is None:
            # Imported here: the toolchain reads versions.yaml, which an explicit binary does not need.
            from inferstack.toolchain.binaries import locate  # noqa: PLC0415

            binary = locate("pulumi")
        if binary is None:
            raise UserError("the Pulumi engine is not installed; run `inferstack tools`")
        self._binary = binary
        return binary

    @property
    def pulumi_home(self) -> Path:
        """The engine's own folder: plugins, workspaces, credentials."""
        return Path(os.environ.get("PULUMI_HOME") or self.state_dir / "pulumi-home")

    def environment(self, extra: Mapping[str, str] | None = None, *, stack: str = "") -> dict[str, str]:
        """Return the environment of the engine; variables that the user has set take precedence.

        A team's backend (``PULUMI_BACKEND_URL``, or ``backend`` in ``Pulumi.yaml``), secrets
        (``PULUMI_CONFIG_PASSPHRASE`` or ``_FILE``) and ``PULUMI_HOME`` are used as they are. The defaults lie in the
        state folder.
        """
        variables = {
            "PULUMI_HOME": str(self.pulumi_home),
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            # `plugins.prepare` installs every plugin there is: a download would only fail after a delay.
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "PULUMI_IGNORE_AMBIENT_PLUGINS": "true",
            **{name: value for name, value in _TUNING.items() if name not in os.environ},
        }
        # metadata=skip: the engine never reads the checksums in its sidecar files, and writing one for each checkpoint
        # took 20% of an update.
        backend = backend_of(self.project_root, os.environ)
        variables["PULUMI_BACKEND_URL"] = backend or f"file://{self._ensure_folder('pulumi')}?metadata=skip"
        if "PULUMI_CONFIG_PASSPHRASE" not in os.environ and not os.environ.get("PULUMI_CONFIG_PASSPHRASE_FILE"):
            variables["PULUMI_CONFIG_PASSPHRASE_FILE"] = str(self._passphrase(stack or self.stack))
        path = f"{self.binary.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        return {**os.environ, **variables, "PATH": path, **(extra or {})}

    def _ensure_folder(self, name: str) -> Path:
        folder = self.state_dir / name
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

    def _passphrase(self, stack: str) -> Path:
        """Return the passphrase file of a stack's secrets: its own after a rotation, else the project's."""
        if stack and (own := passphrase_of(self.state_dir, stack)).exists():
            return own
        file = self.state_dir / "passphrase"
        if not file.exists():
            self.state_dir.mkdir(parents=True, exist_ok=True)
            temporary = file.with_name(f".passphrase.{os.getpid()}")
            temporary.touch(mode=0o600)
            temporary.write_text(secrets.token_urlsafe(32))
            # A link, not a rename: if two processes start at once, the first passphrase stays.
            with contextlib.suppress(FileExistsError):
                file.hardlink_to(temporary)
            temporary.unlink()
        return file

    def prepare(self) -> list[plugins.Choice]:
        """Install the plugins and return the source of each."""
        choices = plugins.prepare(self.pulumi_home, self.report, self.binary)
        if self.pulumi_home.is_relative_to(self.state_dir):
            self._disable_debug_log()
        self._prepared = True
        return choices

    def _disable_debug_log(self) -> None:
        """Put a file in the place of the engine's log folder, unless the folder exists.

        The engine writes every call to and from its plugins into ``PULUMI_HOME/logs``. No option disables that, and it
        continues without a log if the folder cannot be created. The log doubles the CPU time of `inferstack preview` on
        stack local, from 6.5 s to 14.2 s without the policy pack's (docs/adr/0009-no-speed-hacks-in-the-engine.md).
        """
        logs = self.pulumi_home / "logs"
        if not logs.exists():
            logs.write_text(_NO_LOGS)

    def run(self, args: Sequence[str], *, environment: Mapping[str, str] | None = None) -> int:
        """Run ``pulumi ARGS`` on the terminal and return its exit code.

        An interrupted run is recovered before a command that writes state: see `recovery`.
        """
        with self.started(args, environment) as process:
            while True:
                try:
                    return process.wait()
                except KeyboardInterrupt:
                    # The terminal interrupted the engine as well: it completes the running operations, or gives up at
                    # a second interrupt. Wait for its exit in both cases.
                    continue

    def output(
        self, args: Sequence[str], *, environment: Mapping[str, str] | None = None, timeout: float | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run ``pulumi ARGS`` and return its exit code and output.

        Raises:
            subprocess.TimeoutExpired: the engine was killed after ``timeout`` seconds.
        """
        with self.started(args, environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            try:
                out, err = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        return subprocess.CompletedProcess([str(self.binary), *args], process.returncode, out, err)

    @contextlib.contextmanager
    def started(
        self, args: Sequence[str], extra: Mapping[str, str] | None = None, **how: int | IO[str]
    ) -> Iterator[subprocess.Popen[str]]:
        """Start ``pulumi ARGS``, with the state service for a file backend; the context ends when the engine does.

        Args:
            args: arguments of ``pulumi``.
            extra: variables in addition to those of `environment`.
            how: ``stdout``, ``stderr`` and ``process_group`` of `subprocess.Popen`.
        """
        if not self._prepared:
            self.prepare()
        environment = self.environment(extra)
        backend = self._file_backend(environment["PULUMI_BACKEND_URL"])
        if backend is not None and not _WRITING.isdisjoint(args):
            recovery.recover(backend, self._run_for_recovery, self.report)
        with contextlib.ExitStack() as stack:
            service = None
            # The state service cannot remove a stack: the file backend serves ``destroy --remove``.
            served = not _SERVED.isdisjoint(args) and "--remove" not in args
            if backend is not None and served and self._writes_known_journal():
                service, address = stack.enter_context(serving(backend))
                environment |= address
            process = subprocess.Popen(
                # Without the state service the engine could neither continue nor release its lock.
                [*(kill_with_parent() if service else []), self.binary, *args],
                cwd=self.project_root,
                env=environment,
                text=True,
                **how,  # type: ignore[call-overload]  # by name, see above
            )
            if service is not None:
                service.engine_pid = process.pid
            try:
                yield process
            finally:
                process.wait()

    def _writes_known_journal(self) -> bool:
        """Return whether the engine is the toolchain's and has the SDK's version, whose journal format is known."""
        return self.binary.resolve().parent.name == f"v{importlib.metadata.version('pulumi')}"

    @staticmethod
    def _file_backend(url: str) -> Path | None:
        """Return the ``.pulumi`` folder of a file backend; other backends manage locks and checkpoints themselves."""
        if not url.startswith("file://"):
            return None
        return Path(url.removeprefix("file://").partition("?")[0]).expanduser() / ".pulumi"

    def _run_for_recovery(self, args: Sequence[str]) -> str:
        """Run the engine without recovery or state service, and return its stdout."""
        options: list[str] = []
        stack = args[args.index("--stack") + 1]
        if self.configuration is not None and args[0] == "refresh":
            options = ["--config-file", str(self.configuration / f"Pulumi.{stack}.yaml")]
        result = subprocess.run(
            [self.binary, *args, *options, "--non-interactive"],
            cwd=self.project_root,
            env=self.environment(stack=stack),
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode:
            raise UserError(f"recovery of an interrupted run failed: pulumi {' '.join(args)}: {result.stderr.strip()}")
        return result.stdout
