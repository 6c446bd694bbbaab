#!/usr/bin/env bash
# Runs every comparison and writes results/NAME.md, .tsv and .svg, and their index with the goals: about 20 minutes on an idle machine,
# 13 with --half (fewer rounds: wider intervals), 3 with --short, the builds not counted. Figures of a machine that does other things
# meanwhile are worth nothing: each file says the load at its start.
#
# What was interrupted goes on where it was when it is run again on the same commit, until all is done. With names, those alone are run,
# again if need be.
set -euo pipefail
cd "$(dirname "$0")"

all=(echo connections connect memory syscalls latency busy domains calls micro growth)
length=full
case "${1:-}" in
    --short | --half) length=${1#--}; shift ;;
esac
for name in "$@"; do
    if [[ " ${all[*]} " != *" $name "* ]]; then
        echo "usage: $0 [--short | --half] [NAME..], of ${all[*]}" >&2
        exit 2
    fi
done

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
if [[ $length == short ]]; then
    out=${BENCH_RESULTS:-$target/results}
fi
# What is done of a run that is not at its end: a file for each name. What the results say is no change.
changed=$(git diff --quiet HEAD -- :/ ':(top,exclude)bench/results' || echo -changed)
done=$target/all-$length-$(git rev-parse --short HEAD)$changed
mkdir -p "$out" "$done"
names=("${all[@]}")
if (($# > 0)); then
    (cd "$done" && rm -f -- "$@")
    names=("$@")
fi

# of FULL HALF SHORT: that of this run.
of() {
    case $length in
        full) echo "$1" ;;
        half) echo "$2" ;;
        short) echo "$3" ;;
    esac
}

# The options of a command. Six rounds are the fewest that give an interval.
options() {
    local counts
    case $1 in
        echo) echo "--rounds $(of 25 13 3) --connections $(of 1,50,1000,10000 1,50,1000,10000 1,50,1000)" ;;
        connections) echo "--rounds $(of 15 9 1) --connections $(of 10,100,1000,10000 10,100,1000,10000 10,1000)" ;;
        connect) echo "--rounds $(of 21 11 2)" ;;
        memory) echo "--rounds $(of 6 6 1) --idle $(of 1000,10000 1000,10000 1000)" ;;
        syscalls) echo "--rounds $(of 6 6 1)" ;;
        latency) echo "--rounds $(of 6 6 1) --loads $(of 10,30,50,60,70,80,90 30,60,90 30,70)" ;;
        busy) echo "--rounds $(of 7 6 1) --window $(of 1000 500 300)" ;;
        domains) echo "--rounds $(of 31 15 2)" ;;
        calls) echo "--rounds $(of 15 9 1)" ;;
        micro) echo "--rounds $(of 17 9 1)" ;;
        growth)
            counts=100,1000,10000,100000,1000000
            echo "--rounds $(of 7 6 1) --counts $(of $counts $counts 100,10000)"
            ;;
    esac
}

# One page of all: the goals, and every table there is.
index() {
    local name
    {
        echo '<!-- Written by all.sh. -->'
        echo
        echo '# Results'
        echo
        "$bench" goals --results "$out"
        for name in "${all[@]}"; do
            if [[ -f $out/$name.md ]]; then
                echo
                cat "$out/$name.md"
            fi
        done
    } >"$out/README.md.new"
    mv "$out/README.md.new" "$out/README.md"
}

run() {
    local name=$1 start=$SECONDS
    local -a server=() options
    # Those that start matou's echo server are told where it is.
    case $name in
        busy | calls | micro | growth) ;;
        *) server=(--matou "$matou") ;;
    esac
    read -ra options <<<"$(options "$name")"
    printf '=== %s\n' "$name" >&2
    "$bench" "$name" "${server[@]}" "${options[@]}" --out "$out/$name" >"$done/log" || { cat "$done/log" >&2; return 1; }
    printf -- '--- %s: %d s\n' "$name" $((SECONDS - start)) >&2
}

for name in "${names[@]}"; do
    if [[ -e $done/$name ]]; then
        printf '=== %s: done already\n' "$name" >&2
        continue
    fi
    run "$name"
    touch "$done/$name"
    index
done
rm -f "$done/log"
if (($(find "$done" -type f | wc -l) == ${#all[@]})); then
    rm -r "$done"
fi
printf 'all of it: %d s, in %s\n' "$SECONDS" "$out" >&2
