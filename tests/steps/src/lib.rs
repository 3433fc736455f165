//! The tests of the ten steps: one list, and for each of them the steps that it is about.
//!
//! A test gets a fresh [`Lab`]. Those of step 10 need root: the test program becomes root if it can, and otherwise
//! counts them as ignored.

use std::ops::{Deref, RangeInclusive};
use std::path::Path;
use std::process::ExitCode;

use classroom::root::{give_back, variables};
use classroom::{Cgroups, Host, Output, Result, Session, Setup, output, repository, trial, until};

/// A test, and its name.
type Test = (&'static str, fn(&Lab) -> Result<()>);

/// The tests of a module, by the names of their functions.
macro_rules! tests {
    ($list:ident: $($name:ident),* $(,)?) => {
        pub const $list: &[crate::Test] = &[$((stringify!($name), $name)),*];
    };
}

mod limits;
mod scenes;
mod since01;
mod since04;
mod since05;
mod since06;
mod since07;
mod single;
mod soak;

/// All tests, with the steps that they are for.
const ALL: &[(&str, RangeInclusive<u8>, &[Test])] = &[
    ("scenes", 1..=10, scenes::TESTS),
    ("since01", 1..=10, since01::TESTS),
    ("since04", 4..=10, since04::TESTS),
    ("since05", 5..=10, since05::TESTS),
    ("since05", 5..=6, since05::UNTIL_06),
    ("since06", 6..=10, since06::TESTS),
    ("since07", 7..=10, since07::TESTS),
    ("step01", 1..=1, single::STEP_01),
    ("step03", 3..=3, single::STEP_03),
    ("step08", 8..=8, single::STEP_08),
    ("step09", 9..=9, single::STEP_09),
    ("limits", 10..=10, limits::TESTS),
    ("soak", 10..=10, soak::TESTS),
];

/// What a test program gives on to itself when it becomes root.
const VARIABLES: &[&str] =
    &["CI", "INSTA_UPDATE", "INSTA_WORKSPACE_ROOT", "ROOTFS", "RUST_BACKTRACE"];

/// Runs the tests of the step of this name, with this program of it.
pub fn main(name: &'static str, program: &'static Path) -> ExitCode {
    let step: u8 = name[4..6].parse().expect("the package is called stepNN_name");
    let mut trials = Vec::new();
    for (module, _, tests) in ALL.iter().filter(|(_, steps, _)| steps.contains(&step)) {
        for (test, run) in *tests {
            let run = move || run(&Lab::new(name, step, program)?);
            trials.push(trial::trial(format!("{module}::{test}"), run));
        }
    }
    if step < 10 {
        return trial::run(trials);
    }
    let done = trial::run_as_root(
        trials,
        |_| true,
        || {
            classroom::rootfs()?;
            Ok(variables(VARIABLES))
        },
    );
    give_back(&snapshots(name));
    done
}

/// The folder of a step's snapshots.
fn snapshots(step: &str) -> std::path::PathBuf {
    repository().join("tests/steps/snapshots").join(step)
}

/// A host with the step on it, as /workshop/step: under that name in all steps, so that the snapshots of two of them
/// differ only in what they are about.
pub struct Lab {
    host: Host, // before the cgroups: it is dropped first
    /// Where every run makes a cgroup: in step 10.
    pub cgroups: Option<Cgroups>,
    name: &'static str,
    step: u8,
}

impl Deref for Lab {
    type Target = Host;
    fn deref(&self) -> &Host {
        &self.host
    }
}

impl Lab {
    fn new(name: &'static str, step: u8, program: &Path) -> Result<Lab> {
        let setup = Setup::new(program).name("step");
        let host = if step < 5 { setup.without_rootfs().start()? } else { setup.start()? };
        let cgroups = if step == 10 { Some(Cgroups::on(&host)?) } else { None };
        Ok(Lab { host, cgroups, name, step })
    }

    /// The errors on stderr: all but the `Running` lines. The name of the program becomes `step`.
    pub fn errors(&self, output: &Output) -> String {
        let lines = output.stderr.lines().filter(|line| !line.starts_with("Running "));
        let own = format!("{}: ", self.name);
        lines.map(|line| line.replacen(&own, "step: ", 1) + "\n").collect()
    }

    /// Compares `text` with a snapshot of this name; where they differ, insta prints how, and panics.
    #[track_caller]
    pub fn snapshot(&self, name: &str, text: &str) {
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path(snapshots(self.name));
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| insta::assert_snapshot!(name, text));
    }
}

/// `./step run` and these arguments.
pub fn argv<'a>(args: &[&'a str]) -> Vec<&'a str> {
    [&["./step", "run"], args].concat()
}

/// `host# ./step run ARGS`, to its end.
#[track_caller]
pub fn run(host: &Host, args: &[&str]) -> Result<Output> {
    output(&mut host.command(argv(args)))
}

/// `host# ./step run ARGS`, to talk to.
pub fn start(host: &Host, args: &[&str]) -> Result<Session> {
    Session::start(&mut host.command(argv(args)))
}

/// `host# ./step run OPTIONS cat`, as soon as cat runs.
#[track_caller]
pub fn start_cat(host: &Host, options: &[&str]) -> Result<Session> {
    let mut session = start(host, &[options, &["cat"]].concat())?;
    session.send("up\n")?;
    session.wait_for("up\n")?;
    Ok(session)
}

/// The number that the runner has on the host: `Running […] as 4711`.
#[track_caller]
pub fn runner(session: &mut Session) -> Result<u32> {
    let text = session.wait_for_err("\n")?;
    let number = text.lines().next().and_then(|line| line.rsplit(' ').next()?.parse().ok());
    Ok(number.unwrap_or_else(|| panic!("no number in {text:?}")))
}

/// The host's processes with exactly these arguments.
pub fn pids(host: &Host, args: &str) -> Vec<u32> {
    let processes = host.processes().into_iter();
    processes.filter(|(_, found)| found == args).map(|(pid, _)| pid).collect()
}

/// The one process with these arguments, as soon as there is one.
#[track_caller]
pub fn pid(host: &Host, args: &str) -> Result<u32> {
    until(&format!("{args:?} runs"), || !pids(host, args).is_empty())?;
    Ok(pids(host, args)[0])
}

/// What one could find changed on the host: its name, processes, mounts, cgroups.
#[track_caller]
pub fn traces(host: &Lab) -> Result<String> {
    // All that is left is what is being buried: the kernel needs a moment for it.
    until("only PID 1 is left", || host.processes().len() == 1)?;
    let hostname = host.run("hostname")?.stdout;
    let mounts = host.read("/proc/1/mountinfo")?;
    let cgroups = host.cgroups.as_ref().map_or(Vec::new(), Cgroups::list);
    Ok(format!("{hostname}\n{:?}\n{mounts}\n{cgroups:?}", host.processes()))
}
