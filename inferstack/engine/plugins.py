"""Which plugins the engine gets: the vendor's where they can be had, else the stand-ins.

`prepare` puts one entry for each into ``PULUMI_HOME/plugins``: a link to the vendor's folder, or a launcher of the
stand-in. The engine looks there after PATH (which `engine.Engine.environment` tells it to leave out, so that the
choice is made in one place) and beside its own binary, where a vendor's release keeps its language hosts.
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
    """A plugin the engine asks for, and what can stand in for it."""

    kind: str
    """``language`` or ``resource``: the engine's words."""
    name: str
    distribution: str
    """The Python distribution whose version the plugin must have."""
    module: str
    """Module of the stand-in, with a ``main``."""
    sdk: bool = True
    """Whether the stand-in uses the Python SDK, or only its protocol."""

    @property
    def version(self) -> str:
        """The version that the installed SDK asks the engine for."""
        return importlib.metadata.version(self.distribution)

    @property
    def binary(self) -> str:
        """Name of the executable."""
        return f"pulumi-{self.kind}-{self.name}"

    @property
    def folder(self) -> str:
        """Name of its folder below ``plugins``."""
        return f"{self.kind}-{self.name}-v{self.version}"


PLUGINS = (
    Plugin("language", "python", "pulumi", "standins.python_host.language_host"),
    Plugin("resource", "kubernetes", "pulumi-kubernetes", "standins.kubernetes.server", sdk=False),
)


@dataclass(frozen=True)
class Choice:
    """Where one plugin comes from."""

    plugin: Plugin
    origin: str
    """``vendor`` or ``stand-in``."""
    path: Path
    """The vendor's executable, or the launcher of the stand-in."""

    @property
    def name(self) -> str:
        """Kind and name, for people."""
        return f"{self.plugin.kind} {self.plugin.name}"


def choices(pulumi_home: Path, engine: Path | None = None) -> list[Choice]:
    """Tell the choice for each plugin without writing anything.

    Args:
        pulumi_home: the ``PULUMI_HOME`` that `prepare` fills.
        engine: the engine's binary, where it is known: a vendor's release has the language hosts beside it.
    """
    return [_choose(plugin, pulumi_home, engine) for plugin in PLUGINS]


def prepare(pulumi_home: Path, report: Callable[[str], None], engine: Path | None = None) -> list[Choice]:
    """Put each plugin where the engine finds it and return the choices; safe to repeat and to interrupt."""
    folder = pulumi_home / "plugins"
    folder.mkdir(parents=True, exist_ok=True)
    made = choices(pulumi_home, engine)
    for choice in made:
        entry = folder / choice.plugin.folder
        if choice.origin == "vendor":
            if entry.resolve() != choice.path.parent and not _beside(engine, choice.plugin):
                _link(entry, choice.path.parent)
                report(f"{choice.name} {choice.plugin.version}: the vendor's, {choice.path}")
        elif _write_launcher(entry, choice.plugin):
            report(f"{choice.name} {choice.plugin.version}: stand-in (the vendor's plugin is not installed)")
    return made


def _choose(plugin: Plugin, pulumi_home: Path, engine: Path | None) -> Choice:
    for found in _vendor_places(plugin, pulumi_home, engine):
        if os.access(found, os.X_OK) and found.is_file() and not _is_launcher(found):
            return Choice(plugin, "vendor", found)
    return Choice(plugin, "stand-in", pulumi_home / "plugins" / plugin.folder / plugin.binary)


def _vendor_places(plugin: Plugin, pulumi_home: Path, engine: Path | None) -> list[Path]:
    """Return where the vendor's executable may be, best first.

    Folders of ``plugins`` carry the version in their name. A language host has no version of its own choosing: it
    belongs to the engine it was released with, so the one beside the engine, on PATH or in ``~/.pulumi/bin`` is taken.
    """
    user = Path.home() / ".pulumi"
    places = [home / "plugins" / plugin.folder / plugin.binary for home in (pulumi_home, user)]
    if plugin.kind == "language":
        if engine is not None:
            places.append(engine.resolve().parent / plugin.binary)
        on_path = shutil.which(plugin.binary)
        if on_path:
            places.append(Path(on_path).resolve())
        places.append(user / "bin" / plugin.binary)
    return places


def _beside(engine: Path | None, plugin: Plugin) -> bool:
    return engine is not None and (engine.resolve().parent / plugin.binary).exists()


_MARK = "# A stand-in written by inferstack; see docs/providers.md."


def _is_launcher(path: Path) -> bool:
    with path.open("rb") as file:
        return _MARK.encode() in file.read(256)


def launcher(plugin: Plugin, python: str = sys.executable, root: Path | None = None) -> str:
    """Return the text of the script that starts a stand-in with the interpreter and the code of this project."""
    source = f"import sys; sys.path.append({str(root or project_root())!r}); from {plugin.module} import main; main()"
    # -P: the engine starts plugins in the program's folder, which must not shadow modules.
    return f'#!/bin/sh\n{_MARK}\nexec {shlex.quote(python)} -P -c {shlex.quote(source)} "$@"\n'


def _write_launcher(entry: Path, plugin: Plugin) -> bool:
    """Write the launcher unless it is there already; tell whether it was written."""
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
    """Make ``entry`` a link to the vendor's folder, in place of whatever stand-in was there."""
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    fresh = entry.with_name(f".{entry.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(folder)
    fresh.replace(entry)
