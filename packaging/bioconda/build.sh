#!/usr/bin/env bash
# Called by conda-build in the root of the sources.
set -euxo pipefail

# conda's compiler for Rust names the machine's own target, with which cargo would build into another directory.
unset CARGO_BUILD_TARGET
cargo-bundle-licenses --format yaml --output THIRDPARTY.yml
# conda's LibTorch has its headers and libraries where all others have theirs; the path to it in invar-learn is made relative by
# conda-build.
LIBTORCH="$PREFIX" make build

install -D --mode 755 --target-directory "$PREFIX/bin" target/release/invar target/release/invar-learn
"$PREFIX/bin/invar" man --out "$PREFIX/share/man/man1"
mkdir -p "$PREFIX/share/bash-completion/completions" "$PREFIX/share/zsh/site-functions" "$PREFIX/share/fish/vendor_completions.d"
"$PREFIX/bin/invar" completions bash >"$PREFIX/share/bash-completion/completions/invar"
"$PREFIX/bin/invar" completions zsh >"$PREFIX/share/zsh/site-functions/_invar"
"$PREFIX/bin/invar" completions fish >"$PREFIX/share/fish/vendor_completions.d/invar.fish"
