"""Whether conda-build could read a recipe, as far as that can be said without it: check.py meta.yaml"""

import pathlib
import sys

import jinja2
import yaml

path = pathlib.Path(sys.argv[1])
# What conda-build gives a recipe, by names that stand for what it would find.
functions = {
    "compiler": lambda language: f"{language}_compiler",
    "pin_subpackage": lambda name, max_pin: f"{name} {max_pin}",
}
text = jinja2.Environment(undefined=jinja2.StrictUndefined).from_string(path.read_text()).render(functions)
recipe = yaml.safe_load(text)

missing = {"package", "source", "build", "requirements", "test", "about"} - set(recipe)
assert not missing, f"{path}: no {missing}"
for part in ("build", "host", "run"):
    packages = recipe["requirements"][part]
    assert packages and all(isinstance(name, str) for name in packages), f"{path}: {part}: {packages}"
assert set(recipe["requirements"]["run"]) <= set(recipe["requirements"]["host"]), (
    f"{path}: what runs is not what it was built with"
)
assert (path.parent / recipe["source"]["path"] / "Cargo.lock").exists(), f"{path}: {recipe['source']}: not the sources"
script = (path.parent / "build.sh").read_text()
for name in recipe["about"]["license_file"]:
    assert (path.parent / recipe["source"]["path"] / name).exists() or f"--output {name}" in script, (
        f"{path}: {name}: not there"
    )
print(f"{path}: {recipe['package']['name']} {recipe['package']['version']}")
