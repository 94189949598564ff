#!/usr/bin/env python3
"""Makes the wheel `invar-learn` of the program that cargo built: build_wheel.py PROGRAM --out DIRECTORY

The program lies in the package, not in bin/ as maturin would have it: from site-packages/invar_learn it finds
site-packages/torch whatever the version of Python, and `pip` replaces one without the other only knowingly, because the wheel
requires torch of one version. Nothing of LibTorch is in the wheel. Needs patchelf.
"""

import argparse
import base64
import hashlib
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
#: From site-packages/invar_learn.
TORCH_LIBRARIES = "$ORIGIN/../torch/lib"
#: So that two wheels of one program are the same bytes.
DATE = (1980, 1, 1, 0, 0, 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--fast", action="store_true", help="compress little: for tests")
    options = parser.parse_args()
    with (ROOT / "Cargo.toml").open("rb") as manifest:
        package = tomllib.load(manifest)["workspace"]["package"]
    torch = re.search(r"^TORCH_VERSION := (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    with tempfile.TemporaryDirectory() as directory:
        program = Path(directory, "invar-learn")
        shutil.copy(options.program, program)
        patchelf = shutil.which("patchelf", path=Path(sys.executable).parent) or "patchelf"
        subprocess.run([patchelf, "--set-rpath", TORCH_LIBRARIES, program], check=True)
        path = write(options.out, program, package, torch, level=1 if options.fast else 9)
    print(f"{path}: {path.stat().st_size:,} bytes")


def write(out: Path, program: Path, package: dict[str, str], torch: str, level: int) -> Path:
    version, binary = package["version"], program.read_bytes()
    about, tag = f"invar_learn-{version}.dist-info", f"py3-none-{platform_tag(binary)}"
    metadata = (
        f"Metadata-Version: 2.4\nName: invar-learn\nVersion: {version}\n"
        "Summary: The program that invar trains and embeds with.\n"
        f"License-Expression: {package['license']}\nRequires-Python: >=3.10\nRequires-Dist: torch=={torch}\n"
    )
    files = {
        "invar_learn/__init__.py": (HERE / "invar_learn" / "__init__.py").read_bytes(),
        "invar_learn/torch-version": f"{torch}\n".encode(),
        "invar_learn/invar-learn": binary,
        f"{about}/METADATA": metadata.encode(),
        f"{about}/WHEEL": f"Wheel-Version: 1.0\nGenerator: invar\nRoot-Is-Purelib: false\nTag: {tag}\n".encode(),
    }
    record = "".join(f"{name},{digest(content)},{len(content)}\n" for name, content in files.items())
    files[f"{about}/RECORD"] = f"{record}{about}/RECORD,,\n".encode()
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"invar_learn-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=level) as wheel:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o100755 if name.endswith("/invar-learn") else 0o100644) << 16
            wheel.writestr(entry, content)
    return path


def platform_tag(binary: bytes) -> str:
    """The oldest glibc that has what the program asks of it, but none older than that of torch's own wheels."""
    versions = [int(minor) for minor in re.findall(rb"\x00GLIBC_2\.(\d+)", binary)]
    return f"manylinux_2_{max([28, *versions])}_{platform.machine()}"


def digest(content: bytes) -> str:
    text = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"sha256={text}"


if __name__ == "__main__":
    main()
