"""The predictive scaler: a process that turns measurements into decisions in the ``status.scaling`` of InferenceJobs.

`controller` runs the control loop: `collector` observes the cluster and Prometheus, `decision` and `budget` decide
(pure), `publisher` writes the status and Events. Everything here may use the API server, Prometheus and the clock; the
scaling algorithms themselves are in `inferstack.scaling`.
"""
