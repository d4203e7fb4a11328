"""make fuzz: every target for a while, each in a process of its own.

python -m tests.fuzz [--seconds 60] [TARGET...]

A finding is printed with the file that makes it, which is kept in `tests/fuzz/found/TARGET/`: mend
the reader, commit the file, and `make test` feeds it to the target from then on. The exit status is
1 where there is one. What was reached is kept in `--corpus` (a directory, none unless told) and is
where the next run goes on.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

from tests.fuzz import dialogue, seeds
from tests.fuzz.targets import TARGETS
from tests.gateway import RunningGateway, short_place

_SMTP = "smtp"
"""A running gateway that dialogues are held with."""

_LONGEST_INPUT = 16 * 1024
_INPUT_SECONDS = 5
"""An input that takes longer than that is a finding; with instruments a reader is ten times as slow
as it is without."""
_MEMORY_MB = 1024


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join([*TARGETS, _SMTP]))
    parser.add_argument("--seconds", type=int, default=60, help="for each target (60)")
    parser.add_argument("--corpus", type=Path, help="where to keep what was reached")
    told = parser.parse_args()
    unknown = set(told.targets) - {*TARGETS, _SMTP}
    if unknown:
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    print(f"{'target':<12}{'inputs':>10}{'a second':>10}{'reached':>9}  finding", flush=True)
    with tempfile.TemporaryDirectory() as kept:
        directory = told.corpus or Path(kept)
        rows = [
            _talk(told.seconds) if name == _SMTP else _fuzz(name, told.seconds, directory)
            for name in told.targets or [*TARGETS, _SMTP]
        ]
    return 0 if all(rows) else 1


def _fuzz(target: str, seconds: int, directory: Path) -> bool:
    """Whether nothing was found."""
    corpus, found = directory / target, seeds.FOUND / target
    corpus.mkdir(parents=True, exist_ok=True)
    found.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds.of(target)):
        (corpus / f"seed-{number}").write_bytes(seed)
    run = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.fuzzed", target, str(corpus),
         f"-max_total_time={seconds}", f"-max_len={_LONGEST_INPUT}", f"-timeout={_INPUT_SECONDS}",
         f"-rss_limit_mb={_MEMORY_MB}", f"-artifact_prefix={found}/", "-print_final_stats=1"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    for empty in (found, seeds.FOUND):
        if empty.exists() and not any(empty.iterdir()):
            empty.rmdir()
    said = run.stdout + run.stderr
    inputs, a_second, reached = (
        _number(rf"{name}: *(\d+)", said)
        for name in ("number_of_executed_units", "average_exec_per_sec", " cov")
    )
    finding = re.search(r"Test unit written to (\S+)", said)
    what = "-" if run.returncode == 0 else finding[1] if finding else "the fuzzer itself failed"
    print(f"{target:<12}{inputs:>10}{a_second:>10}{reached:>9}  {what}", flush=True)
    if finding:
        _explain(target, Path(finding[1]))
    elif run.returncode != 0:
        print(said[-2000:], flush=True)
    return run.returncode == 0


def _talk(seconds: int) -> bool:
    """Dialogues with a gateway of its own, from a number that is another one each time."""
    first = number = time.time_ns()
    found: list[str] = []
    with RunningGateway(short_place("fuzz")) as gateway:
        gateway.found()
        gateway.start()
        until = time.monotonic() + seconds
        while time.monotonic() < until and not found:
            talk = dialogue.made(number)
            found = dialogue.faults(talk, dialogue.held(("127.0.0.1", gateway.port), talk))
            number += 1
        if "Traceback" in gateway.log_text:
            found.append("the log has a traceback")
    count = number - first
    what = f"dialogue {number - 1}: {', '.join(found)}" if found else "-"
    print(f"{_SMTP:<12}{count:>10}{count // seconds:>10}{'':>9}  {what}", flush=True)
    return not found


def _explain(target: str, path: Path) -> None:
    """Where a finding comes from. What took too long or too much memory raises nothing here."""
    if not path.name.startswith("crash-"):
        return
    try:
        TARGETS[target](path.read_bytes())
    except Exception:
        print(*traceback.format_exc().splitlines()[-8:], sep="\n", flush=True)


def _number(pattern: str, text: str) -> str:
    numbers = re.findall(pattern, text)
    return numbers[-1] if numbers else "?"


if __name__ == "__main__":
    sys.exit(main())
