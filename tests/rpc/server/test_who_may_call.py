"""Who may call what is asked once per call, by its head and its peer, before anything is made for it."""

from __future__ import annotations

import contextlib
import importlib
import threading
from concurrent.futures import Future, ThreadPoolExecutor

import grpc
import pytest

import rpc
from examples.hello.hello_pb2 import HelloReply, HelloRequest
from examples.hello.hello_pb2_grpc import GreeterServicer, GreeterStub, add_GreeterServicer_to_server
from rpc.authorization.decision import Refusal
from rpc.security.chain import Chain, Policy
from rpc.serving import intake
from tests.rpc.peers import KINDS
from tests.rpc.script import PATIENCE, SyncServicer, polite, request
from tests.rpc.tls.ends import until

DENIED = Refusal(grpc.StatusCode.PERMISSION_DENIED.value[0], "RBAC: access denied")


class Obeys:
    """Credentials of a plaintext port with this policy."""

    def __init__(self, authorize):
        self._authorize = authorize

    def follow(self, secured_port):
        secured_port.set([Chain(name="test", transport="raw_buffer", policy=Policy(authorize=self._authorize))])
        return self

    def close(self):
        pass


class DecidesLater:
    """Each call waits for its own future, by path."""

    def __init__(self):
        self.asked = {}

    def __call__(self, head):
        return self.asked.setdefault(head.path.rpartition("/")[2], Future())

    def wait_for(self, kind):
        return until(lambda: self.asked.get(KINDS[kind]))


class Interceptor(grpc.ServerInterceptor):
    def __init__(self):
        self.saw = []

    def intercept_service(self, continuation, handler_call_details):
        self.saw.append(handler_call_details.method)
        return continuation(handler_call_details)


class AioInterceptor(Interceptor):
    async def intercept_service(self, continuation, handler_call_details):
        self.saw.append(handler_call_details.method)
        return await continuation(handler_call_details)


@pytest.fixture
def made(monkeypatch):
    """What the servers make for calls: kinds of objects."""
    made = []

    def noted(module, name):
        kind = getattr(module, name)

        class Noted(kind):
            def __init__(self, *args):
                made.append(name)
                super().__init__(*args)

        monkeypatch.setattr(module, name, Noted)

    noted(intake, "Job")
    noted(importlib.import_module("rpc.blocking.server"), "ServicerContext")
    noted(importlib.import_module("rpc.aio.server"), "ServicerContext")
    noted(importlib.import_module("rpc.aio.server"), "BlockingContext")
    return made


def serve(world, authorize, **how):
    server, port = world.start_server(polite, credentials=Obeys(authorize), **how)
    return server, world.connect(f"127.0.0.1:{port}")


def nothing_is_left(server):
    until(lambda: server._intake.running == server._intake._held == 0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("intercepted", [False, True])
def test_a_call_that_is_denied_by_its_path_costs_nothing_but_the_question(our_world, made, kind, intercepted):
    asked = []

    def authorize(head):
        asked.append((head.path, dict(head.metadata() or ()).get("x-user"), head.tls_info()))
        return DENIED if head.path.endswith(KINDS[kind]) else None

    interceptor = AioInterceptor() if our_world.kind == "aio" else Interceptor()
    server, client = serve(our_world, authorize, interceptors=[interceptor] if intercepted else None)
    answer = client.call(kind, request("Ann"), metadata=[("x-user", "Ann")])
    assert (answer.code, answer.details) == (grpc.StatusCode.PERMISSION_DENIED, "RBAC: access denied")
    assert asked == [(f"/hello.Greeter/{KINDS[kind]}", "Ann", None)]
    assert made == interceptor.saw == []
    (other,) = {"unary", "bidi"} - {kind} if kind in {"unary", "bidi"} else {"unary"}
    assert client.call(other, request("Ann")).messages == ["Hello, Ann!"]
    assert len(made) == 2
    assert len(interceptor.saw) == intercepted
    nothing_is_left(server)


@pytest.mark.parametrize("kind", KINDS)
def test_a_decision_may_come_later_and_from_any_thread(our_world, made, kind):
    decides = DecidesLater()
    server, client = serve(our_world, decides)
    with ThreadPoolExecutor(1) as other:
        answer = other.submit(client.call, kind, request("Ann"))
        decision = decides.wait_for(kind)
        until(lambda: server._intake._held == 1)
        assert made == []
        decision.set_result(None)
        assert answer.result(PATIENCE).messages == ["Hello, Ann!"]
        nothing_is_left(server)

        del made[:], decides.asked[KINDS[kind]]
        answer = other.submit(client.call, kind, request("Ann"))
        decides.wait_for(kind).set_result(DENIED)
        assert answer.result(PATIENCE).details == DENIED.details
        nothing_is_left(server)
        assert made == []


@pytest.mark.parametrize("kind", ["unary", "bidi"])
def test_who_leaves_before_the_decision_is_waited_for_no_longer(our_world, made, kind):
    decides = DecidesLater()
    server, client = serve(our_world, decides)
    call = client.begin(kind, request("Ann"))
    decision = decides.wait_for(kind)
    call.cancel()
    until(decision.cancelled)
    nothing_is_left(server)

    decides.asked.clear()
    assert client.call(kind, request("Ann"), timeout=0.5).code == grpc.StatusCode.DEADLINE_EXCEEDED
    until(decides.wait_for(kind).cancelled)
    nothing_is_left(server)
    assert made == []


@pytest.mark.parametrize("settled", [False, True])
def test_a_decision_that_fails_lets_nobody_in(our_world, made, settled):
    def authorize(head):
        if not settled:
            raise ValueError(head.path)
        failed = Future()
        failed.set_exception(ValueError(head.path))
        return failed

    server, client = serve(our_world, authorize)
    for kind in KINDS:
        answer = client.call(kind, request("Ann"))
        assert (answer.code, answer.details) == (grpc.StatusCode.PERMISSION_DENIED, intake.UNDECIDED.details)
    assert made == []
    nothing_is_left(server)


@pytest.mark.parametrize("kind", ["unary", "bidi"])
def test_a_grace_is_for_calls_that_wait_for_a_decision_too(our_world, kind):
    decides = DecidesLater()
    server, client = serve(our_world, decides)
    with ThreadPoolExecutor(2) as others:
        answer = others.submit(client.call, kind, request("Ann"))
        decision = decides.wait_for(kind)
        stopped = others.submit(our_world.stop, server, PATIENCE)
        until(lambda: server.stopping)
        decision.set_result(None)
        assert answer.result(PATIENCE).messages == ["Hello, Ann!"]
        stopped.result(PATIENCE / 2)  # and for no longer than they take


def test_blocking_handlers_of_an_asyncio_server_too(aio_world, made):
    class Blocking(GreeterServicer):
        def SayHello(self, request, context):  # noqa: N802 - grpc's name
            return HelloReply(message=request.name)

    decides = DecidesLater()

    async def start():
        server = rpc.aio.server()
        add_GreeterServicer_to_server(Blocking(), server)
        port = server.add_secure_port("127.0.0.1:0", Obeys(decides))
        await server.start()
        return server, port

    server, port = aio_world.loop.run(start())
    with rpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        for decision, code in ((DENIED, "PERMISSION_DENIED"), (None, "OK")):
            call = GreeterStub(channel).SayHello.future(HelloRequest(name="Ann"), timeout=PATIENCE)
            decides.wait_for("unary").set_result(decision)
            assert call.code().name == code
            decides.asked.clear()
    assert made == ["Job", "BlockingContext"]
    aio_world.loop.run(server.stop(0))


@contextlib.contextmanager
def served(server, authorize):
    port = server.add_secure_port("127.0.0.1:0", Obeys(authorize))
    server.start()
    with rpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    assert server.stop(0).wait(PATIENCE)


def test_without_a_pool_a_late_decision_moves_no_handler_to_the_thread_that_decides():
    threads = []

    class Greeter(GreeterServicer):
        def SayHello(self, request, context):  # noqa: N802 - grpc's name
            threads.append(threading.current_thread().name)
            return HelloReply()

    decides = DecidesLater()
    server = rpc.server(None)
    add_GreeterServicer_to_server(Greeter(), server)
    with served(server, decides) as channel:
        call = GreeterStub(channel).SayHello.future(HelloRequest(), timeout=PATIENCE)
        decides.wait_for("unary").set_result(None)
        call.result()
    assert threads == ["rpc server"]


def test_handlers_that_answer_later_are_begun_for_nobody_who_is_denied(made):
    begun = []

    def watch(asked, context, send):
        begun.append(asked)
        send(b"one")
        send(None)

    watch.experimental_non_blocking = True
    handlers = {"Watch": grpc.unary_stream_rpc_method_handler(watch)}
    server = rpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t", handlers),))
    asked = []

    def authorize(_):
        asked.append(Future())
        return asked[-1]

    with served(server, authorize) as channel:
        method = channel.unary_stream("/t/Watch")
        replies = method(b"denied", timeout=PATIENCE)
        until(lambda: asked).pop().set_result(DENIED)
        with pytest.raises(grpc.RpcError) as refused:
            list(replies)
        assert refused.value.details() == DENIED.details
        assert made == begun == []
        replies = method(b"let in", timeout=PATIENCE)
        until(lambda: asked).pop().set_result(None)
        assert list(replies) == [b"one"]
        assert begun == [b"let in"]


@pytest.mark.parametrize("later", [False, True])
def test_threads_that_linger_ask_too(later):
    """They read calls beside the serving thread: one that answered a call a moment ago reads the next."""
    asking = []  # threads that asked about a call that was denied

    def authorize(head):
        denied = dict(head.metadata() or ()).get("x-user") == "Eve"
        if denied:
            asking.append(threading.current_thread().name)
        if not later:
            return DENIED if denied else None
        decision = Future()
        decision.set_result(DENIED if denied else None)
        return decision

    server = rpc.server(ThreadPoolExecutor(4, thread_name_prefix="lingers"))
    add_GreeterServicer_to_server(SyncServicer(polite), server)
    with served(server, authorize) as channel:
        stub = GreeterStub(channel)

        def lingering_thread_has_asked():
            for _ in range(20):
                assert stub.SayHello(request("Ann"), timeout=PATIENCE).message == "Hello, Ann!"
                with pytest.raises(grpc.RpcError) as refused:
                    stub.SayHello(request("Eve"), metadata=[("x-user", "Eve")], timeout=PATIENCE)
                assert refused.value.details() == DENIED.details
            return any(name.startswith("lingers") for name in asking)

        until(lingering_thread_has_asked)
    nothing_is_left(server)


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("answer", [False, "no", 7, SystemExit()], ids=repr)
def test_what_is_no_decision_lets_nobody_in_and_ends_the_call(our_world, answer, later):
    """A policy's answer, at once or later; what it raises, if that is an exception."""

    def authorize(head):
        del head
        if not later:
            if isinstance(answer, BaseException):
                raise RuntimeError(answer)
            return answer
        decision = Future()
        if isinstance(answer, BaseException):
            decision.set_exception(answer)
        else:
            decision.set_result(answer)
        return decision

    server, client = serve(our_world, authorize)
    said = client.call("unary", request("Ann"))
    assert (said.code, said.details) == (grpc.StatusCode.PERMISSION_DENIED, intake.UNDECIDED.details)
    nothing_is_left(server)
