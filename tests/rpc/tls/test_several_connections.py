"""Several connections to an endpoint of the mesh: each over mutual TLS as the first, all of one identity."""

import threading

import pytest

from tests.rpc.script import READ, greet
from tests.rpc.script import request as asked
from tests.rpc.tls.certificates import SHOP
from tests.rpc.tls.ends import until
from tests.rpc.tls.mesh import WHO_DIALS, Mesh, disabled, strict
from tests.rpc.transport.test_saturated import TWO_STREAMS, until_set


@pytest.mark.parametrize("tls", [WHO_DIALS, None], ids=["mutual TLS", "plaintext"])
def test_calls_to_a_mesh_target_that_wait_get_further_connections(our_world, shop, reviews, tls):
    seen, go = [], threading.Event()

    def held():
        yield lambda context: seen.append((context.peer(), context.peer_identities()))
        request = yield READ
        yield until_set(go)
        yield greet(request)

    address = our_world.serve_in(Mesh(reviews), strict() if tls else disabled(), held, options=TWO_STREAMS, threads=16)
    client = our_world.call_from(Mesh(shop), address, tls=tls)
    calls = [client.begin("server_stream", asked(str(number))) for number in range(6)]
    until(lambda: len(seen) == 6)
    assert len({peer for peer, _ in seen}) == 3
    [who] = {tuple(identities or ()) for _, identities in seen}
    assert who == ((SHOP.encode(),) if tls else ())
    [connection] = client.channel._driver.core.subchannels
    assert len({link.local for link in connection.transports.values()}) == 3
    assert {link.tls_info() is not None for link in connection.transports.values()} == {tls is not None}
    go.set()
    assert [call.read().message for call in calls] == [f"Hello, {number}!" for number in range(6)]
