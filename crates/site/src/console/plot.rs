//! Plots as inline SVG, with names for those who do not see them; a table with the same figures stands behind each.

use maud::{Markup, html};

/// A bar of a plot: its height, its colour and what it stands for.
pub(super) struct Bar {
    pub(super) value: f64,
    pub(super) class: &'static str,
    pub(super) name: String,
}

const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 120.0;
const BOTTOM: f64 = 100.0;

/// Bars in order of time, the highest as high as the plot.
pub(super) fn bars(title: &str, unit: &str, bars: &[Bar]) -> Markup {
    let highest = bars.iter().map(|bar| bar.value).fold(0.0, f64::max).max(1.0);
    let width = WIDTH / bars.len().max(1) as f64;
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
