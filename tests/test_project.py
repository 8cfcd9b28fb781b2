"What stands beside the code: the citation, the changelog and the workflows follow the rest of the repository."
import re
import runpy

import yaml
from conftest import ROOT
from nbdev.config import get_config
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

cfg = get_config(path=ROOT)


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def test_citation_follows_settings():
    citation = dict(re.findall(r"^([\w-]+): (.+)$", read("CITATION.cff"), flags=re.M))
    assert citation["version"] == cfg.version
    assert citation["repository-code"] == f"https://github.com/{cfg.user}/{cfg.repo}"
    assert citation["url"] == f"{cfg.doc_host}{cfg.doc_baseurl}"


def test_page_cites_what_the_citation_says():
    citation = re.sub(r"[{}]", "", read("nbs/references.md").partition("```bibtex")[2])
    entry = dict(re.findall(r"^  (\w+) = (.+),$", citation, flags=re.M))
    said = read("CITATION.cff")
    for line in f'title: "{entry["title"]}"', f'- name: {entry["author"]}', f'version: {entry["version"]}', f'url: {entry["url"]}':
        assert re.search(rf"^ *{re.escape(line)}$", said, flags=re.M), line


def test_changelog_starts_with_the_version_of_settings():
    assert re.findall(r"^## (\S+?),? ", read("CHANGELOG.md"), flags=re.M)[0] == cfg.version


def test_workflows_call_what_people_call():
    ci, pages, audit = (read(f".github/workflows/{name}.yml") for name in ("ci", "pages", "audit"))
    assert "run: .ci/run\n" in ci and "run: make site\n" in pages and f"path: {cfg.doc_path.name}}}" in pages and "run: make audit\n" in audit


def test_workflows_may_do_what_they_need_and_no_more():
    "Nothing is allowed to a workflow as a whole; a job that runs code can only read, and the one that publishes checks nothing out"
    allowed = {"publish": {"pages": "write", "id-token": "write"}}
    for path in (ROOT / ".github/workflows").glob("*.yml"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"secrets\b|pull_request_target|workflow_run", text), path.name
        flow = yaml.safe_load(text)
        assert flow["permissions"] == {}, path.name
        for name, job in flow["jobs"].items():
            assert job["permissions"] == allowed.get(name, {"contents": "read"}), f"{name} in {path.name}"
            for action, step in [(step["uses"], step) for step in job["steps"] if "uses" in step]:
                assert re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}", action), f"{action} is not pinned to a commit"
                assert "checkout" not in action or step["with"] == {"persist-credentials": False}, f"the token stays on disk in {path.name}"
            if name in allowed: assert not any("run" in step or "checkout" in step["uses"] for step in job["steps"])


def test_bounds_follow_the_table_of_versions():
    "A lower bound of a requirement is the oldest version in the table on Contributing, and both columns lie within the bounds"
    rows = re.findall(r"^\| `([\w-]+)` \| (\S+) \| (\S+) \|", read("nbs/contributing.md").partition("## Versions")[2].partition("{#tbl-versions}")[0], flags=re.M)
    run = {name: versions for name, *versions in rows}
    wanted = [Requirement(text) for text in f"{cfg.requirements} {cfg.dev_requirements}".split()]
    assert {requirement.name for requirement in wanted} == set(run)
    for requirement in wanted:
        assert all(requirement.specifier.contains(version) for version in run[requirement.name]), requirement
        for bound in requirement.specifier:
            if bound.operator == ">=": assert run[requirement.name][0] in SpecifierSet(f"=={bound.version}.*"), requirement


def test_picture_of_the_rooms_follows_from_the_imports():
    "It draws every import, and an arc that leads right or an arrow that leads up would break the rule of the wings"
    rooms = runpy.run_path(str(ROOT / "tools/rooms.py"))
    assert read("nbs/contributing.md") == rooms["contributing"](), "run python tools/rooms.py"
    modules = [module for module, *_ in rooms["pages"]() if module]
    files = {str(path.relative_to(ROOT / "cvae_tutorial").with_suffix("")).replace("/", ".") for path in (ROOT / "cvae_tutorial").rglob("[!_]*.py")}
    assert sorted(modules) == sorted(files)
    lower = sorted(modules, key=lambda module: (["kit", "story", "reports"].index(rooms["wing"](module)), modules.index(module)))
    assert {(a, b) for a, b in rooms["imports"]() if lower.index(a) <= lower.index(b)} == set()


GOES_WELL = {"test_places_in_order", "test_fashion_is_found_or_it_says_how_to_get_it", "test_tensors_and_their_text_come_back",
             "test_checkpoint_round_trip", "test_files_from_before_the_choice_of_prior", "test_nets_come_back_from_their_files"}


def test_the_table_of_faults_is_whole():
    "Each row names a test that exists, and each test of a download, a file, an argument or a run that can go wrong has a row"
    table = read("nbs/faults.md").partition("{#tbl-faults}")[0]
    rows = re.findall(r"^\| (.+?) \| (.+?) \| `(test_\w+)\.(test_\w+)`(?:, \S.*)? \|$", table, flags=re.M)
    assert len(rows) >= 30 and len(rows) == len(re.findall(r"^\| ", table, flags=re.M)) - 1 and len({fault for fault, *_ in rows}) == len(rows)
    def tests(module): return set(re.findall(r"^def (test_\w+)\(", read(f"tests/{module}.py"), flags=re.M))
    for fault, _, module, name in rows: assert name in tests(module), fault
    can_fail = set().union(*map(tests, ["test_mnist", "test_files", "test_checkpoints", "test_arguments", "test_faults"])) - GOES_WELL
    assert can_fail - {name for *_, name in rows} == set()
