//! `cargo workshop doctor` as it starts the steps.

use std::fs;
use std::process::Command;

use classroom::trial::Trial;
use classroom::{Error, Result, trials};

use crate::repo::{Repo, Said};

pub fn trials() -> Vec<Trial> {
    trials![
        a_relative_root_filesystem_counts_from_where_the_caller_is,
        a_runner_of_ones_own_is_named,
        what_lies_over_the_root_directory_is_taken_off_if_it_is_ours,
        a_root_that_does_not_see_all_processes_gets_the_lines_to_type,
    ]
}

/// A repository whose steps only tell what they are given.
fn repo(runner: &str) -> Repo {
    let repo = Repo::with_program("");
    repo.script("scripts/run-step.sh", runner);
    repo
}

fn a_relative_root_filesystem_counts_from_where_the_caller_is() -> Result<()> {
    let repo = repo("echo \"$ROOTFS\" >>said; echo it runs");
    fs::create_dir(repo.path("sub")).unwrap();
    let mut doctor = repo.command(&["doctor"]);
    let said = Said::by(doctor.env("ROOTFS", "../other").current_dir(repo.path("sub")));
    let expected = format!("{}/sub/../other", repo.dir.path().display());
    assert!(repo.read("said").lines().all(|line| line == expected), "{said:?}");
    Ok(())
}

/// It goes before ours, and knows nothing of root filesystems and sudo.
fn a_runner_of_ones_own_is_named() -> Result<()> {
    let repo = repo("echo it runs");
    let words = "has a runner of its own";
    let mut doctor = repo.command(&["doctor"]);
    let said = Said::by(doctor.env_remove("WORKSHOP_RUNNER"));
    assert!(said.stderr.contains(words), "{said:?}");
    let said = Said::by(doctor.env("WORKSHOP_RUNNER", "run-step.sh"));
    assert!(!said.stderr.contains(words), "{said:?}");
    Ok(())
}

/// What a script on a machine of its own may need. `spill` is step 07 without MS_PRIVATE, until pivot_root(2) refuses.
const MACHINE: &str = r#"
set -eu
mount --make-rshared /
mount -t tmpfs none /sys/fs/cgroup # what others have there is not this machine's
[ / -ef /.. ]
spill() {
    unshare --mount --propagation unchanged sh -euc '
        mount -c --rbind "$1" /
        cd -P /..
        mount -c -t proc proc proc
        mount -c -t tmpfs none dev
        : >dev/null
        mount -c --bind /dev/null dev/null
    ' sh "$1"
}
lies_over() { [ /.. -ef "$1" ] && ! unshare --user true 2>/dev/null; }
workshop() { NO_COLOR=1 "$WORKSHOP" doctor "$@" 2>&1; }
fails() { echo "FAILED: $*"; cat /proc/self/mountinfo; exit 1; }

"#;

const LIDS: &str = r#"
cut -d " " -f 3-5 /proc/self/mountinfo >before
for times in 1 3; do
    for time in $(seq $times); do spill "$PWD/rootfs"; done
    lies_over rootfs || fails "this is not the machine that was meant"
    workshop >said || :
    grep -q "The root filesystem lies over /, like a lid" said || fails "not told: $(cat said)"
    [ "$(grep -Ec '✗ (09|10)' said)" = 2 ] || fails "09 and 10 are not possible: $(cat said)"
    workshop --fix >said || fails "--fix: $(cat said)"
    [ / -ef /.. ] || fails "it still lies there: $(cat said)"
    unshare --user true || fails "still no user namespace"
    cut -d " " -f 3-5 /proc/self/mountinfo | diff before - || fails "the mounts are not as before: $(cat said)"
done

# The line that was shown, typed once more.
line=$(sed -n "s/^+ sh -c/sh -c/p" said | head -n 1)
[ -n "$line" ] || fails "the line is not shown: $(cat said)"
eval "$line" && fails "$line: done, and there is no lid"
cut -d " " -f 3-5 /proc/self/mountinfo | diff before - || fails "$line: has unmounted something else"

# Ours, and over it something of somebody else (which is not to appear on the root filesystem, too).
mkdir other
spill "$PWD/rootfs"
mount -c --make-private /..
mount -c --rbind other /
workshop >said || :
grep -q "A folder lies over /, like a lid: .*/other of" said || fails "not told: $(cat said)"
workshop --fix >said || fails "--fix: $(cat said)"
eval "$line" && fails "$line: done, and it is not ours"
lies_over other || fails "that was not ours: $(cat said)"
umount -c /..
lies_over rootfs || fails "ours was not to be reached: $(cat said)"

# A file that would be lost.
mount -c -t tmpfs none /../dev
echo thesis >/../dev/thesis
workshop --fix >said && fails "--fix: $(cat said)"
lies_over rootfs && [ -s /../dev/thesis ] || fails "the thesis is lost: $(cat said)"
echo done
"#;

/// Who has fewer capabilities than another of the same user may not look where that one has its root directory.
const NOT_ALL: &str = r#"
mount -t tmpfs none rootfs/dev
without_ptrace() { setpriv --bounding-set -sys_ptrace --inh-caps -sys_ptrace "$@"; }
without_ptrace ls -L /proc/1/root >/dev/null 2>&1 && fails "this is not the root that was meant"
export WORKSHOP NO_COLOR=1
without_ptrace "$WORKSHOP" doctor --fix >said 2>&1 && fails "--fix: $(cat said)"
mountpoint -q rootfs/dev || fails "it is gone, and a container may have used it: $(cat said)"
grep -q "may not look into all processes" said || fails "not told why: $(cat said)"
line=$(sed -n "s/^ *umount/umount/p" said)
eval "$line"
mountpoint -q rootfs/dev && fails "$line: it is still there"
workshop --fix >said || fails "--fix: $(cat said)"
grep -q "Nothing is left over" said || fails "--fix: $(cat said)"
echo done
"#;

fn what_lies_over_the_root_directory_is_taken_off_if_it_is_ours() -> Result<()> {
    on_a_machine(LIDS)
}

fn a_root_that_does_not_see_all_processes_gets_the_lines_to_type() -> Result<()> {
    on_a_machine(NOT_ALL)
}

/// In a user namespace: nothing gets from there to this machine. With shared mounts, as systemd has them.
#[track_caller]
fn on_a_machine(script: &str) -> Result<()> {
    let alone =
        ["--user", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];
    if !Command::new("unshare")
        .args(alone)
        .arg("true")
        .status()
        .is_ok_and(|status| status.success())
    {
        return Err(Error::Missing("no user namespace in which /proc can be mounted".into()));
    }
    // With a space in its path.
    let repo = Repo::with_program("");
    for folder in ["my rootfs/proc", "my rootfs/dev"] {
        fs::create_dir_all(repo.path(folder)).unwrap();
    }
    fs::remove_dir(repo.path("rootfs")).unwrap();
    std::os::unix::fs::symlink("my rootfs", repo.path("rootfs")).unwrap();
    let mut inside = Command::new("unshare");
    inside.args(alone).args(["sh", "-c", &[MACHINE, script].concat()]).current_dir(repo.dir.path());
    inside.env("WORKSHOP", repo.path("target/debug/workshop")).env("CARGO", "/bin/false");
    let said = Said::by(&mut inside);
    assert!(said.stdout.ends_with("done\n"), "{}\n{}", said.stdout, said.stderr);
    Ok(())
}
