/* A stand-in for NVIDIA's libnvidia-ml.so.1: it reads what it tells from the file gpus.txt beside
 * itself, anew on each call. The binding's own types say how a function is called.
 *
 *   driver VERSION            none: NVML_ERROR_DRIVER_NOT_LOADED
 *   generation N              a session that began under another number is not valid any more
 *   hang                      the next calls return only when this line is gone
 *   gpu UUID key=value ...    name memory used temp use power minor bus mig ecc action
 *                             error (of all calls about it), handle (of the call that finds it)
 *   mig UUID parent=UUID ...  the same, and gi ci
 *   process UUID PID MB       counts while such a process lives
 *   draws UUID PID MB         the same of a program that draws
 *   uses UUID PID PERCENT     a sample of a process that computed, at the time of the line's number
 *   xid UUID CODE [GI CI]     an event; each line is told once to each event set
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef unsigned int u32;
typedef unsigned long long u64;
enum { OK, UNINITIALIZED, INVALID, NOT_SUPPORTED, NOT_FOUND = 6, TOO_SMALL, NO_DRIVER = 9,
       TIMEOUT = 10, VERSION = 25 };

typedef struct { char uuid[96]; } device;
typedef struct { u32 told; } events;
typedef struct { u32 pid; u64 bytes; u32 gi, ci; } process_v2;
typedef struct { u32 pid; u64 at; u32 sm, memory, encoder, decoder; } sample;
typedef struct { u64 total, free, used; } memory_v1;
typedef struct { u32 version; u64 total, reserved, free, used; } memory_v2;
typedef struct { device *gpu; u64 type, data; u32 gi, ci; } event;
typedef struct { u32 field, scope; long long at, took; u32 type, result; union { u32 u; u64 l; } value; } field;
typedef struct { char legacy[16]; u32 domain, bus, device, id, subsystem; char bus_id[32]; } pci;

static device devices[256];
static long session = -1; /* the generation in which nvmlInit was called */
static long sessions;     /* nvmlShutdown ends the last one only */

static FILE *state(void) {
    Dl_info info;
    char path[4096];
    dladdr((void *)state, &info);
    snprintf(path, sizeof path, "%s", info.dli_fname);
    strcpy(strrchr(path, '/') + 1, "gpus.txt");
    return fopen(path, "r");
}

/* The next line that begins with `word`, without it; NULL at the end. */
static char *next(FILE *file, const char *word) {
    static __thread char line[1024];
    size_t length = strlen(word);
    while (file && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        if (!strncmp(line, word, length) && (line[length] == ' ' || !line[length]))
            return line + length + (line[length] == ' ');
    }
    return NULL;
}

static int find(const char *word, char *into, size_t size) {
    FILE *file = state();
    char *line = next(file, word);
    if (line) snprintf(into, size, "%s", line);
    if (file) fclose(file);
    return line != NULL;
}

static long generation(void) {
    char text[64];
    return find("generation", text, sizeof text) ? atol(text) : 0;
}

static int invalid(void) {
    char text[64];
    while (find("hang", text, sizeof text)) usleep(5000);
    if (!find("driver", text, sizeof text)) return session < 0 ? NO_DRIVER : UNINITIALIZED;
    return session == generation() ? OK : UNINITIALIZED;
}

/* A device's line, after its UUID. */
static int describe(device *gpu, char *into, size_t size) {
    const char *words[] = {"gpu", "mig"};
    for (int i = 0; i < 2; i++) {
        FILE *file = state();
        for (char *line; (line = next(file, words[i]));) {
            size_t length = strlen(gpu->uuid);
            if (strncmp(line, gpu->uuid, length) || line[length] != ' ') continue;
            snprintf(into, size, "%s ", line + length);
            fclose(file);
            return 1;
        }
        if (file) fclose(file);
    }
    return 0;
}

static int text_of(device *gpu, const char *key, char *into, size_t size) {
    char line[1024], wanted[64];
    if (!describe(gpu, line, sizeof line)) return 0;
    snprintf(wanted, sizeof wanted, " %s=", key);
    char *at = strstr(line, wanted);
    if (!at) return 0;
    snprintf(into, size, "%.*s", (int)strcspn(at + strlen(wanted), " "), at + strlen(wanted));
    return 1;
}

static long number_of(device *gpu, const char *key, long otherwise) {
    char text[64];
    return text_of(gpu, key, text, sizeof text) ? atol(text) : otherwise;
}

/* What a call about a device fails with. */
static int failure(device *gpu) {
    char line[1024];
    int error = invalid();
    if (error) return error;
    if (!describe(gpu, line, sizeof line)) return 15; /* NVML_ERROR_GPU_IS_LOST */
    return number_of(gpu, "error", OK);
}

static device *intern(const char *uuid) {
    for (int i = 0; i < 256; i++) {
        if (!devices[i].uuid[0]) snprintf(devices[i].uuid, sizeof devices[i].uuid, "%s", uuid);
        if (!strcmp(devices[i].uuid, uuid)) return &devices[i];
    }
    abort();
}

/* The nth line `word` whose `parent` is this one's; NULL counts all. */
static int nth(const char *word, const char *parent, u32 index, device **found) {
    char uuid[96], wanted[128];
    FILE *file = state();
    int error = NOT_FOUND;
    if (parent) snprintf(wanted, sizeof wanted, " parent=%s", parent);
    for (char *line; error && (line = next(file, word));) {
        if ((parent && !strstr(line, wanted)) || index--) continue;
        sscanf(line, "%95s", uuid);
        *found = intern(uuid);
        error = OK;
    }
    if (file) fclose(file);
    return error;
}

static u32 processes(const char *word, device *gpu, process_v2 *into, u32 most) {
    u32 count = 0, pid;
    u64 mb;
    char uuid[96];
    FILE *file = state();
    for (char *line; (line = next(file, word));) {
        if (sscanf(line, "%95s %u %llu", uuid, &pid, &mb) != 3 || strcmp(uuid, gpu->uuid)) continue;
        if (kill((pid_t)pid, 0) != 0) continue;
        if (into && count < most) into[count] = (process_v2){pid, mb << 20, -1, -1};
        count++;
    }
    if (file) fclose(file);
    return count;
}

static u64 used(device *gpu) {
    process_v2 found[256];
    u64 sum = (u64)number_of(gpu, "used", 0) << 20;
    const char *words[] = {"process", "draws"};
    for (int w = 0; w < 2; w++)
        for (u32 i = 0, n = processes(words[w], gpu, found, 256); i < n; i++) sum += found[i].bytes;
    return sum;
}

int nvmlInitWithFlags(u32 flags) {
    char text[64];
    (void)flags;
    while (find("hang", text, sizeof text)) usleep(5000);
    if (!find("driver", text, sizeof text)) return NO_DRIVER;
    session = generation();
    __atomic_fetch_add(&sessions, 1, __ATOMIC_SEQ_CST);
    return OK;
}
int nvmlShutdown(void) {
    if (__atomic_sub_fetch(&sessions, 1, __ATOMIC_SEQ_CST) == 0) session = -1;
    return OK;
}
const char *nvmlErrorString(int code) {
    static __thread char text[32];
    snprintf(text, sizeof text, "error %d", code);
    return text;
}
int nvmlSystemGetDriverVersion(char *into, u32 size) {
    return find("driver", into, size) ? OK : NO_DRIVER;
}
int nvmlSystemGetCudaDriverVersion(int *version) {
    *version = 12040;
    return OK;
}
int nvmlDeviceGetCount_v2(u32 *count) {
    device *gpu;
    int error = invalid();
    for (*count = 0; !error && nth("gpu", NULL, *count, &gpu) == OK;) ++*count;
    return error;
}
int nvmlDeviceGetHandleByIndex_v2(u32 index, device **gpu) {
    int error = invalid();
    if (!error) error = nth("gpu", NULL, index, gpu);
    return error ? error : number_of(*gpu, "handle", OK);
}
int nvmlDeviceGetUUID(device *gpu, char *into, u32 size) {
    int error = failure(gpu);
    if (!error) snprintf(into, size, "%s", gpu->uuid);
    return error;
}
int nvmlDeviceGetName(device *gpu, char *into, u32 size) {
    int error = failure(gpu);
    if (error) return error;
    if (!text_of(gpu, "name", into, size)) return NOT_SUPPORTED;
    for (char *c = into; *c; c++) if (*c == '_') *c = ' ';
    return OK;
}
static int number(device *gpu, const char *key, u32 *into) {
    int error = failure(gpu);
    long value = number_of(gpu, key, -1);
    if (!error) *into = (u32)value;
    return error ? error : value < 0 ? NOT_SUPPORTED : OK;
}
int nvmlDeviceGetMinorNumber(device *gpu, u32 *into) { return number(gpu, "minor", into); }
int nvmlDeviceGetGpuInstanceId(device *gpu, u32 *into) { return number(gpu, "gi", into); }
int nvmlDeviceGetComputeInstanceId(device *gpu, u32 *into) { return number(gpu, "ci", into); }
int nvmlDeviceGetMigMode(device *gpu, u32 *now, u32 *later) {
    int error = number(gpu, "mig", now);
    *later = *now;
    return error;
}
int nvmlDeviceGetMaxMigDeviceCount(device *gpu, u32 *count) {
    *count = 7;
    return failure(gpu);
}
int nvmlDeviceGetMigDeviceHandleByIndex(device *gpu, u32 index, device **part) {
    int error = failure(gpu);
    return error ? error : nth("mig", gpu->uuid, index, part);
}
int nvmlDeviceGetPciInfo_v3(device *gpu, pci *into) {
    int error = failure(gpu);
    return error ? error : text_of(gpu, "bus", into->bus_id, sizeof into->bus_id) ? OK : NOT_SUPPORTED;
}
int nvmlDeviceGetMemoryInfo(device *gpu, memory_v1 *into) {
    int error = failure(gpu);
    into->total = (u64)number_of(gpu, "memory", 0) << 20;
    into->used = used(gpu);
    into->free = into->total - into->used;
    return error;
}
int nvmlDeviceGetMemoryInfo_v2(device *gpu, memory_v2 *into) {
    memory_v1 old;
    int error = nvmlDeviceGetMemoryInfo(gpu, &old);
    into->total = old.total, into->used = old.used, into->free = old.free, into->reserved = 0;
    return error;
}
int nvmlDeviceGetUtilizationRates(device *gpu, u32 *into) {
    into[1] = 0;
    return number(gpu, "use", into);
}
int nvmlDeviceGetTemperatureV(device *gpu, u32 *into) { return number(gpu, "temp", into + 2); }
int nvmlDeviceGetPowerUsage(device *gpu, u32 *into) { return number(gpu, "power", into); }
int nvmlDeviceGetTotalEccErrors(device *gpu, u32 type, u32 counter, u64 *into) {
    u32 count = 0;
    int error = number(gpu, "ecc", &count);
    (void)type, (void)counter;
    *into = count;
    return error;
}
int nvmlDeviceGetFieldValues(device *gpu, int count, field *into) {
    for (int i = 0; i < count; i++)
        into[i].result = number(gpu, "action", &into[i].value.u);
    return failure(gpu);
}
static int list(const char *word, device *gpu, u32 *count, process_v2 *into) {
    int error = failure(gpu);
    if (error) return error;
    u32 most = *count;
    *count = processes(word, gpu, into, most);
    return *count > most ? TOO_SMALL : OK;
}
int nvmlDeviceGetComputeRunningProcesses_v3(device *gpu, u32 *count, process_v2 *into) {
    return list("process", gpu, count, into);
}
int nvmlDeviceGetGraphicsRunningProcesses_v3(device *gpu, u32 *count, process_v2 *into) {
    return list("draws", gpu, count, into);
}
int nvmlDeviceGetProcessUtilization(device *gpu, sample *into, u32 *count, u64 since) {
    int error = failure(gpu);
    if (error) return error;
    if (number_of(gpu, "by_process", 1) == 0) return NOT_SUPPORTED;
    u32 most = *count, pid, percent;
    u64 at = 0;
    char uuid[96];
    FILE *file = state();
    *count = 0;
    for (char *line; (line = next(file, "uses"));) {
        if (sscanf(line, "%95s %u %u", uuid, &pid, &percent) != 3 || ++at <= since) continue;
        if (strcmp(uuid, gpu->uuid)) continue;
        if (into && *count < most) into[*count] = (sample){pid, at, percent, 1, 0, 0};
        ++*count;
    }
    if (file) fclose(file);
    return !*count ? NOT_FOUND : *count > most ? TOO_SMALL : OK;
}
int nvmlDeviceGetSupportedEventTypes(device *gpu, u64 *types) {
    *types = 0xffff;
    return failure(gpu);
}
int nvmlEventSetCreate(events **set) {
    *set = calloc(1, sizeof **set);
    return invalid();
}
int nvmlDeviceRegisterEvents(device *gpu, u64 types, events *set) {
    (void)types, (void)set;
    return failure(gpu);
}
int nvmlEventSetWait_v2(events *set, event *into, u32 ms) {
    for (u32 waited = 0; waited < ms; waited += 2, usleep(2000)) {
        int error = invalid();
        if (error) return error;
        char uuid[96];
        u32 index = set->told;
        FILE *file = state();
        char *line = next(file, "xid");
        while (line && index--) line = next(file, "xid");
        *into = (event){.type = 8, .gi = -1, .ci = -1};
        int found = line && sscanf(line, "%95s %llu %u %u", uuid, &into->data, &into->gi, &into->ci) >= 2;
        if (file) fclose(file);
        if (!found) continue;
        set->told++;
        into->gpu = intern(uuid);
        return OK;
    }
    return TIMEOUT;
}
int nvmlEventSetFree(events *set) {
    free(set);
    return OK;
}
