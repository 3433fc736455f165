//! scripts/run-step.sh, cargo's runner: who gets a root filesystem, who gets sudo, and that nothing is lost on the way.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use scripts_tests::{path_without, repository, script};
use steps::Steps;
use tempfile::TempDir;

/// A repository with a runner, a rootfs-fetch.sh and steps that only tell what happens to them.
struct Fake {
    dir: TempDir,
}

impl Fake {
    /// For a caller with this user id.
    fn new(uid: u32) -> Fake {
        let fake = Fake { dir: tempfile::Builder::new().prefix("my café").tempdir().unwrap() };
        let runner = fs::read_to_string(repository().join("scripts/run-step.sh")).unwrap();
        script(&fake.path("scripts/run-step.sh"), &runner);
        script(&fake.path("rootfs-fetch.sh"), "echo \"fetch $ROOTFS\"; mkdir \"$ROOTFS\"");
        script(&fake.path("bin/id"), &format!("echo {uid}"));
        script(&fake.path("bin/sudo"), "echo sudo; unset ROOTFS; exec \"$@\"");
        fake
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    /// A program that does this, and whose help has the options of the step of that name; my-container's are step 10's.
    fn program(&self, program: &str, does: &str) {
        let number = program.split_once("step").and_then(|(_, name)| name.get(..2)?.parse().ok());
        let options = match number.unwrap_or(10) {
            1 => "  -e, --env <KEY=VALUE>  Set a variable",
            3 => "      --hostname <NAME>  The hostname inside",
            4 => "      --no-init  Let the command be PID 1 itself",
            5..10 => "      --rootfs <DIR>  The root directory [env: ROOTFS=]",
            10 => {
                "      --pids-limit <N>  Processes
      --memory <BYTES>  Memory
      --cpus <N>  CPUs
      --rootfs <DIR>  The root directory [env: ROOTFS=]"
            }
            _ => "",
        };
        let text = format!(
            "if [ \"$*\" = 'run --help' ]; then printf '%s\\n' 'Usage: step run [OPTIONS]' '{options}' \
                '  -h, --help  Help'; exit; fi
            {does}"
        );
        script(&self.path(&format!("target/{program}")), &text);
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        self.program(program, "echo \"${0##*/} $*\"");
        let program = self.path(&format!("target/{program}"));
        let mut command = Command::new(self.path("scripts/run-step.sh"));
        let path = format!("{}:{}", self.path("bin").display(), std::env::var("PATH").unwrap());
        command
            .arg(program)
            .args(arguments)
            .env("PATH", path)
            .env("TERM", "vt100")
            .stdin(Stdio::null());
        command.env_remove("ROOTFS").env_remove("WORKSHOP_SUDO").current_dir(self.path("bin"));
        command
    }

    /// What is printed on stdout, line by line.
    #[track_caller]
    fn run(&self, program: &str, arguments: &[&str]) -> Vec<String> {
        lines(self.command(program, arguments))
    }
}

#[track_caller]
fn lines(mut command: Command) -> Vec<String> {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn a_test_gets_the_signals_that_its_caller_ignores() {
    let fake = Fake::new(1000);
    let mut command = Command::new("sh");
    script(&fake.path("target/debug/deps/step01_exec-1"), "kill -INT $$; echo ignored");
    command.args(["-c", "trap '' INT; exec \"$@\"", "sh"]).arg(fake.path("scripts/run-step.sh"));
    let output = command.arg(fake.path("target/debug/deps/step01_exec-1")).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    assert_eq!(output.status.signal(), Some(2), "{output:?}");
}

/// A home on FUSE, or on NFS with root squash.
#[test]
fn where_root_may_not_read_the_program_it_says_so() {
    let fake = Fake::new(1000);
    script(&fake.path("bin/stat"), "case $1 in -f) echo fuseblk ;; *) echo -rwxr-xr-x ;; esac");
    script(&fake.path("bin/sudo"), "[ \"$1\" != test ]");
    let output = fake.command("debug/step02_uts", &["run", "true"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(125), "{said}");
    assert!(said.contains("root may not read") && said.contains("CARGO_TARGET_DIR="), "{said}");
    assert!(!said.contains("+ sudo"), "{said}");

    script(&fake.path("bin/sudo"), "[ \"$1\" = test ] || exec \"$@\"");
    assert_eq!(fake.run("debug/step02_uts", &["run", "true"]), ["step02_uts run true"]);
}

#[test]
fn who_gets_a_root_filesystem_and_who_gets_sudo() {
    let steps = Steps::find(repository()).unwrap();
    for step in steps.all() {
        let (number, step) = (step.number(), steps.name(step).unwrap());
        for uid in [0, 1000] {
            let fake = Fake::new(uid);
            let rootfs = fake.path("rootfs");
            let mut expected = Vec::new();
            if number >= 5 {
                expected.push(format!("fetch {}", rootfs.display()));
            }
            if uid != 0 && !matches!(number, 1 | 9) {
                expected.push("sudo".to_owned());
            }
            expected.push(format!("{step} run sh"));
            assert_eq!(
                fake.run(&format!("debug/{step}"), &["run", "sh"]),
                expected,
                "{step}, user {uid}"
            );
            // The second time it is there.
            let again = fake.run(&format!("debug/{step}"), &["run", "sh"]);
            assert!(!again[0].starts_with("fetch"), "{again:?}");
        }
    }
}

#[test]
fn an_option_from_an_exercise_does_not_hide_the_command() {
    let fake = Fake::new(1000);
    for (step, options) in [
        ("step03_reexec", &["--hostname", "web"][..]),
        ("step03_reexec", &["--hostname=web"]),
        ("step04_pid", &["--no-init"]),
    ] {
        let started = fake.run(&format!("debug/{step}"), &[&["run"], options, &["sh"]].concat());
        assert!(started.contains(&"sudo".to_string()), "{started:?}");
    }
    // The value of an option is not the command.
    for options in [&["-e", "A=B"][..], &["--env", "A=B"]] {
        let mut command = fake.command("debug/step01_exec", &[&["run"], options].concat());
        command.env("WORKSHOP_SUDO", "yes");
        assert!(!lines(command).contains(&"sudo".to_string()), "{options:?}");
    }
}

#[test]
fn nothing_is_done_where_no_command_is_started() {
    let fake = Fake::new(1000);
    let cases: &[&[&str]] = &[
        &[],
        &["--help"],
        &["run"],
        &["run", "-h", "sh"],
        &["run", "--memory", "50M"],
        &["run", "--rootfs"],
        &["run", "--"],
        &["run", "--wrong"],
        &["rnu", "sh"],
    ];
    for arguments in cases {
        let expected = format!("step10_cgroups {}", arguments.join(" "));
        assert_eq!(fake.run("debug/step10_cgroups", arguments), [expected]);
    }
    assert!(!fake.path("rootfs").exists());
}

#[test]
fn the_command_is_found_behind_the_options() {
    for options in [
        &["--pids-limit", "20", "--memory=50M", "--cpus", "0.5", "sh", "--help"][..],
        &["--", "sh"],
        &["sh", "-c", "--help"],
    ] {
        let fake = Fake::new(1000);
        let arguments = [&["run"], options].concat();
        let lines = fake.run("debug/step10_cgroups", &arguments);
        assert_eq!(lines.len(), 3, "{lines:?}");
    }
}

#[test]
fn a_root_filesystem_of_ones_own() {
    for arguments in [&["run", "--rootfs", "mine", "sh"][..], &["run", "--rootfs=mine", "sh"]] {
        let fake = Fake::new(0);
        assert_eq!(
            fake.run("debug/step05_chroot", arguments),
            [format!("step05_chroot {}", arguments.join(" "))]
        );
    }
    let fake = Fake::new(1000);
    let mut command = fake.command("debug/step05_chroot", &["run", "sh"]);
    fake.program("debug/step05_chroot", "echo \"$ROOTFS\"");
    command.env("ROOTFS", "relative one");
    assert_eq!(lines(command), ["fetch relative one", "sudo", "relative one"]);
}

#[test]
fn tests_and_other_programs_are_started_as_they_are() {
    let fake = Fake::new(1000);
    for program in
        ["debug/deps/step10_cgroups-0123", "debug/deps/my_container-4567", "debug/workshop"]
    {
        let name = program.rsplit('/').next().unwrap();
        assert_eq!(fake.run(program, &["run", "sh"]), [format!("{name} run sh")]);
    }
    assert!(!fake.path("rootfs").exists());
    let mut command = fake.command("debug/deps/step10_cgroups-0123", &[]);
    let output = command.env("ROOTFS", "rootfs").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), said.contains("absolute path")), (Some(125), true), "{said}");
    // A folder of that name somewhere above makes nothing a test.
    assert_eq!(fake.run("deps/debug/step02_uts", &["run", "sh"]), ["sudo", "step02_uts run sh"]);
}

#[test]
fn the_sudo_line_can_be_typed() {
    let fake = Fake::new(1000);
    let output =
        fake.command("debug/step05_chroot", &["run", "echo", "it's  me", ""]).output().unwrap();
    let line = String::from_utf8(output.stderr).unwrap();
    let typed = line.strip_prefix("+ ").unwrap_or_else(|| panic!("{line}"));
    let path = format!("{}:{}", fake.path("bin").display(), std::env::var("PATH").unwrap());
    let again = Command::new("sh").args(["-c", typed]).env("PATH", path).output().unwrap();
    let fetched = output.stdout.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    assert_eq!(String::from_utf8_lossy(&again.stdout), "sudo\nstep05_chroot run echo it's  me \n");
    assert_eq!(again.stdout, output.stdout[fetched..]);
    // No more than needed where there is no root filesystem.
    let output = fake.command("debug/step02_uts", &["run", "sh"]).output().unwrap();
    let line = String::from_utf8(output.stderr).unwrap();
    assert!(line.starts_with("+ sudo ") && !line.contains("env"), "{line}");
}

/// With CDPATH, `cd scripts` may lead elsewhere.
#[test]
fn the_repository_is_found_by_a_relative_name_whatever_cdpath() {
    let fake = Fake::new(0);
    fs::create_dir_all(fake.path("elsewhere/scripts")).unwrap();
    fake.program("step05_chroot", "echo started");
    let mut runner = Command::new("sh");
    runner.args(["scripts/run-step.sh", "target/step05_chroot", "run", "ls"]);
    runner.current_dir(fake.dir.path()).env_remove("ROOTFS").env("CDPATH", "elsewhere");
    let fetched = format!("fetch {}", fake.path("rootfs").display());
    assert_eq!(lines(runner), [fetched.as_str(), "started"]);
}

/// With cargo itself, from a sub-folder.
#[test]
fn a_zip_that_has_lost_the_execute_bits() {
    let fake = Fake::new(0);
    let config = fs::read_to_string(repository().join(".cargo/config.toml")).unwrap();
    let manifest = "[package]\nname = \"step05_chroot\"\nedition = \"2021\"\n[workspace]\n";
    let main = "fn main() { println!(\"      --rootfs <DIR>  started\") }";
    for (file, text) in
        [(".cargo/config.toml", &*config), ("Cargo.toml", manifest), ("src/main.rs", main)]
    {
        fs::create_dir_all(fake.path(file).parent().unwrap()).unwrap();
        fs::write(fake.path(file), text).unwrap();
    }
    let scripts = ["scripts/run-step.sh", "rootfs-fetch.sh"].map(|script| fake.path(script));
    for script in &scripts {
        fs::set_permissions(script, PermissionsExt::from_mode(0o644)).unwrap();
    }
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["run", "--quiet", "--", "run", "sh"]).current_dir(fake.path("src"));
    for name in ["ROOTFS", "CARGO_TARGET_DIR", "CARGO_BUILD_TARGET"] {
        cargo.env_remove(name);
    }
    let fetched = format!("fetch {}", fake.path("rootfs").display());
    assert_eq!(lines(cargo), [fetched.as_str(), "      --rootfs <DIR>  started"]);
    for script in scripts {
        assert_eq!(script.metadata().unwrap().mode() & 0o100, 0o100, "{}", script.display());
    }
}

#[test]
fn the_program_takes_the_runners_place() {
    // The same process: signals, the terminal and the exit status need nobody to pass them on.
    for uid in [0, 1000] {
        let fake = Fake::new(uid);
        let mut command = fake.command("debug/step02_uts", &["run", "sh"]);
        fake.program("debug/step02_uts", "echo $$; exit 77");
        let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let pid = child.id().to_string();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(77));
        assert_eq!(String::from_utf8_lossy(&output.stdout).lines().last().unwrap(), pid);
    }
}

/// In a mount namespace in which a folder lies over the root directory.
#[test]
fn a_lid_on_the_root_directory_is_worth_a_word() {
    let fake = Fake::new(0);
    let mut alone = Command::new("unshare");
    alone.args(["--user", "--map-root-user", "--mount"]);
    if !alone.arg("true").status().unwrap().success() {
        assert!(std::env::var_os("CI").is_none(), "user namespaces are switched off");
        println!("NOT TESTED: user namespaces are switched off here");
        return;
    }
    fake.program("debug/my-container", "echo started");
    for (before, words) in [("mount --bind . / && ", "cargo workshop doctor --fix\n"), ("", "")] {
        let inside = format!(
            "{before} exec ../scripts/run-step.sh \"$PWD\"/../target/debug/my-container run sh"
        );
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &inside]);
        command.current_dir(fake.path("bin")).env("ROOTFS", fake.dir.path());
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.ends_with(words) && said.lines().count() == words.lines().count(), "{said}");
        assert_eq!(output.stdout, b"started\n", "{said}");
    }
}

#[test]
fn bytes_and_empty_arguments_arrive() {
    let fake = Fake::new(1000);
    let mut command = fake.command("debug/step02_uts", &["run", "sh", "", "a b\nc"]);
    fake.program("debug/step02_uts", "printf '<%s>' \"$@\"");
    command.arg(std::ffi::OsStr::from_bytes(b"\xff*"));
    let output = command.output().unwrap();
    assert_eq!(output.stdout, b"sudo\n<run><sh><><a b\nc><\xff*>");
}

#[test]
fn without_sudo() {
    let fake = Fake::new(1000);
    let mut command = fake.command("debug/step02_uts", &["run", "sh"]);
    fs::remove_file(fake.path("bin/sudo")).unwrap();
    path_without(&fake.path("path"), &["sudo", "id", "doas"]);
    command.env("PATH", format!("{}:{}", fake.path("bin").display(), fake.path("path").display()));
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{said}");
    assert!(said.contains("step02_uts needs root, and there is no sudo here"), "{said}");
    assert_eq!(said.lines().count(), 1);
}

#[test]
fn without_a_root_filesystem() {
    let fake = Fake::new(0);
    let mut command = fake.command("debug/step05_chroot", &["run", "sh"]);
    script(&fake.path("rootfs-fetch.sh"), "echo why >&2; exit 1");
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{said}");
    assert_eq!(said, "why\nrun-step.sh: step05_chroot has no root filesystem to run in\n");
}

/// doas(1) has no `VAR=value` before the command; `env` serves both.
#[test]
fn doas_in_the_place_of_sudo() {
    let fake = Fake::new(1000);
    let mut command = fake.command("debug/step05_chroot", &["run", "sh"]);
    fs::rename(fake.path("bin/sudo"), fake.path("bin/doas")).unwrap();
    path_without(&fake.path("path"), &["sudo", "id", "doas"]);
    command.env("PATH", format!("{}:{}", fake.path("bin").display(), fake.path("path").display()));
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.starts_with("+ doas env 'ROOTFS="), "{said}");
    assert!(String::from_utf8_lossy(&output.stdout).ends_with("step05_chroot run sh\n"));
}

/// With a umask of 027 or 077 cargo's programs are closed to others; root of a user namespace is one of these.
#[test]
fn root_of_a_user_namespace_can_start_what_a_strict_umask_has_made() {
    for (mode, expected) in [(0o700, 0o755), (0o750, 0o755), (0o755, 0o755)] {
        let fake = Fake::new(1000);
        let mut command = fake.command("debug/step02_uts", &["run", "sh"]);
        let program = fake.path("target/debug/step02_uts");
        fs::set_permissions(&program, PermissionsExt::from_mode(mode)).unwrap();
        assert!(command.output().unwrap().status.success());
        assert_eq!(program.metadata().unwrap().mode() & 0o777, expected);
    }
}

/// It is tried, as an ordinary user, and what happens decides; not what stands in its source.
#[test]
fn my_container_gets_what_it_is_refused() {
    let cases = [
        ("", false),
        ("echo 'my-container: nothing is here yet' >&2; exit 1", false),
        ("echo 'EPERM: Operation not permitted' >&2; exit 125", true),
        ("echo 'called `Result::unwrap()` on an `Err` value: EPERM' >&2; exit 101", true),
        ("echo 'cannot create the cgroup: Permission denied (os error 13)' >&2; exit 125", true),
        ("echo 'No such file or directory' >&2; exit 127", false),
    ];
    for (does, sudo) in cases {
        let fake = Fake::new(1000);
        let mut command = fake.command("debug/my-container", &["run", "sh"]);
        fake.program(
            "debug/my-container",
            &format!("if [ \"$2\" = true ]; then {does}\nexit; fi; echo \"${{0##*/}} $*\""),
        );
        let output = command.output().unwrap();
        let lines = String::from_utf8(output.stdout).unwrap();
        assert_eq!(lines.contains("sudo\n"), sudo, "{does}");
        assert!(lines.ends_with("my-container run sh\n"), "{lines}");
        // Nothing of the try is seen but the line with sudo.
        assert_eq!(String::from_utf8_lossy(&output.stderr).lines().count(), usize::from(sudo));
        assert!(fake.path("rootfs").exists());
    }
}

/// What is not finished yet may start itself for ever.
#[test]
fn my_container_of_an_ordinary_user_has_a_limit_on_processes() {
    let cases =
        [(1000, "my-container", true), (1000, "step09_user", false), (0, "my-container", false)];
    for (uid, name, is_limited) in cases {
        let fake = Fake::new(uid);
        let mut command = fake.command(&format!("debug/{name}"), &["run", "sh"]);
        fake.program(&format!("debug/{name}"), "prlimit --nproc --output HARD --noheadings");
        script(&fake.path("bin/ps"), "printf '%s\\n' 1 2 3");
        command.env("WORKSHOP_SUDO", "no");
        let lines = lines(command);
        let limit = lines.last().map(|line| line.trim());
        assert_eq!(limit == Some("403"), is_limited, "{name} of {uid}: {lines:?}");
    }
}

#[test]
fn workshop_sudo_overrules() {
    for (program, value, sudo) in [("step10_cgroups", "no", false), ("step09_user", "yes", true)] {
        let fake = Fake::new(1000);
        let mut command = fake.command(&format!("debug/{program}"), &["run", "sh"]);
        command.env("WORKSHOP_SUDO", value);
        assert_eq!(lines(command).contains(&"sudo".to_owned()), sudo, "{program} {value}");
    }
    let fake = Fake::new(1000);
    let mut command = fake.command("debug/step09_user", &["run", "sh"]);
    assert_eq!(command.env("WORKSHOP_SUDO", "maybe").output().unwrap().status.code(), Some(125));
    // Where the caller is root there is nothing to overrule.
    let fake = Fake::new(0);
    let mut command = fake.command("debug/step10_cgroups", &["run", "sh"]);
    command.env("WORKSHOP_SUDO", "yes").process_group(0);
    assert!(!lines(command).contains(&"sudo".to_owned()));
}
