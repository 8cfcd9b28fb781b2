"Real processes that torchrun starts, which talk through Gloo. The page itself asserts that two reach the bound of one."
import sys

import pytest
import torch
from conftest import run

from cvae_tutorial.baseline import BaselineNet, bce_loss
from cvae_tutorial.data import get_pairs
from cvae_tutorial.kit.files import load_tensors

GRADIENT = """
import sys
from pathlib import Path
import torch
import torch.distributed as dist
from cvae_tutorial.baseline import BaselineNet, bce_loss
from cvae_tutorial.data import get_pairs
from cvae_tutorial.kit.files import save_tensors
from cvae_tutorial.kit.pairs import Pairs
from cvae_tutorial.scaling import own_share, parallel_loss

dist.init_process_group()
torch.manual_seed(dist.get_rank()) # weights of its own, until parallel_loss makes them those of process 0
net = BaselineNet(20, 20, x_dim=196, y_dim=588)
p = get_pairs(1)["train"]
loss, train = parallel_loss(net, bce_loss), own_share(dict(train=Pairs(p.x[:4001], p.y[:4001], None, p.source)))["train"]
loss(train.x, train.y).backward()
with torch.no_grad(): value = loss(train.x, train.y)
gradients = {name: p.grad for name, p in net.named_parameters()}
save_tensors(f"{sys.argv[1]}/{dist.get_rank()}", gradients | {"value": value}, {"count": len(train.x)})
del loss # it holds the process group, whose threads would outlive the interpreter: now and then an abort at exit
dist.destroy_process_group()
threads = len(list(Path("/proc/self/task").glob("*")))
assert threads == 1, f"{threads - 1} threads of Gloo are left"
"""


def torchrun(processes, *command, cwd):
    return run(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", processes, *command,
               cwd=cwd, OMP_NUM_THREADS="1", TQDM_DISABLE="1")


def test_the_mean_of_two_gradients_is_the_gradient_of_one_process(tmp_path):
    "A loss without draws of z, one step on all pairs: the same number and the same gradient, but for rounding"
    (tmp_path/"gradient.py").write_text(GRADIENT)
    torchrun(2, "gradient.py", tmp_path, cwd=tmp_path)
    torch.manual_seed(0)
    net, train = BaselineNet(20, 20, x_dim=196, y_dim=588), get_pairs(1)["train"]
    count = 4000  # of an odd number of pairs the last is left out
    loss = bce_loss(net)(train.x[:count], train.y[:count])
    loss.backward()
    for rank in "01":
        about, found = load_tensors(tmp_path/rank)
        assert about["count"] == count//2
        assert found.pop("value").item() == pytest.approx(loss.item(), rel=1e-5)
        for name, p in net.named_parameters(): torch.testing.assert_close(found[name], p.grad, rtol=1e-3, atol=1e-5)


def test_says_how_it_is_started():
    with pytest.raises(AssertionError, match="torchrun --nproc-per-node 2"):
        run(sys.executable, "-m", "cvae_tutorial.scaling", cwd=".")
