#!/usr/bin/env bash
# Shows that the models hold, and that each of them would notice if they did not: runs all without a fault, then all once for each seeded
# fault.
#
# A seeded fault is a step of the core under the private cfg `matou_fault`. The table below says which models it must make fail; every other
# one must still pass. The script fails unless each fault is caught by just those, each model catches one at least, each fault in the
# core's sources is in the table, and every model in the sources has run: an empty run, or one without `--cfg loom`, cannot pass.
#
# With a fault the models are run with at most two preemptions, which finds all of them; without, as deep as each model says.
#
# Dependencies are built once: the fault is given to the crates of this workspace alone, by a wrapper of rustc that cargo makes part of
# their fingerprints. One fault by hand:
#     RUSTFLAGS='--cfg loom --cfg matou_fault="NAME"' cargo test -p loom-tests
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}/loom LC_ALL=C
export RUSTFLAGS='--cfg loom' CARGO_TERM_COLOR=never CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=0 RUST_BACKTRACE=0
unset RUSTC_WORKSPACE_WRAPPER LOOM_MAX_PREEMPTIONS

# fault: patterns of the models that must fail; a pattern with a minus takes out what those before it let in
faults() {
    cat <<'TABLE'
inbox_push_relaxed: inbox::* doorbell::* state::* -doorbell::a_flag_* -doorbell::a_ringer_*
inbox_take_relaxed: inbox::* doorbell::* state::* -doorbell::a_flag_* -doorbell::a_ringer_*
inbox_take_in_two_steps: inbox::* doorbell::* -doorbell::a_push_*
inbox_not_reversed: inbox::a_node_* inbox::the_order_*
doorbell_not_rung: doorbell::* state::* -doorbell::a_flag_* -doorbell::a_ringer_* -state::a_wake_that_joins_*
doorbell_always_rung: doorbell::* state::* -doorbell::a_flag_* -doorbell::a_ringer_* -state::a_wake_that_joins_*
doorbell_unchecked: doorbell::* state::* -doorbell::a_ringer_* -state::a_wake_that_joins_*
doorbell_relaxed: doorbell::* state::* -state::a_wake_that_joins_*
watch_asleep: doorbell::a_push_ends_the_watch_*
watch_trusted: doorbell::* state::* -doorbell::a_ringer_* -state::a_wake_that_joins_*
sleep_skips_flags: doorbell::a_flag_* doorbell::a_ring_and_*
ring_skips_write: doorbell::a_flag_* doorbell::a_ring_and_*
ring_drops_nodes: doorbell::a_ring_and_*
ring_not_counted: doorbell::a_flag_* doorbell::a_ring_and_* doorbell::a_ringer_*
push_not_counted: doorbell::* state::*_end* -doorbell::a_flag_* -doorbell::a_ringer_*
close_does_not_wait: doorbell::* state::*_end*
close_unordered: doorbell::a_flag_* doorbell::a_ring_and_* doorbell::a_ringer_*
wake_skips_write: inbox::a_node_* state::a_wake_that_joins_* state::no_wake_*
wake_after_end: state::*_end*
attend_relaxed: inbox::a_node_* state::a_wake_that_joins_* state::no_wake_* state::a_cancellation_meets_a_wake
attend_in_two_steps: inbox::a_node_* state::a_wake_that_joins_* state::no_wake_* state::a_cancellation_meets_a_wake
end_in_two_steps: state::*_end*
waiter_looks_once: sync::* -sync::a_computation_* -sync::a_signal_* -sync::a_trigger_*
grant_not_passed_on: sync::a_channel_hands_* sync::a_mutex_is_handed_on_* sync::a_signal_* sync::no_notification_* sync::permits_*
signal_kept_by_who_goes: sync::a_signal_*
condition_unlocks_first: sync::no_signal_*
computation_in_two_steps: sync::a_computation_*
computation_relaxed: sync::a_computation_*
trigger_relaxed: sync::a_trigger_*
trigger_published_unseen: sync::a_trigger_*
channel_takes_when_closed: sync::a_channel_loses_*
lazy_turn_kept: sync::a_lazy_*
loads_take_no_turn: explore::* inbox::* state::a_wake_that_joins_*
TABLE
}

# loom does nearly all the work. What is under test keeps its assertions, and builds fast.
optimised=()
for crate in loom generator tracing tracing-core; do
    optimised+=(--config "profile.dev.package.$crate.opt-level=3")
done

# Runs all models, each in a process of its own: one that meets a deadlock may end its process, as what it leaves behind cannot be dropped.
# The log begins with the build, and has each model's output after its name and how it ended.
run_models() {
    local log=$1 binary
    # --no-run tells which file it built.
    cargo "${optimised[@]}" test -p loom-tests --lib --no-run >"$log" 2>&1 || return
    binary=$(sed -n 's/.*Executable unittests .*(\(.*\))$/\1/p' "$log")
    "$binary" --list --format terse | sed -n 's/: test$//p' | xargs -P "$(nproc)" -I{} bash -c 'run_model "$@"' _ "$binary" {} >>"$log"
    [ -z "$(ended FAILED "$log")" ]
}

run_model() {
    local output end=ok
    # A fault may make a model go round for ever.
    output=$(timeout 300 "$1" --exact "$2" --show-output 2>&1) || end=FAILED
    # One write, so that two models' lines do not mix.
    printf 'model %s ... %s\n%s\n' "$2" "$end" "$output"
}
export -f run_model

# The models that ended so (`ok` or `FAILED`) in a log, on one line.
ended() {
    sed -n "s/^model \([a-z_:]*\) \.\.\. $1\$/\1/p" "$2" | sort | xargs
}

# The models that the patterns let in, on one line.
matching() {
    local model pattern in
    for model in $models; do
        in=
        for pattern; do
            case $pattern in
            # shellcheck disable=SC2053 # They are patterns.
            -*) [[ $model != ${pattern#-} ]] || in= ;;
            # shellcheck disable=SC2053
            *) [[ $model != $pattern ]] || in=1 ;;
            esac
        done
        [ -z "$in" ] || echo "$model"
    done | xargs
}

logs=$CARGO_TARGET_DIR/faults
mkdir -p "$logs"

echo '=== without a fault'
if ! run_models "$logs/none.log"; then
    cat "$logs/none.log"
    exit 1
fi
grep -E 'executions|×' "$logs/none.log"
models=$(ended ok "$logs/none.log")
ran=$(wc -w <<<"$models")
written=$(cat loom-tests/src/*.rs | grep -c '^ *#\[test\]$')
if [ "$ran" -eq 0 ] || [ "$ran" -ne "$written" ]; then
    echo "$ran models ran, and $written are written" >&2
    exit 1
fi

listed=$(faults | cut -d: -f1 | sort)
seeded=$(grep -rhoE 'matou_fault = "[a-z_]+"' core/src | sed 's/.*"\(.*\)"/\1/' | sort -u)
if [ "$listed" != "$seeded" ]; then
    echo 'the faults in the table of this script and those in core/src differ:' >&2
    diff <(echo "$listed") <(echo "$seeded") >&2
    exit 1
fi

echo '=== with each fault'
total=0
caught=0
: >"$logs/catchers"
while read -r fault patterns <&3; do
    fault=${fault%:}
    total=$((total + 1))
    set -f
    # shellcheck disable=SC2086 # Each word is a pattern.
    expected=$(matching $patterns)
    set +f
    wrapper=$logs/$fault
    printf '#!/bin/sh\nexec "$@" --cfg %s\n' "'matou_fault=\"$fault\"'" >"$wrapper"
    chmod +x "$wrapper"
    RUSTC_WORKSPACE_WRAPPER=$wrapper LOOM_MAX_PREEMPTIONS=2 run_models "$logs/$fault.log" && status=0 || status=$?
    failed=$(ended FAILED "$logs/$fault.log")
    passed=$(ended ok "$logs/$fault.log")
    if [ -n "$failed" ] && [ "$failed" = "$expected" ] && [ "$(wc -w <<<"$failed $passed")" -eq "$written" ]; then
        caught=$((caught + 1))
        echo "caught  $fault: $(wc -w <<<"$failed") of $written models fail, as they must"
        tr ' ' '\n' <<<"$failed" >>"$logs/catchers"
    else
        echo "MISSED  $fault (status $status, see $logs/$fault.log)"
        echo "        must fail: $expected"
        echo "        failed:    $failed"
        echo "        passed:    $passed"
    fi
done 3< <(faults)

idle=$(comm -23 <(tr ' ' '\n' <<<"$models" | sort) <(sort -u "$logs/catchers"))
echo "faults caught: $caught/$total, by $ran models; $SECONDS s"
if [ -n "$idle" ]; then
    echo "models that catch no fault: $idle" >&2
    exit 1
fi
[ "$caught" -eq "$total" ]
