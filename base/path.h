/* Files and folders: joined names, whole files read and written, folders of a program.
 *
 * Every path returned is on the heap and the caller's to free.
 */
#ifndef FARM_PATH_H
#define FARM_PATH_H

#include <stddef.h>

#include "base/buffer.h"
#include "base/error.h"

/* printf for paths; never NULL, ends the process when memory is gone. */
char *path_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* $XDG_STATE_HOME/clfarm and its sisters, with the fallbacks the XDG base directory
 * specification names (~/.local/state, ~/.config, ~/.cache). Not created. */
char *path_state(void);
char *path_config(void);
char *path_cache(void);

/* Makes the folder and the ones above it, durably; those made get `mode` (0700 for
 * secrets). */
bool path_make_folders(const char *path, unsigned mode, struct error *error);

/* Appends the whole file. ERROR_NOT_FOUND when there is none, ERROR_INPUT when it is
 * larger than `limit` bytes. */
bool path_read(const char *path, size_t limit, struct buffer *into,
               struct error *error);

/* Replaces the file whole or not at all, durably: temporary file in the same folder,
 * fsync, rename, fsync of the folder. */
bool path_write(const char *path, const void *data, size_t size, unsigned mode,
                struct error *error);

/* The mode of files made for people: 0666 less what the umask forbids. */
unsigned path_shared_mode(void);

/* All of it into an open file; false with errno. */
bool path_write_all(int file, const void *data, size_t size);

/* Removes the folder with all that is in it, as far as it can; links are not followed. */
void path_remove_tree(const char *path);

/* fsync of a folder, so that names made in it survive power loss. */
bool path_sync_folder(const char *path, struct error *error);

/* An exclusive lock on the file (made when missing) until the descriptor is closed or the
 * process ends. -1 and ERROR_BUSY when another process has it and wait is false. */
int path_lock(const char *path, bool wait, struct error *error);

/* What errno says of the path, as an error: NOT_FOUND, BUSY where there is no room, else
 * FAILED. Returns false. */
bool path_failed(const char *path, struct error *error);

#endif
