"""The Prometheus operator: configures the rehearsal's Prometheus from PodMonitors and PrometheusRules."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from pathlib import Path

import aiohttp

from inferstack.apimachinery.objects import Object
from inferstack.k8s import KubeClient
from inferstack.k8s.informer import Informer
from rehearsal.simulators.prometheus import config as prometheus_config

_API_VERSION = "monitoring.coreos.com/v1"
_BATCH_SECONDS = 0.2
_REFUSED_SECONDS = 5.0
"""Seconds until a rejected configuration is loaded again."""

log = logging.getLogger("prometheus")


class PrometheusOperator:
    """Maintains the configuration of Prometheus.

    Args:
        kube: connected client.
        folder: folder of Prometheus.
        port: port of Prometheus on loopback.
        load_port: port of the load simulator.
    """

    def __init__(self, kube: KubeClient, *, folder: Path, port: int, load_port: int) -> None:
        self._folder, self._port = folder, port
        self._load = f"127.0.0.1:{load_port}"
        self._changed = asyncio.Event()
        self._changed.set()  # Prometheus may not have loaded an earlier agent's files
        # The Prometheus chart installs these kinds.
        self._monitors = Informer(kube, _API_VERSION, "PodMonitor", on_change=self._spec_changed, optional=True)
        self._rules = Informer(kube, _API_VERSION, "PrometheusRule", on_change=self._spec_changed, optional=True)
        self.informers: Mapping[str, Informer] = {"pod monitors": self._monitors, "rules": self._rules}

    def has_monitors(self) -> bool:
        """Return whether any monitor requests a scrape."""
        return bool(self._monitors.objects)

    async def run(self) -> None:
        """Run until cancelled."""
        async with asyncio.TaskGroup() as group:
            for informer in self.informers.values():
                group.create_task(informer.run())
            group.create_task(self._sync())

    def _spec_changed(self, before: Object | None, after: Object | None) -> None:
        kept = before is not None and after is not None and before.get("spec") == after.get("spec")
        if not kept:
            self._changed.set()

    async def _sync(self) -> None:
        for informer in self.informers.values():
            await informer.synced.wait()
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as http:
            while True:
                await self._changed.wait()
                self._changed.clear()
                self.write()
                pause = await self._reload(http)
                # Changes come in bursts; one pass handles them all.
                await asyncio.sleep(pause or _BATCH_SECONDS)
                if pause:
                    self._changed.set()

    def write(self) -> None:
        """Write the configuration and rule files, and delete the files of removed rules."""
        monitors = [self._monitors.objects[key] for key in sorted(self._monitors.objects)]
        rules = self._folder / "rules"
        rules.mkdir(parents=True, exist_ok=True)
        config = prometheus_config.make_config(
            monitors,
            load=self._load,
            interval=prometheus_config.shortest_interval(monitors),
            rules=str(rules / "*.json"),
        )
        files = {
            f"{key.replace('/', '_')}.json": prometheus_config.make_rule_file(rule)
            for key, rule in self._rules.objects.items()
        }
        for old in rules.glob("*.json"):
            if old.name not in files:
                old.unlink()
        for name, content in files.items():
            _write(rules / name, content)
        _write(self._folder / "prometheus.yml", config)

    async def _reload(self, http: aiohttp.ClientSession) -> float | None:
        """Reload Prometheus; return the seconds until the next attempt if the reload failed."""
        try:
            async with http.post(f"http://127.0.0.1:{self._port}/-/reload") as answer:
                if answer.status == 200:
                    return None
                log.warning("Prometheus refuses its configuration: %s", (await answer.text()).strip())
                return _REFUSED_SECONDS
        except (aiohttp.ClientError, TimeoutError):
            return _BATCH_SECONDS  # Prometheus is starting or not running


def _write(path: Path, content: Object) -> None:
    # JSON is valid YAML. The file is replaced atomically because Prometheus may read it at any time.
    fresh = path.with_suffix(".partial")
    fresh.write_text(json.dumps(content, indent=1) + "\n")
    fresh.replace(path)
