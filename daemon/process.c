/* SPDX-License-Identifier: Apache-2.0 */
/* Figures of our own process, from /proc and the kernel. */
#include "daemon/process.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

static int64_t resident_bytes(void)
{
    long long size = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file)
        return 0;
    if (fscanf(file, "%lld %lld", &size, &resident) != 2)
        resident = 0;
    fclose(file);
    return resident * sysconf(_SC_PAGESIZE);
}

static int64_t open_fds(void)
{
    DIR *directory = opendir("/proc/self/fd");
    int64_t count = -3; /* ".", ".." and the directory itself */
    if (!directory)
        return 0;
    while (readdir(directory))
        count++;
    closedir(directory);
    return count;
}

static double seconds(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

void process_look(struct process_figures *ret)
{
    struct rusage usage = { 0 };
    struct rlimit limit = { 0 };
    getrusage(RUSAGE_SELF, &usage);
    getrlimit(RLIMIT_NOFILE, &limit);
    *ret =
        (struct process_figures){ .resident_bytes = resident_bytes(),
                                  .open_fds = open_fds(),
                                  .max_fds = (int64_t)limit.rlim_cur,
                                  .cpu_s = seconds(usage.ru_utime) + seconds(usage.ru_stime) };
}
