//! Step 04: PID 1 is special.

use nix::sys::signal::Signal;

use crate::Check;
use crate::Result;
use crate::Stop;
use crate::lab::Done;
use crate::lab::Held;
use crate::lab::Lab;
use crate::lab::Process;

pub const CHECKS: &[Check] = &[
    check! { 4, pids, "numbers its processes from 1",
        read: "pid_namespaces(7), unshare(2)",
        hints: [
            "Process numbers are one more global. Which flag makes new ones?",
            "unshare(CLONE_NEWPID) does not move the caller: the next process that it starts is PID 1. So call it in \
             `run`, and `child` is PID 1.",
        ],
        lines: ["CLONE_NEWPID"],
    },
    check! { 4, orphans, "reaps orphans, and does not take their status for the command's",
        read: "pid_namespaces(7), waitpid(2)",
        hints: [
            "A process whose parent has died gets PID 1 as its new parent. When it ends, somebody has to wait for it.",
            "PID 1 waits for *any* child (waitpid(-1)), again and again, until it was the command that ended.",
        ],
        lines: ["orphan"],
    },
    check! { 4, background, "ends with the command, and takes what runs in the background along",
        read: "pid_namespaces(7)",
        hints: [
            "When PID 1 ends, the kernel kills everything in its namespace.",
            "So PID 1 must not wait until it has no children left: only until the command has ended.",
        ],
        lines: ["wait(WaitOptions::NOHANG)"],
    },
    check! { 4, dies_with_runner, "dies with its runner, even if that is killed",
        read: "prctl(2): PR_SET_PDEATHSIG",
        hints: [
            "SIGKILL gives `run` no chance to tidy up. Who can tell the kernel to kill the container then?",
            "`child` calls prctl(PR_SET_PDEATHSIG, SIGKILL): \"kill me when my parent dies\". It is PID 1, and takes \
             all others along.",
        ],
        lines: ["set_pdeathsig"],
    },
    check! { 4, sigterm, "ends the container on SIGTERM to the runner, with status 143",
        read: "signal(7), pid_namespaces(7), kill(2)",
        hints: [
            "A signal without a handler does nothing to PID 1. And `run` dies of it, and can pass no status on.",
            "Both halves handle SIGTERM in the same way: pass it on to the process that they wait for, and go on \
             waiting.",
        ],
        lines: ["SignalsInfo::new", "kill(pid, signal)"],
    },
    check! { 4, ctrl_c, "lets Ctrl-C reach the command, and says 130",
        read: "termios(3): ISIG, signal(7)",
        hints: [
            "The terminal sends SIGINT to every process of the foreground: to the command, and to both halves of your \
             program.",
            "Both halves have to survive it, so that they can pass the status on: a handler that does nothing is \
             enough there.",
        ],
        lines: ["if knows"],
    },
];

const COMMAND_IS_INIT: &str = "PID 1 is the command itself, not `child`: unshare(CLONE_NEWPID) was called in `child`, \
    and it only concerns processes that the caller starts afterwards. Call it in `run`: then `child` is PID 1 and can \
    do an init's duties";
const NO_NULL: &str = "a shell opens /dev/null for what it starts in the background, and it is not there: the tmpfs on \
    /dev hides the root filesystem's devices, and the host's have to be mounted in it (null, zero, full, random, \
    urandom, tty)";

/// PID 1 of the container, as the host sees it, if the command has process numbers of its own.
fn init(lab: &Lab, held: &Held) -> Option<Process> {
    let space = lab.namespace(held.command, "pid");
    if space == lab.namespace(1, "pid") {
        return None;
    }
    let is_init = |pid| lab.namespace(pid, "pid") == space && lab.numbers(pid).last() == Some(&1);
    lab.processes().into_iter().find(|process| is_init(process.pid))
}

/// A container with a PID 1 that is held.
fn hold<'a>(lab: &'a Lab, script: &str) -> Result<(Held<'a>, Process)> {
    let held = lab.hold(&[], script)?;
    match init(lab, &held) {
        Some(init) => Ok((held, init)),
        None => {
            let cause = held.why_together("pid", "CLONE_NEWPID", "");
            Err(held.wrong("the container has a PID 1", "it has none", cause))
        }
    }
}

fn pids(lab: &Lab) -> Result<()> {
    let held = lab.hold(&[], "echo $$; ")?;
    let number: u32 = held.before.trim().parse().unwrap_or(0);
    if init(lab, &held).is_some() && (1..=9).contains(&number) {
        held.release()?;
        return Ok(());
    }
    let got = format!("$$ is {number}: the number that the host knows the process by");
    let cause = held.why_together("pid", "CLONE_NEWPID", "");
    Err(held.wrong("$$ is a small number: 2, if PID 1 is `child`", &got, cause))
}

fn orphans(lab: &Lab) -> Result<()> {
    // The subshell ends at once, and leaves an orphan that ends, with a status of its own, when told to.
    let (mut held, init) = hold(lab, "(sh -c 'read line; exit 9' orphan <&3 &) 3<&0; ")?;
    let orphan = || {
        lab.processes()
            .into_iter()
            .find(|process| process.args.last().is_some_and(|arg| arg == "orphan"))
    };
    if !lab.wait_until(|| orphan().is_some_and(|orphan| orphan.parent == init.pid)) {
        held.running.catch_up();
        let no_null = held.wrong(
            "the shell starts something in the background (`command &`)",
            "it cannot",
            NO_NULL,
        );
        if matches!(&no_null, Stop::Wrong(failure) if failure.got.contains("/dev/null")) {
            return Err(no_null);
        }
        let cause = "the orphan has left the container's PID namespace";
        return Err(held.wrong("PID 1 adopts the orphan", "it does not", cause));
    }
    let Held { mut running, command, .. } = held;
    let pid = orphan().map_or(0, |process| process.pid);
    lab.host.run(&format!("kill -9 {pid}"))?;
    if !lab.wait_until(|| lab.process(pid).is_none()) {
        let cause = if init.pid == command {
            COMMAND_IS_INIT
        } else {
            "PID 1 waits for the command only: orphans become its children, and stay zombies until it waits for them, \
             too. Wait for any child, waitpid(-1), until it was the command"
        };
        return Err(running.wrong(
            "an orphan that has ended disappears",
            "it stays, as a zombie",
            cause,
        ));
    }
    running.say("go on");
    let done = running.end()?;
    if done.status == Some(0) {
        return Ok(());
    }
    let cause = "your program takes the status of the orphan that ended first (137) for that of the command: compare \
                 the PID that waitpid(2) returns with the command's, and go on waiting if it is another";
    Err(done.wrong("exit status 0, the command's", done.ending(), cause))
}

fn background(lab: &Lab) -> Result<()> {
    let (held, _) = hold(lab, "sleep 1000 <&- >&- 2>&- & ")?;
    let sleeps = || lab.runs(&["sleep", "1000"]);
    lab.wait_until(sleeps);
    let done = held.release().map_err(|stop| match stop {
        Stop::Wrong(mut failure) => {
            let cause = "PID 1 waits until the last process has ended, not only the command: return as soon as \
                         waitpid(2) returns the command's PID. The kernel kills the rest when PID 1 ends";
            failure.cause = cause.into();
            Stop::Wrong(failure)
        }
        host => host,
    })?;
    if lab.wait_until(|| !sleeps()) {
        return Ok(());
    }
    let expected = "`sleep 1000` in the background is gone when the command has ended";
    Err(done.wrong(expected, "it still runs", COMMAND_IS_INIT))
}

fn dies_with_runner(lab: &Lab) -> Result<()> {
    let (held, init) = hold(lab, "")?;
    lab.soil();
    held.running.signal(Signal::SIGKILL)?;
    let command = held.command;
    if lab.wait_until(|| !lab.lives(command)) {
        return Ok(());
    }
    let cause = if init.pid == command {
        format!("{COMMAND_IS_INIT}, with prctl(PR_SET_PDEATHSIG, SIGKILL) as the first")
    } else {
        "nobody has told the kernel that PID 1 shall die with its parent: call prctl(PR_SET_PDEATHSIG, SIGKILL) in \
         `child` (in `run` it has no effect here: it concerns the caller, and is cleared in the processes that it \
         starts)"
            .into()
    };
    let expected = "the runner is killed with SIGKILL, and the command is gone, too";
    Err(held.wrong(expected, "the command still runs", cause))
}

fn sigterm(lab: &Lab) -> Result<()> {
    let (held, init) = hold(lab, "sleep 1000 <&- >&- 2>&- & ")?;
    held.running.signal(Signal::SIGTERM)?;
    let expected = "after `kill -TERM` on the runner: exit status 143, and the container is gone";
    if !lab.wait_until(|| !lab.lives(held.command)) {
        let cause = if lab.lives(held.runner) {
            "the signal did not get as far as the command. The kernel keeps signals without a handler from PID 1: \
             `run` has to pass SIGTERM on to `child`, and `child`, with a handler, to the command"
        } else if init.pid == held.command {
            COMMAND_IS_INIT
        } else {
            "SIGTERM has ended the runner, which has no handler for it, and nothing has ended the container: handle \
             SIGTERM in both halves and pass it on with kill(2)"
        };
        return Err(held.wrong(expected, "the command still runs", cause));
    }
    let done = held.running.end()?;
    let cause = match done.status {
        Some(143) => return Ok(()),
        None => {
            "SIGTERM has ended the runner itself, so that it could neither pass the status on nor tidy up: it needs a \
             handler for SIGTERM that passes the signal on, and then goes on waiting"
        }
        Some(137) => {
            "the container was killed with SIGKILL: pass on the signal that came, so that the command may react to it"
        }
        _ => "the command was ended by SIGTERM: that is 128 + 15, in both halves",
    };
    Err(done.wrong(expected, done.ending(), cause))
}

fn ctrl_c(lab: &Lab) -> Result<()> {
    const HANDLERS: &str =
        "Both halves need a handler for SIGINT that does nothing, and go on waiting";
    // The command survives Ctrl-C for a moment: whoever has started it has to survive it, too, and to wait.
    let done =
        on_ctrl_c(lab, "trap \"echo caught; exit 5\" INT; echo ready; while true; do :; done")?;
    if !done.stdout.contains("caught") || done.status != Some(5) {
        let cause = format!(
            "Ctrl-C has ended the runner before it could wait for the command, or pass its status on: SIGINT goes to \
             every process in the foreground of the terminal. {HANDLERS}"
        );
        let expected = "the command catches Ctrl-C, and ends with status 5: so does the runner";
        return Err(done.wrong(expected, done.ending(), cause));
    }
    // What is in the background ignores Ctrl-C and the end of the terminal, so only the end of PID 1 ends it.
    let inner =
        "trap \"\" INT HUP; sleep 1000 <&- >&- 2>&- & trap - INT HUP; echo ready; read line";
    let done = on_ctrl_c(lab, inner)?;
    let expected = "Ctrl-C ends the command and all of the container; exit status 130";
    if !lab.wait_until(|| !lab.runs(&["sleep", "1000"])) {
        let cause = "what runs in the background has survived: the container has no PID 1 that takes it along \
                     (CLONE_NEWPID), or PID 1 still runs";
        return Err(done.wrong(expected, "a process in the background still runs", cause));
    }
    if done.status == Some(130) {
        return Ok(());
    }
    let cause = format!("Ctrl-C has ended the command, that is 128 + 2. {HANDLERS}");
    Err(done.wrong(expected, done.ending(), cause))
}

/// Runs a script inside, on a terminal, and types Ctrl-C as soon as it is ready.
fn on_ctrl_c(lab: &Lab, inner: &str) -> Result<Done> {
    // exec: script(1) starts a shell, and that one is not to answer Ctrl-C for us.
    let line = format!("exec {} run sh -c '{inner}'", lab.program());
    let shown =
        format!("{} run sh -c '{inner}'   (on a terminal, then Ctrl-C)", lab.host.program());
    let mut running = lab.start_as(Some(&shown), &["script", "-qec", &line, "/dev/null"])?;
    running.until("ready\r\n")?;
    running.send(b"\x03");
    running.exit()
}
