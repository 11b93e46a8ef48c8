"""Make the project's virtual environment, .venv, from a lock file with hashes.

    python3 tools/bootstrap.py run|test

Uses the standard library only and a syntax that even Python 3.6 reads (hence the type comments), so that a Python that
is too old ends in a sentence and not in a SyntaxError. A second run takes no time. Two runs at once are safe, and so is
a kill: an environment that was not completed is made anew.
"""

import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST = (3, 11)
FREE_GIB = 1.5  # the test environment takes 0.6 GiB, pip as much again for a while
HEARTBEAT_S = 15.0
KINDS = {"run": ("run", "test"), "test": ("test",)}  # what is wanted -> which environments serve it
_NETWORK_SIGNS = (
    "NewConnectionError",
    "ConnectTimeout",
    "ReadTimeout",
    "ConnectionError",
    "Failed to resolve",
    "ProxyError",
)


class BootstrapError(Exception):
    """Something a person can put right, in one sentence."""


def say(text):  # type: (str) -> None
    """Tell a person what goes on."""
    sys.stderr.write(f"bootstrap: {text}\n")
    sys.stderr.flush()


def check_python(version, executable):  # type: (tuple[int, int], str) -> None
    """Check that an interpreter is new enough; ``version`` is major and minor."""
    if version < OLDEST:
        current, needed = (".".join(map(str, pair)) for pair in (version, OLDEST))
        raise BootstrapError(
            f"Python {current} ({executable}) is too old, {needed} or newer is needed: install one and run "
            "`make PYTHON=/path/to/python3 ...`."
        )


def newer_python():  # type: () -> str | None
    """Return another Python on PATH that is new enough, the newest first."""
    for minor in range(OLDEST[1] + 4, OLDEST[1] - 1, -1):
        interpreter = shutil.which(f"python3.{minor}")
        if interpreter and subprocess.call([interpreter, "-c", "import ensurepip"], stderr=subprocess.DEVNULL) == 0:
            return interpreter
    return None


def check_modules():  # type: () -> None
    """Check that this Python can make virtual environments."""
    for name in ("venv", "ensurepip"):
        if importlib.util.find_spec(name) is None:
            raise BootstrapError(
                f"This Python ({sys.executable}) has no module {name}: install it (on Debian and Ubuntu: "
                "apt install python3-venv)."
            )


def check_folder(root, free_bytes):  # type: (Path, int) -> None
    """Check that the project's folder can be written and has room."""
    if not os.access(str(root), os.W_OK):
        raise BootstrapError(f"The folder {root} cannot be written: take a clone of your own.")
    free = free_bytes / 2.0**30
    if free < FREE_GIB:
        raise BootstrapError(
            f"Only {free:.1f} GiB are free on the disk of {root}, {FREE_GIB} GiB are needed: make room and run again."
        )


def explain(step, output):  # type: (str, str) -> str
    """Return a sentence for a step that failed, from what it printed."""
    tail = "\n".join(output.strip().splitlines()[-8:])
    if "No space left on device" in output or "Disk quota exceeded" in output:
        return f"The disk is full ({step}): make room and run again."
    if "DO NOT MATCH THE HASHES" in output:
        return f"A package is not the one in the lock file ({step}): find out who serves it.\n{tail}"
    if any(sign in output for sign in _NETWORK_SIGNS):
        return f"The package index cannot be reached ({step}): check the network or pip's index setting.\n{tail}"
    return f"{step} failed:\n{tail}"


class Environment:
    """The virtual environment of a project folder.

    Its stamp says what it was made from, and is there only while the environment is complete.
    """

    def __init__(self, root):  # type: (Path) -> None
        self.root = root
        self.folder = root / ".venv"
        self.python = self.folder / "bin" / "python"
        self.stamp = self.folder / ".bootstrap.json"
        self.held = ()  # type: tuple[int, ...]

    def make_stamp(self, kind):  # type: (str) -> dict[str, str]
        """Return what an environment of a kind is made from."""
        digest = hashlib.sha256()
        for path in (self.root / "requirements" / f"{kind}.lock", self.root / "pyproject.toml"):
            digest.update(path.read_bytes())
        return {
            "kind": kind,
            "content": digest.hexdigest(),
            "root": str(self.root),
            "python": "{}.{}".format(*sys.version_info),
        }

    def read_stamp(self):  # type: () -> dict[str, str]
        """Return the stamp that is there; empty where the environment is not complete."""
        try:
            content = json.loads(self.stamp.read_text())
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

    def is_complete(self, kind):  # type: (str) -> bool
        """Return whether an environment that serves a kind is there."""
        stamp = self.read_stamp()
        return any(stamp == self.make_stamp(serving) for serving in KINDS[kind]) and self.python.exists()

    def make(self, kind):  # type: (str) -> None
        """Make the environment, or bring a complete one up to date."""
        began = time.time()
        old, new = self.read_stamp(), self.make_stamp(kind)
        if old and all(old.get(key) == new[key] for key in ("root", "python")) and self.python.exists():
            self.stamp.unlink()  # from here on it is incomplete
        else:
            self.make_empty()
        lock = f"requirements/{kind}.lock"
        pip = [str(self.python), "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet"]
        say(f"installing the packages of {lock}")
        # Wheels only: nothing is compiled and no package's own script runs. Bytecode is made at the first import, for
        # the modules that are imported; the SDKs have thousands more.
        self.run(
            f"installing {lock}",
            [*pip, "--require-hashes", "--no-deps", "--only-binary=:all:", "--no-compile", "--requirement", lock],
        )
        self.run(
            "installing the project",
            [*pip, "--no-deps", "--no-build-isolation", "--no-index", "--editable", str(self.root)],
        )
        fresh = self.folder / ".bootstrap.new"
        fresh.write_text(json.dumps(new))
        fresh.rename(self.stamp)
        say(f".venv is ready ({time.time() - began:.0f} s)")

    def make_empty(self):  # type: () -> None
        """Make the environment without packages, in place of what is there."""
        mark = self.folder / "pyvenv.cfg"
        if self.folder.is_dir() and any(self.folder.iterdir()) and not mark.exists():
            raise BootstrapError(f"{self.folder} is there and is no virtual environment: move it away.")
        # The mark goes last and comes first, so that a kill leaves nothing that is not known as ours.
        if self.folder.is_dir():
            for path in self.folder.iterdir():
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(str(path))
                elif path != mark:
                    path.unlink()
        self.folder.mkdir(exist_ok=True)
        mark.touch()
        say("making .venv with Python {}.{}.{}".format(*sys.version_info))
        self.run("making .venv", [sys.executable, "-m", "venv", str(self.folder)])

    def run(self, step, command):  # type: (str, list[str]) -> None
        """Run a command, with a line now and then; what it prints is shown only where it fails."""
        began = time.time()
        log = self.folder / ".bootstrap.log"
        with log.open("wb") as output:
            # The child holds the lock too: what a killed bootstrap leaves running is waited for by the next one.
            process = subprocess.Popen(
                command,
                cwd=str(self.root),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=self.held,
            )
            try:
                code = None
                while code is None:
                    try:
                        code = process.wait(timeout=HEARTBEAT_S)
                    except subprocess.TimeoutExpired:
                        say(f"{step}: {time.time() - began:.0f} s so far")
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()
        if code != 0:
            raise BootstrapError(explain(step, log.read_text(errors="replace")))

    def lock(self):  # type: () -> None
        """Wait until no other bootstrap works here."""
        descriptor = os.open(str(self.root), os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say(f"waiting for another bootstrap of {self.root}")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        self.held = (descriptor,)

    def unlock(self):  # type: () -> None
        """Let the next bootstrap in."""
        for descriptor in self.held:
            os.close(descriptor)
        self.held = ()


def bootstrap(root, kind):  # type: (Path, str) -> None
    """Make sure that an environment of a kind is there."""
    environment = Environment(root)
    if environment.is_complete(kind):
        return
    check_modules()
    environment.lock()
    try:
        if not environment.is_complete(kind):
            check_folder(root, shutil.disk_usage(str(root)).free)
            environment.make(kind)
    except OSError as error:
        raise BootstrapError(
            f"Cannot write {error.filename or environment.folder} ({error.strerror}): make room or mend the rights, "
            "and run again."
        ) from error
    finally:
        environment.unlock()


def main(arguments):  # type: (list[str]) -> int
    """Run the command and return its exit code."""
    if len(arguments) != 1 or arguments[0] not in KINDS:
        say("call me with one of: " + ", ".join(KINDS))
        return 2
    version = (sys.version_info[0], sys.version_info[1])
    try:
        newer = newer_python() if version < OLDEST else None
        if newer is not None:
            os.execv(newer, [newer, str(Path(__file__).resolve()), *arguments])  # noqa: S606  # no shell is wanted
        check_python(version, sys.executable)
        bootstrap(ROOT, arguments[0])
    except BootstrapError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("error: interrupted; run again to go on\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
