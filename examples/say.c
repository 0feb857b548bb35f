/* Speaks:  say MODEL TEXT... > speech.f32
 * Raw float samples, mono, 22,050 a second, native byte order; words with their times go to stderr.
 * Listen with:  say MODEL "Hello world." | ffplay -f f32le -ar 22050 -nodisp - */
#include <pocketuni.h>
#include <stdio.h>
#include <string.h>

static int fail(void) {
  fprintf(stderr, "say: %s\n", pu_last_error());
  return 1;
}

/* Writes all that can be spoken so far. Chunks come while the rest of the sentence is still to be computed. */
static int speak(pu_speech* speech) {
  const float* samples;
  size_t count;
  for (;;) {
    if (pu_speech_next(speech, &samples, &count) != PU_OK) return fail();
    if (count == 0) return 0;
    if (fwrite(samples, sizeof *samples, count, stdout) != count || fflush(stdout) != 0) {
      perror("say: stdout");
      return 1;
    }
    for (size_t i = 0; i < pu_speech_word_count(speech); ++i) {
      pu_word word;
      if (pu_speech_word(speech, i, &word) != PU_OK) return fail();
      fprintf(stderr, "%.3f %.3f %s\n", word.start, word.stop, word.text);
    }
  }
}

int main(int argc, char** argv) {
  pu_model* model;
  pu_speech* speech;
  if (argc < 3) {
    fprintf(stderr, "usage: say MODEL TEXT...\n");
    return 2;
  }
  if (pu_model_open(argv[1], &model) != PU_OK) return fail();
  if (pu_speech_start(model, NULL, &speech) != PU_OK) {
    pu_model_close(model);
    return fail();
  }
  pu_model_close(model); /* the speech keeps what it needs */
  int code = 0;
  for (int i = 2; i < argc && code == 0; ++i) {
    if (pu_speech_push_text(speech, argv[i], strlen(argv[i])) != PU_OK) code = fail();
    if (code == 0 && pu_speech_push_text(speech, " ", 1) != PU_OK) code = fail();
    if (code == 0) code = speak(speech);
  }
  if (code == 0 && pu_speech_finish_text(speech) != PU_OK) code = fail();
  if (code == 0) code = speak(speech);
  pu_speech_free(speech);
  return code;
}
