"""The few protobuf messages of the CSR and Workload APIs, described here because no package brings them.

Sources: istio.io/api security/v1alpha1/ca.proto; spiffe/go-spiffe workload.proto. The pool is our own: a program that
has generated code for them, too, does not collide with it.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

CREATE_CERTIFICATE = "/istio.v1.auth.IstioCertificateService/CreateCertificate"
FETCH_X509_SVID = "/SpiffeWorkloadAPI/FetchX509SVID"

_Field = descriptor_pb2.FieldDescriptorProto
_STRING, _BYTES, _INT64, _MESSAGE = _Field.TYPE_STRING, _Field.TYPE_BYTES, _Field.TYPE_INT64, _Field.TYPE_MESSAGE
_POOL = descriptor_pool.DescriptorPool()


def _define(file: descriptor_pb2.FileDescriptorProto, message: str, *fields: tuple[str, int, Any, str]) -> None:
    """``fields``: name, number, type and, for repeated ones, ``[]``, followed by the message's name if it is one."""
    described = file.message_type.add(name=message)
    for name, number, kind, more in fields:
        label = _Field.LABEL_REPEATED if more.startswith("[]") else _Field.LABEL_OPTIONAL
        field = described.field.add(name=name, number=number, type=kind, label=label)
        if message_name := more.removeprefix("[]"):
            field.type_name = message_name


def _istio() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="security/v1alpha1/ca.proto", package="istio.v1.auth")
    file.syntax = "proto3"
    _define(file, "IstioCertificateRequest", ("csr", 1, _STRING, ""), ("validity_duration", 3, _INT64, ""))
    _define(file, "IstioCertificateResponse", ("cert_chain", 1, _STRING, "[]"))
    return file


def _spiffe() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="workload.proto", syntax="proto3")
    _define(file, "X509SVIDRequest")
    _define(
        file,
        "X509SVID",
        ("spiffe_id", 1, _STRING, ""),
        ("x509_svid", 2, _BYTES, ""),
        ("x509_svid_key", 3, _BYTES, ""),
        ("bundle", 4, _BYTES, ""),
    )
    _define(file, "FederatedBundle", ("key", 1, _STRING, ""), ("value", 2, _BYTES, ""))  # an entry of the map
    _define(
        file,
        "X509SVIDResponse",
        ("svids", 1, _MESSAGE, "[].X509SVID"),
        ("federated_bundles", 3, _MESSAGE, "[].FederatedBundle"),
    )
    return file


for _file in (_istio(), _spiffe()):
    _POOL.Add(_file)


def _class(name: str) -> Any:
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(name))


CertificateRequest = _class("istio.v1.auth.IstioCertificateRequest")
CertificateResponse = _class("istio.v1.auth.IstioCertificateResponse")
X509SvidRequest = _class("X509SVIDRequest")
X509SvidResponse = _class("X509SVIDResponse")
