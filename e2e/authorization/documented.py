"""Where Istio's documentation says what the rows of the table go by."""

from __future__ import annotations

CONDITIONS = "https://istio.io/latest/docs/reference/config/security/conditions/"
NORMALIZATION = "https://istio.io/latest/docs/reference/config/security/normalization/"
OPERATION = "https://istio.io/latest/docs/reference/config/security/authorization-policy/#Operation"
POLICY = "https://istio.io/latest/docs/reference/config/security/authorization-policy/"
RULE = "https://istio.io/latest/docs/reference/config/security/authorization-policy/#Rule"
SOURCE = "https://istio.io/latest/docs/reference/config/security/authorization-policy/#Source"
