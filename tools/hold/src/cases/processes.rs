//! Processes in the container, and containers in numbers.

use classroom::{Error, Session, output, until};

use crate::lab::{Lab, Options, around};
use crate::{Case, Outcome, hold, not_applicable, same};

const GROUP: &str = "processes";

pub const CASES: &[Case] = &[
    case!(4, orphans_reaped, "orphans are reaped: no zombies while the container runs"),
    case!(
        4,
        real_time_orphan,
        "an orphan that a real-time signal has killed is reaped, and so are those after it"
    ),
    case!(4, background_gone, "background children end with the command, and its streams close"),
    case!(4, daemons_gone, "so do daemons: setsid, two forks, all signals ignored"),
    case!(4, many_orphans_at_the_end, "15 children at once: the status is the command's"),
    case!(1, three_hundred_times, "300 times /bin/true, one after the other"),
    case!(1, together, "12 containers at once: each with its own status"),
    case!(1, open_file_limit, "an open-file limit of 8"),
    case!(4, inside_itself, "the runner in a container of its own"),
    case!(6, host_invisible, "no process of the host is in /proc"),
    case!(4, host_unkillable, "no process of the host can be sent a signal"),
    case!(6, init_environment, "the caller's environment is not in /proc/1/environ either"),
    case!(4, reboot, "reboot(2) inside ends the container, not the host"),
];

fn orphans_reaped(lab: &Lab) -> Outcome {
    reaped(lab, "i=0; while [ $i -lt 15 ]; do (sh -c 'exit 3' & exit 4); i=$((i+1)); done")
}

fn real_time_orphan(lab: &Lab) -> Outcome {
    reaped(lab, "for n in 34 40 64 0; do (sh -c \"kill -$n \\$\\$\" & exit 4); done")
}

/// No zombies are left when a script has made its orphans.
fn reaped(lab: &Lab, script: &str) -> Outcome {
    let running = lab.start(&format!("{script}; echo ready; read x; exit 7"))?;
    // The last ones may not have ended yet.
    let look = "ps -e -o stat=,args= | grep -E '^Z|sh -c (exit|kill)'";
    let zombies = || Ok::<_, Error>(lab.host.run(look)?.stdout);
    let mut left = zombies()?;
    for _ in 0..200 {
        if left.is_empty() {
            break;
        }
        left = zombies()?;
    }
    let status = running.finish()?.status;
    same("zombies", left.as_str(), "")?;
    same("status", status, 7)
}

fn background_gone(lab: &Lab) -> Outcome {
    let out = lab.run("sleep 7777 & sleep 8888 & exit 7")?;
    same("status", out.status, 7)?;
    same("left", lab.pids_of("sleep 7777").len(), 0)
}

fn daemons_gone(lab: &Lab) -> Outcome {
    let script =
        "(trap '' HUP INT QUIT TERM; setsid sh -c 'sleep 7777 & exec sleep 8888' &) ; exit 7";
    let out = lab.run(script)?;
    same("status", out.status, 7)?;
    same("left", lab.pids_of("sleep 7777").len() + lab.pids_of("sleep 8888").len(), 0)
}

fn many_orphans_at_the_end(lab: &Lab) -> Outcome {
    let script = "i=0; while [ $i -lt 15 ]; do (exit 3) & i=$((i+1)); done; exit 7";
    same("status", lab.run(script)?.status, 7)
}

/// In parts, each of which has the deadline of a test to itself.
fn three_hundred_times(lab: &Lab) -> Outcome {
    let helper = lab.helper()?;
    for _ in 0..6 {
        let out = lab.around(&format!("exec {helper} none 50 0 1 \"$@\""), &["true"])?;
        same("statuses", out.stdout.as_str(), "exit 0: 50\n")?;
    }
    Ok(())
}

fn together(lab: &Lab) -> Outcome {
    let script = |n: usize| format!("echo ready; read x; exit {n}");
    let mut all = Vec::new();
    for n in 0..12 {
        all.push(lab.start(&script(n))?);
    }
    for running in &mut all {
        running.session.send("go on\n")?;
    }
    for (n, running) in all.into_iter().enumerate() {
        same("status", running.finish()?.status, n as i32)?;
    }
    Ok(())
}

fn open_file_limit(lab: &Lab) -> Outcome {
    let out = lab.around("prlimit --nofile=8 \"$@\"", &["sh", "-c", "echo ok; exit 7"])?;
    same("outcome", (out.stdout.as_str(), out.status), ("ok\n", 7))
}

fn inside_itself(lab: &Lab) -> Outcome {
    lab.not_oci("a bundle in a bundle")?;
    lab.not_locks("nobody inside makes namespaces, on purpose")?;
    if lab.cgroups.is_some() && lab.host.read("/proc/1/mountinfo")?.contains("nsdelegate") {
        return not_applicable("cgroup v2 with nsdelegate: nobody leaves the cgroup namespace");
    }
    let everything = lab.everything()?;
    let alpine = everything.rootfs.as_ref().map(|_| Options::rootfs("/workshop/rootfs"));
    let inner = lab.with(&alpine.unwrap_or_default(), &["sh", "-c", "echo inner; exit 7"])?;
    let outer = lab.with(&everything, &inner)?;
    let out = output(&mut lab.host.command(outer))?;
    hold(out.status == 7 && out.stdout == "inner\n", || format!("{} {}", out.status, out.stderr))
}

fn host_invisible(lab: &Lab) -> Outcome {
    let victim = Session::start(&mut lab.host.command(["sleep", "6543"]))?;
    until("sleep runs", || !lab.pids_of("sleep 6543").is_empty())?;
    let out = lab.run("cat /proc/[0-9]*/cmdline | tr '\\0' ' '")?;
    let pid = lab.pids_of("sleep 6543")[0];
    lab.host.run(&format!("kill {pid}"))?;
    drop(victim);
    hold(!out.stdout.contains("6543"), || "the host's processes are listed".into())
}

fn host_unkillable(lab: &Lab) -> Outcome {
    let mut victim = Session::start(&mut lab.host.command(["sleep", "6543"]))?;
    until("sleep runs", || !lab.pids_of("sleep 6543").is_empty())?;
    let pid = lab.pids_of("sleep 6543")[0];
    lab.run(&format!("kill -TERM {pid}"))?;
    let alive = !lab.pids_of("sleep 6543").is_empty();
    lab.host.run(&format!("kill -KILL {pid}"))?;
    same("status", victim.finish()?.status, 137)?;
    hold(alive, || "it was killed".into())
}

fn init_environment(lab: &Lab) -> Outcome {
    let argv = lab.argv(&["cat", "/proc/1/environ"]);
    let script = "SECRET=s3cret; export SECRET; exec \"$@\"";
    let out = output(&mut lab.host.command(around(script, argv)))?;
    hold(out.status == 0 || out.stderr.contains("Permission denied"), || out.stderr.clone())?;
    hold(!out.stdout.contains("s3cret"), || "SECRET is in PID 1's environment".into())
}

/// In any PID namespace but the first, the kernel turns it into SIGHUP for that namespace's PID 1.
/// (The classroom host has one as well: it is the most that can go.)
fn reboot(lab: &Lab) -> Outcome {
    let number = if cfg!(target_arch = "x86_64") { 169 } else { 142 };
    let script =
        format!("exec perl -e 'syscall({number}, 0xfee1dead, 672274793, 0x1234567); exit 7'");
    let out = lab.run_with(&lab.everything()?, &script)?;
    same("the host", lab.host.run("echo is there")?.stdout.as_str(), "is there\n")?;
    hold([7, 129].contains(&out.status), || format!("status {} {}", out.status, out.stderr))
}
