"""``openssl s_client`` from inside a pod: what a server's port makes of one TLS offer. Nothing of ours is in it."""

from __future__ import annotations

import re
import subprocess
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from e2e.envoy.pods import Pod

# RFC 9113 3.4: the client's preface with empty SETTINGS, and the SETTINGS that any HTTP/2 server answers with.
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
_SETTINGS = re.compile(rb"\x00\x00[\x00-\xff]\x04\x00\x00\x00\x00\x00")
_NEGOTIATED = re.compile(r"^ALPN protocol: (\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Offered:
    """``alpn``: what the server chose; empty: nothing. ``http2``: somebody answered as an HTTP/2 server does."""

    handshake: bool
    alpn: str
    http2: bool
    log: str


def offer(pod: Pod, address: str, alpn: str, *, certificate: bool = True, limit: float = 20.0) -> Offered:
    """Connect with the pod's certificate and this ALPN list, say HTTP/2's preface, and hear what comes.

    ``alpn`` is comma-separated, empty for none. The connection is given up after ``limit`` seconds.
    """
    files = pod.certificate_files()
    command = [*pod.enter, "openssl", "s_client", "-connect", address, "-CAfile", files["roots"]]
    if certificate:
        command += ["-cert", files["certificate"], "-cert_chain", files["certificate"], "-key", files["key"]]
    if alpn:
        command += ["-alpn", alpn]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0
    ) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        giving_up = threading.Timer(limit, client.kill)
        giving_up.start()
        said = b""
        try:
            with suppress(BrokenPipeError):  # a client that was refused may have ended already
                client.stdin.write(_PREFACE)
            while not _SETTINGS.search(said) and (more := client.stdout.read(65536)):
                said += more
            http2 = bool(_SETTINGS.search(said))
            client.kill()
        finally:
            giving_up.cancel()
    text = said.decode(errors="replace")
    chosen = _NEGOTIATED.search(text)
    return Offered("Cipher is TLS_" in text, chosen[1] if chosen else "", http2, text)
