"The baseline's losses: one over whole images with marks is the other over hidden pixels"
import pytest
import torch
from hypothesis import given, strategies as st

from cvae_tutorial.baseline import BaselineNet, MaskedBCELoss, baseline_nll, bce_loss, complete_baseline
from cvae_tutorial.data import MaskImages, visible_mask


@given(st.integers(1, 3), st.sampled_from([-1., -2., 9.]))
def test_masked_loss_is_the_loss_of_the_hidden_pixels(n, mark):
    images, ink = torch.rand(2, 5, 28, 28)
    sample = MaskImages(n, mask_with=mark)(dict(original=images[:, None], digit=0))
    hidden = ~visible_mask(n)
    expected = torch.nn.functional.binary_cross_entropy(ink[:, hidden], images[:, hidden], reduction="sum")
    torch.testing.assert_close(MaskedBCELoss(masked_with=mark)(ink.flatten(1), sample["output"]), expected)


def test_the_loss_is_a_sum_by_hand():
    "In nats, summed over the pixels of an image and meant over images, with grey between black and white"
    torch.manual_seed(0)
    net, x, y = BaselineNet(6, 6, x_dim=3, y_dim=5), torch.rand(4, 3), torch.rand(4, 5)
    ink = net(x).double()
    by_hand = -(y*ink.log() + (1 - y)*(1 - ink).log()).sum(1)
    torch.testing.assert_close(baseline_nll(net, x, y).double(), by_hand, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(bce_loss(net)(x, y).double(), by_hand.mean(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("value", [0., .5, 1.])
def test_a_mark_must_be_no_pixel_value(value):
    "Black, white and grey are values of pixels; anything just outside is a mark"
    with pytest.raises(ValueError, match=f"masked_with must lie outside 0..1, not be {value}"): MaskedBCELoss(value)
    assert MaskedBCELoss(-1e-6).masked_with < 0 and MaskedBCELoss(1 + 1e-6).masked_with > 1


def test_a_completed_digit_drags_no_gradient_along():
    assert not complete_baseline(BaselineNet(6, 6, x_dim=196, y_dim=588), torch.rand(2, 196), 1).requires_grad
