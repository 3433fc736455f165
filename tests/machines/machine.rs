//! A machine, and what is tried on it.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use classroom::error::Attempt;
use classroom::{Error, Result};
use steps::{Step, Steps};
use tempfile::TempDir;

/// Where no file tells, only a trial: sudo alone can read its rules, which calls a filter refuses is in no file, and
/// what root may not read it finds out when it tries.
const SILENT: &[&str] = &["not_in_sudoers", "system_calls_filtered", "home_closed_to_root"];

pub struct Machine {
    pub name: &'static str,
    /// What makes a command this user's.
    pub user: &'static str,
    /// Commands of a shell, by root, in namespaces of their own; and `cgroups_read_only`.
    pub set_up: &'static str,
    /// What becomes of each step.
    pub steps: &'static str,
    /// What the doctor says of it.
    pub says: &'static str,
}

/// What all have in common: the programs, and a root filesystem.
pub struct Shop {
    programs: Vec<PathBuf>,
    rootfs: PathBuf,
}

impl Shop {
    pub fn new() -> Result<Shop> {
        let steps = Steps::find(steps::repository()).attempt("find the steps")?;
        let mut programs = steps.programs(Step::all()).attempt("build the steps")?;
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        build.current_dir(steps::repository()).args(["build", "--quiet", "--package", "workshop"]);
        if !build.status().attempt("run cargo")?.success() {
            return Err(Error::Failed("cargo workshop does not build".into()));
        }
        programs.push(programs[0].with_file_name("workshop"));
        Ok(Shop { programs, rootfs: classroom::rootfs()? })
    }

    /// A repository like the learner's, who is nobody.
    fn repository(&self) -> Result<TempDir> {
        let dir = tempfile::Builder::new()
            .prefix("machines")
            .tempdir_in("/var/tmp")
            .attempt("make a folder")?;
        let script = "
            set -eu
            umask 022
            mkdir -p work repo/target/debug
            cd repo
            from=$1 rootfs=$2
            shift 2
            install \"$@\" target/debug/
            (cd \"$from\" && tar -c Cargo.toml steps scripts/run-step.sh) | tar -x
            cp -a \"$rootfs\" rootfs
            printf '#!/bin/sh\\nexit 1\\n' >rootfs-fetch.sh
            chmod 755 rootfs-fetch.sh ..
            chown -R 65534:4711 .";
        let mut make = Command::new("sh");
        make.args(["-c", script, "sh"])
            .arg(steps::repository())
            .arg(&self.rootfs)
            .args(&self.programs);
        let made = make.current_dir(dir.path()).status().attempt("run sh")?;
        if made.success() { Ok(dir) } else { Err(Error::Failed("cannot make a repository".into())) }
    }
}

/// In the namespaces: sudo's rules and the set-up, then what is tried.
const INSIDE: &str = r#"
set -eu
mount --make-rprivate /
work=$PWD/work repo=$PWD/repo
mount -t tmpfs -o mode=755 none $work
cd $repo
programs=$(echo target/debug/step*)
echo 'nobody ALL=(ALL:ALL) NOPASSWD: ALL' >$work/sudoers
cgroups_read_only() {
    grep -o ' /sys/fs/cgroup[^ ]*' /proc/self/mountinfo | sort -r | while read -r one; do
        mount -o remount,bind,ro $one
    done
}
@set_up
chmod 440 $work/sudoers
mkdir $work/sudoers.d
for one in sudoers sudoers.d; do [ ! -e /etc/$one ] || mount --bind $work/$one /etc/$one; done
mount --make-rshared /
user() { env -i PATH=$PATH HOME=/nonexistent CARGO=$cargo @user "$@" </dev/null; }
cargo=/bin/true
echo "=== tried"
user sh -c "cd $repo && target/debug/workshop doctor" 2>&1 || :
cargo=/bin/false
echo "=== likely"
user sh -c "cd $repo && target/debug/workshop doctor" 2>&1 || :
echo "=== really"
for program in $programs; do
    status=0
    said=$(user sh -c "cd $repo && scripts/run-step.sh $program run sh -c 'echo it runs; exit 7'" 2>&1) || status=$?
    case $said in *'+ sudo'*) by=s ;; *) by=. ;; esac
    case $status/$said in 7/*'it runs') ;; *) by=x ;; esac
    echo "$program: $by $status $(echo "$said" | tail -n 1)"
done
"#;

impl Machine {
    pub fn test(&self, shop: &Shop) -> Result<()> {
        let (set_up, partly) = match self.set_up.strip_prefix("@unmapped;") {
            Some(rest) => (rest, true),
            None => (self.set_up, false),
        };
        let program = self.user.split(' ').next().unwrap_or_default();
        let path = env::var_os("PATH").unwrap_or_default();
        if !program.is_empty() && !env::split_paths(&path).any(|dir| dir.join(program).is_file()) {
            return Err(Error::Missing(format!("there is no {program} on this machine")));
        }
        let inside = INSIDE.replace("@set_up", set_up).replace("@user", self.user);
        let dir = shop.repository()?;
        let said = run(&inside, dir.path(), partly)?;
        let part = |name: &str| -> String {
            let text = said.split(&format!("=== {name}\n")).nth(1).unwrap_or_default();
            text.split("=== ").next().unwrap_or_default().to_string()
        };
        let really: String =
            part("really").lines().filter_map(|line| line.split(' ').nth(1)).collect();
        assert_eq!(really, self.steps, "this is not the machine that was meant:\n{said}");
        assert_eq!(verdicts(&part("tried")), self.steps, "when it has tried them:\n{said}");
        let flat = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat(part("tried")).contains(self.says), "no {:?} in:\n{said}", self.says);
        if !SILENT.contains(&self.name) {
            assert_eq!(verdicts(&part("likely")), self.steps, "from files alone:\n{said}");
        }
        Ok(())
    }
}

/// The doctor's lines, a letter for each step.
fn verdicts(text: &str) -> String {
    let words = BTreeMap::from([
        ("ready", '.'),
        ("likely", '.'),
        ("ready, with sudo", 's'),
        ("likely, with sudo", 's'),
        ("not possible", 'x'),
    ]);
    let lines = text
        .lines()
        .filter(|line| ["  ✓ ", "  ? ", "  ✗ "].iter().any(|mark| line.starts_with(mark)));
    lines
        .map(|line| words.get(line.rsplit("  ").next().unwrap_or_default().trim()).unwrap_or(&'?'))
        .collect()
}

/// Runs this as root of a user namespace in which everybody is themselves, so that the machine's own limits stay as
/// they are; or in which not all groups are known.
fn run(script: &str, folder: &Path, partly: bool) -> Result<String> {
    let mut shell = Command::new("unshare");
    shell.args(["--user", "--", "sh", "-c"]);
    let wait = "echo unshared; read -r _; exec unshare --mount --pid --ipc --uts --net --fork \
        --kill-child --mount-proc \
        timeout --kill-after=5 120 sh -c \"$1\" 2>&1";
    shell.args([wait, "sh", script]).current_dir(folder);
    let mut shell =
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().attempt("run unshare")?;
    let mut stdout = BufReader::new(shell.stdout.take().ok_or(Error::Failed("no stdout".into()))?);
    let mut said = String::new();
    stdout.read_line(&mut said).attempt("read what unshare says")?;
    let map = if partly { "0 0 1000\n65534 65534 1\n" } else { "0 0 4294967295\n" };
    for file in ["uid_map", "gid_map"] {
        fs::write(format!("/proc/{}/{file}", shell.id()), map).attempt("map the users")?;
    }
    if let Some(mut stdin) = shell.stdin.take() {
        stdin.write_all(b"\n").attempt("say so")?;
    }
    said.clear();
    stdout.read_to_string(&mut said).attempt("read what is said")?;
    shell.wait().attempt("wait")?;
    Ok(said)
}
