"""What the roles' pages say of objects and outputs is what the program registers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from components.platform.settings import ROLES
from inferstack.project import project_root

if TYPE_CHECKING:
    from tests.program.conftest import Machine, Recording


def page(role: str) -> str:
    """Return a role's page without its variables."""
    return (project_root() / "docs" / "roles" / f"{role}.md").read_text().partition("## Variables")[0]


@pytest.mark.parametrize("role", ["platform", *ROLES])
def test_each_kind_and_output_of_a_role_is_on_its_page(
    role: str, local: Recording, existing: Recording, machine: Machine
) -> None:
    chart = machine.run("existing", addon={"mode": "chart"})
    named = set()
    for recording in (local, existing, chart):
        for component in recording.resources.values():
            if component.type.startswith(f"inferstack:{role}:"):
                below = [
                    resource for resource in recording.children(component) if resource.type.startswith("kubernetes:")
                ]
                named |= {resource.type.rpartition(":")[2] for resource in below} | recording.outputs[
                    component.urn
                ].keys()
    text = page(role)
    assert named
    assert sorted(name for name in named if f"`{name}`" not in text) == []


@pytest.mark.parametrize("role", ["platform", *ROLES])
def test_each_token_is_on_a_page_of_its_role_or_of_the_platform(role: str, local: Recording) -> None:
    tokens = {resource.type for resource in local.resources.values() if resource.type.startswith(f"inferstack:{role}:")}
    text = page(role) + page("platform")
    assert tokens
    assert sorted(token for token in tokens if f"`{token}`" not in text) == []


def test_the_exports_are_on_the_platforms_page(local: Recording) -> None:
    assert sorted(name for name in local.exports() if f"`{name}`" not in page("platform")) == []
