/* What the parts of the shim share. */
#include <stdbool.h>

enum { BAD_USAGE = 64, NOT_STARTED = 126, NOT_FOUND = 127 };

extern int signal_fd;
void take_over_signals(void);
int next_signal(void);
long now_ms(int clock);
void end_descendants(void);

/* Writes what the processes of the attempt have used so far. What fails is left out. */
void record_usage(int run_dir, long at_ms);

/* The shim's two other uses, within an attempt that runs: see README.md. They answer the exit status. */
int run_session(char **arguments);
int run_relay(char **arguments);
