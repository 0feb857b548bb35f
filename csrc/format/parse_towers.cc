// TOWR: values, nodes and attributes. What single entries say is checked here, what they say together in
// check_order.cc.
#include "format/model_parser.h"

namespace pocketuni {
namespace {

constexpr int kMaxRank = 8;
constexpr uint32_t kMaxNamedDims = 16;
constexpr uint32_t kTensorBit = 0x80000000u, kAbsentOperand = 0xFFFFFFFFu;

/// Reads one tower; holds what its parts need to know of each other.
class TowerReader {
 public:
  TowerReader(Reader& reader, size_t tensor_count) : reader_(reader), tensor_count_(tensor_count) {}

  TowerSpec read() {
    tower_.name = reader_.name("name of a tower");
    place_ = "tower " + quoted(tower_.name);
    reader_.set_place(place_);
    read_named_dims();
    read_values();
    tower_.inputs = read_indices("inputs");
    tower_.outputs = read_indices("outputs");
    const uint32_t count = reader_.count(5 * 4, "nodes");
    tower_.nodes.reserve(count);
    for (uint32_t i = 0; i < count; ++i) {
      reader_.set_place(place_ + ", node " + std::to_string(i));
      tower_.nodes.push_back(read_node(i));
    }
    reader_.set_place(place_);
    check_order(tower_, reader_);
    return std::move(tower_);
  }

 private:
  void read_named_dims() {
    const uint32_t count = reader_.count(4 + 1, "named dimensions");
    if (count > kMaxNamedDims) reader_.fail(std::to_string(count) + " named dimensions, at most 16 are allowed");
    std::vector<std::string>& dims = tower_.named_dims;
    for (uint32_t i = 0; i < count; ++i) dims.push_back(reader_.name("name of a dimension"));
    refuse_duplicates("dimensions", dims, [](const std::string& name) { return &name; });
  }

  void read_values() {
    const uint32_t count = reader_.count(4 + 1 + 4, "values");
    tower_.values.reserve(count);
    for (uint32_t i = 0; i < count; ++i) tower_.values.push_back(read_value());
    reader_.set_place(place_);
    refuse_duplicates("values", tower_.values, [](const ValueSpec& value) { return &value.name; });
  }

  ValueSpec read_value() {
    ValueSpec value;
    value.name = reader_.name("name of a value");
    reader_.set_place(place_ + ", value " + quoted(value.name));
    const uint8_t dtype = reader_.u8(), rank = reader_.u8();
    if (dtype > static_cast<uint8_t>(DType::kBool)) reader_.fail("unknown dtype " + std::to_string(dtype));
    value.dtype = static_cast<DType>(dtype);
    if (rank > kMaxRank) reader_.fail("rank " + std::to_string(rank) + " exceeds 8");
    if (reader_.u16() != 0) reader_.fail("reserved bytes are not zero");
    for (int i = 0; i < rank; ++i) value.dims.push_back(read_dim());
    return value;
  }

  Dim read_dim() {
    const Dim dim = reader_.i64();
    if (dim >= Dim{1} << 31) reader_.fail("dimension " + std::to_string(dim) + " is not below 2^31");
    if (dim < kComputed && static_cast<uint64_t>(-2 - dim) >= tower_.named_dims.size()) {
      reader_.fail("dimension " + std::to_string(dim) + " names dimension " + std::to_string(-2 - dim) +
                   ", the tower has " + std::to_string(tower_.named_dims.size()));
    }
    return dim;
  }

  uint32_t read_value_index(const char* what) {
    const uint32_t index = reader_.u32();
    if (index >= tower_.values.size()) {
      reader_.fail(std::string(what) + " names value " + std::to_string(index) + ", the tower has " +
                   std::to_string(tower_.values.size()));
    }
    return index;
  }

  std::vector<uint32_t> read_indices(const char* what) {
    std::vector<uint32_t> indices(reader_.count(4, what));
    for (uint32_t& index : indices) index = read_value_index(what);
    return indices;
  }

  NodeSpec read_node(uint32_t number) {
    NodeSpec node;
    node.op = reader_.name("op of a node");
    node.name = reader_.text("name of a node");
    reader_.set_place(place_ + ", node " + std::to_string(number) + " " + quoted(node.name) + " (" + quoted(node.op) +
                      ")");
    node.inputs.resize(reader_.count(4, "operands"));
    for (Operand& operand : node.inputs) operand = read_operand();
    node.outputs = read_indices("results");
    const uint32_t count = reader_.count(4 + 1 + 1 + 4, "attributes");
    node.attributes.reserve(count);
    for (uint32_t i = 0; i < count; ++i) node.attributes.push_back(read_attribute());
    refuse_duplicates("attributes", node.attributes, [](const Attribute& attribute) { return &attribute.name; });
    return node;
  }

  Operand read_operand() {
    const uint32_t code = reader_.u32();
    if (code == kAbsentOperand) return {Operand::kAbsent, 0};
    if ((code & kTensorBit) == 0) {
      if (code < tower_.values.size()) return {Operand::kValue, code};
      reader_.fail("an operand names value " + std::to_string(code) + ", the tower has " +
                   std::to_string(tower_.values.size()));
    }
    const uint32_t tensor = code & ~kTensorBit;
    if (tensor >= tensor_count_) {
      reader_.fail("an operand names tensor " + std::to_string(tensor) + ", the file has " +
                   std::to_string(tensor_count_));
    }
    return {Operand::kTensor, tensor};
  }

  Attribute read_attribute() {
    Attribute attribute;
    attribute.name = reader_.name("name of an attribute");
    const uint8_t kind = reader_.u8();
    switch (kind) {
      case 0:
        attribute.value = reader_.i64();
        break;
      case 1:
        attribute.value = reader_.f64();
        break;
      case 2:
        attribute.value = reader_.text("text of an attribute");
        break;
      case 3: {
        std::vector<int64_t> list(reader_.count(8, "numbers"));
        for (int64_t& number : list) number = reader_.i64();
        attribute.value = std::move(list);
        break;
      }
      default:
        reader_.fail("attribute " + quoted(attribute.name) + " has the unknown kind " + std::to_string(kind));
    }
    return attribute;
  }

  template <typename T, typename F>
  void refuse_duplicates(const char* what, const std::vector<T>& items, F name_of) {
    std::vector<const std::string*> names;
    names.reserve(items.size());
    for (const T& item : items) names.push_back(name_of(item));
    if (const std::string* twice = find_duplicate(names)) {
      reader_.fail(std::string("two ") + what + " are named " + quoted(*twice));
    }
  }

  Reader& reader_;
  const size_t tensor_count_;
  std::string place_;
  TowerSpec tower_;
};

}  // namespace

void ModelParser::parse_towers() {
  Reader reader = this->reader("TOWR");
  const uint32_t count = reader.count(4 + 1 + 5 * 4, "towers");
  std::vector<const std::string*> names;
  file_.towers_.reserve(count);
  for (uint32_t i = 0; i < count; ++i) {
    reader.set_place("tower " + std::to_string(i));
    file_.towers_.push_back(TowerReader(reader, file_.tensors_.size()).read());
    names.push_back(&file_.towers_.back().name);
  }
  reader.set_place("");
  reader.expect_end();
  if (const std::string* twice = find_duplicate(names)) reader.fail("two towers are named " + quoted(*twice));
}

}  // namespace pocketuni
