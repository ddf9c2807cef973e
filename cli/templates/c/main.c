// A task for Weir: greets, and counts the lines and bytes of its input files.
//
// It reads what is in /in and, where a job keeps outputs, writes a report into /out.

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

// What `--greeting TEXT` says, or a greeting of our own; NULL when the arguments make no sense.
static const char *greeting(int argc, char **argv) {
    if (argc == 1) return "hello from {{name}}";
    if (argc == 3 && strcmp(argv[1], "--greeting") == 0) return argv[2];
    return NULL;
}

// Prints a line both to stdout and to the report, if there is one.
#define TELL(report, ...)                               \
    do {                                                \
        printf(__VA_ARGS__);                            \
        if (report) fprintf(report, __VA_ARGS__);       \
    } while (0)

// Counts a file; returns 0, or 1 when it cannot be read.
static int count(const char *name, FILE *report) {
    char path[4096];
    snprintf(path, sizeof path, "/in/%s", name);
    struct stat about;
    if (stat(path, &about) == 0 && !S_ISREG(about.st_mode)) return 0;
    FILE *in = fopen(path, "r");
    if (!in) {
        perror(path);
        return 1;
    }
    unsigned long lines = 0, bytes = 0;
    for (int c; (c = getc(in)) != EOF; bytes++) lines += c == '\n';
    fclose(in);
    TELL(report, "%s: %lu lines, %lu bytes\n", name, lines, bytes);
    return 0;
}

int main(int argc, char **argv) {
    const char *text = greeting(argc, argv);
    if (!text) {
        // A task that exits with another code than 0 has failed; `weir` tells the code.
        fprintf(stderr, "error: the only argument is --greeting TEXT\n");
        return 2;
    }
    // There is a directory /out only where somebody wants what is in it.
    FILE *report = fopen("/out/report.txt", "w");
    TELL(report, "%s\n", text);
    // Each task of an array sees which one it is; a task that runs alone sees nothing.
    const char *index = getenv("WEIR_TASK_INDEX"), *tasks = getenv("WEIR_TASK_COUNT");
    if (index) TELL(report, "task %s of %s\n", index, tasks ? tasks : "?");

    int failed = 0;
    DIR *in = opendir("/in");
    for (struct dirent *entry; in && (entry = readdir(in));) {
        if (entry->d_name[0] != '.') failed |= count(entry->d_name, report);
    }
    if (in) closedir(in);
    if (report && fclose(report) != 0) {
        perror("/out/report.txt");
        return 1;
    }
    return failed;
}
