//! Queries that are refused, with the position of the error.

use super::compile;

/// Query, line, character, token, a part of the message.
type Case = (&'static str, u32, u32, &'static str, &'static str);

const CASES: &[Case] = &[
    ("", 1, 0, "<EOF>", "a name"),
    ("resources where", 1, 10, "where", "| or the end"),
    ("resources |", 1, 11, "<EOF>", "an operator"),
    ("nothing | count", 1, 0, "nothing", "disallowed"),
    (
        "resources\n| union securityresources",
        2,
        2,
        "union",
        "not supported",
    ),
    ("resources | mv-expand x = zones", 1, 12, "mv", "not supported"),
    (
        "resources | project-rename a = name",
        1,
        12,
        "project-rename",
        "not supported",
    ),
    (
        "resources | summarize dcount(name)",
        1,
        22,
        "dcount",
        "not supported",
    ),
    ("resources | where", 1, 17, "<EOF>", "an expression"),
    ("resources | where name = 'x'", 1, 23, "=", "| or the end"),
    ("resources | where (name == 'x'", 1, 30, "<EOF>", ")"),
    (
        "resources | where name matches regex 'x'",
        1,
        23,
        "matches",
        "| or the end",
    ),
    (
        "resources | where nome == 'x'",
        1,
        18,
        "nome",
        "Failed to resolve",
    ),
    (
        "resources | project id | where name == 'x'",
        1,
        31,
        "name",
        "Failed to resolve",
    ),
    (
        "resources | where Name == 'x'",
        1,
        18,
        "Name",
        "Failed to resolve",
    ),
    ("resources | extend x = 1, y = x", 1, 30, "x", "Failed to resolve"),
    (
        "resources | where todatetime(name) == 'x'",
        1,
        18,
        "todatetime",
        "Unknown function",
    ),
    (
        "resources | where tolower() == 'x'",
        1,
        18,
        "tolower",
        "expects 1 to 1",
    ),
    (
        "resources | where tolower(1) == 'x'",
        1,
        18,
        "tolower",
        "argument #1",
    ),
    (
        "resources | where substring(name, 'x') == ''",
        1,
        18,
        "substring",
        "argument #2",
    ),
    ("resources | where name == 1", 1, 23, "", "explicit casts"),
    (
        "resources | where properties.a == properties.b",
        1,
        31,
        "",
        "explicit casts",
    ),
    ("resources | where name < 'x'", 1, 23, "", "numbers"),
    ("resources | where name", 1, 18, "", "true or false"),
    ("resources | where properties.on", 1, 18, "", "tobool"),
    ("resources | where name.first == 'x'", 1, 18, "first", "dynamic"),
    ("resources | where name in (id)", 1, 27, "", "literals"),
    ("resources | where name in~ (1)", 1, 28, "", "type"),
    (
        "resources | extend a = iff(true, 1, 'x')",
        1,
        23,
        "iff",
        "different types",
    ),
    (
        "resources | extend a = extract(name, 1, id)",
        1,
        23,
        "extract",
        "literal",
    ),
    (
        "resources | extend a = extract('(', 1, id)",
        1,
        23,
        "(",
        "regular expression",
    ),
    ("resources | project a = 1, a = 2", 1, 31, "a", "already exists"),
    ("resources | order by properties.a", 1, 21, "order by", "dynamic"),
    (
        "resources | summarize count() by properties.a",
        1,
        33,
        "summarize",
        "dynamic",
    ),
    ("resources | limit x", 1, 18, "x", "number of rows"),
    ("resources | join (resources) on id", 1, 17, "(", "kind"),
    (
        "resources | join kind=fullouter (resources) on id",
        1,
        22,
        "fullouter",
        "leftouter",
    ),
    (
        "resources | join kind=inner (resources) on $left.id == $right.id",
        1,
        43,
        "$",
        "a name",
    ),
    (
        "resources | join kind=inner (resources | project name) on id",
        1,
        58,
        "id",
        "Failed to resolve",
    ),
    (
        "resources | join kind=inner (resources) on properties",
        1,
        43,
        "join",
        "dynamic",
    ),
    ("resources | where name == 'x' * 2", 1, 30, "*", "| or the end"),
];

#[test]
fn what_is_not_supported_is_refused_at_its_place() {
    let mut wrong = Vec::new();
    for (query, line, character, token, text) in CASES {
        let problem = compile(query).map(|_| ()).unwrap_err();
        let place = (&problem.at.line, &problem.at.character, problem.token.as_str());
        if place != (line, character, token) || !problem.text.contains(text) {
            wrong.push(format!("{query}: {problem:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn queries_have_limits() {
    let join = "| join kind=inner (resources | project id) on id";
    assert!(compile(&format!("resources {}", join.repeat(3))).is_ok());
    let problem = compile(&format!("resources {}", join.repeat(4))).unwrap_err();
    assert!(problem.text.contains("at most 3"), "{problem:?}");
    let deep = format!("resources | where {}true{}", "(".repeat(5000), ")".repeat(5000));
    assert!(compile(&deep).unwrap_err().text.contains("deeply"));
}
