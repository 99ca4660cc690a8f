#!/usr/bin/env python3
"""Writes jinja_cases.jsonl: small templates and what jinja2, set up as transformers does, renders from them.

    python make_jinja_cases.py > jinja_cases.jsonl      # written with transformers 5.17.0, jinja2 3.1.6

Rows: {"template", "variables", "expected"} or {"template", "variables", "error": true} where jinja2 raises.
"""
import json

from transformers.utils.chat_template_utils import _compile_jinja_template

V = {"s": "Hello World", "t": "  pad\t\n", "n": 7, "f": 2.5, "neg": -7, "yes": True, "no": False, "nil": None, "l": [3, 1, 2], "e": [], "w": ["b", "A", "c"],
     "d": {"a": 1, "b": "two", "c": [1, {"x": None}], "items": "shadow"}, "u": "\u00e9\u4f60\U0001f600", "q": "it's \"q\" <&>\\ \n\u0001",
     "people": [{"name": "Ann", "age": 30, "in": {"k": 1}}, {"name": "bob", "age": 5}, {"name": "Cy", "age": 30, "in": {"k": 2}}],
     "messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "U"}, {"role": "assistant", "content": "A", "tool_calls": [{"id": "1"}]}]}

EXPRESSIONS = r"""
1 + 2 * 3 - 4 / 2 | 7 // 2 | -7 // 2 | 7 % 3 | -7 % 3 | 7 % -3 | 2 ** 3 ** 2 | -2 ** 2 | 7.5 // 2 | -7.5 % 2 | 1 / 3 | 10 / 5 | 1e3 | 1.5e-7 | 12345678901234567.0 | 1e16 | 0.1 + 0.2 | 100000.0 | 1_000
n + f | n * 2.0 | true + 1 | yes * 3 | "ab" * 3 | [1, 2] * 2 | [1] + [2] | (1,) + (2, 3) | "a" + "b" | "a" ~ 1 ~ none ~ true ~ 2.0 | "a" "b" 'c' | "%s is %d %5.2f%%" % ("x", 3, 2.5) | "%s" % "y" | "%r" % "y" | "%05d|%-4s|" % (42, "z")
1 < 2 < 3 | 1 < 3 < 2 | 1 == 1.0 | 1 == true | "a" < "b" | [1, 2] < [1, 3] | "1" == 1 | none == none | not 1 | not not 1 | 1 and 2 | 0 or "x" | none or missing or 3 | 1 if yes else 2 | 1 if no | (1 if no) is undefined | 1 in l | 5 not in l | "ell" in s | "a" in d | 3 in d | "x" in missing
not 1 == 2 | 1 + 1 == 2 and not false | 2 in [1, 2] and 3 not in [1] | n is odd | n is even | n is divisibleby 7 | n is divisibleby(3) | n is not none | n is number | f is float | yes is boolean | yes is integer | n is integer | s is string | l is sequence | l is iterable | s is iterable
d is mapping | l is mapping | missing is defined | missing is not defined | n is defined and n > 3 | missing.x is defined | d.zz is defined | nil is none | n is eq 7 | n is equalto(7) | n is ne 8 | n is lt 8 | n is gt(8) | n is in [7] | n is sameas n | s is upper | "ABC" is upper | "abc" is lower | true is true | no is false | range is callable | 1 is true
s[0] | s[-1] | s[1:3] | s[::-1] | s[::2] | s[-5:] | s[:-6] | s[100] | s[5:2] | l[::-1] | l[-1] | l[1:] | l[:1] | l[5] is undefined | l[-3:-1] | l[::-2] | (1,2,3)[1:] | u[1] | u[::-1] | l.0 | l[:] | s[2:8:3] | s[8:2:-2] | messages[::-1][0].role
d.a | d["a"] | d["items"] | d.get("b") | d.get("a") | d.get("zz") | d.get("zz", 5) | d.c[1].x | d["c"][0] | d.missing | d | l | w | (1,) | () | [] | {} | {"a": 1, "b": [true, none]} | {1: 2, none: 3} | "it's" | ["it's", 'say "x"', "a\n\\b"] | [u] | [1.0, -2]
s.upper() | s.lower() | s.title() | s.capitalize() | "hello wORLD it's 3rd".title() | "\u00dfx".upper() | "\u01c6".title() | s.split() | s.split("o") | s.split("o", 1) | s.rsplit("o", 1) | " a  b c ".split(none, 1) | " a  b c ".rsplit(none, 1) | "a,b,,c".split(",") | "a\nb\r\nc".splitlines() | "".split() | "".split(",")
t.strip() | [t.lstrip(), t.rstrip()] | "xxaxx".strip("x") | "abcab".lstrip("ab") | "</think>a</think>b".split("</think>")[-1].lstrip("\n") | s.startswith("He") | s.endswith(("x", "ld")) | s.find("o") | s.rfind("o") | s.find("zz") | s.index("W") | s.count("l") | s.replace("l", "L") | s.replace("l", "L", 1) | "aaa".replace("", "-")
"-".join(w) | ", ".join(["x"]) | "12".isdigit() | "a1".isalnum() | "".isdigit() | "abc".isalpha() | " \t".isspace() | "x".ljust(3) ~ "|" | "x".rjust(3) | "x".center(4) ~ "|" | "{} {1} {a}".format(1, 2, a=3) | "{}-{}".format("a", "b") | "{{x}} {}".format(1) | "prefix_x".removeprefix("prefix_") | "a.py".removesuffix(".py") | "3".isnumeric() | "Abc".isupper() | "abc".islower() | w.index("A") | w.count("b")
l | length ;; s | length ;; u | length ;; d | length ;; missing | length ;; e | count ;; s | upper ;; s | lower ;; t | trim ;; "xax" | trim("x") ;; s | replace("o", "0") ;; s | replace("o", "0", 1) ;; s | title ;; "ABC def" | capitalize ;; l | join(",") ;; w | join ;; people | join(", ", attribute="name") ;; missing | default("x") ;; none | default("x") ;; none | default("x", true) ;; "" | d("y", boolean=true) ;; n | default(3)
l | sort ;; l | sort(reverse=true) ;; w | sort ;; w | sort(case_sensitive=true) ;; people | sort(attribute="name") | map(attribute="name") | list ;; people | map(attribute="in.k") | list ;; people | map(attribute="in.k", default=0) | list ;; w | map("upper") | list ;; [" a", "b "] | map("trim") | join("|") ;; w | map("replace", "b", "z") | list
people | selectattr("age", "gt", 10) | map(attribute="name") | join(",") ;; people | selectattr("in") | list | length ;; people | rejectattr("in", "defined") | map(attribute="name") | list ;; l | select("odd") | list ;; l | reject("odd") | list ;; l | select("gt", 1) | list ;; [0, 1, "", "a"] | select | list ;; messages | selectattr("role", "equalto", "user") | list | length ;; messages | selectattr("role", "in", ["user", "system"]) | map(attribute="content") | list
l | first ;; l | last ;; e | first ;; s | first ;; s | last ;; d | first ;; l | reverse | list ;; s | reverse ;; l | sum ;; people | sum(attribute="age") ;; l | min ;; l | max ;; people | max(attribute="age") | string ;; w | max ;; [1, 1, 2, "a", "A"] | unique | list ;; people | groupby("age") | map(attribute=0) | list ;; [1,2,3,4,5] | batch(2) | list ;; [1,2,3] | batch(2, "-") | list ;; d | dictsort | map(attribute=0) | list ;; {"b": 1, "A": 2} | dictsort ;; {"b": 1, "A": 2} | dictsort(by="value")
"42" | int ;; "4.7" | int ;; "x" | int ;; "x" | int(9) ;; "ff" | int(0, 16) ;; 4.9 | int ;; " 7 " | int ;; "2.5" | float ;; "x" | float ;; "x" | float(1.5) ;; n | float ;; neg | abs ;; -2.5 | abs ;; 2.567 | round(1) ;; 2.5 | round ;; 3.5 | round ;; 2.1 | round(method="ceil") ;; 2.19 | round(1, "floor") ;; 7 | string ;; n | string | length ;; true | string ;; none | string ;; 1.0 | string
d | tojson ;; d | tojson(indent=2) ;; q | tojson ;; u | tojson ;; u | tojson(ensure_ascii=true) ;; [1.0, 1e20, 1e-7, true, none, 12345678901234] | tojson ;; {} | tojson ;; [] | tojson(indent=4) ;; [[], {}] | tojson(indent=1) ;; {"b": 1, "a": {"z": [1, 2]}} | tojson(sort_keys=true) ;; {"b": [1, 2]} | tojson(separators=(",", ":")) ;; {1: "x", true: 2, none: 3, 1.5: 4} | tojson ;; "a/b</script>'" | tojson ;; (1, 2) | tojson ;; "x" | tojson | length
"a\nb\n\nc" | indent ;; "a\nb" | indent(2, true) ;; "a\n\nb" | indent(width=3, blank=true) ;; "a\nb" | indent("> ") ;; q | escape ;; "<b>" | e ;; "<b>" | safe ;; "one two  three" | wordcount ;; "%s-%s" | format("a", 1) ;; d | items | list ;; missing | items | list ;; messages[0] | attr("role") | string ;; s | list ;; d | list ;; "abc" | map("upper") | list
d.items() | list ;; d.keys() | list ;; d.values() | list ;; n.realx is defined ;; nil.x is defined ;; n | tojson ;; s is string and s | length > 3 ;; (s | upper)[0:2] ;; s | upper | lower ;; -n | abs ;; (-n) | abs ;; [1, 2] | length + 1 ;; "a" ~ "b" | upper ;; 1 ~ 2 + 3 ;; not missing ;; missing ~ "" ;; [missing] | length ;; missing == missing2 ;; nil == missing ;; "" is sameas "" ;; d == {"a": 1} ;; [1, [2]] == [1, [2.0]] ;; (1, 2) == [1, 2]
range(3) | list ;; range(2, 8, 3) | list ;; range(3, 0, -1) | list ;; dict(a=1, b=2) ;; dict({"x": 1}, y=2) ;; namespace(a=1).a ;; range(5)[1:3] | list ;; range(4) | length ;; loop is defined ;; 3 in range(5)
"\u00e9\x41\t|\101\q\'" ;; 'a\'b' ;; "tab\there" ;; 'sp\
lit' ;; "\\n" ;; "😀" ;; "\N" ;; "a{{b}}" ;; "{% x %}" ;; {"a": {"b": 1}}["a"]["b"] ;; [[1, 2], [3]][0][1] ;; [x for x in l] ;; {"a": 1}.a
"""

TEMPLATES = [
    "a\n{% if yes %}\nb\n{% endif %}\nc\n", "a\n  {% if yes %}  \n  b\n  {% endif %}  \nc", "x {%- if yes %} y {%- endif %} z", "x {% if yes -%} y {% endif -%} z", "  {{ n }}\n  {{- n }}\n  {{ n -}}\n  z",
    "a  {%+ if yes %}b{% endif +%}\nc", "{# c #}\na {# c #}\n b {#- c -#} d", "  {# c #}\n  x", "{{ '{% raw %}' }}{% raw %}{{ n }} {% if %}{% endraw %}\nz", "{%- raw -%}  {{ x }}  {%- endraw -%}  y", "\n\n{{ n }}\n\n", "{{ n }}\r\nx\ry\r\n",
    "a{% if no %}1{% elif n == 7 %}2{% else %}3{% endif %}", "{% if no %}1{% elif no %}2{% else %}3{% endif %}", "{% if missing %}1{% endif %}-",
    "{% for x in l %}{{ x }}{% if not loop.last %}, {% endif %}{% endfor %}", "{% for x in e %}x{% else %}none{% endfor %}", "{% for x in missing %}x{% else %}none{% endfor %}",
    "{% for x in l if x > 1 %}{{ loop.index }}/{{ loop.length }}:{{ x }} {% endfor %}", "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}", "{% for k in d %}{{ k }}{% endfor %}", "{% for a, b in [[1, 2], [3, 4]] %}{{ a + b }} {% endfor %}",
    "{% for x in l %}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.previtem | default('-') }}{{ loop.nextitem is defined }}{{ loop.cycle('a', 'b') }}{{ loop.depth }} {% endfor %}",
    "{% for x in [1, 1, 2, 2, 1] %}{% if loop.changed(x) %}{{ x }}{% endif %}{% endfor %}", "{% for x in l %}{% for y in l %}{{ loop.depth }}{{ loop.index }}{% endfor %}{{ loop.index }} {% endfor %}",
    "{% for x in range(10) %}{% if x == 2 %}{% continue %}{% endif %}{% if x == 5 %}{% break %}{% endif %}{{ x }}{% endfor %}", "{% for c in s %}{{ c }}.{% endfor %}",
    "{% set x = 1 %}{% for i in l %}{% set x = x + i %}{{ x }} {% endfor %}{{ x }}", "{% set x = 1 %}{% if yes %}{% set x = 2 %}{% endif %}{{ x }}", "{% set ns = namespace(t=0) %}{% for i in l %}{% set ns.t = ns.t + i %}{% endfor %}{{ ns.t }}",
    "{% set ns = namespace() %}{% set ns.a = [1] %}{{ ns.a }}{{ ns.b is defined }}", "{% set a, b = 1, 2 %}{{ b }}{{ a }}", "{% set a, b = [3, 4] %}{{ a * b }}", "{% set x = 1, 2 %}{{ x }}", "{% set x %}a{{ n }}{% endset %}[{{ x }}]", "{% set x | upper | trim %} ab {% endset %}[{{ x }}]",
    "{% macro f(a, b=2, c='x') %}{{ a }}-{{ b }}-{{ c }};{% endmacro %}{{ f(1) }}{{ f(1, 3) }}{{ f(a=5, c=none) }}{{ f() }}", "{% macro f(x) %}{% if x > 0 %}{{ x }}{{ f(x - 1) }}{% endif %}{% endmacro %}{{ f(3) }}",
    "{% set g = 1 %}{% macro f() %}{{ g }}{{ n }}{% endmacro %}{% set g = 2 %}{{ f() }}", "{% macro f() %}{% set g = 5 %}{{ g }}{% endmacro %}{{ f() }}{{ g is defined }}", "{% macro f() %}<{{ caller() }}>{% endmacro %}{% call f() %}in {{ n }}{% endcall %}",
    "{% macro f(x) %}{{ caller(x, 2) }}{% endmacro %}{% call(a, b) f(1) %}{{ a }}/{{ b }}{% endcall %}", "{% macro m(x) -%}  {{ x }}  {%- endmacro %}[{{ m('a') | upper }}]", "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(1, 2) }}", "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(zz=1) }}",
    "{% with a = 1, b = n %}{{ a + b }}{% endwith %}{{ a is defined }}", "{% filter upper %}a{{ s }}{% endfilter %}", "{% filter replace('a', 'b') | trim %} aa {% endfilter %}.", "{% generation %}x{{ n }}{% endgeneration %}", "{% for m in messages %}{%- generation -%} {{ m.role }} {%- endgeneration %}\n{% endfor %}",
    "{{ n, s }}", "{{ (1) }}{{ (1,) }}", "{{ none }}{{ true }}{{ missing }}", "{{ missing.x }}", "{{ missing + 1 }}", "{{ missing() }}", "{{ n() }}", "{{ raise_exception('no ' ~ n) }}", "{{ nil.a }}", "{{ nil.a.b }}", "{{ 'a' + 1 }}", "{{ 1 < 'a' }}", "{{ 1 / 0 }}", "{{ 1 in 5 }}", "{{ [1, 2] | join(1) }}",
    "{{ l.append(1) }}", "{{ d.update({}) }}", "{{ d.pop('a') }}", "{{ missing | tojson }}", "{% for x in 5 %}{% endfor %}", "{% for a, b in [[1]] %}{% endfor %}", "{{ 'x'.foo() }}", "{{ 'x'.index('y') }}", "{{ ''.split('') }}", "{% set n.x = 1 %}", "{{ range(1, 5, 0) }}", "{{ l['a'] }}|", "{{ s | nofilter }}", "{{ s is notest }}",
    "{% if %}{% endif %}", "{% if yes %}", "{{ n", "{% endif %}", "{{ 'abc }}", "{# c", "{{ a b }}", "{{ (1 }}", "{{ ] }}", "{% set %}", "{% for x l %}{% endfor %}", "{% unknown %}", "{{ }}", "{% for x in l %}{% endif %}", "{{ 1 +}}", "{{ x | }}", "{{ x is }}", "{% break %}", "{{ f(a=1, 2) }}", "{% set true = 1 %}", "{{ $ }}",
    "{%- for m in messages %}\n    {%- if m.role == 'user' %}\n        {{- '<u>' + m.content }}\n    {%- else %}\n        {{- m['content'] }}\n    {%- endif %}\n{%- endfor %}\n", "{% for m in messages -%}\n  {{ m.role }}\n{% endfor %}", "{{ messages[-1].tool_calls[0]['id'] }}{{ messages[0].tool_calls is defined }}",
    "{% if messages[0]['role'] == 'system' %}{% set rest = messages[1:] %}{% endif %}{{ rest | length }}", "{% set ns = namespace(found=false) %}{% for m in messages[::-1] %}{% if not ns.found and m.role == 'user' %}{% set ns.found = true %}{{ loop.index0 }}{% endif %}{% endfor %}",
    "{{ strftime_now('%Y') | length }}", "{{ '%d' | format(3) }}", "{% set x = {'k': [1, 2]} %}{{ x.k[1] }}{{ x['k'] | length }}", "{% for t in messages if t.role != 'system' %}{{ loop.first }}{% endfor %}", "{{- ' a ' -}}  b", "{{ '' }}\n{{ '' }}", "{%if yes%}y{%endif%}", "{% if n>5 and(s) %}y{% endif %}",
    "{{ {'a':1}|tojson }}", "{{ 5 if n else 6 if no else 7 }}", "{{ [1,2,]|length }}{{ (1,2,)|length }}{{ {'a':1,}|length }}", "{% for x in l|sort %}{{ x }}{% endfor %}", "{% for x in (1, 2) %}{{ x }}{% endfor %}", "{% for x in 1, 2 %}{{ x }}{% endfor %}", "a\n\n  {%- set z = 1 %}\n\nb", "line\n{% set z = 1 %}\n{% set y = 2 %}\nend",
    "\t{% set z = 1 %}x", "a\x0b{% set z = 1 %}x", "a \u3000{%- set z = 1 -%}\u3000 x", "{% set loop = 5 %}{{ loop }}", "{% for x in l %}{% set loop2 = loop.index %}{{ loop2 }}{% endfor %}", "{{ loop }}", "{% for x in l %}{% macro f() %}{{ x }}{% endmacro %}{{ f() }}{% endfor %}",
    "{{ 'a' if missing is defined else 'b' }}", "{{ d.a is defined and d.a == 1 }}", "{{ not d.zz is defined or d.zz|length != 9 }}", "{{ (n is odd) ~ (n is even) }}", "{{ n is not divisibleby 2 }}", "{{ 'b' is in 'abc' }}", "{{ 1 is not in [2] }}",
]


def main():
    rows = []
    for line in EXPRESSIONS.replace("\\\nlit", "\0").strip("\n").split("\n"):
        line = line.replace("\0", "\\\nlit")
        for e in line.split(" ;; ") if " ;; " in line else line.split(" | "):
            rows.append("{{ " + e.strip() + " }}")
    for template in rows + TEMPLATES:
        row = {"template": template}
        try:
            row["expected"] = _compile_jinja_template(template).render(**V)
        except Exception:
            row["error"] = True
        print(json.dumps(row))


print(json.dumps({"variables": V}))
main()
