// Fills a ModelFile from its mapped bytes, checking every rule of docs/format.md on the way. Internal to format/.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "format/model_file.h"
#include "format/reader.h"

namespace pocketuni {

class ModelParser {
 public:
  explicit ModelParser(ModelFile& file) : file_(file) {}
  /// Throws Error(kFormat) with the fault; the caller adds the file's name.
  void parse();

 private:
  struct Section {
    std::string kind;  // four bytes, as stored
    uint32_t flags;
    uint64_t offset, size;
    Digest hash;
  };

  void parse_header();  // parse_header.cc
  void parse_table(const uint8_t* header);
  void check_section(const Section& section, uint64_t earliest) const;
  void check_kinds() const;
  void check_zero(uint64_t begin, uint64_t end, const std::string& what) const;
  const Section* find(const char* kind) const;
  Reader reader(const char* kind) const;

  void parse_meta();  // parse_tensors.cc
  void parse_blobs();
  void parse_tensors();
  TensorEntry parse_tensor(Reader& reader, uint64_t& end);

  void parse_towers();  // parse_towers.cc
  void parse_states();  // parse_states.cc

  ModelFile& file_;
  std::vector<Section> sections_;
};

/// Checks what a tower's indices say together: each value written once and before it is read. Throws Error(kFormat).
void check_order(const TowerSpec& tower, const Reader& reader);

}  // namespace pocketuni
