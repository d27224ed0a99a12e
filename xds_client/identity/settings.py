"""What can be set about the identity, with the defaults of an ordinary pod. A frozen value; nothing is read here."""

from __future__ import annotations

from dataclasses import dataclass

TOKEN_PATH = "/var/run/secrets/tokens/istio-token"  # noqa: S105  where the token is, not the token
ROOT_CERTIFICATE_PATH = "/var/run/secrets/istio/root-cert.pem"
CERTIFICATE_FOLDER = "/var/run/secrets/workload-spiffe-credentials"  # as pilot-agent: security.WorkloadIdentityPath
WORKLOAD_API_SOCKET = "/var/run/secrets/workload-spiffe-uds/socket"  # as pilot-agent
SOURCES = ("istiod", "files", "workload_api", "none")


@dataclass(frozen=True, slots=True)
class IdentitySettings:
    """Where the identity comes from; what is not given is as in an ordinary pod.

    ``source`` is one of `SOURCES`; ``certificate_ttl`` is in seconds; empty addresses and names mean the default.

    ``ca_address``: who signs, by default the discovery address. ``server_name``: the name in istiod's certificate, by
    default the host of the address. ``trust_domain``: by default whatever the certificate says.

    >>> hourly = IdentitySettings(certificate_ttl=3600.0)
    >>> bootstrap = dataclasses.replace(Bootstrap.load(), identity=hourly)
    """

    source: str = "istiod"
    ca_address: str = ""
    server_name: str = ""
    token_path: str = TOKEN_PATH
    root_certificate_path: str = ROOT_CERTIFICATE_PATH
    extra_roots_path: str = ""
    certificate_ttl: float = 24 * 3600.0  # istiod's own default (DEFAULT_WORKLOAD_CERT_TTL); it allows up to 90 days
    trust_domain: str = ""
    trust_domain_aliases: tuple[str, ...] = ()
    certificate_path: str = f"{CERTIFICATE_FOLDER}/cert-chain.pem"
    private_key_path: str = f"{CERTIFICATE_FOLDER}/key.pem"
    workload_api_address: str = f"unix://{WORKLOAD_API_SOCKET}"
