"""What Kansas City takes: a guarded fit, a forecast, a run, a validation, and rounds of the placebo study.

    RTMKC_DATA=... python benchmarks/engine/kansas_city.py after
    git worktree add ../before 83a6169
    RTMKC_DATA=... PYTHONPATH=../before/src python benchmarks/engine/kansas_city.py before

The second measures the library as it was before its engine was made faster, with the same script. Each piece of work
runs in a process of its own, with compiled code loaded.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

from processes import RESULTS, memory_gb

BENCHMARKS = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(BENCHMARKS))
STUDY = "kansas_city_2017"
PLACEBO_SEEDS = (700_000, 700_001, 700_002)
REPEATS = {"guarded fit": 2, "forecast": 2, "run": 1, "validation": 1, "placebo, a round": 1}


def guarded() -> Callable[[], object]:
    """Weights of Kansas City with exposure, everything read."""
    import validation_real

    import rtmkc as rtm

    found = validation_real.city(STUDY, data())
    columns = rtm.build_candidates(found.grid, found.factors)

    def fit() -> object:
        return rtm.RiskTerrainModel().fit(found.grid, columns, found.incidents, exposure=found.exposure)

    return fit


def forecast() -> Callable[[], object]:
    """Expected incidents of Kansas City, everything read."""
    import validation_real

    import rtmkc as rtm

    found = validation_real.city(STUDY, data())
    curves = rtm.build_curves(found.grid, found.factors)
    return lambda: rtm.RiskForecast().fit(found.grid, curves, found.incidents)


def run() -> Callable[[], object]:
    """The whole study, from files to the report."""
    import rtmkc as rtm
    from rtmkc.workflow.study import Study

    study = Study.from_file(BENCHMARKS / "studies" / f"{STUDY}.toml", data=data())
    folder = tempfile.mkdtemp()
    return lambda: rtm.run(study, Path(folder) / "results", overwrite=True)


def validation() -> Callable[[], object]:
    """January to September against October to December, with all baselines."""
    import validation_real

    return lambda: validation_real.kansas_city(data(), lambda *step: None)


def placebo() -> Callable[[], object]:
    """Rounds of the placebo study of corridors, of which it has 160."""
    import placebo_corridors

    folder = Path(tempfile.mkdtemp())
    placebo_corridors.study(699_999, folder)

    def rounds() -> None:
        for seed in PLACEBO_SEEDS:
            placebo_corridors.study(seed, folder)

    return rounds


WORK = {
    "guarded fit": guarded, "forecast": forecast, "run": run, "validation": validation, "placebo, a round": placebo,
}  # fmt: skip


def data() -> Path:
    """The folder of the data."""
    return Path(os.environ["RTMKC_DATA"])


def measure(name: str) -> dict[str, float]:
    """Do one piece of work in this process, the last repeat counts."""
    warnings.simplefilter("ignore")
    work = WORK[name]()
    seconds = 0.0
    for _ in range(REPEATS[name]):
        started = time.perf_counter()
        work()
        seconds = time.perf_counter() - started
    if name.startswith("placebo"):
        seconds /= len(PLACEBO_SEEDS)
    return {"seconds": seconds, "peak_gb": memory_gb("VmHWM")}


def main() -> int:
    """Measure all work, and keep it under a label."""
    label = sys.argv[1] if len(sys.argv) > 1 else "after"
    if label in WORK:
        print(json.dumps(measure(label)))
        return 0
    if "RTMKC_DATA" not in os.environ:
        print("RTMKC_DATA is not set: nothing is measured. Set it to the folder of the data.")
        return 0
    path = RESULTS / "kansas-city.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for name in WORK:
        answer = subprocess.run(
            [sys.executable, __file__, name], check=True, stdout=subprocess.PIPE, text=True
        )
        found.setdefault(label, {})[name] = json.loads(answer.stdout.splitlines()[-1])
        print(f"{label}, {name}: {found[label][name]['seconds']:.1f} s", flush=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(found, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
