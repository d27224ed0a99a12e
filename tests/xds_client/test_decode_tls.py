"""Upstream TLS: everything asked for is in the model, or the cluster says which field it cannot be called for."""

from __future__ import annotations

import pytest
from envoy.config.cluster.v3 import cluster_pb2
from google.protobuf import json_format

from tests.xds_client.mesh import cluster, endpoints, route
from xds_client import model as m
from xds_client.cache import Caches
from xds_client.decode import parse
from xds_client.errors import DecodeError
from xds_client.resolve import resolve
from xds_client.resource_type import ResourceType
from xds_client.session import Update

PACKED = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3."
HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
ADS = {"ads": {}}


def agent(name, served_by="sds-grpc"):
    source = {"api_type": "GRPC", "grpc_services": [{"envoy_grpc": {"cluster_name": served_by}}]}
    return {"name": name, "sds_config": {"api_config_source": source}}


def socket(common=None, **context):
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {"@type": PACKED + "UpstreamTlsContext", "common_tls_context": common or {}, **context},
    }


def decoded(said):
    message = json_format.ParseDict({"name": "c", "type": "EDS", **said}, cluster("c"))
    return parse(ResourceType.CLUSTER, "c", ResourceType.CLUSTER.value, message.SerializeToString()).value()


def with_tls(common=None, **context):
    return decoded({"transport_socket": socket(common, **context)})


def validating(roots=None, **context):
    combined = {"default_validation_context": context}
    return {
        "combined_validation_context": combined | {"validation_context_sds_secret_config": roots or agent("ROOTCA")}
    }


def test_istio_mutual():
    common = {
        "alpn_protocols": ["istio-peer-exchange", "istio", "h2"],
        "tls_certificate_sds_secret_configs": [agent("default")],
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"},
        **validating(match_subject_alt_names=[{"exact": "spiffe://td/ns/demo/sa/a"}]),
    }
    assert with_tls(common, sni="outbound_.1_._.a").tls == m.UpstreamTls(
        sni="outbound_.1_._.a",
        alpn=("istio-peer-exchange", "istio", "h2"),
        subject_alt_names=(m.StringMatch(m.StringMatchKind.EXACT, "spiffe://td/ns/demo/sa/a"),),
        certificate=m.MeshSecret(),
        roots=m.MeshSecret(),
    )


@pytest.mark.parametrize(
    ("secret", "source"),
    [
        (agent("default"), m.MeshSecret()),
        (agent("file-cert:/etc/c.pem~/etc/k.pem"), m.FileCertificate("/etc/c.pem", "/etc/k.pem")),
        (agent("file-cert:/etc/c.pem~/etc/k.pem", "sds-files-grpc"), m.FileCertificate("/etc/c.pem", "/etc/k.pem")),
        ({"name": "kubernetes://shop", "sds_config": ADS}, m.NamedSecret("kubernetes://shop")),
        ({"name": "default", "sds_config": ADS}, m.NamedSecret("default")),
    ],
)
def test_where_the_own_certificate_comes_from(secret, source):
    common = {"tls_certificate_sds_secret_configs": [secret], **validating()}
    assert with_tls(common).tls.certificate == source


@pytest.mark.parametrize(
    ("secret", "source"),
    [
        (agent("ROOTCA"), m.MeshSecret()),
        (agent("file-root:system"), m.SystemRoots()),
        (agent("file-root:/etc/ssl/certs/ca.pem"), m.FileRoots("/etc/ssl/certs/ca.pem")),
        ({"name": "kubernetes://shop-cacert", "sds_config": ADS}, m.NamedSecret("kubernetes://shop-cacert")),
        ({"name": "ROOTCA", "sds_config": ADS}, m.NamedSecret("ROOTCA")),
    ],
)
@pytest.mark.parametrize("alone", [False, True])
def test_where_roots_come_from(secret, source, alone):
    common = {"validation_context_sds_secret_config": secret} if alone else validating(secret)
    tls = with_tls(common).tls
    assert (tls.roots, tls.certificate) == (source, None)


@pytest.mark.parametrize(
    ("context", "source"),
    [
        ({"trusted_ca": {"filename": "/ca.pem"}}, m.FileRoots("/ca.pem")),
        ({"trusted_ca": {"inline_string": "PEM"}}, m.InlineRoots(b"PEM")),
        ({"trusted_ca": {"inline_bytes": "UEVN"}}, m.InlineRoots(b"PEM")),
        ({"system_root_certs": {}}, m.SystemRoots()),
        ({"ca_certificate_provider_instance": {"instance_name": "default"}}, m.MeshSecret()),
        ({}, None),
        ({"trusted_ca": {"filename": "/ca.pem"}, "trust_chain_verification": "ACCEPT_UNTRUSTED"}, None),
    ],
)
def test_roots_in_the_context_itself(context, source):
    assert with_tls({"validation_context": context}).tls.roots == source


def test_roots_from_sds_replace_those_of_the_default_context_and_accept_untrusted_replaces_all():
    names = [{"suffix": "/sa/a"}]
    inline = {"trusted_ca": {"filename": "/ca.pem"}, "match_subject_alt_names": names}
    tls = with_tls(validating(**inline)).tls
    assert tls.roots == m.MeshSecret()
    assert tls.subject_alt_names == (m.StringMatch(m.StringMatchKind.SUFFIX, "/sa/a"),)
    assert with_tls(validating(**inline, trust_chain_verification="ACCEPT_UNTRUSTED")).tls.roots is None


def test_no_validation_context_verifies_nothing_and_shows_nothing():
    tls = with_tls(sni="example.org").tls
    assert (tls.sni, tls.certificate, tls.roots) == ("example.org", None, None)


def test_certificates_in_the_context_itself():
    files = {"certificate_chain": {"filename": "/c.pem"}, "private_key": {"filename": "/k.pem"}}
    assert with_tls({"tls_certificates": [files]}).tls.certificate == m.FileCertificate("/c.pem", "/k.pem")
    inline = {"certificate_chain": {"inline_string": "CHAIN"}, "private_key": {"inline_string": "SECRET"}}
    certificate = with_tls({"tls_certificates": [inline]}).tls.certificate
    assert certificate == m.InlineCertificate(b"CHAIN", b"SECRET")
    assert "SECRET" not in repr(certificate), "a key is not shown"


def test_the_form_of_the_lean_kind_means_the_workloads_own():
    instance = {"instance_name": "default", "certificate_name": "ROOTCA"}
    common = {
        "tls_certificate_provider_instance": instance,
        "combined_validation_context": {
            "default_validation_context": {"match_subject_alt_names": [{"exact": "spiffe://a"}]},
            "validation_context_certificate_provider_instance": instance,
        },
    }
    tls = with_tls(common).tls
    assert (tls.certificate, tls.roots) == (m.MeshSecret(), m.MeshSecret())


@pytest.mark.parametrize(
    ("matcher", "match"),
    [
        ({"exact": "a"}, m.StringMatch(m.StringMatchKind.EXACT, "a")),
        ({"prefix": "a", "ignore_case": True}, m.StringMatch(m.StringMatchKind.PREFIX, "a", ignore_case=True)),
        ({"suffix": "a"}, m.StringMatch(m.StringMatchKind.SUFFIX, "a")),
        ({"contains": "a"}, m.StringMatch(m.StringMatchKind.CONTAINS, "a")),
        ({"safe_regex": {"regex": "a.*"}}, m.StringMatch(m.StringMatchKind.REGEX, "a.*")),
    ],
)
def test_subject_alt_names_of_every_form(matcher, match):
    assert with_tls(validating(match_subject_alt_names=[matcher])).tls.subject_alt_names == (match,)
    typed = {"san_type": "URI", "matcher": matcher}
    assert with_tls(validating(match_typed_subject_alt_names=[typed])).tls.subject_alt_names == (match,)


def test_typed_subject_alt_names_go_before_deprecated_ones():
    both = {
        "match_typed_subject_alt_names": [{"san_type": "URI", "matcher": {"exact": "spiffe://new"}}],
        "match_subject_alt_names": [{"exact": "spiffe://old"}],
    }
    assert [s.value for s in with_tls(validating(**both)).tls.subject_alt_names] == ["spiffe://new"]


@pytest.mark.parametrize(
    ("params", "versions"),
    [
        ({}, ("TLSv1.2", "TLSv1.3")),
        ({"tls_minimum_protocol_version": "TLSv1_0"}, ("TLSv1.2", "TLSv1.3")),
        ({"tls_minimum_protocol_version": "TLSv1_3"}, ("TLSv1.3", "TLSv1.3")),
        ({"tls_maximum_protocol_version": "TLSv1_2"}, ("TLSv1.2", "TLSv1.2")),
    ],
)
def test_versions(params, versions):
    tls = with_tls({"tls_params": params}).tls
    assert (tls.min_version.value, tls.max_version.value) == versions


def test_names_from_calls_reach_the_cluster_and_every_match():
    said = {
        "typed_extension_protocol_options": {
            HTTP_OPTIONS: {
                "@type": "type.googleapis.com/" + HTTP_OPTIONS,
                "upstream_http_protocol_options": {"auto_sni": True, "auto_san_validation": True},
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        },
        "transport_socket": socket(validating(agent("file-root:system"))),
        "transport_socket_matches": [
            {"name": "verified", "match": {"a": "1"}, "transport_socket": socket(validating())},
            {"name": "not", "match": {"a": "2"}, "transport_socket": socket({"validation_context": {}})},
        ],
    }
    found = decoded(said)
    verified, unverified = (match.tls for match in found.transport_matches)
    assert all(tls.auto_sni for tls in (found.tls, verified, unverified))
    assert [tls.auto_san_validation for tls in (found.tls, verified, unverified)] == [True, True, False]


NOT_OURS = {"typed_config": {"@type": PACKED + "DownstreamTlsContext"}, "name": "tls"}


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"transport_socket": {"name": "quic"}}, "transport_socket.typed_config: quic is not a transport"),
        ({"transport_socket": NOT_OURS}, "DownstreamTlsContext is not a transport"),
        ({"transport_socket": socket(auto_host_sni=True)}, "auto_host_sni: is not supported"),
        ({"transport_socket": socket(auto_sni_san_validation=True)}, "auto_sni_san_validation: is not supported"),
        ({"transport_socket": socket({"custom_handshaker": {"name": "h"}})}, "custom_handshaker: is not supported"),
        (
            {"transport_socket": socket({"tls_certificate_sds_secret_configs": [agent("default")] * 2})},
            "only one certificate",
        ),
        (
            {"transport_socket": socket({"tls_certificate_sds_secret_configs": [agent("file-cert:/only")]})},
            "tls_certificate_sds_secret_configs[0].name: 'file-cert:/only' is not a secret that a workload has",
        ),
        (
            {"transport_socket": socket({"tls_certificate_sds_secret_configs": [agent("default", "vault")]})},
            "secrets served by vault are not supported",
        ),
        (
            {"transport_socket": socket({"tls_certificate_sds_secret_configs": [{"name": "default"}]})},
            "secrets from the bootstrap are not supported",
        ),
        ({"transport_socket": socket({"tls_certificates": [{"pkcs12": {"filename": "/p12"}}]})}, "[0].pkcs12"),
        ({"transport_socket": socket(validating(agent("file-root:")))}, "'file-root:' is not a secret"),
        ({"transport_socket": socket(validating(agent("ROOTCA2")))}, "'ROOTCA2' is not a secret"),
        ({"transport_socket": socket(validating(crl={"filename": "/crl"}))}, "default_validation_context.crl: cannot"),
        (
            {
                "transport_socket": socket(
                    validating(verify_certificate_spki=["NvqYIYSbgK2vCJpQhObf77vv+bQWtc5ek5RIOwPiC9A="])
                )
            },
            "verify_certificate_spki: cannot be verified",
        ),
        (
            {
                "transport_socket": socket(
                    validating(verify_certificate_hash=["00"], trust_chain_verification="ACCEPT_UNTRUSTED")
                )
            },
            "verify_certificate_hash: cannot be verified",
        ),
        ({"transport_socket": socket(validating(max_verify_depth=1))}, "max_verify_depth"),
        ({"transport_socket": socket(validating(custom_validator_config={"name": "v"}))}, "custom_validator_config"),
        (
            {
                "transport_socket": socket(
                    validating(match_typed_subject_alt_names=[{"san_type": "EMAIL", "matcher": {"exact": "a@b"}}])
                )
            },
            "match_typed_subject_alt_names[0].san_type",
        ),
        (
            {
                "transport_socket": socket(
                    validating(match_typed_subject_alt_names=[{"san_type": "DNS", "matcher": {"suffix": ".org"}}])
                )
            },
            "match_typed_subject_alt_names[0].san_type",
        ),
        ({"transport_socket": socket({"tls_params": {"ecdh_curves": ["X25519MLKEM768"]}})}, "ecdh_curves: none of"),
        ({"transport_socket": socket({"tls_params": {"compliance_policies": ["FIPS_202205"]}})}, "compliance_policies"),
        (
            {"transport_socket": socket({"tls_params": {"tls_maximum_protocol_version": "TLSv1_1"}})},
            "older than TLS 1.2",
        ),
        ({"upstream_http_protocol_options": {"auto_san_validation": True}}, "auto_san_validation: is not supported"),
        ({"upstream_http_protocol_options": {"override_auto_sni_header": "x"}}, "override_auto_sni_header"),
        (
            {"transport_socket_matches": [{"name": "m", "transport_socket": {"name": "quic"}}]},
            "transport_socket_matches[0].transport_socket.typed_config",
        ),
    ],
)
def test_what_cannot_be_honoured_makes_the_cluster_unusable_and_names_the_field(said, reason):
    found = decoded(said)
    assert reason in found.unusable
    assert (found.tls, found.transport_matches) == (None, ()), "nothing half understood is left"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (
            {"transport_socket": socket({"validation_context": {"match_subject_alt_names": [{"exact": "a"}]}})},
            "validation_context.trusted_ca: is needed to verify",
        ),
        (
            {"transport_socket": socket(validating(match_subject_alt_names=[{"safe_regex": {"regex": "("}}]))},
            r"match_subject_alt_names\[0\].safe_regex: '\(': does not compile",
        ),
        ({"transport_socket_matches": [{"name": "m"}]}, r"transport_socket_matches\[0\].transport_socket: is missing"),
        (
            {
                "transport_socket": socket(
                    {
                        "tls_params": {
                            "tls_minimum_protocol_version": "TLSv1_3",
                            "tls_maximum_protocol_version": "TLSv1_2",
                        }
                    }
                )
            },
            "older than the minimum",
        ),
    ],
)
def test_what_makes_no_sense_is_an_error(said, reason):
    with pytest.raises(DecodeError, match=reason):
        decoded(said)


def test_a_cluster_that_turns_unusable_is_not_called_as_it_was_before(node):
    """The last good form stays for what is malformed; here it would be plaintext where TLS is asked for."""
    target = m.Target("reviews.demo.svc.cluster.local.", 9080)
    caches = Caches()
    plain = [route("reviews.demo.svc.cluster.local:9080", "c"), cluster("c"), endpoints("c", "10.0.0.1")]
    for message in plain:
        caches = caches.apply(_update(message))
    assert resolve(target, caches, node).observed.clusters[0].error is None
    secured = json_format.ParseDict({"transport_socket": {"name": "quic"}}, cluster("c"))
    resolution = resolve(target, caches.apply(_update(secured)), node)
    [config] = resolution.observed.clusters
    assert config.cluster is None
    assert config.error == (
        "cluster 'c' asks for what this release cannot do: "
        "transport_socket.typed_config: quic is not a transport this release speaks"
    )
    assert resolution.errors == (), "the control plane made no mistake, so nothing is NACKed"


def _update(message):
    kind = {
        "Cluster": ResourceType.CLUSTER,
        "ClusterLoadAssignment": ResourceType.ENDPOINT,
        "RouteConfiguration": ResourceType.ROUTE,
    }[message.DESCRIPTOR.name]
    name = message.cluster_name if kind is ResourceType.ENDPOINT else message.name
    return Update(kind, accepted={name: parse(kind, name, kind.value, message.SerializeToString())})


def test_bytes_that_are_no_tls_context():
    message = cluster_pb2.Cluster(name="c")
    message.transport_socket.typed_config.type_url = PACKED + "UpstreamTlsContext"
    message.transport_socket.typed_config.value = b"\x0a\xff"
    with pytest.raises(DecodeError, match="not an UpstreamTlsContext"):
        parse(ResourceType.CLUSTER, "c", ResourceType.CLUSTER.value, message.SerializeToString()).value()
