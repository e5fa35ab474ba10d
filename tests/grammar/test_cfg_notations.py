"""Grammars as people write them: GBNF, EBNF and Lark, what they accept, and how what is broken is refused."""

from __future__ import annotations

import json
import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootform.grammar.automaton import Automaton
from rootform.grammar.batch import StateBatch
from rootform.grammar.compile import expression_of
from rootform.grammar.constraints import Grammar
from rootform.grammar.errors import GrammarError
from rootform.grammar.expr import POOL
from rootform.grammar.lark_common import COMMON

ARITHMETIC_GBNF = r"""
# expressions, one to a line
root  ::= (expr "=" ws term "\n")+
expr  ::= term ([-+*/] term)*
term  ::= ident | num | "(" ws expr ")" ws
ident ::= [a-z] [a-z0-9_]* ws
num   ::= [0-9]+ ws
ws    ::= [ \t\n]*
"""
ARITHMETIC_LARK = r"""
// left-recursive, with an alias or two
?start: sum
?sum: product | sum ("+" | "-") product -> add
?product: atom | product ("*" | "/") atom
?atom: NUMBER | "-" atom -> neg | NAME | "(" sum ")" | atom "[" [sum ("," sum)*] "]"

%import common (NUMBER, CNAME)
NAME: CNAME
%import common.WS_INLINE
%ignore WS_INLINE
"""
JSON_GBNF = r"""
root   ::= object
value  ::= object | array | string | number | ("true" | "false" | "null") ws
object ::= "{" ws ( string ":" ws value ("," ws string ":" ws value)* )? "}" ws
array  ::= "[" ws ( value ("," ws value)* )? "]" ws
string ::= "\"" ( [^"\\\x7F\x00-\x1F] | "\\" (["\\bfnrt/] | "u" [0-9a-fA-F]{4}) )* "\"" ws
number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ([eE] [-+]? [0-9] [1-9]{0,15})? ws
ws     ::= | " " | "\n" [ \t]{0,20}
"""
C_GBNF = r"""
root ::= function*
function ::= type ws name "(" ws parameters? ")" ws block
parameters ::= type ws name ("," ws type ws name)*
type ::= "int" | "float" | "char" | type "*"
block ::= "{" ws statement* "}" ws
statement ::= type " " ws name "=" ws expression ";" ws
            | name "=" ws expression ";" ws
            | name "(" ws arguments? ")" ws ";" ws
            | "return" " " ws expression ";" ws
            | "while" ws "(" ws expression ")" ws block
            | "if" ws "(" ws expression ")" ws block ("else" ws block)?
arguments ::= expression ("," ws expression)*
expression ::= expression operator expression | unary
unary ::= ("-" ws)? unary | primary | unary "[" ws expression "]" ws
primary ::= name | number | name "(" ws arguments? ")" ws | "(" ws expression ")" ws
operator ::= ("+" | "-" | "*" | "/" | "<=" | "<" | "==" | "!=") ws
number ::= [0-9]+ ws
name ::= [a-zA-Z_] [a-zA-Z0-9_]* ws
ws ::= [ \t\n]*
"""


def accepts(text: str, grammar: Grammar | str) -> bool:
    grammar = Grammar(grammar) if isinstance(grammar, str) else grammar
    return POOL.fullmatch(expression_of(grammar), text.encode())


@pytest.mark.parametrize(
    ("grammar", "good", "bad"),
    [
        (ARITHMETIC_GBNF, ["1=1\n", "(x_1 +2)*3 =y\nz=1\n"], ["1\n", "1==1\n", "(1=1\n", ""]),
        (ARITHMETIC_LARK, ["1", " 1 +2 * -(3.5 - x )", "a[1, 2][b]", "--x"], ["1 +", "(", "a[1,]", "1 2", ""]),
        (C_GBNF, ["", "int** f (char* a, int b) { int x = -a[b+1]*2; if (x <= 3) { return f(x, 1); } else{} }\n"],
         ["int f( { }", "int f(){ x = ; }", "int f(){ return 1 + }"]),
    ],
)  # fmt: skip
def test_sample_grammars(grammar: str, good: list[str], bad: list[str]) -> None:
    for text in good:
        assert accepts(text, grammar), text
    for text in bad:
        assert not accepts(text, grammar), text


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-999, 999) | st.text(max_size=4) | st.floats(-9, 9, width=16),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('ab"\\é', max_size=3), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None)
@given(value=st.dictionaries(st.text(max_size=3), json_values, max_size=3), cut=st.integers(0, 200))
def test_json_in_gbnf_is_json(value: object, cut: int) -> None:
    plain = re.sub(r"\d+e-\d+|\x7f", "0", json.dumps(value, ensure_ascii=False))  # the sample's own narrowness
    plain = re.sub(r"[0-9]{15,}", "1", plain)
    assert accepts(plain, JSON_GBNF)
    broken = plain[:cut] + plain[cut + 1 :]
    if accepts(broken, JSON_GBNF):
        json.loads(broken)


@pytest.mark.parametrize("grammar", [JSON_GBNF, ARITHMETIC_LARK, C_GBNF])
def test_any_walk_can_be_closed_and_leaves_few_states(grammar: str, toy_bytes) -> None:
    automaton = Automaton(toy_bytes)
    batch, rng = StateBatch(automaton), random.Random(5)
    expression = expression_of(Grammar(grammar))
    root = automaton.root_of(expression)
    for _ in range(4):
        slot, text = batch.open(root), b""
        for _ in range(60):
            row = int(batch.row_ids([slot])[0])
            tokens = [t for t in range(256) if automaton.rows[row, t // 32] >> t % 32 & 1]
            if not tokens:
                break
            token = rng.choice(tokens)
            assert batch.advance([slot], [token])[0]
            text += toy_bytes.tokens[token]
        closing = b"".join(toy_bytes.tokens[t] for t in batch.closing(slot))
        assert POOL.fullmatch(expression, text + closing)
        batch.close(slot)


def test_strings_classes_and_counts_in_gbnf() -> None:
    grammar = r'root ::= "\"\\\n\u00e9\U0001F600\x41" [^a-c\]\-]{2} .? ("x"{,2} | "y"{3,}) # done'
    assert accepts('"\\\né😀Ad\né', grammar)
    assert accepts('"\\\né😀Add\nxx', grammar)
    assert accepts('"\\\né😀Add😀yyyy', grammar)
    for bad in ['"\\\né😀Aad', '"\\\né😀Ad-', '"\\\né😀Addxxxx', '"\\\né😀Add yy']:
        assert not accepts(bad, grammar)


def test_terminals_of_lark() -> None:
    grammar = r"""
    start: ("a"i B c~2..3 d{2} | E) F
    B: "x".."z" & ~"y"
    c: /\d/ "!"?
    d: /[P-R]/i
    E: /(?s:.*)/ & ~/(?s:.*)STOP(?s:.*)/ "."
    F: "\u0041" | "é"
    """
    for good in ["Ax1!2pQé", "az123RrA", "say anything.A", "\n.é", "STO P.A"]:
        assert accepts(good, grammar), good
    for bad in ["ay12ppA", "ax1ppA", "axSTOP.A", "ax12ppB"]:
        assert not accepts(bad, grammar), bad


def test_lazy_terminals_stop_at_their_first_end() -> None:
    grammar = r"""
    start: (call | sum)* TEXT
    TEXT: /(.|\n)*/
    head[lazy]: TEXT "<f"
    call: head "=go>" %json {"type": "integer"} "</f>"
    sum[suffix=";"]: "sum " /.*/
    """
    assert accepts("hi <f=go>12</f> and <f=go>-3</f> bye", grammar)
    assert accepts("sum 1+2;sum 3;", grammar)
    assert accepts("no call", grammar)
    only_calls = grammar.replace("TEXT\n", '"."\n', 1)
    assert accepts("hi <f=go>12</f>.", only_calls)
    assert not accepts("hi <f <f=go>12</f>.", only_calls)
    assert not accepts("sum 1;2;.", only_calls)


def test_schemas_and_substrings_in_lark() -> None:
    grammar = """start: %json {"type": "object", "properties": {"a": {"type": "array", "items": {"$ref": "#"}}},
        "additionalProperties": false} "|" WORDS
    WORDS: %regex {"substring_words": "to be, or not to be"}"""
    for good in ['{"a":[{},{"a":[]}]}|be, or', "{}|", "{}|to be"]:
        assert accepts(good, grammar)
    for bad in ['{"a":[1]}|', "{}|o be", "{}|to or"]:
        assert not accepts(bad, grammar)
    assert accepts('{ "a": [] }|', Grammar(grammar, spacing="flexible"))
    chunks = 'start: %regex {"substring_chunks": ["abc", "de", "abc", "f"]}'
    assert [t for t in ["", "abc", "abcf", "deabc", "ab", "cf", "abcde"] if accepts(t, chunks)] == [
        "", "abc", "abcf", "deabc", "abcde"]  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(text=st.text("abc", max_size=8), piece=st.text("abc", max_size=4))
def test_substrings_are_exactly_those(text: str, piece: str) -> None:
    assert accepts(piece, f'start: %regex {{"substring_chars": "{text}"}}') == (piece in text)


def test_common_terminals() -> None:
    samples = {
        "INT": ["12"], "SIGNED_NUMBER": ["-1", "+1.5e3", ".5", "1."], "ESCAPED_STRING": ['"a\\"b"', '""'],
        "CNAME": ["_a1"], "WS": [" \n\t"], "C_COMMENT": ["/* a * b **/"], "NEWLINE": ["\r\n\n"],
        "FLOAT": ["1e5", "1.0"],
    }  # fmt: skip
    wrong = {"FLOAT": ["1", "e5"], "ESCAPED_STRING": ['"a"b"', '"\\"'], "C_COMMENT": ["/* a */ */"], "CNAME": ["1a"]}
    for name in COMMON:
        grammar = f"start: X\n%import common.{name} -> X"
        assert all(accepts(text, grammar) for text in samples.get(name, []))
        assert not any(accepts(text, grammar) for text in wrong.get(name, []))


def test_the_rule_to_start_with_and_the_notation_can_be_said() -> None:
    assert accepts("b", Grammar('root ::= "a"\nother ::= "b"', start="other"))
    assert accepts("a", Grammar('root ::= "a"', syntax="ebnf"))
    with pytest.raises(GrammarError, match="was expected here"):
        expression_of(Grammar('root ::= "a"', syntax="lark"))
    with pytest.raises(GrammarError, match=r"there is no such rule to start with; .*: a, b"):
        expression_of(Grammar('a: "x"\nb: "y"'))


@pytest.mark.parametrize(
    ("grammar", "message"),
    [
        ("start: a", "line 1, column 8, 'a': there is no rule of this name"),
        ('start: "x"\nb: "y"\n  | starT', "line 3, column 5, 'starT': there is no rule of this name; did you mean"),
        ("start: start", "line 1, column 1, 'start': no text can satisfy this rule"),
        ('start: "a\\q"', "line 1, column 10, '\\\\q': this escape is not known"),
        ('start: A\nA: A "x" | "y"', "line 2, column 4, 'A': a terminal cannot hold itself"),
        ('start: A\nA: b\nb: "x"', "line 2, column 4, 'b': a terminal cannot hold a rule"),
        ("start: WS", "line 1, column 8, 'WS': there is no terminal of this name; define or %import it"),
        ('start.2: "x"', "line 1, column 1, 'start': priorities are not supported"),
        ('start{a}: "x"', "line 1, column 1, 'start': templates are not supported"),
        ('start: list{"x"}', "line 1, column 12, '{': templates are not supported"),
        ("start: /a(/", "line 1, column 8, regex, column 2, '(': this group is not closed"),
        ('start: "a" ~3..1', "line 1, column 12, '~3..1': the bounds are out of order"),
        ('start: "z".."a"', "line 1, column 8, '\"z\"..\"a\"': a range goes from one character up to another"),
        ("start: <|x|>", "line 1, column 8, '<': single tokens cannot be named"),
        ('start: ("x"', "line 1, column 8, '(': this group is not closed"),
        ('start: "x")', "line 1, column 11, ')': nothing was opened"),
        ('start: "x" & "y"', "line 1, column 8, '&': this stands in terminals only"),
        ('start: %json {"type": "objec"}', "line 1, column 8, #, 'type': 'objec' is not a type"),
        ("start: %json {", "line 1, column 15: this is not JSON"),
        ('start: %regex {"x": 1}', "line 1, column 8, '%regex': this is none of the forms"),
        ('start[max_tokens=3]: "a"', "line 1, column 7, 'max_tokens': this attribute is not supported"),
        ('start: "a"\n%import python.X', "line 2, column 1, '%import': only terminals of `common`"),
        ('start: "a"\n%declare X', "line 2, column 1, '%declare': this directive is not supported"),
        ('start: "a"\nstart: "b"', "line 2, column 1, 'start': this name is already there"),
        ('root ::= "a', "line 1, column 10, '\"': this string is not closed on its line"),
        ("root ::= [z-a]", "line 1, column 11, 'z-a': the range is out of order"),
        ("root ::= a\na ::= roo", "line 2, column 7, 'roo': there is no rule of this name; did you mean 'root'"),
        ('root ::= "a" root', "line 1, column 1, 'root': no text can satisfy this rule"),
        ('root ::= TagDispatch("a")', "line 1, column 10, 'TagDispatch': this macro is not supported"),
        ('root ::= "x"\nroot ::= "y"', "line 2, column 1, 'root': this rule is already there"),
        ('root ::= (= "x")', "line 1, column 10, '(=': look-ahead assertions are not supported"),
        ('root ::= "\\ud800"', "line 1, column 11, '\\\\ud800': this is not a character"),
        ("root ::= <think>", "line 1, column 10, '<think>': single tokens cannot be named"),
        ('root ::= "a"{2', "line 1, column 13, '{': these are no bounds"),
        ('root ::= ("a"', "line 1, column 10, '(': this group is not closed"),
        ("", "line 1, column 1: there are no rules here"),
    ],
)  # fmt: skip
def test_refusals_say_where_and_what_is_wrong(grammar: str, message: str) -> None:
    with pytest.raises(GrammarError) as caught:
        expression_of(Grammar(grammar))
    assert message in str(caught.value)
