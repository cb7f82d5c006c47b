/* Debian's libgcc_eh looks for the tables for unwinding by _dl_find_object of glibc, which musl has
   not; this finds them by dl_iterate_phdr, which it has. */
#define _GNU_SOURCE
#include <link.h>
#include <pthread.h>
#include <string.h>

/* struct dl_find_object of glibc's dlfcn.h. */
struct found {
    unsigned long long flags;
    void *start, *end, *link_map, *eh_frame;
    unsigned long long reserved[7];
};

struct question {
    unsigned long pc;
    struct found *answer;
};

static int look_at(struct dl_phdr_info *object, size_t size, void *data) {
    struct question *question = data;
    unsigned long start = -1ul, end = 0, eh_frame = 0;
    (void)size;
    for (int n = 0; n < object->dlpi_phnum; n++) {
        unsigned long from = object->dlpi_addr + object->dlpi_phdr[n].p_vaddr;
        unsigned long to = from + object->dlpi_phdr[n].p_memsz;
        switch (object->dlpi_phdr[n].p_type) {
        case PT_LOAD:
            if (from < start) start = from;
            if (to > end) end = to;
            break;
        case PT_GNU_EH_FRAME:
            eh_frame = from;
        }
    }
    if (question->pc < start || question->pc >= end || !eh_frame) return 0;
    memset(question->answer, 0, sizeof *question->answer);
    question->answer->start = (void *)start;
    question->answer->end = (void *)end;
    question->answer->eh_frame = (void *)eh_frame;
    return 1;
}

int _dl_find_object(void *pc, void *answer) {
    struct question question = {(unsigned long)pc, answer};
    return dl_iterate_phdr(look_at, &question) ? 0 : -1;
}

/* libgcc_eh names these weakly; they are to be taken out of libc.a all the same. */
void *const dl_find_object_needs[] = {
    (void *)pthread_once,       (void *)pthread_mutex_lock,  (void *)pthread_mutex_unlock,
    (void *)pthread_key_create, (void *)pthread_getspecific, (void *)pthread_setspecific,
};
