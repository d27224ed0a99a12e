"""The two messages of `istio.v1.auth.IstioCertificateService` (istio.io/api `security/v1alpha1/ca.proto`)."""

from __future__ import annotations

from dataclasses import dataclass

import betterproto2

from localmesh import xds  # noqa: TC001  # betterproto2 reads the annotations


@dataclass(eq=False, repr=False)
class CertificateRequest(betterproto2.Message):
    """``validity_duration`` is in seconds."""

    csr: str = betterproto2.field(1, betterproto2.TYPE_STRING)  # as its generator writes
    validity_duration: int = betterproto2.field(3, betterproto2.TYPE_INT64)
    metadata: xds.protobuf.Struct | None = betterproto2.field(  # noqa: RUF009  # the same
        4, betterproto2.TYPE_MESSAGE, optional=True
    )


@dataclass(eq=False, repr=False)
class CertificateResponse(betterproto2.Message):
    """The leaf first, the roots last."""

    cert_chain: list[str] = betterproto2.field(  # noqa: RUF009  # the same
        1, betterproto2.TYPE_STRING, repeated=True
    )
