"""The whole cluster: a real Kubernetes API server, a real istiod, and the chart's pods as processes or in kind."""
