//! Step 04: PID 1 is special.

use nix::sys::signal::Signal;

use crate::Check;
use crate::Failure;
use crate::lab::Held;
use crate::lab::Lab;
use crate::lab::Process;
use crate::lab::Running;
use crate::lab::argv;

pub const CHECKS: &[Check] = &[
    Check {
        name: "pids",
        title: "numbers its processes from 1",
        from: 4,
        until: 10,
        man: "pid_namespaces(7), unshare(2)",
        hints: &[
            "Process numbers are one more global. Which flag makes new ones?",
            "unshare(CLONE_NEWPID) does not move the caller: the next process that it starts is PID 1. So call it in `run`, and \
             `child` is PID 1.",
        ],
        lines: &["CLONE_NEWPID"],
        observe: pids,
    },
    Check {
        name: "orphans",
        title: "reaps orphans, and does not take their status for the command's",
        from: 4,
        until: 10,
        man: "pid_namespaces(7), waitpid(2)",
        hints: &[
            "A process whose parent has died gets PID 1 as its new parent. When it ends, somebody has to wait for it.",
            "PID 1 waits for *any* child (waitpid(-1)), again and again, until it was the command that ended.",
        ],
        lines: &["orphan"],
        observe: orphans,
    },
    Check {
        name: "background",
        title: "ends with the command, and takes what runs in the background along",
        from: 4,
        until: 10,
        man: "pid_namespaces(7)",
        hints: &[
            "When PID 1 ends, the kernel kills everything in its namespace.",
            "So PID 1 must not wait until it has no children left: only until the command has ended.",
        ],
        lines: &["try_wait()"],
        observe: background,
    },
    Check {
        name: "dies-with-runner",
        title: "dies with its runner, even if that is killed",
        from: 4,
        until: 10,
        man: "prctl(2): PR_SET_PDEATHSIG",
        hints: &[
            "SIGKILL gives `run` no chance to tidy up. Who can tell the kernel to kill the container then?",
            "`child` calls prctl(PR_SET_PDEATHSIG, SIGKILL): \"kill me when my parent dies\". It is PID 1, and takes all others along.",
        ],
        lines: &["set_pdeathsig"],
        observe: dies_with_runner,
    },
    Check {
        name: "sigterm",
        title: "ends the container on SIGTERM to the runner, with status 143",
        from: 4,
        until: 10,
        man: "signal(7), pid_namespaces(7), kill(2)",
        hints: &[
            "A signal without a handler does nothing to PID 1. And `run` dies of it, and can pass no status on.",
            "Both halves handle SIGTERM in the same way: pass it on to the process that they wait for, and go on waiting.",
        ],
        lines: &["Signals::new", "kill(pid, signal)"],
        observe: sigterm,
    },
    Check {
        name: "ctrl-c",
        title: "lets Ctrl-C reach the command, and says 130",
        from: 4,
        until: 10,
        man: "termios(3): ISIG, signal(7)",
        hints: &[
            "The terminal sends SIGINT to every process of the foreground: to the command, and to both halves of your program.",
            "Both halves have to survive it, so that they can pass the status on: a handler that does nothing is enough there.",
        ],
        lines: &["SIGINT | SIGQUIT"],
        observe: ctrl_c,
    },
];

/// PID 1 of the container, as the host sees it; if the command has a container of its own.
fn init(lab: &Lab, held: &Held) -> Option<Process> {
    let space = lab.namespace(held.command, "pid");
    if space == lab.namespace(1, "pid") {
        return None;
    }
    lab.processes().into_iter().find(|process| {
        lab.namespace(process.pid, "pid") == space && lab.numbers(process.pid).last() == Some(&1)
    })
}

/// Why the command has no process numbers of its own.
fn why_no_pids(held: &Held) -> String {
    held.apart("pid", "CLONE_NEWPID").err().unwrap_or_default()
}

const COMMAND_IS_INIT: &str = "PID 1 is the command itself, not `child`: unshare(CLONE_NEWPID) was called in `child`, and it only \
                               concerns processes that the caller starts afterwards. Call it in `run`: then `child` is PID 1 and \
                               can do an init's duties";

fn pids(lab: &Lab) -> Result<(), Failure> {
    let held = lab.hold(&[""; 0], "echo $$; ")?;
    let number: u32 = held.before.trim().parse().unwrap_or(0);
    if init(lab, &held).is_some() && (1..=9).contains(&number) {
        held.release()?;
        return Ok(());
    }
    lab.soil();
    let got = format!("$$ is {number}: the number that the host knows the process by");
    Err(held.wrong("$$ is a small number: 2, if PID 1 is `child`", &got, &why_no_pids(&held)))
}

fn orphans(lab: &Lab) -> Result<(), Failure> {
    // The subshell ends at once, and leaves an orphan that ends, with a status of its own, when told to.
    let mut held = lab.hold(&[""; 0], "(sh -c 'read line; exit 9' orphan <&3 &) 3<&0; ")?;
    let Some(init) = init(lab, &held) else {
        lab.soil();
        return Err(held.wrong("the container has a PID 1", "it has none", &why_no_pids(&held)));
    };
    let orphan = |process: &Process| process.args.last().is_some_and(|arg| arg == "orphan");
    let adopted =
        lab.wait_until(|| lab.processes().iter().any(|p| orphan(p) && p.parent == init.pid));
    if !adopted {
        lab.soil();
        held.running.catch_up();
        need_background(lab, &held)?;
        return Err(held.wrong(
            "PID 1 adopts the orphan",
            "it does not",
            "the orphan has left the container's PID namespace",
        ));
    }
    let Held { mut running, command, .. } = held;
    let pid = lab.processes().into_iter().find(orphan).map_or(0, |process| process.pid);
    lab.host().run(&format!("kill -9 {pid}"));
    let reaped = lab.wait_until(|| !lab.processes().iter().any(|process| process.pid == pid));
    if !reaped {
        lab.soil();
        let cause = if init.pid == command {
            COMMAND_IS_INIT
        } else {
            "PID 1 waits for the command only: orphans become its children, and stay zombies until it waits for them, too. \
             Wait for any child, waitpid(-1), until it was the command"
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
    let cause = "your program takes the status of the orphan that ended first (137) for that of the command: compare the PID that \
                 waitpid(2) returns with the command's, and go on waiting if it is another";
    Err(done.wrong("exit status 0, the command's", done.ending(), cause))
}

fn background(lab: &Lab) -> Result<(), Failure> {
    let held = lab.hold(&[""; 0], "sleep 1000 <&- >&- 2>&- & ")?;
    if init(lab, &held).is_none() {
        lab.soil();
        return Err(held.wrong("the container has a PID 1", "it has none", &why_no_pids(&held)));
    }
    let sleeps = || lab.processes().into_iter().any(|process| process.args == ["sleep", "1000"]);
    lab.wait_until(sleeps);
    let mut running = held.running;
    running.say("go on");
    let done = running.end().map_err(|mut failure| {
        failure.cause = "PID 1 waits until the last process has ended, not only the command: return as soon as waitpid(2) returns \
                         the command's PID. The kernel kills the rest when PID 1 ends"
            .into();
        failure
    })?;
    if lab.wait_until(|| !sleeps()) {
        return Ok(());
    }
    lab.soil();
    Err(done.wrong(
        "`sleep 1000` in the background is gone when the command has ended",
        "it still runs",
        COMMAND_IS_INIT,
    ))
}

fn dies_with_runner(lab: &Lab) -> Result<(), Failure> {
    let held = lab.hold(&[""; 0], "")?;
    lab.soil();
    let Some(init) = init(lab, &held) else {
        return Err(held.wrong("the container has a PID 1", "it has none", &why_no_pids(&held)));
    };
    held.running.signal(Signal::SIGKILL);
    let command = held.command;
    let alive = || lab.processes().iter().any(|process| process.pid == command && !process.zombie);
    if lab.wait_until(|| !alive()) {
        return Ok(());
    }
    let cause = if init.pid == command {
        format!("{COMMAND_IS_INIT}, with prctl(PR_SET_PDEATHSIG, SIGKILL) as the first")
    } else {
        "nobody has told the kernel that PID 1 shall die with its parent: call prctl(PR_SET_PDEATHSIG, SIGKILL) in `child` (in `run` \
         it has no effect here: it concerns the caller, and is cleared in the processes that it starts)"
            .into()
    };
    Err(held.wrong(
        "the runner is killed with SIGKILL, and the command is gone, too",
        "the command still runs",
        &cause,
    ))
}

fn sigterm(lab: &Lab) -> Result<(), Failure> {
    let held = lab.hold(&[""; 0], "sleep 1000 <&- >&- 2>&- & ")?;
    let Some(init) = init(lab, &held) else {
        lab.soil();
        return Err(held.wrong("the container has a PID 1", "it has none", &why_no_pids(&held)));
    };
    held.running.signal(Signal::SIGTERM);
    let command = held.command;
    let expected = "after `kill -TERM` on the runner: exit status 143, and the container is gone";
    let gone = lab.wait_until(|| {
        !lab.processes().iter().any(|process| process.pid == command && !process.zombie)
    });
    if !gone {
        lab.soil();
        let runs =
            lab.processes().iter().any(|process| process.pid == held.runner && !process.zombie);
        let cause = if runs {
            "the signal did not get as far as the command. The kernel keeps signals without a handler from PID 1: `run` has to \
             pass SIGTERM on to `child`, and `child`, with a handler, to the command"
        } else if init.pid == command {
            COMMAND_IS_INIT
        } else {
            "SIGTERM has ended the runner, which has no handler for it, and nothing has ended the container: handle SIGTERM in both \
             halves and pass it on with kill(2)"
        };
        return Err(held.wrong(expected, "the command still runs", cause));
    }
    let done = held.running.end()?;
    if done.status == Some(143) {
        return Ok(());
    }
    lab.soil();
    let cause = if done.status.is_none() {
        "SIGTERM has ended the runner itself, so that it could neither pass the status on nor tidy up: it needs a handler for \
         SIGTERM that passes the signal on, and then goes on waiting"
    } else if done.status == Some(137) {
        "the container was killed with SIGKILL: pass on the signal that came, so that the command may react to it"
    } else {
        "the command was ended by SIGTERM: that is 128 + 15, in both halves"
    };
    Err(done.wrong(expected, done.ending(), cause))
}

fn ctrl_c(lab: &Lab) -> Result<(), Failure> {
    // The command survives Ctrl-C for a moment: whoever has started it has to survive it, too, and to wait.
    let inner = "trap \"echo caught; exit 5\" INT; echo ready; while true; do :; done";
    let (mut running, shown) = on_terminal(lab, inner)?;
    running.until("ready\r\n")?;
    running.send(b"\x03");
    let done = running.exit()?;
    let handlers = "Both halves need a handler for SIGINT that does nothing, and go on waiting";
    if !done.stdout.contains("caught") || done.status != Some(5) {
        lab.soil();
        let cause = format!(
            "Ctrl-C has ended the runner before it could wait for the command, or pass its status on: SIGINT goes to every \
             process in the foreground of the terminal. {handlers}"
        );
        let mut failure = done.wrong(
            "the command catches Ctrl-C, and ends with status 5: so does the runner",
            done.ending(),
            cause,
        );
        failure.did = shown;
        return Err(failure);
    }
    // What is in the background ignores Ctrl-C and the end of the terminal, so only the end of PID 1 ends it.
    let inner =
        "trap \"\" INT HUP; sleep 1000 <&- >&- 2>&- & trap - INT HUP; echo ready; read line";
    let (mut running, _) = on_terminal(lab, inner)?;
    running.until("ready\r\n")?;
    running.send(b"\x03");
    let done = running.exit()?;
    let sleeps = || {
        lab.processes().iter().any(|process| process.args == ["sleep", "1000"] && !process.zombie)
    };
    let expected = "Ctrl-C ends the command and all of the container; exit status 130";
    if !lab.wait_until(|| !sleeps()) {
        lab.soil();
        let cause = "what runs in the background has survived: the container has no PID 1 that takes it along (CLONE_NEWPID), or \
                     PID 1 still runs";
        return Err(done.wrong(expected, "a process in the background still runs", cause));
    }
    if done.status == Some(130) {
        return Ok(());
    }
    lab.soil();
    let cause = format!("Ctrl-C has ended the command, that is 128 + 2. {handlers}");
    Err(done.wrong(expected, done.ending(), cause))
}

/// Runs a script inside, on a terminal; and how to show that.
fn on_terminal<'a>(lab: &'a Lab, inner: &str) -> Result<(Running<'a>, String), Failure> {
    // exec: script(1) starts a shell, and that one is not to answer Ctrl-C for us.
    let line = format!("exec {} run sh -c '{inner}'", lab.program());
    let shown =
        format!("{} run sh -c '{inner}'   (on a terminal, then Ctrl-C)", lab.host().program());
    Ok((lab.start_as(Some(&shown), &argv(&["script", "-qec", &line, "/dev/null"]))?, shown))
}

/// The shell inside has to be able to start something in the background.
fn need_background(lab: &Lab, held: &Held) -> Result<(), Failure> {
    let mut failure = held.wrong(
        "the shell starts something in the background (`command &`)",
        "it cannot",
        NO_NULL,
    );
    if !failure.got.contains("/dev/null") {
        return Ok(());
    }
    lab.soil();
    failure.cause = NO_NULL.into();
    Err(failure)
}

const NO_NULL: &str = "a shell opens /dev/null for what it starts in the background, and it is not there: the tmpfs on /dev hides the root \
                       filesystem's devices, and the host's have to be mounted in it (null, zero, full, random, urandom, tty)";
