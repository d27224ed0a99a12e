"""CUSTOM: another service is asked whether a request may pass, as Envoy's ``ext_authz`` filter asks it.

`filter` compiles one, `attributes` is what the service is told, `service` asks it by gRPC and `http_service` by HTTP,
`verdict` is what its answer means and changes.
"""
