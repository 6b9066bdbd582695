/* What the parts of the shim share. */
#include <stdbool.h>
#include <sys/types.h>

enum { BAD_USAGE = 64, NOT_STARTED = 126, NOT_FOUND = 127 };

extern int signal_fd;
void take_over_signals(void);
int next_signal(void);
long now_ms(int clock);
void end_descendants(void);

/* Notes that the byte of the log at `offset` comes at `at_ms`, unless the last note is too near. What
 * fails is left out. */
void record_log_time(int run_dir, long at_ms, long offset);

/* Writes what the processes of the attempt have used so far. What fails is left out. */
void record_usage(int run_dir, long at_ms);

/* Starts to renew a lease; false if that fails. Once it is lost, all children are killed. */
bool take_lease(int run_dir, long lease_ms);

/* Whether the lease is lost. `ended`: a child that has ended, or 0. */
bool lost_lease(pid_t ended);

/* Gives the command its secrets, from the file that the server left, which it removes; `folder` gets
 * those that are files. False: errno has the reason. */
bool take_secrets(int run_dir, const char *folder);
void remove_secrets(void);

/* Passes output on without the values of secrets. What may be the beginning of one is held until the
 * next output, or until there is no more. */
void write_redacted(const char *bytes, long size, void (*write_out)(const char *, long));
void write_held(void (*write_out)(const char *, long));

/* Adds the variables of a file, each with a NUL byte after it. An entry without `=` removes those whose
 * names begin with it. False: errno has the reason. */
bool add_environment(const char *path);

/* Keeps the present environment for the programs below: what is added later are secrets. */
bool keep_environment(void);

/* Starts a child that joins connections to a port of the loopback with the server's socket; `value` is
 * PORT:PATH. Without it the command runs as well. */
void start_gateway(const char *value);

/* Starts the program that measures the attempt's GPUs. */
void start_sampler(const char *program, int run_dir);

/* Starts the relay if the server has asked for it in its folder, and none runs. */
void look_at_entry(const char *control, const char *program, int run_dir);

/* Whether a child that has ended was the relay: the server may have asked for another one. */
bool relay_ended(pid_t child);

/* The shim's two other uses, within an attempt that runs: see README.md. They answer the exit status. */
int run_session(char **arguments);
int run_relay(char **arguments);
