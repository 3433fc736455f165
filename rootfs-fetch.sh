#!/bin/sh
# Makes a root filesystem for the containers of this workshop: rootfs/ beside this script, or $ROOTFS.
#
# For learners, for the cargo runner (scripts/run-step.sh), for the tests and for the VM. Needs no root.
# It takes the first of these that it can have:
#   1. what is there already, if it is complete
#   2. the tarball that ROOTFS_TARBALL names
#   3. Alpine's minirootfs from ALPINE_MIRROR, pinned and checked
#   4. where no mirror can be reached: this machine's own shell and tools
#
# Prints nothing on stdout. On stderr: progress if that is a terminal, and in any case errors and the
# news that the root filesystem is a borrowed one. Exit status: 0 there is one, 1 there is none, 2 usage.
set -eu

ALPINE=3.20.3
MIRROR=https://dl-cdn.alpinelinux.org/alpine
CONNECT_SECONDS=5 # to give up on a mirror that does not answer
STALL_SECONDS=15  # to give up on one that stops in the middle

# The marker is the last thing that is written into a new root filesystem. Its text says what it is.
MARKER=.rootfs-origin

# What to borrow from the host, in the places where Alpine has them. (No bash: Alpine has none either.)
BIN="sh cat chgrp chmod chown cp date dd df echo false grep hostname kill ln ls mkdir mknod mktemp
    more mount mountpoint mv nice printenv ps pwd rm rmdir sed setpriv sleep stat stty sync touch true
    umount uname"
SBIN="ip pivot_root"
USR_BIN="[ awk basename cmp cut dirname du env expr find flock free head id ipcmk ipcrm ipcs mkfifo
    nohup nproc nsenter od paste pgrep pkill printf readlink realpath seq setsid sort tail tee test
    timeout top tr truncate tty uniq unshare uptime wc whoami xargs yes"
USR_SBIN="chroot"
HOST_PATH=/usr/bin:/bin:/usr/sbin:/sbin:/run/current-system/sw/bin

usage() {
    cat <<USAGE
Usage: ./rootfs-fetch.sh [--force] [--borrow]

Makes a root filesystem in rootfs/: Alpine Linux $ALPINE, or where its mirror cannot
be reached, one that is borrowed from this machine. Needs no root.

  --force    make a new one, also if there is one; the old one goes when the new one is complete
  --borrow   do not try to download: borrow this machine's shell and tools
  --help     this text

Environment:
  ROOTFS          where to make it (now: $rootfs)
  ROOTFS_TARBALL  a tarball to unpack in place of a download
  ALPINE_MIRROR   another mirror than $MIRROR
USAGE
}

say() { if [ -t 2 ]; then warn "$@"; fi; }
warn() { printf 'rootfs-fetch.sh: %s\n' "$*" >&2; }
die() {
    warn "$@"
    exit 1
}

# --- Clean-up ---------------------------------------------------------------------------------------

tmp='' child='' aside=''

# Runs a command that takes its time. In the background, so that a signal does not have to wait for it; without
# the lock, so that it does not hold it should this script be killed.
run() {
    "$@" 9<&- &
    wait_for_child
}

# The same for one whose complaints are kept: see reason(). (A redirection of `run` would also redirect the trap.)
run_logged() {
    "$@" 9<&- 2>"$tmp/errors" &
    wait_for_child
}

wait_for_child() {
    child=$!
    code=0
    wait "$child" || code=$?
    child=
    return "$code"
}

clean_up() {
    code=$?
    trap - EXIT
    trap '' HUP INT PIPE TERM
    if [ -n "$child" ]; then
        kill "$child" 2>/dev/null || true
        wait "$child" 2>/dev/null || true
    fi
    # Interrupted in the middle of an exchange: the old one goes back to its place.
    if [ -n "$aside" ] && [ -d "$aside" ] && [ ! -e "$rootfs" ]; then
        mv "$aside" "$rootfs"
    fi
    if [ -n "$tmp" ]; then
        remove "$tmp" || warn "cannot remove $tmp"
    fi
    exit "$code"
}

interrupted() {
    warn "interrupted: $rootfs is as it was" || true
    exit "$1"
}

# Removes a folder, also one whose sub-folders are not writable.
remove() {
    rm -rf "$1" 2>/dev/null && return
    chmod -R u+rwx "$1" 2>/dev/null || true
    rm -rf "$1" 2>/dev/null
}

# --- Where it goes ----------------------------------------------------------------------------------

# Sets `rootfs`: absolute and without symlinks, so that its temporary neighbour is on the same disk.
locate() {
    here=$(cd "$(dirname "$0")" && pwd -P)
    rootfs=${ROOTFS:-$here/rootfs}
    case $rootfs in /*) ;; *) rootfs=$PWD/$rootfs ;; esac
    if real=$(readlink -f "$rootfs" 2>/dev/null) && [ -n "$real" ]; then rootfs=$real; fi
    if [ "$rootfs" = / ]; then die "ROOTFS is /: that is this machine's own root filesystem"; fi
    parent=$(dirname "$rootfs")
    name=$(basename "$rootfs")
}

# Is there a shell in this root filesystem? (An absolute symlink is meant to be followed inside it.)
has_shell() {
    shell=$1/bin/sh
    hops=0
    while [ -L "$shell" ]; do
        hops=$((hops + 1))
        if [ "$hops" -gt 10 ]; then return 1; fi
        target=$(readlink "$shell")
        case $target in
        /*) shell=$1$target ;;
        *) shell=$(dirname "$shell")/$target ;;
        esac
    done
    [ -f "$shell" ] && [ -x "$shell" ]
}

is_complete() { [ -f "$1/$MARKER" ] && has_shell "$1"; }
is_empty() { [ -d "$1" ] && [ -z "$(ls -A "$1" 2>/dev/null)" ]; }

# Nothing to do? Ends the script if so; says why if something else is in the way.
stop_if_there() {
    if is_complete "$rootfs"; then
        say "$rootfs is complete: $(cat "$rootfs/$MARKER")"
        exit 0
    fi
    if [ ! -e "$rootfs" ] && [ ! -L "$rootfs" ]; then return; fi
    if [ ! -d "$rootfs" ]; then die "$rootfs is in the way: it is not a folder"; fi
    if is_empty "$rootfs"; then return; fi
    if [ -f "$rootfs/$MARKER" ]; then
        die "$rootfs has lost its /bin/sh (./rootfs-fetch.sh --force makes a new one)"
    fi
    if has_shell "$rootfs"; then
        say "$rootfs was not made by this script, but has a /bin/sh: left as it is"
        exit 0
    fi
    die "$rootfs is in the way: it is not a root filesystem (./rootfs-fetch.sh --force replaces it)"
}

# One at a time for each parent folder. The lock is on that folder itself: no lock file to leave behind,
# and the kernel takes it away however this script ends.
lock() {
    mkdir -p "$parent" || die "cannot make $parent (ROOTFS=/another/folder/rootfs chooses another place)"
    if ! command -v flock >/dev/null; then return; fi
    exec 9<"$parent" || die "cannot open $parent"
    code=0
    flock -n 9 || code=$?
    if [ "$code" = 1 ]; then
        warn "another rootfs-fetch.sh is at work in $parent: waiting for it"
        run flock 8 8<&9 || die "cannot lock $parent"
    elif [ "$code" != 0 ]; then
        return # some shared folders know no locks
    fi
    for stale in "$parent/.$name".tmp.??????; do # of a run that was killed
        if [ -d "$stale" ]; then remove "$stale" || true; fi
    done
}

make_temporary() {
    tmp=$(mktemp -d "$parent/.$name.tmp.XXXXXX") ||
        die "cannot write in $parent (ROOTFS=/another/folder/rootfs chooses another place)"
    new=$tmp/new
    mkdir "$new" && chmod 755 "$tmp" "$new"
}

# --- A tarball --------------------------------------------------------------------------------------

sha256() {
    if command -v sha256sum >/dev/null; then
        sha256sum <"$1"
    elif command -v shasum >/dev/null; then
        shasum -a 256 <"$1"
    else
        openssl dgst -sha256 -r <"$1"
    fi | cut -d ' ' -f 1
}

# Sets `arch` and `pinned`, or fails.
pin() {
    case ${1:-} in
    x86_64 | amd64)
        arch=x86_64
        pinned=d4e6fd67dcf75e40c451560ac7265166c2b72a0f38ddc9aae756a7de3d1efa0c
        ;;
    aarch64 | arm64)
        arch=aarch64
        pinned=041fa34a81788242df9e78fa69b97ab45b8ec47ddbf88864755610414a7bf3de
        ;;
    *) return 1 ;;
    esac
    tarball=alpine-minirootfs-$ALPINE-$arch.tar.gz
}

check_sha256() {
    actual=$(sha256 "$1") || die "cannot compute the SHA-256 of $1"
    if [ "$actual" != "$pinned" ]; then
        die "$2 is not what it should be: damaged, truncated or changed on the way
  SHA-256 expected $pinned
          found    $actual"
    fi
}

# Looks for members that would be written outside the folder in which the archive is unpacked, or that lead
# there. tar programs differ in what they refuse; this is stricter than any. Absolute symlinks deeper in the tree are
# usual (Alpine's /bin/ls -> /bin/busybox) and harmless: they are followed after chroot, and nothing in
# the archive may be written through a symlink.
# Input: the names, an empty line, and the same members with their types.
hostile_members() {
    LC_ALL=C awk '
        function plain(path) {
            while (sub(/^\.\//, "", path)) {}
            gsub(/\/(\.?\/)+/, "/", path)
            sub(/\/\.?$/, "", path)
            return path
        }
        function climbs(path) { return ("/" path "/") ~ /\/\.\.\// }
        # Does a relative link target leave the root, seen from the folder of the link?
        function leaves(link, target,    depth, parts, n, i) {
            depth = split(link, parts, "/") - 1
            n = split(target, parts, "/")
            for (i = 1; i <= n; i++) {
                if (parts[i] == "..") { if (--depth < 0) return 1 }
                else if (parts[i] != "" && parts[i] != ".") depth++
            }
            return 0
        }
        function refuse(name, why) { if (!bad++) print name " " why }
        # The link target that a line of the long listing ends with.
        function target_of(line, name,    at, rest) {
            while ((at = index(line, " " name)) > 0) {
                rest = substr(line, at + length(name) + 1)
                if (index(rest, " -> ") == 1) return substr(rest, 5)
                if (index(rest, " link to ") == 1) return substr(rest, 10)
                line = substr(line, at + 1)
            }
            return ""
        }
        !long && $0 == "" { long = 1; next }
        !long { names[++count] = $0; next }
        {
            name = names[++seen]
            member = plain(name)
            type = substr($0, 1, 1)
            if (substr(name, 1, 1) == "/") refuse(name, "has an absolute path")
            if (climbs(name)) refuse(name, "climbs out with ..")
            if (type == "b" || type == "c") refuse(name, "is a device")
            target = target_of($0, name)
            if (type == "l") {
                symlink[member] = 1
                if (target == "") refuse(name, "is a symlink to nowhere")
                if (target ~ /^\// && member !~ /\//)
                    refuse(name, "is a symlink that leads outside, to " target)
                if (target !~ /^\// && leaves(member, target))
                    refuse(name, "is a symlink that leads outside, to " target)
            } else if (type == "h" || target != "") {
                target = plain(target)
                if (!(target in member_seen)) refuse(name, "is a hard link to something that is not in the archive")
            }
            member_seen[member] = 1
        }
        END {
            if (seen != count) refuse("the listing", "has lines that cannot be told apart")
            for (i = 1; i <= count; i++) {
                n = split(plain(names[i]), parts, "/")
                path = ""
                for (j = 1; j < n; j++) {
                    path = path (j > 1 ? "/" : "") parts[j]
                    if (path in symlink) refuse(names[i], "would be written through the symlink " path)
                }
            }
        }'
}

# Unpacks $1, called $2 in messages, into the new root filesystem.
unpack() {
    { LC_ALL=C tar -tf "$1" && echo && LC_ALL=C tar -tvf "$1"; } >"$tmp/members" 2>"$tmp/errors" ||
        die "cannot read $2: $(reason)"
    hostile=$(hostile_members <"$tmp/members") || die "cannot check $2"
    if [ -n "$hostile" ]; then die "$2 is refused, nothing was unpacked: $hostile"; fi
    # -p: the modes as they are (/tmp is 1777); -o: all files belong to whoever runs this, root or not.
    run_logged tar -xpof "$1" -C "$new" || die "cannot unpack $2: $(reason)$(space)"
}

# The first line of what a command complained about.
reason() { sed -n 1p "$tmp/errors"; }

# On a full disk there may be no room for the complaint either: find out.
space() {
    if ! head -c 65536 /dev/zero 2>/dev/null >"$tmp/probe"; then
        printf ' (the disk is full: make room, or choose another one with ROOTFS)'
    fi
}

from_tarball() {
    if [ ! -f "$ROOTFS_TARBALL" ] || [ ! -r "$ROOTFS_TARBALL" ]; then
        die "ROOTFS_TARBALL: cannot read $ROOTFS_TARBALL"
    fi
    file=$(basename "$ROOTFS_TARBALL")
    origin="from the tarball $file"
    case $file in
    alpine-minirootfs-"$ALPINE"-*.tar.gz)
        arch=${file#alpine-minirootfs-"$ALPINE"-}
        if pin "${arch%.tar.gz}"; then
            check_sha256 "$ROOTFS_TARBALL" "$ROOTFS_TARBALL"
            origin="Alpine Linux $ALPINE for $arch"
        fi
        ;;
    esac
    say "unpacking $ROOTFS_TARBALL"
    unpack "$ROOTFS_TARBALL" "$ROOTFS_TARBALL"
}

# --- Alpine's mirror --------------------------------------------------------------------------------

with_curl() {
    if [ -t 2 ]; then quiet=--progress-bar; else quiet=-sS; fi
    "$runner" curl -fL "$quiet" --connect-timeout "$CONNECT_SECONDS" --speed-limit 1 --speed-time "$STALL_SECONDS" \
        -o "$2" "$1"
}

with_wget() {
    quiet=-q
    case $(wget --help 2>&1) in
    *--show-progress*) # GNU's: it would try again 20 times
        if [ -t 2 ]; then quiet='-q --show-progress'; else quiet=-nv; fi
        quiet="$quiet --tries=1"
        ;;
    esac
    # shellcheck disable=SC2086 # several options
    "$runner" wget $quiet -T "$CONNECT_SECONDS" -O "$2" "$1"
}

# Downloads $1 to $2. Fails, with the reason in `failure`, if the mirror could not be reached.
download() {
    runner=run_logged
    if [ -t 2 ]; then runner=run; fi
    : >"$tmp/errors"
    code=0
    if command -v curl >/dev/null; then
        with_curl "$1" "$2" || code=$?
        full=23 refused=22
    elif command -v wget >/dev/null; then
        with_wget "$1" "$2" || code=$?
        full=3 refused=8
    else
        failure="there is neither curl nor wget"
        return 1
    fi
    if [ "$code" = 0 ]; then return; fi
    failure=$(sed -n '$p' "$tmp/errors")
    failure="cannot download $1${failure:+ ($failure)}"
    if [ "$code" = "$full" ]; then die "$failure: cannot write in $parent$(space)"; fi
    if [ -s "$2" ]; then die "$failure: it broke off in the middle; try again"; fi
    # The usual mirror may be behind somebody's proxy. One that was asked for by name is another matter.
    if [ "$code" = "$refused" ] && [ -n "${ALPINE_MIRROR:-}" ]; then die "$failure; is ALPINE_MIRROR right?"; fi
    return 1
}

from_mirror() {
    machine=$(uname -m)
    pin "$machine" || die "no Alpine tarball is pinned for the architecture $machine" \
        "(ROOTFS_TARBALL=FILE takes one that you have; --borrow takes this machine's own tools)"
    mirror=${ALPINE_MIRROR:-$MIRROR}
    url=${mirror%/}/v${ALPINE%.*}/releases/$arch/$tarball
    say "downloading $url"
    download "$url" "$tmp/$tarball" || return 1
    check_sha256 "$tmp/$tarball" "$url"
    origin="Alpine Linux $ALPINE for $arch"
    unpack "$tmp/$tarball" "$url"
}

# --- Borrowed from this machine ---------------------------------------------------------------------

# Copies the program or library $1 to the path $2 inside. Several names of one file stay one file.
borrow_file() {
    if [ -e "$new$2" ]; then return; fi
    folder=$new${2%/*}
    if [ ! -d "$folder" ]; then mkdir -p "$folder"; fi
    real=$(readlink -f "$1")
    same=$(awk -F '\t' -v real="$real" '$1 == real { print $2; exit }' "$tmp/copied")
    if [ -z "$same" ] || ! ln "$same" "$new$2" 2>/dev/null; then
        # Not `cp -p`: a borrowed mount(8) is not to be a setuid program of whoever runs this.
        run_logged cp -L "$1" "$new$2" || die "cannot borrow $1: $(reason)$(space)"
        chmod 755 "$new$2"
    fi
    printf '%s\t%s\n' "$real" "$new$2" >>"$tmp/copied"
}

borrow_tool() {
    tool=$(in_host_path "$1")
    if [ -n "$tool" ] && [ "$(head -c 2 "$tool" | tr -d '\0')" != '#!' ]; then
        borrow_file "$tool" "$2/$1"
        printf '%s\n' "$tool" >>"$tmp/programs"
    elif [ -n "$busybox" ] && "$busybox" --list | grep -qxF -e "$1"; then
        borrow_file "$busybox" /bin/busybox
        ln -s /bin/busybox "$new$2/$1"
    else
        missing="$missing $1"
    fi
}

# Not `command -v`: that names builtins of the shell and what the caller has in PATH.
in_host_path() (
    IFS=:
    for folder in $HOST_PATH; do
        if [ -x "$folder/$1" ]; then
            printf '%s\n' "$folder/$1"
            break
        fi
    done
)

# What the programs load: the interpreter and the libraries, each at the path where the program looks for it.
borrow_libraries() {
    xargs ldd <"$tmp/programs" 2>/dev/null | grep -v ':$' | tr -s '[:blank:]' '\n' | grep '^/' |
        sort -u >"$tmp/libraries" || true
    if [ ! -s "$tmp/libraries" ]; then
        die "cannot borrow from this machine: ldd names no libraries (is it installed?)"
    fi
    libc=$(grep -m 1 '/libc\.so\|/ld-musl' "$tmp/libraries" || true)
    while read -r library; do
        borrow_file "$library" "$library"
        # There is no ld.so.cache inside: what lies in a folder of its own must be found beside libc too.
        if [ -n "$libc" ]; then borrow_file "$library" "$(dirname "$libc")/$(basename "$library")"; fi
    done <"$tmp/libraries"
    # Before 2.34 glibc loads this one by itself, to read /etc/passwd.
    if [ -n "$libc" ] && [ -e "$(dirname "$libc")/libnss_files.so.2" ]; then
        borrow_file "$(dirname "$libc")/libnss_files.so.2" "$(dirname "$libc")/libnss_files.so.2"
    fi
}

from_host() {
    say "borrowing the shell and the tools of this machine"
    missing=
    : >"$tmp/copied"
    : >"$tmp/programs"
    (cd "$new" && mkdir -p bin dev etc home lib media mnt opt proc root run sbin srv sys tmp usr/bin usr/lib usr/sbin \
        var/log var/tmp &&
        chmod 1777 tmp var/tmp && chmod 700 root) || die "cannot write in $new"
    busybox=$(in_host_path busybox)
    set -f # `[` is a tool, not a pattern
    for tool in $BIN; do borrow_tool "$tool" /bin; done
    for tool in $SBIN; do borrow_tool "$tool" /sbin; done
    for tool in $USR_BIN; do borrow_tool "$tool" /usr/bin; done
    for tool in $USR_SBIN; do borrow_tool "$tool" /usr/sbin; done
    set +f
    if [ -n "$busybox" ]; then
        borrow_file "$busybox" /bin/busybox
        printf '%s\n' "$busybox" >>"$tmp/programs"
    fi
    borrow_libraries
    host=$(sed -n 's/^PRETTY_NAME="*\([^"]*\)"*$/\1/p' /etc/os-release 2>/dev/null || true)
    origin="borrowed from ${host:-this machine}, $(uname -m)"
    printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n' >"$new/etc/passwd"
    printf 'root:x:0:root\nnogroup:x:65533:\nnobody:x:65534:\n' >"$new/etc/group"
    printf 'passwd: files\ngroup: files\nhosts: files\n' >"$new/etc/nsswitch.conf"
    printf '127.0.0.1\tlocalhost\n::1\tlocalhost\n' >"$new/etc/hosts"
    printf 'NAME="Borrowed"\nID=borrowed\nPRETTY_NAME="%s"\n' "Borrowed from ${host:-the host}" >"$new/etc/os-release"
}

# What a learner must know of a borrowed root filesystem.
tell_borrowed() {
    if [ -n "$1" ]; then warn "$1"; fi
    warn "$rootfs is borrowed: it has this machine's own shell and tools, not Alpine's"
    if [ -n "$missing" ]; then warn "not found on this machine, so not in it:$missing"; fi
    warn "to have Alpine later: ./rootfs-fetch.sh --force"
}

# --- The new one takes its place --------------------------------------------------------------------

# Bytes 18 and 19 of an ELF file say for which machine it is.
machine_of() { od -An -tx1 -j18 -N2 "$1" | tr -d ' \n'; }

check_new() {
    has_shell "$new" || die "$origin: there is no /bin/sh in it, so it is no root filesystem"
    if [ "$(machine_of "$shell")" != "$(machine_of /bin/sh)" ]; then
        die "$origin: it is for another kind of machine than this one ($(uname -m))"
    fi
    for folder in dev proc sys tmp; do
        [ -e "$new/$folder" ] || [ -L "$new/$folder" ] || mkdir "$new/$folder"
    done
    chmod 755 "$new"
    rm -rf "${new:?}/$MARKER"
    printf '%s\n' "$origin" >"$new/$MARKER" || die "cannot write in $new"
}

# rm would go through a mount into what is mounted there.
refuse_mounts() {
    # As mountinfo writes it: see proc_pid_mountinfo(5).
    written=$(printf '%s' "$rootfs" | sed 's/\\/\\134/g; s/ /\\040/g; s/	/\\011/g')
    mounted=$(WRITTEN=$written awk 'index($5 "/", ENVIRON["WRITTEN"] "/") == 1 { print $5; exit }' /proc/self/mountinfo)
    if [ -z "$mounted" ]; then return; fi
    cure="umount it first"
    # Where the repository is on a shared folder, the root filesystem is the machine's own, mounted over it.
    if [ "$mounted" = "$written" ]; then
        cure="cargo workshop doctor says whether it is left over; if not: sh scripts/provision.sh --new-rootfs"
    fi
    die "cannot replace $rootfs: something is mounted on $mounted ($cure)"
}

install_new() {
    if is_empty "$rootfs"; then
        rmdir "$rootfs" || die "cannot put the new root filesystem in the place of $rootfs"
    elif [ -d "$rootfs" ]; then
        refuse_mounts
        [ -w "$rootfs" ] || die "cannot replace $rootfs: it belongs to $(stat -c %U "$rootfs") (remove it with sudo)"
        aside=$tmp/old
        mv "$rootfs" "$aside" || die "cannot replace $rootfs"
    elif [ -e "$rootfs" ]; then
        die "$rootfs is in the way: it is not a folder"
    fi
    mv "$new" "$rootfs" || die "cannot put the new root filesystem in the place of $rootfs"
    aside=
}

main() {
    umask 022
    force='' borrow=''
    locate
    for option in "$@"; do
        case $option in
        --force) force=1 ;;
        --borrow) borrow=1 ;;
        -h | --help)
            usage
            exit 0
            ;;
        *)
            warn "unknown argument: $option"
            usage >&2
            exit 2
            ;;
        esac
    done

    if [ -z "$force" ]; then stop_if_there; fi
    trap clean_up EXIT
    trap 'interrupted 129' HUP
    trap 'interrupted 130' INT
    trap 'interrupted 141' PIPE
    trap 'interrupted 143' TERM
    lock
    if [ -z "$force" ]; then stop_if_there; fi # another one may have been at work until now
    make_temporary

    why=
    if [ -n "$borrow" ]; then
        from_host
    elif [ -n "${ROOTFS_TARBALL:-}" ]; then
        from_tarball
    elif ! from_mirror; then
        why=$failure
        borrow=1
        from_host
    fi
    check_new
    install_new
    say "$rootfs is complete: $origin"
    if [ -n "$borrow" ]; then tell_borrowed "$why"; fi
}

main "$@"
