"""Which balancing policy a channel's options mean for a target that has none of its own."""

from __future__ import annotations

from rpc.balancing.policies import known


def chosen(policy: str | None) -> str:
    """What nobody registered means gRPC's own default, as in grpcio."""
    return policy if policy is not None and policy in known() else "pick_first"
