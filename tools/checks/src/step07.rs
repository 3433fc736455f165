//! Step 07: mounts leak and chroots are escaped, unless …

use std::fs;
use std::os::unix::fs::MetadataExt;

use classroom::root::is_root;
use nix::sys::signal::Signal;

use crate::causes::SHARED;
use crate::lab::{Lab, NULL, points};
use crate::step05::need_root;
use crate::step06::need_proc;
use crate::{Cause, Check, Result};

pub const CHECKS: &[Check] = &[
    check! { 7, starts, "starts on a host whose mounts are shared",
        read: "pivot_root(2): EINVAL, mount_namespaces(7)",
        hints: [
            "pivot_root(2) says EINVAL? Its manual page has a list of conditions.",
            "Three steps before it: unshare(CLONE_NEWNS); mount(\"/\", MS_REC | MS_PRIVATE); bind the root filesystem \
             on itself.",
        ],
        lines: ["MS_PRIVATE", "MS_BIND, NONE)", "pivot_root("],
    },
    check! { 7, mounts_private, "shows nothing of its mounts on the host, while it runs",
        read: "mount_namespaces(7)",
        hints: [
            "A mount namespace begins as a copy. But systemd makes all mounts shared: what happens in the copy happens \
             here, too.",
            "unshare(CLONE_NEWNS), and then mount(2) with MS_REC | MS_PRIVATE on \"/\", before the first mount.",
        ],
        lines: ["CLONE_NEWNS", "MS_PRIVATE"],
    },
    check! { 7, nothing_left, "leaves no mount on the host, even if the runner is killed",
        read: "mount_namespaces(7)",
        hints: [
            "Nobody can unmount anything after SIGKILL. Who else does?",
            "A mount namespace goes with its last process, and with it all its mounts.",
        ],
        lines: ["CLONE_NEWNS"],
    },
    check! { 7, no_escape, "cannot be left: the old root is not there any more",
        read: "pivot_root(2), chroot(2), setns(2)",
        hints: [
            "A chroot leaves the old root where it is: root inside can get back to it. Which call really takes it \
             away?",
            "pivot_root(\".\", \".\") makes the new root the root of the mount namespace; umount2(\".\", MNT_DETACH) \
             takes the old one off.",
        ],
        lines: ["pivot_root(", "umount2(\".\""],
    },
    check! { 7, dev, "has a small /dev of its own",
        read: "null(4), full(4), random(4), tty(4)",
        hints: [
            "Which devices does a shell need? `cmd &` opens /dev/null, for one.",
            "A tmpfs on dev; for each device an empty file there, and the host's device mounted on it with MS_BIND, \
             before the old root goes.",
        ],
        lines: ["\"tmpfs\"", "fn lend_device", "MS_BIND, NONE)?", "lend_device(device)"],
    },
    check! { 7, links, "mounts nothing where a link in the root filesystem leads",
        read: "path_resolution(7), mount(2)",
        hints: [
            "A root filesystem may come from anybody. What if its `dev` is a link?",
            "mount(2) follows links. Look first (Path::is_symlink), and at a path that is relative to the new root: \
             \"/dev\" is the host's until pivot_root(2).",
        ],
        lines: ["is_symlink()"],
    },
];

pub const OLD_ROOT: &str = "the old root was not detached: after pivot_root(2) it is still mounted, on top of the new \
    one (or on put_old). Take it off with umount2(…, MNT_DETACH)";
const RUNNER_MOVED: &str = "the runner is in the same mount namespace as the container, and pivot_root(2) has moved it \
    into the new root as well: it finds nothing of the host's any more (in step 10 it is to remove a cgroup there). \
    Call unshare(CLONE_NEWNS) in `child`, not in `run`";
const CHROOT: &str = "the root was changed with chroot(2), which only moves the starting point of path names: root \
    inside can call it once more and climb out. pivot_root(2) exchanges the root mount itself";

fn starts(lab: &Lab) -> Result<()> {
    need_proc(lab)?;
    let held = lab.hold(&[], "")?;
    if let Err(cause) = held.apart("mnt", "CLONE_NEWNS") {
        return Err(held.wrong(
            "the command is in a mount namespace of its own",
            "it is in the host's",
            cause,
        ));
    }
    // pivot_root(2) moves everybody in the mount namespace whose root was the old one.
    if lab.namespace(held.runner, "mnt") == lab.namespace(held.command, "mnt")
        && !lab.proc(held.runner, "root/workshop").exists()
    {
        let expected = "the runner stays outside: it still sees the host's files";
        return Err(held.wrong(
            expected,
            "it is inside, too",
            Cause::about("starts", RUNNER_MOVED),
        ));
    }
    held.release()?;
    Ok(())
}

fn mounts_private(lab: &Lab) -> Result<()> {
    need_proc(lab)?;
    let before = lab.mounts();
    let held = lab.hold(&[], "")?;
    let new = lab.mounts_since(&before);
    if new.is_empty() {
        held.release()?;
        return Ok(());
    }
    let got = format!("it has these more: {}", points(&new));
    let cause = held.why_together("mnt", "CLONE_NEWNS", SHARED);
    Err(held.wrong("while it runs, the host has the same mounts as before", &got, cause))
}

fn nothing_left(lab: &Lab) -> Result<()> {
    need_proc(lab)?;
    let before = lab.mounts();
    let held = lab.hold(&[], "")?;
    lab.soil();
    held.running.signal(Signal::SIGKILL)?;
    let left = lab.mounts_left(&before);
    if left.is_empty() {
        return Ok(());
    }
    let cause = held.why_together("mnt", "CLONE_NEWNS", SHARED);
    let expected = "the runner is killed with SIGKILL: the host has the same mounts as before";
    Err(held.wrong(expected, &format!("this is left on the host: {}", points(&left)), cause))
}

fn no_escape(lab: &Lab) -> Result<()> {
    const EXPECTED: &str = "the host's files are out of reach inside";
    need_root(lab)?;
    let held = lab.hold(&[], "")?;
    // Whoever enters a mount namespace anew, as setns(2) does, stands in its real root: what a chroot only hides.
    let script = format!(
        "nsenter --target {} --mount sh -c 'test -e /workshop && echo outside || echo inside'",
        held.command
    );
    if !lab.host.run(&script)?.stdout.contains("outside") {
        let mounts = lab.mounts_of(held.command);
        let old = mounts
            .iter()
            .map(|mount| &mount.point)
            .find(|point| point.contains("/workshop") || point.ends_with("/usr"));
        let Some(old) = old else {
            held.release()?;
            return Ok(());
        };
        return Err(held.wrong(
            EXPECTED,
            &format!("the old root is still mounted inside, with {old}"),
            OLD_ROOT,
        ));
    }
    if let Err(cause) = held.apart("mnt", "CLONE_NEWNS") {
        return Err(held.wrong(EXPECTED, "inside is the host's own mount namespace", cause));
    }
    // pivot_root(".", ".") puts the old root on top of the new one; a chroot leaves the new one somewhere below.
    let cause = if lab.is_stacked(held.command) { OLD_ROOT } else { CHROOT };
    let expected = "root inside cannot get at the host's files";
    Err(held.wrong(expected, "with setns(2) (or a second chroot) it can", cause))
}

fn dev(lab: &Lab) -> Result<()> {
    need_root(lab)?;
    _ = fs::remove_file(lab.host.path(NULL));
    let script = "for name in null zero full random urandom tty; do if ! test -c /dev/$name; then \
                  if test -e /dev/$name; then echo \"/dev/$name is no device\"; else \
                  echo \"/dev/$name is missing\"; fi; fi; done; \
                  echo x >/dev/null || echo '/dev/null cannot be written'; ";
    let held = lab.hold(&[], script)?;
    lab.soil();
    let mut trouble = held.before.lines().next().unwrap_or_default().to_string();
    let mounts = lab.mounts_of(held.command);
    // To root of another user namespace the kernel forbids it.
    let is_hosts = is_root() && lab.namespace(held.command, "user") == lab.namespace(1, "user");
    let place = |pid: u32| {
        fs::metadata(lab.proc(pid, "root/dev"))
            .map_or((0, 0), |dev| (dev.dev(), dev.mode() & 0o7777))
    };
    let (dev, mode) = place(held.command);
    if dev == place(1).0 {
        let cause = "the host's /dev itself is mounted inside, with all of its devices, and what root changes in there \
                     is changed outside. A namespace is a new table of mounts, and no copy of what is mounted: mount a \
                     tmpfs on dev, and in it the six devices alone";
        let expected = "/dev inside is a file system of the container's own";
        return Err(held.wrong(expected, "it is the host's", cause));
    }
    let names = ["null", "zero", "full", "random", "urandom", "tty"];
    let writable = mounts.iter().find(|mount| {
        names.iter().any(|name| mount.point == format!("/dev/{name}")) && !mount.read_only
    });
    if let (true, Some(mount)) = (trouble.is_empty() && is_hosts, writable) {
        let got = format!("{} can be", mount.point);
        let cause = "a device that is mounted from the host is the host's own: a chmod(1) inside is one outside. Make \
                     each of these mounts read-only (that does not forbid to write to the device): mount(2) once more, \
                     with MS_BIND | MS_REMOUNT | MS_RDONLY. The first call, MS_BIND alone, ignores other flags";
        return Err(held.wrong("the host's devices cannot be changed from inside", &got, cause));
    }
    let on_tmpfs =
        mounts.iter().any(|mount| mount.point.ends_with("/dev") && mount.kind == "tmpfs");
    if on_tmpfs && mode & 0o022 != 0 {
        let cause = "a tmpfs has the mode 1777 unless you say another one, as /tmp has it: everybody may make \
                     files in it. The last argument of mount(2) takes it: \"mode=755\"";
        let got = format!("its mode is {mode:o}");
        return Err(held.wrong("in /dev only root may make files (755)", &got, cause));
    }
    if trouble.is_empty() {
        let kept = lab.host.run("ls rootfs/dev")?.stdout;
        if on_tmpfs || kept.is_empty() {
            held.release()?;
            return Ok(());
        }
        let kept: Vec<&str> = kept.split_whitespace().collect();
        trouble = format!("files in the root filesystem itself: {}", kept.join(" "));
    }
    let cause = if !on_tmpfs {
        "nothing is mounted on /dev, and the root filesystem's is empty: mount a tmpfs there, and in it the host's \
         devices"
    } else if trouble.ends_with("no device") {
        "it is only the empty file that the device should be mounted on: mount(2) the host's device on it with \
         MS_BIND, as long as the old root is there"
    } else {
        "the list of devices is not complete: null, zero, full, random, urandom, tty"
    };
    Err(held.wrong(
        "/dev/null, zero, full, random, urandom and tty are there, and work",
        &trouble,
        cause,
    ))
}

fn links(lab: &Lab) -> Result<()> {
    const LIST: &[&str] =
        &["sh", "-c", "while read -r a place b; do echo $place; done </proc/mounts"];
    need_root(lab)?;
    let done = lab.run(LIST)?;
    if !done.stdout.lines().any(|place| place == "/dev") {
        let cause = "nothing is mounted there";
        return Err(done.wrong("something is mounted on /dev", done.summary(), cause));
    }
    lab.soil();
    for name in ["dev", "proc"] {
        lab.host.run(&format!(
            "mkdir -p rootfs/elsewhere; mv rootfs/{name} rootfs/kept; ln -s elsewhere rootfs/{name}"
        ))?;
        let done = lab.run(LIST)?;
        lab.host.run(&format!("rm rootfs/{name}; mv rootfs/kept rootfs/{name}"))?;
        let Some(place) = done.stdout.lines().find(|place| place.starts_with("/elsewhere")) else {
            continue;
        };
        let cause = format!(
            "mount(2) follows links, and nobody has looked whether `{name}` is one, or has looked at the wrong one: \
             before pivot_root(2) \"/{name}\" is the host's. Path::new(\"{name}\").is_symlink() is the root \
             filesystem's, from the directory that is to be the root"
        );
        let expected =
            format!("the root filesystem's `{name}` is a link to `elsewhere`: the program stops");
        return Err(done.wrong(expected, format!("something is mounted on {place}"), cause));
    }
    Ok(())
}
