#!/bin/sh
# Runs the workshop's tests on a real machine: Debian 13 with systemd, cgroup v2 and shared mounts, booted in QEMU.
# Everything is built here and copied there, to the same paths; in there the tests of what a person sees run as an
# ordinary user and with sudo, then the self-check, the guide's sessions about cgroups, and what only such a machine can
# show (vm/guest-checks.sh).
#
# For maintainers and CI: scripts/vm/test.sh [all]; with `all`, every test of the steps.
# scripts/vm/test.sh --arch arm64 [all]: the same on the other architecture. Everything is cross-built by Debian's own
# toolchain (vm/cross.sh); only what is started in the machine is emulated. Takes root, and on two cores eleven minutes
# the first time, then five and a half, with `all` 42. Not in CI: by hand, before a class.
# scripts/vm/test.sh guide >PATCH runs only the guide's sessions about cgroup v2, and prints what they change in
# workshop.md, for `git apply PATCH`.
# Needs cargo and, from Debian: qemu-system-x86 mmdebstrap e2fsprogs; for arm64 qemu-system-arm mmdebstrap e2fsprogs
# and, on another machine than such a one, qemu-user-static arch-test.
# Environment: VM_SECONDS, the time limit of the machine (default 2400, with `all` 3600); VM_CACHE, see vm/image.sh;
# ROOTFS_TARBALL=FILE for arm64, Alpine's tarball for aarch64, where it is not to be downloaded.
# Exit status: that of the tests; 125 if the machine gave none. Without QEMU it says so, and fails if CI=true.
set -eu

fail() {
    printf 'vm/test.sh: %s\n' "$*" >&2
    exit 1
}

# Now, and not when all is built. (mmdebstrap itself asks arch-test whether the image's programs can run here.)
skip_without_tools() {
    tools="qemu-system-x86_64 mmdebstrap mkfs.ext4" packages="qemu-system-x86 mmdebstrap e2fsprogs"
    if [ "$VM_ARCH" = arm64 ]; then
        tools="qemu-system-aarch64 mmdebstrap mkfs.ext4" packages="qemu-system-arm mmdebstrap e2fsprogs"
    fi
    if [ -n "$native" ] && ! arch-test -n "$VM_ARCH" >/dev/null 2>&1; then
        tools="$tools qemu-aarch64-static arch-test" packages="$packages qemu-user-static arch-test"
    fi
    for tool in $tools; do
        if command -v "$tool" >/dev/null; then continue; fi
        [ "${CI:-}" != true ] || fail "needs $tool: apt-get install $packages"
        echo "vm/test.sh: SKIPPED, nothing was tested: there is no $tool here (apt-get install $packages)" >&2
        exit 0
    done
}

# Where arm64 is not this machine's own architecture: cargo builds for it, in vm/cross.sh.
cross() {
    if [ "$VM_ARCH" != arm64 ] || [ "$(uname -m)" = aarch64 ]; then
        "$@"
        return
    fi
    shift
    scripts/vm/cross.sh env CARGO_BUILD_TARGET=aarch64-unknown-linux-gnu CARGO_TARGET_DIR=target/arm64 \
        CARGO_PROFILE_DEV_DEBUG=0 cargo "$@"
}

# Alpine's tarball for the machine, which unpacks it itself: rootfs-fetch.sh checks its sum there.
fetch_alpine() {
    alpine=$(sed -n 's/^ALPINE=//p' rootfs-fetch.sh)
    file=alpine-minirootfs-$alpine-aarch64.tar.gz
    if [ -n "${ROOTFS_TARBALL:-}" ]; then
        cp "$ROOTFS_TARBALL" "$work/job/$file"
        return
    fi
    curl -fsSL -o "$work/job/$file" "$(sed -n 's/^MIRROR=//p' rootfs-fetch.sh)/v${alpine%.*}/releases/aarch64/$file" ||
        fail "could not download $file (ROOTFS_TARBALL=FILE takes one that you have)"
}

# What was linked with a newer glibc than the machine's does not start there: then the C runtime goes in.
link_for_the_machine() {
    if [ "$VM_ARCH" = arm64 ]; then return; fi # it is built in the same Debian
    glibc=$(getconf GNU_LIBC_VERSION 2>/dev/null | cut -d ' ' -f 2)
    if [ -n "$glibc" ] && [ "$(printf '%s\n2.41\n' "$glibc" | sort -V | tail -n 1)" = 2.41 ]; then return; fi
    export RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static" CARGO_TARGET_DIR=target/static
}

# Prints the paths of the test programs, of the steps and of the tools, one a line.
build() {
    cross cargo build --locked --package guide --package look --package workshop --message-format=json \
        >"$work/build.json" || fail "the tools do not build: see above"
    sed -n 's/.*"kind":\["bin"\].*"executable":"\([^"]*\)".*/\1/p' "$work/build.json" |
        grep -E '/(guide|look|workshop)$'
    cross cargo run --locked --quiet ${native:+"$native"} --package guide -- --solution 10-memory-high ||
        fail "an exercise's solution does not build"
    cross cargo test --locked --no-run --message-format=json >"$work/build.json" ||
        fail "the tests do not build: see above"
    sed -n 's/.*"kind":\["test"\].*"executable":"\([^"]*\)".*/\1/p' "$work/build.json" | grep '/step[0-9]*_[a-z_]*-'
    sed -n 's/.*"kind":\["bin"\].*"executable":"\([^"]*\)".*/\1/p' "$work/build.json" | grep '/step[0-9]*_[a-z_]*$'
}

# Everything keeps its place: the paths of the steps are compiled into the tests. (Without debug information, which
# would be most of what the machine has to unpack. What is cross-built has none.)
pack() {
    mkdir -p "$work/job" "$work/programs"
    if [ "$VM_ARCH" = arm64 ]; then
        fetch_alpine
        rootfs=$root/rootfs
    else
        ./rootfs-fetch.sh
        rootfs=$(cd "${ROOTFS:-rootfs}" && pwd)
        mkdir -p "$work/programs${rootfs%/*}"
        cp -a "$rootfs" "$work/programs$rootfs"
    fi
    echo "exec sh '$root/scripts/vm/guest-run.sh' '$root' '$rootfs' ${1:-}" >"$work/job/run"
    while read -r program; do
        mkdir -p "$work/programs/${program%/*}"
        strip --strip-debug -o "$work/programs/$program" "$program" 2>/dev/null ||
            cp "$program" "$work/programs/$program"
    done <"$work/list"
    tar -cf "$work/job.tar" --owner=1000 --group=1000 -C "$work" job -C "$work/programs" .
    tar -rf "$work/job.tar" --owner=1000 --group=1000 -C / --exclude="${root#/}/target" --exclude="${root#/}/rootfs" \
        --exclude="${root#/}/.git" --exclude="${root#/}/.vagrant" "${root#/}"
}

main() {
    root=$(CDPATH='' cd "$(dirname "$0")/../.." && pwd)
    cd "$root"
    export VM_ARCH=amd64
    native=
    if [ "${1-}" = --arch ]; then
        VM_ARCH=${2-}
        case $VM_ARCH in
            amd64) ;;
            arm64) [ "$(uname -m)" = aarch64 ] || native="--target=$(uname -m)-unknown-linux-gnu" ;;
            *) fail "knows the architectures amd64 and arm64" ;;
        esac
        shift 2
    fi
    skip_without_tools
    work=$(mktemp -d)
    trap 'rm -r "$work"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    link_for_the_machine
    build >"$work/list"
    grep -q /deps/ "$work/list" || fail "found no test of a step to run"
    pack "$@"
    image=$(scripts/vm/image.sh)
    [ "${1-}" != all ] || : "${VM_SECONDS:=3600}"
    scripts/vm/run.sh "$image" "$work/job.tar" "${VM_SECONDS:-2400}"
}

main "$@"
