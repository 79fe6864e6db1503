#!/usr/bin/env python3
"""Deliberate defects, each of which the simulation must find.

A mutant is the program with one text replaced in one file: that file is compiled as the build
compiles it and linked before the libraries, whose own version of it is then not used.

    mutants.py BUILD [--seeds N] [NAME...]
"""
import argparse
import json
import pathlib
import shlex
import subprocess
import sys

SOURCE = pathlib.Path(__file__).resolve().parents[2]

# name: file, text, what stands in its place; how farm_sim is run, if not over seeds
MUTANTS = {
    "answers_before_the_commit": (
        "coordinator/outbox.c", "letter->change <= durable",
        "letter->change <= durable + 1000"),
    "leases_never_end": (
        "coordinator/work.c", "(lease = queue_expired(self->queue, self->now))",
        "(lease = NULL)"),
    "ids_repeat_after_a_restart": (
        "coordinator/store_open.c", 'max(epoch + 1, %" PRId64 ")',
        'max(epoch, 7 + 0 * %" PRId64 ")'),
    "files_are_not_synced": (
        "coordinator/change.c", "self->blobs = true;", "self->blobs = false;"),
    "what_is_not_synced_counts_as_synced": (
        "coordinator/synced.c", "return zhashx_lookup(self->young, id) ||",
        "return self ||"),
    "a_returned_task_is_forgotten": (
        "coordinator/queue.c", "give_back((*lease)->job, (*lease)->index, not_before);",
        "(*lease)->job->task[(*lease)->index] = QUEUE_READY;"),
    "sharers_are_forgotten": (
        "coordinator/queue.c", "        mark(s->job, s->index, state);\n", ""),
    "a_twin_loses_the_sharers": (
        "coordinator/queue.c", "twin->sharers = gone->sharers;", "twin->sharers = NULL;"),
    "both_twins_stay": (
        "coordinator/work.c", "        drop_twin(self, *lease);\n        attempt_ends",
        "        attempt_ends"),
    "late_results_are_discarded": (
        "coordinator/handlers_work.c",
        "return *lease || state == QUEUE_READY || state == QUEUE_FAILED;", "return *lease;"),
    "credit_forgets_what_is_under_way": (
        "coordinator/registry.c", "coming < credit ? credit - (uint32_t)coming : 0",
        "coming < credit ? credit : credit"),
    "what_is_rendered_is_not_counted": (
        "coordinator/shares.c", "share_used(self, now) + step_pixels;",
        "share_used(self, now) + 0 * step_pixels;", "--paces"),
    "slow_nodes_get_as_much_as_they_ask_for": (
        "coordinator/scheduler.c", "if (all <= (double)ready)", "if (true)", "--paces"),
    "a_result_without_latents_is_reused": (
        "coordinator/work.c", "view->key, job->latents, &result)",
        "view->key, false, &result)"),
    "assigns_do_not_wait_for_their_job": (
        "coordinator/assign.c",
        "uint64_t after = ((const struct job *)job->tag)->settled_by;",
        "uint64_t after = 0; (void)job;"),
    "what_waits_goes_out_ahead": (
        "coordinator/outbox.c", "if (letter->change > durable || letter->forgotten)",
        "if (letter->forgotten)"),
    "canceling_one_cancels_who_shares": (
        "coordinator/queue.c", "if (lease->sharers) {", "if (false) {"),
    "a_wrong_piece_counts_as_here": (
        "worker/gather.c", "        piece->state = MISSING;\n        source->coming--;",
        "        piece->state = HERE;\n        self->missing--;\n        source->coming--;"),
    "what_one_who_is_gone_was_asked_for_is_forgotten": (
        "worker/gather.c", "            self->piece[p].state = MISSING;\n"
        "    self->source[source].coming = 0;", "            ;\n"
        "    self->source[source].coming = 0;"),
    "anybody_is_given_pieces": (
        "worker/serve.c", "if (!may_have(self, want->key, want->blob, &error) ||", "if ("),
    "a_grant_that_is_taken_back_stays": (
        "worker/serve.c", "            drop_grant(self, g);\n    for", "            ;\n    for"),
    "the_coordinator_gives_everybody_everything": (
        "coordinator/swarm.c", "choose(model, member, member->alone_until > now)",
        "choose(model, member, true)"),
    "a_job_is_shown_before_its_end_is_on_disk": (
        "coordinator/parked.c", "if (change <= self->durable)", "if (true)"),
    "files_of_rows_on_their_way_count_as_nobodys": (
        "coordinator/recent.c", "    return name != NULL;", "    return false;"),
    "slow_links_are_asked_again_and_again": (
        "worker/patience.c",
        "if (now_ms - self->silent_ms <= limit)", "if (now_ms - self->silent_ms <= limit / 8)"),
    "a_canceled_job_is_not_stored": (
        "coordinator/work.c", "change_job_ended(self->change, &row);", ""),
    "anybody_may_speak_of_an_attempt": (
        "coordinator/handlers_work.c",
        "return lease && lease->node == node->number ? lease : NULL;",
        "(void)node; return lease;"),
    "what_was_handed_on_waits_for_who_is_gone": (
        "coordinator/work_decode.c", "    queue_unkeep(job, goes, self);\n", ""),
    "done_tasks_are_not_stored": (
        "coordinator/work.c",
        "    change_task(self->change, &row);\n    metrics_count(&self->metrics, METRICS_DONE);",
        "    metrics_count(&self->metrics, METRICS_DONE);"),
}


def compile_mutant(build, name, folder):
    path, old, new = MUTANTS[name][:3]
    text = (SOURCE / path).read_text()
    if text.count(old) != 1:
        sys.exit(f"mutants.py: {name}: the text is {text.count(old)} times in {path}")
    commands = json.loads((build / "compile_commands.json").read_text())
    entry = next(c for c in commands if c["file"] == str(SOURCE / path))
    changed = folder / f"{name}.c"
    changed.write_text(text.replace(old, new))
    command = shlex.split(entry["command"])
    command[command.index("-o") + 1] = str(folder / f"{name}.o")
    command[command.index(str(SOURCE / path))] = str(changed)
    subprocess.run(command + ["-w", "-Wno-error"], cwd=entry["directory"], check=True)
    return folder / f"{name}.o"


def link_command(build):
    """What links farm_sim, as ninja would run it."""
    text = subprocess.run(["ninja", "-C", build, "-t", "commands", "-s", "bin/farm_sim"],
                          capture_output=True, text=True, check=True).stdout
    line = next(line for line in text.splitlines() if " -o bin/farm_sim" in line)
    return line.removeprefix(": && ").removesuffix(" && :")


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("build", type=lambda p: pathlib.Path(p).resolve())
    arguments.add_argument("--seeds", default="300")
    arguments.add_argument("names", nargs="*")
    given = arguments.parse_intermixed_args()
    folder = given.build / "mutants"
    folder.mkdir(exist_ok=True)
    link, missed = link_command(given.build), []
    for name in given.names or MUTANTS:
        made = compile_mutant(given.build, name, folder)
        program = folder / name
        subprocess.run(link.replace(" -o bin/farm_sim", f" {made} -o {program}"), shell=True,
                       cwd=given.build, check=True)
        ran = subprocess.run([program, *(MUTANTS[name][3:] or ["--seeds", given.seeds])],
                             capture_output=True, text=True)
        found = ran.returncode != 0
        words = (ran.stdout.strip() or ran.stderr.strip()).splitlines()
        print(f"{name}: {'found' if found else 'NOT FOUND'}: {words[0][:150] if words else ''}",
              flush=True)
        missed += [] if found else [name]
        program.unlink()
    print(f"{len(given.names or MUTANTS) - len(missed)} found, {len(missed)} not")
    return bool(missed)


sys.exit(main())
