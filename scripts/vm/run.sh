#!/bin/sh
# Boots the image of vm/image.sh in QEMU, runs a job in it, and switches it off; nothing that the job does to the disk
# stays. With KVM where that really works, else emulated: a boot takes 15 to 40 seconds, and fork and exec 40 ms.
#
# Usage: scripts/vm/run.sh IMAGE JOB.tar [SECONDS]
# The tar is unpacked over the root directory of the machine, and its /job/run is run as root, by sh.
# Environment: VM_ARCH, amd64 (the default) or arm64, for which the image is.
# What that prints comes out on stdout. Exit status: the job's; 125 if the machine gave none, be it that it hung (after
# SECONDS, default 600) or broke; then its console is shown on stderr.
set -eu

fail() {
    printf 'vm/run.sh: %s\n' "$*" >&2
    exit 125
}

# A /dev/kvm without the processor's extensions (in some clouds) lets QEMU start, and then never boots.
has_kvm() {
    case $arch-$(uname -m) in
        amd64-x86_64) grep -qE '^flags.* (vmx|svm)( |$)' /proc/cpuinfo && [ -w /dev/kvm ] ;;
        arm64-aarch64) [ -w /dev/kvm ] ;;
        *) false ;;
    esac
}

start_machine() {
    # pauth-impdef: the algorithm of Arm's pointer authentication that costs little to emulate.
    case $arch in
        amd64) set -- x86_64 -M q35 -cpu max && tty=ttyS0 ;;
        arm64) set -- aarch64 -M virt -cpu max,pauth-impdef=on && tty=ttyAMA0 ;;
        *) fail "there is no machine for $arch, only for amd64 and arm64" ;;
    esac
    if has_kvm; then set -- "$@" -accel kvm -cpu host; else set -- "$@" -accel tcg,thread=multi; fi
    program=qemu-system-$1
    shift
    exec timeout --kill-after=10 "$seconds" "$program" "$@" -smp 2 -m 1024 \
        -nodefaults -no-user-config -display none -no-reboot -nic none \
        -kernel "$image/kernel" -initrd "$image/initrd" \
        -append "console=$tty quiet panic=-1 systemd.show_status=0" \
        -drive "file=$image/root.img,if=virtio,format=raw,snapshot=on" \
        -drive "file=$job,if=virtio,format=raw,readonly=on" -serial "file:$work/console" \
        -device virtio-serial -chardev file,id=job,path=/dev/stdout -device virtserialport,chardev=job,name=job \
        </dev/null >"$work/out" 2>"$work/qemu"
}

# Prints what the job prints, up to the line with its exit status.
follow() {
    while IFS= read -r line; do
        case $line in
            "exit status of the job: "*) status=${line##* } ;;
            *) [ -n "$status" ] || printf '%s\n' "$line" ;;
        esac
    done <"$work/out"
}

show_console() {
    echo "--- the machine's console:"
    tail -n 60 "$work/console" 2>/dev/null | tr -d '\r'
    cat "$work/qemu"
    echo "---"
}

# shellcheck disable=SC2317 # called by the trap
clean_up() {
    [ -z "$machine" ] || kill "$machine" 2>/dev/null || :
    rm -r "$work"
}

main() {
    [ $# -ge 2 ] || fail "usage: vm/run.sh IMAGE JOB.tar [SECONDS]"
    image=$1 job=$2 seconds=${3:-600} arch=${VM_ARCH:-amd64}
    work=$(mktemp -d)
    machine="" status=""
    trap clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    mkfifo "$work/out"
    start_machine &
    machine=$!
    follow
    wait "$machine" && ended=0 || ended=$?
    machine=""
    [ -z "$status" ] || exit "$status"
    show_console >&2
    case $ended in
        124 | 137) fail "the machine gave no result within $seconds seconds; its console is above" ;;
        *) fail "the machine ended (QEMU's status: $ended) without a result; its console is above" ;;
    esac
}

main "$@"
