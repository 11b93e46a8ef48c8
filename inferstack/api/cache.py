"""Where a job's model is cached, and what to do while it is not."""

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
    """A Dataset of Fluid in the job's namespace, mounted read-only at /models in each replica."""

    dataset: Annotated[StrictStr, StringConstraints(pattern=constants.NAME_PATTERN, max_length=constants.NAME_LENGTH)]
    """Name of the Dataset, which is also that of the volume claim that Fluid makes for it."""
    path: Annotated[StrictStr, StringConstraints(pattern=constants.CACHE_PATH_PATTERN, max_length=512)] = "/"
    """The model's directory in the Dataset; / where the Dataset holds one model only. The server is given
    /models and this path in place of the model's name."""
    when_cold: WhenCold = WhenCold.WAIT
    """Wait: no replica starts before the Dataset is Bound and its latest DataLoad is complete.
    StartDegraded: replicas start at once, from the Dataset where it is Bound, else from the model hub; those go
    over to the cache with the next change of the job, not by themselves."""
    timeout_seconds: Annotated[StrictInt, Field(ge=1, le=604_800)] | None = None
    """Seconds that a cold cache may take. Wait: then the job is Degraded (CacheTimeout) and goes on waiting; without
    a time it never is. StartDegraded: so long it waits as well; without a time it does not wait."""
