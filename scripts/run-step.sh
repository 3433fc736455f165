#!/bin/sh
# cargo's runner: whatever `cargo run` and `cargo test` start on Linux goes through here (.cargo/config.toml).
#
# Two things are done for `cargo run -p stepNN_name -- run COMMAND`, before the step takes this script's place:
#   - from step 05 on a root filesystem that is not there yet is made (rootfs-fetch.sh);
#   - 02 to 08, and 10 for its cgroup, need root: where the caller is not root, sudo starts the step.
#     The line is shown: `+ sudo ...`. Only the step runs as root, never cargo, so target/ stays yours.
# Everything else, tests and `--help` included, is started as it is.
#
# my-container may be at any step. Its source tells: it needs root if it makes namespaces, mounts or a chroot,
# but not if it makes a user namespace, and again if it makes a cgroup. WORKSHOP_SUDO=yes or =no overrules.
#
# Prints nothing else on stderr, and nothing on stdout. Exit status: that of the program; 125 if it was not started.
set -eu

die() {
    printf 'run-step.sh: %s\n' "$*" >&2
    exit 125
}

# Does `run [OPTIONS] COMMAND` start a command? Not if it asks for help or is a mistake. Sets `own_rootfs` if
# it brings a root filesystem of its own.
starts_a_command() {
    own_rootfs=
    if [ "${1:-}" != run ]; then return 1; fi
    shift
    while [ $# -gt 0 ]; do
        case $1 in
        --rootfs | --pids-limit | --memory | --cpus)
            if [ "$1" = --rootfs ]; then own_rootfs=yes; fi
            if [ $# -lt 2 ]; then return 1; fi
            shift
            ;;
        --rootfs=*) own_rootfs=yes ;;
        --pids-limit=* | --memory=* | --cpus=*) ;;
        --)
            shift
            [ $# -gt 0 ]
            return
            ;;
        -h | --help | -V | --version) return 1 ;;
        -*) ;; # an option of the learner's own, from an exercise; its value, if any, is taken for the command
        *) return 0 ;;
        esac
        shift
    done
    return 1
}

# The learner's source without its line comments: `// next: chroot` is not yet a chroot.
learner_uses() {
    cat "$repository"/my-container/src/*.rs 2>/dev/null | sed 's,//.*,,' | grep -Eq "$1"
}

needs_rootfs() {
    case $name in
    step0[1-4]_*) return 1 ;;
    my-container) learner_uses 'rootfs' ;;
    *) return 0 ;;
    esac
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
    my-container)
        if learner_uses 'cgroup\.procs|pids\.max|sys/fs/cgroup'; then return 0; fi
        if learner_uses 'CLONE_NEWUSER'; then return 1; fi
        learner_uses 'CLONE_NEW|chroot|mount|sethostname'
        ;;
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
    if ! command -v sudo >/dev/null; then
        die "$name needs root, and there is no sudo here: become root another way, or see step09_user, which needs none"
    fi
    # sudo drops the environment but for TERM, and may not be allowed to keep more of it: env sets it again.
    if [ -z "$own_rootfs" ] && needs_rootfs; then set -- env "ROOTFS=$ROOTFS" "$@"; fi
    set -- sudo "$@"
    line=+
    for word in "$@"; do line="$line $(quoted "$word")"; done
    printf '%s\n' "$line" >&2
    exec "$@"
}

main() {
    program=$1
    name=${program##*/}
    case $program in */deps/*) exec "$@" ;; esac
    case $name in step[0-9][0-9]_* | my-container) ;; *) exec "$@" ;; esac

    repository=$(cd "$(dirname "$0")/.." && pwd -P)
    # Absolute, so that it is found from every folder.
    : "${ROOTFS:=$repository/rootfs}"
    export ROOTFS
    shift
    if ! starts_a_command "$@"; then exec "$program" "$@"; fi
    if [ -z "$own_rootfs" ] && needs_rootfs && [ ! -e "$ROOTFS" ] && [ ! -L "$ROOTFS" ]; then
        "$repository/rootfs-fetch.sh" || die "$name has no root filesystem to run in"
    fi
    if [ "$(id -u)" != 0 ] && needs_root; then as_root "$program" "$@"; fi
    exec "$program" "$@"
}

main "$@"
