"""CI runs a test that failed once more (``--reruns 1`` in .ci/run): one stall of a shared machine is not a verdict.

Nothing is hidden: each such test is named in the summary (R), and more than a few fail the run all the same.
"""

from __future__ import annotations

import signal

import pytest

UNSTEADY_MOST = 5

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell's background job: every program that a test interrupts would inherit the deafness.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
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
