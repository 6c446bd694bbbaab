#!/usr/bin/env bash
# Builds the firmware for three bare targets and runs it in an emulator. It fails if a rule does not hold.
set -euo pipefail
. "$(dirname "$0")/bare.sh"

for target in "${targets[@]}"; do
    for profile in dev release; do
        build "$target" --profile "$profile"
        folder=debug
        [ "$profile" = dev ] || folder=release
        echo "=== $target, $profile"
        emulate "$target" "$CARGO_TARGET_DIR/$target/$folder/firmware"
    done
done
