"""The operator: an InferenceJob becomes a Deployment, a Service, a budget and an autoscaler, and says how it fares."""
