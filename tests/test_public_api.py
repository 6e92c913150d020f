"""The public names: all there, all documented, all lazy, and quick to import."""

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import rtmkc

NAMES = [name for name in rtmkc.__all__ if name != "__version__"]
FUNCTIONS = [name for name in NAMES if inspect.isfunction(getattr(rtmkc, name))]
CLASSES = [name for name in NAMES if inspect.isclass(getattr(rtmkc, name))]
HEAVY = {
    "numpy",
    "scipy",
    "pandas",
    "geopandas",
    "shapely",
    "rasterio",
    "pyproj",
    "matplotlib",
    "numba",
    "sklearn",
}


def methods_of(cls):
    return [
        (name, getattr(member, "__func__", member))
        for name, member in vars(cls).items()
        if not name.startswith("_")
        and (inspect.isfunction(member) or isinstance(member, classmethod | staticmethod))
    ]


def in_a_process(code):
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    return json.loads(done.stdout)


def test_names_are_functions_and_classes_each_once():
    """Every public name resolves to a function or a class of rtmkc; dir() lists them all."""
    assert sorted(FUNCTIONS + CLASSES) == sorted(NAMES)
    assert len(set(NAMES)) == len(NAMES)
    assert set(dir(rtmkc)) >= set(NAMES)
    for name in NAMES:
        assert getattr(rtmkc, name).__module__.startswith("rtmkc."), name
    with pytest.raises(AttributeError, match="module 'rtmkc' has no attribute 'magic'"):
        _ = rtmkc.magic


def test_importing_loads_nothing_heavy():
    """`import rtmkc` loads none of the libraries, and takes less than 0.2 s of processor time, the best of three."""
    code = (
        "import json, sys, time; start = time.process_time(); import rtmkc; took = time.process_time() - start; "
        "print(json.dumps([took, sorted(sys.modules)]))"
    )
    runs = [in_a_process(code) for _ in range(3)]
    assert not HEAVY & set(runs[0][1])
    assert min(took for took, _ in runs) < 0.2


def test_the_first_fit_is_imported_in_two_seconds():
    """What a first fit needs is imported in less than 2 s of processor time, the best of at most three, without the plotting."""
    code = (
        "import json, sys, time; start = time.process_time(); from rtmkc import Grid, RiskFactor, RiskForecast, "
        "RiskTerrainModel; took = time.process_time() - start; print(json.dumps([took, sorted(sys.modules)]))"
    )
    for _ in range(3):
        took, modules = in_a_process(code)
        if took < 2.0:
            break
    assert took < 2.0
    assert "matplotlib" not in modules


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_annotated_and_documented(name):
    """Every parameter and the result have a type; the docstring lists each parameter."""
    function = getattr(rtmkc, name)
    signature = inspect.signature(function)
    doc = inspect.getdoc(function)
    assert doc.splitlines()[0].endswith((".", ":")) or doc.splitlines()[1], name
    assert signature.return_annotation is not inspect.Signature.empty
    for parameter in signature.parameters.values():
        assert parameter.annotation is not inspect.Parameter.empty, parameter.name
    if len(signature.parameters) > 1 and not re.search(r"See `\w+` for parameters|RFC 7946", doc):
        section = doc.partition("Parameters\n----------")[2] or doc
        for parameter in signature.parameters:
            assert re.search(rf"\b{parameter}\b", section), f"{name}: {parameter}"


@pytest.mark.parametrize("name", CLASSES)
def test_classes_and_their_methods_are_documented(name):
    """A class says what it is and lists what it holds; every public method has a docstring and types."""
    cls = getattr(rtmkc, name)
    doc = inspect.getdoc(cls)
    assert len(doc.splitlines()) > 3
    assert "Parameters\n----------" in doc or "Attributes\n----------" in doc
    for label, method in methods_of(cls):
        assert inspect.getdoc(method), label
        signature = inspect.signature(method)
        assert signature.return_annotation is not inspect.Signature.empty, label
        for parameter in list(signature.parameters.values())[1:]:
            assert parameter.annotation is not inspect.Parameter.empty, (label, parameter.name)


def test_no_argument_of_a_function_is_called_x_or_df():
    """Public signatures name what they take: no x, y, df, gdf, i; scikit-learn's X and y excepted."""
    for name in FUNCTIONS:
        parameters = set(inspect.signature(getattr(rtmkc, name)).parameters)
        assert not parameters & {"x", "y", "df", "gdf", "i", "args"}, name


def test_nothing_can_be_unpickled():
    """No source file speaks of pickle but to say that it is not used."""
    for path in Path(rtmkc.__file__).parent.rglob("*.py"):
        assert not re.search(
            r"\bpickle\.|import pickle|joblib\.(dump|load)|allow_pickle", path.read_text("utf-8")
        ), path
