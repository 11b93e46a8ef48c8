"""The cached copy of a job's model, and what the job does while the cache is cold."""

from __future__ import annotations

import enum
from typing import Annotated

from pydantic import Field, StrictInt, StrictStr, StringConstraints

from inferstack.api import constants
from inferstack.api.base import ApiModel


class WhenCold(enum.StrEnum):
    """What a job does while its cache is cold."""

    WAIT = "Wait"
    START_DEGRADED = "StartDegraded"


class Cache(ApiModel):
    """A Fluid Dataset in the job's namespace, mounted read-only at /models in each replica."""

    dataset: Annotated[StrictStr, StringConstraints(pattern=constants.NAME_PATTERN, max_length=constants.NAME_LENGTH)]
    """Name of the Dataset and of the PersistentVolumeClaim that Fluid creates for it."""
    path: Annotated[StrictStr, StringConstraints(pattern=constants.CACHE_PATH_PATTERN, max_length=512)] = "/"
    """Directory of the model in the Dataset. Use / if the Dataset holds only one model. The server loads the model
    from /models followed by this path."""
    when_cold: WhenCold = WhenCold.WAIT
    """Wait: no replica starts before the Dataset is Bound and its latest DataLoad is complete.
    StartDegraded: replicas start at once, from the Dataset if it is Bound, otherwise from the model hub. Replicas
    that started from the model hub switch to the cache at the next change of the job."""
    timeout_seconds: Annotated[StrictInt, Field(ge=1, le=604_800)] | None = None
    """Seconds that the cache may stay cold. Wait: afterwards the job is Degraded (CacheTimeout) and keeps waiting;
    without a timeout it never becomes Degraded. StartDegraded: replicas wait this long before they start without the
    cache; without a timeout they do not wait."""
