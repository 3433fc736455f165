//! The limits: that they are set, that they hold, and that nobody runs without one that was asked for.

use std::fs;

use classroom::{Result, Session, normal, until};

use crate::*;

tests! { TESTS:
    limits, its_own_cgroup_is_the_root, the_cgroup_lists_the_containers_processes, tree,
    a_fork_bomb_stops_at_the_limit, too_much_memory_is_not_to_be_had, too_much_cpu_time_is_not_to_be_had,
    a_limit_that_is_none_is_wrong_usage, without_cgroups_nothing_is_started,
    no_process_to_be_had_is_the_runners_failure, cgroups_of_the_containers_own_go_with_it,
    what_cannot_be_removed_is_said,
    the_cgroup_is_gone_after_ctrl_c_and_sigterm, what_a_killed_runner_leaves_is_harmless,
}

const ALL: [&str; 6] = ["--pids-limit", "7", "--memory", "50M", "--cpus", "0.5"];

/// The host's cgroups: in step 10 there are some.
fn cgroups(host: &Lab) -> &Cgroups {
    host.cgroups.as_ref().expect("step 10 has cgroups")
}

/// How many processes the container has, as its cgroup counts them.
fn count(host: &Lab) -> u32 {
    let count = cgroups(host).read("pids.current", "pids/pids.current").unwrap();
    count.parse().expect("pids.current is a number")
}

/// The counter of that name in a file of counters, such as `max` in pids.events.
fn counter(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no {name} in {text:?}"))
}

/// By default 20 processes and nothing else; Docker's notation.
fn limits(host: &Lab) -> Result<()> {
    let mut text = String::new();
    for options in [
        &[][..],
        &ALL,
        &["--memory", "1g", "--cpus", "2"],
        &["--memory", "52428800"],
        &["--memory", "52428800B", "--cpus", "1."],
        &["--memory", "51200K", "--cpus", ".01"],
    ] {
        let mut session = start_cat(host, options)?;
        text += &format!("host$ ./step run {}\n", options.join(" "));
        for (name, v2_file, v1_file, unlimited) in [
            ("pids", "pids.max", "pids/pids.max", "max"),
            ("memory", "memory.max", "memory/memory.limit_in_bytes", "max"),
            ("cpu", "cpu.max", "cpu/cpu.cfs_quota_us", "max 100000"),
        ] {
            let asked = name == "pids" || options.iter().any(|option| option.contains(name));
            // On version 1 there is no cgroup in a tree that nothing was asked of.
            let value = if asked || cgroups(host).v2 {
                cgroups(host).read(v2_file, v1_file)?
            } else {
                unlimited.to_string()
            };
            let value = value.replace(unlimited, "max").replace(" 100000", "");
            text += &format!("{name} {value}\n");
        }
        session.finish()?;
    }
    host.snapshot("limits", &text);
    Ok(())
}

/// The cgroup was joined before its namespace was made: so it is the root there.
fn its_own_cgroup_is_the_root(host: &Lab) -> Result<()> {
    let ran = run(host, &[&ALL[..], &["cat", "/proc/self/cgroup"]].concat())?;
    let trees: &[&str] = if cgroups(host).v2 { &["0::"] } else { &[":pids:", ":memory:", ":cpu"] };
    for tree in trees {
        let line = ran.stdout.lines().find(|line| line.contains(tree));
        assert!(line.is_some_and(|line| line.ends_with(":/")), "{tree} in {}", ran.stdout);
    }
    Ok(())
}

/// The container's processes only, not the runner; `sleep` adds one.
fn the_cgroup_lists_the_containers_processes(host: &Lab) -> Result<()> {
    let mut session = start(host, &["sh"])?;
    session.ask(":")?;
    let procs = || cgroups(host).read("cgroup.procs", "pids/cgroup.procs").unwrap().lines().count();
    assert_eq!((count(host), procs()), (2, 2), "PID 1 and the shell");
    session.ask("sleep 1000 &")?;
    assert_eq!((count(host), procs()), (3, 3));
    session.finish()?;
    Ok(())
}

/// Runner, child, shell, its children.
fn tree(host: &Lab) -> Result<()> {
    let mut session = start(host, &["sh"])?;
    session.ask("sleep 99 &")?;
    pid(host, "sleep 99")?;
    let mut text = String::new();
    for (process, args) in host.processes() {
        let status = host.read(&format!("/proc/{process}/status"))?;
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:\t")).unwrap();
        let args = match args.split_once("exe child ") {
            Some((exe, _)) => format!("{exe}exe child"),
            None => args,
        };
        text += &format!("{parent} {process} {args}\n");
    }
    session.finish()?;
    host.snapshot("tree", &normal::Pids::default().name(&text));
    Ok(())
}

fn a_fork_bomb_stops_at_the_limit(host: &Lab) -> Result<()> {
    let before = traces(host)?;
    let mut session = start(host, &["sh"])?;
    session.ask(":")?;
    // Never without having seen that there is a limit.
    assert_eq!(cgroups(host).read("pids.max", "pids/pids.max")?, "20");
    // In a shell of its own: ash ends where it cannot fork.
    session.send("bomb() { bomb | bomb; }; (bomb)\n")?;
    let refused =
        || counter(&cgroups(host).read("pids.events", "pids/pids.events").unwrap(), "max");
    until("the limit is met", || {
        assert!(count(host) <= 20);
        refused() > 0
    })?;
    assert_eq!(host.run("echo usable")?.stdout, "usable\n");
    session.wait_for_err("fork")?;
    host.run(&format!("kill {}", runner(&mut session)?))?;
    session.outcome()?;
    assert_eq!(before, traces(host)?);
    Ok(())
}

/// dd fills one buffer that is larger than the limit: so it does meet it.
fn too_much_memory_is_not_to_be_had(host: &Lab) -> Result<()> {
    let mut session = start(host, &["--memory", "30M", "sh"])?;
    let status = session.ask("dd if=/dev/zero of=/dev/null bs=200M count=1; echo $?")?;
    let met = if cgroups(host).v2 {
        counter(&cgroups(host).read("memory.events", "")?, "max")
    } else {
        cgroups(host).read("", "memory/memory.failcnt")?.parse().unwrap()
    };
    assert!(met > 0, "the limit was not met");
    // Where there is swap, memory goes there. Elsewhere the kernel kills.
    let swap = fs::read_to_string("/proc/swaps").is_ok_and(|swaps| swaps.lines().count() > 1);
    assert!(swap || status == "137\n", "{status}");
    assert_eq!(session.ask("echo alive")?, "alive\n");
    session.finish()?;
    assert_eq!(
        run(
            host,
            &["--memory", "300M", "dd", "if=/dev/zero", "of=/dev/null", "bs=200M", "count=1"]
        )?
        .status,
        0
    );
    Ok(())
}

/// No clock: the kernel itself counts how often it held the container back.
fn too_much_cpu_time_is_not_to_be_had(host: &Lab) -> Result<()> {
    let mut session = start(host, &["--cpus", "0.1", "sh", "-c", "echo up; while :; do :; done"])?;
    session.wait_for("up\n")?;
    until("it is throttled", || {
        counter(&cgroups(host).read("cpu.stat", "cpu/cpu.stat").unwrap(), "nr_throttled") > 0
    })?;
    host.run(&format!("kill {}", runner(&mut session)?))?;
    assert_eq!(session.outcome()?.status, 143);
    Ok(())
}

fn a_limit_that_is_none_is_wrong_usage(host: &Lab) -> Result<()> {
    for (option, values) in [
        ("--pids-limit", &["0", "-1", "x", "", "1.5"][..]),
        (
            "--memory",
            &["0", "-1", "x", "", "50X", "50MM", "m", "1e3", "1048575", "0.001", "inf", "NaN"],
        ),
        ("--memory", &["18446744073709551616", "17179869184g"]),
        (
            "--cpus",
            &[
                "0", "-1", "x", "", "nan", "inf", "infinity", "1e5", "1k", "1.5m", "0.001", ".",
                "1.2.3", " 1",
            ],
        ),
    ] {
        for value in values {
            let ran = run(host, &[&format!("{option}={value}"), "echo", "started"])?;
            assert_eq!((ran.status, ran.stdout.as_str()), (2, ""), "{option}={value}: {ran:?}");
        }
    }
    assert_eq!(cgroups(host).list(), [""; 0]);
    Ok(())
}

/// fork(2) fails where the limit is one: that is not the command's fault.
fn no_process_to_be_had_is_the_runners_failure(host: &Lab) -> Result<()> {
    let ran = run(host, &["--pids-limit", "1", "echo", "started"])?;
    assert_eq!((ran.status, ran.stdout.as_str()), (125, ""), "{ran:?}");
    assert!(host.errors(&ran).contains("Resource temporarily unavailable"), "{ran:?}");
    assert_eq!(cgroups(host).list(), [""; 0]);
    Ok(())
}

/// Root inside may make cgroups in its own: they are removed first.
fn cgroups_of_the_containers_own_go_with_it(host: &Lab) -> Result<()> {
    let mount = if cgroups(host).v2 { "cgroup2" } else { "cgroup -o pids" };
    let script =
        format!("mount -t {mount} cgroup /mnt && mkdir -p /mnt/one/two /mnt/three && echo made");
    let ran = run(host, &["sh", "-c", &script])?;
    assert_eq!((ran.stdout.as_str(), ran.status), ("made\n", 0), "{ran:?}");
    assert_eq!(cgroups(host).list(), [""; 0]);
    Ok(())
}

/// Somebody else has gone into the cgroup: it stays, and the runner says so. The others go, and the status counts.
fn what_cannot_be_removed_is_said(host: &Lab) -> Result<()> {
    let options = ["--memory", "50m", "--cpus", "1"];
    let script = [&options[..], &["sh", "-c", "echo up; read line; exit 7"]].concat();
    let mut session = start(host, &script)?;
    session.wait_for("up\n")?;
    let procs = if cgroups(host).v2 {
        "/sys/fs/cgroup/step10-*/cgroup.procs"
    } else {
        "/sys/fs/cgroup/pids/step10-*/cgroup.procs"
    };
    let mut other = host.shell()?;
    other.ask(&format!("echo $$ >$(echo {procs})"))?;
    let ran = session.finish()?;
    assert_eq!(ran.status, 7, "{ran:?}");
    assert!(host.errors(&ran).contains("stays: cannot remove "), "{ran:?}");
    assert_eq!(cgroups(host).list().len(), 1, "{:?}", cgroups(host).list());
    other.finish()?;
    until("the other has left", || count(host) == 0)?;
    cgroups(host).clean()?;
    Ok(())
}

/// Never without a limit that was asked for.
fn without_cgroups_nothing_is_started(host: &Lab) -> Result<()> {
    let before = traces(host)?;
    host.run("mount -t tmpfs none /sys/fs/cgroup")?;
    for options in [&[][..], &ALL] {
        let ran = run(host, &[options, &["echo", "started"]].concat())?;
        assert_eq!((ran.status, ran.stdout.as_str()), (125, ""), "{ran:?}");
        assert_eq!(host.errors(&ran).lines().count(), 1, "{ran:?}");
        assert!(host.errors(&ran).contains("cgroup"), "{ran:?}");
    }
    host.run("umount /sys/fs/cgroup")?;
    assert_eq!(before, traces(host)?);
    Ok(())
}

fn the_cgroup_is_gone_after_ctrl_c_and_sigterm(host: &Lab) -> Result<()> {
    for signal in ["TERM", "INT", "HUP"] {
        let mut session = start_cat(host, &ALL)?;
        assert!(!cgroups(host).list().is_empty());
        host.run(&format!("kill -{signal} {}", runner(&mut session)?))?;
        session.outcome()?;
        assert_eq!(cgroups(host).list(), [""; 0], "after SIG{signal}");
    }
    let command = argv(&["--memory", "50m", "sh", "-c", "echo up; exec cat"]);
    let mut terminal = Session::on_terminal(&mut host.terminal(command))?;
    terminal.wait_for("up\r\n")?;
    terminal.send("\x03")?;
    assert_eq!(terminal.outcome()?.status, 130);
    assert_eq!(cgroups(host).list(), [""; 0], "after Ctrl-C");
    Ok(())
}

/// What a SIGKILL of the runner leaves is empty, and in nobody's way.
fn what_a_killed_runner_leaves_is_harmless(host: &Lab) -> Result<()> {
    let mut session = start_cat(host, &[])?;
    host.run(&format!("kill -KILL {}", runner(&mut session)?))?;
    session.outcome()?;
    until("the container is gone", || count(host) == 0)?;
    let left = cgroups(host).list();
    assert_eq!(run(host, &["true"])?.status, 0);
    assert_eq!(cgroups(host).list(), left);
    cgroups(host).clean()?;
    Ok(())
}
