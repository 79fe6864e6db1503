#include "coordinator/sheet.h"

#include <stdlib.h>
#include <string.h>

#include "coordinator/work.h"

/* Whether the node takes part now: it asks for work or has some. */
static bool takes_part(const struct coordinator *self, const struct node *node)
{
    return node_works(node, self->now) && (node->offer.credit || node->leased);
}

double sheet_busy(const struct coordinator *self, const struct node *node, double speed,
                  bool *late)
{
    *late = false;
    if (!node->leased)
        return 0;
    double elapsed = (double)(self->now - node->busy_since) / 1000;
    return scheduler_left(node->held, speed, elapsed, late);
}

/* The measured speeds of nodes that were measured, on average; 1 when none was. */
static double usual_speed(const struct coordinator *self,
                          const struct scheduler_task *task)
{
    double sum = 0;
    size_t count = 0;
    for (size_t n = 0; n < self->registry.count; n++) {
        const struct node *node = self->registry.node[n];
        double speed =
            takes_part(self, node) && speeds_known(&node->speeds, task->model)
                ? speeds_expect(&node->speeds, task->model, task->size_class)
                : 0;
        sum += speed;
        count += speed > 0;
    }
    return count ? sum / (double)count : 1;
}

static struct scheduler_pace pace_of(const struct coordinator *self,
                                     const struct sheet *sheet, const struct node *node,
                                     bool *late)
{
    const struct scheduler_task *task = &sheet->task;
    double speed = speeds_known(&node->speeds, task->model)
                       ? speeds_expect(&node->speeds, task->model, task->size_class)
                       : sheet->usual;
    double busy = sheet_busy(self, node, speed, late);
    return (struct scheduler_pace){speed / (double)task->step_pixels, busy};
}

void sheet_clear(struct sheet *sheet)
{
    free(sheet->pace);
    free(sheet->place);
    *sheet = (struct sheet){0};
}

static void sheet_make(const struct coordinator *self, struct sheet *sheet,
                       const struct queue_job *job, const struct scheduler_task *task)
{
    size_t nodes = self->registry.count;
    sheet_clear(sheet);
    sheet->job = job;
    sheet->task = *task;
    sheet->usual = usual_speed(self, task);
    sheet->pace = calloc(nodes + 1, sizeof *sheet->pace);
    sheet->place = calloc(nodes, sizeof *sheet->place);
    if (!sheet->pace || !sheet->place)
        abort();
    for (size_t n = 0; n < nodes; n++) {
        const struct node *node = self->registry.node[n];
        bool late = true;
        if (takes_part(self, node) && work_suits(job, node))
            sheet->pace[sheet->count] = pace_of(self, sheet, node, &late);
        sheet->place[n] = late ? SIZE_MAX : sheet->count++;
    }
}

static bool is_about(const struct sheet *sheet, const struct queue_job *job,
                     const struct scheduler_task *task)
{
    return sheet->job == job && sheet->task.size_class == task->size_class &&
           sheet->task.step_pixels == task->step_pixels &&
           memcmp(sheet->task.model, task->model, 32) == 0;
}

uint32_t sheet_portion(const struct coordinator *self, struct sheet *sheet,
                       const struct node *node, const struct queue_job *job,
                       const struct scheduler_task *task, uint32_t most)
{
    bool late;
    if (!is_about(sheet, job, task))
        sheet_make(self, sheet, job, task);
    size_t own = sheet->place[node->number - 1], count = sheet->count;
    if (own == SIZE_MAX) /* late with something else */
        own = count++;
    sheet->pace[own] = pace_of(self, sheet, node, &late);
    return scheduler_portion(sheet->pace, count, own, queue_ready(job), most);
}

void sheet_note(const struct coordinator *self, struct sheet *sheet,
                const struct node *node)
{
    bool late;
    if (sheet->job && sheet->place[node->number - 1] != SIZE_MAX)
        sheet->pace[sheet->place[node->number - 1]] = pace_of(self, sheet, node, &late);
}
