/* Runs a tower on int64 inputs:  run_tower MODEL TOWER [NAME=1,2,3 ...]
 * Each input becomes [1, count]; outputs, which must be float32, are printed one a line: name and values. */
#include <pocketuni.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void fail(const char* fault, const char* text) {
  fprintf(stderr, "run_tower: %s%s\n", fault, text);
  exit(1);
}
static void check(pu_status status) {
  if (status != PU_OK) fail("", pu_last_error());
}

int main(int argc, char** argv) {
  static int64_t values[65536]; /* of all inputs: the session reads them during the run */
  size_t used = 0;
  pu_model* model;
  pu_session* session;
  if (argc < 3) fail("usage: run_tower MODEL TOWER [NAME=1,2,3 ...]", "");
  check(pu_model_open(argv[1], &model));
  check(pu_session_create(model, argv[2], 0, NULL, &session));
  for (int i = 3; i < argc; ++i) {
    char* next = strchr(argv[i], '=');
    if (next == NULL) fail("not NAME=NUMBER,NUMBER,...: ", argv[i]);
    *next = '\0';
    pu_tensor input = {PU_INT64, 2, {1, 0}, values + used};
    do {
      char* number = next + 1;
      if (used == 65536) fail("too many numbers for ", argv[i]);
      values[used++] = strtoll(number, &next, 10), ++input.shape[1];
      if (next == number || (*next != ',' && *next != '\0')) fail("not a number: ", number);
    } while (*next == ',');
    check(pu_session_set_input(session, argv[i], &input));
  }
  check(pu_session_run(session));
  for (size_t i = 0; i < pu_session_output_count(session); ++i) {
    pu_tensor_info info;
    pu_tensor output;
    check(pu_session_output_info(session, i, &info));
    check(pu_session_get_output(session, info.name, &output));
    if (output.dtype != PU_FLOAT32) fail("not a float32 output: ", info.name);
    int64_t count = 1;
    for (int32_t axis = 0; axis < output.rank; ++axis) count *= output.shape[axis];
    printf("%s", info.name);
    for (int64_t k = 0; k < count; ++k) printf(" %.9g", ((const float*)output.data)[k]);
    printf("\n");
  }
  pu_session_free(session);
  pu_model_close(model);
}
