"""Runs a Pulumi program in this process, once for each request of the engine.

The engine requests two runs in one ``pulumi up``: preview, then update. Libraries stay imported between the runs. The
program's own modules are dropped, so that each run starts from a fresh state. The vendor's host starts a process for
each run instead.
"""

from __future__ import annotations

import asyncio
import contextvars
import linecache
import logging
import os
import runpy
import sys
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pulumi
import pulumi.runtime
from pulumi.runtime.proto import language_pb2

from inferstack.errors import UserError

# The vendor's host gives the program four threads for each operation the engine runs at once; the engine's default is
# "no limit" (2^31-1), so a bound is needed: each thread waits for one blocking call to the engine.
_MOST_THREADS = 64


class ProgramExitError(Exception):
    """The program called ``sys.exit(code)`` with a code other than 0."""


def run(request: language_pb2.RunRequest, engine_address: str) -> language_pb2.RunResponse:
    """Run the program of a request; log a failure through the engine and answer it with ``bail``."""
    return contextvars.copy_context().run(_run, request, engine_address)


def _run(request: language_pb2.RunRequest, engine_address: str) -> language_pb2.RunResponse:
    pulumi.runtime.reset_options(
        project=request.project,
        stack=request.stack,
        root_directory=request.info.root_directory or None,
        monitor_address=request.monitor_address,
        engine_address=engine_address,
        parallel=request.parallel,
        preview=request.dryRun,
        organization=request.organization or "organization",
    )
    pulumi.runtime.set_all_config(dict(request.config), list(request.configSecretKeys))
    folder = Path(request.pwd or request.info.program_directory)
    program = folder / (request.info.entry_point or request.program or ".")
    if program.is_dir():
        program /= "__main__.py"
    # Abandoned futures of a failed program are harmless, but asyncio would print each of them.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    try:
        if not program.is_file():
            raise UserError(f"unable to find the program: there is no {program.resolve()}")
        with _as_script(folder, program, list(request.args)):
            _drive(program, request.parallel)
    except Exception as error:  # noqa: BLE001  # every exception of the program is reported to the user here
        if not _engine_left(error):
            pulumi.log.error(explain(error, program))
            return language_pb2.RunResponse(bail=True)
    return language_pb2.RunResponse()


def _drive(program: Path, parallel: int) -> None:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.set_default_executor(ThreadPoolExecutor(min(max(parallel, 1) * 4, _MOST_THREADS)))

    def execute() -> None:
        try:
            runpy.run_path(str(program.resolve()), run_name="__main__")
        except SystemExit as left:
            if left.code not in (None, 0):
                raise ProgramExitError(f"the program called sys.exit({left.code!r})") from left

    try:
        loop.run_until_complete(pulumi.runtime.run_in_stack(execute))
    finally:
        pending = asyncio.all_tasks(loop)
        for task in pending:
            task.cancel()
        if pending:
            loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
        asyncio.set_event_loop(None)
        sys.stdout.flush()
        sys.stderr.flush()


@contextmanager
def _as_script(folder: Path, program: Path, args: list[str]) -> Iterator[None]:
    """Set the program's working directory, argv and import path; afterwards drop the program's own modules."""
    before_modules, before_path, before_argv, before_cwd = set(sys.modules), list(sys.path), sys.argv, Path.cwd()
    home = program.parent.resolve()
    sys.argv = [str(program), *args]
    sys.path.insert(0, str(home))
    os.chdir(folder)
    linecache.checkcache()
    try:
        yield
    finally:
        os.chdir(before_cwd)
        sys.argv, sys.path[:] = before_argv, before_path
        for name in set(sys.modules) - before_modules:
            if is_own(sys.modules[name], home):
                del sys.modules[name]


def is_own(module: Any, home: Path) -> bool:
    """Return whether a module belongs to the program: its file is in ``home`` and not in installed packages."""
    places = [getattr(module, "__file__", None) or "", *(getattr(module, "__path__", None) or ())]
    return any(
        str(place).startswith(f"{home}{os.sep}") and "site-packages" not in Path(str(place)).parts for place in places
    )


def _engine_left(error: BaseException) -> bool:
    """Return whether the engine stopped first, after a resource failure that it has already reported."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, grpc.RpcError) and seen.code() in (
            grpc.StatusCode.UNAVAILABLE,
            grpc.StatusCode.CANCELLED,
        ):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def explain(error: BaseException, program: Path) -> str:
    """Describe an error: in one sentence if the user can fix it, otherwise with the program's own traceback."""
    if isinstance(error, UserError | pulumi.RunError | ProgramExitError):
        return str(error)
    pydantic = sys.modules.get("pydantic")
    if pydantic is not None and isinstance(error, pydantic.ValidationError):
        return "; ".join(
            f"{error.title}: {'.'.join(str(part) for part in detail['loc']) or 'value'}: {detail['msg']}"
            f" (got {detail['input']!r})"
            for detail in error.errors(include_url=False)
        )
    home = str(program.parent.resolve())
    chain = traceback.TracebackException.from_exception(error)
    _keep_from(chain, home)
    return "Program failed with an unhandled exception:\n" + "".join(chain.format())


def _keep_from(chain: traceback.TracebackException, home: str) -> None:
    """Drop the frames before the program's first one, because the host's frames do not help the program's author."""
    each: traceback.TracebackException | None = chain
    while each is not None:
        first = next((i for i, frame in enumerate(each.stack) if frame.filename.startswith(home)), 0)
        each.stack = traceback.StackSummary.from_list(each.stack[first:])
        each = each.__cause__ or each.__context__
