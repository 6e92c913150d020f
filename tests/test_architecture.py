"""The direction of imports, the size of files, and what may not be in them."""

import ast
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "rtmkc"
# Rooms from the ground up: a room may import from the rooms before it, never from those after it.
ORDER = [
    {"errors", "checks", "units", "storage", "__init__"},
    {"inputs"},
    {"raster"},
    {"engine"},
    {"evidence.statistics"},
    {"model"},
    {"places"},
    {"evidence"},
    {"output"},
    {"workflow"},
    {"cli"},
]
ONLY = {
    "engine": {"errors", "checks", "engine"},
    "evidence.statistics": {"errors", "checks", "evidence.statistics"},
    "simulate": {"errors", "checks", "units", "storage", "inputs", "raster", "simulate"},
    "datasets": {"errors", "checks", "units", "storage"},
}
# Convenience: methods of the terrain that hand on to a later room, in at most three lines.
DELEGATIONS = {
    "hotspots": "places.hotspots",
    "corridors": "places.corridors.search",
    "explain": "places.scoring",
    "score": "places.scoring",
    "plot": "output.plots",
    "to_gpkg": "output.files",
}
FILES = sorted(SOURCE.rglob("*.py"))


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts)


def room_of(module: str) -> str:
    return "evidence.statistics" if module.startswith("evidence.statistics") else module.split(".")[0]


def floor_of(room: str) -> int:
    return next(number for number, rooms in enumerate(ORDER) if room in rooms)


def imports_of(tree: ast.AST) -> list[tuple[ast.stmt, str]]:
    """Every import of rtmkc below a node, with the module it names (without `rtmkc.`)."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "rtmkc":
            below = node.module.split(".")[1:]
            names = [[*below, alias.name] for alias in node.names]
            found += [(node, ".".join(name)) for name in names]
        elif isinstance(node, ast.Import):
            found += [(node, alias.name[6:]) for alias in node.names if alias.name.startswith("rtmkc.")]
    return found


def delegations_in(tree: ast.AST) -> dict[int, str]:
    """Line of an import -> the method it stands in, for methods of RiskTerrain that delegate."""
    lines = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name == "RiskTerrain":
            for method in node.body:
                if isinstance(method, ast.FunctionDef) and method.name in DELEGATIONS:
                    for statement in method.body:
                        if isinstance(statement, ast.ImportFrom):
                            lines[statement.lineno] = method.name
    return lines


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_imports_run_one_way(path):
    """No file imports from a room above its own, but for the named delegations of RiskTerrain."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    module = module_of(path)
    room = room_of(module)
    typing_only = {
        inner.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
        for inner in ast.walk(node)
        if isinstance(inner, ast.stmt)
    }
    delegated = delegations_in(tree) if module == "model.terrain" else {}
    for node, target in imports_of(tree):
        other = room_of(target)
        if node.lineno in typing_only or other == "__version__":
            continue
        if node.lineno in delegated:
            assert target.startswith(DELEGATIONS[delegated[node.lineno]])
        elif room in ONLY:
            assert other in ONLY[room], f"{module} imports {target}"
        elif other in ("simulate", "datasets"):
            assert floor_of(room) > floor_of("output"), f"{module} imports {target}"
        else:
            assert floor_of(other) <= floor_of(room), f"{module} imports {target}"


def test_delegations_are_short():
    """Each convenience method of the terrain is an import and a return."""
    tree = ast.parse((SOURCE / "model" / "terrain.py").read_text(encoding="utf-8"))
    [terrain] = [
        node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name == "RiskTerrain"
    ]
    methods = {node.name: node for node in terrain.body if isinstance(node, ast.FunctionDef)}
    for name in DELEGATIONS:
        body = [
            node
            for node in methods[name].body
            if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        ]
        assert len(body) <= 3, name


def test_the_engine_knows_no_maps_and_no_tables():
    """The engine imports numbers only: no pandas, no geometry, no files."""
    for path in (SOURCE / "engine").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                assert name.split(".")[0] not in {"pandas", "geopandas", "shapely", "rasterio", "pyproj"}, (
                    path.name
                )


def test_commands_load_what_they_need_when_they_run():
    """The command line imports nothing heavy at the top of a file, so that --help answers at once."""
    light = ("__version__", "cli.", "errors.", "output.terminal.")
    for path in (SOURCE / "cli").glob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if not isinstance(node, ast.Import | ast.ImportFrom):
                continue
            if own := imports_of(node):
                assert all(target.startswith(light) for _, target in own), path
            else:
                names = [node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
                assert {name.split(".")[0] for name in names} <= {"click", *sys.stdlib_module_names}, path


def test_files_have_one_subject():
    """No utils.py, and no file longer than 500 lines (kernels, one file a package, 700): else its subject was two."""
    for path in FILES:
        assert path.stem not in {"utils", "helpers", "common", "misc"}
        limit = 700 if path.name == "kernels.py" else 500
        assert len(path.read_text(encoding="utf-8").splitlines()) <= limit, path


def test_compiled_code_stands_in_kernels_and_is_exact():
    """numba is used in kernels.py files only, cached, and never with fastmath."""
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        if "numba" in text and path.name != "kernels.py":
            tree = ast.parse(text)
            modules = [
                alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
            ]
            assert "numba" not in modules, path
        for decorator in ast.walk(ast.parse(text)):
            if isinstance(decorator, ast.Call) and ast.unparse(decorator.func).endswith("njit"):
                options = {keyword.arg: ast.unparse(keyword.value) for keyword in decorator.keywords}
                assert options.get("cache") == "True", path
                assert "fastmath" not in options, path


def test_nothing_is_pickled():
    """Models are JSON and GeoTIFF; no file imports pickle, joblib's or marshal."""
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {"pickle", "joblib", "marshal", "shelve", "dill"} & {
                name.split(".")[0] for name in names
            }, path
