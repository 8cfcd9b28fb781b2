"Measure what README.md lists, and write cvae_tutorial/results/benchmarks.json."
import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path

import torch
from cvae_tutorial.baseline import BaselineNet, baseline_nll, train_baseline
from cvae_tutorial.cvae import CVAE
from cvae_tutorial.data import get_pairs, join_quadrants
from cvae_tutorial.evaluation import estimate_nll
from cvae_tutorial.kit.files import write_json
from cvae_tutorial.kit.fitting import CompiledGradients, gradients, train_epoch
from cvae_tutorial.kit.pairs import Pairs
from cvae_tutorial.training import elbo_loss, train_cvae
from pyro.infer import Trace_ELBO
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

HERE = Path(__file__).parent
# Nats with one visible quadrant that Pyro's tutorial prints for its CVAE (test negative ELBO) and its baseline, and one on the way.
TARGET, EARLIER, BASELINE = 71.8, 75.0, 100.4


class Rival:
    "An example of somebody else, in a process of its own that waits for a line and answers with one"
    def __init__(self, python: str, worker: str, checkout: str, data: str):
        self.process = subprocess.Popen([python, HERE / worker, checkout, data], text=True, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)
        self.answer()  # it says when it is ready, so that no start disturbs a measurement

    def ask(self, line: str) -> dict:
        print(line, file=self.process.stdin, flush=True)
        return self.answer()

    def answer(self) -> dict:
        answer = self.process.stdout.readline()
        if not answer: sys.exit(f"{self.process.args[1]} stopped; its last words are above.")
        return json.loads(answer)


def plain(*widths: int) -> torch.nn.Sequential:
    "Linear layers with ReLU between them, as in Pyro's and NumPyro's examples"
    layers = [layer for n, m in zip(widths, widths[1:]) for layer in (torch.nn.Linear(n, m), torch.nn.ReLU())]
    return torch.nn.Sequential(*layers[:-1])


def plain_cvae(z_dim: int, hidden: int, x_dim: int, y_dim: int) -> CVAE:
    "The examples' networks: two hidden layers each, a decoder that sees z alone, a prior network that sees the guess"
    guess = BaselineNet(hidden, hidden, x_dim=x_dim, y_dim=y_dim)
    cvae = CVAE(z_dim, hidden, hidden, guess, x_dim=x_dim, y_dim=y_dim, decoder_sees_x=False)
    guess.net = plain(x_dim, hidden, hidden, y_dim)
    for encoder in cvae.prior_net, cvae.recognition_net: encoder.net = plain(x_dim + y_dim, hidden, hidden, 2*z_dim)
    cvae.generation_net.net = plain(z_dim, hidden, hidden, y_dim)
    return cvae


def optimizer_of(cvae: CVAE) -> torch.optim.Adam:
    nets = cvae.prior_net, cvae.recognition_net, cvae.generation_net
    return torch.optim.Adam([w for net in nets for w in net.parameters()], 1e-3, fused=True)


def trainer(cvae: CVAE, pairs: Pairs, batch_size: int, elbo=None, compiled=False):
    "A function of a number of images that trains on as many, and returns the seconds"
    optimizer, step = optimizer_of(cvae), (CompiledGradients if compiled else gradients)(cvae, elbo_loss(cvae, elbo))
    schedule, bar = torch.optim.lr_scheduler.ConstantLR(optimizer, 1), tqdm(disable=True)
    def train(count):
        part = Pairs(pairs.x[:count], pairs.y[:count], pairs.digits[:count], pairs.source)
        start = time.perf_counter()
        train_epoch(step, part, batch_size, optimizer, schedule, bar)
        return time.perf_counter() - start
    train(batch_size)  # the first batch pays for set-up
    return train


def training_flops(cvae: CVAE, pairs: Pairs, batch_size: int, elbo=None) -> float:
    "Arithmetic of one training step's matrix products, an image"
    with FlopCounterMode(display=False) as counter:
        elbo_loss(cvae, elbo)(pairs.x[:batch_size], pairs.y[:batch_size]).backward()
    return counter.get_total_flops()/batch_size


def product_rate(n: int = 1024, repeats: int = 40) -> float:
    "FLOP/s of plain float32 matrix products"
    a, b = torch.randn(n, n), torch.randn(n, n)
    start = time.perf_counter()
    for _ in range(repeats): a @ b
    return repeats*2*n**3/(time.perf_counter() - start)


def in_turns(cvae: CVAE, pairs: Pairs, count: int, theirs, rounds: int) -> dict:
    "Images a second of both trainings in turns, medians of the ratios, and the ratio if our matrix products took all our time"
    flops, rows = training_flops(cvae, pairs, 128, Trace_ELBO()), []
    compiled, plain = (trainer(cvae, pairs, 128, Trace_ELBO(), compiled) for compiled in (True, False))
    for _ in tqdm(range(rounds), desc="rounds"):
        rows.append(dict(ours=count/compiled(count), theirs=theirs(), plain=count/plain(count), most=product_rate()/flops))
    ours, their_rate = (round(statistics.median(row[name] for row in rows)) for name in ("ours", "theirs"))
    ratios = {name: [row[name]/row["theirs"] for row in rows] for name in ("ours", "plain")}
    return dict(ours=ours, theirs=their_rate, unit="images a second", ratio=statistics.median(ratios["ours"]), lowest=min(ratios["ours"]),
                plain=statistics.median(ratios["plain"]), ceiling=max(row["most"] for row in rows)/their_rate, rounds=rounds)


def against_pyro(pairs, rival: Rival) -> dict:
    shares = []  # of their seconds, spent on decoding and masking pictures
    def theirs():
        answer = rival.ask("images 10000")
        shares.append(answer["loading"]/answer["seconds"])
        return answer["images"]/answer["seconds"]
    cvae = plain_cvae(200, 500, 196, 588)
    return in_turns(cvae, pairs["train"], 25_600, theirs, rounds=5) | dict(loading=statistics.median(shares))


def against_numpyro(pairs, rival: Rival) -> dict:
    p = pairs["train"]
    whole = Pairs(p.x, join_quadrants(p.x, p.y, 1).flatten(1), p.digits, p.source)
    def theirs():
        answer = rival.ask("epoch")
        return answer["images"]/(answer["seconds"] - answer["compiling"])
    return in_turns(plain_cvae(256, 512, 196, 784), whole, len(p.x), theirs, rounds=3)


class Race:
    "From reading the data to a test score: the default networks with a short schedule of large steps, against Pyro's example"
    def __init__(self, data: str, rival: Rival | None): self.data, self.rival, self.path = data, rival, None

    def cvae(self, mark: float) -> dict:
        "The baseline is a part of it, since theirs needs one"
        def train(epochs, pairs):
            train_baseline(pairs, epochs=4)
            return train_cvae(pairs, epochs=epochs, lr=3e-3, batch_size=128)[0]
        def score(net, p):
            with torch.no_grad(): return elbo_loss(net, Trace_ELBO())(p.x, p.y).item()
        if self.rival and not self.path: self.path = self.rival.ask(f"target {TARGET} 80")["path"]
        return self.ours(mark, train, score) | self.theirs(mark)

    def baseline(self, mark: float) -> dict:
        def train(epochs, pairs): return train_baseline(pairs, epochs=epochs, batch_size=128)[0]
        self.path = self.rival.ask(f"baseline {mark} 80")["path"] if self.rival else None
        result = self.ours(mark, train, lambda net, p: baseline_nll(net, p.x, p.y).mean().item()) | self.theirs(mark)
        self.path = None
        return result

    def ours(self, mark: float, train, score) -> dict:
        "The fewest epochs that are enough on validation; then once more from nothing, timed"
        val = get_pairs(1, self.data)["val"]
        for epochs in range(1, 13):
            if score(train(epochs, get_pairs(1, self.data)), val) <= mark: break
        else: sys.exit(f"{mark} nats were not reached in {epochs} epochs")
        start = time.perf_counter()
        pairs = get_pairs(1, self.data)
        net = train(epochs, pairs)
        seconds = time.perf_counter() - start
        return dict(mark=mark, ours=seconds, unit="seconds", epochs=epochs, nats=score(net, pairs["test"]), val=score(net, val))

    def theirs(self, mark: float) -> dict:
        reached = next(((n, *row) for n, row in enumerate(self.path or (), 1) if row[1] <= mark), None)
        return dict(zip(("their_epochs", "theirs", "their_nats"), reached)) if reached else {}


def with_ratio(result: dict) -> dict: return result | (dict(ratio=result["theirs"]/result["ours"]) if "theirs" in result else {})


def matmul_share(pairs, batch_size: int = 512) -> dict:
    "Arithmetic of a training step against that of plain matrix products, in one run"
    cvae, p = CVAE(50, 400, 400, x_dim=196, y_dim=588), pairs["train"]
    flops, train = training_flops(cvae, p, batch_size), trainer(cvae, p, batch_size, compiled=True)
    n = batch_size*40
    rates = [(flops*n/train(n), product_rate()) for _ in range(7)]
    return dict(training=statistics.median(r[0] for r in rates)/1e9, products=max(r[1] for r in rates)/1e9,
                unit="GFLOP/s, float32", ratio=statistics.median(r[0] for r in rates)/max(r[1] for r in rates), batch=batch_size)


PARTS = {"matrix products": ("aten::mm", "aten::addmm"), "Adam": ("aten::_fused_adam_",)}  # their operations


def step_parts(pairs, batch_size: int = 256) -> dict:
    """Milliseconds of a step of the default model, plain and compiled, and what they are spent on. Python and Pyro have what no
    operation takes: the profiler slows only them down, so they are the median of whole steps less what it counts in operations."""
    cvae, p, parts = CVAE(50, 400, 400, x_dim=196, y_dim=588), pairs["train"], {}
    x, y, optimizer, loss = p.x[:batch_size], p.y[:batch_size], optimizer_of(cvae), elbo_loss(cvae)
    for name, make in dict(plain=gradients, compiled=CompiledGradients).items():
        gradient = make(cvae, loss)
        def step():
            start = time.perf_counter()
            gradient(x, y)
            optimizer.step()
            return time.perf_counter() - start
        whole = statistics.median([step() for _ in range(60)][10:])*1e3
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            for _ in range(20): step()
        spent = {event.key: event.self_cpu_time_total/20/1e3 for event in profile.key_averages()
                 if event.key.startswith(("aten::", "## Call CompiledFxGraph"))}
        parts[name] = {part: sum(spent.get(key, 0) for key in keys) for part, keys in PARTS.items()}
        parts[name]["other operations"] = sum(spent.values()) - sum(parts[name].values())
        parts[name]["Python and Pyro"] = whole - sum(spent.values())
    products = training_flops(cvae, p, batch_size)*batch_size/product_rate()*1e3
    return dict(unit="milliseconds a step", batch=batch_size, parts=parts, products_at_best=products)


def adam_by_epoch(data: str, theirs: bool, flush: bool, epochs: int = 4) -> list[tuple[float, float]]:
    "With NumPyro's networks or our default: milliseconds of a step of Adam, and the share of its averages of gradients below 1.2e-38"
    torch.set_flush_denormal(flush)
    torch.manual_seed(0)
    p, rows = get_pairs(1, data)["train"], []
    cvae = plain_cvae(256, 512, 196, 784) if theirs else CVAE(50, 400, 400, x_dim=196, y_dim=784)
    optimizer, step = optimizer_of(cvae), gradients(cvae, elbo_loss(cvae, Trace_ELBO()))
    for _ in range(epochs):
        seconds = []
        for batch in torch.randperm(len(p.x)).split(128):
            step(p.x[batch], join_quadrants(p.x[batch], p.y[batch], 1).flatten(1))
            start = time.perf_counter()
            optimizer.step()
            seconds.append(time.perf_counter() - start)
        averages = torch.cat([state["exp_avg"].flatten() for state in optimizer.state.values()]).abs()
        rows.append((statistics.mean(seconds)*1e3, ((averages > 0) & (averages < torch.finfo().tiny)).float().mean().item()))
    return rows


def denormals(data: str) -> dict:
    "In processes of their own, since all threads must have the setting from the start"
    found = {}
    for name, settings in dict(kept=(True, False), flushed=(True, True), default=(False, False)).items():
        with ProcessPoolExecutor(1, get_context("spawn")) as pool: found[name] = pool.submit(adam_by_epoch, data, *settings).result()
    return dict(unit="milliseconds of Adam and share of its averages, by epoch", **found)


def memory(data: str) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        code = "import sys; from cvae_tutorial.reports.command import main; sys.exit(main())"
        command = "run", "--data", data, "--epochs", "1", "--device", "cpu", "--out", folder
        process = subprocess.Popen([sys.executable, "-c", code, *command], stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
    if status: sys.exit("cvae-tutorial run failed; see above.")
    return dict(peak=usage.ru_maxrss*1024/1e9, unit="GB")


def scaling(pairs) -> dict:
    "Seconds for more images, larger batches and more draws, as ratios to the first"
    p, test = pairs["train"], pairs["test"]
    def fresh(batch_size): return trainer(CVAE(50, 400, 400, x_dim=196, y_dim=588), p, batch_size)
    def draws(S):
        start = time.perf_counter()
        estimate_nll(NET, test.x[:1000], test.y[:1000], S)
        return time.perf_counter() - start
    NET, train = CVAE(50, 400, 400, x_dim=196, y_dim=588), fresh(256)
    seconds = dict(images={n: train(n) for n in (5_120, 10_240, 20_480, 40_960)},
                   batch={n: fresh(n)(16_384) for n in (64, 128, 256, 512, 1024, 2048)},
                   draws={S: draws(S) for S in (1, 10, 100, 1000)})
    return {what: {n: round(s/next(iter(values.values())), 3) for n, s in values.items()} for what, values in seconds.items()}


def machine() -> dict:
    cpu = platform.processor()
    if (info := Path("/proc/cpuinfo")).exists():
        cpu = next((line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")), cpu)
    return dict(cpu=cpu, cores=os.cpu_count(), threads=torch.get_num_threads(), system=platform.system(),
                python=platform.python_version(), torch=version("torch"), pyro=version("pyro-ppl"))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="folder with MNIST")
    parser.add_argument("--pyro", help="checkout of pyro-ppl/pyro")
    parser.add_argument("--numpyro", help="checkout of pyro-ppl/numpyro")
    parser.add_argument("--numpyro-python", help="a Python with NumPyro, JAX, Flax and Optax")
    parser.add_argument("--out", default="cvae_tutorial/results/benchmarks.json")
    parser.add_argument("--only", nargs="+", help="parts to measure; the others stay as the file has them")
    args = parser.parse_args()
    if args.numpyro and not args.numpyro_python: parser.error("--numpyro needs --numpyro-python")

    torch.manual_seed(0)
    torch.set_flush_denormal(True)  # as JAX does by itself: the examples' dead units leave Adam with numbers below 1e-38, six times as slow
    pairs = get_pairs(1, args.data)
    pyro = Rival(sys.executable, "pyro_worker.py", args.pyro, args.data) if args.pyro else None
    numpyro = Rival(args.numpyro_python, "numpyro_worker.py", args.numpyro, args.data) if args.numpyro else None
    race = Race(args.data, pyro)
    parts = dict(matmul=lambda: matmul_share(pairs), step=lambda: step_parts(pairs), scaling=lambda: scaling(pairs), memory=lambda: memory(args.data),
                 denormals=lambda: denormals(args.data),
                 baseline=lambda: with_ratio(race.baseline(BASELINE)),
                 earlier=lambda: with_ratio(race.cvae(EARLIER)), target=lambda: with_ratio(race.cvae(TARGET)))
    if pyro: parts["pyro"] = lambda: against_pyro(pairs, pyro)
    if numpyro: parts["numpyro"] = lambda: against_numpyro(pairs, numpyro)
    if unknown := set(args.only or ()) - set(parts): parser.error(f"cannot measure {sorted(unknown)}; there are {sorted(parts)}")

    out = Path(args.out)
    results = json.loads(out.read_text()) if args.only and out.exists() else {}
    for name in args.only or ("pyro", "numpyro", "step", "matmul", "denormals", "memory", "scaling", "baseline", "earlier", "target"):
        if name not in parts: continue
        results[name] = parts[name]() | dict(machine=machine())
        print(name, json.dumps(results[name]), flush=True)
        write_json(results, out)


if __name__ == "__main__":
    main()
