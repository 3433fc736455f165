//! What root inside may not do, and what the container does not see.

use std::collections::BTreeSet;
use std::fs;

use classroom::error::Attempt;
use classroom::{Output, Session, output};

use crate::lab::{Lab, Options, around};
use crate::{Case, Outcome, Result, hold, not_applicable, only_root, same};

const GROUP: &str = "privilege";

const CAPS: &str = "exercise 09-caps";
const PROCSYS: &str = "exercise 09-procsys";

pub const CASES: &[Case] = &[
    case!(
        9,
        ordinary_user,
        "an ordinary user can start it, and is root inside and nobody special outside"
    ),
    case!(
        9,
        no_user_namespaces,
        "user namespaces are switched off: an error that says where to look"
    ),
    case!(9, setgroups, "setgroups(2) is denied: nobody leaves a group inside (CVE-2014-8989)"),
    case!(2, hostname, "the hostname is changed inside only"),
    case!(8, message_queues, "the host's message queues are not seen"),
    case!(8, network, "no interface of the host is seen"),
    case!(8, abstract_sockets, "no abstract Unix socket of the host is seen"),
    case!(10, seven_namespaces, "all seven namespaces are the container's own"),
    case!(9, clock, "the clock cannot be set"),
    case!(9, kernel_memory, "/proc/kcore and /proc/kmsg cannot be read"),
    case!(
        9,
        modules,
        "no kernel module can be loaded, no /proc/sys/kernel/modprobe set by a user's container"
    ),
    case!(9, shocker, "open_by_handle_at(2) opens nothing outside (\"Shocker\", 2014)"),
    case!(
        9,
        nested_namespaces,
        "more namespaces inside do not give more: mount(2) of the host's disks, sysctl"
    ),
    case!(
        9,
        core_pattern_by_a_user,
        "an ordinary user's container cannot set /proc/sys/kernel/core_pattern"
            => |lab| opened_by_a_user(lab, "/proc/sys/kernel/core_pattern")
    ),
    case!(
        9,
        sysrq_by_a_user,
        "an ordinary user's container cannot write /proc/sysrq-trigger"
            => |lab| opened_by_a_user(lab, "/proc/sysrq-trigger")
    ),
    case!(
        9,
        runner_text_busy,
        "the runner's program cannot be written through /proc/1/exe (CVE-2019-5736)"
    ),
    case!(
        9,
        runner_chmod,
        "the runner's program cannot be made writable or unusable through /proc/1/exe",
        "guide: and besides (the runner's own file)"
    ),
    case!(
        9,
        core_pattern,
        "started by root: /proc/sys/kernel/core_pattern is not writable",
        PROCSYS
    ),
    case!(9, sysrq, "started by root: /proc/sysrq-trigger is not writable", PROCSYS),
    case!(9, sysfs, "started by root: no file of a sysfs mounted inside is writable", CAPS),
    case!(
        9,
        proc_remounted,
        "a second proc, mounted inside, does not bring /proc/sys back writable",
        CAPS
    ),
    case!(1, no_new_privs, "no_new_privs is set: no setuid program gives more", CAPS),
    case!(1, capabilities, "the command has no capability that it could do without", CAPS),
    case!(
        1,
        seccomp,
        "system calls that no program needs are filtered",
        "guide: no system-call filter"
    ),
    case!(
        1,
        forbidden_calls,
        "unshare, clone with namespaces, keyctl, io_uring: refused, also by their x32 numbers",
        "guide: no system-call filter"
    ),
    case!(
        7,
        forbidden_call_32,
        "nor is unshare to be had by the number that it has for a program of 32 bits",
        "guide: no system-call filter"
    ),
    case!(
        7,
        tiocsti,
        "no keystrokes can be put into the caller's terminal (CVE-2017-5226)",
        "guide: the terminal"
    ),
    case!(7, keyring, "the caller's session keyring cannot be read", "guide: keyrings"),
    case!(
        9,
        groups,
        "the caller's supplementary groups do not come along",
        "guide: and besides (groups)"
    ),
];

/// A container that an ordinary user starts. In step 10 a cgroup of theirs has to be there for it.
fn by_a_user(lab: &Lab, command: &[&str]) -> Result<Output> {
    lab.not_oci("rootless bundles are written differently")?;
    if let Some(cgroups) = &lab.cgroups {
        if cgroups.v2 {
            return not_applicable(
                "cgroup v2 delegates to whole sessions only: see exercise 10-rootless",
            );
        }
        lab.host.run("cd /sys/fs/cgroup; chown 1000 pids memory cpu")?;
    }
    lab.host.run("chmod a+rx /workshop rootfs")?;
    Ok(output(&mut lab.host.learner(lab.argv(command)))?)
}

fn ordinary_user(lab: &Lab) -> Outcome {
    let out = by_a_user(lab, &["sh", "-c", "id -u; cat /proc/self/uid_map; exit 7"])?;
    hold(out.status == 7, || format!("status {}: {}", out.status, out.stderr))?;
    let words: Vec<&str> = out.stdout.split_whitespace().collect();
    hold(words[0] == "0" && words[1] == "0" && words[3] == "1" && words[2] != "0", || {
        out.stdout.clone()
    })
}

/// /proc/sys/user belongs to the user namespace of whoever writes it.
fn no_user_namespaces(lab: &Lab) -> Outcome {
    lab.only_steps()?;
    let script = "exec unshare --user --map-root-user sh -c \
        'echo 0 >/proc/sys/user/max_user_namespaces && exec \"$@\"' sh \"$@\"";
    let out = lab.around(script, &["echo", "started"])?;
    same("stdout", out.stdout.as_str(), "")?;
    same("status", out.status, 125)?;
    hold(out.stderr.contains("doctor"), || out.stderr)
}

fn setgroups(lab: &Lab) -> Outcome {
    if lab.not_oci("").is_err() {
        return not_applicable("no user namespace");
    }
    let out = lab.run("cat /proc/self/setgroups")?;
    same("setgroups", out.stdout.as_str(), "deny\n")
}

fn hostname(lab: &Lab) -> Outcome {
    lab.run("hostname broken; exit 0")?;
    same("the host's name", lab.host.run("hostname")?.stdout.as_str(), "host\n")
}

fn message_queues(lab: &Lab) -> Outcome {
    let out = lab.run("cat /proc/sysvipc/msg | wc -l; exit 7")?;
    same("lines (one is the heading)", (out.stdout.trim(), out.status), ("1", 7))
}

fn network(lab: &Lab) -> Outcome {
    let out = lab.run("cat /proc/net/dev")?;
    let names =
        out.stdout.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim());
    let names: Vec<&str> = names.collect();
    hold(!names.contains(&"eth0") && names.contains(&"lo"), || format!("{names:?}"))
}

fn abstract_sockets(lab: &Lab) -> Outcome {
    let listen = "perl -MSocket -e 'socket(S, PF_UNIX, SOCK_STREAM, 0); \
        bind(S, pack_sockaddr_un(\"\\0of-the-host\")) or die; listen(S, 1); $| = 1; \
        print \"ready\\n\"; <STDIN>'";
    let mut host = Session::start(&mut lab.host.command(["sh", "-c", listen]))?;
    host.wait_for("ready\n")?;
    let out = lab.run("cat /proc/net/unix")?;
    host.finish()?;
    hold(!out.stdout.contains("of-the-host") && out.status == 0, || out.stdout)
}

fn seven_namespaces(lab: &Lab) -> Outcome {
    let names = "cd /proc/self/ns; for n in cgroup ipc mnt net pid user uts; do readlink $n; done";
    let inside = lab.run(names)?.stdout;
    let outside = lab.host.run(names)?.stdout;
    let outside: BTreeSet<&str> = outside.lines().collect();
    let common: Vec<&str> = inside.lines().filter(|line| outside.contains(line)).collect();
    same("shared with the host", common, Vec::<&str>::new())?;
    same("namespaces", inside.lines().count(), 7)
}

/// To what it is already: should it succeed, nothing is changed by more than a moment.
fn clock(lab: &Lab) -> Outcome {
    if lab.runner.step().is_some_and(|step| step < 9) {
        return not_applicable("it would be the machine's");
    }
    let out = lab.run("date -s \"@$(date +%s)\" >/dev/null; exit 7")?;
    hold(out.stderr.contains("not permitted"), || "it can be set".into())
}

fn kernel_memory(lab: &Lab) -> Outcome {
    let out = lab.run("head -c 1 /proc/kcore | wc -c; head -c 1 </proc/kmsg | wc -c")?;
    hold(!out.stdout.contains('1'), || "it can be read".into())
}

fn modules(lab: &Lab) -> Outcome {
    let number = if cfg!(target_arch = "x86_64") { 175 } else { 105 };
    // init_module(2) of nothing: EPERM comes first, for who may not.
    let script = format!(
        "exec perl -e '$m = \"\"; $p = \"\"; $! = 0; syscall({number}, $m, 0, $p); \
         exit($!{{EPERM}} || $!{{ENOSYS}} ? 7 : 1)'"
    );
    let out = lab.run_with(&lab.everything()?, &script)?;
    hold(out.status == 7, || format!("status {}: {}", out.status, out.stderr))
}

/// A handle of the host's root directory (inode 2 on most file systems) through a descriptor of
/// the container's: needs CAP_DAC_READ_SEARCH in the first user namespace, or EPERM.
fn shocker(lab: &Lab) -> Outcome {
    let number = if cfg!(target_arch = "x86_64") { 304 } else { 265 };
    let script = format!(
        "exec perl -e 'open(D, \"<\", \"/etc/passwd\") or die; $h = pack(\"IiQ\", 8, 1, 2); $! = 0; \
         $fd = syscall({number}, fileno(D), $h, 0); exit($fd < 0 && $!{{EPERM}} ? 7 : 1)'"
    );
    let out = lab.run_with(&lab.everything()?, &script)?;
    hold(out.status == 7, || format!("status {}: {}", out.status, out.stderr))
}

fn nested_namespaces(lab: &Lab) -> Outcome {
    let out = by_a_user(
        lab,
        &[
            "sh",
            "-c",
            "unshare -r -m sh -c 'mknod /d b 7 0; \
        (: >>/proc/sys/kernel/core_pattern) && echo writable; mount -t ext4 /d /mnt && echo mounted'; \
        ls /d; exit 7",
        ],
    )?;
    hold(out.status == 7, || format!("status {}: {}", out.status, out.stderr))?;
    same("possible", out.stdout.as_str(), "")
}

/// Opens for appending, and writes nothing.
fn opens(file: &str) -> String {
    format!("test -e {file} || exit 8; (: >>{file}) 2>/dev/null && exit 1; exit 7")
}

fn opened_by_a_user(lab: &Lab, file: &str) -> Outcome {
    let out = by_a_user(lab, &["sh", "-c", &opens(file)])?;
    hold([7, 8].contains(&out.status), || "it opens for writing".into())
}

fn core_pattern(lab: &Lab) -> Outcome {
    only_root("it is about containers that root starts")?;
    let out = lab.run(&opens("/proc/sys/kernel/core_pattern"))?;
    hold([7, 8].contains(&out.status), || "it opens for writing".into())
}

fn sysrq(lab: &Lab) -> Outcome {
    only_root("it is about containers that root starts")?;
    let out = lab.run(&opens("/proc/sysrq-trigger"))?;
    if out.status == 8 && lab.host.run("test -e /proc/sysrq-trigger")?.status != 0 {
        return not_applicable("this kernel has none");
    }
    hold([7, 8].contains(&out.status), || "it opens for writing".into())
}

/// Some file that root may write on most machines. (Where the machine has mounted things in its /sys
/// the kernel refuses; and it may have none of the files.)
fn sysfs(lab: &Lab) -> Outcome {
    only_root("it is about containers that root starts")?;
    let script = "grep CapEff /proc/self/status; mkdir -p /s; mount -t sysfs sysfs /s || exit 8; \
        for file in /s/kernel/uevent_helper /s/kernel/profiling /s/kernel/rcu_expedited \
        /s/kernel/mm/ksm/run /s/power/state; do \
        test -e $file && (: >>$file) 2>/dev/null && echo $file && exit 1; done; exit 7";
    let out = lab.run(script)?;
    let set = out.stdout.split_whitespace().nth(1).unwrap_or_default();
    let admin = u64::from_str_radix(set, 16).is_ok_and(|set| set & (1 << 21) != 0);
    if out.status == 8 && admin {
        return not_applicable("this machine covers parts of its /sys: the kernel refuses another");
    }
    hold([7, 8].contains(&out.status), || format!("{} opens for writing", out.stdout.trim()))
}

fn proc_remounted(lab: &Lab) -> Outcome {
    only_root("it is about containers that root starts")?;
    let file = "/p/sys/kernel/core_pattern";
    let out = lab.run(&format!("mkdir -p /p; mount -t proc proc /p; {}", opens(file)))?;
    hold([7, 8].contains(&out.status), || "it opens for writing".into())
}

/// The kernel refuses to write a file that is being run: ETXTBSY. (The program is a copy on the
/// classroom host.)
fn runner_text_busy(lab: &Lab) -> Outcome {
    let copy = || fs::read(lab.host.path(&lab.program())).attempt("read the runner");
    let before = copy()?;
    lab.run(
        "printf broken >>/proc/1/exe; exec 3</proc/1/exe; (sleep 0.1; printf x >/proc/self/fd/3) & \
        wait; dd if=/dev/zero of=/proc/1/exe bs=1 count=1; exit 0",
    )?;
    hold(copy()? == before, || "it has been changed".into())
}

fn runner_chmod(lab: &Lab) -> Outcome {
    let file = lab.program();
    let before = lab.host.run(&format!("stat -c %a:%y {file}"))?.stdout;
    lab.run("chmod 777 /proc/1/exe; touch -d 2001-01-01 /proc/1/exe; exit 0")?;
    let after = lab.host.run(&format!("stat -c %a:%y {file}"))?.stdout;
    same("mode and time", after, before)
}

fn no_new_privs(lab: &Lab) -> Outcome {
    let out = lab.run("grep NoNewPrivs /proc/self/status")?;
    same("status", out.stdout.as_str(), "NoNewPrivs:\t1\n")
}

/// What Docker leaves a container is 14 of 41.
fn capabilities(lab: &Lab) -> Outcome {
    let out = lab.run("grep CapEff /proc/self/status")?;
    let word = out.stdout.split_whitespace().nth(1).unwrap_or_default();
    let set = u64::from_str_radix(word, 16).unwrap_or(u64::MAX);
    hold(set.count_ones() <= 14, || format!("{} capabilities", set.count_ones()))
}

fn seccomp(lab: &Lab) -> Outcome {
    let out = lab.run("grep '^Seccomp:' /proc/self/status")?;
    same("status", out.stdout.as_str(), "Seccomp:\t2\n")
}

/// Calls that change nothing, but say something else than EPERM or ENOSYS where nobody refuses them. (0x10000011 is
/// CLONE_NEWUSER and SIGCHLD. 0x40000000 is the bit of the x32 numbers, of which 528 is kexec_load and 533 move_pages;
/// a kernel without x32 says ENOSYS to these, if no filter has said EPERM before.)
fn forbidden_calls(lab: &Lab) -> Outcome {
    let amd64 = cfg!(target_arch = "x86_64");
    let [unshare, clone, keyctl] = if amd64 { [272, 56, 250] } else { [97, 220, 219] };
    let x32 = if amd64 {
        "$_->[0] |= 0x40000000, try($_) for @calls; \
         for (528, 533) { $! = 0; syscall(0x40000000 | $_, 0, 0, 0); print \"$_\\n\" if !$!{EPERM} }"
    } else {
        ""
    };
    let script = format!(
        "exec perl -e 'sub try {{ $! = 0; $got = syscall($_[0][0], $_[0][1], $_[0][2], 0, 0, 0); exit 0 if $got == 0; \
         print \"$_[0][0] \", $! + 0, \"\\n\" if $got > 0 || !($!{{EPERM}} || $!{{ENOSYS}}) }} \
         @calls = ([{keyctl}, 65535, 0], [425, 0, 0], [435, 0, 0], [{clone}, 0x10000011, 0]); \
         push @calls, [{unshare}, 0x10000000, 0]; \
         try($_) for @calls; {x32} exit 7'"
    );
    let out = lab.run_with(&lab.everything()?, &script)?;
    hold(out.status == 7 && out.stdout.is_empty(), || format!("{} {out:?}", out.stdout))
}

/// An ELF file of 32 bits that calls unshare(CLONE_NEWUSER), and exits with what comes of it.
fn forbidden_call_32(lab: &Lab) -> Outcome {
    if !cfg!(target_arch = "x86_64") {
        return not_applicable("the numbers are those of i386");
    }
    // mov eax, 310; mov ebx, CLONE_NEWUSER; int 0x80; mov ebx, eax; mov eax, 1 (exit); int 0x80
    let code =
        b"\xb8\x36\x01\x00\x00\xbb\x00\x00\x00\x10\xcd\x80\x89\xc3\xb8\x01\x00\x00\x00\xcd\x80";
    let (start, size) = (0x0804_8000_u32, 84 + code.len() as u32);
    let mut file = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x03\0".to_vec();
    // Version, entry, where the program headers are, no sections, flags.
    file.extend([1, start + 84, 52, 0, 0].map(u32::to_le_bytes).concat());
    file.extend([52_u16, 32, 1, 0, 0, 0].map(u16::to_le_bytes).concat());
    // One program header: load all of it, readable and executable.
    file.extend([1, 0, start, start, size, size, 5, 4096].map(u32::to_le_bytes).concat());
    file.extend(code);
    fs::write(lab.host.path("/workshop/rootfs/f"), file).attempt("write a program")?;
    lab.set_up("chmod 755 rootfs/f")?;
    let status = output(&mut lab.host.command(lab.argv(&["/f"])))?.status;
    if status == 126 {
        return not_applicable("this kernel runs no programs of 32 bits");
    }
    hold(status != 0, || "it has made a user namespace".into())
}

/// TIOCSTI is 0x5412 on amd64 and arm64.
fn tiocsti(lab: &Lab) -> Outcome {
    let legacy = lab.host.read("/proc/sys/dev/tty/legacy_tiocsti")?;
    if legacy.trim() == "0" {
        return not_applicable("this kernel refuses TIOCSTI to all (dev.tty.legacy_tiocsti = 0)");
    }
    let script = "perl -e 'for $key (\"x\", \"\\n\") { $copy = $key; ioctl(STDIN, 0x5412, $copy) }'; echo tried";
    let options = Options { terminal: true, ..lab.everything()? };
    let argv = lab.with(&options, &["sh", "-c", script])?;
    // What the caller's shell reads next. (A terminal of the container's own may get what it likes.)
    let caller = "\"$@\"; echo over; read line; echo \"read <$line>\"";
    let mut session = Session::on_terminal(&mut lab.host.terminal(around(caller, argv)))?;
    session.wait_for("tried\r\n")?;
    session.wait_for("over\r\n")?;
    session.send("typed\n")?;
    let out = session.finish()?;
    hold(out.stdout.contains("read <typed>"), || "a keystroke was put in".into())
}

/// The caller has a session keyring with a key in it, and the container looks for that key.
/// keyctl(2): 1 is KEYCTL_JOIN_SESSION_KEYRING, 10 _SEARCH, 11 _READ; -3 is the session keyring.
fn keyring(lab: &Lab) -> Outcome {
    let (add, control) = if cfg!(target_arch = "x86_64") { (248, 250) } else { (217, 219) };
    let key = "$type = \"user\"; $name = \"hold\"; $key = \"secret\"";
    let give = format!(
        "{key}; syscall({control}, 1, 0); \
         syscall({add}, $type, $name, $key, 6, -3) > 0 or die \"no key: $!\"; exec @ARGV"
    );
    let take = format!(
        "{key}; $found = syscall({control}, 10, -3, $type, $name, 0); $read = \" \" x 6; \
         syscall({control}, 11, $found, $read, 6); print \"read $read\\n\""
    );
    let argv = lab.with(&lab.everything()?, &["perl", "-e", &take])?;
    let out = output(lab.host.command(["perl", "-e", &give]).args(argv))?;
    hold(out.stdout.starts_with("read"), || out.stderr.clone())?;
    hold(!out.stdout.contains("secret"), || "it was read".into())
}

fn groups(lab: &Lab) -> Outcome {
    only_root("it is about containers that root starts")?;
    let argv = around(
        "exec setpriv --groups 1234,5678 \"$@\"",
        lab.argv(&["grep", "Groups:", "/proc/self/status"]),
    );
    let out = output(&mut lab.host.command(argv))?;
    let groups = out.stdout.trim_start_matches("Groups:").trim();
    hold(out.status == 0 && (groups.is_empty() || groups == "0"), || {
        format!("{groups} {}", out.stderr)
    })
}
