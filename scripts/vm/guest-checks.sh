#!/bin/sh
# Inside the test machine, as root, for guest-run.sh: what only a machine with systemd, cgroup v2 and shared mounts
# shows, on the machine itself and not on a classroom host.
#
# Usage: guest-checks.sh REPOSITORY ROOTFS
# A line for each check; exit status 0 if all hold, else 1, and the lines of what does not hold begin with FAILED.
set -u

# In the container: more processes than allowed, until fork fails; then it waits. (No command after that: none could
# be started.)
# shellcheck disable=SC2016 # for the shell in the container
BOMB='(i=0; while [ $i -lt 40 ]; do sleep 1000 & i=$((i + 1)); done); echo ready; read -r end'

check() {
    if [ "$2" = "$3" ]; then
        echo "ok: $1"
    else
        status=1
        printf 'FAILED: %s\n  expected %s\n  found    %s\n' "$1" "$3" "$2"
    fi
}

# start COMMAND...: in the background, with $typed as input, until it has said "ready". finish: ends it, and gives its
# exit status.
start() {
    rm -f "$work/in" "$work/out"
    mkfifo "$work/in" "$work/out"
    "$@" <"$work/in" >"$work/out" 2>"$work/errors" &
    started=$!
    exec 8>"$work/in" 9<"$work/out"
    [ -z "$typed" ] || printf '%s\n' "$typed" >&8
    read -r ready <&9 || ready="nothing, but: $(cat "$work/errors")"
    check "it starts: $(basename "$1")" "$ready" ready
}

# What look says of the processes of the only container with a limit on them.
looked() { "$bin/look" --once | grep -o '[0-9]* of 20.*'; }

finish() {
    exec 8>&- 9<&-
    wait "$started"
}

# Row E7 of what the workshop shows.
check_propagation() {
    mounts=$(cat /proc/self/mountinfo)
    # A mount namespace alone is a copy whose mounts still pass on to the original.
    unshare --mount --propagation unchanged mount -t tmpfs leaked /mnt
    check "CLONE_NEWNS alone leaks a mount to the host" "$(grep -c ' tmpfs leaked ' /proc/self/mountinfo)" 1
    umount /mnt
    start "$bin/step07_mount" run sh -c 'mount -t tmpfs hidden /mnt && echo ready; read -r end'
    check "step 07 leaks none" "$(cat /proc/self/mountinfo)" "$mounts"
    check "but /proc shows it to who asks: in PID 1 of the container, and in its command" \
        "$(grep -ls ' tmpfs hidden ' /proc/[0-9]*/mountinfo | wc -l)" 2
    finish
    check "nor after the end" "$(cat /proc/self/mountinfo)" "$mounts"
}

check_limits_as_root() {
    start "$bin/step10_cgroups" run --pids-limit 20 --memory 50m --cpus 0.5 sh -c "$BOMB"
    cgroup=$(echo /sys/fs/cgroup/step10-*)
    check "as root: pids.max" "$(cat "$cgroup/pids.max")" 20
    check "as root: memory.max" "$(cat "$cgroup/memory.max")" 52428800
    check "as root: cpu.max" "$(cat "$cgroup/cpu.max")" "50000 100000"
    check "as root: the fork bomb fills it, and no more" "$(cat "$cgroup/pids.peak")" 20
    check "as root: look shows it" "$(looked)" "19 of 20 (peak 20)  limit met once"
    check "as root: fork says why" "$(grep -c 'Resource temporarily unavailable' "$work/errors")" 1
    finish
    check "as root: the cgroup is gone" "$(echo /sys/fs/cgroup/step10-*)" '/sys/fs/cgroup/step10-*'
    check "as root: so are its processes" "$(pgrep -c -x sleep)" 0
    "$bin/step10_cgroups" run --memory 50m dd if=/dev/zero of=/dev/null bs=100M count=1 2>/dev/null
    check "as root: more memory than allowed is death by SIGKILL" $? 137
}

# The exercise "rootless", as it stands in the guide: a scope that systemd --user has given away, and step 10 in it.
check_limits_without_root() {
    cd "$root" || exit 1
    typed=$BOMB
    # shellcheck disable=SC2016 # the fence of the block
    start sh -c "$(sed -n '/^systemd-run --user --scope/,/^```/{/^```/!p}' workshop.md)"
    cgroup=$(find /sys/fs/cgroup/user.slice -name 'step10-*')
    check "without root: pids.max" "$(cat "$cgroup/pids.max")" 20
    check "without root: memory.max" "$(cat "$cgroup/memory.max")" 52428800
    check "without root: the fork bomb fills it, and no more" "$(cat "$cgroup/pids.peak")" 20
    check "without root: look shows it" "$(looked)" "19 of 20 (peak 20)  limit met once"
    check "without root: fork says why" "$(grep -c 'Resource temporarily unavailable' "$work/errors")" 1
    finish
    check "without root: the cgroup is gone" "$(find /sys/fs/cgroup/user.slice -name 'step10-*')" ""
    check "without root: so are its processes" "$(pgrep -c -x sleep)" 0
}

main() {
    status=0
    typed=""
    work=$(mktemp -d)
    trap 'rm -r "$work"' EXIT
    if [ "$mode" = --without-root ]; then
        check_limits_without_root
    else
        check_propagation
        check_limits_as_root
        runuser --login learner --command "sh '$0' '$root' '$ROOTFS' --without-root" || status=1
    fi
    exit $status
}

if [ ! -e /usr/local/sbin/workshop-job ]; then
    echo "vm/guest-checks.sh: only for the inside of the test machine: scripts/vm/test.sh" >&2
    exit 1
fi
root=$1 ROOTFS=$2 mode=${3-}
bin=$root/target/debug
export ROOTFS
main
