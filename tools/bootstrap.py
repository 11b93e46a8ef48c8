"""Make the project's virtual environment, .venv, from a lock file with hashes.

    python3 tools/bootstrap.py run|test

Uses the standard library only and a syntax that even Python 3.6 reads, so that a Python that is too old ends in a
sentence and not in a SyntaxError. A second run takes no time. Two runs at once are safe, and so is a kill: an
environment that was not completed is made anew.
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

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
STAMP = os.path.join(VENV, ".bootstrap.json")
OLDEST = (3, 11)
FREE_GIB = 1.5  # the test environment takes 0.8 GiB, pip as much again for a while
HEARTBEAT_S = 15.0
KINDS = {"run": ("run", "test"), "test": ("test",)}  # what is wanted -> which environments serve it


class BootstrapError(Exception):
    """Something a person can put right, in one sentence."""


def say(text):  # type: (str) -> None
    """Tell a person what goes on."""
    sys.stderr.write("bootstrap: " + text + "\n")
    sys.stderr.flush()


def check_python(version, executable):  # type: (tuple[int, ...], str) -> None
    """Check that an interpreter is new enough."""
    if tuple(version[:2]) < OLDEST:
        raise BootstrapError(
            "Python {}.{} ({}) is too old, {}.{} or newer is needed: install one and run `make PYTHON=/path/to/python3`.".format(
                version[0], version[1], executable, *OLDEST
            )
        )


def newer_python():  # type: () -> str | None
    """Return another Python on PATH that is new enough, the newest first."""
    for minor in range(OLDEST[1] + 4, OLDEST[1] - 1, -1):
        found = shutil.which("python3.{}".format(minor))
        if found and subprocess.call([found, "-c", "import ensurepip"], stderr=subprocess.DEVNULL) == 0:
            return found
    return None


def check_modules():  # type: () -> None
    """Check that this Python can make virtual environments."""
    for name in ("venv", "ensurepip"):
        if importlib.util.find_spec(name) is None:
            raise BootstrapError(
                "This Python ({}) has no module {}: install it (on Debian and Ubuntu: apt install python3-venv).".format(
                    sys.executable, name
                )
            )


def check_folder(free_bytes=None):  # type: (int | None) -> None
    """Check that the project's folder can be written and has room; `free_bytes` is given by tests."""
    if not os.access(ROOT, os.W_OK):
        raise BootstrapError("The folder {} cannot be written: take a clone of your own.".format(ROOT))
    free = (shutil.disk_usage(ROOT).free if free_bytes is None else free_bytes) / 2.0**30
    if free < FREE_GIB:
        raise BootstrapError(
            "Only {:.1f} GiB are free on the disk of {}, {} GiB are needed: make room.".format(free, ROOT, FREE_GIB)
        )


def make_stamp(kind):  # type: (str) -> dict[str, str]
    """Return what an environment of a kind is made from; it is complete while its stamp says the same."""
    digest = hashlib.sha256()
    for name in (os.path.join("requirements", kind + ".lock"), "pyproject.toml"):
        with open(os.path.join(ROOT, name), "rb") as file:
            digest.update(file.read())
    return {"kind": kind, "content": digest.hexdigest(), "root": ROOT, "python": "{}.{}".format(*sys.version_info)}


def read_stamp():  # type: () -> dict[str, str]
    """Return the stamp of the environment that is there; empty where it is not complete."""
    try:
        with open(STAMP) as file:
            content = json.load(file)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def is_complete(kind):  # type: (str) -> bool
    """Tell whether an environment that serves a kind is there."""
    stamp = read_stamp()
    return any(stamp == make_stamp(serving) for serving in KINDS[kind]) and os.path.exists(venv_python())


def venv_python():  # type: () -> str
    """Return the interpreter of the environment."""
    return os.path.join(VENV, "bin", "python")


def explain(step, output):  # type: (str, str) -> str
    """Return a sentence for a step that failed, from what it printed."""
    tail = "\n".join(output.strip().splitlines()[-8:])
    if "No space left on device" in output or "Disk quota exceeded" in output:
        return "The disk is full ({}): make room and run again.".format(step)
    if "DO NOT MATCH THE HASHES" in output:
        return "A package is not the one in the lock file ({}): find out who serves it.\n{}".format(step, tail)
    for sign in ("NewConnectionError", "ConnectTimeout", "ReadTimeout", "ConnectionError", "Failed to resolve"):
        if sign in output or "ProxyError" in output:
            return "The package index cannot be reached ({}): check the network or pip's index setting.\n{}".format(
                step, tail
            )
    return "{} failed:\n{}".format(step, tail)


def run(step, command):  # type: (str, list[str]) -> None
    """Run a command, with a line now and then; what it prints is shown only where it fails."""
    began = time.time()
    log = os.path.join(VENV, ".bootstrap.log")
    with open(log, "wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            while True:
                try:
                    code = process.wait(timeout=HEARTBEAT_S)
                    break
                except subprocess.TimeoutExpired:
                    say("{}: {:.0f} s so far".format(step, time.time() - began))
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    if code != 0:
        with open(log, errors="replace") as file:
            raise BootstrapError(explain(step, file.read()))


def lock_folder():  # type: () -> int
    """Wait until no other bootstrap works on this folder; the lock lasts as long as the descriptor that is returned."""
    descriptor = os.open(ROOT, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        say("waiting for another bootstrap of this folder")
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def make_venv(kind):  # type: (str) -> None
    """Make the environment, or bring a complete one up to date."""
    began = time.time()
    there = read_stamp()
    same_base = all(there.get(key) == value for key, value in make_stamp(kind).items() if key in ("root", "python"))
    if there and same_base:
        os.unlink(STAMP)  # from here on it is incomplete
    else:
        if os.path.isdir(VENV) and os.listdir(VENV) and not os.path.exists(os.path.join(VENV, "pyvenv.cfg")):
            raise BootstrapError("{} is there and is no virtual environment: move it away.".format(VENV))
        shutil.rmtree(VENV, ignore_errors=True)
        os.makedirs(VENV)
        # Written first, so that a kill in the next step leaves something that is known as ours.
        with open(os.path.join(VENV, "pyvenv.cfg"), "w"):
            pass
        say("making .venv with Python {}.{}.{}".format(*sys.version_info))
        run("making .venv", [sys.executable, "-m", "venv", VENV])
    lock = os.path.join("requirements", kind + ".lock")
    pip = [venv_python(), "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet"]
    say("installing the packages of {}".format(lock))
    # Wheels only: nothing is compiled and no package's own script runs. Bytecode is made at the first import, for the
    # modules that are imported; the SDKs have thousands more.
    run(lock, pip + ["--require-hashes", "--no-deps", "--only-binary=:all:", "--no-compile", "--requirement", lock])
    run("installing the project", pip + ["--no-deps", "--no-build-isolation", "--no-index", "--editable", ROOT])
    fresh = STAMP + ".new"
    with open(fresh, "w") as file:
        json.dump(make_stamp(kind), file)
    os.rename(fresh, STAMP)
    say(".venv is ready ({:.0f} s)".format(time.time() - began))


def bootstrap(kind):  # type: (str) -> None
    """Make sure that an environment of a kind is there."""
    if is_complete(kind):
        return
    check_modules()
    check_folder()
    descriptor = lock_folder()
    try:
        if not is_complete(kind):
            make_venv(kind)
    except OSError as error:
        raise BootstrapError(
            "Cannot write {} ({}): make room or mend the rights, and run again.".format(VENV, error.strerror or error)
        ) from error
    finally:
        os.close(descriptor)


def main(arguments):  # type: (list[str]) -> int
    """Run the command and return its exit code."""
    if len(arguments) != 1 or arguments[0] not in KINDS:
        say("call me with one of: " + ", ".join(KINDS))
        return 2
    try:
        if sys.version_info[:2] < OLDEST:
            newer = newer_python()
            if newer is not None:
                os.execv(newer, [newer, os.path.abspath(__file__)] + arguments)
        check_python(sys.version_info, sys.executable)
        bootstrap(arguments[0])
    except BootstrapError as error:
        sys.stderr.write("error: {}\n".format(error))
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("error: interrupted; run again to go on\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
