"Fashion-MNIST: the files, and what the page says about its results"
import json
from pathlib import Path

import pytest

import cvae_tutorial.data as data
from cvae_tutorial.data import load_mnist


def test_the_files_are_found_or_it_says_how_to_get_them(tmp_path, monkeypatch):
    "From Debian's package where it is installed, without a network; elsewhere one clear error"
    monkeypatch.setenv("IN_TEST", "1")  # nothing is downloaded
    monkeypatch.setattr(data, "CACHE", tmp_path)
    data._find_fashion.cache_clear()
    try:
        if not Path("/usr/share/datasets/fashion-mnist").is_dir():
            with pytest.raises(FileNotFoundError, match="Debian's package dataset-fashion-mnist"): load_mnist(root="fashion")
            return
        for root in "fashion", tmp_path/"fashion":
            garments = load_mnist(False, root)
            assert garments.source == "FashionMNIST" and garments.images.shape == (10_000, 28, 28)
            assert garments.digits.bincount().tolist() == [1000]*10
    finally: data._find_fashion.cache_clear()


@pytest.fixture(scope="module")
def results(request):
    folder = request.config.rootpath/"results"/"fashion"
    return {name: json.loads((folder/f"{name}.json").read_text()) for name in ("quadrants", "sharpness")}


@pytest.mark.parametrize("n", [1, 2, 3])
def test_the_cvae_is_ahead_and_the_split_adds_up(results, n):
    nll = {r["estimator"]: (r["nll"], r["stderr"]) for r in results["quadrants"] if r["quadrants"] == n}
    assert all(r["data"] == "FashionMNIST" for r in results["quadrants"])
    for estimator in "elbo", "is": assert nll[estimator][0] < nll["bce"][0] - 3*nll["bce"][1]
    for split in results["sharpness"]["variance"]:
        assert (split["within"] + split["between"])/split["total"] == pytest.approx(1, abs=.01)


def test_the_gains_in_the_prose_follow_from_the_results(results, request):
    def gain(n):
        nll = {r["estimator"]: r["nll"] for r in results["quadrants"] if r["quadrants"] == n}
        return nll["bce"] - nll["is"]
    page = json.loads((request.config.rootpath/"nbs"/"12_fashion.ipynb").read_text())
    prose = "".join(line for cell in page["cells"] for line in cell["source"])
    assert "{:.1f}, {:.1f} and {:.1f} nats".format(*map(gain, (1, 2, 3))) in prose
