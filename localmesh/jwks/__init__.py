"""Keys of token issuers, fetched over HTTP: `fetch` gets them once, `KeySets` keeps them fresh."""

from localmesh.jwks.keeper import KeySets, Times

__all__ = ["KeySets", "Times"]
