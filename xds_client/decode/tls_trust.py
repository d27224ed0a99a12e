"""Certificates, roots and what is demanded of the peer (envoy/extensions/transport_sockets/tls/v3). Pure functions.

Everything that would make a connection safer and that the engine cannot do is an `UnsupportedError`, never left out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from xds_client.decode.fields import FieldError, UnsupportedError, each, inside, string_match
from xds_client.model import (
    CertificateSource,
    FileCertificate,
    FileRoots,
    InlineCertificate,
    InlineRoots,
    MeshSecret,
    NamedSecret,
    RootsSource,
    StringMatch,
    StringMatchKind,
    SystemRoots,
)

# What istiod calls the workload's own certificate and the mesh's roots (pkg/model/authentication.go).
_OWN_CERTIFICATE = "default"
_MESH_ROOTS = "ROOTCA"
# What it calls files (pkg/security/security.go, SdsCertificateConfig).
_FILE_CERTIFICATE = "file-cert:"
_FILE_ROOT = "file-root:"
_SYSTEM_ROOTS = "file-root:system"
# The agent's SDS servers, whose part we play in process.
_AGENT_CLUSTERS = ("sds-grpc", "sds-files-grpc")

_NOT_VERIFIED = frozenset(
    {
        "verify_certificate_spki",
        "verify_certificate_hash",
        "require_signed_certificate_timestamp",
        "crl",
        "custom_validator_config",
        "max_verify_depth",
    }
)
_ELSEWHERE = (
    "custom_tls_certificate_selector",
    "tls_certificate_certificate_provider",
    "custom_handshaker",
)


@dataclass(frozen=True, slots=True)
class Demand:
    """What the peer's certificate must be. ``roots`` None: nothing is verified."""

    roots: RootsSource | None = None
    subject_alt_names: tuple[StringMatch, ...] = ()


def demand(common: Any) -> Demand:
    """The validation context of a CommonTlsContext, whichever of its forms is used."""
    kind = common.WhichOneof("validation_context_type")
    if kind is None:
        return Demand()
    context = getattr(common, kind)
    if kind == "validation_context_sds_secret_config":
        return Demand(inside(kind, _roots_secret, context))
    if kind == "validation_context":
        return inside(kind, _validation, context)
    if kind == "combined_validation_context":
        return inside(kind, _combined, context)
    raise UnsupportedError(kind, "is not a source of roots this release knows")


def own_certificate(common: Any) -> CertificateSource | None:
    """What we show, or None for nothing."""
    for field in _ELSEWHERE:
        if common.HasField(field):
            raise UnsupportedError(field, "is not supported")
    secrets, certificates = common.tls_certificate_sds_secret_configs, common.tls_certificates
    if len(secrets) + len(certificates) > 1:
        raise UnsupportedError("tls_certificates", "only one certificate is supported")
    if secrets:
        return each("tls_certificate_sds_secret_configs", _certificate_secret, secrets)[0]
    if certificates:
        return each("tls_certificates", _certificate, certificates)[0]
    # gRPC's form: the bootstrap's plugin "default" is istiod's name for the workload's own secrets.
    for field in ("tls_certificate_provider_instance", "tls_certificate_certificate_provider_instance"):
        if common.HasField(field):
            inside(field, _plugin_of_the_mesh, getattr(common, field))
            return MeshSecret()
    return None


def _combined(context: Any) -> Demand:
    """The context from SDS "merges into" the default one: its roots replace those, the names stay."""
    said = inside("default_validation_context", _validation_or_dynamic, context.default_validation_context)
    if said is None:
        return Demand()
    roots = said.roots
    if context.HasField("validation_context_sds_secret_config"):
        config = context.validation_context_sds_secret_config
        roots = inside("validation_context_sds_secret_config", _roots_secret, config)
    elif context.HasField("validation_context_certificate_provider_instance"):
        instance = context.validation_context_certificate_provider_instance
        inside("validation_context_certificate_provider_instance", _plugin_of_the_mesh, instance)
        roots = MeshSecret()
    elif context.HasField("validation_context_certificate_provider"):
        raise UnsupportedError("validation_context_certificate_provider", "is not supported")
    return _sensible(replace(said, roots=roots))


def _validation(context: Any) -> Demand:
    said = _validation_or_dynamic(context)
    return Demand() if said is None else _sensible(said)


def _validation_or_dynamic(context: Any) -> Demand | None:
    """What one context says, before it is known whether roots come from elsewhere; None: the peer need not be known."""
    for field in sorted(_NOT_VERIFIED & {field.name for field, _ in context.ListFields()}):
        raise UnsupportedError(field, "cannot be verified by this release")
    names = _subject_alt_names(context)
    if context.trust_chain_verification == context.ACCEPT_UNTRUSTED:
        return None
    if context.trust_chain_verification != context.VERIFY_TRUST_CHAIN:
        raise UnsupportedError("trust_chain_verification", f"{context.trust_chain_verification} is not known")
    return Demand(_own_roots(context), names)


def _sensible(said: Demand) -> Demand:
    if said.roots is None and said.subject_alt_names:
        # Envoy refuses it too (source/common/tls/cert_validator/default_validator.cc): such names prove nothing.
        raise FieldError("trusted_ca", "is needed to verify subject alternative names")
    return said


def _own_roots(context: Any) -> RootsSource | None:
    if context.HasField("trusted_ca"):
        return inside("trusted_ca", _roots_data, context.trusted_ca)
    if context.HasField("ca_certificate_provider_instance"):
        inside("ca_certificate_provider_instance", _plugin_of_the_mesh, context.ca_certificate_provider_instance)
        return MeshSecret()
    return SystemRoots() if context.HasField("system_root_certs") else None


def _subject_alt_names(context: Any) -> tuple[StringMatch, ...]:
    # gRFC A29: the typed field first, the deprecated one only if that is empty; istiod may send both.
    if context.match_typed_subject_alt_names:
        return each("match_typed_subject_alt_names", _typed_name, context.match_typed_subject_alt_names)
    return each("match_subject_alt_names", string_match, context.match_subject_alt_names)


def _typed_name(message: Any) -> StringMatch:
    """A matcher for one kind of SAN. The engine does not tell kinds apart, so only what cannot be confused is taken."""
    match = inside("matcher", string_match, message.matcher)
    if message.san_type == message.URI:
        return match
    if message.san_type == message.DNS and match.kind is StringMatchKind.EXACT:
        return match
    raise UnsupportedError("san_type", "only URI, and DNS with an exact name, can be verified by this release")


def _roots_secret(config: Any) -> RootsSource:
    if _from_control_plane(config):
        return NamedSecret(config.name)
    if config.name == _MESH_ROOTS:
        return MeshSecret()
    if config.name == _SYSTEM_ROOTS:
        return SystemRoots()
    path: str = config.name.removeprefix(_FILE_ROOT)
    if path != config.name and path and "~" not in path:
        return FileRoots(path)
    raise UnsupportedError("name", f"{config.name!r} is not a secret that a workload has")


def _certificate_secret(config: Any) -> CertificateSource:
    if _from_control_plane(config):
        return NamedSecret(config.name)
    if config.name == _OWN_CERTIFICATE:
        return MeshSecret()
    paths = config.name.removeprefix(_FILE_CERTIFICATE).split("~")
    if config.name.startswith(_FILE_CERTIFICATE) and len(paths) == 2 and all(paths):  # noqa: PLR2004 - chain and key
        return FileCertificate(*paths)
    raise UnsupportedError("name", f"{config.name!r} is not a secret that a workload has")


def _from_control_plane(config: Any) -> bool:
    """Whether the secret is served over ADS; if not, it must be one of those that an agent serves."""
    source = config.sds_config.WhichOneof("config_source_specifier")
    if source == "ads":
        return True
    if source == "api_config_source":
        clusters = [service.envoy_grpc.cluster_name for service in config.sds_config.api_config_source.grpc_services]
        if clusters and all(name in _AGENT_CLUSTERS for name in clusters):
            return False
        raise UnsupportedError("sds_config", f"secrets served by {', '.join(clusters) or 'nobody'} are not supported")
    raise UnsupportedError("sds_config", f"secrets from {source or 'the bootstrap'} are not supported")


def _plugin_of_the_mesh(instance: Any) -> None:
    if instance.instance_name != "default":
        raise UnsupportedError("instance_name", f"no certificate provider is called {instance.instance_name!r}")


def _roots_data(source: Any) -> RootsSource:
    if source.WhichOneof("specifier") == "filename":
        return FileRoots(source.filename)
    return InlineRoots(_inline(source))


def _certificate(message: Any) -> CertificateSource:
    for field in ("pkcs12", "private_key_provider", "password"):
        if message.HasField(field):
            raise UnsupportedError(field, "is not supported")
    chain, key = message.certificate_chain, message.private_key
    if chain.WhichOneof("specifier") == key.WhichOneof("specifier") == "filename":
        return FileCertificate(chain.filename, key.filename)
    return InlineCertificate(inside("certificate_chain", _inline, chain), inside("private_key", _inline, key))


def _inline(source: Any) -> bytes:
    kind = source.WhichOneof("specifier")
    if kind == "inline_bytes":
        return bytes(source.inline_bytes)
    if kind == "inline_string":
        return str(source.inline_string).encode()
    raise UnsupportedError(kind or "specifier", "is not a source this release reads")
