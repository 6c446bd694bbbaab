#!/usr/bin/env bash
# Builds the firmware and its example for three bare targets and runs them in an emulator. It fails if a rule does not hold.
set -euo pipefail
. "$(dirname "$0")/bare.sh"

# Time goes on with the instructions, not with the machine, which may be busy: what sleeps for 20 ms does sleep.
steady='-icount shift=6,sleep=off'
for target in "${targets[@]}"; do
    for profile in dev release; do
        build "$target" --profile "$profile" --bins --examples
        folder=debug
        [ "$profile" = dev ] || folder=release
        echo "=== $target, $profile"
        # shellcheck disable=SC2086 # Two words.
        emulate "$target" "$CARGO_TARGET_DIR/$target/$folder/firmware" $steady
        # shellcheck disable=SC2086
        said=$(emulate "$target" "$CARGO_TARGET_DIR/$target/$folder/examples/start" $steady)
        echo "$said"
        [[ $said == matou* ]] || { echo 'the example did not give back what it got' >&2 && exit 1; }
    done
done
