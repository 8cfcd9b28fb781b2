"Pairs of one's own: each row is dealt once, with its answer, in an order that the seed decides"
import pytest
import torch
from hypothesis import given, settings, strategies as st

from cvae_tutorial.kit.pairs import choose_device, split_pairs


@settings(max_examples=30, deadline=None)
@given(st.integers(7, 60), st.sampled_from([(), (3,), (2, 2)]), st.integers(0, 5))
def test_each_row_is_dealt_once_with_its_answer(count, shape, seed):
    x = torch.arange(count).view(-1, *[1]*len(shape)).expand(count, *shape)
    pairs = split_pairs(x, 2.*x, torch.arange(count), seed=seed)
    assert [len(pairs[split].x) for split in ("train", "val", "test")] == [count - 2*(count//7), count//7, count//7]
    assert torch.cat([p.digits for p in pairs.values()]).sort().values.tolist() == list(range(count))
    for p in pairs.values():
        assert p.x.shape == p.y.shape == (len(p.digits), max(1, torch.Size(shape).numel())) and p.x.dtype == torch.float32
        assert torch.equal(p.y, 2*p.x) and torch.equal(p.x[:, 0], p.digits.float())
    again = split_pairs(x, 2.*x, torch.arange(count), seed=seed)
    assert all(torch.equal(p.digits, again[split].digits) for split, p in pairs.items())


def test_another_seed_deals_another_order():
    orders = [split_pairs(None, torch.arange(70.), torch.arange(70), seed=seed)["train"].digits.tolist() for seed in (0, 1)]
    assert orders[0] != orders[1]


@pytest.mark.parametrize("device, error, words", [("gpu", ValueError, "must be 'auto', 'cpu' or 'cuda', not 'gpu'"), ("cuda:99", RuntimeError, "'cuda:99' was asked for")])
def test_devices_that_are_not_there(device, error, words):
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(error, match=words): choose_device(device)
