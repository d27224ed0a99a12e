"""Odd targets in asyncio."""

from __future__ import annotations

import asyncio

import grpc

from tests.rpc.odd.in_tasks import echo
from tests.rpc.odd.lab import PATIENCE, path, uu


async def _answered(lab, target, options=None):
    try:
        call = lab.connect(target, options=options).unary_unary(path("Echo"))
        return await call(b"x", timeout=PATIENCE) == b"x"
    except ValueError:
        return False
    except grpc.RpcError as error:
        return ["not at once"] if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED else False


async def targets(lab):
    address = await lab.serve(Echo=uu(echo))
    forms = ["{}", "dns:///{}", "DNS:{}", "ipv4:{}", "ipv4:{},", "ipv4:{},junk", "ipv6:{}", "foo:///{}", "unix:{}"]
    names = ["", "a..b:1", "x" * 300 + ":1", "nobody.invalid:1", "\N{SNOWMAN}:1", "127.0.0.1:", "dns:", "localhost\n:1"]
    given = [form.format(address) for form in forms] + names
    return await asyncio.gather(*(_answered(lab, target) for target in given))


async def no_names_in_turn(lab):
    options = [("grpc.lb_policy_name", "round_robin")]
    given = "a..b", "x" * 300, "nobody.invalid"
    return await asyncio.gather(*(_answered(lab, f"dns:///{name}:1", options) for name in given))
