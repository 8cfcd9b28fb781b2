"The runs behind the results: the tutorial's claim at small scale, and a reproduction that goes on where it was stopped"
import json
import shutil

import pytest

from cvae_tutorial.kit.mnist import load_mnist
from cvae_tutorial.reports.reproduce import reproduce
from cvae_tutorial.reports.run import run


def test_a_trained_cvae_beats_the_baseline(tmp_path):
    "The tutorial's claim at small scale: clearly ahead on the bound, and on the better estimate"
    nll = {r["estimator"]: r["nll"] for r in run(data="sample", epochs=8, out=tmp_path)}
    assert nll["bce"] > nll["elbo"] + 10 and nll["elbo"] > nll["is"] + .5


def test_reproduce_goes_on_where_it_was_stopped(tmp_path, monkeypatch, request, capsys):
    "Finished runs and measurements are taken as they are; only the missing ones are made, and it says how far it is"
    made = []
    def counted(quadrants, data, epochs, seed, device, out, compiled):
        made.append((quadrants, seed))
        return run(quadrants, data, epochs, seed, device, out, compiled)
    record = dict(model="baseline", estimator="bce", samples=1, nll=1., stderr=.1, seed=0, data="sample")
    runs = tmp_path/"runs"
    for n in (1, 3):
        (runs/f"sample-q{n}-seed0-epochs1").mkdir(parents=True)
        (runs/f"sample-q{n}-seed0-epochs1"/"results.json").write_text(json.dumps([record | {"quadrants": n}]))
        (runs/f"sample-q{n}-seed0-epochs1"/"sharpness.json").write_text(json.dumps({"variance": [{"quadrants": n, "total": -1.}]}))
    for prior in "", "-flow": (runs/f"sample-followers{prior}-seed0-epochs1.json").write_text(json.dumps([{"after": "none"}]))
    shutil.copy(request.config.rootpath/"cvae_tutorial"/"assets"/"classifier.safetensors", runs/"sample-classifier.safetensors")
    monkeypatch.setattr("cvae_tutorial.reports.reproduce.run", counted)
    def again(): return reproduce(tmp_path/"results", runs, data="sample", epochs=1, seeds=(0,), count=300, tables=("sharpness", "followers"))
    records = again()
    assert made == [(2, 0)]
    said = [line for line in capsys.readouterr().out.splitlines() if " of " in line]
    assert said == ["scores.json, table 1 of 3", "sharpness.json, table 2 of 3", "followers.json, table 3 of 3"]
    assert json.loads((tmp_path/"results"/"scores.json").read_text()) == records
    assert {r["quadrants"] for r in records} == {1, 2, 3}
    sharpness = json.loads((tmp_path/"results"/"sharpness.json").read_text())
    assert [r["quadrants"] for r in sharpness["variance"]] == [1, 2, 3]
    assert json.loads((tmp_path/"results"/"followers.json").read_text()) == [{"after": "none"}]*2
    assert {r["quadrants"] for r in sharpness["coverage"]} == {2}
    assert again() == records and made == [(2, 0)]


def test_reproduce_wants_all_of_mnist(tmp_path, monkeypatch):
    "Without a network it must not pass the sample off as MNIST"
    monkeypatch.setattr("cvae_tutorial.reports.reproduce.load_mnist", lambda train, root: load_mnist(train, "sample"))
    with pytest.raises(FileNotFoundError, match="needs all of MNIST"): reproduce(tmp_path/"results")
    assert not (tmp_path/"results").exists()
