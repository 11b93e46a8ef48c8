"""KMS keys, one for each kind of data, so that who reads one kind cannot read another."""

from __future__ import annotations

import json
from dataclasses import dataclass

from pulumi_aws import kms

from components.cluster.aws import policies
from components.cluster.aws.build import Build


@dataclass(frozen=True)
class Keys:
    """The keys."""

    secrets: kms.Key
    """Kubernetes Secrets in etcd (envelope encryption)."""
    disks: kms.Key
    """Root disks of nodes and persistent volumes."""
    models: kms.Key
    """The model bucket."""
    logs: kms.Key
    """Logs of the control plane."""


def make_keys(build: Build) -> Keys:
    """Register the keys, each with a name."""
    names = build.names
    documents = {
        "secrets": policies.make_key_policy(names),
        "disks": policies.make_disk_key_policy(names),
        "models": policies.make_key_policy(names),
        "logs": policies.make_log_key_policy(names),
    }
    return Keys(**{kind: _key(build, kind, document) for kind, document in documents.items()})


def _key(build: Build, kind: str, document: policies.Document) -> kms.Key:
    names, settings = build.names, build.settings.keys
    key = kms.Key(
        kind,
        description=f"{names.cluster}: {kind}",
        enable_key_rotation=True,
        rotation_period_in_days=settings.rotation_days,
        deletion_window_in_days=settings.deletion_days,
        policy=json.dumps(document, sort_keys=True),
        tags=names.tags(f"key-{kind}"),
        opts=build.kept,
    )
    kms.Alias(kind, name=f"alias/{names.cluster}-{kind}", target_key_id=key.key_id, opts=build.child)
    return key
