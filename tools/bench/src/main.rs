//! What does isolation cost? One command measures it:
//!
//! ```sh
//! cargo bench -p bench                    # everything: about ten minutes
//! cargo bench -p bench -- starts          # one part: starts, crowd, mounts, memory, class
//! cargo bench -p bench -- starts --mine   # with your own program, my-container, beside the steps
//! cargo bench --profile dev -p bench -- --smoke   # everything a few times, with debug builds: does it work?
//! ```
//!
//! It prints tables, and writes them, with the picture, to `target/bench/` (`--save`: also to `tools/bench/`, where the
//! README and the guide have them from).
//!
//! ## How to read it
//! - One *start* is: start the runner, which starts `/bin/true` of the root filesystem, which ends; wait for the
//!   runner. Standard output and error are closed off, and builds are release builds.
//! - **The floor** is `floor.c`, C without error messages, signals or options, linked statically: what the kernel
//!   itself takes for the same namespaces and mounts. `fork + exec` is the same without any isolation. A runner cannot
//!   be faster than the floor; how much slower it is, is the ratio.
//! - *Lone* starts have a tenth of a second's rest before them, as when a person types a command; *back to back* ones
//!   have none. They differ: the kernel still clears up after the start before, and some of its waiting (RCU grace
//!   periods) is shorter if somebody has just asked for it.
//! - All subjects take turns within one run, in a new order each round: what else the machine does hits all of them
//!   alike. So compare **ratios within one run**, never milliseconds of two runs. The figure is the median, with the
//!   quartiles in brackets: half of all starts lie between them. If two of those ranges overlap a lot, the two are the
//!   same.
//! - "step09_user, static" is the same step without shared libraries (and without the loader that looks for them).
//!
//! On a machine that is busy with something else, give it real-time priority: build with one run, then
//! `sudo chrt --fifo 1 target/release/deps/isolation-* --built starts`.
//!
//! It needs a root filesystem (`./rootfs-fetch.sh`) and root for most steps: it builds as you, and then asks sudo. A C
//! compiler and other runners (`apt install gcc libc6-dev bubblewrap crun runc`) are measured if they are there.

mod class;
mod crowd;
mod memory;
mod mounts;
mod picture;
mod starts;
mod stats;
mod subjects;

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::Ordering;

use anyhow::{Context, ensure};
use clap::{Parser, ValueEnum};
use classroom::root::{become_root, is_root, variables};

use steps::{Step, Steps, repository};
use subjects::{Kind, Subject};

#[derive(Parser)]
#[command(name = "cargo bench -p bench --", about = "Measures what isolation costs.")]
struct Cli {
    /// What to measure: everything, if nothing is named
    #[arg(value_enum)]
    parts: Vec<Part>,
    /// Measure everything a few times only, and debug builds, to see that it works
    #[arg(long)]
    smoke: bool,
    /// Measure my-container, too
    #[arg(long)]
    mine: bool,
    /// Write the figures and the picture to tools/bench/ as well
    #[arg(long)]
    save: bool,
    /// How often each subject is started, lone and back to back
    #[arg(long, default_value = "60")]
    rounds: usize,
    /// What cargo bench always passes.
    #[arg(long, hide = true)]
    bench: bool,
    /// Everything is built, and this is root.
    #[arg(long, hide = true)]
    built: bool,
    /// Measure in this mount namespace, and print nothing but the result.
    #[arg(long, hide = true)]
    among_mounts: Option<usize>,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Part {
    /// The class's own waiting: building, testing, checking
    Class,
    /// One start after the other
    Starts,
    /// Many at a time
    Crowd,
    /// With many mounts on the host
    Mounts,
    /// Memory, and sizes of the programs
    Memory,
}

impl Part {
    fn file(self) -> String {
        format!("{}.md", self.to_possible_value().expect("no part is hidden").get_name())
    }
}

/// Where everything is.
pub struct Machine {
    /// The repository
    root: PathBuf,
    /// This package
    here: PathBuf,
    /// cargo's target directory
    target: PathBuf,
    /// What this program leaves behind
    out: PathBuf,
    rootfs: PathBuf,
}

impl Machine {
    fn find() -> anyhow::Result<Self> {
        let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let root = repository().to_path_buf();
        // target/release/deps/isolation-HASH
        let this = env::current_exe().context("cannot find this program")?;
        let target = this.ancestors().nth(3).context("not in a target directory")?.to_path_buf();
        let out = target.join("bench");
        fs::create_dir_all(&out).with_context(|| format!("cannot make {out:?}"))?;
        let rootfs = env::var_os("ROOTFS").map_or(root.join("rootfs"), PathBuf::from);
        // In Alpine it is a link to /bin/busybox, which need not be there on the host.
        ensure!(
            fs::symlink_metadata(rootfs.join("bin/true")).is_ok(),
            "no {rootfs:?} (run ./rootfs-fetch.sh first)"
        );
        Ok(Machine { root, here, target, out, rootfs })
    }

    fn cargo(&self) -> Command {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
        cargo.current_dir(&self.root).arg("--quiet").env("CARGO_TARGET_DIR", &self.target);
        cargo
    }

    /// The names of the ten steps, in their order.
    fn steps(&self) -> anyhow::Result<Vec<String>> {
        let steps = Steps::find(&self.root)?;
        Step::all().map(|step| Ok(steps.name(step)?.to_string())).collect()
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("bench: {err:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> anyhow::Result<()> {
    let machine = Machine::find()?;
    let wanted = |part| cli.parts.is_empty() || cli.parts.contains(&part);
    let write = |part: Part, text: String| {
        let head = if cli.smoke { "A smoke run: the figures mean nothing.\n\n" } else { "" };
        println!("{head}{text}");
        let file = machine.out.join(part.file());
        fs::write(&file, text).with_context(|| format!("cannot write {file:?}"))
    };
    if !cli.built {
        if wanted(Part::Class) {
            write(Part::Class, class::measure(&machine, cli.smoke)?)?;
        }
        if cli.parts == [Part::Class] {
            return finish(cli, &machine);
        }
        progress("building");
        subjects::build(&machine, cli)?;
        as_root(&machine)?;
    }
    host()?;
    let mut subjects = subjects::all(&machine, cli)?;
    let all_steps = subjects.iter().filter(|subject| subject.kind == Kind::Step).count();
    subjects.retain(works);
    let steps = subjects.iter().filter(|subject| subject.kind == Kind::Step).count();
    ensure!(steps > 0, "no step can be started here");
    let root = is_root();
    ensure!(!cli.smoke || !root || steps == all_steps, "not every step can be started here");
    if let Some(mounts) = cli.among_mounts {
        return mounts::among(&subjects, mounts, cli.rounds);
    }
    if wanted(Part::Starts) {
        let starts = starts::measure(&subjects, if cli.smoke { 2 } else { cli.rounds });
        write(Part::Starts, starts.report())?;
        picture::draw(&starts, &machine.out.join("isolation.svg"))?;
    }
    if wanted(Part::Crowd) {
        write(Part::Crowd, crowd::measure(&subjects, cli.smoke))?;
    }
    if wanted(Part::Mounts) {
        write(Part::Mounts, mounts::measure(cli, &subjects)?)?;
    }
    if wanted(Part::Memory) {
        write(Part::Memory, memory::measure(&subjects))?;
    }
    finish(cli, &machine)?;
    let failures = starts::FAILURES.load(Ordering::Relaxed);
    ensure!(failures == 0, "{failures} starts failed; they are not in the figures");
    Ok(())
}

/// cargo runs as the caller, what needs root does not: the rest of this program.
fn as_root(machine: &Machine) -> anyhow::Result<()> {
    if is_root() {
        return Ok(());
    }
    // Made by the caller, so that they stay theirs.
    for part in Part::value_variants() {
        let file = machine.out.join(part.file());
        fs::OpenOptions::new().create(true).append(true).open(file)?;
    }
    fs::OpenOptions::new().create(true).append(true).open(machine.out.join("isolation.svg"))?;
    // sudo has a PATH of its own, and the other runners may be elsewhere.
    let args = [OsString::from("--built")].into_iter().chain(env::args_os().skip(1));
    if let Err(why) = become_root(&variables(&["PATH", "ROOTFS"]), args) {
        eprintln!("Only what works without root is measured: {why}");
    }
    Ok(())
}

/// A mount namespace of our own, as a host with systemd has it: shared.
fn host() -> anyhow::Result<()> {
    if !is_root() {
        return Ok(());
    }
    use nix::mount::{MntFlags, MsFlags, mount, umount2};
    const NONE: Option<&str> = None;
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS)
        .context("cannot make a mount namespace")?;
    for flag in [MsFlags::MS_PRIVATE, MsFlags::MS_SHARED] {
        mount(NONE, "/", NONE, MsFlags::MS_REC | flag, NONE).context("cannot set propagation")?;
    }
    // On a machine with version 1 of cgroups and also a mount of version 2, crun refuses to work.
    if Path::new("/sys/fs/cgroup/unified").exists() && Path::new("/sys/fs/cgroup/pids").exists() {
        _ = umount2("/sys/fs/cgroup/unified", MntFlags::MNT_DETACH);
        // OCI runtimes join every controller there is, and with real-time priority cpu refuses.
        if realtime() {
            _ = umount2("/sys/fs/cgroup/cpu", MntFlags::MNT_DETACH);
        }
    }
    Ok(())
}

/// Tries a subject once. What does not work is said, not measured: a fast failure would look like a fast runner.
fn works(subject: &Subject) -> bool {
    let output = subject.start().stderr(Stdio::piped()).output();
    match output {
        Ok(output) if output.status.success() => true,
        Ok(output) => {
            let reason = String::from_utf8_lossy(&output.stderr);
            // The last line says why; before it a step says what it runs.
            let reason = reason.lines().last().unwrap_or_default();
            eprintln!("Not measured: {}: {}: {reason}", subject.name, output.status);
            false
        }
        Err(err) => {
            eprintln!("Not measured: {}: {err}", subject.name);
            false
        }
    }
}

/// Puts the parts together, and says where they are.
fn finish(cli: &Cli, machine: &Machine) -> anyhow::Result<()> {
    let mut text = String::from(
        "# What isolation costs\n\nMeasured, not typed: `cargo bench -p bench -- --save` writes this file. \
         How to read it: the first lines of [src/main.rs](src/main.rs).\n",
    );
    for part in Part::value_variants() {
        let part = fs::read_to_string(machine.out.join(part.file())).unwrap_or_default();
        if !part.is_empty() {
            text += "\n";
            text += &part;
        }
    }
    let figures = machine.out.join("figures.md");
    fs::write(&figures, text).with_context(|| format!("cannot write {figures:?}"))?;
    println!("Tables: {}", figures.display());
    println!("Picture: {}", machine.out.join("isolation.svg").display());
    if cli.save && !cli.smoke {
        for file in ["figures.md", "isolation.svg"] {
            let (from, to) = (machine.out.join(file), machine.here.join(file));
            fs::copy(&from, &to).with_context(|| format!("cannot copy {from:?} to {to:?}"))?;
        }
    }
    Ok(())
}

/// One line on stderr about what is being done.
pub fn progress(text: &str) {
    eprintln!("bench: {text}");
}

/// What a command prints on stdout.
pub fn output(command: &mut Command) -> anyhow::Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("cannot run {name}"))?;
    ensure!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether this runs with real-time priority (sched(7)), as `chrt --fifo 1` makes it.
pub fn realtime() -> bool {
    // The 41st field, of which the first two are left out: a name may have spaces (proc_pid_stat(5)).
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let rest = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    matches!(rest.split(' ').nth(41 - 3), Some("1" | "2"))
}

/// The machine and the date, in a line: figures without them are worth nothing.
pub fn conditions() -> String {
    let file = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = file("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or(env::consts::ARCH, |(_, model)| model);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    // A virtual machine pays for instructions that a real one has for nothing.
    let virtual_ = if cpuinfo.contains(" hypervisor") { "virtual, " } else { "" };
    let release = file("/proc/sys/kernel/osrelease");
    let load = file("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or("unknown");
    let date = output(Command::new("date").arg("+%Y-%m-%d")).unwrap_or_default();
    let priority = if realtime() { ", real-time priority and no CPU limit" } else { "" };
    let (release, date) = (release.trim(), date.trim());
    format!("{model}, {virtual_}{cores} cores, Linux {release}, load {load}{priority}, {date}")
}
