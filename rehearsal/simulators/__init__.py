"""The agent of the rehearsal: simulates the operators and daemons of nodes that exist on the API server only.

One package per operator: `nodes` (kubelet, GPU operator, load balancers), `pods` (process-backed pods), `sriov`,
`fluid`, `keda` and `prometheus`; `app` composes them. It writes to the API server as `FIELD_MANAGER`, and to
logs/, run/pods/ and prometheus/ in the state folder.
"""

FIELD_MANAGER = "inferstack-simulator"
