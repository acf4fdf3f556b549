//! Columns.
//!
//! Owns their alignment. Must not know what stands in them: cells are escaped by whoever fills them.

use crate::render::style::{Style, Tone};

/// Rows under headings, every column as wide as its widest cell; the last one is not padded.
pub(crate) fn table(headings: &[&str], rows: &[Vec<String>], style: Style) -> String {
    let widths: Vec<usize> = (0..headings.len())
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
            cells.chain([headings[column].chars().count()]).max().unwrap_or(0)
        })
        .collect();
    let heading: Vec<String> = headings.iter().map(|&heading| heading.to_owned()).collect();
    let mut text = style.paint(Tone::Heading, &line(&heading, &widths));
    for row in rows {
        text.push('\n');
        text.push_str(&line(row, &widths));
    }
    text
}

fn line(cells: &[String], widths: &[usize]) -> String {
    let padded: Vec<String> =
        cells.iter().zip(widths).map(|(cell, &width)| format!("{cell:<width$}")).collect();
    padded.join("  ").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [
            vec!["s-1".to_owned(), "é".to_owned(), "x".to_owned()],
            vec!["s".to_owned(), "long".to_owned(), String::new()],
        ];
        assert_eq!(table(&["ID", "B", "C"], &rows, Style::Plain), "ID   B     C\ns-1  é     x\ns    long");
    }
}
