#!/bin/sh
# A machine on which nobody has installed anything: the userland of a minimal Debian 13 with git, cargo, sudo, procps
# and iproute2 and nothing else, no network, and an ordinary user whose home is closed to others and has a space and an
# umlaut in its path. For .ci/run, and by hand, to be a newcomer for once.
#
# Usage: .ci/fresh-machine.sh FOLDER make REPOSITORY CARGO_HOME   makes it in FOLDER, with copies of the two
#        .ci/fresh-machine.sh FOLDER run [COMMAND [ARGS]...]      runs a command there, as the user; or a shell
#        .ci/fresh-machine.sh FOLDER remove
# Needs root, mmdebstrap, and for `make` a network (once a month: the userland is kept in ~/.cache/container-workshop).
# The command has namespaces of its own, so whatever it does, mounts or leaves behind goes with it; of the machine below
# it sees the kernel, /dev and the cgroups. Environment: FRESH_USER, who runs the command (default: the ordinary user).
# Exit status: that of the command; 1 if the machine cannot be made, 2 for wrong usage.
set -eu

SUITE=trixie
PACKAGES=git,cargo,sudo,procps,iproute2,ca-certificates
LEARNER=learner
HOME_OF_LEARNER='/home/jörg k'
MARKER=.fresh-machine

fail() {
    printf 'fresh-machine.sh: %s\n' "$*" >&2
    exit 1
}

# Prints the tarball of the userland.
userland() {
    cache=${VM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/container-workshop}
    tarball=$cache/fresh-$(printf '%s %s %s' "$SUITE" "$PACKAGES" "$(date +%Y-%m)" | sha256sum | cut -c 1-16).tar
    if [ ! -f "$tarball" ]; then
        mkdir -p "$cache"
        find "$cache" -mindepth 1 -maxdepth 1 -name 'fresh-????????????????.tar' -mtime +40 -delete
        echo "Making the userland (half a minute; kept in $cache)" >&2
        mmdebstrap --quiet --variant=minbase --include="$PACKAGES" "$SUITE" "$tarball.$$" >&2 ||
            fail "could not make the userland: the reason is above"
        mv "$tarball.$$" "$tarball"
    fi
    echo "$tarball"
}

make() {
    tarball=$(userland)
    mkdir "$root"
    echo "Made by .ci/fresh-machine.sh, and may be removed by it." >"$root/$MARKER"
    tar -xf "$tarball" -C "$root"
    chroot "$root" useradd --shell /bin/bash --no-create-home --home-dir "$HOME_OF_LEARNER" "$LEARNER"
    # Debian's HOME_MODE. /etc/skel has nothing that matters here.
    install -d -m 700 "$root$HOME_OF_LEARNER"
    mkdir "$root$HOME_OF_LEARNER/workshop"
    # Not what was built or fetched elsewhere.
    tar -c -C "$1" --exclude=./target --exclude=./rootfs . | tar -x -C "$root$HOME_OF_LEARNER/workshop"
    cp -a "$2" "$root$HOME_OF_LEARNER/.cargo"
    chroot "$root" chown -R "$LEARNER:" "$HOME_OF_LEARNER"
    printf '%s ALL=(ALL:ALL) NOPASSWD: ALL\n' "$LEARNER" >"$root/etc/sudoers.d/$LEARNER"
    printf '127.0.0.1 localhost fresh\n' >"$root/etc/hosts"
}

# As systemd has it: mounts are shared, /proc and /sys are the machine's own, /tmp is a tmpfs.
run() {
    [ $# != 0 ] || set -- bash
    # shellcheck disable=SC2016 # expanded by the inner shells
    exec unshare --mount --pid --ipc --uts --net --fork --kill-child -- sh -euc '
        root=$1 user=$2
        shift 2
        mount --bind "$root" "$root"
        cd "$root"
        mount -t proc proc proc
        mount --rbind /sys sys
        mount --rbind /dev dev
        mount -t tmpfs tmp tmp
        pivot_root . mnt
        umount -l /mnt
        mount --make-rshared /
        hostname fresh
        ip link set lo up
        # Not in its place: PID 1 has to bury orphans, as on every machine, or a PID namespace that one of them was in
        # never ends.
        setpriv --reuid "$user" --regid "$user" --init-groups --reset-env \
            env LANG=C.UTF-8 TERM="${TERM:-dumb}" ${CI:+CI="$CI"} CARGO_NET_OFFLINE=true \
            sh -c '\''cd ~/workshop && exec "$@"'\'' sh "$@" || exit
    ' sh "$root" "${FRESH_USER:-$LEARNER}" "$@"
}

main() {
    if [ $# -lt 2 ]; then
        echo "usage: fresh-machine.sh FOLDER make|run|remove ... (the head of the script says more)" >&2
        exit 2
    fi
    root=$1
    task=$2
    shift 2
    # Never chroots into, nor removes, what it has not made.
    [ "$task" = make ] || [ -f "$root/$MARKER" ] || fail "$root is none of the machines that this script makes"
    [ "$(id -u)" = 0 ] || fail "needs root"
    case $task in
        make | run) "$task" "$@" ;;
        remove) rm -rf --one-file-system "$root" ;;
        *) fail "unknown task: $task" ;;
    esac
}

main "$@"
