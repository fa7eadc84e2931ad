/* Makes a process see another time of day: CLOCK_REALTIME is ahead of the machine's by as many
 * milliseconds as the file that MIDGE_TEST_CLOCK_FILE names says at that moment. If there is a file
 * of the same name with ".boot_id" behind it, the process reads that for the machine's boot_id.
 * Loaded with LD_PRELOAD; see mod.rs. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static long long ahead_ms(void)
{
    const char *path = getenv("MIDGE_TEST_CLOCK_FILE");
    long long ahead = 0;
    int error = errno;
    FILE *file = path == NULL ? NULL : fopen(path, "re");
    if (file != NULL) {
        if (fscanf(file, "%lld", &ahead) < 1)
            ahead = 0;
        fclose(file);
    }
    errno = error;
    return ahead;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int (*get)(clockid_t, struct timespec *) =
        (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = get(clock, now);
    if (result == 0 && clock == CLOCK_REALTIME) {
        long long nanos = now->tv_nsec + ahead_ms() * 1000000LL;
        long long seconds = nanos / 1000000000LL - (nanos % 1000000000LL < 0);
        now->tv_sec += seconds;
        now->tv_nsec = nanos - seconds * 1000000000LL;
    }
    return result;
}

/* Another file in place of the one with this path, or that path. */
static const char *replaced(const char *path, char other[PATH_MAX])
{
    const char *clock = getenv("MIDGE_TEST_CLOCK_FILE");
    if (clock == NULL || strcmp(path, "/proc/sys/kernel/random/boot_id") != 0)
        return path;
    snprintf(other, PATH_MAX, "%s.boot_id", clock);
    return access(other, R_OK) == 0 ? other : path;
}

#define REPLACE(name)                                                                              \
    int name(const char *path, int flags, ...)                                                     \
    {                                                                                              \
        int (*open_file)(const char *, int, ...) =                                                 \
            (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, #name);                              \
        char other[PATH_MAX];                                                                      \
        mode_t mode = 0;                                                                           \
        if (flags & (O_CREAT | O_TMPFILE)) {                                                       \
            va_list arguments;                                                                     \
            va_start(arguments, flags);                                                            \
            mode = va_arg(arguments, mode_t);                                                      \
            va_end(arguments);                                                                     \
        }                                                                                          \
        return open_file(replaced(path, other), flags, mode);                                      \
    }

REPLACE(open)
REPLACE(open64)
