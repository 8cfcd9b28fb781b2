"Full disks, clocks that jump, folders that vanish, two runs in one folder, Ctrl-C: each ends in a good result or in one clear line, and the next run goes on."
import ast
import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from functools import partial

import pytest
from conftest import ROOT

from cvae_tutorial import data
from cvae_tutorial.kit.files import Claim
from cvae_tutorial.reports import run
from cvae_tutorial.reports.command import main
from cvae_tutorial.reports.reproduce import reproduce

# A few digits, so that a run takes a moment; and the command on these, which says "ready" before it loads PyTorch
CUT = """
from cvae_tutorial import data
from cvae_tutorial.kit import mnist
def few(split, root, load=data.load_digits):
    d, count = load(split, root), 50 if split == "test" else 400
    return mnist.Digits(d.images[:count], d.digits[:count], d.source)
data.load_digits = few
"""
COMMAND = f"""
import os, sys
from cvae_tutorial.reports import command
print("ready", flush=True)
def work(*args, usual=command._work):
    exec({CUT!r}, globals())
    usual(*args)
command._work = work
status = command.main(sys.argv[1:])
sys.stdout.flush()
sys.stderr.flush()
os._exit(status)  # sys.exit takes two seconds, to unload PyTorch
"""
MADE = {"baseline.safetensors", "cvae.safetensors", "results.json", "samples.png"}


def arguments(out, epochs=2, seed=5) -> list[str]:
    return ["run", "--data", "sample", "--device", "cpu", "--epochs", str(epochs), "--seed", str(seed), "--out", str(out)]


def hear_ctrl_c():
    "Also where the tests run in the background of a shell, which has them ignore it"
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start(out, epochs=2, before=""):
    bars = {name: value for name, value in os.environ.items() if name != "TQDM_DISABLE"}
    process = subprocess.Popen([sys.executable, "-c", before + COMMAND, *arguments(out, epochs)], text=True, cwd=ROOT, env=bars,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=hear_ctrl_c)
    assert process.stdout.readline() == "ready\n"
    return process


def lines(said: str) -> list[str]:
    "Without the bars"
    return [line for line in re.split(r"[\r\n]+", said) if line.strip() and "batch" not in line]


def results(out) -> list[dict]:
    "The records, less their times, of a folder where all files are in place and nothing else is"
    assert {path.name for path in out.iterdir()} == MADE | {".lock"}
    return [{k: v for k, v in r.items() if k != "train_seconds"} for r in json.loads((out/"results.json").read_text())]


@pytest.fixture
def few(monkeypatch):
    "These few in this process too"
    monkeypatch.setattr(data, "load_digits", data.load_digits)  # undone afterwards
    exec(CUT, {})


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    "What a run finds that nobody disturbs"
    out = tmp_path_factory.mktemp("unbroken")
    process = start(out)
    began = time.perf_counter()
    assert process.communicate()[0].endswith(f"Saved in {out}\n") and process.returncode == 0
    return dict(results=results(out), seconds=time.perf_counter() - began)


# ---- A full disk ----

DISK = """
import contextlib, io, json, os, resource, sys
from pathlib import Path
import torch
from PIL import Image
from cvae_tutorial.baseline import BaselineNet
from cvae_tutorial.kit.checkpoints import save_net
from cvae_tutorial.kit.drawing import save_picture
from cvae_tutorial.kit.files import save_tensors, write_checksums, write_json, write_text
from cvae_tutorial.kit.fitting import Progress
from cvae_tutorial.masks import get_images, load_masked
from cvae_tutorial.reports import command, run
from cvae_tutorial.reports.complete import complete
from cvae_tutorial.reports.demo import page_nets, write_demo
from cvae_tutorial.reports.short import save_grid, save_png, save_sheet

how, disk, out, other, *arguments = sys.argv[1:]
disk, filler = Path(disk), Path(disk)/"filler"
def fill(leave=0): # bytes; of a file, where the limit on its size stands for the disk
    if how == "limit": return resource.setrlimit(resource.RLIMIT_FSIZE, (leave, resource.RLIM_INFINITY))
    with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as file:
        while True: file.write(bytes(2**16))
    os.truncate(filler, max(0, filler.stat().st_size - leave))
def make_room():
    if how == "limit": return resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,)*2)
    filler.unlink(missing_ok=True)

net, ink, (baseline, cvae) = BaselineNet(200, 200, x_dim=196, y_dim=588), torch.rand(12, 28, 28), load_masked()
nets, images = page_nets(dict(baseline=baseline, cvae=cvae, classifier=BaselineNet(48, 48, y_dim=10))), get_images("sample")
digit = Image.fromarray((255 - 255*images["test"].x[0]).byte().numpy())
PLACES = dict(
    write_text=("a.txt", lambda path: write_text("a"*9000, path)),
    write_json=("a.json", lambda path: write_json([1]*9000, path)),
    save_tensors=("a.safetensors", lambda path: save_tensors(path, dict(w=torch.ones(9000)))),
    save_net=("net.safetensors", lambda path: save_net(net, path)),
    progress=("cvae.progress", lambda path: Progress(net, 9, dict(lr=.1)).save(path)),
    save_picture=("samples.png", lambda path: save_picture(dict(a=ink), path)),
    save_png=("tile.png", lambda path: save_png(path, (255*ink[0]).byte().numpy())),
    save_sheet=("sheet.png", lambda path: save_sheet(path, ink)),
    save_grid=("grid.png", lambda path: save_grid(path, [list(ink)])),
    write_checksums=("SHA256SUMS", lambda path: write_checksums(path.parent)),
    complete=("completed.png", lambda path: complete(digit, 1, 2, out=path, placed=True, device="cpu")),
    demo=("weights.safetensors", lambda path: write_demo(nets, images, path.parent)))

def attempt(write, path):
    try: write(path)
    except Exception as error: return type(error).__name__, str(error)
    return "nothing", ""

found = {}
for name, (file, write) in PLACES.items():
    path = disk/name/file
    path.parent.mkdir()
    (path.parent/"some.npz").write_bytes(b"some") # for the checksums
    write(path)
    whole, names = path.read_bytes(), sorted(p.name for p in path.parent.iterdir())
    path.write_bytes(b"old") # shorter, so that it could not be written over either
    fill()
    kind, said = attempt(write, path)
    left, now = path.read_bytes(), sorted(p.name for p in path.parent.iterdir())
    make_room()
    write(path)
    found[name] = dict(path=str(path), kind=kind, said=said, left=left.decode(errors="replace"), same=names == now, again=path.read_bytes() == whole)

CUT
said = []
def go(arguments, leave=None, later=None): # room at the start, and when the fits are done
    def rows(*args, usual=run.front_rows):
        if later is not None: fill(later)
        return usual(*args)
    command_run, run.front_rows = run.front_rows, rows
    if leave is not None: fill(leave)
    with contextlib.redirect_stderr(io.StringIO()) as err, contextlib.redirect_stdout(io.StringIO()): status = command.main(arguments)
    run.front_rows = command_run
    make_room()
    said.append((status, err.getvalue()))
arguments = json.loads(arguments[0])
go(arguments, 1_000_000)
go(arguments, 25_000_000)
go(arguments, None, 1_000_000)
go(arguments)
go([*arguments, "--seed", "6"], 1_000_000)
import shutil
shutil.copytree(arguments[arguments.index("--out") + 1], out)
print(json.dumps(dict(found=found, said=said)))
""".replace("CUT", CUT)


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    "A small disk that is full whenever something is written, mounted for one process alone; where nobody may mount, a limit on the size of files"
    folder = tmp_path_factory.mktemp("disk")
    (folder/"disk").mkdir()
    mount = 'mount -t tmpfs -o size=128m tmpfs "$0" && exec "$@"'
    private = ["unshare", "--map-root-user", "--mount", "sh", "-c", mount, folder/"disk"]
    may = shutil.which("unshare") and subprocess.run([*private, "true"], capture_output=True).returncode == 0
    script = [sys.executable, "-c", DISK, "mount" if may else "limit", folder/"disk", folder/"out", "-", json.dumps(arguments(folder/"disk"/"q1"))]
    done = subprocess.run([*(private if may else []), *script], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) | dict(out=folder/"out")


FULL = r"(No space left on device|File too large)"
PLACES = re.findall(r"^    (\w+)=\(\"", DISK, flags=re.M)


@pytest.mark.parametrize("place", PLACES)
def test_a_full_disk_is_named_wherever_something_is_written(disk, place):
    "And the old file is there as it was, nothing else is, and with room it is written"
    found = disk["found"][place]
    assert found["kind"] == "OSError" and re.match(rf"{found['path']} could not be written \(.*{FULL}.*make room, or name another folder", found["said"]), found
    assert found["left"] == "old" and found["same"] and found["again"]


def test_nothing_is_written_but_beside_its_place():
    "Whatever makes a file makes it for `replace_file`, and the test above has each function that calls it"
    callers = set()
    for path in (ROOT/"cvae_tutorial").rglob("[!_]*.py"):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call): continue
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            opens = called == "open" and any(isinstance(a, ast.Constant) and re.fullmatch("[wax+bt]+", str(a.value)) and set(str(a.value)) & set("wax+") for a in node.args)
            if called in ("write_text", "write_bytes", "savefig", "save_file", "tofile", "savez") and isinstance(node.func, ast.Attribute) or called in ("save_file", "save") or opens:
                source = ast.unparse(node)
                assert "beside" in source or source in ("progress.save(resume)", "open(os.devnull, 'w')"), f"{path.name}: {source}"
        callers |= {f.name for f in tree.body if isinstance(f, ast.FunctionDef) and "replace_file(" in ast.unparse(f)} - {"replace_file"}
    assert callers == {"write_text", "save_tensors", "save_picture", "save_png"} <= set(PLACES)


def test_a_run_on_a_full_disk_goes_on_when_there_is_room(disk, unbroken):
    "Full from the start, full in the second fit, full when all is saved; a finished run stays whole when another seed finds no room"
    (*stopped, (status, _), (later, last)) = disk["said"]
    for (code, said), file in zip(stopped, ["baseline.progress", "cvae.progress", "baseline.safetensors"], strict=True):
        (line,) = lines(said)
        assert code == 2 and re.fullmatch(rf"cvae-tutorial: \S+/{file} could not be written \(.*{FULL}.*start again", line), line
    assert status == 0 and later == 2 and "could not be written" in last
    assert results(disk["out"]) == unbroken["results"]


def test_a_result_that_cannot_be_printed(tmp_path, few, capsys):
    "The disk that takes the output is full; the results are on another one"
    with open("/dev/full", "w") as full:
        with contextlib.redirect_stdout(full): status = main(arguments(tmp_path/"out", 1))
        with contextlib.suppress(OSError): full.close()
    (line,) = lines(capsys.readouterr().err)
    assert status == 2 and re.match(rf"cvae-tutorial: The result could not be printed \(.*No space left.*\)\. Saved in {tmp_path}/out$", line)
    assert results(tmp_path/"out")


# ---- A folder that vanishes, and two runs in one ----

def when(there, act):
    "Do something as soon as a file is there"
    def watch():
        while not there.exists(): time.sleep(.001)
        act()
    threading.Thread(target=watch, daemon=True).start()


def in_the_middle(monkeypatch, part, act):
    "Do something after the first epoch of a fit, or before the scores"
    usual, callback = getattr(run, part), lambda epoch, net: act() if epoch == 1 else None
    def scored(*args, **kwargs):
        act()
        return usual(*args, **kwargs)
    monkeypatch.setattr(run, part, scored if part == "evaluate" else partial(usual, callback=callback))


@pytest.mark.parametrize("part", ["train_baseline", "train_cvae", "evaluate"])
def test_a_folder_that_vanishes_is_made_again(tmp_path, few, unbroken, monkeypatch, part):
    "And claimed again; at the end all is there, and the numbers are those of any run"
    refused = []
    def rows(*args, usual=run.front_rows):  # after both fits
        if part != "evaluate":  # nothing was written since
            with pytest.raises(OSError, match="Another process is at work"): Claim(tmp_path/"out").__enter__()
        refused.append(part)
        return usual(*args)
    monkeypatch.setattr(run, "front_rows", rows)
    in_the_middle(monkeypatch, part, lambda: shutil.rmtree(tmp_path/"out"))
    assert main(arguments(tmp_path/"out")) == 0
    assert results(tmp_path/"out") == unbroken["results"] and refused == [part]


def test_a_folder_that_becomes_a_file(tmp_path, few, capsys, monkeypatch):
    def act():
        shutil.rmtree(tmp_path/"out")
        (tmp_path/"out").write_text("no folder")
    in_the_middle(monkeypatch, "train_cvae", act)
    assert main(arguments(tmp_path/"out")) == 2
    assert re.search(rf"^cvae-tutorial: {tmp_path}/out/cvae.progress could not be written \(.*another folder, and start again$", capsys.readouterr().err, flags=re.M)
    assert (tmp_path/"out").read_text() == "no folder"


def test_a_second_run_in_a_folder_is_refused(tmp_path, few, capsys, unbroken):
    "Before it changes anything; the first goes on, and when it has ended, or was killed, another may run there"
    out = tmp_path/"out"
    first = start(out, epochs=500)
    while not (out/"cvae.progress").exists(): assert first.poll() is None
    first.send_signal(signal.SIGSTOP)
    def times(): return {path.name: path.stat().st_mtime_ns for path in out.glob("[!.]*")}  # older filelocks touch .lock
    kept = times()
    assert main(arguments(out)) == 2
    assert lines(capsys.readouterr().err) == [f"cvae-tutorial: Another process is at work in {out}: wait until it ends, or name another folder"]
    assert times() == kept
    first.send_signal(signal.SIGKILL)
    first.communicate()
    for path in out.glob("*.progress"): path.unlink()  # of another number of epochs
    assert main(arguments(out)) == 0 and results(out) == unbroken["results"]


def test_a_folder_that_vanished_and_was_taken_is_left_alone(tmp_path, few, unbroken):
    "Somebody deletes the folder of a run that is still at work, and starts another one there: the first one ends"
    out = tmp_path/"out"
    first = start(out, epochs=500)
    while not (out/"cvae.progress").exists(): assert first.poll() is None
    first.send_signal(signal.SIGSTOP)  # else it would be quicker
    shutil.rmtree(out)
    when(out/"baseline.progress", lambda: first.send_signal(signal.SIGCONT))
    assert main(arguments(out)) == 0
    said = lines(first.communicate()[1])
    assert first.returncode == 2 and re.search(rf"progress could not be written \(({out} vanished, and another process has made it again|.*No such file.*)\)", said[-1])
    assert results(out) == unbroken["results"]


def test_a_second_reproduction_is_refused(tmp_path, monkeypatch):
    "Also with other tables; its table files are not touched"
    def again(*args):
        with pytest.raises(OSError, match=f"Another process is at work in {tmp_path/'runs'}"):
            reproduce(tmp_path/"results", tmp_path/"runs", data="sample", epochs=1, seeds=(0,), count=300)
        raise InterruptedError("seen")
    monkeypatch.setattr("cvae_tutorial.reports.reproduce.run", again)
    with pytest.raises(InterruptedError, match="seen"): reproduce(tmp_path/"results", tmp_path/"runs", data="sample", epochs=1, seeds=(0,), count=300)
    assert not (tmp_path/"results").exists()


# ---- Ctrl-C ----

@pytest.mark.parametrize("times", [5, pytest.param(50, marks=pytest.mark.long)])
def test_ctrl_c_at_any_moment(tmp_path, times, few, unbroken):
    "One line and status 130, while it loads and while it works; what is left is whole, and the next run ends as if nobody had stopped it"
    moments, interrupted, out = random.Random(times), 0, tmp_path/"out"
    while interrupted < times:
        process = start(out)
        try: printed, said = process.communicate(timeout=moments.uniform(.05, unbroken["seconds"]))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            printed, said = process.communicate()
        if "Saved in" in printed: shutil.rmtree(out)  # it was through before
        else:
            assert process.returncode == 130 and lines(said)[-1] == "cvae-tutorial: interrupted. What it saved is whole; the same command goes on", said
            assert "Traceback" not in said
            interrupted += 1
    assert main(arguments(out)) == 0 and results(out) == unbroken["results"]


def test_a_process_that_ignores_ctrl_c_still_does(tmp_path, few, unbroken):
    "As nohup and shells ask of what they start in the background"
    before, sent = signal.signal(signal.SIGINT, signal.SIG_IGN), []
    try:
        when(tmp_path/"out"/"cvae.progress", lambda: (os.kill(os.getpid(), signal.SIGINT), sent.append(True)))
        assert main(arguments(tmp_path/"out")) == 0 and sent == [True]
    finally: signal.signal(signal.SIGINT, before)
    assert results(tmp_path/"out") == unbroken["results"]


# ---- A clock that jumps ----

JUMPS = """
import random, time
usual, jumps = time.time, random.Random(0)
time.time = lambda: usual() + jumps.choice([-1e9, -3600, 0, 3600, 1e9])  # at every look
"""


def test_a_clock_that_jumps(tmp_path, unbroken):
    "No other numbers, no negative seconds, and bars that count on"
    process = start(tmp_path/"out", before=JUMPS)
    said = process.communicate()[1]
    assert process.returncode == 0 and results(tmp_path/"out") == unbroken["results"]
    assert all(0 < r["train_seconds"] < unbroken["seconds"] + 60 for r in json.loads((tmp_path/"out"/"results.json").read_text()))
    times = re.findall(r"\[([^\]<]*)<", said)
    assert len(times) > 4 and all(re.fullmatch(r"00:\d\d", at) for at in times), times
    assert re.findall(r"CVAE: +(\d+)%", said)[-1] == "100"


def test_nobody_looks_at_the_clock():
    "Seconds are differences of a timer that only goes forward, and no decision rests on when a file was changed"
    for path in (ROOT/"cvae_tutorial").rglob("*.py"):
        assert not re.search(r"\btime\.time\(|datetime|st_mtime|getmtime|localtime|strftime", path.read_text()), path
