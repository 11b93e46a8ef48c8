"""The HTTP API of the state service: what updates, previews, refreshes and destroys call.

It listens on loopback for the length of one command, with a token that only that command's engine has.
"""

from __future__ import annotations

import datetime
import gzip
import json
import secrets
import sys
import tempfile
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from inferstack.apimachinery.rfc3339 import format_micro_time
from inferstack.engine.journal.store import ORGANIZATION, Journal, Lock, StackFile


class ServiceError(Exception):
    """An error response, with its HTTP status."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass
class StateService:
    """The state service without HTTP."""

    backend: Path
    engine_pid: int = 0
    """The engine's process, set once it runs: the owner of locks."""
    token: str = field(default_factory=secrets.token_urlsafe, repr=False)
    """Bearer token of each request, as the user's token or as the lease of the update."""
    _journal: Journal | None = None
    _lock: Lock | None = None
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, method: str, path: list[str], body: bytes) -> Any:
        """Answer one request.

        Args:
            method: the HTTP method.
            path: the segments after ``/api/``.
            body: of the request.

        Raises:
            ServiceError: the request is not supported or not possible.
        """
        match method, path:
            case "GET", ["capabilities"]:
                return {"capabilities": []}
            case "GET", ["user"]:
                return {"id": "local", "githubLogin": ORGANIZATION, "name": "local", "organizations": []}
            case "GET", ["user", "organizations", "default"]:
                return {"GitHubLogin": ORGANIZATION, "Messages": []}
            case "GET", ["stacks", _, project, stack]:
                return self._stack(self._existing(project, stack))
            case "GET", ["stacks", _, project, stack, "export"]:
                return self._existing(project, stack).read()
            case "POST", ["stacks", _, _, _, "update" | "preview" | "refresh" | "destroy"]:
                return {"updateID": str(uuid.uuid4())}
            case "POST", ["stacks", _, project, stack, kind, _]:
                return self._start(self._existing(project, stack), kind)
            case "POST", ["stacks", *_, "renew_lease"]:
                return {"token": self.token}
            case "PATCH", ["stacks", *_, "journalentries"]:
                return self._append(body)
            case "POST", ["stacks", *_, "complete"]:
                return self.finish()
            case "POST" | "PATCH", ["stacks", *_, "events" | "batch" | "tags"]:
                return {}
        raise ServiceError(404, f"the state service has no {method} /api/{'/'.join(path)}")

    def _existing(self, project: str, stack: str) -> StackFile:
        file = StackFile(self.backend, project, stack)
        if not file.checkpoint.exists():
            raise ServiceError(404, f"Not Found: stack {stack!r} of project {project!r} does not exist")
        return file

    def _stack(self, stack: StackFile) -> dict[str, Any]:
        return {
            "id": f"{stack.project}/{stack.stack}",
            "orgName": ORGANIZATION,
            "projectName": stack.project,
            "stackName": stack.stack,
            "tags": {"pulumi:project": stack.project},
            "version": 1,
        }

    def _start(self, stack: StackFile, kind: str) -> dict[str, Any]:
        with self._guard:
            if kind != "preview":
                locks = sorted(stack.locks.glob("*.json"))
                if locks:
                    owner = json.loads(locks[0].read_text())
                    raise ServiceError(
                        409,
                        f"the stack is currently locked by process {owner.get('pid')} of {owner.get('username')}@"
                        f"{owner.get('hostname')}: wait for it to end, or delete {locks[0]}",
                    )
                self._lock = Lock(stack, self.engine_pid)
                self._journal = Journal(stack)
        return {"version": 1, "token": self.token, "journalVersion": 1}

    def _append(self, body: bytes) -> dict[str, Any]:
        entries = json.loads(body)["entries"]
        with self._guard:
            if self._journal is None:
                raise ServiceError(409, "no update is running")
            self._journal.append(json.dumps(entries, separators=(",", ":")).encode())
        return {}

    def finish(self) -> dict[str, Any]:
        """Apply the journal of the running update, if there is one, and release its lock."""
        with self._guard:
            if self._journal is not None:
                self._journal.close()
                self._journal = None
            if self._lock is not None:
                self._lock.release()
                self._lock = None
        return {}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        code, answer = 200, b""
        try:
            given = (self.headers.get("Authorization") or "").rpartition(" ")[2]
            if not secrets.compare_digest(given, self.server.service.token):
                raise ServiceError(401, "Unauthorized")
            path = self.path.partition("?")[0].removeprefix("/api/").strip("/").split("/")
            answer = json.dumps(self.server.service.answer(self.command, path, body)).encode()
        except ServiceError as error:
            code, answer = error.code, json.dumps({"code": error.code, "message": str(error)}).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = do_HEAD = _serve  # noqa: N815  # the base class names them

    def log_message(self, *arguments: object) -> None:
        """Log nothing: the engine reports errors."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    service: StateService

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a connection that the engine closed; report anything else."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def serving(backend: Path) -> Iterator[tuple[StateService, dict[str, str]]]:
    """Run the service; yields it and the environment variables that point an engine to it.

    The checkpoint is complete at the end, however the engine ends.
    """
    server = _Server(("127.0.0.1", 0), _Handler)
    server.service = StateService(backend)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        with tempfile.TemporaryDirectory(prefix="inferstack-") as folder:
            credentials = Path(folder) / "credentials.json"
            credentials.touch(mode=0o600)
            credentials.write_text(json.dumps(_credentials(url, server.service.token)))
            yield server.service, {"PULUMI_BACKEND_URL": url, "PULUMI_CREDENTIALS_PATH": folder}
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        server.service.finish()


def _credentials(url: str, token: str) -> dict[str, Any]:
    """Return the content of a credentials file for one command; in the user's file the engine keeps every address."""
    now = format_micro_time(datetime.datetime.now(datetime.UTC))
    account = {"accessToken": token, "username": ORGANIZATION, "lastValidatedAt": now}
    return {"current": url, "accessTokens": {url: token}, "accounts": {url: account}}
