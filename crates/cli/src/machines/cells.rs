//! The edges of the output: cells of CSV for spreadsheets, and JSON that is safe on a terminal. Names and messages come from
//! machines and from Azure.

use std::{
    borrow::Cow,
    io::{self, Write},
};

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter, Serializer};

use crate::printable::{self, is_unsafe};

/// Writes a record of CSV. It is one line, and no cell of it is a formula for a spreadsheet.
pub(crate) fn record<const N: usize>(out: &mut Vec<u8>, cells: [&str; N]) {
    let safe = cells.map(|cell| {
        let cell = printable::one_line(cell);
        if is_formula(&cell) {
            Cow::from(format!("'{cell}"))
        } else {
            cell
        }
    });
    let mut writer = csv::WriterBuilder::new().buffer_capacity(1024).from_writer(out);
    // Cannot fail: the target is memory.
    let _ = writer.write_record(safe.iter().map(|cell| cell.as_bytes()));
    let _ = writer.flush();
}

/// Whether a spreadsheet would run the cell: some of them ignore blanks at the start, and read full-width signs as signs.
fn is_formula(cell: &str) -> bool {
    let signs = [
        '=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}', '\u{2212}',
    ];
    cell.trim_start().starts_with(signs)
}

/// Writes a value as JSON, in one line.
pub(crate) fn json(out: &mut Vec<u8>, value: &impl Serialize) {
    // Cannot fail: the target is memory, and the values are strings and numbers.
    let _ = value.serialize(&mut Serializer::with_formatter(out, Printable(CompactFormatter)));
}

/// Writes a value as JSON with indentation.
pub(crate) fn pretty_json(out: &mut Vec<u8>, value: &impl Serialize) {
    let _ = value.serialize(&mut Serializer::with_formatter(
        out,
        Printable(PrettyFormatter::new()),
    ));
}

/// Escapes what JSON allows in strings and a terminal obeys.
struct Printable<F>(F);

impl<F: Formatter> Formatter for Printable<F> {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((at, character)) = rest.char_indices().find(|(_, c)| is_unsafe(*c)) {
            let (safe, from) = rest.split_at(at);
            // All unsafe characters are in the basic plane.
            write!(writer, "{safe}\\u{:04x}", u32::from(character))?;
            rest = from.get(character.len_utf8()..).unwrap_or_default();
        }
        writer.write_all(rest.as_bytes())
    }

    fn begin_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_array(writer)
    }
    fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array(writer)
    }
    fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_array_value(writer, first)
    }
    fn end_array_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array_value(writer)
    }
    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object(writer)
    }
    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object(writer)
    }
    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_object_key(writer, first)
    }
    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object_value(writer)
    }
    fn end_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object_value(writer)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::printable::tests::hostile;

    fn read(out: &[u8]) -> Vec<csv::StringRecord> {
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(out);
        reader.records().map(Result::unwrap).collect()
    }

    #[test]
    fn no_cell_is_a_formula() {
        for cell in [
            "=1+1",
            "+1",
            "-1",
            "@SUM(A1)",
            "\t=1",
            "\r=1",
            "\n=1",
            "  =1",
            "＝1",
            "＋1",
            "－1",
            "＠1",
            "\u{feff}=1",
            "\u{a0}=1",
        ] {
            let mut out = Vec::new();
            record(&mut out, [cell, "b"]);
            let record = read(&out).remove(0);
            assert!(record[0].starts_with('\''), "{cell:?}: {record:?}");
        }
        let mut out = Vec::new();
        record(&mut out, ["web-1", "a \"b\", c", "a=b"]);
        assert_eq!(out, b"web-1,\"a \"\"b\"\", c\",a=b\n");
    }

    proptest! {
        #[test]
        fn a_record_is_one_line_and_has_the_same_cells(cells in prop::array::uniform3(hostile())) {
            let mut out = Vec::new();
            record(&mut out, [&cells[0], &cells[1], &cells[2]]);
            let text = String::from_utf8(out.clone()).unwrap();
            prop_assert!(!text.strip_suffix('\n').unwrap().contains(is_unsafe), "{text:?}");
            let records = read(&out);
            // A record of empty cells is a line, too.
            prop_assert_eq!(records.len(), 1);
            for (read, cell) in records[0].iter().zip(&cells) {
                let clean = printable::one_line(cell);
                let mark = if is_formula(&clean) { "'" } else { "" };
                prop_assert_eq!(read, format!("{mark}{clean}"));
                prop_assert!(!is_formula(read));
            }
        }

        #[test]
        fn json_is_printable_and_means_the_same(text in hostile(), key in hostile()) {
            let value = serde_json::json!({key: [text, 1, {"a": null}]});
            let writers: [fn(&mut Vec<u8>, &serde_json::Value); 2] = [json, pretty_json];
            for write in writers {
                let mut out = Vec::new();
                write(&mut out, &value);
                let written = String::from_utf8(out).unwrap();
                prop_assert!(!written.replace('\n', "").contains(is_unsafe), "{written:?}");
                let read: serde_json::Value = serde_json::from_str(&written).unwrap();
                prop_assert_eq!(&read, &value);
            }
        }

        #[test]
        fn without_unsafe_characters_json_is_as_ever(text in "[ -~é東]{0,20}") {
            let value = serde_json::json!({"a": [text, true, []], "b": {}});
            let (mut compact, mut pretty) = (Vec::new(), Vec::new());
            json(&mut compact, &value);
            pretty_json(&mut pretty, &value);
            prop_assert_eq!(compact, serde_json::to_vec(&value).unwrap());
            prop_assert_eq!(pretty, serde_json::to_vec_pretty(&value).unwrap());
        }
    }
}
