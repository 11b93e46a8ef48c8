"""Inference: the InferenceJob kind, the operator that serves it, and the stack's own jobs."""
