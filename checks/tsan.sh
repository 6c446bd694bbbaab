#!/usr/bin/env bash
# ThreadSanitizer over the tests of matou-core and matou-unix: it fails on a data race, and on a test that fails.
#
#     checks/tsan.sh                 all of them
#     checks/tsan.sh ARGUMENTS..     `cargo test ARGUMENTS..` with the same settings, such as `-p matou-core --test domains`
#
# The standard library is built with it, from its sources: otherwise what happens inside locks, threads and `Arc` is not seen, and every use of
# them is a false alarm. The sources are taken from whichever is there, in this order:
#
# - rustup's nightly with its component `rust-src` (`rustup toolchain install nightly --profile minimal --component rust-src`);
# - Debian's packages `rustc-web cargo-web rust-web-src`, which are installed where that may be done (root, apt-get). Debian's compiler has no
#   ThreadSanitizer of its own: the runtime library is that of any of rustup's toolchains, whole and first in the link.
#
# Without either, or without that runtime library, it skips (status 0). What it builds goes to target/tsan, or to tsan/ in CARGO_TARGET_DIR.
#
# `--cfg matou_plain_alloc` switches off matou-core's store of memory for tasks: memory that wanders between tasks would hide races.
# ThreadSanitizer does not know fences that stand alone, of which there are none in matou (this script looks), and no accesses of the kernel.
#
# Not run are the tests that run the compiler or other programs of the build, not the library: `ui`, `no_std_link`, `docs`, `examples`, and
# doctests; nor those on one thread (`simulated`, `simulation`), in which no race can be.
set -euo pipefail
cd "$(dirname "$0")/.."
source checks/common.sh

target=x86_64-unknown-linux-gnu
[ "$(uname -sm)" = 'Linux x86_64' ] || skip "on $(uname -sm) nothing of this was tried"

if grep -rnE '\bfence\(' core/src platform-unix/src; then
    echo 'tsan: a fence that stands alone, which ThreadSanitizer does not know' >&2
    exit 1
fi

runtime() { # the runtime library of one of rustup's toolchains
    find "$HOME"/.rustup/toolchains/*/lib/rustlib/$target/lib -name 'librustc-*_rt.tsan.a' 2>/dev/null | sort -r | head -1
}

flags='-Zsanitizer=thread --cfg matou_plain_alloc -Cdebuginfo=1'
sources=lib/rustlib/src/rust/library/std
debian() { [ -x /usr/bin/rustc ] && [ -x /usr/bin/cargo ] && [ -d /usr/$sources ]; }
nightly=$(rustc +nightly --print sysroot 2>/dev/null || true)
if [ -n "$nightly" ] && [ -d "$nightly/$sources" ] && [ -z "${TSAN_WITH_DEBIAN:-}" ]; then
    cargo=(cargo +nightly)
else
    library=$(runtime)
    [ -n "$library" ] || skip "there is neither rustup's nightly with rust-src, nor a toolchain of rustup with a runtime library"
    if ! debian; then
        packages='rustc-web cargo-web rust-web-src'
        # shellcheck disable=SC2086 # One word each.
        install_packages $packages || skip "it needs rustup's nightly with rust-src, or the Debian packages $packages"
        debian || skip 'the Debian packages are there, and something is still missing'
    fi
    # Building the standard library is not stable yet: that is what the bootstrap variable is for.
    export PATH=/usr/bin:/bin RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1
    unset RUSTUP_TOOLCHAIN
    cargo=(cargo)
    flags+=" -Zexternal-clangrt -Clink-arg=-Wl,--whole-archive -Clink-arg=$library -Clink-arg=-Wl,--no-whole-archive"
fi
echo "tsan: with $("${cargo[@]}" --version)"

export CARGO_TARGET_DIR=$build/tsan CARGO_BUILD_TARGET=$target RUSTFLAGS=$flags
unset CARGO_ENCODED_RUSTFLAGS RUSTC_WORKSPACE_WRAPPER
# A few at a time: each test has threads of its own, and runs some ten times as long.
# More memory than there is, which some tests ask for, is refused as it is elsewhere.
export TSAN_OPTIONS=${TSAN_OPTIONS:-halt_on_error=0:second_deadlock_stack=1:allocator_may_return_null=1} RUST_TEST_THREADS=${RUST_TEST_THREADS:-2}
std=(-Zbuild-std=std,panic_unwind,test)

if [ $# -gt 0 ]; then
    exec "${cargo[@]}" test "${std[@]}" "$@"
fi

failed=()
# shellcheck disable=SC2046 # One word each.
"${cargo[@]}" test "${std[@]}" --no-fail-fast -p matou-core --features std --lib $(tests_of core simulated simulation) || failed+=(matou-core)
# shellcheck disable=SC2046
"${cargo[@]}" test "${std[@]}" --no-fail-fast -p matou-unix --lib $(tests_of platform-unix examples) || failed+=(matou-unix)
if [ ${#failed[@]} -gt 0 ]; then
    echo "tsan: FAILED in ${failed[*]}" >&2
    exit 1
fi
echo "tsan: no race; $SECONDS s"
