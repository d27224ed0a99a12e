"""A pod's volumes as folders, written as the kubelet writes them: whole versions that are swapped by one symlink.

Sources: ConfigMaps, Secrets, the downward API, ServiceAccount tokens (real TokenRequests, renewed before they expire).
"""

from __future__ import annotations

import base64
import os
import random
import shutil
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

from e2e.cluster.api import ApiError
from e2e.cluster.downward import field

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.cluster.api import Api

# kubelet pkg/kubelet/token: a token is renewed when 80 % of its life is over, or after a day.
_TOKEN_LIFE = 0.8
_TOKEN_AGE = 24 * 3600.0

_MODE = 0o644
_TOKEN_MODE = 0o600  # and it belongs to the container's user, if the pod has one for all (projected.go, fsUser)


class VolumeError(Exception):
    """What a volume is made of is not there (yet); Kubernetes' FailedMount."""


class Volume:
    """One volume of one pod. `refresh` writes what its sources say now, if it is something else."""

    def __init__(self, api: Api, pod: dict[str, Any], spec: dict[str, Any], folder: Path, owner: int) -> None:
        self.folder = folder
        self._api = api
        self._pod = pod
        self._owner = owner
        self._tokens: dict[str, tuple[float, bytes]] = {}
        self._written: dict[str, bytes] | None = None
        if "projected" in spec:
            self._sources = [next(iter(source.items())) for source in spec["projected"]["sources"]]
        else:
            kind = next(name for name in spec if name != "name")
            self._sources = [(kind, spec[kind])]
        folder.mkdir(parents=True)
        if self._sources[0][0] == "emptyDir":
            folder.chmod(0o777)

    def refresh(self) -> None:
        files: dict[str, bytes] = {}
        for kind, source in self._sources:
            files |= self._read(kind, source)
        if files != self._written:
            self._write(files)
            self._written = files

    def _read(self, kind: str, source: dict[str, Any]) -> dict[str, bytes]:
        match kind:
            case "emptyDir":
                return {}
            case "serviceAccountToken":
                return {source["path"]: self._token(source)}
            case "downwardAPI":
                return {item["path"]: field(self._pod, item["fieldRef"]["fieldPath"]) for item in source["items"]}
            case "configMap":
                found = self._object("configmaps", source)
                data = {name: text.encode() for name, text in found.get("data", {}).items()}
                return _chosen(data, source)
            case "secret":
                found = self._object("secrets", source)
                return _chosen({name: base64.b64decode(text) for name, text in found.get("data", {}).items()}, source)
        raise VolumeError(f"volumes of kind {kind} are not known to e2e/cluster/volumes.py")

    def _object(self, plural: str, source: dict[str, Any]) -> dict[str, Any]:
        name = source.get("name") or source["secretName"]
        path = f"/api/v1/namespaces/{self._pod['metadata']['namespace']}/{plural}/{name}"
        try:
            return self._api.get(path)
        except ApiError as error:
            if error.reason == "NotFound":
                if source.get("optional"):
                    return {}
                raise VolumeError(f"{plural} {name} is not there") from error
            raise

    def _token(self, source: dict[str, Any]) -> bytes:
        renew_at, token = self._tokens.get(source["path"], (0.0, b""))
        if time.time() < renew_at:
            return token
        meta, spec = self._pod["metadata"], self._pod["spec"]
        account = f"/api/v1/namespaces/{meta['namespace']}/serviceaccounts/{spec['serviceAccountName']}"
        wanted: dict[str, Any] = {
            "expirationSeconds": source.get("expirationSeconds", 3600),
            "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": meta["name"], "uid": meta["uid"]},
        }
        if audience := source.get("audience"):
            wanted["audiences"] = [audience]
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": wanted}
        got = self._api.create(f"{account}/token", request)["status"]
        life = datetime.fromisoformat(got["expirationTimestamp"]).timestamp() - time.time()
        token = got["token"].encode()
        self._tokens[source["path"]] = (time.time() + min(life * _TOKEN_LIFE, _TOKEN_AGE), token)
        return token

    def _write(self, files: dict[str, bytes]) -> None:
        """pkg/volume/util/atomic_writer.go: FILE → ..data/FILE, and ..data → the newest folder, swapped by rename."""
        if not files:
            return
        version = self.folder / f"..{time.strftime('%Y_%m_%d_%H_%M_%S')}.{random.randrange(10**9)}"
        for name, data in files.items():
            path = version / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            path.chmod(_TOKEN_MODE if name in self._tokens else _MODE)
            if name in self._tokens:
                os.chown(path, self._owner, -1)
        link, draft = self.folder / "..data", self.folder / "..data_tmp"
        before = link.readlink() if link.is_symlink() else None
        draft.symlink_to(version.name)
        draft.replace(link)
        for name in {name.split("/")[0] for name in files}:
            visible = self.folder / name
            if not visible.is_symlink():
                visible.symlink_to(f"..data/{name}")
        if before is not None:
            shutil.rmtree(self.folder / before)


def _chosen(data: dict[str, bytes], source: dict[str, Any]) -> dict[str, bytes]:
    if "items" not in source:
        return data
    missing = [item["key"] for item in source["items"] if item["key"] not in data]
    if missing and not source.get("optional"):
        raise VolumeError(f"no key {missing[0]} in {source.get('name')}")
    return {item["path"]: data[item["key"]] for item in source["items"] if item["key"] in data}
