"""What every Kubernetes object has in common, in the manner of k8s.io/apimachinery.

Quantities, times, conditions and the strict base of pydantic models. Everything here is pure: no I/O, no clock. All
other packages may import it; it imports none of them.
"""
