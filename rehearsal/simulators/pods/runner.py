"""The lifecycle of one process-backed pod, as the kubelet manages it.

The lifecycle covers a token of the pod's ServiceAccount, probes, restarts with back-off (``CrashLoopBackOff``), SIGTERM
and a grace period on deletion, and the removal of the object.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp

from inferstack.apimachinery.objects import Object
from inferstack.apimachinery.rfc3339 import format_epoch, format_time
from inferstack.k8s import ApiError, KubeClient
from inferstack.k8s.client import STRATEGIC
from inferstack.k8s.informer import REQUEST_ERRORS
from rehearsal import pod_process as process
from rehearsal.pod_process import Process
from rehearsal.simulators import FIELD_MANAGER
from rehearsal.simulators.pods import credentials
from rehearsal.simulators.pods import probes as probing
from rehearsal.simulators.pods.podspec import (
    Command,
    ContainerState,
    PodSpecError,
    Probe,
    build_command,
    make_status,
    make_terminated,
    reported,
)

log = logging.getLogger("pods")

_FIRST_BACKOFF = 1.0
_LONGEST_BACKOFF = 30.0
_BACKOFF_RESET_SECONDS = 60.0
"""Seconds of running after which the restart back-off is reset."""
SHUTDOWN_GRACE = 5.0
_RESYNC_PERIOD = 2.0


def _now() -> str:
    return format_time(datetime.now(UTC))


class PodRunner:
    """One pod from its start to its removal."""

    def __init__(
        self,
        kube: KubeClient,
        http: aiohttp.ClientSession,
        state_dir: Path,
        cluster: Mapping[str, Any],
        pod: Object,
        *,
        node_lives: Callable[[str], bool],
        prometheus: int | None = None,
    ) -> None:
        meta = pod["metadata"]
        self.uid: str = meta["uid"]
        self._name = f"{meta['namespace']}/{meta['name']}"
        self._kube, self._http, self._state_dir, self._cluster = kube, http, state_dir, cluster
        self._node_lives = node_lives
        self._prometheus = prometheus
        self._pod = pod
        self._deleted = asyncio.Event()
        self._object_deleted = False
        self._state = ContainerState()
        self._writing = asyncio.Lock()
        self.update(pod)

    def update(self, pod: Object) -> None:
        """Store a newer version of the pod."""
        self._pod = pod
        if pod["metadata"].get("deletionTimestamp"):
            self._deleted.set()

    def mark_deleted(self) -> None:
        """Stop the process without writing a status, because the object is gone."""
        self._object_deleted = True
        self._deleted.set()

    async def run(self, adopted: Process | None) -> None:
        """Run until the pod is deleted or the agent stops."""
        phase, _, restarts, ran = reported(self._pod)
        self._state = replace(self._state, restarts=restarts + (1 if ran and adopted is None else 0))
        running = adopted
        if adopted is not None:
            log.info("%s: pid %d runs on", self._name, adopted.pid)
        backoff = _FIRST_BACKOFF
        try:
            # A finished pod needs no process, but the kubelet must still complete its deletion.
            while not self._deleted.is_set() and phase not in ("Succeeded", "Failed"):
                started = asyncio.get_running_loop().time()
                try:
                    running, command = await self._start(running)
                except (PodSpecError, OSError, *REQUEST_ERRORS) as error:
                    reason = error.reason if isinstance(error, PodSpecError) else "CreateContainerError"
                    await self._set_state(replace(self._state, phase="waiting", reason=reason, message=str(error)))
                else:
                    code = await self._supervise(running, command)
                    ended, running = running, None
                    if self._deleted.is_set():
                        running = ended
                        break
                    if not await self._record_exit(code):
                        break
                if asyncio.get_running_loop().time() - started > _BACKOFF_RESET_SECONDS:
                    backoff = _FIRST_BACKOFF
                await self._pause(backoff)
                backoff = min(backoff * 2, _LONGEST_BACKOFF)
            await self._deleted.wait()
            await self._remove(running)
        except asyncio.CancelledError:
            if running is not None:
                await asyncio.shield(running.stop(SHUTDOWN_GRACE))
                process.forget(self._state_dir, self.uid)
            raise

    async def _start(self, running: Process | None) -> tuple[Process, Command]:
        """Start the process or adopt the running one; both get fresh credentials."""
        folder = process.folder_of(self._state_dir, self.uid)
        adopted = running is not None
        port = running.port if running else process.free_port()
        command = build_command(self._pod, port=port, prometheus=self._prometheus)
        issued = await credentials.issue(self._kube, self._pod, self._cluster, folder)
        self._renew_in = issued.renew_in
        if running is None:
            meta = self._pod["metadata"]
            env = {**command.env, "KUBECONFIG": str(issued.kubeconfig)}
            running = await process.start(
                self._state_dir,
                uid=self.uid, pod=self._name, name=meta["name"], argv=command.argv, env=env, port=port,
            )  # fmt: skip
            log.info("%s: started as pid %d, health port %d", self._name, running.pid, port)
        # An adopted process keeps its readiness until the next probe, so that the condition does not flap.
        ready = reported(self._pod)[1] if adopted else command.readiness is None and command.startup is None
        started = format_epoch(running.created) if running.created else _now()
        await self._set_state(replace(self._state, phase="running", pid=running.pid, ready=ready, started=started))
        return running, command

    async def _supervise(self, running: Process, command: Command) -> int | None:
        """Return the exit code of the process, or None if the pod is deleted while the process is running."""
        ended = asyncio.create_task(running.wait())
        deleted = asyncio.create_task(self._deleted.wait())
        duties = (self._probe(running, command), self._renew(), self._resync_status())
        others = [asyncio.create_task(duty) for duty in duties]
        try:
            await asyncio.wait([ended, deleted], return_when=asyncio.FIRST_COMPLETED)
            return ended.result() if ended.done() else None
        finally:
            for task in (ended, deleted, *others):
                task.cancel()
            await asyncio.gather(ended, deleted, *others, return_exceptions=True)

    async def _probe(self, running: Process, command: Command) -> None:
        if command.startup and not await probing.starts(self._http, command.startup):
            await self._unhealthy(running, command, "startup")
            return
        async with asyncio.TaskGroup() as group:
            group.create_task(self._readiness(command.readiness))
            if command.liveness:
                group.create_task(self._liveness(running, command))

    async def _readiness(self, probe: Probe | None) -> None:
        if probe is None:
            await self._set_state(replace(self._state, ready=True))
            return
        await asyncio.sleep(probe.initial_delay)
        failures = 0
        while True:
            good = await probing.answers(self._http, probe)
            failures = 0 if good else failures + 1
            if good != self._state.ready and (good or failures >= probe.failures):
                await self._set_state(replace(self._state, ready=good))
            await asyncio.sleep(probe.period if self._state.ready else min(probing.EAGER_PERIOD, probe.period))

    async def _liveness(self, running: Process, command: Command) -> None:
        assert command.liveness is not None  # noqa: S101  # checked by the caller
        await probing.fails(self._http, command.liveness)
        await self._unhealthy(running, command, "liveness")

    async def _unhealthy(self, running: Process, command: Command, kind: str) -> None:
        log.warning("%s: the %s probe failed; stopping pid %d", self._name, kind, running.pid)
        await asyncio.shield(running.stop(min(command.grace, _LONGEST_BACKOFF)))

    async def _renew(self) -> None:
        """Write a new token before the old one expires."""
        wait = self._renew_in
        folder = process.folder_of(self._state_dir, self.uid)
        while True:
            await asyncio.sleep(max(wait, 5.0))
            try:
                wait = (await credentials.issue(self._kube, self._pod, self._cluster, folder)).renew_in
            except REQUEST_ERRORS as error:
                log.warning("%s: no new token: %s", self._name, error)
                wait = 10.0

    async def _resync_status(self) -> None:
        """Rewrite a status that differs, because the node controller marks pods of a lost node as not ready."""
        while True:
            await asyncio.sleep(_RESYNC_PERIOD)
            phase, ready, restarts, _ = reported(self._pod)
            if (phase, ready, restarts) != ("Running", self._state.ready, self._state.restarts):
                await self._set_state(self._state)

    async def _record_exit(self, code: int | None) -> bool:
        """Record the end of the process; return False if the process must not be restarted."""
        lost = code is None
        exit_code = 137 if code is None else code
        reason = "ContainerStatusUnknown" if lost else ("Completed" if code == 0 else "Error")
        message = "exit not observed: the process was started by an earlier agent" if lost else ""
        log.warning("%s: pid %s ended with %s", self._name, self._state.pid, "an unknown code" if lost else code)
        last = make_terminated(self._state, exit_code=exit_code, reason=reason, message=message, finished=_now())
        policy = self._pod["spec"].get("restartPolicy", "Always")
        again = policy == "Always" or (policy == "OnFailure" and exit_code != 0)
        self._state = replace(
            self._state, ready=False, last=last, exit_code=exit_code, restarts=self._state.restarts + again
        )
        if not again:
            await self._set_state(replace(self._state, phase="terminated"))
        return again

    async def _pause(self, seconds: float) -> None:
        """Wait before the next start, or until the pod is deleted."""
        if self._state.last and self._state.phase == "running":
            name = self._pod["spec"]["containers"][0]["name"]
            message = f"back-off {seconds:.0f}s restarting failed container={name} pod={self._name}"
            await self._set_state(replace(self._state, phase="waiting", reason="CrashLoopBackOff", message=message))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._deleted.wait()

    async def _remove(self, running: Process | None) -> None:
        """Stop the process, then delete the object, as the kubelet does at the end of a deletion."""
        if running is not None:
            meta = self._pod["metadata"]
            grace = meta.get("deletionGracePeriodSeconds")
            default = self._pod["spec"].get("terminationGracePeriodSeconds", 30)
            await running.stop(float(default if grace is None else grace))
            log.info("%s: stopped pid %d", self._name, running.pid)
        process.forget(self._state_dir, self.uid)
        wait = 0.2
        while not self._object_deleted and not await self._is_settled(self._delete(), "removal", refused=logging.DEBUG):
            await asyncio.sleep(wait)
            wait = min(wait * 2, 5.0)

    async def _delete(self) -> None:
        body = {
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "gracePeriodSeconds": 0,
            "preconditions": {"uid": self.uid},
        }
        await self._kube.request("DELETE", await self._kube.path_of(_named(self._pod)), body=body)

    async def _set_state(self, state: ContainerState) -> None:
        """Store a state and write it to the pod's status, unless the node is not ready."""
        self._state = state
        async with self._writing:
            if self._object_deleted or not self._node_lives(self._pod["spec"]["nodeName"]):
                return
            body = {"metadata": {"uid": self.uid}, "status": make_status(self._pod, self._state, now=_now())}
            meta = self._pod["metadata"]
            for wait in (0.2, 0.5, 1.0, 2.0, 4.0, 8.0):
                request = self._kube.patch(
                    "v1", "Pod", meta["name"], body, meta["namespace"],
                    content_type=STRATEGIC, subresource="status", field_manager=FIELD_MANAGER,
                )  # fmt: skip
                if await self._is_settled(request, "status", refused=logging.WARNING):
                    return
                await asyncio.sleep(wait)

    async def _is_settled(self, request: Awaitable[object], what: str, *, refused: int) -> bool:
        """Send a write; return whether no retry is needed, because the write succeeded or the pod no longer exists.

        Args:
            request: a request that names the pod's uid.
            what: description for the log.
            refused: log level of a rejection by the server; connection errors are logged elsewhere.
        """
        try:
            await request
        except ApiError as error:
            if error.not_found or error.conflict:
                return True
            log.log(refused, "%s: %s: %s", self._name, what, error)
        except REQUEST_ERRORS as error:
            log.debug("%s: %s: %s", self._name, what, error)
        else:
            return True
        return False


def _named(pod: Mapping[str, Any]) -> Object:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": pod["metadata"]}
