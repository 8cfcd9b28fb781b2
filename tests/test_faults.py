"One row a fault: each ends in a good result, or in one clear error. The table of them stands on the contributors' page."
import gzip
import hashlib
import json
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from functools import partial
from http.server import ThreadingHTTPServer

import numpy as np
import pytest
import torch
from conftest import ROOT, Quiet, run
from safetensors.torch import save_file
from torchvision.datasets import MNIST

from cvae_tutorial import constraints, data, sharpness, variants
from cvae_tutorial.baseline import BaselineNet, MaskedBCELoss, bce_loss, fit, mlp, plot_history, train_baseline
from cvae_tutorial.cvae import CVAE, Encoder, complete_cvae
from cvae_tutorial.data import (Pairs, check_choice, count_quadrants, find_ambiguous, find_twins, get_data,
                                get_pairs, join_quadrants, load_digits, load_mnist, show_digits, split_pairs,
                                split_quadrants, visible_mask)
from cvae_tutorial.demo import hide_quadrants
from cvae_tutorial.evaluation import estimate_nll, evaluate, log_mean_exp, mean_and_stderr, results_table
from cvae_tutorial.run import reproduce, run as run_all
from cvae_tutorial.training import load_net, save_net, shift_images, train_cvae

# ---- Data: a few real digits in MNIST's files, on a server of this machine ----

WHOLE = {"train": 60, "t10k": 30}


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    "Archives as a mirror offers them, and the list of checksums that the package holds of their contents"
    folder, lines = tmp_path_factory.mktemp("published"), []
    for part, count in WHOLE.items():
        digits = load_mnist(part == "train", "sample")
        for kind, values in ("images-idx3", digits.images[:count]), ("labels-idx1", digits.digits[:count].byte()):
            head = bytes([0, 0, 8, values.dim()]) + np.array(values.shape, ">i4").tobytes()
            content, name = head + values.numpy().tobytes(), f"{part}-{kind}-ubyte"
            (folder/f"{name}.gz").write_bytes(gzip.compress(content, mtime=0))
            lines.append(f"{hashlib.sha256(content).hexdigest()}  MNIST/raw/{name}\n")
    (folder/"datasets.sha256").write_text("".join(sorted(lines, key=lambda line: line.split()[1])))
    return folder


class Mirror(Quiet):
    "A server with a trouble of its own"
    trouble, asked = None, []
    def do_GET(self):
        Mirror.asked.append(self.path)
        if self.trouble == "slow": time.sleep(.3)
        if self.trouble == "portal": return self.answer(b"<html>log in first</html>")
        if self.trouble == "absent": return self.send_error(404)
        content = open(self.translate_path(self.path), "rb").read()
        self.answer(content, content[:len(content)//2] if self.trouble == "cut" else content)

    def answer(self, content, sent=None):
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content if sent is None else sent)


@pytest.fixture
def mirror(published):
    "Its address; set Mirror.trouble"
    server = ThreadingHTTPServer(("localhost", 0), partial(Mirror, directory=published))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Mirror.trouble, Mirror.asked = None, []
    yield f"http://localhost:{server.server_port}/"
    server.shutdown()


def use(published, cache, *mirrors):
    "Let the library fetch these few digits from these mirrors, and know their checksums"
    resources = [(f"{name}.gz", hashlib.md5((published/f"{name}.gz").read_bytes()).hexdigest())
                 for name in re.findall(r"raw/(\S+)", (published/"datasets.sha256").read_text())]
    data.MNIST = type("MNIST", (MNIST,), dict(mirrors=mirrors, resources=resources))
    data.ASSETS, data.CACHE = published, cache


@pytest.fixture
def few(published, mirror, tmp_path, monkeypatch):
    "The cache directory of a library that knows only the mirror above"
    for name in "MNIST", "ASSETS", "CACHE": monkeypatch.setattr(data, name, getattr(data, name))
    for name in "CVAE_TUTORIAL_DATA", "IN_TEST": monkeypatch.delenv(name, raising=False)
    use(published, tmp_path/"cache", mirror)
    data._download_once.cache_clear()
    yield tmp_path/"cache"
    data._download_once.cache_clear()


def raw(folder): return {path.name: path.read_bytes() for path in sorted((folder/"MNIST"/"raw").glob("*"))}


def is_good(digits): return digits.source == "MNIST" and len(digits.images) == WHOLE["train"] and digits.images.sum() > 0


@pytest.mark.parametrize("trouble", ["cut", "portal", "absent", "nobody"])
def test_a_failed_download_ends_in_the_sample_and_next_time_in_the_digits(few, published, mirror, capsys, trouble):
    Mirror.trouble = trouble
    if trouble == "nobody": use(published, few, "http://localhost:9/")
    assert data.find_mnist() == "sample"
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and "cannot be fetched" in said and "using the sample of 12,000 digits" in said
    assert not (few/"MNIST").exists()
    Mirror.trouble = None
    use(published, few, mirror)
    data._download_once.cache_clear()
    assert is_good(load_mnist()) and len(raw(few)) == 4 and not (few/"download").exists()


def test_the_next_mirror_serves_when_the_first_does_not(few, published, mirror):
    use(published, few, "http://localhost:9/", mirror)
    assert is_good(load_mnist())


def test_an_asked_for_download_that_fails_says_so(few, tmp_path):
    Mirror.trouble = "portal"
    with pytest.raises(OSError, match="MNIST is not whole in .*named.* cannot be fetched"): load_mnist(True, tmp_path/"named", download=True)


DAMAGE = {"truncated": lambda b: b[:len(b)//2], "empty": lambda b: b"", "one bit": lambda b: b[:-1] + bytes([b[-1] ^ 1]),
          "page in place of data": lambda b: b"<html>log in first</html>", "another size": lambda b: b[:4] + b"\0\0\0\x01" + b[8:],
          "another type": lambda b: b"\0\0\x0d\3" + b[4:]}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_named_and_mended(few, damage):
    assert is_good(load_mnist())
    path, whole = few/"MNIST"/"raw"/"train-images-idx3-ubyte", raw(few)
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    with pytest.raises(ValueError, match="train-images-idx3-ubyte is damaged.*expected SHA-256 .* found .*Delete it"): load_mnist(True, few)
    assert is_good(load_mnist(True, few, download=True)) and raw(few) == whole


def test_a_bad_download_never_replaces_a_good_file(few):
    load_mnist()
    (few/"MNIST"/"raw"/"t10k-labels-idx1-ubyte").unlink()
    left, Mirror.trouble = raw(few), "cut"
    with pytest.raises(OSError): load_mnist(True, few, download=True)
    assert raw(few) == left and is_good(load_mnist(True, few))


def test_good_files_are_not_fetched_again(few):
    load_mnist()
    Mirror.asked.clear()
    load_mnist(True, few, download=True)
    assert Mirror.asked == []


PROCESS = """
import sys, pathlib, os; sys.path.insert(0, sys.argv[1])
import resource, signal
if sys.argv[5:]: signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[5]),)*2)
from test_faults import data, is_good, load_mnist, use
os.environ.pop("CVAE_TUTORIAL_DATA", None); os.environ.pop("IN_TEST", None)  # conftest names the sample
use(pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]), sys.argv[4])
print("ready", flush=True)
root = data.find_mnist()
print("good" if root != "sample" and is_good(load_mnist(True, root)) else root)
"""


def start(published, cache, mirror, *limit, **kwargs):
    command = [sys.executable, "-c", PROCESS, ROOT/"tests", published, cache, mirror, *limit]
    return subprocess.Popen([str(w) for w in command], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, **kwargs)


def test_two_processes_at_once_read_whole_files(published, mirror, tmp_path):
    Mirror.trouble = "slow"
    both = [start(published, tmp_path/"cache", mirror) for _ in range(2)]
    assert [p.communicate()[0].split()[-1] for p in both] == ["good", "good"]
    assert len(Mirror.asked) == 8  # by one of them: torchvision asks where each file is, and then for it


def test_a_killed_download_goes_on(published, mirror, tmp_path):
    Mirror.trouble = "slow"
    process = start(published, tmp_path/"cache", mirror)
    process.stdout.readline()
    while len(Mirror.asked) < 3 and process.poll() is None: time.sleep(.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path/"cache"/"MNIST").exists()
    assert start(published, tmp_path/"cache", mirror).communicate()[0].split()[-1] == "good"
    assert len(raw(tmp_path/"cache")) == 4


def test_a_full_disk_ends_in_the_sample(published, mirror, tmp_path):
    "The limit on a file's size stands for the disk: the kernel refuses to write on"
    said = start(published, tmp_path/"cache", mirror, 9000).communicate()[0]
    assert "File too large" in said and said.split()[-1] == "sample" and not (tmp_path/"cache"/"MNIST").exists()


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs Unix permissions")
def test_a_read_only_cache_ends_in_the_sample(published, mirror, tmp_path):
    "As a user who may not write there, since root may"
    code = PROCESS.replace("root =", "if os.geteuid() == 0: os.setegid(65534); os.seteuid(65534)\nroot =")
    assert code != PROCESS
    cache = tmp_path/"cache"
    cache.mkdir()
    cache.chmod(0o555)
    for path in [*tmp_path.parents, tmp_path, *published.parents, published, *published.iterdir()]:
        if path.stat().st_uid == os.geteuid() and "pytest-of" in str(path): path.chmod(path.stat().st_mode | 0o055)
    done = subprocess.run([sys.executable, "-c", code, str(ROOT/"tests"), str(published), str(cache), mirror], capture_output=True, text=True, cwd=ROOT)
    assert "Permission denied" in done.stdout and done.stdout.split()[-1] == "sample", done.stderr
    assert list(cache.iterdir()) == []


def test_folders_without_mnist_are_refused_by_name(tmp_path):
    (tmp_path/"wrong"/"MNIST"/"raw").mkdir(parents=True)
    (tmp_path/"wrong"/"MNIST"/"raw"/"cat.png").write_bytes(b"PNG")
    (tmp_path/"file").write_text("")
    for name in "absent", "wrong", "file":
        with pytest.raises(FileNotFoundError, match=rf"No MNIST in .*{name}.*expected the four files in .*use root='sample'"):
            load_mnist(True, tmp_path/name)


def test_a_damaged_sample_is_named(published, tmp_path, monkeypatch):
    whole = (data.ASSETS/"digits_sample.npz").read_bytes()
    (tmp_path/"digits_sample.npz").write_bytes(whole[:-100])
    (tmp_path/"SHA256SUMS").write_text((data.ASSETS/"SHA256SUMS").read_text())
    monkeypatch.setattr(data, "ASSETS", tmp_path)
    with pytest.raises(ValueError, match="digits_sample.npz is damaged"): load_mnist(True, "sample")


# ---- Files: nothing in them is run, and damaged ones are named ----

def test_packaged_files_are_those_of_the_list():
    assets = ROOT/"cvae_tutorial"/"assets"
    listed = {line.split()[1] for line in (assets/"SHA256SUMS").read_text().splitlines()}
    assert listed == {path.name for path in assets.iterdir()} - {"README.md", "SHA256SUMS"}
    run("sha256sum", "-c", "SHA256SUMS", cwd=assets)


class Bomb:
    def __reduce__(self): return os.system, ("touch exploded",)


@pytest.mark.parametrize("how", ["pickle", "torch.save", "npz"])
def test_pickles_are_refused_and_not_run(tmp_path, monkeypatch, how):
    monkeypatch.chdir(tmp_path)
    path = tmp_path/"net.safetensors"
    if how == "pickle": path.write_bytes(pickle.dumps(Bomb()))
    elif how == "torch.save": torch.save(Bomb(), path)
    else: np.savez(open(path, "wb"), bomb=np.array([Bomb()], dtype=object))
    with pytest.raises(ValueError, match="damaged or no safetensors file"): load_net(path)
    assert not (tmp_path/"exploded").exists()


def test_library_and_tools_unpickle_nothing():
    for path in [*ROOT.glob("cvae_tutorial/*.py"), *ROOT.glob("tools/*.py"), *ROOT.glob("benchmarks/*.py")]:
        assert not re.search(r"\b(pickle\.|torch\.load\(|allow_pickle=True|eval\(\"|exec\()", path.read_text()), path


ABOUT = {"class": "BaselineNet", "config": dict(hidden_1=4, hidden_2=4, x_dim=4, y_dim=4)}


@pytest.mark.parametrize("about", [
    {}, {"class": "os.system"}, {"class": "BaselineNet"}, ABOUT | {"config": {"hidden_1": 4}}, ABOUT | {"config": ABOUT["config"] | {"x_dim": 5}},
    ABOUT | {"config": ABOUT["config"] | {"hidden_1": "4"}}, ABOUT | {"config": ABOUT["config"] | {"run": "me"}}, ABOUT | {"config": ABOUT["config"] | {"y_dim": -1}},
], ids=["nothing", "foreign class", "no widths", "few widths", "other widths", "text", "unknown name", "negative"])
def test_weights_that_do_not_fit_their_description(tmp_path, about):
    net = BaselineNet(**ABOUT["config"])
    save_file(net.state_dict(), tmp_path/"net", {"about": json.dumps(about)})
    with pytest.raises(ValueError, match="net (is no checkpoint|does not hold)"): load_net(tmp_path/"net")


def test_weights_with_a_broken_text(tmp_path):
    save_file({"w": torch.zeros(1)}, tmp_path/"net", {"about": "{no json"})
    with pytest.raises(ValueError, match="net is damaged"): load_net(tmp_path/"net")


# ---- Arguments: refused at the door, by name ----

nan, images = float("nan"), torch.rand(3, 28, 28)
UNNAMED = split_pairs(torch.rand(70, 196), torch.rand(70, 588))
x, y, z = torch.rand(3, 196), torch.rand(3, 588), torch.zeros(3, 5)
broken = torch.full((3, 588), nan)
net, cvae = BaselineNet(8, 8, x_dim=196, y_dim=588), CVAE(5, 8, 8, x_dim=196, y_dim=588)
test = Pairs(x, y, torch.zeros(3).long(), "sample")
pairs = dict(train=test, val=test, test=test)


def fitted(train=test, **kwargs): return fit(net, bce_loss(net), train, test, **kwargs)


REFUSED = {
    "quadrants 0": (lambda: visible_mask(0), "1, 2 or 3"), "quadrants 4": (lambda: get_pairs(4), "1, 2 or 3"),
    "quadrants 4 of a run": (lambda: run_all(4, "sample"), "1, 2 or 3"), "a split of another name": (lambda: load_digits("dev"), "split must be"),
    "an image of one pixel": (lambda: split_quadrants(images[..., :1, :1], 1), "height"), "images that are no tensor": (lambda: split_quadrants([1], 1), "images must be a tensor"),
    "one row of pixels": (lambda: split_quadrants(torch.rand(28), 1), "images must have the shape"), "x of another width": (lambda: join_quadrants(y, y, 1), "x must have the shape"),
    "y of another width": (lambda: join_quadrants(x, x, 1), "y must have the shape"), "x and y of other lengths": (lambda: join_quadrants(x, y[:2], 1), "x and y must broadcast"),
    "pixels of no quadrants": (lambda: count_quadrants(x, x), "number of pixels"), "batch size 0 of data": (lambda: get_data(1, 0), "batch_size"),
    "more twins than inputs": (lambda: find_twins(x, x, 4), "count .* at most 3"), "no digits to tell twins apart": (lambda: find_ambiguous(UNNAMED, 1), "digits must be a tensor"),
    "classes of nothing": (lambda: constraints.class_pairs(UNNAMED), "digits must be a tensor"), "twins of NaN": (lambda: find_twins(x*nan, x), "x must hold finite"),
    "digits of another size": (lambda: show_digits(torch.rand(2, 20, 20)), "28, 28"), "no rows to show": (lambda: show_digits({}), "number of rows"),
    "a width of 0": (lambda: mlp(3, 0), "width"), "hidden 0": (lambda: BaselineNet(0, 4), "hidden_1"), "a mark that is a grey": (lambda: MaskedBCELoss(.5), "masked_with"),
    "a mark that is NaN": (lambda: MaskedBCELoss(nan), "masked_with"), "probabilities above 1": (lambda: MaskedBCELoss()(y + 1, y), "input and target must lie"),
    "targets of another number": (lambda: MaskedBCELoss()(y, x), "target must be as many"), "inputs of another width": (lambda: net(y), "x must have the shape"),
    "whole numbers for floats": (lambda: net(x.long()), "x must hold torch.float32, not torch.int64"), "epochs 0": (lambda: fitted(epochs=0), "epochs"), "epochs -1": (lambda: fitted(epochs=-1), "epochs"),
    "half an epoch": (lambda: fitted(epochs=.5), "epochs must be a whole"), "batch size 0": (lambda: fitted(batch_size=0), "batch_size"), "lr 0": (lambda: fitted(lr=0), "lr"),
    "lr NaN": (lambda: fitted(lr=nan), "lr"), "patience 0": (lambda: fitted(patience=0), "patience"), "no pairs": (lambda: fitted(replace(test, x=x[:0], y=y[:0])), "train.x is empty"),
    "pairs of other lengths": (lambda: fitted(replace(test, x=x[:2])), "train.x and train.y .* 2 and 3"), "NaN in y": (lambda: fitted(replace(test, y=broken)), "train.y must hold finite"),
    "pixels up to 255": (lambda: train_baseline(pairs | dict(train=replace(test, y=255*y))), "y must hold .*0..1"), "seed -1": (lambda: train_baseline(pairs, seed=-1), "seed"),
    "a history of nothing": (lambda: plot_history([], "red"), "history"), "z_dim 0": (lambda: CVAE(0, 8, 8), "z_dim"), "z_dim 0 of a network": (lambda: Encoder(0, 8, 8), "z_dim"),
    "a likelihood of another name": (lambda: CVAE(5, 8, 8, likelihood="poisson"), "likelihood must be one of"), "z of another width": (lambda: cvae.generation(x, z[:, :4]), "z must have"),
    "z of another length": (lambda: cvae.generation(x, z[:2]), "z must have"), "y of another width for q": (lambda: cvae.recognition(x, x), "y must have"),
    "y of another length for q": (lambda: cvae.recognition(x, y[:2]), "y must have"), "no samples": (lambda: complete_cvae(cvae, x, 1, 0), "num_samples"),
    "quadrants of another net": (lambda: complete_cvae(cvae, x, 2), "x must have"), "pixels up to 255 for a CVAE": (lambda: train_cvae(pairs | dict(val=replace(test, y=255*y))), "y must hold"),
    "seed as text": (lambda: train_cvae(pairs, seed="0"), "seed"), "images to shift of another size": (lambda: shift_images(torch.rand(2, 20, 20)), "images must have"),
    "a net of a class unknown": (lambda: save_net(torch.nn.Linear(2, 2), "net"), "class of net"), "S 0": (lambda: estimate_nll(cvae, x, y, 0), "samples must be .* at least 1"),
    "NaN to score": (lambda: estimate_nll(cvae, x, broken), "y must hold finite"), "nothing to score": (lambda: estimate_nll(cvae, x[:0], y[:0]), "x is empty"),
    "x and y to score of other lengths": (lambda: estimate_nll(cvae, x, y[:2]), "y must have the shape"), "S 0 of a table": (lambda: evaluate(net, cvae, test, 0), "samples"),
    "pixels above 1 to score": (lambda: evaluate(net, cvae, replace(test, y=y + 1)), "test.y must hold"), "no weights": (lambda: log_mean_exp(torch.zeros(0, 3)), "log_values"),
    "the mean of nothing": (lambda: mean_and_stderr(torch.zeros(0)), "values is empty"), "a table of nothing": (lambda: results_table([]), "records"),
    "bins 0": (lambda: sharpness.reliability(y[0], y[0], 0), "bins"), "one sample for a variance": (lambda: sharpness.variance_split(cvae, x, 1), "samples"),
    "an entropy of 2": (lambda: sharpness.pixel_entropy(y + 1), "p must hold"), "an odd mix": (lambda: sharpness.class_mix(cvae, None, x, 1, 3), "samples must be even"),
    "a class 11": (lambda: sharpness.class_scores(torch.rand(1, 10), torch.tensor([11])), "digits must hold"), "features of other widths": (lambda: sharpness.frechet_distance(x, y), "b must have"),
    "a chance of 2": (lambda: sharpness.make_followers(images, torch.zeros(3).long(), 2), "chance"), "one point for a line": (lambda: sharpness.floor_and_variance({1: 2.}), "distances"),
    "a weight of -1": (lambda: sharpness.kl_weighted_loss(cvae, -1), "weight"), "a share of 2": (lambda: variants.hybrid_loss(cvae, 2), "share"),
    "a variant of another name": (lambda: variants.measure_variant("best", pairs, net), "name must be one of"), "0 weights of importance": (lambda: variants.importance_weighted_loss(cvae, 0), "samples"),
    "counts of nothing": (lambda: hide_quadrants(images, ()), "counts"), "epochs 0 of a run": (lambda: run_all(data="sample", epochs=0), "epochs"),
    "count 0 of reproduce": (lambda: reproduce("results", data="sample", count=0), "count"), "none of the choices": (lambda: check_choice("way", "up", ["left", "right"]), "way must be one of"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_wrong_arguments_are_refused_by_name(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call, words = REFUSED[case]
    with pytest.raises(ValueError, match=words): call()
    assert list(tmp_path.iterdir()) == []  # nothing half-done


# ---- The table of faults on the contributors' page ----

def test_the_table_of_faults_is_whole():
    page = (ROOT/"nbs"/"contributing.md").read_text(encoding="utf-8")
    table = page.partition("## What goes wrong")[2].partition("{#tbl-faults}")[0]
    rows = re.findall(r"^\| (.+?) \| (.+?) \| `(test_\w+)\.(test_\w+)`(?:, \S.*)? \|$", table, flags=re.M)
    assert len(rows) >= 30 and len({fault for fault, *_ in rows}) == len(rows)
    for fault, _, module, name in rows:
        assert f"def {name}(" in (ROOT/"tests"/f"{module}.py").read_text(encoding="utf-8"), fault
    here = re.findall(r"^def (test_\w+)", (ROOT/"tests"/"test_faults.py").read_text(encoding="utf-8"), flags=re.M)
    assert set(here) - {name for *_, name in rows} == {"test_the_table_of_faults_is_whole"}
