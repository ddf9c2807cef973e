// Packs text by references to what came before, unpacks it again, and leaves the packed bytes in /out.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SIZE 60000
#define WINDOW 4096

static unsigned char text[SIZE], packed[2 * SIZE], again[SIZE];

static void make_text(void) {
    static const char *words[] = {"lend", "machines", "to", "tasks", "fuel", "is", "the", "currency", "of", "a", "guest"};
    unsigned random = 12345;
    size_t at = 0;
    while (at < SIZE) {
        random = random * 1664525u + 1013904223u;
        const char *word = words[(random >> 16) % 11];
        for (; *word && at < SIZE; word++) text[at++] = *word;
        if (at < SIZE) text[at++] = random >> 30 ? ' ' : '\n';
    }
}

static size_t pack(void) {
    size_t out = 0, at = 0;
    while (at < SIZE) {
        size_t best = 0, distance = 0, from = at > WINDOW ? at - WINDOW : 0;
        for (size_t candidate = from; candidate < at; candidate++) {
            size_t length = 0;
            while (length < 255 && at + length < SIZE && text[candidate + length] == text[at + length]) length++;
            if (length > best) best = length, distance = at - candidate;
        }
        if (best >= 4) {
            packed[out++] = best, packed[out++] = distance >> 8, packed[out++] = distance & 255;
            at += best;
        } else {
            packed[out++] = 0, packed[out++] = text[at++];
        }
    }
    return out;
}

static size_t unpack(size_t size) {
    size_t at = 0;
    for (size_t in = 0; in < size;) {
        size_t length = packed[in++];
        if (length == 0) { again[at++] = packed[in++]; continue; }
        size_t distance = packed[in] << 8 | packed[in + 1];
        in += 2;
        for (size_t i = 0; i < length; i++, at++) again[at] = again[at - distance];
    }
    return at;
}

int main(void) {
    make_text();
    size_t size = pack();
    if (unpack(size) != SIZE || memcmp(text, again, SIZE)) { fprintf(stderr, "it does not come back\n"); return 1; }
    FILE *file = fopen("/out/packed", "wb");
    if (!file || fwrite(packed, 1, size, file) != size || fclose(file)) { perror("/out/packed"); return 1; }
    printf("%d bytes became %zu\n", SIZE, size);
    return 0;
}
