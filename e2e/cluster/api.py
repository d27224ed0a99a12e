"""Objects of a Kubernetes API server, as plain dictionaries: get, list, watch, apply, delete, and what pods answer.

Any thread. What the server refuses is an `ApiError` that carries the server's own words.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlencode

from kubernetes import client, config

if TYPE_CHECKING:
    from collections.abc import Iterator

Object = dict[str, Any]

FIELD_MANAGER = "proxyless-e2e"
_APPLY = "application/apply-patch+yaml"
_MERGE = "application/merge-patch+json"


class ApiError(Exception):
    """``status`` is HTTP's; ``reason`` is Kubernetes' machine-readable one (``NotFound``, ``Invalid``)."""

    def __init__(self, asked: str, status: int, body: bytes) -> None:
        try:
            told = json.loads(body)
            self.reason, said = str(told.get("reason", "")), told.get("message", "")
        except (ValueError, AttributeError):
            self.reason, said = "", body.decode(errors="replace")
        self.status = status
        super().__init__(f"{asked}: {status} {self.reason}: {said}")


class Api:
    """One API server, as one user."""

    def __init__(self, configuration: client.Configuration) -> None:
        self._server = configuration.host
        self._client = client.ApiClient(configuration)
        self._headers = {"Accept": "application/json", "User-Agent": FIELD_MANAGER}
        for setting in configuration.auth_settings().values():
            if setting["in"] == "header":
                self._headers[setting["key"]] = setting["value"]
        self._kinds: dict[tuple[str, str], tuple[str, bool]] = {}

    @classmethod
    def load(cls, kubeconfig: str | None = None) -> Self:
        """From a kubeconfig file; without one from where kubectl takes it."""
        configuration = client.Configuration()
        config.load_kube_config(kubeconfig, client_configuration=configuration)
        configuration.connection_pool_maxsize = 32
        return cls(configuration)

    def get(self, path: str, **query: str) -> Object:
        return dict(json.loads(self.request("GET", path, query=query)))

    def list(self, path: str, **query: str) -> list[Object]:
        return list(self.get(path, **query)["items"])

    def create(self, path: str, body: Object) -> Object:
        return dict(json.loads(self.request("POST", path, body, query={"fieldValidation": "Strict"})))

    def patch(self, path: str, body: Object) -> Object:
        return dict(json.loads(self.request("PATCH", path, body, content=_MERGE)))

    def delete(self, path: str, grace: int | None = None, uid: str = "") -> None:
        """Nothing happens if it is gone already, or is another one than ``uid`` by now."""
        options: Object = {} if grace is None else {"gracePeriodSeconds": grace}
        if uid:
            options["preconditions"] = {"uid": uid}
        try:
            self.request("DELETE", path, options)
        except ApiError as error:
            if error.reason not in ("NotFound", "Conflict"):
                raise

    def apply(self, manifest: Object, namespace: str = "", dry_run: bool = False) -> Object:
        """Server-side apply. A field that the server does not know is an error (fieldValidation=Strict)."""
        name = manifest["metadata"]["name"]
        query = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict", "force": "true"}
        if dry_run:
            query["dryRun"] = "All"
        path = f"{self.collection(manifest, namespace)}/{name}"
        return dict(json.loads(self.request("PATCH", path, manifest, content=_APPLY, query=query)))

    def collection(self, manifest: Object, namespace: str = "") -> str:
        """The path of the objects of this one's kind, in its own namespace or else in ``namespace``."""
        version, kind = manifest["apiVersion"], manifest["kind"]
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        if (version, kind) not in self._kinds:
            for one in self.get(root)["resources"]:
                if "/" not in one["name"]:
                    self._kinds[version, one["kind"]] = (one["name"], one["namespaced"])
        plural, namespaced = self._kinds[version, kind]
        if not namespaced:
            return f"{root}/{plural}"
        return f"{root}/namespaces/{manifest['metadata'].get('namespace', namespace)}/{plural}"

    def events(self, path: str, seconds: int = 300, **query: str) -> Iterator[tuple[str, Object]]:
        """``(ADDED | MODIFIED | DELETED, object)``: all there are now, then every change, for so long at most."""
        asked = {"watch": "true", "timeoutSeconds": str(seconds), **query}
        response = self._open("GET", path, query=asked, timeout=seconds + 10.0)
        try:
            for line in response:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    return  # "too old": the caller begins anew
                yield event["type"], event["object"]
        finally:
            response.close()

    def pod_get(self, namespace: str, pod: str, port: int, path: str) -> bytes:
        """GET http://POD:PORT/PATH, by way of the API server, which reaches every pod."""
        return self.request("GET", f"/api/v1/namespaces/{namespace}/pods/{pod}:{port}/proxy/{path}", timeout=10.0)

    def request(
        self,
        method: str,
        path: str,
        body: Object | None = None,
        *,
        content: str = "application/json",
        query: dict[str, str] | None = None,
        timeout: float = 30.0,
    ) -> bytes:
        response = self._open(method, path, body, content=content, query=query, timeout=timeout)
        data: bytes = response.data
        return data

    def _open(
        self,
        method: str,
        path: str,
        body: Object | None = None,
        *,
        content: str = "application/json",
        query: dict[str, str] | None = None,
        timeout: float,
    ) -> Any:
        url = f"{self._server}{path}" + (f"?{urlencode(query)}" if query else "")
        response = self._client.rest_client.pool_manager.request(
            method,
            url,
            body=None if body is None else json.dumps(body),
            headers={**self._headers, "Content-Type": content},
            timeout=timeout,
            preload_content=False,
            retries=False,
        )
        if response.status >= 400:
            raise ApiError(f"{method} {path}", response.status, response.data)
        return response
