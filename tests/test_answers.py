"A net with K answers: an oracle whose likelihood is known, the die against its weights, and the packaged one"
import pytest
import torch
from jaxtyping import TypeCheckError

from cvae_tutorial.answers import AnswersNet, answers_nll, load_answers, train_answers
from cvae_tutorial.baseline import baseline_nll
from cvae_tutorial.data import get_pairs
from cvae_tutorial.kit.checkpoints import load_net, save_net
from cvae_tutorial.kit.files import load_results
from cvae_tutorial.kit.pairs import Pairs, random_rows
from cvae_tutorial.reader import load_classifier
from cvae_tutorial.reports.families import run_answers
from cvae_tutorial.reports.reproduce import Runs
from cvae_tutorial.reports.trials import answers_table, measure_answers
from cvae_tutorial.training import load_pretrained


def mixture(count, seed):
    "Two pictures of twelve pixels, one three times as frequent as the other; the likelihood of each draw is known"
    random = torch.Generator().manual_seed(seed)
    pictures, weights = torch.tensor([[.9]*6 + [.1]*6, [.1]*6 + [.9]*6]), torch.tensor([.75, .25])
    k = torch.multinomial(weights, count, replacement=True, generator=random)
    y = torch.bernoulli(pictures[k], generator=random)
    each = torch.where(y[:, None] == 1, pictures, 1 - pictures).prod(2)
    return Pairs(torch.zeros(count, 4), y, k, "two pictures"), -(each@weights).log()


def test_two_answers_reach_a_known_likelihood_and_one_does_not():
    (train, _), (val, truth) = mixture(6000, 0), mixture(4000, 1)
    pairs, nll = dict(train=train, val=val), {}
    for K in 1, 2:
        net, _ = train_answers(pairs, K, hidden=16, epochs=10, lr=1e-2, batch_size=200)
        with torch.no_grad(): nll[K] = answers_nll(net, val.x, val.y).mean()
    assert nll[2].item() == pytest.approx(truth.mean().item(), abs=.03)
    assert nll[1] > truth.mean() + 1
    with torch.no_grad(): weights = net.answers(val.x[:1])[0].exp().sort().values[0]
    assert torch.allclose(weights, torch.tensor([.25, .75]), atol=.03)


def test_the_die_falls_as_its_weights_say():
    net, x = load_answers(), get_pairs(1)["val"].x[:1]
    torch.manual_seed(0)
    throws = net.sample(x, 4000)[:, 0]
    with torch.no_grad(): log_weights, logits = net.answers(x)
    which = torch.cdist(throws, logits[0].sigmoid()).argmin(1)
    shares = torch.bincount(which, minlength=10)/4000
    assert torch.allclose(shares, log_weights[0].exp(), atol=.03)
    assert torch.allclose(throws.mean(0), net(x)[0], atol=.05)
    assert set(net.sample(x, 3, means=False).unique().tolist()) == {0, 1}


def test_a_net_is_kept_whole(tmp_path):
    net, pairs = AnswersNet(3, 16, x_dim=196, y_dim=588), get_pairs(1)
    save_net(net, tmp_path/"net.safetensors")
    x, y = pairs["val"].x[:20], pairs["val"].y[:20]
    assert torch.equal(answers_nll(load_net(tmp_path/"net.safetensors", AnswersNet), x, y), answers_nll(net, x, y))


def test_wrong_arguments_are_refused():
    with pytest.raises(TypeCheckError, match="num_answers"): AnswersNet(0, 16, x_dim=4, y_dim=4)
    with pytest.raises(TypeCheckError, match="y"): answers_nll(AnswersNet(2, 8, x_dim=4, y_dim=4), torch.rand(3, 4), torch.rand(3, 5))
    bad = Pairs(torch.rand(20, 4), 255*torch.rand(20, 4), None, "bytes")
    with pytest.raises(ValueError, match="train.y"): train_answers(dict(train=bad, val=bad), 2)


def test_the_packaged_ten_answers_beat_one_and_lose_to_the_cvae():
    "On random validation digits of the sample, paired"
    val = get_pairs(1)["val"]
    some = random_rows(len(val.x), 500)
    x, y = val.x[some], val.y[some]
    with torch.no_grad(): ten, one = answers_nll(load_answers(), x, y), baseline_nll(load_pretrained(1)[0], x, y)
    assert (one - ten).mean() > 10
    nats = {r["K"]: r["nll"] for r in load_results("mnist/answers")}
    assert list(nats) == [1, 2, 5, 10, 20, 50] and list(nats.values()) == sorted(nats.values(), reverse=True)
    assert nats[10] < 82 and len([r for r in load_results("mnist/answers") if r["K"] == 10]) == 3


def test_the_measures_by_hand_and_the_run_that_is_read_again(tmp_path, monkeypatch):
    pairs = {split: Pairs(p.x[:600], p.y[:600], p.digits[:600], p.source) for split, p in get_pairs(1).items()}
    net = load_answers()
    found = measure_answers(net, load_classifier(), pairs, count=300)
    with torch.no_grad(): nll = answers_nll(net, pairs["test"].x, pairs["test"].y).mean().item()
    assert found["nll"] == pytest.approx(nll, abs=1e-3) and 0 < found["price"] < found["entropy"] < 2.31
    runs = Runs(tmp_path, "sample", epochs=1, count=300)
    monkeypatch.setattr(Runs, "pairs", lambda self, n: pairs)
    monkeypatch.setattr(Runs, "reader", lambda self: load_classifier())
    first = run_answers(runs, 2, 0)
    assert first["K"] == 2 and run_answers(runs, 2, 0) == first
    table = answers_table([found | dict(K=K) for K in (1, 10)])
    assert table.count("\n") == 5 and "tbl-answers" in table
