#!/usr/bin/env bash
# AddressSanitizer and LeakSanitizer over the tests of matou-core, matou-unix and matou-echo.
#
#     checks/asan.sh                 all of them; it fails on an invalid access, on a leak, and on a test that fails
#     checks/asan.sh ARGUMENTS..     `cargo test ARGUMENTS..` with the same settings, such as `-p matou-core --test inert`
#
# It needs Linux on x86_64 or aarch64 and rustup's nightly toolchain (`rustup toolchain install nightly --profile minimal`); without, it skips
# (status 0). What it builds goes to target/asan, or to asan/ in CARGO_TARGET_DIR.
#
# `--cfg matou_plain_alloc` switches off matou-core's store of memory for tasks: memory is really freed, so that a use after it is seen.
#
# What a test leaks on purpose it leaks with `leak` of `tests/support`, which notes where it is: LeakSanitizer finds it from there, and reports
# only what was leaked by mistake. The suppressions below are for what cannot do so.
#
# Not run are the tests that run the compiler, not the library: `ui` (the messages of another compiler), `no_std_link`, `docs`, and doctests.
set -euo pipefail
cd "$(dirname "$0")/.."
source checks/common.sh

need_nightly
case $host in
x86_64-unknown-linux-gnu | aarch64-unknown-linux-gnu) ;;
*) skip "on $host nothing of this was tried" ;;
esac

export CARGO_TARGET_DIR=$build/asan CARGO_BUILD_TARGET=$host RUSTFLAGS='-Zsanitizer=address --cfg matou_plain_alloc -Cdebuginfo=1'
unset CARGO_ENCODED_RUSTFLAGS RUSTC_WORKSPACE_WRAPPER
mkdir -p "$CARGO_TARGET_DIR"
suppressions=$CARGO_TARGET_DIR/suppressions
cat >"$suppressions" <<'LIST'
# A test inside matou-unix in which a source of a reactor never leaves (`mem::forget`), on each of the four reactors: what they share stays.
leak:a_descriptor_replaced_behind_its_back_shares_nothing
# One in which a lent buffer is forgotten, and with it what the buffers share.
leak:what_is_forgotten_costs_no_other_buffer
LIST
# More memory than there is, which some tests ask for, is refused as it is elsewhere.
export ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1 LSAN_OPTIONS=suppressions=$suppressions:print_suppressions=0

if [ $# -gt 0 ]; then
    exec cargo +nightly test "$@"
fi

# The tests of the examples run these.
cargo +nightly build --quiet -p matou-unix --examples
failed=()
# shellcheck disable=SC2046 # One word each.
cargo +nightly test --no-fail-fast -p matou-core --features simulation --lib $(tests_of core) || failed+=(matou-core)
# shellcheck disable=SC2046
cargo +nightly test --no-fail-fast -p matou-unix --lib $(tests_of platform-unix) || failed+=(matou-unix)
# shellcheck disable=SC2046
cargo +nightly test --no-fail-fast -p matou-echo --bins $(tests_of echo) || failed+=(matou-echo)
if [ ${#failed[@]} -gt 0 ]; then
    echo "asan: FAILED in ${failed[*]}" >&2
    exit 1
fi
echo "asan: no invalid access and no leak; $SECONDS s"
