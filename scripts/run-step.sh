#!/bin/sh
# cargo's runner: whatever `cargo run` and `cargo test` start on Linux goes through here (.cargo/config.toml).
#
# Two things are done for `cargo run -p stepNN_name -- run COMMAND`, before the step takes this script's place:
#   - where it has an option --rootfs, a root filesystem that is not there yet is made (rootfs-fetch.sh);
#   - 02 to 08, and 10 for its cgroup, need root: where the caller is not root, sudo (or doas) starts the step.
#     The line is shown: `+ sudo ...`. Only the step runs as root, never cargo, so target/ stays yours.
# Everything else, tests and `--help` included, is started as it is.
#
# my-container may be at any step. Whether it needs root shows when it is tried without: `run true`, unseen, as the
# ordinary user who calls. WORKSHOP_SUDO=yes or =no overrules. And as it may be half-finished, and start itself
# for ever, an ordinary user's has a limit on processes. The kernel does not apply it to root, that is to
# what sudo starts.
#
# Prints nothing else on stderr, and nothing on stdout. Exit status: that of the program; 125 if it was not started.
set -eu

die() {
    printf 'run-step.sh: %s\n' "$*" >&2
    exit 125
}

# Sets `valued`, the options of `run` that take a value: the program's own help tells. (Also those that a learner has
# added in an exercise.)
read_options() {
    valued=" $("$program" run --help 2>/dev/null </dev/null |
        sed -En 's/^ +(-[A-Za-z0-9])?(, )?(--[a-z0-9-]+)? ?<.*/\1 \3/p' | tr '\n' ' ') "
}

takes_a_value() { case $valued in *" $1 "*) return 0 ;; *) return 1 ;; esac }

# Does `run [OPTIONS] COMMAND` start a command? Not if it asks for help or is a mistake. Sets `own_rootfs` if
# it brings a root filesystem of its own.
starts_a_command() {
    own_rootfs=
    if [ "${1:-}" != run ]; then return 1; fi
    shift
    while [ $# -gt 0 ]; do
        case $1 in
        --) [ $# -gt 1 ] && return ;;
        -h | --help | -V | --version) return 1 ;;
        --rootfs | --rootfs=*) own_rootfs=yes ;;
        -*) ;;
        *) return 0 ;;
        esac
        if takes_a_value "$1"; then shift; fi
        if [ $# -gt 0 ]; then shift; fi
    done
    return 1
}

# Sets `limit`: so many processes more than this user has, unless he may not have as many.
limit_for() {
    unset GREP_OPTIONS PS_FORMAT PS_PERSONALITY
    others=$(ps -L -U "$(id -ru)" -o lwp= | wc -l)
    limit=$((others + $1))
    hard=$(prlimit --nproc --output HARD --noheadings | tr -d ' ')
    case $hard in *[!0-9]* | '') ;; *) if [ "$hard" -lt "$limit" ]; then limit=$hard; fi ;; esac
}

# Is my-container refused something as an ordinary user?
is_refused() {
    limit_for 100
    timeout 10 prlimit --nproc="$limit" -- "$program" run true </dev/null 2>&1 |
        grep -Eqi 'EPERM|EACCES|not permitted|permission denied'
}

needs_root() {
    case ${WORKSHOP_SUDO:-} in
    yes) return 0 ;;
    no) return 1 ;;
    '') ;;
    *) die "WORKSHOP_SUDO is \"$WORKSHOP_SUDO\": it can be yes or no" ;;
    esac
    case $name in
    step01_* | step09_*) return 1 ;;
    my-container) is_refused ;;
    *) return 0 ;;
    esac
}

# One argument as it could be typed.
quoted() {
    case $1 in
    '' | *[!A-Za-z0-9_./:=,@%+-]*) printf "'%s'" "$(printf '%s' "$1" | sed "s/'/'\\\\''/g")" ;;
    *) printf '%s' "$1" ;;
    esac
}

as_root() {
    if command -v sudo >/dev/null; then
        by=sudo
    elif command -v doas >/dev/null; then
        by=doas
    else
        die "$name needs root, and there is no sudo here: become root another way, or see step09_user, which needs none"
    fi
    # Built with a umask such as 027: root in a user namespace is nobody special to the file, and starts it once more.
    case $(stat -c %A "$program") in *r-x | *r-t) ;; *) chmod a+rx "$program" ;; esac
    # Where root may be nobody, sudo would only say that there is no such command.
    case $(stat -f -c %T "$program" 2>/dev/null) in
    fuse* | nfs* | smb* | cifs | afs | gpfs | lustre | UNKNOWN*)
        "$by" test -r "$program" ||
            die "root may not read $program (a home on FUSE, or on NFS with root squash). Build and unpack on a disk of" \
                "this machine: export CARGO_TARGET_DIR=/var/tmp/target ROOTFS=/var/tmp/rootfs"
        ;;
    esac
    # Both drop the environment but for TERM, and may not be allowed to keep more of it: env sets it again.
    if [ -z "$own_rootfs" ] && takes_a_value --rootfs; then set -- env "ROOTFS=$ROOTFS" "$@"; fi
    set -- "$by" "$@"
    line=+
    for word in "$@"; do line="$line $(quoted "$word")"; done
    printf '%s\n' "$line" >&2
    exec "$@"
}

main() {
    program=$1
    name=${program##*/}
    repository=$(CDPATH='' cd "$(dirname "$0")/.." && pwd -P)
    # A ZIP may have lost that, too. (Not everywhere can it be had.)
    if [ ! -x "$repository/rootfs-fetch.sh" ]; then
        chmod +x "$repository/rootfs-fetch.sh" "$repository"/scripts/*.sh 2>/dev/null || true
    fi
    # For `cargo workshop doctor`: this, and not a runner of the learner's own, has started it.
    export WORKSHOP_RUNNER=run-step.sh
    case ${program%/*} in
    */deps)
        # cargo starts a test in the folder of its package, and a folder made there could be taken for one of ours.
        case ${ROOTFS-/} in /*) ;; *) die "ROOTFS is \"$ROOTFS\": tests need an absolute path" ;; esac
        exec "$@"
        ;;
    esac
    case $name in step[0-9][0-9]_* | my-container) unset WORKSHOP_RUNNER ;; *) exec "$@" ;; esac

    # Absolute, so that it is found from every folder.
    : "${ROOTFS:=$repository/rootfs}"
    export ROOTFS
    shift
    read_options
    if ! starts_a_command "$@"; then exec "$program" "$@"; fi
    if [ -z "$own_rootfs" ] && takes_a_value --rootfs && [ ! -e "$ROOTFS" ] && [ ! -L "$ROOTFS" ]; then
        sh "$repository/rootfs-fetch.sh" || die "$name has no root filesystem to run in"
    fi
    if [ "$(id -u)" = 0 ]; then exec "$program" "$@"; fi
    if needs_root; then as_root "$program" "$@"; fi
    if [ "$name" = my-container ]; then
        limit_for 400
        exec prlimit --nproc="$limit" -- "$program" "$@"
    fi
    exec "$program" "$@"
}

main "$@"
