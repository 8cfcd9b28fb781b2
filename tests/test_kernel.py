"Every notebook runs from top to bottom under a real Jupyter kernel and leaves no file behind."
import nbformat
import pytest
from conftest import ROOT
from nbclient import NotebookClient


@pytest.mark.parametrize("path", sorted((ROOT / "nbs").glob("*.ipynb")), ids=lambda path: path.stem)
def test_runs_in_jupyter(path, tmp_path, monkeypatch):
    monkeypatch.setenv("IN_TEST", "1")
    NotebookClient(nbformat.read(path, as_version=4), timeout=240, resources={"metadata": {"path": tmp_path}}).execute()
    assert list(tmp_path.iterdir()) == []
