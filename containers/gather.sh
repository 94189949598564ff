#!/usr/bin/env bash
# What an image holds of a build: gather.sh PROGRAMS SITE ROOT
#   PROGRAMS  the directory with invar and invar-learn
#   SITE      the directory that PyTorch's packages were installed to; in the image it has the same path
#   ROOT      the directory to make, the image's root
set -euo pipefail
programs=$(realpath "$1") site=$(realpath "$2") root=$(realpath --canonicalize-missing "$3")

install -D --target-directory "$root/usr/local/bin" "$programs/invar" "$programs/invar-learn"
"$programs/invar" man --out "$root/usr/local/share/man/man1" >/dev/null
mkdir -p "$root/usr/share/bash-completion/completions"
"$programs/invar" completions bash >"$root/usr/share/bash-completion/completions/invar"

# The libraries of PyTorch, without those for Python, and of CUDA, where there are any.
mkdir -p "$root$site"
cd "$site"
packages=(torch/lib)
[ ! -d nvidia ] || packages+=(nvidia)
find "${packages[@]}" -name '*.so*' ! -name 'libtorch_python*' ! -name 'libshm*' -exec cp --parents --no-dereference --target-directory "$root$site" {} +
