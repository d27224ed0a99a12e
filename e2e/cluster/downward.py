"""What a pod may ask about itself (Kubernetes' downward API), and its containers' environment made of it."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from e2e.cluster.api import Api

Pod = dict[str, Any]

_KEYED = re.compile(r"^metadata\.(labels|annotations)\['(.+)'\]$")
_REFERENCE = re.compile(r"\$\$|\$\(([A-Za-z_][A-Za-z0-9_]*)\)")
_FIELDS = {
    "metadata.name": ("metadata", "name"),
    "metadata.namespace": ("metadata", "namespace"),
    "metadata.uid": ("metadata", "uid"),
    "spec.nodeName": ("spec", "nodeName"),
    "spec.serviceAccountName": ("spec", "serviceAccountName"),
    "status.podIP": ("status", "podIP"),
    "status.hostIP": ("status", "hostIP"),
}


def field(pod: Pod, path: str) -> bytes:
    """The text of one field. Labels and annotations as a whole have a line ``key="value"`` each."""
    if path in ("metadata.labels", "metadata.annotations"):
        pairs = sorted(pod["metadata"].get(path.partition(".")[2], {}).items())
        return "\n".join(f"{key}={_quoted(value)}" for key, value in pairs).encode()
    if keyed := _KEYED.match(path):
        return str(pod["metadata"].get(keyed[1], {}).get(keyed[2], "")).encode()
    if path not in _FIELDS:
        raise ValueError(f"the downward API has no field {path}, or e2e/cluster/downward.py does not know it")
    first, second = _FIELDS[path]
    return str(pod[first].get(second, "")).encode()


def environment(api: Api, pod: Pod, container: dict[str, Any]) -> dict[str, str]:
    """The variables in their order; a later one may use ``$(EARLIER)``."""
    made: dict[str, str] = {}
    for variable in container.get("env", []):
        value = variable.get("value")
        made[variable["name"]] = (
            expand(value, made) if value is not None else _value(api, pod, container, variable.get("valueFrom"))
        )
    return made


def expand(text: str, variables: dict[str, str]) -> str:
    """``$(NAME)`` by its value if there is one, else as it stands; ``$$`` is one dollar."""

    def replace(match: re.Match[str]) -> str:
        return "$" if match[0] == "$$" else variables.get(match[1], match[0])

    return _REFERENCE.sub(replace, text)


def _value(api: Api, pod: Pod, container: dict[str, Any], source: dict[str, Any] | None) -> str:
    if source is None:
        return ""
    kind, said = next(iter(source.items()))
    namespace = pod["metadata"]["namespace"]
    match kind:
        case "fieldRef":
            return field(pod, said["fieldPath"]).decode()
        case "resourceFieldRef":
            bound, _, resource = said["resource"].partition(".")
            return str(container["resources"][bound][resource])
        case "configMapKeyRef":
            return str(api.get(f"/api/v1/namespaces/{namespace}/configmaps/{said['name']}")["data"][said["key"]])
        case "secretKeyRef":
            secret = api.get(f"/api/v1/namespaces/{namespace}/secrets/{said['name']}")
            return base64.b64decode(secret["data"][said["key"]]).decode()
    raise ValueError(f"environment from {kind} is not known to e2e/cluster/downward.py")


def _quoted(value: str) -> str:
    """Go's %q, as far as labels and ordinary annotations need it."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
