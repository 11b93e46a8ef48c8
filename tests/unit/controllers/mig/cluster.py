"""A cluster in memory that the decisions about rollouts are tried on."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from inferstack.api import MigRolloutSpec, MigRolloutStatus, Phase
from inferstack.controllers.mig.actions import Action, Cordon, Evict, SetLayout, Uncordon
from inferstack.controllers.mig.cluster_state import OWNER, Budget, ClusterState, Node, Pod
from inferstack.controllers.mig.decision import Decision, decide
from inferstack.controllers.mig.devices import (
    MigSettings,
)
from inferstack.controllers.mig.status import make_status
from inferstack.mig.catalogue import gpu
from inferstack.mig.gpu_operator import COUNT, PRODUCT
from inferstack.mig.layout import GpuState, advertised_resources, apply_layout, mig_disabled
from inferstack.mig.mig_parted import dump_config, make_mig_parted_config, parse_config

MODEL = gpu("A100-SXM4-40GB")
LAYOUTS = parse_config(dump_config(make_mig_parted_config(["A100-SXM4-40GB"])))
SETTINGS = MigSettings(LAYOUTS, "mixed", "all-disabled")
START = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)  # a Monday
CONFIG, STATE = "nvidia.com/mig.config", "nvidia.com/mig.config.state"
NAME = "rollout"


@dataclass
class Machine:
    """A node with two GPUs and its MIG manager."""

    name: str
    label: str | None = "all-3g.20gb"
    state: str | None = "success"
    done: str | None = "all-3g.20gb"
    cordoned: bool = False
    owner: str | None = None
    ready: bool = True
    fails: bool = False
    """The MIG manager fails at any layout but the first."""
    hangs: bool = False
    """The MIG manager never ends at any layout but the first."""
    lost: int = 0
    first: str | None = "all-3g.20gb"
    states: tuple[GpuState, ...] = ()

    def __post_init__(self) -> None:
        self.states = apply_layout(LAYOUTS[self.label or "all-disabled"], MODEL, mig_disabled(2))

    def manage(self) -> None:
        """Let the MIG manager take one step."""
        asked = self.label or "all-disabled"
        if self.state in ("success", "failed") and self.done == asked:
            return
        if self.state != "pending":
            self.state = "pending"
            return
        if asked != self.first and self.hangs:
            return
        self.done = asked
        if asked != self.first and self.fails:
            self.state = "failed"
            return
        self.states = apply_layout(LAYOUTS[asked], MODEL, self.states)
        self.state = "success"

    def node(self) -> Node:
        """The node as the API server has it."""
        advertised = advertised_resources(MODEL, self.states, "mixed", range(self.lost))
        count = advertised.allocatable if self.state != "pending" else {}
        labels = {PRODUCT: MODEL.product, COUNT: "2"}
        labels |= {k: v for k, v in ((CONFIG, self.label), (STATE, self.state), (OWNER, self.owner)) if v}
        return Node(self.name, labels, {k: str(v) for k, v in count.items()}, self.cordoned, self.ready)


@dataclass
class Cluster:
    """Machines, pods and a rollout."""

    machines: dict[str, Machine]
    spec: MigRolloutSpec
    pods: list[Pod] = field(default_factory=list)
    budget: int | None = None
    """Pods of the one job that may be away at a time; None: no budget."""
    now: datetime = START
    status: MigRolloutStatus | None = None
    cordons: int = 0
    """The most nodes that were cordoned for the rollout at one time."""
    lowest: int = 10**9
    """The fewest pods that ran at one time."""
    replicas: int = 0

    def state(self) -> ClusterState:
        """What the operator sees."""
        by_node: dict[str, list[Pod]] = {}
        for pod in self.pods:
            if pod.node:
                by_node.setdefault(pod.node, []).append(pod)
        budgets = []
        if self.budget is not None:
            allowed = max(0, self.running - (self.replicas - self.budget))
            budgets = [Budget("ns", "job", {"matchLabels": {"job": "a"}}, allowed, self.running, self.replicas)]
        nodes = {name: machine.node() for name, machine in self.machines.items()}
        return ClusterState(nodes, by_node, budgets, SETTINGS)

    @property
    def running(self) -> int:
        return sum(bool(pod.node) and pod.ready and not pod.leaving for pod in self.pods)

    def decide(self) -> Decision:
        """Look once."""
        return decide(NAME, self.spec, self.status, self.state(), self.now)

    def turn(self, *, die_after: int | None = None) -> Decision | None:
        """Look, write down, act: as the controller; die after so many writes, None: live."""
        decision = self.decide()
        if die_after == 0:
            return None
        self.status = make_status(decision, generation=1, before=self.status, now=self.now)
        self.status = MigRolloutStatus.model_validate(self.status.manifest())
        for index, action in enumerate(decision.actions):
            if die_after is not None and index + 1 >= die_after:
                return None
            self.do(action)
        self.lowest = min(self.lowest, self.running)
        self.cordons = max(self.cordons, len(self.ours))
        return decision

    def do(self, action: Action) -> None:
        """Do what the API server would."""
        match action:
            case Cordon(name) if not self.machines[name].cordoned or self.machines[name].owner == NAME:
                self.machines[name].cordoned, self.machines[name].owner = True, NAME
            case Uncordon(name) if self.machines[name].owner == NAME:
                self.machines[name].cordoned, self.machines[name].owner = False, None
            case SetLayout(name, layout):
                self.machines[name].label, self.machines[name].state = layout, None
            case Evict(pod):
                if pod.ready and any(b.allowed < 1 for b in self.state().covering([pod])):
                    return
                self.pods = [dataclasses.replace(p, leaving=True) if p.uid == pod.uid else p for p in self.pods]

    def live(self, seconds: float = 1.0) -> None:
        """Let time pass: pods end and come again elsewhere, MIG managers work."""
        self.now += timedelta(seconds=seconds)
        for machine in self.machines.values():
            machine.manage()
        self.pods = [dataclasses.replace(pod, leaving=False, node="") if pod.leaving else pod for pod in self.pods]
        free = [name for name, machine in self.machines.items() if not machine.cordoned and machine.state != "pending"]
        placed = []
        for index, pod in enumerate(self.pods):
            placed.append(dataclasses.replace(pod, node=free[index % len(free)]) if not pod.node and free else pod)
        self.pods = placed

    @property
    def ours(self) -> list[str]:
        """Nodes that are cordoned for the rollout."""
        return [name for name, machine in self.machines.items() if machine.owner == NAME]

    def finish(self, turns: int = 400) -> Decision:
        """Go on until the rollout ends."""
        for _ in range(turns):
            decision = self.turn()
            assert decision is not None
            if decision.phase.final:
                return decision
            self.live(5)
        raise AssertionError(f"no end: {self.status}")

    @property
    def phase(self) -> Phase:
        assert self.status is not None
        return self.status.phase


def make(count: int = 3, *, pods: int = 0, budget: int | None = None, **spec: Any) -> Cluster:
    """Return a cluster whose nodes are all to get other slices."""
    names = [f"n{index}" for index in range(count)]
    nodes = [{"name": name, "layout": "all-1g.5gb"} for name in names]
    rollout_spec = MigRolloutSpec.model_validate({"nodes": nodes, **spec})
    running = [Pod("ns", f"p{i}", f"u{i}", names[i % count], {"job": "a"}) for i in range(pods)]
    return Cluster({name: Machine(name) for name in names}, rollout_spec, running, budget, replicas=pods)
