//! The classroom host itself: it looks the same everywhere, and leaves nothing behind.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use classroom::fence::Hits;
use classroom::root::is_root;
use classroom::{Cgroups, Host, Result, Session, Setup, normal, output, trial};

const PROGRAM: &str = "/usr/bin/true";

fn main() -> ExitCode {
    if std::env::var_os(OWNER).is_some() {
        return owner();
    }
    trial::run(classroom::trials![
        it_looks_the_same_everywhere,
        its_mounts_are_shared_but_not_with_the_machine,
        it_has_a_copy_of_the_root_file_system,
        a_learner_is_an_ordinary_user,
        statuses_and_streams_come_back,
        one_can_talk_to_a_shell,
        a_terminal_has_job_control_and_a_size,
        ps_works_in_a_pid_namespace_that_sees_its_proc,
        orphans_are_reaped,
        it_dies_with_its_owner,
        who_forks_without_end_is_stopped,
        who_takes_memory_without_end_is_stopped,
        who_writes_without_end_is_stopped,
        who_makes_files_without_end_is_stopped,
        a_signal_to_everybody_around_stays_on_the_host,
        its_cgroups_are_the_root_of_their_trees,
    ])
}

fn host() -> Result<Host> {
    Setup::new(Path::new(PROGRAM)).name("program").without_rootfs().start()
}

fn it_looks_the_same_everywhere() -> Result<()> {
    let host = host()?;
    assert_eq!(host.run("hostname")?.stdout, "host\n");
    let ps = normal::processes(&host.run("ps -e -o pid,args")?.stdout);
    assert_eq!(normal::Pids::default().name(&ps), "1 sh init\nA ps -e -o pid,args\n");
    let mounts = normal::mounts(&host.run("mount")?.stdout);
    assert_eq!(
        mounts,
        "host on / type tmpfs (rw,relatime)\nproc on /proc type proc (rw,relatime)\n"
    );
    assert_eq!(normal::links(&host.run("ip link")?.stdout), "1: lo UP\n2: eth0 DOWN\n");
    assert_eq!(normal::ipcs(&host.run("ipcs -q")?.stdout), "KEY 0 root 644 0 0\n");
    assert_eq!(host.run("pwd; ls")?.stdout, "/workshop\nprogram\n");
    assert_eq!(host.run("id -u; id -g")?.stdout, "0\n0\n");
    assert_eq!(host.run("./program")?.status, 0);
    Ok(())
}

fn its_mounts_are_shared_but_not_with_the_machine() -> Result<()> {
    let host = host()?;
    for mount in host.read("/proc/1/mountinfo")?.lines() {
        assert!(mount.contains(" shared:"), "{mount}");
        assert!(!mount.contains(" master:"), "{mount}");
    }
    Ok(())
}

fn it_has_a_copy_of_the_root_file_system() -> Result<()> {
    let host = Host::start(Path::new(PROGRAM))?;
    // Not `test -x`: in Alpine it is a link to /bin/busybox, which the machine need not have.
    assert_eq!(host.run("ls rootfs/bin/sh && > rootfs/marker && ls rootfs/marker")?.status, 0);
    assert!(!classroom::rootfs().unwrap().join("marker").exists());
    Ok(())
}

fn a_learner_is_an_ordinary_user() -> Result<()> {
    let host = host()?;
    let who = output(&mut host.learner(["sh", "-c", "id -u; id -g; hostname mine"]))?;
    assert_eq!((who.stdout.as_str(), who.status), ("1000\n1000\n", 1), "{who:?}");
    assert_eq!(host.run("hostname")?.stdout, "host\n");
    Ok(())
}

fn statuses_and_streams_come_back() -> Result<()> {
    let host = host()?;
    let out = host.run("echo out; echo err >&2; exit 3")?;
    assert_eq!((out.stdout.as_str(), out.stderr.as_str(), out.status), ("out\n", "err\n", 3));
    assert_eq!(host.run("kill -TERM $$")?.status, 143);
    Ok(())
}

fn one_can_talk_to_a_shell() -> Result<()> {
    let host = host()?;
    let mut shell = host.shell()?;
    shell.ask("x=1")?;
    assert_eq!(shell.ask("echo $x")?, "1\n");
    assert_eq!(shell.ask("printf no-newline")?, "no-newline");
    shell.send("exit 5\n")?;
    assert_eq!(shell.finish()?.status, 5);
    Ok(())
}

fn a_terminal_has_job_control_and_a_size() -> Result<()> {
    let host = host()?;
    let mut terminal = Session::on_terminal(&mut host.terminal(["sh", "-i"]))?;
    terminal.wait_for("# ")?;
    // It reads in the shell itself: a child that is only about to start might miss the Ctrl-C.
    terminal.send("sh -c 'echo up; while read -r line; do :; done'\n")?;
    terminal.wait_for("\nup")?;
    terminal.send("\x03")?;
    terminal.wait_for("# ")?;
    terminal.resize(50, 100)?;
    terminal.send("stty size; exit 7\n")?;
    terminal.wait_for("50 100")?;
    let end = terminal.finish()?;
    assert_eq!(end.status, 7);
    assert!(!end.stdout.contains("job control"), "{}", end.stdout);
    Ok(())
}

/// procps looks for /proc/GETPID of a /proc that knows it by another number.
fn ps_works_in_a_pid_namespace_that_sees_its_proc() -> Result<()> {
    let host = host()?;
    let seen = host.run("unshare --pid --fork sh -c 'ps -e -o pid,args; :'")?;
    assert!(seen.stdout.contains("sh init"), "{seen:?}");
    Ok(())
}

/// Orphans are buried: no zombies in anybody's `ps`.
fn orphans_are_reaped() -> Result<()> {
    let host = host()?;
    host.run("(true & true & sh -c 'true & true' &) ")?;
    classroom::until("they are gone", || host.processes().len() == 1)
}

/// As after `kill -9` on the test: here the owner is this program once more.
fn it_dies_with_its_owner() -> Result<()> {
    drop(host()?); // or there is nothing to wait for
    let mut owner = Command::new(std::env::current_exe().unwrap());
    let mut owner = Session::start(owner.env(OWNER, "yes"))?;
    let pid = owner.wait_for("\n")?;
    let stat = format!("/proc/{}/stat", pid.trim());
    assert!(Path::new(&stat).exists());
    let folders = owner.wait_for("\n")?;
    let folders: Vec<&str> = folders.split_whitespace().collect();
    assert_eq!(folders.is_empty(), !is_root());
    assert!(folders.iter().all(|folder| Path::new(folder).is_dir()), "{folders:?}");
    owner.kill();
    classroom::until("the host is gone", || !fs::exists(&stat).unwrap())?;
    let gone = || !folders.iter().any(|folder| Path::new(folder).is_dir());
    classroom::until("its cgroups are gone", gone)
}

/// The variable by which this program is told to be an owner and nothing else.
const OWNER: &str = "CLASSROOM_OWNER";

fn owner() -> ExitCode {
    let host = host().unwrap();
    let mut sleeper = host.shell().unwrap();
    sleeper.ask("sleep 1000 &").unwrap();
    let folders: Vec<_> =
        host.fence().folders().iter().map(|path| path.display().to_string()).collect();
    println!("{}\n{}", host.pid(), folders.join(" "));
    std::thread::park();
    ExitCode::FAILURE
}

/// A host with a wall around it. Where there can be none, these tests cannot run: never without.
fn fenced() -> Result<Host> {
    let host =
        Setup::new(Path::new(PROGRAM)).name("program").without_rootfs().processes(100).start()?;
    match host.fence().missing() {
        Some(why) => Err(why.clone()),
        None => Ok(host),
    }
}

fn who_forks_without_end_is_stopped() -> Result<()> {
    let host = fenced()?;
    let bomb = "i=0; while [ $i -lt 500 ]; do sleep 1000 <&- >&- 2>&- & i=$((i + 1)); done";
    let done = host.run(bomb)?;
    assert_ne!(done.status, 0, "{done:?}");
    let count = host.processes().len();
    assert!((50..=100).contains(&count), "{count} processes");
    assert_eq!(host.fence().hits(), Hits { processes: is_root(), memory: false });
    Ok(())
}

/// In a namespace of its own it is no better off.
fn who_takes_memory_without_end_is_stopped() -> Result<()> {
    let host = fenced()?;
    // Without the end of a line, tail(1) keeps everything.
    let done = host.run("unshare --mount sh -c 'head -c 1500M /dev/zero | tail >/dev/null'")?;
    assert_ne!(done.status, 0, "{done:?}");
    assert_eq!(host.fence().hits(), Hits { processes: false, memory: is_root() });
    Ok(())
}

fn who_writes_without_end_is_stopped() -> Result<()> {
    let host = fenced()?;
    for place in ["/workshop", "/tmp", "/dev/shm"] {
        let done = host.run(&format!("head -c 500M /dev/zero >{place}/file; rm {place}/file"))?;
        assert!(done.stderr.contains("No space left on device"), "{place}: {done:?}");
    }
    Ok(())
}

fn who_makes_files_without_end_is_stopped() -> Result<()> {
    let host = fenced()?;
    let done = host.run("mkdir many; cd many; seq 30000 | xargs touch")?;
    assert!(done.stderr.contains("No space left on device"), "{done:?}");
    Ok(())
}

/// kill(0, …) reaches the caller's process group. The parent of what is started on the host is outside of its PID
/// namespace, and so has the number 0: `kill(getppid(), …)` is the same.
fn a_signal_to_everybody_around_stays_on_the_host() -> Result<()> {
    let host = host()?;
    for signal in ["TERM", "INT", "HUP", "KILL"] {
        assert!(host.run(&format!("kill -{signal} 0"))?.status > 128, "{signal}");
        assert_eq!(host.run("echo here")?.stdout, "here\n");
    }
    Ok(())
}

fn its_cgroups_are_the_root_of_their_trees() -> Result<()> {
    let host = host()?;
    let cgroups = Cgroups::on(&host)?;
    let (table, place) = if cgroups.v2 { ("0::/host\n", "") } else { ("/\n", "/pids") };
    let seen = host.run(if cgroups.v2 {
        "cat /proc/self/cgroup"
    } else {
        "cut -d : -f 3 /proc/self/cgroup | sort -u"
    })?;
    assert_eq!(seen.stdout, table);
    host.run(&format!("mkdir /sys/fs/cgroup{place}/mine"))?;
    assert_eq!(cgroups.list(), ["mine"]);
    assert_eq!(cgroups.read("pids.max", "pids/pids.max")?, "max");
    cgroups.clean()?;
    assert!(cgroups.list().is_empty());
    Ok(())
}
