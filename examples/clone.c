/* Speaks in the voice that it hears:  clone MODEL RATE TEXT... < samples.s16 > speech.f32
 * Samples in: 16-bit, mono, native byte order. Speech out: floats, mono, 22,050 a second. With "-o FILE" before MODEL,
 * the voice is kept in a .voice file. For example:
 *   arecord -q -f S16_LE -r 16000 -t raw -d 8 | clone MODEL 16000 "Is this me?" | ffplay -f f32le -ar 22050 -nodisp -
 */
#include <pocketuni.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fail(void) {
  fprintf(stderr, "clone: %s\n", pu_last_error());
  return 1;
}

/* Hears standard input to its end, then makes the voice. */
static int hear(pu_voice_builder* builder, pu_voice** voice) {
  int16_t samples[1600];
  const char* advice;
  size_t count;
  while ((count = fread(samples, sizeof *samples, sizeof samples / sizeof *samples, stdin)) > 0) {
    if (pu_voice_builder_feed_int16(builder, samples, count) != PU_OK) return fail();
    fprintf(stderr, "\rheard %.1f s, speech %.1f s, confidence %.2f", pu_voice_builder_heard_seconds(builder),
            pu_voice_builder_seconds(builder), pu_voice_builder_confidence(builder));
  }
  fputc('\n', stderr);
  if (pu_voice_builder_advice(builder, &advice) == PU_OK && *advice != '\0') fprintf(stderr, "%s\n", advice);
  return pu_voice_builder_voice(builder, voice) == PU_OK ? 0 : fail();
}

static int speak(pu_speech* speech) {
  const float* samples;
  size_t count;
  for (;;) {
    if (pu_speech_next(speech, &samples, &count) != PU_OK) return fail();
    if (count == 0) return 0;
    if (fwrite(samples, sizeof *samples, count, stdout) != count || fflush(stdout) != 0) {
      perror("clone: stdout");
      return 1;
    }
  }
}

static int say(const pu_model* model, const pu_voice* voice, char** texts, int count) {
  pu_speech_options options;
  pu_speech* speech;
  pu_speech_defaults(&options);
  options.own_voice = voice;
  if (pu_speech_start(model, &options, &speech) != PU_OK) return fail();
  int code = 0;
  for (int i = 0; i < count && code == 0; ++i) {
    if (pu_speech_push_text(speech, texts[i], strlen(texts[i])) != PU_OK) code = fail();
    if (code == 0 && pu_speech_push_text(speech, " ", 1) != PU_OK) code = fail();
  }
  if (code == 0 && pu_speech_finish_text(speech) != PU_OK) code = fail();
  if (code == 0) code = speak(speech);
  pu_speech_free(speech);
  return code;
}

int main(int argc, char** argv) {
  const char* kept = NULL;
  if (argc > 2 && strcmp(argv[1], "-o") == 0) {
    kept = argv[2];
    argv += 2;
    argc -= 2;
  }
  if (argc < 4) {
    fprintf(stderr, "usage: clone [-o FILE.voice] MODEL RATE TEXT... < samples\n");
    return 2;
  }
  pu_model* model = NULL;
  pu_voice_builder* builder = NULL;
  pu_voice* voice = NULL;
  int code = pu_model_open(argv[1], &model) == PU_OK ? 0 : fail();
  if (code == 0 && pu_voice_builder_create(model, atoi(argv[2]), 0, NULL, &builder) != PU_OK) code = fail();
  if (code == 0) code = hear(builder, &voice);
  if (code == 0 && kept != NULL && pu_voice_save(voice, kept) != PU_OK) code = fail();
  if (code == 0) code = say(model, voice, argv + 3, argc - 3);
  pu_voice_free(voice);
  pu_voice_builder_free(builder);
  pu_model_close(model);
  return code;
}
