"""Files out of Debian packages, without installing them.

Packages are fetched with `apt-get download` into a cache and unpacked with `dpkg-deb -x`; a cache that is already filled works
without a network. Every file is checked against the SHA-256 its caller states, so another version of a package cannot slip in.
The packages are those of Debian 12 (bookworm).
"""

import hashlib
import subprocess
import sys
from pathlib import Path


class Packages:
    """Unpacked packages under `cache`."""

    def __init__(self, cache):
        self.cache = Path(cache).resolve()
        self.cache.mkdir(parents=True, exist_ok=True)

    def file(self, package, path, sha256):
        """The path of a file that `package` installs at `/path`, its content checked."""
        root = self.cache / package
        if not root.is_dir():
            self._unpack(package, root)
        found = root / path
        digest = hashlib.sha256(found.read_bytes()).hexdigest()
        if digest != sha256:
            sys.exit(f"{package}: {path}: expected sha256 {sha256}, found {digest}")
        return found

    def _unpack(self, package, root):
        debs = sorted(self.cache.glob(f"{package}_*.deb"))
        if not debs:
            subprocess.run(["apt-get", "download", "-qq", package], cwd=self.cache, check=True)
            debs = sorted(self.cache.glob(f"{package}_*.deb"))
        partial = root.with_name(root.name + ".partial")
        subprocess.run(["dpkg-deb", "-x", debs[-1], partial], check=True)
        partial.rename(root)
