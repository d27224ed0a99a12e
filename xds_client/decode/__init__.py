"""From protobuf to the typed model. Nothing outside this folder (and the codec) knows protobuf."""

from xds_client.decode.parsed import Content, Parsed, Value, content, parse

__all__ = ["Content", "Parsed", "Value", "content", "parse"]
