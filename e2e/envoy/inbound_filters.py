"""A stock Envoy that does nothing but carry out inbound filters, of several configurations side by side.

Each configuration has a listener of its own, at a socket in a folder; whatever is let in reaches one backend, which
answers with what it saw.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from e2e.child import Child
from e2e.envoy.sidecar import ENVOY, UnixConnection

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_TYPE = "type.googleapis.com/envoy."
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


class FilteringEnvoy:
    """``filters``: by a listener's name its HTTP filters, as JSON; ``shown``: headers that tell the backend more."""

    def __init__(
        self,
        folder: Path,
        backend: str,
        filters: Mapping[str, Sequence[dict[str, Any]]],
        shown: Mapping[str, str] | None = None,
        clusters: Sequence[dict[str, Any]] = (),
    ) -> None:
        self._folder = folder
        self._admin = folder / "admin"
        self._shown = shown or {}
        config = {
            "admin": {"address": {"pipe": {"path": str(self._admin)}}},
            "static_resources": {
                "listeners": [self._listener(name, found) for name, found in filters.items()],
                "clusters": [_cluster("backend", backend), *clusters],
            },
        }
        path = folder / "envoy.json"
        path.write_text(json.dumps(config))
        command = [str(ENVOY), "-c", str(path), "--use-dynamic-base-id", "--concurrency", "1", "--log-level", "warn"]
        self._child = _Ready("envoy", command, folder / "envoy.log", self._admin)

    def start(self) -> None:
        self._child.start()

    def stop(self) -> None:
        self._child.stop()

    def address(self, name: str) -> str:
        return f"unix:{self._folder / name}"

    def _listener(self, name: str, filters: Sequence[dict[str, Any]]) -> dict[str, Any]:
        route = {
            "match": {"prefix": "/"},
            "route": {"cluster": "backend"},
            "request_headers_to_add": [
                {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
                for key, value in self._shown.items()
            ],
        }
        router = {"name": "router", "typed_config": typed("extensions.filters.http.router.v3.Router")}
        manager = typed(
            "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            stat_prefix=name,
            codec_type="HTTP2",
            http_filters=[*filters, router],
            route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        )
        network = [{"name": "http", "typed_config": manager}]
        return {
            "name": name,
            "address": {"pipe": {"path": str(self._folder / name)}},
            "filter_chains": [{"filters": network}],
        }


def typed(name: str, **fields: Any) -> dict[str, Any]:
    return {"@type": _TYPE + name, **fields}


def _cluster(name: str, path: str) -> dict[str, Any]:
    options = {"explicit_http_config": {"http2_protocol_options": {}}}
    endpoint = {"endpoint": {"address": {"pipe": {"path": path}}}}
    return {
        "name": name,
        "type": "STATIC",
        "typed_extension_protocol_options": {_HTTP_OPTIONS: typed(_HTTP_OPTIONS.removeprefix("envoy."), **options)},
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


class _Ready(Child):
    """It says by its admin interface that it is ready."""

    def __init__(self, name: str, command: list[str], log: Path, admin: Path) -> None:
        super().__init__(name, command, log, limit=60.0)
        self._admin = admin

    def _is_ready(self) -> bool:
        connection = UnixConnection(str(self._admin))
        try:
            connection.request("GET", "/ready")
            return connection.getresponse().read().strip() == b"LIVE"
        except OSError:
            return False
        finally:
            connection.close()

    def _wait_ready(self, offset: int) -> None:
        end = time.monotonic() + self._limit
        while not self._is_ready():
            if not self.running or time.monotonic() > end:
                raise RuntimeError(f"{self.name} is not ready:\n{self.tail()}")
            time.sleep(0.05)
