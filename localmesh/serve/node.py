"""Who is on the other end of a stream: the node of its first request, checked as istiod checks it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from localmesh.compile import Locality, View
from localmesh.compile.registry import locality_of
from localmesh.config.service_entry import is_ip

if TYPE_CHECKING:
    from collections.abc import Mapping

    from localmesh import xds

_PARTS = 4


class InvalidNode(ValueError):  # noqa: N818  # says what it is, as TargetMissing does elsewhere
    """The stream ends with INVALID_ARGUMENT; the message is its reason."""


@dataclass(frozen=True, slots=True)
class Node:
    """``service_account`` is what it says it runs as; "" if it does not say."""

    id: str
    view: View
    service_account: str = ""


def parse_node(node: xds.core.Node | None) -> Node:
    """`sidecar~IP~POD.NAMESPACE~NAMESPACE.svc.DOMAIN`; the namespace may come from the metadata, as in istiod."""
    if node is None or not node.id:
        raise InvalidNode("missing node information")
    parts = node.id.split("~")
    if len(parts) != _PARTS:
        raise InvalidNode(f"missing parts in the service node {node.id!r}: wanted sidecar~IP~POD.NS~NS.svc.DOMAIN")
    kind, ip, pod, _ = parts
    if kind != "sidecar":
        raise InvalidNode(f"invalid node type in the service node {node.id!r}: localmesh serves sidecars only")
    metadata = node.metadata.fields
    if generator := _text(metadata, "GENERATOR"):
        raise InvalidNode(f"GENERATOR {generator!r}: localmesh serves sidecar resources only")
    instances = _text(metadata, "INSTANCE_IPS")
    given = dict.fromkeys([*(instances.split(",") if instances else ()), ip])
    addresses = tuple(address for address in given if is_ip(address))
    if not addresses:
        raise InvalidNode(f"no valid IP address in the service node {node.id!r} or its metadata INSTANCE_IPS")
    namespace = _text(metadata, "NAMESPACE") or pod.partition(".")[2]
    labels: dict[str, str] = {}
    if (own := metadata.get("LABELS")) is not None:
        labels = {key: value.string_value for key, value in own.struct_value.fields.items()}
    view = View(namespace, _locality(node, labels), tuple(sorted(labels.items())), addresses)
    return Node(node.id, view, _text(metadata, "SERVICE_ACCOUNT"))


def _text(metadata: Mapping[str, Any], key: str) -> str:
    value = metadata.get(key)
    return str(value.string_value) if value is not None else ""


def _locality(node: xds.core.Node, labels: dict[str, str]) -> Locality:
    """Labels win over the node's own locality (setTopologyLabels)."""
    if (by_label := locality_of(labels)) is not None:
        return by_label
    given = node.locality
    return Locality(given.region, given.zone, given.sub_zone)
