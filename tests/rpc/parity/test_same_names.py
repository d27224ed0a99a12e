"""Every public name of grpcio, parameter by parameter: ours has it, it is grpcio's own, or the difference is listed.

A name that a future grpcio adds fails here until somebody decides which of the three it is.
"""

from __future__ import annotations

import inspect
from pathlib import Path

import grpc
import grpc._channel
import grpc._server
import grpc.aio
import pytest
from grpc._cython import cygrpc
from grpc.aio import _call, _channel, _interceptor, _server

import rpc
import rpc.aio
from rpc.aio import callables as aio_callables
from rpc.aio import context as aio_context
from rpc.aio import interceptors as aio_interceptors
from rpc.aio import stream as aio_stream
from rpc.aio import unary as aio_unary
from rpc.blocking import callables, context, future, stream
from rpc.errors import EndedCall
from rpc.serving.handlers import CallDetails

# What `rpc` and `rpc.aio` have by the same name, to be put in the place of grpcio's.
OURS = {
    grpc: {
        "access_token_call_credentials",
        "composite_call_credentials",
        "composite_channel_credentials",
        "dynamic_ssl_server_credentials",
        "insecure_channel",
        "insecure_server_credentials",
        "local_channel_credentials",
        "local_server_credentials",
        "metadata_call_credentials",
        "secure_channel",
        "server",
        "ssl_channel_credentials",
        "ssl_server_certificate_configuration",
        "ssl_server_credentials",
        "xds_channel_credentials",
        "xds_server_credentials",
    },
    grpc.aio: {"insecure_channel", "secure_channel", "server"},
}
# grpcio's own, used with ours as they are: values, errors, what users derive from, and what works on any channel.
GRPCIOS = {
    grpc: {
        "AuthMetadataContext",
        "AuthMetadataPlugin",
        "AuthMetadataPluginCallback",
        "CallCredentials",
        "ChannelConnectivity",
        "ClientCallDetails",
        "Compression",
        "FutureCancelledError",
        "FutureTimeoutError",
        "GenericRpcHandler",
        "LocalConnectionType",
        "RpcError",
        "RpcMethodHandler",
        "ServerInterceptor",
        "ServiceRpcHandler",
        "Status",
        "StatusCode",
        "StreamStreamClientInterceptor",
        "StreamUnaryClientInterceptor",
        "UnaryStreamClientInterceptor",
        "UnaryUnaryClientInterceptor",
        "channel_ready_future",
        "intercept_channel",
        "method_handlers_generic_handler",
        "protos",
        "protos_and_services",
        "services",
        "stream_stream_rpc_method_handler",
        "stream_unary_rpc_method_handler",
        "unary_stream_rpc_method_handler",
        "unary_unary_rpc_method_handler",
    },
    grpc.aio: {
        "AbortError",
        "AioRpcError",
        "BaseError",
        "ClientCallDetails",
        "ClientInterceptor",
        "EOF",
        "InternalError",
        "Metadata",
        "ServerInterceptor",
        "StreamStreamClientInterceptor",
        "StreamUnaryClientInterceptor",
        "UnaryStreamClientInterceptor",
        "UnaryUnaryClientInterceptor",
        "UsageError",
    },
}
# Neither: docs/compatibility.md says so, with these words.
LISTED = {
    grpc: {
        "ChannelCredentials": "`grpc.ChannelCredentials`",
        "ServerCredentials": "`grpc.ServerCredentials`",
        "ServerCertificateConfiguration": "`grpc.ServerCertificateConfiguration`",
        "alts_channel_credentials": "`alts_…_credentials`",
        "alts_server_credentials": "`alts_…_credentials`",
        "compute_engine_channel_credentials": "`compute_engine_channel_credentials`",
    },
    grpc.aio: {
        "InterceptedUnaryUnaryCall": "`grpc.aio.InterceptedUnaryUnaryCall`",
        "init_grpc_aio": "`init_grpc_aio`",
        "shutdown_grpc_aio": "`shutdown_grpc_aio`",
    },
}
CALL = (grpc.Call, grpc.Future, grpc.RpcContext)  # in threads a call is all of these
# What users hold: grpcio's interface, what grpcio makes of it, ours.
HELD = [
    (grpc.Channel, grpc._channel.Channel, rpc.Channel),
    (grpc.UnaryUnaryMultiCallable, grpc._channel._UnaryUnaryMultiCallable, callables.UnaryUnary),
    (grpc.UnaryStreamMultiCallable, grpc._channel._UnaryStreamMultiCallable, callables.UnaryStream),
    (grpc.StreamUnaryMultiCallable, grpc._channel._StreamUnaryMultiCallable, callables.StreamUnary),
    (grpc.StreamStreamMultiCallable, grpc._channel._StreamStreamMultiCallable, callables.StreamStream),
    (CALL, grpc._channel._MultiThreadedRendezvous, stream.StreamCall),
    (CALL, grpc._channel._MultiThreadedRendezvous, future.UnaryFuture),
    (CALL, grpc._channel._MultiThreadedRendezvous, future.StreamUnaryFuture),
    (CALL, grpc._channel._InactiveRpcError, rpc.CallFailed),
    (CALL, grpc._channel._InactiveRpcError, EndedCall),
    (grpc.ServicerContext, grpc._server._Context, context.ServicerContext),
    (grpc.HandlerCallDetails, grpc._server._HandlerCallDetails, CallDetails),
    (grpc.Server, grpc._server._Server, rpc.Server),
    (grpc.aio.Channel, _channel.Channel, rpc.aio.Channel),
    (grpc.aio.UnaryUnaryMultiCallable, _channel.UnaryUnaryMultiCallable, aio_callables.UnaryUnary),
    (grpc.aio.UnaryStreamMultiCallable, _channel.UnaryStreamMultiCallable, aio_callables.UnaryStream),
    (grpc.aio.StreamUnaryMultiCallable, _channel.StreamUnaryMultiCallable, aio_callables.StreamUnary),
    (grpc.aio.StreamStreamMultiCallable, _channel.StreamStreamMultiCallable, aio_callables.StreamStream),
    ((grpc.aio.UnaryUnaryCall, grpc.aio.Call, grpc.aio.RpcContext), _call.UnaryUnaryCall, aio_unary.UnaryUnaryCall),
    (grpc.aio.UnaryStreamCall, _call.UnaryStreamCall, aio_stream.UnaryStreamCall),
    (grpc.aio.StreamUnaryCall, _call.StreamUnaryCall, aio_stream.StreamUnaryCall),
    (grpc.aio.StreamStreamCall, _call.StreamStreamCall, aio_stream.StreamStreamCall),
    (grpc.aio.UnaryUnaryCall, _interceptor.InterceptedUnaryUnaryCall, aio_interceptors.InterceptedUnaryUnaryCall),
    (grpc.aio.UnaryStreamCall, _interceptor.InterceptedUnaryStreamCall, aio_interceptors.InterceptedUnaryStreamCall),
    (grpc.aio.StreamUnaryCall, _interceptor.InterceptedStreamUnaryCall, aio_interceptors.InterceptedStreamUnaryCall),
    (grpc.aio.StreamStreamCall, _interceptor.InterceptedStreamStreamCall, aio_interceptors.InterceptedStreamStreamCall),
    (grpc.aio.ServicerContext, cygrpc._ServicerContext, aio_context.ServicerContext),
    (grpc.aio.Server, _server.Server, rpc.aio.Server),
]
# Of what users hold; docs/compatibility.md has these words, too.
LISTED_MEMBERS = {
    (future.UnaryFuture, "__iter__"): "a future of one response is no iterator",
    (future.UnaryFuture, "__next__"): "a future of one response is no iterator",
    (future.UnaryFuture, "next"): "a future of one response is no iterator",
    (future.StreamUnaryFuture, "__iter__"): "a future of one response is no iterator",
    (future.StreamUnaryFuture, "__next__"): "a future of one response is no iterator",
    (future.StreamUnaryFuture, "next"): "a future of one response is no iterator",
}
USED_BY_PYTHON = {
    *("__call__", "__enter__", "__exit__", "__aenter__", "__aexit__"),
    *("__iter__", "__next__", "__aiter__", "__anext__", "__await__"),
}
DOCUMENT = (Path(__file__).parents[3] / "docs/compatibility.md").read_text()
WORLDS = [(grpc, rpc), (grpc.aio, rpc.aio)]


def parameters(function):
    return list(inspect.signature(function).parameters.values())


def takes_what(ours, theirs):
    """Why a call that suits their signature would not suit ours; empty: it does. Ours may take more."""
    ours, theirs = parameters(ours), parameters(theirs)
    for own, wanted in zip(ours, theirs, strict=False):
        same = (own.name, own.kind) == (wanted.name, wanted.kind)
        if not same or (own.default != wanted.default and wanted.default is not wanted.empty):
            return f"{own}, where grpcio has {wanted}"
    if len(ours) < len(theirs):
        return f"{theirs[len(ours)]} is missing"
    return ", ".join(str(one) for one in ours[len(theirs) :] if one.default is one.empty)


def public(kind):
    """Names of what an instance has for its user, methods and properties alike."""
    inherited = {name for base in (object, BaseException, tuple) for name in dir(base)} - USED_BY_PYTHON
    return {name for name in dir(kind) if not name.startswith("_") or name in USED_BY_PYTHON} - inherited


def bases(interface):
    return interface if isinstance(interface, tuple) else (interface,)


def is_method(kind, name):
    return callable(getattr(kind, name))


def awaits(method):
    return inspect.iscoroutinefunction(method)


def what_differs(interface, made, ours):
    """By name, of what grpcio's has."""
    wrong = {}
    for name in sorted(set().union(*map(public, (*bases(interface), made)))):
        # A parameter goes by the name that is documented.
        theirs = next(kind for kind in (*bases(interface), made) if hasattr(kind, name))
        if not hasattr(ours, name):
            wrong[name] = "missing"
        elif is_method(theirs, name) is not is_method(ours, name):
            wrong[name] = "a method is one in grpcio, or is none"
        elif is_method(theirs, name) and (why := takes_what(getattr(ours, name), getattr(theirs, name))):
            wrong[name] = why
        elif awaits(getattr(theirs, name)) is not awaits(getattr(ours, name)):
            wrong[name] = "has to be awaited in grpcio, or must not be"
    return wrong


@pytest.mark.parametrize(("theirs", "ours"), WORLDS, ids=["grpc", "grpc.aio"])
def test_every_name_of_grpcio_has_its_place(theirs, ours):
    interfaces = {one for interface, _, _ in HELD for one in bases(interface)}
    held = {one.__name__ for one in interfaces if getattr(theirs, one.__name__, None) is one}
    places = OURS[theirs], GRPCIOS[theirs], LISTED[theirs].keys(), held
    assert set(theirs.__all__) == set().union(*places), "a name came or went: which of the places is its?"
    assert len(set(theirs.__all__)) == sum(map(len, places)), "a name has two places"
    assert OURS[theirs] <= set(ours.__all__)


@pytest.mark.parametrize(("theirs", "ours"), WORLDS, ids=["grpc", "grpc.aio"])
def test_what_makes_things_takes_what_grpcios_takes(theirs, ours):
    wrong = {name: takes_what(getattr(ours, name), getattr(theirs, name)) for name in OURS[theirs]}
    assert not {name: why for name, why in wrong.items() if why}


@pytest.mark.parametrize(("interface", "made", "ours"), HELD, ids=[f"{o.__module__}.{o.__name__}" for _, _, o in HELD])
def test_what_users_hold_has_what_grpcios_has(interface, made, ours):
    assert set(bases(interface)) <= set(ours.__mro__)
    assert not inspect.isabstract(ours), ours.__abstractmethods__
    wrong = what_differs(interface, made, ours)
    listed = {name for kind, name in LISTED_MEMBERS if kind is ours}
    assert wrong.keys() == listed, wrong


def test_every_difference_of_a_name_is_in_the_document():
    words = {*LISTED[grpc].values(), *LISTED[grpc.aio].values(), *LISTED_MEMBERS.values()}
    assert not {one for one in words if one not in DOCUMENT}
