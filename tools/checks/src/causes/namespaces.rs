//! Namespaces: who has made which one, and when.

use super::Explains::Checks;
use super::{Case, Row, said, seen};
use crate::lab::{Call, Held, Trace};

pub const ROWS: &[Row] = &[
    seen(
        "dies_with_runner",
        |it| death_signals(it).any(|call| call.pid != it.trace().runner() && !call.has("SIGKILL")),
        "PR_SET_PDEATHSIG asks for a signal that can be survived, SIGTERM for example: PID 1 handles it, and passes it \
         on, but the command need not end of it. Nobody survives SIGKILL",
    )
    .of(Checks(&["dies_with_runner"])),
    seen(
        "dies_with_runner",
        |it| {
            death_signals(it).next().is_some()
                && death_signals(it).all(|call| call.pid == it.trace().runner())
        },
        "prctl(PR_SET_PDEATHSIG) was called in `run`: in `run` it has no effect here, as it concerns the caller, and \
         is cleared in the processes that it starts. Call it in `child`, with SIGKILL",
    )
    .of(Checks(&["dies_with_runner"])),
    seen(
        "",
        |it| it.failed("unshare", &["EINVAL"]) && it.trace().has_threads(),
        "EINVAL: CLONE_NEWUSER (and CLONE_NEWPID, if there was one before) wants a process with a single thread, and \
         your program has started another one before: {call}",
    ),
    seen(
        "without_root",
        |it| {
            it.failed("unshare", &["EPERM"])
                && !it.call().is_some_and(|call| call.has("CLONE_NEWUSER"))
                && it
                    .trace()
                    .namespace("CLONE_NEWUSER")
                    .is_some_and(|user| it.call().is_some_and(|call| user.at > call.at))
        },
        "EPERM: {call} comes before the user namespace is there. CLONE_NEWUSER has to be in the same unshare(2), or in \
         one before it: only in it may an ordinary user make the others",
    ),
    said(
        "pids",
        |it| it.says_one_of(&["Cannot allocate memory", "ENOMEM"]) && !it.lab().is_full(),
        "ENOMEM: the first process that is made after unshare(CLONE_NEWPID) is PID 1 of the new namespace, and when it \
         has died there are no others. Something else was started before `child`, or `child` twice",
    ),
    said(
        "named",
        |it| it.says_one_of(&["No space left on device", "ENOSPC"]) && !it.lab().is_full(),
        "ENOSPC: namespaces in namespaces, until the kernel does not make any more. Does `child` start another child, \
         where it should start the command?",
    ),
    seen(
        "named",
        named_late,
        "sethostname(2) comes after the command was started: it may look at the old name first. Call it in `child` \
         before Command::spawn",
    )
    .of(Checks(&["named", "hostname_out", "hostname_in"])),
    seen(
        "hostname_out",
        |it| {
            it.trace().named("sethostname").any(Call::done)
                && it.trace().namespace("CLONE_NEWUTS").is_none()
        },
        "sethostname(2) has renamed the host: nobody has called unshare(2) with CLONE_NEWUTS (or clone(2)) before \
         it{others}",
    )
    .of(Checks(&["named", "hostname_out"])),
    seen(
        "named",
        named_early,
        "sethostname(2) was called in the host's UTS namespace, and it renames whatever namespace the caller is in: \
         call it in `child`, after unshare(CLONE_NEWUTS), not before it",
    )
    .of(Checks(&["named", "hostname_out"])),
];

/// The namespaces that it has asked for instead.
pub fn others(it: &Case) -> String {
    match &it.trace().namespaces()[..] {
        [] => String::new(),
        flags => format!(", only with {}", flags.join(", ")),
    }
}

fn death_signals<'a>(it: &'a Case) -> impl Iterator<Item = &'a Call> {
    it.trace().named("prctl").filter(|call| call.has("PR_SET_PDEATHSIG"))
}

fn named_late(it: &Case) -> bool {
    let command = it.trace().command();
    let named = it.trace().named("sethostname").find(|call| call.done());
    command.zip(named).is_some_and(|(command, named)| named.at > command.at)
}

fn named_early(it: &Case) -> bool {
    let named = it.trace().named("sethostname").find(|call| call.done());
    named.is_some_and(|named| {
        it.trace()
            .namespace("CLONE_NEWUTS")
            .is_some_and(|made| made.at > named.at || !it.trace().is_ancestor(made.pid, named.pid))
    })
}

/// What has become of a namespace that the command should be in.
enum Fate<'a> {
    Never,
    Failed(&'a Call),
    /// Somebody else is in it.
    Elsewhere,
    /// It was made when the command was there.
    Late,
    Unknown,
}

fn fate<'a>(trace: &'a Trace, flag: &str) -> Fate<'a> {
    let Some(command) = trace.command() else { return Fate::Unknown };
    let Some(made) = trace.namespace(flag) else { return Fate::Never };
    if !made.done() {
        return Fate::Failed(made);
    }
    if !trace.is_ancestor(made.pid, command.pid) {
        return Fate::Elsewhere;
    }
    match trace.branched(made.pid, command.pid) {
        Some(started) if made.at > started => Fate::Late,
        _ => Fate::Unknown,
    }
}

/// Why a held command is in the same namespace as the host. None if it is not.
pub fn together(held: &Held, kind: &str, flag: &str) -> Option<String> {
    let lab = held.running.lab;
    let [host, runner, command] =
        [1, held.runner, held.command].map(|pid| lab.namespace(pid, kind));
    if command != host {
        return None;
    }
    let done = held.running.done();
    let it = Case::new(&done, false);
    let others = others(&it);
    let late = || {
        format!(
            "your program itself is in a new {kind} namespace, but the command is not: unshare({flag}) came after the \
             command was started. A process gets its namespaces from its parent at the moment when it is made: unshare \
             first, then spawn"
        )
    };
    Some(match fate(it.trace(), flag) {
        Fate::Failed(call) => format!(
            "{} failed, and your program went on without it: hand the error to main with `?`",
            call.shown()
        ),
        Fate::Elsewhere => format!(
            "{flag} was given to unshare(2) by a process (or a thread) that the command does not come from: unshare(2) \
             moves only its caller, and what that starts from then on. Call it in `run` itself, before it starts \
             anything"
        ),
        Fate::Late => late(),
        _ if runner != host => late(),
        _ => format!(
            "the command is still in the {kind} namespace of the host: nobody has called unshare(2) with {flag} (or \
             clone(2)) before it was started{others}"
        ),
    })
}
