"""The agent of the rehearsal: plays what runs on a node, for nodes that exist on the API server only.

One module a role (`kubelet`, `discovery`, `device_plugin`, `mig_manager`, `virtual_functions`), each a pure ``desired``
that returns labels, annotations and status; `nodes` merges them and writes what differs.
`pods` runs process-backed pods, `cluster_policy` plays the GPU operator's status.
"""

FIELD_MANAGER = "inferstack-simulator"
