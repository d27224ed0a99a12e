"""DestinationRule: traffic policies and subsets. Field meanings are Istio's (networking/v1)."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from typing import ClassVar

from localmesh.config.decode import MAX_UINT32, Spec, too_fine
from localmesh.config.service_entry import exported_to_all


class SimpleLb(Enum):
    UNSPECIFIED = 0
    LEAST_CONN = 1
    RANDOM = 2
    PASSTHROUGH = 3
    ROUND_ROBIN = 4
    LEAST_REQUEST = 5


@dataclass(frozen=True, slots=True)
class HttpCookie(Spec):
    UNSUPPORTED: ClassVar[frozenset[str]] = frozenset({"attributes"})

    name: str
    path: str = ""
    ttl: timedelta | None = None


@dataclass(frozen=True, slots=True)
class RingHash(Spec):
    minimum_ring_size: int = 0


@dataclass(frozen=True, slots=True)
class Maglev(Spec):
    table_size: int = 0


@dataclass(frozen=True, slots=True)
class ConsistentHash(Spec):
    ONEOFS: ClassVar[tuple[tuple[str, ...], ...]] = (
        ("httpHeaderName", "httpCookie", "useSourceIp", "httpQueryParameterName"),
        ("ringHash", "maglev"),
    )

    http_header_name: str | None = None
    http_cookie: HttpCookie | None = None
    use_source_ip: bool | None = None
    http_query_parameter_name: str | None = None
    ring_hash: RingHash | None = None
    maglev: Maglev | None = None
    minimum_ring_size: int = 0


@dataclass(frozen=True, slots=True)
class Distribute(Spec):
    RENAMED: ClassVar[Mapping[str, str]] = {"from_": "from"}

    from_: str
    to: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Failover(Spec):
    RENAMED: ClassVar[Mapping[str, str]] = {"from_": "from"}

    from_: str
    to: str


@dataclass(frozen=True, slots=True)
class LocalityLb(Spec):
    UNSUPPORTED: ClassVar[frozenset[str]] = frozenset({"failoverPriority"})

    distribute: tuple[Distribute, ...] = ()
    failover: tuple[Failover, ...] = ()
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class Warmup(Spec):
    duration: timedelta
    minimum_percent: float = 10.0
    aggression: float = 1.0


@dataclass(frozen=True, slots=True)
class LoadBalancer(Spec):
    UNSUPPORTED: ClassVar[frozenset[str]] = frozenset({"zoneAwareLbSetting"})
    ONEOFS: ClassVar[tuple[tuple[str, ...], ...]] = (("simple", "consistentHash"),)

    simple: SimpleLb = SimpleLb.UNSPECIFIED
    consistent_hash: ConsistentHash | None = None
    locality_lb_setting: LocalityLb | None = None
    warmup: Warmup | None = None
    warmup_duration_secs: timedelta | None = None


@dataclass(frozen=True, slots=True)
class TcpKeepalive(Spec):
    probes: int = 0
    time: timedelta | None = None
    interval: timedelta | None = None

    def problems(self) -> Iterator[tuple[str, str]]:
        for name, duration in (("time", self.time), ("interval", self.interval)):
            if duration is not None and duration.total_seconds() > MAX_UINT32:
                yield name, f"must be at most {MAX_UINT32}s"


@dataclass(frozen=True, slots=True)
class TcpSettings(Spec):
    max_connections: int = 0
    connect_timeout: timedelta | None = None
    tcp_keepalive: TcpKeepalive | None = None
    max_connection_duration: timedelta | None = None
    idle_timeout: timedelta | None = None

    def problems(self) -> Iterator[tuple[str, str]]:
        if reason := too_fine(self.connect_timeout):
            yield "connectTimeout", reason


class H2UpgradePolicy(Enum):
    DEFAULT = 0
    DO_NOT_UPGRADE = 1
    UPGRADE = 2


@dataclass(frozen=True, slots=True)
class HttpSettings(Spec):
    UNSUPPORTED: ClassVar[frozenset[str]] = frozenset({"http2KeepAlive"})
    RENAMED: ClassVar[Mapping[str, str]] = {"h2_upgrade_policy": "h2UpgradePolicy"}

    http1_max_pending_requests: int = 0
    http2_max_requests: int = 0
    max_requests_per_connection: int = 0
    max_retries: int = 0
    idle_timeout: timedelta | None = None
    h2_upgrade_policy: H2UpgradePolicy = H2UpgradePolicy.DEFAULT
    use_client_protocol: bool = False
    max_concurrent_streams: int = 0

    def problems(self) -> Iterator[tuple[str, str]]:
        if reason := too_fine(self.idle_timeout):
            yield "idleTimeout", reason
        if self.use_client_protocol and self.h2_upgrade_policy is H2UpgradePolicy.UPGRADE:
            yield "useClientProtocol", "must not be true when h2UpgradePolicy is UPGRADE"


@dataclass(frozen=True, slots=True)
class ConnectionPool(Spec):
    tcp: TcpSettings = TcpSettings()
    http: HttpSettings = HttpSettings()


@dataclass(frozen=True, slots=True)
class OutlierDetection(Spec):
    UNSUPPORTED: ClassVar[frozenset[str]] = frozenset({"consecutiveErrors"})
    RENAMED: ClassVar[Mapping[str, str]] = {"consecutive_5xx_errors": "consecutive5xxErrors"}

    split_external_local_origin_errors: bool = False
    consecutive_local_origin_failures: int | None = None
    consecutive_gateway_errors: int | None = None
    consecutive_5xx_errors: int | None = None
    interval: timedelta | None = None
    base_ejection_time: timedelta | None = None
    max_ejection_percent: int = 0
    min_health_percent: int = 0


class TlsMode(Enum):
    DISABLE = 0
    SIMPLE = 1
    MUTUAL = 2
    ISTIO_MUTUAL = 3


@dataclass(frozen=True, slots=True)
class ClientTls(Spec):
    """Certificates and keys are files of the client's, or by ``credential_name`` a secret that it may ask for."""

    mode: TlsMode = TlsMode.DISABLE
    client_certificate: str = ""
    private_key: str = ""
    ca_certificates: str = ""
    credential_name: str = ""
    subject_alt_names: tuple[str, ...] = ()
    sni: str = ""
    insecure_skip_verify: bool = False
    ca_crl: str = ""

    @property
    def originates(self) -> bool:
        """TLS of the destination's own, not of the mesh."""
        return self.mode in (TlsMode.SIMPLE, TlsMode.MUTUAL)

    def problems(self) -> Iterator[tuple[str, str]]:
        """`ValidateTLS`."""
        if self.credential_name.startswith("configmap://"):
            yield "credentialName", "localmesh does not support configmap:// yet"
        if self.originates and self.insecure_skip_verify:
            if self.ca_certificates or self.subject_alt_names:
                yield "insecureSkipVerify", "caCertificates and subjectAltNames must not be set beside it"
            if self.mode is TlsMode.SIMPLE and self.credential_name:
                yield "insecureSkipVerify", "credentialName must not be set beside it in mode SIMPLE"
        if self.originates and self.credential_name:
            if self.client_certificate or self.private_key or self.ca_certificates or self.ca_crl:
                yield "credentialName", "excludes clientCertificate, privateKey, caCertificates and caCrl"
        elif self.mode is TlsMode.MUTUAL:
            yield from self._missing_files()

    def _missing_files(self) -> Iterator[tuple[str, str]]:
        for name, file in (("clientCertificate", self.client_certificate), ("privateKey", self.private_key)):
            if not file:
                yield name, "is required for mode MUTUAL"


@dataclass(frozen=True, slots=True)
class PortSelector(Spec):
    number: int


@dataclass(frozen=True, slots=True)
class PortTrafficPolicy(Spec):
    port: PortSelector
    load_balancer: LoadBalancer | None = None
    connection_pool: ConnectionPool | None = None
    outlier_detection: OutlierDetection | None = None
    tls: ClientTls | None = None


@dataclass(frozen=True, slots=True)
class TrafficPolicy(Spec):
    UNSUPPORTED: ClassVar[frozenset[str]] = frozenset({"tunnel", "proxyProtocol", "retryBudget"})

    load_balancer: LoadBalancer | None = None
    connection_pool: ConnectionPool | None = None
    outlier_detection: OutlierDetection | None = None
    tls: ClientTls | None = None
    port_level_settings: tuple[PortTrafficPolicy, ...] = ()


@dataclass(frozen=True, slots=True)
class Subset(Spec):
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    traffic_policy: TrafficPolicy | None = None

    def problems(self) -> Iterator[tuple[str, str]]:
        if not self.name:
            yield "name", "must not be empty"


@dataclass(frozen=True, slots=True)
class DestinationRule(Spec):
    UNSUPPORTED: ClassVar[frozenset[str]] = frozenset({"workloadSelector"})

    host: str
    traffic_policy: TrafficPolicy | None = None
    subsets: tuple[Subset, ...] = ()
    export_to: tuple[str, ...] = ("*",)

    def problems(self) -> Iterator[tuple[str, str]]:
        if not self.host:
            yield "host", "must not be empty"
        names = Counter(subset.name for subset in self.subsets)
        if twice := [name for name, times in names.items() if times > 1]:
            yield "subsets", f"subset {twice[0]!r} is defined twice"
        yield from exported_to_all(self.export_to)
