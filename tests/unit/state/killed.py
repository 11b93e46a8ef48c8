"""Rotates the passphrase of a stack and is killed at one step: ``python killed.py STACK STEP``, see test_rotate."""

from __future__ import annotations

import os
import signal
import sys

from inferstack.cli.stack.session import Session
from inferstack.cli.stack.state import Keys
from inferstack.state.rotate import Rotation

name, last = sys.argv[1:]
session = Session(name, print)


def reached(step: str) -> None:
    """Die at the step."""
    if step == last:
        os.kill(os.getpid(), signal.SIGKILL)


session.select()
rotation = Rotation(session.state, name, Keys(session), reached)
rotation.renew("passphrase")
