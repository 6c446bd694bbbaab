# Building for bare targets and running in emulators: `run.sh` and `sizes.sh` read this. It goes to its own folder.
#
# What it needs is in Debian's packages, which it installs where it may: a Rust toolchain with the library's sources (`rustc-web`, `cargo-web`,
# `rust-web-src`), from which `core` is built, and the emulators. Where they are not to be had it says so, and skips (status 0).
# shellcheck shell=bash
cd "$(dirname "${BASH_SOURCE[0]}")"
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}/firmware
# Debian's toolchain beside rustup's. Building `core` is not stable yet: that is what the bootstrap variable is for.
export PATH=/usr/bin:/bin RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS RUSTUP_TOOLCHAIN RUSTC_WORKSPACE_WRAPPER

has() {
    [ -x /usr/bin/rustc ] && [ -x /usr/bin/cargo ] && [ -d /usr/lib/rustlib/src/rust/library/core ] &&
        command -v qemu-system-arm >/dev/null && command -v qemu-system-riscv32 >/dev/null
}

if ! has; then
    packages='rustc-web cargo-web rust-web-src qemu-system-arm qemu-system-misc'
    skip() {
        echo "skipped: $1. It needs the Debian packages $packages"
        exit 0
    }
    command -v apt-get >/dev/null || skip 'this is not Debian'
    [ "$(id -u)" -eq 0 ] || skip 'packages are installed by root'
    # shellcheck disable=SC2086 # One word each.
    { apt-get update -qq -o Acquire::Retries=3 &&
        DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 $packages; } \
        >/dev/null 2>&1 ||
        skip 'the packages could not be installed'
    has || skip 'the packages are there, and something is still missing'
fi

# The linker that comes with rustup's toolchain, or Debian's.
lld=$(find "$HOME"/.rustup/toolchains/*/lib/rustlib/*/bin /usr/lib/rustlib/*/bin -name rust-lld 2>/dev/null | sort | head -1 || true)
if [ -z "$lld" ]; then
    echo 'skipped: there is no lld, neither of rustup nor of Debian (package lld)'
    exit 0
fi

# shellcheck disable=SC2034 # For those who read this.
targets=(thumbv7m-none-eabi thumbv6m-none-eabi riscv32imac-unknown-none-elf)

build() { # target, flags of cargo
    local target=$1
    shift
    # The one of them that cannot compare and swap.
    [ "$target" != thumbv6m-none-eabi ] || set -- --features no-cas "$@"
    local variable=CARGO_TARGET_${target^^}
    variable=${variable//-/_}
    # riscv-rt's script does not take the memory's in by itself.
    local scripts='-C link-arg=-Tlink.x'
    [[ $target != riscv* ]] || scripts="-C link-arg=-Tmemory.x $scripts"
    env "${variable}_LINKER=$lld" "${variable}_RUSTFLAGS=-C linker-flavor=ld.lld $scripts" \
        cargo build --quiet --target "$target" -Zbuild-std=core "$@"
}

emulate() { # target, program, flags of the emulator
    local machine program=$2
    case $1 in
    thumb*) machine='qemu-system-arm -machine lm3s6965evb' ;;
    riscv*) machine='qemu-system-riscv32 -machine virt -bios none' ;;
    esac
    shift 2
    # A word for whoever reads the serial line; its other direction is not used.
    # shellcheck disable=SC2086
    printf matou | timeout 300 $machine -display none -monitor none -serial stdio -semihosting-config enable=on,target=native -kernel "$program" "$@"
}
