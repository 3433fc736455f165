//! Why a program did not start its command, in terms of the system call.
//!
//! The cause shows in what the program says, in what became of the host, and in experiments; never in source code.

use super::Done;
use super::Lab;
use super::Running;
use super::excerpt;
use crate::Cause;

/// What is known of a run in which the command did not run.
struct Evidence<'a> {
    lab: &'a Lab,
    done: &'a Done,
    /// What the program says on stderr.
    said: String,
}

impl Evidence<'_> {
    fn says(&self, text: &str) -> bool {
        self.said.contains(text)
    }

    fn says_one_of(&self, texts: &[&str]) -> bool {
        texts.iter().any(|text| self.says(text))
    }
}

/// By what a cause is recognised.
type Sign = fn(&Evidence) -> bool;

/// What shows without an experiment. The first sign that is there tells the cause.
const CAUSES: &[(Sign, &str)] = &[
    (|it| it.lab.has_lost_mounts(), UNMOUNTED),
    (
        |it| {
            it.says("/proc")
                && it.lab.mounts().iter().filter(|(point, _)| point == "/proc").count() != 1
        },
        PROC_ON_HOST,
    ),
    (
        |it| it.says("/proc/self") && it.says("No such file"),
        "/proc/self/exe is not there (if it is spelled like that): chroot(2) was called in `run`, before your program \
         started itself again. Change the root in `child`, after the re-exec",
    ),
    (
        |it| it.says("mount /proc") && it.says_one_of(&["ENOENT", "No such file"]),
        "ENOENT: there is no folder `proc` in the working directory, which is not the new root yet: chdir(\"/..\") \
         after the root filesystem was mounted over \"/\" (or into it, if it was mounted on itself)",
    ),
    (
        |it| it.says("unmount /proc") && it.says_one_of(&["EINVAL", "Invalid argument"]),
        "EINVAL: nothing is mounted there. mount(2), with the type proc, has to come before the command, and \
         umount2(2) after it, both with the same path",
    ),
    (
        |it| it.says_one_of(&["No space left on device", "Cannot allocate memory"]),
        "namespaces in namespaces, until the kernel says ENOSPC (or ENOMEM: the first child of a new PID namespace is \
         PID 1, and when it has died there are no others). Does `child` start another child, where it should start \
         the command?",
    ),
];

/// The same for a command that did not run, or not as it should, where nothing else is known.
const OTHERWISE: &[(Sign, &str)] = &[
    (
        |it| it.done.stderr.contains("nothing is here yet"),
        "nothing is typed yet: `run` has to start the command (fork(2) and execve(2): Command::spawn), and wait for it",
    ),
    (
        |it| it.done.status == Some(0),
        "the command was not started: `run` has to start it with Command::spawn (fork(2) and execve(2)), and its \
         stdin, stdout and stderr have to be those of your program",
    ),
    (
        |it| it.done.status == Some(127),
        "the command was not found (ENOENT): it is looked up in PATH, inside; is PATH set, and is this the right root \
         directory?",
    ),
    (
        |it| it.said.is_empty(),
        "the command did not run, and your program does not say why: print the error in main",
    ),
    (|_| true, "your program stopped before the command ran; its message above says at what"),
];

impl Lab {
    fn evidence<'a>(&'a self, done: &'a Done) -> Evidence<'a> {
        Evidence { lab: self, done, said: excerpt(&done.stderr) }
    }

    /// Why the command did not run, if that shows in what the program said, and in experiments.
    pub fn why(&self, done: &Done) -> Option<Cause> {
        let it = self.evidence(done);
        if let Some((_, cause)) = CAUSES.iter().find(|(sign, _)| sign(&it)) {
            return Some((*cause).into());
        }
        if it.says_one_of(&["Invalid argument", "EINVAL", "resource busy", "EBUSY"]) {
            return Some(self.why_invalid(&it).into());
        }
        if !denied(&it.said) {
            return None;
        }
        if it.says_one_of(&["_map", "setgroups"]) {
            return Some(why_no_map(&it.said).into());
        }
        if it.says("cgroup") {
            return Some(Cause::needs_root(
                "EPERM: only root may make a cgroup (or whom root has given one): use sudo",
            ));
        }
        Some(self.why_denied(&it).into())
    }

    /// Why the command did not run, or not as it should.
    pub fn why_not_run(&self, done: &Done) -> Cause {
        let it = self.evidence(done);
        let otherwise =
            || OTHERWISE.iter().find(|(sign, _)| sign(&it)).map_or("", |(_, cause)| cause);
        self.why(done).unwrap_or_else(|| otherwise().into())
    }

    /// pivot_root(2) has one errno for many mistakes: two experiments tell them apart.
    fn why_invalid(&self, it: &Evidence) -> &'static str {
        let works_after = |script: &str| {
            self.host.run(script).is_ok()
                && self.run(&["echo", "it runs"]).is_ok_and(|done| done.stdout == "it runs\n")
        };
        if works_after("mount --bind rootfs rootfs") {
            return "pivot_root(2) wants a mount point as the new root, and the root filesystem is just a directory. \
                    Mount it first (MS_BIND), on \"/\" or on itself";
        }
        if works_after("mount --make-rprivate /") {
            return "EINVAL: the mount that the new root lies on is shared, and pivot_root(2) refuses that. Make all \
                    mounts private: mount(2) on \"/\" with MS_PRIVATE *and* MS_REC (without it, only \"/\" itself \
                    becomes private), in the new mount namespace, before the first mount";
        }
        if it.says_one_of(&["resource busy", "EBUSY"]) {
            return "EBUSY: to pivot_root(2) the new root is the old one. Is the working directory on the new mount? \
                    chdir(\"/..\") after it was mounted over \"/\" (\"/\" is what lies below it); and no chroot(2) \
                    any more";
        }
        "EINVAL: a system call got what it cannot use; its manual page lists the reasons under ERRORS"
    }

    /// EPERM has many reasons, too. A program that gets equally far without root has a user namespace.
    fn why_denied(&self, it: &Evidence) -> &'static str {
        let other = self
            .start_as_learner(&[self.program().as_str(), "run", "echo", "it runs"])
            .and_then(Running::end);
        if other.is_ok_and(|other| excerpt(&other.stderr) == it.said) {
            return NOT_ROOT_INSIDE;
        }
        "EPERM: your program may not do that. Everything but step 09 takes root (sudo), and what belongs to a \
         namespace may only be changed by who is root in the user namespace that it was made in: CLONE_NEWUSER comes \
         first, or in the same call"
    }
}

/// Whether a program says that the kernel has forbidden something.
pub fn denied(said: &str) -> bool {
    ["Operation not permitted", "EPERM", "Permission denied"].iter().any(|text| said.contains(text))
}

/// What went wrong before the observation that was to be made.
pub fn misfortune(done: &Done) -> Option<String> {
    if let Some((_, panic)) = done.stderr.split_once("panicked at ") {
        let place = panic.lines().next().unwrap_or_default().trim_end_matches(':');
        let message = panic.lines().nth(1).unwrap_or_default();
        return Some(format!(
            "your program panicked at {place}: {message}. unwrap() and expect() make a panic of an error: hand it to \
             main with `?`, and let main print it"
        ));
    }
    let line = done.stderr.lines().find_map(|line| line.strip_prefix("error: "))?;
    if done.status != Some(2) {
        return None;
    }
    let cures = [
        (
            "unrecognized subcommand",
            "every call begins with the subcommand `run`; from step 03 on there is a `child` as well",
        ),
        (
            "unexpected argument",
            "an option is missing, or everything behind the command has to be left to it: `trailing_var_arg = true`",
        ),
        ("invalid UTF-8", "arguments are bytes, not text: let clap collect them as OsString"),
        ("", "compare the #[arg(…)] attributes with those of the step"),
    ];
    let (_, cure) = cures.iter().find(|(sign, _)| line.contains(sign))?;
    Some(format!("your program does not understand its own command line ({line}): {cure}"))
}

/// Why maps of users and groups cannot be written.
pub fn why_no_map(said: &str) -> &'static str {
    if said.contains("gid_map") {
        "EPERM: an ordinary user may map a group only when setgroups(2) is given up: write \"deny\" to \
         /proc/self/setgroups *before* gid_map"
    } else if said.contains("uid_map") {
        "EPERM: an ordinary user may map only his own number, and only one: `0 UID 1`, with the UID from before \
         unshare(2) (afterwards geteuid(2) says 65534), written once, by a process in the new namespace"
    } else {
        "EPERM: /proc/self/setgroups cannot be changed any more once gid_map is written: first setgroups, then gid_map"
    }
}

pub const LOST: &str = "your program was still in the host's mount namespace when it called mount(2) and \
    pivot_root(2), and pivot_root(2) moves every process there: call unshare(CLONE_NEWNS) in `child` first";
/// Why /proc is not in the root filesystem.
pub const PROC_ON_HOST: &str = "proc was mounted on the host's /proc: mount(2) was called before chroot(2), when \
    \"/proc\" was still the host's. Mount after the root has changed (or on the proc folder of the root filesystem)";
/// Why the host has fewer mounts than before.
const UNMOUNTED: &str = "your program has unmounted what the host still needs, /dev/pts for example: only \"/\" was \
    made private, and detaching the old root has unmounted everything below it on the host as well. Make *all* mounts \
    private: MS_REC | MS_PRIVATE. MS_PRIVATE alone concerns only the one that is mounted on \"/\"";
/// Why a program with a user namespace may do nothing in it.
pub const NOT_ROOT_INSIDE: &str = "EPERM: there is a user namespace, but your program is not root in it. execve(2) \
    drops all capabilities, unless the user is mapped to 0: write `0 UID 1` to /proc/self/uid_map before you start \
    yourself again";
/// Why a command is not to be found among the host's processes.
pub const UNSEEN: &str = "the command runs inside another process, or under another name: it has to be started with \
    execve(2), with exactly the arguments that stand behind `run`";
pub const FORKS: &str = "your program starts itself again and again: what runs as the `child` has to start the \
    command, not another child. (The two halves are told apart by the subcommand: `run` starts `/proc/self/exe child \
    …`, and `child` starts the command.)";

// Why a run does not end.
pub const LEAVES_BEHIND: &str = "your program has ended, but something that it started has not: it does not wait for \
    the command, or it leaves processes behind that hold its output open";
pub const NOT_STARTED_YET: &str = "your program has not got as far as to start the command (or the command ended \
    without a word): it waits, or loops, before";
pub const WAITS_FOR_NOTHING: &str = "the command has ended and your program still waits: wait(2) for the process that \
    you started, not for a signal or a process that never comes";
pub const NOT_WAITED_FOR: &str = "the command has ended and nobody has waited for it (it is a zombie): the process \
    that started it has to call waitpid(2)";
pub const COMMAND_RUNS: &str = "the command itself still runs: it waits for an end of its input that does not come, or \
    was stopped";
