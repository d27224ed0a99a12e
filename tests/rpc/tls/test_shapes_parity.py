"""Certificates of every shape that openssl(1) makes, on servers and on clients: taken as grpcio takes them.

Each is shown and looked at by grpcio alone first; then by ours, and by each to the other.
"""

import shutil

import grpc
import pytest

import rpc
from tests.rpc.peers import World
from tests.rpc.script import polite
from tests.rpc.script import request as asked
from tests.rpc.tls.openssl import CA, NO_CA, SAN, OpenSsl

pytestmark = [
    pytest.mark.skipif(shutil.which("openssl") is None, reason="certificates are made by openssl(1)"),
    pytest.mark.filterwarnings("ignore:Parsed a serial number"),  # cryptography reads them still, and so do peers
]

MAKES = [("grpcio", "grpcio"), ("ours", "ours"), ("grpcio", "ours"), ("ours", "grpcio")]


def own(*extensions, **how):
    """Self-signed, and its own root."""

    def make(openssl, authority):
        made = openssl.own(*extensions, **how)
        return made, made

    return make


def issued(*extensions, **how):
    """Of an authority that is the root."""
    return lambda openssl, authority: (openssl.issue(authority, *extensions, **how), authority)


def pinned(*extensions, **how):
    """Of an authority that nobody knows; the certificate is its own root."""

    def make(openssl, authority):
        made = openssl.issue(authority, *extensions, **how)
        return made, made

    return make


def under(*root, **how):
    """Of a root with these extensions: a certificate with these, too."""

    def with_extensions(*extensions):
        def make(openssl, authority):
            issuer = openssl.own(*root, subject="/CN=another root", **how)
            return openssl.issue(issuer, *extensions), issuer

        return make

    return with_extensions


def between(*extensions):
    """Of an intermediate with these extensions, which it shows."""

    def with_extensions(*of_leaf):
        def make(openssl, authority):
            issuer = openssl.issue(authority, *extensions, subject="/CN=between")
            return openssl.issue(issuer, *of_leaf).below(issuer), authority

        return make

    return with_extensions


def of_one_name(openssl, authority):
    return openssl.own(SAN), openssl.own(SAN)


def of_an_unknown_one(openssl, authority):
    return openssl.issue(authority, SAN), openssl.own(SAN, subject="/CN=somebody")


def intermediate_as_root(openssl, authority):
    issuer = openssl.issue(authority, CA, subject="/CN=between")
    return openssl.issue(issuer, SAN), issuer


def below_a_pinned_one(usage):
    def make(openssl, authority):
        issuer = openssl.issue(authority, SAN, CA, f"keyUsage=critical,{usage}", subject="/CN=pinned")
        return openssl.issue(issuer, SAN), issuer

    return make


# Whether a server may show it, and a client: what grpcio says, and what is said here.
BOTH, NEITHER, SERVER, CLIENT = (True, True), (False, False), (True, False), (False, True)
SHAPES = {
    "as tutorials make it": (own(SAN), BOTH),
    "as tutorials make it, with RSA": (own(SAN, key="rsa:2048"), BOTH),
    "as tutorials make it, without alternative names": (own(), BOTH),
    "P-384": (own(SAN, key="ec:P-384"), BOTH),
    "P-521": (own(SAN, key="ec:P-521"), NEITHER),
    "SHA-1 by itself": (own(SAN, digest="sha1"), BOTH),
    "no CA's": (own(SAN, NO_CA), BOTH),
    "key usage for signing certificates": (own(SAN, "keyUsage=critical,keyCertSign,cRLSign"), NEITHER),
    "key usage for signatures": (own(SAN, "keyUsage=critical,digitalSignature"), BOTH),
    "extended usage for clients, pinned": (own(SAN, "extendedKeyUsage=clientAuth"), BOTH),
    "an unknown critical extension, pinned": (own(SAN, "1.2.3.4=critical,ASN1:UTF8String:x"), BOTH),
    "serial number 0": (own(SAN, serial="0"), BOTH),
    "a negative serial number": (own(SAN, serial="-5"), BOTH),
    "a long serial number": (own(SAN, serial="0x" + "7f" * 30), BOTH),
    "another alternative name": (own("subjectAltName=DNS:other.example"), CLIENT),
    "another common name": (own(subject="/CN=other.example"), CLIENT),
    "no name": (own(subject="/O=acme"), CLIENT),
    "the first of two common names": (own(subject="/CN=localhost/CN=second"), BOTH),
    "the second of two common names": (own(subject="/CN=second/CN=localhost"), CLIENT),
    "a common name beside an address": (own("subjectAltName=IP:127.0.0.1"), BOTH),
    "a common name beside a URI": (own("subjectAltName=URI:spiffe://a/b"), BOTH),
    "a common name beside an e-mail address": (own("subjectAltName=email:a@b.c"), BOTH),
    "the name as a URI": (own("subjectAltName=URI:localhost", subject="/O=acme"), CLIENT),
    "of version 1": (issued(), BOTH),
    "of version 1, with RSA": (issued(key="rsa:2048"), BOTH),
    "of version 1, pinned": (pinned(), BOTH),
    "issued": (issued(SAN), BOTH),
    "issued, without alternative names": (issued(NO_CA), BOTH),
    "issued, a CA's": (issued(SAN, CA), BOTH),
    "issued, for servers": (issued(SAN, "extendedKeyUsage=serverAuth"), SERVER),
    "issued, for clients": (issued(SAN, "extendedKeyUsage=clientAuth"), CLIENT),
    "issued, for code": (issued(SAN, "extendedKeyUsage=codeSigning"), NEITHER),
    "issued, for encryption": (issued(SAN, "keyUsage=keyEncipherment"), NEITHER),
    "issued, with an unknown critical extension": (issued(SAN, "1.2.3.4=critical,ASN1:UTF8String:x"), NEITHER),
    "pinned": (pinned(SAN), BOTH),
    "pinned, for code": (pinned(SAN, "extendedKeyUsage=codeSigning"), BOTH),
    "below an intermediate": (between(CA)(SAN), BOTH),
    "a CA's below an intermediate": (between(CA)(SAN, CA), BOTH),
    "below an intermediate of version 1": (between()(SAN), NEITHER),
    "below an intermediate that is no CA's": (between(NO_CA)(SAN), NEITHER),
    "below an intermediate that may not sign": (between(CA, "keyUsage=digitalSignature")(SAN), NEITHER),
    "below an intermediate that is the root": (intermediate_as_root, BOTH),
    "below a root that may not sign": (under("keyUsage=digitalSignature")(SAN), NEITHER),
    "below a pinned one that may not sign": (below_a_pinned_one("digitalSignature"), NEITHER),
    "below a pinned one that may": (below_a_pinned_one("keyCertSign"), BOTH),
    "a CA's below a root for leaves": (under("basicConstraints=critical,CA:TRUE,pathlen:0")(SAN, CA), BOTH),
    "outside of what its root may name": (under("nameConstraints=critical,permitted;DNS:a.b")(SAN), NEITHER),
    "a CA's outside of what its root may name": (under("nameConstraints=critical,permitted;DNS:a.b")(SAN, CA), NEITHER),
    "a common name below a root that constrains": (under("nameConstraints=permitted;DNS:localhost")(NO_CA), NEITHER),
    "version 1 below a root that constrains": (under("nameConstraints=permitted;DNS:localhost")(), NEITHER),
    "of an unknown authority": (of_an_unknown_one, NEITHER),
    "of the root's name, with another key": (of_one_name, NEITHER),
}

# Where we differ: what grpcio takes of it, what we take, and what the refusal says to do.
DIFFERENT = {
    "an RSA key of 1024 bits": (own(SAN, key="rsa:1024"), BOTH, NEITHER, "RSA key of 1024 bits"),
    "a CA with an RSA key of 1024 bits": (under(key="rsa:1024")(SAN), BOTH, NEITHER, "-newkey rsa:2048"),
    "issued by SHA-1": (issued(SAN, digest="sha1"), BOTH, NEITHER, "-sha256"),
    "a CA on P-521": (under(key="ec:P-521")(SAN), BOTH, NEITHER, "P-256, P-384"),
    "P-256 and SHA-512": (issued(SAN, digest="sha512"), BOTH, NEITHER, "up to SHA-384"),
    "Ed25519": (own(SAN, key="ED25519"), NEITHER, BOTH, ""),
}


@pytest.fixture(scope="module")
def openssl(tmp_path_factory):
    return OpenSsl(tmp_path_factory.mktemp("openssl"))


@pytest.fixture(scope="module")
def authority(openssl):
    return openssl.own(subject="/CN=authority")


@pytest.fixture(scope="module")
def good(openssl, authority):
    """For the other side."""
    return openssl.issue(authority, SAN)


def made_by(make):
    return rpc if make == "ours" else grpc


def answer(makes, *, server, client_roots, client=None, server_roots=None, kind="sync", name="localhost"):
    """What a call says between these two; None where the server could not be made."""
    client_make, server_make = makes
    world = World(kind, client_make, server_make)
    try:
        credentials = made_by(server_make).ssl_server_credentials(
            [server.pair], server_roots and server_roots.chain, server_roots is not None
        )
        try:
            address = world.serve(polite, credentials=credentials)
        except RuntimeError as error:
            return False, str(error)
        own_pair = () if client is None else client.pair
        credentials = made_by(client_make).ssl_channel_credentials(client_roots.chain, *own_pair)
        caller = world.connect(address, [("grpc.ssl_target_name_override", name)], credentials=credentials)
        result = caller.call("unary", asked("Ann"))
        return result.code is grpc.StatusCode.OK, result.details
    finally:
        world.close()


def taken(makes, shape, good, authority, **how):
    """Of a server that shows it, and of a client; and what was said."""
    leaf, roots = shape
    as_servers, said = answer(makes, server=leaf, client_roots=roots, **how)
    as_clients, also = answer(makes, server=good, client_roots=authority, client=leaf, server_roots=roots, **how)
    return (as_servers, as_clients), f"{said}; {also}"


@pytest.mark.parametrize(("make", "expected"), SHAPES.values(), ids=SHAPES)
def test_taken_as_grpcio_takes_it(openssl, authority, good, make, expected):
    shape = make(openssl, authority)
    says = {makes: taken(makes, shape, good, authority) for makes in MAKES}
    assert {makes: verdict for makes, (verdict, _) in says.items()} == dict.fromkeys(MAKES, expected), says


@pytest.mark.parametrize("shape", ["as tutorials make it", "of version 1", "another common name"])
def test_taken_as_grpcio_takes_it_in_asyncio(openssl, authority, good, shape):
    make, expected = SHAPES[shape]
    assert taken(("ours", "ours"), make(openssl, authority), good, authority, kind="aio")[0] == expected


@pytest.mark.parametrize(("make", "grpcio", "ours", "fix"), DIFFERENT.values(), ids=DIFFERENT)
def test_where_we_differ_the_refusal_says_what_to_do(openssl, authority, good, make, grpcio, ours, fix):
    """As docs/compatibility.md lists it."""
    shape = make(openssl, authority)
    assert taken(("grpcio", "grpcio"), shape, good, authority)[0] == grpcio
    verdict, said = taken(("ours", "ours"), shape, good, authority)
    assert verdict == ours
    assert fix in said


NAMES = [
    ("127.0.0.1", "/CN=127.0.0.1", ""),
    ("127.0.0.1", "/O=acme", "DNS:127.0.0.1"),
    ("127.0.0.1", "/O=acme", "URI:127.0.0.1"),
    ("127.0.0.1", "/O=acme", "IP:127.0.0.1"),
    ("127.0.0.1", "/CN=127.0.0.1", "DNS:other"),
    ("10.0.0.1", "/CN=localhost", ""),
    ("::1", "/O=acme", "IP:::1"),
    ("[::1]", "/O=acme", "IP:::1"),
    ("::1", "/O=acme", "DNS:::1"),
    ("localhost", "/CN=lOCALHOST", ""),
    ("localhost", "/CN=localhost", "DNS:other"),
    ("localhost", "/CN=localhost", "otherName:1.2.3.4;UTF8:x"),
    ("a.b.example", "/CN=*.b.example", ""),
    ("A.B.example", "/O=acme", "DNS:*.b.EXAMPLE"),
    ("a.example", "/O=acme", "DNS:*.example"),
    ("a.b.c.example", "/O=acme", "DNS:*.c.example"),
    ("c.example", "/O=acme", "DNS:*.c.example"),
    ("abc.c.example", "/O=acme", "DNS:a*.c.example"),
    ("a.b.c.example", "/O=acme", "DNS:a.*.c.example"),
    ("localhost", "/O=acme", "DNS:*"),
    ("a.b", "/O=acme", "DNS:*."),
    ("a.b.example.", "/O=acme", "DNS:a.b.example"),
    ("a.b.example", "/O=acme", "DNS:*.b.example."),
    ("a.b.example", "/O=acme", "DNS:.b.example"),
    ("my_service", "/CN=my_service", ""),
    ("my service", "/CN=my service", ""),
    ("localhost", "/O=acme", "DNS:local"),
]


@pytest.mark.parametrize(("name", "subject", "alternative"), NAMES)
def test_names_fit_as_they_fit_in_grpcio(openssl, name, subject, alternative):
    made = openssl.own(*([f"subjectAltName={alternative}"] if alternative else []), subject=subject)
    control, _ = answer(("grpcio", "grpcio"), server=made, client_roots=made, name=name)
    assert answer(("ours", "ours"), server=made, client_roots=made, name=name)[0] == control


@pytest.mark.parametrize(
    ("make", "server", "fix"),
    [
        (own(subject="/CN=other.example"), True, "openssl: -addext subjectAltName=DNS:localhost"),
        (own(subject="/CN=other.example"), True, "grpc.ssl_target_name_override"),
        (of_an_unknown_one, True, "root_certificates have to hold the CA that signed it, or itself"),
        (issued(SAN, "extendedKeyUsage=clientAuth"), True, "openssl: extendedKeyUsage=serverAuth"),
        (own(SAN, "keyUsage=keyCertSign"), True, "openssl: -addext keyUsage=digitalSignature"),
    ],
)
def test_a_refusal_names_what_mends_it(openssl, authority, good, make, server, fix):
    leaf, roots = make(openssl, authority)
    assert fix in answer(("ours", "ours"), server=leaf, client_roots=roots)[1]


# ---- inside of the mesh


def test_the_channel_to_the_control_plane_takes_no_ca_for_a_server(openssl):
    """It is the mesh's, and strict, whatever channels outside of it take."""
    from rpc.engine_channels import EngineChannels  # noqa: PLC0415 - as the exchanger finds it

    made = openssl.own(SAN)
    world = World("sync", "ours", "ours")
    try:
        address = world.serve(polite, credentials=rpc.ssl_server_credentials([made.pair]))
        options = [("grpc.ssl_target_name_override", "localhost")]
        with EngineChannels().secure(address, made.chain, None, None, options) as channel:
            call = channel.unary_unary("/any/Method")
            with pytest.raises(grpc.RpcError, match="is a CA's own, which no workload may use"):
                call(b"", timeout=10)
    finally:
        world.close()


def test_what_the_mesh_demands_is_never_verified_by_grpcio_s_rules(openssl):
    from rpc._native import ClientTls, ServerTls  # noqa: PLC0415 - the engine's own

    made = openssl.own(SAN)
    common = {"roots": made.chain, "chain": made.chain, "key": made.key, "alpn": ["h2"], "as_grpc": True}
    for demand in ({"trust_domains": ["cluster.local"]}, {"names": [("exact", "spiffe://a/b", False)]}):
        with pytest.raises(ValueError, match="identities of a mesh"):
            ClientTls(sni="", **common, **demand)
        with pytest.raises(ValueError, match="identities of a mesh"):
            ServerTls(**common, **demand)
