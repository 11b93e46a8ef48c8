"""The predictive scaler in the autoscaling role: validation of settings, and Kubernetes objects."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from components import controller
from components.autoscaling import predictive
from components.autoscaling.checks import check
from components.autoscaling.settings import AutoscalingSettings
from components.inference import operator_objects
from components.inference.jobs import make_jobs
from components.inference.settings import InferenceSettings
from components.settings import load_role
from inferstack.apimachinery.objects import Object
from inferstack.controllers.scaling.rbac import rules
from inferstack.errors import UserError
from rehearsal.simulators.pods.podspec import SELECTOR

ONE = {"nvidia.com/gpu": 1}
URL = "http://prometheus.invalid:9090"


def settings(given: dict[str, Any] | None = None) -> AutoscalingSettings:
    """Return the settings of the role, with ``given`` over the defaults."""
    return load_role("autoscaling", AutoscalingSettings, given)


def jobs(**autoscale: Any) -> list[Object]:
    """Return the only job of a stack."""
    metrics = [{"type": "QueueDepth", "target": 3}]
    spec = {"model": "a/b", "resources": {"requests": ONE, "limits": ONE}}
    job = {"metadata": {"name": "chat"}, "spec": {**spec, "autoscale": {"metrics": metrics, **autoscale}}}
    return make_jobs(load_role("inference", InferenceSettings, {"jobs": [job]}), ["nlp"])


PREDICTIVE = {"slo": {"milliseconds": 500}}


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"intervalSeconds": 0}, "predictive.intervalSeconds: "),
        ({"intervalSeconds": 30}, "predictive.validSeconds: 60 is less than three times intervalSeconds"),
        ({"validSeconds": 901}, "predictive.validSeconds: "),
        ({"historyDays": 61}, "predictive.historyDays: "),
        ({"forecast": "ARIMA"}, "predictive.forecast: unknown key"),
    ],
)
def test_invalid_setting_reports_its_key(given: dict[str, Any], error: str) -> None:
    with pytest.raises(UserError) as caught:
        settings({"predictive": given})
    assert f"inferstack:autoscaling.{error}" in str(caught.value)


@pytest.mark.parametrize(
    ("given", "url", "error"),
    [
        ({"predictive": {"enabled": False}}, URL, "autoscaling.predictive.enabled"),
        ({"enabled": False}, None, "inferstack:autoscaling.enabled"),
        ({"adapter": {"enabled": False}}, None, "inferstack:autoscaling.prometheusUrl"),
    ],
)
def test_predictive_job_without_scaler_is_rejected(given: dict[str, Any], url: str | None, error: str) -> None:
    def check_stack(stack_jobs: list[Object]) -> None:
        check(settings(given), jobs=stack_jobs, tenants=["nlp"], prometheus_url=url, chart_values={})

    check_stack(jobs())
    with pytest.raises(UserError) as caught:
        check_stack(jobs(predictive=PREDICTIVE))
    assert str(caught.value).startswith("inferstack:inference.jobs[0].spec.autoscale.predictive: ")
    assert error in str(caught.value)


def test_deployment_passes_settings_to_the_command() -> None:
    given = settings({"predictive": {"intervalSeconds": 2, "validSeconds": 30, "historyDays": 7}}).predictive
    deployment = predictive.make_deployment(given, "an-image", URL, 30.0)
    spec = deployment["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    assert container["args"] == ["--interval=2", "--window=30", "--validity=30", "--history-days=7"]
    assert container["image"] == "an-image"
    assert {entry["name"]: entry["value"] for entry in container["env"]} == {
        "INFERSTACK_HEALTH_PORT": "8080",
        "INFERSTACK_PROMETHEUS_URL": URL,
    }
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    custom = settings({"predictive": {"image": "mine"}}).predictive
    pod = predictive.make_deployment(custom, "an-image", URL, 30.0)["spec"]["template"]["spec"]
    assert pod["containers"][0]["image"] == "mine"


def test_command_accepts_the_arguments_of_the_deployment(monkeypatch: pytest.MonkeyPatch) -> None:
    deployment = predictive.make_deployment(settings().predictive, "an-image", URL, 30.0)
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["python", "-m", "inferstack.controllers.scaling"]
    program = importlib.import_module("inferstack.controllers.scaling.__main__")
    monkeypatch.setattr("sys.argv", ["scaling", *container["args"]])
    for entry in container["env"]:
        monkeypatch.setenv(entry["name"], entry["value"])
    options = program._options()
    assert (options.interval, options.window, options.validity, options.history_days) == (5.0, 30.0, 60.0, 14.0)
    assert (options.prometheus_url, options.health_port) == (URL, 8080)


@pytest.mark.parametrize(
    ("argv", "error"),
    [
        ([], "--prometheus-url: None"),
        (["--prometheus-url=prometheus:9090"], "--prometheus-url: 'prometheus:9090'"),
        (["--prometheus-url=http://me:pw@p:9090"], "--prometheus-url: 'http://me:pw@p:9090'"),
        ([f"--prometheus-url={URL}", "--interval=0"], "argument --interval: 0"),
        ([f"--prometheus-url={URL}", "--interval=often"], "argument --interval: 'often'"),
        ([f"--prometheus-url={URL}", "--interval=30"], "--validity: 60"),
    ],
)
def test_invalid_option_is_rejected(
    argv: list[str], error: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program = importlib.import_module("inferstack.controllers.scaling.__main__")
    monkeypatch.delenv("INFERSTACK_PROMETHEUS_URL", raising=False)
    monkeypatch.setattr("sys.argv", ["scaling", *argv])
    with pytest.raises(SystemExit) as exit_info:
        program._options()
    assert exit_info.value.code == 2
    assert error in capsys.readouterr().err


def test_cluster_role_has_only_the_rights_of_the_scaler() -> None:
    account, role, binding = predictive.make_rights(rules())
    assert role["rules"] == rules()
    assert binding["roleRef"]["name"] == role["metadata"]["name"] == predictive.NAME != operator_objects.NAME
    [subject] = binding["subjects"]
    assert (subject["name"], subject["namespace"]) == (account["metadata"]["name"], controller.NAMESPACE)


def test_selectors_match_the_labels_of_the_pod() -> None:
    labels = predictive.make_deployment(settings().predictive, "i", URL, 30.0)["spec"]["template"]["metadata"]["labels"]
    assert predictive.make_monitor()["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert predictive.make_budget()["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert dict(part.split("=") for part in SELECTOR.split(",")).items() <= labels.items()
