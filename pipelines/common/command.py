"""How a pipeline is run: section by section, into a table, JSON and a page, to a status."""

import argparse
import json
import math
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ooc.core.destination import write_whole
from ooc.core.errors import DivergedError, InputError
from ooc.core.terminal import one_line, prepare_streams, say
from pipelines.common.arguments import Parser
from pipelines.common.page import page
from pipelines.common.section import Section

MET, NOT_MET, BAD_INPUT = 0, 1, 2
INTERRUPTED, TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM

Run = Callable[[argparse.Namespace], Iterable[Section]]


class TerminatedError(Exception):
    """SIGTERM has come."""


def carry_out(parser: Parser, run: Run, arguments: Sequence[str] | None = None) -> int:
    """Run a pipeline and write what was asked for; return its exit status.

    It is 0; 1 if a check is not met; 2 for bad input, with one line on standard error; 130 and
    143 after SIGINT and SIGTERM.

    Parameters
    ----------
    parser
        Has all options of the pipeline.
    run
        Yields sections, each as soon as it is there; bad input raises before the first one.
    """
    prepare_streams()
    try:
        with _terminable():
            return _write_all(parser, run, parser.read(arguments))
    except (InputError, DivergedError) as error:
        return _refuse(parser, str(error))
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        return _refuse(parser, f"{error.strerror or error}{where}")
    except KeyboardInterrupt:
        return INTERRUPTED
    except TerminatedError:
        return TERMINATED


def _write_all(parser: Parser, run: Run, options: argparse.Namespace) -> int:
    begun, sections = time.perf_counter(), []
    for section in run(options):
        print(section, end="\n\n", flush=True)
        sections.append(section)
    seconds = time.perf_counter() - begun
    checks = [check for section in sections for check in section.checks]
    met = sum(check.met for check in checks)
    summary = f"{met} of {len(checks)} checks met, after {seconds:.0f} seconds"
    if options.json is not None:
        results: dict[str, Any] = {"pipeline": parser.name, "quick": options.quick}
        results |= {"seconds": seconds, "checks": [check.to_json() for check in checks]}
        for section in sections:
            results |= section.results
        text = json.dumps(_finite(results), indent=1, ensure_ascii=False, allow_nan=False)
        write_whole(options.json, f"{text}\n".encode())
    if options.html is not None:
        quick = " Quick run: short." if options.quick else ""
        text = page(parser.title, parser.text, f"{summary}.{quick}", sections)
        write_whole(options.html, text.encode())
    for check in checks:
        if not check.met:
            print(f"not met: {check.name}", file=sys.stderr)
    print(summary)
    return MET if met == len(checks) else NOT_MET


def _finite(value: Any) -> Any:
    """Return the same with None for numbers that JSON cannot hold."""
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _refuse(parser: Parser, message: str) -> int:
    say(f"{parser.name}: {one_line(message)}")
    return BAD_INPUT


@contextmanager
def _terminable() -> Iterator[None]:
    """Turn SIGTERM into an exception, so that what is half-written is removed."""

    def terminate(number: int, frame: object) -> None:
        raise TerminatedError

    previous = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
