"""The documentation runs: every code block, every notebook, every link."""

import re
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from rtmkc.errors import DataWarning

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "data" / "sample" / "README.md"])


def blocks_of(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks_of(page)], ids=lambda page: page.name)
def test_code_of_a_page_runs_as_it_stands(page, capsys):
    """The Python blocks of a page, run one after the other, end without an error; what the tutorial says of illegal
    dumping is what the sample gives.
    """
    session: dict[str, object] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        for block in blocks_of(page):
            exec(compile(block, page.name, "exec"), session)
    capsys.readouterr()
    if page.parent.name == "tutorial":
        weights = session["terrain"].weights.set_index("factor")
        row = weights.loc["illegal dumping"]
        said = f'"Illegal dumping, {row["kind"]}, {row["influence_m"]:.0f} m, {row["rrv"]:.1f}"'
        assert said in page.read_text(encoding="utf-8")
        assert (weights["status"] == "in the model").sum() == 3


@pytest.fixture(scope="module")
def runs():
    """What became of every notebook; two run at a time, the longest first, which are the last."""
    with warnings.catch_warnings(), ThreadPoolExecutor(2) as pool:
        warnings.simplefilter("ignore")  # of the kernel's own libraries
        return {path: pool.submit(run_notebook, path) for path in reversed(NOTEBOOKS)}


def run_notebook(path):
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}
    ).execute()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebooks_run_and_hold_their_output(path, runs):
    """A notebook runs from top to bottom; its stored copy has output and no path of a machine."""
    notebook = nbformat.read(path, as_version=4)
    assert any(cell.get("outputs") for cell in notebook.cells)
    stored = path.read_text(encoding="utf-8")
    assert "ipykernel" not in stored
    assert "/home/" not in stored
    runs[path].result()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    """Every relative link of a page names a file that is there."""
    for target in re.findall(r"\]\(([^)#\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_every_command_is_documented():
    """The README or the docs show each command of the command line."""
    from rtmkc.cli import main

    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    for name in main.commands:
        assert f"rtmkc {name}" in text, name
