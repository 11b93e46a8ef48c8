"""The API server takes good jobs and refuses malformed ones by the name of the field, and kubectl is at home with them.

Nothing malformed may reach the operator, which runs all the while.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from pydantic import ValidationError

from inferstack.api import InferenceJob, constants, crds
from inferstack.apimachinery.objects import Object
from inferstack.k8s import ApiError, KubeClient
from inferstack.k8s.client import MERGE
from inferstack.toolchain.binaries import ensure
from rehearsal.control_plane import Rehearsal
from tests.rehearsal.malformed import Case, base, cases, merged, named_by_model, named_by_server
from tests.rehearsal.operator_process import MANAGER, Operator, serving
from tests.rehearsal.strategies import edits

pytestmark = pytest.mark.rehearsal

CASES = cases()
IDS = [case.name.replace(" ", "-") for case in CASES]
EDITS = [case for case in CASES if "metadata" not in case.patch]


@pytest.fixture(scope="module")
def operator(plane: Rehearsal, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """A running operator, which installs the CRD; its log must hold no traceback at the end."""
    with serving(plane.kubeconfig, tmp_path_factory.mktemp("operator")) as running:
        yield running


@pytest.fixture
async def good(operator: Operator, kube: KubeClient, namespace: str) -> Object:
    """A good job that is served."""
    await kube.create(placed(base(), namespace), field_manager=MANAGER)
    return await served(kube, namespace)


def placed(job: Object, namespace: str) -> Object:
    """Return a job with its namespace."""
    body: Object = merged(job, {"metadata": {"namespace": namespace}})
    return body


async def served(kube: KubeClient, namespace: str) -> Object:
    """Wait until the one job of a namespace is as ready as its latest spec wants it."""
    async with asyncio.timeout(20):
        async for change, job in kube.watch(constants.API_VERSION, constants.KIND, namespace):
            if change == "BOOKMARK" or "status" not in job:
                continue
            status = job["status"]
            current = status["observedGeneration"] == job["metadata"]["generation"]
            if current and any(c["type"] == "Ready" and c["status"] == "True" for c in status["conditions"]):
                return job
    raise AssertionError("the watch ended")


async def count(kube: KubeClient, namespace: str) -> int:
    """Return how many jobs and Deployments are in a namespace."""
    jobs = await kube.list(constants.API_VERSION, constants.KIND, namespace)
    deployments = await kube.list("apps/v1", "Deployment", namespace)
    return len(jobs["items"]) + len(deployments["items"])


async def test_base_job_of_the_cases_is_valid(good: Object) -> None:
    assert good["status"]["ready"] == "2/2"


@pytest.mark.parametrize("case", CASES, ids=IDS)
async def test_malformed_job_is_rejected_with_the_field_path(
    operator: Operator, kube: KubeClient, namespace: str, case: Case
) -> None:
    with pytest.raises(ApiError) as refused:
        await kube.create(placed(case.job, namespace), field_manager=MANAGER)
    assert refused.value.code in (400, 422)
    assert case.is_named(named_by_server(refused.value)), refused.value.message
    with pytest.raises(ValidationError) as wrong:
        InferenceJob.model_validate(case.job)
    assert case.is_named(named_by_model(wrong.value)), wrong.value
    assert await count(kube, namespace) == 0


async def test_malformed_edits_are_rejected(good: Object, operator: Operator, kube: KubeClient) -> None:
    meta = good["metadata"]
    path = f"/apis/{constants.API_VERSION}/namespaces/{meta['namespace']}/{constants.PLURAL}/{meta['name']}"
    taken = {}
    for case in EDITS:
        try:
            await kube.request("PATCH", path, params={"fieldValidation": "Strict"}, body=case.patch, content_type=MERGE)
            taken[case.name] = "taken"
        except ApiError as error:
            if error.code not in (400, 422) or not case.is_named(named_by_server(error)):
                taken[case.name] = error.message
    assert taken == {}
    after = await kube.get(constants.API_VERSION, constants.KIND, meta["name"], meta["namespace"])
    assert (after["metadata"]["generation"], after["spec"]) == (meta["generation"], good["spec"])


@pytest.mark.parametrize(
    ("replicas", "message"),
    [
        (-1, "spec.replicas: Invalid value: -1"),
        (1001, "spec.replicas"),
        (5, "replicas: must lie between autoscale.minReplicas and autoscale.maxReplicas"),
    ],
    ids=["negative", "too-many", "beyond-autoscale"],
)
async def test_scale_subresource_enforces_bounds(good: Object, kube: KubeClient, replicas: int, message: str) -> None:
    meta = good["metadata"]
    with pytest.raises(ApiError, match=message) as refused:
        await kube.patch(
            constants.API_VERSION,
            constants.KIND,
            meta["name"],
            {"spec": {"replicas": replicas}},
            meta["namespace"],
            subresource="scale",
            field_manager=MANAGER,
        )
    assert refused.value.invalid
    assert (await kube.get(constants.API_VERSION, constants.KIND, meta["name"], meta["namespace"]))["spec"] == (
        good["spec"]
    )


async def test_operator_ignores_rejected_jobs(good: Object, operator: Operator, kube: KubeClient) -> None:
    """It serves the good job beside the refused ones, and has met no error."""
    namespace = good["metadata"]["namespace"]
    for case in CASES:
        with pytest.raises(ApiError):
            await kube.create(
                placed(merged(case.job, {"metadata": {"namespace": namespace}}), namespace), field_manager=MANAGER
            )
    await kube.patch(constants.API_VERSION, constants.KIND, "good", {"spec": {"replicas": 3}}, namespace)
    assert (await served(kube, namespace))["status"]["ready"] == "3/3"
    assert await count(kube, namespace) == 2
    await operator.healthy()
    log = operator.log.read_text()
    assert "Traceback" not in log
    assert "ERROR" not in log


@pytest.fixture(scope="module")
def accepts(operator: Operator, plane: Rehearsal) -> Iterator[Callable[[Object], str]]:
    """A function that says why the API server would refuse a job; nothing where it would take it."""
    with asyncio.Runner() as runner:
        kube = runner.run(KubeClient.connect(plane.kubeconfig))

        def ask(job: Object) -> str:
            try:
                runner.run(kube.create(placed(job, "default"), field_manager=MANAGER, dry_run=True))
            except ApiError as error:
                return error.message
            return ""

        yield ask
        runner.run(kube.close())


@given(edits())
@settings(
    max_examples=600, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_model_and_api_server_agree(accepts: Callable[[Object], str], spec: Object) -> None:
    """What a preview takes must not fail in the update, nor the other way round."""
    job = {**base(), "spec": {**base()["spec"], **spec}}
    try:
        InferenceJob.model_validate(job)
        of_model = ""
    except ValidationError as error:
        of_model = str(error)
    of_server = accepts(job)
    assert bool(of_model) == bool(of_server), f"model: {of_model or 'takes it'}\nserver: {of_server or 'takes it'}"


class Kubectl:
    """The real kubectl, as the administrator, in one namespace."""

    def __init__(self, kubeconfig: Path, namespace: str) -> None:
        binary = ensure(["kubectl"], report=lambda _: None)["kubectl"]
        self._command = [str(binary), "--kubeconfig", str(kubeconfig), "--namespace", namespace]

    async def run(self, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        command = [*self._command, *arguments]
        return await asyncio.to_thread(
            subprocess.run, command, input=given, capture_output=True, text=True, timeout=60, check=False
        )

    async def must(self, *arguments: str) -> str:
        done = await self.run(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def kubectl(plane: Rehearsal, namespace: str) -> Kubectl:
    """Kubectl in the test's namespace."""
    return Kubectl(plane.kubeconfig, namespace)


async def test_kubectl_get_shows_the_columns(good: Object, kubectl: Kubectl) -> None:
    head, row = (await kubectl.must("get", "ij")).splitlines()
    assert head.split() == ["NAME", "READY", "GPUS", "PROFILE", "AGE"]
    assert row.split()[:4] == ["good", "2/2", "2", "whole"]
    head, row = (await kubectl.must("get", "inferencejobs", "-o", "wide")).splitlines()
    assert head.split() == ["NAME", "READY", "GPUS", "PROFILE", "AGE", "MODEL", "RUNTIME", "REASON"]
    assert row.split()[5:] == ["bert-base-uncased", "text-embeddings-inference", "AllReplicasReady"]
    assert "good" in await kubectl.must("get", "gpu")  # the category


async def test_kubectl_scale(good: Object, kubectl: Kubectl, kube: KubeClient) -> None:
    await kubectl.must("scale", "ij/good", "--replicas", "4")
    await kubectl.must("wait", "ij/good", "--for", "jsonpath={.status.ready}=4/4", "--timeout", "20s")
    refused = await kubectl.run("scale", "ij/good", "--replicas", "5")
    assert refused.returncode == 1
    assert "spec.replicas" in refused.stderr
    scale = await kube.request(
        "GET",
        f"/apis/{constants.API_VERSION}/namespaces/{good['metadata']['namespace']}/{constants.PLURAL}/good/scale",
    )
    assert (scale["status"]["replicas"], scale["status"]["selector"]) == (4, "inferstack.dev/job=good")


@pytest.mark.parametrize(
    "path", ["inferencejob", "ij.spec", "ij.spec.resources.limits", "ij.spec.autoscale", "ij.status.conditions.reason"]
)
async def test_kubectl_explain_shows_the_descriptions_of_the_models(
    operator: Operator, kubectl: Kubectl, path: str
) -> None:
    schema: Object = crds()[0]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for name in path.split(".")[1:]:
        schema = schema.get("items", schema)["properties"][name]
    explained = " ".join((await kubectl.must("explain", path)).split())

    assert " ".join(schema["description"].split()) in explained


async def test_kubectl_explain_lists_the_values_of_an_enum(operator: Operator, kubectl: Kubectl) -> None:
    assert "ENUM:" in await kubectl.must("explain", "ij.spec.autoscale.metrics.type")


async def test_kubectl_apply_names_the_field(operator: Operator, kubectl: Kubectl) -> None:
    for case in (
        case for case in CASES if case.name in ("negative replicas", "unknown field", "fewest above most replicas")
    ):
        refused = await kubectl.run("apply", "-f", "-", given=json.dumps(case.job))
        assert refused.returncode == 1
        assert case.field in refused.stderr
    assert await kubectl.must("get", "ij", "-o", "name") == ""
