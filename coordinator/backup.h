/* Copies of a state folder: made while the coordinator runs or not, and brought back.
 *
 *   backup   garbage is not collected meanwhile (STATE/gc.lock, shared)
 *            1. the database, by SQLite's online backup: one moment of it
 *            2. every blob it names, verified
 *            3. keys (0600) and the audit
 *            4. MANIFEST: a line "hash size name" for all but the blobs, which are named by
 *               their hash
 *   restore  into an empty folder: what the manifest names is verified, blobs too; what is
 *            missing or damaged is said, and its tasks are ready again (repair)
 *   repair   the same for a state folder nobody uses
 */
#ifndef FARM_BACKUP_H
#define FARM_BACKUP_H

#include "base/error.h"
#include "config/settings.h"

/* All name the folder of the settings' `backup` (repair: none) and print what they did. */
bool backup_make(const struct coordinator_settings *settings, struct error *error);
bool backup_restore(const struct coordinator_settings *settings, struct error *error);
bool backup_repair(const struct coordinator_settings *settings, struct error *error);

#endif
