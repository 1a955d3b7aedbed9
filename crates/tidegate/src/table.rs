//! Tables for people: aligned columns without frames, so that they can be cut and searched.
//!
//! A styled cell carries invisible marks of no width through the layout; only the finished lines get
//! their escape sequences, so that colour never disturbs alignment.

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table as Layout, Width};

use crate::failure::Failure;
use crate::output::{Output, PLAIN_SEQUENCE, Style};
use crate::words;

const MARKS: [(char, Style); 5] = [
    ('\u{2061}', Style::Bold),
    ('\u{2062}', Style::Faint),
    ('\u{2063}', Style::Good),
    ('\u{2064}', Style::Warning),
    ('\u{206a}', Style::Bad),
];
const END: char = '\u{2060}';

/// A cell.
pub struct Cell(String);

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Cell(words::harmless(text))
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Cell(words::harmless(&text))
    }
}

impl From<u64> for Cell {
    fn from(number: u64) -> Self {
        Cell(number.to_string())
    }
}

impl Cell {
    /// A cell in a style.
    pub fn styled(style: Style, text: impl AsRef<str>) -> Self {
        let text = words::harmless(text.as_ref());
        match MARKS.iter().find(|(_, of)| *of == style) {
            Some((mark, _)) if !text.is_empty() => Cell(format!("{mark}{text}{END}")),
            _ => Cell(text),
        }
    }
}

/// A table being put together.
pub struct Table {
    layout: Layout,
}

impl Table {
    /// A table with these headings.
    pub fn new(headings: &[&str]) -> Self {
        let mut layout = Layout::new();
        layout.load_style(comfy_table::presets::NOTHING);
        layout.set_header(
            headings
                .iter()
                .map(|heading| Cell::styled(Style::Bold, heading).0),
        );
        Table { layout }
    }

    /// A table of names and values without headings.
    pub fn of_values() -> Self {
        let mut layout = Layout::new();
        layout.load_style(comfy_table::presets::NOTHING);
        Table { layout }
    }

    /// Adds a line.
    pub fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        self.layout.add_row(cells.into_iter().map(|cell| cell.0));
    }

    /// Adds a name and its value.
    pub fn value(&mut self, name: &str, value: impl Into<Cell>) {
        self.row([Cell::styled(Style::Faint, name), value.into()]);
    }

    /// Aligns a column of numbers.
    pub fn right(&mut self, column: usize) {
        if let Some(column) = self.layout.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }

    /// Whether there is no line.
    pub fn is_empty(&self) -> bool {
        self.layout.row_count() == 0
    }

    /// The lines for a terminal of this width; no width means no wrapping.
    fn render(mut self, width: Option<u16>, colour: bool) -> String {
        if let Some(width) = width {
            self.layout
                .set_content_arrangement(ContentArrangement::Dynamic)
                .set_width(width);
            // Identifiers must stay copyable; the text at the end gives way.
            let columns = self.layout.column_count();
            for (index, column) in self.layout.column_iter_mut().enumerate() {
                if index + 1 < columns {
                    column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(4)));
                }
            }
        }
        // The first column begins at the edge.
        if let Some(first) = self.layout.column_mut(0) {
            first.set_padding((0, 1));
        }
        let mut text = String::new();
        for line in self.layout.lines() {
            text.push_str(&painted(line.trim_end(), colour));
            text.push('\n');
        }
        text.pop();
        text
    }

    /// Prints it.
    pub fn print(self, output: &Output) -> Result<(), Failure> {
        let (width, colour) = (output.width(), output.colours());
        output.line(self.render(width, colour))
    }
}

/// Replaces marks by escape sequences, or removes them. A style that a wrapped cell leaves open ends
/// with its line.
fn painted(line: &str, colour: bool) -> String {
    let mut text = String::with_capacity(line.len());
    let mut open = false;
    for c in line.chars() {
        if let Some((_, style)) = MARKS.iter().find(|(mark, _)| *mark == c) {
            if colour {
                text.push_str(style.sequence());
                open = true;
            }
        } else if c == END {
            if open {
                text.push_str(PLAIN_SEQUENCE);
                open = false;
            }
        } else {
            text.push(c);
        }
    }
    let kept = text.trim_end().len();
    text.truncate(kept);
    if open {
        text.push_str(PLAIN_SEQUENCE);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Table {
        let mut table = Table::new(&["NAME", "STATE", "BYTES"]);
        table.row(["one".into(), Cell::styled(Style::Good, "ready"), 5_u64.into()]);
        table.row([
            "second\u{1b}[31m".into(),
            Cell::styled(Style::Bad, "failed"),
            12345_u64.into(),
        ]);
        table.right(2);
        table
    }

    #[test]
    fn columns_line_up_with_and_without_colour() {
        let plain = sample().render(None, false);
        assert_eq!(
            plain,
            "NAME         STATE   BYTES\none          ready       5\nsecond\u{fffd}[31m  failed  12345"
        );
        let coloured = sample().render(None, true);
        assert!(
            coloured.contains("\u{1b}[32mready\u{1b}[0m       5"),
            "{coloured:?}"
        );
        let stripped = coloured
            .replace("\u{1b}[1m", "")
            .replace("\u{1b}[31m", "")
            .replace("\u{1b}[32m", "")
            .replace(PLAIN_SEQUENCE, "");
        assert_eq!(stripped, plain);
    }

    #[test]
    fn a_narrow_terminal_wraps_the_text() {
        let mut table = Table::new(&["ID", "TEXT"]);
        table.row([
            "17".into(),
            "a long sentence that does not fit into one line".into(),
        ]);
        let text = table.render(Some(30), false);
        assert!(text.lines().count() > 2, "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 30), "{text}");
    }
}
