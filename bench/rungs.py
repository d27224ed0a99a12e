"""Measures what `bench.layers` accounts for."""

from __future__ import annotations

import re
import subprocess
from contextlib import ExitStack
from typing import TYPE_CHECKING

from bench import crossings
from bench.layers import Account, Cost, Once, Rung, Shape, derive
from bench.peers import BuildError
from bench.processes import ROOT, Pair
from bench.rows import Row, p50, rate
from bench.sampling import Sampler

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bench.measured import Sample, Usage
    from bench.processes import Cores
    from bench.rounds import Plan

CORE_LINE = re.compile(r"(\d+) ns  a unary call, (one at a time|64 together)")
_SAMPLED_SECONDS = 2.0


def once(say: Callable[[str], None]) -> Once:
    """Raises `bench.peers.BuildError`."""
    say("building and running the core by itself: native/core/examples/calls.rs (a minute the first time)")
    command = ["cargo", "run", "--quiet", "--locked", "--release", "--package", "proxyless-core", "--example", "calls"]
    command += ["--target-dir", str(ROOT / ".build" / "core")]
    ran = subprocess.run(command, cwd=ROOT / "native", stdout=subprocess.PIPE, text=True, check=False)
    found = {together: int(nanoseconds) / 1000 for nanoseconds, together in CORE_LINE.findall(ran.stdout)}
    if ran.returncode != 0 or len(found) != 2:
        raise BuildError(f"native/core/examples/calls.rs said not what it should: {ran.stdout}")
    alone, together = found["one at a time"], found["64 together"]
    return Once({1: alone, 16: together, 64: together}, crossings.cost() * 1e6)


def account(shape: Shape, apart: Once, plan: Plan, cores: Cores, folder: Path, say: Callable[[str], None]) -> Account:
    """Raises `bench.processes.WorkerError`. ``folder`` is for what perf writes."""
    rungs = _rungs(shape, plan, cores, say)
    counted = {rung: _crossings(shape, rung, cores, plan) for rung in ("engine", "ours")}
    lines = derive(shape, rungs, counted, apart)
    return Account(shape, rungs, counted["ours"], lines, _samples(shape, plan, cores, folder))


def _pair(shape: Shape, rung: str, cores: Cores, *arguments: str) -> Pair:
    row = Row(shape.name, "calls/s", rate, shape.mode, concurrency=shape.concurrency)
    return Pair(row, rung, rung, cores, *arguments)


def _rungs(shape: Shape, plan: Plan, cores: Cores, say: Callable[[str], None]) -> dict[str, Rung]:
    samples: dict[str, list[Sample]] = {rung: [] for rung in shape.rungs}
    with ExitStack() as opened:
        pairs = {rung: opened.enter_context(_pair(shape, rung, cores)) for rung in shape.rungs}
        for pair in pairs.values():
            pair.connect()
        for pair in pairs.values():
            pair.run(plan.warm_up)
        for number in range(1, plan.rounds + 1):
            turns = list(pairs.items())
            for rung, pair in turns if number % 2 else reversed(turns):
                samples[rung].append(pair.run(plan.seconds))
            said = ", ".join(f"{rung} {rate(kept[-1]):,.0f}" for rung, kept in samples.items())
            say(f"{shape.title}  round {number} of {plan.rounds}, calls/s: {said}")
    return {rung: _summed(kept, lone=shape.concurrency == 1) for rung, kept in samples.items()}


def _summed(samples: list[Sample], *, lone: bool) -> Rung:
    """The best round of each: who else uses the machine only adds, and differences of sums are what is looked for."""
    calls = [sample.done.calls for sample in samples]
    return Rung(
        _cost([sample.client for sample in samples], calls),
        _cost([sample.server for sample in samples], calls),
        max(map(rate, samples)),
        min(map(p50, samples)) if lone else None,
    )


def _cost(usages: list[Usage], calls: list[int]) -> Cost:
    """Divided as the ticks of all rounds are, for those of one round are few."""
    cost = min(usage.exactly / of for usage, of in zip(usages, calls, strict=True)) * 1e6
    user, system = sum(usage.user for usage in usages), sum(usage.system for usage in usages)
    share = system / (user + system) if user + system else 0.0
    return Cost(cost * (1 - share), cost * share)


def _crossings(shape: Shape, rung: str, cores: Cores, plan: Plan) -> tuple[float, float]:
    """Of one call, at the client and at the server."""
    with _pair(shape, rung, cores, "--crossings") as pair:
        pair.connect()
        calls = pair.run(plan.seconds).done.calls
        client, server = map(int, pair.last_words())
    return client / calls, server / calls


def _samples(shape: Shape, plan: Plan, cores: Cores, folder: Path) -> dict[str, dict[str, float]] | str:
    with ExitStack() as opened:
        pair = opened.enter_context(_pair(shape, "ours", cores))
        pair.connect()
        pair.run(plan.warm_up)
        try:
            samplers = {}
            for end, pid in pair.pids.items():
                samplers[end] = Sampler(pid, folder / end)
                opened.callback(samplers[end].stop)
            pair.run(max(_SAMPLED_SECONDS, plan.seconds))
            return {end: sampler.shares() for end, sampler in samplers.items()}
        except OSError as error:
            return str(error)
