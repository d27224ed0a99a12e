"""AuthorizationPolicies, compiled to the filters of Envoy's RBAC that istiod sends for them. Pure.

Follows istiod's `pilot/pkg/security/authz`.
"""

from localmesh.compile.authorization.ext_authz import BadProvider, Providers
from localmesh.compile.authorization.filters import FilterBuilder
from localmesh.compile.authorization.scope import AuthorizationPolicies
from localmesh.compile.authorization.trust_domains import TrustDomains

__all__ = ["AuthorizationPolicies", "BadProvider", "FilterBuilder", "Providers", "TrustDomains"]
