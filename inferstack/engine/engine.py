"""The Pulumi engine: its environment, and running it so that an interrupted run never blocks the next."""

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
from inferstack.engine.lifeline import ending_with_us
from inferstack.errors import UserError
from inferstack.state.place import backend_of
from inferstack.state.rotate import passphrase_of

# Commands that write the stack's state: what an interrupted run left is mended before them.
_WRITING = frozenset({"up", "update", "destroy", "refresh", "import", "watch"})
# Commands that our own state service knows enough for.
_SERVED = frozenset({"up", "update", "destroy", "refresh"})

# The engine's own defaults are made for slow clouds and long-lived processes.
_TUNING = {
    # Most operations wait for the API server; the default is four for each core.
    "PULUMI_PARALLEL": "64",
    # Checkpoints make short-lived garbage; collecting it less often saves a tenth of an update's time.
    "GOGC": "400",
    # Milliseconds that an entry of the journal waits for others before it is written down.
    "PULUMI_JOURNALING_BATCH_PERIOD": "2",
}

_NO_LOGS = """\
The engine writes a debug log of each run into a folder of this name, which takes it a third of its time, and does
without where it cannot. Delete this file and make the folder to have these logs.
"""


def _silent(_: str) -> None:
    return


class Engine:
    """One project's engine.

    Args:
        project_root: the folder with ``Pulumi.yaml``; commands run there.
        state_dir: where state, passphrase and plugins live.
        binary: the ``pulumi`` to run; by default the one that the tools resolve.
        configuration: folder of the stacks' configuration files where it is not the project's own.
        stack: the stack to work on: one whose passphrase was rotated has its own.
        report: takes a sentence for a person now and then.
    """

    def __init__(
        self,
        project_root: Path,
        state_dir: Path,
        *,
        binary: Path | None = None,
        configuration: Path | None = None,
        stack: str = "",
        report: Callable[[str], None] = _silent,
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
            UserError: there is none yet.
        """
        found = self._binary
        if found is None:
            # Only here: the tools read versions.yaml, which an Engine with a binary of its own does without.
            from inferstack.toolchain.binaries import locate  # noqa: PLC0415

            found = locate("pulumi")
        if found is None:
            raise UserError("there is no pulumi engine yet: `inferstack tools` builds it")
        self._binary = found
        return found

    @property
    def pulumi_home(self) -> Path:
        """The engine's own folder: plugins, workspaces, credentials."""
        return Path(os.environ.get("PULUMI_HOME") or self.state_dir / "pulumi-home")

    def environment(self, extra: Mapping[str, str] | None = None, *, stack: str = "") -> dict[str, str]:
        """Return the variables the engine runs with; what the user has set in theirs stays.

        A team's backend (``PULUMI_BACKEND_URL``, or ``backend`` in ``Pulumi.yaml``), secrets
        (``PULUMI_CONFIG_PASSPHRASE`` or ``_FILE``) and ``PULUMI_HOME`` are used as they are; otherwise all of these lie
        in the state folder.
        """
        own = {
            "PULUMI_HOME": str(self.pulumi_home),
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            # What plugins.prepare has chosen is all there is; a download would only be waited for.
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "PULUMI_IGNORE_AMBIENT_PLUGINS": "true",
            **{name: value for name, value in _TUNING.items() if name not in os.environ},
        }
        # Without the sidecar files: the engine never reads the checksums in them, and writing them for each of its
        # checkpoints took a fifth of an update's time.
        named = backend_of(self.project_root, os.environ)
        own["PULUMI_BACKEND_URL"] = named or f"file://{self._ensure_folder('pulumi')}?metadata=skip"
        if "PULUMI_CONFIG_PASSPHRASE" not in os.environ and not os.environ.get("PULUMI_CONFIG_PASSPHRASE_FILE"):
            own["PULUMI_CONFIG_PASSPHRASE_FILE"] = str(self._passphrase(stack or self.stack))
        path = f"{self.binary.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        return {**os.environ, **own, "PATH": path, **(extra or {})}

    def _ensure_folder(self, name: str) -> Path:
        folder = self.state_dir / name
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

    def _passphrase(self, stack: str) -> Path:
        """Return the file of the passphrase that encrypts a stack's secrets: the project's, made once, or its own."""
        if stack and (own := passphrase_of(self.state_dir, stack)).exists():
            return own
        file = self.state_dir / "passphrase"
        if not file.exists():
            self.state_dir.mkdir(parents=True, exist_ok=True)
            fresh = file.with_name(f".passphrase.{os.getpid()}")
            fresh.touch(mode=0o600)
            fresh.write_text(secrets.token_urlsafe(32))
            # link, not rename: of two processes that start at once, the first one's passphrase stays.
            with contextlib.suppress(FileExistsError):
                file.hardlink_to(fresh)
            fresh.unlink()
        return file

    def prepare(self) -> list[plugins.Choice]:
        """Put the plugins in place (once for each Engine) and return where each comes from."""
        made = plugins.prepare(self.pulumi_home, self.report, self.binary)
        logs = self.pulumi_home / "logs"
        if self.pulumi_home.is_relative_to(self.state_dir) and not logs.exists():
            logs.write_text(_NO_LOGS)
        self._prepared = True
        return made

    def run(self, args: Sequence[str], *, environment: Mapping[str, str] | None = None) -> int:
        """Run ``pulumi ARGS`` with our own streams and return its exit code.

        Before a command that writes state, what an interrupted run left behind is mended: see `recovery`.
        """
        with self.started(args, environment) as process:
            while True:
                try:
                    return process.wait()
                except KeyboardInterrupt:
                    # The terminal sent it to the engine as well, which now ends its operations in order; a second
                    # interrupt makes it give up. Either way its exit is what we wait for.
                    continue

    def output(
        self, args: Sequence[str], *, environment: Mapping[str, str] | None = None, timeout: float | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run ``pulumi ARGS`` and return its exit code and what it printed.

        Raises:
            subprocess.TimeoutExpired: it took longer than ``timeout`` seconds and was killed.
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
        """Start ``pulumi ARGS``, with our state service where the state is ours; leaving waits for its end.

        Args:
            args: what follows ``pulumi``.
            extra: variables besides those of `environment`.
            how: ``stdout``, ``stderr`` and ``process_group`` as `subprocess.Popen` takes them.
        """
        if not self._prepared:
            self.prepare()
        environment = self.environment(extra)
        own = self._own_backend(environment["PULUMI_BACKEND_URL"])
        if own is not None and not _WRITING.isdisjoint(args):
            recovery.mend(own, self._plain, self.report)
        with contextlib.ExitStack() as stack:
            service = None
            # Our service forgets no stack: ``destroy --remove`` is left to the file backend.
            served = not _SERVED.isdisjoint(args) and "--remove" not in args
            if own is not None and served and self._journals():
                service, address = stack.enter_context(serving(own))
                environment |= address
            process = subprocess.Popen(
                # Without our service the engine could neither go on nor give its lock back.
                [*(ending_with_us() if service else []), self.binary, *args],
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

    def _journals(self) -> bool:
        """Tell whether the engine is the one whose journal we know: that of our SDK, from the tools' cache."""
        return self.binary.resolve().parent.name == f"v{importlib.metadata.version('pulumi')}"

    @staticmethod
    def _own_backend(url: str) -> Path | None:
        """Return the ``.pulumi`` folder of a file backend; a team's backend keeps locks and checkpoints itself."""
        if not url.startswith("file://"):
            return None
        return Path(url.removeprefix("file://").partition("?")[0]).expanduser() / ".pulumi"

    def _plain(self, args: Sequence[str]) -> str:
        """Run the engine for the recovery and return what it printed on stdout."""
        chosen: list[str] = []
        stack = args[args.index("--stack") + 1]
        if self.configuration is not None and args[0] == "refresh":
            chosen = ["--config-file", str(self.configuration / f"Pulumi.{stack}.yaml")]
        done = subprocess.run(
            [self.binary, *args, *chosen, "--non-interactive"],
            cwd=self.project_root,
            env=self.environment(stack=stack),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise UserError(f"pulumi {' '.join(args)} failed while mending an interrupted run: {done.stderr.strip()}")
        return done.stdout
