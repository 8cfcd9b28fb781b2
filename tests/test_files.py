"Files: written whole or not at all, nothing in them is run, and damaged ones are named"
import os
import pickle
import re
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from conftest import ROOT, run
from hypothesis import given, settings, strategies as st
from safetensors.torch import save_file

from cvae_tutorial.baseline import BaselineNet
from cvae_tutorial.kit.checkpoints import load_net
from cvae_tutorial.kit.files import Claim, load_tensors, replace_file, save_tensors, write_json


class Stop(Exception): pass


@pytest.mark.parametrize("there", [True, False])
def test_what_stops_half_way_leaves_the_old_file_whole(tmp_path, there):
    "Whatever stops the writing: the old file or none, and nothing beside it"
    path = tmp_path/"deep"/"file"
    if there: replace_file(path, lambda beside: beside.write_text("old"))
    def half(beside):
        beside.write_text("ne")
        raise Stop
    with pytest.raises(Stop): replace_file(path, half)
    assert [p.read_text() for p in path.parent.iterdir()] == ["old"]*there


def test_a_full_disk_leaves_the_old_file_whole(tmp_path):
    "The limit on a file's size stands for the disk: the kernel refuses to write on"
    code = ("import resource, sys; from cvae_tutorial.kit.files import save_tensors; import torch;"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)); import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
            "save_tensors(sys.argv[1], {'w': torch.zeros(int(sys.argv[2]))}, {'n': int(sys.argv[2])})")
    def save(count): return subprocess.run([sys.executable, "-c", code, tmp_path/"file", str(count)], capture_output=True, text=True)
    assert save(1000).returncode == 0
    full = save(100_000)
    assert full.returncode != 0 and "File too large" in full.stderr
    about, tensors = load_tensors(tmp_path/"file")
    assert about == {"n": 1000} and len(tensors["w"]) == 1000
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@settings(max_examples=20, deadline=None)
@given(st.dictionaries(st.text(min_size=1, max_size=5).filter(lambda name: name != "__metadata__"), st.lists(st.floats(width=32, allow_nan=False), max_size=4), max_size=3),
       st.recursive(st.one_of(st.integers(-9, 9), st.text(max_size=5), st.booleans(), st.none()), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)))
def test_tensors_and_their_text_come_back(tmp_path_factory, lists, text):
    path, tensors = tmp_path_factory.mktemp("tensors")/"file", {name: torch.tensor(values) for name, values in lists.items()}
    save_tensors(path, tensors, {"text": text})
    about, again = load_tensors(path)
    assert about == {"text": text} and again.keys() == tensors.keys() and all(torch.equal(again[name], t) for name, t in tensors.items())


def test_tensors_with_a_broken_text(tmp_path):
    save_file({"w": torch.zeros(1)}, tmp_path/"net", {"about": "{no json"})
    with pytest.raises(ValueError, match="net is damaged"): load_tensors(tmp_path/"net")


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
    with pytest.raises(ValueError, match="damaged or no safetensors file"): load_net(path, BaselineNet)
    assert not (tmp_path/"exploded").exists()


def test_library_and_tools_unpickle_nothing():
    for path in [*ROOT.glob("cvae_tutorial/**/*.py"), *ROOT.glob("tools/*.py"), *ROOT.glob("benchmarks/*.py")]:
        assert not re.search(r"\b(pickle\.|torch\.load\(|allow_pickle=True|eval\(\"|exec\()", path.read_text()), path


def test_a_folder_is_claimed_by_one(tmp_path):
    "At once and with all folders above it; claimed again where it vanished, unless somebody else made it again"
    folder = tmp_path/"runs"/"q1"
    with Claim(folder) as claim:
        began = time.monotonic()
        with pytest.raises(OSError, match="Another process is at work"): Claim(folder).__enter__()
        assert time.monotonic() - began < .5
        claim.hold()
        folder.rename(tmp_path/"moved")
        write_json([1], folder/"made.json")
        assert {path.name for path in folder.iterdir()} == {".lock", "made.json"}
        folder.rename(tmp_path/"moved again")
        folder.mkdir()
        (folder/".lock").touch()
        with pytest.raises(OSError, match="vanished, and another process has made it again"): write_json([2], folder/"made.json")
        assert not (folder/"made.json").exists()
    with Claim(folder): pass
