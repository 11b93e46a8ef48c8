"""The load simulator: requests that nobody sends, served by servers that nobody runs, seen in their own metrics.

Pure: `scenario` (what is asked for), `arrivals` (when requests come), `server` (one replica), `simulation` (a job's
replicas behind a balancer), `devices` (which pod has which GPU), `pages` (metrics in Prometheus' format). Around it:
`cluster` (which pods there are), `app` (the process), `control` (what it is told by the command line).
"""
