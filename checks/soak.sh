#!/usr/bin/env bash
# Loads the echo server with peers of all kinds, and fails unless it is afterwards what it was before: no memory, descriptor, thread or task
# more, and every byte and every connection accounted for. `checks/soak/src/main.rs` says what exactly is demanded.
#
#     checks/soak.sh [MINUTES]   ten unless told otherwise: a quarter of it for each of the four runs below
#     checks/soak.sh --short     for CI: two of the runs (the modes and the manners once each), eight seconds each
#     checks/soak.sh --faults    shows that it would notice: a server that leaks must fail, each leak with its own words (two to four minutes)
#
# The server (release, two worker domains, TCP and a Unix socket at once) runs in each of the modes `multi` and `parallel`, twice:
#
# - with orderly peers (messages of all sizes, half-closes, slow readers, churn, idle ones): its bytes must be the peers', without a failure;
# - with 200 descriptors (`ulimit -n`) and an idle timeout, among orderly peers also resets, peers that never read, peers that never send, and
#   every two seconds a crowd of 300 that uses up the descriptors.
#
# All the while it gets SIGUSR1, and prints its tasks. It needs Linux (`/proc`), a stable Rust toolchain, and 1000 descriptors.
set -euo pipefail
cd "$(dirname "$0")/.."
source checks/common.sh

[ "$(uname -s)" = Linux ] || skip 'the figures are read from /proc, as Linux has it'
need_cargo
ulimit -n 4096 2>/dev/null || ulimit -n "$(ulimit -Hn)"
[ "$(ulimit -n)" = unlimited ] || [ "$(ulimit -n)" -ge 1000 ] || skip "1000 descriptors are needed, $(ulimit -n) are allowed"

unset MATOU_DOMAINS MATOU_QUANTA MATOU_TRACE MATOU_BIRTHS
cargo build --quiet --release --target-dir "$build/soak" --manifest-path checks/soak/Cargo.toml
soak=$build/soak/release/soak
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

faults() {
    local fault words said
    # fault: what the soak has to say of it
    while IFS=: read -r fault words; do
        if said=$(LEAK=$fault "$soak" 5 orderly "$build/soak/release/leaky" --listen 127.0.0.1:0 2>&1); then
            [ "$fault" = none ] || { echo "soak: a server that leaks ($fault) passes: $said" >&2; return 1; }
        elif [ "$fault" = none ] || ! grep -q "^soak: .*$words" <<<"$said"; then
            echo "soak: with the fault '$fault' it does not say '$words': $said" >&2
            return 1
        fi
        echo "$fault: $(grep -m 1 "^soak: .*$words" <<<"$said" || echo 'passes')"
    done <<'TABLE'
none:
memory:memory leaks
thread:threads leak
bytes:is wrong
count:bytes: sent
task:tasks leak
descriptor:descriptors leak
TABLE
}

run() { # mode, manners, seconds
    local mode=$1 manners=$2 seconds=$3 limit=1000 timeout=()
    [ "$manners" = orderly ] || { limit=200 timeout=(--idle-timeout 3s); }
    echo "--- $mode, $manners peers, $seconds s"
    # The limit is the server's alone.
    # shellcheck disable=SC2016 # For the inner shell.
    "$soak" "$seconds" "$manners" bash -c 'ulimit -n "$1"; shift; exec "$@"' limited "$limit" \
        "$build/release/echo" --mode "$mode" --domains 2 --grace 1s --listen 127.0.0.1:0 --listen "unix:$folder/$mode-$manners" "${timeout[@]}"
}

minutes=${1:-10}
runs=(multi:orderly multi:rude parallel:orderly parallel:rude)
case $minutes in
--faults)
    faults
    exit
    ;;
--short)
    runs=(multi:rude parallel:orderly)
    seconds=8
    ;;
*[!0-9]* | '' | 0*)
    echo 'usage: checks/soak.sh [MINUTES | --short | --faults]' >&2
    exit 2
    ;;
*) seconds=$((minutes * 15)) ;;
esac
cargo build --quiet --release --target-dir "$build" --bin echo
for each in "${runs[@]}"; do
    run "${each%:*}" "${each#*:}" "$seconds"
done
echo "soak: nothing is left and nothing is lost; $SECONDS s"
