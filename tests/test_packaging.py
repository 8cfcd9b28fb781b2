"What `pip install` gives to somebody without the repository"
import sys
import tarfile

import pytest
from conftest import ROOT, run
from nbdev.config import get_config

PIP = sys.executable, "-m", "pip", "--disable-pip-version-check"


@pytest.fixture(scope="module")
def sdist(checkout, tmp_path_factory):
    "A source distribution of a copy of the repository"
    dist = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-c", f"from setuptools.build_meta import build_sdist; build_sdist({str(dist)!r})", cwd=checkout)
    return next(dist.glob("*.tar.gz"))


@pytest.fixture(scope="module")
def installed(sdist, tmp_path_factory):
    "A folder with only the package in it, from a wheel made from that source distribution, without network"
    wheels, target = tmp_path_factory.mktemp("wheels"), tmp_path_factory.mktemp("installed")
    run(*PIP, "wheel", sdist, "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", wheels, cwd=wheels)
    run(*PIP, "install", next(wheels.glob("*.whl")), "--no-deps", "--no-index", "--target", target, cwd=wheels)
    return target


def test_sdist_holds_what_a_build_needs(sdist):
    inside = {name.partition("/")[2] for name in tarfile.open(sdist).getnames()}
    parts = {str(f.relative_to(ROOT)) for part in ("assets", "results") for f in (ROOT / "cvae_tutorial" / part).rglob("*") if f.is_file()}
    assert {"settings.ini", "README.md", "LICENSE", *parts} <= inside


def test_installed_package_finds_its_digits(installed, tmp_path):
    code = "import cvae_tutorial; from cvae_tutorial.data import get_data; print(cvae_tutorial.__file__, get_data(1, 128)[2]['test'])"
    printed = run(sys.executable, "-c", code, cwd=tmp_path, PYTHONPATH=str(installed), CVAE_TUTORIAL_DATA="sample")
    assert printed.split() == [str(installed / "cvae_tutorial/__init__.py"), "2000"]


def test_installed_package_finds_its_results(installed, tmp_path):
    "All of them, and the modules of all three wings"
    there = {str(f.relative_to(installed)) for f in (installed / "cvae_tutorial").rglob("*") if f.suffix in (".py", ".json")}
    wanted = {str(f.relative_to(ROOT)) for f in (ROOT / "cvae_tutorial").rglob("*") if f.suffix in (".py", ".json")}
    assert there == wanted
    code = "from cvae_tutorial.kit.files import load_results; print({r['data'] for r in load_results()})"
    assert run(sys.executable, "-c", code, cwd=tmp_path, PYTHONPATH=str(installed)) == "{'MNIST'}\n"


def test_installed_command_explains_itself(installed, tmp_path):
    assert "--quadrants" in run(installed / "bin/cvae-tutorial", "run", "--help", cwd=tmp_path, PYTHONPATH=str(installed))


def test_installed_version_is_that_of_settings(installed, tmp_path):
    printed = run(sys.executable, "-c", "import cvae_tutorial; print(cvae_tutorial.__version__)", cwd=tmp_path, PYTHONPATH=str(installed))
    assert printed.strip() == get_config(path=ROOT).version
