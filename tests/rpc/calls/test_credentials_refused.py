"""Credentials that would mean plaintext, or that hide what they are, are refused where they are given, by name."""

from __future__ import annotations

import grpc
import grpc.experimental
import pytest

import rpc


def test_insecure_credentials_are_no_fallback_of_the_mesh():
    with pytest.raises(TypeError, match="insecure_channel_credentials are no fallback"):
        rpc.xds_channel_credentials(grpc.experimental.insecure_channel_credentials())


def test_grpcios_own_credentials_are_no_fallback_of_the_mesh():
    with pytest.raises(TypeError, match=r"grpc\.ChannelCredentials hides its contents in C"):
        rpc.xds_channel_credentials(grpc.ssl_channel_credentials())


def test_ours_are_a_fallback_of_the_mesh():
    assert rpc.xds_channel_credentials(rpc.ssl_channel_credentials()) is not None
