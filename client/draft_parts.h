/* The parts of a draft: adding to a Farm__Job whose memory is protobuf-c's to free. */
#ifndef FARM_DRAFT_PARTS_H
#define FARM_DRAFT_PARTS_H

#include "proto/job/job.h"

void draft_add_prompt(Farm__Job *job, const char *prompt);
void draft_clear_seeds(Farm__Job *job);
void draft_set_label(Farm__Job *job, const char *label);

/* Replaces what was set before. */
void draft_set(Farm__Job *job, const char *name, const char *value);

/* "KEY=V1,V2" (backslash takes the comma's meaning) or "KEY=@FILE", one value a line. */
bool draft_add_axis(Farm__Job *job, const char *text, struct error *error);

/* Puts `{line|line}` for `__name__` in prompts, of the lines of name.txt in the folder of
 * wildcards. ERROR_INPUT names a file that is not there. */
bool draft_wildcards(Farm__Job *job, struct error *error);

/* Adds the files that prompts name as `<lora:NAME:WEIGHT>` to the option `lora`, from the
 * folder of LoRAs, where the option does not have them already. */
bool draft_tags(Farm__Job *job, struct error *error);

/* A whole job as an object: option names with text or numbers, "prompt" a text or several,
 * "seed" a number, a text as --seed takes it, or several, "axis" an object of arrays,
 * "label", "priority", "deadline", "latents", "force", "same-device-kind". ERROR_INPUT names the key. */
bool draft_take_json(Farm__Job *job, const char *text, struct error *error);

#endif
