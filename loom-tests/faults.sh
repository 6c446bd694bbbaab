#!/usr/bin/env bash
# Shows that the models hold, and that each of them would notice: runs all without a fault, then once for each seeded fault.
#
# A seeded fault is a line of the core under the private cfg `matou_fault`. The table below says which models a fault must make fail; every
# other model must still pass. The script fails unless each fault is caught by just those, each model catches some fault, each fault of the
# sources is in the table, and every model in the sources has run: an empty run, or one without `--cfg loom`, cannot pass.
#
# Dependencies are built once: the fault goes to the crates of this workspace alone, by a wrapper of rustc that is part of their
# fingerprint. One fault by hand: RUSTFLAGS='--cfg loom --cfg matou_fault="NAME"' cargo test -p loom-tests
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TERM_COLOR=never CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}/loom
export RUSTFLAGS='--cfg loom' RUST_BACKTRACE=0
# Millions of executions: optimised, but with the assertions of the core.
export CARGO_PROFILE_DEV_OPT_LEVEL=2 CARGO_PROFILE_DEV_DEBUG=0

# The fault, then the models that must fail.
table='
inbox_push_relaxed       FILL
inbox_take_relaxed       FILL
inbox_take_in_two_steps  FILL
inbox_not_reversed       FILL
doorbell_not_rung        FILL
doorbell_always_rung     FILL
doorbell_unchecked       FILL
doorbell_relaxed         FILL
ring_skips_write         FILL
ring_drops_nodes         FILL
ring_not_counted         FILL
push_not_counted         FILL
close_does_not_wait      FILL
close_unordered          FILL
wake_skips_write         FILL
wake_after_end           FILL
attend_relaxed           FILL
attend_in_two_steps      FILL
end_in_two_steps         FILL
loads_take_no_turn       FILL
'
