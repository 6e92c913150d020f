"""Every measurement in a process of its own, kept as JSON, so that a run can be resumed.

    python benchmarks/engine/processes.py MODULE:FUNCTION '{"argument": ...}'

runs one here and prints it. A measured function returns a dictionary with at least ``seconds``; the peak memory
of the process is added to it.
"""

import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent.parent
RESULTS = ROOT / "study-results" / "engine"
THREADS = 2
OWN_CODE = ("engine", "raster", "inputs", "model")
"""The packages of the library that are measured: when one changes, its measurements are made again."""


@dataclass(frozen=True)
class Case:
    """A measurement.

    Attributes
    ----------
    name : str
        Its key among the results.
    function : str
        ``module:function`` of this folder.
    arguments : mapping
        Given to it by keyword.
    threads : int
        The most that libraries may start.
    ours : bool
        Whether it runs code of the library: then it is measured again when that code changes.
    city : str
        The case that wrote the city it works on: it is measured again when the city is another.
    after : tuple of str
        Cases whose results it uses: it is measured again when they are.
    processes : int
        Processes to measure it in; the one with the least seconds counts.
    cold : bool
        Whether there is no compiled code to load: the seconds are mostly those of compiling.
    """

    name: str
    function: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    threads: int = THREADS
    ours: bool = True
    city: str = ""
    after: tuple[str, ...] = ()
    processes: int = 1
    cold: bool = False


def best_of(work: Callable[[], Any], repeats: int = 3) -> tuple[float, Any]:
    """Return the least seconds of some repeats, and the last result."""
    seconds, result = [], None
    for _ in range(repeats):
        result = None  # nothing of an earlier repeat adds to the peak
        started = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - started)
    return min(seconds), result


def memory_gb(name: str) -> float:
    """Return VmHWM (the peak) or VmRSS (now) of this process, in GB of 1e9 bytes."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024 / 1e9
    raise ValueError(f"no {name} in /proc/self/status")


def code_hash(packages: tuple[str, ...] = OWN_CODE) -> str:
    """Return a hash of the measured packages of the library."""
    found = find_spec("rtmkc")
    if found is None or found.origin is None:
        raise ModuleNotFoundError("rtmkc is not installed")
    digest, library = hashlib.sha256(), Path(found.origin).parent
    for package in packages:
        for path in sorted((library / package).rglob("*.py")):
            digest.update(str(path.relative_to(library)).encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def in_processes(case: Case) -> dict[str, Any]:
    """Measure a case in as many processes as it asks for; return the result with the least seconds."""
    with tempfile.TemporaryDirectory() as cache:
        found = [_in_a_process(case, cache if case.cold else None) for _ in range(case.processes)]
    return min(found, key=lambda one: one.get("seconds", 0.0)) | {
        "others": max(one["others"] for one in found)
    }


def _busy_seconds() -> float:
    """Return the processor seconds that all programs of this machine have used since it started."""
    numbers = Path("/proc/stat").read_text(encoding="utf-8").split("\n", 1)[0].split()[1:9]
    idle, waiting = 3, 4
    used = sum(int(number) for place, number in enumerate(numbers) if place not in (idle, waiting))
    return used / os.sysconf("SC_CLK_TCK")


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _in_a_process(case: Case, cache: str | None) -> dict[str, Any]:
    threads = {
        name: str(case.threads)
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    }
    environment = os.environ | threads | ({"NUMBA_CACHE_DIR": cache} if cache else {})
    started, busy, own = time.perf_counter(), _busy_seconds(), _children_seconds()
    done = subprocess.run(
        [sys.executable, __file__, case.function, json.dumps(dict(case.arguments))],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{case.name}: exit status {done.returncode}\n{done.stderr[-3000:]}")
    wall, busy, own = time.perf_counter() - started, _busy_seconds() - busy, _children_seconds() - own
    # Cores that other programs kept busy meanwhile: what makes seconds larger than they need be.
    return dict(json.loads(done.stdout.splitlines()[-1])) | {"others": max(0.0, (busy - own) / wall)}


class Results:
    """The results of one command, in one file that is written after each case."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: dict[str, dict[str, Any]] = {}
        if path.exists():
            self.found = json.loads(path.read_text(encoding="utf-8"))

    def __getitem__(self, name: str) -> dict[str, Any]:
        return self.found[name]

    def __contains__(self, name: str) -> bool:
        return self.get(name) is not None

    def get(self, name: str) -> dict[str, Any] | None:
        """Return a result; None where the case was not measured, or could not be."""
        one = self.found.get(name)
        return None if one is None or "missing" in one else one

    def is_current(self, case: Case, code: str) -> bool:
        """Return whether a case need not be measured again."""
        one = self.found.get(case.name)
        if (
            one is None
            or "missing" in one
            or one["asked"] != _asked(case)
            or one["digest"] != self._digest(case, one)
        ):
            return False
        if case.ours and one["code"] != code:
            return False
        return all(name in self.found and self.found[name]["at"] <= one["at"] for name in case.after)

    def keep(self, case: Case, result: dict[str, Any], code: str) -> None:
        """Keep the result of a case, with the code that was measured."""
        self.found[case.name] = result | {
            "asked": _asked(case), "digest": self._digest(case, result), "code": code, "ours": case.ours,
            "at": time.time(), "threads": case.threads,
        }  # fmt: skip
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_suffix(".part")
        beside.write_text(json.dumps(self.found, indent=1), encoding="utf-8")
        beside.replace(self.path)

    def _digest(self, case: Case, result: dict[str, Any]) -> str:
        if case.city:
            return str(self.found.get(case.city, {}).get("digest", ""))
        return str(result.get("digest", ""))


def _asked(case: Case) -> dict[str, Any]:
    return {"function": case.function, "arguments": json.loads(json.dumps(dict(case.arguments)))}


def main() -> int:
    """Run one measurement in this process and print it as one line of JSON."""
    module, function = sys.argv[1].split(":")
    result = getattr(import_module(module), function)(**json.loads(sys.argv[2]))
    print(json.dumps({"peak_gb": memory_gb("VmHWM")} | result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
