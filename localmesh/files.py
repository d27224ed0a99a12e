"""Files as strangers may leave them: read and written so that whatever goes wrong is one sentence with the next step.

Nothing here waits (a FIFO does not either) and nothing is read without end. Any thread.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
import tempfile
from pathlib import Path

from localmesh.errors import LocalMeshError

_NEXT_STEPS = {
    errno.EACCES: "run it as the owner, or give it the permission",
    errno.EPERM: "run it as the owner, or give it the permission",
    errno.EROFS: "choose a folder that can be written to",
    errno.ENOSPC: "free some space there, or choose another folder",
    errno.EDQUOT: "free some space there, or choose another folder",
    errno.EFBIG: "raise the limit (ulimit -f), or choose another folder",
    errno.ENOENT: "make it, or name another",
    errno.ENOTDIR: "a part of this path is a file: name a folder",
    errno.EEXIST: "a part of this path is a file: name a folder",
    errno.EISDIR: "it is a folder: name a file",
    errno.ELOOP: "symbolic links lead in a circle: remove one of them",
    errno.ENAMETOOLONG: "choose a shorter path",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "close files of other processes on this machine",
}
_KINDS = ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a FIFO"), (stat.S_ISSOCK, "a socket"))


class FileError(LocalMeshError):
    """``reason`` has what is wrong and what to do about it, without the path."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} {reason}")
        self.reason = reason


def advice(error: OSError) -> str:
    """The system's words for what is wrong, and what to do about it."""
    said = (error.strerror or str(error)).lower()
    step = _NEXT_STEPS.get(error.errno or 0)
    return f"{said}: {step}" if step else said


def read_file(path: Path, limit: int) -> bytes:
    """All of a regular file.

    Raises FileNotFoundError where nothing is, and `FileError` for what is no file or has more than ``limit`` bytes.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            mode = os.fstat(descriptor).st_mode
            if not stat.S_ISREG(mode):
                what = next((name for is_one, name in _KINDS if is_one(mode)), "a device")
                raise FileError(path, f"is {what}, not a regular file: remove it, or give it another name")
            content = file.read(limit + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise FileError(path, f"cannot be read: {advice(error)}") from error
    if len(content) > limit:
        raise FileError(path, f"is larger than {limit >> 20 or limit} {'MiB' if limit >> 20 else 'bytes'}: split it")
    return content


def write_private(path: Path, content: bytes) -> None:
    """Whole or not at all, for the owner's eyes only; raises `FileError`."""
    draft = None
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, draft = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(draft).replace(path)
    except BaseException as error:
        if draft is not None:
            Path(draft).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise FileError(path, f"cannot be written: {advice(error)}") from error
        raise


def write_private_once(path: Path, content: bytes) -> bool:
    """The same, but never over what is there: whoever is second must read it. Whether it was written."""
    draft = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    write_private(draft, content)
    try:
        path.hardlink_to(draft)
    except FileExistsError:
        return False
    except OSError as error:
        raise FileError(path, f"cannot be written: {advice(error)}") from error
    finally:
        draft.unlink()
    return True
