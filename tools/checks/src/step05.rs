//! Step 05: a root directory is just a directory.

use std::fs;

use crate::lab::{Lab, shortened};
use crate::step07::OLD_ROOT;
use crate::{Cause, Check, Result};

pub const CHECKS: &[Check] = &[
    check! { 5, root, "sees the root filesystem, and nothing of the host's files",
        read: "chroot(2)",
        hints: [
            "Which system call changes what `/` means for a process and all that it starts?",
            "chroot(2), in `child`, before the command is started; not in `run`, where /proc/self/exe is still needed.",
        ],
        lines: ["chroot("],
    },
    check! { 5, cwd, "starts in `/`, and `cd ..` does not lead out",
        read: "chroot(2): \"This call does not change the current working directory\"",
        hints: [
            "Where is the working directory after chroot(2)? Try `pwd` and `cd ..; ls` inside.",
            "chdir(\"/\") after chroot(2).",
        ],
        lines: ["chdir(\"/\")"],
    },
    check! { 5, lookup, "looks the command up inside",
        read: "execve(2), path_resolution(7)",
        hints: [
            "`ls` is /usr/bin/ls on one system and /bin/ls on another. Which one counts?",
            "Start the command after the root has changed, and let Command::new look it up in PATH.",
        ],
        lines: ["child.env(\"PATH\""],
    },
    check! { 5, environment, "starts with a clean environment",
        read: "environ(7)",
        hints: [
            "Variables are inherited, passwords among them. What does `run env` print?",
            "Command::env_clear(), then PATH, HOME and TERM.",
        ],
        lines: ["env_clear()", "child.env(\"PATH\""],
    },
    check! { 5, rootfs_option, "takes the root filesystem from --rootfs, or $ROOTFS",
        read: "path_resolution(7)",
        hints: [
            "A directory may be named relatively, absolutely, through a link, with a space in its name.",
            "clap: `#[arg(long, env, default_value = \"rootfs\")] rootfs: PathBuf`, and hand it on to `child`.",
        ],
        lines: ["rootfs: PathBuf", "--rootfs"],
    },
    check! { 5, rootfs_missing, "refuses to run without a root filesystem",
        read: "chroot(2)",
        hints: [
            "What does chroot(2) return if there is no such directory? What becomes of it?",
            "Hand the error to main with `?`: a message that names the directory, exit status 125, and the command \
             does not run.",
        ],
        lines: ["cannot enter the root filesystem"],
    },
];

/// Whether the command is in the root filesystem at all. What the first check finds, others need not repeat in vain.
pub fn need_root(lab: &Lab) -> Result<()> {
    let marker = lab.host.path("/workshop/rootfs/marker");
    _ = fs::write(&marker, "the root filesystem\n");
    let done = lab.run(&["cat", "/marker"]);
    _ = fs::remove_file(&marker);
    let done = done?;
    if done.stdout == "the root filesystem\n" {
        return Ok(());
    }
    let cause = if done.stderr.contains("No such file") && done.status == Some(1) {
        "the command still sees the host's files: its root directory was not changed. chroot(2), or from step 07 on \
         pivot_root(2), has to be called in `child`, before the command is started"
            .into()
    } else {
        done.why_not_run()
    };
    let expected = "the text of a file `marker` that lies in the root filesystem";
    Err(done.wrong(expected, done.summary(), cause))
}

fn root(lab: &Lab) -> Result<()> {
    need_root(lab)?;
    let done =
        lab.run(&["sh", "-c", "if test -e /workshop; then echo visible; else echo hidden; fi"])?;
    if done.stdout == "hidden\n" {
        return writable(lab);
    }
    let cause = "the root directory is not the root filesystem";
    Err(done.wrong("/workshop, a folder of the host, is hidden", done.summary(), cause))
}

fn writable(lab: &Lab) -> Result<()> {
    let done =
        lab.run(&["sh", "-c", "echo it can be written >/written && cat /written && rm /written"])?;
    if done.stdout == "it can be written\n" {
        return whole(lab);
    }
    let cause = "the root filesystem was made read-only (MS_RDONLY on the mount that is the new root). What has to be \
                 read-only are the host's devices; in its own files a container may write";
    Err(done.wrong("a file can be made in `/`", done.summary(), cause))
}

/// What is mounted in the root filesystem belongs to it.
fn whole(lab: &Lab) -> Result<()> {
    lab.host.run("mkdir -p rootfs/mnt; mount -t tmpfs below rootfs/mnt && echo it is there >rootfs/mnt/below")?;
    let done = lab.run(&["cat", "/mnt/below"]);
    lab.host.run("umount rootfs/mnt")?;
    let done = done?;
    if done.stdout == "it is there\n" {
        return Ok(());
    }
    let cause = "the root filesystem was mounted alone, without what is mounted below it: MS_BIND takes one mount, \
                 MS_REC | MS_BIND all of them";
    Err(done.wrong("what is mounted on the root filesystem's /mnt is there", done.summary(), cause))
}

fn cwd(lab: &Lab) -> Result<()> {
    need_root(lab)?;
    let script = "pwd; cd ..; cd ..; if test -e workshop; then echo outside; else echo inside; fi";
    let done = lab.run(&["sh", "-c", script])?;
    if done.stdout == "/\ninside\n" {
        return Ok(());
    }
    let held = lab.hold(&[], "")?;
    // Where the command stands, as the host sees it.
    let place = fs::read_link(lab.proc(held.command, "cwd")).unwrap_or_default();
    let place = place.to_string_lossy();
    let cause = match &*place {
        _ if lab.is_stacked(held.command) => OLD_ROOT,
        "/" => {
            "the working directory is the host's `/`: chdir(\"/\") was called before chroot(2), when `/` was still the \
             host's. Call it afterwards"
        }
        "/workshop" => {
            "the working directory is still where you started it, outside: chroot(2) does not change it. chdir(\"/\") \
             after chroot(2)"
        }
        _ => "the working directory is not the new root: chdir(\"/\") after the root has changed",
    };
    let said = shortened(done.stdout.trim_end());
    let got = format!("{said}; the host sees its working directory as {place}");
    Err(done.wrong("pwd says \"/\", and `cd ..` stays inside", got, cause))
}

fn lookup(lab: &Lab) -> Result<()> {
    let script = lab.host.path("/workshop/rootfs/bin/only-inside");
    classroom::executable(&script, "#!/bin/sh\necho inside\n")?;
    let done = lab.run(&["only-inside"]);
    _ = fs::remove_file(&script);
    let done = done?;
    if done.stdout == "inside\n" {
        return Ok(());
    }
    need_root(lab)?;
    let cause: Cause = if done.status != Some(127) {
        done.why_not_run()
    } else if lab.hold(&[], "echo $PATH; ")?.before.split(':').any(|dir| dir.trim() == "/bin") {
        "the command was looked up on the host: look it up after the root has changed (Command::spawn does, if it is \
         called then)"
            .into()
    } else {
        "/bin is not in PATH: with a clean environment, PATH has to be set again, before the process that looks the \
         command up is started"
            .into()
    };
    Err(done.wrong("a script that lies in the root filesystem's /bin runs", done.summary(), cause))
}

fn environment(lab: &Lab) -> Result<()> {
    let line = ["env", "PASSWORD=secret", "TERM=dumb", &lab.program(), "run", "env"];
    let done = lab.start_as(None, &line)?.end()?;
    if done.status != Some(0) {
        return Err(done.wrong("the variables of the command", done.summary(), done.why_not_run()));
    }
    let value = |name: &str| {
        let line = done.stdout.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_default().to_string()
    };
    let [password, path, home, term] = ["PASSWORD", "PATH", "HOME", "TERM"].map(value);
    let cause = if !password.is_empty() {
        "the caller's variables are inherited: Command::env_clear(), before you set those that the container needs"
    } else if !path.split(':').any(|dir| dir == "/bin") {
        "PATH is not set (or without /bin): a program that looks for others finds nothing. Set it after env_clear()"
    } else if !home.starts_with('/') {
        "HOME is not set: set it, to /root"
    } else if term != "dumb" {
        "TERM is not passed on: programs that draw on the terminal need the caller's"
    } else {
        return need_root(lab);
    };
    let got = format!("PASSWORD={password} PATH={path} HOME={home} TERM={term}");
    Err(done.wrong(
        "PASSWORD is empty; PATH has /bin; HOME is set; TERM is the caller's",
        got,
        cause,
    ))
}

fn rootfs_option(lab: &Lab) -> Result<()> {
    lab.host
        .run("mv rootfs 'another root'; ln -s 'another root' link; touch 'another root/marker'")?;
    lab.soil();
    let program = lab.program();
    let command = ["sh", "-c", "test -e /marker && echo inside"];
    for (before, behind, way) in [
        (&[][..], &["--rootfs", "another root"][..], "a relative path with a space in it"),
        (&[], &["--rootfs=/workshop/another root"], "an absolute path"),
        (&[], &["--rootfs", "link"], "a symbolic link"),
        (&["env", "ROOTFS=another root"], &[], "the variable ROOTFS"),
    ] {
        let line = [before, &[&*program, "run"], behind, &command].concat();
        let done = lab.start_as(None, &line)?.end()?;
        if done.stdout == "inside\n" {
            continue;
        }
        let cause = format!(
            "the root filesystem is not taken from {way}: use what the option says, as a path (not a fixed \"rootfs\", \
             and not a text that is split at spaces), and hand it on to `child`; relative paths count from the \
             directory where `run` was started"
        );
        return Err(done.wrong("the command runs in that root filesystem", done.summary(), cause));
    }
    Ok(())
}

fn rootfs_missing(lab: &Lab) -> Result<()> {
    _ = fs::write(lab.host.path("/workshop/a-file"), "");
    for name in ["no-such-rootfs", "a-file"] {
        let done = lab.run(&["--rootfs", name, "echo", "it runs"])?;
        let cause = if done.stdout.contains("it runs") {
            "the error of chroot(2) is ignored, and the command runs on the host's files: hand the error to main with \
             `?`"
        } else if done.status != Some(125) {
            "where the runner itself has failed, its exit status is 125 (Docker's convention), in both halves"
        } else if !done.stderr.contains(name) {
            "the message does not say which directory it is about"
        } else {
            continue;
        };
        let expected =
            format!("a message that names {name}, exit status 125, and the command does not run");
        return Err(done.wrong(expected, done.summary(), cause));
    }
    need_root(lab)
}
