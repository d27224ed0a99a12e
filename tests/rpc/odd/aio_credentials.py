"""Odd credentials in asyncio: the same rules, on a thread of the loop's."""

from __future__ import annotations

import threading
import time

import grpc

import rpc
from tests.rpc.odd.lab import PATIENCE, seen, uu
from tests.rpc.odd.secure import ROOT, WHO, authority, credentials, leaf, metadata
from tests.rpc.odd.secure import who as answer


async def who(request, context):
    return answer(request, context)


def _maker(lab, end=0):
    return rpc if lab._makes[end] == "ours" else grpc


async def _serve(lab):
    return await lab.serve(credentials=_maker(lab, 1).ssl_server_credentials([leaf().pair]), Who=uu(who))


async def _call(lab, address, root=ROOT, timeout=PATIENCE, **how):  # noqa: ASYNC109 - the call's
    channel = lab.client.secure_channel(address, _maker(lab).ssl_channel_credentials(root))
    lab.ends.push_async_callback(channel.close)
    outcome = await seen(lambda: channel.unary_unary(WHO)(b"", timeout=timeout, **how))
    return outcome[:-1] if isinstance(outcome, list) else outcome


async def roots(lab):
    address = await _serve(lab)
    given = ROOT, b"junk", ROOT[:200], authority("another company").pem
    return [await _call(lab, address, root) for root in given]


async def plugins(lab):
    address = await _serve(lab)

    def late(context, callback):
        def tell():
            time.sleep(0.1)
            callback((("x-a", "late"),), None)

        threading.Thread(target=tell).start()

    def twice(context, callback):
        callback((("x-a", "1"),), None)
        callback((("x-a", "2"),), None)

    def raises(context, callback):
        raise ValueError("no")

    given = [
        credentials(late),
        credentials(twice),
        credentials(raises),
        credentials(lambda context, callback: callback(None, ValueError("no"))),
        metadata(),
        metadata(("X-A", "1")),
        metadata(("x-a", "\N{SNOWMAN}")),
    ]
    told = [await _call(lab, address, credentials=one) for one in given]
    mute = credentials(lambda context, callback: None)
    return [*told, await _call(lab, address, credentials=mute, timeout=0.3)]
