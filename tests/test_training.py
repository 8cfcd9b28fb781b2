"Training, checkpoints and the command line, at small scale on real digits"
import json
import shutil
from dataclasses import replace

import pytest
import torch

from cvae_tutorial.baseline import BaselineNet, bce_loss, fit
from cvae_tutorial.cvae import CVAE
from cvae_tutorial.data import Pairs, find_mnist, get_pairs, load_mnist
from cvae_tutorial.evaluation import estimate_nll, results_table
from cvae_tutorial.run import NAMES, main, reproduce, run
from cvae_tutorial.training import load_net, load_pretrained, save_net, train_cvae
from cvae_tutorial.variants import measure_variant


@pytest.fixture(scope="module")
def pairs():
    "The sample with one visible quadrant, cut to 1,000 digits a split"
    return {split: replace(p, x=p.x[:1000], y=p.y[:1000], digits=p.digits[:1000]) for split, p in get_pairs(1).items()}


def test_keeps_the_best_epoch_and_stops_early(pairs):
    "A small set is soon learnt by heart: validation turns, and the weights of the turning point are kept"
    torch.manual_seed(0)
    train = replace(pairs["train"], x=pairs["train"].x[:200], y=pairs["train"].y[:200])
    net = BaselineNet(200, 200, x_dim=196, y_dim=588)
    history = fit(net, bce_loss(net), train, pairs["val"], epochs=300, lr=3e-3, patience=4)
    losses = [record["val"] for record in history]
    best = losses.index(min(losses))
    assert len(history) == best + 1 + 4 < 300
    with torch.no_grad(): assert bce_loss(net)(pairs["val"].x, pairs["val"].y).item() == pytest.approx(min(losses), rel=1e-6)


def test_one_seed_one_result(pairs):
    def losses(seed): return [(r["train"], r["val"]) for r in train_cvae(pairs, hidden=50, z_dim=5, epochs=2, seed=seed)[1]]
    histories = [losses(seed) for seed in (0, 0, 1)]
    assert histories[0] == histories[1] != histories[2]


def test_a_loss_that_is_not_finite_stops(pairs):
    net = BaselineNet(20, 20, x_dim=196, y_dim=588)
    with pytest.raises(FloatingPointError, match="step .*batch of .*smaller lr"):
        fit(net, bce_loss(net), pairs["train"], pairs["val"], epochs=2, lr=1e30)
    assert all(weight.isfinite().all() for weight in net.state_dict().values())


@pytest.mark.parametrize("make", [
    lambda: BaselineNet(30, 40, x_dim=196, y_dim=588),
    lambda: CVAE(5, 30, 40, x_dim=196, y_dim=588),
    lambda: CVAE(5, 30, 40, BaselineNet(20, 20), decoder_sees_x=False),
], ids=["baseline", "cvae", "cvae as in Pyro's tutorial"])
def test_checkpoint_round_trip(make, tmp_path):
    net = make()
    save_net(net, tmp_path/"deep"/"net.safetensors")
    again = load_net(tmp_path/"deep"/"net.safetensors")
    assert again.config == net.config
    assert all(torch.equal(w, again.state_dict()[name]) for name, w in net.state_dict().items())
    assert [path.name for path in (tmp_path/"deep").iterdir()] == ["net.safetensors"]


def test_bad_checkpoints_are_refused(tmp_path):
    from safetensors.torch import save_file
    (tmp_path/"text").write_text("not weights")
    save_file({"a": torch.zeros(1)}, tmp_path/"foreign")
    for name, message in ("text", "damaged"), ("foreign", "no checkpoint of cvae_tutorial"):
        with pytest.raises(ValueError, match=message): load_net(tmp_path/name)
    with pytest.raises(FileNotFoundError): load_net(tmp_path/"absent")
    foreign = CVAE(5, 30, 40, torch.nn.Linear(784, 784))
    with pytest.raises(ValueError, match="not with Linear"): save_net(foreign, tmp_path/"net.safetensors")
    assert not (tmp_path/"net.safetensors").exists()


@pytest.mark.parametrize("n", [1, 2, 3])
def test_pretrained_networks_are_those_of_the_results(n, request):
    "On the sample's 2,000 test digits they score like `results/quadrants.json` says of all 10,000"
    baseline, cvae = load_pretrained(n)
    test = get_pairs(n)["test"]
    torch.manual_seed(0)
    ours = {name: values.mean().item() for name, values in estimate_nll(cvae, test.x, test.y, samples=100).items()}
    with torch.no_grad(): ours["bce"] = bce_loss(baseline)(test.x, test.y).item()
    records = json.loads((request.config.rootpath/"results"/"quadrants.json").read_text())
    records = [r for r in records if (r["quadrants"], r["seed"]) == (n, 0) and r["model"] in NAMES]
    assert len(records) == 4
    for record in records:
        stderr = record["stderr"]*5**.5  # of 2,000 digits in place of 10,000
        assert ours[record["estimator"]] == pytest.approx(record["nll"], abs=4*stderr), record


def test_a_trained_cvae_beats_the_baseline(tmp_path):
    "The tutorial's claim at small scale: clearly ahead on the bound, and on the better estimate"
    nll = {r["estimator"]: r["nll"] for r in run(data="sample", epochs=8, out=tmp_path)}
    assert nll["bce"] > nll["elbo"] + 10 and nll["elbo"] > nll["is"] + .5


def test_table():
    "Mean over seeds, error over images, the spread of the seeds, and a hole where nothing was run"
    record = dict(model="cvae", estimator="is", samples=10, stderr=.5, data="sample")
    nlls = {(1, 0): 60., (1, 1): 61., (2, 0): 40.}
    table = results_table([record | dict(quadrants=q, seed=seed, nll=nll) for (q, seed), nll in nlls.items()])
    assert "| cvae | importance sampling | 10 | 60.5 ± 0.5 | 40.0 ± 0.5 |" in table
    assert "Mean of 2 seeds, which differ by at most 1.0" in table and "test, sample, nats" in table
    holed = results_table([record | dict(quadrants=q, seed=0, nll=1., samples=q) for q in (1, 2)])
    assert "| 1 | 1.0 ± 0.5 | – |" in holed and "One seed" in holed


def test_numbers_in_the_prose_follow_from_the_results(request):
    "What the evaluation page says in words about its table, from the file behind the table"
    root = request.config.rootpath
    records = json.loads((root/"results"/"quadrants.json").read_text())
    def mean(quadrants, estimator):
        nlls = [r["nll"] for r in records if (r["quadrants"], r["estimator"]) == (quadrants, estimator) and r["model"] in NAMES]
        assert len(nlls) == 3
        return sum(nlls)/3
    page = "".join(line for cell in json.loads((root/"nbs"/"04_evaluation.ipynb").read_text())["cells"] for line in cell["source"])
    one, two, three = (round(mean(q, "bce") - mean(q, "is")) for q in (1, 2, 3))
    assert f"about {one}, {two} and {three} nats" in page
    assert f"about {one} nats per image with one visible quadrant, {two} with two and {three} with three" in page
    below = [printed - mean(q, "elbo") for q, printed in zip((1, 2, 3), (71.8, 51.0, 24.2))]
    baseline = [printed - mean(q, "bce") for q, printed in zip((1, 2, 3), (100.4, 61.9, 25.4))]
    assert f"{min(below):.1f} to {max(below):.1f} nats lower, and our baseline" in page
    assert f"made of the same layers, {min(baseline):.1f} to {max(baseline):.1f}." in page


def test_figures_and_scores_leave_the_random_numbers_alone(pairs):
    from cvae_tutorial.evaluation import completion_rows, evaluate
    baseline, cvae = BaselineNet(20, 20, x_dim=196, y_dim=588), CVAE(5, 20, 20, x_dim=196, y_dim=588)
    test = replace(pairs["test"], x=pairs["test"].x[:10], y=pairs["test"].y[:10])
    torch.manual_seed(4)
    expected = torch.rand(3)
    torch.manual_seed(4)
    evaluate(baseline, cvae, test, samples=2)
    completion_rows(baseline, cvae, test.x, test.y, 1, 2)
    assert torch.equal(torch.rand(3), expected)


def test_data_in_order(monkeypatch, tmp_path, capsys):
    "root, then the environment, then the cache with a download, then the sample with one line that says so"
    import cvae_tutorial.data as data
    monkeypatch.setenv("CVAE_TUTORIAL_DATA", "from the environment")
    assert find_mnist("named") == "named" and find_mnist() == "from the environment"
    with pytest.raises(FileNotFoundError, match="pass download=True, or use root='sample'"): load_mnist(root=tmp_path)

    monkeypatch.delenv("CVAE_TUTORIAL_DATA")
    monkeypatch.delenv("IN_TEST", raising=False)
    monkeypatch.setattr(data, "CACHE", tmp_path/"file"/"below")  # a folder that cannot be made
    (tmp_path/"file").write_text("")
    data._download_once.cache_clear()
    try: assert [find_mnist(), find_mnist()] == ["sample", "sample"]
    finally: data._download_once.cache_clear()
    assert capsys.readouterr().out.count("using the sample of 12,000 digits") == 1


def test_run_from_the_command_line(tmp_path, capsys, request):
    out = tmp_path/"q3"
    assert main(["run", "--quadrants", "3", "--data", "sample", "--epochs", "1", "--device", "cpu", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "importance sampling" in printed and "sample" in printed
    records = json.loads((out/"results.json").read_text())
    assert [r["estimator"] for r in records] == ["bce", "elbo", "prior_mc", "is"]
    committed = [r for path in (request.config.rootpath/"results").rglob("quadrants.json") for r in json.loads(path.read_text())]
    assert {tuple(sorted(r)) for r in records + committed} == {(
        "data", "device", "estimator", "model", "nll", "params", "quadrants", "samples", "seed", "split", "stderr", "train_seconds")}
    assert {"samples.png", "cvae.safetensors", "baseline.safetensors"} <= {path.name for path in out.iterdir()}


@pytest.mark.parametrize("arguments, message", [
    (["--data", "/nowhere"], "No MNIST in '/nowhere'"),
    (["--device", "cuda:99"], "CUDA"),
    (["--device", "abacus"], "must be 'auto'"),
    (["--epochs", "0"], "at least 1"),
    (["--seed", "-1"], "seed must be a whole number of at least 0"),
])
def test_command_line_says_what_was_wrong(arguments, message, tmp_path, capsys):
    assert main(["run", "--data", "sample", "--out", str(tmp_path/"out"), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path/"out").exists()


def test_reproduce_goes_on_where_it_was_stopped(tmp_path, monkeypatch, request):
    "Finished runs and measurements are taken as they are; only the missing ones are made"
    made = []
    def counted(quadrants, data, epochs, seed, device, out):
        made.append((quadrants, seed))
        return run(quadrants, data, epochs, seed, device, out)
    record = dict(model="baseline", estimator="bce", samples=1, nll=1., stderr=.1, seed=0, data="sample")
    runs = tmp_path/"runs"
    for n in (1, 3):
        (runs/f"sample-q{n}-seed0-epochs1").mkdir(parents=True)
        (runs/f"sample-q{n}-seed0-epochs1"/"results.json").write_text(json.dumps([record | {"quadrants": n}]))
        (runs/f"sample-q{n}-seed0-epochs1"/"sharpness.json").write_text(json.dumps({"variance": [{"quadrants": n, "total": -1.}]}))
    (runs/"sample-controls-seed0-epochs1.json").write_text(json.dumps({"failures": [{"training": "none"}]}))
    shutil.copy(request.config.rootpath/"cvae_tutorial"/"assets"/"classifier.safetensors", runs/"sample-classifier.safetensors")
    monkeypatch.setattr("cvae_tutorial.run.run", counted)
    def again(): return reproduce(tmp_path/"results", runs, data="sample", epochs=1, seeds=(0,), count=20, tables=("sharpness", "controls"))
    records = again()
    assert made == [(2, 0)]
    assert json.loads((tmp_path/"results"/"quadrants.json").read_text()) == records
    assert {r["quadrants"] for r in records} == {1, 2, 3}
    sharpness = json.loads((tmp_path/"results"/"sharpness.json").read_text())
    assert [r["quadrants"] for r in sharpness["variance"]] == [1, 2, 3] and sharpness["failures"] == [{"training": "none"}]
    assert {r["quadrants"] for r in sharpness["coverage"]} == {2}
    assert again() == records and made == [(2, 0)]


def test_variants_are_scored_as_what_they_are(pairs):
    "No estimate from a recognition network that nobody trained, and a baseline of its own for other pixels"
    small = {split: Pairs(p.x[:300], p.y[:300], p.digits[:300], p.source) for split, p in pairs.items()}
    baseline = BaselineNet(20, 20, x_dim=196, y_dim=588)
    def measured(name): return measure_variant(name, small, baseline, epochs=1, count=20)
    scored = {name: measured(name) for name in ("z from the prior", "black and white", "prior sees the guess")}
    def rows(name): return [(r["model"], r["estimator"], r["data"]) for r in scored[name][1]]
    assert rows("z from the prior") == [("z from the prior", "prior_mc", "sample")] and scored["z from the prior"][2]["kl"] == []
    rounded = "sample, black and white"
    assert rows("black and white") == [("baseline, black and white", "bce", rounded), *(
        ("black and white", estimator, rounded) for estimator in ("elbo", "prior_mc", "is"))]
    assert scored["prior sees the guess"][0].baseline_net is baseline
    assert all(len(use["kl"]) == 50 and use["within"] > 0 for name, (_, _, use) in scored.items() if name != "z from the prior")


def test_reproduce_wants_all_of_mnist(tmp_path, monkeypatch):
    "Without a network it must not pass the sample off as MNIST"
    monkeypatch.setattr("cvae_tutorial.run.load_mnist", lambda train, root: load_mnist(train, "sample"))
    with pytest.raises(FileNotFoundError, match="needs all of MNIST"): reproduce(tmp_path/"results")
    assert not (tmp_path/"results").exists()
