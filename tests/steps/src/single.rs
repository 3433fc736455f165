//! What one step alone shows.

use std::fs;

use classroom::root::is_root;
use classroom::{Error, Result, Session, normal, output, until};

use crate::*;

tests! { STEP_01:
    ls_is_ls, exec_replaces_the_shell, all_exit_statuses, the_command_is_the_runners_child,
}
tests! { STEP_03:
    it_runs_itself_under_any_name,
}
tests! { STEP_08:
    lo_can_be_brought_up, nothing_of_the_hosts_ipc_is_there,
}
tests! { STEP_09:
    root_inside_is_nobody_special_outside, files_belong_to_the_learner, the_learner_gains_nothing_on_the_host,
    it_works_without_root, what_may_not_be_written_is_said_with_a_cure,
}

/// The same as without the runner.
fn ls_is_ls(host: &Lab) -> Result<()> {
    assert_eq!(run(host, &["ls", "-l"])?.stdout, host.run("ls -l")?.stdout);
    Ok(())
}

/// Fork and exec, against exec alone, after which the shell is gone.
fn exec_replaces_the_shell(host: &Lab) -> Result<()> {
    assert_eq!(run(host, &["sh", "-c", "ls; echo still here"])?.stdout, "step\nstill here\n");
    assert_eq!(run(host, &["sh", "-c", "exec ls; echo still here"])?.stdout, "step\n");
    Ok(())
}

fn all_exit_statuses(host: &Lab) -> Result<()> {
    let script =
        "for i in $(seq 0 255); do ./step run sh -c \"exit $i\" 2>&-; [ $? = $i ] || echo $i; done";
    assert_eq!(host.run(script)?.stdout, "");
    Ok(())
}

/// Runner, then the shell as its child; both gone after `exit`.
fn the_command_is_the_runners_child(host: &Lab) -> Result<()> {
    let mut session = start(host, &["sh"])?;
    let parent = session.ask("echo $PPID")?;
    assert_eq!(parent, format!("{}\n", runner(&mut session)?));
    session.send("exit\n")?;
    assert_eq!(session.outcome()?.status, 0);
    until("both are gone", || host.processes().len() == 1)?;
    Ok(())
}

/// The program is found by what it is, not by its name.
fn it_runs_itself_under_any_name(host: &Lab) -> Result<()> {
    let ran =
        host.run("mv step moved && PATH=/workshop:$PATH moved run hostname; mv moved step")?;
    assert_eq!(ran.stdout, "container\n", "{ran:?}");
    let ran = host.run("cp step gone && exec 3<gone && rm gone && /proc/self/fd/3 run hostname")?;
    assert_eq!(ran.stdout, "container\n", "{ran:?}");
    Ok(())
}

/// lo is there, and down until somebody brings it up; what listens on the host is out of reach.
fn lo_can_be_brought_up(host: &Lab) -> Result<()> {
    let script = "ip link set lo up && ip addr show lo";
    let ran = run(host, &["sh", "-c", script])?;
    assert!(ran.stdout.contains("127.0.0.1/8"), "{ran:?}");
    assert_eq!(host.run("ip link show dev eth0")?.status, 0);
    Ok(())
}

/// POSIX and System V shared memory, semaphores: all of the IPC namespace.
fn nothing_of_the_hosts_ipc_is_there(host: &Lab) -> Result<()> {
    host.run("ipcmk -M 4096; ipcmk -S 1")?;
    for kind in ["msg", "sem", "shm"] {
        let file = format!("/proc/sysvipc/{kind}");
        let rows = |text: &str| text.lines().count() - 1;
        assert_eq!(rows(&host.run(&format!("cat {file}"))?.stdout), 1, "{kind} on the host");
        assert_eq!(rows(&run(host, &["cat", &file])?.stdout), 0, "{kind} inside");
    }
    Ok(())
}

/// `id` says 0, the host's `ps` says 1000.
fn root_inside_is_nobody_special_outside(host: &Lab) -> Result<()> {
    let mut session = Session::start(&mut host.learner(argv(&["sh"])))?;
    assert_eq!(session.ask("id -u; id -g")?, "0\n0\n");
    let maps = session.ask("cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups")?;
    assert_eq!(normal::columns(&maps), "0 1000 1\n0 1000 1\ndeny\n");
    until("sh runs", || !pids(host, "sh").is_empty())?;
    let shell = pid(host, "sh")?.to_string();
    let seen = output(&mut host.learner(["ps", "-o", "uid=,gid=", "-p", &shell]))?.stdout;
    assert_eq!(normal::columns(&seen), "1000 1000\n");
    session.finish()?;
    Ok(())
}

/// What it creates belongs to the learner; what belongs to others it cannot touch.
fn files_belong_to_the_learner(host: &Lab) -> Result<()> {
    let folder = host.path("/workshop/rootfs/open");
    fs::create_dir(&folder).unwrap();
    host.run("chmod 777 rootfs/open")?;
    let script = "touch /open/mine; ls -ln /open | grep mine";
    let ran = output(&mut host.learner(argv(&["sh", "-c", script])))?;
    assert_eq!(ran.stdout.split_whitespace().skip(2).take(2).collect::<Vec<_>>(), ["0", "0"]);
    let seen = output(&mut host.learner(["stat", "-c", "%u %g", "rootfs/open/mine"]))?;
    assert_eq!(seen.stdout, "1000 1000\n");
    if is_root() {
        fs::write(host.path("/workshop/rootfs/open/secret"), "secret\n").unwrap();
        host.run("chmod 600 rootfs/open/secret")?;
        let ran = output(&mut host.learner(argv(&["cat", "/open/secret"])))?;
        assert_eq!((ran.stdout.as_str(), ran.status), ("", 1), "{ran:?}");
    }
    Ok(())
}

/// All that root of the container can change is the container.
fn the_learner_gains_nothing_on_the_host(host: &Lab) -> Result<()> {
    let before = traces(host)?;
    let script = "hostname mine; ip link set lo up; mount -t tmpfs none /mnt && echo mounted
        ipcmk -Q >/dev/null 2>&1; mknod /tmp/disk b 8 0 || echo no device";
    let ran = output(&mut host.learner(argv(&["sh", "-c", script])))?;
    assert_eq!(ran.stdout, "mounted\nno device\n", "{ran:?}");
    assert_eq!(before, traces(host)?);
    Ok(())
}

/// The whole of it works without root: statuses, signals, Ctrl-C, clean-up.
fn it_works_without_root(host: &Lab) -> Result<()> {
    let before = traces(host)?;
    for (script, status) in [("exit 3", 3), ("kill -KILL $$", 137), ("no-such-command", 127)] {
        assert_eq!(output(&mut host.learner(argv(&["sh", "-c", script])))?.status, status);
    }
    let mut session = Session::start(&mut host.learner(argv(&["cat"])))?;
    session.send("up\n")?;
    session.wait_for("up\n")?;
    host.run(&format!("kill {}", runner(&mut session)?))?;
    assert_eq!(session.outcome()?.status, 143);
    assert_eq!(before, traces(host)?);
    Ok(())
}

/// Of whoever runs a program that they may not read, all in /proc/self belongs to root (proc(5), "dumpable"; the
/// kernel's would_dump()).
fn what_may_not_be_written_is_said_with_a_cure(host: &Lab) -> Result<()> {
    if host.read("/proc/sys/fs/suid_dumpable")?.trim() == "1" {
        return Err(Error::Missing("fs.suid_dumpable is 1: here it belongs to the user".into()));
    }
    host.run("cp step mine; chmod 111 mine")?;
    // By a shell: setpriv(1) still has its capabilities when it starts something.
    let ran = output(&mut host.learner(["sh", "-c", "./mine run true"]))?;
    let why = "cannot write setgroups: Permission denied (os error 13)";
    let said = format!("step: {why} (use sudo, or see cargo workshop doctor)\n");
    assert_eq!((host.errors(&ran), ran.status), (said, 125));
    Ok(())
}
