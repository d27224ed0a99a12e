"""Certificate authorities and what they sign, good and bad, made in memory. Keys are EC P-256, as the mesh's are."""

from __future__ import annotations

import datetime as dt
import ipaddress
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from xds_client.identity import Identity

HOUR = dt.timedelta(hours=1)
TRUST_DOMAIN = "cluster.local"
SHOP = "spiffe://cluster.local/ns/demo/sa/shop"
REVIEWS = "spiffe://cluster.local/ns/demo/sa/reviews"


def now():
    return dt.datetime.now(dt.UTC)


@dataclass(frozen=True)
class Leaf:
    """A certificate, with what its holder shows beside it, and its key: all PEM."""

    chain: bytes = field(repr=False)
    key: bytes = field(repr=False)
    certificate: x509.Certificate = field(repr=False)

    @property
    def pair(self):
        """As gRPC's servers want it."""
        return self.key, self.chain


class Authority:
    """``within`` another: an intermediate, which leaves show beside their own certificate."""

    def __init__(self, name="root", *, within=None, lasts=24 * HOUR, since=-HOUR):
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, name)])
        issuer = within or self
        self._between = b"" if within is None else None
        self.certificate = _sign(
            issuer, self._name, self._key, (), ca=True, valid=(now() + since, now() + lasts), usages=()
        )
        self.pem = self.certificate.public_bytes(Encoding.PEM)
        if within is not None:
            self._between = self.pem + within._between

    def issue(
        self,
        *uris,
        dns=(),
        ips=(),
        common_name=None,
        ca=False,
        starts=-HOUR,
        ends=HOUR,
        usages=(x509.ExtendedKeyUsageOID.SERVER_AUTH, x509.ExtendedKeyUsageOID.CLIENT_AUTH),
    ):
        """A certificate that is valid from ``starts`` until ``ends``, both counted from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.UniformResourceIdentifier(uri) for uri in uris]
        names += [x509.DNSName(name) for name in dns]
        names += [x509.IPAddress(ipaddress.ip_address(ip)) for ip in ips]
        attributes = [x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)] if common_name else []
        valid = now() + starts, now() + ends
        certificate = _sign(self, x509.Name(attributes), key, names, ca=ca, valid=valid, usages=usages)
        return _leaf(certificate, key, self._between)

    def sign(self, key, extension):
        """A leaf with this one as its alternative names, whatever is in it."""
        nobody, valid = x509.Name([]), (now() - HOUR, now() + HOUR)
        builder = _build(self._name, nobody, key.public_key(), (), False, valid, ())
        certificate = builder.add_extension(extension, critical=True).sign(self._key, hashes.SHA256())
        return _leaf(certificate, key, self._between)

    def identity(self, spiffe_id, *, roots=(), trust_domains=(TRUST_DOMAIN,), **how):
        """What an `IdentitySource` has to give: a leaf, and whom it trusts: this authority and ``roots``."""
        return as_identity(self.issue(spiffe_id, **how), spiffe_id, self.pem + b"".join(roots), trust_domains)


def as_identity(leaf, spiffe_id, roots, trust_domains=(TRUST_DOMAIN,)):
    certificate = leaf.certificate
    return Identity(
        spiffe_id,
        leaf.chain,
        leaf.key,
        roots,
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
        tuple(trust_domains),
    )


def self_signed(uri):
    """A workload that vouches for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    names = [x509.UniformResourceIdentifier(uri)]
    certificate = _build(x509.Name([]), x509.Name([]), key.public_key(), names, False, (now() - HOUR, now() + HOUR), ())
    return _leaf(certificate.sign(key, hashes.SHA256()), key, b"")


def _leaf(certificate, key, between):
    pem = certificate.public_bytes(Encoding.PEM)
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Leaf(pem + between, secret, certificate)


def _sign(issuer, subject, key, names, *, ca, valid, usages):
    builder = _build(issuer._name, subject, key.public_key(), names, ca, valid, usages)
    return builder.sign(issuer._key, hashes.SHA256())


def _build(issuer, subject, public_key, names, ca, valid, usages):
    builder = (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .subject_name(subject)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(valid[0])
        .not_valid_after(valid[1])
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=not subject.rdns)
    if usages:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    return builder
