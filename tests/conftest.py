"""What all tests share: the profile of hypothesis, and the third-party files that some tests compare with."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

from tests import chart_values, reference

# No test is timed: on a machine that is busy with other work, an example or a strategy takes as long as it takes.
settings.register_profile("inferstack", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("inferstack")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the comparisons with third-party files where no folder has them."""
    try:
        if reference.folder() is not None:
            return
    except ValueError as error:
        raise pytest.UsageError(str(error)) from None
    deselected = [item for item in items if item.get_closest_marker("reference")]
    if deselected and config.option.markexpr == "reference":
        raise pytest.UsageError(f"-m reference: set {reference.VARIABLE} to the folder with the third-party files")
    if deselected:
        config.hook.pytest_deselected(items=deselected)
        items[:] = [item for item in items if not item.get_closest_marker("reference")]


@pytest.fixture(params=["data", pytest.param("chart", marks=pytest.mark.reference)])
def chart_defaults(request: pytest.FixtureRequest) -> chart_values.ChartDefaults:
    """Default values of a pinned chart: of the types in tests/data, and those of the real chart."""
    return chart_values.defaults_of if request.param == "data" else chart_values.reference_defaults_of
