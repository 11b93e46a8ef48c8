"""Images in rendered manifests."""

from __future__ import annotations

import json
from typing import Any

import pytest

from inferstack.toolchain.charts import images_of

DIGEST = f"sha256:{'a' * 64}"


def pod(**container: Any) -> dict[str, Any]:
    """Return a Deployment with one container."""
    return {"kind": "Deployment", "spec": {"template": {"spec": {"containers": [{"name": "c", **container}]}}}}


@pytest.mark.parametrize(
    ("document", "images"),
    [
        (pod(image="quay.io/a/b:v1"), ["quay.io/a/b:v1"]),
        (pod(image=f"quay.io/a/b:v1@{DIGEST}"), [f"quay.io/a/b:v1@{DIGEST}"]),
        # Istio's gateway leaves its image to the injector.
        (pod(image="auto"), []),
        (pod(image="a/b", args=["--reloader=quay.io/c/d:v2", "--path=/etc/x:y", "quay.io"]), ["a/b", "quay.io/c/d:v2"]),
        (
            pod(image="a/b", env=[{"name": "X_IMAGE", "value": "c/d:1"}, {"name": "URL", "value": "http://a.b/c:1"}]),
            ["a/b", "c/d:1"],
        ),
        # An operator's custom resource: NVIDIA's ClusterPolicy.
        (
            {"spec": {"driver": {"repository": "nvcr.io/nvidia", "image": "driver", "version": "1"}}},
            ["nvcr.io/nvidia/driver:1"],
        ),
        (
            {"spec": {"dcgm": {"repository": "nvcr.io/nvidia", "image": "dcgm", "version": DIGEST}}},
            [f"nvcr.io/nvidia/dcgm@{DIGEST}"],
        ),
        ({"spec": {"image": "quay.io/prometheus/prometheus:v3"}}, ["quay.io/prometheus/prometheus:v3"]),
        (
            {
                "data": {
                    "config": "",
                    "values": json.dumps({"global": {"hub": "h.io/i", "tag": "1", "proxy": {"image": "proxyv2"}}}),
                }
            },
            ["h.io/i/proxyv2:1"],
        ),
    ],
)
def test_images_are_found_in_manifests(document: dict[str, Any], images: list[str]) -> None:
    assert images_of([document]) == images


def test_images_are_unique_and_sorted() -> None:
    assert images_of([pod(image="b/b:1"), pod(image="a/a:1"), pod(image="b/b:1")]) == ["a/a:1", "b/b:1"]
