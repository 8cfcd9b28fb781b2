"What several test files share"
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
os.environ["CVAE_TUTORIAL_DATA"] = "sample"  # no test downloads anything


@pytest.fixture(scope="session")
def checkout(tmp_path_factory) -> Path:
    "A copy of the repository to build in, so that tests leave the tree as it is"
    made = shutil.ignore_patterns(".*", "_docs", "_proc", "runs", "build", "dist", "*.egg-info", "__pycache__")
    return shutil.copytree(ROOT, tmp_path_factory.mktemp("copy") / "checkout", ignore=made)


def run(*command, cwd, **env) -> str:
    "Run a command; fail with all that it printed."
    done = subprocess.run([str(word) for word in command], cwd=cwd, env={**os.environ, **env}, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout
    return done.stdout


def cannot_run(reason: str):
    "Skip a test on a machine that lacks something; fail where it must run."
    (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
