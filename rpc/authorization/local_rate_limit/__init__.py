"""How many requests are let through: Envoy's ``local_ratelimit`` filter.

`filter` compiles one, `buckets` count, `descriptors` say of which kind a request is.
"""
