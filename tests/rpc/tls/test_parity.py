"""`ssl` credentials beside grpcio's: every pairing of client and server in both worlds; grpcio alone is the control."""

import ssl

import grpc
import pytest
from cryptography.hazmat.primitives.serialization import Encoding

import rpc
from tests.rpc.conftest import MATRIX
from tests.rpc.peers import World
from tests.rpc.script import polite
from tests.rpc.script import request as asked
from tests.rpc.tls.certificates import REVIEWS, SHOP, Authority
from tests.rpc.tls.ends import hello, raw, refused, tell_peer

GROUP = "ssl_negotiated_key_exchange_group"
SERVERS_ONLY = [(kind, server) for kind in ("sync", "aio") for server in ("grpcio", "ours")]


@pytest.fixture(params=MATRIX, ids=["-".join(entry) for entry in MATRIX])
def world(request):
    world = World(*request.param)
    yield world
    world.close()


@pytest.fixture(scope="module")
def root():
    return Authority("a company")


@pytest.fixture(scope="module")
def server_leaf(root):
    return root.issue(dns=["reviews.example", "*.wild.example"], ips=["127.0.0.1"], common_name="reviews")


def makers(make):
    return rpc if make == "ours" else grpc


def serve(world, leaf, root=None, script=polite, *, require=False):
    credentials = makers(world.server_make).ssl_server_credentials(
        [leaf.pair], None if root is None else root.pem, require
    )
    return world.serve(script, credentials=credentials)


def client(world, address, root, leaf=None, name=None):
    options = [("grpc.ssl_target_name_override", name)] if name else None
    own = () if leaf is None else leaf.pair
    return world.connect(
        address, options, credentials=makers(world.client_make).ssl_channel_credentials(root.pem, *own)
    )


def test_every_kind_of_call(world, root, server_leaf):
    caller = client(world, serve(world, server_leaf), root)
    for kind in ("unary", "server_stream", "client_stream", "bidi"):
        assert caller.call(kind, asked("Ann")).messages == ["Hello, Ann!"], kind


@pytest.mark.parametrize("name", ["reviews.example", "any.wild.example"])
def test_the_name_that_overrides(world, root, server_leaf, name):
    hello(client(world, serve(world, server_leaf), root, name=name))


@pytest.mark.parametrize("name", ["rates.example", "two.levels.wild.example", "wild.example"])
def test_a_server_of_another_name_is_not_called(world, root, server_leaf, name):
    refused(client(world, serve(world, server_leaf), root, name=name))


@pytest.fixture(scope="module")
def several(root):
    """Certificates for different names, the first for no DNS name at all."""
    return [
        root.issue(ips=["127.0.0.1"]),
        root.issue(dns=["one.example", "*.wild.example"]),
        root.issue(dns=["two.example"]),
        root.issue(dns=["two.example"], common_name="second of its name"),
        root.issue(common_name="three.example"),
    ]


def shown(address, name):
    """The certificate that a client sees which asks for this name, or for none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    with raw(address) as sock, context.wrap_socket(sock, server_hostname=name) as tls:
        return tls.getpeercert(binary_form=True)


@pytest.mark.parametrize(
    ("name", "which"),
    [
        (None, 0),
        ("one.example", 1),
        ("any.wild.example", 1),
        ("two.example", 2),
        ("Two.Example", 2),
        ("three.example", 4),
        ("four.example", 0),
    ],
)
def test_of_several_certificates_the_one_for_the_name_is_shown(served, several, name, which):
    credentials = makers(served.server_make).ssl_server_credentials([leaf.pair for leaf in several])
    address = served.serve(polite, credentials=credentials)
    assert shown(address, name) == several[which].certificate.public_bytes(Encoding.DER)


def test_calls_to_different_names_of_one_server(served, root, several):
    credentials = makers(served.server_make).ssl_server_credentials([leaf.pair for leaf in several])
    address = served.serve(polite, credentials=credentials)
    for name in (None, "one.example", "any.wild.example", "two.example"):
        hello(client(served, address, root, name=name))
    refused(client(served, address, root, name="four.example"))


def test_a_server_of_an_unknown_authority_is_not_called(world, server_leaf):
    refused(client(world, serve(world, server_leaf), Authority()))


def test_a_client_that_must_show_a_certificate_and_does_not(world, root, server_leaf):
    refused(client(world, serve(world, server_leaf, root, require=True), root))


def test_a_client_with_a_strangers_certificate(world, root, server_leaf):
    refused(client(world, serve(world, server_leaf, root, require=True), root, Authority().issue(SHOP)))


def test_who_is_not_asked_for_a_certificate_may_have_any(world, root, server_leaf):
    """`require_client_auth` False: grpcio does not ask, roots or not, and knows nobody."""
    seen = []
    address = serve(world, server_leaf, root, tell_peer(seen))
    hello(client(world, address, root, Authority().issue(SHOP)))
    [(context, identities, key)] = seen
    assert (identities, key) == (None, None)
    assert not [name for name in context if name.startswith(("x509", "peer"))]


CLIENTS = {
    "spiffe": {"uris": [SHOP]},
    "everything": {
        "uris": [SHOP, "https://shop.example/"],
        "dns": ["shop.example", "*.shop.example"],
        "ips": ["10.0.0.1", "fd00::1"],
        "common_name": "shop",
    },
    "common name": {"common_name": "shöp"},
    "no name": {"dns": ["shop.example"]},
}


@pytest.mark.parametrize("names", CLIENTS.values(), ids=CLIENTS)
@pytest.mark.parametrize("kind", ["sync", "aio"])
def test_what_servicers_know_of_the_client_is_what_grpcio_says(kind, names, root, server_leaf):
    names = dict(names)
    leaf = root.issue(*names.pop("uris", ()), **names)
    told = []
    for server in ("grpcio", "ours"):
        seen = []
        world = World(kind, "grpcio", server)
        try:
            address = serve(world, server_leaf, root, tell_peer(seen), require=True)
            hello(client(world, address, root, leaf, name="reviews.example"))
        finally:
            world.close()
        told += seen
    (control, *grpcio_says), (context, *we_say) = told
    assert we_say == grpcio_says
    assert (control.pop(GROUP), context.pop(GROUP)) != ([], [])  # each engine has its own preference
    different = {name for name in control.keys() | context.keys() if control.get(name) != context.get(name)}
    assert different == set(), {name: (control.get(name), context.get(name)) for name in different}


def test_a_plaintext_client_is_not_let_in(world, server_leaf):
    address = serve(world, server_leaf)
    answer = world.connect(address).call("unary", asked("Ann"), timeout=3)
    assert answer.code in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}


def test_plaintext_is_no_way_out(world, root):
    """A TLS client at a plaintext server: the call fails."""
    answer = client(world, world.serve(polite), root).call("unary", asked("Ann"), timeout=3)
    assert answer.code in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}


# ---- dynamic_ssl_server_credentials


@pytest.fixture(params=SERVERS_ONLY, ids=["-".join(entry) for entry in SERVERS_ONLY])
def served(request):
    kind, server = request.param
    world = World(kind, "ours", server)
    yield world
    world.close()


def dynamic(world, leaf, fetch):
    module = makers(world.server_make)
    first = module.ssl_server_certificate_configuration([leaf.pair])
    return module.dynamic_ssl_server_credentials(first, lambda: fetch(module))


def test_the_fetcher_is_asked_for_each_handshake(served, root, server_leaf):
    other = Authority("the next")
    next_leaf = other.issue(ips=["127.0.0.1"])
    answers = [server_leaf, None, next_leaf, None]
    asked_for = []

    def fetch(module):
        asked_for.append(1)
        leaf = answers[min(len(asked_for), len(answers)) - 1]
        return leaf and module.ssl_server_certificate_configuration([leaf.pair])

    address = served.serve(polite, credentials=dynamic(served, server_leaf, fetch))
    for trusted in (root, root, other, other):
        hello(client(served, address, trusted))
    assert len(asked_for) in {3, 4}  # grpcio does not ask for its very first handshake


def test_a_fetcher_that_fails_leaves_what_there_was(served, root, server_leaf):
    def fetch(_):
        raise RuntimeError("the vault is closed")

    address = served.serve(polite, credentials=dynamic(served, server_leaf, fetch))
    for _ in range(2):
        hello(client(served, address, root))


def test_a_fetcher_that_gives_rubbish_leaves_what_there_was(served, root, server_leaf):
    def fetch(module):
        return module.ssl_server_certificate_configuration([(b"no key", b"no chain")])

    address = served.serve(polite, credentials=dynamic(served, server_leaf, fetch))
    for _ in range(2):
        hello(client(served, address, root))


def test_one_credentials_object_on_two_ports_rotates_on_both(served, root, server_leaf):
    other = Authority("the next")
    current = [server_leaf]
    credentials = dynamic(
        served, server_leaf, lambda module: module.ssl_server_certificate_configuration([current[0].pair])
    )
    addresses = [served.serve(polite, credentials=credentials) for _ in range(2)]
    for address in addresses * 2:
        hello(client(served, address, root))
    current[0] = other.issue(ips=["127.0.0.1"])
    for address in addresses * 2:
        hello(client(served, address, other))


def test_names_of_the_mesh_say_nothing_to_a_client_that_looks_for_hosts(served, root):
    leaf = root.issue(REVIEWS)
    refused(client(served, serve(served, leaf), root))
