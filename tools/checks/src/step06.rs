//! Step 06: `ps` reads files.

use classroom::Session;
use nix::sys::signal::Signal;

use crate::causes::{PROC_ON_HOST, SHARED};
use crate::lab::{Lab, Mount, points};
use crate::step05::need_root;
use crate::{Cause, Check, Result};

pub const CHECKS: &[Check] = &[
    check! { 6, proc, "has a /proc that shows its own processes, and only them",
        read: "mount(2), proc(5)",
        hints: [
            "`ps` reads /proc, and there is nothing in the root filesystem's. How does it come about on the host?",
            "mount(2) with the type \"proc\", on /proc, in `child`, after the root has changed. It shows the PID \
             namespace of whoever mounts it.",
        ],
        lines: ["mount(Some(\"proc\")"],
    },
    check! { 6, proc_gone, "leaves no mount on the host, however the run ends",
        read: "umount2(2): MNT_DETACH",
        hints: [
            "`mount` on the host shows what is left. Who unmounts, and when: also if the command fails, or is not \
             found, or is killed?",
            "`child` calls umount2(2) when the command has ended, before it looks at the result.",
        ],
        lines: ["umount2("],
    },
    check! { 6, proc_missing, "refuses to run if there is no /proc to mount on",
        read: "mount(2): ENOENT",
        hints: [
            "What if the root filesystem has no folder `proc`?",
            "An error is no reason to go on: `?`. Exit status 125, and the command does not run.",
        ],
        lines: ["cannot mount /proc"],
    },
];

const NOBODY: &str = "nobody has mounted proc where the command sees it, on the root filesystem's /proc: mount(2) \
    with the type \"proc\", in `child`, after the root has changed. (In step 07 before that, and so by a path that is \
    relative to the new root: \"proc\". \"/proc\" is the old root's until pivot_root(2), and goes with it)";

/// Prints whether /proc is there, whether it is of the shell's own PID namespace, and all its command lines.
const LOOK: &str = "if read -r pid rest 2>&- </proc/self/stat; then echo \"$pid $$\"; else echo none; fi; \
    cat /proc/[0-9]*/cmdline 2>&- | tr '\\0' ' '; ";

/// Whether /proc inside is the container's own.
pub fn need_proc(lab: &Lab) -> Result<()> {
    // A process that has nothing to do with the container, and ends with its input.
    let argv = ["sh", "-c", "read line", "a-process-of-the-host"];
    let mut other = Session::start(&mut lab.host.command(argv))?;
    lab.wait_until(|| lab.runs(&argv));
    let before = lab.mounts();
    let held = lab.hold(&[], LOOK)?;
    let numbers = held.before.lines().next().unwrap_or_default();
    let own = numbers.split_once(' ').is_some_and(|(proc, shell)| proc == shell);
    if own && !held.before.contains("a-process-of-the-host") {
        held.release()?;
        other.finish()?;
        return Ok(());
    }
    let is_proc = |mount: &Mount| mount.point == "/proc" && mount.kind == "proc";
    let on_host = || lab.mounts_since(&before).iter().any(is_proc);
    let (got, cause) = match numbers {
        "none" if on_host() => {
            ("/proc is empty; on the host, another proc is mounted on /proc", PROC_ON_HOST)
        }
        "none" => ("/proc is empty", NOBODY),
        _ => (
            "/proc shows the host's processes",
            "a proc file system shows the PID namespace of whoever mounts it: this one was mounted by `run`, or is the \
             host's own. Mount it in `child`, which is PID 1 of the new namespace",
        ),
    };
    let cause = if cause == NOBODY { Cause::about("proc", cause) } else { cause.into() };
    Err(held.wrong(
        "/proc shows PID 1 and what it has started, and no process of the host",
        got,
        cause,
    ))
}

fn proc(lab: &Lab) -> Result<()> {
    need_root(lab)?;
    need_proc(lab)
}

fn proc_gone(lab: &Lab) -> Result<()> {
    need_proc(lab)?;
    let before = lab.mounts();
    let mut always = true;
    for (way, args) in [
        ("the command has ended", &["true"][..]),
        ("the command has failed", &["sh", "-c", "exit 3"]),
        ("the command was not found", &["no-such-command"]),
        (
            "something in the background stands in /proc",
            &["sh", "-c", "cd /proc; sleep 9 <&- >&- 2>&- & :"],
        ),
        ("SIGTERM has ended the runner", &[]),
    ] {
        let done = if args.is_empty() {
            let held = lab.hold(&[], "")?;
            held.running.signal(Signal::SIGTERM)?;
            held.running.end()?
        } else {
            lab.run(args)?
        };
        let left = lab.mounts_left(&before);
        if left.is_empty() {
            always = false;
            continue;
        }
        let several = left.iter().any(|mount| mount.kind != "proc");
        let cause = if always && lab.hold(&[], "").is_ok_and(|held| held.apart("mnt", "").is_ok()) {
            SHARED
        } else if always && several {
            "more was mounted than /proc, and in the host's mount namespace, where nobody takes it off again. (From \
             step 07 on a mount namespace does: CLONE_NEWNS)"
        } else if always {
            "nobody unmounts what was mounted: umount2(\"/proc\", MNT_DETACH) in `child`, when the command has ended"
        } else if args.is_empty() {
            "SIGTERM ends `child` before it has unmounted: it needs a handler that passes the signal on to the \
             command, and goes on to the unmounting"
        } else {
            "it is unmounted only if all goes well: something leaves `child` earlier, with `?` or return. First \
             unmount, then look at the result"
        };
        let got = format!("{way}, and this is left on the host: {}", points(&left));
        return Err(done.wrong("after the run the host has the same mounts as before", got, cause));
    }
    Ok(())
}

fn proc_missing(lab: &Lab) -> Result<()> {
    need_proc(lab)?;
    lab.soil();
    lab.host.run("rmdir rootfs/proc")?;
    let done = lab.run(&["echo", "it runs"])?;
    let cause = if done.stdout.contains("it runs") {
        "the error of mount(2) is ignored, and the command runs without /proc: hand it to main with `?`"
    } else if done.status != Some(125) {
        "where the runner itself has failed, its exit status is 125, in both halves"
    } else {
        return Ok(());
    };
    let expected =
        "the root filesystem has no folder `proc`: exit status 125, and the command does not run";
    Err(done.wrong(expected, done.summary(), cause))
}
