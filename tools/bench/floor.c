/* The floor: what a container costs if nothing is in the way of the kernel. No library, no error
 * messages, no signals, no options; not an example. It is in C because it needs clone(2), which
 * makes the namespaces and the process in one go, and which Rust offers as `unsafe` only.
 *
 *   floor fork ROOTFS COMMAND [ARGS]...        fork, chroot, exec
 *   floor namespaces ROOTFS COMMAND [ARGS]...  the same with seven new namespaces
 *   floor container ROOTFS COMMAND [ARGS]...   and with the user map and the mounts of step 09
 *   floor reexec ROOTFS COMMAND [ARGS]...      the same in the shape of step 09: it runs itself again, as
 *                                              `inside`, which is PID 1 and starts the command
 *
 * Exit status: the command's; 125 if a system call failed, whose line number is then on stderr.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void check(long result, int line)
{
    if (result != -1) return;
    fprintf(stderr, "floor: floor.c:%d: %m\n", line);
    _exit(125);
}
#define MUST(call) check((call), __LINE__)

static void put(const char *file, const char *text)
{
    int fd = open(file, O_WRONLY);
    MUST(fd);
    MUST(write(fd, text, strlen(text)));
    close(fd);
}

static void map_user(unsigned uid, unsigned gid)
{
    char map[32];
    put("/proc/self/setgroups", "deny");
    snprintf(map, sizeof map, "0 %u 1", uid);
    put("/proc/self/uid_map", map);
    snprintf(map, sizeof map, "0 %u 1", gid);
    put("/proc/self/gid_map", map);
}

static void mounts(const char *rootfs)
{
    static const char *const devices[] = {"full", "null", "random", "tty", "urandom", "zero"};
    const unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    const unsigned long readonly = MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NOEXEC;
    MUST(sethostname("container", 9));
    MUST(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
    MUST(mount(rootfs, "/", NULL, MS_REC | MS_BIND, NULL));
    MUST(chdir("/.."));
    MUST(mount("proc", "proc", "proc", flags, NULL));
    MUST(mount("tmpfs", "dev", "tmpfs", flags, "mode=755"));
    for (size_t i = 0; i < sizeof devices / sizeof *devices; i++) {
        char host[32];
        snprintf(host, sizeof host, "/dev/%s", devices[i]);
        close(open(host + 1, O_CREAT | O_WRONLY, 0666));
        MUST(mount(host, host + 1, NULL, MS_BIND, NULL));
        MUST(mount(host, host + 1, NULL, MS_BIND | readonly, NULL));
    }
    MUST(syscall(SYS_pivot_root, ".", "."));
    MUST(umount2(".", MNT_DETACH));
}

/* Like fork(2), which is this call without namespaces. */
static long clone_process(int flags)
{
    const long pid = syscall(SYS_clone, flags | SIGCHLD, NULL, NULL, NULL, NULL);
    MUST(pid);
    return pid;
}

static int wait_for(long pid)
{
    int status;
    MUST(waitpid(pid, &status, 0));
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int argc, char **argv)
{
    if (argc < 4) return 2;
    const char *const mode = argv[1];
    const int inside = CLONE_NEWNS | CLONE_NEWCGROUP;
    const int outside = CLONE_NEWUSER | CLONE_NEWUTS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWNET;
    const unsigned uid = geteuid(), gid = getegid();
    int flags = 0;
    if (!strcmp(mode, "namespaces") || !strcmp(mode, "container")) {
        flags = outside | inside;
    } else if (!strcmp(mode, "reexec")) {
        MUST(unshare(outside));
        map_user(uid, gid);
    } else if (!strcmp(mode, "inside")) {
        MUST(unshare(inside));
        mounts(argv[2]);
    }
    const long pid = clone_process(flags);
    if (pid != 0) return wait_for(pid);
    if (!strcmp(mode, "reexec")) {
        argv[1] = "inside";
        MUST(execv("/proc/self/exe", argv));
    }
    if (!strcmp(mode, "container")) {
        map_user(uid, gid);
        mounts(argv[2]);
    } else if (strcmp(mode, "inside")) {
        MUST(chroot(argv[2]));
        MUST(chdir("/"));
    }
    MUST(execvp(argv[3], argv + 3));
}
