//! The host itself.

use std::ffi::OsStr;
use std::fs;
use std::fs::Permissions;
use std::io;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::stat::{Mode, umask};
use nix::sys::statvfs::statvfs;
use nix::unistd::mkfifo;
use steps::repository;

use crate::error::Attempt;
use crate::fence::{DISK, FILES, Fence, PROCESSES};
use crate::root::is_root;
use crate::session::until;
use crate::{Error, Output, Result, Session, output};

/// The root file system: `$ROOTFS`, or `rootfs/` in the repository, which
/// `rootfs-fetch.sh` makes if it is missing. However many test processes ask at once: it locks.
///
/// # Errors
/// If the script cannot make it; its last words are in the message.
pub fn rootfs() -> Result<PathBuf> {
    let rootfs = match std::env::var_os("ROOTFS") {
        Some(rootfs) => std::env::current_dir().unwrap_or_default().join(rootfs),
        None => repository().join("rootfs"),
    };
    if fs::symlink_metadata(rootfs.join("bin/sh")).is_err() {
        let mut script = Command::new(repository().join("rootfs-fetch.sh"));
        let made = output(script.current_dir(repository()).env("ROOTFS", &rootfs))?;
        if made.status != 0 {
            return Err(Error::Missing(made.stderr));
        }
    }
    fs::canonicalize(&rootfs).map_err(|err| Error::Missing(format!("{}: {err}", rootfs.display())))
}

/// The set-up of a [`Host`], for those who need another than [`Host::start`]'s.
pub struct Setup {
    program: PathBuf,
    name: String,
    rootfs: bool,
    processes: u32,
}

impl Setup {
    /// A host with `program` on it, in `/workshop`, under its own file name.
    pub fn new(program: &Path) -> Setup {
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Setup { program: program.to_path_buf(), name, rootfs: true, processes: PROCESSES }
    }

    /// The program has this name on the host.
    pub fn name(mut self, name: &str) -> Setup {
        self.name = name.to_string();
        self
    }

    /// No `/workshop/rootfs`: for what does not need one, and is to start faster.
    pub fn without_rootfs(mut self) -> Setup {
        self.rootfs = false;
        self
    }

    /// There may be this many processes on the host.
    pub fn processes(mut self, processes: u32) -> Setup {
        self.processes = processes;
        self
    }

    /// Makes the host. From then on this process has the umask 022.
    ///
    /// # Errors
    /// [`Error::Missing`] if this machine does not let this user make namespaces, or there is no root file system;
    /// [`Error::Failed`] if the namespaces are there and something in them cannot be set up.
    pub fn start(self) -> Result<Host> {
        // That of the one who runs the tests may be strict; on the host others are to read what is written.
        umask(Mode::from_bits_truncate(0o022));
        let rootfs = if self.rootfs { Some(rootfs()?) } else { None };
        let place = Place::new().attempt("make a folder for the classroom host")?;
        let fence = Fence::new(self.processes);
        fs::write(place.0.join("fstab"), fstab(&place.0, &fence)).attempt("write the fstab")?;
        fs::write(place.0.join("init"), INIT).attempt("write the host's init")?;
        mkfifo(&place.0.join("fifo"), Mode::S_IRWXU).attempt("make a FIFO")?;
        let mut keeper = Command::new("setsid");
        keeper
            .args(["sh", "-c", KEEPER, "sh"])
            .arg(&place.0)
            .arg(fence.folders().len().to_string());
        keeper.args(fence.folders()).args(fence.outside()).arg("unshare");
        if !is_root() {
            keeper.args(["--user", "--map-root-user", "--cgroup"]);
        }
        keeper.args("--mount --uts --ipc --net --pid --fork --kill-child --".split(' '));
        keeper.args(fence.inside()).args(["sh", "init"]).current_dir(&place.0);
        environment(&mut keeper);
        keeper.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut owner = keeper.spawn().attempt("run setsid")?;
        let life = owner.stdin.take();
        let (stdout, stderr) = (owner.stdout.take(), owner.stderr.take());
        let mut host = Host { owner, pid: 0, name: self.name, life, fence };
        // Either it says a line, or it says why not, and ends.
        let mut lines = stdout
            .into_iter()
            .flat_map(|stdout| BufReader::new(stdout).lines().map_while(io::Result::ok));
        let why = || {
            let mut why = String::new();
            _ = stderr.into_iter().map(|mut stderr| stderr.read_to_string(&mut why)).count();
            why.trim_end().to_string()
        };
        match lines.next().and_then(|line| line.parse().ok()) {
            Some(pid) => host.pid = pid,
            None => {
                let why = format!("this machine does not let us make a classroom host: {}", why());
                return Err(Error::Missing(why));
            }
        }
        let root = place.0.join("root");
        host.fill(&host.path(&root.to_string_lossy()), &self.program, rootfs.as_deref())?;
        let (size, files) = size(&host.path(&root.to_string_lossy()))?;
        let go = format!("{size} {files}\n");
        let go = host.life.as_mut().map(|stdin| stdin.write_all(go.as_bytes()));
        if !matches!(go, Some(Ok(()))) || lines.next().as_deref() != Some("ready") {
            return Err(Error::Failed(format!("cannot set up the classroom host: {}", why())));
        }
        Ok(host)
    }
}

/// What makes the host, and takes away what of it is not gone with its processes: its cgroups, and its folder if its
/// owner was killed early. It is in a session of its own, and outlives its owner.
///
/// - What has entered the host's namespaces is not gone before what it has started there: hence the second and third
///   try.
const KEEPER: &str = "\
place=$1 count=$2 folders=
shift 2
while [ $count -gt 0 ]; do
    folders=\"$folders $1\" count=$((count - 1))
    shift
done
\"$@\"
status=$?
cd /
are_there() {
    for folder in $folders; do [ ! -d $folder ] || return 0; done
    return 1
}
tries=0
while are_there && [ $tries -lt 1200 ]; do
    [ $tries = 0 ] || sleep 0.05
    find $folders -depth -type d -exec rmdir {} + 2>/dev/null
    tries=$((tries + 1))
done
[ ! -d \"$place\" ] || rm -rf \"$place\"
exit $status
";

/// What runs as PID 1 of the host: `sh init`, in a folder with the fstab and a place for the new root.
///
/// - PIDs 2 to 9 are taken, as kernel threads take them elsewhere: without them the `ps` of procps
///   fails in a new PID namespace that still sees this /proc, as it looks for /proc/GETPID there.
///   They read a FIFO to which nobody writes.
/// - /proc is still the machine's at first, and so tells the number that the machine knows us by.
/// - The new /proc has to be mounted before the old root goes (in a user namespace: EPERM later).
/// - With its source named, mount(8) does not pass on the options that the mount has: their uid= is not mapped here.
/// - `read`: our owner fills the new root meanwhile, and says what it may grow to.
/// - The host is to have *shared* mounts, as systemd makes them, but only now: pivot_root refuses them.
/// - No kernel has all of the interface types; the first that there is becomes eth0.
/// - The first command on the host is 4711: everybody sees the same numbers.
/// - Orphans come to PID 1, and `wait` buries them. It ends, and all of the host with it, when the
///   other end of our stdin is closed: when our owner lets go of it, or is gone.
const INIT: &str = "\
set -eu
exec 3<&0 4<>fifo
for stand_in in 2 3 4 5 6 7 8 9; do read -r never <&4 & done
mount --all --fstab fstab
read -r pid rest </proc/self/stat
echo \"$pid\"
read -r size files
cd root
pivot_root . tmp
umount -l /tmp
mount -o remount,size=$size,nr_inodes=$files host /
mount --make-rshared /
hostname host
ip -force -batch - >/dev/null 2>&1 << END || :
link set lo up
link add eth0 type dummy
link add eth0 type bridge
tuntap add eth0 mode tap
END
ipcmk -Q >/dev/null
cd /workshop
read -r end <&3 &
[ ! -e /proc/sys/kernel/ns_last_pid ] || echo 4710 >/proc/sys/kernel/ns_last_pid
echo ready
exec </dev/null >/dev/null 2>&1
wait $!
";

/// A disposable host, on which commands can be run. All of it is gone when this is dropped, and
/// also when the process that holds it is killed.
///
/// It has a hostname (`host`), processes, mounts (shared ones), a message queue and a network (`lo`,
/// `eth0`) of its own. Its root is a tmpfs with the machine's programs in it, /workshop is the
/// working directory, with `rootfs/` (a copy) and the program under test.
///
/// Where the tests are not run as root, a user namespace around it makes this user its root.
pub struct Host {
    owner: Child,
    pid: u32,
    name: String,
    life: Option<ChildStdin>,
    fence: Fence,
}

impl Host {
    /// A host with `program` and a root file system on it; see [`Setup`] for others.
    pub fn start(program: &Path) -> Result<Host> {
        Setup::new(program).start()
    }

    /// Puts links such as /bin, the program and a copy of the root file system into the new root.
    fn fill(&self, root: &Path, program: &Path, rootfs: Option<&Path>) -> Result<()> {
        let workshop = root.join("workshop");
        let made = || -> io::Result<()> {
            for link in borrowed(true) {
                symlink(fs::read_link(link)?, root.join(&link[1..]))?;
            }
            if is_root() {
                let mut cp = Command::new("cp");
                cp.args(["-a", "-t"]).arg(root.join("dev")).arg("--");
                let devices = DEVICES.split(' ').map(|name| Path::new("/dev").join(name));
                output(cp.args(devices.filter(|file| file.exists()))).map_err(io::Error::other)?;
            }
            for folder in ["root", "tmp", "workshop"] {
                fs::create_dir(root.join(folder))?;
            }
            fs::set_permissions(root.join("tmp"), Permissions::from_mode(0o1777))
        };
        made().attempt("fill the classroom host")?;
        // cp(1), not fs::copy: whatever another test starts meanwhile would inherit the open file, and a program that
        // is open for writing cannot be run (ETXTBSY).
        // All of it becomes the host's root's: a learner's root file system is not root's, and sudo may have started
        // this.
        let mut cp = Command::new("cp");
        cp.args(["-a", "--no-preserve=ownership", "-t"])
            .arg(&workshop)
            .arg("--")
            .arg(program)
            .args(rootfs)
            .env("LC_ALL", "C");
        let done = output(&mut cp)?;
        // A container of root's leaves files that an ordinary user cannot read, its shell's history for one.
        let unreadable = |line: &str| line.ends_with(": Permission denied");
        if done.status != 0 && !done.stderr.lines().all(unreadable) {
            return Err(Error::Failed(format!("cannot fill the classroom host: {}", done.stderr)));
        }
        for (from, to) in [(Some(program), &*self.name), (rootfs, "rootfs")] {
            if let Some(name) = from.and_then(Path::file_name) {
                fs::rename(workshop.join(name), workshop.join(to))
                    .attempt("fill the classroom host")?;
            }
        }
        // Also what cargo has built with a strict umask.
        fs::set_permissions(workshop.join(&self.name), Permissions::from_mode(0o755))
            .attempt("fill the classroom host")?;
        Ok(())
    }

    /// The number that the machine knows the host's PID 1 by.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it is still there.
    pub fn is_alive(&self) -> bool {
        self.path("/").exists()
    }

    /// What keeps it from harming the machine.
    pub fn fence(&self) -> &Fence {
        &self.fence
    }

    /// The name of the program in /workshop.
    pub fn program(&self) -> &str {
        &self.name
    }

    /// A command on the host, as its root: for [`output`], [`Session::start`], …
    ///
    /// Its environment is small and fixed, its working directory /workshop.
    pub fn command<S: AsRef<OsStr>>(&self, argv: impl IntoIterator<Item = S>) -> Command {
        self.enter(&[], argv)
    }

    /// A command on the host as an ordinary user: uid 1000, gid 1000, no groups, no capabilities.
    ///
    /// Where the tests are not run as root this takes another user namespace, in which 1000 is what
    /// the host's root is outside. So only other such commands see the number 1000: [`command`]s see 0.
    ///
    /// [`command`]: Host::command
    pub fn learner<S: AsRef<OsStr>>(&self, argv: impl IntoIterator<Item = S>) -> Command {
        if is_root() {
            let become_user = ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", "--"];
            self.enter(&become_user, argv)
        } else {
            self.enter(&["unshare", "--user", "--map-user=1000", "--map-group=1000", "--"], argv)
        }
    }

    /// A command on the host with a controlling terminal: for [`Session::on_terminal`].
    pub fn terminal<S: AsRef<OsStr>>(&self, argv: impl IntoIterator<Item = S>) -> Command {
        self.enter(&["setsid", "--ctty", "--wait"], argv)
    }

    fn enter<S: AsRef<OsStr>>(&self, by: &[&str], argv: impl IntoIterator<Item = S>) -> Command {
        let mut nsenter = self.fence.command();
        nsenter.arg("nsenter").arg(format!("--target={}", self.pid));
        if !is_root() {
            nsenter.args(["--user", "--preserve-credentials"]);
        }
        nsenter.args("--cgroup --mount --uts --ipc --net --pid --root --wd --".split(' '));
        nsenter.args(by).args(argv);
        environment(&mut nsenter);
        nsenter
    }

    /// `host$ script`: what a person types in a second terminal, as the host's root.
    ///
    /// Plain words are run as they are, without a shell (shells differ in whether they fork for
    /// their last command, and `ps` shows it); anything else by `sh -c`.
    #[track_caller]
    pub fn run(&self, script: &str) -> Result<Output> {
        let plain = |c: char| c.is_ascii_alphanumeric() || " /._-,:=+@".contains(c);
        let assigns = script.split(' ').next().is_some_and(|word| word.contains('='));
        if script.chars().all(plain) && !assigns {
            return output(&mut self.command(script.split_whitespace()));
        }
        output(&mut self.command(["sh", "-c", script]))
    }

    /// A shell on the host that reads its commands from a pipe: see [`Session::ask`].
    pub fn shell(&self) -> Result<Session> {
        Session::start(&mut self.command(["sh"]))
    }

    /// A file or folder of the host, for the test itself to read or write without starting a
    /// process. (An absolute link in it leads to the machine, and /proc/self to nowhere.)
    pub fn path(&self, inside: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{inside}", self.pid))
    }

    /// Reads a file of the host; see [`path`](Host::path).
    pub fn read(&self, inside: &str) -> Result<String> {
        let bytes = fs::read(self.path(inside)).attempt(&format!("read {inside} of the host"))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The host's processes as its /proc has them: number and arguments, in the order of numbers.
    /// Without init's [`stand_in`](crate::normal::stand_in)s; none if the host is gone.
    pub fn processes(&self) -> Vec<(u32, String)> {
        let mut list = Vec::new();
        for entry in fs::read_dir(self.path("/proc")).into_iter().flatten().flatten() {
            let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
            let Ok(args) = fs::read(entry.path().join("cmdline")) else { continue };
            let args = String::from_utf8_lossy(&args).trim_end_matches('\0').replace('\0', " ");
            if !crate::normal::stand_in(pid, &args) {
                list.push((pid, args));
            }
        }
        list.sort();
        list
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // PID 1 reads the end of its input and ends. The kernel kills all the others, waits for
        // them, and only then lets unshare's wait return. The keeper removes the cgroups, and ends.
        self.life = None;
        // That never comes where PID 1 of the container in which all this runs does not bury orphans: what has entered
        // the host, and was killed there, is one.
        let gone = || self.owner.try_wait().is_ok_and(|status| status.is_some());
        if until("the classroom host has ended", gone).is_err() {
            eprintln!(
                "The classroom host does not end. Does PID 1 here bury orphans? (Docker: --init)"
            );
        }
    }
}

/// Programs must find what they need on the host, and nothing of whoever runs the tests.
fn environment(command: &mut Command) {
    command.env_clear();
    command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    command.envs([("HOME", "/root"), ("TERM", "linux"), ("LANG", "C.UTF-8"), ("USER", "root")]);
}

/// What there is in the /dev of a host of root's.
const DEVICES: &str = "fd full fuse net null ptmx random stderr stdin stdout tty urandom zero";

/// An empty folder, in which the root of a host is put together. It is gone as soon as that stands.
struct Place(PathBuf);

impl Place {
    fn new() -> io::Result<Place> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("classroom-{}-{count}", std::process::id());
        let place = Place(std::env::temp_dir().join(name));
        fs::create_dir(&place.0)?;
        fs::create_dir(place.0.join("root"))?;
        Ok(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

/// The top folders of the machine that the host borrows: as they are, or as links.
fn borrowed(links: bool) -> impl Iterator<Item = &'static str> {
    let is =
        move |dir: &&str| fs::symlink_metadata(dir).is_ok_and(|data| data.is_symlink() == links);
    crate::normal::BORROWED.iter().copied().filter(is)
}

/// One call of mount(8) makes all of the new root's mounts. What the machine lets everybody write to has to be the
/// host's own: it has a size.
///
/// And /dev, if we are root: whoever forgets MS_BIND when he makes a device read-only (MS_REMOUNT) makes the whole file
/// system read-only that it is on, and on the machine that is all of /dev. (In a user namespace the kernel forbids it.)
fn fstab(place: &Path, fence: &Fence) -> String {
    let escaped = |path: &Path| path.to_string_lossy().replace('\\', "\\134").replace(' ', "\\040");
    let root = escaped(&place.join("root"));
    let mut fstab =
        format!("host {root} tmpfs mode=755 0 0\nproc {root}/proc proc X-mount.mkdir 0 0\n");
    for dir in borrowed(false) {
        fstab += &match dir {
            "/dev" if is_root() => {
                format!("dev {root}/dev tmpfs X-mount.mkdir,mode=755,size=1m,nr_inodes=1000 0 0\n")
            }
            _ => format!("{dir} {root}{dir} none rbind,X-mount.mkdir 0 0\n"),
        };
    }
    if is_root() {
        fstab += &format!("/dev/pts {root}/dev/pts none bind,X-mount.mkdir 0 0\n");
    }
    if Path::new("/dev/shm").is_dir() {
        fstab += &format!(
            "shm {root}/dev/shm tmpfs X-mount.mkdir,mode=1777,size=16m,nr_inodes=1000 0 0\n"
        );
    }
    for (from, to) in fence.mounts() {
        fstab += &format!("{} {root}{} none bind 0 0\n", escaped(&from), escaped(&to));
    }
    fstab
}

/// What the host's files may grow to: bytes, and how many of them.
fn size(root: &Path) -> Result<(u64, u64)> {
    let now = statvfs(root).attempt("measure the classroom host's files")?;
    let bytes = (now.blocks() - now.blocks_free()) * now.fragment_size();
    Ok((bytes + DISK, now.files() - now.files_free() + FILES))
}
