#!/bin/sh
# Inside the new image, called by mmdebstrap through vm/image.sh: the users, the kernel and a small initramfs.
# The kernel package is unpacked and not installed: its scripts would bring a boot loader and build a large initramfs.
set -eu

unpack_kernel() {
    package=$(apt-cache depends "linux-image-cloud-$(dpkg --print-architecture)" |
        sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p')
    cd /var/cache
    apt-get download -qq -o APT::Sandbox::User=root "$package"
    # dpkg -x would replace the link /lib by a folder.
    dpkg --fsys-tarfile "$package"_*.deb | tar -x --keep-directory-symlink -C /
    rm "$package"_*.deb
    release=${package#linux-image-}
    depmod "$release"
    mv "/boot/vmlinuz-$release" /boot/kernel
}

make_initramfs() {
    tree=$(mktemp -d)
    mkdir "$tree/modules" "$tree/dev" "$tree/root"
    cp "$(command -v busybox)" "$tree/busybox"
    for module in virtio_pci virtio_blk ext4; do
        modprobe --set-version "$release" --show-depends "$module"
    done | sed -n 's/^insmod \([^ ]*\).*/\1/p' | awk '!seen[$0]++' >"$tree/list"
    # In the order of their dependencies, by number, so that init need not know them.
    number=100
    while read -r module; do
        xz --decompress --stdout "$module" >"$tree/modules/$number.ko"
        number=$((number + 1))
    done <"$tree/list"
    cat >"$tree/init" <<'INIT'
#!/busybox sh
for module in /modules/*; do /busybox insmod "$module"; done
/busybox mount -t devtmpfs dev /dev
until [ -b /dev/vda ]; do /busybox usleep 10000; done
/busybox mount -t ext4 -o rw,noatime /dev/vda /root
/busybox mount --move /dev /root/dev
exec /busybox switch_root /root /sbin/init
INIT
    chmod 755 "$tree/init"
    (cd "$tree" && find . | busybox cpio -o -H newc 2>/dev/null | gzip -1 >/boot/initrd)
    rm -r "$tree"
}

add_learner() {
    useradd --create-home --shell /bin/bash --uid 1000 learner
    echo 'learner ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/learner
    mkdir -p /var/lib/systemd/linger
    touch /var/lib/systemd/linger/learner # its systemd --user runs without a login
}

configure() {
    echo host-under-test >/etc/hostname
    printf '127.0.0.1 localhost host-under-test\n' >/etc/hosts
    : >/etc/fstab
    systemd-machine-id-setup # without one, every boot is a first boot, and takes longer
    touch -r /usr /etc/.updated /var/.updated
    systemctl --quiet enable workshop-job.service
    # Nobody logs in at a terminal, and nothing shall run while something is being counted or timed.
    systemctl --quiet mask getty.target tmp.mount apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
        e2scrub_all.timer fstrim.timer systemd-tmpfiles-clean.timer systemd-firstboot.service
}

# Anywhere else it would take the machine apart. (This is there before: see vm/image.sh.)
if [ ! -e /usr/local/sbin/workshop-job ]; then
    echo "vm/customize.sh: only for the inside of a new image (scripts/vm/image.sh makes one)" >&2
    exit 1
fi
unpack_kernel
make_initramfs
add_learner
configure
