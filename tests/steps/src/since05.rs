//! What holds from step 05 on: the container has a root directory and an environment of its own.

use std::fs;
use std::os::unix::fs::symlink;

use classroom::root::is_root;
use classroom::{Result, output};

use crate::*;

tests! { TESTS:
    the_root_is_the_rootfs, the_command_is_looked_up_inside,
    the_host_sees_the_process_and_its_root, rootfs_may_be_named_in_many_ways,
    a_rootfs_in_a_home_that_is_closed_to_others, a_rootfs_that_is_none_is_an_error,
    the_environment_is_clean, a_chroot_is_escaped_but_a_pivot_root_is_not,
}

// From 07 on, mounting on the host's / hides what its namespace has mounted since: another story.
tests! { UNTIL_06: with_the_hosts_root_there_is_no_wall }

/// A marker in the rootfs is in `/`, and nothing is above it.
fn the_root_is_the_rootfs(host: &Lab) -> Result<()> {
    fs::write(host.path("/workshop/rootfs/marker"), "inside\n").unwrap();
    fs::write(host.path("/workshop/secret"), "outside\n").unwrap();
    let ran = run(host, &["sh", "-c", "pwd; cat /marker; cd ../..; pwd; cat marker"])?;
    assert_eq!(ran.stdout, "/\ninside\n/\ninside\n");
    let ran = run(host, &["cat", "../secret", "../../workshop/secret", "/workshop/secret"])?;
    assert_eq!((ran.stdout.as_str(), ran.status), ("", 1));
    Ok(())
}

/// The command is looked up after the root has changed.
fn the_command_is_looked_up_inside(host: &Lab) -> Result<()> {
    let tool = host.path("/workshop/rootfs/usr/bin/only-inside");
    fs::write(&tool, "#!/bin/sh\necho found\n").unwrap();
    host.run("chmod 755 rootfs/usr/bin/only-inside")?;
    assert_eq!(run(host, &["only-inside"])?.stdout, "found\n");
    let ran = run(host, &["/workshop/step", "--version"])?;
    assert_eq!(ran.status, 127, "{ran:?}");
    Ok(())
}

fn the_host_sees_the_process_and_its_root(host: &Lab) -> Result<()> {
    let mut session = start(host, &["sleep", "1000"])?;
    let sleep = pid(host, "sleep 1000")?;
    assert_eq!(host.run("ps -C sleep -o args=")?.stdout, "sleep 1000\n");
    let root = host.run(&format!("readlink /proc/{sleep}/root"))?.stdout;
    // From step 07 on it is the root of another mount namespace, and called / there.
    assert_eq!(root, if host.step < 7 { "/workshop/rootfs\n" } else { "/\n" });
    let inside = host.run(&format!("ls /proc/{sleep}/root/bin/sh"))?;
    assert_eq!(inside.status, 0, "{inside:?}");
    assert_eq!(host.run(&format!("ls -d /proc/{sleep}/root/workshop"))?.status, 2);
    host.run(&format!("kill {}", runner(&mut session)?))?;
    assert_eq!(session.outcome()?.status, 143);
    Ok(())
}

fn rootfs_may_be_named_in_many_ways(host: &Lab) -> Result<()> {
    fs::write(host.path("/workshop/rootfs/marker"), "").unwrap();
    symlink("rootfs", host.path("/workshop/link")).unwrap();
    for script in [
        "./step run --rootfs rootfs ls /marker",
        "./step run --rootfs=./rootfs/ ls /marker",
        "./step run --rootfs /workshop/rootfs ls /marker",
        "./step run --rootfs link ls /marker",
        "./step run --rootfs /workshop/../workshop/rootfs ls /marker",
        "ROOTFS=/workshop/link ./step run ls /marker",
        "ROOTFS=/nowhere ./step run --rootfs rootfs ls /marker",
        "cd / && ROOTFS=workshop/rootfs workshop/step run ls /marker",
        "mv rootfs 'my rootfs' && ./step run --rootfs 'my rootfs' ls /marker",
        "cd 'my rootfs' && ../step run --rootfs . ls /marker",
    ] {
        let ran = host.run(script)?;
        assert_eq!((ran.stdout.as_str(), ran.status), ("/marker\n", 0), "{script}: {ran:?}");
    }
    Ok(())
}

/// A home is usually closed to others, and root of a user namespace is one of these: its power ends at files whose
/// owner is not mapped. Started with sudo, that is the caller's home.
fn a_rootfs_in_a_home_that_is_closed_to_others(host: &Lab) -> Result<()> {
    let script = "mkdir -m 700 'closed home'; mv step rootfs 'closed home'; touch 'closed home/rootfs/marker'";
    assert_eq!(host.run(script)?.status, 0);
    if is_root() {
        // An ordinary user cannot give it to somebody else, and is root of a user namespace already.
        assert_eq!(host.run("chown 1000:1000 'closed home'")?.status, 0);
    }
    let absolute = "/workshop/closed home/rootfs";
    symlink(absolute, host.path("/workshop/link")).unwrap();
    for rootfs in [absolute, "rootfs", "/workshop/link"] {
        for (variable, option) in [
            (format!("ROOTFS='{rootfs}'"), String::new()),
            (String::new(), format!("--rootfs '{rootfs}'")),
        ] {
            let line = format!("cd 'closed home'; {variable} ./step run {option} ls /marker");
            let ran = host.run(&line)?;
            assert_eq!((ran.stdout.as_str(), ran.status), ("/marker\n", 0), "{line}: {ran:?}");
        }
    }
    Ok(())
}

/// … and what is none is an error of the runner, with the cure.
fn a_rootfs_that_is_none_is_an_error(host: &Lab) -> Result<()> {
    fs::write(host.path("/workshop/file"), "").unwrap();
    for (rootfs, reason) in [("nowhere", "No such file or directory"), ("file", "Not a directory")]
    {
        let ran = run(host, &["--rootfs", rootfs, "sh", "-c", "echo started"])?;
        let errors = host.errors(&ran);
        assert_eq!((ran.status, ran.stdout.as_str()), (125, ""), "{rootfs}: {ran:?}");
        assert_eq!(errors.lines().count(), 1, "{errors}");
        assert!(errors.contains(&format!("{rootfs:?}")) && errors.contains(reason), "{errors}");
        // The cure is shown where it is one.
        assert_eq!(errors.contains("rootfs-fetch.sh"), rootfs == "nowhere", "{errors}");
    }
    Ok(())
}

/// With the host's own root all of its files are there.
fn with_the_hosts_root_there_is_no_wall(host: &Lab) -> Result<()> {
    let ran = run(host, &["--rootfs", "/", "ls", "/workshop"])?;
    assert_eq!((ran.stdout.as_str(), ran.status), ("rootfs\nstep\n", 0), "{ran:?}");
    Ok(())
}

fn the_environment_is_clean(host: &Lab) -> Result<()> {
    let mut command = host.command(argv(&["env"]));
    command.env("PASSWORD", "secret").env("LD_PRELOAD", "").env("TERM", "vt100");
    let ran = output(&mut command)?;
    let mut lines: Vec<_> = ran.stdout.lines().collect();
    lines.sort();
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(lines, ["HOME=/root", path, "TERM=vt100"]);
    let ran = output(host.command(argv(&["env"])).env_remove("TERM"))?;
    assert!(!ran.stdout.contains("TERM"), "{}", ran.stdout);
    Ok(())
}

/// The escape that the classical texts warn of: a process whose working directory is outside of its
/// root walks up. (busybox's nsenter opens the working directory before it changes the root, and enters it
/// afterwards; util-linux's wants a namespace, but its unshare stays where it is at `--wd .`.) It works in steps 05 and
/// 06; from 07 on there is nothing above `/`.
fn a_chroot_is_escaped_but_a_pivot_root_is_not(host: &Lab) -> Result<()> {
    fs::write(host.path("/workshop/secret"), "outside\n").unwrap();
    host.run("cp -a rootfs inner && mv inner rootfs/inner")?;
    let up = "../../../../../../workshop/secret";
    let busybox = host.path("/workshop/rootfs/bin/busybox").exists();
    let outside = if busybox {
        ["nsenter", "-r/inner", "-w/"]
    } else {
        ["unshare", "--root=/inner", "--wd=."]
    };
    let ran = run(host, &[&outside[..], &["cat", up]].concat())?;
    if host.step < 7 {
        assert_eq!((ran.stdout.as_str(), ran.status), ("outside\n", 0), "{ran:?}");
    } else {
        assert_eq!((ran.stdout.as_str(), ran.status), ("", 1), "{ran:?}");
        // The means are not lacking: as far as the container's own root it gets.
        let ran = run(host, &[&outside[..], &["ls", "-d", "../../../inner"]].concat())?;
        assert_eq!((ran.stdout.as_str(), ran.status), ("../../../inner\n", 0), "{ran:?}");
    }
    Ok(())
}
