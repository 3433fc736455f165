#!/bin/sh
# Runs the workshop's tests on a real machine: Debian 13 with systemd, cgroup v2 and shared mounts, booted in QEMU.
# Everything is built here and copied there, to the same paths; in there the tests of what a person sees run as an
# ordinary user and with sudo, then the self-check, the guide's sessions about cgroups, and what only such a machine can
# show (vm/guest-checks.sh).
#
# For maintainers and CI: scripts/vm/test.sh [all]; with `all`, every test of the steps.
# scripts/vm/test.sh guide >PATCH runs only the guide's sessions about cgroup v2, and prints what they change in
# workshop.md, for `git apply PATCH`. Needs cargo and, from Debian: qemu-system-x86 mmdebstrap e2fsprogs.
# Environment: VM_SECONDS, the time limit of the machine (default 1200); VM_CACHE, see vm/image.sh.
# Exit status: that of the tests; 125 if the machine gave none. Without QEMU it says so, and fails if CI=true.
set -eu

fail() {
    printf 'vm/test.sh: %s\n' "$*" >&2
    exit 1
}

skip_without_qemu() {
    if command -v qemu-system-x86_64 >/dev/null; then return; fi
    [ "${CI:-}" != true ] || fail "needs QEMU: apt-get install qemu-system-x86 mmdebstrap e2fsprogs"
    echo "vm/test.sh: SKIPPED, nothing was tested: there is no qemu-system-x86_64 here" \
        "(apt-get install qemu-system-x86 mmdebstrap e2fsprogs)" >&2
    exit 0
}

# What was linked with a newer glibc than the machine's does not start there: then the C runtime goes in.
link_for_the_machine() {
    glibc=$(getconf GNU_LIBC_VERSION 2>/dev/null | cut -d ' ' -f 2)
    if [ -n "$glibc" ] && [ "$(printf '%s\n2.41\n' "$glibc" | sort -V | tail -n 1)" = 2.41 ]; then return; fi
    export RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static" CARGO_TARGET_DIR=target/static
}

# Prints the paths of the test programs, of the steps and of the tools, one a line.
build() {
    cargo build --locked --package guide --package look --package workshop --message-format=json >"$work/build.json" ||
        fail "the tools do not build: see above"
    sed -n 's/.*"kind":\["bin"\].*"executable":"\([^"]*\)".*/\1/p' "$work/build.json" |
        grep -E '/(guide|look|workshop)$'
    cargo run --locked --quiet --package guide -- --solution 10-memory-high ||
        fail "an exercise's solution does not build"
    cargo test --locked --no-run --message-format=json >"$work/build.json" || fail "the tests do not build: see above"
    sed -n 's/.*"kind":\["test"\].*"executable":"\([^"]*\)".*/\1/p' "$work/build.json" | grep '/step[0-9]*_[a-z_]*-'
    sed -n 's/.*"kind":\["bin"\].*"executable":"\([^"]*\)".*/\1/p' "$work/build.json" | grep '/step[0-9]*_[a-z_]*$'
}

# Everything keeps its place: the paths of the steps are compiled into the tests. (Without debug information, which
# would be most of what the machine has to unpack.)
pack() {
    rootfs=$(cd "${ROOTFS:-rootfs}" && pwd)
    mkdir "$work/job"
    echo "exec sh '$root/scripts/vm/guest-run.sh' '$root' '$rootfs' ${1:-}" >"$work/job/run"
    while read -r program; do
        mkdir -p "$work/programs/${program%/*}"
        strip --strip-debug -o "$work/programs/$program" "$program"
    done <"$work/list"
    tar -cf "$work/job.tar" --owner=1000 --group=1000 -C "$work" job -C "$work/programs" "./${root#/}" \
        -C / "${rootfs#/}"
    tar -rf "$work/job.tar" --owner=1000 --group=1000 -C / --exclude="${root#/}/target" --exclude="${root#/}/rootfs" \
        --exclude="${root#/}/.git" --exclude="${root#/}/.vagrant" "${root#/}"
}

main() {
    root=$(cd "$(dirname "$0")/../.." && pwd)
    cd "$root"
    skip_without_qemu
    work=$(mktemp -d)
    trap 'rm -r "$work"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    link_for_the_machine
    build >"$work/list"
    grep -q /deps/ "$work/list" || fail "found no test of a step to run"
    ./rootfs-fetch.sh
    pack "$@"
    image=$(scripts/vm/image.sh)
    scripts/vm/run.sh "$image" "$work/job.tar" "${VM_SECONDS:-1200}"
}

main "$@"
