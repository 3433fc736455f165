//! Programs that have no end, or take what they can reach.

use std::collections::BTreeMap;

use nix::sys::signal::Signal;

use super::Explains::All;
use super::{Evidence, Row, counted, said, seen};
use crate::lab::{Call, Lab, Running, points};
use crate::{Cause, Failure};

pub const ROWS: &[Row] = &[
    counted(
        "",
        |it| it.lab().host.fence().hits().memory,
        "it takes memory without end, until the kernel kills it (SIGKILL): is there a Vec or a String that grows \
         in a loop?",
    )
    .of(All),
    counted(
        "",
        |it| it.lab().is_full() && !it.lab().host.fence().hits().memory,
        "ENOSPC: your program writes without end, or makes files without end, and the host's disk is full now: \
         is there a loop around fs::write (or what else makes a file)?",
    )
    .of(All),
    counted(
        "",
        |it| {
            let hits = it.lab().host.fence().hits();
            hits.processes && !hits.memory && !it.lab().is_full()
        },
        "it makes processes without end, until the kernel refuses (EAGAIN): is there a loop around fork(2) or \
         Command::spawn, or does `child` start another `child`?",
    )
    .of(All),
    said(
        "",
        |it| it.done.stderr.contains("memory allocation of "),
        "it takes memory without end, until the kernel refuses: is there a Vec or a String that grows in a loop?",
    )
    .of(All),
    seen(
        "",
        |it| {
            let sent = it.trace().own().any(|call| call.name == "kill" && call.arg(1) != "0");
            it.done.signal.is_some() && !it.done.signalled && sent
        },
        "your program signals those around it, and dies of that: kill(2) with the number 0 means the caller's whole \
         process group, and with it whoever started it (your shell, outside of this check). getppid(2) is 0 as well \
         where the parent is outside of the PID namespace",
    )
    .of(All),
    said(
        "",
        |it| {
            it.done.signal.is_some()
                && !it.done.signalled
                && it.trace().is_empty()
                && !it.lab().host.fence().hits().memory
        },
        "a signal has ended your program, and the check has sent none: does it call kill(2) itself? With the number 0 \
         that is the whole process group, and whoever started it (getppid(2) is 0 where the parent is outside)",
    )
    .of(All),
];

/// Why there are ever more processes: of these, by their parents.
pub fn many(lab: &Lab, family: &BTreeMap<u32, u32>) -> Cause {
    let chain = longest_chain(family);
    // The youngest tell what they all are.
    let young = chain.iter().take(8).filter_map(|pid| lab.process(*pid));
    let young: Vec<Vec<String>> = young.map(|process| process.args).collect();
    let halves =
        |word: &str| young.iter().filter(|args| args.get(1).is_some_and(|arg| arg == word)).count();
    let (about, text) = if chain.len() > 20 && halves("child") > halves("run") {
        (
            Some("named"),
            "your program starts itself again and again: what runs as the `child` has to start the command, not \
             another child. (The two halves are told apart by the subcommand: `run` starts `/proc/self/exe child …`, \
             main calls child() for `child`, and that starts the command.)",
        )
    } else if chain.len() > 20 {
        (
            Some("named"),
            "your program starts itself again and again as `run`: the second half has to be started with the \
             subcommand `child`, and then to start the command. (The two halves are told apart by the subcommand: \
             `run` starts `/proc/self/exe child …`.)",
        )
    } else if family.len() < 30 {
        (
            None,
            "your program makes thread after thread, in a loop around thread::spawn: one is enough, if any (a thread \
             is in the namespaces that it was started in)",
        )
    } else {
        (
            None,
            "your program makes process after process, in a loop around fork(2) or Command::spawn: one is enough",
        )
    };
    Cause { about, evidence: Evidence::Counted, ..text.into() }
}

/// The longest line of processes of which each is the parent of the one before it.
fn longest_chain(family: &BTreeMap<u32, u32>) -> Vec<u32> {
    let line = |pid: &u32| -> Vec<u32> {
        let parent = |pid: &u32| family.get(pid).copied().filter(|parent| *parent != 0);
        std::iter::successors(Some(*pid), parent).collect()
    };
    family.keys().map(line).max_by_key(Vec::len).unwrap_or_default()
}

/// Why a run does not end.
pub fn hang(running: &Running) -> Cause {
    const LEAVES_BEHIND: &str = "your program has ended, but something that it started has not: it does not wait for \
        the command, or it leaves processes behind that hold its output open";
    const NOT_STARTED_YET: &str = "your program has not got as far as to start the command (or the command ended \
        without a word): it waits, or loops, before";
    const WAITS_FOR_NOTHING: &str = "the command has ended and your program still waits: wait(2) for the process that \
        you started, not for a signal or a process that never comes";
    const NOT_WAITED_FOR: &str = "the command has ended and nobody has waited for it (it is a zombie): the process \
        that started it has to call waitpid(2)";
    const COMMAND_RUNS: &str = "the command itself still runs: it waits for an end of its input that does not come, or \
        was stopped";
    const BECOMES_ITSELF: &str = "your program becomes itself again and again, by execve(2) without an end (exec() in \
        place of spawn(), and not of the command): what runs as the `child` has to start the command";
    const BLOCKED: &str = "SIGCHLD is blocked in your program, so that nobody tells it when the command has ended, and \
        it waits for ever. The mask that was set to hold signals back (SigSet::all().thread_block()) has to go before \
        it waits: SigSet::empty().thread_set_mask()";
    const NOT_HANDLED: &str = "your program waits for signals, but SIGCHLD is not among those that it handles: so \
        nobody tells it when the command has ended";
    let lab = running.lab;
    if running.session().status().is_some() {
        return LEAVES_BEHIND.into();
    }
    // The stack is somewhere else after each execve(2).
    let stacks = || {
        let list = lab.processes().into_iter().skip(1);
        list.filter_map(|process| Some((process.pid, lab.stack(process.pid)?)))
            .collect::<BTreeMap<_, _>>()
    };
    let before = stacks();
    let becomes_itself = lab.wait_a_moment(|| {
        stacks().iter().any(|(pid, place)| before.get(pid).is_some_and(|old| old != place))
    });
    let halves: Vec<u32> =
        lab.processes().iter().filter(|it| is_half(&it.args)).map(|it| it.pid).collect();
    let any = |which: &str, signal: Signal| {
        halves.iter().any(|pid| lab.signals(*pid, which).contains(&(signal as i32)))
    };
    let told = any("SigCgt", Signal::SIGCHLD) || !any("SigCgt", Signal::SIGTERM);
    let done = running.done();
    // Of stderr only what begins with the command's name is the command's own.
    let own = done.words().first().map(|name| format!("{name}: "));
    let complains = own.is_some_and(|own| done.stderr.lines().any(|line| line.starts_with(&own)));
    let spoken = !done.stdout.is_empty() || complains;
    match running.inside().and_then(|command| lab.process(command)) {
        Some(command) if !command.zombie => COMMAND_RUNS,
        _ if any("SigBlk", Signal::SIGCHLD) && spoken => BLOCKED,
        _ if !told && spoken => NOT_HANDLED,
        None if becomes_itself => return Cause::about("named", BECOMES_ITSELF),
        None if !spoken => NOT_STARTED_YET,
        None => WAITS_FOR_NOTHING,
        Some(_) => NOT_WAITED_FOR,
    }
    .into()
}

/// Whether these are the arguments of one of the program's two halves.
fn is_half(args: &[String]) -> bool {
    args.get(1).is_some_and(|word| word == "run" || word == "child")
}

/// What has become of a host that is not there any more, or has another root directory.
pub fn lost(lab: &Lab) -> Option<Failure> {
    let did = lab.typed(&["run", "echo", "hello"]);
    if !lab.is_alive() {
        return Some(Failure {
            did,
            expected: "the host goes on running".into(),
            got: "every process of the host was killed (your machine's would have been)".into(),
            cause: "kill(2) with the number -1 means every process that the caller may signal. Pass a signal on to the \
                    one process that you have started, by its number"
                .into(),
        });
    }
    if !lab.host.path("/workshop").is_dir() {
        let cause = "your program was still in the host's mount namespace when it called mount(2) and pivot_root(2), \
                     and pivot_root(2) moves every process there: call unshare(CLONE_NEWNS) in `child` first";
        return Some(Failure {
            did,
            expected: "the host keeps its root directory and its mounts".into(),
            got: "the host's own root directory was exchanged for the root filesystem".into(),
            cause: Cause::about("starts", cause),
        });
    }
    let lost = lab.lost_mounts();
    if !lost.is_empty() {
        return Some(Failure {
            did,
            expected: "the host keeps its mounts".into(),
            got: format!(
                "these mounts of the host are gone (your machine's would be): {}",
                points(&lost)
            ),
            cause: why_unmounted(lab),
        });
    }
    if lab.is_dev_read_only() {
        let cause = "mount(2) with MS_REMOUNT and without MS_BIND changes the file system itself, wherever it is \
                     mounted, and not only this one mount of it: MS_BIND | MS_REMOUNT | MS_RDONLY";
        return Some(Failure {
            did,
            expected: "the host's /dev stays as it is".into(),
            got: "all of the host's /dev is read-only now (your machine's would be)".into(),
            cause: Cause::about("dev", cause),
        });
    }
    let cause = "the host's own mounts were made private: mount(2) with MS_PRIVATE came before unshare(CLONE_NEWNS), \
                 in the host's mount namespace. First unshare, then make private what is a copy by then";
    lab.has_private_mounts().then(|| Failure {
        did,
        expected: "the host's mounts stay as they are: shared".into(),
        got: "they are private now (your machine's would be, and what relies on them would break)"
            .into(),
        cause: Cause::about("starts", cause),
    })
}

/// Why mounts of the host are gone.
fn why_unmounted(lab: &Lab) -> Cause {
    let trace = lab.trace(&["true".into()], false);
    let inside = trace.namespace("CLONE_NEWNS").is_some_and(Call::done);
    let text = if trace.is_empty() || inside {
        "only \"/\" was made private, and detaching the old root has unmounted everything below it on the host as \
         well. Make *all* mounts private: MS_REC | MS_PRIVATE. MS_PRIVATE alone concerns only the one that is mounted \
         on \"/\""
    } else {
        "umount2(2) was called in the host's mount namespace, for something of the host's: name the path of what you \
         have mounted yourself, seen from the new root"
    };
    Cause::about(if inside { "starts" } else { "proc_gone" }, text)
}
