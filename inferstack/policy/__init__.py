"""Policy as code: each rule once, as data with a pure check, for the policy pack and for the API server's admission."""
