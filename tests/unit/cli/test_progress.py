"""What an update tells of the engine's events."""

from __future__ import annotations

from typing import Any

import pytest

from inferstack.cli.stack.progress import Progress, short_name

DEPLOYMENT = "kubernetes:apps/v1:Deployment"


def urn(name: str, kind: str = DEPLOYMENT) -> str:
    """Return the URN of a resource below a component."""
    return f"urn:pulumi:local::inferstack::inferstack:operator:Operator${kind}::{name}"


def step(key: str, op: str, name: str = "a", kind: str = DEPLOYMENT) -> dict[str, Any]:
    """Return an event of one of the engine's steps."""
    return {"sequence": 1, key: {"metadata": {"op": op, "urn": urn(name, kind), "type": kind}}}


def done(op: str, name: str = "a", kind: str = DEPLOYMENT) -> list[dict[str, Any]]:
    """Return the events of a step that succeeds."""
    return [step("resourcePreEvent", op, name, kind), step("resOutputsEvent", op, name, kind)]


def diagnostic(message: str, name: str | None = None, severity: str = "error") -> dict[str, Any]:
    """Return an event with a message, of a resource where one is named."""
    content = {"message": message, "severity": severity} | ({"urn": urn(name)} if name else {})
    return {"diagnosticEvent": content}


class ProgressRun:
    """Progress with a clock that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.lines: list[str] = []
        self.progress = Progress(self.lines.append, clock=lambda: self.now)

    def take(self, *events: dict[str, Any]) -> None:
        """Hand events over."""
        for event in events:
            self.progress.take(event)


@pytest.fixture
def run() -> ProgressRun:
    """Progress that has begun."""
    return ProgressRun()


def test_objects_are_counted_by_step(run: ProgressRun) -> None:
    run.take(*done("create"), *done("create", "b"), *done("update", "c"), *done("delete", "d"), *done("same", "e"))
    run.now += 3.21

    assert run.progress.summary() == "5 objects: +2 ~1 -1 =1 in 3.2 s"
    assert run.progress.changed


def test_a_replacement_counts_once(run: ProgressRun) -> None:
    run.take(*done("create-replacement"), *done("replace"), *done("delete-replaced"))

    assert run.progress.summary() == "1 objects: ±1 in 0.0 s"


def test_what_is_no_object_does_not_count(run: ProgressRun) -> None:
    run.take(*done("create", kind="pulumi:pulumi:Stack"), *done("create", kind="inferstack:gpu:Gpu"), *done("same"))
    run.take({"preludeEvent": {}}, {"summaryEvent": {"resourceChanges": {"create": 2}}})

    assert run.progress.summary() == "no changes: 1 objects as they should be (0.0 s)"


def test_a_failed_update_says_how_far_it_came(run: ProgressRun) -> None:
    run.take(*done("same"))
    assert run.progress.summary(failed=True) == "nothing was changed, 0.0 s"

    run.take(*done("create", "b"))
    assert run.progress.summary(failed=True) == "+1 =1, 0.0 s"


def test_what_has_failed_or_only_begun_does_not_count(run: ProgressRun) -> None:
    run.take(step("resourcePreEvent", "create"), step("resOpFailedEvent", "create"))
    run.take(step("resourcePreEvent", "create", "b"), *done("refresh", "c"))

    assert not run.progress.changed


def test_a_line_comes_at_most_once_a_second_and_names_what_is_under_way(run: ProgressRun) -> None:
    run.take(*done("create"))
    run.now += 0.99
    run.take(*done("create", "b"))
    assert run.lines == []

    run.now += 0.01
    run.take(*(step("resourcePreEvent", "create", name) for name in ("c", "d", "e", "f")))
    assert run.lines == ["+2; under way: Deployment c"]

    run.now += 1
    run.take(step("resOpFailedEvent", "create", "c"))
    assert run.lines[1:] == ["+2; under way: Deployment d, Deployment e, Deployment f"]

    run.now += 1
    run.take(*(step("resOutputsEvent", "create", name) for name in ("d", "e", "f")))
    run.now += 1
    run.take(*done("same", "g"))
    assert run.lines[2:] == ["+3; under way: Deployment e, Deployment f", "+5; under way: Deployment g"]

    run.now += 1
    run.take(step("resOutputsEvent", "same", "h"))
    assert run.lines[4:] == ["+5 =2"]


def test_no_line_is_printed_while_nothing_changes(run: ProgressRun) -> None:
    for _ in range(3):
        run.now += 5
        run.take(*done("same"))

    assert run.lines == []


def test_errors_are_reported_once_with_their_object_and_without_the_engines_closing_lines(run: ProgressRun) -> None:
    refused = "<{%fg 1%}>quota exceeded<{%reset%}>\n"
    run.take(
        diagnostic("only a warning", severity="warning"),
        diagnostic(refused, "a"),
        diagnostic(refused, "a"),
        diagnostic(refused, "b"),
        diagnostic("Deployment c: is refused", "c"),
        diagnostic("no object at all"),
        diagnostic("  <{%reset%}>  "),
        diagnostic("resource registration failed: quota exceeded", "a"),
        diagnostic("update failed"),
    )

    assert run.progress.errors == [
        "Deployment a: quota exceeded",
        "Deployment b: quota exceeded",
        "Deployment c: is refused",
        "no object at all",
    ]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (urn("operator"), "Deployment operator"),
        ("urn:pulumi:local::inferstack::kubernetes:core/v1:Namespace::nlp", "Namespace nlp"),
        ("urn:pulumi:local::inferstack::inferstack:gpu:Gpu::gpu", "Gpu gpu"),
        ("urn:pulumi:local::inferstack::pulumi:pulumi:Stack::inferstack-local", ""),
        ("no URN", "no URN"),
    ],
)
def test_short_names(text: str, name: str) -> None:
    assert short_name(text) == name


def test_an_error_of_the_program_has_no_object(run: ProgressRun) -> None:
    stack = "urn:pulumi:local::inferstack::pulumi:pulumi:Stack::inferstack-local"
    run.take({"diagnosticEvent": {"severity": "error", "message": "inference.jobs: unknown key", "urn": stack}})

    assert run.progress.errors == ["inference.jobs: unknown key"]
