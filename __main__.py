"""The Pulumi program: read the stack's settings, build the platform, export what a user needs."""

from __future__ import annotations

import os

import pulumi
from pulumi.runtime.config import CONFIG, is_config_secret

from components.cluster.access import find_access
from components.platform.component import Platform
from components.platform.settings import ROLES, PlatformSettings
from components.settings import PROJECT, refuse_encrypted
from inferstack.errors import UserError
from inferstack.project import state_dir


def main() -> None:
    """Check the whole input, then register everything."""
    config = pulumi.Config(PROJECT)
    keys = [key.removeprefix(f"{PROJECT}:") for key in CONFIG.get() if key.startswith(f"{PROJECT}:")]
    try:
        # The engine hands values over decrypted, and says only of whole roles that there was something.
        refuse_encrypted(f"{PROJECT}:{key}" for key in keys if is_config_secret(f"{PROJECT}:{key}"))
        settings = PlatformSettings.load(
            {key: config.get_object(key) if key in ROLES else config.get(key) for key in keys}
        )
        access = find_access(settings.place, settings.cluster, state_dir(), os.environ)
        addons = settings.addons(access)
    except UserError as error:
        # RunError ends the program with its message and no traceback.
        raise pulumi.RunError(str(error)) from None

    platform = Platform("platform", settings, access=access, addons=addons)

    pulumi.export("kubeconfig", platform.kubeconfig)
    pulumi.export("kubeconfigContent", platform.kubeconfig_content)
    pulumi.export("endpoints", platform.endpoints)
    pulumi.export("jobs", platform.jobs)


main()
