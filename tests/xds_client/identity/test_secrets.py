"""Nothing secret leaves: tokens and keys are looked for in everything that a failing and a working run say."""

from __future__ import annotations

import base64
import gc
import json
import logging
import traceback

import grpc
import pytest

from proxyless.plain import plain
from tests.xds_client.identity.authority import new_key, pem, private_pem
from xds_client import Bootstrap, IdentityError, PilotExchanger
from xds_client.identity.proof import TokenProof
from xds_client.identity.settings import IdentitySettings
from xds_client.identity.token import read_token


def jwt(**claims):
    def part(value):
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'RS256'})}.{part(claims)}.c2lnbmF0dXJlLXRoYXQtbXVzdC1ub3QtbGVhaw"


TOKEN = jwt(sub="system:serviceaccount:demo:shop", aud=["istio-ca"], exp=1)
SIGNATURE = TOKEN.rpartition(".")[2]


class Heard:
    """All that anybody could have seen."""

    def __init__(self, caplog, capfd):
        self._caplog, self._capfd, self._said = caplog, capfd, []
        caplog.set_level(logging.DEBUG)

    def add(self, *values):
        for value in values:
            self._said += [repr(value), str(value)]
            if isinstance(value, BaseException):
                self._said += traceback.format_exception(value)

    def text(self):
        out, err = self._capfd.readouterr()
        records = [str(vars(record)) for record in self._caplog.records]
        return "\n".join([*self._said, *records, self._caplog.text, out, err])


@pytest.fixture
def heard(caplog, capfd):
    return Heard(caplog, capfd)


def secrets_of(*keys):
    """Each key as it might appear: whole, and any line of its PEM."""
    lines = [line for key in keys for line in key.decode().splitlines() if not line.startswith("-----")]
    return [SIGNATURE, *lines]


def assert_clean(text, *keys):
    for secret in secrets_of(*keys):
        assert secret not in text
        assert secret[:40] not in text


def tell_all(heard, source):
    heard.add(source, source.current, source.error, source.status, source._state, source._access, source._signer)
    heard.add(plain(source.status))
    try:
        source.wait(0)
    except IdentityError as error:
        heard.add(error)


def test_a_run_in_which_everything_fails_and_then_works(pod, start_ca, heard):
    pod.token.write_text(TOKEN)
    ca = start_ca()
    ca.refusal = (grpc.StatusCode.UNAUTHENTICATED, f"token {TOKEN} (signature {SIGNATURE}) is not good enough")
    source = pod.source(ca.address)
    source.observe(lambda identity: 1 / 0)
    pod.pass_time(source, 10)
    assert "expired 1970" in source.error, "what is no secret is told"
    tell_all(heard, source)
    ca.tokens.add(TOKEN)
    pod.pass_time(source, 30)
    key = source.current.private_key
    tell_all(heard, source)
    ca.answer = lambda asked: [pem(ca.authority.issue(new_key(), ca.spiffe_id)).decode()]
    pod.pass_time(source, 2000)
    tell_all(heard, source)
    ca.answer = lambda asked: b"\xff" + TOKEN.encode() + key
    pod.pass_time(source, 30)
    tell_all(heard, source)
    ca.refusal = (grpc.StatusCode.UNAUTHENTICATED, "no")
    pod.token.write_text(TOKEN + " " + SIGNATURE)
    pod.pass_time(source, 60)
    tell_all(heard, source)
    text = heard.text()
    assert "<token>" in text, "the CA repeated it, and we took it out"
    assert "failed; it stays registered" in text
    assert_clean(text, key)


def test_files(pod, tmp_path, heard, authority):
    key = new_key()
    certificate, file = tmp_path / "cert.pem", tmp_path / "key.pem"
    certificate.write_bytes(pem(authority.issue(key, "spiffe://a/b")))
    file.write_bytes(private_pem(key))
    source = pod.source("", source="files", certificate_path=str(certificate), private_key_path=str(file))
    source.step()
    heard.add(source, source.current, source.status, source._state)
    file.write_bytes(private_pem(key).replace(b"PRIVATE", b"PRIVY"))
    source.step()
    file.write_bytes(private_pem(key)[:-60])
    source.step()
    heard.add(source.error)
    assert_clean(heard.text(), private_pem(key))


def test_the_stream_and_its_status(pod, start_ca, heard):
    """Refused there, because the fake CA serves no ADS."""
    pod.token.write_text(TOKEN)
    ca = start_ca()
    ca.tokens.add(TOKEN)
    settings = IdentitySettings(token_path=str(pod.token), root_certificate_path=str(pod.roots))
    bootstrap = Bootstrap(pod.node, ca.address, "tls", settings)
    with PilotExchanger(bootstrap) as exchanger:
        identity = exchanger.identity.wait(30)
        status = exchanger.status()
        heard.add(
            bootstrap, status, exchanger, json.dumps(plain(bootstrap)), json.dumps(plain(status)), exchanger.identity
        )
    gc.collect()
    assert_clean(heard.text(), identity.private_key)


def test_what_holds_the_token_does_not_show_it(pod, heard):
    pod.token.write_text(TOKEN)
    token = read_token(str(pod.token))
    heard.add(token, TokenProof(token), token.describe(pod.time.true()))
    assert_clean(heard.text())
