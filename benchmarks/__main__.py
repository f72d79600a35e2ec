"""Run benchmarks: ``python -m benchmarks [NAME ...] [--list] [--json] [--quick]``."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

import benchmarks
from benchmarks._data import NoData

PAGES = Path(__file__).resolve().parent.parent / "docs" / "benchmarks"


def main(arguments: list[str] | None = None) -> int:
    """Run what was asked for; return the exit status."""
    options = _parser().parse_args(arguments)
    known = benchmarks.names()
    if options.list:
        width = max(map(len, known))
        for name in known:
            print(f"{name:{width}} {benchmarks.summary(benchmarks.load(name))}")
        return 0
    unknown = sorted(set(options.names) - set(known))
    if unknown:
        print(
            f"no benchmark called {', '.join(unknown)}; known: {', '.join(known)}", file=sys.stderr
        )
        return 2
    for name in options.names or known:
        try:
            _run(name, quick=options.quick, as_json=options.json)
        except NoData as error:
            print(f"{name}: {error}", file=sys.stderr)
            if options.names:
                return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="which to run; all by default")
    parser.add_argument("--list", action="store_true", help="name the benchmarks and stop")
    parser.add_argument("--json", action="store_true", help="print JSON, one object per benchmark")
    parser.add_argument("--quick", action="store_true", help="fewer runs; writes no page")
    return parser


def _run(name: str, *, quick: bool, as_json: bool) -> None:
    started = time.perf_counter()
    tables = benchmarks.load(name).run(quick=quick)
    seconds = time.perf_counter() - started
    if as_json:
        print(json.dumps({"name": name, "tables": [asdict(table) for table in tables]}))
    else:
        print("\n\n".join(table.markdown() for table in tables))
    print(f"{name}: {seconds:.0f} s", file=sys.stderr)
    if not quick:
        page = PAGES / f"{name}.md"
        text = benchmarks.between_markers(page.read_text(encoding="utf-8"), name, tables)
        page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
