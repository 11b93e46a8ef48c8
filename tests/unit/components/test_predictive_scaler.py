"""The predictive scaler in the autoscaling role: what it takes and refuses, and its objects."""

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
    """Return the role's settings with ``given`` over the defaults."""
    return load_role("autoscaling", AutoscalingSettings, given)


def jobs(**autoscale: Any) -> list[Object]:
    """Return a stack's one job."""
    metrics = [{"type": "QueueDepth", "target": 3}]
    spec = {"model": "a/b", "resources": {"requests": ONE, "limits": ONE}}
    job = {"metadata": {"name": "chat"}, "spec": {**spec, "autoscale": {"metrics": metrics, **autoscale}}}
    return make_jobs(load_role("inference", InferenceSettings, {"jobs": [job]}), ["nlp"])


PREDICTIVE = {"slo": {"milliseconds": 500}}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"intervalSeconds": 0}, "predictive.intervalSeconds: "),
        ({"intervalSeconds": 30}, "predictive.validSeconds: is 60, less than three times intervalSeconds 30"),
        ({"validSeconds": 901}, "predictive.validSeconds: "),
        ({"historyDays": 61}, "predictive.historyDays: "),
        ({"forecast": "ARIMA"}, "predictive.forecast: unknown key"),
    ],
)
def test_settings_that_cannot_be(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as caught:
        settings({"predictive": given})
    assert f"inferstack:autoscaling.{said}" in str(caught.value)


@pytest.mark.parametrize(
    ("given", "url", "said"),
    [
        ({"predictive": {"enabled": False}}, URL, "autoscaling.predictive.enabled or"),
        ({"enabled": False}, None, "autoscaling.enabled is false"),
        ({"adapter": {"enabled": False}}, None, "there is no Prometheus to ask"),
    ],
)
def test_a_job_that_nothing_would_serve_is_refused(given: dict[str, Any], url: str | None, said: str) -> None:
    def look(made: list[Object]) -> None:
        check(settings(given), jobs=made, tenants=["nlp"], prometheus_url=url, chart_values={})

    look(jobs())
    with pytest.raises(UserError) as caught:
        look(jobs(predictive=PREDICTIVE))
    assert str(caught.value).startswith("inferstack:inference.jobs[0].spec.autoscale.predictive: nothing serves it")
    assert said in str(caught.value)


def test_the_deployment() -> None:
    given = settings({"predictive": {"intervalSeconds": 2, "validSeconds": 30, "historyDays": 7}}).predictive
    made = predictive.make_deployment(given, "an-image", URL, 30.0)
    spec = made["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    assert container["args"] == ["--interval=2", "--window=30", "--validity=30", "--history-days=7"]
    assert container["image"] == "an-image"
    assert {entry["name"]: entry["value"] for entry in container["env"]} == {
        "INFERSTACK_HEALTH_PORT": "8080",
        "INFERSTACK_PROMETHEUS_URL": URL,
    }
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    named = settings({"predictive": {"image": "mine"}}).predictive
    pod = predictive.make_deployment(named, "an-image", URL, 30.0)["spec"]["template"]["spec"]
    assert pod["containers"][0]["image"] == "mine"


def test_the_command_takes_these_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    made = predictive.make_deployment(settings().predictive, "an-image", URL, 30.0)
    (container,) = made["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["python", "-m", "inferstack.controllers.scaling"]
    program = importlib.import_module("inferstack.controllers.scaling.__main__")
    monkeypatch.setattr("sys.argv", ["scaling", *container["args"]])
    for entry in container["env"]:
        monkeypatch.setenv(entry["name"], entry["value"])
    options = program._options()
    assert (options.interval, options.window, options.validity, options.history_days) == (5.0, 30.0, 60.0, 14.0)
    assert (options.prometheus_url, options.health_port) == (URL, 8080)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], "--prometheus-url: None"),
        (["--prometheus-url=prometheus:9090"], "--prometheus-url: 'prometheus:9090'"),
        (["--prometheus-url=http://me:pw@p:9090"], "--prometheus-url: 'http://me:pw@p:9090'"),
        ([f"--prometheus-url={URL}", "--interval=0"], "argument --interval: 0"),
        ([f"--prometheus-url={URL}", "--interval=often"], "argument --interval: 'often'"),
        ([f"--prometheus-url={URL}", "--interval=30"], "--validity: 60"),
    ],
)
def test_what_the_command_refuses(
    argv: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program = importlib.import_module("inferstack.controllers.scaling.__main__")
    monkeypatch.delenv("INFERSTACK_PROMETHEUS_URL", raising=False)
    monkeypatch.setattr("sys.argv", ["scaling", *argv])
    with pytest.raises(SystemExit) as ended:
        program._options()
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_its_rights_are_its_own() -> None:
    account, role, binding = predictive.make_rights(rules())
    assert role["rules"] == rules()
    assert binding["roleRef"]["name"] == role["metadata"]["name"] == predictive.NAME != operator_objects.NAME
    [subject] = binding["subjects"]
    assert (subject["name"], subject["namespace"]) == (account["metadata"]["name"], controller.NAMESPACE)


def test_it_is_found_by_its_monitor_and_by_the_rehearsal() -> None:
    labels = predictive.make_deployment(settings().predictive, "i", URL, 30.0)["spec"]["template"]["metadata"]["labels"]
    assert predictive.make_monitor()["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert predictive.make_budget()["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert dict(part.split("=") for part in SELECTOR.split(",")).items() <= labels.items()
