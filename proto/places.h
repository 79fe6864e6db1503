/* What programs on one machine agree on: the files in a coordinator's state folder that
 * others read or write, the files of a member, and how `farmctl --local` starts a private
 * farm, each in one session that its keeper (client/keeper.c) ends as a whole:
 *
 *   farm-coordinator --state STATE --bind tcp://127.0.0.1 --port 0 --bulk-port 0
 *       --exit-when-idle-s 60
 *   farm-worker --state STATE/worker join -            (token on stdin)
 *   farm-worker --state STATE/worker --depot STATE/blobs
 */
#ifndef FARM_PLACES_H
#define FARM_PLACES_H

/* In a coordinator's state folder. PLACE_ADDRESS is replaced at every start, once both ports
 * are bound: first line the control address with the real port ("tcp://127.0.0.1:40123"),
 * second line the server's public key as Z85, third line the farm's name. It is no secret.
 * PLACE_ADMIN_TOKEN (0600) is written at the first start, a token for one administrator. */
#define PLACE_ADDRESS     "address"
#define PLACE_ADMIN_TOKEN "admin.token"

/* Also there: blobs/ab/abcdef..., what proto/files/blob.h keeps; and import/abcdef..., files
 * that a program of the same user put there under their blob's name, by hard link, before it
 * sent ModelAdd: the coordinator takes them in (verified) instead of asking for an upload. */
#define PLACE_BLOBS  "blobs"
#define PLACE_IMPORT "import"

/* In a coordinator's state folder and in a worker's: locked while the program runs. */
#define PLACE_LOCK "lock"

/* In a member's folder (farmctl: path_config()/farms/NAME, a worker: its state folder):
 * its key file, and what PLACE_ADDRESS says of the farm it joined. */
#define PLACE_KEY  "key"
#define PLACE_FARM "farm.conf"

#endif
