//! Step 02: a hostname of its own.

use crate::Check;
use crate::Failure;
use crate::lab::Lab;

pub const CHECKS: &[Check] = &[
    Check {
        name: "hostname-out",
        title: "keeps a new hostname inside from renaming the host",
        from: 2,
        until: 10,
        man: "uts_namespaces(7), unshare(2)",
        hints: &[
            "The hostname is a global of the system. Which namespace makes a private copy of it?",
            "unshare(CLONE_NEWUTS) moves the caller to a new UTS namespace; what it starts afterwards is in it, too. It takes root.",
        ],
        lines: &["CLONE_NEWUTS", "unshare("],
        observe: outwards,
    },
    Check {
        name: "hostname-in",
        title: "keeps its hostname when the host gets a new one",
        from: 2,
        until: 10,
        man: "uts_namespaces(7)",
        hints: &[
            "The copy is private in both directions.",
            "unshare(CLONE_NEWUTS) before the command is started.",
        ],
        lines: &["CLONE_NEWUTS", "unshare("],
        observe: inwards,
    },
];

/// Why the host has another name, although the command's is its own.
pub const RENAMED: &str = "sethostname(2) was called in the host's UTS namespace: call it in `child`, after unshare(CLONE_NEWUTS), \
                           not before it. It renames whatever namespace the caller is in";

fn outwards(lab: &Lab) -> Result<(), Failure> {
    let held = lab.hold(&[""; 0], "hostname renamed-inside; hostname; ")?;
    let host = lab.host().run("hostname").stdout;
    lab.soil();
    if !held.before.contains("renamed-inside") {
        let cause = "hostname(1) could not rename the container: sethostname(2) needs CAP_SYS_ADMIN in the user namespace that owns \
                     the UTS namespace. Run it as root, and from step 09 on create all namespaces in one unshare(2)";
        return Err(held.wrong("the hostname inside can be changed", "it cannot", cause));
    }
    if host == "host\n" {
        return Ok(());
    }
    let cause = held.apart("uts", "CLONE_NEWUTS").err().unwrap_or_else(|| RENAMED.into());
    let got = format!("the host is called {:?} now", host.trim());
    Err(held.wrong("the host is still called \"host\"", &got, &cause))
}

fn inwards(lab: &Lab) -> Result<(), Failure> {
    let mut held = lab.hold(&[""; 0], "echo ready; read line; hostname; ");
    let held = held.as_mut().map_err(|failure| failure.clone())?;
    lab.host().run("hostname renamed");
    lab.soil();
    held.running.say("go on");
    let inside = held.running.until("ready\n")?;
    lab.host().run("hostname host");
    if !inside.contains("renamed") {
        return Ok(());
    }
    let cause = held.apart("uts", "CLONE_NEWUTS").err().unwrap_or_default();
    Err(held.wrong(
        "inside, the hostname stays what it was",
        "inside it is \"renamed\", too",
        &cause,
    ))
}
