"""Who this process is in the mesh: an X.509-SVID from istiod, from files or from the SPIFFE Workload API, kept current.

What users of an identity need is `IdentitySource` and `Identity`; the rest is how it comes about.
"""

from xds_client.identity.files import CertificateFiles
from xds_client.identity.istiod_ca import IstiodCa
from xds_client.identity.keeper import IdentityStatus
from xds_client.identity.settings import IdentitySettings
from xds_client.identity.source import IdentitySource
from xds_client.identity.svid import Identity
from xds_client.identity.workload_api import SpiffeWorkloadApi

__all__ = [
    "CertificateFiles",
    "Identity",
    "IdentitySettings",
    "IdentitySource",
    "IdentityStatus",
    "IstiodCa",
    "SpiffeWorkloadApi",
]
