"""The agent of the rehearsal: plays what runs on a node, for nodes that exist on the API server only.

One module a role (`kubelet`, `discovery`, `device_plugin`, `mig_manager`, `sriov`), each a pure ``desired`` that says
what labels, annotations and status the role would write; `nodes` puts them together and writes what differs.
`pods` runs process-backed pods, `cluster_policy` plays the GPU operator's status.
"""

FIELD_MANAGER = "inferstack-simulator"
