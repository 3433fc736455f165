#!/bin/sh
# Runs a command in a Debian 13 with cargo, and with what it takes to build for arm64 on amd64. The repository and
# cargo's home are there under the paths that they have here, and there is no network.
#
# For vm/test.sh, as root: scripts/vm/cross.sh COMMAND [ARGS]...
# Needs mmdebstrap, cargo for the sources of the crates, and once a month a network: the userland (1.3 GB) is kept in
# ~/.cache/container-workshop, or in VM_CACHE.
# Exit status: that of the command; 1 if the userland cannot be made.
set -eu

SUITE=trixie
PACKAGES=cargo,rustc,git,gcc,libc6-dev,gcc-aarch64-linux-gnu,libc6-dev:arm64,libstd-rust-dev:arm64

fail() {
    printf 'vm/cross.sh: %s\n' "$*" >&2
    exit 1
}

# Sets `userland`, a folder.
make_userland() {
    cache=${VM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/container-workshop}
    userland=$cache/cross-$(printf '%s %s %s' "$SUITE" "$PACKAGES" "$(date +%Y-%m)" | sha256sum | cut -c 1-16)
    if [ -d "$userland" ]; then return; fi
    mkdir -p "$cache"
    find "$cache" -mindepth 1 -maxdepth 1 -name 'cross-????????????????' -mtime +40 -exec rm -r --one-file-system {} +
    echo "Making the userland in which arm64 is built (two minutes; kept in $cache)" >&2
    partial=$(mktemp -d "$cache/partial.XXXXXX")
    chmod 755 "$partial"
    trap 'rm -r --one-file-system "$partial"' EXIT
    mmdebstrap --quiet --architectures=amd64,arm64 --variant=minbase --include="$PACKAGES" \
        --aptopt='Acquire::Languages "none"' "$SUITE" "$partial/root" >&2 ||
        fail "could not make the userland: the reason is above"
    mv -T "$partial/root" "$userland"
}

# There is no network in there. (The machine's own cargo, and not Debian's, as it knows the way to one from here.)
fetch_crates() {
    command -v cargo >/dev/null || fail "needs cargo, which fetches the sources of the crates"
    (cd "$repository" && cargo fetch --locked --quiet --target aarch64-unknown-linux-gnu \
        --target x86_64-unknown-linux-gnu) || fail "could not fetch the sources of the crates: the reason is above"
}

main() {
    [ $# != 0 ] || { echo "usage: scripts/vm/cross.sh COMMAND [ARGS]..." >&2; exit 2; }
    [ "$(id -u)" = 0 ] || fail "needs root"
    repository=$(CDPATH='' cd "$(dirname "$0")/../.." && pwd -P)
    fetch_crates
    cargo_home=$(readlink -f "${CARGO_HOME:-$HOME/.cargo}")
    make_userland
    # shellcheck disable=SC2016 # for the inner shell
    unshare --mount --net --pid --fork --kill-child sh -euc '
        root=$1
        shift
        mount --bind "$root" "$root"
        for folder in "$1" "$2"; do
            mkdir -p "$root$folder"
            mount --bind "$folder" "$root$folder"
        done
        repository=$1 home=$2
        shift 2
        mount -t proc proc "$root/proc"
        mount --rbind /dev "$root/dev"
        exec chroot "$root" env -i PATH=/usr/bin:/usr/sbin HOME=/root LANG=C.UTF-8 \
            CARGO_HOME="$home" CARGO_NET_OFFLINE=true \
            CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
            sh -euc '\''cd "$0" && exec "$@"'\'' "$repository" "$@"
    ' sh "$userland" "$repository" "$cargo_home" "$@"
}

main "$@"
