#!/usr/bin/env python3
"""Makes a fresh virtual environment with the wheels in it: environment.py ENVIRONMENT WHEELS SITE...

What the wheels require (torch, numpy) and what the tests use is not downloaded again: it is linked from SITE, directories
of packages. pip installs the wheels without an index, and so says whether their requirements are met.
"""

import subprocess
import sys
import venv
from pathlib import Path


def main(environment: Path, wheels: Path, sites: list[Path]) -> None:
    venv.create(environment, with_pip=True, clear=True, symlinks=True)
    (packages,) = environment.glob("lib/python3.*/site-packages")
    for site in sites:
        for entry in site.iterdir():
            link = packages / entry.name
            if not link.exists() and not entry.name.startswith(("invar", "__pycache__")):
                link.symlink_to(entry.resolve())
    install = [
        environment / "bin/python",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-index",
    ]
    subprocess.run([*install, *sorted(wheels.glob("*.whl"))], check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), [Path(site) for site in sys.argv[3:]])
