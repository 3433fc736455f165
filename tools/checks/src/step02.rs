//! Step 02: a hostname of its own.

use crate::lab::Lab;
use crate::{Check, Result};

pub const CHECKS: &[Check] = &[
    check! { 2, hostname_out, "keeps a new hostname inside from renaming the host",
        read: "uts_namespaces(7), unshare(2)",
        hints: [
            "The hostname is a global of the system. Which namespace makes a private copy of it?",
            "unshare(CLONE_NEWUTS) moves the caller to a new UTS namespace; what it starts afterwards is in it, too. \
             It takes root.",
        ],
        lines: ["CLONE_NEWUTS", "unshare("],
    },
    check! { 2, hostname_in, "keeps its hostname when the host gets a new one",
        read: "uts_namespaces(7)",
        hints: [
            "The copy is private in both directions.",
            "unshare(CLONE_NEWUTS) before the command is started.",
        ],
        lines: ["CLONE_NEWUTS", "unshare("],
    },
    check! { 2, half_made, "starts nothing where something before it has failed",
        read: "unshare(2): ERRORS",
        hints: [
            "Any system call may fail: for a limit, for want of memory, on another kernel. What runs then?",
            "Hand each error to main with `?` (and .context(…), which says what was tried).",
        ],
        lines: ["unshare(", ".context("],
    },
];

/// Why the host has another name, although the command's is its own.
pub const RENAMED: &str = "sethostname(2) was called in the host's UTS namespace: call it in `child`, after \
    unshare(CLONE_NEWUTS), not before it. It renames whatever namespace the caller is in";

fn hostname_out(lab: &Lab) -> Result<()> {
    let held = lab.hold(&[], "hostname renamed-inside; hostname; ")?;
    let host = lab.host.run("hostname")?.stdout;
    if !held.before.contains("renamed-inside") {
        let cause = "hostname(1) could not rename the container: sethostname(2) needs CAP_SYS_ADMIN in the user \
                     namespace that owns the UTS namespace. Run it as root, and from step 09 on create all namespaces \
                     in one unshare(2)";
        return Err(held.wrong("the hostname inside can be changed", "it cannot", cause));
    }
    if host == "host\n" {
        lab.soil();
        return Ok(());
    }
    let cause = held.why_together("uts", "CLONE_NEWUTS", RENAMED);
    let got = format!("the host is called {:?} now", host.trim());
    Err(held.wrong("the host is still called \"host\"", &got, cause))
}

fn hostname_in(lab: &Lab) -> Result<()> {
    let mut held = lab.hold(&[], "echo ready; read line; hostname; ")?;
    lab.host.run("hostname renamed")?;
    lab.soil();
    held.running.say("go on");
    let inside = held.running.until("ready\n")?;
    if !inside.contains("renamed") {
        return Ok(());
    }
    let cause = held.why_together("uts", "CLONE_NEWUTS", "");
    Err(held.wrong(
        "inside, the hostname stays what it was",
        "inside it is \"renamed\", too",
        cause,
    ))
}

/// Each of the calls that make the container fails once. The command must not run in half a container. (Only where
/// strace(1) is there to make them fail.)
fn half_made(lab: &Lab) -> Result<()> {
    const COMMAND: &[&str] = &["echo", "it runs"];
    const NEVER: usize = 1000;
    let held = lab.hold(&[], "")?;
    if let Err(cause) = held.apart("uts", "CLONE_NEWUTS") {
        let expected = "the command is in a UTS namespace of its own";
        return Err(held.wrong(expected, "it is in the host's", cause));
    }
    held.release()?;
    if !lab.has_strace() {
        return Ok(());
    }
    let mut pivots = false;
    for call in ["unshare", "sethostname", "chroot", "chdir", "mount", "pivot_root", "umount2"] {
        // Step 06 unmounts when the command has ended.
        if call == "umount2" && !pivots {
            continue;
        }
        let (_, all) = lab.run_failing(call, NEVER, COMMAND)?;
        let lines = all.lines().filter_map(|line| line.split_once(' '));
        let lines = lines.map(|(pid, made)| (pid, made.trim_start()));
        let calls: Vec<(&str, &str)> = lines.filter(|(_, made)| made.starts_with(call)).collect();
        pivots |= call == "pivot_root" && !calls.is_empty();
        for (at, (pid, made)) in calls.iter().enumerate().filter(|(_, (_, made))| is_needed(made)) {
            let number = calls[..=at].iter().filter(|(other, _)| other == pid).count();
            let (done, text) = lab.run_failing(call, number, COMMAND)?;
            // (Whoever says so afterwards has called it too late: that is another check's.)
            let unnoticed = done.stdout.contains("it runs") && done.status == Some(0);
            if !text.contains("(INJECTED)") || !unnoticed {
                continue;
            }
            let failed = made.split(" = ").next().unwrap_or(made).trim_end();
            let got = format!("{}, although {failed} = EIO", done.summary());
            let cause = format!(
                "the error of {call}(2) is lost (`_ =`, .ok(), an `if let` or `match` without it): hand it on with \
                 `?`, or the command runs in half a container, and nobody knows"
            );
            return Err(done.wrong("the program stops, and says why", got, cause));
        }
    }
    Ok(())
}

/// Whether nobody can do without this call, as strace(1) shows it. (A device that is not there may be left out.)
fn is_needed(call: &str) -> bool {
    !call.starts_with("mount(")
        || ["MS_PRIVATE", "MS_SLAVE", "\"proc\""].iter().any(|word| call.contains(word))
        || call.contains("MS_BIND") && !call.contains("MS_REMOUNT") && !call.contains("\"/dev/")
}
