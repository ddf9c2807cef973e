// Sorts records that a generator makes, by several keys, and prints what comes out, with a hash of all.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct record { uint32_t key; double weight; char name[12]; };

static uint64_t state = 88172645463325252ull;

static uint64_t next(void) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static int by_key(const void *a, const void *b) {
    const struct record *x = a, *y = b;
    if (x->key != y->key) return x->key < y->key ? -1 : 1;
    return strcmp(x->name, y->name);
}

static int by_weight(const void *a, const void *b) {
    const struct record *x = a, *y = b;
    if (x->weight != y->weight) return x->weight < y->weight ? -1 : 1;
    return by_key(a, b);
}

static uint64_t hash(const struct record *records, size_t count) {
    uint64_t hash = 14695981039346656037ull;
    for (size_t i = 0; i < count; i++) {
        char line[64];
        int length = snprintf(line, sizeof line, "%u %.9g %s\n", records[i].key, records[i].weight, records[i].name);
        for (int j = 0; j < length; j++) hash = (hash ^ (unsigned char)line[j]) * 1099511628211ull;
    }
    return hash;
}

int main(void) {
    size_t count = 20000;
    struct record *records = malloc(count * sizeof *records);
    if (!records) return 1;
    for (size_t i = 0; i < count; i++) {
        records[i].key = next() % 5000;
        records[i].weight = (double)next() / 3.0e12;
        snprintf(records[i].name, sizeof records[i].name, "r%08x", (unsigned)next());
    }
    qsort(records, count, sizeof *records, by_key);
    printf("by key    %s %016llx\n", records[0].name, (unsigned long long)hash(records, count));
    qsort(records, count, sizeof *records, by_weight);
    printf("by weight %s %016llx\n", records[0].name, (unsigned long long)hash(records, count));
    free(records);
    return 0;
}
