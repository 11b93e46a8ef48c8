"""``__main__.py``: what it reads, refuses, and exports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pulumi
import pytest
import yaml
from pulumi.runtime.rpc import _special_secret_sig, _special_sig_key

from components.platform.settings import ROLES, PlatformSettings
from inferstack.project import project_root
from tests.program.conftest import STACKS

if TYPE_CHECKING:
    from tests.program.conftest import Machine, Recording

ONE_GPU = {"nvidia.com/gpu": 1}
JOB = {"metadata": {"name": "a"}, "spec": {"model": "bert", "resources": {"requests": ONE_GPU, "limits": ONE_GPU}}}


def test_the_program_is_short() -> None:
    assert len((project_root() / "__main__.py").read_text().splitlines()) < 60


def test_the_stacks_are_there() -> None:
    assert {"local", "existing"} <= set(STACKS)


@pytest.mark.parametrize("stack", STACKS)
def test_the_settings_of_each_stack_load(stack: str) -> None:
    content = yaml.safe_load((project_root() / "stacks" / f"Pulumi.{stack}.yaml").read_text())
    # Pulumi's own key, for stacks whose secrets a team shares.
    shared = {"secretsprovider"} if content["config"]["inferstack:place"] == "aws" else set()
    assert content.keys() == {"config"} | shared
    loaded = PlatformSettings.load({key.removeprefix("inferstack:"): v for key, v in content["config"].items()})
    assert loaded.place == content["config"]["inferstack:place"]


def test_the_project_declares_the_keys_that_the_program_knows() -> None:
    declared = yaml.safe_load((project_root() / "Pulumi.yaml").read_text())["config"]
    assert list(declared) == ["place", *ROLES]
    assert {declared[role]["type"] for role in ROLES} == {"object"}
    # An object that no stack names is empty: all its defaults are the role's own.
    assert [declared[role]["default"] for role in ROLES] == [{}] * len(ROLES)


def test_the_exports(local: Recording, existing: Recording, machine: Machine) -> None:
    exports = local.exports()
    content = exports.pop("kubeconfigContent")
    assert content[_special_sig_key] == _special_secret_sig, "a kubeconfig holds keys"
    assert content["value"] == machine.rehearsal.read_text()
    assert exports == {
        "kubeconfig": str(machine.rehearsal),
        "endpoints": {"nlp/nlp-model-001": "http://nlp-model-001.nlp.svc"},
        "jobs": [{"job": "nlp/nlp-model-001", "model": "bert-base-uncased", "replicas": "8"}],
    }
    assert existing.exports()["kubeconfig"] == str(machine.other)
    assert existing.exports()["jobs"] == []


def test_a_preview_registers_what_the_update_does(machine: Machine, local: Recording) -> None:
    preview = machine.run("local", preview=True)
    assert preview.resources == local.resources


def test_two_runs_register_the_same(machine: Machine, existing: Recording) -> None:
    assert machine.run("existing").resources == existing.resources


def test_the_stacks_settings_go_before_the_defaults(machine: Machine) -> None:
    recording = machine.run(
        "existing",
        gpu={"mig": {"strategy": "single"}},
        tenancy={"tenants": {"nlp": {"gpus": 3}}, "priorityClasses": {"batch": 7}},
        inference={"operator": {"image": "mine"}, "jobs": [JOB], "waitSeconds": 42},
    )
    policy = recording.kind("ClusterPolicyPatch")[0].inputs["spec"]
    assert policy["mig"] == {"strategy": "single"}
    assert recording.kind("ResourceQuota")[0].inputs["spec"]["hard"]["requests.nvidia.com/gpu"] == "3"
    # Mappings are merged key by key: the classes that the stack does not name keep their value.
    values = {
        resource.inputs["metadata"]["name"]: resource.inputs["value"] for resource in recording.kind("PriorityClass")
    }
    assert values == {"serving-critical": 1_000_000, "serving": 100_000, "batch": 7}
    pod = recording.kind("Deployment")[0].inputs["spec"]["template"]["spec"]
    assert pod["containers"][0]["image"] == "mine"
    assert pod["containers"][0]["resources"]["limits"] == {"memory": "512Mi"}
    annotations = recording.kind("InferenceJob")[0].inputs["metadata"]["annotations"]
    assert annotations["pulumi.com/timeoutSeconds"] == "42"


def test_a_job_that_leaves_its_replicas_to_the_default(machine: Machine) -> None:
    exports = machine.run("existing", inference={"jobs": [JOB]}).exports()
    assert exports["jobs"] == [{"job": "nlp/a", "model": "bert", "replicas": "1"}]


@pytest.mark.parametrize(
    ("over", "message"),
    [
        ({"gpu": {"mig": {"strategyy": "mixed"}}}, "inferstack:gpu.mig.strategyy: unknown key; did you mean strategy?"),
        ({"cluster": {"zone": []}}, "inferstack:cluster.zone: unknown key; did you mean zones?"),
        ({"addon": {"timeoutSeconds": "30m"}}, "inferstack:addon.timeoutSeconds: input should be a valid integer"),
        (
            {"tenancy": {"tenants": {"nlp": {"cpu": "4 cores"}}}},
            "inferstack:tenancy.tenants.nlp.cpu: expected a quantity",
        ),
        ({"inference": {"jobs": [{**JOB, "spec": {}}]}}, "inferstack:inference.jobs[0].spec.model: is required."),
        ({"place": "moon"}, 'inferstack:place: this release does not offer "moon"; it offers local, existing, aws.'),
        ({"place": None}, "inferstack:place: is required"),
        ({"gpus": {}}, "inferstack:gpus: unknown key; did you mean inferstack:gpu?"),
        (
            {"cluster": {"fleet": {"a": {"instanceType": "p4d.24xlarge"}}}},
            "inferstack:cluster.fleet: only the place local",
        ),
        ({"cluster": {"context": "gpu-clustr"}}, "inferstack:cluster.context: "),
    ],
)
def test_invalid_setting_ends_program(machine: Machine, over: dict[str, Any], message: str) -> None:
    assert machine.refusal("existing", **over).startswith(message)


def test_what_two_roles_say_together_is_checked_before_anything_is_registered(machine: Machine) -> None:
    group = {"instanceType": "p5.48xlarge", "migLayout": "all-1g.5gb"}
    message = machine.refusal("local", cluster={"fleet": {"h100": group}}, inference={})
    assert message.startswith('inferstack:cluster.fleet.h100.migLayout: layout "all-1g.5gb" does not fit')
    message = machine.refusal("local", inference={"jobs": [JOB, JOB]})
    assert message.startswith('inferstack:inference.jobs[1].metadata.name: "a" in namespace nlp is also')


def test_a_role_that_is_no_object(machine: Machine) -> None:
    # Set without --path: `pulumi config set inferstack:gpu mixed`; Pulumi's own error names the key.
    assert "inferstack:gpu" in machine.refusal("existing", pulumi.ConfigTypeError, gpu="mixed")
    message = machine.refusal("existing", gpu='"mixed"')
    assert message == 'inferstack:gpu: expected a mapping of settings, got "mixed".'
