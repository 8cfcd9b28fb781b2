"Packaging: everything that can change is in settings.ini."
from configparser import ConfigParser
from pathlib import Path
from setuptools import setup

here = Path(__file__).parent
config = ConfigParser(delimiters=["="])
config.read(here / "settings.ini", encoding="utf-8")
cfg = config["DEFAULT"]
lib = cfg["lib_name"]

setup(
    name=lib,
    version=cfg["version"],
    description=cfg["description"],
    long_description=(here / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author=cfg["author"],
    url=f"https://github.com/{cfg['user']}/{cfg['repo']}",
    license="Apache-2.0",
    license_files=["LICENSE"],
    keywords=cfg["keywords"].split(),
    packages=[lib, f"{lib}.kit", f"{lib}.reports"],
    package_data={lib: ["assets/*", "results/*.json", "results/*/*.json"]},
    python_requires=f">={cfg['min_python']}",
    install_requires=cfg["requirements"].split(),
    extras_require={"dev": cfg["dev_requirements"].split()},
    entry_points={
        "console_scripts": cfg["console_scripts"].split(),
        "nbdev": [f"{lib} = {lib}._modidx:d"],  # lets nbdev turn `names` in prose into links
    },
)
