#!/bin/sh
# Makes a root filesystem for the containers of this workshop: rootfs/ beside this script, or $ROOTFS.
#
# For learners, for the cargo runner (scripts/run-step.sh), for the tests and for the VM. Needs no root.
# It takes the first of these that it can have:
#   1. what is there already, if it is complete
#   2. the tarball that ROOTFS_TARBALL names
#   3. Alpine's minirootfs from ALPINE_MIRROR, pinned and checked
#   4. where no mirror can be reached: this machine's own busybox, shell and tools
#
# Prints nothing on stdout. On stderr: progress if that is a terminal, and in any case errors and the
# news that the root filesystem is a borrowed one. Exit status: 0 there is one, 1 there is none, 2 usage.
set -eu

ALPINE=3.20.3
MIRROR=https://dl-cdn.alpinelinux.org/alpine
CONNECT_SECONDS=5 # to give up on a mirror that does not answer
STALL_SECONDS=15  # to give up on one that stops in the middle
MARKER=.rootfs-origin   # the last thing that is written into a new root filesystem: what it is
TEMPORARY=.rootfs-fetch # the first one into a temporary folder: what has it may be removed

# What to borrow from the machine, in the folders where Alpine has it. (No bash: Alpine has none either.)
TOOLS="/bin sh cat chgrp chmod chown cp date dd df echo false grep hostname kill ln ls mkdir mknod mktemp more mount
    mountpoint mv netstat nice ping printenv ps pwd rm rmdir sed setpriv sleep stat stty sync touch true umount uname
    /sbin ip pivot_root
    /usr/bin [ awk basename cmp cut dirname du env expr find flock free head id ipcmk ipcrm ipcs mkfifo nc nohup nproc
    nsenter od paste pgrep pkill printf readlink realpath seq setsid sort tail tee test timeout top tr truncate tty uniq
    unshare uptime wc whoami xargs yes
    /usr/sbin chroot"

usage() {
    cat <<USAGE
Usage: ./rootfs-fetch.sh [--force] [--borrow] | --clean

Makes a root filesystem in rootfs/: Alpine Linux $ALPINE, or where its mirror cannot
be reached, one that is borrowed from this machine. Needs no root.

  --force    make a new one in the place of one that this script has made; the old one
             goes when the new one is complete
  --borrow   do not try to download: borrow this machine's shell and tools
  --clean    only remove what runs that were killed have left beside it
  --help     this text

Environment (a relative path counts from the working directory):
  ROOTFS          where to make it (now: $rootfs)
  ROOTFS_TARBALL  a tarball to unpack in place of a download
  ALPINE_MIRROR   another mirror than $MIRROR
USAGE
}

say() { if [ -t 2 ]; then warn "$@"; fi; }
warn() { printf 'rootfs-fetch.sh: %s\n' "$*" >&2; }
die() { warn "$@" && exit 1; }
quoted() { printf "'%s'" "$(printf '%s' "$1" | sed "s/'/'\\\\''/g")"; } # as it could be typed

tmp='' child='' aside='' errors=/dev/null

# Runs a command that takes its time: in the background, so that a signal does not have to wait for it; without the
# lock, so that it does not hold it should this script be killed. Its complaints are kept: see reason().
run() {
    "$@" 9<&- 2>"$errors" &
    child=$!
    wait "$child" && code=0 || code=$?
    child=
    return "$code"
}

# The last line of what a command complained about, and whether a full disk is the reason (it may leave no room for
# the complaint).
reason() {
    sed -n '$p' "$errors"
    if ! head -c 65536 /dev/zero 2>/dev/null >"$tmp/probe"; then
        printf ' (the disk is full: make room, or choose another one with ROOTFS)'
    fi
}

clean_up() {
    code=$?
    trap - EXIT && trap '' HUP INT PIPE TERM
    if [ -n "$child" ] && kill "$child" 2>/dev/null; then wait "$child" 2>/dev/null || true; fi
    # In the middle of an exchange: the old one goes back to its place.
    if [ -n "$aside" ] && [ -d "$aside" ] && [ ! -e "$rootfs" ]; then mv "$aside" "$rootfs"; fi
    if [ -n "$tmp" ]; then remove "$tmp" || warn "cannot remove all of it: sudo rm -r $(quoted "$tmp")"; fi
    exit "$code"
}

interrupted() { warn "interrupted: $rootfs is as it was" || true && exit "$1"; }

# Removes a folder, also one whose sub-folders are not writable.
remove() { chmod -R u+rwx "$1" 2>/dev/null || true && rm -rf "$1" 2>/dev/null; }

# Sets `rootfs`: absolute and without symlinks, so that its temporary neighbour is on the same disk.
locate() {
    here=$(CDPATH='' cd "$(dirname "$0")" && pwd -P)
    rootfs=${ROOTFS:-$here/rootfs}
    case $rootfs in /*) ;; *) rootfs=$PWD/$rootfs ;; esac
    if real=$(readlink -f "$rootfs" 2>/dev/null) && [ -n "$real" ]; then rootfs=$real; fi
    parent=$(dirname "$rootfs")
    name=$(basename "$rootfs")
    # What is there is never a root filesystem if it has one of these in it, whatever else it looks like.
    for precious in "$here" "$(readlink -f "${HOME:-/}")"; do
        case $precious/ in "${rootfs%/}"/*) die "ROOTFS is $rootfs, and $precious is in it: not there" ;; esac
    done
}

# Is there a shell in this root filesystem? (An absolute symlink is meant to be followed inside it.)
has_shell() {
    shell=$1/bin/sh
    for _ in 1 2 3; do case $(readlink "$shell") in /*) shell=$1$(readlink "$shell") ;; esac; done
    [ -f "$shell" ] && [ -x "$shell" ]
}
is_empty() { [ -d "$1" ] && [ -z "$(ls -A "$1" 2>/dev/null)" ]; }

# May a new one be made here? Says why not, and never removes what this script has not made, or what is no root
# filesystem any more. Ends the script where there is nothing to do.
look_at_the_place() {
    if [ ! -e "$rootfs" ] && [ ! -L "$rootfs" ]; then return; fi
    if [ ! -d "$rootfs" ]; then die "$rootfs is in the way: it is not a folder"; fi
    ls -A "$rootfs" >/dev/null 2>&1 || die "cannot look into $rootfs: it belongs to $(stat -c %U "$rootfs")"
    if is_empty "$rootfs"; then return; fi
    why="is not a root filesystem"
    if [ -f "$rootfs/$MARKER" ]; then why="has lost its /bin/sh"; fi
    if has_shell "$rootfs"; then
        if [ -z "$force" ]; then
            say "$rootfs is complete: $(cat "$rootfs/$MARKER" 2>/dev/null || echo "it has a /bin/sh")"
            exit 0
        fi
        if [ -f "$rootfs/$MARKER" ]; then return; fi
        why="was not made by this script"
    fi
    die "$rootfs $why, so it is left alone. If you can do without what is in it: rm -r $(quoted "$rootfs")"
}

# One at a time for each parent folder. The lock is on that folder itself: no lock file to leave behind,
# and the kernel takes it away however this script ends.
lock() {
    mkdir -p "$parent" || die "cannot make $parent (ROOTFS=/another/folder/rootfs chooses another place)"
    if ! command -v flock >/dev/null; then return; fi
    exec 9<"$parent" || die "cannot open $parent"
    flock -n 9 || if [ $? = 1 ]; then
        warn "another rootfs-fetch.sh is at work in $parent: waiting for it"
        run flock 8 8<&9 || die "cannot lock $parent"
    else return 0; fi # some shared folders know no locks
    for stale in "$parent/.$name".tmp.??????; do # of a run that was killed
        if [ -d "$stale" ] && [ ! -L "$stale" ]; then clean "$stale"; fi
    done
}

# Removes the temporary folder of a run that was killed, and nothing else of such a name. In the middle of an exchange
# that has the only root filesystem.
clean() {
    if [ ! -f "$1/$TEMPORARY" ]; then rmdir "$1" 2>/dev/null || true && return; fi # killed at once, or somebody's
    if [ -d "$1/old" ] && [ ! -e "$rootfs" ]; then
        mv "$1/old" "$rootfs" || die "cannot put $1/old back in the place of $rootfs"
        warn "a run that was killed had set $rootfs aside: it is back"
    fi
    if ! remove "$1"; then warn "cannot remove all of what a killed run has left: sudo rm -r $(quoted "$1")"; fi
}

make_temporary() {
    tmp=$(mktemp -d "$parent/.$name.tmp.XXXXXX") ||
        die "cannot write in $parent (ROOTFS=/another/folder/rootfs chooses another place)"
    : >"$tmp/$TEMPORARY" && errors=$tmp/errors
    new=$tmp/new
    mkdir "$new" && chmod 755 "$tmp" "$new"
}

# Bytes 18 and 19 of an ELF file say for which machine it is.
machine_of() { od -An -tx1 -j18 -N2 "$1" | tr -d ' \n'; }

# Sets `tarball` and `pinned` for an architecture, or fails.
pin() {
    case $1 in
    x86_64) pinned=d4e6fd67dcf75e40c451560ac7265166c2b72a0f38ddc9aae756a7de3d1efa0c ;;
    aarch64) pinned=041fa34a81788242df9e78fa69b97ab45b8ec47ddbf88864755610414a7bf3de ;;
    *) return 1 ;;
    esac
    tarball=alpine-minirootfs-$ALPINE-$1.tar.gz
    origin="Alpine Linux $ALPINE for $1"
}

check_sha256() {
    actual=$(sha256sum <"$1" | cut -d ' ' -f 1)
    [ "$actual" = "$pinned" ] || die "$2 is not what it should be: damaged, truncated or changed on the way" \
        "(SHA-256 expected $pinned, found $actual)"
}

# The members of the archive that would be written outside of the folder in which it is unpacked. tar programs differ in
# what they refuse; this is stricter than any. (Symlinks may lead where they like: they are followed after chroot.)
hostile_members() {
    cut -c 1 "$tmp/long" | paste - "$tmp/members" | LC_ALL=C awk -F '\t' '
        {
            if ($2 ~ /^\//) print $2 " has an absolute path"
            if ("/" $2 "/" ~ /\/\.\.\//) print $2 " climbs out with .."
            path[NR] = "/" $2 "/"
            while (gsub(/\/(\.?\/)+/, "/", path[NR])) {}
            if ($1 == "l") symlink[path[NR]]
        }
        END {
            for (i = 1; i <= NR; i++)
                while (sub(/[^\/]*\/$/, "", path[i]))
                    if (path[i] in symlink) print "something would be written through the symlink " path[i]
        }'
}

# Unpacks $1, called $2 in messages, into the new root filesystem: without device nodes, which only root could make; the
# steps make a /dev of their own. (-p: modes as they are, /tmp is 1777; -o: all belongs to whoever runs this.)
unpack() {
    say "unpacking $2"
    run tar -tf "$1" >"$tmp/members" || die "cannot read $2: $(reason)"
    run env LC_ALL=C tar -tvf "$1" >"$tmp/long" || die "cannot read $2: $(reason)"
    hostile=$(hostile_members | sed -n 1p)
    if [ -n "$hostile" ]; then die "$2 is refused, nothing was unpacked: $hostile"; fi
    cut -c 1 "$tmp/long" | paste - "$tmp/members" | sed -n 's/^[bc]	//p' >"$tmp/devices"
    run tar -xpof "$1" -C "$new" -X "$tmp/devices" || die "cannot unpack $2: $(reason)"
}

from_tarball() {
    [ -r "$ROOTFS_TARBALL" ] || die "ROOTFS_TARBALL: cannot read $ROOTFS_TARBALL"
    file=$(basename "$ROOTFS_TARBALL")
    arch=${file#alpine-minirootfs-"$ALPINE"-}
    if [ "$arch" != "$file" ] && pin "${arch%.tar.gz}"; then
        check_sha256 "$ROOTFS_TARBALL" "$ROOTFS_TARBALL"
    else
        origin="from the tarball $file"
    fi
    unpack "$ROOTFS_TARBALL" "$ROOTFS_TARBALL"
}

# Downloads $1 to $2. Fails, with the reason in `failure`, if the mirror could not be reached.
download() {
    : >"$errors" && code=0
    if command -v curl >/dev/null; then
        say "downloading $1"
        # ~/.curlrc may send the file elsewhere, so curl does without (-q has to be its first word); or it may name the
        # proxy, without which nothing can be reached.
        for first in -q -s; do
            code=0
            run curl $first -fsSL --connect-timeout "$CONNECT_SECONDS" --speed-limit 1 --speed-time "$STALL_SECONDS" \
                -o "$2" "$1" || code=$?
            if [ ! -e "${CURL_HOME:-${HOME:-}}/.curlrc" ] || [ -s "$2" ]; then break; fi
        done
    elif command -v wget >/dev/null; then
        run env LC_ALL=C wget -nv -t 1 -T "$CONNECT_SECONDS" -O "$2" "$1" || code=$?
    else
        failure="there is neither curl nor wget here to download Alpine Linux"
        return 1
    fi
    if [ "$code" = 0 ]; then return; fi
    failure="cannot download $1 ($(reason))"
    if [ -s "$2" ]; then die "$failure: it broke off in the middle; try again"; fi
    # The usual mirror may be behind somebody's proxy. One that was asked for by name is another matter.
    case ${ALPINE_MIRROR:+$failure} in
    *[Ee][Rr][Rr][Oo][Rr]*' 4'[0-9][0-9]*) die "$failure; is ALPINE_MIRROR right?" ;;
    esac
    return 1
}

from_mirror() {
    # Not uname(1): under a 64-bit kernel the programs may have 32 bits.
    arch="$(uname -m), with this /bin/sh"
    case $(machine_of /bin/sh) in 3e00) arch=x86_64 ;; b700) arch=aarch64 ;; esac
    if ! pin "$arch"; then
        failure="no Alpine tarball is pinned here for $arch (ROOTFS_TARBALL=FILE takes one that you have)"
        return 1
    fi
    mirror=${ALPINE_MIRROR:-$MIRROR}
    url=${mirror%/}/v${ALPINE%.*}/releases/$arch/$tarball
    download "$url" "$tmp/$tarball" || return 1
    check_sha256 "$tmp/$tarball" "$url"
    unpack "$tmp/$tarball" "$url"
}

# Copies the program or library $1 to the path $2 inside. Several names of one file stay one file.
borrow_file() {
    if [ -e "$new$2" ]; then return; fi
    copy=$tmp/copies$(readlink -f "$1")
    if [ ! -e "$copy" ]; then
        mkdir -p "${copy%/*}"
        # Not `cp -p`: a borrowed mount(8) is not to be a setuid program of whoever runs this.
        run cp -L "$1" "$copy" || die "cannot borrow $1: $(reason)"
        chmod 755 "$copy"
        printf '%s\n' "$1" >>"$tmp/borrowed"
    fi
    mkdir -p "$new${2%/*}"
    run ln "$copy" "$new$2" || run cp "$copy" "$new$2" || die "cannot borrow $1: $(reason)"
}

# Not `command -v`: that names builtins of the shell and what the caller has in PATH.
in_host_path() {
    for folder in /usr/bin /bin /usr/sbin /sbin /run/current-system/sw/bin; do
        if [ -x "$folder/$1" ]; then echo "$folder/$1" && return; fi
    done
}

# Alpine's tools are busybox, too: with this machine's one the sessions of the guide look as they do in Alpine.
borrow_busybox() {
    busybox=$(in_host_path busybox)
    if [ -z "$busybox" ]; then return; fi
    borrow_file "$busybox" /bin/busybox
    "$busybox" --list-full | grep / | while read -r applet; do
        mkdir -p "$new/${applet%/*}"
        if [ ! -e "$new/$applet" ]; then ln -s /bin/busybox "$new/$applet"; fi
    done
}

# What busybox does not have.
borrow_tool() {
    for there in bin sbin usr/bin usr/sbin; do if [ -L "$new/$there/$1" ]; then return; fi; done
    program=$(in_host_path "$1")
    if [ -n "$program" ] && [ "$(head -c 2 "$program" | tr -d '\0')" != '#!' ]; then # no scripts
        borrow_file "$program" "$2/$1"
    else
        missing="$missing $1"
    fi
}

# What the programs load: the interpreter and the libraries, each at the path where the program looks for it.
borrow_libraries() {
    xargs ldd <"$tmp/borrowed" 2>/dev/null | grep -v ':$' | tr -s '[:blank:]' '\n' | grep '^/' |
        sort -u >"$tmp/libraries" || true
    [ -s "$tmp/libraries" ] || die "cannot borrow from this machine: ldd names no libraries (is it installed?)"
    libc=$(grep -m 1 '/libc\.so\|/ld-musl' "$tmp/libraries" || true)
    while read -r library; do
        borrow_file "$library" "$library"
        # There is no ld.so.cache inside: what lies in a folder of its own must be found beside libc too.
        if [ -n "$libc" ]; then borrow_file "$library" "$(dirname "$libc")/$(basename "$library")"; fi
    done <"$tmp/libraries"
    # Before 2.34 glibc loads this one by itself, to read /etc/passwd.
    nss=$(dirname "$libc")/libnss_files.so.2
    if [ -n "$libc" ] && [ -e "$nss" ]; then borrow_file "$nss" "$nss"; fi
}

from_host() {
    say "borrowing the shell and the tools of this machine"
    missing=
    (cd "$new" && mkdir -p bin dev etc home lib media mnt opt proc root run sbin srv sys tmp usr/bin usr/lib usr/sbin \
        var/log var/tmp && chmod 1777 tmp var/tmp && chmod 700 root) || die "cannot write in $new"
    borrow_busybox
    set -f # `[` is a tool, not a pattern
    for word in $TOOLS; do
        case $word in /*) place=$word ;; *) borrow_tool "$word" "$place" ;; esac
    done
    set +f
    borrow_libraries
    host=$(sed -n 's/^PRETTY_NAME="*\([^"]*\)"*$/\1/p' /etc/os-release 2>/dev/null || true)
    origin="borrowed from ${host:-this machine}, $(uname -m)${busybox:+, with its busybox}"
    printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n' >"$new/etc/passwd"
    printf 'root:x:0:root\nnogroup:x:65533:\nnobody:x:65534:\n' >"$new/etc/group"
    printf '127.0.0.1\tlocalhost\n::1\tlocalhost\n' >"$new/etc/hosts"
    printf 'ID=borrowed\nPRETTY_NAME="%s"\n' "Borrowed from ${host:-the host}" >"$new/etc/os-release"
}

# What a learner must know of a borrowed root filesystem.
tell_borrowed() {
    if [ -n "$failure" ]; then warn "$failure"; fi
    warn "$rootfs is borrowed: not Alpine, but this machine's own ${busybox:+busybox, }shell and tools"
    if [ -z "$busybox" ]; then
        warn "  so the prompt inside is \"# \", not \"/ # \", and some tools print other columns than in the guide;"
        warn "  with the package busybox, and ./rootfs-fetch.sh --force --borrow, all looks as in the guide"
    fi
    if [ -n "$missing" ]; then warn "  not in it, as this machine has none:$missing"; fi
    warn "  to have Alpine later: ./rootfs-fetch.sh --force"
}

check_new() {
    has_shell "$new" || die "$origin: there is no /bin/sh in it, so it is no root filesystem"
    [ "$(machine_of "$shell")" = "$(machine_of /bin/sh)" ] ||
        die "$origin: it is for another kind of machine than this one ($(uname -m))"
    for folder in dev proc sys tmp; do [ -e "$new/$folder" ] || [ -L "$new/$folder" ] || mkdir "$new/$folder"; done
    chmod 755 "$new"
    rm -rf "${new:?}/$MARKER"
    printf '%s\n' "$origin" >"$new/$MARKER" || die "cannot write in $new"
}

# rm would go through a mount into what is mounted there, and take the files from a container that runs.
refuse_what_is_used() {
    # As mountinfo writes it: see proc_pid_mountinfo(5).
    written=$(printf '%s' "$rootfs" | sed 's/\\/\\134/g; s/ /\\040/g; s/	/\\011/g')
    mounted=$(WRITTEN=$written awk 'index($5 "/", ENVIRON["WRITTEN"] "/") == 1 { print $5; exit }' /proc/self/mountinfo)
    if [ -n "$mounted" ]; then
        cure="umount it first"
        # Where the repository is on a shared folder, the root filesystem is the machine's own, mounted over it.
        [ "$mounted" != "$written" ] ||
            cure="cargo workshop doctor says whether it is left over; if not: sh scripts/provision.sh --new-rootfs"
        die "cannot replace $rootfs: something is mounted on $mounted ($cure)"
    fi
    for process in /proc/[0-9]*; do
        # shellcheck disable=SC3013 # not in POSIX before 2024, but in every shell
        [ ! "$process/root/" -ef "$rootfs" ] ||
            die "cannot replace $rootfs: process ${process#/proc/} runs in it (leave that container first)"
    done
    # Of root's processes an ordinary user is not told that. But what somebody runs, nobody can open for writing
    # (execve(2), ETXTBSY). Not even this does: it would append nothing.
    busy=$(LC_ALL=C find "$rootfs" -xdev -type f -perm -100 -exec sh -c '
        for program; do
            (: >>"$program") 2>/dev/null && continue
            case $( (: >>"$program") 2>&1) in *"ext file busy"*) echo "$program" && exit ;; esac
        done' sh {} + | sed -n 1p)
    if [ -n "$busy" ]; then die "cannot replace $rootfs: somebody runs $busy (leave that container first)"; fi
}

install_new() {
    if is_empty "$rootfs"; then
        rmdir "$rootfs" || die "cannot put the new root filesystem in the place of $rootfs"
    elif [ -e "$rootfs" ]; then
        refuse_what_is_used
        [ -w "$rootfs" ] || die "cannot replace $rootfs: it belongs to $(stat -c %U "$rootfs") (remove it with sudo)"
        aside=$tmp/old
        mv "$rootfs" "$aside" || die "cannot replace $rootfs"
    fi
    mv "$new" "$rootfs" || die "cannot put the new root filesystem in the place of $rootfs"
    aside=
}

main() {
    umask 022
    # Settings of whoever runs this, that change what these programs do or print.
    unset TAR_OPTIONS GREP_OPTIONS POSIXLY_CORRECT
    force='' borrow='' clean='' failure='' rootfs=${ROOTFS:-rootfs}
    for option in "$@"; do
        case $option in
        --force) force=1 ;;
        --borrow) borrow=1 ;;
        --clean) clean=1 ;;
        -h | --help) locate && usage; exit ;;
        *) usage >&2 && exit 2 ;;
        esac
    done
    locate
    if [ -n "$clean" ] && [ -d "$parent" ]; then lock; fi
    if [ -n "$clean" ]; then exit 0; fi
    look_at_the_place
    trap clean_up EXIT
    # shellcheck disable=SC2064 # now
    for signal in 1 2 13 15; do trap "interrupted $((128 + signal))" "$signal"; done # HUP INT PIPE TERM
    lock
    look_at_the_place # another one may have been at work until now
    make_temporary
    if [ -z "$borrow" ]; then
        if [ -n "${ROOTFS_TARBALL:-}" ]; then from_tarball; else from_mirror || borrow=1; fi
    fi
    if [ -n "$borrow" ]; then from_host; fi
    check_new
    install_new
    say "$rootfs is complete: $origin"
    if [ -n "$borrow" ]; then tell_borrowed; fi
}

main "$@"
