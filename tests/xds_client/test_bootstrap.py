"""Settings: where each comes from, which one wins, and what is said about a bad one."""

from __future__ import annotations

import pytest

from xds_client import Bootstrap, BootstrapError
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
    assert bootstrap.discovery_address == "istiod.istio-system.svc:15010"
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
        ("discovery_address = 'istiod:15012'", "discovery_address", "use plaintext and port 15010"),
        ("security = 'tls'", "security", "use plaintext and port 15010"),
        ("security = 'hope'", "security", "neither plaintext nor tls"),
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
        ("PROXYLESS_SECURITY", "tls", "security"),
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
