"""Tenants: a namespace each, with limits, quotas, a closed network and rights."""

from components.tenancy.component import Tenancy
from components.tenancy.settings import TenancySettings

__all__ = ["Tenancy", "TenancySettings"]
