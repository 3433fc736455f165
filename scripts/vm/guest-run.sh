#!/bin/sh
# Inside the test machine, as root, for vm/test.sh: tests as an ordinary user and with sudo, the self-check, the guide's
# sessions about cgroups, then the checks of what only this machine has, then whether anything was left behind.
#
# Usage: guest-run.sh REPOSITORY ROOTFS [all | guide]
# With `guide` only the sessions about cgroup v2, and what they change in workshop.md, as a patch. Without `all`: what a
# person sees (the snapshots) of every step with sudo, and of three of them as an ordinary user, the limits of step 10,
# the self-check, and the sessions that only v2 has. A process costs 40 ms in here, and all the tests together start
# some ten thousand.
# Exit status: 0 if all went well, else 1; each failure has a line that begins with FAILED.
set -u

# The learner gets to the repository wherever it lies, be it below /root.
open_the_way() {
    folder=$root
    while [ "$folder" != / ]; do
        folder=$(dirname "$folder")
        chmod a+x "$folder"
    done
}

# What could be left behind. (systemd's own cgroups come and go with sessions.)
state() {
    hostname
    cut -d ' ' -f 5- /proc/self/mountinfo | grep -v '^/run/user/0 '
    find /sys/fs/cgroup -type d | grep -E 'step|container|classroom|leaf'
    pgrep --list-name '^(step|sleep|unshare|my-con)' | cut -d ' ' -f 2
    find /tmp /var/tmp -mindepth 1 -maxdepth 1 -not -name 'systemd-private-*'
}

# With the environment that .cargo/config.toml gives a test, in the folder where cargo starts it.
run_tests() {
    export CI=true INSTA_UPDATE=no INSTA_WORKSPACE_ROOT="$root" ROOTFS="$rootfs"
    failed=0 run=0
    for program in "$root"/target/*/deps/step*; do
        name=${program##*/}
        name=${name%-*}
        if ! echo "$name" | grep -Eq "$steps"; then continue; fi
        echo "--- $name as $(id -un)"
        # shellcheck disable=SC2086 # the names are words
        if ! cd "$root/steps/$name" || ! "$program" $tests; then
            failed=1
            echo "FAILED: $name as $(id -un)"
        fi
        run=$((run + 1))
    done
    [ "$run" -ge 3 ] && [ "$failed" = 0 ]
}

as_learner() {
    steps=$1
    shift
    runuser --login learner --command "$* sh '$0' --tests '$root' '$rootfs' '$tests' '$steps'"
}

# Step 10 in the place of the learner's program, as `cargo workshop check` finds it.
self_check() {
    cp "$bin/step10_cgroups" "$bin/my-container"
    echo "--- cargo workshop check"
    runuser --login learner \
        --command "cd '$root' && sudo NO_COLOR=1 ROOTFS='$rootfs' '$bin/workshop' check --built" || {
        status=1
        echo "FAILED: cargo workshop check"
    }
}

# The guide's tool looks for the solution of an exercise beside the steps.
guide() {
    cp "$root/target/variants/10-memory-high/programs/step10_cgroups" "$bin/10-memory-high"
    (cd "$root" && CI=true ROOTFS=$rootfs WORKSHOP_PROGRAMS=$bin "$bin/guide" "$@")
}

# What is only for v2; with `all` also the sessions that are the same text on v1 and v2.
check_guide() {
    echo "--- cargo workshop guide"
    guide --check --block ' v2' || stale ' v2'
    [ "$mode" != all ] || guide --check --block 'session 10 cgroups' || stale 'session 10 cgroups'
}

stale() {
    status=1
    echo "FAILED: the guide's blocks '$1' (what they are to be: scripts/vm/test.sh guide)"
}

write_guide() {
    cp "$root/workshop.md" /run/workshop.md
    guide --block ' v2' || exit
    diff -u --label a/workshop.md --label b/workshop.md /run/workshop.md "$root/workshop.md"
    exit 0
}

# cargo has built for another target, or into another folder: see vm/test.sh.
find_programs() {
    for folder in "$root"/target/*/debug "$root"/target/*/*/debug; do
        if [ ! -e "$bin" ] && [ -e "$folder/step10_cgroups" ]; then ln -s "$folder" "$bin"; fi
    done
}

# Where the machine is of another architecture than the one that it was packed on.
make_rootfs() {
    if [ -e "$rootfs" ]; then return; fi
    runuser --login learner --command "ROOTFS='$rootfs' ROOTFS_TARBALL=\$(echo /job/*.tar.gz) '$root/rootfs-fetch.sh'"
}

main() {
    status=0
    bin=$root/target/debug
    find_programs
    open_the_way
    make_rootfs || exit 1
    if [ "$mode" = guide ]; then write_guide; fi
    state >/run/before
    as_learner "$learner_steps" || status=1
    as_learner step sudo || status=1
    self_check
    check_guide
    sh "$root/scripts/vm/guest-checks.sh" "$root" "$rootfs" || status=1
    state >/run/after
    diff /run/before /run/after || {
        status=1
        echo "FAILED: something was left behind, see the lines with > above"
    }
    exit $status
}

if [ ! -e /usr/local/sbin/workshop-job ]; then
    echo "vm/guest-run.sh: only for the inside of the test machine: scripts/vm/test.sh" >&2
    exit 1
fi
if [ "$1" = --tests ]; then
    root=$2 rootfs=$3 tests=$4 steps=$5
    run_tests
else
    root=$1 rootfs=$2 mode=${3:-} tests='scenes:: limits::' learner_steps='01|05|09'
    if [ "$mode" = all ]; then tests='' learner_steps=step; fi
    main
fi
