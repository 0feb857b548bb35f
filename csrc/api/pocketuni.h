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

/* --- Streams --------------------------------------------------------------------------------------------------------
 *
 * A sequence that goes through a tower chunk by chunk. A tower with state (a recurrent network, caches) takes what it
 * needs from the run before and starts from zeros; another one that works on rows along time, or on windows of them,
 * gives the rows that are complete. Any number of streams over one model are independent and share its weights.
 *
 *   pu_stream_create(model, "vad", 1, NULL, &stream);
 *   while (...) {
 *     pu_stream_set_input(stream, "input", &chunk);
 *     pu_stream_run(stream);
 *     pu_stream_get_output(stream, "output", &speech);
 *   }
 *   pu_stream_free(stream); */

typedef struct pu_stream pu_stream;

/* threads 0: as many as this process may use. isa NULL: the fastest. */
PU_API pu_status pu_stream_create(const pu_model* model, const char* tower, int threads, const char* isa,
                                  pu_stream** stream);
/* What each chunk is given and gives: the tower's inputs and outputs without its state. */
PU_API size_t pu_stream_input_count(const pu_stream* stream);
PU_API size_t pu_stream_output_count(const pu_stream* stream);
PU_API pu_status pu_stream_input_info(const pu_stream* stream, size_t index, pu_tensor_info* info);
PU_API pu_status pu_stream_output_info(const pu_stream* stream, size_t index, pu_tensor_info* info);
/* As pu_session_set_input. An input without time is copied, and set once before the first run. */
PU_API pu_status pu_stream_set_input(pu_stream* stream, const char* name, const pu_tensor* tensor);
/* The next chunk. Sizes stay those of the first one; a run that fails leaves the state as it was. */
PU_API pu_status pu_stream_run(pu_stream* stream);
/* No more comes: what is left of the outputs; of a tower with state nothing. */
PU_API pu_status pu_stream_finish(pu_stream* stream);
/* A view of a result of the last run or finish, valid until the next call of either. */
PU_API pu_status pu_stream_get_output(const pu_stream* stream, const char* name, pu_tensor* tensor);
/* Forgets what came before: the next chunk is the first one of another sequence. */
PU_API pu_status pu_stream_reset(pu_stream* stream);
PU_API void pu_stream_free(pu_stream* stream);

/* Several towers at once: what they compute alike from equal inputs is computed once (docs/towers.md). `tower` counts
 * in the order of `towers`. */
typedef struct pu_together pu_together;

PU_API pu_status pu_together_create(const pu_model* model, const char* const* towers, size_t count, int threads,
                                    const char* isa, pu_together** together);
PU_API pu_status pu_together_set_input(pu_together* together, size_t tower, const char* name, const pu_tensor* tensor);
PU_API pu_status pu_together_run(pu_together* together);
/* A view of a result of the last run, valid until the next one. */
PU_API pu_status pu_together_get_output(const pu_together* together, size_t tower, const char* name, pu_tensor* tensor);
PU_API void pu_together_free(pu_together* together);

/* --- Speech ---------------------------------------------------------------------------------------------------------
 *
 *   pu_speech* speech;
 *   pu_speech_start(model, NULL, &speech);
 *   pu_speech_push_text(speech, text, strlen(text));
 *   pu_speech_finish_text(speech);
 *   while (pu_speech_next(speech, &samples, &count) == PU_OK && count > 0) play(samples, count);
 *   pu_speech_free(speech);
 *
 * examples/say.c is a whole program. */

/* Voices stored in a model; 0 for one that cannot speak. The first is the one that speaks when none is named. */
PU_API size_t pu_model_voice_count(const pu_model* model);
/* Name of a voice, or NULL when the index is out of range. */
PU_API const char* pu_model_voice_name(const pu_model* model, size_t index);

typedef struct pu_speech pu_speech;
typedef struct pu_voice pu_voice; /* see Voices below */

/* Fill it with pu_speech_defaults, then change what should differ. */
typedef struct pu_speech_options {
  size_t struct_size;        /* set by pu_speech_defaults: tells the library which version of this struct it gets */
  const char* voice;         /* name of a stored voice; NULL: the first */
  const float* voice_vector; /* or 192 floats, copied: a voice of one's own; NULL: the named one */
  double speed;              /* 0.25 to 4; 2 is twice as fast */
  double pitch;              /* semitones, -12 to 12 */
  double volume;             /* 0 to 10; what would leave [-1, 1] is bent back softly */
  uint32_t seed;             /* of the noise in the voice */
  int32_t threads;           /* 1 to 64; 0: one, which is far faster than speech is heard; two for Pocket TTS */
  const char* isa;           /* NULL: the fastest */
  size_t chunk_frames;       /* 256 samples each, for every chunk; 0: few in the first, then more and more */
  const pu_voice* own_voice; /* or one that was made or loaded, copied; NULL: the named one */
} pu_speech_options;

typedef struct pu_word {
  const char* text;    /* as it is spoken, UTF-8 */
  uint64_t begin, end; /* bytes of the text, counted from the first push; words of one number share them */
  double start, stop;  /* seconds from the first sample */
} pu_word;

PU_API void pu_speech_defaults(pu_speech_options* options);
/* Starts speech; `options` NULL: the defaults. The speech keeps what it needs of the model. */
PU_API pu_status pu_speech_start(const pu_model* model, const pu_speech_options* options, pu_speech** speech);
/* Appends text, UTF-8 in pieces of any size (a piece may end within a character); copied. */
PU_API pu_status pu_speech_push_text(pu_speech* speech, const char* text, size_t bytes);
/* No more text comes. A later push starts another text; seconds and bytes go on. */
PU_API pu_status pu_speech_finish_text(pu_speech* speech);
/* Computes the next chunk: float samples in [-1, 1], mono, valid until the next call for this speech. A count of 0
 * means that more text must come first, or, when the text is finished or the speech cancelled, the end. After a failure
 * that comes from the text (faulty markup), that sentence is skipped and the next call goes on. */
PU_API pu_status pu_speech_next(pu_speech* speech, const float** samples, size_t* count);
/* The words that begin in the last chunk; valid until the next pu_speech_next. */
PU_API size_t pu_speech_word_count(const pu_speech* speech);
PU_API pu_status pu_speech_word(const pu_speech* speech, size_t index, pu_word* word);
/* Samples a second: 22050, or the rate of a Pocket TTS model. Such models give no words, and know no speed or pitch. */
PU_API int32_t pu_speech_rate(const pu_speech* speech);
/* Ends the speech early: no further chunk begins. The only call that any thread may make at any time. */
PU_API void pu_speech_cancel(pu_speech* speech);
PU_API void pu_speech_free(pu_speech* speech);

/* --- Voices ---------------------------------------------------------------------------------------------------------
 *
 *   pu_voice_builder_create(model, 16000, 0, NULL, &builder);
 *   while (...) pu_voice_builder_feed_int16(builder, samples, count);
 *   pu_voice_builder_voice(builder, &voice);
 *   pu_voice_save(voice, "me.voice");
 *   options.own_voice = voice;
 *
 * examples/clone.c is a whole program. Clone the voices of people who agreed to it: docs/consent.md. */

typedef struct pu_voice_info {
  const char* name;    /* UTF-8, may be empty */
  double seconds;      /* of speech that it was made from; 0 for a stored voice */
  double confidence;   /* 0 to 1 */
  double pitch_hz;     /* the speaker's median F0; 0: not known */
  int32_t is_clone;    /* 1: made from a recording */
  const float* vector; /* 192 floats of unit length; NULL for a voice of a Pocket TTS model */
} pu_voice_info;

/* A voice stored in the model; NULL: the first. Every pu_voice is to be freed with pu_voice_free. */
PU_API pu_status pu_voice_named(const pu_model* model, const char* name, pu_voice** voice);
/* Reads a .voice file, or its bytes; PU_FORMAT for one that is truncated, damaged or none. */
PU_API pu_status pu_voice_load(const char* path, pu_voice** voice);
PU_API pu_status pu_voice_load_memory(const void* data, size_t size, pu_voice** voice);
/* Writes a file that appears whole or not at all: less than 2 kB, or all that a Pocket TTS model has cached. */
PU_API pu_status pu_voice_save(const pu_voice* voice, const char* path);
/* The bytes of that file, valid until the next call of pu_voice_bytes for this voice, or its end. */
PU_API pu_status pu_voice_bytes(pu_voice* voice, const void** data, size_t* size);
/* At most 255 bytes of UTF-8, copied. */
PU_API pu_status pu_voice_set_name(pu_voice* voice, const char* name);
/* Valid until the voice is freed or named anew. */
PU_API pu_status pu_voice_get_info(const pu_voice* voice, pu_voice_info* info);
/* Cosine of the vectors, -1 to 1; an error for voices of different models, as for mixing them. */
PU_API pu_status pu_voice_similarity(const pu_voice* a, const pu_voice* b, double* similarity);
/* The voice between some; weights count relative to their sum. */
PU_API pu_status pu_voice_mix(const pu_voice* const* voices, const double* weights, size_t count, pu_voice** mix);
PU_API void pu_voice_free(pu_voice* voice);

typedef struct pu_voice_builder pu_voice_builder;

/* A voice while it is heard: mono samples at 8000 to 192000 Hz. threads 0: one. isa NULL: the fastest. */
PU_API pu_status pu_voice_builder_create(const pu_model* model, int32_t rate_hz, int32_t threads, const char* isa,
                                         pu_voice_builder** builder);
/* Any number of samples at a time, full scale 1, or 32768. The voice does not depend on how they are cut. */
PU_API pu_status pu_voice_builder_feed(pu_voice_builder* builder, const float* samples, size_t count);
PU_API pu_status pu_voice_builder_feed_int16(pu_voice_builder* builder, const int16_t* samples, size_t count);
/* The voice of the speech heard so far; more may be fed afterwards. An error, with advice, for less than 0.5 s. */
PU_API pu_status pu_voice_builder_voice(pu_voice_builder* builder, pu_voice** voice);
/* Seconds of speech that count; of all samples; how far the voice can be trusted, 0 to 1. 0 for NULL. */
PU_API double pu_voice_builder_seconds(const pu_voice_builder* builder);
PU_API double pu_voice_builder_heard_seconds(const pu_voice_builder* builder);
PU_API double pu_voice_builder_confidence(const pu_voice_builder* builder);
/* Of the last 300 ms, in dB against full scale, -120 for silence. */
PU_API pu_status pu_voice_builder_level(const pu_voice_builder* builder, double* rms_db, double* peak_db);
/* Sentences that say what is wrong with what was heard, joined by newlines; "" when all is well. Valid until the next
 * call for this builder. */
PU_API pu_status pu_voice_builder_advice(pu_voice_builder* builder, const char** text);
PU_API void pu_voice_builder_free(pu_voice_builder* builder);

#ifdef __cplusplus
}
#endif
#endif
