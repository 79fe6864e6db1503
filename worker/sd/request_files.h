/* Files that a request brings along, besides the model. */
#ifndef FARM_REQUEST_FILES_H
#define FARM_REQUEST_FILES_H

/* A LoRA and how strongly it acts. Texts are borrowed. */
struct adapter_use {
    const char *path;
    const char *name; /* in messages */
    double weight;
};

/* A textual inversion. Texts are borrowed. */
struct embedding_file {
    const char *path;
    const char *name; /* "cat-style.safetensors": the trigger is cat-style */
};

#endif
