"""The storage role: its objects whole and good for Fluid's own kinds, and what it refuses before anything is made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from components.addon import values as chart_values
from components.addon.catalogue import load as load_catalogue
from components.addon.plan import rehearsed_crds
from components.platform.settings import PlatformSettings
from components.settings import load_role, merge
from components.storage import builders
from components.storage.settings import StorageSettings
from inferstack.apimachinery.objects import Object
from inferstack.errors import UserError
from tests import reference
from tests.chart_values import ChartDefaults
from tests.unit.api.structural import faults

ONE = {"nvidia.com/gpu": 1}
TWO_TIERS: Object = {
    "mounts": [
        {
            "mountPoint": "s3://models/llama",
            "path": "/llama",
            "endpoint": "https://minio.example:9000",
            "region": "eu-north-1",
            "pathStyle": True,
            "secret": {"name": "models-bucket"},
            "options": {"alluxio.underfs.s3.threads.max": "80"},
        },
        {"mountPoint": "s3://adapters", "path": "/adapters", "region": "us-east-1"},
    ],
    "tenants": ["nlp", "vision"],
    "load": {
        "target": [{"path": "/llama", "replicas": 2}, {"path": "/adapters/small"}],
        "policy": "Cron",
        "schedule": "0 3 * * *",
    },
    "runtime": {
        "replicas": 4,
        "dataReplicas": 2,
        "tieredstore": [
            {"mediumtype": "MEM", "path": "/dev/shm", "quota": "64Gi"},  # noqa: S108
            {"mediumtype": "SSD", "path": ["/mnt/k8s-disks/0", "/mnt/k8s-disks/1"], "quota": "1Ti", "high": 0.9},
        ],
        "runAs": {"uid": 1000, "gid": 1000, "user": "alluxio", "group": "alluxio"},
        "properties": {"alluxio.user.file.readtype.default": "CACHE_PROMOTE"},
        "worker": {"resources": {"limits": {"memory": "96Gi"}}},
        "fuse": {"cleanPolicy": "OnDemand", "args": ["fuse", "--fuse-opts=ro"]},
    },
}
SMALL: Object = {"mounts": [{"mountPoint": "s3://models/bert-base-uncased"}], "tenants": ["nlp"]}


def storage(**datasets: Object) -> StorageSettings:
    return load_role("storage", StorageSettings, {"enabled": True, "datasets": datasets})


def objects_of(settings: StorageSettings) -> list[Object]:
    manifests: list[Object] = []
    for name, dataset in settings.datasets.items():
        runtime = settings.runtime_of(name)
        manifests += [
            builders.make_dataset(name, dataset, runtime, settings.namespace),
            builders.make_runtime(name, runtime, settings.namespace),
            *([builders.make_load(name, dataset, dataset.load, settings.namespace)] if dataset.load else []),
            *(builders.make_reference(name, tenant, settings) for tenant in dataset.tenants),
        ]
    return manifests


def test_the_objects_of_two_datasets() -> None:
    expected = list(yaml.safe_load_all((Path(__file__).parent / "data/storage.yaml").read_text()))
    assert objects_of(storage(llama=TWO_TIERS, bert=SMALL)) == expected


@pytest.mark.parametrize(
    "manifest", objects_of(storage(llama=TWO_TIERS, bert=SMALL)), ids=lambda manifest: manifest["kind"]
)
@pytest.mark.parametrize("whose", ["rehearsed", pytest.param("real", marks=pytest.mark.reference)])
def test_objects_are_good_for_the_kinds(manifest: Object, whose: str) -> None:
    plural = f"{manifest['kind'].lower()}s"
    if whose == "real":
        crd = reference.crds("fluid")[f"{plural}.data.fluid.io"]
    else:
        (crd,) = [
            crd
            for crd in rehearsed_crds("fluid", load_catalogue()["fluid"])
            if crd["spec"]["names"]["plural"] == plural
        ]
    (version,) = crd["spec"]["versions"]
    assert manifest["apiVersion"] == f"{crd['spec']['group']}/{version['name']}"
    schema = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    assert list(faults(schema, manifest["spec"])) == []


def test_chart_accepts_every_value(chart_defaults: ChartDefaults) -> None:
    (values,) = builders.make_charts(storage(bert=SMALL), monitored=True).values()
    assert list(chart_values.check(values, chart_defaults("fluid"))) == []
    assert values["runtime"]["alluxio"]["enabled"] is True
    assert {name for name, part in values["runtime"].items() if not part["enabled"]} == {
        *("efc", "goosefs", "jindo", "juicefs", "vineyard")
    }


def test_nothing_is_wanted_of_a_role_that_is_off() -> None:
    assert builders.make_charts(load_role("storage", StorageSettings, None), monitored=True) == {}


def test_the_kubelet_is_where_the_nodes_have_it() -> None:
    given = {"enabled": True, "kubelet": {"rootDir": "/data/kubelet", "kubeconfig": "/data/kubelet/kubeconfig"}}
    (values,) = builders.make_charts(load_role("storage", StorageSettings, given), monitored=False).values()
    assert values["csi"]["kubelet"] == {
        "rootDir": "/data/kubelet",
        "certDir": "/data/kubelet/pki",
        "kubeConfigFile": "/data/kubelet/kubeconfig",
    }


def test_keys_stand_beside_the_options_and_only_as_a_reference() -> None:
    first, second = objects_of(storage(llama=TWO_TIERS))[0]["spec"]["mounts"]
    assert [option["name"] for option in first["encryptOptions"]] == ["aws.accessKeyId", "aws.secretKey"]
    assert not [option for option in first["options"] if "key" in option.lower()]
    assert "encryptOptions" not in second


def test_a_role_for_buckets_is_given_to_the_caches_pods() -> None:
    arn = "arn:aws:iam::123456789012:role/models"
    settings = load_role("storage", StorageSettings, {"enabled": True, "roleArn": arn})
    assert builders.make_identity(settings) == {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {
            "name": "default",
            "namespace": "inferstack-caches",
            "annotations": {"eks.amazonaws.com/role-arn": arn},
        },
    }


def test_another_content_is_another_load_and_the_same_is_the_same() -> None:
    def name_of(given: Object) -> str:
        return str(objects_of(storage(bert=given))[2]["metadata"]["name"])

    first = name_of(SMALL)
    assert first == name_of({**SMALL, "runtime": {"replicas": 2}})
    assert first != name_of({**SMALL, "mounts": [{"mountPoint": "s3://models/bert-large-uncased"}]})
    assert first != name_of({**SMALL, "load": {"target": [{"path": "/base"}]}})
    # The Helm release of a DataLoad is <name>-loader, with 53 letters at most.
    longest = "a" * 37
    (_, _, load, _) = objects_of(storage(**{longest: SMALL}))
    assert len(f"{load['metadata']['name']}-loader") <= 53


def test_a_dataset_without_a_load_gets_none() -> None:
    assert [manifest["kind"] for manifest in objects_of(storage(bert={**SMALL, "load": None}))] == [
        "Dataset",
        "AlluxioRuntime",
        "Dataset",
    ]


def test_a_dataset_says_only_what_is_other_of_its_runtime() -> None:
    given = {"enabled": True, "runtime": {"replicas": 3}, "datasets": {"a": {**SMALL, "runtime": {"dataReplicas": 2}}}}
    runtime = load_role("storage", StorageSettings, given).runtime_of("a")
    assert (runtime.replicas, runtime.data_replicas) == (3, 2)
    assert [level.quota for level in runtime.tieredstore] == ["16Gi"]


def refusal(given: Object, *, jobs: Any = (), **config: Any) -> str:
    """Return the error message for a stack with the role's settings ``given`` and a tenant nlp."""
    whole: Object = {
        "place": "local",
        "tenancy": {"tenants": {"nlp": {}}},
        "storage": given,
        "inference": {"jobs": list(jobs)},
        **config,
    }
    with pytest.raises(UserError) as caught:
        PlatformSettings.load(whole)
    return str(caught.value)


def changed(at: str, value: Any) -> Object:
    """Return the small dataset as settings, with another value at a dotted path."""
    over: Any = value
    for part in reversed(at.split(".")):
        over = {part: over}
    return {"enabled": True, "datasets": {"bert": merge(SMALL, over)}}


def mounted(**mount: Any) -> Object:
    return changed("mounts", [{"mountPoint": "s3://models/bert", **mount}])


def tiered(**level: Any) -> Object:
    return changed("runtime.tieredstore", [{"mediumtype": "MEM", "path": "/dev/shm", "quota": "1Gi", **level}])  # noqa: S108


BERT = "inferstack:storage.datasets.bert"
REFUSALS: list[tuple[str, Object, str]] = [
    ("unknown key", {"enable": True}, "inferstack:storage.enable: unknown key; did you mean enabled?"),
    (
        "unknown key below",
        mounted(mountpoint="x"),
        f"{BERT}.mounts[0].mountpoint: unknown key; did you mean mountPoint?",
    ),
    ("no mount", changed("mounts", []), f"{BERT}.mounts: needs 1 or more entries."),
    (
        "an address",
        mounted(mountPoint="https://minio.example/models/bert"),
        f"{BERT}.mounts[0].mountPoint: https://minio.example/models/bert is an address; write s3://<bucket>/<prefix> "
        "and endpoint: https://minio.example.",
    ),
    (
        "another scheme",
        mounted(mountPoint="gs://models"),
        f"{BERT}.mounts[0].mountPoint: expected s3://<bucket>/<prefix>",
    ),
    (
        "a bad bucket",
        mounted(mountPoint="s3://My_Models"),
        f"{BERT}.mounts[0].mountPoint: expected s3://<bucket>/<prefix>",
    ),
    ("a key in the address", mounted(mountPoint="s3://k:s@models"), f"{BERT}.mounts[0].mountPoint: contains a key"),
    (
        "plain http",
        mounted(endpoint="http://minio.example"),
        f"{BERT}.mounts[0].endpoint: http://minio.example sends data",
    ),
    (
        "endpoint with a path",
        mounted(endpoint="https://a.example/b"),
        f"{BERT}.mounts[0].endpoint: expected https://<host>",
    ),
    (
        "a key as an option",
        mounted(options={"aws.secretKey": "abc"}),
        f"{BERT}.mounts[0].options: aws.secretKey is a secret",
    ),
    (
        "an option that has a setting",
        mounted(options={"alluxio.underfs.s3.endpoint": "https://a"}),
        f"{BERT}.mounts[0].options: alluxio.underfs.s3.endpoint is made of `endpoint`; set that",
    ),
    (
        "a number as an option",
        mounted(options={"alluxio.underfs.s3.threads.max": 80}),
        f'{BERT}.mounts[0].options["alluxio.underfs.s3.threads.max"]: input should be a valid string, got 80',
    ),
    (
        "an access key for its name",
        mounted(secret={"name": "a", "accessKeyId": "AKIAIOSFODNN7EXAMPLE"}),
        f"{BERT}.mounts[0].secret.accessKeyId: is an access key",
    ),
    ("a relative path", mounted(path="bert"), f"{BERT}.mounts[0].path: expected an absolute path"),
    ("a path that goes up", mounted(path="/a/../b"), f"{BERT}.mounts[0].path: expected an absolute path"),
    (
        "mounts in each other",
        changed("mounts", [{"mountPoint": "s3://abc", "path": "/a"}, {"mountPoint": "s3://def", "path": "/a/b"}]),
        f"{BERT}.mounts: /a and /a/b overlap",
    ),
    ("no tenant", changed("tenants", []), f"{BERT}.tenants: needs 1 or more entries."),
    (
        "an unknown tenant",
        changed("tenants", ["nlp", "vision"]),
        f'{BERT}.tenants[1]: no tenant "vision"; there are nlp.',
    ),
    ("a tenant twice", changed("tenants", ["nlp", "nlp"]), f"{BERT}.tenants[1]: nlp is a duplicate."),
    (
        "a quota without a unit",
        tiered(quota="16 GB"),
        f"{BERT}.runtime.tieredstore[0].quota: expected a quantity",
    ),
    ("no quota at all", tiered(quota="0Gi"), f"{BERT}.runtime.tieredstore[0].quota: expected more than 0 bytes"),
    (
        "low above high",
        tiered(high=0.7, low=0.9),
        f"{BERT}.runtime.tieredstore[0].low: 0.9 is not below high, which is 0.7",
    ),
    ("the default low above high", tiered(high="0.5"), f"{BERT}.runtime.tieredstore[0].low: 0.7 is not below high"),
    ("a percentage", tiered(high="95%"), f"{BERT}.runtime.tieredstore[0].high: expected a share above 0 and at most 1"),
    (
        "an unknown medium",
        tiered(mediumtype="NVMe"),
        f"{BERT}.runtime.tieredstore[0].mediumtype: input should be 'MEM'",
    ),
    (
        "memory on a disk",
        tiered(path="/mnt/k8s-disks/0"),
        f"{BERT}.runtime.tieredstore[0].path: /mnt/k8s-disks/0 is on a",
    ),
    ("a disk in memory", tiered(mediumtype="SSD"), f"{BERT}.runtime.tieredstore[0].path: /dev/shm is in memory; SSD"),
    (
        "tiers out of order",
        changed(
            "runtime.tieredstore",
            [
                {"mediumtype": "SSD", "path": "/mnt/a", "quota": "1Gi"},
                {"mediumtype": "MEM", "path": "/dev/shm", "quota": "1Gi"},  # noqa: S108
            ],
        ),
        f"{BERT}.runtime.tieredstore: tiers are MEM, SSD, HDD in this order, each at most once; got SSD, MEM",
    ),
    ("no tier", changed("runtime.tieredstore", []), f"{BERT}.runtime.tieredstore: needs 1 or more entries: a worker"),
    (
        "a worker smaller than its memory tier",
        changed("runtime.worker", {"resources": {"limits": {"memory": "8Gi"}}}),
        "inferstack:storage.runtime.tieredstore[0].quota: 16Gi of memory is more than the worker may use: "
        "worker.resources.limits.memory is 8Gi.",
    ),
    (
        "a target outside the mounts",
        {
            "enabled": True,
            "datasets": {
                "bert": {
                    **SMALL,
                    "mounts": [{"mountPoint": "s3://models", "path": "/models"}],
                    "load": {"target": [{"path": "/modelsx"}]},
                }
            },
        },
        f"{BERT}.load.target[0].path: /modelsx is not in a mount; mounts are at /models.",
    ),
    (
        "a target twice",
        changed("load", {"target": [{"path": "/a"}, {"path": "/a"}]}),
        f"{BERT}.load.target: /a is a duplicate",
    ),
    (
        "more copies than workers",
        changed("load", {"target": [{"replicas": 2}]}),
        f"{BERT}.load.target[0].replicas: 2 exceeds the number of workers, 1.",
    ),
    (
        "more copies than are kept",
        {
            "enabled": True,
            "datasets": {"bert": {**SMALL, "runtime": {"replicas": 2}, "load": {"target": [{"replicas": 2}]}}},
        },
        f"{BERT}.load.target[0].replicas: 2 exceeds {BERT}.runtime.dataReplicas",
    ),
    (
        "a schedule for nothing",
        changed("load", {"schedule": "0 3 * * *"}),
        f"{BERT}.load.schedule: is required for the policy Cron only",
    ),
    (
        "no schedule",
        changed("load", {"policy": "Cron"}),
        f"{BERT}.load.schedule: is required for the policy Cron only",
    ),
    (
        "a policy that Fluid does not run",
        changed("load", {"policy": "OnEvent"}),
        f"{BERT}.load.policy: input should be",
    ),
    (
        "a name that is too long",
        {"enabled": True, "datasets": {"a" * 38: SMALL}},
        "has 38 letters; the names of what Fluid makes of it allow 37",
    ),
    ("datasets of a role that is off", {"datasets": {"bert": SMALL}}, "inferstack:storage.datasets: requires Fluid"),
    (
        "a tenant's namespace",
        {"enabled": True, "namespace": "nlp"},
        "inferstack:storage.namespace: nlp is a tenant's namespace",
    ),
    ("no role", {"enabled": True, "roleArn": "models-reader"}, "inferstack:storage.roleArn: string should match"),
]


@pytest.mark.parametrize(("given", "sentence"), [case[1:] for case in REFUSALS], ids=[case[0] for case in REFUSALS])
def test_what_is_refused_before_anything_is_made(given: Object, sentence: str) -> None:
    lines = refusal(given).splitlines()
    assert len(lines) == 1, lines
    assert sentence in lines[0]
    assert lines[0].startswith("inferstack:storage.")


def job(**spec: Any) -> Object:
    resources = {"requests": dict(ONE), "limits": dict(ONE)}
    return {
        "metadata": {"name": "nlp-model-001"},
        "spec": {"model": "bert-base-uncased", "resources": resources, **spec},
    }


@pytest.mark.parametrize(
    ("given", "cache", "sentence"),
    [
        (
            {"enabled": True, "datasets": {"bert": SMALL}},
            {"dataset": "bart"},
            '.dataset: the tenant nlp has no dataset "bart"; it has bert.',
        ),
        ({"enabled": True}, {"dataset": "bert"}, '.dataset: the tenant nlp has no dataset "bert"; it has none.'),
        (
            {"enabled": True, "datasets": {"bert": {**SMALL, "tenants": ["vision"]}}},
            {"dataset": "bert"},
            f'.dataset: the tenant nlp has no dataset "bert"; add it to {BERT}.tenants.',
        ),
        (
            {"enabled": True, "datasets": {"bert": {**SMALL, "mounts": [{"mountPoint": "s3://abc", "path": "/a"}]}}},
            {"dataset": "bert", "path": "/b"},
            ".path: /b is not in a mount of bert; mounts are at /a.",
        ),
    ],
)
def test_a_job_must_name_a_dataset_of_its_tenant(given: Object, cache: Object, sentence: str) -> None:
    tenants: Object = {"tenancy": {"tenants": {"nlp": {}, "vision": {}}}}
    first, second = job(), merge(job(cache=cache), {"metadata": {"name": "second"}})
    for entry in (first, second):
        entry["metadata"]["namespace"] = "nlp"
    message = refusal(given, jobs=[first, second], **tenants)
    assert message == f"inferstack:inference.jobs[1].spec.cache{sentence}"


def test_the_memory_of_all_datasets_must_fit_on_one_node() -> None:
    fleet = {
        "system": {"instanceType": "m6i.2xlarge"},
        "large": {"instanceType": "p5.48xlarge"},
        "small": {"instanceType": "p4d.24xlarge"},
    }
    tier = [{"mediumtype": "MEM", "path": "/dev/shm", "quota": "600Gi"}]  # noqa: S108
    first, second = ({**SMALL, "runtime": {"tieredstore": tier}} for _ in range(2))
    config: Object = {"place": "local", "tenancy": {"tenants": {"nlp": {}}}, "cluster": {"fleet": fleet}}
    PlatformSettings.load({**config, "storage": {"enabled": True, "datasets": {"one": first}}})
    message = refusal({"enabled": True, "datasets": {"one": first, "two": second}}, cluster={"fleet": fleet})
    assert message == (
        "inferstack:storage.datasets.two.runtime.tieredstore[0].quota: with 600Gi the datasets may take 1200Gi of "
        "memory on one node; p4d.24xlarge (fleet.small) has 1152Gi."
    )
