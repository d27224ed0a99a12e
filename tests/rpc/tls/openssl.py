"""Certificates as people make them: by openssl(1), with the options that tutorials give."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field

SAN = "subjectAltName=DNS:localhost"
NO_CA = "basicConstraints=critical,CA:FALSE"
CA = "basicConstraints=critical,CA:TRUE"


@dataclass(frozen=True)
class Made:
    key_file: str
    chain_file: str
    key: bytes = field(repr=False)
    chain: bytes = field(repr=False)

    @property
    def pair(self):
        """As gRPC's servers want it."""
        return self.key, self.chain

    def below(self, *issuers):
        """With the certificates between it and the root beside it."""
        return Made(self.key_file, self.chain_file, self.key, b"".join(one.chain for one in (self, *issuers)))


class OpenSsl:
    """Works in a folder of its own."""

    def __init__(self, folder):
        self._folder = folder
        self._made = 0

    def own(self, *extensions, subject="/CN=localhost", key="ec:P-256", digest="sha256", serial=None):
        """openssl req -x509: a CA's, unless an extension says otherwise."""
        options = [option for extension in extensions for option in ("-addext", extension)]
        if serial is not None:
            options += ["-set_serial", serial]
        secret, certificate = self._key(key)
        run = ("req", "-x509", "-new", "-key", secret, "-subj", subject, f"-{digest}", "-days", "30", *options)
        self._run(*run, "-out", certificate)
        return self._read(secret, certificate)

    def issue(self, issuer, *extensions, subject="/CN=localhost", key="ec:P-256", digest="sha256"):
        """openssl req -new, then openssl x509 -req: of version 1, unless there are extensions."""
        secret, certificate = self._key(key)
        self._run("req", "-new", "-key", secret, "-subj", subject, "-out", "request.pem")
        (self._folder / "extensions").write_text("\n".join(extensions) + "\n")
        options = ("-extfile", "extensions") if extensions else ()
        by = ("-CA", issuer.chain_file, "-CAkey", issuer.key_file, "-set_serial", str(self._made))
        run = ("x509", "-req", "-in", "request.pem", *by, f"-{digest}", "-days", "30", *options)
        self._run(*run, "-out", certificate)
        return self._read(secret, certificate)

    def _key(self, kind):
        self._made += 1
        secret, certificate = f"{self._made}.key", f"{self._made}.pem"
        algorithm, _, what = kind.partition(":")
        options = {"ec": ("-pkeyopt", f"ec_paramgen_curve:{what}"), "rsa": ("-pkeyopt", f"rsa_keygen_bits:{what}")}
        self._run("genpkey", "-algorithm", algorithm, *options.get(algorithm, ()), "-out", secret)
        return secret, certificate

    def _read(self, secret, certificate):
        folder = self._folder
        return Made(secret, certificate, (folder / secret).read_bytes(), (folder / certificate).read_bytes())

    def _run(self, *arguments):
        done = subprocess.run(["openssl", *arguments], cwd=self._folder, capture_output=True, check=False)
        assert done.returncode == 0, (arguments, done.stderr.decode())
