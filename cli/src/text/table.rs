//! Tables without lines: aligned columns that `awk` and people can read.

use super::safe;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

/// How a column is set.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Column {
    /// Text, to the left.
    Text(&'static str),
    /// Numbers, to the right.
    Number(&'static str),
}

/// Sets rows under heads; every cell is neutralised.
pub(crate) fn table(columns: &[Column], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(columns.iter().map(|column| match column {
        Column::Text(name) | Column::Number(name) => *name,
    }));
    for row in rows {
        table.add_row(row.iter().map(|cell| safe::line(cell)));
    }
    for (index, column) in columns.iter().enumerate() {
        if let Some(set) = table.column_mut(index) {
            set.set_padding((0, 2));
            if matches!(column, Column::Number(_)) {
                set.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    let lines: Vec<_> = table.lines().map(|line| line.trim_end().to_owned() + "\n").collect();
    lines.concat()
}

/// Sets names and values under each other, for one thing; every value is neutralised. Empty values are left out.
pub(crate) fn facts(rows: &[(&str, String)]) -> String {
    let rows: Vec<_> = rows.iter().filter(|(_, value)| !value.is_empty()).collect();
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    rows.iter().map(|(name, value)| format!("{name:width$}  {}\n", safe::line(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_cells_are_harmless() {
        let rows = [vec!["a\u{1b}".to_owned(), "1 B".to_owned()], vec!["bcd".to_owned(), "10 B".to_owned()]];
        assert_eq!(
            table(&[Column::Text("NAME"), Column::Number("SIZE")], rows),
            "NAME   SIZE\na\\x1b   1 B\nbcd    10 B\n"
        );
    }

    #[test]
    fn facts_leave_out_what_is_not_known() {
        let rows = [("size", "1 B".to_owned()), ("group", String::new()), ("node id", "x".to_owned())];
        assert_eq!(facts(&rows), "size     1 B\nnode id  x\n");
    }
}
