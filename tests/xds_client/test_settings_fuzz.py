"""Any settings in any pod: read or refused by name, and in plaintext only where that was said.

FUZZ_SECONDS says how long (10 by default); FUZZ_SEED repeats one round. A seed that failed once goes into SEEDS.
"""

from __future__ import annotations

import os
import random
import time
from typing import TYPE_CHECKING

import pytest

from xds_client import Bootstrap, BootstrapError, RootsError, TokenError
from xds_client.codec import DeltaRequest
from xds_client.identity.opening import stream_access
from xds_client.identity.settings import CERTIFICATE_FOLDER, SOURCES, TOKEN_PATH, WORKLOAD_API_SOCKET
from xds_client.resource_type import ResourceType
from xds_client.settings import KEYS

if TYPE_CHECKING:
    from pathlib import Path

    from xds_client.identity.stream_access import StreamAccess

SEEDS = (3269493611, 3525289774)
SECONDS = float(os.environ.get("FUZZ_SECONDS", "10"))

PLACES = (
    TOKEN_PATH,
    WORKLOAD_API_SOCKET,
    f"{CERTIFICATE_FOLDER}/cert-chain.pem",
    "/var/run/secrets/kubernetes.io/serviceaccount/namespace",
    "/etc/istio/pod/labels",
)
PODS = (
    "CA_ADDR",
    "SPIFFE_ENDPOINT_SOCKET",
    "SECRET_TTL",
    "TRUST_DOMAIN",
    "POD_NAME",
    "POD_NAMESPACE",
    "HOSTNAME",
    "INSTANCE_IP",
    "ISTIO_META_CLUSTER_ID",
)
# What somebody writes who wants an identity, and only he.
ASKING = {
    "identity": (),
    "token_path": (),
    "ca_address": ("CA_ADDR",),
    "certificate_path": (),
    "private_key_path": (),
    "workload_api_address": ("SPIFFE_ENDPOINT_SOCKET",),
}
WORDS = (
    *(
        "plaintext",
        "tls",
        "PLAINTEXT",
        "plaintext ",
        " tls",
        "mtls",
        "none",
        "",
        " ",
        "\0",
        "\n",
        "=",
        ",",
        "a=b",
        "é",
        "\udce9",
    ),
    *SOURCES,
    *("istiod:15010", "istiod:15012", "istiod:443", "a:015010", "[::1]:15010", "::1", ":15010", "a:15010:", "a:-1"),
    *(
        "a:0",
        "a:65536",
        "a:" + "9" * 5000,
        "a:15010 ",
        "a:1_5010",
        "a:\u0661\u0665\u0660\u0661\u0660",
        "15010",
        "a:15010/",
        "x" * 70_000,
    ),
    *("unix:///s", "unix:", "tcp://127.0.0.1:1", "http://a", "/nowhere/token", "/", ".", "/dev/null", "/proc/self/mem"),
    *("24h", "90m", "0s", "-1s", "1e999s", "nans", "infh", "s", "1" * 5000 + "s", "a/b/c/d", "a/b", "eu"),
)
TOML = ("7", "true", "[]", "{}", "1979-05-27", "'''", "nan", "0x", "{a = 1}", "[" * 200, "[" * 3000, "9" * 5000)


class Pod:
    """One world: what is mounted, the environment, our file. Made of one seed."""

    def __init__(self, seed: int, folder: Path) -> None:
        self._dice = random.Random(seed)
        self._root = folder / "root"
        for place in PLACES:
            self._mount(self._root / place.lstrip("/"))
        said = {key: self._value() for key in sorted(KEYS) if self._dice.random() < 0.15}
        if self._dice.random() < 0.5:  # the three that decide most, more often and more to the point
            said["discovery_address"] = f"istiod:{self._dice.choice((15010, 15012, 443, 9999))}"
        if self._dice.random() < 0.3:
            said["security"] = self._dice.choice(("plaintext", "tls"))
        if self._dice.random() < 0.3:
            said["identity"] = self._dice.choice(SOURCES)
        self._in_file: dict[str, str] = {}
        in_file = {key for key in said if self._dice.random() < 0.3}
        self.environ = {f"PROXYLESS_{key.upper()}": value for key, value in said.items() if key not in in_file}
        self.environ |= {name: self._value() for name in PODS if self._dice.random() < 0.1}
        if in_file or self._dice.random() < 0.2:
            self._write(folder / "settings.toml", {key: said[key] for key in in_file})

    def _value(self) -> str:
        word = self._dice.choice(WORDS)
        return word if self._dice.random() < 0.9 else word + self._dice.choice(WORDS)

    def _mount(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        match self._dice.randrange(8):
            case 0:
                path.write_bytes(self._dice.randbytes(self._dice.randrange(50)))
            case 1:
                path.write_text(self._dice.choice(('app="shop"\n', "demo\n", "")))
            case 2:
                path.symlink_to("nowhere")
            case 3:
                path.symlink_to(path.name)  # to itself
            case 4:
                path.mkdir()

    def _write(self, path: Path, said: dict[str, str]) -> None:
        lines = [f"{key} = {_quoted(value)}" for key, value in said.items()]
        if self._dice.random() < 0.1:
            lines.append(f"{self._dice.choice((*sorted(KEYS), 'nonsense'))} = {self._dice.choice(TOML)}")
        path.write_text("\n".join(lines), encoding="utf-8")
        if self._dice.random() < 0.05:
            path.write_bytes(self._dice.randbytes(100))
        self.environ["PROXYLESS_CONFIG"] = str(path if self._dice.random() < 0.95 else path.parent / "none.toml")
        self._in_file = said

    def load(self) -> tuple[Bootstrap | None, BootstrapError | None]:
        try:
            return Bootstrap.load(self.environ, self._root), None
        except BootstrapError as error:
            return None, error

    def said(self, key: str, *names: str) -> str:
        """The setting as a reader of the documentation finds it."""
        mine = self.environ.get(f"PROXYLESS_{key.upper()}") or self._in_file.get(key, "")
        return mine or next((self.environ[name] for name in names if self.environ.get(name)), "")


def _quoted(text: str) -> str:
    escaped = "".join(c if c.isalnum() or c in " /:=,.-_" else f"\\U{ord(c):08x}" for c in text)
    return f'"{escaped}"'


def check(pod: Pod) -> bool:
    """Whether the settings could be read; what cannot be read names its source and field."""
    bootstrap, refusal = pod.load()
    if bootstrap is None:
        assert refusal.source
        assert refusal.field
        return False
    plain = pod.said("security") == "plaintext"
    by_port = not pod.said("security") and pod.said("discovery_address").endswith(":15010")
    assert (bootstrap.security == "plaintext") == (plain or by_port), "plaintext is said, never guessed"
    if pod.said("identity") != "none" and any(pod.said(key, *names) for key, names in ASKING.items()):
        assert bootstrap.identity is not None, "who asks for an identity gets it, or an error"
    if pod.said("identity"):
        assert bootstrap.identity.source == pod.said("identity")
    DeltaRequest(ResourceType.CLUSTER, node=bootstrap.node).encode()  # how the first stream begins
    access = stream_access(bootstrap, None)
    assert (access is None) == (bootstrap.security == "plaintext")
    reason = _why_no_stream(access)
    paths = (bootstrap.identity.token_path, bootstrap.identity.root_certificate_path) if access else ()
    assert not reason or any(path in reason for path in paths), "the error names the file"
    return True


def _why_no_stream(access: StreamAccess | None) -> str:
    """Nobody listens, and nothing is dialled before a stream is wanted."""
    try:
        if access is not None:
            access.open().channel.close()
    except (TokenError, RootsError) as error:
        return str(error)
    return ""


def rounds():
    if "FUZZ_SEED" in os.environ:
        yield int(os.environ["FUZZ_SEED"])
        return
    yield from SEEDS
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        yield random.SystemRandom().randrange(1 << 32)


@pytest.mark.timeout(SECONDS + 120)
def test_settings_are_read_or_refused_by_name_and_plaintext_is_never_guessed(tmp_path):
    read = refused = 0
    for number, seed in enumerate(rounds()):
        folder = tmp_path / str(number)
        folder.mkdir()
        try:
            if check(Pod(seed, folder)):
                read += 1
            else:
                refused += 1
        except BaseException as error:
            error.add_note(f"repeat it with FUZZ_SEED={seed}")
            raise
    assert "FUZZ_SEED" in os.environ or (read > 0 and refused > 0), "the dice are loaded"
