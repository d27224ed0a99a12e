"""The demo's parts: that it would notice if something did not hold, and that its YAML is good."""

from __future__ import annotations

import json
import signal
import sys
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from examples.demo import __main__ as demo
from examples.demo import processes
from examples.demo.consumer import Answer
from examples.demo.mesh_folder import CHANGES, MeshFolder
from examples.demo.processes import Process, StartError
from examples.demo.provider import Greeter
from examples.demo.report import Report
from examples.demo.steps import IDENTITY, Steps
from examples.demo.who_may_call import ISSUER
from examples.hello.hello_pb2_grpc import add_GreeterServicer_to_server
from localmesh.ca import TokenIssuer
from localmesh.config import read_folder


class Told:
    """Plays a fleet of answers instead of calling."""

    def __init__(self, *answers):
        self.answers = list(answers)


def answers(v1, v2, *, tester=False):
    return [Answer(tester, "v1a")] * (v1 // 2) + [Answer(tester, "v1b")] * (v1 - v1 // 2) + [Answer(tester, "v2")] * v2


def verdict(check):
    report = Report()
    check(Steps(None, None, Told(), None, report, 1.0))
    return report.ok


@pytest.mark.parametrize(
    ("seen", "ok"),
    [
        (answers(800, 200), True),
        (answers(780, 220), True),
        (answers(730, 270), False),
        ([], False),
        ([*answers(800, 199), Answer(tester=False, server="", error="UNAVAILABLE")], False),
    ],
)
def test_a_split_holds_within_four_deviations_and_without_failures(seen, ok):
    assert verdict(lambda steps: steps._expect_split("x", seen, v2=20)) is ok


@pytest.mark.parametrize(
    ("seen", "ok"),
    [
        (answers(0, 5, tester=True) + answers(15, 0), True),
        (answers(1, 4, tester=True) + answers(15, 0), False),
        (answers(0, 5, tester=True) + answers(14, 1), False),
        (answers(0, 5, tester=True), False),
        (answers(0, 5, tester=True) + answers(15, 0) + [Answer(tester=True, server="", error="no")], False),
    ],
)
def test_testers_and_others_are_told_apart(seen, ok):
    assert verdict(lambda steps: steps._expect_testers("x", seen)) is ok


@pytest.mark.parametrize(
    ("callers", "ok"),
    [([IDENTITY, IDENTITY], True), ([IDENTITY, "nobody"], False), (["spiffe://cluster.local/ns/demo/sa/x"], False)],
)
def test_every_provider_must_know_the_consumer(callers, ok):
    seen = [Answer(False, "v1a", caller=caller) for caller in callers]
    assert verdict(lambda steps: steps._expect_identity("x", seen)) is ok
    assert verdict(lambda steps: steps._expect_identity("x", [])) is False


class Somewhere:
    """A mesh folder whose providers are at one address."""

    def __init__(self, address):
        self.address = lambda _: address


@pytest.mark.parametrize("refuses", [True, False])
def test_a_provider_that_answers_in_plaintext_is_noticed(refuses):
    server = grpc.server(ThreadPoolExecutor(1))
    if not refuses:
        add_GreeterServicer_to_server(Greeter("v1a"), server)
    port = server.add_insecure_port("127.0.0.1:0")
    if not refuses:
        server.start()
    report = Report()
    Steps(Somewhere(f"127.0.0.1:{port}"), None, Told(), None, report, 1.0)._plaintext_is_refused()
    server.stop(None)
    assert report.ok is refuses


def test_a_report_without_rows_is_not_ok():
    assert not Report().ok


def test_the_table_names_what_failed(capsys):
    report = Report()
    report.row("one", "a", "a", ok=True)
    report.row("two", "b", "c", ok=False)
    capsys.readouterr()
    report.table()
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["step", "expected", "seen"],
        ["one", "a", "a", "ok"],
        ["two", "b", "c", "FAILED"],
    ]


POLICIES = ("only-the-consumer.yaml", "tokens.yaml")


def test_policies_are_good_yaml_and_have_the_keys_of_whoever_signs(tmp_path):
    mesh, issuer = MeshFolder(tmp_path / "mesh"), TokenIssuer(issuer=ISSUER)
    mesh.add("only-the-consumer.yaml")
    mesh.add("tokens.yaml", issuer.jwks)
    resources = read_folder(mesh.path)
    assert {policy.name for policy in resources.authorization_policies} == {"lists-need-a-token", "only-the-consumer"}
    ((rule,),) = (one.spec.jwt_rules for one in resources.request_authentications)
    assert (rule.issuer, json.loads(rule.jwks)) == (ISSUER, issuer.jwks)


def test_every_change_is_good_yaml_and_of_the_same_virtual_service(tmp_path):
    mesh = MeshFolder(tmp_path / "mesh")
    first = read_folder(mesh.path)
    changes = sorted(path.name for path in CHANGES.iterdir() if path.name not in POLICIES)
    assert changes == ["all-v2.yaml", "testers.yaml", "weights.yaml"]
    for change in changes:
        mesh.apply(change)
        resources = read_folder(mesh.path)
        assert len(resources.virtual_services) == 1
        assert resources.virtual_services != first.virtual_services
        assert resources.workload_entries == first.workload_entries


def test_providers_listen_where_the_yaml_says(tmp_path):
    mesh = MeshFolder(tmp_path / "mesh")
    resources = read_folder(mesh.path)
    placed = {entry.name: entry.spec.address for entry in resources.workload_entries}
    named = {f"reviews-{name}": mesh.address(number) for number, name in enumerate(("v1a", "v1b", "v2"), 1)}
    (port,) = resources.service_entries[0].spec.ports
    assert {name: f"{address}:{port.target_port}" for name, address in placed.items()} == named


def test_a_process_that_does_not_come_up_is_named_with_its_output(tmp_path, monkeypatch):
    with pytest.raises(StartError, match=r"x ended with status 1:\n(.|\n)*No module named nothing"):
        Process("x", "nothing", log=tmp_path / "log").start()
    monkeypatch.setattr(processes, "START_LIMIT", 0.5)
    silent = Process("y", "timeit", "-s", "import time; time.sleep(60)", log=tmp_path / "log")
    with pytest.raises(StartError, match=r"y is not up after 0\.5 s"), silent:
        pass
    assert silent._process.poll() is not None, "it was ended"


@pytest.fixture
def signals_as_they_were():
    before = {number: signal.getsignal(number) for number in demo.TOLD}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("signals_as_they_were")
@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("first", "word"), [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated"), (None, "What was expected")]
)
def test_a_signal_while_it_tidies_up_stops_nothing(first, word, second, monkeypatch, capsys):
    tidied = []

    def tidy():
        signal.raise_signal(second)
        tidied.append(second)

    def run(folder, report, pace, stage):
        stage.callback(tidy)
        report.row("one", "a", "a", ok=True)
        if first is not None:
            signal.raise_signal(first)

    monkeypatch.setattr(demo, "run", run)
    monkeypatch.setattr(sys, "argv", ["demo"])
    status = demo.main()
    out, errors = capsys.readouterr()
    assert (status, tidied) == (0 if first is None else 128 + first, [second])
    assert word in (out if first is None else errors)
