"""A request's head without any connection, for what decides about one."""

from __future__ import annotations


class FakeHead:
    """`rpc.authorization.decision.Head`, by hand."""

    def __init__(self, path="/demo.Greeter/SayHello", headers=(), method="POST"):
        self.headers = [(":method", method.encode()), (":path", path.encode())]
        self.headers += [(name, value if isinstance(value, bytes) else value.encode()) for name, value in headers]
        self.peer = "ipv4:127.0.0.1:1234"
        self.local = "ipv4:127.0.0.1:80"
        self.server_name = ""
        self.dynamic_metadata = {}
        self.answer_changes = []

    @property
    def path(self):
        return self.values(":path")[0].decode("latin-1")

    def values(self, name):
        return [value for found, value in self.headers if found == name]

    def replace(self, name, values):
        self.headers = [(found, value) for found, value in self.headers if found != name]
        self.headers += [(name, value) for value in values]

    def fields(self):
        return list(self.headers)

    def change_answer(self, action, name, value):
        self.answer_changes.append((action, name, value))
        return True

    def metadata(self):
        return None

    def tls_info(self):
        return None
