/* Runs a tower on int64 inputs:  run_tower MODEL TOWER [NAME=1,2,3 ...]
 * Each input becomes [1, count]; outputs are printed one a line: name, shape, values. */
#include <inttypes.h>
#include <pocketuni.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_VALUES 4096

static void fail(const char* fault, const char* text) {
  fprintf(stderr, "run_tower: %s: %s\n", fault, text);
  exit(2);
}

static void check(pu_status status) {
  if (status == PU_OK) return;
  fprintf(stderr, "run_tower: %s\n", pu_last_error());
  exit(1);
}

/* Parses "NAME=1,2,3" and hands the numbers to the session, which reads them during the run. */
static void set_input(pu_session* session, char* argument, int64_t* values) {
  char* list = strchr(argument, '=');
  if (list == NULL) fail("not NAME=NUMBER,NUMBER,...", argument);
  *list++ = '\0';
  pu_tensor tensor = {PU_INT64, 2, {1, 0}, values};
  for (char* number = strtok(list, ","); number != NULL && tensor.shape[1] < MAX_VALUES; number = strtok(NULL, ",")) {
    char* end;
    values[tensor.shape[1]++] = strtoll(number, &end, 10);
    if (*end != '\0') fail("not a number", number);
  }
  check(pu_session_set_input(session, argument, &tensor));
}

static void print_output(const pu_session* session, size_t index) {
  pu_tensor_info info;
  pu_tensor tensor;
  check(pu_session_output_info(session, index, &info));
  check(pu_session_get_output(session, info.name, &tensor));
  int64_t count = 1;
  printf("%s", info.name);
  for (int32_t i = 0; i < tensor.rank; ++i) {
    printf("%s%" PRId64 "%s", i == 0 ? " [" : ", ", tensor.shape[i], i + 1 == tensor.rank ? "]" : "");
    count *= tensor.shape[i];
  }
  for (int64_t i = 0; i < count; ++i) {
    if (tensor.dtype == PU_FLOAT32) printf(" %.9g", ((const float*)tensor.data)[i]);
    if (tensor.dtype == PU_INT32) printf(" %" PRId32, ((const int32_t*)tensor.data)[i]);
    if (tensor.dtype == PU_INT64) printf(" %" PRId64, ((const int64_t*)tensor.data)[i]);
    if (tensor.dtype == PU_BOOL) printf(" %d", ((const unsigned char*)tensor.data)[i]);
  }
  printf("\n");
}

int main(int argc, char** argv) {
  pu_model* model;
  pu_session* session;
  if (argc < 3) {
    fprintf(stderr, "usage: run_tower MODEL TOWER [NAME=1,2,3 ...]\n");
    return 2;
  }
  check(pu_model_open(argv[1], &model));
  check(pu_session_create(model, argv[2], 0, NULL, &session));
  pu_model_close(model); /* the session keeps what it needs */

  int64_t (*values)[MAX_VALUES] = malloc((size_t)argc * sizeof *values);
  if (values == NULL) return 1;
  for (int i = 3; i < argc; ++i) set_input(session, argv[i], values[i]);
  check(pu_session_run(session));
  for (size_t i = 0; i < pu_session_output_count(session); ++i) print_output(session, i);
  free(values);
  pu_session_free(session);
  return 0;
}
