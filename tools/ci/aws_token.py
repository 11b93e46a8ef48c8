#!/usr/bin/env python3
"""Write the job's identity token to the file that AWS's SDKs read it from: ``tools/ci/aws_token.py``.

GitLab gives a token as a variable (INFERSTACK_AWS_TOKEN), the SDKs want a file (AWS_WEB_IDENTITY_TOKEN_FILE); they
exchange it for credentials of AWS_ROLE_ARN that last an hour. No key is kept anywhere.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

_NEEDED = ("INFERSTACK_AWS_TOKEN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN")
_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


def main(environment: Mapping[str, str]) -> int:
    """Write the token, for its owner only. Returns 1 and says why where a variable is missing or a key is there."""
    if missing := [name for name in _NEEDED if not environment.get(name)]:
        sys.stderr.write(f"error: {', '.join(missing)} must be set for a job that works on AWS\n")
        return 1
    if kept := [name for name in _KEYS if environment.get(name)]:
        sys.stderr.write(
            f"error: {', '.join(kept)} is set: it would be used instead of the role; remove the variable\n"
        )
        return 1
    file = Path(environment["AWS_WEB_IDENTITY_TOKEN_FILE"])
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    file.touch(mode=0o600)
    file.write_text(environment["INFERSTACK_AWS_TOKEN"])
    return 0


if __name__ == "__main__":
    sys.exit(main(os.environ))
