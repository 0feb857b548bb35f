// What it takes to run a tower in chunks along one of its named dimensions: which values have rows along it, and which
// rows of its inputs a row of each node's result depends on.
#pragma once
#include <string>
#include <vector>

#include "graph/tower.h"

namespace pocketuni {

struct TimePlan {
  size_t dim = 0;                   // index of the named dimension
  std::vector<int> axes;            // [value]: its axis of time, -1 for a value without
  std::vector<TimeMap> maps;        // [node]; kNone for a node without time
  std::vector<size_t> last_reader;  // [value]: the last node that reads it, or the number of nodes for an output
};

/// Rows of input 0 that rows of the result read: half-open, not cut at the ends of the sequence.
struct RowRange {
  int64_t begin, end;
};
RowRange rows_read(const TimeMap& map, RowRange result);
/// How many rows of the result, from the first, read nothing at or behind row `rows` of input 0.
int64_t rows_possible(const TimeMap& map, int64_t rows);

/// [value]: the rows that rows `results` of the outputs read, not cut at the ends of the sequence; empty where none.
std::vector<RowRange> rows_needed(const TimePlan& plan, const TowerSpec& spec, RowRange results);

/// Rows of the inputs that have time that row `row` of the outputs reads, not cut at the ends of the sequence.
RowRange input_rows(const TimePlan& plan, const TowerSpec& spec, int64_t row);

/// The fewest rows of time for which every value has a whole number of rows; 0 where nobody can say.
struct TimeUnit {
  int64_t rows = 0;
  std::vector<int64_t> rows_of;  // [value]: for them, of a value that has time
};
TimeUnit time_unit(const TimePlan& plan, const TowerSpec& spec);

/// Finds the dimension that the tower can be cut along, the one that lies deepest where there are several. Throws
/// Error(kInvalidArgument) naming the node that depends on more than a window.
TimePlan make_time_plan(const Model::Tower& tower);

}  // namespace pocketuni
