"""Reads a folder of Istio YAML into typed resources: all of it, or a `ConfigError` that lists all that is wrong.

Pure but for reading the files; any thread.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import yaml

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

log = logging.getLogger("proxyless.localmesh")

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
    created: datetime | None = None


@dataclass(frozen=True, slots=True)
class Resources:
    """Everything in the folder, each kind in istiod's order: by age, name, namespace. Of two that clash the first wins.

    ``ignored`` are file and kind of the documents that are known to Istio or Kubernetes, but not served.
    """

    mesh: MeshConfig = field(default_factory=MeshConfig)
    service_entries: tuple[Resource[ServiceEntry], ...] = ()
    workload_entries: tuple[Resource[WorkloadEntry], ...] = ()
    virtual_services: tuple[Resource[VirtualService], ...] = ()
    destination_rules: tuple[Resource[DestinationRule], ...] = ()
    peer_authentications: tuple[Resource[PeerAuthentication], ...] = ()
    ignored: tuple[tuple[str, str], ...] = ()


_METADATA: dict[str, Any] = {"name": str, "namespace": str, "labels": Mapping[str, str], "creationTimestamp": str}
_LONGEST_TIME = len("2026-01-31T12:00:00.000000000+00:00")
_DAY = len("2026-01-31")

_SPECS: dict[str, type[Spec]] = {
    "ServiceEntry": ServiceEntry,
    "WorkloadEntry": WorkloadEntry,
    "VirtualService": VirtualService,
    "DestinationRule": DestinationRule,
    "PeerAuthentication": PeerAuthentication,
}


class _Reader:
    def __init__(self, folder: Path, ignore: frozenset[str]) -> None:
        self.folder = folder
        self._ignore = ignore
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
        ordered = {kind: tuple(sorted(found.values(), key=_age)) for kind, found in self.found.items()}
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
        self._entries(path, node, decoder.entries(node, "document"), decoder)

    def _entries(self, path: Path, node: yaml.Node, entries: dict[str, yaml.Node], decoder: Decoder) -> None:
        if not entries:
            return
        for key in ("apiVersion", "kind"):
            if key not in entries:
                raise decoder.refuse(node, key, "is missing: every document needs apiVersion and kind")
        api_version = decoder.value(entries["apiVersion"], str, "apiVersion")
        kind = decoder.value(entries["kind"], str, "kind")
        if (api_version, kind) == ("v1", "List"):  # as kubectl writes what it gets
            self._list(path, entries.get("items"), decoder)
            return
        match standing_of(api_version, kind):
            case Standing.UNKNOWN_VERSION:
                raise decoder.refuse(entries["apiVersion"], kind, f"unknown apiVersion {api_version!r}")
            case Standing.UNKNOWN_KIND:
                raise decoder.refuse(entries["kind"], api_version, f"unknown kind {kind!r}")
            case Standing.GUARD if kind not in self._ignore:
                reason = (
                    "localmesh does not carry it out, and would let in whom it keeps out: take it out of the folder"
                )
                raise decoder.refuse(entries["kind"], kind, f"{reason}, or say --ignore {kind}")
            case Standing.IGNORED | Standing.GUARD:
                self.ignored[str(path), kind] = None
            case Standing.SERVED:
                self._resource(node, entries, kind, decoder)

    def _list(self, path: Path, items: yaml.Node | None, decoder: Decoder) -> None:
        if items is not None and not isinstance(items, yaml.SequenceNode):
            raise decoder.refuse(items, "List.items", "must be a list")
        for item in items.value if items is not None else ():
            with suppress(Refused):
                self._entries(path, item, decoder.entries(item, "List.items"), decoder)

    def _resource(self, node: yaml.Node, entries: dict[str, yaml.Node], kind: str, decoder: Decoder) -> None:
        for key in ("metadata", "spec"):
            if key not in entries:
                raise decoder.refuse(node, kind, f"{key} is missing")
        for key in entries.keys() - {"apiVersion", "kind", "metadata", "spec", "status"}:
            decoder.report(entries[key], f"{kind}.{key}: unknown field")
        named = self._metadata(entries["metadata"], kind, decoder)
        spec = decoder.spec(entries["spec"], _SPECS[kind], f"{kind} {named.namespace}/{named.name} spec")
        if (named.name, named.namespace) in self.found[kind]:
            raise decoder.refuse(node, kind, f"{named.namespace}/{named.name} is defined twice")
        self.found[kind][named.name, named.namespace] = replace(named, spec=spec)

    def _metadata(self, node: yaml.Node, kind: str, decoder: Decoder) -> Resource[Any]:
        """A resource that has no spec yet."""
        path = f"{kind}.metadata"
        given = decoder.entries(node, path)
        if "name" not in given:
            raise decoder.refuse(node, path, "name is missing")
        read = {
            key: decoder.value(given[key], hint, f"{path}.{key}") for key, hint in _METADATA.items() if key in given
        }
        created = None
        if "creationTimestamp" in read:
            created = _time(read["creationTimestamp"])
            if created is None:
                reason = f"{read['creationTimestamp']!r} is not a time such as 2026-01-31T12:00:00Z"
                raise decoder.refuse(given["creationTimestamp"], f"{path}.creationTimestamp", reason)
        namespace = read.get("namespace", DEFAULT_NAMESPACE)
        return Resource(read["name"], namespace, Spec(), read.get("labels", {}), created)


def _time(text: str) -> datetime | None:
    """RFC 3339, as Kubernetes writes it."""
    if len(text) > _LONGEST_TIME or text[_DAY : _DAY + 1] not in ("T", "t", " "):
        return None
    with suppress(ValueError):  # the 31st of February
        found = datetime.fromisoformat(text)
        return found if found.tzinfo is not None else None
    return None


def _age(resource: Resource[Any]) -> tuple[bool, datetime, str, str]:
    """As istiod orders (`sortConfigByCreationTime`): the oldest first, then by name; what was never created is new."""
    created = resource.created
    return created is None, created or datetime.max.replace(tzinfo=UTC), resource.name, resource.namespace


def read_folder(folder: Path, ignore: frozenset[str] = frozenset()) -> Resources:
    """The folder's resources; raises `ConfigError` with every problem found.

    Policies that say who may call are refused where they are not carried out, unless their kind is to be ignored.
    """
    return _Reader(folder, ignore).read()
