"""Reads a folder of Istio YAML into typed resources: all of it, or a `ConfigError` that lists all that is wrong.

Pure but for reading the files; any thread.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import yaml

from localmesh.config.authorization_policy import Action, AuthorizationPolicy
from localmesh.config.decode import NULL, Decoder, Refused, Spec
from localmesh.config.destination_rule import DestinationRule
from localmesh.config.kinds import Standing, standing_of
from localmesh.config.kubernetes import (
    SERVICE_NAME,
    Endpoints,
    EndpointSlice,
    KubernetesService,
    host_of,
    service_entry,
)
from localmesh.config.mesh_config import MeshConfig
from localmesh.config.peer_authentication import PeerAuthentication
from localmesh.config.request_authentication import RequestAuthentication
from localmesh.config.service_entry import ServiceEntry, WorkloadEntry
from localmesh.config.text import NotYaml, documents, read_text, yaml_files
from localmesh.config.virtual_service import VirtualService
from localmesh.errors import ConfigError, Problem

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger("proxyless.localmesh")

MESH_FILES = ("mesh.yaml", "mesh.yml")
DEFAULT_NAMESPACE = "default"
DRY_RUN = "istio.io/dry-run"
_BOOLEANS = {  # Go's strconv.ParseBool
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False),
}

SpecT_co = TypeVar("SpecT_co", bound=Spec, covariant=True)


@dataclass(frozen=True, slots=True)
class Resource(Generic[SpecT_co]):
    """One document: a spec and the metadata that istiod reads."""

    name: str
    namespace: str
    spec: SpecT_co
    labels: Mapping[str, str] = field(default_factory=dict)
    created: datetime | None = None
    dry_run: bool = False  # a policy that is evaluated and counted, and decides nothing


@dataclass(frozen=True, slots=True)
class Resources:
    """Everything in the folder, each kind in istiod's order: by age, name, namespace. Of two that clash the first wins.

    Kubernetes' own Services are ServiceEntries here; ``notes`` say which are not. ``ignored`` are file and kind of the
    documents that are known to Istio or Kubernetes, but not served.
    """

    mesh: MeshConfig = field(default_factory=MeshConfig)
    service_entries: tuple[Resource[ServiceEntry], ...] = ()
    workload_entries: tuple[Resource[WorkloadEntry], ...] = ()
    virtual_services: tuple[Resource[VirtualService], ...] = ()
    destination_rules: tuple[Resource[DestinationRule], ...] = ()
    peer_authentications: tuple[Resource[PeerAuthentication], ...] = ()
    request_authentications: tuple[Resource[RequestAuthentication], ...] = ()
    authorization_policies: tuple[Resource[AuthorizationPolicy], ...] = ()
    notes: tuple[str, ...] = ()
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
    "RequestAuthentication": RequestAuthentication,
    "AuthorizationPolicy": AuthorizationPolicy,
}
_KUBERNETES: dict[str, type[Spec]] = {
    "Service": KubernetesService,
    "EndpointSlice": EndpointSlice,
    "Endpoints": Endpoints,
}


@dataclass(slots=True)
class _File:
    """What one file says: kept as long as its text is the same, so that an edit costs the file that was edited."""

    text: str
    mesh: MeshConfig | None = None
    found: list[tuple[str, int, Resource[Any]]] = field(default_factory=list)  # kind, line, resource
    problems: list[Problem] = field(default_factory=list)
    ignored: dict[str, None] = field(default_factory=dict)  # kinds, in order


@dataclass(frozen=True, slots=True)
class _Converted:
    """A ServiceEntry, and what it was made from: the same object as long as that is the same."""

    service: Resource[KubernetesService]
    behind: list[EndpointSlice | Endpoints]
    entry: Resource[ServiceEntry]


class FolderReader:
    """Reads a folder again and again. What did not change are the same objects as before. Not for two threads at once.

    Documents of kinds that are to be ignored are named in what is read, and left out.
    """

    def __init__(self, folder: Path, ignore: frozenset[str] = frozenset(), domain: str = "cluster.local") -> None:
        """``domain``: of the names of Kubernetes' own Services."""
        self.folder = folder
        self._ignore = ignore
        self._domain = domain
        self._files: dict[Path, _File] = {}
        self._converted: dict[tuple[str, str], _Converted] = {}

    def read(self) -> Resources:
        """Raises `ConfigError` with every problem found."""
        listing = yaml_files(self.folder)
        self._files = {path: self._file(path, self._files.get(path)) for path in listing.files}
        problems = list(listing.problems)
        found: dict[str, dict[tuple[str, str], Resource[Any]]] = {kind: {} for kind in (*_SPECS, *_KUBERNETES)}
        for path, file in self._files.items():
            twice = [
                Problem(str(path), line, f"{kind}: {resource.namespace}/{resource.name} is defined twice")
                for kind, line, resource in file.found
                if found[kind].setdefault((resource.name, resource.namespace), resource) is not resource
            ]
            problems += file.problems if not twice else Decoder(str(path), [*file.problems, *twice]).problems
        if problems:
            raise ConfigError(problems)
        made = self._convert(found)
        notes = tuple(_without_their_host(found["ServiceEntry"].values(), made))
        ordered = {kind: tuple(sorted(one.values(), key=_age)) for kind, one in found.items()}
        ordered["ServiceEntry"] = tuple(sorted((*found["ServiceEntry"].values(), *made), key=_age))
        meshes = [file.mesh for file in self._files.values() if file.mesh is not None]
        return Resources(
            mesh=meshes[-1] if meshes else MeshConfig(),
            service_entries=ordered["ServiceEntry"],
            workload_entries=ordered["WorkloadEntry"],
            virtual_services=ordered["VirtualService"],
            destination_rules=ordered["DestinationRule"],
            peer_authentications=ordered["PeerAuthentication"],
            request_authentications=ordered["RequestAuthentication"],
            authorization_policies=ordered["AuthorizationPolicy"],
            notes=notes,
            ignored=tuple((str(path), kind) for path, file in self._files.items() for kind in file.ignored),
        )

    def _convert(self, found: dict[str, dict[tuple[str, str], Resource[Any]]]) -> list[Resource[ServiceEntry]]:
        """Kubernetes' Services as ServiceEntries."""
        behind: dict[tuple[str, str], list[EndpointSlice | Endpoints]] = {}
        for one in found["EndpointSlice"].values():
            behind.setdefault((one.labels.get(SERVICE_NAME, ""), one.namespace), []).append(one.spec)
        for key, one in found["Endpoints"].items():
            behind.setdefault(key, []).append(one.spec)
        before, self._converted = self._converted, {}
        for key, service in found["Service"].items():
            made, listed = before.get(key), behind.get(key, [])
            if made is None or made.service is not service or made.behind != listed:
                spec = service_entry(service.spec.spec, host_of(*key, self._domain), listed)
                made = _Converted(service, listed, replace(service, spec=spec))
            self._converted[key] = made
        return [made.entry for made in self._converted.values()]

    def _file(self, path: Path, before: _File | None) -> _File:
        try:
            text = read_text(path)
        except NotYaml as error:
            return _File("", problems=[Problem(str(path), error.line, error.reason)])
        if before is not None and before.text == text and not before.problems:
            return before
        is_mesh_config = path.parent == self.folder and path.name in MESH_FILES
        return _FileReader(path, text, self._ignore).read(is_mesh_config=is_mesh_config)


def _without_their_host(
    entries: Iterable[Resource[ServiceEntry]], made: Iterable[Resource[ServiceEntry]]
) -> Iterator[str]:
    """Whatever its age and namespace, a Service of Kubernetes keeps its host: nobody takes it by a ServiceEntry."""
    owners = {host.lower(): f"{one.namespace}/{one.name}" for one in made for host in one.spec.hosts}
    for entry in entries:
        for number, host in enumerate(entry.spec.hosts):
            if (owner := owners.get(host.lower())) is not None:
                where = f"ServiceEntry {entry.namespace}/{entry.name}: hosts[{number}]"
                yield f"{where}: Service {owner} of Kubernetes has the host already, and holds"


class _FileReader:
    """Whatever is wrong with it ends up in the file's problems, our own faults included."""

    def __init__(self, path: Path, text: str, ignore: frozenset[str]) -> None:
        self._path = path
        self._ignore = ignore
        self._made = _File(text)

    def read(self, *, is_mesh_config: bool) -> _File:
        decoder = Decoder(str(self._path))
        try:
            for node in documents(self._made.text):
                if node.tag != NULL:
                    with suppress(Refused):
                        self._document(node, decoder, is_mesh_config=is_mesh_config)
        except NotYaml as error:
            decoder.add(error.line, error.reason)
        except Exception as error:
            log.exception("%s", self._path)
            decoder.add(1, f"cannot be read ({error!r:.200}): that is a fault of localmesh's own, please report it")
        self._made.problems = decoder.problems
        return self._made

    def _document(self, node: yaml.Node, decoder: Decoder, *, is_mesh_config: bool) -> None:
        if is_mesh_config:
            self._made.mesh = decoder.spec(node, MeshConfig, "MeshConfig")
        else:
            self._entries(node, decoder.entries(node, "document"), decoder)

    def _entries(self, node: yaml.Node, entries: dict[str, yaml.Node], decoder: Decoder) -> None:
        if not entries:
            return
        for key in ("apiVersion", "kind"):
            if key not in entries:
                raise decoder.refuse(node, key, "is missing: every document needs apiVersion and kind")
        api_version = decoder.value(entries["apiVersion"], str, "apiVersion")
        kind = decoder.value(entries["kind"], str, "kind")
        if (api_version, kind) == ("v1", "List"):  # as kubectl writes what it gets
            self._list(entries.get("items"), decoder)
            return
        match standing_of(api_version, kind, self._ignore):
            case Standing.UNKNOWN_VERSION:
                raise decoder.refuse(entries["apiVersion"], kind, f"unknown apiVersion {api_version!r}")
            case Standing.UNKNOWN_KIND:
                raise decoder.refuse(entries["kind"], api_version, f"unknown kind {kind!r}")
            case Standing.IGNORED:
                self._made.ignored[kind] = None
            case Standing.SERVED:
                read = self._kubernetes if kind in _KUBERNETES else self._resource
                read(node, entries, kind, decoder)

    def _list(self, items: yaml.Node | None, decoder: Decoder) -> None:
        if items is not None and not isinstance(items, yaml.SequenceNode):
            raise decoder.refuse(items, "List.items", "must be a list")
        for item in items.value if items is not None else ():
            with suppress(Refused):
                self._entries(item, decoder.entries(item, "List.items"), decoder)

    def _resource(self, node: yaml.Node, entries: dict[str, yaml.Node], kind: str, decoder: Decoder) -> None:
        for key in ("metadata", "spec"):
            if key not in entries:
                raise decoder.refuse(node, kind, f"{key} is missing")
        for key in entries.keys() - {"apiVersion", "kind", "metadata", "spec", "status"}:
            decoder.report(entries[key], f"{kind}.{key}: unknown field")
        named = self._metadata(entries["metadata"], kind, decoder)
        spec = decoder.spec(entries["spec"], _SPECS[kind], f"{kind} {named.namespace}/{named.name} spec")
        dry_run = _is_dry_run(entries["metadata"], f"{kind}.metadata", spec, decoder)
        self._made.found.append((kind, node.start_mark.line + 1, replace(named, spec=spec, dry_run=dry_run)))

    def _kubernetes(self, node: yaml.Node, entries: dict[str, yaml.Node], kind: str, decoder: Decoder) -> None:
        """Not all of these have a spec; the document itself is read as one."""
        if "metadata" not in entries:
            raise decoder.refuse(node, kind, "metadata is missing")
        named = self._metadata(entries["metadata"], kind, decoder)
        spec = decoder.spec(node, _KUBERNETES[kind], f"{kind} {named.namespace}/{named.name}")
        self._made.found.append((kind, node.start_mark.line + 1, replace(named, spec=spec)))

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


def _is_dry_run(metadata: yaml.Node, path: str, spec: Spec, decoder: Decoder) -> bool:
    """What the annotation says, where there may be one (`checkDryRunAnnotation`)."""
    annotations = decoder.entries(metadata, path).get("annotations")
    node = decoder.entries(annotations, f"{path}.annotations").get(DRY_RUN) if annotations is not None else None
    if node is None:
        return False
    path = f"{path}.annotations.{DRY_RUN}"
    if not isinstance(spec, AuthorizationPolicy) or spec.action not in (Action.ALLOW, Action.DENY):
        raise decoder.refuse(node, path, "only an AuthorizationPolicy with the action ALLOW or DENY may have it")
    said = decoder.value(node, str, path)
    if said not in _BOOLEANS:
        raise decoder.refuse(node, path, f"{said!r} is neither true nor false")
    return _BOOLEANS[said]


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
    """The folder's resources, read once."""
    return FolderReader(folder, ignore).read()
