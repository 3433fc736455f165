//! Every solution in `exercises/` applies, builds without a warning, and does what its exercise asks
//! for; and the step without it does not.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::OnceLock;

use classroom::root::is_root;
use classroom::{Cgroups, Error, Host, Result, Session, Setup, output, trial, trials, until};
use steps::{Change, Step, Steps, Variant, git, repository};

fn main() -> ExitCode {
    trial::run(trials![
        patches_are_where_the_steps_are,
        env_01_sets_variables,
        join_02_enters_the_namespace_of_another,
        hostname_03_is_an_option,
        no_init_04_makes_the_command_pid_1,
        fds_05_keeps_open_files_outside,
        subset_06_leaves_only_processes,
        volume_07_is_the_hosts,
        overlay_07_starts_fresh_every_time,
        veth_08_is_a_cable_to_the_host,
        caps_09_are_all_gone,
        procsys_09_is_read_only,
        exec_10_enters_a_running_container,
        memory_high_10_is_set_or_refused,
    ])
}

/// The programs, by the names of their patches: the solution, and the step that it changes.
type Programs = BTreeMap<String, (PathBuf, PathBuf)>;

/// Builds them at the first call.
fn programs() -> &'static Programs {
    static PROGRAMS: OnceLock<Programs> = OnceLock::new();
    PROGRAMS.get_or_init(build)
}

fn patches() -> Vec<PathBuf> {
    let entries = fs::read_dir(repository().join("exercises")).expect("there are exercises");
    let mut patches: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    patches.retain(|path| path.extension().is_some_and(|extension| extension == "patch"));
    patches
}

fn build() -> Programs {
    let steps = Steps::find(repository()).expect("the repository has steps");
    let patches = patches();
    let name = |patch: &Path| patch.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let step = |patch: &Path| name(patch)[..2].parse::<Step>().expect("NN-NAME.patch");
    let variant = |patch| {
        let (package, step) = (format!("exercise-{}", name(patch)), step(patch));
        Variant { package, step, change: Change::Patch(patch) }
    };
    let variants: Vec<Variant> = patches.iter().map(|patch| variant(patch)).collect();
    let built = steps.variants("exercises", &variants).unwrap_or_else(|err| panic!("{err:#}"));
    assert_eq!(built.warnings, "", "a solution in exercises/ does not build without warnings");
    let plain = steps.programs(steps.all()).unwrap_or_else(|err| panic!("{err:#}"));
    let pairs = patches.iter().zip(built.programs);
    let pair = |(patch, solution): (&PathBuf, PathBuf)| {
        (name(patch), (solution, plain[usize::from(step(patch).number()) - 1].clone()))
    };
    pairs.map(pair).collect()
}

/// The two hosts of an exercise: one with the solution on it, one with the step as it is. On both the program is called
/// `run.me`.
fn hosts(name: &str) -> Result<(Host, Host)> {
    let (solution, step) = &programs()[name];
    let host = |program: &Path| Setup::new(program).name("run.me").start();
    Ok((host(solution)?, host(step)?))
}

/// `host$ script`, with what it has written and its exit status in one text.
#[track_caller]
fn run(host: &Host, script: &str) -> Result<String> {
    let output = host.run(&format!("exec 2>/dev/null; {script}"))?;
    Ok(format!("{}[{}]", output.stdout, output.status))
}

/// The guide shows their line numbers, too.
fn patches_are_where_the_steps_are() -> Result<()> {
    for patch in patches() {
        let mut git = git();
        git.current_dir(repository()).env("LC_ALL", "C");
        let said = output(git.args(["apply", "--check", "--verbose", "--"]).arg(&patch))?.stderr;
        assert!(
            !said.contains("(offset"),
            "{} has other line numbers; write it anew (exercises/README.md says how):\n{said}",
            patch.display()
        );
    }
    Ok(())
}

fn env_01_sets_variables() -> Result<()> {
    let (solution, step) = hosts("01-env")?;
    let script = "./run.me run --env A=1 -e B=x=y sh -c 'echo $A $B'";
    assert_eq!(run(&solution, script)?, "1 x=y\n[0]");
    assert_eq!(run(&step, script)?, "[2]");
    assert_eq!(run(&solution, "./run.me run --env A true")?, "[2]");
    Ok(())
}

fn join_02_enters_the_namespace_of_another() -> Result<()> {
    let (solution, _) = hosts("02-join")?;
    let mut first = Session::start(&mut solution.command(["./run.me", "run", "sh"]))?;
    first.ask("hostname x")?;
    let pid = first.ask("echo $$")?;
    let script = format!("./run.me run --uts {} hostname", pid.trim());
    assert_eq!(run(&solution, &script)?, "x\n[0]");
    assert_eq!(run(&solution, "./run.me run hostname")?, "host\n[0]");
    let missing = solution.run("./run.me run --uts 999999 hostname")?;
    assert_eq!(missing.status, 125);
    assert!(missing.stderr.contains("/proc/999999/ns/uts"), "{}", missing.stderr);
    Ok(())
}

fn hostname_03_is_an_option() -> Result<()> {
    let (solution, step) = hosts("03-hostname")?;
    assert_eq!(run(&solution, "./run.me run --hostname web hostname")?, "web\n[0]");
    assert_eq!(run(&solution, "./run.me run hostname")?, "container\n[0]");
    assert_eq!(run(&step, "./run.me run --hostname web hostname")?, "[2]");
    let long = "x".repeat(65);
    let refused = solution.run(&format!("./run.me run --hostname {long} hostname"))?;
    assert_eq!((refused.status, refused.stdout.as_str()), (125, ""));
    assert!(refused.stderr.contains(&long), "{}", refused.stderr);
    Ok(())
}

fn no_init_04_makes_the_command_pid_1() -> Result<()> {
    let (solution, _) = hosts("04-no-init")?;
    assert_eq!(run(&solution, "./run.me run --no-init sh -c 'echo $$'")?, "1\n[0]");
    assert_eq!(run(&solution, "./run.me run sh -c 'echo $$'")?, "2\n[0]");
    assert_eq!(run(&solution, "./run.me run --no-init nope")?, "[127]");
    assert_eq!(run(&solution, "./run.me run --no-init /etc")?, "[126]");
    // PID 1 has no handler for SIGTERM: it is not even delivered. A command that is not PID 1 dies.
    let script = "./run.me run OPTION sh -c 'kill -TERM $$; echo survived'";
    assert_eq!(run(&solution, &script.replace("OPTION", "--no-init"))?, "survived\n[0]");
    assert_eq!(run(&solution, &script.replace("OPTION", ""))?, "[143]");
    Ok(())
}

fn fds_05_keeps_open_files_outside() -> Result<()> {
    let (solution, step) = hosts("05-fds")?;
    // A descriptor of the host's root leads out of the rootfs, where the shell has inherited it.
    let script = "exec 9</etc/hostname; ./run.me run sh -c 'cat <&9 >/dev/null && echo leaked'";
    assert_eq!(run(&step, script)?, "leaked\n[0]");
    let held = run(&solution, script)?;
    assert!(!held.contains("leaked"), "{held}");
    Ok(())
}

fn subset_06_leaves_only_processes() -> Result<()> {
    let (solution, step) = hosts("06-subset")?;
    let script = "./run.me run ls /proc";
    let other = |name: &str| !name.chars().all(|c| c.is_ascii_digit()) && !name.contains("self");
    let listing = solution.run(script)?.stdout;
    assert!(listing.contains("self"), "{listing}");
    assert!(!listing.lines().any(other), "{listing}");
    assert!(step.run(script)?.stdout.lines().any(other));
    assert!(solution.run("./run.me run ps -o pid,args")?.stdout.contains(" ps"));
    Ok(())
}

fn volume_07_is_the_hosts() -> Result<()> {
    let (solution, step) = hosts("07-volume")?;
    let mounts = solution.run("mount")?.stdout;
    run(&solution, "mkdir shared more; echo outside >shared/letter")?;
    let script = "./run.me run -v /workshop/shared:/mnt -v /workshop/more:/new/place sh -c \
        'cat /mnt/letter; echo inside >/new/place/letter'; cat more/letter";
    assert_eq!(run(&solution, script)?, "outside\ninside\n[0]");
    assert_eq!(run(&step, script)?, "[1]");
    assert_eq!(solution.run("mount")?.stdout, mounts);
    for wrong in ["/workshop/shared", "shared:/mnt", "/workshop/shared:/mnt/../../out", ":"] {
        assert_eq!(run(&solution, &format!("./run.me run -v {wrong} true"))?, "[2]", "{wrong}");
    }
    let missing = solution.run("./run.me run -v /nowhere:/mnt true")?;
    assert_eq!(missing.status, 125);
    assert!(missing.stderr.contains("cannot mount \"/nowhere\" on /mnt"), "{}", missing.stderr);
    Ok(())
}

fn overlay_07_starts_fresh_every_time() -> Result<()> {
    let (solution, step) = hosts("07-overlay")?;
    let mounts = solution.run("mount")?.stdout;
    assert_eq!(run(&solution, "./run.me run sh -c 'echo new >/x; cat /x'")?, "new\n[0]");
    assert_eq!(run(&solution, "./run.me run cat /x")?, "[1]");
    assert_eq!(run(&solution, "ls rootfs/x rootfs/upper rootfs/work rootfs/root/x")?, "[2]");
    assert_eq!(solution.run("mount")?.stdout, mounts);
    // These are something to the kernel in the options of an overlay.
    let odd = r"mkdir 'a,b:c\d' && cp -a rootfs 'a,b:c\d' && ./run.me run --rootfs 'a,b:c\d/rootfs' echo it runs";
    assert_eq!(run(&solution, odd)?, "it runs\n[0]");
    run(&step, "./run.me run sh -c 'echo new >/x'")?;
    assert_eq!(run(&step, "./run.me run cat /x")?, "new\n[0]");
    Ok(())
}

fn veth_08_is_a_cable_to_the_host() -> Result<()> {
    let (solution, _) = hosts("08-veth")?;
    let probe = solution.run("unshare --net ip link add veth0 type veth peer name eth9")?;
    if probe.status != 0 {
        return Err(Error::Missing(format!("this kernel has no veth: {}", probe.stderr)));
    }
    // The host's end answers. (`ping` wants a raw socket; what is open on the host will do.)
    let inside = "cat /proc/net/route; cat /proc/net/fib_trie";
    let mut shell = Session::start(&mut solution.command(["./run.me", "run", "sh"]))?;
    let routes = shell.ask(inside)?;
    assert!(routes.contains("eth0"), "{routes}");
    assert!(routes.contains("192.0.2.2"), "{routes}");
    let on_host = || Ok::<_, Error>(solution.run("ip -o -4 address")?.stdout);
    assert!(on_host()?.contains("192.0.2.1/24"), "{}", on_host()?);
    shell.close();
    assert_eq!(shell.finish()?.status, 0);
    // The kernel takes a network namespace down some time after its last process.
    until("the cable is gone", || Ok(!on_host()?.contains("192.0.2.1/24")))?;
    assert_eq!(run(&solution, "PATH=/nowhere ./run.me run true")?, "[125]");
    // A machine whose own network that is keeps it.
    run(&solution, "ip address add 192.0.2.77/24 dev eth0; ip link set eth0 up")?;
    let before = on_host()?;
    assert!(solution.run("./run.me run true")?.stderr.contains("192.0.2.0/24 is in use here"));
    assert_eq!(on_host()?, before);
    Ok(())
}

fn caps_09_are_all_gone() -> Result<()> {
    let (solution, step) = hosts("09-caps")?;
    let script = "./run.me run grep -E '^(CapPrm|CapEff|CapBnd|NoNewPrivs)' /proc/self/status";
    let none = "0000000000000000";
    let gone = format!("CapPrm:\t{none}\nCapEff:\t{none}\nCapBnd:\t{none}\nNoNewPrivs:\t1\n[0]");
    assert_eq!(run(&solution, script)?, gone);
    assert_ne!(run(&step, script)?, gone);
    assert_ne!(run(&solution, "./run.me run hostname x")?, "[0]");
    assert_eq!(run(&step, "./run.me run hostname x")?, "[0]");
    assert_eq!(run(&solution, "./run.me run sh -c 'exit 7'")?, "[7]");
    Ok(())
}

fn procsys_09_is_read_only() -> Result<()> {
    let (solution, step) = hosts("09-procsys")?;
    // Opened for writing, but nothing is written. (The file is the host's: an ordinary user may not.)
    let script = "./run.me run sh -c ': >>/proc/sys/kernel/core_pattern && echo writable'";
    assert!(!run(&solution, script)?.contains("writable"));
    let why = solution.run(script)?.stderr;
    assert!(why.contains("Read-only file system"), "{why}");
    if is_root() {
        assert_eq!(run(&step, script)?, "writable\n[0]");
    }
    assert_eq!(run(&solution, "./run.me run cat /proc/sys/kernel/hostname")?, "container\n[0]");
    Ok(())
}

fn exec_10_enters_a_running_container() -> Result<()> {
    let (solution, _) = hosts("10-exec")?;
    let cgroups = Cgroups::on(&solution)?;
    let mut shell = Session::start(&mut solution.command(["./run.me", "run", "sh"]))?;
    shell.ask("echo ready")?;
    let find = "ps -e -o pid,args | awk '$2 == \"sh\" && NF == 2 { print $1 }' | tail -1";
    let pid = solution.run(find)?.stdout;
    let exec = format!("./run.me exec {} ", pid.trim());
    assert_eq!(run(&solution, &format!("{exec} hostname"))?, "container\n[0]");
    assert_eq!(run(&solution, &format!("{exec} sh -c 'exit 9'"))?, "[9]");
    let seen = solution.run(&format!("{exec} ps -o pid,args"))?.stdout;
    assert!(seen.contains("/proc/self/exe child"), "{seen}");
    let cgroup = solution.run(&format!("{exec} cat /proc/self/cgroup"))?.stdout;
    let joined = if cgroups.v2 { "0::/\n" } else { ":pids:/\n" };
    assert!(cgroup.contains(joined), "{cgroup}");
    assert_eq!(run(&solution, "./run.me exec 999999 true")?, "[125]");
    shell.close();
    assert_eq!(shell.finish()?.status, 0);
    Ok(())
}

fn memory_high_10_is_set_or_refused() -> Result<()> {
    let (solution, _) = hosts("10-memory-high")?;
    let cgroups = Cgroups::on(&solution)?;
    if cgroups.v2 {
        let mut shell =
            Session::start(&mut solution.command(["./run.me", "run", "--memory-high=50m", "sh"]))?;
        shell.ask("echo ready")?;
        assert_eq!(run(&solution, "cat /sys/fs/cgroup/step10-*/memory.high")?, "52428800\n[0]");
        shell.close();
        assert_eq!(shell.finish()?.status, 0);
    } else {
        let refused = solution.run("./run.me run --memory-high=50m echo started")?;
        assert_eq!((refused.status, refused.stdout.as_str()), (125, ""));
        assert!(refused.stderr.contains("memory.high"), "{}", refused.stderr);
    }
    assert_eq!(run(&solution, "./run.me run true")?, "[0]");
    Ok(())
}
