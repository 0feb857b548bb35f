/* pocketuni: runs compact models on a CPU. The C interface.
 *
 * Every call that can fail returns a pu_status; pu_last_error() tells the thread that called what went wrong. A handle
 * may be used by one thread at a time, except pu_model, which any number of threads and sessions may share. Strings and
 * arrays that a call returns belong to the handle they came from and live as long as it, unless said otherwise. */
#ifndef POCKETUNI_H
#define POCKETUNI_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32)
#define PU_API __declspec(dllexport)
#else
#define PU_API __attribute__((visibility("default")))
#endif

typedef enum pu_status {
  PU_OK = 0,
  PU_INVALID_ARGUMENT = 1, /* a wrong name, shape, dtype, option or index */
  PU_IO = 2,               /* the operating system refused */
  PU_FORMAT = 3,           /* not a valid model file */
  PU_OUT_OF_MEMORY = 4,
  PU_INTERNAL = 5
} pu_status;

typedef enum pu_dtype { PU_FLOAT32 = 0, PU_INT32 = 1, PU_INT64 = 2, PU_BOOL = 3 } pu_dtype;

#define PU_MAX_RANK 8

/* A tensor: row-major, contiguous. */
typedef struct pu_tensor {
  pu_dtype dtype;
  int32_t rank;
  int64_t shape[PU_MAX_RANK];
  void* data;
} pu_tensor;

/* What a tower expects or gives. shape[i] >= 0 is a fixed size; -1 a free one, whose name is dim_names[i]
 * (an empty string when it has none). */
typedef struct pu_tensor_info {
  const char* name;
  pu_dtype dtype;
  int32_t rank;
  int64_t shape[PU_MAX_RANK];
  const char* dim_names[PU_MAX_RANK];
} pu_tensor_info;

typedef struct pu_model pu_model;
typedef struct pu_session pu_session;

/* Version of the library, "major.minor.patch". */
PU_API const char* pu_version(void);
/* The message of this thread's last failure; "" when there was none. Valid until this thread's next call. */
PU_API const char* pu_last_error(void);

/* Opens and verifies a model file. On success ownership of *model passes to the caller. */
PU_API pu_status pu_model_open(const char* path, pu_model** model);
/* The same over memory, which must stay unchanged until the model is closed. */
PU_API pu_status pu_model_open_memory(const void* data, size_t size, pu_model** model);
/* Closes a model; sessions over it stay usable. NULL is fine. */
PU_API void pu_model_close(pu_model* model);

PU_API size_t pu_model_tower_count(const pu_model* model);
/* Name of a tower, or NULL when the index is out of range. */
PU_API const char* pu_model_tower_name(const pu_model* model, size_t index);

/* The model's metadata, one JSON object (docs/format.md, META); NULL for a NULL model. */
PU_API const char* pu_model_meta_json(const pu_model* model);
/* A stored file by name, e.g. a tokenizer. */
PU_API pu_status pu_model_blob(const pu_model* model, const char* name, const void** data, size_t* size);

/* Makes a session for one tower. threads 0: as many as this process may use. isa NULL: the fastest. */
PU_API pu_status pu_session_create(const pu_model* model, const char* tower, int threads, const char* isa,
                                   pu_session** session);
PU_API void pu_session_free(pu_session* session);

PU_API size_t pu_session_input_count(const pu_session* session);
PU_API size_t pu_session_output_count(const pu_session* session);
PU_API pu_status pu_session_input_info(const pu_session* session, size_t index, pu_tensor_info* info);
PU_API pu_status pu_session_output_info(const pu_session* session, size_t index, pu_tensor_info* info);

/* Remembers an input by name until the next call for it; the tensor is not copied: its data must stay valid during
 * every run that uses it. Shapes and values are checked by the run. */
PU_API pu_status pu_session_set_input(pu_session* session, const char* name, const pu_tensor* tensor);
PU_API pu_status pu_session_run(pu_session* session);
/* A view of a result of the last run, valid until the next run; an error after a run that failed. */
PU_API pu_status pu_session_get_output(const pu_session* session, const char* name, pu_tensor* tensor);

#ifdef __cplusplus
}
#endif
#endif
