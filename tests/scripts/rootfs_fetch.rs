//! rootfs-fetch.sh: every way to a root filesystem, and every way in which there must be none.

use std::borrow::BorrowMut;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write, stderr};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, geteuid};
use scripts_tests::{Answer, Mirror, path_without, repository, script};
use tempfile::TempDir;

/// Nothing listens on port 1.
const UNREACHABLE: &str = "http://127.0.0.1:1/alpine";

/// A folder for one test: bin/ goes first in PATH, and the root filesystem is made in `home`.
struct Sandbox {
    dir: TempDir,
    home: PathBuf,
    path: Option<PathBuf>,
}

impl Sandbox {
    fn new() -> Sandbox {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("my café");
        fs::create_dir(&home).unwrap();
        Sandbox { dir, home, path: None }
    }

    fn rootfs(&self) -> PathBuf {
        self.home.join("root fs")
    }

    /// A command in PATH that takes the place of the machine's own.
    fn fake(&self, name: &str, text: &str) {
        script(&self.dir.path().join("bin").join(name), text);
    }

    /// Makes the script believe that a download is the pinned one.
    fn fake_sha256(&self) {
        let text = fs::read_to_string(repository().join("rootfs-fetch.sh")).unwrap();
        let sums: Vec<&str> = text
            .lines()
            .filter_map(|line| Some(line.split_once(") pinned=")?.1.trim_end_matches(" ;;")))
            .collect();
        assert_eq!(sums.len(), 2, "one checksum per architecture");
        let sum = if cfg!(target_arch = "aarch64") { sums[1] } else { sums[0] };
        self.fake("sha256sum", &format!("echo '{sum}  -'"));
    }

    /// A PATH without some of the machine's commands.
    fn without(&mut self, missing: &[&str]) {
        let path = self.dir.path().join("path");
        path_without(&path, missing);
        self.path = Some(path);
    }

    fn fetch(&self, mirror: &str) -> Command {
        let mut command = classroom::undisturbed(repository().join("rootfs-fetch.sh"));
        self.prepare(&mut command, mirror);
        command
    }

    fn prepare(&self, command: &mut Command, mirror: &str) {
        let rest = match &self.path {
            Some(path) => path.display().to_string(),
            None => std::env::var("PATH").unwrap(),
        };
        command
            .env("PATH", format!("{}:{rest}", self.dir.path().join("bin").display()))
            .env("ROOTFS", self.rootfs())
            .env("ALPINE_MIRROR", mirror)
            .env_remove("ROOTFS_TARBALL")
            .env_remove("http_proxy")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .current_dir(self.dir.path());
    }

    fn fetch_tarball(&self, tarball: &Path) -> Command {
        let mut command = self.fetch(UNREACHABLE);
        command.env("ROOTFS_TARBALL", tarball);
        command
    }

    /// A small root filesystem as a tarball.
    fn tarball(&self) -> PathBuf {
        let tree = self.tree();
        let tarball = self.dir.path().join("small.tar.gz");
        tar(&["-czf", str(&tarball), "-C", str(&tree), "."]);
        tarball
    }

    /// A small root filesystem as a folder, with a shell that is reached as in Alpine.
    fn tree(&self) -> PathBuf {
        let tree = self.dir.path().join("tree");
        if tree.exists() {
            return tree;
        }
        for folder in ["bin", "etc", "tmp", "var/empty"] {
            fs::create_dir_all(tree.join(folder)).unwrap();
        }
        fs::copy("/bin/sh", tree.join("bin/busybox")).unwrap();
        symlink("/bin/busybox", tree.join("bin/sh")).unwrap();
        fs::write(tree.join("etc/alpine-release"), "small\n").unwrap();
        fs::set_permissions(tree.join("tmp"), PermissionsExt::from_mode(0o1777)).unwrap();
        fs::set_permissions(tree.join("var/empty"), PermissionsExt::from_mode(0o555)).unwrap();
        fs::set_permissions(&tree, PermissionsExt::from_mode(0o700)).unwrap();
        tree
    }

    /// An archive of the small root filesystem with more members, made by `tar`'s own options.
    fn archive(&self, more: &[&str]) -> PathBuf {
        let tree = self.tree();
        let tarball = self.dir.path().join("hostile.tar");
        tar(&["-cf", str(&tarball), "-C", str(&tree), "./bin", "./etc"]);
        let mut arguments = vec!["-rPf", str(&tarball), "-C", str(self.dir.path())];
        arguments.extend(more);
        tar(&arguments);
        tarball
    }

    /// There is nothing beside the root filesystem, complete or not.
    #[track_caller]
    fn assert_only(&self, expected: &[&str]) {
        let names = fs::read_dir(&self.home).unwrap().map(|entry| entry.unwrap().file_name());
        let names: Vec<_> = names.collect();
        assert_eq!(names, expected, "in {}", self.home.display());
    }

    #[track_caller]
    fn assert_complete(&self, origin: &str) {
        self.assert_only(&["root fs"]);
        let marker = fs::read_to_string(self.rootfs().join(".rootfs-origin")).unwrap();
        assert!(marker.starts_with(origin), "{marker}");
        assert_eq!(self.rootfs().metadata().unwrap().mode() & 0o7777, 0o755);
        assert_eq!(self.rootfs().join("tmp").metadata().unwrap().mode() & 0o7777, 0o1777);
        for folder in ["proc", "dev", "sys"] {
            assert!(self.rootfs().join(folder).is_dir(), "{folder}");
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // The borrowed tools are the machine's own: nothing here may be left to somebody else.
        _ = Command::new("chmod").args(["-R", "u+rwx"]).arg(self.dir.path()).status();
    }
}

fn str(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[track_caller]
fn tar(arguments: &[&str]) {
    assert!(Command::new("tar").args(arguments).status().unwrap().success());
}

/// What the script said. Its stdout is always empty.
#[track_caller]
fn said(output: &Output) -> String {
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
fn succeed(mut command: impl BorrowMut<Command>) -> String {
    let output = command.borrow_mut().output().unwrap();
    let said = said(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    said
}

/// Fails with status 1, and says each of `reasons`.
#[track_caller]
fn fail(mut command: impl BorrowMut<Command>, reasons: &[&str]) {
    let output = command.borrow_mut().output().unwrap();
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for reason in reasons {
        assert!(said.contains(reason), "expected {reason:?} in:\n{said}");
    }
}

fn send(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id() as i32), signal).unwrap();
}

#[track_caller]
fn assert_ends_with(child: Child, status: i32) -> String {
    let output = child.wait_with_output().unwrap();
    let said = said(&output);
    assert_eq!(output.status.code(), Some(status), "{said}");
    said
}

// --- Options ---

#[test]
fn help_and_wrong_usage() {
    let sandbox = Sandbox::new();
    let output = sandbox.fetch(UNREACHABLE).arg("--help").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("Usage: ./rootfs-fetch.sh"));
    for wrong in ["--frce", "rootfs", ""] {
        let output = sandbox.fetch(UNREACHABLE).arg(wrong).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
        assert!(said(&output).contains("Usage"));
    }
    sandbox.assert_only(&[]);
}

// --- What is there already ---

#[test]
fn a_complete_one_is_left_alone() {
    let sandbox = Sandbox::new();
    let tarball = sandbox.tarball();
    succeed(sandbox.fetch_tarball(&tarball));
    fs::write(sandbox.rootfs().join("mine"), "").unwrap();
    let mirror = Mirror::new(Answer::NotFound);
    assert_eq!(succeed(sandbox.fetch(&mirror.url)), "");
    assert!(sandbox.rootfs().join("mine").exists());
    assert!(mirror.requests().is_empty());
}

#[test]
fn one_that_somebody_made_by_hand_is_left_alone() {
    let sandbox = Sandbox::new();
    fs::rename(sandbox.tree(), sandbox.rootfs()).unwrap();
    assert_eq!(succeed(sandbox.fetch(UNREACHABLE)), "");
    assert!(!sandbox.rootfs().join(".rootfs-origin").exists());
}

#[test]
fn what_is_in_the_way_is_not_touched() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.rootfs(), "a file").unwrap();
    fail(sandbox.fetch(UNREACHABLE), &["is not a folder"]);
    fail(sandbox.fetch_tarball(&sandbox.tarball()).arg("--force"), &["is not a folder"]);
    assert_eq!(fs::read_to_string(sandbox.rootfs()).unwrap(), "a file");

    fs::remove_file(sandbox.rootfs()).unwrap();
    fs::create_dir(sandbox.rootfs()).unwrap();
    fs::write(sandbox.rootfs().join("thesis"), "").unwrap();
    for force in [&[][..], &["--force"]] {
        let mut command = sandbox.fetch_tarball(&sandbox.tarball());
        let why = ["is not a root filesystem, so it is left alone", "rm -r '"];
        fail(command.args(force), &why);
        assert!(sandbox.rootfs().join("thesis").exists());
    }
    sandbox.assert_only(&["root fs"]);
}

/// What it has not made itself it never removes; what is no root filesystem any more may have become something else.
#[test]
fn force_replaces_only_what_the_script_has_made() {
    for (gone, why) in
        [("bin", "has lost its /bin/sh"), (".rootfs-origin", "was not made by this script")]
    {
        let (sandbox, tarball) = with_old();
        let gone = sandbox.rootfs().join(gone);
        _ = fs::remove_file(&gone).or_else(|_| fs::remove_dir_all(&gone));
        fail(sandbox.fetch_tarball(&tarball).arg("--force"), &[why, "left alone", "rm -r '"]);
        assert!(sandbox.rootfs().join("mine").exists(), "what the learner has there is lost");
    }
}

/// Not the repository, not the home, and nothing that one of them is in: whatever else it looks like.
#[test]
fn a_folder_with_the_repository_or_the_home_in_it_is_never_a_root_filesystem() {
    let (sandbox, tarball) = with_old();
    let rootfs = sandbox.rootfs();
    for below in ["", "home", "home/learner"] {
        let home = rootfs.join(below);
        fs::create_dir_all(&home).unwrap();
        fail(sandbox.fetch_tarball(&tarball).arg("--force").env("HOME", &home), &["is in it"]);
    }
    let script = rootfs.join("home/learner/workshop/rootfs-fetch.sh");
    fs::create_dir(script.parent().unwrap()).unwrap();
    fs::copy(repository().join("rootfs-fetch.sh"), &script).unwrap();
    for (working, name) in
        [("home/learner/workshop", "."), ("home/learner/workshop", ".."), ("", ".")]
    {
        let mut force = Command::new("sh");
        force.arg(&script).arg("--force");
        sandbox.prepare(&mut force, UNREACHABLE);
        force.env("ROOTFS_TARBALL", &tarball).env("ROOTFS", name).current_dir(rootfs.join(working));
        fail(force, &["is in it"]);
    }
    assert!(script.exists());
    assert_old(&sandbox);
}

#[test]
fn what_one_may_not_look_into_is_not_empty() {
    if geteuid().is_root() {
        return; // who may look everywhere
    }
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.rootfs()).unwrap();
    fs::set_permissions(sandbox.rootfs(), PermissionsExt::from_mode(0o000)).unwrap();
    fail(sandbox.fetch_tarball(&sandbox.tarball()).arg("--force"), &["cannot look into"]);
}

#[test]
fn force_leaves_a_container_its_files() {
    let sandbox = Sandbox::new();
    let borrow = |options: &[&str]| {
        let mut command = sandbox.fetch(UNREACHABLE);
        command.arg("--borrow").args(options);
        command
    };
    succeed(borrow(&[]));
    let mut inside = Command::new("unshare");
    if !geteuid().is_root() {
        inside.args(["--user", "--map-root-user"]);
    }
    inside.arg("--root").arg(sandbox.rootfs()).args(["/bin/sh", "-c", "echo up; read end"]);
    let mut inside = inside.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut up = String::new();
    BufReader::new(inside.stdout.as_mut().unwrap()).read_line(&mut up).unwrap();
    assert_eq!(up, "up\n");
    fail(borrow(&["--force"]), &["runs in it", "leave that container first"]);
    drop(inside.stdin.take());
    inside.wait().unwrap();
    succeed(borrow(&["--force"]));
}

#[test]
fn an_empty_folder_and_a_dangling_symlink_are_filled() {
    let sandbox = Sandbox::new();
    let tarball = sandbox.tarball();
    fs::create_dir(sandbox.rootfs()).unwrap();
    succeed(sandbox.fetch_tarball(&tarball));
    sandbox.assert_complete("from the tarball");

    let sandbox = Sandbox::new();
    let tarball = sandbox.tarball();
    let disk = sandbox.dir.path().join("disk");
    fs::create_dir(&disk).unwrap();
    symlink(disk.join("rootfs"), sandbox.rootfs()).unwrap();
    succeed(sandbox.fetch_tarball(&tarball));
    assert!(sandbox.rootfs().is_symlink());
    assert!(disk.join("rootfs/bin/busybox").exists());
}

// --- A tarball ---

#[test]
fn a_tarball_goes_before_the_mirror() {
    let sandbox = Sandbox::new();
    let mirror = Mirror::new(Answer::NotFound);
    let said = succeed(sandbox.fetch(&mirror.url).env("ROOTFS_TARBALL", sandbox.tarball()));
    assert_eq!(said, "", "silence in a pipe");
    assert!(mirror.requests().is_empty());
    sandbox.assert_complete("from the tarball small.tar.gz");
    assert_eq!(fs::read_to_string(sandbox.rootfs().join("etc/alpine-release")).unwrap(), "small\n");
}

/// Settings for tar, grep and curl, as some people have them.
#[test]
fn the_callers_settings_change_nothing() {
    let sandbox = Sandbox::new();
    let mut fetch = sandbox.fetch_tarball(&sandbox.tarball());
    fetch.env("TAR_OPTIONS", "--strip-components=1 --verbose").env("GREP_OPTIONS", "-v");
    assert_eq!(succeed(fetch.env("POSIXLY_CORRECT", "1")), "");
    assert!(sandbox.rootfs().join("bin/sh").is_symlink());
}

#[test]
fn a_tarball_by_a_relative_path_and_a_relative_rootfs() {
    let sandbox = Sandbox::new();
    sandbox.tarball();
    succeed(sandbox.fetch_tarball(Path::new("small.tar.gz")).env("ROOTFS", "sub/folder/rootfs/"));
    assert!(sandbox.dir.path().join("sub/folder/rootfs/bin/busybox").exists());
}

#[test]
fn a_tarball_that_is_missing_or_none_or_truncated() {
    let sandbox = Sandbox::new();
    fail(sandbox.fetch_tarball(Path::new("/nowhere.tar")), &["cannot read /nowhere.tar"]);
    let text = sandbox.dir.path().join("text.tar.gz");
    fs::write(&text, "<html>").unwrap();
    fail(sandbox.fetch_tarball(&text), &["cannot read", "text.tar.gz"]);
    let whole = fs::read(sandbox.tarball()).unwrap();
    fs::write(&text, &whole[..whole.len() / 2]).unwrap();
    fail(sandbox.fetch_tarball(&text), &["cannot read", "text.tar.gz"]);
    sandbox.assert_only(&[]);
}

#[test]
fn a_tarball_that_is_called_alpine_must_be_alpine() {
    let sandbox = Sandbox::new();
    for arch in ["x86_64", "aarch64"] {
        let tarball = sandbox.dir.path().join(format!("alpine-minirootfs-3.20.3-{arch}.tar.gz"));
        fs::rename(sandbox.tarball(), &tarball).unwrap();
        fail(sandbox.fetch_tarball(&tarball), &["SHA-256 expected", "found"]);
    }
    sandbox.assert_only(&[]);
}

#[test]
fn a_tarball_that_is_no_root_filesystem() {
    let sandbox = Sandbox::new();
    let tarball = sandbox.dir.path().join("small.tar");
    tar(&["-cf", str(&tarball), "-C", str(&sandbox.tree()), "./etc"]);
    fail(sandbox.fetch_tarball(&tarball), &["there is no /bin/sh in it"]);
    sandbox.assert_only(&[]);
}

#[test]
fn a_tarball_for_another_kind_of_machine() {
    let sandbox = Sandbox::new();
    let shell = sandbox.tree().join("bin/busybox");
    let mut program = fs::read(&shell).unwrap();
    program[18] ^= 0xff; // e_machine of the ELF header
    fs::write(&shell, program).unwrap();
    let tarball = sandbox.dir.path().join("other.tar");
    tar(&["-cf", str(&tarball), "-C", str(&sandbox.dir.path().join("tree")), "."]);
    fail(sandbox.fetch_tarball(&tarball), &["is for another kind of machine"]);
    sandbox.assert_only(&[]);
}

#[test]
fn the_real_tarballs() {
    let shared = repository().join("../shared/rootfs");
    if !shared.is_dir() {
        // Not eprintln!, which the test harness keeps to itself.
        _ = writeln!(stderr(), "NOT TESTED: there are no Alpine tarballs in {}", shared.display());
        return;
    }
    let (ours, other) = match std::env::consts::ARCH {
        "aarch64" => ("aarch64", "x86_64"),
        arch => (arch, "aarch64"),
    };
    let tarball = |arch| shared.join(format!("alpine-minirootfs-3.20.3-{arch}.tar.gz"));
    let sandbox = Sandbox::new();
    fail(sandbox.fetch_tarball(&tarball(other)), &["is for another kind of machine"]);
    sandbox.assert_only(&[]);
    let mirror = Mirror::new(Answer::Content(fs::read(tarball(ours)).unwrap()));
    let mut command = sandbox.fetch(&mirror.url);
    if !can_download() {
        command.env("ROOTFS_TARBALL", tarball(ours));
    }
    assert_eq!(succeed(command), "", "silence in a pipe");
    sandbox.assert_complete(&format!("Alpine Linux 3.20.3 for {ours}"));
    assert!(!sandbox.rootfs().join("bin/bash").exists());
    assert_eq!(
        fs::read_to_string(sandbox.rootfs().join("etc/alpine-release")).unwrap(),
        "3.20.3\n"
    );
}

// --- Hostile tarballs ---

/// The archive is refused, with the reason, and nothing appeared anywhere.
#[track_caller]
fn refused(sandbox: &Sandbox, tarball: &Path, reason: &str) {
    fail(sandbox.fetch_tarball(tarball), &["is refused, nothing was unpacked", reason]);
    sandbox.assert_only(&[]);
    for outside in ["outside/evil", "evil-made"] {
        assert!(!sandbox.dir.path().join(outside).exists(), "{outside} was written");
    }
}

/// A sandbox with a file `evil` to be put into archives, and a folder `outside` where it must never arrive.
fn hostile() -> Sandbox {
    let sandbox = Sandbox::new();
    fs::write(sandbox.dir.path().join("evil"), "evil").unwrap();
    fs::create_dir(sandbox.dir.path().join("outside")).unwrap();
    sandbox
}

#[test]
fn hostile_absolute_path() {
    let sandbox = hostile();
    let to = format!("--transform=s,^evil$,{}/outside/evil,", sandbox.dir.path().display());
    refused(&sandbox, &sandbox.archive(&[&to, "evil"]), "has an absolute path");
}

#[test]
fn hostile_dot_dot() {
    let sandbox = hostile();
    for to in ["../../../evil-made", "etc/../../../../evil-made", "./../evil-made"] {
        let transform = format!("--transform=s,^evil$,{to},");
        refused(&sandbox, &sandbox.archive(&[&transform, "evil"]), "climbs out with ..");
    }
}

#[test]
fn hostile_file_through_a_symlink() {
    let sandbox = hostile();
    let outside = sandbox.dir.path().join("outside");
    // Relative or absolute, deep or not, with a blank in its name: nothing goes through a symlink.
    symlink(&outside, sandbox.dir.path().join("a way")).unwrap();
    let place = [
        "--transform=flags=r;s,^a way$,./etc/a way,",
        "--transform=flags=r;s,^evil$,etc//a way/evil,",
    ];
    let archive = sandbox.archive(&[place[0], place[1], "a way", "evil"]);
    refused(&sandbox, &archive, "would be written through the symlink /etc/a way/");
    // The order of the members makes no difference.
    let archive = sandbox.archive(&[place[0], place[1], "evil", "a way"]);
    refused(&sandbox, &archive, "would be written through the symlink /etc/a way/");
}

/// The new root filesystem is the top of whoever follows a link in it; nothing is followed before that.
#[test]
fn symlinks_that_lead_outside_are_harmless() {
    let sandbox = hostile();
    let outside = sandbox.dir.path().join("outside");
    symlink(&outside, sandbox.dir.path().join("proc")).unwrap();
    succeed(sandbox.fetch_tarball(&sandbox.archive(&["proc"])));
    assert_eq!(fs::read_dir(outside).unwrap().count(), 0);
    assert!(sandbox.rootfs().join("proc").is_symlink());
}

#[test]
fn hostile_hard_link() {
    let sandbox = hostile();
    let dir = sandbox.dir.path();
    fs::hard_link(dir.join("evil"), dir.join("evil2")).unwrap();
    let target = format!("--transform=flags=h;s,^evil$,{}/outside/secret,", dir.display());
    let archive = sandbox.archive(&[&target, "evil", "evil2"]);
    fs::write(dir.join("outside/secret"), "").unwrap();
    fail(sandbox.fetch_tarball(&archive), &["cannot unpack"]);
    sandbox.assert_only(&[]);
}

/// Only root could make them, and no step needs them; there are many such tarballs.
#[test]
fn device_nodes_in_an_archive_are_left_out() {
    let sandbox = hostile();
    fs::create_dir(sandbox.dir.path().join("dev")).unwrap();
    fs::write(sandbox.dir.path().join("dev/null"), "").unwrap();
    let node = sandbox.archive(&["dev/null", "evil"]);
    // Only root can make a device node to put into an archive; anybody can say that a file is one. In the
    // member's header (tar(5)) byte 156 is the type, and 148..154 is the sum of all bytes, in octal.
    let mut archive = fs::read(&node).unwrap();
    let header = archive.windows(10).position(|name| name == b"dev/null\0\0").unwrap();
    archive[header + 156] = b'3';
    let sum = std::str::from_utf8(&archive[header + 148..header + 154]).unwrap();
    let sum = format!("{:06o}", u32::from_str_radix(sum, 8).unwrap() + 3);
    archive[header + 148..header + 154].copy_from_slice(sum.as_bytes());
    fs::write(&node, archive).unwrap();
    succeed(sandbox.fetch_tarball(&node));
    assert!(sandbox.rootfs().join("evil").exists());
    assert!(!sandbox.rootfs().join("dev/null").exists());
}

#[test]
fn hostile_marker() {
    // The marker is written after unpacking: not through what the archive put in its place.
    let sandbox = hostile();
    let outside = sandbox.dir.path().join("outside/evil");
    symlink("etc/alpine-release", sandbox.dir.path().join(".rootfs-origin")).unwrap();
    succeed(sandbox.fetch_tarball(&sandbox.archive(&[".rootfs-origin"])));
    assert_eq!(fs::read_to_string(sandbox.rootfs().join("etc/alpine-release")).unwrap(), "small\n");
    assert!(!outside.exists());
}

#[test]
fn links_within_the_archive_are_no_reason_to_refuse_it() {
    let sandbox = hostile();
    let dir = sandbox.dir.path();
    fs::hard_link(dir.join("evil"), dir.join("same")).unwrap();
    symlink("bin/../etc/alpine-release", dir.join("a -> b")).unwrap();
    symlink("/run", dir.join("run")).unwrap();
    let deep = "--transform=flags=rs;s,^run$,etc/run,";
    succeed(sandbox.fetch_tarball(&sandbox.archive(&[deep, "evil", "same", "a -> b", "run"])));
    let ino = |name| sandbox.rootfs().join(name).metadata().unwrap().ino();
    assert_eq!(ino("evil"), ino("same"));
    assert_eq!(fs::read_link(sandbox.rootfs().join("etc/run")).unwrap(), Path::new("/run"));
}

// --- The mirror ---

/// What has to be hidden for each of curl and wget to be the only one. None may be here: a machine needs neither, and
/// then nothing can be downloaded; with `CI=true` both must be there.
fn other_downloaders() -> Vec<&'static str> {
    static OTHERS: OnceLock<Vec<&str>> = OnceLock::new();
    let others = OTHERS.get_or_init(|| {
        let mut others = Vec::new();
        for (tool, other) in [("curl", "wget"), ("wget", "curl")] {
            if Command::new(tool).arg("--version").output().is_ok() {
                others.push(other);
            } else {
                // Not eprintln!, which the test harness keeps to itself.
                _ = writeln!(
                    stderr(),
                    "NOT TESTED: how to download with {tool}: it is not installed"
                );
            }
        }
        others
    });
    let ci = std::env::var_os("CI").is_some_and(|ci| ci == "true");
    assert!(!ci || others.len() == 2, "CI needs curl and wget");
    others.clone()
}

/// Whether this machine can download at all; says so if not.
fn can_download() -> bool {
    !other_downloaders().is_empty()
}

#[test]
fn download_with_curl_and_with_wget() {
    for missing in other_downloaders() {
        let mut sandbox = Sandbox::new();
        sandbox.without(&[missing]);
        sandbox.fake_sha256();
        let mirror = Mirror::new(Answer::Content(fs::read(sandbox.tarball()).unwrap()));
        assert_eq!(
            succeed(sandbox.fetch(&mirror.url)),
            "",
            "silence in a pipe, without {missing:?}"
        );
        sandbox.assert_complete("Alpine Linux 3.20.3 for ");
        let arch = std::env::consts::ARCH;
        let file = format!("/alpine/v3.20/releases/{arch}/alpine-minirootfs-3.20.3-{arch}.tar.gz");
        assert_eq!(mirror.requests(), [file]);
    }
}

#[test]
fn download_with_a_wrong_checksum() {
    if !can_download() {
        return;
    }
    let sandbox = Sandbox::new();
    let mirror = Mirror::new(Answer::Content(fs::read(sandbox.tarball()).unwrap()));
    fail(sandbox.fetch(&mirror.url), &["damaged, truncated or changed", "SHA-256 expected"]);
    sandbox.assert_only(&[]);
}

#[test]
fn download_that_breaks_off() {
    for missing in other_downloaders() {
        let mut sandbox = Sandbox::new();
        sandbox.without(&[missing]);
        let mirror = Mirror::new(Answer::HalfOf(fs::read(sandbox.tarball()).unwrap()));
        fail(sandbox.fetch(&mirror.url), &["broke off in the middle"]);
        sandbox.assert_only(&[]);
    }
}

#[test]
fn download_that_the_mirror_does_not_have() {
    for missing in other_downloaders() {
        let mut sandbox = Sandbox::new();
        sandbox.without(&[missing]);
        let mirror = Mirror::new(Answer::NotFound);
        fail(sandbox.fetch(&mirror.url), &["404", "is ALPINE_MIRROR right?"]);
        sandbox.assert_only(&[]);
    }
}

/// A processor without a pinned tarball; a shell with 32 bits under a kernel with 64.
#[test]
fn another_architecture_borrows() {
    let sandbox = Sandbox::new();
    sandbox.fake("od", "echo ' 03 00'");
    let said = succeed(sandbox.fetch(UNREACHABLE));
    for part in ["no Alpine tarball is pinned", "ROOTFS_TARBALL", "is borrowed"] {
        assert!(said.contains(part), "expected {part:?} in:\n{said}");
    }
    sandbox.assert_complete("borrowed from ");
}

#[test]
fn download_interrupted() {
    if !can_download() {
        return;
    }
    let signals = [(Signal::SIGTERM, 143), (Signal::SIGHUP, 129), (Signal::SIGINT, 130)];
    for (signal, status) in signals {
        let sandbox = Sandbox::new();
        let mirror = Mirror::new(Answer::HalfThenWait(fs::read(sandbox.tarball()).unwrap()));
        let child = sandbox.fetch(&mirror.url).process_group(0).spawn().unwrap();
        mirror.wait_for_half();
        if signal == Signal::SIGINT {
            killpg(Pid::from_raw(child.id() as i32), signal).unwrap(); // as Ctrl-C does
        } else {
            send(&child, signal);
        }
        let said = assert_ends_with(child, status);
        assert!(said.contains("interrupted"), "{said}");
        sandbox.assert_only(&[]);
    }
}

#[test]
fn download_killed_leaves_nothing_after_the_next() {
    if !can_download() {
        return;
    }
    let sandbox = Sandbox::new();
    let mirror = Mirror::new(Answer::HalfThenWait(fs::read(sandbox.tarball()).unwrap()));
    let mut child = sandbox.fetch(&mirror.url).stderr(Stdio::null()).spawn().unwrap();
    mirror.wait_for_half();
    child.kill().unwrap();
    child.wait().unwrap();
    // What it left is hidden, and no rootfs; the next one takes it away.
    assert!(!sandbox.rootfs().exists());
    succeed(sandbox.fetch_tarball(&sandbox.tarball()));
    sandbox.assert_complete("from the tarball");
}

/// Some shared folders know no locks (flock(1) says 66 there).
#[test]
fn without_locks_there_is_a_root_filesystem_all_the_same() {
    let sandbox = Sandbox::new();
    sandbox.fake("flock", "exit 66");
    succeed(sandbox.fetch_tarball(&sandbox.tarball()));
    sandbox.assert_complete("from the tarball");
    succeed(sandbox.fetch_tarball(&sandbox.tarball()).arg("--clean"));
}

/// And nothing is made in place of it.
#[test]
fn help_that_cannot_be_printed_is_a_failure() {
    let sandbox = Sandbox::new();
    let mut help = sandbox.fetch_tarball(&sandbox.tarball());
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    assert!(!help.arg("--help").stdout(full).status().unwrap().success());
    assert!(!sandbox.rootfs().exists());
}

/// A folder of somebody's may have a name of that form.
#[test]
fn what_is_only_named_like_a_leftover_stays() {
    let sandbox = Sandbox::new();
    let thesis = sandbox.home.join(".root fs.tmp.backup/thesis");
    fs::create_dir(thesis.parent().unwrap()).unwrap();
    fs::write(&thesis, "").unwrap();
    succeed(sandbox.fetch_tarball(&sandbox.tarball()));
    succeed(sandbox.fetch_tarball(&sandbox.tarball()).arg("--clean"));
    assert!(thesis.exists());
}

#[test]
fn two_at_once() {
    if !can_download() {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.fake_sha256();
    let mut mirror = Mirror::new(Answer::HalfThenWait(fs::read(sandbox.tarball()).unwrap()));
    let first = sandbox.fetch(&mirror.url).spawn().unwrap();
    mirror.wait_for_half();
    let mut second = sandbox.fetch(&mirror.url).spawn().unwrap();
    let mut line = String::new();
    let mut stderr = BufReader::new(second.stderr.take().unwrap());
    stderr.read_line(&mut line).unwrap();
    assert!(line.contains("waiting for it"), "{line}");
    mirror.release();
    assert_ends_with(first, 0);
    assert_ends_with(second, 0);
    stderr.read_to_string(&mut line).unwrap();
    assert_eq!(line.lines().count(), 1, "{line}");
    sandbox.assert_complete("Alpine");
    assert_eq!(mirror.requests().len(), 1);
}

#[test]
fn ten_at_once() {
    let sandbox = Sandbox::new();
    let tarball = sandbox.tarball();
    let children: Vec<_> =
        (0..10).map(|_| sandbox.fetch_tarball(&tarball).spawn().unwrap()).collect();
    for child in children {
        assert_ends_with(child, 0);
    }
    sandbox.assert_complete("from the tarball");
}

// --- Force ---

/// A sandbox with a complete root filesystem, in which the learner has a file.
fn with_old() -> (Sandbox, PathBuf) {
    let sandbox = Sandbox::new();
    let tarball = sandbox.tarball();
    succeed(sandbox.fetch_tarball(&tarball));
    fs::write(sandbox.rootfs().join("mine"), "").unwrap();
    (sandbox, tarball)
}

#[track_caller]
fn assert_old(sandbox: &Sandbox) {
    sandbox.assert_complete("from the tarball small.tar.gz");
    assert!(sandbox.rootfs().join("mine").exists(), "the old root filesystem is lost");
}

#[test]
fn force_makes_a_new_one() {
    let (sandbox, tarball) = with_old();
    succeed(sandbox.fetch_tarball(&tarball).arg("--force"));
    sandbox.assert_complete("from the tarball small.tar.gz");
    assert!(!sandbox.rootfs().join("mine").exists());
}

#[test]
fn force_that_fails_keeps_the_old_one() {
    if !can_download() {
        return;
    }
    let (sandbox, _) = with_old();
    let mirror = Mirror::new(Answer::Content(b"not Alpine".to_vec()));
    fail(sandbox.fetch(&mirror.url).arg("--force"), &["SHA-256 expected"]);
    assert_old(&sandbox);
}

#[test]
fn force_interrupted_keeps_the_old_one() {
    if !can_download() {
        return;
    }
    let (sandbox, tarball) = with_old();
    let mirror = Mirror::new(Answer::HalfThenWait(fs::read(tarball).unwrap()));
    let child = sandbox.fetch(&mirror.url).arg("--force").spawn().unwrap();
    mirror.wait_for_half();
    send(&child, Signal::SIGTERM);
    assert_ends_with(child, 143);
    assert_old(&sandbox);
}

#[test]
fn force_that_fails_in_the_middle_of_the_exchange_puts_the_old_one_back() {
    let (sandbox, tarball) = with_old();
    // The first mv sets the old one aside, the second one fails.
    let mv =
        "echo >>\"$0.count\"; [ \"$(wc -l <\"$0.count\")\" != 2 ] || exit 1; exec /bin/mv \"$@\"";
    sandbox.fake("mv", mv);
    let why = "cannot put the new root filesystem in the place of";
    fail(sandbox.fetch_tarball(&tarball).arg("--force"), &[why]);
    assert_old(&sandbox);
}

#[test]
fn force_does_not_remove_what_is_mounted_inside() {
    let (sandbox, tarball) = with_old();
    let dir = sandbox.dir.path();
    fs::create_dir(dir.join("photos")).unwrap();
    fs::write(dir.join("photos/one"), "").unwrap();
    let inside = sandbox.rootfs().join("proc");
    let mount = format!("mount --bind '{}/photos' '{}'", dir.display(), inside.display());
    let mut command = in_mount_namespace(&mount, &["--force"]);
    sandbox.prepare(&mut command, UNREACHABLE);
    command.env("ROOTFS_TARBALL", tarball);
    fail(command, &["cannot replace", "something is mounted on", "umount"]);
    assert!(dir.join("photos/one").exists());
    assert_old(&sandbox);
}

// --- The machine is against it ---

/// The script in a mount namespace of its own, after `mount`; for root and for everybody else.
fn in_mount_namespace(mount: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    if !geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["--mount", "sh", "-ec", &format!("{mount}; exec \"$@\""), "sh"]);
    command.arg(repository().join("rootfs-fetch.sh")).args(arguments);
    command
}

#[test]
fn read_only_disk() {
    let sandbox = Sandbox::new();
    let mount = format!("mount -t tmpfs -o ro tmpfs '{}'", sandbox.home.display());
    let mut command = in_mount_namespace(&mount, &[]);
    sandbox.prepare(&mut command, UNREACHABLE);
    fail(command, &["Read-only file system", "cannot write in", "ROOTFS=/another/folder"]);
}

#[test]
fn full_disk() {
    for borrow in [&["--borrow"][..], &[]] {
        let sandbox = Sandbox::new();
        fs::write(sandbox.tree().join("big"), vec![1; 2 << 20]).unwrap();
        let tarball = sandbox.dir.path().join("big.tar");
        tar(&["-cf", str(&tarball), "-C", str(&sandbox.dir.path().join("tree")), "."]);
        let mount = format!("mount -t tmpfs -o size=1M tmpfs '{}'", sandbox.home.display());
        let mut command = in_mount_namespace(&mount, borrow);
        sandbox.prepare(&mut command, UNREACHABLE);
        command.env("ROOTFS_TARBALL", tarball);
        fail(command, &["the disk is full", "make room"]);
    }
}

#[test]
fn full_disk_during_the_download() {
    for missing in other_downloaders() {
        let mut sandbox = Sandbox::new();
        sandbox.without(&[missing]);
        let mirror = Mirror::new(Answer::Content(vec![0; 2 << 20]));
        let mount = format!("mount -t tmpfs -o size=1M tmpfs '{}'", sandbox.home.display());
        let mut command = in_mount_namespace(&mount, &[]);
        sandbox.prepare(&mut command, &mirror.url);
        fail(command, &["the disk is full"]);
    }
}

#[test]
fn places_where_no_root_filesystem_can_be() {
    let sandbox = Sandbox::new();
    for (place, reason) in
        [("/", "is in it"), ("/proc/nowhere/rootfs", "cannot make /proc/nowhere")]
    {
        fail(sandbox.fetch(UNREACHABLE).env("ROOTFS", place), &[reason]);
        fail(sandbox.fetch(UNREACHABLE).env("ROOTFS", place).arg("--force"), &[reason]);
    }
}

// --- Borrowed ---

#[test]
fn borrowed_where_no_mirror_can_be_reached() {
    let each = other_downloaders().into_iter();
    let cases = each.map(|other| (vec![other], "cannot download http://127.0.0.1:1/"));
    for (missing, reason) in cases.chain([(vec!["curl", "wget"], "neither curl nor wget")]) {
        let mut sandbox = Sandbox::new();
        sandbox.without(&missing);
        let said = succeed(sandbox.fetch(UNREACHABLE));
        for part in [reason, "is borrowed", "to have Alpine later: ./rootfs-fetch.sh --force"] {
            assert!(said.contains(part), "expected {part:?} in:\n{said}");
        }
        sandbox.assert_complete("borrowed from ");
    }
}

#[test]
fn borrowed_on_purpose_and_every_tool_finds_its_libraries() {
    let sandbox = Sandbox::new();
    let mirror = Mirror::new(Answer::NotFound);
    let said = succeed(sandbox.fetch(&mirror.url).arg("--borrow"));
    assert!(mirror.requests().is_empty());
    assert!(said.contains("is borrowed"), "{said}");
    // A minimal machine lacks these three; what else is missing the tests need, as the workshop does.
    let missing = said.split_once("this machine has none: ").map_or("", |(_, rest)| rest);
    let missing: Vec<_> = missing.lines().next().unwrap_or_default().split_whitespace().collect();
    assert!(missing.iter().all(|tool| ["nc", "netstat", "ping"].contains(tool)), "{said}");
    // Where the machine has a busybox, inside is one as in Alpine; where it has none, what differs is said.
    let busybox = sandbox.rootfs().join("bin/busybox").exists();
    assert_eq!(said.contains("the prompt inside is"), !busybox, "{said}");
    assert_eq!(sandbox.rootfs().join("bin/sh").is_symlink(), busybox);
    sandbox.assert_complete("borrowed from ");
    let rootfs = sandbox.rootfs();
    assert!(!rootfs.join("bin/bash").exists());
    assert!(fs::read_to_string(rootfs.join("etc/os-release")).unwrap().contains("Borrowed from"));

    // A program that does not find a library, or its interpreter, ends with 127.
    let probe = "for tool in /bin/* /sbin/* /usr/bin/* /usr/sbin/*; do
        if [ -L \"$tool\" ]; then continue; fi
        status=0; \"$tool\" --help >/tmp/out 2>&1 </tmp/in || status=$?
        if [ $status = 127 ]; then echo \"$tool: $(cat /tmp/out)\"; fi
    done
    id -un; ls /";
    fs::write(rootfs.join("tmp/in"), "").unwrap();
    let mut command = Command::new("unshare");
    if !geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.arg("--root").arg(&rootfs).args(["/bin/sh", "-c", probe]);
    let output = command.env("PATH", "/bin:/sbin:/usr/bin:/usr/sbin").output().unwrap();
    let words: Vec<_> =
        String::from_utf8_lossy(&output.stdout).split_whitespace().map(str::to_owned).collect();
    let expected = "root bin dev etc home lib media mnt opt proc root run sbin srv sys tmp usr var";
    let words: Vec<_> = words.iter().map(String::as_str).filter(|word| *word != "lib64").collect();
    assert_eq!(words.join(" "), expected, "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn borrowed_without_ldd() {
    let mut sandbox = Sandbox::new();
    sandbox.without(&["ldd"]);
    fail(sandbox.fetch(UNREACHABLE).arg("--borrow"), &["ldd"]);
    sandbox.assert_only(&[]);
}
