//! Plots as inline SVG, with names for those who do not see them; a table with the same figures stands behind each.

use maud::{Markup, html};

/// A bar of a plot: its height, its colour and what it stands for.
pub struct Bar {
    /// Height.
    pub value: f64,
    /// `mark-good`, `mark-warn`, `mark-bad` or nothing.
    pub class: &'static str,
    /// What it stands for.
    pub name: String,
}

const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 120.0;
const BOTTOM: f64 = 100.0;
/// Widest bar.
const WIDEST: f64 = 40.0;

/// Bars in order of time, the highest as high as the plot.
pub fn bars(title: &str, unit: &str, bars: &[Bar]) -> Markup {
    let highest = bars.iter().map(|bar| bar.value).fold(0.0, f64::max).max(1.0);
    // A single day is no wall.
    let width = (WIDTH / bars.len().max(1) as f64).min(WIDEST);
    html! {
        svg class="plot" viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label=(title) {
            title { (title) }
            line class="axis" x1="0" x2=(WIDTH) y1=(BOTTOM) y2=(BOTTOM) {}
            @for (at, bar) in bars.iter().enumerate() {
                @let height = (bar.value / highest * (BOTTOM - 12.0)).max(2.0);
                rect class=(bar.class) x=(format!("{:.1}", at as f64 * width + 0.5)) width=(format!("{:.1}", (width - 1.0).max(0.5)))
                    y=(format!("{:.1}", BOTTOM - height)) height=(format!("{height:.1}")) { title { (bar.name) } }
            }
            text x="2" y="10" { (format!("{highest:.0} {unit}")) }
        }
    }
}

/// Width of a bar's label, of the room for bars, and the height of one, in the plot's own units.
const LABEL: f64 = 200.0;
const ROOM: f64 = 340.0;
const ROW: f64 = 22.0;
/// Characters of a label.
const LABEL_CHARACTERS: usize = 30;

/// A bar for each word, lying, with its count.
pub fn lying_bars(title: &str, rows: &[(String, u64)]) -> Markup {
    let most = rows.iter().map(|(_, count)| *count).max().unwrap_or(1).max(1) as f64;
    let height = rows.len() as f64 * ROW;
    html! {
        svg class="plot" viewBox={ "0 0 " (WIDTH) " " (height) } role="img" aria-label=(title) {
            title { (title) }
            @for (at, (word, count)) in rows.iter().enumerate() {
                @let (top, width) = (at as f64 * ROW, (*count as f64 / most * ROOM).max(1.0));
                text x=(LABEL - 8.0) y=(format!("{:.0}", top + 15.0)) text-anchor="end" { (shortened(word)) }
                rect class="mark" x=(LABEL) y=(format!("{:.0}", top + 3.0)) width=(format!("{width:.1}")) height=(ROW - 6.0) {}
                text x=(format!("{:.1}", LABEL + width + 6.0)) y=(format!("{:.0}", top + 15.0)) { (count) }
            }
        }
    }
}

fn shortened(word: &str) -> String {
    match word.chars().count() > LABEL_CHARACTERS {
        true => word.chars().take(LABEL_CHARACTERS - 1).chain(['…']).collect(),
        false => word.to_owned(),
    }
}
