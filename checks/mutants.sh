#!/usr/bin/env bash
# Mutation testing of the core's state word, wakers, mailbox, lists, promises, orphans, groups, ownership and suspension points: each of these files is changed in one
# place at a time, and some test must then fail. It fails if a change goes unnoticed.
#
#     checks/mutants.sh              all of them
#     checks/mutants.sh promise      those of core/src/promise.rs; `task/state container/fifo` those of two
#
# It needs cargo, perl, and cargo-mutants; where that is missing it is installed from crates.io, in target/tools, and where it cannot be, this script
# skips (status 0). It works on a copy of the tree, in target/mutants, or in mutants/ in CARGO_TARGET_DIR; what each test said about each change
# is kept there, too.
#
# The copy differs from the tree in two things. cargo-mutants passes over functions that are `unsafe`, which many of the core's are; their bodies
# are as any other's (each unsafe operation is in a block), so the word in front of `fn` is left out, and they are changed like the others.
# And the seeded faults of loom-tests are taken out: they are never compiled here, and no test could notice a change in them.
#
# The changes that no test can notice are named in .cargo/mutants.toml, each with the reason. A change with which a test runs for half a minute counts
# as noticed, and is counted apart. Memory orderings are not changed: x86 would hide it, and the models of loom-tests have seeded faults for them.
set -euo pipefail
cd "$(dirname "$0")/.."
source checks/common.sh

# file of core/src: the test programs that are about it; `lib` are those inside the crate
tests_about() {
    cat <<'TABLE'
task/state: lib
task/spare: lib debug pool inert memory
task/waker: lib debug pool inert memory combinations locks sync tasks
container/fifo: lib
container/list: lib
container/mailbox: lib
promise: debug tasks cancellation await_many parents inert trace
await_many: debug await_many
orphans: debug orphans
ownership: lib debug ownership
domain/group: dump memory orphans scope
suspension: budget debug events inert reentrancy trace
domain/points: lib budget events inert reentrancy trace
TABLE
}

need_cargo
command -v perl >/dev/null || skip 'there is no perl'
need_subcommand mutants 27.1.0

work=$build/mutants
tree=$work/tree
rm -rf "$tree"
mkdir -p "$tree"
git ls-files -z --cached --others --exclude-standard -- ':!bench' ':!fuzz' ':!firmware' | xargs -0 cp --parents -t "$tree"
grep -rlE '\bunsafe fn [a-z]' "$tree/core/src" | xargs sed -i -E 's/\bunsafe (fn [a-z])/\1/'
# Lines keep their numbers.
grep -rlF 'fault("' "$tree/core/src" | xargs perl -0777 -pi -e '
    my $fault = qr/(?<!:)\bfault\("\w+"\)/;
    our $block; $block = qr/\{(?:[^{}]++|(??{$block}))*\}/;
    s/if $fault(?: && [^{]*)? $block else (?=\{)/"\n" x ($& =~ tr{\n}{})/ge;
    s/if $fault(?: && [^{]*)? $block/"\n" x ($& =~ tr{\n}{})/ge;
    s/ if !$fault(?= =>)//g;
    s/ (?:&& !|\|\| )$fault//g;
    s/!$fault/true/g;
    s/$fault/false/g;
'
export CARGO_TARGET_DIR=$work/target RUSTFLAGS='-A unused_unsafe -A unused_parens -A unused_braces' CARGO_PROFILE_DEV_DEBUG=0 RUST_BACKTRACE=0
unset CARGO_ENCODED_RUSTFLAGS

count() { # a list of cargo-mutants: how many are in it
    if [ -f "$1" ]; then wc -l <"$1"; else echo 0; fi
}

listed() { # arguments of cargo-mutants: how many changes it knows
    (cd "$tree" && cargo mutants --list "$@" | wc -l)
}

one() { # file, its tests
    local file=$1 name=${1//\//-} start=$SECONDS status=0 test arguments=()
    shift
    for test in "$@"; do
        if [ "$test" = lib ]; then arguments+=(--cargo-arg=--lib); else arguments+=("--cargo-arg=--test=$test"); fi
    done
    rm -rf "$work/$name"
    (cd "$tree" && cargo mutants --in-place --dir . --output "$work/$name" --file "core/src/$file.rs" --test-workspace=false --timeout 30 \
        --no-shuffle --colors never --features simulation "${arguments[@]}") >"$work/$name.log" 2>&1 || status=$?
    case $status in
    0 | 2 | 3) ;;
    *)
        cat "$work/$name.log" >&2
        return 1
        ;;
    esac
    local found=$work/$name/mutants.out tested left
    tested=$(listed --file "core/src/$file.rs")
    left=$(($(listed --no-config --file "core/src/$file.rs") - tested))
    printf '%-20s %7d %7d %6d %9d %12d %11d %5d s\n' "$file" $((tested + left)) "$(count "$found/caught.txt")" "$(count "$found/timeout.txt")" \
        "$(count "$found/unviable.txt")" "$left" "$(count "$found/missed.txt")" $((SECONDS - start))
    if [ -s "$found/missed.txt" ]; then
        sed 's/^/    not noticed: /' "$found/missed.txt"
        return 1
    fi
}

cargo mutants --version
printf '%-20s %7s %7s %6s %9s %12s %11s %7s\n' file changes noticed hangs 'no build' 'cannot be' 'not noticed' took
failed=()
while read -r file tests; do
    if [ $# -gt 0 ] && [[ " $* " != *" ${file%:} "* ]]; then continue; fi
    # shellcheck disable=SC2086 # One word each.
    one "${file%:}" $tests </dev/null || failed+=("${file%:}")
done < <(tests_about)
if [ ${#failed[@]} -gt 0 ]; then
    echo "mutants: NOT NOTICED in ${failed[*]}" >&2
    exit 1
fi
echo "mutants: every change is noticed or explained; $SECONDS s"
