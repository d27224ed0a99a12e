"""Nothing that a file can contain or a file system do ends a watcher: it is refused by name, and good edits follow."""

from __future__ import annotations

import os
import shutil
import socket
from queue import SimpleQueue

import pytest

from localmesh import ConfigError, LocalMesh, config
from localmesh.config import read_folder, text
from localmesh.config.decode import MAX_PROBLEMS
from localmesh.serve import watch as watching
from localmesh.serve.watch import FolderWatch
from tests.localmesh.yaml_folder import SERVICE, resource, write

RULE = resource("DestinationRule", "x", "host: a")
POOL = RULE + "  trafficPolicy:\n    connectionPool:\n      tcp: "
WARMUP = RULE + "  trafficPolicy:\n    loadBalancer:\n      warmup: "
PORTS = (
    "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: x, namespace: demo}\n"
    "spec:\n  selector: {matchLabels: {a: b}}\n  portLevelMtls:\n"
)
RETRIES = resource(
    "VirtualService", "v", "hosts: [a]\nhttp:\n- route: [{destination: {host: a}}]\n  retries: "
).rstrip()
VIRTUAL = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: x, namespace: demo}\nspec:\n"
FORWARD = f"{VIRTUAL}  hosts: [a]\n  http:\n  - route: [{{destination: {{host: a}}}}]\n    "
NINES = "9" * 5000
CHAIN = "".join(f"- &a{i} [*a{i - 1}]\n" for i in range(1, 400))
BILLION = "".join(f"- &b{i} [{', '.join([f'*b{i - 1}'] * 9)}]\n" for i in range(1, 12))

CONTENTS = {
    "3,000 brackets": (b"[" * 3000, 1, "nested more than 64 deep"),
    "3,000 closed brackets": (b"[" * 3000 + b"]" * 3000, 1, "nested more than 64 deep"),
    "3,000 blocks": ("".join(f"{' ' * i}a:\n" for i in range(3000)).encode(), 64, "nested more than 64 deep"),
    "a number of 5,000 digits": (f"{POOL}{{maxConnections: {NINES}}}\n".encode(), 8, "is not between 0 and"),
    "a float of 5,000 digits": (f"{WARMUP}{{duration: 1s, aggression: {NINES}}}\n".encode(), 8, "is not between"),
    "infinity": (f"{WARMUP}{{duration: 1s, aggression: .inf}}\n".encode(), 8, ".inf is not between"),
    "no number": (f"{WARMUP}{{duration: 1s, aggression: .nan}}\n".encode(), 8, ".nan is not between"),
    "a duration of 5,000 digits": (f"{POOL}{{connectTimeout: {NINES}h}}\n".encode(), 8, "is not a duration"),
    "a duration beyond Go's": (f"{POOL}{{connectTimeout: 9999999h}}\n".encode(), 8, "is not a duration"),
    "a keepalive beyond 32 bits": (f"{POOL}{{tcpKeepalive: {{time: 2000000h}}}}\n".encode(), 8, "at most 4294967295s"),
    "an interval beyond 32 bits": (f"{POOL}{{tcpKeepalive: {{interval: 2000000h}}}}\n".encode(), 8, "at most 4294"),
    "a fault in more calls than there are": (
        f"{FORWARD}fault: {{abort: {{httpStatus: 500, percentage: {{value: 4000000000}}}}}}\n".encode(),
        8,
        "4000000000.0 is not between 0 and 100",
    ),
    "a delay in more calls than there are": (
        f"{FORWARD}fault: {{delay: {{fixedDelay: 1s, percent: 101}}}}\n".encode(), 8, "percent: 101 is not between"
    ),
    "more mirrored than there is": (
        f"{FORWARD}mirror: {{host: b}}\n    mirrorPercentage: {{value: 100.1}}\n".encode(), 9, "100.1 is not between"
    ),
    "a port of 5,000 digits": (f"{PORTS}    ? '{NINES}'\n    : {{mode: STRICT}}\n".encode(), 7, "is not a port"),
    "a status of 5,000 digits": (f"{RETRIES} {{attempts: 1, retryOn: '{NINES}'}}\n".encode(), 8, "is not a policy"),
    "a status in Unicode's digits": (f"{RETRIES} {{attempts: 1, retryOn: '²'}}\n".encode(), 8, "is not a policy"),
    "aliases by the billion": (f"- &b0 [a]\n{BILLION}".encode(), 1, "repeat more than"),
    "an alias of what it is in": (b"a: 1\nb: &b\n- *b\n", 2, "stands for what it is in"),
    "a surrogate": (f'{RULE}  subsets: [{{name: "\\ud800"}}]\n'.encode(), 6, "is not YAML"),
    "binary": (bytes(range(256)), 2, "cannot be read: it is not UTF-8"),
    "NUL": (b"a: \0\n", 1, "is not YAML"),
    "a control character": (b"a: 1\nb: \x07\n", 2, "is not YAML"),
    "another encoding": ("a: ä".encode("utf-16"), 1, "cannot be read: it is not UTF-8"),
    "an escape sequence in a key": (f'{RULE}  "\\e[2J\\nforged": 1\n'.encode(), 6, r"\x1b[2J\nforged: unknown field"),
    "a chain of aliases": (f"- &a0 [a]\n{CHAIN}".encode(), 1, "must be a mapping, not a list"),
    "a tag that runs code": (b"!!python/object/apply:os.system [true]\n", 1, "must be a mapping, not a list"),
    "a directive that is none": (b"%YAML 99999999999999999999.1\n---\na: 1\n", 1, "is not YAML"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "line", "reason"), CONTENTS.values(), ids=CONTENTS.keys())
def test_what_no_file_should_hold_is_refused_with_its_line(tmp_path, content, line, reason):
    (tmp_path / "bad.yaml").write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_folder(tmp_path)
    (problem,) = caught.value.problems
    assert (problem.file, problem.line) == (str(tmp_path / "bad.yaml"), line)
    assert reason in problem.reason
    assert str(problem).isprintable()
    assert len(problem.reason) <= 600


def test_aliases_that_repeat_little_are_read(tmp_path):
    labels = "&l {version: v1}"
    write(
        tmp_path,
        a=resource(
            "DestinationRule", "x", f"host: a\nsubsets: [{{name: v1, labels: {labels}}}, {{name: v2, labels: *l}}]"
        ),
    )
    (rule,) = read_folder(tmp_path).destination_rules
    assert [subset.labels for subset in rule.spec.subsets] == [{"version": "v1"}] * 2


def test_of_very_many_problems_the_first_are_listed(tmp_path):
    write(tmp_path, a=f"{RULE}  subsets:\n" + "  - {}\n" * 10_000)
    with pytest.raises(ConfigError) as caught:
        read_folder(tmp_path)
    assert len(caught.value.problems) == MAX_PROBLEMS + 1
    assert f"and {10_000 - MAX_PROBLEMS} more problems" in caught.value.problems[-1].reason


def test_a_fault_of_our_own_is_a_problem_of_the_file(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(config.folder._FileReader, "_document", lambda *_, **__: 1 / 0)
    with pytest.raises(ConfigError, match=r"a\.yaml:1: .*fault of localmesh's own, please report it"):
        read_folder(write(tmp_path, a=SERVICE))
    assert "Traceback" in caplog.text


def linked(path):
    path.symlink_to(path)


def no_permission(path):
    path.symlink_to("/proc/1/mem")  # what even root may not read from its beginning


def a_socket(path):
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(os.path.relpath(path))


PLACES = {
    "a FIFO": (os.mkfifo, "is a FIFO, not a regular file: remove it"),
    "a socket": (a_socket, "is a socket|cannot be read"),
    "a device": (lambda path: path.symlink_to("/dev/zero"), "is a device, not a regular file"),
    "a folder of that name": (lambda path: path.mkdir(), None),
    "a link to nothing": (lambda path: path.symlink_to(path.parent / "nothing"), "is a symbolic link to nothing"),
    "a circle of links": (linked, "symbolic links lead in a circle"),
    "a huge file": (lambda path: os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY), 1 << 40), "larger than 32 MiB"),
    "an unreadable file": (no_permission, "cannot be read"),
    "an editor's lock": (lambda path: path.with_name(".#bad.yaml").symlink_to("somebody@somewhere"), None),
    "a name that is no UTF-8": (
        lambda path: path.with_name(os.fsdecode(b"\xff\x1b.yaml")).write_text("kind: X\n"),
        "apiVersion: is missing",
    ),
}


@pytest.mark.parametrize(("make", "reason"), PLACES.values(), ids=PLACES.keys())
def test_what_is_no_file_costs_a_sentence_and_no_time(tmp_path, monkeypatch, make, reason):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, service=SERVICE)
    make(tmp_path / "bad.yaml")
    if reason is None:
        assert len(read_folder(tmp_path).service_entries) == 1
        return
    with pytest.raises(ConfigError, match=reason) as caught:
        read_folder(tmp_path)
    assert str(caught.value.problems[0]).isprintable()


def test_a_folder_that_may_not_be_listed_is_not_an_empty_one(tmp_path, monkeypatch):
    write(tmp_path, service=SERVICE)
    write(tmp_path / "sub", more=SERVICE.replace("name: reviews", "name: more"))
    listing = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: failing(path) if str(path).endswith("sub") else listing(path))
    with pytest.raises(ConfigError, match=r"sub: cannot be read: permission denied: run it as the owner"):
        read_folder(tmp_path)


def failing(path):
    raise PermissionError(13, "Permission denied", str(path))


def test_a_folder_that_nobody_meant_is_not_read_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(text, "MAX_ENTRIES", 3)
    for index in range(5):
        (tmp_path / f"{index}").mkdir()
    with pytest.raises(ConfigError, match="is it the folder that you mean"):
        read_folder(tmp_path)


def test_a_mounted_config_map_is_read_once(tmp_path):
    write(tmp_path / "..2026_01", service=SERVICE)
    (tmp_path / "..data").symlink_to("..2026_01")
    (tmp_path / "service.yaml").symlink_to("..data/service.yaml")
    assert len(read_folder(tmp_path).service_entries) == 1


@pytest.fixture
def told():
    return SimpleQueue()


@pytest.fixture
def mesh(tmp_path, told):
    folder = write(tmp_path / "mesh", service=SERVICE)
    with LocalMesh(
        folder, secure_address=None, on_refusal=lambda error: told.put(error.problems), on_reload=told.put
    ) as mesh:
        yield mesh


@pytest.mark.parametrize("content", [content for content, _, _ in CONTENTS.values()], ids=CONTENTS.keys())
def test_later_good_edits_are_seen(mesh, told, content):
    bad = mesh.folder / "bad.yaml"
    bad.write_bytes(content)
    (problem,) = told.get(timeout=20)
    assert problem.file == str(bad)
    assert mesh.errors == (problem,)
    bad.write_text(RULE)
    assert told.get(timeout=20) == 2
    assert mesh.errors == ()


def test_a_folder_that_vanishes_and_comes_back_is_watched_on(mesh, told):
    shutil.move(mesh.folder, mesh.folder.with_name("away"))
    (problem,) = told.get(timeout=20)
    assert str(problem).startswith(f"{mesh.folder}: is not a folder or file of Istio YAML")  # and no line of it
    write(mesh.folder, service=SERVICE, rule=RULE)
    assert told.get(timeout=20) == 2
    (mesh.folder / "rule.yaml").write_text(RULE.replace("host: a", "host: b"))
    assert told.get(timeout=20) == 3


def test_a_folder_that_is_swapped_for_another_is_watched_on(mesh, told):
    other = write(mesh.folder.with_name("other"), service=SERVICE, rule=RULE)
    shutil.move(mesh.folder, mesh.folder.with_name("away"))
    other.rename(mesh.folder)
    while told.get(timeout=20) != 2:  # in between it may have been seen missing
        pass
    (mesh.folder / "rule.yaml").write_text(RULE.replace("host: a", "host: b"))
    assert told.get(timeout=20) == 3


def test_what_a_link_leads_to_is_watched_too(mesh, told, tmp_path):
    target = tmp_path / "elsewhere.yaml"
    target.write_text(RULE)
    (mesh.folder / "rule.yaml").symlink_to(target)
    assert told.get(timeout=20) == 2
    target.write_text(RULE.replace("host: a", "host: b"))
    assert told.get(timeout=20) == 3


def test_without_watches_of_the_system_the_folder_is_looked_at(tmp_path, monkeypatch, caplog):
    def none_left(*_, **__):
        raise OSError(28, "OS file watch limit reached")

    monkeypatch.setattr(watching, "watch", none_left)
    monkeypatch.setattr(watching, "LOOK_SECONDS", 0.05)
    told = SimpleQueue()
    folder = write(tmp_path / "mesh", service=SERVICE)
    with LocalMesh(folder, secure_address=None, on_reload=told.put):
        write(folder, rule=RULE)
        assert told.get(timeout=20) == 2
    assert caplog.text.count("file watch limit reached") == 1, "said once, not with every look"


def test_whoever_is_told_may_fail_and_is_told_again(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(watching, "LOOK_SECONDS", 0.05)
    calls = SimpleQueue()

    def changed():
        calls.put(None)
        if calls.qsize() < 4:
            raise RuntimeError("a fault of somebody's")
        return True

    watch = FolderWatch(tmp_path, changed)
    watch.start()
    try:
        while calls.qsize() < 4:
            assert watch._thread.is_alive()
    finally:
        watch.stop()
    assert caplog.text.count("a fault of somebody's") == 1
    assert "it is tried again" in caplog.text


def test_a_config_that_cannot_be_compiled_is_refused_and_the_last_good_one_stays(mesh, told, monkeypatch, caplog):
    with monkeypatch.context() as broken:
        broken.setattr("localmesh.mesh.Snapshot", lambda *_: 1 / 0)
        write(mesh.folder, rule=RULE)
        (problem,) = told.get(timeout=20)
        assert "cannot be compiled" in problem.reason
        assert mesh.version == 1
    assert told.get(timeout=20) == 2, "it is tried again by itself"


def test_one_file_is_watched_also_when_an_editor_puts_another_in_its_place(tmp_path, told):
    file = write(tmp_path / "mesh", service=SERVICE) / "service.yaml"
    with LocalMesh(file, secure_address=None, on_reload=told.put):
        for version in (2, 3):
            draft = file.with_name("draft")
            draft.write_text(SERVICE.replace("9090", f"909{version}"))
            draft.rename(file)
            assert told.get(timeout=20) == version


def test_a_folder_without_services_says_so(tmp_path, caplog):
    with LocalMesh(write(tmp_path, mesh="{}"), watch=False):
        pass
    assert "there is no ServiceEntry and no Service in it: nothing can be called" in caplog.text
