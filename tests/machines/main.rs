//! Machines that differ, made with namespaces: on each the ten steps are started, and `cargo workshop doctor` is
//! asked, twice: what it says when it has tried them, and what the files tell it where it cannot. All three have to
//! agree, step by step.

mod machine;

use std::process::ExitCode;
use std::sync::OnceLock;

use classroom::Result;
use classroom::root::variables;
use classroom::trial::{Trial, run_as_root, trial};

use machine::{Machine, Shop};

/// Who uses it.
const ROOT: &str = "";
const SOMEBODY: &str = "setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all";

/// Each with what becomes of the ten steps there: `.` it runs, `s` with sudo, `x` it does not.
const MACHINES: &[Machine] = &[
    Machine {
        name: "root",
        user: ROOT,
        set_up: "",
        steps: "..........",
        says: "Each step was started",
    },
    Machine {
        name: "sudo",
        user: SOMEBODY,
        set_up: "",
        steps: ".sssssss.s",
        says: "Each step was started",
    },
    Machine {
        name: "no_sudo",
        user: SOMEBODY,
        set_up: "for by in sudo doas; do [ ! -e /usr/bin/$by ] || mount --bind /dev/null /usr/bin/$by; done",
        steps: ".xxxxxxx.x", says: "there is no sudo",
    },
    Machine {
        name: "sudo_without_its_bit",
        user: SOMEBODY,
        set_up: "cp /usr/bin/sudo $work/sudo; chmod 755 $work/sudo; mount --bind $work/sudo /usr/bin/sudo",
        steps: ".xxxxxxx.x", says: "--reinstall sudo",
    },
    Machine {
        name: "usr_nosuid",
        user: SOMEBODY,
        set_up: "mount --bind /usr /usr; mount -o remount,bind,nosuid /usr",
        steps: ".xxxxxxx.x", says: "mounted with nosuid",
    },
    Machine {
        name: "no_new_privileges",
        user: "setpriv --no-new-privs --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all",
        set_up: "",
        steps: ".xxxxxxx.x", says: "no new privileges",
    },
    Machine {
        name: "not_in_sudoers",
        user: SOMEBODY,
        set_up: "echo 'Defaults !authenticate' >$work/sudoers",
        steps: ".xxxxxxx.x", says: "ask who looks after this machine",
    },
    Machine {
        name: "no_network_namespaces",
        user: ROOT,
        set_up: "echo 0 >/proc/sys/user/max_net_namespaces",
        steps: ".......xxx", says: "sysctl user.max_net_namespaces",
    },
    Machine {
        name: "no_user_namespaces",
        user: SOMEBODY,
        set_up: "echo 0 >/proc/sys/user/max_user_namespaces",
        steps: ".sssssssxx", says: "sysctl user.max_user_namespaces",
    },
    Machine {
        name: "no_mount_namespaces",
        user: ROOT,
        set_up: "echo 0 >/proc/sys/user/max_mnt_namespaces",
        steps: "......xxxx", says: "sysctl user.max_mnt_namespaces",
    },
    Machine {
        name: "chroot",
        user: "chroot $work/jail",
        set_up: "mkdir $work/jail; cd /; for one in *; do
                [ -d $one ] && [ ! -L $one ] || { cp -a $one $work/jail/; continue; }
                mkdir $work/jail/$one; mount --rbind /$one $work/jail/$one
            done; cd $repo",
        steps: "......xxxx", says: "You are in a chroot",
    },
    Machine {
        name: "masked_proc",
        user: ROOT,
        set_up: "mount --bind /dev/null /proc/cmdline",
        steps: "........xx", says: "Parts of /proc are hidden",
    },
    Machine {
        name: "cgroups_read_only",
        user: ROOT,
        set_up: "cgroups_read_only",
        steps: ".........x", says: "mounted read-only",
    },
    Machine {
        name: "no_cgroups",
        user: ROOT,
        set_up: "mount -t tmpfs none /sys/fs/cgroup",
        steps: ".........x", says: "There are no cgroups with controllers",
    },
    Machine {
        name: "rootfs_noexec",
        user: ROOT,
        set_up: "mount --bind rootfs rootfs; mount -o remount,bind,noexec rootfs",
        steps: "....xxxxxx", says: "(noexec)",
    },
    Machine {
        name: "rootfs_without_a_shell",
        user: ROOT,
        set_up: "for one in / /bin /proc /dev; do mkdir $work/rootfs$one; done; mount --bind $work/rootfs rootfs",
        steps: "....xxxxxx", says: "bin/sh missing",
    },
    Machine {
        name: "rootfs_with_the_least",
        user: ROOT,
        set_up: "cp -a rootfs $work/least; cd $work/least; find bin sbin usr -type l ! -name sh -delete; cd $repo
            mount --bind $work/least rootfs",
        steps: "..........", says: "Each step was started",
    },
    Machine {
        name: "root_of_a_container",
        user: "setpriv --bounding-set=-sys_admin",
        set_up: "",
        steps: ".xxxxxxx..", says: "without CAP_SYS_ADMIN",
    },
    // As `runc spec` has it, but for the rest.
    Machine {
        name: "root_that_may_not_map_root",
        user: "setpriv --bounding-set=-setfcap",
        set_up: "",
        steps: "........xx",
        says: "without CAP_SETFCAP",
    },
    // As Docker has them, but for the filter of system calls.
    Machine {
        name: "container_with_masks",
        user: "setpriv --bounding-set=-sys_admin,-net_admin,-sys_ptrace,-sys_resource,-sys_boot,-sys_module",
        set_up: "mount --bind /dev/null /proc/cmdline; mount -o bind,ro /proc/sys /proc/sys; cgroups_read_only",
        steps: ".xxxxxxxxx",
        says: "without CAP_SYS_ADMIN",
    },
    // The same, for somebody with sudo: root there is no more than root.
    Machine {
        name: "somebody_in_a_container_with_masks",
        user: "setpriv --bounding-set=-sys_admin,-net_admin,-sys_ptrace,-sys_resource,-sys_boot,-sys_module \
               --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all",
        set_up: "mount --bind /dev/null /proc/cmdline; mount -o bind,ro /proc/sys /proc/sys; cgroups_read_only",
        steps: ".xxxxxxxxx",
        says: "Also with sudo you are without CAP_SYS_ADMIN",
    },
    // Root, but of a user namespace with nobody else, as rootless engines have it.
    Machine {
        name: "container_without_root",
        user: "unshare --user --map-root-user --mount --pid --fork --mount-proc --",
        set_up: "cgroups_read_only",
        steps: ".........x",
        says: "mounted read-only",
    },
    Machine {
        name: "bubblewrap",
        user: "bwrap --unshare-all --cap-add ALL --uid 0 --gid 0 --dev-bind / / --proc /proc --",
        set_up: "",
        steps: "........xx",
        says: "Parts of /proc are hidden",
    },
    // As Docker's filter with CAP_SYS_ADMIN, which forbids pivot_root(2): load the number of the call; EPERM if it is
    // that one, else go on.
    Machine {
        name: "system_calls_filtered",
        user: "bwrap --cap-add ALL --dev-bind / / --seccomp 9 9<$work/filter --",
        set_up: r"case $(uname -m) in x86_64) number='\233' ;; aarch64) number='\051' ;; esac
            printf '\40\0\0\0\0\0\0\0' >$work/filter
            printf '\25\0\0\1'$number'\0\0\0' >>$work/filter
            printf '\6\0\0\0\1\0\5\0' >>$work/filter
            printf '\6\0\0\0\0\0\377\177' >>$work/filter",
        steps: "......xxxx",
        says: "A filter of system calls (seccomp)",
    },
    // The group is nobody's in the user namespace, and so root's power over files ends there (capabilities(7)).
    Machine {
        name: "home_closed_to_root",
        user: SOMEBODY,
        set_up: "@unmapped; hostname nowhere.invalid; setpriv --reuid=65534 --clear-groups chmod -R go= $repo",
        steps: ".xxxxxxx.x", says: "root may not read",
    },
];

fn main() -> ExitCode {
    static SHOP: OnceLock<std::result::Result<Shop, String>> = OnceLock::new();
    let test = |machine: &'static Machine| -> Trial {
        trial(machine.name, move || -> Result<()> {
            let shop = SHOP.get_or_init(|| Shop::new().map_err(|err| err.to_string()));
            machine.test(shop.as_ref().map_err(|why| classroom::Error::Missing(why.clone()))?)
        })
    };
    let trials = MACHINES.iter().map(test).collect();
    run_as_root(
        trials,
        |_| true,
        || Ok(variables(&["CARGO", "CARGO_HOME", "CI", "PATH", "ROOTFS"])),
    )
}
