"""Start, stop and look at one rehearsal."""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psutil

from inferstack.errors import UserError
from inferstack.logs import tail
from inferstack.project import project_root
from inferstack.toolchain.binaries import ensure
from rehearsal import pod_process as pods
from rehearsal.control_plane import component_process as process
from rehearsal.control_plane import kubeconfig, options, pki, ports, probe
from rehearsal.control_plane.components import build_all, build_any
from rehearsal.control_plane.model import Component, ComponentStatus, PlaneConfig, PlaneOptions

Report = Callable[[str], None]
Resolve = Callable[[Sequence[str], Report], Mapping[str, Path]]

# A cold API server on a busy machine of two cores has taken 15 s; four times that is a failure.
_START_SECONDS = 60.0


def _tools(names: Sequence[str], report: Report) -> Mapping[str, Path]:
    return ensure(names, report=report)


class Rehearsal:
    """The control plane below one state folder.

    Args:
        state: the folder; made by `start`.
        resolve: from names of tools to their binaries; downloads or builds what is missing.
    """

    def __init__(self, state: Path, *, resolve: Resolve = _tools) -> None:
        self.state = state.resolve()
        self._resolve = resolve
        self._run = self.state / "run"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.state / "kubeconfig"

    def log_path(self, component: str) -> Path:
        """The file that a component writes its output to."""
        return self.state / "logs" / f"{component}.log"

    @property
    def prometheus_url(self) -> str | None:
        """Address of the rehearsal's Prometheus; None where it has none, or was never started."""
        path = self._run / "ports.json"
        return self._config_or_default().prometheus_url if path.exists() else None

    @property
    def options(self) -> PlaneOptions:
        """What it was started with last; the defaults before the first start."""
        return options.read(self._run / "options.json")

    def start(self, report: Report, *, port: int | None = None, wanted: PlaneOptions | None = None) -> None:
        """Bring all components up that are not; those that are healthy stay as they are, data is kept.

        Safe to repeat, to interrupt and to run twice at once: the second waits for the first.

        Args:
            report: takes a line for each step.
            port: for the API server, instead of the one that was chosen at first.
            wanted: what it is to have, instead of what it had at the last start; what it is not to have is stopped.

        Raises:
            UserError: a component does not come up (with the end of its log), or a port is taken.
        """
        with self._locked(report):
            if wanted is not None:
                options.write(self._run / "options.json", wanted)
            self._start_all(report, port)

    def revive(self, report: Report) -> None:
        """Start again what died of a rehearsal that runs; does nothing where all live, or where it was stopped.

        Raises:
            UserError: as `start`.
        """
        if not self._has_died():
            return
        with self._locked(report):
            if self._has_died():  # nobody has stopped it, or brought it back, meanwhile
                self._start_all(report, None)

    def commands(self, wanted: PlaneOptions | None = None) -> list[list[str]]:
        """Return the commands that `start` would run, without running or writing anything."""
        config = self._config_or_default()
        components = build_all(config if wanted is None else replace(config, options=wanted))
        places = {component.tool: Path(component.tool) for component in components if component.tool}
        return [self._argv(component, places) for component in components]

    def stop(self, report: Report = lambda _: None, *, purge: bool = False) -> None:
        """End all components, last started first, and what the agent runs for pods.

        Args:
            report: takes a line for each step.
            purge: also remove everything below the state folder that belongs to the control plane.
        """
        if not self.state.exists():
            return
        with self._locked(report):
            for component in reversed(build_any(self._config_or_default())):
                self._stop_one(component, report)
            for left in pods.find_leftovers(self.state).values():
                # The agent ends its pods' processes; these are of one that was killed.
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.stop(psutil.Process(left.pid), 10)
            if purge:
                for name in ("etcd", "pki", "run", "logs", "prometheus", "load"):
                    shutil.rmtree(self.state / name, ignore_errors=True)
                self.kubeconfig.unlink(missing_ok=True)

    def status(self) -> list[ComponentStatus]:
        """Return the state of every component, asking each that is alive."""
        components = build_all(self._config_or_default())
        with ThreadPoolExecutor(len(components)) as pool:
            return list(pool.map(self._status, components))

    def _stop_one(self, component: Component, report: Report) -> None:
        path = self._run / f"{component.name}.json"
        record = process.read(path)
        if record and (running := record.process()):
            report(f"stopping {component.name}")
            process.stop(running, component.stop_seconds)
        path.unlink(missing_ok=True)

    def _status(self, component: Component) -> ComponentStatus:
        record = process.read(self._run / f"{component.name}.json")
        if record is None:
            return ComponentStatus(component.name, "stopped")
        running = record.process()
        if running is None:
            detail = f"ended unasked; see {self.log_path(component.name)}"
            return ComponentStatus(component.name, "dead", record.pid, component.ports[0], detail=detail)
        trouble = probe.ask(component.probe, self.state / "pki")
        try:
            memory = running.memory_info().rss
        except psutil.NoSuchProcess:
            memory = None
        state = "unhealthy" if trouble else "running"
        return ComponentStatus(
            component.name, state, record.pid, component.ports[0], record.created, memory, trouble or ""
        )

    def _has_died(self) -> bool:
        names = [component.name for component in build_all(self._config_or_default())]
        records = [process.read(self._run / f"{name}.json") for name in names]
        return any(record is not None and record.process() is None for record in records)

    def _start_all(self, report: Report, port: int | None) -> None:
        binaries = self._binaries(report)
        components = self._prepare(port)
        began = time.monotonic()
        wanted = {component.name for component in components}
        for component in reversed(build_any(self._config_or_default())):
            if component.name not in wanted:
                self._stop_one(component, report)
        waiting = list(components)
        ready: set[str] = set()
        started = 0
        with ThreadPoolExecutor(len(components)) as pool:
            while waiting:
                wave = [component for component in waiting if ready.issuperset(component.needs)]
                started += sum(pool.map(lambda component: self._bring_up(component, binaries, report), wave))
                ready.update(component.name for component in wave)
                waiting = [component for component in waiting if component not in wave]
        if started:
            report(f"control plane ready after {time.monotonic() - began:.1f} s: {self.kubeconfig}")

    def _prepare(self, port: int | None) -> list[Component]:
        """Write certificates and kubeconfigs where needed; return the components."""
        names = [component.name for component in build_any(self._config_or_default())]
        records = [process.read(self._run / f"{name}.json") for name in names]
        process.end_strays(f"{self.state}/", {record.pid for record in records if record})
        running = {number for record in records if record and record.process() for number in record.ports}
        chosen = ports.choose(self._run / "ports.json", running=running, apiserver=port)
        config = PlaneConfig(self.state, chosen, self.options)
        pki.ensure(config.pki, dt.datetime.now(dt.UTC))
        kubeconfig.write_all(config)
        return build_all(config)

    def _config_or_default(self) -> PlaneConfig:
        """The kept configuration; before the first start, one with ports that are free now."""
        path = self._run / "ports.json"
        if path.exists():
            return PlaneConfig(self.state, ports.read(path), self.options)
        return PlaneConfig(self.state, ports.propose(), self.options)

    def _binaries(self, report: Report) -> Mapping[str, Path]:
        names = [component.tool for component in build_all(self._config_or_default()) if component.tool]
        return self._resolve(names, report)

    def _argv(self, component: Component, binaries: Mapping[str, Path]) -> list[str]:
        program = str(binaries[component.tool]) if component.tool else sys.executable
        return [program, *component.args]

    def _bring_up(self, component: Component, binaries: Mapping[str, Path], report: Report) -> bool:
        """Have one component running and ready; return whether it had to be started."""
        path = self._run / f"{component.name}.json"
        argv = self._argv(component, binaries)
        record = process.read(path)
        running = record.process() if record else None
        renewed = self._renewed(component, record) if record else None
        as_wanted = running and record and record.argv == argv and not renewed
        if as_wanted and not probe.ask(component.probe, self.state / "pki"):
            return False
        if running:
            why = "its arguments changed" if record and record.argv != argv else "it does not answer"
            why = f"{renewed} is new" if renewed else why
            report(f"{component.name}: restarting, {why}")
            process.stop(running, component.stop_seconds)
        elif record:
            report(f"{component.name}: it died, starting it again")
        began = time.monotonic()
        if component.prepare:
            component.prepare(self._config_or_default())
        log = self.log_path(component.name)
        fresh = process.start(argv, cwd=project_root(), log=log, record=path, ports=component.ports)
        while trouble := probe.ask(component.probe, self.state / "pki"):
            if fresh.process() is None:
                raise UserError(f"{component.name} ended at its start; the end of {log}:\n{tail(log, 12)}")
            if time.monotonic() - began > _START_SECONDS:
                raise UserError(
                    f"{component.name} is not ready after {_START_SECONDS:.0f} s ({trouble}); the end of {log}:\n"
                    f"{tail(log, 12)}"
                )
            time.sleep(0.05)
        report(f"{component.name} ready ({time.monotonic() - began:.1f} s)")
        return True

    def _renewed(self, component: Component, record: process.Record) -> str | None:
        """Return what the component needs and is younger than it, where that calls for a restart."""
        if not component.restart_with_needs:
            return None
        needed = {name: process.read(self._run / f"{name}.json") for name in component.needs}
        return next((name for name, other in needed.items() if other and other.created > record.created), None)

    @contextlib.contextmanager
    def _locked(self, report: Report) -> Iterator[None]:
        self.state.mkdir(parents=True, exist_ok=True)
        self.state.chmod(0o700)
        path = self.state / "lock"
        with path.open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                report(f"waiting for process {path.read_text() or 'unknown'}, which is starting or stopping it")
                fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            file.truncate()
            file.write(str(os.getpid()))
            file.flush()
            yield
