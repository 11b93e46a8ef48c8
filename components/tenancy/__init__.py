"""Tenants: a namespace each, with limits, quotas, a closed network and rights."""
