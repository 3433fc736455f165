//! Step 04: PID 1 is special.

use std::fs;

use nix::sys::signal::Signal;

use crate::lab::{Done, Held, Lab, Process, Running};
use crate::{Cause, Check, Result, Stop, lab};

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
    check! { 4, signals, "starts the command with no signal blocked or ignored",
        read: "signal(7): \"Signal mask and pending signals\", execve(2)",
        hints: [
            "Which of your program's signal settings does a command inherit? /proc/PID/status shows them: SigBlk, \
             SigIgn.",
            "Unblock what you have blocked before Command::spawn: SigSet::empty().thread_set_mask().",
        ],
        lines: ["thread_set_mask()"],
    },
    check! { 4, sleeps, "sleeps while the command runs",
        read: "wait(2), sigwaitinfo(2), time(7)",
        hints: [
            "What does `top` show while the container does nothing?",
            "Both halves ask once what has happened up to now, without waiting (pending()). From then on they wait for \
             the next signal, SIGCHLD for example: SignalsInfo::wait().",
        ],
        lines: ["early = false", "signals.wait()"],
    },
    check! { 4, own_signals, "keeps SIGCHLD to itself",
        read: "signal(7), kill(2)",
        hints: [
            "SIGCHLD tells a process of *its* children. Whose are they, where PID 1 gets one?",
            "Pass on what comes from others; at SIGCHLD only look who has ended.",
        ],
        lines: ["Signal::SIGCHLD => {}"],
    },
    check! { 4, orphans, "reaps orphans, and does not take their status for the command's",
        read: "pid_namespaces(7), waitpid(2)",
        hints: [
            "A process whose parent has died gets PID 1 as its new parent. When it ends, somebody has to wait for it.",
            "PID 1 waits for *any* child (waitpid(-1)), again and again, until it was the command that ended.",
        ],
        lines: ["wait(WaitOptions::NOHANG)"],
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
        lines: ["set_pdeathsig", "PPid:"],
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
            "Both halves have to survive it, so that they can pass the status on: a handler that does nothing with it \
             (only if a process has sent it, they pass it on).",
        ],
        lines: ["if knows"],
    },
    check! { 4, ctrl_z, "stops at Ctrl-Z, so that the shell has its terminal back",
        read: "signal(7): \"Stop process\", termios(3): VSUSP",
        hints: [
            "Whoever handles a signal is not stopped by it. Which signals stop a process?",
            "Leave SIGTSTP, SIGTTIN and SIGTTOU alone. (PID 1 they do not stop; `run` and the command they do.)",
        ],
        lines: ["SIGTSTP"],
    },
    check! { 4, hangup, "ends when its terminal goes away",
        read: "credentials(7): \"Sessions\", signal(7): SIGHUP",
        hints: [
            "Who gets SIGHUP when a terminal goes away? Not everybody in the foreground.",
            "The kernel tells the leader of the session, and that may be `run` alone: pass SIGHUP on, as any other \
             signal.",
        ],
        lines: ["signal => _ = kill(pid, signal)"],
    },
];

/// Why PID 1 is the command itself.
fn command_is_init(held: &Held) -> String {
    let lab = held.running.lab;
    let children = lab.namespace(held.runner, "pid_for_children");
    if children == lab.namespace(held.command, "pid") {
        return "PID 1 is the command itself: your `child` has become the command, by execve(2) (exec(), Docker's way), \
                and is not there any more to do an init's duties (reap orphans, pass signals on). Start the command as \
                a child of its own (Command::spawn), and wait for it"
            .into();
    }
    "PID 1 is the command itself, not `child`: unshare(CLONE_NEWPID) was called in `child`, and it only concerns \
     processes that the caller starts afterwards. Call it in `run`: then `child` is PID 1 and can do an init's \
     duties"
        .into()
}

const NO_NULL: &str = "a shell opens /dev/null for what it starts in the background, and it is not there: the tmpfs on \
    /dev hides the root filesystem's devices, and the host's have to be mounted in it (null, zero, full, random, \
    urandom, tty)";

const NULL_LOST: &str = "a shell opens /dev/null for what it starts in the background, and it is not there, although \
    others are: it is missing in your list of devices (null, zero, full, random, urandom, tty)";

const NO_DEVICE: &str = "a shell opens /dev/null for what it starts in the background, and there is nothing at all in \
    /dev. The host's devices have to be mounted in the tmpfs (null, zero, full, random, urandom, tty): after it, or it \
    hides them; and with a `for`: an iterator's map() does nothing until somebody takes what comes of it";

const NODEV: &str = "EACCES: a shell opens /dev/null for what it starts in the background. It is there, but on a mount \
    with MS_NODEV, and there devices are none. What mknod(2) makes on such a tmpfs is none; what is mounted from the \
    host's /dev, on an empty file, is one, as long as that flag is not set for this mount, too";

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
    // The subshells end at once, and each leaves an orphan that would end by itself with a status of its own.
    let orphan = "(sh -c 'read line; exit 9' orphan <&3 &) 3<&0; ";
    let (mut held, init) = hold(lab, &orphan.repeat(3))?;
    let orphans = || -> Vec<Process> {
        let is_one = |process: &Process| process.args.last().is_some_and(|arg| arg == "orphan");
        lab.processes().into_iter().filter(is_one).collect()
    };
    let adopted = || orphans().iter().filter(|orphan| orphan.parent == init.pid).count() == 3;
    if !lab.wait_until(adopted) {
        held.running.catch_up();
        let (expected, got) =
            ("the shell starts something in the background (`command &`)", "it cannot");
        let refused = held.running.done().stderr.contains("'/dev/null': Permission denied");
        let others = lab.proc(held.command, "root/dev/zero").exists();
        let mut inside = fs::read_dir(lab.proc(held.command, "root/dev")).into_iter().flatten();
        let no_null = match (refused, others) {
            (true, _) => NODEV,
            (_, true) => NULL_LOST,
            _ if inside.next().is_none() => NO_DEVICE,
            _ => NO_NULL,
        };
        let no_null = held.wrong(expected, got, Cause::about("dev", no_null));
        if matches!(&no_null, Stop::Wrong(failure) if failure.got.contains("/dev/null")) {
            return Err(no_null);
        }
        let cause = "the orphan has left the container's PID namespace";
        return Err(held.wrong("PID 1 adopts the orphan", "it does not", cause));
    }
    // They end while PID 1 is stopped: it gets one SIGCHLD for all of them.
    let pids: Vec<String> = orphans().iter().map(|orphan| orphan.pid.to_string()).collect();
    let is_init = init.pid == held.command;
    if !is_init {
        lab.host.run(&format!("kill -STOP {}", init.pid))?;
    }
    lab.host.run(&format!("kill -USR2 {}", pids.join(" ")))?;
    let ended = |pid: &String| pid.parse().is_ok_and(|pid| !lab.lives(pid));
    lab.wait_until(|| pids.iter().all(ended));
    if !is_init {
        lab.host.run(&format!("kill -CONT {}", init.pid))?;
    }
    let there = |pid: &&String| pid.parse().is_ok_and(|pid| lab.process(pid).is_some());
    if !lab.wait_until(|| !pids.iter().any(|pid| there(&pid))) {
        let left = pids.iter().filter(there).count();
        let cause = if is_init {
            command_is_init(&held)
        } else if !lab.wait_a_moment(|| lab.is_waiting(init.pid)) {
            "PID 1 is busy, and does not get to wait(2). A signal has come (SIGCONT): does it send it to itself, again \
             and again? (kill(2) with the number 1 is `child` itself, in its PID namespace.) Or does a loop never \
             wait?"
                .into()
        } else if left == pids.len() {
            "PID 1 waits for the command only: orphans become its children, and stay zombies until it waits for them, \
             too. Wait for any child, waitpid(-1), until it was the command"
                .into()
        } else {
            "only one orphan was buried: when several have ended, PID 1 may get a single SIGCHLD for all of them. Call \
             waitpid(-1) with WNOHANG until nothing is left, a `while` and not an `if`"
                .into()
        };
        let got = format!("{left} of {} stay, as zombies", pids.len());
        return Err(held.wrong("orphans that have ended disappear", &got, cause));
    }
    let Held { mut running, .. } = held;
    running.say("go on");
    let done = running.end()?;
    if done.status == Some(0) {
        return Ok(());
    }
    let cause = if done.status == Some(137) {
        "the command was killed with SIGKILL when another signal came (SIGCONT to PID 1): pass on the signal that \
         came, so that the command may react to it"
    } else if done.status == Some(128 + Signal::SIGCONT as i32) {
        "a signal has come (SIGCONT, 18), and your program ends with 128 + 18 at once: the command still ran. Pass the \
         signal on to it, and go on waiting"
    } else if done.status != Some(128 + Signal::SIGUSR2 as i32) {
        "somebody was only stopped (PID 1 here, with SIGSTOP), and your program takes that for the end: with WUNTRACED \
         waitpid(2) returns also those. Leave it out"
    } else {
        "your program takes the status of the orphan that ended first (128 + 12) for that of the command: compare the \
         PID that waitpid(2) returns with the command's, and go on waiting if it is another"
    };
    Err(done.wrong("exit status 0, the command's", done.ending(), cause))
}

fn background(lab: &Lab) -> Result<()> {
    let (held, init) = hold(lab, "sleep 1000 <&- >&- 2>&- & ")?;
    let is_init = (init.pid == held.command).then(|| command_is_init(&held));
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
    let cause = is_init.unwrap_or_else(|| "PID 1 has not ended with the command".into());
    Err(done.wrong(expected, "it still runs", cause))
}

/// The signals that a command has to have as they come.
fn signals(lab: &Lab) -> Result<()> {
    hold(lab, "")?.0.release()?;
    // Shells change theirs; cat does not.
    let mut running = lab.start(&["cat"])?;
    running.say("up");
    running.until("up\n")?;
    let command = running.inside().unwrap_or(0);
    // What was ignored when the check was started is ignored by everything here.
    let mine = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let known = lab::signals(&mine, "SigIgn");
    let blocked = lab.signals(command, "SigBlk");
    let mut ignored = lab.signals(command, "SigIgn");
    // 32 and 33 belong to the C library.
    ignored.retain(|signal| !known.contains(signal) && ![32, 33].contains(signal));
    let named = |list: &[i32]| {
        let name = |signal: &i32| {
            Signal::try_from(*signal).map_or(signal.to_string(), |it| it.to_string())
        };
        let names: Vec<String> = list.iter().take(4).map(name).collect();
        format!("{}{}", names.join(", "), if list.len() > 4 { ", …" } else { "" })
    };
    let (got, cause) = if !blocked.is_empty() {
        (
            format!("blocked in the command: {}", named(&blocked)),
            "signals are blocked in the command: a process inherits the signal mask, also through execve(2). Whoever \
             blocks signals has to unblock them again before the command is started: \
             SigSet::empty().thread_set_mask(). That comes last: whoever handles signals blocks them first, and before \
             them is too early",
        )
    } else if !ignored.is_empty() {
        (
            format!("ignored by the command: {}", named(&ignored)),
            "signals are ignored by the command: what is set to \"ignore\" stays so through execve(2), only handlers \
             do not. Use a handler that does nothing in place of \"ignore\" (SIG_IGN)",
        )
    } else {
        running.end()?;
        return Ok(());
    };
    Err(running.wrong("the command has no signal blocked or ignored", &got, cause))
}

/// Whether a process waits, and has not got a signal that it has not seen yet.
fn is_settled(lab: &Lab, pid: u32, signal: Signal) -> bool {
    !lab.signals(pid, "ShdPnd").contains(&(signal as i32)) && lab.is_waiting(pid)
}

/// Whoever asks in a loop, in place of waiting, is never found waiting.
fn sleeps(lab: &Lab) -> Result<()> {
    let (held, init) = hold(lab, "")?;
    for (half, pid) in [("`run`", held.runner), ("`child`", init.pid)] {
        let mut looks = 0;
        let sleeps = lab.wait_until(|| {
            looks = if lab.is_waiting(pid) { looks + 1 } else { 0 };
            looks == 3
        });
        if sleeps {
            continue;
        }
        let cause = "it never waits: a loop asks again and again what has happened (pending(), WNOHANG), and that \
                     takes a whole CPU for as long as the container runs. Only the first time is it not to wait \
                     (`early`, which has to end with that); then SignalsInfo::wait(): SIGCHLD comes when somebody has \
                     ended";
        let expected = "both halves sleep while the command waits for a line (state S in `ps`)";
        return Err(held.wrong(expected, &format!("{half} runs all the time (state R)"), cause));
    }
    held.release()?;
    Ok(())
}

/// Whoever stops a process makes its parent get a SIGCHLD.
fn own_signals(lab: &Lab) -> Result<()> {
    let (held, init) = hold(lab, "trap : CHLD; ")?;
    if init.pid == held.command {
        held.release()?;
        return Ok(());
    }
    // What comes while it is stopped stays to be seen.
    lab.host.run(&format!("kill -STOP {}", held.command))?;
    lab.wait_until(|| lab.is_stopped(held.command));
    lab.wait_until(|| is_settled(lab, init.pid, Signal::SIGCHLD));
    let told = lab.signals(held.command, "ShdPnd").contains(&(Signal::SIGCHLD as i32));
    lab.host.run(&format!("kill -CONT {}", held.command))?;
    if !told {
        held.release()?;
        return Ok(());
    }
    let cause = "SIGCHLD is passed on to the command, and that believes that a child of its own has ended. It is for \
                 PID 1 itself: somebody has ended (or was stopped), and wait(2) tells who. Pass on all others";
    let expected = "something happens to a child of PID 1: the command gets no SIGCHLD of that";
    Err(held.wrong(expected, "it gets one", cause))
}

fn dies_with_runner(lab: &Lab) -> Result<()> {
    // It does not end of other signals: only SIGKILL will do.
    let (held, init) = hold(lab, "trap \"\" TERM INT HUP; ")?;
    lab.soil();
    held.running.signal(Signal::SIGKILL)?;
    let command = held.command;
    if !lab.wait_until(|| !lab.lives(command)) {
        let cause = if init.pid == command {
            format!(
                "{}. prctl(PR_SET_PDEATHSIG, SIGKILL) comes first in `child`",
                command_is_init(&held)
            )
        } else {
            "nobody has told the kernel that PID 1 shall die with its parent: call prctl(PR_SET_PDEATHSIG, SIGKILL) in \
             `child` (in `run` it has no effect here: it concerns the caller, and is cleared in the processes that it \
             starts)"
                .into()
        };
        let expected = "the runner is killed with SIGKILL, and the command is gone, too";
        return Err(held.wrong(expected, "the command still runs", cause));
    }
    drop(held);
    // A PID 1 that waits for the end of its last processes looks like one that is held.
    lab.wait_until(|| lab.process(init.pid).is_none());
    let Some(mut early) = lab.start_early()? else { return Ok(()) };
    early.running.signal(Signal::SIGKILL)?;
    let runner = early.running.runner();
    lab.wait_until(|| !lab.lives(runner));
    early.go_on();
    if lab.wait_until(|| !lab.lives(early.init)) {
        return Ok(());
    }
    let cause = "the runner has died before `child` has told the kernel that it wants to die with it \
                 (PR_SET_PDEATHSIG): then no signal comes any more. After prctl(2), look whether the runner is still \
                 there: PPid in /proc/self/status, compared with the number that `run` hands on";
    let expected =
        "the runner is killed as soon as it has started `child`, and the container is gone, too";
    Err(early.running.wrong(expected, "the container still runs", cause))
}

fn sigterm(lab: &Lab) -> Result<()> {
    let (held, init) = hold(lab, "sleep 1000 <&- >&- 2>&- & ")?;
    held.running.signal(Signal::SIGTERM)?;
    let expected = "after `kill -TERM` on the runner: exit status 143, and the container is gone";
    if !lab.wait_until(|| !lab.lives(held.command)) {
        let cause = if init.pid == held.command {
            command_is_init(&held)
        } else if lab.lives(held.runner) {
            "the signal did not get as far as the command. The kernel keeps signals without a handler from PID 1: \
             `run` has to pass SIGTERM on to `child`, and `child`, with a handler, to the command: kill(2) with its \
             number (a negative one is a process group, and there is none of that number)"
                .into()
        } else {
            "SIGTERM has ended the runner, which has no handler for it, and nothing has ended the container: handle \
             SIGTERM in both halves and pass it on with kill(2)"
                .into()
        };
        return Err(held.wrong(expected, "the command still runs", cause));
    }
    let done = held.running.end()?;
    let cause = match done.status {
        Some(143) => {
            reaches_a_handler(lab, Signal::SIGTERM)?;
            return early_sigterm(lab);
        }
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

/// A signal to the runner is for the command: it may handle it, and end as it likes.
fn reaches_a_handler(lab: &Lab, signal: Signal) -> Result<()> {
    let name = &signal.as_str()[3..];
    let (held, _) = hold(lab, &format!("trap \"exit 3\" {name}; "))?;
    // A signal that comes just before a shell's read(2) is handled only after it.
    lab.wait_until(|| lab.is_waiting(held.command));
    held.running.signal(signal)?;
    let expected = format!(
        "after `kill -{name}` on the runner: exit status 3, as the command handles the signal"
    );
    if !lab.wait_until(|| !lab.lives(held.command)) {
        let cause = format!(
            "SIGTERM is passed on, and {signal} is not. Either your program passes on only some of those that it \
             handles (pass on each that comes, but SIGCHLD); or it takes this one for a Ctrl-C, which the terminal \
             has sent to the command already: but a process has sent it, and to the runner alone"
        );
        return Err(held.wrong(&expected, "the command still runs", cause));
    }
    let done = held.running.end()?;
    if done.status == Some(3) {
        return Ok(());
    }
    let cause = "your program does not wait for what the command makes of the signal: it ends at once (and then the \
                 kernel kills the command). Pass it on, and go on waiting";
    Err(done.wrong(expected, done.ending(), cause))
}

/// A signal that comes before there is anybody to handle it waits, if it is blocked.
fn early_sigterm(lab: &Lab) -> Result<()> {
    let Some(mut early) = lab.start_early()? else { return Ok(()) };
    early.running.signal(Signal::SIGTERM)?;
    let runner = early.running.runner();
    let arrived = || lab.signals(early.init, "ShdPnd").contains(&(Signal::SIGTERM as i32));
    // Where it does not wait in `child`, `run` has passed it on, and it is lost.
    let passed_on = || is_settled(lab, runner, Signal::SIGTERM) || !lab.lives(runner);
    lab.wait_until(|| arrived() || passed_on());
    early.go_on();
    let ended = lab.wait_until(|| !lab.lives(runner));
    let done = early.running.end()?;
    if ended && done.status == Some(143) {
        return Ok(());
    }
    let cause = "SIGTERM has reached `child` before its handlers are there, and is lost: the kernel throws away what \
                 PID 1 has no handler for, unless it is blocked. Block all signals in `run` before `child` is started \
                 (it inherits the mask): SigSet::all().thread_block(), and unblock them when the handlers are there";
    let expected = "`kill -TERM` on the runner as soon as it has started `child`: exit status 143";
    let got = if ended { done.ending() } else { "the container still runs".into() };
    Err(done.wrong(expected, got, cause))
}

fn ctrl_c(lab: &Lab) -> Result<()> {
    const HANDLERS: &str = "Both halves need a handler for SIGINT, and go on waiting";
    // The command survives Ctrl-C for a moment: whoever has started it has to survive it, too, and to wait.
    let done =
        on_ctrl_c(lab, "trap \"echo caught; exit 5\" INT; echo ready; while true; do :; done")?;
    if done.status != Some(5) {
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
    if done.status != Some(130) {
        let cause = format!("Ctrl-C has ended the command, that is 128 + 2. {HANDLERS}");
        return Err(done.wrong(expected, done.ending(), cause));
    }
    ctrl_c_once(lab)?;
    reaches_a_handler(lab, Signal::SIGINT)?;
    ctrl_c_from_afar(lab)
}

/// What the terminal has sent to the command already is not passed on to it. `child` is stopped until the command has
/// got the terminal's: two that come at the same time are one.
fn ctrl_c_once(lab: &Lab) -> Result<()> {
    let inner = "n=0; trap \"n=\\$((n + 1)); echo caught-\\$n\" INT; trap \"exit \\$n\" USR1; \
                 echo ready; while true; do :; done";
    let mut running = start_on_terminal(lab, ALONE, inner, CTRL_C)?;
    let command = command_of(lab, inner).unwrap_or(0);
    let parent = |pid| lab.process(pid).map_or(0, |process| process.parent);
    let child = parent(command);
    let halves = [child, parent(child)];
    if lab.numbers(child).last() != Some(&1) {
        return Ok(());
    }
    let settled = || halves.iter().all(|pid| is_settled(lab, *pid, Signal::SIGINT));
    lab.wait_until(settled);
    lab.host.run(&format!("kill -STOP {child}"))?;
    lab.wait_until(|| lab.is_stopped(child));
    running.send(b"\x03");
    let first = running.until("caught-1\r\n");
    lab.host.run(&format!("kill -CONT {child}"))?;
    first?;
    lab.wait_until(settled);
    lab.host.run(&format!("kill -USR1 {command}"))?;
    let done = running.exit()?;
    // Three times, if `run` passes it on only then.
    if !matches!(done.status, Some(2 | 3)) {
        return Ok(());
    }
    let cause = "the command gets SIGINT twice: the terminal has sent it already, to every process in the foreground, \
                 and your program passes its own on as well. What comes from the terminal (SIGINT, SIGQUIT, SIGWINCH; \
                 no process has sent it) is not to be passed on to a command in the same process group";
    let expected = "Ctrl-C, once: the command catches one SIGINT";
    Err(done.wrong(expected, "it catches two", cause))
}

fn ctrl_z(lab: &Lab) -> Result<()> {
    hold(lab, "")?.0.release()?;
    let inner = "echo ready; read line";
    // Only what has a shell above it that could continue it is stopped: `set -m` gives it a process group of its own.
    let mut running = start_on_terminal(lab, "set -m;", inner, "Ctrl-Z")?;
    let argv = [&*lab.program(), "run", "sh", "-c", inner];
    let Some(runner) = lab.processes().into_iter().find(|it| it.args == argv) else {
        return Ok(()); // it has become the command, and is stopped as any other
    };
    lab.soil();
    running.send(b"\x1a");
    if lab.wait_until(|| lab.is_stopped(runner.pid)) {
        return Ok(());
    }
    let cause = "your program handles SIGTSTP, and so it is not stopped: with Ctrl-Z the command stops, `run` waits \
                 on, and the shell above does not get its terminal back. Leave SIGTSTP, SIGTTIN and SIGTTOU to the \
                 kernel";
    Err(running.wrong("`run` is stopped, too", "it goes on", cause))
}

fn hangup(lab: &Lab) -> Result<()> {
    hold(lab, "")?.0.release()?;
    let running =
        start_on_terminal(lab, ALONE, "echo ready; exec sleep 1000 <&- >&- 2>&-", "close it")?;
    let sleeps = || lab.runs(&["sleep", "1000"]);
    lab.wait_until(sleeps);
    // The terminal belongs to script(1), and `run` is the leader of its session.
    lab.soil();
    lab.host.run(&format!("kill -KILL {}", running.runner()))?;
    if lab.wait_until(|| !sleeps()) {
        return Ok(());
    }
    let cause = "SIGHUP has not got as far as the command. When a terminal goes away, the kernel tells only the leader \
                 of the session, and that is `run`: it has to pass SIGHUP on (it is not as with Ctrl-C, which \
                 everybody in the foreground gets)";
    let expected = "the terminal goes away: the command gets SIGHUP, and all of the container ends";
    Err(running.wrong(expected, "the command still runs", cause))
}

/// A command that has left the foreground gets no Ctrl-C from the terminal.
fn ctrl_c_from_afar(lab: &Lab) -> Result<()> {
    let mut running = start_on_terminal(lab, ALONE, "echo ready; exec setsid cat", CTRL_C)?;
    let gone = || {
        let cat = lab.processes().into_iter().find(|it| it.args == ["cat"]);
        cat.is_some_and(|cat| !lab.is_at_terminal(cat.pid))
    };
    if !lab.wait_until(gone) {
        return Ok(()); // there is no setsid(1) inside
    }
    running.send(b"\x03");
    if lab.wait_until(|| !lab.runs(&["cat"])) {
        return Ok(());
    }
    let cause = "the command has left your process group (setsid(1), timeout(1)), so the terminal has not sent it \
                 SIGINT, and your program keeps it to itself. Only a command that is in the same group (getpgid(2)) \
                 knows already";
    Err(running.wrong(
        "Ctrl-C ends a command that has left the foreground, too",
        "it still runs",
        cause,
    ))
}

/// Runs a script inside, on a terminal, and types Ctrl-C as soon as it is ready.
fn on_ctrl_c<'a>(lab: &'a Lab, inner: &str) -> Result<Done<'a>> {
    let mut running = start_on_terminal(lab, ALONE, inner, CTRL_C)?;
    if command_of(lab, inner).is_some_and(|pid| !lab.is_foreground(pid)) {
        let expected = "the command is in the foreground of the terminal, and gets Ctrl-C from it";
        return Err(running.wrong(expected, "it is not", APART));
    }
    running.send(b"\x03");
    running.exit()
}

/// script(1) starts a shell, and that one is not to answer Ctrl-C for us.
const ALONE: &str = "exec";
const CTRL_C: &str = "Ctrl-C";

/// Starts a script inside, on a terminal, and waits until it is ready.
fn start_on_terminal<'a>(lab: &'a Lab, by: &str, inner: &str, then: &str) -> Result<Running<'a>> {
    // Whatever comes of it, the shell is still there: when it ends, so does everything on its terminal.
    let line = format!("{by} {} run sh -c '{inner}'; read line", lab.program());
    let shown =
        format!("{}   # on a terminal, then {then}", lab.typed(&["run", "sh", "-c", inner]));
    let mut running = lab.start_as(Some(&shown), &["script", "-qec", &line, "/dev/null"])?;
    running.until("ready\r\n")?;
    // What comes before a half waits is not told from what came before there was a command.
    let list = lab.processes();
    let is_half =
        |it: &&Process| it.args.get(1).is_some_and(|word| word == "run" || word == "child");
    let waits = |half: &Process| {
        let held_back = lab.signals(half.pid, "SigBlk").contains(&(Signal::SIGINT as i32));
        lab.is_waiting(half.pid) && !held_back
    };
    lab.wait_until(|| list.iter().filter(is_half).all(waits));
    Ok(running)
}

/// The process that runs this script.
fn command_of(lab: &Lab, inner: &str) -> Option<u32> {
    let command = ["sh", "-c", inner];
    lab.processes().into_iter().find(|it| it.args == command).map(|it| it.pid)
}

pub const APART: &str = "the command is in another process group than your program (setpgid(2), setsid(2), or \
    CommandExt::process_group): the terminal sends Ctrl-C to its foreground group only, and stops whoever else reads \
    from it (SIGTTIN). Leave the command in the group that it is started in";
