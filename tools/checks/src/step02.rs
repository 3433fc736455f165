//! Step 02: a hostname of its own.

use crate::Check;
use crate::Result;
use crate::lab::Lab;

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
