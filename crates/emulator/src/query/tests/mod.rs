//! The language as a whole: tables of queries with their results or errors.

mod refusals;

use serde_json::{Value, json};

use super::{Row, RowSource, Table, compile};

/// A source of fixed rows for any table.
struct Fixed(Vec<Value>);

impl RowSource for Fixed {
    fn rows(&self, _table: Table, types: Option<&[String]>, each: &mut dyn FnMut(Value)) {
        for row in &self.0 {
            let expected = types.is_none_or(|types| types.iter().any(|kind| row["type"] == kind.as_str()));
            if expected {
                each(row.clone());
            }
        }
    }
}

fn rows(query: &str, source: &dyn RowSource) -> Vec<Row> {
    let plan = compile(query).unwrap_or_else(|problem| panic!("{query}: {problem:?}"));
    let rows = plan.run(source);
    assert!(rows.iter().all(|row| row.len() == plan.columns.len()), "{query}");
    rows
}

fn machines() -> Fixed {
    Fixed(vec![
        json!({"id": "/S/1/VM/Alpha", "name": "Alpha", "type": "microsoft.compute/virtualmachines", "location": "westeurope",
               "subscriptionId": "1", "tags": {"Owner Team": "A-1", "n": "7"}, "zones": ["1", "2"],
               "properties": {"size": 4, "ratio": 1.5, "on": true, "os": "Windows", "list": [{"k": "v"}], "text": "12"}}),
        json!({"id": "/S/1/VM/beta", "name": "beta", "type": "microsoft.compute/virtualmachines", "location": "eastus",
               "subscriptionId": "1", "properties": {"size": 16, "os": "linux"}}),
        json!({"id": "/S/2/ARC/gamma", "name": "gamma", "type": "microsoft.hybridcompute/machines",
               "subscriptionId": "2", "kind": "AWS", "properties": {"os": "", "on": false}}),
        json!({"id": "/S/1/VM/Alpha/extensions/MDE.Windows", "name": "MDE.Windows", "subscriptionId": "1",
               "type": "microsoft.compute/virtualmachines/extensions", "properties": {"state": "Succeeded"}}),
        json!({"id": "/S/1/VM/Alpha/extensions/Other", "name": "Other", "subscriptionId": "1",
               "type": "microsoft.compute/virtualmachines/extensions", "properties": {"state": "Failed"}}),
    ])
}

#[test]
fn conditions_select_rows() {
    let all = machines();
    for (condition, names) in [
        ("name == 'alpha'", ""),
        ("name =~ 'alpha'", "Alpha"),
        (
            "name !~ 'ALPHA' and type has 'microsoft' and type !endswith \"extensions\"",
            "beta gamma",
        ),
        ("name in ('Alpha', 'BETA')", "Alpha"),
        ("name in~ ('ALPHA', 'BETA')", "Alpha beta"),
        ("name !in~ ('ALPHA', 'BETA', 'other', 'mde.windows')", "gamma"),
        ("name !in ('Alpha', 'beta', 'Other', 'MDE.Windows')", "gamma"),
        ("properties.size > 4", "beta"),
        ("properties.size >= 4 and not(properties.size >= 5)", "Alpha"),
        ("4 < properties.size or properties.on == true", "Alpha beta"),
        // A comparison with null is null: neither it nor its negation lets a row pass.
        ("properties.size != 4", "beta"),
        ("not(properties.size == 4)", "beta"),
        ("properties.size + 0 == 4 or true", "!"),
        ("properties.os == 'Windows'", "Alpha"),
        ("properties.os =~ 'LINUX'", "beta"),
        ("isempty(properties.os) and kind == 'AWS'", "gamma"),
        (
            "isnull(properties.missing.deeper) and isnotnull(properties.os) and isempty(kind)",
            "Alpha beta",
        ),
        ("isnull(kind)", ""),
        ("tobool(properties.on)", "Alpha"),
        ("not(tobool(properties.on))", "gamma"),
        ("tags['Owner Team'] == 'A-1'", "Alpha"),
        ("properties['list'][0].k == 'v'", "Alpha"),
        ("tostring(zones[1]) == '2' and array_length(zones) == 2", "Alpha"),
        (
            "toint(properties.text) + 1 == 13 and toint(tags.n) - 8 == -1",
            "Alpha",
        ),
        ("tags has 'team'", "Alpha"),
        ("name contains 'LPH'", "Alpha"),
        ("name startswith 'al' and not(name endswith 'AL')", "Alpha"),
        ("id has 'vm' and not(id has 'alph') and name has 'beta'", "beta"),
        (
            "name == 'beta' or name == 'Alpha' and location == 'nowhere'",
            "beta",
        ),
        (
            "(name == 'beta' or name == 'Alpha') and location == 'eastus' // why\n",
            "beta",
        ),
        ("properties.missing =~ ''and name == 'beta'", "beta"),
        ("properties.missing == '' and name == 'beta'", ""),
    ] {
        let query = format!("Resources | where {condition} | project name");
        if names == "!" {
            assert!(compile(&query).is_err(), "{query}: dynamic values have no sum");
            continue;
        }
        let got: Vec<String> = rows(&query, &all)
            .iter()
            .map(|row| row[0].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(got.join(" "), names, "{query}");
    }
}

#[test]
fn functions_return_their_values() {
    let all = machines();
    for (expression, expected) in [
        ("tolower(name)", json!("alpha")),
        ("toupper(properties.os)", json!("WINDOWS")),
        ("tostring(properties.missing)", json!("")),
        ("tostring(properties.on)", json!("true")),
        ("tostring(properties.list)", json!("[{\"k\":\"v\"}]")),
        ("properties.size", json!(4)),
        ("toint(properties.ratio)", json!(1)),
        ("toint('x')", Value::Null),
        ("iff(properties.size > 3, 'big', 'small')", json!("big")),
        ("iif(properties.missing > 3, 'big', 'small')", json!("small")),
        (
            "coalesce(tostring(properties.missing), kind, 'last')",
            json!("last"),
        ),
        ("coalesce(properties.missing, properties.size)", json!(4)),
        ("substring(id, 0, indexof(tolower(id), '/vm'))", json!("/S/1")),
        ("substring('abc', 1)", json!("bc")),
        ("substring('abc', -2, 1)", json!("b")),
        ("substring('abc', 0, -1)", json!("")),
        ("substring('äöü', 1, 1)", json!("ö")),
        ("indexof('äöü', 'ü')", json!(2)),
        ("indexof('abc', 'x')", json!(-1)),
        ("strlen('äöü')", json!(3)),
        ("strcat(name, '-', properties.size)", json!("Alpha-4")),
        ("extract('S/([0-9]+)/', 1, id)", json!("1")),
        ("extract('nothing', 0, id)", json!("")),
        ("bag_keys(tags)", json!(["Owner Team", "n"])),
        ("array_length(properties.size)", Value::Null),
        ("1 + 2 - 4", json!(-1)),
        ("1 + 0.5", json!(1.5)),
        ("tolong(true)", json!(1)),
        ("type =~ 'MICROSOFT.compute/virtualmachines'", json!(true)),
        ("zones", json!(["1", "2"])),
    ] {
        let query = format!("resources | where name == 'Alpha' | extend x = {expression} | project x, y = x");
        assert_eq!(rows(&query, &all), [vec![expected.clone(), expected]], "{query}");
    }
}

#[test]
fn operators_transform_rows() {
    let all = machines();
    let machine = "resources | where type in~ ('Microsoft.Compute/virtualMachines', 'microsoft.hybridcompute/machines')";
    for (rest, expected) in [
        (
            "project name, location | order by location, name",
            json!([["Alpha", "westeurope"], ["beta", "eastus"], ["gamma", ""]]),
        ),
        (
            "sort by subscriptionId desc, name asc | project name",
            json!([["gamma"], ["Alpha"], ["beta"]]),
        ),
        (
            "order by toint(properties.size) asc | project name | take 2",
            json!([["gamma"], ["Alpha"]]),
        ),
        (
            "extend name = tolower(name), n = 1 | project name, n | limit 1",
            json!([["alpha", 1]]),
        ),
        (
            "project name, os = properties.os, z = zones | project-away os, z | limit 1",
            json!([["Alpha"]]),
        ),
        (
            "summarize count() by subscriptionId | order by count_ desc",
            json!([["1", 2], ["2", 1]]),
        ),
        (
            "summarize n = count() by os = tolower(properties.os)",
            json!([["windows", 1], ["linux", 1], ["", 1]]),
        ),
        ("count", json!([[3]])),
        ("where false | summarize count()", json!([[0]])),
        ("distinct subscriptionId", json!([["1"], ["2"]])),
    ] {
        let query = format!("{machine} | {rest}");
        assert_eq!(json!(rows(&query, &all)), expected, "{query}");
    }
    let names = |query: &str| -> Vec<String> {
        compile(query)
            .unwrap()
            .columns
            .into_iter()
            .map(|column| column.name)
            .collect()
    };
    assert_eq!(
        names("resources | project tostring(properties.a.b), properties['x'][0], tolower(id), 1, name"),
        ["properties_a_b", "properties_x_0", "Column1", "Column2", "name"]
    );
}

#[test]
fn joins_match_rows_by_key() {
    let all = machines();
    let right = "(resources | where type endswith '/extensions' | project extension = name,
        key = tolower(substring(id, 0, indexof(id, '/extensions/'))), size = strlen(name), properties)";
    let left = "resources | where type !endswith '/extensions' | project name, key = tolower(id)";
    let query = format!("{left} | join kind = leftouter {right} on key");
    let plan = compile(&query).unwrap();
    let columns: Vec<&str> = plan.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(
        columns,
        ["name", "key", "extension", "key1", "size", "properties"]
    );
    assert!(!plan.ordered);
    let query = format!("{query} | project-away key, key1, properties | order by name asc, extension desc");
    assert_eq!(
        json!(rows(&query, &all)),
        json!([
            ["Alpha", "Other", 5],
            ["Alpha", "MDE.Windows", 11],
            ["beta", "", null],
            ["gamma", "", null]
        ])
    );
    let query = format!("{left} | join kind=inner {right} on key | summarize count() by name");
    assert_eq!(json!(rows(&query, &all)), json!([["Alpha", 2]]));
}

#[test]
fn conditions_limit_the_types_of_rows() {
    for (query, types) in [
        ("resources | where type =~ 'A/B' | count", Some(vec!["a/b"])),
        (
            "resources | where name == 'x' and type in~ ('A/B', 'c') | where type == 'c'",
            Some(vec!["c"]),
        ),
        ("resources | where type =~ 'a' or name == 'x'", None),
        (
            "resources | where type in~ ('a', 'b') or (type =~ 'C' and not(name == 'x'))",
            Some(vec!["a", "b", "c"]),
        ),
        ("resources | extend type = 'x' | where type == 'x'", None),
        ("resources | where not(type =~ 'a')", None),
    ] {
        let got = compile(query).unwrap().types;
        let expected = types.map(|types| types.into_iter().map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(got, expected, "{query}");
    }
}
