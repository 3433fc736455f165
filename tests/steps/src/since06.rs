//! What holds from step 06 on: a /proc of its own, and no trace of it afterwards.

use std::fs;
use std::os::unix::fs::symlink;

use classroom::Result;

use crate::*;

tests! { TESTS:
    proc_is_of_its_own_pid_namespace, proc_is_unmounted_under_a_background_process,
    a_rootfs_without_proc_is_an_error,
}

/// The scene `ps` shows what a person sees; this is what every tool sees.
fn proc_is_of_its_own_pid_namespace(host: &Lab) -> Result<()> {
    let ran =
        run(host, &["sh", "-c", "cat /proc/1/cmdline | tr '\\0' ' '; readlink /proc/self/root"])?;
    assert!(ran.stdout.starts_with("/proc/self/exe child "), "{ran:?}");
    assert!(ran.stdout.ends_with(" /\n"), "{ran:?}");
    let ran = run(host, &["sh", "-c", "echo /proc/[0-9]*"])?;
    assert_eq!(ran.stdout, "/proc/1 /proc/2\n");
    Ok(())
}

/// A process that stays behind, and has a file of /proc open, does not keep it mounted.
fn proc_is_unmounted_under_a_background_process(host: &Lab) -> Result<()> {
    let before = traces(host)?;
    let ran = run(host, &["sh", "-c", "cd /proc/self; sleep 1000 & exit 3"])?;
    assert_eq!(ran.status, 3);
    assert_eq!(before, traces(host)?);
    Ok(())
}

fn a_rootfs_without_proc_is_an_error(host: &Lab) -> Result<()> {
    let before = traces(host)?;
    fs::remove_dir(host.path("/workshop/rootfs/proc")).unwrap();
    let check = |what: &str| -> Result<()> {
        let ran = run(host, &["sh", "-c", "echo started"])?;
        let errors = host.errors(&ran);
        assert_eq!((ran.status, ran.stdout.as_str()), (125, ""), "{what}: {ran:?}");
        assert_eq!(errors.lines().count(), 1, "{what}: {errors}");
        assert!(errors.contains("/proc"), "{what}: {errors}");
        assert_eq!(before, traces(host)?, "{what}");
        Ok(())
    };
    check("no /proc")?;
    fs::create_dir(host.path("/workshop/rootfs/elsewhere")).unwrap();
    symlink("elsewhere", host.path("/workshop/rootfs/proc")).unwrap();
    check("a symbolic link")?;
    fs::remove_file(host.path("/workshop/rootfs/proc")).unwrap();
    fs::write(host.path("/workshop/rootfs/proc"), "").unwrap();
    check("a file")
}
