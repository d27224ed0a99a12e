"""Subchannels to endpoints: who they go to, whether they can be used, how their transports are made."""

from rpc.transport.subchannel import Subchannel, SubchannelKey
from rpc.transport.subchannel_pool import SubchannelPool

__all__ = ["Subchannel", "SubchannelKey", "SubchannelPool"]
