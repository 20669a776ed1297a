"""Profile: which functions of the engine a call spends its time in, by level; sampled with `perf`."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.child import ROOT, cpus, pin
from bench.markdown import number, table
from bench.study import Record, Setting, Unavailable
from bench.synthetic import cube

KEYS: tuple[str, ...] = ("level", "direction", "field")
FOUND: tuple[str, ...] = ("shares",)
TIMED = True
LIMIT = 120.0

FIELD, STAND_IN = "hurricane_isabel_wind", "gaussian-128"
LEVELS = ("fast", "quick", "balanced", "max")
BOUND = 1e-3
SECONDS, QUICK_SECONDS = 4.0, 0.5
SHOWN = 2.0
"""Percent from which on a function has a line of its own."""

KERNEL, LIBRARY = "the system's kernel (fresh pages)", "libc and libm"
FLAGS = "-O3 -DNDEBUG -g1"


def tasks(setting: Setting) -> list[Record]:
    """Compile the engine with its symbols, and return each level and direction.

    Raises
    ------
    Unavailable
        There is no perf, or the engine does not compile.
    """
    if shutil.which("perf") is None:
        raise Unavailable("found no perf; install linux-tools (Debian: linux-perf)")
    _build(_folder(setting))
    field = FIELD if (setting.data / f"{FIELD}.npy").is_file() else STAND_IN
    return [
        {"level": level, "direction": direction, "field": field}
        for level in (LEVELS[:1] if setting.quick else LEVELS)
        for direction in ("compress", "decompress")
    ]


def measure(task: Record, setting: Setting) -> Record:
    """Return the percentages of the samples by function, as JSON."""
    with tempfile.TemporaryDirectory() as folder:
        samples = Path(folder, "perf.data")
        seconds = QUICK_SECONDS if setting.quick else SECONDS
        request = {
            **task,
            "seconds": seconds,
            "engine": str(next(_folder(setting).glob("_native*.so"))),
            "data": str(setting.data),
            "cache": str(setting.cache),
        }
        command = ["perf", "record", "-q", "-e", "cpu-clock", "-F", "1999", "-o", str(samples)]
        child = [sys.executable, "-m", "bench.studies.profile", json.dumps(request)]
        subprocess.run([*command, *child], check=True, capture_output=True, cwd=ROOT)
        report = ["perf", "report", "-q", "--stdio", "--no-children", "--sort", "dso,sym", "-i", str(samples)]
        text = subprocess.run(report, check=True, capture_output=True, text=True).stdout
    return {"shares": json.dumps(shares(text))}


def shares(report: str) -> dict[str, float]:
    """Return the percentages of a ``perf report --sort dso,sym`` by function, the largest first.

    Functions of the engine go by their bare name, whatever instruction set or type they were made for. What
    is neither engine nor libc nor kernel (Python, and what it imports) is left out of the whole.

    Examples
    --------
    >>> shares("  12.5%  _native.so  [.] sciflow::v4::(anonymous namespace)::split<float>")
    {'split': 100.0}
    """
    found: dict[str, float] = defaultdict(float)
    for line in report.splitlines():
        match = re.match(r"\s*([\d.]+)%\s+(\S+)\s+\[(.)\]\s+(.*\S)", line)
        if match:
            percent, library, space, symbol = match.groups()
            engine = library.startswith("_native") and "sciflow::" in symbol
            if engine:
                symbol = _bare(symbol)
            elif space == "k":
                symbol = KERNEL
            elif library.startswith(("libc.", "libm.", "libc-", "libm-")):
                symbol = LIBRARY
            else:
                continue
            found[symbol] += float(percent)
    whole = sum(found.values())
    largest = sorted(found.items(), key=lambda each: -each[1])
    return {name: 100 * percent / whole for name, percent in largest}


def section(rows: Sequence[Record]) -> str:
    """Return the percentages by level, for both directions."""
    fields = ", ".join(dict.fromkeys(row["field"] for row in rows))
    parts = [
        f"Percent of one thread's time (`perf record`, {fields}, rel {BOUND:g}, `verify=False`) by function "
        "of the engine, for each\nlevel. Choosing among representations runs the same functions on samples.\n"
    ]
    for direction in ("compress", "decompress"):
        own = {
            row["level"]: json.loads(row["shares"])
            for row in rows
            if row["direction"] == direction and row["shares"]
        }
        parts.append(table([f"{direction}, %", *own], _lines(list(own.values()))))
    return "\n".join(parts)


def _lines(levels: Sequence[dict[str, float]]) -> list[list[str]]:
    """Return a line a function that reaches `SHOWN` at some level, and one of the rest."""
    most: dict[str, float] = defaultdict(float)
    for found in levels:
        for name, percent in found.items():
            most[name] = max(most[name], percent)
    names = [name for name in sorted(most, key=lambda each: -most[each]) if most[name] >= SHOWN]
    lines = []
    for name in names:
        shown = name if name in (KERNEL, LIBRARY) else f"`{name}`"
        lines.append([shown, *(number(found.get(name, 0.0), 1) for found in levels)])
    rest = [sum(percent for name, percent in found.items() if name not in names) for found in levels]
    return [*lines, ["the rest", *(number(percent, 1) for percent in rest)]]


def _bare(symbol: str) -> str:
    """Return the name of a function without namespaces, templates and arguments."""
    plain = symbol.replace("(anonymous namespace)::", "")
    while (shorter := re.sub(r"<[^<>]*>|\([^()]*\)|\{[^{}]*\}|\[[^\[\]]*\]", "", plain)) != plain:
        plain = shorter
    words = plain.replace(" const", "").split()
    return words[-1].removeprefix("sciflow::").removeprefix("v2::").removeprefix("v3::").removeprefix("v4::")


def _folder(setting: Setting) -> Path:
    return setting.cache / "profile"


def _build(folder: Path) -> None:
    """Compile the Python module of the engine into ``folder``, as released but with symbols."""
    tools = Path(sys.executable).parent
    nanobind = subprocess.run(
        [sys.executable, "-m", "nanobind", "--cmake_dir"], capture_output=True, text=True, check=False
    )
    configure = [
        str(tools / "cmake"), "-S", str(ROOT), "-B", str(folder), "-G", "Ninja",
        f"-DCMAKE_MAKE_PROGRAM={tools / 'ninja'}", "-DCMAKE_BUILD_TYPE=RelWithDebInfo",
        f"-DCMAKE_CXX_FLAGS_RELWITHDEBINFO={FLAGS}", "-DSKBUILD=2",
        f"-Dnanobind_DIR={nanobind.stdout.strip()}", f"-DPython_EXECUTABLE={sys.executable}",
    ]  # fmt: skip
    for command in (configure, [str(tools / "cmake"), "--build", str(folder)]):
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            raise Unavailable(
                f"cannot run {command[0]} ({error.strerror}); pip install -e '.[dev]'"
            ) from error
        if done.returncode:
            last = (done.stderr or done.stdout).strip().splitlines()[-1:]
            raise Unavailable(f"the engine did not compile in {folder}: {' '.join(last)}")


def main() -> None:
    """Call the engine that the request names again and again, for its seconds."""
    request = json.loads(sys.argv[1])
    spec = importlib.util.spec_from_file_location("sciflow._native", request["engine"])
    if spec is None or spec.loader is None:
        raise ImportError(request["engine"])
    engine = importlib.util.module_from_spec(spec)
    sys.modules["sciflow._native"] = engine
    spec.loader.exec_module(engine)
    from sciflow.bounds import Bound
    from sciflow.codecs import sz

    pin(cpus()[-1])
    path = Path(request["data"], f"{request['field']}.npy")
    field = np.load(path) if path.is_file() else np.array(cube(Path(request["cache"]), 128))
    bound = Bound.abs(BOUND * float(field.max() - field.min()))
    config = sz.SZConfig(bound, level=request["level"], verify=False)
    stream = sz.encode(field, config)
    start = time.process_time()
    while time.process_time() - start < request["seconds"]:
        if request["direction"] == "compress":
            sz.encode(field, config)
        else:
            sz.decode(stream)


if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    main()
