//! What holds from step 07 on: mounts of its own, a small /dev, nothing visible on the host.

use std::fs;
use std::os::unix::fs::symlink;

use classroom::{Result, Session};

use crate::*;

tests! { TESTS:
    the_host_sees_its_mounts_only_in_proc, there_is_a_small_dev, background_jobs_work,
    a_rootfs_whose_dev_is_a_link_is_an_error, the_runner_stays_on_the_host,
}

/// The host does not see the container's mounts among its own; in /proc it does.
fn the_host_sees_its_mounts_only_in_proc(host: &Lab) -> Result<()> {
    let before = host.read("/proc/1/mountinfo")?;
    let mut session = start(host, &["sh"])?;
    session.ask("mount -t tmpfs none /mnt")?;
    assert_eq!(before, host.read("/proc/1/mountinfo")?);
    let mounts = host.run(&format!("cat /proc/{}/mounts", pid(host, "sh")?))?.stdout;
    assert!(mounts.contains("proc /proc proc ") && mounts.contains(" /mnt tmpfs "), "{mounts}");
    assert!(!mounts.contains("workshop"), "the old root is still there: {mounts}");
    // And the other way round: what the host mounts later does not come in.
    host.run("mount -t tmpfs late rootfs/media")?;
    assert!(!session.ask("cat /proc/mounts")?.contains("late"));
    session.finish()?;
    Ok(())
}

fn there_is_a_small_dev(host: &Lab) -> Result<()> {
    let before = host.run("ls -lA rootfs/dev")?.stdout;
    let script = "cd /dev && echo * && echo gone >null && wc -c <null && head -c 3 zero | wc -c \\
        && head -c 3 random | wc -c && head -c 3 urandom | wc -c; dd if=zero of=full bs=1 count=1; echo $?";
    let ran = run(host, &["sh", "-c", script])?;
    let printed = ran.stdout.split_whitespace().collect::<Vec<_>>();
    let devices = ["full", "null", "random", "tty", "urandom", "zero"];
    assert_eq!(printed[..6], devices, "{ran:?}");
    assert_eq!(printed[6..10], ["0", "3", "3", "3"], "{ran:?}");
    assert!(printed[10] != "0" && ran.stderr.contains("No space left"), "{ran:?}");
    assert_eq!(before, host.run("ls -lA rootfs/dev")?.stdout, "it has left files in the rootfs");
    let mut terminal = Session::on_terminal(&mut host.terminal(argv(&[
        "sh",
        "-c",
        "echo up >/dev/tty; read -r x </dev/tty; echo $x",
    ])))?;
    terminal.wait_for("up\r\n")?;
    terminal.send("typed\n")?;
    terminal.wait_for("typed\r\ntyped\r\n")?;
    assert_eq!(terminal.finish()?.status, 0);
    Ok(())
}

fn background_jobs_work(host: &Lab) -> Result<()> {
    let ran = run(host, &["sh", "-c", "true & wait $! && echo done"])?;
    assert_eq!((ran.stdout.as_str(), ran.status), ("done\n", 0), "{ran:?}");
    Ok(())
}

fn a_rootfs_whose_dev_is_a_link_is_an_error(host: &Lab) -> Result<()> {
    let before = traces(host)?;
    fs::rename(host.path("/workshop/rootfs/dev"), host.path("/workshop/rootfs/old")).unwrap();
    symlink("old", host.path("/workshop/rootfs/dev")).unwrap();
    let ran = run(host, &["sh", "-c", "echo started"])?;
    assert_eq!((ran.status, ran.stdout.as_str()), (125, ""), "{ran:?}");
    assert!(host.errors(&ran).contains("/dev"), "{ran:?}");
    assert_eq!(before, traces(host)?);
    Ok(())
}

/// The runner itself stays where it was: on the host.
fn the_runner_stays_on_the_host(host: &Lab) -> Result<()> {
    let mut session = start_cat(host, &[])?;
    let runner = runner(&mut session)?;
    let of = |pid: u32| fs::read_link(host.path(&format!("/proc/{pid}/ns/mnt"))).unwrap();
    assert_eq!(of(runner), of(1));
    assert_eq!(host.run(&format!("readlink /proc/{runner}/root"))?.stdout, "/\n");
    assert_eq!(host.run(&format!("ls /proc/{runner}/root/workshop"))?.stdout, "rootfs\nstep\n");
    assert_eq!(session.finish()?.status, 0);
    Ok(())
}
