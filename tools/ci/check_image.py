#!/usr/bin/env python3
"""Refuse a job whose container image is not pinned by digest: ``tools/ci/check_image.py``.

GitLab says in CI_JOB_IMAGE which image a job runs in; it comes from a variable of the project, which no review sees.
"""

from __future__ import annotations

import os
import re
import sys

_PINNED = re.compile(r"\S+@sha256:[0-9a-f]{64}")


def main(image: str) -> int:
    """Return 0 for an image that is pinned by digest, 1 and a sentence for others."""
    if _PINNED.fullmatch(image):
        return 0
    sys.stderr.write(
        f"error: the job's image is {image or 'not told'}: set INFERSTACK_CI_IMAGE to NAME@sha256:DIGEST\n"
    )
    return 1


if __name__ == "__main__":
    sys.exit(main(os.environ.get("CI_JOB_IMAGE", "")))
