"The command line, on real digits of the sample"
import json

import pytest

from cvae_tutorial.reports.command import main


def test_run_from_the_command_line(tmp_path, capsys, request):
    out = tmp_path/"q3"
    out.mkdir()
    for name in "agreement", "mine": (out/f"{name}.json").write_text("{}")
    assert main(["run", "--quadrants", "3", "--data", "sample", "--epochs", "1", "--device", "cpu", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "importance sampling" in printed and "sample" in printed
    records = json.loads((out/"results.json").read_text())
    assert [r["estimator"] for r in records] == ["bce", "elbo", "prior_mc", "is"]
    committed = [r for path in (request.config.rootpath/"cvae_tutorial"/"results").rglob("scores.json") for r in json.loads(path.read_text())]
    assert {tuple(sorted(r)) for r in records + committed} == {(
        "data", "device", "estimator", "model", "nll", "params", "quadrants", "samples", "seed", "split", "stderr", "train_seconds")}
    assert {"samples.png", "cvae.safetensors", "baseline.safetensors"} <= {path.name for path in out.iterdir()}
    assert (out/"mine.json").exists() and not (out/"agreement.json").exists()  # measured on other weights


@pytest.mark.parametrize("arguments, message", [
    (["--data", "/nowhere"], "No MNIST in '/nowhere'"),
    (["--device", "cuda:99"], "CUDA"),
    (["--device", "abacus"], "must be 'auto'"),
    (["--epochs", "0"], "at least 1"),
    (["--seed", "-1"], "seed must be a whole number of at least 0"),
])
def test_command_line_says_what_was_wrong(arguments, message, tmp_path, capsys):
    assert main(["run", "--data", "sample", "--out", str(tmp_path/"out"), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path/"out").exists()


@pytest.mark.parametrize("arguments, message", [(["--samples", "0"], "parameter 'samples'"), (["--out", ""], "out must end in .png, not ''")])
def test_one_short_line_says_what_was_wrong(arguments, message, tmp_path, capsys):
    assert main(["complete", str(tmp_path/"picture.png"), "--hide", "1", *arguments]) == 2
    said = capsys.readouterr().err
    assert message in said and len(said) < 400 and said.count("\n") == 1
