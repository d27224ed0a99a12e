"""The native module, for every room: it imports nothing of ours. The engine is `rpc`'s to use (`rpc._native`)."""

from proxyless_native._native import Pattern

__all__ = ["Pattern"]
