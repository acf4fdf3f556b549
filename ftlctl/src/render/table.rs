//! Columns.
//!
//! Owns their alignment. Must not know what stands in them: cells are escaped by whoever fills them.

use crate::render::style::{Style, Tone};

/// What is left of the last column where the terminal is too narrow for all of it.
const LEAST: usize = 12;

/// Rows under headings, every column as wide as its widest cell; the last one is not padded, and cut
/// where the terminal ends.
pub(crate) fn table(
    headings: &[&str],
    rows: &[Vec<String>],
    style: Style,
    terminal: Option<usize>,
) -> String {
    let widths: Vec<usize> = (0..headings.len())
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
            cells.chain([headings[column].chars().count()]).max().unwrap_or(0)
        })
        .collect();
    let heading: Vec<String> = headings.iter().map(|&heading| heading.to_owned()).collect();
    let mut text = style.paint(Tone::Heading, &line(&heading, &widths));
    let before: usize = widths.iter().rev().skip(1).map(|width| width + 2).sum();
    let room = terminal.map_or(usize::MAX, |columns| columns.saturating_sub(before).max(LEAST));
    for row in rows {
        let mut row = row.clone();
        if let Some(last) = row.last_mut() {
            cut(last, room);
        }
        text.push('\n');
        text.push_str(&line(&row, &widths));
    }
    text
}

fn line(cells: &[String], widths: &[usize]) -> String {
    let padded: Vec<String> =
        cells.iter().zip(widths).map(|(cell, &width)| format!("{cell:<width$}")).collect();
    padded.join("  ").trim_end().to_owned()
}

fn cut(cell: &mut String, room: usize) {
    if cell.chars().count() > room {
        *cell = cell.chars().take(room.saturating_sub(1)).chain(['…']).collect();
    }
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
        let shown = table(&["ID", "B", "C"], &rows, Style::Plain, None);
        assert_eq!(shown, "ID   B     C\ns-1  é     x\ns    long");
    }

    #[test]
    fn the_last_column_ends_with_the_terminal() {
        let rows = [vec!["s-1".to_owned(), "a task that is long".to_owned()]];
        let shown = |columns| table(&["ID", "TASK"], &rows, Style::Plain, columns);
        assert_eq!(shown(Some(20)), "ID   TASK\ns-1  a task that is…");
        assert_eq!(shown(Some(24)), "ID   TASK\ns-1  a task that is long");
        assert_eq!(shown(Some(3)), "ID   TASK\ns-1  a task that…");
    }
}
