"""Messages of the scheduler, in short."""

from __future__ import annotations

import pytest

from inferstack.controllers.jobs.reasons import explain_scheduler


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            "0/6 nodes are available: 6 Insufficient nvidia.com/gpu. preemption: 0/6 nodes are available: 6 No "
            "preemption victims found for incoming pod.",
            "insufficient nvidia.com/gpu on 6 of 6 nodes",
        ),
        (
            "0/4 nodes are available: 1 node(s) had untolerated taint {dedicated: batch}, 3 Insufficient memory.",
            "insufficient memory on 3 of 4 nodes; 1 of 4 node(s) had untolerated taint {dedicated: batch}",
        ),
        ("0/2 nodes are available: 2 Too many pods.", "too many pods on 2 of 2 nodes"),
        (
            "0/3 nodes are available: 3 Insufficient nvidia.com/mig-1g.5gb. no new claims to deallocate",
            "insufficient nvidia.com/mig-1g.5gb on 3 of 3 nodes",
        ),
        ("no nodes available to schedule pods", "the cluster has no node"),
        ("something new", "something new"),
        ("0/1 nodes are available: .", "0/1 nodes are available: ."),
    ],
)
def test_scheduler_message_is_shortened(message: str, expected: str) -> None:
    assert explain_scheduler(message) == expected
