"""Reading settings, and saying where a bad one came from. Knows names and forms, not meanings."""

from __future__ import annotations

import logging
import tomllib
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from xds_client.errors import BootstrapError
from xds_client.model import Labels, Locality
from xds_client.reading import read_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

logger = logging.getLogger(f"proxyless.{__name__}")

CONFIG_VARIABLE = "PROXYLESS_CONFIG"
PREFIX = "PROXYLESS_"

# Every key of the file, and with the prefix, in capitals, every variable of ours.
KEYS = frozenset(
    {
        "ca_address",
        "certificate_path",
        "certificate_ttl",
        "cluster_id",
        "discovery_address",
        "domain",
        "extra_roots_path",
        "identity",
        "ip",
        "istio_version",
        "labels",
        "locality",
        "namespace",
        "network",
        "node_name",
        "pod_name",
        "private_key_path",
        "root_certificate_path",
        "security",
        "server_name",
        "service_account",
        "token_path",
        "trust_domain",
        "trust_domain_aliases",
        "workload_api_address",
    }
)

_LOCALITY_PARTS = 3
_PORT_DIGITS, _MAX_PORT = 5, 65535
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class Settings:
    """The environment and our file, asked key by key."""

    environ: Mapping[str, str]
    file: Mapping[str, object]
    path: str

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> Settings:
        for said in unknown_variables(environ):
            logger.warning("%s", said)
        path = environ.get(CONFIG_VARIABLE, "")
        return cls(environ, _read_toml(path) if path else {}, path)

    def text(self, key: str, *pod_variables: str) -> str:
        """The setting, or the first of the pod's variables that is set, or the empty string."""
        text = self._text(key, *pod_variables)
        self._require_plain(text, self.source(key, *pod_variables), key)
        return text

    def _text(self, key: str, *pod_variables: str) -> str:
        variable = PREFIX + key.upper()
        if self.environ.get(variable):
            return self.environ[variable]
        if key in self.file:
            value = self.file[key]
            if not isinstance(value, str):
                raise BootstrapError(self.path, key, f"{value!r} is not a string")
            return value
        return next((self.environ[name] for name in pod_variables if self.environ.get(name)), "")

    def _require_plain(self, text: str, source: str, key: str) -> None:
        """No path, name or address has control characters, and what is no UTF-8 cannot be sent."""
        if any(c < " " or c == "\x7f" or "\ud800" <= c <= "\udfff" for c in text):
            raise BootstrapError(source, key, f"{text[:80]!r} has control characters, or is no UTF-8")

    def source(self, key: str, *pod_variables: str) -> str:
        """Where `text` found the key, for messages."""
        variable = PREFIX + key.upper()
        if self.environ.get(variable):
            return variable
        if key in self.file:
            return self.path
        return next((name for name in pod_variables if self.environ.get(name)), variable)

    def address(self, key: str, *pod_variables: str) -> str:
        """``host:port``, or the empty string."""
        text = self.text(key, *pod_variables)
        host, _, port = text.rpartition(":")
        if text and not (host and port.isascii() and port.isdigit() and len(port) <= _PORT_DIGITS):
            raise BootstrapError(self.source(key, *pod_variables), key, f"{text!r} is not host:port")
        if text and not 0 < int(port) <= _MAX_PORT:
            raise BootstrapError(self.source(key, *pod_variables), key, f"{text!r} is not host:port")
        return text

    def seconds(self, key: str, *pod_variables: str) -> float | None:
        """A duration as Go writes simple ones: ``90s``, ``30m``, ``24h``."""
        text = self.text(key, *pod_variables)
        if not text:
            return None
        unit = _UNITS.get(text[-1])
        try:
            length = float(text[:-1]) * unit if unit else 0.0
        except ValueError:
            length = 0.0
        if not 0 < length < float("inf"):
            raise BootstrapError(
                self.source(key, *pod_variables), key, f"{text!r} is not a duration such as 90s or 24h"
            )
        return length

    def labels(self) -> Labels:
        """``PROXYLESS_LABELS=app=shop,version=v1``, or a table ``[labels]`` in the file."""
        variable = PREFIX + "LABELS"
        if text := self.environ.get(variable):
            self._require_plain(text, variable, "labels")
            pairs = [pair.partition("=") for pair in text.split(",")]
            if any(not equals or not key.strip() for key, equals, _ in pairs):
                raise BootstrapError(variable, "labels", f"{text!r} is not key=value,key=value")
            return tuple(sorted((key.strip(), value.strip()) for key, _, value in pairs))
        table = self.file.get("labels", {})
        if not isinstance(table, dict) or not all(isinstance(value, str) for value in table.values()):
            raise BootstrapError(self.path, "labels", "is not a table of strings")
        return tuple(sorted(table.items()))

    def locality(self) -> Locality:
        """``region``, ``region/zone`` or ``region/zone/sub_zone``."""
        text = self.text("locality")
        parts = text.split("/") if text else []
        if len(parts) > _LOCALITY_PARTS:
            raise BootstrapError(self.source("locality"), "locality", f"{text!r} is not region/zone/sub_zone")
        return Locality(*parts)


def unknown_variables(environ: Mapping[str, str]) -> Iterator[str]:
    """Of each variable that looks like one of ours and is none, a sentence."""
    known = {CONFIG_VARIABLE, *(PREFIX + key.upper() for key in KEYS)}
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in known and not _is_of_a_service(name):
            yield f"{name} is no setting and does nothing{_nearest(name, known)}"


def _is_of_a_service(variable: str) -> bool:
    """What Kubernetes tells each pod of a Service, for example one that is named proxyless."""
    return variable.endswith(("_SERVICE_HOST", "_PORT")) or "_SERVICE_PORT" in variable or "_PORT_" in variable


def _nearest(name: str, known: Iterable[str]) -> str:
    found = get_close_matches(name, known, n=1)
    return f": did you mean {found[0]}?" if found else ""


class PodFiles:
    """What Kubernetes mounts. An absent file says nothing; one that cannot be read is an error."""

    def __init__(self, root: Path) -> None:
        self._namespace = root / "var/run/secrets/kubernetes.io/serviceaccount/namespace"
        self._labels = root / "etc/istio/pod/labels"
        self._root = root

    def namespace(self) -> str:
        return _read(self._namespace, "namespace").strip()

    def has(self, path: str) -> bool:
        """Whether something is mounted there, readable or not; a link to nowhere is something."""
        try:
            (self._root / path.lstrip("/")).lstat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:  # it is there for somebody: who uses it says why it is not for us
            return True
        return True

    def labels(self) -> Labels:
        """The downward API's form: a line ``key="value"`` each, the value quoted as Go does."""
        pairs = []
        for number, line in enumerate(_read(self._labels, "labels").splitlines(), 1):
            key, equals, value = line.strip().partition("=")
            if not equals:
                raise BootstrapError(str(self._labels), f"labels, line {number}", f"{line!r} is not key=value")
            pairs.append((key, value.removeprefix('"').removesuffix('"')))  # label values need no escapes
        return tuple(sorted(pairs))


def _read(path: Path, field: str) -> str:
    try:
        return read_file(path).decode()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise BootstrapError(str(path), field, f"cannot be read: {error}") from error


def _read_toml(path: str) -> Mapping[str, object]:
    try:
        settings = tomllib.loads(read_file(path).decode())
    except OSError as error:
        raise BootstrapError(path, CONFIG_VARIABLE, f"cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # numbers of 5,000 digits and deep nesting are no TOMLDecodeError
        raise BootstrapError(path, CONFIG_VARIABLE, f"is not TOML: {error}") from error
    for key in settings:
        if key not in KEYS:
            reason = f"is not a setting{_nearest(key, KEYS)}; known are {', '.join(sorted(KEYS))}"
            raise BootstrapError(path, key, reason)
    return settings
