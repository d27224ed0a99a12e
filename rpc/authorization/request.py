"""One request as the filters of a chain see it, in Envoy's words. What nobody reads is never made."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rpc._native import TlsInfo
    from rpc.authorization.decision import Head


class Request:
    """Of a `Head`, which is a call of the engine's.

    Filters share it, in the order of the chain: what an earlier one changes (`replace`) or finds out (`metadata`) is
    what later ones see, and the handler after them. One thread at a time reads it, and until the call is decided.
    """

    __slots__ = ("head",)

    def __init__(self, head: Head) -> None:
        self.head = head

    @property
    def path(self) -> str:
        """``:path`` as the connection manager has normalised it, with its query."""
        return self.head.path

    @property
    def method(self) -> str:
        return self.text(":method")

    @property
    def scheme(self) -> str:
        return self.text(":scheme")

    @property
    def authority(self) -> str:
        """``:authority``, which is ``Host``, too."""
        return self.text(":authority")

    def values(self, name: str) -> list[bytes]:
        """Each value of a header apart; empty: it is not there. ``:method`` and its like are headers, too."""
        return self.head.values(name)

    def text(self, name: str) -> str:
        """The first value of a header, each byte a character; empty, too, where there is none."""
        values = self.head.values(name)
        return values[0].decode("latin-1") if values else ""

    def replace(self, name: str, values: Iterable[str | bytes]) -> None:
        """From now on a header holds these: for later filters, and in the handler's invocation metadata."""
        self.head.replace(name, [value.encode("latin-1") if isinstance(value, str) else value for value in values])

    def fields(self) -> list[tuple[str, bytes]]:
        """Each field as it came, ``:method`` and its like first."""
        return self.head.fields()

    def change_answer(self, action: str, name: str, value: str | bytes) -> bool:
        """Changes the head of the answer, whoever gives it, by an action of `xds_client.model.HeaderToAdd` or REMOVE.
        False: this header is nobody's to change, or the value no header's.
        """
        return self.head.change_answer(action, name, value.encode() if isinstance(value, str) else value)

    def remove(self, name: str) -> None:
        self.head.replace(name, [])

    @property
    def metadata(self) -> dict[str, object]:
        """Envoy's dynamic metadata: what filters found out, by the filter's name, as JSON's values.

        RBAC matches it (``metadata``); `rpc` hands it to handlers. A JWT filter puts its claims under
        ``envoy.filters.http.jwt_authn``.
        """
        return self.head.dynamic_metadata

    @property
    def peer(self) -> str:
        """The caller's address, as grpcio writes it (``ipv4:127.0.0.1:1234``)."""
        return self.head.peer

    @property
    def local(self) -> str:
        """The address that it came to, written alike."""
        return self.head.local

    @property
    def server_name(self) -> str:
        """What the client's TLS asked for; empty: nothing."""
        return self.head.server_name

    def tls_info(self) -> TlsInfo | None:
        """None: plaintext."""
        return self.head.tls_info()
