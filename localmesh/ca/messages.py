"""The two messages of `istio.v1.auth.IstioCertificateService` (istio.io/api `security/v1alpha1/ca.proto`).

Described here because no package brings them, in a pool of their own: a program that has generated code for them, too,
does not collide with it.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, struct_pb2

_Field = descriptor_pb2.FieldDescriptorProto
_ONE, _MANY = _Field.LABEL_OPTIONAL, _Field.LABEL_REPEATED
_STRUCT = struct_pb2.DESCRIPTOR.name


def _described() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="security/v1alpha1/ca.proto", package="istio.v1.auth", syntax="proto3", dependency=[_STRUCT]
    )
    request = file.message_type.add(name="IstioCertificateRequest")
    request.field.add(name="csr", number=1, type=_Field.TYPE_STRING, label=_ONE)
    request.field.add(name="validity_duration", number=3, type=_Field.TYPE_INT64, label=_ONE)  # in seconds
    metadata = request.field.add(name="metadata", number=4, type=_Field.TYPE_MESSAGE, label=_ONE)
    metadata.type_name = ".google.protobuf.Struct"
    response = file.message_type.add(name="IstioCertificateResponse")
    response.field.add(name="cert_chain", number=1, type=_Field.TYPE_STRING, label=_MANY)  # the leaf first
    return file


_POOL = descriptor_pool.DescriptorPool()
_POOL.AddSerializedFile(struct_pb2.DESCRIPTOR.serialized_pb)
_POOL.AddSerializedFile(_described().SerializeToString())


def _message(name: str) -> Any:
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"istio.v1.auth.{name}"))


CertificateRequest = _message("IstioCertificateRequest")
CertificateResponse = _message("IstioCertificateResponse")
