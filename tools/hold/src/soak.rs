//! The soak: step 10, with its three limits, with all locks or without, many times over, and all is as before.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use classroom::error::Attempt;

use crate::lab::{Lab, Options, Runner, around};
use crate::{Outcome, Result, hold};

/// Prints the figures of a soak with `times` runs in a row; see [`soak`].
pub fn run(runner: &Runner, times: u64) -> ExitCode {
    println!("{}:", runner.name);
    match soak(runner, times, |line| println!("{line}")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("soak of {}: {why}", runner.name);
            ExitCode::FAILURE
        }
    }
}

/// Runs `/bin/true` in a container `times` times in a row, half as often 200 at a time (or fewer, if
/// that is more than there are), and half as often again with SIGKILL and SIGTERM at any moment of
/// the first 50 ms. Then compares the host before and after: processes, zombies, mounts, cgroups, network
/// namespaces, files.
///
/// # Errors
/// [`Failure::NotHeld`] with the first difference.
pub fn soak(runner: &Runner, times: u64, mut say: impl FnMut(String)) -> Outcome {
    // 200 containers at a time.
    let lab = Lab::with_room_for(2000, runner)?;
    let helper = lab.helper()?;
    let limits =
        Options { pids: Some(20), memory: Some(50 << 20), cpus: Some(0.5), ..Options::default() };
    let mut rounds = |signals: &str,
                      command: &[&str],
                      times: u64,
                      at_once: u64|
     -> Result<String> {
        let script = format!("exec nice {helper} {signals} {times} 50000 {at_once} \"$@\"");
        let argv = around(&script, lab.with(&limits, command)?);
        let start = Instant::now();
        // Not `output`: it has a deadline, and this takes as long as it takes.
        let out = lab.host.command(argv).output();
        let out = out.attempt("run the helper")?;
        let text = String::from_utf8_lossy(&out.stdout).trim().replace('\n', ", ");
        let seconds = start.elapsed().as_secs_f64();
        let per_second = times as f64 / seconds;
        say(format!(
            "{times} runs, {at_once} at a time, signals {signals}: {text} ({seconds:.0} s, {per_second:.0}/s)"
        ));
        Ok(text)
    };
    let before = state(&lab)?;
    let (in_kernel, half) = (net_namespaces(), times / 2);
    let quiet = rounds("none", &["/bin/true"], times, 1)?;
    let crowd = rounds("none", &["/bin/true"], half, half.clamp(1, 200))?;
    let killed = rounds("SIGKILL,SIGTERM", &["/bin/sleep", "0.05"], half, half.clamp(1, 20))?;
    hold(quiet == format!("exit 0: {times}"), || quiet)?;
    hold(crowd == format!("exit 0: {half}"), || crowd)?;
    let odd = |part: &&str| {
        !["exit 0: ", "exit 143: ", "signal 9: ", "signal 15: "]
            .iter()
            .any(|ok| part.starts_with(ok))
    };
    hold(!killed.split(", ").any(|part| odd(&part)), || killed.clone())?;
    // Who is killed by SIGKILL cannot remove its cgroups. Their names are known: nobody else is here.
    let mut left = 0;
    if let Some(cgroups) = &lab.cgroups {
        left = cgroups.list().into_iter().collect::<BTreeSet<_>>().len();
        let end = Instant::now() + Duration::from_secs(10);
        while lab.host.processes().iter().any(|(_, args)| args.contains("child")) {
            hold(Instant::now() < end, || "a container is left".into())?;
            std::thread::sleep(Duration::from_millis(5));
        }
        cgroups.clean()?;
    }
    say(format!("cgroups that killed runners left behind, empty, now removed: {left}"));
    lab.nothing_is_left()?;
    let after = state(&lab)?;
    for (what, was) in &before {
        let is = after.get(what).copied().unwrap_or(0);
        say(format!("{what}: {was} before, {is} after"));
        hold(*was == is, || format!("{what}: {was} before, {is} after"))?;
    }
    // (The kernel takes them down in its own time; and others on the machine have theirs.)
    say(format!(
        "network namespaces in the kernel: {in_kernel} before, {} after",
        net_namespaces()
    ));
    Ok(())
}

/// What can be counted on the host.
fn state(lab: &Lab) -> Result<BTreeMap<&'static str, usize>> {
    let mut shell = lab.host.shell()?;
    let mut count = |command: &str| -> Result<usize> {
        Ok(shell.ask(command)?.trim().parse().unwrap_or(usize::MAX))
    };
    let state = BTreeMap::from([
        ("zombies", count("ps -e -o stat= | grep -c '^Z'")?),
        ("mounts", lab.host.read("/proc/1/mountinfo")?.lines().count()),
        ("cgroups", lab.cgroups.as_ref().map_or(0, |cgroups| cgroups.list().len())),
        ("network namespaces of the host's processes", count("lsns -n -t net | wc -l")?),
        ("files", count("find / -xdev | wc -l")?),
        // Last: by now the shell that answers is surely there, and counts each time.
        ("processes", lab.host.processes().len()),
    ]);
    shell.finish()?;
    Ok(state)
}

/// How many there are in the kernel, with or without processes; 0 where it does not tell.
fn net_namespaces() -> u64 {
    let slabs = fs::read_to_string("/proc/slabinfo").unwrap_or_default();
    let line = slabs.lines().find(|line| line.starts_with("net_namespace "));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
}
