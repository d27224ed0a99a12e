"""Both makers of connections to a control plane: what holds over one has to hold over the other."""

import pytest

from rpc.engine_channels import EngineChannels
from xds_client.channels import GRPCIO

both = pytest.fixture(params=[GRPCIO, EngineChannels()], ids=["grpcio", "engine"])
