"""Credentials that would mean plaintext, or that hide what they are, are refused where they are given, by name."""

from __future__ import annotations

import grpc
import grpc.experimental
import pytest

import rpc


def test_insecure_credentials_are_no_fallback_of_the_mesh():
    with pytest.raises(TypeError, match="insecure_channel_credentials are no fallback"):
        rpc.xds_channel_credentials(grpc.experimental.insecure_channel_credentials())


def test_credentials_of_grpcio_that_hide_what_they_are_are_no_fallback_of_the_mesh():
    with pytest.raises(TypeError, match=r"grpc\.ChannelCredentials hides its contents in C"):
        rpc.xds_channel_credentials(grpc.xds_channel_credentials())


@pytest.mark.parametrize("make", [grpc, rpc], ids=["grpcio", "ours"])
def test_tls_is_a_fallback_of_the_mesh_whoever_made_it(make):
    channel = rpc.secure_channel("127.0.0.1:1", rpc.xds_channel_credentials(make.ssl_channel_credentials()))
    channel.close()
