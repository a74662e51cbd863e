//! A small printer of aligned columns.
//!
//! Holds: every row has as many cells as the head; no line ends in blanks.
//! Does not know: terminals; it never wraps or colours.

/// Rows under a head, printed in aligned columns.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
    columns: usize,
}

impl Table {
    /// A table with this head.
    pub(crate) fn new(head: &[&str]) -> Self {
        let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
        Self { columns: head.len(), rows: vec![head] }
    }

    /// A table of two columns without a head.
    pub(crate) fn pairs() -> Self {
        Self { columns: 2, rows: Vec::new() }
    }

    /// Adds a row; missing cells are empty, surplus ones are dropped.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let mut row: Vec<String> = cells.into_iter().take(self.columns).collect();
        row.resize(self.columns, String::new());
        self.rows.push(row);
    }

    /// The lines, without a last line feed.
    pub(crate) fn show(&self) -> String {
        let width = |column: usize| {
            self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..self.columns).map(width).collect();
        let lines: Vec<String> = self
            .rows
            .iter()
            .map(|row| {
                let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
                cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
            })
            .collect();
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&["NAME", "ENGINE"]);
        table.row(["default".to_owned(), "disk".to_owned()]);
        table.row(["ü".to_owned()]);
        assert_eq!(table.show(), "NAME     ENGINE\ndefault  disk\nü");
    }
}
