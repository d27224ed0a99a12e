"""The folder of Istio YAML that is served: a copy of mesh/, changed as `kubectl apply` would change a cluster."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

HERE = Path(__file__).resolve().parent
YAML = HERE / "mesh"
CHANGES = HERE / "changes"
PORT = 19080
_NO_KEYS = '{"keys":[]}'  # in the YAML, where an issuer's are to be
_NETWORK = "127.77.0."  # where the YAML says that providers are


class MeshFolder:
    """Every run has loopback addresses of its own, so that two demos do not meet."""

    def __init__(self, folder: Path) -> None:
        self.path = folder
        self._network = f"127.{random.randrange(78, 250)}.{random.randrange(1, 250)}."
        shutil.copytree(YAML, folder)
        services = folder / "reviews.yaml"
        services.write_text(services.read_text().replace(_NETWORK, self._network))

    def address(self, number: int) -> str:
        """Where the provider listens that the YAML places at ``127.77.0.number``."""
        return f"{self._network}{number}:{PORT}"

    def apply(self, change: str) -> None:
        """Overwrite routing.yaml with one of `CHANGES`, in one step: whole or not at all."""
        draft = self.path / "routing.draft"
        shutil.copyfile(CHANGES / change, draft)
        draft.replace(self.path / "routing.yaml")

    def add(self, change: str, jwks: object = None) -> None:
        """The same, beside what is there; ``jwks`` are the public keys that a rule for tokens is to have."""
        draft = self.path / "added.draft"
        draft.write_text((CHANGES / change).read_text().replace(_NO_KEYS, json.dumps(jwks)))
        draft.replace(self.path / change)
