//! Step 10: namespaces limit what you see, cgroups what you use.

use std::fs;
use std::path::{Path, PathBuf};

use classroom::Cgroups;
use nix::sys::signal::Signal;

use crate::lab::{Held, Lab, excerpt};
use crate::{Check, Result, Stop};

pub const CHECKS: &[Check] = &[
    check! { 10, pids_limit, "has room for 20 processes, or as many as --pids-limit says",
        read: "cgroups(7), https://docs.kernel.org/admin-guide/cgroup-v2.html#pid",
        hints: [
            "A cgroup is a folder in /sys/fs/cgroup. Which file in it says how many processes it may have, and which \
             one who is in it?",
            "`child` makes the folder, writes the limit to pids.max, then its own number (0 means \"me\") to \
             cgroup.procs: all this before the command is started. The default is 20.",
        ],
        lines: ["pids.max", "pids_limit", "fs::write(&file", "fs::write(dir.join(join)"],
    },
    check! { 10, memory, "has the memory that --memory says",
        read: "cgroups(7), https://docs.kernel.org/admin-guide/cgroup-v2.html#memory",
        hints: [
            "50M are 52428800 bytes. Where do they go?",
            "memory.max on cgroup v2, memory.limit_in_bytes on v1; before the command is started.",
        ],
        lines: ["memory.max"],
    },
    check! { 10, cpus, "has the CPU time that --cpus says",
        read: "cgroups(7), https://docs.kernel.org/admin-guide/cgroup-v2.html#cpu",
        hints: [
            "Half a CPU is half of the time: 50 ms in every 100 ms.",
            "cpu.max on cgroup v2 (`50000 100000`), cpu.cfs_quota_us on v1; in microseconds.",
        ],
        lines: ["cpu.max"],
    },
    check! { 10, runner_free, "limits the container, not the runner",
        read: "cgroups(7)",
        hints: [
            "Who writes its number to cgroup.procs?",
            "`child` does, for itself: what it starts is in the same cgroup. `run` stays outside, so that it can \
             remove the cgroup.",
        ],
        lines: ["cgroup.procs", "fs::write(dir.join(join)"],
    },
    check! { 10, cgroup_root, "sees its own cgroup as the root of all",
        read: "cgroup_namespaces(7)",
        hints: [
            "`cat /proc/self/cgroup` inside shows where on the host the container is. The last of the namespaces hides \
             it.",
            "unshare(CLONE_NEWCGROUP) in `child`, after it has joined its cgroup: the cgroup of that moment becomes \
             the root.",
        ],
        lines: ["join_cgroup(cgroup", "CLONE_NEWCGROUP"],
    },
    check! { 10, refuses, "never runs without a limit that was asked for",
        read: "cgroups(7)",
        hints: [
            "What if the kernel does not accept a limit? Try --pids-limit 5000000.",
            "An error of write(2) is an error of yours: `?`, before the command is started.",
        ],
        lines: ["fs::write(&file"],
    },
    check! { 10, limited_or_not_at_all, "runs nothing where it cannot make a cgroup",
        read: "cgroups(7)",
        hints: [
            "An ordinary user may not make a cgroup. What runs then, and with which limits?",
            "An error of mkdir(2) or write(2) is an error of yours: `?`, before the command is started.",
        ],
        lines: ["cannot make a cgroup"],
    },
    check! { 10, two_at_once, "runs beside another one",
        read: "cgroups(7), mkdir(2): EEXIST",
        hints: [
            "Two terminals, a container in each. Whose cgroup is it?",
            "A name that nobody else has: with the number of `run`'s process in it, and the time.",
        ],
        lines: ["let cgroup ="],
    },
    check! { 10, cgroup_kept, "ends with the command, even where its cgroup has to stay",
        read: "rmdir(2): EBUSY",
        hints: [
            "Somebody else may be in the cgroup, or in one below it: then rmdir(2) fails. What becomes of the status?",
            "Try for about a second, say that it stays, and return the command's exit status all the same.",
        ],
        lines: ["tries <", "code // even"],
    },
    check! { 10, cgroup_gone, "leaves no cgroup behind",
        read: "rmdir(2): EBUSY, cgroups(7)",
        hints: [
            "The folder stays when the processes are gone. Who is there to remove it, and when?",
            "`run`, when `child` has ended, with remove_dir; also after Ctrl-C and SIGTERM. EBUSY: try again, the \
             kernel needs a moment.",
        ],
        lines: ["remove_cgroup(&Path", "fs::remove_dir(dir)"],
    },
];

/// The cgroup of a process, in the hierarchy of a controller.
struct Cgroup {
    v2: bool,
    /// As /proc/PID/cgroup has it: `/step10-4711`.
    path: String,
    /// Where it is mounted.
    dir: PathBuf,
}

impl Cgroup {
    fn of(lab: &Lab, pid: u32, controller: &str) -> Option<Cgroup> {
        let table = fs::read_to_string(lab.proc(pid, "cgroup")).ok()?;
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let line = |wanted: &str| {
            table.lines().find_map(|line| {
                let mut fields = line.splitn(3, ':').skip(1);
                fields.next()?.split(',').any(|name| name == wanted).then(|| fields.next())?
            })
        };
        let (v2, path) = match line(controller) {
            Some(path) => (false, path),
            None => (true, line("")?),
        };
        // The last one is on top.
        let mount = mounts.lines().rev().find_map(|line| {
            let (left, right) = line.split_once(" - ")?;
            let mut left = left.split(' ').skip(3);
            let (root, point) = (left.next()?, left.next()?);
            let mut right = right.split(' ');
            let (kind, options) = (right.next()?, right.nth(1)?);
            let it_is = if v2 {
                kind == "cgroup2"
            } else {
                kind == "cgroup" && options.split(',').any(|name| name == controller)
            };
            it_is.then_some((root, point))
        });
        let (root, point) = mount?;
        let below = path.strip_prefix(root).unwrap_or(path).trim_start_matches('/');
        let cgroup = Cgroup { v2, path: path.to_string(), dir: Path::new(point).join(below) };
        Some(cgroup)
    }

    /// Reads one of its files: the name in v2, the name in v1.
    fn read(&self, v2: &str, v1: &str) -> String {
        let file = self.dir.join(if self.v2 { v2 } else { v1 });
        fs::read_to_string(file).unwrap_or_default().trim().to_string()
    }
}

/// A path without the cgroup that the classroom host has in the place of the tree's root: what the learner would see.
fn shown(path: &str) -> String {
    let parts = path.split('/').filter(|part| !part.starts_with("classroom-"));
    let shown = parts.collect::<Vec<_>>().join("/");
    if path == "/" { shown } else { shown.trim_end_matches('/').to_string() }
}

/// The command's cgroup, if it is not the same as the runner's.
fn cgroup(lab: &Lab, held: &Held, controller: &str) -> Result<Cgroup> {
    const EXPECTED: &str = "the command is in a cgroup of its own";
    let Some(command) = Cgroup::of(lab, held.command, controller) else {
        let cause = "no cgroup file system is mounted (`cargo workshop doctor`)";
        return Err(held.wrong("the command is in a cgroup", "there are none here", cause));
    };
    let outside = Cgroup::of(lab, 1, controller).map(|cgroup| cgroup.path);
    if outside.as_ref() != Some(&command.path) {
        return Ok(command);
    }
    // Of version 1, where the trees are apart.
    let trace = held.running.done().trace();
    let made = |tree: &str| {
        let folder = format!("/sys/fs/cgroup/{tree}/");
        trace.named("mkdir").any(|call| call.done() && call.arg(0).starts_with(&folder))
    };
    let joined = |tree: &str| {
        let folder = format!("/sys/fs/cgroup/{tree}/");
        let mut writes = ["tasks", "cgroup.procs"].into_iter().flat_map(|file| trace.written(file));
        writes.any(|call| call.file().starts_with(&folder))
    };
    if made(controller) && !joined(controller) {
        let cause = format!(
            "a cgroup was made in the {controller} tree, and nobody has joined it: on version 1 each controller has a \
             tree of its own, and `child` has to join in each"
        );
        return Err(held.wrong(EXPECTED, "it is in the host's", cause));
    }
    let other = ["memory", "cpu"].into_iter().find(|tree| *tree != controller && made(tree));
    if let (Some(other), false) = (other, made(controller) || controller == "pids") {
        let cause = format!(
            "the option has made a cgroup in the {other} tree, and none in the {controller} tree: its number was \
             taken for the other's"
        );
        return Err(held.wrong(EXPECTED, "it is in the host's", cause));
    }
    let all = lab.hold(&["--pids-limit", "7", "--memory", "50M", "--cpus", "0.5"], "");
    let joins =
        |held: &Held| Cgroup::of(lab, held.command, controller).map(|it| it.path) != outside;
    if all.is_ok_and(|held| joins(&held)) {
        let cause = "with --pids-limit, --memory and --cpus together it is in one; so an option that is not given \
                     keeps your program from coming to the others (a `break` or return in the loop: `continue` goes \
                     on with the next), or --pids-limit has no default (20)";
        return Err(held.wrong(EXPECTED, "it is in the host's", cause));
    }
    let cause = format!(
        "the command was not put into a cgroup with the {controller} controller: `child` has to make a folder for it \
         (v2: in /sys/fs/cgroup, v1: in /sys/fs/cgroup/{controller}), and write its own number to cgroup.procs there \
         (v1: tasks), before it starts the command"
    );
    Err(held.wrong(EXPECTED, "it is in the host's", cause))
}

/// Holds a container with these options; it has to be in a cgroup of its own, apart from the runner's.
fn hold<'a>(
    lab: &'a Lab,
    options: &[&str],
    script: &str,
    controller: &str,
) -> Result<(Held<'a>, Cgroup)> {
    let held = lab.hold(options, script)?;
    let cgroup = cgroup(lab, &held, controller)?;
    Ok((held, cgroup))
}

/// Starts 40 processes, unless something stops it.
const BOMB: &str =
    "(i=0; while [ $i -lt 40 ]; do sleep 1000 <&- >&- 2>&- & i=$((i+1)); done) 2>/dev/null; ";

fn pids_limit(lab: &Lab) -> Result<()> {
    for (options, limit) in [(&[][..], 20), (&["--pids-limit", "7"], 7)] {
        let (held, cgroup) = hold(lab, options, BOMB, "pids")?;
        let written = cgroup.read("pids.max", "pids.max");
        let space = lab.namespace(held.command, "pid");
        let count = lab
            .processes()
            .iter()
            .filter(|process| lab.namespace(process.pid, "pid") == space)
            .count();
        if count <= limit && count >= limit / 2 && written == limit.to_string() {
            held.release()?;
            continue;
        }
        let cause = if written == "max" {
            "nothing was written to pids.max of the command's cgroup: write the limit before you start the command \
             (the default is 20)"
                .into()
        } else if written != limit.to_string() {
            format!("pids.max says {written}: write what --pids-limit says, and 20 without it")
        } else {
            "pids.max is right, but not all processes of the container are in that cgroup: `child` has to join it \
             before it starts anything"
                .into()
        };
        let expected = format!("40 times `sleep 1000 &` inside: no more than {limit} processes");
        let got = format!("{count} processes, and pids.max is {written:?}");
        return Err(held.wrong(&expected, &got, cause));
    }
    Ok(())
}

fn memory(lab: &Lab) -> Result<()> {
    for asked in ["50M", "52428800"] {
        let (held, cgroup) = hold(lab, &["--memory", asked], "", "memory")?;
        let limit = cgroup.read("memory.max", "memory.limit_in_bytes");
        let cause = match limit.parse() {
            Ok(52_428_800) => {
                held.release()?;
                continue;
            }
            _ if asked != "50M" => {
                "a number without a letter is bytes, as with Docker: only k, m and g are something else"
            }
            Err(_) | Ok(1_000_000_000_000_u64..) => {
                "nothing was written to memory.max (v1: memory.limit_in_bytes) of the command's cgroup: write the \
                 limit before you start the command"
            }
            Ok(49_000_000..=50_000_000) => "M is 1024 * 1024 here, as with Docker, not a million",
            Ok(_) => {
                "another number was written than --memory says; it is in bytes, K, M and G are powers of 1024"
            }
        };
        let expected = "the limit of the command's cgroup is 52428800";
        return Err(held.wrong(expected, &format!("it is {limit:?}"), cause));
    }
    Ok(())
}

fn cpus(lab: &Lab) -> Result<()> {
    let (held, cgroup) = hold(lab, &["--cpus", "0.5"], "", "cpu")?;
    let text = if cgroup.v2 {
        cgroup.read("cpu.max", "")
    } else {
        format!("{} {}", cgroup.read("", "cpu.cfs_quota_us"), cgroup.read("", "cpu.cfs_period_us"))
    };
    let mut numbers = text.split(' ').map(|number| number.parse::<f64>().unwrap_or(-1.0));
    let (quota, period) = (numbers.next().unwrap_or(-1.0), numbers.next().unwrap_or(-1.0));
    if quota * 2.0 == period {
        held.release()?;
        return Ok(());
    }
    let cause = if quota == period {
        "the quota is not half of the period, but all of it: the number was rounded before it was multiplied, or \
         multiplied by something else than the period (100000 microseconds)"
    } else if quota < 0.0 {
        "nothing was written to cpu.max (v1: cpu.cfs_quota_us) of the command's cgroup: write the limit before you \
         start the command"
    } else {
        "the quota is not half of the period: both are microseconds, and the period is 100000 unless you change it"
    };
    let expected = "the command's cgroup has 50000 of 100000 microseconds";
    Err(held.wrong(expected, &format!("it has {text:?}"), cause))
}

fn runner_free(lab: &Lab) -> Result<()> {
    let (held, cgroup) = hold(lab, &[], "", "pids")?;
    let runner = Cgroup::of(lab, held.runner, "pids").map(|cgroup| cgroup.path);
    if runner.as_ref() != Some(&cgroup.path) {
        held.release()?;
        return Ok(());
    }
    let cause = "the runner joined the cgroup, and its children inherited it: so it counts against the container's \
                 limits, and cannot remove the cgroup that it is in itself. Let `child` join instead: it writes 0 \
                 (\"me\") to cgroup.procs";
    let got = format!("it is in {}", shown(&cgroup.path));
    Err(held.wrong("the runner is outside of the container's cgroup", &got, cause))
}

fn cgroup_root(lab: &Lab) -> Result<()> {
    let (held, cgroup) = hold(lab, &[], "cat /proc/self/cgroup; ", "pids")?;
    let is_ours =
        |line: &&str| if cgroup.v2 { line.starts_with("0::") } else { line.contains(":pids:") };
    let line = held.before.lines().find(is_ours);
    let path = line.and_then(|line| line.splitn(3, ':').nth(2)).unwrap_or_default().to_string();
    if path == "/" {
        held.release()?;
        return Ok(());
    }
    let too_early = "the cgroup namespace was created before `child` joined its cgroup: the root is the cgroup of that \
                     moment. First join, then unshare(CLONE_NEWCGROUP)";
    let cause = held.why_together("cgroup", "CLONE_NEWCGROUP", too_early);
    let got = format!("it says {:?}", shown(&path));
    Err(held.wrong("/proc/self/cgroup inside says \"/\"", &got, cause))
}

fn refuses(lab: &Lab) -> Result<()> {
    let (held, _) = hold(lab, &["--pids-limit", "7"], "", "pids")?;
    held.release()?;
    // More than PIDS_MAX: the kernel says EINVAL.
    let done = lab.run(&["--pids-limit", "5000000", "echo", "it runs"])?;
    if !done.stdout.contains("it runs") && done.status != Some(0) {
        return Ok(());
    }
    let cause = "the kernel has refused the limit, and your program has ignored that: hand the error of fs::write to \
                 main with `?`, before the command is started";
    let expected = "a limit that the kernel refuses is an error, and the command does not run";
    Err(done.wrong(expected, done.summary(), cause))
}

fn limited_or_not_at_all(lab: &Lab) -> Result<()> {
    hold(lab, &[], "", "pids")?.0.release()?;
    let done = lab.start_as_learner(&[&*lab.program(), "run", "echo", "it runs"])?.end()?;
    if !done.stdout.contains("it runs") {
        return Ok(());
    }
    let cause = "an ordinary user may not make a cgroup here, and your program has gone on without: who asks for a \
                 limit must never be without it. Hand the errors of mkdir(2) and write(2) to main with `?`, all of \
                 them";
    let expected = "as an ordinary user: a message, exit status 125, and the command does not run";
    Err(done.wrong(expected, done.summary(), cause))
}

fn two_at_once(lab: &Lab) -> Result<()> {
    const EXPECTED: &str = "two containers run at the same time, each in a cgroup of its own";
    let (first, one) = hold(lab, &[], "", "pids")?;
    let (second, other) = hold(lab, &[], "", "pids")?;
    if one.path == other.path {
        let cause = "the two containers are in the same cgroup, and share its limits: its name is the same in every \
                     run. Make it unique, with `run`'s process number for example";
        return Err(second.wrong(EXPECTED, &format!("both are in {}", shown(&one.path)), cause));
    }
    first.release()?;
    second.release()?;
    Ok(())
}

fn cgroup_kept(lab: &Lab) -> Result<()> {
    let (held, cgroup) = hold(lab, &[], "", "pids")?;
    lab.soil();
    let tree = if cgroup.v2 { "" } else { "pids/" };
    let name = cgroup.dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let procs = format!("/sys/fs/cgroup/{tree}{name}/cgroup.procs");
    lab.host.run(&format!("sleep 1000 <&- >/dev/null 2>&1 & echo $! >{procs}"))?;
    let expected = "a process of the host's is in the cgroup, too: the run ends with the command, and its status (0)";
    let done = held.release().map_err(|stop| match stop {
        Stop::Wrong(mut failure) => {
            failure.expected = expected.into();
            let cause = "the cgroup cannot be removed as long as somebody is in it, and your program tries for ever, \
                         or for very long: try for about a second (1000 times a millisecond), then say that it stays";
            failure.cause = cause.into();
            Stop::Wrong(failure)
        }
        host => host,
    })?;
    if done.status == Some(0) {
        return Ok(());
    }
    let cause = "the error of rmdir(2) has taken the place of the command's exit status: whoever has started the \
                 container asks for that. Say the error on stderr, and return the status";
    Err(done.wrong(expected, done.summary(), cause))
}

fn cgroup_gone(lab: &Lab) -> Result<()> {
    let cgroups = Cgroups::on(&lab.host)?;
    lab.host.run("mkdir /workshop/no-proc")?;
    for way in ["the command has ended", "SIGTERM has ended the container", "the set-up has failed"]
    {
        let before = cgroups.places();
        let (done, moved) = if way.starts_with("the set-up") {
            // Here is no folder to mount proc on.
            (lab.run(&["--rootfs", "/workshop/no-proc", "true"])?, false)
        } else {
            let held = lab.hold(&["--memory", "50M", "--cpus", "0.5"], "")?;
            for controller in ["pids", "memory", "cpu"] {
                cgroup(lab, &held, controller)?;
            }
            let moved = lab.namespace(held.runner, "mnt") == lab.namespace(held.command, "mnt");
            let done = if way.starts_with("SIGTERM") {
                held.running.signal(Signal::SIGTERM)?;
                held.running.end()?
            } else {
                held.release()?
            };
            (done, moved)
        };
        // The run is over: what is there now stays.
        let left: Vec<String> =
            cgroups.places().into_iter().filter(|name| !before.contains(name)).collect();
        let said = excerpt(&done.stderr);
        if left.is_empty() && way.starts_with("the command") && said.contains("cgroup") {
            let cause = "your program complains of a cgroup that was never there: not each tree has one (version 1: \
                         only those with a limit; version 2: only the one). Look whether the folder exists before you \
                         remove it";
            let expected = "after the run, its cgroup is gone, and there is nothing to say of it";
            return Err(done.wrong(expected, format!("it says: {said}"), cause));
        }
        if left.is_empty() {
            continue;
        }
        let cause = if moved {
            "the runner cannot find it any more: it is in the same mount namespace as the container, and pivot_root(2) \
             has moved it into the new root, where there is no /sys. Call unshare(CLONE_NEWNS) in `child`, not in `run`"
        } else if done.status.is_none() {
            "SIGTERM has ended the runner before it could remove the cgroup: it needs a handler that passes the signal \
             on, and goes on to the tidying up"
        } else if way.starts_with("SIGTERM") {
            "the cgroup is removed only if the command ends by itself: remove it whatever the result, before you look \
             at it"
        } else if !cgroups.v2 && left.len() < 3 && way.starts_with("the command") {
            "the cgroup is removed in one of the trees of version 1, and stays in another: `child` makes a folder in \
             each of its trees (pids, memory, cpu), and `run` has to remove each"
        } else if way.starts_with("the set-up") {
            "the cgroup is removed only if all goes well: something leaves `run` earlier, with `?` or return. Remove \
             it whatever the result, before you look at it"
        } else {
            "nobody removes it, or rmdir(2) failed: `run` has to remove the folder when `child` has ended (EBUSY: try \
             again after a moment; a folder of cgroups is removed with rmdir(2) alone, its files cannot be)"
        };
        let got = format!("{way}, and this is left in /sys/fs/cgroup: {}", left.join(", "));
        return Err(done.wrong("after the run, its cgroup is gone", got, cause));
    }
    Ok(())
}
