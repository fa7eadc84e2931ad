/* Writes down in which calls of a process the machine's own disk took long. They are kept in the
 * file that MIDGE_TEST_DISK_CALLS names, which is mapped, so that writing them down needs no disk,
 * and outlives the process: a call that its end cut off is written down by the next process, as if
 * it had lasted until then. Loaded with LD_PRELOAD; see mod.rs, which reads the same layout. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#define LONG_US 250000
#define THREADS_MAX 64
#define CALLS_MAX 4096

struct calls {
    atomic_llong number;
    atomic_llong under_way[THREADS_MAX]; /* since when; 0: none */
    struct {
        long long from, until; /* microseconds of CLOCK_MONOTONIC */
    } took_long[CALLS_MAX];
};

static struct calls *calls;
static atomic_int threads;
static _Thread_local int thread = -1;

static long long now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

static void write_down(long long from)
{
    long long until = now_us();
    long long number;
    if (until - from < LONG_US)
        return;
    number = atomic_fetch_add(&calls->number, 1);
    if (number < CALLS_MAX) {
        calls->took_long[number].from = from;
        calls->took_long[number].until = until;
    }
}

__attribute__((constructor)) static void open_calls(void)
{
    const char *path = getenv("MIDGE_TEST_DISK_CALLS");
    int file = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);
    void *mapped = MAP_FAILED;
    if (file >= 0) {
        mapped = mmap(NULL, sizeof *calls, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        close(file);
    }
    if (mapped == MAP_FAILED)
        return;
    calls = mapped;
    for (int other = 0; other < THREADS_MAX; other++) {
        long long from = atomic_exchange(&calls->under_way[other], 0);
        if (from > 0)
            write_down(from);
    }
}

static void begin(void)
{
    if (calls == NULL)
        return;
    if (thread < 0)
        thread = atomic_fetch_add(&threads, 1);
    if (thread < THREADS_MAX)
        atomic_store(&calls->under_way[thread], now_us());
}

static void end(void)
{
    int error = errno;
    if (calls != NULL && thread < THREADS_MAX)
        write_down(atomic_exchange(&calls->under_way[thread], 0));
    errno = error;
}

#define TIMED(type, name, parameters, arguments)                                                   \
    type name parameters                                                                           \
    {                                                                                              \
        type(*call) parameters = (type(*) parameters)dlsym(RTLD_NEXT, #name);                      \
        type result;                                                                               \
        begin();                                                                                   \
        result = call arguments;                                                                   \
        end();                                                                                     \
        return result;                                                                             \
    }

TIMED(int, fsync, (int file), (file))
TIMED(int, fdatasync, (int file), (file))
TIMED(int, ftruncate64, (int file, off64_t size), (file, size))
TIMED(int, rename, (const char *from, const char *to), (from, to))
TIMED(int, unlink, (const char *path), (path))
TIMED(ssize_t, pread64, (int file, void *to, size_t size, off64_t at), (file, to, size, at))
TIMED(ssize_t, pwrite64, (int file, const void *from, size_t size, off64_t at),
      (file, from, size, at))

int open64(const char *path, int flags, ...)
{
    int (*call)(const char *, int, ...) =
        (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open64");
    int mode = 0, result;
    if ((flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE) {
        va_list more;
        va_start(more, flags);
        mode = va_arg(more, int);
        va_end(more);
    }
    begin();
    result = call(path, flags, mode);
    end();
    return result;
}
