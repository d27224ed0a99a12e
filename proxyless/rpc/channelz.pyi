"""`rpc.channelz` under its second name, for type checkers; see `proxyless.names`."""

from rpc.channelz import ChannelzServicer as ChannelzServicer
from rpc.channelz import add_channelz_servicer as add_channelz_servicer
