"""Ports are kept between starts, and changed only where another program took one."""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from inferstack.errors import UserError
from rehearsal.control_plane import ports


@contextmanager
def taken(port: int) -> Iterator[None]:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        yield


def test_ports_are_stored(tmp_path: Path) -> None:
    first = ports.allocate(tmp_path / "ports.json", running=())

    assert ports.allocate(tmp_path / "ports.json", running=()) == first
    assert ports.read(tmp_path / "ports.json") == first
    assert len(set(dataclasses.astuple(first))) == len(dataclasses.fields(first))


def test_port_in_use_by_another_program_is_replaced(tmp_path: Path) -> None:
    first = ports.allocate(tmp_path / "ports.json", running=())
    with taken(first.scheduler):
        second = ports.allocate(tmp_path / "ports.json", running=())

    assert second.scheduler != first.scheduler
    assert dataclasses.replace(second, scheduler=first.scheduler) == first


def test_port_of_running_component_is_kept(tmp_path: Path) -> None:
    first = ports.allocate(tmp_path / "ports.json", running=())
    with taken(first.scheduler), taken(first.apiserver):
        assert ports.allocate(tmp_path / "ports.json", running=dataclasses.astuple(first)) == first


def test_api_server_port_in_use_raises(tmp_path: Path) -> None:
    first = ports.allocate(tmp_path / "ports.json", running=())
    with taken(first.apiserver), pytest.raises(UserError, match=f"port {first.apiserver} of the API server"):
        ports.allocate(tmp_path / "ports.json", running=())


def test_user_chooses_api_server_port(tmp_path: Path) -> None:
    wanted = ports.propose_free().apiserver

    assert ports.allocate(tmp_path / "ports.json", running=(), apiserver=wanted).apiserver == wanted
