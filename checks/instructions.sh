#!/usr/bin/env bash
# Counts the instructions of each operation of the core under valgrind's callgrind, and fails unless they are those written down in
# `checks/instructions/counts.tsv`, within one in a hundred, and stay the same with very many tasks, timers or orphans beside.
#
#     checks/instructions.sh            up to 100,000 beside; under a minute, once built
#     checks/instructions.sh --full     up to 1,000,000 beside, and the times of a yield among as many; some minutes
#     checks/instructions.sh --bless    writes the counts down: after a change that is meant to change them
#     checks/instructions.sh --out FILE all counts, as tab-separated values
#
# It needs Linux, a stable Rust toolchain, and valgrind, which it installs from Debian's packages where it may. The counts written down are of
# one compiler on one kind of processor; with another they are only printed, and the growth is checked all the same.
set -euo pipefail
cd "$(dirname "$0")/.."
source checks/common.sh

need_cargo
if ! command -v valgrind >/dev/null; then
    install_packages valgrind || skip 'there is no valgrind, and it could not be installed'
fi
cargo build --quiet --release --target-dir "$build/instructions" --manifest-path checks/instructions/Cargo.toml
"$build/instructions/release/instructions" "$@"
case " $* " in
*' --full '*) "$build/instructions/release/walk" 100 10000 1000000 ;;
esac
echo "instructions: they are what they were; $SECONDS s"
