"""Each role's ``desired`` as tables: from node, hardware and policy to what it writes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from inferstack.mig.layout import dump_states, load_states, mig_disabled
from inferstack.mig.mig_parted import dump_config, make_mig_parted_config, parse_config
from rehearsal.hardware import Faults, Hardware, HardwareError, current_states, faults_of, parse_hardware
from rehearsal.simulators.desired import Condition, Desired
from rehearsal.simulators.nodes import device_plugin, discovery, kubelet, mig_manager, virtual_functions
from rehearsal.simulators.nodes.controller import plan
from rehearsal.simulators.nodes.policy import Policy, parse_policy

HARDWARE = {
    "instanceType": "p4d.24xlarge",
    "cpu": "96",
    "memory": "1152Gi",
    "pods": 110,
    "gpu": "A100-SXM4-40GB",
    "gpus": 2,
    "nics": [{"resource": "openshift.io/mlnx_rdma", "vfs": 8}, {"resource": "openshift.io/mlnx_rdma", "vfs": 4}],
}
NIC = {"vendor": "15b3", "deviceID": "101d", "pfNames": ["ens1f0", "ens1f1"], "maxVfs": 8, "linkType": "eth"}
LAYOUTS = {
    **parse_config(dump_config(make_mig_parted_config())),
    **parse_config(
        "version: v1\nmig-configs:\n"
        "  impossible: [{devices: all, mig-enabled: true, mig-devices: {3g.20gb: 2, 1g.5gb: 1}}]\n"
        "  first-only: [{devices: [0], mig-enabled: true, mig-devices: {1g.5gb: 7}}]\n"
    ),
}
MIXED = Policy(strategy="mixed", layouts=LAYOUTS)
DONE = "rehearsal.inferstack.dev/mig-done"
DEVICES = "rehearsal.inferstack.dev/mig-devices"


def hardware(**changes: Any) -> Hardware:
    return parse_hardware(json.dumps({**HARDWARE, **changes}))


def node(
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
    capacity: dict[str, str] | None = None,
    ready: tuple[str, str] | None = None,
) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": ready[0], "reason": ready[1]}] if ready else []
    return {
        "metadata": {"name": "n", "uid": "u", "labels": labels or {}, "annotations": annotations or {}},
        "status": {"capacity": capacity or {}, "allocatable": capacity or {}, "conditions": conditions},
    }


# --- hardware


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        (json.dumps({"cpu": "1"}), "instanceType: missing"),
        (json.dumps({**HARDWARE, "color": 1}), "color: unknown key"),
        (json.dumps({**HARDWARE, "cpu": "many"}), "cpu: expected a quantity"),
        (json.dumps({**HARDWARE, "gpu": "A100"}), "gpu: unknown GPU 'A100'"),
        (json.dumps({**HARDWARE, "gpu": None}), "gpus: 2 contradicts gpu: None"),
        (json.dumps({**HARDWARE, "gpus": 0}), "gpus: 0 contradicts gpu: 'A100-SXM4-40GB'"),
        (json.dumps({**HARDWARE, "pods": "110"}), "pods: '110' is not a count"),
        (json.dumps({**HARDWARE, "nics": [{"vfs": 1}]}), "nics: not a list of"),
        (json.dumps({**HARDWARE, "nics": [{"resource": "a/b", "vfs": -1}]}), "nics.vfs: -1 is not a count"),
        (json.dumps({**HARDWARE, "nics": {}}), "nics: not a list"),
        (json.dumps({**HARDWARE, "nics": [{**NIC, "maxVfs": "8"}]}), "nics.maxVfs: '8' is not a count"),
        (json.dumps({**HARDWARE, "nics": [{**NIC, "linkType": "ETH"}]}), "nics.linkType: 'ETH' is neither eth nor ib"),
        (json.dumps({**HARDWARE, "nics": [NIC, NIC]}), "nics.pfNames: duplicate name"),
        (json.dumps({**HARDWARE, "migSeconds": "1"}), "migSeconds: '1' is not a number of seconds"),
    ],
)
def test_invalid_hardware_is_rejected(text: str, message: str) -> None:
    with pytest.raises(HardwareError) as raised:
        parse_hardware(text)
    assert str(raised.value).startswith(message)


@pytest.mark.parametrize(
    ("annotations", "faults"),
    [
        ({}, Faults()),
        ({"rehearsal.inferstack.dev/lost-gpus": "2"}, Faults(lost_gpus=2)),
        ({"rehearsal.inferstack.dev/lost-gpus": "-2"}, Faults()),
        ({"rehearsal.inferstack.dev/lost-gpus": "x"}, Faults()),
        ({"rehearsal.inferstack.dev/not-ready": "true"}, Faults(not_ready=True)),
        ({"rehearsal.inferstack.dev/not-ready": "false"}, Faults()),
    ],
)
def test_faults_are_read_from_annotations(annotations: dict[str, str], faults: Faults) -> None:
    assert faults_of(node(annotations=annotations)) == faults


# --- kubelet and NICs


def test_kubelet_reports_machine_resources() -> None:
    wanted = kubelet.desired(node(), hardware(), Faults())
    assert wanted.capacity == wanted.allocatable
    assert wanted.capacity == {"cpu": "96", "memory": "1152Gi", "pods": "110", "ephemeral-storage": "100Gi"}


BROKEN = Condition("Ready", "False", "KubeletNotReady", "made not ready by inferstack node not-ready")
MENDED = Condition("Ready", "True", "KubeletReady", "kubelet is posting ready status")


@pytest.mark.parametrize(
    ("ready", "not_ready", "conditions"),
    [
        (None, False, ()),
        (("True", "KubeletReady"), False, ()),
        (("True", "KubeletReady"), True, (BROKEN,)),
        (("False", "KubeletNotReady"), True, (BROKEN,)),
        (("False", "KubeletNotReady"), False, (MENDED,)),
        (("Unknown", "NodeStatusUnknown"), False, ()),
    ],
)
def test_ready_condition(ready: tuple[str, str] | None, not_ready: bool, conditions: tuple[Condition, ...]) -> None:
    assert kubelet.desired(node(ready=ready), hardware(), Faults(not_ready=not_ready)).conditions == conditions


def test_counts_of_nics_with_same_resource_are_added() -> None:
    assert virtual_functions.desired(node(), hardware(), {}).allocatable == {"openshift.io/mlnx_rdma": "12"}
    assert virtual_functions.desired(node(), hardware(nics=[]), {}) == Desired()


def test_virtual_functions_are_published_and_withdrawn() -> None:
    desired = virtual_functions.desired(node(), hardware(nics=[]), {"a/b": 8})
    assert desired.capacity == desired.allocatable == {"a/b": "8"}
    published = {virtual_functions.PUBLISHED: '["a/b"]'}
    assert desired.annotations == published
    gone = virtual_functions.desired(node(annotations=published), hardware(nics=[]), {})
    assert gone.capacity == gone.allocatable == {"a/b": None}
    assert gone.annotations == {virtual_functions.PUBLISHED: None}


def test_virtual_functions_are_added_to_fixed_devices() -> None:
    published = node(annotations={virtual_functions.PUBLISHED: '["openshift.io/mlnx_rdma", "a/b"]'})
    desired = virtual_functions.desired(published, hardware(), {"openshift.io/mlnx_rdma": 4})
    assert desired.allocatable == {"openshift.io/mlnx_rdma": "16", "a/b": None}


# --- policy


def test_policy_defaults() -> None:
    policy = parse_policy({"spec": {}}, {})
    assert (policy.strategy, policy.device_plugin, policy.mig_manager) == ("single", True, True)
    assert policy.layouts is not None
    assert "all-balanced" in policy.layouts


@pytest.mark.parametrize(
    ("data", "layouts", "problem"),
    [
        (None, None, "ConfigMap gpu-operator/cm does not exist"),
        ({}, {}, "ConfigMap gpu-operator/cm has no key config.yaml"),
        ({"config.yaml": "version: v2"}, {}, "ConfigMap gpu-operator/cm: version: 'v2' is not 'v1'"),
    ],
)
def test_invalid_config_map_is_reported_by_policy(data: dict[str, str] | None, layouts: object, problem: str) -> None:
    maps = {} if data is None else {"cm": {"data": data}}
    policy = parse_policy({"spec": {"migManager": {"config": {"name": "cm"}}}}, maps)
    assert (policy.layouts, policy.layouts_problem) == (layouts, problem)


def test_policy_reads_operand_settings() -> None:
    spec = {"mig": {"strategy": "mixed"}, "devicePlugin": {"enabled": False}, "gfd": {"enabled": False}}
    policy = parse_policy({"spec": {**spec, "migManager": {"enabled": False}}}, {})
    assert (policy.strategy, policy.device_plugin, policy.feature_discovery, policy.mig_manager) == (
        "mixed", False, False, False,
    )  # fmt: skip


# --- MIG manager

BALANCED = '[{"1g.5gb":2,"2g.10gb":1,"3g.20gb":1},{"1g.5gb":2,"2g.10gb":1,"3g.20gb":1}]'
WHOLE = dump_states(mig_disabled(2))


@pytest.mark.parametrize(
    ("label", "state", "done", "elapsed", "new_state", "devices"),
    [
        # nothing was asked for: the default layout is there already
        (None, None, None, None, "success", WHOLE),
        # a change: pending until the time is over
        ("all-balanced", "success", "all-disabled", None, "pending", None),
        ("all-balanced", "pending", "all-disabled", 0.4, "pending", None),
        ("all-balanced", "pending", "all-disabled", 1.0, "success", BALANCED),
        # killed in pending: the new agent has no memory of when it began
        ("all-balanced", "pending", "all-disabled", None, "pending", None),
        # a GPU that no entry speaks of stays
        ("first-only", "pending", "all-disabled", 1.0, "success", '[{"1g.5gb":7},null]'),
        # a name that is not in the configuration fails at once
        ("all-blanced", "success", "all-disabled", None, "failed", WHOLE),
        # a layout that the GPU cannot take fails after the try, and the GPUs are as before
        ("impossible", "success", "all-disabled", None, "pending", None),
        ("impossible", "pending", "all-disabled", 1.0, "failed", WHOLE),
        ("all-1g.18gb", "pending", "all-disabled", 1.0, "failed", WHOLE),
        # dealt with: nothing more happens
        ("impossible", "failed", "impossible", None, "failed", None),
        ("all-balanced", "success", "all-balanced", None, "success", None),
        # the same GPUs under another name need no work
        ("all-disabled", "failed", "impossible", None, "success", WHOLE),
    ],
)
def test_mig_manager_state_transitions(
    label: str | None, state: str | None, done: str | None, elapsed: float | None, new_state: str, devices: str | None
) -> None:
    labels = {"nvidia.com/mig.config": label, "nvidia.com/mig.config.state": state}
    annotations = {DONE: done} if done else {}
    seen = node({key: value for key, value in labels.items() if value}, annotations)
    work = mig_manager.desired(seen, hardware(), MIXED, elapsed=elapsed, seconds=1.0)
    assert work.desired.labels == {"nvidia.com/mig.config.state": new_state}
    assert work.desired.annotations == ({} if devices is None else {DEVICES: devices, DONE: label or "all-disabled"})
    assert work.pending == (new_state == "pending")
    assert work.wait == (pytest.approx(1.0 - (elapsed or 0)) if work.pending else None)


@pytest.mark.parametrize(
    "policy",
    [None, Policy(layouts=None), Policy(layouts=LAYOUTS, mig_manager=False)],
    ids=["no operator", "no ConfigMap", "switched off"],
)
def test_gpus_are_unchanged_without_mig_manager(policy: Policy | None) -> None:
    seen = node({"nvidia.com/mig.config": "all-1g.5gb"}, {DEVICES: BALANCED, DONE: "all-balanced"})
    work = mig_manager.desired(seen, hardware(), policy, elapsed=None, seconds=1.0)
    assert dump_states(work.states) == BALANCED
    assert work.desired.labels == {}
    assert work.desired.annotations == {DONE: None}  # a new MIG manager looks at the label again


@pytest.mark.parametrize("memory", ["x", "[null]", '[{"9g.99gb":1},null]'])
def test_mig_devices_of_other_hardware_are_ignored(memory: str) -> None:
    assert current_states(node(annotations={DEVICES: memory}), hardware()) == mig_disabled(2)


# --- discovery and device plugin


def test_no_labels_without_operator_or_gpu() -> None:
    assert discovery.desired(hardware(), None, mig_disabled(2), pending=False).labels == {}
    assert discovery.desired(hardware(gpu=None, gpus=0), MIXED, (), pending=False).labels == {}


def test_nodes_with_sriov_nics_are_labelled() -> None:
    capable = {discovery.SRIOV_CAPABLE: "true"}
    plain, both = hardware(gpu=None, gpus=0, nics=[NIC]), hardware(nics=[NIC])
    assert discovery.desired(plain, None, (), pending=False).labels == {}
    assert discovery.desired(plain, MIXED, (), pending=False).labels == capable
    assert capable.items() < discovery.desired(both, MIXED, mig_disabled(2), pending=False).labels.items()


def test_discovery_labels_with_operator() -> None:
    labels = discovery.desired(hardware(), MIXED, mig_disabled(2), pending=False).labels
    assert labels["feature.node.kubernetes.io/pci-10de.present"] == "true"
    assert labels["nvidia.com/gpu.product"] == "NVIDIA-A100-SXM4-40GB"
    assert labels["nvidia.com/gpu.deploy.device-plugin"] == "true"
    paused = discovery.desired(hardware(), MIXED, mig_disabled(2), pending=True).labels
    assert paused["nvidia.com/gpu.deploy.device-plugin"] == "paused-for-mig-change"
    no_gfd = discovery.desired(hardware(), Policy(feature_discovery=False), mig_disabled(2), pending=False).labels
    assert "nvidia.com/gpu.product" not in no_gfd


_OLD = {"nvidia.com/gpu": "2", "cpu": "96"}


@pytest.mark.parametrize(
    ("known", "states", "pending", "lost", "capacity", "allocatable"),
    [
        ({}, WHOLE, False, 0, {"nvidia.com/gpu": "2"}, {"nvidia.com/gpu": "2"}),
        (_OLD, WHOLE, False, 1, {"nvidia.com/gpu": "2"}, {"nvidia.com/gpu": "1"}),
        (_OLD, WHOLE, False, 9, {"nvidia.com/gpu": "2"}, {"nvidia.com/gpu": "0"}),
        (_OLD, WHOLE, True, 0, {"nvidia.com/gpu": "2"}, {"nvidia.com/gpu": "0"}),
        (
            _OLD,
            '[{"1g.5gb":7},{"1g.5gb":7}]',
            False,
            1,
            {"nvidia.com/gpu": "0", "nvidia.com/mig-1g.5gb": "14"},
            {"nvidia.com/gpu": "0", "nvidia.com/mig-1g.5gb": "7"},
        ),
        # MIG mode on and no instance: the plugin does not start
        (_OLD, "[{},null]", False, 0, {"nvidia.com/gpu": "0"}, {"nvidia.com/gpu": "0"}),
    ],
)
def test_device_plugin_reports_resources(
    known: dict[str, str],
    states: str,
    pending: bool,
    lost: int,
    capacity: dict[str, str],
    allocatable: dict[str, str],
) -> None:
    gpus = load_states(states)
    wanted = device_plugin.desired(
        node(capacity=known), hardware(), MIXED, gpus, pending=pending, faults=Faults(lost_gpus=lost)
    )
    assert (wanted.capacity, wanted.allocatable) == (capacity, allocatable)


def test_resources_are_removed_without_gpu_operator() -> None:
    seen = node(capacity={**_OLD, "nvidia.com/mig-1g.5gb": "0"})
    wanted = device_plugin.desired(seen, hardware(), None, mig_disabled(2), pending=False, faults=Faults())
    assert wanted.capacity == wanted.allocatable == {"nvidia.com/gpu": None, "nvidia.com/mig-1g.5gb": None}


# --- together


def test_success_and_resources_are_written_in_one_step() -> None:
    seen = node(
        {"nvidia.com/mig.config": "all-1g.5gb", "nvidia.com/mig.config.state": "pending"}, {DONE: "all-disabled"}, _OLD
    )
    node_plan = plan(seen, hardware(), MIXED, elapsed=2.0, mig_seconds=1.0)
    assert node_plan.desired.labels["nvidia.com/mig.config.state"] == "success"
    assert node_plan.desired.labels["nvidia.com/mig-1g.5gb.count"] == "14"
    assert node_plan.desired.allocatable["nvidia.com/mig-1g.5gb"] == "14"
    assert node_plan.note == "MIG layout all-1g.5gb: success (applied)"


def test_hardware_sets_mig_duration() -> None:
    seen = node({"nvidia.com/mig.config": "all-1g.5gb", "nvidia.com/mig.config.state": "pending"})
    assert plan(seen, hardware(migSeconds=5), MIXED, elapsed=2.0, mig_seconds=1.0).wait == 3.0
