/* A slow shared disk: every call that looks a name up, below one folder, waits and is written down.

   gcc -shared -fPIC -O1 -o slow_disk.so slow_disk.c -ldl
   SLOW_DISK=/folder SLOW_DISK_US=2000 SLOW_DISK_LOG=/file LD_PRELOAD=./slow_disk.so python …

   A line of the log: process, thread, call, path. Calls on open files are not counted: a network
   disk answers them from what it knows. A listing counts once, whatever it lists. */

#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const char *below;
static size_t length;
static long wait_us;
static int log_file = -1;

__attribute__((constructor)) static void begin(void) {
    const char *us = getenv("SLOW_DISK_US"), *log = getenv("SLOW_DISK_LOG");
    below = getenv("SLOW_DISK");
    length = below ? strlen(below) : 0;
    wait_us = us ? atol(us) : 0;
    if (log)
        log_file = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
}

static void note(const char *call, int folder, const char *path) {
    char whole[2 * PATH_MAX], link[64], line[3 * PATH_MAX];
    if (!length || !path)
        return;
    if (path[0] != '/') {
        ssize_t n = 0;
        if (folder == AT_FDCWD) {
            if (!getcwd(whole, PATH_MAX))
                return;
            n = (ssize_t)strlen(whole);
        } else {
            snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
            if ((n = syscall(SYS_readlink, link, whole, PATH_MAX - 1)) < 0)
                return;
        }
        snprintf(whole + n, sizeof whole - (size_t)n, "/%s", path);
        path = whole;
    }
    if (strncmp(path, below, length) || (path[length] && path[length] != '/'))
        return;
    if (log_file >= 0) {
        int n = snprintf(line, sizeof line, "%d\t%ld\t%s\t%s\n", getpid(), syscall(SYS_gettid), call, path);
        if (n > 0)
            (void)!write(log_file, line, (size_t)n);
    }
    if (wait_us) {
        struct timespec t = {wait_us / 1000000, wait_us % 1000000 * 1000};
        nanosleep(&t, NULL);
    }
}

#define WRAP(kind, name, taken, given, folder, path)                                               \
    kind name taken {                                                                              \
        static kind(*real) taken;                                                                  \
        int before = errno;                                                                        \
        if (!real)                                                                                 \
            real = (kind(*) taken)dlsym(RTLD_NEXT, #name);                                         \
        note(#name, folder, path);                                                                 \
        errno = before;                                                                            \
        return real given;                                                                         \
    }

#define OPEN(name, taken, given, folder)                                                           \
    int name taken {                                                                               \
        static int(*real) taken;                                                                   \
        mode_t mode = 0;                                                                           \
        va_list rest;                                                                              \
        va_start(rest, flags);                                                                     \
        if (flags & (O_CREAT | O_TMPFILE))                                                         \
            mode = va_arg(rest, mode_t);                                                           \
        va_end(rest);                                                                              \
        if (!real)                                                                                 \
            real = (int(*) taken)dlsym(RTLD_NEXT, #name);                                          \
        note(#name, folder, path);                                                                 \
        return real given;                                                                         \
    }

OPEN(open, (const char *path, int flags, ...), (path, flags, mode), AT_FDCWD)
OPEN(open64, (const char *path, int flags, ...), (path, flags, mode), AT_FDCWD)
OPEN(openat, (int at, const char *path, int flags, ...), (at, path, flags, mode), at)
OPEN(openat64, (int at, const char *path, int flags, ...), (at, path, flags, mode), at)

WRAP(FILE *, fopen, (const char *path, const char *how), (path, how), AT_FDCWD, path)
WRAP(FILE *, fopen64, (const char *path, const char *how), (path, how), AT_FDCWD, path)
WRAP(DIR *, opendir, (const char *path), (path), AT_FDCWD, path)
WRAP(int, stat, (const char *path, struct stat *s), (path, s), AT_FDCWD, path)
WRAP(int, stat64, (const char *path, struct stat64 *s), (path, s), AT_FDCWD, path)
WRAP(int, lstat, (const char *path, struct stat *s), (path, s), AT_FDCWD, path)
WRAP(int, lstat64, (const char *path, struct stat64 *s), (path, s), AT_FDCWD, path)
WRAP(int, fstatat, (int at, const char *path, struct stat *s, int how), (at, path, s, how), at, path)
WRAP(int, fstatat64, (int at, const char *path, struct stat64 *s, int how), (at, path, s, how), at, path)
WRAP(int, statx, (int at, const char *path, int how, unsigned mask, struct statx *s), (at, path, how, mask, s), at, path)
WRAP(int, access, (const char *path, int how), (path, how), AT_FDCWD, path)
WRAP(int, faccessat, (int at, const char *path, int mode, int how), (at, path, mode, how), at, path)
WRAP(ssize_t, readlink, (const char *path, char *to, size_t n), (path, to, n), AT_FDCWD, path)
WRAP(ssize_t, readlinkat, (int at, const char *path, char *to, size_t n), (at, path, to, n), at, path)
WRAP(int, mkdir, (const char *path, mode_t mode), (path, mode), AT_FDCWD, path)
WRAP(int, mkdirat, (int at, const char *path, mode_t mode), (at, path, mode), at, path)
WRAP(int, rmdir, (const char *path), (path), AT_FDCWD, path)
WRAP(int, unlink, (const char *path), (path), AT_FDCWD, path)
WRAP(int, unlinkat, (int at, const char *path, int how), (at, path, how), at, path)
WRAP(int, rename, (const char *path, const char *to), (path, to), AT_FDCWD, to)
WRAP(int, renameat, (int at, const char *path, int at2, const char *to), (at, path, at2, to), at2, to)
WRAP(int, renameat2, (int at, const char *path, int at2, const char *to, unsigned how), (at, path, at2, to, how), at2, to)
WRAP(int, link, (const char *path, const char *to), (path, to), AT_FDCWD, to)
WRAP(int, linkat, (int at, const char *path, int at2, const char *to, int how), (at, path, at2, to, how), at2, to)
WRAP(int, chmod, (const char *path, mode_t mode), (path, mode), AT_FDCWD, path)
WRAP(int, chown, (const char *path, uid_t u, gid_t g), (path, u, g), AT_FDCWD, path)
WRAP(int, truncate, (const char *path, off_t n), (path, n), AT_FDCWD, path)
WRAP(int, truncate64, (const char *path, off64_t n), (path, n), AT_FDCWD, path)
WRAP(int, utimensat, (int at, const char *path, const struct timespec t[2], int how), (at, path, t, how), at, path)

int futimens(int file, const struct timespec t[2]) {
    static int (*real)(int, const struct timespec[2]);
    if (!real)
        real = (int (*)(int, const struct timespec[2]))dlsym(RTLD_NEXT, "futimens");
    note("futimens", file, ".");
    return real(file, t);
}
