"""Storage: models from buckets, cached on the nodes by Alluxio through Fluid."""

from components.storage.checks import check_storage
from components.storage.component import Caches, Storage
from components.storage.settings import StorageSettings

__all__ = ["Caches", "Storage", "StorageSettings", "check_storage"]
