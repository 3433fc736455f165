//! Root directories and mounts.

use super::Explains::{All, Checks};
use super::{Case, Row, counted, said, seen};
use crate::lab::Call;

/// Why what is mounted inside shows outside.
pub const SHARED: &str = "the command has a mount namespace of its own, but its mounts are still shared with the \
    host's: what is mounted in one appears in the other. Make them private right after unshare(CLONE_NEWNS): mount(2) \
    on \"/\" with MS_REC | MS_PRIVATE";
/// Why /proc is not in the root filesystem.
pub const PROC_ON_HOST: &str = "proc was mounted on the host's /proc: mount(2) was called before chroot(2), when \
    \"/proc\" was still the host's. Mount after the root has changed (or on the proc folder of the root filesystem)";

const PIVOT: &[&str] = &["EINVAL", "EBUSY"];

pub const ROWS: &[Row] = &[
    // --- pivot_root(2): one errno for many mistakes ---
    seen(
        "starts",
        |it| it.failed("pivot_root", PIVOT) && !has_mount_namespace(it),
        "your program was still in the host's mount namespace when it called pivot_root(2): call unshare(CLONE_NEWNS) \
         in `child`, before the first mount(2)",
    ),
    seen(
        "starts",
        |it| {
            it.failed("pivot_root", PIVOT)
                && has_mount_namespace(it)
                && private(it).is_none()
                && !is_swapped(it)
        },
        "EINVAL: the mount that the new root lies on is shared, and pivot_root(2) refuses that. Make all mounts \
         private: mount(2) on \"/\" with MS_REC | MS_PRIVATE, in the new mount namespace, before the first mount. \
         (That is a call of its own: beside MS_BIND the flag is ignored.)",
    ),
    seen(
        "starts",
        |it| it.failed("pivot_root", PIVOT) && private(it).is_some_and(|call| !call.has("MS_REC")),
        "EINVAL: the mount that the new root lies on is still shared, and pivot_root(2) refuses that. MS_PRIVATE alone \
         concerns only the mount on \"/\" itself: MS_REC | MS_PRIVATE makes all of them private",
    ),
    seen(
        "starts",
        |it| not_taken(it) && bind(it).is_none(),
        "EINVAL or EBUSY: pivot_root(2) wants a mount point as the new root, and the root filesystem is just a \
         directory. Mount it first (MS_BIND), on \"/\" or on itself",
    ),
    seen(
        "starts",
        |it| not_taken(it) && bind(it).is_some() && called(it, "chroot"),
        "to pivot_root(2) the new root is the old one, or none: chroot(2) was called before it. It is no help here; \
         chdir(2) to the new root is enough",
    ),
    seen("starts", |it| not_taken(it) && entered(it) == Some(Entered::Below), BELOW),
    seen(
        "starts",
        |it| not_taken(it) && entered(it) == Some(Entered::Folder),
        "EINVAL or EBUSY: the working directory is the folder that the root filesystem lies in, and not the mount. The \
         mount lies over \"/\", and no path leads onto it but chdir(\"/..\")",
    ),
    seen(
        "starts",
        |it| not_taken(it) && entered(it) == Some(Entered::Never),
        "EBUSY or EINVAL: the working directory (\".\") is not the new root. After the root filesystem was mounted \
         over \"/\" the way onto it is chdir(\"/..\"); after it was mounted on itself, chdir(2) to it",
    ),
    seen(
        "starts",
        |it| not_taken(it) && entered(it) == Some(Entered::TooEarly),
        "EINVAL: the working directory was entered before the root filesystem was mounted, and so is the folder below \
         the mount, which is no mount point. First mount(2), then chdir(2)",
    ),
    seen(
        "starts",
        |it| not_taken(it) && entered(it) == Some(Entered::Yes) && !is_swapped(it),
        "{call}: its manual page lists the reasons under ERRORS. Before it came: {before}",
    ),
    seen(
        "starts",
        |it| it.failed("pivot_root", PIVOT) && is_swapped(it),
        "the two paths are the wrong way round: {bind}. mount(2) takes first what is to be mounted, the root \
         filesystem, and then where: \"/\"",
    ),
    seen(
        "starts",
        |it| it.failed("pivot_root", &["ENOENT"]) && called(it, "umount2"),
        "ENOENT: umount2(\".\", MNT_DETACH) came before {call}, and has taken off the new root itself. First exchange \
         the roots: then the old one lies on top, and that is what goes",
    ),
    seen(
        "starts",
        |it| it.failed("pivot_root", &["ENOENT"]) && !called(it, "umount2"),
        "ENOENT: {call}. One of the two paths is not there. Both count from the working directory, and that is the new \
         root by now: \".\" and \".\" will do (a folder for the old root has to be made first, in the new one)",
    ),
    seen(
        "starts",
        |it| not_made_private(it) && !called(it, "chroot"),
        "EINVAL: {call}. Only a mount can be made private, and that is none: all of them are, by \"/\" with MS_REC",
    ),
    seen(
        "starts",
        |it| not_made_private(it) && called(it, "chroot"),
        "EINVAL: {call}. chroot(2) came before, and so \"/\" is a folder by now, and no mount. Take it out, with its \
         chdir(2): pivot_root(2) takes its place",
    ),
    seen(
        "starts",
        |it| mount_failed(it, "EINVAL") && it.call().is_some_and(|call| call.has("MS_MOVE")),
        "EINVAL: {call}. MS_MOVE moves something that is mounted already; what makes a directory a mount is MS_BIND",
    ),
    seen(
        "starts",
        |it| {
            let unbindable = |call: &Call| call.done() && call.has("MS_UNBINDABLE");
            mount_failed(it, "EINVAL")
                && it.call().is_some_and(|call| call.has("MS_BIND"))
                && it.trace().named("mount").any(unbindable)
        },
        "EINVAL: {call}. All mounts were made unbindable (MS_UNBINDABLE) before, and that forbids just this. Private \
         is enough: MS_REC | MS_PRIVATE",
    ),
    seen(
        "dev",
        |it| (mount_failed(it, "EINVAL") || mount_failed(it, "ENOENT")) && is_link(it),
        "{call}: {source} is no device, but a link on the host, and mount(2) follows it. What is only a link can be \
         made inside, as one (symlink(2)); here nobody needs it",
    ),
    seen(
        "starts",
        |it| it.failed("umount2", &["EINVAL"]) && put_old(it).is_some(),
        "EINVAL: {call}. The old root was put on {put_old}, and that is what has to be taken off: it lies on \".\" \
         only after pivot_root(\".\", \".\")",
    ),
    seen(
        "starts",
        |it| put_old(it).is_some() && takes_off_new_root(it),
        "the old root was put on {put_old}, and umount2(\".\") takes off what lies on \".\": the new root, with its \
         /proc and /dev. Take off the old root where it is; it lies on \".\" only after pivot_root(\".\", \".\")",
    )
    .of(Checks(&["proc", "root", "cwd", "dev", "starts"])),
    counted(
        "",
        |it| lost_error(it).is_some(),
        "{lost}: that has failed, and your program has gone on all the same. Its error is lost (`_ =`, .ok(), a \
         `match` without it): hand it on with `?`, and the message tells what is wrong",
    )
    .of(All),
    seen(
        "dev",
        |it| it.failed("open", &["EROFS"]),
        "EROFS: {call}. The file system that is mounted there is read-only (MS_RDONLY), and so nothing can be made in \
         it: that flag is for what is mounted on the files, afterwards",
    ),
    said(
        "dev",
        |it| it.says("File exists") && it.says("dev") && !it.failed("open", &["EEXIST"]),
        "EEXIST: a file in /dev is left over from the run before. This /dev is the root filesystem's own when the \
         files are made: first mount a tmpfs over it, then make the files in it",
    ),
    said(
        "starts",
        |it| {
            it.says_one_of(&["Invalid argument", "EINVAL", "resource busy", "EBUSY"])
                && it.says_one_of(&["pivot", "root"])
                && it.trace().is_empty()
                && !it.lab().has_new_mounts()
        },
        "pivot_root(2) wants, in this order: a mount namespace of its own (CLONE_NEWNS), all mounts private (MS_REC | \
         MS_PRIVATE), the root filesystem as a mount (MS_BIND), and the working directory on it (chdir(\"/..\"), if it \
         was mounted over \"/\"). One of these is missing, or comes too late",
    ),
    said(
        "starts",
        is_shared_blindly,
        "EINVAL: the mounts are shared: what your program has mounted lies on the host as well, and pivot_root(2) \
         refuses such a mount as the new root. Make all of them private, MS_REC | MS_PRIVATE on \"/\", right after \
         unshare(CLONE_NEWNS) and before the first mount",
    ),
    // --- What is mounted, and where ---
    seen(
        "starts",
        |it| {
            mount_failed(it, "ENOENT")
                && target(it, &["proc", "dev"])
                && bind(it).is_some()
                && entered(it) != Some(Entered::Yes)
        },
        "ENOENT: {call} looks in the working directory, and that is not the new root yet. After the root filesystem \
         was mounted over \"/\" the way onto it is chdir(\"/..\") (after it was mounted on itself, chdir(2) to it)",
    ),
    seen(
        "cwd",
        |it| {
            mount_failed(it, "ENOENT")
                && target(it, &["proc", "dev"])
                && bind(it).is_none()
                && called(it, "chroot")
        },
        "ENOENT: {call} looks in the working directory, and chroot(2) does not change that: it is still outside. \
         chdir(\"/\") after chroot(2)",
    ),
    seen(
        "proc",
        |it| {
            mount_failed(it, "ENOENT")
                && target(it, &["proc", "dev"])
                && bind(it).is_none()
                && !called(it, "chroot")
        },
        "ENOENT: {call} looks in the working directory, and that is not the root filesystem yet. First change the root \
         (in step 06: chroot(2), then chdir(\"/\"); in step 07: mount the root filesystem, and enter it), then mount",
    ),
    seen(
        "proc",
        |it| {
            let typed = it.call().is_some_and(|call| ["proc", "tmpfs"].contains(&call.arg(2)));
            mount_failed(it, "ENOENT") && typed && !target(it, &["proc", "dev"])
        },
        "ENOENT: there is nothing at {target} that it could be mounted on: {call}. The second argument is the place, \
         seen from the working directory",
    ),
    seen(
        "proc",
        |it| mount_failed(it, "ENODEV"),
        "ENODEV: the kernel knows no file system of this type: {call}. The third argument is the type: `proc` for \
         /proc, `tmpfs` for /dev",
    ),
    seen(
        "proc",
        |it| {
            mount_failed(it, "EPERM")
                && it.call().is_some_and(|call| call.arg(2) == "proc")
                && gone(it)
        },
        "EPERM: the old root was detached already, and with it the /proc that is fully visible. In a user namespace \
         the kernel mounts another one only as long as that is there: mount /proc before umount2(\".\", MNT_DETACH)",
    ),
    seen(
        "starts",
        |it| mount_failed(it, "ENOENT") && is_device(it) && gone(it),
        "ENOENT: the host's devices are out of reach as soon as the old root is gone. Mount them before pivot_root(2): \
         {call}",
    ),
    seen(
        "dev",
        |it| {
            mount_failed(it, "ENOENT")
                && is_device(it)
                && !gone(it)
                && !is_link(it)
                && !hides_devices(it)
        },
        "ENOENT: there is nothing at one of the two paths of {call}. A device is mounted on a file, and that has to be \
         there first: an empty one will do",
    ),
    seen(
        "dev",
        |it| mount_failed(it, "ENOENT") && is_device(it) && !gone(it) && hides_devices(it),
        "ENOENT: {source} is not there any more: a tmpfs was mounted on \"/dev\", and that is the host's as long as \
         the old root is there. Mount it on the new root's, by a path that is relative to it: \"dev\"",
    ),
    seen(
        "dev",
        |it| mount_failed(it, "ENOTDIR") && is_device(it),
        "ENOTDIR: {call}. A device can only be mounted on a file, and a directory was made for it: make an empty file \
         (File::create_new)",
    ),
    seen(
        "dev",
        |it| it.failed("open", &["EEXIST"]) && mounted(it, "devtmpfs"),
        "EEXIST: {call}. A devtmpfs was mounted on dev, and there is only one of that kind: the host's own, with all \
         of its devices. An empty one of the container's own is a tmpfs",
    ),
    seen(
        "dev",
        |it| {
            it.failed("open", &["EEXIST"])
                && it.call().is_some_and(|call| call.arg(0).contains("dev/"))
                && !mounted(it, "devtmpfs")
        },
        "EEXIST: {call}. Such a file is there already: this /dev is still the root filesystem's own. First mount an \
         empty one over it, of the type tmpfs; it goes with the container",
    ),
    seen(
        "dev",
        |it| {
            mount_failed(it, "EPERM")
                && it.call().is_some_and(|call| call.has("MS_REMOUNT") && !call.has("MS_BIND"))
        },
        "EPERM: a remount without MS_BIND is for the whole file system, wherever it is mounted, and this is the \
         host's. MS_BIND | MS_REMOUNT | MS_RDONLY is for this one mount of it: {call}",
    ),
    said(
        "dev",
        |it| it.is_denied() && it.says("/dev/") && it.trace().is_empty(),
        "EPERM: for the host's devices three things are forbidden in a user namespace: mknod(2); a remount without \
         MS_BIND (it is for the whole file system, wherever it is mounted); and one that takes flags away, so it names \
         MS_NOSUID and MS_NOEXEC again: MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NOEXEC",
    ),
    seen(
        "dev",
        |it| {
            mount_failed(it, "EPERM")
                && it.call().is_some_and(|call| call.has("MS_REMOUNT") && call.has("MS_BIND"))
        },
        "EPERM: in a user namespace nobody may take flags away that the mount has (mount_namespaces(7)): MS_REMOUNT \
         has to name MS_NOSUID and MS_NOEXEC again: {call}",
    ),
    seen(
        "dev",
        |it| it.failed("mknod", &["EPERM"]),
        "EPERM: in a user namespace nobody may make devices, not even its root (mknod(2)). Mount the host's on an \
         empty file, with MS_BIND: {call}",
    ),
    seen(
        "rootfs_option",
        |it| {
            mount_failed(it, "ENOENT")
                && it.call().is_some_and(|call| call.has("MS_BIND"))
                && !is_device(it)
                && called(it, "chdir")
        },
        "ENOENT: {call}. A relative path counts from the working directory, and that is another one by now: a chdir(2) \
         came before. (Whoever has entered the root filesystem finds it as \".\")",
    ),
    seen(
        "closed_home",
        |it| {
            mount_failed(it, "ENOENT")
                && target(it, &["proc", "dev"])
                && bind(it).is_some_and(|bind| {
                    let entered = |call: &Call| call.done() && call.at < bind.at;
                    bind.arg(0) == "." && !it.trace().named("chdir").any(entered)
                })
                && entered(it) == Some(Entered::Yes)
        },
        "ENOENT: {call}. The working directory (\".\") was mounted as the root filesystem, and nobody has entered that \
         before: chdir(2) to it in `run`, before unshare(2)",
    ),
    said(
        "closed_home",
        |it| {
            it.trace().is_empty()
                && it.says_one_of(&["No such file", "ENOENT"])
                && it.says("mount")
                && it.says("/proc")
                && !it.says("/proc/")
                && it.lab().host.path("/workshop/rootfs/proc").is_dir()
        },
        "ENOENT, although the root filesystem has a folder `proc`: your program does not stand in it when it mounts. \
         It gets there by chdir(\"/\") after chroot(2); in step 07 by chdir(\"/..\") after the root filesystem was \
         mounted over \"/\"; and where that was mounted as \".\" (step 09), by a chdir(2) to it in `run` before",
    ),
    // --- chroot(2) and chdir(2) ---
    said(
        "cwd",
        |it| is_lost_blindly(it) && !it.says("mount"),
        "ENOENT, although the directory is there: a relative path counts from the working directory, and that was \
         another one already: a chdir(2) came before. First chroot(2), then chdir(\"/\")",
    ),
    said(
        "rootfs_option",
        |it| is_lost_blindly(it) && it.says("mount"),
        "ENOENT, although the directory is there: a relative path counts from the working directory, and that was \
         another one already: a chdir(2) came before. (Whoever has entered the root filesystem finds it as \".\")",
    ),
    seen(
        "cwd",
        |it| it.failed("chroot", &["ENOENT"]) && called(it, "chdir"),
        "ENOENT: chdir(2) came first, and {call} counts from the new working directory: a relative path leads nowhere \
         there. First chroot(2), then chdir(\"/\")",
    ),
    seen(
        "root",
        |it| {
            let runner = it.trace().runner();
            let by_runner = |call: &Call| call.done() && call.pid == runner;
            let changed = |name| it.trace().named(name).any(by_runner);
            let started = it.trace().second_halves().iter().any(|call| call.done());
            (changed("chroot") || changed("pivot_root"))
                && !started
                && it.trace().command().is_none()
        },
        "/proc/self/exe is not there (nor anything else of /proc): chroot(2) was called in `run`, before your program \
         started itself again. Change the root in `child`, after the re-exec",
    ),
    seen(
        "root",
        |it| is_late_for_command(it, &["chroot", "pivot_root"]),
        "the root directory was changed after the command was started: a process gets it from its parent at the moment \
         when it is made. chroot(2) first, then Command::spawn",
    )
    .of(Checks(&["root", "cwd", "lookup", "no_escape"])),
    seen(
        "reexec",
        |it| {
            let failed = |call: &&Call| !call.done() && call.arg(0).starts_with("/proc/");
            it.trace().second_halves().iter().any(failed) && !called(it, "chroot")
        },
        "there is no program at the path by which your program starts itself again: it is /proc/self/exe",
    ),
    said(
        "root",
        |it| it.says("/proc/self") && it.says("No such file") && it.trace().is_empty(),
        "/proc/self/exe is not there (if it is spelled like that): chroot(2) was called in `run`, before your program \
         started itself again. Change the root in `child`, after the re-exec",
    ),
    // --- What is taken off again ---
    seen(
        "proc_gone",
        |it| it.failed("umount2", &["EINVAL"]) && !detaches_root(it) && !mounted(it, "proc"),
        "EINVAL: nothing is mounted there. mount(2), with the type proc, has to come before the command, and \
         umount2(2) after it, both with the same path: {call}",
    ),
    seen(
        "proc_gone",
        |it| {
            it.failed("umount2", &["EINVAL", "ENOENT"]) && !detaches_root(it) && mounted(it, "proc")
        },
        "nothing is mounted there: {call}. umount2(2) has to name the same place as mount(2) did; a relative path \
         counts from the working directory",
    )
    .of(All),
    seen(
        "proc",
        unmounted_early,
        "/proc was mounted, and unmounted again before the command was started: umount2(2) belongs behind the \
         command's end",
    )
    .of(Checks(&["proc"])),
    seen(
        "proc",
        |it| {
            let pivot = it.trace().named("pivot_root").find(|call| call.done());
            let early = |call: &Call| {
                call.arg(1) == "/proc" && pivot.is_some_and(|pivot| call.at < pivot.at)
            };
            !unmounted_early(it)
                && it
                    .trace()
                    .named("mount")
                    .any(|call| call.done() && call.arg(2) == "proc" && early(call))
        },
        "proc was mounted on \"/proc\" when that was still the host's: before pivot_root(2) an absolute path leads to \
         the old root, and goes with it. Use a path that is relative to the new root: \"proc\"",
    )
    .of(Checks(&["proc"])),
    seen(
        "proc_gone",
        |it| {
            let mounts =
                it.trace().named("mount").filter(|call| call.done() && call.arg(2) == "proc");
            let (mounts, unmounts) =
                (mounts.count(), it.trace().named("umount2").filter(|call| call.done()).count());
            !has_mount_namespace(it) && mounts > 1 && mounts > unmounts
        },
        "proc is mounted more often than it is unmounted: each mount(2) lies on top of the one before, and umount2(2) \
         takes off only the last one",
    )
    .of(Checks(&["proc_gone"])),
    seen(
        "",
        |it| it.failed("umount2", &["EBUSY"]),
        "EBUSY: somebody still uses what is mounted there, a process in the background for example. MNT_DETACH takes \
         it off all the same: {call}",
    )
    .of(All),
    // --- What became of the host ---
    seen(
        "dev",
        |it| {
            let gone = it.trace().named("pivot_root").find(|call| call.done()).map(|call| call.at);
            let device =
                |call: &&Call| call.done() && call.has("MS_BIND") && call.arg(1).contains("dev/");
            gone.zip(it.trace().named("mount").find(device))
                .is_some_and(|(gone, call)| call.at > gone)
        },
        "the host's devices are out of reach as soon as the old root is gone: what was mounted on the files in /dev \
         are these files themselves. Mount the devices before pivot_root(2)",
    )
    .of(Checks(&["dev"])),
    seen(
        "starts",
        |it| has_mount_namespace(it) && private(it).is_none() && !it.trace().is_empty(),
        SHARED,
    )
    .of(Checks(&["mounts_private", "nothing_left", "proc_gone"])),
    seen(
        "starts",
        is_late,
        "the mounts were made private too late: {late} came before. What is mounted while its parent is still shared \
         shows on the host, and is shared itself. First mount(2) on \"/\" with MS_REC | MS_PRIVATE, then everything \
         else",
    )
    .of(Checks(&["mounts_private", "nothing_left", "proc_gone", "runs"])),
    counted(
        "proc",
        |it| {
            let mounts = it.lab().mounts();
            let times = mounts.iter().filter(|mount| mount.point == "/proc").count();
            times != 1 && !has_mount_namespace(it) && !is_shared_blindly(it)
        },
        PROC_ON_HOST,
    )
    .of(All),
];

/// Without system calls to look at: pivot_root(2) has refused, and what was mounted before it lies on the host.
fn is_shared_blindly(it: &Case) -> bool {
    it.says_one_of(&["Invalid argument", "EINVAL"])
        && it.says_one_of(&["pivot", "root"])
        && it.trace().is_empty()
        && it.lab().has_new_mounts()
}

/// Without system calls to look at: the root filesystem was not found where it is.
fn is_lost_blindly(it: &Case) -> bool {
    it.trace().is_empty()
        && it.says_one_of(&["No such file", "ENOENT"])
        && it.says("root")
        && !it.says("/proc")
        && !it.done.args.iter().any(|arg| arg.starts_with("--rootfs"))
        && it.lab().host.path("/workshop/rootfs").is_dir()
}

/// What pivot_root(2) says if one stands on what lies below the new root.
pub const BELOW: &str = "EBUSY or EINVAL: to pivot_root(2) the new root is the old one. After the root filesystem was \
    mounted over \"/\", the path \"/\" still means what lies below it: the way onto it is chdir(\"/..\"), not \
    chdir(\"/\")";

/// Where the working directory is, seen from a root filesystem that is a mount.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Entered {
    Yes,
    Never,
    /// It is what the new root was mounted over.
    Below,
    /// It is the folder that was mounted elsewhere.
    Folder,
    /// Before it was mounted.
    TooEarly,
}

fn entered(it: &Case) -> Option<Entered> {
    let bind = bind(it)?;
    if called(it, "chroot") {
        return None;
    }
    let moves: Vec<&Call> = it
        .trace()
        .named("chdir")
        .chain(it.trace().named("fchdir"))
        .filter(|call| call.done())
        .collect();
    let after = moves.iter().rfind(|call| call.at > bind.at);
    Some(match after {
        Some(call) if call.arg(0) == "/" && bind.arg(1) == "/" => Entered::Below,
        Some(call) if call.arg(0) == bind.arg(0) && bind.arg(1) == "/" => Entered::Folder,
        Some(_) => Entered::Yes,
        None if moves.is_empty() || bind.arg(1) == "/" => Entered::Never,
        None => Entered::TooEarly,
    })
}

fn called(it: &Case, name: &str) -> bool {
    it.trace().named(name).any(Call::done)
}

fn has_mount_namespace(it: &Case) -> bool {
    it.trace().namespace("CLONE_NEWNS").is_some_and(Call::done)
}

/// The call that makes mounts private (or, as good, slaves).
fn private<'a>(it: &'a Case) -> Option<&'a Call> {
    let propagation = |call: &&Call| {
        let flags = ["MS_PRIVATE", "MS_SLAVE", "MS_UNBINDABLE"];
        call.done() && !call.has("MS_BIND") && flags.iter().any(|flag| call.has(flag))
    };
    it.trace().named("mount").find(propagation)
}

fn is_private(it: &Case) -> bool {
    has_mount_namespace(it) && private(it).is_some_and(|call| call.has("MS_REC"))
}

/// Whether pivot_root(2) refused the new root, and not because of shared mounts.
fn not_taken(it: &Case) -> bool {
    it.failed("pivot_root", PIVOT) && is_private(it)
}

/// The call that makes the root filesystem a mount.
fn bind<'a>(it: &'a Case) -> Option<&'a Call> {
    it.trace().named("mount").find(|call| {
        call.done()
            && call.has("MS_BIND")
            && !call.has("MS_REMOUNT")
            && !call.arg(1).contains("dev/")
    })
}

/// Whether it was to be the other way round.
fn is_swapped(it: &Case) -> bool {
    bind(it).is_some_and(|call| call.arg(0) == "/" && call.arg(1) != "/")
}

/// That call.
pub fn bound(it: &Case) -> String {
    bind(it).map_or(String::new(), Call::shown)
}

/// The first mount that shows on the host because it came too early.
pub fn too_early<'a>(it: &'a Case) -> Option<&'a Call> {
    let private = private(it)?.at;
    it.trace().named("mount").find(|call| call.done() && call.at < private)
}

fn is_late(it: &Case) -> bool {
    is_private(it) && too_early(it).is_some()
}

fn mount_failed(it: &Case, error: &str) -> bool {
    it.failed("mount", &[error])
}

fn not_made_private(it: &Case) -> bool {
    let changes = |call: &Call| call.has("MS_PRIVATE") || call.has("MS_SLAVE");
    mount_failed(it, "EINVAL") && it.call().is_some_and(changes)
}

/// Whether the call is about one of these places, however they are spelled.
fn target(it: &Case, names: &[&str]) -> bool {
    it.call().is_some_and(|call| names.contains(&call.arg(1).trim_start_matches('/')))
}

fn is_device(it: &Case) -> bool {
    it.call().is_some_and(|call| call.arg(1).contains("dev/") && call.has("MS_BIND"))
}

/// Whether something was mounted over the host's devices.
fn hides_devices(it: &Case) -> bool {
    it.trace().named("mount").any(|call| call.done() && call.arg(1) == "/dev")
}

/// Whether what was to be mounted is a link on the host.
fn is_link(it: &Case) -> bool {
    let Some(call) = it.call() else { return false };
    call.has("MS_BIND")
        && call.arg(0).starts_with("/dev/")
        && it.lab().host.path(call.arg(0)).is_symlink()
}

/// Where pivot_root(2) has put the old root, if not on the new one.
pub fn put_old(it: &Case) -> Option<String> {
    let call = it.trace().named("pivot_root").find(|call| call.done())?;
    (call.arg(0) != call.arg(1)).then(|| format!("{:?}", call.arg(1)))
}

fn takes_off_new_root(it: &Case) -> bool {
    it.trace().named("umount2").any(|call| call.done() && [".", "/"].contains(&call.arg(0)))
}

/// A call that has failed, and the program has gone on: to another one, or to the command.
pub fn lost_error<'a>(it: &'a Case) -> Option<&'a Call> {
    let makes = ["unshare", "sethostname", "chroot", "chdir", "mount", "pivot_root"];
    let failed = it.trace().own().find(|call| !call.done() && makes.contains(&&*call.name))?;
    let goes_on =
        |call: &Call| call.pid == failed.pid && call.at > failed.at && makes.contains(&&*call.name);
    it.trace().own().any(goes_on).then_some(failed)
}

/// Whether the old root is out of reach.
fn gone(it: &Case) -> bool {
    called(it, "pivot_root") || called(it, "chroot")
}

/// Whether the call was to take off the old root, and not something else.
fn detaches_root(it: &Case) -> bool {
    called(it, "pivot_root")
}

/// Whether one of these calls came when the command was there.
fn is_late_for_command(it: &Case, names: &[&str]) -> bool {
    let Some(command) = it.trace().command() else { return false };
    names.iter().any(|name| it.trace().named(name).any(|call| call.done() && call.at > command.at))
}

fn unmounted_early(it: &Case) -> bool {
    let Some(command) = it.trace().command() else { return false };
    let early = |call: &Call| call.done() && call.at < command.at;
    !called(it, "pivot_root") && mounted(it, "proc") && it.trace().named("umount2").any(early)
}

fn mounted(it: &Case, kind: &str) -> bool {
    it.trace().named("mount").any(|call| call.done() && call.arg(2) == kind)
}
