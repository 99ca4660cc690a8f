// Labelled sentences for the tests of the language reward: one sentence each, as chains of thought hold them, our own
// words. Five a language: a short one, three usual ones, a long one.
#pragma once

#include <array>
#include <string_view>

namespace r1 {

struct LabelledSentence {
  std::string_view language, text;
};

inline constexpr auto kLabelledSentences = std::to_array<LabelledSentence>({
    {"zh", "我们先把这两个数相加。"},
    {"zh", "因为总数是偶数，所以每个人分到的苹果一样多。"},
    {"zh", "等一下，我刚才把题目里的条件看错了，需要重新计算。"},
    {"zh", "如果火车每小时行驶的路程不变，那么三个小时以后它就会到达终点。"},
    {"zh", "为了验证这个答案，我把它代回原来的方程，左右两边正好相等，说明前面的推理没有问题，可以放心地写下结果。"},
    {"en", "So the total must be even."},
    {"en", "Wait, I should check whether the second condition also holds here."},
    {"en", "Each child gets the same number of apples because the sum can be divided by three."},
    {"en", "If the train keeps its speed, it will arrive at the station after two more hours."},
    {"en", "To verify the answer, I put it back into the original equation and see that both sides agree, which means that "
           "nothing went wrong on the way and the result can be written down."},
    {"ja", "まず二つの数を足してみます。"},
    {"ja", "合計は偶数なので、全員が同じ数のりんごをもらえます。"},
    {"ja", "ちょっと待ってください、さっきの条件を読み間違えていました。"},
    {"ja", "電車の速さが変わらなければ、三時間後には終点に着くはずです。"},
    {"ja", "答えが正しいかどうかを確かめるために、もとの方程式に代入してみると、両辺がちょうど等しくなるので、これまでの考え方に間違いはありません。"},
    {"ko", "먼저 두 수를 더해 보겠습니다."},
    {"ko", "합이 짝수이기 때문에 모두가 같은 수의 사과를 받습니다."},
    {"ko", "잠깐만요, 방금 문제의 조건을 잘못 읽은 것 같습니다."},
    {"ko", "기차가 같은 속도로 계속 달리면 세 시간 뒤에 종점에 도착합니다."},
    {"ko", "답을 확인하기 위해 원래 방정식에 다시 넣어 보면 양쪽이 정확히 같아지므로 지금까지의 풀이에는 잘못이 없다고 말할 수 있습니다."},
    {"ru", "Значит, сумма должна быть чётной."},
    {"ru", "Подожди, нужно ещё раз проверить второе условие задачи."},
    {"ru", "Каждый ребёнок получит одинаковое количество яблок, потому что сумма делится на три."},
    {"ru", "Если поезд не изменит скорость, он приедет на станцию через два часа."},
    {"ru", "Чтобы убедиться в ответе, подставим его в исходное уравнение: обе части совпадают, поэтому ошибки в рассуждении "
           "нет и результат можно записать."},
    {"ar", "إذن يجب أن يكون المجموع زوجيا."},
    {"ar", "انتظر، يجب أن أتحقق من الشرط الثاني في المسألة مرة أخرى."},
    {"ar", "يحصل كل طفل على العدد نفسه من التفاح لأن المجموع يقبل القسمة على ثلاثة."},
    {"ar", "إذا بقيت سرعة القطار كما هي فسوف يصل إلى المحطة بعد ساعتين."},
    {"ar", "للتأكد من صحة الجواب نعوضه في المعادلة الأصلية فنجد أن الطرفين متساويان تماما، وهذا يعني أننا لم نرتكب أي خطأ في "
           "الخطوات السابقة."},
    {"de", "Also muss die Summe gerade sein."},
    {"de", "Moment, ich sollte noch prüfen, ob auch die zweite Bedingung erfüllt ist."},
    {"de", "Jedes Kind bekommt gleich viele Äpfel, weil sich die Summe durch drei teilen lässt."},
    {"de", "Wenn der Zug seine Geschwindigkeit behält, kommt er nach zwei weiteren Stunden am Bahnhof an."},
    {"de", "Um die Antwort zu überprüfen, setze ich sie wieder in die ursprüngliche Gleichung ein und sehe, dass beide Seiten "
           "übereinstimmen, also ist unterwegs nichts schiefgegangen."},
    {"fr", "Donc la somme doit être paire."},
    {"fr", "Attends, je dois encore vérifier si la deuxième condition est remplie."},
    {"fr", "Chaque enfant reçoit le même nombre de pommes parce que la somme est divisible par trois."},
    {"fr", "Si le train garde sa vitesse, il arrivera à la gare dans deux heures."},
    {"fr", "Pour vérifier la réponse, je la remets dans l'équation de départ et je constate que les deux côtés sont égaux, ce "
           "qui veut dire qu'aucune erreur ne s'est glissée dans le calcul."},
    {"es", "Entonces la suma tiene que ser par."},
    {"es", "Espera, debería comprobar también si se cumple la segunda condición."},
    {"es", "Cada niño recibe la misma cantidad de manzanas porque la suma se puede dividir entre tres."},
    {"es", "Si el tren mantiene su velocidad, llegará a la estación dentro de dos horas."},
    {"es", "Para comprobar la respuesta la pongo de nuevo en la ecuación original y veo que los dos lados coinciden, así que "
           "no hubo ningún error por el camino."},
    {"pt", "Então a soma tem que ser par."},
    {"pt", "Espere, preciso verificar se a segunda condição também é satisfeita."},
    {"pt", "Cada criança recebe a mesma quantidade de maçãs porque a soma pode ser dividida por três."},
    {"pt", "Se o trem mantiver a velocidade, ele chegará à estação daqui a duas horas."},
    {"pt", "Para conferir a resposta, coloco o valor de volta na equação original e vejo que os dois lados são iguais, então "
           "não houve nenhum erro no caminho."},
    {"it", "Quindi la somma deve essere pari."},
    {"it", "Aspetta, dovrei controllare se vale anche la seconda condizione."},
    {"it", "Ogni bambino riceve lo stesso numero di mele perché la somma è divisibile per tre."},
    {"it", "Se il treno mantiene la sua velocità, arriverà alla stazione fra due ore."},
    {"it", "Per verificare la risposta la rimetto nell'equazione di partenza e vedo che i due lati coincidono, quindi non c'è "
           "stato nessun errore lungo la strada."},
    {"vi", "Vậy tổng phải là số chẵn."},
    {"vi", "Khoan đã, tôi cần kiểm tra xem điều kiện thứ hai có đúng không."},
    {"vi", "Mỗi đứa trẻ nhận được số táo bằng nhau vì tổng chia hết cho ba."},
    {"vi", "Nếu tàu giữ nguyên tốc độ thì nó sẽ đến ga sau hai giờ nữa."},
    {"vi", "Để kiểm tra lại đáp án, tôi thay nó vào phương trình ban đầu và thấy rằng hai vế bằng nhau, nghĩa là không có sai "
           "sót nào trong quá trình tính toán."},
    {"th", "ดังนั้นผลรวมต้องเป็นเลขคู่"},
    {"th", "เดี๋ยวก่อน ฉันควรตรวจสอบเงื่อนไขที่สองอีกครั้ง"},
    {"th", "เด็กแต่ละคนได้แอปเปิลจำนวนเท่ากันเพราะผลรวมหารด้วยสามลงตัว"},
    {"th", "ถ้ารถไฟวิ่งด้วยความเร็วเท่าเดิม มันจะถึงสถานีในอีกสองชั่วโมง"},
    {"th", "เพื่อตรวจสอบคำตอบ ฉันแทนค่ากลับเข้าไปในสมการเดิมและเห็นว่าทั้งสองข้างเท่ากัน แสดงว่าไม่มีข้อผิดพลาดระหว่างทาง"},
    {"hi", "इसलिए योग सम संख्या होना चाहिए।"},
    {"hi", "रुकिए, मुझे दूसरी शर्त को भी एक बार फिर से जाँचना चाहिए।"},
    {"hi", "हर बच्चे को बराबर सेब मिलते हैं क्योंकि योग तीन से विभाजित होता है।"},
    {"hi", "अगर रेलगाड़ी की गति नहीं बदलती है तो वह दो घंटे बाद स्टेशन पर पहुँच जाएगी।"},
    {"hi", "उत्तर की जाँच करने के लिए मैं उसे मूल समीकरण में वापस रखता हूँ और देखता हूँ कि दोनों पक्ष बराबर हैं, इसलिए रास्ते में कोई गलती "
           "नहीं हुई है।"},
});

}  // namespace r1
