"""``python -m inferstack.controllers``: the job and MIG rollout controllers in one process, the operator."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys

from inferstack.controllers.app import serve
from inferstack.controllers.entrypoint import add_common_options, configure_logging
from inferstack.errors import UserError
from inferstack.k8s import KubeClient, KubeconfigError


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    options = _options()
    configure_logging(options.log_format, verbose=options.verbose)
    try:
        asyncio.run(_serve(options))
    except (UserError, KubeconfigError) as error:
        sys.exit(f"error: {error}")


async def _serve(options: argparse.Namespace) -> None:
    async with await KubeClient.connect(pool=32) as kube:
        await serve(
            kube,
            namespace=options.namespace,
            health_port=options.health_port or None,
            usage_seconds=options.usage_seconds or None,
        )


def _options() -> argparse.Namespace:
    seconds = os.environ.get("INFERSTACK_USAGE_SECONDS", "60")
    if not seconds.isdecimal():
        sys.exit(f"error: INFERSTACK_USAGE_SECONDS is {seconds!r}; set a whole number of seconds, or 0")
    parser = argparse.ArgumentParser(
        prog="python -m inferstack.controllers",
        description="Run the controllers of InferenceJobs and MigRollouts.",
        epilog="Credentials are those of the pod's service account or, outside a pod, of $KUBECONFIG.",
    )
    parser.add_argument("--namespace", help="watch this namespace only, without MigRollouts (default: all)")
    parser.add_argument(
        "--usage-seconds",
        type=int,
        default=int(seconds),
        help="interval of the GPU usage metrics in seconds, 0 for none (default: $INFERSTACK_USAGE_SECONDS, or 60)",
    )
    add_common_options(parser)
    options = parser.parse_args()
    if options.usage_seconds < 0:
        parser.error(f"--usage-seconds is {options.usage_seconds}; set 0 or more")
    return options


if __name__ == "__main__":
    main()
