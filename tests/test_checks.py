"Checks: numbers in their range and no others, and errors that name the argument, what came and what was expected"
import math

import pytest
import torch
from hypothesis import given, strategies as st
from jaxtyping import Float
from torch import Tensor

from cvae_tutorial.kit.checks import (AtLeast2, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, PositiveInts, Probability, check_choice,
                                      check_number, check_values, typed)

anything = st.one_of(st.integers(-3, 3), st.floats(), st.floats(-2, 2), st.booleans(), st.none(), st.text(max_size=2))


@given(anything)
def test_types_of_numbers_hold_what_they_say(value):
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    whole = number and isinstance(value, int)
    assert isinstance(value, PositiveInt) == (whole and value >= 1) and isinstance(value, NonNegativeInt) == (whole and value >= 0)
    assert isinstance(value, NonNegativeFloat) == (number and 0 <= value <= 1e300) and isinstance(value, Probability) == (number and 0 <= value <= 1)
    assert isinstance(value, PositiveFloat) == (number and 1e-300 <= value <= 1e300)
    assert isinstance(value, AtLeast2) == (whole and value >= 2) and isinstance((1, value), PositiveInts) == isinstance([value], PositiveInts) == (whole and value >= 1)
    assert not isinstance(value, PositiveInts) and not isinstance((), PositiveInts)


@typed
def scale(x:Float[Tensor, "batch visible"], y:Float[Tensor, "batch"], by:PositiveInt=1) -> Float[Tensor, "batch visible"]:
    return (x*y[:, None])[:, :by]


@pytest.mark.parametrize("arguments, name, came", [
    ((torch.rand(3, 2, 1), torch.rand(3)), "x", r"f32\[3,2,1\]"), ((torch.rand(3, 2), torch.rand(4)), "y", r"f32\[4\]"), ((torch.ones(3, 2).long(), torch.rand(3)), "x", r"i64\[3,2\]"),
    (([[1., 2.]], torch.rand(1)), "x", "list|1.0"), ((torch.rand(3, 2), torch.rand(3), 0), "by", "0"), ((torch.rand(3, 2), torch.rand(3), True), "by", "True")])
def test_a_wrong_argument_is_named_with_what_came(arguments, name, came):
    with pytest.raises(TypeError, match=rf"(?s)parameter '{name}'.*Actual value: .*{came}.*Expected type"): scale(*arguments)


def test_a_wrong_answer_is_a_fault_of_ours():
    "The return value is checked too"
    assert scale(torch.rand(3, 2), torch.rand(3), 2).shape == (3, 2)
    with pytest.raises(TypeError, match="return value"): scale(torch.rand(3, 2), torch.rand(3), 1)


@given(st.lists(st.floats(width=32), max_size=5), st.floats(-2, 0), st.floats(0, 2))
def test_values_are_finite_and_in_their_range(values, least, most):
    good = values and all(least <= v <= most for v in values)
    if good: check_values("x", torch.tensor(values, dtype=torch.float64), least, most)
    else:
        with pytest.raises(ValueError, match=r"^x (is empty|must hold finite numbers in)"): check_values("x", torch.tensor(values, dtype=torch.float64), least, most)


@given(anything, st.integers(-2, 2))
def test_a_number_is_whole_and_in_its_range(value, least):
    if type(value) is int and max(0, least) <= value <= 3: check_number("n", value, least, 3)
    else:
        with pytest.raises(ValueError, match=rf"^n must be a whole number of at least {least} and at most 3, not "): check_number("n", value, least, 3)


@given(st.text(max_size=3))
def test_a_choice_is_one_of_those_that_are_named(value):
    if value in ("left", "right"): check_choice("way", value, ("left", "right"))
    else:
        with pytest.raises(ValueError, match="^way must be 'left' or 'right', not "): check_choice("way", value, ("left", "right"))
