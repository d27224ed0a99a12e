"""Random YAML, good, nearly good and torn: it is read or refused by name, and what is read can be compiled and sent.

FUZZ_SECONDS says for how long each part goes on; without it, a few hundred examples.
"""

from __future__ import annotations

import os
import time
from datetime import timedelta
from enum import Enum
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localmesh import ConfigError
from localmesh.compile import Snapshot, View
from localmesh.config import read_folder
from localmesh.config.decode import IntOrString, Spec, _fields_of
from localmesh.config.folder import _KUBERNETES, _SPECS
from localmesh.config.kubernetes import SERVICE_NAME
from tests.localmesh.captures import CLASSES
from tests.localmesh.yaml_folder import HOST, SERVICE

FUZZ_SECONDS = float(os.environ.get("FUZZ_SECONDS", "0"))
EXAMPLES = 50
GROUPS = {
    "PeerAuthentication": "security.istio.io/v1",
    "Service": "v1",
    "Endpoints": "v1",
    "EndpointSlice": "discovery.k8s.io/v1",
}

words = st.sampled_from(
    [HOST, "reviews", "*", "*.demo", "a", "v1", "", "9080", "grpc", "HTTP", "127.0.0.1", "::1", "mesh", "/x", ".*"]
)  # fmt: skip
texts = words | st.text(max_size=8)
numbers = st.sampled_from([0, 1, 100, 9080, 65535, 65536, 2**31, 2**32 - 1, 2**32, -1, 10**19])
durations = st.sampled_from(["1s", "0s", "250ms", "1ns", "1h", "2562047h", "-1s", "1", ""])
odd = st.none() | st.booleans() | numbers | st.floats() | texts | st.just([]) | st.just({}) | st.dates()


def spec(cls: type[Spec]) -> st.SearchStrategy[dict[str, Any]]:
    """What Istio's fields could hold; seldom something else."""
    known = {field.istio_name: value(field.hint) for field in _fields_of(cls)}
    needed = [field.istio_name for field in _fields_of(cls) if field.is_needed]
    required = {name: known.pop(name) for name in needed}
    given_seldom = st.fixed_dictionaries(required, optional={**known, **dict.fromkeys(cls.UNSUPPORTED, odd)})
    return st.integers(0, 9).flatmap(
        lambda chance: given_seldom if chance == 0 else st.fixed_dictionaries(required, optional=known)
    )


def value(hint: Any) -> st.SearchStrategy[Any]:
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        hint = next(arg for arg in get_args(hint) if arg is not NoneType)
        origin = get_origin(hint)
    if origin is tuple:
        found = st.lists(st.deferred(lambda: value(get_args(hint)[0])), max_size=3)
    elif origin is not None:
        found = st.dictionaries(texts, st.deferred(lambda: value(get_args(hint)[1])), max_size=3)
    elif isinstance(hint, type) and issubclass(hint, Spec):
        found = st.deferred(lambda: spec(hint))
    elif isinstance(hint, type) and issubclass(hint, Enum):
        found = st.sampled_from(list(hint.__members__))
    else:
        found = {
            str: texts,
            IntOrString: numbers | words,
            int: numbers,
            float: numbers | st.floats(),
            bool: st.booleans(),
            timedelta: durations,
        }.get(hint, odd)
    # one in so many is of another kind: more, and hardly a document would be read to its end
    return st.integers(0, 40).flatmap(lambda chance: odd if chance == 0 else found)


def document(kind: str) -> st.SearchStrategy[dict[str, Any]]:
    metadata = {"name": st.sampled_from(["x", "z"]), "namespace": st.sampled_from(["demo", "istio-system"])}
    labels = st.dictionaries(texts | st.just(SERVICE_NAME), texts | st.just("x"), max_size=2)
    head = st.fixed_dictionaries(
        {
            "apiVersion": st.just(GROUPS.get(kind, "networking.istio.io/v1")),
            "kind": st.just(kind),
            "metadata": st.fixed_dictionaries(metadata, optional={"labels": labels}),
        }
    )
    # Kubernetes' own say what they say beside the metadata, a spec among it or not
    rest = spec(_KUBERNETES[kind]) if kind in _KUBERNETES else st.fixed_dictionaries({"spec": spec(_SPECS[kind])})
    return st.builds(lambda rest, head: {**rest, **head}, rest, head)


documents = st.lists(st.one_of([document(kind) for kind in (*_SPECS, *_KUBERNETES)]), min_size=1, max_size=4)
torn = st.binary(max_size=200) | st.text(alphabet="[]{}:-&*!|>?%@`'\"#,. \n\tab01\\~<=", max_size=200).map(str.encode)


def for_a_while(*strategies):
    """As `given`: some examples, or as many rounds of them as fit into FUZZ_SECONDS."""

    def decorate(check):
        quiet = [
            HealthCheck.function_scoped_fixture,
            HealthCheck.too_slow,
            HealthCheck.large_base_example,
            HealthCheck.data_too_large,
        ]

        @pytest.mark.timeout(60 + 2 * FUZZ_SECONDS)
        def rounds(tmp_path):
            end = time.monotonic() + FUZZ_SECONDS
            while True:
                run = given(st.tuples(*strategies))(lambda drawn: check(tmp_path, *drawn))
                settings(max_examples=EXAMPLES, suppress_health_check=quiet, database=None)(run)()
                if time.monotonic() >= end:
                    return

        rounds.__name__, rounds.__doc__ = check.__name__, check.__doc__
        return rounds

    return decorate


def compiled(resources) -> None:
    """All that a client could ask for, as it would be sent, read by another library."""
    snapshot = Snapshot(resources)
    for seen in (View("demo"), View("other", addresses=("127.0.0.1", "::1"))):
        view = snapshot.view(seen)
        clusters = snapshot.clusters(view)
        for name, packed in clusters.items():
            assert CLASSES["CDS"].FromString(packed.value).name == name
            CLASSES["EDS"].FromString(snapshot.endpoints(name, view).value)
        for packed in snapshot.listeners(view).values():
            CLASSES["LDS"].FromString(packed.value)
        for host, port in {(service.hostname, port.number) for service in snapshot.registry.services("demo") for port in service.ports}:  # fmt: skip  # noqa: E501
            CLASSES["RDS"].FromString(snapshot.routes(f"{host}:{port}", view).value)
        CLASSES["RDS"].FromString(snapshot.routes(f"{HOST}:80", view).value)


@for_a_while(documents)
def test_what_is_read_can_be_compiled_and_what_is_not_says_why(folder, found):
    (folder / "service.yaml").write_text(SERVICE)
    (folder / "fuzz.yaml").write_text(yaml.safe_dump_all(found, allow_unicode=True), "utf-8", "surrogatepass")
    read_or_refused(folder)


@for_a_while(torn)
def test_torn_files_are_refused_with_a_line(folder, found):
    (folder / "fuzz.yaml").write_bytes(found)
    read_or_refused(folder)


@for_a_while(documents, st.integers(0, 5000), torn)
def test_good_files_that_were_cut_or_written_over_are_refused_with_a_line(folder, found, at, rest):
    text = yaml.safe_dump_all(found, allow_unicode=True).encode("utf-8", "surrogatepass")
    (folder / "fuzz.yaml").write_bytes(text[: at % (len(text) + 1)] + rest)
    read_or_refused(folder)


def read_or_refused(folder) -> None:
    try:
        resources = read_folder(folder)
    except ConfigError as error:
        lines = len((folder / "fuzz.yaml").read_text("utf-8", "replace").splitlines()) + 1  # YAML has Unicode's breaks
        for problem in error.problems:
            assert 1 <= problem.line <= lines, problem
            assert "fault of localmesh" not in problem.reason, problem
            assert str(problem).isprintable()
    else:
        compiled(resources)
