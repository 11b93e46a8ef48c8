"""Storage: models from buckets, cached on the nodes by Alluxio through Fluid."""

from components.storage.component import Storage
from components.storage.settings import StorageSettings

__all__ = ["Storage", "StorageSettings"]
