#include "rewards/language/consistency.h"

#include <map>
#include <string>

#include <doctest/doctest.h>

#include "rewards/language/detector.h"

namespace r1 {
namespace {

// The same short chain of thought in fourteen languages, own words.
const std::map<std::string, std::string> kTexts = {
    {"zh", "首先我们把两个数字加在一起。然后我们检查结果是否正确。最后我们写下答案，因为所有步骤都已经完成。"},
    {"en", "First we add the two numbers together. Then we check whether the result is correct. Finally we write down "
           "the answer because all the steps are done."},
    {"ja", "まず二つの数字を足します。次に結果が正しいかどうかを確認します。最後にすべての手順が終わったので答えを書きます。"},
    {"ko", "먼저 두 숫자를 더합니다. 그다음 결과가 올바른지 확인합니다. 마지막으로 모든 단계가 끝났으므로 답을 적습니다."},
    {"ru", "Сначала мы складываем два числа. Затем мы проверяем, верен ли результат. Наконец мы записываем ответ, потому "
           "что все шаги выполнены."},
    {"ar", "أولا نجمع العددين معا. ثم نتحقق مما إذا كانت النتيجة صحيحة. وأخيرا نكتب الجواب لأن جميع الخطوات قد انتهت."},
    {"de", "Zuerst addieren wir die beiden Zahlen. Dann prüfen wir, ob das Ergebnis richtig ist. Schließlich schreiben wir "
           "die Antwort auf, weil alle Schritte erledigt sind."},
    {"fr", "D'abord nous additionnons les deux nombres. Ensuite nous vérifions si le résultat est correct. Enfin nous "
           "écrivons la réponse parce que toutes les étapes sont terminées."},
    {"es", "Primero sumamos los dos números. Luego comprobamos si el resultado es correcto. Finalmente escribimos la "
           "respuesta porque todos los pasos están hechos."},
    {"pt", "Primeiro somamos os dois números. Depois verificamos se o resultado está correto. Por fim escrevemos a "
           "resposta porque todas as etapas já foram concluídas."},
    {"it", "Prima sommiamo i due numeri. Poi controlliamo se il risultato è corretto. Infine scriviamo la risposta perché "
           "tutti i passaggi sono stati completati."},
    {"vi", "Trước tiên chúng ta cộng hai số lại với nhau. Sau đó chúng ta kiểm tra xem kết quả có đúng không. Cuối cùng "
           "chúng ta viết câu trả lời vì tất cả các bước đã xong."},
    {"th", "ก่อนอื่นเราบวกตัวเลขสองตัวเข้าด้วยกัน จากนั้นเราตรวจสอบว่าผลลัพธ์ถูกต้องหรือไม่ สุดท้ายเราเขียนคำตอบเพราะทุกขั้นตอนเสร็จสิ้นแล้ว"},
    {"hi", "पहले हम दोनों संख्याओं को जोड़ते हैं। फिर हम जाँचते हैं कि परिणाम सही है या नहीं। अंत में हम उत्तर लिखते हैं क्योंकि सभी चरण पूरे हो गए हैं।"},
};

Consistency measure(const std::string& text, const std::string& code, ConsistencyOptions options = {}) {
  return language_consistency(text, *find_language(code), options);
}

TEST_CASE("fourteen languages: each text is its own language and no other") {
  REQUIRE(detector_built_in());
  for (const auto& [code, text] : kTexts) {
    CAPTURE(code);
    const Consistency own = measure(text, code);
    CHECK(own.score == 1.0);
    CHECK(own.target_words >= 8);
    CHECK(own.unsure_words == 0);
    for (const auto& [other, unused] : kTexts) {
      if (other == code) continue;
      CAPTURE(other);
      CHECK(measure(text, other).score == 0.0);
    }
    const Language* guess = guess_language(text);
    REQUIRE(guess);
    CHECK(guess->code == code);
  }
}

TEST_CASE("relatives of the target that use its script are other languages") {
  CHECK(measure("Спочатку ми додаємо два числа. Потім ми перевіряємо, чи правильний результат, бо так треба.", "ru").score ==
        0.0);
  CHECK(measure("ابتدا دو عدد را با هم جمع می‌کنیم. سپس بررسی می‌کنیم که آیا نتیجه درست است یا نه.", "ar").score == 0.0);
}

TEST_CASE("the score is the share of the target's words") {
  ConsistencyOptions exact;
  exact.allowance = 0;
  // Four sentences to one, in another script and in the same.
  std::string mixed;
  for (int i = 0; i < 4; ++i) mixed += kTexts.at("de") + "\n";
  const std::size_t german = measure(kTexts.at("de"), "de").target_words * 4;
  for (const char* foreign : {"en", "ru"}) {
    const std::size_t other = measure(kTexts.at(foreign), foreign).target_words;
    const Consistency c = measure(mixed + kTexts.at(foreign), "de", exact);
    CHECK(c.target_words == german);
    CHECK(c.other_words == other);
    CHECK(c.others.at(foreign == std::string("en") ? "en" : "Cyrl") == other);
    CHECK(c.score == doctest::Approx(static_cast<double>(german) / static_cast<double>(german + other)));
  }
  // More foreign sentences never raise it.
  std::string text = kTexts.at("zh");
  double last = 1;
  for (int i = 0; i < 4; ++i) {
    text += kTexts.at("en");
    const double score = measure(text, "zh", exact).score;
    CHECK(score < last);
    last = score;
  }
}

TEST_CASE("two languages in one long sentence") {
  const Consistency c = measure("Zuerst addieren wir die beiden Zahlen und prüfen das Ergebnis, and after that we write "
                                "down the answer because everything is correct.", "de", {0.0, 5, true});
  CHECK(c.target_words == 10);
  CHECK(c.other_words == 12);
}

TEST_CASE("formulas and code change nothing; a text of nothing else is not defined") {
  const std::string spans = " $\\frac{a}{b} \\text{ or } c$ `while (true) run()` https://example.org/page first_value sin GPU ";
  for (const char* code : {"zh", "de", "th"}) {
    const Consistency plain = measure(kTexts.at(code), code), with = measure(spans + kTexts.at(code) + spans, code);
    CHECK(with.score == plain.score);
    CHECK(with.target_words == plain.target_words);
  }
  for (const std::string& text : {spans, std::string(), std::string("12 + 30 = 42"), std::string("我们加")}) {
    const Consistency c = measure(text, "zh");
    CHECK_FALSE(c.defined);
    CHECK(c.score == 0.0);
  }
}

TEST_CASE("names and quotes are free up to the allowance, no further") {
  const std::string korean = [] {
    std::string out;
    for (int i = 0; i < 8; ++i) out += kTexts.at("ko");
    return out;
  }();
  const Consistency few = measure(korean + " Alice Robert", "ko");
  CHECK(few.other_words == 2);
  CHECK(few.score == 1.0);
  const Consistency more = measure(korean + " Alice Robert Susan Michael", "ko");
  CHECK(more.score < 1.0);
  CHECK(more.score > 0.97);
  CHECK(measure(korean + " Alice Robert", "ko", {0.0, 5, true}).score < 1.0);
}

TEST_CASE("Han is Japanese beside kana and Chinese elsewhere") {
  CHECK(measure("まず合計を計算します。合計：三。次に答えを確認します。", "ja").other_words == 0);
  CHECK(measure(kTexts.at("ja") + kTexts.at("zh"), "ja").score < 0.8);
  CHECK(measure(kTexts.at("zh") + kTexts.at("ja"), "zh").score < 0.8);
  const Consistency quoted = measure("我们先来看一看这个句子里面的の是什么意思，然后再把整个句子翻译成中文。", "zh");
  CHECK(quoted.other_words == 1);  // the quoted word alone
}

TEST_CASE("short clauses take the language of what is beside them") {
  const Consistency c = measure(kTexts.at("de") + " Also gut. Ja, klar.", "de");
  CHECK(c.other_words == 0);
  CHECK(c.unsure_words == 0);
  const Consistency before = measure("Also gut. " + kTexts.at("de"), "de");
  CHECK(before.other_words == 0);
  CHECK(before.unsure_words == 0);
}

TEST_CASE("by script alone: scripts are told apart, languages of one script are not") {
  ConsistencyOptions script;
  script.use_detector = false;
  CHECK(measure(kTexts.at("en"), "de", script).score == 1.0);
  CHECK(measure(kTexts.at("ru"), "de", script).score == 0.0);
  CHECK(measure(kTexts.at("ko"), "ko", script).score == 1.0);
  CHECK(guess_language(kTexts.at("en"), false) == nullptr);
  CHECK(guess_language(kTexts.at("th"), false)->code == "th");
}

TEST_CASE("names of languages") {
  CHECK(find_language("zh-Hant-TW")->code == "zh");
  CHECK(find_language("German")->code == "de");
  CHECK(find_language("pt_BR")->code == "pt");
  CHECK(find_language("xx") == nullptr);
  CHECK(find_language("") == nullptr);
}

TEST_CASE("broken UTF-8 is no word and no harm") {
  std::string text = kTexts.at("de");
  text.insert(10, "\xFF\xC3");
  text += "\xE4\xB8";
  CHECK(measure(text, "de").score == 1.0);
}

}  // namespace
}  // namespace r1
