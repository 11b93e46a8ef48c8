"""Process-backed pods: for each bound pod of the platform's own programs, its process on this machine.

The kubelet's habits are kept: a token of the pod's ServiceAccount, probes, restarts with a growing pause
(``CrashLoopBackOff``), SIGTERM and a grace period on deletion, then the removal of the object.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp

from inferstack.kube import ApiError, KubeClient
from inferstack.kube.client import STRATEGIC
from inferstack.rehearsal.agent import FIELD_MANAGER, credentials, process
from inferstack.rehearsal.agent.informer import TROUBLE, Informer
from inferstack.rehearsal.agent.podspec import (
    SELECTOR,
    Command,
    ContainerState,
    PodSpecError,
    Probe,
    build_command,
    make_status,
    make_terminated,
    reported,
)
from inferstack.rehearsal.agent.process import Process

Object = dict[str, Any]

log = logging.getLogger("pods")

_FIRST_BACKOFF = 1.0
_LONGEST_BACKOFF = 30.0
_CALM = 60.0
"""Seconds of running after which the next restart waits the first pause again."""
_SHUTDOWN_GRACE = 5.0
_INSIST_PERIOD = 2.0
_EAGER_PERIOD = 0.25
"""Seconds between readiness probes until the first success: a rehearsal need not wait a whole period."""


_TIME = "%Y-%m-%dT%H:%M:%SZ"


def _now() -> str:
    return datetime.now(UTC).strftime(_TIME)


class PodController:
    """Run the process of each pod that `SELECTOR` names and a node is chosen for.

    Args:
        kube: the agent's own client.
        state_dir: of the rehearsal; logs/ and run/pods/ are below it.
        kubeconfig: the agent's, for the server's address.
        node_lives: tells whether a node's kubelet reports.
    """

    def __init__(
        self, kube: KubeClient, state_dir: Path, *, kubeconfig: Path, node_lives: Callable[[str], bool]
    ) -> None:
        self._kube = kube
        self._state_dir = state_dir
        self._cluster = credentials.cluster_of(kubeconfig)
        self._node_lives = node_lives
        self.pods = Informer(kube, "v1", "Pod", labels=SELECTOR, on_change=self._changed)
        self._runners: dict[str, PodRunner] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._leftovers: dict[str, Process] = {}

    async def run(self) -> None:
        """Work until cancelled, then stop the processes."""
        self._leftovers = await asyncio.to_thread(process.find_leftovers, self._state_dir)
        async with aiohttp.ClientSession() as http:
            self._http = http
            watching = asyncio.create_task(self.pods.run())
            try:
                await self.pods.synced.wait()
                await self._end_orphans()
                await watching
            finally:
                watching.cancel()
                for task in self._tasks.values():
                    task.cancel()
                await asyncio.gather(watching, *self._tasks.values(), return_exceptions=True)

    async def _end_orphans(self) -> None:
        """End processes whose pods went away while no agent ran."""
        for uid, orphan in list(self._leftovers.items()):
            log.info("pid %d: its pod is gone; stopping it", orphan.pid)
            await orphan.stop(_SHUTDOWN_GRACE)
            process.forget(self._state_dir, uid)
        self._leftovers.clear()

    def _changed(self, key: str, pod: Object | None) -> None:
        runner = self._runners.get(key)
        if runner is not None and (pod is None or pod["metadata"]["uid"] != runner.uid):
            runner.vanish()
            self._runners.pop(key)
            runner = None
        if pod is None:
            return
        if runner is not None:
            runner.update(pod)
        elif pod["spec"].get("nodeName"):
            runner = self._runners[key] = PodRunner(
                self._kube, self._http, self._state_dir, self._cluster, pod, node_lives=self._node_lives
            )
            task = asyncio.create_task(runner.run(self._leftovers.pop(runner.uid, None)), name=f"pod {key}")
            self._tasks[runner.uid] = task
            task.add_done_callback(functools.partial(self._ended, runner.uid))

    def _ended(self, uid: str, task: asyncio.Task[None]) -> None:
        self._tasks.pop(uid, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s", task.get_name(), exc_info=error)


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
    ) -> None:
        meta = pod["metadata"]
        self.uid: str = meta["uid"]
        self._name = f"{meta['namespace']}/{meta['name']}"
        self._kube, self._http, self._state_dir, self._cluster = kube, http, state_dir, cluster
        self._node_lives = node_lives
        self._pod = pod
        self._deleted = asyncio.Event()
        self._vanished = False
        self._state = ContainerState()
        self._writing = asyncio.Lock()
        self.update(pod)

    def update(self, pod: Object) -> None:
        """Take a newer form of the pod."""
        self._pod = pod
        if pod["metadata"].get("deletionTimestamp"):
            self._deleted.set()

    def vanish(self) -> None:
        """The object is gone: stop the process, there is nothing to write to."""
        self._vanished = True
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
            # One that has ended for good needs no process; its deletion still is the kubelet's to finish.
            while not self._deleted.is_set() and phase not in ("Succeeded", "Failed"):
                started = asyncio.get_running_loop().time()
                try:
                    running, command = await self._begin(running)
                except (PodSpecError, OSError, *TROUBLE) as error:
                    reason = error.reason if isinstance(error, PodSpecError) else "CreateContainerError"
                    await self._tell(replace(self._state, phase="waiting", reason=reason, message=str(error)))
                else:
                    code = await self._supervise(running, command)
                    ended, running = running, None
                    if self._deleted.is_set():
                        running = ended
                        break
                    if not await self._note_end(code):
                        break
                if asyncio.get_running_loop().time() - started > _CALM:
                    backoff = _FIRST_BACKOFF
                await self._pause(backoff)
                backoff = min(backoff * 2, _LONGEST_BACKOFF)
            await self._deleted.wait()
            await self._remove(running)
        except asyncio.CancelledError:
            if running is not None:
                await asyncio.shield(running.stop(_SHUTDOWN_GRACE))
                process.forget(self._state_dir, self.uid)
            raise

    async def _begin(self, running: Process | None) -> tuple[Process, Command]:
        """Start the process, or take the one that runs, with fresh credentials either way."""
        folder = process.folder_of(self._state_dir, self.uid)
        adopted = running is not None
        port = running.port if running else process.free_port()
        command = build_command(self._pod, port=port)
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
        # One that was taken over was ready or not before: the next probe tells, without a flicker in between.
        ready = reported(self._pod)[1] if adopted else command.readiness is None and command.startup is None
        started = datetime.fromtimestamp(running.created, UTC).strftime(_TIME) if running.created else _now()
        await self._tell(replace(self._state, phase="running", pid=running.pid, ready=ready, started=started))
        return running, command

    async def _supervise(self, running: Process, command: Command) -> int | None:
        """Return the exit code when the process ended, or None when the pod is deleted (it still runs then)."""
        ended = asyncio.create_task(running.wait())
        deleted = asyncio.create_task(self._deleted.wait())
        duties = (self._probe(running, command), self._renew(), self._insist())
        others = [asyncio.create_task(duty) for duty in duties]
        try:
            await asyncio.wait([ended, deleted], return_when=asyncio.FIRST_COMPLETED)
            return ended.result() if ended.done() else None
        finally:
            for task in (ended, deleted, *others):
                task.cancel()
            await asyncio.gather(ended, deleted, *others, return_exceptions=True)

    async def _probe(self, running: Process, command: Command) -> None:
        if command.startup and not await self._until(command.startup, success=True, eager=True):
            await self._unhealthy(running, command, "startup")
            return
        async with asyncio.TaskGroup() as group:
            group.create_task(self._readiness(command.readiness))
            if command.liveness:
                group.create_task(self._liveness(running, command))

    async def _readiness(self, probe: Probe | None) -> None:
        if probe is None:
            await self._tell(replace(self._state, ready=True))
            return
        await asyncio.sleep(probe.initial_delay)
        failures = 0
        while True:
            good = await self._answers(probe)
            failures = 0 if good else failures + 1
            if good != self._state.ready and (good or failures >= probe.failures):
                await self._tell(replace(self._state, ready=good))
            await asyncio.sleep(probe.period if self._state.ready else min(_EAGER_PERIOD, probe.period))

    async def _liveness(self, running: Process, command: Command) -> None:
        assert command.liveness is not None  # noqa: S101  # the caller looked
        await self._until(command.liveness, success=False)
        await self._unhealthy(running, command, "liveness")

    async def _until(self, probe: Probe, *, success: bool, eager: bool = False) -> bool:
        """Probe until the first success (True) or until failures in a row reached the threshold (False)."""
        await asyncio.sleep(probe.initial_delay)
        deadline = asyncio.get_running_loop().time() + probe.period * probe.failures
        failures = 0
        while True:
            good = await self._answers(probe)
            failures = 0 if good else failures + 1
            if good and success:
                return True
            over = asyncio.get_running_loop().time() > deadline if eager else failures >= probe.failures
            if not good and over:
                return False
            await asyncio.sleep(_EAGER_PERIOD if eager else probe.period)

    async def _unhealthy(self, running: Process, command: Command, kind: str) -> None:
        log.warning("%s: the %s probe failed; stopping pid %d", self._name, kind, running.pid)
        await asyncio.shield(running.stop(min(command.grace, _LONGEST_BACKOFF)))

    async def _answers(self, probe: Probe) -> bool:
        try:
            timeout = aiohttp.ClientTimeout(total=probe.timeout)
            url = f"http://127.0.0.1:{probe.port}{probe.path}"
            async with self._http.get(url, timeout=timeout, allow_redirects=False) as answer:
                return 200 <= answer.status < 400
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False

    async def _renew(self) -> None:
        """Write a new token before the old one ends."""
        wait = self._renew_in
        folder = process.folder_of(self._state_dir, self.uid)
        while True:
            await asyncio.sleep(max(wait, 5.0))
            try:
                wait = (await credentials.issue(self._kube, self._pod, self._cluster, folder)).renew_in
            except TROUBLE as error:
                log.warning("%s: no new token: %s", self._name, error)
                wait = 10.0

    async def _insist(self) -> None:
        """Tell again when the status says something else: the node controller unreadies pods of a lost node."""
        while True:
            await asyncio.sleep(_INSIST_PERIOD)
            phase, ready, restarts, _ = reported(self._pod)
            if (phase, ready, restarts) != ("Running", self._state.ready, self._state.restarts):
                await self._tell(self._state)

    async def _note_end(self, code: int | None) -> bool:
        """Write down that the process ended; False when it is not to be started again."""
        lost = code is None
        exit_code = 137 if code is None else code
        reason = "ContainerStatusUnknown" if lost else ("Completed" if code == 0 else "Error")
        message = "its end was not seen: an earlier agent had started it" if lost else ""
        log.warning("%s: pid %s ended with %s", self._name, self._state.pid, "an unknown code" if lost else code)
        last = make_terminated(self._state, exit_code=exit_code, reason=reason, message=message, finished=_now())
        policy = self._pod["spec"].get("restartPolicy", "Always")
        again = policy == "Always" or (policy == "OnFailure" and exit_code != 0)
        self._state = replace(
            self._state, ready=False, last=last, exit_code=exit_code, restarts=self._state.restarts + again
        )
        if not again:
            await self._tell(replace(self._state, phase="terminated"))
        return again

    async def _pause(self, seconds: float) -> None:
        """Wait before the next start, or until the pod is deleted."""
        if self._state.last and self._state.phase == "running":
            name = self._pod["spec"]["containers"][0]["name"]
            message = f"back-off {seconds:.0f}s restarting failed container={name} pod={self._name}"
            await self._tell(replace(self._state, phase="waiting", reason="CrashLoopBackOff", message=message))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._deleted.wait()

    async def _remove(self, running: Process | None) -> None:
        """Stop the process, then take the object away, as the kubelet does at the end of a deletion."""
        if running is not None:
            meta = self._pod["metadata"]
            grace = meta.get("deletionGracePeriodSeconds")
            default = self._pod["spec"].get("terminationGracePeriodSeconds", 30)
            await running.stop(float(default if grace is None else grace))
            log.info("%s: stopped pid %d", self._name, running.pid)
        process.forget(self._state_dir, self.uid)
        if self._vanished:
            return
        body = {
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "gracePeriodSeconds": 0,
            "preconditions": {"uid": self.uid},
        }
        wait = 0.2
        while not self._vanished:
            try:
                await self._kube.request("DELETE", await self._kube.path_of(_named(self._pod)), body=body)
            except ApiError as error:
                if error.not_found or error.conflict:
                    return
                log.debug("%s: %s", self._name, error)
            except TROUBLE as error:
                log.debug("%s: %s", self._name, error)
            else:
                return
            await asyncio.sleep(wait)
            wait = min(wait * 2, 5.0)

    async def _tell(self, state: ContainerState) -> None:
        """Keep a state and write it into the pod's status; a node that is not ready tells nothing."""
        self._state = state
        async with self._writing:
            if self._vanished or not self._node_lives(self._pod["spec"]["nodeName"]):
                return
            body = {"metadata": {"uid": self.uid}, "status": make_status(self._pod, self._state, now=_now())}
            meta = self._pod["metadata"]
            for wait in (0.2, 0.5, 1.0, 2.0, 4.0, 8.0):
                try:
                    await self._kube.patch(
                        "v1", "Pod", meta["name"], body, meta["namespace"],
                        content_type=STRATEGIC, subresource="status", field_manager=FIELD_MANAGER,
                    )  # fmt: skip
                except ApiError as error:
                    if error.not_found or error.conflict:
                        return
                    log.warning("%s: status: %s", self._name, error)
                except TROUBLE as error:
                    log.debug("%s: status: %s", self._name, error)
                else:
                    return
                await asyncio.sleep(wait)


def _named(pod: Mapping[str, Any]) -> Object:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": pod["metadata"]}
