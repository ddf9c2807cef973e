// Prints functions of the mathematics library to the last bit, and what is told of a machine.
#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <dirent.h>

static void show(const char *name, double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    printf("%-8s %016llx %.17g\n", name, (unsigned long long)bits, value);
}

int main(void) {
    volatile double zero = 0;
    for (double x = -2.5; x < 1e6; x = x * -3.7 + 0.1) {
        show("sin", sin(x)), show("tan", tan(x)), show("exp", exp(x)), show("log", log(x));
        show("pow", pow(fabs(x), 1.3)), show("cbrt", cbrt(x)), show("gamma", tgamma(x)), show("erf", erf(x));
        if (fabs(x) > 1e6) break;
    }
    show("nan", zero / zero), show("-nan", -(zero / zero)), show("inf-inf", INFINITY - INFINITY);
    show("parsed", strtod("2.2250738585072011e-308", NULL)), show("fma", fma(0.1, 10, -1));
    struct stat about;
    printf("stat %d size %lld inode %llu\n", stat("/in/f", &about), (long long)about.st_size, (unsigned long long)about.st_ino);
    printf("stat %d errno %d\n", stat("/nowhere", &about), errno);
    DIR *directory = opendir("/in/d");
    for (struct dirent *entry; directory && (entry = readdir(directory));) printf("entry %s\n", entry->d_name);
    time_t now = time(NULL);
    printf("year %d\n", gmtime(&now)->tm_year + 1900);
    struct timespec hour = {3600, 0};
    printf("slept %d, %lld s later\n", nanosleep(&hour, NULL), (long long)(time(NULL) - now));
    unsigned char bytes[8];
    if (getentropy(bytes, sizeof bytes)) return 1;
    for (size_t i = 0; i < sizeof bytes; i++) printf("%02x", bytes[i]);
    printf(" %s %d\n", getenv("GREETING"), isatty(1));
    return 3;
}
