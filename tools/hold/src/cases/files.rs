//! The root file system, and the host's behind it.

use classroom::{Error, output};

use crate::lab::{Lab, Options};
use crate::{Case, Outcome, hold, only_root, same};

const GROUP: &str = "file system";

pub const CASES: &[Case] = &[
    case!(5, dot_dot, "`cd ../../..` ends at the container's /"),
    case!(
        7,
        double_chroot,
        "a second chroot, with the working directory outside it, is no way out"
    ),
    case!(7, proc_root, "/proc/1/root and /proc/1/cwd are the container's own"),
    case!(7, unmounting, "whatever is unmounted inside, nothing of the host comes to light"),
    case!(7, bind_root, "the root mounted again elsewhere is still the container's"),
    case!(5, symlink_to_host, "an absolute symbolic link in the rootfs stays inside"),
    case!(7, proc_is_a_symlink, "/proc of the rootfs is a symbolic link: 125 (CVE-2019-19921)"),
    case!(7, dev_is_a_symlink, "/dev of the rootfs is a symbolic link to the host's: 125"),
    case!(5, rootfs_is_a_symlink, "the rootfs is a symbolic link to a directory: it works"),
    case!(7, rootfs_root, "the rootfs is /: it works, and the host keeps its mounts"),
    case!(7, rootfs_mounted, "the rootfs is a mount of its own"),
    case!(7, rootfs_readonly, "a read-only rootfs: the command runs, and cannot write"),
    case!(5, deleted_directory, "the caller's working directory has been deleted"),
    case!(7, mounts_invisible, "a mount made inside is not seen on the host, and gone afterwards"),
    case!(7, mounts_stay_out, "a mount made later on the host is not seen inside"),
    case!(7, host_mounts_gone, "no mount of the host is in /proc/self/mountinfo"),
    case!(7, dev_null, "an empty /dev in the rootfs: null, zero, full, random and urandom work"),
    case!(7, dev_null_not_created, "nothing is written to the rootfs' own /dev"),
    case!(7, background, "`command &` works: it needs /dev/null"),
    case!(7, dev_chmod, "chmod of /dev/null inside does not change the host's"),
    case!(9, mknod, "a device node cannot be made and read"),
    case!(9, mount_disk, "a block device cannot be mounted"),
    case!(9, loop_device, "no loop device can be set up"),
    case!(
        7,
        hostile_node,
        "a device node that lies in the rootfs cannot be opened",
        "guide: a device file in the image"
    ),
    case!(7, fresh, "what a command writes is gone at the next start", "exercise 07-overlay"),
    case!(
        7,
        dev_links,
        "/dev/stdin, /dev/stdout, /dev/stderr and /dev/fd are there",
        "guide: and besides (/dev)"
    ),
    case!(7, dev_shm, "/dev/shm is there and writable", "guide: and besides (/dev)"),
    case!(7, dev_ptmx, "a new pseudo-terminal can be opened", "guide: and besides (/dev)"),
];

/// Whether the host's root, which has a /workshop, has been listed.
fn outside(out: &classroom::Output) -> Outcome {
    hold(!out.stdout.contains("workshop"), || "the host's root is listed".into())
}

fn dot_dot(lab: &Lab) -> Outcome {
    let out = lab.run("cd ../../../..; ls; ls ..; ls /..; ls /../..")?;
    hold(out.stdout.contains("proc\n"), || out.stderr.clone())?;
    outside(&out)
}

/// The classic: what is open (here the working directory) stays, when the root moves below it.
fn double_chroot(lab: &Lab) -> Outcome {
    lab.host.run(
        "mkdir rootfs/x; cp -a rootfs/bin rootfs/lib* rootfs/sbin rootfs/x; \
        cp -a rootfs/usr rootfs/x",
    )?;
    let escape = "chroot /x sh -c 'cd ../../../..; ls; ls ../../../..'; \
        nsenter --root=/x --wd=/ sh -c 'cd ../../../..; ls; chroot . ls; chroot ../../.. ls'";
    outside(&lab.run(escape)?)
}

fn proc_root(lab: &Lab) -> Outcome {
    let out = lab.run(
        "ls /proc/1/root/ /proc/1/cwd/ /proc/1/cwd/.. /proc/1/root/../.. \
        /proc/self/cwd/../..; ls /proc/1/task/1/root/.. /proc/1/fd/*/",
    )?;
    outside(&out)
}

fn unmounting(lab: &Lab) -> Outcome {
    let out = lab.run(
        "cd /; umount /dev/null /dev/tty; umount /dev; umount /proc; umount -l /; \
        umount -l .; umount -l /; cd ..; ls; ls /; ls ..",
    )?;
    outside(&out)
}

fn bind_root(lab: &Lab) -> Outcome {
    let out = lab.run(
        "mkdir -p /y; mount --rbind / /y; ls /y /y/..; cd /y/..; ls ..; \
        mount --move /y /mnt; ls /mnt/..",
    )?;
    outside(&out)
}

fn symlink_to_host(lab: &Lab) -> Outcome {
    lab.host.run("echo the host's >/secret; ln -s /secret rootfs/link; ln -s / rootfs/top")?;
    let out = lab.run("cat /link; ls /top/")?;
    hold(!out.stdout.contains("the host's"), || "the host's file is read".into())?;
    outside(&out)
}

fn symlinked(lab: &Lab, dir: &str, to: &str) -> Outcome {
    lab.host.run(&format!("rm -rf rootfs/{dir}; ln -s {to} rootfs/{dir}"))?;
    let list = || Ok::<_, Error>(lab.host.run(&format!("ls {to} | grep -v '^[0-9]*$'"))?.stdout);
    let before = list()?;
    let out = lab.run("echo started")?;
    same("the host's directory", list()?, before)?;
    lab.nothing_is_left()?;
    if lab.only_steps().is_ok() {
        same("status", out.status, 125)?;
        hold(out.stderr.contains(dir), || out.stderr)?;
    }
    Ok(())
}

fn proc_is_a_symlink(lab: &Lab) -> Outcome {
    symlinked(lab, "proc", "/tmp")?;
    symlinked(lab, "proc", "/proc")?;
    symlinked(lab, "proc", "tmp")
}

fn dev_is_a_symlink(lab: &Lab) -> Outcome {
    lab.own_devices()?;
    symlinked(lab, "dev", "/dev")?;
    symlinked(lab, "dev", "../../dev")?;
    symlinked(lab, "dev", "tmp")
}

fn rootfs_is_a_symlink(lab: &Lab) -> Outcome {
    lab.host.run("ln -s rootfs link")?;
    same("status", lab.run_with(&Options::rootfs("link"), "exit 7")?.status, 7)
}

fn rootfs_root(lab: &Lab) -> Outcome {
    let out = lab.run_with(&Options::rootfs("/"), "test -d /workshop && exit 7")?;
    lab.nothing_is_left()?;
    same("status", out.status, 7)
}

fn rootfs_mounted(lab: &Lab) -> Outcome {
    lab.host.run("mkdir m; mount --bind rootfs m")?;
    let out = lab.run_with(&Options::rootfs("m"), "exit 7")?;
    let again = lab.run_with(&Options::rootfs("m"), "exit 8")?;
    lab.host.run("umount m")?;
    same("statuses", (out.status, again.status), (7, 8))
}

fn rootfs_readonly(lab: &Lab) -> Outcome {
    lab.host.run("mkdir m; mount --bind rootfs m; mount -o remount,bind,ro m")?;
    let out = lab.run_with(&Options::rootfs("m"), "echo x >/new; echo y >/etc/new; exit 7")?;
    let new = lab.host.run("ls rootfs/new rootfs/etc/new")?.stdout;
    lab.host.run("umount m")?;
    same("written", new.as_str(), "")?;
    hold(out.status == 7, || format!("status {}: {}", out.status, out.stderr))
}

fn deleted_directory(lab: &Lab) -> Outcome {
    let argv = lab.with(&Options::rootfs("/workshop/rootfs"), &["sh", "-c", "pwd; exit 7"])?;
    let argv = crate::lab::around("mkdir d; cd d; rmdir ../d; exec \"$@\"", argv);
    let out = output(&mut lab.host.command(argv))?;
    hold((out.stdout.as_str(), out.status) == ("/\n", 7), || format!("{out:?}"))
}

fn mounts_invisible(lab: &Lab) -> Outcome {
    let script = "mount -t tmpfs hidden /mnt; mount -t tmpfs hidden /tmp; \
        mount --make-rshared /; mount -t tmpfs hidden /media; echo ready; read x; exit 7";
    let running = lab.start(script)?;
    let seen = lab.host.read("/proc/1/mountinfo")?;
    let status = running.finish()?.status;
    hold(!seen.contains("hidden"), || "the host sees it".into())?;
    same("status", status, 7)
}

fn mounts_stay_out(lab: &Lab) -> Outcome {
    let mut running = lab.start("echo ready; read x; cat /proc/self/mountinfo; ls /mnt")?;
    lab.host.run("mount -t tmpfs later rootfs/mnt; mkdir rootfs/mnt/of-the-host")?;
    running.session.send("go on\n")?;
    let out = running.finish()?;
    lab.host.run("umount rootfs/mnt")?;
    hold(!out.stdout.contains("later") && !out.stdout.contains("of-the-host"), || out.stdout)
}

fn host_mounts_gone(lab: &Lab) -> Outcome {
    lab.host.run("mkdir /of-the-host; mount -t tmpfs of-the-host /of-the-host")?;
    let out = lab.run("cat /proc/self/mountinfo")?;
    lab.host.run("umount /of-the-host")?;
    hold(!out.stdout.contains("/of-the-host"), || out.stdout)
}

fn dev_null(lab: &Lab) -> Outcome {
    let script = "cd /dev; echo x >null && test -c null && test -z \"$(cat null)\" && \
        test $(head -c 5 zero | wc -c) = 5 && test $(head -c 5 urandom | wc -c) = 5 && \
        test $(head -c 5 random | wc -c) = 5 && ! echo x >full && exit 7";
    let out = lab.run(script)?;
    hold(out.status == 7, || format!("status {}: {}", out.status, out.stderr))
}

fn dev_null_not_created(lab: &Lab) -> Outcome {
    let before = lab.host.run("ls -A rootfs/dev")?.stdout;
    lab.run("echo x >/dev/null; echo y >/dev/new")?;
    same("rootfs/dev", lab.host.run("ls -A rootfs/dev")?.stdout, before)
}

fn background(lab: &Lab) -> Outcome {
    let out = lab.run("cat & wait $!; echo $?")?;
    same("outcome", out.stdout.as_str(), "0\n")
}

fn dev_chmod(lab: &Lab) -> Outcome {
    lab.own_devices()?;
    lab.run("chmod 600 /dev/null; chown 0:0 /dev/null; touch -d 2001-01-01 /dev/zero; exit 0")?;
    let now = lab.host.run("stat -c %a /dev/null; stat -c %y /dev/zero")?.stdout;
    hold(now.starts_with("666\n") && !now.contains("2001"), || now)
}

/// The loop devices' number (7): there may be none behind it, but a node that opens says ENXIO, not
/// EPERM or EACCES.
fn mknod(lab: &Lab) -> Outcome {
    let out = lab.run(
        "for dir in / /dev /tmp; do cd $dir; mknod disk b 7 0; mknod kmsg c 1 11; \
        mknod zero2 c 1 5; head -c 1 zero2 | wc -c; done 2>/dev/null; ls /disk /dev/disk /tmp/disk",
    )?;
    let read = out.stdout.lines().any(|line| line.trim() == "1");
    hold(!read && !out.stdout.contains("disk"), || "a node was made".into())
}

fn mount_disk(lab: &Lab) -> Outcome {
    let out = lab.run("mknod /disk b 7 0; mount -t ext4 /disk /mnt; echo $?")?;
    hold(out.stdout != "0\n", || "it was mounted".into())
}

fn loop_device(lab: &Lab) -> Outcome {
    let out = lab.run(
        "test -e /dev/loop-control && exit 1; mknod /l c 10 237 && head -c 1 /l && exit 1; exit 7",
    )?;
    same("status", out.status, 7)
}

fn hostile_node(lab: &Lab) -> Outcome {
    only_root("only root can make device nodes")?;
    // /dev/zero's number, as a stand-in for a disk's: that it opens is enough.
    lab.set_up("mknod -m 666 rootfs/zero2 c 1 5")?;
    let out = lab.run("head -c 1 /zero2 | wc -c")?;
    hold(out.stdout.trim() == "0", || "it opens".into())
}

fn fresh(lab: &Lab) -> Outcome {
    lab.run("echo x >/new")?;
    hold(lab.run("test ! -e /new")?.status == 0, || "it is still there".into())
}

fn dev_links(lab: &Lab) -> Outcome {
    let out = lab.run(
        "echo out >/dev/stdout && echo err >/dev/stderr && \
        echo x | cat /dev/stdin && test -e /dev/fd/0 && test ! -f /dev/stdout && exit 7",
    )?;
    hold(out.status == 7, || out.stderr)
}

fn dev_shm(lab: &Lab) -> Outcome {
    let out = lab.run("echo x >/dev/shm/x && exit 7")?;
    hold(out.status == 7, || out.stderr)
}

fn dev_ptmx(lab: &Lab) -> Outcome {
    let out = lab.run(": <>/dev/ptmx && ls /dev/pts/0 && exit 7")?;
    // The terminal is gone when the descriptor is closed; /dev/pts has to be there.
    let there = lab.run("test -c /dev/ptmx && test -d /dev/pts && exit 7")?;
    hold(out.status == 7 || there.status == 7, || out.stderr)
}
