# What the scripts of this folder share. Each sources it from the root of the repository, in which they all run:
#
#     set -euo pipefail
#     cd "$(dirname "$0")/.."
#     source checks/common.sh
# shellcheck shell=bash

# No backtraces: many tests panic on purpose, and in a program with a sanitizer each of them takes seconds.
export LC_ALL=C CARGO_TERM_COLOR=never CARGO_NET_RETRY=10 RUST_BACKTRACE=0
# Where all of them build, each in a folder of its own.
build=${CARGO_TARGET_DIR:-$PWD/target}

skip() { # why it cannot run here
    echo "skipped: $1"
    exit 0
}

need_cargo() {
    command -v cargo >/dev/null || skip 'there is no cargo'
}

# Sets `host`, what rustup's nightly toolchain builds for.
need_nightly() {
    need_cargo
    host=$(cargo +nightly -vV 2>/dev/null | sed -n 's/^host: //p' || true)
    [ -n "$host" ] || skip 'there is no nightly toolchain of rustup: rustup toolchain install nightly --profile minimal'
}

# A subcommand of cargo; where it is missing it is installed from crates.io, in target/tools.
need_subcommand() { # its name, the version
    local tools=$PWD/target/tools
    if cargo "$1" --version >/dev/null 2>&1; then return; fi
    [ -x "$tools/bin/cargo-$1" ] || cargo install --quiet --locked --root "$tools" "cargo-$1@$2" ||
        skip "cargo-$1 is not there and could not be installed: cargo install --locked cargo-$1@$2"
    export PATH=$tools/bin:$PATH
}

# Installs packages of Debian's, where that may be done; says whether they are there then.
install_packages() { # their names
    command -v apt-get >/dev/null && [ "$(id -u)" -eq 0 ] || return
    # What fails for reasons of the network is tried again; and another program that installs something is waited for.
    { apt-get update -qq -o Acquire::Retries=3 &&
        DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 "$@"; } \
        >/dev/null 2>&1
}

# Left out are those that run the compiler, not the library.
tests_of() { # a crate's folder, further ones to leave out: the names of its test programs, as options of cargo
    local path name
    for path in "$1"/tests/*.rs "$1"/tests/*/main.rs; do
        name=$(basename "${path%/main.rs}" .rs)
        if [ ! -e "$path" ] || [[ " ui no_std_link docs ${*:2} " == *" $name "* ]]; then continue; fi
        echo "--test $name"
    done
}
