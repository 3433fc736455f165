//! The scripts that change a machine: nothing is destroyed by one that is called in the wrong place, or with the
//! wrong folder.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Command, Output};

use nix::unistd::geteuid;
use scripts_tests::{repository, script};
use tempfile::TempDir;

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

/// What is for the inside of the test machine would take any other machine apart. (Should one begin all the same, it
/// finds no command here that it could do harm with.)
#[test]
fn what_is_for_the_test_machine_runs_nowhere_else() {
    let empty = TempDir::new().unwrap();
    for (name, args) in [
        ("customize.sh", &[][..]),
        ("guest-run.sh", &["/nowhere", "/nowhere"]),
        ("guest-checks.sh", &["/nowhere", "/nowhere"]),
        ("vagrant-box.sh", &["/"]),
        ("vagrant-box.sh", &["/nowhere"]),
        ("vagrant-box.sh", &[]),
        ("vagrant-test.sh", &["--inside", "/nowhere", "/nowhere"]),
    ] {
        let mut command = Command::new("/bin/sh");
        command.arg(repository().join("scripts/vm").join(name)).args(args);
        let output = command.env("PATH", empty.path()).current_dir(empty.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{name}: {output:?}");
        let said = said(&output);
        let words = ["only for", "--inside is for this script"];
        assert!(words.iter().any(|words| said.contains(words)), "{name}: {said}");
    }
}

#[test]
fn a_fresh_machine_is_only_removed_if_it_is_one() {
    let folder = TempDir::new().unwrap();
    let thesis = folder.path().join("thesis");
    fs::write(&thesis, "").unwrap();
    for task in ["remove", "run"] {
        let mut command = Command::new(repository().join(".ci/fresh-machine.sh"));
        let output = command.arg(folder.path()).args([task, "true"]).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(said(&output).contains("none of the machines"), "{output:?}");
        assert!(thesis.exists());
    }
}

/// scripts/provision.sh in a folder that it takes for a shared one, on a machine that has everything.
struct Provision {
    dir: TempDir,
}

impl Provision {
    fn new() -> Provision {
        let provision =
            Provision { dir: tempfile::Builder::new().prefix("o'brien").tempdir().unwrap() };
        let text = fs::read_to_string(repository().join("scripts/provision.sh")).unwrap();
        script(&provision.path("repo/scripts/provision.sh"), &text);
        script(&provision.path("repo/rootfs-fetch.sh"), "mkdir -p \"${ROOTFS:-rootfs}\"");
        fs::write(provision.path("repo/Cargo.toml"), "rust-version = \"1.85\"\n").unwrap();
        for folder in ["notes", "step01_exec"] {
            fs::create_dir_all(provision.path(&format!("repo/steps/{folder}"))).unwrap();
        }
        provision.fake(
            "stat",
            "case $* in *file-system*) echo vboxsf ;; *) exec /usr/bin/stat \"$@\" ;; esac",
        );
        provision.fake("dpkg-query", "echo installed");
        provision.fake("apt-get", "exit 1");
        provision.fake("df", "echo 99999M");
        provision.fake("sudo", "exec \"$@\"");
        provision.fake("cargo", "echo \"cargo $*\" >>\"$LOG\"; echo 'cargo 1.99.0'");
        provision.fake("mountpoint", "exit 1");
        for name in ["mount", "umount"] {
            provision.fake(name, &format!("echo \"{name} $*\" >>\"$LOG\""));
        }
        provision
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn fake(&self, name: &str, text: &str) {
        script(&self.path("bin").join(name), text);
    }

    /// `sh scripts/provision.sh ARGS`, with this disk of its own.
    fn run(&self, disk: &str, args: &[&str]) -> Output {
        let mut command = Command::new("sh");
        command.arg("scripts/provision.sh").args(args).current_dir(self.path("repo"));
        command.env("WORKSHOP_DISK", self.path(disk)).env("LOG", self.path("log"));
        let path = format!("{}:/usr/bin:/bin", self.path("bin").display());
        command.env("PATH", path).env_remove("SUDO_USER").output().unwrap()
    }

    /// What was mounted, unmounted and built.
    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }
}

#[test]
fn provision_makes_a_disk_of_its_own() {
    let provision = Provision::new();
    let output = provision.run("disk", &[]);
    assert!(output.status.success(), "{output:?}");
    assert!(provision.path("disk/target").is_dir());
    assert!(provision.log().contains("mount --bind"), "{}", provision.log());
}

/// A folder beside the steps is none of cargo's business.
#[test]
fn provision_builds_the_steps_and_nothing_else_that_lies_there() {
    let provision = Provision::new();
    provision.run("disk", &[]);
    assert!(provision.log().contains("--package step01_exec"), "{}", provision.log());
    assert!(!provision.log().contains("notes"), "{}", provision.log());
}

/// `WORKSHOP_DISK=/srv` must not make /srv the learner's.
#[test]
fn provision_takes_no_folder_from_anybody() {
    let provision = Provision::new();
    let (disk, theirs) = ("disk", provision.path("disk"));
    fs::create_dir(&theirs).unwrap();
    // As root somebody else's can be made; otherwise root's own is somebody else's.
    let (disk, theirs) = if geteuid().is_root() {
        std::os::unix::fs::chown(&theirs, Some(65534), Some(65534)).unwrap();
        (disk, theirs)
    } else {
        ("/usr", PathBuf::from("/usr"))
    };
    let before = fs::metadata(&theirs).unwrap();
    let output = provision.run(disk, &[]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(said(&output).contains("would have to be yours"), "{output:?}");
    let after = fs::metadata(&theirs).unwrap();
    assert_eq!(
        (before.uid(), before.gid(), before.mode()),
        (after.uid(), after.gid(), after.mode())
    );
    assert!(!provision.log().contains("mount"), "{}", provision.log());
}

#[test]
fn provision_unmounts_only_its_own_root_filesystem() {
    let provision = Provision::new();
    provision.fake("mountpoint", "exit 0");
    fs::create_dir_all(provision.path("repo/rootfs")).unwrap();
    fs::create_dir_all(provision.path("disk/rootfs")).unwrap();
    let output = provision.run("disk", &["--new-rootfs"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(said(&output).contains("left alone"), "{output:?}");
    assert_eq!(provision.log(), "");
}

/// /etc is a file system of this test's own.
#[test]
fn provision_writes_a_login_that_every_shell_can_read_and_leaves_another_alone() {
    let mut alone = Command::new("unshare");
    alone.args(["--mount", "--map-root-user", "true"]);
    if !alone.status().unwrap().success() {
        assert!(std::env::var_os("CI").is_none(), "user namespaces are switched off");
        println!("NOT TESTED: user namespaces are switched off here");
        return;
    }
    let provision = Provision::new();
    let inside = "mount -t tmpfs none /etc/profile.d; \
        PATH=$FAKES:$PATH; sh scripts/provision.sh --login-here || exit; \
        cd ..; HOME=$PWD; . /etc/profile.d/workshop.sh; pwd; \
        echo mine >/etc/profile.d/workshop.sh; cd repo; sh scripts/provision.sh --login-here; \
        cat /etc/profile.d/workshop.sh";
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--map-root-user", "sh", "-c", inside])
        .current_dir(provision.path("repo"));
    command.env("WORKSHOP_DISK", provision.path("disk")).env("LOG", provision.path("log"));
    command.env("FAKES", provision.path("bin")).env_remove("SUDO_USER");
    let output = command.output().unwrap();
    let lines: Vec<_> =
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
    let repo = provision.path("repo").canonicalize().unwrap().display().to_string();
    assert!(lines.contains(&repo), "{output:?}");
    assert_eq!(lines.last().map(String::as_str), Some("mine"), "{output:?}");
    assert!(said(&output).contains("not from this script"), "{output:?}");
}
