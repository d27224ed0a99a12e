"""Fixtures of the meshes that policies are carried out in."""

from __future__ import annotations

from tests.rpc.tls.conftest import mesh_root, our_world, reviews, shop, sync_world

__all__ = ["mesh_root", "our_world", "reviews", "shop", "sync_world"]
