"""Inference: the InferenceJob kind, the operator that serves it, and the stack's own jobs."""

from components.inference.component import InferenceJobs, InferenceOperator
from components.inference.settings import InferenceSettings

__all__ = ["InferenceJobs", "InferenceOperator", "InferenceSettings"]
