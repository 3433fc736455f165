//! Step 09: root inside, nobody special outside.

use std::fs;

use classroom::root::is_root;
use classroom::{fence, output};

use crate::lab::{Held, Lab, excerpt};
use crate::{Cause, Check, Failure, Result, Stop};

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
    check! { 9, closed_home, "enters a root filesystem in a home that is closed to others",
        read: "user_namespaces(7): \"Capabilities\", path_resolution(7)",
        hints: [
            "A home is often closed to others (0700). Root outside may enter it all the same. May root of a user \
             namespace?",
            "Its power ends at the files of users that are not mapped. But what was entered before stays open: \
             chdir(2) to the root filesystem before unshare(2), and after that everything relative to \".\".",
        ],
        lines: ["unistd::chdir(&args.rootfs)", "mount(Some(\".\")"],
    },
];

const SETGROUPS: &str = "root may write gid_map without it, but an ordinary user may not (EPERM): write \"deny\" to \
    /proc/self/setgroups *before* gid_map";

fn without_root(lab: &Lab) -> Result<()> {
    // Whoever works there owns the root filesystem, too.
    let owner = if is_root() { "chown -R 1000:1000 rootfs" } else { "true" };
    lab.host.run(owner)?;
    let line = [&*lab.program(), "run", "sh", "-c", "id -u; id -g; hostname"];
    let done = lab.start_as_learner(&line)?.end()?;
    lab.soil();
    if done.stdout == "0\n0\ncontainer\n" && done.status == Some(0) {
        return Ok(());
    }
    let mut numbers = done.stdout.lines();
    let cause: Cause = match (numbers.next(), numbers.next()) {
        (Some("65534"), _) | (Some(_), Some("65534")) => {
            "65534 is the number for users and groups that nobody has mapped: write uid_map *and* gid_map, before the \
             command is started"
                .into()
        }
        (Some("0"), Some("0")) | (None, _) | (_, None) => done.why_not_run(),
        (Some("0"), Some(_)) => {
            "the group is not 0 inside: gid_map maps another number. A line is INSIDE OUTSIDE COUNT: `0 GID 1`".into()
        }
        _ => "the user is not 0 inside: uid_map maps another number. A line is INSIDE OUTSIDE COUNT: `0 UID 1`".into(),
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
    let mut run = fence::on_this_machine();
    run.args(["timeout", "--kill-after=1", "10"]).arg(lab.host.path(&lab.program()));
    let done = output(run.args(["run", "--rootfs"]).arg(classroom::rootfs()?).arg("true"))?;
    let said = excerpt(&done.stderr);
    let trace = lab.trace(&["true".into()], false);
    let given_up = trace.written("/setgroups").next().is_some();
    let is_it =
        ["gid_map", "setgroups"].iter().any(|file| said.contains(file)) || !trace.is_empty();
    if done.status == 0 || given_up || !is_it {
        return Ok(());
    }
    Err(Stop::Wrong(Box::new(Failure {
        did: format!("WORKSHOP_SUDO=no {}", lab.typed(&["run", "true"])),
        expected: "exit status 0".into(),
        got: said,
        cause: SETGROUPS.into(),
    })))
}

/// Started by root, with a root filesystem that lies in somebody else's home. (An ordinary user has no such home: there
/// is nobody else on the host.)
fn closed_home(lab: &Lab) -> Result<()> {
    hold(lab, "")?.release()?;
    if !is_root() {
        return Ok(());
    }
    lab.soil();
    lab.host.run("mkdir -m 700 /home /home/rootfs; mv rootfs /home; chown 1000:1000 /home")?;
    let done = lab.run(&["--rootfs", "/home/rootfs", "echo", "it runs"])?;
    if done.stdout == "it runs\n" {
        return Ok(());
    }
    let said = excerpt(&done.stderr);
    let cause = if ["EACCES", "Permission denied"].iter().any(|text| said.contains(text)) {
        "EACCES: root of a user namespace has no power over what belongs to users that are not mapped in it, so that \
         it may not search their home. Enter the root filesystem before unshare(CLONE_NEWUSER), in `run`, by chdir(2), \
         and use \".\" from then on"
            .into()
    } else {
        done.why_not_run()
    };
    let expected =
        "started by root, with a root filesystem in the home (0700) of uid 1000: it runs";
    Err(done.wrong(expected, done.summary(), cause))
}
