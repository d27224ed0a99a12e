"""Real Envoy sidecars: pods with network namespaces of their own, the agent's duties, and who calls whom in them."""
