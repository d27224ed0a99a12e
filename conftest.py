"""What all runs of pytest share: how often a test may be run again, and where the time went.

CI runs a test that failed once more (``--reruns 1`` in .ci/run): one stall of a shared machine is not a verdict.
Nothing is hidden: each such test is named in the summary (R), and more than a few fail the run all the same.
"""

from __future__ import annotations

import collections
import signal
from pathlib import Path

import pytest

UNSTEADY_MOST = 5

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell's background job: every program that a test interrupts would inherit the deafness.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seconds-of-files", type=Path, metavar="FILE", help="append how long each test file took")


def _seconds_of_files(terminalreporter: pytest.TerminalReporter) -> dict[str, float]:
    """Of each test file: set-up, tests and tear-down, whichever worker ran them."""
    seconds: dict[str, float] = collections.defaultdict(float)
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                seconds[report.nodeid.partition("::")[0]] += report.duration
    return seconds


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    one_of_several_workers = hasattr(config, "workerinput")  # who gathers their reports knows of all files
    if (file := config.getoption("seconds_of_files")) and not one_of_several_workers:
        of_mesh = f" --mesh={config.getoption('mesh')}" if config.getoption("mesh", None) else ""
        with file.open("a") as appended:
            for name, seconds in _seconds_of_files(terminalreporter).items():
                appended.write(f"{seconds:8.1f}  {name}{of_mesh}\n")
    unsteady = terminalreporter.getreports("rerun")
    if len(unsteady) > UNSTEADY_MOST:
        terminalreporter.write_line(f"{len(unsteady)} tests had to be run again: more than {UNSTEADY_MOST}", red=True)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter: pytest.TerminalReporter | None = session.config.pluginmanager.getplugin("terminalreporter")
    if reporter is None:
        return  # one of several workers: the one that gathers their reports judges
    if session.exitstatus == pytest.ExitCode.OK and len(reporter.getreports("rerun")) > UNSTEADY_MOST:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
