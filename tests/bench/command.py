"""The bench's command line, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys


def run(*arguments, path=os.environ["PATH"], timeout=50):
    command = [sys.executable, "-m", "bench", "rpc", *arguments]
    environment = {**os.environ, "PATH": path}
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False, env=environment)
