"""LocalMesh: a folder of Istio YAML, compiled, served over delta ADS, and watched; and its CA.

Any thread may call it; one lock orders reloads, so that versions are published in the order of their numbers.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Self

from localmesh.ca import AUDIENCE, CertificateAuthority, TokenIssuer
from localmesh.ca.tokens import LIFETIME
from localmesh.compile import Snapshot
from localmesh.compile.jwt_authn import key_sources
from localmesh.config import FolderReader, Resources
from localmesh.config.kinds import GUARDS, IGNORABLE
from localmesh.errors import ConfigError, LocalMeshError, Problem, printable
from localmesh.jwks import KeySets
from localmesh.serve.addresses import check_free
from localmesh.serve.secrets import Secrets
from localmesh.serve.servers import Servers, Trust
from localmesh.serve.session import Published, Rejection
from localmesh.serve.streams import Streams
from localmesh.serve.watch import FolderWatch
from localmesh.workload import IP, SERVICE_ACCOUNT, plaintext_environment, secure_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

log = logging.getLogger("proxyless.localmesh")

DEFAULT_ADDRESS = "127.0.0.1:0"
PUSH_TIMEOUT = 10.0
DEFAULT_GRACE = 0.0
_LOGGED_PROBLEMS = 50


class LocalMesh:
    """An embedded control plane.

    Without authentication on ``address``, with it on ``secure_address`` (None: no such port), where certificates are
    signed too. ``ca`` is the authority, or a folder where it is kept; by default it is as short-lived as this object.
    Starting raises `ConfigError` if the folder cannot be served. Later on, a folder that becomes bad changes nothing
    but ``errors``: the last good config is served until it is mended. Keys of issuers that a RequestAuthentication
    names by URI are fetched while it is started; until they have come, all tokens of theirs are refused.
    ``on_reload`` and ``on_refusal`` are called after each, from the thread that noticed.

    >>> with LocalMesh("mesh") as mesh:
    ...     subprocess.run(["env"], env=mesh.environment("demo"), check=True, capture_output=True).returncode
    0
    """

    def __init__(
        self,
        folder: str | Path,
        address: str = DEFAULT_ADDRESS,
        *,
        secure_address: str | None = DEFAULT_ADDRESS,
        ca: CertificateAuthority | str | Path | None = None,
        auto_mtls: bool | None = None,
        ignore: Iterable[str] = (),
        domain: str = "cluster.local",
        cluster_id: str = "Kubernetes",
        watch: bool = True,
        on_reload: Callable[[int], None] | None = None,
        on_refusal: Callable[[ConfigError], None] | None = None,
    ) -> None:
        self.folder = Path(folder)  # or a file
        self.ca = ca if isinstance(ca, CertificateAuthority) else CertificateAuthority(ca)
        self.tokens = TokenIssuer(self.ca.folder)
        self._asked_address = address
        self._asked_secure_address = secure_address
        self._auto_mtls = auto_mtls
        self._ignore = frozenset(ignore)
        if unknown := sorted(self._ignore - IGNORABLE):
            raise LocalMeshError(f"{', '.join(unknown)} cannot be ignored: name one of {', '.join(sorted(IGNORABLE))}")
        self._reader = FolderReader(self.folder, self._ignore, domain)
        self._domain = domain
        self._cluster_id = cluster_id
        self._watches = [FolderWatch(self.folder, self._folder_changed)] if watch else []
        if watch and self.ca.folder is not None:
            self._watches.append(FolderWatch(self.ca.folder, self.ca.reload))
        self._on_reload = on_reload
        self._on_refusal = on_refusal
        self._lock = threading.Lock()
        self._resources: Resources | None = None
        self._snapshot: Snapshot | None = None
        self._version = 0
        self._errors: tuple[Problem, ...] = ()
        self._warnings: tuple[str, ...] = ()
        self._warned: set[tuple[str, str]] = set()
        self._streams: Streams | None = None
        self._servers: Servers | None = None
        self._key_sets = KeySets(self._keys_changed)
        self.ca.observe(self._certificate_changed)

    @property
    def address(self) -> str:
        """``HOST:PORT``; the port is known once the mesh was started, and stays the same when it is started again."""
        return self._asked_address

    @property
    def secure_address(self) -> str:
        """The same for the port with TLS; raises `LocalMeshError` if the mesh was told to have none."""
        if self._asked_secure_address is None:
            raise LocalMeshError(f"the mesh of {self.folder} has no secure port: give it a secure_address")
        return self._asked_secure_address

    @property
    def root_certificate(self) -> bytes:
        """PEM of the roots that workloads should trust; more than one while they are being rotated (see `ca`)."""
        return self.ca.root_certificates

    def token(
        self, namespace: str, service_account: str, *, audience: str = AUDIENCE, lifetime: float = LIFETIME
    ) -> str:
        """What a projected token of the service account would be, good for ``lifetime`` seconds."""
        return self.tokens.mint(namespace, service_account, audience=audience, lifetime=lifetime)

    def environment(
        self, namespace: str, service_account: str = SERVICE_ACCOUNT, *, ip: str = IP, secrets: Path | None = None
    ) -> dict[str, str]:
        """The variables of a workload of this mesh; ``ip``: where it serves.

        With ``secrets``, a folder for its token and the roots, it gets an identity; without it has none.
        """
        if secrets is None:
            return plaintext_environment(self.address, namespace, service_account, ip)
        token, roots = self.token(namespace, service_account), self.root_certificate
        return secure_environment(
            self.secure_address, namespace, service_account, ip, token=token, roots=roots, secrets=secrets
        )

    @property
    def version(self) -> int:
        """Counts the configs that were published; 0 before the first."""
        return self._version

    @property
    def errors(self) -> tuple[Problem, ...]:
        """What is wrong with the folder now; empty while what it says is what is served."""
        return self._errors

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is served and will not do what it seems to say: each begins with the document and the field."""
        return self._warnings

    @property
    def rejections(self) -> tuple[Rejection, ...]:
        """The NACKs of all clients since the start, the last 1,000."""
        return self._streams.rejections if self._streams is not None else ()

    @property
    def open_streams(self) -> int:
        return self._streams.open_streams if self._streams is not None else 0

    def start(self) -> Self:
        """Read the folder and serve it; raises `ConfigError` for the folder, `LocalMeshError` for the address."""
        if self._servers is not None:
            raise LocalMeshError(f"the mesh of {self.folder} is already started on {self.address}")
        for address in (self._asked_address, self._asked_secure_address):
            if address is not None:
                check_free(address)  # before the folder is read, which may take a while
        with self._lock:
            published = self._adopt(self._read())
            published.snapshot.warm_up()
            secrets = Secrets(self.ca)
            self._streams = Streams(published, secrets)
        trust = Trust(self.ca, self.tokens, self._cluster_id, self._trust_domain, secrets)
        servers = Servers(self._streams, trust)
        started = servers.start(self._asked_address, self._asked_secure_address)
        self._asked_address, self._asked_secure_address = started
        self._servers = servers
        self._key_sets.start()
        for watch in self._watches:
            watch.start()
        return self

    def stop(self, grace: float = DEFAULT_GRACE) -> None:
        """End all streams after ``grace`` seconds and let go of the ports. May be started again."""
        for watch in self._watches:
            watch.stop()
        self._key_sets.stop()
        servers, self._servers = self._servers, None
        if servers is not None:
            servers.stop(grace)

    def reload(self, timeout: float = PUSH_TIMEOUT) -> int:
        """Read the folder again and push it, changed or not; returns its version once every stream was written to.

        Raises `ConfigError` if the folder cannot be served (the last good config stays), `LocalMeshError` if a stream
        was not written to in time.
        """
        return self._reload(timeout, only_if_changed=False)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def _trust_domain(self) -> str:
        assert self._resources is not None
        return self._resources.mesh.trust_domain

    def _certificate_changed(self) -> None:
        if (servers := self._servers) is not None:
            servers.certificate_changed()

    def _folder_changed(self) -> bool:
        """Whether what the folder says is what is served now."""
        try:
            self._reload(None, only_if_changed=True)
        except ConfigError:
            return False  # already logged, and in `errors`
        return True

    def _keys_changed(self) -> None:
        """Keys of an issuer of the folder's have come, or have changed."""
        with self._lock:
            if self._resources is None or self._streams is None:
                return
            self._streams.publish(self._adopt(self._resources), None)
            version = self._version
        log.info("%s: version %d, for keys of issuers", self.folder, version)
        if self._on_reload is not None:
            self._on_reload(version)

    def _reload(self, timeout: float | None, *, only_if_changed: bool) -> int:
        with self._lock:
            try:
                resources = self._read()
                if only_if_changed and resources == self._resources:
                    self._errors = ()
                    return self._version
                published, version = self._adopt(resources), self._version
            except ConfigError as error:
                self._refuse(error)
                raise
            self._errors = ()
            written = self._streams is None or self._streams.publish(published, timeout)
        log.info("%s: version %d", self.folder, version)
        if self._on_reload is not None:
            self._on_reload(version)
        if not written:
            raise LocalMeshError(f"version {version}: not every stream was written to within {timeout} s")
        return version

    def _read(self) -> Resources:
        resources = self._reader.read()
        if self._auto_mtls is not None:
            resources = replace(resources, mesh=replace(resources.mesh, enable_auto_mtls=self._auto_mtls))
        for file, kind in resources.ignored:
            if (file, kind) in self._warned or (kind in self._ignore and kind not in GUARDS):
                continue
            self._warned.add((file, kind))
            if kind in GUARDS:
                log.warning("%s: %s is ignored, as you said: whom it keeps out is let in here", file, kind)
            else:
                log.warning("%s: %s is ignored: localmesh does not serve it yet", file, kind)
        return resources

    def _adopt(self, resources: Resources) -> Published:
        try:
            keys = self._key_sets.known
            snapshot = Snapshot(resources, self._cluster_id, self._domain, self._snapshot, keys)
        except Exception as error:
            log.exception("%s", self.folder)
            reason = f"cannot be compiled ({error!r:.200}): that is a fault of localmesh's own, please report it"
            raise ConfigError([Problem(str(self.folder), 0, reason)]) from error
        self._key_sets.want(key_sources(resources))
        self._warn(snapshot)
        self._resources, self._snapshot = resources, snapshot
        self._version += 1
        return Published(snapshot, f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}/{self._version}")

    def _warn(self, snapshot: Snapshot) -> None:
        """Of each oddity once, for as long as it lasts."""
        found = [printable(said) for said in snapshot.oddities()]
        if not snapshot.resources.service_entries:
            found.insert(0, "there is no ServiceEntry and no Service in it: nothing can be called")
        before = set(self._warnings)
        new = [said for said in found if said not in before]
        for said in new[:_LOGGED_PROBLEMS]:
            log.warning("%s: %s", self.folder, said)
        if (rest := len(new) - _LOGGED_PROBLEMS) > 0:
            log.warning("%s: and %d more like these", self.folder, rest)
        self._warnings = tuple(found)

    def _refuse(self, error: ConfigError) -> None:
        if error.problems == self._errors:
            return
        self._errors = error.problems
        for problem in error.problems[:_LOGGED_PROBLEMS]:
            log.error("%s (version %d is still served)", problem, self._version)
        if (rest := len(error.problems) - _LOGGED_PROBLEMS) > 0:
            log.error("%s: and %d more problems: mend these first", self.folder, rest)
        if self._on_refusal is not None:
            self._on_refusal(error)
