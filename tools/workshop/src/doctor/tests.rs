use std::os::unix::fs::{PermissionsExt, symlink};

use tempfile::TempDir;

use super::leftovers::{Leftover, Use};
use super::*;

/// A machine that is a folder: everything is as it should be, for root.
struct Fake {
    dir: TempDir,
    machine: Machine,
}

impl Fake {
    fn new() -> Fake {
        let dir = TempDir::new().unwrap();
        let machine = Machine {
            root: dir.path().to_path_buf(),
            uid: 0,
            path: vec![PathBuf::from("/usr/bin")],
            rootfs: PathBuf::from("/repo/rootfs"),
            target: PathBuf::from("/repo/target"),
            repository: PathBuf::from("/repo"),
            temporary: PathBuf::from("/tmp"),
            arch: "x86_64",
            settled: Duration::ZERO,
        };
        let fake = Fake { dir, machine };
        fake.write("/proc/sys/kernel/osrelease", "6.1.0-13-amd64\n");
        fake.write("/proc/self/status", "Name:\tworkshop\nCapEff:\t000001ffffffffff\n");
        fake.mounts(&["22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw"]);
        for name in ["uts", "mnt", "ipc", "net", "user", "cgroup"] {
            fake.write(&format!("/proc/self/ns/{name}"), "");
        }
        symlink("pid:[4026531836]", fake.path("/proc/self/ns/pid")).unwrap();
        for name in [
            "apt", "git", "unshare", "nsenter", "setpriv", "prlimit", "script", "ip", "ipcmk",
            "ps", "hostname", "strace", "man", "wget", "sudo",
        ] {
            fake.write(&format!("/usr/bin/{name}"), "");
        }
        fake.mode("/usr/bin/sudo", 0o4755);
        fs::create_dir(fake.path("/tmp")).unwrap();
        fake.write("/sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory pids\n");
        fake.write("/sys/fs/cgroup/cgroup.subtree_control", "cpu memory pids\n");
        for name in ["proc/empty", "dev/empty", "bin/busybox"] {
            fake.write(&format!("/repo/rootfs/{name}"), "");
        }
        fake.elf(62);
        symlink("/bin/busybox", fake.path("/repo/rootfs/bin/sh")).unwrap();
        fake
    }

    fn user() -> Fake {
        let mut fake = Fake::new();
        fake.machine.uid = 1000;
        fake
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path.trim_start_matches('/'))
    }

    fn write(&self, path: &str, text: &str) {
        let file = self.path(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    fn mode(&self, path: &str, mode: u32) {
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(mode)).unwrap();
    }

    fn remove(&self, path: &str) {
        let file = self.path(path);
        if file.is_dir() {
            fs::remove_dir_all(file).unwrap()
        } else {
            fs::remove_file(file).unwrap()
        }
    }

    fn mounts(&self, lines: &[&str]) {
        self.write("/proc/self/mountinfo", &(lines.join("\n") + "\n"));
    }

    fn elf(&self, machine: u8) {
        let mut header = [0; 64];
        header[..4].copy_from_slice(b"\x7fELF");
        header[18] = machine;
        fs::write(self.path("/repo/rootfs/bin/busybox"), header).unwrap();
    }

    fn problems(&self) -> Vec<Problem> {
        PROBES.iter().flat_map(|probe| probe(&self.machine)).collect()
    }

    /// The one problem there is: what it is, how to cure it, and what becomes of the ten steps
    /// (`.` ready, `s` ready with sudo, `x` not possible).
    #[track_caller]
    fn only(&self, what: &str, cure: &str, steps: &str) {
        let problems = self.problems();
        let matching: Vec<_> =
            problems.iter().filter(|problem| problem.what.contains(what)).collect();
        assert_eq!(matching.len(), 1, "{what} in {problems:#?}");
        assert!(matching[0].cure.contains(cure), "{cure} in {problems:#?}");
        assert_eq!(self.verdicts(), steps, "{problems:#?}");
    }

    fn left(&self) -> Vec<Leftover> {
        leftovers(&self.machine).found
    }

    fn verdicts(&self) -> String {
        let problems = self.problems();
        let letter = |step| match verdict(&problems, step) {
            Verdict::Ready => '.',
            Verdict::WithSudo => 's',
            Verdict::Impossible => 'x',
        };
        (1..=STEPS).map(letter).collect()
    }
}

#[test]
fn nothing_is_wrong_with_a_good_machine() {
    assert!(Fake::new().problems().is_empty(), "{:#?}", Fake::new().problems());
    assert_eq!(Fake::user().verdicts(), ".sssssss.s");
}

#[test]
fn not_linux() {
    let fake = Fake::new();
    fake.remove("/proc/sys/kernel/osrelease");
    fake.only("not Linux", "vagrant up", "xxxxxxxxxx");
}

#[test]
fn an_old_kernel() {
    let fake = Fake::new();
    fake.write("/proc/sys/kernel/osrelease", "4.19.0-26-amd64\n");
    fake.only("too old: 4.19.0", "vagrant up", ".xxxxxxxxx");
    fake.write("/proc/sys/kernel/osrelease", "5.3.18-59-default\n");
    fake.only("too old: 5.3.18", "vagrant up", ".xxxxxxxxx");
    for new_enough in ["5.4.0-1-amd64\n", "5.10.0\n", "6.1.0-13-amd64\n", "10.0\n"] {
        fake.write("/proc/sys/kernel/osrelease", new_enough);
        assert_eq!(fake.verdicts(), "..........", "{new_enough}");
    }
}

#[test]
fn a_kernel_without_a_namespace() {
    let fake = Fake::new();
    fake.remove("/proc/self/ns/ipc");
    fake.only("without ipc namespaces", "vagrant up", ".......xxx");
}

#[test]
fn neither_root_nor_sudo() {
    let fake = Fake::user();
    fake.remove("/usr/bin/sudo");
    fake.only("there is no sudo", "install sudo", ".xxxxxxx.x");
}

#[test]
fn root_of_a_container() {
    let fake = Fake::new();
    fake.write("/proc/self/status", "CapEff:\t00000000a80425fb\nSeccomp:\t0\n");
    fake.only("without CAP_SYS_ADMIN", "--privileged", ".xxxxxxx..");
    fake.write("/proc/self/status", "CapEff:\t00000000a80425fb\nSeccomp:\t2\n");
    fake.only("without CAP_SYS_ADMIN", "--privileged", ".xxxxxxxxx");
}

/// sudo makes nobody more than root is there.
#[test]
fn somebody_in_a_container() {
    let fake = Fake::user();
    fake.write("/proc/self/status", "CapEff:\t0\nCapBnd:\t00000000a80425fb\nSeccomp:\t0\n");
    fake.only("without CAP_SYS_ADMIN", "--privileged", ".xxxxxxx.s");
    fake.write("/proc/self/status", "CapEff:\t0\nCapBnd:\t00000000a80425fb\nSeccomp:\t2\n");
    fake.only("without CAP_SYS_ADMIN", "--privileged", ".xxxxxxxxx");
}

/// As `runc spec` has it.
#[test]
fn root_that_may_not_map_root() {
    for (mut fake, set, steps) in
        [(Fake::new(), "CapEff", "........xx"), (Fake::user(), "CapBnd", ".sssssss.x")]
    {
        fake.write("/proc/self/status", &format!("{set}:\t000001ff7fffffff\n"));
        fake.only("without CAP_SETFCAP", "--privileged", steps);
        fake.write("/proc/sys/kernel/osrelease", "5.10.0-32-amd64\n");
        fake.machine.uid = 0;
        assert_eq!(fake.verdicts(), "..........");
    }
}

/// Nobody can tell from outside what a filter lets through: it is told where a step has failed, and is no verdict.
#[test]
fn a_filter_of_system_calls() {
    let fake = Fake::new();
    fake.write("/proc/self/status", "CapEff:\t000001ffffffffff\nSeccomp:\t2\n");
    fake.only("A filter of system calls", "seccomp=unconfined", "..........");
}

#[test]
fn each_kind_of_namespace_has_a_limit() {
    for (name, kind, verdicts) in [
        ("uts", "UTS", ".xxxxxxxxx"),
        ("pid", "PID", "...xxxxxxx"),
        ("mnt", "mount", "......xxxx"),
        ("ipc", "IPC", ".......xxx"),
        ("net", "network", ".......xxx"),
        ("user", "user", "........xx"),
        ("cgroup", "cgroup", ".........x"),
    ] {
        let fake = Fake::new();
        let key = format!("max_{name}_namespaces");
        fake.write(&format!("/proc/sys/user/{key}"), "63000\n");
        assert_eq!(fake.verdicts(), "..........");
        fake.write(&format!("/proc/sys/user/{key}"), "0\n");
        fake.only(&format!("No {kind} namespaces"), &format!("sudo sysctl user.{key}="), verdicts);
    }
}

#[test]
fn in_a_chroot_there_is_no_mount_to_pivot() {
    let fake = Fake::new();
    fake.mounts(&["22 1 0:5 / /proc rw shared:1 - proc proc rw"]);
    fake.only("You are in a chroot", "Leave it", "......xxxx");
}

/// That sudo is there is not that it works.
#[test]
fn a_sudo_that_cannot_make_anybody_root() {
    let fake = Fake::user();
    fake.mode("/usr/bin/sudo", 0o755);
    fake.only("has lost its set-user-ID bit", "--reinstall", ".xxxxxxx.x");

    let fake = Fake::user();
    fake.write("/proc/self/status", "CapEff:\t0\nNoNewPrivs:\t1\n");
    fake.only("no new privileges", "another one", ".xxxxxxx.x");

    let fake = Fake::user();
    let root = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw";
    fake.mounts(&[root, "23 22 8:2 / /usr rw,nosuid - ext4 /dev/sda2 rw"]);
    fake.only("nosuid", "remount,suid", ".xxxxxxx.x");
}

#[test]
fn doas_is_as_good_as_sudo() {
    let fake = Fake::user();
    fake.remove("/usr/bin/sudo");
    fake.write("/usr/bin/doas", "");
    assert_eq!(fake.verdicts(), ".sssssss.s");
}

#[test]
fn no_folder_for_temporary_files() {
    let fake = Fake::new();
    fake.remove("/tmp");
    fake.only("Nothing can be written in /tmp", "TMPDIR", "..........");
}

#[test]
fn user_namespaces_for_root_only() {
    let fake = Fake::user();
    fake.write("/proc/sys/kernel/unprivileged_userns_clone", "0\n");
    fake.only("only for root", "sudo sysctl kernel.unprivileged_userns_clone=1", ".sssssssxs");
}

#[test]
fn apparmor() {
    let fake = Fake::user();
    fake.write("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1\n");
    fake.only(
        "AppArmor",
        "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0",
        ".sssssssxs",
    );
}

#[test]
fn cgroup_v1_is_as_good() {
    let fake = Fake::new();
    fake.remove("/sys/fs/cgroup");
    for name in ["pids", "memory", "cpu"] {
        fake.write(&format!("/sys/fs/cgroup/{name}/tasks"), "");
    }
    assert_eq!(fake.verdicts(), "..........");
}

#[test]
fn no_cgroups() {
    let fake = Fake::new();
    fake.remove("/sys/fs/cgroup");
    fake.only("no cgroups", "vagrant up", ".........x");
}

#[test]
fn a_controller_is_missing() {
    let fake = Fake::new();
    fake.write("/sys/fs/cgroup/cgroup.controllers", "cpu pids\n");
    fake.only("no cgroup controller for: memory.", "cgroup_enable=memory", ".........x");
}

#[test]
fn controllers_that_are_not_handed_on() {
    let fake = Fake::new();
    fake.write("/sys/fs/cgroup/cgroup.subtree_control", "cpu\n");
    fake.only(
        "hand on its controllers: pids, memory",
        "echo '+pids +memory' | sudo tee",
        ".........x",
    );
    // In a container, where that would be refused: its processes are in the way (EBUSY).
    fake.write("/sys/fs/cgroup/cgroup.type", "domain\n");
    fake.only("pids, memory", "2>/dev/null; done; echo +pids +memory >", ".........x");
}

#[test]
fn read_only_cgroups() {
    let fake = Fake::new();
    fake.mounts(&[
        "22 1 8:1 / / rw shared:1 - ext4 a rw",
        "30 22 0:1 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw",
    ]);
    fake.only("read-only", "vagrant up", ".........x");
}

#[test]
fn private_mounts_are_worth_a_word() {
    let fake = Fake::new();
    fake.mounts(&["22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw"]);
    fake.only("private, not shared", "mount --make-rshared /", "..........");
}

#[test]
fn a_masked_proc() {
    let fake = Fake::new();
    let root = "22 1 8:1 / / rw shared:1 - ext4 a rw";
    fake.mounts(&[root, "40 22 0:9 / /proc/sys/fs/binfmt_misc rw - autofs systemd-1 rw"]);
    assert_eq!(fake.verdicts(), "..........");
    fake.mounts(&[root, "41 22 0:9 / /proc/kcore rw - tmpfs tmpfs rw"]);
    fake.only("hidden (/proc/kcore)", "systempaths=unconfined", "........xx");
}

#[test]
fn no_root_filesystem() {
    let fake = Fake::new();
    fake.remove("/repo/rootfs");
    fake.only("no root filesystem", "./rootfs-fetch.sh", "..........");
}

#[test]
fn half_a_root_filesystem() {
    let fake = Fake::new();
    fake.remove("/repo/rootfs/proc");
    fake.only("not complete: proc missing", "./rootfs-fetch.sh", "....xxxxxx");
}

#[test]
fn a_root_filesystem_for_another_processor() {
    let fake = Fake::new();
    fake.elf(183);
    fake.only(
        "is for aarch64, and this machine is x86_64",
        "./rootfs-fetch.sh --force",
        "....xxxxxx",
    );
}

#[test]
fn a_root_filesystem_on_a_shared_folder() {
    let fake = Fake::new();
    fake.mounts(&[
        "22 1 8:1 / / rw shared:1 - ext4 a rw",
        "50 22 0:40 / /repo rw - vboxsf repo rw",
    ]);
    fake.only("shared folder (vboxsf)", "export ROOTFS=", "....xxxxxx");
    fake.mounts(&[
        "22 1 8:1 / / rw shared:1 - ext4 a rw",
        "50 22 0:40 / /repo rw,noexec - ext4 b rw",
    ]);
    fake.only("noexec", "export ROOTFS=", "....xxxxxx");
}

/// As provision.sh does it: the folder is shared, what is mounted on it is the machine's own.
#[test]
fn a_root_filesystem_mounted_over_a_shared_folder() {
    let fake = Fake::new();
    let mounts = [
        "22 1 8:1 / / rw shared:1 - ext4 a rw",
        "50 22 0:40 / /repo rw - vboxsf repo rw",
        "51 50 8:1 /var/lib/workshop/rootfs /repo/rootfs rw - ext4 a rw",
    ];
    fake.mounts(&mounts);
    assert_eq!(fake.verdicts(), "..........", "{:#?}", fake.problems());
    assert_eq!(fake.left(), []);
    // Left by a step 07 that forgot to make its mounts private.
    fake.mounts(
        &[&mounts[..], &["52 51 8:1 /var/lib/workshop/rootfs /repo/rootfs rw - ext4 a rw"]]
            .concat(),
    );
    assert_eq!(fake.left(), [Leftover::Mount(PathBuf::from("/repo/rootfs"))]);
}

#[test]
fn a_root_filesystem_mounted_on_itself_is_left_over() {
    let fake = Fake::new();
    fake.mounts(&[
        "22 1 8:1 /volume / rw shared:1 - ext4 a rw",
        "50 22 8:1 /volume/repo/rootfs /repo/rootfs rw shared:1 - ext4 a rw",
    ]);
    assert_eq!(fake.left(), [Leftover::Mount(PathBuf::from("/repo/rootfs"))]);
}

#[test]
fn missing_programs_are_worth_a_word() {
    let fake = Fake::new();
    fake.remove("/usr/bin/git");
    fake.only("missing: git (for", "sudo apt install git", "..........");
    // One of the two is enough.
    fake.remove("/usr/bin/wget");
    fake.only("curl or wget", "sudo apt install git curl", "..........");
    fake.write("/usr/bin/curl", "");
    fake.only("missing: git (for", "sudo apt install git", "..........");
}

#[test]
fn files_of_root_s_in_the_learner_s_tree() {
    for (file, what, steps) in [
        ("target/debug/build/x", "cargo cannot build", "xxxxxxxxxx"),
        ("my-container/saved/1-before-step-05", "catch-up cannot write", ".........."),
        (".git/index", "git cannot write", ".........."),
    ] {
        let fake = Fake::new();
        fake.write(&format!("/repo/{file}"), "");
        let mine = fs::metadata(fake.path("/repo")).unwrap().uid();
        assert_eq!(fake.verdicts(), "..........");
        let fake = Fake { machine: Machine { uid: mine + 1, ..fake.machine }, dir: fake.dir };
        let folder = file.split('/').next().unwrap();
        let cure = format!("\"$(id -u):$(id -g)\" /repo/{folder}");
        let problems = of_root(&fake.machine);
        assert!(
            problems[0].what.contains(what) && problems[0].cure.contains(&cure),
            "{problems:?}"
        );
        let verdicts = (1..=STEPS).map(|step| match verdict(&problems, step) {
            Verdict::Ready => '.',
            _ => 'x',
        });
        assert_eq!(verdicts.collect::<String>(), steps, "{file}");
    }
}

#[test]
fn leftover_mounts_come_last_first_and_unescaped() {
    let mut fake = Fake::new();
    fake.machine.rootfs = PathBuf::from("/my repo/rootfs");
    fake.mounts(&[
        "22 1 8:1 / / rw shared:1 - ext4 a rw",
        "50 22 0:40 / /my\\040repo/rootfs/proc rw - proc proc rw",
        "51 22 0:41 / /my\\040repo/rootfs/dev rw - tmpfs dev rw",
        "52 22 0:42 / /my\\040repo/rootfs-of-mine/proc rw - proc proc rw",
    ]);
    let expected = ["/my repo/rootfs/dev", "/my repo/rootfs/proc"]
        .map(|path| Leftover::Mount(PathBuf::from(path)));
    assert_eq!(fake.left(), expected);
    let lines = leftovers(&fake.machine).lines(&fake.machine);
    assert_eq!(lines[0], "umount -- '/my repo/rootfs/dev'");
}

#[test]
fn mounts_of_a_running_container_are_not_left_over() {
    let fake = Fake::new();
    fake.mounts(&["50 22 0:40 / /repo/rootfs/proc rw - proc proc rw"]);
    assert_eq!(fake.left().len(), 1);
    fs::create_dir_all(fake.path("/proc/4711")).unwrap();
    symlink("/repo/rootfs", fake.path("/proc/4711/root")).unwrap();
    assert_eq!(fake.left(), []);
}

/// What an ordinary user is not told is not "nobody".
#[test]
fn whether_mounts_are_in_use_only_root_knows() {
    let mut fake = Fake::user();
    fake.mounts(&["50 22 0:40 / /repo/rootfs/proc rw - proc proc rw"]);
    fake.write("/proc/4711/cmdline", ""); // and no root that could be read
    let left = leftovers(&fake.machine);
    assert_eq!(left.used, Use::Unknown);
    assert!(left.is_uncertain());
    assert_eq!(
        left.lines(&fake.machine),
        Vec::<String>::new(),
        "a line with umount would be typed"
    );
    fake.machine.uid = 0;
    assert_eq!(leftovers(&fake.machine).used, Use::Free);
    symlink("/repo/rootfs/home", fake.path("/proc/4711/root")).unwrap();
    assert_eq!(leftovers(&fake.machine).used, Use::By("4711".into()));
    assert_eq!(fake.left(), []);
}

/// It has pivoted: in its mount namespace the root filesystem is `/`, and its mounts may be shared with the machine's.
#[test]
fn a_container_with_mounts_of_its_own_uses_them_too() {
    let fake = Fake::new();
    fake.mounts(&["50 22 0:40 / /repo/rootfs/proc rw shared:7 - proc proc rw"]);
    assert_eq!(fake.left().len(), 1);
    fs::create_dir_all(fake.path("/proc/4711")).unwrap();
    symlink(fake.path("/repo/rootfs"), fake.path("/proc/4711/root")).unwrap();
    assert_eq!(fake.left(), []);
}

/// Step 07 without MS_PRIVATE. What is mounted in the lid has the mount points of the machine's own.
#[test]
fn the_root_filesystem_over_the_root_directory() {
    let fake = Fake::new();
    let root = "22 1 8:1 /sub / rw shared:1 - ext4 a rw";
    let proc = "40 22 0:9 / /proc rw shared:2 - proc proc rw";
    let lid = "50 22 8:1 /sub/repo/rootfs / rw shared:1 - ext4 a rw";
    let inside = "51 50 0:8 / /proc rw shared:3 - proc proc rw";
    let deep = "52 51 0:7 / /proc/kcore rw shared:4 - tmpfs none rw";
    fake.mounts(&[root, proc, lid, inside, deep]);
    fake.only("root filesystem lies over /", "doctor --fix", "........xx");
    assert_eq!(fake.problems().len(), 1, "{:#?}", fake.problems());
    assert_eq!(fake.left(), [Leftover::Lid]);
    let shown = "sh -c '[ /.. -ef \"$1\" ] && umount -c -l /..' sh /repo/rootfs";
    assert_eq!(leftovers(&fake.machine).lines(&fake.machine), [shown]);
    // One on the other, in any order of the lines.
    fake.mounts(&[
        root,
        "60 70 8:1 /sub/repo/rootfs / rw - ext4 a rw",
        lid,
        "70 50 8:1 /sub/repo/rootfs / rw - ext4 a rw",
    ]);
    assert_eq!(fake.left(), [Leftover::Lid, Leftover::Lid, Leftover::Lid]);
    // Under something that is not ours.
    fake.mounts(&[root, lid, "70 50 8:1 /sub/repo / rw - ext4 a rw"]);
    fake.only("A folder lies over /, like a lid: /sub/repo of 8:1", "ls /..", "........xx");
    assert_eq!(fake.left(), []);
    // The same folder of another file system.
    fake.mounts(&[root, "50 22 8:2 /sub/repo/rootfs / rw - ext4 b rw"]);
    assert_eq!(fake.left(), []);
}

/// It has a file system of its own (provision.sh).
#[test]
fn the_root_filesystem_of_another_disk_over_the_root_directory() {
    let fake = Fake::new();
    fake.mounts(&[
        "22 1 8:1 / / rw shared:1 - ext4 a rw",
        "30 22 8:2 /disk /repo/rootfs rw shared:2 - ext4 b rw",
        "50 22 8:2 /disk / rw shared:2 - ext4 b rw",
    ]);
    assert_eq!(fake.left(), [Leftover::Lid]);
}

/// A machine that runs from its first file system, which is mounted on itself.
#[test]
fn the_root_itself_is_no_lid() {
    let fake = Fake::new();
    for line in ["1 1 0:2 / / rw - rootfs rootfs rw", "1 0 0:2 / / rw - rootfs rootfs rw"] {
        fake.mounts(&[line, "22 1 0:3 / /proc rw - proc proc rw"]);
        assert_eq!(fake.machine.mounts().len(), 2);
        assert_eq!(fake.left(), []);
    }
}

#[test]
fn whether_a_lid_is_in_use_only_root_knows() {
    let fake = Fake::user();
    fake.mounts(&[
        "22 1 8:1 / / rw shared:1 - ext4 a rw",
        "50 22 8:1 /repo/rootfs / rw shared:1 - ext4 a rw",
    ]);
    let left = leftovers(&fake.machine);
    assert!(left.is_uncertain());
    assert_eq!(left.lines(&fake.machine), Vec::<String>::new());
}

#[test]
fn leftover_cgroups_are_empty_named_by_step_10_and_not_brand_new() {
    let mut fake = Fake::new();
    fake.write("/sys/fs/cgroup/step10-7-1/cgroup.procs", "");
    fake.write("/sys/fs/cgroup/step10-8-1/cgroup.procs", "4711\n");
    fake.write("/sys/fs/cgroup/user.slice/cgroup.procs", "");
    fake.write("/sys/fs/cgroup/step10-of-mine/cgroup.procs", "");
    assert_eq!(fake.left(), [Leftover::Cgroup(PathBuf::from("/sys/fs/cgroup/step10-7-1"))]);
    assert_eq!(leftovers(&fake.machine).young, 0);
    fake.machine.settled = Duration::from_secs(1000);
    assert_eq!(fake.left(), []);
    assert_eq!(leftovers(&fake.machine).young, 1);
}

#[test]
fn leftover_cgroups_are_looked_for_in_all_trees_of_version_1() {
    let fake = Fake::new();
    fake.remove("/sys/fs/cgroup");
    let found = [
        "/sys/fs/cgroup/cpu,cpuacct/step10-7-1",
        "/sys/fs/cgroup/freezer/hold-4711-0",
        "/sys/fs/cgroup/unified/step10-7-1",
    ];
    for path in found {
        fake.write(&format!("{path}/cgroup.procs"), "");
    }
    symlink("cpu,cpuacct", fake.path("/sys/fs/cgroup/cpu")).unwrap();
    assert_eq!(fake.left(), found.map(|path| Leftover::Cgroup(PathBuf::from(path))));
}

#[test]
fn cgroups_of_tests_are_left_over_when_the_test_is_gone() {
    let fake = Fake::new();
    fake.write("/sys/fs/cgroup/classroom-4711-0/cgroup.procs", "");
    fake.write("/sys/fs/cgroup/classroom-4711-0/step10-8-1/cgroup.procs", "");
    fake.write("/sys/fs/cgroup/hold-4712-0/cgroup.procs", "");
    fake.write("/sys/fs/cgroup/classroom-of-mine/cgroup.procs", "");
    fake.write("/proc/4712/cmdline", "");
    let found = Leftover::Cgroup(PathBuf::from("/sys/fs/cgroup/classroom-4711-0"));
    assert_eq!(fake.left(), [found]);
    fake.write("/sys/fs/cgroup/classroom-4711-0/step10-8-1/cgroup.procs", "4713\n");
    assert_eq!(fake.left(), []);
}

/// In a container the numbers of processes are others, and most cannot be seen.
#[test]
fn in_a_container_nobody_knows_whose_a_cgroup_of_a_test_is() {
    let fake = Fake::new();
    fake.write("/sys/fs/cgroup/classroom-4711-0/cgroup.procs", "");
    assert_eq!(fake.left().len(), 1);
    fake.remove("/proc/self/ns/pid");
    symlink("pid:[4026532222]", fake.path("/proc/self/ns/pid")).unwrap();
    assert_eq!(fake.left(), []);
}

/// Only with what a test has put there, and nothing of anybody's.
#[test]
fn folders_of_tests_are_left_over_when_the_test_is_gone() {
    let fake = Fake::new();
    for name in ["classroom-4711-0", "classroom-4712-0", "classroom-4713-0", "classroom-4714-0"] {
        fake.write(&format!("/tmp/{name}/fstab"), "");
        fs::create_dir(fake.path(&format!("/tmp/{name}/root"))).unwrap();
    }
    fake.write("/proc/4712/cmdline", "");
    fake.write("/tmp/classroom-4713-0/thesis", "");
    fake.write("/tmp/classroom-4714-0/root/thesis", "");
    assert_eq!(fake.left(), [Leftover::Place(PathBuf::from("/tmp/classroom-4711-0"))]);
}

#[test]
fn half_a_root_filesystem_is_left_over() {
    let fake = Fake::new();
    fake.write("/repo/.rootfs.tmp.xYz123/.rootfs-fetch", "");
    fake.write("/repo/.rootfs.tmp.of-mine/.rootfs-fetch", "");
    fake.write("/repo/.rootfs.tmp.backup/thesis", "");
    let left = leftovers(&fake.machine);
    assert_eq!(left.found, [Leftover::Half(PathBuf::from("/repo/.rootfs.tmp.xYz123"))]);
    assert_eq!(left.lines(&fake.machine), ["/repo/rootfs-fetch.sh --clean"]);
}
