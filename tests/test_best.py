"Pixels in turn, noise, and a decoder with neighbors: probabilities that sum to one, samples that come as often as they should"
import itertools

import pytest
import torch
from jaxtyping import TypeCheckError

from cvae_tutorial.best import AutoregressiveNet, DenoisingNet, InTurn, NeighborCVAE, PixelNet, denoising_loss, floored_loss
from cvae_tutorial.best import known_neighbors, load_autoregressive, train_autoregressive, train_denoising, train_neighbors
from cvae_tutorial.cvae import complete_cvae
from cvae_tutorial.data import get_pairs, visible_mask
from cvae_tutorial.evaluation import estimate_nll
from cvae_tutorial.kit.checkpoints import load_net, save_net
from cvae_tutorial.kit.files import load_results
from cvae_tutorial.kit.fitting import seeded
from cvae_tutorial.kit.pairs import Pairs, random_rows
from cvae_tutorial.reader import load_classifier
from cvae_tutorial.reports.families import FAMILIES, bounds_table, families_table
from cvae_tutorial.reports.families import measure_family, measure_real, neighbors_table, time_families
from cvae_tutorial.reports.tables import grey_scores
from cvae_tutorial.variants import black_and_white


@pytest.fixture(scope="module")
def pairs():
    return black_and_white({split: Pairs(p.x[:600], p.y[:600], p.digits[:600], p.source) for split, p in get_pairs(1).items()})


def shaken(net):
    for weight in net.parameters(): torch.nn.init.normal_(weight, 0, .5)
    return net


def every(pixels): return torch.tensor(list(itertools.product((0., 1.), repeat=pixels)))


@pytest.mark.parametrize("quadrants, side, reach", [(1, 4, 1), (2, 4, 4), (3, 6, 2), (1, 3, 2)])
def test_all_pictures_of_a_small_canvas_share_one(quadrants, side, reach):
    torch.manual_seed(side)
    net = shaken(AutoregressiveNet(quadrants, side, memory=8, width=8, reach=reach))
    x, y = torch.rand(1, net.x_dim), every(net.y_dim)
    with torch.no_grad(): p = net.nll(x.expand(len(y), -1), y).neg().exp()
    assert p.sum().item() == pytest.approx(1, abs=1e-5) and p.max() > 3/len(p)  # and it is far from indifferent
    drawn = net.sample(x, 20_000)[:, 0]
    often = torch.bincount((drawn@2.**torch.arange(net.y_dim - 1, -1, -1)).long(), minlength=len(p))/20_000
    expected = (p*(1 - p)/20_000).sqrt().sum()  # of the summed absolute differences, a little more than their mean
    assert (often - p).abs().sum() < 1.3*expected + .01


def test_a_pixel_sees_what_comes_before_it_and_all_that_is_visible():
    torch.manual_seed(0)
    net = shaken(AutoregressiveNet(1, 6, memory=8, width=8, reach=6))
    x, y = torch.rand(1, net.x_dim, requires_grad=True), torch.rand(1, net.y_dim, requires_grad=True)
    pixels = net.pixels
    def logits():
        rows = pixels.canvas(x, y)[:, :-1].unflatten(1, (6, 6))
        start = net.start(x).tanh()
        memory = torch.cat([start[:, None], net.rows(rows[:, :-1], start[None])[0]], 1)
        return pixels.logits(x, y, net.context(memory).flatten(1, 2)[:, pixels.hidden])[0]
    for n in range(net.y_dim):
        dx, dy = torch.autograd.grad(logits()[n], (x, y), allow_unused=True)
        assert (dy[0, :n] != 0).all() and (dy[0, n:] == 0).all() and (dx != 0).all()


def test_windows_by_hand():
    visible = visible_mask(3, 4, 4)
    windows = known_neighbors(visible, 1)
    assert windows.shape == (4, 9)
    assert windows[0].tolist() == [5, 6, 7, 9, 16, 16, 13, 16, 16]  # of row 2, column 2: the pixel itself and later ones are not known
    assert windows[3].tolist() == [10, 11, 16, 14, 16, 16, 16, 16, 16]


def test_pixels_that_hear_a_decoder_are_drawn_as_they_are_scored():
    torch.manual_seed(0)
    pixels, x = shaken(PixelNet(1, 1, 4, width=8, reach=2)), torch.rand(1, 4)
    said, y = torch.randn(1, 12), every(12)
    with torch.no_grad(): p = InTurn(pixels, x.expand(4096, -1), said.expand(4096, -1)).log_prob(y).exp()
    assert p.sum().item() == pytest.approx(1, abs=1e-5)
    canvas = torch.zeros(1, 16)
    canvas[:, pixels.hidden] = said
    rows = iter(canvas.view(4, 4).expand(20_000, 4, 4)[..., None].unbind(1))
    drawn = pixels.draw(x.expand(20_000, -1), lambda above: next(rows))
    often = torch.bincount((drawn@2.**torch.arange(11, -1, -1)).long(), minlength=4096)/20_000
    assert (often - p).abs().sum() < 1.3*(p*(1 - p)/20_000).sqrt().sum() + .01


def test_a_floor_takes_the_price_off_z():
    "Below the floor the prior has no gradient; above it the loss is the negative ELBO"
    torch.manual_seed(0)
    net, x, y = NeighborCVAE(1, 3, 16), torch.rand(20, 196), torch.rand(20, 588).round()
    def prior_moves(floor):
        net.zero_grad(set_to_none=False)
        floored_loss(net, floor)(x, y).backward()
        return max(w.grad.abs().max().item() for w in net.prior_net.parameters())
    floored_loss(net)(x, y).backward()
    assert prior_moves(1000) == 0 < prior_moves(0)
    with seeded(1): bound = estimate_nll(net, x, y, 200)["elbo"].mean()
    with seeded(1), torch.no_grad(): losses = torch.stack([floored_loss(net)(x, y) for _ in range(200)])
    assert losses.mean().item() == pytest.approx(bound.item(), rel=.01)


def test_a_cvae_with_neighbors_completes_as_every_cvae_does():
    images = complete_cvae(NeighborCVAE(1, 4, 8), torch.ones(2, 196), 1, 3)
    assert images.shape == (3, 2, 28, 28) and set(images.unique().tolist()) <= {0., 1.}


def test_noise_ends_where_the_net_is_sure():
    "With one possible answer the walk arrives there; the loss is finite at both ends of time"
    torch.manual_seed(0)
    y = torch.tensor([[1., 0., 1., 1., 0.]]).expand(400, -1)
    one = Pairs(torch.rand(400, 3), y, None, "one answer")
    net, history = train_denoising(dict(train=one, val=one), epochs=10, batch_size=50, lr=5e-3)
    assert history[-1]["val"] < .2 and (net.sample(one.x[:3], 4) - y[0]).abs().max() < .1
    assert denoising_loss(DenoisingNet(8, x_dim=3, y_dim=5))(one.x, y).isfinite()


def test_nets_are_kept_whole(tmp_path, pairs):
    x, y = pairs["val"].x[:10], pairs["val"].y[:10]
    for net in AutoregressiveNet(1, memory=8, width=8), NeighborCVAE(1, 3, 16), DenoisingNet(8, x_dim=196, y_dim=588):
        save_net(net, tmp_path/"net.safetensors")
        again = load_net(tmp_path/"net.safetensors", type(net))
        with seeded(0): a = net.sample(x)
        with seeded(0): b = again.sample(x)
        assert torch.equal(a, b)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="quadrants"): AutoregressiveNet(4)
    with pytest.raises(TypeCheckError, match="y"): AutoregressiveNet(1, memory=8).nll(torch.rand(3, 196), torch.rand(3, 196))
    bad = Pairs(torch.rand(20, 196), 255*torch.rand(20, 588), None, "bytes")
    for train in train_autoregressive, train_denoising, train_neighbors:
        with pytest.raises(ValueError, match="train.y"): train(dict(train=bad, val=bad))


def test_the_packaged_net_scores_below_40_nats():
    "On random digits of the sample's test part, black and white"
    test = black_and_white(get_pairs(1))["test"]
    some = random_rows(len(test.x), 300)
    with torch.no_grad(): nll = load_autoregressive().nll(test.x[some], test.y[some])
    assert nll.mean() < 40 + 3*nll.std()/300**.5


def test_the_families_are_measured_alike(pairs):
    records, nets, reader, alike = [], {}, load_classifier(), {}
    for name, family in FAMILIES.items():
        net, _ = family.train(pairs, epochs=1, seed=0)
        if not records: baseline = net
        nets[name] = net
        kind = type(net), net.config.get("prior")  # nets of one kind are measured alike, and this takes long
        if kind not in alike: alike[kind] = measure_family(name, net, baseline, reader, pairs, count=140, samples=2)
        records.append(alike[kind] | dict(model=name))
        assert records[-1].keys() == records[0].keys() or family.score is None
        assert (records[-1]["nll"] is None) == (family.score is None)
    seconds = time_families(nets, pairs["test"].x[:1], samples=2, turns=1)
    assert seconds.keys() == FAMILIES.keys() and min(seconds.values()) > 0
    records = [r | dict(seconds=seconds[r["model"]]) for r in records]
    real = measure_real(baseline, reader, pairs, 140)
    assert real["doubtful"] < min(r["doubtful"] for r in records)
    def cells(table, name): return next(line for line in table.splitlines() if line.startswith(f"| {name} |")).strip("| ").split(" | ")
    families, neighbors, last = families_table([*records, real], {"CVAE": 61.}), neighbors_table(records), {r["model"]: r for r in records}["autoregressive"]
    assert families.count("\n") == 10 and neighbors.count("\n") == 10
    assert cells(families, "CVAE")[3] == "61.0" and cells(families, "autoregressive")[3] == "–"
    assert cells(families, "autoregressive")[4:6] == [f"{last['nll']:.1f}", f"{last['doubtful']:.0%}"]
    assert cells(families, "autoregressive")[7:10] == [f"{last['features']:.0f}", f"{last['log_score']:.2f}", f"{last['one']:.2f} → {last['many']:.2f}"]
    assert cells(neighbors, "autoregressive")[1:] == [f"{last['nll']:.1f}", "–", f"{last['doubtful']:.0%}", f"{last['features']:.0f}", f"{last['gradient']:.0f}", f"{last['log_score']:.2f}"]


def test_what_the_page_says_of_the_runs():
    made = load_results("mnist/families")
    named = {r["model"]: r for r in made["families"]}
    for name, r in named.items():
        if name != "real digits": assert r["many"] < min(r["one"], named["real digits"]["ignorant"], named["real digits"]["another"])/1.9, name
    short, seen, floored = (named[name] for name in ("CVAE, 5 epochs", "CVAE with neighbors", "the same, with a floor"))
    for r in seen, floored:  # the same epochs: a better score, and worse pictures
        assert r["nll"] < short["nll"] - 9 and r["doubtful"] > short["doubtful"] and r["features"] > short["features"] and r["log_score"] > short["log_score"]
    assert seen["divergence"] < 1 < 10 < floored["divergence"] and named["CVAE"]["nll"] < min(seen["nll"], floored["nll"]) - 3
    grey = grey_scores()
    assert grey["autoregressive"] < 46 and named["autoregressive"]["nll"] < 40
    assert grey["autoregressive"] < grey["sharper CVAE"] < grey["CVAE"] < grey["ten answers"] < grey["baseline"]
    assert bounds_table().count("\n") == 7


def test_the_caption_has_the_edges_of_real_digits():
    records = load_results("mnist/families")["families"]
    real = next(r for r in records if r["model"] == "real digits")
    assert f"Real digits: gradient energy {real['gradient']:.0f}." in neighbors_table(records)
