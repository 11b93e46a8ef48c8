"""Settings of a dataset: its mounts, tenants and preload."""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    StringConstraints,
    field_validator,
)

from components.settings import DnsLabel, RoleSettings
from components.storage.runtime import NonEmpty, Runtime

_BUCKET = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^/\s?#@]+)*/?")
_SECRET_OPTION = re.compile(r"access_?key|secret|password|token|credential", re.IGNORECASE)
_ACCESS_KEY = re.compile(r"(AKIA|ASIA)[A-Z0-9]{12,}")
_OURS = {"alluxio.underfs.s3.endpoint": "endpoint", "alluxio.underfs.s3.disable.dns.buckets": "pathStyle"}
_OURS |= dict.fromkeys(("alluxio.underfs.s3.region", "alluxio.underfs.s3.endpoint.region"), "region")
_INSIDE = (".svc", ".svc.cluster.local", "localhost")

# Fluid runs the DataLoad <dataset>-<8 hex digits> as a Helm release <DataLoad>-loader; Helm allows 53 characters.
_LONGEST_NAME = 37


def _name(value: object) -> object:
    if not isinstance(value, str) or not re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", value):
        raise ValueError(f"expected lowercase letters, digits and dashes, starting with a letter, got {value!r}")
    if len(value) > _LONGEST_NAME:
        raise ValueError(f"{value} has {len(value)} letters; the names of what Fluid makes of it allow {_LONGEST_NAME}")
    return value


def _object_name(value: object) -> object:
    if isinstance(value, str) and not re.fullmatch(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", value):
        raise ValueError(f"expected the name of a Secret, got {value!r}")
    return value


def _bucket(value: object) -> object:
    if not isinstance(value, str):
        return value
    parts = urlsplit(value)
    if parts.username or parts.password:
        raise ValueError("contains a key, which everybody can read; name a Secret in `secret`")
    if parts.scheme in ("http", "https"):
        raise ValueError(
            f"{value} is an address; write s3://<bucket>/<prefix> and endpoint: {parts.scheme}://{parts.netloc}"
        )
    if parts.scheme != "s3":
        raise ValueError(
            f"expected s3://<bucket>/<prefix>, got {value!r}; of {parts.scheme or 'no scheme'} none is read"
        )
    if not _BUCKET.fullmatch(value):
        raise ValueError(
            f"expected s3://<bucket>/<prefix>, got {value!r}: a bucket has 3 to 63 small letters and digits"
        )
    return value


def _address(value: object) -> object:
    if not isinstance(value, str):
        return value
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or parts.query:
        raise ValueError(f"expected https://<host>[:<port>], got {value!r}")
    if parts.username or parts.password:
        raise ValueError("contains a key, which everybody can read; name a Secret in `secret`")
    if parts.scheme == "http" and not parts.hostname.endswith(_INSIDE):
        raise ValueError(f"{value} sends data in plain text; use https, or a Service of the cluster (*.svc)")
    return value


def _directory(value: str) -> str:
    if not re.fullmatch(r"/|(/(?!\.{1,2}(/|$))[^/\s]+)+", value):
        raise ValueError(f"expected an absolute path without a slash at its end, got {value!r}")
    return value


def _key(value: object) -> object:
    if isinstance(value, str) and _ACCESS_KEY.fullmatch(value):
        raise ValueError("is an access key; store it in the Secret and set the name of the Secret's key")
    return value


DatasetName = Annotated[str, BeforeValidator(_name)]
Directory = Annotated[StrictStr, AfterValidator(_directory)]
DataKey = Annotated[StrictStr, StringConstraints(pattern=r"^[-._a-zA-Z0-9]+$", max_length=253), BeforeValidator(_key)]


class Secret(RoleSettings):
    """A Secret in the caches' namespace with the bucket's access key."""

    name: Annotated[StrictStr, BeforeValidator(_object_name)]
    """Name of the Secret in the namespace `storage.namespace`."""
    access_key_id: DataKey = "access-key-id"
    """Key of the Secret with the access key ID."""
    secret_access_key: DataKey = "secret-access-key"  # noqa: S105  # the name of a key, not a secret
    """Key of the Secret with the secret access key."""


class Mount(RoleSettings):
    """A bucket, or a prefix of one."""

    mount_point: Annotated[StrictStr, BeforeValidator(_bucket)]
    """s3://<bucket>/<prefix>."""
    path: Directory = "/"
    """Path in the dataset. /: for the only mount."""
    endpoint: Annotated[StrictStr, BeforeValidator(_address)] | None = None
    """Endpoint of an S3-compatible service. null: Amazon S3."""
    region: Annotated[StrictStr, StringConstraints(pattern=r"^[a-z0-9-]+$", max_length=63)] | None = None
    """Region of the bucket. null: Alluxio queries it."""
    path_style: StrictBool = False
    """Whether to use path-style requests, as most S3-compatible services require."""
    secret: Secret | None = None
    """Secret with the access key. null: the caches' IAM role (`storage.roleArn`, or the nodes' role) gives access."""
    options: dict[StrictStr, StrictStr] = Field(default_factory=dict)
    """Further options of Alluxio for this mount; values are strings."""

    @field_validator("options")
    @classmethod
    def _plain(cls, options: dict[str, str]) -> dict[str, str]:
        for option in options:
            if _SECRET_OPTION.search(option):
                raise ValueError(f"{option} is a secret, which everybody can read here; name a Secret in `secret`")
            if option in _OURS:
                raise ValueError(f"{option} is made of `{_OURS[option]}`; set that")
        return options


class Target(RoleSettings):
    """A path to preload."""

    path: Directory = "/"
    """Path in the dataset, loaded recursively."""
    replicas: Annotated[StrictInt, Field(ge=1, le=100)] = 1
    """Number of copies, each on another worker."""


class Load(RoleSettings):
    """A preload (DataLoad)."""

    target: tuple[Target, ...] = ()
    """Paths to load: {path, replicas}. Empty: the whole dataset, in one copy."""
    load_metadata: StrictBool = True
    """Whether to list the bucket again first, to find new files."""
    policy: Literal["Once", "Cron"] = "Once"
    """Once: also again when mounts or targets change. Cron: by the schedule."""
    schedule: Annotated[StrictStr, StringConstraints(pattern=r"^\S+( \S+){4}$")] | None = None
    """Schedule for Cron: five fields as in cron."""

    @field_validator("target")
    @classmethod
    def _once_each(cls, targets: tuple[Target, ...]) -> tuple[Target, ...]:
        paths = [target.path for target in targets]
        for path in paths:
            if paths.count(path) > 1:
                raise ValueError(f"{path} is a duplicate")
        return targets


class Dataset(RoleSettings):
    """Buckets mounted as one directory tree."""

    mounts: NonEmpty[Mount]
    """Buckets and their paths in the dataset."""
    tenants: NonEmpty[DnsLabel]
    """Tenants whose jobs may mount it; all of them share one cache."""
    load: Load | None = Load()
    """Data to preload. null: none; data is cached on first read."""
    runtime: Runtime = Runtime()
    """Fields that override `storage.runtime` for this dataset."""

    @field_validator("mounts")
    @classmethod
    def _apart(cls, mounts: tuple[Mount, ...]) -> tuple[Mount, ...]:
        paths = [mount.path for mount in mounts]
        for index, path in enumerate(paths):
            for other in paths[index + 1 :]:
                if below(path, other) or below(other, path):
                    raise ValueError(f"{path} and {other} overlap; give each mount a separate path")
        return mounts


def below(path: str, root: str) -> bool:
    """Return whether a path equals another one or is below it."""
    return root == "/" or path == root or path.startswith(f"{root}/")
