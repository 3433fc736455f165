#!/bin/sh
# Prepares a Debian or Ubuntu machine for the workshop: packages, a Rust toolchain, a root filesystem, and everything
# built once, so that a class needs no network afterwards. It ends with the verdict of `cargo workshop doctor`.
#
# For a bare machine, Vagrant, Lima and CI alike: sh scripts/provision.sh [--login-here | --new-rootfs]
# Run it as the one who will work here; it calls sudo for what needs root. Again does no harm, and only what is missing.
#   --login-here   new logins start in this folder (the Vagrantfile asks for this)
#   --new-rootfs   nothing else than a new root filesystem, also where it is mounted over a shared folder
# Environment: WORKSHOP_DISK, where target/ and rootfs/ really are if this folder is shared (/var/lib/workshop).
# It prints a line per stage. Exit status: 0 when the doctor is content, 1 when a stage failed, 2 for wrong usage.
set -eu

PACKAGES="busybox-static ca-certificates curl gcc git iproute2 less libc6-dev man-db manpages manpages-dev mount nano \
procps psmisc strace sudo tmux tree util-linux"
WANTED_MIB=2800 # packages 1200, target 1200, the crates' sources and the root filesystem 100; and some air
OWN_DISK=${WORKSHOP_DISK:-/var/lib/workshop}

say() {
    printf '==> %s\n' "$*"
}

fail() {
    printf 'provision.sh: %s\n' "$*" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

# Files made by root in the learner's folder are a lasting nuisance: `sudo provision.sh` goes back to who called sudo.
drop_sudo() {
    if [ "$(id -u)" = 0 ] && [ "${SUDO_USER:-root}" != root ]; then
        exec sudo -H -u "$SUDO_USER" -- env ${WORKSHOP_DISK:+"WORKSHOP_DISK=$WORKSHOP_DISK"} \
            ${ROOTFS_TARBALL:+"ROOTFS_TARBALL=$ROOTFS_TARBALL"} sh scripts/provision.sh "$@"
    fi
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || fail "needs sudo to install packages: install it, or run this script as root"
    fi
}

check_distribution() {
    command -v apt-get >/dev/null && return
    # shellcheck source=/dev/null
    name=$(. /etc/os-release 2>/dev/null && echo "${PRETTY_NAME:-}") || name=
    fail "knows Debian and Ubuntu, and this is ${name:-another system} (no apt-get)." \
        "Install what these packages are called there: $PACKAGES, and Rust $(rust_wanted) or newer;" \
        "then run ./rootfs-fetch.sh, cargo build and cargo workshop doctor"
}

free_mib() {
    df --output=avail -BM "$1" | tail -n 1 | tr -dc 0-9
}

check_disk() {
    if [ -d target/debug ] || [ -d "$OWN_DISK/target/debug" ]; then return; fi # it was built here before
    if on_shared_folder; then here=/var/lib; else here=.; fi
    for folder in /usr "$here"; do
        free=$(free_mib "$folder")
        [ "$free" -ge "$WANTED_MIB" ] || fail "the disk of $folder has $free MiB free, and $WANTED_MIB are needed:" \
            "make room, or give the machine a larger disk"
    done
}

on_shared_folder() {
    case $(stat --file-system --format=%T .) in
        ext2/ext3 | btrfs | xfs | zfs | f2fs | bcachefs | overlayfs | tmpfs | ramfs) false ;;
        *) true ;;
    esac
}

# Nobody's folder changes hands: one that is there already has to be this user's.
make_own_disk() {
    for folder in "$OWN_DISK" "$OWN_DISK/target"; do
        if [ ! -e "$folder" ]; then as_root install -d -o "$(id -u)" -g "$(id -g)" "$folder"; fi
        [ -O "$folder" ] || fail "$folder belongs to $(stat -c %U "$folder"), and it would have to be yours:" \
            "WORKSHOP_DISK=FOLDER takes another one, best one that is not there yet"
    done
}

# What hypervisors share with the host has no hard links, device nodes or owners, and often no symlinks: it breaks cargo
# and every root filesystem. So these two folders are the machine's own, mounted in place, and every path stays as in
# the guide. (A mount lasts until the next boot; then this script puts it there again.)
mount_own_folders() {
    on_shared_folder || return 0
    make_own_disk
    ROOTFS=$OWN_DISK/rootfs ./rootfs-fetch.sh # now, as it cannot replace a mount point
    for name in target rootfs; do
        if mountpoint -q "$name"; then continue; fi
        say "Mounting $OWN_DISK/$name on $name, as this folder is shared with the host"
        mkdir -p "$name"
        as_root mount --bind "$OWN_DISK/$name" "$name"
    done
}

# ./rootfs-fetch.sh --force cannot replace what is mounted.
new_rootfs() {
    if ! on_shared_folder; then exec ./rootfs-fetch.sh --force; fi
    if mountpoint -q rootfs; then
        # shellcheck disable=SC3013 # not in POSIX before 2024, but in every shell
        [ rootfs -ef "$OWN_DISK/rootfs" ] ||
            fail "what is mounted on rootfs is not $OWN_DISK/rootfs: it is left alone (umount it yourself)"
        as_root umount rootfs || fail "rootfs is in use: leave the containers, and try again"
    fi
    ROOTFS=$OWN_DISK/rootfs ./rootfs-fetch.sh --force
    mount_own_folders
}

apt() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 "$@" >/dev/null
}

install_packages() {
    missing=
    for package in "$@"; do
        dpkg-query --show --showformat='${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed ||
            missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    say "Installing$missing"
    apt update || fail "apt-get could not fetch its package lists: is the network up, and the proxy set?"
    # shellcheck disable=SC2086 # a list of names
    apt install -y --no-install-recommends $missing ||
        fail "apt-get could not install$missing: its own words are above"
}

rust_wanted() {
    sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml
}

# at_least WANTED HAVE: compares versions.
at_least() {
    [ -n "$2" ] && [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]
}

cargo_here() {
    cargo --version 2>/dev/null | cut -d ' ' -f 2
}

cargo_in_distribution() {
    LC_ALL=C apt-cache policy cargo | sed -n 's/^ *Candidate: \([0-9.]*\).*/\1/p'
}

install_rust() {
    wanted=$(rust_wanted)
    PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
    export PATH
    at_least "$wanted" "$(cargo_here)" && return
    if at_least "$wanted" "$(cargo_in_distribution)"; then
        install_packages cargo rustc rustfmt rust-clippy
    else
        install_rust_with_rustup
    fi
    at_least "$wanted" "$(cargo_here)" ||
        fail "the cargo found first is $(cargo_here) ($(command -v cargo)), and $wanted is needed: remove the old one"
}

install_rust_with_rustup() {
    say "Installing Rust with rustup, as this release has cargo $(cargo_in_distribution) and $wanted is needed"
    installer=$(mktemp)
    curl --proto '=https' --tlsv1.2 --fail --silent --show-error --output "$installer" https://sh.rustup.rs ||
        fail "could not download rustup: is the network up, and the proxy set?"
    sh "$installer" -y --quiet --profile minimal --component clippy,rustfmt ||
        fail "rustup could not install Rust: its own words are above"
    rm "$installer"
    PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
}

build_everything() {
    say "Fetching the dependencies and building everything once"
    cargo fetch --locked || fail "cargo could not fetch the dependencies: is the network up, and the proxy set?"
    # What is typed in class, each as it is typed: for a package that stands alone cargo builds the dependencies with
    # fewer features, and that is another build. Nobody should wait for a compiler then.
    cargo build --locked
    cargo test --locked --no-run --quiet
    for package in steps/step*/ my-container/ tools/workshop/ tools/hold/; do
        cargo build --locked --quiet --package "$(basename "$package")"
    done
}

login_here() {
    written="# Written by scripts/provision.sh: a login starts in the workshop's folder."
    profile=/etc/profile.d/workshop.sh
    if [ -e "$profile" ] && ! grep -qxF "$written" "$profile"; then
        fail "$profile is there already, and not from this script: it is left alone"
    fi
    folder=$(printf %s "$PWD" | sed "s/'/'\\\\''/g")
    as_root tee "$profile" >/dev/null <<PROFILE
$written
if [ "\$PWD" = "\$HOME" ] && [ -d '$folder' ]; then cd '$folder'; fi
PROFILE
}

main() {
    case "${1-}" in
        "" | --login-here | --new-rootfs) ;;
        *)
            echo "usage: sh scripts/provision.sh [--login-here | --new-rootfs]" >&2
            exit 2
            ;;
    esac
    CDPATH='' cd "$(dirname "$0")/.."
    drop_sudo "$@"
    if [ "${1-}" = --new-rootfs ]; then
        new_rootfs
        exit
    fi
    check_distribution
    check_disk
    # shellcheck disable=SC2086 # a list of names
    install_packages $PACKAGES
    install_rust
    mount_own_folders
    ./rootfs-fetch.sh
    build_everything
    [ "${1-}" != --login-here ] || login_here
    cargo workshop doctor
}

main "$@"
