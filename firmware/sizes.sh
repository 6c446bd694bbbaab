#!/usr/bin/env bash
# The table of sizes: the same program on matou and on embassy-executor, for three bare targets. It fails if they do not do the same.
#
# Flash is what a programmer writes: code, constants, and what variables begin as. RAM is the variables, without the stack.
set -euo pipefail
. "$(dirname "$0")/bare.sh"

# What the linker's script keeps for stack and heap is nobody's variable.
size() { # program
    local sums
    sums=$(readelf -SW "$1" | awk '
        { sub(/^ *\[ *[0-9]+\] */, "") }
        $7 !~ /A/ || $1 ~ /^\.(stack|heap)/ { next }
        $2 != "NOBITS" { flash = flash " + 0x" $5 }
        $7 ~ /W/ && $1 ~ /^\.(data|bss|uninit)/ { ram = ram " + 0x" $5 }
        END { print "$((0" flash ")) $((0" ram "))" }')
    eval "echo $sums"
}

cd sizes
rustc --version
cargo metadata --format-version 1 --locked --filter-platform thumbv7m-none-eabi | grep -o '"name":"\(embassy-executor\|embassy-time\|matou-core\)","version":"[^"]*"' |
    sort -u | sed 's/"name":"\(.*\)","version":"\(.*\)"/\1 \2/'
printf '\n| target | board alone | embassy | matou |\n| --- | --- | --- | --- |\n'
expected=
for target in "${targets[@]}"; do
    build "$target" --release --bins
    row="| \`$target\` |"
    # Its clock counts instructions, so that a busy machine changes nothing. A letter at a time goes to the emulator's standard error.
    for name in nothing embassy matou; do
        program=$CARGO_TARGET_DIR/$target/release/$name
        said=$(emulate "$target" "$program" -icount shift=5,sleep=off 2>&1 | tail -n 1)
        if [ "$said" != "${expected:=$said}" ] || [ ${#said} -ne 21 ]; then
            echo "$name on $target said '$said', where '$expected' was expected" >&2
            exit 1
        fi
        read -r flash ram < <(size "$program")
        row+=" $flash + $ram |"
    done
    echo "$row"
done
printf '\nEach: bytes of flash + bytes of RAM. All of them said %s.\n' "$expected"
