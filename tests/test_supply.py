"What is installed: every version is locked with its hashes, and every license is named"
import re
from importlib.metadata import PackageNotFoundError, metadata, version

from conftest import ROOT
from nbdev.config import get_config
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name as plain

cfg = get_config(path=ROOT)
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
BLOCKS = {plain(block.partition("==")[0]): block for block in re.split(r"\n(?=\w)", LOCK)[1:]}  # after the comments at the top
PATTERNS = {"Apache-2.0": r"\bApache", "BSD": r"\bBSD\b", "0BSD": r"\b0BSD\b", "MIT": r"\bMIT\b", "MPL-2.0": r"\bMPL|Mozilla", "PSF-2.0": r"\bPSF|Python Software",
            "BSL-1.0": r"\bBSL|Boost", "CC0-1.0": r"\bCC0", "Zlib": r"\bZlib", "Unlicense": r"\bUnlicense", "GPL": r"GPL\b|GNU", "NVIDIA": r"NVIDIA-Prop|NVIDIA Prop"}


def requirements(text: str) -> list[Requirement]: return [Requirement(word) for word in text.split()]


def rows(label: str) -> list[tuple[str, str]]:
    "The first two columns of a table on the page Contributing"
    table = (ROOT / "nbs/contributing.md").read_text(encoding="utf-8").partition(f"{{#{label}}}")[0].rpartition("|---|")[2]
    return re.findall(r"^\| (.+?) \| (.+?) \|", table, flags=re.M)


def licenses(text: str) -> set[str]: return {name for name, pattern in PATTERNS.items() if re.search(pattern, text)}


def locked(package: str) -> str: return re.match(r"[\w.-]+==(\S+)", BLOCKS[plain(package)])[1]


def as_locked(package: str) -> bool:
    "Is the very version of the lock installed? Others may have other licenses"
    try: return version(package).partition("+")[0] == locked(package)
    except PackageNotFoundError: return False  # of another system


def stated(package: str) -> set[str]:
    "The licenses that an installed package names; of a whole license text only the first line"
    said = metadata(package)
    kinds = [c for c in said.get_all("Classifier") or () if c.startswith("License")]
    return licenses("\n".join([said["License-Expression"] or "", (said["License"] or "").partition("\n")[0], *kinds]))


def brought(packages: set[str]) -> set[str]:
    "What the lock holds because of these packages, by its comments of who needs what"
    needs = {name: {plain(user) for user in re.findall(r"^ +#(?: via)? +([\w.-]+)", block, flags=re.M)} for name, block in BLOCKS.items()}
    found = set(packages)
    while more := {name for name, users in needs.items() if users & found} - found: found |= more
    return found - packages


def test_lock_holds_what_settings_ask_for():
    for asked in requirements(f"{cfg.requirements} {cfg.dev_requirements}"):
        assert plain(asked.name) in BLOCKS, f"{asked} is not locked: run the command at the top of requirements.lock"
        found = locked(asked.name)
        assert asked.specifier.contains(found, prereleases=True), f"{asked} is locked at {found}: run the command at the top of requirements.lock"


def test_lock_holds_versions_and_hashes_alone():
    "No address either: each machine has its own index"
    for name, block in BLOCKS.items():
        assert re.match(r"[\w.-]+==[^\s*]+ ", block) and re.search(r"--hash=sha256:[0-9a-f]{64}(?= |$)", block, flags=re.M), name
    assert "://" not in LOCK
    assert "pip install -q --require-hashes -r requirements.lock" in (ROOT / "Makefile").read_text(encoding="utf-8")


def test_licenses_of_requirements_are_those_that_they_state():
    table = dict(rows("tbl-licenses"))
    assert list(table) == [asked.name for asked in requirements(cfg.requirements)]
    for name, words in table.items():
        if as_locked(name): assert stated(name) and stated(name) <= licenses(words), f"{name} states {stated(name)}"


def test_licenses_of_what_comes_along():
    "Each package of the lock that a requirement brings has a place in the table; if it is installed as locked, it states no other license"
    places = {name: words for words, names in rows("tbl-brought") for name in names.split(", ")}
    assert {plain(name) for name in places} == brought({plain(asked.name) for asked in requirements(cfg.requirements)})
    for name, words in places.items():
        if as_locked(name): assert stated(name) <= licenses(words), f"{name} states {stated(name)}"
