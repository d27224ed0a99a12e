"""Delta ADS over plaintext gRPC, as istiod serves it."""
