"""GPU usage in the Prometheus text exposition format 0.0.4.

Slices are gauges that can be summed over nodes. To get the ratio of a fleet, divide two sums; do not average ratios.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from inferstack.mig.usage import Usage

_Sample = tuple[Mapping[str, str], float]


def make_exposition(usage: Usage) -> str:
    """Return the text of all metrics. Families without samples are omitted."""
    nodes = [({"node": use.node, "gpu": use.model}, use) for use in usage.nodes]
    memory: list[_Sample] = []
    compute: list[_Sample] = []
    for labels, use in nodes:
        used, offered = use.slices(use.used), use.slices(use.instances)
        for at, samples in enumerate((memory, compute)):
            inside = max(0, offered[at] - used[at])
            outside = max(0, use.total[at] - max(offered[at], used[at]))
            for state, count in (("used", used[at]), ("idle", inside), ("uncut", outside)):
                samples.append(({**labels, "state": state}, count))
    priced = [line for line in usage.namespaces if line.usd_per_hour is not None]
    families: list[tuple[str, str, list[_Sample]]] = [
        ("inferstack_mig_gpus", "GPUs of the node.", [(labels, use.gpus) for labels, use in nodes]),
        (
            "inferstack_mig_memory_slices",
            "Memory slices: used by pods, idle in an instance that no pod holds, or uncut, in no instance.",
            memory,
        ),
        ("inferstack_mig_compute_slices", "Compute slices, as inferstack_mig_memory_slices.", compute),
        (
            "inferstack_mig_unusable_memory_slices",
            "Free memory slices that the next pod cannot use without a new layout, on average over what pods ask for.",
            [(labels, use.unusable(usage.mix)) for labels, use in nodes],
        ),
        (
            "inferstack_mig_fragmentation_ratio",
            "Share of the node's free memory slices that is unusable.",
            [(labels, use.fragmentation(usage.mix)) for labels, use in nodes],
        ),
        (
            "inferstack_mig_waiting_instances",
            "Instances that pods without a node ask for.",
            [({"profile": name}, count) for name, count in sorted(usage.pending.items())],
        ),
        (
            "inferstack_mig_namespace_gpus",
            "GPUs, in shares, that the pods of a namespace hold.",
            [({"namespace": line.owner}, float(line.gpus)) for line in usage.namespaces if line.owner],
        ),
        (
            "inferstack_mig_namespace_cost_usd_per_hour",
            "What the pods of a namespace hold, at the price of their share of a GPU.",
            [({"namespace": line.owner}, line.usd_per_hour or 0.0) for line in priced if line.owner],
        ),
        (
            "inferstack_mig_idle_cost_usd_per_hour",
            "What the rest of the GPUs costs.",
            [({}, line.usd_per_hour or 0.0) for line in priced if not line.owner],
        ),
    ]
    return "".join(_family(name, help_text, samples) for name, help_text, samples in families if samples)


def _family(name: str, help_text: str, samples: Iterable[_Sample]) -> str:
    lines = [f"# HELP {name} {_escape(help_text, quotes=False)}", f"# TYPE {name} gauge"]
    for labels, value in samples:
        inside = ",".join(f'{label}="{_escape(text)}"' for label, text in labels.items())
        lines.append(f"{name}{{{inside}}} {value:.12g}" if inside else f"{name} {value:.12g}")
    return "\n".join(lines) + "\n"


def _escape(text: str, *, quotes: bool = True) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quotes else text
