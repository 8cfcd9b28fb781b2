"""Pyro's examples/cvae, driven line by line: `python pyro_worker.py CHECKOUT DATA`, then on standard input
`images N` (train on about N images), `target NATS EPOCHS` (train from nothing until the test ELBO is there) or `baseline NATS EPOCHS`
(train the baseline alone, until its test score is there)."""
import json
import os
import sys
import tempfile
import time
from pathlib import Path


def main(checkout: str, data: str):
    sys.path.insert(0, str(Path(checkout).resolve() / "examples/cvae"))
    data = Path(data).resolve()
    with tempfile.TemporaryDirectory() as folder:  # the example looks for ../data
        (Path(folder) / "data").symlink_to(data)
        (Path(folder) / "run").mkdir()
        os.chdir(Path(folder) / "run")
        answers, sys.stdout = sys.stdout, sys.stderr  # what the example prints does not mix with the answers
        import torch
        torch.set_flush_denormal(True)  # as on our side, see run.py
        torch.manual_seed(0)
        print("{}", file=answers, flush=True)  # ready
        for line in sys.stdin:
            command, *numbers = line.split()
            answer = {"images": train_images, "target": train_until, "baseline": train_baseline_until}[command](*map(float, numbers))
            print(json.dumps(answer), file=answers, flush=True)
        os.chdir("/")


def machinery(baseline_net):
    "What the example's `train` sets up"
    import cvae
    import pyro
    pyro.clear_param_store()
    net = cvae.CVAE(200, 500, 500, baseline_net)
    return net, pyro.infer.SVI(net.model, net.guide, pyro.optim.Adam({"lr": 1e-3}), loss=pyro.infer.Trace_ELBO())


def train_images(count: float) -> dict:
    import baseline
    import mnist
    _, svi = machinery(baseline.BaselineNet(500, 500))
    batches = iter(mnist.get_data(num_quadrant_inputs=1, batch_size=128)[1]["train"])
    step(svi, next(batches))  # the first batch pays for set-up
    images, loading, start = 0, 0, time.perf_counter()
    while images < count:
        asked = time.perf_counter()
        batch = next(batches)
        loading += time.perf_counter() - asked
        step(svi, batch)
        images += len(batch["input"])
    return dict(images=images, seconds=time.perf_counter() - start, loading=loading)


def step(svi, batch):
    svi.step(batch["input"], batch["output"])


def train_until(nats: float, epochs: float) -> dict:
    "The example's two `train` functions; the second is written out, to look at the clock and at the test ELBO after each epoch"
    import baseline
    import mnist
    start = time.perf_counter()
    _, loaders, sizes = mnist.get_data(num_quadrant_inputs=1, batch_size=128)
    guess = baseline.train("cpu", loaders, sizes, learning_rate=1e-3, num_epochs=101, early_stop_patience=3, model_path="baseline.pth")
    baseline_seconds = time.perf_counter() - start
    _, svi = machinery(guess)
    def epoch():
        for batch in loaders["train"]: step(svi, batch)
        return sum(svi.evaluate_loss(b["input"], b["output"]) for b in loaders["val"]) / sizes["val"]
    return dict(path=path_to(nats, epochs, epoch, start), baseline_seconds=baseline_seconds)


def train_baseline_until(nats: float, epochs: float) -> dict:
    "The example's baseline, with its `train` written out"
    import baseline
    import mnist
    import torch
    start = time.perf_counter()
    _, loaders, sizes = mnist.get_data(num_quadrant_inputs=1, batch_size=128)
    net, loss = baseline.BaselineNet(500, 500), baseline.MaskedBCELoss()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    def epoch():
        for batch in loaders["train"]:
            optimizer.zero_grad()
            (loss(net(batch["input"]), batch["output"]) / len(batch["input"])).backward()
            optimizer.step()
        with torch.no_grad(): return sum(loss(net(b["input"]), b["output"]).item() for b in loaders["val"]) / sizes["val"]
    return dict(path=path_to(nats, epochs, epoch, start))


def path_to(nats: float, epochs: float, epoch, start: float) -> list[tuple[float, float]]:
    "Seconds and test score after each epoch, up to the first with that score"
    path = []
    for _ in range(int(epochs)):
        score = epoch()
        path.append((time.perf_counter() - start, score))
        print(len(path), path[-1], file=sys.stderr, flush=True)
        if score <= nats: break
    return path


if __name__ == "__main__":
    main(*sys.argv[1:])
