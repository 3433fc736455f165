#!/bin/sh
# Builds the image of a Debian 13 machine with systemd and cgroup v2, from Debian packages alone, and keeps it for the
# next time. For vm/test.sh and vagrant-test.sh; by hand when the image shall be made anew: rm -r what it prints.
#
# Usage: scripts/vm/image.sh [PACKAGE]...   (packages that this image has beyond the usual ones)
# It prints the folder with kernel, initrd and root.img on stdout, and what goes on on stderr.
# Environment: VM_CACHE, the folder for images (default: ~/.cache/container-workshop); VM_ARCH, amd64 (the default) or
# arm64; VM_HOOK, a script that mmdebstrap calls with the folder of the new image, to do more to it.
# For another architecture than this machine's it also needs qemu-user-static and arch-test, and root.
set -eu

SUITE=trixie
ARCH=${VM_ARCH:-amd64}
PACKAGES="busybox-static,dbus,dbus-user-session,iproute2,kmod,libpam-systemd,mount,procps,psmisc,sudo,systemd,\
systemd-sysv,udev,xz-utils"

fail() {
    printf 'vm/image.sh: %s\n' "$*" >&2
    exit 1
}

check_tools() {
    for tool in mmdebstrap mkfs.ext4; do
        command -v "$tool" >/dev/null ||
            fail "needs $tool: apt-get install mmdebstrap e2fsprogs"
    done
}

# Root in a user namespace serves as well as root; it has to map many users, so uidmap must be installed.
as_mapped_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else unshare --map-root-user --map-auto "$@"; fi
}

# Before the start: mmdebstrap may wait for ever when the disk is full at its end.
check_disk() {
    free=$(df --output=avail -BM "$cache" | tail -n 1 | tr -dc 0-9)
    [ "$free" -ge 2000 ] ||
        fail "the disk of $cache has $free MiB free, and 2000 are needed: make room, or choose another with VM_CACHE"
}

# Runs mmdebstrap where the kernel has QEMU run the programs of the other architecture. binfmt_misc is the machine's
# own, and since Linux 6.7 each user namespace can have one instead: with this one, mapped to itself, the registration
# goes however this ends.
# shellcheck disable=SC2016 # for the inner shell
emulated() {
    if arch-test -n "$ARCH" >/dev/null 2>&1; then
        "$@"
        return
    fi
    [ "$(id -u)" = 0 ] ||
        fail "needs root to run programs for $ARCH, or a machine that can (apt-get install binfmt-support)"
    qemu=$(command -v qemu-aarch64-static) || fail "needs qemu-aarch64-static: apt-get install qemu-user-static"
    command -v arch-test >/dev/null || fail "needs arch-test: apt-get install arch-test"
    unshare --user true || fail "needs user namespaces, or a machine that runs programs for $ARCH: see above"
    mkfifo "$partial/mapped"
    unshare --user --mount --pid --fork --kill-child sh -euc '
        echo unshared >"$1"
        read -r _ <"$1"
        qemu=$2
        shift 2
        mount -t proc proc /proc
        mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
        # The head of an ELF file: 64 bits, little-endian, a program or a library, for machine 183.
        head="\\x7fELF\\x02\\x01\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x02\\x00\\xb7\\x00"
        mask="\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\x00\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xfe\\xff\\xff\\xff"
        printf %s ":workshop:M::$head:$mask:$qemu:F" >/proc/sys/fs/binfmt_misc/register
        mmdebstrap=$1
        shift
        # sysfs shows a network, and who mounts it must own that: we do not.
        exec "$mmdebstrap" --skip=chroot/mount/sys "$@"' sh "$partial/mapped" "$qemu" "$@" &
    read -r _ <"$partial/mapped"
    for map in uid_map gid_map; do echo "0 0 4294967295" >"/proc/$!/$map"; done
    echo mapped >"$partial/mapped"
    rm "$partial/mapped"
    wait "$!"
}

# The recipe, and what was asked for, name the image: one that was changed is another image. A new month brings the
# month's updates.
image_name() {
    printf '%s %s %s %s' "$SUITE" "$ARCH" "$(date +%Y-%m)" "$*" |
        cat - "$here/image.sh" "$here/customize.sh" "$here"/workshop-job* ${VM_HOOK:+"$VM_HOOK"} |
        sha256sum | cut -c 1-16
}

# shellcheck disable=SC2016 # $1 is for mmdebstrap's shell
bootstrap() {
    TMPDIR=$partial emulated mmdebstrap --quiet --architectures="$ARCH" --variant=minbase \
        --include="$PACKAGES${*:+,$(echo "$*" | tr ' ' ,)}" \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
        --aptopt='Acquire::Languages "none"' \
        --customize-hook="copy-in '$here/workshop-job.service' /etc/systemd/system" \
        --customize-hook="copy-in '$here/workshop-job' /usr/local/sbin" \
        --customize-hook="copy-in '$here/customize.sh' /root" \
        --customize-hook='chroot "$1" sh /root/customize.sh' \
        ${VM_HOOK:+--customize-hook="$VM_HOOK"} \
        --customize-hook="download /boot/kernel '$partial/kernel'" \
        --customize-hook="download /boot/initrd '$partial/initrd'" \
        "$SUITE" "$partial/root.tar"
}

# Unpacked first: mkfs.ext4 -d takes a folder, and that of a live chroot has a /proc in it.
make_filesystem() {
    # shellcheck disable=SC2016 # $1 belongs to the inner shell
    as_mapped_root sh -euc '
        mkdir "$1/root"
        tar -xf "$1/root.tar" -C "$1/root"
        truncate -s 12G "$1/root.img"
        mkfs.ext4 -q -F -L root -E lazy_itable_init=1,nodiscard -d "$1/root" "$1/root.img"
        rm -r "$1/root" "$1/root.tar"' sh "$partial"
}

remove_partial() {
    [ ! -d "$partial" ] || as_mapped_root rm -r "$partial"
}

main() {
    here=$(CDPATH='' cd "$(dirname "$0")" && pwd)
    check_tools
    cache=${VM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/container-workshop}
    image=$cache/vm-$(image_name "$@")
    if [ ! -d "$image" ]; then
        mkdir -p "$cache"
        find "$cache" -mindepth 1 -maxdepth 1 \
            \( -name 'vm-????????????????' -mtime +40 -o -name 'partial.??????' -mmin +120 \) \
            -exec rm -r {} +
        check_disk
        # Under another name until it is complete: an image that is there is a whole one.
        partial=$(mktemp -d "$cache/partial.XXXXXX")
        chmod 755 "$partial" # apt's own user works below it
        trap remove_partial EXIT
        trap 'exit 130' INT
        trap 'exit 143' TERM HUP
        echo "Building the image of the test machine (for $ARCH; a minute if nothing is emulated; kept in $cache)" >&2
        bootstrap "$@" >&2 || fail "could not build the image: the reason is above"
        make_filesystem >&2 || fail "could not make the file system of the image: the reason is above"
        mv -T "$partial" "$image" 2>/dev/null || [ -d "$image" ] # another run may have been faster
    fi
    echo "$image"
}

main "$@"
