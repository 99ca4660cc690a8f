// For tests: the real tokenizers of the team's data folder, unpacked into a temporary one.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "tests/support/support.h"
#include "text/data_files.h"

namespace r1::test {

struct SharedTokenizer {
  std::string name;            // as in vectors_NAME.jsonl
  std::filesystem::path file;  // a tokenizer.json
};

// Llama 3's file is made by the tool beside the data, which needs Python with numpy (R1_GOLDEN_PYTHON, else python3)
// and the network; R1_LLAMA3_TOKENIZER names one that exists already. It is left out, with a note, where neither works.
inline std::vector<SharedTokenizer> shared_tokenizers(const std::filesystem::path& shared,
                                                      const std::filesystem::path& out) {
  namespace fs = std::filesystem;
  std::vector<SharedTokenizer> list;
  const auto write = [&](const std::string& name, const std::string& text) {
    const fs::path file = out / (name + ".json");
    std::ofstream(file, std::ios::binary) << text;
    list.push_back({name, file});
  };
  const fs::path folder = shared / "data" / "tokenizers";
  for (const char* name : {"smollm2", "qwen3", "deepseek-v3", "gpt2"}) {
    const std::string text = read_data_file((folder / (std::string(name) + ".tokenizer.json.gz")).string());
    write(name, text);
    if (std::string(name) != "qwen3") continue;
    auto qwen = nlohmann::ordered_json::parse(text);
    auto& added = qwen["added_tokens"];
    added.erase(added.end() - 4, added.end());
    write("qwen2.5", qwen.dump());
  }
  fs::path llama;
  if (const char* given = std::getenv("R1_LLAMA3_TOKENIZER")) {
    llama = given;
  } else {
    const char* python = std::getenv("R1_GOLDEN_PYTHON");
    const std::string command = std::string(python ? python : "python3") + " '" +
                                (shared / "tools" / "gguf_vocab_to_tokenizer_json.py").string() +
                                "' --name llama-bpe --out '" + out.string() + "' > /dev/null 2>&1";
    if (std::system(command.c_str()) == 0) llama = out / "llama-bpe" / "tokenizer.json";
  }
  if (fs::exists(llama)) list.push_back({"llama3", llama});
  else std::printf("note: the Llama 3 tokenizer could not be made; left out\n");
  return list;
}

}  // namespace r1::test
