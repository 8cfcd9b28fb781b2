"Where the digits come from: the order of places, downloads that fail, files that are damaged. Each ends in good digits, in the sample, or in one clear error."
import gzip
import hashlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, Quiet
from torchvision.datasets import MNIST

from cvae_tutorial.kit import mnist
from cvae_tutorial.kit.mnist import find_mnist, load_mnist

# ---- A few real digits in MNIST's files, on a server of this machine ----

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
    mnist.MNIST = type("MNIST", (MNIST,), dict(mirrors=mirrors, resources=resources))
    mnist.ASSETS, mnist.CACHE = published, cache


@pytest.fixture
def few(published, mirror, tmp_path, monkeypatch):
    "The cache directory of a library that knows only the mirror above"
    for name in "MNIST", "ASSETS", "CACHE": monkeypatch.setattr(mnist, name, getattr(mnist, name))
    for name in "CVAE_TUTORIAL_DATA", "IN_TEST": monkeypatch.delenv(name, raising=False)
    use(published, tmp_path/"cache", mirror)
    mnist._download_once.cache_clear()
    yield tmp_path/"cache"
    mnist._download_once.cache_clear()


def raw(folder): return {path.name: path.read_bytes() for path in sorted((folder/"MNIST"/"raw").glob("*"))}


def is_good(digits): return digits.source == "MNIST" and len(digits.images) == WHOLE["train"] and digits.images.sum() > 0


# ---- Downloads ----

@pytest.mark.parametrize("trouble", ["cut", "portal", "absent", "nobody"])
def test_a_failed_download_ends_in_the_sample_and_next_time_in_the_digits(few, published, mirror, capsys, trouble):
    Mirror.trouble = trouble
    if trouble == "nobody": use(published, few, "http://localhost:9/")
    assert find_mnist() == "sample"
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and "cannot be fetched" in said and "using the sample of 12,000 digits" in said
    assert not (few/"MNIST").exists()
    Mirror.trouble = None
    use(published, few, mirror)
    mnist._download_once.cache_clear()
    assert is_good(load_mnist()) and len(raw(few)) == 4 and not (few/"download").exists()


def test_the_next_mirror_serves_when_the_first_does_not(few, published, mirror):
    use(published, few, "http://localhost:9/", mirror)
    assert is_good(load_mnist())


def test_an_asked_for_download_that_fails_says_so(few, tmp_path):
    Mirror.trouble = "portal"
    with pytest.raises(OSError, match="MNIST is not whole in .*named.* cannot be fetched"): load_mnist(True, tmp_path/"named", download=True)


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
from test_mnist import find_mnist, is_good, load_mnist, use
os.environ.pop("CVAE_TUTORIAL_DATA", None); os.environ.pop("IN_TEST", None)  # conftest names the sample
use(pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]), sys.argv[4])
print("ready", flush=True)
root = find_mnist()
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


# ---- Files and places ----

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


def test_folders_without_mnist_are_refused_by_name(tmp_path):
    (tmp_path/"wrong"/"MNIST"/"raw").mkdir(parents=True)
    (tmp_path/"wrong"/"MNIST"/"raw"/"cat.png").write_bytes(b"PNG")
    (tmp_path/"file").write_text("")
    for name in "absent", "wrong", "file":
        with pytest.raises(FileNotFoundError, match=rf"No MNIST in .*{name}.*expected the four files in .*use root='sample'"):
            load_mnist(True, tmp_path/name)


def test_a_damaged_sample_is_named(published, tmp_path, monkeypatch):
    whole = (mnist.ASSETS/"digits_sample.npz").read_bytes()
    (tmp_path/"digits_sample.npz").write_bytes(whole[:-100])
    (tmp_path/"SHA256SUMS").write_text((mnist.ASSETS/"SHA256SUMS").read_text())
    monkeypatch.setattr(mnist, "ASSETS", tmp_path)
    with pytest.raises(ValueError, match="digits_sample.npz is damaged"): load_mnist(True, "sample")


def test_places_in_order(monkeypatch, tmp_path, capsys):
    "root, then the environment, then the cache with a download, then the sample with one line that says so"
    monkeypatch.setenv("CVAE_TUTORIAL_DATA", "from the environment")
    assert find_mnist("named") == "named" and find_mnist() == "from the environment"
    with pytest.raises(FileNotFoundError, match="pass download=True, or use root='sample'"): load_mnist(root=tmp_path)

    monkeypatch.delenv("CVAE_TUTORIAL_DATA")
    monkeypatch.delenv("IN_TEST", raising=False)
    monkeypatch.setattr(mnist, "CACHE", tmp_path/"file"/"below")  # a folder that cannot be made
    (tmp_path/"file").write_text("")
    mnist._download_once.cache_clear()
    try: assert [find_mnist(), find_mnist()] == ["sample", "sample"]
    finally: mnist._download_once.cache_clear()
    assert capsys.readouterr().out.count("using the sample of 12,000 digits") == 1


def test_fashion_is_found_or_it_says_how_to_get_it(tmp_path, monkeypatch):
    "From Debian's package where it is installed, without a network; elsewhere one clear error"
    monkeypatch.setenv("IN_TEST", "1")  # nothing is downloaded
    monkeypatch.setattr(mnist, "CACHE", tmp_path)
    mnist._find_fashion.cache_clear()
    try:
        if not Path("/usr/share/datasets/fashion-mnist").is_dir():
            with pytest.raises(FileNotFoundError, match="Debian's package dataset-fashion-mnist"): load_mnist(root="fashion")
            return
        for root in "fashion", tmp_path/"fashion":
            garments = load_mnist(False, root)
            assert garments.source == "FashionMNIST" and garments.images.shape == (10_000, 28, 28)
            assert garments.digits.bincount().tolist() == [1000]*10
    finally: mnist._find_fashion.cache_clear()
