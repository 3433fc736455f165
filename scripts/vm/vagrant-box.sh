#!/bin/sh
# Called by mmdebstrap, for vagrant-test.sh, with the folder of the new image: makes of it what a Vagrant box is (a user
# with the well-known key, a network), and provisions the workshop in it. That runs at full speed here, in the emulated
# machine it would take half an hour; there the same script then has little left to do.
#
# Environment: WORKSHOP, the repository; ROOTFS_TARBALL, if there is one.
set -eu

# The key that Vagrant replaces at the first login (github.com/hashicorp/vagrant/tree/main/keys).
KEY="ssh-rsa AAAAB3NzaC1yc2EAAAABIwAAAQEA6NF8iallvQVp22WDkTkyrtvp9eWW6A8YVr+kz4TjGYe7gHzIw+niNltGEFHzD8+v1I2YJ6oXevct1YeS0o9HZyN1Q9qgCgzUFtdOKLv6IedplqoPkcmF0aYet2PkEDo3MlTBckFXPITAMzF8dJSIFo9D8HfdOV0IAdx4O7PtixWKn5y2hMNG0zQPyUecp4pzC6kivAIhyfHilFR61RGL+GPXQ2MWZWFYbAGjyiYJnAmCP3NOTd0jMZEnDkbUvxhMmBYSdETk1rRgm+R4LOzFUGaHqHDLKLX+FIPKcF96hrucXzcWyLbIbEgE98OHlnVYCzRdK8jlqm8tehUc9c9WhQ== vagrant insecure public key"

add_vagrant() {
    chroot "$1" useradd --create-home --shell /bin/bash vagrant
    echo 'vagrant ALL=(ALL) NOPASSWD: ALL' >"$1/etc/sudoers.d/vagrant"
    mkdir -m 700 "$1/home/vagrant/.ssh"
    echo "$KEY" >"$1/home/vagrant/.ssh/authorized_keys"
    chmod 600 "$1/home/vagrant/.ssh/authorized_keys"
    chroot "$1" chown -R vagrant: /home/vagrant/.ssh
}

add_network() {
    printf '[Match]\nName=en*\n[Network]\nDHCP=yes\n' >"$1/etc/systemd/network/wired.network"
    chroot "$1" systemctl --quiet enable systemd-networkd ssh
    chroot "$1" systemctl --quiet disable systemd-networkd-wait-online
}

# Certificates of this network's own, where there are any: without them no download gets through.
add_certificates() {
    for certificate in /usr/local/share/ca-certificates/*.crt; do
        [ ! -e "$certificate" ] || cp "$certificate" "$1/usr/local/share/ca-certificates/"
    done
    chroot "$1" update-ca-certificates >/dev/null 2>&1
}

provision() {
    mkdir "$1/vagrant"
    (cd "$WORKSHOP" && git ls-files -z --cached --others --exclude-standard | tar -c --null -T -) |
        tar -x -C "$1/vagrant"
    chroot "$1" chown -R vagrant: /vagrant
    if [ -n "${ROOTFS_TARBALL-}" ]; then
        cp "$ROOTFS_TARBALL" "$1/tmp/"
        set -- "$1" ROOTFS_TARBALL="/tmp/${ROOTFS_TARBALL##*/}"
    fi
    # The doctor, at its end, need not be content with a chroot.
    chroot "$1" runuser -u vagrant -- env -i PATH=/usr/local/bin:/usr/bin:/bin HOME=/home/vagrant "${2:-TERM=dumb}" \
        sh /vagrant/scripts/provision.sh --login-here || [ -e "$1/vagrant/target/debug/workshop" ]
    rm -f "$1"/tmp/*.tar.gz
}

if [ ! -e "${1-}/usr/local/sbin/workshop-job" ] || [ "$(cd "$1" && pwd -P)" = / ]; then # see vm/image.sh
    echo "vm/vagrant-box.sh: only for a new image: scripts/vm/vagrant-test.sh" >&2
    exit 1
fi
add_vagrant "$1"
add_network "$1"
add_certificates "$1"
provision "$1"
