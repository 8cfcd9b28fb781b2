"The best epoch is kept, and a stopped training goes on and ends as if nobody had stopped it."
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import ROOT
from pyro.infer import Trace_ELBO

from cvae_tutorial.baseline import BaselineNet, bce_loss, train_baseline
from cvae_tutorial.cvae import CVAE
from cvae_tutorial.data import get_pairs
from cvae_tutorial.kit.checkpoints import load_net, save_net
from cvae_tutorial.kit.fitting import CompiledGradients, LossModule, fit, gradients, record
from cvae_tutorial.kit.pairs import Pairs
from cvae_tutorial.training import elbo_loss, shift_digits, train_cvae
from cvae_tutorial.variants import importance_weighted_loss


@pytest.fixture(scope="module")
def pairs():
    "The sample with one visible quadrant, cut to 1,000 digits per split"
    return {split: replace(p, x=p.x[:1000], y=p.y[:1000], digits=p.digits[:1000]) for split, p in get_pairs(1).items()}


def test_keeps_the_best_epoch_and_stops_early(pairs):
    "A small set is soon memorized: validation turns, and the weights of the turning point are kept"
    torch.manual_seed(0)
    train = replace(pairs["train"], x=pairs["train"].x[:200], y=pairs["train"].y[:200])
    net = BaselineNet(200, 200, x_dim=196, y_dim=588)
    history = fit(net, bce_loss(net), train, pairs["val"], epochs=300, lr=3e-3, patience=4)
    losses = [record["val"] for record in history]
    best = losses.index(min(losses))
    assert len(history) == best + 1 + 4 < 300
    with torch.no_grad(): assert bce_loss(net)(pairs["val"].x, pairs["val"].y).item() == pytest.approx(min(losses), rel=1e-6)


@pytest.mark.parametrize("epochs, shown, moved", [(60, 16, 16), (9, 6, 6), (4, 4, 2)])
def test_a_quarter_of_the_epochs_is_patience_and_two_thirds_are_moved(epochs, shown, moved):
    "A net that only gets worse after its first epoch; five epochs are the least patience"
    net, x, calls = torch.nn.Linear(1, 1), torch.ones(4, 1), []
    def loss(x, y):
        if not torch.is_grad_enabled(): calls.append("val")
        return net(x).sum()*0 + calls.count("val")
    def augment(x, y):
        calls.append("moved")
        return x, y
    data = Pairs(x, x, None, "rows")
    assert len(fit(net, loss, data, data, epochs=epochs, augment=augment)) == shown
    assert calls.count("moved") == moved


def test_validation_takes_no_more_at_a_time_than_training(pairs):
    "And its loss is that of all validation pairs, also where the last batch is smaller"
    net, seen = BaselineNet(20, 20, x_dim=196, y_dim=588), []
    def loss(x, y):
        seen.append(len(x))
        return bce_loss(net)(x, y)
    history = fit(net, loss, pairs["train"], pairs["val"], epochs=1, batch_size=300)
    assert max(seen) == 300
    with torch.no_grad(): assert bce_loss(net)(pairs["val"].x, pairs["val"].y).item() == pytest.approx(history[0]["val"], rel=1e-5)


def test_a_loss_that_is_not_finite_stops(pairs):
    net = BaselineNet(20, 20, x_dim=196, y_dim=588)
    with pytest.raises(FloatingPointError, match="at step 2, on a batch of 256, in epoch 1: try a smaller lr"):
        fit(net, bce_loss(net), pairs["train"], pairs["val"], epochs=2, lr=1e30)
    assert all(weight.isfinite().all() for weight in net.state_dict().values())


# ---- A step as one program ----

def make_guessing(): return CVAE(8, 30, 30, BaselineNet(20, 20, x_dim=196, y_dim=588), x_dim=196, y_dim=588)


@pytest.mark.parametrize("make, make_loss", [
    (lambda: CVAE(8, 30, 30, x_dim=196, y_dim=588), elbo_loss), (lambda: CVAE(8, 30, 30, x_dim=196, y_dim=588, prior="flow"), elbo_loss),
    (make_guessing, lambda net: elbo_loss(net, Trace_ELBO())), (lambda: CVAE(8, 30, 30, x_dim=196, y_dim=588), importance_weighted_loss)],
    ids=["normal prior", "flow prior", "a baseline that does not learn", "importance-weighted"])
def test_a_recorded_step_holds_for_other_weights_digits_and_numbers(pairs, make, make_loss):
    torch.manual_seed(0)
    net, train = make(), pairs["train"]
    loss = make_loss(net)
    plain, module = gradients(net, loss), LossModule(net, loss)
    plain(train.x[:50], train.y[:50])
    learners = {name: w for name, w in module.named_parameters() if w.grad is not None}
    program = record(module, {name: w.detach() for name, w in learners.items()}, train.x[:50], train.y[:50])
    with torch.no_grad():
        for w in net.parameters(): w += .05*torch.randn_like(w)
    torch.manual_seed(1); expected = plain(train.x[50:100], train.y[50:100])
    torch.manual_seed(1); found, value = program({name: w.detach() for name, w in learners.items()}, train.x[50:100], train.y[50:100])
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(found, {name: w.grad for name, w in learners.items()}, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("train", [train_baseline, pytest.param(train_cvae, marks=pytest.mark.long)])
def test_a_compiled_fit_is_the_plain_fit(pairs, train):
    "Also where the last batch is smaller, and while digits are moved"
    def fitted(compiled):
        net, history = train(pairs, epochs=2, batch_size=300, augment=shift_digits, compiled=compiled)
        return [(r["train"], r["val"]) for r in history], torch.cat([w.flatten() for w in net.state_dict().values()])
    (history, weights), (same, close) = fitted(False), fitted(True)
    assert torch.tensor(same) == pytest.approx(torch.tensor(history), rel=1e-4)
    assert 0 < (close - weights).abs().max() < 1e-2  # not the same to the last bit: it was compiled


def straight(net): return lambda x, y: (net(x) - y).square().mean()


def test_without_a_compiler_every_step_is_plain(tmp_path):
    "With a warning for baseline and CVAE, and the very weights of plain fits"
    code = """if True:
        import sys
        from dataclasses import replace
        from pathlib import Path
        from cvae_tutorial.data import get_pairs
        from cvae_tutorial.reports.run import fit_both
        few = {split: replace(p, x=p.x[:200], y=p.y[:200]) for split, p in get_pairs(1).items()}
        for compiled in (False, True):
            made = fit_both(few, 1, 0, Path(sys.argv[1])/str(compiled), compiled)
            print([sum(w.double().sum().item() for w in net.parameters()) for net, _ in made.values()])"""
    without = dict(os.environ, CXX="/nowhere/g++", TORCHINDUCTOR_FORCE_DISABLE_CACHES="1")
    done = subprocess.run([sys.executable, "-c", code, tmp_path], env=without, text=True, capture_output=True)
    plain, compiled = done.stdout.splitlines()
    assert plain == compiled and re.search(r"Every step is plain.*/nowhere/g\+\+.*mends it", done.stderr), done.stderr


@pytest.mark.parametrize("changed", [lambda y: y + random.random(), lambda y: y/y.std().item()], ids=["draws", "reads"])
def test_a_step_that_python_has_a_part_in_is_not_compiled(pairs, changed):
    torch.manual_seed(0)
    net, x, y = torch.nn.Linear(196, 588), pairs["train"].x[:20], pairs["train"].y[:20]
    def loss(x, y): return straight(net)(x, changed(y))
    with pytest.raises(RuntimeError, match="not the plain one: .*Python draws.*compiled=False"): CompiledGradients(net, loss)(x, y)


class Crooked(torch.nn.Module):
    "Its last gradient is not a number when it is recorded, and zero else; its first is always zero"
    def __init__(self):
        super().__init__()
        self.first, self.middle, self.last = (torch.nn.Parameter(torch.ones(1)) for _ in range(3))

    def forward(self, x, broken): return (x*self.middle).mean() + 0*self.first.sum() + (torch.nan if broken else 0.)*self.last.sum()


@pytest.mark.parametrize("broken", [False, True])
def test_a_gradient_of_zero_may_be_compiled_and_one_that_is_no_number_not(broken):
    net, x, calls = Crooked(), torch.rand(8, 3), []
    def loss(x, y):
        calls.append(x)
        return net(x, broken and len(calls) > 1)*torch.rand(())  # plain first, then recorded, with the same random numbers
    step = CompiledGradients(net, loss)
    if broken:
        with pytest.raises(RuntimeError, match="differs by nan%"): step(x, x)
    else: assert step(x, x).isfinite() and net.first.grad == 0 and net.middle.grad != 0


def test_dropout_is_for_training():
    "And the seconds of the epochs add up to no more than the whole took"
    torch.manual_seed(0)
    x = torch.rand(50, 4)
    net, data = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Dropout(.5)), Pairs(x, x, None, "rows")
    seen = []
    def loss(x, y):
        seen.append(net.training)
        return straight(net)(x, y)
    start = time.perf_counter()
    history = fit(net, loss, data, data, epochs=2)
    assert seen == [True, False]*2 and 0 < sum(r["seconds"] for r in history) <= time.perf_counter() - start


def test_numbers_of_numpy_are_numbers(pairs, tmp_path):
    two = np.int64(2)
    net, history = train_cvae(pairs, z_dim=two, hidden=np.int32(8), epochs=two, batch_size=np.int64(500), resume=tmp_path/"progress")
    save_net(net, tmp_path/"net")
    assert len(history) == 2 and load_net(tmp_path/"net", CVAE).z_dim == 2


# ---- Stopped and going on ----

@pytest.fixture(scope="module")
def few(pairs):
    "500 digits per split"
    return {split: replace(p, x=p.x[:500], y=p.y[:500], digits=p.digits[:500]) for split, p in pairs.items()}


class Stop(Exception): pass


def stop_after(last):
    def stop(epoch, net):
        if epoch == last: raise Stop
    return stop


def small(pairs, **kwargs):
    return train_cvae(pairs, z_dim=4, hidden=24, epochs=6, batch_size=100, augment=shift_digits, seed=3, **kwargs)


def told(history):
    return [(r["epoch"], r["train"], r["val"]) for r in history]


@pytest.mark.parametrize("last", [1, 4, 6])
def test_goes_on_to_the_same_weights(few, tmp_path, last):
    net, history = small(few)
    with pytest.raises(Stop): small(few, resume=tmp_path/"progress", callback=stop_after(last))
    again, goes_on = small(few, resume=tmp_path/"progress")
    assert told(goes_on) == told(history)
    assert all(torch.equal(w, again.state_dict()[name]) for name, w in net.state_dict().items())


def test_goes_on_with_its_patience(few, tmp_path):
    "A fit that stopped early does not train further"
    kwargs = dict(hidden=200, epochs=60, lr=5e-3, patience=3, batch_size=50)
    _, history = train_baseline(few, resume=tmp_path/"progress", **kwargs)
    assert len(history) < 60
    assert train_baseline(few, resume=tmp_path/"progress", **kwargs)[1] == history


def test_the_progress_of_another_fit_is_refused(few, tmp_path):
    small(few, resume=tmp_path/"progress")
    with pytest.raises(ValueError, match="progress belongs to another fit.*Delete it"):
        train_baseline(few, hidden=24, epochs=6, batch_size=100, seed=3, resume=tmp_path/"progress")
    content = (tmp_path/"progress").read_bytes()
    (tmp_path/"progress").write_bytes(content[:len(content)//2])
    with pytest.raises(ValueError, match="progress is damaged"): small(few, resume=tmp_path/"progress")


RUN = """
import sys, json
from cvae_tutorial import data
from cvae_tutorial.kit import mnist
from cvae_tutorial.reports import run
load = data.load_digits
def few(split, root): # 400 digits per split, so that a run takes a moment
    d = load(split, root)
    return mnist.Digits(d.images[:400], d.digits[:400], d.source)
data.load_digits = few
records = run.run(epochs=4, seed=5, device="cpu", out=sys.argv[1])
print(json.dumps([{k: v for k, v in r.items() if k != "train_seconds"} for r in records]))
"""


def start(out):
    return subprocess.Popen([sys.executable, "-c", RUN, out], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                            env={**os.environ, "CVAE_TUTORIAL_DATA": "sample"}, cwd=ROOT)


@pytest.mark.parametrize("kills", [3, pytest.param(200, marks=pytest.mark.long)])
def test_killed_at_any_moment(tmp_path, kills):
    "SIGKILL at random moments of a run; the next one always goes on, and the last ends with the numbers of an unbroken one"
    began = time.monotonic()
    unbroken = json.loads(start(tmp_path/"unbroken").communicate()[0])
    takes, moments, killed = time.monotonic() - began, random.Random(0), 0
    while killed < kills:
        process = start(tmp_path/"broken")
        try: printed = process.communicate(timeout=moments.uniform(0, 1.1*takes))[0]
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            killed += 1
        else: assert json.loads(printed) == unbroken  # it was through before the kill
    assert json.loads(start(tmp_path/"broken").communicate()[0]) == unbroken
