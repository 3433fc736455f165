//! The mistakes.

use super::Mistake;

const START: &str = "execute(Command::new(&args.command[0]).args(&args.command[1..]))";
const UNSHARE_UTS: &str = "    unshare(CloneFlags::from_iter([
        CloneFlags::CLONE_NEWUTS, // hostname
    ]))
    .context(\"cannot create namespaces (run it as root, with sudo)\")?;
";
const SETHOSTNAME: &str = "    sethostname(\"container\").context(\"cannot set the hostname\")?;\n";
const WAIT: &str = "let status = process.wait().context(\"cannot wait\")?;";
const NEWPID: &str = "        CloneFlags::CLONE_NEWPID, // process IDs, from the next process on\n";
const PDEATHSIG: &str =
    "nix::sys::prctl::set_pdeathsig(SIGKILL).context(\"cannot set the parent-death signal\")?;";
const CHDIR: &str = "    chdir(\"/\").context(\"cannot enter /\")?;\n";
const MOUNT_PROC: &str = "    mount(Some(\"proc\"), \"proc\", Some(\"proc\"), flags, NONE).context(\"cannot mount /proc\")?;\n";
const UMOUNT_PROC: &str =
    "    umount2(\"proc\", MntFlags::MNT_DETACH).context(\"cannot unmount /proc\")?;\n";
const PRIVATE: &str = "    mount(NONE, \"/\", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)
        .context(\"cannot make the mounts private\")?;
";
const NEWNS: &str =
    "    unshare(CloneFlags::CLONE_NEWNS).context(\"cannot create a mount namespace\")?;\n";
const NEWCGROUP: &str =
    "    unshare(CloneFlags::CLONE_NEWCGROUP).context(\"cannot create a cgroup namespace\")?;\n";
const BIND: &str =
    "    mount(Some(&args.rootfs), \"/\", NONE, MsFlags::MS_REC | MsFlags::MS_BIND, NONE)
        .and_then(|()| chdir(\"/..\"))
";
const PIVOT: &str = "    pivot_root(\".\", \".\").context(\"cannot change the root\")?;\n";
const UMOUNT_ROOT: &str =
    "    umount2(\".\", MntFlags::MNT_DETACH).context(\"cannot unmount the old root\")?;\n";
const SETGROUPS: &str =
    "    fs::write(\"/proc/self/setgroups\", \"deny\").context(\"cannot write setgroups\")?;\n";
const UID_MAP: &str = "    fs::write(\"/proc/self/uid_map\", format!(\"0 {uid} 1\")).context(\"cannot write uid_map\")?;\n";
const GID_MAP: &str = "    fs::write(\"/proc/self/gid_map\", format!(\"0 {gid} 1\")).context(\"cannot write gid_map\")?;\n";

pub const MISTAKES: &[Mistake] = &[
    // --- 01 ---
    Mistake {
        name: "status-swallowed",
        step: 1,
        edits: &[(
            "Ok(ExitCode::from(code.unwrap_or(125) as u8))",
            "_ = code;\n    Ok(ExitCode::SUCCESS)",
        )],
        check: "status",
        cause: &["exit status is swallowed"],
    },
    Mistake {
        name: "status-as-error",
        step: 1,
        edits: &[(
            WAIT,
            "let status = process.wait().context(\"cannot wait\")?;\n    anyhow::ensure!(status.success(), \"the command failed\");",
        )],
        check: "status",
        cause: &["do not make an Err of it"],
    },
    Mistake {
        name: "wait-forgotten",
        step: 1,
        edits: &[(
            WAIT,
            "let Some(status) = process.try_wait()? else { return Ok(ExitCode::SUCCESS) };",
        )],
        check: "waits",
        cause: &["does not wait for the command"],
    },
    Mistake {
        name: "stdin-not-inherited",
        step: 1,
        edits: &[("command.spawn()", "command.stdin(std::process::Stdio::null()).spawn()")],
        check: "stdin",
        cause: &["stdin of the command is not that of your program"],
    },
    Mistake {
        name: "stdout-collected",
        step: 1,
        edits: &[("command.spawn()", "command.stdout(std::process::Stdio::piped()).spawn()")],
        check: "runs",
        cause: &["stdout of the command is lost"],
    },
    Mistake {
        name: "message-on-stdout",
        step: 1,
        edits: &[("writeln!(stderr(), \"Running", "writeln!(std::io::stdout(), \"Running")],
        check: "runs",
        cause: &["writes to stdout itself"],
    },
    Mistake {
        name: "signal-forgotten",
        step: 1,
        edits: &[(".or(status.signal().map(|signal| 128 + signal))", "")],
        check: "signal",
        cause: &["128 + the number of the signal"],
    },
    Mistake {
        name: "arguments-forgotten",
        step: 1,
        edits: &[(START, "execute(&mut Command::new(&args.command[0]))")],
        check: "runs",
        cause: &["arguments behind the command do not reach it"],
    },
    Mistake {
        name: "through-a-shell",
        step: 1,
        edits: &[(
            START,
            "execute(Command::new(\"sh\").arg(\"-c\").arg(args.command.join(std::ffi::OsStr::new(\" \"))))",
        )],
        check: "arguments",
        cause: &["one by one with Command::args"],
    },
    Mistake {
        name: "options-swallowed",
        step: 1,
        edits: &[("trailing_var_arg = true, ", "")],
        check: "arguments",
        cause: &["trailing_var_arg"],
    },
    Mistake {
        name: "arguments-as-text",
        step: 1,
        edits: &[("command: Vec<std::ffi::OsString>", "command: Vec<String>")],
        check: "arguments",
        cause: &["OsString"],
    },
    Mistake {
        name: "unwrap",
        step: 1,
        edits: &[(
            "        Err(err) => {\n",
            "        Err(err) => {\n            Err::<(), _>(std::io::Error::from(err.kind())).unwrap();\n",
        )],
        check: "not-found",
        cause: &["panicked", "unwrap()"],
    },
    Mistake {
        name: "always-one",
        step: 1,
        edits: &[("{ 127 } else { 126 }", "{ 1 } else { 1 }")],
        check: "not-found",
        cause: &["not found is 127"],
    },
    // --- 02 ---
    Mistake {
        name: "no-uts",
        step: 2,
        edits: &[(UNSHARE_UTS, "")],
        check: "hostname-out",
        cause: &["nobody has called unshare(2) with CLONE_NEWUTS"],
    },
    Mistake {
        name: "unshare-after-spawn",
        step: 2,
        edits: &[
            (UNSHARE_UTS, ""),
            (WAIT, "unshare(CloneFlags::CLONE_NEWUTS)?;\n    let status = process.wait()?;"),
        ],
        check: "hostname-out",
        cause: &["came after the command was started"],
    },
    // --- 03 ---
    Mistake {
        name: "hostname-forgotten",
        step: 3,
        edits: &[(SETHOSTNAME, "")],
        check: "named",
        cause: &["call sethostname(2)", "before the command"],
    },
    Mistake {
        name: "hostname-too-early",
        step: 3,
        edits: &[
            (SETHOSTNAME, ""),
            ("    unshare(CloneFlags", "    sethostname(\"container\")?;\n    unshare(CloneFlags"),
        ],
        check: "hostname-out",
        cause: &["in the host's UTS namespace", "after unshare(CLONE_NEWUTS)"],
    },
    Mistake {
        name: "own-name",
        step: 3,
        edits: &[(
            "Command::new(\"/proc/self/exe\")",
            "Command::new(env::args_os().next().unwrap())",
        )],
        check: "reexec",
        cause: &["argv[0]", "/proc/self/exe"],
    },
    Mistake {
        name: "runs-itself-for-ever",
        step: 3,
        edits: &[("child.arg(\"child\");", "child.arg(\"run\");")],
        check: "runs",
        cause: &["starts itself again and again"],
    },
    Mistake {
        name: "endless-loop",
        step: 3,
        edits: &[(SETHOSTNAME, "    loop {\n        std::thread::park();\n    }\n")],
        check: "runs",
        cause: &["not got as far as to start the command"],
    },
    // --- 04 ---
    Mistake {
        name: "no-pid",
        step: 4,
        edits: &[(NEWPID, "")],
        check: "pids",
        cause: &["nobody has called unshare(2) with CLONE_NEWPID"],
    },
    Mistake {
        name: "pid-in-child",
        step: 4,
        edits: &[
            (NEWPID, ""),
            (
                SETHOSTNAME,
                "    sethostname(\"container\")?;\n    unshare(CloneFlags::CLONE_NEWPID)?;\n",
            ),
        ],
        check: "orphans|dies-with-runner",
        cause: &["unshare(CLONE_NEWPID) was called in `child`"],
    },
    Mistake {
        name: "orphans-not-reaped",
        step: 4,
        edits: &[(
            "        while orphan().is_some_and(|orphan| waitpid(orphan, None).is_ok()) {}\n",
            "        _ = orphan;\n",
        )],
        check: "orphans",
        cause: &["stay zombies", "waitpid(-1)"],
    },
    Mistake {
        name: "status-of-an-orphan",
        step: 4,
        edits: &[(
            "    let pid = Pid::from_raw(process.id() as i32);\n",
            "    let pid = Pid::from_raw(process.id() as i32);
    match waitpid(None::<Pid>, None)? {
        WaitStatus::Exited(_, code) => return Ok(ExitCode::from(code as u8)),
        WaitStatus::Signaled(_, signal, _) => return Ok(ExitCode::from(128 + signal as u8)),
        _ => {}
    }\n",
        )],
        check: "orphans",
        cause: &["status of the orphan", "compare the PID"],
    },
    Mistake {
        name: "waits-for-all",
        step: 4,
        edits: &[(
            WAIT,
            "let status = process.wait()?;\n    while waitpid(None::<Pid>, None).is_ok() {}",
        )],
        check: "background",
        cause: &["waits until the last process has ended"],
    },
    Mistake {
        name: "no-pdeathsig",
        step: 4,
        edits: &[(PDEATHSIG, "")],
        check: "dies-with-runner",
        cause: &["PR_SET_PDEATHSIG"],
    },
    Mistake {
        name: "pdeathsig-in-run",
        step: 4,
        edits: &[
            (PDEATHSIG, ""),
            (
                "    unshare(CloneFlags",
                "    nix::sys::prctl::set_pdeathsig(SIGKILL)?;\n    unshare(CloneFlags",
            ),
        ],
        check: "dies-with-runner",
        cause: &["in `run` it has no effect"],
    },
    Mistake {
        name: "no-handlers",
        step: 4,
        edits: &[("[SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM]", "[SIGCHLD]")],
        check: "sigterm",
        cause: &["SIGTERM has ended the runner", "handler"],
    },
    Mistake {
        name: "signals-swallowed",
        step: 4,
        edits: &[("signal => _ = kill(pid, signal),", "_ => {}")],
        check: "sigterm",
        cause: &["did not get as far as the command", "pass SIGTERM on"],
    },
    Mistake {
        name: "ctrl-c-not-handled",
        step: 4,
        edits: &[("SIGHUP, SIGINT, SIGQUIT", "SIGHUP, SIGQUIT")],
        check: "ctrl-c",
        cause: &["Ctrl-C has ended the runner", "handler for SIGINT"],
    },
    // --- 05 ---
    Mistake {
        name: "no-chroot",
        step: 5,
        edits: &[("chroot(&args.rootfs)", "chroot(\"/\")")],
        check: "root",
        cause: &["its root directory was not changed", "chroot(2)"],
    },
    Mistake {
        name: "chdir-forgotten",
        step: 5,
        edits: &[(CHDIR, "")],
        check: "cwd",
        cause: &["chroot(2) does not change it", "chdir(\"/\") after chroot(2)"],
    },
    Mistake {
        name: "chdir-too-early",
        step: 5,
        edits: &[
            (CHDIR, ""),
            (
                "    chroot(&args.rootfs)",
                "    let rootfs = fs::canonicalize(&args.rootfs)?;\n    chdir(\"/\")?;\n    chroot(&rootfs)",
            ),
        ],
        check: "cwd",
        cause: &["chdir(\"/\") was called before chroot(2)"],
    },
    Mistake {
        name: "chroot-in-run",
        step: 5,
        edits: &[
            ("chroot(&args.rootfs)", "chroot(\"/\")"),
            (
                "    let mut child = Command",
                "    chroot(&args.rootfs)?;\n    chdir(\"/\")?;\n    let mut child = Command",
            ),
        ],
        check: "runs",
        cause: &["chroot(2) was called in `run`", "after the re-exec"],
    },
    Mistake {
        name: "environment-inherited",
        step: 5,
        edits: &[("child.env_clear().env", "child.env")],
        check: "environment",
        cause: &["env_clear()"],
    },
    Mistake {
        name: "path-forgotten",
        step: 5,
        edits: &[(
            "    child.env(\"PATH\", \"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\");\n",
            "",
        )],
        check: "environment",
        cause: &["PATH is not set"],
    },
    Mistake {
        name: "rootfs-fixed",
        step: 5,
        edits: &[("chroot(&args.rootfs)", "chroot(\"rootfs\")")],
        check: "rootfs-option",
        cause: &["not a fixed \"rootfs\""],
    },
    Mistake {
        name: "rootfs-not-handed-on",
        step: 5,
        edits: &[("    child.arg(\"--rootfs\").arg(&args.rootfs);\n", "")],
        check: "rootfs-option",
        cause: &["the variable ROOTFS", "hand it on to `child`"],
    },
    Mistake {
        name: "chroot-error-ignored",
        step: 5,
        edits: &[(
            ".with_context(|| format!(\"cannot enter the root filesystem {:?}\", args.rootfs))?;",
            ".ok();",
        )],
        check: "rootfs-missing",
        cause: &["error of chroot(2) is ignored"],
    },
    // --- 06 ---
    Mistake {
        name: "proc-forgotten",
        step: 6,
        edits: &[(MOUNT_PROC, "    _ = flags;\n"), (UMOUNT_PROC, "")],
        check: "proc",
        cause: &["nobody has mounted proc"],
    },
    Mistake {
        name: "proc-only-unmounted",
        step: 6,
        edits: &[(MOUNT_PROC, "    _ = flags;\n")],
        check: "runs",
        cause: &["nothing is mounted there"],
    },
    Mistake {
        name: "proc-before-chroot",
        step: 6,
        edits: &[
            (MOUNT_PROC, "    _ = flags;\n"),
            (UMOUNT_PROC, "    _ = umount2(\"proc\", MntFlags::MNT_DETACH);\n"),
            (
                "    chroot(&args.rootfs)",
                "    mount(Some(\"proc\"), \"/proc\", Some(\"proc\"), MsFlags::empty(), NONE)?;\n    chroot(&args.rootfs)",
            ),
        ],
        check: "runs",
        cause: &["mounted on the host's /proc", "before chroot(2)"],
    },
    Mistake {
        name: "proc-by-run",
        step: 6,
        edits: &[
            (MOUNT_PROC, "    _ = flags;\n"),
            (
                "    let mut child = Command",
                "    mount(Some(\"proc\"), &args.rootfs.join(\"proc\"), Some(\"proc\"), MsFlags::empty(), NONE)\n        .with_context(|| format!(\"cannot mount proc in {:?}\", args.rootfs))?;\n    let mut child = Command",
            ),
        ],
        check: "proc",
        cause: &["PID namespace of whoever mounts it", "Mount it in `child`"],
    },
    Mistake {
        name: "proc-not-unmounted",
        step: 6,
        edits: &[(UMOUNT_PROC, "")],
        check: "proc-gone",
        cause: &["nobody unmounts"],
    },
    Mistake {
        name: "proc-unmounted-on-success",
        step: 6,
        edits: &[(
            "    // Detached:",
            "    let status = status?;\n    if status != ExitCode::SUCCESS {\n        return Ok(status);\n    }\n    let status = Ok(status);\n    // Detached:",
        )],
        check: "proc-gone",
        cause: &["only if all goes well"],
    },
    Mistake {
        name: "mount-error-ignored",
        step: 6,
        edits: &[
            (MOUNT_PROC, "    _ = mount(Some(\"proc\"), \"proc\", Some(\"proc\"), flags, NONE);\n"),
            (UMOUNT_PROC, "    _ = umount2(\"proc\", MntFlags::MNT_DETACH);\n"),
        ],
        check: "proc-missing",
        cause: &["error of mount(2) is ignored"],
    },
    // --- 07 ---
    Mistake {
        name: "mounts-not-private",
        step: 7,
        edits: &[(PRIVATE, "")],
        check: "runs",
        cause: &["is shared", "MS_PRIVATE"],
    },
    Mistake {
        name: "only-root-private",
        step: 7,
        edits: &[("MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE", "MsFlags::MS_PRIVATE, NONE")],
        check: "ctrl-c",
        cause: &["unmounted", "MS_REC | MS_PRIVATE"],
    },
    Mistake {
        name: "not-private-with-chroot",
        step: 7,
        edits: &[
            (PRIVATE, ""),
            (BIND, "    chdir(&args.rootfs)\n"),
            (PIVOT, "    nix::unistd::chroot(\".\")?;\n"),
            (UMOUNT_ROOT, "    chdir(\"/\")?;\n"),
        ],
        check: "proc-gone",
        cause: &["still shared with the host", "MS_REC | MS_PRIVATE"],
    },
    Mistake {
        name: "no-mount-point",
        step: 7,
        edits: &[(
            BIND,
            "    chdir(&args.rootfs)
",
        )],
        check: "runs",
        cause: &["wants a mount point", "MS_BIND"],
    },
    Mistake {
        name: "no-mount-namespace",
        step: 7,
        edits: &[(NEWNS, "")],
        check: "runs",
        cause: &["in the host's mount namespace", "unshare(CLONE_NEWNS)"],
    },
    Mistake {
        name: "chroot-again",
        step: 7,
        edits: &[
            (BIND, "    chdir(&args.rootfs)\n"),
            (PIVOT, "    nix::unistd::chroot(\".\")?;\n"),
            (UMOUNT_ROOT, "    chdir(\"/\")?;\n"),
        ],
        check: "no-escape",
        cause: &["changed with chroot(2)", "pivot_root(2)"],
    },
    Mistake {
        name: "old-root-kept",
        step: 7,
        edits: &[(UMOUNT_ROOT, "")],
        check: "no-escape",
        cause: &["old root was not detached", "MNT_DETACH"],
    },
    Mistake {
        name: "put-old-kept",
        step: 7,
        edits: &[
            (
                PIVOT,
                "    _ = fs::create_dir(\"old\");\n    pivot_root(\".\", \"old\")?;\n    chdir(\"/\")?;\n",
            ),
            (UMOUNT_ROOT, ""),
        ],
        check: "no-escape",
        cause: &["old root was not detached", "put_old"],
    },
    Mistake {
        name: "no-devices",
        step: 7,
        edits: &[(
            "[\"full\", \"null\", \"random\", \"tty\", \"urandom\", \"zero\"]",
            "[] as [&str; 0]",
        )],
        check: "orphans",
        cause: &["/dev/null", "the tmpfs on /dev hides"],
    },
    Mistake {
        name: "devices-as-files",
        step: 7,
        edits: &[(
            "let mounted = bind(MsFlags::empty()).and_then(|()| bind(readonly));",
            "_ = (bind, readonly);\n        let mounted: nix::Result<()> = Ok(());",
        )],
        check: "dev",
        cause: &["only the empty file", "MS_BIND"],
    },
    Mistake {
        name: "below-the-new-root",
        step: 7,
        edits: &[("chdir(\"/..\")", "chdir(\"/\")")],
        check: "runs",
        cause: &["chdir(\"/..\")"],
    },
    Mistake {
        name: "outside-the-new-root",
        step: 7,
        edits: &[("        .and_then(|()| chdir(\"/..\"))\n", "")],
        check: "runs",
        cause: &["ENOENT", "chdir(\"/..\")"],
    },
    // --- 08 ---
    Mistake {
        name: "no-ipc",
        step: 8,
        edits: &[(
            "        CloneFlags::CLONE_NEWIPC, // System V IPC and POSIX message queues\n",
            "",
        )],
        check: "ipc",
        cause: &["nobody has called unshare(2) with CLONE_NEWIPC"],
    },
    Mistake {
        name: "no-net",
        step: 8,
        edits: &[(
            "        CloneFlags::CLONE_NEWNET, // network interfaces, addresses, routes, ports\n",
            "",
        )],
        check: "net",
        cause: &["nobody has called unshare(2) with CLONE_NEWNET"],
    },
    // --- 09 ---
    Mistake {
        name: "no-user",
        step: 9,
        edits: &[
            ("        CloneFlags::CLONE_NEWUSER,\n", ""),
            (SETGROUPS, ""),
            (UID_MAP, ""),
            (GID_MAP, ""),
        ],
        check: "without-root",
        cause: &["CLONE_NEWUSER in the same unshare(2)"],
    },
    Mistake {
        name: "setgroups-not-denied",
        step: 9,
        edits: &[(SETGROUPS, "")],
        check: "runs",
        cause: &["write \"deny\" to /proc/self/setgroups *before* gid_map"],
    },
    Mistake {
        name: "maps-in-wrong-order",
        step: 9,
        edits: &[
            (SETGROUPS, ""),
            (
                GID_MAP,
                "    fs::write(\"/proc/self/gid_map\", format!(\"0 {gid} 1\")).context(\"cannot write gid_map\")?;\n    fs::write(\"/proc/self/setgroups\", \"deny\")?;\n",
            ),
        ],
        check: "runs",
        cause: &["*before* gid_map"],
    },
    Mistake {
        name: "no-maps",
        step: 9,
        edits: &[(UID_MAP, ""), (GID_MAP, "")],
        check: "runs",
        cause: &["not root in it", "uid_map"],
    },
    Mistake {
        name: "mapped-to-itself",
        step: 9,
        edits: &[("format!(\"0 {uid} 1\")", "format!(\"{uid} {uid} 1\")")],
        check: "without-root",
        cause: &["not root in it", "`0 UID 1`"],
    },
    Mistake {
        name: "uid-after-unshare",
        step: 9,
        edits: &[("format!(\"0 {uid} 1\")", "format!(\"0 {} 1\", geteuid())")],
        check: "runs",
        cause: &["from before unshare(2)", "65534"],
    },
    // --- 10 ---
    Mistake {
        name: "limit-not-written",
        step: 10,
        edits: &[("[(max, limit), (join, 0)]", "[(join.clone(), limit * 0), (join, 0)]")],
        check: "pids-limit",
        cause: &["nothing was written to pids.max"],
    },
    Mistake {
        name: "cgroup-not-joined",
        step: 10,
        edits: &[("[(max, limit), (join, 0)]", "[(max, limit)]")],
        check: "pids-limit",
        cause: &["not put into a cgroup", "cgroup.procs"],
    },
    Mistake {
        name: "runner-joined",
        step: 10,
        edits: &[
            (
                "    child.arg(\"--cgroup\")",
                "    let v2 = Path::new(\"/sys/fs/cgroup/cgroup.controllers\").exists();
    let dir = format!(\"/sys/fs/cgroup/{}{cgroup}\", if v2 { \"\" } else { \"pids/\" });
    fs::create_dir(&dir)?;
    fs::write(format!(\"{dir}/cgroup.procs\"), \"0\")?;
    child.arg(\"--cgroup\")",
            ),
            ("(0..1000)", "(0..1)"),
        ],
        check: "runner-free",
        cause: &["the runner joined the cgroup"],
    },
    Mistake {
        name: "wrong-default",
        step: 10,
        edits: &[("default_value = \"20\"", "default_value = \"100\"")],
        check: "pids-limit",
        cause: &["pids.max says 100", "20 without it"],
    },
    Mistake {
        name: "memory-ignored",
        step: 10,
        edits: &[("args.memory, args.cpus]", "None::<u64>, args.cpus]")],
        check: "memory",
        cause: &["memory"],
    },
    Mistake {
        name: "decimal-megabytes",
        step: 10,
        edits: &[("1024f64", "1000f64")],
        check: "memory",
        cause: &["1024 * 1024"],
    },
    Mistake {
        name: "cpus-of-another-period",
        step: 10,
        edits: &[("100_000.0", "200_000.0")],
        check: "cpus",
        cause: &["not half of the period"],
    },
    Mistake {
        name: "cgroup-not-passed-on",
        step: 10,
        edits: &[("    child.arg(\"--cgroup\").arg(&cgroup);\n", "")],
        check: "pids-limit",
        cause: &["the name of the cgroup is empty"],
    },
    Mistake {
        name: "no-cgroup-namespace",
        step: 10,
        edits: &[(NEWCGROUP, "")],
        check: "cgroup-root",
        cause: &["nobody has called unshare(2) with CLONE_NEWCGROUP"],
    },
    Mistake {
        name: "cgroup-namespace-too-early",
        step: 10,
        edits: &[
            (NEWCGROUP, ""),
            (
                "    let (procs, paths)",
                "    unshare(CloneFlags::CLONE_NEWCGROUP)?;\n    let (procs, paths)",
            ),
        ],
        check: "cgroup-root",
        cause: &["before `child` joined its cgroup"],
    },
    Mistake {
        name: "limit-error-ignored",
        step: 10,
        edits: &[(
            "\n                .with_context(|| format!(\"cannot write {value} to {file:?}\"))?;",
            ".ok();",
        )],
        check: "refuses",
        cause: &["ignored"],
    },
    Mistake {
        name: "cgroup-left-behind",
        step: 10,
        edits: &[("fs::remove_dir(&dir)", "fs::metadata(&dir)")],
        check: "cgroup-gone",
        cause: &["nobody removes it"],
    },
    Mistake {
        name: "mount-namespace-in-run",
        step: 10,
        edits: &[
            (NEWNS, ""),
            (
                "        CloneFlags::CLONE_NEWUSER,\n",
                "        CloneFlags::CLONE_NEWUSER,\n        CloneFlags::CLONE_NEWNS,\n",
            ),
        ],
        check: "cgroup-gone",
        cause: &["pivot_root(2) has moved", "Call unshare(CLONE_NEWNS) in `child`"],
    },
];
