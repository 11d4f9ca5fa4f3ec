/* System calls on files below one folder that fail when a test wants it: loaded into a process by LD_PRELOAD.
 *
 * The test and the process share a small file (SHOAL_FAULTS): see `support.faulty_disk`, which has the same layout.
 * Every call of libc that reaches a file below SHOAL_FAULTS_ROOT is counted; the one that is due fails, once or from
 * then on, without being made, or after it was made, or is made in half. */

#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

enum { OFF, COUNT, ONCE, ONWARDS };
enum { INSTEAD, AFTERWARDS, HALF };
enum { DESCRIPTORS = 65536, ENTRIES = 4096, TEXT = 128 };
enum kind {
    OPEN, CREATE, CLOSE, READ, PREAD, PREADV, WRITE, PWRITE, PWRITEV, FSYNC, FDATASYNC, SYNC_FILE_RANGE, FTRUNCATE,
    FALLOCATE, MKDIR, RENAME, LINK, UNLINK, RMDIR, SENDFILE, STAT, STATVFS, CLOSE_READ,
    SYMLINK
};
static const char *const NAMES[] = {
    "open", "create", "close", "read", "pread", "preadv", "write", "pwrite", "pwritev", "fsync", "fdatasync",
    "sync_file_range", "ftruncate", "fallocate", "mkdir", "rename", "link", "unlink", "rmdir", "sendfile", "stat",
    "statvfs", "close-read", "symlink"
};

struct control {
    _Atomic int32_t mode;
    int32_t error, manner, unused;
    uint64_t kinds;
    uint64_t when;
    _Atomic uint64_t seen, failed;
    char log[ENTRIES][TEXT];
};

static struct control *control;
static char root[4096];
static size_t root_length;
static char *_Atomic names[DESCRIPTORS];
static _Atomic char only_read[DESCRIPTORS];

__attribute__((constructor)) static void begin(void) {
    const char *file = getenv("SHOAL_FAULTS"), *folder = getenv("SHOAL_FAULTS_ROOT");
    int (*real_open)(const char *, int, ...) = dlsym(RTLD_NEXT, "open");
    int (*real_close)(int) = dlsym(RTLD_NEXT, "close");
    if (!file || !folder || strlen(folder) >= sizeof root)
        return;
    strcpy(root, folder);
    root_length = strlen(root);
    int descriptor = real_open(file, O_RDWR | O_CLOEXEC);
    if (descriptor < 0)
        return;
    void *memory = mmap(0, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    control = memory == MAP_FAILED ? 0 : memory;
    real_close(descriptor);
}

/* What follows the root, or 0 for a file that is none of ours. */
static const char *within(const char *path) {
    return path && root_length && !strncmp(path, root, root_length) ? path + root_length : 0;
}

static const char *within_at(int folder, const char *path) {
    if (path && path[0] == '/')
        return within(path);
    return folder >= 0 && folder < DESCRIPTORS && names[folder] ? path : 0;
}

static const char *of(int descriptor) {
    return descriptor >= 0 && descriptor < DESCRIPTORS ? names[descriptor] : 0;
}

static void remember(int descriptor, const char *name, int flags) {
    if (descriptor < 0 || descriptor >= DESCRIPTORS)
        return;
    only_read[descriptor] = (flags & O_ACCMODE) == O_RDONLY;
    free(atomic_exchange(&names[descriptor], name ? strdup(name) : 0));
}

/* Opening what is there needs no space. */
static enum kind opening(const char *found, int folder, const char *path, int flags) {
    return found && flags & O_CREAT && faccessat(folder, path, F_OK, 0) ? CREATE : OPEN;
}

/* Whether this call is the one: count it, and note what it was. */
static int due(enum kind kind, const char *name) {
    if (!name || !control || control->mode == OFF || !(control->kinds >> kind & 1))
        return 0;
    uint64_t number = atomic_fetch_add(&control->seen, 1) + 1;
    int is_due = number == control->when || number > control->when && control->mode == ONWARDS;
    if (control->mode == COUNT)
        is_due = 0;
    if (number <= ENTRIES)
        snprintf(control->log[number - 1], TEXT, "%s%s %s", is_due ? "!" : "", NAMES[kind], name);
    if (is_due)
        atomic_fetch_add(&control->failed, 1);
    return is_due;
}

#define REAL(result, name, ...) static result (*real)(__VA_ARGS__); if (!real) real = dlsym(RTLD_NEXT, #name)
#define FAIL(call) do { \
        if (control->manner == AFTERWARDS) call; \
        if (control->manner != HALF) { errno = control->error; return -1; } \
    } while (0)

#define OPENING(name) \
    int name(const char *path, int flags, ...) { \
        REAL(int, name, const char *, int, ...); \
        va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, mode_t); va_end(rest); \
        const char *found = within(path); \
        if (due(opening(found, AT_FDCWD, path, flags), found)) FAIL(close(real(path, flags, mode))); \
        int descriptor = real(path, flags, mode); \
        remember(descriptor, found, flags); \
        return descriptor; \
    }
OPENING(open)
OPENING(open64)

#define OPENING_AT(name) \
    int name(int folder, const char *path, int flags, ...) { \
        REAL(int, name, int, const char *, int, ...); \
        va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, mode_t); va_end(rest); \
        const char *found = within_at(folder, path); \
        if (due(opening(found, folder, path, flags), found)) FAIL(close(real(folder, path, flags, mode))); \
        int descriptor = real(folder, path, flags, mode); \
        remember(descriptor, found, flags); \
        return descriptor; \
    }
OPENING_AT(openat)
OPENING_AT(openat64)

DIR *opendir(const char *path) {
    REAL(DIR *, opendir, const char *);
    if (due(OPEN, within(path)) && control->manner != HALF) {
        errno = control->error;
        return 0;
    }
    return real(path);
}

/* A descriptor is gone whatever close says, so it is always closed. */
int close(int descriptor) {
    REAL(int, close, int);
    enum kind kind = of(descriptor) && only_read[descriptor] ? CLOSE_READ : CLOSE;
    int is_due = due(kind, of(descriptor)), error = is_due ? control->error : 0;
    remember(descriptor, 0, 0);
    int result = real(descriptor);
    if (is_due && control->manner != HALF) {
        errno = error;
        return -1;
    }
    return result;
}

#define MOVING(kind, name, buffer) \
    ssize_t name(int descriptor, buffer data, size_t size) { \
        REAL(ssize_t, name, int, buffer, size_t); \
        if (due(kind, of(descriptor))) { FAIL(real(descriptor, data, size)); size = (size + 1) / 2; } \
        return real(descriptor, data, size); \
    }
MOVING(READ, read, void *)
MOVING(WRITE, write, const void *)

#define MOVING_AT(kind, name, buffer) \
    ssize_t name(int descriptor, buffer data, size_t size, off_t offset) { \
        REAL(ssize_t, name, int, buffer, size_t, off_t); \
        if (due(kind, of(descriptor))) { FAIL(real(descriptor, data, size, offset)); size = (size + 1) / 2; } \
        return real(descriptor, data, size, offset); \
    }
MOVING_AT(PREAD, pread, void *)
MOVING_AT(PREAD, pread64, void *)
MOVING_AT(PWRITE, pwrite, const void *)
MOVING_AT(PWRITE, pwrite64, const void *)

/* In half: the first buffer alone, or half of it. */
#define HALVED struct iovec first = parts[0]; \
        if (count > 1) count = 1; else first.iov_len = (first.iov_len + 1) / 2; \
        parts = &first;

#define SCATTERED(kind, name) \
    ssize_t name(int descriptor, const struct iovec *parts, int count, off_t offset) { \
        REAL(ssize_t, name, int, const struct iovec *, int, off_t); \
        if (due(kind, of(descriptor))) { \
            FAIL(real(descriptor, parts, count, offset)); \
            HALVED return real(descriptor, parts, count, offset); \
        } \
        return real(descriptor, parts, count, offset); \
    }
SCATTERED(PREADV, preadv)
SCATTERED(PREADV, preadv64)
SCATTERED(PWRITEV, pwritev)
SCATTERED(PWRITEV, pwritev64)

#define SCATTERED_2(kind, name) \
    ssize_t name(int descriptor, const struct iovec *parts, int count, off_t offset, int flags) { \
        REAL(ssize_t, name, int, const struct iovec *, int, off_t, int); \
        if (due(kind, of(descriptor))) { \
            FAIL(real(descriptor, parts, count, offset, flags)); \
            HALVED return real(descriptor, parts, count, offset, flags); \
        } \
        return real(descriptor, parts, count, offset, flags); \
    }
SCATTERED_2(PREADV, preadv2)
SCATTERED_2(PREADV, preadv64v2)
SCATTERED_2(PWRITEV, pwritev2)
SCATTERED_2(PWRITEV, pwritev64v2)

ssize_t writev(int descriptor, const struct iovec *parts, int count) {
    REAL(ssize_t, writev, int, const struct iovec *, int);
    if (due(PWRITEV, of(descriptor))) {
        FAIL(real(descriptor, parts, count));
        HALVED return real(descriptor, parts, count);
    }
    return real(descriptor, parts, count);
}

ssize_t sendfile64(int socket, int descriptor, off_t *offset, size_t size) {
    REAL(ssize_t, sendfile64, int, int, off_t *, size_t);
    if (due(SENDFILE, of(descriptor))) { FAIL((void)0); size = (size + 1) / 2; }
    return real(socket, descriptor, offset, size);
}
ssize_t sendfile(int socket, int descriptor, off_t *offset, size_t size) {
    return sendfile64(socket, descriptor, offset, size);
}

#define ON_DESCRIPTOR(kind, name) \
    int name(int descriptor) { \
        REAL(int, name, int); \
        if (due(kind, of(descriptor))) FAIL(real(descriptor)); \
        return real(descriptor); \
    }
ON_DESCRIPTOR(FSYNC, fsync)
ON_DESCRIPTOR(FDATASYNC, fdatasync)

int sync_file_range(int descriptor, off64_t offset, off64_t size, unsigned flags) {
    REAL(int, sync_file_range, int, off64_t, off64_t, unsigned);
    if (due(SYNC_FILE_RANGE, of(descriptor))) FAIL(real(descriptor, offset, size, flags));
    return real(descriptor, offset, size, flags);
}

#define TRUNCATING(name) \
    int name(int descriptor, off_t size) { \
        REAL(int, name, int, off_t); \
        if (due(FTRUNCATE, of(descriptor))) FAIL(real(descriptor, size)); \
        return real(descriptor, size); \
    }
TRUNCATING(ftruncate)
TRUNCATING(ftruncate64)

/* These return the error instead of setting errno. */
#define ALLOCATING(name) \
    int name(int descriptor, off_t offset, off_t size) { \
        REAL(int, name, int, off_t, off_t); \
        if (due(FALLOCATE, of(descriptor)) && control->manner != HALF) { \
            if (control->manner == AFTERWARDS) real(descriptor, offset, size); \
            return control->error; \
        } \
        return real(descriptor, offset, size); \
    }
ALLOCATING(posix_fallocate)
ALLOCATING(posix_fallocate64)

int mkdir(const char *path, mode_t mode) {
    REAL(int, mkdir, const char *, mode_t);
    if (due(MKDIR, within(path))) FAIL(real(path, mode));
    return real(path, mode);
}

int rename(const char *old, const char *new) {
    REAL(int, rename, const char *, const char *);
    if (due(RENAME, within(new))) FAIL(real(old, new));
    return real(old, new);
}

int renameat(int from, const char *old, int to, const char *new) {
    REAL(int, renameat, int, const char *, int, const char *);
    if (due(RENAME, within_at(to, new))) FAIL(real(from, old, to, new));
    return real(from, old, to, new);
}

int link(const char *old, const char *new) {
    REAL(int, link, const char *, const char *);
    if (due(LINK, within(new))) FAIL(real(old, new));
    return real(old, new);
}

int linkat(int from, const char *old, int to, const char *new, int flags) {
    REAL(int, linkat, int, const char *, int, const char *, int);
    if (due(LINK, within_at(to, new))) FAIL(real(from, old, to, new, flags));
    return real(from, old, to, new, flags);
}

int symlink(const char *said, const char *path) {
    REAL(int, symlink, const char *, const char *);
    if (due(SYMLINK, within(path))) FAIL(real(said, path));
    return real(said, path);
}

int symlinkat(const char *said, int folder, const char *path) {
    REAL(int, symlinkat, const char *, int, const char *);
    if (due(SYMLINK, within_at(folder, path))) FAIL(real(said, folder, path));
    return real(said, folder, path);
}

#define ON_PATH(kind, name) \
    int name(const char *path) { \
        REAL(int, name, const char *); \
        if (due(kind, within(path))) FAIL(real(path)); \
        return real(path); \
    }
ON_PATH(UNLINK, unlink)
ON_PATH(RMDIR, rmdir)

int unlinkat(int folder, const char *path, int flags) {
    REAL(int, unlinkat, int, const char *, int);
    if (due(flags & AT_REMOVEDIR ? RMDIR : UNLINK, within_at(folder, path))) FAIL(real(folder, path, flags));
    return real(folder, path, flags);
}

#define LOOKING(kind, name, result, what, found) \
    int name(what file, struct result *answer) { \
        REAL(int, name, what, struct result *); \
        if (due(kind, found(file))) FAIL(real(file, answer)); \
        return real(file, answer); \
    }
LOOKING(STAT, stat, stat, const char *, within)
LOOKING(STAT, stat64, stat64, const char *, within)
LOOKING(STAT, lstat, stat, const char *, within)
LOOKING(STAT, lstat64, stat64, const char *, within)
LOOKING(STAT, fstat, stat, int, of)
LOOKING(STAT, fstat64, stat64, int, of)
LOOKING(STATVFS, statvfs, statvfs, const char *, within)
LOOKING(STATVFS, statvfs64, statvfs64, const char *, within)
