/* A stand-in for the plugin Pyxis of Slurm, for tests where the real one is not to be had. It takes the
 * options that FetchML uses, in the syntax that Pyxis documents, so that srun rejects every other one. The
 * image is a squashfs file. The step runs in a mount namespace of its own with the image as root, and
 * as the account of the job; unlike with Pyxis there is no user namespace. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <slurm/spank.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

SPANK_PLUGIN(pyxis_stand_in, 1)

enum { LONGEST_PATH = 4096, LONGEST_LINE = 8192 };
static char *image, *mounts, *workdir;
static bool readonly, without_home, without_root, without_entrypoint;

static int keep(char **kept, const char *given, const char *name) {
    if (!given || !*given || (*kept && strcmp(*kept, given) != 0)) {
        slurm_error("stand-in of pyxis: --container-%s needs one value", name);
        return -1;
    }
    if (!*kept) *kept = strdup(given);
    return *kept ? 0 : -1;
}

static int take_image(int val, const char *given, int remote) { return keep(&image, given, "image"); }
static int take_mounts(int val, const char *given, int remote) { return keep(&mounts, given, "mounts"); }
static int take_workdir(int val, const char *given, int remote) { return keep(&workdir, given, "workdir"); }
static int take_readonly(int val, const char *given, int remote) { return readonly = true, 0; }
static int take_home(int val, const char *given, int remote) { return without_home = true, 0; }
static int take_root(int val, const char *given, int remote) { return without_root = true, 0; }
static int take_entrypoint(int val, const char *given, int remote) { return without_entrypoint = true, 0; }

static struct spank_option options[] = {
    {"container-image", "IMAGE", "[stand-in of pyxis] path of a squashfs file", 1, 0, take_image},
    {"container-mounts", "SRC:DST[:FLAGS],...", "[stand-in of pyxis] bind mounts", 1, 0, take_mounts},
    {"container-workdir", "PATH", "[stand-in of pyxis] working directory", 1, 0, take_workdir},
    {"container-readonly", NULL, "[stand-in of pyxis] read-only root", 0, 0, take_readonly},
    {"no-container-mount-home", NULL, "[stand-in of pyxis] no home", 0, 0, take_home},
    {"no-container-remap-root", NULL, "[stand-in of pyxis] own uid", 0, 0, take_root},
    {"no-container-entrypoint", NULL, "[stand-in of pyxis] no entry point", 0, 0, take_entrypoint},
    SPANK_OPTIONS_TABLE_END};

int slurm_spank_init(spank_t sp, int ac, char **av) {
    if (spank_context() != S_CTX_LOCAL && spank_context() != S_CTX_REMOTE) return 0;
    for (int i = 0; options[i].name; i++)
        if (spank_option_register(sp, &options[i]) != ESPANK_SUCCESS) return -1;
    return 0;
}

static int failed(const char *what, const char *which) {
    slurm_error("stand-in of pyxis: %s %s: %s", what, which, strerror(errno));
    return -1;
}

/* Makes a mount point: a file for a file, else a folder, and the folders above it. */
static int make_place(const char *path, bool is_file) {
    char part[LONGEST_PATH];
    for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        snprintf(part, sizeof part, "%.*s", (int)(slash - path), path);
        if (mkdir(part, 0755) != 0 && errno != EEXIST) return -1;
    }
    if (!is_file) return mkdir(path, 0755) != 0 && errno != EEXIST ? -1 : 0;
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    return fd < 0 ? -1 : close(fd);
}

static int bind(const char *root, const char *from, const char *to, bool is_readonly) {
    struct stat found;
    char place[LONGEST_PATH];
    snprintf(place, sizeof place, "%s%s", root, to);
    if (stat(from, &found) != 0) return failed("no source of a mount:", from);
    if (make_place(place, !S_ISDIR(found.st_mode)) != 0) return failed("can't make", place);
    if (mount(from, place, NULL, MS_BIND | MS_REC, NULL) != 0) return failed("can't mount", from);
    if (is_readonly && mount(NULL, place, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) != 0)
        return failed("can't make read-only", place);
    return 0;
}

static int bind_all(const char *root, char *given) {
    for (char *each; (each = strsep(&given, ","));) {
        char *from = strsep(&each, ":"), *to = strsep(&each, ":"), *flags = each;
        bool is_readonly = flags && !strcmp(flags, "ro");
        if (*from != '/' || !to || *to != '/' || (flags && !is_readonly && strcmp(flags, "rw") != 0)) {
            slurm_error("stand-in of pyxis: unusable mount of %s", from);
            return -1;
        }
        if (bind(root, from, to, is_readonly) != 0) return -1;
    }
    return 0;
}

static int unpack(const char *root) {
    char *suffix = strrchr(image, '.');
    if (*image != '/' || !suffix || strcmp(suffix, ".sqsh") != 0) {
        slurm_error("stand-in of pyxis: failed to import docker image: %s: no registry here", image);
        return -1;
    }
    if (access(image, F_OK) != 0) { /* enroot's words */
        slurm_error("stand-in of pyxis:     [ERROR] No such file or directory: %s", image);
        return -1;
    }
    pid_t pid = fork();
    if (pid == 0) {
        freopen("/dev/null", "w", stdout);
        execlp("unsquashfs", "unsquashfs", "-no-progress", "-force", "-dest", root, image, NULL);
        _exit(127);
    }
    int status;
    if (pid < 0 || waitpid(pid, &status, 0) != pid) return failed("can't unpack", image);
    if (status != 0) slurm_error("stand-in of pyxis: failed to create container filesystem for image: %s", image);
    return status == 0 ? 0 : -1;
}

/* As root, with `av[0]` as an empty folder of the node. */
static int enter(spank_t sp, int ac, char **av) {
    if (ac != 1 || !mounts || !workdir || !readonly || !without_home || !without_root || !without_entrypoint) {
        slurm_error("stand-in of pyxis: an option is missing");
        return -1;
    }
    const char *root = av[0];
    char place[LONGEST_PATH], owner[64];
    uid_t uid;
    spank_get_item(sp, S_JOB_UID, &uid);
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) != 0)
        return failed("no namespace of its own at", root);
    if (mount("tmpfs", root, "tmpfs", 0, "mode=755") != 0) return failed("can't mount", root);
    if (unpack(root) != 0) return -1;
    const char *system[] = {"/proc", "/sys", "/dev"};
    for (int i = 0; i < 3; i++)
        if (bind(root, system[i], system[i], false) != 0) return -1;
    snprintf(place, sizeof place, "%s/tmp", root);
    snprintf(owner, sizeof owner, "mode=755,uid=%u", uid);
    if (make_place(place, false) != 0 || mount("tmpfs", place, "tmpfs", MS_NOSUID | MS_NODEV, owner) != 0)
        return failed("can't mount", place);
    if (bind_all(root, mounts) != 0) return -1;
    if (mount(NULL, root, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) != 0)
        return failed("can't make read-only", root);
    return chdir(root) != 0 || chroot(".") != 0 ? failed("can't enter", root) : 0;
}

int slurm_spank_task_init_privileged(spank_t sp, int ac, char **av) {
    if (!image) return 0;
    mode_t of_job = umask(022); /* the mount points are for the account */
    int code = enter(sp, ac, av);
    umask(of_job);
    return code;
}

/* The variables of the image, which override those of the step. */
static void take_variables(spank_t sp) {
    char line[LONGEST_LINE];
    FILE *file = fopen("/etc/environment", "re");
    while (file && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        char *equals = strchr(line, '=');
        if (!equals) continue;
        *equals = 0;
        spank_setenv(sp, line, equals + 1, 1);
    }
    if (file) fclose(file);
}

int slurm_spank_task_init(spank_t sp, int ac, char **av) {
    if (!image) return 0;
    take_variables(sp);
    return chdir(workdir) != 0 ? failed("can't enter", workdir) : 0;
}
