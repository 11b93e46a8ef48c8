"""The controller of InferenceJobs: it keeps a Deployment, a Service, a PodDisruptionBudget and an autoscaler for each.

`informers` observes; `plan`, `datasets`, `reasons`, `status`, `drift`, `builders` and `podspec` are pure; `children`
and `status_writer` write. `reconciler` connects them. Nothing here imports another controller.
"""
