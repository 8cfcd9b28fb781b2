"""Pyro's examples/cvae, driven line by line: `python pyro_worker.py CHECKOUT DATA`, then on standard input
`images N` (train on about N images) or `target NATS EPOCHS` (train from nothing until the test ELBO is there)."""
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
        torch.manual_seed(0)
        print("{}", file=answers, flush=True)  # ready
        for line in sys.stdin:
            command, *numbers = line.split()
            answer = {"images": train_images, "target": train_until}[command](*map(float, numbers))
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
    seconds, path = dict(baseline=time.perf_counter() - start), []
    _, svi = machinery(guess)
    for _ in range(int(epochs)):
        for batch in loaders["train"]: step(svi, batch)
        path.append(sum(svi.evaluate_loss(b["input"], b["output"]) for b in loaders["val"]) / sizes["val"])
        seconds["all"] = time.perf_counter() - start
        print(len(path), path[-1], seconds, file=sys.stderr, flush=True)
        if path[-1] <= nats: break
    return dict(seconds=seconds["all"], baseline_seconds=seconds["baseline"], nats=path[-1], epochs=len(path))


if __name__ == "__main__":
    main(*sys.argv[1:])
