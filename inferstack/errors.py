"""The error that a user can mend."""

from __future__ import annotations


class UserError(Exception):
    """Something the user can put right: the message is one sentence with the key or object at fault and what to do.

    Entry points print it without a traceback and exit with ``exit_code``.
    """

    def __init__(self, message: str, *, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code
