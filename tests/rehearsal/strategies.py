"""Jobs for property tests, good ones and bad ones of all kinds."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from inferstack.apimachinery.objects import Object

_SHARED = st.tuples(
    st.sampled_from(["cpu", "memory"]), st.sampled_from([0, 1, 2, "500m", "1.5", "2Gi", "2048Mi", "2k"])
)
_DEVICES = st.tuples(
    st.sampled_from(["nvidia.com/gpu", "nvidia.com/mig-1g.5gb", "nvidia.com/mig-1g.5gb.me", "example.com/nic"]),
    st.sampled_from([1, "1", 16]),
)
_ODD = st.tuples(
    st.sampled_from(
        ["cpu", "hugepages-2Mi", "disk", "a/b/c", "Nvidia.com/gpu", "nvidia.com/gpu", "nvidia.com/mig-9g.9gb"]
    ),
    st.sampled_from([-1, 0, 1, 17, "0", "08", "1e3", "", "0.5Ki", "500m", "x"]),
)
_AMOUNT_OF = st.lists(st.one_of(_SHARED, _DEVICES, _SHARED, _DEVICES, _ODD), max_size=3).map(dict)
_SHARED_OF = st.lists(st.one_of(_SHARED, _SHARED, _ODD), max_size=3).map(dict)
_METRICS = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["QueueDepth", "OutstandingRequests", "GpuUtilizationPercent", "Cpu"]),
        "target": st.integers(0, 102),
    }
)
_PERCENT = st.sampled_from([49, 50, 95, 99, 100])
_PREDICTIVE = st.fixed_dictionaries(
    {
        "slo": st.fixed_dictionaries(
            {"milliseconds": st.sampled_from([0, 1, 500, 3600001])},
            optional={
                "measure": st.sampled_from(["TimeToFirstToken", "Latency", "Queue", "queue"]),
                "percentile": _PERCENT,
                "confidencePercent": _PERCENT,
            },
        )
    },
    optional={
        "warmReplicas": st.integers(-1, 5),
        "budgetGpus": st.sampled_from([0, 1, 2, 4, 64]),
        "idleSeconds": st.sampled_from([59, 60, 604800, 604801]),
    },
)
_AUTOSCALE = st.fixed_dictionaries(
    {"metrics": st.lists(_METRICS, max_size=3)},
    optional={"minReplicas": st.integers(0, 5), "maxReplicas": st.integers(0, 5), "predictive": _PREDICTIVE},
)
_ENV = st.fixed_dictionaries(
    {"name": st.sampled_from(["A", "B", "1A", ""])},
    optional={
        "value": st.text(max_size=3),
        "secretKeyRef": st.fixed_dictionaries({"name": st.sampled_from(["hub", "Hub"]), "key": st.just("token")}),
    },
)
_RESOURCES = st.one_of(
    st.fixed_dictionaries({"requests": _AMOUNT_OF, "limits": _AMOUNT_OF}),
    _AMOUNT_OF.map(lambda amounts: {"requests": amounts, "limits": amounts}),
    # Beside a GPU that is right.
    st.tuples(_SHARED_OF, _SHARED_OF).map(
        lambda both: {
            "requests": {"nvidia.com/gpu": 2, **both[0]},
            "limits": {**both[1], "nvidia.com/gpu": "2"},
        }
    ),
)
_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "model": st.one_of(st.text(max_size=4), st.from_regex(r"[a-z.]{1,3}(/[A-Z-]{1,3})?\n?", fullmatch=True)),
    "runtime": st.sampled_from(["vllm", "triton", "tgi"]),
    "replicas": st.integers(-1, 6),
    "resources": _RESOURCES,
    "autoscale": _AUTOSCALE,
    "args": st.lists(st.sampled_from(["--model-repository=/m", "-x", ""]), max_size=3),
    "env": st.lists(_ENV, max_size=3),
    "port": st.sampled_from([1023, 1024, 65535, 65536]),
    "cache": st.fixed_dictionaries(
        {"dataset": st.sampled_from(["bert", "b-1", "1b", "Bert", "b-"])},
        optional={
            "path": st.sampled_from(["/", "/a", "/a/b.c", "a", "/a/", "/..", "/a//b", ""]),
            "whenCold": st.sampled_from(["Wait", "StartDegraded", "wait"]),
            "timeoutSeconds": st.sampled_from([0, 1, 604800, 604801]),
        },
    ),
    "placement": st.fixed_dictionaries(
        {"levels": st.lists(st.sampled_from(["leaf", "a.b/c-1", "A.b/c", "a/b/c", "-x", ""]), max_size=9)},
        optional={"prefer": st.sampled_from(["Spread", "Pack", "pack"])},
    ),
    "networks": st.lists(st.sampled_from(["rdma", "a.b", "A", ""]), max_size=9),
    "image": st.sampled_from(["", "a", "a/b:c@sha256:d", "-a"]),
    "priorityClassName": st.sampled_from(["", "high", "a.b", "a..b"]),
    "disruption": st.fixed_dictionaries(
        {}, optional={"maxUnavailable": st.sampled_from([0, 1, 1000, 1001, "0%", "1%", "100%", "101%", "1"])}
    ),
}


@st.composite
def edits(draw: st.DrawFn) -> Object:
    """Other values for one to three fields of the good job: few, so that a good part of the jobs stays good."""
    if draw(st.booleans()):
        return {"resources": draw(_RESOURCES)}
    chosen = draw(st.lists(st.sampled_from(sorted(_FIELDS)), min_size=1, max_size=3, unique=True))
    return {name: draw(_FIELDS[name]) for name in chosen}
