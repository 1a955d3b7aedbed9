//! The head of a page, badges, tables, fields and notes.

use maud::{Markup, html};

/// The head of a page, with what else one needs there.
pub fn head(title: &str, more: &Markup) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            title { (title) " · Tidegate" }
            link rel="stylesheet" href="/assets/style.css";
            link rel="icon" href="data:,";
            (more)
        }
    }
}

/// How something is, in a colour and in words.
pub fn badge(class: &str, text: &str) -> Markup {
    html! { span class={ "badge " (class) } { (text) } }
}

/// A table with a caption that says what it is.
pub fn table(caption: &str, heads: &[&str], rows: Vec<Markup>, empty: &str) -> Markup {
    if rows.is_empty() {
        return html! { p class="faint" { (empty) } };
    }
    html! {
        div class="scroll" tabindex="0" role="region" aria-label=(caption) {
            table {
                caption { (caption) }
                thead { tr { @for head in heads { th scope="col" { (head) } } } }
                tbody { @for row in rows { tr { (row) } } }
            }
        }
    }
}

/// A field for one line of text.
pub fn field(name: &str, label: &str, value: &str, autocomplete: &str) -> Markup {
    html! {
        div class="field" {
            label for=(name) { (label) }
            input id=(name) name=(name) value=(value) autocomplete=(autocomplete) required;
        }
    }
}

/// A field for a password; it never carries one out.
pub fn password_field(name: &str, label: &str, autocomplete: &str, hint: Option<&str>) -> Markup {
    html! {
        div class="field" {
            label for=(name) { (label) }
            input id=(name) name=(name) type="password" autocomplete=(autocomplete) required aria-describedby=[hint.map(|_| format!("{name}-hint"))];
            @if let Some(hint) = hint { span class="faint" id={ (name) "-hint" } { (hint) } }
        }
    }
}

/// What failed and what to do.
pub fn problem_note(error: &str, hint: Option<&str>) -> Markup {
    html! {
        div class="note bad" role="alert" {
            p { (error) }
            @if let Some(hint) = hint { p { (hint) } }
        }
    }
}
