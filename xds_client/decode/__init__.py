"""From protobuf to the typed model. Nothing outside this folder (and the codec) knows protobuf."""

from xds_client.decode.parsed import Parsed, Value, parse

__all__ = ["Parsed", "Value", "parse"]
