//! Step 03: some set-up can only happen inside, before the command.

use crate::lab::Lab;
use crate::step02::RENAMED;
use crate::{Check, Result};

pub const CHECKS: &[Check] = &[
    check! { 3, named, "is called `container` from the beginning",
        read: "sethostname(2), execve(2), proc(5)",
        hints: [
            "Somebody has to call sethostname(2) when the new namespace is there and the command is not. Who, and \
             where?",
            "`run` starts your program once more, through /proc/self/exe, as `child`. The child is in the new \
             namespace: it sets the hostname, and then starts the command.",
        ],
        lines: ["/proc/self/exe", "sethostname(", "Cli::Child"],
    },
    check! { 3, reexec, "finds itself again, whatever name it was started by",
        read: "proc(5): /proc/pid/exe",
        hints: [
            "The first argument of a program is only a name that its caller has chosen. It need not be a path to it.",
            "/proc/self/exe is always the program that is running.",
        ],
        lines: ["/proc/self/exe"],
    },
    check! { 3, child_killed, "does not call it a success when its second half is killed",
        read: "waitpid(2), signal(7)",
        hints: [
            "`run` waits for `child`, and that may be killed as any other process. What is its exit status then?",
            "Wait for both in the same way: ExitStatus::code() is None, and the number is 128 + signal().",
        ],
        lines: ["wait_for(child.spawn()"],
    },
];

fn named(lab: &Lab) -> Result<()> {
    let done = lab.run(&["hostname"])?;
    let host = lab.host.run("hostname")?.stdout;
    if host != "host\n" {
        let inside = done.stdout.trim();
        let got = format!("the host is called {:?} now, and the container {inside:?}", host.trim());
        let expected = "the container is called \"container\", the host still \"host\"";
        return Err(done.wrong(expected, got, RENAMED));
    }
    let cause = match &*done.stdout {
        "container\n" => return named_in_time(lab),
        "host\n" => {
            "a new UTS namespace begins as a copy of the old one, and nobody has changed it: call \
            sethostname(2) with \"container\" in `child`, before the command is started"
                .into()
        }
        "" => done.why_not_run(),
        other => format!(
            "sethostname(2) was called with another name: {:?}",
            other.strip_suffix('\n').unwrap_or(other)
        )
        .into(),
    };
    Err(done.wrong("\"container\"", done.summary(), cause))
}

/// A name that comes after the start of the command may be there before it looks, or not. With sethostname(2) held up
/// for a moment it is not; where nothing can hold it up, many runs have to tell.
fn named_in_time(lab: &Lab) -> Result<()> {
    const LATE: &str = "sethostname(2) comes after the command was started: it may look at the old name first. Call it \
        in `child` before Command::spawn";
    let runs = if lab.has_strace() { 1 } else { 30 };
    for _ in 0..runs {
        let done = lab.run_slowed("sethostname", &["hostname"])?;
        if done.stdout != "container\n" && done.status == Some(0) {
            let got = format!("{}, if sethostname(2) takes its time", done.summary());
            return Err(done.wrong("\"container\", each time", got, LATE));
        }
    }
    Ok(())
}

fn reexec(lab: &Lab) -> Result<()> {
    if lab.host.run("command -v bash >/dev/null")?.status != 0 {
        return Ok(()); // no other shell can start a program by another name
    }
    let script = format!("exec -a another-name {} run hostname", lab.program());
    let shown = format!("bash -c '{}'   # as root", script.replace("/workshop/", "target/debug/"));
    let done = lab.start_as(Some(&shown), &["bash", "-c", &script])?.end()?;
    if done.stdout == "container\n" {
        return Ok(());
    }
    let cause = if done.stdout.is_empty() {
        "your program looks for itself under the name that it was started by (argv[0]); there is nothing under that \
         name. It is always /proc/self/exe"
            .into()
    } else {
        done.why_not_run()
    };
    Err(done.wrong("\"container\"", done.summary(), cause))
}

fn child_killed(lab: &Lab) -> Result<()> {
    let held = lab.hold(&[], "")?;
    let child = lab.process(held.command).map_or(0, |command| command.parent);
    if child == held.runner || held.command == held.runner {
        let cause = "there is no `child` between `run` and the command: `run` has to start your program once more";
        return match lab.run(&["hostname"])?.stdout.as_str() {
            "container\n" => Ok(()), // it has become the command
            _ => Err(held.wrong(
                "your program runs twice, as `run` and as `child`",
                "it runs once",
                cause,
            )),
        };
    }
    lab.soil();
    held.running.signalled.set(true);
    lab.host.run(&format!("kill -KILL {child}"))?;
    let done = held.running.exit()?;
    if done.status != Some(0) {
        return Ok(());
    }
    let cause = "whoever a signal has ended has no exit status, `child` as well: ExitStatus::code() is None then, and \
                 not 0. It is 128 + signal(), as for the command";
    Err(done.wrong("`child` is killed with SIGKILL: exit status 137", done.ending(), cause))
}
