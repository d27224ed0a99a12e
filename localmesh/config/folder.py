"""Reads a folder of Istio YAML into typed resources: all of it, or a `ConfigError` that lists all that is wrong.

Pure but for reading the files; any thread.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from localmesh.config.decode import NULL, Decoder, Refused, Spec
from localmesh.config.destination_rule import DestinationRule
from localmesh.config.kinds import Standing, standing_of
from localmesh.config.mesh_config import MeshConfig
from localmesh.config.peer_authentication import PeerAuthentication
from localmesh.config.service_entry import ServiceEntry, WorkloadEntry
from localmesh.config.text import NotYaml, documents, read_text, yaml_files
from localmesh.config.virtual_service import VirtualService
from localmesh.errors import ConfigError, Problem

if TYPE_CHECKING:
    from pathlib import Path

    import yaml

log = logging.getLogger("localmesh")

MESH_FILES = ("mesh.yaml", "mesh.yml")
DEFAULT_NAMESPACE = "default"

SpecT_co = TypeVar("SpecT_co", bound=Spec, covariant=True)


@dataclass(frozen=True, slots=True)
class Resource(Generic[SpecT_co]):
    """One document: a spec and the metadata that istiod reads."""

    name: str
    namespace: str
    spec: SpecT_co
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Resources:
    """Everything in the folder, each kind in istiod's order: by name, then namespace (all are of one age).

    ``ignored`` are file and kind of the documents that are known to Istio or Kubernetes, but not served.
    """

    mesh: MeshConfig = field(default_factory=MeshConfig)
    service_entries: tuple[Resource[ServiceEntry], ...] = ()
    workload_entries: tuple[Resource[WorkloadEntry], ...] = ()
    virtual_services: tuple[Resource[VirtualService], ...] = ()
    destination_rules: tuple[Resource[DestinationRule], ...] = ()
    peer_authentications: tuple[Resource[PeerAuthentication], ...] = ()
    ignored: tuple[tuple[str, str], ...] = ()


_SPECS: dict[str, type[Spec]] = {
    "ServiceEntry": ServiceEntry,
    "WorkloadEntry": WorkloadEntry,
    "VirtualService": VirtualService,
    "DestinationRule": DestinationRule,
    "PeerAuthentication": PeerAuthentication,
}


class _Reader:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mesh = MeshConfig()
        self.found: dict[str, dict[tuple[str, str], Resource[Any]]] = {kind: {} for kind in _SPECS}
        self.problems: list[Problem] = []
        self.ignored: dict[tuple[str, str], None] = {}  # (file, kind), in order

    def read(self) -> Resources:
        listing = yaml_files(self.folder)
        self.problems += listing.problems
        for path in listing.files:
            decoder = Decoder(str(path))
            self._file(path, decoder)
            self.problems += decoder.problems
        if self.problems:
            raise ConfigError(self.problems)
        ordered = {kind: tuple(found[key] for key in sorted(found)) for kind, found in self.found.items()}
        return Resources(
            mesh=self.mesh,
            service_entries=ordered["ServiceEntry"],
            workload_entries=ordered["WorkloadEntry"],
            virtual_services=ordered["VirtualService"],
            destination_rules=ordered["DestinationRule"],
            peer_authentications=ordered["PeerAuthentication"],
            ignored=tuple(self.ignored),
        )

    def _file(self, path: Path, decoder: Decoder) -> None:
        """Whatever is wrong with it ends up in the decoder's problems, our own faults included."""
        try:
            for node in documents(read_text(path)):
                if node.tag != NULL:
                    with suppress(Refused):
                        self._document(path, node, decoder)
        except NotYaml as error:
            decoder.add(error.line, error.reason)
        except Exception as error:
            log.exception("%s", path)
            decoder.add(1, f"cannot be read ({error!r:.200}): that is a fault of localmesh's own, please report it")

    def _document(self, path: Path, node: yaml.Node, decoder: Decoder) -> None:
        if path.parent == self.folder and path.name in MESH_FILES:
            self.mesh = decoder.spec(node, MeshConfig, "MeshConfig")
            return
        entries = decoder.entries(node, "document")
        if not entries:
            return
        for key in ("apiVersion", "kind"):
            if key not in entries:
                raise decoder.refuse(node, key, "is missing: every document needs apiVersion and kind")
        api_version = decoder.value(entries["apiVersion"], str, "apiVersion")
        kind = decoder.value(entries["kind"], str, "kind")
        match standing_of(api_version, kind):
            case Standing.UNKNOWN_VERSION:
                raise decoder.refuse(entries["apiVersion"], kind, f"unknown apiVersion {api_version!r}")
            case Standing.UNKNOWN_KIND:
                raise decoder.refuse(entries["kind"], api_version, f"unknown kind {kind!r}")
            case Standing.IGNORED:
                self.ignored[str(path), kind] = None
            case Standing.SERVED:
                self._resource(node, entries, kind, decoder)

    def _resource(self, node: yaml.Node, entries: dict[str, yaml.Node], kind: str, decoder: Decoder) -> None:
        for key in ("metadata", "spec"):
            if key not in entries:
                raise decoder.refuse(node, kind, f"{key} is missing")
        for key in entries.keys() - {"apiVersion", "kind", "metadata", "spec", "status"}:
            decoder.report(entries[key], f"{kind}.{key}: unknown field")
        given = decoder.entries(entries["metadata"], f"{kind}.metadata")
        if "name" not in given:
            raise decoder.refuse(entries["metadata"], f"{kind}.metadata", "name is missing")
        name = decoder.value(given["name"], str, f"{kind}.metadata.name")
        namespace = DEFAULT_NAMESPACE
        if "namespace" in given:
            namespace = decoder.value(given["namespace"], str, f"{kind}.metadata.namespace")
        labels: Mapping[str, str] = {}
        if "labels" in given:
            labels = decoder.value(given["labels"], Mapping[str, str], f"{kind}.metadata.labels")
        spec = decoder.spec(entries["spec"], _SPECS[kind], f"{kind} {namespace}/{name} spec")
        if (name, namespace) in self.found[kind]:
            raise decoder.refuse(node, kind, f"{namespace}/{name} is defined twice")
        self.found[kind][name, namespace] = Resource(name, namespace, spec, labels)


def read_folder(folder: Path) -> Resources:
    """The folder's resources; raises `ConfigError` with every problem found."""
    return _Reader(folder).read()
