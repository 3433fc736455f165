//! Containers that are not the workshop's, many of them, and what may not be seen.

use std::time::Instant;

use classroom::trial::{Trial, is_asked};
use classroom::{Error, Result, Session, output, trials, until};

use crate::lab::{Lab, ask, needs_root, printed, snapshot};

pub fn all() -> Vec<Trial> {
    trials![
        bubblewrap_and_unshare_beside_step_10,
        a_container_in_a_container,
        somebody_who_has_joined,
        a_hundred_containers_of_others,
        five_hundred_processes,
        processes_that_vanish,
        what_an_ordinary_user_may_not_see,
        what_an_ordinary_user_sees_of_a_container_of_their_own,
        a_proc_that_hides,
        a_hostile_name,
        a_look_from_inside,
        without_a_proc,
        without_a_cgroup_file_system,
    ]
}

/// What is the host's is the host's also there: bubblewrap here has the host's root directory, `unshare -r` nothing of
/// its own but the users.
fn bubblewrap_and_unshare_beside_step_10() -> Result<()> {
    let lab = Lab::new(10)?;
    if lab.run("bwrap --version")?.status != 0 {
        return Err(Error::Missing("there is no bwrap: apt-get install bubblewrap".into()));
    }
    let _step = lab.step("")?;
    let bubblewrap = "--ro-bind / / --proc /proc --unshare-pid --unshare-uts --hostname bubble sh";
    let _bubblewrap = lab.terminal(&format!("bwrap {bubblewrap}"))?;
    let _unshare = lab.terminal("unshare -r sh")?;
    let picture = lab.look(100)?;
    // It has the host's mounts as well, and how many these are depends on the machine.
    let (head, tail) = picture.split_once(" \"bubble\" ").expect("no hostname of bubblewrap's");
    let (line, rest) = tail.split_once('\n').expect("no end of the line");
    let values: Vec<&str> = line.split_whitespace().filter(|word| *word != "host's").collect();
    let [_processes, mounts, "own"] = values[..] else { panic!("processes and mounts: {line:?}") };
    let line = line.replacen(&format!(" {mounts} own"), " 32 own", 1);
    snapshot("beside", &lab.normal(&format!("{head} bubble {line}\n{rest}")));
    Ok(())
}

/// What it has from the outer one is the outer one's, and what is new is its own: also the PID that it has in there.
fn a_container_in_a_container() -> Result<()> {
    let lab = Lab::new(10)?;
    let mut outer = lab.step("")?;
    outer.send("unshare -p -f -m -u sh\n")?;
    ask(&mut outer)?;
    snapshot("inside", &lab.normal(&lab.look(100)?));
    Ok(())
}

/// Who has joined a container with setns(2) is in it, wherever it was started.
fn somebody_who_has_joined() -> Result<()> {
    let lab = Lab::new(4)?;
    let _step = lab.step("")?;
    let child = lab.pid(|args| args.contains(" child "))?;
    let _guest = lab.terminal(&format!("nsenter --uts --pid --target {child} sh"))?;
    snapshot("joined", &lab.normal(&lab.look(100)?));
    Ok(())
}

/// The learner's own comes first; ten are shown, the rest is counted, and with --all nothing is.
fn a_hundred_containers_of_others() -> Result<()> {
    let lab = Lab::new(2)?;
    let one = "unshare --uts --pid --fork sleep 1000 &";
    let script = format!("for i in $(seq 100); do {one} done; echo started; wait");
    let mut crowd = Session::start(&mut lab.command(["sh", "-c", &script]))?;
    crowd.wait_for("started")?;
    until("all of them are there", || lab.count("sleep 1000") == 100)?;
    let _step = lab.step("")?;
    let picture = lab.look(100)?;
    let first = picture.lines().nth(2).unwrap_or_default();
    assert!(
        first.contains(" bash --norc "),
        "it is not the learner's that comes first:\n{picture}"
    );
    assert_eq!(picture.matches("unshare --uts").count(), 9, "{picture}");
    assert!(picture.contains(" 91 more containers (--all shows them): unshare ×91\n"), "{picture}");
    let picture = printed(&mut lab.command(["env", "COLUMNS=100", "./look", "--once", "--all"]))?;
    assert_eq!(picture.matches("unshare --uts").count(), 100, "{picture}");
    assert!(picture.contains(" CW "), "the hundred and first is called CW:\n{picture}");
    // On a terminal there is only so much room.
    let mut terminal = lab.terminal("true")?;
    terminal.send("NO_COLOR=1 ./look\n")?;
    for shown in ["step02_uts run sh", "unshare ×", "q: quit"] {
        terminal.wait_for(shown)?;
    }
    terminal.send("q")
}

/// Neither a panic nor a lie: it counts them all.
fn five_hundred_processes() -> Result<()> {
    let lab = Lab::new(2)?;
    let before = lab.processes().len();
    let script = "for i in $(seq 500); do sleep 1000 & done; echo started; wait";
    let mut crowd = Session::start(&mut lab.command(["sh", "-c", script]))?;
    crowd.wait_for("started")?;
    until("all of them are there", || lab.processes().len() == before + 501)?;
    let _step = lab.step("")?;
    let start = Instant::now();
    let picture = lab.look(100)?;
    if is_asked("--nocapture") {
        println!("500 processes, from the start of look to its end: {:?}", start.elapsed());
    }
    // Those that `processes` leaves out: eight that stand in for kernel threads, one that waits for the end of the
    // host; and look itself.
    let all = lab.processes().len() + 8 + 1 + 1;
    assert!(picture.contains(&format!(" host  \"host\"         {all} ")), "{all}\n{picture}");
    assert!(picture.contains("step02_uts run sh"), "{picture}");
    Ok(())
}

/// Processes that are gone before they have been read to the end: a hundred looks at a host where nothing lasts.
fn processes_that_vanish() -> Result<()> {
    let lab = Lab::new(2)?;
    let containers = "while :; do unshare --uts --pid --fork true; done";
    let script = format!("echo started; {containers} & while :; do (exit) & wait; done");
    let mut churn = Session::start(&mut lab.command(["sh", "-c", &script]))?;
    churn.wait_for("started")?;
    let _step = lab.step("")?;
    for _ in 0..100 {
        let picture = lab.look(100)?;
        // Whatever comes and goes beside it: this one does not change.
        let rows: Vec<&str> =
            picture.lines().filter(|line| line.contains("step02_uts run")).collect();
        let cells = "[A]  ·    ·    ·   ·   ·   ·     ·";
        assert!(rows.len() == 1 && rows[0].contains(cells), "{picture}");
    }
    Ok(())
}

/// An ordinary user sees that root's container has namespaces of its own as far as files tell that everybody may read.
/// What they do not tell is not called the host's.
fn what_an_ordinary_user_may_not_see() -> Result<()> {
    let lab = Lab::new(10)?;
    let _step = lab.step("")?;
    snapshot("ordinary_user", &lab.normal(&lab.learner_looks(100)?));
    Ok(())
}

/// Their own container they see as root does, and the hostname in it.
fn what_an_ordinary_user_sees_of_a_container_of_their_own() -> Result<()> {
    needs_root()?;
    let lab = Lab::new(9)?;
    let _step = lab.learners_terminal(&format!("./{} run sh", lab.program()))?;
    snapshot("own_container", &lab.normal(&lab.learner_looks(100)?));
    Ok(())
}

/// Where /proc hides other people's processes, it says so, and does not say that there is nothing.
fn a_proc_that_hides() -> Result<()> {
    needs_root()?;
    let lab = Lab::new(4)?;
    let _step = lab.step("")?;
    for hidepid in ["noaccess", "invisible", "ptraceable"] {
        let remount = format!("mount -o remount,hidepid={hidepid} /proc");
        assert_eq!(lab.run(&remount)?.stderr, "");
        snapshot("hidden", &lab.normal(&lab.learner_looks(80)?));
        assert!(lab.look(80)?.contains("step04_pid run sh"), "root sees all the same");
    }
    Ok(())
}

/// A name may hold anything, also what moves a cursor.
fn a_hostile_name() -> Result<()> {
    let lab = Lab::new(2)?;
    let mut container = lab.step("")?;
    container.send("hostname \"$(printf 'a\\033[2Jb')\"\n")?;
    container.send("exec sh -c 'read x; exit' \"$(printf '\\033[31m\\n')\"\n")?;
    until("it is there", || lab.pid(|args| args.contains("\x1b[31m")).is_ok())?;
    let picture = lab.look(100)?;
    assert!(!picture.contains('\x1b'), "{picture:?}");
    assert!(picture.contains("read x; exit"), "{picture:?}");
    Ok(())
}

/// In a container that sees the host's /proc, "the host's" is what look itself has: that is said.
fn a_look_from_inside() -> Result<()> {
    let lab = Lab::new(4)?;
    let look = ["./step04_pid", "run", "env", "COLUMNS=80", "./look", "--once"];
    let looked = output(&mut lab.command(look))?;
    assert_eq!(looked.status, 0, "{}", looked.stderr);
    let said = " Here, the host's means: what look itself is in. PID 1 is elsewhere:\n uts pid\n";
    assert!(looked.stdout.ends_with(said), "{}", looked.stdout);
    Ok(())
}

/// An error is one line, with what to do.
fn without_a_proc() -> Result<()> {
    let lab = Lab::new(1)?;
    let looked = lab.run("unshare --mount sh -c 'umount -l /proc; exec ./look --once'")?;
    assert_eq!((looked.status, &*looked.stdout), (1, ""));
    let cure = "(is /proc mounted? mount -t proc proc /proc)";
    let why = "No such file or directory (os error 2)";
    assert_eq!(looked.stderr, format!("look: cannot read /proc/self {cure}: {why}\n"));
    Ok(())
}

/// Where no cgroup file system is mounted, a container is not said to have no limits.
fn without_a_cgroup_file_system() -> Result<()> {
    let lab = Lab::new(10)?;
    let _step = lab.step("")?;
    let look = "umount -l /sys/fs/cgroup; COLUMNS=80 exec ./look --once";
    let looked = lab.run(&format!("unshare --mount sh -c '{look}'"))?;
    assert_eq!(looked.status, 0, "{}", looked.stderr);
    let said = "cgroup ? there is no way from here to its limits";
    assert!(looked.stdout.contains(said), "{}", looked.stdout);
    Ok(())
}
