"""Settings: where each comes from, which one wins, and what is said about a bad one."""

from __future__ import annotations

import pytest

from xds_client import Bootstrap, BootstrapError, TokenError
from xds_client.identity.opening import stream_access
from xds_client.identity.settings import CERTIFICATE_FOLDER, TOKEN_PATH, WORKLOAD_API_SOCKET, IdentitySettings
from xds_client.model import Locality

POD = {
    "POD_NAME": "shop-1",
    "POD_NAMESPACE": "demo",
    "INSTANCE_IP": "10.0.0.1",
    "SERVICE_ACCOUNT": "shop",
    "ISTIO_META_CLUSTER_ID": "east",
    "ISTIO_META_NODE_NAME": "node-1",
    "ISTIO_META_NETWORK": "net-1",
}


@pytest.fixture
def settings(tmp_path):
    """Write a settings file; the environment that names it."""

    def write(text, **more):
        path = tmp_path / "proxyless.toml"
        path.write_text(text)
        return {**POD, "PROXYLESS_CONFIG": str(path), **more}

    return write


def load(environ, root):
    return Bootstrap.load(environ, root)


def test_identity_from_the_pods_environment(tmp_path):
    bootstrap = load(POD, tmp_path)
    node = bootstrap.node
    assert node.id == "sidecar~10.0.0.1~shop-1.demo~demo.svc.cluster.local"
    assert bootstrap.discovery_address == "istiod.istio-system.svc:15012"
    assert node.metadata() == {
        "NAME": "shop-1",
        "NAMESPACE": "demo",
        "CLUSTER_ID": "east",
        "INSTANCE_IPS": "10.0.0.1",
        "ISTIO_VERSION": "1.31.0",
        "LABELS": {},
        "DISABLE_HBONE_SEND": "true",
        "NETWORK": "net-1",
        "NODE_NAME": "node-1",
        "SERVICE_ACCOUNT": "shop",
    }


def test_identity_from_the_pods_files(tmp_path):
    namespace = tmp_path / "var/run/secrets/kubernetes.io/serviceaccount/namespace"
    labels = tmp_path / "etc/istio/pod/labels"
    for path, text in ((namespace, "from-file\n"), (labels, 'version="v1"\napp="shop"\n')):
        path.parent.mkdir(parents=True)
        path.write_text(text)
    node = load({"POD_NAME": "shop-1", "POD_IP": "10.0.0.2"}, tmp_path).node
    assert node.id == "sidecar~10.0.0.2~shop-1.from-file~from-file.svc.cluster.local"
    assert node.labels == (("app", "shop"), ("version", "v1"))


def test_outside_a_pod_there_is_a_fallback_for_everything(tmp_path):
    bootstrap = load({}, tmp_path)
    assert bootstrap.node.ip
    assert bootstrap.node.pod
    assert (bootstrap.node.namespace, bootstrap.node.cluster_id) == ("default", "Kubernetes")


def test_our_variable_beats_our_file_beats_the_pod(settings, tmp_path):
    text = """
        discovery_address = "127.0.0.1:15010"
        namespace = "file"
        pod_name = "file"
        locality = "eu/a"
        [labels]
        app = "file"
    """
    bootstrap = load(settings(text, PROXYLESS_NAMESPACE="variable", PROXYLESS_DOMAIN="mesh.test"), tmp_path)
    node = bootstrap.node
    assert bootstrap.discovery_address == "127.0.0.1:15010"
    assert (node.namespace, node.pod, node.cluster_id, node.domain) == ("variable", "file", "east", "mesh.test")
    assert node.labels == (("app", "file"),)
    assert node.locality == Locality("eu", "a")


def test_labels_and_locality_from_variables(tmp_path):
    environ = {**POD, "PROXYLESS_LABELS": "version=v1, app=shop", "PROXYLESS_LOCALITY": "eu/a/rack"}
    node = load(environ, tmp_path).node
    assert node.labels == (("app", "shop"), ("version", "v1"))
    assert node.locality == Locality("eu", "a", "rack")


@pytest.mark.parametrize(
    ("text", "field", "reason"),
    [
        ("namespace = 7", "namespace", "7 is not a string"),
        ("namespaces = 'x'", "namespaces", "is not a setting"),
        ("namespace = ", "PROXYLESS_CONFIG", "is not TOML"),
        ("labels = 'x'", "labels", "table of strings"),
        ("labels = {a = 1}", "labels", "table of strings"),
        ("locality = 'a/b/c/d'", "locality", "region/zone/sub_zone"),
        ("discovery_address = 'nowhere'", "discovery_address", "is not host:port"),
        ("security = 'hope'", "security", "neither plaintext nor tls"),
        ("identity = 'passport'", "identity", "none of istiod, files, workload_api, none"),
        ("security = 'tls'\nca_address = 'ca'", "ca_address", "is not host:port"),
        ("security = 'tls'\ncertificate_ttl = 'long'", "certificate_ttl", "not a duration such as 90s or 24h"),
        ("security = 'tls'\ncertificate_ttl = '0s'", "certificate_ttl", "not a duration"),
        ("security = 'tls'\nworkload_api_address = '/run/s'", "workload_api_address", "neither unix:///path nor tcp:"),
    ],
)
def test_a_bad_file_is_one_error_that_names_file_and_field(settings, tmp_path, text, field, reason):
    environ = settings(text)
    with pytest.raises(BootstrapError, match=reason) as raised:
        load(environ, tmp_path)
    assert raised.value.source == environ["PROXYLESS_CONFIG"]
    assert raised.value.field == field
    assert str(raised.value).startswith(f"{environ['PROXYLESS_CONFIG']}: {field}: ")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(BootstrapError, match=r"nosuch\.toml: PROXYLESS_CONFIG: cannot be read"):
        load({"PROXYLESS_CONFIG": str(tmp_path / "nosuch.toml")}, tmp_path)


@pytest.mark.parametrize(
    ("variable", "value", "field"),
    [
        ("PROXYLESS_LABELS", "app", "labels"),
        ("PROXYLESS_DISCOVERY_ADDRESS", "istiod", "discovery_address"),
        ("PROXYLESS_SECURITY", "perhaps", "security"),
        ("PROXYLESS_IDENTITY", "none at all", "identity"),
    ],
)
def test_a_bad_variable_is_named(tmp_path, variable, value, field):
    with pytest.raises(BootstrapError) as raised:
        load({**POD, variable: value}, tmp_path)
    assert (raised.value.source, raised.value.field) == (variable, field)


def test_a_pod_file_that_makes_no_sense(tmp_path):
    labels = tmp_path / "etc/istio/pod/labels"
    labels.parent.mkdir(parents=True)
    labels.write_text('app="shop"\nnonsense\n')
    with pytest.raises(BootstrapError, match="labels, line 2"):
        load(POD, tmp_path)
    labels.write_bytes(b"\xff\xfe")
    with pytest.raises(BootstrapError, match="cannot be read"):
        load(POD, tmp_path)


def mount(root, path):
    file = root / path.lstrip("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()


@pytest.mark.parametrize(
    ("said", "mounted", "address", "security"),
    [
        ({}, (), "istiod.istio-system.svc:15012", "tls"),
        ({}, (WORKLOAD_API_SOCKET,), "istiod.istio-system.svc:15012", "tls"),
        ({"IDENTITY": "istiod"}, (), "istiod.istio-system.svc:15012", "tls"),
        ({"TOKEN_PATH": "/nowhere/token"}, (), "istiod.istio-system.svc:15012", "tls"),
        ({"CA_ADDRESS": "ca:15012"}, (), "istiod.istio-system.svc:15012", "tls"),
        ({"SECURITY": "plaintext"}, (), "istiod.istio-system.svc:15010", "plaintext"),
        ({}, (TOKEN_PATH,), "istiod.istio-system.svc:15012", "tls"),
        ({"SECURITY": "tls"}, (), "istiod.istio-system.svc:15012", "tls"),
        ({"SECURITY": "plaintext"}, (TOKEN_PATH,), "istiod.istio-system.svc:15010", "plaintext"),
        ({"DISCOVERY_ADDRESS": "a:15012"}, (), "a:15012", "tls"),
        ({"DISCOVERY_ADDRESS": "a:15010"}, (TOKEN_PATH,), "a:15010", "plaintext"),
        ({"DISCOVERY_ADDRESS": "a:443"}, (TOKEN_PATH,), "a:443", "tls"),
        ({"DISCOVERY_ADDRESS": "a:443"}, (), "a:443", "tls"),
        ({"DISCOVERY_ADDRESS": "a:9999"}, (), "a:9999", "tls"),
        ({"DISCOVERY_ADDRESS": "a:15010", "SECURITY": "tls"}, (), "a:15010", "tls"),
    ],
)
def test_plaintext_is_said_and_never_follows_from_what_is_not_mounted(tmp_path, said, mounted, address, security):
    for path in mounted:
        mount(tmp_path, path)
    bootstrap = load({**POD, **{f"PROXYLESS_{key}": value for key, value in said.items()}}, tmp_path)
    assert (bootstrap.discovery_address, bootstrap.security) == (address, security)
    assert (bootstrap.identity is None) == (security == "plaintext")


@pytest.mark.parametrize(
    ("mounted", "source"),
    [
        ((), "istiod"),
        ((f"{CERTIFICATE_FOLDER}/cert-chain.pem",), "files"),
        ((f"{CERTIFICATE_FOLDER}/cert-chain.pem", WORKLOAD_API_SOCKET), "workload_api"),
    ],
)
def test_the_identity_comes_from_what_is_mounted(tmp_path, mounted, source):
    for path in mounted:
        mount(tmp_path, path)
    assert load({**POD, "PROXYLESS_SECURITY": "tls"}, tmp_path).identity.source == source


@pytest.mark.parametrize(
    ("said", "source"),
    [
        ({"PROXYLESS_CA_ADDRESS": "ca:15012"}, "istiod"),
        ({"CA_ADDR": "ca:15012", "PROXYLESS_TOKEN_PATH": "/nowhere/token"}, "istiod"),
        ({"PROXYLESS_CERTIFICATE_PATH": "/nowhere/chain.pem"}, "files"),
        ({"PROXYLESS_PRIVATE_KEY_PATH": "/nowhere/key.pem"}, "files"),
        ({"SPIFFE_ENDPOINT_SOCKET": "unix:///nowhere"}, "workload_api"),
        ({"PROXYLESS_IDENTITY": "workload_api"}, "workload_api"),
    ],
)
@pytest.mark.parametrize("security", ["plaintext", "tls"])
def test_who_asks_for_an_identity_gets_it_however_the_stream_is_carried(tmp_path, said, source, security):
    assert load({**POD, "PROXYLESS_SECURITY": security, **said}, tmp_path).identity.source == source


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"PROXYLESS_IDENTITY": "istiod", "PROXYLESS_SECURITY": "plaintext"}, "identity"),
        ({"PROXYLESS_IDENTITY": "istiod", "PROXYLESS_DISCOVERY_ADDRESS": "a:15010"}, "identity"),
        ({"PROXYLESS_TOKEN_PATH": "/nowhere/token", "PROXYLESS_DISCOVERY_ADDRESS": "a:15010"}, "token_path"),
    ],
)
def test_an_identity_that_nobody_can_sign_is_an_error_and_not_left_out(tmp_path, said, field):
    with pytest.raises(BootstrapError, match="spoken to in plaintext, where nobody signs") as raised:
        load({**POD, **said}, tmp_path)
    assert (raised.value.source, raised.value.field) == (f"PROXYLESS_{field.upper()}", field)


def test_a_link_to_nowhere_is_mounted(tmp_path):
    socket = tmp_path / WORKLOAD_API_SOCKET.lstrip("/")
    socket.parent.mkdir(parents=True)
    socket.symlink_to("nowhere")
    assert load(POD, tmp_path).identity.source == "workload_api"


def test_without_its_token_a_member_says_which_file_is_missing_and_sends_nothing(tmp_path):
    token, root = tmp_path / "token", tmp_path / "root.pem"
    said = {"PROXYLESS_TOKEN_PATH": str(token), "PROXYLESS_ROOT_CERTIFICATE_PATH": str(root)}
    token.symlink_to("nowhere")
    access = stream_access(load({**POD, **said}, tmp_path), None)
    with pytest.raises(TokenError, match=str(token)):
        access.open()


def test_everything_about_the_identity_can_be_set(settings, tmp_path):
    text = """
        security = "plaintext"
        identity = "istiod"
        server_name = "istiod.istio-system.svc"
        token_path = "/tmp/token"
        root_certificate_path = "/tmp/root.pem"
        extra_roots_path = "/tmp/more.pem"
        certificate_path = "/tmp/cert.pem"
        private_key_path = "/tmp/key.pem"
        trust_domain_aliases = "old.mesh, older.mesh"
    """
    pod = {"CA_ADDR": "ca:15012", "TRUST_DOMAIN": "mesh", "SECRET_TTL": "90m", "SPIFFE_ENDPOINT_SOCKET": "unix:///a"}
    assert load(settings(text, **pod), tmp_path).identity == IdentitySettings(
        source="istiod",
        ca_address="ca:15012",
        server_name="istiod.istio-system.svc",
        token_path="/tmp/token",
        root_certificate_path="/tmp/root.pem",
        extra_roots_path="/tmp/more.pem",
        certificate_ttl=5400.0,
        trust_domain="mesh",
        trust_domain_aliases=("old.mesh", "older.mesh"),
        certificate_path="/tmp/cert.pem",
        private_key_path="/tmp/key.pem",
        workload_api_address="unix:///a",
    )


def test_a_bad_variable_of_the_pod_is_named(tmp_path):
    with pytest.raises(BootstrapError, match=r"^SECRET_TTL: certificate_ttl: '1 day' is not a duration"):
        load({**POD, "PROXYLESS_SECURITY": "tls", "SECRET_TTL": "1 day"}, tmp_path)
