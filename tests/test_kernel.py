"Every notebook runs from top to bottom under a real Jupyter kernel, wherever it is started, and leaves no file behind."
import random

import nbformat
import pytest
from conftest import ROOT
from nbclient import NotebookClient

EVERY = sorted(path.stem for path in (ROOT / "nbs").glob("*.ipynb"))


# Each once in any order is for --long: nbdev_test runs them all too. Here two are run, one of them twice.
@pytest.mark.parametrize("names", [["index", "00_data", "index"], pytest.param(random.sample(EVERY, len(EVERY)), marks=pytest.mark.long)], ids=["two", "all"])
def test_runs_in_jupyter(names, tmp_path, monkeypatch):
    "Without network, and with the working directory elsewhere"
    monkeypatch.setenv("IN_TEST", "1")
    for proxy in "http_proxy", "https_proxy": monkeypatch.setenv(proxy, "http://localhost:9")
    before = sorted((ROOT / "nbs").rglob("*"))
    for name in names:
        notebook = nbformat.read(ROOT / "nbs" / f"{name}.ipynb", as_version=4)
        NotebookClient(notebook, timeout=240, resources={"metadata": {"path": tmp_path}}).execute()
        assert list(tmp_path.iterdir()) == [], name
    assert sorted((ROOT / "nbs").rglob("*")) == before
