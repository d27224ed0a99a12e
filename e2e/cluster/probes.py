"""A container's probes, run as the kubelet runs them: from the node, against the pod's address."""

from __future__ import annotations

import http.client
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable


class Probe:
    """One of startup, readiness, liveness. `due` runs it when its period is over; `holds` is its verdict."""

    def __init__(self, spec: dict[str, Any], address: str, ports: dict[str, int], run: Callable[..., int]) -> None:
        self._spec = spec
        self._address = address
        self._ports = ports
        self._run = run
        self._successes = self._failures = 0
        self._next = time.monotonic() + spec.get("initialDelaySeconds", 0)
        self.succeeded = False  # successThreshold times in a row, and not failed since
        self.failed = False  # failureThreshold times in a row
        self.reason = "not probed yet"

    def due(self) -> None:
        if time.monotonic() < self._next:
            return
        timeout = self._spec.get("timeoutSeconds", 1)
        try:
            self._ask(timeout)
        except (OSError, grpc.RpcError, subprocess.SubprocessError, http.client.HTTPException, ProbeError) as error:
            self._failures, self._successes = self._failures + 1, 0
            self.reason = f"{type(error).__name__}: {error}"
        else:
            self._failures, self._successes = 0, self._successes + 1
            self.reason = ""
        if self._failures >= self._spec.get("failureThreshold", 3):
            self.succeeded, self.failed = False, True
        if self._successes >= self._spec.get("successThreshold", 1):
            self.succeeded, self.failed = True, False
        self._next = time.monotonic() + self._spec.get("periodSeconds", 10)

    def _ask(self, timeout: float) -> None:
        spec = self._spec
        if "httpGet" in spec:
            self._http(spec["httpGet"], timeout)
        elif "tcpSocket" in spec:
            socket.create_connection((self._address, self._port(spec["tcpSocket"])), timeout).close()
        elif "grpc" in spec:
            self._grpc(spec["grpc"], timeout)
        else:
            code = self._run(spec["exec"]["command"], timeout)
            if code:
                raise ProbeError(f"{spec['exec']['command']} ended with {code}")

    def _http(self, asked: dict[str, Any], timeout: float) -> None:
        connection = http.client.HTTPConnection(self._address, self._port(asked), timeout=timeout)
        try:
            connection.request("GET", asked.get("path", "/"), headers={"User-Agent": "kube-probe/1.36"})
            answer = connection.getresponse()
            body = answer.read(1024).decode(errors="replace")
        finally:
            connection.close()
        if not 200 <= answer.status < 400:
            raise ProbeError(f"{asked.get('path', '/')} answered {answer.status}: {body}")

    def _grpc(self, asked: dict[str, Any], timeout: float) -> None:
        with grpc.insecure_channel(f"{self._address}:{self._port(asked)}") as channel:
            request = health_pb2.HealthCheckRequest(service=asked.get("service") or "")
            answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=timeout)
        if answer.status != health_pb2.HealthCheckResponse.SERVING:
            raise ProbeError(f"service {asked.get('service') or '(the server)'} is {answer.status}")

    def _port(self, asked: dict[str, Any]) -> int:
        port = asked["port"]
        return self._ports[port] if isinstance(port, str) else int(port)


class ProbeError(Exception):
    """It was answered, and the answer is no."""
