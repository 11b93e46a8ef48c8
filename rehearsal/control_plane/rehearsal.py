"""Start, stop and inspect one rehearsal."""

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
from rehearsal.control_plane import kubeconfig, pki, ports, probe
from rehearsal.control_plane.components import build_enabled, build_every
from rehearsal.control_plane.model import (
    Component,
    ComponentStatus,
    PlaneConfig,
    PlaneOptions,
    read_options,
    write_options,
)

Report = Callable[[str], None]
Resolve = Callable[[Sequence[str], Report], Mapping[str, Path]]

# A cold start of the API server took 15 s on a busy machine with two cores; four times that is a failure.
_START_SECONDS = 60.0


def _tools(names: Sequence[str], report: Report) -> Mapping[str, Path]:
    return ensure(names, report=report)


class Rehearsal:
    """The control plane of one state folder.

    Args:
        state: the folder; `start` creates it.
        resolve: maps names of tools to binaries; downloads or builds missing ones.
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
        """The file with a component's output."""
        return self.state / "logs" / f"{component}.log"

    @property
    def prometheus_url(self) -> str | None:
        """URL of Prometheus; None if the rehearsal runs none or was never started."""
        path = self._run / "ports.json"
        return self._config_or_default().prometheus_url if path.exists() else None

    @property
    def options(self) -> PlaneOptions:
        """The options of the last start; the defaults before the first start."""
        return read_options(self._run / "options.json")

    def start(self, report: Report, *, port: int | None = None, options: PlaneOptions | None = None) -> None:
        """Start all components that are not healthy. Healthy components and all data stay.

        Safe to repeat and to interrupt. Of two concurrent calls, the second waits for the first.

        Args:
            report: called with one line per step.
            port: new port of the API server; None keeps the present one.
            options: new options; None keeps those of the last start. Components that they disable are stopped.

        Raises:
            UserError: a component does not become ready (the message ends with its log), or a port is in use.
        """
        with self._locked(report):
            if options is not None:
                write_options(self._run / "options.json", options)
            self._start_all(report, port)

    def restart_dead_components(self, report: Report) -> None:
        """Restart the components of a running rehearsal that have ended; do nothing in a stopped rehearsal.

        Raises:
            UserError: as `start`.
        """
        if not self._has_dead_components():
            return
        with self._locked(report):
            if self._has_dead_components():  # another command may have stopped or restarted it meanwhile
                self._start_all(report, None)

    def commands(self, options: PlaneOptions | None = None) -> list[list[str]]:
        """Return the commands that `start` would run; nothing is run or written."""
        config = self._config_or_default()
        components = build_enabled(config if options is None else replace(config, options=options))
        binaries = {component.tool: Path(component.tool) for component in components if component.tool}
        return [self._argv(component, binaries) for component in components]

    def stop(self, report: Report = lambda _: None, *, purge: bool = False) -> None:
        """Stop all components in reverse start order, and the processes of pods.

        Args:
            report: called with one line per step.
            purge: also remove the control plane's data from the state folder.
        """
        if not self.state.exists():
            return
        with self._locked(report):
            for component in reversed(build_every(self._config_or_default())):
                self._stop_one(component, report)
            for pod_process in pods.find_leftovers(self.state).values():
                # The agent stops the processes of its pods; these belong to an agent that was killed.
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.stop(psutil.Process(pod_process.pid), 10)
            if purge:
                for name in ("etcd", "pki", "run", "logs", "prometheus", "load"):
                    shutil.rmtree(self.state / name, ignore_errors=True)
                self.kubeconfig.unlink(missing_ok=True)

    def status(self) -> list[ComponentStatus]:
        """Return the status of every component; running components are probed."""
        components = build_enabled(self._config_or_default())
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
            detail = f"ended unexpectedly; see {self.log_path(component.name)}"
            return ComponentStatus(component.name, "dead", record.pid, component.ports[0], detail=detail)
        probe_error = probe.check(component.probe, self.state / "pki")
        try:
            memory = running.memory_info().rss
        except psutil.NoSuchProcess:
            memory = None
        state = "unhealthy" if probe_error else "running"
        return ComponentStatus(
            component.name, state, record.pid, component.ports[0], record.created, memory, probe_error or ""
        )

    def _has_dead_components(self) -> bool:
        names = [component.name for component in build_enabled(self._config_or_default())]
        records = [process.read(self._run / f"{name}.json") for name in names]
        return any(record is not None and record.process() is None for record in records)

    def _start_all(self, report: Report, port: int | None) -> None:
        binaries = self._binaries(report)
        components = self._prepare(port)
        start_time = time.monotonic()
        enabled = {component.name for component in components}
        for component in reversed(build_every(self._config_or_default())):
            if component.name not in enabled:
                self._stop_one(component, report)
        waiting = list(components)
        ready: set[str] = set()
        started = 0
        with ThreadPoolExecutor(len(components)) as pool:
            while waiting:
                batch = [component for component in waiting if ready.issuperset(component.depends_on)]
                started += sum(pool.map(lambda component: self._ensure_running(component, binaries, report), batch))
                ready.update(component.name for component in batch)
                waiting = [component for component in waiting if component not in batch]
        if started:
            report(f"control plane ready after {time.monotonic() - start_time:.1f} s: {self.kubeconfig}")

    def _prepare(self, port: int | None) -> list[Component]:
        """Allocate ports, write certificates and kubeconfigs; return the enabled components."""
        names = [component.name for component in build_every(self._config_or_default())]
        records = [process.read(self._run / f"{name}.json") for name in names]
        process.stop_unrecorded(f"{self.state}/", {record.pid for record in records if record})
        running = {number for record in records if record and record.process() for number in record.ports}
        allocated = ports.allocate(self._run / "ports.json", running=running, apiserver=port)
        config = PlaneConfig(self.state, allocated, self.options)
        pki.ensure(config.pki, dt.datetime.now(dt.UTC))
        kubeconfig.write_all(config)
        return build_enabled(config)

    def _config_or_default(self) -> PlaneConfig:
        """Return the stored configuration; before the first start, one with ports that are free now."""
        path = self._run / "ports.json"
        if path.exists():
            return PlaneConfig(self.state, ports.read(path), self.options)
        return PlaneConfig(self.state, ports.propose_free(), self.options)

    def _binaries(self, report: Report) -> Mapping[str, Path]:
        names = [component.tool for component in build_enabled(self._config_or_default()) if component.tool]
        return self._resolve(names, report)

    def _argv(self, component: Component, binaries: Mapping[str, Path]) -> list[str]:
        program = str(binaries[component.tool]) if component.tool else sys.executable
        return [program, *component.args]

    def _ensure_running(self, component: Component, binaries: Mapping[str, Path], report: Report) -> bool:
        """Ensure that a component runs and is ready; return whether it was started."""
        path = self._run / f"{component.name}.json"
        argv = self._argv(component, binaries)
        record = process.read(path)
        running = record.process() if record else None
        restarted = self._restarted_dependency(component, record) if record else None
        up_to_date = running and record and record.argv == argv and not restarted
        if up_to_date and not probe.check(component.probe, self.state / "pki"):
            return False
        if running:
            reason = "its arguments changed" if record and record.argv != argv else "its probe fails"
            reason = f"{restarted} was restarted" if restarted else reason
            report(f"{component.name}: restarting, {reason}")
            process.stop(running, component.stop_seconds)
        elif record:
            report(f"{component.name}: ended unexpectedly, restarting")
        start_time = time.monotonic()
        if component.pre_start:
            component.pre_start(self._config_or_default())
        log = self.log_path(component.name)
        started_record = process.start(argv, cwd=project_root(), log=log, record_path=path, ports=component.ports)
        while probe_error := probe.check(component.probe, self.state / "pki"):
            if started_record.process() is None:
                raise UserError(f"{component.name} ended during start-up; the end of {log}:\n{tail(log, 12)}")
            if time.monotonic() - start_time > _START_SECONDS:
                raise UserError(
                    f"{component.name} is not ready after {_START_SECONDS:.0f} s ({probe_error}); the end of {log}:\n"
                    f"{tail(log, 12)}"
                )
            time.sleep(0.05)
        report(f"{component.name} ready ({time.monotonic() - start_time:.1f} s)")
        return True

    def _restarted_dependency(self, component: Component, record: process.ProcessRecord) -> str | None:
        """Return a dependency that started after the component and so requires its restart, None if there is none."""
        if not component.restart_with_dependencies:
            return None
        dependencies = {name: process.read(self._run / f"{name}.json") for name in component.depends_on}
        return next((name for name, other in dependencies.items() if other and other.created > record.created), None)

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
