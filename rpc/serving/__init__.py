"""What a server does with calls whatever runs its handlers: ports, who may call, handlers, limits, the end.

The servers for threads (`rpc.blocking.server`) and for asyncio (`rpc.aio.server`) add how one waits and how a handler
is run. Nothing in here knows of either.
"""
