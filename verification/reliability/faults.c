/* Counts the file operations of a process under one folder, and at one of them ends the process or
 * lets the operation fail. Loaded before the C library (LD_PRELOAD), so that it sees what Python,
 * C++ and Rust do alike. Nothing is counted before faults_arm().
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { ALL = 0, GROWING = 1 };

static char root[PATH_MAX];
static size_t root_length;
static long at, count;
static int number, lasting, only_growing, log_fd = -1;

/* folder: operations under it count, the folder included. at: the one that fails, from 1; 0: none.
 * number: its errno; 0: the process is killed before it. lasting: all later ones fail too.
 * only_growing: those that need no room on the disk play no part. log: a file that gets one line
 * an operation, or -1. */
void faults_arm(const char *folder, long at_, int number_, int lasting_, int only_growing_, int log) {
    root_length = strlen(folder);
    memcpy(root, folder, root_length + 1);
    at = at_;
    number = number_;
    lasting = lasting_;
    only_growing = only_growing_;
    log_fd = log;
    count = 0;
}

static int is_watched(const char *path) {
    return root_length && !strncmp(path, root, root_length) &&
           (path[root_length] == '/' || path[root_length] == 0);
}

static int is_reached(long now) { return at > 0 && (now == at || (now > at && lasting)); }

/* Return 1 if this operation is to fail. */
static int point(const char *what, const char *path, int growing) {
    char line[PATH_MAX + 80];
    long now;
    if (only_growing && growing != GROWING) return 0;
    now = __atomic_add_fetch(&count, 1, __ATOMIC_SEQ_CST);
    if (log_fd >= 0 && (at == 0 || now <= at)) {
        int size = snprintf(line, sizeof line, "%s %s\n", what, path + root_length);
        syscall(SYS_write, log_fd, line, (size_t)size);
    }
    if (!is_reached(now)) return 0;
    if (number == 0) {
        syscall(SYS_kill, getpid(), SIGKILL);
        for (;;) pause();
    }
    errno = number;
    return 1;
}

static const char *of_fd(int fd, char *path) {
    char link[40];
    ssize_t size;
    int before = errno;
    if (!root_length || fd < 0 || fd == log_fd) return NULL;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    size = readlink(link, path, PATH_MAX - 1);
    errno = before;
    if (size < 0) return NULL;
    path[size] = 0;
    return is_watched(path) ? path : NULL;
}

static const char *of_path(int folder, const char *name, char *path) {
    char above[PATH_MAX];
    int before = errno;
    if (!root_length || name == NULL) return NULL;
    if (name[0] == '/') {
        snprintf(path, PATH_MAX, "%s", name);
    } else {
        char link[40];
        ssize_t size;
        if (folder == AT_FDCWD) snprintf(link, sizeof link, "/proc/self/cwd");
        else snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        size = readlink(link, above, sizeof above - 1);
        errno = before;
        if (size < 0) return NULL;
        above[size] = 0;
        if (snprintf(path, PATH_MAX, "%s/%s", above, name) >= PATH_MAX) return NULL;
    }
    errno = before;
    return is_watched(path) ? path : NULL;
}

#define NEXT(name) \
    static __typeof__(name) *next; \
    if (!next) next = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

#define ON_PATH(folder, name, what, growing) \
    do { \
        char path_[PATH_MAX]; \
        const char *seen_ = of_path(folder, name, path_); \
        if (seen_ && point(what, seen_, growing)) return -1; \
    } while (0)

#define ON_FD(fd, what, growing) \
    do { \
        char path_[PATH_MAX]; \
        const char *seen_ = of_fd(fd, path_); \
        if (seen_ && point(what, seen_, growing)) return -1; \
    } while (0)

#define OPEN(name, folder, declared, passed) \
    int name declared { \
        mode_t mode = 0; \
        NEXT(name); \
        if (flags & (O_CREAT | O_TMPFILE)) { \
            va_list more; \
            va_start(more, flags); \
            mode = va_arg(more, mode_t); \
            va_end(more); \
        } \
        if (flags & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC)) \
            ON_PATH(folder, file, "open", flags & O_CREAT ? GROWING : ALL); \
        return next passed; \
    }

OPEN(open, AT_FDCWD, (const char *file, int flags, ...), (file, flags, mode))
OPEN(open64, AT_FDCWD, (const char *file, int flags, ...), (file, flags, mode))
OPEN(openat, folder, (int folder, const char *file, int flags, ...), (folder, file, flags, mode))
OPEN(openat64, folder, (int folder, const char *file, int flags, ...), (folder, file, flags, mode))

/* A write is two operations: before it, and when half of it is done. */
#define WRITE(name, more_declared, more_passed) \
    ssize_t name(int fd, const void *data, size_t size more_declared) { \
        char path[PATH_MAX]; \
        const char *seen = of_fd(fd, path); \
        NEXT(name); \
        if (seen) { \
            if (point("write", seen, GROWING)) return -1; \
            if (size > 1) { \
                if (is_reached(count + 1)) { \
                    size_t whole = size; \
                    size = whole / 2; \
                    if (next(fd, data, size more_passed) < 0) return -1; \
                    size = whole; \
                } \
                if (point("half of write", seen, GROWING)) return -1; \
            } \
        } \
        return next(fd, data, size more_passed); \
    }
#define COMMA ,

WRITE(write, , )
WRITE(pwrite, COMMA off_t offset, COMMA offset)
WRITE(pwrite64, COMMA off64_t offset, COMMA offset)

#define ONE(type, name, declared, passed, check) \
    type name declared { \
        NEXT(name); \
        check; \
        return next passed; \
    }

ONE(ssize_t, writev, (int fd, const struct iovec *parts, int n), (fd, parts, n),
    ON_FD(fd, "write", GROWING))
ONE(ssize_t, sendfile, (int out, int in, off_t *offset, size_t size), (out, in, offset, size),
    ON_FD(out, "write", GROWING))
ONE(ssize_t, sendfile64, (int out, int in, off64_t *offset, size_t size), (out, in, offset, size),
    ON_FD(out, "write", GROWING))
ONE(ssize_t, copy_file_range,
    (int in, off64_t *from, int out, off64_t *to, size_t size, unsigned flags),
    (in, from, out, to, size, flags), ON_FD(out, "write", GROWING))
ONE(int, ftruncate, (int fd, off_t size), (fd, size), ON_FD(fd, "truncate", ALL))
ONE(int, ftruncate64, (int fd, off64_t size), (fd, size), ON_FD(fd, "truncate", ALL))
ONE(int, truncate, (const char *file, off_t size), (file, size),
    ON_PATH(AT_FDCWD, file, "truncate", ALL))
ONE(int, truncate64, (const char *file, off64_t size), (file, size),
    ON_PATH(AT_FDCWD, file, "truncate", ALL))
ONE(int, fsync, (int fd), (fd), ON_FD(fd, "fsync", GROWING))
ONE(int, fdatasync, (int fd), (fd), ON_FD(fd, "fsync", GROWING))
ONE(int, fchmod, (int fd, mode_t mode), (fd, mode), ON_FD(fd, "chmod", ALL))
ONE(int, chmod, (const char *file, mode_t mode), (file, mode),
    ON_PATH(AT_FDCWD, file, "chmod", ALL))
ONE(int, fchmodat, (int folder, const char *file, mode_t mode, int flags),
    (folder, file, mode, flags), ON_PATH(folder, file, "chmod", ALL))
ONE(int, mkdir, (const char *file, mode_t mode), (file, mode),
    ON_PATH(AT_FDCWD, file, "mkdir", GROWING))
ONE(int, mkdirat, (int folder, const char *file, mode_t mode), (folder, file, mode),
    ON_PATH(folder, file, "mkdir", GROWING))
ONE(int, rmdir, (const char *file), (file), ON_PATH(AT_FDCWD, file, "rmdir", ALL))
ONE(int, unlink, (const char *file), (file), ON_PATH(AT_FDCWD, file, "unlink", ALL))
ONE(int, unlinkat, (int folder, const char *file, int flags), (folder, file, flags),
    ON_PATH(folder, file, flags ? "rmdir" : "unlink", ALL))
ONE(int, rename, (const char *from, const char *to), (from, to),
    ON_PATH(AT_FDCWD, to, "rename to", GROWING))
ONE(int, renameat, (int old, const char *from, int new, const char *to), (old, from, new, to),
    ON_PATH(new, to, "rename to", GROWING))
ONE(int, renameat2, (int old, const char *from, int new, const char *to, unsigned flags),
    (old, from, new, to, flags), ON_PATH(new, to, "exchange with", GROWING))
ONE(int, link, (const char *from, const char *to), (from, to),
    ON_PATH(AT_FDCWD, to, "link", GROWING))
ONE(int, linkat, (int old, const char *from, int new, const char *to, int flags),
    (old, from, new, to, flags), ON_PATH(new, to, "link", GROWING))
ONE(int, symlink, (const char *from, const char *to), (from, to),
    ON_PATH(AT_FDCWD, to, "symlink", GROWING))

/* A lock cannot be refused for want of room; a process can be killed before it. */
int flock(int fd, int operation) {
    static int (*next)(int, int);
    char path[PATH_MAX];
    const char *seen = of_fd(fd, path);
    if (!next) next = (int (*)(int, int))dlsym(RTLD_NEXT, "flock");
    if (seen && number == 0) point("flock", seen, ALL);
    return next(fd, operation);
}
