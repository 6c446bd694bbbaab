#!/usr/bin/env bash
# Builds the firmware and its example for three bare targets and runs them in an emulator. It fails if a rule does not hold.
set -euo pipefail
. "$(dirname "$0")/bare.sh"

for target in "${targets[@]}"; do
    for profile in dev release; do
        build "$target" --profile "$profile" --bins --examples
        folder=debug
        [ "$profile" = dev ] || folder=release
        echo "=== $target, $profile"
        emulate "$target" "$CARGO_TARGET_DIR/$target/$folder/firmware"
        said=$(emulate "$target" "$CARGO_TARGET_DIR/$target/$folder/examples/start")
        echo "$said"
        [[ $said == matou* ]] || { echo 'the example did not give back what it got' >&2 && exit 1; }
    done
done
