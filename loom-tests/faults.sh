#!/usr/bin/env bash
# Shows that the models hold, and that each of them would notice if they did not: runs all without a fault, then all once for each seeded
# fault.
#
# A seeded fault is a step of the core, or of what else is modelled, that is done wrongly where the environment names it, in builds for a model
# checker alone (`fault` in core/src/shim.rs). The table below says which models it must make fail; every other one of the same checker must
# still pass. The script fails unless each fault is caught by just those, each model catches one at least, each fault in the sources is in the table, and
# every model in the sources has run: an empty run, or one without a checker, cannot pass.
#
# There are two sets of models: loom's, and those of whole runs (`whole`), which are shuttle's. With a fault loom's are run with at most two
# preemptions, and shuttle's in some hundred orders, which finds all of them; without, as deep as each model says. A fault is tried on the
# checkers that the table names models of: what loom finds whole runs may meet, or not, by chance. One fault by hand:
#     ./loom-tests/faults.sh NAME
#     MATOU_FAULT=NAME RUSTFLAGS='--cfg loom' cargo test -p loom-tests
#     MATOU_FAULT=NAME RUSTFLAGS='--cfg shuttle' cargo test -p loom-tests
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-$PWD/target}/loom
export LC_ALL=C CARGO_TERM_COLOR=never CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=0 RUST_BACKTRACE=0
unset LOOM_MAX_PREEMPTIONS SHUTTLE_ORDERS MATOU_FAULT

# fault: patterns of the models that must fail; a pattern with a minus takes out what those before it let in
faults() {
    cat <<'TABLE'
inbox_push_relaxed: memory::a_waker_* inbox::* doorbell::* state::* -doorbell::a_flag_* -doorbell::a_ringer_*
inbox_take_relaxed: memory::a_waker_* inbox::* doorbell::* state::* -doorbell::a_flag_* -doorbell::a_ringer_*
inbox_take_in_two_steps: memory::a_waker_* inbox::* doorbell::* -doorbell::a_push_*
inbox_not_reversed: inbox::a_node_* inbox::the_order_*
doorbell_not_rung: doorbell::* state::* -doorbell::a_flag_* -doorbell::a_ringer_* -state::a_wake_that_joins_*
doorbell_always_rung: doorbell::* state::* -doorbell::a_flag_* -doorbell::a_ringer_* -state::a_wake_that_joins_*
doorbell_unchecked: doorbell::* state::* -doorbell::a_ringer_* -state::a_wake_that_joins_*
doorbell_relaxed: doorbell::* state::* -state::a_wake_that_joins_*
watch_asleep: doorbell::a_push_ends_the_watch_*
watch_blind: doorbell::a_push_ends_the_watch_*
watch_endless: doorbell::a_push_ends_the_watch_* whole::calls_to_*
watch_trusted: doorbell::* state::* -doorbell::a_ringer_* -state::a_wake_that_joins_*
sleep_skips_flags: doorbell::a_flag_* doorbell::a_ring_and_*
ring_skips_write: doorbell::a_flag_* doorbell::a_ring_and_*
ring_drops_nodes: doorbell::a_ring_and_*
ring_not_counted: doorbell::a_flag_* doorbell::a_ring_and_* doorbell::a_ringer_*
push_not_counted: doorbell::* state::*_end* state::*_first_poll -doorbell::a_flag_* -doorbell::a_ringer_*
close_does_not_wait: doorbell::* state::*_end* state::*_first_poll
close_unordered: doorbell::a_flag_* doorbell::a_ring_and_* doorbell::a_ringer_*
wake_skips_write: inbox::a_node_* state::a_wake_that_joins_* state::no_wake_*
wake_after_end: memory::a_waker_* state::*_end*
attend_relaxed: inbox::a_node_* state::a_wake_that_joins_* state::no_wake_* state::a_cancellation_meets_a_wake state::*_first_poll
attend_in_two_steps: inbox::a_node_* state::a_wake_that_joins_* state::no_wake_* state::a_cancellation_meets_a_wake state::*_first_poll
end_in_two_steps: memory::a_waker_* state::*_end*
end_alone_unasked: memory::a_waker_*
alone_relaxed: memory::a_waker_* memory::a_promise_*
waiter_looks_once: sync::* -sync::a_computation_completes_* -sync::a_signal_* -sync::a_trigger_*
grant_not_passed_on: sync::a_channel_hands_* sync::a_channels_place_* sync::a_mutex_is_handed_on_* sync::a_signal_* sync::no_notification_* sync::permits_*
signal_kept_by_who_goes: sync::a_signal_*
condition_unlocks_first: sync::no_signal_*
computation_in_two_steps: sync::a_computation_completes_*
computation_relaxed: sync::a_computation_completes_*
trigger_relaxed: sync::a_trigger_*
trigger_published_unseen: blocking::work_is_awaited blocking::work_is_discarded sync::a_trigger_*
channel_takes_when_closed: sync::a_channel_loses_*
lazy_turn_kept: sync::a_lazy_*
waker_keeps_its_hold: memory::a_* -memory::a_place_* -memory::a_visitor_* whole::a_waker_*
release_relaxed: memory::a_waker_* memory::a_promise_*
retain_in_two_steps: memory::a_promise_*
slot_freed_relaxed: memory::a_place_*
slot_taken_relaxed: memory::a_place_*
slot_taken_in_two_steps: memory::a_place_*
door_opened_relaxed: memory::a_visitor_*
door_left_relaxed: memory::a_visitor_*
door_not_looked_at: memory::a_visitor_*
door_not_waited: memory::a_visitor_*
request_joins_any: inbox::a_node_* state::a_wake_that_joins_* state::no_wake_* state::a_cancellation_meets_a_wake state::*_first_poll
job_over_before_its_end: blocking::work_is_awaited
job_end_not_looked_at: blocking::work_is_dropped_early
wake_not_sent: memory::a_waker_* whole::a_waker_* whole::wakes_* whole::values_*
cancel_not_sent: whole::a_cancellation_* whole::values_*
end_not_sent: whole::* -whole::a_waker_*
result_not_buried: whole::a_cancellation_meets_the_end whole::a_promise_*
start_not_rung: whole::*
stop_not_rung: whole::*
abort_not_rung: whole::a_violation_*
question_unannounced: whole::a_question_*
hail_first: memory::who_is_hailed_*
hail_relaxed: memory::who_is_hailed_*
hail_stored: memory::who_is_hailed_twice_*
loads_take_no_turn: explore::* inbox::* state::a_wake_that_joins_*
TABLE
}

# The checkers do nearly all the work. What is under test keeps its assertions, and builds fast.
optimised=()
for crate in loom generator tracing tracing-core shuttle shuttle-engine shuttle-schedulers shuttle-std corosensei rand_pcg smallvec bitvec; do
    optimised+=(--config "profile.dev.package.$crate.opt-level=3")
done

# Builds the models of one checker, and tells the file.
build() {
    local log=$logs/$1.build
    CARGO_TARGET_DIR=$target/$1 RUSTFLAGS="--cfg $1" cargo "${optimised[@]}" test -p loom-tests --lib --no-run >"$log" 2>&1 || {
        cat "$log" >&2
        return 1
    }
    sed -n 's/.*Executable unittests .*(\(.*\))$/\1/p' "$log"
}

# Runs all models, each in a process of its own: one that meets a deadlock may end its process, as what it leaves behind cannot be dropped.
# The log, named first, has each model's output after its name and how it ended; after it, the files with the models.
run_models() {
    local log=$1 binary
    shift
    for binary; do
        "$binary" --list --format terse | sed -n "s|: test\$| $binary|p"
    done | xargs -P "$(nproc)" -L 1 bash -c 'run_model "$@"' _ >"$log"
    [ -z "$(ended FAILED "$log")" ]
}

run_model() {
    local output end=ok
    # A fault may make a model go round for ever.
    output=$(timeout "$PATIENCE" "$2" --exact "$1" --show-output 2>&1) || end=FAILED
    # One write, so that two models' lines do not mix.
    printf 'model %s ... %s\n%s\n' "$1" "$end" "$output"
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

logs=$target/faults
mkdir -p "$logs"
loom=$(build loom)
shuttle=$(build shuttle)
built=$SECONDS

echo '=== without a fault'
export PATIENCE=1800
if ! run_models "$logs/none.log" "$loom" "$shuttle"; then
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
seeded=$(grep -rhoE 'fault\("[a-z_]+"\)' core/src platform-unix/src | sed 's/.*"\(.*\)".*/\1/' | sort -u)
if [ "$listed" != "$seeded" ]; then
    echo 'the faults in the table of this script and those in the sources differ:' >&2
    diff <(echo "$listed") <(echo "$seeded") >&2
    exit 1
fi

echo '=== with each fault'
# A model takes no longer with a fault than all of them do without, as they go deeper then, unless it goes round for ever. How long that is
# depends on the machine.
export PATIENCE=$((60 + SECONDS - built))
total=0
caught=0
: >"$logs/catchers"
while read -r fault patterns <&3; do
    fault=${fault%:}
    [ $# -eq 0 ] || [[ " $* " == *" $fault "* ]] || continue
    total=$((total + 1))
    set -f
    # shellcheck disable=SC2086 # Each word is a pattern.
    expected=$(matching $patterns)
    set +f
    tried=()
    [[ $expected != *whole::* ]] || tried+=("$shuttle")
    [[ -z $(tr ' ' '\n' <<<"$expected" | grep -v '^whole::') ]] || tried+=("$loom")
    among=$(for binary in "${tried[@]}"; do "$binary" --list --format terse; done | grep -c ': test$')
    MATOU_FAULT=$fault LOOM_MAX_PREEMPTIONS=2 SHUTTLE_ORDERS=300 run_models "$logs/$fault.log" "${tried[@]}" && status=0 || status=$?
    failed=$(ended FAILED "$logs/$fault.log")
    passed=$(ended ok "$logs/$fault.log")
    if [ -n "$failed" ] && [ "$failed" = "$expected" ] && [ "$(wc -w <<<"$failed $passed")" -eq "$among" ]; then
        caught=$((caught + 1))
        echo "caught  $fault: $(wc -w <<<"$failed") of $among models fail, as they must"
        tr ' ' '\n' <<<"$failed" >>"$logs/catchers"
    else
        echo "MISSED  $fault (status $status, see $logs/$fault.log)"
        echo "        must fail: $expected"
        echo "        failed:    $failed"
        echo "        passed:    $passed"
    fi
done 3< <(faults)

idle=$(comm -23 <(tr ' ' '\n' <<<"$models" | sort) <(sort -u "$logs/catchers"))
echo "faults caught: $caught/$total, by $ran models; $SECONDS s, $built of them to build"
if [ $# -eq 0 ] && [ -n "$idle" ]; then
    echo "models that catch no fault: $idle" >&2
    exit 1
fi
[ "$caught" -eq "$total" ]
