"""An issuer's key server, over TLS: what it answers is said by the test, and may change while it runs."""

from __future__ import annotations

import http.server
import ssl
import threading


class KeyServer:
    """``answer``: called with a request's handler for each that comes; `asked` counts them by path."""

    def __init__(self, folder, leaf):
        self.answer = lambda handler: send(handler, b"")
        self.asked = []
        self._came = threading.Condition()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                with outer._came:
                    outer.asked.append(self.path)
                    outer._came.notify_all()
                outer.answer(self)

            def log_message(self, *_):
                """Tests have enough to say."""

        (folder / "server.pem").write_bytes(leaf.key + leaf.chain)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "server.pem")
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def says(self, text, status=200, **headers):
        """From now on."""
        self.answer = lambda handler: send(handler, text.encode(), status, headers)

    def await_requests(self, number):
        """Until so many more have come."""
        with self._came:
            wanted = len(self.asked) + number
            assert self._came.wait_for(lambda: len(self.asked) >= wanted, 30)

    def close(self):
        self._server.shutdown()
        self._server.server_close()


def send(handler, body, status=200, headers=None):
    handler.send_response(status)
    for name, value in (headers or {}).items():
        handler.send_header(name, value)
    if not headers or "Content-Length" not in headers:
        handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)
