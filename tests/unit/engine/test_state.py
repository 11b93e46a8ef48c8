"""The state service: replay of journals, interrupted writes and HTTP requests."""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from typing import Any

import pytest

from inferstack.engine.journal.replay import JournalError, Replayer, resolve_aliases
from inferstack.engine.journal.service import ServiceError, StateService, serving
from inferstack.engine.journal.store import Journal, StackFile, apply_journal, journals

Json = dict[str, Any]
BEGIN, SUCCESS, FAILURE, REFRESHED, OUTPUTS, WRITE, SECRETS, REBASED = range(8)


def resource(name: str, **more: Any) -> Json:
    return {"urn": f"urn:pulumi:s::p::t:m:K::{name}", "type": "t:m:K", "custom": True, **more}


def replayed(base: Json, *entries: Json) -> Json:
    replayer = Replayer(base)
    for entry in entries:
        replayer.add(entry)
    return replayer.deployment()


def names(state: Json) -> list[str]:
    return [item["urn"].rpartition("::")[2] for item in state["deployment"].get("resources", [])]


def entry(kind: int, number: int = 0, **more: Any) -> Json:
    return {"kind": kind, "operationID": number, **more}


BASE = {"resources": [resource("a"), resource("b"), resource("c")], "manifest": {"version": "v1", "magic": "x"}}


def test_replay_puts_new_states_before_the_rest_of_the_base() -> None:
    state = replayed(
        BASE,
        entry(BEGIN, 1, operation={"type": "creating", "resource": resource("new")}),
        entry(SUCCESS, 1, state=resource("new")),
        entry(SUCCESS, 2, state=resource("b", outputs={"x": 1}), removeOld=1),
        entry(SUCCESS, 3, removeOld=2),
    )
    assert names(state) == ["new", "b", "a"]
    assert state["deployment"]["resources"][1]["outputs"] == {"x": 1}
    assert "pending_operations" not in state["deployment"]
    assert state["version"] == 3


def test_unfinished_operations_and_earlier_creations_are_pending() -> None:
    old = {"type": "creating", "resource": resource("lost")}
    updating = {"type": "updating", "resource": resource("x")}
    creating = {"type": "creating", "resource": resource("new")}
    state = replayed(
        {**BASE, "pending_operations": [old, updating]},
        entry(BEGIN, 1, operation=creating),
        entry(BEGIN, 2, operation={"type": "deleting", "resource": resource("a")}),
        entry(FAILURE, 2),
    )
    assert state["deployment"]["pending_operations"] == [creating, old]


def test_replacement_marks_the_old_resource() -> None:
    state = replayed(
        BASE, entry(SUCCESS, 1, state=resource("a", id="2"), deleteOld=0), entry(SUCCESS, 2, pendingReplacementOld=1)
    )
    assert names(state) == ["a", "a", "b", "c"]
    assert [r.get("delete") for r in state["deployment"]["resources"]] == [None, True, None, None]
    assert state["deployment"]["resources"][2]["pendingReplacement"] is True
    removed = replayed(BASE, entry(SUCCESS, 1, state=resource("n")), entry(SUCCESS, 2, removeNew=1))
    assert names(removed) == ["a", "b", "c"]
    marked = replayed({}, entry(SUCCESS, 1, state=resource("n")), entry(SUCCESS, 2, deleteNew=1))
    assert marked["deployment"]["resources"][0]["delete"] is True


def test_refresh_removes_resources_and_references_to_them() -> None:
    a, b = resource("a"), resource("b", dependencies=[resource("a")["urn"]], parent=resource("a")["urn"])
    state = replayed({"resources": [a, b]}, entry(REFRESHED, 1, removeOld=0))
    assert names(state) == ["b"]
    assert state["deployment"]["resources"][0]["dependencies"] == []
    assert "parent" not in state["deployment"]["resources"][0]
    refreshed = replayed({"resources": [a]}, entry(REFRESHED, 1, removeOld=0, state=resource("a", outputs={"live": 1})))
    assert refreshed["deployment"]["resources"][0]["outputs"] == {"live": 1}
    rebased = replayed(
        {"resources": [a, b]}, entry(REFRESHED, 1, removeOld=0), entry(REBASED), entry(SUCCESS, 2, removeOld=0)
    )
    assert names(rebased) == [], "after rebasing, indices count in the new base"


def test_replay_applies_outputs_secrets_provider_and_snapshot() -> None:
    state = replayed(
        BASE,
        entry(SUCCESS, 1, state=resource("n")),
        entry(OUTPUTS, 1, removeNew=1, state=resource("n", outputs={"o": 1})),
        entry(SECRETS, secretsProvider={"type": "passphrase"}),
    )
    assert state["deployment"]["resources"][0]["outputs"] == {"o": 1}
    assert state["deployment"]["secrets_providers"] == {"type": "passphrase"}
    assert names(replayed(BASE, entry(WRITE, newSnapshot={"resources": [resource("w")]}))) == ["w"]


def test_features_raise_the_version_and_unknown_entries_are_rejected() -> None:
    state = replayed({}, entry(SUCCESS, 1, state=resource("n", resourceHooks={"beforeCreate": ["h"]})))
    assert (state["version"], state["features"]) == (4, ["hooks"])
    with pytest.raises(JournalError, match="unknown kind 99"):
        replayed({}, entry(99))


def test_aliases_are_resolved_in_all_references() -> None:
    old = "urn:pulumi:s::p::t:m:Old::a"
    parent = {"urn": "urn:pulumi:s::p::t:m:New::a", "type": "t:m:New", "aliases": [old]}
    child = {
        "urn": "urn:pulumi:s::p::t:m:Old$t:m:K::c",
        "type": "t:m:K",
        "parent": old,
        "dependencies": [old],
        "propertyDependencies": {"x": [old], "y": None},
        "provider": f"{old}::id-1",
    }
    first, second = resolve_aliases([parent, child])
    assert "aliases" not in first
    assert second["urn"] == "urn:pulumi:s::p::t:m:New$t:m:K::c"
    assert second["parent"] == parent["urn"]
    assert second["dependencies"] == [parent["urn"]]
    assert second["propertyDependencies"] == {"x": [parent["urn"]], "y": []}
    assert second["provider"] == f"{parent['urn']}::id-1"


@pytest.fixture
def stack(tmp_path: Path) -> StackFile:
    """A stack of one resource."""
    file = StackFile(tmp_path / ".pulumi", "project", "dev")
    file.checkpoint.parent.mkdir(parents=True)
    file.write({"version": 3, "features": [], "deployment": {"resources": [resource("a")]}})
    return file


def batch(*entries: Json) -> bytes:
    return json.dumps(list(entries)).encode()


def test_journal_is_applied_once(stack: StackFile) -> None:
    journal = Journal(stack)
    journal.append(batch(entry(SUCCESS, 1, state=resource("n"))))
    left = stack.journal.read_bytes()
    journal.close()
    state = stack.read()
    assert state is not None
    assert names(state) == ["n", "a"]
    assert stack.checkpoint.with_name("dev.json.bak").read_bytes() == stack.checkpoint.read_bytes()
    assert not apply_journal(stack)
    # Killed between writing the state and removing the journal: it must not be played a second time.
    stack.journal.write_bytes(left)
    assert [journal_file.stack for journal_file in journals(stack.backend)] == ["dev"]
    assert apply_journal(stack)
    again = stack.read()
    assert again is not None
    assert names(again) == ["n", "a"]


@pytest.mark.parametrize("cut", range(1, 40, 7))
def test_truncated_journal_is_applied_up_to_its_last_complete_batch(stack: StackFile, cut: int) -> None:
    journal = Journal(stack)
    journal.append(batch(entry(SUCCESS, 1, state=resource("n"))))
    journal.append(batch(entry(SUCCESS, 2, state=resource("m"))))
    journal._file.close()
    whole = stack.journal.read_bytes()
    stack.journal.write_bytes(whole[:-cut])
    apply_journal(stack)
    state = stack.read()
    assert state is not None
    assert names(state) == (["n", "m", "a"] if cut == 1 else ["n", "a"])


def test_update_locks_the_stack_until_it_completes(stack: StackFile) -> None:
    service = StateService(stack.backend, engine_pid=1)
    path = ["stacks", "organization", "project", "dev"]
    update = [*path, "update", "id"]
    assert service.answer("GET", [*path, "export"], b"")["deployment"]["resources"]
    assert service.answer("POST", update, b"{}")["journalVersion"] == 1
    with pytest.raises(ServiceError, match=r"process 1\b") as refused:
        StateService(stack.backend).answer("POST", update, b"{}")
    assert refused.value.code == 409
    entries = {"entries": [entry(SUCCESS, 1, state=resource("n"))]}
    service.answer("PATCH", [*update, "journalentries"], json.dumps(entries).encode())
    service.answer("POST", [*update, "complete"], b"{}")
    state = stack.read()
    assert state is not None
    assert names(state) == ["n", "a"]
    assert not list(stack.locks.glob("*"))
    with pytest.raises(ServiceError, match="no update is running"):
        service.answer("PATCH", [*update, "journalentries"], b'{"entries": []}')
    with pytest.raises(ServiceError, match="does not exist"):
        service.answer("GET", ["stacks", "organization", "project", "none"], b"")
    with pytest.raises(ServiceError, match="/api/else"):
        service.answer("GET", ["else"], b"")


def test_request_without_the_token_is_unauthorized(stack: StackFile) -> None:
    with serving(stack.backend) as (service, variables):
        connection = http.client.HTTPConnection(variables["PULUMI_BACKEND_URL"].removeprefix("http://"))
        for header, code in (("", 401), ("token wrong", 401), (f"token {service.token}", 200)):
            connection.request("GET", "/api/user", headers={"Authorization": header})
            answer = connection.getresponse()
            assert answer.status == code
            content = json.loads(answer.read())
        assert content["githubLogin"] == "organization"
        connection.close()
        credentials = Path(variables["PULUMI_CREDENTIALS_PATH"]) / "credentials.json"
        assert credentials.stat().st_mode & 0o777 == 0o600
    assert not credentials.exists()
