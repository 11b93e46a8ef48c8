"""The Prometheus operator: has the rehearsal's Prometheus scrape what PodMonitors name and record what rules say."""

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
"""How soon a configuration that was refused is offered again."""

log = logging.getLogger("prometheus")


class PrometheusOperator:
    """Keep Prometheus' configuration.

    Args:
        kube: connected client.
        folder: of Prometheus.
        port: of Prometheus, on loopback.
        load_port: of the load simulator.
    """

    def __init__(self, kube: KubeClient, *, folder: Path, port: int, load_port: int) -> None:
        self._folder, self._port = folder, port
        self._load = f"127.0.0.1:{load_port}"
        self._changed = asyncio.Event()
        self._changed.set()  # what an earlier agent wrote may not have been read
        # The kinds come with Prometheus' chart.
        self._monitors = Informer(kube, _API_VERSION, "PodMonitor", on_change=self._spec_changed, optional=True)
        self._rules = Informer(kube, _API_VERSION, "PrometheusRule", on_change=self._spec_changed, optional=True)
        self.informers: Mapping[str, Informer] = {"pod monitors": self._monitors, "rules": self._rules}

    def has_monitors(self) -> bool:
        """Return whether a monitor asks for anything to be scraped."""
        return bool(self._monitors.objects)

    async def run(self) -> None:
        """Work until cancelled."""
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
                # Changes come in bursts; one look takes them all.
                await asyncio.sleep(pause or _BATCH_SECONDS)
                if pause:
                    self._changed.set()

    def write(self) -> None:
        """Write configuration and rule files, and remove those of rules that are gone."""
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
        """Have Prometheus read its files; return when to try again where it did not."""
        try:
            async with http.post(f"http://127.0.0.1:{self._port}/-/reload") as answer:
                if answer.status == 200:
                    return None
                log.warning("Prometheus refuses its configuration: %s", (await answer.text()).strip())
                return _REFUSED_SECONDS
        except (aiohttp.ClientError, TimeoutError):
            return _BATCH_SECONDS  # it is starting, or away


def _write(path: Path, content: Object) -> None:
    # JSON is YAML. Whole or not at all: Prometheus may read at any time.
    fresh = path.with_suffix(".partial")
    fresh.write_text(json.dumps(content, indent=1) + "\n")
    fresh.replace(path)
