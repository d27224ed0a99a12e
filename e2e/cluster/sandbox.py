"""One container as a process: namespaces of its own, a root file system that is the image, its user, its volumes.

The "image" is this checkout and this Python, read-only, where the Dockerfile puts them. Linux only.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from e2e.child import ROOT

if TYPE_CHECKING:
    from e2e.cluster.network import PodNetwork

WORKDIR = "/app"  # the Dockerfile's
_PACKAGES = (
    "proxyless_native",
    "rpc",
    "xds_client",
    "localmesh",
    "proxyless",
    "examples",
)  # what the image has of this checkout
_ETC = (
    "ssl",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "nsswitch.conf",
    "alternatives",
    "localtime",
    "ca-certificates",
)


@dataclass(frozen=True, slots=True)
class Mount:
    source: Path
    path: str
    read_only: bool


class Container:
    """Started once; a restart is a new one. `poll` is its exit code, negative for a signal, None while it runs."""

    def __init__(
        self,
        pod: dict[str, Any],
        spec: dict[str, Any],
        network: PodNetwork,
        *,
        environment: dict[str, str],
        mounts: list[Mount],
        folder: Path,
    ) -> None:
        self.user = user_of(pod, spec)
        command = [*spec.get("command", []), *spec.get("args", [])]
        if not command:
            raise ValueError(f"container {spec['name']} has no command: e2e/cluster runs no image's own entry point")
        script = folder / f"{spec['name']}.sh"
        script.write_text(_script(folder / "root", pod, spec, mounts, self.user, command))
        environment = {
            "PATH": f"{ROOT}/.venv/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "PYTHONPATH": WORKDIR,
            "HOME": "/tmp",
            **environment,
        }
        environment.setdefault("HOSTNAME", pod["metadata"]["name"])
        guard = ["setpriv", "--pdeathsig", "KILL"]
        isolate = ["unshare", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child=KILL"]
        with (folder / f"{spec['name']}.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*guard, *network.enter(), *isolate, "sh", "-eu", str(script)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                cwd="/",
                pass_fds=[network.namespace],
            )

    def poll(self) -> int | None:
        return self._process.poll()

    def terminate(self) -> None:
        """SIGTERM to the container's process number 1."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL; returns when the kernel has closed all that it held."""
        if self.poll() is not None:
            return
        first = self._first()
        for pid in (first, self._process.pid) if first is not None else (self._process.pid,):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)  # number 1 takes its namespace with it
        self._process.wait()

    def wait(self, seconds: float) -> bool:
        """Whether it has ended within so many seconds."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
            return True
        return False

    def run(self, command: list[str], timeout: float) -> int:
        """Run another program inside, as `kubectl exec` and exec probes do; its exit code."""
        first = self._first()
        if first is None:
            return 137
        enter = ["nsenter", f"--target={first}", "--mount", "--pid", "--uts", "--ipc", "--net", "--root", "--wd"]
        return subprocess.run(
            [*enter, *_as_user(self.user), *command], timeout=timeout, check=False, stdin=subprocess.DEVNULL
        ).returncode

    def _signal(self, number: int) -> None:
        # The script becomes the container's own program by exec; a signal before that would be lost on number 1.
        for _ in range(500):
            first = self._first()
            if self.poll() is not None:
                return
            if first is not None and Path(f"/proc/{first}/root").readlink() != Path("/"):
                with suppress(ProcessLookupError):
                    os.kill(first, number)
                return
            time.sleep(0.01)

    def _first(self) -> int | None:
        """The process number 1 of the container, by its number here."""
        with suppress(OSError, IndexError, ValueError):
            pid = self._process.pid
            return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
        return None


def user_of(pod: dict[str, Any], container: dict[str, Any]) -> int:
    """Its runAsUser. In a user namespace that has only root (`unshare --map-root-user`), root."""
    contexts = [container.get("securityContext", {}), pod["spec"].get("securityContext", {})]
    user = next((int(one["runAsUser"]) for one in contexts if "runAsUser" in one), 0)
    first, _, count = Path("/proc/self/uid_map").read_text().split()[:3]
    return user if int(first) <= user < int(first) + int(count) else 0


def _script(
    root: Path, pod: dict[str, Any], spec: dict[str, Any], mounts: list[Mount], user: int, command: list[str]
) -> str:
    """Build the root file system in a mount namespace, step into it, become the user, become the program."""
    lines = [
        f"hostname {shlex.quote(pod['metadata']['name'])}",
        "mount --make-rprivate /",
        f"mkdir -p {root}",
        f"mount -t tmpfs -o mode=755 image {root}",
    ]
    for path in dict.fromkeys(["/usr", sys.base_prefix, f"{ROOT}/.venv"]):
        lines += _bind(Path(path), f"{root}{path}", read_only=True)
    for name in _PACKAGES:
        lines += _bind(ROOT / name, f"{root}{WORKDIR}/{name}", read_only=True)
    lines += [
        f"ln -s usr/{name} {root}/{name}" for name in ("bin", "sbin", "lib", "lib64") if Path(f"/{name}").is_symlink()
    ]
    lines += [
        f"mkdir -p {root}/proc {root}/dev {root}/etc {root}/tmp {root}/run",
        f"mkdir -p {root}/var; ln -s ../run {root}/var/run",
    ]
    lines += [f"mount -t proc proc {root}/proc", f"mount --rbind /dev {root}/dev"]
    lines += [f"[ ! -e /etc/{name} ] || cp -rL /etc/{name} {root}/etc/" for name in _ETC]
    lines += [f"echo 'app:x:{user}:{user}::/tmp:/bin/false' > {root}/etc/passwd"]
    lines += [
        f"cp {root.parent}/hosts {root.parent}/resolv.conf {root}/etc/",
        f"echo {shlex.quote(pod['metadata']['name'])} > {root}/etc/hostname",
    ]
    for mount in mounts:
        lines += _bind(mount.source, f"{root}{mount.path}", read_only=mount.read_only)
    if spec.get("securityContext", {}).get("readOnlyRootFilesystem"):
        lines.append(f"mount -o remount,ro {root}")
    inside = [
        "chroot",
        str(root),
        "/usr/bin/env",
        f"--chdir={spec.get('workingDir', WORKDIR)}",
        *_as_user(user),
        *command,
    ]
    lines.append(f"exec {shlex.join(inside)}")
    return "\n".join(lines) + "\n"


def _bind(source: Path, target: str, *, read_only: bool) -> list[str]:
    make = f"mkdir -p {shlex.quote(target)}"
    if source.is_file():
        make = f"mkdir -p {shlex.quote(str(Path(target).parent))}; touch {shlex.quote(target)}"
    lines = [make, f"mount --bind {shlex.quote(str(source))} {shlex.quote(target)}"]
    if read_only:
        lines.append(f"mount -o remount,ro,bind {shlex.quote(target)}")
    return lines


def _as_user(user: int) -> list[str]:
    """No capabilities, and no life after its parent's: the kernel forgets that wish when the user changes."""
    become = [f"--reuid={user}", f"--regid={user}", "--clear-groups"] if user else []
    drop = ["--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"]
    return ["setpriv", *become, *drop, "--pdeathsig", "KILL"]
