#!/usr/bin/env bash
# Runs every comparison and writes results/NAME.md, .tsv and .svg: about 20 minutes on an idle machine, half of that with --half (half as
# many rounds: wider intervals), 3 with --short, the builds not counted. Figures of a machine that does other things meanwhile are worth nothing: each file says the load at its start.
set -euo pipefail
cd "$(dirname "$0")"

short=false half=false
case "${1:-}" in
    '') ;;
    --short) short=true ;;
    --half) half=true ;;
    *) echo "usage: $0 [--short | --half]" >&2; exit 2 ;;
esac

target=${CARGO_TARGET_DIR:-$PWD/target}
export CARGO_TERM_COLOR=never
cargo build --release --quiet
# A peer that cannot be built is left out, and its name is missing from the tables with a word.
for peer in peers/*; do
    cargo build --release --quiet -p "peer-${peer#peers/}" || echo "not built: $peer" >&2
done
cargo build --release --quiet -p matou-echo --manifest-path ../Cargo.toml
matou=${CARGO_TARGET_DIR:-../target}/release/echo
bench=$target/release/matou-bench

# Where the results go; a short run does not replace the figures of a long one.
out=${BENCH_RESULTS:-results}
if $short; then
    out=${BENCH_RESULTS:-$target/results}
fi
mkdir -p "$out"

# run NAME COMMAND OPTIONS...: the options of a short run are put after the others' by `few`.
run() {
    local name=$1 start=$SECONDS
    shift
    printf '=== %s\n' "$name" >&2
    "$bench" "$@" --out "$out/$name" >"$out/$name.log" || { cat "$out/$name.log" >&2; return 1; }
    rm "$out/$name.log"
    printf -- '--- %s: %d s\n' "$name" $((SECONDS - start)) >&2
}

# How many rounds: the second number is that of a short run.
few() {
    if $short; then
        echo "$2"
    elif $half && [[ $1 =~ ^[0-9]+$ ]]; then
        echo $((($1 + 1) / 2))
    else
        echo "$1"
    fi
}

run echo echo --matou "$matou" --rounds "$(few 31 3)" --connections "$(few 1,50,1000,10000 1,50,1000)"
run echo-growth echo --matou "$matou" --servers epoll,raw-uring,tokio,matou,matou-uring --rounds "$(few 15 1)" --connections "$(few 10,100,1000,10000 10,100,1000)"
run connect connect --matou "$matou" --rounds "$(few 21 3)"
run memory memory --matou "$matou" --rounds "$(few 3 1)" --idle "$(few 1000,10000 1000)"
run syscalls syscalls --matou "$matou" --rounds "$(few 5 1)"
run latency latency --matou "$matou" --rounds "$(few 5 1)" --loads "$(few 10,30,50,60,70,80,90 30,70)"
run busy busy --rounds "$(few 7 1)" --window "$(few 1000 500)"
run domains domains --matou "$matou" --rounds "$(few 31 3)"
run micro micro --rounds "$(few 21 1)"
run growth growth --rounds "$(few 7 1)" --counts "$(few 100,1000,10000,100000,1000000 100,10000)"

# One page of all.
{
    echo '<!-- Written by all.sh. -->'
    echo
    for name in echo connect memory syscalls latency busy domains micro growth echo-growth; do
        cat "$out/$name.md"
        echo
    done
} >"$out/README.md"
printf 'all of it: %d s, in %s\n' "$SECONDS" "$out" >&2
