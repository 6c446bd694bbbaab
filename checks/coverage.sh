#!/usr/bin/env bash
# Line and branch coverage of matou-core, matou-unix and matou-echo by their tests. It prints a line for each file and a total for each crate, and
# names what is not covered: each function with its lines. It fails if one of those is not explained in docs/coverage.md.
#
# It needs, and installs where it may:
#
# - rustup's nightly toolchain, as only that counts branches; without, it skips (status 0);
# - cargo-llvm-cov, from crates.io, in target/tools;
# - llvm-cov and llvm-profdata of the compiler's LLVM: those of rustup's component llvm-tools, or Debian's package llvm-22, or whatever
#   LLVM_COV and LLVM_PROFDATA name. Without them it skips.
#
# What it builds goes to target/coverage, or to coverage/ in CARGO_TARGET_DIR; there, matou.lcov is the whole in the format of lcov.
#
# The runs are merged: the core's tests with all features that need a system (simulation, thus std and alloc), and those of matou-unix and
# matou-echo, which use it with std alone. What the core does without std runs on the machines of firmware/run.sh, which count nothing.
# Generic functions count once, whatever they are made for. Processes that a signal ends, or that abort, leave no counts behind.
#
# Not run are the tests that run the compiler, not the library (`ui`, `no_std_link`, `docs`), doctests, and one test of the server, as
# another user of which it could not write its counts.
set -euo pipefail
cd "$(dirname "$0")/.."
source checks/common.sh

need_nightly
need_subcommand llvm-cov 0.9.1

llvm=$(rustc +nightly -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
own=$(rustc +nightly --print sysroot)/lib/rustlib/$host/bin
debian() { command -v "llvm-cov-$llvm" >/dev/null && command -v "llvm-profdata-$llvm" >/dev/null; }
if [ -z "${LLVM_COV:-}" ] || [ -z "${LLVM_PROFDATA:-}" ]; then
    if [ ! -x "$own/llvm-cov" ] && ! debian; then
        install_packages "llvm-$llvm" || true
        debian || rustup component add --toolchain nightly llvm-tools >/dev/null 2>&1 ||
            skip "it needs rustup's component llvm-tools for nightly, or the Debian package llvm-$llvm"
    fi
    if [ -x "$own/llvm-cov" ]; then
        export LLVM_COV=$own/llvm-cov LLVM_PROFDATA=$own/llvm-profdata
    else
        LLVM_COV=$(command -v "llvm-cov-$llvm") LLVM_PROFDATA=$(command -v "llvm-profdata-$llvm")
        export LLVM_COV LLVM_PROFDATA
    fi
fi

export CARGO_TARGET_DIR=$build/coverage CARGO_PROFILE_DEV_DEBUG=0
unset CARGO_ENCODED_RUSTFLAGS RUSTFLAGS RUSTC_WORKSPACE_WRAPPER
eval "$(cargo +nightly llvm-cov show-env --sh --branch --no-cfg-coverage --no-cfg-coverage-nightly 2>/dev/null)"
# What was built from earlier sources would be in the report, too.
[ ! -d "$CARGO_TARGET_DIR/debug" ] || cargo +nightly llvm-cov clean --workspace

# The tests of the examples run these.
cargo +nightly build --quiet -p matou-unix --examples
log=$CARGO_TARGET_DIR/tests.log
: >"$log"
run() { # arguments of cargo test
    if ! cargo +nightly test --quiet --no-fail-fast "$@" >>"$log" 2>&1; then
        grep -E '^error|panicked at|FAILED' "$log" >&2 || tail -n 50 "$log" >&2
        echo "coverage: a test failed; all they said is in $log" >&2
        exit 1
    fi
}
# shellcheck disable=SC2046 # One word each.
run -p matou-core --features simulation --lib $(tests_of core)
# shellcheck disable=SC2046
run -p matou-unix --lib $(tests_of platform-unix)
# shellcheck disable=SC2046
run -p matou-echo --bins $(tests_of echo) -- --skip usage::privileged_port

lcov=$CARGO_TARGET_DIR/matou.lcov
# Each process has files of its own. One that was killed while it wrote, or may write no more (tests/trace.rs), leaves a broken one, which is passed
# over with a warning.
cargo +nightly llvm-cov report --branch --failure-mode all --lcov --output-path "$lcov" 2>"$CARGO_TARGET_DIR/report.log" || {
    cat "$CARGO_TARGET_DIR/report.log" >&2
    exit 1
}

echo "coverage: with $(cargo +nightly --version)"
awk -v root="$PWD/" '
function percent(hit, all) { return all ? sprintf("%5.1f %%", 100 * hit / all) : "      -" }
function line(name, lines_hit, lines_all, branches_hit, branches_all) {
    printf "%-40s %5d of %5d lines %s   %4d of %4d branches %s\n", name, lines_hit, lines_all, percent(lines_hit, lines_all),
        branches_hit, branches_all, percent(branches_hit, branches_all)
}
# The function that each line of a file is in, as its source says, up to its own tests. How many lines these are.
function read_functions(path,    number, text, name) {
    delete within
    while ((getline text < path) > 0 && text != "mod tests {") {
        if (match(text, /(^|[ (])fn [a-z_0-9]+/)) {
            name = substr(text, RSTART, RLENGTH)
            sub(/.*fn /, "", name)
        }
        within[++number] = name
    }
    close(path)
    return number
}
function spans(list,    n, numbers, i, from, text) { # "3 4 5 9 ": "3-5 9"
    n = split(list, numbers, " ")
    for (i = 1; i <= n; i++) {
        from = numbers[i]
        while (i < n && numbers[i + 1] == numbers[i] + 1) i++
        text = text (text == "" ? "" : " ") (from == numbers[i] ? from : from "-" numbers[i])
    }
    return text
}
FILENAME ~ /coverage\.md$/ { # | `file` | `function` | why |
    if (split($0, cell, " *\\| *") >= 5 && cell[2] ~ /^`.*`$/) {
        gsub(/`/, "", cell[2])
        gsub(/`/, "", cell[3])
        explained[cell[2] ": " cell[3]] = 1
    }
    next
}
/^SF:/ {
    file = substr($0, 4)
    sub(root, "", file)
    last = file ~ /\/tests(\.rs$|\/)/ ? 0 : read_functions(root file)
    lines_all = lines_hit = branches_all = branches_hit = 0
    delete missed
    delete taken
}
/^DA:/ {
    split(substr($0, 4), part, ",")
    if (part[1] > last) next
    lines_all++
    if (part[2] > 0) lines_hit++
    else missed[part[1]] = 1
}
/^BRDA:/ { # once for each instance of a generic function
    split(substr($0, 6), part, ",")
    if (part[1] > last) next
    way = part[1] "," part[2] "," part[3]
    if (!(way in taken)) taken[way] = 0
    if (part[4] != "-" && part[4] > 0) taken[way] = 1
}
/^end_of_record/ && last {
    for (way in taken) {
        branches_all++
        branches_hit += taken[way]
    }
    line(file, lines_hit, lines_all, branches_hit, branches_all)
    crate = file
    sub(/\/.*/, "", crate)
    crates[crate] = 1
    sum[crate, 1] += lines_hit; sum[crate, 2] += lines_all; sum[crate, 3] += branches_hit; sum[crate, 4] += branches_all
    delete in_function
    order = ""
    for (number = 1; number <= last; number++) {
        if (!(number in missed)) continue
        name = within[number]
        if (!(name in in_function)) order = order name " "
        in_function[name] = in_function[name] number " "
    }
    n = split(order, names, " ")
    for (i = 1; i <= n; i++) {
        known = (file ": " names[i]) in explained
        if (!known) unexplained++
        printf "    %-32s %s%s\n", names[i], spans(in_function[names[i]]), known ? "" : "   NOT EXPLAINED"
    }
}
END {
    print ""
    n = split("core platform-unix echo", names, " ")
    for (i = 1; i <= n; i++)
        if (names[i] in crates) line(names[i], sum[names[i], 1], sum[names[i], 2], sum[names[i], 3], sum[names[i], 4])
    if (unexplained) {
        printf "coverage: %d functions have lines that no test runs and docs/coverage.md does not explain\n", unexplained > "/dev/stderr"
        exit 1
    }
}
' docs/coverage.md "$lcov"
echo "coverage: what is not covered is explained; $SECONDS s"
