"""Chooses the plugins of the engine: the vendor's where installed, else the stand-ins.

`prepare` installs each plugin in ``PULUMI_HOME/plugins``: a link to the vendor's folder, or a launcher of the stand-in.
The engine looks there after PATH (which `engine.Engine.environment` excludes, so that the choice is made in one place)
and beside its own binary, where a vendor's release has its language hosts.
"""

from __future__ import annotations

import importlib.metadata
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from inferstack.project import project_root


@dataclass(frozen=True)
class Plugin:
    """A plugin of the engine, and its stand-in."""

    kind: str
    """``language`` or ``resource``, as the engine calls them."""
    name: str
    distribution: str
    """The Python package that requires the plugin, in the same version."""
    module: str
    """Module of the stand-in, with a ``main`` function."""
    sdk: bool = True
    """Whether the stand-in uses the Python SDK, or only its protocol."""

    @property
    def version(self) -> str:
        """The version that the installed SDK requires."""
        return importlib.metadata.version(self.distribution)

    @property
    def binary(self) -> str:
        """Name of the executable."""
        return f"pulumi-{self.kind}-{self.name}"

    @property
    def folder(self) -> str:
        """Name of its folder in ``PULUMI_HOME/plugins``."""
        return f"{self.kind}-{self.name}-v{self.version}"


PLUGINS = (
    Plugin("language", "python", "pulumi", "standins.python_host.language_host"),
    Plugin("resource", "kubernetes", "pulumi-kubernetes", "standins.kubernetes.server", sdk=False),
)


@dataclass(frozen=True)
class Choice:
    """The source of one plugin."""

    plugin: Plugin
    origin: str
    """``vendor`` or ``stand-in``."""
    path: Path
    """The vendor's executable, or the launcher of the stand-in."""

    @property
    def name(self) -> str:
        """Kind and name, for messages."""
        return f"{self.plugin.kind} {self.plugin.name}"


def choices(pulumi_home: Path, engine: Path | None = None) -> list[Choice]:
    """Return the choice for each plugin, without installing it.

    Args:
        pulumi_home: the ``PULUMI_HOME`` that `prepare` fills.
        engine: the engine's binary, if known: a vendor's release has the language hosts beside it.
    """
    return [_choose(plugin, pulumi_home, engine) for plugin in PLUGINS]


def prepare(pulumi_home: Path, report: Callable[[str], None], engine: Path | None = None) -> list[Choice]:
    """Install each plugin and return the choices; safe to repeat and to interrupt."""
    folder = pulumi_home / "plugins"
    folder.mkdir(parents=True, exist_ok=True)
    chosen = choices(pulumi_home, engine)
    for choice in chosen:
        entry = folder / choice.plugin.folder
        if choice.origin == "vendor":
            if entry.resolve() != choice.path.parent and not _beside(engine, choice.plugin):
                _link(entry, choice.path.parent)
                report(f"{choice.name} {choice.plugin.version}: the vendor's, {choice.path}")
        elif _write_launcher(entry, choice.plugin):
            report(f"{choice.name} {choice.plugin.version}: stand-in (the vendor's plugin is not installed)")
    return chosen


def _choose(plugin: Plugin, pulumi_home: Path, engine: Path | None) -> Choice:
    for path in _vendor_paths(plugin, pulumi_home, engine):
        if os.access(path, os.X_OK) and path.is_file() and not _is_launcher(path):
            return Choice(plugin, "vendor", path)
    return Choice(plugin, "stand-in", pulumi_home / "plugins" / plugin.folder / plugin.binary)


def _vendor_paths(plugin: Plugin, pulumi_home: Path, engine: Path | None) -> list[Path]:
    """Return the possible paths of the vendor's executable, in order of preference.

    Folders of ``plugins`` have the version in their name. A language host is released with an engine, so the one beside
    the engine, on PATH or in ``~/.pulumi/bin`` qualifies as well.
    """
    user = Path.home() / ".pulumi"
    paths = [home / "plugins" / plugin.folder / plugin.binary for home in (pulumi_home, user)]
    if plugin.kind == "language":
        if engine is not None:
            paths.append(engine.resolve().parent / plugin.binary)
        on_path = shutil.which(plugin.binary)
        if on_path:
            paths.append(Path(on_path).resolve())
        paths.append(user / "bin" / plugin.binary)
    return paths


def _beside(engine: Path | None, plugin: Plugin) -> bool:
    return engine is not None and (engine.resolve().parent / plugin.binary).exists()


_MARK = "# A stand-in written by inferstack; see docs/providers.md."


def _is_launcher(path: Path) -> bool:
    with path.open("rb") as file:
        return _MARK.encode() in file.read(256)


def launcher(plugin: Plugin, python: str = sys.executable, root: Path | None = None) -> str:
    """Return the script that starts a stand-in with this project's interpreter and code."""
    source = f"import sys; sys.path.append({str(root or project_root())!r}); from {plugin.module} import main; main()"
    # -P: the engine starts plugins in the program's folder, whose modules must not shadow others.
    return f'#!/bin/sh\n{_MARK}\nexec {shlex.quote(python)} -P -c {shlex.quote(source)} "$@"\n'


def _write_launcher(entry: Path, plugin: Plugin) -> bool:
    """Write the launcher unless it is current, and return whether it was written."""
    if entry.is_symlink():
        entry.unlink()
    entry.mkdir(parents=True, exist_ok=True)
    target, text = entry / plugin.binary, launcher(plugin)
    if target.is_file() and target.read_text() == text:
        return False
    handle, name = tempfile.mkstemp(dir=entry, prefix=".new-")
    with os.fdopen(handle, "w") as file:
        file.write(text)
        os.fchmod(file.fileno(), 0o755)
    Path(name).replace(target)
    return True


def _link(entry: Path, folder: Path) -> None:
    """Make ``entry`` a link to the vendor's folder; it may replace a stand-in."""
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    temporary = entry.with_name(f".{entry.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(folder)
    temporary.replace(entry)
