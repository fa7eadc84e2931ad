/* Makes a process see a slow disk: every fsync and fdatasync first waits as long as the file that
 * MIDGE_TEST_SYNC_FILE names says at that moment, then does what it always does. The file holds
 * three numbers: milliseconds that a sync takes, how often one stalls (each so-many-th; 0: none),
 * and milliseconds that a stall takes. It is read again while a sync waits, so that a test can
 * begin and end a stall when it wants to. While one waits there is a file of the same name with
 * ".busy" behind it. Loaded with LD_PRELOAD; see mod.rs. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static atomic_ulong syncs;

static long long now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static long wanted_ms(const char *path, unsigned long number)
{
    long each = 0, every = 0, stall = 0;
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return 0;
    if (fscanf(file, "%ld %ld %ld", &each, &every, &stall) < 1)
        each = 0;
    fclose(file);
    return every > 0 && number % every == 0 ? stall : each;
}

static void wait_for_disk(void)
{
    const char *path = getenv("MIDGE_TEST_SYNC_FILE");
    const struct timespec a_while = {0, 500000};
    int error = errno;
    if (path != NULL) {
        char busy[PATH_MAX];
        unsigned long number = atomic_fetch_add(&syncs, 1) + 1;
        long long began = now_ms();
        snprintf(busy, sizeof busy, "%s.busy", path);
        close(open(busy, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
        while (now_ms() - began < wanted_ms(path, number))
            nanosleep(&a_while, NULL);
        unlink(busy);
    }
    errno = error;
}

int fsync(int file)
{
    int (*sync)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    wait_for_disk();
    return sync(file);
}

int fdatasync(int file)
{
    int (*sync)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    wait_for_disk();
    return sync(file);
}
