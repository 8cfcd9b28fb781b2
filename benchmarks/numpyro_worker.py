"""NumPyro's examples/cvae-flax, driven line by line: `python numpyro_worker.py CHECKOUT DATA`, then `epoch` on standard
input. Answers with the seconds of a training epoch, and with those that went into compiling it."""
import gzip
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path


def main(checkout: str, data: str):
    sys.path.insert(0, str(Path(checkout) / "examples/cvae-flax"))
    import numpyro.examples.datasets as datasets
    with tempfile.TemporaryDirectory() as folder:
        for url in datasets.MNIST.urls:  # the loader reads packed files
            name = Path(url).name.split("?")[0]
            with open(Path(data) / "MNIST/raw" / name.removesuffix(".gz"), "rb") as raw:
                with gzip.open(Path(folder) / name, "wb", 1) as packed: shutil.copyfileobj(raw, packed)
        datasets.DATA_DIR = folder
        epoch = machinery(datasets.MNIST)
    answers, sys.stdout = sys.stdout, sys.stderr
    print("{}", file=answers, flush=True)  # ready
    for _ in sys.stdin:
        compiling, _ = epoch(1)
        seconds, images = epoch(None)
        print(json.dumps(dict(images=images, seconds=seconds, compiling=compiling)), file=answers, flush=True)


def machinery(dataset):
    "What the example's `main` sets up, with a baseline that has not been trained"
    import jax
    from data import load_dataset
    from flax.core import freeze
    from models import BaselineNet, cvae_guide, cvae_model
    from train_cvae import create_train_state, train_epoch
    init, fetch = load_dataset(dataset, batch_size=128, split="train", seed=23)
    batches, order = init()
    key = jax.random.key(0)
    params = freeze(BaselineNet().init(key, fetch(0, order)[0]))
    svi, state = create_train_state(key, cvae_model, cvae_guide, fetch, params, 0.003)

    def epoch(count):
        nonlocal state
        start = time.perf_counter()
        state, loss = train_epoch(svi, state, fetch, count or batches, order, key)
        loss.block_until_ready()
        return time.perf_counter() - start, 128 * (count or batches)
    return epoch


if __name__ == "__main__":
    main(*sys.argv[1:])
