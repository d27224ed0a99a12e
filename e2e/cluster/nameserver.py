"""What CoreDNS tells of headless Services: the addresses of their ready pods, and of those that have a name each alone.

python -m e2e.cluster.nameserver --kubeconfig FILE --listen ADDRESS [--domain cluster.local]

One thread follows the EndpointSlices, the main one answers over UDP (RFC 1035). SIGTERM ends the program.
"""

from __future__ import annotations

import argparse
import ipaddress
import logging
import socket
import struct
import threading
import time
from typing import Any

from e2e.cluster.api import Api

logger = logging.getLogger(__name__)

DOMAIN = "cluster.local"
_PORT = 53
_HEADLESS = "service.kubernetes.io/headless"  # of the EndpointSlice controller's own
_TTL = 5  # seconds, as of CoreDNS' kubernetes plugin
_A, _AAAA, _IN = 1, 28, 1
_ANSWER, _UNKNOWN = 0x8580, 0x8583  # authoritative, recursion available; the second: NXDOMAIN
_POINTER = 0xC00C  # to the name of the question
_HEADER = struct.Struct("!6H")
_MOST = 4096  # of a request


class Names:
    """By name, the addresses of ready pods. `apply` and `addresses` may be called by different threads."""

    def __init__(self, domain: str = DOMAIN) -> None:
        self._domain = domain
        self._slices: dict[str, dict[str, set[str]]] = {}  # by uid

    def apply(self, kind: str, endpoints: dict[str, Any]) -> None:
        """One event of a watch on EndpointSlices."""
        meta = endpoints["metadata"]
        slices = {uid: names for uid, names in self._slices.items() if uid != meta["uid"]}
        if kind != "DELETED" and _HEADLESS in meta.get("labels", {}):
            slices[meta["uid"]] = self._of(endpoints)
        self._slices = slices

    def begin_anew(self) -> None:
        """Of a watch: it tells all that there is now."""
        self._slices = {}

    def addresses(self, name: str) -> set[str] | None:
        """None: there is no such name."""
        found = [names[name] for names in self._slices.values() if name in names]
        return set().union(*found) if found else None

    def _of(self, endpoints: dict[str, Any]) -> dict[str, set[str]]:
        meta = endpoints["metadata"]
        service = f"{meta['labels']['kubernetes.io/service-name']}.{meta['namespace']}.svc.{self._domain}"
        names: dict[str, set[str]] = {}
        for one in endpoints.get("endpoints") or ():
            if one.get("conditions", {}).get("ready") is False:
                continue
            for name in (service, f"{one['hostname']}.{service}" if one.get("hostname") else service):
                names.setdefault(name, set()).update(one["addresses"])
        return names


def answer(request: bytes, names: Names) -> bytes | None:
    """To one question; None: it is none."""
    try:
        number, _, questions, *_ = _HEADER.unpack_from(request)
        name, end = _name(request, _HEADER.size)
        kind, of = struct.unpack_from("!2H", request, end)
    except (struct.error, IndexError, UnicodeDecodeError):
        return None
    if questions != 1 or of != _IN:
        return None
    question = request[_HEADER.size : end + 4]
    addresses = names.addresses(name.lower())
    if addresses is None:
        return _HEADER.pack(number, _UNKNOWN, 1, 0, 0, 0) + question
    asked = {_A: 4, _AAAA: 6}.get(kind)
    found = [one for one in map(ipaddress.ip_address, sorted(addresses)) if one.version == asked]
    records = [struct.pack("!3HIH", _POINTER, kind, _IN, _TTL, len(one.packed)) + one.packed for one in found]
    return _HEADER.pack(number, _ANSWER, 1, len(records), 0, 0) + question + b"".join(records)


def _name(request: bytes, place: int) -> tuple[str, int]:
    labels = []
    while length := request[place]:
        labels.append(request[place + 1 : place + 1 + length].decode("ascii"))
        place += 1 + length
    return ".".join(labels), place + 1


def follow(api: Api, names: Names) -> None:
    while True:
        names.begin_anew()
        try:
            for kind, endpoints in api.events("/apis/discovery.k8s.io/v1/endpointslices"):
                names.apply(kind, endpoints)
        except Exception:
            logger.exception("the watch on EndpointSlices broke; it is begun anew")
            time.sleep(1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kubeconfig", required=True)
    parser.add_argument("--listen", required=True, metavar="ADDRESS")
    parser.add_argument("--domain", default=DOMAIN)
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    names = Names(given.domain)
    threading.Thread(target=follow, args=(Api.load(given.kubeconfig), names), daemon=True).start()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        asked.bind((given.listen, _PORT))
        print("ready", flush=True)
        while True:
            request, who = asked.recvfrom(_MOST)
            said = answer(request, names)
            if said is not None:
                asked.sendto(said, who)


if __name__ == "__main__":
    main()
