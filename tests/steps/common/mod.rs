//! What the tests of all steps need: the step on its host, and a few ways to run it.
#![allow(dead_code)] // no step uses all of it

use std::ops::Deref;

use classroom::{Cgroups, Host, Missing, Output, Session, Setup, need, output};

use crate::STEP;

/// The program under test: the step's, or the learner's own where their crate claims this test.
pub const PROGRAM: &str = env!(concat!("CARGO_BIN_EXE_", env!("CARGO_PKG_NAME")));

/// The number of the step.
pub fn number() -> u32 {
    STEP[4..6].parse().expect("stepNN_name")
}

/// A host with the step on it, as /workshop/step: under that name in all steps, so that the
/// snapshots of two of them differ only in what they are about.
pub struct Lab {
    host: Host, // before the cgroups: it is dropped first
    /// Where every run makes a cgroup: in step 10.
    pub cgroups: Option<Cgroups>,
}

impl Deref for Lab {
    type Target = Host;
    fn deref(&self) -> &Host {
        &self.host
    }
}

/// Makes a [`Lab`].
#[track_caller]
pub fn host() -> Result<Lab, Missing> {
    if number() == 10 {
        need::root()?;
    }
    let setup = Setup::new(PROGRAM.as_ref()).name("step");
    let host = if number() < 5 { setup.without_rootfs().start()? } else { setup.start()? };
    let cgroups = if number() == 10 { Some(Cgroups::on(&host)?) } else { None };
    Ok(Lab { host, cgroups })
}

/// `./step run` and these arguments.
pub fn argv<'a>(args: &[&'a str]) -> Vec<&'a str> {
    [&["./step", "run"], args].concat()
}

/// `host# ./step run ARGS`, to its end.
#[track_caller]
pub fn run(host: &Host, args: &[&str]) -> Output {
    output(&mut host.command(argv(args)))
}

/// `host# ./step run ARGS`, to talk to.
#[track_caller]
pub fn start(host: &Host, args: &[&str]) -> Session {
    Session::start(&mut host.command(argv(args)))
}

/// What the program itself says on stderr about what it is doing.
pub fn running(stderr: &str) -> bool {
    stderr.starts_with("Running ")
}

/// The errors on stderr: all but the `Running` lines. The name of the program becomes `step`.
pub fn errors(output: &Output) -> String {
    let lines = output.stderr.lines().filter(|line| !running(line));
    let own = concat!(env!("CARGO_PKG_NAME"), ": ");
    lines.map(|line| line.replacen(own, "step: ", 1) + "\n").collect()
}

/// The number that the runner has on the host: `Running […] as 4711`.
#[track_caller]
pub fn runner(session: &mut Session) -> u32 {
    let text = session.wait_for_err("\n");
    let number = text.lines().next().and_then(|line| line.rsplit(' ').next()?.parse().ok());
    number.unwrap_or_else(|| panic!("no number in {text:?}"))
}

/// The host's processes with exactly these arguments.
pub fn pids(host: &Host, args: &str) -> Vec<u32> {
    let processes = host.processes().into_iter();
    processes.filter(|(_, found)| found == args).map(|(pid, _)| pid).collect()
}

/// The one process with these arguments, as soon as there is one.
#[track_caller]
pub fn pid(host: &Host, args: &str) -> u32 {
    classroom::until(&format!("{args:?} runs"), || !pids(host, args).is_empty());
    pids(host, args)[0]
}

/// What one could find changed on the host: its name, processes, mounts.
#[track_caller]
pub fn traces(host: &Host) -> String {
    // All that is left is what is being buried: the kernel needs a moment for it.
    classroom::until("only PID 1 is left", || host.processes().len() == 1);
    let hostname = host.run("hostname").stdout;
    format!("{hostname}\n{:?}\n{}", host.processes(), host.read("/proc/1/mountinfo"))
}
