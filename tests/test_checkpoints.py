"Networks come back from their files as they were, and what is no checkpoint is refused by name."
import json

import pytest
import torch
from hypothesis import given, settings, strategies as st
from safetensors.torch import save_file

from cvae_tutorial.baseline import BaselineNet
from cvae_tutorial.cvae import CVAE
from cvae_tutorial.kit.checkpoints import load_net, save_net


@pytest.mark.parametrize("make", [
    lambda: BaselineNet(30, 40, x_dim=196, y_dim=588),
    lambda: CVAE(5, 30, 40, x_dim=196, y_dim=588),
    lambda: CVAE(5, 30, 40, BaselineNet(20, 20), decoder_sees_x=False),
], ids=["baseline", "cvae", "cvae as in Pyro's tutorial"])
def test_checkpoint_round_trip(make, tmp_path):
    net = make()
    save_net(net, tmp_path/"deep"/"net.safetensors")
    again = load_net(tmp_path/"deep"/"net.safetensors", type(net))
    assert again.config == net.config
    assert all(torch.equal(w, again.state_dict()[name]) for name, w in net.state_dict().items())
    assert [path.name for path in (tmp_path/"deep").iterdir()] == ["net.safetensors"]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=4, max_size=4), st.booleans(), st.sampled_from(["normal", "standard", "flow"]), st.sampled_from(["pixels", "numbers"]))
def test_nets_come_back_from_their_files(tmp_path_factory, widths, decoder_sees_x, prior, likelihood):
    path = tmp_path_factory.mktemp("net")/"net.safetensors"
    z_dim, hidden, x_dim, y_dim = widths
    net = CVAE(z_dim, hidden, hidden, x_dim=x_dim, y_dim=y_dim, decoder_sees_x=decoder_sees_x, prior=prior, likelihood=likelihood)
    save_net(net, path)
    again = load_net(path, CVAE)
    assert again.config == net.config and all(torch.equal(w, again.state_dict()[name]) for name, w in net.state_dict().items())


@pytest.mark.parametrize("sees, prior", [(True, "normal"), (False, "standard")])
def test_files_from_before_the_choice_of_prior(sees, prior):
    config = CVAE(5, 30, 40, x_dim=196, y_dim=588).config
    del config["prior"]
    assert CVAE.from_config(config | dict(prior_sees_x=sees)).config["prior"] == prior


def test_bad_checkpoints_are_refused(tmp_path):
    (tmp_path/"text").write_text("not weights")
    save_file({"a": torch.zeros(1)}, tmp_path/"foreign")
    save_net(BaselineNet(4, 4), tmp_path/"baseline")
    for name, message in ("text", "damaged"), ("foreign", "no checkpoint of a CVAE: it says None"), ("baseline", "no checkpoint of a CVAE: it says 'BaselineNet'"):
        with pytest.raises(ValueError, match=message): load_net(tmp_path/name, CVAE)
    with pytest.raises(FileNotFoundError): load_net(tmp_path/"absent", CVAE)


@pytest.mark.parametrize("make", [lambda: torch.nn.Linear(2, 2), lambda: CVAE(5, 30, 40, torch.nn.Linear(784, 784)), lambda: CVAE(5, 30, 40, Guess(4, 4))],
                         ids=["a net of another class", "a CVAE around one", "a CVAE around a child of BaselineNet"])
def test_what_could_not_be_loaded_again_is_not_saved(make, tmp_path):
    with pytest.raises(ValueError, match="cannot be saved"): save_net(make(), tmp_path/"net.safetensors")
    assert not (tmp_path/"net.safetensors").exists()


class Guess(BaselineNet):
    "It has the weights of a BaselineNet, and answers otherwise"
    def forward(self, x): return 1 - super().forward(x)


ABOUT = {"class": "BaselineNet", "config": dict(hidden_1=4, hidden_2=4, x_dim=4, y_dim=4)}


@pytest.mark.parametrize("about", [
    {}, {"class": "os.system"}, {"class": "BaselineNet"}, ABOUT | {"config": {"hidden_1": 4}}, ABOUT | {"config": ABOUT["config"] | {"x_dim": 5}},
    ABOUT | {"config": ABOUT["config"] | {"hidden_1": "4"}}, ABOUT | {"config": ABOUT["config"] | {"run": "me"}}, ABOUT | {"config": ABOUT["config"] | {"y_dim": -1}},
], ids=["nothing", "foreign class", "no widths", "few widths", "other widths", "text", "unknown name", "negative"])
def test_weights_that_do_not_fit_their_description(tmp_path, about):
    net = BaselineNet(**ABOUT["config"])
    save_file(net.state_dict(), tmp_path/"net", {"about": json.dumps(about)})
    with pytest.raises(ValueError, match="net (is no checkpoint|does not hold)"): load_net(tmp_path/"net", BaselineNet)


@pytest.mark.parametrize("examples", [30, pytest.param(2_000, marks=pytest.mark.long)])
def test_files_of_any_content_are_refused(tmp_path, examples):
    @settings(max_examples=examples, deadline=None, database=None)
    @given(st.binary(max_size=200), st.integers(0, 10_000), st.booleans())
    def load(content, place, spoil):
        if spoil:  # a real file with some bytes changed
            whole = bytearray(real)
            whole[place % 600:place % 600 + len(content)] = content
            content = bytes(whole)
        (tmp_path/"net").write_bytes(content)
        try: load_net(tmp_path/"net", BaselineNet)
        except ValueError as error: assert str(tmp_path/"net") in str(error)

    save_net(BaselineNet(2, 2, x_dim=2, y_dim=2), tmp_path/"real")
    real = (tmp_path/"real").read_bytes()
    load()
