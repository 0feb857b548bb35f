/* run_tower MODEL TOWER [NAME=1,2,3 ...]
 * Runs a tower on int64 inputs [1, count] and prints its float32 outputs, one a line: name and values. */
#include <pocketuni.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check(int fine, const char* fault, const char* text) {
  if (fine) return;
  fprintf(stderr, "run_tower: %s%s\n", fault, text);
  exit(1);
}
static void done(pu_status status) { check(status == PU_OK, "", pu_last_error()); }

int main(int argc, char** argv) {
  static int64_t values[65536], *end = values; /* of all inputs: the session reads them during the run */
  pu_model* model;
  pu_session* session;
  check(argc >= 3, "usage: run_tower MODEL TOWER [NAME=1,2,3 ...]", "");
  done(pu_model_open(argv[1], &model));
  done(pu_session_create(model, argv[2], 0, NULL, &session));
  for (int i = 3; i < argc; ++i) {
    char *name = argv[i], *number, *next = strchr(name, '=');
    check(next != NULL, "not NAME=NUMBER,NUMBER,...: ", name);
    pu_tensor input = {PU_INT64, 2, {1, 0}, end};
    for (*next = ','; *next == ','; ++input.shape[1]) {
      check(end < values + 65536, "too many numbers for ", name);
      *next = '\0';
      *end++ = strtoll(number = next + 1, &next, 10);
      check(next != number && (*next == ',' || *next == '\0'), "not a number: ", number);
    }
    done(pu_session_set_input(session, name, &input));
  }
  done(pu_session_run(session));
  for (size_t i = 0; i < pu_session_output_count(session); ++i) {
    pu_tensor_info info;
    pu_tensor output;
    done(pu_session_output_info(session, i, &info));
    done(pu_session_get_output(session, info.name, &output));
    check(output.dtype == PU_FLOAT32, "not a float32 output: ", info.name);
    int64_t count = 1;
    for (int32_t axis = 0; axis < output.rank; ++axis) count *= output.shape[axis];
    printf("%s", info.name);
    for (int64_t k = 0; k < count; ++k) printf(" %.9g", ((const float*)output.data)[k]);
    printf("\n");
  }
  pu_session_free(session);
  pu_model_close(model);
}
