//! Step 09: root inside, nobody special outside.

use std::fs;
use std::process::Command;

use classroom::output;
use classroom::root::is_root;

use crate::Cause;
use crate::Check;
use crate::Failure;
use crate::Result;
use crate::Stop;
use crate::lab::Held;
use crate::lab::Lab;
use crate::lab::NOT_ROOT_INSIDE;
use crate::lab::denied;
use crate::lab::excerpt;
use crate::lab::why_no_map;

pub const CHECKS: &[Check] = &[
    check! { 9, without_root, "works without root",
        read: "user_namespaces(7): \"Defining user and group ID mappings\"",
        hints: [
            "An ordinary user may create a user namespace, and is allowed everything in it, and in the other \
             namespaces that belong to it.",
            "unshare(2) with CLONE_NEWUSER and all the other flags in one call; then write `deny` to \
             /proc/self/setgroups, and `0 UID 1` and `0 GID 1` to uid_map and gid_map, in this order, with the numbers \
             from before unshare(2).",
        ],
        lines: ["CLONE_NEWUSER", "/proc/self/setgroups", "/proc/self/uid_map", "geteuid()"],
        until: 9, // step 10 makes a cgroup, which takes root again (or somebody who delegates one)
    },
    check! { 9, user, "is root inside, in a user namespace of its own",
        read: "user_namespaces(7)",
        hints: [
            "`id` inside should say 0. What does it say without a map, and why 65534?",
            "/proc/self/uid_map and gid_map get one line each, `0 UID 1`: inside, outside, how many.",
        ],
        lines: ["CLONE_NEWUSER", "/proc/self/uid_map"],
    },
    check! { 9, setgroups, "has given up setgroups(2)",
        read: "user_namespaces(7): \"The /proc/pid/setgroups file\"",
        hints: [
            "Who may drop a group may get at files that are closed to just that group. What does the kernel want \
             before it accepts a map of groups?",
            "Write `deny` to /proc/self/setgroups before you write gid_map.",
        ],
        lines: ["/proc/self/setgroups"],
    },
];

const SETGROUPS: &str = "root may write gid_map without it, but an ordinary user may not (EPERM): write \"deny\" to \
    /proc/self/setgroups before gid_map";

fn without_root(lab: &Lab) -> Result<()> {
    lab.soil();
    let line = [&*lab.program(), "run", "sh", "-c", "id -u; id -g; hostname"];
    let done = lab.start_as_learner(&line)?.end()?;
    if done.stdout == "0\n0\ncontainer\n" && done.status == Some(0) {
        return Ok(());
    }
    let said = &excerpt(&done.stderr);
    let about = |words: &[&str]| words.iter().any(|word| said.contains(word));
    let cause: Cause = if denied(said) && about(&["_map", "setgroups"]) {
        why_no_map(said).into()
    } else if denied(said) && about(&["hostname", "mount", "/proc"]) {
        NOT_ROOT_INSIDE.into()
    } else if denied(said) {
        "EPERM: an ordinary user may create the other namespaces only inside a user namespace of his own: \
         CLONE_NEWUSER in the same unshare(2), or before it"
            .into()
    } else if done.stdout.starts_with("65534") {
        "65534 is the number for users that nobody has mapped: write uid_map and gid_map before the command is started"
            .into()
    } else {
        lab.why_not_run(&done)
    };
    let expected = "started by an ordinary user (uid 1000): \"0\", \"0\", \"container\"";
    Err(done.wrong(expected, done.summary(), cause))
}

/// Holds a container whose command is in a user namespace of its own.
fn hold<'a>(lab: &'a Lab, script: &str) -> Result<Held<'a>> {
    let held = lab.hold(&[], script)?;
    match held.apart("user", "CLONE_NEWUSER") {
        Ok(()) => Ok(held),
        Err(cause) => Err(held.wrong(
            "the command is in a user namespace of its own",
            "it is in the host's",
            cause,
        )),
    }
}

fn user(lab: &Lab) -> Result<()> {
    let held = hold(lab, "id -u; id -g; ")?;
    let map = fs::read_to_string(lab.proc(held.command, "uid_map")).unwrap_or_default();
    let fields: Vec<&str> = map.split_whitespace().collect();
    if held.before == "0\n0\n" && fields.len() == 3 && fields[2] == "1" {
        held.release()?;
        return Ok(());
    }
    let cause = if held.before.starts_with("65534") || held.before.contains("\n65534") {
        "65534 is the number for users and groups that nobody has mapped: write uid_map *and* gid_map, before the \
         command is started"
    } else if !held.before.starts_with("0\n0") {
        "the map is there, but not for 0: a line is `INSIDE OUTSIDE COUNT`, so root inside is `0 UID 1`"
    } else {
        "more than one user is mapped: the workshop's container has one, `0 UID 1`"
    };
    let flat = |text: &str| {
        let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        lines.collect::<Vec<_>>().join(" and ")
    };
    let got = format!("id says {}, and uid_map is {}", flat(&held.before), flat(&map));
    Err(held.wrong("id says 0, and uid_map has one line for one user", &got, cause))
}

fn setgroups(lab: &Lab) -> Result<()> {
    let held = hold(lab, "")?;
    let state = fs::read_to_string(lab.proc(held.command, "setgroups")).unwrap_or_default();
    if state.trim() != "deny" {
        let got = format!("it says {:?}", state.trim());
        return Err(held.wrong("/proc/self/setgroups says \"deny\"", &got, SETGROUPS));
    }
    held.release()?;
    setgroups_on_this_machine(lab)
}

/// Without root the classroom host is in a user namespace that has given setgroups(2) up already, and what is made
/// in it inherits that: only outside of it one sees who does it.
fn setgroups_on_this_machine(lab: &Lab) -> Result<()> {
    if is_root() {
        return Ok(());
    }
    let mut run = Command::new("timeout");
    run.args(["--kill-after=1", "10"]).arg(lab.host.path(&lab.program()));
    let done = output(run.args(["run", "--rootfs"]).arg(classroom::rootfs()?).arg("true"))?;
    if done.status == 0 {
        return Ok(());
    }
    Err(Stop::Wrong(Failure {
        did: "run true, as an ordinary user of this machine".into(),
        expected: "exit status 0".into(),
        got: excerpt(&done.stderr),
        cause: SETGROUPS.into(),
    }))
}
