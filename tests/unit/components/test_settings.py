"""Settings: defaults that are whole and documented, an overlay, and errors that name the key as it was written."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from pydantic import BaseModel, ValidationError

from components.platform.settings import ROLES, PlatformSettings
from components.settings import RoleSettings, defaults_file, find_encrypted, key_path, load_role, merge, variables
from inferstack.apimachinery.objects import Object
from inferstack.errors import UserError

MODELS: dict[str, type[RoleSettings]] = {
    role: hint for role, hint in typing.get_type_hints(PlatformSettings).items() if role in ROLES
}
ONE_GPU = {"requests": {"nvidia.com/gpu": 1}, "limits": {"nvidia.com/gpu": 1}}
FLEET = {"instanceType": "p4d.24xlarge"}


def refusal(role: str, given: object) -> str:
    """Return the error message for a stack that sets ``role`` to ``given``."""
    config: Object = {"place": "local", "tenancy": {"tenants": {"nlp": {}}}, role: given}
    with pytest.raises(UserError) as caught:
        PlatformSettings.load(config)
    return str(caught.value)


def fields(model: type[BaseModel], path: str = "") -> Iterator[str]:
    """Yield the key paths of a model's own leaves: nested models are walked, mappings and lists of models are not."""
    for name, field in model.model_fields.items():
        key = f"{path}{field.alias or name}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from fields(field.annotation, f"{key}.")
        else:
            yield key


def test_every_role_has_settings() -> None:
    assert tuple(sorted(MODELS)) == tuple(sorted(ROLES))
    assert {field.name for field in dataclasses.fields(PlatformSettings)} >= {"place", *ROLES}


@pytest.mark.parametrize("role", ROLES)
def test_defaults_load(role: str) -> None:
    assert load_role(role, MODELS[role], None) == load_role(role, MODELS[role], {})


@pytest.mark.parametrize("role", ROLES)
def test_settings_do_not_change_once_checked(role: str) -> None:
    settings = load_role(role, MODELS[role], None)
    with pytest.raises(ValidationError, match="frozen"):
        setattr(settings, next(iter(MODELS[role].model_fields)), None)


@pytest.mark.parametrize("role", ROLES)
def test_each_variable_is_in_the_defaults_and_no_other(role: str) -> None:
    assert [variable.path for variable in variables(role)] == list(fields(MODELS[role]))


@pytest.mark.parametrize(
    ("role", "variable"),
    [(role, v) for role in ROLES for v in variables(role)],
    ids=lambda value: getattr(value, "path", value),
)
def test_each_default_says_what_it_is_and_why(role: str, variable: Any) -> None:
    text = variable.text
    assert text.endswith("."), f"{role}.{variable.path} has no whole sentence above it"
    # The first sentence says what it is, the next why the default is what it is.
    assert len([part for part in text.split(". ") if part]) >= 2, f"{role}.{variable.path}: no reason for the default"
    if isinstance(variable.default, int) and not isinstance(variable.default, bool):
        unit = text.split()[0].rstrip(",.").lower()
        assert variable.path.lower().endswith(unit), f"{role}.{variable.path}: the unit is neither in text nor name"


def test_a_variable_without_a_comment_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    bare = tmp_path / "defaults.yaml"
    bare.write_text("# One. Why.\na: 1\n\nb:\n  # Two. Why.\n  c: {d: 1}\n  e: 2\n")
    monkeypatch.setattr("components.settings.defaults_file", lambda _: bare)
    documented = variables("any")
    assert [(v.path, v.default, v.text) for v in documented] == [
        ("a", 1, "One. Why."),
        ("b.c", {"d": 1}, "Two. Why."),
        ("b.e", 2, ""),
    ]


@pytest.mark.parametrize("role", ROLES)
def test_an_unknown_key_is_refused_in_every_role(role: str) -> None:
    assert refusal(role, {"qqqq": 1}).startswith(f"inferstack:{role}.qqqq: unknown key; known here: ")


@pytest.mark.parametrize(("role", "path"), [(role, v.path) for role in ROLES for v in variables(role)])
def test_a_misspelt_key_is_refused_with_its_path_and_the_right_name(role: str, path: str) -> None:
    *above, key = path.split(".")
    given: Object = {f"{key}y": None}
    for part in reversed(above):
        given = {part: given}
    assert refusal(role, given).splitlines() == [f"inferstack:{role}.{path}y: unknown key; did you mean {key}?"]


@pytest.mark.parametrize(
    ("role", "given", "expected"),
    [
        ("gpu", {"mig": {"strategyy": "mixed"}}, "gpu.mig.strategyy: unknown key; did you mean strategy?"),
        (
            "gpu",
            {"mig": {"strategy": "x"}},
            "gpu.mig.strategy: input should be 'none', 'single' or 'mixed', got \"x\". It is:",
        ),
        ("gpu", {"mig": None}, "gpu.mig: expected a mapping, got null."),
        ("gpu", "mixed", 'gpu: expected a mapping of settings, got "mixed".'),
        ("gpu", {"driver": {"enabled": "yes"}}, "gpu.driver.enabled: input should be a valid boolean"),
        ("cluster", {"zones": []}, "cluster.zones: needs 1 or more entries, got []."),
        ("cluster", {"zones": "a"}, 'cluster.zones: expected a list, got "a".'),
        ("cluster", {"fleet": {"A_": FLEET}}, "cluster.fleet.A_: string should match pattern"),
        ("cluster", {"fleet": {"a": {}}}, "cluster.fleet.a.instanceType: is required. It is: Type of the machine"),
        (
            "cluster",
            {"fleet": {"a": {"instanceType": "p4d"}}},
            "cluster.fleet.a.instanceType: unknown instance type 'p4d'",
        ),
        (
            "cluster",
            {"fleet": {"a": {**FLEET, "count": "2"}}},
            'cluster.fleet.a.count: input should be a valid integer, got "2"',
        ),
        (
            "cluster",
            {"fleet": {"a": {**FLEET, "nics": [{"vfs": 8}]}}},
            "cluster.fleet.a.nics[0]: needs vendor, deviceID and pfNames, or else resource and vfs.",
        ),
        ("addon", {"mode": "helm"}, "addon.mode: input should be 'auto', 'chart', 'present' or 'rehearsed'"),
        ("addon", {"modes": {"gpu-op": "chart"}}, "addon.modes.gpu-op: input should be 'gpu-operator'"),
        (
            "addon",
            {"timeoutSeconds": "30m"},
            'addon.timeoutSeconds: input should be a valid integer, got "30m". It is: Seconds',
        ),
        ("addon", {"timeoutSeconds": 29}, "addon.timeoutSeconds: input should be greater than or equal to 30, got 29."),
        (
            "tenancy",
            {"tenants": {"a": {"memory": "64GB"}}},
            "tenancy.tenants.a.memory: expected a quantity such as 500m",
        ),
        (
            "tenancy",
            {"tenants": {"a": {"gpus": True}}},
            "tenancy.tenants.a.gpus: input should be a valid integer, got true.",
        ),
        ("tenancy", {"tenants": {"a": {"mig": {"1g.5gb": "1"}}}}, 'tenancy.tenants.a.mig["1g.5gb"]: input should be'),
        (
            "tenancy",
            {"tenants": {"a": {"mig": {"9g": 1}}}},
            "tenancy.tenants.a.mig: no GPU has the MIG profile 9g; there are",
        ),
        (
            "tenancy",
            {"tenants": {"a": {"container": {"cpu": "4"}}}},
            "tenancy.tenants.a.container.cpu: unknown key; known here:",
        ),
        ("tenancy", {"priorityClasses": {"high": 1_000_000_001}}, "tenancy.priorityClasses.high: input should be less"),
        ("inference", {"waitForReady": "no"}, 'inference.waitForReady: input should be a valid boolean, got "no".'),
        (
            "inference",
            {"operator": {"resources": {"requests": {"cpu": 1}}}},
            "inference.operator.resources.requests.cpu: ",
        ),
        (
            "inference",
            {"jobs": [{"metadata": {"name": "a"}, "spec": {}}]},
            "inference.jobs[0].spec.model: is required.",
        ),
    ],
)
def test_a_wrong_value_is_refused_with_the_full_path(role: str, given: object, expected: str) -> None:
    assert refusal(role, given).startswith(f"inferstack:{expected}")


def test_all_wrong_keys_of_a_role_are_told_at_once() -> None:
    message = refusal("addon", {"mode": "helm", "timeoutSeconds": 1, "mirrr": "x"}).splitlines()
    assert [line.split(":")[1] for line in message] == ["addon.mode", "addon.timeoutSeconds", "addon.mirrr"]


def test_a_value_that_fits_no_member_of_a_union_is_told_once_at_its_own_key() -> None:
    spec = {"model": "bert", "resources": {**ONE_GPU, "requests": {"nvidia.com/gpu": 1, "cpu": "x"}}}
    message = refusal("inference", {"jobs": [{"metadata": {"name": "a"}, "spec": spec}]}).splitlines()
    assert len(message) == 1
    assert message[0].startswith(
        "inferstack:inference.jobs[0].spec.resources.requests.cpu: input should be a valid integer"
    )
    assert message[0].endswith('got "x".')


@pytest.mark.parametrize("key", ["wait_seconds", "job_namespace"])
def test_pythons_name_of_a_field_is_no_key(key: str) -> None:
    assert refusal("inference", {key: None}).startswith(f"inferstack:inference.{key}: unknown key; did you mean ")


def test_pythons_name_of_a_field_is_no_key_of_a_job() -> None:
    spec = {"model": "bert", "resources": ONE_GPU, "priority_class_name": "serving"}
    message = refusal("inference", {"jobs": [{"metadata": {"name": "a"}, "spec": spec}]})
    key = "inferstack:inference.jobs[0].spec.priority_class_name"
    assert message == f"{key}: unknown key; did you mean priorityClassName?"


KNOWN = ", ".join(sorted(("place", *ROLES)))


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"gpuu": {}}, "inferstack:gpuu: unknown key; did you mean inferstack:gpu?"),
        ({"zz": {}}, f"inferstack:zz: unknown key; known are {KNOWN}."),
        ({"place": None}, "inferstack:place: is required; this release offers local, existing, aws."),
        ({"place": "moon"}, 'inferstack:place: this release does not offer "moon"; it offers local, existing, aws.'),
    ],
)
def test_keys_of_the_project(config: Object, expected: str) -> None:
    with pytest.raises(UserError) as caught:
        PlatformSettings.load({"place": "local", **config})
    assert str(caught.value) == expected


def test_an_encrypted_value_is_refused_wherever_it_is() -> None:
    secure = {"secure": "v1:abc:def"}
    config = {"place": "local", "gpu": {"mig": {"strategy": secure}}, "inference": {"jobs": [{}, {"spec": secure}]}}

    with pytest.raises(UserError) as refused:
        PlatformSettings.load(config)

    assert [line.split(": ")[0] for line in str(refused.value).splitlines()] == [
        "inferstack:gpu.mig.strategy",
        "inferstack:inference.jobs[1].spec",
    ]


def test_a_key_called_secure_is_no_encrypted_value() -> None:
    assert list(find_encrypted({"a": {"secure": True}, "b": {"secure": "x", "more": "y"}}, "k")) == []


def test_the_overlay_merges_mappings_and_replaces_the_rest() -> None:
    base = {"a": {"b": 1, "c": {"d": [1, 2], "e": 1}}, "f": {"g": 1}}
    over = {"a": {"c": {"d": [3]}}, "f": None, "h": 2}
    assert merge(base, over) == {"a": {"b": 1, "c": {"d": [3], "e": 1}}, "f": None, "h": 2}
    assert base["a"] == {"b": 1, "c": {"d": [1, 2], "e": 1}}


def test_a_stack_keeps_the_defaults_that_it_does_not_name() -> None:
    default = yaml.safe_load(defaults_file("gpu").read_text())
    loaded = load_role("gpu", MODELS["gpu"], {"mig": {"strategy": "single"}}).model_dump(mode="json", by_alias=True)
    assert loaded == merge(default, {"mig": {"strategy": "single"}})
    assert loaded != default


def test_paths_are_those_that_pulumi_takes() -> None:
    assert key_path("inferstack:inference", ("jobs", 0, "spec", "dry-run", "nvidia.com/gpu")) == (
        'inferstack:inference.jobs[0].spec.dry-run["nvidia.com/gpu"]'
    )
