#!/bin/sh
# Takes the real Vagrantfile through `vagrant up`, the README's two commands over `vagrant ssh`, all ten steps, the
# self-check, and `vagrant destroy`. The box is made here, of the image that vm/test.sh boots, so it needs no registry
# of boxes; and the machine gets no further than this computer, which shows that a class needs no network either.
#
# For maintainers, as root: scripts/vm/vagrant-test.sh. Needs, from Debian 12: vagrant vagrant-libvirt rsync
# dnsmasq-base libvirt-daemon-system libvirt-clients qemu-system-x86 qemu-utils mmdebstrap e2fsprogs. Takes 10 to 30
# minutes without KVM. libvirt, its network and the machine live in namespaces of their own, and end with this script
# however it ends. Environment: ROOTFS_TARBALL, for a computer without Alpine's mirror; VM_CACHE, see vm/image.sh.
# Exit status: 0 if everything worked, else 1.
set -eu

fail() {
    printf 'vagrant-test.sh: %s\n' "$*" >&2
    exit 1
}

check_tools() {
    [ "$(id -u)" = 0 ] || fail "needs root, for a libvirt of its own: run it with sudo"
    for tool in vagrant libvirtd virsh dnsmasq rsync qemu-img qemu-system-x86_64 mmdebstrap; do
        command -v "$tool" >/dev/null || PATH=$PATH:/usr/sbin command -v "$tool" >/dev/null ||
            fail "needs $tool: see the head of this script for the packages"
    done
}

timed() {
    say=$1
    shift
    begin=$(date +%s)
    "$@" || fail "failed: $say"
    echo "==> $say: $(($(date +%s) - begin)) s"
}

# A libvirt that keeps to this mount namespace and to what a container grants it.
start_libvirt() {
    for folder in /var/lib/libvirt /var/cache/libvirt /run /etc/libvirt; do
        mkdir -p "$work/libvirt$folder"
        [ "$folder" != /etc/libvirt ] || cp -a /etc/libvirt/. "$work/libvirt$folder/"
        mount --bind "$work/libvirt$folder" "$folder"
    done
    mkdir -p /run/libvirt /var/lib/libvirt/qemu /var/lib/libvirt/images
    cat >/etc/libvirt/qemu.conf <<'CONF'
user = "root"
group = "root"
security_driver = "none"
cgroup_controllers = []
namespaces = []
stdio_handler = "file"
CONF
    ip link set lo up
    libvirtd --daemon
    until virsh --connect qemu:///system list >/dev/null 2>&1; do sleep 0.2; done
    virsh --quiet --connect qemu:///system pool-define-as default dir --target /var/lib/libvirt/images
    virsh --quiet --connect qemu:///system pool-start default
}

make_box() {
    mkdir "$work/box"
    qemu-img convert -O qcow2 "$image/root.img" "$work/box/box.img"
    cp "$image/kernel" "$image/initrd" "$work/box/"
    echo '{"provider": "libvirt", "format": "qcow2", "virtual_size": 12}' >"$work/box/metadata.json"
    # What belongs to this box, as Debian's kernel is outside its disk; and to a computer without KVM.
    cat >"$work/box/Vagrantfile" <<'BOX'
Vagrant.configure("2") do |config|
  config.vm.boot_timeout = 900
  config.vm.provider :libvirt do |machine|
    machine.driver = "qemu" unless File.read("/proc/cpuinfo").match?(/^flags.* (vmx|svm)( |$)/)
    machine.cpu_mode = "maximum"
    machine.kernel = File.join(__dir__, "kernel")
    machine.initrd = File.join(__dir__, "initrd")
    machine.cmd_line = "console=ttyS0 quiet"
    machine.graphics_type = "none"
    machine.video_type = "none"
  end
end
BOX
    tar -C "$work/box" -cf "$work/workshop.box" metadata.json Vagrantfile kernel initrd box.img
    vagrant box add --name "$WORKSHOP_BOX" "$work/workshop.box"
    rm -r "$work/box" "$work/workshop.box"
}

readme_commands() {
    echo "\$ cargo run -p step10_cgroups -- run sh -c 'hostname; exit 7'"
    status=0
    vagrant ssh -c "cargo run -p step10_cgroups -- run sh -c 'hostname; exit 7'" >"$work/said" || status=$?
    cat "$work/said"
    if [ "$status" != 7 ] || [ "$(tr -d '\r' <"$work/said")" != container ]; then return 1; fi
    echo "\$ cargo test"
    vagrant ssh -c "cargo test"
}

# What else a class does. Nothing has to be fetched for it: there is no way out of here.
# shellcheck disable=SC2016 # for the shell in the machine
unplugged() {
    vagrant ssh -c '
        set -eu
        if curl --silent --max-time 10 https://deb.debian.org >/dev/null; then echo "there is a network"; exit 1; fi
        cargo build --offline
        for step in steps/step*/; do
            status=0
            cargo run -qp "$(basename "$step")" -- run sh -c "exit 7" || status=$?
            [ "$status" = 7 ] || { echo "$step: $status"; exit 1; }
        done
        cargo workshop catch-up 10
        cargo workshop check'
}

inside() {
    start_libvirt
    mkdir "$work/workshop"
    (cd "$root" && git ls-files -z --cached --others --exclude-standard | tar -c --null -T -) |
        tar -x -C "$work/workshop"
    cd "$work/workshop"
    export VAGRANT_HOME="$work/vagrant" WORKSHOP_BOX=workshop-local VAGRANT_DEFAULT_PROVIDER=libvirt
    timed "making the box" make_box
    timed "vagrant up" vagrant up --provider=libvirt
    timed "the README's commands" readme_commands
    timed "ten steps and the self-check, unplugged" unplugged
    timed "vagrant destroy" vagrant destroy --force
}

main() {
    root=$(CDPATH='' cd "$(dirname "$0")/../.." && pwd)
    if [ "${1-}" = --inside ]; then
        [ $$ = 1 ] || fail "--inside is for this script itself: it would change this machine's libvirt"
        work=$2 image=$3
        # As PID 1 of its namespace it gets only the signals that it asks for.
        trap 'exit 130' INT
        trap 'exit 143' TERM
        inside
        return
    fi
    check_tools
    begin=$(date +%s)
    image=$(WORKSHOP=$root VM_HOOK=$root/scripts/vm/vagrant-box.sh \
        "$root/scripts/vm/image.sh" openssh-server rsync ca-certificates)
    echo "==> the image: $(($(date +%s) - begin)) s"
    work=$(mktemp -d /var/tmp/workshop-vagrant.XXXXXX)
    trap 'rm -r "$work"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    unshare --mount --net --pid --fork --kill-child --mount-proc sh "$0" --inside "$work" "$image"
}

main "$@"
