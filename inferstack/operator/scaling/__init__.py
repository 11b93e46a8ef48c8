"""Deprecated module path of the predictive scaler, kept for one release."""
