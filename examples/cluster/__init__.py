"""Programs for pods without a sidecar: a provider and a consumer, as `charts/proxyless-demo` runs them."""
