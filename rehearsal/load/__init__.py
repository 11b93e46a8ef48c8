"""The load simulator: simulated requests to simulated inference servers, and the metrics of servers, GPUs and proxies.

All modules are pure except `app` (the process, which watches pods and nodes and serves metrics on loopback) and
`control` (the file in the state folder that says which scenario runs). The simulator writes nothing to the API server.
"""
