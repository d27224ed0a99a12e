"""Who this process is in the mesh: an X.509-SVID from istiod, from files or from the SPIFFE Workload API, kept current.

What users of an identity need is `IdentitySource` and `Identity`; the rest is how it comes about.
"""

from xds_client.identity.keeper import IdentityStatus
from xds_client.identity.source import IdentitySource
from xds_client.identity.svid import Identity

__all__ = ["Identity", "IdentitySource", "IdentityStatus"]
