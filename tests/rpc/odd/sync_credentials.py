"""Odd credentials of channels, servers and calls: what raises, and when; how calls fail."""

from __future__ import annotations

import threading
import time

import grpc

import rpc
from tests.rpc.odd.lab import PATIENCE, saw
from tests.rpc.odd.secure import ROOT, WHO, authority, credentials, handlers, leaf, metadata

TOKEN = grpc.access_token_call_credentials("secret")


def _briefly(action, *args, **how):
    """What came of it, without the words of an error."""
    outcome = saw(action, *args, **how)
    if isinstance(outcome, list) and outcome and outcome[0] == "raised":
        return outcome[:-1] if "RpcError" in outcome else outcome
    return outcome if isinstance(outcome, bytes) else "made"


def _maker(lab, end=0):
    return rpc if lab._makes[end] == "ours" else grpc


def _serve(lab, name="server", **how):
    made = _maker(lab, 1).ssl_server_credentials([leaf(name).pair], **how)
    return lab.serve(credentials=made, **handlers())


def _call(lab, address, made=None, options=None, timeout=PATIENCE, **how):
    """One call on a channel with these credentials."""
    channel = lab.client.secure_channel(address, made or _maker(lab).ssl_channel_credentials(ROOT), options)
    lab.ends.callback(channel.close)
    return _briefly(channel.unary_unary(WHO), b"", timeout=timeout, **how)


def channel_material(lab):
    address, ssl = _serve(lab), _maker(lab).ssl_channel_credentials
    client = leaf("client")
    given = [
        (b"junk",),
        (b"",),
        (ROOT[:200],),
        (ROOT + b"junk",),
        (ROOT, b"bad", client.chain),
        (ROOT, client.key, b"bad"),
        (ROOT, client.key, leaf("another").chain),
        (ROOT, b"", b""),
        (authority("another company").pem,),
        (ROOT, *client.pair),
    ]
    made = [_call(lab, address, ssl(*one)) for one in given]
    return [*made, _briefly(ssl, ROOT.decode()), _briefly(ssl, ROOT, client.key.decode(), client.chain.decode())]


def who_answers(lab):
    demanding = {"root_certificates": ROOT, "require_client_auth": True}
    strangers = leaf("stranger", "another company").pair
    ssl = _maker(lab).ssl_channel_credentials
    return [
        _call(lab, _serve(lab, "expired")),
        _call(lab, _serve(lab, "of another name")),
        _call(lab, _serve(lab, "of another name"), options=[("grpc.ssl_target_name_override", "reviews.example")]),
        _call(lab, _serve(lab, "of another name"), options=[("grpc.default_authority", "reviews.example")]),
        _call(lab, _serve(lab, "of another name"), options=[("grpc.default_authority", "reviews.example:8080")]),
        _call(lab, _serve(lab), options=[("grpc.default_authority", "reviews.example")]),
        _call(lab, _serve(lab, **demanding)),
        _call(lab, _serve(lab, **demanding), ssl(ROOT, *strangers)),
        _call(lab, _serve(lab, **demanding), ssl(ROOT, *leaf("client").pair)),
        _call(lab, lab.serve(**handlers())),
        _briefly(lab.connect(_serve(lab)).unary_unary(WHO), b"", timeout=PATIENCE),
        _call(lab, _serve(lab, "expired"), timeout=0.5, wait_for_ready=True),
    ]


def server_material(lab):
    make = _maker(lab, 1)
    pair = leaf().pair
    configuration = make.ssl_server_certificate_configuration([pair])

    def add(*args):
        lab.serve(credentials=make.ssl_server_credentials(*args), start=False)

    return [
        _briefly(make.ssl_server_credentials, []),
        _briefly(make.ssl_server_credentials, [pair], None, True),
        _briefly(make.ssl_server_credentials, [leaf().key]),
        _briefly(make.ssl_server_credentials, [(leaf().key.decode(), leaf().chain.decode())]),
        _briefly(make.ssl_server_certificate_configuration, []),
        _briefly(make.ssl_server_certificate_configuration, None),
        _briefly(make.dynamic_ssl_server_credentials, None, lambda: None),
        _briefly(make.dynamic_ssl_server_credentials, configuration, None),
        _briefly(make.dynamic_ssl_server_credentials, configuration, lambda: None, True),
        _briefly(add, [(b"a", b"b")]),
        _briefly(add, [pair], b"junk", True),
        _briefly(add, [(leaf("another").key, leaf().chain)]),
    ]


def plugins_that_fail(lab):
    address = _serve(lab)

    def raises(context, callback):
        raise ValueError("no")

    def answers_and_raises(context, callback):
        callback((("x-a", "1"),), None)
        raise ValueError("late")

    given = [
        raises,
        answers_and_raises,
        lambda context, callback: callback(None, ValueError("no")),
        lambda context, callback: callback((("x-a", "1"),), ValueError("no")),
        lambda context, callback: callback((), "text"),
        lambda context, callback: callback(),
        5,
    ]
    return [_call(lab, address, credentials=credentials(one)) for one in given]


def plugins_by_time(lab):
    address = _serve(lab)

    def after(seconds):
        def plugin(context, callback):
            def answer():
                time.sleep(seconds)
                callback((("x-a", "late"),), None)

            threading.Thread(target=answer).start()

        return credentials(plugin)

    def twice(context, callback):
        callback((("x-a", "1"),), None)
        callback((("x-a", "2"),), None)

    def blocks(context, callback):
        time.sleep(0.8)
        callback((("x-a", "1"),), None)

    return [
        _call(lab, address, credentials=after(0.1)),
        _call(lab, address, credentials=after(0.8), timeout=0.3),
        _call(lab, address, credentials=credentials(twice)),
        _call(lab, address, credentials=credentials(blocks), timeout=0.3),
    ]


def metadata_of_plugins(lab):
    address = _serve(lab)
    given = [
        (),
        (("x-a", "1"), ("x-a", "2")),
        (["x-a", "1"],),
        (("x-a-bin", b"\0\xff"),),
        (("x-a", b"1"),),
        (("X-A", "1"),),
        (("x a", "1"),),
        ((":authority", "x"),),
        (("x-a", "\N{SNOWMAN}"),),
        (("x-a", "a\nb"),),
    ]
    odd = [_call(lab, address, credentials=metadata(*one)) for one in given]
    nothing = credentials(lambda context, callback: callback(None, None))
    return [*odd, _call(lab, address, credentials=nothing)]


def metadata_of_plugins_that_is_none(lab):
    address = _serve(lab)
    given = [(("x-a", 5),), (("x-a",),), (5,)]
    return [_call(lab, address, credentials=metadata(*one), timeout=0.5) for one in given]


def tokens(lab):
    address, plain = _serve(lab), lab.serve(**handlers())
    make = _maker(lab)
    ssl = make.ssl_channel_credentials(ROOT)
    both = make.composite_channel_credentials(make.composite_channel_credentials(ssl, TOKEN), metadata(("x-a", "1")))
    return [
        _call(lab, address, credentials=TOKEN),
        _call(lab, address, credentials=grpc.access_token_call_credentials("")),
        _call(lab, address, credentials=grpc.access_token_call_credentials("a\nb")),
        _call(lab, address, both, credentials=metadata(("x-a", "2")), metadata=(("x-a", "0"),)),
        _briefly(lab.connect(plain).unary_unary(WHO), b"", timeout=PATIENCE, credentials=TOKEN),
        _briefly(lab.connect(plain).unary_unary(WHO).future(b"", timeout=PATIENCE, credentials=TOKEN).result),
        _call(lab, address, credentials=ssl),
    ]


def what_are_no_credentials(lab):
    make, address = _maker(lab), _serve(lab)
    ssl = make.ssl_channel_credentials(ROOT)
    return [
        _briefly(lab.client.secure_channel, address, None),
        _briefly(lab.client.secure_channel, address, "text"),
        _briefly(lab.client.secure_channel, address, TOKEN),
        _briefly(make.composite_channel_credentials, None, TOKEN),
        _briefly(make.composite_channel_credentials, ssl, ssl),
        _call(lab, address, credentials="text"),
    ]
