"""Requirements of Cilium and WireGuard on nodes, as a table, and checks of nodes. Pure: facts are arguments."""

from __future__ import annotations

import enum
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from components.security.settings import Cni, KubeProxy, Routing, SecuritySettings
from inferstack.apimachinery.objects import Object

_CILIUM = "Cilium documentation, operations/system_requirements"
_WIREGUARD = "Cilium documentation, security/network/encryption-wireguard"
_AWS = "Cilium documentation, installation/cni-chaining-aws-cni"

WIREGUARD_OVERHEAD = 80
"""Overhead of WireGuard in bytes per packet, as in Cilium (pkg/mtu), with room for an outer IPv6 header."""
TUNNEL_OVERHEAD = 50
"""Overhead of VXLAN in bytes per packet: IPv4 20, UDP 8, VXLAN 8, inner Ethernet 14 (pkg/mtu)."""
LEAST_MTU = 1280
"""Minimum MTU of a link in bytes (RFC 8200, section 5)."""

Version = tuple[int, ...]


class Feature(enum.StrEnum):
    """A feature of a stack with requirements on nodes."""

    CILIUM = "Cilium"
    WIREGUARD = "WireGuard encryption"
    IPTABLES = "masquerading by iptables"
    TUNNEL = "VXLAN"
    WASM = "WebAssembly"


class Need(enum.StrEnum):
    """Kind of a requirement."""

    KERNEL = "kernel"
    """Minimum kernel release."""
    OPTION = "option"
    """A kernel option, built in or as a module."""
    ARCHITECTURE = "architecture"
    """One of these values, separated by commas."""
    CONTAINERD = "containerd"
    """Minimum release of the container runtime in its release line, or a later line."""


@dataclass(frozen=True)
class Prerequisite:
    """One requirement: the feature, the required value, and the source."""

    feature: Feature
    need: Need
    value: str
    source: str
    remedy: str


def _options(feature: Feature, source: str, *names: str) -> tuple[Prerequisite, ...]:
    remedy = "use a kernel with it; those of EKS, Ubuntu, Debian and RHEL have it"
    return tuple(Prerequisite(feature, Need.OPTION, f"CONFIG_{name}", source, remedy) for name in names)


PREREQUISITES = (
    Prerequisite(Feature.CILIUM, Need.ARCHITECTURE, "amd64,arm64", _CILIUM, "keep such nodes out of the cluster"),
    Prerequisite(
        Feature.CILIUM, Need.KERNEL, "5.10", _CILIUM, "use a newer image; RHEL 8.10 and its derivatives qualify"
    ),
    Prerequisite(
        Feature.WIREGUARD, Need.KERNEL, "5.6", _WIREGUARD, "use a newer image, or load the module and declare it"
    ),
    *_options(Feature.CILIUM, _CILIUM, "BPF", "BPF_SYSCALL", "NET_CLS_BPF", "BPF_JIT", "NET_CLS_ACT"),
    *_options(Feature.CILIUM, _CILIUM, "NET_SCH_INGRESS", "CRYPTO_SHA1", "CRYPTO_USER_API_HASH", "CGROUPS"),
    *_options(Feature.CILIUM, _CILIUM, "CGROUP_BPF", "PERF_EVENTS", "SCHEDSTATS", "FIB_RULES"),
    *_options(Feature.IPTABLES, _CILIUM, "NETFILTER_XT_SET", "IP_SET", "IP_SET_HASH_IP", "NETFILTER_XT_MATCH_COMMENT"),
    *_options(Feature.TUNNEL, _CILIUM, "VXLAN"),
    *_options(Feature.WIREGUARD, _WIREGUARD, "WIREGUARD"),
    Prerequisite(
        Feature.WASM,
        Need.CONTAINERD,
        "1.6.25,1.7.7",
        "runwasi documentation, getting-started/demos",
        "use a newer image, or leave the node out of inferstack:wasm.nodeSelector",
    ),
)
"""Requirements on nodes. Cilium's minimum kernel is that of 1.18 and later; 1.20's documentation could not be read."""

AWS_CNI = "1.11.2"
"""Minimum version of the AWS VPC CNI for chaining (Cilium documentation, installation/cni-chaining-aws-cni)."""


@dataclass(frozen=True)
class NodeFacts:
    """Known facts about a node. None and absent keys are unknown and do not fail a check."""

    name: str
    """Name of the node, or the settings key with the facts."""
    kernel: str | None = None
    """Kernel release, as printed by `uname -r`."""
    architecture: str | None = None
    """Architecture, as in Kubernetes."""
    runtime: str | None = None
    """Container runtime as the kubelet reports it, such as containerd://1.7.27."""
    config: Mapping[str, str] = field(default_factory=dict)
    """Kernel options by name: y, m, or n (known to be off)."""


@dataclass(frozen=True)
class Problem:
    """A requirement that a node does not meet, or that cannot be checked."""

    where: str
    """Node, settings key or object."""
    text: str
    """The problem and its fix, without a full stop."""
    source: str
    """Source of the requirement."""
    known: bool = True
    """False: the requirement cannot be checked, as on a simulated node."""

    def __str__(self) -> str:
        return f"{self.where}: {self.text} ({self.source})."


def features(settings: SecuritySettings, *, wasm: bool = False) -> frozenset[Feature]:
    """Return the features of a stack with requirements on nodes.

    Args:
        settings: the role's settings.
        wasm: whether the wasm role is on; its requirements apply only to its own nodes.
    """
    required = {Feature.WASM} if wasm else set()
    if not settings.wireguard:
        return frozenset(required)
    required |= {Feature.CILIUM, Feature.WIREGUARD}
    if settings.cilium.cni is Cni.ONLY:
        # Chained, the AWS CNI masquerades; alone, Cilium does, by default with iptables.
        required.add(Feature.IPTABLES)
        if settings.cilium.routing is Routing.TUNNEL:
            required.add(Feature.TUNNEL)
    return frozenset(required)


def check(facts: NodeFacts, required: Collection[Feature]) -> list[Problem]:
    """Return the requirements of the given features that a node does not meet."""
    return [problem for row in PREREQUISITES if row.feature in required for problem in _check(facts, row)]


def check_nodes(nodes: Collection[Object], required: Collection[Feature]) -> list[Problem]:
    """Return the requirements that the nodes of a cluster do not meet.

    Args:
        nodes: Node objects as the API server holds them.
        required: of ``features``.
    """
    return [problem for node in nodes for problem in check(facts_of(node), required)]


def facts_of(node: Object) -> NodeFacts:
    """Return the facts about a node in the API server: those of the kubelet, and kernel options published by NFD."""
    info = (node.get("status") or {}).get("nodeInfo") or {}
    prefix = "feature.node.kubernetes.io/kernel-config."
    labels = node["metadata"].get("labels") or {}
    config = {
        f"CONFIG_{key.removeprefix(prefix)}": "y" if value == "true" else value
        for key, value in labels.items()
        if key.startswith(prefix)
    }
    return NodeFacts(
        node["metadata"]["name"],
        info.get("kernelVersion"),
        info.get("architecture"),
        info.get("containerRuntimeVersion"),
        config,
    )


def check_daemonsets(daemonsets: Collection[Object], settings: SecuritySettings) -> list[Problem]:
    """Return the conflicts of Cilium's settings with the DaemonSets of kube-system.

    Args:
        daemonsets: of kube-system, as the API server holds them.
        settings: the role's settings.
    """
    if not settings.wireguard:
        return []
    return list(_conflicts({daemonset["metadata"]["name"]: daemonset for daemonset in daemonsets}, settings))


def parse_kernel(release: str) -> Version | None:
    """Return the leading numbers of a kernel release; None if it has none, as on simulated nodes."""
    match = re.match(r"\d+(\.\d+)+", release)
    return tuple(int(part) for part in match[0].split(".")) if match else None


def _check(facts: NodeFacts, row: Prerequisite) -> Iterator[Problem]:
    if row.need is Need.OPTION:
        if facts.config.get(row.value) in ("n", "false"):
            yield Problem(facts.name, f"{row.feature} needs {row.value}: {row.remedy}", row.source)
    elif row.need is Need.ARCHITECTURE:
        if facts.architecture is not None and facts.architecture not in row.value.split(","):
            text = f"{row.feature} has no images for {facts.architecture}, only for {row.value}: {row.remedy}"
            yield Problem(facts.name, text, row.source)
    elif row.need is Need.CONTAINERD:
        if facts.runtime is not None:
            yield from _check_runtime(facts.name, facts.runtime, row)
    elif facts.kernel is not None:
        yield from _check_kernel(facts.name, facts.kernel, facts.config, row)


def _check_kernel(where: str, release: str, config: Mapping[str, str], row: Prerequisite) -> Iterator[Problem]:
    version, least = parse_kernel(release), parse_kernel(row.value)
    if version is None:
        yield Problem(where, f'the kernel "{release}" cannot be read', row.source, known=False)
    elif least is not None and version < least and not _backported(release, version, config, row.feature):
        text = f"{row.feature} needs Linux {row.value} or newer, found {release}: {row.remedy}"
        yield Problem(where, text, row.source)


def _check_runtime(where: str, runtime: str, row: Prerequisite) -> Iterator[Problem]:
    name, _, release = runtime.partition("://")
    version = parse_kernel(release)
    lines = sorted(parse_kernel(least) or () for least in row.value.split(","))
    if name != "containerd":
        yield Problem(where, f"{row.feature} needs containerd, found {runtime}: {row.remedy}", row.source)
    elif version is None:
        yield Problem(where, f'the container runtime "{runtime}" cannot be read', row.source, known=False)
    elif version < next((least for least in lines if least[:2] == version[:2]), lines[-1]):
        text = f"{row.feature} needs containerd {row.value.replace(',', ' or ')}, found {release}: {row.remedy}"
        yield Problem(where, text, row.source)


def _backported(release: str, version: Version, config: Mapping[str, str], feature: Feature) -> bool:
    """Return whether an older kernel qualifies: RHEL 8.10 for Cilium, a separate module for WireGuard."""
    if feature is Feature.WIREGUARD:
        return config.get("CONFIG_WIREGUARD") in ("y", "m")
    rhel = re.search(r"\.el8_(\d+)", release)
    return rhel is not None and int(rhel[1]) >= 10 and version >= (4, 18)


def _conflicts(daemonsets: Mapping[str, Object], settings: SecuritySettings) -> Iterator[Problem]:
    cilium = settings.cilium
    if cilium.kube_proxy is KubeProxy.REPLACED and "kube-proxy" in daemonsets:
        yield Problem(
            "daemonset/kube-proxy",
            "it conflicts with Cilium's Services: remove it, or set inferstack:security.cilium.kubeProxy to kept",
            "Cilium documentation, network/kubernetes/kubeproxy-free",
        )
    aws = daemonsets.get("aws-node")
    if cilium.cni is Cni.ONLY and aws is not None:
        yield Problem(
            "daemonset/aws-node",
            "it is a second CNI: remove it, or set inferstack:security.cilium.cni to aws-cni",
            _AWS,
        )
    if cilium.cni is Cni.AWS and aws is None:
        yield Problem(
            "daemonset/aws-node",
            "it is missing, and Cilium cannot be chained to it: set inferstack:security.cilium.cni to only",
            _AWS,
        )
    elif cilium.cni is Cni.AWS and aws is not None:
        image = aws["spec"]["template"]["spec"]["containers"][0]["image"]
        tag = re.search(r":v?(\d+\.\d+\.\d+)", image)
        if tag and (parse_kernel(tag[1]) or ()) < (parse_kernel(AWS_CNI) or ()):
            yield Problem("daemonset/aws-node", f"Cilium needs {AWS_CNI} or newer, found {tag[1]}: update it", _AWS)
